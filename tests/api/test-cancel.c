/*
 * test-cancel.c - threads that are cancelled, or end, in the middle of their work.
 *
 * A request to cancel that is pending is acted upon by the very first cancellation point
 * that the thread reaches. So a thread asks for its own end, then calls a function of
 * the library: if the call returns, there was none in it. What the library calls on
 * the way and what POSIX says is one is counted, or nothing would be shown.
 *
 * Then threads are cancelled at any moment, in contention for slots and locks: the others
 * must go on, and nothing may be lost but what the thread itself did not give back.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "common.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>

#define POOL MIB(16)
#define SLOTS 64u

/* ---- cancellation points that are passed ---------------------------------------------- */

static __thread bool inside; /* a function of the library, with a request pending */
static unsigned passed;

static void *next(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	must(symbol);
	if (inside)
		__atomic_add_fetch(&passed, 1, __ATOMIC_RELAXED);
	return symbol;
}

/* Instead of the C library's, for the library and libpmem. */
int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...);
	unsigned bits;
	va_list ap;

	va_start(ap, flags);
	bits = flags & O_CREAT ? va_arg(ap, unsigned) : 0;
	va_end(ap);
	*(void **)&real = next("open");
	return real(path, flags, bits);
}

int close(int fd)
{
	int (*real)(int);

	*(void **)&real = next("close");
	return real(fd);
}

ssize_t read(int fd, void *buffer, size_t n)
{
	ssize_t (*real)(int, void *, size_t);

	*(void **)&real = next("read");
	return real(fd, buffer, n);
}

int msync(void *addr, size_t length, int flags)
{
	int (*real)(void *, size_t, int);

	*(void **)&real = next("msync");
	return real(addr, length, flags);
}

int fsync(int fd)
{
	int (*real)(int);

	*(void **)&real = next("fsync");
	return real(fd);
}

ssize_t getrandom(void *buffer, size_t n, unsigned flags)
{
	ssize_t (*real)(void *, size_t, unsigned);

	*(void **)&real = next("getrandom");
	return real(buffer, n, flags);
}

/* ---- one call after the other ---------------------------------------------------------- */

/* What the steps work on. */
static struct {
	pheap_t *heap;
	pheap_ref *slots; /* in a published object */
	uint64_t *words;  /* in another one */
	char *bytes;	  /* in a third one, 64 KiB */
	pheap_t *other;	  /* of open, create and close */
} in;

static void make_heap(uint64_t size)
{
	in.heap = make_pool("p", size);
	assert_ok(pheap_alloc_into(in.heap, pheap_root(in.heap), SLOTS * 8, NULL));
	in.slots = pheap_ptr(in.heap, *pheap_root(in.heap));
	assert_ok(pheap_alloc_into(in.heap, pheap_named_root(in.heap, "words"), 4096, NULL));
	in.words = pheap_ptr(in.heap, *pheap_find_root(in.heap, "words"));
	assert_ok(pheap_alloc_into(in.heap, pheap_named_root(in.heap, "bytes"), 65536, NULL));
	in.bytes = pheap_ptr(in.heap, *pheap_find_root(in.heap, "bytes"));
}

#define FIXED_OBJECTS 3u /* published by make_heap() */

static void reserve(void)
{
	static const size_t sizes[] = {16, 100, 4000, 40000, 70000, 1000000};
	void *object[ELEMENTS(sizes)];

	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		must((object[i] = pheap_zalloc(in.heap, sizes[i])));
	must((object[0] = pheap_realloc(in.heap, object[0], 3000)));
	must(pheap_usable_size(in.heap, object[0]) >= 3000);
	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		must(!pheap_free(in.heap, object[i]));
	must((object[0] = pheap_aligned_alloc(in.heap, 4096, 100)));
	must(!pheap_free(in.heap, object[0]));
}

/* Around the ring, so that checkpoints are among it. */
static void single_operations(void)
{
	unsigned rounds = mode->flags & PHEAP_FORCE_MSYNC ? 60 : 1000;
	char content[200] = "content";
	void *object;

	for (unsigned i = 0; i < rounds; i++) {
		must((object = pheap_alloc(in.heap, i % 8 ? 64 : 5000)));
		must(!pheap_publish(in.heap, &in.slots[0], object, 0));
		must((object = pheap_alloc(in.heap, 300)));
		must(!pheap_persist(in.heap, object, 300));
		must(!pheap_replace(in.heap, &in.slots[0], object, PHEAP_PERSISTED));
		must(!pheap_resize(in.heap, &in.slots[0], 800));
		must(!pheap_retire(in.heap, &in.slots[0]));
		must(!pheap_alloc_into(in.heap, &in.slots[0], 200, content));
		must(!pheap_set(in.heap, &in.words[i % 512], i));
		must(!pheap_write(in.heap, &in.words[0], content, 8));
		must(!pheap_memcpy(in.heap, in.bytes, content, 200));
		must(!pheap_flush(in.heap, in.bytes, 200));
		must(!pheap_drain(in.heap));
		must(!pheap_retire(in.heap, &in.slots[0]));
	}
}

