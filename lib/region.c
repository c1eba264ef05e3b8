/*
 * region.c - memory of a request: an arena, large objects, handlers, children.
 *
 * Small objects are the arena's. A large one is a block of its own, found by its
 * address in a balanced tree (tsearch(3)), so that a free of anything else is noticed;
 * in the head of such a block `root` is the address of the object, and `next` that of
 * the arena. Handlers are noted in the arena too.
 */
#include "arena.h"
#include "error.h"

#include <pheap.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/class.h"

struct handler {
	struct handler *next; /* the one that was added before */
	void (*call)(void *);
	void *arg;
};

/* A small object that waits to be handed out again; the least class has 16 bytes. */
struct freed {
	struct freed *next;
	uint64_t mark; /* see mark_of() */
};

struct pheap_region {
	struct pheap_arena arena; /* must be first: pheap/region.h */
	void *large;		  /* tree of blocks */
	size_t large_bytes;
	size_t freed_bytes;
	struct handler *handlers; /* the last one first */
	struct pheap_region *parent, *youngest, *older, *younger;
	unsigned ending; /* it, and children at any depth */
	bool reuse;
	struct freed *freed[]; /* with reuse: of each class up to PH_SMALL_CLASSES */
};
_Static_assert(offsetof(struct pheap_arena, small) == offsetof(struct pheap_region_view, small),
	       "pheap/region.h says so");

/* What a free small object has in its second word, and any other by chance only. */
static uint64_t mark_of(const struct freed *object)
{
	return UINT64_C(0x9ad30c8a8a3eb1d5) ^ (uintptr_t)object;
}

/* ---- large objects ------------------------------------------------------------------- */

static int by_object(const void *a, const void *b)
{
	uint64_t x = ((const struct ph_block *)a)->root, y = ((const struct ph_block *)b)->root;

	return x < y ? -1 : x > y;
}

static void *alloc_large(struct pheap_region *region, size_t size, size_t alignment)
{
	void *object;
	struct ph_block *block = ph_arena_large(&region->arena, size, alignment, &object);

	if (!block)
		return NULL;
	block->next = (uintptr_t)&region->arena;
	block->root = (uintptr_t)object;
	if (!tsearch(block, &region->large, by_object)) {
		ph_arena_give_back(&region->arena, block);
		return ph_null(ENOMEM, "pheap_region_alloc: no memory");
	}
	region->large_bytes += block->size;
	return object;
}

/* Give a large object back; false where it is none. */
static bool free_large(struct pheap_region *region, const void *object)
{
	struct ph_block key = {.root = (uintptr_t)object}, *block;
	struct ph_block **found = tfind(&key, &region->large, by_object);

	if (!found)
		return false;
	block = *found;
	tdelete(block, &region->large, by_object);
	region->large_bytes -= block->size;
	ph_arena_give_back(&region->arena, block);
	return true;
}

static void give_back(void *block)
{
	ph_arena_give_back((struct pheap_arena *)(uintptr_t)((struct ph_block *)block)->next,
			   block);
}

/* ---- create, end ------------------------------------------------------------------------ */

static struct pheap_region *create(const char *what, pheap_t *heap, size_t block_size,
				   unsigned flags)
{
	bool reuse = flags & PHEAP_REGION_REUSE;
	struct pheap_region *region;
	int err;

	if (flags & ~(unsigned)PHEAP_REGION_REUSE)
		return ph_null(EINVAL, "%s: unknown flags %#x", what, flags);
	region = calloc(1, sizeof(*region) +
				   (reuse ? PH_SMALL_CLASSES * sizeof(region->freed[0]) : 0));
	if (!region)
		return ph_null(ENOMEM, "%s: no memory", what);
	err = ph_arena_init(&region->arena, what, heap, block_size);
	if (err) {
		free(region);
		return ph_null_code(err);
	}
	region->reuse = reuse;
	/* With reuse every request has to look whether there is something to reuse. */
	if (!reuse)
		region->arena.small = (region->arena.block_size - sizeof(struct ph_block)) / 4 - 8;
	return region;
}

