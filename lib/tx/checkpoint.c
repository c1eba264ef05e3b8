/*
 * checkpoint.c - settle records, so that ring space and memory can be used
 * again. Invariants and protocol are in lane.h.
 *
 * A checkpoint holds ckpt_lock, and one lane at a time; it takes no stripe, so it
 * may be called with stripes held.
 */
#include <stdlib.h>

#include "alloc/tcache.h"
#include "lane.h"
#include "sum.h"

/* Step 1. Positions are noted together with clocks, under the lane, so that all
 * records before them have stamps <= U. */
static uint64_t note_positions(struct pheap *heap, uint32_t n)
{
	uint64_t u = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct ph_lane *lane = heap->lanes[i];

		ph_bitlock_take(&lane->lock);
		heap->ckpt_pos[i] = lane->pos;
		if (lane->clock > u)
			u = lane->clock;
		ph_bitlock_give(&lane->lock, 0);
	}
	return u;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* msync writes whole pages: each once, neighbours together. */
static void flush_pages(struct pheap *heap, struct ph_count *count, uint64_t *lines, uint32_t n)
{
	const uint64_t per_page = PM_PAGE / PM_LINE;

	qsort(lines, n, sizeof(*lines), compare);
	for (uint32_t i = 0; i < n;) {
		uint64_t first = lines[i] / per_page, last = first;

		while (i < n && lines[i] / per_page <= last + 1)
			last = lines[i++] / per_page;
		ph_flush(&heap->pm, count, ph_at(heap, first * PM_PAGE),
			 (last - first + 1) * PM_PAGE);
	}
}

/* Step 2, R5. The flushes come before the lane is let go: a record that rewrites
 * one of the lines afterwards has a stamp > U, or finds the list empty and notes
 * the line anew. */
static void visit(struct pheap *heap, struct ph_count *count, struct ph_lane *lane, uint64_t u)
{
	ph_bitlock_take(&lane->lock);
	if (lane->clock < u)
		lane->clock = u;
	if (heap->pm.pages)
		flush_pages(heap, count, lane->dirty, lane->ndirty);
	else
		for (uint32_t i = 0; i < lane->ndirty; i++)
			ph_flush(&heap->pm, count, ph_at(heap, lane->dirty[i] * PM_LINE), PM_LINE);
	lane->ndirty = 0;
	lane->visited = lane->clock;
	ph_bitlock_give(&lane->lock, 0);
}

static int settle(struct pheap *heap, struct ph_count *count)
{
	uint32_t n = __atomic_load_n(&heap->nlanes, __ATOMIC_ACQUIRE);
	uint64_t u = note_positions(heap, n);
	int err;

	if (u > heap->settled) {
		for (uint32_t i = 0; i < n; i++)
			visit(heap, count, heap->lanes[i], u);
		/* R3: orders the lines before S. */
		if ((err = ph_fence(&heap->pm, count)))
			return err;
		ph_store64(&heap->pm, &heap->state->settled, ph_seal(u));
		/* R4: orders S before the ring space is written again. */
		err = ph_persist_range(&heap->pm, count, &heap->state->settled, sizeof(uint64_t));
		if (err)
			return err;
		__atomic_store_n(&heap->settled, u, __ATOMIC_RELEASE);
		count->checkpoints++;
	}
	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&heap->lanes[i]->head, heap->ckpt_pos[i], __ATOMIC_RELEASE);
	return 0;
}

/* Under ckpt_lock. cache: the caller's, looked up before, since that may take locks. */
static int begin(struct pheap *heap, struct ph_tcache *cache)
{
	uint64_t index = __atomic_add_fetch(&heap->ckpt_begun, 1, __ATOMIC_ACQ_REL);
	struct ph_count spare = {0};
	int err = settle(heap, cache ? &cache->count : &spare);

	if (!err)
		__atomic_store_n(&heap->ckpt_done, index, __ATOMIC_RELEASE);
	return err;
}

int ph_checkpoint(struct pheap *heap)
{
	uint64_t begun = __atomic_load_n(&heap->ckpt_begun, __ATOMIC_ACQUIRE);
	struct ph_tcache *cache = ph_tcache_get(heap);
	int err = 0;

	if (!ph_logs(&heap->pm))
		return 0;
	pthread_mutex_lock(&heap->ckpt_lock);
	/* One that began after this call does as well. */
	if (heap->ckpt_done <= begun)
		err = begin(heap, cache);
	pthread_mutex_unlock(&heap->ckpt_lock);
	return err ? ph_error(EIO, "writing back to the pool failed: the heap is read-only now")
		   : 0;
}

void ph_checkpoint_ahead(struct pheap *heap)
{
	struct ph_tcache *cache = ph_tcache_get(heap);

	if (pthread_mutex_trylock(&heap->ckpt_lock))
		return;
	begin(heap, cache);
	pthread_mutex_unlock(&heap->ckpt_lock);
}

/*
 * Has every record that wrote the line been settled? Lines of one stripe are told
 * apart by its tag, unless several of them are unsettled. A locked stripe, unless the
 * caller holds it, belongs to a record that may be applied already, so that what it
 * wrote has been seen, while the stripe has not got its stamp yet: wait for that.
 */
static bool line_settled(struct pheap *heap, uint64_t line, uint64_t settled, bool held)
{
	struct ph_stripe *stripe = ph_stripe_of(heap, line);
	uint64_t word = __atomic_load_n(&stripe->word, __ATOMIC_ACQUIRE);
	uint32_t tag;

	for (unsigned try = 0; ph_unlikely(word & 1) && !held; try++) {
		ph_lock_wait(try);
		word = __atomic_load_n(&stripe->word, __ATOMIC_ACQUIRE);
	}
	if (ph_likely(word >> 1 <= settled))
		return true;
	tag = __atomic_load_n(&stripe->tag, __ATOMIC_RELAXED);
	return !(tag & PH_TAG_MIXED) && tag >> PH_TAG_LANE_BITS != line >> PH_STRIPE_BITS;
}

int ph_settle_range(struct pheap *heap, uint64_t offset, uint64_t length, bool held)
{
	uint64_t last = (offset + length - 1) / PM_LINE, n = last - offset / PM_LINE + 1;
	uint64_t settled = ph_settled(heap);

	for (uint64_t i = 0; i < n; i++)
		if (!line_settled(heap, last - i, settled, held))
			return ph_checkpoint(heap);
	return 0;
}
