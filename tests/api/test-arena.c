/*
 * test-arena.c - arenas in DRAM and in heaps: what they hand out, their figures,
 * their limits, and sealing and dropping with a crash after each.
 *
 * A test with a "source" runs for DRAM, and for heaps in every mode.
 */
#include "arena-source.h"

/* ---- basics --------------------------------------------------------------------------- */

static void a_new_arena_is_empty(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	assert_int_equal(pheap_arena_blocks(arena), 0);
	assert_int_equal(pheap_arena_total_allocated(arena), 0);
	assert_true(pheap_arena_memory_usage(arena) > 0);
	assert_true(pheap_arena_memory_usage(arena) < 1024);
	pheap_arena_destroy(arena);
}

static void an_object_can_be_used(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	char *object = assert_made(pheap_arena_alloc(arena, 100));

	(void)state;
	fill_pattern(object, 100, 1);
	assert_true(has_pattern(object, 100, 1));
	assert_int_equal(pheap_arena_blocks(arena), 1);
	assert_int_equal(pheap_arena_total_allocated(arena), 104);
	assert_true(pheap_arena_memory_usage(arena) >= PHEAP_ARENA_BLOCK);
	pheap_arena_destroy(arena);
}

static void objects_follow_each_other(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	char *first = assert_made(pheap_arena_alloc(arena, 24));

	(void)state;
	assert_ptr_equal(pheap_arena_alloc(arena, 1), first + 24);
	assert_ptr_equal(pheap_arena_alloc(arena, 8), first + 32);
	assert_ptr_equal(pheap_arena_alloc(arena, 9), first + 40);
	assert_ptr_equal(pheap_arena_alloc(arena, 8), first + 56);
	pheap_arena_destroy(arena);
}

static void sizes_are_aligned_to_eight(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	for (size_t size = 1; size <= 200; size++)
		assert_true(aligned(assert_made(pheap_arena_alloc(arena, size)), 8));
	pheap_arena_destroy(arena);
}

static void alignments_hold(void **state)
{
	pheap_arena_t *arena = make_arena(16384);

	(void)state;
	for (size_t alignment = 1; alignment <= PHEAP_ARENA_ALIGN_MAX; alignment *= 2) {
		for (size_t size = 1; size < 5000; size = size * 3 + 1) {
			char *object =
				assert_made(pheap_arena_alloc_aligned(arena, size, alignment));

			assert_true(aligned(object, alignment));
			memset(object, 0x5a, size);
		}
	}
	pheap_arena_destroy(arena);
}

static void a_full_block_makes_way_for_another(void **state)
{
	pheap_arena_t *arena = make_arena(4096);

	(void)state;
	for (unsigned i = 0; i < (4096 - HEAD) / 64; i++)
		assert_made(pheap_arena_alloc(arena, 64));
	assert_int_equal(pheap_arena_blocks(arena), 1);
	assert_made(pheap_arena_alloc(arena, 64));
	assert_int_equal(pheap_arena_blocks(arena), 2);
	pheap_arena_destroy(arena);
}

static void nearly_all_of_a_block_is_used(void **state)
{
	pheap_arena_t *arena = make_arena(65536);

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		assert_made(pheap_arena_alloc(arena, 64));
	assert_int_equal(pheap_arena_total_allocated(arena), 6400000);
	assert_int_equal(pheap_arena_blocks(arena), (100000 + 1022) / 1023);
	/* But for the last block, which is not full. */
	assert_true(pheap_arena_total_allocated(arena) * 1000 >=
		    (pheap_arena_blocks(arena) - 1) * 65536 * 996);
	pheap_arena_destroy(arena);
}

static void a_large_request_has_its_own_block(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	char *small = assert_made(pheap_arena_alloc(arena, 64));
	char *large = assert_made(pheap_arena_alloc(arena, 100000));

	(void)state;
	memset(large, 1, 100000);
	assert_int_equal(pheap_arena_blocks(arena), 2);
	/* The block that was begun goes on. */
	assert_ptr_equal(pheap_arena_alloc(arena, 64), small + 64);
	assert_true(pheap_arena_memory_usage(arena) >= 104096);
	pheap_arena_destroy(arena);
}

