/*
 * snapshot.c - the public side of snapshots: check the ranges that a transaction is going
 * to change in place. Saving them is undo.c's.
 */
#include <stdlib.h>

#include "alloc/traced.h"
#include "target.h"
#include "tx.h"

/* Check a range; true in *needed where it is to be saved. */
static int check_range(struct pheap_tx *tx, const struct pheap_range *range, struct ph_range *out,
		       bool *needed)
{
	struct ph_target target;
	int err = 0;

	*needed = false;
	if (!range->length)
		return 0;
	err = ph_target_find(tx->heap, "pheap_tx_snapshot", range->addr, range->length, &target);
	if (!err && target.place == PH_IN_RESERVED)
		err = ph_error(EINVAL,
			       "pheap_tx_snapshot: %p lies in a reserved object, which needs none",
			       range->addr);
	if (!err && target.place == PH_IN_TX && !ph_tx_find_own(tx, target.object.start))
		err = ph_tx_not_own("pheap_tx_snapshot");
	if (err)
		return err;
	*out = (struct ph_range){target.offset, target.offset + range->length};
	*needed = target.place != PH_IN_TX && !ph_ranges_cover(&tx->undo.saved, out->lo, out->hi);
	if (*needed && target.place == PH_IN_PUBLISHED)
		ph_traced_log(&target.object);
	return 0;
}

PHEAP_API int pheap_tx_snapshotv(pheap_tx_t *tx, const struct pheap_range *ranges, size_t n)
{
	struct ph_range few[16], *list = few;
	uint32_t kept = 0;
	int err = ph_tx_usable(tx, "pheap_tx_snapshot");

	if (err || !n)
		return err;
	if (!ranges || n > UINT32_MAX / sizeof(*list))
		return ph_error(EINVAL, "pheap_tx_snapshotv: %zu ranges at %p", n,
				(const void *)ranges);
	if (n > sizeof(few) / sizeof(few[0]) && !(list = malloc(n * sizeof(*list))))
		return ph_error(ENOMEM, "no memory for %zu ranges", n);
	for (size_t i = 0; i < n && !err; i++) {
		bool needed;

		err = check_range(tx, &ranges[i], &list[kept], &needed);
		kept += !err && needed;
	}
	if (!err && kept)
		err = ph_undo_save(tx, list, kept);
	if (list != few)
		free(list);
	return err;
}

PHEAP_API int pheap_tx_snapshot(pheap_tx_t *tx, void *addr, size_t length)
{
	struct pheap_range range = {addr, length};

	return pheap_tx_snapshotv(tx, &range, 1);
}
