/*
 * large.h - large objects: spans of their own, and the caches of those that are free.
 *
 * A large object is a slab of one object: its descriptor says that the span is taken,
 * bit 0 of its bitmap that the object is published. So a span that is free can stay
 * *born*: publishing an object in it again and retiring it cost one bit each, and
 * nothing but the first publish and the last end change the free-space tree.
 *
 * Where a free large span can be:
 *
 *	free() --> thread's cache --> heap's cache --> the tree (ph_span_end)
 *	retire(), while live records may write into it: limbo --> heap's cache
 *
 * INVARIANTS
 *   A1  A span in a cache is FREE, in limbo LIMBO, and settled in the former (H3).
 *   A2  All caches of threads together hold at most a sixteenth of the pool, one of
 *       them a thirty-second; the heap's holds an eighth. Each has a limit of entries
 *       as well. (Spans that are found free on media go to the heap's up to its
 *       entries only, since none can be ended there: the next that joins makes it so.)
 *   A3  A span is handed out for a request that uses seven eighths of it or more, or
 *       that has no shorter span in granules. A born one keeps the type in its descriptor.
 *
 * A hit in the thread's cache takes no lock and no atomic. LOCKS: heap.large_lock for
 * the heap's cache, limbo and room; nothing is taken under it.
 */
#ifndef PH_LARGE_H
#define PH_LARGE_H

#include "heap.h"

/* Set the limits of the heap's caches: after its zone is attached. */
void ph_large_attach(struct pheap *heap);

/* Reserve a large object of a type, or 0: RESERVED. -ENOSPC, -ENOMEM. No stripe may be held. */
int ph_large_reserve(struct pheap *heap, uint32_t type, uint64_t bytes, struct ph_slab **slab);

/* The same at a multiple of alignment (ph_span_reserve_aligned): from no cache. */
int ph_large_reserve_aligned(struct pheap *heap, uint64_t bytes, uint64_t alignment,
			     struct ph_slab **slab);

/*
 * A large object that is free: to a cache, or, where live records may still
 * write into it (limbo), there after the next checkpoint.
 */
void ph_large_free(struct pheap *heap, struct ph_slab *slab, bool limbo);

/* An empty large span was found on media: to the heap's cache. Under zone.lock. */
void ph_large_offer(struct pheap *heap, struct ph_slab *slab);

/* What a thread's cache holds, to the heap's. Never fails. */
void ph_large_flush(struct pheap *heap, struct ph_tcache *cache);

/* The same if nothing has been taken from there since the last call. */
void ph_large_idle(struct pheap *heap, struct ph_tcache *cache);

/* What the heap's cache holds, and what limbo held before the last checkpoint, to the tree. */
void ph_large_trim(struct pheap *heap);

#endif
