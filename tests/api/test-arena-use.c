/*
 * test-arena-use.c - arenas as programs use them: exact limits, what work costs in blocks,
 * memory, fences and lines, data structures that were written for malloc, and arenas
 * together with the rest of the library.
 */
#include "arena-source.h"

#include <malloc.h>
#include <stdalign.h>

static struct pheap_space space_of(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	assert_ok(pheap_get_space(heap, &space));
	return space;
}

/* ---- basics ------------------------------------------------------------------------------- */

static void the_default_block_is_a_page(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	size_t empty = pheap_arena_memory_usage(arena);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 1));
	assert_int_equal(pheap_arena_memory_usage(arena), empty + 4096);
	pheap_arena_destroy(arena);
}

static void block_sizes_are_rounded_to_lines(void **state)
{
	pheap_arena_t *arena = make_arena(1000);
	size_t empty = pheap_arena_memory_usage(arena);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 8));
	assert_int_equal(pheap_arena_memory_usage(arena), empty + 1024);
	pheap_arena_destroy(arena);
}

static void content_stays_while_others_come(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	char *first = assert_made(pheap_arena_alloc(arena, 200));

	(void)state;
	fill_pattern(first, 200, 1);
	for (unsigned i = 0; i < 10000; i++)
		memset(assert_made(pheap_arena_alloc(arena, 1 + i % 500)), 0xee, 1 + i % 500);
	assert_true(has_pattern(first, 200, 1));
	pheap_arena_destroy(arena);
}

/* ---- advanced ------------------------------------------------------------------------------- */

static void what_alignment_skips_is_counted(void **state)
{
	pheap_arena_t *arena = make_arena(4096);
	char *first = assert_made(pheap_arena_alloc(arena, 8)), *second;

	(void)state;
	second = assert_made(pheap_arena_alloc_aligned(arena, 8, 256));
	assert_int_equal(pheap_arena_total_allocated(arena), (size_t)(second + 8 - first));
	assert_int_equal(pheap_arena_blocks(arena), 1);
	pheap_arena_destroy(arena);
}

static void large_requests_are_aligned_too(void **state)
{
	pheap_arena_t *arena = make_arena(1024);

	(void)state;
	for (size_t alignment = 8; alignment <= PHEAP_ARENA_ALIGN_MAX; alignment *= 2) {
		char *object = assert_made(pheap_arena_alloc_aligned(arena, 10000, alignment));

		assert_true(aligned(object, alignment));
		memset(object, 0x11, 10000);
	}
	assert_int_equal(pheap_arena_blocks(arena), 14);
	pheap_arena_destroy(arena);
}

static void small_and_large_take_turns(void **state)
{
	pheap_arena_t *arena = make_arena(1024);
	char *small[50], *large[50];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ELEMENTS(small); i++) {
			small[i] = assert_made(pheap_arena_alloc(arena, 40));
			large[i] = assert_made(pheap_arena_alloc(arena, 3000));
			fill_pattern(small[i], 40, i);
			fill_pattern(large[i], 3000, i);
		}
		for (unsigned i = 0; i < ELEMENTS(small); i++)
			assert_true(has_pattern(small[i], 40, i) && has_pattern(large[i], 3000, i));
		/* 24 small ones to a block of 992 bytes. */
		assert_int_equal(pheap_arena_blocks(arena), 50 + 3);
		pheap_arena_reset(arena);
	}
	pheap_arena_destroy(arena);
}

static void a_heap_gets_all_of_it_back(void **state)
{
	struct pheap_space before = space_of(), during;
	pheap_arena_t *arena = make_arena(4096);

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		assert_made(pheap_arena_alloc(arena, 1 + i * 13));
	during = space_of();
	assert_true(during.reserved >= before.reserved + 500 * 499 / 2 * 13);
	pheap_arena_destroy(arena);
	assert_int_equal(space_of().reserved, before.reserved);
	assert_int_equal(space_of().objects, before.objects);
}

