/*
 * test-errors.c - pheap_errormsg: per thread, "" at first, and kept until the next
 * error.
 */
#include "common.h"

#include <pthread.h>

#define POOL MIB(8)

static void *no_message_yet(void *arg)
{
	pheap_t *heap = arg;
	const char *message = pheap_errormsg();

	must(message && !strcmp(message, ""));
	must(pheap_free(heap, (void *)8) == -EINVAL);
	must(strlen(pheap_errormsg()) > 10);
	return NULL;
}

static void per_thread(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char kept[512];

	(void)state;
	assert_errno(EINVAL, pheap_alloc(heap, 0));
	snprintf(kept, sizeof(kept), "%s", pheap_errormsg());
	run_thread(no_message_yet, heap);
	/* Neither another thread's error nor a success of this one changes it. */
	assert_string_equal(pheap_errormsg(), kept);
	assert_ok(pheap_free(heap, assert_made(pheap_alloc(heap, 10))));
	assert_string_equal(pheap_errormsg(), kept);
	assert_error(ENOENT, pheap_retire(heap, pheap_root(heap)));
	assert_string_not_equal(pheap_errormsg(), kept);
	close_pool(heap);
	assert_true(*pheap_errormsg());
}

/* "says what was wrong, where": the path, the sizes, the names. */
static void names_what_and_where(void **state)
{
	struct pheap_options opts = options_of(4096);
	char *path = scratch("some-pool");
	pheap_t *heap;

	(void)state;
	assert_errno(EINVAL, pheap_create(path, &opts));
	assert_non_null(strstr(pheap_errormsg(), "4096"));
	assert_errno(ENOENT, pheap_open(path, NULL));
	assert_non_null(strstr(pheap_errormsg(), "some-pool"));
	opts = options_of(POOL);
	opts.layout = "apples";
	heap = assert_made(pheap_create(path, &opts));
	close_pool(heap);
	opts.layout = "pears";
	assert_errno(EINVAL, pheap_open(path, &opts));
	assert_non_null(strstr(pheap_errormsg(), "apples"));
	assert_non_null(strstr(pheap_errormsg(), "pears"));
}

/* Long ones are cut, not overrun. */
static void very_long_path(void **state)
{
	static char path[20000];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	assert_errno(ENAMETOOLONG, pheap_open(path, NULL));
	assert_true(strlen(pheap_errormsg()) < sizeof(path));
	memset(path, '/', 10000);
	assert_errno(ENAMETOOLONG, pheap_open(path, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(per_thread),
		cmocka_unit_test(names_what_and_where),
		cmocka_unit_test(very_long_path),
	};

	test_init(argc, argv);
	return run_modes(MODE_PROCESS, tests);
}
