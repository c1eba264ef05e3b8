/*
 * arena-source.h - where the arenas of the running test get their blocks: from DRAM, or
 * from a heap in the mode under test.
 */
#ifndef TESTS_ARENA_SOURCE_H
#define TESTS_ARENA_SOURCE_H

#include "common.h"

#define POOL MIB(32)
#define HEAD PHEAP_ARENA_BLOCK_HEAD

static bool in_heap;
static pheap_t *heap;

static inline pheap_arena_t *make_arena(size_t block_size)
{
	return assert_made(in_heap ? pheap_arena_create_in(heap, block_size)
				   : pheap_arena_create(block_size));
}

static int set_up(void **state)
{
	(void)state;
	heap = in_heap ? make_pool("p", POOL) : NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (heap)
		close_pool(heap);
	heap = NULL;
	return 0;
}

static inline bool aligned(const void *ptr, size_t alignment)
{
	return (uintptr_t)ptr % alignment == 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