static void a_middling_request_does_not_waste_the_block(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	char *small = assert_made(pheap_arena_alloc(arena, 1000));

	(void)state;
	assert_made(pheap_arena_alloc(arena, 3500)); /* more than a quarter */
	assert_ptr_equal(pheap_arena_alloc(arena, 1000), small + 1000);
	pheap_arena_destroy(arena);
}

static void reset_keeps_the_blocks(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	size_t usage;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_made(pheap_arena_alloc(arena, 64));
	usage = pheap_arena_memory_usage(arena);
	pheap_arena_reset(arena);
	assert_int_equal(pheap_arena_blocks(arena), 0);
	assert_int_equal(pheap_arena_total_allocated(arena), 0);
	assert_int_equal(pheap_arena_memory_usage(arena), usage);
	for (unsigned i = 0; i < 1000; i++)
		assert_made(pheap_arena_alloc(arena, 64));
	assert_int_equal(pheap_arena_memory_usage(arena), usage);
	pheap_arena_destroy(arena);
}

static void reset_gives_large_blocks_back(void **state)
{
	pheap_arena_t *arena = make_arena(4096);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 1000000));
	pheap_arena_reset(arena);
	assert_true(pheap_arena_memory_usage(arena) < 1024);
	pheap_arena_destroy(arena);
}

static void resets_in_a_row(void **state)
{
	pheap_arena_t *arena = make_arena(1024);

	(void)state;
	pheap_arena_reset(arena);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i <= round; i++)
			memset(assert_made(pheap_arena_alloc(arena, 100)), (int)i, 100);
		pheap_arena_reset(arena);
		pheap_arena_reset(arena);
	}
	assert_true(pheap_arena_memory_usage(arena) <= 8 * 1024 + 1024);
	pheap_arena_destroy(arena);
}

static void arenas_do_not_share(void **state)
{
	pheap_arena_t *arena[8];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(arena); i++)
		arena[i] = make_arena(i % 2 ? 4096 : 1024);
	for (unsigned n = 0; n < 100; n++)
		for (unsigned i = 0; i < ELEMENTS(arena); i++)
			fill_pattern(assert_made(pheap_arena_alloc(arena[i], 64)), 64, i);
	for (unsigned i = 1; i < ELEMENTS(arena); i++)
		pheap_arena_destroy(arena[i]);
	assert_int_equal(pheap_arena_total_allocated(arena[0]), 6400);
	pheap_arena_destroy(arena[0]);
}

/* ---- at random against a model ----------------------------------------------------------- */

struct piece {
	char *at;
	size_t size;
};

static void nothing_overlaps(void **state)
{
	enum { PIECES = 2000 };
	static struct piece piece[PIECES];
	struct rng rng = rng_make(1);
	static const size_t blocks[] = {256, 1000, 4096, 65536};

	(void)state;
	for (unsigned b = 0; b < ELEMENTS(blocks); b++) {
		pheap_arena_t *arena = make_arena(blocks[b]);
		size_t asked = 0;

		for (unsigned i = 0; i < PIECES; i++) {
			size_t size = 1 + rng_below(&rng, rng_below(&rng, 20) ? 300 : 9000);
			size_t alignment = (size_t)1 << rng_below(&rng, 9);

			piece[i] = (struct piece){
				assert_made(pheap_arena_alloc_aligned(arena, size, alignment)),
				size};
			assert_true(aligned(piece[i].at, alignment));
			fill_pattern(piece[i].at, size, i);
			asked += size;
		}
		for (unsigned i = 0; i < PIECES; i++)
			assert_true(has_pattern(piece[i].at, piece[i].size, i));
		assert_true(pheap_arena_total_allocated(arena) >= asked);
		assert_true(pheap_arena_memory_usage(arena) >= pheap_arena_total_allocated(arena));
		pheap_arena_destroy(arena);
	}
}

