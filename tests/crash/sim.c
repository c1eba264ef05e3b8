/*
 * sim.c - keep track of what is durable and what is pending.
 *
 * `seen` runs along with `work`: it tells a store that changes nothing, which
 * needs no unit, from one that does, and a store nobody reported from one that
 * was.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "image.h"

static void die(const char *what)
{
	fprintf(stderr, "simulator: %s\n", what);
	abort();
}

/* Room for one more element of a growing array. */
static void *grow(void *array, size_t n, size_t *room, size_t element)
{
	if (n < *room)
		return array;
	*room = *room ? 2 * *room : 16;
	array = realloc(array, *room * element);
	if (!array)
		die("out of memory");
	return array;
}

static char *map(uint64_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("cannot map an image");
	return p;
}

struct sim *sim_new(uint64_t size)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	if (!sim)
		die("out of memory");
	sim->size = size;
	sim->work = map(size);
	sim->durable = map(size);
	sim->seen = map(size);
	sim->where = (uint32_t *)(void *)map(size / SIM_LINE * sizeof(*sim->where));
	sim_reset(sim, NULL);
	return sim;
}

void sim_delete(struct sim *sim)
{
	if (!sim)
		return;
	for (size_t i = 0; i < sim->room_dirty; i++)
		free(sim->dirty[i].unit);
	for (unsigned i = 0; i < SIM_CPUS; i++)
		free(sim->cpus[i].flush);
	free(sim->dirty);
	free(sim->word);
	munmap(sim->work, sim->size);
	munmap(sim->durable, sim->size);
	munmap(sim->seen, sim->size);
	munmap(sim->where, sim->size / SIM_LINE * sizeof(*sim->where));
	free(sim);
}

/* A page that is zero already is left alone: most of a pool is never touched. */
static void set_page(char *to, const char *from)
{
	static const char zero[4096];

	if (memcmp(to, from ? from : zero, sizeof(zero)))
		memcpy(to, from ? from : zero, sizeof(zero));
}

static uint64_t hash_page(const char *page, uint64_t offset)
{
	uint64_t sum = 0, value;

	for (unsigned at = 0; at < 4096; at += 8) {
		memcpy(&value, page + at, 8);
		if (value)
			sum += sim_hash_word(offset + at, value) - sim_hash_word(offset + at, 0);
	}
	return sum;
}

void sim_reset(struct sim *sim, const char *image)
{
	sim->hash = 0;
	for (uint64_t at = 0; at < sim->size; at += 4096) {
		set_page(sim->durable + at, image ? image + at : NULL);
		set_page(sim->work + at, sim->durable + at);
		set_page(sim->seen + at, sim->durable + at);
		sim->hash += hash_page(sim->durable + at, at);
	}
	for (size_t i = 0; i < sim->ndirty; i++)
		sim->where[sim->dirty[i].number] = 0;
	for (unsigned i = 0; i < SIM_CPUS; i++)
		sim->cpus[i].n = 0;
	sim->ndirty = sim->nword = 0;
	sim->seq = sim->unseen = 0;
	sim->stores = sim->copies = sim->flushes = sim->fences = 0;
	sim->cpu = 0;
	if (sim->stale)
		pageset_fill(sim->stale);
}

/* ---- what is pending ------------------------------------------------------- */

static struct sim_line *find_line(const struct sim *sim, uint64_t number)
{
	uint32_t i = sim->where[number];

	return i ? &sim->dirty[i - 1] : NULL;
}

static struct sim_line *make_line(struct sim *sim, uint64_t number)
{
	struct sim_line *line = find_line(sim, number);
	size_t room = sim->room_dirty;

	if (line)
		return line;
	sim->dirty = grow(sim->dirty, sim->ndirty, &sim->room_dirty, sizeof(*sim->dirty));
	if (room < sim->room_dirty)
		memset(&sim->dirty[room], 0, (sim->room_dirty - room) * sizeof(*sim->dirty));
	line = &sim->dirty[sim->ndirty++];
	line->number = number;
	line->n = 0;
	sim->where[number] = (uint32_t)sim->ndirty;
	return line;
}

/* The line has nothing pending any more. Its unit array stays for the next. */
static void drop_line(struct sim *sim, struct sim_line *line)
{
	struct sim_line *last = &sim->dirty[--sim->ndirty];
	struct sim_line old = *line;

	sim->where[old.number] = 0;
	if (line == last)
		return;
	*line = *last;
	sim->where[line->number] = (uint32_t)(line - sim->dirty) + 1;
	*last = old;
}

