/*
 * heap.c - the DRAM side of a heap, from nothing to attached, and back.
 */
#include "heap.h"

#include <sys/mman.h>

#include "alloc/debug.h"
#include "alloc/large.h"
#include "alloc/span.h"
#include "dram.h"
#include "reclaim/gc.h"
#include "sum.h"
#include "tx/lane.h"
#include "tx/tx.h"
#include "types.h"

static void init_locks(struct pheap *heap)
{
	pthread_mutexattr_t recursive;

	pthread_mutex_init(&heap->lane_lock, NULL);
	pthread_mutex_init(&heap->ckpt_lock, NULL);
	pthread_mutex_init(&heap->large_lock, NULL);
	pthread_mutex_init(&heap->tx_lock, NULL);
	pthread_mutex_init(&heap->root_lock, NULL);
	pthread_mutex_init(&heap->type_lock, NULL);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&heap->zone.lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
}

/* In the order in which they nest (heap.h). */
void ph_heap_before_fork(struct pheap *heap)
{
	pthread_mutex_lock(&heap->zone.lock);
	for (unsigned shape = 0; shape < ph_shapes_used(heap); shape++)
		ph_bitlock_take(&heap->central[shape].lock);
	pthread_mutex_lock(&heap->large_lock);
	ph_debug_hold(heap);
	ph_dram_hold();
}

/* A child's thread has another id, with which no mutex can be given that knows its owner. */
void ph_heap_after_fork(struct pheap *heap, bool child)
{
	ph_dram_let_go();
	ph_debug_let_go(heap);
	if (child) {
		init_locks(heap);
	} else {
		pthread_mutex_unlock(&heap->large_lock);
		pthread_mutex_unlock(&heap->zone.lock);
	}
	for (unsigned shape = 0; shape < ph_shapes_used(heap); shape++)
		ph_bitlock_give(&heap->central[shape].lock, 0);
}

struct pheap *ph_heap_new(void)
{
	struct pheap *heap = ph_dram_zalloc(sizeof(*heap));

	if (!heap)
		return ph_null(ENOMEM, "no memory for a heap");
	heap->file.fd = -1;
	/* From 1, so that `touched` 0 means: not since the heap was opened. */
	heap->ckpt_begun = heap->ckpt_done = 1;
	init_locks(heap);
	return heap;
}

void ph_heap_delete(struct pheap *heap)
{
	ph_debug_fini(heap);
	ph_tx_delete_all(heap);
	ph_zone_detach(heap);
	ph_types_detach(heap);
	ph_gc_detach(heap);
	if (heap->lane_space)
		munmap(heap->lane_space, sizeof(*heap->lane_space));
	ph_dram_free(heap->lanes, PM_LANES_MAX * sizeof(*heap->lanes));
	ph_dram_free(heap->ckpt_pos, PM_LANES_MAX * sizeof(*heap->ckpt_pos));
	if (heap->stripes)
		munmap(heap->stripes, PH_STRIPES * sizeof(*heap->stripes));
	ph_dram_free(heap, sizeof(*heap));
}

void *ph_map_lazily(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int attach_lanes(struct pheap *heap)
{
	const uint64_t *table = (const uint64_t *)(const void *)ph_at(heap, PM_LANE_TABLE);

	heap->lanes = ph_dram_zalloc(PM_LANES_MAX * sizeof(*heap->lanes));
	heap->ckpt_pos = ph_dram_zalloc(PM_LANES_MAX * sizeof(*heap->ckpt_pos));
	heap->lane_space = ph_map_lazily(sizeof(*heap->lane_space));
	if (!heap->lanes || !heap->ckpt_pos || !heap->lane_space)
		return ph_error(ENOMEM, "no memory for lanes");
	while (heap->nlanes < PM_LANES_MAX && table[heap->nlanes]) {
		struct ph_lane *lane = ph_lane_make(heap, table[heap->nlanes], heap->nlanes);

		ph_lane_read(heap, lane);
		ph_span_keep(heap, lane->block);
		heap->lanes[heap->nlanes++] = lane;
	}
	heap->lanes[0]->backed = true; /* by ph_format_back() */
	/* A lane per 4 MiB at most, so that rings never are what fills a pool. */
	heap->lanes_max = heap->zone.granules / 64 + heap->nlanes;
	if (heap->lanes_max > PM_LANES_MAX)
		heap->lanes_max = PM_LANES_MAX;
	return 0;
}

int ph_heap_attach(struct pheap *heap)
{
	int err;

	heap->stripes = ph_map_lazily(PH_STRIPES * sizeof(*heap->stripes));
	if (!heap->stripes)
		return ph_error(ENOMEM, "no memory for stripes");
	heap->epoch = heap->state->epoch;
	ph_unseal(heap->state->settled, &heap->settled);
	err = ph_zone_attach(heap,
			     (const struct pm_zone *)(const void *)ph_at(heap, PM_ZONE_TABLE));
	if (!err)
		err = ph_types_attach(heap);
	if (!err)
		ph_large_attach(heap);
	return err ? err : attach_lanes(heap);
}

int ph_heap_refuse(const struct pheap *heap, const char *what)
{
	if (!heap)
		return ph_error(EINVAL, "%s: the heap is NULL", what);
	if (heap->forked)
		return ph_error(EINVAL, "%s: this heap belongs to the parent process", what);
	if (heap->readonly)
		return ph_error(EROFS, "%s: the heap is open read-only", what);
	return ph_error(EIO,
			"%s: a write-back failed earlier; the heap is read-only: close and "
			"reopen it",
			what);
}
