/*
 * test-tx.c - transactions: every call's effect at once, at commit, at abort and
 * after a crash, and every misuse. Large ones and many are in test-tx-large.c.
 */
#include "common.h"

#define POOL MIB(16)
#define BYTES 4096

/* A published object of BYTES bytes in the root, pattern 1. */
static pheap_t *heap;
static char *object;
static uint64_t *words;

static void begin(void)
{
	heap = make_pool("p", POOL);
	object = publish_root(heap, BYTES, 1);
	words = (uint64_t *)(void *)object;
}

static void end(uint64_t objects)
{
	assert_int_equal(check_clean(heap), objects);
	close_pool(heap);
}

/* What a crash now would leave of the object; NULL without a file. */
static const char *crashed(void)
{
	static char bytes[BYTES];
	pheap_t *copy;

	if (!mode_has_file())
		return NULL;
	copy = crash_pool("p");
	memcpy(bytes, pheap_ptr(copy, *pheap_root(copy)), BYTES);
	check_clean(copy);
	close_pool(copy);
	return bytes;
}

/* After a crash now the object is as it was at first. */
static void assert_crash_restores(void)
{
	const char *bytes = crashed();

	if (bytes)
		assert_true(has_pattern(bytes, BYTES, 1));
}

/* After a crash now the object is as it is. */
static void assert_crash_keeps(void)
{
	const char *bytes = crashed();

	if (bytes)
		assert_memory_equal(bytes, object, BYTES);
}

static pheap_tx_t *start(void)
{
	return assert_made(pheap_tx_begin(heap));
}

static void empty(void **state)
{
	struct pheap_stats before, after;
	pheap_tx_t *tx;

	(void)state;
	begin();
	before = stats_of(heap);
	assert_ok(pheap_tx_commit(start()));
	assert_ok(pheap_tx_abort(start()));
	assert_ok(pheap_tx_abort(NULL));
	after = stats_of(heap);
	assert_int_equal(after.fences, before.fences);
	assert_int_equal(after.records, before.records);
	/* Nothing that failed makes it a different one. */
	tx = start();
	assert_error(EINVAL, pheap_tx_set(tx, NULL, 1));
	assert_ok(pheap_tx_commit(tx));
	assert_true(has_pattern(object, BYTES, 1));
	end(1);
}

static void set_and_write(void **state)
{
	char bytes[1000];
	pheap_tx_t *tx;
	uint64_t old = 0;

	(void)state;
	begin();
	fill_pattern(bytes, sizeof(bytes), 2);
	old = words[0];
	tx = start();
	assert_ok(pheap_tx_set(tx, &words[0], 11));
	assert_ok(pheap_tx_set(tx, &words[511], 12));
	assert_ok(pheap_tx_write(tx, object + 101, bytes, 3));
	assert_ok(pheap_tx_write(tx, object + 1000, bytes, sizeof(bytes)));
	/* The source was copied. */
	memset(bytes, 0, sizeof(bytes));
	/* The last of several on one word holds. */
	assert_ok(pheap_tx_set(tx, &words[0], 13));
	/* Readers see the old bytes until commit. */
	assert_true(words[0] == old && has_pattern(object, BYTES, 1));
	assert_crash_restores();
	assert_true(has_pattern(object, BYTES, 1));
	assert_ok(pheap_tx_commit(tx));
	assert_true(words[0] == 13 && words[511] == 12);
	fill_pattern(bytes, sizeof(bytes), 2);
	assert_memory_equal(object + 101, bytes, 3);
	assert_memory_equal(object + 1000, bytes, sizeof(bytes));
	assert_crash_keeps();
	end(1);
}

static void set_and_abort(void **state)
{
	pheap_tx_t *tx;

	(void)state;
	begin();
	tx = start();
	assert_ok(pheap_tx_set(tx, &words[0], 11));
	assert_ok(pheap_tx_write(tx, object + 1000, "bytes", 5));
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, BYTES, 1));
	assert_crash_restores();
	end(1);
}

