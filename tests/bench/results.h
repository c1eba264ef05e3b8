/*
 * results.h - what was measured, and what is made of it.
 */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdio.h>

#include "bench.h"

/*
 * A repetition, made of the slices in which no thread waited for a processor. quiet:
 * there were enough of them; otherwise it is made of all slices, and says as much
 * about other programs as about the system.
 */
struct sample {
	double ns;     /* wall time x threads / operations */
	double waited; /* part of all its time that its threads were kept waiting */
	bool quiet;
};

/* slice.c. Tracks that ran side by side, as threads or as processes. */
struct sample sample_of_tracks(const struct track *const *tracks, unsigned n);
struct sample sample_of_reply(const struct reply *reply, unsigned threads);

/* Repetitions of the same. */
struct series {
	unsigned n;
	struct sample samples[ROUNDS_MAX];
};

void series_add(struct series *series, struct sample sample);
unsigned series_quiet(const struct series *series);
/* Are there too few quiet ones to be judged by? false where there are none at all. */
bool series_disturbed(const struct series *series);
/* Their median: of the quiet ones, unless it is disturbed. 0: not measured. */
double series_ns(const struct series *series);
double series_waited(const struct series *series);

struct cell {
	struct series one;
	struct series pair; /* two processes with one thread each, side by side */
	double extra[EXTRAS][ROUNDS_MAX];
	bool counted;
	struct reply count;
};

/* A row and all systems: one block of the table. */
struct block {
	const struct row *row;
	struct cell cells[SYSTEMS];
	struct series floor; /* one non-temporal store and fence, in turn with the systems */
};

struct results {
	struct block *blocks;	    /* row_count of them */
	double target_ns, slice_ns; /* length of a repetition, and of a slice */
	bool quick;
	unsigned reps;			 /* quiet ones that are wanted */
	double patience;		 /* seconds that a row may take longer to get them */
	char library[SYSTEMS][NOTE_MAX]; /* files that were measured */
	bool missing[SYSTEMS];
	double first_floor; /* before the first row */
};

extern struct results results;

/* 0 where n is 0. */
double median(const double *values, unsigned n);

double cell_ns(const struct block *block, unsigned system);
double cell_extra(const struct block *block, unsigned system, unsigned extra);

/* Fences counted from outside for one operation; negative: not counted. */
double cell_fences(const struct cell *cell);

/* host.c: lines with '#' on what this is measured on. */
void print_host(const char *folder);
/* The floor, in the folder's file system, cut into slices as any repetition is. */
void floor_open(const char *folder);
struct sample floor_sample(void);

/* measure.c: one row, and print it. false: something that should work failed. */
bool measure(struct block *block, const char *folder, const bool *chosen);

/* Progress, and what went wrong: on standard error. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* report.c */
void print_legend(const struct results *results);
void print_block(const struct block *block);
void print_details(const struct results *results);

/* targets.c: what the project wants to reach, and whether it does. */
void print_targets(const struct results *results);

/* plot.c: a chart of all blocks. false: not written, said why. */
bool plot(const struct results *results, const char *path);

#endif
