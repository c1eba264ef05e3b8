/*
 * scenario-pool.c - create, close, open, recover; named roots.
 */
#include <string.h>

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

const struct scenario scenarios_pool[] = {
	{.name = "create", .fn = create, .nested = 200},
	{.name = "close-open", .fn = close_open, .nested = 200},
	{.name = "roots", .fn = roots, .nested = 300},
	{.name = "recovery", .fn = recovery, .nested = 40, .weight = 12},
	{.name = NULL},
};
