/*
 * replay.h - bring a pool that was not closed cleanly back to a state between two
 * operations.
 *
 * PROTOCOL, with what a crash after each step leaves
 *   1 read and validate every live record and undo entry: damage is EUCLEAN, and
 *     nothing has been written; flush the records; FENCE: they may have been
 *     visible, not durable, when their process was killed
 *   2 apply the records of all lanes, merged by stamp; flush
 *   3 FENCE: orders them before the rollback     replayed again: absolute entries
 *   4 roll back live undo entries, newest first; flush
 *   5 FENCE: orders that before the new epoch    both done again
 *   6 (pool.c) the new epoch: ends all rings and logs at once
 *
 * Replay may run any number of times: what it reads (rings, extensions, undo
 * areas, settled, epoch) it never writes, but for `ended` of undo heads, which it
 * takes from the records as well, and for lane table and descriptors of lanes,
 * which are judged as replay will leave them. Of a pool that was closed cleanly
 * nothing but these is looked at.
 */
#ifndef PH_REPLAY_H
#define PH_REPLAY_H

#include "heap.h"

struct ph_recovered {
	uint64_t records;
	uint64_t undo_entries;
};

/*
 * Recover the pool mapped at base, whose superblock and state line have been
 * validated. done (may be NULL) says what there was to do.
 */
int ph_recover(struct ph_persist *pm, struct ph_count *count, char *base, uint64_t size,
	       struct ph_recovered *done);

#endif
