/*
 * run.c - operations, crash points and their exploration.
 */
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "entropy.h"
#include "msync.h"
#include "random.h"
#include "worker.h"

typedef unsigned long long ull;

/* ---- rigs and runs ------------------------------------------------------- */

void rig_init(struct rig *rig, const char *scenario, uint64_t seed, uint64_t pool_size,
	      struct report *report)
{
	*rig = (struct rig){
		.scenario = scenario,
		.seed = seed,
		.pool_size = pool_size,
		.max_failures = 3,
		.report = report,
	};
	for (unsigned i = 0; i < RUN_DEPTHS; i++) {
		rig->sim[i] = sim_new(pool_size);
		rig->scratch[i] = scratch_new(rig->sim[i]);
	}
}

void rig_fini(struct rig *rig)
{
	for (unsigned i = 0; i < RUN_DEPTHS; i++) {
		scratch_delete(rig->scratch[i]);
		sim_delete(rig->sim[i]);
	}
	set_clear(&rig->distinct);
	set_clear(&rig->judged);
}

bool rig_done(const struct rig *rig)
{
	return rig->report->failures >= rig->max_failures;
}

static void on_event(void *arg, enum sim_event event);

void run_init(struct run *run, struct rig *rig)
{
	*run = (struct run){
		.rig = rig,
		.sim = rig->sim[0],
		.scratch = rig->scratch[0],
		.base = rig->sim[0]->work,
		.origin = rig->seed,
		.random = random_stream(rig->seed, 1),
		.op = "start",
	};
	sim_reset(run->sim, NULL);
	run_listen(run);
}

void run_listen(struct run *run)
{
	run->sim->event = on_event;
	run->sim->event_arg = run;
}

void run_fini(struct run *run)
{
	if (run->heap)
		ph_pool_abandon(run->heap);
	run->heap = NULL;
	worker_end_all(run);
	if (run->sim)
		run->sim->event = NULL;
	plan_free(&run->plan);
	model_store_clear(&run->store);
	if (run->depth == 0)
		run->rig->report->distinct = run->rig->distinct.n;
}

static void hook_of(const struct run *run, const struct ph_hook **hook, void **arg)
{
	*hook = !run->sim ? &scratch_hook : run->sim->pages ? &msync_hook : &sim_hook;
	*arg = run->sim ? (void *)run->sim : (void *)run->scratch;
	if (run->raw)
		*hook = NULL;
	if (run->depth == 0 && run->rig->hook) {
		*hook = run->rig->hook;
		*arg = run->rig->hook_arg;
	}
}

static unsigned msync_flag(const struct run *run)
{
	return run->rig->sim[0]->pages ? PHEAP_FORCE_MSYNC : 0;
}

static const struct pm_state *state_of(const struct run *run)
{
	return (const struct pm_state *)(const void *)(run->base + PM_STATE);
}

/* What the library draws by chance must not depend on what ran before. */
static void seed_library(struct run *run)
{
	entropy_seed(random_stream(run->random, ++run->opens));
}

/*
 * Records and undo entries of an earlier life are dead because their epoch is not drawn
 * again: not the one before, nor, in the work after a crash, that of the run which crashed
 * and had gone on in its own way.
 */
static void note_epoch(struct run *run, uint64_t before)
{
	uint64_t epoch = state_of(run)->epoch;

	if (epoch == before)
		run_fail(run, "open has left the epoch as it was");
	for (const struct run *r = run; r; r = r->parent)
		if (r->epoch == epoch)
			run_fail(run, "an epoch was drawn again");
	run->epoch = epoch;
}

pheap_t *run_open_heap(struct run *run)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.durability = run->process ? PHEAP_PROCESS : PHEAP_POWER,
		.flags = msync_flag(run) | (run->readonly ? PHEAP_READONLY : 0) |
			 (run->rig->collect ? PHEAP_COLLECT : 0),
	};
	uint64_t before = state_of(run)->epoch;
	const struct ph_hook *hook;
	pheap_t *heap;
	void *arg;

	hook_of(run, &hook, &arg);
	seed_library(run);
	heap = ph_pool_open_on(run->base, run->rig->pool_size, &opts, hook, arg);
	if (heap && !run->readonly)
		note_epoch(run, before);
	return heap;
}

