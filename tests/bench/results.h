/*
 * results.h - what was measured, and what is made of it.
 */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdio.h>

#include "bench.h"

struct cell {
	unsigned n; /* repetitions; 0: not measured */
	double ns[REPS_MAX], waited[REPS_MAX], extra[EXTRAS][REPS_MAX];
	bool counted;
	struct reply count;

	/* Two processes with one thread each, side by side. */
	unsigned pairs;
	double pair_ns[REPS_MAX], pair_waited[REPS_MAX];
};

/* A row and all systems: one block of the table. */
struct block {
	const struct row *row;
	struct cell cells[SYSTEMS];
	/* One non-temporal store and fence, measured in turn with the systems. */
	unsigned floors;
	double floor_ns[REPS_MAX], floor_waited[REPS_MAX];
};

struct results {
	struct block *blocks; /* row_count of them */
	double target_ns;     /* length of a repetition */
	bool quick;
	unsigned reps;
	char library[SYSTEMS][NOTE_MAX]; /* files that were measured */
};

/* 0 where n is 0. */
double median(const double *values, unsigned n);

/* The median of a cell; 0: it was not measured. */
double cell_ns(const struct block *block, unsigned system);
double cell_extra(const struct block *block, unsigned system, unsigned extra);

/*
 * Was the median repetition kept from a processor for so long that it says as much
 * about other programs as about the system? Nothing is judged by such a figure.
 */
#define WAITED_MAX 0.05
bool disturbed(const double *waited, unsigned n);

/* Fences counted from outside for one operation; negative: not counted. */
double cell_fences(const struct cell *cell);

/* host.c: lines with '#' on what this is measured on. */
void print_host(const char *folder);
/* The floor, in the folder's file system, measured for about so many ns: as long as
 * a repetition, so that it meets as much of what else the machine is doing. */
void floor_open(const char *folder);
double floor_sample(double target_ns, double *waited);

/* report.c */
void print_legend(const struct results *results);
void print_block(const struct block *block);
void print_details(const struct results *results);

/* targets.c: what the project wants to reach, and whether it does. */
void print_targets(const struct results *results);

/* plot.c: a chart of all blocks. false: not written, said why. */
bool plot(const struct results *results, const char *path);

#endif
