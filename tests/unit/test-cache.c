/*
 * test-cache.c - thread caches from inside: how magazines grow and share, that what
 * other threads free goes home, which slab is filled first, what is kept empty, and
 * that all of it is bounded and comes back.
 */
#include "common.h"

#include <malloc.h>
#include <pthread.h>

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "heap.h"

#define POOL MIB(64)
#define MANY 100000u

static void *objects[MANY];

static struct ph_tcache *cache_of(pheap_t *heap)
{
	return assert_made(ph_tcache_get(heap));
}

static struct ph_magazine *magazine(pheap_t *heap, size_t size)
{
	return &cache_of(heap)->mag[ph_class_of(size)];
}

static size_t cap_of(const struct ph_magazine *mag)
{
	return (size_t)(mag->limit - mag->base);
}

static size_t count_of(const struct ph_magazine *mag)
{
	return (size_t)(mag->top - mag->base);
}

static const struct ph_slab *slab_of(pheap_t *heap, const void *object)
{
	return ph_slab_at(heap, object);
}

/* Room of all magazines of a thread, which is what its bounds are about. */
static void check_bounds(pheap_t *heap)
{
	struct ph_tcache *cache = cache_of(heap);
	size_t dram = sizeof(*cache) + PH_CLASSES * sizeof(cache->mag[0]), slots = 0, bytes = 0;

	for (unsigned c = 0; c < PH_CLASSES; c++) {
		const struct ph_magazine *mag = &cache->mag[c];

		assert_true(mag->base <= mag->top && mag->top <= mag->limit);
		slots += cap_of(mag);
		bytes += cap_of(mag) * ph_classes[c].size;
		dram += mag->base ? malloc_usable_size(mag->base) + 8 : 0;
	}
	assert_int_equal(slots, cache->slots);
	assert_int_equal(bytes, cache->slot_bytes);
	assert_true(slots <= PH_SLOTS_MAX + PH_CLASSES); /* the first entry is never denied */
	assert_true(dram < KIB(64));
}

static void reserve_many(pheap_t *heap, size_t size, size_t n)
{
	for (size_t i = 0; i < n; i++)
		objects[i] = assert_made(pheap_alloc(heap, size));
}

static void free_many(pheap_t *heap, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_ok(pheap_free(heap, objects[i]));
}

/* ---- capacities ----------------------------------------------------------------- */

/* One pair does not take a magazine's worth; a thousand objects stay in the cache. */
static void grows_with_use(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	const struct ph_magazine *mag = magazine(heap, 64);
	const struct ph_slab *own;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		reserve_many(heap, 64, 1);
		free_many(heap, 1);
	}
	assert_in_range(cap_of(mag), 1, 16);
	for (unsigned i = 0; i < 10; i++) {
		reserve_many(heap, 64, 1000);
		free_many(heap, 1000);
	}
	assert_true(cap_of(mag) >= 1000);
	own = mag->own;
	for (unsigned i = 0; i < 10; i++) {
		uint32_t available = own->free;

		reserve_many(heap, 64, 1000);
		free_many(heap, 1000);
		assert_int_equal(own->free, available); /* no transfer */
	}
	check_bounds(heap);
	close_pool(heap);
}

/* Classes that are used in turn take room from each other; none keeps all of it. */
static void room_goes_where_misses_are(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	struct rng rng = rng_make(1);

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t size = 16; size <= 1024; size *= 2) {
			for (unsigned i = 0; i < 100; i++) {
				reserve_many(heap, size, 1000);
				free_many(heap, 1000);
				check_bounds(heap);
			}
			assert_true(cap_of(magazine(heap, size)) >= 512);
		}
	}
	memset(objects, 0, sizeof(objects));
	for (unsigned i = 0; i < 300000; i++) {
		void **slot = &objects[rng_below(&rng, 500)];

		if (*slot)
			assert_ok(pheap_free(heap, *slot));
		*slot = assert_made(pheap_alloc(heap, 1 + rng_below(&rng, 65536)));
		if (i % 1000 == 0)
			check_bounds(heap);
	}
	assert_true(cache_of(heap)->slot_bytes <= ph_tcache_share(heap) + MIB(2));
	free_many(heap, 500);
	close_pool(heap);
}

/* ---- many threads ------------------------------------------------------------------ */

#define THREADS 1024u
#define MAILBOXES 64u

struct crowd {
	pheap_t *heap;
	pthread_barrier_t *all;
	void **mailboxes;
	uint64_t id;
};

