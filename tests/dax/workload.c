/*
 * workload.c - plan, run and compare the operations of workload.h.
 */
#include "workload.h"

const char *const workload_kinds[OP_KINDS] = {
	[OP_PUBLISH] = "publish",   [OP_PERSISTED] = "persisted", [OP_INTO] = "alloc_into",
	[OP_REPLACE] = "replace",   [OP_RETIRE] = "retire",	  [OP_RESIZE] = "resize",
	[OP_SET] = "set",	    [OP_WRITE] = "write",	  [OP_GARBAGE] = "garbage",
	[OP_TX_REDO] = "tx_redo",   [OP_TX_UNDO] = "tx_undo",	  [OP_TX_MIXED] = "tx_mixed",
	[OP_TX_ABORT] = "tx_abort",
};

/* ---- the plan ------------------------------------------------------------------ */

struct shadow shadow_make(uint64_t seed, unsigned thread)
{
	return (struct shadow){.rng = {seed * 1000003 + thread}};
}

void shadow_apply(struct shadow *shadow, const struct op *op)
{
	if (op->kind != OP_TX_ABORT && op->kind != OP_GARBAGE)
		for (unsigned i = 0; i < op->n; i++)
			shadow->now[op->steps[i].item] = op->steps[i].to;
	shadow->done++;
}

static uint64_t draw(struct shadow *shadow, uint64_t n)
{
	return rng_below(&shadow->rng, n);
}

/* Up to 600,000 bytes: beyond the largest size class, so a span of its own. */
static struct value new_object(struct shadow *shadow)
{
	uint64_t id = rng_next(&shadow->rng) | 1, kind = draw(shadow, 48);
	uint64_t size = 1 + draw(shadow, kind == 0 ? 600000 : kind < 7 ? 8000 : 400);

	return (struct value){id, size, size};
}

static void add_step(struct op *op, unsigned item, struct value to)
{
	op->steps[op->n++] = (struct step){item, to};
}

static void plan_slot(struct shadow *shadow, struct op *op)
{
	unsigned item = (unsigned)draw(shadow, SLOTS);
	struct value now = shadow->now[item], to = new_object(shadow);

	if (!now.id) {
		op->kind = (enum kind)(OP_PUBLISH + draw(shadow, 3));
	} else {
		switch (draw(shadow, 4)) {
		case 0:
			op->kind = OP_REPLACE;
			break;
		case 1:
			op->kind = OP_RESIZE;
			to.id = now.id;
			to.valid = now.valid < to.size ? now.valid : to.size;
			break;
		default:
			op->kind = OP_RETIRE;
			to = (struct value){0};
		}
	}
	add_step(op, item, to);
}

static bool has_step(const struct op *op, unsigned item)
{
	for (unsigned i = 0; i < op->n; i++)
		if (op->steps[i].item == item)
			return true;
	return false;
}

static void plan_tx(struct shadow *shadow, struct op *op)
{
	unsigned count = 1 + (unsigned)draw(shadow, STEPS);

	op->kind = (enum kind)(OP_TX_REDO + draw(shadow, 4));
	while (count--) {
		/* With undo alone there is nothing to do to a slot. */
		unsigned first = op->kind == OP_TX_UNDO ? SLOTS : 0;
		unsigned item = first + (unsigned)draw(shadow, ITEMS - first);
		struct value to = {rng_next(&shadow->rng) | 1, 0, 0};

		if (has_step(op, item))
			continue;
		if (item < SLOTS)
			to = shadow->now[item].id && draw(shadow, 2) ? (struct value){0}
								     : new_object(shadow);
		add_step(op, item, to);
	}
}

