/*
 * buddy.c - the free-space tree. What it is, and its invariants, are in buddy.h;
 * where its bytes lie is in layout.h.
 */
#include "buddy.h"

#include "layout.h"

/* ---- shape ---------------------------------------------------------------- */

uint32_t ph_tree_levels(uint32_t granules)
{
	uint32_t order = ph_order_of(granules);

	return order ? order : 1; /* so that there is a first line with nodes in it */
}

/* Depths in the first row; the rows below have PM_TREE_DEPTHS each. */
static uint32_t first_depths(uint32_t levels)
{
	return (levels - 1) % PM_TREE_DEPTHS + 1;
}

uint64_t ph_tree_bytes(uint32_t levels)
{
	uint64_t lines = 1;

	for (uint32_t d = first_depths(levels); d < levels; d += PM_TREE_DEPTHS)
		lines += UINT64_C(1) << d;
	return lines * PM_LINE;
}

uint64_t ph_tree_at(uint32_t levels, uint32_t d, uint32_t i)
{
	uint32_t parent = 0, below = first_depths(levels), inside;
	uint64_t row = 0;

	if (d == 0)
		return 1; /* byte 1 of the first line */
	while (d > below) {
		row += UINT64_C(1) << parent;
		parent = below;
		below += PM_TREE_DEPTHS;
	}
	inside = d - parent;
	return (row + (i >> inside)) * PM_LINE +
	       (UINT64_C(1) << inside | (i & ((1u << inside) - 1)));
}

/* ---- nodes ------------------------------------------------------------------ */

static uint8_t free_value(const struct ph_tree *tree, uint32_t d)
{
	return (uint8_t)(tree->levels - d + 1);
}

/* Media is input: a value that no node can have counts as taken. */
static uint8_t get(const struct ph_tree *tree, uint32_t d, uint32_t i)
{
	uint8_t value = tree->get(tree->arg, ph_tree_at(tree->levels, d, i));

	return value <= free_value(tree, d) ? value : 0;
}

static void set(const struct ph_tree *tree, uint32_t d, uint32_t i, uint8_t value)
{
	tree->set(tree->arg, ph_tree_at(tree->levels, d, i), value);
}

uint8_t ph_tree_root(const struct ph_tree *tree)
{
	return get(tree, 0, 0);
}

bool ph_tree_find(const struct ph_tree *tree, uint32_t order, uint32_t *granule)
{
	uint32_t d = 0, i = 0;
	uint8_t value = get(tree, 0, 0);

	if (value < order + 1)
		return false;
	while (value != free_value(tree, d)) {
		uint8_t low, high;

		/* Media may be damaged: never descend below the leaves. */
		if (d == tree->levels)
			return false;
		low = get(tree, d + 1, 2 * i);
		high = get(tree, d + 1, 2 * i + 1);
		d++;
		/* The tighter child that is large enough; the lower one if equal. */
		if (low >= order + 1 && (low <= high || high < order + 1)) {
			i = 2 * i;
			value = low;
		} else if (high >= order + 1) {
			i = 2 * i + 1;
			value = high;
		} else {
			return false;
		}
	}
	*granule = i << (tree->levels - d);
	return true;
}

/* Node i at depth d stands for [first, first + 2^(levels-d)); [lo, hi) changes. */
static void assign(const struct ph_tree *tree, uint32_t d, uint32_t i, uint64_t lo, uint64_t hi,
		   bool free)
{
	uint64_t size = UINT64_C(1) << (tree->levels - d), first = i * size;
	uint8_t value, low, high, whole = free_value(tree, d);

	value = get(tree, d, i);
	if (value == (free ? whole : 0))
		return;
	if (lo <= first && first + size <= hi) {
		set(tree, d, i, free ? whole : 0);
		return;
	}
	if (value == 0 || value == whole) { /* B2: divide a uniform node */
		uint8_t half = value ? (uint8_t)(whole - 1) : 0;

		set(tree, d + 1, 2 * i, half);
		set(tree, d + 1, 2 * i + 1, half);
	}
	if (lo < first + size / 2)
		assign(tree, d + 1, 2 * i, lo, hi, free);
	if (hi > first + size / 2)
		assign(tree, d + 1, 2 * i + 1, lo, hi, free);
	low = get(tree, d + 1, 2 * i);
	high = get(tree, d + 1, 2 * i + 1);
	/* B3 */
	if (low == whole - 1 && high == whole - 1)
		set(tree, d, i, whole);
	else
		set(tree, d, i, low > high ? low : high);
}

void ph_tree_assign(const struct ph_tree *tree, uint32_t granule, uint32_t n, bool free)
{
	if (n)
		assign(tree, 0, 0, granule, (uint64_t)granule + n, free);
}

/* The uniform node above a granule: its value; its size goes to *size. */
static uint8_t uniform_above(const struct ph_tree *tree, uint32_t granule, uint64_t *size)
{
	uint32_t d = 0;

	for (;; d++) {
		uint8_t value = get(tree, d, granule >> (tree->levels - d));

		if (value == 0 || value == free_value(tree, d) || d == tree->levels) {
			*size = UINT64_C(1) << (tree->levels - d);
			return value;
		}
	}
}

bool ph_tree_taken(const struct ph_tree *tree, uint32_t granule)
{
	uint64_t size;

	return uniform_above(tree, granule, &size) == 0;
}

/* The first granule from g on that is free, or is not. */
static uint32_t next(const struct ph_tree *tree, uint32_t g, bool free)
{
	uint64_t at = g, end = UINT64_C(1) << tree->levels, size;

	while (at < end && (uniform_above(tree, (uint32_t)at, &size) != 0) != free)
		at = (at & ~(size - 1)) + size;
	return (uint32_t)at;
}

uint32_t ph_tree_next_taken(const struct ph_tree *tree, uint32_t g)
{
	return next(tree, g, false);
}

uint32_t ph_tree_next_free(const struct ph_tree *tree, uint32_t g)
{
	return next(tree, g, true);
}

bool ph_tree_all_taken(const struct ph_tree *tree, uint32_t granule, uint32_t n)
{
	uint64_t at = granule, end = at + n, size;

	for (; at < end; at = (at & ~(size - 1)) + size)
		if (uniform_above(tree, (uint32_t)at, &size) != 0)
			return false;
	return true;
}

uint64_t ph_tree_count_free(const struct ph_tree *tree)
{
	uint64_t at = 0, end = UINT64_C(1) << tree->levels, size, n = 0;

	for (; at < end; at = (at & ~(size - 1)) + size)
		if (uniform_above(tree, (uint32_t)at, &size) != 0)
			n += size;
	return n;
}
