/*
 * test-threads.c - many threads on one heap: own slots, shared slots, more
 * threads than lanes, threads that come and go, frees by others.
 */
#include "common.h"

#include <pthread.h>

#define POOL MIB(64)
#define OWN 64 /* slots of a thread */
#define SHARED 16

struct worker {
	pheap_t *heap;
	pheap_ref *slots; /* its own */
	pheap_ref *shared;
	uint64_t id;
	unsigned rounds;
	uint64_t published, retired; /* in shared slots */
	pthread_barrier_t *all;	     /* have begun to work */
};

/* Object of a thread: {size, id}, then a pattern. */
static void fill_object(uint64_t *object, uint64_t size, uint64_t id)
{
	object[0] = size;
	object[1] = id;
	fill_pattern(object + 2, size - 16, id);
}

static void check_object(pheap_t *heap, pheap_ref ref)
{
	uint64_t *object = pheap_ptr(heap, ref);

	must(object && pheap_usable_size(heap, object) >= object[0]);
	must(has_pattern(object + 2, object[0] - 16, object[1]));
}

/* NULL: what the others hold leaves no room just now. */
static void *make_object(struct worker *w, struct rng *rng)
{
	uint64_t size = 16 + rng_below(rng, rng_below(rng, 10) ? 500 : 5000);
	void *object = pheap_alloc(w->heap, size);

	if (!object) {
		must(errno == ENOSPC);
		return NULL;
	}
	fill_object(object, size, w->id << 32 | rng_below(rng, 1u << 30));
	return object;
}

static void own_slot_step(struct worker *w, struct rng *rng)
{
	pheap_ref *slot = &w->slots[rng_below(rng, OWN)];
	void *object = make_object(w, rng);
	pheap_tx_t *tx;
	int code;

	if (!*slot) {
		must(!object || !pheap_publish(w->heap, slot, object, 0));
		return;
	}
	check_object(w->heap, *slot);
	switch (object ? rng_below(rng, 5) : 4) {
	case 0:
		must(!pheap_replace(w->heap, slot, object, 0));
		break;
	case 1:
		tx = pheap_tx_begin(w->heap);
		must(tx && !pheap_tx_adopt(tx, object));
		must(!pheap_tx_retire(tx, slot));
		must(!pheap_tx_set(tx, slot, pheap_ref_of(w->heap, object)));
		must(!(rng_below(rng, 2) ? pheap_tx_commit(tx) : pheap_tx_abort(tx)));
		break;
	case 2:
		must(!pheap_free(w->heap, object));
		object = pheap_ptr(w->heap, *slot);
		tx = pheap_tx_begin(w->heap);
		must(tx);
		code = pheap_tx_snapshot(tx, object, 16);
		/* A small pool has few undo logs, and others may have them. */
		must(!code || code == -ENOSPC);
		if (!code) {
			((uint64_t *)object)[1] ^= 1;
			((uint64_t *)object)[1] ^= 1;
		}
		must(!(rng_below(rng, 2) ? pheap_tx_commit(tx) : pheap_tx_abort(tx)));
		break;
	default:
		must(!pheap_free(w->heap, object));
		must(!pheap_retire(w->heap, slot));
	}
}

static void shared_slot_step(struct worker *w, struct rng *rng)
{
	pheap_ref *slot = &w->shared[rng_below(rng, SHARED)];
	void *object;
	int code;

	if (rng_below(rng, 2)) {
		code = pheap_retire(w->heap, slot);
		must(!code || code == -ENOENT);
		w->retired += !code;
		return;
	}
	object = make_object(w, rng);
	if (!object)
		return;
	code = pheap_publish(w->heap, slot, object, 0);
	must(!code || code == -EEXIST);
	w->published += !code;
	if (code)
		must(!pheap_free(w->heap, object));
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct rng rng = rng_make(w->id);
	void *kept[32] = {NULL};
	unsigned i, k;

	for (i = 0; i < w->rounds; i++) {
		own_slot_step(w, &rng);
		if (i == 0)
			pthread_barrier_wait(w->all);
		if (i % 4 == 0)
			shared_slot_step(w, &rng);
		k = (unsigned)rng_below(&rng, ELEMENTS(kept));
		must(!pheap_free(w->heap, kept[k]));
		kept[k] = make_object(w, &rng);
	}
	for (k = 0; k < ELEMENTS(kept); k++)
		must(!pheap_free(w->heap, kept[k]));
	return NULL;
}

static int compare_refs(const void *a, const void *b)
{
	pheap_ref x = *(const pheap_ref *)a, y = *(const pheap_ref *)b;

	return x < y ? -1 : x > y;
}

/* No object is in two slots. */
static void assert_distinct(const pheap_ref *slots, size_t n)
{
	pheap_ref *sorted = malloc(n * sizeof(*sorted));

	must(sorted);
	memcpy(sorted, slots, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_refs);
	for (size_t i = 1; i < n; i++)
		assert_true(!sorted[i] || sorted[i] != sorted[i - 1]);
	free(sorted);
}

