/*
 * test-recovery.c - recovery of logs as long and as many as there can be: what it
 * restores, in which order, and how much memory that takes.
 */
#include "media.h"

#include <sys/mman.h>

#include "heap.h"
#include "pool.h"
#include "sum.h"

static uint64_t *word_at(char *memory, uint64_t offset)
{
	return (uint64_t *)(void *)(memory + offset);
}

static struct pm_state *state_of(char *memory)
{
	return (struct pm_state *)(void *)(memory + PM_STATE);
}

/* ---- fences --------------------------------------------------------------------------- */

static unsigned fences;

static void count_fence(struct media *media)
{
	(void)media;
	fences++;
}

/* Those that the protocols of format.h, pool.h and replay.h name, and no other. */
static void fences_of_open(void **state)
{
	struct media media;
	pheap_tx_t *tx;
	pheap_t *heap;
	char *object;

	(void)state;
	media_init(&media, MIB(8));
	media.fenced = count_fence;
	heap = create_on(media.seen, media.size, &media);
	assert_int_equal(fences, 2 + 2);
	fences = 0;
	close_pool(heap); /* nothing to settle */
	assert_int_equal(fences, 1);
	fences = 0;
	heap = open_on(media.seen, media.size, &media);
	assert_int_equal(fences, 2);

	publish_root(heap, 64, 7);
	object = pheap_ptr(heap, *pheap_root(heap));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object, 64));
	memset(object, 0, 64);
	assert_ok(pheap_set(heap, assert_made(pheap_named_root(heap, "A")), 0));
	ph_pool_abandon(heap);
	fences = 0;
	heap = open_on(media.seen, media.size, &media); /* replay and rollback */
	assert_int_equal(fences, 3);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 64, 7));
	close_pool(heap);
	media_free(&media);
}

/* ---- many undo entries ---------------------------------------------------------------- */

#define POOL MIB(64)
#define OBJECT KIB(512)
#define SNAPSHOTS 3000u

static char *object_of(pheap_t *heap)
{
	return pheap_ptr(heap, *pheap_root(heap));
}

static void check_rolled_back(char *memory)
{
	pheap_t *heap = open_on(memory, POOL, NULL);

	assert_true(has_pattern(object_of(heap), OBJECT, 7));
	check_clean(heap);
	close_pool(heap);
}

/* Ranges of all alignments, many saved again after they were changed: the log has
 * several areas, and parts that do not end with them. */
static void snapshot_much(pheap_t *heap)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	struct rng rng = rng_make(1);

	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		uint64_t length = 1 + rng_below(&rng, i < 200 || i % 10 ? 100 : 9000);
		char *at = object_of(heap) + rng_below(&rng, OBJECT - length);

		assert_ok(pheap_tx_snapshot(tx, at, length));
		memset(at, (int)i, length);
	}
}

static unsigned fences_in_recovery;
static char *at_fence[16];

static void keep_durable(struct media *media)
{
	assert_true(fences_in_recovery < ELEMENTS(at_fence));
	at_fence[fences_in_recovery++] = memory_copy(media->durable, media->size);
}

/* A crash at each fence of recovery, and recovery from there. */
static void many_undo_entries(void **state)
{
	struct media media, again;
	uint64_t at;
	pheap_t *heap;

	(void)state;
	media_init(&media, POOL);
	heap = create_on(media.seen, POOL, &media);
	publish_root(heap, OBJECT, 7);
	snapshot_much(heap);
	media_init(&again, POOL);
	/* What the program stored in place has been evicted, all of it. */
	at = *pheap_root(heap);
	memcpy(media.durable + at, media.seen + at, OBJECT);
	memcpy(again.seen, media.durable, POOL);
	memcpy(again.durable, media.durable, POOL);
	ph_pool_abandon(heap);
	media_free(&media);

	fences_in_recovery = 0;
	again.fenced = keep_durable;
	heap = open_on(again.seen, POOL, &again);
	again.fenced = NULL;
	assert_true(has_pattern(object_of(heap), OBJECT, 7));
	assert_true(fences_in_recovery >= 3);
	for (unsigned i = 0; i < fences_in_recovery; i++) {
		check_rolled_back(at_fence[i]);
		memory_free(at_fence[i], POOL);
	}
	ph_pool_abandon(heap);
	media_free(&again);
}

