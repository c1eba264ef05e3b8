/*
 * tcache.c - magazines, limbo, and the life of a thread's caches.
 *
 * LOCKS: the registry lock covers the list of open heaps and each heap's list of
 * caches. It is held while a thread that ends gives its caches back, so that a
 * heap cannot be closed under it.
 */
#include "tcache.h"

#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dram.h"
#include "tx/lane.h"
#include "tx/tx.h"
#include "block.h"
#include "reclaim/gc.h"
#include "debug.h"
#include "decay.h"
#include "large.h"
#include "slab.h"
#include "span.h"

/* Entries of the largest magazine: a thousand objects come and go without a transfer. Their
 * bytes, and those where a thread may have as much as any. */
#define CAP_MAX 1024u
#define CAP_BYTES (1024u << 10)
#define CAP_BYTES_MOST (2048u << 10)
/* Entries of a new magazine: not more than 16 KiB of objects, but one. */
#define CAP_FIRST 8u
#define CAP_FIRST_BYTES 16384u
/* Once there is no room left, one miss in so many makes another magazine smaller. */
#define DENIED_TURNS 16u
/* What all magazines have room for: a part of the pool, shared by the threads that need
 * more than twice the least; a thread's share is at most and at least so many bytes. */
#define SHARE_PART 8u
#define SHARE_MOST (UINT64_C(24) << 20)
#define SHARE_LEAST (UINT64_C(128) << 10)

__thread struct ph_tls ph_tls;

/* ---- registry --------------------------------------------------------------- */

/* What a thread has: a cache for each heap that it used. */
struct tls_table {
	unsigned n, cap;
	struct ph_tls entry[];
};

static __thread struct tls_table *table;
static __thread unsigned exit_rounds; /* of destructors that have passed */
static __thread bool ended;	      /* the caches of this thread have been given back */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct pheap *heaps;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t late_lock = PTHREAD_MUTEX_INITIALIZER; /* heap.late; before the registry */

static size_t table_bytes(unsigned cap)
{
	return sizeof(struct tls_table) + cap * sizeof(struct ph_tls);
}

/* The calling thread's cache of a heap, or NULL. */
static struct ph_tcache *own_cache(const struct pheap *heap)
{
	for (unsigned i = 0; table && i < table->n; i++)
		if (table->entry[i].id == heap->id)
			return table->entry[i].cache;
	return NULL;
}

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

uint64_t ph_tcache_share(const struct pheap *heap)
{
	uint64_t share = (uint64_t)heap->zone.granules * PM_GRANULE / SHARE_PART;
	uint32_t n = __atomic_load_n(&heap->sharers, __ATOMIC_RELAXED);

	share /= n ? n : 1;
	return share > SHARE_MOST ? SHARE_MOST : share < SHARE_LEAST ? SHARE_LEAST : share;
}

/* The bytes for which its magazines have room are others now. */
static void set_slot_bytes(struct ph_tcache *cache, uint64_t bytes)
{
	bool shares = bytes > 2 * SHARE_LEAST;

	cache->slot_bytes = bytes;
	if (shares != cache->shares)
		ph_counter_add(&cache->heap->sharers, shares ? 1 : UINT32_MAX);
	cache->shares = shares;
}

static size_t cache_bytes(const struct pheap *heap)
{
	return sizeof(struct ph_tcache) + ph_shapes_max(heap) * sizeof(struct ph_magazine);
}

static void free_cache(const struct pheap *heap, struct ph_tcache *cache)
{
	if (heap->shapes)
		munmap(cache, cache_bytes(heap));
	else
		ph_dram_free(cache, cache_bytes(heap));
}

/* Under the registry lock, by the thread that owns the cache. */
static void end_cache(struct pheap *heap, struct ph_tcache *cache)
{
	ph_gc_thread_ends(cache);
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
	free_cache(heap, cache);
}

/*
 * Destructors of other keys may free: ours works in the last round but one. In the last one
 * the thread sanitizer ends its state of the thread, and no lock may be taken any more.
 */
static void thread_exit(void *arg)
{
	struct tls_table *mine = arg;

	if (++exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1 &&
	    !pthread_setspecific(exit_key, mine))
		return;
	pthread_mutex_lock(&registry);
	for (unsigned i = 0; i < mine->n; i++) {
		struct pheap *heap = open_heap(mine->entry[i].id);

		/* end_cache() commits and settles through the cache: let it be found. */
		ph_tls = mine->entry[i];
		if (heap && !heap->forked)
			end_cache(heap, mine->entry[i].cache);
	}
	ph_tls.id = 0;
	ended = true;
	pthread_mutex_unlock(&registry);
	if (table == mine)
		table = NULL;
	ph_dram_free(mine, table_bytes(mine->cap));
}

