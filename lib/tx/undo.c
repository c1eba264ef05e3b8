/*
 * undo.c - save, restore and end. Invariants and protocol are in undo.h.
 *
 * LOCKS: stripes while ranges are saved; each transaction's undo.lock for its set of
 * saved ranges. Who finds no mark of an open transaction in the stripes of a range looks
 * into no set, so transactions with snapshots in different lines do not meet.
 */
#include "undo.h"

#include <stdlib.h>

#include "alloc/large.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "sum.h"
#include "lane.h"
#include "record.h"
#include "tx.h"

#define ENTRY_DATA PM_UNDO_DATA_MAX
/* The smallest further area; each is at least twice the one before. */
#define AREA_MIN (4 * PM_GRANULE)
/* Lines of which it costs less to look at the stripes than at other transactions. */
#define LOOK_LINES 64u

bool ph_undo_overlaps(struct pheap *heap, const struct pheap_tx *tx, uint64_t offset,
		      uint64_t length)
{
	struct pheap_tx *other = __atomic_load_n(&heap->txs, __ATOMIC_ACQUIRE);
	bool found = false;

	for (; other && !found; other = other->next) {
		if (other == tx || !__atomic_load_n(&other->undo.mark, __ATOMIC_ACQUIRE))
			continue;
		ph_bitlock_take(&other->undo.lock);
		found = ph_ranges_overlap(&other->undo.saved, offset, offset + length);
		ph_bitlock_give(&other->undo.lock, 0);
	}
	return found;
}

bool ph_undo_open(struct pheap *heap, const struct pheap_tx *tx, uint32_t mark)
{
	const struct pheap_tx *other = __atomic_load_n(&heap->txs, __ATOMIC_ACQUIRE);

	for (; other; other = other->next) {
		uint32_t its = __atomic_load_n(&other->undo.mark, __ATOMIC_ACQUIRE);

		if (other != tx && its && (its == mark || mark == PH_MARK_MANY))
			return true;
	}
	return false;
}

/* Is there a mark in one of the stripes of a range? In one of a long one, perhaps. */
static bool may_be_saved(struct pheap *heap, uint64_t offset, uint64_t length)
{
	uint64_t line = offset / PM_LINE, last = (offset + length - 1) / PM_LINE;

	if (ph_likely(!__atomic_load_n(&heap->txs, __ATOMIC_ACQUIRE)))
		return false;
	for (; last - line < LOOK_LINES; line++) {
		if (__atomic_load_n(&ph_stripe_of(heap, line)->mark, __ATOMIC_RELAXED))
			break;
		if (line == last)
			return false;
	}
	return true;
}

int ph_undo_guards(struct pheap *heap, const struct pheap_tx *tx, const struct ph_object *object)
{
	if (ph_likely(!may_be_saved(heap, object->start, PH_SEEN(object->slab, size))) ||
	    !ph_undo_overlaps(heap, tx, object->start, PH_SEEN(object->slab, size)))
		return 0;
	return ph_error(EINVAL,
			"the object at offset %#llx cannot be freed: an open transaction has "
			"snapshotted a part of it",
			(unsigned long long)object->start);
}

/* ---- a log for the transaction --------------------------------------------------- */

static struct ph_undo_log *take_from(struct pheap *heap, struct ph_lane *lane)
{
	if (ph_lane_back(heap, lane))
		return NULL;
	for (unsigned i = 0; i < PM_UNDO_LOGS; i++)
		if (ph_flag_take(&lane->logs[i].used))
			return &lane->logs[i];
	return NULL;
}

static struct ph_undo_log *take_log(struct pheap *heap, struct ph_lane *first)
{
	struct ph_undo_log *log = take_from(heap, first);

	for (uint32_t i = 0; !log && i < __atomic_load_n(&heap->nlanes, __ATOMIC_ACQUIRE); i++)
		log = take_from(heap, heap->lanes[i]);
	return log;
}

static uint32_t mark_for(struct pheap_tx *tx)
{
	uint32_t turn = ++tx->undo.turn & ((1u << PH_MARK_BITS) - 1);

	return tx->base ? tx->base | turn : PH_MARK_MANY;
}

