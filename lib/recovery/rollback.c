/*
 * rollback.c - undo logs: judged, then rolled back. What is valid is in undo.h (U1),
 * the protocol in replay.h, V1 in recovery.h.
 *
 * Entries lead from the oldest to the newest, and are restored the other way round:
 * so the log is gone through once to note every so many entries where it is, and
 * the parts between two notes are read again, the last part first.
 */
#include "recovery.h"

#include <stdlib.h>

#include "sum.h"

/* Parts of a log, and entries of a part at least. */
#define PARTS 512u
#define PART_MIN 512u

/* An undo log, and a place in it. */
struct cursor {
	uint64_t key;	/* of its sums */
	uint64_t ended; /* as replay will leave it */
	uint64_t at, end;
	uint64_t gen;
	uint32_t seq; /* of the entry at `at` */
};

static struct cursor start_of(const struct ph_recovery *r, const struct ph_found_lane *lane,
			      unsigned log)
{
	uint64_t area = lane->block + PM_LANE_UNDO + log * (uint64_t)PM_UNDO_AREA;

	return (struct cursor){
		.key = r->epoch ^ (lane->block + log * sizeof(struct pm_undo_head)),
		.ended = lane->ended[log],
		.at = area,
		.end = area + PM_UNDO_AREA,
	};
}

static const struct pm_undo *entry_at(const struct ph_recovery *r, uint64_t at)
{
	return (const struct pm_undo *)(const void *)(r->base + at);
}

/* Bytes of an entry at an offset whose area ends at end, or 0 where none can be. */
static uint64_t entry_bytes(const struct ph_recovery *r, uint64_t at, uint64_t end)
{
	const struct pm_undo *head = entry_at(r, at);
	uint64_t bytes, data;

	if (at + PM_LINE > end)
		return 0;
	data = head->target >> 56 == PM_UNDO_DATA ? head->length : 0;
	if (data > PM_UNDO_DATA_MAX)
		return 0;
	bytes = (sizeof(*head) + data + PM_LINE - 1) / PM_LINE * PM_LINE;
	return bytes <= end - at ? bytes : 0;
}

static bool entry_valid(const struct ph_recovery *r, const struct cursor *c, uint64_t at)
{
	const struct pm_undo *head = entry_at(r, at);
	uint64_t bytes = entry_bytes(r, at, c->end);

	return bytes && head->sum == ph_sum(c->key, at, (const uint64_t *)(const void *)head + 1,
					    bytes / 8 - 1);
}

/* Behind the entry at the cursor. V1: -EUCLEAN, and no message, where that is none. */
static int advance(const struct ph_recovery *r, struct cursor *c)
{
	const struct pm_undo *head = entry_at(r, c->at);
	uint64_t bytes = entry_bytes(r, c->at, c->end);
	uint64_t target = PM_ENTRY_OFFSET(head->target), length = head->length;

	if (!bytes)
		return -EUCLEAN;
	c->gen = head->gen;
	c->seq++;
	c->at += bytes;
	if (head->target >> 56 != PM_UNDO_NEXT)
		return 0;
	if (target % PM_LINE || !ph_range_data(r, target, length))
		return -EUCLEAN;
	c->at = target;
	c->end = target + length;
	return 0;
}

/* ---- judging -------------------------------------------------------------------------------- */

/* An area is read as a whole: entries, and what may be behind them. */
static int back_area(struct ph_recovery *r, const struct cursor *c)
{
	int err = ph_back(r, c->at, c->end - c->at);

	return err ? err : ph_back_end(r);
}

static int judge_target(struct ph_recovery *r, const struct pm_undo *head)
{
	uint64_t target = PM_ENTRY_OFFSET(head->target);

	if (head->target >> 56 != PM_UNDO_DATA)
		return ph_error(EPROTONOSUPPORT,
				"an undo entry of type %u is not known to this version: use the "
				"one that wrote it",
				(unsigned)(head->target >> 56));
	if (!ph_range_writable(r, target, head->length) || ph_lane_over(r, target, head->length))
		return ph_error(EUCLEAN,
				"an undo entry restores offset %#llx, outside the pool's data",
				(unsigned long long)target);
	return 0;
}

/*
 * The live entries end at the cursor. A valid one behind it that was written under a
 * later fence means that the missing one was durable once: damage, not a torn tail.
 */
static int judge_tail(const struct ph_recovery *r, const struct cursor *c)
{
	for (uint64_t at = c->at; at + PM_LINE <= c->end; at += PM_LINE) {
		const struct pm_undo *head = entry_at(r, at);
		bool candidate = c->gen ? head->gen == c->gen : head->gen > c->ended;

		if (candidate && head->seq >> 32 > c->seq && entry_valid(r, c, at))
			return ph_error(
				EUCLEAN,
				"undo log: entry %u before offset %#llx is damaged: restore the "
				"pool from a copy",
				c->seq, (unsigned long long)at);
	}
	return 0;
}

static int judge_log(struct ph_recovery *r, struct ph_found_lane *lane, unsigned log)
{
	struct cursor c = start_of(r, lane, log);
	int err = back_area(r, &c);

	while (!err && entry_valid(r, &c, c.at)) {
		const struct pm_undo *head = entry_at(r, c.at);
		bool next = head->target >> 56 == PM_UNDO_NEXT;

		if (head->gen <= c.ended || (c.gen && head->gen != c.gen) ||
		    (uint32_t)head->seq != c.seq)
			break;
		if (!next && (err = judge_target(r, head)))
			return err;
		if (advance(r, &c))
			return ph_error(EUCLEAN,
					"an undo log goes on at offset %#llx, outside the pool's "
					"data",
					(unsigned long long)PM_ENTRY_OFFSET(head->target));
		if (next)
			err = back_area(r, &c);
		else
			r->nundos++;
	}
	lane->undos[log] = c.seq;
	return err ? err : judge_tail(r, &c);
}

