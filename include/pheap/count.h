/*
 * pheap/count.h - reference counts: an object is freed when nothing refers to it.
 *
 * Objects of a type with PHEAP_TYPE_COUNTED have two counts, kept in the pool beside the
 * objects: of strong references, which keep an object alive, and of weak ones, which do
 * not. References are those that the functions here and pheap_publish(), pheap_replace(),
 * pheap_retire() and transactions put into slots:
 *
 *	a strong slot is the reference of a root, an offset in `refs` of a counted type, or
 *	any slot of an object whose type is not counted
 *	a weak slot is an offset in `weak` of a counted type, or again any slot of an object
 *	whose type is not counted; a slot is used for one of the two only
 *
 * Each call changes the counts in the record in which it changes the slot: one fence. A
 * strong slot of a counted object refers to counted objects only. In such slots nothing
 * else may store: pheap_set() and the like give EINVAL there, stores under a snapshot are
 * the program's mistake. When an object whose type is not counted is freed, what its slots
 * refer to keeps its counts: clear them before.
 *
 * WHEN THE LAST STRONG REFERENCE GOES the object is dead in the same record, and nothing
 * can refer to it again. Before the call returns it and all that died of it is freed,
 * one record and one fence for each object (of more than 16 references, for each 16). The
 * way is a list in the pool and no recursion: however deep it goes, a crash or an error in
 * the middle loses nothing, and what is left is freed by the open, and later calls. An object to
 * which weak references are left keeps its memory until they go. Cycles of strong
 * references are never freed that way: see pheap/gc.h.
 *
 * All are atomic to a crash and thread-safe, several threads may share objects and slots.
 * Common errors: EINVAL (a slot or a reference that is not as above, or a dead object),
 * EUCLEAN (counts or types on media are damaged), EROFS, EIO, ENOMEM.
 */
#ifndef PHEAP_COUNT_H
#define PHEAP_COUNT_H

#include <pheap/type.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Store ref, of a published counted object or null, in a strong slot. What it held before
 * loses a reference. One fence; none where it holds ref already. Errors: ERANGE (2^44 - 1
 * references).
 */
PHEAP_API int pheap_link(pheap_t *heap, pheap_ref *slot, pheap_ref ref);

/* The same for a weak slot. Errors: ERANGE (2^19 - 1 weak references). */
PHEAP_API int pheap_weak_link(pheap_t *heap, pheap_ref *slot, pheap_ref ref);

/*
 * Store what a weak slot refers to in a strong one, as pheap_link, if it is alive. Errors:
 * ENOENT (it is dead, or the weak slot is null; nothing has changed).
 */
PHEAP_API int pheap_weak_get(pheap_t *heap, const pheap_ref *weak, pheap_ref *slot);

/*
 * At commit, store ref in a strong slot, as pheap_link: of a published object, or of one of
 * the transaction's own. What new counted objects refer to is counted at commit, too; a
 * new one to which nothing refers then is freed. pheap_tx_free() does not take counted
 * objects. No fence.
 */
PHEAP_API int pheap_tx_link(pheap_tx_t *tx, pheap_ref *slot, pheap_ref ref);

/* The counts of a published counted object; 0 strong references: it is dead. No fence. */
PHEAP_API int pheap_counts(pheap_t *heap, const void *ptr, uint64_t *strong, uint64_t *weak);

/*
 * Free what is dead and was left, by a crash, or because a transaction had snapshotted it:
 * all of it. Errors: EINVAL (an open transaction has snapshotted a dead object).
 */
PHEAP_API int pheap_count_drain(pheap_t *heap);

#ifdef __cplusplus
}
#endif
#endif
