/*
 * child.c - one system, one row: set up, then run a repetition whenever the parent
 * asks for one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "count.h"

static struct job job;
static const struct system *self;
static const struct workload *workload;
static struct shared shared;
static struct worker workers[THREADS_MAX];

void die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "compare: %s%s%s%s", self ? self->name : "", self ? ", " : "",
		workload ? workload->name : "", workload ? ": " : "");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *harness_memory(size_t bytes, bool resident)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | (resident ? MAP_POPULATE : 0), -1, 0);

	if (memory == MAP_FAILED)
		die("no memory for %zu bytes: %s", bytes, strerror(errno));
	return memory;
}

double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* By system calls: malloc is what is being measured. */
double kept_waiting_ns(void)
{
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	char text[96], *waited = text;
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	strtoull(text, &waited, 10); /* the first number is the time that it ran */
	return (double)strtoull(waited, NULL, 10);
}

/* A field of /proc/self/smaps_rollup, which is exact where statm is not. */
static uint64_t rollup(const char *field)
{
	static char line[256]; /* no allocation here */
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	unsigned long long kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, field, strlen(field)))
			kib = strtoull(line + strlen(field), NULL, 10);
	if (file)
		fclose(file);
	return kib << 10;
}

uint64_t resident_bytes(void)
{
	return rollup("Rss:");
}

uint64_t anonymous_bytes(void)
{
	return rollup("Anonymous:");
}

uint64_t open_objects(bool quick)
{
	return quick ? 1000000 : 10000000;
}

uint64_t open_pool_size(bool quick)
{
	return quick ? MIB(512) : MIB(4096);
}

/* ---- set up ---------------------------------------------------------------------- */

static const struct pick *make_picks(unsigned stream)
{
	struct pick *picks = harness_memory(PICKS * sizeof(*picks), true);
	uint64_t state = stream + 1;

	for (unsigned i = 0; i < PICKS; i++) {
		uint64_t random = state += UINT64_C(0x9e3779b97f4a7c15);

		random = (random ^ random >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		random = (random ^ random >> 27) * UINT64_C(0x94d049bb133111eb);
		random ^= random >> 31;
		picks[i].any = (uint32_t)random;
		picks[i].size =
			job.min + (uint32_t)((random >> 32) * (job.max - job.min + 1) >> 32);
	}
	return picks;
}

static void make_worker(struct worker *w, unsigned index, const char *path)
{
	bool loops = !(workload->flags & WORK_FRESH);

	*w = (struct worker){
		.size = job.max,
		.min = job.min,
		.index = index,
		.picks = make_picks(index),
		.space = loops ? harness_memory(WORKER_SPACE, false) : NULL,
		.shared = &shared,
		.path = path,
		.quick = job.quick,
		.count = job.count,
	};
}

/* Twice what is live and more; libpmemobj allocates all of it at once. */
static uint64_t heap_size(void)
{
	if (workload->flags & WORK_NO_HEAP)
		return 0;
	if (job.workload == W_STEADY || (job.workload == W_FRAGBENCH && !job.quick))
		return MIB(512);
	return MIB(128);
}

static void set_up(void)
{
	static char path[PATH_LENGTH];
	bool heap = !(workload->flags & WORK_NO_HEAP);

	pool_path(path, job.folder, job.system, job.pool);
	for (unsigned i = 0; i < job.threads; i++)
		make_worker(&workers[i], i, path);
	shared.ring = harness_memory(MIB(1), false);
	if (self->start)
		self->start(self, path, heap_size());
	for (unsigned i = 0; self->prepare && heap && i < job.threads; i++)
		self->prepare(&workers[i]);
	if (heap)
		unlink(path); /* it stays mapped */
}

/*
 * Which file is the library that is measured? And is it the one that was asked for:
 * the loader goes on without a library that it cannot preload.
 */
static bool find_library(struct reply *reply)
{
	void *symbol = dlsym(RTLD_DEFAULT, self->symbol);
	Dl_info info = {0};

	if (symbol)
		dladdr(symbol, &info);
	if (self->preload && (!info.dli_fname || !strstr(info.dli_fname, self->preload))) {
		snprintf(reply->note, sizeof(reply->note), "%s is not installed", self->preload);
		reply->missing = true;
		return false;
	}
	if (info.dli_fname && !realpath(info.dli_fname, reply->note))
		snprintf(reply->note, sizeof(reply->note), "%s", info.dli_fname);
	return true;
}

/* ---- run -------------------------------------------------------------------------------- */

struct run {
	pthread_barrier_t barrier;
	uint64_t n;
	struct {
		double start, end, waited; /* ns */
		uint64_t done;
	} thread[THREADS_MAX];
};

static struct run run;

static void run_worker(struct worker *w)
{
	double before = kept_waiting_ns();

	run.thread[w->index].start = now_ns();
	run.thread[w->index].done = self->loops[job.workload](w, run.n);
	run.thread[w->index].end = now_ns();
	run.thread[w->index].waited = kept_waiting_ns() - before;
}

static void *run_thread(void *arg)
{
	pthread_barrier_wait(&run.barrier);
	run_worker(arg);
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS_MAX];

	pthread_barrier_init(&run.barrier, NULL, job.threads);
	for (unsigned i = 0; i < job.threads; i++)
		if (pthread_create(&threads[i], NULL, run_thread, &workers[i]))
			die("cannot make a thread");
	for (unsigned i = 0; i < job.threads; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&run.barrier);
}