/* A retire of a large object in a new thread, and one behind a full limbo. */
static void large_objects(void)
{
	for (unsigned i = 0; i < 8; i++) {
		must(!pheap_alloc_into(in.heap, &in.slots[i], 600000, NULL));
		must(!pheap_write(in.heap, pheap_ptr(in.heap, in.slots[i]), "x", 1));
	}
	for (unsigned i = 0; i < 8; i++)
		must(!pheap_retire(in.heap, &in.slots[i]));
}

/* Snapshots and changes that need areas and extensions of their own, and small ones. */
static void transactions(void)
{
	static const size_t lengths[] = {64, 65536};
	static char content[65536];

	for (unsigned i = 0; i < 8; i++) {
		size_t length = lengths[i % 2];
		pheap_tx_t *tx = pheap_tx_begin(in.heap);
		void *object;

		must(tx);
		must(!pheap_tx_snapshot(tx, in.bytes, length));
		memset(in.bytes, (int)i, length);
		must((object = pheap_tx_alloc(tx, 1000)));
		must(!pheap_tx_set(tx, &in.slots[1], pheap_ref_of(in.heap, object)));
		must(!pheap_tx_write(tx, in.words, content, 4096));
		must(!(i < 4 ? pheap_tx_commit(tx) : pheap_tx_abort(tx)));
		if (i < 4)
			must(!pheap_retire(in.heap, &in.slots[1]));
	}
}

static void named_roots(void)
{
	must(pheap_named_root(in.heap, "new"));
	must(!pheap_drop_root(in.heap, "new"));
}

static void arenas(void)
{
	pheap_arena_t *arena = pheap_arena_create_in(in.heap, 4096);
	void *object = NULL;

	must(arena);
	for (unsigned i = 0; i < 100; i++)
		must((object = pheap_arena_alloc(arena, 1000)));
	must(!pheap_arena_seal(arena, &in.slots[2], object));
	must(!pheap_arena_drop(in.heap, &in.slots[2]));
	pheap_arena_destroy(arena);
}

static void look(void)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct pheap_info info = {.struct_size = sizeof(info)};
	struct pheap_stats stats = {.struct_size = sizeof(stats)};
	struct pheap_space space = {.struct_size = sizeof(space)};

	must(!pheap_check(in.heap, &result, NULL, NULL));
	must(!pheap_get_info(in.heap, &info));
	must(!pheap_get_stats(in.heap, &stats));
	must(!pheap_get_space(in.heap, &space));
}

static void purge(void)
{
	must(!pheap_purge(in.heap, PHEAP_PUNCH_HOLES));
}

static void create_other(void)
{
	struct pheap_options opts = options_of(POOL);

	in.other = pheap_create(mode_has_file() ? scratch("other") : NULL, &opts);
	must(in.other);
	must(!pheap_alloc_into(in.other, pheap_root(in.other), 64, NULL));
}

static void close_other(void)
{
	must(!pheap_close(in.other));
}

/* A copy of the open pool: it has to be recovered. */
static void open_other(void)
{
	struct pheap_options opts = options_of(0);

	in.other = pheap_open(scratch("copy"), &opts);
	must(in.other);
}

static void open_readonly(void)
{
	struct pheap_options opts = options_of(0);

	opts.flags |= PHEAP_READONLY;
	in.other = pheap_open(scratch("copy"), &opts);
	must(in.other);
}

static void check_file(void)
{
	must(!pheap_check_file(scratch("copy"), NULL, NULL, NULL));
}

static void wait_in_program(void)
{
	inside = false;
	fsync(-1);
}

struct step {
	void (*fn)(void);
	bool returned, survived;
};

static void *run_cancelled(void *arg)
{
	struct step *step = arg;

	must(!pthread_cancel(pthread_self()));
	inside = true;
	step->fn();
	inside = false;
	step->returned = true;
	pthread_testcancel();
	step->survived = true;
	return NULL;
}

