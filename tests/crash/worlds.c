/*
 * worlds.c - operations under way take effect in every possible order.
 */
#include "worlds.h"

#include <errno.h>
#include <string.h>

#include "random.h"

/* ---- comparison ------------------------------------------------------------------ */

static uint64_t object_hash(const struct model_object *object)
{
	uint64_t hash = 0, word;

	for (; object; object = object->next) {
		hash = mix64(hash ^ object->size) + object->known;
		for (size_t at = 0; at < object->known; at += 8) {
			word = 0;
			memcpy(&word, object->bytes + at,
			       object->known - at < 8 ? object->known - at : 8);
			hash = mix64(hash ^ word) + 1;
		}
	}
	return hash;
}

uint64_t model_hash(const struct model *model)
{
	uint64_t hash = mix64((model->exists * 2u + model->table) * 32 + model->types * 4 +
			      model->graph.root * 2u + model->graph.board);

	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		hash = mix64(hash ^ object_hash(model->slot[i])) + i;
	for (unsigned i = 0; i < MODEL_ROOTS; i++)
		hash = mix64(hash ^ model->root[i]) + i;
	for (unsigned i = 0; i < MODEL_WORDS; i++)
		hash = mix64(hash ^ model->word[i]) + i;
	for (unsigned i = 0; i < GRAPH_SLOTS; i++)
		hash = mix64(hash ^ (model->graph.slot[i] * 256u + model->graph.weak[i])) + i;
	for (unsigned i = 0; i < GRAPH_NODES; i++) {
		const struct graph_node *node = &model->graph.node[i];

		hash = mix64(hash ^ node->id ^ node->alive);
		hash = mix64(hash ^ (node->left << 16 | node->right << 8 | node->weak)) + i;
	}
	return hash;
}

static bool same_object(const struct model_object *a, const struct model_object *b)
{
	if (a == b)
		return true;
	return a && b && a->size == b->size && a->known == b->known && a->next == b->next &&
	       !memcmp(a->bytes, b->bytes, a->known);
}

static bool same_model(const struct model *a, const struct model *b)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		if (!same_object(a->slot[i], b->slot[i]))
			return false;
	return !memcmp(a->word, b->word, sizeof(a->word)) &&
	       !memcmp(a->root, b->root, sizeof(a->root));
}

static bool same_world(const struct world *a, const struct world *b)
{
	for (unsigned t = 0; t < WORLDS_THREADS; t++)
		if (a->op[t].done != b->op[t].done ||
		    (a->op[t].done && a->op[t].code != b->op[t].code))
			return false;
	return same_model(&a->model, &b->model);
}

static void add(struct worlds *worlds, const struct world *world)
{
	for (unsigned i = 0; i < worlds->n; i++)
		if (same_world(&worlds->world[i], world))
			return;
	if (worlds->n == WORLDS_MAX)
		worlds->overflow = true;
	else
		worlds->world[worlds->n++] = *world;
}

/* ---- what operations do ------------------------------------------------------------ */

static int publish(struct model *model, const struct operation *op)
{
	struct model_object **slot = &model->slot[op->slot];

	if (op->slot >= MODEL_TABLE_SLOTS && !model->root[op->slot - MODEL_TABLE_SLOTS])
		return -EINVAL; /* the root was dropped */
	if (op->kind == W_PUBLISH && *slot)
		return -EEXIST;
	if (op->kind != W_PUBLISH && !*slot)
		return -ENOENT;
	*slot = op->object;
	return 0;
}

static int resize(struct model_store *store, struct model *model, const struct operation *op)
{
	const struct model_object *old = model->slot[op->slot];
	struct model_object *object;

	if (!old)
		return -ENOENT;
	object = model_pattern(store, op->value, 0);
	object->known = old->known < op->value ? old->known : op->value;
	memcpy(object->bytes, old->bytes, object->known);
	model->slot[op->slot] = object;
	return 0;
}

static int drop(struct model *model, const struct operation *op)
{
	if (!model->root[op->slot])
		return -ENOENT;
	if (model->slot[MODEL_TABLE_SLOTS + op->slot])
		return -EEXIST;
	model->root[op->slot] = false;
	return 0;
}

static int apply(struct worlds *worlds, struct model *model, const struct operation *op)
{
	struct model before = *model;

	switch (op->kind) {
	case W_NOTHING:
		return 0;
	case W_PUBLISH:
	case W_REPLACE:
	case W_RETIRE:
		return publish(model, op);
	case W_RESIZE:
		return resize(worlds->store, model, op);
	case W_EDITS:
		for (unsigned i = 0; i < op->n; i++)
			if (op->edit[i].kind == MODEL_BYTES && !model->slot[op->edit[i].index])
				return -ENOENT;
		for (unsigned i = 0; i < op->n; i++)
			model_apply(model, &before, worlds->store, &op->edit[i]);
		return 0;
	case W_ROOT:
		model->root[op->slot] = true;
		return 0;
	case W_DROP:
		return drop(model, op);
	}
	return 0;
}

/* Every operation under way takes effect in every world where it has not. Worlds that are
 * added are looked at, too. */
static void close_under_effects(struct worlds *worlds)
{
	for (unsigned i = 0; i < worlds->n; i++)
		for (unsigned t = 0; t < WORLDS_THREADS; t++) {
			const struct operation *op = worlds->under_way[t];
			struct world world = worlds->world[i];

			if (!op || world.op[t].done)
				continue;
			world.op[t].done = true;
			world.op[t].code = apply(worlds, &world.model, op);
			add(worlds, &world);
			world.model = worlds->world[i].model;
			world.op[t].code = -EINVAL;
			if (op->refuse)
				add(worlds, &world);
		}
}

/* ---- calls and returns ------------------------------------------------------------- */

void worlds_begin(struct worlds *worlds, struct model_store *store, const struct model *model)
{
	*worlds = (struct worlds){.store = store, .n = 1};
	worlds->world[0].model = *model;
}

void worlds_call(struct worlds *worlds, unsigned thread, const struct operation *op)
{
	worlds->under_way[thread] = op;
	close_under_effects(worlds);
}

bool worlds_return(struct worlds *worlds, unsigned thread, int code)
{
	unsigned n = worlds->n;

	worlds->under_way[thread] = NULL;
	worlds->n = 0;
	for (unsigned i = 0; i < n; i++) {
		struct world world = worlds->world[i];

		if (!world.op[thread].done || world.op[thread].code != code)
			continue;
		world.op[thread].done = false;
		world.op[thread].code = 0;
		add(worlds, &world);
	}
	return worlds->n != 0;
}

unsigned worlds_models(const struct worlds *worlds, struct model *to)
{
	unsigned n = 0;

	for (unsigned i = 0; i < worlds->n; i++) {
		bool known = false;

		for (unsigned j = 0; j < n && !known; j++)
			known = same_model(&worlds->world[i].model, &to[j]);
		if (!known)
			to[n++] = worlds->world[i].model;
	}
	return n;
}
