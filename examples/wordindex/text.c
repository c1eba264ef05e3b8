/*
 * text.c - see text.h.
 */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_READ 65536

void text_init(struct text *text, int fd, uint64_t position)
{
	*text = (struct text){.fd = fd, .offset = position};
}

void text_destroy(struct text *text)
{
	free(text->data);
}

uint64_t text_position(const struct text *text)
{
	return text->offset + text->begin;
}

static int is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

/* A word that fills the buffer needs a larger one; else make room in front. */
static int make_room(struct text *text)
{
	char *data;

	if (text->begin) {
		text->end -= text->begin;
		memmove(text->data, text->data + text->begin, text->end);
		text->offset += text->begin;
		text->begin = 0;
	}
	if (text->end < text->capacity)
		return 0;
	if (text->end >= TEXT_WORD_MAX)
		return -EFBIG;
	data = realloc(text->data, text->capacity + TEXT_READ + text->capacity / 2);
	if (!data)
		return -ENOMEM;
	text->data = data;
	text->capacity += TEXT_READ + text->capacity / 2;
	return 0;
}

static int read_more(struct text *text)
{
	ssize_t n;
	int rc;

	rc = make_room(text);
	if (rc)
		return rc;
	do {
		n = pread(text->fd, text->data + text->end, text->capacity - text->end,
			  (off_t)(text->offset + text->end));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	text->at_eof = n == 0;
	text->end += (size_t)n;
	return 0;
}

int text_next(struct text *text, const char **word, size_t *length)
{
	size_t end = text->begin;

	for (;;) {
		/* Nothing of the word was seen yet: skip what is between words. */
		while (end == text->begin && end < text->end && !is_letter(text->data[end]))
			end = ++text->begin;
		while (end < text->end && is_letter(text->data[end]))
			text->data[end++] |= 0x20;
		/* The end of what was read is the end of a word at the end of the file only. */
		if (end < text->end || text->at_eof)
			break;
		end -= text->begin;
		int rc = read_more(text);
		if (rc)
			return rc;
		end += text->begin;
	}
	*word = text->data + text->begin;
	*length = end - text->begin;
	text->begin = end;
	return *length > 0;
}
