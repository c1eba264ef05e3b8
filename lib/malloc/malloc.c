/*
 * malloc.c - malloc and free, and what C, POSIX and glibc have beside them.
 *
 * All alignments are 16 or what was asked for: sizes are rounded up to a multiple of 16,
 * so that they get the classes whose objects all begin at one. A request of 0 bytes is one
 * of 16. A pointer that is none of a block in use ends the process with a message.
 *
 * The usual call is one of the core's. Only where that fails it is asked why: no heap yet
 * (M2), debug mode (M5), a thread that has ended (M3), or no memory.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/debug.h"
#include "alloc/large.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "process.h"

#define ALIGNMENT ((size_t)16)
#define PAGE ((size_t)4096)
#define API PHEAP_API

static inline size_t rounded(size_t size)
{
	return size ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
}

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* ---- allocate ------------------------------------------------------------------------- */

/* Above the granule's alignment: a span that begins where it must. */
static void *alloc_span(size_t alignment, size_t size)
{
	struct ph_slab *slab;

	return !ph_process || ph_large_reserve_aligned(ph_process, size, alignment, &slab)
		       ? NULL
		       : ph_at(ph_process, slab->start);
}

static void *alloc_in_heap(size_t alignment, size_t size)
{
	if (alignment <= ALIGNMENT)
		return pheap_alloc(ph_process, rounded(size));
	if (alignment <= PM_GRANULE)
		return pheap_aligned_alloc(ph_process, alignment, rounded(size));
	return alloc_span(alignment, rounded(size));
}

/* By whatever heap there is. Debug mode is told what was asked for, or a byte for none. */
static void *alloc_once(size_t alignment, size_t size)
{
	return ph_process_debugged ? ph_debug_alloc(ph_process_debugged, alignment, size + !size)
				   : alloc_in_heap(alignment, size);
}

/* The usual call has failed. */
static __attribute__((noinline)) void *alloc_otherwise(size_t alignment, size_t size)
{
	struct pheap *heap = ph_process_heap();
	void *ptr;

	if (size > PTRDIFF_MAX)
		return no_memory();
	if (!heap && !ph_process_start()) {
		ptr = ph_boot_alloc(size, alignment);
	} else if (heap && ph_tcache_ended()) {
		if (!ph_tcache_borrow(heap))
			return no_memory();
		ptr = alloc_once(alignment, size);
		ph_tcache_return();
	} else {
		ptr = alloc_once(alignment, size);
	}
	return ptr ? ptr : no_memory();
}

/* Below, nothing calls malloc() or free() by name: compilers know what these do, and make
 * a calloc() of malloc() and memset(). */
static inline void *alloc(size_t size)
{
	void *ptr = pheap_alloc(ph_process, rounded(size));

	return ph_likely(ptr != NULL) ? ptr : alloc_otherwise(ALIGNMENT, size);
}

API __attribute__((aligned(64))) void *malloc(size_t size)
{
	return alloc(size);
}

API void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *ptr;

	if (__builtin_mul_overflow(n, size, &bytes))
		return no_memory();
	ptr = alloc(bytes);
	if (ph_likely(ptr && !(bytes > PH_SMALL_MAX && ph_span_is_zero(ph_process_heap(), ptr))))
		memset(ptr, 0, bytes);
	return ptr;
}

static bool power_of_two(size_t alignment)
{
	return alignment && !(alignment & (alignment - 1));
}

static void *alloc_aligned(size_t alignment, size_t size)
{
	void *ptr = size <= PTRDIFF_MAX ? alloc_in_heap(alignment, size) : NULL;

	return ph_likely(ptr != NULL) ? ptr : alloc_otherwise(alignment, size);
}

API void *memalign(size_t alignment, size_t size)
{
	if (power_of_two(alignment))
		return alloc_aligned(alignment, size);
	errno = EINVAL;
	return NULL;
}

API void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

