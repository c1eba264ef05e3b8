/*
 * test-persist.c - pheap_persist, flush, drain and memcpy: ranges that are
 * allowed, and what they do to bytes that went through a redo record.
 */
#include "common.h"

#define POOL MIB(8)

static void own_stores(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	char *object = publish_root(heap, 5000, 1), content[5000];

	(void)state;
	fill_pattern(object, 5000, 2);
	assert_ok(pheap_persist(heap, object, 5000));
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_true(has_pattern(pheap_ptr(copy, *pheap_root(copy)), 5000, 2));
		close_pool(copy);
	}
	fill_pattern(object, 5000, 3);
	assert_ok(pheap_flush(heap, object, 2000));
	assert_ok(pheap_flush(heap, object + 2000, 3000));
	assert_ok(pheap_drain(heap));
	assert_true(has_pattern(object, 5000, 3));
	fill_pattern(content, sizeof(content), 4);
	assert_ok(pheap_memcpy(heap, object, content, sizeof(content)));
	assert_ok(pheap_drain(heap));
	assert_true(has_pattern(object, 5000, 4));
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_true(has_pattern(pheap_ptr(copy, *pheap_root(copy)), 5000, 4));
		close_pool(copy);
	}
	close_pool(heap);
}

/* Any place and length; nothing beside it. */
static void copy_anywhere(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object = publish_root(heap, 4096, 1), want[4096], bytes[700];
	struct rng rng = rng_make(1);
	size_t offset, length;
	unsigned i;

	(void)state;
	memcpy(want, object, sizeof(want));
	for (i = 0; i < 2000; i++) {
		length = rng_below(&rng, sizeof(bytes) + 1);
		offset = rng_below(&rng, sizeof(want) - length + 1);
		fill_pattern(bytes, length, i);
		memcpy(want + offset, bytes, length);
		assert_ok(pheap_memcpy(heap, object + offset, bytes, length));
		assert_memory_equal(object, want, sizeof(want));
	}
	assert_ok(pheap_drain(heap));
	close_pool(heap);
}

/*
 * Bytes that a record wrote a moment ago, then newer ones of the user's: a
 * replay of the record must not bring the old ones back.
 */
static void after_a_record(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	char *object = publish_root(heap, 256, 1), bytes[64];
	uint64_t *word = (uint64_t *)(void *)object;
	unsigned i;

	(void)state;
	for (i = 0; i < 50; i++) {
		fill_pattern(bytes, sizeof(bytes), 100 + i);
		assert_ok(pheap_write(heap, object, bytes, sizeof(bytes)));
		assert_ok(pheap_set(heap, word + 10, 1000 + i));
		/* Now with plain stores. */
		fill_pattern(object, sizeof(bytes), 200 + i);
		word[10] = 2000 + i;
		if (i % 2) {
			assert_ok(pheap_persist(heap, object, 256));
		} else {
			fill_pattern(bytes, sizeof(bytes), 200 + i);
			assert_ok(pheap_memcpy(heap, object, bytes, sizeof(bytes)));
			assert_ok(pheap_flush(heap, word + 10, 8));
			assert_ok(pheap_drain(heap));
		}
		assert_true(has_pattern(object, sizeof(bytes), 200 + i));
		copy = crash_pool("p");
		object = pheap_ptr(copy, *pheap_root(copy));
		assert_true(has_pattern(object, sizeof(bytes), 200 + i));
		assert_true(((uint64_t *)(void *)object)[10] == 2000 + i);
		close_pool(copy);
		object = (char *)word;
	}
	close_pool(heap);
}

/* Freshly published content is in a record, too. */
static void after_publish(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	char *object;
	unsigned i;

	(void)state;
	for (i = 0; i < 40; i++) {
		object = publish_root(heap, 64 + 64 * (i % 3), i);
		fill_pattern(object, 64, 500 + i);
		assert_ok(pheap_persist(heap, object, 64));
		copy = crash_pool("p");
		assert_true(has_pattern(pheap_ptr(copy, *pheap_root(copy)), 64, 500 + i));
		close_pool(copy);
		assert_ok(pheap_retire(heap, pheap_root(heap)));
	}
	close_pool(heap);
}

static void ranges(void **state)
{
	static char outside[64];
	pheap_t *heap = make_pool("p", POOL);
	char *object = publish_root(heap, 64, 1), *raw = assert_made(pheap_alloc(heap, 1000));
	char *base = ((struct pheap_view *)heap)->base;

	(void)state;
	assert_ok(pheap_persist(heap, object, 0));
	assert_ok(pheap_flush(heap, object, 0));
	assert_ok(pheap_drain(heap));
	/* Reserved memory may be made durable before it is published. */
	assert_ok(pheap_persist(heap, raw, 1000));
	assert_error(EINVAL, pheap_persist(heap, outside, 64));
	assert_error(EINVAL, pheap_flush(heap, outside, 64));
	assert_error(EINVAL, pheap_memcpy(heap, outside, object, 64));
	assert_error(EINVAL, pheap_persist(heap, base, 64));
	assert_error(EINVAL, pheap_persist(heap, base + 8192, 64));
	assert_error(EINVAL, pheap_memcpy(heap, base + 8192, object, 64));
	assert_error(EINVAL, pheap_persist(heap, base + POOL, 64));
	assert_error(EINVAL, pheap_persist(heap, base + POOL - 8, 64));
	assert_error(EINVAL, pheap_persist(heap, object, SIZE_MAX));
	assert_error(EINVAL, pheap_persist(heap, object, POOL));
	assert_error(EINVAL, pheap_memcpy(heap, object, outside, POOL));
	assert_true(has_pattern(object, 64, 1));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(own_stores),
		cmocka_unit_test(copy_anywhere),
	};
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(after_a_record),
		cmocka_unit_test(after_publish),
		cmocka_unit_test(ranges),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODES_ALL, everywhere);
	failed += run_modes(MODES_FILE, in_files);
	return failed;
}
