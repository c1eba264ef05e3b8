/*
 * pheap/stats.h - counters of an open heap, always on; where its memory is.
 */
#ifndef PHEAP_STATS_H
#define PHEAP_STATS_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pheap_stats {
	size_t struct_size; /* in: sizeof(struct pheap_stats) */

	/* Since the heap was opened, by all threads, recovery and open included. */
	uint64_t fences;	/* store fences; with msync: write-backs waited for */
	uint64_t flushed_lines; /* 64-byte lines flushed from the cache; eADR: 0 */
	uint64_t nt_lines;	/* lines written with non-temporal stores */
	uint64_t records;	/* redo records committed */
	uint64_t record_lines;	/* ring lines they took */
	uint64_t checkpoints;
	uint64_t snapshots;	 /* ranges saved in undo logs */
	uint64_t metadata_lines; /* lines of tree, descriptors and bitmaps read to learn
				  * what is free: nothing is, before it is needed */

	/* At this moment. */
	uint64_t granules;	 /* of 64 KiB, for data */
	uint64_t granules_free;	 /* in no span */
	uint64_t granules_slab;	 /* in slabs, whose DRAM state is loaded */
	uint64_t granules_large; /* in large objects, likewise; free ones in caches too */
	uint64_t largest_free;	 /* bytes of the largest object that fits now */
};

/*
 * Add up the counters. Exact when no other thread is in a call on the heap, a
 * little behind otherwise. Errors: EINVAL (struct_size). Thread-safe, no fence.
 */
PHEAP_API int pheap_get_stats(pheap_t *heap, struct pheap_stats *stats);

/*
 * Where the bytes of a pool's data area are, all of them:
 *
 *	total = free + logs + published + reserved + cached + unused + tails + unknown
 *
 * Objects count with the size of their block, pheap_usable_size(). What of a block was not
 * asked for, internal fragmentation, the heap does not keep; per block it is at most 7
 * bytes up to 64 bytes, 12.5 % up to 64 KiB, 20 % up to 320 KiB, 17 % up to 512 KiB, and
 * 12.5 % beyond (blocks of pheap_aligned_alloc aside). External fragmentation as a part of
 * the memory in use is
 *
 *	1 - (published + reserved) / (total - free - logs)
 *
 * and as what of the free memory one object cannot have, 1 - largest_free / free.
 */
struct pheap_space {
	size_t struct_size; /* in: sizeof(struct pheap_space) */

	uint64_t total;
	uint64_t free;	    /* in no span */
	uint64_t logs;	    /* lane blocks: rings and undo logs */
	uint64_t published; /* in objects that are permanent */
	uint64_t reserved;  /* in objects that are not: handed out, or of open transactions */
	uint64_t cached;    /* in no object, but kept by caches of threads or of the heap, or
			     * waiting until records are settled */
	uint64_t unused;    /* in free objects of slabs, for all threads to take */
	uint64_t tails;	    /* behind the last objects of slabs */
	uint64_t unknown;   /* no memory to look at it, or damaged */

	uint64_t largest_free; /* bytes of the largest object that fits in what is free */
	uint64_t objects;      /* published or reserved */
};

/*
 * Look at every object and add up. Exact when no other thread is in a call on the heap, a
 * little behind otherwise. Takes time, and DRAM for the state of spans not used so far, in
 * the number of objects: some milliseconds a million. Errors: EINVAL (struct_size).
 * Thread-safe, no fence.
 */
PHEAP_API int pheap_get_space(pheap_t *heap, struct pheap_space *space);

/* The blocks of one size. */
struct pheap_class {
	uint64_t size;	  /* bytes of a block; 0: large objects, each of a size of its own */
	uint64_t slabs;	  /* or large objects, free ones in caches too */
	uint64_t bytes;	  /* of 64 KiB granules that these have */
	uint64_t objects; /* blocks published or reserved */
	uint64_t cached;  /* free blocks kept by caches, or waiting until records are settled */
	uint64_t unused;  /* free blocks of slabs */
	uint64_t taken;	  /* blocks that caches of threads took from slabs since open, */
	uint64_t given;	  /* and gave back: what comes and goes in a thread is in neither */
};

/*
 * As pheap_get_space(), by sizes: up to n of them go to classes, the smallest first and last
 * the large objects. Returns how many there are. They are counted from the states of the
 * blocks, so that an allocation pays nothing for it. classes may be NULL with n 0. Errors:
 * EINVAL. Thread-safe, no fence.
 */
PHEAP_API int pheap_get_classes(pheap_t *heap, struct pheap_class *classes, unsigned n);

#ifdef __cplusplus
}
#endif
#endif
