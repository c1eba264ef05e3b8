/*
 * test-io.c - the file below the pool fails: write-backs with EIO, no blocks (on a real
 * file system of 16 MiB too), a file that somebody truncates while it is open.
 *
 * Every write-back of every operation fails once. That operation says EIO and may have
 * happened or not, the heap is read-only from then on, and the next open finds the pool
 * as it was before the operation or after it.
 */
#define _GNU_SOURCE /* RTLD_NEXT, unshare */
#include "common.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libpmem.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define POOL MIB(8)

/* ---- failures to order ----------------------------------------------------------------- */

/* Calls until one fails, or all from then on; -1: none does. */
static struct failure {
	int left;
	bool stays;
	int code;
} msyncs = {-1, false, EIO}, fsyncs = {-1, false, EIO}, fallocates = {-1, false, EIO};

static bool fails(struct failure *failure)
{
	if (failure->left < 0 || failure->left-- > 0)
		return false;
	if (failure->stays)
		failure->left = 0;
	errno = failure->code;
	return true;
}

static void *next(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	must(symbol);
	return symbol;
}

/* Instead of libpmem's and the C library's. */
int pmem_msync(const void *addr, size_t length)
{
	int (*real)(const void *, size_t);

	*(void **)&real = next("pmem_msync");
	return fails(&msyncs) ? -1 : real(addr, length);
}

int fsync(int fd)
{
	int (*real)(int);

	*(void **)&real = next("fsync");
	return fails(&fsyncs) ? -1 : real(fd);
}

long syscall(long number, ...)
{
	long (*real)(long, ...), arg[6];
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < ELEMENTS(arg); i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_fallocate && fails(&fallocates))
		return -1;
	*(void **)&real = next("syscall");
	return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static int no_failures(void **state)
{
	(void)state;
	msyncs.left = fsyncs.left = fallocates.left = -1;
	return 0;
}

/* ---- write-backs that fail ----------------------------------------------------------------- */

#define BYTES 4096u
#define LARGE 300000u

/* The pool: a root object of BYTES called a, an object b of LARGE, a null slot. What an
 * operation changes is in a's words and in the slot. */
static struct {
	pheap_t *heap;
	uint64_t *words;
	pheap_ref *slot;
	void *reserved;
} in;

enum { OLD = 1, NEW = 2 };

static void find(void)
{
	in.words = pheap_ptr(in.heap, *pheap_find_root(in.heap, "a"));
	in.slot = pheap_find_root(in.heap, "slot");
	assert_true(in.words && in.slot);
}

static void prepare(bool linked)
{
	in.heap = make_pool("p", POOL);
	assert_ok(pheap_alloc_into(in.heap, pheap_named_root(in.heap, "a"), BYTES, NULL));
	assert_made(pheap_named_root(in.heap, "slot"));
	find();
	for (unsigned i = 0; i < BYTES / 8; i++)
		in.words[i] = OLD;
	assert_ok(pheap_persist(in.heap, in.words, BYTES));
	in.reserved = assert_made(pheap_alloc(in.heap, 5000));
	fill_pattern(in.reserved, 5000, NEW);
	if (linked) {
		void *object = assert_made(pheap_alloc(in.heap, 5000));

		fill_pattern(object, 5000, OLD);
		assert_ok(pheap_publish(in.heap, in.slot, object, 0));
	}
}

static int publish(void)
{
	return pheap_publish(in.heap, in.slot, in.reserved, 0);
}

static int replace(void)
{
	return pheap_replace(in.heap, in.slot, in.reserved, 0);
}

static int retire(void)
{
	return pheap_retire(in.heap, in.slot);
}

static int alloc_into(void)
{
	static char content[LARGE];

	fill_pattern(content, 5000, NEW);
	return pheap_alloc_into(in.heap, in.slot, LARGE, content);
}

static int resize(void)
{
	return pheap_resize(in.heap, in.slot, LARGE);
}

/* Around the ring: with a checkpoint on the way. */
static int set_often(void)
{
	int err = 0;

	for (unsigned i = 0; i < 400 && !err; i++)
		err = pheap_set(in.heap, &in.words[1], NEW);
	return err;
}

static int persist(void)
{
	in.words[1] = NEW;
	return pheap_persist(in.heap, &in.words[1], 8);
}

