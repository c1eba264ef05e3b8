/*
 * test-alloc.c - what malloc has to do: sizes, alignment, content, no overlap,
 * realloc, and an error for every misuse. Full pools are in test-full.c.
 */
#include "common.h"

#define POOL MIB(32)

/* The alignment that alloc.h promises for a size. */
static size_t promised(size_t size)
{
	if (size > KIB(64))
		return size > KIB(224) ? KIB(64) : KIB(16);
	if (!(size & (size - 1)))
		return size < 8 ? 8 : size;
	return size % 16 ? 8 : 16;
}

static void every_size(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	size_t size;

	(void)state;
	for (size = 1; size <= 300000; size += size < 2100 ? 1 : size < 70000 ? 61 : 997) {
		char *a = assert_made(pheap_alloc(heap, size));
		char *b = assert_made(pheap_zalloc(heap, size));

		assert_int_equal((uintptr_t)a % promised(size), 0);
		assert_int_equal((uintptr_t)b % promised(size), 0);
		assert_true(pheap_usable_size(heap, a) >= size);
		assert_true(a + size <= b || b + size <= a);
		fill_pattern(a, pheap_usable_size(heap, a), size);
		fill_pattern(b, pheap_usable_size(heap, b), size + 1);
		assert_true(has_pattern(a, pheap_usable_size(heap, a), size));
		assert_ok(pheap_free(heap, a));
		assert_true(has_pattern(b, pheap_usable_size(heap, b), size + 1));
		assert_ok(pheap_free(heap, b));
	}
	for (size = 16; size <= KIB(64); size *= 2) {
		void *a = assert_made(pheap_alloc(heap, size));

		assert_int_equal((uintptr_t)a % size, 0);
		assert_ok(pheap_free(heap, a));
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* Bounds that the format promises: 12.5 % above 64 bytes, 20 and 17 % between 64 and 320
 * and 512 KiB. */
static void usable_size(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	size_t size, usable;

	(void)state;
	for (size = 65; size <= MIB(3); size += size / 50 + 1) {
		void *a = assert_made(pheap_alloc(heap, size));

		usable = pheap_usable_size(heap, a);
		assert_true(usable >= size);
		if (size <= KIB(64) || size > KIB(512))
			assert_true((usable - size) * 8 <= usable);
		else
			assert_true((usable - size) * 100 <= usable * (size <= KIB(320) ? 20 : 17));
		assert_ok(pheap_free(heap, a));
	}
	close_pool(heap);
}

static void aligned(void **state)
{
	static const size_t sizes[] = {1, 8, 24, 40, 100, 1000, 3000, 5000, 60000, 66000, 200000};
	pheap_t *heap = make_pool("p", POOL);
	void *objects[17][ELEMENTS(sizes)];
	size_t alignment, i, j;

	(void)state;
	for (i = 0; i <= 16; i++) {
		alignment = (size_t)1 << i;
		for (j = 0; j < ELEMENTS(sizes); j++) {
			objects[i][j] = assert_made(pheap_aligned_alloc(heap, alignment, sizes[j]));
			assert_int_equal((uintptr_t)objects[i][j] % alignment, 0);
			assert_true(pheap_usable_size(heap, objects[i][j]) >= sizes[j]);
			fill_pattern(objects[i][j], sizes[j], i * 100 + j);
		}
	}
	for (i = 0; i <= 16; i++) {
		for (j = 0; j < ELEMENTS(sizes); j++) {
			assert_true(has_pattern(objects[i][j], sizes[j], i * 100 + j));
			assert_ok(pheap_free(heap, objects[i][j]));
		}
	}
	assert_errno(EINVAL, pheap_aligned_alloc(heap, 0, 10));
	assert_errno(EINVAL, pheap_aligned_alloc(heap, 3, 10));
	assert_errno(EINVAL, pheap_aligned_alloc(heap, 48, 10));
	assert_errno(EINVAL, pheap_aligned_alloc(heap, KIB(128), 10));
	assert_errno(EINVAL, pheap_aligned_alloc(heap, SIZE_MAX, 10));
	assert_errno(EINVAL, pheap_aligned_alloc(heap, 64, 0));
	close_pool(heap);
}

static void impossible_sizes(void **state)
{
	static const size_t offsets[] = {0, 1, 7, 8, 15, 16, 4095, 4096, 65535, 65536, 131072};
	pheap_t *heap = make_pool("p", POOL);
	uint64_t max = info_of(heap).max_object;
	char *kept = assert_made(pheap_alloc(heap, 100));
	size_t i;

	(void)state;
	fill_pattern(kept, 100, 1);
	assert_errno(EINVAL, pheap_alloc(heap, 0));
	assert_errno(EINVAL, pheap_zalloc(heap, 0));
	for (i = 0; i < ELEMENTS(offsets); i++) {
		size_t wrap = SIZE_MAX - offsets[i];

		assert_errno(ENOSPC, pheap_alloc(heap, wrap));
		assert_errno(ENOSPC, pheap_zalloc(heap, wrap));
		assert_errno(ENOSPC, pheap_aligned_alloc(heap, KIB(64), wrap));
		assert_errno(ENOSPC, pheap_realloc(heap, NULL, wrap));
		assert_errno(ENOSPC, pheap_realloc(heap, kept, wrap));
		assert_errno(ENOSPC, pheap_alloc(heap, (size_t)1 << 63 | offsets[i]));
		assert_errno(ENOSPC, pheap_alloc(heap, ((size_t)1 << 32 << 16) + offsets[i]));
		assert_errno(ENOSPC, pheap_alloc(heap, max + 1 + offsets[i]));
	}
	assert_true(has_pattern(kept, 100, 1));
	assert_ok(pheap_free(heap, kept));
	close_pool(heap);
}

static void zeroed(void **state)
{
	static const size_t sizes[] = {16, 64, 200, 4096, 30000, 100000};
	pheap_t *heap = make_pool("p", POOL);
	char *objects[20];
	size_t i, j, k;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		for (j = 0; j < ELEMENTS(objects); j++) {
			objects[j] = assert_made(pheap_alloc(heap, sizes[i]));
			memset(objects[j], 0xee, sizes[i]);
		}
		for (j = 0; j < ELEMENTS(objects); j++)
			assert_ok(pheap_free(heap, objects[j]));
		for (j = 0; j < ELEMENTS(objects); j++) {
			objects[j] = assert_made(pheap_zalloc(heap, sizes[i]));
			for (k = 0; k < sizes[i]; k++)
				assert_int_equal(objects[j][k], 0);
		}
		for (j = 0; j < ELEMENTS(objects); j++)
			assert_ok(pheap_free(heap, objects[j]));
	}
	close_pool(heap);
}

/* Mostly small, some large. */
static size_t random_size(struct rng *rng)
{
	switch (rng_below(rng, 20)) {
	case 0:
		return 1 + rng_below(rng, 200000);
	case 1:
	case 2:
		return 1 + rng_below(rng, 20000);
	default:
		return 1 + rng_below(rng, 600);
	}
}

#define LIVE 3000

static void no_overlap(void **state)
{
	static struct {
		char *ptr;
		size_t size;
		uint64_t id;
	} live[LIVE];
	struct rng rng = rng_make(1);
	pheap_t *heap = make_pool("p", MIB(128));
	unsigned round, i;

	(void)state;
	memset(live, 0, sizeof(live));
	for (round = 1; round < 100000; round++) {
		i = (unsigned)rng_below(&rng, LIVE);
		if (live[i].ptr) {
			assert_true(has_pattern(live[i].ptr, live[i].size, live[i].id));
			assert_ok(pheap_free(heap, live[i].ptr));
			live[i].ptr = NULL;
			continue;
		}
		live[i].size = random_size(&rng);
		live[i].id = round;
		live[i].ptr = assert_made(pheap_alloc(heap, live[i].size));
		fill_pattern(live[i].ptr, live[i].size, round);
	}
	for (i = 0; i < LIVE; i++) {
		if (!live[i].ptr)
			continue;
		assert_true(has_pattern(live[i].ptr, live[i].size, live[i].id));
		assert_ok(pheap_free(heap, live[i].ptr));
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

static void double_free(void **state)
{
	static const size_t sizes[] = {1, 16, 64, 100, 4000, 61000, 65536, 65537, 1000000};
	pheap_t *heap = make_pool("p", POOL);
	size_t i;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		void *a = assert_made(pheap_alloc(heap, sizes[i]));
		void *b = assert_made(pheap_alloc(heap, sizes[i]));

		assert_ok(pheap_free(heap, a));
		assert_error(EINVAL, pheap_free(heap, a));
		assert_ok(pheap_free(heap, b));
		assert_error(EINVAL, pheap_free(heap, a));
		assert_error(EINVAL, pheap_free(heap, b));
		errno = 0;
		assert_int_equal(pheap_usable_size(heap, a), 0);
		assert_int_equal(errno, EINVAL);
		assert_errno(EINVAL, pheap_realloc(heap, a, 10));
		assert_error(EINVAL, pheap_publish(heap, pheap_root(heap), b, 0));
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* Free a thousand, then each again: caches, slabs, empty slabs, all see it. */
static void double_free_of_many(void **state)
{
	static const size_t sizes[] = {16, 48, 512, 6000};
	pheap_t *heap = make_pool("p", POOL);
	void *objects[1000];
	size_t i, j;

	(void)state;
	for (i = 0; i < ELEMENTS(sizes); i++) {
		for (j = 0; j < ELEMENTS(objects); j++)
			objects[j] = assert_made(pheap_alloc(heap, sizes[i]));
		for (j = 0; j < ELEMENTS(objects); j++)
			assert_ok(pheap_free(heap, objects[j]));
		for (j = 0; j < ELEMENTS(objects); j++)
			assert_error(EINVAL, pheap_free(heap, objects[j]));
	}
	close_pool(heap);
}

/* Each function that takes an object refuses this address, and nothing changes. */
static void refuse(pheap_t *heap, void *ptr)
{
	pheap_ref *root = pheap_root(heap);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));

	assert_error(EINVAL, pheap_free(heap, ptr));
	assert_errno(EINVAL, pheap_realloc(heap, ptr, 10));
	errno = 0;
	assert_int_equal(pheap_usable_size(heap, ptr), 0);
	assert_int_equal(errno, EINVAL);
	assert_error(EINVAL, pheap_publish(heap, root, ptr, 0));
	assert_error(EINVAL, pheap_tx_adopt(tx, ptr));
	assert_error(EINVAL, pheap_tx_free(tx, ptr));
	assert_ok(pheap_tx_abort(tx));
	assert_true(*root == PHEAP_NULL);
}

static void wrong_pointers(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *small = assert_made(pheap_alloc(heap, 100));
	char *large = assert_made(pheap_alloc(heap, 300000));
	char *base = ((struct pheap_view *)heap)->base;
	uint64_t on_stack[16], offset, size = info_of(heap).size;
	void *foreign = malloc(100);

	(void)state;
	fill_pattern(small, 100, 1);
	fill_pattern(large, 300000, 2);
	refuse(heap, small + 1);
	refuse(heap, small + 8);
	refuse(heap, small + 16);
	refuse(heap, small + 99);
	refuse(heap, large + 8);
	refuse(heap, large + 4096);
	refuse(heap, large + 65536);
	refuse(heap, large + 299999);
	refuse(heap, on_stack);
	refuse(heap, foreign);
	refuse(heap, base);
	for (offset = 8; offset < MIB(2); offset = offset * 2 - offset % 3)
		if (base + offset != small && base + offset != large)
			refuse(heap, base + offset);
	refuse(heap, pheap_root(heap));
	refuse(heap, base + size - 8);
	refuse(heap, base + size);
	refuse(heap, base + size + 65536);
	refuse(heap, (void *)8);
	refuse(heap, (void *)(UINTPTR_MAX - 7));
	free(foreign);

	assert_true(has_pattern(small, 100, 1) && has_pattern(large, 300000, 2));
	assert_ok(pheap_free(heap, small));
	assert_ok(pheap_free(heap, large));
	assert_ok(pheap_free(heap, NULL));
	assert_error(EINVAL, pheap_publish(heap, pheap_root(heap), NULL, 0));
	close_pool(heap);
}

static void published_pointer(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object = publish_root(heap, 100, 3);

	(void)state;
	assert_error(EINVAL, pheap_free(heap, object));
	assert_errno(EINVAL, pheap_realloc(heap, object, 200));
	assert_true(pheap_usable_size(heap, object) >= 100);
	assert_true(has_pattern(object, 100, 3));
	assert_int_equal(check_clean(heap), 1);
	assert_ok(pheap_retire(heap, pheap_root(heap)));
	assert_error(EINVAL, pheap_free(heap, object));
	assert_int_equal(pheap_usable_size(heap, object), 0);
	close_pool(heap);
}

static void owned_by_transaction(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	char *own = assert_made(pheap_tx_alloc(tx, 100)),
	     *adopted = assert_made(pheap_alloc(heap, 50));

	(void)state;
	assert_ok(pheap_tx_adopt(tx, adopted));
	assert_error(EINVAL, pheap_free(heap, own));
	assert_error(EINVAL, pheap_free(heap, adopted));
	assert_errno(EINVAL, pheap_realloc(heap, own, 200));
	assert_errno(EINVAL, pheap_realloc(heap, adopted, 200));
	assert_ok(pheap_tx_abort(tx));
	assert_error(EINVAL, pheap_free(heap, own));
	assert_error(EINVAL, pheap_free(heap, adopted));
	close_pool(heap);
}

static void resize_reserved(void **state)
{
	static const size_t sizes[] = {
		10, 16, 24, 64, 65, 200, 199, 5000, 4000, 64, 70000, 65536, 200000, 1500000, 100, 1,
	};
	pheap_t *heap = make_pool("p", POOL);
	char *a = assert_made(pheap_realloc(heap, NULL, 8));
	size_t old = 8, kept, i;

	(void)state;
	fill_pattern(a, old, 7);
	for (i = 0; i < ELEMENTS(sizes); i++) {
		a = assert_made(pheap_realloc(heap, a, sizes[i]));
		assert_true(pheap_usable_size(heap, a) >= sizes[i]);
		kept = old < sizes[i] ? old : sizes[i];
		/* Whole words, as a part of one has another pattern. */
		assert_true(has_pattern(a, kept & ~(size_t)7, 7));
		old = sizes[i];
		fill_pattern(a, old, 7);
	}
	assert_errno(EINVAL, pheap_realloc(heap, a, 0));
	assert_true(has_pattern(a, old, 7));
	assert_ok(pheap_free(heap, a));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

struct other_thread {
	pheap_t *heap;
	void **objects;
	size_t n;
	int want;
};

static void *free_all(void *arg)
{
	struct other_thread *other = arg;
	size_t i;

	for (i = 0; i < other->n; i++)
		must(pheap_free(other->heap, other->objects[i]) == other->want);
	return NULL;
}

static void free_in_another_thread(void **state)
{
	static void *objects[5000];
	pheap_t *heap = make_pool("p", POOL);
	struct other_thread other = {heap, objects, ELEMENTS(objects), 0};
	unsigned round;
	size_t i;

	(void)state;
	for (round = 0; round < 20; round++) {
		for (i = 0; i < ELEMENTS(objects); i++) {
			objects[i] = assert_made(pheap_alloc(heap, 16 + (i * 7 + round) % 800));
			fill_pattern(objects[i], 16, i);
		}
		for (i = 0; i < ELEMENTS(objects); i++)
			assert_true(has_pattern(objects[i], 16, i));
		other.want = 0;
		run_thread(free_all, &other);
		/* A double free across threads is one too. */
		other.want = -EINVAL;
		free_all(&other);
		run_thread(free_all, &other);
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* What was reserved and not published is free again. */
static void reserved_is_not_permanent(void **state)
{
	static void *objects[200];
	pheap_t *heap = make_pool("p", POOL), *copy;
	uint64_t largest = stats_of(heap).largest_free;
	size_t i;

	(void)state;
	publish_root(heap, 64, 1);
	for (i = 0; i < ELEMENTS(objects); i++)
		objects[i] = assert_made(pheap_alloc(heap, 32u << i % 13));
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 1);
	errno = 0;
	for (i = 0; i < ELEMENTS(objects); i++) {
		void *there = pheap_ptr(copy, pheap_ref_of(heap, objects[i]));

		assert_int_equal(pheap_usable_size(copy, there), 0);
		assert_error(EINVAL, pheap_free(copy, there));
	}
	close_pool(copy);
	heap = reopen_pool(heap, "p");
	assert_int_equal(check_clean(heap), 1);
	assert_ok(pheap_retire(heap, pheap_root(heap)));
	heap = reopen_pool(heap, "p");
	assert_int_equal(check_clean(heap), 0);
	/* All of the pool but a lane is there again. */
	assert_true(stats_of(heap).largest_free >= largest / 2);
	close_pool(heap);
}

static void largest_fits(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object;
	uint64_t largest;

	(void)state;
	while ((largest = stats_of(heap).largest_free) > 0) {
		object = assert_made(pheap_alloc(heap, largest));
		assert_true(pheap_usable_size(heap, object) >= largest);
		object[0] = object[largest - 1] = 1;
	}
	assert_errno(ENOSPC, pheap_alloc(heap, KIB(64)));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(every_size),
		cmocka_unit_test(usable_size),
		cmocka_unit_test(aligned),
		cmocka_unit_test(impossible_sizes),
		cmocka_unit_test(zeroed),
		cmocka_unit_test(no_overlap),
		cmocka_unit_test(double_free),
		cmocka_unit_test(double_free_of_many),
		cmocka_unit_test(wrong_pointers),
		cmocka_unit_test(published_pointer),
		cmocka_unit_test(owned_by_transaction),
		cmocka_unit_test(resize_reserved),
		cmocka_unit_test(free_in_another_thread),
		cmocka_unit_test(largest_fits),
	};
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(reserved_is_not_permanent),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODES_ALL, everywhere);
	failed += run_modes(MODES_FILE, in_files);
	return failed;
}
