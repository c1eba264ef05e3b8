/*
 * fault.h - a hook in front of the simulator's that leaves something out: what the
 * library would do if it had that bug. Used to show that the rig sees it.
 */
#ifndef CRASH_FAULT_H
#define CRASH_FAULT_H

#include "sim.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_NO_FLUSH,	   /* every flush is ignored */
	FAULT_NO_NT,	   /* non-temporal copies are mere stores */
	FAULT_SKIP_FENCE,  /* fence number `n` is ignored */
	FAULT_SKIP_FLUSH,  /* flush number `n` */
	FAULT_SHIFT_FLUSH, /* flush number `n` hits the lines behind its range */
	FAULT_SHORT_FLUSH, /* flush number `n` covers its first line only */
	FAULT_FAIL_FENCE,  /* fence number `n` and all later ones fail: no bug, but EIO */
	FAULT_PLAIN_COPY,  /* non-temporal copy number `n` is a mere store */
};

struct fault {
	enum fault_kind kind;
	uint64_t n;
	struct sim *sim;
	uint64_t fences, flushes, copies; /* seen so far */
};

extern const struct ph_hook fault_hook; /* its argument is the fault */

const char *fault_name(enum fault_kind kind);

#endif
