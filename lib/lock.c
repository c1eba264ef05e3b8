/*
 * lock.c - how a waiter makes way.
 */
#include "lock.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* About the time of one fence, and then of a few time slices. */
#define SPINS 100
#define YIELDS 200

void ph_lock_wait(unsigned try)
{
	/* 50 us: short against a time slice, long against a context switch. */
	static const struct timespec nap = {0, 50000};

	int saved;

	if (try < SPINS) {
		__builtin_ia32_pause();
	} else if (try < SPINS + YIELDS) {
		sched_yield();
	} else {	       /* the raw call: nanosleep(3) is a cancellation point */
		saved = errno; /* free() keeps it, and a signal ends a nap */
		syscall(SYS_nanosleep, &nap, NULL);
		errno = saved;
	}
}
