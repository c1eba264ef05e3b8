/*
 * oracle.c - judge a crash image: recover it, verify it, go on working.
 *
 * Whatever image the failure model allows,
 *   - opening it succeeds (while the pool was being created it may be refused, with
 *     a clear error, and creating it anew succeeds; what a power cut leaves of a pool in
 *     use with PROCESS durability must be refused),
 *   - pheap_check finds nothing,
 *   - each operation that had returned has happened, and the one in flight happened
 *     whole or not at all,
 *   - as many objects are published as the shadow model reaches: no leak,
 *   - the heap goes on working: it hands out no memory twice, keeps what it is given,
 *     and closes or crashes, and opens again.
 */
#include <errno.h>
#include <string.h>

#include "ops.h"
#include "random.h"
#include "traced.h"

/* One in so many images is recovered without a hook, or compared in full to see
 * that the library made no store past its hook. */
#define RAW_EVERY 64u

static void say_problem(void *arg, const struct pheap_problem *problem)
{
	run_fail(arg, "invariant %s, offset %#llx: %s", problem->invariant,
		 (unsigned long long)problem->offset, problem->message);
}

static bool check(struct run *run, struct pheap_check_result *result)
{
	*result = (struct pheap_check_result){.struct_size = sizeof(*result)};
	if (pheap_check(run->heap, result, say_problem, run))
		run_fail(run, "pheap_check: %s", pheap_errormsg());
	return !run->failed;
}

/* As many are published as slots reach, and what has not been freed of garbage. */
static bool count_is_right(const struct run *run, uint64_t published)
{
	uint64_t rest = published - model_objects(&run->now);

	return rest == run->now.garbage || (run->now.fewer && rest < run->now.garbage);
}

bool oracle_verify(struct run *run)
{
	struct pheap_check_result result;
	char what[256];

	if (run->failed || !check(run, &result))
		return false;
	if (run->rig->traced) /* of an open traced heap the checker counts none */
		result.objects = traced_objects(run);
	else if (run->rig->typed)
		result.objects -= traced_types(run);
	if (!model_match(run->heap, &run->now, NULL, what, sizeof(what)))
		run_fail(run, "%s", what);
	else if (!count_is_right(run, result.objects))
		run_fail(run, "%llu objects are published, %llu reachable, %llu garbage%s",
			 (unsigned long long)result.objects,
			 (unsigned long long)model_objects(&run->now),
			 (unsigned long long)run->now.garbage, run->now.fewer ? " or fewer" : "");
	return !run->failed;
}

/* ---- recovery ------------------------------------------------------------------- */

/* Find out which of the models that operations of several threads allow it is. */
static void choose(struct run *run, const struct run *crashed)
{
	char first[256], what[256];

	for (unsigned i = 0; i < crashed->nmaybe; i++) {
		run->now = crashed->maybe[i];
		if (model_match(run->heap, &run->now, NULL, i ? what : first, sizeof(what)))
			return;
	}
	run_fail(run, "none of the %u states that there may be; not the first: %s", crashed->nmaybe,
		 first);
}

/* Find out whether the operation in flight has happened. */
static void decide(struct run *run, const struct run *crashed)
{
	char before[256], after[256];

	if (crashed->nmaybe) {
		choose(run, crashed);
		return;
	}
	if (model_match(run->heap, &crashed->now, crashed->mixed ? &crashed->next : NULL, before,
			sizeof(before))) {
		/* A collection frees a part with each record. */
		if (crashed->in_flight && crashed->next.garbage < crashed->now.garbage)
			run->now.fewer = true;
		return;
	}
	if (!crashed->in_flight) {
		run_fail(run, "%s", before);
		return;
	}
	if (!model_match(run->heap, &crashed->next, NULL, after, sizeof(after)))
		run_fail(run, "not before the operation: %s; nor after it: %s", before, after);
	run->now = crashed->next;
}

/* Stores that are not atomic left a mix: take over what is there. */
static void adopt_mix(struct run *run)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		struct model_object *object = run->now.slot[i];

		if (!object || object->linked)
			continue;
		run->now.slot[i] = object = model_copy(&run->store, object);
		memcpy(object->bytes, pheap_ptr(run->heap, *model_slot(run->heap, i)),
		       object->known);
	}
}

static bool may_be_no_pool(const struct run *crashed)
{
	return !crashed->now.exists;
}

/*
 * A pool that was being created: refused clearly, and then made anew. Create takes over
 * what says that it was being created, or is all zero, and empties it first.
 */
void run_make_anew(struct run *run)
{
	uint64_t magic;

	if (errno != EUCLEAN || !*pheap_errormsg())
		run_fail(run, "an unfinished pool: errno %d, not EUCLEAN: %s", errno,
			 pheap_errormsg());
	memcpy(&magic, run->base + PM_SUPER_A, sizeof(magic));
	if (run_empty(run) && magic != PM_MAGIC_CREATING)
		run_fail(run, "a file that is neither opened nor taken over by create");
	run->heap = run_create_heap(run);
	if (!run->heap)
		run_fail(run, "creating anew: %s", pheap_errormsg());
}

/*
 * The image is one of a pool in use with PROCESS durability. With all that was stored in
 * it that is what a kill leaves. If not, it was a power cut: the machine has another boot
 * id now, which to the library is the same as another one in the image.
 */
