/*
 * tcache.c - magazines, limbo, and the life of a thread's caches.
 *
 * LOCKS: the registry lock covers the list of open heaps and each heap's list of
 * caches. It is held while a thread that ends gives its caches back, so that a
 * heap cannot be closed under it.
 */
#include "tcache.h"

#include <stdlib.h>
#include <unistd.h>

#include "tx/lane.h"
#include "tx/tx.h"
#include "slab.h"
#include "span.h"

__thread struct ph_tls ph_tls;

/* ---- registry --------------------------------------------------------------- */

/* What a thread has: a cache for each heap that it used. */
struct tls_table {
	unsigned n, cap;
	struct ph_tls entry[];
};

static __thread struct tls_table *table;
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct pheap *heaps;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct pheap *open_heap(uint64_t id)
{
	for (struct pheap *heap = heaps; heap; heap = heap->next)
		if (heap->id == id)
			return heap;
	return NULL;
}

static void add_counts(struct ph_count *to, const struct ph_count *from)
{
	to->fences += from->fences;
	to->flushed_lines += from->flushed_lines;
	to->nt_lines += from->nt_lines;
	to->records += from->records;
	to->record_lines += from->record_lines;
	to->checkpoints += from->checkpoints;
	to->snapshots += from->snapshots;
	to->begun += from->begun;
	to->ended += from->ended;
}

void ph_tcache_sum(struct pheap *heap, struct ph_count *sum)
{
	pthread_mutex_lock(&registry);
	add_counts(sum, &heap->count);
	for (const struct ph_tcache *cache = heap->caches; cache; cache = cache->next)
		add_counts(sum, &cache->count);
	pthread_mutex_unlock(&registry);
}

/* Under the registry lock, by the thread that owns the cache. */
static void end_cache(struct pheap *heap, struct ph_tcache *cache)
{
	ph_tcache_flush(cache);
	if (cache->lane)
		ph_lane_leave(heap, cache->lane);
	ph_tx_hand_over(cache);
	add_counts(&heap->count, &cache->count);
	if (cache->prev)
		cache->prev->next = cache->next;
	else
		heap->caches = cache->next;
	if (cache->next)
		cache->next->prev = cache->prev;
	free(cache);
}

static void thread_exit(void *arg)
{
	struct tls_table *mine = arg;

	pthread_mutex_lock(&registry);
	for (unsigned i = 0; i < mine->n; i++) {
		struct pheap *heap = open_heap(mine->entry[i].id);

		/* end_cache() commits and settles through the cache: let it be found. */
		ph_tls = mine->entry[i];
		if (heap && !heap->forked)
			end_cache(heap, mine->entry[i].cache);
	}
	ph_tls.id = 0;
	pthread_mutex_unlock(&registry);
	if (table == mine)
		table = NULL;
	free(mine);
}

static void before_fork(void)
{
	pthread_mutex_lock(&registry);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&registry);
}

/* The child has the mapping and nothing else: no call works, no lock is held. */
static void after_fork_child(void)
{
	for (struct pheap *heap = heaps; heap; heap = heap->next) {
		heap->forked = true;
		if (heap->file.fd >= 0)
			close(heap->file.fd); /* or it would keep the parent's flock alive */
		heap->file.fd = -1;
	}
	ph_tls.id = 0;
	if (table)
		table->n = 0;
	pthread_mutex_unlock(&registry);
}

static void start(void)
{
	pthread_key_create(&exit_key, thread_exit);
	pthread_atfork(before_fork, after_fork, after_fork_child);
}

void ph_registry_add(struct pheap *heap)
{
	static uint64_t last;

	pthread_once(&once, start);
	pthread_mutex_lock(&registry);
	heap->id = ++last;
	heap->next = heaps;
	heaps = heap;
	pthread_mutex_unlock(&registry);
}

void ph_registry_remove(struct pheap *heap)
{
	struct pheap **link = &heaps;

	pthread_mutex_lock(&registry);
	while (*link && *link != heap)
		link = &(*link)->next;
	if (*link)
		*link = heap->next;
	pthread_mutex_unlock(&registry);
}

