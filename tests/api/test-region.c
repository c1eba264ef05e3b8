/*
 * test-region.c - regions in DRAM and in heaps: what they hand out and take back,
 * handlers and children in their order, reuse, limits and misuse.
 *
 * The tests run for DRAM, and for heaps in every mode.
 */
#include "common.h"

#define POOL MIB(32)

/* Where the regions of the running test get their memory. */
static bool in_heap;
static pheap_t *heap;

static pheap_region_t *make_with(size_t block_size, unsigned flags)
{
	return assert_made(in_heap ? pheap_region_create_in(heap, block_size, flags)
				   : pheap_region_create(block_size, flags));
}

static pheap_region_t *make(void)
{
	return make_with(0, 0);
}

static uint64_t reserved(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	assert_ok(pheap_get_space(heap, &space));
	return space.reserved;
}

static int set_up(void **state)
{
	(void)state;
	heap = in_heap ? make_pool("p", POOL) : NULL;
	return 0;
}

/* Whatever a test did, no memory of a region is left behind. */
static int tear_down(void **state)
{
	(void)state;
	if (heap) {
		assert_int_equal(reserved(), 0);
		close_pool(heap);
	}
	heap = NULL;
	return 0;
}

static bool aligned(const void *ptr, size_t alignment)
{
	return (uintptr_t)ptr % alignment == 0;
}

/* What handlers did, in letters. */
static char log_of[64];

static void note(void *letter)
{
	size_t n = strlen(log_of);

	must(n + 1 < sizeof(log_of));
	log_of[n] = *(const char *)letter;
	log_of[n + 1] = 0;
}

static void on_end(pheap_region_t *region, const char *letter)
{
	assert_ok(pheap_region_cleanup(region, note, (void *)(uintptr_t)letter));
}

static void assert_log(const char *want)
{
	assert_string_equal(log_of, want);
	log_of[0] = 0;
}

/* ---- allocation --------------------------------------------------------------------------- */

static void a_new_region_is_empty(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	assert_int_equal(pheap_region_total_allocated(region), 0);
	assert_true(pheap_region_memory_usage(region) > 0);
	assert_true(pheap_region_memory_usage(region) < 1024);
	pheap_region_destroy(region);
}

static void small_objects_follow_each_other(void **state)
{
	pheap_region_t *region = make();
	char *first = assert_made(pheap_region_alloc(region, 24));

	(void)state;
	assert_ptr_equal(pheap_region_alloc(region, 1), first + 24);
	assert_ptr_equal(pheap_region_alloc(region, 9), first + 32);
	assert_ptr_equal(pheap_region_alloc(region, 8), first + 48);
	assert_int_equal(pheap_region_total_allocated(region), 56);
	pheap_region_destroy(region);
}

static void alignments_hold(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags <= PHEAP_REGION_REUSE; flags++) {
		pheap_region_t *region = make_with(16384, flags);

		for (size_t alignment = 1; alignment <= PHEAP_ARENA_ALIGN_MAX; alignment *= 2) {
			for (size_t size = 1; size < 20000; size = size * 3 + 1) {
				char *object = assert_made(
					pheap_region_alloc_aligned(region, size, alignment));

				assert_true(aligned(object, alignment));
				memset(object, 0x5a, size);
				assert_ok(pheap_region_recycle(region, object, size));
			}
		}
		pheap_region_destroy(region);
	}
}

static void zero_bytes_and_strings(void **state)
{
	pheap_region_t *region = make_with(0, PHEAP_REGION_REUSE);
	static const char zero[500];
	char *object = assert_made(pheap_region_alloc(region, 500));

	(void)state;
	memset(object, 0xff, 500);
	assert_ok(pheap_region_recycle(region, object, 500));
	assert_ptr_equal(pheap_region_zalloc(region, 500), object);
	assert_memory_equal(object, zero, 500);
	assert_string_equal(assert_made(pheap_region_strdup(region, "a request")), "a request");
	assert_string_equal(assert_made(pheap_region_strdup(region, "")), "");
	pheap_region_destroy(region);
}

