/*
 * traced.c - types and objects of runs in traced pools. See traced.h.
 */
#include "traced.h"

#include <errno.h>
#include <string.h>

#include "alloc/span.h"
#include "types.h"

/* Smaller ones have a type that says where the link is; in larger ones, as in objects whose
 * type has a callback that the tool at hand has not got, it is found by looking. */
#define NODE_BYTES 128u
/* Of these only some fit in a slab. */
#define BIG_LEAST 1000u
#define BIG_BYTES 5120u

static uint32_t table_refs[MODEL_TABLE_SLOTS];

static const uint32_t node_refs[] = {0};

/* Called by nobody: open takes what has a callback word by word. */
static void no_trace(void *object, uint64_t size, pheap_visit_fn *visit, void *arg)
{
	(void)object;
	(void)size;
	(void)visit;
	(void)arg;
}

static const struct pheap_type_info infos[] = {
	{.struct_size = sizeof(struct pheap_type_info),
	 .name = "slots",
	 .version = 1,
	 .size = sizeof(struct table),
	 .refs = table_refs,
	 .nrefs = MODEL_TABLE_SLOTS},
	{.struct_size = sizeof(struct pheap_type_info),
	 .name = "list, short",
	 .version = 1,
	 .size = NODE_BYTES,
	 .refs = node_refs,
	 .nrefs = 1},
	{.struct_size = sizeof(struct pheap_type_info),
	 .name = "list, words",
	 .version = 1,
	 .flags = PHEAP_TYPE_ARRAY,
	 .size = 8,
	 .trace = no_trace},
	{.struct_size = sizeof(struct pheap_type_info),
	 .name = "list, large",
	 .version = 1,
	 .size = BIG_BYTES,
	 .refs = node_refs,
	 .nrefs = 1},
};

#define TYPES (sizeof(infos) / sizeof(infos[0]))

static pheap_type_t *type_of(struct run *run, unsigned i)
{
	pheap_type_t *type = pheap_type_find(run->heap, infos[i].name);

	if (type)
		return type;
	for (unsigned r = 0; r < MODEL_TABLE_SLOTS; r++)
		table_refs[r] = r * (uint32_t)sizeof(pheap_ref);
	type = pheap_type_register(run->heap, &infos[i]);
	if (type) /* the library filled the object that keeps it */
		run_absorb(run, ph_at(run->heap, type->ref),
			   pheap_usable_size(run->heap, ph_at(run->heap, type->ref)));
	return type;
}

int traced_table(struct run *run)
{
	static const struct table empty;
	pheap_type_t *type;
	void *ptr;

	errno = 0;
	for (unsigned i = 1; i < TYPES; i++)
		if (!type_of(run, i))
			return -errno;
	type = type_of(run, 0);
	ptr = type ? pheap_alloc_typed(type) : NULL;
	if (!ptr)
		return -errno;
	run_absorb(run, ptr, sizeof(empty));
	run_put(run, ptr, &empty, sizeof(empty));
	return pheap_publish(run->heap, pheap_root(run->heap), ptr, 0);
}

char *traced_node(struct run *run, pheap_tx_t *tx, size_t size)
{
	unsigned i = size <= NODE_BYTES ? 1 : size < BIG_LEAST || size > BIG_BYTES ? 2 : 3;
	pheap_type_t *type = type_of(run, i);
	char *ptr = !type    ? NULL
		    : i == 2 ? pheap_tx_alloc_array(tx, type, (size + 7) / 8)
			     : pheap_tx_alloc_typed(tx, type);

	if (ptr)
		run_absorb(run, ptr, pheap_usable_size(run->heap, ptr));
	return ptr;
}

/* ---- counting ------------------------------------------------------------------------ */

static uint64_t loaded_objects(const struct ph_slab *slab)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < slab->objects; i++)
		n += slab->state[i] >= PH_RESERVED;
	return n;
}

static uint64_t media_objects(const struct pheap *heap, uint32_t granule)
{
	const uint64_t *bits = (const uint64_t *)(const void *)ph_at(
		heap, heap->zone.pm->bits + (uint64_t)granule * PM_BITMAP_BYTES);
	uint64_t n = 0;

	for (unsigned i = 0; i < PM_BITMAP_BYTES / 8; i++)
		n += (unsigned)__builtin_popcountll(bits[i]);
	return n;
}

static uint64_t held_objects(const struct run *run)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < RUN_HELD; i++)
		n += run->held[i].ptr != NULL;
	return n;
}

uint64_t traced_types(const struct run *run)
{
	uint64_t n = 0;

	while (pheap_type_by_id(run->heap, (uint32_t)n + 1))
		n++;
	return n;
}

uint64_t traced_objects(const struct run *run)
{
	const struct pheap *heap = run->heap;
	const struct pm_span *desc =
		(const struct pm_span *)(const void *)ph_at(heap, heap->zone.pm->desc);
	uint64_t n = 0;

	for (uint32_t g = 0; g < heap->zone.granules; g++) {
		const struct ph_slab *slab = heap->zone.map[g].slab;

		if (slab && slab->kind != PM_KIND_LANE)
			n += loaded_objects(slab);
		else if (!slab && desc[g].kind != PM_KIND_NONE && desc[g].kind != PM_KIND_LANE)
			n += media_objects(heap, g);
		if (slab)
			g += slab->granules - 1;
	}
	return n - held_objects(run) - traced_types(run);
}
