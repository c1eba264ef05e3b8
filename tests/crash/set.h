/*
 * set.h - a set of 64-bit hashes: which images were seen.
 */
#ifndef CRASH_SET_H
#define CRASH_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct set {
	uint64_t *slot; /* 0: free */
	uint64_t n, mask;
};

static inline bool set_put(struct set *set, uint64_t value)
{
	uint64_t i = value & set->mask;

	while (set->slot[i] && set->slot[i] != value)
		i = (i + 1) & set->mask;
	if (set->slot[i])
		return false;
	set->slot[i] = value;
	set->n++;
	return true;
}

static inline void set_grow(struct set *set)
{
	uint64_t room = set->slot ? 2 * (set->mask + 1) : 4096;
	struct set bigger = {.slot = calloc(room, sizeof(uint64_t)), .mask = room - 1};

	if (!bigger.slot) {
		fprintf(stderr, "out of memory\n");
		abort();
	}
	for (uint64_t i = 0; set->slot && i <= set->mask; i++)
		if (set->slot[i])
			set_put(&bigger, set->slot[i]);
	free(set->slot);
	*set = bigger;
}

/* False where the value was there already. Hashes are well mixed: no hashing here. */
static inline bool set_add(struct set *set, uint64_t value)
{
	if (!set->slot || set->n > set->mask / 2)
		set_grow(set);
	return set_put(set, value ? value : 1);
}

static inline void set_clear(struct set *set)
{
	free(set->slot);
	*set = (struct set){0};
}

#endif
