/*
 * test-large.c - large objects: reuse of their spans, misuse of what a cache holds,
 * bounds of the caches, and that all of it comes back.
 */
#include "common.h"

#define POOL MIB(64)
#define GRANULE KIB(64)

static uint64_t free_bytes(pheap_t *heap)
{
	return stats_of(heap).granules_free * GRANULE;
}

/* What was freed last comes back, if it uses seven eighths of the span. */
static void reused(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *a = assert_made(pheap_alloc(heap, MIB(1))), *b;

	(void)state;
	assert_ok(pheap_free(heap, a));
	b = assert_made(pheap_alloc(heap, MIB(1)));
	assert_ptr_equal(a, b);
	assert_ok(pheap_free(heap, b));
	b = assert_made(pheap_alloc(heap, MIB(1) - KIB(128)));
	assert_ptr_equal(a, b);
	assert_int_equal(pheap_usable_size(heap, b), MIB(1));
	assert_ok(pheap_free(heap, b));
	b = assert_made(pheap_alloc(heap, MIB(1) - KIB(128) - 1));
	assert_ptr_not_equal(a, b);
	assert_int_equal(pheap_usable_size(heap, b), MIB(1) - KIB(128));
	b = assert_made(pheap_alloc(heap, MIB(1) + 1));
	assert_ptr_not_equal(a, b);
	/* The shortest that fits. */
	b = assert_made(pheap_alloc(heap, MIB(1) - KIB(64)));
	assert_ptr_equal(a, b);
	close_pool(heap);
}

/* Free objects are free to every call, whatever keeps their span. */
static void misuse(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = pheap_root(heap);
	char *a = assert_made(pheap_alloc(heap, MIB(1)));
	pheap_tx_t *tx;

	(void)state;
	for (unsigned born = 0; born < 2; born++) {
		assert_ok(pheap_free(heap, a));
		assert_int_equal(pheap_usable_size(heap, a), 0);
		assert_error(EINVAL, pheap_free(heap, a));
		assert_error(EINVAL, pheap_free(heap, a + GRANULE));
		assert_error(EINVAL, pheap_publish(heap, slot, a, PHEAP_PERSISTED));
		assert_errno(EINVAL, pheap_realloc(heap, a, MIB(2)));
		assert_error(EINVAL, pheap_set(heap, (uint64_t *)(void *)a, 1));
		tx = assert_made(pheap_tx_begin(heap));
		assert_error(EINVAL, pheap_tx_adopt(tx, a));
		assert_error(EINVAL, pheap_tx_free(tx, a));
		assert_ok(pheap_tx_abort(tx));
		assert_true(*slot == PHEAP_NULL);
		/* Again with a span that has been published once. */
		assert_ptr_equal(pheap_alloc(heap, MIB(1)), a);
		assert_ok(pheap_publish(heap, slot, a, PHEAP_PERSISTED));
		assert_error(EINVAL, pheap_free(heap, a));
		assert_ok(pheap_retire(heap, slot));
		assert_error(EINVAL, pheap_free(heap, a));
		assert_int_equal(check_clean(heap), 0);
		assert_ptr_equal(pheap_alloc(heap, MIB(1)), a);
	}
	close_pool(heap);
}

/* A span that was published once: one bit, in a record of one line. */
static void published_again(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = pheap_root(heap);
	struct pheap_stats before, after;
	uint64_t ref = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		char *a = assert_made(pheap_alloc(heap, MIB(1)));

		before = stats_of(heap);
		assert_ok(pheap_publish(heap, slot, a, PHEAP_PERSISTED));
		assert_true(!ref || *slot == ref);
		ref = *slot;
		assert_int_equal(check_clean(heap), 1);
		before = stats_of(heap);
		assert_ok(pheap_retire(heap, slot));
		a = assert_made(pheap_alloc(heap, MIB(1)));
		assert_ok(pheap_publish(heap, slot, a, PHEAP_PERSISTED));
		after = stats_of(heap);
		assert_int_equal(after.granules_free, before.granules_free);
		if (mode_has_file())
			assert_int_equal(after.record_lines - before.record_lines, 2);
		assert_ok(pheap_retire(heap, slot));
	}
	close_pool(heap);
}

/* A record wrote into the object: its memory waits for a checkpoint. */
static void waits_in_limbo(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = pheap_root(heap);
	char *first = NULL, *a;
	bool again = false;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		a = assert_made(pheap_alloc(heap, MIB(1)));
		again |= a == first;
		first = first ? first : a;
		assert_ok(pheap_publish(heap, slot, a, PHEAP_PERSISTED));
		assert_ok(pheap_write(heap, a + 100, "abc", 3));
		assert_ok(pheap_retire(heap, slot));
		if (mode_has_file()) {
			uint64_t before = stats_of(heap).checkpoints;
			char *b = assert_made(pheap_alloc(heap, MIB(1)));

			assert_true(a != b || stats_of(heap).checkpoints > before);
			assert_ok(pheap_free(heap, b));
		}
	}
	assert_true(again); /* it came back some time */
	assert_ok(pheap_purge(heap, 0));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* Caches hold a share of the pool; purge gives it back. */
