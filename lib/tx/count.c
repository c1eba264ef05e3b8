/*
 * count.c - what a record does with reference counts. See count.h.
 */
#include "count.h"

#include <stdlib.h>

#include "alloc/tcache.h"
#include "types.h"
#include "undo.h"

static uint64_t load(const struct pheap *heap, uint64_t offset)
{
	return __atomic_load_n((const uint64_t *)(const void *)ph_at(heap, offset),
			       __ATOMIC_ACQUIRE);
}

static uint64_t strong_of(uint64_t word)
{
	return word & PM_COUNT_STRONG_MAX;
}

static uint64_t weak_of(uint64_t word)
{
	return word >> PM_COUNT_WEAK_SHIFT & PM_COUNT_WEAK_MAX;
}

static int damaged(const struct ph_object *object)
{
	return ph_error(EUCLEAN,
			"the reference count of the object at %#llx is damaged: run a check",
			(unsigned long long)object->start);
}

/* ---- which objects ------------------------------------------------------------------ */

void ph_counting_init(struct ph_counting *counting, struct ph_rec *rec)
{
	unsigned chain = rec->lane ? rec->lane->index % PM_DEAD_CHAINS : 0;

	counting->rec = rec;
	counting->heap = rec->heap;
	counting->head = PM_DEAD + chain * PM_LINE;
	counting->head_entry = 0;
	counting->popped = 0;
	counting->n = 0;
	counting->cap = (uint32_t)(sizeof(counting->space) / sizeof(counting->space[0]));
	counting->c = counting->space;
}

void ph_counting_fini(struct ph_counting *counting)
{
	if (counting->c != counting->space)
		free(counting->c);
}

static struct ph_counted *add_new(struct ph_counting *counting, const struct ph_object *object)
{
	struct ph_counted *c;

	if (counting->n == counting->cap) {
		bool first = counting->c == counting->space;

		c = realloc(first ? NULL : counting->c, 2 * counting->cap * sizeof(*c));
		if (!c)
			return ph_null(ENOMEM, "no memory for the counts of a record");
		if (first)
			memcpy(c, counting->space, sizeof(counting->space));
		counting->c = c;
		counting->cap *= 2;
	}
	c = &counting->c[counting->n++];
	*c = (struct ph_counted){.object = *object};
	return c;
}

static struct ph_counted *find(struct ph_counting *counting, uint64_t ref)
{
	for (uint32_t i = counting->n; i--;)
		if (counting->c[i].object.start == ref)
			return &counting->c[i];
	return NULL;
}

int ph_counting_born(struct ph_counting *counting, const struct ph_object *object)
{
	struct ph_counted *c = add_new(counting, object);

	if (!c)
		return -ENOMEM;
	c->born = true;
	return 0;
}

int ph_counting_add(struct ph_counting *counting, uint64_t ref, int strong, int weak)
{
	struct ph_counted *c = find(counting, ref);
	struct ph_object object;

	if (!c) {
		if (!ph_object_find(counting->heap, ref, &object) || object.start != ref ||
		    !ph_is_counted(&object) || ph_state(&object) != PH_PUBLISHED)
			return ph_error(EINVAL,
					"%#llx is no reference to a published object that is "
					"counted",
					(unsigned long long)ref);
		c = add_new(counting, &object);
	}
	if (!c)
		return -ENOMEM;
	c->strong += strong;
	c->weak += weak;
	return 0;
}

/* The elements of an object, and its slots in them: strong ones, then weak ones. */
struct slots {
	const struct pheap_type *type;
	char *object;
	uint64_t elements, element;
	uint32_t i;
};

static int begin_slots(struct slots *s, struct pheap *heap, const struct ph_object *object)
{
	s->type = ph_type(heap, PH_SEEN(object->slab, type));
	if (!s->type)
		return ph_error(EUCLEAN, "type %u of the object at %#llx is damaged: run a check",
				PH_SEEN(object->slab, type), (unsigned long long)object->start);
	s->object = ph_at(heap, object->start);
	s->elements = ph_type_elements(s->type, PH_SEEN(object->slab, size));
	s->element = 0;
	s->i = 0;
	return 0;
}

/* The next slot that is not null; NULL: none. */
static uint64_t *next_slot(struct slots *s, bool *weak)
{
	const struct pheap_type *type = s->type;

	for (; s->element < s->elements; s->element++, s->i = 0)
		while (s->i < type->nrefs + type->nweak) {
			uint32_t i = s->i++, offset;
			uint64_t *slot;

			*weak = i >= type->nrefs;
			offset = *weak ? type->weak[i - type->nrefs] : type->refs[i];
			slot = (uint64_t *)(void *)(s->object + s->element * type->size + offset);
			if (__atomic_load_n(slot, __ATOMIC_RELAXED))
				return slot;
		}
	return NULL;
}

