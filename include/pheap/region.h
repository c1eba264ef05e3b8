/*
 * pheap/region.h - memory of a request: given back as a whole, with what hangs on it.
 *
 * A region is an arena (pheap/arena.h) for work that takes many objects, small and
 * large, and other things that have to be let go of at its end: files, locks, objects
 * of other libraries. Small objects come from blocks that they share; a large one has
 * memory of its own, which can be given back early. *Handlers* are called when the
 * region ends, the last one first. A region may have children, which end with it, or
 * before it.
 *
 * Memory comes from DRAM or from a heap. In a heap with a pool it is reserved, as by
 * pheap_alloc(), and nothing of a region outlives a crash or a close. No function here
 * takes a fence.
 *
 * A region, its parents and its children belong to one thread at a time; other regions
 * are independent.
 *
 * Source: pools of request lifetime, as in web servers; region allocation as in
 * pheap/arena.h.
 */
#ifndef PHEAP_REGION_H
#define PHEAP_REGION_H

#include <pheap/arena.h>
#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pheap_region pheap_region_t;

/* Flags. */
enum {
	/* Hand out again what pheap_region_recycle() was given, by size class (pheap/alloc.h):
	 * blocks are rounded up to their class, and allocation takes a function call. */
	PHEAP_REGION_REUSE = 1u << 0,
};

/*
 * Make a region in DRAM. block_size: bytes of a block that small objects share, as for
 * pheap_arena_create(); 0 means PHEAP_ARENA_BLOCK. An object is large where its size and
 * its alignment are together more than a quarter of what a block can hold.
 * Errors: EINVAL (block_size, flags), ENOMEM.
 */
PHEAP_API pheap_region_t *pheap_region_create(size_t block_size, unsigned flags);

/* The same with memory of a heap, which must stay open until the region is destroyed.
 * Errors: also EINVAL (heap) and EROFS. */
PHEAP_API pheap_region_t *pheap_region_create_in(pheap_t *heap, size_t block_size, unsigned flags);

/*
 * The same as a child: with memory from where the parent has it, and destroyed at the
 * latest when the parent is reset or destroyed. Errors: also EINVAL (parent).
 */
PHEAP_API pheap_region_t *pheap_region_create_child(pheap_region_t *parent, size_t block_size,
						    unsigned flags);

/*
 * End the region: destroy its children, the youngest first; call its handlers, the last
 * one first; give all memory back. A handler finds all of the region's own memory as it
 * was; it may allocate, add handlers, which are called next, and make children. NULL is
 * accepted, and nothing happens when the region, or a child of it, is ending already,
 * that is, in a handler. Never fails, no fence.
 */
PHEAP_API void pheap_region_destroy(pheap_region_t *region);

/* The same, but the region stays, empty, and keeps its blocks for what comes next. */
PHEAP_API void pheap_region_reset(pheap_region_t *region);

/*
 * size bytes at a multiple of alignment, a power of two up to PHEAP_ARENA_ALIGN_MAX.
 * Errors: EINVAL (size 0, alignment, region NULL), ENOMEM or ENOSPC (no memory of so many
 * bytes): the region is as it was. No fence.
 */
PHEAP_API void *pheap_region_alloc_aligned(pheap_region_t *region, size_t size, size_t alignment);

/* What pheap_region_alloc() does when the current block does not have it. */
PHEAP_API void *pheap_region_alloc_slow(pheap_region_t *region, size_t size);

/* The start of struct pheap_region, for the function below and for nothing else. */
struct pheap_region_view {
	struct pheap_arena_view free;
	size_t small; /* larger requests are for the function above */
};

/*
 * size bytes at a multiple of 8; their content is undefined. In the usual case two
 * comparisons and an addition. Otherwise as pheap_region_alloc_aligned().
 */
static inline void *pheap_region_alloc(pheap_region_t *region, size_t size)
{
	struct pheap_region_view *view = (struct pheap_region_view *)(void *)region;
	char *object;

	if (!view || size - 1 >= view->small ||
	    size - 1 >= (size_t)(view->free.end - view->free.next))
		return pheap_region_alloc_slow(region, size);
	object = view->free.next;
	view->free.next = object + ((size + 7) & ~(size_t)7);
	return object;
}

/* The same, filled with zero bytes. */
PHEAP_API void *pheap_region_zalloc(pheap_region_t *region, size_t size);

/* A copy of a string. Errors: also EINVAL (string NULL). */
PHEAP_API char *pheap_region_strdup(pheap_region_t *region, const char *string);

/*
 * Give a large object back at once. NULL is accepted. Errors, state unchanged: EINVAL (no
 * large object of this region, or given back already). Takes time in the logarithm of
 * the number of large objects.
 */
PHEAP_API int pheap_region_free(pheap_region_t *region, void *ptr);

/*
 * Have no more use for an object of any size: size is what it was asked for with. A large
 * one is given back; another one is handed out again in a region with PHEAP_REGION_REUSE, the
 * last one first, and stays where it is until the end in one without. NULL is accepted.
 * Errors, state unchanged: EINVAL (size 0; recycled already and not handed out since). That
 * ptr is an object of this region, and so large, is not looked at where it is small.
 */
PHEAP_API int pheap_region_recycle(pheap_region_t *region, void *ptr, size_t size);

/*
 * Let handler(arg) be called when the region ends; it must not throw or jump out.
 * Errors: EINVAL (region or handler NULL), ENOMEM, ENOSPC.
 */
PHEAP_API int pheap_region_cleanup(pheap_region_t *region, void (*handler)(void *), void *arg);

/* Forget the last such handler that was added and has not been called. Errors: EINVAL
 * (region or handler NULL), ENOENT. */
PHEAP_API int pheap_region_cancel(pheap_region_t *region, void (*handler)(void *), void *arg);

/* Bytes of all memory that the region has, blocks that it keeps and its own structure
 * included; without its children's. 0 for NULL, here and below. */
PHEAP_API size_t pheap_region_memory_usage(const pheap_region_t *region);

/* Bytes handed out and not given back, with what rounding and alignment took, and what
 * handlers took. Without the children's. */
PHEAP_API size_t pheap_region_total_allocated(const pheap_region_t *region);

#ifdef __cplusplus
}
#endif
#endif
