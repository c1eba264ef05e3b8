/*
 * instructions.c - how many instructions an operation of this library takes, and where.
 *
 *	instructions			count them, and cycles where there are counters
 *	instructions --check		fail where an operation takes more than its limit
 *	instructions --run NAME N	do N of them; for a profiler:
 *
 *	valgrind --tool=callgrind --toggle-collect='operation_*' \
 *		build/tests/bench/instructions --run publish 10000
 *
 * They are counted one by one (step.c), so the same program always counts the same.
 * "least" is the way through the caches; "mean" is over many, with what caches refill
 * and checkpoints flush now and then. Both include libpmem, and what it takes to call
 * the operation in a loop.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <pheap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "count.h"

#define SLOTS_USED 64
#define SAMPLES 10   /* of one operation each: a step takes ten microseconds */
#define LONG_RUN 256 /* operations; more than a redo ring holds of most */

static pheap_t *heap;
static pheap_ref *slots;
static uint64_t *words; /* one of each line */
static void *large;

#define must(call)                                                                          \
	do {                                                                                \
		if (call) {                                                                 \
			fprintf(stderr, "instructions: " #call ": %s\n", pheap_errormsg()); \
			exit(1);                                                            \
		}                                                                           \
	} while (0)

static void *made(void *got)
{
	must(!got);
	return got;
}

/* ---- the operations ------------------------------------------------------------------ */

/* n times; not inlined, so that a profiler finds the name. */
#define OPERATION(name, body)                                              \
	__attribute__((noinline)) static void operation_##name(unsigned n) \
	{                                                                  \
		for (unsigned i = 0; i < n; i++) {                         \
			body;                                              \
		}                                                          \
	}

OPERATION(reserve_free, must(pheap_free(heap, made(pheap_alloc(heap, 64)))))
OPERATION(reserve_free_1m, must(pheap_free(heap, made(pheap_alloc(heap, 1 << 20)))))
OPERATION(publish, must(pheap_publish(heap, &slots[i], made(pheap_alloc(heap, 64)), 0)))
OPERATION(retire, must(pheap_retire(heap, &slots[i])))
OPERATION(set, must(pheap_set(heap, &words[8 * i], i)))
OPERATION(tx_set, pheap_tx_t *tx = made(pheap_tx_begin(heap));
	  must(pheap_tx_set(tx, &words[8 * i], i)); must(pheap_tx_commit(tx)))
OPERATION(tx_snapshot, pheap_tx_t *tx = made(pheap_tx_begin(heap));
	  must(pheap_tx_snapshot(tx, &words[8 * i], 8)); words[8 * i] = i;
	  must(pheap_tx_commit(tx)))
OPERATION(tx_alloc_link, pheap_tx_t *tx = made(pheap_tx_begin(heap));
	  uint64_t *object = made(pheap_tx_alloc(tx, 64)); *object = i;
	  must(pheap_tx_set(tx, &slots[i], pheap_ref_of(heap, object))); must(pheap_tx_commit(tx)))
OPERATION(tx_unlink_free, pheap_tx_t *tx = made(pheap_tx_begin(heap));
	  must(pheap_tx_retire(tx, &slots[i])); must(pheap_tx_commit(tx)))

/* limit: of "least". Other compilers take other numbers; so it is a third above that of
 * gcc 12, and only there to notice that something was added to the way. */
static const struct operation {
	const char *name, *what;
	void (*run)(unsigned n);
	void (*back)(unsigned n); /* undo it, so that it can be done again */
	unsigned limit;
} operations[] = {
	{"reserve_free", "pheap_alloc + pheap_free, 64 B", operation_reserve_free, NULL, 132},
	{"reserve_free_1m", "pheap_alloc + pheap_free, 1 MiB", operation_reserve_free_1m, NULL,
	 750},
	{"publish", "pheap_alloc + pheap_publish, 64 B", operation_publish, operation_retire, 1970},
	{"retire", "pheap_retire, 64 B", operation_retire, operation_publish, 1550},
	{"set", "pheap_set", operation_set, NULL, 1050},
	{"tx_set", "transaction: set a word", operation_tx_set, NULL, 1450},
	{"tx_snapshot", "transaction: snapshot a word, store to it", operation_tx_snapshot, NULL,
	 3000},
	{"tx_alloc_link", "transaction: allocate 64 B and link", operation_tx_alloc_link,
	 operation_tx_unlink_free, 2400},
	{"tx_unlink_free", "transaction: unlink and free 64 B", operation_tx_unlink_free,
	 operation_tx_alloc_link, 2000},
};

/* Do what the operation needs to find, or undo it. */
static void prepare(const struct operation *op, unsigned n)
{
	if (op->run == operation_retire || op->run == operation_tx_unlink_free)
		op->back(n);
}

static void restore(const struct operation *op, unsigned n)
{
	if (op->run == operation_publish || op->run == operation_tx_alloc_link)
		op->back(n);
}

/* ---- counting ------------------------------------------------------------------------- */

static uint64_t stepped(const struct operation *op, unsigned n)
{
	uint64_t counted;

	prepare(op, n);
	step_reset();
	step_begin();
	op->run(n);
	counted = step_end()->instructions;
	restore(op, n);
	return counted;
}

/* Instructions between the beginning of a count and its end that are not the operation's. */
static uint64_t overhead(void)
{
	static const struct operation none = {.run = operation_set};

	return stepped(&none, 0);
}

static uint64_t least(const struct operation *op)
{
	uint64_t best = UINT64_MAX, one;

	for (unsigned i = 0; i < SAMPLES; i++) {
		one = stepped(op, 1);
		if (one < best)
			best = one;
	}
	return best - overhead();
}

static double mean(const struct operation *op)
{
	uint64_t total = 0;
	unsigned n;

	for (n = 0; n < LONG_RUN; n += SLOTS_USED)
		total += stepped(op, SLOTS_USED) - overhead();
	return (double)total / n;
}

/* ---- cycles ---------------------------------------------------------------------------- */

static int open_cycles(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.disabled = 1,
		.exclude_kernel = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

/* Of one operation, of the quickest of many rounds. */
static double cycles(const struct operation *op, int fd)
{
	uint64_t best = UINT64_MAX, n;

	for (unsigned round = 0; round < 1000; round++) {
		prepare(op, SLOTS_USED);
		ioctl(fd, PERF_EVENT_IOC_RESET, 0);
		ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
		op->run(SLOTS_USED);
		ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
		restore(op, SLOTS_USED);
		if (read(fd, &n, sizeof(n)) == sizeof(n) && n < best)
			best = n;
	}
	return (double)best / SLOTS_USED;
}

/* ---- all ------------------------------------------------------------------------------- */

static void open_heap(void)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.size = MIB(32),
		.durability = PHEAP_POWER,
		.flags = PHEAP_FORCE_PMEM,
	};
	char path[] = "/dev/shm/instructions-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0) {
		perror("instructions: no file in /dev/shm");
		exit(1);
	}
	close(fd);
	unlink(path);
	heap = made(pheap_create(path, &opts));
	unlink(path); /* it stays mapped */
	must(pheap_alloc_into(heap, made(pheap_named_root(heap, "slots")),
			      SLOTS_USED * sizeof(*slots), NULL));
	slots = pheap_ptr(heap, *(pheap_ref *)pheap_named_root(heap, "slots"));
	must(pheap_alloc_into(heap, made(pheap_named_root(heap, "words")), SLOTS_USED * 64, NULL));
	words = pheap_ptr(heap, *(pheap_ref *)pheap_named_root(heap, "words"));
	/* So that a large object is found in a cache as any is later. */
	large = made(pheap_alloc(heap, 1 << 20));
	must(pheap_free(heap, large));
}

