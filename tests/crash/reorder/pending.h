/*
 * pending.h - the stores that are not known to be durable, in program order.
 *
 * MODEL (P1 to P4 of docs/persistence.md)
 *   A store is taken apart into pieces, one for each aligned 8-byte word that it
 *   touches. Each piece belongs to a chain: of each chain a prefix has reached media,
 *   and chains are independent of one another. The pieces that went through the cache
 *   to one line are one chain (the stores to a line reach media in program order). The
 *   pieces that went past it to one word are one chain (any subset of the words).
 *   A flush marks the pieces of its line that were stored before it; so does a store
 *   past the cache to the same line. A fence makes all marked pieces durable, and all
 *   that went past the cache.
 *
 * The log does not say which thread did what: a fence counts for all of them.
 */
#ifndef REORDER_PENDING_H
#define REORDER_PENDING_H

#include "media.h"
#include "storelog.h"

struct pending {
	struct piece *pieces;
	size_t n, room;
};

void pending_store(struct pending *p, const struct record *record, size_t index);
void pending_flush(struct pending *p, const struct record *record);

/* Commit to media what a fence makes durable, and forget it. */
void pending_fence(struct pending *p, struct media *media);

#endif