void ph_tcache_free_all(struct pheap *heap)
{
	pthread_mutex_lock(&registry);
	for (struct ph_tcache *cache = heap->caches, *next; cache; cache = next) {
		next = cache->next;
		free(cache);
	}
	heap->caches = NULL;
	if (ph_tls.id == heap->id)
		ph_tls.id = 0;
	pthread_mutex_unlock(&registry);
}

/* ---- making a cache ------------------------------------------------------------ */

/* Objects in a magazine: up to 64, and not more than 16 KiB of them, but two. */
static uint32_t magazine_cap(unsigned cls)
{
	uint32_t n = 16384 / ph_classes[cls].size;

	return n > 64 ? 64 : n < 2 ? 2 : n;
}

static struct ph_tcache *new_cache(struct pheap *heap)
{
	uint32_t total = 0, at = 0;
	struct ph_tcache *cache;

	for (unsigned c = 0; c < PH_CLASSES; c++)
		total += magazine_cap(c);
	cache = aligned_alloc(64,
			      (sizeof(*cache) + total * sizeof(struct ph_cached) + 63) / 64 * 64);
	if (!cache)
		return NULL;
	memset(cache, 0, offsetof(struct ph_tcache, limbo));
	cache->heap = heap;
	for (unsigned c = 0; c < PH_CLASSES; c++) {
		cache->mag[c].cap = magazine_cap(c);
		cache->mag[c].slot = &cache->slots[at];
		at += cache->mag[c].cap;
	}
	return cache;
}

/* Room for one more entry, in which those of closed heaps make way. */
static bool grow_table(void)
{
	unsigned kept = 0, cap = table ? table->cap : 0;
	struct tls_table *grown;

	for (unsigned i = 0; table && i < table->n; i++)
		if (open_heap(table->entry[i].id))
			table->entry[kept++] = table->entry[i];
	if (table)
		table->n = kept;
	if (kept < cap)
		return true;
	grown = realloc(table, sizeof(*grown) + (cap * 2 + 4) * sizeof(grown->entry[0]));
	if (!grown)
		return false;
	grown->n = kept;
	grown->cap = cap * 2 + 4;
	table = grown;
	return !pthread_setspecific(exit_key, table);
}

static struct ph_tcache *add_cache(struct pheap *heap)
{
	struct ph_tcache *cache = new_cache(heap);

	if (!cache)
		return NULL;
	pthread_mutex_lock(&registry);
	if (!grow_table()) {
		pthread_mutex_unlock(&registry);
		free(cache);
		return NULL;
	}
	cache->next = heap->caches;
	if (cache->next)
		cache->next->prev = cache;
	heap->caches = cache;
	table->entry[table->n++] = (struct ph_tls){heap->id, cache};
	pthread_mutex_unlock(&registry);
	return cache;
}

struct ph_tcache *ph_tcache_find(struct pheap *heap)
{
	struct ph_tcache *cache = NULL;

	if (heap->forked)
		return ph_null(EINVAL,
			       "this heap belongs to the parent process: open it anew after "
			       "the parent has closed it");
	for (unsigned i = 0; table && i < table->n && !cache; i++)
		if (table->entry[i].id == heap->id)
			cache = table->entry[i].cache;
	if (!cache)
		cache = add_cache(heap);
	if (!cache)
		return ph_null(ENOMEM, "no memory for a thread cache");
	ph_tls = (struct ph_tls){heap->id, cache};
	return cache;
}

/* ---- magazines and limbo --------------------------------------------------------- */

/* Objects in limbo that no live record reaches any more go to their magazines. */
static void drain_limbo(struct ph_tcache *cache)
{
	uint64_t done = __atomic_load_n(&cache->heap->ckpt_done, __ATOMIC_ACQUIRE);

	while (cache->limbo_n) {
		const struct ph_waiting *first = &cache->limbo[cache->limbo_first];

		if (first->tag >= done)
			return;
		cache->limbo_first = (cache->limbo_first + 1) % PH_LIMBO_MAX;
		cache->limbo_n--;
		cache->limbo_bytes -= ph_classes[first->cls].size;
		ph_tcache_push(cache, first->cls, first->object.ptr, first->object.state);
	}
}