static const struct operation *find(const char *name)
{
	for (unsigned i = 0; i < ELEMENTS(operations); i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	fprintf(stderr, "instructions: no operation '%s'; there are:", name);
	for (unsigned i = 0; i < ELEMENTS(operations); i++)
		fprintf(stderr, " %s", operations[i].name);
	fputc('\n', stderr);
	exit(2);
}

static void run(const struct operation *op, unsigned n)
{
	for (unsigned done = 0; done < n; done += SLOTS_USED) {
		prepare(op, SLOTS_USED);
		op->run(SLOTS_USED);
		restore(op, SLOTS_USED);
	}
}

/* The number of operations that take too many. */
static int check_all(void)
{
	int bad = 0;

	for (unsigned i = 0; i < ELEMENTS(operations); i++) {
		const struct operation *op = &operations[i];
		uint64_t n;

		run(op, 2000); /* every page and line has been touched */
		n = least(op);
		printf("%s: %llu instructions, %s %u\n", op->what, (unsigned long long)n,
		       n > op->limit ? "MORE than" : "limit", op->limit);
		bad += n > op->limit;
	}
	return bad;
}

static void print_all(void)
{
	int fd = open_cycles(), no_cycles = errno;

	printf("operation\tleast\tmean\tcycles\twhat\n");
	for (unsigned i = 0; i < ELEMENTS(operations); i++) {
		const struct operation *op = &operations[i];

		run(op, 2000);
		printf("%s\t%llu\t%.1f\t", op->name, (unsigned long long)least(op), mean(op));
		if (fd < 0)
			printf("n/a");
		else
			printf("%.1f", cycles(op, fd));
		printf("\t%s\n", op->what);
		fflush(stdout);
	}
	if (fd < 0)
		printf("# no cycles: %s\n", strerror(no_cycles));
}

int main(int argc, char **argv)
{
	bool check = argc == 2 && !strcmp(argv[1], "--check");

#ifndef __OPTIMIZE__
	if (check) {
		fprintf(stderr, "instructions: not optimised; the limits say nothing here\n");
		return 77; /* skipped */
	}
#endif
	if (argc != 1 && !check && !(argc == 4 && !strcmp(argv[1], "--run"))) {
		fprintf(stderr, "usage: instructions [--check | --run NAME N]\n");
		return 2;
	}
	open_heap();
	if (check)
		return check_all() > 0;
	if (argc == 1)
		print_all();
	else
		run(find(argv[2]), (unsigned)strtoul(argv[3], NULL, 10));
	return 0;
}