/* Every open transaction with snapshots has one; a new lane brings more. */
static int open_log(struct pheap_tx *tx, struct ph_lane *mine)
{
	struct ph_undo *undo = &tx->undo;
	struct pheap *heap = tx->heap;
	struct ph_undo_log *log = take_log(heap, mine);

	while (!log && (mine = ph_lane_add(heap, PM_LANES_MAX)))
		log = take_log(heap, mine);
	if (!log)
		return ph_error(ENOSPC, "too many open transactions with snapshots: no room for "
					"another undo log");
	undo->log = log;
	__atomic_store_n(&undo->mark, mark_for(tx), __ATOMIC_RELAXED);
	undo->gen = ++log->gen;
	undo->seq = 0;
	undo->at = log->area;
	undo->end = log->area + PM_UNDO_AREA;
	return 0;
}

/* ---- room ------------------------------------------------------------------------------ */

static uint64_t entry_bytes(uint64_t data)
{
	return (sizeof(struct pm_undo) + data + PM_LINE - 1) / PM_LINE * PM_LINE;
}

static uint64_t bytes_for(const struct ph_range *range)
{
	uint64_t length = range->hi - range->lo, whole = length / ENTRY_DATA;

	if (ph_likely(!whole))
		return entry_bytes(length);
	return whole * PM_PAGE + (length % ENTRY_DATA ? entry_bytes(length % ENTRY_DATA) : 0);
}

static bool grow(void **array, uint32_t *cap, uint32_t needed, size_t size)
{
	uint32_t n = *cap ? *cap : 8;
	void *grown;

	if (needed <= *cap)
		return true;
	while (n < needed)
		n *= 2;
	grown = realloc(*array, n * size);
	if (!grown)
		return false;
	*array = grown;
	*cap = n;
	return true;
}

/*
 * Make sure that entries for all ranges fit, before anything is written. A
 * further area takes them all, whatever is left of the present one; the last
 * line of an area is kept for the entry that says where the log goes on.
 */
static int make_room(struct pheap_tx *tx, const struct ph_range *ranges, uint32_t n,
		     struct ph_slab **area)
{
	struct ph_undo *undo = &tx->undo;
	uint64_t bytes = 0, entries = 1, size = AREA_MIN;
	struct ph_slab **areas;
	int err;

	*area = NULL;
	for (uint32_t i = 0; i < n; i++) {
		bytes += bytes_for(&ranges[i]);
		entries += (ranges[i].hi - ranges[i].lo) / ENTRY_DATA + 1;
	}
	if (undo->n + entries > UINT32_MAX / 2 ||
	    !grow((void **)&undo->entries, &undo->cap, undo->n + (uint32_t)entries,
		  sizeof(*undo->entries)))
		return ph_error(ENOMEM, "no memory for a snapshot");
	if (undo->at + bytes + PM_LINE <= undo->end)
		return 0;
	areas = realloc(undo->areas, (undo->nareas + 1) * sizeof(*areas));
	if (!areas)
		return ph_error(ENOMEM, "no memory for a snapshot");
	undo->areas = areas;
	if (undo->nareas)
		size = 2 * areas[undo->nareas - 1]->size;
	if (size < bytes + PM_LINE)
		size = bytes + PM_LINE;
	err = ph_large_reserve(tx->heap, 0, size, area);
	if (err == -ENOSPC && size > bytes + PM_LINE) /* then just what is needed */
		err = ph_large_reserve(tx->heap, 0, bytes + PM_LINE, area);
	return err;
}

/* ---- writing entries ---------------------------------------------------------------------- */

/* Entries follow each other on media: they are copied there as many at a time as a
 * page holds, the largest entry. */
struct writer {
	struct pheap_tx *tx;
	struct ph_count *count;
	uint64_t batch;	      /* number of the first entry under the fence */
	struct ph_slab *area; /* where to go on, or NULL */
	uint64_t to;	      /* where the buffer's first byte goes */
	uint64_t bytes;	      /* in it */
	uint64_t buffer[PM_PAGE / 8] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct pm_undo) + ENTRY_DATA == PM_PAGE, "an entry fills a page");

