/*
 * check-heap.c - is this image of a workload's pool what a crash may leave?
 *
 *   1. It opens, and the heap's own check finds nothing wrong.
 *   2. It holds what all operations that had returned have done, and nothing else,
 *      or the one that was under way too. As many objects are published as are known.
 *   3. The heap goes on working: operations of all kinds succeed and have their
 *      results, also after it was closed and opened once more.
 *
 * How far the program had come stands in the environment (checker.h). Where it does
 * not, under pmreorder, any number of operations will do.
 */
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int check_heap(const char *path);

#define LENGTH_MAX 4096
#define MORE 8 /* operations after recovery */

/* States of the sequence whose pools are looked at: made once. */
static struct sequence known;
static struct model *states; /* known.length + 1 */

static void make_states(const struct sequence *s)
{
	uint64_t seed = s->random;
	struct op op;

	if (states && seed == known.random && s->kind == known.kind && s->length == known.length)
		return;
	known = *s;
	states = realloc(states, (s->length + 1) * sizeof(*states));
	if (!states)
		abort();
	for (unsigned i = 0; i < known.warm; i++)
		sequence_next(&known, &op);
	states[0] = known.model;
	for (unsigned i = 0; i < known.length; i++) {
		sequence_next(&known, &op);
		states[i + 1] = known.model;
	}
	known.random = seed;
}

/* Which states may it be in? */
static void allowed(unsigned *first, unsigned *last)
{
	const char *done = getenv("PHEAP_REORDER_DONE"), *open = getenv("PHEAP_REORDER_OPEN");
	unsigned n;

	*first = 0;
	*last = known.length;
	if (!done || !open)
		return;
	n = (unsigned)atoi(done);
	n -= n > 0; /* open is a section too */
	*first = n < known.length ? n : known.length;
	*last = *first;
	if (atoi(done) > 0 && *open && *first < known.length)
		++*last;
}

static void print_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	fprintf(stderr, "%s at 0x%llx: %s\n", problem->invariant,
		(unsigned long long)problem->offset, problem->message);
}

static bool refuse(const char *what, const char *why)
{
	fprintf(stderr, "check: %s: %s\n", what, why);
	return false;
}

/* The heap's own check, and no object too many. */
static bool is_sound(pheap_t *heap, const struct model *model)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	uint64_t objects = 2; /* the table, the words */

	if (pheap_check(heap, &result, print_problem, NULL))
		return refuse("check", pheap_errormsg());
	for (unsigned i = 0; i < SLOTS; i++)
		objects += model->slot[i].size != 0;
	if (result.objects != objects) {
		fprintf(stderr, "check: %llu objects, not %llu\n",
			(unsigned long long)result.objects, (unsigned long long)objects);
		return false;
	}
	return true;
}

static const struct model *find_state(pheap_t *heap)
{
	unsigned first, last, i;
	char why[128] = "";

	allowed(&first, &last);
	for (i = last + 1; i-- > first;)
		if (model_matches(heap, &states[i], why, sizeof(why)))
			return &states[i];
	fprintf(stderr, "check: none of the states %u to %u; %s\n", first, last, why);
	return NULL;
}

static bool goes_on(pheap_t *heap, struct sequence *more)
{
	struct op op;

	for (unsigned i = 0; i < MORE; i++) {
		sequence_next(more, &op);
		if (op_run(heap, &op))
			return refuse(op_name(&op), pheap_errormsg());
	}
	return true;
}

static bool is_as_known(pheap_t *heap, const struct model *model)
{
	char why[128];

	if (!model_matches(heap, model, why, sizeof(why)))
		return refuse("going on", why);
	return is_sound(heap, model);
}

static bool check_open(pheap_t *heap, struct sequence *more)
{
	const struct model *state;
	struct sequence s;

	if (!workload_sequence(heap, &s) || s.length > LENGTH_MAX)
		return refuse("layout", "not a workload's pool");
	make_states(&s);
	state = find_state(heap);
	if (!state || !is_sound(heap, state))
		return false;
	sequence_begin(more, (unsigned)workload_kind("mixed"), s.random + 1, MORE);
	more->model = *state;
	return goes_on(heap, more) && is_as_known(heap, &more->model);
}

int check_heap(const char *path)
{
	pheap_t *heap = workload_open(path);
	struct sequence more;
	bool ok;

	if (!heap)
		return refuse("open", pheap_errormsg()), 1;
	ok = check_open(heap, &more);
	if (pheap_close(heap))
		ok = refuse("close", pheap_errormsg());
	if (!ok)
		return 1;
	heap = workload_open(path);
	if (!heap)
		return refuse("open again", pheap_errormsg()), 1;
	ok = is_as_known(heap, &more.model);
	if (pheap_close(heap))
		ok = refuse("close again", pheap_errormsg());
	return !ok;
}
