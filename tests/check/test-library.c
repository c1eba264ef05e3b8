/*
 * test-library.c - the checker against pools that the library itself made: in
 * memory, in a file, after a crash, and damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pheap.h>

#include "damage.h"
#include "pool.h"
#include "recovery/check.h"

#define SIZE (UINT64_C(16) << 20)
#define TABLE 4000u /* slots: an object of 32000 bytes */

struct named {
	char ids[128];
	bool show;
};

static void note(void *arg, const struct pheap_problem *problem)
{
	struct named *named = arg;

	if (named->show)
		print_error("  %s at 0x%jx: %s\n", problem->invariant, (uintmax_t)problem->offset,
			    problem->message);
	if (strstr(named->ids, problem->invariant))
		return;
	if (named->ids[0])
		strcat(named->ids, " ");
	strcat(named->ids, problem->invariant);
}

static struct pheap_check_result assert_clean(struct image *image)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct named named = {.show = true};

	ph_check_media(image->base, image->size, -1, &result, note, &named);
	assert_string_equal(named.ids, "");
	return result;
}

static void assert_done(int err)
{
	if (err)
		fail_msg("%s", pheap_errormsg());
}

/* ---- something to check ------------------------------------------------------------ */

/* What is in the pool, as this program counts it. */
struct expected {
	uint64_t objects, large;
};

static pheap_ref *table_of(pheap_t *heap)
{
	return pheap_ptr(heap, *pheap_root(heap));
}

/* Beyond all classes. */
static bool is_large(size_t size)
{
	return size > 256 << 10;
}

static void publish(pheap_t *heap, struct expected *expected, uint32_t slot, size_t size)
{
	assert_done(pheap_alloc_into(heap, &table_of(heap)[slot], size, NULL));
	expected->objects++;
	expected->large += is_large(size);
}

static void retire(pheap_t *heap, struct expected *expected, uint32_t slot, size_t size)
{
	assert_done(pheap_retire(heap, &table_of(heap)[slot]));
	expected->objects--;
	expected->large -= is_large(size);
}

struct job {
	pheap_t *heap;
	struct expected expected;
	uint32_t first;
};

/* In a thread of its own, for a lane of its own. */
static void *work(void *arg)
{
	static const size_t sizes[] = {24, 64, 3328, 61440, 300000, 1000, 70000, 65536};
	struct job *job = arg;
	uint32_t slot = job->first;

	for (uint32_t round = 0; round < 30; round++)
		for (uint32_t i = 0; i < 8; i++)
			if (round < 4 || i < 3)
				publish(job->heap, &job->expected, slot++, sizes[i]);
	/* Holes in slabs, a slab that is empty, large objects that are gone. */
	for (uint32_t i = 0; i < 32; i++)
		if (i % 3 || i % 8 == 7)
			retire(job->heap, &job->expected, job->first + i, sizes[i % 8]);
	return NULL;
}

static void transactions(pheap_t *heap, struct expected *expected)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);
	uint64_t *undone = pheap_ptr(heap, table_of(heap)[3]);

	for (uint32_t i = 0; i < 20; i++) {
		void *ptr = pheap_tx_zalloc(tx, 100 + 300 * i);

		assert_done(pheap_tx_set(tx, &table_of(heap)[2000 + i], pheap_ref_of(heap, ptr)));
	}
	assert_done(pheap_tx_snapshot(tx, undone, 64));
	undone[0] = 1;
	assert_done(pheap_tx_commit(tx));
	expected->objects += 20;

	tx = pheap_tx_begin(heap);
	assert_non_null(pheap_tx_alloc(tx, 300000));
	assert_done(pheap_tx_snapshot(tx, undone, 64));
	undone[0] = 2;
	assert_done(pheap_tx_abort(tx));
}

static void nothing(void *object, uint64_t size, pheap_visit_fn *visit, void *arg)
{
	(void)object, (void)size, (void)visit, (void)arg;
}

