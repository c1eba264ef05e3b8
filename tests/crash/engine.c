/*
 * engine.c - from a scenario and a configuration to a report.
 */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POOL_SIZE (UINT64_C(8) << 20)

static const struct scenario *const all[] = {scenarios_basic,	scenarios_tx,
					     scenarios_space,	scenarios_arena,
					     scenarios_types,	scenarios_count,
					     scenarios_gc,	scenarios_pool,
					     scenarios_threads, scenarios_create,
					     scenarios_process, scenarios_msync,
					     scenarios_traced,	NULL};
const struct scenario *const *engine_tables = all;

const struct scenario *engine_scenario(unsigned i)
{
	for (unsigned t = 0; engine_tables[t]; t++)
		for (const struct scenario *s = engine_tables[t]; s->name; s++)
			if (i-- == 0)
				return s;
	return NULL;
}

const struct scenario *engine_find(const char *name)
{
	const struct scenario *s = NULL;

	for (unsigned i = 0; (s = engine_scenario(i)); i++)
		if (!strcmp(s->name, name))
			break;
	return s;
}

/* ---- one scenario ------------------------------------------------------------- */

static uint32_t scaled(const struct engine *engine, const struct scenario *scenario, double n)
{
	double value = n * engine->scale * (scenario->weight ? scenario->weight : 8) / 8;

	return value < 1 ? 1 : (uint32_t)value;
}

static uint32_t rarely(const struct engine *engine, uint32_t every, uint32_t in_long_form)
{
	every = engine->long_form ? every / in_long_form : every;
	return every ? every : 1;
}

/* Hundreds of executions that differ in little: each is looked at less. */
static struct policy schedule_policy(const struct engine *engine, const struct scenario *s)
{
	bool lengthy = engine->long_form;

	return (struct policy){
		.limits = {scaled(engine, s, lengthy ? 128 : 48),
			   scaled(engine, s, lengthy ? 8 : 3), scaled(engine, s, lengthy ? 16 : 6)},
		.nested_limits = {scaled(engine, s, 24), scaled(engine, s, 2),
				  scaled(engine, s, 4)},
		.brief = {1, 1, 1},
		.every = 1,
		.store_every = lengthy ? 8 : 24,
		.nested_every = s->nested,
		.work = 6,
		.pairs = lengthy ? 1 : 64,
		.random = scaled(engine, s, lengthy ? 2000 : 60),
		.fine = true,
	};
}

static struct policy policy_of(const struct engine *engine, const struct scenario *s)
{
	bool lengthy = engine->long_form;

