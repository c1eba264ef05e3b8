/*
 * alloc.c - reserve, resize and free what is not published: the public side of
 * the allocator.
 */
#include "alloc.h"
#include "block.h"
#include "debug.h"
#include "large.h"
#include "slab.h"
#include "span.h"
#include "tcache.h"
#include "traced.h"

#include "tx/lane.h"

/* ---- reserve -------------------------------------------------------------------- */

static void *alloc_large(struct pheap *heap, uint32_t type, uint64_t size)
{
	struct ph_tcache *cache = ph_tcache_get(heap);
	struct ph_slab *slab;
	int err;

	if (!cache)
		return NULL;
	err = ph_large_reserve(heap, type, size, &slab);
	if (err == -ENOSPC && size <= (uint64_t)heap->zone.granules * PM_GRANULE) {
		ph_tcache_flush(cache); /* what this thread itself holds */
		err = ph_large_reserve(heap, type, size, &slab);
	}
	if (!err && heap->traced)
		err = ph_traced_bear(heap, slab);
	return err ? ph_null_code(err) : ph_at(heap, slab->start);
}

static void *reserve_shape(struct pheap *heap, unsigned shape)
{
	struct ph_tcache *cache = ph_tcache_get(heap);
	struct ph_cached object;

	if (!cache)
		return NULL;
	if (cache->mag[shape].top == cache->mag[shape].base && !ph_tcache_refill(cache, shape)) {
		/* No run for a slab of several granules; perhaps for one object. */
		const struct ph_class *class = &ph_classes[ph_shape_class(heap, shape)];

		return errno == ENOSPC && class->granules > 1
			       ? alloc_large(heap, ph_shape_type(heap, shape), class->size)
			       : NULL;
	}
	object = *--cache->mag[shape].top;
	ph_set_state(object.state, PH_RESERVED);
	return object.ptr;
}

/* The magazine was empty, this thread has none, or the heap is in debug mode. */
static __attribute__((noinline)) void *alloc_refill(struct pheap *heap, size_t size, unsigned shape,
						    size_t alignment)
{
	int err = ph_heap_writable(heap, "pheap_alloc");

	if (err)
		return ph_null_code(err);
	return ph_unlikely(heap->debug != NULL) ? ph_debug_alloc(heap, alignment, size)
						: reserve_shape(heap, shape);
}

static inline void *alloc_shape(struct pheap *heap, size_t size, unsigned shape, size_t alignment)
{
	struct ph_magazine *mag;
	struct ph_cached *top;

	if (ph_unlikely(ph_tls.id != heap->fast_id))
		return alloc_refill(heap, size, shape, alignment);
	mag = &ph_tls.cache->mag[shape];
	top = mag->top;
	if (ph_unlikely(top == mag->base))
		return alloc_refill(heap, size, shape, alignment);
	mag->top = --top;
	ph_set_state(top->state, PH_RESERVED);
	return top->ptr;
}

/* Without a class by size alone; errors among it. */
static __attribute__((noinline)) void *alloc_slow(struct pheap *heap, size_t alignment, size_t size)
{
	int err = ph_heap_writable(heap, "pheap_alloc");
	unsigned cls;

	if (err)
		return ph_null_code(err);
	if (!size)
		return ph_null(EINVAL, "pheap_alloc: size is 0");
	if (size > PHEAP_MAX_SIZE)
		return ph_null(ENOSPC, "pheap_alloc: %zu bytes are more than any pool has", size);
	if (ph_unlikely(heap->debug != NULL))
		return ph_debug_alloc(heap, alignment, size);
	cls = ph_medium_class(size);
	if (cls < PH_CLASSES && ph_classes[cls].size % alignment == 0)
		return alloc_shape(heap, size, cls, alignment);
	return alloc_large(heap, 0, size);
}

/* From the start of a line: some twentieth of the time of a reserve and a free. */
#define FROM_A_LINE __attribute__((aligned(64)))

