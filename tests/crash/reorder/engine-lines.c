/*
 * engine-lines.c - what a processor may leave: of each chain a prefix (pending.h).
 *
 * An image is one number for each chain, how many of its pieces are on media. All
 * combinations are made where they are no more than the cap; else a sample of them.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#define LINE 64

struct chains {
	struct choice *choice;
	const struct pending *pending;
	size_t *chain; /* of each piece */
	size_t *rank;  /* of each piece in its chain */
	size_t n;
	size_t *length; /* of each chain */
	size_t *cut;	/* of each chain: pieces on media */
	bool *chosen;	/* each piece */
};

static void *must_have(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* Which chain a piece belongs to: its line, or, past the cache, its word. */
static uint64_t key_of(const struct piece *piece)
{
	return piece->nt ? piece->offset / 8 << 1 | 1 : piece->offset / LINE << 1;
}

/* Open addressing: table[] holds chain numbers + 1, keys[] the key of each chain. */
static size_t find_chain(struct chains *c, size_t *table, size_t mask, uint64_t *keys, uint64_t key)
{
	size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;

	while (table[at] && keys[table[at] - 1] != key)
		at = (at + 1) & mask;
	if (!table[at]) {
		keys[c->n] = key;
		table[at] = ++c->n;
	}
	return table[at] - 1;
}

static void chains_make(struct chains *c, struct choice *choice, const struct pending *pending)
{
	size_t room = pending->n + 1, mask = 15, i;
	size_t *table;
	uint64_t *keys;

	while (mask < 2 * room)
		mask = 2 * mask + 1;
	*c = (struct chains){.choice = choice, .pending = pending};
	c->chain = must_have(calloc(room, sizeof(*c->chain)));
	c->rank = must_have(calloc(room, sizeof(*c->rank)));
	c->length = must_have(calloc(room, sizeof(*c->length)));
	c->cut = must_have(calloc(room, sizeof(*c->cut)));
	c->chosen = must_have(calloc(room, sizeof(*c->chosen)));
	table = must_have(calloc(mask + 1, sizeof(*table)));
	keys = must_have(calloc(room, sizeof(*keys)));
	for (i = 0; i < pending->n; i++) {
		c->chain[i] = find_chain(c, table, mask, keys, key_of(&pending->pieces[i]));
		c->rank[i] = c->length[c->chain[i]]++;
	}
	free(table);
	free(keys);
}

static void chains_free(struct chains *c)
{
	free(c->chain);
	free(c->rank);
	free(c->length);
	free(c->cut);
	free(c->chosen);
}

static void make_image(struct chains *c)
{
	size_t i;

	for (i = 0; i < c->pending->n; i++)
		c->chosen[i] = c->rank[i] < c->cut[c->chain[i]];
	c->choice->image(c->choice->arg, c->pending, c->chosen);
}

/* How many images are there? One more than the cap stands for all above it. */
static size_t count_images(const struct chains *c)
{
	size_t i, n = 1;

	for (i = 0; i < c->n && n <= c->choice->cap; i++)
		n *= c->length[i] + 1;
	return n;
}

static void make_all(struct chains *c)
{
	size_t i;

	do {
		make_image(c);
		for (i = 0; i < c->n && c->cut[i] == c->length[i]; i++)
			c->cut[i] = 0;
		if (i < c->n)
			c->cut[i]++;
	} while (i < c->n);
}

static void set_all(struct chains *c, bool whole)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		c->cut[i] = whole ? c->length[i] : 0;
}

/* One chain alone has reached media, or it alone has not. */
static void make_odd_one_out(struct chains *c, bool whole)
{
	size_t i = choice_below(c->choice, c->n);

	set_all(c, !whole);
	c->cut[i] = whole ? c->length[i] : choice_below(c->choice, c->length[i]);
	make_image(c);
}

/*
 * Each chain has reached media with the same chance, in part with another. The chance is
 * drawn for each image: rare combinations are those in which nearly all or nearly none
 * of many chains are there.
 */
static void make_random(struct chains *c)
{
	uint64_t whole = choice_below(c->choice, 257), part = choice_below(c->choice, 129);
	size_t i;

	for (i = 0; i < c->n; i++) {
		if (choice_below(c->choice, 256) < part)
			c->cut[i] = choice_below(c->choice, c->length[i] + 1);
		else if (choice_below(c->choice, 256) < whole)
			c->cut[i] = c->length[i];
		else
			c->cut[i] = 0;
	}
	make_image(c);
}

static void make_sample(struct chains *c)
{
	size_t made;

	set_all(c, false);
	make_image(c);
	set_all(c, true);
	make_image(c);
	for (made = 2; made < c->choice->cap; made++) {
		if (made % 4 == 0)
			make_odd_one_out(c, true);
		else if (made % 4 == 1)
			make_odd_one_out(c, false);
		else
			make_random(c);
	}
}

void engine_lines(struct choice *choice, const struct pending *pending)
{
	struct chains c;

	chains_make(&c, choice, pending);
	if (count_images(&c) <= choice->cap)
		make_all(&c);
	else
		make_sample(&c);
	chains_free(&c);
}
