/*
 * scenario-tx.c - transactions: redo, undo, mixed; too large for a record, too large
 * for an undo area; several at a time.
 */
#include "scenario.h"

static void redo(struct run *run)
{
	struct txn t;

	setup_objects(run);
	tx_begin(run, &t); /* empty */
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_alloc(run, &t, 10, 64);
	tx_alloc(run, &t, 11, 300);
	tx_retire(run, &t, 1);
	tx_set(run, &t, 0);
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_free(run, &t, 10);
	tx_write(run, &t, 2, 100, 300);
	tx_alloc(run, &t, 12, 70000);
	tx_adopt(run, &t, 13, op_reserve(run, 100));
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_alloc(run, &t, 14, 64);
	tx_retire(run, &t, 12);
	tx_set(run, &t, 1);
	tx_abort(run, &t);
	op_publish(run, 1, 64, 0);
}

static void undo(struct run *run)
{
	struct txn t;

	setup_objects(run);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 2, 0, 500);
	tx_store(run, &t, 2, 0, 500);
	tx_snapshot(run, &t, 3, 40, 8);
	tx_store(run, &t, 3, 40, 8);
	tx_store(run, &t, 2, 100, 100);
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_snapshotv(run, &t, 3, 256, 8);
	tx_snapshot_word(run, &t, 3);
	tx_store_word(run, &t, 3);
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_snapshot(run, &t, 2, 8, 700);
	tx_store(run, &t, 2, 8, 700);
	tx_snapshot_word(run, &t, 3);
	tx_store_word(run, &t, 3);
	tx_abort(run, &t);

	tx_begin(run, &t);
	tx_snapshot_word(run, &t, 3);
	tx_store_word(run, &t, 3);
	tx_commit(run, &t);
}

/* Links changed in place, as programs written for undo logs do it. */
static void links(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_root(run, 0);
	for (unsigned i = 0; i < 4; i++) {
		tx_begin(run, &t);
		tx_link(run, &t, 10 + i, 64 << 3 * i);
		if (i)
			tx_unlink(run, &t, 9 + i);
		tx_link(run, &t, ROOT(0), 128);
		tx_unlink(run, &t, i);
		if (i % 2)
			tx_abort(run, &t);
		else
			tx_commit(run, &t);
		if (run->now.slot[ROOT(0)])
			op_retire(run, ROOT(0));
		if (!run->now.slot[9 + i + 1])
			op_publish(run, 9 + i + 1, 64, 0);
	}
}

/* An object goes while a transaction has saved part of it: refused, or harmless to
 * whoever gets the memory next. */
static void foreign(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_set(run, 0);
	op_persist_word(run, 0);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 3, 0, 500);
	op_retire_busy(run, 3);
	op_alloc_into(run, 10, 5120, false);
	op_alloc_into(run, 11, 5120, false);
	tx_abort(run, &t);
	op_set(run, 0);
}

/* Snapshots of what redo records wrote just before, and redo after undo. */
static void meeting(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_set(run, 0);
	op_write(run, 2, 0, 200);
	tx_begin(run, &t);
	tx_snapshot_word(run, &t, 0);
	tx_store_word(run, &t, 0);
	tx_snapshot(run, &t, 2, 64, 64);
	tx_store(run, &t, 2, 64, 64);
	op_set(run, 5); /* another word of the same line */
	op_write(run, 2, 200, 100);
	tx_commit(run, &t);
	op_set(run, 0);
	op_write(run, 2, 0, 200);

	tx_begin(run, &t);
	tx_snapshot_word(run, &t, 0);
	tx_store_word(run, &t, 0);
	op_set(run, 6);
	tx_abort(run, &t);
	op_set(run, 0);
	op_retire(run, 2);
	op_publish(run, 2, 1000, 0);
}