static void overlapping_writes(void **state)
{
	char want[BYTES], bytes[600];
	struct rng rng = rng_make(1);
	size_t offset, length;
	unsigned round, i;
	pheap_tx_t *tx;

	(void)state;
	begin();
	memcpy(want, object, BYTES);
	for (round = 0; round < 50; round++) {
		tx = start();
		for (i = 0; i < 10; i++) {
			length = 1 + rng_below(&rng, sizeof(bytes));
			offset = rng_below(&rng, BYTES - length + 1);
			fill_pattern(bytes, length, round * 10 + i);
			memcpy(want + offset, bytes, length);
			assert_ok(pheap_tx_write(tx, object + offset, bytes, length));
		}
		assert_ok(pheap_tx_commit(tx));
		assert_memory_equal(object, want, BYTES);
	}
	assert_crash_keeps();
	end(1);
}

static void snapshot(void **state)
{
	struct pheap_stats before;
	pheap_tx_t *tx;

	(void)state;
	begin();
	tx = start();
	assert_ok(pheap_tx_snapshot(tx, object, 1000));
	before = stats_of(heap);
	/* Saved already, as a whole or in part: no fence. */
	assert_ok(pheap_tx_snapshot(tx, object, 1000));
	assert_ok(pheap_tx_snapshot(tx, object + 100, 200));
	assert_int_equal(stats_of(heap).fences, before.fences);
	fill_pattern(object, 1000, 2);
	assert_true(has_pattern(object, 1000, 2));
	assert_crash_restores();
	assert_ok(pheap_tx_commit(tx));
	assert_true(has_pattern(object, 1000, 2));
	assert_crash_keeps();

	tx = start();
	assert_ok(pheap_tx_snapshot(tx, object + 3, 2222));
	memset(object + 3, 0, 2222);
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, 1000, 2));
	assert_crash_keeps();
	end(1);
}

static void snapshotv(void **state)
{
	struct pheap_range ranges[40];
	struct pheap_stats before;
	pheap_tx_t *tx;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(ranges); i++)
		ranges[i] = (struct pheap_range){object + 100 * i, 1 + i * 2};
	tx = start();
	before = stats_of(heap);
	assert_ok(pheap_tx_snapshotv(tx, ranges, ELEMENTS(ranges)));
	assert_ok(pheap_tx_snapshotv(tx, ranges, 0));
	assert_in_range(stats_of(heap).fences - before.fences, 0,
			mode->durability == PHEAP_POWER ? 1 : 0);
	for (i = 0; i < ELEMENTS(ranges); i++)
		memset(ranges[i].addr, 0xff, ranges[i].length);
	assert_crash_restores();
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, BYTES, 1));

	/* All are saved, or none: after a failure an abort restores nothing. */
	tx = start();
	ranges[20].addr = &tx;
	assert_error(EINVAL, pheap_tx_snapshotv(tx, ranges, ELEMENTS(ranges)));
	assert_ok(pheap_set(heap, &words[0], 5));
	assert_ok(pheap_tx_abort(tx));
	assert_true(words[0] == 5);
	end(1);
}

static void overlapping_snapshots(void **state)
{
	pheap_tx_t *tx;

	(void)state;
	begin();
	tx = start();
	assert_ok(pheap_tx_snapshot(tx, object, 64));
	memset(object, 1, 64);
	assert_ok(pheap_tx_snapshot(tx, object + 32, 64));
	memset(object + 32, 2, 64);
	assert_ok(pheap_tx_snapshot(tx, object + 8, 300));
	memset(object + 8, 3, 300);
	assert_ok(pheap_tx_snapshot(tx, object, BYTES));
	memset(object, 4, BYTES);
	assert_crash_restores();
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, BYTES, 1));
	assert_crash_restores();
	end(1);
}

