/*
 * entries.c - what records say: judged first, then replayed. Protocol in replay.h,
 * V1 in recovery.h.
 */
#include "recovery.h"

#include <stdlib.h>

#include "sum.h"

static int bad_entry(const char *why, uint64_t offset)
{
	return ph_error(EUCLEAN, "a redo record has an entry for offset %#llx that %s",
			(unsigned long long)offset, why);
}

/* ---- the walk ------------------------------------------------------------------------- */

typedef int entry_fn(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry, uint64_t offset,
		     uint64_t length);

/* Words that an entry takes, and the length of what it writes; 0: an unknown type. */
static uint64_t entry_words(const struct ph_recovery *r, const uint64_t *w, uint64_t left,
			    uint64_t *length)
{
	*length = 8;
	switch (PM_ENTRY_TYPE(w[0])) {
	case PM_ENTRY_WORD:
		return 2;
	case PM_ENTRY_BYTES:
		*length = PM_ENTRY_AUX(w[0]) + 1;
		return 1 + (*length + 7) / 8;
	case PM_ENTRY_ZERO:
		*length = left > 1 ? w[1] : 0;
		return 2;
	case PM_ENTRY_BIT_SET:
	case PM_ENTRY_BIT_CLEAR:
		return 1;
	case PM_ENTRY_EXTENSION:
		*length = left > 2 && w[1] <= r->size / 8 ? w[1] * 8 : 0;
		return 3;
	default:
		return 0;
	}
}

static int check_entry(const struct ph_recovery *r, const uint64_t *w, uint64_t step, uint64_t left,
		       uint64_t length)
{
	uint64_t offset = PM_ENTRY_OFFSET(w[0]);
	unsigned type = PM_ENTRY_TYPE(w[0]);

	if (!step)
		return ph_error(EPROTONOSUPPORT,
				"a redo record has an entry of type %u, which this version does "
				"not know: use the version that wrote it",
				type);
	if (step > left)
		return bad_entry("is cut off", offset);
	if (!ph_range_writable(r, offset, length))
		return bad_entry("lies outside the pool's data", offset);
	if (offset % 8 && type != PM_ENTRY_BYTES && type != PM_ENTRY_ZERO)
		return bad_entry("is not aligned", offset);
	return 0;
}

/*
 * Call fn for each entry of n words, with the range that it writes; extensions
 * are followed once, and fn is called for them too before they are.
 */
static int walk(struct ph_recovery *r, uint64_t stamp, const uint64_t *w, uint64_t n, entry_fn *fn,
		bool nested)
{
	for (uint64_t i = 0, step; i < n && PM_ENTRY_TYPE(w[i]) != PM_ENTRY_END; i += step) {
		uint64_t offset = PM_ENTRY_OFFSET(w[i]), length;
		int err;

		step = entry_words(r, &w[i], n - i, &length);
		err = check_entry(r, &w[i], step, n - i, length);
		if (!err && PM_ENTRY_TYPE(w[i]) != PM_ENTRY_EXTENSION) {
			err = fn(r, stamp, &w[i], offset, length);
		} else if (!err) {
			if (nested || !ph_range_data(r, offset, length))
				return bad_entry("is a damaged extension", offset);
			err = fn(r, stamp, &w[i], offset, length);
			if (!err)
				err = walk(r, stamp,
					   (const uint64_t *)(const void *)(r->base + offset),
					   w[i + 1], fn, true);
		}
		if (err)
			return err;
	}
	return 0;
}

static bool is_extension(const uint64_t *entry)
{
	return PM_ENTRY_TYPE(entry[0]) == PM_ENTRY_EXTENSION;
}

/* ---- judging ---------------------------------------------------------------------------- */

static int judge_extension(struct ph_recovery *r, const uint64_t *entry, uint64_t offset,
			   uint64_t length)
{
	int err = ph_back(r, offset, length);

	if (!err)
		err = ph_back_end(r); /* before it is read */
	if (err)
		return err;
	if (ph_sum(r->epoch, offset, (const uint64_t *)(const void *)(r->base + offset),
		   entry[1]) != entry[2])
		return bad_entry("is a damaged extension", offset);
	r->extensions = true;
	return 0;
}