int ph_counting_content(struct ph_counting *counting, const struct ph_object *object)
{
	struct slots s = {0};
	uint64_t *slot;
	bool weak;
	int err = begin_slots(&s, counting->heap, object);

	while (!err && (slot = next_slot(&s, &weak)))
		err = ph_counting_add(counting, *slot, !weak, weak);
	return err;
}

/* ---- words ------------------------------------------------------------------------------ */

/* The word after the change, with next still to be put in where it joins the chain. */
static int new_word(const struct ph_counted *c, uint64_t old, uint64_t *word,
		    enum ph_count_end *end)
{
	bool dead = old & PM_COUNT_DEAD;
	uint64_t strong = dead ? 0 : strong_of(old), weak = weak_of(old), next = 0;

	if (!old && !c->born)
		return damaged(&c->object);
	if ((c->strong < 0 && strong < (uint64_t)-c->strong) ||
	    (c->weak < 0 && weak < (uint64_t)-c->weak))
		return damaged(&c->object);
	if (dead && c->strong)
		return ph_error(EINVAL, "the object at %#llx is dead: nothing referred to it",
				(unsigned long long)c->object.start);
	if (dead && c->weak > 0)
		return ph_error(EINVAL, "the object at %#llx is dead: nothing refers to it",
				(unsigned long long)c->object.start);
	strong += (uint64_t)c->strong;
	weak += (uint64_t)c->weak;
	if (strong >= PM_COUNT_STRONG_MAX || weak >= PM_COUNT_WEAK_MAX)
		return ph_error(ERANGE, "the object at %#llx has too many references",
				(unsigned long long)c->object.start);
	if (c->popped && !dead)
		return -EAGAIN;
	if (c->popped || (dead && strong_of(old) == PM_COUNT_DRAINED)) {
		*end = weak ? PH_COUNT_STAYS : PH_COUNT_FREED;
		next = PM_COUNT_DRAINED;
	} else if (dead) { /* in the chain, where it stays */
		*end = PH_COUNT_STAYS;
		next = strong_of(old);
	} else {
		*end = strong ? PH_COUNT_STAYS : PH_COUNT_DIES;
		next = strong;
	}
	dead |= *end == PH_COUNT_DIES;
	*word = *end == PH_COUNT_FREED
			? 0
			: (dead ? PM_COUNT_DEAD : 0) | weak << PM_COUNT_WEAK_SHIFT | next;
	return 0;
}

static uint64_t old_word(const struct pheap *heap, const struct ph_counted *c)
{
	return c->born ? 0 : load(heap, ph_count_word(&c->object));
}

int ph_counting_build(struct ph_counting *counting)
{
	struct ph_rec *rec = counting->rec;
	bool joins = false;

	for (uint32_t i = 0; i < counting->n; i++) {
		struct ph_counted *c = &counting->c[i];
		uint64_t word = 0;

		/* What is read without a lock need not fit together: a word is stored behind its
		 * object's state. The judgement is ph_counting_settle()'s. */
		if (new_word(c, old_word(counting->heap, c), &word, &c->end))
			c->end = PH_COUNT_STAYS;
		joins |= c->end == PH_COUNT_DIES;
		if (c->end == PH_COUNT_FREED)
			ph_rec_object(rec, &c->object, false);
		ph_rec_word(rec, ph_count_word(&c->object), word);
		c->entry = rec->n - 1;
	}
	if (joins || counting->popped) {
		ph_rec_word(rec, counting->head, 0);
		counting->head_entry = rec->n - 1;
	}
	return rec->error;
}

/* The chain is what it was thought to be: *head becomes its first behind what leaves it. */
static int settle_head(const struct ph_counting *counting, uint64_t *head)
{
	struct ph_object object;

	*head = load(counting->heap, counting->head);
	if (!counting->popped)
		return 0;
	if (*head != counting->popped || !ph_object_find(counting->heap, *head, &object))
		return -EAGAIN;
	*head = strong_of(load(counting->heap, ph_count_word(&object))) * 8;
	return 0;
}

int ph_counting_settle(struct ph_counting *counting)
{
	struct pheap *heap = counting->heap;
	uint64_t *words = counting->rec->words, head;
	int err = settle_head(counting, &head);

	for (uint32_t i = 0; i < counting->n && !err; i++) {
		struct ph_counted *c = &counting->c[i];
		enum ph_count_end end = PH_COUNT_STAYS;

		if (!c->born &&
		    (!ph_object_still(heap, &c->object) || ph_state(&c->object) != PH_PUBLISHED))
			return -EAGAIN;
		err = new_word(c, old_word(heap, c), &words[c->entry], &end);
		if (!err && end != c->end)
			err = -EAGAIN;
		if (!err && end == PH_COUNT_FREED)
			err = ph_undo_guards(heap, counting->rec->tx, &c->object);
		if (!err && end == PH_COUNT_DIES) {
			words[c->entry] |= head / 8;
			head = c->object.start;
		}
	}
	if (err)
		return err;
	if (counting->head_entry)
		words[counting->head_entry] = head;
	return ph_rec_changed(counting->rec);
}

