/*
 * record.c - build, commit and apply a redo record. Invariants and protocol are
 * in lane.h.
 */
#include "record.h"

#include <stdlib.h>

#include "alloc/large.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "reclaim/young.h"
#include "sum.h"
#include "lane.h"
#include "tx.h"

void ph_rec_free(struct ph_rec *rec)
{
	if (rec->words != rec->word_space)
		free(rec->words);
	if (rec->lines != rec->line_space)
		free(rec->lines);
	if (rec->extension)
		ph_large_free(rec->heap, rec->extension, true);
	if (rec->room)
		ph_large_free(rec->heap, rec->room, false);
}

/* ---- building ---------------------------------------------------------- */

/* 2 GiB of entries, and 16 GiB of lines. */
#define WORDS_MAX (UINT64_C(1) << 28)
#define LINES_MAX (1u << 28)

bool ph_rec_grow_words(struct ph_rec *rec, uint32_t more)
{
	uint64_t needed = (uint64_t)rec->n + more + 8, cap = rec->cap;
	uint64_t *words;

	while (cap < needed)
		cap *= 2;
	words = rec->error || cap > WORDS_MAX ? NULL : aligned_alloc(64, cap * sizeof(*words));
	if (!words) {
		rec->error =
			rec->error ? rec->error : ph_error(ENOMEM, "no memory for a redo record");
		return false;
	}
	memcpy(words, rec->words, rec->n * sizeof(*words));
	if (rec->words != rec->word_space)
		free(rec->words);
	rec->words = words;
	rec->cap = (uint32_t)cap;
	return true;
}

bool ph_rec_grow_lines(struct ph_rec *rec)
{
	uint32_t cap = rec->lines_cap * 2;
	uint64_t *lines = rec->error || cap > LINES_MAX ? NULL : malloc(cap * sizeof(*lines));

	if (!lines) {
		rec->error =
			rec->error ? rec->error : ph_error(ENOMEM, "no memory for a redo record");
		return false;
	}
	memcpy(lines, rec->lines, rec->nlines * sizeof(*lines));
	if (rec->lines != rec->line_space)
		free(rec->lines);
	rec->lines = lines;
	rec->lines_cap = cap;
	return true;
}

static void add_lines(struct ph_rec *rec, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) / PM_LINE;

	for (uint64_t line = offset / PM_LINE; line <= last; line++)
		ph_rec_line(rec, line);
}

void ph_rec_bytes(struct ph_rec *rec, uint64_t offset, const void *src, size_t length)
{
	const char *s = src;

	while (length) {
		size_t part = length < 256 ? length : 256;
		uint32_t words = (uint32_t)(part + 7) / 8;

		if (!ph_rec_room(rec, 1 + words))
			return;
		rec->words[rec->n++] = PM_ENTRY(PM_ENTRY_BYTES, part - 1, offset);
		rec->words[rec->n + words - 1] = 0; /* the padding */
		memcpy(&rec->words[rec->n], s, part);
		rec->n += words;
		add_lines(rec, offset, part);
		offset += part;
		s += part;
		length -= part;
	}
}

void ph_rec_zero(struct ph_rec *rec, uint64_t offset, size_t length)
{
	if (!ph_rec_room(rec, 2))
		return;
	rec->words[rec->n++] = PM_ENTRY(PM_ENTRY_ZERO, 0, offset);
	rec->words[rec->n++] = length;
	add_lines(rec, offset, length);
}

void ph_rec_content_again(struct ph_rec *rec, size_t length)
{
	uint64_t *entry = &rec->words[PM_RECORD_WORDS];

	memcpy(entry + 1, ph_at(rec->heap, PM_ENTRY_OFFSET(*entry)), length);
}

void ph_rec_stage(struct ph_rec *rec)
{
	if (!rec->staged)
		rec->staged = rec->n;
}

