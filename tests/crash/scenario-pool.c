/*
 * scenario-pool.c - create, close, open, recover; named roots.
 */
#include <string.h>

#include "heap.h"
#include "scenario.h"

static void create(struct run *run)
{
	op_create(run);
	op_table(run);
	op_close(run);
	op_open(run);
	op_publish(run, 0, 64, 0);
}

static void close_open(struct run *run)
{
	struct txn t;

	setup_objects(run);
	for (unsigned i = 0; i < 3; i++) {
		op_set(run, i);
		op_reserve(run, 300);
		op_close(run);
		op_open(run);
		op_publish(run, 10 + i, 64, 0);
		tx_begin(run, &t);
		tx_snapshot(run, &t, 2, 0, 300);
		tx_store(run, &t, 2, 0, 300);
		if (i == 1)
			tx_abort(run, &t);
		else
			tx_commit(run, &t);
		op_retire(run, i);
	}
	op_close(run);
	op_open(run);
	op_close(run);
}

static void roots(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 4; i++)
		op_root(run, i);
	op_publish(run, ROOT(1), 64, 0);
	op_publish(run, ROOT(2), 5120, 0);
	op_drop(run, 0);
	op_root(run, 5);
	op_retire(run, ROOT(1));
	op_drop(run, 1);
	op_drop(run, 3);
	op_root(run, 6);
	op_replace(run, ROOT(2), 100, 0);
	op_close(run);
	op_open(run);
	op_root(run, 1);
}

/* Unsettled records, a live undo log and reserved memory: many images of it are
 * recovered in simulated memory and crash again. */
static void recovery(struct run *run)
{
	struct txn a, b;

	setup_objects(run);
	op_root(run, 0);
	op_publish(run, ROOT(0), 300, 0);
	op_set(run, 0);
	op_retire(run, 1);
	op_reserve(run, 64);
	tx_begin(run, &a);
	tx_snapshot(run, &a, 2, 0, 400);
	tx_store(run, &a, 2, 0, 400);
	tx_begin(run, &b);
	tx_snapshotv(run, &b, 3, 512, 6);
	op_publish(run, 1, 64, 0);
	op_set(run, 0);
	tx_alloc(run, &a, 8, 64);
	tx_snapshot_word(run, &a, 7);
	tx_store_word(run, &a, 7);
	op_publish(run, 9, 70000, 0);
	tx_commit(run, &a);
	op_write(run, 2, 0, 128);
	tx_abort(run, &b);
	op_write(run, 3, 0, 128);
}

void expect_death(struct run *run, struct killer *killer)
{
	*killer = (struct killer){.sim = run->sim};
	run->rig->hook = &kill_hook;
	run->rig->hook_arg = killer;
}

/*
 * A record that was copied to its ring, but not flushed, when the process was killed: the
 * next process replays it, so it has to be durable before anything that it does.
 */
static void killed(struct run *run)
{
	static struct killer killer;
	struct txn t;

	expect_death(run, &killer);
	setup_objects(run);
	op_set(run, 0);
	for (unsigned i = 0; i < 4; i++) {
		tx_begin(run, &t);
		for (unsigned word = 0; word < 12; word += 4)
			tx_set(run, &t, word);
		tx_write(run, &t, 3, 512 * i, 100);
		tx_write(run, &t, 3, 3000 + 512 * i, 100);
		tx_killed(run, &t, &killer);
		if (i % 2 == 0)
			continue; /* the next record is the first one of its epoch */
		op_write(run, 3, 512 * i, 256);
		op_publish(run, 10 + i, 64, 0);
	}
	op_close(run);
	op_open(run);
}

static bool near_end(const struct run *run)
{
	bool near = false;

	for (unsigned i = 0; i < run->heap->nlanes; i++)
		near |= run->heap->lanes[i]->pos % PM_RING_LINES == PM_RING_LINES - 2;
	return near;
}

/* The same for a record that goes over the end of the ring. */
static void killed_over_end(struct run *run)
{
	static struct killer killer;
	struct txn t;

	expect_death(run, &killer);
	setup_objects(run);
	for (unsigned i = 0; i < PM_RING_LINES && !run->failed && !near_end(run); i++)
		op_set(run, 0);
	op_persist_word(run, 0); /* settles, and gives the ring's beginning back */
	tx_begin(run, &t);
	tx_write(run, &t, 3, 0, 200);
	tx_write(run, &t, 3, 3000, 200);
	tx_killed(run, &t, &killer);
	op_set(run, 0);
}

static uint64_t lines_used(const struct run *run)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < run->heap->nlanes; i++) {
		const struct ph_lane *lane = run->heap->lanes[i];

		most = lane->pos - lane->head > most ? lane->pos - lane->head : most;
	}
	return most;
}

/*
 * Records for which there is no room, although the ring was not nearly full: they are
 * written where records were that the checkpoint before them has just settled.
 */
static void no_room(struct run *run)
{
	struct txn t;

	setup_objects(run);
	for (unsigned i = 0; i < 3; i++) {
		while (!run->failed && lines_used(run) < PM_RING_LINES * 11 / 16)
			op_set(run, 0);
		tx_begin(run, &t);
		for (unsigned at = 0; at < 5000; at += 250)
			tx_write(run, &t, 3, at, 250);
		tx_commit(run, &t);
	}
}

const struct scenario scenarios_pool[] = {
	{.name = "create", .fn = create, .nested = 200},
	{.name = "killed", .fn = killed, .nested = 300},
	{.name = "killed-over-end", .fn = killed_over_end, .every = 4, .nested = 400, .weight = 4},
	{.name = "close-open", .fn = close_open, .nested = 200},
	{.name = "no-room", .fn = no_room, .every = 16, .nested = 400, .weight = 4},
	{.name = "roots", .fn = roots, .nested = 300},
	{.name = "recovery", .fn = recovery, .nested = 40, .weight = 12},
	{.name = NULL},
};