static void mixed(struct run *run)
{
	struct txn t;

	setup_objects(run);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 3, 0, 1000);
	tx_store(run, &t, 3, 0, 1000);
	tx_alloc(run, &t, 10, 64);
	tx_alloc(run, &t, 11, 5000);
	tx_retire(run, &t, 0);
	tx_set(run, &t, 2);
	tx_write(run, &t, 2, 0, 256);
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_alloc(run, &t, 0, 64);
	tx_snapshot(run, &t, 3, 500, 1000);
	tx_store(run, &t, 3, 500, 1000);
	tx_free(run, &t, 11);
	tx_set(run, &t, 2);
	tx_abort(run, &t);

	tx_begin(run, &t);
	tx_alloc(run, &t, 0, 64);
	tx_snapshot_word(run, &t, 4);
	tx_store_word(run, &t, 4);
	tx_free(run, &t, 11);
	tx_commit(run, &t);
}

/* Two open at once, ending in either order, with single operations between. */
static void several(struct run *run)
{
	struct txn a, b, c;

	setup_objects(run);
	tx_begin(run, &a);
	tx_begin(run, &b);
	tx_snapshot(run, &a, 2, 0, 300);
	tx_store(run, &a, 2, 0, 300);
	tx_snapshot(run, &b, 3, 0, 300);
	tx_store(run, &b, 3, 0, 300);
	op_publish(run, 20, 64, 0);
	tx_begin(run, &c);
	tx_snapshot_word(run, &c, 0);
	tx_store_word(run, &c, 0);
	tx_alloc(run, &b, 21, 64);
	tx_commit(run, &a);
	tx_snapshot(run, &c, 2, 0, 300);
	tx_store(run, &c, 2, 0, 300);
	tx_abort(run, &b);
	tx_commit(run, &c);
}

/* Too many entries for a record in the ring. */
static void extension(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_alloc_into(run, 4, 20000, true);
	tx_begin(run, &t);
	tx_scatter(run, &t, 4, 24, 800);
	tx_alloc(run, &t, 10, 64);
	tx_retire(run, &t, 0);
	tx_commit(run, &t);
	op_set(run, 0);
	op_publish(run, 0, 64, 0);

	tx_begin(run, &t);
	for (unsigned i = 0; i < 30; i++)
		tx_alloc(run, &t, 20 + i, 100 + i);
	tx_scatter(run, &t, 4, 16, 600);
	tx_commit(run, &t);
	/* On both sides of what a record in the ring can hold. */
	for (unsigned i = 0; i < 5; i++) {
		tx_begin(run, &t);
		tx_scatter(run, &t, 4, 24, PM_RECORD_LINES_MAX * 4 - 4 + i);
		tx_commit(run, &t);
	}
	/* The extension's memory is given back, and used again. */
	op_publish(run, 5, 70000, 0);
	op_publish(run, 6, 70000, 0);
	op_set(run, 0);
}

/* More lines than a lane can remember to flush. */
static void very_many_lines(struct run *run)
{
	struct txn t;

	setup(run);
	op_alloc_into(run, 4, 200000, true);
	tx_begin(run, &t);
	tx_scatter(run, &t, 4, 64, 2200);
	tx_set(run, &t, 0);
	tx_commit(run, &t);
	op_persist_word(run, 0); /* settles the record: its lines have to be durable */
	op_set(run, 0);
	op_write(run, 4, 640, 100);
	tx_begin(run, &t);
	tx_scatter(run, &t, 4, 128, 1200);
	tx_commit(run, &t);
}

/* One transaction that says more than once what becomes of a place. */
static void again(struct run *run)
{
	struct txn t;

	setup_objects(run);
	tx_begin(run, &t);
	tx_set(run, &t, 0);
	tx_set(run, &t, 0);
	tx_retire(run, &t, 0);
	tx_alloc(run, &t, 0, 64);
	tx_write(run, &t, 2, 0, 300);
	tx_write(run, &t, 2, 100, 300);
	tx_commit(run, &t);

	/* Snapshots that overlap: the oldest content counts. */
	for (unsigned i = 0; i < 2; i++) {
		tx_begin(run, &t);
		tx_snapshot(run, &t, 2, 0, 200);
		tx_store(run, &t, 2, 0, 200);
		tx_snapshot(run, &t, 2, 100, 300);
		tx_store(run, &t, 2, 50, 350);
		tx_snapshot(run, &t, 2, 0, 500);
		tx_store(run, &t, 2, 0, 500);
		tx_write(run, &t, 2, 40, 100); /* and redo on top */
		if (i)
			tx_commit(run, &t);
		else
			tx_abort(run, &t);
	}
	/* What is changed in place and freed at once. */
	tx_begin(run, &t);
	tx_snapshot(run, &t, 3, 0, 500);
	tx_store(run, &t, 3, 0, 500);
	tx_retire(run, &t, 3);
	tx_commit(run, &t);
	op_publish(run, 3, 5120, PHEAP_PERSISTED);
	op_publish(run, 4, 5120, PHEAP_PERSISTED);
}