static void write_out(struct writer *out)
{
	struct pheap *heap = out->tx->heap;

	ph_copy_nt(&heap->pm, out->count, ph_at(heap, out->to), out->buffer, out->bytes);
	out->to += out->bytes;
	out->bytes = 0;
}

/* Fill in an entry of so many bytes at words, but for its data and the padding. */
static void seal_entry(struct writer *out, uint64_t *words, enum pm_undo_type type, uint64_t target,
		       uint64_t length, uint64_t bytes)
{
	struct ph_undo *undo = &out->tx->undo;

	words[1] = undo->gen;
	words[2] = out->batch << 32 | undo->seq++;
	words[3] = (uint64_t)type << 56 | target;
	words[4] = length;
	words[0] = ph_sum_lines(out->tx->heap->epoch ^ undo->log->head, undo->at, words,
				bytes / PM_LINE);
	out->bytes += bytes;
	undo->entries[undo->n++] = undo->at;
	undo->at += bytes;
}

static void put_entry(struct writer *out, enum pm_undo_type type, uint64_t target, uint64_t length,
		      uint64_t data)
{
	uint64_t bytes = entry_bytes(data), *words;

	if (ph_unlikely(out->bytes + bytes > sizeof(out->buffer)))
		write_out(out);
	words = &out->buffer[out->bytes / 8];
	memset((char *)words + bytes - PM_LINE, 0, PM_LINE); /* the padding */
	memcpy(&words[5], ph_at(out->tx->heap, target), data);
	seal_entry(out, words, type, target, length, bytes);
}

/* The entry that says where the log goes on. */
static void put_next(struct writer *out)
{
	struct ph_undo *undo = &out->tx->undo;
	struct ph_slab *next = out->area;

	put_entry(out, PM_UNDO_NEXT, next->start, next->size, 0);
	write_out(out);
	undo->areas[undo->nareas++] = next;
	undo->at = out->to = next->start;
	undo->end = next->start + next->size; /* a multiple of lines */
	out->area = NULL;
}

static void put_range(struct writer *out, const struct ph_range *range)
{
	struct ph_undo *undo = &out->tx->undo;
	uint64_t part;

	if (ph_likely(range->hi - range->lo == 8 && undo->at + 2 * PM_LINE <= undo->end &&
		      out->bytes + PM_LINE <= sizeof(out->buffer))) { /* a word */
		uint64_t *words = &out->buffer[out->bytes / 8];

		memcpy(&words[5], ph_at(out->tx->heap, range->lo), 8);
		words[6] = words[7] = 0;
		seal_entry(out, words, PM_UNDO_DATA, range->lo, 8, PM_LINE);
		return;
	}
	for (uint64_t at = range->lo; at < range->hi; at += part) {
		part = range->hi - at < ENTRY_DATA ? range->hi - at : ENTRY_DATA;
		if (ph_unlikely(undo->at + entry_bytes(part) + PM_LINE > undo->end))
			put_next(out);
		put_entry(out, PM_UNDO_DATA, at, part, part);
	}
}

/* Entries for all ranges; area, if there is one, is taken where it is needed. */
static void put_ranges(struct pheap_tx *tx, struct ph_count *count, const struct ph_range *ranges,
		       uint32_t n, struct ph_slab **area)
{
	struct writer out;

	out.tx = tx;
	out.count = count;
	out.batch = tx->undo.seq;
	out.area = *area;
	out.to = tx->undo.at;
	out.bytes = 0;
	for (uint32_t i = 0; i < n; i++)
		put_range(&out, &ranges[i]);
	write_out(&out);
	count->snapshots += n;
	*area = out.area;
}

static void put_mark(struct pheap_tx *tx, struct ph_stripe *stripe)
{
	uint32_t old = __atomic_load_n(&stripe->mark, __ATOMIC_RELAXED), mark = tx->undo.mark;

	if (ph_unlikely(old && (old ^ tx->base) >> PH_MARK_BITS && ph_undo_open(tx->heap, tx, old)))
		mark = PH_MARK_MANY;
	__atomic_store_n(&stripe->mark, mark, __ATOMIC_RELAXED);
}

