/*
 * scenario-count.c - reference counts: links, chains of dead objects, weak references,
 * transactions. See ops-count.c: nodes are numbered from 1 on.
 */
#include "scenario.h"

static void setup_counts(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < MODEL_TYPE_COUNTED; i++)
		op_register(run);
	op_board(run);
}

static void links(struct run *run)
{
	setup_counts(run);
	op_count_publish(run, 0, 1, 0, 0, 0);
	op_count_publish(run, 1, 2, 1, 1, 0);
	op_count_link(run, 2, 1);
	op_count_link(run, 2, 1);
	op_count_publish(run, 3, 3, 2, 1, 0);
	op_count_edge(run, 3, false, 1);
	op_count_link(run, 0, 0);
	op_count_link(run, 1, 3); /* 2 dies */
	op_count_edge(run, 3, true, 0);
	op_count_link(run, 2, 0);
	op_count_publish(run, 1, 4, 1, 0, 0); /* over 3 */
	op_close(run);
	op_open(run);
	op_count_link(run, 3, 0); /* 3 dies */
	op_count_link(run, 1, 0); /* 4 and 1 */
}

/* Ten objects, each the left one of the next, and shared ones; all die of one link. */
static void chain(struct run *run)
{
	setup_counts(run);
	for (unsigned i = 1; i <= 10; i++)
		op_count_publish(run, i % 2, i, i - 1, i > 2 ? i - 2 : 0, i > 5 ? 1 : 0);
	op_count_link(run, 1, 0);
	op_count_link(run, 0, 0);
	op_count_publish(run, 2, 5, 0, 0, 0);
	op_count_link(run, 2, 0);
}

static void weak(struct run *run)
{
	setup_counts(run);
	op_count_publish(run, 0, 1, 0, 0, 0);
	op_count_weak(run, 0, 1);
	op_count_publish(run, 1, 2, 0, 0, 1);
	op_count_get(run, 0, 2);
	op_count_link(run, 0, 0);
	op_count_link(run, 2, 0); /* 1 dies */
	op_count_get(run, 0, 2);
	op_count_weak(run, 1, 2);
	op_count_weak(run, 0, 2); /* 1 has one weak reference, of 2 */
	op_count_link(run, 1, 0); /* which dies, and with it 1 is gone */
	op_count_weak(run, 0, 0);
	op_count_weak(run, 1, 0);
	op_count_publish(run, 3, 3, 0, 0, 0);
	op_count_weak(run, 2, 3);
	op_close(run);
	op_open(run);
	op_count_link(run, 3, 0);
	op_count_weak(run, 2, 0);
}

static void transactions(struct run *run)
{
	setup_counts(run);
	op_count_publish(run, 0, 1, 0, 0, 0);
	op_count_tx(run, 3, 2, 1, 2, 1);
	op_count_tx(run, 5, 4, 0, 2, 1); /* over 1 and 1 */
	op_count_tx(run, 7, 6, 1, 3, 1); /* over 3: it dies, and 2 */
	op_count_tx(run, 9, 8, 0, 1, 0); /* over 5, and what 7 was */
	op_count_link(run, 0, 0);
	op_count_link(run, 3, 0);
}

static void at_random(struct run *run)
{
	setup_counts(run);
	for (unsigned i = 0; i < 40 * scenario_scale; i++)
		op_count_random(run);
}

const struct scenario scenarios_count[] = {
	{"count-links", links, .nested = 900},
	{"count-chain", chain, .nested = 900},
	{"count-weak", weak, .nested = 900},
	{"count-tx", transactions, .nested = 900},
	{"count-random", at_random, .every = 3, .nested = 900},
	{.name = NULL},
};
