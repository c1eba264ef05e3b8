/*
 * test-fork.c - a forked child has its parent's heap in memory and must not use
 * it: every call is an error, its exit changes nothing, and it keeps no lock.
 */
#define _GNU_SOURCE /* environ */
#include "common.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define POOL MIB(8)

struct parent {
	pheap_t *heap;
	char *object; /* published, 200 bytes */
	char *reserved;
	pheap_tx_t *tx;
};

static int error(int result)
{
	return result < 0 && *pheap_errormsg();
}

static int use_in_child(void *arg)
{
	struct parent *p = arg;
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	pheap_ref *root = pheap_root(p->heap);
	char bytes[8] = {0};

	must(!pheap_alloc(p->heap, 64));
	must(!pheap_zalloc(p->heap, 64));
	must(!pheap_alloc(p->heap, 100000));
	must(!pheap_aligned_alloc(p->heap, 64, 64));
	must(!pheap_realloc(p->heap, p->reserved, 1000));
	must(error(pheap_free(p->heap, p->reserved)));
	must(error(pheap_publish(p->heap, root, p->reserved, 0)));
	must(error(pheap_retire(p->heap, root)));
	must(error(pheap_replace(p->heap, root, p->reserved, 0)));
	must(error(pheap_alloc_into(p->heap, root, 64, NULL)));
	must(error(pheap_resize(p->heap, root, 64)));
	must(error(pheap_set(p->heap, (uint64_t *)(void *)p->object, 1)));
	must(error(pheap_write(p->heap, p->object, bytes, 8)));
	must(error(pheap_persist(p->heap, p->object, 8)));
	must(error(pheap_flush(p->heap, p->object, 8)));
	must(error(pheap_memcpy(p->heap, p->object, bytes, 8)));
	must(!pheap_tx_begin(p->heap));
	must(!pheap_named_root(p->heap, "new"));
	must(error(pheap_drop_root(p->heap, "old")));
	must(error(pheap_purge(p->heap, 0)));
	must(!pheap_arena_create_in(p->heap, 4096));
	must(error(pheap_check(p->heap, &result, NULL, NULL)));
	if (p->tx) {
		must(!pheap_tx_alloc(p->tx, 64));
		must(error(pheap_tx_set(p->tx, (uint64_t *)(void *)p->object, 1)));
		must(error(pheap_tx_snapshot(p->tx, p->object, 8)));
		must(error(pheap_tx_commit(p->tx)));
	}
	must(pheap_close(p->heap) == -EINVAL);
	return 0;
}

static void calls_in_child_fail(void **state)
{
	struct parent p = {make_pool("p", POOL), NULL, NULL, NULL};
	unsigned round;

	(void)state;
	assert_made(pheap_named_root(p.heap, "old"));
	p.object = publish_root(p.heap, 200, 1);
	p.reserved = assert_made(pheap_alloc(p.heap, 64));
	fill_pattern(p.reserved, 64, 2);
	for (round = 0; round < 3; round++) {
		assert_int_equal(run_child(use_in_child, &p), 0);
		/* The parent goes on, as if nothing had been. */
		assert_true(has_pattern(p.object, 200, 1));
		assert_true(has_pattern(p.reserved, 64, 2));
		assert_errno(ENOENT, pheap_find_root(p.heap, "new"));
		assert_non_null(pheap_find_root(p.heap, "old"));
		assert_int_equal(check_clean(p.heap), 1);
		assert_ok(pheap_free(p.heap, p.reserved));
		p.reserved = assert_made(pheap_alloc(p.heap, 64));
		fill_pattern(p.reserved, 64, 2);
		assert_ok(pheap_retire(p.heap, pheap_root(p.heap)));
		p.object = publish_root(p.heap, 200, 1);
	}
	/* With a transaction open. */
	p.tx = assert_made(pheap_tx_begin(p.heap));
	assert_ok(pheap_tx_snapshot(p.tx, p.object + 100, 100));
	memset(p.object + 100, 0, 100);
	assert_int_equal(run_child(use_in_child, &p), 0);
	assert_ok(pheap_tx_abort(p.tx));
	assert_true(has_pattern(p.object, 200, 1));
	assert_int_equal(check_clean(p.heap), 1);
	close_pool(p.heap);
	p.heap = open_pool("p");
	assert_int_equal(info_of(p.heap).recovered, 0);
	close_pool(p.heap);
}

