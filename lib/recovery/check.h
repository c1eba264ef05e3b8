/*
 * check.h - verify media. Knows nothing but the format: it reads size bytes at
 * base and the structures of layout.h, never the library's DRAM state.
 */
#ifndef PH_CHECK_H
#define PH_CHECK_H

#include <pheap/check.h>

/*
 * Verify the settled image of a pool: one without live records or undo entries,
 * or in which they have been applied. Every problem is reported to fn (may be
 * NULL) and counted in *result (not NULL; records and undo_entries are left
 * alone). Never crashes, whatever the bytes are; never writes. Returns 0 or
 * -EUCLEAN, or -ENOMEM.
 *
 * fd is the file that is mapped, or -1: it tells where blocks are allocated, so
 * that what describes long free runs can be verified without touching holes, which
 * would allocate memory for them. Without it long free runs are passed over.
 */
int ph_check_media(const char *base, uint64_t size, int fd, struct pheap_check_result *result,
		   pheap_problem_fn *fn, void *arg);

#endif
