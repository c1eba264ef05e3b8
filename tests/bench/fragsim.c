/*
 * fragsim.c - how much of the memory in use is in no object, under random replacement,
 * for several ways to carve spans: the figures behind the choice of size classes.
 *
 * A live set of so many objects; again and again a random one is freed and another of a
 * random size takes its place, each doubling of sizes as likely as the others. Only the
 * arithmetic of spans is simulated: no thread caches, no slabs kept empty, so this is what
 * a policy can reach at best. Means over the second half, after each object has been
 * replaced some ten times.
 *
 *	slabs      of the library's classes, the fullest first
 *	eight      the same, with eight classes a doubling up to 512 KiB
 *	granules   every object above 64 KiB in whole granules
 *	upwards    slabs; before a new one is made, an object may take a place of one of the
 *	           next two classes
 *	runs       objects of more than 4 KiB as runs of units of 512 bytes, by best fit, in
 *	           granules that they share
 *	best fit   every object a run of units of 16 bytes anywhere: the tightest hole, the
 *	           lowest of these. No classes, no alignment, no metadata: a mark to measure the
 *	           others by
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/class.h"
#include "layout.h"

#define TURNS 24u /* times that each object is replaced */
#define SAMPLES 50u

static uint64_t random_state;

/* xorshift */
static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		exit(1);
	return p;
}

/* ---- slabs ----------------------------------------------------------------------- */

struct slab {
	unsigned cls, free;
	struct slab *next, *prev;
};

struct classes {
	struct ph_class class[128];
	unsigned n, upwards;
};

static struct classes classes;
static struct slab *partial[128];

static void unlink_slab(struct slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		partial[slab->cls] = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
}

static void link_slab(struct slab *slab)
{
	slab->prev = NULL;
	slab->next = partial[slab->cls];
	if (slab->next)
		slab->next->prev = slab;
	partial[slab->cls] = slab;
}

static struct slab *fullest(unsigned cls)
{
	struct slab *best = partial[cls];

	for (struct slab *slab = best; slab; slab = slab->next)
		if (slab->free < best->free)
			best = slab;
	return best;
}

static struct slab *slab_take(unsigned cls, uint64_t *granules)
{
	struct slab *slab = fullest(cls);

	for (unsigned up = 1; !slab && up <= classes.upwards && cls + up < classes.n; up++)
		slab = fullest(cls + up);
	if (!slab) {
		slab = zeroed(1, sizeof(*slab));
		slab->cls = cls;
		slab->free = classes.class[cls].objects;
		*granules += classes.class[cls].granules;
		link_slab(slab);
	}
	if (!--slab->free)
		unlink_slab(slab);
	return slab;
}

static void slab_give(struct slab *slab, uint64_t *granules)
{
	if (!slab->free++)
		link_slab(slab);
	if (slab->free < classes.class[slab->cls].objects)
		return;
	unlink_slab(slab);
	*granules -= classes.class[slab->cls].granules;
	free(slab);
}

/* ---- runs -------------------------------------------------------------------------- */

/* Holes of so many units or more are in the last list. */
#define BINS 8192u

/* Runs in the order of addresses: all of memory, of which the last one is free and has no
 * end, or one granule. */
struct run {
	uint32_t start, n;
	bool used;
	struct run *next, *prev;     /* neighbours */
	struct run *larger, *lesser; /* holes of the same length, by address */
};

static struct {
	uint32_t unit;	/* bytes; 0: there are no runs */
	uint64_t above; /* objects that are larger are runs */
	bool inside;	/* each in one granule */
	uint32_t end;	/* of the granules there were ever */
	struct run *hole[BINS];
	uint64_t any[BINS / 64]; /* a bit for each list that is not empty */
	uint32_t *users;	 /* runs that touch a granule */
} runs;

static unsigned bin_of(const struct run *run)
{
	return run->n < BINS ? run->n : BINS - 1;
}

static void hole_add(struct run *run)
{
	struct run **link = &runs.hole[bin_of(run)];

	run->lesser = NULL;
	while (*link && (*link)->start < run->start) {
		run->lesser = *link;
		link = &(*link)->larger;
	}
	run->larger = *link;
	if (run->larger)
		run->larger->lesser = run;
	*link = run;
	runs.any[bin_of(run) / 64] |= UINT64_C(1) << bin_of(run) % 64;
}