static void before_fork(void)
{
	pthread_mutex_lock(&late_lock);
	pthread_mutex_lock(&registry);
	for (struct pheap *heap = heaps; heap; heap = heap->next)
		if (heap->inherited)
			ph_heap_before_fork(heap);
}

static void after_fork(void)
{
	for (struct pheap *heap = heaps; heap; heap = heap->next)
		if (heap->inherited)
			ph_heap_after_fork(heap, false);
	pthread_mutex_unlock(&registry);
	pthread_mutex_unlock(&late_lock);
}

/*
 * The caches of other threads may be in the middle of a change: in the child they are
 * gone, with the objects in them, but the slabs that they owned serve others.
 */
static void inherit(struct pheap *heap)
{
	struct ph_tcache *mine = own_cache(heap);

	ph_heap_after_fork(heap, true);
	for (struct ph_tcache *cache = heap->caches; cache; cache = cache->next) {
		if (cache == mine)
			continue;
		for (unsigned c = 0; c < cache->shapes; c++)
			ph_slab_disown(heap, &cache->mag[c].own);
		heap->large_room += cache->large.room;
	}
	heap->caches = mine;
	heap->sharers = mine && mine->shares;
	if (mine)
		mine->next = mine->prev = NULL;
}

/* Of a pool the child has the mapping and nothing else: no call works. No lock is held. */
static void after_fork_child(void)
{
	unsigned kept = 0;

	for (struct pheap *heap = heaps; heap; heap = heap->next) {
		if (heap->inherited) {
			inherit(heap);
			continue;
		}
		heap->forked = true;
		if (heap->file.fd >= 0)
			close(heap->file.fd); /* or it would keep the parent's flock alive */
		heap->file.fd = -1;
	}
	ph_tls.id = 0;
	for (unsigned i = 0; table && i < table->n; i++) {
		struct pheap *heap = open_heap(table->entry[i].id);

		if (heap && heap->inherited)
			table->entry[kept++] = table->entry[i];
	}
	if (table)
		table->n = kept;
	pthread_mutex_unlock(&registry);
	pthread_mutex_unlock(&late_lock);
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
	heap->fast_id = heap->debug ? UINT64_MAX : heap->id;
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

static void free_entries(struct ph_magazine *mag)
{
	ph_dram_free(mag->base, (size_t)(mag->limit - mag->base) * sizeof(*mag->base));
}

void ph_tcache_free_all(struct pheap *heap)
{
	pthread_mutex_lock(&registry);
	if (heap->late) {
		heap->late->next = heap->caches;
		heap->caches = heap->late;
		heap->late = NULL;
	}
	for (struct ph_tcache *cache = heap->caches, *next; cache; cache = next) {
		next = cache->next;
		for (unsigned c = 0; c < cache->shapes; c++)
			free_entries(&cache->mag[c]);
		free_cache(heap, cache);
	}
	heap->caches = NULL;
	heap->sharers = 0;
	if (ph_tls.id == heap->id)
		ph_tls.id = 0;
	pthread_mutex_unlock(&registry);
}

/* ---- making a cache ------------------------------------------------------------ */

static struct ph_tcache *new_cache(struct pheap *heap)
{
	struct ph_tcache *cache =
		heap->shapes ? ph_map_lazily(cache_bytes(heap)) : ph_dram_alloc(cache_bytes(heap));

	if (!cache)
		return NULL;
	if (!heap->shapes) {
		memset(cache, 0, offsetof(struct ph_tcache, away));
		memset(cache->mag, 0, PH_CLASSES * sizeof(cache->mag[0]));
	}
	cache->heap = heap;
	cache->shapes = PH_CLASSES;
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
	grown = ph_dram_resize(table, table ? table_bytes(cap) : 0, table_bytes(cap * 2 + 4));
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
		free_cache(heap, cache);
		return NULL;
	}
	cache->next = heap->caches;
	if (cache->next)
		cache->next->prev = cache;
	heap->caches = cache;
	cache->shelf = (uint8_t)(heap->next_shelf++ % PH_SHELVES);
	table->entry[table->n++] = (struct ph_tls){heap->id, cache};
	pthread_mutex_unlock(&registry);
	return cache;
}

struct ph_tcache *ph_tcache_find(struct pheap *heap)
{
	struct ph_tcache *cache;

