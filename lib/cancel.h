/*
 * cancel.h - no function of the library acts upon a request to cancel its thread.
 *
 * Locks are held, descriptors open and structures half made wherever the library
 * calls what POSIX makes a cancellation point: open, read, close, msync, getrandom. A
 * thread that ended there would leave them so. Such a part begins with
 *
 *	PH_NO_CANCEL;
 *
 * and a request that comes meanwhile stays pending: the program's next cancellation
 * point is where it is acted upon. What runs often (fallocate, nanosleep) is a raw
 * system call instead, and the path of an operation has no such call at all.
 */
#ifndef PH_CANCEL_H
#define PH_CANCEL_H

#include <pthread.h>

static inline int ph_cancel_disable(void)
{
	int state = PTHREAD_CANCEL_ENABLE;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void ph_cancel_restore(const int *state)
{
	pthread_setcancelstate(*state, NULL);
}

/* To the end of the block. */
#define PH_NO_CANCEL                                                                 \
	const int cancel_state __attribute__((cleanup(ph_cancel_restore), unused)) = \
		ph_cancel_disable()

#endif
