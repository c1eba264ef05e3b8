/*
 * test-malloc.c - libpheapmalloc as malloc of this program, which is run with it in
 * LD_PRELOAD: what C, POSIX and glibc say of each function, misuse, forks, threads
 * that end. With a sanitizer it is linked with libpheapmalloc, under other names
 * (renamed.h), and what threads do is all that it tries.
 */
#define _GNU_SOURCE /* dladdr */
#include "common.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* So that no compiler concludes what a function called malloc must do. */
static void *(*volatile p_malloc)(size_t) = malloc;
static void *(*volatile p_calloc)(size_t, size_t) = calloc;
static void *(*volatile p_realloc)(void *, size_t) = realloc;
static void *(*volatile p_reallocarray)(void *, size_t, size_t) = reallocarray;
static void *(*volatile p_memalign)(size_t, size_t) = memalign;
static void (*volatile p_free)(void *) = free;

/* Made before main() runs. */
static char *early;

__attribute__((constructor)) static void before_main(void)
{
	early = p_malloc(1000);
	memset(early, 7, 1000);
}

static unsigned alignment_of(const void *ptr)
{
	return 1u << __builtin_ctzll((uintptr_t)ptr | UINT64_C(1) << 31);
}

/* ---- what each function does ------------------------------------------------------------ */

#ifndef PH_MALLOC_RENAMED
static void test_is_loaded(void **state)
{
	Dl_info info;

	(void)state;
	assert_true(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info));
	assert_non_null(strstr(info.dli_fname, "libpheapmalloc"));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(early[i], 7);
	free(early);
}
#endif

static void test_sizes(void **state)
{
	(void)state;
	for (size_t size = 0; size < 700000; size += size < 2000 ? 1 : size / 7) {
		unsigned char *a = p_malloc(size), *b = p_malloc(size);

		assert_non_null(a);
		assert_non_null(b);
		assert_ptr_not_equal(a, b);
		assert_true(alignment_of(a) >= 16 && alignment_of(b) >= 16);
		assert_true(malloc_usable_size(a) >= size);
		memset(a, 1, malloc_usable_size(a));
		memset(b, 2, malloc_usable_size(b));
		for (size_t i = 0; i < size; i++)
			assert_int_equal(a[i], 1);
		p_free(a);
		p_free(b);
	}
	assert_int_equal(malloc_usable_size(NULL), 0);
}

static void test_impossible(void **state)
{
	void *ptr = p_malloc(10), *result = NULL;
	const size_t most = SIZE_MAX;
	volatile size_t three = 3;

	(void)state;
	for (size_t size = most; size > PTRDIFF_MAX; size -= size / 3) {
		errno = 0;
		assert_null(p_malloc(size));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(p_realloc(ptr, size));
		assert_int_equal(errno, ENOMEM);
		assert_null(pvalloc(size));
		assert_null(p_memalign(64, size));
	}
	errno = 0;
	assert_null(p_calloc(most / 2, 3));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_null(p_reallocarray(ptr, most / 2, 3));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_null(p_malloc(PTRDIFF_MAX));
	assert_int_equal(errno, ENOMEM);
	errno = 5;
	assert_int_equal(posix_memalign(&result, 24, 8), EINVAL);
	assert_int_equal(posix_memalign(&result, 4, 8), EINVAL);
	assert_int_equal(posix_memalign(&result, 0, 8), EINVAL);
	assert_int_equal(posix_memalign(&result, 64, PTRDIFF_MAX), ENOMEM);
	assert_int_equal(errno, 5);
	assert_null(result);
	assert_null(p_memalign(three, 8));
	assert_int_equal(errno, EINVAL);
	p_free(ptr);
}

static void test_zeroed(void **state)
{
	static const size_t sizes[] = {1, 16, 100, 5000, 70000, 300000, 5000000};

	(void)state;
	for (int round = 0; round < 20; round++)
		for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			unsigned char *ptr = p_calloc(1, sizes[s]);

			assert_non_null(ptr);
			for (size_t i = 0; i < sizes[s]; i++)
				assert_int_equal(ptr[i], 0);
			memset(ptr, 0xff, sizes[s]);
			p_free(ptr);
		}
}

