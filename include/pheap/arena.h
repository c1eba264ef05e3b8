/*
 * pheap/arena.h - bump allocation: many objects that live and die together.
 *
 * An arena hands out memory by moving a pointer through blocks, and gives all of
 * it back at once. Its blocks come from DRAM (pheap_arena_create), or from a heap
 * (pheap_arena_create_in). Filled in a heap with a pool, an arena takes no fence
 * until it is *sealed*: one record makes all of its blocks permanent and stores a
 * reference to them in a slot. A sealed arena is dropped as a whole, in one record
 * too. One that was not sealed is gone after a crash or a close, without a leak.
 *
 * An arena belongs to one thread at a time; different arenas are independent.
 *
 * Source: region allocation as in D. Hanson, "Fast allocation and deallocation of
 * memory based on object lifetimes", 1990.
 */
#ifndef PHEAP_ARENA_H
#define PHEAP_ARENA_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pheap_arena pheap_arena_t;

/* Bytes of a block: by default, and at least. At most 1 GiB. */
#define PHEAP_ARENA_BLOCK 4096
#define PHEAP_ARENA_BLOCK_MIN 256

/* Every block keeps so many bytes for itself. Of 64 KiB 65,504 can be used (99.95 %), by objects
 * of 64 bytes 99.9 %; of 4 KiB 4,064 (99.2 %), by such objects 98.4 %. */
#define PHEAP_ARENA_BLOCK_HEAD 32

/* The largest alignment. */
#define PHEAP_ARENA_ALIGN_MAX 65536

/*
 * Make an arena in DRAM. block_size: bytes of a block, rounded up to a multiple of
 * 64; 0 means PHEAP_ARENA_BLOCK. Blocks of destroyed arenas are kept for the next
 * one, at most 16 MiB of them in the process. Errors: EINVAL (block_size), ENOMEM.
 */
PHEAP_API pheap_arena_t *pheap_arena_create(size_t block_size);

/* The same with blocks from a heap, reserved as by pheap_alloc. The heap must stay
 * open until the arena is destroyed. Errors: also EINVAL (heap) and EROFS. */
PHEAP_API pheap_arena_t *pheap_arena_create_in(pheap_t *heap, size_t block_size);

/*
 * Give everything back that was not sealed, and the arena too. NULL is accepted.
 * Never fails, no fence.
 */
PHEAP_API void pheap_arena_destroy(pheap_arena_t *arena);

/*
 * Empty the arena: what it handed out is invalid, and its blocks of the usual size
 * are kept for what comes next. NULL is accepted. Never fails, no fence.
 */
PHEAP_API void pheap_arena_reset(pheap_arena_t *arena);

/*
 * size bytes at a multiple of alignment, a power of two up to
 * PHEAP_ARENA_ALIGN_MAX. A request that does not fit in the current block and is
 * larger than a quarter of one gets a block of its own. No fence.
 * Errors: EINVAL (size 0, alignment, arena NULL), ENOMEM or ENOSPC (no block of
 * so many bytes): the arena is as it was.
 */
PHEAP_API void *pheap_arena_alloc_aligned(pheap_arena_t *arena, size_t size, size_t alignment);

/* What pheap_arena_alloc() does when the current block does not have it. */
PHEAP_API void *pheap_arena_alloc_slow(pheap_arena_t *arena, size_t size);

/* The start of struct pheap_arena, for the function below and for nothing else:
 * the free bytes of the current block. */
struct pheap_arena_view {
	char *next, *end;
};

/*
 * size bytes at a multiple of 8; their content is undefined. In the usual case a
 * comparison and an addition. Otherwise as pheap_arena_alloc_aligned().
 */
static inline void *pheap_arena_alloc(pheap_arena_t *arena, size_t size)
{
	struct pheap_arena_view *view = (struct pheap_arena_view *)(void *)arena;
	char *object;

	/* end - next is a multiple of 8, so what is there after rounding up, too. */
	if (!view || size - 1 >= (size_t)(view->end - view->next))
		return pheap_arena_alloc_slow(arena, size);
	object = view->next;
	view->next = object + ((size + 7) & ~(size_t)7);
	return object;
}

/* Bytes of all blocks, kept ones included, and of the arena's own structure. 0 for
 * NULL, here and below. */
PHEAP_API size_t pheap_arena_memory_usage(const pheap_arena_t *arena);

/* Bytes handed out since the arena was made, reset or sealed, with what rounding
 * and alignment took. */
PHEAP_API size_t pheap_arena_total_allocated(const pheap_arena_t *arena);

/* Blocks that hold what was handed out. */
PHEAP_API size_t pheap_arena_blocks(const pheap_arena_t *arena);

/*
 * Make everything in the arena permanent and store a reference to it in *slot, a
 * null slot in a root or in a published object (as pheap_publish). root: an address
 * in the arena at which pheap_arena_root() finds the content again, or NULL. What
 * the arena's objects refer to by pheap_ref is the caller's; slots inside sealed
 * objects may be used like any other. The arena is empty afterwards.
 *
 * Crash: all or nothing. Fences: that of a transaction that publishes as many
 * objects as there are blocks: two for up to some hundred, three for more.
 * Errors, with the arena as it was: EINVAL (not in a heap, or empty; root outside; slot),
 * EEXIST (*slot is not null), ENOSPC, ENOMEM. After EIO the arena is empty, and what became
 * of its content is unknown until the pool is opened again. No other thread may change
 * *slot at the same time.
 */
PHEAP_API int pheap_arena_seal(pheap_arena_t *arena, pheap_ref *slot, const void *root);

/*
 * The root of the sealed arena that ref refers to; NULL with errno 0 where it was
 * sealed without one. Errors: EINVAL (ref refers to no sealed arena). No fence.
 */
PHEAP_API void *pheap_arena_root(pheap_t *heap, pheap_ref ref);

/*
 * Free the sealed arena that *slot refers to, with all its blocks, and set *slot to
 * null. What its objects refer to is not freed. Crash: all or nothing. Fences: one, two
 * beyond some hundred blocks; giving slabs that are empty then back to the pool takes one
 * each, as after any free. Errors: ENOENT (*slot is null), EINVAL (it refers
 * to no sealed arena), ENOSPC, ENOMEM, EIO.
 */
PHEAP_API int pheap_arena_drop(pheap_t *heap, pheap_ref *slot);

#ifdef __cplusplus
}
#endif
#endif