static void allocate(void **state)
{
	static const size_t sizes[] = {16, 100, 256, 300, 5000, 100000};
	void *own[ELEMENTS(sizes)];
	pheap_t *copy;
	pheap_tx_t *tx;
	size_t i;

	(void)state;
	begin();
	assert_ok(pheap_write(heap, words,
			      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
			      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
			      48));
	tx = start();
	assert_errno(EINVAL, pheap_tx_alloc(tx, 0));
	assert_errno(ENOSPC, pheap_tx_alloc(tx, SIZE_MAX));
	for (i = 0; i < ELEMENTS(sizes); i++) {
		own[i] = assert_made(i % 2 ? pheap_tx_alloc(tx, sizes[i])
					   : pheap_tx_zalloc(tx, sizes[i]));
		if (i % 2 == 0)
			assert_true(*(char *)own[i] == 0 &&
				    !memcmp(own[i], (char *)own[i] + 1, sizes[i] - 1));
		assert_true(pheap_usable_size(heap, own[i]) >= sizes[i]);
		fill_pattern(own[i], sizes[i], 10 + i);
		assert_ok(pheap_tx_set(tx, &words[i], pheap_ref_of(heap, own[i])));
	}
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_int_equal(check_clean(copy), 1);
		close_pool(copy);
	}
	assert_ok(pheap_tx_commit(tx));
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_true(has_pattern(pheap_ptr(heap, words[i]), sizes[i], 10 + i));
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_int_equal(check_clean(copy), 1 + ELEMENTS(sizes));
		for (i = 0; i < ELEMENTS(sizes); i++)
			assert_true(has_pattern(pheap_ptr(copy, words[i]), sizes[i], 10 + i));
		close_pool(copy);
	}
	for (i = 0; i < ELEMENTS(sizes); i++)
		assert_ok(pheap_retire(heap, &words[i]));
	end(1);
}

/* A graph, bottom-up: own objects link each other at once. */
static void build_a_list(void **state)
{
	struct node {
		pheap_ref next;
		uint64_t value;
	} * node;
	pheap_ref ref = PHEAP_NULL;
	pheap_t *copy;
	pheap_tx_t *tx;
	unsigned i;

	(void)state;
	begin();
	assert_ok(pheap_set(heap, &words[0], 0));
	tx = start();
	for (i = 0; i < 100; i++) {
		node = assert_made(pheap_tx_alloc(tx, sizeof(*node)));
		assert_ok(pheap_tx_set(tx, &node->next, ref));
		assert_true(node->next == ref);
		assert_ok(pheap_tx_write(tx, &node->value, &(uint64_t){i}, 8));
		ref = pheap_ref_of(heap, node);
	}
	assert_ok(pheap_tx_set(tx, &words[0], ref));
	assert_ok(pheap_tx_commit(tx));
	copy = mode_has_file() ? crash_pool("p") : heap;
	for (ref = words[0], i = 100; ref; ref = node->next) {
		node = pheap_ptr(copy, ref);
		assert_true(node->value == --i);
	}
	assert_int_equal(i, 0);
	if (copy != heap)
		close_pool(copy);
	end(101);
}

static void allocate_and_abort(void **state)
{
	uint64_t largest;
	pheap_tx_t *tx;
	void *own[3];
	size_t i;

	(void)state;
	begin();
	largest = stats_of(heap).largest_free;
	tx = start();
	own[0] = assert_made(pheap_tx_alloc(tx, 100));
	own[1] = assert_made(pheap_tx_alloc(tx, MIB(2)));
	own[2] = assert_made(pheap_alloc(heap, 40));
	assert_ok(pheap_tx_adopt(tx, own[2]));
	assert_ok(pheap_tx_set(tx, &words[0], pheap_ref_of(heap, own[0])));
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, BYTES, 1));
	for (i = 0; i < 3; i++) {
		assert_int_equal(pheap_usable_size(heap, own[i]), 0);
		assert_error(EINVAL, pheap_free(heap, own[i]));
	}
	/* All of it may be had again. */
	assert_made(pheap_alloc(heap, largest > MIB(3) ? largest - MIB(1) : MIB(2)));
	end(1);
}