PHEAP_API FROM_A_LINE void *pheap_alloc(pheap_t *heap, size_t size)
{
	if (ph_likely(heap && size - 1 < PH_TINY_MAX))
		return alloc_shape(heap, size, ph_tiny_class[(size - 1) / 8 + 1], 1);
	if (ph_likely(heap && size - 1 < PH_SMALL_MAX))
		return alloc_shape(heap, size, ph_class_of(size), 1);
	return alloc_slow(heap, 1, size);
}

/* Debug mode is for volatile heaps, which have no types. */
void *ph_alloc_shape(struct pheap *heap, unsigned shape)
{
	return alloc_shape(heap, 0, shape, 1);
}

void *ph_alloc_of(struct pheap *heap, uint32_t type, uint64_t size)
{
	unsigned cls;

	if (!type)
		return pheap_alloc(heap, size);
	if (size > PHEAP_MAX_SIZE)
		return ph_null(ENOSPC, "an object of %llu bytes is more than any pool has",
			       (unsigned long long)size);
	cls = size <= PH_SMALL_MAX ? ph_class_of(size) : ph_medium_class(size);
	if (cls < PH_CLASSES)
		return ph_alloc_shape(heap, ph_shape(heap, type, cls));
	return ph_heap_writable(heap, "pheap_alloc_typed") ? NULL : alloc_large(heap, type, size);
}

PHEAP_API void *pheap_zalloc(pheap_t *heap, size_t size)
{
	void *ptr = pheap_alloc(heap, size);

	if (ptr)
		memset(ptr, 0, size);
	return ptr;
}

PHEAP_API void *pheap_aligned_alloc(pheap_t *heap, size_t alignment, size_t size)
{
	unsigned cls;

	if (!alignment || alignment & (alignment - 1) || alignment > PM_GRANULE)
		return ph_null(
			EINVAL,
			"pheap_aligned_alloc: alignment %zu is not a power of two up to 65536",
			alignment);
	if (!heap || size - 1 >= PH_SMALL_MAX)
		return alloc_slow(heap, alignment, size);
	/* The tightest class whose objects all lie at a multiple of alignment. */
	for (cls = ph_class_of(size); ph_classes[cls].size % alignment; cls++)
		;
	return alloc_shape(heap, size, cls, alignment);
}

void *ph_block_alloc(struct pheap *heap, uint64_t alignment, uint64_t bytes, bool span)
{
	struct ph_slab *slab;
	unsigned cls;
	int err;

	if (!span && bytes <= PH_SMALL_MAX && alignment <= PM_GRANULE) {
		for (cls = ph_class_of(bytes); ph_classes[cls].size % alignment; cls++)
			;
		return reserve_shape(heap, cls);
	}
	if (alignment <= PM_GRANULE)
		return alloc_large(heap, 0, bytes);
	err = ph_large_reserve_aligned(heap, bytes, alignment, &slab);
	return err ? ph_null_code(err) : ph_at(heap, slab->start);
}

/* ---- free ------------------------------------------------------------------------- */

static const char *why_not(enum ph_state state)
{
	switch (state) {
	case PH_FREE:
	case PH_LIMBO:
		return "is free already";
	case PH_PUBLISHED:
	case PH_DYING:
		return "is published: retire it through its slot";
	case PH_TX:
		return "belongs to a transaction: use pheap_tx_free()";
	default:
		return "is not reserved";
	}
}

int ph_reserved_refuse(const char *what, const void *ptr, uint64_t offset,
		       const struct ph_object *object)
{
	if (!object)
		return ph_error(EINVAL, "%s: %p is no object of this heap", what, ptr);
	if (object->start != offset)
		return ph_error(EINVAL, "%s: %p lies %llu bytes inside an object", what, ptr,
				(unsigned long long)(offset - object->start));
	return ph_error(EINVAL, "%s: the object at %p %s", what, ptr, why_not(ph_state(object)));
}

