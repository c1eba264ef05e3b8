/*
 * pool.h - heaps on memory that somebody else has mapped: what the crash
 * simulator, the checker and the tests use besides pheap_create and pheap_open.
 */
#ifndef PH_POOL_H
#define PH_POOL_H

#include <pheap.h>

#include "persist.h"

/*
 * Create, or open and recover, a pool in size bytes of memory at base, page
 * aligned. No file, no lock, no allocation of blocks. With a hook every store,
 * flush and fence goes through it (PH_HOOK, or with PHEAP_PROCESS PH_HOOK_NONE; the
 * default is PHEAP_POWER); without one the back end is PH_NONE. opts as for pheap_create
 * and pheap_open; of its flags only these count: PHEAP_READONLY (which still replays into
 * the memory, the caller's private copy then), PHEAP_CHECK_FIRST, and PHEAP_FORCE_MSYNC:
 * the hook flushes whole pages. Memory to create a pool in is zero.
 */
pheap_t *ph_pool_create_on(void *base, uint64_t size, const struct pheap_options *opts,
			   const struct ph_hook *hook, void *hook_arg);
pheap_t *ph_pool_open_on(void *base, uint64_t size, const struct pheap_options *opts,
			 const struct ph_hook *hook, void *hook_arg);

/*
 * Let go of a heap as a crash would: media is not touched, DRAM is released, the
 * file is closed. Open transactions are forgotten.
 */
void ph_pool_abandon(pheap_t *heap);

#endif
