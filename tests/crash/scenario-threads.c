/*
 * scenario-threads.c - operations of several threads, one after the other: records of
 * one line in several rings, memory that one thread publishes and another frees.
 */
#include "scenario.h"
#include "worker.h"

static void set_words(struct run *run)
{
	op_set(run, 0);
	op_set(run, (unsigned)dice(run, MODEL_WORDS));
}

static void swap_object(struct run *run)
{
	unsigned slot = (unsigned)dice(run, 4);

	if (run->now.slot[slot])
		op_retire(run, slot);
	else
		op_publish(run, slot, 64 + dice(run, 3) * 64, 0);
}

/* Two rings with records for the same lines: their stamps order them. */
static void two(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 30; i++)
		worker_do(run, 1 + i % 2, i % 3 ? set_words : swap_object);
}

/* A new ring's own publication lies in another ring. */
static void new_ring(struct run *run)
{
	setup(run);
	worker_do(run, 1, set_words);
	worker_do(run, 2, set_words);
	worker_do(run, 2, swap_object);
	worker_do(run, 1, swap_object);
	worker_end(run, 2);
	worker_do(run, 3, set_words);
	op_close(run);
	op_open(run);
	worker_do(run, 3, swap_object);
	worker_do(run, 1, set_words);
}

static void wrap_step(struct run *run)
{
	for (unsigned i = 0; i < 20 && !run->failed; i++)
		op_set(run, (unsigned)dice(run, MODEL_WORDS));
	swap_object(run);
}

/* One ring fills up while the other stands still, and the reverse. */
static void wrap(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 40 * scenario_scale && !run->failed; i++)
		worker_do(run, i % 8 ? 1 : 2, wrap_step);
}

static void make_large(struct run *run)
{
	op_alloc_into(run, 4, 200000, true);
}

/* More lines than a lane can note for the next checkpoint. */
static void write_many_lines(struct run *run)
{
	struct txn t;

	tx_begin(run, &t);
	tx_scatter(run, &t, 4, 64, 2200);
	tx_set(run, &t, 0);
	tx_commit(run, &t);
}

static void settle(struct run *run)
{
	op_persist_word(run, 0);
	op_set(run, 1);
}

/* One thread settles what the other one has written: its fence is not the other's. */
static void many_lines(struct run *run)
{
	setup(run);
	worker_do(run, 1, make_large);
	worker_do(run, 1, write_many_lines);
	worker_do(run, 2, settle);
}

static void random_threads(struct run *run)
{
	setup(run);
	run->tolerant = true;
	for (unsigned i = 0; i < 120 * scenario_scale && !run->failed && !rig_done(run->rig); i++) {
		worker_do(run, 1 + (unsigned)dice(run, 3), op_random);
		if (i % 40 == 39)
			worker_end(run, 1 + (unsigned)dice(run, 3));
	}
}

const struct scenario scenarios_threads[] = {
	{.name = "threads-two", .fn = two, .nested = 400},
	{.name = "threads-new", .fn = new_ring, .nested = 400},
	{.name = "threads-wrap", .fn = wrap, .every = 48, .nested = 400},
	{.name = "threads-many-lines", .fn = many_lines, .nested = 600, .weight = 1},
	{.name = "threads-random", .fn = random_threads, .every = 4, .nested = 300},
	{.name = NULL},
};
