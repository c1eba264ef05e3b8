/*
 * drain.c - free the objects of the chains of dead ones. See count.h.
 *
 * PROTOCOL: a step is one record. The first object of a chain leaves it: its bit is
 * cleared, or its word says that it is drained, and the counts of all that it refers to go
 * down; those that reach 0 join the chain in its place. An object that refers to more than
 * STEP_SLOTS stays the first, and so many of its slots become null (K3), until less are left. So
 * a step has a bound, a chain needs no room but its head, and after a crash in the middle
 * the next step is found where it was.
 *
 * Steps of several threads may meet on a chain: what a step has read is looked at again
 * under the stripes of the head and of the slots.
 */
#include <pheap/count.h>

#include "alloc/tcache.h"
#include "count.h"
#include "types.h"
#include "undo.h"

#define STEP_SLOTS 16u
/* What the open frees of what a crash left, and an operation of other chains: more takes
 * long. */
#define RESUME_STEPS 256u
#define OTHERS_STEPS 16u

struct step {
	struct pheap *heap;
	struct ph_object object; /* the first */
	uint64_t *slot[STEP_SLOTS];
	uint64_t ref[STEP_SLOTS];
	bool weak[STEP_SLOTS];
	uint32_t n;
	bool more; /* slots than these */
};

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static uint64_t *head_of(struct pheap *heap, unsigned chain)
{
	return (uint64_t *)(void *)ph_at(heap, PM_DEAD + chain * PM_LINE);
}

static int bad_chain(uint64_t ref)
{
	return ph_error(EUCLEAN, "a chain of dead objects has %#llx, which is none: run a check",
			(unsigned long long)ref);
}

static int look_at_slot(struct step *s, uint64_t *slot, bool weak)
{
	uint64_t ref = load(slot);

	if (!ref)
		return 0;
	if (s->n == STEP_SLOTS) {
		s->more = true;
		return 1;
	}
	s->slot[s->n] = slot;
	s->ref[s->n] = ref;
	s->weak[s->n++] = weak;
	return 0;
}

static int collect(struct step *s)
{
	const struct pheap_type *type = ph_type(s->heap, PH_SEEN(s->object.slab, type));
	char *element = ph_at(s->heap, s->object.start);
	uint64_t n;

	if (!type)
		return ph_error(EUCLEAN, "type %u is damaged: its dead objects cannot be freed",
				PH_SEEN(s->object.slab, type));
	n = ph_type_elements(type, PH_SEEN(s->object.slab, size));
	for (; n--; element += type->size) {
		for (uint32_t i = 0; i < type->nrefs; i++)
			if (look_at_slot(s, (uint64_t *)(void *)(element + type->refs[i]), false))
				return 0;
		for (uint32_t i = 0; i < type->nweak; i++)
			if (look_at_slot(s, (uint64_t *)(void *)(element + type->weak[i]), true))
				return 0;
	}
	return 0;
}

/* The chain's first object, and what it refers to; media is input. */
static int begin_step(struct step *s, uint64_t first)
{
	if (!ph_object_find(s->heap, first, &s->object) || s->object.start != first ||
	    !ph_is_counted(&s->object) || ph_state(&s->object) != PH_PUBLISHED ||
	    !(load((uint64_t *)(void *)ph_at(s->heap, ph_count_word(&s->object))) & PM_COUNT_DEAD))
		return bad_chain(first);
	return collect(s);
}

static int count_step(struct step *s, struct ph_counting *counting)
{
	int err = 0;

	if (!s->more) {
		err = ph_counting_born(counting, &s->object);
		if (err)
			return err;
		counting->c[0].born = false;
		counting->c[0].popped = true;
		counting->popped = s->object.start;
	}
	for (uint32_t i = 0; i < s->n && !err; i++)
		err = ph_counting_add(counting, s->ref[i], -!s->weak[i], -s->weak[i]);
	return err;
}

static int verify(const struct step *s, const uint64_t *head)
{
	if (load(head) != s->object.start)
		return -EAGAIN;
	for (uint32_t i = 0; i < s->n; i++)
		if (load(s->slot[i]) != s->ref[i])
			return -EAGAIN;
	return 0;
}

static int commit_step(struct ph_rec *rec, struct step *s, struct ph_counting *counting,
		       const uint64_t *head)
{
	int err = ph_counting_build(counting);

	if (err)
		return err;
	ph_rec_cover(rec, ph_off(s->heap, head), 8);
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t offset = ph_off(s->heap, s->slot[i]);

		if (s->more)
			ph_rec_word(rec, offset, 0);
		else
			ph_rec_cover(rec, offset, 8);
	}
	if ((err = ph_rec_lock(rec)))
		return err;
	err = verify(s, head);
	if (!err)
		err = ph_counting_settle(counting);
	if (err) {
		ph_rec_unlock(rec);
		return err;
	}
	ph_touch(s->heap, s->object.slab);
	ph_counting_states(counting);
	return ph_rec_commit(rec);
}

/* 1: there was nothing to do. -EAGAIN: another thread was quicker. */
static int step(struct pheap *heap, unsigned chain)
{
	uint64_t *head = head_of(heap, chain), first = load(head);
	struct step s = {.heap = heap};
	struct ph_counting counting;
	struct ph_rec rec;
	int err;

	if (!first)
		return 1;
	err = begin_step(&s, first);
	if (err)
		return load(head) != first ? -EAGAIN : err;
	ph_rec_init(&rec, heap, NULL);
	ph_counting_init(&counting, &rec);
	counting.head = PM_DEAD + chain * PM_LINE;
	err = rec.error ? rec.error : count_step(&s, &counting);
	if (!err)
		err = commit_step(&rec, &s, &counting, head);
	if (!err)
		ph_counting_done(&counting);
	else if (load(head) != first)
		err = -EAGAIN;
	ph_counting_fini(&counting);
	ph_rec_fini(&rec);
	return err;
}

