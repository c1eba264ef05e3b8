/*
 * compare.c - pheap beside libpmemobj and the usual mallocs, in one run.
 *
 *	compare [--quick] [--only W1,W2] [--systems S1,S2] [--reps N] [--plot out.svg]
 *		[--dir FOLDER]
 *
 * Prints a table with tab-separated columns on standard output, between lines that
 * begin with '#': first what it was measured on and how, last what does not fit in
 * the table and what became of the project's targets. Progress goes to standard
 * error. The exit status is 0 where all that was asked for and is installed has
 * been measured.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <pheap.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "results.h"
#include "run.h"

static struct results results = {.reps = 5};
static bool workload_chosen[WORKLOADS], system_chosen[SYSTEMS];
static bool system_missing[SYSTEMS];
static const char *plot_path, *base = "/dev/shm";
static char folder[PATH_LENGTH];
static pid_t folder_owner;
static bool failed;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("compare: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- the folder -------------------------------------------------------------------- */

static void remove_file(unsigned system, const char *what)
{
	char path[PATH_LENGTH];

	pool_path(path, folder, system, what);
	unlink(path);
}

static void remove_folder(void)
{
	struct dirent *entry;
	DIR *dir = getpid() == folder_owner ? opendir(folder) : NULL;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

/* Best effort, on the way down; children end when their pipes do. */
static void on_signal(int number)
{
	remove_folder();
	signal(number, SIG_DFL);
	raise(number);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "%.180s/compare-XXXXXX", base);
	if (!mkdtemp(folder))
		die("cannot make a folder in %s: %s; choose another one with --dir", base,
		    strerror(errno));
	folder_owner = getpid();
	atexit(remove_folder);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN); /* a child that died is noticed otherwise */
}

/* ---- one row -------------------------------------------------------------------------- */

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
	};

	/* A window for counting may be shorter than one for timing, except where
	 * checkpoints are to come out right. */
	if (count && !(flags & WORK_DURABLE))
		job.target_ns /= 10;
	snprintf(job.folder, sizeof(job.folder), "%s", folder);
	snprintf(job.pool, sizeof(job.pool), "%s",
		 row->workload == W_OPEN_CRASH	 ? "copy"
		 : row->workload == W_OPEN_CLEAN ? "open"
						 : "pool");
	return job;
}

static bool wanted(const struct row *row, unsigned system)
{
	return system_chosen[system] && !system_missing[system] &&
	       systems[system]->loops[row->workload];
}

