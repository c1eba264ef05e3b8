/*
 * report.h - what a scenario has done: counters in memory shared with the process
 * that waits for it, so that they outlive a crash of the scenario itself.
 */
#ifndef CRASH_REPORT_H
#define CRASH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct report {
	uint64_t operations; /* of the scenario */
	uint64_t fences;     /* (operation x fence) pairs */
	uint64_t fences_explored;
	uint64_t points; /* crash points explored, nested ones included */
	uint64_t images;
	uint64_t distinct;
	uint64_t unseen;     /* distinct, and in no scenario with another seed either */
	uint64_t judged;     /* distinct, or with a different expectation */
	uint64_t exhaustive; /* crash points of which all images were taken */
	uint64_t nested;     /* nested runs */
	uint64_t schedules;  /* of several threads, */
	uint64_t executions; /* and what they led to: different from each other */
	uint64_t failures;
	uint64_t events[3]; /* fences, flushes, non-temporal copies of the scenario */
	double seconds;

	uint64_t progress; /* changes as long as something moves */
	char where[256];   /* for a scenario that dies */
};

void report_header(FILE *to);
void report_line(FILE *to, const char *name, const struct report *report);
void report_add(struct report *sum, const struct report *report);

#endif
