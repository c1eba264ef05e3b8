/*
 * buddy.h - the free-space tree of a zone: which granules are free.
 *
 * One algorithm over two trees of the same shape: the one on media, which knows
 * what is published and is changed through redo records, and the overlay in
 * DRAM, which knows reservations too and is what decides.
 *
 * INVARIANTS (of a tree; f(d) = levels - d + 1 is the value of a free node)
 *   B1  A node is 0 where nothing below it is free, else 1 + the order of the
 *       largest free, naturally aligned block below it.
 *   B2  A node of value 0 or f(d) is uniform: all taken, or all free. What lies
 *       below it has no meaning, and is written when the node is first divided.
 *   B3  A node that is not uniform: f(d) cannot occur, and its value is the
 *       larger of its children's. Two free children make it uniform: buddies
 *       merge by themselves, and splitting is nothing but dividing a node.
 *   B4  Granules from zone.granules to 2^levels are taken for ever.
 *
 * B2 is why a new zone needs a handful of bytes whatever its size, and why a
 * span of any length costs the two paths of its ends.
 *
 * PROTOCOL: the media tree changes only by WORD entries, after-images of whole
 * words, in the record that makes or ends a span. Replay copies them; it never
 * computes a node. LOCKS: zone.lock for both trees.
 */
#ifndef PH_BUDDY_H
#define PH_BUDDY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A tree: its shape, and how a byte of it is read and written. at is an offset
 * from the start of the tree.
 */
struct ph_tree {
	uint32_t levels;
	uint8_t (*get)(void *arg, uint64_t at);
	void (*set)(void *arg, uint64_t at, uint8_t value);
	void *arg;
};

/* Levels for so many granules, and bytes of a tree of so many levels. */
uint32_t ph_tree_levels(uint32_t granules);
uint64_t ph_tree_bytes(uint32_t levels);

/* Where node i at depth d lies. */
uint64_t ph_tree_at(uint32_t levels, uint32_t d, uint32_t i);

/*
 * The lowest free block of 2^order granules in the part of the tree that fits it
 * best. False where there is none.
 */
bool ph_tree_find(const struct ph_tree *tree, uint32_t order, uint32_t *granule);

/* Mark granules as free or taken. */
void ph_tree_assign(const struct ph_tree *tree, uint32_t granule, uint32_t n, bool free);

bool ph_tree_taken(const struct ph_tree *tree, uint32_t granule);

/* The first taken granule from g on; 2^levels where there is none. */
uint32_t ph_tree_next_taken(const struct ph_tree *tree, uint32_t g);

/* The first free granule from g on, likewise. */
uint32_t ph_tree_next_free(const struct ph_tree *tree, uint32_t g);

/* Are all of n granules taken? */
bool ph_tree_all_taken(const struct ph_tree *tree, uint32_t granule, uint32_t n);

/* Granules that are free. */
uint64_t ph_tree_count_free(const struct ph_tree *tree);

/* Value of the root: 1 + the order of the largest free block, or 0. */
uint8_t ph_tree_root(const struct ph_tree *tree);

/* Orders of a block that holds n granules. */
static inline uint32_t ph_order_of(uint32_t n)
{
	return n <= 1 ? 0 : 32u - (uint32_t)__builtin_clz(n - 1);
}

#endif