static int free_object(struct pheap *heap, struct ph_tcache *cache, const struct ph_object *object)
{
	struct ph_cached cached = {ph_at(heap, object->start), ph_state_of(object)};
	struct ph_slab *slab = object->slab;

	if (slab->kind == PM_KIND_LARGE) {
		ph_large_free(heap, slab, false); /* H3: nothing has written to it */
	} else if (ph_likely(cache != NULL)) {
		ph_tcache_push(cache, slab, cached.ptr, cached.state);
	} else { /* no DRAM for a cache: free never allocates */
		ph_set_state(cached.state, PH_FREE);
		ph_slab_give(heap, slab->shape, &cached, 1);
	}
	return 0;
}

/* Whatever the fast path below does not do, errors among it. */
static __attribute__((noinline)) int free_slow(struct pheap *heap, void *ptr)
{
	struct ph_tcache *cache;
	struct ph_object object;
	int err;

	if (!ptr)
		return 0;
	if (ph_unlikely(!heap || ph_tls.id != heap->id) &&
	    (err = ph_heap_writable(heap, "pheap_free")))
		return err;
	if (ph_unlikely(heap->debug != NULL))
		return ph_debug_free(heap, ptr);
	cache = ph_tcache_get(heap);
	if (heap->traced && (err = ph_traced_find_logged(heap, ptr, &object))) {
		if (err < 0)
			return err;
		ph_tcache_retire(heap, cache, &object); /* H3: live records may write into it */
		return 0;
	}
	if (ph_unlikely((err = ph_reserved_find(heap, "pheap_free", ptr, &object))))
		return err;
	return free_object(heap, cache, &object);
}

void ph_block_free(struct pheap *heap, const struct ph_object *object)
{
	free_object(heap, ph_tcache_get(heap), object);
}

/* The magazine is full. */
static __attribute__((noinline)) int free_full(struct ph_slab *slab, void *ptr, uint8_t *state)
{
	ph_tcache_push(ph_tls.cache, slab, ptr, state);
	return 0;
}

/* The slab is another thread's, and so may be the line of the state: it is fetched to be
 * written at once, not first to be read and then once more. */
static __attribute__((noinline)) int free_elsewhere(struct pheap *heap, struct ph_slab *slab,
						    void *ptr, uint8_t *state)
{
	ph_fetch_to_write(state);
	if (ph_unlikely(__atomic_load_n(state, __ATOMIC_RELAXED) != PH_RESERVED))
		return free_slow(heap, ptr);
	ph_tcache_push(ph_tls.cache, slab, ptr, state);
	return 0;
}

static ph_inline bool is_reserved(const uint8_t *state)
{
	return ph_likely(__atomic_load_n(state, __ATOMIC_RELAXED) == PH_RESERVED);
}

/*
 * Where the state is of the small object that begins at ptr, where this thread used this heap
 * last; NULL: all else. It may be the place behind a slab's last object, which is FREE.
 */
static ph_inline uint8_t *find_state(const struct pheap *heap, const void *ptr,
				     const struct ph_granule **granule, struct ph_slab **slab)
{
	struct ph_product product;
	uint64_t inside;

	if (ph_unlikely(!heap || ph_tls.id != heap->fast_id))
		return NULL;
	inside = (uintptr_t)ptr - (uintptr_t)heap->zone.first;
	if (ph_unlikely(inside >= heap->zone.bytes))
		return NULL;
	*granule = &heap->zone.map[inside >> PM_GRANULE_SHIFT];
	*slab = __atomic_load_n(&(*granule)->slab, __ATOMIC_ACQUIRE);
	product = ph_product((*granule)->before + inside % PM_GRANULE, (*granule)->reciprocal);
	if (ph_unlikely(product.fraction >= (*granule)->reciprocal)) /* there may be no slab */
		return NULL;
	return &(*slab)->state[product.quotient];
}

