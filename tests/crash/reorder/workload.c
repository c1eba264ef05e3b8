/*
 * workload.c - see workload.h.
 */
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_SIZE PHEAP_MIN_SIZE

/* How often each type of operation comes, of each kind of workload. */
static const struct {
	const char *name;
	uint8_t weight[OP_TYPES];
} kinds[] = {
	{"publish",
	 {[OP_PUBLISH] = 4, [OP_PUBLISH_PERSISTED] = 2, [OP_ALLOC_INTO] = 2, [OP_RETIRE] = 3}},
	{"retire", {[OP_RETIRE] = 5, [OP_PUBLISH] = 3, [OP_ALLOC_INTO] = 2, [OP_SET] = 1}},
	{"replace",
	 {[OP_REPLACE] = 6, [OP_PUBLISH] = 2, [OP_SET] = 2, [OP_WRITE] = 2, [OP_PERSIST] = 2}},
	{"redo", {[OP_REDO] = 6, [OP_SET] = 1, [OP_RETIRE] = 1}},
	{"undo", {[OP_UNDO] = 4, [OP_ABORT] = 2, [OP_SET] = 1, [OP_PERSIST] = 1}},
	{"mixed", {3, 1, 2, 3, 2, 2, 2, 2, 3, 2, 1, 3}},
};

static const uint32_t sizes[] = {16, 40, 64, 72, 200, 256, 320, 1000, 4096, 70000};

static uint64_t next_random(uint64_t *state)
{
	/* splitmix64, as published by Steele, Lea and Flood */
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned below(struct sequence *s, unsigned n)
{
	return (unsigned)(next_random(&s->random) % n);
}

int workload_kind(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(name, kinds[i].name))
			return (int)i;
	return -1;
}

void sequence_begin(struct sequence *s, unsigned kind, uint64_t seed, unsigned length)
{
	*s = (struct sequence){
		.kind = kind,
		.warm = 3 * SLOTS / 2,
		.length = length,
		.random = seed,
	};
}

/* ---- choosing operations --------------------------------------------------------------- */

static bool find_slot(struct sequence *s, bool full, unsigned *slot)
{
	unsigned start = below(s, SLOTS), i;

	for (i = 0; i < SLOTS; i++) {
		*slot = (start + i) % SLOTS;
		if ((s->model.slot[*slot].size != 0) == full)
			return true;
	}
	return false;
}

static enum op_type choose_type(struct sequence *s)
{
	const uint8_t *weight = kinds[s->kind].weight;
	unsigned sum = 0, type, at;

	for (type = 0; type < OP_TYPES; type++)
		sum += weight[type];
	at = below(s, sum);
	for (type = 0; at >= weight[type]; type++)
		at -= weight[type];
	return (enum op_type)type;
}

/* Some slots, all different, be they full or empty. */
static void choose_slots(struct sequence *s, struct op *op)
{
	unsigned first = below(s, SLOTS), stride = 1 + below(s, SLOTS / TX_SLOTS - 1);

	op->n_slots = 1 + below(s, TX_SLOTS);
	for (unsigned i = 0; i < op->n_slots; i++)
		op->slot[i] = (first + i * stride) % SLOTS;
}

static void change_words(struct model *m, const struct op *op)
{
	for (unsigned i = 0; i < op->length; i++)
		m->word[op->word + i] = op->seed + i;
}

static void change_slot(struct model *m, const struct op *op, unsigned i)
{
	unsigned slot = op->slot[i];
	bool fills = op->type == OP_REPLACE || !m->slot[slot].size;

	m->slot[slot].size = fills ? op->size : 0;
	m->slot[slot].seed = fills ? op->seed + i : 0;
}

static void change_model(struct model *m, const struct op *op)
{
	if (op->type == OP_ABORT)
		return;
	for (unsigned i = 0; i < op->n_slots; i++)
		change_slot(m, op, i);
	change_words(m, op);
}

/* Fill in what the type needs; an operation on a slot becomes another one where no slot
 * is in the state for it. */
