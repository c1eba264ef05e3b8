/*
 * slab.c - partial slabs of each shape. See slab.h.
 */
#include "slab.h"

#include <sys/mman.h>

#include "tx/lane.h"
#include "large.h"
#include "span.h"
#include "tcache.h"
#include "traced.h"

/* Spans looked at in one go where the pool has no granule left. */
#define DISCOVER_SPANS 8u

/* Granules of empty slabs that are kept: a part of those in use by slabs, and never less
 * than a megabyte of them, or than a quarter of that where memory goes back to the system. */
#define KEPT_PART 128u
#define KEPT_LEAST 16u
#define KEPT_LEAST_DECAY 4u
/* Beyond that, one goes whenever objects have come back so many times. Beyond this part of
 * the pool they go at once. */
#define KEPT_TURNS 16u
#define KEPT_MOST_PART 4u

static void lock(struct ph_central *central)
{
	ph_bitlock_take(&central->lock);
}

static void unlock(struct ph_central *central)
{
	ph_bitlock_give(&central->lock, 0);
}

/* ---- shapes -------------------------------------------------------------------- */

int ph_slab_attach(struct pheap *heap)
{
	bool pool = heap->durability != PHEAP_VOLATILE;

	if (pool)
		heap->shapes = ph_map_lazily(sizeof(*heap->shapes));
	if (heap->shapes || !pool)
		heap->central = ph_map_lazily(ph_shapes_max(heap) * sizeof(*heap->central));
	return heap->central ? 0 : ph_error(ENOMEM, "no address space for the lists of slabs");
}

void ph_slab_detach(struct pheap *heap)
{
	if (heap->central)
		munmap(heap->central, ph_shapes_max(heap) * sizeof(*heap->central));
	if (heap->shapes)
		munmap(heap->shapes, sizeof(*heap->shapes));
}

unsigned ph_shape(struct pheap *heap, uint32_t type, unsigned cls)
{
	struct ph_shapes *shapes = heap->shapes;
	unsigned shape;
	uint16_t *of;

	if (!type)
		return cls;
	of = &shapes->of[type][cls];
	shape = __atomic_load_n(of, __ATOMIC_ACQUIRE);
	if (ph_likely(shape))
		return shape;
	ph_bitlock_take(&shapes->lock);
	shape = *of;
	if (!shape) {
		shape = PH_CLASSES + shapes->n;
		shapes->shape[shape].type = (uint16_t)type;
		shapes->shape[shape].cls = (uint8_t)cls;
		__atomic_store_n(&shapes->n, shapes->n + 1, __ATOMIC_RELEASE);
		__atomic_store_n(of, (uint16_t)shape, __ATOMIC_RELEASE);
	}
	ph_bitlock_give(&shapes->lock, 0);
	return shape;
}

/* ---- lists --------------------------------------------------------------------- */

static unsigned bin_of(const struct ph_slab *slab)
{
	if (slab->owned || !slab->free)
		return PH_BIN_NONE;
	return slab->free * PH_BINS / slab->objects;
}

/* Changed under the lock; that there is an empty one is looked at without. */
static void set_head(struct ph_central *central, const struct ph_slab *at, unsigned bin,
		     struct ph_slab *slab)
{
	__atomic_store_n(&central->shelf[at->shelf].bin[bin], slab, __ATOMIC_RELAXED);
}

static void unlink_slab(struct pheap *heap, struct ph_central *central, struct ph_slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		set_head(central, slab, slab->bin, slab->next);
	if (slab->next)
		slab->next->prev = slab->prev;
	if (slab->bin == PH_BIN_EMPTY)
		__atomic_fetch_sub(&heap->kept, slab->granules, __ATOMIC_RELAXED);
	slab->bin = PH_BIN_NONE;
}

static void link_slab(struct pheap *heap, struct ph_central *central, struct ph_slab *slab,
		      unsigned bin)
{
	slab->prev = NULL;
	slab->next = central->shelf[slab->shelf].bin[bin];
	if (slab->next)
		slab->next->prev = slab;
	set_head(central, slab, bin, slab);
	slab->bin = (uint8_t)bin;
	slab->bin_end = ((bin + 1) * slab->objects + PH_BINS - 1) / PH_BINS;
	if (bin == PH_BIN_EMPTY)
		__atomic_fetch_add(&heap->kept, slab->granules, __ATOMIC_RELAXED);
}

/* Put a slab on the list where it belongs now. */
static void place(struct pheap *heap, struct ph_central *central, struct ph_slab *slab)
{
	unsigned bin = bin_of(slab);

	if (bin == slab->bin)
		return;
	if (slab->bin != PH_BIN_NONE)
		unlink_slab(heap, central, slab);
	if (bin != PH_BIN_NONE)
		link_slab(heap, central, slab, bin);
}

