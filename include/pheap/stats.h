/*
 * pheap/stats.h - counters of an open heap. Always on.
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
	uint64_t snapshots; /* ranges saved in undo logs */

	/* At this moment. */
	uint64_t granules;	 /* of 64 KiB, for data */
	uint64_t granules_free;	 /* in no span */
	uint64_t granules_slab;	 /* in slabs, whose DRAM state is loaded */
	uint64_t granules_large; /* in large objects, likewise */
	uint64_t largest_free;	 /* bytes of the largest object that fits now */
};

/*
 * Add up the counters. Exact when no other thread is in a call on the heap, a
 * little behind otherwise. Errors: EINVAL (struct_size). Thread-safe, no fence.
 */
PHEAP_API int pheap_get_stats(pheap_t *heap, struct pheap_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
