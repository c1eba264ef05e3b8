/*
 * pheap/ref.h - references and pointers, and references that know their type.
 */
#ifndef PHEAP_REF_H
#define PHEAP_REF_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The start of struct pheap, for the inline functions below and for nothing
 * else: where the pool is mapped and how many bytes of it there are.
 */
struct pheap_view {
	char *base;
	uint64_t size;
};

/* What pheap_ptr() and pheap_ref_of() call on misuse: errno EINVAL, NULL or 0. */
PHEAP_API void *pheap_ptr_error(const pheap_t *heap, pheap_ref ref);
PHEAP_API pheap_ref pheap_ref_error(const pheap_t *heap, const void *ptr);

/*
 * The address behind a reference; NULL for the null reference. A reference
 * outside the pool: NULL and EINVAL. No fence, thread-safe.
 */
static inline void *pheap_ptr(const pheap_t *heap, pheap_ref ref)
{
	const struct pheap_view *view = (const struct pheap_view *)heap;

	if (ref == PHEAP_NULL)
		return NULL;
	if (ref >= view->size)
		return pheap_ptr_error(heap, ref);
	return view->base + ref;
}

/*
 * The reference to an address in the pool; the null reference for NULL. An
 * address outside the pool: 0 and EINVAL. No fence, thread-safe.
 */
static inline pheap_ref pheap_ref_of(const pheap_t *heap, const void *ptr)
{
	const struct pheap_view *view = (const struct pheap_view *)heap;
	uint64_t offset = (uint64_t)((uintptr_t)ptr - (uintptr_t)view->base);

	if (!ptr)
		return PHEAP_NULL;
	if (offset == 0 || offset >= view->size)
		return pheap_ref_error(heap, ptr);
	return offset;
}

/*
 * Typed references: 8 bytes on media, as a plain one.
 *
 *	struct node { PHEAP_REF(struct node) next; int value; };
 *	struct node *n = PHEAP_PTR(heap, list->next);
 *	pheap_retire(heap, &list->next.ref);
 */
#define PHEAP_REF(type)        \
	union {                \
		pheap_ref ref; \
		type *as;      \
	}
#define PHEAP_PTR(heap, typed) ((__typeof__((typed).as))pheap_ptr((heap), (typed).ref))

#ifdef __cplusplus
}
#endif
#endif
