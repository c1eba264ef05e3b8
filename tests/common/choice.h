/*
 * choice.h - decisions: by random numbers, or by the bytes of a fuzzer's input. Where
 * these have run out every decision is 0.
 */
#ifndef TESTS_CHOICE_H
#define TESTS_CHOICE_H

#include "common.h"

struct choice {
	struct rng *rng; /* NULL: the bytes decide */
	const uint8_t *at, *end;
};

static inline bool choices_left(const struct choice *c)
{
	return c->rng || c->at < c->end;
}

static inline uint64_t choose_bytes(struct choice *c, unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n && c->at < c->end; i++)
		value |= (uint64_t)*c->at++ << 8 * i;
	return value;
}

/* Any number. */
static inline uint64_t choose_any(struct choice *c)
{
	return c->rng ? rng_next(c->rng) : choose_bytes(c, 8);
}

/* A number below n: of as few bytes of the input as are enough. */
static inline uint64_t choose(struct choice *c, uint64_t n)
{
	unsigned bytes = 0;

	if (c->rng)
		return rng_below(c->rng, n);
	while (bytes < 8 && (n - 1) >> 8 * bytes)
		bytes++;
	return choose_bytes(c, bytes) % n;
}

#endif
