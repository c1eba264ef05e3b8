/*
 * workloads.h - what the allocator workloads share: blocks that know what is in them,
 * workers, random numbers.
 *
 * Blocks are taken and given through the two functions below. A block begins with its size
 * and a number; the rest follows from them: all of it is written and looked at with
 * --verify, otherwise the last byte. Whoever gives a block back, in whichever thread, so
 * notices when it has been handed out twice or was written to by another. What was taken and
 * given is summed up, and depends on the workload alone, not on the allocator.
 */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 64u

/* What a thread, or one after the other in its place, works with. */
struct worker {
	uint64_t random;       /* state of next() */
	uint64_t taken, given; /* sums */
	uint64_t ops;	       /* pairs of malloc and free, as the workload counts them */
	uint32_t number;       /* of the next block */
	uint32_t index;
} __attribute__((aligned(128)));

struct workload {
	const char *name;
	/* All of it, with `threads` workers; `scale` is 1 for some hundredths of a second. */
	void (*run)(struct worker *workers, unsigned threads, unsigned scale);
	bool threaded;
};

extern const struct workload loop_workloads[], shared_workloads[], math_workloads[];

void fail(const char *what) __attribute__((noreturn));

/* Run fn(&workers[i]) in threads of their own and wait for all. */
void in_threads(struct worker *workers, unsigned threads, void (*fn)(struct worker *));

/* The scale of the run, for functions that only have a worker. */
extern unsigned scale_now;

/* splitmix64 */
static inline uint64_t next(struct worker *w)
{
	uint64_t x = w->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* n: less than 2^32. */
static inline uint64_t below(struct worker *w, uint64_t n)
{
	return (next(w) >> 32) * n >> 32;
}

/* From low to high, each doubling as likely as any other. */
static inline size_t skewed(struct worker *w, unsigned low_bits, unsigned high_bits)
{
	unsigned bits = low_bits + (unsigned)below(w, high_bits - low_bits);

	return ((size_t)1 << bits) + below(w, (size_t)1 << bits);
}

/* What a block begins with. */
struct block {
	uint32_t size, number;
};

/* A block of so many bytes, 8 at least; and back with it. */
void *take(struct worker *w, size_t size);
void give(struct worker *w, void *ptr);

/* Empty a table of blocks. */
static inline void give_all(struct worker *w, void **table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (table[i])
			give(w, table[i]);
		table[i] = NULL;
	}
}

#endif
