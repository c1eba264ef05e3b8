/*
 * target.c - look up and judge the addresses that a caller wants written.
 */
#include "target.h"

bool ph_root_exists(const struct pheap *heap, uint64_t offset)
{
	const struct pm_root *root =
		(const struct pm_root *)(const void *)ph_at(heap, offset / PM_LINE * PM_LINE);

	/* The first has no name, and is always there. */
	return offset < PM_ROOTS + PM_LINE || __atomic_load_n(&root->name[0], __ATOMIC_RELAXED);
}

/* A root's reference, and only of a root that exists. */
static bool in_root(const struct pheap *heap, uint64_t offset, uint64_t length)
{
	if (offset < PM_ROOTS || offset >= PM_ROOTS + PM_ROOT_SLOTS * sizeof(struct pm_root))
		return false;
	return offset % PM_LINE == offsetof(struct pm_root, ref) && length == 8 &&
	       ph_root_exists(heap, offset);
}

static const enum ph_place places[] = {
	[PH_RESERVED] = PH_IN_RESERVED,
	[PH_TX] = PH_IN_TX,
	[PH_PUBLISHED] = PH_IN_PUBLISHED,
	[PH_DYING] = PH_IN_PUBLISHED,
};

int ph_target_judge(struct pheap *heap, const char *what, const void *addr, uint64_t length,
		    struct ph_target *target)
{
	struct ph_object *object = &target->object;
	enum ph_state state;

	if (in_root(heap, target->offset, length)) {
		target->place = PH_IN_ROOT;
		return 0;
	}
	state = ph_object_find(heap, target->offset, object) ? ph_state(object) : PH_FREE;
	if (state < PH_RESERVED)
		return ph_error(EINVAL, "%s: %p lies in no object of this heap", what, addr);
	if (length > object->start + PH_SEEN(object->slab, size) - target->offset)
		return ph_error(EINVAL,
				"%s: %llu bytes at %p end behind the object that they begin in",
				what, (unsigned long long)length, addr);
	target->place = places[state];
	if (heap->traced && state == PH_RESERVED) /* it may be permanent */
		target->place = PH_IN_PUBLISHED;
	return 0;
}

int ph_slot_refuse(const char *what, const void *slot, enum ph_place place)
{
	if (place == PH_IN_TX)
		return ph_error(EINVAL,
				"%s: %p lies in an object that a transaction has not "
				"committed yet",
				what, slot);
	return ph_error(EINVAL,
			"%s: %p lies in an object that is not published: build "
			"graphs bottom-up in a transaction",
			what, slot);
}