/* What a thread frees was reserved by any other one. */
static void *pass_on(void *arg)
{
	struct crowd *me = arg;
	struct rng rng = rng_make(me->id);

	must(pheap_free(me->heap, pheap_alloc(me->heap, 100)) == 0);
	pthread_barrier_wait(me->all);
	/* Who has next to nothing takes no share from the others. */
	must(me->heap->sharers == 0);
	for (unsigned i = 0; i < 100; i++) {
		size_t size = 16 + rng_below(&rng, 200);
		uint64_t *object = pheap_alloc(me->heap, size), *other;

		/* In all the threads may hold what there is. */
		must(object || errno == ENOSPC);
		if (object) {
			object[0] = size;
			fill_pattern(object + 1, size - 8, size);
		}
		other = __atomic_exchange_n(&me->mailboxes[rng_below(&rng, MAILBOXES)], object,
					    __ATOMIC_ACQ_REL);
		if (!other)
			continue;
		must(has_pattern(other + 1, other[0] - 8, other[0]));
		must(pheap_free(me->heap, other) == 0);
	}
	pthread_barrier_wait(me->all); /* all caches are alive at once */
	return NULL;
}

/* Four threads that need large magazines share what one had, until they end. */
#define SHARING 4u

struct sharing {
	pheap_t *heap;
	pthread_barrier_t *all;
};

static void use_much(pheap_t *heap)
{
	void *mine[1000];

	for (unsigned i = 0; i < 1000; i++)
		must((mine[i] = pheap_alloc(heap, 4096)) != NULL);
	for (unsigned i = 0; i < 1000; i++)
		must(pheap_free(heap, mine[i]) == 0);
}

static void *share(void *arg)
{
	struct sharing *me = arg;

	use_much(me->heap);
	pthread_barrier_wait(me->all);
	must(me->heap->sharers == SHARING);
	must(ph_tcache_share(me->heap) <= MIB(64) / 8 / SHARING);
	for (unsigned i = 0; i < 100; i++)
		use_much(me->heap);
	must(cache_of(me->heap)->slot_bytes <= ph_tcache_share(me->heap) + MIB(1));
	pthread_barrier_wait(me->all);
	return NULL;
}

static void four_share(void **state)
{
	struct sharing sharing[SHARING];
	pheap_t *heap = make_pool("p", MIB(64));
	uint64_t alone = ph_tcache_share(heap);
	pthread_barrier_t all;

	(void)state;
	pthread_barrier_init(&all, NULL, SHARING);
	for (unsigned i = 0; i < SHARING; i++)
		sharing[i] = (struct sharing){heap, &all};
	run_threads(SHARING, share, sharing, sizeof(sharing[0]));
	assert_int_equal(heap->sharers, 0);
	assert_int_equal(ph_tcache_share(heap), alone);
	pthread_barrier_destroy(&all);
	close_pool(heap);
}

static void thousand_threads(void **state)
{
	static struct crowd crowd[THREADS];
	void *mailboxes[MAILBOXES] = {NULL};
	pheap_t *heap = make_pool("p", POOL);
	pthread_barrier_t all;
	(void)state;
	assert_ok(pheap_free(heap, assert_made(pheap_alloc(heap, 100))));
	pthread_barrier_init(&all, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		crowd[i] = (struct crowd){heap, &all, mailboxes, i + 1};
	run_threads(THREADS, pass_on, crowd, sizeof(crowd[0]));
	assert_ptr_equal(heap->caches, cache_of(heap));
	assert_null(heap->caches->next);
	assert_int_equal(heap->sharers, 0);
	for (unsigned i = 0; i < MAILBOXES; i++)
		assert_ok(pheap_free(heap, mailboxes[i]));
	ph_tcache_flush(cache_of(heap));
	/* Nothing but empty slabs, in so far as they are kept. */
	assert_int_equal(stats_of(heap).granules_slab, heap->kept);
	assert_int_equal(check_clean(heap), 0);
	pthread_barrier_destroy(&all);
	close_pool(heap);
}

/* ---- what others free ---------------------------------------------------------------- */

struct stranger {
	pheap_t *heap;
	size_t from, n, step;
};

static void *free_as_stranger(void *arg)
{
	struct stranger *s = arg;
	struct ph_tcache *cache = ph_tcache_get(s->heap);

	must(cache);
	for (size_t i = s->from; i < s->from + s->n; i++) {
		const struct ph_slab *slab = slab_of(s->heap, objects[i]);

		must(pheap_free(s->heap, objects[i]) == 0);
		/* Wherever it is now, it is free. */
		must(pheap_free(s->heap, objects[i]) == -EINVAL);
		must(cache->mag[slab->cls].base == NULL);
		must(cache->away_n < PH_AWAY_MAX && cache->away_bytes <= PH_AWAY_BYTES);
	}
	return NULL;
}

/* Not into the other thread's magazine, nor lost with that thread. */
static void goes_home(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	struct stranger stranger = {heap, 0, 100, 1};
	static const size_t sizes[] = {16, 64, 1000, 5000, 65536};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		uint64_t available = 0, after = 0;

		reserve_many(heap, sizes[i], 100);
		for (size_t k = 0; k < 100; k++)
			available += slab_of(heap, objects[k])->free;
		run_thread(free_as_stranger, &stranger);
		for (size_t k = 0; k < 100; k++) {
			assert_error(EINVAL, pheap_free(heap, objects[k]));
			if (slab_of(heap, objects[k]))
				after += slab_of(heap, objects[k])->free;
		}
		assert_true(after > available || !slab_of(heap, objects[0]));
	}
	ph_tcache_flush(cache_of(heap));
	assert_int_equal(stats_of(heap).granules_slab, heap->kept);
	close_pool(heap);
}

