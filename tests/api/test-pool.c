/*
 * test-pool.c - create, open and close: options, locks, durability levels,
 * copies of a pool. What damage does is in test-pool-damage.c.
 */
#include "common.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "layout.h"

#define POOL MIB(8)

static void create_and_find_again(void **state)
{
	struct pheap_options opts = options_of(POOL);
	char *path = scratch("p");
	struct pheap_info info;
	uint8_t uuid[16];
	pheap_t *heap;

	(void)state;
	unlink(path);
	opts.layout = "inventory";
	heap = assert_made(pheap_create(path, &opts));
	info = info_of(heap);
	assert_int_equal(info.size, POOL);
	assert_string_equal(info.layout, "inventory");
	assert_int_equal(info.format, PM_FORMAT);
	assert_int_equal(info.durability, mode->durability);
	assert_int_equal(info.recovered, 0);
	assert_int_equal(info.readonly, 0);
	assert_string_equal(info.backend, mode->durability == PHEAP_PROCESS ? "none" : mode->name);
	assert_true(info.granules > 0 && info.granules * PM_GRANULE < POOL);
	assert_true(info.max_object > 0 && info.max_object <= info.granules * PM_GRANULE);
	memcpy(uuid, info.uuid, sizeof(uuid));

	assert_true(*pheap_root(heap) == PHEAP_NULL);
	publish_root(heap, 1000, 1);
	heap = reopen_pool(heap, "p");
	info = info_of(heap);
	assert_memory_equal(info.uuid, uuid, sizeof(uuid));
	assert_int_equal(info.recovered, 0);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 1000, 1));
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

static void after_a_crash(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *copy;

	(void)state;
	publish_root(heap, 200, 2);
	copy = crash_pool("p");
	assert_int_equal(info_of(copy).recovered, 1);
	assert_true(has_pattern(pheap_ptr(copy, *pheap_root(copy)), 200, 2));
	assert_int_equal(check_clean(copy), 1);
	copy = reopen_pool(copy, "p.crash");
	assert_int_equal(info_of(copy).recovered, 0);
	close_pool(copy);
	close_pool(heap);
}

/* A copy of a closed pool, and one of an open pool: all three at once. */
static void copies_open_together(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *closed, *crashed;
	void *object;

	(void)state;
	publish_root(heap, 128, 3);
	close_pool(heap);
	copy_file(scratch("p"), scratch("copy"));
	heap = open_pool("p");
	closed = open_pool("copy");
	object = pheap_ptr(heap, *pheap_root(heap));
	assert_ok(pheap_write(heap, object, "changed", 8));
	crashed = crash_pool("p");

	assert_true(pheap_ptr(closed, *pheap_root(closed)) != object);
	assert_true(has_pattern(pheap_ptr(closed, *pheap_root(closed)), 128, 3));
	assert_string_equal(pheap_ptr(crashed, *pheap_root(crashed)), "changed");
	assert_memory_equal(info_of(crashed).uuid, info_of(closed).uuid, 16);

	/* What happens in one does not show in the others. */
	assert_ok(pheap_retire(closed, pheap_root(closed)));
	assert_true(*pheap_root(heap) != PHEAP_NULL && *pheap_root(crashed) != PHEAP_NULL);
	/* A pointer into one heap is foreign to another. */
	assert_error(EINVAL, pheap_retire(closed, pheap_root(heap)));
	assert_error(EINVAL, pheap_free(crashed, object));
	assert_int_equal(check_clean(heap), 1);
	assert_int_equal(check_clean(closed), 0);
	assert_int_equal(check_clean(crashed), 1);
	close_pool(crashed);
	close_pool(closed);
	close_pool(heap);
}

