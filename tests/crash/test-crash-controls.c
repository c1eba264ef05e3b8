/*
 * test-crash-controls.c - negative controls: the rig must find the bug when there is
 * one. Scenarios are run with hooks that leave flushes, fences and non-temporal
 * copies out, all of them or one at a time; every control must lead to failures.
 *
 * And the reverse: a hook whose fences fail from some moment on is no bug. The library
 * must say EIO, go read-only, and leave a pool that recovers; none must be noticed.
 *
 *	test-crash-controls [--seed N] [--verbose] [--all]
 *
 * Without --all, single faults are tried at a sample of their places.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"
#include "random.h"

struct control {
	enum fault_kind kind;
	const char *scenario;
	int counter; /* which of report.events numbers its places; -1: it has none */
	/* Of 100 places at least so many must be noticed. Not all can: see below. */
	unsigned percent;
};

#define PLACES 8u  /* tried without --all, or a few more */
#define NEVER 101u /* as percent: none of the places must be noticed */

/*
 * A single fault may be harmless: a fence whose work the next one does before
 * anything depends on it, a flush of a line that is not dirty, the flushes of a close
 * that the next open makes up for.
 */
static const struct control controls[] = {
	{FAULT_NO_FLUSH, "publish", -1, 0},
	{FAULT_NO_FLUSH, "tx-undo", -1, 0},
	{FAULT_NO_FLUSH, "wrap", -1, 0},
	{FAULT_NO_NT, "publish", -1, 0},
	{FAULT_NO_NT, "tx-undo", -1, 0},
	{FAULT_SKIP_FENCE, "publish", 0, 50},
	{FAULT_SKIP_FENCE, "tx-mixed", 0, 50},
	{FAULT_SKIP_FLUSH, "tx-undo", 1, 10},
	{FAULT_SHIFT_FLUSH, "tx-undo", 1, 10},
	{FAULT_SHORT_FLUSH, "publish", 1, 5},
	{FAULT_PLAIN_COPY, "tx-mixed", 2, 50},
	{FAULT_FAIL_FENCE, "publish", 0, NEVER},
	{FAULT_FAIL_FENCE, "tx-mixed", 0, NEVER},
	{FAULT_FAIL_FENCE, "close-open", 0, NEVER},
	{FAULT_FAIL_FENCE, "tx-overflow", 0, NEVER},
};

struct settings {
	struct engine engine;
	bool verbose, all;
};

/* In a child: what the library makes of such memory is not to take the test down. */
static bool noticed(const struct settings *s, const struct control *control, uint64_t n)
{
	const struct scenario *scenario = engine_find(control->scenario);
	struct report *report = engine_reports(1);
	struct engine engine = s->engine;
	int status;
	pid_t pid;

	engine.quiet = control->percent != NEVER || !s->verbose;
	engine.fault.kind = control->kind;
	engine.fault.n = n;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		engine_run(&engine, scenario, report);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return report->failures || WIFSIGNALED(status);
}

/* How many places a fault of this kind has. */
static uint64_t places(const struct settings *s, const struct control *control)
{
	struct report report = {0};
	struct engine engine = s->engine;

	if (control->counter < 0)
		return 1;
	engine.dry = true;
	engine.quiet = false;
	engine_run(&engine, engine_find(control->scenario), &report);
	return report.failures ? 0 : report.events[control->counter];
}

static bool holds(const struct settings *s, const struct control *control)
{
	uint64_t n = places(s, control), step = s->all || n < 2 * PLACES ? 1 : n / PLACES;
	unsigned tried = 0, seen = 0;

	for (uint64_t i = 0; i < n; i += step) {
		bool found = noticed(s, control, i);

		tried++;
		seen += found;
		if (found == (control->percent == NEVER) && s->verbose)
			printf("  %s: %s, number %llu of %llu in %s\n",
			       found ? "noticed" : "not noticed", fault_name(control->kind),
			       (unsigned long long)i, (unsigned long long)n, control->scenario);
	}
	printf("%-40s %-12s noticed %u of %u\n", fault_name(control->kind), control->scenario, seen,
	       tried);
	if (control->percent == NEVER)
		return tried && !seen;
	return seen && 100 * seen >= control->percent * tried;
}

int main(int argc, char **argv)
{
	struct settings s = {.engine = {.seed = 1, .scale = 0.4, .quiet = true}};
	unsigned failed = 0;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--verbose"))
			s.verbose = true;
		else if (!strcmp(argv[i], "--all"))
			s.all = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			s.engine.seed = strtoull(argv[++i], NULL, 0);
		else
			return 2;
	printf("seed %llu\n", (unsigned long long)s.engine.seed);
	for (unsigned i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		if (!holds(&s, &controls[i])) {
			fprintf(stderr, "FAILED: %s in %s\n", fault_name(controls[i].kind),
				controls[i].scenario);
			failed++;
		}
	return failed ? 1 : 0;
}