/* ---- large objects --------------------------------------------------------------------------- */

static void a_large_object_can_be_freed(void **state)
{
	pheap_region_t *region = make();
	char *small = assert_made(pheap_region_alloc(region, 64)), *large;
	size_t usage = pheap_region_memory_usage(region);

	(void)state;
	large = assert_made(pheap_region_alloc(region, 100000));
	fill_pattern(large, 100000, 1);
	assert_true(pheap_region_memory_usage(region) >= usage + 100000);
	assert_true(pheap_region_total_allocated(region) >= 64 + 100000);
	assert_true(has_pattern(large, 100000, 1));
	assert_ok(pheap_region_free(region, large));
	assert_int_equal(pheap_region_memory_usage(region), usage);
	assert_int_equal(pheap_region_total_allocated(region), 64);
	/* The block that was begun goes on. */
	assert_ptr_equal(pheap_region_alloc(region, 64), small + 64);
	pheap_region_destroy(region);
}

/* What is large depends on the size, not on what is left of a block. */
static void what_is_large_can_be_told(void **state)
{
	pheap_region_t *region = make_with(4096, 0);
	size_t most = (4096 - PHEAP_ARENA_BLOCK_HEAD) / 4 - 8;
	void *small = assert_made(pheap_region_alloc(region, most));
	void *large = assert_made(pheap_region_alloc(region, most + 1));

	(void)state;
	assert_error(EINVAL, pheap_region_free(region, small));
	assert_ok(pheap_region_free(region, large));
	/* So do alignments. */
	large = assert_made(pheap_region_alloc_aligned(region, 8, 2048));
	assert_ok(pheap_region_free(region, large));
	pheap_region_destroy(region);
}

static void what_cannot_be_freed(void **state)
{
	pheap_region_t *region = make(), *other = make();
	char *small = assert_made(pheap_region_alloc(region, 64));
	char *large = assert_made(pheap_region_alloc(region, 5000)), on_stack[64];

	(void)state;
	assert_error(EINVAL, pheap_region_free(region, small));
	assert_error(EINVAL, pheap_region_free(region, large + 8));
	assert_error(EINVAL, pheap_region_free(region, large - 32));
	assert_error(EINVAL, pheap_region_free(other, large));
	assert_error(EINVAL, pheap_region_free(region, on_stack));
	assert_error(EINVAL, pheap_region_free(region, (void *)8));
	assert_error(EINVAL, pheap_region_free(NULL, large));
	assert_ok(pheap_region_free(region, NULL));
	memset(large, 1, 5000);
	assert_ok(pheap_region_free(region, large));
	assert_error(EINVAL, pheap_region_free(region, large));
	pheap_region_destroy(other);
	pheap_region_destroy(region);
}

static void many_large_objects(void **state)
{
	enum { N = 1000 };
	static char *object[N];
	pheap_region_t *region = make_with(1024, 0);
	struct rng rng = rng_make(2);
	size_t empty = pheap_region_memory_usage(region);

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		object[i] = assert_made(pheap_region_alloc(region, 300 + i));
		fill_pattern(object[i], 300 + i, i);
	}
	for (unsigned left = N; left > 10; left--) {
		unsigned i = (unsigned)rng_below(&rng, left);
		char *last = object[left - 1];

		assert_ok(pheap_region_free(region, object[i]));
		object[i] = last;
	}
	pheap_region_reset(region);
	assert_int_equal(pheap_region_memory_usage(region), empty);
	pheap_region_destroy(region);
}

/* ---- reset, destroy ----------------------------------------------------------------------------
 */

static void reset_keeps_the_blocks(void **state)
{
	pheap_region_t *region = make();
	size_t usage;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		memset(assert_made(pheap_region_alloc(region, 100)), 1, 100);
	usage = pheap_region_memory_usage(region);
	for (unsigned round = 0; round < 20; round++) {
		assert_made(pheap_region_alloc(region, 50000));
		pheap_region_reset(region);
		assert_int_equal(pheap_region_total_allocated(region), 0);
		assert_int_equal(pheap_region_memory_usage(region), usage);
		for (unsigned i = 0; i < 1000; i++)
			memset(assert_made(pheap_region_alloc(region, 100)), 1, 100);
		assert_int_equal(pheap_region_memory_usage(region), usage);
	}
	pheap_region_destroy(region);
}