static void existing_file(void **state)
{
	struct pheap_options opts = options_of(POOL);
	char *path = scratch("p");
	pheap_t *heap;
	uint64_t hash;
	FILE *file;

	(void)state;
	close_pool(make_pool("p", POOL));
	hash = file_hash(path);
	assert_errno(EEXIST, pheap_create(path, &opts));
	assert_true(file_hash(path) == hash);

	file = fopen(path, "w");
	assert_non_null(file);
	fputs("not a pool, but precious\n", file);
	fclose(file);
	hash = file_hash(path);
	assert_errno(EEXIST, pheap_create(path, &opts));
	assert_true(file_hash(path) == hash);

	/* Empty, or nothing but zero bytes: nothing is lost. */
	assert_int_equal(truncate(path, 0), 0);
	heap = assert_made(pheap_create(path, &opts));
	close_pool(heap);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, MIB(3)), 0);
	heap = assert_made(pheap_create(path, &opts));
	assert_int_equal(info_of(heap).size, POOL);
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
	/* Even if it is larger than what is wanted. */
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, MIB(20)), 0);
	heap = assert_made(pheap_create(path, &opts));
	heap = reopen_pool(heap, "p");
	assert_int_equal(info_of(heap).size, POOL);
	close_pool(heap);
}

static void layout_names(void **state)
{
	struct pheap_options opts = options_of(POOL);
	char *path = scratch("p"), name[PHEAP_LAYOUT_MAX + 1];
	pheap_t *heap;

	(void)state;
	unlink(path);
	memset(name, 'x', sizeof(name));
	name[PHEAP_LAYOUT_MAX] = 0;
	opts.layout = name;
	assert_errno(EINVAL, pheap_create(path, &opts));
	assert_int_not_equal(access(path, F_OK), 0);
	name[PHEAP_LAYOUT_MAX - 1] = 0;
	heap = assert_made(pheap_create(path, &opts));
	assert_string_equal(info_of(heap).layout, name);
	close_pool(heap);

	heap = assert_made(pheap_open(path, &opts));
	close_pool(heap);
	opts.layout = "other";
	assert_errno(EINVAL, pheap_open(path, &opts));
	opts.layout = "";
	assert_errno(EINVAL, pheap_open(path, &opts));
	opts.layout = NULL;
	heap = assert_made(pheap_open(path, &opts));
	close_pool(heap);
}

static void sizes(void **state)
{
	static const uint64_t wrong[] = {
		1,
		4096,
		PHEAP_MIN_SIZE - 1,
		PHEAP_MIN_SIZE - 65536,
		PHEAP_MAX_SIZE + 65536,
		UINT64_MAX,
		UINT64_C(1) << 63,
	};
	char *path = scratch("p");
	struct pheap_options opts;
	pheap_t *heap;
	struct stat st;
	size_t i;

	(void)state;
	unlink(path);
	for (i = 0; i < ELEMENTS(wrong); i++) {
		opts = options_of(wrong[i]);
		assert_errno(EINVAL, pheap_create(path, &opts));
		assert_int_not_equal(access(path, F_OK), 0);
	}
	opts = options_of(PHEAP_MIN_SIZE + 100000);
	heap = assert_made(pheap_create(path, &opts));
	assert_int_equal(info_of(heap).size, PHEAP_MIN_SIZE + 65536);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, PHEAP_MIN_SIZE + 65536);
	close_pool(heap);
	close_pool(make_pool("p", PHEAP_MIN_SIZE));
}

/* 1 TiB: opening does not depend on the size, and nothing is written ahead. */
static void largest_size(void **state)
{
	char *path = scratch("huge");
	struct stat st;
	pheap_t *heap;
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	if (ftruncate(fd, (off_t)PHEAP_MAX_SIZE)) {
		close(fd);
		skip();
	}
	close(fd);
	heap = make_pool("huge", PHEAP_MAX_SIZE);
	assert_int_equal(info_of(heap).size, PHEAP_MAX_SIZE);
	assert_true(info_of(heap).max_object >= PHEAP_MAX_SIZE / 4);
	publish_root(heap, 5000, 4);
	heap = reopen_pool(heap, "huge");
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 5000, 4));
	assert_non_null(pheap_alloc(heap, MIB(3)));
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < MIB(64));
	close_pool(heap);
	unlink(path);
}

static void permission_bits(void **state)
{
	struct pheap_options opts = options_of(POOL);
	char *path = scratch("p");
	mode_t mask = umask(0);
	struct stat st;

	(void)state;
	unlink(path);
	close_pool(assert_made(pheap_create(path, &opts)));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	unlink(path);
	opts.mode = 0644;
	close_pool(assert_made(pheap_create(path, &opts)));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	umask(mask);
}