/* The staged entries are WORDs, two words each. */
static uint64_t *staged_value(struct ph_rec *rec, uint64_t offset)
{
	uint64_t entry = PM_ENTRY(PM_ENTRY_WORD, 0, offset);

	for (uint32_t i = rec->n; i > rec->staged; i -= 2)
		if (rec->words[i - 2] == entry)
			return &rec->words[i - 1];
	return NULL;
}

uint64_t ph_rec_get(struct ph_rec *rec, uint64_t offset)
{
	uint64_t *value = staged_value(rec, offset);

	return value ? *value : *(const uint64_t *)(const void *)ph_at(rec->heap, offset);
}

void ph_rec_put(struct ph_rec *rec, uint64_t offset, uint64_t value)
{
	uint64_t *staged = staged_value(rec, offset);

	if (staged)
		*staged = value;
	else
		ph_rec_word(rec, offset, value);
}

/* ---- applying ---------------------------------------------------------- */

/* Stores only, no flush: R3 settles them later. Under the stripes. */
static void apply(struct ph_rec *rec)
{
	struct ph_persist *pm = &rec->heap->pm;
	const uint64_t *w = rec->words;

	for (uint32_t i = rec->apply_from; i < rec->n;) {
		unsigned aux = PM_ENTRY_AUX(w[i]);
		uint64_t *at = (uint64_t *)(void *)ph_at(rec->heap, PM_ENTRY_OFFSET(w[i]));

		switch (PM_ENTRY_TYPE(w[i])) {
		case PM_ENTRY_WORD:
			ph_store64(pm, at, w[i + 1]);
			i += 2;
			break;
		case PM_ENTRY_BYTES:
			ph_store(pm, at, &w[i + 1], aux + 1);
			i += 1 + (aux + 8) / 8;
			break;
		case PM_ENTRY_ZERO:
			ph_store_zero(pm, at, w[i + 1]);
			i += 2;
			break;
		case PM_ENTRY_BIT_SET:
			ph_store64(pm, at, *at | UINT64_C(1) << aux);
			i++;
			break;
		default: /* PM_ENTRY_BIT_CLEAR */
			ph_store64(pm, at, *at & ~(UINT64_C(1) << aux));
			i++;
			break;
		}
	}
}

/* ---- locking ------------------------------------------------------------ */