/* ---- handlers
 * ---------------------------------------------------------------------------------------- */

static void handlers_run_the_last_one_first(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	on_end(region, "a");
	on_end(region, "b");
	on_end(region, "c");
	assert_log("");
	pheap_region_destroy(region);
	assert_log("cba");
}

static void handlers_run_once(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	on_end(region, "a");
	pheap_region_reset(region);
	assert_log("a");
	on_end(region, "b");
	pheap_region_reset(region);
	assert_log("b");
	pheap_region_destroy(region);
	assert_log("");
}

static void a_handler_can_be_cancelled(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	on_end(region, "a");
	on_end(region, "b");
	on_end(region, "c");
	assert_ok(pheap_region_cancel(region, note, (void *)(uintptr_t) "b"));
	assert_error(ENOENT, pheap_region_cancel(region, note, region));
	assert_error(EINVAL, pheap_region_cancel(region, NULL, NULL));
	assert_error(EINVAL, pheap_region_cancel(NULL, note, NULL));
	assert_error(EINVAL, pheap_region_cleanup(region, NULL, NULL));
	assert_error(EINVAL, pheap_region_cleanup(NULL, note, NULL));
	pheap_region_destroy(region);
	assert_log("ca");
}

/* The last one that was added, of several alike. */
static void the_newest_of_alike_is_cancelled(void **state)
{
	static const char a[] = "a", b[] = "b";
	pheap_region_t *region = make();

	(void)state;
	on_end(region, a);
	on_end(region, b);
	on_end(region, a);
	assert_ok(pheap_region_cancel(region, note, (void *)(uintptr_t)a));
	pheap_region_destroy(region);
	assert_log("ba");
}

struct seen {
	char *small, *large;
	unsigned calls;
};

static unsigned calls;

static void look(void *arg)
{
	struct seen *seen = arg;

	must(has_pattern(seen->small, 100, 1));
	must(has_pattern(seen->large, 9000, 2));
	calls++;
}

static void a_handler_finds_the_memory_as_it_was(void **state)
{
	pheap_region_t *region = make();
	struct seen *seen = assert_made(pheap_region_alloc(region, sizeof(*seen)));

	(void)state;
	calls = 0;
	seen->small = assert_made(pheap_region_alloc(region, 100));
	seen->large = assert_made(pheap_region_alloc(region, 9000));
	fill_pattern(seen->small, 100, 1);
	fill_pattern(seen->large, 9000, 2);
	assert_ok(pheap_region_cleanup(region, look, seen));
	pheap_region_destroy(region);
	assert_int_equal(calls, 1);
}

static void work_at_the_end(void *arg)
{
	pheap_region_t *region = arg, *child;

	note((void *)(uintptr_t) "w");
	must(pheap_region_alloc(region, 100));
	must(pheap_region_alloc(region, 10000));
	must(!pheap_region_cleanup(region, note, (void *)(uintptr_t) "x"));
	child = pheap_region_create_child(region, 0, 0);
	must(child);
	must(!pheap_region_cleanup(child, note, (void *)(uintptr_t) "y"));
}

static void a_handler_may_use_the_region(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	on_end(region, "a");
	assert_ok(pheap_region_cleanup(region, work_at_the_end, region));
	on_end(region, "b");
	pheap_region_destroy(region);
	assert_log("bwyxa");
}

static void end_it(void *region)
{
	note((void *)(uintptr_t) "e");
	pheap_region_reset(region);
	pheap_region_destroy(region);
}

