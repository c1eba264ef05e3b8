/*
 * publish.c - single operations: one record each.
 *
 * All follow one pattern: look, build the record, take its stripes and lane,
 * look again under them, commit. What is looked at twice is the slot and the
 * state of the objects; both are changed under those stripes only: a slot under
 * that of its line, an object's state PUBLISHED under that of its bitmap word.
 *
 * Resize copies the old object under the stripes of all that it copies: until they are
 * held the object may be retired, its memory be another object's, or a record change it.
 */
#include <pheap.h>
#include <stdlib.h>

#include "alloc/alloc.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "alloc/traced.h"
#include "lane.h"
#include "count.h"
#include "record.h"
#include "target.h"
#include "types.h"
#include "undo.h"

static uint64_t load(const void *word)
{
	return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
}

static int not_published(const char *what, uint64_t ref)
{
	return ph_error(EINVAL, "%s: the slot holds %#llx, which is no published object", what,
			(unsigned long long)ref);
}

/*
 * The object that a reference found in a slot refers to. Whether it is published
 * is known only under the stripes: another thread may be retiring it.
 */
static ph_inline int find_linked(struct pheap *heap, const char *what, uint64_t ref,
				 struct ph_object *object)
{
	errno = 0;
	if (ph_object_find(heap, ref, object) && object->start == ref)
		return 0;
	return errno == ENOMEM ? ph_error(ENOMEM, "%s: no memory for the state of a slab", what)
			       : not_published(what, ref);
}

static void touch_target(struct pheap *heap, const struct ph_target *target)
{
	if (target->place == PH_IN_ROOT)
		return;
	ph_touch(heap, target->object.slab);
	ph_traced_log(&target->object);
}

/* ---- what one record publishes and frees ---------------------------------------- */

/* zone.lock is needed while the birth of a span is in the record. */
static bool needs_birth(const struct ph_object *object)
{
	return !__atomic_load_n(&object->slab->born, __ATOMIC_ACQUIRE);
}

struct change {
	struct pheap *heap;
	const char *what;
	struct ph_target slot;
	uint64_t *word;
	struct ph_object born, dead;  /* slab NULL: none */
	uint64_t old;		      /* what the slot must hold */
	uint64_t copied;	      /* bytes of the old object that the new one gets */
	bool content;		      /* the born object's content goes into the record */
	const struct ph_target *more; /* further slots that hold the same: pheap_move() */
	size_t nmore;
};

/*
 * Field by field, and only those that are looked at before they are set: the compiler would
 * make an initializer of wide stores, of which some lie across the bounds at which the
 * processor forwards them, and then the loads wait for the fence before.
 */
static void begin_change(struct change *c, struct pheap *heap, const char *what, uint64_t *slot)
{
	c->heap = heap;
	c->what = what;
	c->word = slot;
	c->born.slab = NULL;
	c->dead.slab = NULL;
	c->copied = 0;
	c->content = false;
	c->more = NULL;
	c->nmore = 0;
}

/* Where a slot is afterwards: one in the object that moves goes with it. */
static uint64_t slot_after(const struct change *c, const struct ph_target *slot)
{
	uint64_t inside = slot->offset - c->old;

	return c->copied && inside < c->copied ? c->born.start + inside : slot->offset;
}

static void build(struct ph_rec *rec, const struct change *c, bool birth)
{
	uint64_t ref = c->born.slab ? c->born.start : 0;

	if (c->content)
		ph_rec_content(rec, ref, c->born.slab->size);
	if (birth)
		ph_span_birth(rec, c->born.slab);
	if (c->born.slab)
		ph_rec_object(rec, &c->born, true);
	if (c->dead.slab)
		ph_rec_object(rec, &c->dead, false);
	ph_rec_word(rec, slot_after(c, &c->slot), ref);
	for (size_t i = 0; i < c->nmore; i++)
		ph_rec_word(rec, slot_after(c, &c->more[i]), ref);
	if (c->copied)
		ph_rec_cover(rec, c->old, c->copied);
}

static int verify_more(const struct change *c)
{
	for (size_t i = 0; i < c->nmore; i++) {
		uint64_t offset = c->more[i].offset;

		if (load(ph_at(c->heap, offset)) != c->old ||
		    (c->more[i].place == PH_IN_ROOT && !ph_root_exists(c->heap, offset)))
			return ph_error(EINVAL,
					"%s: slot %zu does not refer to the same object as slot 0",
					c->what, i + 1);
	}
	return 0;
}

