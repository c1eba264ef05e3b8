/*
 * scenario-space.c - where memory comes from and goes to: slabs, spans, a full pool,
 * rings that wrap around.
 */
#include "scenario.h"

/* A slab's birth, its last object, the next slab, and the return of both. */
static void slab(struct run *run)
{
	setup(run);
	/* 12 KiB: five to a granule. */
	for (unsigned i = 0; i < 12; i++)
		op_publish(run, i, 12288, 0);
	for (unsigned i = 0; i < 12; i++)
		op_retire(run, (i * 5) % 12);
	/* The granules are used for something else. */
	for (unsigned i = 0; i < 4; i++)
		op_alloc_into(run, i, 65536, true);
	for (unsigned i = 4; i < 20; i++)
		op_alloc_into(run, i, 1024, false);
	for (unsigned i = 0; i < 20; i++)
		op_retire(run, i);
	op_publish(run, 0, 12288, 0);
}

static void span(struct run *run)
{
	static const size_t size[] = {70000, 200000, 66000, 600000, 1000000, 131072};

	setup(run);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 6; i++)
			op_alloc_into(run, i, size[(i + round) % 6], true);
		for (unsigned i = 0; i < 6; i += 2)
			op_retire(run, i);
		op_resize(run, 1, size[round]);
		op_alloc_into(run, 0, 3 * 65536, true);
		for (unsigned i = 0; i < 6; i++)
			if (run->now.slot[i])
				op_retire(run, i);
	}
	op_publish(run, 0, 64, 0);
}

/* Large spans that are retired stay born, are published again, live through a close, and
 * make way when the pool is full. */
static void kept(struct run *run)
{
	struct txn t;
	unsigned n = 0;
	int held;

	setup(run);
	for (unsigned round = 0; round < 3; round++) {
		op_publish(run, 0, 250000 - round, PHEAP_PERSISTED);
		op_write(run, 0, 4096, 200);
		op_publish(run, 1, 1000, 0); /* settled or not, it is not in the way */
		op_retire(run, 0);
		op_retire(run, 1);
	}
	/* In a kept span: content that is flushed, and content of an undo log. */
	op_alloc_into(run, 0, 240000, true);
	op_replace(run, 0, 250000, 0);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 0, 0, 231000); /* as much as the old object's span holds */
	tx_store(run, &t, 0, 0, 15000);
	tx_alloc(run, &t, 2, 245000);
	tx_commit(run, &t);
	tx_begin(run, &t);
	tx_retire(run, &t, 0);
	tx_retire(run, &t, 2);
	tx_commit(run, &t);
	held = op_reserve(run, 250000);
	op_set(run, 0);
	op_unreserve(run, held);
	op_purge(run, 0);
	op_publish(run, 3, 250000, PHEAP_PERSISTED);
	op_retire(run, 3);
	op_close(run);
	op_open(run);
	op_publish(run, 0, 250000, PHEAP_PERSISTED);
	op_retire(run, 0);
	run->tolerant = true;
	while (n < 20 && op_publish(run, n, 1500000, PHEAP_PERSISTED))
		n++;
	while (n--)
		op_retire(run, n);
	op_publish(run, 30, 64, 0);
}

/* Holes are punched where objects of all kinds were, which live records wrote to a moment
 * ago, and the granules are taken again. */
static void punch(struct run *run)
{
	struct txn t;

	setup(run);
	for (unsigned round = 0; round < 2; round++) {
		op_publish(run, 0, 250000, PHEAP_PERSISTED);
		op_publish(run, 1, 60000, PHEAP_PERSISTED);
		op_publish(run, 2, 3000, 0);
		op_write(run, 0, 65536, 100);
		op_write(run, 1, 8, 200);
		tx_begin(run, &t);
		tx_snapshot(run, &t, 0, 1000, 13000);
		tx_store(run, &t, 0, 1000, 13000);
		tx_retire(run, &t, 1);
		tx_commit(run, &t);
		op_retire(run, 0);
		op_purge(run, PHEAP_PUNCH_HOLES);
		op_publish(run, 3, 1000, 0);
		op_alloc_into(run, 0, 70000, true);
		op_retire(run, 2);
		op_retire(run, 3);
		op_purge(run, PHEAP_PUNCH_HOLES);
		op_replace(run, 0, 250000, 0);
		op_retire(run, 0);
	}
}

