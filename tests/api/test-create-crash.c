/*
 * test-create-crash.c - a process that dies at each fence of pheap_create, of
 * pheap_open and of pheap_close in turn. What is left is a pool as before, or one
 * that create makes anew; never one that is neither.
 */
#include "common.h"
#include "interpose.h"

#include <signal.h>
#include <sys/wait.h>

#define POOL MIB(8)

static unsigned fences_left;

static void die_at_fence(void)
{
	if (!fences_left--)
		raise(SIGKILL);
}

/* Run fn in a child that dies at its fence n, counted from 0. Did it die? */
static bool dies_at(unsigned n, void (*fn)(void))
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	must(child >= 0);
	if (!child) {
		fences_left = n;
		pmem_at_fence = die_at_fence;
		fn();
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	must(WIFEXITED(status) && !WEXITSTATUS(status));
	return false;
}

static void create_one(void)
{
	struct pheap_options opts = options_of(POOL);
	pheap_t *heap;

	opts.layout = "crash";
	heap = pheap_create(scratch("p"), &opts);
	must(heap);
	/* The part of interest is over. */
	pmem_at_fence = NULL;
	must(!pheap_close(heap));
}

static void create(void **state)
{
	struct pheap_options opts = options_of(POOL);
	unsigned n, unfinished = 0;
	pheap_t *heap;

	(void)state;
	opts.layout = "crash";
	unlink(scratch("p"));
	for (n = 0; dies_at(n, create_one); n++) {
		heap = pheap_open(scratch("p"), &opts);
		if (!heap) {
			assert_int_equal(errno, EUCLEAN);
			assert_true(strlen(pheap_errormsg()) > 20);
			heap = assert_made(pheap_create(scratch("p"), &opts));
			unfinished++;
		}
		assert_true(*pheap_root(heap) == PHEAP_NULL);
		assert_int_equal(check_clean(heap), 0);
		publish_root(heap, 100, n);
		close_pool(heap);
		heap = open_pool("p");
		assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 100, n));
		close_pool(heap);
		unlink(scratch("p"));
	}
	/* There is a fence before the pool is valid. */
	assert_true(unfinished > 0);
	close_pool(open_pool("p"));
}

static void open_one(void)
{
	struct pheap_options opts = options_of(0);

	must(pheap_open(scratch("p"), &opts));
}

static void open_and_close_one(void)
{
	struct pheap_options opts = options_of(0);
	pheap_t *heap = pheap_open(scratch("p"), &opts);

	must(heap);
	must(!pheap_set(heap, (uint64_t *)pheap_ptr(heap, *pheap_root(heap)), 4711));
	must(!pheap_close(heap));
}

/* "p": dirty, with records to replay and a transaction to roll back. */
static void make_dirty(void)
{
	pheap_t *heap = make_pool("dirty", POOL);
	pheap_tx_t *tx;
	char *object;
	unsigned i;

	object = publish_root(heap, 5000, 1);
	for (i = 0; i < 30; i++)
		assert_ok(pheap_write(heap, object + 8 * i, object + 8 * i, 100));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object + 1000, 4000));
	memset(object + 1000, 0, 4000);
	copy_file(scratch("dirty"), scratch("p"));
	assert_ok(pheap_tx_abort(tx));
	close_pool(heap);
}

static void assert_whole(uint64_t first_word)
{
	pheap_t *heap = open_pool("p");
	uint64_t *object = pheap_ptr(heap, *pheap_root(heap)), kept;

	kept = object[0];
	fill_pattern(object, 8, 1);
	assert_true(kept == object[0] || (first_word && kept == first_word));
	assert_true(has_pattern(object, 5000, 1));
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* A crash in recovery, and the next one in the recovery from that. */
static void recovery(void **state)
{
	unsigned n, m, died = 0;

	(void)state;
	make_dirty();
	copy_file(scratch("p"), scratch("first"));
	for (n = 0; dies_at(n, open_one); n++) {
		died++;
		copy_file(scratch("p"), scratch("second"));
		for (m = 0; dies_at(m, open_one); m++) {
			assert_whole(0);
			copy_file(scratch("second"), scratch("p"));
		}
		assert_whole(0);
		copy_file(scratch("first"), scratch("p"));
	}
	assert_true(died > 0);
	assert_whole(0);
}

static void open_and_close(void **state)
{
	unsigned n;

	(void)state;
	make_dirty();
	copy_file(scratch("p"), scratch("first"));
	for (n = 0; dies_at(n, open_and_close_one); n++) {
		assert_whole(4711);
		copy_file(scratch("first"), scratch("p"));
	}
	assert_true(n > 2);
	assert_whole(4711);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create),
		cmocka_unit_test(recovery),
		cmocka_unit_test(open_and_close),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM, tests);
}