	if (heap->forked)
		return ph_null(EINVAL,
			       "this heap belongs to the parent process: open it anew after "
			       "the parent has closed it");
	if (ended)
		return ph_null(ENOMEM, "this thread has ended: its cache has been given back");
	cache = own_cache(heap);
	if (!cache)
		cache = add_cache(heap);
	if (!cache)
		return ph_null(ENOMEM, "no memory for a thread cache");
	ph_tls = (struct ph_tls){heap->id, cache};
	return cache;
}

bool ph_tcache_ended(void)
{
	return ended;
}

bool ph_tcache_borrow(struct pheap *heap)
{
	pthread_mutex_lock(&late_lock);
	if (!heap->late)
		heap->late = new_cache(heap);
	if (heap->late)
		ph_tls = (struct ph_tls){heap->id, heap->late};
	else
		pthread_mutex_unlock(&late_lock);
	return heap->late != NULL;
}

void ph_tcache_return(void)
{
	ph_tls.id = 0;
	pthread_mutex_unlock(&late_lock);
}

/* ---- room in magazines ------------------------------------------------------------ */

static uint32_t count_of(const struct ph_magazine *mag)
{
	return (uint32_t)(mag->top - mag->base);
}

static uint32_t cap_of(const struct ph_magazine *mag)
{
	return (uint32_t)(mag->limit - mag->base);
}

/* Of an object. */
static uint64_t size_of(const struct ph_tcache *cache, unsigned shape)
{
	return ph_classes[ph_shape_class(cache->heap, shape)].size;
}

static uint32_t first_cap(const struct ph_tcache *cache, unsigned shape)
{
	uint32_t n = CAP_FIRST_BYTES / (uint32_t)size_of(cache, shape);

	return n > CAP_FIRST ? CAP_FIRST : n ? n : 1;
}

/* There is DRAM for at most so many entries; what is in the magazine fits. */
static bool set_cap(struct ph_tcache *cache, unsigned shape, uint32_t cap)
{
	struct ph_magazine *mag = &cache->mag[shape];
	uint32_t n = count_of(mag), old = cap_of(mag);
	struct ph_cached *base =
		ph_dram_resize(mag->base, old * sizeof(*base), cap * sizeof(*base));

	if (!base)
		return false;
	mag->base = base;
	mag->top = base + n;
	mag->limit = base + cap;
	if (shape >= cache->shapes)
		cache->shapes = shape + 1;
	cache->slots += cap - old;
	set_slot_bytes(cache, cache->slot_bytes + (uint64_t)cap * size_of(cache, shape) -
				      (uint64_t)old * size_of(cache, shape));
	return true;
}

/* Give the n objects back that were freed first: the others are warm. */
static void give_oldest(struct ph_tcache *cache, unsigned shape, uint32_t n)
{
	struct ph_magazine *mag = &cache->mag[shape];

	ph_slab_give(cache->heap, shape, mag->base, n);
	mag->top -= n;
	memmove(mag->base, mag->base + n, count_of(mag) * sizeof(*mag->base));
}

static bool affordable(const struct ph_tcache *cache, unsigned shape, uint32_t more)
{
	return cache->slots + more <= PH_SLOTS_MAX &&
	       cache->slot_bytes + (uint64_t)more * size_of(cache, shape) <=
		       ph_tcache_share(cache->heap);
}

/* Halve the next magazine that is larger than a new one; false where there is none. */
static bool halve_another(struct ph_tcache *cache, unsigned shape)
{
	for (unsigned turn = 0; turn < cache->shapes; turn++) {
		struct ph_magazine *mag;
		uint32_t half;

		cache->hand = (cache->hand + 1) % cache->shapes;
		mag = &cache->mag[cache->hand];
		half = cap_of(mag) / 2;
		if (cache->hand == shape || half < first_cap(cache, cache->hand))
			continue;
		if (count_of(mag) > half)
			give_oldest(cache, cache->hand, count_of(mag) - half);
		return set_cap(cache, cache->hand, half);
	}
	return false;
}

static __attribute__((noinline)) void grow_if_affordable(struct ph_tcache *cache, unsigned shape)
{
	uint32_t cap = cap_of(&cache->mag[shape]), first = first_cap(cache, shape);

	if ((uint64_t)cap * 2 * size_of(cache, shape) > CAP_BYTES &&
	    ph_tcache_share(cache->heap) < SHARE_MOST)
		return;
	if (!cap) {
		set_cap(cache, shape, affordable(cache, shape, first) ? first : 1);
		return;
	}
	if (!affordable(cache, shape, cap)) {
		if (++cache->denied % DENIED_TURNS)
			return;
		while (!affordable(cache, shape, cap))
			if (!halve_another(cache, shape))
				return;
	}
	set_cap(cache, shape, cap * 2);
}

