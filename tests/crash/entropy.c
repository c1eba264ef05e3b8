/*
 * entropy.c - getrandom() with a seed.
 */
#include "entropy.h"

#include <string.h>
#include <sys/random.h>

#include "random.h"

static uint64_t state;

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