/* A pool without room: frees work, nothing is lost. */
static void full(struct run *run)
{
	unsigned n = 0;
	struct txn t;

	setup(run);
	op_alloc_into(run, 59, 40000, true);
	run->tolerant = true;
	while (n < 40 && op_alloc_into(run, n, 400000, true))
		n++;
	while (n < 56 && op_alloc_into(run, n, 65000, true))
		n++;
	op_publish(run, 60, 500000, 0);
	op_publish(run, 61, 64, 0);
	op_push(run, 62, 3000);
	/* No room for an extension, nor for an undo log to go on. */
	tx_begin(run, &t);
	tx_snapshot(run, &t, 59, 30000, 1000);
	tx_store(run, &t, 59, 30000, 1000);
	tx_scatter(run, &t, 59, 24, 800);
	tx_commit(run, &t);
	tx_begin(run, &t);
	tx_snapshot(run, &t, 59, 0, 1000);
	tx_store(run, &t, 59, 0, 1000);
	if (tx_snapshot(run, &t, 59, 0, 40000))
		tx_store(run, &t, 59, 0, 40000);
	tx_commit(run, &t);
	for (unsigned i = 0; i < n; i += 2)
		op_retire(run, i);
	op_publish(run, 60, 500000, 0);
	op_replace(run, 60, 64, 0);
	for (unsigned i = 1; i < n; i += 2)
		op_retire(run, i);
	op_alloc_into(run, 0, 2000000, true);
}

/* Rings fill up, wrap around, and are settled; small records and large ones. */
static void wrap(struct run *run)
{
	struct txn t;

	setup_objects(run);
	for (unsigned i = 0; i < 300 * scenario_scale && !run->failed; i++) {
		op_set(run, i % MODEL_WORDS);
		if (i % 3 == 0)
			op_write(run, 2, i % 90 * 8, 256);
		if (i % 4 == 0 && !run->now.slot[10 + i % 40])
			op_publish(run, 10 + i % 40, 64 + i % 3 * 100, 0);
		else if (i % 4 == 0)
			op_retire(run, 10 + i % 40);
		if (i % 50 == 25) {
			tx_begin(run, &t);
			tx_scatter(run, &t, 3, 16, 300);
			tx_commit(run, &t);
		}
	}
}

/* One line written by very many records between two checkpoints. */
static void same_line(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 280 * scenario_scale; i++)
		op_set(run, i % 2);
}

static void random_mix(struct run *run)
{
	setup(run);
	run->tolerant = true;
	for (unsigned i = 0; i < 150 * scenario_scale && !run->failed && !rig_done(run->rig); i++) {
		op_random(run);
		if (i % 64 == 63) {
			op_unreserve_all(run);
			op_close(run);
			op_open(run);
		}
	}
}

const struct scenario scenarios_space[] = {
	{.name = "slab", .fn = slab, .every = 2, .nested = 400},
	{.name = "span", .fn = span, .every = 2, .nested = 400},
	{.name = "kept", .fn = kept, .every = 6, .nested = 400, .weight = 4},
	{.name = "punch", .fn = punch, .every = 4, .nested = 400, .weight = 4},
	{.name = "full", .fn = full, .every = 8, .nested = 400, .weight = 4},
	{.name = "wrap", .fn = wrap, .every = 24, .nested = 400},
	{.name = "same-line", .fn = same_line, .every = 12, .nested = 400},
	{.name = "random-1", .fn = random_mix, .every = 4, .nested = 300},
	{.name = "random-2", .fn = random_mix, .every = 4, .nested = 300},
	{.name = "random-3", .fn = random_mix, .every = 4, .nested = 300},
	{.name = NULL},
};
