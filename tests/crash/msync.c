/*
 * msync.c - whole pages, written back and waited for.
 */
#include "msync.h"

static void msync_store(void *arg, void *dst, const void *src, size_t length)
{
	sim_store(arg, dst, src, length);
}

static void msync_flush(void *arg, const void *addr, size_t length)
{
	struct sim *sim = arg;
	uint64_t offset = sim_offset(sim, addr);
	uint64_t first = offset / PM_PAGE * PM_PAGE;
	uint64_t end = (offset + length + PM_PAGE - 1) / PM_PAGE * PM_PAGE;

	sim_flush(sim, sim->work + first, end - first);
	sim_fence(sim);
}

/* Before the library's own memcpy, which changes nothing any more. */
static void msync_copy(void *arg, void *dst, const void *src, size_t length)
{
	sim_store(arg, dst, src, length);
	memcpy(dst, src, length);
	msync_flush(arg, dst, length);
}

static int msync_fence(void *arg)
{
	(void)arg;
	return 0;
}

const struct ph_hook msync_hook = {
	.store = msync_store,
	.copy_nt = msync_copy,
	.flush = msync_flush,
	.fence = msync_fence,
};
