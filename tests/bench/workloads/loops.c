/*
 * loops.c - workloads of threads that have nothing to do with each other.
 */
#include "workloads.h"

/* ---- glibc-simple --------------------------------------------------------------------
 * Runs of blocks of one size, given back in the order in which they were taken, then in
 * the reverse one; as in glibc's bench-malloc-simple.
 */
static void glibc_simple(struct worker *w, unsigned threads, unsigned scale)
{
	static const size_t sizes[] = {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
	static void *block[1600];
	const size_t most = sizeof(block) / sizeof(block[0]);

	(void)threads;
	for (unsigned round = 0; round < 4 * scale; round++) {
		for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			size_t n = round % 2 ? 25 : sizes[s] > 1024 ? 400 : most;

			for (size_t i = 0; i < n; i++)
				block[i] = take(w, sizes[s]);
			for (size_t i = 0; i < n; i++)
				give(w, block[round % 4 < 2 ? i : n - 1 - i]);
		}
	}
	memset(block, 0, sizeof(block));
}

/* ---- glibc-thread --------------------------------------------------------------------------
 * Each thread gives back a random one of its blocks and takes another, of a size whose
 * likelihood falls with its square; as in glibc's bench-malloc-thread.
 */
static void glibc_thread_one(struct worker *w)
{
	void *block[1024] = {NULL};

	for (uint64_t n = 0; n < UINT64_C(60000) * scale_now; n++) {
		void **at = &block[below(w, 1024)];

		if (*at)
			give(w, *at);
		*at = take(w, 4 + 4 * 32768 / (4 + below(w, 32764)));
	}
	give_all(w, block, 1024);
}

static void glibc_thread(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	in_threads(w, threads, glibc_thread_one);
}

/* ---- sh6bench ----------------------------------------------------------------------------------
 * Batches of many small and few large blocks. Of each batch every second one is given back
 * at once, in turns forwards and backwards; the others when the batch after the next is
 * there. As MicroQuill describes the benchmark of SmartHeap.
 */
#define SH_BATCH 2000u
#define SH_KEPT 3u

static size_t sh_size(unsigned i)
{
	/* 8 to 1,000 bytes, small ones most of the time. */
	return i % 50 == 0 ? 1000 : i % 10 == 0 ? 200 + i % 90 : 8 + i * 7 % 72;
}

static void sh6bench(struct worker *w, unsigned threads, unsigned scale)
{
	static void *kept[SH_KEPT][SH_BATCH];

	(void)threads;
	for (unsigned round = 0; round < 15 * scale; round++) {
		void **batch = kept[round % SH_KEPT];

		give_all(w, batch, SH_BATCH);
		for (unsigned i = 0; i < SH_BATCH; i++)
			batch[i] = take(w, sh_size(i));
		for (unsigned i = 0; i < SH_BATCH; i += 2) {
			unsigned k = round % 2 ? SH_BATCH - 1 - i : i;

			give(w, batch[k]);
			batch[k] = NULL;
		}
	}
	for (unsigned i = 0; i < SH_KEPT; i++)
		give_all(w, kept[i], SH_BATCH);
}

/* ---- alloc-test
 * ----------------------------------------------------------------------------------- Many live
 * blocks, of which some are replaced often and most seldom (the share of a place falls with its
 * index, as Pareto has it), of 8 bytes to 1 KiB; as in node-dev's alloc-test.
 */
#define ALLOC_TEST_PLACES 32768u

static void alloc_test_one(struct worker *w)
{
	void **block = calloc(ALLOC_TEST_PLACES, sizeof(*block));

	if (!block)
		fail("calloc gave nothing");
	for (uint64_t n = 0; n < UINT64_C(60000) * scale_now; n++) {
		/* The product of three even numbers is small more often than not. */
		uint64_t place = below(w, ALLOC_TEST_PLACES) * below(w, ALLOC_TEST_PLACES) /
				 ALLOC_TEST_PLACES * below(w, ALLOC_TEST_PLACES) /
				 ALLOC_TEST_PLACES;

		if (block[place]) {
			give(w, block[place]);
			block[place] = NULL;
		} else {
			block[place] = take(w, skewed(w, 3, 10));
		}
	}
	give_all(w, block, ALLOC_TEST_PLACES);
	free(block);
}

static void alloc_test(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	in_threads(w, threads, alloc_test_one);
}

/* ---- cache-thrash, cache-scratch
 * --------------------------------------------------------------------- Each thread takes a block
 * of 8 bytes, writes to it many times, and gives it back: with more threads, blocks in one cache
 * line would make each wait for the others. In cache-scratch the first blocks of all are
 * neighbours, taken by one thread; each gives its own back, and an allocator that hands it out to
 * that thread again passes the damage on. As in the Hoard paper.
 */
#define CACHE_WRITES 500u

static void write_often(void *block)
{
	volatile struct block *bytes = block;

	for (unsigned i = 0; i < CACHE_WRITES; i++)
		bytes->number = bytes->number + 1;
	bytes->number -= CACHE_WRITES;
}

/* In its own block, or where it is told. */
static void thrash(struct worker *w, void *instead)
{
	for (uint64_t n = 0; n < 2000 * scale_now; n++) {
		void *block = take(w, sizeof(struct block));

		write_often(instead ? instead : block);
		give(w, block);
	}
}

static void cache_thrash_one(struct worker *w)
{
	thrash(w, NULL);
}

static void cache_thrash(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	in_threads(w, threads, cache_thrash_one);
}

/* The control: what it would cost. Two threads write to one line, whoever allocates; if
 * that takes no more processor time than one thread, the others show nothing either. */
static void cache_control_one(struct worker *w)
{
	static struct block line[THREADS_MAX] __attribute__((aligned(64)));

	thrash(w, &line[w->index]);
}

static void cache_control(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	in_threads(w, threads, cache_control_one);
}

static void *scratch_first[THREADS_MAX];

static void cache_scratch_one(struct worker *w)
{
	write_often(scratch_first[w->index]);
	give(w, scratch_first[w->index]);
	cache_thrash_one(w);
}

static void cache_scratch(struct worker *w, unsigned threads, unsigned scale)
{
	(void)scale;
	for (unsigned i = 0; i < threads; i++)
		scratch_first[i] = take(&w[0], sizeof(struct block));
	in_threads(w, threads, cache_scratch_one);
}

const struct workload loop_workloads[] = {
	{"glibc-simple", glibc_simple, false},	{"glibc-thread", glibc_thread, true},
	{"sh6bench", sh6bench, false},		{"alloc-test", alloc_test, true},
	{"cache-thrash", cache_thrash, true},	{"cache-scratch", cache_scratch, true},
	{"cache-control", cache_control, true}, {NULL, NULL, false},
};
