/*
 * test-stats.c - counters, and what the free-space figures promise.
 */
#include "common.h"

#define POOL MIB(16)

static void struct_sizes(void **state)
{
	static const size_t unknown[] = {0, 8, sizeof(struct pheap_stats) + 64, SIZE_MAX};
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_stats stats = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ELEMENTS(unknown); i++) {
		stats.struct_size = unknown[i];
		assert_error(EINVAL, pheap_get_stats(heap, &stats));
		assert_int_equal(stats.granules, 0);
	}
	stats.struct_size = sizeof(stats);
	assert_ok(pheap_get_stats(heap, &stats));
	assert_int_equal(stats.granules, info_of(heap).granules);
	assert_true(stats.granules_free <= stats.granules);
	close_pool(heap);
}

static void *publish_one(void *arg)
{
	pheap_t *heap = arg;

	must(!pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	must(!pheap_retire(heap, pheap_root(heap)));
	return NULL;
}

static void counting(void **state)
{
	bool logs = mode_has_file(), flushes = mode->durability == PHEAP_POWER;
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_stats before, after;
	uint64_t *words = publish_root(heap, 4096, 1);
	pheap_tx_t *tx;
	unsigned i;

	(void)state;
	before = stats_of(heap);
	for (i = 0; i < 100; i++)
		assert_ok(pheap_set(heap, &words[i], i));
	after = stats_of(heap);
	assert_int_equal(after.records - before.records, logs ? 100 : 0);
	assert_true(after.record_lines - before.record_lines >= (logs ? 100 : 0));
	if (!flushes) {
		assert_int_equal(after.fences, before.fences);
		assert_int_equal(after.flushed_lines, before.flushed_lines);
		assert_int_equal(after.nt_lines, before.nt_lines);
	} else {
		assert_true(after.fences - before.fences >= 100);
	}
	tx = assert_made(pheap_tx_begin(heap));
	before = stats_of(heap);
	assert_ok(pheap_tx_snapshot(tx, words, 64));
	assert_ok(pheap_tx_snapshot(tx, words + 64, 64));
	assert_ok(pheap_tx_abort(tx));
	after = stats_of(heap);
	if (logs)
		assert_int_equal(after.snapshots - before.snapshots, 2);

	/* By all threads, also by those that have ended. */
	before = after;
	assert_ok(pheap_retire(heap, pheap_root(heap)));
	for (i = 0; i < 10; i++)
		run_thread(publish_one, heap);
	after = stats_of(heap);
	if (logs)
		assert_true(after.records - before.records >= 21);
	close_pool(heap);
}

/* The figures follow what is reserved, published, and free again. */
static void space(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_stats before, after;
	void *large, *small;

	(void)state;
	before = stats_of(heap);
	assert_true(before.largest_free > 0 && before.largest_free <= info_of(heap).max_object);
	large = assert_made(pheap_alloc(heap, MIB(2)));
	after = stats_of(heap);
	assert_int_equal(before.granules_free - after.granules_free, MIB(2) / KIB(64));
	assert_int_equal(after.granules_large - before.granules_large, MIB(2) / KIB(64));
	assert_ok(pheap_free(heap, large));

	before = stats_of(heap);
	small = assert_made(pheap_alloc(heap, 64));
	after = stats_of(heap);
	assert_true(before.granules_free - after.granules_free <= 1);
	assert_true(after.granules_slab >= 1);
	assert_ok(pheap_free(heap, small));
	close_pool(heap);
}

/* Trimmed: a large object wastes less than a granule. */
static void large_objects_are_trimmed(void **state)
{
	pheap_t *heap = make_pool("p", MIB(64));
	struct pheap_stats before, after;
	size_t size;

	(void)state;
	for (size = KIB(256) + 1; size < MIB(3); size += KIB(64) * 3 + 11) {
		before = stats_of(heap);
		assert_made(pheap_alloc(heap, size));
		after = stats_of(heap);
		assert_int_equal(before.granules_free - after.granules_free,
				 (size + KIB(64) - 1) / KIB(64));
	}
	check_clean(heap);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(struct_sizes),
		cmocka_unit_test(counting),
		cmocka_unit_test(space),
		cmocka_unit_test(large_objects_are_trimmed),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