static bool word_pending(const struct sim *sim, uint64_t offset)
{
	for (size_t i = 0; i < sim->nword; i++)
		if (sim->word[i].offset == offset)
			return true;
	return false;
}

static void add_unit(struct sim *sim, uint64_t offset, unsigned size, uint64_t value)
{
	struct sim_line *line = make_line(sim, offset / SIM_LINE);
	size_t room = line->room;

	line->unit = grow(line->unit, line->n, &room, sizeof(*line->unit));
	line->room = (uint32_t)room;
	line->unit[line->n++] = (struct sim_unit){
		.seq = ++sim->seq,
		.value = value,
		.at = (uint8_t)(offset % SIM_LINE),
		.size = (uint8_t)size,
	};
}

/* One atom. It needs no unit where every prefix without it looks the same. */
static void store_unit(struct sim *sim, uint64_t offset, const char *src, unsigned size)
{
	uint64_t value = 0;

	if (!memcmp(sim->seen + offset, src, size) &&
	    (!sim->nword || !word_pending(sim, offset & ~UINT64_C(7))))
		return;
	memcpy(&value, src, size);
	memcpy(sim->seen + offset, src, size);
	add_unit(sim, offset, size, value);
}

static void store_range(struct sim *sim, uint64_t offset, const char *src, size_t length)
{
	while (length) {
		unsigned size = offset % 8 == 0 && length >= 8 ? 8 : 1;

		store_unit(sim, offset, src, size);
		offset += size;
		src += size;
		length -= size;
	}
}

/* ---- what becomes durable ---------------------------------------------------- */

static void set_durable(struct sim *sim, uint64_t offset, uint64_t value)
{
	uint64_t old;

	memcpy(&old, sim->durable + offset, 8);
	sim->hash += sim_hash_word(offset, value) - sim_hash_word(offset, old);
	memcpy(sim->durable + offset, &value, 8);
	if (sim->stale)
		pageset_add(sim->stale, offset, 8);
}

/* Older non-temporal words in the place of a durable unit can no longer win. */
static void overtake_words(struct sim *sim, uint64_t offset, uint64_t seq)
{
	for (size_t i = 0; i < sim->nword;)
		if (sim->word[i].offset == offset && sim->word[i].seq < seq)
			sim->word[i] = sim->word[--sim->nword];
		else
			i++;
}

static void settle_unit(struct sim *sim, uint64_t number, const struct sim_unit *unit)
{
	uint64_t offset = number * SIM_LINE + unit->at / 8u * 8u, word;

	if (!unit->size)
		return;
	memcpy(&word, sim->durable + offset, 8);
	memcpy((char *)&word + unit->at % 8, &unit->value, unit->size);
	set_durable(sim, offset, word);
	if (sim->nword)
		overtake_words(sim, offset, unit->seq);
}

static void settle_line(struct sim *sim, const struct sim_flush *flush)
{
	struct sim_line *line = find_line(sim, flush->line);
	uint32_t n = 0;

	if (!line)
		return;
	while (n < line->n && line->unit[n].seq <= flush->seq)
		settle_unit(sim, line->number, &line->unit[n++]);
	line->n -= n;
	if (!line->n)
		drop_line(sim, line);
	else
		memmove(line->unit, line->unit + n, line->n * sizeof(*line->unit));
}

/* Older cached units in the place of a durable word can no longer win. */
static void overtake_units(struct sim *sim, const struct sim_word *word)
{
	struct sim_line *line = find_line(sim, word->offset / SIM_LINE);
	unsigned at = word->offset % SIM_LINE;

	for (uint32_t i = 0; line && i < line->n; i++)
		if (line->unit[i].at / 8 == at / 8 && line->unit[i].seq < word->seq)
			line->unit[i].size = 0;
}

/* All words of a cpu, in the order in which they were stored. */
static void settle_words(struct sim *sim, unsigned cpu)
{
	size_t kept = 0;

	for (size_t i = 0; i < sim->nword; i++) {
		struct sim_word word = sim->word[i];

		if (word.cpu != cpu) {
			sim->word[kept++] = word;
			continue;
		}
		set_durable(sim, word.offset, word.value);
		overtake_units(sim, &word);
	}
	sim->nword = kept;
}

/* ---- the hook ------------------------------------------------------------------ */

static void tell(struct sim *sim, enum sim_event event)
{
	if (sim->event)
		sim->event(sim->event_arg, event);
}

