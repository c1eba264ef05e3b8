/*
 * batch.c - see batch.h.
 */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

static int make_room(struct batch *batch, size_t length)
{
	size_t capacity = batch->capacity ? batch->capacity : BATCH_BYTES;
	char *text;

	while (capacity - batch->used < length)
		capacity *= 2;
	if (capacity == batch->capacity)
		return 0;
	text = realloc(batch->text, capacity);
	if (!text)
		return -ENOMEM;
	batch->text = text;
	batch->capacity = capacity;
	return 0;
}

static struct batch_item *find(struct batch *batch, uint64_t hash, const char *word, size_t length)
{
	for (size_t i = 0; i < batch->n; i++) {
		struct batch_item *item = &batch->items[i];

		if (item->hash == hash && item->length == length &&
		    !memcmp(batch->text + item->text, word, length))
			return item;
	}
	return NULL;
}

int batch_add(struct batch *batch, const char *word, size_t length)
{
	uint64_t hash = table_hash(word, length);
	struct batch_item *item = find(batch, hash, word, length);

	if (!item) {
		if (make_room(batch, length))
			return -ENOMEM;
		memcpy(batch->text + batch->used, word, length);
		item = &batch->items[batch->n++];
		*item = (struct batch_item){.hash = hash, .text = batch->used, .length = length};
		batch->used += length;
	}
	item->count++;
	batch->words++;
	return 0;
}

void batch_destroy(struct batch *batch)
{
	free(batch->text);
}
