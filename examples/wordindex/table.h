/*
 * table.h - a hash table in persistent memory: open addressing, linear probing.
 *
 * The array of slots holds references; a slot is null or refers to an entry, and
 * a key lies between its first slot and the next null one. Entries are never
 * removed. At most three quarters of the slots are used, so that probes end.
 *
 * Growing is one transaction with a record of three words, however large the
 * table: the new array is no one else's until commit and is filled in place.
 */
#ifndef TABLE_H
#define TABLE_H

#include <pheap.h>

/* What an object in a table begins with. */
struct entry {
	uint64_t hash;	 /* table_hash() of the key */
	uint32_t length; /* of the key in bytes */
	uint32_t key;	 /* where it is, in bytes from here */
};

struct table {
	uint64_t used;
	uint64_t capacity; /* slots: 0, or a power of two */
	pheap_ref slots;
};

/*
 * Entries that one transaction puts in a table. The transaction's writes are not
 * visible before its commit, so the slots that it has chosen are remembered here.
 */
#define TABLE_ADD_MAX 256
struct table_adder {
	pheap_t *heap;
	pheap_tx_t *tx;
	struct table *table;
	size_t n;
	pheap_ref *taken[TABLE_ADD_MAX];
};

static inline const char *entry_key(const struct entry *entry)
{
	return (const char *)entry + entry->key;
}

/* Part of the media format. */
uint64_t table_hash(const char *key, size_t length);

/* The entry with that key, or NULL. hash is table_hash() of it. */
struct entry *table_find(pheap_t *heap, const struct table *table, uint64_t hash, const char *key,
			 size_t length);

/* The entry at or behind slot *at, which moves behind it; NULL at the end. Begin with 0. */
struct entry *table_next(pheap_t *heap, const struct table *table, uint64_t *at);

/* Make room for more entries, in a transaction of its own. 0 or a negative code. */
int table_reserve(pheap_t *heap, struct table *table, uint64_t more);

/* Put an entry of the transaction's own in the table, which must have room for it. */
int table_add(struct table_adder *adder, struct entry *entry);

/* Last call before commit. */
int table_add_end(struct table_adder *adder);

#endif
