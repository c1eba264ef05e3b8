/*
 * entropy.c - getrandom() with a seed. Each thread has numbers of its own: images are
 * judged by another one in the middle of an operation, and must not change what that
 * operation draws afterwards.
 */
#include "entropy.h"

#include <string.h>
#include <sys/random.h>

#include "random.h"

static _Thread_local uint64_t state;

void entropy_seed(uint64_t seed)
{
	state = seed;
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	char *to = buffer;

	(void)flags;
	for (size_t at = 0; at < length; at += 8) {
		uint64_t value = random_next(&state);

		memcpy(to + at, &value, length - at < 8 ? length - at : 8);
	}
	return (ssize_t)length;
}
