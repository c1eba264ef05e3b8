/*
 * sweep.c - free what marking left white, while all threads work. See gc.h.
 *
 * Per batch one record: after-images of bitmap words, which are made under their stripes from
 * what they hold then. Of a span that is loaded the states say what may go: an object that
 * is not PUBLISHED, or that a transaction has saved a part of, stays.
 *
 * PROTOCOL, with what a crash after each step leaves
 *   1 per batch: stripes, record, FENCE	the batch's garbage is free, by replay
 *   2 in the end a checkpoint (W4)		all of it is, on media
 *   3 LIMBO objects become FREE and go to their slabs
 *
 * zone.lock is held around a record, so that no span of the batch is loaded between the look
 * at its map and the end of the record: the load reads the bitmap.
 */
#include <stdlib.h>

#include "alloc/large.h"
#include "alloc/slab.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "gc.h"
#include "mark-impl.h"
#include "tx/lane.h"
#include "tx/record.h"
#include "tx/undo.h"
#include "types.h"

/* Words of a batch, 4,096 objects: more would save little of a fence, and hold more stripes. */
#define BATCH 64u
/* Objects that go back to their slabs under one lock. */
#define GROUP 256u

struct word {
	struct ph_mark_span span;
	struct ph_slab *slab; /* NULL: not loaded */
	uint32_t index;	      /* of the word in the span's bitmap */
	uint64_t freed;	      /* bits */
};

struct sweep {
	struct pheap *heap;
	struct ph_marker *marker;
	struct pheap_gc_report *report;
	struct word word[BATCH];
	uint32_t n;
};

static uint64_t *white_of(const struct sweep *s, const struct ph_mark_span *span, uint32_t i)
{
	return &s->marker->white[s->marker->map[span->granule].word + i];
}

/* ---- a batch ------------------------------------------------------------------------ */

/* Under zone.lock. Is what is there still the span that was marked? Garbage is in it, so only
 * who freed what he could not reach can have ended it. */
static bool still_there(const struct sweep *s, struct word *w)
{
	const struct pheap *heap = s->heap;
	const struct pm_span *pm =
		(const struct pm_span *)(const void *)ph_at(heap, heap->zone.pm->desc) +
		w->span.granule;

	w->slab = heap->zone.map[w->span.granule].slab;
	if (w->slab && (w->slab->start != w->span.start || !w->slab->born))
		return false;
	return pm->kind == w->span.kind && pm->size == w->span.size && pm->type == w->span.type;
}

/* Under the stripes. Of the white bits, those of objects that may be freed. */
static uint64_t may_go(const struct sweep *s, const struct word *w, uint64_t white)
{
	uint64_t bits = white, kept = 0;

	for (; w->slab && bits; bits &= bits - 1) {
		uint32_t i = w->index * 64 + (uint32_t)__builtin_ctzll(bits);
		struct ph_object object = {w->slab, i, w->span.start + i * w->span.size};

		if (ph_state(&object) != PH_PUBLISHED || ph_undo_guards(s->heap, NULL, &object))
			kept |= bits & -bits;
	}
	return white & ~kept;
}

static void set_limbo(const struct word *w)
{
	for (uint64_t bits = w->freed; w->slab && bits; bits &= bits - 1)
		ph_set_state(&w->slab->state[w->index * 64 + (uint32_t)__builtin_ctzll(bits)],
			     PH_LIMBO);
}

/* Under the stripes: what the words become, now that nobody else changes them. The entries
 * of the record are two words each. */
static void decide(struct sweep *s, struct ph_rec *rec)
{
	for (uint32_t i = 0; i < s->n; i++) {
		struct word *w = &s->word[i];
		uint64_t *value = &rec->words[PM_RECORD_WORDS + 2 * i + 1];
		uint64_t now = *(const uint64_t *)(const void *)ph_at(s->heap,
								      w->span.bits + w->index * 8);

		w->freed = may_go(s, w, now & *white_of(s, &w->span, w->index));
		*value = now & ~w->freed;
		set_limbo(w);
	}
}

static int commit(struct sweep *s, struct ph_rec *rec)
{
	int err;

	for (uint32_t i = 0; i < s->n; i++)
		ph_rec_word(rec, s->word[i].span.bits + s->word[i].index * 8, 0);
	err = ph_rec_lock(rec);
	if (err)
		return err;
	decide(s, rec);
	return ph_rec_commit(rec);
}

/* Nothing in it is published any more: let it be found, to be used or ended. */
static void load_if_empty(struct sweep *s, const struct word *w)
{
	const uint64_t *bits = (const uint64_t *)(const void *)ph_at(s->heap, w->span.bits);

	for (uint32_t i = 0; i * 64 < w->span.objects; i++)
		if (bits[i])
			return;
	ph_span_load(s->heap, w->span.granule);
}

