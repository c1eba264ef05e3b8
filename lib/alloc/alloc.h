/*
 * alloc.h - what reserving offers the rest of the library beside pheap/alloc.h: objects
 * of a type.
 */
#ifndef PH_ALLOC_H
#define PH_ALLOC_H

#include "heap.h"

/* Reserve an object of a shape; or of a type, or 0, with a block of so many bytes at least.
 * What it holds is undefined. NULL with errno and a message. */
void *ph_alloc_shape(struct pheap *heap, unsigned shape);
void *ph_alloc_of(struct pheap *heap, uint32_t type, uint64_t size);

/* One of the type that another has, whose references beyond the other's block are null.
 * A size that its objects cannot have is EINVAL: */
void *ph_alloc_like(struct pheap *heap, const struct ph_object *object, uint64_t size);
int ph_typed_size(struct pheap *heap, const char *what, uint32_t type, uint64_t size);

#endif