/* Under stripes and lane: is all still as it was when the record was built?
 * -EAGAIN: the slot has changed, look anew. */
static int verify(const struct change *c)
{
	int err;

	if (load(c->word) != c->old)
		return -EAGAIN;
	if (c->slot.place == PH_IN_ROOT && !ph_root_exists(c->heap, c->slot.offset))
		return ph_error(EINVAL, "%s: the root was dropped", c->what);
	if (c->born.slab &&
	    (!ph_object_still(c->heap, &c->born) || ph_state(&c->born) != PH_RESERVED))
		return ph_error(EINVAL, "%s: another thread published or freed the object",
				c->what);
	if (c->dead.slab && !ph_object_still(c->heap, &c->dead))
		return -EAGAIN; /* the slab was ended and made anew: look again */
	if (c->dead.slab && !ph_traced_permanent(c->heap, &c->dead))
		return not_published(c->what, c->old);
	if (c->nmore && (err = verify_more(c)))
		return err;
	return c->dead.slab ? ph_undo_guards(c->heap, NULL, &c->dead) : 0;
}

/* Before the commit, so that whoever sees the link finds the states. */
static void set_states(const struct change *c)
{
	touch_target(c->heap, &c->slot);
	for (size_t i = 0; i < c->nmore; i++)
		touch_target(c->heap, &c->more[i]);
	if (c->content || c->more)
		ph_touch(c->heap, c->born.slab);
	if (c->born.slab)
		ph_set_state(ph_state_of(&c->born), PH_PUBLISHED);
	if (c->dead.slab)
		ph_set_state(ph_state_of(&c->dead), PH_LIMBO);
}

/* Durable before the record that links it. */
static int persist_content(struct pheap *heap, struct ph_count *count, uint64_t start,
			   uint64_t length)
{
	/* Orders the content before that record. */
	return ph_persist_range(&heap->pm, count, ph_at(heap, start), length);
}

/* Under stripes and lane, with the old object verified. */
static int copy_old(struct ph_rec *rec, const struct change *c)
{
	memcpy(ph_at(c->heap, c->born.start), ph_at(c->heap, c->old), c->copied);
	if (!c->content) /* references behind what was copied are null, and count */
		return persist_content(c->heap, rec->count, c->born.start,
				       c->born.slab->type ? c->born.slab->size : c->copied);
	ph_rec_content_again(rec, c->copied);
	return 0;
}

static int commit_change(struct ph_rec *rec, const struct change *c, bool birth)
{
	int err;

	build(rec, c, birth);
	err = ph_rec_lock(rec);
	if (err)
		return err;
	err = verify(c);
	if (!err && c->copied)
		err = copy_old(rec, c);
	if (err) {
		ph_rec_unlock(rec);
		return err;
	}
	set_states(c);
	err = ph_rec_commit(rec);
	if (!err && birth)
		__atomic_store_n(&c->born.slab->born, 1, __ATOMIC_RELEASE);
	return err;
}

/* One record: publish c->born and free c->dead through the slot. */
static int apply_change(const struct change *c)
{
	struct pheap *heap = c->heap;
	bool birth = c->born.slab && needs_birth(&c->born);
	bool locked = birth;
	struct ph_rec rec;
	int err;

	ph_rec_init(&rec, heap, NULL);
	if (locked) {
		pthread_mutex_lock(&heap->zone.lock);
		birth = birth && needs_birth(&c->born); /* another may have been quicker */
	}
	err = rec.error ? rec.error : commit_change(&rec, c, birth);
	if (locked)
		pthread_mutex_unlock(&heap->zone.lock);
	if (!err && c->dead.slab)
		ph_tcache_retire(heap, rec.cache, &c->dead);
	ph_rec_fini(&rec);
	return err;
}

/* ---- publish, replace, retire ------------------------------------------------------ */

/* Make an object's content durable, or have the record do it; what is copied from another
 * object is not there yet. */
static int prepare_content(struct change *c, unsigned flags)
{
	struct ph_tcache *cache = ph_tcache_get(c->heap);
	uint64_t size = c->born.slab->size;

	if (!cache)
		return -errno;
	c->content =
		!(flags & PHEAP_PERSISTED) && size <= PHEAP_INLINE_MAX && ph_logs(&c->heap->pm);
	if (c->content || c->copied || flags & PHEAP_PERSISTED)
		return 0;
	return persist_content(c->heap, &cache->count, c->born.start, size);
}