static void bad_arguments(void **state)
{
	static const size_t sizes_unknown[] = {0, 8, sizeof(struct pheap_options) + 64, SIZE_MAX};
	struct pheap_options opts = options_of(POOL);
	struct pheap_info info = {0};
	char *path = scratch("p");
	pheap_t *heap;
	size_t i;

	(void)state;
	unlink(path);
	assert_errno(EINVAL, pheap_create(NULL, &opts));
	assert_errno(EINVAL, pheap_create(NULL, NULL));
	assert_errno(EINVAL, pheap_open(NULL, &opts));
	assert_errno(EINVAL, pheap_open(NULL, NULL));
	assert_errno(ENOENT, pheap_open(path, &opts));
	assert_errno(ENOENT, pheap_open(scratch("no/such/folder"), &opts));
	assert_errno(ENOENT, pheap_create(scratch("no/such/folder"), &opts));
	assert_ok(pheap_close(NULL));

	for (i = 0; i < ELEMENTS(sizes_unknown); i++) {
		opts.struct_size = sizes_unknown[i];
		assert_errno(EINVAL, pheap_create(path, &opts));
	}
	opts = options_of(POOL);
	opts.durability = 77;
	assert_errno(EINVAL, pheap_create(path, &opts));
	opts = options_of(POOL);
	opts.flags |= 1u << 30;
	assert_errno(EINVAL, pheap_create(path, &opts));
	assert_int_not_equal(access(path, F_OK), 0);

	heap = make_pool("p", POOL);
	for (i = 0; i < ELEMENTS(sizes_unknown); i++) {
		info.struct_size = sizes_unknown[i];
		assert_error(EINVAL, pheap_get_info(heap, &info));
		assert_int_equal(info.size, 0);
	}
	close_pool(heap);
	for (i = 0; i < ELEMENTS(sizes_unknown); i++) {
		opts = options_of(0);
		opts.struct_size = sizes_unknown[i];
		assert_errno(EINVAL, pheap_open(path, &opts));
	}
	opts = options_of(0);
	opts.durability = 77;
	assert_errno(EINVAL, pheap_open(path, &opts));
	close_pool(open_pool("p"));
}

static int try_open(void *arg)
{
	struct pheap_options opts = options_of(0);
	pheap_t *heap;

	opts.flags |= *(unsigned *)arg;
	errno = 0;
	heap = pheap_open(scratch("p"), &opts);
	if (!heap)
		return *pheap_errormsg() ? errno : 255;
	return pheap_close(heap) ? 254 : 0;
}

static void one_writer_or_many_readers(void **state)
{
	struct pheap_options opts = options_of(0), create = options_of(POOL);
	unsigned write = 0, readonly = PHEAP_READONLY;
	pheap_t *heap = make_pool("p", POOL), *second;

	(void)state;
	assert_errno(EBUSY, pheap_open(scratch("p"), &opts));
	assert_int_equal(run_child(try_open, &write), EBUSY);
	opts.flags |= PHEAP_READONLY;
	assert_errno(EBUSY, pheap_open(scratch("p"), &opts));
	assert_int_equal(run_child(try_open, &readonly), EBUSY);
	errno = 0;
	assert_null(pheap_create(scratch("p"), &create));
	assert_true(errno == EBUSY || errno == EEXIST);
	/* The refused ones did not harm the first. */
	publish_root(heap, 100, 5);
	close_pool(heap);

	heap = open_pool_flags("p", PHEAP_READONLY);
	second = open_pool_flags("p", PHEAP_READONLY);
	assert_int_equal(run_child(try_open, &readonly), 0);
	assert_int_equal(run_child(try_open, &write), EBUSY);
	opts.flags &= ~(unsigned)PHEAP_READONLY;
	assert_errno(EBUSY, pheap_open(scratch("p"), &opts));
	assert_true(has_pattern(pheap_ptr(second, *pheap_root(second)), 100, 5));
	close_pool(heap);
	assert_errno(EBUSY, pheap_open(scratch("p"), &opts));
	close_pool(second);
	assert_int_equal(run_child(try_open, &write), 0);
}

