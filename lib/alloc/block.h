/*
 * block.h - the allocator below its public functions: for a layer that has its own idea of
 * sizes and of what is in use (debug.c).
 */
#ifndef PH_BLOCK_H
#define PH_BLOCK_H

#include "heap.h"

/*
 * A block of at least so many bytes at a multiple of alignment, a power of two, of an
 * object's size for slabs: RESERVED. `span`: never one of a slab. NULL with errno and a message.
 */
void *ph_block_alloc(struct pheap *heap, uint64_t alignment, uint64_t bytes, bool span);

/* A block that is in use, or in limbo on the caller's account. Never fails. */
void ph_block_free(struct pheap *heap, const struct ph_object *object);

#endif