/* U3: from now on, and until ph_undo_end(), records keep off the ranges. */
static void note_ranges(struct pheap_tx *tx, const struct ph_rec *held,
			const struct ph_range *ranges, uint32_t n)
{
	for (uint32_t i = 0; i < held->nlines; i++)
		put_mark(tx, ph_stripe_of_key(tx->heap, held->lines[i]));
	ph_bitlock_take(&tx->undo.lock);
	for (uint32_t i = 0; i < n; i++)
		ph_ranges_add(&tx->undo.saved, ranges[i].lo, ranges[i].hi);
	ph_bitlock_give(&tx->undo.lock, 0);
}

/* Before the first snapshot that the handle is used for. */
static void list(struct pheap_tx *tx)
{
	struct pheap *heap = tx->heap;

	pthread_mutex_lock(&heap->tx_lock);
	tx->id = (heap->txs ? heap->txs->id : 0) + 1;
	if (tx->id < PH_MARK_MANY >> PH_MARK_BITS)
		tx->base = tx->id << PH_MARK_BITS;
	tx->next = heap->txs;
	__atomic_store_n(&heap->txs, tx, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&heap->tx_lock);
}

/* With the stripes of all ranges held; shared: some have the marks of others. */
static int check_ranges(struct pheap_tx *tx, const struct ph_rec *held,
			const struct ph_range *ranges, uint32_t n, bool shared)
{
	if (ph_likely(!shared && held->stamp <= ph_settled(tx->heap)))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t length = ranges[i].hi - ranges[i].lo;
		int err;

		if (shared && ph_undo_overlaps(tx->heap, tx, ranges[i].lo, length))
			return ph_error(EINVAL,
					"the range at offset %#llx is snapshotted by another open "
					"transaction",
					(unsigned long long)ranges[i].lo);
		err = ph_settle_range(tx->heap, ranges[i].lo, length, true); /* U3 */
		if (err)
			return err;
	}
	return 0;
}

static int save_locked(struct pheap_tx *tx, const struct ph_rec *held,
		       const struct ph_range *ranges, uint32_t n, bool shared,
		       struct ph_slab **area)
{
	int err = check_ranges(tx, held, ranges, n, shared);

	if (err)
		return err;
	put_ranges(tx, held->count, ranges, n, area);
	note_ranges(tx, held, ranges, n);
	return 0;
}

/* Other threads may look into the set. */
static bool reserve_ranges(struct pheap_tx *tx, uint32_t n)
{
	bool room;

	if (tx->undo.saved.n + n <= tx->undo.saved.cap)
		return true;
	ph_bitlock_take(&tx->undo.lock);
	room = ph_ranges_reserve(&tx->undo.saved, n);
	ph_bitlock_give(&tx->undo.lock, 0);
	return room;
}

/* U2: the fence orders the entries before the stores that the caller makes next; U5. */
static int fence_entries(struct pheap_tx *tx, struct ph_count *count)
{
	struct ph_undo_log *log = tx->undo.log;
	struct pheap *heap = tx->heap;
	struct pm_undo_head *head = (struct pm_undo_head *)(void *)ph_at(heap, log->head);
	int err;

	if (!log->marked) {
		ph_store64(&heap->pm, &head->epoch, heap->epoch);
		ph_flush(&heap->pm, count, &head->epoch, sizeof(head->epoch));
	}
	err = ph_fence(&heap->pm, count);
	log->marked |= !err;
	return err;
}

