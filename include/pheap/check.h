/*
 * pheap/check.h - verify a pool against the invariants of its format.
 *
 * The invariants are numbered in docs/format.md; each problem names the one
 * that does not hold.
 */
#ifndef PHEAP_CHECK_H
#define PHEAP_CHECK_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pheap_problem {
	const char *invariant; /* its number, "B2" for instance */
	uint64_t offset;       /* where in the pool, in bytes */
	const char *message;   /* what is wrong; valid during the call only */
};

/* Called once a problem, in the thread that runs the check. It must return, and call
 * nothing on the heap. */
typedef void pheap_problem_fn(void *arg, const struct pheap_problem *problem);

struct pheap_check_result {
	size_t struct_size; /* in: sizeof(struct pheap_check_result) */
	uint64_t problems;
	uint64_t objects;      /* published; 0 where a traced heap is open for writing: which
				* they are is not on media then */
	uint64_t object_bytes; /* in their blocks */
	uint64_t slabs;
	uint64_t large_objects;
	uint64_t free_granules;
	uint64_t used_granules;
	uint64_t records;      /* unsettled redo records that an open would replay */
	uint64_t undo_entries; /* live undo entries that an open would roll back */
};

/*
 * Verify the pool of an open heap: every structure, and that they agree. Other
 * threads must not use the heap meanwhile; open transactions are EBUSY. result
 * and fn may be NULL. Returns 0 where nothing is wrong, -EUCLEAN where something
 * is. Writes nothing.
 */
PHEAP_API int pheap_check(pheap_t *heap, struct pheap_check_result *result, pheap_problem_fn *fn,
			  void *arg);

/*
 * Verify a pool file without opening it for use. Reports what would make open
 * refuse it as problems too. A pool that was not closed cleanly is verified as
 * recovery would leave it; the file is not written. Returns 0, -EUCLEAN, or an
 * error that kept it from reading the file at all (as pheap_open).
 */
PHEAP_API int pheap_check_file(const char *path, struct pheap_check_result *result,
			       pheap_problem_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
