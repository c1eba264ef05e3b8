/*
 * child.c - one system, one row: set up, then run a repetition whenever the parent
 * asks for one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
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
int open_schedstat(void)
{
	return open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

double read_schedstat(int fd)
{
	char text[96], *waited = text;
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	strtoull(text, &waited, 10); /* the first number is the time that it ran */
	return (double)strtoull(waited, NULL, 10);
}

struct timer timer_start(void)
{
	struct timer timer = {.schedstat = open_schedstat()};

	timer.waited = read_schedstat(timer.schedstat);
	timer.start = now_ns();
	return timer;
}

void timer_stop(struct timer *timer, struct worker *w)
{
	w->ns += now_ns() - timer->start;
	w->waited += read_schedstat(timer->schedstat) - timer->waited;
	close(timer->schedstat);
}

void timer_report(struct worker *w, double n)
{
	w->waited /= w->ns;
	w->ns /= n;
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
	/* 100,000 objects a thread; 1024 of 34 KiB on average, or some of 1 MiB. */
	if (job.workload == W_THREADTEST || job.workload == W_ARENA64)
		return MIB(64);
	return job.max > 4096 ? MIB(256) * job.threads : job.max > 128 ? MIB(64) : MIB(32);
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
		snprintf(reply->note, sizeof(reply->note),
			 "%s is missing; install Debian's package %s", self->preload,
			 self->package);
		reply->missing = true;
		return false;
	}
	if (info.dli_fname && !realpath(info.dli_fname, reply->note))
		snprintf(reply->note, sizeof(reply->note), "%s", info.dli_fname);
	return true;
}

/* ---- run -------------------------------------------------------------------------------- */

static struct {
	unsigned arrived;
	bool warm_up; /* with a slice that does not count */
	unsigned slices;
	uint64_t n; /* operations of a slice */
	struct track tracks[TRACKS];
} run;

static void run_worker(struct worker *w)
{
	struct track *track = &run.tracks[w->index];
	int fd = open_schedstat();
	double waited, before;

	if (run.warm_up)
		self->loops[job.workload](w, run.n);
	waited = read_schedstat(fd);
	for (track->n = 0; track->n < run.slices; track->n++) {
		struct slice *slice = &track->slices[track->n];

		slice->start = now_ns();
		slice->done = self->loops[job.workload](w, run.n);
		slice->end = now_ns();
		before = waited;
		waited = read_schedstat(fd);
		slice->waited = waited - before;
	}
	close(fd);
}

/* To the n-th of the processors that this process may use, if there are so many. */
static void pin(unsigned n)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || n-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void *run_thread(void *arg)
{
	const struct worker *w = arg;

	pin(w->index);
	/* Spinning, so that all of them have a processor when they begin. */
	__atomic_add_fetch(&run.arrived, 1, __ATOMIC_ACQ_REL);
	for (unsigned turns = 1; __atomic_load_n(&run.arrived, __ATOMIC_ACQUIRE) < job.threads;)
		if (turns++ % 1024 == 0)
			sched_yield();
	run_worker(arg);
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[TRACKS];

	run.arrived = 0;
	for (unsigned i = 0; i < job.threads; i++)
		if (pthread_create(&threads[i], NULL, run_thread, &workers[i]))
			die("cannot make a thread");
	for (unsigned i = 0; i < job.threads; i++)
		pthread_join(threads[i], NULL);
}

static void run_slices(unsigned slices, uint64_t n, bool warm_up)
{
	run.warm_up = warm_up;
	run.slices = slices;
	run.n = n;
	if (job.threads == 1)
		run_worker(&workers[0]);
	else
		run_threads();
}

/*
 * One slice of n operations in each thread: how long a thread took, not counting what
 * it waited for a processor, and how many were done in all.
 */
static double run_once(uint64_t n, double *ops)
{
	double busy = 0;

	run_slices(1, n, false);
	*ops = 0;
	for (unsigned i = 0; i < job.threads; i++) {
		const struct slice *slice = &run.tracks[i].slices[0];

		busy += fmax(slice->end - slice->start - slice->waited, 1);
		*ops += (double)slice->done;
	}
	return busy / job.threads;
}

