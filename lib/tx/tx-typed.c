/*
 * tx-typed.c - objects of types in transactions: reserved, and with their references counted
 * at commit. See tx.h and count.h.
 */
#include "tx.h"

#include <stdlib.h>

#include <pheap/count.h>
#include <pheap/tx.h>

#include "count.h"
#include "types.h"

/* ---- reserve --------------------------------------------------------------------------- */

static void *adopt_typed(struct pheap_tx *tx, const pheap_type_t *type, void *ptr)
{
	int err = ptr ? pheap_tx_adopt(tx, ptr) : 0;

	if (!err)
		return ptr;
	pheap_free(type->heap, ptr);
	return ph_null_code(err);
}

static int usable_with(const struct pheap_tx *tx, const char *what, const pheap_type_t *type)
{
	int err = ph_tx_usable(tx, what);

	if (!err && (!type || type->heap != tx->heap))
		err = ph_error(EINVAL, "%s: the type is NULL, or another heap's", what);
	return err;
}

PHEAP_API void *pheap_tx_alloc_typed(pheap_tx_t *tx, pheap_type_t *type)
{
	const char *what = "pheap_tx_alloc_typed";
	int err = usable_with(tx, what, type);

	return err ? ph_null_code(err) : adopt_typed(tx, type, pheap_alloc_typed(type));
}

PHEAP_API void *pheap_tx_alloc_array(pheap_tx_t *tx, pheap_type_t *type, size_t n)
{
	const char *what = "pheap_tx_alloc_array";
	int err = usable_with(tx, what, type);

	return err ? ph_null_code(err) : adopt_typed(tx, type, pheap_alloc_array(type, n));
}

/* ---- links ------------------------------------------------------------------------------- */

/* May commit link it? One of the transaction's own, or a published one. */
static int find_counted(struct pheap_tx *tx, uint64_t ref)
{
	struct ph_object object;

	if (!ref || (ph_object_find(tx->heap, ref, &object) && object.start == ref &&
		     ph_is_counted(&object) &&
		     (ph_state(&object) == PH_PUBLISHED ||
		      (ph_state(&object) == PH_TX && ph_tx_find_own(tx, ref)))))
		return 0;
	return ph_error(EINVAL,
			"pheap_tx_link: %#llx is no reference to an object that is counted, and "
			"published or this transaction's",
			(unsigned long long)ref);
}

/* One link a slot: the last one counts. */
static int add_link(struct pheap_tx *tx, const struct ph_target *slot, uint64_t ref)
{
	struct ph_tx_link *link;
	int err;

	for (uint32_t i = tx->nlinks; i--;)
		if (tx->links[i].slot.offset == slot->offset) {
			tx->links[i].ref = ref;
			return 0;
		}
	if (tx->nlinks == tx->links_cap) {
		uint32_t cap = tx->links_cap ? 2 * tx->links_cap : 8;

		link = realloc(tx->links, cap * sizeof(*link));
		if (!link)
			return ph_error(ENOMEM, "no memory for a transaction's links");
		tx->links = link;
		tx->links_cap = cap;
	}
	if ((err = ph_tx_reserve_words(tx, 2 + 2 * PH_TX_COUNT_WORDS)))
		return err;
	tx->links[tx->nlinks++] = (struct ph_tx_link){.slot = *slot, .ref = ref};
	tx->counts = true;
	return 0;
}

PHEAP_API int pheap_tx_link(pheap_tx_t *tx, pheap_ref *slot, pheap_ref ref)
{
	const char *what = "pheap_tx_link";
	struct ph_target target;
	int err = ph_tx_usable(tx, what);

	if (!err)
		err = ph_word_find(tx->heap, what, slot, &target);
	if (!err)
		err = find_counted(tx, ref);
	if (!err)
		err = ph_count_slot(tx->heap, what, &target, false);
	if (err)
		return err;
	if (target.place != PH_IN_TX && target.place != PH_IN_RESERVED)
		return add_link(tx, &target, ref);
	if (!ph_tx_find_own(tx, target.object.start))
		return ph_tx_not_own(what);
	*slot = ref; /* counted with the rest of its content */
	return 0;
}

/* ---- at commit ----------------------------------------------------------------------------- */

static uint64_t load_slot(const struct pheap_tx *tx, const struct ph_tx_link *link)
{
	return __atomic_load_n((const uint64_t *)(const void *)ph_at(tx->heap, link->slot.offset),
			       __ATOMIC_ACQUIRE);
}

int ph_tx_build_counts(struct ph_rec *rec, struct pheap_tx *tx, struct ph_counting *counting)
{
	int err = 0;

	for (uint32_t i = 0; i < tx->nobjects && !err; i++)
		if (!tx->objects[i].dies && ph_is_counted(&tx->objects[i].object))
			err = ph_counting_born(counting, &tx->objects[i].object);
	for (uint32_t i = 0; i < tx->nobjects && !err; i++)
		if (!tx->objects[i].dies && ph_is_counted(&tx->objects[i].object))
			err = ph_counting_content(counting, &tx->objects[i].object);
	for (uint32_t i = 0; i < tx->nlinks && !err; i++) {
		struct ph_tx_link *link = &tx->links[i];

		link->old = load_slot(tx, link);
		if (link->ref)
			err = ph_counting_add(counting, link->ref, 1, 0);
		if (link->old && !err)
			err = ph_counting_add(counting, link->old, -1, 0);
		ph_count_cover(rec, &link->slot);
	}
	if (!err)
		err = ph_counting_build(counting);
	for (uint32_t i = 0; i < tx->nlinks && !err; i++)
		ph_rec_word(rec, tx->links[i].slot.offset, tx->links[i].ref);
	return err;
}

int ph_tx_verify_counts(const struct pheap_tx *tx, struct ph_counting *counting)
{
	int err = 0;

	for (uint32_t i = 0; i < tx->nlinks && !err; i++) {
		const struct ph_tx_link *link = &tx->links[i];

		if (load_slot(tx, link) != link->old)
			return -EAGAIN;
		if (link->slot.place == PH_IN_ROOT && !ph_root_exists(tx->heap, link->slot.offset))
			return ph_error(EINVAL,
					"pheap_tx_commit: a root that is written to was dropped");
		err = ph_count_alive(tx->heap, &link->slot);
	}
	return err ? err : ph_counting_settle(counting);
}

void ph_tx_count_states(const struct pheap_tx *tx, struct ph_counting *counting)
{
	for (uint32_t i = 0; i < tx->nlinks; i++)
		if (tx->links[i].slot.place != PH_IN_ROOT)
			ph_touch(tx->heap, tx->links[i].slot.object.slab);
	ph_counting_states(counting);
}
