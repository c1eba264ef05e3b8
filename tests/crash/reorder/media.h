/*
 * media.h - the pool as it is on media, and the file in which crash images of it are
 * made.
 *
 * `base` is what is durable at the point reached in the log. `work` is a shared
 * mapping of the working file, which the checker opens; between images it is equal to
 * base. `hash` identifies the content of work: it changes with each word that is
 * stored, and two contents that were reached from the same pool have the same hash if
 * they are the same, and otherwise by chance of 2^-64 only.
 */
#ifndef REORDER_MEDIA_H
#define REORDER_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes within one aligned 8-byte word, stored by one instruction. */
struct piece {
	uint64_t offset;
	size_t record; /* the store it is a part of, as its index in the log */
	uint8_t size;
	uint8_t bytes[8];
	bool nt;      /* past the cache */
	bool flushed; /* durable at the next fence */
};

struct media {
	char *path; /* of the working file */
	int fd;
	uint64_t size;
	uint8_t *base, *work;
	uint64_t hash, base_hash;
	struct touched {
		uint64_t offset;
		uint8_t size;
	} * touched; /* what differs from base in work */
	size_t n_touched, room;
};

/* Copy the pool to a new working file. False and errno on failure. */
bool media_make(struct media *m, const char *pool);
void media_free(struct media *m);

/* Store into the image that is being made. */
void media_apply(struct media *m, const struct piece *piece);

/* Store into what is durable; no image may be in the making. */
void media_commit(struct media *m, const struct piece *piece);

/* Drop the image. `used`: a checker had it, and may have stored anywhere. */
void media_restore(struct media *m, bool used);

/* Copy the image to a file. */
bool media_keep(const struct media *m, const char *path);

#endif