pheap_t *run_create_heap(struct run *run)
{
	struct pheap_options opts = {.struct_size = sizeof(opts),
				     .size = run->rig->pool_size,
				     .layout = "crash",
				     .durability = PHEAP_POWER,
				     .flags = msync_flag(run) |
					      (run->rig->traced ? PHEAP_TRACED : 0)};
	const struct ph_hook *hook;
	void *arg;

	pheap_t *heap;

	hook_of(run, &hook, &arg);
	seed_library(run);
	heap = ph_pool_create_on(run->base, run->rig->pool_size, &opts, hook, arg);
	if (heap)
		note_epoch(run, 0);
	return heap;
}

bool run_empty(struct run *run)
{
	static const char zero[CHUNK];
	bool content = false;

	for (uint64_t at = 0; at < run->rig->pool_size; at += CHUNK) {
		if (!memcmp(run->base + at, zero, CHUNK))
			continue;
		content = true;
		if (!run->sim)
			scratch_user_store(run->scratch, run->base + at, zero, CHUNK);
	}
	if (run->sim)
		sim_reset(run->sim, NULL);
	return content;
}

/* ---- operations ------------------------------------------------------------- */

/* Comparing all of the memory takes as long as judging some ten images. */
#define SEEN_EVERY 8u

bool op_begin(struct run *run, const char *name, uint64_t a, uint64_t b)
{
	if (run->failed)
		return false;
	run->op = name;
	run->op_arg[0] = a;
	run->op_arg[1] = b;
	run->op_number++;
	run->op_fence = 0;
	run->next = run->now;
	run->rig->report->progress++;
	if (run->sim)
		run->op_mark = run->sim->seq;
	if (run->depth == 0)
		run->rig->report->operations++;
	return true;
}

void op_edit(struct run *run, const struct model_edit *edit)
{
	model_apply(&run->next, &run->now, &run->store, edit);
}

void op_go(struct run *run)
{
	run->in_flight = true;
}

/* Where metadata ends. */
static uint64_t data_start(const struct run *run)
{
	return ((const struct pm_zone *)(const void *)(run->base + PM_ZONE_TABLE))->data;
}

/*
 * Everything that was stored must have been reported: by the library, by run_put(),
 * or by run_absorb() for what the library stores into an object before it publishes
 * it. What a flush has found is of that last kind, too, unless it lies in metadata.
 */
static void check_seen(struct run *run)
{
	uint64_t at = run->sim->unseen_at;

	if (!run->sim->unseen || at >= data_start(run))
		at = sim_unseen(run->sim);
	run->sim->unseen = 0;
	if (at != SIM_NOWHERE)
		run_fail(run, "a store at %#llx went past the hook", (ull)at);
}

/*
 * A write-back failed. The heap is read-only from now on; whether the operation has
 * happened is in doubt, so it stays in flight, and the run ends.
 */
static void io_failed(struct run *run)
{
	if (run->heap && pheap_alloc_into(run->heap, pheap_root(run->heap), 64, NULL) >= 0)
		run_fail(run, "a write-back failed, and the heap is not read-only");
	run_crash_point(run, "when a write-back had failed");
	run->failed = true;
}

bool op_end(struct run *run, int code)
{
	if (code == -EIO && run->rig->may_fail && run->depth == 0) {
		io_failed(run);
		return false;
	}
	run->in_flight = run->mixed = false;
	if (!code)
		run->now = run->next;
	else if (!run->tolerant || code != -ENOSPC)
		run_fail(run, "%s", pheap_errormsg());
	if (run->failed || !run->sim)
		return !code && !run->failed;
	if (run->op_number % SEEN_EVERY == 0 && !run->rig->mutated)
		check_seen(run);
	run_crash_point(run, "at the end");
	return !code && !run->failed;
}

void run_put(struct run *run, void *dst, const void *src, size_t length)
{
	if (run->sim)
		sim_user_store(run->sim, dst, src, length);
	else
		scratch_user_store(run->scratch, dst, src, length);
}

void run_absorb(struct run *run, const void *addr, size_t length)
{
	if (run->sim)
		sim_absorb(run->sim, addr, length);
	else
		pageset_add(run->scratch->dirty, (uint64_t)((const char *)addr - run->base),
			    length);
}