static void the_next_arena_takes_the_blocks_of_the_last(void **state)
{
	pheap_arena_t *arena = make_arena(8192);
	char *first = assert_made(pheap_arena_alloc(arena, 8));

	(void)state;
	pheap_arena_destroy(arena);
	arena = make_arena(8192);
	assert_ptr_equal(pheap_arena_alloc(arena, 8), first);
	pheap_arena_destroy(arena);
}

static void objects_of_an_arena_cannot_be_freed(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	char *small = assert_made(pheap_arena_alloc(arena, 64));
	char *large = assert_made(pheap_arena_alloc(arena, 100000));

	(void)state;
	assert_error(EINVAL, pheap_free(heap, small));
	assert_error(EINVAL, pheap_free(heap, large));
	fill_pattern(small, 64, 1);
	assert_true(has_pattern(small, 64, 1));
	pheap_arena_destroy(arena);
}

/* Slots in what was sealed are like any other. */
static void sealed_objects_may_have_slots(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	pheap_ref *root = pheap_root(heap), *slots;

	(void)state;
	slots = assert_made(pheap_arena_alloc(arena, 8 * sizeof(*slots)));
	memset(slots, 0, 8 * sizeof(*slots));
	assert_error(EINVAL, pheap_alloc_into(heap, &slots[0], 64, NULL)); /* not yet */
	assert_ok(pheap_arena_seal(arena, root, slots));
	pheap_arena_destroy(arena);
	for (unsigned i = 0; i < 8; i++)
		assert_ok(pheap_alloc_into(heap, &slots[i], 64 * (i + 1), NULL));
	assert_int_equal(check_clean(heap), 9);
	for (unsigned i = 0; i < 8; i++)
		assert_ok(pheap_retire(heap, &slots[i]));
	assert_ok(pheap_arena_drop(heap, root));
	assert_int_equal(check_clean(heap), 0);
}

static void sealed_without_a_root(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 64));
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), NULL));
	errno = EIO;
	assert_null(pheap_arena_root(heap, *pheap_root(heap)));
	assert_int_equal(errno, 0);
	pheap_arena_destroy(arena);
	assert_ok(pheap_arena_drop(heap, pheap_root(heap)));
}

static void readers_find_a_sealed_arena(void **state)
{
	pheap_arena_t *arena;
	char *object;

	(void)state;
	if (!mode_has_file())
		skip();
	arena = make_arena(0);
	object = assert_made(pheap_arena_alloc(arena, 500));
	fill_pattern(object, 500, 3);
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), object));
	pheap_arena_destroy(arena);
	close_pool(heap);
	heap = open_pool_flags("p", PHEAP_READONLY);
	assert_true(has_pattern(assert_made(pheap_arena_root(heap, *pheap_root(heap))), 500, 3));
	assert_errno(EROFS, pheap_arena_create_in(heap, 0));
	assert_error(EROFS, pheap_arena_drop(heap, pheap_root(heap)));
}

static void a_snapshot_keeps_an_arena(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	pheap_ref *root = pheap_root(heap);
	char *object = assert_made(pheap_arena_alloc(arena, 64));
	pheap_tx_t *tx;

	(void)state;
	fill_pattern(object, 64, 1);
	assert_ok(pheap_arena_seal(arena, root, object));
	pheap_arena_destroy(arena);
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object, 64));
	memset(object, 0, 64);
	assert_error(EINVAL, pheap_arena_drop(heap, root));
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, 64, 1));
	assert_ok(pheap_arena_drop(heap, root));
	assert_int_equal(check_clean(heap), 0);
}

/* One thread fills it, another seals it. */
static void *fill_it(void *arg)
{
	char **object = arg;

	*object = pheap_arena_alloc((pheap_arena_t *)(void *)*object, 3000);
	must(*object);
	fill_pattern(*object, 3000, 8);
	return NULL;
}

static void an_arena_may_change_its_thread(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	char *object = (char *)(void *)arena;

	(void)state;
	run_thread(fill_it, &object);
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), object));
	assert_true(has_pattern(pheap_arena_root(heap, *pheap_root(heap)), 3000, 8));
	pheap_arena_destroy(arena);
}

