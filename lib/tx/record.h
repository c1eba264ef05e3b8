/*
 * record.h - build a redo record and commit it: the one way in which published
 * state changes.
 *
 *	struct ph_rec rec;
 *	ph_rec_init(&rec, heap, NULL);
 *	ph_rec_bit(&rec, ...); ph_rec_word(&rec, ...);
 *	err = ph_rec_lock(&rec);      stripes and a lane with room are held
 *	... look whether the operation still makes sense ...
 *	err = ph_rec_commit(&rec);    or ph_rec_unlock(&rec)
 *	ph_rec_fini(&rec);
 *
 * ph_rec_init() comes before any lock: it may have to make the thread's lane.
 * Building takes no lock and may allocate DRAM; an error sticks and comes out of
 * ph_rec_lock(). Entries are applied in the order in which they were added:
 * content, then bits, then links.
 *
 * Whoever is on the path of an operation is inlined, and stores no more than is needed: the
 * processor runs ahead of a fence until it has no room for further stores. See "An operation
 * costs its fence" in docs/architecture.md.
 */
#ifndef PH_RECORD_H
#define PH_RECORD_H

#include "alloc/tcache.h"
#include "heap.h"
#include "lane.h"

/* In place: content of PH_INLINE_MAX and an operation's entries; the birth or death
 * of a span in the deepest tree, which must not allocate. */
#define PH_REC_WORDS 144
#define PH_REC_LINES 24

struct ph_rec {
	struct pheap *heap;
	struct pheap_tx *tx; /* its snapshots do not conflict */
	struct ph_lane *lane;
	struct ph_tcache *cache; /* NULL: no memory for one */
	struct ph_count *count;
	uint64_t *words; /* header and entries */
	uint32_t n, cap;
	uint32_t apply_from; /* entries before it are in place already */
	uint32_t staged;     /* first of the words that ph_rec_stage() looks up */
	uint64_t *lines;     /* keys of the lines whose stripes are to be held */
	uint32_t nlines, lines_cap;
	uint32_t written; /* lines among them that entries write; the rest is covered */
	bool covers;	  /* there are lines that are covered only */
	uint64_t stamp;	  /* the largest of the stripes that are held */
	int error;
	struct ph_slab *extension; /* where entries went that do not fit in a ring */
	struct ph_slab *room;	   /* a span that the caller has kept for that, or NULL */
	uint64_t line_space[PH_REC_LINES];
	uint64_t word_space[PH_REC_WORDS] __attribute__((aligned(64)));
};

static inline void ph_rec_init(struct ph_rec *rec, struct pheap *heap, struct pheap_tx *tx)
{
	struct ph_tcache *cache = ph_tcache_get(heap);

	rec->heap = heap;
	rec->tx = tx;
	rec->cache = cache;
	rec->count = ph_likely(cache != NULL) ? &cache->count : &heap->count;
	rec->words = rec->word_space;
	rec->n = PM_RECORD_WORDS;
	rec->cap = PH_REC_WORDS;
	rec->apply_from = PM_RECORD_WORDS;
	rec->staged = 0;
	rec->lines = rec->line_space;
	rec->nlines = 0;
	rec->lines_cap = PH_REC_LINES;
	rec->covers = false;
	rec->error = 0;
	rec->extension = rec->room = NULL;
	/* Now, because making a lane takes locks that the caller may hold later. A thread
	 * for whose cache there is no memory uses the first lane, which always exists. */
	if (ph_unlikely(!ph_logs(&heap->pm)))
		rec->lane = NULL;
	else if (ph_likely(cache != NULL))
		rec->lane = ph_likely(cache->lane != NULL) ? cache->lane : ph_lane_mine(cache);
	else
		rec->lane = heap->lanes[0];
}

void ph_rec_free(struct ph_rec *rec);

static inline void ph_rec_fini(struct ph_rec *rec)
{
	if (ph_unlikely(rec->words != rec->word_space || rec->lines != rec->line_space ||
			rec->extension || rec->room))
		ph_rec_free(rec);
}

/* Make room for more words, or lines; false: no memory, and the error sticks. */
bool ph_rec_grow_words(struct ph_rec *rec, uint32_t more);
bool ph_rec_grow_lines(struct ph_rec *rec);
/* Cover so many lines; as many as there are stripes have them all. */
void ph_rec_cover_lines(struct ph_rec *rec, uint64_t first, uint64_t n);

/* Behind the last word a line is kept free, for commit to fill the record up. */
static inline bool ph_rec_room(struct ph_rec *rec, uint32_t more)
{
	return ph_likely(rec->n + more + 8 <= rec->cap) || ph_rec_grow_words(rec, more);
}

/*
 * The key of a line: its stripe in the high bits, so that keys sort as stripes are to
 * be taken, and what tells it from other lines of the stripe in the low ones.
 */
static inline uint64_t ph_line_key(uint64_t line)
{
	return line << (64 - PH_STRIPE_BITS) | line >> PH_STRIPE_BITS;
}

/* Marks the key of a line whose stripe is held, but which the record does not write.
 * Above the bits that tell lines of a stripe apart: it sorts behind the written ones. */
#define PH_COVERED (UINT64_C(1) << 40)
/* Marks, once they are sorted, the key of a line whose stripe the key before has too. */
#define PH_FOLLOWS (UINT64_C(1) << 41)
#define PH_KEY_SHIFT 42 /* what is above is the stripe's, and nothing */
_Static_assert(48 - 6 - PH_STRIPE_BITS < 40 && 64 - PH_STRIPE_BITS > PH_KEY_SHIFT,
	       "a line's number and its marks have room in a key");

static inline struct ph_stripe *ph_stripe_of_key(const struct pheap *heap, uint64_t key)
{
	return &heap->stripes[key >> (64 - PH_STRIPE_BITS)];
}