/* Check arguments that stay the same however often the slot changes. */
static ph_inline int prepare_link(struct change *c, void *ptr, unsigned flags)
{
	int err = ph_slot_find(c->heap, c->what, c->word, &c->slot);

	if (!err && flags & ~(unsigned)PHEAP_PERSISTED)
		err = ph_error(EINVAL, "%s: unknown flags %#x", c->what, flags);
	if (!err)
		err = ph_reserved_find(c->heap, c->what, ptr, &c->born);
	if (!err && c->slot.place != PH_IN_ROOT && c->slot.object.start == c->born.start)
		err = ph_error(EINVAL, "%s: the slot lies in the object itself", c->what);
	if (!err && !ph_is_counted(&c->born)) /* else it is looked at there */
		err = ph_count_plain(c->heap, c->what, &c->slot, 8);
	return err ? err : prepare_content(c, flags);
}

/* Where references are counted; want: see struct ph_count_link. */
static int link_counted(const struct change *c, int want)
{
	struct ph_count_link l = {.heap = c->heap,
				  .what = c->what,
				  .word = c->word,
				  .slot = c->slot,
				  .born = c->born,
				  .content = c->content,
				  .ref = c->born.slab ? c->born.start : 0,
				  .want = want};

	return ph_count_link(&l);
}

/* Not one object with counts and one without: nobody would count the reference. */
static int refuse_mixed(const struct change *c)
{
	return ph_error(EINVAL,
			"%s: references to one of the two objects are counted: retire the "
			"old one before",
			c->what);
}

/* Put the born object over the one that c->old refers to: -EAGAIN where the slot
 * holds another by now. */
static ph_inline int replace_old(struct change *c)
{
	int err = find_linked(c->heap, c->what, c->old, &c->dead);

	if (err)
		return load(c->word) != c->old ? -EAGAIN : err;
	if (ph_is_counted(&c->dead))
		return c->born.slab ? refuse_mixed(c) : link_counted(c, 2);
	return apply_change(c);
}

static int publish(struct pheap *heap, const char *what, pheap_ref *slot, void *ptr, unsigned flags)
{
	struct change c;
	int err;

	begin_change(&c, heap, what, slot);
	if ((err = prepare_link(&c, ptr, flags)))
		return err;
	if (ph_is_counted(&c.born))
		return link_counted(&c, 1);
	do {
		c.old = load(slot);
		if (c.old)
			return ph_error(EEXIST, "%s: the slot already holds %#llx", what,
					(unsigned long long)c.old);
		err = apply_change(&c);
	} while (err == -EAGAIN);
	return err;
}

PHEAP_API int pheap_publish(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags)
{
	return publish(heap, "pheap_publish", slot, ptr, flags);
}

PHEAP_API int pheap_replace(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags)
{
	struct change c;
	int err;

	begin_change(&c, heap, "pheap_replace", slot);
	if ((err = prepare_link(&c, ptr, flags)))
		return err;
	if (ph_is_counted(&c.born))
		return link_counted(&c, 2);
	do {
		c.old = load(slot);
		if (!c.old)
			return ph_error(ENOENT,
					"pheap_replace: the slot is null: use pheap_publish()");
		err = replace_old(&c);
	} while (err == -EAGAIN);
	return err;
}

PHEAP_API int pheap_retire(pheap_t *heap, pheap_ref *slot)
{
	struct change c;
	int err;

	begin_change(&c, heap, "pheap_retire", slot);
	if ((err = ph_slot_find(heap, c.what, slot, &c.slot)))
		return err;
	do {
		c.old = load(slot);
		if (!c.old)
			return ph_error(ENOENT, "pheap_retire: the slot is null");
		err = replace_old(&c); /* by nothing */
	} while (err == -EAGAIN);
	return err;
}

PHEAP_API int pheap_alloc_into(pheap_t *heap, pheap_ref *slot, size_t size, const void *content)
{
	struct ph_target target;
	int err = ph_slot_find(heap, "pheap_alloc_into", slot, &target);
	void *ptr;

	if (err)
		return err;
	if (load(slot))
		return ph_error(EEXIST, "pheap_alloc_into: the slot already holds a reference");
	ptr = pheap_alloc(heap, size);
	if (!ptr)
		return -errno;
	if (content)
		memcpy(ptr, content, size);
	else
		memset(ptr, 0, size);
	err = publish(heap, "pheap_alloc_into", slot, ptr, 0);
	if (err && err != -EIO)
		pheap_free(heap, ptr);
	return err;
}

