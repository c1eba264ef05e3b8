/*
 * volbench.c - what a VOLATILE heap costs beside the time of a thread's own allocations,
 * which compare measures: memory handed to another thread, many threads, and memory.
 *
 *	volbench [--quick] [NAME]...
 *
 * Prints a line for each figure: name, what, wanted, measured, verdict. Times are medians of
 * interleaved turns. Exits with 1 where a block did not hold what was put into it, not where a
 * figure misses what is wanted.
 *
 *	handover	Two threads; one allocates 1000 objects, then either it or the other
 *			frees them, while nothing else is done. What the second way takes
 *			longer, allocation and free together, an object.
 *	threads		The same number of operations in all by 2 and by 64 threads: each
 *			frees the object in a random one of 256 slots, or allocates and
 *			touches one of 8 to 2048 bytes.
 *	thousand	1,024 threads; each fills 100 blocks of up to 1 KiB, verifies and frees
 *			half of them, and leaves the rest to the next thread to do so.
 *	memory		DRAM of a heap of 1 GiB when it is made, all that becomes resident
 *			included, and what a thread's caches take at most: what malloc has got
 *			back when threads with full magazines have ended.
 *	mixes		Three ranges of sizes: 128 MiB of objects live, as many bytes as that
 *			twice replaced at random. What of blocks was not asked for, what of slabs
 *			and large blocks is in no block, and what the heap's structures have
 *			taken of DRAM for them, as a part of the blocks.
 */
#include <malloc.h>
#include <pheap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB(n) ((uint64_t)(n) << 20)
#define TURNS 15u

static pheap_t *heap;
static bool quick;

static void fail(const char *what)
{
	fprintf(stderr, "volbench: %s: %s\n", what, pheap_errormsg());
	exit(1);
}

static pheap_t *make(uint64_t size)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .size = size, .durability = PHEAP_VOLATILE};
	pheap_t *made = pheap_create(NULL, &opts);

	if (!made)
		fail("pheap_create");
	return made;
}

static void *allocated(size_t size)
{
	void *ptr = pheap_alloc(heap, size);

	if (!ptr)
		fail("pheap_alloc");
	return ptr;
}

