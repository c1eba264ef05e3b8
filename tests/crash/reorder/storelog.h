/*
 * storelog.h - read a log of stores, flushes and fences, as the tracer and pmemcheck
 * write it (the grammar is in ../tracer/log.h).
 *
 * Addresses become offsets in the pool. A log is refused, with a message that says
 * which record is wrong, where it has no START, no STOP (the program was killed, or the
 * disk was full), no REGISTER_FILE or no store (the wrong file was traced), stores
 * outside the pool, or markers that cross.
 */
#ifndef REORDER_STORELOG_H
#define REORDER_STORELOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_kind {
	RECORD_STORE,
	RECORD_FLUSH,
	RECORD_FENCE,
	RECORD_BEGIN, /* of a section that the program marked */
	RECORD_END,
};

struct record {
	enum record_kind kind;
	bool nt;	     /* store, flush: past the cache */
	uint32_t size;	     /* store, flush: bytes */
	uint64_t offset;     /* store, flush: in the pool */
	const uint8_t *data; /* store: what was written */
	const char *name;    /* section: its name */
	size_t number;	     /* in the log, START being 0 */
};

struct storelog {
	char *pool; /* path of the file that was mapped */
	struct record *records;
	size_t n;
	size_t stores, nt_stores, flushes, fences, sections;
	uint8_t *data; /* of all stores */
	char *text;    /* of the whole log; names point into it */
};

/* Read the log at path. On an error false, and why in message. */
bool storelog_read(struct storelog *log, const char *path, char *message, size_t message_size);
void storelog_free(struct storelog *log);

#endif
