/*
 * gc.h - collections: how threads are stopped, and what is kept between them.
 *
 * INVARIANTS
 *   W1  While objects are marked no record is between its lock and its end: the collection
 *       holds all lanes. So bitmaps, links and states are as after some record.
 *   W2  While objects are marked every joined thread waits in here.
 *   W3  What was white when marking ended stays unreachable: no word that a thread may use
 *       has a reference to it. So it is still there when it is swept, unless a
 *       thread broke the rules of pheap/gc.h; what a record frees is looked at again
 *       under its stripes all the same.
 *   W4  Memory that a sweep freed is LIMBO until a checkpoint that began after its record (H3).
 *
 * LOCKS: run.lock, of joined threads and pins; nothing is taken under it. A stop takes lane_lock,
 * zone.lock, and then the locks of all lanes; while it has them it takes no other but
 * tx_lock and run.lock.
 */
#ifndef PH_RECLAIM_GC_H
#define PH_RECLAIM_GC_H

#include <pheap/gc.h>

#include "heap.h"
#include "mark.h"

struct ph_pin {
	uint64_t ref; /* 0: a free place */
	uint64_t count;
};

/* Of a heap that ever used any of this. */
struct ph_gc {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool collecting;	  /* a thread is in pheap_gc() */
	bool stop;		  /* threads wait; also in view.stop, for safepoints */
	uint32_t joined, waiting; /* threads; those of them that wait or are idle */
	struct ph_pin *pin;
	uint32_t pins, pin_room; /* room: a power of two, or 0 */
	struct ph_young *young;	 /* young.h; NULL: no generations */
	struct pheap_gc_stats stats;
};

/* What a joined thread is: in struct ph_tcache. */
enum ph_joined {
	PH_NOT_JOINED = 0,
	PH_JOINED = 1,
	PH_IDLE = 2,
};

/* The heap's; NULL: no memory. */
struct ph_gc *ph_gc_of(struct pheap *heap);
void ph_gc_detach(struct pheap *heap);

/* The thread that has this cache ends. */
void ph_gc_thread_ends(struct ph_tcache *cache);

/* Stop all threads, or let them go on. The caller is the only one that collects. */
void ph_gc_begin(struct ph_gc *gc, struct ph_tcache *cache);
void ph_gc_stop(struct pheap *heap, struct ph_gc *gc, const struct ph_tcache *cache);
void ph_gc_go_on(struct pheap *heap, struct ph_gc *gc);
void ph_gc_end(struct ph_gc *gc);

/* While threads are stopped: all roots. */
void ph_gc_roots(struct pheap *heap, struct ph_gc *gc, struct ph_marker *marker);
/* Those of a young collection: without reserved objects, but those of transactions. */
void ph_gc_young_roots(struct pheap *heap, struct ph_gc *gc, struct ph_marker *marker);

/* Free what is white: counts go to the report. */
int ph_gc_sweep(struct pheap *heap, struct ph_marker *marker, struct pheap_gc_report *report);

#endif