/*
 * The object in the slot was seen as not published. Another operation may be on its way:
 * states change before the commit, the slot behind it, both under the slot's stripe.
 */
static int look_under_stripe(const struct change *c)
{
	uint64_t *stripe = &ph_stripe_of(c->heap, c->slot.offset / PM_LINE)->word;
	bool changed;

	ph_bitlock_take(stripe);
	changed = load(c->word) != c->old || ph_traced_permanent(c->heap, &c->dead);
	ph_bitlock_give(stripe, __atomic_load_n(stripe, __ATOMIC_RELAXED));
	return changed ? -EAGAIN : not_published(c->what, c->old);
}

/* One attempt, for the object that the slot holds now. */
static int try_resize(struct change *c, size_t size)
{
	uint64_t old_size;
	uint32_t type;
	void *ptr;
	int err;

	c->old = load(c->word);
	if (!c->old)
		return ph_error(ENOENT, "pheap_resize: the slot is null");
	err = find_linked(c->heap, c->what, c->old, &c->dead);
	if (err)
		return load(c->word) != c->old ? -EAGAIN : err;
	if (!ph_traced_permanent(c->heap, &c->dead))
		return look_under_stripe(c);
	old_size = PH_SEEN(c->dead.slab, size);
	type = PH_SEEN(c->dead.slab, type);
	if (ph_is_counted(&c->dead))
		return ph_error(EINVAL,
				"%s: an object whose references are counted stays where "
				"it is: publish another one",
				c->what);
	if (type && (err = ph_typed_size(c->heap, c->what, type, size)))
		return err;
	if (size <= old_size && size > old_size / 2)
		return 0;
	ptr = type ? ph_alloc_like(c->heap, &c->dead, size) : pheap_alloc(c->heap, size);
	if (!ptr)
		return -errno;
	c->copied = size < old_size ? size : old_size;
	err = prepare_link(c, ptr, 0);
	if (!err)
		err = replace_old(c);
	if (err && err != -EIO)
		pheap_free(c->heap, ptr);
	return err;
}

PHEAP_API int pheap_resize(pheap_t *heap, pheap_ref *slot, size_t size)
{
	struct change c;
	int err;

	begin_change(&c, heap, "pheap_resize", slot);
	err = ph_slot_find(heap, c.what, slot, &c.slot);
	if (!err && !size)
		err = ph_error(EINVAL, "pheap_resize: size is 0: use pheap_retire()");
	if (err)
		return err;
	do {
		err = try_resize(&c, size);
	} while (err == -EAGAIN);
	return err;
}

/* ---- move ------------------------------------------------------------------------------ */

/* Objects in a slab that are not free; others may change that meanwhile. */
static uint32_t used_in(const struct ph_slab *slab)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PH_SEEN(slab, objects); i++)
		n += __atomic_load_n(&slab->state[i], __ATOMIC_RELAXED) >= PH_RESERVED;
	return n;
}

/* Objects of a slab that is as full as this stay: in eighths. */
#define DENSE 7u

/*
 * A place in a fuller slab than that of the old object; NULL with errno 0 where there is
 * none. The thread's magazine may have places of sparse slabs only: then it is filled anew,
 * from the fullest one.
 */
static void *denser_place(struct ph_tcache *cache, const struct ph_object *old)
{
	struct pheap *heap = cache->heap;
	uint32_t used = used_in(old->slab);

	for (unsigned i = 0; i < 2 && used * 8 < old->slab->objects * DENSE; i++) {
		char *ptr = ph_alloc_shape(heap, old->slab->shape);
		const struct ph_slab *slab = ptr ? ph_slab_at(heap, ptr) : NULL;

		if (!slab)
			return NULL;
		if (slab != old->slab && used_in(slab) > used)
			return ptr;
		pheap_free(heap, ptr);
		ph_tcache_renew(cache, old->slab);
	}
	errno = 0;
	return NULL;
}

static int find_slots(struct pheap *heap, const char *what, pheap_ref *const *slots, size_t n,
		      struct ph_target *targets)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = ph_slot_find(heap, what, slots[i], &targets[i]);
	return err;
}

/* Counts lie beside the objects of a slab, and do not move. */
static bool is_counted(const struct pheap *heap, const struct ph_slab *slab)
{
	const struct pheap_type *type = ph_type(heap, PH_SEEN(slab, type));

	return type && type->flags & PHEAP_TYPE_COUNTED;
}

