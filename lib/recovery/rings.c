/*
 * rings.c - lanes on media, and the live records in their rings. What is valid is
 * in lane.h (R1, R4); how it is read, in recovery.h (V1).
 */
#include "recovery.h"

#include <stdlib.h>

#include "sum.h"

/* Live records lie between two checkpoints: their stamps cannot be farther apart. */
#define STAMPS_LIVE (UINT64_C(1) << 50)

/* ---- lanes -------------------------------------------------------------------------- */

static int compare_blocks(const void *a, const void *b)
{
	const struct ph_found_lane *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int read_heads(const struct ph_recovery *r, struct ph_found_lane *lane)
{
	for (unsigned i = 0; i < PM_UNDO_LOGS; i++) {
		uint64_t at = lane->block + i * sizeof(struct pm_undo_head), number;
		const struct pm_undo_head *head =
			(const struct pm_undo_head *)(const void *)(r->base + at);

		if (!ph_unseal(head->ended, &lane->ended[i]) || !ph_unseal(head->epoch, &number))
			return ph_error(EUCLEAN,
					"the head of an undo log at offset %#llx is damaged",
					(unsigned long long)at);
		lane->used[i] = head->epoch == r->epoch;
	}
	return 0;
}

/* The head page and, unless nothing is live, the ring. */
static int back_lane(struct ph_recovery *r, const struct ph_found_lane *lane)
{
	return ph_back(r, lane->block, r->clean ? PM_PAGE : PM_LANE_UNDO);
}

int ph_find_lanes(struct ph_recovery *r)
{
	int err = 0;

	while (r->nlanes < PM_LANES_MAX && ph_word_at(r, PM_LANE_TABLE + r->nlanes * 8))
		r->nlanes++;
	r->lanes = calloc(r->nlanes + 1, sizeof(*r->lanes));
	r->heap = calloc(r->nlanes + 1, sizeof(*r->heap));
	r->table = calloc(PM_LANES_MAX, sizeof(*r->table));
	if (!r->lanes || !r->heap || !r->table)
		return ph_error(ENOMEM, "no memory for recovery");
	for (uint32_t i = 0; i < r->nlanes; i++) {
		uint64_t block = ph_word_at(r, PM_LANE_TABLE + i * 8);

		if ((block - r->zone->data) % PM_GRANULE || !ph_range_data(r, block, PM_GRANULE))
			return ph_error(EUCLEAN,
					"lane %u lies at offset %#llx, outside the pool's data", i,
					(unsigned long long)block);
		r->lanes[i].block = block;
		r->lanes[i].index = i;
		r->lane_bits[block / PM_GRANULE % 4096 / 64] |= UINT64_C(1)
								<< block / PM_GRANULE % 64;
	}
	qsort(r->lanes, r->nlanes, sizeof(*r->lanes), compare_blocks);
	for (uint32_t i = 0; i < r->nlanes && !err; i++)
		err = back_lane(r, &r->lanes[i]);
	if (!err)
		err = ph_back_end(r);
	for (uint32_t i = 0; i < r->nlanes && !err; i++)
		err = read_heads(r, &r->lanes[i]);
	return err;
}

/* ---- records --------------------------------------------------------------------------- */

struct record {
	uint64_t stamp, prev;
	uint32_t at; /* ring line */
	uint32_t lines;
};

/* The words of a record, in one piece: in place, or in buffer if it wraps. */
static const uint64_t *record_words(const struct ph_recovery *r, uint64_t block, uint32_t at,
				    uint32_t lines, uint64_t *buffer)
{
	const char *ring = r->base + block + PM_LANE_RING;
	uint32_t first = PM_RING_LINES - at;

	if (lines <= first)
		return (const uint64_t *)(const void *)(ring + at * PM_LINE);
	memcpy(buffer, ring + at * PM_LINE, first * PM_LINE);
	memcpy(buffer + first * 8, ring, (lines - first) * PM_LINE);
	return buffer;
}

static const struct pm_record *record_at(const struct ph_recovery *r, uint64_t block, uint32_t at)
{
	return (const struct pm_record *)(const void *)(r->base + block + PM_LANE_RING +
							at * PM_LINE);
}

/* Is there a live record at this line? R1. */
static bool find_record(const struct ph_recovery *r, uint64_t block, uint32_t at,
			struct record *found)
{
	uint64_t buffer[PM_RECORD_LINES_MAX * 8];
	uint64_t place = block + PM_LANE_RING + at * PM_LINE;
	const struct pm_record *head = record_at(r, block, at);
	const uint64_t *words;

	found->lines = head->stamp & ((1u << PM_STAMP_SHIFT) - 1);
	found->stamp = head->stamp >> PM_STAMP_SHIFT;
	if (!found->lines || found->lines > PM_RECORD_LINES_MAX || found->stamp <= r->settled)
		return false;
	words = record_words(r, block, at, found->lines, buffer);
	if (words[0] != ph_sum(r->epoch, place, words + 1, found->lines * 8 - 1))
		return false;
	found->prev = words[2];
	found->at = at;
	return true;
}

/* R4: from the one with the smallest stamp on, n records in the order of the ring are
 * one run, each naming the one before. */
static int check_chain(const struct ph_recovery *r, const struct ph_found_lane *lane,
		       const struct record *v, uint32_t n, uint32_t oldest)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct record *this = &v[(oldest + i) % n],
				    *last = &v[(oldest + i + n - 1) % n];
		bool follows = i ? this->prev == last->stamp && this->stamp > last->stamp &&
					       this->at == (last->at + last->lines) % PM_RING_LINES
				 : this->prev <= r->settled;

		if (this->stamp - r->settled > STAMPS_LIVE)
			return ph_error(EUCLEAN, "lane %u: a record with the impossible stamp %llu",
					lane->index, (unsigned long long)this->stamp);
		if (!follows)
			return ph_error(
				EUCLEAN,
				"lane %u: the record before stamp %llu (ring line %u) is damaged "
				"or missing: restore the pool from a copy",
				lane->index, (unsigned long long)this->stamp, this->at);
	}
	return 0;
}

