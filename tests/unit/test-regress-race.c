/*
 * test-regress-race.c - two operations at once that once lost a change or left a root
 * that nothing could find. No race is waited for: the second operation runs where the
 * first has looked and not committed yet, in a fence that it takes there (of its content,
 * or of the lane that a new thread gets), or while it waits for a lock that the test holds.
 */
#include "media.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "heap.h"
#include "pool.h"

#define POOL MIB(32)

static struct {
	pheap_t *heap;
	pheap_ref *slot;
	void (*meanwhile)(void); /* once, in the next fence */
} race;

static void run_meanwhile(struct media *media)
{
	void (*fn)(void) = race.meanwhile;

	(void)media;
	race.meanwhile = NULL;
	if (fn)
		fn();
}

static void start(struct media *media)
{
	media_init(media, POOL);
	race.heap = create_on(media->seen, POOL, media);
	race.slot = assert_made(pheap_named_root(race.heap, "A"));
	race.meanwhile = NULL;
	media->fenced = run_meanwhile;
}

static void finish(struct media *media)
{
	check_clean(race.heap);
	close_pool(race.heap);
	media_free(media);
}

static char *reserve_bytes(size_t size, char byte)
{
	char *object = pheap_alloc(race.heap, size);

	must(object);
	memset(object, byte, size);
	return object;
}

static char first_byte(void)
{
	return *(char *)pheap_ptr(race.heap, *race.slot);
}

/* ---- resize -------------------------------------------------------------------- */

static void replace_object(void)
{
	must(!pheap_replace(race.heap, race.slot, reserve_bytes(1024, 'Y'), 0));
}

static void write_object(void)
{
	must(!pheap_write(race.heap, pheap_ptr(race.heap, *race.slot), "Y", 1));
}

static void retire_object(void)
{
	must(!pheap_retire(race.heap, race.slot));
}

static void *resize_in_thread(void *arg)
{
	*(int *)arg = pheap_resize(race.heap, race.slot, 5000);
	return NULL;
}

/* In a new thread, which gets its lane between looking and locking. */
static int resize_meanwhile(void (*meanwhile)(void))
{
	pthread_t thread;
	int result = 1;

	race.meanwhile = meanwhile;
	assert_int_equal(pthread_create(&thread, NULL, resize_in_thread, &result), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(race.meanwhile);
	return result;
}

/* The copy of the old object took the place of what had come in between. */
static void change_during_resize(void **state)
{
	static void (*const changes[])(void) = {replace_object, write_object};
	struct media media;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(changes); i++) {
		start(&media);
		assert_ok(pheap_publish(race.heap, race.slot, reserve_bytes(1024, 'x'), 0));
		assert_int_equal(resize_meanwhile(changes[i]), 0);
		assert_int_equal(first_byte(), 'Y');
		assert_true(pheap_usable_size(race.heap, pheap_ptr(race.heap, *race.slot)) >= 5000);
		finish(&media);
	}
}

static void retire_during_resize(void **state)
{
	struct media media;

	(void)state;
	start(&media);
	assert_ok(pheap_publish(race.heap, race.slot, reserve_bytes(1024, 'x'), 0));
	assert_int_equal(resize_meanwhile(retire_object), -ENOENT);
	assert_int_equal(*race.slot, 0);
	assert_int_equal(check_clean(race.heap), 0);
	finish(&media);
}

/* ---- a root that is dropped ------------------------------------------------------- */

static void drop_root(void)
{
	must(!pheap_drop_root(race.heap, "A"));
}

/* The reference went into a root without a name: an object that nothing could reach,
 * and an entry of the table that the next root would have got, reference and all. */
static void drop_during_publish(void **state)
{
	static const size_t sizes[] = {1024, 131072};
	struct media media;
	char *object;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		start(&media);
		object = reserve_bytes(sizes[i], 'x');
		race.meanwhile = drop_root;
		assert_error(EINVAL, pheap_publish(race.heap, race.slot, object, 0));
		assert_null(race.meanwhile);
		assert_int_equal(*race.slot, 0);
		assert_int_equal(check_clean(race.heap), 0);
		assert_int_equal(*(pheap_ref *)assert_made(pheap_named_root(race.heap, "new")), 0);
		assert_ok(pheap_free(race.heap, object));
		finish(&media);
	}
}

static void drop_before_commit(void **state)
{
	struct media media;
	pheap_tx_t *tx;

	(void)state;
	start(&media);
	tx = assert_made(pheap_tx_begin(race.heap));
	assert_ok(pheap_tx_set(tx, race.slot,
			       pheap_ref_of(race.heap, assert_made(pheap_tx_alloc(tx, 64)))));
	drop_root();
	assert_error(EINVAL, pheap_tx_commit(tx));
	assert_int_equal(*race.slot, 0);
	assert_int_equal(check_clean(race.heap), 0);
	finish(&media);
}

/* ---- waiting for a lock -------------------------------------------------------------- */

static pid_t waiter;

static void *retire_in_thread(void *arg)
{
	__atomic_store_n(&waiter, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	*(int *)arg = pheap_retire(race.heap, race.slot);
	return NULL;
}

/* Until a thread sleeps: in the only lock that is taken. */
static void await_sleep(void)
{
	char path[64], text[256], *end = NULL;
	ssize_t n;
	int fd;

	while (!end || end[2] != 'S') {
		usleep(1000);
		if (!__atomic_load_n(&waiter, __ATOMIC_ACQUIRE))
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)waiter);
		must((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		must(n > 0);
		text[n] = 0;
		must((end = strrchr(text, ')')));
	}
}

/* The object had been retired, its place taken by another of the same size, and its
 * DRAM state by a third: the wrong one was freed. */
static void same_place_other_object(void **state)
{
	int result = 1;
	pthread_t thread;
	pheap_ref *other;
	uint64_t first;
	char *memory = memory_new(POOL), *large, *again;

	(void)state;
	waiter = 0;
	race.heap = create_on(memory, POOL, NULL);
	race.slot = assert_made(pheap_named_root(race.heap, "A"));
	other = assert_made(pheap_named_root(race.heap, "B"));
	assert_ok(pheap_publish(race.heap, race.slot, reserve_bytes(131072, 'x'), 0));
	first = *race.slot;

	pthread_mutex_lock(&race.heap->zone.lock);
	assert_int_equal(pthread_create(&thread, NULL, retire_in_thread, &result), 0);
	await_sleep();
	assert_ok(pheap_retire(race.heap, race.slot));
	large = reserve_bytes(MIB(1), 'z');
	again = reserve_bytes(131072, 'y');
	assert_ok(pheap_publish(race.heap, other, large, 0));
	assert_ok(pheap_publish(race.heap, race.slot, again, 0));
	assert_int_equal(*race.slot, first);
	pthread_mutex_unlock(&race.heap->zone.lock);
	assert_int_equal(pthread_join(thread, NULL), 0);

	/* It retires what the slot holds by then. */
	assert_int_equal(result, 0);
	assert_int_equal(*race.slot, 0);
	assert_true(pheap_usable_size(race.heap, large) >= MIB(1));
	assert_int_equal(check_clean(race.heap), 1);
	close_pool(race.heap);
	memory_free(memory, POOL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(change_during_resize),	   cmocka_unit_test(retire_during_resize),
		cmocka_unit_test(drop_during_publish),	   cmocka_unit_test(drop_before_commit),
		cmocka_unit_test(same_place_other_object),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("regress-race", tests, NULL, NULL);
}
