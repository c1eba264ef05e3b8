/*
 * roots.c - what keeps objects alive that no other object refers to. See gc.h.
 *
 * All of it is looked at while threads are stopped: lanes and zone.lock are held (W1), and
 * joined threads wait (W2). What threads that have not joined do at that time is to reserve and to
 * fill objects, and to build records and transactions: by the rules of pheap/gc.h whatever they
 * refer to has other references. So their reserved objects are looked at as they are, and
 * their transactions are not.
 */
#include <stdlib.h>
#include <string.h>

#include "alloc/span.h"
#include "gc.h"
#include "sum.h"
#include "tx/tx.h"

/* ---- pins ------------------------------------------------------------------------- */

static uint64_t hash_of(uint64_t ref)
{
	return ref / 8 * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

/* The place of a pin, or a free one where it would be; there is always one. */
static struct ph_pin *pin_place(const struct ph_gc *gc, uint64_t ref)
{
	uint64_t i = hash_of(ref);

	while (gc->pin[i % gc->pin_room].ref && gc->pin[i % gc->pin_room].ref != ref)
		i++;
	return &gc->pin[i % gc->pin_room];
}

/* At most half of the table is in use. */
static bool make_room(struct ph_gc *gc)
{
	struct ph_gc larger = {.pin_room = gc->pin_room ? gc->pin_room * 2 : 64};

	if (gc->pins * 2 < gc->pin_room)
		return true;
	larger.pin = calloc(larger.pin_room, sizeof(*larger.pin));
	if (!larger.pin)
		return false;
	for (uint32_t i = 0; i < gc->pin_room; i++)
		if (gc->pin[i].ref)
			*pin_place(&larger, gc->pin[i].ref) = gc->pin[i];
	free(gc->pin);
	gc->pin = larger.pin;
	gc->pin_room = larger.pin_room;
	return true;
}

/* The gap must not end the way to others: they are put in anew. */
static void remove_pin(struct ph_gc *gc, struct ph_pin *pin)
{
	uint32_t i = (uint32_t)(pin - gc->pin);

	pin->ref = 0;
	gc->pins--;
	for (i = (i + 1) % gc->pin_room; gc->pin[i].ref; i = (i + 1) % gc->pin_room) {
		struct ph_pin moved = gc->pin[i];

		gc->pin[i].ref = 0;
		*pin_place(gc, moved.ref) = moved;
	}
}

PHEAP_API int pheap_pin(pheap_t *heap, const void *ptr)
{
	int err = ph_heap_usable(heap, "pheap_pin");
	struct ph_object object;
	struct ph_gc *gc;

	if (err)
		return err;
	if (!ph_object_find(heap, ph_off(heap, ptr), &object) ||
	    object.start != ph_off(heap, ptr) || ph_state(&object) < PH_PUBLISHED)
		return ph_error(EINVAL, "pheap_pin: %p is not where a published object starts",
				ptr);
	gc = ph_gc_of(heap);
	if (!gc)
		return -ENOMEM;
	pthread_mutex_lock(&gc->lock);
	if (make_room(gc)) {
		struct ph_pin *pin = pin_place(gc, object.start);

		gc->pins += !pin->ref;
		pin->count = pin->ref ? pin->count + 1 : 1;
		pin->ref = object.start;
	} else {
		err = ph_error(ENOMEM, "pheap_pin: no memory for another pin");
	}
	pthread_mutex_unlock(&gc->lock);
	return err;
}

PHEAP_API int pheap_unpin(pheap_t *heap, const void *ptr)
{
	int err = ph_heap_usable(heap, "pheap_unpin");
	struct ph_gc *gc = err ? NULL : ph_gc_of(heap);
	struct ph_pin *pin = NULL;

	if (!gc)
		return err ? err : -ENOMEM;
	pthread_mutex_lock(&gc->lock);
	if (gc->pin_room)
		pin = pin_place(gc, ph_off(heap, ptr));
	if (!pin || !pin->ref)
		err = ph_error(EINVAL, "pheap_unpin: %p is not pinned", ptr);
	else if (!--pin->count)
		remove_pin(gc, pin);
	pthread_mutex_unlock(&gc->lock);
	return err;
}

static void pins(struct ph_gc *gc, struct ph_marker *marker)
{
	pthread_mutex_lock(&gc->lock);
	for (uint32_t i = 0; i < gc->pin_room; i++)
		if (gc->pin[i].ref)
			ph_mark_ref(marker, gc->pin[i].ref);
	pthread_mutex_unlock(&gc->lock);
}

/* ---- reserved objects ---------------------------------------------------------------- */

/* Eight states at a time: is one of them RESERVED or TX? These have bit 1, and no other. */
static bool any_reserved(const uint8_t *state)
{
	_Static_assert(PH_RESERVED == 2 && PH_TX == 3 && PH_LIMBO == 1 && PH_PUBLISHED == 4 &&
			       PH_DYING == 5,
		       "any_reserved()");
	return __atomic_load_n((const uint64_t *)(const void *)state, __ATOMIC_RELAXED) &
	       UINT64_C(0x0202020202020202);
}

/*
 * The words of an object that a thread may be filling, with plain stores, since it has not
 * joined: what it stores has other references, so it does not matter whether it is seen;
 * an aligned word is never seen in parts. The thread sanitizer cannot know that.
 */
__attribute__((no_sanitize_thread)) static void copy_words(uint64_t *to, const char *from,
							   uint64_t n)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(const volatile void *)from;

	for (uint64_t i = 0; i < n; i++)
		to[i] = word[i];
}

