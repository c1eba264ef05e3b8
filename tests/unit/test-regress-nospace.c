/*
 * test-regress-nospace.c - the file system below the pool has no block left, or the
 * process no memory, at a moment at which the library once was not prepared for it.
 */
#define _GNU_SOURCE /* fallocate, RTLD_NEXT */
#include "media.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "alloc/tcache.h"
#include "pool.h"

#define POOL MIB(8)

/* ---- a file system that is full -------------------------------------------------- */

static bool disk_full;
static int calls_left = -1; /* until it is full; -1: it is not */
static uint64_t grown;	    /* blocks that the file got by these calls */

static long counted(long (*next)(long, ...), const long *arg)
{
	struct stat before, after;
	long result;

	must(!fstat((int)arg[0], &before));
	result = next(SYS_fallocate, arg[0], arg[1], arg[2], arg[3]);
	must(!fstat((int)arg[0], &after));
	grown += (uint64_t)(after.st_blocks - before.st_blocks);
	return result;
}

/* Instead of the C library's: the library asks for blocks through it. */
long syscall(long number, ...)
{
	long (*next)(long, ...) = NULL, arg[6];
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < ELEMENTS(arg); i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_fallocate && (disk_full || !calls_left)) {
		errno = ENOSPC;
		return -1;
	}
	*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	must(next);
	if (number == SYS_fallocate) {
		calls_left -= calls_left > 0;
		return counted(next, arg);
	}
	return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static uint64_t blocks_of(const char *path)
{
	struct stat st;

	must(!stat(path, &st));
	return (uint64_t)st.st_blocks;
}

/* As cp --sparse=always leaves it: no block for a page of zeros. */
static void make_sparse(const char *path)
{
	static const char zero[PM_PAGE];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint64_t before = blocks_of(path);
	char page[PM_PAGE];

	must(fd >= 0);
	for (off_t at = 0; pread(fd, page, sizeof(page), at) == (ssize_t)sizeof(page);
	     at += PM_PAGE)
		if (!memcmp(page, zero, PM_PAGE))
			must(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
					PM_PAGE));
	close(fd);
	must(blocks_of(path) < before);
}

static void make_sparse_pool(void)
{
	pheap_t *heap;

	disk_full = false;
	heap = make_pool("p", POOL);

	assert_ok(pheap_alloc_into(heap, pheap_named_root(heap, "a"), 3000, NULL));
	assert_ok(pheap_alloc_into(heap, pheap_named_root(heap, "b"), 200000, NULL));
	close_pool(heap);
	make_sparse(scratch("p"));
}

/* A copy of a pool lost the blocks that create had allocated. The first store into one
 * of its holes on a full file system was a SIGBUS. */
static void open_sparse_copy(void **state)
{
	struct pheap_options opts = options_of(0);
	uint64_t hash;

	(void)state;
	make_sparse_pool();
	hash = file_hash(scratch("p"));
	disk_full = true;
	assert_errno(ENOSPC, pheap_open(scratch("p"), &opts));
	disk_full = false;
	assert_true(hash == file_hash(scratch("p")));
	close_pool(open_pool("p"));
}

#define TARGETS 20u

/* Killed with records that write zeros into pages of zeros, and with an open
 * transaction that has saved some: what they write are holes in a sparse copy. */
static int leave_crashed(void *arg)
{
	pheap_t *heap = open_pool("p");
	char *large = pheap_ptr(heap, *pheap_find_root(heap, "b"));
	pheap_tx_t *tx = pheap_tx_begin(heap);

	(void)arg;
	must(tx && !pheap_tx_snapshot(tx, large, TARGETS * PM_PAGE));
	for (unsigned i = TARGETS; i < 2 * TARGETS; i++)
		must(!pheap_set(heap, (uint64_t *)(void *)(large + i * PM_PAGE), 0));
	_exit(0);
}

/* Recovery wrote into holes of a sparse copy of a crashed pool: a SIGBUS where the
 * file system was full. Whichever call for blocks fails, nothing is written; and
 * the file gets no block but by such a call. */
