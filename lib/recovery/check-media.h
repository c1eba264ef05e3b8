/*
 * check-media.h - what the parts of the checker share: its state, and reading.
 *
 *	check.c		what is at fixed places: superblocks, state line, zone
 *			table, lane table, roots
 *	check-zone.c	what is in a zone: free-space tree, spans, bitmaps
 *	check-types.c	the type table, and what it refers to
 *	check-count.c	reference counts, and chains of dead objects
 */
#ifndef PH_CHECK_MEDIA_H
#define PH_CHECK_MEDIA_H

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "layout.h"
#include "check.h"

struct ph_check_lane {
	uint64_t offset; /* of the lane block */
	uint64_t entry;	 /* of its entry in the table */
	bool found;	 /* a LANE span begins there */
};

struct ph_check_tally {
	const char *id;
	uint64_t count;
	uint64_t offset; /* of the last one */
};

struct ph_check {
	const char *base;
	uint64_t size;
	int fd;	      /* of the mapped file, or -1 */
	bool no_bits; /* traced, and not closed cleanly: bits of objects mean nothing */
	struct pheap_check_result *result;
	pheap_problem_fn *fn;
	void *arg;

	uint32_t zones; /* those of zone[] that hold Z1 to Z6 */
	struct pm_zone zone[PM_ZONES_MAX];
	uint32_t lanes;
	struct ph_check_lane lane[PM_LANES_MAX]; /* sorted by offset */
	struct pm_root root[PM_ROOT_SLOTS];
	uint64_t dead, chained; /* objects that are to be in chains, and are */
	uint32_t types;		/* ids from 1 up to here, less one, are in use */
	struct ph_check_tally tally['Z' - 'A' + 1][10];
};

/* An invariant does not hold. id is a literal: a capital letter and a digit. */
__attribute__((format(printf, 4, 5))) void
ph_check_report(struct ph_check *c, const char *id, uint64_t offset, const char *format, ...);

/* Bytes of the free-space tree of a zone with so many levels, 1 or more. */
uint64_t ph_check_tree_bytes(uint32_t levels);

/* The least k with 2^k >= n. */
uint32_t ph_check_order(uint32_t n);

/* Everything in a zone whose entry holds Z1 to Z6. */
void ph_check_zone(struct ph_check *c, const struct pm_zone *z);

/* A LANE span begins at offset. */
void ph_check_lane(struct ph_check *c, uint64_t offset);

/* How many entries of the type table are in use, with the one that never is (Y1); then, with
 * c->types set and all zones walked, the rest about them. */
uint32_t ph_check_types_used(struct ph_check *c);
void ph_check_types(struct ph_check *c);

/* The count of a published object is at this offset; then, with all of them seen, chains. */
void ph_check_count(struct ph_check *c, uint64_t at, uint64_t word);
void ph_check_chains(struct ph_check *c);

/* The count of a published object that is counted; false: ref is that of none. */
bool ph_check_count_of(const struct ph_check *c, uint64_t ref, uint64_t *word);

/* Are objects of this type counted, as far as its entry can be trusted? */
bool ph_check_type_counted(const struct ph_check *c, uint32_t id);

/* Is ref the start of a published object? Any value may be asked about. */
bool ph_check_is_published(const struct ph_check *c, uint64_t ref);

static inline bool ph_check_zero(const void *p, size_t n)
{
	const char *s = p;

	return n == 0 || (s[0] == 0 && memcmp(s, s + 1, n - 1) == 0);
}

static inline bool ph_check_zero_at(const struct ph_check *c, uint64_t offset, size_t n)
{
	return ph_check_zero(c->base + offset, n);
}

#endif