/* ---- limits ------------------------------------------------------------------------------------
 */

static void the_smallest_block(void **state)
{
	pheap_arena_t *arena = make_arena(PHEAP_ARENA_BLOCK_MIN);

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		memset(assert_made(pheap_arena_alloc(arena, 32)), 1, 32);
	assert_int_equal(pheap_arena_blocks(arena), (100 + 6) / 7);
	pheap_arena_destroy(arena);
}

/* To the last byte: what exactly fits in a block needs no other. */
static void a_block_is_filled_to_the_last_byte(void **state)
{
	static const size_t blocks[] = {256, 4096, 65536};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(blocks); i++) {
		pheap_arena_t *arena = make_arena(blocks[i]);
		size_t left = blocks[i] - HEAD - 8;

		assert_made(pheap_arena_alloc(arena, 8));
		memset(assert_made(pheap_arena_alloc(arena, left - 7)), 1, left - 7);
		assert_int_equal(pheap_arena_blocks(arena), 1);
		assert_made(pheap_arena_alloc(arena, 1));
		assert_int_equal(pheap_arena_blocks(arena), 2);
		pheap_arena_destroy(arena);
	}
}

/* What does not fit and is larger than a quarter has a block of its own; else a new one is
 * begun. */
static void a_quarter_of_a_block_decides(void **state)
{
	const size_t quarter = (4096 - HEAD) / 4;
	pheap_arena_t *arena = make_arena(4096);
	char *first;

	(void)state;
	first = assert_made(pheap_arena_alloc(arena, 8));
	assert_ptr_equal(pheap_arena_alloc(arena, 3592), first + 8);
	assert_made(pheap_arena_alloc(arena, quarter)); /* with its alignment more */
	assert_ptr_equal(pheap_arena_alloc(arena, 8), first + 3600);
	assert_made(pheap_arena_alloc(arena, quarter - 8)); /* not more: a new block */
	assert_true((char *)assert_made(pheap_arena_alloc(arena, 8)) != first + 3608);
	pheap_arena_destroy(arena);
}

static void a_million_objects(void **state)
{
	pheap_arena_t *arena = make_arena(65536);
	uint64_t *last = NULL, n = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000000; i++) {
		uint64_t *object = assert_made(pheap_arena_alloc(arena, 16));

		object[0] = (uintptr_t)last;
		object[1] = i;
		last = object;
	}
	for (; last; last = (uint64_t *)(uintptr_t)last[0])
		n += last[1];
	assert_int_equal(n, UINT64_C(499999500000));
	pheap_arena_destroy(arena);
}

static void a_thousand_arenas_at_once(void **state)
{
	static pheap_arena_t *arena[1000];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(arena); i++) {
		arena[i] = make_arena(1024);
		fill_pattern(assert_made(pheap_arena_alloc(arena[i], 100)), 100, i);
	}
	for (unsigned i = 0; i < ELEMENTS(arena); i++) {
		assert_int_equal(pheap_arena_total_allocated(arena[i]), 104);
		pheap_arena_destroy(arena[i]);
	}
}

static int use_in_child(void *arg)
{
	/* The block that it has may be used; another one is the parent's to give. */
	return pheap_arena_alloc(arg, 4000) || errno != EINVAL;
}

static void the_child_of_a_fork_gets_no_block(void **state)
{
	pheap_arena_t *arena = make_arena(4096);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 3000));
	assert_int_equal(run_child(use_in_child, arena), 0);
	assert_made(pheap_arena_alloc(arena, 4000));
	pheap_arena_destroy(arena);
}

/* ---- speed, in what can be counted
 * --------------------------------------------------------------- */