static void recover_sparse_copy(void **state)
{
	struct pheap_options opts = options_of(0);
	uint64_t hash, blocks;
	pheap_t *heap;

	(void)state;
	make_sparse_pool();
	assert_int_equal(run_child(leave_crashed, NULL), 0);
	make_sparse(scratch("p"));
	hash = file_hash(scratch("p"));
	blocks = blocks_of(scratch("p"));
	grown = 0;
	for (int n = 0;; n++) {
		calls_left = n;
		heap = pheap_open(scratch("p"), &opts);
		if (heap)
			break;
		assert_int_equal(errno, ENOSPC);
		assert_non_null(strstr(pheap_errormsg(), "file system"));
		assert_true(hash == file_hash(scratch("p")));
	}
	calls_left = -1;
	assert_int_equal(blocks_of(scratch("p")), blocks + grown);
	assert_true(grown >= 2 * TARGETS * PM_PAGE / 512);
	check_clean(heap);
	close_pool(heap);
}

/* And after open nothing may reach into a hole before it has blocks. A hole that is
 * touched gets them from the system: the file grows. */
static void use_sparse_copy(void **state)
{
	uint64_t blocks;
	pheap_t *heap;

	(void)state;
	make_sparse_pool();
	heap = open_pool("p");
	assert_ok(pheap_set(heap, pheap_root(heap), 0));
	blocks = blocks_of(scratch("p"));
	disk_full = true;
	for (unsigned i = 0; i < 400; i++) /* once around the ring, and a checkpoint */
		assert_ok(pheap_set(heap, pheap_root(heap), 0));
	assert_errno(ENOSPC, pheap_alloc(heap, 64));
	for (unsigned i = 0; i < 4; i++) { /* there is a slab of these */
		char *object = pheap_alloc(heap, 3000);

		if (object)
			memset(object, 1, 3000);
	}
	pheap_usable_size(heap, pheap_ptr(heap, *pheap_find_root(heap, "a")));
	pheap_retire(heap, pheap_find_root(heap, "a"));
	pheap_retire(heap, pheap_find_root(heap, "b"));
	assert_int_equal(blocks_of(scratch("p")), blocks);
	disk_full = false;
	for (unsigned i = 0; i < 2; i++) {
		pheap_ref *slot = pheap_find_root(heap, i ? "b" : "a");

		if (*slot)
			assert_ok(pheap_retire(heap, slot));
	}
	assert_made(pheap_alloc(heap, 64));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* ---- a process without memory ---------------------------------------------------------- */

static __thread bool starved;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
	return starved ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return starved ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
	return starved ? NULL : __real_realloc(ptr, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return starved ? NULL : __real_aligned_alloc(alignment, size);
}

static struct {
	pheap_t *heap;
	pheap_tx_t *tx;
	char *reserved, *object;
} hungry;

static void *free_starved(void *arg)
{
	starved = true;
	*(int *)arg = pheap_free(hungry.heap, hungry.reserved);
	starved = false;
	return NULL;
}

static void *abort_starved(void *arg)
{
	starved = true;
	*(int *)arg = pheap_tx_abort(hungry.tx);
	starved = false;
	return NULL;
}

static void *commit_starved(void *arg)
{
	starved = true;
	*(int *)arg = pheap_tx_commit(hungry.tx);
	starved = false;
	return NULL;
}

static void *retire_starved(void *arg)
{
	starved = true;
	*(int *)arg = pheap_retire(hungry.heap, pheap_root(hungry.heap));
	starved = false;
	return NULL;
}

/* In a new thread, which has no cache yet. */
static int run_starved(void *(*fn)(void *))
{
	int result = 1;

	run_threads(1, fn, &result, 0);
	return result;
}

static void start_hungry(void)
{
	hungry.heap = make_pool("p", POOL);
	hungry.object = publish_root(hungry.heap, 64, 1);
	hungry.tx = assert_made(pheap_tx_begin(hungry.heap));
	assert_ok(pheap_tx_snapshot(hungry.tx, hungry.object, 64));
	fill_pattern(hungry.object, 64, 2);
}

/* "Never allocates: works in a new thread, always" was not so. */
static void free_without_memory(void **state)
{
	(void)state;
	hungry.heap = make_pool("p", POOL);
	for (size_t size = 64; size <= 131072; size *= 2048) {
		hungry.reserved = assert_made(pheap_alloc(hungry.heap, size));
		assert_int_equal(run_starved(free_starved), 0);
		assert_error(EINVAL, pheap_free(hungry.heap, hungry.reserved));
	}
	close_pool(hungry.heap);
}

/* A thread that has a cache, and no room for a magazine in it. */
static void magazine_without_memory(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object;

	(void)state;
	object = assert_made(pheap_alloc(heap, 64));
	ph_tcache_flush(ph_tcache_get(heap));
	starved = true;
	assert_errno(ENOMEM, pheap_alloc(heap, 64));
	assert_ok(pheap_free(heap, object));
	assert_error(EINVAL, pheap_free(heap, object));
	starved = false;
	assert_made(pheap_alloc(heap, 64));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* Regions stay as they were; what they have can be used. */
static void regions_without_memory(void **state)
{
	pheap_region_t *region = assert_made(pheap_region_create(4096, PHEAP_REGION_REUSE));
	char *object = assert_made(pheap_region_alloc(region, 64));
	size_t total = pheap_region_total_allocated(region);

	(void)state;
	starved = true;
	assert_errno(ENOMEM, pheap_region_create(4096, 0));
	assert_errno(ENOMEM, pheap_region_create_child(region, 4096, 0));
	assert_errno(ENOMEM, pheap_region_alloc(region, 100000));
	assert_int_equal(pheap_region_total_allocated(region), total);
	assert_made(pheap_region_alloc(region, 500));
	assert_ok(pheap_region_recycle(region, object, 64));
	assert_ptr_equal(pheap_region_alloc(region, 64), object);
	while (pheap_region_alloc(region, 500))
		;
	assert_int_equal(errno, ENOMEM);
	starved = false;
	assert_made(pheap_region_alloc(region, 500));
	assert_made(pheap_region_alloc(region, 100000));
	pheap_region_destroy(region);
}

/* The abort was left out, and the transaction open for ever. */
static void abort_without_memory(void **state)
{
	(void)state;
	start_hungry();
	assert_int_equal(run_starved(abort_starved), 0);
	assert_true(has_pattern(hungry.object, 64, 1));
	check_clean(hungry.heap);
	close_pool(hungry.heap);
}

/* "On an error it has been aborted" was not so. */
static void commit_without_memory(void **state)
{
	int err;

	(void)state;
	start_hungry();
	err = run_starved(commit_starved);
	assert_true(has_pattern(hungry.object, 64, err ? 1 : 2));
	check_clean(hungry.heap);
	close_pool(hungry.heap);
}

static void retire_without_memory(void **state)
{
	(void)state;
	hungry.heap = make_pool("p", POOL);
	publish_root(hungry.heap, 64, 1);
	assert_int_equal(run_starved(retire_starved), 0);
	assert_int_equal(*pheap_root(hungry.heap), 0);
	assert_int_equal(check_clean(hungry.heap), 0);
	close_pool(hungry.heap);
}

/* The next test must not find the disk full because this one failed. */
static int make_room(void **state)
{
	(void)state;
	disk_full = false;
	calls_left = -1;
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest on_files[] = {
		cmocka_unit_test_teardown(open_sparse_copy, make_room),
		cmocka_unit_test_teardown(recover_sparse_copy, make_room),
		cmocka_unit_test_teardown(use_sparse_copy, make_room),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_without_memory),	  cmocka_unit_test(magazine_without_memory),
		cmocka_unit_test(regions_without_memory), cmocka_unit_test(abort_without_memory),
		cmocka_unit_test(commit_without_memory),  cmocka_unit_test(retire_without_memory),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_PROCESS, on_files) + run_modes(MODES_ALL, tests);
}
