/*
 * heap.h - the DRAM side of an open heap, all of it. Read layout.h first.
 *
 * What media says is permanent; what is here is an overlay on it:
 *
 *   H1  taken on media  =>  taken in the overlay   (spans and objects)
 *   H2  an object is FREE, LIMBO, RESERVED or TX  <=>  its bit is 0
 *       (in a span that is not born: no bit is looked at)
 *   H3  memory that the overlay calls free, or that a magazine holds, is
 *       settled: no live record writes into it
 *
 * Nothing here is built at open beyond the lanes; a slab's state is made when
 * the slab is first touched.
 *
 * LOCKS, in the order in which they nest:
 *   registry       heaps of the process and their caches (tcache.c)
 *   tx_lock        handles of transactions
 *   zone.lock      both free-space trees, the span map, births and deaths
 *   central.lock   one a shape: partial slabs
 *   shapes.lock    numbers given to shapes; nothing is taken under it
 *   stripes        in the order of their index
 *   undo.lock      one transaction's saved ranges; nothing is taken under it
 *   checkpoint     one at a time; may be taken under stripes
 *   lane.lock      one at most
 *   large_lock     free large spans; nothing is taken under it
 */
#ifndef PH_HEAP_H
#define PH_HEAP_H

#include <pheap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/class.h"
#include "error.h"
#include "layout.h"
#include "lock.h"
#include "persist.h"

/* ---- objects and spans ------------------------------------------------- */

/*
 * State of an object, one byte each. Written by whoever owns the object. In a traced heap
 * what is RESERVED may be permanent as well; PUBLISHED is what was allocated in an earlier
 * session, or what records or snapshots have been taken of (alloc/traced.h).
 */
enum ph_state {
	PH_FREE = 0,	  /* in its slab's `avail`, a magazine or a cache of large spans: in one */
	PH_LIMBO = 1,	  /* retired; live records may still write into it (H3) */
	PH_RESERVED = 2,  /* handed out, not permanent */
	PH_TX = 3,	  /* handed out, published when its transaction commits */
	PH_PUBLISHED = 4, /* permanent */
	PH_DYING = 5,	  /* permanent, freed when its transaction commits */
};

/*
 * DRAM state of a span: a slab, a large object (a slab of one) or a lane block (no
 * object). The struct is never returned to the system before close, so that a
 * stale pointer to it can be looked at safely.
 *
 * The first line is read by every free and changes with the span's life only; what
 * central.lock covers is in the second one.
 */
struct ph_slab {
	const char *first;   /* address of its first byte */
	uint64_t reciprocal; /* 2^64 / size, rounded up; 0 for large objects */
	uint64_t start;	     /* offset of its first byte */
	uint64_t size;	     /* bytes of an object */
	uint64_t bits;	     /* offset of its bitmap */
	uint32_t granules;
	uint32_t objects;
	uint8_t kind; /* enum pm_kind */
	uint8_t cls;
	uint16_t shape;	 /* of a slab: its type and class (below) */
	uint32_t type;	 /* of its objects; 0: none. Changes with the span's life only */
	uint8_t born;	 /* its descriptor is on media; atomic, set under zone.lock */
	uint8_t pending; /* its birth is in a record being built; zone.lock */
	uint8_t counted; /* there are counts beside its objects */
	uint8_t zero;	 /* its memory was zero when it was reserved, and is if it was not
			  * written to since; volatile heaps, large objects */

	uint64_t touched __attribute__((aligned(64))); /* checkpoints begun when a record
							* last wrote into it; atomic */
	uint64_t *avail; /* a bit an object: anyone may take it; central.lock */
	struct ph_slab *next, *prev;
	struct ph_slab *older; /* all structs of the zone */
	uint32_t free;	       /* bits in avail; central.lock */
	uint32_t low;	       /* no bit in a word of avail before this one; central.lock */
	uint32_t bin_end;      /* `free` from which on another list is its; central.lock */
	uint32_t room;	       /* objects for which there are states and bits */
	uint8_t owned;	       /* by a thread's cache; central.lock */
	uint8_t bin;	       /* its list: see slab.h; central.lock */
	uint8_t shelf;	       /* where that is: of who owned it last; central.lock */