static void test_resize(void **state)
{
	unsigned char *ptr = p_realloc(NULL, 1);
	size_t old = 1;

	(void)state;
	ptr[0] = 0;
	for (unsigned step = 1; step < 260; step++) {
		size_t size = step < 130 ? old + old / 9 + 1 : old - old / 9;

		ptr = p_realloc(ptr, size);
		assert_non_null(ptr);
		for (size_t i = 0; i < (old < size ? old : size); i++)
			assert_int_equal(ptr[i], i % 251);
		for (size_t i = 0; i < size; i++)
			ptr[i] = i % 251;
		old = size;
	}
	assert_null(p_realloc(ptr, 0)); /* frees it */
	p_free(p_reallocarray(NULL, 3, 5));
}

static void test_aligned(void **state)
{
	(void)state;
	for (size_t alignment = 8; alignment <= (size_t)64 << 20; alignment *= 2)
		for (size_t size = 1; size < 300000; size = size * 9 + 7) {
			void *one = NULL, *two = p_memalign(alignment, size);

			assert_int_equal(posix_memalign(&one, alignment, size), 0);
			assert_int_equal((uintptr_t)one % alignment, 0);
			assert_int_equal((uintptr_t)two % alignment, 0);
			memset(one, 1, size);
			memset(two, 2, size);
			p_free(one);
			p_free(two);
		}
	for (size_t size = 0; size < 20000; size += 999) {
		void *v = valloc(size), *pv = pvalloc(size);

		assert_int_equal((uintptr_t)v % 4096, 0);
		assert_int_equal((uintptr_t)pv % 4096, 0);
		assert_true(malloc_usable_size(pv) >= (size + 4095) / 4096 * 4096);
		p_free(v);
		p_free(pv);
	}
	p_free(aligned_alloc(256, 512));
}

static void test_errno(void **state)
{
	void *ptr[100];

	(void)state;
	for (int i = 0; i < 100; i++)
		ptr[i] = p_malloc((size_t)i * 20011);
	errno = 77;
	for (int i = 0; i < 100; i++)
		p_free(ptr[i]);
	p_free(NULL);
	assert_int_equal(errno, 77);
}

#ifndef PH_MALLOC_RENAMED
/* ---- operator new and delete --------------------------------------------------------------- */

static void *function(const char *name)
{
	Dl_info info;
	void *symbol = dlsym(RTLD_DEFAULT, name);

	assert_non_null(symbol);
	assert_true(dladdr(symbol, &info));
	assert_non_null(strstr(info.dli_fname, "libpheapmalloc"));
	return symbol;
}

static void test_new(void **state)
{
	static const char *const make[] = {"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t",
					   "_ZnamRKSt9nothrow_t"};
	static const char *const make_aligned[] = {"_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
						   "_ZnwmSt11align_val_tRKSt9nothrow_t",
						   "_ZnamSt11align_val_tRKSt9nothrow_t"};
	static const char *const end[] = {"_ZdlPv",
					  "_ZdaPv",
					  "_ZdlPvm",
					  "_ZdaPvm",
					  "_ZdlPvRKSt9nothrow_t",
					  "_ZdaPvRKSt9nothrow_t",
					  "_ZdlPvSt11align_val_t",
					  "_ZdaPvSt11align_val_t",
					  "_ZdlPvmSt11align_val_t",
					  "_ZdaPvmSt11align_val_t",
					  "_ZdlPvSt11align_val_tRKSt9nothrow_t",
					  "_ZdaPvSt11align_val_tRKSt9nothrow_t"};
	const char tag = 0;

	(void)state;
	for (unsigned e = 0; e < sizeof(end) / sizeof(end[0]); e++) {
		void (*destroy)(void *, size_t, size_t, const char *);

		*(void **)&destroy = function(end[e]);
		for (unsigned m = 0; m < 4; m++) {
			void *(*plain)(size_t, const char *);
			void *(*aligned)(size_t, size_t, const char *);
			char *one, *two;

			*(void **)&plain = function(make[m]);
			*(void **)&aligned = function(make_aligned[m]);
			one = plain(100, &tag);
			two = aligned(100, 512, &tag);
			assert_int_equal((uintptr_t)one % 16, 0);
			assert_int_equal((uintptr_t)two % 512, 0);
			memset(one, 1, 100);
			memset(two, 1, 100);
			destroy(one, 100, 16, &tag);
			destroy(two, 100, 512, &tag);
		}
	}
}