static void adopt(void **state)
{
	void *adopted;
	pheap_tx_t *tx, *other;

	(void)state;
	begin();
	adopted = assert_made(pheap_alloc(heap, 100));
	fill_pattern(adopted, 100, 5);
	tx = start();
	other = start();
	assert_ok(pheap_tx_adopt(tx, adopted));
	assert_error(EINVAL, pheap_tx_adopt(tx, adopted));
	assert_error(EINVAL, pheap_tx_adopt(other, adopted));
	assert_error(EINVAL, pheap_tx_free(other, adopted));
	assert_error(EINVAL, pheap_tx_adopt(tx, object));
	assert_error(EINVAL, pheap_tx_adopt(tx, NULL));
	assert_ok(pheap_tx_set(tx, &words[3], pheap_ref_of(heap, adopted)));
	assert_ok(pheap_tx_commit(tx));
	assert_ok(pheap_tx_abort(other));
	assert_true(has_pattern(pheap_ptr(heap, words[3]), 100, 5));
	assert_int_equal(check_clean(heap), 2);
	assert_crash_keeps();
	assert_error(EINVAL, pheap_free(heap, adopted));
	end(2);
}

static void free_in_transaction(void **state)
{
	void *own, *victim;
	pheap_tx_t *tx, *other;
	pheap_t *copy;

	(void)state;
	begin();
	assert_ok(pheap_set(heap, &words[0], 0));
	assert_ok(pheap_alloc_into(heap, &words[0], 200, NULL));
	victim = pheap_ptr(heap, words[0]);
	tx = start();
	other = start();
	/* Of its own: at once. */
	own = assert_made(pheap_tx_alloc(tx, 100));
	assert_error(EINVAL, pheap_tx_free(other, own));
	assert_ok(pheap_tx_free(tx, own));
	assert_error(EINVAL, pheap_tx_free(tx, own));
	assert_int_equal(pheap_usable_size(heap, own), 0);
	/* Published: at commit. */
	assert_ok(pheap_tx_free(tx, victim));
	assert_error(EINVAL, pheap_tx_free(tx, victim));
	assert_error(EINVAL, pheap_tx_free(other, victim));
	assert_error(EINVAL, pheap_tx_free(tx, (char *)victim + 8));
	assert_error(EINVAL, pheap_tx_free(tx, &tx));
	assert_error(EINVAL, pheap_tx_free(tx, NULL));
	assert_true(pheap_usable_size(heap, victim) >= 200);
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_int_equal(check_clean(copy), 2);
		close_pool(copy);
	}
	/* Abort: published as before. */
	assert_ok(pheap_tx_abort(tx));
	assert_int_equal(pheap_usable_size(heap, own), 0);
	assert_true(pheap_usable_size(heap, victim) >= 200);
	assert_error(EINVAL, pheap_free(heap, victim));

	assert_ok(pheap_tx_free(other, victim));
	assert_ok(pheap_tx_set(other, &words[0], PHEAP_NULL));
	assert_ok(pheap_tx_commit(other));
	assert_int_equal(pheap_usable_size(heap, victim), 0);
	assert_crash_keeps();
	end(1);
}

