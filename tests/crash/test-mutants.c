/*
 * test-mutants.c - every flush, fence and non-temporal copy of the library done wrong,
 * one at a time (mutate.h): does the crash simulator notice?
 *
 *	test-mutants TABLE [options] [part of a mutant's name ...]
 *	  --update   try all scenarios on each mutant, and write the table anew
 *	  --all      the same, but the table stays as it is
 *	  --jobs N   mutants at a time (2)
 *	  --verbose  print what was noticed
 *	  --scale X  times X crash images
 *	  --tries N  try at most so many scenarios on a mutant, the likely ones first
 *
 * The table has a line for each mutant: its name, and the scenario that kills it. Each
 * mutant has to be killed: by that scenario, or with --update and --all by any. What no
 * scenario can kill has no business in the library; --update writes "survives" or
 * "unreached" behind it, for who makes a scenario, or removes the site. A mutant without
 * a line is an error.
 *
 * "harmless", written by hand, is for a call that is needed but may come later, where the
 * source beside it has the proof. It is counted apart, and to kill it is an error: the
 * proof is wrong.
 *
 * A mutant's name is file:function:call:mutation, with "#2" behind the call where a
 * function has several. A mutant is killed when a scenario reports a failure, ends by
 * a signal, or takes ten times as long as any does. Stores that only a flush tells the
 * simulator of are no failure here: a mutant that leaves the flush out is to be caught
 * by what it does to crash images.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"
#include "mutate.h"

#define MUTANTS_MAX 1024u
#define SCENARIOS_MAX 128u
#define JOBS_MAX 16u
#define CPU_SECONDS 60u

#define SURVIVES "survives"
#define UNREACHED "unreached"
#define HARMLESS "harmless"

struct mutant {
	char name[128];
	unsigned site, call;
	enum mutation how;
	char known[32]; /* by the table: scenario, one of the words above, or "" */
	char *result;	/* the same, found now; shared with the process that finds it */
	bool chosen;
};

static struct mutant mutants[MUTANTS_MAX];
static unsigned nmutants;

static struct {
	const struct scenario *scenario;
	uint64_t *hits; /* by site */
	uint64_t fences;
} scenarios[SCENARIOS_MAX];
static unsigned nscenarios;

static struct engine engine = {.seed = 1, .scale = 1, .quiet = true, .mutated = true};
static unsigned jobs = 2, tries = SCENARIOS_MAX;

/* ---- the mutants ------------------------------------------------------------ */

static const char *source_of(const struct site *site)
{
	const char *lib = strstr(site->file, "lib/");

	return lib ? lib + 4 : site->file;
}

static int by_place(const void *a, const void *b)
{
	const struct site *x = site_at(*(const unsigned *)a), *y = site_at(*(const unsigned *)b);
	int order = strcmp(source_of(x), source_of(y));

	return order ? order : (int)x->line - (int)y->line;
}

static void add_mutants(const char *place, unsigned site, unsigned call)
{
	static const char *const name[] = {"", "out", "late", "off", "plain"};

	for (enum mutation how = MUTATE_OUT; how < MUTATIONS; how++) {
		struct mutant *m = &mutants[nmutants];

		if ((how == MUTATE_OFF && call == SITE_FENCE) ||
		    (how == MUTATE_PLAIN && call != SITE_COPY))
			continue;
		if (nmutants++ == MUTANTS_MAX)
			abort();
		m->site = site;
		m->call = call;
		m->how = how;
		snprintf(m->name, sizeof(m->name), "%s:%s", place, name[how]);
	}
}

/* Calls of one kind in one function are told apart by a number. */
static void name_sites(void)
{
	static const char *const name[] = {"", "flush", "fence", "", "copy"};
	unsigned n = site_count(), *order = calloc(n, sizeof(*order));

	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	qsort(order, n, sizeof(*order), by_place);
	for (unsigned i = 0; i < n; i++)
		for (unsigned call = 1; call <= SITE_COPY; call *= 2) {
			const struct site *site = site_at(order[i]);
			unsigned number = 1;
			char place[100], which[16] = "";

			for (unsigned j = 0; j < i; j++)
				number += (site_at(order[j])->calls & call) &&
					  !strcmp(site_at(order[j])->function, site->function) &&
					  !strcmp(source_of(site_at(order[j])), source_of(site));
			if (number > 1)
				snprintf(which, sizeof(which), "#%u", number);
			snprintf(place, sizeof(place), "%s:%s:%s%s", source_of(site),
				 site->function, name[call], which);
			if (site->calls & call)
				add_mutants(place, order[i], call);
		}
	free(order);
}

