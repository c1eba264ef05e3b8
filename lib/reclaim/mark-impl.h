/*
 * mark-impl.h - the marker's structures, which its two files share.
 *
 *	mark.c	    spans, bits, roots, results
 *	mark-run.c  looking into objects: the loop, its queues, threads
 */
#ifndef PH_RECLAIM_MARK_IMPL_H
#define PH_RECLAIM_MARK_IMPL_H

#include <pthread.h>

#include "alloc/span.h"
#include "lock.h"
#include "mark.h"

/* How an object is looked into. */
enum ph_mark_kind {
	PH_MARK_LEAF = 0,
	PH_MARK_FIXED,
	PH_MARK_ELEMENTS,
	PH_MARK_WORDS,
	PH_MARK_CALLBACK,
};

struct ph_mark_plan {
	const uint32_t *refs;
	uint32_t nrefs;
	uint32_t first; /* offset of the line that is wanted first */
	uint64_t size;
	ph_mark_trace_fn *trace;
	uint8_t kind;
};

/* Plans are by type; that of types that are not known is behind them. */
#define PH_MARK_TYPES PM_TYPES
#define PH_MARK_UNKNOWN PH_MARK_TYPES

/* What a granule belongs to. Of large objects the first granule only has this, since no
 * reference is to another one. */
struct ph_mark_granule {
	uint32_t word;	 /* its span's first word of bits */
	uint32_t head;	 /* its span's first granule, and 1; 0: no object */
	uint32_t extent; /* objects of a slab; granules of a large object */
	uint16_t plan;
	uint8_t cls;   /* PH_CLASSES: large */
	uint8_t flags; /* of the head; atomic */
};
#define PH_MARK_RESCAN 1u
_Static_assert(sizeof(struct ph_mark_granule) == 16, "DRAM of a granule");

/* Of a class, for finding an object's number (ph_product()). */
struct ph_mark_shape {
	uint64_t reciprocal;
	uint32_t objects, size;
};

#define PH_MARK_AHEAD 16u /* found and prefetched; a power of two */
#define PH_MARK_STACK 4096u
#define PH_MARK_CHUNK 128u /* words that one thread gives another */
#define PH_MARK_CHUNKS 32u

struct ph_mark_chunk {
	uint32_t n;
	uint64_t word[PH_MARK_CHUNK];
};

/* A thread's part. Entries of both queues are plan << 48 | offset; see mark-run.c. */
struct ph_mark_worker {
	struct ph_marker *marker;
	uint64_t marked, dangling, rescanned;
	uint64_t turns;
	uint64_t ahead[PH_MARK_AHEAD];
	uint32_t ahead_first, ahead_n;
	uint64_t *stack;
	uint32_t n, cap;
	uint64_t object, size; /* that a callback looks into */
	pthread_t thread;
} __attribute__((aligned(64)));

struct ph_marker {
	const char *base;
	uint64_t data; /* offset of granule 0 */
	uint32_t granules;
	unsigned flags;
	struct ph_mark_granule *map;
	uint64_t *white;
	struct ph_mark_shape shape[PH_CLASSES + 1];
	struct ph_mark_plan plan[PH_MARK_TYPES + 1];
	const struct pm_zone *zone;
	uint64_t words; /* of white */
	uint32_t *some; /* first granules of spans, with PH_MARK_SOME */
	uint32_t nsome, some_room;
	uint64_t objects, bytes;
	uint64_t spans_granules; /* those that map[] says something of */
	void (*progress)(void *arg, uint64_t marked, uint64_t total);
	void *arg;

	unsigned threads; /* wanted */
	struct ph_mark_worker *worker;

	bool overflowed; /* a span is flagged; atomic */
	bool stop;	 /* an error; atomic */
	uint32_t hungry; /* threads that wait; atomic, changed under the lock */
	uint32_t cursor; /* granule from which flagged spans are looked for; atomic */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint32_t running; /* threads of this run */
	bool finished;
	struct ph_mark_chunk *chunk;
	uint32_t nchunks;
	int error; /* the first one, and what it is about */
	uint64_t bad_object, bad_ref;
};

/* mark-run.c: roots go through the first worker. */
void ph_mark_visit_root(struct ph_marker *marker, uint64_t ref);
void ph_mark_look(struct ph_marker *marker, const struct ph_mark_plan *plan, const char *object,
		  uint64_t offset, uint64_t size);

static inline uint64_t ph_mark_size(const struct ph_marker *marker,
				    const struct ph_mark_granule *entry)
{
	return entry->cls < PH_CLASSES ? marker->shape[entry->cls].size
				       : (uint64_t)entry->extent * PM_GRANULE;
}

/* Where an object is: its span, its number. */
struct ph_mark_place {
	const struct ph_mark_granule *entry;
	uint64_t index;
};

/* The place in which an offset lies, or behind which, with index too large; *start: it begins
 * there. False: no span that is known covers it. */
static ph_inline bool ph_mark_at(const struct ph_marker *marker, uint64_t offset,
				 struct ph_mark_place *place, bool *start)
{
	uint64_t at = offset - marker->data, granule = at >> PM_GRANULE_SHIFT, inside;
	const struct ph_mark_shape *shape;
	struct ph_product product;

	if (ph_unlikely(granule >= marker->granules))
		return false;
	place->entry = &marker->map[granule];
	if (ph_unlikely(!place->entry->head))
		return false;
	inside = at - ((uint64_t)(place->entry->head - 1) << PM_GRANULE_SHIFT);
	shape = &marker->shape[place->entry->cls];
	product = ph_product(inside, shape->reciprocal);
	place->index = product.quotient;
	*start = product.fraction < shape->reciprocal;
	return product.quotient < shape->objects;
}

/* False: no place for an object is around the offset. */
static inline bool ph_mark_around(const struct ph_marker *marker, uint64_t offset,
				  struct ph_mark_place *place)
{
	bool start;

	return ph_mark_at(marker, offset, place, &start);
}

/* False: ref is not the start of a place for an object. */
static ph_inline bool ph_mark_find(const struct ph_marker *marker, uint64_t ref,
				   struct ph_mark_place *place)
{
	bool start;

	return ph_mark_at(marker, ref, place, &start) && start;
}

static ph_inline uint64_t *ph_mark_word_of(const struct ph_marker *marker,
					   const struct ph_mark_place *place)
{
	return &marker->white[place->entry->word + place->index / 64];
}

#endif