static uint64_t line_of(uint64_t key)
{
	return (key & (PH_COVERED - 1)) << PH_STRIPE_BITS | key >> (64 - PH_STRIPE_BITS);
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void order(uint64_t *a, uint64_t *b)
{
	uint64_t x = *a, y = *b;

	*a = x < y ? x : y;
	*b = x < y ? y : x;
}

static bool same_stripe(uint64_t a, uint64_t b)
{
	return !((a ^ b) >> PH_KEY_SHIFT);
}

/* The common case, without a branch that depends on where objects lie. True: a stripe
 * is there twice. Keys that stand for none are larger than any line's. */
static bool sort_four(uint64_t *keys, uint32_t n)
{
	uint64_t a = keys[0];
	uint64_t b = n > 1 ? keys[1] : UINT64_MAX - (UINT64_C(2) << PH_KEY_SHIFT);
	uint64_t c = n > 2 ? keys[2] : UINT64_MAX - (UINT64_C(1) << PH_KEY_SHIFT);
	uint64_t d = n > 3 ? keys[3] : UINT64_MAX;

	order(&a, &b);
	order(&c, &d);
	order(&a, &c);
	order(&b, &d);
	order(&b, &c);
	keys[0] = a;
	keys[1] = b;
	keys[2] = c;
	keys[3] = d;
	return (int)same_stripe(a, b) | (int)same_stripe(b, c) | (int)same_stripe(c, d);
}

/* By insertion, since they come nearly in order, where they are not very many. */
static __attribute__((noinline)) bool sort_many(uint64_t *keys, uint32_t n)
{
	bool twice = false;

	if (n > PH_REC_LINES) {
		qsort(keys, n, sizeof(*keys), compare_keys);
		return true;
	}
	for (uint32_t i = 1; i < n; i++) {
		uint64_t key = keys[i];
		uint32_t at = i;

		for (; at && keys[at - 1] > key; at--)
			keys[at] = keys[at - 1];
		twice |= at && same_stripe(keys[at - 1], key);
		twice |= at < i && same_stripe(keys[at + 1], key);
		keys[at] = key;
	}
	return twice;
}

/* Drop keys that are there twice, and mark those of the same stripe. */
static __attribute__((noinline)) uint32_t make_unique(uint64_t *keys, uint32_t n)
{
	uint32_t kept = n != 0;

	for (uint32_t i = 1; i < n; i++) {
		uint64_t before = keys[kept - 1] & ~PH_FOLLOWS;

		if (before != keys[i])
			keys[kept++] = keys[i] | (same_stripe(before, keys[i]) ? PH_FOLLOWS : 0);
	}
	return kept;
}

static ph_inline void sort_lines(struct ph_rec *rec)
{
	uint64_t *keys = rec->lines;

	if (ph_unlikely(rec->nlines <= 4 ? sort_four(keys, rec->nlines)
					 : sort_many(keys, rec->nlines)))
		rec->nlines = make_unique(keys, rec->nlines);
	rec->written = rec->nlines;
	for (uint32_t i = 0; rec->covers && i < rec->nlines; i++)
		rec->written -= keys[i] & PH_COVERED ? 1 : 0;
}

/* By its holder, whom vain attempts of others do not disturb. */
static uint64_t word_of(const struct ph_stripe *stripe)
{
	return __atomic_load_n(&stripe->word, __ATOMIC_RELAXED);
}

/* Take them in the order of their index; true where one has another transaction's mark. */
static ph_inline bool take_stripes(struct ph_rec *rec)
{
	const uint64_t *key = rec->lines, *end = key + rec->nlines;
	uint32_t own = rec->tx ? rec->tx->base : 0;
	uint64_t stamp = 0;
	bool marked = false;

	for (; key < end; key++) {
		struct ph_stripe *stripe = ph_stripe_of_key(rec->heap, *key);
		uint64_t word;
		uint32_t mark;

		if (ph_unlikely(*key & PH_FOLLOWS))
			continue;
		ph_bitlock_take(&stripe->word);
		mark = __atomic_load_n(&stripe->mark, __ATOMIC_RELAXED);
		marked |= mark && (mark ^ own) >> PH_MARK_BITS;
		word = word_of(stripe);
		stamp = word > stamp ? word : stamp;
	}
	rec->stamp = stamp >> 1;
	return marked;
}

/*
 * stamp 0: the stripes keep theirs; so do those of which no line is written, or
 * note_dirty() would take the last line that was for noted since that stamp. Covered
 * lines sort behind the written ones of their stripe.
 */
static void give_stripes(struct ph_rec *rec, uint64_t stamp)
{
	for (const uint64_t *key = rec->lines; key < rec->lines + rec->nlines; key++) {
		struct ph_stripe *stripe = ph_stripe_of_key(rec->heap, *key);
		bool raise = stamp && !(*key & PH_COVERED);

		if (!(*key & PH_FOLLOWS))
			ph_bitlock_give(&stripe->word, raise ? stamp << 1 : word_of(stripe));
	}
}

/* Drop the marks of transactions that have ended. */
static void drop_marks(struct ph_rec *rec)
{
	for (uint32_t i = 0; i < rec->nlines; i++) {
		struct ph_stripe *stripe = ph_stripe_of_key(rec->heap, rec->lines[i]);
		uint32_t mark = __atomic_load_n(&stripe->mark, __ATOMIC_RELAXED);

		if (mark && !ph_undo_open(rec->heap, NULL, mark))
			__atomic_store_n(&stripe->mark, 0, __ATOMIC_RELAXED);
	}
}

/* Does an entry write into a snapshot of another transaction? */
static int check_snapshots(struct ph_rec *rec)
{
	const uint64_t *w = rec->words;

	for (uint32_t i = PM_RECORD_WORDS; i < rec->n;) {
		uint64_t length = 8, step = 1;

		switch (PM_ENTRY_TYPE(w[i])) {
		case PM_ENTRY_WORD:
			step = 2;
			break;
		case PM_ENTRY_BYTES:
			length = PM_ENTRY_AUX(w[i]) + 1;
			step = 1 + (length + 7) / 8;
			break;
		case PM_ENTRY_ZERO:
			length = w[i + 1];
			step = 2;
			break;
		}
		if (ph_undo_overlaps(rec->heap, rec->tx, PM_ENTRY_OFFSET(w[i]), length))
			return ph_error(EINVAL,
					"offset %#llx lies in a range that an open transaction has "
					"snapshotted: use that transaction, or wait until it ends",
					(unsigned long long)PM_ENTRY_OFFSET(w[i]));
		i += (uint32_t)step;
	}
	drop_marks(rec);
	return 0;
}

uint32_t ph_rec_ring_lines(const struct ph_rec *rec)
{
	return rec->extension ? 1 : (rec->n + 7) / 8;
}

/* A record of very many lines flushes them itself: see commit. */
static bool lines_fit(const struct ph_rec *rec)
{
	return rec->written <= PH_DIRTY_MAX;
}

static bool lane_has_room(const struct ph_rec *rec)
{
	const struct ph_lane *lane = rec->lane;
	uint64_t used = lane->pos - __atomic_load_n(&lane->head, __ATOMIC_ACQUIRE);

	if (used + ph_rec_ring_lines(rec) > PM_RING_LINES)
		return false;
	return !lines_fit(rec) || lane->ndirty + rec->written <= PH_DIRTY_MAX;
}

void ph_rec_again(struct ph_rec *rec)
{
	if (rec->extension) {
		if (rec->room)
			ph_large_free(rec->heap, rec->room, false);
		rec->room = rec->extension; /* no record refers to it */
		rec->extension = NULL;
	}
	rec->n = rec->apply_from = PM_RECORD_WORDS;
	rec->staged = rec->nlines = 0;
	rec->covers = false;
	rec->error = 0;
}

int ph_rec_changed(struct ph_rec *rec)
{
	uint64_t n = rec->n - PM_RECORD_WORDS, bytes = (n * 8 + PM_LINE - 1) / PM_LINE * PM_LINE;
	struct pheap *heap = rec->heap;

	if (ph_likely(!rec->extension))
		return 0;
	ph_copy_nt(&heap->pm, rec->count, ph_at(heap, rec->extension->start),
		   rec->words + PM_RECORD_WORDS, bytes);
	/* Orders the extension before the record that refers to it. */
	return ph_fence(&heap->pm, rec->count);
}

/*
 * Entries beyond a ring's share go to memory of their own, and the record in
 * the ring only says where: one fence more. The memory is given back like that
 * of a retired object, when the record is settled.
 */
static int spill(struct ph_rec *rec)
{
	uint64_t n = rec->n - PM_RECORD_WORDS, bytes = (n * 8 + PM_LINE - 1) / PM_LINE * PM_LINE;
	struct pheap *heap = rec->heap;
	int err = 0;

	if (rec->room && rec->room->size >= bytes) {
		rec->extension = rec->room;
		rec->room = NULL;
	} else if ((err = ph_span_reserve(heap, PM_KIND_LARGE, 0, bytes, &rec->extension))) {
		/* No squeezing here: it ends spans, and births that are staged in this
		 * record would undo that in the tree. */
		return err;
	}
	memset(&rec->words[rec->n], 0, bytes - n * 8); /* ph_rec_room() keeps a line free */
	return ph_rec_changed(rec);
}

int ph_rec_lock(struct ph_rec *rec)
{
	struct pheap *heap = rec->heap;
	int err = rec->error;

	if (err)
		return err;
	sort_lines(rec);
	if (ph_unlikely(ph_rec_ring_lines(rec) > PM_RECORD_LINES_MAX) && !rec->extension &&
	    ph_logs(&heap->pm) && (err = spill(rec)))
		return err;
	for (;;) {
		if (ph_unlikely(take_stripes(rec)) && (err = check_snapshots(rec)))
			break;
		if (ph_unlikely(!ph_logs(&heap->pm)))
			return 0;
		ph_bitlock_take(&rec->lane->lock);
		/* Behind a record whose write-back failed there must be none. */
		err = ph_persist_error(&heap->pm);
		if (ph_likely(!err && lane_has_room(rec)))
			return 0;
		ph_bitlock_give(&rec->lane->lock, 0);
		if (err) {
			err = ph_heap_refuse(heap, "committing a record");
			break;
		}
		give_stripes(rec, 0);
		if ((err = ph_checkpoint(heap)))
			return err;
	}
	give_stripes(rec, 0);
	return err;
}

void ph_rec_cover_lines(struct ph_rec *rec, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n && i < PH_STRIPES; i++)
		ph_rec_key(rec, ph_line_key(first + i) | PH_COVERED);
}

