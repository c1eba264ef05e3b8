/*
 * test-tsan-control.c - a race that the thread sanitizer must find, or the runs in which it
 * finds none show nothing: two threads count in one variable, each under a lock of its own.
 * With the argument "one" the lock is the same, and there is nothing to find.
 */
#include "common.h"

#include "lock.h"

static uint64_t locks[2 * 8]; /* bit locks in lines of their own */
static uint64_t counter;

static void *count(void *arg)
{
	uint64_t *lock = &locks[8 * *(unsigned *)arg];

	for (unsigned i = 0; i < 10000; i++) {
		ph_bitlock_take(lock);
		counter++;
		ph_bitlock_give(lock, 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	bool one = argc > 1 && !strcmp(argv[1], "one");
	unsigned which[2] = {0, !one};

	run_threads(2, count, which, sizeof(which[0]));
	return one && counter != 20000;
}