	uint8_t state[] __attribute__((aligned(64)));
};

/*
 * A field of a slab that was found without a lock. It may end meanwhile, and its struct,
 * which is never freed, begin another life: then this is of the one or of the other, and
 * whoever relies on it looks again under stripes (ph_object_still()).
 */
#define PH_SEEN(slab, field) __atomic_load_n(&(slab)->field, __ATOMIC_RELAXED)

/* An object, or a place inside one. */
struct ph_object {
	struct ph_slab *slab;
	uint32_t index;
	uint64_t start; /* offset of its first byte */
};

/*
 * A *shape* is a type and a size class: slabs of one shape have objects of one type and
 * size, so each has lists and magazines of its own. Those below PH_CLASSES are the classes
 * of objects without a type; the others are numbered as they are needed, and not kept.
 */
#define PH_SHAPES_MAX (PM_TYPES * PH_CLASSES)
struct ph_shapes {
	uint64_t lock;			   /* bit lock */
	uint32_t n;			   /* numbers given; atomic */
	uint16_t of[PM_TYPES][PH_CLASSES]; /* 0: none yet; atomic. Of no type: not used */
	struct {
		uint16_t type;
		uint8_t cls;
	} shape[PH_SHAPES_MAX];
};
_Static_assert(PH_SHAPES_MAX < UINT16_MAX, "ph_slab.shape");

/* Slabs with bits in avail that no thread owns, by how much of them is available;
 * the last list has those of which everything is. */
#define PH_BINS 8u
#define PH_BIN_EMPTY PH_BINS
#define PH_BIN_NONE 255u

/* A few sets of lists, so that threads find slabs that they had before. */
#define PH_SHELVES 4u
struct ph_shelf {
	struct ph_slab *bin[PH_BINS + 1];
};

/* A shape: where magazines are filled from and drained to. */
struct ph_central {
	uint64_t lock; /* bit lock */
	struct ph_shelf shelf[PH_SHELVES];
	uint64_t taken, given; /* objects, by magazines */
} __attribute__((aligned(64)));

/*
 * What covers a granule of data. Beside the span's struct stands what a free finds an
 * object's state and magazine by: it has the address only, and each further load on the
 * way to them delays all that follows.
 */
struct ph_granule {
	struct ph_slab *slab; /* NULL: none is loaded; atomic */
	uint64_t reciprocal;  /* the slab's; 0 without one */
	/* The cache that took the slab over last, to which objects go when that thread
	 * frees them. Compared, never followed: the thread may have ended. Atomic. */
	const struct ph_tcache *home;
	uint32_t before;   /* bytes of the slab before this granule */
	uint32_t magazine; /* of its shape: where in struct ph_tcache */
};

/* Room for the objects of a slab and one more, in units of 64: from 1 to this, less one. */
#define PH_ROOMS ((PM_GRANULE / PM_OBJECT_MIN + 1 + 63) / 64 + 1)

struct ph_zone {
	const struct pm_zone *pm;
	const char *first; /* address of granule 0 */
	uint64_t bytes;	   /* of all granules */
	uint64_t data;	   /* offset of granule 0 */
	uint32_t granules;
	uint32_t levels;
	pthread_mutex_t lock;
	uint8_t *overlay; /* the free-space tree with reservations; lines load on touch */
	size_t tree_bytes;
	struct ph_granule *map;
	uint8_t *backed;       /* one byte a chunk: file blocks are allocated */
	uint8_t *used;	       /* volatile heaps: enum ph_used of each granule; alloc/decay.h */
	uint32_t discover;     /* next granule to look at for unloaded slabs */
	uint32_t unloaded_end; /* discovery is over when discover reaches it */
	uint64_t lines_read;   /* lines of media that made the DRAM state; atomic */
	int64_t credit;	       /* lines of metadata that discovery may read ahead of need */
	uint64_t granules_slab, granules_large; /* in use; changed under the lock, atomic */
	uint64_t limit;				/* granules that may be in use */
	struct ph_slab *spare[PH_ROOMS];	/* retired structs by room / 64 */
	struct ph_slab *newest;			/* all structs ever made */
};