/*
 * What a thread's cache refers to is not found by the leak sanitizer, since caches are mapped
 * and not allocated, and a child does not close the heap of its parent.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:set_cap\n";
}

static int exit_normally(void *arg)
{
	must(pheap_close(arg) == -EINVAL);
	/* With exit handlers, unlike _exit(). */
	exit(7);
}

static int just_exit(void *arg)
{
	(void)arg;
	exit(7);
}

/* The child's end is not the heap's: the pool stays marked as in use. */
static void exit_of_child(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;

	(void)state;
	publish_root(heap, 200, 1);
	assert_int_equal(run_child(exit_normally, heap), 7);
	assert_int_equal(run_child(just_exit, heap), 7);
	copy = crash_pool("p");
	assert_int_equal(info_of(copy).recovered, 1);
	close_pool(copy);
	/* Nor is the lock gone. */
	errno = 0;
	assert_errno(EBUSY,
		     pheap_open(scratch("p"),
				&(struct pheap_options){.struct_size = sizeof(struct pheap_options),
							.durability = mode->durability,
							.flags = mode->flags}));
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* A child that lives on must not keep the pool locked. */
static void lock_after_close(void **state)
{
	struct pheap_options opts = options_of(0);
	pheap_t *heap = make_pool("p", POOL);
	int code, status;
	pid_t child;

	(void)state;
	publish_root(heap, 200, 1);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		pause();
		_exit(0);
	}
	/* Whether the child has run by now must not matter. */
	code = pheap_close(heap);
	heap = pheap_open(scratch("p"), &opts);
	/* First of all: a child that stayed would hold up whoever waits for us. */
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	assert_ok(code);
	assert_made(heap);
	assert_int_equal(info_of(heap).recovered, 0);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 200, 1));
	close_pool(heap);
}

static int use_other_pool(void *arg)
{
	struct pheap_options opts = options_of(POOL);
	pheap_t *other = pheap_create(arg, &opts);

	must(other);
	must(!pheap_alloc_into(other, pheap_root(other), 64, NULL));
	must(!pheap_close(other));
	opts.size = 0;
	other = pheap_open(arg, &opts);
	must(other && *pheap_root(other));
	must(!pheap_close(other));
	return 0;
}

