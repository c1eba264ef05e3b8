/*
 * pheap/alloc.h - reserve memory, as malloc does.
 *
 * What these functions hand out is *reserved*: it is private to the program
 * and free again after a crash or a close, until it is published
 * (pheap/publish.h) or adopted by a transaction that commits (pheap/tx.h).
 * Reserving touches no persistent metadata and takes no fence.
 *
 * All are thread-safe; memory may be freed by another thread than the one that
 * reserved it.
 */
#ifndef PHEAP_ALLOC_H
#define PHEAP_ALLOC_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Reserve size bytes. The address is a multiple of 8, of 16 for sizes that are
 * multiples of 16, and of size itself for powers of two up to 64 KiB; of 16 KiB
 * for larger sizes, and of 64 KiB for sizes over 224 KiB. The content is undefined.
 *
 * Blocks of 16, 32 and 64 bytes, and of multiples of 64, do not straddle cache lines for
 * nothing. Those of 24, 40, 48 and 56 bytes take no more than that, so some lie in
 * two lines: of 24 bytes a quarter, of 40 and 48 a half, of 56 three quarters. Where lines
 * matter more than memory, pheap_aligned_alloc(heap, 64, size) gives a line to each.
 *
 * Errors: EINVAL (size 0), ENOSPC (the pool is full, or size exceeds
 * pheap_info.max_object, or the file system has no block left), EROFS.
 */
PHEAP_API void *pheap_alloc(pheap_t *heap, size_t size);

/* The same, filled with zero bytes (which are not made durable yet). */
PHEAP_API void *pheap_zalloc(pheap_t *heap, size_t size);

/*
 * Reserve size bytes at a multiple of alignment, a power of two up to 64 KiB.
 * Errors: EINVAL (alignment), and those of pheap_alloc.
 */
PHEAP_API void *pheap_aligned_alloc(pheap_t *heap, size_t alignment, size_t size);

/*
 * Resize a reserved object, moving it where it must; ptr NULL reserves. The
 * first min(old, new) bytes are kept. On an error the old object is untouched.
 * Errors: EINVAL (size 0; ptr is published: use pheap_resize() through its
 * slot; or not a reserved object at all), ENOSPC, EROFS.
 */
PHEAP_API void *pheap_realloc(pheap_t *heap, void *ptr, size_t size);

/*
 * Give a reserved object back. NULL is accepted. Never allocates: it works on
 * a full pool, in a new thread, always.
 *
 * Errors, state unchanged: EINVAL for an object that is free already, that is
 * published (retire it through its slot) or that a transaction owns, and for an
 * interior or foreign pointer. Caught in every build, as long as the address
 * was not handed out again and two frees of it do not race.
 */
PHEAP_API int pheap_free(pheap_t *heap, void *ptr);

/* Flags of pheap_purge(). */
enum {
	/* Then give the blocks of the file in which nothing is back to the file system, or
	 * such memory to the system. The size of the file stays. */
	PHEAP_PUNCH_HOLES = 1u << 0,
};

/*
 * Give back to the pool what the heap keeps for reuse: magazines and large objects of the
 * calling thread's cache and of the heap's, slabs without an object, memory that waited
 * until records were settled. What other threads' caches hold stays there. Settles: a
 * checkpoint of two fences, and one fence for each span that goes back.
 *
 * flags: 0 or PHEAP_PUNCH_HOLES. Atomic to a crash: what is published is not touched.
 * Errors: EINVAL (flags), EROFS, EIO; ENOTSUP (the file system cannot punch holes: all else
 * was done). Thread-safe.
 */
PHEAP_API int pheap_purge(pheap_t *heap, unsigned flags);

/*
 * Bytes that may be used at ptr, a reserved or published object: at least what
 * was asked for. 0 and errno EINVAL for anything else.
 */
PHEAP_API size_t pheap_usable_size(pheap_t *heap, const void *ptr);

#ifdef __cplusplus
}
#endif
#endif