int ph_rec_lock_stripes(struct ph_rec *rec)
{
	if (rec->error)
		return rec->error;
	sort_lines(rec);
	return take_stripes(rec);
}

void ph_rec_unlock_stripes(struct ph_rec *rec)
{
	give_stripes(rec, 0);
}

void ph_rec_unlock(struct ph_rec *rec)
{
	if (rec->lane)
		ph_bitlock_give(&rec->lane->lock, 0);
	give_stripes(rec, 0);
}

/* ---- committing ----------------------------------------------------------- */

/* R2. */
static uint64_t next_stamp(const struct ph_rec *rec)
{
	uint64_t clock = rec->lane ? rec->lane->clock : 0;

	return 1 + (rec->stamp > clock ? rec->stamp : clock);
}

/* Copy whole lines to the ring, over its end where need be. */
static void write_ring(struct ph_rec *rec, const uint64_t *words, uint32_t at, uint32_t lines)
{
	struct ph_persist *pm = &rec->heap->pm;
	char *ring = ph_at(rec->heap, rec->lane->block + PM_LANE_RING);
	uint32_t first = PM_RING_LINES - at;

	if (ph_likely(lines <= first)) {
		ph_copy_nt(pm, rec->count, ring + at * PM_LINE, words, lines * PM_LINE);
		return;
	}
	ph_copy_nt(pm, rec->count, ring + at * PM_LINE, words, first * PM_LINE);
	ph_copy_nt(pm, rec->count, ring, words + first * 8, (lines - first) * PM_LINE);
}

