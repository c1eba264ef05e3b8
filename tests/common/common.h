/*
 * common.h - what the tests share: a private folder, heaps in the mode under
 * test, crashes by copying the file of an open pool, assertions that show the
 * library's message, threads, child processes and random numbers.
 */
#ifndef TESTS_COMMON_H
#define TESTS_COMMON_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#include <pheap.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* How the heap under test keeps its promise. */
struct test_mode {
	const char *name;
	unsigned durability;
	unsigned flags;
};

enum {
	MODE_PMEM = 1 << 0,	/* POWER, cache flushes forced */
	MODE_PROCESS = 1 << 1,	/* PROCESS */
	MODE_MSYNC = 1 << 2,	/* POWER, msync forced */
	MODE_VOLATILE = 1 << 3, /* anonymous memory */
	MODES_FILE = MODE_PMEM | MODE_PROCESS | MODE_MSYNC,
	MODES_ALL = MODES_FILE | MODE_VOLATILE,
};

extern const struct test_mode *mode; /* the one that runs now */

/* Is there a file that a second open would find? */
bool mode_has_file(void);

/*
 * Run the tests once in each of the modes, and give the number that failed. Call
 * it, and test_init(), from main().
 */
#define run_modes(modes, tests) run_modes_of((modes), (tests), ELEMENTS(tests))
int run_modes_of(unsigned modes, const struct CMUnitTest *tests, size_t n);

/*
 * Make the private folder, take the seed from the first argument or from
 * PHEAP_SEED, or else make one up, and print it.
 */
void test_init(int argc, char **argv);
extern uint64_t test_seed;

/* The path of a file in the private folder; valid until 16 further calls. */
char *scratch(const char *name);
bool scratch_is_tmpfs(void);

/* Options of the current mode; layout NULL. */
struct pheap_options options_of(uint64_t size);

/* These fail the running test instead of returning NULL. An old file at path is
 * removed first. */
pheap_t *make_pool(const char *name, uint64_t size);
pheap_t *open_pool(const char *name);
pheap_t *open_pool_flags(const char *name, unsigned flags);
pheap_t *reopen_pool(pheap_t *heap, const char *name);
void close_pool(pheap_t *heap);

/* Copy a file, holes as holes: of an open pool this is what a crash leaves. */
void copy_file(const char *from, const char *to);

/*
 * Copy the file of an open pool, and open the copy "name.crash": the pool as it
 * is after a crash at this moment. The open heap is left alone.
 */
pheap_t *crash_pool(const char *name);

void read_at(const char *path, void *buffer, size_t length, off_t offset);
void write_at(const char *path, const void *buffer, size_t length, off_t offset);

/* A fingerprint of the whole file: to see that nothing wrote to it. */
uint64_t file_hash(const char *path);

/* pheap_check() must find nothing; the number of published objects. */
uint64_t check_clean(pheap_t *heap);
struct pheap_stats stats_of(pheap_t *heap);
struct pheap_info info_of(pheap_t *heap);

/* Reserve objects of one size until the pool is full; stop at max. */
size_t fill_pool(pheap_t *heap, size_t size, void **objects, size_t max);

/* Content that names its object: byte i of the object called id. */
void fill_pattern(void *ptr, size_t length, uint64_t id);
bool has_pattern(const void *ptr, size_t length, uint64_t id);

/* A published object of size bytes in the unnamed root, filled with id. */
void *publish_root(pheap_t *heap, size_t size, uint64_t id);

/* Assertions for the thread that cmocka runs in. */
#define assert_ok(call) assert_code_at(0, (call), #call, __FILE__, __LINE__)
#define assert_error(code, call) assert_code_at(-(code), (call), #call, __FILE__, __LINE__)
#define assert_errno(code, call)                                                         \
	do {                                                                             \
		errno = 0;                                                               \
		assert_null_at((code), (const void *)(call), #call, __FILE__, __LINE__); \
	} while (0)
#define assert_made(call) assert_made_at((call), #call, __FILE__, __LINE__)

void assert_code_at(int want, int got, const char *what, const char *file, int line);
void assert_null_at(int want, const void *got, const char *what, const char *file, int line);
void *assert_made_at(void *got, const char *what, const char *file, int line);

/* The same for other threads and for child processes, where cmocka's longjmp
 * must not be used: print and abort. */
#define must(condition)                                              \
	do {                                                         \
		if (!(condition))                                    \
			must_failed(#condition, __FILE__, __LINE__); \
	} while (0)
void must_failed(const char *what, const char *file, int line) __attribute__((noreturn));

/* Run fn(&args[i * size]) in n threads, and wait for all. */
void run_threads(size_t n, void *(*fn)(void *), void *args, size_t size);
void run_thread(void *(*fn)(void *), void *arg);

/* Run fn(arg) in a forked child; its result is the exit status. A child that
 * died of a signal fails the test. */
int run_child(int (*fn)(void *), void *arg);

/* splitmix64: small, and the same everywhere. */
struct rng {
	uint64_t state;
};
struct rng rng_make(uint64_t stream);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);

#endif
