/*
 * ranges.h - a set of bytes as sorted, disjoint, non-adjacent ranges [lo, hi).
 */
#ifndef PH_RANGES_H
#define PH_RANGES_H

#include <stdbool.h>
#include <stdint.h>

struct ph_range {
	uint64_t lo, hi;
};

struct ph_ranges {
	struct ph_range *v;
	uint32_t n, cap;
};

/* Is every byte, or any byte, of [lo, hi) in the set? */
bool ph_ranges_cover(const struct ph_ranges *set, uint64_t lo, uint64_t hi);
bool ph_ranges_overlap(const struct ph_ranges *set, uint64_t lo, uint64_t hi);

/* Make room for so many more, so that adding them cannot fail. False: no memory. */
bool ph_ranges_reserve(struct ph_ranges *set, uint32_t more);
void ph_ranges_add(struct ph_ranges *set, uint64_t lo, uint64_t hi);
void ph_ranges_free(struct ph_ranges *set);

#endif
