/*
 * test-regress-crash.c - crashes after which the library once lost or invented
 * something: entries of another undo log taken for a log's own, recovery itself
 * interrupted, a thread that ended while the heap was closed.
 */
#include "media.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "heap.h"
#include "pool.h"
#include "recovery/check.h"
#include "tx/lane.h"

#define POOL MIB(32)

static bool all_bytes(const char *at, size_t length, char byte)
{
	for (size_t i = 0; i < length; i++)
		if (at[i] != byte)
			return false;
	return true;
}

/* A published object of one byte repeated, in the root of that name. */
static char *publish_bytes(pheap_t *heap, const char *root, size_t size, char byte)
{
	char *object = assert_made(pheap_alloc(heap, size));

	memset(object, byte, size);
	assert_ok(pheap_publish(heap, pheap_named_root(heap, root), object, 0));
	return object;
}

static char *object_of(pheap_t *heap, const char *root)
{
	return pheap_ptr(heap, *(pheap_ref *)assert_made(pheap_find_root(heap, root)));
}

/* ---- undo logs ------------------------------------------------------------------ */

#define STEP 1400u /* from one snapshot to the next */
#define PARTS 40u  /* more than fit in the log's own area */

/* Bytes outside the parts are in no snapshot. */
static void fill_parts(char *object, unsigned n, size_t length, char byte)
{
	for (unsigned i = 0; i < n; i++)
		memset(object + i * STEP, byte, length);
}

static void snapshot_parts(pheap_tx_t *tx, char *object, unsigned n, size_t length)
{
	for (unsigned i = 0; i < n; i++)
		assert_ok(pheap_tx_snapshot(tx, object + i * STEP, length));
}

/*
 * One log went on in a span, and committed. Then the span was another log's, at
 * the same generation: behind that one's live entries lie those of the first, with
 * the numbers that come next. They were rolled back as well, or, where the entries
 * had other lengths, the pool was refused as damaged.
 */
static void reused_undo_area(unsigned live, size_t length)
{
	char *memory = memory_new(POOL), *copy;
	pheap_t *heap = create_on(memory, POOL, NULL), *crashed;
	char *a = publish_bytes(heap, "a", PARTS * STEP, 'A');
	char *b = publish_bytes(heap, "b", PARTS * STEP, 'B');
	char *d = publish_bytes(heap, "d", 64, 'D');
	pheap_tx_t *first, *keeper, *open;

	first = assert_made(pheap_tx_begin(heap));
	snapshot_parts(first, a, PARTS, 1300);
	fill_parts(a, PARTS, 1300, 'a');
	assert_ok(pheap_tx_commit(first));
	keeper = assert_made(pheap_tx_begin(heap)); /* has the first log, generation 2 */
	assert_ok(pheap_tx_snapshot(keeper, d, 64));
	open = assert_made(pheap_tx_begin(heap)); /* the second log, generation 1 */
	snapshot_parts(open, b, live, length);
	fill_parts(b, live, length, 'b');

	copy = memory_copy(memory, POOL);
	crashed = open_on(copy, POOL, NULL);
	for (unsigned i = 0; i < PARTS; i++)
		assert_true(all_bytes(object_of(crashed, "a") + i * STEP, 1300, 'a'));
	assert_true(all_bytes(object_of(crashed, "b"), PARTS * STEP, 'B'));
	assert_int_equal(check_clean(crashed), 3);
	close_pool(crashed);
	assert_ok(pheap_tx_abort(open));
	assert_ok(pheap_tx_abort(keeper));
	close_pool(heap);
	memory_free(copy, POOL);
	memory_free(memory, POOL);
}

static void undo_area_of_another_log(void **state)
{
	(void)state;
	for (unsigned live = 7; live < 20; live++)
		reused_undo_area(live, 1300);
}

static void undo_area_with_other_lengths(void **state)
{
	(void)state;
	for (unsigned live = 7; live < 20; live++)
		reused_undo_area(live, 1000);
}

