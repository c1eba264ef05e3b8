/*
 * pheap/tx.h - transactions: any number of changes, all or none.
 *
 * A transaction has two ways to change memory, which may be mixed:
 *
 *   redo  pheap_tx_set/write/alloc/free/retire: nothing changes until commit;
 *         a reader, the transaction itself included, sees the old value till
 *         then. Commit takes one fence (one more if new objects do not fit in
 *         the record and were filled in place; one more when the record does
 *         not fit in the ring).
 *   undo  pheap_tx_snapshot, then plain stores: memory changes at once, and
 *         goes back at abort, crash or failure. One fence a snapshot call and
 *         two for commit.
 *
 * An empty transaction takes no fence.
 *
 * There is no isolation: locking is the program's. But what an open transaction
 * has snapshotted is guarded against others, who get EINVAL: for a snapshot or a
 * single operation on those bytes, and for freeing the object they lie in, at
 * once; for redo writes of a transaction from its commit, which then aborts. The
 * transaction's own redo writes to them are fine: commit puts them on top of what
 * was stored there. The reference of a root may be snapshotted like any word.
 *
 * A handle belongs to no thread: it may move between threads, and a thread may
 * have many, but only one thread may use it at a time. No setjmp, no nesting.
 * A call that fails leaves the transaction as it was; go on, or abort.
 *
 * A transaction of more than some hundred redo operations needs log space beyond
 * its ring. It is reserved as the transaction grows: on a full pool the operation
 * that asks for too much is refused with ENOSPC, and what came before can still
 * be committed.
 *
 * Common errors: EINVAL (misuse), ENOSPC, ENOMEM, EIO.
 */
#ifndef PHEAP_TX_H
#define PHEAP_TX_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A range of pool memory. */
struct pheap_range {
	void *addr;
	size_t length;
};

/* Begin a transaction. NULL and errno: ENOMEM, EROFS, EIO. No fence. */
PHEAP_API pheap_tx_t *pheap_tx_begin(pheap_t *heap);

/*
 * Commit and end the transaction: the handle is gone, whatever is returned. On
 * an error it has been aborted, except after EIO, when its outcome is unknown
 * until the pool is opened again. Objects it allocated or adopted are
 * published; what it freed is free.
 */
PHEAP_API int pheap_tx_commit(pheap_tx_t *tx);

/*
 * Abort and end the transaction: snapshotted ranges get their old content back,
 * objects it allocated or adopted are free, those it freed are published as
 * before. NULL is accepted. Fences: none without a snapshot, else two.
 * Errors: EIO.
 */
PHEAP_API int pheap_tx_abort(pheap_tx_t *tx);

/*
 * Reserve an object that commit publishes. Fill it with plain stores; it needs
 * no snapshot. No fence. Errors as pheap_alloc.
 */
PHEAP_API void *pheap_tx_alloc(pheap_tx_t *tx, size_t size);
PHEAP_API void *pheap_tx_zalloc(pheap_tx_t *tx, size_t size);

/*
 * Let commit publish an object that was reserved with pheap_alloc. The
 * transaction owns it from now on: abort frees it. No fence.
 */
PHEAP_API int pheap_tx_adopt(pheap_tx_t *tx, void *ptr);

/*
 * Free a published object at commit; an object of the transaction's own is
 * given back at once. Errors: EINVAL for what is not the start of either, and
 * for one that a transaction frees already. No fence.
 */
PHEAP_API int pheap_tx_free(pheap_tx_t *tx, void *ptr);

/* At commit, set *slot to null and free what it refers to now. Errors: ENOENT. */
PHEAP_API int pheap_tx_retire(pheap_tx_t *tx, pheap_ref *slot);

/*
 * Store value in the aligned 8-byte word at commit. In an object of the
 * transaction's own it is stored at once. No fence.
 */
PHEAP_API int pheap_tx_set(pheap_tx_t *tx, uint64_t *word, uint64_t value);

/* Overwrite length bytes at dst with a copy of those at src at commit. */
PHEAP_API int pheap_tx_write(pheap_tx_t *tx, void *dst, const void *src, size_t length);

/*
 * Save a range of published memory, so that it may be changed with plain
 * stores. One fence; none where the transaction owns or has snapshotted the
 * whole range already. Errors: EINVAL (not in published memory, or snapshotted
 * by another transaction), ENOSPC (no room for the log).
 */
PHEAP_API int pheap_tx_snapshot(pheap_tx_t *tx, void *addr, size_t length);

/* The same for n ranges with one fence in all. All are saved, or none. */
PHEAP_API int pheap_tx_snapshotv(pheap_tx_t *tx, const struct pheap_range *ranges, size_t n);

#ifdef __cplusplus
}
#endif
#endif
