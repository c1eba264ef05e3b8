/*
 * stop.c - threads that join collections, and how they are stopped. See gc.h.
 */
#include <stdlib.h>

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "cancel.h"
#include "young.h"

struct ph_gc *ph_gc_of(struct pheap *heap)
{
	struct ph_gc *gc = __atomic_load_n(&heap->gc, __ATOMIC_ACQUIRE), *none = NULL;

	if (gc)
		return gc;
	gc = calloc(1, sizeof(*gc));
	if (!gc)
		return ph_null(ENOMEM, "no memory for collections");
	pthread_mutex_init(&gc->lock, NULL);
	pthread_cond_init(&gc->wake, NULL);
	if (__atomic_compare_exchange_n(&heap->gc, &none, gc, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return gc;
	pthread_cond_destroy(&gc->wake);
	pthread_mutex_destroy(&gc->lock);
	free(gc);
	return none;
}

void ph_gc_detach(struct pheap *heap)
{
	struct ph_gc *gc = heap->gc;

	if (!gc)
		return;
	pthread_cond_destroy(&gc->wake);
	pthread_mutex_destroy(&gc->lock);
	ph_young_free(gc->young);
	free(gc->pin);
	free(gc);
	heap->gc = NULL;
}

/* ---- joined threads ---------------------------------------------------------------- */

/* Under the lock. */
static void wait_while_stopped(struct ph_gc *gc)
{
	while (gc->stop)
		pthread_cond_wait(&gc->wake, &gc->lock);
}

/* The calling thread's cache where its state is as wanted; else NULL, and the code. */
static struct ph_tcache *mine(struct pheap *heap, const char *what, unsigned state, int *err)
{
	static const char *const is[] = {"has not joined", "has joined", "is idle"};
	struct ph_tcache *cache;

	*err = ph_heap_usable(heap, what);
	if (*err)
		return NULL;
	cache = ph_tcache_get(heap);
	if (!cache || !ph_gc_of(heap))
		*err = -ENOMEM;
	else if (cache->joined != state)
		*err = ph_error(EINVAL, "%s: the thread %s", what, is[cache->joined]);
	return *err ? NULL : cache;
}

PHEAP_API int pheap_gc_join(pheap_t *heap)
{
	int err;
	struct ph_tcache *cache = mine(heap, "pheap_gc_join", PH_NOT_JOINED, &err);
	PH_NO_CANCEL;

	if (!cache)
		return err;
	pthread_mutex_lock(&heap->gc->lock);
	wait_while_stopped(heap->gc);
	heap->gc->joined++;
	pthread_mutex_unlock(&heap->gc->lock);
	cache->joined = PH_JOINED;
	return 0;
}

static void leave(struct ph_gc *gc, struct ph_tcache *cache)
{
	pthread_mutex_lock(&gc->lock);
	gc->joined--;
	if (cache->joined == PH_IDLE)
		gc->waiting--;
	pthread_cond_broadcast(&gc->wake);
	pthread_mutex_unlock(&gc->lock);
	cache->joined = PH_NOT_JOINED;
}

PHEAP_API int pheap_gc_leave(pheap_t *heap)
{
	int err;
	struct ph_tcache *cache = mine(heap, "pheap_gc_leave", PH_JOINED, &err);

	if (cache)
		leave(heap->gc, cache);
	return err;
}

void ph_gc_thread_ends(struct ph_tcache *cache)
{
	if (cache->joined)
		leave(cache->heap->gc, cache);
}

PHEAP_API int pheap_gc_idle_begin(pheap_t *heap)
{
	int err;
	struct ph_tcache *cache = mine(heap, "pheap_gc_idle_begin", PH_JOINED, &err);

	if (!cache)
		return err;
	pthread_mutex_lock(&heap->gc->lock);
	heap->gc->waiting++;
	pthread_cond_broadcast(&heap->gc->wake);
	pthread_mutex_unlock(&heap->gc->lock);
	cache->joined = PH_IDLE;
	return 0;
}

static void end_idle(struct ph_gc *gc)
{
	PH_NO_CANCEL;

	pthread_mutex_lock(&gc->lock);
	wait_while_stopped(gc);
	gc->waiting--;
	pthread_mutex_unlock(&gc->lock);
}

PHEAP_API int pheap_gc_idle_end(pheap_t *heap)
{
	int err;
	struct ph_tcache *cache = mine(heap, "pheap_gc_idle_end", PH_IDLE, &err);

	if (!cache)
		return err;
	end_idle(heap->gc);
	cache->joined = PH_JOINED;
	return 0;
}

PHEAP_API void pheap_safepoint_wait(pheap_t *heap)
{
	if (!pheap_gc_idle_begin(heap)) /* where the thread has joined */
		pheap_gc_idle_end(heap);
}

/* ---- stopping ---------------------------------------------------------------------------- */

/* One at a time. A joined thread that waits for its turn holds no other one up. */
void ph_gc_begin(struct ph_gc *gc, struct ph_tcache *cache)
{
	bool joined = cache->joined == PH_JOINED;
	PH_NO_CANCEL;

	pthread_mutex_lock(&gc->lock);
	gc->waiting += joined;
	pthread_cond_broadcast(&gc->wake);
	while (gc->collecting)
		pthread_cond_wait(&gc->wake, &gc->lock);
	gc->waiting -= joined;
	gc->collecting = true;
	pthread_mutex_unlock(&gc->lock);
}

void ph_gc_end(struct ph_gc *gc)
{
	pthread_mutex_lock(&gc->lock);
	gc->collecting = false;
	pthread_cond_broadcast(&gc->wake);
	pthread_mutex_unlock(&gc->lock);
}

/* W2: all joined threads but the caller wait. */
static void wait_for_threads(struct pheap *heap, struct ph_gc *gc, const struct ph_tcache *cache)
{
	uint32_t self = cache->joined == PH_JOINED;
	PH_NO_CANCEL;

	pthread_mutex_lock(&gc->lock);
	gc->stop = true;
	__atomic_store_n(&heap->view.stop, 1, __ATOMIC_RELEASE);
	while (gc->joined - self > gc->waiting)
		pthread_cond_wait(&gc->wake, &gc->lock);
	pthread_mutex_unlock(&gc->lock);
}

/* W1. With lane_lock no lane is added; zone.lock is for the map of spans, and comes before
 * lanes. Who waits for a lane meanwhile has none, and no lock that is wanted here. */
void ph_gc_stop(struct pheap *heap, struct ph_gc *gc, const struct ph_tcache *cache)
{
	wait_for_threads(heap, gc, cache);
	pthread_mutex_lock(&heap->lane_lock);
	pthread_mutex_lock(&heap->zone.lock);
	for (uint32_t i = 0; i < heap->nlanes; i++)
		ph_bitlock_take(&heap->lanes[i]->lock);
}

void ph_gc_go_on(struct pheap *heap, struct ph_gc *gc)
{
	for (uint32_t i = 0; i < heap->nlanes; i++)
		ph_bitlock_give(&heap->lanes[i]->lock, 0);
	pthread_mutex_unlock(&heap->zone.lock);
	pthread_mutex_unlock(&heap->lane_lock);
	pthread_mutex_lock(&gc->lock);
	gc->stop = false;
	__atomic_store_n(&heap->view.stop, 0, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&gc->wake);
	pthread_mutex_unlock(&gc->lock);
}