API int posix_memalign(void **result, size_t alignment, size_t size)
{
	int saved = errno;
	void *ptr;

	if (!power_of_two(alignment) || alignment % sizeof(void *))
		return EINVAL;
	ptr = alloc_aligned(alignment, size);
	errno = saved;
	if (!ptr)
		return ENOMEM;
	*result = ptr;
	return 0;
}

API void *valloc(size_t size)
{
	return alloc_aligned(PAGE, size);
}

API void *pvalloc(size_t size)
{
	return size > PTRDIFF_MAX ? no_memory()
				  : alloc_aligned(PAGE, (size + PAGE - 1) / PAGE * PAGE);
}

/* ---- free ------------------------------------------------------------------------------- */

static __attribute__((noinline)) void free_otherwise(void *ptr)
{
	int saved = errno;

	if (ph_boot_owns(ptr))
		return;
	if (!ph_process_debugged || ph_debug_free(ph_process_debugged, ptr))
		ph_process_fail("free");
	errno = saved;
}

static inline void release(void *ptr)
{
	if (ph_unlikely(pheap_free(ph_process, ptr) && ptr))
		free_otherwise(ptr);
}

API __attribute__((aligned(64))) void free(void *ptr)
{
	release(ptr);
}

API void cfree(void *ptr); /* no header has it any more */
API void cfree(void *ptr)
{
	release(ptr);
}

/* ---- size --------------------------------------------------------------------------------- */

static size_t usable_size(const char *function, void *ptr)
{
	size_t size;

	if (ph_boot_owns(ptr))
		return ph_boot_size(ptr);
	size = ph_process_debugged ? ph_debug_size(ph_process_debugged, function, ptr)
				   : pheap_usable_size(ph_process, ptr);
	if (ph_unlikely(!size))
		ph_process_fail(function);
	return size;
}

API size_t malloc_usable_size(void *ptr)
{
	return ptr ? usable_size("malloc_usable_size", ptr) : 0;
}

/* The core moves a block, unless this thread has ended or the block is not the heap's. */
static __attribute__((noinline)) void *realloc_otherwise(void *ptr, size_t size)
{
	size_t old = usable_size("realloc", ptr);
	void *moved = alloc(size);

	if (!moved)
		return NULL;
	memcpy(moved, ptr, old < size ? old : size);
	release(ptr);
	return moved;
}

API void *realloc(void *ptr, size_t size)
{
	void *moved;

	if (!ptr)
		return alloc(size);
	if (!size) { /* as glibc does */
		release(ptr);
		return NULL;
	}
	if (ph_unlikely(size > PTRDIFF_MAX))
		return no_memory();
	moved = pheap_realloc(ph_process, ptr, rounded(size));
	return ph_likely(moved != NULL) ? moved : realloc_otherwise(ptr, size);
}

API void *reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? no_memory() : realloc(ptr, bytes);
}

/* ---- the rest of glibc's ----------------------------------------------------------------------
 */

/* What this thread and the heap keep goes back to the system; 1: something may have. */
API int malloc_trim(size_t pad)
{
	(void)pad;
	return ph_process_heap() && !pheap_purge(ph_process_heap(), PHEAP_PUNCH_HOLES);
}

/* Names under which glibc has had the same functions: its own would give memory that our
 * free() does not know. */
#if __has_attribute(copy) /* or gcc warns that the alias lacks what its target has */
#define SAME_AS(function) alias(#function), copy(function)
#else
#define SAME_AS(function) alias(#function)
#endif
#define ALSO(name, function)                  \
	API extern __typeof__(function) name; \
	extern __typeof__(function) name __attribute__((SAME_AS(function)))

ALSO(__libc_malloc, malloc);
ALSO(__libc_calloc, calloc);
ALSO(__libc_realloc, realloc);
ALSO(__libc_free, free);
ALSO(__libc_memalign, memalign);
ALSO(__libc_valloc, valloc);
ALSO(__libc_pvalloc, pvalloc);
ALSO(__posix_memalign, posix_memalign);