PHEAP_API pheap_region_t *pheap_region_create(size_t block_size, unsigned flags)
{
	return create("pheap_region_create", NULL, block_size, flags);
}

PHEAP_API pheap_region_t *pheap_region_create_in(pheap_t *heap, size_t block_size, unsigned flags)
{
	int err = ph_arena_check_heap("pheap_region_create_in", heap);

	return err ? ph_null_code(err) : create("pheap_region_create_in", heap, block_size, flags);
}

PHEAP_API pheap_region_t *pheap_region_create_child(pheap_region_t *parent, size_t block_size,
						    unsigned flags)
{
	struct pheap_region *region;

	if (!parent)
		return ph_null(EINVAL, "pheap_region_create_child: parent is NULL");
	region = create("pheap_region_create_child", parent->arena.heap, block_size, flags);
	if (!region)
		return NULL;
	region->parent = parent;
	region->older = parent->youngest;
	if (region->older)
		region->older->younger = region;
	parent->youngest = region;
	return region;
}

static void leave_parent(struct pheap_region *region)
{
	if (region->older)
		region->older->younger = region->younger;
	if (region->younger)
		region->younger->older = region->older;
	else if (region->parent)
		region->parent->youngest = region->older;
}

/* No handler may end what is being ended: neither this region nor what has it as a child. */
static void count_ending(struct pheap_region *region, int change)
{
	for (; region; region = region->parent)
		region->ending += (unsigned)change;
}

/* Children, handlers, large objects. A handler may add children and handlers. */
static void end(struct pheap_region *region)
{
	struct handler *handler;

	count_ending(region, 1);
	while (region->youngest || region->handlers) {
		if (region->youngest) {
			pheap_region_destroy(region->youngest);
			continue;
		}
		handler = region->handlers;
		region->handlers = handler->next;
		handler->call(handler->arg);
	}
	count_ending(region, -1);
	tdestroy(region->large, give_back);
	region->large = NULL;
	region->large_bytes = region->freed_bytes = 0;
}

PHEAP_API void pheap_region_destroy(pheap_region_t *region)
{
	if (!region || region->ending)
		return;
	end(region);
	leave_parent(region);
	ph_arena_fini(&region->arena);
	free(region);
}

