/*
 * pheap/persist.h - make stores of your own durable.
 *
 * Inside a pool only the library makes stores durable. Do not flush pool memory
 * with instructions of your own, with libpmem or with msync: bytes that a redo
 * record wrote a moment ago are replayed after a crash, and your newer, raw
 * flushed ones would be undone. These functions know of such records and settle
 * them first, which costs a checkpoint (two fences more) when it happens.
 *
 * None of them makes several stores atomic: use a transaction for that. On a
 * heap with PROCESS durability they take no fence; on a VOLATILE one they do
 * nothing. All are thread-safe. Errors: EINVAL (the range is not in the pool's
 * data), EROFS, EIO (the write-back failed: what is durable is unknown, and the
 * heap has gone read-only).
 */
#ifndef PHEAP_PERSIST_H
#define PHEAP_PERSIST_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Make length bytes at addr durable: flush and fence. length 0 does nothing. */
PHEAP_API int pheap_persist(pheap_t *heap, const void *addr, size_t length);

/* Start making them durable: they are after the caller's next pheap_drain(). */
PHEAP_API int pheap_flush(pheap_t *heap, const void *addr, size_t length);

/* Wait for the calling thread's pheap_flush() and pheap_memcpy() calls: one fence. */
PHEAP_API int pheap_drain(pheap_t *heap);

/*
 * Copy length bytes from src to dst in the pool and start making them durable;
 * durable after the next pheap_drain(). The ranges must not overlap.
 */
PHEAP_API int pheap_memcpy(pheap_t *heap, void *dst, const void *src, size_t length);

#ifdef __cplusplus
}
#endif
#endif