/* Start a child; NULL in child->pid where it cannot be had. */
static void start(struct child *child, const struct job *job)
{
	if (!child_start(child, job)) {
		note("%s: %s failed", workloads[job->workload].name, systems[job->system]->name);
		failed = true;
	} else if (child->ready.missing) {
		system_missing[job->system] = true;
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

static void keep(struct cell *cell, const struct reply *reply)
{
	for (unsigned i = 0; i < EXTRAS; i++)
		cell->extra[i][cell->n] = reply->extra[i];
	cell->waited[cell->n] = reply->waited;
	cell->ns[cell->n++] = reply->ns;
}

/* Children that live through all repetitions. pairs: two for each system, with one
 * thread each, for rows of two independent threads. */
struct team {
	struct child one[SYSTEMS], pair[SYSTEMS][2];
};

static bool wants_pair(const struct row *row, unsigned system)
{
	return row->threads == 2 && workloads[row->workload].flags & WORK_INDEPENDENT &&
	       (system == S_PHEAP || system == S_PROCESS || system == S_VOLATILE);
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
		for (unsigned i = 0; i < 2 && wants_pair(row, s); i++)
			start(&team->pair[s][i], &job);
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

static void keep_pair(struct cell *cell, const struct reply *a, const struct reply *b)
{
	cell->pair_waited[cell->pairs] = (a->waited + b->waited) / 2;
	cell->pair_ns[cell->pairs++] = (a->ns + b->ns) / 2;
}

static void repeat_pair(struct child *pair, struct cell *cell)
{
	struct reply a, b;

	if (pair[0].pid <= 0 || pair[1].pid <= 0)
		return;
	if (child_order(&pair[0]) && child_order(&pair[1]) && child_answer(&pair[0], &a) &&
	    child_answer(&pair[1], &b))
		keep_pair(cell, &a, &b);
}

static void measure_floor(struct block *block)
{
	double *waited = &block->floor_waited[block->floors];

	block->floor_ns[block->floors++] = floor_sample(results.target_ns, waited);
}

static void measure_in_turn(struct block *block)
{
	struct reply reply;
	struct team team;

	start_team(&team, block->row);
	for (unsigned r = 0; r < results.reps; r++) {
		if (workloads[block->row->workload].flags & WORK_DURABLE)
			measure_floor(block);
		for (unsigned s = 0; s < SYSTEMS; s++) {
			if (team.one[s].pid > 0 && repeat(&team.one[s], &reply))
				keep(&block->cells[s], &reply);
			repeat_pair(team.pair[s], &block->cells[s]);
		}
	}
	stop_team(&team);
}

/* ---- rows that need a fresh process for each repetition --------------------------------- */

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
	struct child child = {0};
	bool done = false;

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
	struct reply reply;

	for (unsigned r = 0; r < results.reps; r++)
		for (unsigned s = 0; s < SYSTEMS; s++)
			if (ready[s] && wanted(block->row, s) &&
			    run_fresh(block->row, s, false, &reply))
				keep(&block->cells[s], &reply);
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

		if (ready[s] && cell->n && wanted(block->row, s))
			cell->counted = run_fresh(block->row, s, true, &cell->count);
	}
}

static void measure(struct block *block)
{
	bool ready[SYSTEMS];
	char size[32];

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
}

static void measure_all(void)
{
	results.blocks = calloc(row_count, sizeof(*results.blocks));
	if (!results.blocks)
		die("no memory");
	for (unsigned i = 0; i < row_count; i++) {
		results.blocks[i].row = &rows[i];
		if (workload_chosen[rows[i].workload])
			measure(&results.blocks[i]);
	}
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *name_of_workload(unsigned i)
{
	return i < W_BUILD ? workloads[i].name : NULL;
}

static const char *name_of_system(unsigned i)
{
	return i < SYSTEMS ? systems[i]->name : NULL;
}

/* Mark what a list of names, separated by commas, names. */
static void choose(char *list, const char *(*name_of)(unsigned), bool *chosen)
{
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		unsigned i = 0;

		while (name_of(i) && strcmp(name_of(i), name))
			i++;
		if (!name_of(i))
			die("'%s' is not known; --help has the names", name);
		chosen[i] = true;
	}
}

static void print_help(void)
{
	printf("Usage: compare [--quick] [--only W1,W2] [--systems S1,S2] [--reps N]\n"
	       "               [--plot out.svg] [--dir FOLDER]\n\n"
	       "  --quick    smaller counts: under a minute\n"
	       "  --only     these workloads:");
	for (unsigned i = 0; name_of_workload(i); i++)
		printf("%s %s", i % 5 ? "" : "\n            ", name_of_workload(i));
	printf("\n  --systems  these systems:\n            ");
	for (unsigned i = 0; name_of_system(i); i++)
		printf(" %s", name_of_system(i));
	printf("\n  --reps     repetitions, 5 if not given\n"
	       "  --plot     draw a chart too\n"
	       "  --dir      where pools are made: /dev/shm if not given\n");
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},	   {"only", required_argument, NULL, 'o'},
		{"systems", required_argument, NULL, 's'}, {"reps", required_argument, NULL, 'r'},
		{"plot", required_argument, NULL, 'p'},	   {"dir", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},	   {NULL, 0, NULL, 0},
	};
	bool only = false, some = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			results.quick = true;
			break;
		case 'o':
			choose(optarg, name_of_workload, workload_chosen);
			only = true;
			break;
		case 's':
			choose(optarg, name_of_system, system_chosen);
			some = true;
			break;
		case 'r':
			results.reps = (unsigned)atoi(optarg);
			if (results.reps < 1 || results.reps > REPS_MAX)
				die("--reps: 1 to %u", REPS_MAX);
			break;
		case 'p':
			plot_path = optarg;
			break;
		case 'd':
			base = optarg;
			break;
		case 'h':
			print_help();
			exit(0);
		default:
			exit(2);
		}
	}
	if (optind < argc)
		die("'%s': there are only options; see --help", argv[optind]);
	for (unsigned i = 0; i < WORKLOADS; i++)
		workload_chosen[i] |= !only;
	for (unsigned i = 0; i < SYSTEMS; i++)
		system_chosen[i] |= !some;
}

static void note_unavailable(void)
{
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (system_chosen[s] && !systems[s]->loops[W_RESERVE_PAIR])
			note("%s is skipped: this program was built without it", systems[s]->name);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--child"))
		return child_main();
	read_options(argc, argv);
	results.target_ns = results.quick ? 4e6 : 100e6;
	make_folder();
	floor_open(folder);
	note_unavailable();
	print_host(folder);
	print_legend(&results);
	measure_all();
	print_details(&results);
	print_targets(&results);
	if (plot_path && !plot(&results, plot_path))
		failed = true;
	return failed;
}
