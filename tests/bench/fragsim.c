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
 *	first fit, best fit   objects of more than 4 KiB as runs of 512 bytes anywhere in
 *	           granules that they share
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

#define UNIT 512u
#define UNITS (PM_GRANULE / UNIT) /* of a granule */

/* All of memory in the order of addresses; the last one is free, and has no end. */
struct run {
	uint32_t start, n;
	bool used;
	struct run *next, *prev;
};

static struct run *runs;
static uint32_t *in_granule; /* runs that touch it */
static bool best_fit;

static void touch(const struct run *run, int by, uint64_t *granules)
{
	for (uint32_t g = run->start / UNITS; g <= (run->start + run->n - 1) / UNITS; g++) {
		*granules += by > 0 && !in_granule[g];
		in_granule[g] += (uint32_t)by;
		*granules -= by < 0 && !in_granule[g];
	}
}

static struct run *run_find(uint32_t n)
{
	struct run *best = NULL;

	for (struct run *run = runs; run; run = run->next)
		if (!run->used && run->n >= n && (!best || run->n < best->n)) {
			best = run;
			if (!best_fit || run->n == n)
				break;
		}
	return best;
}

static struct run *run_take(uint32_t n, uint64_t *granules)
{
	struct run *run = run_find(n), *rest;

	if (run->n > n) {
		rest = zeroed(1, sizeof(*rest));
		*rest = (struct run){run->start + n, run->n - n, false, run->next, run};
		if (rest->next)
			rest->next->prev = rest;
		run->next = rest;
		run->n = n;
	}
	run->used = true;
	touch(run, 1, granules);
	return run;
}

/* Join a free run with the one behind it, if that is free too. */
static void join(struct run *run)
{
	struct run *next = run->next;

	if (run->used || !next || next->used)
		return;
	run->n += next->n;
	run->next = next->next;
	if (run->next)
		run->next->prev = run;
	free(next);
}

static void run_give(struct run *run, uint64_t *granules)
{
	touch(run, -1, granules);
	run->used = false;
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
	if (runs && size > 4096) {
		object->block = (classes.class[cls].size + UNIT - 1) / UNIT * UNIT;
		object->run = run_take((uint32_t)(object->block / UNIT), granules);
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

static void simulate_runs(const struct set *set, bool best)
{
	struct run *all = zeroed(1, sizeof(*all));

	*all = (struct run){.n = UINT32_MAX};
	runs = all;
	best_fit = best;
	in_granule = zeroed(UINT32_MAX / UNITS, sizeof(*in_granule));
	simulate(set, best ? "best fit" : "first fit");
	free(in_granule);
	runs = NULL;
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
		if (set.live > 16384)
			continue; /* looking through all runs takes too long */
		simulate_runs(&set, false);
		simulate_runs(&set, true);
	}
	return 0;
}