static void a_handler_cannot_end_the_region(void **state)
{
	pheap_region_t *region = make(), *child = pheap_region_create_child(region, 0, 0);

	(void)state;
	on_end(region, "a");
	assert_ok(pheap_region_cleanup(region, end_it, region));
	assert_ok(pheap_region_cleanup(child, end_it, child));
	assert_ok(pheap_region_cleanup(child, end_it, region));
	pheap_region_destroy(child);
	assert_log("ee");
	assert_made(pheap_region_alloc(region, 8)); /* still there */
	pheap_region_reset(region);
	assert_log("ea");
	assert_ok(pheap_region_cleanup(region, end_it, region));
	pheap_region_destroy(region);
	assert_log("e");
}

/* ---- children
 * ------------------------------------------------------------------------------------------ */

static pheap_region_t *child_of(pheap_region_t *parent, const char *letter)
{
	pheap_region_t *child = assert_made(pheap_region_create_child(parent, 0, 0));

	on_end(child, letter);
	return child;
}

static void children_end_first(void **state)
{
	pheap_region_t *region = make(), *child;

	(void)state;
	on_end(region, "p");
	child_of(region, "a");
	child = child_of(region, "b");
	child_of(child, "c");
	child_of(region, "d");
	pheap_region_destroy(region);
	assert_log("dcbap");
}

static void a_child_may_end_before(void **state)
{
	pheap_region_t *region = make(), *a, *b, *c;

	(void)state;
	on_end(region, "p");
	a = child_of(region, "a");
	b = child_of(region, "b");
	c = child_of(region, "c");
	pheap_region_destroy(b);
	assert_log("b");
	pheap_region_destroy(c);
	assert_log("c");
	b = child_of(region, "B");
	pheap_region_destroy(a);
	assert_log("a");
	assert_made(pheap_region_alloc(b, 100));
	pheap_region_destroy(region);
	assert_log("Bp");
}

static void reset_ends_children(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	child_of(child_of(region, "a"), "b");
	pheap_region_reset(region);
	assert_log("ba");
	child_of(region, "c");
	pheap_region_reset(region);
	assert_log("c");
	pheap_region_destroy(region);
	assert_log("");
}

static void children_have_their_own_memory(void **state)
{
	pheap_region_t *region = make(), *child = child_of(region, "a");
	char *mine = assert_made(pheap_region_alloc(region, 100));
	char *its = assert_made(pheap_region_alloc(child, 100));
	size_t usage = pheap_region_memory_usage(region);

	(void)state;
	fill_pattern(mine, 100, 1);
	fill_pattern(its, 100, 2);
	assert_true(has_pattern(mine, 100, 1));
	assert_made(pheap_region_alloc(child, 100000));
	assert_int_equal(pheap_region_memory_usage(region), usage);
	pheap_region_destroy(child);
	assert_log("a");
	assert_true(has_pattern(mine, 100, 1));
	pheap_region_destroy(region);
}

/* ---- reuse
 * -------------------------------------------------------------------------------------------------
 */

static void the_last_recycled_is_the_next(void **state)
{
	pheap_region_t *region = make_with(0, PHEAP_REGION_REUSE);
	void *a = assert_made(pheap_region_alloc(region, 100));
	void *b = assert_made(pheap_region_alloc(region, 104));
	size_t total = pheap_region_total_allocated(region);

	(void)state;
	assert_ok(pheap_region_recycle(region, a, 100));
	assert_ok(pheap_region_recycle(region, b, 104));
	assert_true(pheap_region_total_allocated(region) < total);
	assert_ptr_equal(pheap_region_alloc(region, 97), b); /* of the same class */
	assert_ptr_equal(pheap_region_alloc(region, 104), a);
	assert_int_equal(pheap_region_total_allocated(region), total);
	assert_true(pheap_region_alloc(region, 104) != a);
	pheap_region_destroy(region);
}

static void reuse_needs_no_more_memory(void **state)
{
	pheap_region_t *region = make_with(0, PHEAP_REGION_REUSE);
	struct rng rng = rng_make(3);
	size_t usage = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		size_t size = 1 + rng_below(&rng, 900);

		assert_ok(pheap_region_recycle(
			region, assert_made(pheap_region_alloc(region, size)), size));
		if (i == 10000) /* every class has been used by now */
			usage = pheap_region_memory_usage(region);
	}
	assert_int_equal(pheap_region_memory_usage(region), usage);
	pheap_region_destroy(region);
}

