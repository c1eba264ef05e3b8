/*
 * scenario-process.c - durability PROCESS: a kill after any store leaves what was stored;
 * a power cut leaves a pool that is refused. Opened for POWER, or closed, all of it is
 * durable.
 */
#include <string.h>

#include "random.h"
#include "scenario.h"

/* Any single operation that is atomic. */
static void work(struct run *run)
{
	struct txn t;

	switch (dice(run, 8)) {
	case 0:
		op_set(run, 0);
		break;
	case 1:
		op_write(run, 3, 512 * dice(run, 8), 250);
		break;
	case 2:
		op_replace(run, 1, 200 + 100 * dice(run, 40), 0);
		break;
	case 3:
		op_resize(run, 0, 64 + 64 * dice(run, 8));
		break;
	case 4:
		if (run->now.slot[8])
			op_retire(run, 8);
		else
			op_publish(run, 8, 5000, 0);
		break;
	case 5:
		op_push(run, FIRST_LIST, 80);
		break;
	case 6:
		tx_begin(run, &t);
		tx_snapshot(run, &t, 2, 0, 300);
		tx_store(run, &t, 2, 0, 300);
		tx_set(run, &t, 1);
		tx_commit(run, &t);
		break;
	default:
		tx_begin(run, &t);
		tx_snapshot(run, &t, 2, 100, 500);
		tx_store(run, &t, 2, 100, 500);
		tx_abort(run, &t);
	}
}

/* Killed at the n-th store from now on. */
static void work_until_killed(struct run *run, struct killer *killer, uint64_t n)
{
	killer->calls = n;
	if (setjmp(killer->death))
		return;
	while (!run->failed)
		work(run);
}

static void killed(struct run *run, bool process)
{
	static struct killer killer;

	expect_death(run, &killer);
	setup_objects(run);
	op_close(run);
	op_open_process(run);
	for (unsigned i = 0; i < 12 * scenario_scale && !run->failed; i++) {
		work_until_killed(run, &killer, 1 + dice(run, 60));
		killer.calls = 0;
		op_inherit(run, process, i % 3 == 2 ? &killer : NULL);
		op_set(run, 2);
		if (!process) { /* all is durable, what others stored as well */
			op_cut(run);
			op_close(run);
			op_open_process(run);
		}
	}
	op_close(run);
	op_open(run);
}

/* Killed, and opened for POWER. */
static void to_power(struct run *run)
{
	killed(run, false);
}

/* Killed, and opened for PROCESS again and again; closed in the end. */
static void again(struct run *run)
{
	killed(run, true);
}

/* Killed with nothing to recover: what is visible is all there is. */
static void settled(struct run *run)
{
	static struct killer killer;

	expect_death(run, &killer);
	setup_objects(run);
	for (unsigned i = 0; i < 3; i++) {
		op_close(run);
		op_open_process(run);
		op_publish(run, 10 + i, 5000, 0);
		op_persist(run, 3, 64 * i, 64);
		op_set(run, i);
		op_persist_word(run, i); /* a checkpoint */
		op_inherit(run, i == 1, i == 2 ? &killer : NULL);
		op_retire(run, 10 + i);
	}
	op_close(run);
}

const struct scenario scenarios_process[] = {
	{.name = "process", .fn = to_power, .every = 2, .nested = 400, .weight = 4},
	{.name = "process-again", .fn = again, .every = 2, .nested = 400, .weight = 4},
	{.name = "process-settled", .fn = settled, .nested = 400, .weight = 4},
	{.name = NULL},
};
