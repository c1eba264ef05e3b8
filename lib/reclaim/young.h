/*
 * young.h - generations: what was published since the last collection, and which words were
 * written since then.
 *
 * An object is *young* until it has survived so many collections; all others are old, and
 * nothing is kept of them. A young collection looks at young objects only. What old ones
 * refer to is known from a log of words that records have written: the write barrier.
 *
 * The log is one of each lane, written by ph_rec_commit() while it holds the lane, where all
 * changes of published objects pass: bits set (an object was published), words and bytes
 * written. An entry is a word:
 *
 *	offset | 1	the object that begins there was published
 *	offset		the word there was written
 *
 * A log that is full says so, and the next collection looks at everything.
 *
 * INVARIANTS
 *   E1  Every young object is in the list of its age, or in a log.
 *   E2  A slot of an old object that refers to a young one is in a log, or in the words of the
 *       last `survive` collections. For when it was written, its object was published: what an
 *       object refers to when it is published was published no later, and is old no
 *       later. And what it refers to is old after so many collections from then on.
 *   E3  A log is complete from a stop to the next.
 *
 * LOCKS: a log's lane. Lists belong to the collection.
 */
#ifndef PH_RECLAIM_YOUNG_H
#define PH_RECLAIM_YOUNG_H

#include "gc.h"

struct ph_rec;

/* Entries of a lane's log: address space, of which DRAM is taken as it is used. */
#define PH_LOG_MAX (1u << 18)

struct ph_young_log {
	uint32_t n; /* atomic */
	bool full;  /* entries were lost */
};

#define PH_SURVIVE_MAX 8u

struct ph_list {
	uint64_t *item;
	uint64_t n, room;
};

/* Of a heap with generations. */
struct ph_young {
	struct ph_marker *marker; /* PH_MARK_SOME */
	struct ph_mark_type types[PM_TYPES];
	struct ph_young_log log[PM_LANES_MAX];
	uint64_t *space; /* PH_LOG_MAX for each lane */
	unsigned survive;
	unsigned growth;		      /* per cent by which old objects may grow */
	struct ph_list young[PH_SURVIVE_MAX]; /* by age */
	struct ph_list words[PH_SURVIVE_MAX]; /* by the collections since then */
	uint64_t old_bytes, old_limit;	      /* at old_limit everything is looked at */
	bool lost;			      /* entries, or memory for them: likewise */
};

/* What a record does to published objects, under its lane. heap.logs_young is set. */
void ph_young_log(struct ph_rec *rec) __attribute__((cold));
/* A range of a published object was stored to in place, and not by a record. */
void ph_young_log_range(struct pheap *heap, uint64_t offset, uint64_t length) __attribute__((cold));

/* Before the stop: take what logs hold, and make it white. */
void ph_young_take(struct pheap *heap, struct ph_young *young);
/* While threads are stopped: the rest. False: something was lost, all has to be looked at. */
bool ph_young_settle(struct pheap *heap, struct ph_young *young);
/* While threads are stopped, after that: what words hold. */
void ph_young_roots(struct ph_young *young);
/* After the stop, before the sweep: survivors grow older. Their bytes, and all bytes, are
 * added up. */
void ph_young_age(struct ph_young *young, uint64_t *visited);

/* A collection has looked at everything: all that is there is old. While stopped. */
void ph_young_forget(struct pheap *heap, struct ph_young *young);

void ph_young_free(struct ph_young *young);

#endif