/* By then an operation of WORK_WARM_UP costs about what it will go on costing. */
#define WARM_UP_OPS 200000

/* How a repetition is done. */
struct plan {
	unsigned slices;
	uint64_t n;   /* operations of a slice, in each thread */
	uint64_t all; /* of a repetition */
};

/* ns: of an operation, as a thread sees it. */
static struct plan plan_for(double ns)
{
	struct plan plan = {.n = (uint64_t)(job.slice_ns / ns) + 1};
	double ops, took;

	plan.all = (uint64_t)(job.target_ns / ns) + 1;
	/* A slice that is too short would measure how it begins and ends. */
	for (unsigned i = 0; i < 4; i++) {
		took = run_once(plan.n, &ops);
		if (took > 0.7 * job.slice_ns)
			break;
		plan.n = (uint64_t)((double)plan.n * fmin(4, job.slice_ns / took)) + 1;
	}
	plan.slices = (unsigned)fmin(SLICES, job.target_ns / fmax(took, job.slice_ns / 2));
	plan.slices += plan.slices == 0;
	return plan;
}

/*
 * How many operations take the time that a repetition should: found when the memory
 * that the loop uses has been touched once, which shows in a cost that no longer
 * falls. What never settles is measured as it is.
 */
static struct plan calibrate(void)
{
	double took, ops, ns = INFINITY, before, spent = 0;
	uint64_t n = 64;

	if (workload->flags & WORK_FRESH)
		return (struct plan){1, 1, 1};
	if (workload->flags & WORK_WARM_UP)
		run_once(WARM_UP_OPS, &ops);
	for (;;) {
		before = ns;
		took = run_once(n, &ops);
		ns = took / (double)n;
		spent += took;
		if (took >= job.target_ns / 4 && (ns >= 0.9 * before || spent > 20 * job.target_ns))
			return plan_for(ns);
		if (took < job.target_ns / 2)
			n *= 2;
	}
}

static void repetition(struct reply *reply, const struct plan *plan)
{
	/* Caches have forgotten what this process was about, and new threads have none. */
	run_slices(plan->slices, plan->n, !(workload->flags & WORK_FRESH));
	memcpy(reply->tracks, run.tracks, sizeof(reply->tracks));
	reply->ns = workers[0].ns;
	reply->waited = workers[0].waited;
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

/*
 * In ever longer runs. What it takes to begin and end one is in the counts of both the
 * last and the one before: the difference has the instructions of the loop alone.
 */
static void count_instructions(struct reply *reply)
{
	struct tally before = {0}, after = {0}, own = {0};
	const struct steps *steps = NULL;
	uint64_t total = 0, run = 0, last;
	double ops = 0, last_ops;

	step_reset();
	read_tallies(&before, &own);
	for (uint64_t n = 1; total < steps_wanted(); n *= 2) {
		last = run;
		last_ops = ops;
		step_begin();
		ops = (double)self->loops[job.workload](&workers[0], n);
		steps = step_end();
		run = steps->instructions - total;
		total = steps->instructions;
		reply->stepped_ops += ops;
		if (ops > last_ops)
			reply->instructions = ((double)run - (double)last) / (ops - last_ops);
	}
	read_tallies(&after, &own);
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
	if (workers[0].afterwards)
		workers[0].afterwards(&workers[0]);
	memcpy(reply->extra, workers[0].extra, sizeof(reply->extra));
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
	struct plan plan = {1, 1, 1};
	char order;

	if (read(STDIN_FILENO, &job, sizeof(job)) != sizeof(job))
		return 1;
	self = systems[job.system];
	workload = &workloads[job.workload];
	reply.missing = !self->loops[job.workload];
	if (job.processor)
		pin(job.processor - 1);
	if (find_library(&reply) && !reply.missing) {
		set_up();
		plan = calibrate();
	}
	answer(&reply);
	while (read(STDIN_FILENO, &order, 1) == 1) {
		memset(&reply, 0, sizeof(reply));
		if (job.count)
			count(&reply, plan.all);
		else
			repetition(&reply, &plan);
		answer(&reply);
	}
	/* No destructor: nothing is worth a clean close. */
	_exit(0);
}