static void recycling_twice_is_noticed(void **state)
{
	pheap_region_t *region = make_with(0, PHEAP_REGION_REUSE);
	uint64_t *object = assert_made(pheap_region_alloc(region, 40)), waiting[2];
	void *other = assert_made(pheap_region_alloc(region, 40));

	(void)state;
	assert_ok(pheap_region_recycle(region, object, 40));
	assert_error(EINVAL, pheap_region_recycle(region, object, 40));
	assert_ok(pheap_region_recycle(region, other, 40));
	assert_error(EINVAL, pheap_region_recycle(region, object, 40)); /* no longer the first */
	memcpy(waiting, object, sizeof(waiting));
	assert_ptr_equal(pheap_region_alloc(region, 40), other);
	assert_ptr_equal(pheap_region_alloc(region, 40), object);
	/* An object with such content by chance is taken all the same. */
	memcpy(object, waiting, sizeof(waiting));
	assert_ok(pheap_region_recycle(region, object, 40));
	assert_ptr_equal(pheap_region_alloc(region, 40), object);
	pheap_region_destroy(region);
}

static void recycling_without_reuse(void **state)
{
	pheap_region_t *region = make();
	char *small = assert_made(pheap_region_alloc(region, 64));
	void *large = assert_made(pheap_region_alloc(region, 5000));
	size_t usage = pheap_region_memory_usage(region);

	(void)state;
	assert_ok(pheap_region_recycle(region, small, 64));
	assert_ptr_equal(pheap_region_alloc(region, 64), small + 64);
	assert_ok(pheap_region_recycle(region, large, 5000)); /* given back at once */
	assert_true(pheap_region_memory_usage(region) < usage);
	assert_error(EINVAL, pheap_region_recycle(region, small, 0));
	assert_error(EINVAL, pheap_region_recycle(NULL, small, 64));
	assert_ok(pheap_region_recycle(region, NULL, 64));
	pheap_region_destroy(region);
}

static void reset_forgets_what_was_recycled(void **state)
{
	pheap_region_t *region = make_with(0, PHEAP_REGION_REUSE);
	char *a = assert_made(pheap_region_alloc(region, 64));
	char *b = assert_made(pheap_region_alloc(region, 64));

	(void)state;
	assert_ok(pheap_region_recycle(region, b, 64));
	pheap_region_reset(region);
	assert_int_equal(pheap_region_total_allocated(region), 0);
	assert_ptr_equal(pheap_region_alloc(region, 64), a);
	assert_ptr_equal(pheap_region_alloc(region, 64), b);
	assert_true(pheap_region_alloc(region, 64) != b);
	pheap_region_destroy(region);
}

/* ---- at random against a model
 * ----------------------------------------------------------------------------- */

struct piece {
	char *at;
	size_t size;
	uint64_t id;
};

/* One step: a new object, or one that is looked at and recycled. */
static void step(pheap_region_t *region, struct piece *piece, struct rng *rng, uint64_t id)
{
	size_t alignment = (size_t)1 << rng_below(rng, 8);

	if (piece->at) {
		assert_true(has_pattern(piece->at, piece->size, piece->id));
		assert_ok(pheap_region_recycle(region, piece->at, piece->size));
		piece->at = NULL;
		return;
	}
	piece->size = 1 + rng_below(rng, rng_below(rng, 10) ? 300 : 9000);
	piece->id = id;
	piece->at = assert_made(pheap_region_alloc_aligned(region, piece->size, alignment));
	assert_true(aligned(piece->at, alignment));
	fill_pattern(piece->at, piece->size, id);
}