/* ---- the table -------------------------------------------------------------- */

static struct mutant *find_mutant(const char *name)
{
	for (unsigned i = 0; i < nmutants; i++)
		if (!strcmp(mutants[i].name, name))
			return &mutants[i];
	return NULL;
}

static bool read_table(const char *path)
{
	char line[256], name[128], result[32];
	FILE *f = fopen(path, "r");
	bool ok = true;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		struct mutant *m;

		if (line[0] == '#' || sscanf(line, "%127s %31s", name, result) != 2)
			continue;
		m = find_mutant(name);
		if (!m)
			printf("the table has %s, and the library does not\n", name);
		ok = ok && m;
		if (m)
			strcpy(m->known, result);
	}
	fclose(f);
	return ok;
}

static int write_table(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		perror(path);
		return 1;
	}
	fputs("# Mutants of the library, and the scenario that kills each.\n"
	      "# Made by test-mutants --update.\n",
	      f);
	for (unsigned i = 0; i < nmutants; i++)
		fprintf(f, "%-56s %s\n", mutants[i].name,
			*mutants[i].result ? mutants[i].result : mutants[i].known);
	return fclose(f) ? 1 : 0;
}

/* ---- running one ------------------------------------------------------------- */

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* In a child, which a mutant may take down. */
static bool fails(const struct engine *e, const struct scenario *scenario, struct report *report)
{
	const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
	int status;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CPU, &cpu);
		alarm(10 * CPU_SECONDS); /* it waits for a lock for ever */
		if (e->quiet && !freopen("/dev/null", "w", stderr))
			_exit(1);
		engine_run(e, scenario, report);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (!e->quiet && WIFSIGNALED(status))
		printf("  %s: ended by signal %d in or after %s\n", scenario->name,
		       WTERMSIG(status), report->where);
	return report->failures || WIFSIGNALED(status);
}

/* Which scenarios reach which sites, and how long they take. */
static bool find_reach(void)
{
	struct report *report = shared(sizeof(*report));
	struct engine dry = engine;

	dry.dry = true;
	for (unsigned i = 0; engine_scenario(i); i++) {
		scenarios[i].scenario = engine_scenario(i);
		scenarios[i].hits = shared(site_count() * sizeof(uint64_t));
		site_count_into(scenarios[i].hits);
		if (fails(&dry, scenarios[i].scenario, report)) {
			printf("%s fails without a mutant\n", scenarios[i].scenario->name);
			return false;
		}
		scenarios[i].fences = report->events[0] + 1;
		nscenarios++;
	}
	site_count_into(NULL);
	return true;
}

/*
 * Of its fences, how many per million have to do with the site? Recovery has most to do
 * where crashes are recovered with crash points.
 */
static uint64_t share(const struct mutant *m, unsigned i)
{
	if (!strncmp(m->name, "recovery/", 9) &&
	    (!strcmp(scenarios[i].scenario->name, "recovery") ||
	     !strcmp(scenarios[i].scenario->name, "killed")))
		return 1000000;
	return scenarios[i].hits[m->site] * 1000000 / scenarios[i].fences;
}

/* The scenario to try next: the one that the site has most to do with. */
static int next_scenario(const struct mutant *m, const bool *tried)
{
	int best = -1;

	for (unsigned i = 0; i < nscenarios; i++)
		if (!tried[i] && (best < 0 || share(m, i) > share(m, (unsigned)best)))
			best = (int)i;
	return best;
}

