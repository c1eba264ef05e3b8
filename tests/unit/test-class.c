/*
 * test-class.c - derives the table of size classes from the rules of class.h,
 * and holds every size against its bounds.
 */
#include "common.h"

#include "alloc/class.h"
#include "alloc/span.h"
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
	for (doubling = 65536; doubling < 262144; doubling *= 2)
		for (size = doubling + doubling / 4; size < 2 * doubling; size += doubling / 4)
			if (size % PM_GRANULE)
				sizes[n++] = size;
	return n;
}

/* Is at most 3 % of a slab of so many granules unused behind the last object? */
static bool tail_fits(uint32_t size, uint32_t granules)
{
	uint32_t bytes = granules * PM_GRANULE;

	return bytes >= size && bytes % size * 100 <= (size > PH_SMALL_MAX ? 0 : 3 * bytes);
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
	assert_int_equal(ph_classes[PH_SMALL_CLASSES - 1].size, PH_SMALL_MAX);
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

/* Above 64 KiB: the class, unless whole granules are no larger. */
static void medium(void **state)
{
	size_t size, span, unused;

	(void)state;
	for (size = PH_SMALL_MAX + 1; size <= MIB(2); size++) {
		unsigned cls = ph_medium_class(size), want = PH_SMALL_CLASSES;

		span = (size + PM_GRANULE - 1) / PM_GRANULE * PM_GRANULE;
		while (want < PH_CLASSES && ph_classes[want].size < size)
			want++;
		if (want < PH_CLASSES && ph_classes[want].size >= span)
			want = PH_CLASSES;
		assert_int_equal(cls, want);
		unused = (cls < PH_CLASSES ? ph_classes[cls].size : span) - size;
		assert_true(unused * 100 <= (size + unused) * (size <= KIB(320)	  ? 20
							       : size <= KIB(512) ? 17
										  : 12.5));
	}
}

/*
 * With r = 2^64 / size, rounded up, for offsets up to the end of the rest behind the last
 * object: the high part of offset * r is the object's number, and the fraction is less
 * than r if and only if the object begins there. For an offset of i * size + k the
 * product is i * 2^64 + i * e + k * r, where e = r * size - 2^64 < size: both follow from
 * (i + 1) * e < r, which is hardest for the last object. Starts and their neighbours are
 * tried as well.
 */
static void reciprocals(void **state)
{
	(void)state;
	for (size_t c = 0; c < PH_CLASSES; c++) {
		uint64_t size = ph_classes[c].size, objects = ph_classes[c].objects;
		uint64_t bytes = (uint64_t)ph_classes[c].granules * PM_GRANULE;
		uint64_t r = ph_reciprocal(size);

		assert_true(bytes <= MIB(1));
		assert_true((objects + 1) * (r * size) < r); /* modulo 2^64 */
		for (uint64_t i = 0; i <= objects; i++) {
			const uint64_t inside[] = {0, 1, size / 2, size - 1};

			for (unsigned k = 0; k < 4 && i * size + inside[k] < bytes; k++) {
				struct ph_product product = ph_product(i * size + inside[k], r);

				assert_int_equal(product.quotient, i);
				assert_true((product.fraction < r) == !inside[k]);
			}
		}
	}
	/* And whatever size a slab of a megabyte may ever have. */
	for (uint64_t size = 16; size <= KIB(512); size += 8) {
		uint64_t r = ph_reciprocal(size);

		assert_true((MIB(1) / size + 1) * (r * size) < r);
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
		cmocka_unit_test(table),       cmocka_unit_test(smallest), cmocka_unit_test(waste),
		cmocka_unit_test(alignment),   cmocka_unit_test(bitmaps),  cmocka_unit_test(medium),
		cmocka_unit_test(reciprocals),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("class", tests, NULL, NULL);
}