/* Lines are sorted and made unique when they are locked; here only what is
 * obviously the same line is left out. */
static inline void ph_rec_key(struct ph_rec *rec, uint64_t key)
{
	if (rec->nlines && rec->lines[rec->nlines - 1] == key)
		return;
	if (ph_likely(rec->nlines < rec->lines_cap) || ph_rec_grow_lines(rec))
		rec->lines[rec->nlines++] = key;
}

static inline void ph_rec_line(struct ph_rec *rec, uint64_t line)
{
	ph_rec_key(rec, ph_line_key(line));
}

/* *offset = value, an aligned word. */
static inline void ph_rec_word(struct ph_rec *rec, uint64_t offset, uint64_t value)
{
	if (!ph_rec_room(rec, 2))
		return;
	rec->words[rec->n] = PM_ENTRY(PM_ENTRY_WORD, 0, offset);
	rec->words[rec->n + 1] = value;
	rec->n += 2;
	ph_rec_line(rec, offset / PM_LINE);
}

/* Bit number bit of the bitmap that begins at offset. */
static inline void ph_rec_bit(struct ph_rec *rec, uint64_t bitmap, uint32_t bit, bool set)
{
	uint64_t offset = bitmap + bit / 64 * 8;

	if (!ph_rec_room(rec, 1))
		return;
	rec->words[rec->n++] =
		PM_ENTRY(set ? PM_ENTRY_BIT_SET : PM_ENTRY_BIT_CLEAR, bit % 64, offset);
	ph_rec_line(rec, offset / PM_LINE);
}

/* Bytes; more than 256 become several entries. */
void ph_rec_bytes(struct ph_rec *rec, uint64_t offset, const void *src, size_t length);
void ph_rec_zero(struct ph_rec *rec, uint64_t offset, size_t length);

/*
 * Bytes that are in memory at offset already: they are logged and settled, but
 * not stored again. Must come before all other entries.
 *
 * Word by word: the program has stored them just now, behind a fence that has not
 * completed. A load of several words would wait for that; of one, it gets what is
 * in the store buffer.
 */
static ph_inline void ph_rec_content(struct ph_rec *rec, uint64_t offset, size_t length)
{
	const uint64_t *from = (const uint64_t *)(const void *)ph_at(rec->heap, offset);

	if (ph_unlikely(length % 8 || length > 256)) {
		ph_rec_bytes(rec, offset, from, length);
	} else if (ph_rec_room(rec, 1 + (uint32_t)length / 8)) {
		uint64_t *to = &rec->words[rec->n];

		*to++ = PM_ENTRY(PM_ENTRY_BYTES, length - 1, offset);
		for (size_t i = 0; i < length / 8; i++)
			to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		rec->n += 1 + (uint32_t)length / 8;
		for (uint64_t at = offset / PM_LINE; at <= (offset + length - 1) / PM_LINE; at++)
			ph_rec_line(rec, at);
	}
	rec->apply_from = rec->n;
}

/* Under the stripes: the first bytes of the content, which was added first, are others now. */
void ph_rec_content_again(struct ph_rec *rec, size_t length);

/*
 * Words that several steps of one record may change in turn, namely those of
 * the free-space tree: get sees what was put before.
 */
void ph_rec_stage(struct ph_rec *rec);
uint64_t ph_rec_get(struct ph_rec *rec, uint64_t offset);
void ph_rec_put(struct ph_rec *rec, uint64_t offset, uint64_t value);

/*
 * Hold the stripes of ranges that no entry writes; also without writing a record at
 * all: ph_rec_cover() what is wanted, lock, unlock. 1: there is an open snapshot in one of the
 * stripes.
 */
static inline void ph_rec_cover(struct ph_rec *rec, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / PM_LINE, n = (offset + length - 1) / PM_LINE - first + 1;

	rec->covers = true;
	if (ph_likely(n == 1))
		ph_rec_key(rec, ph_line_key(first) | PH_COVERED);
	else
		ph_rec_cover_lines(rec, first, n);
}

/* An object becomes published, or free. In a traced heap that is in no bitmap: only the
 * stripe is held, under which the states of its slab change. */
static inline void ph_rec_object(struct ph_rec *rec, const struct ph_object *object, bool published)
{
	uint64_t bitmap = PH_SEEN(object->slab, bits);

	if (ph_likely(!rec->heap->traced))
		ph_rec_bit(rec, bitmap, object->index, published);
	else
		ph_rec_cover(rec, bitmap + object->index / 64 * 8, 8);
}

int ph_rec_lock_stripes(struct ph_rec *rec);
void ph_rec_unlock_stripes(struct ph_rec *rec);

/* Begin anew, unlocked: without an entry. */
void ph_rec_again(struct ph_rec *rec);

/* Values of words have been changed under the stripes: also where they are on media already. */
int ph_rec_changed(struct ph_rec *rec);

/* Ring lines that the record takes as it stands. */
uint32_t ph_rec_ring_lines(const struct ph_rec *rec);

/* Words of entries beyond which a record needs an extension. */
#define PH_REC_RING_WORDS (PM_RECORD_LINES_MAX * 8u - PM_RECORD_WORDS)

/*
 * Take the stripes of all lines that the record writes, and the caller's lane
 * with room for it; runs a checkpoint where there is none. -EINVAL: an entry
 * falls into another transaction's snapshot. On an error nothing is held.
 */
int ph_rec_lock(struct ph_rec *rec);
void ph_rec_unlock(struct ph_rec *rec);

/*
 * Write, fence (the commit point), apply, and let go of everything. -EIO: the
 * record may or may not be durable; nothing has been applied.
 */
int ph_rec_commit(struct ph_rec *rec);

#endif
