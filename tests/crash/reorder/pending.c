/*
 * pending.c - see pending.h.
 */
#include "pending.h"

#include <stdlib.h>
#include <string.h>

#define LINE 64

static void add_piece(struct pending *p, const struct record *record, size_t index, size_t from,
		      size_t size)
{
	struct piece *piece;

	if (p->n == p->room) {
		p->room = p->room ? 2 * p->room : 1024;
		p->pieces = realloc(p->pieces, p->room * sizeof(*p->pieces));
		if (!p->pieces)
			abort();
	}
	piece = &p->pieces[p->n++];
	*piece = (struct piece){
		.offset = record->offset + from,
		.record = index,
		.size = (uint8_t)size,
		.nt = record->nt,
		.flushed = record->nt,
	};
	memcpy(piece->bytes, record->data + from, size);
}

/* Mark what went through the cache to the lines of a range. */
static void mark(struct pending *p, uint64_t offset, uint64_t size)
{
	uint64_t first = offset / LINE, last = (offset + size - 1) / LINE;
	size_t i;

	for (i = 0; i < p->n; i++)
		if (p->pieces[i].offset / LINE >= first && p->pieces[i].offset / LINE <= last)
			p->pieces[i].flushed = true;
}

void pending_store(struct pending *p, const struct record *record, size_t index)
{
	size_t from = 0, part;

	if (record->nt)
		mark(p, record->offset, record->size);
	for (; from < record->size; from += part) {
		part = 8 - (record->offset + from) % 8;
		if (part > record->size - from)
			part = record->size - from;
		add_piece(p, record, index, from, part);
	}
}

void pending_flush(struct pending *p, const struct record *record)
{
	/* The flush behind a store past the cache is for readers that know no better. */
	if (!record->nt && record->size)
		mark(p, record->offset, record->size);
}

void pending_fence(struct pending *p, struct media *media)
{
	size_t i, kept = 0;

	for (i = 0; i < p->n; i++)
		if (p->pieces[i].flushed)
			media_commit(media, &p->pieces[i]);
		else
			p->pieces[kept++] = p->pieces[i];
	p->n = kept;
}