/* What goes back to the system after a delay (alloc/decay.h). zone.lock. */
struct ph_decay {
	bool on;	  /* read without the lock */
	uint32_t delay;	  /* milliseconds */
	uint32_t waiting; /* granules; read without the lock */
	uint32_t end;	  /* none waits from here on */
	uint32_t top;	  /* none was ever taken from here on */
	uint64_t due;	  /* when they are gone over next; read without the lock */
};

/* ---- redo --------------------------------------------------------------- */

/*
 * A stripe stands for all lines whose number is its index modulo PH_STRIPES.
 * word: stamp of the last record that wrote such a line << 1 | lock.
 */
struct ph_stripe {
	uint64_t word;
	uint32_t tag;  /* which line and lane that was: see ph_stripe_tag(); atomic */
	uint32_t mark; /* of the transaction that saved such a line: undo.h; atomic */
};
#define PH_STRIPE_BITS 15
#define PH_STRIPES (1u << PH_STRIPE_BITS)

/* Lines that a lane's records since the last checkpoint wrote. */
#define PH_DIRTY_MAX 2048u

struct ph_undo_log {
	uint64_t head; /* offset of its pm_undo_head */
	uint64_t area; /* offset of its built-in area */
	uint64_t gen;  /* of the last transaction that used it; the next takes gen + 1 */
	bool used;     /* atomic */
	bool marked;   /* U5: in this epoch; of the transaction that uses it */
};

struct ph_lane {
	uint64_t lock;	  /* bit lock */
	uint64_t clock;	  /* no record of the lane has a larger stamp */
	uint64_t prev;	  /* stamp of its last record in this epoch */
	uint64_t visited; /* clock when a checkpoint last collected its dirty lines */
	uint64_t pos;	  /* ring lines ever written; the next record starts here */
	uint64_t head;	  /* ring lines ever given back; atomic */
	uint64_t block;	  /* offset of the lane block */
	uint32_t index;
	uint32_t ndirty;
	uint32_t users; /* threads; heap.lane_lock */
	bool backed;	/* its file blocks are allocated: ph_lane_back(); atomic */
	struct ph_undo_log logs[PM_UNDO_LOGS];
	uint64_t *dirty; /* PH_DIRTY_MAX line numbers */
} __attribute__((aligned(64)));

/* Mapped at open and touched by those that use a lane: DRAM for the lanes that there
 * are, and for the lists of those in use. */
struct ph_lane_space {
	struct ph_lane lane[PM_LANES_MAX];
	uint64_t dirty[PM_LANES_MAX][PH_DIRTY_MAX];
};

/* ---- thread cache ---------------------------------------------------------- */

struct ph_cached {
	char *ptr;
	uint8_t *state;
};

/* The objects of a shape from base up to top are free; room ends at limit. */
struct ph_magazine {
	struct ph_cached *top, *base, *limit;
	struct ph_slab *own; /* the slab that it is filled from */
};

/* A retired object that waits for a checkpoint begun after its retirement. */
struct ph_waiting {
	struct ph_cached object;
	uint64_t tag; /* heap.ckpt_begun at its retirement */
};
#define PH_LIMBO_MAX 512u
#define PH_LIMBO_BYTES (1u << 20)

/* Objects of other threads' slabs that a thread has freed and not given back yet. */
#define PH_AWAY_MAX 192u
#define PH_AWAY_BYTES (256u << 10)

/* Entries in all magazines of a thread. */
#define PH_SLOTS_MAX 2560u

/* Free spans of large objects (alloc/large.h), the oldest first. */
#define PH_LARGE_SPANS 64u
struct ph_large_cache {
	uint32_t n;
	bool hit; /* a thread's: since idle ones were last looked for */
	uint64_t bytes;
	uint64_t room; /* a thread's: bytes that it may hold */
	struct ph_slab *span[PH_LARGE_SPANS];
};