void ph_counting_states(struct ph_counting *counting)
{
	for (uint32_t i = 0; i < counting->n; i++) {
		struct ph_counted *c = &counting->c[i];

		ph_touch(counting->heap, c->object.slab); /* H3: its word may be in the slab */
		if (c->end == PH_COUNT_FREED)
			ph_set_state(ph_state_of(&c->object), PH_LIMBO);
	}
}

void ph_counting_done(struct ph_counting *counting)
{
	for (uint32_t i = 0; i < counting->n; i++)
		if (counting->c[i].end == PH_COUNT_FREED)
			ph_tcache_retire(counting->heap, counting->rec->cache,
					 &counting->c[i].object);
}

/* ---- slots -------------------------------------------------------------------------------- */

static bool has_offset(const uint32_t *offsets, uint32_t n, uint64_t offset)
{
	for (uint32_t i = 0; i < n; i++)
		if (offsets[i] == offset)
			return true;
	return false;
}

static bool in_counted(const struct ph_target *target)
{
	return target->place != PH_IN_ROOT && ph_is_counted(&target->object);
}

int ph_count_slot(struct pheap *heap, const char *what, const struct ph_target *slot, bool weak)
{
	const struct pheap_type *type;
	uint64_t inside;

	if (!in_counted(slot))
		return 0;
	type = ph_type(heap, PH_SEEN(slot->object.slab, type));
	inside = slot->offset - slot->object.start;
	if (type &&
	    inside / type->size < ph_type_elements(type, PH_SEEN(slot->object.slab, size)) &&
	    has_offset(weak ? type->weak : type->refs, weak ? type->nweak : type->nrefs,
		       inside % type->size))
		return 0;
	return ph_error(EINVAL, "%s: byte %llu of an object of \"%s\" is no %s reference of its",
			what, (unsigned long long)inside, type ? type->name : "a damaged type",
			weak ? "weak" : "strong");
}

int ph_count_plain(struct pheap *heap, const char *what, const struct ph_target *target,
		   uint64_t length)
{
	const struct pheap_type *type;
	uint64_t inside, end;

	if (ph_likely(!in_counted(target)))
		return 0;
	type = ph_type(heap, PH_SEEN(target->object.slab, type));
	inside = (target->offset - target->object.start) & ~UINT64_C(7);
	end = target->offset - target->object.start + length;
	for (; type && inside < end; inside += 8)
		if (has_offset(type->refs, type->nrefs, inside % type->size) ||
		    has_offset(type->weak, type->nweak, inside % type->size))
			return ph_error(EINVAL,
					"%s: byte %llu of an object of \"%s\" is a counted "
					"reference: use pheap_link()",
					what, (unsigned long long)inside, type->name);
	return 0;
}

void ph_count_cover(struct ph_rec *rec, const struct ph_target *slot)
{
	if (in_counted(slot))
		ph_rec_cover(rec, ph_count_word(&slot->object), 8);
}

int ph_count_alive(struct pheap *heap, const struct ph_target *slot)
{
	if (!in_counted(slot))
		return 0;
	if (ph_object_still(heap, &slot->object) && ph_state(&slot->object) == PH_PUBLISHED &&
	    !(load(heap, ph_count_word(&slot->object)) & PM_COUNT_DEAD))
		return 0;
	return ph_error(EINVAL, "the object at %#llx, in which the slot lies, is dead",
			(unsigned long long)slot->object.start);
}

/* ---- one link -------------------------------------------------------------------------------- */

/*
 * What the slot holds was seen as no counted object. Others may be on their way to change
 * that, and even to put the same object there again: with its stripe held the slot refers to
 * what it should, and if it does, all is to be looked at anew.
 */
static int look_under_stripe(const struct ph_count_link *l, int err)
{
	uint64_t *stripe = &ph_stripe_of(l->heap, l->slot.offset / PM_LINE)->word;
	struct ph_object object;
	bool found, changed;

	if (err != -EINVAL)
		return err;
	found = ph_object_find(l->heap, l->old, &object) && object.start == l->old;
	ph_bitlock_take(stripe);
	changed = __atomic_load_n(l->word, __ATOMIC_ACQUIRE) != l->old ||
		  (found && ph_object_still(l->heap, &object) && ph_is_counted(&object) &&
		   ph_state(&object) == PH_PUBLISHED);
	ph_bitlock_give(stripe, __atomic_load_n(stripe, __ATOMIC_RELAXED));
	return changed ? -EAGAIN : err;
}

