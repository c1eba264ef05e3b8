/*
 * kill.h - a hook in front of the simulator's by which the process is killed at a fence, or
 * at any call.
 *
 * The memory stays as it is, for the next process: nothing of what is pending is lost, and
 * nothing of it is durable before somebody flushes it. The last copies are in the cache
 * then, as they are where the kernel's page cache is what is mapped. What was flushed and
 * not yet fenced nobody waits for any more: kill_forget().
 */
#ifndef CRASH_KILL_H
#define CRASH_KILL_H

#include <setjmp.h>

#include "sim.h"

struct killer {
	struct sim *sim;
	bool armed;	/* the next fence is not executed: */
	uint64_t calls; /* not 0: nor is the so-manieth call of the hook from now */
	jmp_buf death;	/* it goes here */
};

extern const struct ph_hook kill_hook; /* its argument is the killer */

void kill_forget(struct sim *sim);

#endif
