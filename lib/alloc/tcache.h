/*
 * tcache.h - per-thread caches: magazines of objects, limbo, counters.
 *
 * Reserve pops from a magazine and free pushes to it: no lock, no atomic
 * read-modify-write, no store to media. A cache belongs to one thread and one
 * heap; it is found through thread-local storage by the heap's id, so that a
 * cache of a heap that was closed is never used again.
 *
 * A magazine begins small. It doubles whenever it was found empty or full, within
 * what the magazines of a thread may have in all: PH_SLOTS_MAX entries, and room for
 * so many bytes of objects that all threads together hold a small part of the pool. That
 * part is shared by the threads that need more than very little of it.
 * When that is used up, another magazine is made smaller, each in its turn, but not
 * at every miss: so the room goes where misses are.
 *
 * Where memory goes back to the system (decay.h), a magazine that has not been filled for a
 * delay is emptied, and its slab is anyone's: a size of which a thread needs nothing more
 * keeps none of its slabs. It costs a magazine that comes and goes without a miss one filling.
 * So are its large spans, when none of them was used again.
 */
#ifndef PH_TCACHE_H
#define PH_TCACHE_H

#include "heap.h"

struct ph_tls {
	uint64_t id; /* of the heap used last; 0: none */
	struct ph_tcache *cache;
};
extern __thread struct ph_tls ph_tls __attribute__((tls_model("initial-exec")));

/* Registry of the open heaps of the process: thread exit and fork need it. */
void ph_registry_add(struct pheap *heap);
void ph_registry_remove(struct pheap *heap);

/* Free the caches of all threads, as they are. */
void ph_tcache_free_all(struct pheap *heap);

/* Add up the counters of all threads, those that have ended included. */
void ph_tcache_sum(struct pheap *heap, struct ph_count *sum);

struct ph_tcache *ph_tcache_find(struct pheap *heap);

/* The calling thread's cache; NULL with errno: no memory, or a forked child. */
static inline struct ph_tcache *ph_tcache_get(struct pheap *heap)
{
	if (ph_likely(ph_tls.id == heap->id))
		return ph_tls.cache;
	return ph_tcache_find(heap);
}

/*
 * A thread whose caches have been given back, when its other destructors had run, gets no
 * new one: it frees straight to slabs, and cannot allocate. Where it must, it uses a cache
 * that the heap keeps for such threads, one at a time, between these two.
 */
bool ph_tcache_ended(void);
bool ph_tcache_borrow(struct pheap *heap);
void ph_tcache_return(void);

/* Fill a magazine that is empty; false with errno where the pool is full. */
bool ph_tcache_refill(struct ph_tcache *cache, unsigned shape);

/* Give the objects of the magazine for a slab's kind back: it is filled anew, from the
 * fullest slab. */
void ph_tcache_renew(struct ph_tcache *cache, const struct ph_slab *slab);

/* Bytes of objects for which the magazines of each thread that shares may have room. */
uint64_t ph_tcache_share(const struct pheap *heap);

/* Put an object of a slab, which is the caller's, into its magazine, or, where the slab
 * is another thread's, among those that are given back together. Never fails. */
void ph_tcache_push(struct ph_tcache *cache, const struct ph_slab *slab, char *ptr, uint8_t *state);

static inline struct ph_magazine *ph_magazine_of(struct ph_tcache *cache,
						 const struct ph_granule *granule)
{
	return (struct ph_magazine *)(void *)((char *)cache + granule->magazine);
}

static inline bool ph_at_home(const struct ph_tcache *cache, const struct ph_granule *granule)
{
	return __atomic_load_n(&granule->home, __ATOMIC_RELAXED) == cache;
}

/*
 * An object that is no longer published: to its magazine, or to limbo while a
 * live record may write into it (H3). cache NULL: this thread has none.
 */
void ph_tcache_retire(struct pheap *heap, struct ph_tcache *cache, const struct ph_object *object);

/* Everything back to the slabs, after a checkpoint; magazines begin anew. */
void ph_tcache_flush(struct ph_tcache *cache);

/*
 * A record is about to write into an object of this slab. Called with the
 * record's lane held, before the commit: a checkpoint counted later covers it.
 */
static inline void ph_touch(struct pheap *heap, struct ph_slab *slab)
{
	uint64_t begun = __atomic_load_n(&heap->ckpt_begun, __ATOMIC_ACQUIRE);
	uint64_t seen = __atomic_load_n(&slab->touched, __ATOMIC_RELAXED);

	while (seen < begun && !__atomic_compare_exchange_n(&slab->touched, &seen, begun, false,
							    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/* May a live record write into the slab? */
static inline bool ph_touched(const struct pheap *heap, const struct ph_slab *slab)
{
	return __atomic_load_n(&slab->touched, __ATOMIC_ACQUIRE) >=
	       __atomic_load_n(&heap->ckpt_done, __ATOMIC_ACQUIRE);
}

#endif
