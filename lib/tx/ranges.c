/*
 * ranges.c - a sorted array of ranges; see ranges.h.
 */
#include "ranges.h"

#include <stdlib.h>
#include <string.h>

/* The first range that ends behind lo. */
static uint32_t find(const struct ph_ranges *set, uint64_t lo)
{
	uint32_t first = 0, n = set->n;

	if (!n || set->v[n - 1].hi <= lo) /* ranges often come in order */
		return n;
	while (n) {
		uint32_t half = n / 2;

		if (set->v[first + half].hi <= lo) {
			first += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return first;
}

bool ph_ranges_cover(const struct ph_ranges *set, uint64_t lo, uint64_t hi)
{
	uint32_t i = find(set, lo);

	return i < set->n && set->v[i].lo <= lo && hi <= set->v[i].hi;
}

bool ph_ranges_overlap(const struct ph_ranges *set, uint64_t lo, uint64_t hi)
{
	uint32_t i = find(set, lo);

	return i < set->n && set->v[i].lo < hi;
}

bool ph_ranges_reserve(struct ph_ranges *set, uint32_t more)
{
	uint32_t cap = set->cap ? set->cap : 8;
	struct ph_range *v;

	if (set->n + more <= set->cap)
		return true;
	while (cap < set->n + more)
		cap *= 2;
	v = realloc(set->v, cap * sizeof(*v));
	if (!v)
		return false;
	set->v = v;
	set->cap = cap;
	return true;
}

void ph_ranges_add(struct ph_ranges *set, uint64_t lo, uint64_t hi)
{
	uint32_t i = find(set, lo), j;

	if (i && set->v[i - 1].hi == lo) /* the range before is adjacent */
		i--;
	for (j = i; j < set->n && set->v[j].lo <= hi; j++) {
		lo = set->v[j].lo < lo ? set->v[j].lo : lo;
		hi = set->v[j].hi > hi ? set->v[j].hi : hi;
	}
	/* [i, j) melt into one. */
	if (j < set->n)
		memmove(&set->v[i + 1], &set->v[j], (set->n - j) * sizeof(*set->v));
	set->v[i] = (struct ph_range){lo, hi};
	set->n = set->n - (j - i) + 1;
}

void ph_ranges_free(struct ph_ranges *set)
{
	free(set->v);
	*set = (struct ph_ranges){0};
}
