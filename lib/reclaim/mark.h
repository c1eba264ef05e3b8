/*
 * mark.h - the marker: which objects of a zone can be reached.
 *
 * It reads media structures only, the descriptors and bitmaps of a zone, so that it
 * works on a heap that is open, on one that is being recovered, and on an image in memory.
 * Nothing is written. Media is input: a reference is believed only where it is the start
 * of an object of a believable span.
 *
 *	struct ph_marker *m;
 *	err = ph_marker_make(&setup, &m);     spans found, all objects white
 *	ph_mark_fixed_roots(m);               root table and type table
 *	ph_mark_ref(m, ref); ...              whatever else is live
 *	err = ph_mark_run(m);                 what they reach, with all threads
 *	... ph_mark_white(), ph_mark_marked(), ph_mark_is() ...
 *	ph_marker_free(m);
 *
 * One bit an object, WHITE: it is there and has not been reached. At the start that is the
 * slab's bitmap (or, with PH_MARK_PLACES, all places of a slab); an object that is reached
 * loses it. So one bit says that a reference is to an object and that it is the first one,
 * and what is white in the end is garbage, whatever is published meanwhile.
 *
 * DRAM: that bit, 16 bytes for each granule in use, and for each thread a stack of fixed
 * size. An object that does not fit on the stack is marked and not looked into; its
 * span is flagged (RESCAN), and later all marked objects of such spans are looked into
 * again, until no span is flagged.
 *
 * What is found is prefetched and looked into some objects later, so that misses overlap
 * (Cher, Hosking, Vitek: Software prefetching for mark-sweep garbage collection, ASPLOS
 * 2004). Threads that have nothing left get the oldest part of another's stack.
 *
 * INVARIANTS
 *   G1  An object is looked into at most once for each time that its bit was cleared or
 *       its span rescanned; every object whose bit was cleared is looked into, or its
 *       span is flagged.
 *   G2  A bit is cleared by one thread: by an atomic and, where there are several.
 *
 * LOCKS: none is needed of the heap. What is marked must not change meanwhile, except for
 * words that are no references, and words that are stored atomically.
 */
#ifndef PH_RECLAIM_MARK_H
#define PH_RECLAIM_MARK_H

#include <pheap/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct ph_marker;

/* Objects are arrays: offsets and size are an element's. */
#define PH_MARK_ARRAY 1u
/* Every aligned word may be a reference: there is no callback, or the type is damaged. */
#define PH_MARK_CONSERVATIVE 2u

/* Reports the address of each slot of an object; as pheap_trace_fn. */
typedef void ph_mark_visit_fn(void *arg, uint64_t *slot);
typedef void ph_mark_trace_fn(void *object, uint64_t size, ph_mark_visit_fn *visit, void *arg);

/* Where objects of a type hold references. */
struct ph_mark_type {
	const uint32_t *refs; /* offsets, multiples of 8, at most size - 8 */
	uint32_t nrefs;
	uint32_t flags;
	uint64_t size;		 /* of an object or element; offsets are below */
	ph_mark_trace_fn *trace; /* takes the place of the offsets */
};

struct ph_types;

/* The types of a pool as a setup wants them, whose arrays they are. */
void ph_mark_types(const struct ph_types *types, struct ph_mark_type table[PM_TYPES]);

/* Flags of a setup. */
enum {
	/* Untyped objects are looked into, word by word. Otherwise they are leaves. */
	PH_MARK_UNTYPED = 1u << 0,
	/* Each place of a slab and each large span may be an object: bitmaps are not read. */
	PH_MARK_PLACES = 1u << 1,
	/* Count references in typed slots that are to no object: two loads for each reference to
	 * an object that was reached before. */
	PH_MARK_CHECK = 1u << 2,
	/* The first of those ends the run with -EUCLEAN. */
	PH_MARK_STRICT = 1u << 3,
	/* Nothing is white but what ph_mark_whiten() makes so; there are no other spans. Not
	 * with the three before. */
	PH_MARK_SOME = 1u << 4,
};

