/*
 * test-fuzz.c - the checker survives every image: it never crashes, never reads
 * beyond the image, never writes, always ends, and leaves memory alone that was
 * never in use.
 *
 *	test-fuzz [seed [rounds]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "image.h"
#include "recovery/check.h"

#define MIB (UINT64_C(1) << 20)
#define CHANGES_MAX 12

static uint64_t seed = 1;
static unsigned rounds = 6000;

/* splitmix64 */
static uint64_t next(uint64_t *random)
{
	uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t below(uint64_t *random, uint64_t n)
{
	return next(random) % n;
}

static void count(void *arg, const struct pheap_problem *problem)
{
	assert_true(strlen(problem->message) > 0);
	++*(uint64_t *)arg;
}

/* The image is read-only while it is checked. */
static struct pheap_check_result check(struct image *image)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	uint64_t calls = 0;
	int err;

	mprotect(image->base, image->size, PROT_READ);
	err = ph_check_media(image->base, image->size, -1, &result, count, &calls);
	mprotect(image->base, image->size, PROT_READ | PROT_WRITE);
	assert_int_equal(err, result.problems ? -EUCLEAN : 0);
	assert_int_equal(calls == 0, result.problems == 0);
	return result;
}

/* ---- changes that can be taken back -------------------------------------------- */

struct changes {
	uint32_t n;
	uint64_t at[CHANGES_MAX], old[CHANGES_MAX];
	char sums[2][sizeof(struct pm_super)];
	struct pm_zone zones[PM_ZONES_MAX];
};

static uint64_t *word_at(struct image *image, uint64_t offset)
{
	return (uint64_t *)(void *)(image->base + offset / 8 * 8);
}

/* A place in metadata, every second time one where something is. */
static uint64_t some_place(struct image *image, uint64_t *random)
{
	const struct pm_zone *zone = &image->zone;
	uint64_t lane = image_at(image, 40);
	bool used = below(random, 2);
	uint64_t at = 0;

	for (int tries = 0; tries < 200; tries++) {
		switch (below(random, 9)) {
		case 0:
			at = below(random, PM_FIXED_END);
			break;
		case 1:
			at = PM_ZONE_TABLE + below(random, 2 * sizeof(*zone));
			break;
		case 2:
			at = below(random, 2) * PM_SUPER_B + below(random, 128);
			break;
		case 3:
		case 4:
			at = zone->tree + below(random, image_tree_bytes(zone->levels));
			break;
		case 5:
			at = zone->desc + below(random, zone->granules * sizeof(struct pm_span));
			break;
		case 7:
			at = PM_TYPE_TABLE + below(random, 5 * PM_LINE);
			break;
		case 6:
			at = zone->bits + below(random, zone->granules * PM_BITMAP_BYTES);
			break;
		default:
			at = lane + below(random, PM_PAGE);
			break;
		}
		if (!used || *word_at(image, at))
			break;
	}
	return at;
}

static uint64_t some_value(struct image *image, uint64_t *random, uint64_t old)
{
	switch (below(random, 10)) {
	case 0:
		return 0;
	case 1:
		return ~UINT64_C(0);
	case 2:
		return UINT64_C(1) << below(random, 64);
	case 3:
		return image->size - below(random, 2) * 8;
	case 4:
		return next(random);
	case 5:
		return old + below(random, 9) - 4;
	case 6:
		return *word_at(image, some_place(image, random));
	case 7:
		return below(random, image->size) / PM_PAGE * PM_PAGE;
	default:
		/* One byte, or one bit. */
		return old ^ (below(random, 2) ? below(random, 256) << below(random, 8) * 8
					       : UINT64_C(1) << below(random, 64));
	}
}

static void change(struct image *image, struct changes *changes, uint64_t *random)
{
	memcpy(changes->sums[0], image_super(image, 0), sizeof(struct pm_super));
	memcpy(changes->sums[1], image_super(image, 1), sizeof(struct pm_super));
	memcpy(changes->zones, image_zone(image, 0), sizeof(changes->zones));
	changes->n = 1 + (uint32_t)below(random, CHANGES_MAX);
	for (uint32_t i = 0; i < changes->n; i++) {
		uint64_t *word = word_at(image, some_place(image, random));

		changes->at[i] = (uint64_t)((char *)word - image->base);
		changes->old[i] = *word;
		*word = some_value(image, random, *word);
	}
	/* Mostly with valid sums: else nothing behind them would be looked at. */
	if (below(random, 4))
		image_sums(image, 2);
	if (image_super(image, 1)->zones == 1)
		image_zone(image, 1)->sum = 0;
}

