/*
 * scenario.h - the scenarios: short deterministic programs of operations, each
 * aimed at one part of the protocol.
 */
#ifndef CRASH_SCENARIO_H
#define CRASH_SCENARIO_H

#include "ops.h"

struct scenario {
	const char *name;
	void (*fn)(struct run *run);
	/* How densely to look: crash points explored are 1 in `every` (0 means 1);
	 * a nested run follows 1 in `nested` images (0: none). In the long form both
	 * are denser. */
	unsigned every, nested;
	const char *traced; /* the name of a scenario: the same in a traced pool */
	bool schedules;	    /* it is a program of two threads: concurrent.h */
	unsigned weight;    /* of its share of images, in eighths; 0 means 8 */
};

/* Tables end with a NULL name. */
extern const struct scenario scenarios_basic[];
extern const struct scenario scenarios_tx[];
extern const struct scenario scenarios_space[];
extern const struct scenario scenarios_arena[];
extern const struct scenario scenarios_gc[];
extern const struct scenario scenarios_types[];
extern const struct scenario scenarios_count[];
extern const struct scenario scenarios_pool[];
extern const struct scenario scenarios_threads[];
extern const struct scenario scenarios_create[];
extern const struct scenario scenarios_process[];
extern const struct scenario scenarios_msync[];
extern const struct scenario scenarios_traced[];

/* For a library with points (points.h) only. */
extern const struct scenario scenarios_concurrent[];

/* How much longer a scenario that can be scaled is to be; 1 in the short form. */
extern unsigned scenario_scale;

/* From here on the process may be killed. */
void expect_death(struct run *run, struct killer *killer);

/* Create the pool and its table; with a few objects in slots 0 to 3. */
void setup(struct run *run);
void setup_objects(struct run *run);

/* Before them: create the pool, and leave its free granules full of this byte, as if they
 * had been used. */
void setup_memory(struct run *run, int byte);

#endif