/* ---- limits and misuse ---------------------------------------------------------------------- */

static void zero_bytes_are_refused(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	assert_errno(EINVAL, pheap_arena_alloc(arena, 0));
	assert_errno(EINVAL, pheap_arena_alloc_aligned(arena, 0, 64));
	assert_made(pheap_arena_alloc(arena, 8));
	assert_errno(EINVAL, pheap_arena_alloc(arena, 0));
	assert_int_equal(pheap_arena_total_allocated(arena), 8);
	pheap_arena_destroy(arena);
}

static void absurd_sizes_are_refused(void **state)
{
	static const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - 1, SIZE_MAX - 7,
				       SIZE_MAX - 8, SIZE_MAX / 2, (size_t)PTRDIFF_MAX + 1};
	pheap_arena_t *arena = make_arena(0);
	char *before = assert_made(pheap_arena_alloc(arena, 8));

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) {
		assert_errno(ENOMEM, pheap_arena_alloc(arena, sizes[i]));
		assert_errno(ENOMEM, pheap_arena_alloc_aligned(arena, sizes[i], 4096));
	}
	assert_ptr_equal(pheap_arena_alloc(arena, 8), before + 8);
	pheap_arena_destroy(arena);
}

static void absurd_alignments_are_refused(void **state)
{
	static const size_t alignments[] = {0, 3, 6, 24, 100, 131072, SIZE_MAX, SIZE_MAX / 2 + 1};
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(alignments); i++)
		assert_errno(EINVAL, pheap_arena_alloc_aligned(arena, 8, alignments[i]));
	assert_int_equal(pheap_arena_blocks(arena), 0);
	pheap_arena_destroy(arena);
}

static void block_sizes_have_limits(void **state)
{
	static const size_t bad[] = {1, 8, PHEAP_ARENA_BLOCK_MIN - 1, ((size_t)1 << 30) + 1,
				     SIZE_MAX};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(bad); i++) {
		assert_errno(EINVAL, pheap_arena_create(bad[i]));
		if (heap)
			assert_errno(EINVAL, pheap_arena_create_in(heap, bad[i]));
	}
	pheap_arena_destroy(make_arena(PHEAP_ARENA_BLOCK_MIN));
	pheap_arena_destroy(make_arena((size_t)1 << 30)); /* no block is made yet */
}

static void null_is_defined(void **state)
{
	(void)state;
	assert_errno(EINVAL, pheap_arena_alloc(NULL, 8));
	assert_errno(EINVAL, pheap_arena_alloc_aligned(NULL, 8, 8));
	assert_errno(EINVAL, pheap_arena_create_in(NULL, 0));
	assert_int_equal(pheap_arena_memory_usage(NULL), 0);
	assert_int_equal(pheap_arena_total_allocated(NULL), 0);
	assert_int_equal(pheap_arena_blocks(NULL), 0);
	pheap_arena_reset(NULL);
	pheap_arena_destroy(NULL);
}

static void a_full_pool_refuses_and_goes_on(void **state)
{
	pheap_arena_t *arena = make_arena(65536);
	size_t n = 0;

	(void)state;
	while (pheap_arena_alloc(arena, 4096))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_true(n * 4096 > POOL / 2);
	assert_errno(ENOSPC, pheap_arena_alloc(arena, 100000));
	pheap_arena_reset(arena);
	for (size_t i = 0; i < n; i++)
		assert_made(pheap_arena_alloc(arena, 4096));
	pheap_arena_destroy(arena);
	arena = make_arena(65536);
	for (size_t i = 0; i < n; i++)
		assert_made(pheap_arena_alloc(arena, 4096));
	pheap_arena_destroy(arena);
}

/* ---- DRAM only: blocks that are kept for the next arena
 * ------------------------------------------ */