/* After a miss: a larger magazine, if there is room and DRAM. */
static inline void grow(struct ph_tcache *cache, unsigned shape)
{
	uint64_t cap = cap_of(&cache->mag[shape]) * 2;

	if (!cap || (cap <= CAP_MAX && cap * size_of(cache, shape) <= CAP_BYTES_MOST))
		grow_if_affordable(cache, shape);
}

/* Make room in a magazine that is full; false where there is no DRAM for one. */
static bool make_room(struct ph_tcache *cache, unsigned shape)
{
	struct ph_magazine *mag = &cache->mag[shape];

	grow(cache, shape);
	if (mag->top == mag->limit && mag->base)
		give_oldest(cache, shape, (cap_of(mag) + 1) / 2);
	return mag->top != mag->limit;
}

/* ---- magazines and limbo --------------------------------------------------------- */

/* As many as there are classes, so that only typed objects meet others in them. */
#define AWAY_CHAINS 128u
_Static_assert(AWAY_CHAINS >= PH_CLASSES, "send_home()");

static unsigned shape_at(const struct ph_tcache *cache, const char *ptr)
{
	return ph_slab_at(cache->heap, ptr)->shape;
}

/* To the slabs of other threads, one shape after the other: the objects of each are
 * chained first. */
static void send_home(struct ph_tcache *cache)
{
	struct ph_cached objects[PH_AWAY_MAX], group[PH_AWAY_MAX];
	uint8_t first[AWAY_CHAINS], next[PH_AWAY_MAX];
	uint32_t n = cache->away_n;

	memcpy(objects, cache->away, n * sizeof(*objects));
	cache->away_n = 0;
	cache->away_bytes = 0;
	memset(first, PH_AWAY_MAX, sizeof(first));
	for (uint32_t i = n; i--;) {
		unsigned chain = shape_at(cache, objects[i].ptr) % AWAY_CHAINS;

		next[i] = first[chain];
		first[chain] = (uint8_t)i;
	}
	for (unsigned chain = 0; n && chain < AWAY_CHAINS;) {
		uint8_t *link = &first[chain];
		uint32_t count = 0;
		unsigned shape;

		if (*link == PH_AWAY_MAX) {
			chain++;
			continue;
		}
		for (shape = shape_at(cache, objects[*link].ptr); *link < PH_AWAY_MAX;) {
			uint8_t i = *link;

			if (shape_at(cache, objects[i].ptr) == shape) {
				group[count++] = objects[i];
				*link = next[i];
			} else {
				link = &next[i];
			}
		}
		ph_slab_give(cache->heap, shape, group, count);
	}
}
_Static_assert(PH_AWAY_MAX <= UINT8_MAX, "send_home()");

/*
 * Word by word. A struct that came in registers is put on the stack, and is copied from there
 * by one wide load, which waits until the stores before it have left the core: among them that
 * to the state, whose line is another processor's when the slab is.
 */
static void put(struct ph_cached *at, char *ptr, uint8_t *state)
{
	at->ptr = ptr;
	at->state = state;
}

void ph_tcache_push(struct ph_tcache *cache, const struct ph_slab *slab, char *ptr, uint8_t *state)
{
	const struct ph_granule *granule = ph_granule_at(cache->heap, ptr);
	struct ph_magazine *mag = &cache->mag[slab->shape];

	ph_set_state(state, PH_FREE);
	if (ph_unlikely(!ph_at_home(cache, granule))) {
		put(&cache->away[cache->away_n++], ptr, state);
		cache->away_bytes += slab->size;
		if (cache->away_n == PH_AWAY_MAX || cache->away_bytes > PH_AWAY_BYTES)
			send_home(cache);
	} else if (ph_likely(mag->top != mag->limit) || make_room(cache, slab->shape)) {
		put(mag->top++, ptr, state);
	} else {
		struct ph_cached object = {ptr, state};

		ph_slab_give(cache->heap, slab->shape, &object, 1);
	}
}

/* Objects in limbo that no live record reaches any more go to their magazines. */
static void drain_limbo(struct ph_tcache *cache)
{
	uint64_t done = __atomic_load_n(&cache->heap->ckpt_done, __ATOMIC_ACQUIRE);

	while (cache->limbo_n) {
		const struct ph_waiting *first = &cache->limbo[cache->limbo_first];
		const struct ph_slab *slab = ph_slab_at(cache->heap, first->object.ptr);

		if (first->tag >= done)
			return;
		cache->limbo_first = (cache->limbo_first + 1) % PH_LIMBO_MAX;
		cache->limbo_n--;
		cache->limbo_bytes -= slab->size;
		ph_tcache_push(cache, slab, first->object.ptr, first->object.state);
	}
}

