/*
 * common.c - see common.h.
 */
#define _GNU_SOURCE /* SEEK_DATA */
#include "common.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/magic.h>

static const struct test_mode modes_known[] = {
	{"pmem", PHEAP_POWER, PHEAP_FORCE_PMEM},
	{"process", PHEAP_PROCESS, 0},
	{"msync", PHEAP_POWER, PHEAP_FORCE_MSYNC},
	{"volatile", PHEAP_VOLATILE, 0},
};

const struct test_mode *mode = &modes_known[0];
uint64_t test_seed;

static char folder[256];

bool mode_has_file(void)
{
	return mode->durability != PHEAP_VOLATILE;
}

int run_modes_of(unsigned modes, const struct CMUnitTest *tests, size_t n)
{
	int failed = 0;
	size_t i;

	for (i = 0; i < ELEMENTS(modes_known); i++) {
		if (!(modes & 1u << i))
			continue;
		mode = &modes_known[i];
		failed += _cmocka_run_group_tests(mode->name, tests, n, NULL, NULL);
	}
	mode = &modes_known[0];
	return failed;
}

static void remove_folder(void)
{
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

static pid_t test_process, janitor;

/* The normal end: wait until it is done. In a child of the test: nothing. */
static void end_janitor(void)
{
	if (getpid() != test_process)
		return;
	kill(janitor, SIGUSR1);
	waitpid(janitor, NULL, 0);
}

/*
 * A child that removes the folder when the test has ended, however it ended: by
 * an assertion, a sanitizer, or a kill after a timeout.
 */
static void start_janitor(void)
{
	sigset_t wake, old;
	int got;

	fflush(NULL);
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	must(!sigprocmask(SIG_BLOCK, &wake, &old));
	test_process = getpid();
	janitor = fork();
	must(janitor >= 0);
	if (janitor) {
		must(!sigprocmask(SIG_SETMASK, &old, NULL));
		atexit(end_janitor);
		return;
	}
	/* A Ctrl-C is for the test; and whoever reads its output must not wait. */
	setsid();
	close(0);
	close(1);
	close(2);
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	if (getppid() == test_process)
		sigwait(&wake, &got);
	remove_folder();
	_exit(0);
}

void test_init(int argc, char **argv)
{
	const char *base = "/dev/shm", *seed = argc > 1 ? argv[1] : getenv("PHEAP_SEED");
	struct timespec now;

	/* The modes say what is forced; the environment must not. */
	unsetenv("PMEM_IS_PMEM_FORCE");
	if (access(base, W_OK | X_OK))
		base = getenv("TMPDIR");
	if (!base)
		base = "/tmp";
	snprintf(folder, sizeof(folder), "%s/pheap-test-XXXXXX", base);
	if (!mkdtemp(folder)) {
		perror(folder);
		exit(1);
	}
	start_janitor();

	clock_gettime(CLOCK_REALTIME, &now);
	test_seed = seed ? strtoull(seed, NULL, 0)
			 : ((uint64_t)now.tv_nsec << 12 ^ (uint64_t)getpid()) & 0xffffffff;
	printf("seed %llu (give it as the argument, or in PHEAP_SEED)\n",
	       (unsigned long long)test_seed);
	fflush(stdout);
}

char *scratch(const char *name)
{
	static char paths[16][512];
	static unsigned next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

bool scratch_is_tmpfs(void)
{
	struct statfs fs;

	return !statfs(folder, &fs) && fs.f_type == TMPFS_MAGIC;
}

struct pheap_options options_of(uint64_t size)
{
	return (struct pheap_options){
		.struct_size = sizeof(struct pheap_options),
		.size = size,
		.durability = mode->durability,
		.flags = mode->flags,
	};
}

pheap_t *make_pool(const char *name, uint64_t size)
{
	struct pheap_options opts = options_of(size);
	const char *path = mode_has_file() ? scratch(name) : NULL;

	if (path)
		unlink(path);
	return assert_made(pheap_create(path, &opts));
}

pheap_t *open_pool_flags(const char *name, unsigned flags)
{
	struct pheap_options opts = options_of(0);

	opts.flags |= flags;
	return assert_made(pheap_open(scratch(name), &opts));
}

pheap_t *open_pool(const char *name)
{
	return open_pool_flags(name, 0);
}

void close_pool(pheap_t *heap)
{
	assert_ok(pheap_close(heap));
}

pheap_t *reopen_pool(pheap_t *heap, const char *name)
{
	close_pool(heap);
	return open_pool(name);
}

/* Copy one run of data; both files are at it. */
static void copy_run(int in, int out, off_t from, off_t to)
{
	static __thread char buffer[1 << 16];

	while (from < to) {
		size_t part =
			(size_t)(to - from) < sizeof(buffer) ? (size_t)(to - from) : sizeof(buffer);
		ssize_t n = pread(in, buffer, part, from);

		must(n > 0);
		must(pwrite(out, buffer, (size_t)n, from) == n);
		from += n;
	}
}

void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t data = 0, hole;
	struct stat st;

	must(in >= 0 && out >= 0);
	must(!fstat(in, &st) && !ftruncate(out, st.st_size));
	while ((data = lseek(in, data, SEEK_DATA)) >= 0) {
		hole = lseek(in, data, SEEK_HOLE);
		must(hole > data);
		copy_run(in, out, data, hole);
		data = hole;
	}
	must(!close(out) && !close(in));
}

pheap_t *crash_pool(const char *name)
{
	char copy[64];

	snprintf(copy, sizeof(copy), "%s.crash", name);
	copy_file(scratch(name), scratch(copy));
	return open_pool(copy);
}

void read_at(const char *path, void *buffer, size_t length, off_t offset)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0);
	must(pread(fd, buffer, length, offset) == (ssize_t)length);
	close(fd);
}

