/*
 * image.h - crash images: every state, or a well chosen part of all states, that
 * the durable image and what is pending (sim.h) allow.
 *
 * A plan names the images of one crash point by numbers, so that any of them can
 * be built again from the number alone:
 *
 *   - where the product of all choices is within the limit: all of them;
 *   - else, in this order: nothing pending has arrived; everything; each line
 *     alone; each line missing; each non-temporal word missing; if within the
 *     limit, every choice for the lines that the current operation has touched
 *     (and none or all words), with what older operations left behind absent,
 *     present and at random; finally random choices.
 *
 * Where the kernel writes pages back (sim->pages), the choice is between old and new for
 * each 512-byte sector that has pending stores: all of them within the limit; else
 * nothing, everything, each sector alone, each sector missing, random choices, every
 * other one of them by lines.
 *
 * Images are built in a scratch copy of the durable image. It remembers which
 * chunks of it were written, by the builder, by the library under test (through
 * scratch_hook) or by the program, so that going back costs little.
 */
#ifndef CRASH_IMAGE_H
#define CRASH_IMAGE_H

#include <stdio.h>

#include "sim.h"

/* ---- sets of chunks ------------------------------------------------------- */

#define CHUNK 1024u
#define SECTOR 512u

struct pageset {
	uint64_t chunks;
	uint8_t *mark;
	uint32_t *list;
	size_t n;
};

struct pageset *pageset_new(uint64_t size);
void pageset_delete(struct pageset *set);
void pageset_fill(struct pageset *set);
void pageset_add(struct pageset *set, uint64_t offset, uint64_t length);

/* ---- scratch ---------------------------------------------------------------- */

struct scratch {
	uint64_t size;
	char *mem;
	struct pageset *dirty; /* where it may differ from the sim's durable image */
	struct sim *sim;
};

/* One for a sim, which tells it where the durable image changes. */
struct scratch *scratch_new(struct sim *sim);
void scratch_delete(struct scratch *scratch);

/* Make it equal to the durable image again. */
void scratch_restore(struct scratch *scratch);

/* The same, when something may have written past the hook: compares everything.
 * Returns the offset of a difference nobody had reported, or SIM_NOWHERE. */
uint64_t scratch_verify(struct scratch *scratch);

/* For heaps on a scratch: everything takes effect at once, and is remembered. */
extern const struct ph_hook scratch_hook;
void scratch_user_store(struct scratch *scratch, void *dst, const void *src, size_t length);

/* ---- plans -------------------------------------------------------------------- */

struct plan_limits {
	uint64_t exhaustive; /* up to so many images a plan takes all */
	uint32_t singles;    /* at most so many lines alone, lines missing, words missing */
	uint32_t samples;    /* random images */
};

enum plan_mode {
	PLAN_ALL,   /* exhaustive */
	PLAN_FRESH, /* exhaustive in what the operation touched, sampled beyond */
	PLAN_SAMPLE,
};

struct plan {
	const struct sim *sim;
	struct plan_limits limits;
	enum plan_mode mode;
	uint64_t seed;
	uint64_t images; /* numbers 0 .. images - 1 */
	uint64_t fresh;	 /* images per variant of the old lines */

	/* The choice made last. */
	uint32_t *prefix; /* of each dirty line: units that have arrived */
	uint32_t *old;	  /* of each dirty line: units from before the operation */
	bool *word;	  /* of each pending word: has it arrived? */
	size_t room_lines, room_words;

	/* sim->pages: of each dirty line its sector, numbered from 0 in order of their
	 * first lines; how many there are. */
	uint32_t *sector;
	uint32_t sectors;
};

/*
 * Plan the images of this moment. mark: sim->seq when the current operation
 * began. A plan may be made again and again; plan_free() ends it.
 */
void plan_make(struct plan *plan, const struct sim *sim, const struct plan_limits *limits,
	       uint64_t mark, uint64_t seed);
void plan_free(struct plan *plan);

/* Build image number i in a restored scratch of the same sim; gives its hash. */
uint64_t plan_build(struct plan *plan, uint64_t i, struct scratch *scratch);

/* Has everything arrived in the image built last? */
bool plan_whole(const struct plan *plan);

/* What has arrived in the image built last. */
void plan_print(const struct plan *plan, FILE *to);

#endif