PHEAP_API void pheap_region_reset(pheap_region_t *region)
{
	if (!region || region->ending)
		return;
	end(region);
	if (region->reuse)
		memset(region->freed, 0, PH_SMALL_CLASSES * sizeof(region->freed[0]));
	pheap_arena_reset(&region->arena);
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* The object of a class that was recycled last, if it is aligned so. */
static void *reuse(struct pheap_region *region, unsigned cls, size_t alignment)
{
	struct freed *object = region->freed[cls];

	if (!object || (uintptr_t)object & (alignment - 1))
		return NULL;
	region->freed[cls] = object->next;
	region->freed_bytes -= ph_classes[cls].size;
	object->mark = 0;
	return object;
}

static void *alloc_small(struct pheap_region *region, size_t size, size_t alignment)
{
	unsigned cls = ph_class_of(size);
	void *object = reuse(region, cls, alignment);

	return object ? object
		      : pheap_arena_alloc_aligned(&region->arena, ph_classes[cls].size, alignment);
}

PHEAP_API void *pheap_region_alloc_aligned(pheap_region_t *region, size_t size, size_t alignment)
{
	int err;

	if (!region)
		return ph_null(EINVAL, "pheap_region_alloc: region is NULL");
	err = ph_arena_check_request("pheap_region_alloc", size, alignment);
	if (err)
		return ph_null_code(err);
	if (alignment < 8)
		alignment = 8;
	if (ph_arena_is_large(&region->arena, size, alignment))
		return alloc_large(region, size, alignment);
	if (region->reuse && size <= PH_SMALL_MAX)
		return alloc_small(region, size, alignment);
	return pheap_arena_alloc_aligned(&region->arena, size, alignment);
}

PHEAP_API void *pheap_region_alloc_slow(pheap_region_t *region, size_t size)
{
	return pheap_region_alloc_aligned(region, size, 8);
}

PHEAP_API void *pheap_region_zalloc(pheap_region_t *region, size_t size)
{
	void *object = pheap_region_alloc(region, size);

	return object ? memset(object, 0, size) : NULL;
}

PHEAP_API char *pheap_region_strdup(pheap_region_t *region, const char *string)
{
	size_t size;
	char *copy;

	if (!string)
		return ph_null(EINVAL, "pheap_region_strdup: string is NULL");
	size = strlen(string) + 1;
	copy = pheap_region_alloc(region, size);
	return copy ? memcpy(copy, string, size) : NULL;
}

/* ---- giving back early ------------------------------------------------------------------------
 */

PHEAP_API int pheap_region_free(pheap_region_t *region, void *ptr)
{
	if (!region)
		return ph_error(EINVAL, "pheap_region_free: region is NULL");
	if (!ptr || free_large(region, ptr))
		return 0;
	return ph_error(EINVAL, "pheap_region_free: %p is no large object of this region", ptr);
}

/* Objects that wait are marked; the walk is for one that has such content by chance. */
static bool waits(const struct pheap_region *region, unsigned cls, const struct freed *object)
{
	if (object->mark != mark_of(object))
		return false;
	for (const struct freed *other = region->freed[cls]; other; other = other->next)
		if (other == object)
			return true;
	return false;
}

PHEAP_API int pheap_region_recycle(pheap_region_t *region, void *ptr, size_t size)
{
	struct freed *object = ptr;
	unsigned cls;

	if (!region || !size)
		return ph_error(EINVAL, "pheap_region_recycle: %s",
				region ? "size is 0" : "region is NULL");
	if (!ptr || (region->large && free_large(region, ptr)))
		return 0;
	if (!region->reuse || size > PH_SMALL_MAX)
		return 0;
	cls = ph_class_of(size);
	if (waits(region, cls, object))
		return ph_error(EINVAL, "pheap_region_recycle: %p is recycled already", ptr);
	*object = (struct freed){region->freed[cls], mark_of(object)};
	region->freed[cls] = object;
	region->freed_bytes += ph_classes[cls].size;
	return 0;
}

/* ---- handlers -----------------------------------------------------------------------------------
 */

PHEAP_API int pheap_region_cleanup(pheap_region_t *region, void (*call)(void *), void *arg)
{
	struct handler *handler;

	if (!region || !call)
		return ph_error(EINVAL, "pheap_region_cleanup: %s is NULL",
				region ? "handler" : "region");
	handler = pheap_arena_alloc(&region->arena, sizeof(*handler));
	if (!handler)
		return -errno;
	*handler = (struct handler){region->handlers, call, arg};
	region->handlers = handler;
	return 0;
}

PHEAP_API int pheap_region_cancel(pheap_region_t *region, void (*call)(void *), void *arg)
{
	if (!region || !call)
		return ph_error(EINVAL, "pheap_region_cancel: %s is NULL",
				region ? "handler" : "region");
	for (struct handler **at = &region->handlers; *at; at = &(*at)->next) {
		if ((*at)->call == call && (*at)->arg == arg) {
			*at = (*at)->next;
			return 0;
		}
	}
	return ph_error(ENOENT, "pheap_region_cancel: there is no such handler");
}

/* ---- figures
 * ---------------------------------------------------------------------------------------- */

PHEAP_API size_t pheap_region_memory_usage(const pheap_region_t *region)
{
	if (!region)
		return 0;
	return sizeof(*region) - sizeof(region->arena) +
	       (region->reuse ? PH_SMALL_CLASSES * sizeof(region->freed[0]) : 0) +
	       pheap_arena_memory_usage(&region->arena) + region->large_bytes;
}

PHEAP_API size_t pheap_region_total_allocated(const pheap_region_t *region)
{
	return region ? pheap_arena_total_allocated(&region->arena) + region->large_bytes -
				region->freed_bytes
		      : 0;
}
