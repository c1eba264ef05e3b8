/*
 * scenario-msync.c - a pool in a file that is no persistent memory: pages are written back
 * by msync, and power cuts mix old and new sectors (msync.h).
 */
#include "scenario.h"

static void by_msync(struct run *run)
{
	run->rig->sim[0]->pages = run->rig->sim[1]->pages = true;
}

/* Records in two lines of two pages each, checkpoints, and what they leave to recovery. */
static void single(struct run *run)
{
	by_msync(run);
	setup_objects(run);
	for (unsigned i = 0; i < 3; i++) {
		op_set(run, i);
		op_write(run, 3, 0, 100);
		op_write(run, 3, 4000, 250);
		op_publish(run, 10 + i, 64, 0);
		op_publish(run, 20 + i, 3000, 0);
		op_persist_word(run, i); /* a checkpoint */
		op_retire(run, 10 + i);
		op_replace(run, 20 + i, 200, 0);
		op_memcpy(run, 2, 100, 600);
	}
	op_cut(run);
	op_set(run, 3);
	op_close(run);
	op_open(run);
}

static void transactions(struct run *run)
{
	struct txn a, b;

	by_msync(run);
	setup_objects(run);
	for (unsigned i = 0; i < 3; i++) {
		tx_begin(run, &a);
		tx_snapshot(run, &a, 2, 0, 400);
		tx_store(run, &a, 2, 0, 400);
		tx_begin(run, &b);
		tx_snapshotv(run, &b, 3, 700, 6);
		op_set(run, 0);
		tx_alloc(run, &a, 8 + i, 64);
		tx_set(run, &a, 7);
		if (i == 1)
			tx_abort(run, &a);
		else
			tx_commit(run, &a);
		tx_write(run, &b, 3, 0, 100);
		tx_commit(run, &b);
	}
	op_cut(run);
}

const struct scenario scenarios_msync[] = {
	{.name = "msync", .fn = single, .every = 2, .nested = 300},
	{.name = "msync-tx", .fn = transactions, .every = 2, .nested = 300},
	{.name = NULL},
};
