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

static struct pheap_space space_of(pheap_t *heap)
{
	struct pheap_space s = {.struct_size = sizeof(s)};

	assert_ok(pheap_get_space(heap, &s));
	assert_int_equal(s.total, s.free + s.logs + s.published + s.reserved + s.cached + s.unused +
					  s.tails + s.unknown);
	assert_int_equal(s.unknown, 0);
	assert_int_equal(s.total, info_of(heap).granules * KIB(64));
	assert_int_equal(s.logs, info_of(heap).lanes * KIB(64));
	assert_int_equal(s.free, stats_of(heap).granules_free * KIB(64));
	assert_int_equal(s.largest_free, stats_of(heap).largest_free);
	return s;
}

/* Every byte is accounted for, whatever an object goes through. */
static void where_memory_is(void **state)
{
	static const size_t sizes[] = {16, 64, 100, 3000, 3328, 60000, 70000, 300000, 1000000};
	pheap_t *heap = make_pool("p", MIB(64));
	pheap_ref *slots = publish_root(heap, ELEMENTS(sizes) * 8, 1);
	struct pheap_space before = space_of(heap), now;
	uint64_t bytes = 0, blocks;
	void *objects[ELEMENTS(sizes)];
	struct pheap_space unknown = {0};
	pheap_tx_t *tx;
	size_t i;

	(void)state;
	assert_error(EINVAL, pheap_get_space(heap, NULL));
	assert_error(EINVAL, pheap_get_space(heap, &unknown));
	assert_int_equal(before.objects, 1);
	assert_int_equal(before.reserved, 0);
	memset(slots, 0, ELEMENTS(sizes) * 8);
	for (i = 0; i < ELEMENTS(sizes); i++) {
		objects[i] = assert_made(pheap_alloc(heap, sizes[i]));
		blocks = pheap_usable_size(heap, objects[i]);
		bytes += blocks;
		now = space_of(heap);
		assert_int_equal(now.reserved, bytes);
		assert_int_equal(now.objects, 2 + i);
	}
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_ok(pheap_publish(heap, &slots[i], objects[i], 0));
	now = space_of(heap);
	assert_int_equal(now.published, before.published + bytes);
	assert_int_equal(now.reserved, 0);
	/* In a transaction: some on their way, some leaving. */
	tx = assert_made(pheap_tx_begin(heap));
	blocks = pheap_usable_size(heap, assert_made(pheap_tx_alloc(tx, 5000)));
	assert_ok(pheap_tx_retire(tx, &slots[0]));
	now = space_of(heap);
	assert_int_equal(now.published, before.published + bytes);
	assert_int_equal(now.reserved, blocks);
	assert_ok(pheap_tx_abort(tx));
	if (mode_has_file()) {
		heap = reopen_pool(heap, "p");
		now = space_of(heap);
		assert_int_equal(now.published, before.published + bytes);
		assert_int_equal(now.objects, 1 + ELEMENTS(sizes));
		assert_int_equal(now.reserved + now.cached, 0);
		slots = pheap_ptr(heap, *pheap_root(heap));
	}
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_ok(pheap_retire(heap, &slots[i]));
	now = space_of(heap);
	assert_int_equal(now.published, before.published);
	assert_true(now.cached >= MIB(1)); /* the last one */
	assert_ok(pheap_purge(heap, 0));
	now = space_of(heap);
	assert_int_equal(now.cached, 0);
	/* The root's slab is all that is left. */
	assert_int_equal(now.total - now.free - now.logs, KIB(64));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(struct_sizes),	   cmocka_unit_test(counting),
		cmocka_unit_test(space),	   cmocka_unit_test(large_objects_are_trimmed),
		cmocka_unit_test(where_memory_is),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