static bool fill(struct ph_tcache *cache, unsigned shape)
{
	struct ph_magazine *mag = &cache->mag[shape];

	grow(cache, shape);
	if (!mag->base) {
		errno = -ph_error(ENOMEM, "no memory for a magazine");
		return false;
	}
	mag->top += ph_slab_take(cache, shape, mag->base, (cap_of(mag) + 1) / 2);
	return mag->top != mag->base;
}

static void empty(struct ph_tcache *cache, unsigned shape)
{
	struct ph_magazine *mag = &cache->mag[shape];

	if (count_of(mag))
		ph_slab_give(cache->heap, shape, mag->base, count_of(mag));
	mag->top = mag->base;
	ph_slab_disown(cache->heap, &mag->own);
}

void ph_tcache_renew(struct ph_tcache *cache, const struct ph_slab *slab)
{
	empty(cache, slab->shape);
}

/* Magazines that have not been filled since the last time are emptied, and the large spans
 * given to the heap of which none was taken. */
static void empty_idle(struct ph_tcache *cache)
{
	uint64_t now = ph_decay_now();

	if (now < cache->idle_due)
		return;
	cache->idle_due = now + cache->heap->decay.delay;
	send_home(cache);
	for (unsigned c = 0; c < PH_CLASSES; c++)
		if (!(cache->filled[c / 64] >> c % 64 & 1))
			empty(cache, c);
	memset(cache->filled, 0, sizeof(cache->filled));
	ph_large_idle(cache->heap, cache);
}

bool ph_tcache_refill(struct ph_tcache *cache, unsigned shape)
{
	if (__atomic_load_n(&cache->heap->decay.on,
			    __ATOMIC_RELAXED)) { /* so there are only classes */
		cache->filled[shape / 64] |= UINT64_C(1) << shape % 64;
		empty_idle(cache);
	}
	drain_limbo(cache);
	if (count_of(&cache->mag[shape]) || fill(cache, shape))
		return true;
	if (errno != ENOSPC)
		return false;
	/* What this thread itself holds may be what is missing. */
	ph_tcache_flush(cache);
	ph_slab_trim(cache->heap);
	return fill(cache, shape);
}

/* There is no DRAM for a cache of this thread's: straight to the slab. */
static void retire_uncached(struct pheap *heap, const struct ph_object *object)
{
	struct ph_cached cached = {ph_at(heap, object->start), ph_state_of(object)};

	if (ph_touched(heap, object->slab) && ph_checkpoint(heap))
		return; /* the heap is read-only now: the object stays as it is */
	ph_set_state(cached.state, PH_FREE);
	ph_slab_give(heap, object->slab->shape, &cached, 1);
}

void ph_tcache_retire(struct pheap *heap, struct ph_tcache *cache, const struct ph_object *object)
{
	struct ph_cached cached = {ph_at(heap, object->start), ph_state_of(object)};
	struct ph_slab *slab = object->slab;
	struct ph_waiting *last;

	if (ph_unlikely(!ph_logs(&heap->pm))) { /* nothing is ever in limbo */
		if (heap->debug)
			ph_debug_retire(heap, object);
		else
			ph_block_free(heap, object);
		return;
	}
	if (slab->kind == PM_KIND_LARGE) {
		ph_large_free(heap, slab, ph_touched(heap, slab));
		return;
	}
	if (!cache) {
		retire_uncached(heap, object);
		return;
	}
	if (!ph_touched(heap, slab)) {
		ph_tcache_push(cache, slab, cached.ptr, cached.state);
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
	ph_set_state(cached.state, PH_LIMBO);
	last = &cache->limbo[(cache->limbo_first + cache->limbo_n++) % PH_LIMBO_MAX];
	last->object = cached;
	last->tag = __atomic_load_n(&heap->ckpt_begun, __ATOMIC_ACQUIRE);
	cache->limbo_bytes += slab->size;
}

void ph_tcache_flush(struct ph_tcache *cache)
{
	if (cache->limbo_n && !ph_checkpoint(cache->heap))
		drain_limbo(cache);
	send_home(cache);
	for (unsigned c = 0; c < cache->shapes; c++) {
		struct ph_magazine *mag = &cache->mag[c];

		empty(cache, c);
		free_entries(mag);
		*mag = (struct ph_magazine){NULL, NULL, NULL, NULL};
	}
	cache->slots = 0;
	set_slot_bytes(cache, 0);
	ph_large_flush(cache->heap, cache);
	ph_slab_end_kept(cache->heap);
}