static void freed(void *ptr)
{
	if (pheap_free(heap, ptr))
		fail("pheap_free");
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg)) {
		fprintf(stderr, "volbench: no thread\n");
		exit(1);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

/* xorshift64*: of Marsaglia and Vigna. */
static uint64_t draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static size_t draw_size(uint64_t *state, size_t min, size_t max)
{
	return min + (size_t)(draw(state) >> 32) * (max - min + 1) / ((uint64_t)1 << 32);
}

static void say(const char *name, const char *what, char want, double limit, double measured)
{
	bool met = want == '<' ? measured <= limit : measured >= limit;

	printf("%s\t%s\t%s %g\t%.3f\t%s\n", name, what, want == '<' ? "<=" : ">=", limit, measured,
	       met ? "met" : "MISSED");
	fflush(stdout);
}

/* ---- handover -------------------------------------------------------------------------- */

#define HANDED 1000u

static struct {
	void *object[HANDED];
	unsigned turn; /* atomic: what the other thread is to do next */
	double ns;     /* that it took */
	bool end;
} hand;

static double free_all(void)
{
	double from = now();

	for (unsigned i = 0; i < HANDED; i++)
		freed(hand.object[i]);
	return now() - from;
}

static void await(unsigned turn)
{
	for (unsigned i = 1; __atomic_load_n(&hand.turn, __ATOMIC_ACQUIRE) != turn; i++) {
		__builtin_ia32_pause();
		if (i % 1024 == 0)
			sched_yield();
	}
}

static void *other_thread(void *arg)
{
	(void)arg;
	for (;;) {
		await(1);
		if (hand.end)
			return NULL;
		hand.ns = free_all();
		__atomic_store_n(&hand.turn, 0, __ATOMIC_RELEASE);
	}
}

/* Nanoseconds of one allocation and free. */
static double round_trip(size_t min, size_t max, uint64_t *random, bool handed)
{
	double from = now(), ns;

	for (unsigned i = 0; i < HANDED; i++)
		*(volatile char *)(hand.object[i] = allocated(draw_size(random, min, max))) = 1;
	ns = now() - from;
	if (!handed)
		return (ns + free_all()) / HANDED;
	__atomic_store_n(&hand.turn, 1, __ATOMIC_RELEASE);
	await(0);
	return (ns + hand.ns) / HANDED;
}

static void handover_of(size_t min, size_t max)
{
	const unsigned rounds = quick ? 50 : 4000;
	double *ns[2] = {calloc(rounds, sizeof(double)), calloc(rounds, sizeof(double))}, own,
	       handed;
	uint64_t random = 7;
	char what[100];

	if (!ns[0] || !ns[1])
		exit(1);
	for (unsigned i = 0; i < 2 * rounds; i++) {
		/* Some of each in a row, so that caches of threads come to rest. */
		bool hands = i / 16 % 2;
		unsigned at = i / 32 * 16 + i % 16;

		if (at < rounds)
			ns[hands][at] = round_trip(min, max, &random, hands);
	}
	own = median(ns[0], rounds);
	handed = median(ns[1], rounds);
	snprintf(what, sizeof(what),
		 "ns that a free by another thread adds, %zu-%zu bytes (%.1f against %.1f)", min,
		 max, handed, own);
	say("handover", what, '<', 10, handed - own);
	free(ns[0]);
	free(ns[1]);
}

static void handover(void)
{
	pthread_t thread;

	heap = make(MIB(256));
	start(&thread, other_thread, NULL);
	handover_of(64, 64);
	handover_of(8, 128);
	handover_of(129, 2048);
	hand.end = true;
	__atomic_store_n(&hand.turn, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	pheap_close(heap);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define SLOTS 256u

static pthread_barrier_t barrier;

struct share {
	uint64_t random, operations;
};

static void work(uint64_t *random, void **slots, uint64_t operations)
{
	for (uint64_t i = 0; i < operations; i++) {
		void **slot = &slots[draw(random) >> 33 & (SLOTS - 1)];

		if (*slot) {
			freed(*slot);
			*slot = NULL;
		} else {
			*slot = allocated(draw_size(random, 8, 2048));
			*(volatile char *)*slot = 1;
		}
	}
}

static void *many_operations(void *arg)
{
	struct share *share = arg;
	void *slots[SLOTS] = {NULL};

	work(&share->random, slots, SLOTS * 4); /* warm */
	pthread_barrier_wait(&barrier);
	work(&share->random, slots, share->operations);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < SLOTS; i++)
		freed(slots[i]);
	return NULL;
}

static double time_of_threads(unsigned n, uint64_t operations)
{
	struct share shares[64];
	pthread_t threads[64];
	double from;

	pthread_barrier_init(&barrier, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		shares[i] = (struct share){i + 1, operations / n};
		start(&threads[i], many_operations, &shares[i]);
	}
	pthread_barrier_wait(&barrier);
	from = now();
	pthread_barrier_wait(&barrier);
	from = now() - from;
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	return from;
}

static void many_threads(void)
{
	const uint64_t operations = quick ? 100000 : 8000000;
	double two[TURNS], many[TURNS];
	unsigned turns = quick ? 1 : TURNS;

	heap = make(MIB(512));
	for (unsigned i = 0; i < turns; i++) {
		two[i] = time_of_threads(2, operations);
		many[i] = time_of_threads(64, operations);
	}
	say("threads", "throughput of 64 threads / of 2", '>', 1,
	    median(two, turns) / median(many, turns));
	pheap_close(heap);
}

/* ---- 1,024 threads -----------------------------------------------------------------------------
 */

#define THOUSAND 1024u
#define BLOCKS 100u

struct block {
	unsigned char *ptr;
	size_t size;
};

static struct {
	struct block block[BLOCKS / 2];
	pthread_mutex_t lock;
} left[THOUSAND];
static uint64_t verified, wrong; /* atomic */

static void fill(struct block *block, uint64_t *random)
{
	block->size = draw_size(random, 1, 1024);
	block->ptr = allocated(block->size);
	memset(block->ptr, (int)(block->size * 31 + ((uintptr_t)block->ptr >> 4)), block->size);
}

static void verify(const struct block *block)
{
	unsigned char want = (unsigned char)(block->size * 31 + ((uintptr_t)block->ptr >> 4));

	for (size_t i = 0; i < block->size; i++)
		if (block->ptr[i] != want) {
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
			break;
		}
	__atomic_fetch_add(&verified, 1, __ATOMIC_RELAXED);
	freed(block->ptr);
}

static void *one_of_many(void *arg)
{
	unsigned index = (unsigned)(uintptr_t)arg;
	struct block block[BLOCKS];
	uint64_t random = index + 1;

	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < BLOCKS; i++)
		fill(&block[i], &random);
	for (unsigned i = BLOCKS / 2; i < BLOCKS; i++)
		verify(&block[i]);
	pthread_mutex_lock(&left[index].lock);
	memcpy(left[index].block, block, sizeof(left[index].block));
	pthread_mutex_unlock(&left[index].lock);
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&left[(index + 1) % THOUSAND].lock);
	for (unsigned i = 0; i < BLOCKS / 2; i++)
		verify(&left[(index + 1) % THOUSAND].block[i]);
	pthread_mutex_unlock(&left[(index + 1) % THOUSAND].lock);
	return NULL;
}

