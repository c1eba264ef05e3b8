/*
 * replay.c - recovery, step by step. Protocol in replay.h; how the logs are read, in
 * recovery.h.
 */
#include "replay.h"

#include <stdlib.h>

#include "recovery.h"
#include "sum.h"

/* Step 1. */
static int judge(struct ph_recovery *r)
{
	int err = ph_find_lanes(r);

	if (!err && !r->clean)
		err = ph_find_records(r);
	if (!err)
		err = ph_judge_records(r);
	return err || r->clean ? err : ph_judge_undos(r);
}

static int recover(struct ph_recovery *r)
{
	int err = judge(r);

	if (!err && r->nrecords)
		err = ph_replay(r);
	if (!err && r->nundos)
		err = ph_roll_back(r);
	return err;
}

int ph_recover(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
	       char *base, uint64_t size, struct ph_recovered *done)
{
	const struct pm_state *state = (const struct pm_state *)(const void *)(base + PM_STATE);
	struct ph_recovery *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return ph_error(ENOMEM, "no memory for recovery");
	r->pm = pm;
	r->count = count;
	r->file = file;
	r->base = base;
	r->size = size;
	r->epoch = state->epoch;
	ph_unseal(state->settled, &r->settled);
	r->clean = state->status == PM_STATUS_CLEAN;
	r->zone = (const struct pm_zone *)(const void *)(base + PM_ZONE_TABLE);
	err = recover(r);
	if (done)
		*done = (struct ph_recovered){r->nrecords, r->nundos};
	free(r->lanes);
	free(r->heap);
	free(r->table);
	free(r);
	return err;
}
