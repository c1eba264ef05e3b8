/*
 * engine.h - run scenarios: alone, or several at a time in processes of their own,
 * so that a library that crashes or hangs takes one scenario down and no more.
 */
#ifndef CRASH_ENGINE_H
#define CRASH_ENGINE_H

#include "fault.h"
#include "scenario.h"

struct engine {
	uint64_t seed;
	double scale; /* times the images of the short form */
	bool long_form;
	struct replay replay;
	unsigned jobs;
	unsigned patience;	 /* seconds without any progress before a scenario is killed */
	bool quiet;		 /* failures are expected: do not print them */
	bool dry;		 /* look at no crash point */
	bool trace;		 /* print every event of the scenario */
	struct fault fault;	 /* FAULT_NONE: the library as it is */
	bool mutated;		 /* the library is a mutant: one failure will do */
	bool brief;		 /* print no line for a scenario that succeeds */
	struct shared_set *ever; /* where to remember all images; may be NULL */
};

/* The tables of scenarios; NULL behind the last. */
extern const struct scenario *const *engine_tables;

/* Every scenario, in order; NULL beyond the last. */
const struct scenario *engine_scenario(unsigned i);
const struct scenario *engine_find(const char *name);

/* Run one in this process. */
void engine_run(const struct engine *engine, const struct scenario *scenario,
		struct report *report);

/*
 * Run n scenarios in child processes. report: n of them, from engine_reports().
 * Prints a line for each when it ends. Returns the number that failed.
 */
unsigned engine_run_all(const struct engine *engine, const struct scenario *const *list, unsigned n,
			struct report *report);

struct report *engine_reports(unsigned n);
void engine_reports_free(struct report *report, unsigned n);

#endif
