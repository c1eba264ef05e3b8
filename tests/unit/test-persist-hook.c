/*
 * test-persist-hook.c - the persist layer: what it counts, what a hook sees and
 * in which order, what a failed fence does, and that the back ends without media
 * count nothing.
 */
#include "common.h"

#include "persist.h"

struct event {
	char what;
	const char *addr;
	size_t length;
};

static struct event events[64];
static size_t nevents;
static int fence_result;
static char area[1024] __attribute__((aligned(64)));
static char before[1024];

static void note(char what, const void *addr, size_t length)
{
	assert_true(nevents < ELEMENTS(events));
	events[nevents++] = (struct event){what, addr, length};
}

static void hook_store(void *arg, void *dst, const void *src, size_t length)
{
	(void)src;
	assert_ptr_equal(arg, area);
	/* Called before the library makes the store itself. */
	assert_memory_equal(dst, before + ((char *)dst - area), length);
	note('s', dst, length);
}

static void hook_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	(void)src;
	assert_ptr_equal(arg, area);
	assert_memory_equal(dst, before + ((char *)dst - area), length);
	note('n', dst, length);
}

static void hook_flush(void *arg, const void *addr, size_t length)
{
	assert_ptr_equal(arg, area);
	note('f', addr, length);
}

static int hook_fence(void *arg)
{
	assert_ptr_equal(arg, area);
	note('F', NULL, 0);
	return fence_result;
}

static const struct ph_hook hook = {hook_store, hook_copy_nt, hook_flush, hook_fence};

static struct ph_persist hooked(void)
{
	nevents = 0;
	fence_result = 0;
	memset(area, 0x11, sizeof(area));
	memcpy(before, area, sizeof(area));
	return (struct ph_persist){.backend = PH_HOOK, .hook = &hook, .hook_arg = area};
}

static void order_of_calls(void **state)
{
	struct ph_persist pm = hooked();
	struct ph_count count = {0};
	uint64_t words[16];

	(void)state;
	fill_pattern(words, sizeof(words), 1);
	ph_copy_nt(&pm, &count, area, words, 128);
	ph_store64(&pm, area + 512, words[3]);
	ph_flush(&pm, &count, area + 512, 8);
	assert_int_equal(ph_fence(&pm, &count), 0);

	assert_int_equal(nevents, 4);
	assert_int_equal(events[0].what, 'n');
	assert_ptr_equal(events[0].addr, area);
	assert_int_equal(events[0].length, 128);
	assert_int_equal(events[1].what, 's');
	assert_ptr_equal(events[1].addr, area + 512);
	assert_int_equal(events[1].length, 8);
	assert_int_equal(events[2].what, 'f');
	assert_ptr_equal(events[2].addr, area + 512);
	assert_int_equal(events[2].length, 8);
	assert_int_equal(events[3].what, 'F');
	/* And the library made the stores. */
	assert_memory_equal(area, words, 128);
	assert_memory_equal(area + 512, &words[3], 8);
}

/* Lines that a range touches, not bytes divided by 64. */
static void counts_lines(void **state)
{
	static const struct {
		size_t offset, length, lines;
	} ranges[] = {
		{0, 1, 1},  {0, 64, 1},	  {0, 65, 2},	{63, 1, 1},   {63, 2, 2},
		{60, 8, 2}, {64, 128, 2}, {65, 128, 3}, {1, 640, 11},
	};
	struct ph_persist pm = hooked();
	struct ph_count count = {0};
	uint64_t words[64], want = 0;
	size_t i;

	(void)state;
	for (i = 0; i < ELEMENTS(ranges); i++) {
		ph_flush(&pm, &count, area + ranges[i].offset, ranges[i].length);
		want += ranges[i].lines;
		assert_int_equal(count.flushed_lines, want);
	}
	ph_flush(&pm, &count, area, 0);
	assert_int_equal(count.flushed_lines, want);
	assert_int_equal(count.nt_lines, 0);
	assert_int_equal(count.fences, 0);

	memcpy(words, area, sizeof(words));
	ph_copy_nt(&pm, &count, area + 64, words, 64);
	assert_int_equal(count.nt_lines, 1);
	ph_copy_nt(&pm, &count, area + 56, words, 16);
	assert_int_equal(count.nt_lines, 3);
	assert_int_equal(count.flushed_lines, want);

	assert_int_equal(ph_fence(&pm, &count), 0);
	assert_int_equal(ph_persist_range(&pm, &count, area, 64), 0);
	assert_int_equal(count.fences, 2);
	assert_int_equal(count.flushed_lines, want + 1);
}

