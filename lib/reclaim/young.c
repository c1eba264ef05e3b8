/*
 * young.c - generations: logs, lists, and how objects grow old. See young.h.
 */
#include "young.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/span.h"
#include "tx/record.h"
#include "tx/tx.h"
#include "types.h"

#define PUBLISHED UINT64_C(1)

/* ---- the barrier ------------------------------------------------------------------- */

static struct ph_young *young_of(const struct pheap *heap)
{
	return heap->gc->young;
}

static void log_entry(struct ph_young *young, uint32_t lane, uint64_t entry)
{
	struct ph_young_log *log = &young->log[lane];

	if (log->n == PH_LOG_MAX) {
		log->full = true;
		return;
	}
	young->space[(uint64_t)lane * PH_LOG_MAX + log->n] = entry;
	__atomic_store_n(&log->n, log->n + 1, __ATOMIC_RELAXED);
}

/* Whole words only can be references. Roots are looked at anyway. */
static void log_words(const struct pheap *heap, uint32_t lane, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	if (offset < heap->zone.data)
		return;
	for (offset = (offset + 7) & ~UINT64_C(7); offset + 8 <= end; offset += 8)
		log_entry(young_of(heap), lane, offset);
}

/* The object whose bit this is: a word of a bitmap, and a number in it. */
static void log_published(const struct pheap *heap, uint32_t lane, uint64_t offset, unsigned bit)
{
	const struct ph_zone *zone = &heap->zone;
	uint64_t granule = (offset - zone->pm->bits) / PM_BITMAP_BYTES;
	const struct ph_slab *slab;

	if (offset < zone->pm->bits || granule >= zone->granules)
		return;
	slab = __atomic_load_n(&zone->map[granule].slab, __ATOMIC_ACQUIRE);
	if (slab)
		log_entry(young_of(heap), lane,
			  (slab->start + ((offset - slab->bits) * 8 + bit) * slab->size) |
				  PUBLISHED);
}

static void log_saved(const struct ph_rec *rec)
{
	const struct ph_ranges *saved = &rec->tx->undo.saved;

	for (uint32_t i = 0; i < saved->n; i++)
		log_words(rec->heap, rec->lane->index, saved->v[i].lo,
			  saved->v[i].hi - saved->v[i].lo);
}

/* What is before apply_from is content of new objects, which are looked into if reached. */
void ph_young_log(struct ph_rec *rec)
{
	const uint64_t *w = rec->words;
	uint32_t lane = rec->lane->index;

	for (uint32_t i = rec->apply_from; i < rec->n;) {
		uint64_t offset = PM_ENTRY_OFFSET(w[i]);
		unsigned aux = PM_ENTRY_AUX(w[i]);

		switch (PM_ENTRY_TYPE(w[i])) {
		case PM_ENTRY_WORD:
			log_words(rec->heap, lane, offset, 8);
			i += 2;
			break;
		case PM_ENTRY_BYTES:
			log_words(rec->heap, lane, offset, aux + 1);
			i += 1 + (aux + 8) / 8;
			break;
		case PM_ENTRY_ZERO:
			i += 2;
			break;
		case PM_ENTRY_BIT_SET:
			log_published(rec->heap, lane, offset, aux);
			i++;
			break;
		default:
			i++;
		}
	}
	if (rec->tx && rec->tx->undo.n)
		log_saved(rec);
}

void ph_young_log_range(struct pheap *heap, uint64_t offset, uint64_t length)
{
	struct ph_lane *lane = heap->lanes[0];

	ph_bitlock_take(&lane->lock);
	if (heap->logs_young)
		log_words(heap, lane->index, offset, length);
	ph_bitlock_give(&lane->lock, 0);
}

/* ---- lists ----------------------------------------------------------------------------- */

static bool reserve(struct ph_list *list, uint64_t more)
{
	uint64_t room = list->room ? list->room : 1024;
	uint64_t *grown;

	while (room < list->n + more)
		room *= 2;
	if (room == list->room)
		return true;
	grown = realloc(list->item, room * sizeof(*grown));
	if (!grown)
		return false;
	list->item = grown;
	list->room = room;
	return true;
}

/* Where there is no memory the next collection looks at everything. */
static void add(struct ph_young *young, struct ph_list *list, uint64_t item)
{
	if (list->n < list->room || reserve(list, 1))
		list->item[list->n++] = item;
	else
		young->lost = true;
}

/* The lists of one collection become those of the one before; the last one starts anew. */
static void rotate(struct ph_list *list, unsigned n)
{
	struct ph_list last = list[n - 1];

	memmove(&list[1], &list[0], (n - 1) * sizeof(*list));
	last.n = 0;
	list[0] = last;
}