/* n operations in each thread: wall time, and how many were done in all. */
static double run_once(uint64_t n, double *ops)
{
	double start, end;

	run.n = n;
	if (job.threads == 1)
		run_worker(&workers[0]);
	else
		run_threads();
	/* By the threads' own clocks: this one may have got no processor meanwhile. */
	start = run.thread[0].start;
	end = run.thread[0].end;
	*ops = 0;
	for (unsigned i = 0; i < job.threads; i++) {
		start = fmin(start, run.thread[i].start);
		end = fmax(end, run.thread[i].end);
		*ops += (double)run.thread[i].done;
	}
	return end - start;
}

/* By then an operation of WORK_WARM_UP costs about what it will go on costing. */
#define WARM_UP_OPS 200000

/*
 * How many operations take the time that a repetition should: found when the memory
 * that the loop uses has been touched once, which shows in a cost that no longer
 * falls. What never settles is measured as it is.
 */
static uint64_t calibrate(void)
{
	double wall, ops, cost = INFINITY, before, spent = 0;
	uint64_t n = 64;

	if (workload->flags & WORK_FRESH)
		return 1;
	if (workload->flags & WORK_WARM_UP)
		run_once(WARM_UP_OPS, &ops);
	do {
		before = cost;
		wall = run_once(n, &ops);
		cost = wall / ops;
		spent += wall;
		if (wall < job.target_ns / 2)
			n *= 2;
	} while (wall < job.target_ns / 4 || (cost < 0.9 * before && spent < 20 * job.target_ns));
	n = (uint64_t)(job.target_ns / cost / job.threads);
	return n ? n : 1;
}

/* In the last run. */
static double waited_part(void)
{
	double waited = 0, wall = 0;

	for (unsigned i = 0; i < job.threads; i++) {
		waited += run.thread[i].waited;
		wall += run.thread[i].end - run.thread[i].start;
	}
	return wall > 0 ? waited / wall : 0;
}

static void repetition(struct reply *reply, uint64_t n)
{
	double ops, wall;

	/* Caches have forgotten what this process was about. */
	if (!(workload->flags & WORK_FRESH))
		run_once(n / 16 + 1, &ops);
	wall = run_once(n, &ops);
	reply->waited = waited_part();
	reply->ns = workers[0].ns > 0 ? workers[0].ns : wall * job.threads / ops;
	memcpy(reply->extra, workers[0].extra, sizeof(reply->extra));
}

/* ---- count ----------------------------------------------------------------------------- */

static void read_tallies(struct tally *called, struct tally *own)
{
	static compare_calls_fn *calls;
	void *symbol = calls ? NULL : dlsym(RTLD_DEFAULT, "compare_calls");

	if (symbol)
		memcpy(&calls, &symbol, sizeof(symbol));
	if (!calls)
		die("%s was not loaded: it must lie beside this program", COMPARE_COUNT_LIBRARY);
	calls(called);
	if (self->count)
		self->count(own);
}

static struct tally tally_minus(struct tally a, struct tally b)
{
	return (struct tally){a.fences - b.fences, a.lines - b.lines};
}

static void count_calls(struct reply *reply, uint64_t n)
{
	struct tally called = {0}, own = {0}, called_after = {0}, own_after = {0};

	read_tallies(&called, &own);
	run_once(n, &reply->ops);
	read_tallies(&called_after, &own_after);
	reply->called = tally_minus(called_after, called);
	reply->own = tally_minus(own_after, own);
	reply->has_own = self->count != NULL;
}

/* Instructions to step through, at least: some tenths of a second, or less. */
static uint64_t steps_wanted(void)
{
	return !(workload->flags & WORK_DURABLE) ? 3000 : job.quick ? 6000 : 60000;
}

static void count_instructions(struct reply *reply)
{
	struct tally before = {0}, after = {0}, own = {0};
	const struct steps *steps = NULL;

	step_reset();
	read_tallies(&before, &own);
	/* In ever longer runs, so that beginning and ending one does not count for much. */
	for (uint64_t n = 1; n == 1 || steps->instructions < steps_wanted(); n *= 2) {
		step_begin();
		reply->stepped_ops += (double)self->loops[job.workload](&workers[0], n);
		steps = step_end();
	}
	read_tallies(&after, &own);
	reply->instructions = steps->instructions;
	reply->stepped = steps_tally(steps);
	reply->stepped_called = tally_minus(after, before);
	reply->flush_kinds = steps->flush_kinds;
}

/* --quick leaves out what takes seconds, and where nothing was fenced. */
static bool worth_stepping(const struct reply *reply)
{
	if (job.threads > 1 || workload->flags & (WORK_FRESH | WORK_LONG))
		return false;
	return !job.quick || (reply->called.fences && job.workload != W_TX_BATCH64);
}

static void count(struct reply *reply, uint64_t n)
{
	count_calls(reply, n);
	if (worth_stepping(reply))
		count_instructions(reply);
}

/* ---- the child ----------------------------------------------------------------------------- */

static void answer(const struct reply *reply)
{
	if (write(STDOUT_FILENO, reply, sizeof(*reply)) != sizeof(*reply))
		exit(1); /* the parent is gone */
}

int child_main(void)
{
	struct reply reply = {0};
	uint64_t n = 1;
	char order;

	if (read(STDIN_FILENO, &job, sizeof(job)) != sizeof(job))
		return 1;
	self = systems[job.system];
	workload = &workloads[job.workload];
	reply.missing = !self->loops[job.workload];
	if (find_library(&reply) && !reply.missing) {
		set_up();
		n = calibrate();
	}
	answer(&reply);
	while (read(STDIN_FILENO, &order, 1) == 1) {
		memset(&reply, 0, sizeof(reply));
		if (job.count)
			count(&reply, n);
		else
			repetition(&reply, n);
		answer(&reply);
	}
	/* No destructor: nothing is worth a clean close. */
	_exit(0);
}
