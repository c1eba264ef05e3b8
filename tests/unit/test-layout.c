/*
 * test-layout.c - pins the media format: the size of every structure, the place
 * and size of every field, every constant. A change here is a new format version.
 */
#include "common.h"

#include "layout.h"

#define SIZE(type, bytes) assert_int_equal(sizeof(struct type), (bytes))
#define FIELD(type, field, offset, bytes)                                     \
	do {                                                                  \
		assert_int_equal(offsetof(struct type, field), (offset));     \
		assert_int_equal(sizeof(((struct type *)0)->field), (bytes)); \
	} while (0)

static void fixed_area(void **state)
{
	(void)state;
	assert_int_equal(PM_LINE, 64);
	assert_int_equal(PM_PAGE, 4096);
	assert_int_equal(PM_GRANULE, 65536);
	assert_int_equal(1u << PM_GRANULE_SHIFT, PM_GRANULE);

	assert_int_equal(PM_SUPER_A, 0);
	assert_int_equal(PM_SUPER_B, 4096);
	assert_int_equal(PM_STATE, 8192);
	assert_int_equal(PM_ROOTS, 12288);
	assert_int_equal(PM_LANE_TABLE, 16384);
	assert_int_equal(PM_ZONE_TABLE, 24576);
	assert_int_equal(PM_TYPE_TABLE, 28672);
	assert_int_equal(PM_TYPE_END, 61440);
	assert_int_equal(PM_DEAD, 61440);
	assert_int_equal(PM_FIXED_END, 65536);

	assert_int_equal(PM_ROOT_SLOTS, 64);
	assert_int_equal(PM_LANES_MAX, 1024);
	assert_int_equal(PM_ZONES_MAX, 64);
	assert_int_equal(PM_ZONE_GRANULES_MAX, 16777216);
	assert_int_equal(PM_TYPES, 512);
	assert_int_equal(PM_TYPE_NAME_MAX, 64);
	assert_int_equal(PM_TYPE_REFS_MAX, 1024);
	assert_int_equal(PM_TYPE_ARRAY, 1);
	assert_int_equal(PM_TYPE_COUNTED, 2);
	assert_int_equal(PM_TYPE_CALLBACK, 4);
	assert_int_equal(PM_TYPE_WEAK, 1);

	/* Each area ends before the next begins. */
	assert_true(PM_SUPER_A + sizeof(struct pm_super) <= PM_SUPER_B);
	assert_true(PM_SUPER_B + sizeof(struct pm_super) <= PM_STATE);
	assert_true(PM_STATE + sizeof(struct pm_state) <= PM_ROOTS);
	assert_true(PM_ROOTS + PM_ROOT_SLOTS * sizeof(struct pm_root) <= PM_LANE_TABLE);
	assert_true(PM_LANE_TABLE + PM_LANES_MAX * 8 <= PM_ZONE_TABLE);
	assert_true(PM_ZONE_TABLE + PM_ZONES_MAX * sizeof(struct pm_zone) <= PM_TYPE_TABLE);
	assert_true(PM_TYPE_TABLE + PM_TYPES * sizeof(struct pm_type) <= PM_TYPE_END);
	assert_true(PM_TYPE_END <= PM_FIXED_END);
}

static void super(void **state)
{
	static const uint8_t magic[8] = {'P', 'H', 'E', 'A', 'P', 0x1a, 0x0d, 0x0a};
	static const uint8_t creating[8] = {'P', 'H', 'E', 'A', 'W', 0x1a, 0x0d, 0x0a};
	uint64_t word;

	(void)state;
	/* Bytes on media, not numbers: little-endian. */
	word = PM_MAGIC;
	assert_memory_equal(&word, magic, 8);
	word = PM_MAGIC_CREATING;
	assert_memory_equal(&word, creating, 8);
	assert_int_equal(PM_FORMAT, 1);

	SIZE(pm_super, 512);
	FIELD(pm_super, magic, 0, 8);
	FIELD(pm_super, sum, 8, 8);
	FIELD(pm_super, format, 16, 4);
	FIELD(pm_super, bytes, 20, 4);
	FIELD(pm_super, sequence, 24, 8);
	FIELD(pm_super, compat, 32, 8);
	FIELD(pm_super, incompat, 40, 8);
	FIELD(pm_super, ro_compat, 48, 8);
	FIELD(pm_super, uuid, 56, 16);
	FIELD(pm_super, size, 72, 8);
	FIELD(pm_super, zones, 80, 4);
	FIELD(pm_super, reserved0, 84, 4);
	FIELD(pm_super, created, 88, 8);
	FIELD(pm_super, layout, 96, 64);
	FIELD(pm_super, reserved, 160, 352);
}

static void state_line(void **state)
{
	(void)state;
	SIZE(pm_state, 64);
	FIELD(pm_state, epoch, 0, 8);
	FIELD(pm_state, settled, 8, 8);
	FIELD(pm_state, status, 16, 8);
	FIELD(pm_state, boot_id, 24, 16);
	FIELD(pm_state, reserved, 40, 24);
	assert_int_equal(PM_STATUS_CLEAN, 1);
	assert_int_equal(PM_STATUS_POWER, 2);
	assert_int_equal(PM_STATUS_PROCESS, 3);
}

