/*
 * lane.h - redo rings and the settling of what they hold.
 *
 * MEDIA
 *   Each lane has a ring of PM_RING_LINES lines in a lane block (layout.h). The
 *   state line holds the settled stamp S.
 *
 * INVARIANTS
 *   R1  A record is live if and only if its sum holds in the current epoch and
 *       its stamp is greater than S.
 *   R2  Of two records that write one line, the later has the larger stamp:
 *       stamp = 1 + max(stamps of the stripes of all lines it writes, the
 *       lane's clock), and a stripe is held from before the stamp is taken until
 *       the record is applied.
 *   R3  S = U is stored only when every line that a record with a stamp <= U
 *       wrote is durable.
 *   R4  Ring space is given back only when S, durable, covers it. So the live
 *       records of a lane form one run of the ring, chained by `prev`.
 *   R5  No record gets a stamp <= U after a checkpoint has visited its lane:
 *       the visit raises the clock.
 *   R6  A lane's entry in the lane table is settled before the lane is used:
 *       recovery reads the table before it replays anything.
 *
 * PROTOCOL of a commit (record.c), with what a crash after each step leaves
 *   1 take stripes, then the lane           nothing
 *   2 non-temporal copy of the record       torn: its sum fails; the old state
 *   3 FENCE: orders the record before the   the record is durable: the new
 *     stores of step 4                      state, by replay
 *   4 apply with ordinary stores            any subset on media: replay mends it
 *   5 raise clock and stripe stamps, unlock
 *
 * PROTOCOL of a checkpoint (checkpoint.c)
 *   1 U = the largest clock; note each lane's position
 *   2 visit each lane: raise its clock to U, flush its dirty lines
 *   3 FENCE: orders those lines before S     replay repeats what is durable
 *   4 S = U, flush
 *   5 FENCE: orders S before ring space      the records are dead
 *     is written again
 *   6 give back the space noted in 1
 */
#ifndef PH_LANE_H
#define PH_LANE_H

#include "heap.h"

/* The calling thread's lane, found or made at its first record. Never fails: in
 * need it is shared with other threads. */
struct ph_lane *ph_lane_mine(struct ph_tcache *cache);

/* Make the DRAM side of the lane block at an offset: DRAM only. */
struct ph_lane *ph_lane_make(struct pheap *heap, uint64_t block, uint32_t index);

/*
 * D3, for a sparse copy of the pool: have the blocks of a lane allocated, before its
 * ring or an undo log of it is used for the first time. 0, or the error of
 * ph_memory_back(); the first lane's are from open on.
 */
int ph_lane_back(struct pheap *heap, struct ph_lane *lane);

/* Take over what an existing lane's media says: generations go on. */
void ph_lane_read(struct pheap *heap, struct ph_lane *lane);

/*
 * A new lane on media and in DRAM; NULL where there are max already, or no room.
 * Threads are content with heap.lanes_max and share; a transaction that needs an
 * undo log cannot share one, and asks for up to PM_LANES_MAX.
 */
struct ph_lane *ph_lane_add(struct pheap *heap, uint32_t max);

/* A thread that had the lane has ended. */
void ph_lane_leave(struct pheap *heap, struct ph_lane *lane);

/* Settle every record that is committed when this is called. 0 or -EIO. */
int ph_checkpoint(struct pheap *heap);

/* The same before it is needed, unless one is under way. Of an error the next operation
 * hears. */
void ph_checkpoint_ahead(struct pheap *heap);

static inline uint64_t ph_settled(const struct pheap *heap)
{
	return __atomic_load_n(&heap->settled, __ATOMIC_ACQUIRE);
}

static inline struct ph_stripe *ph_stripe_of(const struct pheap *heap, uint64_t line)
{
	return &heap->stripes[line & (PH_STRIPES - 1)];
}

/*
 * A stripe's tag: the line that was written last, by the lane that did, and
 * whether unsettled records wrote other lines of the stripe as well.
 */
#define PH_TAG_MIXED (UINT32_C(1) << 31)
#define PH_TAG_LANE_BITS 11 /* PM_LANES_MAX, and a value that no lane has */

static inline uint32_t ph_stripe_tag(uint32_t lane, uint64_t line)
{
	return (uint32_t)(line >> PH_STRIPE_BITS) << PH_TAG_LANE_BITS | lane;
}

/*
 * Settle a range before it is written otherwise than by a record: a live record
 * would undo that at replay. Costs one load a line where nothing is live, and runs
 * a checkpoint where a live record may have written one of its lines. held: the caller
 * holds the stripes of the range; otherwise it holds none, and waits for those that
 * are held by others. 0 or -EIO.
 */
int ph_settle_range(struct pheap *heap, uint64_t offset, uint64_t length, bool held);

#endif
