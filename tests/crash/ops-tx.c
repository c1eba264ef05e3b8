/*
 * ops-tx.c - transactions. Each call is an operation of its own, with its crash
 * points; what it changes joins the model when the transaction commits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "random.h"

static void stage(struct txn *t, struct model_edit edit)
{
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 16;
		t->edit = realloc(t->edit, t->room * sizeof(*t->edit));
		if (!t->edit)
			abort();
	}
	t->edit[t->n++] = edit;
}

static void stage_slot(struct txn *t, unsigned slot, struct model_object *object)
{
	stage(t, (struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = object});
}

/* New bytes for a range of what the slot will hold then. */
static const char *stage_bytes(struct run *run, struct txn *t, unsigned slot, size_t at,
			       size_t length)
{
	struct model_object *patch = model_pattern(&run->store, length, random_next(&run->random));

	stage(t, (struct model_edit){
			 .kind = MODEL_BYTES, .index = slot, .object = patch, .value = at});
	return patch->bytes;
}

/* A call that failed has left the transaction as it was: take back what was staged. */
static bool step_end(struct run *run, struct txn *t, size_t staged, int err)
{
	if (err)
		t->n = staged;
	return op_end(run, err);
}

static void txn_end(struct txn *t)
{
	free(t->edit);
	*t = (struct txn){0};
}

/* ---- begin, commit, abort ------------------------------------------------------- */

void tx_begin(struct run *run, struct txn *t)
{
	*t = (struct txn){0};
	if (!op_begin(run, "tx_begin", 0, 0))
		return;
	t->tx = pheap_tx_begin(run->heap);
	op_end(run, t->tx ? 0 : -errno);
}

bool tx_commit(struct run *run, struct txn *t)
{
	bool done = false;

	if (t->tx && op_begin(run, "tx_commit", t->n, 0)) {
		for (size_t i = 0; i < t->n; i++)
			op_edit(run, &t->edit[i]);
		op_go(run);
		done = op_end(run, pheap_tx_commit(t->tx));
	}
	txn_end(t);
	return done;
}

/* The call does not return, and its heap is never heard of again. */
static void commit_and_die(struct run *run, struct pheap_tx *tx, struct killer *killer)
{
	killer->armed = true;
	if (!setjmp(killer->death)) {
		pheap_tx_commit(tx);
		run_fail(run, "a commit without a fence");
	}
	killer->armed = false;
	ph_pool_abandon(run->heap);
	run->heap = NULL;
}

void tx_killed(struct run *run, struct txn *t, struct killer *killer)
{
	if (t->tx && op_begin(run, "tx_commit, killed", t->n, 0)) {
		for (size_t i = 0; i < t->n; i++)
			op_edit(run, &t->edit[i]);
		op_go(run);
		commit_and_die(run, t->tx, killer);
		/* A crash in here leaves both, until the next process has seen which. */
		run->heap = run_open_heap(run);
		if (op_end(run, run->heap ? 0 : -errno))
			oracle_verify(run);
	}
	txn_end(t);
}

void tx_abort(struct run *run, struct txn *t)
{
	if (t->tx && op_begin(run, "tx_abort", t->n, 0))
		op_end(run, pheap_tx_abort(t->tx));
	txn_end(t);
}

/* ---- redo --------------------------------------------------------------------------- */

static uint64_t *word_ptr(const struct run *run, unsigned word)
{
	struct table *table = pheap_ptr(run->heap, *pheap_root(run->heap));

	return &table->word[word];
}

static char *object_ptr(const struct run *run, unsigned slot)
{
	return pheap_ptr(run->heap, *model_slot(run->heap, slot));
}

/* An object of the transaction's, filled, goes into the slot at commit. */
static bool alloc_end(struct run *run, struct txn *t, unsigned slot, char *ptr,
		      struct model_object *object)
{
	int err;

	if (!ptr)
		return op_end(run, -errno);
	if (model_overlap(run->heap, &run->now, ptr, object->size))
		run_fail(run, "tx_alloc handed out published memory");
	err = pheap_tx_set(t->tx, model_slot(run->heap, slot), pheap_ref_of(run->heap, ptr));
	if (!err)
		stage_slot(t, slot, object);
	else
		pheap_tx_free(t->tx, ptr);
	return op_end(run, err);
}

bool tx_alloc(struct run *run, struct txn *t, unsigned slot, size_t size)
{
	struct model_object *object;
	char *ptr;

	if (!op_begin(run, "tx_alloc", slot, size))
		return false;
	object = model_pattern(&run->store, size, random_next(&run->random));
	ptr = pheap_tx_alloc(t->tx, size);
	if (ptr)
		run_put(run, ptr, object->bytes, size);
	return alloc_end(run, t, slot, ptr, object);
}

bool tx_zalloc(struct run *run, struct txn *t, unsigned slot, size_t size)
{
	struct model_object *object;
	char *ptr;

	if (!op_begin(run, "tx_zalloc", slot, size))
		return false;
	object = model_pattern(&run->store, size, 0);
	memset(object->bytes, 0, size);
	ptr = pheap_tx_zalloc(t->tx, size);
	if (ptr)
		run_absorb(run, ptr, size);
	return alloc_end(run, t, slot, ptr, object);
}