static void tables(void **state)
{
	(void)state;
	SIZE(pm_root, 64);
	FIELD(pm_root, name, 0, 48);
	FIELD(pm_root, reserved, 48, 8);
	FIELD(pm_root, ref, 56, 8);

	SIZE(pm_zone, 64);
	FIELD(pm_zone, tree, 0, 8);
	FIELD(pm_zone, desc, 8, 8);
	FIELD(pm_zone, bits, 16, 8);
	FIELD(pm_zone, data, 24, 8);
	FIELD(pm_zone, granules, 32, 4);
	FIELD(pm_zone, levels, 36, 4);
	FIELD(pm_zone, reserved, 40, 16);
	FIELD(pm_zone, sum, 56, 8);

	SIZE(pm_type, 64);
	FIELD(pm_type, ref, 0, 8);
	FIELD(pm_type, size, 8, 8);
	FIELD(pm_type, version, 16, 4);
	FIELD(pm_type, flags, 20, 4);
	FIELD(pm_type, nrefs, 24, 4);
	FIELD(pm_type, bytes, 28, 4);
	FIELD(pm_type, reserved, 32, 24);
	FIELD(pm_type, sum, 56, 8);
	SIZE(pm_descriptor, 8);
	FIELD(pm_descriptor, sum, 0, 8);
}

static void spans(void **state)
{
	(void)state;
	assert_int_equal(PM_TREE_DEPTHS, 5);
	SIZE(pm_span, 64);
	FIELD(pm_span, kind, 0, 1);
	FIELD(pm_span, size_class, 1, 1);
	FIELD(pm_span, flags, 2, 2);
	FIELD(pm_span, granules, 4, 4);
	FIELD(pm_span, type, 8, 4);
	FIELD(pm_span, reserved0, 12, 4);
	FIELD(pm_span, side, 16, 8);
	FIELD(pm_span, size, 24, 8);
	FIELD(pm_span, reserved, 32, 32);
	assert_int_equal(PM_SPAN_COUNTED, 1);
	assert_int_equal(PM_COUNT_IN_BITS, 56);
	assert_int_equal(PM_COUNT_BITS_OFFSET, 64);
	assert_int_equal(PM_COUNT_TAIL(57), 512);
	assert_int_equal(PM_COUNT_WEAK_SHIFT, 44);
	assert_int_equal(PM_DEAD_CHAINS, 16);
	assert_true(PM_DEAD + PM_DEAD_CHAINS * PM_LINE <= PM_FIXED_END);
	assert_int_equal(PM_KIND_NONE, 0);
	assert_int_equal(PM_KIND_SLAB, 1);
	assert_int_equal(PM_KIND_LARGE, 2);
	assert_int_equal(PM_KIND_LANE, 3);
	assert_int_equal(PM_BITMAP_BYTES, 512);
	assert_int_equal(PM_OBJECT_MIN, 16);
}

static void lanes(void **state)
{
	(void)state;
	assert_int_equal(PM_UNDO_LOGS, 4);
	assert_int_equal(PM_RING_LINES, 256);
	assert_int_equal(PM_LANE_RING, 4096);
	assert_int_equal(PM_LANE_UNDO, 20480);
	assert_int_equal(PM_UNDO_AREA, 11264);
	assert_true(PM_UNDO_LOGS * sizeof(struct pm_undo_head) <= PM_LANE_RING);
	assert_int_equal(PM_UNDO_AREA % PM_LINE, 0);

	SIZE(pm_undo_head, 64);
	FIELD(pm_undo_head, ended, 0, 8);
	FIELD(pm_undo_head, epoch, 8, 8);
	FIELD(pm_undo_head, reserved, 16, 48);

	SIZE(pm_undo, 40);
	FIELD(pm_undo, sum, 0, 8);
	FIELD(pm_undo, gen, 8, 8);
	FIELD(pm_undo, seq, 16, 8);
	FIELD(pm_undo, target, 24, 8);
	FIELD(pm_undo, length, 32, 8);
	assert_int_equal(PM_UNDO_DATA, 1);
	assert_int_equal(PM_UNDO_NEXT, 2);
}

static void records(void **state)
{
	uint64_t word = PM_ENTRY(PM_ENTRY_BYTES, 0xab, 0x123456789abc);

	(void)state;
	SIZE(pm_record, 24);
	FIELD(pm_record, sum, 0, 8);
	FIELD(pm_record, stamp, 8, 8);
	FIELD(pm_record, prev, 16, 8);
	assert_int_equal(PM_RECORD_WORDS, 3);
	assert_int_equal(PM_STAMP_SHIFT, 10);
	assert_int_equal(PM_RECORD_LINES_MAX, 128);
	/* The number of lines fits below the stamp. */
	assert_true(PM_RECORD_LINES_MAX < 1u << PM_STAMP_SHIFT);

	assert_int_equal(PM_ENTRY_END, 0);
	assert_int_equal(PM_ENTRY_WORD, 1);
	assert_int_equal(PM_ENTRY_BYTES, 2);
	assert_int_equal(PM_ENTRY_ZERO, 3);
	assert_int_equal(PM_ENTRY_BIT_SET, 4);
	assert_int_equal(PM_ENTRY_BIT_CLEAR, 5);
	assert_int_equal(PM_ENTRY_EXTENSION, 6);

	assert_true(word == UINT64_C(0x02ab123456789abc));
	assert_int_equal(PM_ENTRY_TYPE(word), 2);
	assert_int_equal(PM_ENTRY_AUX(word), 0xab);
	assert_true(PM_ENTRY_OFFSET(word) == UINT64_C(0x123456789abc));

	assert_true(PM_SUM_KEY == UINT64_C(0x70686561702d7631));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_area), cmocka_unit_test(super), cmocka_unit_test(state_line),
		cmocka_unit_test(tables),     cmocka_unit_test(spans), cmocka_unit_test(lanes),
		cmocka_unit_test(records),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