	if (s->schedules)
		return schedule_policy(engine, s);
	return (struct policy){
		.limits = {scaled(engine, s, lengthy ? 4096 : 192),
			   scaled(engine, s, lengthy ? 128 : 10),
			   scaled(engine, s, lengthy ? 400 : 24)},
		.nested_limits = {scaled(engine, s, lengthy ? 512 : 48),
				  scaled(engine, s, lengthy ? 24 : 4),
				  scaled(engine, s, lengthy ? 64 : 8)},
		.brief = {1, 1, 1},
		.every = rarely(engine, s->every ? s->every : 1, 8),
		.store_every = lengthy ? 4 : 24,
		.nested_every = s->nested,
		.work = 6,
	};
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Each scenario has its own random stream, so that it does not matter which others
 * are run. */
static uint64_t seed_of(const struct engine *engine, const struct scenario *scenario)
{
	uint64_t seed = engine->seed;

	for (const char *c = scenario->name; *c; c++)
		seed = seed * 31 + (unsigned char)*c;
	return seed;
}

void engine_run(const struct engine *engine, const struct scenario *scenario, struct report *report)
{
	struct fault fault = engine->fault;
	double start = seconds();
	struct run run;
	struct rig rig;

	rig_init(&rig, scenario->name, seed_of(engine, scenario), POOL_SIZE, report);
	rig.named_seed = engine->seed;
	if (engine->long_form || engine->scale != 1)
		snprintf(rig.form, sizeof(rig.form), "%s --scale %g",
			 engine->long_form ? " --long" : "", engine->scale);
	rig.policy = policy_of(engine, scenario);
	rig.replay = engine->replay;
	rig.quiet = engine->quiet;
	rig.trace = engine->trace;
	rig.traced = !strncmp(scenario->name, "traced-", 7);
	rig.collect = !strcmp(scenario->name, "traced-collect");
	rig.typed = rig.traced || !strncmp(scenario->name, "compact", 7);
	rig.ever = engine->ever;
	if (fault.kind != FAULT_NONE) {
		fault.sim = rig.sim[0];
		rig.hook = &fault_hook;
		rig.hook_arg = &fault;
		rig.max_failures = 1;
		rig.may_fail = fault.kind == FAULT_FAIL_FENCE;
	}
	if (engine->mutated) {
		rig.max_failures = 1;
		rig.mutated = rig.sim[0]->mutated = rig.sim[1]->mutated = true;
	}
	if (engine->dry)
		rig.policy.every = rig.policy.store_every = 0;
	scenario_scale = engine->long_form ? 8 : 1;
	run_init(&run, &rig);
	(scenario->traced ? engine_find(scenario->traced) : scenario)->fn(&run);
	if (run.heap)
		oracle_verify(&run);
	report->events[0] = rig.sim[0]->fences;
	report->events[1] = rig.sim[0]->flushes;
	report->events[2] = rig.sim[0]->copies;
	run_fini(&run);
	rig_fini(&rig);
	report->seconds = seconds() - start;
}

/* ---- many ------------------------------------------------------------------------ */

struct report *engine_reports(unsigned n)
{
	void *p = mmap(NULL, n * sizeof(struct report), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

void engine_reports_free(struct report *report, unsigned n)
{
	munmap(report, n * sizeof(*report));
}

struct job {
	pid_t pid;
	unsigned index;
	uint64_t progress;
	double since; /* when it was last seen to move */
};

static void start(struct job *job, const struct engine *engine, const struct scenario *scenario,
		  unsigned index, struct report *report)
{
	fflush(NULL);
	*job = (struct job){.pid = fork(), .index = index, .since = seconds()};
	if (job->pid < 0)
		abort();
	if (job->pid)
		return;
	engine_run(engine, scenario, report);
	fflush(NULL);
	_exit(report->failures ? 1 : 0);
}

static void died(const struct scenario *scenario, struct report *report, const char *how)
{
	report->failures++;
	fprintf(stderr, "FAILED %s: %s in or after %s\n", scenario->name, how, report->where);
}

/* Has the job ended? One that hangs is ended here. */
static bool ended(struct job *job, const struct engine *engine, const struct scenario *scenario,
		  struct report *report)
{
	char how[64];
	int status;

	if (waitpid(job->pid, &status, WNOHANG) == job->pid) {
		snprintf(how, sizeof(how), "the process was ended by signal %d", WTERMSIG(status));
		if (WIFSIGNALED(status))
			died(scenario, report, how);
		return true;
	}
	if (job->progress != report->progress) {
		job->progress = report->progress;
		job->since = seconds();
	} else if (seconds() - job->since > engine->patience) {
		kill(job->pid, SIGKILL);
		waitpid(job->pid, &status, 0);
		died(scenario, report, "no progress");
		return true;
	}
	return false;
}

unsigned engine_run_all(const struct engine *engine, const struct scenario *const *list, unsigned n,
			struct report *report)
{
	const struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};
	unsigned next = 0, running = 0, failed = 0;
	struct job job[64] = {0};
	unsigned jobs = engine->jobs < 64 ? engine->jobs : 64;

	while (next < n || running) {
		for (unsigned j = 0; j < jobs; j++) {
			unsigned i = job[j].index;

			if (job[j].pid && ended(&job[j], engine, list[i], &report[i])) {
				job[j].pid = 0;
				running--;
				failed += report[i].failures != 0;
				if (!engine->brief || report[i].failures)
					report_line(stdout, list[i]->name, &report[i]);
				fflush(stdout);
			}
			if (!job[j].pid && next < n) {
				start(&job[j], engine, list[next], next, &report[next]);
				next++;
				running++;
			}
		}
		nanosleep(&nap, NULL);
	}
	return failed;
}
