/*
 * target.c - look up and judge the addresses that a caller wants written.
 */
#include "target.h"

/* A root's reference, and only of a root that exists. */
static bool in_root(const struct pheap *heap, uint64_t offset, uint64_t length)
{
	const struct pm_root *root;

	if (offset < PM_ROOTS || offset >= PM_ROOTS + PM_ROOT_SLOTS * sizeof(*root))
		return false;
	root = (const struct pm_root *)(const void *)ph_at(heap, offset / PM_LINE * PM_LINE);
	return offset % PM_LINE == offsetof(struct pm_root, ref) && length == 8 &&
	       (offset < PM_ROOTS + PM_LINE || root->name[0]);
}

static const enum ph_place places[] = {
	[PH_RESERVED] = PH_IN_RESERVED,
	[PH_TX] = PH_IN_TX,
	[PH_PUBLISHED] = PH_IN_PUBLISHED,
	[PH_DYING] = PH_IN_PUBLISHED,
};

int ph_target_find(struct pheap *heap, const char *what, const void *addr, uint64_t length,
		   struct ph_target *target)
{
	struct ph_object *object = &target->object;

	target->offset = ph_off(heap, addr);
	if (in_root(heap, target->offset, length)) {
		target->place = PH_IN_ROOT;
		return 0;
	}
	if (!ph_object_find(heap, target->offset, object) || ph_state(object) < PH_RESERVED)
		return ph_error(EINVAL, "%s: %p lies in no object of this heap", what, addr);
	if (length > object->start + object->slab->size - target->offset)
		return ph_error(EINVAL, "%s: %llu bytes at %p end behind the object that they begin in",
				what, (unsigned long long)length, addr);
	target->place = places[ph_state(object)];
	return 0;
}

int ph_word_find(struct pheap *heap, const char *what, const void *addr, struct ph_target *target)
{
	if ((uintptr_t)addr % 8)
		return ph_error(EINVAL, "%s: %p is not 8-byte aligned", what, addr);
	return ph_target_find(heap, what, addr, 8, target);
}