void write_at(const char *path, const void *buffer, size_t length, off_t offset)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd >= 0);
	must(pwrite(fd, buffer, length, offset) == (ssize_t)length);
	close(fd);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t file_hash(const char *path)
{
	static uint64_t words[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t hash = 1;
	off_t data = 0, hole;
	ssize_t n;
	size_t i;

	must(fd >= 0);
	while ((data = lseek(fd, data, SEEK_DATA)) >= 0) {
		hole = lseek(fd, data, SEEK_HOLE);
		for (; data < hole; data += n) {
			memset(words, 0, sizeof(words));
			n = pread(fd, words, sizeof(words), data);
			must(n > 0);
			/* Zero words count for nothing: a hole is zero bytes too. */
			for (i = 0; i < ELEMENTS(words); i++)
				if (words[i])
					hash += mix(words[i] ^ mix((uint64_t)data + 8 * i));
		}
	}
	hash ^= (uint64_t)lseek(fd, 0, SEEK_END);
	close(fd);
	return hash;
}

static void show_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	print_error("check: %s at offset %#llx: %s\n", problem->invariant,
		    (unsigned long long)problem->offset, problem->message);
}

uint64_t check_clean(pheap_t *heap)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};

	assert_ok(pheap_check(heap, &result, show_problem, NULL));
	assert_int_equal(result.problems, 0);
	return result.objects;
}

struct pheap_stats stats_of(pheap_t *heap)
{
	struct pheap_stats stats = {.struct_size = sizeof(stats)};

	assert_ok(pheap_get_stats(heap, &stats));
	return stats;
}

struct pheap_info info_of(pheap_t *heap)
{
	struct pheap_info info = {.struct_size = sizeof(info)};

	assert_ok(pheap_get_info(heap, &info));
	return info;
}

size_t fill_pool(pheap_t *heap, size_t size, void **objects, size_t max)
{
	size_t n = 0;

	while (n < max) {
		errno = 0;
		objects[n] = pheap_alloc(heap, size);
		if (!objects[n]) {
			must(errno == ENOSPC);
			break;
		}
		n++;
	}
	return n;
}

void fill_pattern(void *ptr, size_t length, uint64_t id)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < length; i += 8) {
		word = mix(id * UINT64_C(0x9e3779b97f4a7c15) + i);
		memcpy((char *)ptr + i, &word, length - i < 8 ? length - i : 8);
	}
}

bool has_pattern(const void *ptr, size_t length, uint64_t id)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < length; i += 8) {
		word = mix(id * UINT64_C(0x9e3779b97f4a7c15) + i);
		if (memcmp((const char *)ptr + i, &word, length - i < 8 ? length - i : 8))
			return false;
	}
	return true;
}

void *publish_root(pheap_t *heap, size_t size, uint64_t id)
{
	void *object = assert_made(pheap_alloc(heap, size));

	fill_pattern(object, size, id);
	assert_ok(pheap_publish(heap, pheap_root(heap), object, 0));
	return object;
}

void assert_code_at(int want, int got, const char *what, const char *file, int line)
{
	if (got == want) {
		/* "pheap_errormsg() says what was wrong" after every error. */
		if (!want || *pheap_errormsg())
			return;
		print_error("%s: no message for the error\n", what);
	} else if (want) {
		print_error("%s: gave %d (%s), not %d (%s)\n", what, got,
			    got ? strerror(-got) : "no error", want, strerror(-want));
	} else {
		print_error("%s: gave %d (%s): %s\n", what, got, strerror(-got), pheap_errormsg());
	}
	_fail(file, line);
}

void assert_null_at(int want, const void *got, const char *what, const char *file, int line)
{
	int code = errno;

	if (!got && code == want && *pheap_errormsg())
		return;
	print_error("%s: gave %p with errno %d (%s), not NULL with %d (%s); message \"%s\"\n", what,
		    got, code, strerror(code), want, strerror(want), pheap_errormsg());
	_fail(file, line);
}

void *assert_made_at(void *got, const char *what, const char *file, int line)
{
	if (!got) {
		print_error("%s: gave NULL, errno %d (%s): %s\n", what, errno, strerror(errno),
			    pheap_errormsg());
		_fail(file, line);
	}
	return got;
}

void must_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s (errno %d, pheap: \"%s\", seed %llu)\n", file, line,
		what, errno, pheap_errormsg(), (unsigned long long)test_seed);
	abort();
}

void run_threads(size_t n, void *(*fn)(void *), void *args, size_t size)
{
	pthread_t *threads = calloc(n, sizeof(*threads));
	size_t i;

	must(threads);
	for (i = 0; i < n; i++)
		must(!pthread_create(&threads[i], NULL, fn, (char *)args + i * size));
	for (i = 0; i < n; i++)
		must(!pthread_join(threads[i], NULL));
	free(threads);
}

void run_thread(void *(*fn)(void *), void *arg)
{
	run_threads(1, fn, arg, 0);
}

int run_child(int (*fn)(void *), void *arg)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	must(child >= 0);
	if (!child)
		_exit(fn(arg));
	must(waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status)) {
		print_error("the child died of signal %d\n", WTERMSIG(status));
		fail();
	}
	return WEXITSTATUS(status);
}

struct rng rng_make(uint64_t stream)
{
	return (struct rng){mix(test_seed + 1) ^ mix(stream * 2 + 1)};
}

uint64_t rng_next(struct rng *rng)
{
	return mix(rng->state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}