static uint32_t fill(struct ph_tcache *cache, unsigned cls)
{
	struct ph_magazine *mag = &cache->mag[cls];
	uint32_t half = mag->cap / 2;

	mag->n = ph_slab_take(cache->heap, cls, &cache->own[cls], mag->slot, half);
	return mag->n;
}

bool ph_tcache_refill(struct ph_tcache *cache, unsigned cls)
{
	drain_limbo(cache);
	if (cache->mag[cls].n || fill(cache, cls))
		return true;
	if (errno != ENOSPC)
		return false;
	/* What this thread itself holds may be what is missing. */
	ph_tcache_flush(cache);
	ph_slab_trim(cache->heap);
	return fill(cache, cls) != 0;
}

/* The older half goes: what was freed last is warm, and is handed out first. */
void ph_tcache_spill(struct ph_tcache *cache, unsigned cls)
{
	struct ph_magazine *mag = &cache->mag[cls];
	uint32_t gone = (mag->cap + 1) / 2;

	ph_slab_give(cache->heap, cls, mag->slot, gone);
	mag->n -= gone;
	memmove(mag->slot, mag->slot + gone, mag->n * sizeof(*mag->slot));
}

/* There is no DRAM for a cache of this thread's: straight to the slab. */
static void retire_uncached(struct pheap *heap, const struct ph_object *object)
{
	struct ph_cached cached = {ph_at(heap, object->start), ph_state_of(object)};

	if (ph_logs(&heap->pm) && ph_touched(heap, object->slab) && ph_checkpoint(heap))
		return; /* the heap is read-only now: the object stays as it is */
	ph_slab_give(heap, object->slab->cls, &cached, 1);
}

void ph_tcache_retire(struct pheap *heap, struct ph_tcache *cache, const struct ph_object *object)
{
	struct ph_slab *slab = object->slab;
	uint8_t *state = &slab->state[object->index];
	struct ph_waiting *last;

	if (slab->kind == PM_KIND_LARGE) {
		ph_large_free(heap, slab, ph_logs(&heap->pm) && ph_touched(heap, slab));
		return;
	}
	if (!cache) {
		retire_uncached(heap, object);
		return;
	}
	if (!ph_logs(&heap->pm) || !ph_touched(heap, slab)) {
		ph_tcache_push(cache, slab->cls, ph_at(heap, object->start), state);
		return;
	}
	if (cache->limbo_n == PH_LIMBO_MAX || cache->limbo_bytes > PH_LIMBO_BYTES) {
		drain_limbo(cache);
		if (cache->limbo_n > PH_LIMBO_MAX / 2 || cache->limbo_bytes > PH_LIMBO_BYTES / 2) {
			if (ph_checkpoint(heap))
				return; /* the heap is read-only now: the object stays as it is */
			drain_limbo(cache);
		}
	}
	ph_set_state(state, PH_LIMBO);
	last = &cache->limbo[(cache->limbo_first + cache->limbo_n++) % PH_LIMBO_MAX];
	last->object = (struct ph_cached){ph_at(heap, object->start), state};
	last->tag = __atomic_load_n(&heap->ckpt_begun, __ATOMIC_ACQUIRE);
	last->cls = slab->cls;
	cache->limbo_bytes += slab->size;
}

void ph_tcache_flush(struct ph_tcache *cache)
{
	if (cache->limbo_n && !ph_checkpoint(cache->heap))
		drain_limbo(cache);
	for (unsigned c = 0; c < PH_CLASSES; c++) {
		struct ph_magazine *mag = &cache->mag[c];

		if (mag->n)
			ph_slab_give(cache->heap, c, mag->slot, mag->n);
		mag->n = 0;
		ph_slab_disown(cache->heap, &cache->own[c]);
	}
	ph_large_drain(cache->heap);
}