static int redo(void)
{
	pheap_tx_t *tx = pheap_tx_begin(in.heap);
	int err = tx ? 0 : -errno;

	for (unsigned i = 0; i < BYTES / 8 && !err; i++)
		err = pheap_tx_set(tx, &in.words[i], NEW);
	if (!err)
		err = pheap_tx_adopt(tx, in.reserved);
	if (!err)
		err = pheap_tx_set(tx, in.slot, pheap_ref_of(in.heap, in.reserved));
	return err ? err : pheap_tx_commit(tx);
}

static int undo_to(bool commit)
{
	pheap_tx_t *tx = pheap_tx_begin(in.heap);
	int err = tx ? pheap_tx_snapshot(tx, in.words, BYTES) : -errno, end;

	for (unsigned i = 0; i < BYTES / 8 && !err; i++)
		in.words[i] = NEW;
	if (err || !commit)
		end = tx ? pheap_tx_abort(tx) : 0;
	else
		end = pheap_tx_commit(tx);
	return err ? err : end;
}

static int undo(void)
{
	return undo_to(true);
}

static int undo_abort(void)
{
	return undo_to(false);
}

static int named_root(void)
{
	return pheap_named_root(in.heap, "new") ? 0 : -errno;
}

static void *set_in_thread(void *arg)
{
	*(int *)arg = pheap_set(in.heap, &in.words[1], NEW);
	return NULL;
}

/* With a lane being added for the thread, since the caller has one. */
static int new_lane(void)
{
	int err = 1;

	run_threads(1, set_in_thread, &err, 0);
	return err;
}

static int purge(void)
{
	return pheap_purge(in.heap, 0);
}

static int close_it(void)
{
	int err = pheap_close(in.heap);

	in.heap = NULL;
	return err;
}

/* All words of a are as one operation left them. */
static bool words_are(uint64_t value, bool all)
{
	for (unsigned i = 0; i < BYTES / 8; i++)
		if (in.words[i] != (all || i == 1 ? value : OLD))
			return false;
	return true;
}

static bool slot_is(uint64_t id)
{
	void *object = *in.slot ? pheap_ptr(in.heap, *in.slot) : NULL;

	return id ? object && has_pattern(object, 5000, id) : !*in.slot;
}

struct operation {
	const char *name;
	int (*fn)(void);
	bool linked;	    /* the slot refers to an object before */
	uint64_t id, words; /* of the slot's object, and of words, afterwards; 0: as before */
	bool all;	    /* words */
	unsigned least;	    /* write-backs in it */
	bool silent;	    /* may succeed although a lane could not be added */
};

static const struct operation operations[] = {
	{"publish", publish, false, NEW, 0, false, 2, false},
	{"replace", replace, true, NEW, 0, false, 2, false},
	{"retire", retire, true, 0, 0, false, 1, false},
	{"alloc_into", alloc_into, false, NEW, 0, false, 2, false},
	{"resize", resize, true, OLD, 0, false, 2, false},
	{"set", set_often, false, 0, NEW, false, 400, false},
	{"persist", persist, false, 0, NEW, false, 1, false},
	{"redo", redo, false, NEW, NEW, true, 1, false},
	{"undo", undo, false, 0, NEW, true, 3, false},
	{"abort", undo_abort, false, 0, OLD, true, 3, false},
	{"named_root", named_root, false, 0, 0, false, 1, false},
	{"new lane", new_lane, false, 0, NEW, false, 4, true},
	{"purge", purge, true, OLD, 0, false, 1, false},
	{"close", close_it, true, OLD, 0, false, 2, false},
};

/* It says so, and whatever would write says the same from now on. */
static void assert_readonly(void)
{
	assert_non_null(strstr(pheap_errormsg(), "read-only"));
	assert_error(EIO, pheap_set(in.heap, &in.words[0], 3));
	assert_error(EIO, pheap_write(in.heap, in.words, "x", 1));
	assert_error(EIO, pheap_alloc_into(in.heap, in.slot, 64, NULL));
	assert_error(EIO, pheap_persist(in.heap, in.words, 8));
	assert_errno(EIO, pheap_tx_begin(in.heap));
	assert_errno(EIO, pheap_named_root(in.heap, "another"));
	assert_error(EIO, pheap_purge(in.heap, 0));
	/* Reading goes on. */
	assert_true(pheap_ptr(in.heap, *pheap_find_root(in.heap, "a")) == in.words);
	assert_true(pheap_usable_size(in.heap, in.words) >= BYTES);
	assert_error(EIO, pheap_close(in.heap));
	assert_non_null(strstr(pheap_errormsg(), "recovered"));
}

