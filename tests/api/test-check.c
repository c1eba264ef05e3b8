/*
 * test-check.c - pheap_check and pheap_check_file on clean, open, dirty and damaged
 * pools. The invariants one by one are the matter of tests/check.
 */
#include "common.h"

#include "layout.h"

#define POOL MIB(8)

struct seen {
	uint64_t problems;
	char invariant[16];
	uint64_t offset;
};

static void note(void *arg, const struct pheap_problem *problem)
{
	struct seen *seen = arg;

	must(problem->invariant && *problem->invariant);
	must(problem->message && *problem->message);
	if (!seen->problems++)
		snprintf(seen->invariant, sizeof(seen->invariant), "%s", problem->invariant);
	seen->offset = problem->offset;
}

/* Three small objects, one large; "p" is open. */
static pheap_t *make_some(void)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slots;

	assert_ok(pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	assert_ok(pheap_alloc_into(heap, &slots[0], 64, NULL));
	assert_ok(pheap_alloc_into(heap, &slots[1], 1000, NULL));
	assert_ok(pheap_alloc_into(heap, &slots[2], 300000, NULL));
	return heap;
}

static void assert_counts(const struct pheap_check_result *result)
{
	assert_int_equal(result->problems, 0);
	assert_int_equal(result->objects, 4);
	assert_int_equal(result->large_objects, 1);
	/* Two of 64 bytes share a slab. */
	assert_int_equal(result->slabs, 2);
	assert_true(result->object_bytes >= 64 + 64 + 1000 + 300000);
	assert_true(result->object_bytes < 64 + 64 + 1250 + 300000 + 65536);
	assert_true(result->used_granules >= 5 + 2);
}

static void open_pool_checked(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct seen seen = {0};
	pheap_t *heap = make_some();
	pheap_tx_t *tx;

	(void)state;
	assert_ok(pheap_check(heap, &result, note, &seen));
	assert_counts(&result);
	assert_int_equal(seen.problems, 0);
	assert_int_equal(result.free_granules + result.used_granules, info_of(heap).granules);
	assert_ok(pheap_check(heap, NULL, NULL, NULL));
	assert_ok(pheap_check(heap, NULL, note, &seen));
	/* Reserved objects are not published ones. */
	assert_made(pheap_alloc(heap, 64));
	assert_made(pheap_alloc(heap, 300000));
	assert_ok(pheap_check(heap, &result, NULL, NULL));
	assert_counts(&result);

	tx = assert_made(pheap_tx_begin(heap));
	assert_error(EBUSY, pheap_check(heap, &result, NULL, NULL));
	assert_ok(pheap_tx_abort(tx));
	assert_ok(pheap_check(heap, &result, NULL, NULL));
	result.struct_size = 8;
	assert_error(EINVAL, pheap_check(heap, &result, NULL, NULL));
	result.struct_size = sizeof(result) + 64;
	assert_error(EINVAL, pheap_check(heap, &result, NULL, NULL));
	close_pool(heap);
}

static void file_checked(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct seen seen = {0};
	pheap_t *heap = make_some();
	uint64_t hash;

	(void)state;
	/* A writer has it. */
	assert_error(EBUSY, pheap_check_file(scratch("p"), &result, NULL, NULL));
	close_pool(heap);
	hash = file_hash(scratch("p"));
	assert_ok(pheap_check_file(scratch("p"), &result, note, &seen));
	assert_counts(&result);
	assert_int_equal(result.records, 0);
	assert_int_equal(result.undo_entries, 0);
	assert_ok(pheap_check_file(scratch("p"), NULL, NULL, NULL));
	assert_true(file_hash(scratch("p")) == hash);

	/* Readers do not mind each other. */
	heap = open_pool_flags("p", PHEAP_READONLY);
	assert_ok(pheap_check_file(scratch("p"), &result, NULL, NULL));
	assert_ok(pheap_check(heap, &result, NULL, NULL));
	assert_counts(&result);
	close_pool(heap);

	assert_error(ENOENT, pheap_check_file(scratch("nothing"), &result, NULL, NULL));
	assert_error(EINVAL, pheap_check_file(NULL, &result, NULL, NULL));
	result.struct_size = 0;
	assert_error(EINVAL, pheap_check_file(scratch("p"), &result, NULL, NULL));
}