static void take_back(struct image *image, const struct changes *changes)
{
	for (uint32_t i = changes->n; i--;)
		*word_at(image, changes->at[i]) = changes->old[i];
	memcpy(image_super(image, 0), changes->sums[0], sizeof(struct pm_super));
	memcpy(image_super(image, 1), changes->sums[1], sizeof(struct pm_super));
	memcpy(image_zone(image, 0), changes->zones, sizeof(changes->zones));
}

static void fuzz(uint64_t size, unsigned times)
{
	struct changes changes;
	unsigned clean = 0;
	struct image image;

	image_healthy(&image, size);
	for (unsigned i = 0; i < times; i++) {
		uint64_t random = seed + i;

		change(&image, &changes, &random);
		if (!check(&image).problems)
			clean++; /* in bits and heads any value may be right */
		take_back(&image, &changes);
	}
	assert_int_equal(check(&image).problems, 0);
	print_message("%u images of %ju MiB from seed %ju, %u of them valid\n", times,
		      (uintmax_t)(size / MIB), (uintmax_t)seed, clean);
	image_unmap(&image);
}

static void changed_words(void **state)
{
	(void)state;
	fuzz(8 * MIB, rounds);
	fuzz(64 * MIB, rounds / 4);
}

/* Whole areas of noise, dense or sparse. */
static void noise(void **state)
{
	struct image pristine, image;

	(void)state;
	image_healthy(&pristine, 8 * MIB);
	image_map(&image, 8 * MIB);
	for (unsigned i = 0; i < rounds / 20; i++) {
		uint64_t random = seed + i, mask = i % 3 ? 7 : 0;
		uint64_t start = PM_FIXED_END, end;

		memcpy(image.base, pristine.base, image.size);
		image_adopt(&image, 0);
		end = image.zone.data;
		if (i % 4 == 0) /* the tree, descriptors and bitmaps; or the tree alone */
			end = image.zone.desc;
		if (i % 4 == 1)
			start = image.zone.desc;
		for (uint64_t at = start; at < end; at++)
			if (!(next(&random) & mask))
				image.base[at] = (char)below(&random, i % 5 ? 256 : 9);
		assert_true(check(&image).problems > 0);
	}
	image_unmap(&image);
	image_unmap(&pristine);
}

/* An image of which only the first bytes are there. */
static void truncated(void **state)
{
	static const uint64_t sizes[] = {
		0,	1,	4095,  4096,	4097,		8 * 1024,
		28672,	65535,	65536, 65537,	65536 + 320,	69632,
		131072, 196608, MIB,   MIB + 1, 8 * MIB - 4096, 8 * MIB - 1};
	struct image pristine;

	(void)state;
	image_healthy(&pristine, 8 * MIB);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct pheap_check_result result = {.struct_size = sizeof(result)};
		struct image image;

		image_map(&image, sizes[i]);
		memcpy(image.base, pristine.base, sizes[i]);
		assert_int_equal(ph_check_media(image.base, sizes[i], -1, &result, NULL, NULL),
				 -EUCLEAN);
		image_unmap(&image);
	}
	image_unmap(&pristine);
}

/*
 * A terabyte of which nothing can be read that was never in use: the metadata of
 * granules in aligned groups of 64 that are free as a whole, and all data but the
 * head of a lane block, types and counts.
 */
static void untouched(void **state)
{
	const uint32_t first = 128; /* behind all but the last span of the image */
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct image image;
	char *desc, *bits;
	uint32_t end;

	(void)state;
	image_healthy(&image, UINT64_C(1) << 40);
	end = (image.zone.granules - 1) / 64 * 64;
	desc = image.base + image.zone.desc;
	bits = image.base + image.zone.bits;
	mprotect(desc + first * sizeof(struct pm_span),
		 (uint64_t)(end - first) * sizeof(struct pm_span), PROT_NONE);
	mprotect(bits + first * PM_BITMAP_BYTES, (uint64_t)(end - first) * PM_BITMAP_BYTES,
		 PROT_NONE);
	mprotect(image.base + image_at(&image, 50),
		 (uint64_t)(image.zone.granules - 50) * PM_GRANULE, PROT_NONE);
	assert_int_equal(ph_check_media(image.base, image.size, -1, &result, NULL, NULL), 0);
	assert_int_equal(result.objects, HEALTHY_OBJECTS);
	assert_int_equal(result.free_granules, image.zone.granules - HEALTHY_USED);
	image_unmap(&image);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changed_words),
		cmocka_unit_test(noise),
		cmocka_unit_test(truncated),
		cmocka_unit_test(untouched),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