static int change(struct ph_count_link *l, struct ph_counting *counting)
{
	int err = 0;

	if (l->born.slab) {
		err = ph_counting_born(counting, &l->born);
		if (!err)
			err = ph_counting_content(counting, &l->born);
	}
	if (!err && l->ref)
		err = ph_counting_add(counting, l->ref, !l->weak, l->weak);
	if (!err && l->old && (err = ph_counting_add(counting, l->old, -!l->weak, -l->weak)))
		err = look_under_stripe(l, err);
	return err;
}

static int verify(const struct ph_count_link *l)
{
	if (__atomic_load_n(l->word, __ATOMIC_ACQUIRE) != l->old)
		return -EAGAIN;
	if (l->from && __atomic_load_n(l->from, __ATOMIC_ACQUIRE) != l->ref)
		return -EAGAIN;
	if (l->slot.place == PH_IN_ROOT && !ph_root_exists(l->heap, l->slot.offset))
		return ph_error(EINVAL, "%s: the root was dropped", l->what);
	if (l->born.slab &&
	    (!ph_object_still(l->heap, &l->born) || ph_state(&l->born) != PH_RESERVED))
		return ph_error(EINVAL, "%s: another thread published or freed the object",
				l->what);
	return ph_count_alive(l->heap, &l->slot);
}

static void build_link(struct ph_rec *rec, struct ph_count_link *l, bool birth)
{
	if (l->content)
		ph_rec_content(rec, l->born.start, l->born.slab->size);
	if (birth)
		ph_span_birth(rec, l->born.slab);
	if (l->born.slab)
		ph_rec_object(rec, &l->born, true);
	ph_count_cover(rec, &l->slot);
	if (l->from)
		ph_rec_cover(rec, ph_off(l->heap, l->from), 8);
}

/* With zone.lock where there is a birth. */
static int commit_link(struct ph_rec *rec, struct ph_count_link *l, struct ph_counting *counting,
		       bool birth)
{
	int err;

	build_link(rec, l, birth);
	err = ph_counting_build(counting);
	if (err)
		return err;
	ph_rec_word(rec, l->slot.offset, l->ref);
	if ((err = ph_rec_lock(rec)))
		return err;
	err = verify(l);
	if (!err)
		err = ph_counting_settle(counting);
	if (err) {
		ph_rec_unlock(rec);
		return err;
	}
	if (l->slot.place != PH_IN_ROOT)
		ph_touch(l->heap, l->slot.object.slab);
	ph_counting_states(counting);
	if (l->born.slab)
		ph_set_state(ph_state_of(&l->born), PH_PUBLISHED);
	err = ph_rec_commit(rec);
	if (!err && birth)
		__atomic_store_n(&l->born.slab->born, 1, __ATOMIC_RELEASE);
	return err;
}

static int try_link(struct ph_count_link *l)
{
	bool birth = l->born.slab && !__atomic_load_n(&l->born.slab->born, __ATOMIC_ACQUIRE);
	bool locked = birth;
	struct ph_counting counting;
	struct ph_rec rec;
	int err;

	ph_rec_init(&rec, l->heap, NULL);
	ph_counting_init(&counting, &rec);
	err = rec.error ? rec.error : change(l, &counting);
	if (locked) {
		pthread_mutex_lock(&l->heap->zone.lock);
		birth = !__atomic_load_n(&l->born.slab->born, __ATOMIC_ACQUIRE);
	}
	if (!err)
		err = commit_link(&rec, l, &counting, birth);
	if (locked)
		pthread_mutex_unlock(&l->heap->zone.lock);
	if (!err)
		ph_counting_done(&counting);
	ph_counting_fini(&counting);
	ph_rec_fini(&rec);
	return err;
}

int ph_count_link(struct ph_count_link *l)
{
	int err = ph_count_slot(l->heap, l->what, &l->slot, l->weak);

	if (err)
		return err;
	do {
		l->old = __atomic_load_n(l->word, __ATOMIC_ACQUIRE);
		if (l->want == 1 && l->old)
			return ph_error(EEXIST, "%s: the slot already holds %#llx", l->what,
					(unsigned long long)l->old);
		if (l->want == 2 && !l->old)
			return ph_error(ENOENT, "%s: the slot is null", l->what);
		if (l->from && !(l->ref = __atomic_load_n(l->from, __ATOMIC_ACQUIRE)))
			return ph_error(ENOENT, "%s: the weak reference is null", l->what);
		if (l->old == l->ref && !l->born.slab)
			return 0;
		err = try_link(l);
	} while (err == -EAGAIN || ((err == -EINVAL || err == -EUCLEAN) &&
				    __atomic_load_n(l->word, __ATOMIC_ACQUIRE) != l->old));
	if (!err)
		ph_count_drain_some(l->heap);
	return err;
}