/* The record in the ring of one whose entries are elsewhere. */
static void refer(const struct ph_rec *rec, uint64_t *stub)
{
	uint64_t start = rec->extension->start, n = rec->n - PM_RECORD_WORDS;

	stub[3] = PM_ENTRY(PM_ENTRY_EXTENSION, 0, start);
	stub[4] = n;
	stub[5] = ph_sum(rec->heap->epoch, start, rec->words + PM_RECORD_WORDS, n);
}

static int write_record(struct ph_rec *rec, uint64_t stamp)
{
	struct ph_lane *lane = rec->lane;
	uint64_t stub[16] __attribute__((aligned(64)));
	uint64_t *w = rec->words;
	uint32_t n = rec->n, lines, at = (uint32_t)(lane->pos % PM_RING_LINES);

	if (ph_unlikely(rec->extension != NULL)) {
		refer(rec, stub);
		w = stub;
		n = 6;
	}
	lines = (n + 7) / 8;
	memset(&w[n], 0, PM_LINE);
	w[1] = stamp << PM_STAMP_SHIFT | lines;
	w[2] = lane->prev;
	w[0] = ph_sum_lines(rec->heap->epoch, lane->block + PM_LANE_RING + at * PM_LINE, w, lines);
	write_ring(rec, w, at, lines);
	rec->count->records++;
	rec->count->record_lines += lines;
	lane->pos += lines;
	lane->prev = lane->clock = stamp;
	/* The commit point. Orders the record before the stores that apply it. */
	return ph_fence(&rec->heap->pm, rec->count);
}

