/*
 * test-pool-damage.c - pools that are damaged, truncated, foreign, unfinished or
 * from the future: refused with a code and a message, never written to, and never
 * a crash of the program.
 */
#include "common.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "layout.h"
#include "sum.h"

#define POOL MIB(8)

/* A closed pool "p" with one object, and its superblocks. */
static struct pm_super super_a, super_b;

static void make_victim(void)
{
	pheap_t *heap = make_pool("p", POOL);

	publish_root(heap, 300, 1);
	close_pool(heap);
	read_at(scratch("p"), &super_a, sizeof(super_a), PM_SUPER_A);
	read_at(scratch("p"), &super_b, sizeof(super_b), PM_SUPER_B);
}

static void put_supers(const struct pm_super *a, const struct pm_super *b)
{
	write_at(scratch("p"), a, sizeof(*a), PM_SUPER_A);
	write_at(scratch("p"), b, sizeof(*b), PM_SUPER_B);
}

static void seal(struct pm_super *super, uint64_t place)
{
	super->sum = ph_sum(PM_SUM_KEY, place, &super->sum + 1, sizeof(*super) / 8 - 2);
}

/* It opens, for reading and for writing, and its object is there. */
static void assert_opens(void)
{
	pheap_t *heap = open_pool_flags("p", PHEAP_READONLY);

	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, 1));
	close_pool(heap);
	heap = open_pool("p");
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, 1));
	close_pool(heap);
}

/* It is refused with this code, with a message, and nothing is written. */
static void assert_refused(int code, const char *path, unsigned flags)
{
	struct pheap_options opts = options_of(0);
	uint64_t hash = file_hash(path);

	opts.flags |= flags;
	assert_errno(code, pheap_open(path, &opts));
	assert_true(strlen(pheap_errormsg()) > 20);
	assert_true(file_hash(path) == hash);
}

static void refused_always(int code, const char *path)
{
	assert_refused(code, path, 0);
	assert_refused(code, path, PHEAP_READONLY);
	assert_refused(code, path, PHEAP_CHECK_FIRST);
}

static void one_twin_damaged(void **state)
{
	struct pm_super bad;
	unsigned bit;

	(void)state;
	make_victim();
	for (bit = 0; bit < sizeof(bad) * 8; bit += 7) {
		bad = bit % 2 ? super_a : super_b;
		((uint8_t *)&bad)[bit / 8] ^= 1u << bit % 8;
		put_supers(bit % 2 ? &bad : &super_a, bit % 2 ? &super_b : &bad);
		assert_opens();
	}
	/* One of them lost as a whole. */
	memset(&bad, 0, sizeof(bad));
	put_supers(&bad, &super_b);
	assert_opens();
	put_supers(&super_a, &bad);
	assert_opens();
	memset(&bad, 0xff, sizeof(bad));
	put_supers(&bad, &super_b);
	assert_opens();
	put_supers(&super_a, &bad);
	assert_opens();
}

static void both_twins_damaged(void **state)
{
	struct pm_super a, b;
	unsigned bit, step;

	(void)state;
	make_victim();
	for (bit = 0; bit < sizeof(a) * 8; bit += 37) {
		for (step = 0; step < 2; step++) {
			unsigned other = step ? bit : (bit * 13 + 100) % (sizeof(a) * 8);

			a = super_a;
			b = super_b;
			((uint8_t *)&a)[bit / 8] ^= 1u << bit % 8;
			((uint8_t *)&b)[other / 8] ^= 1u << other % 8;
			put_supers(&a, &b);
			/* The first word and the version may say "not a pool" or "from
			 * the future" instead. */
			if (bit / 8 >= 20 && other / 8 >= 20)
				refused_always(EUCLEAN, scratch("p"));
			else
				assert_null(pheap_open(scratch("p"), NULL));
		}
	}
}