static int scan_ring(struct ph_recovery *r, struct ph_found_lane *lane)
{
	struct record v[PM_RING_LINES];
	uint32_t n = 0, oldest = 0;

	for (uint32_t at = 0; at < PM_RING_LINES;) {
		if (!find_record(r, lane->block, at, &v[n])) {
			at++;
			continue;
		}
		at += v[n].lines;
		lane->lines += v[n].lines;
		if (v[n].stamp < v[oldest].stamp)
			oldest = n;
		n++;
	}
	lane->first = n ? v[oldest].at : 0;
	r->nrecords += n;
	return check_chain(r, lane, v, n, oldest);
}

int ph_find_records(struct ph_recovery *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nlanes && !err; i++)
		err = scan_ring(r, &r->lanes[i]);
	return err;
}

/* ---- going through them ------------------------------------------------------------------ */

/* The lane's next record: its length, or 0 behind the last one. V1: -1 where the ring
 * is not any more what was judged. */
static int begin_record(const struct ph_recovery *r, struct ph_found_lane *lane)
{
	uint64_t word = record_at(r, lane->block, lane->at)->stamp;
	uint32_t lines = word & ((1u << PM_STAMP_SHIFT) - 1);

	if (!lane->left)
		return 0;
	lane->stamp = word >> PM_STAMP_SHIFT;
	return lines && lines <= lane->left && lines <= PM_RECORD_LINES_MAX ? (int)lines : -1;
}

static int ring_changed(const struct ph_found_lane *lane)
{
	return ph_error(EUCLEAN, "lane %u: its ring changed while it was replayed", lane->index);
}

/* The record at the lane's place, which moves on. */
static int visit_record(struct ph_recovery *r, struct ph_found_lane *lane, ph_record_fn *fn)
{
	uint64_t buffer[PM_RECORD_LINES_MAX * 8];
	int lines = begin_record(r, lane);
	const uint64_t *words;

	if (lines <= 0)
		return ring_changed(lane);
	words = record_words(r, lane->block, lane->at, (uint32_t)lines, buffer);
	lane->at = (lane->at + (uint32_t)lines) % PM_RING_LINES;
	lane->left -= (uint32_t)lines;
	return fn(r, lane->stamp, words + PM_RECORD_WORDS, (uint64_t)lines * 8 - PM_RECORD_WORDS);
}

int ph_each_record(struct ph_recovery *r, ph_record_fn *fn)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nlanes && !err; i++) {
		struct ph_found_lane *lane = &r->lanes[i];

		lane->at = lane->first;
		lane->left = lane->lines;
		while (lane->left && !err)
			err = visit_record(r, lane, fn);
	}
	return err;
}

/*
 * A lane in the merge: the stamp of its next record, and below it which lane. Records
 * with equal stamps are of different lanes and have no line in common: R2.
 */
#define LANE_BITS 10
_Static_assert(PM_LANES_MAX <= 1u << LANE_BITS, "a lane's place in a key");

static uint64_t merge_key(const struct ph_recovery *r, uint32_t i)
{
	return (r->lanes[i].stamp - r->settled) << LANE_BITS | i;
}

/* A binary heap, the smallest key at its top: let the one at i sink. Which child is
 * smaller is nothing to predict. */
static void sink(struct ph_recovery *r, uint32_t i)
{
	uint64_t *heap = r->heap, moved = heap[i];

	for (uint32_t child; (child = 2 * i + 1) < r->nheap; i = child) {
		uint32_t other = child + (child + 1 < r->nheap);

		child = heap[other] < heap[child] ? other : child;
		if (heap[child] > moved)
			break;
		heap[i] = heap[child];
	}
	heap[i] = moved;
}

int ph_each_record_merged(struct ph_recovery *r, ph_record_fn *fn)
{
	int err = 0;

	r->nheap = 0;
	for (uint32_t i = 0; i < r->nlanes; i++) {
		struct ph_found_lane *lane = &r->lanes[i];

		lane->at = lane->first;
		lane->left = lane->lines;
		if (lane->left && begin_record(r, lane) < 0)
			return ring_changed(lane);
		if (lane->left)
			r->heap[r->nheap++] = merge_key(r, i);
	}
	for (uint32_t i = r->nheap / 2; i--;)
		sink(r, i);
	while (r->nheap && !err) {
		uint32_t i = r->heap[0] & ((1u << LANE_BITS) - 1);
		struct ph_found_lane *lane = &r->lanes[i];

		err = visit_record(r, lane, fn);
		if (!err && begin_record(r, lane) < 0)
			err = ring_changed(lane);
		r->heap[0] = lane->left ? merge_key(r, i) : r->heap[--r->nheap];
		if (r->nheap)
			sink(r, 0);
	}
	return err;
}
