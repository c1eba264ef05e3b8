/*
 * pheap/publish.h - single operations that change what is permanent.
 *
 * Each is atomic with respect to a crash at any instruction and to every other
 * thread: it happens whole or not at all, and once it has returned it has
 * happened (at the durability level of the heap). Each takes one fence where
 * not said otherwise; now and then one of them also finds its redo ring full
 * and runs a checkpoint (two fences for some hundred operations).
 *
 * A slot is an 8-byte aligned pheap_ref in a root or in a *published* object.
 * A slot in reserved memory is EINVAL: build graphs bottom-up in a transaction.
 * A slot inside a range that an open transaction has snapshotted: EINVAL.
 *
 * All are thread-safe, also on one and the same slot: of two threads that
 * retire it, one does, and the other gets ENOENT. Reading a slot is one aligned
 * 8-byte load; the library stores it with release semantics, so a thread that
 * reads it with acquire sees the content of the object.
 *
 * Common errors: EINVAL (slot or object as above), EROFS, EIO.
 */
#ifndef PHEAP_PUBLISH_H
#define PHEAP_PUBLISH_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags. */
enum {
	/* The caller has made the content durable already (pheap_persist): it is
	 * neither logged nor flushed again. */
	PHEAP_PERSISTED = 1u << 0,
};

/*
 * Make the reserved object at ptr permanent and store its reference in *slot.
 * Its content, as it stands, becomes durable too: up to PHEAP_INLINE_MAX bytes
 * travel in the record; a larger object is flushed first, which takes a second
 * fence, unless PHEAP_PERSISTED is given.
 *
 * Errors: EEXIST (*slot is not null), EINVAL (ptr is free, published already,
 * owned by a transaction, interior or foreign).
 */
PHEAP_API int pheap_publish(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags);

/*
 * Set *slot to null and free the object that it referred to, in one step.
 * Works on a full pool. Errors: ENOENT (*slot is null), EINVAL (*slot does not
 * refer to the start of a published object).
 */
PHEAP_API int pheap_retire(pheap_t *heap, pheap_ref *slot);

/*
 * Publish ptr in *slot and free the object that *slot referred to before, in
 * one step. As pheap_publish otherwise. Errors: ENOENT (*slot is null), EINVAL.
 */
PHEAP_API int pheap_replace(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags);

/*
 * Reserve size bytes, fill them from content (zero bytes where content is
 * NULL) and publish the object in *slot: one fence for up to
 * PHEAP_INLINE_MAX bytes, two for more. Errors: EEXIST, ENOSPC, EINVAL.
 */
PHEAP_API int pheap_alloc_into(pheap_t *heap, pheap_ref *slot, size_t size, const void *content);

/*
 * Give the published object in *slot a new size: in place where its block
 * allows (no fence), else a copy replaces it and the old one is freed. Content
 * up to the smaller size is kept; references to it from elsewhere than *slot
 * are the caller's to mend, so compare *slot before and after. Errors: ENOENT,
 * ENOSPC, EINVAL (size 0).
 */
PHEAP_API int pheap_resize(pheap_t *heap, pheap_ref *slot, size_t size);

/*
 * Store value in the aligned 8-byte word at word, in a root or in a published
 * object. Allocates and frees nothing.
 */
PHEAP_API int pheap_set(pheap_t *heap, uint64_t *word, uint64_t value);

/*
 * Overwrite length bytes (1 to PHEAP_INLINE_MAX) of a published object with
 * those at src. Readers that do not synchronise may see a mix; a crash does not
 * leave one.
 */
PHEAP_API int pheap_write(pheap_t *heap, void *dst, const void *src, size_t length);

#ifdef __cplusplus
}
#endif
#endif
