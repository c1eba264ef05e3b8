/*
 * main.c - workloads: the usual allocator workloads, written anew from what has been
 * published about them, over malloc and free alone.
 *
 *	workloads [--threads N] [--scale N] [--verify] [NAME...]
 *	workloads --list
 *
 * Meant to be run under LD_PRELOAD; compare-workloads.py does that. For each workload a
 * line: name, threads, operations, nanoseconds of wall time by operation of one thread, the
 * same of processor time, peak of the resident set in KiB (each runs in a process of its own),
 * and a sum of what the blocks held, which is the same whatever allocates.
 */
#include "workloads.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool verify_all;
unsigned scale_now;

void fail(const char *what)
{
	fprintf(stderr, "workloads: %s\n", what);
	abort();
}

/* ---- blocks --------------------------------------------------------------------------- */

static unsigned char byte_at(const struct block *block, size_t i)
{
	return (unsigned char)(block->number * 31 + block->size + i);
}

static void fill(struct block *block)
{
	unsigned char *bytes = (unsigned char *)block;

	for (size_t i = sizeof(*block); i < block->size; i++)
		bytes[i] = byte_at(block, i);
}

static void look(const struct block *block)
{
	const unsigned char *bytes = (const unsigned char *)block;

	for (size_t i = sizeof(*block); i < block->size; i++)
		if (bytes[i] != byte_at(block, i))
			fail("a block was overwritten");
}

static uint64_t sum_of(struct block block)
{
	return (block.size + UINT64_C(1)) * (block.number * UINT64_C(0x9e3779b97f4a7c15) | 1);
}

void *take(struct worker *w, size_t size)
{
	struct block *block = malloc(size);

	if (!block)
		fail("malloc gave nothing");
	*block = (struct block){(uint32_t)size, w->number++};
	w->taken += sum_of(*block);
	if (verify_all)
		fill(block);
	else if (size > sizeof(*block))
		((unsigned char *)block)[size - 1] = (unsigned char)block->number;
	return block;
}

void give(struct worker *w, void *ptr)
{
	struct block *block = ptr;

	w->given += sum_of(*block);
	if (verify_all)
		look(block);
	else if (block->size > sizeof(*block) &&
		 ((unsigned char *)block)[block->size - 1] != (unsigned char)block->number)
		fail("the end of a block was overwritten");
	w->ops++;
	free(block);
}

/* ---- threads ----------------------------------------------------------------------------- */

struct start {
	struct worker *worker;
	void (*fn)(struct worker *);
};

static void *begin(void *arg)
{
	struct start *start = arg;

	start->fn(start->worker);
	return NULL;
}

void in_threads(struct worker *workers, unsigned threads, void (*fn)(struct worker *))
{
	pthread_t thread[THREADS_MAX];
	struct start start[THREADS_MAX];

	for (unsigned i = 0; i < threads; i++) {
		start[i] = (struct start){&workers[i], fn};
		if (pthread_create(&thread[i], NULL, begin, &start[i]))
			fail("no thread could be made");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
}

/* ---- runs ----------------------------------------------------------------------------------- */

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static double in_ns(struct timeval time)
{
	return (double)time.tv_sec * 1e9 + (double)time.tv_usec * 1e3;
}

static void run(const struct workload *load, unsigned threads)
{
	static struct worker workers[THREADS_MAX];
	uint64_t taken = 0, given = 0, ops = 0, begun, ended;
	struct rusage usage;

	for (unsigned i = 0; i < threads; i++)
		workers[i] = (struct worker){.random = i + 1, .index = i, .number = i << 26};
	begun = now();
	load->run(workers, threads, scale_now);
	ended = now();
	for (unsigned i = 0; i < threads; i++) {
		taken += workers[i].taken;
		given += workers[i].given;
		ops += workers[i].ops;
	}
	if (taken != given || !ops)
		fail("blocks were lost, or came from nowhere");
	getrusage(RUSAGE_SELF, &usage);
	printf("%s\t%u\t%llu\t%.2f\t%.2f\t%ld\t%016llx\n", load->name, threads,
	       (unsigned long long)ops, (double)(ended - begun) * threads / (double)ops,
	       (in_ns(usage.ru_utime) + in_ns(usage.ru_stime)) / (double)ops, usage.ru_maxrss,
	       (unsigned long long)taken);
	fflush(stdout);
}

/* In a process of its own, for its own peak. */
static int run_apart(const struct workload *load, unsigned threads)
{
	int status;
	pid_t child = fork();

	if (!child) {
		run(load, load->threaded ? threads : 1);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		fail("no process could be made");
	if (!status)
		return 0;
	fprintf(stderr, "workloads: %s failed\n", load->name);
	return 1;
}

static const struct workload *const all[] = {math_workloads, loop_workloads, shared_workloads};
#define GROUPS (sizeof(all) / sizeof(all[0]))

/* Those of that name, or all. Gives how many there were, and adds those that failed. */
static unsigned each(const char *name, unsigned threads, int *failed)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GROUPS; i++) {
		for (const struct workload *load = all[i]; load->name; load++) {
			if (name && strcmp(name, load->name))
				continue;
			n++;
			if (threads)
				*failed += run_apart(load, threads);
			else
				puts(load->name);
		}
	}
	return n;
}

static unsigned number(const char *text, unsigned most)
{
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	if (n < 1 || n > most) {
		fprintf(stderr, "workloads: a number from 1 to %u is missing\n", most);
		exit(2);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	unsigned threads = 1;
	int failed = 0, i;

	scale_now = 10;
	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--threads"))
			threads = number(argv[++i], THREADS_MAX);
		else if (!strcmp(argv[i], "--scale"))
			scale_now = number(argv[++i], 100000);
		else if (!strcmp(argv[i], "--verify"))
			verify_all = true;
		else if (!strcmp(argv[i], "--list"))
			threads = 0;
		else
			number(NULL, 1);
	}
	if (i == argc)
		each(NULL, threads, &failed);
	for (; i < argc; i++) {
		if (!each(argv[i], threads, &failed)) {
			fprintf(stderr, "workloads: there is no '%s'; see --list\n", argv[i]);
			return 2;
		}
	}
	return failed ? 1 : 0;
}
