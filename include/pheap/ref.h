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
 * The start of struct pheap, for inline functions here and in gc.h, and for nothing
 * else: where the pool is mapped, how many bytes of it there are, and whether a
 * collection waits for threads.
 */
struct pheap_view {
	char *base;
	uint64_t size;
	uint64_t stop;
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
 * The open heap that an address lies in. Errors: NULL and EINVAL for an address in none.
 * Takes time in the number of open heaps, and no lock. No fence, thread-safe; but no other
 * thread may be closing that heap.
 */
PHEAP_API pheap_t *pheap_heap_of(const void *addr);

/*
 * Where to look for a number that changes whenever a heap is opened or closed: what
 * pheap_heap_of() said of an address stays true until then. Read it with acquire. Never
 * fails, always the same address. No fence, thread-safe.
 */
PHEAP_API const uint64_t *pheap_heaps_changed(void);

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

/* Bytes of an object that are loaded ahead of use, at most. */
#define PHEAP_PREFETCH_MAX 512

/*
 * Start loading the first size bytes behind a reference into the cache, at most
 * PHEAP_PREFETCH_MAX of them. Worth it where the object is used some hundred instructions
 * later. The null reference and one outside the pool do nothing; never fails, and leaves
 * errno alone. No fence, thread-safe.
 */
static inline void pheap_prefetch(const pheap_t *heap, pheap_ref ref, size_t size)
{
	const struct pheap_view *view = (const struct pheap_view *)heap;
	uint64_t end;

	if (ref == PHEAP_NULL || ref >= view->size)
		return;
	if (size > PHEAP_PREFETCH_MAX)
		size = PHEAP_PREFETCH_MAX;
	end = size < view->size - ref ? ref + size : view->size;
	for (uint64_t line = ref & ~UINT64_C(63); line < end; line += 64)
		__builtin_prefetch(view->base + line);
}

/*
 * The same, size bytes each, for n references inside an object, which lie offsets[0] to
 * offsets[n - 1] bytes from its start, at multiples of 8. The object itself is read.
 */
static inline void pheap_prefetch_refs(const pheap_t *heap, const void *object,
				       const uint32_t *offsets, size_t n, size_t size)
{
	for (size_t i = 0; i < n; i++) {
		const char *slot = (const char *)object + offsets[i];

		pheap_prefetch(
			heap,
			__atomic_load_n((const pheap_ref *)(const void *)slot, __ATOMIC_RELAXED),
			size);
	}
}

/* Of a typed reference: all of an object of its type, up to the maximum. */
#define PHEAP_PREFETCH(heap, typed) pheap_prefetch((heap), (typed).ref, sizeof(*(typed).as))

#ifdef __cplusplus
}
#endif
#endif