/* The same log, with one byte of an entry somewhere in it flipped. */
static void damaged_undo_entry(void **state)
{
	char *memory = memory_new(POOL), *before;
	pheap_t *heap = create_on(memory, POOL, NULL);
	struct rng rng = rng_make(2);
	uint64_t block = *word_at(memory, PM_LANE_TABLE);

	(void)state;
	publish_root(heap, OBJECT, 7);
	snapshot_much(heap);
	ph_pool_abandon(heap);
	before = memory_new(POOL);
	for (unsigned i = 0; i < 8; i++) {
		/* Among the first entries, which are small: in the built-in area, with more
		 * of them behind it. */
		char *byte = memory + block + PM_LANE_UNDO + rng_below(&rng, PM_UNDO_AREA / 2);

		*byte ^= 1;
		memcpy(before, memory, POOL);
		refuse_on(memory, POOL);
		assert_memory_equal(before, memory, POOL);
		*byte ^= 1;
	}
	check_rolled_back(memory);
	memory_free(before, POOL);
	memory_free(memory, POOL);
}

/* ---- full rings of as many lanes as there can be -------------------------------------------- */

#define LANES_POOL MIB(512)
#define BYTES_MAX MIB(1)
/* A sanitizer's shadow counts as anonymous memory, too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_SHADOW true
#else
#define COUNTS_SHADOW false
#endif

/* A transaction with a snapshot takes an undo log, and a lane has PM_UNDO_LOGS. */
static void make_lanes(pheap_t *heap, char *object)
{
	const unsigned n = PM_LANES_MAX * PM_UNDO_LOGS;
	pheap_tx_t **txs = calloc(n, sizeof(pheap_tx_t *));

	for (unsigned i = 0; i < n; i++) {
		txs[i] = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(txs[i], object + i * 8, 8));
	}
	for (unsigned i = 0; i < n; i++)
		assert_ok(pheap_tx_abort(txs[i]));
	assert_int_equal(info_of(heap).lanes, PM_LANES_MAX);
	free(txs);
}

/*
 * Fill each ring with one-line records, the oldest somewhere in its middle. In turn
 * over all lanes they set a word that all of them write, and one of their lane's.
 */
static void fill_rings(char *memory, uint64_t object)
{
	struct pm_state *state = state_of(memory);
	uint64_t settled;

	assert_true(ph_unseal(state->settled, &settled));
	for (uint64_t lane = 0; lane < PM_LANES_MAX; lane++) {
		uint64_t ring = *word_at(memory, PM_LANE_TABLE + lane * 8) + PM_LANE_RING;
		uint64_t prev = 0;

		for (uint64_t i = 0; i < PM_RING_LINES; i++) {
			uint64_t stamp = settled + 1 + i * PM_LANES_MAX + (lane * 7) % PM_LANES_MAX;
			uint64_t place = ring + (i + lane) % PM_RING_LINES * PM_LINE;
			uint64_t w[8] = {
				[1] = stamp << PM_STAMP_SHIFT | 1,
				[2] = prev,
				[3] = PM_ENTRY(PM_ENTRY_WORD, 0, object),
				[4] = stamp,
				[5] = PM_ENTRY(PM_ENTRY_WORD, 0, object + (lane + 1) * PM_LINE),
				[6] = stamp,
			};

			w[0] = ph_sum(state->epoch, place, w + 1, 7);
			memcpy(memory + place, w, sizeof(w));
			prev = stamp;
		}
	}
	state->status = PM_STATUS_POWER;
}

static uint64_t anonymous_bytes(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	unsigned long long kib = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Anonymous: %llu", &kib) == 1)
			break;
	must(file);
	fclose(file);
	return kib << 10;
}

/* Memory is at its most at the fences of recovery, and when it is over. */
static uint64_t most_bytes;
static int note_bytes(void *arg)
{
	uint64_t bytes = anonymous_bytes();

	(void)arg;
	if (bytes > most_bytes)
		most_bytes = bytes;
	return 0;
}

