/*
 * scenario-arena.c - arenas in the heap: filled, sealed, used, dropped; and what else
 * changes media and has no scenario of its own.
 */
#include <errno.h>

#include "scenario.h"

#define SLOT FIRST_LIST

/* One block; several; some with a request of their own; blocks that are large objects. */
static void seal(struct run *run)
{
	struct arena a;

	setup(run);
	arena_begin(run, &a, 256);
	arena_alloc(run, &a, 24, 3);
	arena_seal(run, &a, SLOT);
	arena_alloc(run, &a, 56, 12);
	arena_alloc(run, &a, 2000, 1);
	arena_alloc(run, &a, 40, 2);
	arena_alloc(run, &a, 70000, 1);
	arena_seal(run, &a, SLOT + 1);
	op_set(run, 0);
	op_drop_arena(run, SLOT);
	arena_alloc(run, &a, 56, 5);
	arena_end(run, &a); /* nothing of it was sealed */
	arena_begin(run, &a, 4096);
	arena_alloc(run, &a, 5000, 1); /* no block of the usual size */
	arena_seal(run, &a, SLOT);
	op_close(run);
	op_open(run);
	op_drop_arena(run, SLOT + 1);
	op_drop_arena(run, SLOT);
	op_publish(run, 0, 256, 0);
}

/* Memory of arenas that were reset, dropped or never sealed, used by others at once. */
static void reuse(struct run *run)
{
	struct arena a;

	setup(run);
	arena_begin(run, &a, 1024);
	for (unsigned i = 0; i < 4; i++) {
		arena_alloc(run, &a, 200, 6);
		arena_reset(run, &a);
		op_publish(run, i, 1024, 0);
		op_write(run, i, 8, 100);
		arena_alloc(run, &a, 200, 9);
		op_retire(run, i);
		arena_seal(run, &a, SLOT + i % 2);
		op_publish(run, i, 1024, 0);
		op_drop_arena(run, SLOT + i % 2);
		op_retire(run, i);
		op_alloc_into(run, i, 1000, true);
	}
	arena_end(run, &a);
}

/* More blocks than a record in the ring has room for. */
static void many_blocks(struct run *run)
{
	struct arena a;

	setup(run);
	for (unsigned i = 0; i < 8; i++)
		op_publish(run, i, 1000 + 700 * i, 0);
	arena_begin(run, &a, 1024);
	arena_alloc(run, &a, 904, 1100);
	arena_seal(run, &a, SLOT);
	op_retire(run, 2);
	op_drop_arena(run, SLOT);
	arena_end(run, &a);
}

/* The pool is full while an arena is filled, or sealed: it is as it was. */
static void full(struct run *run)
{
	struct arena a;
	unsigned n = 0;

	setup(run);
	run->tolerant = true;
	arena_begin(run, &a, 16384);
	arena_alloc(run, &a, 12000, 4);
	while (n < 40 && op_alloc_into(run, n, 400000, true))
		n++;
	while (n < 50 && op_alloc_into(run, n, 20000, true))
		n++;
	arena_alloc(run, &a, 12000, 2);
	arena_seal(run, &a, SLOT);
	op_retire(run, 0);
	op_drop_arena(run, SLOT);
	arena_end(run, &a);
}

static void misuse(struct run *run, struct arena *a)
{
	pheap_ref *table = pheap_root(run->heap);
	pheap_ref *full = model_slot(run->heap, 0);

	if (!op_begin(run, "arena misuse", 0, 0))
		return;
	if (pheap_arena_seal(a->arena, full, NULL) != -EEXIST)
		run_fail(run, "an arena was sealed over an object");
	if (pheap_arena_seal(a->arena, model_slot(run->heap, SLOT), table) != -EINVAL)
		run_fail(run, "a root outside of the arena was taken");
	if (pheap_arena_drop(run->heap, full) != -EINVAL)
		run_fail(run, "an object was dropped as an arena");
	op_end(run, 0);
}

/* What is refused changes nothing, on media least of all. */
static void refused(struct run *run)
{
	struct arena a;

	setup_objects(run);
	arena_begin(run, &a, 512);
	arena_alloc(run, &a, 96, 7);
	misuse(run, &a);
	arena_alloc(run, &a, 96, 1);
	arena_seal(run, &a, SLOT);
	op_set(run, 0);
	arena_end(run, &a);
}

/* Objects that were asked for in other ways than by pheap_alloc. */
static void asked(struct run *run)
{
	static const size_t size[] = {24, 100, 3000, 65536, 70000};
	int held[5];
	struct txn t;

	setup(run);
	op_publish(run, 9, 3000, 0);
	op_retire(run, 9); /* what is to be zero has been something else */
	for (unsigned i = 0; i < 5; i++)
		held[i] = op_aligned(run, (size_t)64 << 2 * i, size[i]);
	tx_begin(run, &t);
	for (unsigned i = 0; i < 5; i++) {
		tx_zalloc(run, &t, i, size[i]);
		tx_adopt(run, &t, 10 + i, held[i]);
	}
	tx_commit(run, &t);
	op_set(run, 0);
	for (unsigned i = 0; i < 5; i++) {
		op_retire(run, i);
		op_retire(run, 10 + i);
	}
	op_unreserve(run, op_zalloc(run, 3000));
}

const struct scenario scenarios_arena[] = {
	{.name = "arena-seal", .fn = seal, .nested = 300},
	{.name = "arena-reuse", .fn = reuse, .every = 2, .nested = 400},
	{.name = "arena-many", .fn = many_blocks, .every = 4, .nested = 400, .weight = 4},
	{.name = "arena-full", .fn = full, .every = 4, .nested = 400, .weight = 4},
	{.name = "arena-refused", .fn = refused, .nested = 300},
	{.name = "asked", .fn = asked, .nested = 300},
	{.name = NULL},
};