static void bounded(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	uint64_t before = free_bytes(heap), kept;
	void *objects[64];
	size_t size, n;

	(void)state;
	for (size = KIB(500); size < MIB(9); size += size / 3) {
		n = fill_pool(heap, size, objects, ELEMENTS(objects));
		while (n--)
			assert_ok(pheap_free(heap, objects[n]));
		kept = before - free_bytes(heap);
		assert_true(kept <= POOL / 8 + POOL / 32);
	}
	assert_ok(pheap_purge(heap, 0));
	assert_int_equal(free_bytes(heap), before);
	assert_error(EINVAL, pheap_purge(heap, 1u << 30));
	close_pool(heap);
}

static void *churn(void *arg)
{
	pheap_t *heap = arg;
	void *objects[8];
	size_t n, size;

	for (size = KIB(500); size < MIB(2); size += size / 3) {
		for (n = 0; n < ELEMENTS(objects); n++)
			must((objects[n] = pheap_alloc(heap, size)));
		while (n--)
			must(!pheap_free(heap, objects[n]));
	}
	return NULL;
}

/* A thread that ends leaves nothing behind; all threads together are bounded too. */
static void thread_ends(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	uint64_t before = free_bytes(heap);
	unsigned i;

	(void)state;
	for (i = 0; i < 10; i++)
		run_thread(churn, heap);
	assert_true(before - free_bytes(heap) <= POOL / 8);
	assert_ok(pheap_purge(heap, 0));
	assert_int_equal(free_bytes(heap), before);
	close_pool(heap);
}

struct job {
	pheap_t *heap;
	pheap_ref *slot;
	uint64_t seed;
};

/* Reserve, free, publish and retire; what others have at the moment may be all there is. */
static void *mix(void *arg)
{
	struct job *job = arg;
	struct rng rng = rng_make(job->seed);
	char *held[4] = {NULL};

	for (unsigned i = 0; i < 400; i++) {
		char **o = &held[rng_below(&rng, ELEMENTS(held))];

		if (*job->slot) {
			must(!pheap_write(job->heap, pheap_ptr(job->heap, *job->slot), &i, 4));
			must(!pheap_retire(job->heap, job->slot));
		} else if (*o) {
			must(!memcmp(*o, &o, sizeof(o)));
			if (i % 2)
				must(!pheap_free(job->heap, *o));
			else
				must(!pheap_publish(job->heap, job->slot, *o, PHEAP_PERSISTED));
			*o = NULL;
		} else if ((*o = pheap_alloc(job->heap, KIB(500) + rng_below(&rng, MIB(1))))) {
			memcpy(*o, &o, sizeof(o));
		} else {
			must(errno == ENOSPC);
		}
		if (i % 100 == 99)
			must(!pheap_purge(job->heap, i % 200 == 199 ? PHEAP_PUNCH_HOLES : 0));
	}
	for (unsigned i = 0; i < ELEMENTS(held); i++)
		must(!pheap_free(job->heap, held[i]));
	if (*job->slot)
		must(!pheap_retire(job->heap, job->slot));
	return NULL;
}

static void threads_at_once(void **state)
{
	struct job jobs[8];
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slots = publish_root(heap, ELEMENTS(jobs) * 64, 0);
	uint64_t before;
	unsigned i;

	(void)state;
	memset(slots, 0, ELEMENTS(jobs) * 64);
	for (i = 0; i < ELEMENTS(jobs); i++)
		jobs[i] = (struct job){heap, &slots[8 * i], i};
	run_threads(ELEMENTS(jobs), mix, jobs, sizeof(jobs[0]));
	assert_ok(pheap_purge(heap, 0));
	before = free_bytes(heap);
	/* All that is in use: the root, and the lanes. */
	assert_true(before >= (stats_of(heap).granules - info_of(heap).lanes - 1) * GRANULE);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* What is cached does not make a pool full. */
static void caches_make_way(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = pheap_root(heap);
	uint64_t largest = stats_of(heap).largest_free;
	void *objects[64];
	size_t n = fill_pool(heap, MIB(1), objects, ELEMENTS(objects)), i;

	(void)state;
	for (i = 0; i < n; i++) {
		/* Born ones too: every second. */
		if (i % 2) {
			assert_ok(pheap_publish(heap, slot, objects[i], PHEAP_PERSISTED));
			assert_ok(pheap_retire(heap, slot));
		} else {
			assert_ok(pheap_free(heap, objects[i]));
		}
	}
	assert_made(pheap_alloc(heap, largest));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* Spans that were kept when the program was killed are found again. */
static void kept_over_a_crash(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	uint64_t largest = stats_of(heap).largest_free;
	pheap_ref *slot = pheap_root(heap);
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_ok(pheap_alloc_into(heap, slot, MIB(3) / (i + 1), NULL));
		assert_ok(pheap_retire(heap, slot));
	}
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 0);
	assert_true(stats_of(copy).largest_free <= largest);
	assert_made(pheap_alloc(copy, largest));
	assert_int_equal(check_clean(copy), 0);
	close_pool(copy);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(reused),	   cmocka_unit_test(misuse),
		cmocka_unit_test(published_again), cmocka_unit_test(waits_in_limbo),
		cmocka_unit_test(bounded),	   cmocka_unit_test(thread_ends),
		cmocka_unit_test(caches_make_way), cmocka_unit_test(threads_at_once),
	};
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(kept_over_a_crash),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODES_ALL, everywhere);
	failed += run_modes(MODES_FILE, in_files);
	return failed;
}
