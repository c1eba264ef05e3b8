/*
 * damaged.h - images of pools, damage to them that decisions choose, and the use of what
 * opens all the same. A damage is a few words changed; then sums may be made right again,
 * so that what is behind them is looked at.
 */
#ifndef TESTS_DAMAGED_H
#define TESTS_DAMAGED_H

#include "choice.h"
#include "layout.h"
#include "media.h"

#define DAMAGED_POOL MIB(8)

/* Closed; and killed with open transactions and unsettled records; the same of a traced pool
 * with a graph of typed objects. */
enum { DAMAGED_HEALTHY, DAMAGED_CRASHED, DAMAGED_TRACED, DAMAGED_IMAGES };
extern char *damaged_images[DAMAGED_IMAGES];

void damaged_make_images(void);

/* The library's getrandom() gives a stream of numbers that follows from this. */
void damaged_entropy(uint64_t stream);

struct damage {
	char *base;
	const struct pm_zone *zone; /* as it was */
	struct choice *choice;
	bool supers;  /* may be damaged too */
	bool in_zone; /* only tree, descriptors and bitmaps are: such a pool mostly opens */
};

void damaged_change(const struct damage *damage);

/* Every kind of operation, until the choices have run out. What they give is not asked,
 * but no two objects that were handed out share memory. */
void damaged_use(pheap_t *heap, char *base, struct choice *choice);

#endif
