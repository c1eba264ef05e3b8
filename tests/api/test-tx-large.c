/*
 * test-tx-large.c - transactions beyond the size of a ring or an undo area, many
 * at once, moved between threads, and on a full pool.
 */
#include "common.h"

#define POOL MIB(64)
#define WORDS 20000

static pheap_t *heap;
static uint64_t *words; /* WORDS of them, published in the root, zero */

static void begin(void)
{
	heap = make_pool("p", POOL);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), WORDS * 8, NULL));
	words = pheap_ptr(heap, *pheap_root(heap));
}

static void end(uint64_t objects)
{
	assert_int_equal(check_clean(heap), objects);
	close_pool(heap);
}

/* Word i is value(i) for i < n, and zero from there on. */
static void assert_words(const uint64_t *there, size_t n, uint64_t factor)
{
	size_t i;

	for (i = 0; i < WORDS; i++)
		assert_true(there[i] == (i < n ? factor * (i + 1) : 0));
}

static void assert_words_after_crash(size_t n, uint64_t factor, uint64_t objects)
{
	pheap_t *copy;

	if (!mode_has_file())
		return;
	copy = crash_pool("p");
	assert_words(pheap_ptr(copy, *pheap_root(copy)), n, factor);
	assert_int_equal(check_clean(copy), objects);
	close_pool(copy);
}

/* From one entry to far more than a ring holds. */
static void many_words(void **state)
{
	static const size_t counts[] = {1, 10, 100, 120, 130, 500, 1000, 2000, 5000, WORDS};
	pheap_tx_t *tx;
	size_t i, j;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(counts); i++) {
		tx = assert_made(pheap_tx_begin(heap));
		for (j = 0; j < counts[i]; j++)
			assert_ok(pheap_tx_set(tx, &words[j], (i + 2) * (j + 1)));
		if (i % 3 == 2) {
			assert_ok(pheap_tx_abort(tx));
			assert_words(words, counts[i - 1], i + 1);
			tx = assert_made(pheap_tx_begin(heap));
			for (j = counts[i]; j-- > 0;)
				assert_ok(pheap_tx_set(tx, &words[j], (i + 2) * (j + 1)));
		}
		assert_ok(pheap_tx_commit(tx));
		assert_words(words, counts[i], i + 2);
		assert_words_after_crash(counts[i], i + 2, 1);
	}
	end(1);
}

static void many_bytes(void **state)
{
	static char bytes[WORDS * 8];
	pheap_tx_t *tx;
	pheap_t *copy;

	(void)state;
	begin();
	fill_pattern(bytes, sizeof(bytes), 1);
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_write(tx, words, bytes, sizeof(bytes)));
	assert_words(words, 0, 0);
	assert_words_after_crash(0, 0, 1);
	assert_ok(pheap_tx_commit(tx));
	assert_true(has_pattern(words, sizeof(bytes), 1));
	if (mode_has_file()) {
		copy = crash_pool("p");
		assert_true(has_pattern(pheap_ptr(copy, *pheap_root(copy)), sizeof(bytes), 1));
		close_pool(copy);
	}
	end(1);
}

/* Thousands of objects made, then thousands freed, each in one step. */
static void many_objects(void **state)
{
	enum { COUNT = 4000 };
	pheap_tx_t *tx;
	pheap_t *copy;
	void *object;
	size_t i;

	(void)state;
	begin();
	tx = assert_made(pheap_tx_begin(heap));
	for (i = 0; i < COUNT; i++) {
		object = assert_made(pheap_tx_alloc(tx, 16 + i % 300));
		fill_pattern(object, 16 + i % 300, i);
		assert_ok(pheap_tx_set(tx, &words[i], pheap_ref_of(heap, object)));
	}
	assert_words_after_crash(0, 0, 1);
	assert_ok(pheap_tx_commit(tx));
	assert_int_equal(check_clean(heap), COUNT + 1);
	if (mode_has_file()) {
		copy = crash_pool("p");
		for (i = 0; i < COUNT; i++)
			assert_true(has_pattern(pheap_ptr(copy, words[i]), 16 + i % 300, i));
		assert_int_equal(check_clean(copy), COUNT + 1);
		close_pool(copy);
	}
	tx = assert_made(pheap_tx_begin(heap));
	for (i = 0; i < COUNT; i++)
		assert_ok(pheap_tx_retire(tx, &words[i]));
	assert_ok(pheap_tx_commit(tx));
	assert_words(words, 0, 0);
	assert_words_after_crash(0, 0, 1);
	end(1);
}

