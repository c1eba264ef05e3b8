/*
 * large.c - large objects and the caches of their spans. See large.h.
 */
#include "large.h"

#include "tx/lane.h"
#include "slab.h"
#include "span.h"
#include "tcache.h"
#include "types.h"

/* Spans in a thread's cache, and in the heap's: few enough to look at one by one. */
#define THREAD_SPANS 8u
_Static_assert(THREAD_SPANS <= PH_LARGE_SPANS, "a thread's cache");

/* Shares of the pool's bytes (A2), and bounds for large pools. */
#define THREAD_SHARE 32u
#define THREAD_MAX (UINT64_C(64) << 20)
#define THREADS_SHARE 16u
#define HEAP_SHARE 8u
#define HEAP_MAX (UINT64_C(1) << 30)

static uint64_t bytes_of(const struct ph_slab *slab)
{
	return (uint64_t)slab->granules * PM_GRANULE;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

void ph_large_attach(struct pheap *heap)
{
	uint64_t bytes = (uint64_t)heap->zone.granules * PM_GRANULE;

	heap->large_room = bytes / THREADS_SHARE;
	heap->large_limit = at_most(bytes / HEAP_SHARE, HEAP_MAX);
	heap->large_thread_limit = at_most(bytes / THREAD_SHARE, THREAD_MAX);
}

/* ---- one cache ------------------------------------------------------------------------ */

/* A3. Whether a free span is born does not change. */
static bool fits(const struct ph_slab *slab, uint32_t type, uint64_t bytes)
{
	uint64_t span = bytes_of(slab);

	return (slab->type == type || !slab->born) && bytes <= span &&
	       (span - bytes <= span / 8 || span - bytes < PM_GRANULE);
}

/* The shortest span that fits, of these the one that was put there last. */
static struct ph_slab *take_fit(struct ph_large_cache *cache, uint32_t type, uint64_t bytes)
{
	uint32_t best = cache->n;
	struct ph_slab *slab;

	for (uint32_t i = cache->n; i--;)
		if (fits(cache->span[i], type, bytes) &&
		    (best == cache->n || cache->span[i]->granules < cache->span[best]->granules))
			best = i;
	if (best == cache->n)
		return NULL;
	cache->hit = true;
	slab = cache->span[best];
	cache->bytes -= bytes_of(slab);
	for (cache->n--; best < cache->n; best++)
		cache->span[best] = cache->span[best + 1];
	return slab;
}

static void put(struct ph_large_cache *cache, struct ph_slab *slab)
{
	cache->span[cache->n++] = slab;
	cache->bytes += bytes_of(slab);
}

static struct ph_slab *take_oldest(struct ph_large_cache *cache)
{
	struct ph_slab *slab = cache->span[0];

	cache->bytes -= bytes_of(slab);
	cache->n--;
	memmove(cache->span, cache->span + 1, cache->n * sizeof(cache->span[0]));
	return slab;
}

/* ---- the heap's cache ------------------------------------------------------------------- */

static void end_all(struct pheap *heap, struct ph_slab *list)
{
	for (struct ph_slab *slab; (slab = list);) {
		list = slab->next;
		ph_span_end(heap, slab);
	}
}

/* Under large_lock. Spans that make way go on a list, to be ended without it. */
static void put_in_heap(struct pheap *heap, struct ph_slab *slab, struct ph_slab **ended)
{
	struct ph_large_cache *cache = &heap->large;

	if (bytes_of(slab) > heap->large_limit) {
		slab->next = *ended;
		*ended = slab;
		return;
	}
	while (cache->n == PH_LARGE_SPANS || cache->bytes + bytes_of(slab) > heap->large_limit) {
		struct ph_slab *oldest = take_oldest(cache);

		oldest->next = *ended;
		*ended = oldest;
	}
	put(cache, slab);
}

static void give_to_heap(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_slab *ended = NULL;

	pthread_mutex_lock(&heap->large_lock);
	put_in_heap(heap, slab, &ended);
	pthread_mutex_unlock(&heap->large_lock);
	end_all(heap, ended);
}

/* Without a limit: a span cannot be ended here. */
void ph_large_offer(struct pheap *heap, struct ph_slab *slab)
{
	ph_set_state(&slab->state[0], PH_FREE);
	pthread_mutex_lock(&heap->large_lock);
	if (heap->large.n < PH_LARGE_SPANS) {
		put(&heap->large, slab);
	} else { /* waits like one that was retired long ago */
		ph_set_state(&slab->state[0], PH_LIMBO);
		slab->next = heap->large_limbo;
		heap->large_limbo = slab;
		heap->large_limbo_bytes += bytes_of(slab);
	}
	pthread_mutex_unlock(&heap->large_lock);
}

/* Those in limbo that no live record reaches any more, as a list. Under large_lock. */
static struct ph_slab *take_settled(struct pheap *heap)
{
	uint64_t done = __atomic_load_n(&heap->ckpt_done, __ATOMIC_ACQUIRE);
	struct ph_slab *slab, **link, *ready = NULL;

	for (link = &heap->large_limbo; (slab = *link);) {
		if (slab->touched >= done) {
			link = &slab->next;
			continue;
		}
		*link = slab->next;
		heap->large_limbo_bytes -= bytes_of(slab);
		slab->next = ready;
		ready = slab;
	}
	for (slab = ready; slab; slab = slab->next)
		ph_set_state(&slab->state[0], PH_FREE);
	return ready;
}

/*
 * From the heap's cache, where limbo goes first if it must, as far as it is settled. True
 * in *crowded: limbo holds as much as the cache may.
 */
static struct ph_slab *take_from_heap(struct pheap *heap, uint32_t type, uint64_t bytes,
				      bool *crowded)
{
	struct ph_slab *slab, *ended = NULL;

	pthread_mutex_lock(&heap->large_lock);
	slab = take_fit(&heap->large, type, bytes);
	if (!slab && heap->large_limbo) {
		struct ph_slab *ready = take_settled(heap), *next;

		for (; ready; ready = next) {
			next = ready->next;
			put_in_heap(heap, ready, &ended);
		}
		slab = take_fit(&heap->large, type, bytes);
	}
	*crowded = heap->large_limbo_bytes > heap->large_limit;
	pthread_mutex_unlock(&heap->large_lock);
	end_all(heap, ended);
	return slab;
}

void ph_large_trim(struct pheap *heap)
{
	struct ph_slab *ended;

	pthread_mutex_lock(&heap->large_lock);
	ended = take_settled(heap);
	while (heap->large.n) {
		struct ph_slab *slab = take_oldest(&heap->large);

		slab->next = ended;
		ended = slab;
	}
	pthread_mutex_unlock(&heap->large_lock);
	end_all(heap, ended);
}

/* ---- a thread's cache ---------------------------------------------------------------------- */

/* A2: may the cache hold so many bytes? It asks the heap once for what it then keeps. */
static bool have_room(struct pheap *heap, struct ph_large_cache *cache, uint64_t bytes)
{
	uint64_t more;
	bool given;

	if (ph_likely(bytes <= cache->room))
		return true;
	more = bytes - cache->room;
	pthread_mutex_lock(&heap->large_lock);
	given = heap->large_room >= more;
	if (given) {
		heap->large_room -= more;
		cache->room += more;
	}
	pthread_mutex_unlock(&heap->large_lock);
	return given;
}

static void give_to_thread(struct pheap *heap, struct ph_large_cache *cache, struct ph_slab *slab)
{
	uint64_t bytes = bytes_of(slab);

	if (ph_unlikely(bytes > heap->large_thread_limit)) {
		give_to_heap(heap, slab);
		return;
	}
	while (ph_unlikely(cache->n == THREAD_SPANS ||
			   cache->bytes + bytes > heap->large_thread_limit))
		give_to_heap(heap, take_oldest(cache));
	if (ph_likely(have_room(heap, cache, cache->bytes + bytes)))
		put(cache, slab);
	else
		give_to_heap(heap, slab);
}

void ph_large_flush(struct pheap *heap, struct ph_tcache *cache)
{
	while (cache->large.n)
		give_to_heap(heap, take_oldest(&cache->large));
	pthread_mutex_lock(&heap->large_lock);
	heap->large_room += cache->large.room;
	cache->large.room = 0;
	pthread_mutex_unlock(&heap->large_lock);
}

void ph_large_idle(struct pheap *heap, struct ph_tcache *cache)
{
	if (cache->large.n && !cache->large.hit)
		ph_large_flush(heap, cache);
	cache->large.hit = false;
}

/* ---- reserve and free -------------------------------------------------------------------------
 */

static struct ph_slab *take_cached(struct pheap *heap, struct ph_tcache *cache, uint32_t type,
				   uint64_t bytes)
{
	struct ph_slab *slab = cache ? take_fit(&cache->large, type, bytes) : NULL;
	bool crowded;

	if (ph_likely(slab != NULL) || (slab = take_from_heap(heap, type, bytes, &crowded)))
		return slab;
	/* Rather than more and more spans in limbo. */
	return crowded && !ph_checkpoint(heap) ? take_from_heap(heap, type, bytes, &crowded) : NULL;
}

/* From the tree, and if nothing is free there once more with what caches held. */
static int reserve_span(struct pheap *heap, struct ph_tcache *cache, uint64_t bytes,
			uint64_t alignment, struct ph_slab **slab)
{
	int err = ph_span_reserve_aligned(heap, bytes, alignment, slab);

	if (err != -ENOSPC || bytes > (uint64_t)heap->zone.granules * PM_GRANULE)
		return err;
	if (cache)
		ph_large_flush(heap, cache);
	ph_slab_squeeze(heap);
	return ph_span_reserve_aligned(heap, bytes, alignment, slab);
}

int ph_large_reserve(struct pheap *heap, uint32_t type, uint64_t bytes, struct ph_slab **slab)
{
	struct ph_tcache *cache = ph_tcache_get(heap);
	int err = 0;

	*slab = take_cached(heap, cache, type, bytes);
	if (ph_likely(*slab != NULL))
		ph_set_state(&(*slab)->state[0], PH_RESERVED);
	else
		err = reserve_span(heap, cache, bytes, PM_GRANULE, slab);
	if (!err) {
		__atomic_store_n(&(*slab)->type, type, __ATOMIC_RELAXED);
		__atomic_store_n(&(*slab)->counted, ph_type_counted(heap, type), __ATOMIC_RELAXED);
	}
	return err;
}

int ph_large_reserve_aligned(struct pheap *heap, uint64_t bytes, uint64_t alignment,
			     struct ph_slab **slab)
{
	return reserve_span(heap, ph_tcache_get(heap), bytes, alignment, slab);
}

void ph_large_free(struct pheap *heap, struct ph_slab *slab, bool limbo)
{
	struct ph_tcache *cache;

	if (limbo) {
		ph_set_state(&slab->state[0], PH_LIMBO);
		pthread_mutex_lock(&heap->large_lock);
		slab->touched = __atomic_load_n(&heap->ckpt_begun, __ATOMIC_ACQUIRE);
		slab->next = heap->large_limbo;
		heap->large_limbo = slab;
		heap->large_limbo_bytes += bytes_of(slab);
		pthread_mutex_unlock(&heap->large_lock);
		return;
	}
	ph_set_state(&slab->state[0], PH_FREE);
	slab->zero = 0;
	cache = ph_tcache_get(heap);
	if (ph_likely(cache != NULL))
		give_to_thread(heap, &cache->large, slab);
	else
		give_to_heap(heap, slab);
}
