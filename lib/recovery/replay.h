/*
 * replay.h - bring a pool that was not closed cleanly back to a state between two
 * operations.
 *
 * PROTOCOL, with what a crash after each step leaves
 *   1 read and judge every live record and undo entry: damage is EUCLEAN, and
 *     nothing has been written; have blocks allocated for what they write: a full
 *     file system is ENOSPC, and nothing has been written; flush the records;
 *     FENCE: they may have been visible, not durable, when their process was killed
 *   2 apply the records of all lanes, merged by stamp; flush
 *   3 roll back live undo entries, newest first, past the cache
 *   4 (pool.c) FENCE: orders both before the new epoch, which ends all rings and logs
 *     at once. Before that both are done again: entries are absolute, and live records
 *     and undo entries write to different places, so 2 and 3 need no order on media
 *
 * Replay may run any number of times: what it reads (rings, extensions, undo
 * areas, settled, epoch) it never writes, but for `ended` of undo heads, which it
 * takes from the records as well, and for lane table and descriptors of lanes,
 * which are judged as replay will leave them. Of a pool that was closed cleanly
 * nothing but these is looked at.
 *
 * BOUNDS: time in the lanes and in the bytes of live records and undo entries, and
 * of the areas of undo logs that are in use; DRAM in the lanes alone, some 150 KiB
 * for 1024 of them, however full the rings are. An undo log of more than 16 MiB takes
 * another 1/4096 of its bytes.
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
 * validated. file: where blocks are allocated, NULL for a private mapping. done (may be NULL) says
 * what there was to do. The caller fences.
 */
int ph_recover(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
	       char *base, uint64_t size, struct ph_recovered *done);

#endif