static void retire_in_transaction(void **state)
{
	pheap_tx_t *tx;
	pheap_ref before;

	(void)state;
	begin();
	assert_ok(pheap_set(heap, &words[0], 0));
	assert_ok(pheap_set(heap, &words[1], 0));
	assert_ok(pheap_alloc_into(heap, &words[0], 200, NULL));
	before = words[0];
	tx = start();
	assert_error(ENOENT, pheap_tx_retire(tx, &words[1]));
	assert_error(EINVAL, pheap_tx_retire(tx, &words[2])); /* a pattern */
	assert_ok(pheap_tx_retire(tx, &words[0]));
	assert_true(words[0] == before);
	assert_ok(pheap_tx_abort(tx));
	assert_true(words[0] == before);
	assert_int_equal(check_clean(heap), 2);

	tx = start();
	assert_ok(pheap_tx_retire(tx, &words[0]));
	assert_true(words[0] == before);
	assert_ok(pheap_tx_commit(tx));
	assert_true(words[0] == PHEAP_NULL);
	assert_int_equal(pheap_usable_size(heap, pheap_ptr(heap, before)), 0);
	assert_crash_keeps();
	end(1);
}

static void wrong_places(void **state)
{
	char *raw, *base, outside[64];
	pheap_tx_t *tx;

	(void)state;
	begin();
	raw = assert_made(pheap_zalloc(heap, 64));
	base = ((struct pheap_view *)heap)->base;
	tx = start();
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)outside, 1));
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)(object + 4), 1));
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)raw, 1));
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)base, 1));
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)(base + 8192), 1));
	assert_error(EINVAL, pheap_tx_set(tx, (uint64_t *)(void *)(base + POOL), 1));
	assert_error(EINVAL, pheap_tx_write(tx, outside, object, 8));
	assert_error(EINVAL, pheap_tx_write(tx, raw, object, 8));
	assert_error(EINVAL, pheap_tx_write(tx, object + BYTES - 4, outside, 8));
	assert_error(EINVAL, pheap_tx_write(tx, object, outside, POOL));
	assert_error(EINVAL, pheap_tx_write(tx, object, outside, SIZE_MAX));
	assert_error(EINVAL, pheap_tx_snapshot(tx, outside, 8));
	assert_error(EINVAL, pheap_tx_snapshot(tx, raw, 8));
	assert_error(EINVAL, pheap_tx_snapshot(tx, base, 8));
	assert_error(EINVAL, pheap_tx_snapshot(tx, object, POOL));
	assert_error(EINVAL, pheap_tx_snapshot(tx, object + 8, SIZE_MAX - 8));
	assert_error(EINVAL, pheap_tx_snapshot(tx, object + BYTES - 4, 8));
	assert_error(EINVAL, pheap_tx_snapshot(tx, NULL, 8));
	assert_error(EINVAL, pheap_tx_retire(tx, (pheap_ref *)(void *)outside));
	*(pheap_ref *)(void *)raw = pheap_ref_of(heap, object);
	assert_error(EINVAL, pheap_tx_retire(tx, (pheap_ref *)(void *)raw));
	assert_ok(pheap_tx_commit(tx));
	assert_true(has_pattern(object, BYTES, 1));
	end(1);
}

/*
 * A redo operation on bytes that another transaction has snapshotted is refused:
 * by the call, or at the latest by commit, which then aborts.
 */
#define assert_refused(tx, call)                       \
	do {                                           \
		pheap_tx_t *tx = start();              \
		int code = (call);                     \
                                                       \
		if (code)                              \
			assert_ok(pheap_tx_abort(tx)); \
		else                                   \
			code = pheap_tx_commit(tx);    \
		assert_error(EINVAL, code);            \
	} while (0)

