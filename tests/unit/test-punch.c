/*
 * test-punch.c - blocks of the file go back to the file system: all that are free, none
 * that is not, and they come back before they are used.
 */
#define _GNU_SOURCE /* fallocate, RTLD_NEXT */
#include "media.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "pool.h"

#define POOL MIB(128)

static bool cannot_punch;
static unsigned punched, backed;

/* Instead of the C library's: the library asks for blocks, and frees them, through it. */
long syscall(long number, ...)
{
	long (*next)(long, ...) = NULL, arg[6];
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < ELEMENTS(arg); i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_fallocate && arg[1] & FALLOC_FL_PUNCH_HOLE) {
		punched++;
		if (cannot_punch) {
			errno = EOPNOTSUPP;
			return -1;
		}
	} else if (number == SYS_fallocate) {
		backed++;
	}
	*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	must(next);
	return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static uint64_t file_bytes(const char *name)
{
	struct stat st;

	must(!stat(scratch(name), &st));
	return (uint64_t)st.st_blocks * 512;
}

/* Objects of all kinds, some published, some reserved, most gone again. */
#define N 120
static struct {
	char *ptr;
	size_t size;
} kept[N];

static unsigned fill(pheap_t *heap, pheap_ref *slots)
{
	static const size_t sizes[] = {64, 3000, 60000, 90000, 300000, 700000};
	unsigned n = 0;
	void *gone[N];

	for (unsigned i = 0; i < N; i++) {
		size_t size = sizes[i % ELEMENTS(sizes)];

		kept[n].ptr = assert_made(pheap_alloc(heap, size));
		kept[n].size = size;
		gone[i] = assert_made(pheap_alloc(heap, size));
		memset(gone[i], 1, size);
		fill_pattern(kept[n].ptr, size, n);
		if (i % 2)
			assert_ok(pheap_publish(heap, &slots[n], kept[n].ptr, 0));
		n++;
	}
	for (unsigned i = 0; i < N; i++)
		assert_ok(pheap_free(heap, gone[i]));
	return n;
}

static void assert_kept(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(has_pattern(kept[i].ptr, kept[i].size, i));
}

static void free_blocks_go(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;
	pheap_ref *slots = publish_root(heap, N * sizeof(pheap_ref), 1);
	uint64_t before, after, data;
	unsigned n;

	(void)state;
	memset(slots, 0, N * sizeof(pheap_ref));
	n = fill(heap, slots);
	before = file_bytes("p");
	backed = punched = 0;
	assert_ok(pheap_purge(heap, 0));
	assert_int_equal(punched, 0);
	assert_ok(pheap_purge(heap, PHEAP_PUNCH_HOLES));
	assert_true(punched > 0);
	after = file_bytes("p");
	assert_true(after < before);
	/* What is left is what is in use, and the fixed structures. */
	data = (stats_of(heap).granules - stats_of(heap).granules_free) * KIB(64);
	assert_true(after <= data + MIB(1));
	assert_kept(n);
	assert_int_equal(check_clean(heap), 1 + n / 2);
	/* D3: blocks come back before the memory is handed out. */
	backed = 0;
	memset(assert_made(pheap_alloc(heap, MIB(8))), 2, MIB(8));
	assert_true(backed > 0);
	assert_kept(n);
	copy = crash_pool("p");
	assert_int_equal(check_clean(copy), 1 + n / 2);
	close_pool(copy);
	close_pool(heap);
}

/* Have the file system allocate what is a hole, past the library. */
static void fill_holes(const char *name)
{
	int fd = open(scratch(name), O_RDWR | O_CLOEXEC);

	must(fd >= 0 && !posix_fallocate(fd, 0, (off_t)POOL));
	close(fd);
}

/* A file that has a block for each byte when it is opened is not asked for any, until
 * some are punched out. One that lacks a single block is. */
static void file_without_holes(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	int fd;

	(void)state;
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), MIB(1), NULL));
	close_pool(heap);
	fill_holes("p");
	backed = 0;
	heap = open_pool("p");
	memset(assert_made(pheap_alloc(heap, MIB(8))), 1, MIB(8));
	assert_int_equal(backed, 0);
	assert_ok(pheap_purge(heap, PHEAP_PUNCH_HOLES));
	assert_true(punched > 0);
	memset(assert_made(pheap_alloc(heap, MIB(16))), 1, MIB(16));
	assert_true(backed > 0);
	close_pool(heap);

	fill_holes("p");
	fd = open(scratch("p"), O_RDWR | O_CLOEXEC);
	must(fd >= 0 &&
	     !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB(64), PM_PAGE));
	close(fd);
	backed = 0;
	close_pool(open_pool("p"));
	assert_true(backed > 0);
}

/* All but the fixed structures goes where nothing is left. */
static void empty_pool(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	uint64_t new = file_bytes("p");
	void *objects[160];
	size_t n;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		n = fill_pool(heap, MIB(1), objects, ELEMENTS(objects));
		assert_true(file_bytes("p") > POOL / 2);
		while (n--)
			assert_ok(pheap_free(heap, objects[n]));
		assert_ok(pheap_purge(heap, PHEAP_PUNCH_HOLES));
		assert_true(file_bytes("p") <= new + MIB(1));
	}
	close_pool(heap);
}

/* The file system cannot: said so, and everything else works. */
static void not_supported(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	uint64_t before = stats_of(heap).granules_free;
	void *a = assert_made(pheap_alloc(heap, MIB(1)));

	(void)state;
	assert_ok(pheap_free(heap, a));
	assert_true(stats_of(heap).granules_free < before);
	cannot_punch = true;
	assert_error(ENOTSUP, pheap_purge(heap, PHEAP_PUNCH_HOLES));
	assert_non_null(strstr(pheap_errormsg(), "holes"));
	cannot_punch = false;
	assert_int_equal(stats_of(heap).granules_free, before);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), MIB(1), NULL));
	assert_int_equal(check_clean(heap), 1);
	assert_ok(pheap_purge(heap, PHEAP_PUNCH_HOLES));
	close_pool(heap);
}

/* Memory without a file goes back to the system. */
static void anonymous(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *a = assert_made(pheap_alloc(heap, MIB(8)));

	(void)state;
	memset(a, 1, MIB(8));
	assert_ok(pheap_free(heap, a));
	assert_ok(pheap_purge(heap, PHEAP_PUNCH_HOLES));
	a = assert_made(pheap_alloc(heap, MIB(8)));
	for (size_t i = 0; i < MIB(8); i += KIB(4))
		assert_int_equal(a[i], 0);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(free_blocks_go),
		cmocka_unit_test(file_without_holes),
		cmocka_unit_test(empty_pool),
		cmocka_unit_test(not_supported),
	};
	const struct CMUnitTest in_memory[] = {cmocka_unit_test(anonymous)};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODES_FILE, in_files);
	return failed + run_modes(MODE_VOLATILE, in_memory);
}
