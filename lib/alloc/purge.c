/*
 * purge.c - give back what is kept for reuse.
 */
#include "large.h"
#include "slab.h"
#include "span.h"
#include "tcache.h"

#include "tx/lane.h"

PHEAP_API int pheap_purge(pheap_t *heap, unsigned flags)
{
	int err = ph_heap_writable(heap, "pheap_purge");
	struct ph_tcache *cache;

	if (!err && flags & ~(unsigned)PHEAP_PUNCH_HOLES)
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
	err = ph_heap_writable(heap, "pheap_purge");
	if (err || !(flags & PHEAP_PUNCH_HOLES))
		return err;
	/* Orders the deaths of spans just now before the loss of what was in them. */
	err = ph_checkpoint(heap);
	return err ? err : ph_zone_punch(heap);
}
