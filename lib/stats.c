/*
 * stats.c - counters of a heap, and the check of an open one.
 */
#include <pheap/check.h>
#include <pheap/stats.h>

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "cancel.h"
#include "heap.h"
#include "recovery/check.h"
#include "tx/tx.h"

PHEAP_API int pheap_get_stats(pheap_t *heap, struct pheap_stats *stats)
{
	int err = ph_heap_usable(heap, "pheap_get_stats");
	struct ph_count sum = {0};

	if (err)
		return err;
	if (!stats || stats->struct_size != sizeof(*stats))
		return ph_error(EINVAL,
				"pheap_get_stats: struct_size is not sizeof(struct pheap_stats)");
	ph_tcache_sum(heap, &sum);
	memset(stats, 0, sizeof(*stats));
	stats->struct_size = sizeof(*stats);
	stats->fences = sum.fences;
	stats->flushed_lines = sum.flushed_lines;
	stats->nt_lines = sum.nt_lines;
	stats->records = sum.records;
	stats->record_lines = sum.record_lines;
	stats->checkpoints = sum.checkpoints;
	stats->snapshots = sum.snapshots;
	ph_zone_stats(heap, stats);
	return 0;
}

/*
 * Media as it stands, with all records applied: settled first, so that what is
 * checked is what a clean close would leave. The read-only heap has no records.
 */
PHEAP_API int pheap_check(pheap_t *heap, struct pheap_check_result *result, pheap_problem_fn *fn,
			  void *arg)
{
	PH_NO_CANCEL; /* fn() may be anything */
	struct pheap_check_result own = {.struct_size = sizeof(own)};
	int err = ph_heap_usable(heap, "pheap_check");

	if (err)
		return err;
	if (result && result->struct_size != sizeof(*result))
		return ph_error(
			EINVAL,
			"pheap_check: struct_size is not sizeof(struct pheap_check_result)");
	if (ph_tx_open(heap))
		return ph_error(EBUSY, "pheap_check: a transaction is open: commit or abort it");
	err = ph_check_media(heap->view.base, heap->view.size, heap->file.fd, &own, fn, arg);
	if (result)
		*result = own;
	return err == -EUCLEAN ? ph_error(EUCLEAN, "pheap_check: %llu problems",
					  (unsigned long long)own.problems)
			       : err;
}