static void *use_lane(void *arg)
{
	pthread_barrier_t *barrier = ((void **)arg)[1];
	pheap_t *heap = ((void **)arg)[0];

	must(!pheap_set(heap, pheap_root(heap), 0));
	pthread_barrier_wait(barrier); /* all threads have one */
	return NULL;
}

/* A new lane in memory that was an undo area: what lay there looked like entries of
 * the lane's own logs, and the pool was refused. */
static void lane_in_undo_area(void **state)
{
	enum { THREADS = 12, SIZE = 400000 };
	const uint64_t size = MIB(256);
	char *memory = memory_new(size), *copy, *a;
	pheap_t *heap = create_on(memory, size, NULL), *crashed;
	pthread_barrier_t barrier;
	void *args[] = {heap, &barrier};
	pheap_tx_t *tx;

	(void)state;
	assert_ok(pheap_set(heap, pheap_root(heap), 0));
	a = publish_bytes(heap, "a", SIZE, 'A');
	tx = assert_made(pheap_tx_begin(heap));
	snapshot_parts(tx, a, 200, 1300);
	assert_ok(pheap_tx_commit(tx));
	assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	run_threads(THREADS, use_lane, args, 0);
	pthread_barrier_destroy(&barrier);
	assert_true(info_of(heap).lanes >= THREADS);

	copy = memory_copy(memory, size);
	crashed = open_on(copy, size, NULL);
	assert_true(all_bytes(object_of(crashed, "a"), SIZE, 'A'));
	close_pool(crashed);
	close_pool(heap);
	memory_free(copy, size);
	memory_free(memory, size);
}

/* A crashed pool of so many open undo logs, and a record of very many entries. */
static char *pool_with_logs(uint64_t size, unsigned logs)
{
	enum { ENTRIES = 1000000 };
	char *memory = memory_new(size), *copy, *object;
	pheap_t *heap = create_on(memory, size, NULL);
	pheap_tx_t *tx;

	object = publish_bytes(heap, "a", logs * 64, 'A');
	for (unsigned i = 0; i < logs; i++) {
		tx = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(tx, object + i * 64, 64));
	}
	object = publish_bytes(heap, "b", 4096, 'B');
	tx = assert_made(pheap_tx_begin(heap));
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_ok(pheap_tx_set(tx, (uint64_t *)(void *)(object + i % 64 * 64), i));
	assert_ok(pheap_tx_commit(tx));
	assert_true(info_of(heap).lanes >= logs / PM_UNDO_LOGS);
	copy = memory_copy(memory, size);
	ph_pool_abandon(heap);
	memory_free(memory, size);
	return copy;
}

static double time_to_open(unsigned logs)
{
	const uint64_t size = MIB(256);
	char *memory = pool_with_logs(size, logs);
	clock_t begun = clock();
	double seconds;

	close_pool(open_on(memory, size, NULL));
	seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
	memory_free(memory, size);
	return seconds;
}

/* Every entry of every record was compared with the head of every undo log: to open a
 * pool of many lanes took minutes. */
static void many_logs_many_entries(void **state)
{
	double few = time_to_open(4), many = time_to_open(4000);

	(void)state;
	print_message("%.3f s with 4 logs, %.3f s with 4000\n", few, many);
	assert_true(many < 8 * few + 0.2);
}

/* ---- recovery interrupted --------------------------------------------------------- */

/*
 * A page cache: what was stored is seen by the next process, and is durable when
 * it has been written back. flushes_left: the power goes after so many.
 */
struct page_cache {
	char *seen, *durable;
	char *killed, *killed_durable; /* both, at the first record after `armed` */
	bool armed;
	unsigned flushes_left, flushes;
};

static void cache_store(void *arg, void *dst, const void *src, size_t length)
{
	(void)arg;
	(void)dst;
	(void)src;
	(void)length;
}

static void cache_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	struct page_cache *cache = arg;
	uint64_t offset = (uint64_t)((char *)dst - cache->seen);

	if (cache->armed) {
		cache->armed = false;
		cache->killed = memory_copy(cache->seen, POOL);
		cache->killed_durable = memory_copy(cache->durable, POOL);
		memcpy(cache->killed + offset, src, length);
	}
	memcpy(cache->durable + offset, src, length);
}

