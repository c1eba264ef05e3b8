/*
 * lane.c - which thread writes to which ring, and how rings are added.
 *
 * A lane is meant for one thread. A thread gets the lane with the fewest users;
 * while that has one already, a new lane is made, up to heap.lanes_max and as
 * long as the pool has a granule for it. Beyond that lanes are shared, so a
 * free always finds one.
 */
#include "lane.h"

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "memory.h"
#include "record.h"
#include "sum.h"

void ph_lane_read(struct pheap *heap, struct ph_lane *lane)
{
	for (unsigned i = 0; i < PM_UNDO_LOGS; i++) {
		struct ph_undo_log *log = &lane->logs[i];

		ph_unseal(*(const uint64_t *)(const void *)ph_at(heap, log->head), &log->gen);
	}
}

struct ph_lane *ph_lane_make(struct pheap *heap, uint64_t block, uint32_t index)
{
	struct ph_lane *lane = &heap->lane_space->lane[index];

	memset(lane, 0, sizeof(*lane));
	lane->dirty = heap->lane_space->dirty[index];
	lane->block = block;
	lane->index = index;
	lane->clock = lane->visited = ph_settled(heap);
	for (unsigned i = 0; i < PM_UNDO_LOGS; i++) {
		struct ph_undo_log *log = &lane->logs[i];

		log->head = block + i * sizeof(struct pm_undo_head);
		log->area = block + PM_LANE_UNDO + i * PM_UNDO_AREA;
	}
	return lane;
}

int ph_lane_back(struct pheap *heap, struct ph_lane *lane)
{
	int err;

	if (ph_likely(__atomic_load_n(&lane->backed, __ATOMIC_RELAXED)))
		return 0;
	err = ph_memory_back(&heap->file, lane->block, PM_GRANULE);
	if (!err)
		__atomic_store_n(&lane->backed, true, __ATOMIC_RELAXED);
	return err;
}

/*
 * Publish a lane block: descriptor, tree and table in one record, which an
 * existing lane carries. The block's head page must be zero and durable before:
 * `ended` counts from 0. R6: and then settle it.
 */
static int publish_block(struct pheap *heap, struct ph_slab *slab, uint32_t index)
{
	struct ph_tcache *cache = ph_tcache_get(heap);
	struct ph_count *count = cache ? &cache->count : &heap->count;
	char *head = ph_at(heap, slab->start);
	struct ph_rec rec;
	int err;

	ph_store_zero(&heap->pm, head, PM_PAGE);
	/* Orders the zeroed head page before the record that makes it a lane's. */
	err = ph_persist_range(&heap->pm, count, head, PM_PAGE);
	if (err)
		return err;
	ph_rec_init(&rec, heap, NULL);
	pthread_mutex_lock(&heap->zone.lock);
	ph_span_birth(&rec, slab);
	ph_rec_word(&rec, PM_LANE_TABLE + index * 8, slab->start);
	err = ph_rec_lock(&rec);
	if (!err)
		err = ph_rec_commit(&rec);
	if (!err)
		__atomic_store_n(&slab->born, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&heap->zone.lock);
	ph_rec_fini(&rec);
	return err ? err : ph_checkpoint(heap);
}

/* Under lane_lock. */
static struct ph_lane *add_locked(struct pheap *heap, uint32_t max)
{
	uint32_t index = heap->nlanes;
	struct ph_lane *lane;
	struct ph_slab *slab;

	if (index >= max || ph_span_reserve(heap, PM_KIND_LANE, 0, PM_GRANULE, &slab))
		return NULL;
	lane = ph_lane_make(heap, slab->start, index);
	lane->backed = true; /* as those of any span that is reserved */
	if (publish_block(heap, slab, index)) {
		ph_span_release(heap, slab);
		return NULL;
	}
	/* R5: no checkpoint may be between its steps 1 and 6 when a lane joins,
	 * and its clock must cover S. */
	pthread_mutex_lock(&heap->ckpt_lock);
	lane->clock = lane->visited = heap->settled;
	heap->lanes[index] = lane;
	__atomic_store_n(&heap->nlanes, index + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&heap->ckpt_lock);
	return lane;
}

struct ph_lane *ph_lane_add(struct pheap *heap, uint32_t max)
{
	struct ph_lane *lane;

	pthread_mutex_lock(&heap->lane_lock);
	lane = add_locked(heap, max);
	pthread_mutex_unlock(&heap->lane_lock);
	return lane;
}

static struct ph_lane *least_used(struct pheap *heap)
{
	struct ph_lane *best = heap->lanes[0];

	for (uint32_t i = 1; i < heap->nlanes && best->users; i++)
		if (heap->lanes[i]->users < best->users)
			best = heap->lanes[i];
	/* The first one's blocks have been there since open. */
	return ph_lane_back(heap, best) ? heap->lanes[0] : best;
}

struct ph_lane *ph_lane_mine(struct ph_tcache *cache)
{
	struct pheap *heap = cache->heap;
	struct ph_lane *lane;

	if (ph_likely(cache->lane != NULL))
		return cache->lane;
	pthread_mutex_lock(&heap->lane_lock);
	lane = least_used(heap);
	cache->lane = lane; /* adding a lane commits a record, through this one */
	if (lane->users) {
		struct ph_lane *added = add_locked(heap, heap->lanes_max);

		cache->lane = lane = added ? added : lane;
	}
	lane->users++;
	pthread_mutex_unlock(&heap->lane_lock);
	return lane;
}

void ph_lane_leave(struct pheap *heap, struct ph_lane *lane)
{
	pthread_mutex_lock(&heap->lane_lock);
	lane->users--;
	pthread_mutex_unlock(&heap->lane_lock);
}