static void no_store(void *arg, void *dst, const void *src, size_t length)
{
	(void)arg;
	(void)dst;
	(void)src;
	(void)length;
}

static void no_flush(void *arg, const void *addr, size_t length)
{
	no_store(arg, NULL, addr, length);
}

static const struct ph_hook note_hook = {no_store, no_store, no_flush, note_bytes};

/* Records of 1,024 rings would take 10 MiB if they were collected. */
static void many_full_rings(void **state)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	/* Shared, so that it does not count as anonymous. */
	char *memory = mmap(NULL, LANES_POOL, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t object, settled, before;
	const uint64_t *words;
	pheap_t *heap;

	(void)state;
	assert_true(memory != MAP_FAILED);
	heap = create_on(memory, LANES_POOL, NULL);
	make_lanes(heap, publish_root(heap, (PM_LANES_MAX + 1) * PM_LINE, 7));
	object = *pheap_root(heap);
	close_pool(heap);
	fill_rings(memory, object);
	assert_true(ph_unseal(state_of(memory)->settled, &settled));
	before = most_bytes = anonymous_bytes();
	heap = assert_made(ph_pool_open_on(memory, LANES_POOL, &opts, &note_hook, NULL));
	note_bytes(NULL);
	print_message("%u lanes with full rings: %llu KiB of DRAM\n", PM_LANES_MAX,
		      (unsigned long long)(most_bytes - before) >> 10);
	assert_true(COUNTS_SHADOW || most_bytes - before <= BYTES_MAX);
	words = pheap_ptr(heap, object);
	assert_int_equal(words[0], settled + PM_RING_LINES * PM_LANES_MAX);
	for (uint64_t lane = 0; lane < PM_LANES_MAX; lane++)
		assert_int_equal(words[(lane + 1) * 8], settled + 1 +
								(PM_RING_LINES - 1) * PM_LANES_MAX +
								(lane * 7) % PM_LANES_MAX);
	/* And on: a lane's next generation, its next record. */
	close_pool(heap);
	heap = open_on(memory, LANES_POOL, NULL);
	make_lanes(heap, pheap_ptr(heap, object));
	check_clean(heap);
	close_pool(heap);
	munmap(memory, LANES_POOL);
}

/* ---- what logs may not write ------------------------------------------------------------------
 */

/* A live record of one WORD entry, in lane 0 of a closed pool. */
static void put_record(char *memory, uint64_t offset, uint64_t value)
{
	uint64_t place = *word_at(memory, PM_LANE_TABLE) + PM_LANE_RING, settled;
	uint64_t w[8] = {[3] = PM_ENTRY(PM_ENTRY_WORD, 0, offset), [4] = value};

	assert_true(ph_unseal(state_of(memory)->settled, &settled));
	w[1] = (settled + 1) << PM_STAMP_SHIFT | 1;
	w[0] = ph_sum(state_of(memory)->epoch, place, w + 1, 7);
	memcpy(memory + place, w, sizeof(w));
	state_of(memory)->status = PM_STATUS_POWER;
}

static void records_into_lanes(void **state)
{
	static const uint64_t places[] = {
		8, /* the epoch of a head */
		4 * PM_LINE,
		PM_LANE_RING,
		PM_LANE_RING + 77 * PM_LINE,
		PM_LANE_UNDO,
		PM_GRANULE - 8,
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(places); i++) {
		char *memory = memory_new(MIB(64));

		close_pool(create_on(memory, MIB(64), NULL));
		for (unsigned lane = 0; lane < 2; lane++) {
			put_record(memory, *word_at(memory, PM_LANE_TABLE + lane * 8) + places[i],
				   0);
			refuse_on(memory, MIB(64));
		}
		memory_free(memory, MIB(64));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fences_of_open),     cmocka_unit_test(many_undo_entries),
		cmocka_unit_test(damaged_undo_entry), cmocka_unit_test(many_full_rings),
		cmocka_unit_test(records_into_lanes),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