/* Those of image_fill(): damages look for them. */
static void register_types(pheap_t *heap, struct expected *expected)
{
	static const uint32_t plain[] = {0, 16}, strong[] = {8, 40}, weak[] = {16};
	const struct pheap_type_info infos[] = {
		{.struct_size = sizeof(infos[0]),
		 .name = "node",
		 .version = 1,
		 .size = 24,
		 .refs = plain,
		 .nrefs = 2},
		{.struct_size = sizeof(infos[0]),
		 .name = "list",
		 .version = 7,
		 .size = 48,
		 .flags = PHEAP_TYPE_ARRAY | PHEAP_TYPE_COUNTED,
		 .refs = strong,
		 .nrefs = 2,
		 .weak = weak,
		 .nweak = 1},
		{.struct_size = sizeof(infos[0]),
		 .name = "a name of 40 bytes, hence no padding...",
		 .size = 5,
		 .trace = nothing},
	};

	for (size_t i = 0; i < 3; i++)
		assert_non_null(pheap_type_register(heap, &infos[i]));
	assert_non_null(pheap_named_root(heap, "small"));
	assert_non_null(pheap_named_root(heap, "list"));
	assert_done(pheap_publish(heap, pheap_find_root(heap, "small"),
				  pheap_alloc_array(pheap_type_find(heap, "list"), 1), 0));
	assert_done(pheap_publish(heap, pheap_find_root(heap, "list"),
				  pheap_alloc_array(pheap_type_find(heap, "list"), 4096 / 48), 0));
	expected->objects = 5;
}

static void fill(pheap_t *heap, struct expected *expected)
{
	struct job a = {.heap = heap, .first = 0}, b = {.heap = heap, .first = 1000};
	pheap_ref *named;
	pthread_t thread;

	register_types(heap, expected);
	assert_done(pheap_alloc_into(heap, pheap_root(heap), TABLE * sizeof(pheap_ref), NULL));
	work(&a);
	assert_int_equal(pthread_create(&thread, NULL, work, &b), 0);
	pthread_join(thread, NULL);
	expected->objects += a.expected.objects + b.expected.objects + 1;
	expected->large = a.expected.large + b.expected.large;

	assert_non_null(pheap_named_root(heap, "index"));
	named = pheap_named_root(heap, "gone");
	assert_non_null(named);
	named = pheap_named_root(heap, "of 1.3 MiB");
	assert_non_null(named);
	assert_done(pheap_alloc_into(heap, named, 21 * 65536 - 100, NULL));
	assert_done(pheap_drop_root(heap, "gone"));
	expected->objects++;
	expected->large++;
	transactions(heap, expected);
	/* Reserved, never published: nothing of it may be on media. */
	assert_non_null(pheap_alloc(heap, 48));
	assert_non_null(pheap_alloc(heap, 500000));
}

static pheap_t *make(struct image *image)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = SIZE, .layout = "test"};
	pheap_t *heap;

	image_map(image, SIZE);
	heap = ph_pool_create_on(image->base, SIZE, &opts, NULL, NULL);
	if (!heap)
		fail_msg("%s", pheap_errormsg());
	return heap;
}