static void from_the_future(void **state)
{
	struct pm_super a, b;
	pheap_t *heap;

	(void)state;
	make_victim();
	a = super_a;
	b = super_b;
	seal(&a, PM_SUPER_A);
	seal(&b, PM_SUPER_B);
	/* This test knows how a superblock is summed. */
	assert_memory_equal(&a, &super_a, sizeof(a));
	assert_memory_equal(&b, &super_b, sizeof(b));

	a.format = b.format = PM_FORMAT + 1;
	seal(&a, PM_SUPER_A);
	seal(&b, PM_SUPER_B);
	put_supers(&a, &b);
	refused_always(EPROTONOSUPPORT, scratch("p"));

	a = super_a;
	b = super_b;
	a.incompat = b.incompat = UINT64_C(1) << 40;
	seal(&a, PM_SUPER_A);
	seal(&b, PM_SUPER_B);
	put_supers(&a, &b);
	refused_always(EPROTONOSUPPORT, scratch("p"));

	/* May be read, not written. */
	a = super_a;
	b = super_b;
	a.ro_compat = b.ro_compat = UINT64_C(1) << 41;
	seal(&a, PM_SUPER_A);
	seal(&b, PM_SUPER_B);
	put_supers(&a, &b);
	assert_refused(EPROTONOSUPPORT, scratch("p"), 0);
	heap = open_pool_flags("p", PHEAP_READONLY);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, 1));
	close_pool(heap);

	a = super_a;
	b = super_b;
	a.compat = b.compat = UINT64_C(1) << 42;
	seal(&a, PM_SUPER_A);
	seal(&b, PM_SUPER_B);
	put_supers(&a, &b);
	assert_opens();
}

/* Sums that hold do not make a geometry true. */
static void impossible_geometry(void **state)
{
	struct pm_super a, b;
	unsigned i;

	(void)state;
	make_victim();
	for (i = 0; i < 8; i++) {
		a = super_a;
		b = super_b;
		switch (i) {
		case 0:
			a.size = b.size = UINT64_MAX;
			break;
		case 1:
			a.size = b.size = 0;
			break;
		case 2:
			a.size = b.size = super_a.size + 1;
			break;
		case 3:
			a.size = b.size = super_a.size * 2;
			break;
		case 4:
			a.zones = b.zones = PM_ZONES_MAX + 1;
			break;
		case 5:
			a.zones = b.zones = 0;
			break;
		case 6:
			memset(a.layout, 'x', 64);
			memset(b.layout, 'x', 64);
			break;
		case 7:
			a.bytes = b.bytes = 8;
			break;
		}
		seal(&a, PM_SUPER_A);
		seal(&b, PM_SUPER_B);
		put_supers(&a, &b);
		refused_always(EUCLEAN, scratch("p"));
	}
}

static void truncated(void **state)
{
	static const off_t lengths[] = {
		1, 7, 511, 512, 4096, 8192, 65535, 65536, 100000, POOL / 2, POOL - 65536, POOL - 1,
	};
	size_t i;

	(void)state;
	make_victim();
	for (i = 0; i < ELEMENTS(lengths); i++) {
		copy_file(scratch("p"), scratch("short"));
		assert_int_equal(truncate(scratch("short"), lengths[i]), 0);
		refused_always(EUCLEAN, scratch("short"));
	}
	assert_int_equal(truncate(scratch("short"), 0), 0);
	refused_always(EUCLEAN, scratch("short"));
}

static void foreign(void **state)
{
	struct pheap_options opts = options_of(0);
	struct rng rng = rng_make(1);
	char *path = scratch("foreign");
	uint64_t words[512];
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
	unsigned i, j;

	(void)state;
	assert_true(fd >= 0);
	for (i = 0; i < POOL / sizeof(words); i++) {
		for (j = 0; j < ELEMENTS(words); j++)
			words[j] = rng_next(&rng);
		assert_int_equal(write(fd, words, sizeof(words)), sizeof(words));
	}
	close(fd);
	refused_always(EUCLEAN, path);
	/* All zero. */
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, POOL), 0);
	refused_always(EUCLEAN, path);

	/* Not even files. */
	assert_null(pheap_open("/", &opts));
	assert_null(pheap_open("/dev/null", &opts));
	assert_null(pheap_open("/dev/zero", &opts));
}

/* A create that did not finish: open refuses the file, create starts again. */
static void unfinished(void **state)
{
	struct pheap_options opts = options_of(POOL);
	uint64_t creating = PM_MAGIC_CREATING, zero[512] = {0};
	pheap_t *heap;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		make_victim();
		write_at(scratch("p"), &creating, 8, PM_SUPER_A);
		/* The second twin: not yet written, likewise, or stale zero bytes in
		 * the fixed area only. */
		if (i == 0)
			write_at(scratch("p"), zero, sizeof(zero), PM_SUPER_B);
		else
			write_at(scratch("p"), &creating, 8, PM_SUPER_B);
		if (i == 2)
			write_at(scratch("p"), zero, sizeof(zero), PM_STATE);
		refused_always(EUCLEAN, scratch("p"));
		heap = assert_made(pheap_create(scratch("p"), &opts));
		/* Nothing of the old content shines through. */
		assert_true(*pheap_root(heap) == PHEAP_NULL);
		assert_int_equal(check_clean(heap), 0);
		publish_root(heap, 300, 1);
		close_pool(heap);
		assert_opens();
	}
}

