/*
 * table.c - see table.h.
 */
#include "table.h"

#include <errno.h>
#include <string.h>

#define TABLE_MIN 1024u /* slots of the first array */

uint64_t table_hash(const char *key, size_t length)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)key[i]) * UINT64_C(0x100000001b3);
	/* Slots are chosen by the low bits, in which FNV mixes least. */
	return hash ^ hash >> 32;
}

struct entry *table_find(pheap_t *heap, const struct table *table, uint64_t hash, const char *key,
			 size_t length)
{
	const pheap_ref *slots = pheap_ptr(heap, table->slots);
	uint64_t mask = table->capacity - 1;

	if (!slots)
		return NULL;
	for (uint64_t i = hash & mask; slots[i]; i = (i + 1) & mask) {
		struct entry *entry = pheap_ptr(heap, slots[i]);

		if (entry->hash == hash && entry->length == length &&
		    !memcmp(entry_key(entry), key, length))
			return entry;
	}
	return NULL;
}

struct entry *table_next(pheap_t *heap, const struct table *table, uint64_t *at)
{
	const pheap_ref *slots = pheap_ptr(heap, table->slots);

	while (*at < table->capacity) {
		pheap_ref ref = slots[(*at)++];

		if (ref)
			return pheap_ptr(heap, ref);
	}
	return NULL;
}

/* Put all entries in an array that nobody else sees yet: plain stores. */
static void fill(pheap_t *heap, const struct table *table, pheap_ref *slots, uint64_t capacity)
{
	uint64_t mask = capacity - 1;
	struct entry *entry;
	uint64_t at = 0;

	while ((entry = table_next(heap, table, &at))) {
		uint64_t i = entry->hash & mask;

		while (slots[i])
			i = (i + 1) & mask;
		slots[i] = pheap_ref_of(heap, entry);
	}
}

static int move(pheap_t *heap, pheap_tx_t *tx, struct table *table, uint64_t capacity)
{
	pheap_ref *slots = pheap_tx_zalloc(tx, capacity * sizeof(*slots));
	int rc = 0;

	if (!slots)
		return -errno;
	fill(heap, table, slots, capacity);
	if (table->slots)
		rc = pheap_tx_free(tx, pheap_ptr(heap, table->slots));
	if (!rc)
		rc = pheap_tx_set(tx, &table->slots, pheap_ref_of(heap, slots));
	if (!rc)
		rc = pheap_tx_set(tx, &table->capacity, capacity);
	return rc;
}

int table_reserve(pheap_t *heap, struct table *table, uint64_t more)
{
	uint64_t capacity = table->capacity ? table->capacity : TABLE_MIN;
	pheap_tx_t *tx;
	int rc;

	while (table->used + more > capacity / 4 * 3)
		capacity *= 2;
	if (capacity == table->capacity)
		return 0;
	tx = pheap_tx_begin(heap);
	if (!tx)
		return -errno;
	rc = move(heap, tx, table, capacity);
	if (!rc)
		return pheap_tx_commit(tx);
	pheap_tx_abort(tx);
	return rc;
}

static int is_taken(const struct table_adder *adder, const pheap_ref *slot)
{
	for (size_t i = 0; i < adder->n; i++) {
		if (adder->taken[i] == slot)
			return 1;
	}
	return 0;
}

int table_add(struct table_adder *adder, struct entry *entry)
{
	pheap_ref *slots = pheap_ptr(adder->heap, adder->table->slots);
	uint64_t mask = adder->table->capacity - 1;
	uint64_t i = entry->hash & mask;

	while (slots[i] || is_taken(adder, &slots[i]))
		i = (i + 1) & mask;
	adder->taken[adder->n++] = &slots[i];
	return pheap_tx_set(adder->tx, &slots[i], pheap_ref_of(adder->heap, entry));
}

int table_add_end(struct table_adder *adder)
{
	if (adder->n == 0)
		return 0;
	return pheap_tx_set(adder->tx, &adder->table->used, adder->table->used + adder->n);
}
