/*
 * schedule.h - several threads of which one runs at a time, and a schedule that says which.
 *
 * The threads are real. The one that runs goes on until it comes to a *point* (points.h) at
 * which the schedule has it make way, until it has to wait for a lock, or until it has
 * ended, what the library does at its exit included. So a schedule decides everything: the
 * same one gives the same execution, and it is named by a few numbers:
 *
 *   - systematic: who begins, and the numbers of the points at which the running thread is
 *     preempted. Only points of some kinds are counted;
 *   - random: a seed, and that one in so many points is a preemption.
 *
 * A thread that waits tries again whenever it is its turn. Threads that all wait in vain,
 * again and again, are a deadlock; points without end are a livelock. Neither is found by
 * a clock.
 *
 * Execution is sequentially consistent: what a store buffer may do is not explored. Source
 * of bounding preemptions: M. Musuvathi and S. Qadeer, "Iterative context bounding for
 * systematic testing of multithreaded programs", 2007.
 */
#ifndef CRASH_SCHEDULE_H
#define CRASH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "points.h"

#define SCHEDULE_THREADS 4u
#define SCHEDULE_PREEMPTIONS 4u

enum schedule_end { SCHEDULE_DONE, SCHEDULE_DEADLOCK, SCHEDULE_LIVELOCK };

struct schedule {
	/* How: */
	unsigned threads;
	unsigned first;	   /* who begins */
	unsigned kinds;	   /* bits 1 << enum schedule_what: points that count */
	uint32_t one_in;   /* random: one in so many points; 0: systematic */
	uint64_t seed;	   /* random */
	unsigned npreempt; /* systematic */
	uint64_t preempt[SCHEDULE_PREEMPTIONS]; /* numbers of points, from 1 on, ascending */

	/* What came of it: */
	enum schedule_end end;
	uint64_t points;   /* that counted */
	uint64_t switches; /* made at points: where no other thread was left, none is */
};

/*
 * Run body(arg, who) in threads 0 to threads - 1, and wait until all have ended. Where the
 * end is not SCHEDULE_DONE, threads are left behind that never go on, with what they have
 * locked: the process must be ended.
 */
void schedule_run(struct schedule *schedule, void (*body)(void *arg, unsigned who), void *arg);

/* The number of the calling thread, or -1 outside of a schedule. */
int schedule_who(void);

/* The calling thread cannot go on before another one has done something. */
void schedule_wait(void);

/* "thread 1 first, preempted at points 3, 17 of 60". */
void schedule_print(const struct schedule *schedule, char *text, size_t room);

#endif
