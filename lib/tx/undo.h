/*
 * undo.h - undo logs: the old content of ranges that a transaction changes in
 * place.
 *
 * MEDIA
 *   A log is a head line and an area in a lane block (layout.h); when the area is
 *   full it goes on in spans that are reserved, not published: recovery finds
 *   them through the log, and allocates nothing before it has rolled back.
 *
 * INVARIANTS
 *   U1  An entry is live if and only if its sum holds in the current epoch and for
 *       this log, and its generation is greater than the head's `ended`. (A span
 *       that a log went on in may be another log's next: hence the log's part in
 *       the sum.)
 *   U2  An entry is durable before the caller may store into its range.
 *   U3  While an entry is live, no record writes into its range, except the one
 *       that ends the generation; none that is live did so before.
 *   U4  `ended` becomes the generation in the record that commits, or in one that
 *       follows a durable restoration.
 *   U5  The first snapshot of an epoch in a log writes the epoch into its head, in
 *       front of its fence: a log whose head has another epoch holds no live entry,
 *       and is not looked at.
 *
 * PROTOCOL, with what a crash after each step leaves
 *   snapshot  1 settle the range (U3), register it in the stripes
 *             2 non-temporal copy of the entries; U5: flush the head
 *             3 FENCE: orders them before the caller's stores (U2)
 *   commit    1 flush the ranges and new objects     rolled back
 *             2 FENCE: orders them before the record rolled back
 *             3 record with all redo entries and `ended`: committed
 *   abort     1 restore, newest first, flush         rolled back again
 *             2 FENCE: orders that before `ended`    rolled back again
 *             3 record with `ended`                  aborted
 */
/*
 * MARKS: a stripe has the mark of the transaction that last saved a line of it, stored
 * under the stripe's lock: so whoever holds the stripe knows where to look for a range
 * that it must keep off. Nobody takes a mark away when the transaction ends. A mark that
 * is no open transaction's means nothing, and whoever finds one may drop it.
 */
#ifndef PH_UNDO_H
#define PH_UNDO_H

#include "heap.h"
#include "ranges.h"

/* A handle's number << PH_MARK_BITS | a number of its transactions, which comes again after
 * a million of them; then there is a needless look at most. What a transaction finds of
 * its own handle is its own, or has ended. */
#define PH_MARK_BITS 20
#define PH_MARK_MANY UINT32_MAX /* of several, or of one with no number of its own */

/* The undo side of a transaction. */
struct ph_undo {
	struct ph_undo_log *log; /* NULL before the first snapshot */
	uint64_t gen;
	uint32_t seq;
	uint64_t at, end;  /* where the next entry goes; end of this area */
	uint64_t *entries; /* offsets of all entries, in order */
	uint32_t n, cap;
	struct ph_slab **areas; /* spans the log goes on in */
	uint32_t nareas;
	uint64_t lock; /* bit lock: saved, which others look at */
	uint32_t mark; /* 0: nothing is saved; atomic */
	uint32_t turn; /* transactions of this handle */
	struct ph_ranges saved;
};

/* Is a mark, or for PH_MARK_MANY any, that of an open transaction other than tx? */
bool ph_undo_open(struct pheap *heap, const struct pheap_tx *tx, uint32_t mark);

/* Does a range fall into a snapshot of a transaction other than tx? */
bool ph_undo_overlaps(struct pheap *heap, const struct pheap_tx *tx, uint64_t offset,
		      uint64_t length);

/* Lies a published object in a snapshot of a transaction other than tx? It must not
 * be freed: abort would write into whatever comes after it. -EINVAL, or 0. */
int ph_undo_guards(struct pheap *heap, const struct pheap_tx *tx, const struct ph_object *object);

/* Save n ranges under one fence: all or none. Ranges already saved are left out. */
int ph_undo_save(struct pheap_tx *tx, const struct ph_range *ranges, uint32_t n);

/* Flush what the transaction may have changed in place. The caller fences. */
void ph_undo_flush(struct pheap_tx *tx, struct ph_count *count);

/* Put the old content back, durably. 0 or -EIO. */
int ph_undo_restore(struct pheap_tx *tx, struct ph_count *count);

/* The generation has ended on media: let go of the log and the ranges. The
 * arrays stay for the handle's next use. */
void ph_undo_end(struct pheap_tx *tx);

/* Free the arrays. */
void ph_undo_free(struct ph_undo *undo);

#endif
