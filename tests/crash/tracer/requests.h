/*
 * requests.h - what a traced program may ask of the tracer, and the numbers that
 * libpmem uses. The only file here that programs include; it may also be used under
 * the licence of the rest of the project.
 *
 * Outside Valgrind, and under another tool, a request does nothing and gives its
 * default.
 */
#ifndef PHEAPTRACE_REQUESTS_H
#define PHEAPTRACE_REQUESTS_H

#include <stdint.h>

#include <valgrind/valgrind.h>

/*
 * The requests of pmemcheck, as libpmem was compiled with them. Those that this
 * tool knows; it answers 0 to the others.
 */
enum {
	PMC_BASE = VG_USERREQ_TOOL_BASE('P', 'C'),
	PMC_REGISTER_MAPPING = PMC_BASE + 0, /* address, length */
	PMC_REGISTER_FILE = PMC_BASE + 1,    /* descriptor, address, length, offset */
	PMC_REMOVE_MAPPING = PMC_BASE + 2,   /* address, length */
	PMC_CHECK_MAPPING = PMC_BASE + 3,    /* address, length: 1 = registered */
	PMC_FLUSH = PMC_BASE + 5,	     /* address, length */
	PMC_FENCE = PMC_BASE + 6,
	PMC_EMIT_LOG = PMC_BASE + 0x1e, /* a string: one record of the log */

	/* Of this tool alone. */
	PHEAPTRACE_BASE = VG_USERREQ_TOOL_BASE('P', 'T'),
	PHEAPTRACE_COUNTS = PHEAPTRACE_BASE, /* struct pheaptrace_counts *: 1 = filled in */
};

/* Instructions executed so far, on registered mappings. */
struct pheaptrace_counts {
	uint64_t stores;    /* stores through the cache */
	uint64_t nt_stores; /* stores past it */
	uint64_t nt_lines;  /* lines they wrote: neighbours in time count once */
	uint64_t flushes;   /* clwb, clflushopt and clflush: one line each */
	uint64_t fences;    /* sfence and mfence, wherever they stand */
};

/* Mark a place in the log: "NAME.BEGIN" and "NAME.END" come in pairs. */
static inline void pheaptrace_mark(const char *text)
{
	VALGRIND_DO_CLIENT_REQUEST_STMT(PMC_EMIT_LOG, text, 0, 0, 0, 0);
}

/* What the tracer has counted; 0 where the program is not traced. */
static inline int pheaptrace_count(struct pheaptrace_counts *counts)
{
	return (int)VALGRIND_DO_CLIENT_REQUEST_EXPR(0, PHEAPTRACE_COUNTS, counts, 0, 0, 0, 0);
}

#endif