/* As before, or as after; and work goes on. */
static void assert_whole(const struct operation *op, bool done)
{
	uint64_t objects;
	bool before, after;

	in.heap = open_pool("p");
	find();
	before = slot_is(op->linked ? OLD : 0) && words_are(OLD, true);
	after = slot_is(op->id) && words_are(op->words ? op->words : OLD, op->all || !op->words);
	if (done ? !after : !before && !after)
		fail_msg("%s: %s", op->name, done ? "it did not happen" : "it happened in part");
	objects = check_clean(in.heap);
	assert_int_equal(objects, 1 + (*in.slot != 0));
	for (unsigned i = 0; i < 400; i++)
		assert_ok(pheap_set(in.heap, &in.words[2], i));
	if (*in.slot)
		assert_ok(pheap_retire(in.heap, in.slot));
	assert_ok(pheap_alloc_into(in.heap, in.slot, 100, NULL));
	assert_int_equal(check_clean(in.heap), 2);
	close_pool(in.heap);
}

/* With its n-th write-back failing; false where it has not so many. */
static bool fail_one(const struct operation *op, unsigned n, bool stays)
{
	bool failed;
	int err;

	prepare(op->linked);
	msyncs = (struct failure){(int)n, stays, EIO};
	err = op->fn();
	failed = msyncs.left < 0 || (stays && msyncs.left == 0 && err);
	if (!failed) {
		no_failures(NULL);
		assert_ok(err);
		if (in.heap)
			close_pool(in.heap);
		assert_whole(op, true);
		return false;
	}
	if (err != -EIO && (err || !op->silent))
		fail_msg("%s, write-back %u: gave %d", op->name, n, err);
	if (err && !*pheap_errormsg() && !op->silent)
		fail_msg("%s, write-back %u: no message", op->name, n);
	if (in.heap) {
		if (!op->silent)
			assert_readonly();
		else
			assert_error(EIO, pheap_close(in.heap));
	}
	no_failures(NULL);
	assert_whole(op, !err);
	return true;
}

static void write_backs_fail(void **state)
{
	unsigned n, all = 0;

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(operations); i++) {
		const struct operation *op = &operations[i];
		/* One of hundreds of the same kind, now and then. */
		unsigned step = op->least > 100 ? 37 : 1;

		for (n = 0; fail_one(op, n, n / step % 2); n += step)
			all++;
		if (n < op->least)
			fail_msg("%s: %u write-backs", op->name, n);
	}
	print_message("%u failures of %zu operations\n", all, ELEMENTS(operations));
}

/* An open that fails leaves what the next one recovers; a create leaves no file. */
static void open_and_create_fail(void **state)
{
	static const struct operation opened = {
		.name = "open", .linked = true, .id = OLD, .words = NEW};
	struct pheap_options opts = options_of(0);
	struct stat st;
	unsigned n;

	(void)state;
	prepare(true);
	assert_ok(set_often());
	copy_file(scratch("p"), scratch("crashed"));
	close_pool(in.heap);
	for (n = 0;; n++) {
		copy_file(scratch("crashed"), scratch("p"));
		msyncs = (struct failure){(int)n, n % 2, EIO};
		in.heap = pheap_open(scratch("p"), &opts);
		if (in.heap)
			break;
		assert_int_equal(errno, EIO);
		no_failures(NULL);
		assert_whole(&opened, true);
	}
	assert_true(n >= 3);
	no_failures(NULL);
	close_pool(in.heap);

	opts = options_of(POOL);
	for (n = 0;; n++) {
		unlink(scratch("new"));
		msyncs = (struct failure){(int)n, n % 2, EIO};
		in.heap = pheap_create(scratch("new"), &opts);
		if (in.heap)
			break;
		assert_int_equal(errno, EIO);
		assert_true(stat(scratch("new"), &st) && errno == ENOENT);
	}
	assert_true(n >= 3);
	no_failures(NULL);
	close_pool(in.heap);
}

static void fsync_fails(void **state)
{
	struct pheap_options opts = options_of(POOL);
	struct stat st;

	(void)state;
	for (int n = 0; n < 2; n++) { /* of the file, of the folder */
		unlink(scratch("new"));
		fsyncs = (struct failure){n, false, EIO};
		assert_errno(EIO, pheap_create(scratch("new"), &opts));
		assert_true(stat(scratch("new"), &st) && errno == ENOENT);
	}
	no_failures(NULL);
	close_pool(make_pool("new", POOL));
}

