/*
 * purge.c - give back what is kept for reuse.
 */
#include "large.h"
#include "slab.h"
#include "tcache.h"

#include "tx/lane.h"

PHEAP_API int pheap_purge(pheap_t *heap, unsigned flags)
{
	int err = ph_heap_writable(heap, "pheap_purge");
	struct ph_tcache *cache;

	if (!err && flags)
		err = ph_error(EINVAL, "pheap_purge: unknown flags %#x", flags);
	if (err)
		return err;
	cache = ph_tcache_get(heap);
	if (!cache)
		return -errno;
	/* Settled first, so that nothing stays in limbo. */
	err = ph_checkpoint(heap);
	if (err)
		return err;
	ph_tcache_flush(cache);
	ph_large_trim(heap);
	ph_slab_trim(heap);
	return ph_heap_writable(heap, "pheap_purge");
}
