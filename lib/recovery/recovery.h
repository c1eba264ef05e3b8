/*
 * recovery.h - what the parts of recovery share: the logs as found on media, and
 * what is done with the ranges that they write.
 *
 * DRAM: about 200 bytes a lane and 100 KiB besides, whatever the number of records
 * and undo entries. Records are never collected: each pass reads the rings again,
 * in any order, or merged by stamp through a heap of one record a lane. So:
 *
 *   V1  Everything read is media, hence input, in every pass. Sums, links and
 *       targets are judged once, before the first store; bounds whenever they are
 *       used.
 */
#ifndef PH_RECOVERY_H
#define PH_RECOVERY_H

#include "heap.h"

/* A lane as it is on media. Sorted by block. */
struct ph_found_lane {
	uint64_t block;
	uint64_t ended[PM_UNDO_LOGS]; /* as replay will leave it */
	uint32_t undos[PM_UNDO_LOGS]; /* live entries */
	uint32_t index;		      /* in the lane table */
	uint32_t first, lines;	      /* its live records: a run of the ring */
	uint32_t at, left;	      /* the merge's place in it, and ring lines from there on */
	uint64_t stamp;		      /* of the record there */
	bool used[PM_UNDO_LOGS];      /* in this epoch */
};

/* An entry of the lane table as replay will leave it. */
struct ph_found_entry {
	uint64_t block, stamp;	   /* stamp of the record that wrote it; 0: none */
	uint64_t kind, kind_stamp; /* likewise the first word of the block's descriptor */
	uint32_t index;
};

/* Numbers seen of late: a lossy set, so that little is done twice. */
#define PH_SEEN_BITS 10
struct ph_seen {
	uint64_t slot[1u << PH_SEEN_BITS];
};

/* Neighbouring ranges, dealt with at one stroke. */
struct ph_run {
	uint64_t lo, hi; /* offsets; lo = hi: nothing */
};

struct ph_recovery {
	struct ph_persist *pm;
	struct ph_count *count;
	const struct ph_file *file; /* NULL: its blocks are no concern */
	char *base;
	uint64_t size;
	uint64_t epoch, settled;
	bool clean; /* closed cleanly: nothing is live, and only the lanes are looked at */
	const struct pm_zone *zone;
	struct ph_found_lane *lanes;
	uint32_t nlanes;
	uint64_t lane_bits[64];	      /* granules of lane blocks modulo 4096 */
	struct ph_found_entry *table; /* PM_LANES_MAX; by index, then sorted by block */
	uint32_t ntable;
	uint64_t *heap; /* lanes with records to merge, the next one first: rings.c */
	uint32_t nheap;
	bool kinds;	 /* a record writes the first word of a descriptor */
	bool extensions; /* a record has one */
	struct ph_seen pages, lines;
	struct ph_run run;
	uint64_t nrecords, nundos;
};

static inline uint64_t ph_word_at(const struct ph_recovery *r, uint64_t offset)
{
	return *(const uint64_t *)(const void *)(r->base + offset);
}

static inline bool ph_range_within(uint64_t offset, uint64_t length, uint64_t start, uint64_t end)
{
	return length && offset >= start && offset < end && length <= end - offset;
}

static inline bool ph_range_overlaps(uint64_t offset, uint64_t length, uint64_t start, uint64_t end)
{
	return offset < end && start < offset + length;
}

/* May a record or a rollback write there? To roots, lane table, type table and heads of
 * chains, and to what is in the zone; not to superblocks, the state line or the zone table. */
static inline bool ph_range_writable(const struct ph_recovery *r, uint64_t offset, uint64_t length)
{
	return ph_range_within(offset, length, PM_ROOTS, PM_ZONE_TABLE) ||
	       ph_range_within(offset, length, PM_TYPE_TABLE, PM_FIXED_END) ||
	       ph_range_within(offset, length, r->zone->tree, r->size);
}

/* Lies a range among the granules, where objects, logs and extensions are? */
static inline bool ph_range_data(const struct ph_recovery *r, uint64_t offset, uint64_t length)
{
	return ph_range_within(offset, length, r->zone->data,
			       r->zone->data + (uint64_t)r->zone->granules * PM_GRANULE);
}

/* ---- targets.c: ranges that are written -------------------------------------------- */

/*
 * D3, for a sparse copy of the pool: have the blocks of a range allocated, and
 * mapped, before it is touched. -ENOSPC with a message that says what to do.
 * Neighbours go together: ph_back_end() does what is left.
 */
int ph_back(struct ph_recovery *r, uint64_t offset, uint64_t length);
int ph_back_end(struct ph_recovery *r);

/* Flush what a range holds, each line once; the rest by ph_flush_end(). */
void ph_flush_target(struct ph_recovery *r, uint64_t offset, uint64_t length);
void ph_flush_end(struct ph_recovery *r);

/* The lane in whose block a range lies in part, or NULL. */
struct ph_found_lane *ph_lane_over(const struct ph_recovery *r, uint64_t offset, uint64_t length);

/* ---- rings.c: lanes and live records -------------------------------------------------- */

/* Called with the words behind a record's header, n of them. */
typedef int ph_record_fn(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n);

/* The lanes of the lane table; -EUCLEAN where one cannot be. */
int ph_find_lanes(struct ph_recovery *r);

/* The live records of all lanes: sums and chains (R1, R4), not yet what they say. */
int ph_find_records(struct ph_recovery *r);

/* Call fn for every live record: lane by lane, or in the order of stamps. */
int ph_each_record(struct ph_recovery *r, ph_record_fn *fn);
int ph_each_record_merged(struct ph_recovery *r, ph_record_fn *fn);

/* ---- entries.c: what records say ------------------------------------------------------- */

/* Judge all records: entries, extensions, what they say of lanes and undo logs. */
int ph_judge_records(struct ph_recovery *r);

/* Replay: flush the records, FENCE, apply them merged, flush what they wrote. */
int ph_replay(struct ph_recovery *r);

/* ---- rollback.c: undo logs -------------------------------------------------------------- */

/* Judge all live undo entries, as replay will leave their logs. */
int ph_judge_undos(struct ph_recovery *r);

/* Restore what they saved, the newest first; flush. */
int ph_roll_back(struct ph_recovery *r);

#endif