/* So many steps at most: *steps becomes how many are left. 0: the chain is empty, or they
 * are used up. */
static int drain(struct pheap *heap, unsigned chain, uint64_t *steps)
{
	int err = 0;

	while (*steps && !err) {
		err = step(heap, chain);
		*steps -= !err;
		if (err == -EAGAIN)
			err = 0;
	}
	return err == 1 ? 0 : err;
}

static int drain_all(struct pheap *heap, uint64_t steps)
{
	int err = 0;

	for (unsigned chain = 0; chain < PM_DEAD_CHAINS; chain++) {
		int failed = drain(heap, chain, &steps);

		err = err ? err : failed;
	}
	if (!err && steps)
		__atomic_store_n(&heap->dead_left, false, __ATOMIC_RELAXED);
	return err;
}

void ph_count_drain_some(struct pheap *heap)
{
	struct ph_tcache *cache = ph_tcache_get(heap);
	unsigned chain = cache && cache->lane ? cache->lane->index % PM_DEAD_CHAINS : 0;
	uint64_t steps = UINT64_MAX;

	if (*head_of(heap, chain) && drain(heap, chain, &steps))
		__atomic_store_n(&heap->dead_left, true, __ATOMIC_RELAXED);
	else if (ph_unlikely(__atomic_load_n(&heap->dead_left, __ATOMIC_RELAXED)))
		drain_all(heap, OTHERS_STEPS);
}

void ph_count_resume(struct pheap *heap)
{
	for (unsigned chain = 0; chain < PM_DEAD_CHAINS && !heap->dead_left; chain++)
		heap->dead_left = *head_of(heap, chain) != 0;
	if (heap->dead_left)
		drain_all(heap, RESUME_STEPS);
}

PHEAP_API int pheap_count_drain(pheap_t *heap)
{
	int err = ph_heap_writable(heap, "pheap_count_drain");

	if (!err && heap->types)
		err = drain_all(heap, UINT64_MAX);
	return err;
}

/* ---- the public functions on single slots ---------------------------------------------- */

static int link_slot(pheap_t *heap, const char *what, pheap_ref *slot, pheap_ref ref,
		     const pheap_ref *from, bool weak)
{
	struct ph_count_link l = {
		.heap = heap, .what = what, .word = slot, .ref = ref, .from = from, .weak = weak};
	int err = ph_slot_find(heap, what, slot, &l.slot);

	if (!err && !heap->types)
		err = ph_error(ENOTSUP, "%s: a volatile heap has no counted objects", what);
	return err ? err : ph_count_link(&l);
}

PHEAP_API int pheap_link(pheap_t *heap, pheap_ref *slot, pheap_ref ref)
{
	return link_slot(heap, "pheap_link", slot, ref, NULL, false);
}

PHEAP_API int pheap_weak_link(pheap_t *heap, pheap_ref *slot, pheap_ref ref)
{
	return link_slot(heap, "pheap_weak_link", slot, ref, NULL, true);
}

PHEAP_API int pheap_counts(pheap_t *heap, const void *ptr, uint64_t *strong, uint64_t *weak)
{
	struct ph_object object;
	uint64_t word;
	int err = ph_heap_usable(heap, "pheap_counts");

	if (err)
		return err;
	if (!ph_object_find(heap, ph_off(heap, ptr), &object) ||
	    object.start != ph_off(heap, ptr) || !ph_is_counted(&object) ||
	    ph_state(&object) != PH_PUBLISHED)
		return ph_error(EINVAL, "pheap_counts: %p is no published counted object", ptr);
	word = load((const uint64_t *)(const void *)ph_at(heap, ph_count_word(&object)));
	if (strong)
		*strong = word & PM_COUNT_DEAD ? 0 : word & PM_COUNT_STRONG_MAX;
	if (weak)
		*weak = word >> PM_COUNT_WEAK_SHIFT & PM_COUNT_WEAK_MAX;
	return 0;
}

/* Is the object of a reference, found in a weak slot, dead? */
static bool is_dead(pheap_t *heap, pheap_ref ref)
{
	struct ph_object object;

	return ph_object_find(heap, ref, &object) && object.start == ref &&
	       ph_is_counted(&object) &&
	       load((const uint64_t *)(const void *)ph_at(heap, ph_count_word(&object))) &
		       PM_COUNT_DEAD;
}

PHEAP_API int pheap_weak_get(pheap_t *heap, const pheap_ref *weak, pheap_ref *slot)
{
	const char *what = "pheap_weak_get";
	struct ph_target target;
	pheap_ref ref;
	int err = ph_slot_find(heap, what, weak, &target);

	if (!err)
		err = ph_count_slot(heap, what, &target, true);
	if (err)
		return err;
	do {
		ref = load(weak);
		if (ref && is_dead(heap, ref))
			return ph_error(ENOENT, "%s: the object is dead", what);
		err = link_slot(heap, what, slot, PHEAP_NULL, weak, false);
	} while (err == -EINVAL && ref && (load(weak) != ref || is_dead(heap, ref)));
	return err;
}
