/*
 * test-root.c - the unnamed root and the named ones.
 */
#include "common.h"

#define POOL MIB(8)

static void unnamed(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *root = pheap_root(heap);

	(void)state;
	assert_non_null(root);
	assert_int_equal((uintptr_t)root % 8, 0);
	assert_true(*root == PHEAP_NULL);
	assert_ptr_equal(pheap_root(heap), root);
	publish_root(heap, 40, 1);
	assert_true(*root != PHEAP_NULL);
	assert_true(has_pattern(pheap_ptr(heap, *root), 40, 1));
	assert_ok(pheap_retire(heap, root));
	assert_true(*root == PHEAP_NULL);
	close_pool(heap);
}

static void make_and_find(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *a, *b;

	(void)state;
	assert_errno(ENOENT, pheap_find_root(heap, "a"));
	a = assert_made(pheap_named_root(heap, "a"));
	b = assert_made(pheap_named_root(heap, "b"));
	assert_true(*a == PHEAP_NULL && *b == PHEAP_NULL);
	assert_true(a != b && a != pheap_root(heap) && b != pheap_root(heap));
	assert_ptr_equal(pheap_named_root(heap, "a"), a);
	assert_ptr_equal(pheap_find_root(heap, "a"), a);
	assert_ptr_equal(pheap_find_root(heap, "b"), b);
	/* A name is not a prefix. */
	assert_errno(ENOENT, pheap_find_root(heap, "ab"));
	assert_non_null(pheap_named_root(heap, "ab"));
	assert_true(pheap_find_root(heap, "ab") != a);
	close_pool(heap);
}

static void names(void **state)
{
	static const char *const wrong[] = {"", "\n", "a\tb", "a\x01", "\x7f", "tail\x1f"};
	static const char *const right[] = {"x", "with space", "caf\xc3\xa9", "/a/b.c", "~"};
	pheap_t *heap = make_pool("p", POOL);
	char name[PHEAP_ROOT_NAME_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < ELEMENTS(wrong); i++) {
		assert_errno(EINVAL, pheap_named_root(heap, wrong[i]));
		assert_null(pheap_find_root(heap, wrong[i]));
	}
	assert_errno(EINVAL, pheap_named_root(heap, NULL));
	for (i = 0; i < ELEMENTS(right); i++)
		assert_made(pheap_named_root(heap, right[i]));
	memset(name, 'n', sizeof(name));
	name[PHEAP_ROOT_NAME_MAX] = 0;
	assert_errno(EINVAL, pheap_named_root(heap, name));
	name[PHEAP_ROOT_NAME_MAX - 1] = 0;
	assert_made(pheap_named_root(heap, name));
	for (i = 0; i < ELEMENTS(right); i++)
		assert_non_null(pheap_find_root(heap, right[i]));
	check_clean(heap);
	close_pool(heap);
}

static char *numbered(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "root %u", i);
	return name;
}

static void all_of_them(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slots[PHEAP_ROOTS_MAX];
	unsigned i, j;

	(void)state;
	for (i = 0; i < PHEAP_ROOTS_MAX; i++) {
		slots[i] = assert_made(pheap_named_root(heap, numbered(i)));
		for (j = 0; j < i; j++)
			assert_true(slots[i] != slots[j]);
	}
	assert_errno(ENOSPC, pheap_named_root(heap, "one more"));
	for (i = 0; i < PHEAP_ROOTS_MAX; i++)
		assert_ptr_equal(pheap_named_root(heap, numbered(i)), slots[i]);
	assert_ok(pheap_drop_root(heap, numbered(30)));
	assert_errno(ENOENT, pheap_find_root(heap, numbered(30)));
	assert_made(pheap_named_root(heap, "one more"));
	assert_errno(ENOSPC, pheap_named_root(heap, numbered(30)));
	check_clean(heap);
	close_pool(heap);
}

static void drop(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot;

	(void)state;
	assert_error(ENOENT, pheap_drop_root(heap, "a"));
	slot = assert_made(pheap_named_root(heap, "a"));
	assert_ok(pheap_alloc_into(heap, slot, 100, NULL));
	assert_error(EEXIST, pheap_drop_root(heap, "a"));
	assert_ptr_equal(pheap_find_root(heap, "a"), slot);
	assert_true(*slot != PHEAP_NULL);
	assert_ok(pheap_retire(heap, slot));
	assert_ok(pheap_drop_root(heap, "a"));
	assert_error(ENOENT, pheap_drop_root(heap, "a"));
	slot = assert_made(pheap_named_root(heap, "a"));
	assert_true(*slot == PHEAP_NULL);
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

static void check_kept(pheap_t *heap)
{
	assert_non_null(pheap_find_root(heap, "kept"));
	assert_true(has_pattern(pheap_ptr(heap, *pheap_find_root(heap, "kept")), 70, 2));
	assert_non_null(pheap_find_root(heap, "empty"));
	assert_true(*pheap_find_root(heap, "empty") == PHEAP_NULL);
	assert_errno(ENOENT, pheap_find_root(heap, "dropped"));
	assert_int_equal(check_clean(heap), 1);
}

static void permanent(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	char content[70];

	(void)state;
	fill_pattern(content, sizeof(content), 2);
	assert_ok(pheap_alloc_into(heap, assert_made(pheap_named_root(heap, "kept")),
				   sizeof(content), content));
	assert_made(pheap_named_root(heap, "empty"));
	assert_made(pheap_named_root(heap, "dropped"));
	assert_ok(pheap_drop_root(heap, "dropped"));
	copy = crash_pool("p");
	check_kept(copy);
	close_pool(copy);
	heap = reopen_pool(heap, "p");
	check_kept(heap);
	close_pool(heap);
}

/* A slot is no longer a slot when its root was dropped. */
static void dropped_slot(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = assert_made(pheap_named_root(heap, "a"));
	void *object = assert_made(pheap_alloc(heap, 64));

	(void)state;
	assert_ok(pheap_drop_root(heap, "a"));
	assert_error(EINVAL, pheap_publish(heap, slot, object, 0));
	assert_ok(pheap_free(heap, object));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

struct race {
	pheap_t *heap;
	pheap_ref *slots[PHEAP_ROOTS_MAX];
};

static void *make_roots(void *arg)
{
	struct race *race = arg;
	char name[32];
	unsigned i;

	for (i = 0; i < PHEAP_ROOTS_MAX; i++) {
		snprintf(name, sizeof(name), "root %u", i);
		race->slots[i] = pheap_named_root(race->heap, name);
		must(race->slots[i]);
	}
	return NULL;
}

static void same_name_in_threads(void **state)
{
	struct race race[4] = {0};
	pheap_t *heap = make_pool("p", POOL);
	unsigned i, j;

	(void)state;
	for (i = 0; i < ELEMENTS(race); i++)
		race[i].heap = heap;
	run_threads(ELEMENTS(race), make_roots, race, sizeof(race[0]));
	for (i = 1; i < ELEMENTS(race); i++)
		for (j = 0; j < PHEAP_ROOTS_MAX; j++)
			assert_ptr_equal(race[i].slots[j], race[0].slots[j]);
	check_clean(heap);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(unnamed),
		cmocka_unit_test(make_and_find),
		cmocka_unit_test(names),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(drop),
		cmocka_unit_test(dropped_slot),
		cmocka_unit_test(same_name_in_threads),
	};
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(permanent),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODES_ALL, everywhere);
	failed += run_modes(MODES_FILE, in_files);
	return failed;
}