/* An undo log of megabytes, one range or many. */
static void large_undo(void **state)
{
	enum { SIZE = 5 << 20, PART = 1000 };
	pheap_ref *slot;
	unsigned round;
	pheap_t *copy;
	pheap_tx_t *tx;
	char *object;
	size_t i;

	(void)state;
	begin();
	slot = assert_made(pheap_named_root(heap, "large"));
	assert_ok(pheap_alloc_into(heap, slot, SIZE, NULL));
	object = pheap_ptr(heap, *slot);
	fill_pattern(object, SIZE, 1);
	assert_ok(pheap_persist(heap, object, SIZE));
	for (round = 0; round < 4; round++) {
		tx = assert_made(pheap_tx_begin(heap));
		if (round % 2) {
			assert_ok(pheap_tx_snapshot(tx, object, SIZE));
		} else {
			for (i = 0; i + PART <= SIZE; i += PART)
				assert_ok(pheap_tx_snapshot(tx, object + i, PART));
			assert_ok(pheap_tx_snapshot(tx, object + i, SIZE - i));
		}
		memset(object, 0x55, SIZE);
		if (mode_has_file()) {
			copy = crash_pool("p");
			assert_true(
				has_pattern(pheap_ptr(copy, pheap_ref_of(heap, object)), SIZE, 1));
			assert_int_equal(check_clean(copy), 2);
			close_pool(copy);
		}
		if (round < 2) {
			assert_ok(pheap_tx_abort(tx));
			assert_true(has_pattern(object, SIZE, 1));
			continue;
		}
		assert_ok(pheap_tx_commit(tx));
		assert_true(object[0] == 0x55 && !memcmp(object, object + 1, SIZE - 1));
		if (mode_has_file()) {
			copy = crash_pool("p");
			assert_memory_equal(pheap_ptr(copy, pheap_ref_of(heap, object)), object,
					    SIZE);
			close_pool(copy);
		}
		fill_pattern(object, SIZE, 1);
		assert_ok(pheap_persist(heap, object, SIZE));
	}
	end(2);
}

/* Far more than the undo logs of one lane, in one thread. */
static void many_at_once(void **state)
{
	enum { COUNT = 48 };
	pheap_tx_t *txs[COUNT];
	pheap_t *copy;
	uint64_t *there;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < COUNT; i++) {
		txs[i] = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(txs[i], &words[i * 10], 40));
		words[i * 10] = words[i * 10 + 4] = i + 1;
		assert_ok(pheap_tx_set(txs[i], &words[i * 10 + 5], i + 1));
	}
	assert_error(EBUSY, pheap_close(heap));
	/* Every third committed, every third aborted, the rest open at the crash. */
	for (i = 0; i < COUNT; i++)
		if (i % 3 < 2)
			assert_ok(i % 3 ? pheap_tx_abort(txs[i]) : pheap_tx_commit(txs[i]));
	copy = mode_has_file() ? crash_pool("p") : NULL;
	for (i = 0; i < COUNT; i++)
		if (i % 3 == 2)
			assert_ok(pheap_tx_abort(txs[i]));
	there = copy ? pheap_ptr(copy, *pheap_root(copy)) : words;
	for (i = 0; i < COUNT * 10; i++) {
		bool set = i / 10 % 3 == 0 && (i % 10 == 0 || i % 10 == 4 || i % 10 == 5);

		assert_true(words[i] == (set ? i / 10 + 1 : 0));
		assert_true(there[i] == words[i]);
	}
	if (copy)
		close_pool(copy);
	end(1);
}

static void *snapshot_it(void *arg)
{
	pheap_tx_t *tx = arg;

	must(!pheap_tx_snapshot(tx, words, 80));
	words[0] = 1;
	must(!pheap_tx_set(tx, &words[20], 2));
	return NULL;
}

static void *allocate_in_it(void *arg)
{
	uint64_t *own = pheap_tx_zalloc(arg, 64);

	must(own);
	own[0] = 3;
	must(!pheap_tx_set(arg, &words[21], pheap_ref_of(heap, own)));
	return NULL;
}

static void *commit_it(void *arg)
{
	must(!pheap_tx_commit(arg));
	return NULL;
}

static void *abort_it(void *arg)
{
	must(!pheap_tx_abort(arg));
	return NULL;
}

static void *begin_it(void *arg)
{
	*(pheap_tx_t **)arg = pheap_tx_begin(heap);
	return NULL;
}

