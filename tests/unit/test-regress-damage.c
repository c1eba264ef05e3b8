/*
 * test-regress-damage.c - media that once crashed, hung or misled the library:
 * crafted records, logs and trees, and single flipped bits in words that decide
 * what recovery does. Refused as damaged, or used without harm.
 */
#include "media.h"

#include <time.h>

#include "alloc/buddy.h"
#include "heap.h"
#include "pool.h"
#include "sum.h"

#define POOL MIB(8)

static uint64_t *word_at(char *memory, uint64_t offset)
{
	return (uint64_t *)(void *)(memory + offset);
}

static struct pm_state *state_of(char *memory)
{
	return (struct pm_state *)(void *)(memory + PM_STATE);
}

static struct pm_zone *zone_of(char *memory)
{
	return (struct pm_zone *)(void *)(memory + PM_ZONE_TABLE);
}

static struct pm_span *span_of(char *memory, uint32_t granule)
{
	return (struct pm_span *)(void *)(memory + zone_of(memory)->desc) + granule;
}

/* A pool that was closed cleanly, with a published object in its root. */
static char *closed_pool(uint64_t size)
{
	char *memory = memory_new(size);
	pheap_t *heap = create_on(memory, size, NULL);

	assert_ok(pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	close_pool(heap);
	return memory;
}

/* A bit of everything: whatever it gives, it must come back. */
static void use(pheap_t *heap)
{
	pheap_ref *slot = pheap_named_root(heap, "x");
	void *object;

	for (size_t size = 16; size <= MIB(1); size *= 4) {
		object = pheap_alloc(heap, size);
		if (object && slot && !pheap_publish(heap, slot, object, 0))
			pheap_retire(heap, slot);
		else
			pheap_free(heap, object);
	}
	pheap_retire(heap, pheap_root(heap));
	pheap_check(heap, NULL, NULL, NULL);
}

/* ---- crafted records -------------------------------------------------------------- */

/* A live record of one WORD entry, in lane 0 of a closed pool. */
static void put_record(char *memory, uint64_t offset, uint64_t value)
{
	struct pm_state *state = state_of(memory);
	uint64_t place = *word_at(memory, PM_LANE_TABLE) + PM_LANE_RING, settled;
	uint64_t words[8] = {[3] = PM_ENTRY(PM_ENTRY_WORD, 0, offset), [4] = value};

	assert_true(ph_unseal(state->settled, &settled));
	words[1] = (settled + 1) << PM_STAMP_SHIFT | 1;
	words[0] = ph_sum(state->epoch, place, words + 1, 7);
	memcpy(memory + place, words, sizeof(words));
	state->status = PM_STATUS_POWER;
}

/* Tables were validated before recovery, and then written by it. */
static void records_that_write_tables(void **state)
{
	static const struct {
		uint64_t offset, value;
	} cases[] = {
		{PM_LANE_TABLE + 8, UINT64_C(0x7fff00000000)}, /* a lane outside the pool */
		{PM_LANE_TABLE, 0},			       /* no lane */
		{PM_ZONE_TABLE + offsetof(struct pm_zone, granules), UINT64_C(0x1840000000)},
		{PM_ZONE_TABLE + offsetof(struct pm_zone, desc), UINT64_C(0x7f0000000000)},
		{PM_STATE + offsetof(struct pm_state, settled), 1},
		{PM_SUPER_B, 0},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char *memory = closed_pool(POOL);

		put_record(memory, cases[i].offset, cases[i].value);
		refuse_on(memory, POOL);
		memory_free(memory, POOL);
	}
}

/* A lane table entry that names a granule which is no lane, and one named twice. */
static void record_that_shares_lane(void **state)
{
	char *memory = closed_pool(POOL);

	(void)state;
	put_record(memory, PM_LANE_TABLE + 8, *word_at(memory, PM_LANE_TABLE));
	refuse_on(memory, POOL);
	memory_free(memory, POOL);
	memory = closed_pool(POOL);
	put_record(memory, PM_LANE_TABLE + 8, zone_of(memory)->data);
	refuse_on(memory, POOL);
	memory_free(memory, POOL);
}

/* ---- undo log ------------------------------------------------------------------------ */

/*
 * A log that goes on in an area of half a gigabyte, in which every line looks like
 * an entry as long as the rest: each was summed up, which took hours.
 */
static void long_undo_area(void **state)
{
	const uint64_t size = MIB(256);
	char *memory = closed_pool(size);
	uint64_t head = *word_at(memory, PM_LANE_TABLE), at = head + PM_LANE_UNDO;
	uint64_t start = zone_of(memory)->data + PM_GRANULE;
	uint64_t length = (uint64_t)(zone_of(memory)->granules - 1) * PM_GRANULE;
	struct pm_undo next[2] = {
		{.gen = 1, .target = (uint64_t)PM_UNDO_NEXT << 56 | start, .length = length}};
	clock_t begun = clock();

	(void)state;
	next[0].sum = ph_sum(state_of(memory)->epoch ^ head, at, &next[0].gen, 7);
	memcpy(memory + at, next, PM_LINE);
	*word_at(memory, head + offsetof(struct pm_undo_head, epoch)) = state_of(memory)->epoch;
	for (uint64_t i = start; i + PM_LINE < start + length - 32 * PM_GRANULE; i += PM_LINE) {
		struct pm_undo *entry = (struct pm_undo *)(void *)(memory + i);

		entry->gen = 1;
		entry->seq = UINT64_C(5) << 32 | 5;
		entry->target = (uint64_t)PM_UNDO_DATA << 56 | start;
		entry->length = start + length - i - PM_LINE;
	}
	state_of(memory)->status = PM_STATUS_POWER;
	close_pool(open_on(memory, size, NULL));
	assert_true((clock() - begun) / CLOCKS_PER_SEC < 20);
	memory_free(memory, size);
}

/* ---- words that decide --------------------------------------------------------------- */

/* A crashed pool: a record that has not been settled. */
static char *crashed_pool(void)
{
	char *memory = memory_new(POOL);
	pheap_t *heap = create_on(memory, POOL, NULL);

	assert_ok(pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	ph_pool_abandon(heap);
	return memory;
}

/* One flipped bit of them ended all records, without a word: what had been committed
 * was lost. */
static void flipped_bit_in_state(void **state)
{
	static const uint64_t words[] = {offsetof(struct pm_state, epoch),
					 offsetof(struct pm_state, settled)};
	char *pristine = crashed_pool();
	pheap_t *heap;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(words); i++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			*word_at(pristine, PM_STATE + words[i]) ^= UINT64_C(1) << bit;
			refuse_on(pristine, POOL);
			*word_at(pristine, PM_STATE + words[i]) ^= UINT64_C(1) << bit;
		}
	}
	heap = open_on(pristine, POOL, NULL);
	assert_int_not_equal(*pheap_root(heap), 0);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
	memory_free(pristine, POOL);
}

