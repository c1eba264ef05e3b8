/*
 * image.c - number, choose and build crash images.
 */
#define _GNU_SOURCE
#include "image.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "random.h"

/* ---- sets of chunks ------------------------------------------------------- */

static void *must_have(void *p)
{
	if (!p) {
		fprintf(stderr, "crash images: out of memory\n");
		abort();
	}
	return p;
}

struct pageset *pageset_new(uint64_t size)
{
	struct pageset *set = must_have(calloc(1, sizeof(*set)));

	set->chunks = size / CHUNK;
	set->mark = must_have(calloc(set->chunks, 1));
	set->list = must_have(calloc(set->chunks, sizeof(*set->list)));
	return set;
}

void pageset_delete(struct pageset *set)
{
	if (!set)
		return;
	free(set->mark);
	free(set->list);
	free(set);
}

void pageset_add(struct pageset *set, uint64_t offset, uint64_t length)
{
	for (uint64_t i = offset / CHUNK; length && i <= (offset + length - 1) / CHUNK; i++) {
		if (set->mark[i])
			continue;
		set->mark[i] = 1;
		set->list[set->n++] = (uint32_t)i;
	}
}

void pageset_fill(struct pageset *set)
{
	pageset_add(set, 0, set->chunks * CHUNK);
}

static void pageset_clear(struct pageset *set)
{
	for (size_t i = 0; i < set->n; i++)
		set->mark[set->list[i]] = 0;
	set->n = 0;
}

/* ---- scratch ---------------------------------------------------------------- */

