/*
 * test-publish.c - the single operations of publish.h: each effect, each error
 * with the state unchanged, and that what has returned survives a crash.
 */
#include "common.h"

#define POOL MIB(16)
#define SLOTS 64

/* A table of slots in the root, published and null. */
static pheap_t *heap;
static pheap_ref *slots;

static void begin(void)
{
	heap = make_pool("p", POOL);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), SLOTS * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
}

static void end(void)
{
	check_clean(heap);
	close_pool(heap);
}

static void *reserved(size_t size, uint64_t id)
{
	void *object = assert_made(pheap_alloc(heap, size));

	fill_pattern(object, size, id);
	return object;
}

static bool holds(pheap_t *in, pheap_ref ref, size_t size, uint64_t id)
{
	void *object = pheap_ptr(in, ref);

	return object && pheap_usable_size(in, object) >= size && has_pattern(object, size, id);
}

/* The slots after a crash now; the caller closes the heap. */
static pheap_t *crashed(pheap_ref **there)
{
	pheap_t *copy = crash_pool("p");

	*there = pheap_ptr(copy, *pheap_root(copy));
	return copy;
}

/* Sizes on both sides of what travels in a record. */
static const size_t sizes[] = {
	8, 16, 64, 65, 100, 248, 255, 256, 257, 300, 1024, 5000, 65536, 70000, 300000,
};

static void publish(void **state)
{
	pheap_ref *there;
	pheap_t *copy;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(sizes); i++) {
		void *object = reserved(sizes[i], i);

		assert_ok(pheap_publish(heap, &slots[i], object, 0));
		assert_ptr_equal(pheap_ptr(heap, slots[i]), object);
		assert_true(holds(heap, slots[i], sizes[i], i));
		assert_int_equal(check_clean(heap), i + 2);
	}
	if (mode_has_file()) {
		copy = crashed(&there);
		for (i = 0; i < ELEMENTS(sizes); i++)
			assert_true(holds(copy, there[i], sizes[i], i));
		assert_int_equal(check_clean(copy), ELEMENTS(sizes) + 1);
		close_pool(copy);
	}
	end();
}

static void publish_persisted(void **state)
{
	pheap_ref *there;
	pheap_t *copy;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(sizes); i++) {
		void *object = reserved(sizes[i], i);

		assert_ok(pheap_persist(heap, object, sizes[i]));
		assert_ok(pheap_publish(heap, &slots[i], object, PHEAP_PERSISTED));
	}
	if (mode_has_file()) {
		copy = crashed(&there);
		for (i = 0; i < ELEMENTS(sizes); i++)
			assert_true(holds(copy, there[i], sizes[i], i));
		close_pool(copy);
	}
	end();
}

static void publish_errors(void **state)
{
	void *object, *second;
	pheap_ref before;

	(void)state;
	begin();
	object = reserved(100, 1);
	second = reserved(100, 2);
	assert_ok(pheap_publish(heap, &slots[0], object, 0));
	before = slots[0];
	assert_error(EEXIST, pheap_publish(heap, &slots[0], second, 0));
	assert_true(slots[0] == before && holds(heap, slots[0], 100, 1));
	/* Published already. */
	assert_error(EINVAL, pheap_publish(heap, &slots[1], object, 0));
	assert_true(slots[1] == PHEAP_NULL);
	/* Interior, and not an object. */
	assert_error(EINVAL, pheap_publish(heap, &slots[1], (char *)second + 8, 0));
	assert_error(EINVAL, pheap_publish(heap, &slots[1], &slots[2], 0));
	assert_error(EINVAL, pheap_publish(heap, &slots[1], NULL, 0));
	assert_error(EINVAL, pheap_publish(heap, &slots[1], second, 1u << 20));
	/* Free. */
	assert_ok(pheap_free(heap, second));
	assert_error(EINVAL, pheap_publish(heap, &slots[1], second, 0));
	assert_true(slots[1] == PHEAP_NULL);
	assert_int_equal(check_clean(heap), 2);
	end();
}

