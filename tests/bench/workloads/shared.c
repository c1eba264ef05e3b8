/*
 * shared.c - workloads of threads that give back what others took, or that end and leave
 * blocks behind.
 */
#include "workloads.h"

#include <sched.h>

/* A stack of tables of blocks that threads pass to each other. */
struct batch {
	struct batch *next;
	size_t n;
	void *block[256];
};

static struct mailbox {
	pthread_mutex_t lock;
	struct batch *first;
	unsigned n;
} __attribute__((aligned(128))) mailbox[THREADS_MAX];

static void clear_mailboxes(void)
{
	for (unsigned i = 0; i < THREADS_MAX; i++)
		mailbox[i] = (struct mailbox){.lock = PTHREAD_MUTEX_INITIALIZER};
}

/* Let the owner run where much lies there already, so that memory depends on it little. */
static void post(struct mailbox *box, struct batch *batch)
{
	bool full;

	pthread_mutex_lock(&box->lock);
	batch->next = box->first;
	box->first = batch;
	full = ++box->n > 64;
	pthread_mutex_unlock(&box->lock);
	if (full)
		sched_yield();
}

/* All that has come; give back what is in it. */
static void empty(struct worker *w, struct mailbox *box)
{
	struct batch *batch, *after;

	pthread_mutex_lock(&box->lock);
	batch = box->first;
	box->first = NULL;
	box->n = 0;
	pthread_mutex_unlock(&box->lock);
	for (; batch; batch = after) {
		after = batch->next;
		give_all(w, batch->block, batch->n);
		free(batch);
	}
}

static struct batch *new_batch(void)
{
	struct batch *batch = malloc(sizeof(*batch));

	if (!batch)
		fail("malloc gave nothing");
	batch->n = 0;
	return batch;
}

static unsigned workers_now;

static struct mailbox *neighbour(const struct worker *w)
{
	return &mailbox[(w->index + 1) % workers_now];
}

static void start(unsigned threads)
{
	workers_now = threads;
	clear_mailboxes();
}

static void finish(struct worker *w, unsigned threads)
{
	for (unsigned i = 0; i < threads; i++)
		empty(&w[0], &mailbox[i]);
}

/* ---- larson -----------------------------------------------------------------------------
 * A server: threads replace random ones of their blocks, and after some time each ends and
 * leaves its blocks to a successor. After Larson and Krishnan, Memory allocation for
 * long-running server applications, 1998.
 */
#define LARSON_BLOCKS 1000u
#define LARSON_LIVES 10u
static void *larson_block[THREADS_MAX][LARSON_BLOCKS];

static void larson_life(struct worker *w)
{
	void **block = larson_block[w->index];

	for (uint64_t n = 0; n < UINT64_C(8000) * scale_now; n++) {
		void **at = &block[below(w, LARSON_BLOCKS)];

		if (*at)
			give(w, *at);
		*at = take(w, 8 + below(w, 993));
	}
}

static void larson(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	for (unsigned life = 0; life < LARSON_LIVES; life++)
		in_threads(w, threads, larson_life);
	for (unsigned i = 0; i < threads; i++)
		give_all(&w[0], larson_block[i], LARSON_BLOCKS);
}

/* ---- sh8bench ------------------------------------------------------------------------------
 * As sh6bench in many threads; half of each batch is given back by the next thread.
 */
static void sh8bench_one(struct worker *w)
{
	void *kept[256] = {NULL};

	for (unsigned round = 0; round < 150 * scale_now; round++) {
		struct batch *away = new_batch();

		for (unsigned i = 0; i < 256; i++) {
			size_t size = i % 32 == 0 ? 1000 : 8 + (i * 13 + round) % 200;
			void *block = take(w, size);

			if (i % 2) {
				away->block[away->n++] = block;
			} else {
				if (kept[i])
					give(w, kept[i]);
				kept[i] = block;
			}
		}
		post(neighbour(w), away);
		empty(w, &mailbox[w->index]);
	}
	give_all(w, kept, 256);
}

static void sh8bench(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	start(threads);
	in_threads(w, threads, sh8bench_one);
	finish(w, threads);
}

/* ---- xmalloc ----------------------------------------------------------------------------------
 * Every block is given back by another thread than took it. After Lever and Boreham, malloc()
 * performance in a multithreaded Linux environment, 2000. With one thread both are the same.
 */