static void free_lists(struct ph_list *list)
{
	for (unsigned i = 0; i < PH_SURVIVE_MAX; i++)
		free(list[i].item);
}

void ph_young_free(struct ph_young *young)
{
	if (!young)
		return;
	ph_marker_free(young->marker);
	free_lists(young->young);
	free_lists(young->words);
	if (young->space)
		munmap(young->space, PM_LANES_MAX * (uint64_t)PH_LOG_MAX * sizeof(uint64_t));
	free(young);
}

/* ---- a collection ------------------------------------------------------------------------ */

/* A log's entries to the end of a list; they are sorted out afterwards. */
static void take_log(struct pheap *heap, struct ph_young *young, uint32_t lane, bool stopped,
		     struct ph_list *to)
{
	struct ph_young_log *log = &young->log[lane];
	const uint64_t *from = young->space + (uint64_t)lane * PH_LOG_MAX;

	if (!stopped)
		ph_bitlock_take(&heap->lanes[lane]->lock);
	if (to->n + log->n <= to->room) {
		if (log->n)
			memcpy(to->item + to->n, from, log->n * sizeof(*from));
		to->n += log->n;
	} else {
		young->lost = true;
	}
	young->lost |= log->full;
	__atomic_store_n(&log->n, 0, __ATOMIC_RELAXED);
	log->full = false;
	if (!stopped)
		ph_bitlock_give(&heap->lanes[lane]->lock, 0);
}

static void whiten(struct ph_young *young)
{
	for (unsigned age = 0; age < young->survive; age++)
		for (uint64_t i = 0; i < young->young[age].n; i++)
			ph_mark_whiten(young->marker, young->young[age].item[i]);
}

static void take(struct pheap *heap, struct ph_young *young, bool stopped)
{
	uint32_t lanes = __atomic_load_n(&heap->nlanes, __ATOMIC_ACQUIRE);
	struct ph_list *words = &young->words[0];
	uint64_t first = words->n, kept = first;

	if (!stopped)
		whiten(young);
	for (uint32_t i = 0; i < lanes; i++) {
		/* Not under the lane; more may come until it is held. */
		uint64_t n = __atomic_load_n(&young->log[i].n, __ATOMIC_RELAXED);

		if (n && reserve(words, n + 4096))
			take_log(heap, young, i, stopped, words);
		else
			young->lost |= n != 0;
	}
	for (uint64_t i = first; i < words->n; i++) {
		uint64_t entry = words->item[i];

		if (!(entry & PUBLISHED)) {
			words->item[kept++] = entry;
			continue;
		}
		ph_mark_whiten(young->marker, entry & ~PUBLISHED);
		add(young, &young->young[0], entry & ~PUBLISHED);
	}
	words->n = kept;
}

/* No span is born or ends while its descriptor is looked at; a stop holds the lock as well. */
void ph_young_take(struct pheap *heap, struct ph_young *young)
{
	pthread_mutex_lock(&heap->zone.lock);
	take(heap, young, false);
	pthread_mutex_unlock(&heap->zone.lock);
}

/* All young objects have to be white: what another one refers to is found through it only. */
bool ph_young_settle(struct pheap *heap, struct ph_young *young)
{
	take(heap, young, true);
	if (young->lost)
		return false;
	if (ph_mark_forget_stale(young->marker))
		whiten(young);
	ph_mark_settle(young->marker);
	return true;
}

void ph_young_roots(struct ph_young *young)
{
	for (unsigned age = 0; age < young->survive; age++)
		for (uint64_t i = 0; i < young->words[age].n; i++)
			ph_mark_slot(young->marker, young->words[age].item[i]);
}

/* What is white died; what is not, or is not known any more, has survived once more. */
void ph_young_age(struct ph_young *young, uint64_t *visited)
{
	rotate(young->words, PH_SURVIVE_MAX);
	for (unsigned age = young->survive; age--;) {
		struct ph_list *from = &young->young[age];

		for (uint64_t i = 0; i < from->n; i++) {
			uint64_t ref = from->item[i], size = ph_mark_size_at(young->marker, ref);

			*visited += size;
			if (ph_mark_is_white(young->marker, ref))
				continue;
			if (age + 1 < young->survive)
				add(young, &young->young[age + 1], ref);
			else
				young->old_bytes += size;
		}
		from->n = 0;
	}
}

void ph_young_forget(struct pheap *heap, struct ph_young *young)
{
	for (unsigned i = 0; i < PH_SURVIVE_MAX; i++)
		young->young[i].n = young->words[i].n = 0;
	for (uint32_t i = 0; i < heap->nlanes; i++)
		young->log[i] = (struct ph_young_log){0};
	young->lost = false;
}
