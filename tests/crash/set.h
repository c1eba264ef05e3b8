/*
 * set.h - sets of 64-bit hashes: which images were seen. One that grows, and one of
 * fixed room that processes share.
 */
#ifndef CRASH_SET_H
#define CRASH_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

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

/* Shared by a process and those that it forks; elements are added by compare and swap. */
struct shared_set {
	uint64_t n, mask; /* n: atomic */
	uint64_t slot[];  /* 0: free; atomic */
};

/* At least `most` elements leave it half empty. */
static inline struct shared_set *shared_set_new(uint64_t most)
{
	struct shared_set *set;
	uint64_t room = 4096;
	void *p;

	while (room < 2 * most)
		room *= 2;
	p = mmap(NULL, sizeof(*set) + room * sizeof(uint64_t), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		fprintf(stderr, "no memory to remember %llu images\n", (unsigned long long)most);
		abort();
	}
	set = p;
	set->mask = room - 1;
	return set;
}

/* False where the value was there already, or the set is full. */
static inline bool shared_set_add(struct shared_set *set, uint64_t value)
{
	uint64_t i, found = 0;

	value = value ? value : 1;
	for (i = value & set->mask;; i = (i + 1) & set->mask, found = 0) {
		if (__atomic_load_n(&set->n, __ATOMIC_RELAXED) > set->mask / 8 * 7)
			return false;
		if (__atomic_compare_exchange_n(&set->slot[i], &found, value, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			break;
		if (found == value)
			return false;
	}
	__atomic_add_fetch(&set->n, 1, __ATOMIC_RELAXED);
	return true;
}

#endif