void tx_adopt(struct run *run, struct txn *t, unsigned slot, int held)
{
	struct model_object *object;
	char *ptr;
	int err;

	if (held < 0 || !op_begin(run, "tx_adopt", slot, run->held[held].size))
		return;
	ptr = run->held[held].ptr;
	object = model_object(&run->store, run->held[held].size, ptr);
	err = pheap_tx_adopt(t->tx, ptr);
	if (!err)
		err = pheap_tx_set(t->tx, model_slot(run->heap, slot),
				   pheap_ref_of(run->heap, ptr));
	run->held[held].ptr = NULL;
	stage_slot(t, slot, object);
	op_end(run, err); /* not for tolerant runs */
}

bool tx_retire(struct run *run, struct txn *t, unsigned slot)
{
	size_t staged = t->n;

	if (!op_begin(run, "tx_retire", slot, 0))
		return false;
	stage_slot(t, slot, NULL);
	return step_end(run, t, staged, pheap_tx_retire(t->tx, model_slot(run->heap, slot)));
}

bool tx_free(struct run *run, struct txn *t, unsigned slot)
{
	size_t staged = t->n;
	int err;

	if (!op_begin(run, "tx_free", slot, 0))
		return false;
	err = pheap_tx_free(t->tx, object_ptr(run, slot));
	if (!err)
		err = pheap_tx_set(t->tx, model_slot(run->heap, slot), 0);
	stage_slot(t, slot, NULL);
	return step_end(run, t, staged, err);
}

bool tx_set(struct run *run, struct txn *t, unsigned word)
{
	size_t staged = t->n;
	uint64_t value;

	if (!op_begin(run, "tx_set", word, 0))
		return false;
	value = random_next(&run->random);
	stage(t, (struct model_edit){.kind = MODEL_WORD, .index = word, .value = value});
	return step_end(run, t, staged, pheap_tx_set(t->tx, word_ptr(run, word), value));
}

bool tx_write(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length)
{
	size_t staged = t->n;
	const char *bytes;

	if (!op_begin(run, "tx_write", slot, length))
		return false;
	bytes = stage_bytes(run, t, slot, at, length);
	return step_end(run, t, staged,
			pheap_tx_write(t->tx, object_ptr(run, slot) + at, bytes, length));
}

void tx_scatter(struct run *run, struct txn *t, unsigned slot, size_t step, size_t n)
{
	int err = 0;

	if (!op_begin(run, "tx_scatter", slot, n))
		return;
	for (size_t i = 0; i < n && !err; i++)
		err = pheap_tx_write(t->tx, object_ptr(run, slot) + i * step,
				     stage_bytes(run, t, slot, i * step, 8), 8);
	/* The ones before the one that failed stay. */
	step_end(run, t, t->n - 1, err);
}

/* ---- undo ---------------------------------------------------------------------------- */

bool tx_snapshot(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length)
{
	if (!op_begin(run, "tx_snapshot", slot, length))
		return false;
	return op_end(run, pheap_tx_snapshot(t->tx, object_ptr(run, slot) + at, length));
}

void tx_store(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length)
{
	if (!op_begin(run, "tx_store", slot, length))
		return;
	run_put(run, object_ptr(run, slot) + at, stage_bytes(run, t, slot, at, length), length);
	op_end(run, 0);
}

#define RANGES 64

bool tx_snapshotv(struct run *run, struct txn *t, unsigned slot, size_t step, size_t n)
{
	struct pheap_range range[RANGES];
	int err;

	if (!op_begin(run, "tx_snapshotv", slot, n))
		return false;
	for (size_t i = 0; i < n; i++)
		range[i] = (struct pheap_range){object_ptr(run, slot) + i * step, step / 2};
	err = pheap_tx_snapshotv(t->tx, range, n);
	for (size_t i = 0; i < n && !err; i++)
		run_put(run, range[i].addr, stage_bytes(run, t, slot, i * step, step / 2),
			step / 2);
	return op_end(run, err);
}

static int store_slot(struct run *run, struct txn *t, unsigned slot, pheap_ref ref)
{
	pheap_ref *at = model_slot(run->heap, slot);
	int err = pheap_tx_snapshot(t->tx, at, sizeof(*at));

	if (!err)
		run_put(run, at, &ref, sizeof(ref));
	return err;
}

bool tx_link(struct run *run, struct txn *t, unsigned slot, size_t size)
{
	struct model_object *object;
	char *ptr;

	if (!op_begin(run, "tx_link", slot, size))
		return false;
	object = model_pattern(&run->store, size, random_next(&run->random));
	ptr = pheap_tx_alloc(t->tx, size);
	if (!ptr)
		return op_end(run, -errno);
	run_put(run, ptr, object->bytes, size);
	stage_slot(t, slot, object);
	return op_end(run, store_slot(run, t, slot, pheap_ref_of(run->heap, ptr)));
}

bool tx_unlink(struct run *run, struct txn *t, unsigned slot)
{
	int err;

	if (!op_begin(run, "tx_unlink", slot, 0))
		return false;
	err = pheap_tx_free(t->tx, object_ptr(run, slot));
	stage_slot(t, slot, NULL);
	return op_end(run, err ? err : store_slot(run, t, slot, 0));
}

bool tx_snapshot_word(struct run *run, struct txn *t, unsigned word)
{
	if (!op_begin(run, "tx_snapshot word", word, 0))
		return false;
	return op_end(run, pheap_tx_snapshot(t->tx, word_ptr(run, word), sizeof(uint64_t)));
}

void tx_store_word(struct run *run, struct txn *t, unsigned word)
{
	uint64_t value;

	if (!op_begin(run, "tx_store word", word, 0))
		return;
	value = random_next(&run->random);
	stage(t, (struct model_edit){.kind = MODEL_WORD, .index = word, .value = value});
	run_put(run, word_ptr(run, word), &value, sizeof(value));
	op_end(run, 0);
}