/* Unlink one slab of which everything is available. */
static struct ph_slab *pop_empty(struct pheap *heap, struct ph_central *central)
{
	struct ph_slab *slab = NULL;

	for (unsigned i = 0; i < PH_SHELVES && !slab; i++) {
		struct ph_slab **head = &central->shelf[i].bin[PH_BIN_EMPTY];

		if (!__atomic_load_n(head, __ATOMIC_RELAXED))
			continue;
		lock(central);
		slab = *head;
		if (slab)
			unlink_slab(heap, central, slab);
		unlock(central);
	}
	return slab;
}

static uint64_t kept(const struct pheap *heap)
{
	return __atomic_load_n(&heap->kept, __ATOMIC_RELAXED);
}

/* More empty slabs than are worth keeping? */
static bool too_many_kept(const struct pheap *heap)
{
	uint64_t in_use = __atomic_load_n(&heap->zone.granules_slab, __ATOMIC_RELAXED);
	uint64_t least = heap->decay.on ? KEPT_LEAST_DECAY : KEPT_LEAST;

	return kept(heap) > least && kept(heap) > in_use / KEPT_PART;
}

/* One empty slab of each shape goes in turn: what stays are those of shapes that need
 * them. False where there is none. No lock may be held. */
static bool end_one(struct pheap *heap)
{
	uint32_t n = ph_shapes_used(heap);

	for (unsigned i = 0; i < n; i++) {
		unsigned shape = __atomic_fetch_add(&heap->kept_hand, 1, __ATOMIC_RELAXED) % n;
		struct ph_slab *slab = pop_empty(heap, &heap->central[shape]);

		if (slab) {
			ph_span_end(heap, slab);
			return true;
		}
	}
	return false;
}

/* Objects have come back. No lock may be held. */
static void end_some(struct pheap *heap)
{
	static __thread unsigned turn;

	if (++turn % KEPT_TURNS == 0 && too_many_kept(heap))
		end_one(heap);
	while (kept(heap) > heap->zone.granules / KEPT_MOST_PART && end_one(heap))
		;
}

void ph_slab_offer(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_central *central = &heap->central[slab->shape];

	lock(central);
	place(heap, central, slab);
	unlock(central);
}

/* ---- take ---------------------------------------------------------------------- */

/*
 * Up to n objects of one slab, the lowest first. They are stored downwards from end,
 * because a magazine is popped from there: in the order of their addresses.
 */
static uint32_t take_from(struct ph_slab *slab, struct ph_cached *end, uint32_t n)
{
	uint32_t taken = slab->free < n ? slab->free : n, left = taken;
	char *first = (char *)(uintptr_t)slab->first;
	uint64_t bits;

	slab->free -= taken;
	for (uint32_t w = slab->low; left; slab->low = w++) {
		/* The states of 64 objects are a line, which may be where they were freed. */
		if (slab->avail[w])
			ph_fetch_to_write(&slab->state[w * 64]);
		for (bits = slab->avail[w]; bits && left; left--) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);

			bits &= bits - 1;
			*--end = (struct ph_cached){first + i * slab->size, &slab->state[i]};
		}
		slab->avail[w] = bits;
	}
	return taken;
}

/* The fullest slab of a shape, or, if it must be, an empty one, from the caller's shelf or
 * else from another; NULL where there is none. */
static struct ph_slab *choose(const struct ph_tcache *cache, const struct ph_central *central,
			      bool must)
{
	for (unsigned i = 0; i < PH_SHELVES; i++) {
		const struct ph_shelf *shelf = &central->shelf[(cache->shelf + i) % PH_SHELVES];

		for (unsigned b = 0; b < PH_BINS + must; b++)
			if (shelf->bin[b])
				return shelf->bin[b];
	}
	return NULL;
}

/* One becomes the caller's. */
static struct ph_slab *adopt(struct ph_tcache *cache, struct ph_central *central, bool must)
{
	struct ph_slab *slab = choose(cache, central, must);

	if (slab) {
		slab->owned = 1;
		place(cache->heap, central, slab); /* off its list */
		slab->shelf = cache->shelf;
		ph_span_set_home(cache->heap, slab, cache);
	}
	return slab;
}

static uint32_t take_owned(struct ph_tcache *cache, unsigned shape, struct ph_cached *objects,
			   uint32_t n)
{
	struct ph_central *central = &cache->heap->central[shape];
	struct ph_slab **own = &cache->mag[shape].own;
	uint32_t taken = 0;

	lock(central);
	for (;;) {
		if (*own)
			taken += take_from(*own, objects + n - taken, n - taken);
		if (taken == n)
			break;
		if (*own)
			(*own)->owned = 0; /* full: it is listed when an object is given back */
		if (!(*own = adopt(cache, central, !taken)))
			break;
	}
	central->taken += taken;
	unlock(central);
	if (taken < n)
		memmove(objects, objects + n - taken, taken * sizeof(*objects));
	return taken;
}

