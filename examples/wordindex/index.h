/*
 * index.h - what lies in the pool, and the session that works on it.
 *
 *	root -> struct index
 *	          words: table -> slots -> struct word -> posting -> posting ...
 *	          files: table -> slots -> struct file <----'
 *
 * Everything is changed by transactions, so that at any moment, whatever was
 * killed, the counts are those of exactly the text in front of file.position in
 * each file.
 */
#ifndef INDEX_H
#define INDEX_H

#include <sys/stat.h>

#include "batch.h"
#include "table.h"

/* A change of the structures below needs another name. */
#define INDEX_LAYOUT "wordindex 1"

/* How often a word occurs in one file. */
struct posting {
	PHEAP_REF(struct posting) next; /* of a file with a smaller number */
	pheap_ref file;
	uint64_t number; /* of that file */
	uint64_t count;
};

struct word {
	struct entry entry;
	uint64_t count; /* in all files */
	pheap_ref postings;
	char text[];
};

struct file {
	struct entry entry;
	uint64_t number;   /* 1, 2, ... in the order in which files were first seen */
	uint64_t position; /* every word that ends up to here has been counted */
	uint64_t done;	   /* 1: all of them */
	uint64_t size;	   /* of the file when counting began */
	uint64_t modified; /* its time of modification then, in nanoseconds */
	char path[];
};

struct index {
	struct table words;
	struct table files;
	uint64_t occurrences; /* of all words in all files */
	struct totals {
		uint64_t files;
		uint64_t bytes;
	} done; /* files that are done */
};

struct session {
	pheap_t *heap;
	struct index *index;
	dev_t pool_device; /* of the pool's file, which must not index itself */
	ino_t pool_inode;
	unsigned slow_ms; /* pause before every commit */
	int progress;	  /* report on stderr */
	uint64_t complaints;
};

/*
 * commit.c. Return 0 or the library's negative code; each is one transaction or
 * two and nothing of it, or all, is in the pool afterwards.
 */

/* Give *file, the file of that name, made where there is none. */
int index_file(struct session *s, const char *path, const struct stat *st, struct file **file);

/* Does what was counted of the file still hold for what it is now? */
int index_file_changed(const struct file *file, const struct stat *st);

/* Count the words of a batch, found in the file up to position. Empties the batch. */
int index_commit(struct session *s, struct file *file, uint64_t position, struct batch *batch);

/* The file has been read to its end, which is at position. */
int index_finish(struct session *s, struct file *file, uint64_t position);

/* add.c: index what is at path, a folder or a file. Returns 0 or a negative code. */
int add_tree(struct session *s, const char *path);

/* report.c: print on stdout. */
int report_query(const struct session *s, char *word);
int report_dump(const struct session *s);
int report_stats(const struct session *s);

#endif
