/*
 * ops-random.c - operations chosen by chance, among those that make sense in the
 * state the model is in.
 */
#include <string.h>

#include "ops.h"

size_t random_size(struct run *run)
{
	static const size_t size[] = {8,    16,	   24,	  40,	 64,	100,	128,   200,
				      256,  257,   300,	  520,	 640,	900,	1024,  2000,
				      5120, 12000, 40000, 65536, 65537, 102400, 200000};

	/* Small ones are more frequent: the pool is small. */
	return size[dice(run, dice(run, 8) ? 17 : sizeof(size) / sizeof(size[0]))];
}

/* A slot for a single object: of the table, or of a named root that is there. */
static unsigned random_slot(struct run *run)
{
	unsigned root = (unsigned)dice(run, 8 * MODEL_ROOTS);

	if (root < MODEL_ROOTS && run->now.root[root])
		return ROOT(root);
	return (unsigned)dice(run, FIRST_LIST);
}

/* A slot that is full, or empty, starting from a random one; false: there is none. */
static bool find_slot(struct run *run, bool full, unsigned *slot)
{
	unsigned first = (unsigned)dice(run, FIRST_LIST);

	for (unsigned i = 0; i < FIRST_LIST; i++) {
		*slot = (first + i) % FIRST_LIST;
		if (full == (run->now.slot[*slot] != NULL))
			return true;
	}
	return false;
}

static void fill_slot(struct run *run, unsigned slot)
{
	size_t size = random_size(run);

	switch (dice(run, 4)) {
	case 0:
		op_alloc_into(run, slot, size, false);
		break;
	case 1:
		op_alloc_into(run, slot, size, true);
		break;
	case 2:
		op_publish(run, slot, size, PHEAP_PERSISTED);
		break;
	default:
		op_publish(run, slot, size, 0);
	}
}

/* A part of an object whose content is known. */
static void random_range(struct run *run, unsigned slot, size_t most, size_t *at, size_t *length)
{
	size_t size = run->now.slot[slot]->known;

	*at = dice(run, 3) ? dice(run, (size + 7) / 8) * 8 : 0;
	*length = 1 + dice(run, size - *at);
	if (*length > most)
		*length = most;
}

static void change_slot(struct run *run, unsigned slot)
{
	size_t at, length;

	random_range(run, slot, PHEAP_INLINE_MAX, &at, &length);
	switch (dice(run, 10)) {
	case 0:
	case 1:
	case 2:
		op_retire(run, slot);
		break;
	case 3:
	case 4:
		op_replace(run, slot, random_size(run), dice(run, 3) ? 0 : PHEAP_PERSISTED);
		break;
	case 5:
		if (run->now.slot[slot]->type)
			op_retire(run, slot);
		else
			op_resize(run, slot, random_size(run));
		break;
	case 6:
	case 7:
		op_write(run, slot, at, length);
		break;
	case 8:
		op_persist(run, slot, at, length);
		break;
	default:
		op_memcpy(run, slot, at, length);
	}
}

static void change_list(struct run *run)
{
	unsigned slot = FIRST_LIST + (unsigned)dice(run, MODEL_TABLE_SLOTS - FIRST_LIST);
	const struct model_object *first = run->now.slot[slot];

	if (first && first->link_at && dice(run, 4))
		op_drop_arena(run, slot);
	else if (!first || first->link_at || dice(run, 3) == 0)
		op_push(run, slot, 16 + dice(run, 100));
	else if (!first->linked)
		op_retire(run, slot); /* the tail that op_link made, now first */
	else if (!first->next && dice(run, 2))
		op_link(run, slot, random_size(run));
	else if (first->next && !first->next->next && dice(run, 2))
		op_unlink(run, slot);
	else
		op_pop(run, slot);
}

static void change_root(struct run *run)
{
	unsigned root = (unsigned)dice(run, MODEL_ROOTS);

	if (run->now.root[root] && !run->now.slot[ROOT(root)])
		op_drop(run, root);
	else
		op_root(run, root);
}