/* The state line has no sum: what can be seen is refused. */
static void state_line(void **state)
{
	static const uint64_t wrong[] = {0, 4, UINT64_MAX};
	struct pm_state line;
	size_t i;

	(void)state;
	make_victim();
	read_at(scratch("p"), &line, sizeof(line), PM_STATE);
	assert_int_equal(line.status, PM_STATUS_CLEAN);
	for (i = 0; i < ELEMENTS(wrong); i++) {
		struct pm_state bad = line;

		bad.status = wrong[i];
		write_at(scratch("p"), &bad, sizeof(bad), PM_STATE);
		refused_always(EUCLEAN, scratch("p"));
	}
	write_at(scratch("p"), &line, sizeof(line), PM_STATE);
	assert_opens();
}

static void zone_table(void **state)
{
	struct pm_zone zone, bad;
	unsigned bit;

	(void)state;
	make_victim();
	read_at(scratch("p"), &zone, sizeof(zone), PM_ZONE_TABLE);
	for (bit = 0; bit < sizeof(zone) * 8; bit += 3) {
		bad = zone;
		((uint8_t *)&bad)[bit / 8] ^= 1u << bit % 8;
		write_at(scratch("p"), &bad, sizeof(bad), PM_ZONE_TABLE);
		refused_always(EUCLEAN, scratch("p"));
	}
}

/*
 * Random damage anywhere in the metadata: open refuses the pool or opens it, and
 * an opened one may be used and checked. Whatever happens, no signal.
 */
static int use_damaged(void *arg)
{
	struct pheap_options opts = options_of(0);
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	pheap_t *heap = pheap_open(arg, &opts);
	void *object;
	unsigned i;

	if (!heap)
		return *pheap_errormsg() ? 1 : 99;
	pheap_retire(heap, pheap_root(heap));
	for (i = 0; i < 50; i++) {
		object = pheap_alloc(heap, 16u << i % 12);
		if (object && pheap_publish(heap, pheap_root(heap), object, 0))
			pheap_free(heap, object);
		if (i % 3)
			pheap_retire(heap, pheap_root(heap));
	}
	pheap_check(heap, &result, NULL, NULL);
	pheap_close(heap);
	return 0;
}

static void random_damage(void **state)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct rng rng = rng_make(2);
	struct pm_zone zone;
	pheap_t *heap = make_pool("p", POOL);
	char *path = scratch("bad"), *pool = scratch("p");
	unsigned round, i, refused = 0;

	(void)state;
	publish_root(heap, 300, 1);
	for (i = 1; i < 20; i++) {
		char name[8];

		snprintf(name, sizeof(name), "r%u", i);
		assert_ok(pheap_alloc_into(heap, assert_made(pheap_named_root(heap, name)),
					   (size_t)20 << i % 14, NULL));
	}
	copy_file(pool, scratch("dirty"));
	close_pool(heap);
	read_at(pool, &zone, sizeof(zone), PM_ZONE_TABLE);
	for (round = 0; round < 400; round++) {
		uint64_t area = rng_below(&rng, 4), offset, word;

		copy_file(round % 2 ? pool : scratch("dirty"), path);
		for (i = 0; i <= round % 4; i++) {
			/* The fixed area, the tree, the descriptors, bitmaps and lanes. */
			offset = area == 0   ? rng_below(&rng, PM_FIXED_END)
				 : area == 1 ? zone.tree + rng_below(&rng, 256)
				 : area == 2 ? zone.desc + rng_below(&rng, 64 * 64)
					     : zone.bits + rng_below(&rng, POOL - zone.bits);
			offset &= ~UINT64_C(7);
			word = rng_next(&rng) >> rng_below(&rng, 64);
			write_at(path, &word, 8, (off_t)offset);
		}
		pheap_check_file(path, &result, NULL, NULL);
		switch (run_child(use_damaged, path)) {
		case 0:
			break;
		case 1:
			refused++;
			break;
		default:
			fail_msg("an error without a message");
		}
	}
	/* Some of it must have been seen, and some must not matter. */
	assert_in_range(refused, 1, 399);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_twin_damaged), cmocka_unit_test(both_twins_damaged),
		cmocka_unit_test(from_the_future),  cmocka_unit_test(impossible_geometry),
		cmocka_unit_test(truncated),	    cmocka_unit_test(foreign),
		cmocka_unit_test(unfinished),	    cmocka_unit_test(state_line),
		cmocka_unit_test(zone_table),	    cmocka_unit_test(random_damage),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_PROCESS, tests);
}