static bool cut_unflushed(struct run *run, const struct run *crashed)
{
	struct pm_state *state = (struct pm_state *)(void *)(run->base + PM_STATE);
	char other[sizeof(state->boot_id)];

	if (state->status != PM_STATUS_PROCESS || plan_whole(&crashed->plan))
		return false;
	memset(other, 0xb0, sizeof(other));
	if (run->sim)
		sim_user_store(run->sim, state->boot_id, other, sizeof(other));
	else
		scratch_user_store(run->scratch, state->boot_id, other, sizeof(other));
	return true;
}

/* A crash has lost nothing that it may not lose, and left nothing behind. */
static bool recover(struct run *run, const struct run *crashed)
{
	bool refused = cut_unflushed(run, crashed) && crashed->unflushed;
	struct pheap_check_result result;

	run->unflushed = crashed->unflushed;
	run->heap = run_open_heap(run);
	run->unflushed = false;
	if (refused) {
		if (run->heap || errno != EUCLEAN || !*pheap_errormsg())
			run_fail(run, "a power cut after PROCESS, and the pool is not refused");
		return false;
	}
	if (run->heap) {
		decide(run, crashed);
	} else if (may_be_no_pool(crashed)) {
		run_make_anew(run);
		run->now = (struct model){.exists = true};
	} else {
		run_fail(run, "open: %s", pheap_errormsg());
	}
	if (run->failed || !check(run, &result))
		return false;
	if (crashed->mixed)
		adopt_mix(run);
	run->in_flight = false;
	run->nmaybe = 0;
	return oracle_verify(run);
}

/* ---- going on ---------------------------------------------------------------------- */

static void work(struct run *run, unsigned operations)
{
	run->tolerant = true;
	if (!run->now.table)
		op_table(run);
	if (run->now.garbage && dice(run, 4))
		op_gc(run, 0);
	for (unsigned i = 0; i < operations && !run->failed; i++)
		op_random(run);
	oracle_verify(run);
}

/* The end of the second life: a clean close, or all stores made but no close. */
static void end(struct run *run)
{
	if (run->failed)
		return;
	if (dice(run, 2)) {
		op_close(run);
	} else {
		ph_pool_abandon(run->heap);
		run->heap = NULL;
		memset(run->held, 0, sizeof(run->held));
	}
	op_open(run);
}

static void child_init(struct run *run, struct run *parent)
{
	uint64_t origin = random_stream(parent->origin ^ parent->point, parent->image);

	*run = (struct run){
		.rig = parent->rig,
		.parent = parent,
		.depth = parent->depth + 1,
		.now = parent->now,
		.next = parent->next,
		.op = "recover",
		.origin = origin,
		.random = origin,
	};
}

/* Recovery in a private mapping, for a reader: it leaves the epoch alone, so the pool
 * can be recovered again afterwards. */
static void read_only(struct run *run, const struct run *crashed)
{
	run->readonly = true;
	recover(run, crashed);
	run->readonly = false;
	if (run->heap)
		ph_pool_abandon(run->heap);
	run->heap = NULL;
	run->now = crashed->now;
}

static bool full_turn(const struct run *run)
{
	return run->image % RAW_EVERY == RAW_EVERY - 1;
}

bool oracle_judge(struct run *crashed)
{
	struct run run;
	bool ok;

	child_init(&run, crashed);
	run.scratch = crashed->scratch;
	run.base = crashed->scratch->mem;
	run.raw = full_turn(crashed) && dice(&run, 2);
	/* A reader frees nothing, so what has died counts still. */
	if (full_turn(crashed) && crashed->now.exists && !crashed->now.graph.board)
		read_only(&run, crashed);
	if (recover(&run, crashed)) {
		work(&run, crashed->rig->policy.work);
		end(&run);
	}
	if (full_turn(crashed)) {
		uint64_t at;

		/* Let go first: the heap must not see its memory change. */
		if (run.heap)
			ph_pool_abandon(run.heap);
		run.heap = NULL;
		at = scratch_verify(run.scratch);
		if (at != SIM_NOWHERE && !run.raw && !run.rig->mutated)
			run_fail(&run, "a store near %#llx went past the hook",
				 (unsigned long long)at);
	}
	ok = !run.failed;
	run_fini(&run);
	return ok;
}

/* ---- crashes in recovery, and after it ---------------------------------------------- */

void oracle_nested(struct run *crashed)
{
	struct rig *rig = crashed->rig;
	struct run run;

	child_init(&run, crashed);
	run.sim = rig->sim[run.depth];
	run.scratch = rig->scratch[run.depth];
	run.base = run.sim->work;
	sim_reset(run.sim, crashed->scratch->mem);
	run_listen(&run);
	rig->report->nested++;
	/* Until recovery has returned, nobody has seen which of the two it is. */
	run.in_flight = crashed->in_flight;
	run.mixed = crashed->mixed;
	run.maybe = crashed->maybe;
	run.nmaybe = crashed->nmaybe;
	run.expected = crashed->expected;
	if (recover(&run, crashed)) {
		run.mixed = false;
		work(&run, rig->policy.work / 2);
		end(&run);
	}
	run_fini(&run);
}
