/*
 * slab.h - slabs of one shape (heap.h): where magazines are filled and drained.
 *
 * A thread fills its magazine of a shape from one slab, which it owns: so threads
 * write into bitmap lines, and thus take stripes, of their own. When another thread frees
 * an object, it goes back to its slab and not into that thread's magazines: else
 * slabs, and the lines of their states, would soon be shared by all.
 *
 * What of a slab may be taken is a bit in DRAM, so objects move in and out by words.
 * A slab of which something may be taken and that nobody owns is on one of its shape's
 * lists, by how much that is; threads take over the fullest first, so that
 * the others can become empty. The lists are there several times, on shelves: a thread
 * looks at its own one first, where slabs are that it had before. What others had last,
 * its states and its objects, would have to come from their processors' caches, line by
 * line. Empty slabs are kept up to a small part of what is in use, so that a few objects
 * do not make and end a slab again and again; further ones go back to the zone, and memory
 * moves between shapes. They go one by one: whenever another shape needs a slab, or after
 * a while, as long as they are not very many. A program that frees all it has may want as
 * much again.
 *
 * LOCKS: central.lock; zone.lock is never taken under it.
 */
#ifndef PH_SLAB_H
#define PH_SLAB_H

#include "heap.h"

/* The lists of all shapes that there can be: types are kept in a pool. */
int ph_slab_attach(struct pheap *heap);
void ph_slab_detach(struct pheap *heap);

/* The number of a shape, which is given to it now if it has none. */
unsigned ph_shape(struct pheap *heap, uint32_t type, unsigned cls);

/* A slab with available objects joins its shape: after loading or reserving. */
void ph_slab_offer(struct pheap *heap, struct ph_slab *slab);

/*
 * Take up to n available objects of a shape, from the slab that its magazine has first,
 * which is replaced by another when that has none left. Returns how many, 0 with errno
 * and a message where the pool has none left.
 */
uint32_t ph_slab_take(struct ph_tcache *cache, unsigned shape, struct ph_cached *objects,
		      uint32_t n);

/* Take a slab out of circulation: nobody allocates from it until it is disowned. False: a
 * magazine owns it. */
bool ph_slab_adopt(struct pheap *heap, struct ph_slab *slab);

/* Own a slab no longer. */
void ph_slab_disown(struct pheap *heap, struct ph_slab **own);

/* Give n FREE objects of a shape back. Never fails. */
void ph_slab_give(struct pheap *heap, unsigned shape, const struct ph_cached *objects, uint32_t n);

/* Let go of the slabs kept empty beyond the small part, or of all. */
void ph_slab_end_kept(struct pheap *heap);
void ph_slab_trim(struct pheap *heap);

/* The pool is short of granules: load what is not loaded yet, settle, and let go of
 * what is empty or waited for a checkpoint. No stripe may be held. */
void ph_slab_squeeze(struct pheap *heap);

#endif