static void blocks_for_a_hundred_thousand(void **state)
{
	static const struct {
		size_t block, blocks, per_mille; /* of the bytes of full blocks in objects */
	} want[] = {{65536, 98, 998}, {4096, 1588, 984}};

	(void)state;
	for (unsigned k = 0; k < ELEMENTS(want); k++) {
		pheap_arena_t *arena = make_arena(want[k].block);
		size_t per_block = (want[k].block - HEAD) / 64;

		for (unsigned i = 0; i < 100000; i++)
			assert_made(pheap_arena_alloc(arena, 64));
		assert_int_equal(pheap_arena_blocks(arena), want[k].blocks);
		assert_true(per_block * 64 * 1000 >= want[k].block * want[k].per_mille);
		pheap_arena_destroy(arena);
	}
}

static void a_reset_arena_needs_nothing_new(void **state)
{
	pheap_arena_t *arena = make_arena(65536);
	char *first = NULL;
	size_t usage = 0;

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 10000; i++)
			assert_made(pheap_arena_alloc(arena, 64));
		if (!usage)
			usage = pheap_arena_memory_usage(arena);
		assert_int_equal(pheap_arena_memory_usage(arena), usage);
		pheap_arena_reset(arena);
		assert_int_equal(pheap_arena_blocks(arena), 0);
		if (!first)
			first = assert_made(pheap_arena_alloc(arena, 8));
	}
	pheap_arena_destroy(arena);
}

/* Blocks that are kept for the next arena are not malloc's again: it hands out no more. */
static void the_next_arena_asks_malloc_for_nothing(void **state)
{
	size_t before, most = 0;

	(void)state;
	for (unsigned round = 0; round < 10; round++) {
		pheap_arena_t *arena = assert_made(pheap_arena_create(65536));

		before = mallinfo2().uordblks;
		for (unsigned i = 0; i < 10000; i++)
			assert_made(pheap_arena_alloc(arena, 64));
		if (round && mallinfo2().uordblks - before > most)
			most = mallinfo2().uordblks - before;
		pheap_arena_destroy(arena);
	}
	assert_int_equal(most, 0);
}

static void filling_takes_no_fence(void **state)
{
	struct pheap_stats before;
	pheap_arena_t *arena;

	(void)state;
	assert_ok(pheap_free(heap, assert_made(pheap_alloc(heap, 64)))); /* the thread's cache */
	before = stats_of(heap);
	arena = make_arena(65536);
	for (unsigned i = 0; i < 20000; i++)
		memset(assert_made(pheap_arena_alloc(arena, 64)), 1, 64);
	pheap_arena_reset(arena);
	pheap_arena_destroy(arena);
	assert_int_equal(stats_of(heap).fences, before.fences);
	assert_int_equal(stats_of(heap).flushed_lines, before.flushed_lines);
	assert_int_equal(stats_of(heap).records, before.records);
}

/* Each line of a block is flushed once. */
static void sealing_flushes_each_line_once(void **state)
{
	pheap_arena_t *arena = make_arena(65536);
	struct pheap_stats before, after;
	size_t lines;

	(void)state;
	for (unsigned i = 0; i < 50 * 1023; i++)
		memset(assert_made(pheap_arena_alloc(arena, 64)), 1, 64);
	lines = pheap_arena_blocks(arena) * 1024;
	before = stats_of(heap);
	assert_ok(pheap_arena_seal(arena, pheap_root(heap), NULL));
	after = stats_of(heap);
	assert_in_range(after.fences - before.fences, 0, 3);
	assert_in_range(after.flushed_lines - before.flushed_lines, 0, lines + 64);
	pheap_arena_destroy(arena);
}

/* Nothing beside the objects but heads of blocks, and their ends. */
static void memory_is_what_was_asked_for(void **state)
{
	pheap_arena_t *arena = make_arena(65536);
	size_t asked = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++, asked += 8 + i % 32 * 8)
		assert_made(pheap_arena_alloc(arena, 8 + i % 32 * 8));
	/* Multiples of 8 take what they are; what no longer fits in a block is not used. */
	assert_int_equal(pheap_arena_total_allocated(arena), asked);
	assert_true(pheap_arena_blocks(arena) * (65536 - HEAD - 256) <= asked + 65536);
	pheap_arena_destroy(arena);
}

/* ---- compatibility: what was written for malloc -------------------------------------------------
 */