struct scratch *scratch_new(struct sim *sim)
{
	struct scratch *scratch = must_have(calloc(1, sizeof(*scratch)));
	void *mem =
		mmap(NULL, sim->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	scratch->mem = must_have(mem == MAP_FAILED ? NULL : mem);
	scratch->size = sim->size;
	scratch->dirty = pageset_new(sim->size);
	scratch->sim = sim;
	pageset_fill(scratch->dirty);
	sim->stale = scratch->dirty;
	return scratch;
}

void scratch_delete(struct scratch *scratch)
{
	if (!scratch)
		return;
	scratch->sim->stale = NULL;
	munmap(scratch->mem, scratch->size);
	pageset_delete(scratch->dirty);
	free(scratch);
}

void scratch_restore(struct scratch *scratch)
{
	struct pageset *set = scratch->dirty;

	for (size_t i = 0; i < set->n; i++) {
		uint64_t at = (uint64_t)set->list[i] * CHUNK;

		memcpy(scratch->mem + at, scratch->sim->durable + at, CHUNK);
	}
	pageset_clear(set);
}

uint64_t scratch_verify(struct scratch *scratch)
{
	uint64_t found = SIM_NOWHERE;

	scratch_restore(scratch);
	for (uint64_t at = 0; at < scratch->size; at += CHUNK) {
		if (!memcmp(scratch->mem + at, scratch->sim->durable + at, CHUNK))
			continue;
		if (found == SIM_NOWHERE)
			found = at;
		memcpy(scratch->mem + at, scratch->sim->durable + at, CHUNK);
	}
	return found;
}

static void scratch_mark(struct scratch *scratch, const void *dst, size_t length)
{
	uint64_t offset = (uint64_t)((const char *)dst - scratch->mem);

	if (offset >= scratch->size || length > scratch->size - offset) {
		fprintf(stderr, "crash images: a store outside the pool\n");
		abort();
	}
	pageset_add(scratch->dirty, offset, length);
}

static void note_store(void *arg, void *dst, const void *src, size_t length)
{
	(void)src;
	scratch_mark(arg, dst, length);
}

/* What is flushed may have been stored without a report. */
static void note_flush(void *arg, const void *addr, size_t length)
{
	scratch_mark(arg, addr, length);
}

static int note_fence(void *arg)
{
	(void)arg;
	return 0;
}

const struct ph_hook scratch_hook = {
	.store = note_store,
	.copy_nt = note_store,
	.flush = note_flush,
	.fence = note_fence,
};

void scratch_user_store(struct scratch *scratch, void *dst, const void *src, size_t length)
{
	scratch_mark(scratch, dst, length);
	memcpy(dst, src, length);
}

/* ---- how many images ----------------------------------------------------------- */

/* a * b, or limit + 1 where that is larger than limit. */
static uint64_t capped(uint64_t a, uint64_t b, uint64_t limit)
{
	return b && a > limit / b ? limit + 1 : a * b;
}

static uint64_t count_all(const struct sim *sim, uint64_t limit)
{
	uint64_t n = 1;

	for (size_t i = 0; i < sim->nword && n <= limit; i++)
		n = capped(n, 2, limit);
	for (size_t i = 0; i < sim->ndirty && n <= limit; i++)
		n = capped(n, sim->dirty[i].n + 1, limit);
	return n;
}

/* Prefixes of what the operation itself stored; words none or all. */
static uint64_t count_fresh(const struct plan *plan, uint64_t limit)
{
	const struct sim *sim = plan->sim;
	uint64_t n = sim->nword ? 2 : 1;

	for (size_t i = 0; i < sim->ndirty && n <= limit; i++)
		n = capped(n, sim->dirty[i].n - plan->old[i] + 1, limit);
	return n;
}

static uint32_t least(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/* nothing, everything, lines alone, lines missing, words missing */
static uint64_t count_singles(const struct plan *plan)
{
	const struct sim *sim = plan->sim;

	return 2 + 2 * (uint64_t)least(sim->ndirty, plan->limits.singles) +
	       least(sim->nword, plan->limits.singles);
}

enum { OLD_ABSENT, OLD_PRESENT, OLD_RANDOM, OLD_VARIANTS };

static void make_room(struct plan *plan)
{
	const struct sim *sim = plan->sim;

	if (plan->room_lines < sim->ndirty) {
		plan->room_lines = 2 * sim->ndirty;
		plan->prefix =
			must_have(realloc(plan->prefix, plan->room_lines * sizeof(*plan->prefix)));
		plan->old = must_have(realloc(plan->old, plan->room_lines * sizeof(*plan->old)));
		plan->sector =
			must_have(realloc(plan->sector, plan->room_lines * sizeof(*plan->sector)));
	}
	if (plan->room_words < sim->nword) {
		plan->room_words = 2 * sim->nword;
		plan->word = must_have(realloc(plan->word, plan->room_words * sizeof(*plan->word)));
	}
}

/* ---- sectors ----------------------------------------------------------------------- */

static void number_sectors(struct plan *plan)
{
	const struct sim *sim = plan->sim;
	const uint64_t lines = SECTOR / SIM_LINE;

	plan->sectors = 0;
	for (size_t i = 0; i < sim->ndirty; i++) {
		uint64_t sector = sim->dirty[i].number / lines;

		plan->sector[i] = UINT32_MAX;
		for (uint64_t n = sector * lines; n < (sector + 1) * lines; n++)
			if (sim->where[n] && sim->where[n] - 1 < i)
				plan->sector[i] = plan->sector[sim->where[n] - 1];
		if (plan->sector[i] == UINT32_MAX)
			plan->sector[i] = plan->sectors++;
	}
}

/* Images by sectors, and how many. */
static void plan_sectors(struct plan *plan)
{
	uint64_t limit = plan->limits.exhaustive;

	number_sectors(plan);
	plan->images = 1;
	for (uint32_t i = 0; i < plan->sectors && plan->images <= limit; i++)
		plan->images = capped(plan->images, 2, limit);
	plan->mode = PLAN_ALL;
	if (plan->images <= limit)
		return;
	plan->mode = PLAN_SAMPLE;
	plan->images =
		2 + 2 * (uint64_t)least(plan->sectors, plan->limits.singles) + plan->limits.samples;
}

void plan_make(struct plan *plan, const struct sim *sim, const struct plan_limits *limits,
	       uint64_t mark, uint64_t seed)
{
	plan->sim = sim;
	plan->limits = *limits;
	plan->seed = seed;
	make_room(plan);
	for (size_t i = 0; i < sim->ndirty; i++) {
		const struct sim_line *line = &sim->dirty[i];

		plan->old[i] = 0;
		while (plan->old[i] < line->n && line->unit[plan->old[i]].seq <= mark)
			plan->old[i]++;
	}
	if (sim->pages) {
		plan_sectors(plan);
		return;
	}
	plan->images = count_all(sim, limits->exhaustive);
	plan->mode = PLAN_ALL;
	if (plan->images <= limits->exhaustive)
		return;
	plan->fresh = count_fresh(plan, limits->exhaustive / OLD_VARIANTS);
	plan->mode = plan->fresh <= limits->exhaustive / OLD_VARIANTS ? PLAN_FRESH : PLAN_SAMPLE;
	plan->images = count_singles(plan) + limits->samples;
	if (plan->mode == PLAN_FRESH)
		plan->images += OLD_VARIANTS * plan->fresh;
}

void plan_free(struct plan *plan)
{
	free(plan->prefix);
	free(plan->old);
	free(plan->word);
	free(plan->sector);
	memset(plan, 0, sizeof(*plan));
}

/* ---- which choice ---------------------------------------------------------------- */

static void choose_same(struct plan *plan, bool present)
{
	const struct sim *sim = plan->sim;

	for (size_t i = 0; i < sim->ndirty; i++)
		plan->prefix[i] = present ? sim->dirty[i].n : 0;
	for (size_t i = 0; i < sim->nword; i++)
		plan->word[i] = present;
}

/* Image i as a number in mixed radix: one digit a word, one a line. */
static void choose_digits(struct plan *plan, uint64_t i)
{
	const struct sim *sim = plan->sim;

	for (size_t n = 0; n < sim->nword; n++, i /= 2)
		plan->word[n] = i % 2;
	for (size_t n = 0; n < sim->ndirty; n++) {
		plan->prefix[n] = (uint32_t)(i % (sim->dirty[n].n + 1));
		i /= sim->dirty[n].n + 1;
	}
}

/* The i-th of at most `singles` out of n: all in order, or some at random. */
static size_t pick(const struct plan *plan, uint64_t i, size_t n)
{
	uint64_t state = random_stream(plan->seed ^ n, i);

	return n <= plan->limits.singles ? i : random_below(&state, n);
}

static void choose_single(struct plan *plan, uint64_t i)
{
	const struct sim *sim = plan->sim;
	uint32_t lines = least(sim->ndirty, plan->limits.singles);

	if (i < 2) {
		choose_same(plan, i);
		return;
	}
	i -= 2;
	if (i < 2 * (uint64_t)lines) {
		size_t n = pick(plan, i % lines, sim->ndirty);

		choose_same(plan, i >= lines);
		plan->prefix[n] = i < lines ? sim->dirty[n].n : 0;
		return;
	}
	/* Lines stored together with words wait for them in a correct program,
	 * so a torn record is met with lines absent. */
	choose_same(plan, true);
	for (size_t n = 0; n < sim->ndirty; n++)
		plan->prefix[n] = plan->old[n];
	plan->word[pick(plan, i - 2 * (uint64_t)lines, sim->nword)] = false;
}

static uint32_t random_prefix(uint64_t *state, uint32_t n)
{
	switch (random_below(state, 4)) {
	case 0:
		return 0;
	case 1:
		return n;
	default:
		return (uint32_t)random_below(state, n + 1);
	}
}

/* Units of line n from before the operation, if none newer are to arrive. */
static uint32_t old_prefix(const struct plan *plan, size_t n, unsigned variant, uint64_t *state)
{
	switch (variant) {
	case OLD_ABSENT:
		return 0;
	case OLD_PRESENT:
		return plan->old[n];
	default:
		return random_prefix(state, plan->old[n]);
	}
}

static void choose_fresh(struct plan *plan, uint64_t i)
{
	const struct sim *sim = plan->sim;
	uint64_t state = random_stream(plan->seed, i);
	unsigned variant = (unsigned)(i / plan->fresh);

	i %= plan->fresh;
	for (size_t n = 0; n < sim->nword; n++)
		plan->word[n] = i % 2;
	if (sim->nword)
		i /= 2;
	for (size_t n = 0; n < sim->ndirty; n++) {
		uint32_t choices = sim->dirty[n].n - plan->old[n] + 1;
		uint32_t digit = (uint32_t)(i % choices);

		i /= choices;
		plan->prefix[n] =
			digit ? plan->old[n] + digit : old_prefix(plan, n, variant, &state);
	}
}

static void choose_words(struct plan *plan, uint64_t *state)
{
	size_t n = plan->sim->nword;
	unsigned style = (unsigned)random_below(state, 4);

	for (size_t i = 0; i < n; i++)
		plan->word[i] = style == 0 ? random_below(state, 2) : style != 1;
	if (style == 2 && n)
		plan->word[random_below(state, n)] = false;
}

static void choose_random(struct plan *plan, uint64_t i)
{
	const struct sim *sim = plan->sim;
	uint64_t state = random_stream(plan->seed ^ UINT64_C(0x5eed), i);
	unsigned variant = (unsigned)random_below(&state, OLD_VARIANTS);

	choose_words(plan, &state);
	for (size_t n = 0; n < sim->ndirty; n++) {
		uint32_t more = sim->dirty[n].n - plan->old[n];
		uint32_t digit = more ? random_prefix(&state, more) : 0;

		plan->prefix[n] =
			digit ? plan->old[n] + digit : old_prefix(plan, n, variant, &state);
	}
}

static void set_sector(struct plan *plan, uint32_t sector, bool new)
{
	for (size_t n = 0; n < plan->sim->ndirty; n++)
		if (plan->sector[n] == sector)
			plan->prefix[n] = new ? plan->sim->dirty[n].n : 0;
}

/* Most of them old, most of them new, or about half. */
static void choose_random_sectors(struct plan *plan, uint64_t i)
{
	uint64_t state = random_stream(plan->seed ^ UINT64_C(0x5ec7), i);
	uint64_t style = random_below(&state, 3);

	for (uint32_t n = 0; n < plan->sectors; n++) {
		uint64_t r = random_below(&state, 8);

		set_sector(plan, n, style == 0 ? r == 0 : style == 1 ? r != 0 : r < 4);
	}
}

static void choose_sectors(struct plan *plan, uint64_t i)
{
	uint32_t singles = least(plan->sectors, plan->limits.singles);

	if (plan->mode == PLAN_ALL) {
		for (uint32_t n = 0; n < plan->sectors; n++)
			set_sector(plan, n, i >> n & 1);
	} else if (i < 2) {
		choose_same(plan, i);
	} else if (i < 2 + 2 * (uint64_t)singles) {
		bool missing = i - 2 >= singles;

		choose_same(plan, missing);
		set_sector(plan, (uint32_t)pick(plan, (i - 2) % singles, plan->sectors), !missing);
	} else if (i % 2) {
		choose_random_sectors(plan, i);
	} else {
		choose_random(plan, i);
	}
}

static void choose(struct plan *plan, uint64_t i)
{
	uint64_t singles = count_singles(plan);

	if (plan->sim->pages) {
		choose_sectors(plan, i);
		return;
	}
	if (plan->mode == PLAN_ALL) {
		choose_digits(plan, i);
		return;
	}
	if (i < singles) {
		choose_single(plan, i);
		return;
	}
	i -= singles;
	if (plan->mode == PLAN_FRESH && i < OLD_VARIANTS * plan->fresh)
		choose_fresh(plan, i);
	else
		choose_random(plan, i);
}

/* ---- building ------------------------------------------------------------------ */

/* Change one word of the image, and its hash. */
static uint64_t put(struct scratch *scratch, uint64_t offset, const struct sim_unit *unit)
{
	char *at = scratch->mem + offset;
	uint64_t old, new;

	memcpy(&old, at, 8);
	memcpy(at + unit->at % 8, &unit->value, unit->size);
	memcpy(&new, at, 8);
	return sim_hash_word(offset, new) - sim_hash_word(offset, old);
}

static uint64_t build_line(struct scratch *scratch, const struct sim_line *line, uint32_t prefix)
{
	uint64_t delta = 0;

	pageset_add(scratch->dirty, line->number * SIM_LINE, SIM_LINE);
	for (uint32_t i = 0; i < prefix; i++)
		if (line->unit[i].size)
			delta += put(scratch, line->number * SIM_LINE + line->unit[i].at / 8u * 8u,
				     &line->unit[i]);
	return delta;
}

/* Has a cached store that is newer than the word arrived in its place? */
static bool overtaken(const struct plan *plan, const struct sim_word *word)
{
	uint32_t n = plan->sim->where[word->offset / SIM_LINE];
	const struct sim_line *line;

	if (!n)
		return false;
	line = &plan->sim->dirty[n - 1];
	for (uint32_t i = 0; i < plan->prefix[n - 1]; i++)
		if (line->unit[i].seq > word->seq &&
		    line->unit[i].at / 8 == word->offset % SIM_LINE / 8)
			return true;
	return false;
}

uint64_t plan_build(struct plan *plan, uint64_t i, struct scratch *scratch)
{
	const struct sim *sim = plan->sim;
	uint64_t hash = sim->hash;

	choose(plan, i);
	for (size_t n = 0; n < sim->ndirty; n++)
		if (plan->prefix[n])
			hash += build_line(scratch, &sim->dirty[n], plan->prefix[n]);
	for (size_t n = 0; n < sim->nword; n++) {
		const struct sim_word *word = &sim->word[n];
		struct sim_unit unit = {.value = word->value, .size = 8};

		if (!plan->word[n] || overtaken(plan, word))
			continue;
		pageset_add(scratch->dirty, word->offset, 8);
		hash += put(scratch, word->offset, &unit);
	}
	return hash;
}

bool plan_whole(const struct plan *plan)
{
	for (size_t n = 0; n < plan->sim->ndirty; n++)
		if (plan->prefix[n] < plan->sim->dirty[n].n)
			return false;
	for (size_t n = 0; n < plan->sim->nword; n++)
		if (!plan->word[n])
			return false;
	return true;
}

/* ---- telling --------------------------------------------------------------------- */

/* Lines as "offset:arrived/pending", those that the operation touched with a star. */
static void print_lines(const struct plan *plan, FILE *to)
{
	const struct sim *sim = plan->sim;
	unsigned column = 0;

	for (size_t n = 0; n < sim->ndirty; n++)
		fprintf(to, "%s%#llx:%u/%u%s", column++ % 6 ? "  " : "\n    ",
			(unsigned long long)(sim->dirty[n].number * SIM_LINE), plan->prefix[n],
			sim->dirty[n].n, plan->old[n] < sim->dirty[n].n ? "*" : "");
}

/* Words pending side by side: how many, or which, have arrived. */
static void print_words(const struct plan *plan, size_t first, size_t n, FILE *to)
{
	size_t arrived = 0;

	for (size_t i = 0; i < n; i++)
		arrived += plan->word[first + i];
	fprintf(to, "\n    words at %#llx: %zu of %zu",
		(unsigned long long)plan->sim->word[first].offset, arrived, n);
	if (arrived == 0 || arrived == n || n > 512)
		return;
	fputs(": ", to);
	for (size_t i = 0; i < n; i++)
		fputc(plan->word[first + i] ? '1' : '0', to);
}

static void print_copies(const struct plan *plan, FILE *to)
{
	const struct sim *sim = plan->sim;

	for (size_t i = 0, n; i < sim->nword; i += n) {
		for (n = 1; i + n < sim->nword; n++)
			if (sim->word[i + n].offset != sim->word[i + n - 1].offset + 8)
				break;
		print_words(plan, i, n, to);
	}
}

void plan_print(const struct plan *plan, FILE *to)
{
	static const char *const mode[] = {"exhaustive", "exhaustive in the operation", "sampled"};

	fprintf(to, "    %s; %zu dirty lines, %zu non-temporal words; arrived:", mode[plan->mode],
		plan->sim->ndirty, plan->sim->nword);
	print_lines(plan, to);
	print_copies(plan, to);
	fputc('\n', to);
}