/* What step 3 gives back stays white. Unloaded slabs need nothing more: no live record reaches
 * into an object of theirs, or they would have been loaded. */
static void finish(struct sweep *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		struct word *w = &s->word[i];
		uint64_t n = (uint64_t)__builtin_popcountll(w->freed);
		bool later = w->slab && w->span.kind == PM_KIND_SLAB;

		s->report->freed += n;
		s->report->freed_bytes += n * w->span.size;
		*white_of(s, &w->span, w->index) = later ? w->freed : 0;
		if (n && w->slab && !later)
			ph_large_free(s->heap, w->slab, true);
		else if (n && !w->slab)
			load_if_empty(s, w);
	}
}

static int free_batch(struct sweep *s)
{
	struct pheap *heap = s->heap;
	uint32_t kept = 0;
	struct ph_rec rec;
	int err = 0;

	ph_rec_init(&rec, heap, NULL);
	pthread_mutex_lock(&heap->zone.lock);
	for (uint32_t i = 0; i < s->n; i++) {
		if (still_there(s, &s->word[i]))
			s->word[kept++] = s->word[i];
		else
			*white_of(s, &s->word[i].span, s->word[i].index) = 0;
	}
	s->n = kept;
	if (kept)
		err = commit(s, &rec);
	if (!err)
		finish(s);
	pthread_mutex_unlock(&heap->zone.lock);
	ph_rec_fini(&rec);
	s->n = 0;
	return err;
}

/* Objects of a counted type hold counts of others, which sweeping leaves alone; so they stay,
 * and what they refer to, which is counted, too. Of a damaged type nobody knows. */
static bool is_counted(const struct sweep *s, uint32_t type)
{
	const struct pheap_type *t = ph_type(s->heap, type);

	return t ? t->flags & PHEAP_TYPE_COUNTED : type != 0;
}

static int free_all(struct sweep *s)
{
	struct ph_mark_span span;
	int err = 0;

	for (uint32_t g = 0; !err && ph_mark_next_span(s->marker, g, &span); g = span.granule + 1) {
		bool counted = is_counted(s, span.type);

		for (uint32_t i = 0; !err && i * 64 < span.objects; i++) {
			uint64_t *white = white_of(s, &span, i);

			if (counted)
				*white = 0;
			if (!*white)
				continue;
			s->word[s->n++] = (struct word){.span = span, .index = i};
			if (s->n == BATCH)
				err = free_batch(s);
		}
	}
	return !err && s->n ? free_batch(s) : err;
}

/* ---- afterwards ------------------------------------------------------------------------- */

/* LIMBO objects of a slab, which nobody else knows, so that it is still there. */
static void give_back(struct sweep *s, const struct ph_mark_span *span)
{
	struct ph_slab *slab = s->heap->zone.map[span->granule].slab;
	struct ph_cached objects[GROUP];
	uint32_t n = 0;

	for (uint32_t i = 0; i * 64 < span->objects; i++) {
		uint64_t bits = *white_of(s, span, i);

		for (; bits; bits &= bits - 1) {
			uint32_t at = i * 64 + (uint32_t)__builtin_ctzll(bits);

			objects[n++] = (struct ph_cached){
				ph_at(s->heap, span->start + at * span->size), &slab->state[at]};
			ph_set_state(&slab->state[at], PH_FREE);
			if (n == GROUP) {
				ph_slab_give(s->heap, slab->shape, objects, n);
				n = 0;
			}
		}
	}
	if (n)
		ph_slab_give(s->heap, slab->shape, objects, n);
}

static bool any_white(const struct sweep *s, const struct ph_mark_span *span)
{
	for (uint32_t i = 0; i * 64 < span->objects; i++)
		if (*white_of(s, span, i))
			return true;
	return false;
}

int ph_gc_sweep(struct pheap *heap, struct ph_marker *marker, struct pheap_gc_report *report)
{
	struct sweep *s = calloc(1, sizeof(*s));
	struct ph_mark_span span;
	int err;

	if (!s)
		return ph_error(ENOMEM, "pheap_gc: no memory for freeing garbage");
	s->heap = heap;
	s->marker = marker;
	s->report = report;
	err = free_all(s);
	if (!err)
		err = ph_checkpoint(heap); /* W4 */
	for (uint32_t g = 0; !err && ph_mark_next_span(marker, g, &span); g = span.granule + 1)
		if (any_white(s, &span))
			give_back(s, &span);
	if (!err && report->freed) {
		ph_large_trim(heap);
		ph_slab_end_kept(heap);
	}
	free(s);
	return err;
}