/* A settled stamp near the last one: the next stamps ran over, and records of the
 * session after that were dead when they were written. */
static void last_stamp(void **state)
{
	struct media media;
	pheap_t *heap;

	(void)state;
	media_init(&media, POOL);
	close_pool(create_on(media.seen, POOL, NULL));
	state_of(media.seen)->settled = PH_SEALED_MAX;
	refuse_on(media.seen, POOL);
	state_of(media.seen)->settled = ph_seal(PH_SEALED_MAX);
	refuse_on(media.seen, POOL);
	state_of(media.seen)->settled = 0;
	memcpy(media.durable, media.seen, POOL);
	heap = open_on(media.seen, POOL, &media);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), 64, NULL));
	ph_pool_abandon(heap);
	heap = open_on(media.durable, POOL, NULL);
	assert_int_not_equal(*pheap_root(heap), 0);
	close_pool(heap);
	media_free(&media);
}

/* Of superblocks with different sequences the older was copied over the newer. */
static void newer_superblock_stays(void **state)
{
	char *memory = closed_pool(POOL);
	struct pm_super *b = (void *)(memory + PM_SUPER_B);

	(void)state;
	b->sequence++;
	strcpy(b->layout, "newer");
	b->sum = ph_sum(PM_SUM_KEY, PM_SUPER_B, word_at(memory, PM_SUPER_B) + 2, 62);
	for (unsigned i = 0; i < 2; i++) {
		pheap_t *heap = open_on(memory, POOL, NULL);

		assert_string_equal(info_of(heap).layout, "newer");
		close_pool(heap);
		/* And it holds without the copy that it came from. */
		memset(memory + PM_SUPER_B, 0xff, PM_LINE);
	}
	memory_free(memory, POOL);
}