/* In a new thread: did the call return? */
static bool completes(void (*fn)(void))
{
	struct step step = {fn, false, false};
	pthread_t thread;
	void *result;

	must(!pthread_create(&thread, NULL, run_cancelled, &step));
	must(!pthread_join(thread, &result));
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_false(step.survived);
	return step.returned;
}

static void no_call_is_a_cancellation_point(void **state)
{
	void (*const on_heap[])(void) = {
		reserve, single_operations, large_objects, transactions, named_roots, arenas, look,
		purge,
	};

	(void)state;
	/* The control: a cancellation point of the program's own. */
	assert_false(completes(wait_in_program));
	passed = 0;
	make_heap(POOL);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < ELEMENTS(on_heap); i++)
			assert_true(completes(on_heap[i]));
	assert_int_equal(check_clean(in.heap), FIXED_OBJECTS);
	assert_true(completes(create_other));
	assert_true(completes(close_other));
	if (mode_has_file()) {
		copy_file(scratch("p"), scratch("copy"));
		assert_true(completes(check_file));
		assert_true(completes(open_readonly));
		assert_true(completes(close_other));
		assert_true(completes(open_other));
		assert_true(completes(close_other));
		print_message("%u cancellation points passed\n", passed);
		/* Creation, opens, checks; with msync each operation and each line. */
		assert_true(passed >= (mode->flags & PHEAP_FORCE_MSYNC ? 1000 : 10));
		unlink(scratch("other"));
	}
	close_pool(in.heap);
}

/* ---- at any moment ------------------------------------------------------------------------ */

#define WORKERS 4u

struct worker {
	pthread_t thread;
	struct rng rng;
	unsigned operations; /* atomic */
	/* What it has to give back: its cleanup handler's. */
	void *reserved;
	pheap_tx_t *tx;
};

static void clean_up(void *arg)
{
	struct worker *w = arg;

	must(!pheap_free(in.heap, w->reserved));
	must(!pheap_tx_abort(w->tx));
	w->reserved = NULL;
	w->tx = NULL;
}

static bool is_one_of(int code, const int *codes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (code == codes[i])
			return true;
	return false;
}

/* What may become of an operation on a slot that all threads use. */
static void expect(int code)
{
	static const int codes[] = {0, -EEXIST, -ENOENT, -EINVAL, -ENOSPC};

	must(is_one_of(code, codes, ELEMENTS(codes)));
}

static void change_slot(struct worker *w)
{
	pheap_ref *slot = &in.slots[rng_below(&w->rng, SLOTS)];
	bool large = rng_below(&w->rng, 64) == 0;
	size_t size = large ? 100000 : 1 + rng_below(&w->rng, 2000);
	int code;

	switch (rng_below(&w->rng, 4)) {
	case 0:
	case 1:
		w->reserved = pheap_alloc(in.heap, size);
		pthread_testcancel();
		code = rng_below(&w->rng, 2) ? pheap_publish(in.heap, slot, w->reserved, 0)
					     : pheap_replace(in.heap, slot, w->reserved, 0);
		expect(code);
		if (code)
			must(!pheap_free(in.heap, w->reserved));
		w->reserved = NULL;
		break;
	case 2:
		expect(pheap_resize(in.heap, slot, size));
		break;
	default:
		expect(pheap_retire(in.heap, slot));
	}
}

/* On words and bytes of the worker's own; in one line with those of others. */
static void transact(struct worker *w, unsigned number)
{
	char *mine = in.bytes + 1000 + number * 40;
	pheap_tx_t *tx = w->tx = pheap_tx_begin(in.heap);
	bool commit = rng_below(&w->rng, 2);

	must(tx);
	if (rng_below(&w->rng, 2)) {
		must(!pheap_tx_snapshot(tx, mine, 40));
		pthread_testcancel();
		memset(mine, (int)rng_next(&w->rng), 40);
	}
	must(!pheap_tx_set(tx, &in.words[number], rng_next(&w->rng)));
	must(commit || pheap_tx_alloc(tx, 100));
	pthread_testcancel();
	w->tx = NULL;
	must(!(commit ? pheap_tx_commit(tx) : pheap_tx_abort(tx)));
}

static struct worker workers[WORKERS];

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_cleanup_push(clean_up, w);
	for (;;) {
		if (rng_below(&w->rng, 4))
			change_slot(w);
		else
			transact(w, (unsigned)(w - workers));
		__atomic_add_fetch(&w->operations, 1, __ATOMIC_RELAXED);
		if (rng_below(&w->rng, 2))
			pthread_testcancel();
	}
	pthread_cleanup_pop(1);
	return NULL;
}

