/*
 * place.h - which open heap an address lies in: pheap_heap_of().
 */
#ifndef PH_PLACE_H
#define PH_PLACE_H

#include "heap.h"

/* A heap has been opened. Errors: ENOMEM. */
int ph_place_add(struct pheap *heap);

/* It is being closed. Nothing happens to one that was not added. */
void ph_place_remove(struct pheap *heap);

#endif
