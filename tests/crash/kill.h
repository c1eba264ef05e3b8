/*
 * kill.h - a hook in front of the simulator's by which the process is killed at a fence.
 *
 * The memory stays as it is, for the next process: nothing of what is pending is lost, and
 * nothing of it is durable before somebody flushes it. The last copies are in the cache
 * then, as they are where the kernel's page cache is what is mapped.
 */
#ifndef CRASH_KILL_H
#define CRASH_KILL_H

#include <setjmp.h>

#include "sim.h"

struct killer {
	struct sim *sim;
	bool armed;    /* the next fence is not executed: */
	jmp_buf death; /* it goes here */
};

extern const struct ph_hook kill_hook; /* its argument is the killer */

#endif
