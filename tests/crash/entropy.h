/*
 * entropy.h - the library's random numbers (uuid, epoch) made repeatable: the test
 * program has a getrandom() of its own, which the linker prefers. The seed is the
 * calling thread's.
 */
#ifndef CRASH_ENTROPY_H
#define CRASH_ENTROPY_H

#include <stdint.h>

void entropy_seed(uint64_t seed);

#endif
