/*
 * test-ref.c - references and addresses: which heap an address lies in, loading ahead of
 * use, and which objects lie in more cache lines than they need.
 */
#include "common.h"

#include <pthread.h>

#define POOL MIB(32)

static pheap_t *heap;

static int set_up(void **state)
{
	(void)state;
	heap = make_pool("p", POOL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_pool(heap);
	return 0;
}

/* ---- which heap ------------------------------------------------------------------------- */

static void an_address_knows_its_heap(void **state)
{
	struct pheap_info info = info_of(heap);
	pheap_t *other = make_pool("other", POOL);
	char *a = assert_made(pheap_alloc(heap, 1000)), *b = assert_made(pheap_alloc(other, 1000));
	char *base = (char *)pheap_root(heap) - pheap_ref_of(heap, pheap_root(heap));
	int on_stack;

	(void)state;
	assert_ptr_equal(pheap_heap_of(a), heap);
	assert_ptr_equal(pheap_heap_of(a + 999), heap);
	assert_ptr_equal(pheap_heap_of(b), other);
	assert_ptr_equal(pheap_heap_of(base), heap);
	assert_ptr_equal(pheap_heap_of(base + info.size - 1), heap);
	assert_true(pheap_heap_of(base + info.size) != heap);
	assert_true(pheap_heap_of(base - 1) != heap);
	assert_errno(EINVAL, pheap_heap_of(&on_stack));
	assert_errno(EINVAL, pheap_heap_of(NULL));
	assert_errno(EINVAL, pheap_heap_of((void *)1));
	assert_errno(EINVAL, pheap_heap_of((void *)8));
	close_pool(other);
	assert_errno(EINVAL, pheap_heap_of(b));
	assert_ptr_equal(pheap_heap_of(a), heap);
}

static void opening_and_closing_is_noticed(void **state)
{
	const uint64_t *changed = pheap_heaps_changed();
	uint64_t before = *changed, after;
	pheap_t *other = make_pool("other", POOL);

	(void)state;
	after = *changed;
	assert_true(after != before);
	assert_made(pheap_alloc(other, 64));
	assert_true(*changed == after);
	close_pool(other);
	assert_true(*changed != after);
	assert_ptr_equal(pheap_heaps_changed(), changed);
}

/* ---- loading ahead ------------------------------------------------------------------------ */

/* What it loads cannot be seen; that it touches nothing outside the pool, and no errno,
 * can. */
static void prefetching_never_fails(void **state)
{
	struct two {
		PHEAP_REF(struct two) left, right;
	} *object = assert_made(pheap_zalloc(heap, sizeof(*object)));
	static const uint32_t offsets[] = {offsetof(struct two, left), offsetof(struct two, right)};
	const uint64_t size = info_of(heap).size;
	static const size_t lengths[] = {0, 1, 63, 64, 65, 512, 513, SIZE_MAX};
	const pheap_ref refs[] = {PHEAP_NULL, 1,	size - 1,   size - 64,
				  size,	      size + 1, UINT64_MAX, pheap_ref_of(heap, object)};

	(void)state;
	errno = 0;
	for (unsigned i = 0; i < ELEMENTS(refs); i++) {
		for (unsigned k = 0; k < ELEMENTS(lengths); k++)
			pheap_prefetch(heap, refs[i], lengths[k]);
		object->left.ref = refs[i];
		pheap_prefetch_refs(heap, object, offsets, ELEMENTS(offsets), SIZE_MAX);
		PHEAP_PREFETCH(heap, object->left);
	}
	pheap_prefetch_refs(heap, NULL, offsets, 0, 64);
	assert_int_equal(errno, 0);
	assert_ok(pheap_free(heap, object));
}

/* ---- cache lines ------------------------------------------------------------------------------
 */

/* Of 1,000 objects, those in more lines than so many bytes need. */
static unsigned straddling(size_t size, bool by_lines)
{
	enum { N = 1000 };
	static void *object[N];
	unsigned n = 0;

	for (unsigned i = 0; i < N; i++) {
		uintptr_t at;

		object[i] = assert_made(by_lines ? pheap_aligned_alloc(heap, 64, size)
						 : pheap_alloc(heap, size));
		at = (uintptr_t)object[i];
		n += (at + size - 1) / 64 - at / 64 + 1 > (size + 63) / 64;
	}
	for (unsigned i = 0; i < N; i++)
		assert_ok(pheap_free(heap, object[i]));
	return n;
}

static void objects_that_keep_to_their_lines(void **state)
{
	static const size_t sizes[] = {8, 16, 32, 64, 128, 192, 256, 320, 512, 576, 1024};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		assert_int_equal(straddling(sizes[i], false), 0);
	for (size_t size = 1; size <= 64; size++)
		assert_int_equal(straddling(size, true), 0);
}

/* As pheap/alloc.h says, within what the first and the last slab make of it. */
static void objects_that_do_not(void **state)
{
	static const struct {
		size_t size;
		unsigned part;
	} want[] = {{24, 250}, {40, 500}, {48, 500}, {56, 750}};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(want); i++) {
		unsigned n = straddling(want[i].size, false);

		assert_in_range(n, want[i].part - 20, want[i].part + 20);
	}
}