static void types_are_aligned(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	assert_made(pheap_arena_alloc(arena, 1));
	assert_true(aligned(pheap_arena_alloc(arena, sizeof(double)), alignof(double)));
	assert_true(aligned(pheap_arena_alloc(arena, sizeof(void *)), alignof(void *)));
	assert_true(aligned(pheap_arena_alloc(arena, sizeof(int64_t)), alignof(int64_t)));
	assert_true(
		aligned(pheap_arena_alloc_aligned(arena, sizeof(max_align_t), alignof(max_align_t)),
			alignof(max_align_t)));
	pheap_arena_destroy(arena);
}

static void strings_and_arrays(void **state)
{
	static const char text[] = "the quick brown fox";
	pheap_arena_t *arena = make_arena(256);
	char *copy[100];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(copy); i++) {
		copy[i] = assert_made(pheap_arena_alloc(arena, sizeof(text) + 4));
		snprintf(copy[i], sizeof(text) + 4, "%s%u", text, i);
	}
	for (unsigned i = 0; i < ELEMENTS(copy); i++) {
		char want[32];

		snprintf(want, sizeof(want), "%s%u", text, i);
		assert_string_equal(copy[i], want);
	}
	pheap_arena_destroy(arena);
}

/* An array that doubles: the old ones stay until the arena goes. */
static void growing_arrays(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	uint32_t *array = NULL;
	size_t room = 0;

	(void)state;
	for (uint32_t i = 0; i < 50000; i++) {
		if (i == room) {
			size_t wider = room ? 2 * room : 4;
			uint32_t *copy = assert_made(pheap_arena_alloc(arena, wider * 4));

			if (array)
				memcpy(copy, array, room * 4);
			array = copy;
			room = wider;
		}
		array[i] = i * i;
	}
	for (uint32_t i = 0; i < 50000; i++)
		assert_int_equal(array[i], i * i);
	pheap_arena_destroy(arena);
}

struct leaf {
	struct leaf *left, *right;
	uint64_t key;
	char name[]; /* a flexible array */
};

static struct leaf *insert(pheap_arena_t *arena, struct leaf **at, uint64_t key)
{
	char name[24];
	int length = snprintf(name, sizeof(name), "%llu", (unsigned long long)key);

	while (*at)
		at = key < (*at)->key ? &(*at)->left : &(*at)->right;
	*at = assert_made(pheap_arena_alloc(arena, sizeof(**at) + (size_t)length + 1));
	**at = (struct leaf){.key = key};
	memcpy((*at)->name, name, (size_t)length + 1);
	return *at;
}

static uint64_t in_order(const struct leaf *leaf, uint64_t before)
{
	for (; leaf; leaf = leaf->right) {
		before = in_order(leaf->left, before);
		assert_true(leaf->key >= before);
		assert_int_equal(strtoull(leaf->name, NULL, 10), leaf->key);
		before = leaf->key;
	}
	return before;
}

static void a_tree(void **state)
{
	pheap_arena_t *arena = make_arena(0);
	struct rng rng = rng_make(5);
	struct leaf *root = NULL;

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		insert(arena, &root, rng_next(&rng) >> 1);
	assert_true(in_order(root, 0) > 0);
	pheap_arena_destroy(arena);
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = (*(struct leaf *const *)a)->key, y = (*(struct leaf *const *)b)->key;

	return x < y ? -1 : x > y;
}

static void pointers_can_be_sorted(void **state)
{
	enum { N = 2000 };
	pheap_arena_t *arena = make_arena(0);
	struct leaf **list = assert_made(pheap_arena_alloc(arena, N * sizeof(*list)));
	struct rng rng = rng_make(6);

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct leaf *root = NULL;

		list[i] = insert(arena, &root, rng_below(&rng, 1000000));
	}
	qsort(list, N, sizeof(*list), by_key);
	for (unsigned i = 1; i < N; i++)
		assert_true(list[i - 1]->key <= list[i]->key);
	pheap_arena_destroy(arena);
}

struct wide {
	alignas(64) char bytes[192];
};

