/*
 * prefetch.c - load what an object refers to, by its type. See pheap/type.h.
 */
#include "alloc/span.h"
#include "types.h"

struct ahead {
	const struct pheap *heap;
	size_t size;
};

static void prefetch_slot(void *arg, pheap_ref *slot)
{
	const struct ahead *ahead = arg;

	pheap_prefetch(ahead->heap, __atomic_load_n(slot, __ATOMIC_RELAXED), ahead->size);
}

PHEAP_API void pheap_prefetch_typed(const pheap_type_t *type, const void *object, size_t size)
{
	struct ph_object found;
	struct ahead ahead = {.size = size};
	uint64_t offset;
	int saved = errno;

	if (!type || !object)
		return;
	ahead.heap = type->heap;
	offset = ph_off(type->heap, object);
	/* An array's elements are those of its block. */
	if (ph_object_find(type->heap, offset, &found) && found.start == offset)
		ph_type_visit(type, ph_at(type->heap, offset), found.slab->size, prefetch_slot,
			      &ahead);
	errno = saved;
}