/* ---- cache lines of threads ---------------------------------------------------------------- */

enum { WORKERS = 8, EACH = 600 };

static pthread_barrier_t all_there;

struct worker {
	char *first; /* of another thread's, freed here before anything is allocated */
	uint64_t line[EACH];
};

static void *allocate_small(void *arg)
{
	struct worker *worker = arg;
	char *object[EACH];

	if (worker->first)
		must(!pheap_free(heap, worker->first));
	for (unsigned i = 0; i < EACH; i++) {
		object[i] = pheap_alloc(heap, 16);
		must(object[i]);
		worker->line[i] = (uintptr_t)object[i] / 64;
	}
	pthread_barrier_wait(&all_there); /* all are live at once */
	for (unsigned i = 0; i < EACH; i++)
		must(!pheap_free(heap, object[i]));
	return NULL;
}

static int by_line(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a >> 4, y = *(const uint64_t *)b >> 4;

	return x < y ? -1 : x > y;
}

/* Of n entries, line << 4 | owner: lines with more than one owner, at least once each. */
static unsigned count_shared(uint64_t *entry, size_t n)
{
	unsigned shared = 0;

	qsort(entry, n, sizeof(*entry), by_line);
	for (size_t i = 1; i < n; i++)
		shared += entry[i] >> 4 == entry[i - 1] >> 4 && entry[i] != entry[i - 1];
	return shared;
}

/* Lines in which two threads had objects at the same time. */
static unsigned shared_lines(bool with_first)
{
	static struct worker worker[WORKERS];
	static uint64_t all[WORKERS * EACH];

	for (unsigned w = 0; w < WORKERS; w++)
		worker[w].first = with_first ? assert_made(pheap_alloc(heap, 16)) : NULL;
	pthread_barrier_init(&all_there, NULL, WORKERS);
	run_threads(WORKERS, allocate_small, worker, sizeof(worker[0]));
	pthread_barrier_destroy(&all_there);
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned i = 0; i < EACH; i++)
			all[w * EACH + i] = worker[w].line[i] << 4 | w;
	return count_shared(all, ELEMENTS(all));
}

/* As in cache-thrash: what threads allocate themselves. */
static void threads_have_lines_of_their_own(void **state)
{
	(void)state;
	assert_int_equal(shared_lines(false), 0);
	assert_int_equal(shared_lines(false), 0); /* from slabs that were used before */
}

/* As in cache-scratch: neighbours in a line, allocated by one thread, are freed by others,
 * and not handed out to them. */
static void foreign_lines_are_not_passed_on(void **state)
{
	(void)state;
	assert_int_equal(shared_lines(true), 0);
}

/* Neighbours with two owners are noticed. */
static void shared_lines_are_counted(void **state)
{
	uint64_t entry[64];
	void *object[64];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(entry); i++) {
		object[i] = assert_made(pheap_alloc(heap, 16));
		entry[i] = (uintptr_t)object[i] / 64 << 4 | i % 2;
	}
	assert_true(count_shared(entry, ELEMENTS(entry)) >= ELEMENTS(entry) / 4 - 2);
	for (unsigned i = 0; i < ELEMENTS(entry); i++)
		assert_ok(pheap_free(heap, object[i]));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	CASE(an_address_knows_its_heap),
	CASE(opening_and_closing_is_noticed),
	CASE(prefetching_never_fails),
	CASE(objects_that_keep_to_their_lines),
	CASE(objects_that_do_not),
	CASE(threads_have_lines_of_their_own),
	CASE(foreign_lines_are_not_passed_on),
	CASE(shared_lines_are_counted),
};

int main(int argc, char **argv)
{
	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_VOLATILE, tests);
}
