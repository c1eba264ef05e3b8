/*
 * scenario-types.c - types, and objects of them in slabs and spans of their own.
 */
#include "scenario.h"

static void types(struct run *run)
{
	setup(run);
	op_publish(run, 0, 24, 0);
	for (unsigned i = 0; i < MODEL_TYPES; i++) {
		op_register(run);
		if (1 + i != MODEL_TYPE_COUNTED) /* scenario-count.c */
			op_publish_typed(run, 1 + i, 1 + i, 5);
	}
	op_close(run);
	op_open(run);
	op_retire(run, 0);
}

static void typed(struct run *run)
{
	setup(run);
	op_register(run);
	op_register(run);
	for (unsigned i = 0; i < 3; i++) {
		op_publish_typed(run, i, 1, 1);
		op_publish(run, 10 + i, 64, 0);
		op_link_typed(run, 20 + i, 2, 1 + 40 * i);
	}
	for (unsigned i = 0; i < 3; i++) {
		op_retire(run, i);
		op_retire(run, 20 + i);
	}
	op_publish_typed(run, 0, 1, 1);
	op_resize_typed(run, 21, 2, 3);
	op_publish_typed(run, 21, 2, 100);
	op_resize_typed(run, 21, 2, 300);
	op_resize_typed(run, 21, 2, 7);
}

/* Slabs of several types end and begin again at the same places. */
static void typed_spans(struct run *run)
{
	setup(run);
	for (unsigned i = 0; i < MODEL_TYPES; i++)
		op_register(run);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 4; i++)
			op_publish_typed(run, i, 4, 1);
		for (unsigned i = 0; i < 4; i++)
			op_retire(run, i);
		op_publish(run, 5, 300000, 0);
		op_purge(run, 0);
		for (unsigned i = 0; i < 3; i++)
			op_publish_typed(run, i, 1 + i, 2000);
		op_retire(run, 5);
		for (unsigned i = 0; i < 3; i++)
			op_retire(run, i);
		op_purge(run, 0);
	}
}

const struct scenario scenarios_types[] = {
	{"types", types, .nested = 900},
	{"typed", typed, .nested = 900},
	{"typed-spans", typed_spans, .every = 2, .nested = 1200},
	{.name = NULL},
};