static void cache_flush(void *arg, const void *addr, size_t length)
{
	struct page_cache *cache = arg;
	uint64_t offset = (uint64_t)((const char *)addr - cache->seen);
	uint64_t end = (offset + length + PM_LINE - 1) / PM_LINE * PM_LINE;

	offset = offset / PM_LINE * PM_LINE;
	cache->flushes++;
	if (!cache->flushes_left)
		return;
	cache->flushes_left--;
	memcpy(cache->durable + offset, cache->seen + offset, end - offset);
}

static int cache_fence(void *arg)
{
	(void)arg;
	return 0;
}

static const struct ph_hook cache_hook = {cache_store, cache_copy_nt, cache_flush, cache_fence};

/* Kill a process whose record is visible and not yet written back. */
static void kill_in_commit(struct page_cache *cache)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = POOL};
	pheap_ref *slot;
	pheap_t *heap;

	cache->flushes_left = UINT32_MAX;
	heap = assert_made(ph_pool_create_on(cache->seen, POOL, &opts, &cache_hook, cache));
	slot = assert_made(pheap_named_root(heap, "A"));
	cache->armed = true;
	assert_ok(pheap_alloc_into(heap, slot, 1024, NULL));
	assert_false(cache->armed);
	ph_pool_abandon(heap);
}

/* The next open recovers, and the power goes after n write-backs. Is it done before? */
static bool cut_recovery(const struct page_cache *killed, unsigned n)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	struct page_cache cache = {.flushes_left = n};
	pheap_ref *slot;
	pheap_t *heap;

	cache.seen = memory_copy(killed->killed, POOL);
	cache.durable = memory_copy(killed->killed_durable, POOL);
	heap = assert_made(ph_pool_open_on(cache.seen, POOL, &opts, &cache_hook, &cache));
	ph_pool_abandon(heap);

	heap = open_on(cache.durable, POOL, NULL);
	slot = assert_made(pheap_find_root(heap, "A"));
	assert_int_equal(check_clean(heap), *slot ? 1 : 0);
	close_pool(heap);
	memory_free(cache.seen, POOL);
	memory_free(cache.durable, POOL);
	return n >= cache.flushes;
}

/* Recovery wrote back what a record does before the record: a power cut in between
 * left half of an operation, and nothing to finish it. */
static void power_cut_in_recovery(void **state)
{
	struct page_cache cache = {.seen = memory_new(POOL), .durable = memory_new(POOL)};
	unsigned n = 0;

	(void)state;
	kill_in_commit(&cache);
	while (!cut_recovery(&cache, n))
		n++;
	assert_true(n >= 4);
	memory_free(cache.seen, POOL);
	memory_free(cache.durable, POOL);
	memory_free(cache.killed, POOL);
	memory_free(cache.killed_durable, POOL);
}

/* ---- a thread that ends while the heap is closed ------------------------------------ */

static struct {
	pheap_t *heap;
	pthread_t thread;
	sem_t ready, end;
	bool ended;
	uint64_t stores;
} closing;

/* Leave two slabs that are empty but for what this thread's cache holds: one of them
 * dies, by a record, when the cache is given back. */
static void *fill_cache(void *arg)
{
	pheap_ref *slot = pheap_named_root(closing.heap, "t");
	char *object[128], *low;

	(void)arg;
	for (unsigned i = 0; i < 128; i++)
		must((object[i] = pheap_alloc(closing.heap, 1024)));
	for (unsigned i = 0; i < 128; i += 64) {
		must(!pheap_publish(closing.heap, slot, object[i], 0));
		must(!pheap_retire(closing.heap, slot));
		must((object[i] = pheap_alloc(closing.heap, 1024)));
	}
	low = object[0];
	for (unsigned i = 0; i < 128; i++)
		low = object[i] < low ? object[i] : low;
	low -= (uintptr_t)low % PM_GRANULE;
	for (unsigned high = 2; high--;) /* those of the upper slab first */
		for (unsigned i = 0; i < 128; i++)
			if ((object[i] >= low + PM_GRANULE) == (high != 0))
				must(!pheap_free(closing.heap, object[i]));
	sem_post(&closing.ready);
	sem_wait(&closing.end);
	return NULL;
}

