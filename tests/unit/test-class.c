/*
 * test-class.c - derives the table of size classes from the rules of class.h,
 * and holds every size against its bounds.
 */
#include "common.h"

#include "alloc/class.h"
#include "layout.h"

/* The sizes by rule: multiples of 8 from 16 to 64, then eight a doubling. */
static size_t derive_sizes(uint32_t *sizes)
{
	uint32_t size, doubling;
	size_t n = 0;

	for (size = 16; size <= 64; size += 8)
		sizes[n++] = size;
	for (doubling = 64; doubling < 65536; doubling *= 2)
		for (size = doubling + doubling / 8; size <= 2 * doubling; size += doubling / 8)
			sizes[n++] = size;
	return n;
}

/* Is at most 3 % of a slab of so many granules unused behind the last object? */
static bool tail_fits(uint32_t size, uint32_t granules)
{
	uint32_t bytes = granules * PM_GRANULE;

	return bytes >= size && bytes % size * 100 <= 3 * bytes;
}

static void table(void **state)
{
	uint32_t sizes[2 * PH_CLASSES];
	size_t i;

	(void)state;
	assert_int_equal(derive_sizes(sizes), PH_CLASSES);
	for (i = 0; i < PH_CLASSES; i++) {
		const struct ph_class *c = &ph_classes[i];
		uint32_t granules = 1;

		while (granules < 100 && !tail_fits(sizes[i], granules))
			granules++;
		assert_int_equal(c->size, sizes[i]);
		assert_int_equal(c->granules, granules);
		assert_int_equal(c->objects, granules * PM_GRANULE / sizes[i]);
		/* 1 to 8, and 15 for 60 KiB only. */
		assert_true(granules <= 8 || (granules == 15 && sizes[i] == 61440));
	}
	assert_int_equal(ph_classes[PH_CLASSES - 1].size, PH_SMALL_MAX);
}

/* A size gets the smallest class that holds it. */
static void smallest(void **state)
{
	size_t size;
	unsigned want = 0;

	(void)state;
	for (size = 1; size <= PH_SMALL_MAX; size++) {
		while (ph_classes[want].size < size)
			want++;
		assert_int_equal(ph_class_of(size), want);
	}
}

static void waste(void **state)
{
	size_t size;

	(void)state;
	for (size = 1; size <= PH_SMALL_MAX; size++) {
		size_t block = ph_classes[ph_class_of(size)].size;

		assert_true(block >= size);
		if (size > 64)
			assert_true((block - size) * 8 <= block);
		else if (size > 8)
			assert_true(block - size < 8);
	}
}

/*
 * Object i of a slab lies at i times its size from a granule boundary. What
 * alloc.h promises about addresses follows from the table.
 */
static void alignment(void **state)
{
	size_t size;

	(void)state;
	for (size = 1; size <= PH_SMALL_MAX; size++) {
		size_t block = ph_classes[ph_class_of(size)].size;

		assert_int_equal(block % 8, 0);
		if (size % 16 == 0)
			assert_int_equal(block % 16, 0);
		if (size >= 16 && !(size & (size - 1)))
			assert_int_equal(block, size);
	}
}

/* The bitmap areas of a slab's granules have a bit for each of its objects. */
static void bitmaps(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < PH_CLASSES; i++) {
		assert_true(ph_classes[i].size >= PM_OBJECT_MIN);
		assert_true(ph_classes[i].objects <= ph_classes[i].granules * PM_BITMAP_BYTES * 8u);
	}
	/* A span descriptor keeps the class in a byte. */
	assert_true(PH_CLASSES <= 256);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),     cmocka_unit_test(smallest), cmocka_unit_test(waste),
		cmocka_unit_test(alignment), cmocka_unit_test(bitmaps),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("class", tests, NULL, NULL);
}
