/*
 * target.h - is this a place that an operation may write to?
 */
#ifndef PH_TARGET_H
#define PH_TARGET_H

#include "alloc/span.h"
#include "heap.h"

enum ph_place {
	PH_IN_ROOT,	 /* the reference of a root */
	PH_IN_PUBLISHED, /* inside a published object */
	PH_IN_TX,	 /* inside an object of an open transaction */
	PH_IN_RESERVED,	 /* inside a reserved object */
};

struct ph_target {
	enum ph_place place;
	struct ph_object object; /* unless PH_IN_ROOT */
	uint64_t offset;
};

/* Where it is not the common case, with target->offset set. */
int ph_target_judge(struct pheap *heap, const char *what, const void *addr, uint64_t length,
		    struct ph_target *target);

/*
 * Find the one object, or root, in which length bytes at addr lie. A message
 * that begins with what, and -EINVAL, where there is none.
 */
static inline int ph_target_find(struct pheap *heap, const char *what, const void *addr,
				 uint64_t length, struct ph_target *target)
{
	struct ph_object *object = &target->object;

	target->offset = ph_off(heap, addr);
	target->place = PH_IN_PUBLISHED;
	if (ph_likely(ph_object_find(heap, target->offset, object) &&
		      ph_state(object) == PH_PUBLISHED &&
		      length <= object->start + PH_SEEN(object->slab, size) - target->offset))
		return 0;
	return ph_target_judge(heap, what, addr, length, target);
}

/* Does the root whose reference is at offset exist? Again, under its stripe: it may
 * have been dropped since. */
bool ph_root_exists(const struct pheap *heap, uint64_t offset);

/* The same for an aligned word in a root or a published object. */
static inline int ph_word_find(struct pheap *heap, const char *what, const void *addr,
			       struct ph_target *target)
{
	if (ph_unlikely((uintptr_t)addr % 8))
		return ph_error(EINVAL, "%s: %p is not 8-byte aligned", what, addr);
	return ph_target_find(heap, what, addr, 8, target);
}

/* Why a slot is refused that lies in another place. */
int ph_slot_refuse(const char *what, const void *slot, enum ph_place place) __attribute__((cold));

/* A slot of a single operation: in a root or a published object. */
static ph_inline int ph_slot_find(struct pheap *heap, const char *what, const void *slot,
				  struct ph_target *target)
{
	int err = ph_heap_writable(heap, what);

	if (!err)
		err = ph_word_find(heap, what, slot, target);
	if (ph_likely(!err && (target->place == PH_IN_ROOT || target->place == PH_IN_PUBLISHED)))
		return 0;
	return err ? err : ph_slot_refuse(what, slot, target->place);
}

#endif