static void nothing_overlaps(void **state)
{
	enum { PIECES = 300 };
	static const size_t blocks[] = {256, 4096, 65536};
	struct rng rng = rng_make(4);

	(void)state;
	for (unsigned b = 0; b < 2 * ELEMENTS(blocks); b++) {
		pheap_region_t *region = make_with(blocks[b / 2], b % 2 ? PHEAP_REGION_REUSE : 0);
		struct piece piece[PIECES] = {{0}};

		for (uint64_t i = 0; i < 6000; i++)
			step(region, &piece[rng_below(&rng, PIECES)], &rng, i);
		for (unsigned i = 0; i < PIECES; i++)
			if (piece[i].at)
				assert_true(has_pattern(piece[i].at, piece[i].size, piece[i].id));
		assert_true(pheap_region_memory_usage(region) >=
			    pheap_region_total_allocated(region));
		pheap_region_destroy(region);
	}
}

/* ---- limits and misuse
 * ---------------------------------------------------------------------------------------- */

static void bad_requests_are_refused(void **state)
{
	static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 8, SIZE_MAX / 2,
				      (size_t)PTRDIFF_MAX + 1};
	static const size_t alignments[] = {0, 3, 24, 131072, SIZE_MAX, SIZE_MAX / 2 + 1};

	(void)state;
	for (unsigned flags = 0; flags <= PHEAP_REGION_REUSE; flags++) {
		pheap_region_t *region = make_with(0, flags);
		char *before = assert_made(pheap_region_alloc(region, 16));

		assert_errno(EINVAL, pheap_region_alloc(region, 0));
		assert_errno(EINVAL, pheap_region_zalloc(region, 0));
		assert_errno(EINVAL, pheap_region_strdup(region, NULL));
		for (unsigned i = 0; i < ELEMENTS(huge); i++) {
			assert_errno(ENOMEM, pheap_region_alloc(region, huge[i]));
			assert_errno(ENOMEM, pheap_region_zalloc(region, huge[i]));
			assert_errno(ENOMEM, pheap_region_alloc_aligned(region, huge[i], 4096));
		}
		for (unsigned i = 0; i < ELEMENTS(alignments); i++)
			assert_errno(EINVAL, pheap_region_alloc_aligned(region, 8, alignments[i]));
		assert_ptr_equal(pheap_region_alloc(region, 8), before + 16);
		pheap_region_destroy(region);
	}
}

static void null_and_bad_options(void **state)
{
	pheap_region_t *region = make();

	(void)state;
	assert_errno(EINVAL, pheap_region_alloc(NULL, 8));
	assert_errno(EINVAL, pheap_region_alloc_aligned(NULL, 8, 8));
	assert_errno(EINVAL, pheap_region_zalloc(NULL, 8));
	assert_errno(EINVAL, pheap_region_strdup(NULL, "x"));
	assert_errno(EINVAL, pheap_region_create_in(NULL, 0, 0));
	assert_errno(EINVAL, pheap_region_create_child(NULL, 0, 0));
	assert_errno(EINVAL, pheap_region_create(1, 0));
	assert_errno(EINVAL, pheap_region_create(0, 2));
	assert_errno(EINVAL, pheap_region_create_child(region, SIZE_MAX, 0));
	assert_errno(EINVAL, pheap_region_create_child(region, 0, 4));
	assert_int_equal(pheap_region_memory_usage(NULL), 0);
	assert_int_equal(pheap_region_total_allocated(NULL), 0);
	pheap_region_reset(NULL);
	pheap_region_destroy(NULL);
	pheap_region_destroy(region);
}

static void a_full_heap_refuses_and_goes_on(void **state)
{
	pheap_region_t *region = make_with(65536, 0);
	size_t n = 0;

	(void)state;
	while (pheap_region_alloc(region, 4096))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_true(n * 4096 > POOL / 2);
	assert_errno(ENOSPC, pheap_region_alloc(region, 100000));
	on_end(region, "a");
	pheap_region_reset(region);
	assert_log("a");
	for (size_t i = 0; i < n; i++)
		assert_made(pheap_region_alloc(region, 4096));
	pheap_region_destroy(region);
}

