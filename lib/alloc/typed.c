/*
 * typed.c - reserve objects of a type. See pheap/type.h.
 *
 * References of a new object are null before anyone can find it, so that it can be looked
 * into at any time. Of arrays, and where a callback looks, that is the whole block.
 */
#include "alloc.h"

#include "span.h"
#include "types.h"

/* Are references found by going over the whole block? */
static bool whole_block(const struct pheap_type *type)
{
	return type->flags & PHEAP_TYPE_CALLBACK ||
	       (type->flags & PHEAP_TYPE_ARRAY && type->nrefs + type->nweak);
}

static uint64_t block_of(const struct pheap *heap, const void *ptr)
{
	return ph_slab_at(heap, ptr)->size;
}

static void clear_references(const struct pheap_type *type, char *object)
{
	if (whole_block(type)) {
		memset(object, 0, block_of(type->heap, object));
		return;
	}
	for (uint32_t i = 0; i < type->nrefs; i++)
		*(pheap_ref *)(void *)(object + type->refs[i]) = PHEAP_NULL;
	for (uint32_t i = 0; i < type->nweak; i++)
		*(pheap_ref *)(void *)(object + type->weak[i]) = PHEAP_NULL;
}

static void *refuse(const pheap_type_t *type, const char *what)
{
	if (!type)
		return ph_null(EINVAL, "%s: the type is NULL", what);
	return ph_null(EINVAL, "%s: objects of \"%s\" are %s", what, type->name,
		       type->flags & PHEAP_TYPE_ARRAY
			       ? "arrays: use pheap_alloc_array()"
			       : "single: use pheap_alloc_typed(), or PHEAP_TYPE_ARRAY");
}

/* ---- single ------------------------------------------------------------------------- */

PHEAP_API void *pheap_alloc_typed(pheap_type_t *type)
{
	char *object;

	if (ph_unlikely(!type || type->flags & PHEAP_TYPE_ARRAY))
		return refuse(type, "pheap_alloc_typed");
	object = ph_likely(type->shape) ? ph_alloc_shape(type->heap, type->shape)
					: ph_alloc_of(type->heap, type->id, type->size);
	if (object)
		clear_references(type, object);
	return object;
}

PHEAP_API void *pheap_zalloc_typed(pheap_type_t *type)
{
	void *object = pheap_alloc_typed(type);

	if (object)
		memset(object, 0, type->size);
	return object;
}

/* ---- arrays --------------------------------------------------------------------------- */

PHEAP_API void *pheap_alloc_array(pheap_type_t *type, size_t n)
{
	uint64_t bytes;
	void *array;

	if (!type || !(type->flags & PHEAP_TYPE_ARRAY))
		return refuse(type, "pheap_alloc_array");
	if (!n)
		return ph_null(EINVAL, "pheap_alloc_array: n is 0");
	if (__builtin_mul_overflow(type->size, n, &bytes))
		bytes = UINT64_MAX; /* too large for any pool */
	array = ph_alloc_of(type->heap, type->id, bytes);
	if (array && whole_block(type))
		memset(array, 0, block_of(type->heap, array));
	return array;
}

PHEAP_API void *pheap_zalloc_array(pheap_type_t *type, size_t n)
{
	void *array = pheap_alloc_array(type, n);

	if (array && !whole_block(type))
		memset(array, 0, n * type->size);
	return array;
}

/* ---- other sizes ------------------------------------------------------------------------ */

int ph_typed_size(struct pheap *heap, const char *what, uint32_t id, uint64_t size)
{
	const struct pheap_type *type = ph_type(heap, id);

	if (!type)
		return ph_error(EUCLEAN, "%s: type %u of the object is damaged: run a check", what,
				id);
	if (!(type->flags & PHEAP_TYPE_ARRAY) && size != type->size)
		return ph_error(EINVAL, "%s: all objects of \"%s\" have %llu bytes", what,
				type->name, (unsigned long long)type->size);
	if (size % type->size)
		return ph_error(EINVAL, "%s: elements of \"%s\" have %llu bytes each", what,
				type->name, (unsigned long long)type->size);
	return 0;
}

void *ph_alloc_like(struct pheap *heap, const struct ph_object *object, uint64_t size)
{
	const struct pheap_type *type = ph_type(heap, PH_SEEN(object->slab, type));
	char *ptr = ph_alloc_of(heap, type ? type->id : 0, size);

	if (ptr && type && whole_block(type))
		memset(ptr, 0, block_of(heap, ptr));
	return ptr;
}
