/*
 * dram.c - DRAM for the allocator's own structures, from the kernel.
 *
 * Blocks are cut from chunks, one behind the other, and kept by size when they are given
 * back: structures of spans, which have some twenty sizes, caches and magazines. Sizes are
 * rounded up to one of four steps between two powers of two. A chunk is never given
 * back. What is larger than a chunk has a mapping of its own.
 *
 * LOCKS: one, below all others; held over a fork (ph_dram_hold).
 */
#include "dram.h"

#include <string.h>
#include <sys/mman.h>

#include "lock.h"

#define CHUNK ((size_t)1 << 20)
#define LEAST 64u
/* Four sizes a doubling, from 64 bytes to a chunk. */
#define SIZES (4u * 14u + 1u)

struct block {
	struct block *next;
};

static uint64_t lock;
static struct block *spare[SIZES];
static char *next, *end;

/* Sizes of index i: 64, 80, 96, 112, 128, 160 ... rounded up to 64. */
static size_t size_of(unsigned i)
{
	size_t size = (size_t)(4 + i % 4) << (i / 4 + 4);

	return (size + LEAST - 1) / LEAST * LEAST;
}

static unsigned index_of(size_t bytes)
{
	unsigned i = 0;

	if (bytes > LEAST)
		i = (unsigned)(63 - __builtin_clzll(bytes - 1) - 6) * 4;
	while (size_of(i) < bytes)
		i++;
	return i;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *cut(size_t size)
{
	void *block;

	if ((size_t)(end - next) < size) {
		char *chunk = map(CHUNK);

		if (!chunk)
			return NULL;
		next = chunk;
		end = chunk + CHUNK;
	}
	block = next;
	next += size;
	return block;
}

void *ph_dram_alloc(size_t bytes)
{
	unsigned i;
	void *block;

	if (bytes > CHUNK / 4)
		return map(bytes);
	i = index_of(bytes);
	ph_bitlock_take(&lock);
	block = spare[i];
	if (block)
		spare[i] = spare[i]->next;
	else
		block = cut(size_of(i));
	ph_bitlock_give(&lock, 0);
	return block;
}

void *ph_dram_zalloc(size_t bytes)
{
	void *ptr = ph_dram_alloc(bytes);

	return ptr ? memset(ptr, 0, bytes) : NULL;
}

void ph_dram_free(void *ptr, size_t bytes)
{
	struct block *block = ptr;
	unsigned i;

	if (!ptr)
		return;
	if (bytes > CHUNK / 4) {
		munmap(ptr, bytes);
		return;
	}
	i = index_of(bytes);
	ph_bitlock_take(&lock);
	block->next = spare[i];
	spare[i] = block;
	ph_bitlock_give(&lock, 0);
}

void *ph_dram_resize(void *ptr, size_t old, size_t bytes)
{
	void *moved = ph_dram_alloc(bytes);

	if (moved && ptr) {
		memcpy(moved, ptr, old < bytes ? old : bytes);
		ph_dram_free(ptr, old);
	}
	return moved;
}

void ph_dram_hold(void)
{
	ph_bitlock_take(&lock);
}

void ph_dram_let_go(void)
{
	ph_bitlock_give(&lock, 0);
}