static void test_new_nothrow(void **state)
{
	void *(*make)(size_t, const char *);
	const char tag = 0;

	(void)state;
	*(void **)&make = function("_ZnwmRKSt9nothrow_t");
	assert_null(make(PTRDIFF_MAX, &tag));
}

/* ---- misuse ---------------------------------------------------------------------------------- */

/* What the child said before it was aborted. */
static void dies_saying(void (*misuse)(void), const char *text)
{
	char said[1000] = "";
	size_t n = 0;
	ssize_t part;
	int pipes[2], status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		signal(SIGABRT, SIG_DFL); /* cmocka's would go on with the next test */
		dup2(pipes[1], STDERR_FILENO);
		misuse();
		_exit(0);
	}
	close(pipes[1]);
	while (n < sizeof(said) - 1 && (part = read(pipes[0], said + n, sizeof(said) - 1 - n)) > 0)
		n += (size_t)part;
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	if (!strstr(said, text))
		fail_msg("\"%s\" is not in \"%s\"", text, said);
	assert_non_null(strstr(said, "libpheapmalloc: "));
}

static void double_free(void)
{
	void *ptr = p_malloc(40);

	p_free(ptr);
	p_free(ptr);
}

static void double_free_large(void)
{
	void *ptr = p_malloc(400000);

	p_free(ptr);
	p_free(ptr);
}

static void free_inside(void)
{
	p_free((char *)p_malloc(100) + 16);
}

static void free_of_stack(void)
{
	char local[16];

	p_free((void *)((uintptr_t)local & ~(uintptr_t)15));
}

static void realloc_of_free(void)
{
	void *ptr = p_malloc(50);

	p_free(ptr);
	p_realloc(ptr, 500);
}

static void size_of_free(void)
{
	void *ptr = p_malloc(50);

	p_free(ptr);
	malloc_usable_size(ptr);
}

static void test_misuse(void **state)
{
	(void)state;
	dies_saying(double_free, "is free already");
	dies_saying(double_free_large, "is free already");
	dies_saying(free_inside, "lies 16 bytes inside an object");
	dies_saying(free_of_stack, "is no object of this heap");
	dies_saying(realloc_of_free, "realloc");
	dies_saying(size_of_free, "malloc_usable_size");
}

#endif

/* ---- forks
 * --------------------------------------------------------------------------------------- */

static _Atomic bool stop;