/* The library writes lane table and descriptors word by word. */
static int judge_word(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry, uint64_t offset)
{
	struct ph_found_entry *slot;

	if (PM_ENTRY_TYPE(entry[0]) != PM_ENTRY_WORD)
		return bad_entry("writes a part of a lane's entry or of a descriptor", offset);
	if (offset >= PM_ZONE_TABLE) {
		if (!((offset - r->zone->desc) % sizeof(struct pm_span)))
			r->kinds = true;
		return 0;
	}
	slot = &r->table[(offset - PM_LANE_TABLE) / 8];
	if (stamp >= slot->stamp) {
		slot->block = entry[1];
		slot->stamp = stamp;
	}
	return 0;
}

/* All that a record does in a lane block is to end a generation of an undo log. */
static int judge_head(struct ph_found_lane *lane, const uint64_t *entry, uint64_t offset)
{
	uint64_t log = (offset - lane->block) / sizeof(struct pm_undo_head), ended;

	if (offset < lane->block || log >= PM_UNDO_LOGS)
		return bad_entry("lies in a lane block", offset);
	if (PM_ENTRY_TYPE(entry[0]) != PM_ENTRY_WORD || offset % sizeof(struct pm_undo_head) ||
	    !ph_unseal(entry[1], &ended))
		return bad_entry("ends an undo log, and is damaged", offset);
	if (ended > lane->ended[log])
		lane->ended[log] = ended;
	return 0;
}

static int judge_entry(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry,
		       uint64_t offset, uint64_t length)
{
	struct ph_found_lane *lane;
	int err;

	if (is_extension(entry))
		return judge_extension(r, entry, offset, length);
	if (ph_range_overlaps(offset, length, PM_LANE_TABLE, PM_ZONE_TABLE) ||
	    ph_range_overlaps(offset, length, r->zone->desc, r->zone->bits)) {
		err = judge_word(r, stamp, entry, offset);
	} else {
		lane = ph_lane_over(r, offset, length);
		err = lane ? judge_head(lane, entry, offset) : 0;
	}
	return err ? err : ph_back(r, offset, length);
}

static int judge_record(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n)
{
	return walk(r, stamp, words, n, judge_entry, false);
}

/* ---- the lane table as replay will leave it ----------------------------------------------- */

static uint64_t descriptor_of(const struct ph_recovery *r, uint64_t block)
{
	return r->zone->desc + (block - r->zone->data) / PM_GRANULE * sizeof(struct pm_span);
}

static int compare_entries(const void *a, const void *b)
{
	const struct ph_found_entry *x = a, *y = b;

	return x->block < y->block ? -1 : x->block > y->block;
}

/* A record writes the first word of a descriptor: of a lane's? */
static int note_kind(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry, uint64_t offset,
		     uint64_t length)
{
	uint64_t granule = (offset - r->zone->desc) / sizeof(struct pm_span);
	struct ph_found_entry key = {.block = r->zone->data + granule * PM_GRANULE}, *found;

	(void)length;
	if (is_extension(entry) || offset < r->zone->desc || offset >= r->zone->bits ||
	    (offset - r->zone->desc) % sizeof(struct pm_span))
		return 0;
	found = bsearch(&key, r->table, r->ntable, sizeof(key), compare_entries);
	if (found && stamp >= found->kind_stamp) {
		found->kind = entry[1];
		found->kind_stamp = stamp;
	}
	return 0;
}

static int note_kinds(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n)
{
	return walk(r, stamp, words, n, note_kind, false);
}

static bool lane_block(const struct ph_recovery *r, uint64_t block)
{
	return !((block - r->zone->data) % PM_GRANULE) && ph_range_data(r, block, PM_GRANULE);
}

