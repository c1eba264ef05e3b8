/*
 * test-regress-settle.c - what was taken for settled and was not: a line that a
 * checkpoint left out, a range that a record was still being applied to. What a power
 * cut leaves is the least that is durable (media.h).
 */
#include "media.h"

#include <pthread.h>
#include <unistd.h>

#include "heap.h"
#include "tx/lane.h"
#include "tx/tx.h"

#define POOL MIB(32)

static char *reserve_bytes(pheap_t *heap, size_t size, char byte)
{
	char *object = assert_made(pheap_alloc(heap, size));

	memset(object, byte, size);
	return object;
}

static char *object_of(pheap_t *heap, const char *root)
{
	return pheap_ptr(heap, *(pheap_ref *)assert_made(pheap_find_root(heap, root)));
}

/* ---- a line that a checkpoint left out -------------------------------------------- */

/*
 * A resize holds the stripes of the object that it copies, and raised their stamps
 * without noting their lines. The lane's next record there found that its own record
 * was the last one, and newer than the last checkpoint: it took the line for noted,
 * and the checkpoint that declared the record dead did not flush it.
 */
static void neighbour_of_resized(void **state)
{
	struct media media;
	pheap_t *heap, *crashed;
	pheap_ref *a, *b;
	char *x, *y, *copy;

	(void)state;
	media_init(&media, POOL);
	heap = create_on(media.seen, POOL, &media);
	a = assert_made(pheap_named_root(heap, "a"));
	b = assert_made(pheap_named_root(heap, "b"));
	x = reserve_bytes(heap, 16, 'x');
	y = reserve_bytes(heap, 16, 'y');
	assert_int_equal((uintptr_t)x / PM_LINE, (uintptr_t)y / PM_LINE);
	assert_ok(pheap_publish(heap, a, x, 0));
	assert_ok(pheap_publish(heap, b, y, 0));
	assert_ok(ph_checkpoint(heap));
	assert_ok(pheap_resize(heap, a, 400));
	assert_ok(pheap_set(heap, (uint64_t *)(void *)y, 7));
	assert_ok(ph_checkpoint(heap));

	copy = memory_copy(media.durable, POOL);
	crashed = open_on(copy, POOL, NULL);
	assert_int_equal(*(uint64_t *)(void *)object_of(crashed, "b"), 7);
	close_pool(crashed);
	close_pool(heap);
	memory_free(copy, POOL);
	media_free(&media);
}

/* The same for the next object in the memory of the old one. */
static void successor_of_resized(void **state)
{
	struct media media;
	pheap_t *heap, *crashed;
	pheap_ref *a, *b;
	char *x, *copy;

	(void)state;
	media_init(&media, POOL);
	heap = create_on(media.seen, POOL, &media);
	a = assert_made(pheap_named_root(heap, "a"));
	b = assert_made(pheap_named_root(heap, "b"));
	x = reserve_bytes(heap, 64, 'x');
	assert_ok(pheap_publish(heap, a, x, 0));
	assert_ok(ph_checkpoint(heap));
	assert_ok(pheap_resize(heap, a, 400));
	assert_ptr_equal(reserve_bytes(heap, 64, 'z'), x);
	assert_ok(pheap_publish(heap, b, x, 0));
	assert_ok(ph_checkpoint(heap));

	copy = memory_copy(media.durable, POOL);
	crashed = open_on(copy, POOL, NULL);
	assert_int_equal(*object_of(crashed, "b"), 'z');
	close_pool(crashed);
	close_pool(heap);
	memory_free(copy, POOL);
	media_free(&media);
}

/* ---- a range that a record was still being applied to ------------------------------ */

static struct {
	struct media media;
	pheap_t *heap;
	pheap_ref *slot;
	uint64_t *word; /* that the same record writes after the link */
	pthread_t thread;
	bool started, done; /* atomic */
	char *copy;	    /* of what was durable when pheap_persist() had returned */
} seen;

