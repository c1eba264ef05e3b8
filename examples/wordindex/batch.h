/*
 * batch.h - the words that the next commit will count, in ordinary memory.
 *
 * A redo transaction does not see its own writes before commit, so a word may be
 * counted in it once only: equal ones are added up here first.
 */
#ifndef BATCH_H
#define BATCH_H

#include <stddef.h>
#include <stdint.h>

/* Few, so that commits are many and a program that is killed loses little. */
#define BATCH_WORDS 128
#define BATCH_BYTES 65536

struct batch_item {
	uint64_t hash; /* table_hash() of the word */
	uint64_t count;
	size_t text; /* where in batch.text */
	size_t length;
};

struct batch {
	size_t words; /* all of them */
	size_t n;     /* different ones */
	struct batch_item items[BATCH_WORDS];
	char *text;
	size_t used;
	size_t capacity;
};

/* 0 or -ENOMEM. */
int batch_add(struct batch *batch, const char *word, size_t length);

static inline int batch_full(const struct batch *batch)
{
	return batch->words == BATCH_WORDS || batch->used >= BATCH_BYTES;
}

static inline void batch_empty(struct batch *batch)
{
	batch->words = batch->n = batch->used = 0;
}

void batch_destroy(struct batch *batch);

#endif