static int save(struct pheap_tx *tx, struct ph_rec *held, const struct ph_range *ranges, uint32_t n)
{
	struct ph_slab *area;
	int err = make_room(tx, ranges, n, &area), shared;

	if (err)
		return err;
	if (!reserve_ranges(tx, n))
		err = ph_error(ENOMEM, "no memory for a snapshot");
	for (uint32_t i = 0; i < n && !err; i++)
		ph_rec_cover(held, ranges[i].lo, ranges[i].hi - ranges[i].lo);
	if (!err) {
		shared = ph_rec_lock_stripes(held);
		err = shared < 0 ? shared : save_locked(tx, held, ranges, n, shared, &area);
		if (shared >= 0)
			ph_rec_unlock_stripes(held);
	}
	if (area)
		ph_large_free(tx->heap, area, false);
	return err ? err : fence_entries(tx, held->count);
}

/* Where to look for a log first: the thread's own lane, so that threads do not meet,
 * also on a heap that has no records. */
static struct ph_lane *log_lane(const struct ph_rec *held)
{
	if (ph_likely(held->lane != NULL))
		return held->lane;
	return held->cache ? ph_lane_mine(held->cache) : held->heap->lanes[0];
}

int ph_undo_save(struct pheap_tx *tx, const struct ph_range *ranges, uint32_t n)
{
	struct ph_rec held;
	int err = 0;

	ph_rec_init(&held, tx->heap, tx); /* for its stripes only */
	if (held.error)
		err = held.error;
	if (ph_unlikely(!tx->id))
		list(tx);
	if (!err && !tx->undo.log)
		err = open_log(tx, log_lane(&held));
	if (!err)
		err = save(tx, &held, ranges, n);
	ph_rec_fini(&held);
	return err;
}

/* ---- the end ------------------------------------------------------------------------------- */

void ph_undo_flush(struct pheap_tx *tx, struct ph_count *count)
{
	const struct ph_range *at = tx->undo.saved.v, *end;
	struct pheap *heap = tx->heap;

	if (!at) /* the log was opened, and then there was no room in it */
		return;
	end = at + tx->undo.saved.n;
	/* Ranges are sorted: each line is flushed once, and neighbours together. */
	while (at < end) {
		uint64_t first = at->lo / PM_LINE, last = (at->hi - 1) / PM_LINE;

		for (at++; at < end && at->lo / PM_LINE <= last + 1; at++)
			last = (at->hi - 1) / PM_LINE;
		ph_flush(&heap->pm, count, ph_at(heap, first * PM_LINE),
			 (last - first + 1) * PM_LINE);
	}
}

int ph_undo_restore(struct pheap_tx *tx, struct ph_count *count)
{
	struct pheap *heap = tx->heap;

	/* Newest first: where snapshots overlap, the oldest content wins. */
	for (uint32_t i = tx->undo.n; i--;) {
		const char *entry = ph_at(heap, tx->undo.entries[i]);
		const struct pm_undo *head = (const struct pm_undo *)(const void *)entry;

		if (head->target >> 56 == PM_UNDO_DATA)
			ph_store(&heap->pm, ph_at(heap, PM_ENTRY_OFFSET(head->target)),
				 entry + sizeof(*head), head->length);
	}
	ph_undo_flush(tx, count);
	/* U4: orders the old content before `ended`. */
	return ph_fence(&heap->pm, count);
}

/* A handle keeps its arrays up to this size; larger ones go back to the system. */
#define KEEP 4096u

void ph_undo_free(struct ph_undo *undo)
{
	ph_ranges_free(&undo->saved);
	free(undo->entries);
	free(undo->areas);
	undo->entries = NULL;
	undo->areas = NULL;
	undo->cap = 0;
}

void ph_undo_end(struct pheap_tx *tx)
{
	struct ph_undo *undo = &tx->undo;
	struct pheap *heap = tx->heap;

	if (!undo->log)
		return;
	__atomic_store_n(&undo->mark, 0, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < undo->nareas; i++)
		ph_large_free(heap, undo->areas[i], false);
	ph_flag_give(&undo->log->used);
	undo->log = NULL;
	undo->n = undo->nareas = 0;
	ph_bitlock_take(&undo->lock);
	undo->saved.n = 0;
	if (ph_unlikely(undo->saved.cap > KEEP || undo->cap > KEEP))
		ph_undo_free(undo);
	ph_bitlock_give(&undo->lock, 0);
}