/*
 * Note the lines for the next checkpoint, each once, and let go of their stripes: a
 * line whose stripe was last written by this lane, in this very line, since its last
 * visit, is on the list already. A line that another lane wrote in between goes on both
 * lists: either visit may be the last before S (R3). See give_stripes() for stamps. From
 * the last key on, so that a stripe is let go of behind its last line.
 */
static void note_dirty(struct ph_rec *rec, uint64_t stamp)
{
	struct ph_lane *lane = rec->lane;
	uint64_t settled = ph_settled(rec->heap);
	uint32_t mixed = 0; /* this record writes further lines of the stripe */

	for (const uint64_t *key = rec->lines + rec->nlines; key-- > rec->lines;) {
		struct ph_stripe *stripe = ph_stripe_of_key(rec->heap, *key);
		uint64_t line = line_of(*key), word = word_of(stripe);
		uint32_t tag = ph_stripe_tag(lane->index, line), seen = stripe->tag;

		if (ph_likely(!(*key & PH_COVERED))) {
			if ((seen & ~PH_TAG_MIXED) != tag || word >> 1 <= lane->visited) {
				if (word >> 1 > settled &&
				    (seen & PH_TAG_MIXED || (seen ^ tag) >> PH_TAG_LANE_BITS))
					mixed = PH_TAG_MIXED; /* not settled either */
				__atomic_store_n(&stripe->tag, tag | mixed, __ATOMIC_RELAXED);
				lane->dirty[lane->ndirty++] = line;
			}
			word = stamp << 1;
		}
		if (ph_unlikely(*key & PH_FOLLOWS)) {
			mixed = *key & PH_COVERED ? mixed : PH_TAG_MIXED;
		} else {
			ph_bitlock_give(&stripe->word, word);
			mixed = 0;
		}
	}
}

/* More lines than the list can hold: make them durable here and now. */
static int flush_lines(struct ph_rec *rec)
{
	struct pheap *heap = rec->heap;

	for (uint32_t i = 0; i < rec->nlines; i++) {
		uint64_t key = rec->lines[i];

		if (key & PH_COVERED)
			continue;
		__atomic_store_n(&ph_stripe_of_key(rec->heap, key)->tag, UINT32_MAX,
				 __ATOMIC_RELAXED); /* mixed; no lane has it */
		ph_flush(&heap->pm, rec->count, ph_at(heap, line_of(key) * PM_LINE), PM_LINE);
	}
	/* R3: orders them before any S that covers the record. */
	return ph_fence(&heap->pm, rec->count);
}

/*
 * Rings of threads that do the same are full at the same time, and then all but one would
 * wait for the checkpoint. So where there are several threads, it begins before.
 */
#define AHEAD_LINES (PM_RING_LINES * 3 / 4)

static bool nearly_full(const struct ph_lane *lane)
{
	uint64_t used = lane->pos - __atomic_load_n(&lane->head, __ATOMIC_ACQUIRE);

	return ph_unlikely(used > AHEAD_LINES) && !__libc_single_threaded;
}

int ph_rec_commit(struct ph_rec *rec)
{
	uint64_t stamp = next_stamp(rec);
	bool ahead;
	int err = 0;

	if (rec->lane && (err = write_record(rec, stamp))) {
		ph_rec_unlock(rec);
		return ph_error(EIO, "writing a redo record back failed: whether the operation "
				     "happened is unknown; the heap is read-only now, reopen it");
	}
	apply(rec);
	if (!rec->lane) {
		give_stripes(rec, stamp);
		return 0;
	}
	if (ph_unlikely(rec->heap->logs_young))
		ph_young_log(rec);
	if (ph_likely(lines_fit(rec))) {
		note_dirty(rec, stamp);
	} else {
		err = flush_lines(rec);
		give_stripes(rec, stamp);
	}
	ahead = nearly_full(rec->lane);
	ph_bitlock_give(&rec->lane->lock, 0);
	if (ahead)
		ph_checkpoint_ahead(rec->heap);
	return err;
}
