/*
 * traced.h - recovery of traced pools: what the roots reach, and the bitmaps from that.
 *
 * PROTOCOL, after an unclean stop, with what a crash after each step leaves
 *   1 replay and rollback in a private mapping of the file, and the marker there: no store
 *     to the pool. What is damaged is reported now.
 *   2 replay and rollback in the pool (replay.h)	the same: runs again
 *   3 bitmaps of all spans of objects, flush		the same: they mean nothing yet
 *   4 the caller's fence and the new epoch (pool.c). From then on the program changes
 *     states, and bitmaps mean nothing again until a clean close: but in DRAM slabs
 *     are loaded from them.
 *
 * Step 3 is for the states of the slabs that this session loads, and for the clean close at
 * its end, which leaves the bitmaps of others as they are: so they have to be durable.
 *
 * A pool in memory of the caller's is copied for step 1.
 */
#ifndef PH_RECOVERY_TRACED_H
#define PH_RECOVERY_TRACED_H

#include "heap.h"

struct ph_marker;

/*
 * Mark what can be reached in a settled image, which must stay mapped as long as the
 * marker is used. -EUCLEAN: a reference, or what it leads through, is damaged (the former
 * where all types are known; else what leads nowhere is passed over). The image is not
 * written to.
 */
int ph_traced_reach(char *base, uint64_t size, struct ph_marker **marker);

/* Step 3, into the pool at base. The caller fences. file NULL: its blocks are no concern. */
int ph_traced_rebuild(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
		      char *base, const struct ph_marker *marker);

/* Both, in an image that nobody else sees, after which it is as if it was closed cleanly. */
int ph_traced_settle(char *base, uint64_t size);

/* Steps 1 to 3, for a pool that is open for writing. */
int ph_traced_recover(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
		      const char *path);

/* Steps 2 and 3 in memory that is the heap's own: a reader's mapping, or that of a simulator,
 * which has to see each store. */
int ph_traced_recover_own(struct ph_persist *pm, struct ph_count *count, char *base, uint64_t size);

#endif