/* ---- failures ------------------------------------------------------------------ */

static void print_place(FILE *to, const struct run *run)
{
	if (run->parent)
		print_place(to, run->parent);
	if (!run->sim)
		return;
	fprintf(to, "  %s operation %llu %s(%llu, %llu), point %llu %s, fence %llu, image %llu\n",
		run->depth ? "in the nested run:" : "crash in", (ull)run->op_number, run->op,
		(ull)run->op_arg[0], (ull)run->op_arg[1], (ull)run->point,
		run->where ? run->where : "", (ull)run->op_fence, (ull)run->image);
	if (run->note)
		fprintf(to, "  schedule: %s\n", run->note);
}

static void print_replay(FILE *to, const struct run *run)
{
	if (run->parent && run->parent->parent) {
		print_replay(to, run->parent);
		fputc('/', to);
	}
	if (run->parent)
		fprintf(to, "%llu.%llu", (ull)run->parent->point, (ull)run->parent->image);
}

static void print_failure(FILE *to, const struct run *run, const char *what)
{
	const struct rig *rig = run->rig;

	fprintf(to, "FAILED %s, seed %llu: %s\n", rig->scenario, (ull)rig->named_seed, what);
	if (!run->sim)
		fprintf(to, "  after recovery: operation %llu %s(%llu, %llu)\n",
			(ull)run->op_number, run->op, (ull)run->op_arg[0], (ull)run->op_arg[1]);
	print_place(to, run);
	if (!run->parent)
		return;
	for (const struct run *r = run->parent; r; r = r->parent)
		plan_print(&r->plan, to);
	fprintf(to, "  again: %s --seed %llu%s --replay ", program_invocation_short_name,
		(ull)rig->named_seed, rig->form);
	print_replay(to, run);
	fprintf(to, " %s\n", rig->scenario);
}

void run_fail(struct run *run, const char *format, ...)
{
	char what[512], *text = NULL;
	size_t length;
	va_list args;
	FILE *to;

	if (run->failed)
		return;
	run->failed = true;
	run->rig->report->failures++;
	if (run->rig->quiet)
		return;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	to = open_memstream(&text, &length);
	if (!to)
		abort();
	print_failure(to, run, what);
	fclose(to);
	fputs(text, stderr);
	free(text);
}

/* ---- crash points --------------------------------------------------------------- */

/* Note for the parent process where we are, in case the library takes us down. */
static void say_where(const struct run *run)
{
	const struct run *top = run->parent ? run->parent : run;

	snprintf(run->rig->report->where, sizeof(run->rig->report->where),
		 "operation %llu %s(%llu, %llu), --seed %llu%s --replay %llu.%llu",
		 (ull)top->op_number, top->op, (ull)top->op_arg[0], (ull)top->op_arg[1],
		 (ull)run->rig->named_seed, run->rig->form, (ull)top->point, (ull)top->image);
	if (run->parent) {
		size_t n = strlen(run->rig->report->where);

		snprintf(run->rig->report->where + n, sizeof(run->rig->report->where) - n,
			 "/%llu.%llu", (ull)run->point, (ull)run->image);
	}
}

static bool replaying(const struct run *run)
{
	return run->rig->replay.depth > run->depth;
}

/* The same image with the same expectation need not be judged twice. */
static bool is_new(struct run *run, uint64_t hash)
{
	struct rig *rig = run->rig;
	uint64_t context = run->nmaybe ? run->expected : run->op_number * 2 + run->in_flight;

	if (replaying(run))
		return true;
	if (run->depth)
		context ^= mix64(run->parent->point << 32 ^ run->parent->image);
	if (set_add(&rig->distinct, hash) && rig->ever)
		rig->report->unseen += shared_set_add(rig->ever, hash);
	return set_add(&rig->judged, hash ^ mix64(context));
}

static bool wants_nested(const struct run *run)
{
	const struct rig *rig = run->rig;

	if (run->depth + 1 == RUN_DEPTHS)
		return false;
	if (replaying(run))
		return true;
	return rig->policy.nested_every &&
	       random_stream(rig->seed ^ run->point, run->image) % rig->policy.nested_every == 0;
}

/* Build the image, and give its hash. */
static uint64_t build_image(struct run *run)
{
	scratch_restore(run->scratch);
	return plan_build(&run->plan, run->image, run->scratch);
}

