/*
 * slab.c - partial slabs of each size class. See slab.h.
 */
#include "slab.h"

#include "tx/lane.h"
#include "span.h"

/* Spans looked at for partly filled slabs of an earlier session whenever a
 * magazine finds none, before a new slab is made: enough to find them all
 * within a few slabs' worth of allocations, few enough to be no pause. */
#define DISCOVER_SPANS 8u

static void link_first(struct ph_central *central, struct ph_slab *slab)
{
	slab->prev = NULL;
	slab->next = central->partial;
	if (slab->next)
		slab->next->prev = slab;
	central->partial = slab;
}

static void unlink_slab(struct ph_central *central, struct ph_slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		central->partial = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
}

/* Changed under central.lock, and looked at without. */
static void set_empty(struct ph_central *central, unsigned n)
{
	__atomic_store_n(&central->empty, n, __ATOMIC_RELAXED);
}

void ph_slab_offer(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_central *central = &heap->central[slab->cls];

	pthread_mutex_lock(&central->lock);
	link_first(central, slab);
	if (slab->free == slab->objects)
		set_empty(central, central->empty + 1);
	pthread_mutex_unlock(&central->lock);
}

/* From one slab, in the order of addresses from its cursor on. */
static uint32_t take_from(struct pheap *heap, struct ph_slab *slab, struct ph_cached *objects,
			  uint32_t n)
{
	uint32_t taken = 0;

	for (uint32_t i = slab->cursor; taken < n && slab->free; i++) {
		if (i == slab->objects)
			i = 0;
		if (__atomic_load_n(&slab->state[i], __ATOMIC_RELAXED) != PH_FREE)
			continue;
		ph_set_state(&slab->state[i], PH_CACHED);
		objects[taken].ptr = ph_at(heap, slab->start + i * slab->size);
		objects[taken++].state = &slab->state[i];
		slab->free--;
		slab->cursor = i + 1 == slab->objects ? 0 : i + 1;
	}
	return taken;
}

/* The first slab of the list becomes the caller's; NULL where there is none. */
static struct ph_slab *adopt(struct ph_central *central)
{
	struct ph_slab *slab = central->partial;

	if (!slab)
		return NULL;
	unlink_slab(central, slab);
	if (slab->free == slab->objects)
		set_empty(central, central->empty - 1);
	slab->owned = 1;
	return slab;
}

static uint32_t take_owned(struct pheap *heap, struct ph_central *central, struct ph_slab **own,
			   struct ph_cached *objects, uint32_t n)
{
	uint32_t taken = 0;

	pthread_mutex_lock(&central->lock);
	for (;;) {
		if (*own)
			taken += take_from(heap, *own, objects + taken, n - taken);
		if (taken == n)
			break;
		if (*own)
			(*own)->owned = 0; /* full: it is listed when an object is given back */
		if (!(*own = adopt(central)))
			break;
	}
	pthread_mutex_unlock(&central->lock);
	/* Popped from the end, they come out in the order of their addresses. */
	for (uint32_t i = 0; i < taken / 2; i++) {
		struct ph_cached swap = objects[i];

		objects[i] = objects[taken - 1 - i];
		objects[taken - 1 - i] = swap;
	}
	return taken;
}

static int add_slab(struct pheap *heap, unsigned cls)
{
	struct ph_slab *slab;
	int err = ph_span_reserve(heap, PM_KIND_SLAB, cls, 0, &slab);

	if (!err)
		ph_slab_offer(heap, slab);
	return err;
}

uint32_t ph_slab_take(struct pheap *heap, unsigned cls, struct ph_slab **own,
		      struct ph_cached *objects, uint32_t n)
{
	struct ph_central *central = &heap->central[cls];
	uint32_t taken = take_owned(heap, central, own, objects, n);

	if (!taken && ph_span_discover(heap, DISCOVER_SPANS))
		taken = take_owned(heap, central, own, objects, n);
	for (bool squeezed = false; !taken; squeezed = true) {
		int err = add_slab(heap, cls);

		if (err && (err != -ENOSPC || squeezed)) {
			errno = -err;
			return 0;
		}
		if (err)
			ph_slab_squeeze(heap);
		taken = take_owned(heap, central, own, objects, n);
	}
	return taken;
}

void ph_slab_disown(struct pheap *heap, struct ph_slab **own)
{
	struct ph_slab *slab = *own, *ended = NULL;
	struct ph_central *central;

	if (!slab)
		return;
	central = &heap->central[slab->cls];
	*own = NULL;
	pthread_mutex_lock(&central->lock);
	slab->owned = 0;
	if (slab->free == slab->objects && central->empty)
		ended = slab;
	else if (slab->free)
		link_first(central, slab);
	if (!ended && slab->free == slab->objects)
		set_empty(central, 1);
	pthread_mutex_unlock(&central->lock);
	if (ended)
		ph_span_end(heap, ended);
}

/* True: the slab is empty, unlinked, and to be ended by the caller. */
static bool give_one(struct ph_central *central, struct ph_slab *slab, uint8_t *state)
{
	ph_set_state(state, PH_FREE);
	slab->free++;
	if (slab->owned)
		return false;
	if (slab->free == 1)
		link_first(central, slab);
	if (slab->free < slab->objects)
		return false;
	if (!central->empty) {
		set_empty(central, 1);
		return false;
	}
	unlink_slab(central, slab);
	return true;
}

void ph_slab_give(struct pheap *heap, unsigned cls, const struct ph_cached *objects, uint32_t n)
{
	struct ph_central *central = &heap->central[cls];
	struct ph_slab *ended = NULL, *slab;
	struct ph_zone *zone = &heap->zone;

	pthread_mutex_lock(&central->lock);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t g = (ph_off(heap, objects[i].ptr) - zone->data) >> PM_GRANULE_SHIFT;

		slab = __atomic_load_n(&zone->map[g], __ATOMIC_ACQUIRE);
		if (give_one(central, slab, objects[i].state)) {
			slab->next = ended;
			ended = slab;
		}
	}
	pthread_mutex_unlock(&central->lock);
	while ((slab = ended)) {
		ended = slab->next;
		ph_span_end(heap, slab);
	}
}

/* Unlink one slab that has nothing but FREE objects. */
static struct ph_slab *pop_empty(struct ph_central *central)
{
	struct ph_slab *slab;

	pthread_mutex_lock(&central->lock);
	for (slab = central->partial; slab; slab = slab->next)
		if (slab->free == slab->objects)
			break;
	if (slab) {
		unlink_slab(central, slab);
		set_empty(central, central->empty - 1);
	}
	pthread_mutex_unlock(&central->lock);
	return slab;
}

void ph_slab_trim(struct pheap *heap)
{
	for (unsigned cls = 0; cls < PH_CLASSES; cls++) {
		struct ph_slab *slab;

		while (__atomic_load_n(&heap->central[cls].empty, __ATOMIC_RELAXED) &&
		       (slab = pop_empty(&heap->central[cls])))
			ph_span_end(heap, slab);
	}
}

void ph_slab_squeeze(struct pheap *heap)
{
	while (ph_span_discover(heap, 1024))
		;
	ph_checkpoint(heap);
	ph_large_drain(heap);
	ph_slab_trim(heap);
}