static void *use_arenas(void *arg)
{
	uint64_t id = *(uint64_t *)arg;

	for (unsigned round = 0; round < 200; round++) {
		pheap_arena_t *arena = pheap_arena_create(round % 3 ? 0 : 65536);
		char *object[100];

		must(arena);
		for (unsigned i = 0; i < ELEMENTS(object); i++) {
			object[i] = pheap_arena_alloc(arena, 500);
			must(object[i]);
			fill_pattern(object[i], 500, id);
		}
		for (unsigned i = 0; i < ELEMENTS(object); i++)
			must(has_pattern(object[i], 500, id));
		pheap_arena_destroy(arena);
	}
	return NULL;
}

static void threads_have_arenas_of_their_own(void **state)
{
	uint64_t id[8];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(id); i++)
		id[i] = i;
	run_threads(ELEMENTS(id), use_arenas, id, sizeof(id[0]));
}

static void many_block_sizes(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t size = 256; size <= MIB(4); size += size / 2) {
			pheap_arena_t *arena = assert_made(pheap_arena_create(size));

			for (unsigned i = 0; i < 10; i++)
				memset(assert_made(pheap_arena_alloc(arena, size / 5)), 7,
				       size / 5);
			pheap_arena_destroy(arena);
		}
	}
}

static int in_child(void *arg)
{
	uint64_t id = 9;

	(void)arg;
	use_arenas(&id);
	return 0;
}

static void an_arena_in_a_forked_child(void **state)
{
	(void)state;
	assert_int_equal(run_child(in_child, NULL), 0);
}

/* ---- sealed arenas
 * ---------------------------------------------------------------------------------- */

struct item {
	pheap_ref next;
	uint64_t id;
	char content[100];
};

/* A list of n items, filled as a loader would; returns the first. */
static struct item *fill_list(pheap_arena_t *arena, unsigned n)
{
	struct item *first = NULL;

	for (unsigned i = n; i--;) {
		struct item *item = assert_made(pheap_arena_alloc(arena, sizeof(*item)));

		item->next = pheap_ref_of(heap, first);
		item->id = i;
		fill_pattern(item->content, sizeof(item->content), i);
		first = item;
	}
	return first;
}

static void assert_list(pheap_t *in, pheap_ref ref, unsigned n)
{
	struct item *item = assert_made(pheap_arena_root(in, ref));
	unsigned i = 0;

	for (; item; item = pheap_ptr(in, item->next), i++) {
		assert_int_equal(item->id, i);
		assert_true(has_pattern(item->content, sizeof(item->content), i));
	}
	assert_int_equal(i, n);
}

static void seal_and_drop(void **state)
{
	static const unsigned lengths[] = {1, 30, 1000, 100000};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(lengths); i++) {
		pheap_arena_t *arena = make_arena(0);
		struct item *first = fill_list(arena, lengths[i]);
		uint64_t published = check_clean(heap);

		assert_int_equal(published, 0);
		assert_ok(pheap_arena_seal(arena, pheap_root(heap), first));
		assert_int_equal(pheap_arena_blocks(arena), 0);
		assert_true(check_clean(heap) >= lengths[i] * sizeof(struct item) / 4096);
		assert_list(heap, *pheap_root(heap), lengths[i]);
		assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
		assert_true(*pheap_root(heap) == PHEAP_NULL);
		assert_int_equal(check_clean(heap), 0);
		pheap_arena_destroy(arena);
	}
}

static void a_sealed_arena_may_be_used_again(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	pheap_ref *other = assert_made(pheap_named_root(heap, "other"));

	(void)state;
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), fill_list(arena, 200)));
	assert_ok(pheap_arena_seal(arena, other, fill_list(arena, 100)));
	pheap_arena_destroy(arena);
	assert_list(heap, *pheap_root(heap), 200);
	assert_list(heap, *other, 100);
	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	assert_list(heap, *other, 100);
}

static void large_blocks_are_sealed_too(void **state)
{
	pheap_arena_t *arena = make_arena(1024);
	char *large = assert_made(pheap_arena_alloc(arena, 300000));

	(void)state;
	fill_pattern(large, 300000, 5);
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), large));
	pheap_arena_destroy(arena);
	assert_true(has_pattern(pheap_arena_root(heap, *pheap_root(heap)), 300000, 5));
	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	assert_int_equal(check_clean(heap), 0);
}

