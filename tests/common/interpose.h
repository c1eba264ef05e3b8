/*
 * interpose.h - libpmem's functions, defined once more in the test program: they
 * count what the library asks of libpmem, and forward. The shared library calls
 * them through its PLT, so that the program's come first.
 */
#ifndef TESTS_INTERPOSE_H
#define TESTS_INTERPOSE_H

#include <stdint.h>

struct pmem_calls {
	uint64_t fences;
	uint64_t flushed_lines;
	uint64_t nt_lines;
	uint64_t stores; /* calls that store at all */
};

/* Of all threads. Reset it by assignment while nobody else is in a call. */
extern struct pmem_calls pmem_calls;

/*
 * Called at every fence, before it is executed, when it is not NULL: it may end
 * the process, which leaves what a crash at this fence would.
 */
extern void (*pmem_at_fence)(void);

#endif