static void try_image(struct run *run)
{
	struct rig *rig = run->rig;
	uint64_t hash = build_image(run);
	bool sound = true;

	rig->report->images++;
	rig->report->progress++;
	if (!is_new(run, hash))
		return;
	rig->report->judged++;
	say_where(run);
	if (rig->replay.depth <= run->depth + 1)
		sound = oracle_judge(run);
	if (!sound)
		scratch_verify(run->scratch);
	if (sound && wants_nested(run)) {
		build_image(run);
		oracle_nested(run);
	}
}

static void *explore(void *arg)
{
	struct run *run = arg;
	struct rig *rig = run->rig;
	const struct plan_limits *limits = run->brief	? &rig->policy.brief
					   : run->depth ? &rig->policy.nested_limits
							: &rig->policy.limits;

	plan_make(&run->plan, run->sim, limits, run->op_mark,
		  random_stream(rig->seed + run->depth, run->point));
	rig->report->points++;
	rig->report->exhaustive += run->plan.mode == PLAN_ALL;
	for (uint64_t i = 0; i < run->plan.images && !rig_done(rig); i++) {
		run->image = i;
		if (!replaying(run) || rig->replay.image[run->depth] == i)
			try_image(run);
	}
	return NULL;
}

/* It is in use with PROCESS durability: what matters is the order of its stores. */
static bool nobody_flushes(const struct run *run)
{
	return run->process && run->heap;
}

/* Every fence is crashed at, and every store that nobody flushes; other points, and many
 * images, by the policy. */
static bool chosen(struct run *run, bool at_fence)
{
	const struct rig *rig = run->rig;

	if (run->failed || run->blind || rig_done(rig))
		return false;
	if (!rig->policy.every)
		return false;
	run->brief = random_stream(rig->seed ^ 0xc4a5, run->point) % rig->policy.every != 0;
	if (replaying(run))
		return rig->replay.point[run->depth] == run->point;
	if (nobody_flushes(run))
		return run->brief = true;
	return !run->brief || (at_fence && run->depth == 0);
}

static bool explored(struct run *run, const char *where, bool at_fence)
{
	pthread_t thread;

	run->point++;
	run->where = where;
	if (!chosen(run, at_fence))
		return false;
	if (pthread_create(&thread, NULL, explore, run)) {
		run_fail(run, "cannot start a thread");
		return false;
	}
	pthread_join(thread, NULL);
	return true;
}

void run_crash_point(struct run *run, const char *where)
{
	explored(run, where, false);
}

static void fence_point(struct run *run, bool after)
{
	struct report *report = run->rig->report;
	bool counts = run->depth == 0 && !run->blind;

	if (!after) {
		run->op_fence++;
		report->fences += counts;
		run->fence_explored = explored(run, "before the fence", true);
	} else {
		run->fence_explored |= explored(run, "after the fence", false);
		report->fences_explored += counts && run->fence_explored;
	}
}

/* Numbers as a fault (fault.h) counts them. */
static void trace(const struct run *run, enum sim_event event)
{
	static const char *const name[] = {"store", "copy", "flush", "fence", NULL};
	const struct sim *sim = run->sim;
	const uint64_t number[] = {sim->stores, sim->copies, sim->flushes, sim->fences + 1};

	if (name[event])
		printf("%5llu %-16s %s %llu, %zu dirty lines, %zu words\n", (ull)run->op_number,
		       run->op, name[event], (ull)number[event] - 1, sim->ndirty, sim->nword);
}

static void on_event(void *arg, enum sim_event event)
{
	struct run *run = arg;
	uint32_t every = run->rig->policy.store_every;

	if (every && nobody_flushes(run))
		every = 1;
	if (run->rig->trace && !run->depth)
		trace(run, event);
	switch (event) {
	case SIM_FENCE:
	case SIM_FENCED:
		fence_point(run, event == SIM_FENCED);
		break;
	case SIM_STORE:
	case SIM_NT:
	case SIM_FLUSH:
		if (every && random_stream(run->rig->seed ^ 0x5704e,
					   run->sim->stores + run->sim->flushes + run->sim->seq) %
					     every ==
				     0)
			run_crash_point(run, "at a store");
		break;
	}
}