/* Between transactions, and between them and single operations. */
static void conflicts(void **state)
{
	pheap_tx_t *tx, *other;
	void *reserved;

	(void)state;
	begin();
	assert_ok(pheap_set(heap, &words[0], 0));
	assert_ok(pheap_set(heap, &words[1], 0));
	assert_ok(pheap_alloc_into(heap, &words[1], 200, NULL));
	reserved = assert_made(pheap_alloc(heap, 100));
	tx = start();
	other = start();
	assert_ok(pheap_tx_snapshot(tx, words, 64));
	assert_error(EINVAL, pheap_tx_snapshot(other, words, 64));
	assert_error(EINVAL, pheap_tx_snapshot(other, object + 63, 10));
	assert_error(EINVAL, pheap_tx_snapshot(other, object, BYTES));
	assert_refused(late, pheap_tx_set(late, &words[7], 1));
	assert_refused(late, pheap_tx_write(late, object + 60, "0123456789", 10));
	assert_refused(late, pheap_tx_retire(late, &words[1]));
	assert_true(words[1] != PHEAP_NULL && memcmp(object + 64, "4567", 4));
	assert_error(EINVAL, pheap_set(heap, &words[0], 1));
	assert_error(EINVAL, pheap_write(heap, object + 63, "0", 1));
	assert_error(EINVAL, pheap_publish(heap, &words[0], reserved, 0));
	assert_error(EINVAL, pheap_alloc_into(heap, &words[0], 10, NULL));
	assert_error(EINVAL, pheap_retire(heap, &words[1]));
	assert_error(EINVAL, pheap_replace(heap, &words[1], reserved, 0));
	assert_error(EINVAL, pheap_resize(heap, &words[1], 5000));
	/* Right behind it: fine. */
	assert_ok(pheap_tx_snapshot(other, object + 64, 64));
	assert_ok(pheap_set(heap, &words[16], 16));
	assert_ok(pheap_tx_commit(other));
	assert_ok(pheap_tx_abort(tx));
	/* It is over. */
	assert_ok(pheap_publish(heap, &words[0], reserved, 0));
	assert_ok(pheap_retire(heap, &words[1]));
	assert_ok(pheap_set(heap, &words[7], 7));
	assert_ok(pheap_retire(heap, &words[0]));
	end(1);
}

/* Redo and undo in one: whole or not at all. */
static void mixed(void **state)
{
	pheap_tx_t *tx;
	uint64_t before;
	void *own;

	(void)state;
	begin();
	for (before = 0; before < 2; before++) {
		tx = start();
		own = assert_made(pheap_tx_zalloc(tx, 300));
		assert_ok(pheap_tx_snapshot(tx, object + 1024, 1024));
		memset(object + 1024, 7, 1024);
		assert_ok(pheap_tx_set(tx, &words[0], pheap_ref_of(heap, own)));
		assert_ok(pheap_tx_write(tx, object + 3000, "redo", 4));
		assert_crash_restores();
		if (before) {
			assert_ok(pheap_tx_commit(tx));
		} else {
			assert_ok(pheap_tx_abort(tx));
			assert_true(has_pattern(object, BYTES, 1));
			assert_crash_restores();
		}
	}
	assert_memory_equal(object + 3000, "redo", 4);
	assert_int_equal(object[1024], 7);
	assert_int_equal(object[2047], 7);
	assert_crash_keeps();
	end(2);
}

static void close_while_open(void **state)
{
	pheap_tx_t *tx;

	(void)state;
	begin();
	tx = start();
	assert_error(EBUSY, pheap_close(heap));
	assert_ok(pheap_tx_snapshot(tx, object, 10));
	assert_error(EBUSY, pheap_close(heap));
	/* The heap is open and the transaction goes on. */
	memset(object, 0, 10);
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(object, BYTES, 1));
	end(1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(set_and_write),
		cmocka_unit_test(set_and_abort),
		cmocka_unit_test(overlapping_writes),
		cmocka_unit_test(snapshot),
		cmocka_unit_test(snapshotv),
		cmocka_unit_test(overlapping_snapshots),
		cmocka_unit_test(allocate),
		cmocka_unit_test(build_a_list),
		cmocka_unit_test(allocate_and_abort),
		cmocka_unit_test(adopt),
		cmocka_unit_test(free_in_transaction),
		cmocka_unit_test(retire_in_transaction),
		cmocka_unit_test(wrong_places),
		cmocka_unit_test(conflicts),
		cmocka_unit_test(mixed),
		cmocka_unit_test(close_while_open),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
