/*
 * media.h - pools in memory, for tests that use the internal headers: what the
 * program sees, and what a power cut leaves of it.
 */
#ifndef TESTS_MEDIA_H
#define TESTS_MEDIA_H

#include "common.h"

#include "persist.h"

/* Zeroed memory for a pool, page aligned; a private copy of it. */
char *memory_new(uint64_t size);
char *memory_copy(const char *from, uint64_t size);
void memory_free(char *memory, uint64_t size);

/*
 * The least that is durable: a line reaches `durable` when a thread has flushed
 * it, or copied it past the cache, and fenced after that. Nothing is evicted.
 */
struct media {
	uint64_t size;
	char *seen; /* where the pool is open */
	char *durable;
	uint64_t stores; /* of the library, non-temporal ones included; atomic */
	void (*fenced)(struct media *media); /* after each fence; may be NULL */
};

extern const struct ph_hook media_hook; /* its argument is the media */

void media_init(struct media *media, uint64_t size);
void media_free(struct media *media);

/* These fail the running test instead of returning NULL. The options are those of
 * a pool without a layout; without media the pool is in plain memory, and what a
 * kill leaves is the memory. */
pheap_t *create_on(char *memory, uint64_t size, struct media *media);
pheap_t *open_on(char *memory, uint64_t size, struct media *media);

/* The same open, of what must be refused as damaged: nothing is left open. */
void refuse_on(char *memory, uint64_t size);

#endif