static void choose_details(struct sequence *s, struct op *op)
{
	switch (op->type) {
	case OP_PUBLISH:
	case OP_PUBLISH_PERSISTED:
	case OP_ALLOC_INTO:
		op->n_slots = 1;
		if (!find_slot(s, false, &op->slot[0]))
			op->type = OP_RETIRE;
		break;
	case OP_RETIRE:
	case OP_REPLACE:
		op->n_slots = 1;
		if (!find_slot(s, true, &op->slot[0]))
			op->type = OP_PUBLISH;
		break;
	case OP_SET:
	case OP_PERSIST:
		op->length = 1;
		break;
	case OP_WRITE:
		op->length = 1 + below(s, PHEAP_INLINE_MAX / 8);
		break;
	case OP_REDO:
		choose_slots(s, op);
		op->length = below(s, 4);
		break;
	case OP_UNDO:
	case OP_ABORT:
		op->length = 1 + below(s, 24);
		break;
	case OP_MIXED:
		choose_slots(s, op);
		op->length = 1 + below(s, 8);
		break;
	case OP_TYPES:
		break;
	}
}

void sequence_next(struct sequence *s, struct op *op)
{
	*op = (struct op){
		.type = choose_type(s),
		.size = sizes[below(s, sizeof(sizes) / sizeof(sizes[0]))],
		.seed = next_random(&s->random) | 1,
	};
	choose_details(s, op);
	op->word = below(s, WORDS - op->length);
	change_model(&s->model, op);
}

const char *op_name(const struct op *op)
{
	static const char *const names[] = {
		[OP_PUBLISH] = "publish",
		[OP_PUBLISH_PERSISTED] = "publish_persisted",
		[OP_ALLOC_INTO] = "alloc_into",
		[OP_RETIRE] = "retire",
		[OP_REPLACE] = "replace",
		[OP_SET] = "set",
		[OP_WRITE] = "write",
		[OP_PERSIST] = "persist",
		[OP_REDO] = "redo",
		[OP_UNDO] = "undo",
		[OP_ABORT] = "abort",
		[OP_MIXED] = "mixed",
	};

	return names[op->type];
}

/* ---- doing them --------------------------------------------------------------------------- */

static void fill(void *object, size_t size, uint64_t seed)
{
	uint64_t word;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8) {
		word = next_random(&seed);
		memcpy((char *)object + i, &word, 8);
	}
}

static struct table *table_of(pheap_t *heap)
{
	return pheap_ptr(heap, *pheap_root(heap));
}

static void *filled(pheap_t *heap, const struct op *op)
{
	void *object = pheap_alloc(heap, op->size);

	if (object)
		fill(object, op->size, op->seed);
	return object;
}

static int run_publish(pheap_t *heap, pheap_ref *slot, const struct op *op)
{
	void *object = filled(heap, op);
	unsigned flags = 0;
	int err;

	if (!object)
		return -errno;
	if (op->type == OP_REPLACE)
		return pheap_replace(heap, slot, object, 0);
	if (op->type == OP_PUBLISH_PERSISTED) {
		flags = PHEAP_PERSISTED;
		if ((err = pheap_persist(heap, object, op->size)))
			return err;
	}
	return pheap_publish(heap, slot, object, flags);
}

static int run_alloc_into(pheap_t *heap, pheap_ref *slot, const struct op *op)
{
	static char content[70000];

	fill(content, op->size, op->seed);
	return pheap_alloc_into(heap, slot, op->size, content);
}

static int tx_slots(pheap_t *heap, pheap_tx_t *tx, struct table *table, const struct op *op)
{
	int err = 0;

	for (unsigned i = 0; !err && i < op->n_slots; i++) {
		pheap_ref *slot = &table->slot[op->slot[i]];
		void *object;

		if (*slot) {
			err = pheap_tx_retire(tx, slot);
			continue;
		}
		object = pheap_tx_alloc(tx, op->size);
		if (!object)
			return -errno;
		fill(object, op->size, op->seed + i);
		err = pheap_tx_set(tx, slot, pheap_ref_of(heap, object));
	}
	return err;
}

static int tx_words(pheap_tx_t *tx, uint64_t *words, const struct op *op)
{
	bool in_place = op->type != OP_REDO;
	int err = 0;

	if (in_place)
		err = pheap_tx_snapshot(tx, words, 8 * op->length);
	for (unsigned i = 0; !err && i < op->length; i++) {
		if (in_place)
			words[i] = op->seed + i;
		else
			err = pheap_tx_set(tx, &words[i], op->seed + i);
	}
	return err;
}

static int run_tx(pheap_t *heap, struct table *table, uint64_t *words, const struct op *op)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);
	int err;

	if (!tx)
		return -errno;
	err = tx_slots(heap, tx, table, op);
	if (!err)
		err = tx_words(tx, words, op);
	if (err || op->type == OP_ABORT) {
		int aborted = pheap_tx_abort(tx);

		return err ? err : aborted;
	}
	return pheap_tx_commit(tx);
}