/* Every operation with a slot refuses this one. object stays reserved. */
static void refuse_slot(pheap_ref *slot, void *object)
{
	assert_error(EINVAL, pheap_publish(heap, slot, object, 0));
	assert_error(EINVAL, pheap_retire(heap, slot));
	assert_error(EINVAL, pheap_replace(heap, slot, object, 0));
	assert_error(EINVAL, pheap_alloc_into(heap, slot, 100, NULL));
	assert_error(EINVAL, pheap_resize(heap, slot, 100));
	assert_error(EINVAL, pheap_set(heap, slot, 1));
	assert_true(has_pattern(object, 100, 3));
}

static void wrong_slots(void **state)
{
	static pheap_ref outside __attribute__((aligned(64)));
	pheap_ref on_stack = PHEAP_NULL, *freed;
	char *object, *base;
	uint64_t free_before;

	(void)state;
	begin();
	object = reserved(100, 3);
	free_before = stats_of(heap).granules_free;
	base = ((struct pheap_view *)heap)->base;
	refuse_slot(&on_stack, object);
	refuse_slot(&outside, object);
	refuse_slot(NULL, object);
	/* In reserved memory, its own included. */
	refuse_slot((pheap_ref *)assert_made(pheap_zalloc(heap, 64)), object);
	refuse_slot((pheap_ref *)object, object);
	/* In freed memory. */
	freed = assert_made(pheap_zalloc(heap, 64));
	assert_ok(pheap_free(heap, freed));
	refuse_slot(freed, object);
	/* Not aligned. */
	refuse_slot((pheap_ref *)(void *)((char *)slots + 4), object);
	refuse_slot((pheap_ref *)(void *)((char *)slots + 1), object);
	/* The pool's own structures, and beyond its end. */
	refuse_slot((pheap_ref *)(void *)base, object);
	refuse_slot((pheap_ref *)(void *)(base + 8192), object);
	refuse_slot((pheap_ref *)(void *)(base + 65536), object);
	refuse_slot((pheap_ref *)(void *)(base + POOL), object);
	assert_true(on_stack == PHEAP_NULL && outside == PHEAP_NULL);
	/* Behind the last object of the page of roots: names are no slots. */
	refuse_slot(pheap_root(heap) - 1, object);

	assert_int_equal(check_clean(heap), 1);
	assert_true(stats_of(heap).granules_free <= free_before);
	assert_ok(pheap_free(heap, object));
	end();
}

static void retire(void **state)
{
	pheap_ref *there;
	pheap_t *copy;
	void *object;
	size_t i;

	(void)state;
	begin();
	assert_error(ENOENT, pheap_retire(heap, &slots[0]));
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_ok(pheap_publish(heap, &slots[i], reserved(sizes[i], i), 0));
	for (i = 0; i < ELEMENTS(sizes); i += 2) {
		object = pheap_ptr(heap, slots[i]);
		assert_ok(pheap_retire(heap, &slots[i]));
		assert_true(slots[i] == PHEAP_NULL);
		assert_int_equal(pheap_usable_size(heap, object), 0);
		assert_error(ENOENT, pheap_retire(heap, &slots[i]));
	}
	if (mode_has_file()) {
		copy = crashed(&there);
		for (i = 0; i < ELEMENTS(sizes); i++)
			assert_true(i % 2 ? holds(copy, there[i], sizes[i], i)
					  : there[i] == PHEAP_NULL);
		assert_int_equal(check_clean(copy), ELEMENTS(sizes) / 2 + 1);
		close_pool(copy);
	}
	end();
}

