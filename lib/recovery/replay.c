/*
 * replay.c - recovery. Protocol in replay.h; what is valid, in lane.h (R1, R4)
 * and undo.h (U1).
 *
 * Everything read here is media, hence input: offsets, lengths and counts are
 * checked before they are used.
 */
#include "replay.h"

#include <stdlib.h>

#include "sum.h"

/* Live records lie between two checkpoints: their stamps cannot be farther apart. */
#define STAMPS_LIVE (UINT64_C(1) << 50)

struct found_record {
	uint64_t stamp, prev;
	uint64_t block; /* of its lane */
	uint32_t at;	/* ring line */
	uint32_t lines;
	uint32_t lane;
};

struct found_undo {
	uint64_t target, length;
	const char *data;
};

/* An undo log as the replay will leave it. */
struct log_state {
	uint64_t head, area; /* offsets */
	uint64_t ended;
};

/* A word that a record writes to the lane table or to a descriptor. */
struct found_word {
	uint64_t offset, value;
};

struct recovery {
	struct ph_persist *pm;
	struct ph_count *count;
	char *base;
	uint64_t size;
	uint64_t epoch, settled;
	bool clean; /* closed cleanly: nothing is live, and only the lanes are looked at */
	const struct pm_zone *zone;
	struct found_record *records;
	uint32_t nrecords, records_cap;
	struct found_undo *undos;
	uint32_t nundos, undos_cap;
	struct found_word *words; /* in the order of replay */
	uint32_t nwords, words_cap;
	uint32_t nlanes;
	struct log_state *logs; /* PM_UNDO_LOGS a lane */
	uint64_t *lines;	/* hash set of the lines that were stored to; 0: empty */
	uint64_t nlines, lines_cap;
};

static int no_memory(void)
{
	return ph_error(ENOMEM, "no memory for recovery");
}

static bool grow(void **array, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t more = *cap ? 2 * *cap : 64;
	void *grown;

	if (n < *cap)
		return true;
	grown = realloc(*array, more * size);
	if (!grown)
		return false;
	*array = grown;
	*cap = more;
	return true;
}

static bool within(uint64_t offset, uint64_t length, uint64_t start, uint64_t end)
{
	return length && offset >= start && offset < end && length <= end - offset;
}

static bool overlap(uint64_t offset, uint64_t length, uint64_t start, uint64_t end)
{
	return offset < end && start < offset + length;
}

/* May a record write there? To roots and lane table, and to what is in the zone;
 * not to superblocks, the state line or the zone table. */
static bool writable_range(const struct recovery *r, uint64_t offset, uint64_t length)
{
	return within(offset, length, PM_ROOTS, PM_ZONE_TABLE) ||
	       within(offset, length, r->zone->tree, r->size);
}

/* Lies a range among the granules, where objects, logs and extensions are? */
static bool data_range(const struct recovery *r, uint64_t offset, uint64_t length)
{
	return within(offset, length, r->zone->data,
		      r->zone->data + (uint64_t)r->zone->granules * PM_GRANULE);
}

static uint64_t lane_block(const struct recovery *r, uint32_t lane)
{
	return ((const uint64_t *)(const void *)(r->base + PM_LANE_TABLE))[lane];
}

/* ---- records ------------------------------------------------------------------------ */