/* Word by word: until an object is published nobody knows what it will be. */
static void reserved_object(struct pheap *heap, uint64_t start, uint64_t size,
			    struct ph_marker *marker)
{
	uint64_t copy[512], words = size / 8;

	for (uint64_t i = 0, n; i < words; i += n) {
		n = words - i < 512 ? words - i : 512;
		copy_words(copy, ph_at(heap, start + i * 8), n);
		ph_mark_words(marker, copy, n);
	}
}

static void reserved(struct pheap *heap, const struct ph_slab *slab, struct ph_marker *marker)
{
	for (uint32_t i = 0; i < slab->objects; i += 8) {
		if (!any_reserved(&slab->state[i]))
			continue;
		for (uint32_t k = i; k < i + 8 && k < slab->objects; k++) {
			unsigned state = __atomic_load_n(&slab->state[k], __ATOMIC_RELAXED);

			if (state == PH_RESERVED || state == PH_TX)
				reserved_object(heap, slab->start + k * slab->size, slab->size,
						marker);
		}
	}
}

static void all_reserved(struct pheap *heap, struct ph_marker *marker)
{
	const struct ph_zone *zone = &heap->zone;

	for (uint32_t g = 0; g < zone->granules;) {
		const struct ph_slab *slab = __atomic_load_n(&zone->map[g].slab, __ATOMIC_ACQUIRE);

		if (slab && slab->kind != PM_KIND_LANE)
			reserved(heap, slab, marker);
		g += slab ? slab->granules : 1;
	}
}

/* ---- open transactions ----------------------------------------------------------------- */

static void own_objects(struct pheap *heap, const struct pheap_tx *tx, struct ph_marker *marker)
{
	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_object *own = &tx->objects[i].object;

		if (!tx->objects[i].dies)
			reserved_object(heap, own->start, own->slab->size, marker);
	}
}

/* And the objects that they will publish, where those are not looked at anyway. */
static void staged(struct pheap *heap, struct ph_marker *marker, bool objects)
{
	pthread_mutex_lock(&heap->tx_lock);
	for (const struct pheap_tx *tx = heap->tx_newest; tx; tx = tx->older)
		if (__atomic_load_n(&tx->joined, __ATOMIC_ACQUIRE) && tx->open) {
			ph_mark_words(marker, tx->writes, tx->nwrites);
			if (objects)
				own_objects(heap, tx, marker);
		}
	pthread_mutex_unlock(&heap->tx_lock);
}

/* What an entry would restore, if it is one of a generation that has not ended (U1). Returns
 * its bytes; 0: the log ends before it. */
static uint64_t saved_entry(struct pheap *heap, uint64_t head, uint64_t at, uint64_t end,
			    struct ph_marker *marker)
{
	const struct pm_undo *entry = (const struct pm_undo *)(const void *)ph_at(heap, at);
	const uint64_t *words = (const uint64_t *)(const void *)entry;
	uint64_t copy[PM_UNDO_DATA_MAX / 8], ended = 0, data, bytes, skip;

	if (at + PM_LINE > end)
		return 0;
	data = entry->target >> 56 == PM_UNDO_DATA ? entry->length : 0;
	bytes = (sizeof(*entry) + data + PM_LINE - 1) / PM_LINE * PM_LINE;
	if (data > PM_UNDO_DATA_MAX || bytes > end - at)
		return 0;
	ph_unseal(*(const uint64_t *)(const void *)ph_at(heap, head), &ended);
	if (entry->gen <= ended ||
	    entry->sum != ph_sum(heap->epoch ^ head, at, words + 1, bytes / 8 - 1))
		return 0;
	/* The range that was saved may begin inside a word. */
	skip = -entry->target % 8;
	if (data > skip) {
		memcpy(copy, (const char *)(entry + 1) + skip, (data - skip) / 8 * 8);
		ph_mark_words(marker, copy, (data - skip) / 8);
		/* What was stored there since may be in no log of young.h yet. */
		ph_mark_words(marker, ph_at(heap, PM_ENTRY_OFFSET(entry->target) + skip),
			      (data - skip) / 8);
	}
	return bytes;
}

static void saved(struct pheap *heap, const struct ph_undo_log *log, struct ph_marker *marker)
{
	uint64_t at = log->area, end = at + PM_UNDO_AREA, bytes;

	while ((bytes = saved_entry(heap, log->head, at, end, marker))) {
		const struct pm_undo *entry = (const struct pm_undo *)(const void *)ph_at(heap, at);

		if (entry->target >> 56 == PM_UNDO_NEXT) {
			at = PM_ENTRY_OFFSET(entry->target);
			end = at + entry->length;
		} else {
			at += bytes;
		}
	}
}

static void all_saved(struct pheap *heap, struct ph_marker *marker)
{
	for (uint32_t i = 0; i < heap->nlanes; i++)
		for (unsigned k = 0; k < PM_UNDO_LOGS; k++)
			if (__atomic_load_n(&heap->lanes[i]->logs[k].used, __ATOMIC_ACQUIRE))
				saved(heap, &heap->lanes[i]->logs[k], marker);
}

void ph_gc_roots(struct pheap *heap, struct ph_gc *gc, struct ph_marker *marker)
{
	ph_mark_fixed_roots(marker);
	pins(gc, marker);
	all_reserved(heap, marker);
	staged(heap, marker, false);
	all_saved(heap, marker);
}

void ph_gc_young_roots(struct pheap *heap, struct ph_gc *gc, struct ph_marker *marker)
{
	ph_mark_fixed_roots(marker);
	pins(gc, marker);
	staged(heap, marker, true);
	all_saved(heap, marker);
}