/* More old bytes than an undo area holds. */
static void overflow(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_alloc_into(run, 4, 60000, false);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 2, 0, 1000);
	tx_store(run, &t, 2, 0, 1000);
	tx_snapshot(run, &t, 4, 0, 12000);
	tx_store(run, &t, 4, 0, 12000);
	tx_snapshot(run, &t, 3, 0, 3000);
	tx_store(run, &t, 3, 0, 3000);
	tx_commit(run, &t);

	tx_begin(run, &t);
	tx_snapshot(run, &t, 4, 0, 30000);
	tx_store(run, &t, 4, 0, 30000);
	tx_snapshot(run, &t, 3, 0, 3000);
	tx_store(run, &t, 3, 0, 3000);
	tx_abort(run, &t);
	op_publish(run, 5, 70000, 0);
	op_set(run, 0);
}

/* Logs of one transaction after the other in the same area: old entries there must
 * stay dead, also after recovery. */
static void generations(struct run *run)
{
	struct txn t;

	setup_objects(run);
	for (unsigned i = 0; i < 6; i++) {
		tx_begin(run, &t);
		tx_snapshot(run, &t, i % 2 ? 2 : 3, 0, 600 - 90 * i);
		tx_store(run, &t, i % 2 ? 2 : 3, 0, 600 - 90 * i);
		if (i < 4)
			tx_snapshot(run, &t, 1, 0, 64 + 8 * i);
		if (i % 3 == 2)
			tx_abort(run, &t);
		else
			tx_commit(run, &t);
		op_write(run, i % 2 ? 2 : 3, 0, 100);
	}
}

/* The ring is full, or nearly, when a record comes whose entries lie elsewhere. */
static void extension_full_ring(struct run *run)
{
	struct txn t;

	setup_objects(run);
	op_alloc_into(run, 4, 20000, true);
	for (unsigned i = 0; i < 4; i++) {
		op_set(run, 0);
		op_persist_word(run, 0); /* settles: the ring is empty */
		for (unsigned n = 0; n < PM_RING_LINES - 2 + i; n++)
			op_set(run, n % 3);
		tx_begin(run, &t);
		tx_scatter(run, &t, 4, 24, 800);
		tx_commit(run, &t);
		op_set(run, 0);
	}
}

/* More open transactions than a lane has undo logs: lanes are added, whose own
 * publication is unsettled yet when they are used. */
static void lanes(struct run *run)
{
	struct txn t[8];

	setup_objects(run);
	for (unsigned i = 0; i < 8; i++)
		op_alloc_into(run, 10 + i, 300, false);
	for (unsigned i = 0; i < 8; i++) {
		tx_begin(run, &t[i]);
		tx_snapshot(run, &t[i], 10 + i, 0, 200);
		tx_store(run, &t[i], 10 + i, 0, 200);
	}
	op_set(run, 0);
	for (unsigned i = 0; i < 8; i++)
		if (i % 3)
			tx_commit(run, &t[i]);
		else
			tx_abort(run, &t[i]);
	op_set(run, 0);
}

/* Two logs of the same generation go on in the same memory, one after the other:
 * what the first left there must not be taken for the second's. Entries hold this
 * much each, so that those of both begin at the same places. */
#define ENTRY_DATA (PM_PAGE - sizeof(struct pm_undo))