/* ---- tree and descriptors --------------------------------------------------------------- */

/* A root byte of more than the tree has: a search went below the leaves. */
static void tree_root_too_large(void **state)
{
	(void)state;
	for (unsigned value = 0; value < 256; value++) {
		char *memory = closed_pool(POOL);
		struct pm_zone *zone = zone_of(memory);

		memory[zone->tree + 1] = (char)value;
		if (value > zone->levels + 1) {
			refuse_on(memory, POOL);
		} else {
			pheap_t *heap = open_on(memory, POOL, NULL);

			use(heap);
			close_pool(heap);
		}
		memory_free(memory, POOL);
	}
}

/* A tree that calls granules in use free: they were handed out again, over the DRAM
 * state of the span that had them. */
static void tree_offers_what_is_used(void **state)
{
	char *memory = closed_pool(POOL);
	struct pm_zone *zone = zone_of(memory);
	pheap_t *heap;
	void *object;
	unsigned refused = 0;

	(void)state;
	memory[zone->tree + 1] = (char)(zone->levels + 1);
	heap = open_on(memory, POOL, NULL);
	assert_int_equal(pheap_usable_size(heap, pheap_ptr(heap, *pheap_root(heap))), 0);
	while ((object = pheap_alloc(heap, PM_GRANULE)) || errno == EUCLEAN) {
		refused += !object;
		/* The lane is in use too, and has no object that anyone would look up. */
		assert_ptr_not_equal(object, memory + *word_at(memory, PM_LANE_TABLE));
	}
	assert_int_equal(errno, ENOSPC);
	assert_int_not_equal(refused, 0); /* padding behind the last granule */
	close_pool(heap);
	memory_free(memory, POOL);
}

/* Where the object in the root lies. */
static uint32_t granule_of_root(char *memory)
{
	const struct pm_root *root = (const void *)(memory + PM_ROOTS);

	return (uint32_t)((root->ref - zone_of(memory)->data) / PM_GRANULE);
}

static char *granule_at(char *memory, uint32_t granule)
{
	return memory + zone_of(memory)->data + (uint64_t)granule * PM_GRANULE;
}

static struct pm_span large_span(uint32_t granules)
{
	return (struct pm_span){.kind = PM_KIND_LARGE,
				.granules = granules,
				.size = (uint64_t)granules * PM_GRANULE};
}

/* Put a large object there, published, whatever else is there. */
static void put_large(char *memory, uint32_t granule, uint32_t granules)
{
	*span_of(memory, granule) = large_span(granules);
	memory[zone_of(memory)->bits + (uint64_t)granule * PM_BITMAP_BYTES] |= 1;
}

/* Descriptors that overlap, and those over free granules: their DRAM states overlapped
 * as well. */
static void descriptors_that_overlap(void **state)
{
	char *memory = closed_pool(POOL);
	uint32_t granules = zone_of(memory)->granules;

	(void)state;
	for (uint32_t length = 1; length < granules; length *= 2) {
		char *copy = memory_copy(memory, POOL);
		pheap_t *heap;

		for (uint32_t g = 0; g + length < granules; g += 3)
			put_large(copy, g, length);
		heap = open_on(copy, POOL, NULL);
		for (uint32_t g = 0; g < granules; g++)
			pheap_usable_size(heap, granule_at(copy, g));
		use(heap);
		assert_int_equal(stats_of(heap).granules, granules);
		close_pool(heap);
		memory_free(copy, POOL);
	}
	memory_free(memory, POOL);
}