static void nothing_outlives_a_crash(void **state)
{
	pheap_region_t *region;
	pheap_t *copy;

	(void)state;
	if (!mode_has_file())
		skip();
	region = make();
	for (unsigned i = 0; i < 1000; i++)
		memset(assert_made(pheap_region_alloc(region, 1 + i * 7)), 1, 1 + i * 7);
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 0);
	close_pool(copy);
	pheap_region_destroy(region);
	assert_int_equal(check_clean(heap), 0);
}

static void a_region_takes_no_fence(void **state)
{
	uint64_t before;
	pheap_region_t *region;

	(void)state;
	pheap_free(heap, assert_made(pheap_alloc(heap, 64))); /* the thread's cache is made */
	before = stats_of(heap).fences;
	region = make_with(0, PHEAP_REGION_REUSE);
	for (unsigned i = 1; i < 2000; i++) {
		void *object = assert_made(pheap_region_alloc(region, i));

		if (i % 3 == 0)
			assert_ok(pheap_region_recycle(region, object, i));
	}
	pheap_region_destroy(region);
	assert_int_equal(stats_of(heap).fences, before);
}

/* ---- threads
 * -----------------------------------------------------------------------------------------------------
 */

static void *use_regions(void *arg)
{
	uint64_t id = *(uint64_t *)arg;

	for (unsigned round = 0; round < 100; round++) {
		pheap_region_t *region = pheap_region_create(0, round % 2);
		char *object[50];

		must(region);
		for (unsigned i = 0; i < ELEMENTS(object); i++) {
			object[i] = pheap_region_alloc(region, 40 * (i + 1));
			must(object[i]);
			fill_pattern(object[i], 40 * (i + 1), id);
		}
		for (unsigned i = 0; i < ELEMENTS(object); i++)
			must(has_pattern(object[i], 40 * (i + 1), id));
		pheap_region_destroy(region);
	}
	return NULL;
}

static void threads_have_regions_of_their_own(void **state)
{
	uint64_t id[8];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(id); i++)
		id[i] = i;
	run_threads(ELEMENTS(id), use_regions, id, sizeof(id[0]));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest anywhere[] = {
	CASE(a_new_region_is_empty),
	CASE(small_objects_follow_each_other),
	CASE(alignments_hold),
	CASE(zero_bytes_and_strings),
	CASE(a_large_object_can_be_freed),
	CASE(what_is_large_can_be_told),
	CASE(what_cannot_be_freed),
	CASE(many_large_objects),
	CASE(reset_keeps_the_blocks),
	CASE(handlers_run_the_last_one_first),
	CASE(handlers_run_once),
	CASE(a_handler_can_be_cancelled),
	CASE(the_newest_of_alike_is_cancelled),
	CASE(a_handler_finds_the_memory_as_it_was),
	CASE(a_handler_may_use_the_region),
	CASE(a_handler_cannot_end_the_region),
	CASE(children_end_first),
	CASE(a_child_may_end_before),
	CASE(reset_ends_children),
	CASE(children_have_their_own_memory),
	CASE(the_last_recycled_is_the_next),
	CASE(reuse_needs_no_more_memory),
	CASE(recycling_twice_is_noticed),
	CASE(recycling_without_reuse),
	CASE(reset_forgets_what_was_recycled),
	CASE(nothing_overlaps),
	CASE(bad_requests_are_refused),
	CASE(null_and_bad_options),
};

static const struct CMUnitTest dram_only[] = {
	CASE(threads_have_regions_of_their_own),
};

static const struct CMUnitTest heaps_only[] = {
	CASE(a_full_heap_refuses_and_goes_on),
	CASE(nothing_outlives_a_crash),
	CASE(a_region_takes_no_fence),
};

int main(int argc, char **argv)
{
	int failed;

	test_init(argc, argv);
	in_heap = false;
	failed = cmocka_run_group_tests_name("region in DRAM", anywhere, NULL, NULL);
	failed += cmocka_run_group_tests_name("region in DRAM only", dram_only, NULL, NULL);
	in_heap = true;
	failed += run_modes(MODES_ALL, anywhere);
	failed += run_modes(MODES_ALL, heaps_only);
	return failed;
}