/* A copy of the open pool is what a crash leaves: unsealed, sealed, dropped. */
static void crashes_in_the_life_of_an_arena(void **state)
{
	pheap_arena_t *arena;
	struct item *first;
	pheap_t *copy;

	(void)state;
	if (!mode_has_file())
		skip();
	arena = make_arena(0);
	first = fill_list(arena, 500);
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 0);
	assert_true(*pheap_root(copy) == PHEAP_NULL);
	close_pool(copy);

	assert_ok(pheap_arena_seal(arena, pheap_root(heap), first));
	copy = crash_pool("p");
	check_clean(copy);
	assert_list(copy, *pheap_root(copy), 500);
	/* Going on: what is there can be dropped, and filled anew. */
	assert_ok(pheap_arena_drop(copy, pheap_root(copy)));
	assert_int_equal(check_clean(copy), 0);
	publish_root(copy, 5000, 3);
	check_clean(copy);
	close_pool(copy);

	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 0);
	close_pool(copy);
	pheap_arena_destroy(arena);
}

static void sealed_content_outlives_the_heap(void **state)
{
	pheap_arena_t *arena;

	(void)state;
	if (!mode_has_file())
		skip();
	arena = make_arena(0);
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), fill_list(arena, 500)));
	fill_list(arena, 100); /* not sealed */
	pheap_arena_destroy(arena);
	heap = reopen_pool(heap, "p");
	assert_list(heap, *pheap_root(heap), 500);
	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	assert_int_equal(check_clean(heap), 0);
}

static void sealing_takes_few_fences(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	struct item *first = fill_list(arena, 300); /* in ten blocks of one slab */
	struct pheap_stats before = stats_of(heap), after;

	(void)state;
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), first));
	after = stats_of(heap);
	assert_true(after.fences - before.fences <= 2);
	before = after;
	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	after = stats_of(heap);
	assert_true(after.fences - before.fences <= 1);
	pheap_arena_destroy(arena);
}

static void what_cannot_be_sealed(void **state)
{
	pheap_arena_t *arena = make_arena(0), *dram = assert_made(pheap_arena_create(0));
	pheap_ref outside = 0, *slot = pheap_root(heap);
	struct item *first;

	(void)state;
	assert_made(pheap_arena_alloc(dram, 8));
	assert_error(EINVAL, pheap_arena_seal(dram, slot, NULL));
	assert_error(EINVAL, pheap_arena_seal(NULL, slot, NULL));
	assert_error(EINVAL, pheap_arena_seal(arena, slot, NULL)); /* empty */
	first = fill_list(arena, 100);
	assert_error(EINVAL, pheap_arena_seal(arena, NULL, first));
	assert_error(EINVAL, pheap_arena_seal(arena, &outside, first));
	assert_error(EINVAL, pheap_arena_seal(arena, slot, &outside));
	publish_root(heap, 64, 1);
	assert_error(EEXIST, pheap_arena_seal(arena, slot, first));
	assert_ok(pheap_retire(heap, slot));
	/* Each left the arena as it was. */
	assert_made(pheap_arena_alloc(arena, 64));
	assert_ok(pheap_arena_seal(arena, slot, first));
	assert_list(heap, *slot, 100);
	pheap_arena_destroy(arena);
	pheap_arena_destroy(dram);
}

static void what_cannot_be_dropped(void **state)
{
	pheap_ref *slot = pheap_root(heap);

	(void)state;
	assert_error(ENOENT, pheap_arena_drop(heap, slot));
	assert_error(EINVAL, pheap_arena_drop(heap, NULL));
	assert_error(EINVAL, pheap_arena_drop(NULL, slot));
	publish_root(heap, 64, 1);
	assert_error(EINVAL, pheap_arena_drop(heap, slot));
	assert_errno(EINVAL, pheap_arena_root(heap, *slot));
	assert_errno(EINVAL, pheap_arena_root(heap, PHEAP_NULL));
	assert_errno(EINVAL, pheap_arena_root(NULL, *slot));
	assert_ok(pheap_retire(heap, slot));
	assert_int_equal(check_clean(heap), 0);
}

