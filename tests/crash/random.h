/*
 * random.h - random numbers that are the same everywhere, and that can be named:
 * a stream is made from a seed and a number, so that any one choice of a run can
 * be made again without the choices before it.
 */
#ifndef CRASH_RANDOM_H
#define CRASH_RANDOM_H

#include <stdint.h>

/* The finaliser of splitmix64: a bijection that mixes well. */
static inline uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* splitmix64. */
static inline uint64_t random_next(uint64_t *state)
{
	return mix64(*state += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t random_stream(uint64_t seed, uint64_t number)
{
	return mix64(seed + mix64(number + UINT64_C(0x9e3779b97f4a7c15)));
}

/* 0 <= result < n. n is small against 2^64, so the bias does not matter. */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return random_next(state) % n;
}

#endif