static int run_write(pheap_t *heap, uint64_t *words, const struct op *op)
{
	uint64_t values[PHEAP_INLINE_MAX / 8];

	for (unsigned i = 0; i < op->length; i++)
		values[i] = op->seed + i;
	return pheap_write(heap, words, values, 8 * op->length);
}

int op_run(pheap_t *heap, const struct op *op)
{
	struct table *table = table_of(heap);
	uint64_t *words = (uint64_t *)pheap_ptr(heap, table->words) + op->word;
	pheap_ref *slot = &table->slot[op->slot[0]];

	switch (op->type) {
	case OP_PUBLISH:
	case OP_PUBLISH_PERSISTED:
	case OP_REPLACE:
		return run_publish(heap, slot, op);
	case OP_ALLOC_INTO:
		return run_alloc_into(heap, slot, op);
	case OP_RETIRE:
		return pheap_retire(heap, slot);
	case OP_SET:
		return pheap_set(heap, words, op->seed);
	case OP_WRITE:
		return run_write(heap, words, op);
	case OP_PERSIST:
		__atomic_store_n(words, op->seed, __ATOMIC_RELAXED);
		return pheap_persist(heap, words, 8);
	default:
		return run_tx(heap, table, words, op);
	}
}

/* ---- pools ----------------------------------------------------------------------------------- */

static struct pheap_options options(void)
{
	return (struct pheap_options){
		.struct_size = sizeof(struct pheap_options),
		.durability = PHEAP_POWER,
		.flags = PHEAP_FORCE_PMEM,
	};
}

pheap_t *workload_create(const char *path, const char *kind, uint64_t seed, unsigned length)
{
	struct pheap_options opts = options();
	char layout[PHEAP_LAYOUT_MAX];
	struct table *table;
	pheap_t *heap;

	snprintf(layout, sizeof(layout), "%s %llu %u", kind, (unsigned long long)seed, length);
	opts.size = POOL_SIZE;
	opts.layout = layout;
	heap = pheap_create(path, &opts);
	if (!heap)
		return NULL;
	if (pheap_alloc_into(heap, pheap_root(heap), sizeof(*table), NULL) ||
	    pheap_alloc_into(heap, &table_of(heap)->words, 8 * (WORDS + SPARE), NULL)) {
		pheap_close(heap);
		return NULL;
	}
	return heap;
}

pheap_t *workload_open(const char *path)
{
	struct pheap_options opts = options();

	return pheap_open(path, &opts);
}

bool workload_sequence(pheap_t *heap, struct sequence *s)
{
	struct pheap_info info = {.struct_size = sizeof(info)};
	char kind[PHEAP_LAYOUT_MAX];
	unsigned long long seed;
	unsigned length;

	if (pheap_get_info(heap, &info) ||
	    sscanf(info.layout, "%63s %llu %u", kind, &seed, &length) != 3 ||
	    workload_kind(kind) < 0)
		return false;
	sequence_begin(s, (unsigned)workload_kind(kind), seed, length);
	return true;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool content_matches(pheap_t *heap, pheap_ref ref, uint32_t size, uint64_t seed)
{
	const char *object = pheap_ptr(heap, ref);
	uint64_t word;
	size_t i;

	if (!object || pheap_usable_size(heap, object) < size)
		return false;
	for (i = 0; i + 8 <= size; i += 8) {
		word = next_random(&seed);
		if (memcmp(object + i, &word, 8))
			return false;
	}
	return true;
}

bool model_matches(pheap_t *heap, const struct model *model, char *why, size_t why_size)
{
	struct table *table = table_of(heap);
	uint64_t *words = table ? pheap_ptr(heap, table->words) : NULL;
	unsigned i;

	if (!words) {
		snprintf(why, why_size, "the root is gone");
		return false;
	}
	for (i = 0; i < SLOTS; i++) {
		uint32_t size = model->slot[i].size;

		if (size ? !content_matches(heap, table->slot[i], size, model->slot[i].seed)
			 : table->slot[i] != 0) {
			snprintf(why, why_size, "slot %u: 0x%llx, not %u bytes as they were", i,
				 (unsigned long long)table->slot[i], size);
			return false;
		}
	}
	for (i = 0; i < WORDS; i++) {
		if (words[i] != model->word[i]) {
			snprintf(why, why_size, "word %u: 0x%llx, not 0x%llx", i,
				 (unsigned long long)words[i], (unsigned long long)model->word[i]);
			return false;
		}
	}
	return true;
}
