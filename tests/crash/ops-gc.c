/*
 * ops-gc.c - operations that make garbage, and that collect it.
 */
#include <errno.h>

#include "ops.h"

static uint64_t length(const struct model_object *object)
{
	uint64_t n = 0;

	for (; object; object = object->next)
		n++;
	return n;
}

static void edit_garbage(struct run *run, uint64_t garbage)
{
	op_edit(run, &(struct model_edit){.kind = MODEL_GARBAGE, .value = garbage});
}

void op_leak(struct run *run, unsigned slot)
{
	if (!op_begin(run, "leak", slot, 0))
		return;
	edit_garbage(run, run->now.garbage + length(run->now.slot[slot]));
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot});
	op_go(run);
	op_end(run, pheap_set(run->heap, model_slot(run->heap, slot), 0));
}

/* What it does cannot be seen in a slot: the number of the run's operation says, in a word,
 * whether it happened. */
void op_litter(struct run *run, size_t size, unsigned n)
{
	struct table *table;
	pheap_tx_t *tx;
	int err = 0;

	if (!op_begin(run, "litter", size, n))
		return;
	table = pheap_ptr(run->heap, *pheap_root(run->heap));
	tx = pheap_tx_begin(run->heap);
	err = tx ? pheap_tx_set(tx, &table->word[0], run->op_number) : -EIO;
	for (unsigned i = 0; i < n && !err; i++) {
		char *ptr = pheap_tx_alloc(tx, size);
		struct model_object *object = model_pattern(&run->store, size, run->op_number + i);

		if (ptr)
			run_put(run, ptr, object->bytes, size);
		else
			err = -ENOSPC;
	}
	op_edit(run, &(struct model_edit){.kind = MODEL_WORD, .index = 0, .value = run->op_number});
	edit_garbage(run, run->now.garbage + n);
	op_go(run);
	if (!err)
		err = pheap_tx_commit(tx);
	else if (tx)
		pheap_tx_abort(tx);
	op_end(run, err);
}

static int collect(struct run *run, unsigned flags, struct pheap_gc_report *report)
{
	struct pheap_gc_options options = {
		.struct_size = sizeof(options),
		.flags = PHEAP_GC_CONSERVATIVE | flags,
		.threads = 1,
	};

	*report = (struct pheap_gc_report){.struct_size = sizeof(*report)};
	return pheap_gc(run->heap, &options, report);
}

void op_gc(struct run *run, uint64_t held)
{
	bool exact = !run->now.fewer;
	uint64_t garbage = run->now.garbage;
	struct pheap_gc_report report;
	int err;

	if (!op_begin(run, "gc", garbage, held))
		return;
	edit_garbage(run, held);
	op_go(run);
	err = collect(run, 0, &report);
	if (!err && (exact ? report.freed != garbage - held : report.freed > garbage - held))
		run_fail(run, "gc freed %llu of %llu objects, of which %llu are held",
			 (unsigned long long)report.freed, (unsigned long long)garbage,
			 (unsigned long long)held);
	op_end(run, err);
}

void op_generations(struct run *run, unsigned survive)
{
	struct pheap_gc_generations generations = {
		.struct_size = sizeof(generations),
		.flags = PHEAP_GC_CONSERVATIVE,
		.survive = survive,
		.growth = 1000000,
	};

	if (!op_begin(run, "generations", survive, 0))
		return;
	op_go(run);
	op_end(run, pheap_gc_set_generations(run->heap, &generations));
}

void op_gc_young(struct run *run)
{
	uint64_t garbage = run->now.garbage;
	struct pheap_gc_report report;
	int err;

	if (!op_begin(run, "gc, young", garbage, 0))
		return;
	edit_garbage(run, 0); /* in flight: any part of it may be gone */
	op_go(run);
	err = collect(run, PHEAP_GC_YOUNG, &report);
	if (!err && report.freed > garbage)
		run_fail(run, "a young gc freed %llu of %llu objects",
			 (unsigned long long)report.freed, (unsigned long long)garbage);
	run->next.garbage = garbage - report.freed;
	op_end(run, err);
}

void op_gc_dry(struct run *run)
{
	struct pheap_gc_report report;
	int err;

	if (!op_begin(run, "gc, dry", run->now.garbage, 0))
		return;
	op_go(run);
	err = collect(run, PHEAP_GC_DRY_RUN, &report);
	if (!err && report.garbage != run->now.garbage)
		run_fail(run, "a dry run found %llu objects, of %llu",
			 (unsigned long long)report.garbage, (unsigned long long)run->now.garbage);
	op_end(run, err);
}
