/*
 * iterate.c - go over all published objects. See pheap/type.h.
 *
 * The cursor is the granule of a span and the number of the next object to look at in it.
 * Nothing is remembered of the span: what is there now is looked at, so an object that is
 * published all the time is met once, whatever becomes of others.
 *
 * Objects are found in bitmaps, without loading slabs; in a traced heap, whose bitmaps say
 * nothing while it is open, in the states of slabs that are loaded.
 *
 * LOCKS: zone.lock, under which no span is born or ends.
 */
#include "span.h"
#include "types.h"

#define INDEX_BITS 16

/* The first object of a span from number i on that is published; objects: there is none. */
static uint32_t next_in_bits(const uint64_t *bits, uint32_t i, uint32_t objects)
{
	for (; i < objects; i = (i / 64 + 1) * 64) {
		uint64_t word = __atomic_load_n(&bits[i / 64], __ATOMIC_ACQUIRE) >> i % 64;

		if (word) {
			i += (uint32_t)__builtin_ctzll(word);
			return i < objects ? i : objects; /* of damaged media */
		}
	}
	return objects;
}

static uint32_t next_in_states(const struct ph_slab *slab, uint32_t i)
{
	while (i < slab->objects &&
	       __atomic_load_n(&slab->state[i], __ATOMIC_ACQUIRE) < PH_RESERVED)
		i++;
	return i;
}

static uint32_t next_object(struct pheap *heap, uint32_t granule, const struct pm_span *span,
			    const struct ph_slab *slab, uint32_t i)
{
	uint32_t objects = span->kind == PM_KIND_SLAB ? ph_span_objects(span) : 1;
	const char *bits = ph_at(heap, heap->zone.pm->bits + (uint64_t)granule * PM_BITMAP_BYTES);

	if (heap->traced && slab)
		i = next_in_states(slab, i);
	else
		i = next_in_bits((const uint64_t *)(const void *)bits, i, objects);
	return i < objects ? i : UINT32_MAX;
}

/* The next one from the cursor on, and the cursor behind it. Under zone.lock. */
static bool find_next(struct pheap *heap, const pheap_type_t *type, uint64_t *cursor,
		      struct pheap_object *object)
{
	uint32_t granule = (uint32_t)(*cursor >> INDEX_BITS), start = granule;
	uint32_t i = (uint32_t)(*cursor & ((1u << INDEX_BITS) - 1));
	struct ph_slab *slab;
	struct pm_span span;

	for (; ph_span_next(heap, &granule, &span, &slab); granule += span.granules, i = 0) {
		if (granule != start)
			i = 0; /* the span that the cursor was in has ended */
		if (type && span.type != type->id)
			continue;
		while ((i = next_object(heap, granule, &span, slab, i)) != UINT32_MAX) {
			uint64_t ref =
				heap->zone.data + (uint64_t)granule * PM_GRANULE + i++ * span.size;

			if (!span.type && ph_type_keeps(heap, ref))
				continue;
			*cursor = (uint64_t)granule << INDEX_BITS | i;
			*object = (struct pheap_object){.ptr = ph_at(heap, ref),
							.ref = ref,
							.size = span.size,
							.type = ph_type_mutable(heap, span.type)};
			return true;
		}
	}
	*cursor = (uint64_t)heap->zone.granules << INDEX_BITS;
	return false;
}

PHEAP_API bool pheap_object_next(pheap_t *heap, const pheap_type_t *type, uint64_t *cursor,
				 struct pheap_object *object)
{
	bool found;

	if (ph_heap_usable(heap, "pheap_object_next") || !cursor || !object ||
	    (type && type->heap != heap) || *cursor >> INDEX_BITS > heap->zone.granules)
		return false;
	pthread_mutex_lock(&heap->zone.lock);
	found = find_next(heap, type, cursor, object);
	pthread_mutex_unlock(&heap->zone.lock);
	return found;
}