/* The child may have pools of its own. */
static void own_pool_in_child(void **state)
{
	pheap_t *heap = make_pool("p", POOL);

	(void)state;
	publish_root(heap, 200, 1);
	assert_made(pheap_alloc(heap, 64));
	unlink(scratch("other"));
	assert_int_equal(run_child(use_other_pool, scratch("other")), 0);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* ---- other threads in mid-operation ------------------------------------------------------ */

#define WORKERS 3u
#ifdef __SANITIZE_THREAD__
#define FORKS 20u /* each copies the sanitizer's memory */
#else
#define FORKS 150u
#endif

static struct {
	pheap_t *heap;
	pheap_ref *slots;
	bool stop;
	unsigned long operations;
} busy;

/* Each holds locks of all kinds now and then: stripes, lane, zone, checkpoint, caches. */
static void *keep_busy(void *arg)
{
	pheap_ref *slot = &busy.slots[*(unsigned *)arg];
	unsigned long n = 0;

	for (; !__atomic_load_n(&busy.stop, __ATOMIC_RELAXED); n++) {
		pheap_tx_t *tx;

		must(!pheap_alloc_into(busy.heap, slot, n % 16 ? 300 : 300000, NULL));
		must((tx = pheap_tx_begin(busy.heap)));
		must(!pheap_tx_snapshot(tx, pheap_ptr(busy.heap, *slot), 100));
		must(!(n % 2 ? pheap_tx_commit(tx) : pheap_tx_abort(tx)));
		must(!pheap_retire(busy.heap, slot));
		if (n % 64 == 0)
			must(!pheap_purge(busy.heap, 0));
	}
	__atomic_add_fetch(&busy.operations, n, __ATOMIC_RELAXED);
	return NULL;
}

/* No call may wait for a lock whose holder is not in this process. */
static int call_and_exit(void *arg)
{
	struct parent *p = arg;

	alarm(30); /* a call that waits ends so */
	use_in_child(p);
#ifdef __SANITIZE_ADDRESS__
	/* Its search for leaks needs the threads that have not come along. */
	_exit(7);
#endif
	exit(7);
}

static void fork_often(struct parent *p)
{
	for (unsigned i = 0; i < FORKS; i++) {
		usleep(i * 7 % 500);
		must(run_child(call_and_exit, p) == 7);
		must(pheap_alloc_into(p->heap, pheap_named_root(p->heap, "mine"), 64, NULL) == 0);
		must(!pheap_retire(p->heap, pheap_named_root(p->heap, "mine")));
	}
	__atomic_store_n(&busy.stop, true, __ATOMIC_RELAXED);
}

static void fork_in_mid_operation(void **state)
{
	struct parent p = {make_pool("p", POOL), NULL, NULL, NULL};
	unsigned numbers[WORKERS];
	pthread_t threads[WORKERS];

	(void)state;
	assert_made(pheap_named_root(p.heap, "old"));
	busy.heap = p.heap;
	busy.stop = false;
	busy.operations = 0;
	p.object = publish_root(p.heap, 200, 1);
	p.reserved = assert_made(pheap_alloc(p.heap, 64));
	p.tx = assert_made(pheap_tx_begin(p.heap));
	assert_ok(pheap_alloc_into(p.heap, pheap_named_root(p.heap, "slots"), 64, NULL));
	busy.slots = pheap_ptr(p.heap, *pheap_find_root(p.heap, "slots"));
	for (unsigned i = 0; i < WORKERS; i++) {
		numbers[i] = i;
		must(!pthread_create(&threads[i], NULL, keep_busy, &numbers[i]));
	}
	fork_often(&p);
	for (unsigned i = 0; i < WORKERS; i++)
		must(!pthread_join(threads[i], NULL));
	assert_true(busy.operations > WORKERS);
	assert_ok(pheap_tx_abort(p.tx));
	assert_ok(pheap_free(p.heap, p.reserved));
	assert_true(has_pattern(p.object, 200, 1));
	assert_int_equal(check_clean(p.heap), 2);
	close_pool(p.heap);
	p.heap = open_pool("p");
	assert_int_equal(info_of(p.heap).recovered, 0);
	close_pool(p.heap);
}

/* A program that is started, by posix_spawn() or vfork(), has neither lock nor file. */
static void programs_started(void **state)
{
	char *args[] = {(char *)"sleep", (char *)"60", NULL};
	pheap_t *heap = make_pool("p", POOL);
	pid_t child[2];

	(void)state;
	publish_root(heap, 200, 1);
	assert_int_equal(posix_spawnp(&child[0], args[0], NULL, NULL, args, environ), 0);
	child[1] = vfork();
	if (!child[1]) {
		execvp(args[0], args);
		_exit(1);
	}
	assert_true(child[1] > 0);
	assert_int_equal(check_clean(heap), 1);
	/* Both live on, and the pool is free. */
	heap = reopen_pool(heap, "p");
	assert_int_equal(info_of(heap).recovered, 0);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 200, 1));
	for (unsigned i = 0; i < 2; i++) {
		int status;

		assert_int_equal(waitpid(child[i], &status, WNOHANG), 0);
		kill(child[i], SIGKILL);
		waitpid(child[i], &status, 0);
	}
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_in_child_fail),	 cmocka_unit_test(exit_of_child),
		cmocka_unit_test(lock_after_close),	 cmocka_unit_test(own_pool_in_child),
		cmocka_unit_test(fork_in_mid_operation), cmocka_unit_test(programs_started),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
