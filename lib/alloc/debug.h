/*
 * debug.h - debug mode of volatile heaps (pheap/debug.h): a layer on top of the allocator.
 *
 * Calls of a heap in debug mode never take the allocator's fast paths, since no thread's
 * ph_tls has its `fast_id`. The slow ones lead here, and from here ph_block_alloc() and
 * ph_block_free() (alloc.c) to the allocator as it is.
 *
 *	program --> debug.c --> allocator
 *	            records, quarantine, traces
 *
 * An object begins where its block begins, so all that takes references or addresses goes on
 * as without this layer:
 *
 *	[ object: the size that was asked for ][ canary ]                  of a small one
 *	[ object ][ canary up to the page's end ][ no access up to the end ]   of a large one
 *
 * A *record* says what is known of the object that begins at a multiple of 16. It stands
 * outside of the heap, in an array of address space, at a place that follows from the
 * address.
 *
 * INVARIANTS
 *   G1  A record is LIVE if and only if its object is in use; then its fields are of that
 *       object. Who makes it HELD from LIVE, by an exchange, frees the object: of two that
 *       free it at once only one.
 *   G2  An object in quarantine is HELD, for the allocator LIMBO: nobody takes it. It leaves
 *       once, and all its pages can be accessed again before the allocator has it.
 *   G3  Without misuse each byte of a canary is CANARY while the object is LIVE or HELD, and
 *       each of an object that is HELD is FREED, up to FILL_MOST, or cannot be accessed.
 *
 * LOCKS: debug.lock for the quarantine, and that of the traces: nothing is taken under
 * them, and no report is made.
 */
#ifndef PH_DEBUG_H
#define PH_DEBUG_H

#include "heap.h"

/* Is the structure sound? debug may be NULL. */
int ph_debug_check_options(const char *what, const struct pheap_debug *debug);

/* Before the heap has objects, and before it is registered. Guard pages if `guards`. */
int ph_debug_start(struct pheap *heap, const struct pheap_debug *options, bool guards);
void ph_debug_fini(struct pheap *heap);

/* size > 0; alignment is a power of two, 1: what pheap_alloc() promises for the size. */
void *ph_debug_alloc(struct pheap *heap, uint64_t alignment, uint64_t size) __attribute__((cold));
void *ph_debug_realloc(struct pheap *heap, void *ptr, uint64_t size) __attribute__((cold));
int ph_debug_free(struct pheap *heap, void *ptr) __attribute__((cold));

/* An object that was permanent, which nothing refers to any more. */
void ph_debug_retire(struct pheap *heap, const struct ph_object *object) __attribute__((cold));

/* The size that was asked for; 0 with a report: ptr is no object in use. */
uint64_t ph_debug_size(struct pheap *heap, const char *what, const void *ptr) __attribute__((cold));

/* An address that could not be accessed, in a handler: what is known of it, and the calls
 * that led there. NULL: it is not the heap's. */
const char *ph_debug_fault(struct pheap *heap, const void *addr);

/* Held over a fork. */
void ph_debug_hold(struct pheap *heap);
void ph_debug_let_go(struct pheap *heap);

#endif