static int bad_lane(const struct ph_found_entry *entry)
{
	return ph_error(EUCLEAN,
			"entry %u of the lane table (offset %u) is damaged: it is no lane's block",
			entry->index, PM_LANE_TABLE + entry->index * 8);
}

/* Will every entry of the lane table be a lane block, and of no other entry? */
static int judge_table(struct ph_recovery *r)
{
	struct ph_found_entry *table = r->table;
	uint32_t n;
	int err = 0;

	for (n = 0; n < PM_LANES_MAX; n++) {
		table[n].index = n;
		if (!table[n].stamp)
			table[n].block = ph_word_at(r, PM_LANE_TABLE + n * 8);
		if (!table[n].block && n)
			break;
		if (!lane_block(r, table[n].block))
			return bad_lane(&table[n]);
		table[n].kind = ph_word_at(r, descriptor_of(r, table[n].block));
	}
	r->ntable = n;
	qsort(table, n, sizeof(*table), compare_entries);
	if (r->kinds)
		err = ph_each_record(r, note_kinds);
	for (uint32_t i = 0; i < n && !err; i++)
		if ((table[i].kind & 0xff) != PM_KIND_LANE ||
		    (i && table[i].block == table[i - 1].block))
			err = bad_lane(&table[i]);
	return err;
}

int ph_judge_records(struct ph_recovery *r)
{
	int err = ph_each_record(r, judge_record);

	if (!err)
		err = ph_back_end(r);
	return err ? err : judge_table(r);
}

/* ---- replay -------------------------------------------------------------------------------- */

static int flush_extension(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n)
{
	(void)stamp;
	(void)n;
	/* The only entry of its record. */
	if (is_extension(words))
		ph_flush_target(r, PM_ENTRY_OFFSET(words[0]), words[1] * 8);
	return 0;
}

/* What was visible to the process that was killed may not be durable yet, and its
 * effects must not overtake it. */
static int flush_records(struct ph_recovery *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->nlanes; i++) {
		const struct ph_found_lane *lane = &r->lanes[i];
		uint64_t ring = lane->block + PM_LANE_RING;
		uint32_t first = PM_RING_LINES - lane->first < lane->lines
					 ? PM_RING_LINES - lane->first
					 : lane->lines;

		ph_flush(r->pm, r->count, r->base + ring + lane->first * PM_LINE, first * PM_LINE);
		ph_flush(r->pm, r->count, r->base + ring, (lane->lines - first) * PM_LINE);
	}
	if (r->extensions)
		err = ph_each_record(r, flush_extension);
	ph_flush_end(r);
	/* Orders the records before what they do. */
	return err ? err : ph_fence(r->pm, r->count);
}

static int apply_entry(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry,
		       uint64_t offset, uint64_t length)
{
	uint64_t *at = (uint64_t *)(void *)(r->base + offset);
	uint64_t bit = UINT64_C(1) << (PM_ENTRY_AUX(entry[0]) & 63);

	(void)stamp;
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
	case PM_ENTRY_BIT_CLEAR:
		ph_store64(r->pm, at, *at & ~bit);
		break;
	default: /* an extension: its entries follow */
		break;
	}
	return 0;
}

static int flush_entry(struct ph_recovery *r, uint64_t stamp, const uint64_t *entry,
		       uint64_t offset, uint64_t length)
{
	(void)stamp;
	if (!is_extension(entry))
		ph_flush_target(r, offset, length);
	return 0;
}

static int apply_record(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n)
{
	return walk(r, stamp, words, n, apply_entry, false);
}

static int flush_record(struct ph_recovery *r, uint64_t stamp, const uint64_t *words, uint64_t n)
{
	return walk(r, stamp, words, n, flush_entry, false);
}

int ph_replay(struct ph_recovery *r)
{
	int err = flush_records(r);

	if (!err)
		err = ph_each_record_merged(r, apply_record);
	if (!err)
		err = ph_each_record(r, flush_record);
	ph_flush_end(r);
	return err;
}
