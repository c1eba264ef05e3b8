/*
 * test-full.c - pools without a free byte: ENOSPC and no other error, frees that
 * always work, and all of the memory usable again afterwards.
 */
#include "common.h"

#define POOL MIB(8)
#define MANY 800000

static void *objects[MANY];
static const size_t sizes[] = {16, 40, 64, 200, 1000, 4096, 40000, 65536, 100000, 1000000};

static void free_range(pheap_t *heap, size_t first, size_t n, size_t step)
{
	size_t i;

	for (i = first; i < n; i += step)
		assert_ok(pheap_free(heap, objects[i]));
}

static void full_pool_says_so(void **state)
{
	pheap_ref *slot;
	pheap_t *heap;
	size_t i, n;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		heap = make_pool("p", POOL);
		slot = pheap_root(heap);
		n = fill_pool(heap, sizes[i], objects, MANY);
		assert_in_range(n, 1, MANY - 1);
		/* Where a larger object fits, this one does. */
		if (stats_of(heap).largest_free >= sizes[i])
			fail_msg("no room for %zu bytes, but for %llu", sizes[i],
				 (unsigned long long)stats_of(heap).largest_free);
		assert_errno(ENOSPC, pheap_alloc(heap, sizes[i]));
		assert_errno(ENOSPC, pheap_zalloc(heap, sizes[i]));
		assert_errno(ENOSPC, pheap_aligned_alloc(heap, 8, sizes[i]));
		assert_error(ENOSPC, pheap_alloc_into(heap, slot, sizes[i], NULL));
		assert_true(*slot == PHEAP_NULL);
		fill_pattern(objects[0], sizes[i], 1);
		assert_errno(ENOSPC, pheap_realloc(heap, objects[0], POOL / 2));
		assert_true(has_pattern(objects[0], sizes[i], 1));
		free_range(heap, 0, n, 1);
		close_pool(heap);
	}
}

static void same_count_again(void **state)
{
	pheap_t *heap;
	size_t i, n, round;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		heap = make_pool("p", POOL);
		n = fill_pool(heap, sizes[i], objects, MANY);
		for (round = 0; round < 3; round++) {
			/* Up, down, and with holes between. */
			if (round == 2) {
				free_range(heap, 0, n, 2);
				free_range(heap, 1, n, 2);
			} else {
				free_range(heap, 0, n, 1);
			}
			assert_int_equal(fill_pool(heap, sizes[i], objects, MANY), n);
		}
		/* Every second: as many as were freed. */
		free_range(heap, 0, n, 2);
		assert_int_equal(fill_pool(heap, sizes[i], objects, MANY), (n + 1) / 2);
		assert_int_equal(check_clean(heap), 0);
		close_pool(heap);
	}
}

/* Memory that was used for small objects serves for large ones, and back. */
static void from_size_to_size(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	size_t counts[ELEMENTS(sizes)], round, i, n;

	(void)state;
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ELEMENTS(sizes); i++) {
			n = fill_pool(heap, sizes[i], objects, MANY);
			if (round == 0)
				counts[i] = n;
			assert_true(n >= counts[i]);
			free_range(heap, 0, n, 1);
		}
		for (i = ELEMENTS(sizes); i-- > 0;) {
			n = fill_pool(heap, sizes[i], objects, MANY);
			assert_true(n >= counts[i]);
			free_range(heap, 0, n, 1);
		}
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

struct job {
	pheap_t *heap;
	size_t n;
	size_t size;
	int ok;
};

static void *free_half(void *arg)
{
	struct job *job = arg;
	size_t i;

	for (i = 0; i < job->n; i += 2)
		must(pheap_free(job->heap, objects[i]) == 0);
	return NULL;
}

/* A thread that never called the library before frees on a full pool. */
static void free_in_new_thread(void **state)
{
	struct job job;
	size_t i, again;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		job.heap = make_pool("p", POOL);
		job.n = fill_pool(job.heap, sizes[i], objects, MANY);
		run_thread(free_half, &job);
		/* The thread has ended and gave everything back. */
		again = fill_pool(job.heap, sizes[i], objects + job.n, MANY - job.n);
		assert_int_equal(again, (job.n + 1) / 2);
		close_pool(job.heap);
	}
}

static void *fill_and_free(void *arg)
{
	struct job *job = arg;
	size_t i;

	job->n = fill_pool(job->heap, job->size, objects, MANY);
	for (i = 0; i < job->n; i++)
		must(pheap_free(job->heap, objects[i]) == 0);
	return NULL;
}

/*
 * A thread that exits gives back what its cache held: the next one gets as much.
 * The slack is what one cache may hold, 64 KiB, for the first fill may have
 * built slabs where later ones find another order.
 */