/* As recovery would leave it, and the file is not written. */
static void dirty_file_checked(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct seen seen = {0};
	pheap_t *heap = make_some();
	pheap_tx_t *tx;
	char *object = pheap_ptr(heap, *pheap_root(heap));
	uint64_t hash;

	(void)state;
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object + 32, 32));
	memset(object + 32, 0xff, 32);
	/* A record that nothing has settled yet. */
	assert_ok(pheap_set(heap, (uint64_t *)(void *)(object + 24), 0));
	copy_file(scratch("p"), scratch("dirty"));
	assert_ok(pheap_tx_abort(tx));
	close_pool(heap);

	hash = file_hash(scratch("dirty"));
	assert_ok(pheap_check_file(scratch("dirty"), &result, note, &seen));
	assert_counts(&result);
	assert_int_equal(seen.problems, 0);
	assert_true(result.records > 0);
	assert_true(result.undo_entries > 0);
	assert_true(file_hash(scratch("dirty")) == hash);
	heap = open_pool("dirty");
	object = pheap_ptr(heap, *pheap_root(heap));
	assert_int_equal(object[32], 0);
	check_clean(heap);
	close_pool(heap);
}

/* Damage to the file is found, counted, described, and left alone. */
static void damaged(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct pm_zone zone;
	struct seen seen;
	struct {
		uint64_t offset, value;
	} damage[4];
	uint64_t hash;
	size_t i;

	(void)state;
	close_pool(make_some());
	read_at(scratch("p"), &zone, sizeof(zone), PM_ZONE_TABLE);
	/* A span of an unknown kind, a bit for an object behind the last granule in
	 * use, a root that refers to nothing, a root tree byte that says "full". */
	damage[0].offset = zone.desc;
	damage[0].value = 77;
	damage[1].offset = zone.bits + (uint64_t)(zone.granules - 1) * PM_BITMAP_BYTES;
	damage[1].value = 1;
	damage[2].offset = PM_ROOTS + offsetof(struct pm_root, ref);
	damage[2].value = 65536 + 8;
	damage[3].offset = zone.tree;
	damage[3].value = 0;
	for (i = 0; i < ELEMENTS(damage); i++) {
		copy_file(scratch("p"), scratch("bad"));
		write_at(scratch("bad"), &damage[i].value, 8, (off_t)damage[i].offset);
		hash = file_hash(scratch("bad"));
		memset(&seen, 0, sizeof(seen));
		assert_error(EUCLEAN, pheap_check_file(scratch("bad"), &result, note, &seen));
		assert_true(seen.problems > 0);
		assert_true(result.problems >= seen.problems || result.problems > 0);
		assert_error(EUCLEAN, pheap_check_file(scratch("bad"), NULL, NULL, NULL));
		assert_true(file_hash(scratch("bad")) == hash);
	}
}

/* What makes open refuse a pool is a problem, too. */
static void unopenable(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	uint64_t zero[512] = {0};
	struct seen seen = {0};

	(void)state;
	close_pool(make_some());
	write_at(scratch("p"), zero, sizeof(zero), PM_SUPER_A);
	write_at(scratch("p"), zero, sizeof(zero), PM_SUPER_B);
	assert_error(EUCLEAN, pheap_check_file(scratch("p"), &result, note, &seen));
	assert_true(seen.problems > 0 && result.problems > 0);

	assert_int_equal(truncate(scratch("p"), 100), 0);
	memset(&seen, 0, sizeof(seen));
	assert_error(EUCLEAN, pheap_check_file(scratch("p"), &result, note, &seen));
	assert_true(seen.problems > 0 && result.problems > 0);
}

/* An open heap whose memory was overwritten by its program. */
static void damaged_in_memory(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct seen seen = {0};
	pheap_t *heap = make_some();
	pheap_ref *root = pheap_root(heap), kept = *root;

	(void)state;
	*root = kept + 8;
	assert_error(EUCLEAN, pheap_check(heap, &result, note, &seen));
	assert_true(seen.problems > 0 && result.problems > 0);
	*root = kept;
	assert_ok(pheap_check(heap, &result, note, &seen));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_pool_checked),  cmocka_unit_test(file_checked),
		cmocka_unit_test(dirty_file_checked), cmocka_unit_test(damaged),
		cmocka_unit_test(unopenable),	      cmocka_unit_test(damaged_in_memory),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