void workload_plan(struct shadow *shadow, struct op *op)
{
	struct value bytes = {rng_next(&shadow->rng) | 1, 0, 0};

	op->n = 0;
	op->draw = rng_next(&shadow->rng);
	switch (draw(shadow, 10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		plan_slot(shadow, op);
		break;
	case 4:
		op->kind = OP_SET;
		add_step(op, SLOTS + (unsigned)draw(shadow, WORDS), bytes);
		break;
	case 5:
		op->kind = OP_WRITE;
		add_step(op, SLOTS + WORDS + (unsigned)draw(shadow, CELLS), bytes);
		break;
	case 6:
		op->kind = OP_GARBAGE;
		add_step(op, 0, new_object(shadow));
		break;
	default:
		plan_tx(shadow, op);
	}
}

/* ---- on a heap ----------------------------------------------------------------- */

struct run {
	pheap_t *heap;
	struct own *own;
	const struct shadow *shadow;
	const struct op *op;
};

static void *reserve(struct run *run, struct value value)
{
	void *object = pheap_alloc(run->heap, value.size);

	must(object);
	fill_pattern(object, value.size, value.id);
	return object;
}

static void run_into(struct run *run, pheap_ref *slot, struct value to)
{
	char *content = malloc(to.size);

	must(content);
	fill_pattern(content, to.size, to.id);
	must(!pheap_alloc_into(run->heap, slot, to.size, content));
	free(content);
}

static void run_persisted(struct run *run, pheap_ref *slot, struct value to)
{
	void *object = reserve(run, to);

	must(!pheap_persist(run->heap, object, to.size));
	must(!pheap_publish(run->heap, slot, object, PHEAP_PERSISTED));
}

/* One in 64 is never given back: it is free again after a crash. */
static void run_garbage(struct run *run, struct value to)
{
	void *object = reserve(run, to);

	if (run->op->draw % 64)
		must(!pheap_free(run->heap, object));
}

static void run_write(struct run *run, char *cell, uint64_t id)
{
	char bytes[CELL];

	fill_pattern(bytes, CELL, id);
	must(!pheap_write(run->heap, cell, bytes, CELL));
}

/* One step on a slot: free what is there, link something new. */
static void tx_slot(struct run *run, pheap_tx_t *tx, unsigned item, struct value to)
{
	pheap_ref *slot = &run->own->slots[item];
	void *object;

	if (run->shadow->now[item].id && !to.id) {
		must(!pheap_tx_retire(tx, slot));
		return;
	}
	if (run->shadow->now[item].id)
		must(!pheap_tx_free(tx, pheap_ptr(run->heap, *slot)));
	if (to.id % 8 < 4) {
		object = reserve(run, to);
		must(!pheap_tx_adopt(tx, object));
	} else {
		object = pheap_tx_alloc(tx, to.size);
		must(object);
		fill_pattern(object, to.size, to.id);
	}
	must(!pheap_tx_set(tx, slot, pheap_ref_of(run->heap, object)));
}

/* One step on a word or a cell, by redo or by undo. */
static void tx_bytes(struct run *run, pheap_tx_t *tx, unsigned item, struct value to, bool undo)
{
	bool is_word = item < SLOTS + WORDS;
	void *dst = is_word ? (void *)&run->own->words[item - SLOTS]
			    : (void *)run->own->cells[item - SLOTS - WORDS];
	size_t length = is_word ? sizeof(to.id) : CELL;
	char bytes[CELL];

	if (is_word)
		memcpy(bytes, &to.id, sizeof(to.id));
	else
		fill_pattern(bytes, CELL, to.id);
	if (!undo && is_word) {
		must(!pheap_tx_set(tx, dst, to.id));
	} else if (!undo) {
		must(!pheap_tx_write(tx, dst, bytes, length));
	} else {
		/* A half, changed, and then the whole: the older content must win. */
		must(!pheap_tx_snapshot(tx, dst, length / 2));
		memset(dst, 0x5a, length / 2);
		must(!pheap_tx_snapshot(tx, dst, length));
		memcpy(dst, bytes, length);
	}
}

static void run_tx(struct run *run)
{
	const struct op *op = run->op;
	pheap_tx_t *tx = pheap_tx_begin(run->heap);

	must(tx);
	for (unsigned i = 0; i < op->n; i++) {
		unsigned item = op->steps[i].item;
		bool undo = op->kind == OP_TX_UNDO ||
			    (op->kind != OP_TX_REDO && op->steps[i].to.id % 16 < 8);

		if (item < SLOTS)
			tx_slot(run, tx, item, op->steps[i].to);
		else
			tx_bytes(run, tx, item, op->steps[i].to, undo);
	}
	must(!(op->kind == OP_TX_ABORT ? pheap_tx_abort(tx) : pheap_tx_commit(tx)));
}

void workload_run(pheap_t *heap, struct own *own, const struct shadow *shadow, const struct op *op)
{
	struct run run = {heap, own, shadow, op};
	unsigned item = op->n ? op->steps[0].item : 0;
	struct value to = op->n ? op->steps[0].to : (struct value){0};
	pheap_ref *slot = &own->slots[item < SLOTS ? item : 0];

	switch (op->kind) {
	case OP_PUBLISH:
		must(!pheap_publish(heap, slot, reserve(&run, to), 0));
		break;
	case OP_PERSISTED:
		run_persisted(&run, slot, to);
		break;
	case OP_INTO:
		run_into(&run, slot, to);
		break;
	case OP_REPLACE:
		must(!pheap_replace(heap, slot, reserve(&run, to), 0));
		break;
	case OP_RETIRE:
		must(!pheap_retire(heap, slot));
		break;
	case OP_RESIZE:
		must(!pheap_resize(heap, slot, to.size));
		break;
	case OP_SET:
		must(!pheap_set(heap, &own->words[item - SLOTS], to.id));
		break;
	case OP_WRITE:
		run_write(&run, own->cells[item - SLOTS - WORDS], to.id);
		break;
	case OP_GARBAGE:
		run_garbage(&run, to);
		break;
	default:
		run_tx(&run);
	}
}

bool workload_holds(pheap_t *heap, const struct own *own, unsigned item, struct value value)
{
	const char *cell;
	void *object;

	if (item >= SLOTS + WORDS) {
		cell = own->cells[item - SLOTS - WORDS];
		if (value.id)
			return has_pattern(cell, CELL, value.id);
		return !cell[0] && !memcmp(cell, cell + 1, CELL - 1);
	}
	if (item >= SLOTS)
		return own->words[item - SLOTS] == value.id;
	if (!own->slots[item] || !value.id)
		return !own->slots[item] && !value.id;
	object = pheap_ptr(heap, own->slots[item]);
	return object && pheap_usable_size(heap, object) >= value.size &&
	       has_pattern(object, value.valid, value.id);
}
