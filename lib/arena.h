/*
 * arena.h - what regions and arenas share: an arena that is part of another structure,
 * and its blocks.
 */
#ifndef PH_ARENA_H
#define PH_ARENA_H

#include <pheap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The head of a block. On media once its arena is sealed. */
struct ph_block {
	uint64_t magic;
	uint64_t next; /* address of a block; sealed: reference to one; 0: the last */
	uint64_t size; /* bytes, head included */
	uint64_t root; /* in the first block of a sealed arena: what the caller gave */
};
_Static_assert(sizeof(struct ph_block) == PHEAP_ARENA_BLOCK_HEAD, "pheap/arena.h says so");

struct pheap_arena {
	struct pheap_arena_view free; /* must be first: pheap/arena.h */
	size_t small;  /* of a region: what its inline function may take from the block */
	char *start;   /* first byte handed out of the current block */
	pheap_t *heap; /* NULL: DRAM */
	size_t block_size;
	struct ph_block *usual, *oldest; /* of block_size, newest first: the current one */
	struct ph_block *large;		 /* of one request each */
	struct ph_block *spare;		 /* of block_size, empty */
	size_t nusual, nlarge, nspare;
	size_t large_bytes; /* of large blocks */
	size_t handed_out;  /* in blocks other than the current one */
};

/* May blocks come from this heap? what: the function that is asked, here and below. */
int ph_arena_check_heap(const char *what, pheap_t *heap);

/* Make *arena, which is all zero, an empty one; heap NULL: in DRAM. */
int ph_arena_init(struct pheap_arena *arena, const char *what, pheap_t *heap, size_t block_size);

/* Give all its blocks back. */
void ph_arena_fini(struct pheap_arena *arena);

/* Is it a request that can be met at all? */
int ph_arena_check_request(const char *what, size_t size, size_t alignment);

/* Does it get memory of its own when it does not fit in the current block? */
static inline bool ph_arena_is_large(const struct pheap_arena *arena, size_t size, size_t alignment)
{
	return size + alignment > (arena->block_size - sizeof(struct ph_block)) / 4;
}

/* A block for one request that is no part of the arena's lists, and *object in it. */
struct ph_block *ph_arena_large(struct pheap_arena *arena, size_t size, size_t alignment,
				void **object);
void ph_arena_give_back(struct pheap_arena *arena, struct ph_block *block);

#endif