static void end_thread_when_clean(struct media *media)
{
	const struct pm_state *state = (const void *)(media->durable + PM_STATE);

	if (closing.ended || state->status != PM_STATUS_CLEAN)
		return;
	closing.ended = true;
	closing.stores = media->stores;
	sem_post(&closing.end);
	must(!pthread_join(closing.thread, NULL));
	closing.stores = media->stores - closing.stores;
}

/* The thread gave its cache back, with a record, to a pool that was marked clean: a
 * power cut then left what no recovery looked at. */
static void thread_ends_in_close(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct media media;

	(void)state;
	media_init(&media, POOL);
	closing.heap = create_on(media.seen, POOL, &media);
	assert_int_equal(sem_init(&closing.ready, 0, 0) | sem_init(&closing.end, 0, 0), 0);
	assert_int_equal(pthread_create(&closing.thread, NULL, fill_cache, NULL), 0);
	sem_wait(&closing.ready);
	media.fenced = end_thread_when_clean;
	close_pool(closing.heap);
	assert_true(closing.ended);
	assert_int_equal(closing.stores, 0);
	assert_memory_equal(media.seen, media.durable, POOL);
	assert_int_equal(ph_check_media(media.durable, POOL, -1, &result, NULL, NULL), 0);
	media_free(&media);
}

/* ---- a failed write-back -------------------------------------------------------------- */

static struct {
	pheap_t *heap;
	pheap_ref *slot;
	pthread_t thread;
	int other; /* what another thread's operation gave meanwhile */
} failing;

static __thread bool doomed; /* this thread's write-backs fail */

static void *set_other(void *arg)
{
	(void)arg;
	failing.other = pheap_set(failing.heap, failing.slot, 0);
	return NULL;
}

static void failing_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	if (!doomed)
		cache_copy_nt(arg, dst, src, length);
}

/* The fence fails when another thread has its stripe and waits for the lane. */
static int failing_fence(void *arg)
{
	uint64_t line =
		(uint64_t)((char *)failing.slot - ((struct page_cache *)arg)->seen) / PM_LINE;

	if (!doomed)
		return 0;
	must(!pthread_create(&failing.thread, NULL, set_other, NULL));
	while (!(__atomic_load_n(&ph_stripe_of(failing.heap, line)->word, __ATOMIC_ACQUIRE) & 1))
		usleep(100);
	return -EIO;
}

static const struct ph_hook failing_hook = {cache_store, failing_copy_nt, cache_flush,
					    failing_fence};

/* Behind a record that was not written back there was one that was: the next open
 * found a gap, and refused the pool. */
static void nothing_behind_failed_record(void **state)
{
	struct page_cache cache = {.seen = memory_new(POOL), .durable = memory_new(POOL)};
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = POOL};
	pheap_t *heap;

	(void)state;
	cache.flushes_left = UINT32_MAX;
	heap = assert_made(ph_pool_create_on(cache.seen, POOL, &opts, &failing_hook, &cache));
	heap->lanes_max = 1;
	failing.heap = heap;
	failing.slot = assert_made(pheap_named_root(heap, "B"));
	doomed = true;
	assert_error(EIO, pheap_set(heap, pheap_root(heap), 0));
	doomed = false;
	assert_int_equal(pthread_join(failing.thread, NULL), 0);
	assert_int_equal(failing.other, -EIO);
	assert_error(EIO, pheap_close(heap));
	heap = open_on(cache.durable, POOL, NULL);
	check_clean(heap);
	close_pool(heap);
	memory_free(cache.seen, POOL);
	memory_free(cache.durable, POOL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undo_area_of_another_log),
		cmocka_unit_test(undo_area_with_other_lengths),
		cmocka_unit_test(lane_in_undo_area),
		cmocka_unit_test(many_logs_many_entries),
		cmocka_unit_test(power_cut_in_recovery),
		cmocka_unit_test(thread_ends_in_close),
		cmocka_unit_test(nothing_behind_failed_record),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("regress-crash", tests, NULL, NULL);
}