static void types_that_ask_for_a_line(void **state)
{
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct wide *object = assert_made(
			pheap_arena_alloc_aligned(arena, sizeof(*object), alignof(struct wide)));

		assert_true(aligned(object, 64));
		memset(object, (int)i, sizeof(*object));
		assert_made(pheap_arena_alloc(arena, 8));
	}
	pheap_arena_destroy(arena);
}

static unsigned add_one(unsigned n)
{
	return n + 1;
}

static void functions_and_unions(void **state)
{
	union any {
		unsigned (*function)(unsigned);
		double number;
		char text[24];
	} * cell[3];
	pheap_arena_t *arena = make_arena(0);

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(cell); i++)
		cell[i] = assert_made(pheap_arena_alloc(arena, sizeof(*cell[i])));
	cell[0]->function = add_one;
	cell[1]->number = 0.5;
	strcpy(cell[2]->text, "of 23 characters at mos");
	assert_int_equal(cell[0]->function(41), 42);
	assert_true(cell[1]->number == 0.5);
	assert_string_equal(cell[2]->text, "of 23 characters at mos");
	pheap_arena_destroy(arena);
}

/* An arena for a phase within an arena for a run. */
static void arenas_within_each_other(void **state)
{
	pheap_arena_t *run = make_arena(0);
	uint64_t **kept = assert_made(pheap_arena_alloc(run, 100 * sizeof(*kept)));

	(void)state;
	for (unsigned phase = 0; phase < 100; phase++) {
		pheap_arena_t *scratch = make_arena(1024);
		uint64_t *sum = assert_made(pheap_arena_alloc(scratch, sizeof(*sum))), n;

		for (*sum = n = 0; n <= phase; n++)
			*sum += n + *(unsigned char *)memset(
					    assert_made(pheap_arena_alloc(scratch, 100)), 1, 100);
		kept[phase] = assert_made(pheap_arena_alloc(run, sizeof(**kept)));
		*kept[phase] = *sum;
		pheap_arena_destroy(scratch);
	}
	for (unsigned phase = 0; phase < 100; phase++)
		assert_int_equal(*kept[phase], phase * (phase + 1) / 2 + phase + 1);
	pheap_arena_destroy(run);
}

static const struct CMUnitTest anywhere[] = {
	CASE(the_default_block_is_a_page),
	CASE(block_sizes_are_rounded_to_lines),
	CASE(content_stays_while_others_come),
	CASE(what_alignment_skips_is_counted),
	CASE(large_requests_are_aligned_too),
	CASE(small_and_large_take_turns),
	CASE(the_smallest_block),
	CASE(a_block_is_filled_to_the_last_byte),
	CASE(a_quarter_of_a_block_decides),
	CASE(a_thousand_arenas_at_once),
	CASE(blocks_for_a_hundred_thousand),
	CASE(a_reset_arena_needs_nothing_new),
	CASE(memory_is_what_was_asked_for),
	CASE(types_are_aligned),
	CASE(strings_and_arrays),
	CASE(growing_arrays),
	CASE(a_tree),
	CASE(pointers_can_be_sorted),
	CASE(types_that_ask_for_a_line),
	CASE(functions_and_unions),
	CASE(arenas_within_each_other),
};

static const struct CMUnitTest dram_only[] = {
	CASE(a_million_objects),
	CASE(the_next_arena_takes_the_blocks_of_the_last),
	CASE(the_next_arena_asks_malloc_for_nothing),
};

static const struct CMUnitTest heaps_only[] = {
	CASE(a_heap_gets_all_of_it_back),     CASE(objects_of_an_arena_cannot_be_freed),
	CASE(sealed_objects_may_have_slots),  CASE(sealed_without_a_root),
	CASE(readers_find_a_sealed_arena),    CASE(a_snapshot_keeps_an_arena),
	CASE(an_arena_may_change_its_thread), CASE(the_child_of_a_fork_gets_no_block),
	CASE(filling_takes_no_fence),	      CASE(sealing_flushes_each_line_once),
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