static void hole_remove(struct run *run)
{
	unsigned bin = bin_of(run);

	if (run->lesser)
		run->lesser->larger = run->larger;
	else
		runs.hole[bin] = run->larger;
	if (run->larger)
		run->larger->lesser = run->lesser;
	if (!runs.hole[bin])
		runs.any[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

static struct run *hole_find(uint32_t n)
{
	uint64_t bits = runs.any[n / 64] & ~UINT64_C(0) << n % 64;

	for (unsigned w = n / 64;;) {
		if (bits)
			return runs.hole[w * 64 + (unsigned)__builtin_ctzll(bits)];
		if (++w == BINS / 64)
			return NULL;
		bits = runs.any[w];
	}
}

static struct run *run_new(uint32_t start, uint32_t n, struct run *prev, struct run *next)
{
	struct run *run = zeroed(1, sizeof(*run));

	*run = (struct run){.start = start, .n = n, .prev = prev, .next = next};
	if (prev)
		prev->next = run;
	if (next)
		next->prev = run;
	return run;
}

/* Granules count while a run is in them. */
static void touch(const struct run *run, int by, uint64_t *granules)
{
	uint64_t first = (uint64_t)run->start * runs.unit, last = first + run->n * runs.unit - 1;

	for (uint64_t g = first / PM_GRANULE; g <= last / PM_GRANULE; g++) {
		*granules += by > 0 && !runs.users[g];
		runs.users[g] += (uint32_t)by;
		*granules -= by < 0 && !runs.users[g];
	}
}

static struct run *run_take(uint64_t bytes, uint64_t *granules)
{
	uint32_t n = (uint32_t)(bytes / runs.unit);
	struct run *run = hole_find(n);

	if (!run) { /* a granule that has no neighbours */
		run = run_new(runs.end, PM_GRANULE / runs.unit, NULL, NULL);
		runs.end += run->n;
	} else {
		hole_remove(run);
	}
	if (run->n > n) {
		hole_add(run_new(run->start + n, run->n - n, run, run->next));
		run->n = n;
	}
	run->used = true;
	touch(run, 1, granules);
	return run;
}

/* A free run joins the one behind it, if that is free too. */
static void join(struct run *run)
{
	struct run *next = run->next;

	if (run->used || !next || next->used)
		return;
	hole_remove(run);
	hole_remove(next);
	run->n += next->n;
	run->next = next->next;
	if (run->next)
		run->next->prev = run;
	free(next);
	hole_add(run);
}

static void run_give(struct run *run, uint64_t *granules)
{
	touch(run, -1, granules);
	run->used = false;
	hole_add(run);
	join(run);
	if (run->prev)
		join(run->prev);
}

/* ---- replacement -------------------------------------------------------------------- */

struct object {
	struct slab *slab;
	struct run *run;
	uint64_t size, block;
};

struct set {
	uint64_t least; /* bytes of the smallest object */
	unsigned doublings, live;
};

static uint64_t draw_size(const struct set *set)
{
	uint64_t r = draw(), least = set->least << (r >> 40) % set->doublings;

	return least + (least * (r & 0xffff) >> 16);
}

static unsigned class_of(uint64_t size)
{
	unsigned cls = 0;

	while (cls < classes.n && classes.class[cls].size < size)
		cls++;
	return cls;
}

static void give(struct object *object, uint64_t *granules)
{
	if (object->slab)
		slab_give(object->slab, granules);
	else if (object->run)
		run_give(object->run, granules);
	else
		*granules -= object->block / PM_GRANULE;
}

static void take(struct object *object, uint64_t size, uint64_t *granules)
{
	uint64_t whole = (size + PM_GRANULE - 1) / PM_GRANULE * PM_GRANULE;
	unsigned cls = class_of(size);

	*object = (struct object){.size = size, .block = whole};
	if (runs.unit && size > runs.above) {
		object->block = runs.inside ? classes.class[cls].size : size;
		object->block = (object->block + runs.unit - 1) / runs.unit * runs.unit;
		object->run = run_take(object->block, granules);
	} else if (cls < classes.n && (size <= PM_GRANULE || classes.class[cls].size < whole)) {
		object->slab = slab_take(cls, granules);
		object->block = classes.class[object->slab->cls].size;
	} else {
		*granules += whole / PM_GRANULE;
	}
}

static void simulate(const struct set *set, const char *rule)
{
	uint64_t granules = 0, size = 0, block = 0, ops = (uint64_t)set->live * TURNS;
	struct object *objects = zeroed(set->live, sizeof(*objects));
	double internal = 0, external = 0;
	unsigned samples = 0;

	random_state = 88172645463325252u;
	memset(partial, 0, sizeof(partial));
	for (uint64_t i = 0; i < ops; i++) {
		struct object *object = &objects[i < set->live ? i : draw() % set->live];

		if (object->size)
			give(object, &granules);
		size -= object->size;
		block -= object->block;
		take(object, draw_size(set), &granules);
		size += object->size;
		block += object->block;
		if (size > block || block > granules * PM_GRANULE)
			abort();
		if (i < ops / 2 || i % (ops / 2 / SAMPLES + 1))
			continue;
		internal += 1 - (double)size / (double)block;
		external += 1 - (double)block / (double)(granules * PM_GRANULE);
		samples++;
	}
	internal /= samples;
	external /= samples;
	printf("%llu-%llu\t%u\t%s\t%.1f\t%.1f\t%.1f\n", (unsigned long long)set->least,
	       (unsigned long long)set->least << set->doublings, set->live, rule, 100 * internal,
	       100 * external, 100 * (1 - (1 - internal) * (1 - external)));
	/* What is left over is the system's to take back. */
	free(objects);
}

static void library_classes(unsigned n)
{
	memset(&classes, 0, sizeof(classes));
	memcpy(classes.class, ph_classes, n * sizeof(ph_classes[0]));
	classes.n = n;
}

static void add_eight(void)
{
	library_classes(PH_SMALL_CLASSES);
	for (uint32_t doubling = PM_GRANULE; doubling < 8 * PM_GRANULE; doubling *= 2)
		for (uint32_t size = doubling + doubling / 8; size <= 2 * doubling;
		     size += doubling / 8) {
			uint32_t n = 1;

			while (n * size % PM_GRANULE)
				n++;
			classes.class[classes.n++] = (struct ph_class){
				size, (uint16_t)(n * size / PM_GRANULE), (uint16_t)n};
		}
}

static void simulate_runs(const struct set *set, const char *rule, uint32_t unit, uint64_t above)
{
	memset(&runs, 0, sizeof(runs));
	runs.unit = unit;
	runs.above = above;
	runs.inside = above > 0;
	runs.users = zeroed((UINT64_C(1) << 32) * unit / PM_GRANULE, sizeof(*runs.users));
	if (!runs.inside)
		hole_add(run_new(0, UINT32_MAX, NULL, NULL));
	simulate(set, rule);
	free(runs.users);
	runs.unit = 0;
}

int main(int argc, char **argv)
{
	static const unsigned large[] = {30, 100, 1000, 10000};
	static const unsigned small[] = {4096, 16384, 65536};
	bool quick = argc > 1 && !strcmp(argv[1], "--quick");

	printf("sizes\tlive\trule\tinternal_%%\texternal_%%\ttotal_%%\n");
	for (unsigned i = 0; i < 4u - quick; i++) {
		const struct set set = {PM_GRANULE, 3, large[i]};

		library_classes(PH_SMALL_CLASSES);
		simulate(&set, "granules");
		library_classes(PH_CLASSES);
		simulate(&set, "slabs");
		add_eight();
		simulate(&set, "eight");
	}
	for (unsigned i = 0; i < 3u - 2 * quick; i++) {
		const struct set set = {8, 13, small[i]};

		library_classes(PH_SMALL_CLASSES);
		simulate(&set, "slabs");
		classes.upwards = 2;
		simulate(&set, "upwards");
		classes.upwards = 0;
		simulate_runs(&set, "runs", 512, 4096);
		simulate_runs(&set, "best fit", 16, 0);
	}
	return 0;
}
