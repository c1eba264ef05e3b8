/*
 * count.h - ways to count from outside a library: fences, and lines that are touched.
 */
#ifndef COUNT_H
#define COUNT_H

#include "bench.h"

/*
 * count.c, in a library of its own: what was asked of libpmem so far. Found with
 * dlsym(), as the library is there only where it was preloaded.
 */
typedef void compare_calls_fn(struct tally *tally);
compare_calls_fn compare_calls;
#define COMPARE_COUNT_LIBRARY "compare-count.so"

/*
 * step.c: execute the calling thread instruction by instruction, at some
 * thousandth of its speed, and look at each before it is executed.
 */
struct steps {
	uint64_t instructions, fences, flushes, nt_bytes;
	unsigned flush_kinds; /* 1 << enum flush_kind */
};

void step_reset(void);
void step_begin(void);
const struct steps *step_end(void); /* all since the reset */

/* In lines. */
static inline struct tally steps_tally(const struct steps *steps)
{
	return (struct tally){steps->fences, steps->flushes + steps->nt_bytes / 64};
}

/*
 * watch.c: the lines of a range, in pages, that the calling thread touches.
 */
void watch_begin(void *base, size_t length);
unsigned watch_lines(void); /* since the last call, each once */
void watch_end(void);

#endif