static uint64_t place(const struct sim *sim, const void *addr, size_t length)
{
	uint64_t offset = sim_offset(sim, addr);

	if (offset >= sim->size || length > sim->size - offset)
		die("a store or flush outside the pool");
	return offset;
}

void sim_store(struct sim *sim, void *dst, const void *src, size_t length)
{
	if (sim->silent)
		sim_absorb_all(sim);
	store_range(sim, place(sim, dst, length), src, length);
	sim->stores++;
	tell(sim, SIM_STORE);
}

void sim_copy_nt(struct sim *sim, void *dst, const void *src, size_t length)
{
	uint64_t offset = place(sim, dst, length);

	if (offset % 8 || length % 8)
		die("a non-temporal copy of parts of words");
	for (size_t at = 0; at < length; at += 8) {
		struct sim_word *word;

		sim->word = grow(sim->word, sim->nword, &sim->room_word, sizeof(*sim->word));
		word = &sim->word[sim->nword++];
		*word = (struct sim_word){
			.seq = ++sim->seq, .offset = offset + at, .cpu = sim->cpu};
		memcpy(&word->value, (const char *)src + at, 8);
	}
	memcpy(sim->seen + offset, src, length);
	sim->copies++;
	tell(sim, SIM_NT);
}

static void flush_line(struct sim *sim, uint64_t number)
{
	struct sim_cpu *cpu = &sim->cpus[sim->cpu];

	if (memcmp(sim->work + number * SIM_LINE, sim->seen + number * SIM_LINE, SIM_LINE)) {
		if (!sim->unseen++)
			sim->unseen_at = number * SIM_LINE;
		sim_absorb(sim, sim->work + number * SIM_LINE, SIM_LINE);
	}
	if (!find_line(sim, number))
		return;
	cpu->flush = grow(cpu->flush, cpu->n, &cpu->room, sizeof(*cpu->flush));
	cpu->flush[cpu->n++] = (struct sim_flush){.line = number, .seq = sim->seq};
}

void sim_flush(struct sim *sim, const void *addr, size_t length)
{
	uint64_t offset = sim_offset(sim, addr);

	if (sim->mutated && offset < sim->size && length > sim->size - offset)
		length = sim->size - offset;
	else if (!sim->mutated || offset < sim->size)
		place(sim, addr, length);
	else
		length = 0;
	for (uint64_t n = offset / SIM_LINE; length && n <= (offset + length - 1) / SIM_LINE; n++)
		flush_line(sim, n);
	sim->flushes++;
	tell(sim, SIM_FLUSH);
}

void sim_fence(struct sim *sim)
{
	struct sim_cpu *cpu = &sim->cpus[sim->cpu];

	tell(sim, SIM_FENCE);
	/* Words first: they overtake older units, newer units overtake them. */
	settle_words(sim, sim->cpu);
	for (size_t i = 0; i < cpu->n; i++)
		settle_line(sim, &cpu->flush[i]);
	cpu->n = 0;
	sim->fences++;
	tell(sim, SIM_FENCED);
}

static void hook_store(void *arg, void *dst, const void *src, size_t length)
{
	sim_store(arg, dst, src, length);
}

static void hook_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	sim_copy_nt(arg, dst, src, length);
}

static void hook_flush(void *arg, const void *addr, size_t length)
{
	sim_flush(arg, addr, length);
}

static int hook_fence(void *arg)
{
	sim_fence(arg);
	return 0;
}

const struct ph_hook sim_hook = {
	.store = hook_store,
	.copy_nt = hook_copy_nt,
	.flush = hook_flush,
	.fence = hook_fence,
};

/* ---- the program's own stores ------------------------------------------------- */

void sim_user_store(struct sim *sim, void *dst, const void *src, size_t length)
{
	store_range(sim, place(sim, dst, length), src, length);
	memcpy(dst, src, length);
}

void sim_absorb(struct sim *sim, const void *addr, size_t length)
{
	store_range(sim, place(sim, addr, length), addr, length);
}

void sim_absorb_all(struct sim *sim)
{
	const uint64_t page = 4096;

	for (uint64_t at = 0; at < sim->size; at += page)
		if (memcmp(sim->work + at, sim->seen + at, page))
			sim_absorb(sim, sim->work + at, page);
}

uint64_t sim_unseen(const struct sim *sim)
{
	const uint64_t page = 4096;

	for (uint64_t at = 0; at < sim->size; at += page) {
		if (!memcmp(sim->work + at, sim->seen + at, page))
			continue;
		while (sim->work[at] == sim->seen[at])
			at++;
		return at;
	}
	return SIM_NOWHERE;
}
