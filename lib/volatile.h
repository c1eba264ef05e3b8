/*
 * volatile.h - the memory of volatile heaps, as the program wants it (pheap/pool.h, struct
 * pheap_memory).
 */
#ifndef PH_VOLATILE_H
#define PH_VOLATILE_H

#include "heap.h"

/* Is the structure sound? memory may be NULL. */
int ph_volatile_check(const char *what, const struct pheap_memory *memory);

/* Get the memory: in heap->file. */
int ph_volatile_map(struct pheap *heap, uint64_t size, const struct pheap_memory *memory);

/* After the zone is attached: debug mode, limit, prefault, purge. */
int ph_volatile_start(struct pheap *heap, const struct pheap_memory *memory);

#endif
