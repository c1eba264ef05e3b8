/*
 * direct.c - the caller's own stores made durable: pheap_persist and its kin.
 *
 * Each settles the range first (lane.h): a live record that wrote into it would
 * otherwise undo the caller's bytes at replay.
 */
#include <pheap.h>

#include "alloc/tcache.h"
#include "lane.h"
#include "reclaim/young.h"
#include "target.h"

/* The caller's cache, and the range settled; NULL with the code in *err. */
static struct ph_tcache *prepare(struct pheap *heap, const char *what, const void *addr,
				 size_t length, int *err)
{
	struct ph_target target;
	struct ph_tcache *cache;

	*err = ph_heap_writable(heap, what);
	if (!*err && length)
		*err = ph_target_find(heap, what, addr, length, &target);
	if (*err)
		return NULL;
	cache = ph_tcache_get(heap);
	if (!cache)
		*err = -errno;
	else if (length && ph_logs(&heap->pm))
		*err = ph_settle_range(heap, target.offset, length, false);
	if (!*err && length && ph_unlikely(__atomic_load_n(&heap->logs_young, __ATOMIC_RELAXED)))
		ph_young_log_range(heap, target.offset, length);
	return *err ? NULL : cache;
}

PHEAP_API int pheap_flush(pheap_t *heap, const void *addr, size_t length)
{
	int err;
	struct ph_tcache *cache = prepare(heap, "pheap_flush", addr, length, &err);

	if (cache)
		ph_flush(&heap->pm, &cache->count, addr, length);
	return err;
}

PHEAP_API int pheap_drain(pheap_t *heap)
{
	int err;
	struct ph_tcache *cache = prepare(heap, "pheap_drain", NULL, 0, &err);

	if (cache && ph_fence(&heap->pm, &cache->count))
		err = ph_error(EIO, "pheap_drain: a write-back failed: what is durable is unknown; "
				    "the heap is read-only now");
	return err;
}

PHEAP_API int pheap_persist(pheap_t *heap, const void *addr, size_t length)
{
	int err;

	if (heap && !length)
		return 0;
	err = pheap_flush(heap, addr, length);
	return err ? err : pheap_drain(heap);
}

PHEAP_API int pheap_memcpy(pheap_t *heap, void *dst, const void *src, size_t length)
{
	int err;
	struct ph_tcache *cache = prepare(heap, "pheap_memcpy", dst, length, &err);

	if (!cache || !length)
		return err;
	/* Non-temporal where it pays: whole words, and more than a few lines. */
	if (length >= 4 * PM_LINE && !((uintptr_t)dst % 8) && !(length % 8)) {
		ph_copy_nt(&heap->pm, &cache->count, dst, src, length);
	} else {
		ph_store(&heap->pm, dst, src, length);
		ph_flush(&heap->pm, &cache->count, dst, length);
	}
	return 0;
}
