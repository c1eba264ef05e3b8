/*
 * tx.h - the DRAM side of an open transaction.
 */
#ifndef PH_TX_H
#define PH_TX_H

#include "alloc/span.h"
#include "heap.h"
#include "undo.h"

/* An object that commit publishes (state TX) or frees (state DYING). */
struct ph_tx_object {
	struct ph_object object;
	bool dies;
};

struct pheap_tx {
	struct pheap *heap;
	struct pheap_tx *next, *prev; /* heap.txs; heap.tx_lock */
	struct ph_undo undo;
	struct ph_tx_object *objects;
	uint32_t nobjects, objects_cap;
	/* Redo writes: {slab or NULL, offset, length}, then data padded to 8. */
	uint64_t *writes;
	uint32_t nwrites, writes_cap;
};

/* Drop the DRAM side of a transaction, as a crash would. */
void ph_tx_forget(struct pheap_tx *tx);

#endif