/* Every function that would change something says EROFS, and changes nothing. */
static void check_readonly(pheap_t *heap, uint64_t id)
{
	pheap_ref *root = pheap_root(heap), before = *root;
	char *object = pheap_ptr(heap, before), bytes[8] = {0};

	assert_int_equal(info_of(heap).readonly, 1);
	assert_true(has_pattern(object, 200, id));
	assert_true(pheap_usable_size(heap, object) >= 200);
	assert_errno(EROFS, pheap_alloc(heap, 10));
	assert_errno(EROFS, pheap_zalloc(heap, 10));
	assert_errno(EROFS, pheap_aligned_alloc(heap, 64, 10));
	assert_errno(EROFS, pheap_realloc(heap, NULL, 10));
	assert_errno(EROFS, pheap_tx_begin(heap));
	assert_error(EROFS, pheap_retire(heap, root));
	assert_error(EROFS, pheap_replace(heap, root, object, 0));
	assert_error(EROFS, pheap_publish(heap, root, object, 0));
	assert_error(EROFS, pheap_alloc_into(heap, root, 10, NULL));
	assert_error(EROFS, pheap_resize(heap, root, 1000));
	assert_error(EROFS, pheap_set(heap, (uint64_t *)object, 1));
	assert_error(EROFS, pheap_write(heap, object, bytes, 8));
	assert_error(EROFS, pheap_persist(heap, object, 8));
	assert_error(EROFS, pheap_flush(heap, object, 8));
	assert_error(EROFS, pheap_memcpy(heap, object, bytes, 8));
	assert_errno(EROFS, pheap_named_root(heap, "new"));
	assert_non_null(pheap_named_root(heap, "old"));
	assert_non_null(pheap_find_root(heap, "old"));
	assert_errno(ENOENT, pheap_find_root(heap, "new"));
	assert_error(EROFS, pheap_drop_root(heap, "old"));
	assert_true(*root == before && has_pattern(object, 200, id));
	assert_int_equal(check_clean(heap), 1);
}

static void readonly(void **state)
{
	pheap_t *heap = make_pool("p", POOL), *reader;
	uint64_t hash;

	(void)state;
	assert_non_null(pheap_named_root(heap, "old"));
	publish_root(heap, 200, 6);
	/* One that was not closed cleanly: recovered in a private mapping. */
	copy_file(scratch("p"), scratch("dirty"));
	close_pool(heap);

	hash = file_hash(scratch("p"));
	reader = open_pool_flags("p", PHEAP_READONLY);
	assert_int_equal(info_of(reader).recovered, 0);
	check_readonly(reader, 6);
	close_pool(reader);
	assert_true(file_hash(scratch("p")) == hash);

	hash = file_hash(scratch("dirty"));
	reader = open_pool_flags("dirty", PHEAP_READONLY);
	assert_int_equal(info_of(reader).recovered, 1);
	check_readonly(reader, 6);
	close_pool(reader);
	assert_true(file_hash(scratch("dirty")) == hash);
	/* So it still has to be recovered. */
	heap = open_pool("dirty");
	assert_int_equal(info_of(heap).recovered, 1);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* A file without permission to write can be read. */
static void readonly_file(void **state)
{
	pheap_t *heap = make_pool("p", POOL);

	(void)state;
	publish_root(heap, 200, 7);
	close_pool(heap);
	assert_int_equal(chmod(scratch("p"), 0400), 0);
	heap = open_pool_flags("p", PHEAP_READONLY);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 200, 7));
	close_pool(heap);
	assert_int_equal(chmod(scratch("p"), 0600), 0);
}

static void durability_on_tmpfs(void **state)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = POOL};
	char *path = scratch("d");
	pheap_t *heap;

	(void)state;
	if (!scratch_is_tmpfs())
		skip();
	unlink(path);
	opts.durability = PHEAP_POWER;
	assert_errno(ENOTSUP, pheap_create(path, &opts));
	assert_int_not_equal(access(path, F_OK), 0);

	heap = assert_made(pheap_create(path, NULL));
	assert_int_equal(info_of(heap).durability, PHEAP_PROCESS);
	assert_int_equal(info_of(heap).size, MIB(64));
	close_pool(heap);
	assert_errno(ENOTSUP, pheap_open(path, &opts));
	heap = assert_made(pheap_open(path, NULL));
	assert_int_equal(info_of(heap).durability, PHEAP_PROCESS);
	close_pool(heap);

	opts.flags = PHEAP_FORCE_PMEM;
	heap = assert_made(pheap_open(path, &opts));
	assert_int_equal(info_of(heap).durability, PHEAP_POWER);
	assert_string_equal(info_of(heap).backend, "pmem");
	close_pool(heap);
	opts.flags = PHEAP_FORCE_MSYNC;
	heap = assert_made(pheap_open(path, &opts));
	assert_int_equal(info_of(heap).durability, PHEAP_POWER);
	assert_string_equal(info_of(heap).backend, "msync");
	close_pool(heap);
}