/* Objects that say whose they are, of random sizes. */
static void *churn(void *arg)
{
	enum { SLOTS = 300 };
	static const size_t largest = 3000;
	unsigned char *slot[SLOTS] = {NULL};
	size_t size[SLOTS] = {0};
	unsigned seed = (unsigned)(uintptr_t)arg;
	unsigned long turns = 0;

	for (; !stop || turns < 2000; turns++) {
		unsigned i = (seed = seed * 1103515245 + 12345) >> 8 & 0xffff;
		size_t wanted = (seed >> 4) % largest;
		unsigned char mark;

		i %= SLOTS;
		mark = (unsigned char)(i + (uintptr_t)arg * 31);
		for (size_t b = 0; b < size[i]; b += 97)
			assert_int_equal(slot[i][b], mark);
		if (seed & 0x8000000) {
			p_free(slot[i]);
			slot[i] = p_malloc(wanted * (wanted % 50 ? 1 : 100));
		} else {
			slot[i] = p_realloc(slot[i], wanted + 1);
			wanted++;
		}
		size[i] = wanted;
		memset(slot[i], mark, wanted);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		p_free(slot[i]);
	return NULL;
}

static void in_child(void *kept)
{
	stop = true;
	p_free(kept);
	churn((void *)9);
#ifndef PH_MALLOC_RENAMED /* a sanitizer lets no child of a process with threads have any */
	pthread_t thread;

	if (pthread_create(&thread, NULL, churn, (void *)3) || pthread_join(thread, NULL))
		_exit(2);
#endif
	exit(0); /* with all handlers */
}

static void test_fork(void **state)
{
#ifdef PH_MALLOC_RENAMED
	enum { THREADS = 4, FORKS = 8 }; /* each copies the sanitizer's memory */
#else
	enum { THREADS = 4, FORKS = 32 };
#endif
	pthread_t thread[THREADS];

	(void)state;
	stop = false;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < FORKS; i++) {
		void *kept = p_malloc(1000);
		int status;
		pid_t pid = fork();

		if (!pid) {
			alarm(60); /* a lock that nobody holds */
			if (i % 8 || fork())
				in_child(kept);
			in_child(kept); /* a child's child */
		}
		assert_true(pid > 0);
		p_free(kept);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* ---- threads that end
 * ------------------------------------------------------------------------------ */

static size_t resident(void)
{
	size_t pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %zu", &pages), 1);
	fclose(file);
	return pages * 4096;
}

/* In debug mode and with a sanitizer the program's memory is not all that is resident. */
static bool more_is_resident(void)
{
#ifdef PH_MALLOC_RENAMED
	return true;
#else
	return getenv("PHEAPMALLOC_DEBUG") != NULL;
#endif
}

#ifndef PH_MALLOC_RENAMED /* a sanitizer's own end of a thread comes before */
static pthread_key_t late_key;

/* Runs in every round of destructors that there is, and in the last one as well. */
static void late(void *arg)
{
	char *ptr = p_malloc(500);

	memset(ptr, 1, 500);
	p_free(arg);
	pthread_setspecific(late_key, ptr); /* the last one is lost */
}

static void *short_lived(void *arg)
{
	char *ptr = p_malloc(3000);

	(void)arg;
	memset(ptr, 2, 3000);
	pthread_setspecific(late_key, p_malloc(77));
	p_free(ptr);
	return p_malloc(100);
}

static void many_threads(int n)
{
	for (int i = 0; i < n; i++) {
		pthread_t thread;
		void *ptr;

		assert_int_equal(pthread_create(&thread, NULL, short_lived, NULL), 0);
		assert_int_equal(pthread_join(thread, &ptr), 0);
		p_free(ptr);
	}
}

static void test_thread_exit(void **state)
{
	size_t before;

	(void)state;
	assert_int_equal(pthread_key_create(&late_key, late), 0);
	many_threads(200);
	before = resident();
	many_threads(2000);
	/* 500 bytes a thread are lost by the test. A cache would be 16 KiB. */
	assert_true(more_is_resident() || resident() < before + ((size_t)6 << 20));
	pthread_key_delete(late_key);
}
#endif

/* What one thread allocates, another frees. */
static void *free_all(void *arg)
{
	void **ptr = arg;

	for (int i = 0; i < 20000; i++)
		p_free(ptr[i]);
	return NULL;
}

static void test_free_elsewhere(void **state)
{
	static void *ptr[20000];

	(void)state;
	for (int round = 0; round < 5; round++) {
		pthread_t thread;

		for (size_t i = 0; i < 20000; i++)
			ptr[i] = memset(p_malloc(i % 700), 1, i % 700);
		assert_int_equal(pthread_create(&thread, NULL, free_all, ptr), 0);
		pthread_join(thread, NULL);
	}
}

/* ---- memory goes back
 * --------------------------------------------------------------------------------- */

static void test_goes_back(void **state)
{
	enum { N = 200000 };
	static void *ptr[N];
	size_t before, full;

	(void)state;
	malloc_trim(0);
	before = resident();
	for (int i = 0; i < N; i++)
		ptr[i] = memset(p_malloc(500), 1, 500);
	full = resident();
	assert_true(full > before + (size_t)N * 500);
	for (int i = 0; i < N; i++)
		p_free(ptr[i]);
	assert_int_equal(malloc_trim(0), 1);
	assert_true(more_is_resident() || resident() < before + ((size_t)8 << 20));
}

/* Threads at once, while what is free goes back to the system. */
static void test_churn(void **state)
{
	enum { THREADS = 6 };
	pthread_t thread[THREADS];

	(void)state;
	stop = true; /* after so many turns */
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 20; i++)
		malloc_trim(0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifndef PH_MALLOC_RENAMED
		cmocka_unit_test(test_is_loaded),      cmocka_unit_test(test_new),
		cmocka_unit_test(test_new_nothrow),    cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_thread_exit),
#endif
		cmocka_unit_test(test_sizes),	       cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_zeroed),	       cmocka_unit_test(test_resize),
		cmocka_unit_test(test_aligned),	       cmocka_unit_test(test_errno),
		cmocka_unit_test(test_churn),	       cmocka_unit_test(test_fork),
		cmocka_unit_test(test_free_elsewhere), cmocka_unit_test(test_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
