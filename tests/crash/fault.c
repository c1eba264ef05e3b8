/*
 * fault.c - a hook that makes mistakes.
 */
#include "fault.h"

#include <errno.h>

const char *fault_name(enum fault_kind kind)
{
	static const char *const name[] = {"none",
					   "no flush",
					   "no non-temporal copy",
					   "fence skipped",
					   "flush skipped",
					   "flush misplaced",
					   "flush cut short",
					   "write-back failed",
					   "non-temporal copy as plain store"};

	return name[kind];
}

static void fault_store(void *arg, void *dst, const void *src, size_t length)
{
	struct fault *fault = arg;

	sim_store(fault->sim, dst, src, length);
}

static void fault_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	struct fault *fault = arg;
	uint64_t number = fault->copies++;

	if (fault->kind == FAULT_NO_NT || (fault->kind == FAULT_PLAIN_COPY && number == fault->n))
		sim_store(fault->sim, dst, src, length);
	else
		sim_copy_nt(fault->sim, dst, src, length);
}

static void fault_flush(void *arg, const void *addr, size_t length)
{
	struct fault *fault = arg;
	const char *at = addr;
	bool hit = fault->flushes++ == fault->n;
	uint64_t last = sim_offset(fault->sim, addr) + length + SIM_LINE;

	if (fault->kind == FAULT_NO_FLUSH || (fault->kind == FAULT_SKIP_FLUSH && hit))
		return;
	if (fault->kind == FAULT_SHIFT_FLUSH && hit && last < fault->sim->size)
		at += (length + SIM_LINE - 1) / SIM_LINE * SIM_LINE;
	if (fault->kind == FAULT_SHORT_FLUSH && hit)
		length = 1;
	sim_flush(fault->sim, at, length);
}

static int fault_fence(void *arg)
{
	struct fault *fault = arg;
	uint64_t number = fault->fences++;

	if (fault->kind == FAULT_FAIL_FENCE && number >= fault->n)
		return -EIO;
	if (fault->kind != FAULT_SKIP_FENCE || number != fault->n)
		sim_fence(fault->sim);
	return 0;
}

const struct ph_hook fault_hook = {
	.store = fault_store,
	.copy_nt = fault_copy_nt,
	.flush = fault_flush,
	.fence = fault_fence,
};
