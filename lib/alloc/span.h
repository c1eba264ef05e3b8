/*
 * span.h - spans: runs of granules that are a slab, a large object or a lane.
 *
 * A span lives through these states; only `born` touches media:
 *
 *	free --reserve--> reserved --birth--> born --death--> reserved --release--> free
 *
 * INVARIANTS
 *   D1  A span's descriptor and its granules in the media tree change in one
 *       record: a granule is taken on media if and only if a descriptor covers it.
 *   D2  The overlay is changed before a birth and after a death, so H1 holds; the
 *       overlay's path is loaded before media changes, so it cannot be loaded
 *       from a later state.
 *   D3  File blocks of a span, its descriptor and its bitmap are allocated before
 *       it is handed out.
 *   D4  The bitmap of a granule in no span is zero. A slab or large span that dies
 *       has no published object, so this needs no store; in a traced heap, whose bitmaps
 *       are as the last close left them, its record clears it.
 *
 * LOCKS: zone.lock, which is recursive: a record with births may spill into a
 * span of its own.
 */
#ifndef PH_SPAN_H
#define PH_SPAN_H

#include "heap.h"
#include "sum.h"
#include "buddy.h"

struct ph_rec;

/* Make heap->zone from the zone table entry and the media behind it. */
int ph_zone_attach(struct pheap *heap, const struct pm_zone *pm);
void ph_zone_detach(struct pheap *heap);

/* D3: have the file system allocate the blocks of a granule and its neighbours, of
 * their descriptors and bitmaps. */
int ph_zone_back(const struct ph_file *file, const struct pm_zone *pm, uint32_t granule);

/* D3 for all that is in use, before it is read at large: a sparse copy of a pool has holes. */
int ph_zone_back_taken(struct pheap *heap);

/*
 * Give the blocks of free granules back to the file system. What is free is settled (H3),
 * and the caller has settled the deaths of spans: so nothing that a crash can bring back
 * lies there, whichever of the blocks are gone by then. D3: whoever takes a granule later
 * allocates its blocks anew. -ENOTSUP where the file system cannot.
 */
int ph_zone_punch(struct pheap *heap);

void ph_zone_stats(struct pheap *heap, struct pheap_stats *stats);

/*
 * Reserve a span for a slab of that shape (all objects FREE), or for one large
 * object without a type or lane of so many bytes (RESERVED). -ENOSPC, -ENOMEM.
 */
int ph_span_reserve(struct pheap *heap, unsigned kind, unsigned shape, uint64_t bytes,
		    struct ph_slab **slab);

/* One for a large object at a multiple of alignment, a power of two of granules in bytes,
 * counted from the zone's first granule. */
int ph_span_reserve_aligned(struct pheap *heap, uint64_t bytes, uint64_t alignment,
			    struct ph_slab **slab);

/* Take granules that are free out of use, or let them be free again. Under zone.lock. */
void ph_span_hold(struct pheap *heap, uint32_t granule, uint32_t n, bool hold);

/* Their memory has been given back: it is asked for again when they are taken. */
void ph_span_unback(struct pheap *heap, uint32_t granule, uint32_t n);

/* Is this a large object, just reserved, whose memory is known to be zero? Volatile heaps. */
bool ph_span_is_zero(struct pheap *heap, const void *ptr);

/* Give a reserved, unborn span back. DRAM only; never fails. */
void ph_span_release(struct pheap *heap, struct ph_slab *slab);

/*
 * Add a span's birth or death to a record; under zone.lock until the record is
 * committed, and then set slab->born. They must be neighbours in the record.
 */
void ph_span_birth(struct ph_rec *rec, struct ph_slab *slab);
void ph_span_death(struct ph_rec *rec, struct ph_slab *slab);

/* End and release an empty span that nobody else finds: one record if it is born. Never
 * allocates DRAM. */
void ph_span_end(struct pheap *heap, struct ph_slab *slab);

/* Keep the granule of a lane block out of use, whatever a damaged tree says of it. */
void ph_span_keep(struct pheap *heap, uint64_t block);

/*
 * Which object of a slab is `inside` bytes into it, by the product of that and the
 * reciprocal: the quotient is its upper word, and an object begins there if and only if
 * the lower one, the fraction, is less than the reciprocal. Exact for sizes from 16 bytes
 * on and offsets below a megabyte. Of a large object the quotient is 0, and none begins.
 */
struct ph_product {
	uint64_t quotient, fraction;
};

static inline uint64_t ph_reciprocal(uint64_t size)
{
	return UINT64_MAX / size + 1;
}

static inline struct ph_product ph_product(uint64_t inside, uint64_t reciprocal)
{
	return (struct ph_product){(uint64_t)((ph_uint128)inside * reciprocal >> 64),
				   inside * reciprocal};
}

/* The span that covers a granule, loaded from media; NULL: none, or no memory (errno). */
struct ph_slab *ph_span_load(struct pheap *heap, uint32_t granule) __attribute__((cold));