/* A span loaded over another that was loaded before it. */
static void span_over_loaded_span(void **state)
{
	char *memory = closed_pool(POOL);
	pheap_t *heap;

	(void)state;
	memory[zone_of(memory)->tree + 1] = 0; /* all is taken */
	put_large(memory, 0, 8);
	put_large(memory, 4, 8);
	heap = open_on(memory, POOL, NULL);
	assert_int_equal(pheap_usable_size(heap, granule_at(memory, 4)), 8 * PM_GRANULE);
	assert_int_equal(pheap_usable_size(heap, granule_at(memory, 0)), 0);
	assert_int_equal(pheap_usable_size(heap, granule_at(memory, 4)), 8 * PM_GRANULE);
	close_pool(heap);
	memory_free(memory, POOL);
}

/* A span of which the last granule is free: that was handed out as well. */
static void span_over_free_granule(void **state)
{
	char *memory = closed_pool(POOL);
	uint32_t g = granule_of_root(memory), n = 2;
	pheap_t *heap;

	(void)state;
	while (span_of(memory, g + n - 1)->kind != PM_KIND_NONE)
		n++;
	assert_true(g + n <= zone_of(memory)->granules);
	put_large(memory, g, n);
	heap = open_on(memory, POOL, NULL);
	assert_int_equal(pheap_usable_size(heap, granule_at(memory, g)), 0);
	close_pool(heap);
	memory_free(memory, POOL);
}

/* The size class of a large object means nothing, and was an index all the same. */
static void large_span_with_class(void **state)
{
	char *memory = closed_pool(POOL);
	pheap_t *heap;

	(void)state;
	memory[zone_of(memory)->tree + 1] = 0; /* all is taken */
	put_large(memory, 4, 2);
	span_of(memory, 4)->size_class = 200;
	heap = open_on(memory, POOL, NULL);
	pheap_free(heap, pheap_alloc(heap, 64)); /* so that this thread has a cache */
	pheap_usable_size(heap, granule_at(memory, 4));
	assert_error(EINVAL, pheap_free(heap, granule_at(memory, 4)));
	close_pool(heap);
	memory_free(memory, POOL);
}

static uint8_t get_node(void *arg, uint64_t at)
{
	return (uint8_t)((char *)arg)[zone_of(arg)->tree + at];
}

static void set_node(void *arg, uint64_t at, uint8_t value)
{
	((char *)arg)[zone_of(arg)->tree + at] = (char)value;
}

/*
 * A node that claims more than lies below it, above a span: with the next change beside
 * it the node above both became a free one, and the span was handed out.
 */
static void node_claims_too_much(void **state)
{
	enum { GRANULE = 8 };
	char *memory = closed_pool(POOL), *span = granule_at(memory, GRANULE), *object;
	uint32_t levels = zone_of(memory)->levels;
	struct ph_tree tree = {levels, get_node, set_node, memory};
	pheap_t *heap;

	(void)state;
	put_large(memory, GRANULE, 1);
	ph_tree_assign(&tree, GRANULE, 1, false);
	set_node(memory, ph_tree_at(levels, levels - 1, GRANULE / 2), 3); /* 2 at most */
	heap = open_on(memory, POOL, NULL);
	assert_int_equal(pheap_usable_size(heap, span), PM_GRANULE);
	while ((object = pheap_alloc(heap, 2 * PM_GRANULE)) || errno == EUCLEAN)
		assert_true(!object || span < object || span >= object + 2 * PM_GRANULE);
	assert_int_equal(pheap_usable_size(heap, span), PM_GRANULE);
	close_pool(heap);
	memory_free(memory, POOL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_that_write_tables),
		cmocka_unit_test(record_that_shares_lane),
		cmocka_unit_test(long_undo_area),
		cmocka_unit_test(flipped_bit_in_state),
		cmocka_unit_test(last_stamp),
		cmocka_unit_test(newer_superblock_stays),
		cmocka_unit_test(tree_root_too_large),
		cmocka_unit_test(tree_offers_what_is_used),
		cmocka_unit_test(descriptors_that_overlap),
		cmocka_unit_test(span_over_loaded_span),
		cmocka_unit_test(span_over_free_granule),
		cmocka_unit_test(large_span_with_class),
		cmocka_unit_test(node_claims_too_much),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("regress-damage", tests, NULL, NULL);
}