/* Each step in a thread of its own, which has ended before the next. */
static void moved_between_threads(void **state)
{
	pheap_tx_t *tx;
	unsigned round;

	(void)state;
	begin();
	for (round = 0; round < 2; round++) {
		run_thread(begin_it, &tx);
		assert_non_null(tx);
		run_thread(snapshot_it, tx);
		run_thread(allocate_in_it, tx);
		assert_words_after_crash(0, 0, 1);
		if (round == 0) {
			run_thread(abort_it, tx);
			assert_words(words, 0, 0);
			continue;
		}
		run_thread(commit_it, tx);
		assert_true(words[0] == 1 && words[20] == 2);
		assert_true(*(uint64_t *)pheap_ptr(heap, words[21]) == 3);
	}
	end(2);
}

/* Allocate until nothing is left; then commit, or abort. */
static void full_inside(void **state)
{
	size_t n, first = 0, round;
	uint64_t objects;
	pheap_tx_t *tx;
	void *own;

	(void)state;
	begin();
	for (round = 0; round < 4; round++) {
		tx = assert_made(pheap_tx_begin(heap));
		for (n = 0; (own = pheap_tx_alloc(tx, 60000)); n++)
			assert_ok(pheap_tx_set(tx, &words[n], pheap_ref_of(heap, own)));
		assert_int_equal(errno, ENOSPC);
		assert_true(n > 100);
		if (round == 0)
			first = n;
		/* Within the few granules that a lane or a log may have taken. */
		assert_in_range(n, first - 16, first + 16);
		if (round % 2 == 0) {
			assert_ok(pheap_tx_abort(tx));
			assert_words(words, 0, 0);
			assert_int_equal(check_clean(heap), 1);
			continue;
		}
		assert_ok(pheap_tx_commit(tx));
		objects = check_clean(heap);
		assert_int_equal(objects, n + 1);
		while (n > 0)
			assert_ok(pheap_retire(heap, &words[--n]));
		assert_words(words, 0, 0);
	}
	end(1);
}

/* No room for the log: refused, and the transaction can go on. */
static void undo_on_full_pool(void **state)
{
	static void *fill[4 * POOL / 65536];
	pheap_ref *slot;
	pheap_tx_t *tx;
	char *object;
	size_t n;

	(void)state;
	begin();
	slot = assert_made(pheap_named_root(heap, "large"));
	assert_ok(pheap_alloc_into(heap, slot, MIB(5), NULL));
	object = pheap_ptr(heap, *slot);
	fill_pattern(object, MIB(5), 1);
	assert_ok(pheap_persist(heap, object, MIB(5)));
	n = fill_pool(heap, 65536, fill, ELEMENTS(fill));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, words, 80));
	words[3] = 4;
	assert_error(ENOSPC, pheap_tx_snapshot(tx, object, MIB(5)));
	assert_ok(pheap_tx_set(tx, &words[20], 21));
	/* Those bytes were not saved: others may write them. */
	assert_ok(pheap_set(heap, (uint64_t *)(void *)object, 1));
	assert_ok(pheap_tx_commit(tx));
	assert_true(words[3] == 4 && words[20] == 21);
	/* After frees there is room. */
	while (n > 0)
		assert_ok(pheap_free(heap, fill[--n]));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object, MIB(5)));
	memset(object, 0, MIB(5));
	assert_ok(pheap_tx_abort(tx));
	assert_true(*(uint64_t *)(void *)object == 1);
	fill_pattern(words, 8, 1);
	memcpy(object, words, 8);
	assert_true(has_pattern(object, MIB(5), 1));
	end(2);
}

/* Logs of ended transactions are not kept: nothing leaks over thousands. */
static void log_space_comes_back(void **state)
{
	uint64_t free_before = 0;
	pheap_tx_t *tx;
	unsigned i;

	(void)state;
	begin();
	for (i = 0; i < 300; i++) {
		tx = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(tx, words, WORDS * 8));
		words[i] = i;
		assert_ok(i % 2 ? pheap_tx_commit(tx) : pheap_tx_abort(tx));
		if (i == 20)
			free_before = stats_of(heap).granules_free;
	}
	/* 300 logs of 160 KB would be 48 MB of the 64. */
	assert_true(stats_of(heap).granules_free + 64 >= free_before);
	for (i = 0; i < 300; i++)
		assert_true(words[i] == (i % 2 ? i : 0));
	end(1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_words),		cmocka_unit_test(many_bytes),
		cmocka_unit_test(many_objects),		cmocka_unit_test(large_undo),
		cmocka_unit_test(many_at_once),		cmocka_unit_test(moved_between_threads),
		cmocka_unit_test(full_inside),		cmocka_unit_test(undo_on_full_pool),
		cmocka_unit_test(log_space_comes_back),
	};

	test_init(argc, argv);
	return run_modes(MODES_ALL, tests);
}