static void areas(struct run *run)
{
	struct txn a, b;

	setup_objects(run);
	op_alloc_into(run, 4, 60000, false);
	op_alloc_into(run, 5, 60000, false);
	tx_begin(run, &a);
	tx_snapshot(run, &a, 2, 0, 100);
	tx_store(run, &a, 2, 0, 100);
	tx_begin(run, &b);
	tx_snapshot(run, &b, 3, 0, 100);
	tx_store(run, &b, 3, 0, 100);
	tx_snapshot(run, &b, 4, 0, 10 * ENTRY_DATA);
	tx_store(run, &b, 4, 0, 10 * ENTRY_DATA);
	tx_commit(run, &b);
	tx_snapshot(run, &a, 5, 0, 4 * ENTRY_DATA);
	tx_store(run, &a, 5, 0, 4 * ENTRY_DATA);
	op_set(run, 0);
	tx_commit(run, &a);
}

/* Lane blocks are made where undo logs went on before. */
static void lane_over_area(struct run *run)
{
	struct txn t, open[7];
	unsigned n = 0;

	setup_objects(run);
	op_alloc_into(run, 4, 200000, true);
	for (unsigned i = 0; i < 7; i++)
		op_alloc_into(run, 20 + i, 100, false);
	for (unsigned round = 0; round < 2; round++) {
		tx_begin(run, &t);
		tx_snapshot(run, &t, 2, 0, 100);
		tx_store(run, &t, 2, 0, 100);
		tx_snapshot(run, &t, 4, 0, 180000);
		tx_store(run, &t, 4, 8 * round, 64);
		tx_commit(run, &t);
		op_alloc_into(run, 10 + round, 65536, true);
		while (n < 4 + 3 * round) {
			tx_begin(run, &open[n]);
			tx_snapshot(run, &open[n], 20 + n, 0, 100);
			tx_store(run, &open[n], 20 + n, 0, 100);
			n++;
		}
		op_set(run, 0);
	}
	while (n--)
		tx_commit(run, &open[n]);
}

/* Lane blocks are made of memory that is full of ones. */
static void lane_over_ones(struct run *run)
{
	struct txn open[8];

	setup_memory(run, 0xff);
	setup_objects(run);
	for (unsigned i = 0; i < 8; i++)
		op_alloc_into(run, 20 + i, 100, false);
	for (unsigned i = 0; i < 8; i++) {
		tx_begin(run, &open[i]);
		tx_snapshot(run, &open[i], 20 + i, 0, 100);
		tx_store(run, &open[i], 20 + i, 0, 100);
	}
	op_set(run, 0);
	for (unsigned i = 0; i < 8; i++)
		tx_commit(run, &open[i]);
	/* The logs of these lanes work after a crash, too. */
	op_cut(run);
	for (unsigned i = 0; i < 8; i++) {
		tx_begin(run, &open[i]);
		tx_snapshot(run, &open[i], 20 + i, 0, 100);
		tx_store(run, &open[i], 20 + i, 0, 100);
	}
	op_set(run, 0);
	for (unsigned i = 0; i < 8; i++)
		tx_commit(run, &open[i]);
}

const struct scenario scenarios_tx[] = {
	{.name = "tx-redo", .fn = redo, .nested = 400},
	{.name = "tx-undo", .fn = undo, .nested = 300},
	{.name = "tx-links", .fn = links, .nested = 300},
	{.name = "tx-foreign", .fn = foreign, .nested = 300},
	{.name = "tx-meeting", .fn = meeting, .nested = 300},
	{.name = "tx-mixed", .fn = mixed, .nested = 300},
	{.name = "tx-again", .fn = again, .nested = 300},
	{.name = "tx-several", .fn = several, .nested = 300},
	{.name = "tx-extension", .fn = extension, .every = 2, .nested = 300, .weight = 4},
	{.name = "tx-full-ring", .fn = extension_full_ring, .every = 16, .nested = 400},
	{.name = "tx-lanes", .fn = lanes, .nested = 400},
	{.name = "tx-areas", .fn = areas, .nested = 300, .weight = 4},
	{.name = "tx-lane-over-area", .fn = lane_over_area, .every = 2, .nested = 400, .weight = 2},
	{.name = "tx-lane-over-ones", .fn = lane_over_ones, .every = 2, .nested = 400},
	{.name = "tx-many-lines", .fn = very_many_lines, .nested = 600, .weight = 1},
	{.name = "tx-overflow", .fn = overflow, .nested = 300, .weight = 4},
	{.name = "tx-generations", .fn = generations, .nested = 300},
	{.name = NULL},
};