/* One attempt: 1, 0, or a code. */
static int try_move(struct change *c, struct ph_tcache *cache)
{
	void *ptr;
	int err;

	c->old = load(c->word);
	if (!c->old)
		return ph_error(ENOENT, "%s: the first slot is null", c->what);
	err = find_linked(c->heap, c->what, c->old, &c->dead);
	if (err)
		return load(c->word) != c->old ? -EAGAIN : err;
	if (ph_is_counted(&c->dead))
		return ph_error(EINVAL, "%s: an object whose references are counted does not move",
				c->what);
	if (!ph_traced_permanent(c->heap, &c->dead))
		return look_under_stripe(c);
	if ((err = verify_more(c)))
		return err;
	if (PH_SEEN(c->dead.slab, kind) == PM_KIND_LARGE)
		return 0;
	if (is_counted(c->heap, c->dead.slab))
		return ph_error(ENOTSUP, "%s: the object's type counts references", c->what);
	ptr = denser_place(cache, &c->dead);
	if (!ptr)
		return -errno;
	c->copied = PH_SEEN(c->dead.slab, size);
	err = prepare_link(c, ptr, 0);
	if (!err)
		err = apply_change(c);
	if (err && err != -EIO)
		pheap_free(c->heap, ptr);
	c->copied = 0;
	return err ? err : 1;
}

PHEAP_API int pheap_move(pheap_t *heap, pheap_ref *const *slots, size_t n)
{
	struct change c = {.heap = heap, .what = "pheap_move"};
	struct ph_tcache *cache;
	struct ph_target *more;
	int err = ph_heap_writable(heap, c.what);

	if (!err && (!slots || !n || n > UINT32_MAX))
		err = ph_error(EINVAL, "pheap_move: %zu slots at %p", n, (const void *)slots);
	if (err)
		return err;
	cache = ph_tcache_get(heap);
	more = calloc(n, sizeof(*more));
	if (!cache || !more)
		err = ph_error(ENOMEM, "pheap_move: no memory");
	if (!err)
		err = find_slots(heap, c.what, slots, n, more);
	if (!err) {
		c.word = slots[0];
		c.slot = more[0];
		c.more = more + 1;
		c.nmore = n - 1;
		do {
			err = try_move(&c, cache);
		} while (err == -EAGAIN);
	}
	free(more);
	return err;
}

/* ---- plain redo writes --------------------------------------------------------------- */

static int commit_write(struct ph_rec *rec, const struct ph_target *target)
{
	int err = ph_rec_lock(rec);

	if (err)
		return err;
	if (target->place == PH_IN_ROOT && !ph_root_exists(rec->heap, target->offset)) {
		ph_rec_unlock(rec);
		return ph_error(EINVAL, "the root at offset %#llx was dropped",
				(unsigned long long)target->offset);
	}
	touch_target(rec->heap, target);
	return ph_rec_commit(rec);
}

PHEAP_API int pheap_set(pheap_t *heap, uint64_t *word, uint64_t value)
{
	struct ph_target target;
	struct ph_rec rec;
	int err = ph_slot_find(heap, "pheap_set", word, &target);

	if (!err)
		err = ph_count_plain(heap, "pheap_set", &target, 8);
	if (err)
		return err;
	ph_rec_init(&rec, heap, NULL);
	ph_rec_word(&rec, target.offset, value);
	err = commit_write(&rec, &target);
	ph_rec_fini(&rec);
	return err;
}

PHEAP_API int pheap_write(pheap_t *heap, void *dst, const void *src, size_t length)
{
	struct ph_target target;
	struct ph_rec rec;
	int err = ph_heap_writable(heap, "pheap_write");

	if (!err && (!length || length > PHEAP_INLINE_MAX))
		err = ph_error(EINVAL, "pheap_write: %zu bytes: 1 to %u can be written at once",
			       length, PHEAP_INLINE_MAX);
	if (!err)
		err = ph_target_find(heap, "pheap_write", dst, length, &target);
	if (!err && target.place != PH_IN_PUBLISHED && target.place != PH_IN_ROOT)
		err = ph_error(EINVAL, "pheap_write: %p lies in an object that is not published",
			       dst);
	if (!err)
		err = ph_count_plain(heap, "pheap_write", &target, length);
	if (err)
		return err;
	ph_rec_init(&rec, heap, NULL);
	ph_rec_bytes(&rec, target.offset, src, length);
	err = commit_write(&rec, &target);
	ph_rec_fini(&rec);
	return err;
}
