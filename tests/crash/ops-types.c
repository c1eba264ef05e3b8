/*
 * ops-types.c - types are registered, and objects of them published. See ops.h.
 */
#include <errno.h>
#include <string.h>

#include "ops.h"
#include "random.h"

static const uint32_t refs[] = {0, 8};

static const uint32_t weak[] = {16};

static uint32_t many[300];

static const struct pheap_type_info infos[MODEL_TYPES] = {
	{.name = "model node", .version = 1, .size = 64, .refs = refs, .nrefs = 2},
	{.name = "model array", .size = 24, .refs = refs, .nrefs = 2, .flags = PHEAP_TYPE_ARRAY},
	{.name = "a descriptor that does not fit in a record",
	 .size = 2400,
	 .refs = many,
	 .nrefs = 300},
	{.name = "model large", .size = 300000, .refs = refs, .nrefs = 1},
	{.name = "model counted",
	 .size = sizeof(struct graph_object),
	 .refs = refs,
	 .nrefs = 2,
	 .weak = weak,
	 .nweak = 1,
	 .flags = PHEAP_TYPE_COUNTED},
};

const char *model_type_name(unsigned number)
{
	return infos[number - 1].name;
}

static pheap_type_t *find_type(struct run *run, unsigned number)
{
	pheap_type_t *type = pheap_type_find(run->heap, model_type_name(number));

	if (!type)
		run_fail(run, "type %u: %s", number, pheap_errormsg());
	return type;
}

bool op_register(struct run *run)
{
	struct pheap_type_info info = infos[run->now.types];

	for (uint32_t i = 0; i < 300; i++)
		many[i] = 8 * i;
	if (!op_begin(run, "register", run->now.types + 1, 0))
		return false;
	op_edit(run, &(struct model_edit){.kind = MODEL_TYPES_N, .value = run->now.types + 1});
	op_go(run);
	errno = 0;
	info.struct_size = sizeof(info);
	return op_end(run, pheap_type_register(run->heap, &info) ? 0 : -errno);
}

/* A reserved object of a type, with its references null and other bytes random. */
static char *reserve(struct run *run, pheap_tx_t *tx, unsigned number, unsigned n,
		     struct model_object **object)
{
	pheap_type_t *type = find_type(run, number);
	bool array = infos[number - 1].flags & PHEAP_TYPE_ARRAY;
	size_t size = infos[number - 1].size * (array ? n : 1);
	char *ptr;

	if (!type)
		return NULL;
	errno = 0;
	if (tx)
		ptr = array ? pheap_tx_alloc_array(tx, type, n) : pheap_tx_alloc_typed(tx, type);
	else
		ptr = array ? pheap_alloc_array(type, n) : pheap_alloc_typed(type);
	if (!ptr)
		return NULL;
	if (model_overlap(run->heap, &run->now, ptr, size))
		run_fail(run, "a typed object overlaps another one");
	run_absorb(run, ptr, pheap_usable_size(run->heap, ptr));
	*object = model_pattern(&run->store, size, random_next(&run->random));
	(*object)->type = number;
	for (size_t at = 0; at < size; at += infos[number - 1].size)
		for (unsigned i = 0; i < infos[number - 1].nrefs; i++) {
			char *reference = ptr + at + infos[number - 1].refs[i];

			if (memcmp(reference, "\0\0\0\0\0\0\0", 8))
				run_fail(run, "a reference of a new object is not null");
			memset((*object)->bytes + at + infos[number - 1].refs[i], 0, 8);
		}
	run_put(run, ptr, (*object)->bytes, size);
	return ptr;
}

bool op_publish_typed(struct run *run, unsigned slot, unsigned number, unsigned n)
{
	struct model_object *object;
	char *ptr;
	int err;

	if (!op_begin(run, "publish typed", slot, number))
		return false;
	ptr = reserve(run, NULL, number, n, &object);
	if (!ptr)
		return op_end(run, -errno);
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = object});
	op_go(run);
	err = pheap_publish(run->heap, model_slot(run->heap, slot), ptr, 0);
	if (err == -ENOSPC && run->tolerant)
		pheap_free(run->heap, ptr);
	return op_end(run, err);
}

/* An array of a type: its first elements stay, those behind have null references. */
bool op_resize_typed(struct run *run, unsigned slot, unsigned number, unsigned n)
{
	const struct model_object *old = run->now.slot[slot];
	const struct pheap_type_info *info = &infos[number - 1];
	struct model_object *object;
	pheap_ref *ref;
	int err;

	if (!old || !op_begin(run, "resize typed", slot, n))
		return false;
	object = model_pattern(&run->store, n * info->size, 0);
	memset(object->bytes, 0, object->size);
	object->type = number;
	object->known = old->known < object->size ? old->known : object->size;
	memcpy(object->bytes, old->bytes, object->known);
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = object});
	op_go(run);
	ref = model_slot(run->heap, slot);
	err = pheap_resize(run->heap, ref, object->size);
	if (!err)
		run_absorb(run, pheap_ptr(run->heap, *ref),
			   pheap_usable_size(run->heap, pheap_ptr(run->heap, *ref)));
	return op_end(run, err);
}

bool op_link_typed(struct run *run, unsigned slot, unsigned number, unsigned n)
{
	struct model_object *object;
	pheap_tx_t *tx;
	char *ptr;
	int err;

	if (!op_begin(run, "transaction, typed", slot, number))
		return false;
	tx = pheap_tx_begin(run->heap);
	ptr = tx ? reserve(run, tx, number, n, &object) : NULL;
	err = ptr ? pheap_tx_set(tx, model_slot(run->heap, slot), pheap_ref_of(run->heap, ptr))
		  : -errno;
	if (err) {
		pheap_tx_abort(tx);
		return op_end(run, err);
	}
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = object});
	op_go(run);
	return op_end(run, pheap_tx_commit(tx));
}