/* n workers at once, each with its own slots; what is there afterwards counts. */
static void run_workers(uint64_t size, unsigned n, unsigned rounds)
{
	struct worker *workers = calloc(n, sizeof(*workers));
	uint64_t published = 0, retired = 0, objects = 1;
	pheap_t *heap = make_pool("p", size), *copy;
	pheap_ref *slots;
	pthread_barrier_t all;
	unsigned i, repeat;

	must(workers && !pthread_barrier_init(&all, NULL, n));
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), (n * OWN + SHARED) * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	for (repeat = 0; repeat < 2; repeat++) {
		for (i = 0; i < n; i++) {
			workers[i] = (struct worker){heap,   slots + SHARED + i * OWN,
						     slots,  repeat * n + i + 1,
						     rounds, 0,
						     0,	     &all};
		}
		run_threads(n, work, workers, sizeof(*workers));
		for (i = 0; i < n; i++) {
			published += workers[i].published;
			retired += workers[i].retired;
		}
	}
	for (i = 0; i < n * OWN + SHARED; i++) {
		if (!slots[i])
			continue;
		objects++;
		check_object(heap, slots[i]);
	}
	assert_distinct(slots, n * OWN + SHARED);
	/* Of each publish and each retire of a shared slot exactly one did it. */
	for (i = 0; i < SHARED; i++)
		published -= slots[i] != 0;
	assert_int_equal(published, retired);
	assert_int_equal(check_clean(heap), objects);
	if (mode_has_file()) {
		copy = crash_pool("p");
		slots = pheap_ptr(copy, *pheap_root(copy));
		for (i = 0; i < n * OWN + SHARED; i++)
			if (slots[i])
				check_object(copy, slots[i]);
		assert_int_equal(check_clean(copy), objects);
		close_pool(copy);
	}
	close_pool(heap);
	pthread_barrier_destroy(&all);
	free(workers);
}

static void eight_threads(void **state)
{
	(void)state;
	run_workers(POOL, 8, mode->flags & PHEAP_FORCE_MSYNC ? 1000 : 10000);
}

/* A small pool has room for few lanes: the threads share them. */
static void more_threads_than_lanes(void **state)
{
	(void)state;
	run_workers(PHEAP_MIN_SIZE, 64, mode->flags & PHEAP_FORCE_MSYNC ? 20 : 100);
}

/* The thread sanitizer takes minutes for as many: each lock costs it the number of threads. */
#ifdef __SANITIZE_THREAD__
#define MANY 64
#else
#define MANY 1024
#endif

/* All alive at once, and each in the middle of its work. */
static void a_thousand_threads(void **state)
{
	(void)state;
	run_workers(MIB(512), MANY, mode->flags & PHEAP_FORCE_MSYNC ? 4 : 30);
}

/* Two threads retire one slot again and again: exactly one does it. */
struct race {
	pheap_t *heap;
	pheap_ref *slot;
	pthread_barrier_t *barrier;
	unsigned rounds, won;
};

