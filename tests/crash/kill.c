/*
 * kill.c - end a process in the middle of a call.
 */
#include "kill.h"

static void kill_store(void *arg, void *dst, const void *src, size_t length)
{
	struct killer *killer = arg;

	sim_store(killer->sim, dst, src, length);
}

static void kill_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	struct killer *killer = arg;

	if (killer->armed)
		sim_store(killer->sim, dst, src, length);
	else
		sim_copy_nt(killer->sim, dst, src, length);
}

static void kill_flush(void *arg, const void *addr, size_t length)
{
	struct killer *killer = arg;

	sim_flush(killer->sim, addr, length);
}

static int kill_fence(void *arg)
{
	struct killer *killer = arg;

	if (killer->armed)
		longjmp(killer->death, 1);
	sim_fence(killer->sim);
	return 0;
}

const struct ph_hook kill_hook = {
	.store = kill_store,
	.copy_nt = kill_copy_nt,
	.flush = kill_flush,
	.fence = kill_fence,
};