static void use_reserved(struct run *run)
{
	int held = -1;

	for (int i = 0; i < (int)RUN_HELD; i++)
		if (run->held[i].ptr)
			held = i;
	if (held >= 0 && (held > 8 || dice(run, 2)))
		op_unreserve(run, held);
	else if (held >= 0 && dice(run, 3) == 0)
		op_realloc(run, held, random_size(run));
	else if (dice(run, 4) == 0)
		op_zalloc(run, random_size(run));
	else
		op_reserve(run, random_size(run));
}

/* ---- transactions ------------------------------------------------------------------- */

/* Slots and words that a transaction has used: it uses none of them twice. */
struct used {
	bool slot[FIRST_LIST], word[MODEL_WORDS];
};

static bool tx_step_slot(struct run *run, struct txn *t, struct used *used)
{
	unsigned slot;
	size_t at, length;
	bool full = dice(run, 2);

	if (!find_slot(run, full, &slot) || used->slot[slot])
		return true;
	used->slot[slot] = true;
	if (!full && dice(run, 3))
		return tx_alloc(run, t, slot, random_size(run));
	if (!full)
		return tx_link(run, t, slot, random_size(run));
	random_range(run, slot, 2000, &at, &length);
	switch (dice(run, 5)) {
	case 0:
		return tx_retire(run, t, slot);
	case 1:
		return tx_free(run, t, slot);
	case 2:
		return tx_write(run, t, slot, at, length);
	case 3:
		return tx_unlink(run, t, slot);
	default:
		if (!tx_snapshot(run, t, slot, at, length))
			return false;
		tx_store(run, t, slot, at, length);
		return true;
	}
}

static bool tx_step_word(struct run *run, struct txn *t, struct used *used)
{
	unsigned word = (unsigned)dice(run, MODEL_WORDS);

	if (used->word[word])
		return true;
	used->word[word] = true;
	if (dice(run, 2))
		return tx_set(run, t, word);
	if (!tx_snapshot_word(run, t, word))
		return false;
	tx_store_word(run, t, word);
	return true;
}

static void transaction(struct run *run)
{
	unsigned steps = 1 + (unsigned)dice(run, 6);
	struct used used = {0};
	bool possible = true;
	struct txn t;

	tx_begin(run, &t);
	while (steps-- && possible && !run->failed)
		if (dice(run, 3))
			possible = tx_step_slot(run, &t, &used);
		else
			possible = tx_step_word(run, &t, &used);
	if (possible && dice(run, 4))
		tx_commit(run, &t);
	else
		tx_abort(run, &t);
}

/* Where there are types, which is also known to be so after a crash. */
static void typed(struct run *run)
{
	unsigned slot = random_slot(run), number = 1 + (unsigned)dice(run, run->now.types);

	if (run->now.graph.board && dice(run, 2)) {
		op_count_random(run);
		return;
	}
	if (number == MODEL_TYPE_COUNTED)
		number = 1;

	if (run->now.types < MODEL_TYPES && dice(run, 4) == 0)
		op_register(run);
	else if (run->now.slot[slot])
		op_retire(run, slot);
	else if (dice(run, 2))
		op_publish_typed(run, slot, number, 1 + (unsigned)dice(run, 100));
	else
		op_link_typed(run, slot, number, 1 + (unsigned)dice(run, 100));
}

void op_random(struct run *run)
{
	unsigned slot;

	if (run->now.types && dice(run, 4) == 0) {
		typed(run);
		return;
	}

	switch (dice(run, 16)) {
	case 0:
	case 1:
		op_set(run, (unsigned)dice(run, MODEL_WORDS));
		break;
	case 2:
		op_persist_word(run, (unsigned)dice(run, MODEL_WORDS));
		break;
	case 3:
	case 4:
		change_list(run);
		break;
	case 5:
		change_root(run);
		break;
	case 6:
		use_reserved(run);
		break;
	case 7:
		op_misuse(run, random_slot(run));
		break;
	case 8:
	case 9:
	case 10:
		transaction(run);
		break;
	default:
		slot = random_slot(run);
		if (run->now.slot[slot])
			change_slot(run, slot);
		else
			fill_slot(run, slot);
	}
}