/* On a disk: POWER, by writing back. A folder that is on none is passed over. */
static void durability_on_disk(void **state)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = POOL, .layout = "disk"};
	char path[64];
	struct statfs fs;
	pheap_t *heap;

	(void)state;
	if (statfs("/var/tmp", &fs) || fs.f_type == TMPFS_MAGIC || access("/var/tmp", W_OK))
		skip();
	snprintf(path, sizeof(path), "/var/tmp/pheap-test-%ld", (long)getpid());
	heap = pheap_create(path, &opts);
	/* It goes away whatever comes; the heap does not need the name. */
	unlink(path);
	assert_made(heap);
	assert_int_equal(info_of(heap).durability, PHEAP_POWER);
	assert_true(!strcmp(info_of(heap).backend, "msync") || info_of(heap).is_pmem);
	publish_root(heap, 5000, 11);
	assert_ok(pheap_resize(heap, pheap_root(heap), 20000));
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 5000, 11));
	assert_true(stats_of(heap).fences > 0);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* What the program does when it is run again with PMEM_IS_PMEM_FORCE=1. */
static int run_forced(const char *path)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .size = POOL, .durability = PHEAP_POWER};
	struct pheap_info info = {.struct_size = sizeof(info)};
	pheap_t *heap = pheap_create(path, &opts);

	must(heap && !pheap_get_info(heap, &info));
	must(info.durability == PHEAP_POWER && !strcmp(info.backend, "pmem"));
	must(!pheap_close(heap));
	return 0;
}

static int exec_forced(void *path)
{
	setenv("PMEM_IS_PMEM_FORCE", "1", 1);
	execl("/proc/self/exe", "test-pool", "--forced", (char *)path, (char *)NULL);
	return 127;
}

/* libpmem may look at its environment once only: hence a new program. */
static void durability_by_environment(void **state)
{
	(void)state;
	unlink(scratch("env"));
	assert_int_equal(run_child(exec_forced, scratch("env")), 0);
}

/* The format is one: a pool goes from each level to each other, dirty or clean. */
static void levels_change(void **state)
{
	static const struct {
		unsigned durability, flags;
	} levels[] = {
		{PHEAP_POWER, PHEAP_FORCE_PMEM},
		{PHEAP_PROCESS, 0},
		{PHEAP_POWER, PHEAP_FORCE_MSYNC},
	};
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	pheap_t *heap = make_pool("p", POOL);
	unsigned i, j, dirty, n = 0;

	(void)state;
	publish_root(heap, 300, n);
	close_pool(heap);
	for (i = 0; i < 3 * 3 * 2; i++) {
		j = i / 2 % 3;
		dirty = i % 2;
		opts.durability = levels[j].durability;
		opts.flags = levels[j].flags;
		heap = assert_made(pheap_open(scratch("p"), &opts));
		assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, n));
		assert_ok(pheap_retire(heap, pheap_root(heap)));
		publish_root(heap, 300, ++n);
		copy_file(scratch("p"), scratch("other"));
		close_pool(heap);
		if (dirty)
			copy_file(scratch("other"), scratch("p"));
		opts.durability = levels[i / 6].durability;
		opts.flags = levels[i / 6].flags;
		heap = assert_made(pheap_open(scratch("p"), &opts));
		assert_int_equal(info_of(heap).recovered, dirty);
		assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, n));
		assert_int_equal(check_clean(heap), 1);
		close_pool(heap);
	}
}

