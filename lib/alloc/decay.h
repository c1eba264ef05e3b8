/*
 * decay.h - memory of free spans goes back to the system, some time after it became free.
 *
 * Volatile heaps only: the file of a pool keeps its blocks until pheap_purge(). Of each
 * granule one byte says what it holds (enum ph_used). Once in a delay whoever reserves
 * or releases a span goes over the free ones: what was found free the last time goes back,
 * the rest waits for the next. So memory goes back when it was free for one to two delays,
 * and what comes and goes faster costs nothing. No thread does that on its own: a
 * process that does not use its heap keeps what it has.
 *
 *   E1  What is being given back is taken in the overlay meanwhile: nobody gets it.
 *   E2  A granule of PH_USED_NEVER reads as zero.
 *
 * LOCKS: zone.lock covers all this; it is not held while the system works.
 */
#ifndef PH_DECAY_H
#define PH_DECAY_H

#include "heap.h"

/* What a granule holds. */
enum ph_used {
	PH_USED_NEVER = 0, /* nothing, not since it was given back */
	PH_USED_NOW = 1,   /* what is taken */
	PH_USED_ONCE = 2,  /* what was free when all were gone over last */
	PH_USED_LATELY = 3 /* what has become free since */
};

/* From now on, after so many milliseconds; 0: at once. */
void ph_decay_start(struct pheap *heap, uint32_t delay);

/* Milliseconds, from a clock that costs a few nanoseconds. */
uint64_t ph_decay_now(void);

/* Granules are being taken: did all of them read as zero? Under zone.lock. */
bool ph_decay_take(struct pheap *heap, uint32_t granule, uint32_t n);

/* They have become free. Under zone.lock. */
void ph_decay_give(struct pheap *heap, uint32_t granule, uint32_t n);

/* They have been given back by somebody else (pheap_purge). Under zone.lock. */
void ph_decay_forget(struct pheap *heap, uint32_t granule, uint32_t n);

/* Give back what is due. No lock may be held. Never fails; errno stays. */
void ph_decay_step(struct pheap *heap);

#endif
