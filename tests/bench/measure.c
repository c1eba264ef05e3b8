/*
 * measure.c - one row: the systems take turns, repetition by repetition, until each has
 * enough that other programs left alone, or patience is at an end. Then fences are
 * counted, in processes of their own.
 */
#include <pheap.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "results.h"
#include "run.h"

static const char *folder;
static const bool *chosen; /* systems */
static bool failed;

static struct job job_of(const struct row *row, unsigned system, bool count)
{
	unsigned flags = workloads[row->workload].flags;
	struct job job = {
		.workload = row->workload,
		.system = system,
		.min = row->min,
		.max = row->max,
		.threads = row->threads,
		.quick = results.quick,
		.count = count,
		.target_ns = results.target_ns,
		.slice_ns = results.slice_ns,
	};

	/* A window for counting may be shorter than one for timing, except where
	 * checkpoints are to come out right. */
	if (count)
		job.target_ns *= flags & WORK_DURABLE ? 4 : 0.4;
	snprintf(job.folder, sizeof(job.folder), "%s", folder);
	snprintf(job.pool, sizeof(job.pool), "%s",
		 row->workload == W_OPEN_CRASH	 ? "copy"
		 : row->workload == W_OPEN_CLEAN ? "open"
						 : "pool");
	return job;
}

static bool wanted(const struct row *row, unsigned system)
{
	return chosen[system] && !results.missing[system] && systems[system]->loops[row->workload];
}

/* Start a child; NULL in child->pid where it cannot be had. */
static void start(struct child *child, const struct job *job)
{
	if (!child_start(child, job)) {
		note("%s: %s failed", workloads[job->workload].name, systems[job->system]->name);
		failed = true;
	} else if (child->ready.missing) {
		results.missing[job->system] = true;
		note("%s is skipped: %s", systems[job->system]->name, child->ready.note);
		child_stop(child);
	} else {
		memcpy(results.library[job->system], child->ready.note, NOTE_MAX);
	}
}

/* Have a child do one repetition. */
static bool repeat(struct child *child, struct reply *reply)
{
	if (child->pid > 0 && child_order(child) && child_answer(child, reply))
		return true;
	child_stop(child);
	failed = true;
	return false;
}

static void keep(struct cell *cell, const struct reply *reply, unsigned threads)
{
	for (unsigned i = 0; i < EXTRAS; i++)
		cell->extra[i][cell->one.n] = reply->extra[i];
	series_add(&cell->one, sample_of_reply(reply, threads));
}

/* ---- rounds ------------------------------------------------------------------------- */

static unsigned reps_of(const struct row *row)
{
	bool fresh = workloads[row->workload].flags & WORK_FRESH;

	if (results.quick && workloads[row->workload].flags & WORK_NO_TIME)
		return 1;
	return fresh && results.reps > FRESH_REPS ? FRESH_REPS : results.reps;
}

/* Has it all the quiet repetitions that are wanted, or was it never measured? */
static bool complete(const struct series *series, unsigned reps)
{
	return series->n == 0 || series_quiet(series) >= reps;
}

/* Another round? begin: when the first one began. */
static bool go_on(const struct block *block, unsigned round, double begin)
{
	unsigned reps = reps_of(block->row);
	bool all = complete(&block->floor, reps);

	if (round < reps || round == ROUNDS_MAX)
		return round < reps;
	if (workloads[block->row->workload].flags & WORK_NO_TIME)
		return false;
	for (unsigned s = 0; s < SYSTEMS; s++)
		all &= complete(&block->cells[s].one, reps) &&
		       complete(&block->cells[s].pair, reps);
	return !all && now_ns() - begin < results.patience * 1e9;
}

/* Children that live through all repetitions. pairs: two for each system, with one
 * thread each, for rows of two independent threads. */
struct team {
	struct child one[SYSTEMS], pair[SYSTEMS][2];
};

static bool wants_pair(const struct row *row, unsigned system)
{
	return row->threads == 2 && workloads[row->workload].flags & WORK_INDEPENDENT &&
	       (system == S_PHEAP || system == S_VOLATILE);
}

static void start_team(struct team *team, const struct row *row)
{
	memset(team, 0, sizeof(*team));
	for (unsigned s = 0; s < SYSTEMS; s++) {
		struct job job = job_of(row, s, false);

		if (!wanted(row, s))
			continue;
		start(&team->one[s], &job);
		job.threads = 1;
		for (unsigned i = 0; i < 2 && wants_pair(row, s); i++) {
			job.processor = i + 1;
			start(&team->pair[s][i], &job);
		}
	}
}

static void stop_team(struct team *team)
{
	for (unsigned s = 0; s < SYSTEMS; s++) {
		child_stop(&team->one[s]);
		child_stop(&team->pair[s][0]);
		child_stop(&team->pair[s][1]);
	}
}

static void repeat_pair(struct child *pair, struct series *series)
{
	static struct reply a, b;
	const struct track *tracks[] = {&a.tracks[0], &b.tracks[0]};

	if (pair[0].pid <= 0 || pair[1].pid <= 0)
		return;
	if (child_order(&pair[0]) && child_order(&pair[1]) && child_answer(&pair[0], &a) &&
	    child_answer(&pair[1], &b))
		series_add(series, sample_of_tracks(tracks, 2));
}

