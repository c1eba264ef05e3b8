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

/* A node, and what the way down from it needs. */
struct node {
	uint32_t d, i;	 /* depth, and which of the nodes there */
	uint32_t parent; /* depth of the parents of its line's row */
	uint32_t last;	 /* depth of the lowest nodes in that row */
	uint64_t row;	 /* lines before the row */
	uint64_t at;	 /* of its byte */
};

static struct node root_of(const struct ph_tree *tree)
{
	return (struct node){.last = first_depths(tree->levels), .at = 1};
}

/* The lower child. The byte behind its own is the upper one's. */
static struct node child(struct node node)
{
	if (node.d < node.last) {
		node.at += node.at % PM_LINE; /* byte 2b of the line */
	} else {
		node.row += UINT64_C(1) << node.parent;
		node.parent = node.last;
		node.last += PM_TREE_DEPTHS;
		node.at = (node.row + node.i) * PM_LINE + 2;
	}
	node.d++;
	node.i *= 2;
	return node;
}

static struct node upper(struct node node)
{
	node.i++;
	node.at++;
	return node;
}

static uint8_t free_value(const struct ph_tree *tree, uint32_t d)
{
	return (uint8_t)(tree->levels - d + 1);
}

/* Media is input: a value that no node can have counts as taken. */
static uint8_t get(const struct ph_tree *tree, const struct node *node)
{
	uint8_t value = tree->get(tree->arg, node->at);

	return value <= free_value(tree, node->d) ? value : 0;
}

uint8_t ph_tree_root(const struct ph_tree *tree)
{
	struct node root = root_of(tree);

	return get(tree, &root);
}

bool ph_tree_find(const struct ph_tree *tree, uint32_t order, uint32_t *granule)
{
	struct node node = root_of(tree), other;
	uint8_t value = get(tree, &node), low, high;

	if (value < order + 1)
		return false;
	while (value != free_value(tree, node.d)) {
		/* Media may be damaged: never descend below the leaves. */
		if (node.d == tree->levels)
			return false;
		node = child(node);
		other = upper(node);
		low = get(tree, &node);
		high = get(tree, &other);
		/* The tighter child that is large enough; the lower one if equal. */
		if (low >= order + 1 && (low <= high || high < order + 1)) {
			value = low;
		} else if (high >= order + 1) {
			node = other;
			value = high;
		} else {
			return false;
		}
	}
	*granule = node.i << (tree->levels - node.d);
	return true;
}

/*
 * Make [lo, hi) free or taken below a node that has this value, and is not stored here:
 * returns the value that it has then. The granules that a node stands for are
 * [first, first + 2^(levels-d)).
 */
static uint8_t assign(const struct ph_tree *tree, struct node node, uint8_t value, uint64_t lo,
		      uint64_t hi, bool free)
{
	uint64_t size = UINT64_C(1) << (tree->levels - node.d), first = node.i * size;
	uint8_t whole = free_value(tree, node.d), target = free ? whole : 0;
	uint8_t low, high, was_low, was_high;
	struct node left, right;
	bool uniform = value == 0 || value == whole;

	if (value == target || (lo <= first && first + size <= hi))
		return target;
	left = child(node);
	right = upper(left);
	/* B2: a uniform node is divided, whatever its children were. */
	was_low = uniform ? (value ? whole - 1 : 0) : get(tree, &left);
	was_high = uniform ? was_low : get(tree, &right);
	low = lo < first + size / 2 ? assign(tree, left, was_low, lo, hi, free) : was_low;
	high = hi > first + size / 2 ? assign(tree, right, was_high, lo, hi, free) : was_high;
	/* B3 */
	value = low > high ? low : high;
	if (low == whole - 1 && high == whole - 1)
		value = whole;
	if (value == 0 || value == whole)
		return value; /* B2: the children have no meaning */
	if (uniform || low != was_low)
		tree->set(tree->arg, left.at, low);
	if (uniform || high != was_high)
		tree->set(tree->arg, right.at, high);
	return value;
}

void ph_tree_assign(const struct ph_tree *tree, uint32_t granule, uint32_t n, bool free)
{
	struct node root = root_of(tree);
	uint8_t was = get(tree, &root), value;

	if (!n)
		return;
	value = assign(tree, root, was, granule, (uint64_t)granule + n, free);
	if (value != was)
		tree->set(tree->arg, root.at, value);
}

/* The uniform node above a granule: its value; its size goes to *size. */
static uint8_t uniform_above(const struct ph_tree *tree, uint32_t granule, uint64_t *size)
{
	struct node node = root_of(tree);

	for (;;) {
		uint8_t value = get(tree, &node);
		uint32_t below = tree->levels - node.d;

		if (value == 0 || value == free_value(tree, node.d) || !below) {
			*size = UINT64_C(1) << below;
			return value;
		}
		node = child(node);
		if (granule >> (below - 1) & 1)
			node = upper(node);
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