/* ---- no blocks -------------------------------------------------------------------------- */

/* Whatever fallocate says: an error with its message, nothing changed, and it works again
 * when there is room again. */
static void fallocate_fails(void **state)
{
	static const struct {
		int from, to;
	} codes[] = {{ENOSPC, ENOSPC}, {EDQUOT, ENOSPC}, {EIO, EIO}, {EOPNOTSUPP, ENOTSUP}};
	struct pheap_options opts = options_of(POOL);
	pheap_tx_t *tx;

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(codes); i++) {
		prepare(false);
		fallocates = (struct failure){0, true, codes[i].from};
		assert_errno(codes[i].to, pheap_alloc(in.heap, 3000000));
		assert_error(codes[i].to, pheap_alloc_into(in.heap, in.slot, 3000000, NULL));
		assert_true(*in.slot == PHEAP_NULL);
		tx = assert_made(pheap_tx_begin(in.heap));
		assert_errno(codes[i].to, pheap_tx_alloc(tx, 3000000));
		assert_ok(pheap_tx_set(tx, &in.words[1], NEW));
		assert_ok(pheap_tx_commit(tx));
		/* What needs no block works. */
		assert_ok(set_often());
		assert_ok(pheap_free(in.heap, in.reserved));
		assert_int_equal(check_clean(in.heap), 1);
		no_failures(NULL);
		assert_ok(pheap_alloc_into(in.heap, in.slot, 3000000, NULL));
		assert_int_equal(check_clean(in.heap), 2);
		close_pool(in.heap);
		unlink(scratch("new"));
		fallocates = (struct failure){0, true, codes[i].from};
		assert_errno(codes[i].to, pheap_create(scratch("new"), &opts));
		assert_true(access(scratch("new"), F_OK));
		no_failures(NULL);
	}
}

static bool write_line(const char *path, const char *format, unsigned id)
{
	FILE *file = fopen(path, "w");

	return file && fprintf(file, format, id) > 0 && !fclose(file);
}

/* Root may mount; others may in a namespace in which they are root, where there is one. */
static bool become_root(void)
{
	unsigned user = geteuid(), group = getegid();

	return !unshare(CLONE_NEWNS) || (!unshare(CLONE_NEWUSER | CLONE_NEWNS) &&
					 write_line("/proc/self/setgroups", "deny", 0) &&
					 write_line("/proc/self/uid_map", "0 %u 1", user) &&
					 write_line("/proc/self/gid_map", "0 %u 1", group));
}

/* A file system of 16 MiB of our own. */
static bool mount_small(const char *path)
{
	must(!mkdir(path, 0700) || errno == EEXIST);
	if (!become_root())
		return false;
	return !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("none", path, "tmpfs", 0, "size=16m");
}

#define SKIPPED 77
#define MANY 5000u

