/*
 * traced.h - what is different in a traced heap.
 *
 * An object is permanent where the roots reach it, so reserve, free and records leave
 * bitmaps alone. What they say counts only after a clean close, which writes them from
 * the states of objects; recovery writes them from what it has reached.
 *
 * INVARIANTS
 *   C1  A span is born before an object in it is handed out: whatever is linked to it,
 *       the descriptor by which recovery finds it is durable already.
 *   C2  RESERVED: since it was handed out no record wrote into the object, and no undo log
 *       saved a part of it. So its memory is free at once when it is freed (H3), by the
 *       short way of pheap_free(). Else it is PUBLISHED, as what an earlier session left
 *       is: then limbo and snapshots are looked at.
 *   C3  Bits beyond the last object of a slab, and those of granules in no span, are zero
 *       at all times.
 */
#ifndef PH_TRACED_H
#define PH_TRACED_H

#include "span.h"

/* C1: one record, one fence, where the span is not born yet. On an error it is released. */
int ph_traced_bear(struct pheap *heap, struct ph_slab *slab) __attribute__((cold));

/*
 * For pheap_free(): is ptr an object that is PUBLISHED? Then 1, or -EINVAL where a snapshot
 * keeps it from being freed. Else 0, and nothing has been said of it.
 */
int ph_traced_find_logged(struct pheap *heap, const void *ptr, struct ph_object *object);

/* C3: a slab or large span dies with this record, and its bits become zero with it. Before
 * what is staged in the record, under zone.lock. */
void ph_traced_clear_bits(struct ph_rec *rec, const struct ph_slab *slab);

/* Clean close: the bitmaps of all spans that are loaded, from the states of their objects;
 * others are as they were. Flushed, not fenced. No other thread is in the heap. */
void ph_traced_write_bits(struct pheap *heap, struct ph_count *count);

/* C2, before a record or an undo entry with a part of the object is written. */
static inline void ph_traced_log(const struct ph_object *object)
{
	uint8_t reserved = PH_RESERVED;

	/* Only in a traced heap there is anything to log of such an object. */
	if (ph_unlikely(ph_state(object) == PH_RESERVED))
		__atomic_compare_exchange_n(ph_state_of(object), &reserved, PH_PUBLISHED, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* May the object be linked to and permanent? */
static inline bool ph_traced_permanent(const struct pheap *heap, const struct ph_object *object)
{
	enum ph_state state = ph_state(object);

	return ph_likely(state == PH_PUBLISHED) || (heap->traced && state == PH_RESERVED);
}

#endif