/* A free object is one wherever it lies. */
static void double_free_everywhere(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = pheap_root(heap);
	char *object = assert_made(pheap_alloc(heap, 64));

	(void)state;
	assert_ok(pheap_free(heap, object)); /* in a magazine */
	assert_true(magazine(heap, 64)->top[-1].ptr == object);
	assert_error(EINVAL, pheap_free(heap, object));
	assert_error(EINVAL, pheap_publish(heap, slot, object, 0));
	ph_tcache_flush(cache_of(heap)); /* available in its slab, or that has ended */
	assert_error(EINVAL, pheap_free(heap, object));
	object = assert_made(pheap_alloc(heap, 64));
	assert_error(EINVAL, pheap_free(heap, object + 8));
	assert_ok(pheap_publish(heap, slot, object, 0));
	assert_ok(pheap_retire(heap, slot)); /* in limbo, at home */
	assert_error(EINVAL, pheap_free(heap, object));
	assert_int_equal(count_of(magazine(heap, 64)) > 0, true);
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* ---- slabs ----------------------------------------------------------------------------- */

static void *reserve_one(void *arg)
{
	objects[MANY - 1] = pheap_alloc(arg, 1024);
	must(objects[MANY - 1]);
	must(ph_at_home(ph_tcache_get(arg), ph_granule_at(arg, objects[MANY - 1])));
	return NULL;
}

/* A thread that needs a slab takes the one with the fewest available objects. */
static void fullest_first(void **state)
{
	static const size_t holes[] = {40, 8, 60, 20};
	pheap_t *heap = make_pool("p", POOL);
	size_t slabs = ELEMENTS(holes), each = ph_classes[ph_class_of(1024)].objects;
	struct stranger stranger = {heap, 0, 0, 1};

	(void)state;
	reserve_many(heap, 1024, (slabs + 1) * each); /* the last one stays with its owner */
	for (size_t i = 0; i < slabs; i++) {
		stranger.from = i * each;
		stranger.n = holes[i];
		run_thread(free_as_stranger, &stranger);
	}
	run_thread(reserve_one, heap);
	assert_true(slab_of(heap, objects[MANY - 1]) == slab_of(heap, objects[2 * each - 1]));
	close_pool(heap);
}

/* What small objects took serves others: of empty slabs little is kept. */
static void empty_slabs_go_back(void **state)
{
	/* A megabyte, what this thread has of each class, and what it took them from. */
	const uint64_t rest = 16 + 16 * 8;
	pheap_t *heap = make_pool("p", POOL);

	(void)state;
	for (size_t size = 64; size <= 512; size += 64) {
		reserve_many(heap, size, MANY);
		/* Those that other classes do not need any more make way first. */
		assert_in_range(stats_of(heap).granules_slab, 1, MANY * size / KIB(64) + 1 + rest);
		free_many(heap, MANY);
		assert_in_range(stats_of(heap).granules_slab, 1, POOL / KIB(64) / 4 + rest);
	}
	/* After a while the others go too. */
	for (unsigned i = 0; i < 3000; i++) {
		reserve_many(heap, 64, 2000);
		free_many(heap, 2000);
	}
	assert_in_range(stats_of(heap).granules_slab, 1, rest);
	ph_tcache_flush(cache_of(heap));
	assert_in_range(stats_of(heap).granules_slab, 0, 17);
	assert_int_equal(stats_of(heap).granules_slab, heap->kept);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_with_use), cmocka_unit_test(room_goes_where_misses_are),
		cmocka_unit_test(goes_home),	  cmocka_unit_test(double_free_everywhere),
		cmocka_unit_test(fullest_first),  cmocka_unit_test(empty_slabs_go_back),
		cmocka_unit_test(four_share),	  cmocka_unit_test(thousand_threads),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_VOLATILE, tests);
}