static void *race_to_retire(void *arg)
{
	struct race *race = arg;
	unsigned i;
	int code;

	for (i = 0; i < race->rounds; i++) {
		pthread_barrier_wait(race->barrier);
		code = pheap_retire(race->heap, race->slot);
		must(!code || code == -ENOENT);
		race->won += !code;
		if (pthread_barrier_wait(race->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			must(!pheap_alloc_into(race->heap, race->slot, 64, NULL));
	}
	return NULL;
}

static void one_slot_retired_by_two(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pthread_barrier_t barrier;
	struct race races[2];
	unsigned i, rounds = 5000;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	for (i = 0; i < 2; i++)
		races[i] = (struct race){heap, pheap_root(heap), &barrier, rounds, 0};
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	run_threads(2, race_to_retire, races, sizeof(races[0]));
	assert_int_equal(races[0].won + races[1].won, rounds);
	assert_int_equal(check_clean(heap), 1);
	pthread_barrier_destroy(&barrier);
	close_pool(heap);
}

static void *publish_race(void *arg)
{
	struct race *race = arg;
	void *object;
	unsigned i;
	int code;

	for (i = 0; i < race->rounds; i++) {
		object = pheap_alloc(race->heap, 64);
		must(object);
		pthread_barrier_wait(race->barrier);
		code = pheap_publish(race->heap, race->slot, object, 0);
		must(!code || code == -EEXIST);
		race->won += !code;
		if (code)
			must(!pheap_free(race->heap, object));
		if (pthread_barrier_wait(race->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			must(!pheap_retire(race->heap, race->slot));
	}
	return NULL;
}

static void one_slot_published_by_two(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pthread_barrier_t barrier;
	struct race races[2];
	unsigned i, rounds = 5000;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	for (i = 0; i < 2; i++)
		races[i] = (struct race){heap, pheap_root(heap), &barrier, rounds, 0};
	run_threads(2, publish_race, races, sizeof(races[0]));
	assert_int_equal(races[0].won + races[1].won, rounds);
	assert_int_equal(check_clean(heap), 0);
	pthread_barrier_destroy(&barrier);
	close_pool(heap);
}

static void *come_and_go(void *arg)
{
	struct worker *w = arg;
	struct rng rng = rng_make(w->id);
	unsigned i;

	for (i = 0; i < 5; i++) {
		own_slot_step(w, &rng);
		must(!pheap_free(w->heap, make_object(w, &rng)));
	}
	return NULL;
}

/* More threads, one after the other, than there can ever be lanes. */
static void threads_come_and_go(void **state)
{
	pheap_t *heap = make_pool("p", MIB(16));
	struct worker worker = {.heap = heap};
	pheap_ref *slots;
	uint64_t objects = 1;
	unsigned i;

	(void)state;
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), OWN * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	worker.slots = slots;
	for (i = 0; i < 1500; i++) {
		worker.id = i + 1;
		run_thread(come_and_go, &worker);
	}
	for (i = 0; i < OWN; i++)
		if (slots[i])
			objects++;
	assert_int_equal(check_clean(heap), objects);
	close_pool(heap);
}

struct sleeper {
	pheap_t *heap;
	pthread_barrier_t *ready, *closed;
};

static void *hold_a_cache(void *arg)
{
	struct sleeper *sleeper = arg;
	void *objects[100];
	unsigned i;

	for (i = 0; i < ELEMENTS(objects); i++)
		must((objects[i] = pheap_alloc(sleeper->heap, 64 + i)));
	for (i = 0; i < ELEMENTS(objects); i++)
		must(!pheap_free(sleeper->heap, objects[i]));
	pthread_barrier_wait(sleeper->ready);
	/* The heap is closed here. */
	pthread_barrier_wait(sleeper->closed);
	return NULL;
}

/* Caches of live threads do not keep a heap from being closed. */
static void close_under_live_threads(void **state)
{
	pthread_barrier_t ready, closed;
	struct sleeper sleeper = {NULL, &ready, &closed};
	pthread_t threads[6];
	unsigned i, round;
	pheap_t *heap;

	(void)state;
	pthread_barrier_init(&ready, NULL, ELEMENTS(threads) + 1);
	pthread_barrier_init(&closed, NULL, ELEMENTS(threads) + 1);
	for (round = 0; round < 20; round++) {
		heap = sleeper.heap = make_pool("p", MIB(8));
		for (i = 0; i < ELEMENTS(threads); i++)
			must(!pthread_create(&threads[i], NULL, hold_a_cache, &sleeper));
		pthread_barrier_wait(&ready);
		publish_root(heap, 100, 1);
		close_pool(heap);
		if (mode_has_file()) {
			heap = open_pool("p");
			assert_int_equal(info_of(heap).recovered, 0);
			assert_int_equal(check_clean(heap), 1);
		}
		pthread_barrier_wait(&closed);
		/* Their ends give nothing back to what is open now. */
		for (i = 0; i < ELEMENTS(threads); i++)
			must(!pthread_join(threads[i], NULL));
		if (mode_has_file()) {
			assert_int_equal(check_clean(heap), 1);
			assert_made(pheap_alloc(heap, 64));
			close_pool(heap);
		}
	}
	pthread_barrier_destroy(&ready);
	pthread_barrier_destroy(&closed);
}

/* One thread allocates, another frees: a queue between the two. */
struct queue {
	pheap_t *heap;
	void *ring[256];
	unsigned head, tail; /* atomic */
	unsigned n;
	bool producer;
};

static void *produce_or_consume(void *arg)
{
	struct queue *q = *(struct queue **)arg;
	bool producer = !__atomic_exchange_n(&q->producer, true, __ATOMIC_ACQ_REL);
	unsigned i;

	for (i = 0; i < q->n; i++) {
		if (producer) {
			while (i - __atomic_load_n(&q->tail, __ATOMIC_ACQUIRE) >= 256)
				sched_yield();
			must((q->ring[i % 256] = pheap_alloc(q->heap, 16 + i % 1000)));
			fill_pattern(q->ring[i % 256], 16, i);
			__atomic_store_n(&q->head, i + 1, __ATOMIC_RELEASE);
		} else {
			while (__atomic_load_n(&q->head, __ATOMIC_ACQUIRE) == i)
				sched_yield();
			must(has_pattern(q->ring[i % 256], 16, i));
			must(!pheap_free(q->heap, q->ring[i % 256]));
			__atomic_store_n(&q->tail, i + 1, __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

/* In a pool far too small for all of it: what is freed must come back. */
static void producer_and_consumer(void **state)
{
	static struct queue q;
	struct queue *both[2] = {&q, &q};

	(void)state;
	memset(&q, 0, sizeof(q));
	q.heap = make_pool("p", MIB(8));
	q.n = 200000;
	run_threads(2, produce_or_consume, both, sizeof(both[0]));
	assert_int_equal(check_clean(q.heap), 0);
	close_pool(q.heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_threads),
		cmocka_unit_test(more_threads_than_lanes),
		cmocka_unit_test(a_thousand_threads),
		cmocka_unit_test(one_slot_retired_by_two),
		cmocka_unit_test(one_slot_published_by_two),
		cmocka_unit_test(threads_come_and_go),
		cmocka_unit_test(close_under_live_threads),
		cmocka_unit_test(producer_and_consumer),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