/*
 * The object in which an offset lies, loading its span from media where that
 * has not been done. False where there is none. Says nothing of its state.
 */
static ph_inline bool ph_object_find(struct pheap *heap, uint64_t offset, struct ph_object *object)
{
	const struct ph_zone *zone = &heap->zone;
	uint64_t granule = (offset - zone->data) >> PM_GRANULE_SHIFT, start, size;
	struct ph_slab *slab = NULL;

	if (ph_likely(granule < zone->granules)) { /* not before the data area either */
		slab = __atomic_load_n(&zone->map[granule].slab, __ATOMIC_ACQUIRE);
		if (ph_unlikely(!slab))
			slab = ph_span_load(heap, (uint32_t)granule);
	}
	if (ph_unlikely(!slab || PH_SEEN(slab, kind) == PM_KIND_LANE)) {
		*object = (struct ph_object){0};
		return false;
	}
	start = PH_SEEN(slab, start);
	size = PH_SEEN(slab, size);
	object->slab = slab;
	object->index = (uint32_t)ph_product(offset - start, PH_SEEN(slab, reciprocal)).quotient;
	object->start = start + object->index * size;
	/* Behind the last object of a slab, or of a large object's last granule. */
	return object->index < PH_SEEN(slab, objects) && offset < object->start + size;
}

/* Does a descriptor look as one must, to be believed? The checker looks at the rest. */
bool ph_span_believable(const struct pm_zone *zone, const struct pm_span *span, uint32_t granule);

/* Objects in the span of a believable descriptor of a slab. */
static inline uint32_t ph_span_objects(const struct pm_span *span)
{
	return span->flags & PM_SPAN_COUNTED ? ph_counted_objects(span->size_class)
					     : ph_classes[span->size_class].objects;
}

/* Offset of the counts of a span of objects: where its first byte and its bitmap are. */
uint64_t ph_span_side(uint64_t start, uint64_t bits, uint32_t objects);

/* Let objects of a slab go to this cache when its thread frees them; central.lock. */
void ph_span_set_home(struct pheap *heap, const struct ph_slab *slab, const struct ph_tcache *home);

/*
 * The first born span of objects that begins at a granule or behind it: *granule becomes
 * where, *span its descriptor. *slab: its state, NULL where it has not been loaded. False:
 * there is none. Under zone.lock; loads nothing.
 */
bool ph_span_next(struct pheap *heap, uint32_t *granule, struct pm_span *span,
		  struct ph_slab **slab);

/* Is what was found still there? For a second look under stripes: takes no lock. */
static inline bool ph_object_still(const struct pheap *heap, const struct ph_object *object)
{
	const struct ph_slab *slab = object->slab;
	uint64_t granule = (object->start - heap->zone.data) >> PM_GRANULE_SHIFT;

	return __atomic_load_n(&heap->zone.map[granule].slab, __ATOMIC_ACQUIRE) == slab &&
	       PH_SEEN(slab, start) + object->index * PH_SEEN(slab, size) == object->start;
}

/* Load unloaded slabs, looking at so many spans; their free objects go to
 * central lists. False when there is nothing left to look at. */
bool ph_span_discover(struct pheap *heap, unsigned spans);

/* The same ahead of need, before a new slab of so many objects is made: some spans, at
 * the pace at which objects are handed out. */
bool ph_span_discover_ahead(struct pheap *heap, uint32_t objects);

static inline const struct ph_granule *ph_granule_at(const struct pheap *heap, const char *ptr)
{
	return &heap->zone.map[(uint64_t)(ptr - heap->zone.first) >> PM_GRANULE_SHIFT];
}

/* The span of an address that is known to lie in a loaded one. */
static inline struct ph_slab *ph_slab_at(const struct pheap *heap, const char *ptr)
{
	return __atomic_load_n(&ph_granule_at(heap, ptr)->slab, __ATOMIC_ACQUIRE);
}

static inline uint8_t *ph_state_of(const struct ph_object *object)
{
	return &object->slab->state[object->index];
}

static inline uint8_t ph_state(const struct ph_object *object)
{
	return __atomic_load_n(&object->slab->state[object->index], __ATOMIC_RELAXED);
}

/* Why an address is refused that is not where a reserved object starts; object NULL: in none. */
int ph_reserved_refuse(const char *what, const void *ptr, uint64_t offset,
		       const struct ph_object *object) __attribute__((cold));

/* The reserved object that starts at ptr; else a message that begins with what,
 * and -EINVAL. */
static inline int ph_reserved_find(struct pheap *heap, const char *what, const void *ptr,
				   struct ph_object *object)
{
	uint64_t offset = ph_off(heap, ptr);
	bool found = ph_object_find(heap, offset, object);

	if (ph_likely(found && object->start == offset && ph_state(object) == PH_RESERVED))
		return 0;
	return ph_reserved_refuse(what, ptr, offset, found ? object : NULL);
}

static inline void ph_set_state(uint8_t *state, enum ph_state value)
{
	__atomic_store_n(state, (uint8_t)value, __ATOMIC_RELAXED);
}

#endif
