/*
 * text.h - the words of a file: maximal runs of ASCII letters, in lower case, as
 *
 *	LC_ALL=C tr -cs 'A-Za-z' '\n' | tr A-Z a-z
 *
 * makes them, of any length below TEXT_WORD_MAX and wherever reads happen to cut them.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_WORD_MAX (UINT32_C(1) << 31) /* fits in entry.length */

struct text {
	int fd;
	int at_eof;
	uint64_t offset; /* of data[0] in the file */
	char *data;
	size_t capacity;
	size_t begin; /* what is in front of it has been given or skipped */
	size_t end;
};

/* Read words from fd, the first one being the first that begins at position or behind it. */
void text_init(struct text *text, int fd, uint64_t position);
void text_destroy(struct text *text);

/*
 * The next word, valid until the next call. Returns 1, 0 at the end of the file,
 * or -ENOMEM, -EFBIG (the word is too long), or what read(2) fails with.
 */
int text_next(struct text *text, const char **word, size_t *length);

/* Where in the file the last word ended; at the end of the file, its size. */
uint64_t text_position(const struct text *text);

#endif
