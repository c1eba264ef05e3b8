/*
 * scenario-traced.c - traced pools: the scenarios of linked ones once more, and what is
 * different: links by plain words, free without a record, memory that records wrote into,
 * spans that are born before they are used, bitmaps at close.
 */
#include "scenario.h"
#include "traced.h"

/* An object that the program links itself, unlinks and frees. */
static void links(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 4; i++)
		op_relink(run, i, i % 2 ? 300 : 64);
	for (unsigned i = 0; i < 12; i++)
		op_relink(run, i % 4, i % 3 ? 64 : 5120);
	op_close(run);
	op_open(run);
	for (unsigned i = 0; i < 6; i++)
		op_relink(run, i % 4, 64);
}

/*
 * Records wrote into an object; it is unlinked and freed, and its memory has another owner,
 * whose content is in no record. A replay must not bring the former back.
 */
static void logged(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 10; i++) {
		op_publish(run, 0, 320, PHEAP_PERSISTED);
		op_write(run, 0, 0, 128);
		op_unlink_free(run, 0);
		op_publish(run, 1, 320, PHEAP_PERSISTED);
		op_publish(run, 2, 320, PHEAP_PERSISTED);
		op_unlink_free(run, 1);
		op_write(run, 2, 64, 256);
		op_unlink_free(run, 2);
	}
}

/* Slabs of an earlier session become empty, end, and their granules serve others. */
static void ends(struct run *run)
{
	static const size_t size[] = {5120, 70000, 16384, 200000};

	setup(run);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 6; i++)
			op_publish(run, i, size[round], 0);
		if (round % 2) {
			op_close(run);
			op_open(run);
		} else {
			op_cut(run);
		}
		for (unsigned i = 0; i < 6; i++)
			op_unlink_free(run, i);
		op_purge(run, 0);
	}
}

/* Close writes what is allocated; the next session starts from that. */
static void closes(struct run *run)
{
	setup_objects(run);
	for (unsigned i = 0; i < 4; i++) {
		op_push(run, FIRST_LIST, 40 + 60 * i);
		op_unreserve(run, op_reserve(run, 64));
		op_close(run);
		op_open(run);
		op_retire(run, i);
		op_alloc_into(run, 4 + i, 1000, true);
		op_cut(run);
		op_pop(run, FIRST_LIST);
		op_push(run, FIRST_LIST, 20);
	}
	op_close(run);
	op_open(run);
}

/* What was lost is freed by the next open, crash or not. */
static void collect(struct run *run)
{
	static const size_t size[] = {64, 300, 5120, 70000};

	setup_objects(run);
	for (unsigned i = 0; i < 4; i++) {
		op_push(run, FIRST_LIST, 40 + 60 * i);
		for (unsigned k = 0; k < 3; k++)
			op_lose(run, size[i]);
		op_close(run);
		op_open(run);
		op_retire(run, i);
		op_alloc_into(run, 4 + i, size[i], true);
	}
}

/* Slabs in which every fourth object is left: four lists that grow in turn, of which one
 * stays. Nothing new for crashes. */
static void make_sparse(struct run *run, unsigned rounds)
{
	const unsigned kept = FIRST_LIST + 3;

	run->blind = true;
	for (unsigned i = 0; i < rounds; i++)
		for (unsigned list = FIRST_LIST; list <= kept; list++)
			op_push(run, list, 5000);
	for (unsigned list = FIRST_LIST; list < kept; list++)
		while (run->now.slot[list] && !run->failed)
			op_pop(run, list);
	run->blind = false;
}

static void compact(struct run *run)
{
	setup(run);
	op_publish(run, 0, 64, 0);
	for (unsigned i = 0; i < 10; i++) {
		make_sparse(run, 12);
		if (i % 2) {
			op_close(run);
			op_open(run);
		}
		op_compact(run, true);
		op_push(run, FIRST_LIST + 4, 40);
	}
	op_compact(run, false);
}

static void moves(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < 3; i++) {
		make_sparse(run, 12);
		for (unsigned k = 0; k < 6 && !run->failed; k++) {
			op_move(run, FIRST_LIST + 3);
			op_pop(run, FIRST_LIST + 3);
		}
	}
}

/* Every store is a crash point: some thousand. */
static void compact_process(struct run *run)
{
	setup(run);
	op_close(run);
	op_open_process(run);
	for (unsigned i = 0; i < 3; i++) {
		make_sparse(run, 10);
		op_compact(run, true);
	}
	op_close(run);
	op_open(run);
}

const struct scenario scenarios_traced[] = {
	{.name = "compact", .fn = compact, .nested = 200},
	{.name = "compact-move", .fn = moves, .nested = 400},
	{.name = "compact-process", .fn = compact_process},
	{.name = "traced-compact", .traced = "compact", .nested = 200},
	{.name = "traced-compact-move", .traced = "compact-move", .nested = 400},
	{.name = "traced-links", .fn = links, .nested = 200},
	{.name = "traced-logged", .fn = logged, .nested = 400},
	{.name = "traced-ends", .fn = ends, .nested = 200},
	{.name = "traced-closes", .fn = closes, .nested = 200},
	{.name = "traced-collect", .fn = collect, .nested = 200},
	{.name = "traced-publish", .traced = "publish", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-alloc-into",
	 .traced = "alloc-into",
	 .every = 2,
	 .nested = 400,
	 .weight = 4},
	{.name = "traced-reserve", .traced = "reserve", .nested = 400, .weight = 4},
	{.name = "traced-replace", .traced = "replace", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-resize", .traced = "resize", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-words", .traced = "words", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-persist", .traced = "persist", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-reuse", .traced = "reuse", .every = 4, .nested = 400, .weight = 4},
	{.name = "traced-list", .traced = "list", .nested = 200},
	{.name = "traced-tx-undo", .traced = "tx-undo", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-tx-mixed", .traced = "tx-mixed", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-tx-extension", .traced = "tx-extension", .every = 4, .weight = 4},
	{.name = "traced-tx-areas", .traced = "tx-areas", .every = 4, .weight = 4},
	{.name = "traced-span", .traced = "span", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-punch", .traced = "punch", .every = 2, .nested = 400, .weight = 4},
	{.name = "traced-random", .traced = "random-1", .every = 2, .nested = 200, .weight = 4},
	{.name = "traced-close-open",
	 .traced = "close-open",
	 .every = 2,
	 .nested = 200,
	 .weight = 4},
	{.name = "traced-killed", .traced = "killed", .every = 4, .weight = 4},
	{.name = "traced-threads", .traced = "threads-new", .every = 4, .weight = 4},
	{.name = "traced-process", .traced = "process", .every = 4, .weight = 4},
	{.name = NULL},
};