/* The targets of a log that is judged: blocks for them, from its first entry on. */
static int back_targets(struct ph_recovery *r, const struct ph_found_lane *lane, unsigned log)
{
	struct cursor c = start_of(r, lane, log);
	int err = 0;

	while (c.seq < lane->undos[log] && !err) {
		const struct pm_undo *head = entry_at(r, c.at);

		if (head->target >> 56 == PM_UNDO_DATA)
			err = ph_back(r, PM_ENTRY_OFFSET(head->target), head->length);
		if (advance(r, &c))
			break; /* V1: it will be noticed */
	}
	return err ? err : ph_back_end(r);
}

int ph_judge_undos(struct ph_recovery *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nlanes * PM_UNDO_LOGS && !err; i++) {
		struct ph_found_lane *lane = &r->lanes[i / PM_UNDO_LOGS];
		unsigned log = i % PM_UNDO_LOGS;

		if (!lane->used[log])
			continue; /* U5 */
		err = judge_log(r, lane, log);
		if (!err && r->file)
			err = back_targets(r, lane, log);
	}
	return err;
}

/* ---- rolling back ---------------------------------------------------------------------------- */

/* Whole lines of a range. */
static struct ph_run lines_of(uint64_t at, uint64_t length)
{
	struct ph_run whole = {(at + PM_LINE - 1) / PM_LINE * PM_LINE,
			       (at + length) / PM_LINE * PM_LINE};

	if (whole.lo >= whole.hi)
		whole.lo = whole.hi = at;
	return whole;
}

/* Whole lines past the cache. The rest of a line may be another entry's: it is stored,
 * and flushed when both have been. */
static void restore(struct ph_recovery *r, uint64_t at, const char *old, uint64_t length)
{
	struct ph_run whole = lines_of(at, length);

	if (at < whole.lo)
		ph_store(r->pm, r->base + at, old, whole.lo - at);
	if (whole.lo < whole.hi)
		ph_copy_nt(r->pm, r->count, r->base + whole.lo, old + (whole.lo - at),
			   whole.hi - whole.lo);
	if (whole.hi < at + length)
		ph_store(r->pm, r->base + whole.hi, old + (whole.hi - at), at + length - whole.hi);
}

/* What restore() has left in the cache. */
static void flush_rest(struct ph_recovery *r, uint64_t at, const char *old, uint64_t length)
{
	struct ph_run whole = lines_of(at, length);

	(void)old;
	if (at < whole.lo)
		ph_flush_target(r, at, whole.lo - at);
	if (whole.hi < at + length)
		ph_flush_target(r, whole.hi, at + length - whole.hi);
}

typedef void entry_fn(struct ph_recovery *r, uint64_t target, const char *old, uint64_t length);

/* Call fn for a DATA entry. V1. */
static int visit(struct ph_recovery *r, uint64_t at, entry_fn *fn)
{
	const struct pm_undo *head = entry_at(r, at);
	uint64_t target = PM_ENTRY_OFFSET(head->target), length = head->length;

	if (head->target >> 56 == PM_UNDO_NEXT)
		return 0;
	if (length > PM_UNDO_DATA_MAX || !ph_range_writable(r, target, length))
		return -EUCLEAN;
	fn(r, target, (const char *)(head + 1), length);
	return 0;
}

/* n entries from a cursor on, the newest first. entries: room for so many. */
static int restore_part(struct ph_recovery *r, struct cursor c, uint32_t n, uint64_t *entries)
{
	int err = 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		entries[i] = c.at;
		err = advance(r, &c);
	}
	while (n-- && !err)
		err = visit(r, entries[n], restore);
	return err;
}

static int flush_log(struct ph_recovery *r, const struct ph_found_lane *lane, unsigned log)
{
	struct cursor c = start_of(r, lane, log);
	int err = 0;

	while (c.seq < lane->undos[log] && !err) {
		err = visit(r, c.at, flush_rest);
		if (!err)
			err = advance(r, &c);
	}
	ph_flush_end(r);
	return err;
}

static int roll_back_log(struct ph_recovery *r, const struct ph_found_lane *lane, unsigned log)
{
	uint32_t n = lane->undos[log], parts = 0;
	uint32_t part = n / PARTS + 1 > PART_MIN ? n / PARTS + 1 : PART_MIN;
	struct cursor *notes = malloc(PARTS * sizeof(*notes) + part * sizeof(uint64_t));
	struct cursor c = start_of(r, lane, log);
	int err = 0;

	if (!notes)
		return ph_error(ENOMEM, "no memory for recovery");
	while (c.seq < n && !err) {
		if (c.seq % part == 0)
			notes[parts++] = c;
		err = advance(r, &c);
	}
	while (parts-- && !err) {
		uint32_t first = notes[parts].seq;

		err = restore_part(r, notes[parts], n - first < part ? n - first : part,
				   (uint64_t *)(void *)(notes + PARTS));
	}
	free(notes);
	if (!err)
		err = flush_log(r, lane, log);
	return err ? ph_error(EUCLEAN, "an undo log changed while it was rolled back") : 0;
}

int ph_roll_back(struct ph_recovery *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nlanes * PM_UNDO_LOGS && !err; i++)
		if (r->lanes[i / PM_UNDO_LOGS].undos[i % PM_UNDO_LOGS])
			err = roll_back_log(r, &r->lanes[i / PM_UNDO_LOGS], i % PM_UNDO_LOGS);
	return err;
}
