/*
 * tx.h - the DRAM side of an open transaction.
 */
#ifndef PH_TX_H
#define PH_TX_H

#include "alloc/span.h"
#include "heap.h"
#include "target.h"
#include "undo.h"

struct ph_counting;
struct ph_rec;

/* An object that commit publishes (state TX) or frees (state DYING). */
struct ph_tx_object {
	struct ph_object object;
	uint32_t words; /* of entries that it takes at most */
	bool dies;
};

/* A slot in which commit changes a counted reference. */
struct ph_tx_link {
	struct ph_target slot;
	uint64_t ref, old; /* old: when the record was built */
};

struct pheap_tx {
	struct pheap *heap;
	bool open;		/* between begin and end: handles are used again */
	bool joined;		/* begun by a thread that had joined collections; atomic */
	struct pheap_tx *next;	/* heap.txs */
	uint32_t id;		/* there, from its first snapshot on; 0: not yet */
	uint32_t base;		/* of its marks; 0: they are PH_MARK_MANY */
	struct pheap_tx *spare; /* next unused handle */
	struct pheap_tx *older; /* heap.tx_newest */
	struct ph_undo undo;
	struct ph_tx_object *objects;
	uint32_t nobjects, objects_cap;
	/* Redo writes: {slab or NULL, offset, length}, then data padded to 8. */
	uint64_t *writes;
	uint32_t nwrites, writes_cap;
	struct ph_tx_link *links;
	uint32_t nlinks, links_cap;
	bool counts;	/* there are new objects with counts, or links */
	uint32_t roots; /* at most so many of them write to roots */
	/* What the record may take at most, and the span for it beyond a ring. */
	uint64_t words;
	struct ph_slab *extension;
};

/* May the transaction go on? `what` begins the message. */
int ph_tx_usable(const struct pheap_tx *tx, const char *what);

/* Its own new object that begins at start; NULL: another's, and the error for that. */
struct ph_tx_object *ph_tx_find_own(struct pheap_tx *tx, uint64_t start);
int ph_tx_not_own(const char *what);

/* Make sure that commit finds room for so many entry words more. */
int ph_tx_reserve_words(struct pheap_tx *tx, uint64_t more);

/* A count's word, and, where the object dies, its bit and the head of the chain. */
#define PH_TX_COUNT_WORDS 6u

/* What new objects and links do to counts, and the links: in the record; under stripes and
 * lane, -EAGAIN: others have changed a slot or a count; before the commit. */
int ph_tx_build_counts(struct ph_rec *rec, struct pheap_tx *tx, struct ph_counting *counting);
int ph_tx_verify_counts(const struct pheap_tx *tx, struct ph_counting *counting);
void ph_tx_count_states(const struct pheap_tx *tx, struct ph_counting *counting);

/* What the transaction owns is its caller's again, as before it was adopted. */
void ph_tx_disown(struct pheap_tx *tx);

/* Is a transaction open? Exact when no other thread is in a call on the heap. */
bool ph_tx_open(struct pheap *heap);

/* The unused handles of a thread that ends go to the heap. */
void ph_tx_hand_over(struct ph_tcache *cache);

/* Free all handles, open ones too: the heap goes away. */
void ph_tx_delete_all(struct pheap *heap);

#endif