static void exit_gives_back(void **state)
{
	struct job job;
	size_t i, first, round;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		job.heap = make_pool("p", POOL);
		job.size = sizes[i];
		run_thread(fill_and_free, &job);
		first = job.n;
		for (round = 0; round < 4; round++) {
			run_thread(fill_and_free, &job);
			assert_true((job.n + 1) * sizes[i] + KIB(64) >= first * sizes[i]);
		}
		close_pool(job.heap);
	}
}

/* Published objects fill the pool; they are retired when nothing is free. */
static void retire_on_full_pool(void **state)
{
	static pheap_ref refs[MANY];
	struct rng rng = rng_make(1);
	pheap_t *heap;
	pheap_ref *slots;
	size_t i, j, n, first, count;

	(void)state;
	for (i = 4; i < ELEMENTS(sizes); i++) {
		heap = make_pool("p", POOL);
		count = POOL / sizes[i] + 1;
		assert_ok(pheap_alloc_into(heap, pheap_root(heap), count * 8, NULL));
		slots = pheap_ptr(heap, *pheap_root(heap));
		first = 0;
		for (j = 0; j < 3; j++) {
			for (n = 0; n < count; n++) {
				int code = pheap_alloc_into(heap, &slots[n], sizes[i], NULL);

				if (code) {
					assert_int_equal(code, -ENOSPC);
					break;
				}
				refs[n] = slots[n];
			}
			assert_true(n < count);
			if (first)
				assert_int_equal(n, first);
			first = n;
			assert_int_equal(check_clean(heap), n + 1);
			/* Some at random, then the rest. */
			while (rng_below(&rng, 50)) {
				size_t k = rng_below(&rng, n);
				int code = pheap_retire(heap, &slots[k]);

				assert_true(code == (refs[k] ? 0 : -ENOENT));
				refs[k] = PHEAP_NULL;
			}
			for (n = 0; n < first; n++)
				if (refs[n])
					assert_ok(pheap_retire(heap, &slots[n]));
			assert_int_equal(check_clean(heap), 1);
		}
		close_pool(heap);
	}
}

static void *retire_all(void *arg)
{
	struct job *job = arg;
	pheap_ref *slots = pheap_ptr(job->heap, *pheap_root(job->heap));
	size_t i;

	for (i = 0; i < job->n; i++)
		must(pheap_retire(job->heap, &slots[i]) == 0);
	return NULL;
}

/* In a new thread too, though no lane can be made for it. */
static void retire_in_new_thread(void **state)
{
	struct job job = {make_pool("p", POOL), 0, 0, 0};
	pheap_ref *slots;
	size_t count = 200, n;

	(void)state;
	assert_ok(pheap_alloc_into(job.heap, pheap_root(job.heap), count * 8, NULL));
	slots = pheap_ptr(job.heap, *pheap_root(job.heap));
	while (job.n < count && !pheap_alloc_into(job.heap, &slots[job.n], 65536, NULL))
		job.n++;
	assert_true(job.n < count);
	/* Not a granule is left, nor a small block. */
	n = fill_pool(job.heap, 16, objects, MANY);
	run_thread(retire_all, &job);
	free_range(job.heap, 0, n, 1);
	assert_int_equal(check_clean(job.heap), 1);
	close_pool(job.heap);
}

/* A full pool can be closed, opened, and emptied. */
static void full_pool_reopened(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	pheap_ref *slots;
	size_t count = 2200, n, i;

	(void)state;
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), count * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	for (n = 0; n < count && !pheap_alloc_into(heap, &slots[n], 4096, NULL); n++)
		;
	assert_true(n < count);
	copy = crash_pool("p");
	close_pool(heap);
	assert_int_equal(check_clean(copy), n + 1);
	copy = reopen_pool(copy, "p.crash");
	slots = pheap_ptr(copy, *pheap_root(copy));
	assert_errno(ENOSPC, pheap_alloc(copy, 4096));
	for (i = 0; i < n; i++)
		assert_ok(pheap_retire(copy, &slots[i]));
	assert_int_equal(check_clean(copy), 1);
	assert_int_equal(fill_pool(copy, 4096, objects, MANY), n);
	close_pool(copy);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(full_pool_says_so),	cmocka_unit_test(same_count_again),
		cmocka_unit_test(from_size_to_size),	cmocka_unit_test(free_in_new_thread),
		cmocka_unit_test(exit_gives_back),	cmocka_unit_test(retire_on_full_pool),
		cmocka_unit_test(retire_in_new_thread),
	};
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(full_pool_reopened),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODE_PMEM | MODE_PROCESS | MODE_VOLATILE, everywhere);
	failed += run_modes(MODE_PMEM | MODE_PROCESS, in_files);
	return failed;
}