static void thousand(void)
{
	static pthread_t threads[THOUSAND];
	char what[100];

	heap = make(MIB(16384)); /* each thread has slabs of its own of each size */
	pthread_barrier_init(&barrier, NULL, THOUSAND);
	for (unsigned i = 0; i < THOUSAND; i++) {
		pthread_mutex_init(&left[i].lock, NULL);
		start(&threads[i], one_of_many, (void *)(uintptr_t)i);
	}
	for (unsigned i = 0; i < THOUSAND; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	snprintf(what, sizeof(what), "blocks of %u threads that held something else, of %llu",
		 THOUSAND, (unsigned long long)verified);
	say("thousand", what, '<', 0, (double)wrong);
	if (wrong || verified != (uint64_t)THOUSAND * BLOCKS || pheap_close(heap))
		fail("thousand");
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static uint64_t resident(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*s %lu", &pages) != 1)
		exit(1);
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* All sizes, so that magazines become as large as they may. */
static void *use_all(void *arg)
{
	void *slots[1024] = {NULL};
	uint64_t random = (uintptr_t)arg;

	for (unsigned i = 0; i < (quick ? 20000u : 400000u); i++) {
		void **slot = &slots[draw(&random) >> 33 & 1023];

		freed(*slot);
		*slot = allocated((size_t)8 << (draw(&random) >> 33) % 13);
	}
	for (unsigned i = 0; i < 1024; i++)
		freed(slots[i]);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void memory(void)
{
	enum { N = 8 };
	uint64_t before = resident(), made, full;
	pthread_t threads[N];

	heap = make(MIB(1024));
	freed(allocated(64));
	made = resident();
	say("memory", "KiB resident for a heap of 1 GiB, made and used once", '<', 1024,
	    (double)(made - before) / 1024);
	pthread_barrier_init(&barrier, NULL, N + 1);
	for (unsigned i = 0; i < N; i++)
		start(&threads[i], use_all, (void *)(uintptr_t)(i + 1));
	pthread_barrier_wait(&barrier);
	full = mallinfo2().uordblks;
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < N; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	say("memory", "KiB of a thread's caches", '<', 64,
	    (double)(full - mallinfo2().uordblks) / N / 1024);
	pheap_close(heap);
}

/* ---- mixes
 * ---------------------------------------------------------------------------------------- */

struct live {
	void *ptr;
	size_t size;
};

static uint64_t dram(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static struct pheap_space look(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	if (pheap_get_space(heap, &space))
		fail("pheap_get_space");
	return space;
}

static void mix(size_t min, size_t max)
{
	const uint64_t bytes = quick ? MIB(8) : MIB(128);
	size_t n = bytes / ((min + max) / 2);
	struct live *live = calloc(n, sizeof(*live)); /* resident before it is looked at */
	uint64_t random = min, requested = 0, before;
	struct pheap_space space;
	char what[100];

	if (!live)
		exit(1);
	before = dram();
	heap = make(bytes * 2);
	for (size_t i = 0; i < n; i++) {
		live[i].size = draw_size(&random, min, max);
		live[i].ptr = memset(allocated(live[i].size), 1, live[i].size);
		requested += live[i].size;
	}
	for (size_t i = 0; i < 2 * n; i++) {
		struct live *one = &live[draw(&random) % n];

		freed(one->ptr);
		requested -= one->size;
		one->size = draw_size(&random, min, max);
		one->ptr = allocated(one->size);
		requested += one->size;
	}
	space = look();
	snprintf(what, sizeof(what), "%% of blocks that was not asked for, %zu-%zu bytes", min,
		 max);
	say("mixes", what, '<', 7, 100 - 100 * (double)requested / (double)space.reserved);
	snprintf(what, sizeof(what), "%% of slabs and large blocks in no block, %zu-%zu bytes", min,
		 max);
	say("mixes", what, '<', 3,
	    100 - 100 * (double)space.reserved / (double)(space.total - space.free - space.logs));
	snprintf(what, sizeof(what), "DRAM of structures, %% of blocks, %zu-%zu bytes", min, max);
	say("mixes", what, '<', 5, 100 * (double)(dram() - before) / (double)space.reserved);
	pheap_close(heap);
	free(live);
}

static void mixes(void)
{
	mix(8, 128);
	mix(129, 2048);
	mix(2049, 65536);
	mix(8, 65536);
}

/* ---- all
 * -------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} figures[] = {
	/* First, before malloc has kept anything. */
	{"memory", memory},	{"handover", handover}, {"threads", many_threads},
	{"thousand", thousand}, {"mixes", mixes},
};

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

int main(int argc, char **argv)
{
	bool wanted[FIGURES] = {false}, all = true;

	for (int i = 1; i < argc; i++) {
		size_t f = 0;

		if (!strcmp(argv[i], "--quick")) {
			quick = true;
			continue;
		}
		while (f < FIGURES && strcmp(argv[i], figures[f].name) != 0)
			f++;
		if (f == FIGURES) {
			fprintf(stderr, "Usage: volbench [--quick] [memory] [handover] [threads] "
					"[thousand] [mixes]\n");
			return 2;
		}
		wanted[f] = true;
		all = false;
	}
	/* mallinfo2() knows one arena, and takes what a thread's tcache keeps for used. */
	mallopt(M_ARENA_MAX, 1);
	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
		execv("/proc/self/exe", argv);
	}
	printf("figure\twhat\twanted\tmeasured\tverdict\n");
	for (size_t f = 0; f < FIGURES; f++)
		if (all || wanted[f])
			figures[f].run();
	return 0;
}