struct ph_tcache {
	struct pheap *heap;
	struct ph_tcache *next, *prev; /* heap.caches; registry lock */
	struct ph_lane *lane;	       /* NULL until its first record */
	struct ph_count count;
	struct pheap_tx *tx_spare;     /* handles to use again */
	uint32_t limbo_first, limbo_n; /* a ring */
	uint64_t limbo_bytes;
	uint64_t slot_bytes; /* of the objects for which magazines have room */
	bool shares;	     /* counted in heap.sharers */
	uint8_t joined;	     /* enum ph_joined, of collections */
	uint8_t shelf;	     /* where its slabs are put */
	uint32_t slots;	     /* room in magazines */
	uint32_t denied;     /* times that a magazine could not grow */
	uint32_t hand;	     /* shape whose magazine was last made smaller for another */
	uint64_t idle_due;   /* when magazines are gone over next (ph_decay_now) */
	uint64_t filled[(PH_CLASSES + 63) / 64]; /* a bit a class: filled since the last time */
	uint32_t shapes; /* those from here on have no magazine with entries */
	uint32_t away_n;
	uint64_t away_bytes;
	struct ph_large_cache large;
	struct ph_cached away[PH_AWAY_MAX];
	struct ph_waiting limbo[PH_LIMBO_MAX];
	struct ph_magazine mag[]; /* one a shape: as many as there can be (ph_shapes_max()) */
};
_Static_assert(sizeof(struct ph_tcache) + PH_SLOTS_MAX * sizeof(struct ph_cached) +
			       PH_CLASSES * (sizeof(struct ph_magazine) + 16) <
		       64 << 10,
	       "DRAM of a thread's cache, with what malloc adds to each magazine");

/* ---- the heap --------------------------------------------------------------- */

/*
 * Where memory comes from that is neither a pool file nor anonymous. Both get ranges of
 * whole granules, and no lock may be taken in them that is held while the heap is
 * called. NULL: nothing is to do.
 */
struct ph_source {
	/* The range is going to be used; part of it may be in use. 0 or a negative code. */
	int (*commit)(void *arg, void *addr, size_t bytes);
	/* Its content is not needed; from now on it reads as zero. 0 or a negative code. */
	int (*purge)(void *arg, void *addr, size_t bytes);
	/* The heap is closed. */
	void (*put)(void *arg, void *addr, size_t bytes);
	void *arg;
};

struct ph_file {
	int fd;				/* -1: memory of the caller's, or anonymous */
	const struct ph_source *source; /* with fd -1; NULL: none */
	char *base;
	uint64_t size;
	bool is_pmem;
	bool pmem_map; /* mapped by libpmem */
	bool borrowed; /* the caller's memory */
	bool readonly;
	bool made;    /* there was no file before */
	bool whole;   /* it has a block for each byte; atomic */
	bool emptied; /* or there was one that held nothing, and create has begun */
};

struct pheap {
	struct pheap_view view;	 /* must be first: pheap/ref.h */
	uint64_t fast_id;	 /* id, or in debug mode one that no thread's ph_tls has */
	struct ph_persist pm;	 /* of records and stores, at the heap's durability */
	struct ph_persist media; /* what reaches media whatever the durability: state */
	struct ph_source source; /* file.source, where it is the program's */
	struct ph_file file;
	struct pm_super super; /* a copy */
	struct pm_state *state;
	unsigned durability;
	bool readonly;
	bool recovered;
	bool forked;	/* this is the child of a fork: nothing may be done */
	bool inherited; /* but a child has its own copy of this one, and goes on */
	bool traced;	/* what the roots reach is permanent: alloc/traced.h */
	uint64_t epoch;

	struct ph_stripe *stripes;
	uint64_t settled; /* = state->settled; atomic */

	struct ph_lane_space *lane_space;
	struct ph_lane **lanes; /* PM_LANES_MAX pointers */
	uint32_t nlanes;	/* atomic; grows under ckpt_lock */
	uint32_t lanes_max;
	pthread_mutex_t lane_lock; /* adding a lane, ph_lane.users */

	pthread_mutex_t ckpt_lock;
	uint64_t ckpt_begun; /* atomic */
	uint64_t ckpt_done;  /* atomic: index of the last one completed */
	uint64_t *ckpt_pos;  /* PM_LANES_MAX: see checkpoint.c */

	struct ph_zone zone;
	struct ph_decay decay;
	struct ph_central *central; /* ph_shapes_max() of them, mapped lazily */
	struct ph_shapes *shapes;   /* mapped lazily; NULL: no types, only classes */

