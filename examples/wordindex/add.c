/*
 * add.c - walk a folder, and read its files into the index.
 *
 * In the order of names; regular files, and symbolic links to regular files,
 * which count as files of their own. Links to folders are not followed. A file is
 * known by its path: what an earlier run has counted of it is not counted again.
 */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

static const char *clear_line(const struct session *s)
{
	return s->progress && isatty(STDERR_FILENO) ? "\r\033[K" : "";
}

/* A file that cannot be indexed does not keep the others from it. */
static void complain(struct session *s, const char *path, const char *why)
{
	fprintf(stderr, "%swordindex: %s: %s\n", clear_line(s), path, why);
	s->complaints++;
}

/* A line on a terminal, lines elsewhere; a few in a second are enough. */
static void show_progress(const struct session *s, const char *path, uint64_t position, int begin)
{
	static uint64_t shown;
	struct timespec now;
	uint64_t ms;

	if (!s->progress)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (!begin && ms - shown < 200)
		return;
	shown = ms;
	fprintf(stderr, "%s%llu words, %s at %llu%s", clear_line(s),
		(unsigned long long)s->index->occurrences, path, (unsigned long long)position,
		isatty(STDERR_FILENO) ? "" : "\n");
}

/* Count the words behind file->position. Negative: the library failed. */
static int add_words(struct session *s, struct file *file, const char *path, struct text *text,
		     struct batch *batch)
{
	const char *word;
	size_t length;
	int more;
	int rc = 0;

	while (!rc && (more = text_next(text, &word, &length)) > 0) {
		more = batch_add(batch, word, length);
		if (more)
			break;
		if (batch_full(batch)) {
			rc = index_commit(s, file, text_position(text), batch);
			show_progress(s, path, text_position(text), 0);
		}
	}
	if (rc)
		return rc;
	if (more) {
		complain(s, path, strerror(-more));
		return 0;
	}
	if (batch->n)
		rc = index_commit(s, file, text_position(text), batch);
	if (!rc)
		rc = index_finish(s, file, text_position(text));
	if (!rc && text_position(text) != file->size)
		complain(s, path, "changed while it was read");
	return rc;
}

static int add_open_file(struct session *s, const char *path, int fd, const struct stat *st)
{
	struct batch batch = {0};
	struct file *file;
	struct text text;
	int rc = index_file(s, path, st, &file);

	if (rc)
		return rc;
	if (index_file_changed(file, st)) {
		complain(s, path, "has changed since it was counted; begin a new index");
		return 0;
	}
	if (file->done)
		return 0;
	show_progress(s, path, file->position, 1);
	text_init(&text, fd, file->position);
	rc = add_words(s, file, path, &text, &batch);
	text_destroy(&text);
	batch_destroy(&batch);
	return rc;
}

static int add_file(struct session *s, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st))
		complain(s, path, strerror(errno));
	else if (S_ISREG(st.st_mode) &&
		 !(st.st_dev == s->pool_device && st.st_ino == s->pool_inode))
		rc = add_open_file(s, path, fd, &st);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int add_entry(struct session *s, const FTSENT *entry)
{
	struct stat st;

	switch (entry->fts_info) {
	case FTS_F:
		return add_file(s, entry->fts_path);
	case FTS_SL:
		if (stat(entry->fts_path, &st) == 0 && S_ISREG(st.st_mode))
			return add_file(s, entry->fts_path);
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		complain(s, entry->fts_path, strerror(entry->fts_errno));
		return 0;
	default:
		return 0;
	}
}

int add_tree(struct session *s, const char *path)
{
	/* The same files have the same names, from wherever the program is called. */
	char *whole = realpath(path, NULL);
	char *const roots[] = {whole, NULL};
	FTS *walk = whole ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name) : NULL;
	FTSENT *entry;
	int rc = 0;

	if (!walk)
		complain(s, path, strerror(errno));
	while (walk && !rc && (entry = fts_read(walk)))
		rc = add_entry(s, entry);
	fputs(clear_line(s), stderr);
	if (walk)
		fts_close(walk);
	free(whole);
	return rc;
}