/* Once a write-back has failed, every fence says so, and flags stay. */
static void failure_sticks(void **state)
{
	struct ph_persist pm = hooked();
	struct ph_count count = {0};

	(void)state;
	assert_int_equal(ph_persist_error(&pm), 0);
	fence_result = -5;
	assert_int_equal(ph_fence(&pm, &count), -EIO);
	assert_int_equal(ph_persist_error(&pm), -EIO);
	fence_result = 0;
	assert_int_equal(ph_fence(&pm, &count), -EIO);
	assert_int_equal(ph_persist_range(&pm, &count, area, 8), -EIO);
	assert_int_equal(ph_persist_error(&pm), -EIO);
}

/* Bytes at any place and of any length, and none beside them. */
static void store_any_bytes(void **state)
{
	struct ph_persist pm = hooked();
	char want[256], bytes[256];
	size_t offset, length;

	(void)state;
	fill_pattern(bytes, sizeof(bytes), 2);
	for (offset = 0; offset < 9; offset++) {
		for (length = 0; length < 80; length++) {
			pm = hooked();
			memset(want, 0x11, sizeof(want));
			memcpy(want + 16 + offset, bytes, length);
			ph_store(&pm, area + 16 + offset, bytes, length);
			assert_memory_equal(area, want, sizeof(want));

			pm = hooked();
			memset(want + 16 + offset, 0, length);
			ph_store_zero(&pm, area + 16 + offset, length);
			assert_memory_equal(area, want, sizeof(want));
		}
	}
}

static void without_media(void **state)
{
	static const enum ph_backend backends[] = {PH_NONE, PH_VOLATILE};
	struct ph_persist pm = {0};
	struct ph_count count, zero = {0};
	uint64_t words[8];
	size_t i;

	(void)state;
	for (i = 0; i < ELEMENTS(backends); i++) {
		pm.backend = backends[i];
		count = zero;
		fill_pattern(words, sizeof(words), 3 + i);
		memset(area, 0, sizeof(area));
		ph_copy_nt(&pm, &count, area, words, sizeof(words));
		ph_store64(&pm, area + 64, words[1]);
		ph_store(&pm, area + 72, words, 16);
		ph_flush(&pm, &count, area, 128);
		assert_int_equal(ph_fence(&pm, &count), 0);
		assert_memory_equal(&count, &zero, sizeof(count));
		assert_memory_equal(area, words, sizeof(words));
		assert_memory_equal(area + 64, &words[1], 8);
		assert_memory_equal(area + 72, words, 16);
	}
	pm.backend = PH_NONE;
	assert_true(ph_logs(&pm));
	pm.backend = PH_VOLATILE;
	assert_false(ph_logs(&pm));
}

/* PROCESS under a hook: it is told of stores, a copy past the cache is one of them, and
 * nothing is flushed. */
static void stores_only(void **state)
{
	struct ph_persist pm = hooked();
	struct ph_count count = {0}, zero = {0};
	uint64_t words[8];

	(void)state;
	pm.backend = PH_HOOK_NONE;
	fill_pattern(words, sizeof(words), 7);
	ph_copy_nt(&pm, &count, area, words, sizeof(words));
	ph_store64(&pm, area + 64, words[1]);
	ph_store(&pm, area + 72, words, 16);
	ph_flush(&pm, &count, area, 128);
	assert_int_equal(ph_fence(&pm, &count), 0);
	assert_memory_equal(&count, &zero, sizeof(count));
	assert_int_equal(nevents, 3);
	for (size_t i = 0; i < nevents; i++)
		assert_int_equal(events[i].what, 's');
	assert_memory_equal(area, words, sizeof(words));
	assert_memory_equal(area + 64, &words[1], 8);
	assert_memory_equal(area + 72, words, 16);
	assert_true(ph_logs(&pm));
}

/* A cache flush on memory is a flush wherever the memory is. */
static void on_pmem(void **state)
{
	struct ph_persist pm = {.backend = PH_PMEM};
	struct ph_count count = {0};
	uint64_t words[8];

	(void)state;
	fill_pattern(words, sizeof(words), 9);
	ph_copy_nt(&pm, &count, area, words, sizeof(words));
	ph_flush(&pm, &count, area + 60, 8);
	assert_int_equal(ph_fence(&pm, &count), 0);
	assert_memory_equal(area, words, sizeof(words));
	assert_int_equal(count.nt_lines, 1);
	assert_int_equal(count.flushed_lines, 2);
	assert_int_equal(count.fences, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_of_calls), cmocka_unit_test(counts_lines),
		cmocka_unit_test(failure_sticks), cmocka_unit_test(store_any_bytes),
		cmocka_unit_test(without_media),  cmocka_unit_test(stores_only),
		cmocka_unit_test(on_pmem),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("persist-hook", tests, NULL, NULL);
}