/* A slot that holds what is no reference to an object's start. */
static void garbage_in_slot(void **state)
{
	char *object, *unpublished;
	pheap_ref garbage[8];
	size_t i;

	(void)state;
	begin();
	object = reserved(100, 1);
	unpublished = reserved(100, 2);
	assert_ok(pheap_publish(heap, &slots[0], object, 0));
	garbage[0] = slots[0] + 8;
	garbage[1] = slots[0] + 1;
	garbage[2] = pheap_ref_of(heap, unpublished);
	garbage[3] = 4096;
	garbage[4] = POOL;
	garbage[5] = UINT64_MAX;
	garbage[6] = 1;
	garbage[7] = POOL - 64;
	for (i = 0; i < ELEMENTS(garbage); i++) {
		assert_ok(pheap_set(heap, &slots[1], garbage[i]));
		assert_error(EINVAL, pheap_retire(heap, &slots[1]));
		assert_error(EINVAL, pheap_replace(heap, &slots[1], unpublished, 0));
		assert_error(EINVAL, pheap_resize(heap, &slots[1], 1000));
		assert_error(EEXIST, pheap_alloc_into(heap, &slots[1], 10, NULL));
		assert_error(EEXIST, pheap_publish(heap, &slots[1], unpublished, 0));
		assert_true(slots[1] == garbage[i]);
		assert_true(has_pattern(unpublished, 100, 2) && has_pattern(object, 100, 1));
	}
	assert_ok(pheap_set(heap, &slots[1], PHEAP_NULL));
	/* A second reference to an object whose first was retired. */
	assert_ok(pheap_set(heap, &slots[1], slots[0]));
	assert_ok(pheap_retire(heap, &slots[0]));
	assert_error(EINVAL, pheap_retire(heap, &slots[1]));
	assert_ok(pheap_set(heap, &slots[1], PHEAP_NULL));
	assert_ok(pheap_free(heap, unpublished));
	assert_int_equal(check_clean(heap), 1);
	end();
}

static void replace(void **state)
{
	void *old, *fresh;
	pheap_ref *there;
	pheap_t *copy;
	size_t i;

	(void)state;
	begin();
	fresh = reserved(10, 0);
	assert_error(ENOENT, pheap_replace(heap, &slots[0], fresh, 0));
	assert_true(slots[0] == PHEAP_NULL);
	assert_ok(pheap_publish(heap, &slots[0], fresh, 0));
	for (i = 0; i < ELEMENTS(sizes); i++) {
		old = pheap_ptr(heap, slots[0]);
		fresh = reserved(sizes[i], i);
		assert_error(EINVAL, pheap_replace(heap, &slots[0], old, 0));
		assert_ok(pheap_replace(heap, &slots[0], fresh, 0));
		assert_ptr_equal(pheap_ptr(heap, slots[0]), fresh);
		assert_int_equal(pheap_usable_size(heap, old), 0);
		assert_int_equal(check_clean(heap), 2);
		if (mode_has_file()) {
			copy = crashed(&there);
			assert_true(holds(copy, there[0], sizes[i], i));
			assert_int_equal(check_clean(copy), 2);
			close_pool(copy);
		}
	}
	assert_ok(pheap_free(heap, reserved(10, 1)));
	end();
}

static void alloc_into(void **state)
{
	static char content[300000], zero[300000];
	pheap_ref *there;
	pheap_t *copy;
	size_t i;

	(void)state;
	begin();
	/* Old content where the zero bytes shall be. */
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_ok(pheap_free(heap, reserved(sizes[i], i)));
	for (i = 0; i < ELEMENTS(sizes); i++) {
		fill_pattern(content, sizes[i], i);
		assert_ok(pheap_alloc_into(heap, &slots[2 * i], sizes[i], content));
		assert_ok(pheap_alloc_into(heap, &slots[2 * i + 1], sizes[i], NULL));
		assert_error(EEXIST, pheap_alloc_into(heap, &slots[2 * i], sizes[i], content));
		assert_true(holds(heap, slots[2 * i], sizes[i], i));
		assert_memory_equal(pheap_ptr(heap, slots[2 * i + 1]), zero, sizes[i]);
	}
	assert_error(EINVAL, pheap_alloc_into(heap, &slots[60], 0, NULL));
	assert_error(ENOSPC, pheap_alloc_into(heap, &slots[60], SIZE_MAX, NULL));
	assert_error(ENOSPC, pheap_alloc_into(heap, &slots[60], POOL, content));
	assert_true(slots[60] == PHEAP_NULL);
	assert_int_equal(check_clean(heap), 2 * ELEMENTS(sizes) + 1);
	if (mode_has_file()) {
		copy = crashed(&there);
		for (i = 0; i < ELEMENTS(sizes); i++) {
			assert_true(holds(copy, there[2 * i], sizes[i], i));
			assert_memory_equal(pheap_ptr(copy, there[2 * i + 1]), zero, sizes[i]);
		}
		close_pool(copy);
	}
	end();
}