static void wait_for(const unsigned *counter, unsigned value)
{
	while (__atomic_load_n(counter, __ATOMIC_RELAXED) < value)
		usleep(20);
}

static void storm(struct rng *rng, unsigned rounds)
{
	void *result;

	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.rng = {rng_next(rng)}};
		must(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (unsigned round = 0; round < rounds + WORKERS; round++) {
		struct worker *w = &workers[round % WORKERS];

		wait_for(&w->operations, 1);
		usleep((useconds_t)rng_below(rng, 300));
		must(!pthread_cancel(w->thread));
		must(!pthread_join(w->thread, &result));
		must(result == PTHREAD_CANCELED);
		if (round >= rounds)
			continue;
		w->operations = 0;
		must(!pthread_create(&w->thread, NULL, work, w));
	}
}

static void *objects[POOL / 4096];

static size_t room_for_objects(void)
{
	size_t n = fill_pool(in.heap, 4096, objects, ELEMENTS(objects));

	for (size_t i = 0; i < n; i++)
		assert_ok(pheap_free(in.heap, objects[i]));
	return n;
}

static void cancelled_at_any_moment(void **state)
{
	unsigned rounds = mode->flags & PHEAP_FORCE_MSYNC ? 50 : 150;
	struct rng rng = rng_make(1);
	size_t room;

	(void)state;
	make_heap(POOL);
	storm(&rng, rounds);
	for (unsigned i = 0; i < SLOTS; i++)
		if (in.slots[i])
			assert_ok(pheap_retire(in.heap, &in.slots[i]));
	assert_int_equal(check_clean(in.heap), FIXED_OBJECTS);
	/* Every byte can be had that another open would find. */
	assert_ok(pheap_purge(in.heap, 0));
	room = room_for_objects();
	if (mode_has_file()) {
		in.heap = reopen_pool(in.heap, "p");
		assert_int_equal(check_clean(in.heap), FIXED_OBJECTS);
		assert_int_equal(room, room_for_objects());
	}
	close_pool(in.heap);
}

/* ---- what a thread leaves that ends ---------------------------------------------------- */

static struct {
	char *reserved;
	pheap_tx_t *tx;
} left;

/* A transaction under way, an object reserved; the end by pthread_exit() or a request. */
static void *leave(void *arg)
{
	left.reserved = pheap_alloc(in.heap, 1000);
	left.tx = pheap_tx_begin(in.heap);
	must(left.reserved && left.tx);
	fill_pattern(left.reserved, 1000, 7);
	must(!pheap_tx_snapshot(left.tx, in.bytes, 1000));
	fill_pattern(in.bytes, 1000, 2);
	must(!pheap_tx_set(left.tx, &in.words[0], 2));
	if (!arg)
		pthread_exit(NULL);
	must(!pthread_cancel(pthread_self()));
	pthread_testcancel();
	return NULL;
}

static void others_end_what_it_began(void **state)
{
	(void)state;
	make_heap(POOL);
	for (unsigned i = 0; i < 4; i++) {
		bool commit = i & 1;

		fill_pattern(in.bytes, 1000, 1);
		assert_ok(pheap_persist(in.heap, in.bytes, 1000));
		assert_ok(pheap_set(in.heap, &in.words[0], 1));
		run_threads(1, leave, i & 2 ? in.bytes : NULL, 0);
		assert_error(EBUSY, pheap_close(in.heap));
		assert_true(has_pattern(left.reserved, 1000, 7));
		assert_ok(commit ? pheap_tx_commit(left.tx) : pheap_tx_abort(left.tx));
		assert_true(has_pattern(in.bytes, 1000, commit ? 2 : 1));
		assert_int_equal(in.words[0], commit ? 2 : 1);
		assert_ok(pheap_free(in.heap, left.reserved));
		assert_int_equal(check_clean(in.heap), FIXED_OBJECTS);
	}
	close_pool(in.heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_is_a_cancellation_point),
		cmocka_unit_test(cancelled_at_any_moment),
		cmocka_unit_test(others_end_what_it_began),
	};

#ifdef __SANITIZE_ADDRESS__
	/* It takes the rest of a stack that is unwound by a cancellation for poisoned. */
	puts("skipped: the address sanitizer does not follow cancellations");
	return 77;
#endif
	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
