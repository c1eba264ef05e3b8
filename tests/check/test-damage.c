/*
 * test-damage.c - every kind of damage in an image is reported with the number of
 * the invariant that it breaks, and an image without any is clean.
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

#include "damage.h"
#include "recovery/check.h"

#define MIB (UINT64_C(1) << 20)

/* The invariants that were named, each once, in the order of the first time. */
struct named {
	char ids[128];
	uint64_t calls;
	bool show;
};

static void note(void *arg, const struct pheap_problem *problem)
{
	struct named *named = arg;

	named->calls++;
	assert_non_null(problem->message);
	assert_int_equal(strlen(problem->invariant), 2);
	if (named->show)
		fprintf(stderr, "  %s at 0x%jx: %s\n", problem->invariant,
			(uintmax_t)problem->offset, problem->message);
	if (strstr(named->ids, problem->invariant))
		return;
	if (named->ids[0])
		strcat(named->ids, " ");
	strcat(named->ids, problem->invariant);
}

static struct pheap_check_result check(struct image *image, struct named *named)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	int err = ph_check_media(image->base, image->size, -1, &result, note, named);

	assert_int_equal(err, result.problems ? -EUCLEAN : 0);
	assert_int_equal(named->calls == 0, result.problems == 0);
	return result;
}

static void healthy_image_is_clean(void **state)
{
	static const uint64_t sizes[] = {8 * MIB,   9 * MIB,   12 * MIB + PM_GRANULE,
					 16 * MIB,  33 * MIB,  64 * MIB,
					 100 * MIB, 1024 * MIB};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct pheap_check_result result;
		struct named named = {.show = true};
		struct image image;

		image_healthy(&image, sizes[i]);
		result = check(&image, &named);
		assert_string_equal(named.ids, "");
		assert_int_equal(result.objects, HEALTHY_OBJECTS);
		assert_int_equal(result.slabs, HEALTHY_SLABS);
		assert_int_equal(result.large_objects, HEALTHY_LARGE);
		assert_int_equal(result.used_granules, HEALTHY_USED);
		assert_int_equal(result.free_granules, image.zone.granules - HEALTHY_USED);
		assert_int_equal(result.object_bytes,
				 4096 * 16 + 100 * 64 + 39 * 3328 + 16 * 61440 + 2730 * 24 + 98304 +
					 65536 + (4 + 21) * PM_GRANULE + 3 * 48 + 2 * 4096);
		image_unmap(&image);
	}
}

/* The whole tree in one line, first rows of every length, and leaves alone. */
static void every_tree_shape_is_clean(void **state)
{
	(void)state;
	for (uint32_t granules = 1; granules < 2100; granules += granules < 70 ? 1 : 97) {
		struct named named = {.show = true};
		struct image image;

		image_map(&image, PM_FIXED_END + (granules + granules / 100 + 1) * UINT64_C(65536));
		image_format(&image, "");
		for (uint32_t i = 0; i < image.zone.granules; i += 3)
			image_slab(&image, i, 512, i % 128);
		image_tree_junk(&image, 0x77);
		image_tree(&image);
		check(&image, &named);
		assert_string_equal(named.ids, "");
		image_unmap(&image);
	}
}

/* A pool of 8 MiB that has grown by a zone with a large object in it; copy B of the
 * superblock knows, and is the newer one. */
static void two_zones_are_clean(void **state)
{
	struct pm_zone added = {.tree = 8 * MIB, .granules = 100, .levels = 7};
	struct image image, second = {0};
	struct pheap_check_result result;
	struct named named = {.show = true};

	(void)state;
	image_map(&image, 16 * MIB);
	image.size = 8 * MIB;
	image_fill(&image);
	image.size = 16 * MIB;
	image_super(&image, 1)->sequence++;
	image_super(&image, 1)->size = image.size;
	image_super(&image, 1)->zones = 2;
	added.desc = added.tree + PM_PAGE;
	added.bits = added.desc + 2 * PM_PAGE;
	added.data = 9 * MIB;
	*image_zone(&image, 1) = added;
	image_sums(&image, 2);
	second.base = image.base;
	image_adopt(&second, 1);
	image_large(&second, 32, 100000);
	image_tree(&second);
	image_root(&image, 5, "in zone 1", image_at(&second, 32));

	result = check(&image, &named);
	assert_string_equal(named.ids, "");
	assert_int_equal(result.large_objects, HEALTHY_LARGE + 1);
	assert_int_equal(result.free_granules, 125 + 100 - HEALTHY_USED - 2);
	named.show = false;
	image_desc(&second, 32)->flags = 1;
	check(&image, &named);
	assert_string_equal(named.ids, "D2");
	free(second.taken);
	image_unmap(&image);
}

/* All of the words of one are among those of the other. */
static bool all_in(const char *ids, const char *others)
{
	for (; *ids; ids += ids[2] ? 3 : 2) {
		char id[3] = {ids[0], ids[1], 0};

		if (!strstr(others, id))
			return false;
	}
	return true;
}

/* In how many cases the checker named something else? exactly: no more, either. */
static unsigned plant_all(uint64_t size, bool exactly)
{
	struct image pristine, image;
	unsigned wrong = 0;

	image_healthy(&pristine, size);
	image_map(&image, size);
	for (size_t i = 0; i < damages_n; i++) {
		const struct damage *damage = &damages[i];
		char first[3] = {damage->invariants[0], damage->invariants[1], 0};
		struct named named = {0};

		memcpy(image.base, pristine.base, image.size);
		image_adopt(&image, 0);
		damage->plant(&image);
		check(&image, &named);
		if (exactly ? all_in(damage->invariants, named.ids) &&
				      all_in(named.ids, damage->invariants)
			    : all_in(first, named.ids))
			continue;
		wrong++;
		print_error("%s: expected %s, but:\n", damage->what, damage->invariants);
		named.show = true;
		check(&image, &named);
	}
	image_unmap(&image);
	image_unmap(&pristine);
	return wrong;
}

static void damage_is_named(void **state)
{
	(void)state;
	assert_int_equal(plant_all(8 * MIB, true), 0);
}

/* What falls with the invariant varies with the size of the pool. */
static void damage_is_named_in_a_larger_pool(void **state)
{
	(void)state;
	assert_int_equal(plant_all(24 * MIB, false), 0);
}

/* One invariant broken a thousand times: all are counted, few are described. */
static void problems_are_counted(void **state)
{
	struct pheap_check_result result;
	struct named named = {0};
	struct image image;

	(void)state;
	image_healthy(&image, 64 * MIB);
	*image_node(&image, 0, 0) = 0;
	result = check(&image, &named);
	assert_string_equal(named.ids, "B5");
	assert_int_equal(result.problems, image.zone.granules - HEALTHY_USED);
	assert_true(named.calls < 32);
	assert_int_equal(ph_check_media(image.base, image.size, -1, &result, NULL, NULL), -EUCLEAN);
	image_unmap(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(healthy_image_is_clean),
		cmocka_unit_test(every_tree_shape_is_clean),
		cmocka_unit_test(two_zones_are_clean),
		cmocka_unit_test(damage_is_named),
		cmocka_unit_test(damage_is_named_in_a_larger_pool),
		cmocka_unit_test(problems_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