/* A pool of 64 MiB on 16 MiB: to the last block, with every byte written. */
static int fill_disk(void *arg)
{
	struct pheap_options opts = options_of(MIB(64));
	static void *objects[MANY];
	char path[300], ballast[300];
	pheap_t *heap;
	size_t n = 0, again = 0;
	pheap_ref *slots;
	int code = 0, fd;

	if (!mount_small(arg))
		return SKIPPED;
	snprintf(path, sizeof(path), "%s/p", (char *)arg);
	snprintf(ballast, sizeof(ballast), "%s/ballast", (char *)arg);
	fd = open(ballast, O_CREAT | O_RDWR, 0600);
	must(fd >= 0 && !posix_fallocate(fd, 0, MIB(4)));
	heap = pheap_create(path, &opts);
	must(heap);
	must(!pheap_alloc_into(heap, pheap_root(heap), MANY * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	for (; n < MANY && !code; n += !code) {
		objects[0] = pheap_alloc(heap, 4096);
		code = objects[0] ? 0 : -errno;
		if (!code) {
			memset(objects[0], 1, 4096);
			code = pheap_publish(heap, &slots[n], objects[0], 0);
		}
	}
	must(code == -ENOSPC && strstr(pheap_errormsg(), "file system"));
	/* Between half of it and all. */
	must(n > MIB(6) / 4096 && n < MIB(12) / 4096);
	for (size_t size = 16; size <= MIB(4); size *= 4) {
		char *object = pheap_alloc(heap, size);

		if (object)
			memset(object, 1, size);
		else
			must(errno == ENOSPC);
	}
	/* What is there can be changed, freed, and used again. */
	for (size_t i = 0; i < n; i += 2)
		must(!pheap_retire(heap, &slots[i]));
	for (size_t i = 0; i < n; i += 2)
		must(!pheap_alloc_into(heap, &slots[i], 4096, NULL));
	must(!pheap_close(heap));
	opts.size = 0;
	heap = pheap_open(path, &opts);
	must(heap && check_clean(heap) == n + 1);
	slots = pheap_ptr(heap, *pheap_root(heap));
	/* Room again: somebody else's file is removed. */
	must(!close(fd) && !unlink(ballast));
	for (code = 0; !code; again += !code)
		code = pheap_alloc_into(heap, &slots[n + again], 4096, NULL);
	must(code == -ENOSPC && again > MIB(2) / 4096);
	must(check_clean(heap) == n + again + 1);
	must(!pheap_close(heap));
	printf("%zu objects of 4 KiB, then %zu more\n", n, again);
	fflush(stdout);
	return 0;
}

static void full_file_system(void **state)
{
	int status = run_child(fill_disk, scratch("small"));

	(void)state;
	rmdir(scratch("small"));
	if (status == SKIPPED) {
		print_message("skipped: no rights to mount a file system in a namespace\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* The limit of the process for files. */
static int create_beyond_limit(void *arg)
{
	struct rlimit limit = {MIB(4), MIB(4)};
	struct pheap_options opts = options_of(POOL);

	(void)arg;
	signal(SIGXFSZ, SIG_IGN);
	must(!setrlimit(RLIMIT_FSIZE, &limit));
	errno = 0;
	must(!pheap_create(scratch("limited"), &opts) && errno == EFBIG);
	must(access(scratch("limited"), F_OK));
	return 0;
}

static void limit_on_files(void **state)
{
	(void)state;
	assert_int_equal(run_child(create_beyond_limit, NULL), 0);
}

/* ---- a file that is truncated ------------------------------------------------------------- */

static void truncate_pool(uint64_t size)
{
	must(!truncate(scratch("p"), (off_t)size));
}

/* The library notices where it asks for blocks, and at close; it writes nothing more. */
static void truncated(void **state)
{
	struct pheap_options opts = options_of(0);
	struct stat st;
	uint64_t hash;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		prepare(true);
		truncate_pool(i ? POOL / 2 : POOL - 4096);
		hash = file_hash(scratch("p"));
		assert_errno(EUCLEAN, pheap_alloc(in.heap, 3000000));
		assert_non_null(strstr(pheap_errormsg(), "while it was open"));
		assert_error(EUCLEAN, pheap_close(in.heap));
		assert_non_null(strstr(pheap_errormsg(), "while it was open"));
		assert_int_equal(stat(scratch("p"), &st), 0);
		assert_int_equal(st.st_size, i ? POOL / 2 : POOL - 4096);
		assert_true(hash == file_hash(scratch("p")));
		assert_errno(EUCLEAN, pheap_open(scratch("p"), &opts));
		assert_error(EUCLEAN, pheap_check_file(scratch("p"), NULL, NULL, NULL));
	}
}

/* Not even the superblock is left: whoever touches it gets a SIGBUS, as by a kill. */
static int touch_truncated(void *arg)
{
	(void)arg;
	prepare(true);
	truncate_pool(0);
	signal(SIGBUS, SIG_DFL);
	pheap_set(in.heap, &in.words[0], NEW);
	return 0;
}

static void touched_after(void **state)
{
	struct pheap_options opts = options_of(0);
	pid_t child;
	int status;

	(void)state;
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(touch_truncated(NULL));
	assert_true(waitpid(child, &status, 0) == child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	assert_errno(EUCLEAN, pheap_open(scratch("p"), &opts));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest with_msync[] = {
		cmocka_unit_test_teardown(write_backs_fail, no_failures),
		cmocka_unit_test_teardown(open_and_create_fail, no_failures),
	};
	const struct CMUnitTest on_files[] = {
		cmocka_unit_test_teardown(fsync_fails, no_failures),
		cmocka_unit_test_teardown(fallocate_fails, no_failures),
		cmocka_unit_test(full_file_system),
		cmocka_unit_test(limit_on_files),
		cmocka_unit_test(truncated),
		cmocka_unit_test(touched_after),
	};

	test_init(argc, argv);
	return run_modes(MODE_MSYNC, with_msync) + run_modes(MODES_FILE, on_files);
}