/* In a process of its own. */
static void try_mutant(const struct mutant *m, bool all)
{
	struct report *report = shared(sizeof(*report));
	const struct scenario *known = engine_find(m->known);
	uint64_t *hits = shared(site_count() * sizeof(*hits));
	bool tried[SCENARIOS_MAX] = {false};
	int i;

	site_count_into(hits);
	mutate(site_at(m->site), m->call, m->how);
	if (known && fails(&engine, known, report)) {
		strcpy(m->result, known->name);
		return;
	}
	strcpy(m->result, SURVIVES);
	if (!all)
		return;
	for (unsigned n = 0; n < tries && (i = next_scenario(m, tried)) >= 0; n++) {
		tried[i] = true;
		if (scenarios[i].scenario != known &&
		    fails(&engine, scenarios[i].scenario, report)) {
			strcpy(m->result, scenarios[i].scenario->name);
			return;
		}
	}
	if (!hits[m->site])
		strcpy(m->result, UNREACHED);
	else if (!strcmp(m->known, HARMLESS))
		strcpy(m->result, HARMLESS);
}

static void reap(unsigned *running)
{
	int status;

	if (wait(&status) < 0 || !WIFEXITED(status))
		abort();
	--*running;
}

static void try_all(bool all)
{
	unsigned running = 0;

	for (unsigned i = 0; i < nmutants; i++) {
		struct mutant *m = &mutants[i];
		bool killable = engine_find(m->known);

		if (!m->chosen || (!all && !killable))
			continue;
		while (running >= jobs)
			reap(&running);
		running++;
		fflush(NULL);
		switch (fork()) {
		case -1:
			abort();
		case 0:
			try_mutant(m, all);
			printf("%-56s %s\n", m->name, m->result);
			fflush(stdout);
			_exit(0);
		}
	}
	while (running)
		reap(&running);
}

/* ---- main ---------------------------------------------------------------------- */

static void choose(int argc, char **argv)
{
	for (unsigned i = 0; i < nmutants; i++) {
		mutants[i].chosen = optind == argc;
		for (int a = optind; a < argc; a++)
			mutants[i].chosen |= strstr(mutants[i].name, argv[a]) != NULL;
	}
}

/* NULL: all is well with a mutant. */
static const char *fault_of(const struct mutant *m, const char *result)
{
	bool harmless = !strcmp(m->known, HARMLESS);

	if (!*m->known)
		return "is not in the table";
	if (harmless)
		return strcmp(result, HARMLESS) ? "is not harmless" : NULL;
	return engine_find(result) ? NULL : "is not killed";
}

/* Every chosen mutant is killed, but for those that are harmless. */
static int judge(void)
{
	unsigned killed = 0, survived = 0, unreached = 0, harmless = 0, wrong = 0;

	for (unsigned i = 0; i < nmutants; i++) {
		const struct mutant *m = &mutants[i];
		const char *result = *m->result ? m->result : m->known;

		if (!m->chosen)
			continue;
		if (fault_of(m, result)) {
			printf("FAILED: %s %s\n", m->name, fault_of(m, result));
			wrong++;
		}
		harmless += !strcmp(result, HARMLESS);
		survived += !strcmp(result, SURVIVES);
		unreached += !strcmp(result, UNREACHED);
		killed += engine_find(result) != NULL;
	}
	printf("%u sites, %u mutants: %u killed, %u survive, %u never reached, %u harmless\n",
	       site_count(), killed + survived + unreached + harmless, killed, survived, unreached,
	       harmless);
	return wrong || !killed ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"update", no_argument, NULL, 'u'},
						{"jobs", required_argument, NULL, 'j'},
						{"scale", required_argument, NULL, 's'},
						{"verbose", no_argument, NULL, 'v'},
						{"tries", required_argument, NULL, 't'},
						{"all", no_argument, NULL, 'a'},
						{NULL, 0, NULL, 0}};
	bool update = false, all = false, sound;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'u')
			update = all = true;
		else if (c == 'a')
			all = true;
		else if (c == 'j')
			jobs = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'v')
			engine.quiet = false;
		else if (c == 't')
			tries = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 's')
			engine.scale = strtod(optarg, NULL);
		else
			return 2;
	if (optind == argc || !jobs || jobs > JOBS_MAX)
		return 2;
	name_sites();
	for (unsigned i = 0; i < nmutants; i++)
		mutants[i].result = shared(sizeof(mutants[i].known));
	sound = read_table(argv[optind]);
	char *table = argv[optind++];
	choose(argc, argv);
	if (all && !find_reach())
		return 1;
	try_all(all);
	if (update) {
		for (unsigned i = 0; i < nmutants; i++)
			if (*mutants[i].result)
				strcpy(mutants[i].known, mutants[i].result);
		return write_table(table) | judge();
	}
	return judge() | !sound;
}
