/*
 * run.h - children, seen from the parent.
 */
#ifndef RUN_H
#define RUN_H

#include <sys/types.h>

#include "bench.h"

struct child {
	pid_t pid; /* 0: none */
	int orders, answers;
	unsigned system;
	struct reply ready; /* missing, and note */
};

/* Start a child and wait until it has set itself up. false: it failed. */
bool child_start(struct child *child, const struct job *job);

/* Have it run, or wait for what it was asked to. */
bool child_order(struct child *child);
bool child_answer(struct child *child, struct reply *reply);

/* End it. */
void child_stop(struct child *child);

/* Start one that does its work and ends by itself: with status 0, or by SIGKILL. */
bool child_alone(const struct job *job, bool killed);

/* Copy a file, holes as holes. */
bool copy_file(const char *from, const char *to);

#endif