static void one_round(struct block *block, struct team *team)
{
	static struct reply reply;

	if (workloads[block->row->workload].flags & WORK_DURABLE)
		series_add(&block->floor, floor_sample());
	for (unsigned s = 0; s < SYSTEMS; s++) {
		if (team->one[s].pid > 0 && repeat(&team->one[s], &reply))
			keep(&block->cells[s], &reply, block->row->threads);
		repeat_pair(team->pair[s], &block->cells[s].pair);
	}
}

static void measure_in_turn(struct block *block)
{
	struct team team;
	double begin;

	start_team(&team, block->row);
	begin = now_ns();
	for (unsigned round = 0; go_on(block, round, begin); round++)
		one_round(block, &team);
	stop_team(&team);
}

/* ---- rows that need a fresh process for each repetition ------------------------------- */

static void remove_file(unsigned system, const char *what)
{
	char path[PATH_LENGTH];

	pool_path(path, folder, system, what);
	unlink(path);
}

/* What a child needs to find in the folder; a crashed pool is spent by opening it. */
static bool provide(const struct row *row, unsigned system)
{
	char from[PATH_LENGTH], to[PATH_LENGTH];

	remove_file(system, "pool");
	if (row->workload != W_OPEN_CRASH)
		return true;
	pool_path(from, folder, system, "open");
	pool_path(to, folder, system, "copy");
	return copy_file(from, to);
}

static void take_away(const struct row *row, unsigned system)
{
	remove_file(system, "pool");
	if (row->workload == W_OPEN_CRASH)
		remove_file(system, "copy");
}

static bool run_fresh(const struct row *row, unsigned system, bool count, struct reply *reply)
{
	struct job job = job_of(row, system, count);
	static struct child child;
	bool done = false;

	child.pid = 0;
	if (provide(row, system))
		start(&child, &job);
	else
		failed = true;
	if (child.pid > 0)
		done = repeat(&child, reply);
	child_stop(&child);
	take_away(row, system);
	return done;
}

static void measure_fresh(struct block *block, const bool *ready)
{
	static struct reply reply;
	double begin = now_ns();

	for (unsigned round = 0; go_on(block, round, begin); round++)
		for (unsigned s = 0; s < SYSTEMS; s++)
			if (ready[s] && wanted(block->row, s) &&
			    run_fresh(block->row, s, false, &reply))
				keep(&block->cells[s], &reply, 1);
}

/* ---- pools that are opened --------------------------------------------------------------- */

static bool enough_room(void)
{
	/* Three systems, one of which needs 140 bytes for an object, and a copy. */
	uint64_t needed = open_objects(results.quick) * (65 + 65 + 2 * 140);
	struct statvfs fs;

	return !statvfs(folder, &fs) && (uint64_t)fs.f_bavail * fs.f_frsize > needed;
}

/* What a crash left, as the checker sees it. */
static void describe_crash(unsigned system)
{
	struct pheap_check_result check = {.struct_size = sizeof(check)};
	char path[PATH_LENGTH];
	int err;

	if (system == S_PMEMOBJ)
		return;
	pool_path(path, folder, system, "open");
	err = pheap_check_file(path, &check, NULL, NULL);
	printf("# open_crash %s: after kill -9 the pool holds %llu unsettled records, %llu undo "
	       "entries, %llu objects; check: %s\n",
	       systems[system]->name, (unsigned long long)check.records,
	       (unsigned long long)check.undo_entries, (unsigned long long)check.objects,
	       err ? pheap_errormsg() : "no problems");
}

/* Build the pool where it is not there yet, and crash it where it should be. */
static bool build(const struct row *row, unsigned system)
{
	static bool built[SYSTEMS];
	struct job job = job_of(row, system, false);

	snprintf(job.pool, sizeof(job.pool), "open");
	job.workload = W_BUILD;
	if (!built[system] && !child_alone(&job, false))
		return false;
	built[system] = true;
	job.workload = W_CRASH;
	if (row->workload != W_OPEN_CRASH)
		return true;
	if (!child_alone(&job, true))
		return false;
	describe_crash(system);
	return true;
}

static void build_all(const struct row *row, bool *ready)
{
	for (unsigned s = 0; s < SYSTEMS; s++) {
		ready[s] = wanted(row, s);
		if (!ready[s] || (row->workload != W_OPEN_CLEAN && row->workload != W_OPEN_CRASH))
			continue;
		if (!enough_room()) {
			note("%s is skipped: %s has too little room", workloads[row->workload].name,
			     folder);
			ready[s] = false;
		} else if (!build(row, s)) {
			note("%s: %s could not make its pool", workloads[row->workload].name,
			     systems[s]->name);
			ready[s] = false;
			failed = true;
		}
	}
}

/* ---- all ----------------------------------------------------------------------------------- */

static void count_row(struct block *block, const bool *ready)
{
	for (unsigned s = 0; s < SYSTEMS; s++) {
		struct cell *cell = &block->cells[s];

		if (ready[s] && cell->one.n && wanted(block->row, s))
			cell->counted = run_fresh(block->row, s, true, &cell->count);
	}
}

bool measure(struct block *block, const char *pools, const bool *chosen_systems)
{
	bool ready[SYSTEMS];
	char size[32];

	folder = pools;
	chosen = chosen_systems;
	failed = false;
	row_size(block->row, size, sizeof(size));
	note("%s %s, %u thread%s", workloads[block->row->workload].name, size, block->row->threads,
	     block->row->threads == 1 ? "" : "s");
	build_all(block->row, ready);
	if (workloads[block->row->workload].flags & WORK_FRESH)
		measure_fresh(block, ready);
	else
		measure_in_turn(block);
	count_row(block, ready);
	print_block(block);
	return !failed;
}
