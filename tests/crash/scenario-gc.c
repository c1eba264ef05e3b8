/*
 * scenario-gc.c - collections: what nothing reaches is freed, and nothing else, wherever a
 * crash comes; in slabs that are loaded and in those that are not.
 */
#include "scenario.h"

#define LIST FIRST_LIST

static void fill_lists(struct run *run)
{
	for (unsigned i = 0; i < 6; i++) {
		op_push(run, LIST, 64);
		op_push(run, LIST + 1, i % 2 ? 64 : 1024);
		op_push(run, LIST + 2, 5120);
	}
}

/* What stays, and what goes, lie in the same slabs; then their memory is used again. */
static void lists(struct run *run)
{
	setup(run);
	fill_lists(run);
	op_publish(run, 0, 64, 0);
	op_alloc_into(run, 1, 131072, true);
	op_leak(run, LIST + 1);
	op_leak(run, 1);
	op_gc_dry(run);
	op_gc(run, 0);
	fill_lists(run);
	op_write(run, 0, 8, 16);
	op_leak(run, LIST);
	op_leak(run, LIST + 2);
	op_gc(run, 0);
	op_gc(run, 0);
	for (unsigned i = 0; i < 8; i++)
		op_push(run, LIST, 64);
	op_pop(run, LIST);
	op_gc(run, 0);
}

/* In spans that this session has not touched: nothing but their bits changes. */
static void unloaded(struct run *run)
{
	setup(run);
	for (unsigned round = 0; round < 2; round++) {
		fill_lists(run);
		op_alloc_into(run, 1, 200704, true);
		op_leak(run, LIST);
		op_leak(run, LIST + 2);
		op_leak(run, 1);
		if (round)
			op_cut(run);
		else {
			op_close(run);
			op_open(run);
		}
		op_gc(run, 0);
		fill_lists(run);
		op_leak(run, LIST + 2);
	}
	op_gc(run, 0);
	op_alloc_into(run, 1, 655360, true);
}

/* More than one record. */
static void batches(struct run *run)
{
	setup(run);
	op_push(run, LIST, 64);
	for (unsigned i = 0; i < 12; i++)
		op_litter(run, 64, 128);
	for (size_t size = 80; size <= 4096; size += size < 512 ? 48 : 512)
		op_litter(run, size, 1);
	for (unsigned i = 0; i < 12; i++)
		op_litter(run, 16, 256);
	op_push(run, LIST, 64);
	op_gc(run, 0);
	op_push(run, LIST, 64);
}

/* What a transaction would restore, or has saved a part of, stays until it ends. */
static void transaction(struct run *run)
{
	struct txn t;

	setup(run);
	fill_lists(run);
	op_publish(run, 0, 1024, 0);
	if (!run->failed)
		pheap_gc_join(run->heap);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 0, 0, 512);
	tx_store(run, &t, 0, 64, 200);
	op_leak(run, LIST);
	op_gc(run, 0);
	tx_alloc(run, &t, 2, 64);
	op_gc(run, 0);
	tx_commit(run, &t);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 0, 0, 512);
	op_leak(run, 0); /* the object that the transaction has saved */
	op_gc(run, 1);
	tx_abort(run, &t);
	op_gc(run, 0);
	op_publish(run, 0, 1024, 0);
}

/* Young objects that die, those that live, and old ones that refer to young ones. */
static void young(struct run *run)
{
	setup(run);
	op_push(run, LIST, 64);
	op_generations(run, 2);
	op_gc_young(run); /* looks at everything */
	for (unsigned round = 0; round < 4; round++) {
		op_push(run, LIST + 1, 64);
		op_push(run, LIST + 1, 1024);
		op_link(run, LIST, 64); /* behind an old one */
		op_gc_young(run);
		op_leak(run, LIST + 1);
		op_push(run, LIST + 2, 5120);
		op_gc_young(run);
		op_unlink(run, LIST);
	}
	op_gc(run, 0);
	op_push(run, LIST + 1, 64);
	op_gc_young(run);
	op_cut(run);
	op_push(run, LIST + 1, 64);
	op_leak(run, LIST + 1);
	op_gc(run, 0);
}

const struct scenario scenarios_gc[] = {
	{.name = "gc-lists", .fn = lists, .every = 2, .nested = 200, .weight = 3},
	{.name = "gc-unloaded", .fn = unloaded, .every = 2, .nested = 200, .weight = 3},
	{.name = "gc-batches", .fn = batches, .every = 4, .nested = 400, .weight = 4},
	{.name = "gc-tx", .fn = transaction, .nested = 200, .weight = 4},
	{.name = "gc-young", .fn = young, .nested = 200, .weight = 3},
	{.name = NULL},
};