/* The words of a record, in one piece: in place, or in buffer if it wraps. */
static const uint64_t *record_words(const struct recovery *r, uint64_t block, uint32_t at,
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

/* Is there a live record at this line? R1. */
static bool find_record(const struct recovery *r, uint64_t block, uint32_t at,
			struct found_record *found)
{
	uint64_t buffer[PM_RECORD_LINES_MAX * 8];
	uint64_t place = block + PM_LANE_RING + at * PM_LINE;
	const struct pm_record *head = (const struct pm_record *)(const void *)(r->base + place);
	const uint64_t *words;

	found->lines = head->stamp & ((1u << PM_STAMP_SHIFT) - 1);
	found->stamp = head->stamp >> PM_STAMP_SHIFT;
	if (!found->lines || found->lines > PM_RECORD_LINES_MAX || found->stamp <= r->settled)
		return false;
	words = record_words(r, block, at, found->lines, buffer);
	if (words[0] != ph_sum(r->epoch, place, words + 1, found->lines * 8 - 1))
		return false;
	found->prev = head->prev;
	found->block = block;
	found->at = at;
	return true;
}

static int compare_stamps(const void *a, const void *b)
{
	const struct found_record *x = a, *y = b;

	if (x->stamp != y->stamp)
		return x->stamp < y->stamp ? -1 : 1;
	return x->lane < y->lane ? -1 : x->lane > y->lane; /* no line in common: R2 */
}

/* R4: the live records of a lane are one run, each naming the one before. */
static int check_chain(const struct recovery *r, const struct found_record *v, uint32_t n,
		       uint32_t lane)
{
	for (uint32_t i = 0; i < n; i++) {
		bool follows =
			i ? v[i].prev == v[i - 1].stamp &&
					v[i].at == (v[i - 1].at + v[i - 1].lines) % PM_RING_LINES
			  : v[i].prev <= r->settled;

		if (!follows)
			return ph_error(
				EUCLEAN,
				"lane %u: the record before stamp %llu (ring line %u) is damaged "
				"or missing: restore the pool from a copy",
				lane, (unsigned long long)v[i].stamp, v[i].at);
	}
	return 0;
}

static int scan_ring(struct recovery *r, uint32_t lane)
{
	uint64_t block = lane_block(r, lane);
	uint32_t first = r->nrecords;

	for (uint32_t at = 0; at < PM_RING_LINES;) {
		struct found_record found;

		if (!find_record(r, block, at, &found)) {
			at++;
			continue;
		}
		found.lane = lane;
		at += found.lines;
		if (!grow((void **)&r->records, &r->records_cap, r->nrecords, sizeof(found)))
			return no_memory();
		r->records[r->nrecords++] = found;
	}
	if (r->nrecords == first)
		return 0;
	for (uint32_t i = first; i < r->nrecords; i++)
		if (r->records[i].stamp - r->settled > STAMPS_LIVE)
			return ph_error(EUCLEAN, "lane %u: a record with the impossible stamp %llu",
					lane, (unsigned long long)r->records[i].stamp);
	qsort(r->records + first, r->nrecords - first, sizeof(*r->records), compare_stamps);
	return check_chain(r, r->records + first, r->nrecords - first, lane);
}

/* ---- entries --------------------------------------------------------------------------- */

typedef int entry_fn(struct recovery *r, const uint64_t *entry, uint64_t offset, uint64_t length);

static int bad_entry(const char *why, uint64_t offset)
{
	return ph_error(EUCLEAN, "a redo record has an entry for offset %#llx that %s",
			(unsigned long long)offset, why);
}

/*
 * Call fn for each entry of n words, with the range that it writes; extensions
 * are followed once. The walk itself is safe whatever the words are.
 */
static int walk_entries(struct recovery *r, const uint64_t *w, uint64_t n, entry_fn *fn,
			bool nested)
{
	uint64_t step, length;

	for (uint64_t i = 0; i < n; i += step) {
		uint64_t offset = PM_ENTRY_OFFSET(w[i]), left = n - i;
		unsigned aux = PM_ENTRY_AUX(w[i]);
		int err;

		step = 2;
		length = 8;
		switch (PM_ENTRY_TYPE(w[i])) {
		case PM_ENTRY_END:
			return 0;
		case PM_ENTRY_WORD:
			break;
		case PM_ENTRY_BYTES:
			length = aux + 1;
			step = 1 + (length + 7) / 8;
			break;
		case PM_ENTRY_ZERO:
			length = left > 1 ? w[i + 1] : 0;
			break;
		case PM_ENTRY_BIT_SET:
		case PM_ENTRY_BIT_CLEAR:
			step = 1;
			break;
		case PM_ENTRY_EXTENSION:
			step = 3;
			length = left > 2 && w[i + 1] <= r->size / 8 ? w[i + 1] * 8 : 0;
			break;
		default:
			return ph_error(
				EPROTONOSUPPORT,
				"a redo record has an entry of type %u, which this version does "
				"not know: use the version that wrote it",
				PM_ENTRY_TYPE(w[i]));
		}
		if (step > left)
			return bad_entry("is cut off", offset);
		if (!writable_range(r, offset, length))
			return bad_entry("lies outside the pool's data", offset);
		if (PM_ENTRY_TYPE(w[i]) != PM_ENTRY_BYTES && PM_ENTRY_TYPE(w[i]) != PM_ENTRY_ZERO &&
		    offset % 8)
			return bad_entry("is not aligned", offset);
		if (PM_ENTRY_TYPE(w[i]) == PM_ENTRY_EXTENSION) {
			const uint64_t *more = (const uint64_t *)(const void *)(r->base + offset);

			if (nested || !data_range(r, offset, length) ||
			    ph_sum(r->epoch, offset, more, w[i + 1]) != w[i + 2])
				return bad_entry("is a damaged extension", offset);
			err = walk_entries(r, more, w[i + 1], fn, true);
		} else {
			err = fn(r, &w[i], offset, length);
		}
		if (err)
			return err;
	}
	return 0;
}

static int walk_record(struct recovery *r, const struct found_record *found, entry_fn *fn)
{
	uint64_t buffer[PM_RECORD_LINES_MAX * 8];
	const uint64_t *words = record_words(r, found->block, found->at, found->lines, buffer);

	return walk_entries(r, words + PM_RECORD_WORDS, found->lines * 8 - PM_RECORD_WORDS, fn,
			    false);
}

static int compare_logs(const void *a, const void *b)
{
	const struct log_state *x = a, *y = b;

	return x->head < y->head ? -1 : x->head > y->head;
}

/* The undo log whose head line a range touches, or NULL. */
static struct log_state *log_at(const struct recovery *r, uint64_t offset, uint64_t length)
{
	uint32_t low = 0, high = r->nlanes * PM_UNDO_LOGS;

	while (low < high) { /* the first that ends behind offset */
		uint32_t middle = (low + high) / 2;

		if (r->logs[middle].head + PM_LINE <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->nlanes * PM_UNDO_LOGS || r->logs[low].head >= offset + length)
		return NULL;
	return &r->logs[low];
}

/* The library writes lane table and descriptors word by word. */
static int note_word(struct recovery *r, const uint64_t *entry, uint64_t offset)
{
	if (PM_ENTRY_TYPE(entry[0]) != PM_ENTRY_WORD)
		return bad_entry("writes a part of a lane's entry or of a descriptor", offset);
	if (!grow((void **)&r->words, &r->words_cap, r->nwords, sizeof(*r->words)))
		return no_memory();
	r->words[r->nwords++] = (struct found_word){offset, entry[1]};
	return 0;
}

/* A word of the lane table or of a descriptor as replay will leave it. */
static uint64_t word_after(const struct recovery *r, uint64_t offset)
{
	for (uint32_t i = r->nwords; i--;)
		if (r->words[i].offset == offset)
			return r->words[i].value;
	return *(const uint64_t *)(const void *)(r->base + offset);
}

/* Will every entry of the lane table be a lane block, and of no other entry? */
static int check_lanes(const struct recovery *r)
{
	const struct pm_zone *zone = r->zone;
	uint64_t lanes[PM_LANES_MAX];

	for (uint32_t i = 0; i < PM_LANES_MAX; i++) {
		uint64_t block = lanes[i] = word_after(r, PM_LANE_TABLE + i * 8), desc;
		bool good =
			!((block - zone->data) % PM_GRANULE) && data_range(r, block, PM_GRANULE);

		if (!block && i)
			break;
		desc = zone->desc + (block - zone->data) / PM_GRANULE * sizeof(struct pm_span);
		good = good && (word_after(r, desc) & 0xff) == PM_KIND_LANE;
		for (uint32_t j = 0; j < i && good; j++)
			good = lanes[j] != block;
		if (!good)
			return ph_error(EUCLEAN,
					"entry %u of the lane table (offset %u) is damaged: it "
					"is no lane's block",
					i, PM_LANE_TABLE + i * 8);
	}
	return 0;
}

/* Step 1 for an entry: what it says about lanes, and about the end of an undo log. */
static int note_entry(struct recovery *r, const uint64_t *entry, uint64_t offset, uint64_t length)
{
	struct log_state *log;
	uint64_t ended = 0;

	if (overlap(offset, length, PM_LANE_TABLE, PM_ZONE_TABLE) ||
	    overlap(offset, length, r->zone->desc, r->zone->bits))
		return note_word(r, entry, offset);
	log = log_at(r, offset, length);
	if (log && (PM_ENTRY_TYPE(entry[0]) != PM_ENTRY_WORD || offset != log->head ||
		    !ph_unseal(entry[1], &ended)))
		return bad_entry("ends an undo log, and is damaged", offset);
	if (log && ended > log->ended)
		log->ended = ended;
	return 0;
}

/* Step 1 too: the lines of the record itself, and of its extension. What was
 * visible to this process may not be durable yet, and step 2 must not overtake it. */
static void flush_record(struct recovery *r, const struct found_record *found)
{
	uint64_t ring = found->block + PM_LANE_RING;
	uint32_t first =
		PM_RING_LINES - found->at < found->lines ? PM_RING_LINES - found->at : found->lines;
	const uint64_t *w = (const uint64_t *)(const void *)(r->base + ring + found->at * PM_LINE);

	ph_flush(r->pm, r->count, w, first * PM_LINE);
	if (found->lines > first)
		ph_flush(r->pm, r->count, r->base + ring, (found->lines - first) * PM_LINE);
	/* An extension is the only entry of its record, which has one line. */
	if (PM_ENTRY_TYPE(w[PM_RECORD_WORDS]) == PM_ENTRY_EXTENSION)
		ph_flush(r->pm, r->count, r->base + PM_ENTRY_OFFSET(w[PM_RECORD_WORDS]),
			 w[PM_RECORD_WORDS + 1] * 8);
}

/* Lines are flushed once each, at the end of a step: flushing a line again and
 * again costs ten times as much. */
static int note_lines(struct recovery *r, uint64_t offset, uint64_t length)
{
	for (uint64_t line = offset / PM_LINE; line <= (offset + length - 1) / PM_LINE; line++) {
		uint64_t i;

		if (2 * r->nlines >= r->lines_cap) {
			struct recovery bigger = *r;

			bigger.lines_cap = r->lines_cap ? 2 * r->lines_cap : 4096;
			bigger.nlines = 0;
			bigger.lines = calloc(bigger.lines_cap, sizeof(*bigger.lines));
			if (!bigger.lines)
				return no_memory();
			for (i = 0; i < r->lines_cap; i++)
				if (r->lines[i])
					note_lines(&bigger, r->lines[i] * PM_LINE, 1);
			free(r->lines);
			r->lines = bigger.lines;
			r->nlines = bigger.nlines;
			r->lines_cap = bigger.lines_cap;
		}
		i = line * UINT64_C(0x9e3779b97f4a7c15) >> 20 & (r->lines_cap - 1);
		while (r->lines[i] && r->lines[i] != line)
			i = (i + 1) & (r->lines_cap - 1);
		r->nlines += !r->lines[i];
		r->lines[i] = line;
	}
	return 0;
}

static int flush_lines(struct recovery *r)
{
	for (uint64_t i = 0; i < r->lines_cap; i++) {
		if (r->lines[i])
			ph_flush(r->pm, r->count, r->base + r->lines[i] * PM_LINE, PM_LINE);
		r->lines[i] = 0;
	}
	r->nlines = 0;
	return ph_fence(r->pm, r->count);
}

/* Step 2 for an entry. */
static int apply_entry(struct recovery *r, const uint64_t *entry, uint64_t offset, uint64_t length)
{
	uint64_t *at = (uint64_t *)(void *)(r->base + offset);
	uint64_t bit = UINT64_C(1) << (PM_ENTRY_AUX(entry[0]) & 63);

	switch (PM_ENTRY_TYPE(entry[0])) {
	case PM_ENTRY_WORD:
		ph_store64(r->pm, at, entry[1]);
		break;
	case PM_ENTRY_BYTES:
		ph_store(r->pm, at, &entry[1], length);
		break;
	case PM_ENTRY_ZERO:
		ph_store_zero(r->pm, at, length);
		break;
	case PM_ENTRY_BIT_SET:
		ph_store64(r->pm, at, *at | bit);
		break;
	default:
		ph_store64(r->pm, at, *at & ~bit);
		break;
	}
	return note_lines(r, offset, length);
}

/* ---- undo logs ------------------------------------------------------------------------- */

/* A valid entry at offset whose area ends at end? Its length in bytes, or 0. */
static uint64_t undo_entry_bytes(const struct recovery *r, const struct log_state *log,
				 uint64_t offset, uint64_t end)
{
	const struct pm_undo *head = (const struct pm_undo *)(const void *)(r->base + offset);
	uint64_t bytes, data;

	if (offset + PM_LINE > end)
		return 0;
	data = head->target >> 56 == PM_UNDO_DATA ? head->length : 0;
	if (data > PM_UNDO_DATA_MAX)
		return 0;
	bytes = (sizeof(*head) + data + PM_LINE - 1) / PM_LINE * PM_LINE;
	if (bytes > end - offset)
		return 0;
	if (head->sum != ph_sum(r->epoch ^ log->head, offset,
				(const uint64_t *)(const void *)head + 1, bytes / 8 - 1))
		return 0;
	return bytes;
}

/*
 * The live entries end at offset, where the next one would have number seq. A
 * valid one behind it that was written under a later fence means that the
 * missing one was durable once: damage, not a torn tail.
 */
static int check_undo_tail(const struct recovery *r, const struct log_state *log, uint64_t offset,
			   uint64_t end, uint64_t gen, uint32_t seq)
{
	for (uint64_t at = offset; at + PM_LINE <= end; at += PM_LINE) {
		const struct pm_undo *head = (const struct pm_undo *)(const void *)(r->base + at);
		bool candidate = gen ? head->gen == gen : head->gen > log->ended;

		if (candidate && head->seq >> 32 > seq && undo_entry_bytes(r, log, at, end))
			return ph_error(
				EUCLEAN,
				"undo log: entry %u before offset %#llx is damaged: restore the "
				"pool from a copy",
				seq, (unsigned long long)at);
	}
	return 0;
}

static int add_undo(struct recovery *r, const struct pm_undo *head)
{
	uint64_t target = PM_ENTRY_OFFSET(head->target);

	if (!writable_range(r, target, head->length))
		return ph_error(EUCLEAN,
				"an undo entry restores offset %#llx, outside the pool's data",
				(unsigned long long)target);
	if (!grow((void **)&r->undos, &r->undos_cap, r->nundos, sizeof(*r->undos)))
		return no_memory();
	r->undos[r->nundos++] = (struct found_undo){target, head->length, (const char *)(head + 1)};
	return 0;
}

static int scan_undo(struct recovery *r, const struct log_state *log)
{
	uint64_t at = log->area, end = log->area + PM_UNDO_AREA, gen = 0, bytes;
	uint32_t seq = 0;

	while ((bytes = undo_entry_bytes(r, log, at, end))) {
		const struct pm_undo *head = (const struct pm_undo *)(const void *)(r->base + at);
		int err;

		if (head->gen <= log->ended || (gen && head->gen != gen) ||
		    (uint32_t)head->seq != seq)
			break;
		gen = head->gen;
		seq++;
		if (head->target >> 56 == PM_UNDO_NEXT) {
			at = PM_ENTRY_OFFSET(head->target);
			if (at % PM_LINE || !data_range(r, at, head->length))
				return ph_error(EUCLEAN,
						"an undo log goes on at offset %#llx, outside "
						"the pool's data",
						(unsigned long long)at);
			end = at + head->length;
			continue;
		}
		if (head->target >> 56 != PM_UNDO_DATA)
			return ph_error(EPROTONOSUPPORT,
					"an undo entry of type %u is not known to this "
					"version: use the one that wrote it",
					(unsigned)(head->target >> 56));
		if ((err = add_undo(r, head)))
			return err;
		at += bytes;
	}
	return check_undo_tail(r, log, at, end, gen, seq);
}

/* ---- the steps --------------------------------------------------------------------------- */

static int find_lanes(struct recovery *r)
{
	while (r->nlanes < PM_LANES_MAX && lane_block(r, r->nlanes))
		r->nlanes++;
	r->logs = calloc(r->nlanes * PM_UNDO_LOGS + 1, sizeof(*r->logs));
	if (!r->logs)
		return no_memory();
	for (uint32_t i = 0; i < r->nlanes * PM_UNDO_LOGS; i++) {
		uint64_t block = lane_block(r, i / PM_UNDO_LOGS);

		if ((block - r->zone->data) % PM_GRANULE || !data_range(r, block, PM_GRANULE))
			return ph_error(EUCLEAN,
					"lane %u lies at offset %#llx, outside the pool's data",
					i / PM_UNDO_LOGS, (unsigned long long)block);
		r->logs[i].head = block + i % PM_UNDO_LOGS * sizeof(struct pm_undo_head);
		r->logs[i].area = block + PM_LANE_UNDO + i % PM_UNDO_LOGS * (uint64_t)PM_UNDO_AREA;
		if (!ph_unseal(*(const uint64_t *)(const void *)(r->base + r->logs[i].head),
			       &r->logs[i].ended))
			return ph_error(EUCLEAN,
					"the head of an undo log at offset %#llx is damaged",
					(unsigned long long)r->logs[i].head);
	}
	qsort(r->logs, r->nlanes * PM_UNDO_LOGS, sizeof(*r->logs), compare_logs);
	return 0;
}

static int read_logs(struct recovery *r)
{
	int err = find_lanes(r);

	for (uint32_t lane = 0; lane < r->nlanes && !err && !r->clean; lane++)
		err = scan_ring(r, lane);
	if (r->nrecords)
		qsort(r->records, r->nrecords, sizeof(*r->records), compare_stamps);
	for (uint32_t i = 0; i < r->nrecords && !err; i++)
		err = walk_record(r, &r->records[i], note_entry);
	if (!err)
		err = check_lanes(r);
	for (uint32_t i = 0; i < r->nlanes * PM_UNDO_LOGS && !err && !r->clean; i++)
		err = scan_undo(r, &r->logs[i]);
	return err;
}

static int replay(struct recovery *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nrecords; i++)
		flush_record(r, &r->records[i]);
	/* Orders the records before what they do. */
	err = ph_fence(r->pm, r->count);
	for (uint32_t i = 0; i < r->nrecords && !err; i++)
		err = walk_record(r, &r->records[i], apply_entry);
	/* Step 3. */
	return err ? err : flush_lines(r);
}

static int roll_back(struct recovery *r)
{
	int err = 0;

	for (uint32_t i = r->nundos; i-- && !err;) {
		const struct found_undo *undo = &r->undos[i];

		ph_store(r->pm, r->base + undo->target, undo->data, undo->length);
		err = note_lines(r, undo->target, undo->length);
	}
	/* Step 5. */
	return err ? err : flush_lines(r);
}

int ph_recover(struct ph_persist *pm, struct ph_count *count, char *base, uint64_t size,
	       struct ph_recovered *done)
{
	const struct pm_state *state = (const struct pm_state *)(const void *)(base + PM_STATE);
	struct recovery r = {
		.pm = pm,
		.count = count,
		.base = base,
		.size = size,
		.epoch = state->epoch,
		.zone = (const struct pm_zone *)(const void *)(base + PM_ZONE_TABLE),
	};
	int err;

	ph_unseal(state->settled, &r.settled);
	r.clean = state->status == PM_STATUS_CLEAN;
	err = read_logs(&r);

	if (!err && r.nrecords)
		err = replay(&r);
	if (!err && r.nundos)
		err = roll_back(&r);
	if (done)
		*done = (struct ph_recovered){r.nrecords, r.nundos};
	free(r.records);
	free(r.undos);
	free(r.words);
	free(r.logs);
	free(r.lines);
	return err;
}