static int add_slab(struct ph_tcache *cache, unsigned shape)
{
	struct pheap *heap = cache->heap;
	struct ph_slab *slab;
	int err;

	if (too_many_kept(heap)) /* of other shapes */
		end_one(heap);
	err = ph_span_reserve(heap, PM_KIND_SLAB, shape, 0, &slab);
	if (!err && heap->traced)
		err = ph_traced_bear(heap, slab);
	if (!err) {
		slab->shelf = cache->shelf;
		ph_slab_offer(heap, slab);
	}
	return err;
}

uint32_t ph_slab_take(struct ph_tcache *cache, unsigned shape, struct ph_cached *objects,
		      uint32_t n)
{
	struct pheap *heap = cache->heap;
	uint32_t taken = take_owned(cache, shape, objects, n);

	if (!taken && ph_span_discover_ahead(heap, ph_classes[ph_shape_class(heap, shape)].objects))
		taken = take_owned(cache, shape, objects, n);
	for (bool squeezed = false; !taken; squeezed = true) {
		int err = add_slab(cache, shape);

		if (err && (err != -ENOSPC || squeezed)) {
			errno = -err;
			return 0;
		}
		/* A slab of an earlier session may have room yet: each is looked at once. */
		while (err && !taken && ph_span_discover(heap, DISCOVER_SPANS))
			taken = take_owned(cache, shape, objects, n);
		if (taken)
			break;
		if (err)
			ph_slab_squeeze(heap);
		taken = take_owned(cache, shape, objects, n);
	}
	return taken;
}

/* ---- give ---------------------------------------------------------------------- */

bool ph_slab_adopt(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_central *central = &heap->central[slab->shape];
	bool free;

	lock(central);
	free = !slab->owned;
	slab->owned = 1;
	place(heap, central, slab); /* off its list */
	if (free)		    /* what is freed goes back to it, and into no magazine */
		ph_span_set_home(heap, slab, NULL);
	unlock(central);
	return free;
}

void ph_slab_disown(struct pheap *heap, struct ph_slab **own)
{
	struct ph_slab *slab = *own;
	struct ph_central *central;
	if (!slab)
		return;
	central = &heap->central[slab->shape];
	*own = NULL;
	lock(central);
	slab->owned = 0;
	place(heap, central, slab);
	unlock(central);
	end_some(heap);
}

static void make_available(struct ph_slab *slab, const uint8_t *state)
{
	uint32_t i = (uint32_t)(state - slab->state);

	slab->avail[i / 64] |= UINT64_C(1) << i % 64;
	slab->free++;
	if (i / 64 < slab->low)
		slab->low = i / 64;
}

/* Where it belongs now that more of it is available: mostly where it was. */
static void place_after_give(struct pheap *heap, struct ph_central *central, struct ph_slab *slab)
{
	if (slab->owned || (slab->bin != PH_BIN_NONE && slab->free < slab->bin_end))
		return;
	place(heap, central, slab);
}

void ph_slab_give(struct pheap *heap, unsigned shape, const struct ph_cached *objects, uint32_t n)
{
	struct ph_central *central = &heap->central[shape];
	struct ph_slab *slab = NULL, *next;

	lock(central);
	central->given += n;
	for (uint32_t i = 0; i < n; i++, slab = next) {
		if (!slab)
			slab = ph_slab_at(heap, objects[i].ptr);
		next = i + 1 < n ? ph_slab_at(heap, objects[i + 1].ptr) : NULL;
		make_available(slab, objects[i].state);
		/* Neighbours often come together; the last of them settles it. */
		if (next != slab)
			place_after_give(heap, central, slab);
	}
	unlock(central);
	end_some(heap);
}

void ph_slab_end_kept(struct pheap *heap)
{
	while (too_many_kept(heap) && end_one(heap))
		;
}

void ph_slab_trim(struct pheap *heap)
{
	for (unsigned shape = 0; shape < ph_shapes_used(heap); shape++) {
		struct ph_slab *slab;

		while ((slab = pop_empty(heap, &heap->central[shape])))
			ph_span_end(heap, slab);
	}
}

void ph_slab_squeeze(struct pheap *heap)
{
	while (ph_span_discover(heap, 1024))
		;
	ph_checkpoint(heap);
	ph_large_trim(heap);
	ph_slab_trim(heap);
}
