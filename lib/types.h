/*
 * types.h - the types of a pool, as they are in DRAM.
 *
 * MEDIA: the type table (layout.h), and for each type a descriptor object, untyped and
 * published, to which its entry refers as a root would. A type never changes and is never
 * dropped; ids count up from 1.
 *
 * INVARIANTS
 *   Y1  The entries in use are 1 to n, without a gap; all others are zero.
 *   Y2  An entry in use and its descriptor hold their sums, and are well formed.
 *   Y3  Entry, content and bit of a descriptor are in one record: a type exists whole, or
 *       not at all. (A descriptor too long for a record is durable before it.)
 *
 * What does not hold Y2 is *damaged*: the pool opens, the type is NULL here, and objects
 * of it can be reached and freed as others, but not looked into.
 *
 * LOCKS: heap.type_lock around looking a name up and registering; nests like root_lock.
 * Readers take none: a type is complete before its pointer is stored.
 */
#ifndef PH_TYPES_H
#define PH_TYPES_H

#include <pheap/type.h>

#include "heap.h"

struct pheap_type {
	struct pheap *heap;
	size_t bytes; /* of DRAM */
	uint32_t id;
	uint32_t version;
	uint32_t flags; /* PHEAP_TYPE_* */
	uint32_t nrefs, nweak;
	unsigned shape; /* of its objects; 0: arrays, or large ones */
	uint64_t size;	/* of an object, or of an element */
	uint64_t ref;	/* of its descriptor */
	const char *name;
	const uint32_t *refs, *weak; /* offsets, ascending */
	pheap_trace_fn *trace;	     /* atomic */
};

/* entry[0] is NULL. */
struct ph_types {
	uint32_t n;	  /* ids in use are 1 to n; atomic */
	uint32_t damaged; /* how many of them are */
	struct pheap_type *entry[PM_TYPES];
};

/* Read the table at open. Only -ENOMEM. */
int ph_types_attach(struct pheap *heap);
void ph_types_detach(struct pheap *heap);

/* The type with an id; NULL: there is none, or it is damaged, or id is 0. */
static inline struct pheap_type *ph_type_mutable(const struct pheap *heap, uint32_t id)
{
	const struct ph_types *types = heap->types;

	return types && id < PM_TYPES ? __atomic_load_n(&types->entry[id], __ATOMIC_ACQUIRE) : NULL;
}

static inline const struct pheap_type *ph_type(const struct pheap *heap, uint32_t id)
{
	return ph_type_mutable(heap, id);
}

/* Are there counts beside the objects of a type? Of a damaged one a span says it. */
static inline bool ph_type_counted(const struct pheap *heap, uint32_t id)
{
	const struct pheap_type *type = ph_type(heap, id);

	return type && type->flags & PHEAP_TYPE_COUNTED;
}

/* Does an object start at offset by which a type is kept? */
bool ph_type_keeps(const struct pheap *heap, uint64_t offset);

/* Elements of an object with a block of so many bytes. */
static inline uint64_t ph_type_elements(const struct pheap_type *type, uint64_t block)
{
	return type->flags & PHEAP_TYPE_ARRAY ? block / type->size : 1;
}

/*
 * Call visit for every strong slot of an object, whose block has so many bytes. False where
 * the type needs a callback that this program has not given: nothing was visited.
 */
bool ph_type_visit(const struct pheap_type *type, void *object, uint64_t block,
		   pheap_visit_fn *visit, void *arg);

#endif
