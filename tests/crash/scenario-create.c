/*
 * scenario-create.c - the process is killed while it creates a pool. The next one opens
 * what there is; where that is refused it creates the pool anew. Power cuts meanwhile, and
 * afterwards.
 */
#include <errno.h>
#include <string.h>

#include "scenario.h"

/* Killed at the n-th store, flush or fence. False: there are not so many. */
static bool die_creating(struct run *run, struct killer *killer, uint64_t n)
{
	killer->calls = n;
	if (setjmp(killer->death)) {
		kill_forget(run->sim);
		return true;
	}
	run->heap = run_create_heap(run);
	killer->calls = 0;
	return false;
}

static bool create_killed(struct run *run, struct killer *killer, uint64_t n)
{
	bool died;

	if (!op_begin(run, "create, killed", n, 0))
		return false;
	op_edit(run, &(struct model_edit){.kind = MODEL_EXISTS});
	op_go(run);
	died = die_creating(run, killer, n);
	if (died && !(run->heap = run_open_heap(run)))
		run_make_anew(run);
	op_end(run, run->heap ? 0 : -errno);
	return died;
}

/* Each one in memory of its own. */
static void create_again(struct run *run)
{
	static struct killer killer;

	expect_death(run, &killer);
	for (uint64_t n = 1; create_killed(run, &killer, n) && !run->failed; n++) {
		op_table(run);
		op_publish(run, 0, 64, 0);
		op_cut(run);
		if (n % 2)
			op_close(run);
		if (run->heap)
			ph_pool_abandon(run->heap);
		run->heap = NULL;
		sim_reset(run->sim, NULL);
		run->now = (struct model){0};
	}
}

const struct scenario scenarios_create[] = {
	{.name = "create-killed", .fn = create_again, .every = 2, .nested = 400, .weight = 4},
	{.name = NULL},
};