static void assert_counts(struct image *image, const struct expected *expected)
{
	struct pheap_check_result result = assert_clean(image);

	assert_int_equal(result.objects, expected->objects);
	assert_int_equal(result.large_objects, expected->large);
	image_adopt(image, 0);
	assert_int_equal(result.free_granules + result.used_granules, image->zone.granules);
	for (uint32_t i = 0; i < image->zone.granules; i++)
		result.used_granules -= image->taken[i];
	assert_int_equal(result.used_granules, 0);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void new_pool_is_clean(void **state)
{
	struct image image;
	pheap_t *heap = make(&image);
	struct expected expected = {0};

	(void)state;
	assert_done(pheap_close(heap));
	assert_counts(&image, &expected);
	assert_int_equal(image_state(&image)->status, PM_STATUS_CLEAN);
	image_unmap(&image);
}

static void filled_pool_is_clean(void **state)
{
	struct image image;
	pheap_t *heap = make(&image);
	struct expected expected = {0};

	(void)state;
	fill(heap, &expected);
	assert_done(pheap_close(heap));
	assert_counts(&image, &expected);
	assert_true(image.lanes >= 2);
	image_unmap(&image);
}

/* What the library sees of an open heap is what the checker sees afterwards. */
static void open_heap_is_clean(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct named named = {.show = true};
	struct expected expected = {0};
	struct image image;
	pheap_t *heap = make(&image);

	(void)state;
	fill(heap, &expected);
	assert_done(pheap_check(heap, &result, note, &named));
	assert_string_equal(named.ids, "");
	assert_int_equal(result.objects, expected.objects);
	assert_done(pheap_close(heap));
	image_unmap(&image);
}

/* A crash, recovery, and on with it. */
static void recovered_pool_is_clean(void **state)
{
	struct expected expected = {0};
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	struct image image;
	pheap_t *heap = make(&image);

	(void)state;
	fill(heap, &expected);
	for (int i = 0; i < 3; i++) {
		ph_pool_abandon(heap);
		heap = ph_pool_open_on(image.base, SIZE, &opts, NULL, NULL);
		if (!heap)
			fail_msg("%s", pheap_errormsg());
		assert_counts(&image, &expected);
		publish(heap, &expected, 3000 + (uint32_t)i, 40);
		publish(heap, &expected, 3100 + (uint32_t)i, 100000);
	}
	assert_done(pheap_close(heap));
	assert_counts(&image, &expected);
	image_unmap(&image);
}

static bool first_named(const struct damage *damage, const char *ids)
{
	char id[3] = {damage->invariants[0], damage->invariants[1], 0};

	return strstr(ids, id) != NULL;
}

static void make_filled(struct image *image)
{
	struct expected expected = {0};
	pheap_t *heap = make(image);

	fill(heap, &expected);
	assert_done(pheap_close(heap));
}

static void damage_is_named(void **state)
{
	struct image pristine, image;
	unsigned wrong = 0;

	(void)state;
	make_filled(&pristine);
	image_map(&image, SIZE);
	for (size_t i = 0; i < damages_n; i++) {
		struct pheap_check_result result = {.struct_size = sizeof(result)};
		struct named named = {0};

		memcpy(image.base, pristine.base, SIZE);
		image_adopt(&image, 0);
		damages[i].plant(&image);
		ph_check_media(image.base, SIZE, -1, &result, note, &named);
		if (first_named(&damages[i], named.ids))
			continue;
		print_error("%s: expected %.2s, got \"%s\"\n", damages[i].what,
			    damages[i].invariants, named.ids);
		wrong++;
	}
	assert_int_equal(wrong, 0);
	image_unmap(&image);
	image_unmap(&pristine);
}

/* ---- files -------------------------------------------------------------------------------- */

static void write_file(const char *path, const struct image *image)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->base, image->size), image->size);
	close(fd);
}

static void read_file(const char *path, struct image *image)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, image->base, image->size), image->size);
	close(fd);
}

/* In some cases there is nothing to say but that it is no pool one could open. */
static bool refused(const char *ids)
{
	return strcmp(ids, "O1") == 0;
}

/* As for the image of it; and the file is not written. */
static void damage_of_a_file_is_named(void **state)
{
	char path[] = "/tmp/pheap-check-XXXXXX";
	struct image pristine, image, after;
	unsigned wrong = 0, unnamed = 0;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	make_filled(&pristine);
	image_map(&image, SIZE);
	image_map(&after, SIZE);
	write_file(path, &pristine);
	assert_done(pheap_check_file(path, NULL, NULL, NULL));
	for (size_t i = 0; i < damages_n; i++) {
		struct named named = {0};
		int err;

		memcpy(image.base, pristine.base, SIZE);
		image_adopt(&image, 0);
		damages[i].plant(&image);
		write_file(path, &image);
		err = pheap_check_file(path, NULL, note, &named);
		read_file(path, &after);
		assert_memory_equal(after.base, image.base, SIZE);
		unnamed += refused(named.ids);
		if (err && (first_named(&damages[i], named.ids) || refused(named.ids)))
			continue;
		print_error("%s: expected %.2s, got %d and \"%s\"\n", damages[i].what,
			    damages[i].invariants, err, named.ids);
		wrong++;
	}
	unlink(path);
	assert_int_equal(wrong, 0);
	assert_true(unnamed < 5);
	image_unmap(&after);
	image_unmap(&image);
	image_unmap(&pristine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_pool_is_clean),  cmocka_unit_test(filled_pool_is_clean),
		cmocka_unit_test(open_heap_is_clean), cmocka_unit_test(recovered_pool_is_clean),
		cmocka_unit_test(damage_is_named),    cmocka_unit_test(damage_of_a_file_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
