/*
 * test-fuzz-open.c - a damaged pool is refused, or it opens and can be used: open,
 * recovery and every operation after it end, without a crash and without touching
 * memory outside the pool. What an operation on a damaged pool gives is not asked.
 *
 *	test-fuzz-open [seed [rounds [first]]]
 *
 * A round depends on the seed and its number alone. Rounds run in child processes; of
 * one that dies or hangs the number is printed, and the others go on.
 */
#include "damaged.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pool.h"

#define POOL DAMAGED_POOL
#define BATCH 64u      /* rounds of one child */
#define TIME_LIMIT 30u /* seconds a round; one takes milliseconds */

static unsigned rounds = 800, first_round;

static struct {
	unsigned round; /* that runs now */
	unsigned opened, refused, wrote;
} * shared;

/* ---- rounds -------------------------------------------------------------------------- */

/* A pool between two pages that cannot be touched. */
static char *guarded(void)
{
	char *map = mmap(NULL, POOL + 2 * PM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED && !mprotect(map + PM_PAGE, POOL, PROT_READ | PROT_WRITE));
	return map + PM_PAGE;
}

static void open_and_use(char *base, const char *before, struct choice *c)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	pheap_t *heap;

	if (choose(c, 8) == 0)
		opts.flags = PHEAP_READONLY;
	heap = ph_pool_open_on(base, POOL, &opts, NULL, NULL);
	if (!heap) {
		must(errno == EUCLEAN || errno == EPROTONOSUPPORT);
		must(*pheap_errormsg());
		shared->refused++;
		if (!opts.flags && memcmp(base, before, POOL))
			shared->wrote++;
		return;
	}
	shared->opened++;
	damaged_use(heap, base, c);
	if (choose(c, 4))
		must(!pheap_close(heap));
	else
		ph_pool_abandon(heap);
	heap = ph_pool_open_on(base, POOL, &opts, NULL, NULL);
	if (heap)
		pheap_close(heap);
}

static void run_round(unsigned round, char *base, char *before)
{
	struct rng rng = rng_make(UINT64_C(1) << 32 | round);
	struct choice c = {.rng = &rng};
	const char *image = damaged_images[choose(&c, DAMAGED_IMAGES)];
	struct pm_zone zone;
	struct damage d = {base, &zone, &c, choose(&c, 2), choose(&c, 2)};

	damaged_entropy(UINT64_C(2) << 32 | round);
	memcpy(base, image, POOL);
	memcpy(&zone, base + PM_ZONE_TABLE, sizeof(zone));
	damaged_change(&d);
	memcpy(before, base, POOL);
	open_and_use(base, before, &c);
}

static void run_batch(unsigned from, unsigned to)
{
	char *base = guarded(), *before = memory_new(POOL);

	for (shared->round = from; shared->round < to; shared->round++) {
		alarm(TIME_LIMIT);
		run_round(shared->round, base, before);
	}
	exit(0); /* with exit handlers: leaks are reported */
}

static void damaged_pools(void **state)
{
	unsigned end = first_round + rounds, failed = 0;

	(void)state;
	for (unsigned from = first_round; from < end;) {
		unsigned to = end - from < BATCH ? end : from + BATCH;
		int status;
		pid_t child;

		fflush(NULL);
		child = fork();
		must(child >= 0);
		if (!child)
			run_batch(from, to);
		must(waitpid(child, &status, 0) == child);
		from = to;
		if (!status)
			continue;
		failed++;
		print_error("round %u (test-fuzz-open %ju 1 %u): %s %d\n", shared->round,
			    (uintmax_t)test_seed, shared->round,
			    WIFSIGNALED(status) ? "signal" : "exit status",
			    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		if (shared->round < to)
			from = shared->round + 1;
	}
	print_message("%u rounds: %u opened, %u refused, %u of these after a store\n", rounds,
		      shared->opened, shared->refused, shared->wrote);
	assert_int_equal(failed, 0);
	/* "EUCLEAN: damaged, and nothing has been written" */
	assert_int_equal(shared->wrote, 0);
}

/* What the damage is done to is sound. */
static void undamaged_pools(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < DAMAGED_IMAGES; kind++) {
		char *copy = memory_copy(damaged_images[kind], POOL);
		pheap_t *heap = open_on(copy, POOL, NULL);

		assert_int_equal(info_of(heap).recovered, kind != DAMAGED_HEALTHY);
		/* Of an open traced pool none are counted. */
		assert_true(check_clean(heap) >= 4 || kind == DAMAGED_TRACED);
		close_pool(heap);
		memory_free(copy, POOL);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undamaged_pools),
		cmocka_unit_test(damaged_pools),
	};

	test_init(argc, argv);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		first_round = (unsigned)strtoul(argv[3], NULL, 0);
	shared = mmap(NULL, PM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	damaged_make_images();
	return cmocka_run_group_tests_name("fuzz-open", tests, NULL, NULL);
}