/* A pool last used without flushes before a reboot may have lost anything. */
static void process_mark(void **state)
{
	struct pheap_options opts = options_of(0);
	uint8_t other_boot[16];
	pheap_t *heap = make_pool("p", POOL);
	unsigned flags[2] = {0, PHEAP_READONLY}, i;
	uint64_t hash;

	(void)state;
	publish_root(heap, 300, 8);
	copy_file(scratch("p"), scratch("dirty"));
	close_pool(heap);
	memset(other_boot, 0x5a, sizeof(other_boot));
	write_at(scratch("dirty"), other_boot, 16, PM_STATE + offsetof(struct pm_state, boot_id));
	write_at(scratch("p"), other_boot, 16, PM_STATE + offsetof(struct pm_state, boot_id));

	/* Closed cleanly: a reboot does not matter. */
	close_pool(open_pool("p"));
	if (mode->durability != PHEAP_PROCESS) {
		close_pool(open_pool("dirty"));
		return;
	}
	hash = file_hash(scratch("dirty"));
	for (i = 0; i < 2; i++) {
		opts.flags = flags[i];
		assert_errno(EUCLEAN, pheap_open(scratch("dirty"), &opts));
		/* Nor does a level help that flushes. */
		opts.durability = PHEAP_POWER;
		opts.flags |= PHEAP_FORCE_PMEM;
		assert_errno(EUCLEAN, pheap_open(scratch("dirty"), &opts));
		opts = options_of(0);
	}
	assert_true(file_hash(scratch("dirty")) == hash);
	heap = open_pool_flags("dirty", PHEAP_CHECK_FIRST);
	assert_int_equal(info_of(heap).recovered, 1);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 300, 8));
	close_pool(heap);
	close_pool(open_pool("dirty"));
}

/* Open many times: nothing is used up. */
static void again_and_again(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	uint64_t free_before;
	unsigned i;

	(void)state;
	publish_root(heap, 64, 9);
	heap = reopen_pool(heap, "p");
	free_before = stats_of(heap).granules_free;
	for (i = 0; i < 300; i++) {
		assert_ok(pheap_retire(heap, pheap_root(heap)));
		publish_root(heap, 64, 9);
		heap = reopen_pool(heap, "p");
	}
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 64, 9));
	assert_int_equal(stats_of(heap).granules_free, free_before);
	close_pool(heap);
}

static void volatile_heap(void **state)
{
	struct pheap_options opts = options_of(POOL);
	pheap_t *heap = assert_made(pheap_create(NULL, &opts)), *second;

	(void)state;
	second = assert_made(pheap_create(NULL, &opts));
	assert_string_equal(info_of(heap).backend, "volatile");
	assert_int_equal(info_of(heap).durability, PHEAP_VOLATILE);
	assert_int_equal(info_of(heap).size, POOL);
	publish_root(heap, 500, 10);
	assert_true(*pheap_root(second) == PHEAP_NULL);
	assert_true(has_pattern(pheap_ptr(heap, *pheap_root(heap)), 500, 10));
	assert_int_equal(stats_of(heap).fences, 0);
	close_pool(heap);
	close_pool(second);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest in_files[] = {
		cmocka_unit_test(create_and_find_again),
		cmocka_unit_test(after_a_crash),
		cmocka_unit_test(copies_open_together),
		cmocka_unit_test(existing_file),
		cmocka_unit_test(layout_names),
		cmocka_unit_test(sizes),
		cmocka_unit_test(largest_size),
		cmocka_unit_test(permission_bits),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(one_writer_or_many_readers),
		cmocka_unit_test(readonly),
		cmocka_unit_test(readonly_file),
		cmocka_unit_test(process_mark),
		cmocka_unit_test(again_and_again),
	};
	const struct CMUnitTest once[] = {
		cmocka_unit_test(durability_on_tmpfs),
		cmocka_unit_test(durability_on_disk),
		cmocka_unit_test(durability_by_environment),
		cmocka_unit_test(levels_change),
	};
	const struct CMUnitTest anonymous[] = {
		cmocka_unit_test(volatile_heap),
	};
	int failed;

	if (argc == 3 && !strcmp(argv[1], "--forced"))
		return run_forced(argv[2]);
	test_init(argc, argv);
	failed = run_modes(MODES_FILE, in_files);
	failed += run_modes(MODE_PMEM, once);
	failed += run_modes(MODE_VOLATILE, anonymous);
	return failed;
}
