/*
 * traced.h - what runs do differently in a traced pool: what holds references has a type.
 *
 * The shadow model stays what it is: a pool holds what is linked in it, whole, and nothing
 * else. In a traced pool that is so because recovery reaches the one and not the other, and
 * not because bitmaps say so.
 */
#ifndef CRASH_TRACED_H
#define CRASH_TRACED_H

#include "run.h"

/* Register the types and make the table: a code. */
int traced_table(struct run *run);

/* How many objects keep types. */
uint64_t traced_types(const struct run *run);

/* An object for a list, with its link in the first word. NULL with errno. */
char *traced_node(struct run *run, pheap_tx_t *tx, size_t size);

/*
 * Objects that are allocated and not held by the test, without those that keep types: as
 * states say, and in spans that are not loaded, as bitmaps do. Loads nothing.
 */
uint64_t traced_objects(const struct run *run);

#endif
