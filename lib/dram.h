/*
 * dram.h - where the allocator has its own structures: the one place in which it asks
 * for DRAM.
 *
 * In libpheap that is malloc(3). libpheapmalloc is malloc(3), so it has a source of its
 * own (lib/malloc/dram.c). Whoever gives memory back says how much it was, so that a
 * source needs no headers.
 */
#ifndef PH_DRAM_H
#define PH_DRAM_H

#include <stddef.h>

/* Memory at a multiple of 64, whose content is undefined; NULL: none. */
void *ph_dram_alloc(size_t bytes);

/* The same, zeroed. */
void *ph_dram_zalloc(size_t bytes);

/* As realloc(3): old bytes become bytes. ptr NULL, old 0: alloc. NULL: nothing changed. */
void *ph_dram_resize(void *ptr, size_t old, size_t bytes);

/* ptr may be NULL. */
void ph_dram_free(void *ptr, size_t bytes);

/* Hold its lock over a fork: no block is half made in the child. */
void ph_dram_hold(void);
void ph_dram_let_go(void);

#endif
