/*
 * traced.c - births, bitmaps and freed objects of traced heaps. See traced.h.
 */
#include "traced.h"

#include "tx/record.h"
#include "tx/undo.h"

/* ---- birth ----------------------------------------------------------------------- */

static int commit_birth(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_rec rec;
	int err;

	ph_rec_init(&rec, heap, NULL);
	pthread_mutex_lock(&heap->zone.lock);
	ph_span_birth(&rec, slab);
	err = ph_rec_lock(&rec);
	if (!err)
		err = ph_rec_commit(&rec);
	if (!err)
		__atomic_store_n(&slab->born, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&heap->zone.lock);
	ph_rec_fini(&rec);
	return err;
}

int ph_traced_bear(struct pheap *heap, struct ph_slab *slab)
{
	int err;

	if (slab->born)
		return 0;
	err = commit_birth(heap, slab);
	/* -EIO: it may be born; the heap is read-only, and the span stays out of use. */
	if (err && err != -EIO)
		ph_span_release(heap, slab);
	return err;
}

/* ---- free -------------------------------------------------------------------------- */

int ph_traced_find_logged(struct pheap *heap, const void *ptr, struct ph_object *object)
{
	uint64_t offset = ph_off(heap, ptr);
	int err;

	if (!ph_object_find(heap, offset, object) || object->start != offset ||
	    ph_state(object) != PH_PUBLISHED)
		return 0;
	err = ph_undo_guards(heap, NULL, object);
	return err ? err : 1;
}

/* ---- bitmaps ------------------------------------------------------------------------- */

static uint64_t *bitmap_of(struct pheap *heap, const struct ph_slab *slab)
{
	return (uint64_t *)(void *)ph_at(heap, slab->bits);
}

static uint32_t words_of(const struct ph_slab *slab)
{
	return (slab->objects + 63) / 64;
}

/* Words become durable line by line; those that are right already are left alone. */
static void put_words(struct pheap *heap, struct ph_count *count, uint64_t *bitmap,
		      const uint64_t *words, uint32_t n)
{
	for (uint32_t w = 0; w < n; w += PM_LINE / 8) {
		uint32_t end = w + PM_LINE / 8 < n ? w + PM_LINE / 8 : n;

		if (!memcmp(&bitmap[w], &words[w], (end - w) * 8))
			continue;
		for (uint32_t i = w; i < end; i++)
			ph_store64(&heap->pm, &bitmap[i], words[i]);
		ph_flush(&heap->pm, count, &bitmap[w], (end - w) * 8);
	}
}

void ph_traced_clear_bits(struct ph_rec *rec, const struct ph_slab *slab)
{
	const uint64_t *bitmap = bitmap_of(rec->heap, slab);

	for (uint32_t w = 0; w < words_of(slab); w++)
		if (bitmap[w]) {
			ph_rec_zero(rec, slab->bits, words_of(slab) * 8);
			return;
		}
}

/* A bit for each object that is handed out. */
static void write_slab(struct pheap *heap, struct ph_count *count, const struct ph_slab *slab)
{
	uint64_t words[PM_BITMAP_BYTES / 8] = {0};

	for (uint32_t i = 0; i < slab->objects; i++) {
		uint8_t state = __atomic_load_n(&slab->state[i], __ATOMIC_RELAXED);

		words[i / 64] |= (uint64_t)(state >= PH_RESERVED) << i % 64;
	}
	put_words(heap, count, bitmap_of(heap, slab), words, words_of(slab));
}

void ph_traced_write_bits(struct pheap *heap, struct ph_count *count)
{
	for (const struct ph_slab *slab = heap->zone.newest; slab; slab = slab->older) {
		/* Not those that have ended, nor what was never handed out. */
		if (slab->kind == PM_KIND_LANE || !slab->born ||
		    ph_slab_at(heap, slab->first) != slab)
			continue;
		write_slab(heap, count, slab);
	}
}
