/*
 * kill.c - end a process in the middle of a call.
 */
#include "kill.h"

void kill_forget(struct sim *sim)
{
	for (unsigned i = 0; i < SIM_CPUS; i++)
		sim->cpus[i].n = 0;
}

static void count_call(struct killer *killer)
{
	if (killer->calls && !--killer->calls)
		longjmp(killer->death, 1);
}

static void kill_store(void *arg, void *dst, const void *src, size_t length)
{
	struct killer *killer = arg;

	count_call(killer);
	sim_store(killer->sim, dst, src, length);
}

static void kill_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	struct killer *killer = arg;

	count_call(killer);
	if (killer->armed)
		sim_store(killer->sim, dst, src, length);
	else
		sim_copy_nt(killer->sim, dst, src, length);
}

static void kill_flush(void *arg, const void *addr, size_t length)
{
	struct killer *killer = arg;

	count_call(killer);
	sim_flush(killer->sim, addr, length);
}

static int kill_fence(void *arg)
{
	struct killer *killer = arg;

	count_call(killer);
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