static void *change_what_is_seen(void *arg)
{
	uint64_t *object = pheap_ptr(seen.heap, __atomic_load_n(seen.slot, __ATOMIC_ACQUIRE));

	(void)arg;
	*object = 7;
	must(!pheap_persist(seen.heap, object, sizeof(*object)));
	seen.copy = memory_copy(seen.media.durable, POOL);
	__atomic_store_n(&seen.done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* The link is there, the word behind it is not yet. */
static void seen_store(void *arg, void *dst, const void *src, size_t length)
{
	media_hook.store(arg, dst, src, length);
	if (dst != seen.word || seen.started)
		return;
	seen.started = true;
	must(!pthread_create(&seen.thread, NULL, change_what_is_seen, NULL));
	/* Now it changes the object, or waits for this thread's operation. */
	for (unsigned i = 0; i < 100 && !__atomic_load_n(&seen.done, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
}

/*
 * A record publishes an object, content and all. Another thread saw the link, changed
 * the object and made the change durable, before the first one had let go of the
 * object's stripes with the stamp of the record: the change was undone at replay.
 */
static void change_of_what_is_seen(void **state)
{
	struct ph_hook hook = media_hook;
	pheap_t *crashed;
	pheap_tx_t *tx;
	uint64_t *object;

	(void)state;
	hook.store = seen_store;
	media_init(&seen.media, POOL);
	seen.heap = create_on(seen.media.seen, POOL, &seen.media);
	seen.slot = assert_made(pheap_named_root(seen.heap, "a"));
	seen.word = assert_made(pheap_named_root(seen.heap, "b"));
	seen.heap->pm.hook = &hook;
	assert_ok(pheap_set(seen.heap, pheap_root(seen.heap), 0)); /* this thread has a lane */
	tx = assert_made(pheap_tx_begin(seen.heap));
	object = assert_made(pheap_tx_zalloc(tx, 64));
	assert_ok(pheap_tx_set(tx, seen.slot, pheap_ref_of(seen.heap, object)));
	assert_ok(pheap_tx_set(tx, seen.word, 0));
	assert_ok(pheap_tx_commit(tx));
	assert_true(seen.started);
	assert_int_equal(pthread_join(seen.thread, NULL), 0);

	crashed = open_on(seen.copy, POOL, NULL);
	assert_int_equal(*(uint64_t *)(void *)object_of(crashed, "a"), 7);
	close_pool(crashed);
	seen.heap->pm.hook = &media_hook;
	close_pool(seen.heap);
	memory_free(seen.copy, POOL);
	media_free(&seen.media);
}

/* ---- several lines of one stripe in one record ------------------------------------- */

/* Lines that share stripes: COLUMNS stripes, ROWS lines of each. */
#define ROWS 3u
#define COLUMNS 5u
#define WORDS (ROWS * COLUMNS)

static uint64_t *shared_word(char *object, unsigned i)
{
	uint64_t at = (uint64_t)(i % ROWS) * PH_STRIPES * PM_LINE + i / ROWS * PM_LINE;

	return (uint64_t *)(void *)(object + at);
}

static void assert_stripes_free(struct pheap *heap)
{
	for (unsigned i = 0; i < PH_STRIPES; i++) {
		assert_int_equal(heap->stripes[i].word & 1, 0);
		assert_false(ph_undo_open(heap, NULL, heap->stripes[i].mark));
	}
}

static void assert_durable(const struct media *media, const uint64_t *expected)
{
	char *copy = memory_copy(media->durable, POOL);
	pheap_t *crashed = open_on(copy, POOL, NULL);

	for (unsigned i = 0; i < WORDS; i++)
		assert_int_equal(*shared_word(object_of(crashed, "a"), i), expected[i]);
	close_pool(crashed);
	memory_free(copy, POOL);
}

/*
 * Records with lines of the same stripe, and of the same line, in any number and order;
 * some by way of snapshots. Each is durable when it is committed, and after a checkpoint
 * that takes the records away: every line is then on the lane's list.
 */
static void lines_of_one_stripe(void **state)
{
	struct rng rng = rng_make(4);
	uint64_t expected[WORDS] = {0};
	struct media media;
	pheap_t *heap;
	char *object;

	(void)state;
	media_init(&media, POOL);
	heap = create_on(media.seen, POOL, &media);
	object = assert_made(pheap_zalloc(heap, MIB(7)));
	assert_ok(pheap_publish(heap, assert_made(pheap_named_root(heap, "a")), object, 0));
	for (unsigned round = 0; round < 400; round++) {
		pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
		unsigned n = 1 + (unsigned)rng_below(&rng, rng_below(&rng, 4) ? 4 : 2 * WORDS);
		bool undo = !rng_below(&rng, 3);

		for (unsigned k = 0; k < n; k++) {
			unsigned i = (unsigned)rng_below(&rng, WORDS);
			uint64_t *word = shared_word(object, i);

			expected[i] = round * 1000 + k;
			if (undo) {
				assert_ok(pheap_tx_snapshot(tx, word, 8));
				*word = expected[i];
			} else {
				assert_ok(pheap_tx_set(tx, word, expected[i]));
			}
		}
		assert_ok(pheap_tx_commit(tx));
		if (!rng_below(&rng, 3))
			assert_ok(ph_checkpoint(heap));
		if (round % 10 == 9)
			assert_durable(&media, expected);
	}
	assert_stripes_free(heap);
	close_pool(heap);
	media_free(&media);
}

/* ---- a checkpoint before it is needed ----------------------------------------------- */

static void *do_nothing(void *arg)
{
	return arg;
}

/* Of several threads none waits until its ring is full; and what was settled is durable. */
static void before_the_ring_is_full(void **state)
{
	uint64_t expected[WORDS] = {0};
	struct media media;
	pthread_t thread;
	pheap_t *heap;
	char *object;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, do_nothing, NULL), 0);
	pthread_join(thread, NULL);
	media_init(&media, POOL);
	heap = create_on(media.seen, POOL, &media);
	object = assert_made(pheap_zalloc(heap, MIB(7)));
	assert_ok(pheap_publish(heap, assert_made(pheap_named_root(heap, "a")), object, 0));
	for (unsigned round = 0; round < 20; round++) {
		uint64_t begun = heap->ckpt_begun;

		for (unsigned i = 0; i < PM_RING_LINES * 3 / 4 + 1; i++) {
			expected[i % WORDS] = round * 1000 + i;
			assert_ok(pheap_set(heap, shared_word(object, i % WORDS),
					    expected[i % WORDS]));
		}
		assert_true(heap->ckpt_begun > begun);
		assert_true(heap->lanes[0]->pos - heap->lanes[0]->head < PM_RING_LINES * 3 / 4);
		assert_durable(&media, expected);
	}
	close_pool(heap);
	media_free(&media);
}

/* ---- marks ------------------------------------------------------------------------- */

#define OPEN 5u

/* What each open transaction has saved, and what all words hold. */
struct savers {
	pheap_t *heap;
	char *object;
	pheap_tx_t *tx[OPEN];
	bool saved[OPEN][WORDS];
	uint64_t old[WORDS], value[WORDS];
	struct rng rng;
};

static bool saved_by_another(const struct savers *s, unsigned own, unsigned word)
{
	for (unsigned i = 0; i < OPEN; i++)
		if (i != own && s->saved[i][word])
			return true;
	return false;
}

static void save_word(struct savers *s, unsigned own, unsigned i)
{
	uint64_t *word = shared_word(s->object, i);

	if (!s->tx[own])
		s->tx[own] = assert_made(pheap_tx_begin(s->heap));
	if (saved_by_another(s, own, i)) {
		assert_error(EINVAL, pheap_tx_snapshot(s->tx[own], word, 8));
		return;
	}
	assert_ok(pheap_tx_snapshot(s->tx[own], word, 8));
	if (!s->saved[own][i])
		s->old[i] = s->value[i];
	s->saved[own][i] = true;
	*word = s->value[i] = rng_below(&s->rng, 1 << 30);
}

static void end_saver(struct savers *s, unsigned own)
{
	bool keep = rng_below(&s->rng, 2);

	if (!s->tx[own])
		return;
	assert_ok(keep ? pheap_tx_commit(s->tx[own]) : pheap_tx_abort(s->tx[own]));
	for (unsigned i = 0; i < WORDS; i++)
		if (s->saved[own][i] && !keep)
			s->value[i] = s->old[i];
	memset(s->saved[own], 0, sizeof(s->saved[own]));
	s->tx[own] = NULL;
}

/* By a record of its own, or of a transaction. */
static void set_word(struct savers *s, unsigned i)
{
	uint64_t *word = shared_word(s->object, i), value = rng_below(&s->rng, 1 << 30);
	bool refused = saved_by_another(s, OPEN, i);
	pheap_tx_t *tx;
	int err;

	if (rng_below(&s->rng, 2)) {
		err = pheap_set(s->heap, word, value);
	} else {
		tx = assert_made(pheap_tx_begin(s->heap));
		assert_ok(pheap_tx_set(tx, word, value));
		err = pheap_tx_commit(tx);
	}
	assert_int_equal(err, refused ? -EINVAL : 0);
	if (!err)
		s->value[i] = value;
}

/*
 * Transactions that save words of the same stripes, and records that set them: what one has
 * saved is kept from all others until it ends, and not longer. Some have no number for
 * marks of their own, as if there were too many.
 */
static void marks(void **state)
{
	struct savers s = {.rng = rng_make(9)};

	(void)state;
	s.heap = make_pool("p", POOL);
	s.object = assert_made(pheap_zalloc(s.heap, MIB(7)));
	assert_ok(pheap_publish(s.heap, pheap_root(s.heap), s.object, 0));
	for (unsigned round = 0; round < 20000; round++) {
		unsigned own = (unsigned)rng_below(&s.rng, OPEN);
		unsigned word = (unsigned)rng_below(&s.rng, WORDS);

		if (rng_below(&s.rng, 8) == 0)
			end_saver(&s, own);
		else if (rng_below(&s.rng, 2))
			save_word(&s, own, word);
		else
			set_word(&s, word);
		assert_int_equal(*shared_word(s.object, word), s.value[word]);
		if (round == 10000)
			for (struct pheap_tx *tx = s.heap->txs; tx && tx->id > 2; tx = tx->next)
				tx->base = 0;
	}
	for (unsigned i = 0; i < OPEN; i++)
		end_saver(&s, i);
	for (unsigned i = 0; i < WORDS; i++) {
		uint64_t *word = shared_word(s.object, i), line = ph_off(s.heap, word) / PM_LINE;

		/* Not in a transaction: its handle's earlier marks are no reason to look. */
		assert_ok(pheap_set(s.heap, word, i));
		assert_int_equal(ph_stripe_of(s.heap, line)->mark, 0);
	}
	assert_stripes_free(s.heap);
	close_pool(s.heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbour_of_resized),	   cmocka_unit_test(successor_of_resized),
		cmocka_unit_test(change_of_what_is_seen),  cmocka_unit_test(lines_of_one_stripe),
		cmocka_unit_test(before_the_ring_is_full), cmocka_unit_test(marks),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("regress-settle", tests, NULL, NULL);
}