struct ph_mark_setup {
	const char *base; /* of the pool's content, wherever it is mapped */
	const struct pm_zone *zone;
	const struct ph_mark_type *types; /* by id, from 0, which is not looked at */
	uint32_t ntypes;
	unsigned flags;
	unsigned threads; /* 0: as many as there are processors, and as is worth while */
	uint32_t stack;	  /* words of a thread's stack; 0: the usual */
	/* Called by one thread now and then; total: of white objects at the start. */
	void (*progress)(void *arg, uint64_t marked, uint64_t total);
	void *arg;
};

struct ph_mark_counts {
	uint64_t objects; /* that were white at the start */
	uint64_t bytes;	  /* of them; not with PH_MARK_SOME */
	uint64_t marked;
	uint64_t dangling;  /* with PH_MARK_CHECK */
	uint64_t rescanned; /* spans */
	uint64_t dram;	    /* bytes */
	unsigned threads;
};

/* A span of objects. */
struct ph_mark_span {
	uint32_t granule; /* its first */
	uint32_t granules;
	uint32_t type, objects;
	uint64_t size;	/* of an object */
	uint64_t start; /* offset of the first one */
	uint64_t bits;	/* offset of its bitmap */
	uint8_t kind;	/* PM_KIND_SLAB, PM_KIND_LARGE */
	uint8_t cls;
};

/*
 * Find all spans. -EUCLEAN: a granule is taken and in no believable span, so that what
 * is there cannot be known; -ENOMEM.
 */
int ph_marker_make(const struct ph_mark_setup *setup, struct ph_marker **marker);
void ph_marker_free(struct ph_marker *marker);

/*
 * With PH_MARK_SOME: make an object white. False: nothing begins at ref. Costs nothing for what
 * is not white. In the end ph_mark_reset() forgets all, for another turn.
 */
bool ph_mark_whiten(struct ph_marker *marker, uint64_t ref);
/* Types may have come since the marker was made. */
void ph_mark_set_types(struct ph_marker *marker, const struct ph_mark_type *types, uint32_t n);
void ph_mark_reset(struct ph_marker *marker);

/*
 * When what was made white can change no more, before the run. First, true: spans have ended, or
 * are others, since they were found; what lies there is white no more, and has to be made so
 * again. Then: what is not published is white no more.
 */
bool ph_mark_forget_stale(struct ph_marker *marker);
void ph_mark_settle(struct ph_marker *marker);

/* Is ref white? For references that ph_mark_whiten() knows. */
bool ph_mark_is_white(const struct ph_marker *marker, uint64_t ref);

/* Bytes of an object that ph_mark_whiten() knows; 0: none. */
uint64_t ph_mark_size_at(const struct ph_marker *marker, uint64_t ref);

/* A root: a slot in any object. One in a white object is none: if that is reached, so is what
 * the slot refers to. */
void ph_mark_slot(struct ph_marker *marker, uint64_t offset);

/* Roots, before the run: what tables refer to; a reference, which may be to no object; the
 * content of an object, whether it is marked or not; any words. */
void ph_mark_fixed_roots(struct ph_marker *marker);
void ph_mark_ref(struct ph_marker *marker, uint64_t ref);
void ph_mark_content(struct ph_marker *marker, uint32_t type, uint64_t offset, uint64_t size);
void ph_mark_words(struct ph_marker *marker, const void *words, uint64_t n);

/* Mark all that roots reach. May be called again after more roots. 0, -EUCLEAN (STRICT), -EINVAL
 * (a callback reported an address outside its object). */
int ph_mark_run(struct ph_marker *marker);

void ph_mark_get_counts(const struct ph_marker *marker, struct ph_mark_counts *counts);

/* The first span from granule on; false: none. In the order of addresses. */
bool ph_mark_next_span(const struct ph_marker *marker, uint32_t granule, struct ph_mark_span *span);

/* Word i of a span, in the layout of its bitmap: what is white; what was white and is not. The
 * latter reads the bitmap anew, unless PLACES: for media that has not changed. */
uint64_t ph_mark_white(const struct ph_marker *marker, const struct ph_mark_span *span, uint32_t i);
uint64_t ph_mark_marked(const struct ph_marker *marker, const struct ph_mark_span *span,
			uint32_t i);

/* Is ref an object that was marked? As ph_mark_marked(). */
bool ph_mark_is(const struct ph_marker *marker, uint64_t ref);

#endif
