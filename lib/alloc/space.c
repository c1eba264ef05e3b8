/*
 * space.c - add up what the memory of a pool is used for.
 */
#include <pheap/stats.h>

#include "large.h"
#include "span.h"

/* Granules looked at under one hold of zone.lock. */
#define TURN_GRANULES 256u

static void add_large(const struct ph_slab *slab, struct pheap_space *space)
{
	switch (__atomic_load_n(&slab->state[0], __ATOMIC_RELAXED)) {
	case PH_PUBLISHED:
	case PH_DYING:
		space->published += slab->size;
		space->objects++;
		break;
	case PH_RESERVED:
	case PH_TX:
		space->reserved += slab->size;
		space->objects++;
		break;
	default:
		space->cached += slab->size;
	}
}

/* Free objects that are not available are in a magazine. */
static void add_slab(struct pheap *heap, struct ph_slab *slab, struct pheap_space *space)
{
	struct ph_central *central = &heap->central[slab->shape];
	uint64_t published = 0, reserved = 0, available;

	ph_bitlock_take(&central->lock);
	for (uint32_t i = 0; i < slab->objects; i++) {
		uint8_t state = __atomic_load_n(&slab->state[i], __ATOMIC_RELAXED);

		published += state == PH_PUBLISHED || state == PH_DYING;
		reserved += state == PH_RESERVED || state == PH_TX;
	}
	available = slab->free;
	ph_bitlock_give(&central->lock, 0);
	/* Another thread may have taken objects meanwhile. */
	if (available > slab->objects - published - reserved)
		available = slab->objects - published - reserved;
	space->objects += published + reserved;
	space->published += published * slab->size;
	space->reserved += reserved * slab->size;
	space->unused += available * slab->size;
	space->cached += (slab->objects - published - reserved - available) * slab->size;
	space->tails += (uint64_t)slab->granules * PM_GRANULE - slab->objects * slab->size;
}

/* Under zone.lock. Returns the granules of the span. */
static uint32_t add_span(struct pheap *heap, struct ph_slab *slab, struct pheap_space *space)
{
	if (!slab)
		return 1;
	if (slab->kind == PM_KIND_SLAB)
		add_slab(heap, slab, space);
	else if (slab->kind == PM_KIND_LARGE)
		add_large(slab, space);
	else
		space->logs += (uint64_t)slab->granules * PM_GRANULE;
	return slab->granules;
}

PHEAP_API int pheap_get_space(pheap_t *heap, struct pheap_space *space)
{
	struct pheap_stats stats = {0};
	int err = ph_heap_usable(heap, "pheap_get_space");
	struct ph_zone *zone;
	uint64_t known;

	if (err)
		return err;
	if (!space || space->struct_size != sizeof(*space))
		return ph_error(EINVAL,
				"pheap_get_space: struct_size is not sizeof(struct pheap_space)");
	while (ph_span_discover(heap, TURN_GRANULES))
		;
	zone = &heap->zone;
	memset(space, 0, sizeof(*space));
	space->struct_size = sizeof(*space);
	for (uint32_t g = 0, end = 0; g < zone->granules;) {
		pthread_mutex_lock(&zone->lock);
		for (end += TURN_GRANULES; g < end && g < zone->granules;)
			g += add_span(heap, zone->map[g].slab, space);
		pthread_mutex_unlock(&zone->lock);
	}
	ph_zone_stats(heap, &stats);
	space->total = stats.granules * PM_GRANULE;
	space->free = stats.granules_free * PM_GRANULE;
	space->largest_free = stats.largest_free;
	known = space->free + space->logs + space->published + space->reserved + space->cached +
		space->unused + space->tails;
	space->unknown = known < space->total ? space->total - known : 0;
	return 0;
}

/* ---- by classes ----------------------------------------------------------------------- */

#define ALL_CLASSES (PH_CLASSES + 1) /* large objects are the last */

/* Under zone.lock, as add_slab(); returns the granules of the span. */
static uint32_t count_span(struct pheap *heap, struct ph_slab *slab, struct pheap_class *classes)
{
	struct pheap_space space = {0};
	struct pheap_class *c;

	if (!slab || slab->kind == PM_KIND_LANE)
		return slab ? slab->granules : 1;
	add_span(heap, slab, &space);
	c = &classes[slab->kind == PM_KIND_SLAB ? slab->cls : PH_CLASSES];
	c->slabs++;
	c->bytes += (uint64_t)slab->granules * PM_GRANULE;
	c->objects += space.objects;
	c->cached += space.cached / slab->size;
	c->unused += space.unused / slab->size;
	return slab->granules;
}

static void count_traffic(struct pheap *heap, struct pheap_class *classes)
{
	for (unsigned cls = 0; cls < PH_CLASSES; cls++)
		classes[cls].size = ph_classes[cls].size;
	for (unsigned shape = 0; shape < ph_shapes_used(heap); shape++) {
		struct ph_central *central = &heap->central[shape];
		struct pheap_class *class = &classes[ph_shape_class(heap, shape)];

		ph_bitlock_take(&central->lock);
		class->taken += central->taken;
		class->given += central->given;
		ph_bitlock_give(&central->lock, 0);
	}
}

PHEAP_API int pheap_get_classes(pheap_t *heap, struct pheap_class *classes, unsigned n)
{
	struct pheap_class all[ALL_CLASSES] = {0};
	int err = ph_heap_usable(heap, "pheap_get_classes");
	struct ph_zone *zone;

	if (!err && !classes && n)
		err = ph_error(EINVAL, "pheap_get_classes: classes is NULL");
	if (err)
		return err;
	while (ph_span_discover(heap, TURN_GRANULES))
		;
	zone = &heap->zone;
	for (uint32_t g = 0, end = 0; g < zone->granules;) {
		pthread_mutex_lock(&zone->lock);
		for (end += TURN_GRANULES; g < end && g < zone->granules;)
			g += count_span(heap, zone->map[g].slab, all);
		pthread_mutex_unlock(&zone->lock);
	}
	count_traffic(heap, all);
	if (n)
		memcpy(classes, all, (n < ALL_CLASSES ? n : ALL_CLASSES) * sizeof(*classes));
	return ALL_CLASSES;
}
