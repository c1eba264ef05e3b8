/*
 * test-first-alloc.c - what the first allocations after an open cost: lines of
 * metadata read, counted. Nothing is rebuilt at open, and no call pays for a scan.
 *
 * The pool holds objects of 64 bytes, a million or as many as the second argument
 * says, in slabs that are full or of which half the objects were freed at random.
 */
#include "media.h"

#include <sys/mman.h>

#include "heap.h"
#include "pool.h"

#define FIRST 1000u
#define AVERAGE_MAX 3u
#define SINGLE_MAX 100u
#define FILLERS 1024u

static uint64_t objects = 1000000;
static uint64_t pool_size;
static char *memory;
static pheap_t *heap;

/* Objects in slots of their own, kept in a large object. */
static pheap_ref *fill(void)
{
	pheap_ref *slots;

	assert_ok(pheap_alloc_into(heap, pheap_root(heap), objects * sizeof(*slots), NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	for (uint64_t i = 0; i < objects; i++)
		assert_ok(pheap_alloc_into(heap, &slots[i], 64, NULL));
	return slots;
}

static void make(bool fragmented)
{
	struct rng rng = rng_make(1);
	pheap_ref *slots;

	pool_size = objects * (64 + sizeof(pheap_ref)) * 11 / 10 + MIB(128);
	pool_size = pool_size / PM_GRANULE * PM_GRANULE;
	memory = memory_new(pool_size);
	heap = create_on(memory, pool_size, NULL);
	slots = fill();
	for (uint64_t i = 0; fragmented && i < objects; i++)
		if (rng_next(&rng) & 1)
			assert_ok(pheap_retire(heap, &slots[i]));
}

static void reopen(void)
{
	close_pool(heap);
	heap = open_on(memory, pool_size, NULL);
}

static void drop(void)
{
	check_clean(heap);
	close_pool(heap);
	memory_free(memory, pool_size);
}

static uint64_t lines_read(void)
{
	return __atomic_load_n(&heap->zone.lines_read, __ATOMIC_RELAXED);
}

/* The lines that opening has read count as the first allocation's. */
static void count_first(const char *what, size_t size)
{
	uint64_t before = 0, most = 0, first;

	for (unsigned i = 0; i < FIRST; i++) {
		uint64_t now;

		assert_made(pheap_alloc(heap, size));
		now = lines_read();
		if (now - before > most)
			most = now - before;
		if (!i)
			first = now;
		before = now;
	}
	print_message("%s, %zu bytes: %.3f lines an allocation, the first %llu, at most %llu\n",
		      what, size, (double)before / FIRST, (unsigned long long)first,
		      (unsigned long long)most);
	assert_true(before <= FIRST * AVERAGE_MAX);
	assert_true(most <= SINGLE_MAX);
	assert_true(stats_of(heap).metadata_lines >= before);
}

static const size_t sizes[] = {16, 64, 200, 4096, 20480, 65536};

static void first_of_fragmented(void **state)
{
	(void)state;
	make(true);
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		reopen();
		count_first("slabs half full", sizes[i]);
	}
	drop();
}

static void first_of_full(void **state)
{
	(void)state;
	make(false);
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		reopen();
		count_first("slabs full", sizes[i]);
	}
	drop();
}

/* As it is left by a crash: the same. */
static void first_after_crash(void **state)
{
	(void)state;
	make(true);
	ph_pool_abandon(heap);
	heap = open_on(memory, pool_size, NULL);
	count_first("after a crash", 64);
	drop();
}

/*
 * No free granule, and room in the last slabs alone. An allocation may have to look
 * at many full slabs then; each is looked at once a session, four lines at most
 * with its path in the tree, and no further than the first slab with room.
 */
static void first_of_nearly_full(void **state)
{
	uint64_t n = 0, before;
	pheap_ref *slots, *fillers;
	void *large;

	(void)state;
	make(false);
	slots = pheap_ptr(heap, *pheap_root(heap));
	assert_ok(pheap_alloc_into(heap, pheap_named_root(heap, "fillers"), FILLERS * 8, NULL));
	fillers = pheap_ptr(heap, *pheap_find_root(heap, "fillers"));
	for (size_t size = MIB(64); size > PM_GRANULE / 2; size /= 2)
		while ((large = pheap_alloc(heap, size))) {
			assert_true(n < FILLERS);
			assert_ok(pheap_publish(heap, &fillers[n++], large, 0));
		}
	for (uint64_t i = objects - 4000; i < objects; i += 2)
		assert_ok(pheap_retire(heap, &slots[i]));
	reopen();
	before = lines_read();
	for (unsigned i = 0; i < FIRST; i++)
		assert_made(pheap_alloc(heap, 64));
	print_message("nearly full: %llu lines for %u allocations, %u granules\n",
		      (unsigned long long)(lines_read() - before), FIRST, heap->zone.granules);
	assert_int_equal(stats_of(heap).granules_free, 0);
	assert_true(lines_read() - before <= 4 * heap->zone.granules);
	drop();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_of_fragmented),
		cmocka_unit_test(first_of_full),
		cmocka_unit_test(first_after_crash),
		cmocka_unit_test(first_of_nearly_full),
	};

	test_init(argc, argv);
	if (argc > 2)
		objects = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