	pthread_mutex_t large_lock;
	struct ph_slab *large_limbo; /* spans waiting as ph_waiting does; tag in touched */
	uint64_t large_limbo_bytes;
	struct ph_large_cache large;
	uint64_t large_limit;	     /* bytes in it */
	uint64_t large_thread_limit; /* in that of a thread */
	uint64_t large_room;	     /* that the caches of threads may still ask for */

	pthread_mutex_t tx_lock;
	struct pheap_tx *txs;	    /* handles that ever had a snapshot; only grows; atomic */
	struct pheap_tx *tx_spare;  /* handles of threads that have ended */
	struct pheap_tx *tx_newest; /* all handles ever made */

	pthread_mutex_t root_lock;
	pthread_mutex_t type_lock; /* registering; nests like root_lock */
	struct ph_types *types;	   /* types.h; NULL: a volatile heap */

	struct ph_gc *gc; /* reclaim/gc.h; NULL: not used yet; atomic */
	bool logs_young;  /* reclaim/young.h; changed while all lanes are held */

	struct ph_tcache *caches; /* registry lock */
	struct ph_tcache *late;	  /* of threads that have ended: ph_tcache_borrow() */
	uint32_t next_shelf;	  /* of caches, in turn; registry lock */
	bool dead_left;		  /* some chain may have dead objects: atomic */
	uint32_t sharers;	  /* caches that need more than the least share; atomic */
	uint32_t kept;		  /* granules of slabs in PH_BIN_EMPTY; atomic */
	uint32_t kept_hand;	  /* shape that gave one back last; atomic */
	struct ph_count count;	  /* of threads that have ended or have no cache, of open */
	struct ph_debug *debug;	  /* NULL: not in debug mode (alloc/debug.h) */
	uint64_t id;		  /* unique in the process, never reused */
	struct pheap *next;	  /* registry */
};

/* heap.c: make and drop the DRAM side. */
struct pheap *ph_heap_new(void);
void ph_heap_delete(struct pheap *heap);
/* The locks of the allocator, below the registry's, are held over a fork, so that what
 * they cover is whole in the child: where the heap is inherited. */
void ph_heap_before_fork(struct pheap *heap);
void ph_heap_after_fork(struct pheap *heap, bool child);
/* Zeroed memory, of which DRAM is taken page by page when it is touched; NULL: no
 * address space. munmap() ends it. */
void *ph_map_lazily(size_t bytes);
/* Attach to formatted and recovered media. */
int ph_heap_attach(struct pheap *heap);

/* Say why a heap may not be used, or written to: the negative code. */
int ph_heap_refuse(const struct pheap *heap, const char *what) __attribute__((cold));

/* May this operation go on? 0, or EROFS, EIO, or EINVAL in the child of a fork. */
static inline int ph_heap_usable(const struct pheap *heap, const char *what)
{
	return ph_likely(heap && !heap->forked) ? 0 : ph_heap_refuse(heap, what);
}

static inline int ph_heap_writable(const struct pheap *heap, const char *what)
{
	if (ph_likely(heap && !heap->forked && !heap->readonly && !ph_persist_error(&heap->pm)))
		return 0;
	return ph_heap_refuse(heap, what);
}

static inline uint32_t ph_shapes_max(const struct pheap *heap)
{
	return heap->shapes ? PH_SHAPES_MAX : PH_CLASSES;
}

/* Shapes that there are. */
static inline uint32_t ph_shapes_used(const struct pheap *heap)
{
	return heap->shapes ? PH_CLASSES + __atomic_load_n(&heap->shapes->n, __ATOMIC_ACQUIRE)
			    : PH_CLASSES;
}

static inline unsigned ph_shape_class(const struct pheap *heap, unsigned shape)
{
	return shape < PH_CLASSES ? shape : heap->shapes->shape[shape].cls;
}

static inline uint32_t ph_shape_type(const struct pheap *heap, unsigned shape)
{
	return shape < PH_CLASSES ? 0 : heap->shapes->shape[shape].type;
}

static inline char *ph_at(const struct pheap *heap, uint64_t offset)
{
	return heap->view.base + offset;
}

static inline uint64_t ph_off(const struct pheap *heap, const void *ptr)
{
	return (uint64_t)((uintptr_t)ptr - (uintptr_t)heap->view.base);
}

#endif