static void resize(void **state)
{
	static const size_t steps[] = {
		100, 64, 65, 500, 250, 5000, 66000, 65000, 200000, 900000, 70000, 10, 16, 3000,
	};
	size_t i, old = 80, kept;
	pheap_ref *there;
	pheap_t *copy;

	(void)state;
	begin();
	assert_error(ENOENT, pheap_resize(heap, &slots[0], 100));
	assert_ok(pheap_publish(heap, &slots[0], reserved(old, 1), 0));
	assert_error(EINVAL, pheap_resize(heap, &slots[0], 0));
	assert_error(ENOSPC, pheap_resize(heap, &slots[0], SIZE_MAX));
	assert_error(ENOSPC, pheap_resize(heap, &slots[0], POOL));
	assert_true(holds(heap, slots[0], old, 1));
	for (i = 0; i < ELEMENTS(steps); i++) {
		assert_ok(pheap_resize(heap, &slots[0], steps[i]));
		kept = old < steps[i] ? old : steps[i];
		assert_true(pheap_usable_size(heap, pheap_ptr(heap, slots[0])) >= steps[i]);
		assert_true(holds(heap, slots[0], kept & ~(size_t)7, i + 1));
		assert_int_equal(check_clean(heap), 2);
		if (mode_has_file()) {
			copy = crashed(&there);
			assert_true(holds(copy, there[0], kept & ~(size_t)7, i + 1));
			assert_true(pheap_usable_size(copy, pheap_ptr(copy, there[0])) >= steps[i]);
			assert_int_equal(check_clean(copy), 2);
			close_pool(copy);
		}
		/* Fresh content in all of it, made durable by hand. */
		old = steps[i] & ~(size_t)7;
		fill_pattern(pheap_ptr(heap, slots[0]), old, i + 2);
		assert_ok(pheap_persist(heap, pheap_ptr(heap, slots[0]), old));
	}
	end();
}

static void set(void **state)
{
	uint64_t *words, *there_words, i;
	pheap_ref *there;
	pheap_t *copy;

	(void)state;
	begin();
	assert_ok(pheap_alloc_into(heap, &slots[0], 8000, NULL));
	words = pheap_ptr(heap, slots[0]);
	for (i = 0; i < 1000; i++)
		assert_ok(pheap_set(heap, &words[i], i * i + 1));
	for (i = 0; i < 1000; i += 3)
		assert_ok(pheap_set(heap, &words[i], i + 7));
	/* The last word of the block, and none behind it. */
	assert_ok(pheap_set(
		heap, (uint64_t *)(void *)((char *)words + pheap_usable_size(heap, words) - 8), 5));
	if (mode_has_file()) {
		copy = crashed(&there);
		there_words = pheap_ptr(copy, there[0]);
		for (i = 0; i < 1000; i++)
			assert_true(there_words[i] == (i % 3 ? i * i + 1 : i + 7));
		close_pool(copy);
	}
	for (i = 0; i < 1000; i++)
		assert_true(words[i] == (i % 3 ? i * i + 1 : i + 7));
	end();
}