static void xmalloc_one(struct worker *w)
{
	for (unsigned round = 0; round < 200 * scale_now; round++) {
		struct batch *away = new_batch();

		while (away->n < 256)
			away->block[away->n++] = take(w, skewed(w, 4, 9));
		post(neighbour(w), away);
		empty(w, &mailbox[w->index]);
	}
}

static void xmalloc(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	start(threads);
	in_threads(w, threads, xmalloc_one);
	finish(w, threads);
}

/* ---- rptest -------------------------------------------------------------------------------------
 * Blocks of 16 to 8,000 bytes in random places; of each run of 2,000 operations some blocks go to
 * the next thread, which gives them back. As in rpmalloc's benchmark.
 */
static void rptest_one(struct worker *w)
{
	void *block[2048] = {NULL};

	for (unsigned round = 0; round < 15 * scale_now; round++) {
		struct batch *away = new_batch();

		for (unsigned n = 0; n < 2000; n++) {
			void **at = &block[below(w, 2048)];

			if (*at)
				give(w, *at);
			*at = take(w, 16 + below(w, 100) * below(w, 100) * 8 / 10);
		}
		for (unsigned i = 0; i < 100; i++) {
			void **at = &block[below(w, 2048)];

			if (*at)
				away->block[away->n++] = *at;
			*at = NULL;
		}
		post(neighbour(w), away);
		empty(w, &mailbox[w->index]);
	}
	give_all(w, block, 2048);
}

static void rptest(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	start(threads);
	in_threads(w, threads, rptest_one);
	finish(w, threads);
}

/* ---- mstress
 * -------------------------------------------------------------------------------------- Threads
 * come and go. Each builds up blocks of all sizes, some of 64 KiB and more, exchanges some of them
 * with others through places that all share, and leaves a part behind for those that come after it.
 * As in mimalloc's test-stress.
 */
#define MSTRESS_SHARED 1000u
static void *mstress_shared[MSTRESS_SHARED]; /* atomic */

static void exchange(struct worker *w, void **mine)
{
	*mine = __atomic_exchange_n(&mstress_shared[below(w, MSTRESS_SHARED)], *mine,
				    __ATOMIC_ACQ_REL);
}

static void mstress_one(struct worker *w)
{
	enum { PLACES = 4000 };
	void **block = calloc(PLACES, sizeof(*block));

	if (!block)
		fail("calloc gave nothing");
	for (unsigned n = 0; n < 20000; n++) {
		void **at = &block[below(w, PLACES)];

		if (*at)
			give(w, *at);
		*at = take(w, below(w, 500) ? skewed(w, 3, 11) : skewed(w, 14, 17));
		if (n % 8 == 0)
			exchange(w, at);
	}
	give_all(w, block, PLACES);
	free(block);
}

static void mstress(struct worker *w, unsigned threads, unsigned scale)
{
	for (unsigned round = 0; round < 2 * scale; round++)
		in_threads(w, threads, mstress_one);
	give_all(&w[0], mstress_shared, MSTRESS_SHARED);
}

/* ---- mleak
 * ------------------------------------------------------------------------------------------
 * Threads that end leave blocks, which others give back later: what a thread that is gone had
 * must be found again, or the peak of memory grows with the rounds. As in mimalloc's
 * benchmark of that name.
 */
#define MLEAK_BLOCKS 500u
static void *mleak_left[THREADS_MAX][MLEAK_BLOCKS];

static void mleak_one(struct worker *w)
{
	void **left = mleak_left[(w->index + 1) % workers_now];

	for (unsigned i = 0; i < MLEAK_BLOCKS; i++) {
		void *block = take(w, skewed(w, 4, 12));
		void *old = __atomic_exchange_n(&left[i], block, __ATOMIC_ACQ_REL);

		if (old)
			give(w, old);
		give(w, take(w, skewed(w, 4, 12)));
	}
}

static void mleak(struct worker *w, unsigned threads, unsigned scale)
{
	workers_now = threads;
	for (unsigned round = 0; round < 30 * scale; round++)
		in_threads(w, threads, mleak_one);
	for (unsigned i = 0; i < threads; i++)
		give_all(&w[0], mleak_left[i], MLEAK_BLOCKS);
}

const struct workload shared_workloads[] = {
	{"larson", larson, true}, {"sh8bench", sh8bench, true}, {"xmalloc", xmalloc, true},
	{"rptest", rptest, true}, {"mstress", mstress, true},	{"mleak", mleak, true},
	{NULL, NULL, false},
};