/*
 * The common case in some thirty instructions: this thread used this heap last, the
 * object is reserved and small, ptr is where it begins, its slab is this thread's and
 * the magazine has room.
 */
PHEAP_API FROM_A_LINE int pheap_free(pheap_t *heap, void *ptr)
{
	struct ph_tcache *cache;
	struct ph_magazine *mag;
	struct ph_cached *top;
	const struct ph_granule *granule;
	struct ph_slab *slab;
	uint8_t *state = find_state(heap, ptr, &granule, &slab);

	if (ph_unlikely(!state))
		return free_slow(heap, ptr);
	cache = ph_tls.cache;
	if (ph_unlikely(!ph_at_home(cache, granule)))
		return free_elsewhere(heap, slab, ptr, state);
	if (ph_unlikely(!is_reserved(state)))
		return free_slow(heap, ptr);
	mag = ph_magazine_of(cache, granule);
	top = mag->top;
	if (ph_unlikely(top == mag->limit))
		return free_full(slab, ptr, state);
	mag->top = top + 1;
	ph_set_state(state, PH_FREE);
	top->ptr = ptr;
	top->state = state;
	return 0;
}

/* ---- size ------------------------------------------------------------------------- */

PHEAP_API size_t pheap_usable_size(pheap_t *heap, const void *ptr)
{
	struct ph_object object;
	int err = ph_heap_usable(heap, "pheap_usable_size");

	if (!err && ph_unlikely(heap->debug != NULL))
		return ph_debug_size(heap, "pheap_usable_size", ptr);
	if (!err && ph_object_find(heap, ph_off(heap, ptr), &object) &&
	    object.start == ph_off(heap, ptr) && ph_state(&object) >= PH_RESERVED)
		return object.slab->size;
	if (!err)
		err = ph_error(EINVAL, "pheap_usable_size: %p is no object of this heap", ptr);
	errno = -err;
	return 0;
}

/* What is in the block of `old` bytes goes to another one, if there is one. */
static inline void *moved_to(struct pheap *heap, void *ptr, uint64_t old, void *moved, size_t size)
{
	if (!moved)
		return NULL;
	memcpy(moved, ptr, size < old ? size : old);
	pheap_free(heap, ptr);
	return moved;
}

/* In place while no smaller class than half the block would do. */
static inline bool stays(uint64_t old, size_t size)
{
	return size <= old && size > old / 2;
}

static __attribute__((noinline)) void *realloc_slow(struct pheap *heap, void *ptr, size_t size)
{
	struct ph_object object;
	uint64_t old;
	int err;

	if (!ptr)
		return pheap_alloc(heap, size);
	err = ph_heap_writable(heap, "pheap_realloc");
	if (!err)
		err = ph_reserved_find(heap, "pheap_realloc", ptr, &object);
	if (!err && !size)
		err = ph_error(EINVAL, "pheap_realloc: size is 0: use pheap_free()");
	if (err)
		return ph_null_code(err);
	if (ph_unlikely(heap->debug != NULL))
		return ph_debug_realloc(heap, ptr, size);
	old = object.slab->size;
	if (object.slab->type &&
	    (err = ph_typed_size(heap, "pheap_realloc", object.slab->type, size)))
		return ph_null_code(err);
	if (stays(old, size))
		return ptr;
	return moved_to(heap, ptr, old, ph_alloc_like(heap, &object, size), size);
}

PHEAP_API FROM_A_LINE void *pheap_realloc(pheap_t *heap, void *ptr, size_t size)
{
	const struct ph_granule *granule;
	struct ph_slab *slab;
	const uint8_t *state = size ? find_state(heap, ptr, &granule, &slab) : NULL;

	if (ph_unlikely(!state || !is_reserved(state) || slab->type))
		return realloc_slow(heap, ptr, size);
	if (stays(slab->size, size))
		return ptr;
	return moved_to(heap, ptr, slab->size, pheap_alloc(heap, size), size);
}