static void write_bytes(void **state)
{
	char bytes[PHEAP_INLINE_MAX + 1], want[3000], *object, *raw;
	struct rng rng = rng_make(1);
	size_t offset, length, usable;
	pheap_ref *there;
	pheap_t *copy;
	unsigned i;

	(void)state;
	begin();
	assert_ok(pheap_alloc_into(heap, &slots[0], sizeof(want), NULL));
	object = pheap_ptr(heap, slots[0]);
	memset(want, 0, sizeof(want));
	for (i = 0; i < 2000; i++) {
		length = 1 + rng_below(&rng, PHEAP_INLINE_MAX);
		offset = rng_below(&rng, sizeof(want) - length + 1);
		fill_pattern(bytes, length, i);
		assert_ok(pheap_write(heap, object + offset, bytes, length));
		memcpy(want + offset, bytes, length);
		assert_memory_equal(object, want, sizeof(want));
	}
	if (mode_has_file()) {
		copy = crashed(&there);
		assert_memory_equal(pheap_ptr(copy, there[0]), want, sizeof(want));
		close_pool(copy);
	}
	usable = pheap_usable_size(heap, object);
	raw = reserved(100, 2);
	assert_error(EINVAL, pheap_write(heap, object, bytes, 0));
	assert_error(EINVAL, pheap_write(heap, object, bytes, PHEAP_INLINE_MAX + 1));
	assert_error(EINVAL, pheap_write(heap, object + usable - 4, bytes, 8));
	assert_error(EINVAL, pheap_write(heap, object - 4, bytes, 8));
	assert_error(EINVAL, pheap_write(heap, raw, bytes, 8));
	assert_error(EINVAL, pheap_write(heap, want, bytes, 8));
	assert_error(EINVAL, pheap_write(heap, NULL, bytes, 8));
	assert_memory_equal(object, want, sizeof(want));
	assert_true(has_pattern(raw, 100, 2));
	end();
}

static void owned_by_transaction(void **state)
{
	pheap_tx_t *tx;
	void *own, *adopted;

	(void)state;
	begin();
	tx = assert_made(pheap_tx_begin(heap));
	own = assert_made(pheap_tx_zalloc(tx, 100));
	adopted = reserved(100, 1);
	assert_ok(pheap_tx_adopt(tx, adopted));
	assert_ok(pheap_alloc_into(heap, &slots[1], 10, NULL));
	assert_error(EINVAL, pheap_publish(heap, &slots[0], own, 0));
	assert_error(EINVAL, pheap_publish(heap, &slots[0], adopted, 0));
	assert_error(EINVAL, pheap_replace(heap, &slots[1], own, 0));
	assert_error(EINVAL, pheap_replace(heap, &slots[1], adopted, 0));
	/* A slot in it is in memory that is not published yet. */
	assert_error(EINVAL, pheap_alloc_into(heap, own, 10, NULL));
	assert_true(slots[0] == PHEAP_NULL);
	assert_ok(pheap_tx_abort(tx));
	assert_int_equal(check_clean(heap), 2);
	end();
}

/* A retired object's memory is used again, with other content, and lives. */
static void reuse_over_and_over(void **state)
{
	struct rng rng = rng_make(2);
	uint64_t ids[SLOTS] = {0}, id = 0;
	size_t size[SLOTS] = {0};
	pheap_ref *there;
	pheap_t *copy;
	unsigned i, round, k;

	(void)state;
	begin();
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 2000; i++) {
			k = (unsigned)rng_below(&rng, SLOTS);
			if (ids[k]) {
				assert_true(holds(heap, slots[k], size[k], ids[k]));
				assert_ok(pheap_retire(heap, &slots[k]));
				ids[k] = 0;
			} else {
				size[k] = 1 + rng_below(&rng, i % 10 ? 400 : 9000);
				ids[k] = ++id;
				assert_ok(pheap_publish(heap, &slots[k], reserved(size[k], id), 0));
			}
		}
		if (!mode_has_file())
			continue;
		copy = crashed(&there);
		for (k = 0; k < SLOTS; k++)
			assert_true(ids[k] ? holds(copy, there[k], size[k], ids[k])
					   : there[k] == PHEAP_NULL);
		check_clean(copy);
		close_pool(copy);
	}
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publish),
		cmocka_unit_test(publish_persisted),
		cmocka_unit_test(publish_errors),
		cmocka_unit_test(wrong_slots),
		cmocka_unit_test(retire),
		cmocka_unit_test(garbage_in_slot),
		cmocka_unit_test(replace),
		cmocka_unit_test(alloc_into),
		cmocka_unit_test(resize),
		cmocka_unit_test(set),
		cmocka_unit_test(write_bytes),
		cmocka_unit_test(owned_by_transaction),
		cmocka_unit_test(reuse_over_and_over),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
