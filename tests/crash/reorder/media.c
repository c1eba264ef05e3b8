/*
 * media.c - see media.h.
 */
#define _GNU_SOURCE
#include "media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

/* On a memory file system where there is one: each image is written and read back. */
static int make_file(char **path)
{
	const char *folder = getenv("TMPDIR");

	if (!folder)
		folder = access("/dev/shm", W_OK | X_OK) ? "/tmp" : "/dev/shm";
	if (asprintf(path, "%s/pheap-reorder-XXXXXX", folder) < 0)
		abort();
	return mkstemp(*path);
}

/* Holes stay holes: they need not be compared after each image. */
static bool copy_in(struct media *m, int from)
{
	off_t at = 0, end;

	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || pread(from, m->base + at, (size_t)(end - at), at) != end - at)
			return false;
		for (; at < end; at += PAGE) {
			size_t part = end - at < PAGE ? (size_t)(end - at) : PAGE;

			memcpy(m->work + at, m->base + at, part);
		}
	}
	return errno == ENXIO; /* no data from here on */
}

bool media_make(struct media *m, const char *pool)
{
	int from = open(pool, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok = false;

	*m = (struct media){.fd = -1};
	if (from < 0)
		return false;
	if (fstat(from, &st) || (m->fd = make_file(&m->path)) < 0 || ftruncate(m->fd, st.st_size))
		goto out;
	m->size = (uint64_t)st.st_size;
	m->base = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m->work = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	ok = m->base != MAP_FAILED && m->work != MAP_FAILED && copy_in(m, from);
out:
	close(from);
	return ok;
}

void media_free(struct media *m)
{
	if (m->fd < 0)
		return;
	unlink(m->path);
	close(m->fd);
	munmap(m->base, m->size);
	munmap(m->work, m->size);
	free(m->touched);
	free(m->path);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* What a word contributes to the hash. */
static uint64_t word_hash(const uint8_t *image, uint64_t offset)
{
	uint64_t word;

	offset -= offset % 8;
	memcpy(&word, image + offset, 8);
	return mix(word + mix(offset + 1));
}

static void store(uint8_t *image, const struct piece *piece, uint64_t *hash)
{
	*hash ^= word_hash(image, piece->offset);
	memcpy(image + piece->offset, piece->bytes, piece->size);
	*hash ^= word_hash(image, piece->offset);
}

void media_apply(struct media *m, const struct piece *piece)
{
	if (m->n_touched == m->room) {
		m->room = m->room ? 2 * m->room : 256;
		m->touched = realloc(m->touched, m->room * sizeof(*m->touched));
		if (!m->touched)
			abort();
	}
	m->touched[m->n_touched++] = (struct touched){piece->offset, piece->size};
	store(m->work, piece, &m->hash);
}

void media_commit(struct media *m, const struct piece *piece)
{
	store(m->base, piece, &m->base_hash);
	store(m->work, piece, &m->hash);
}

/* All of the file that is no hole. */
static void restore_all(struct media *m)
{
	off_t at = 0, end;

	while ((at = lseek(m->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(m->fd, at, SEEK_HOLE);
		for (; at < end; at += PAGE)
			if (memcmp(m->work + at, m->base + at, PAGE))
				memcpy(m->work + at, m->base + at, PAGE);
	}
}

void media_restore(struct media *m, bool used)
{
	struct stat st;
	size_t i;

	if (used && (fstat(m->fd, &st) || (uint64_t)st.st_size != m->size)) {
		fprintf(stderr, "the checker changed the size of %s\n", m->path);
		exit(2);
	}
	if (used)
		restore_all(m);
	else
		for (i = 0; i < m->n_touched; i++)
			memcpy(m->work + m->touched[i].offset, m->base + m->touched[i].offset,
			       m->touched[i].size);
	m->n_touched = 0;
	m->hash = m->base_hash;
}

bool media_keep(const struct media *m, const char *path)
{
	int to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	off_t at = 0, end;
	bool ok = to >= 0 && !ftruncate(to, (off_t)m->size);

	while (ok && (at = lseek(m->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(m->fd, at, SEEK_HOLE);
		ok = pwrite(to, m->work + at, (size_t)(end - at), at) == end - at;
		at = end;
	}
	if (to >= 0)
		close(to);
	return ok;
}