static void a_damaged_chain_is_refused(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	pheap_ref *slot = pheap_root(heap), *next;

	(void)state;
	assert_ok(pheap_arena_seal(arena, slot, fill_list(arena, 1000)));
	pheap_arena_destroy(arena);
	/* The second word of a block: the reference to the next one. */
	next = (pheap_ref *)pheap_ptr(heap, *slot) + 1;
	assert_ok(pheap_set(heap, next, *slot)); /* into itself */
	assert_error(EINVAL, pheap_arena_drop(heap, slot));
	assert_ok(pheap_set(heap, next, *slot + 8)); /* into the middle */
	assert_error(EINVAL, pheap_arena_drop(heap, slot));
	assert_list(heap, *slot, 1000); /* nothing was freed */
	check_clean(heap);
}

static void no_room_to_seal(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	unsigned n = 0;

	(void)state;
	/* To the last block; the record of so many blocks needs room of its own. */
	while (pheap_arena_alloc(arena, 4000))
		n++;
	if (pheap_arena_seal(arena, pheap_root(heap), NULL)) {
		assert_true(*pheap_root(heap) == PHEAP_NULL);
		assert_int_equal(pheap_arena_blocks(arena), n);
		assert_int_equal(check_clean(heap), 0);
	}
	pheap_arena_destroy(arena);
	/* All of it can be had again. */
	if (*pheap_root(heap))
		assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
	arena = make_arena(4096);
	for (unsigned i = 0; i < n; i++)
		assert_made(pheap_arena_alloc(arena, 4000));
	pheap_arena_destroy(arena);
}

static const struct CMUnitTest anywhere[] = {
	CASE(a_new_arena_is_empty),
	CASE(an_object_can_be_used),
	CASE(objects_follow_each_other),
	CASE(sizes_are_aligned_to_eight),
	CASE(alignments_hold),
	CASE(a_full_block_makes_way_for_another),
	CASE(nearly_all_of_a_block_is_used),
	CASE(a_large_request_has_its_own_block),
	CASE(a_middling_request_does_not_waste_the_block),
	CASE(reset_keeps_the_blocks),
	CASE(reset_gives_large_blocks_back),
	CASE(resets_in_a_row),
	CASE(arenas_do_not_share),
	CASE(nothing_overlaps),
	CASE(zero_bytes_are_refused),
	CASE(absurd_sizes_are_refused),
	CASE(absurd_alignments_are_refused),
	CASE(block_sizes_have_limits),
	CASE(null_is_defined),
};

static const struct CMUnitTest dram_only[] = {
	CASE(threads_have_arenas_of_their_own),
	CASE(many_block_sizes),
	CASE(an_arena_in_a_forked_child),
};

static const struct CMUnitTest heaps_only[] = {
	CASE(a_full_pool_refuses_and_goes_on),
	CASE(seal_and_drop),
	CASE(a_sealed_arena_may_be_used_again),
	CASE(large_blocks_are_sealed_too),
	CASE(crashes_in_the_life_of_an_arena),
	CASE(sealed_content_outlives_the_heap),
	CASE(sealing_takes_few_fences),
	CASE(what_cannot_be_sealed),
	CASE(what_cannot_be_dropped),
	CASE(a_damaged_chain_is_refused),
	CASE(no_room_to_seal),
};

int main(int argc, char **argv)
{
	int failed;

	test_init(argc, argv);
	in_heap = false;
	failed = cmocka_run_group_tests_name("arena in DRAM", anywhere, NULL, NULL);
	failed += cmocka_run_group_tests_name("arena in DRAM only", dram_only, NULL, NULL);
	in_heap = true;
	failed += run_modes(MODES_ALL, anywhere);
	failed += run_modes(MODES_ALL, heaps_only);
	return failed;
}
