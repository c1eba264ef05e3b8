/*
 * decay.c - free memory goes back to the system. See decay.h.
 */
#include "decay.h"

#include <time.h>

#include "memory.h"
#include "span.h"

/* Granules given back in one go, 64 MiB: some milliseconds of the system's. */
#define STEP_GRANULES 1024u

uint64_t ph_decay_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void ph_decay_start(struct pheap *heap, uint32_t delay)
{
	heap->decay.delay = delay;
	heap->decay.on = true;
}

bool ph_decay_take(struct pheap *heap, uint32_t granule, uint32_t n)
{
	uint8_t *used = heap->zone.used + granule;
	uint32_t waiting = heap->decay.waiting;
	bool zero = true;

	if (granule + n > heap->decay.top)
		heap->decay.top = granule + n;
	for (uint32_t i = 0; i < n; i++) {
		zero &= used[i] == PH_USED_NEVER;
		waiting -= used[i] > PH_USED_NOW;
		used[i] = PH_USED_NOW;
	}
	__atomic_store_n(&heap->decay.waiting, waiting, __ATOMIC_RELAXED);
	return zero;
}

void ph_decay_give(struct pheap *heap, uint32_t granule, uint32_t n)
{
	struct ph_decay *decay = &heap->decay;

	if (!decay->on)
		return;
	if (!decay->waiting)
		__atomic_store_n(&decay->due, ph_decay_now() + decay->delay, __ATOMIC_RELAXED);
	memset(heap->zone.used + granule, decay->delay ? PH_USED_LATELY : PH_USED_ONCE, n);
	__atomic_store_n(&decay->waiting, decay->waiting + n, __ATOMIC_RELAXED);
	if (granule + n > decay->end)
		decay->end = granule + n;
}

void ph_decay_forget(struct pheap *heap, uint32_t granule, uint32_t n)
{
	ph_decay_take(heap, granule, n);
	memset(heap->zone.used + granule, PH_USED_NEVER, n);
}

/* ---- go over all ---------------------------------------------------------------------- */

/* The next run of granules that are due, from *granule on; what is not ages. */
static uint32_t find_run(struct pheap *heap, uint32_t *granule)
{
	uint8_t *used = heap->zone.used;
	uint32_t g = *granule, end = heap->decay.end, n = 0;

	for (; g < end && used[g] != PH_USED_ONCE; g++)
		if (used[g] == PH_USED_LATELY)
			used[g] = PH_USED_ONCE;
	while (g + n < end && n < STEP_GRANULES && used[g + n] == PH_USED_ONCE)
		n++;
	*granule = g;
	return n;
}

/* Under zone.lock, which is let go of meanwhile. */
static void give_back(struct pheap *heap, uint32_t granule, uint32_t n)
{
	struct ph_zone *zone = &heap->zone;
	int err;

	ph_span_hold(heap, granule, n, true); /* E1 */
	ph_decay_take(heap, granule, n);
	pthread_mutex_unlock(&zone->lock);
	err = ph_memory_punch(&heap->file, zone->data + (uint64_t)granule * PM_GRANULE,
			      (uint64_t)n * PM_GRANULE);
	pthread_mutex_lock(&zone->lock);
	ph_span_unback(heap, granule, n);
	ph_span_hold(heap, granule, n, false);
	if (!err)
		memset(zone->used + granule, PH_USED_NEVER, n); /* E2 */
	else
		__atomic_store_n(&heap->decay.on, false,
				 __ATOMIC_RELAXED); /* it will not do so the next time either */
}

static void go_over_all(struct pheap *heap)
{
	uint32_t granule = 0, n;

	while ((n = find_run(heap, &granule))) {
		give_back(heap, granule, n);
		granule += n;
	}
	if (!heap->decay.waiting)
		heap->decay.end = 0;
}

static bool is_due(const struct ph_decay *decay)
{
	return __atomic_load_n(&decay->on, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&decay->waiting, __ATOMIC_RELAXED) &&
	       ph_decay_now() >= __atomic_load_n(&decay->due, __ATOMIC_RELAXED);
}

void ph_decay_step(struct pheap *heap)
{
	struct ph_decay *decay = &heap->decay;
	int saved = errno;

	if (!is_due(decay))
		return;
	pthread_mutex_lock(&heap->zone.lock);
	if (is_due(decay)) {
		/* First, so that only one thread goes over them. */
		__atomic_store_n(&decay->due, ph_decay_now() + decay->delay, __ATOMIC_RELAXED);
		go_over_all(heap);
	}
	pthread_mutex_unlock(&heap->zone.lock);
	errno = saved;
}
