/*
 * engine-stores.c - the engines of pmreorder: sets of stores.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

const char engine_names[] = "NoReorderNoCheck, NoReorderDoCheck, ReorderFull, ReorderPartial, "
			    "ReorderAccumulative, ReorderReverseAccumulative, ReorderLines";

uint64_t choice_below(struct choice *choice, uint64_t n)
{
	/* xorshift64*, as published by Vigna */
	choice->random ^= choice->random >> 12;
	choice->random ^= choice->random << 25;
	choice->random ^= choice->random >> 27;
	return (choice->random * UINT64_C(2685821657736338717) >> 16) % n;
}

/* The flushed stores; each owns the pieces that carry its record. */
struct set {
	struct choice *choice;
	const struct pending *pending;
	size_t *store; /* of each piece, its store's number, or n: not flushed */
	size_t n;
	bool *in;     /* each store: is it in the set? */
	bool *chosen; /* each piece */
};

static void *must_have(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void set_make(struct set *s, struct choice *choice, const struct pending *pending)
{
	size_t i, last = SIZE_MAX;

	*s = (struct set){.choice = choice, .pending = pending};
	s->store = must_have(calloc(pending->n + 1, sizeof(*s->store)));
	s->chosen = must_have(calloc(pending->n + 1, sizeof(*s->chosen)));
	for (i = 0; i < pending->n; i++) {
		const struct piece *piece = &pending->pieces[i];

		s->store[i] = SIZE_MAX;
		if (!piece->flushed)
			continue;
		s->n += piece->record != last;
		last = piece->record;
		s->store[i] = s->n - 1;
	}
	s->in = must_have(calloc(s->n + 1, sizeof(*s->in)));
}

static void set_free(struct set *s)
{
	free(s->store);
	free(s->chosen);
	free(s->in);
}

static void make_image(struct set *s)
{
	size_t i;

	for (i = 0; i < s->pending->n; i++)
		s->chosen[i] = s->store[i] != SIZE_MAX && s->in[s->store[i]];
	s->choice->image(s->choice->arg, s->pending, s->chosen);
}

static void fill(struct set *s, size_t from, size_t to)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		s->in[i] = i >= from && i < to;
	make_image(s);
}

static void fill_at_random(struct set *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		s->in[i] = choice_below(s->choice, 2);
	make_image(s);
}

static void no_check(struct choice *choice, const struct pending *pending)
{
	(void)choice, (void)pending;
}

static void no_reorder(struct choice *choice, const struct pending *pending)
{
	struct set s;

	set_make(&s, choice, pending);
	fill(&s, 0, s.n);
	set_free(&s);
}

/* Of n + 1 lengths, as many as the cap allows, evenly spread, both ends among them. */
static size_t step(const struct set *s)
{
	return s->n / (s->choice->cap > 1 ? s->choice->cap - 1 : 1) + 1;
}

static void accumulate(struct choice *choice, const struct pending *pending)
{
	struct set s;
	size_t i;

	set_make(&s, choice, pending);
	for (i = 0; i < s.n; i += step(&s))
		fill(&s, 0, i);
	fill(&s, 0, s.n);
	set_free(&s);
}

static void accumulate_reverse(struct choice *choice, const struct pending *pending)
{
	struct set s;
	size_t i;

	set_make(&s, choice, pending);
	for (i = 0; i < s.n; i += step(&s))
		fill(&s, s.n - i, s.n);
	fill(&s, 0, s.n);
	set_free(&s);
}

static void some(struct choice *choice, const struct pending *pending)
{
	struct set s;
	int i;

	set_make(&s, choice, pending);
	for (i = 0; i < 3; i++)
		fill_at_random(&s);
	set_free(&s);
}

static void full(struct choice *choice, const struct pending *pending)
{
	struct set s;
	uint64_t bits, sets;
	size_t i, n;

	set_make(&s, choice, pending);
	sets = s.n < 62 ? UINT64_C(1) << s.n : UINT64_MAX;
	if (sets <= choice->cap) {
		for (bits = 0; bits < sets; bits++) {
			for (i = 0; i < s.n; i++)
				s.in[i] = bits >> i & 1;
			make_image(&s);
		}
	} else {
		fill(&s, 0, 0);
		fill(&s, 0, s.n);
		for (n = 2; n < choice->cap; n++)
			fill_at_random(&s);
	}
	set_free(&s);
}

static const struct {
	const char *name;
	engine_fn *engine;
} engines[] = {
	{"NoReorderNoCheck", no_check},
	{"NoReorderDoCheck", no_reorder},
	{"ReorderFull", full},
	{"ReorderPartial", some},
	{"ReorderAccumulative", accumulate},
	{"ReorderReverseAccumulative", accumulate_reverse},
	{"ReorderLines", engine_lines},
};

engine_fn *engine_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(name, engines[i].name))
			return engines[i].engine;
	return NULL;
}

bool engine_sees_all(engine_fn *engine)
{
	return engine == engine_lines;
}
