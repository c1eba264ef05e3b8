/*
 * test-debug.c - debug mode of volatile heaps (pheap/debug.h): each kind of misuse makes the
 * right report, and correct use none; the quarantine and its bounds; guard pages.
 */
#include "common.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANARY_LEAST 16

static pheap_t *make(uint64_t size, struct pheap_memory *memory, struct pheap_debug *debug)
{
	struct pheap_options opts = {.struct_size = sizeof(opts),
				     .size = size,
				     .durability = PHEAP_VOLATILE,
				     .memory = memory};
	pheap_t *heap;

	debug->struct_size = sizeof(*debug);
	memory->struct_size = sizeof(*memory);
	memory->debug = debug;
	heap = pheap_create(NULL, &opts);
	if (!heap)
		fail_msg("%s", pheap_errormsg());
	return heap;
}

static pheap_t *made(void)
{
	return make(MIB(64), &(struct pheap_memory){.flags = 0},
		    &(struct pheap_debug){.arg = NULL});
}

static void says(const char *text)
{
	if (!strstr(pheap_errormsg(), text))
		fail_msg("\"%s\" is not in \"%s\"", text, pheap_errormsg());
}

static void says_not(const char *text)
{
	if (strstr(pheap_errormsg(), text))
		fail_msg("\"%s\" is in \"%s\"", text, pheap_errormsg());
}

static void fails(int err, const char *text)
{
	assert_int_equal(err, -EINVAL);
	says(text);
}

static void *filled(pheap_t *heap, size_t size)
{
	void *ptr = pheap_alloc(heap, size);

	if (!ptr)
		fail_msg("%zu bytes: %s", size, pheap_errormsg());
	return memset(ptr, 1, size);
}

static uint64_t space_reserved(pheap_t *heap)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	assert_int_equal(pheap_get_space(heap, &space), 0);
	return space.reserved;
}

static uint64_t space_cached(pheap_t *heap)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	assert_int_equal(pheap_get_space(heap, &space), 0);
	return space.cached;
}

/* ---- arguments ------------------------------------------------------------------------- */

static void test_arguments(void **state)
{
	struct pheap_debug debug = {.struct_size = 8};
	struct pheap_memory memory = {.struct_size = sizeof(memory), .debug = &debug};
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .durability = PHEAP_VOLATILE, .memory = &memory};
	pheap_t *heap;

	(void)state;
	assert_null(pheap_create(NULL, &opts));
	assert_int_equal(errno, EINVAL);
	says("debug->struct_size");
	memory.debug = NULL;
	heap = pheap_create(NULL, &opts);
	assert_non_null(heap);
	fails(pheap_debug_check(heap), "not in debug mode");
	assert_null(pheap_debug_explain(heap, heap));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pheap_close(heap), 0);
	assert_int_equal(pheap_debug_check(NULL), -EINVAL);
	assert_null(pheap_debug_explain(NULL, NULL));
}

/* ---- correct use --------------------------------------------------------------------------- */

static void test_sizes_and_alignment(void **state)
{
	pheap_t *heap = made();

	(void)state;
	for (size_t size = 1; size < 400000; size += size / 7 + 1) {
		char *ptr = pheap_alloc(heap, size);

		assert_non_null(ptr);
		assert_int_equal(pheap_usable_size(heap, ptr), size);
		assert_int_equal((uintptr_t)ptr % 16, 0);
		for (size_t i = 0; i < size; i += size / 50 + 1)
			assert_int_equal((uint8_t)ptr[i], 0xa5);
		memset(ptr, 2, size);
		assert_int_equal(pheap_free(heap, ptr), 0);
	}
	for (size_t size = 16; size <= 65536; size *= 2)
		for (int i = 0; i < 3; i++)
			assert_int_equal((uintptr_t)filled(heap, size) % size, 0);
	for (size_t alignment = 1; alignment <= 65536; alignment *= 2)
		for (size_t size = 1; size < 200000; size = size * 5 + 1) {
			char *ptr = pheap_aligned_alloc(heap, alignment, size);

			assert_non_null(ptr);
			assert_int_equal((uintptr_t)ptr % alignment, 0);
			assert_int_equal(pheap_usable_size(heap, ptr), size);
			memset(ptr, 3, size);
			assert_int_equal(pheap_free(heap, ptr), 0);
		}
	assert_int_equal((uintptr_t)filled(heap, 70000) % 16384, 0);
	assert_int_equal((uintptr_t)filled(heap, 300000) % 65536, 0);
	assert_null(pheap_alloc(heap, 0));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pheap_free(heap, NULL), 0);
	assert_int_equal(pheap_debug_check(heap), 0);
	assert_int_equal(pheap_close(heap), 0);
}

static void test_realloc_and_zero(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 100), *moved;

	(void)state;
	for (size_t size = 1; size < 300000; size = size * 3 + 11) {
		moved = pheap_realloc(heap, ptr, size);
		assert_non_null(moved);
		assert_ptr_not_equal(moved, ptr);
		for (size_t i = 0; i < size && i < 1; i++)
			assert_int_equal(moved[i], 1);
		memset(moved, 1, size);
		fails(pheap_free(heap, ptr), "double free");
		ptr = moved;
	}
	assert_int_equal(pheap_free(heap, ptr), 0);
	for (size_t size = 10; size < MIB(3); size *= 4) {
		ptr = pheap_zalloc(heap, size);
		assert_non_null(ptr);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(ptr[i], 0);
		assert_int_equal(pheap_free(heap, ptr), 0);
	}
	assert_int_equal(pheap_close(heap), 0);
}

static void *churn(void *arg)
{
	pheap_t *heap = arg;
	char *ptr[64] = {NULL};
	unsigned random = (unsigned)(uintptr_t)&random;

	for (int i = 0; i < 6000; i++) {
		char **p = &ptr[i * 7 % 64];
		size_t size;

		assert_int_equal(pheap_free(heap, *p), 0);
		random = random * 1103515245 + 12345;
		size = i % 50 ? random >> 8 & 2047 : random >> 8 & 0x1ffff;
		*p = filled(heap, size + 1);
	}
	for (int i = 0; i < 64; i++)
		assert_int_equal(pheap_free(heap, ptr[i]), 0);
	return NULL;
}

static void test_threads(void **state)
{
	pheap_t *heap = make(MIB(256), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.quarantine = MIB(1)});
	pthread_t thread[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, heap), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(pheap_debug_check(heap), 0);
	assert_int_equal(space_reserved(heap), 0);
	assert_int_equal(pheap_close(heap), 0);
}

static void *free_it(void *arg)
{
	void **both = arg;

	assert_int_equal(pheap_free(both[0], both[1]), 0);
	return NULL;
}

/* Permanent objects, transactions, arenas and regions: the same objects to them. */
static void test_layers(void **state)
{
	pheap_t *heap = made();
	pheap_ref *root = pheap_root(heap), *child;
	pheap_tx_t *tx;
	pheap_arena_t *arena;
	pheap_region_t *region;
	char *ptr;

	(void)state;
	for (int i = 0; i < 100; i++) {
		child = filled(heap, 100);
		*child = PHEAP_NULL;
		assert_int_equal(pheap_publish(heap, root, child, 0), 0);
		ptr = filled(heap, 40000);
		assert_int_equal(pheap_publish(heap, child, ptr, 0), 0);
		assert_int_equal(pheap_free(heap, ptr), -EINVAL);
		says("is published");
		assert_int_equal(pheap_retire(heap, child), 0);
		fails(pheap_free(heap, ptr), "double free");
		assert_int_equal(pheap_retire(heap, root), 0);
		tx = pheap_tx_begin(heap);
		ptr = pheap_tx_alloc(tx, 64);
		assert_non_null(ptr);
		assert_int_equal(pheap_tx_set(tx, root, pheap_ref_of(heap, ptr)), 0);
		assert_int_equal(pheap_tx_commit(tx), 0);
		tx = pheap_tx_begin(heap);
		assert_int_equal(pheap_tx_retire(tx, root), 0);
		assert_non_null(pheap_tx_alloc(tx, 500));
		assert_int_equal(i % 2 ? pheap_tx_commit(tx) : pheap_tx_abort(tx), 0);
		if (*root)
			assert_int_equal(pheap_retire(heap, root), 0);
	}
	arena = pheap_arena_create_in(heap, 0);
	assert_non_null(arena);
	region = pheap_region_create_in(heap, 0, 0);
	assert_non_null(region);
	for (int i = 1; i < 2000; i++) {
		memset(pheap_arena_alloc(arena, (size_t)i), 1, (size_t)i);
		memset(pheap_region_alloc(region, (size_t)i), 1, (size_t)i);
	}
	assert_int_equal(pheap_debug_check(heap), 0);
	pheap_arena_destroy(arena);
	pheap_region_destroy(region);
	assert_int_equal(pheap_purge(heap, PHEAP_PUNCH_HOLES), 0);
	assert_int_equal(pheap_close(heap), 0);
}

/* ---- misuse -------------------------------------------------------------------------------- */

static void test_double_free(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 40);

	(void)state;
	assert_int_equal(pheap_free(heap, ptr), 0);
	fails(pheap_free(heap, ptr), "double free: the object of 40 bytes at ");
	says("is free already");
	says("  allocated by thread ");
	says("  freed by thread ");
	says("  given now by thread ");
	assert_null(pheap_realloc(heap, ptr, 50));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pheap_usable_size(heap, ptr), 0);
	says("pheap_usable_size: the object of 40 bytes at ");
	assert_int_equal(pheap_close(heap), 0);
}

/* Also when it has left the quarantine, and its memory the slab. */
static void test_late_double_free(void **state)
{
	pheap_t *heap = make(MIB(64), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.quarantine = 1});
	char *small = filled(heap, 40), *large = filled(heap, 400000);

	(void)state;
	assert_int_equal(pheap_free(heap, small), 0);
	assert_int_equal(pheap_free(heap, large), 0);
	for (int i = 0; i < 2; i++) {
		fails(pheap_free(heap, small), "double free: the object of 40 bytes");
		fails(pheap_free(heap, large), "double free: the object of 400000 bytes");
		assert_int_equal(pheap_purge(heap, 0), 0);
	}
	assert_int_equal(pheap_close(heap), 0);
}

static void test_overrun(void **state)
{
	static const size_t sizes[] = {1, 13, 16, 24, 64, 1000, 4096, 32767, 32769, 100000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t by = 0; by < CANARY_LEAST; by++) {
			pheap_t *heap = made();
			char *ptr = filled(heap, sizes[i]), text[100];

			ptr[sizes[i] + by] = 0x11;
			snprintf(text, sizeof(text), "overrun: byte %zu of an object of %zu bytes",
				 sizes[i] + by, sizes[i]);
			fails(pheap_debug_check(heap), text);
			fails(pheap_free(heap, ptr), text);
			says("has been set to 0x11");
			says("  allocated by thread ");
			/* It was freed all the same, and is not reported again. */
			fails(pheap_free(heap, ptr), "double free");
			assert_int_equal(pheap_close(heap), 0);
		}
	}
}

static void test_overrun_found_by_close(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 24);

	(void)state;
	ptr[24] = 0;
	fails(pheap_close(heap), "overrun: byte 24 of an object of 24 bytes");
}

static void test_use_after_free(void **state)
{
	pheap_t *heap = make(MIB(64), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.quarantine = 100000});
	char *ptr = filled(heap, 300);
	int err = 0, n = 0;

	(void)state;
	assert_int_equal(pheap_free(heap, ptr), 0);
	assert_int_equal((uint8_t)ptr[299], 0xdf);
	ptr[299] = 5;
	fails(pheap_debug_check(heap), "use after free: byte 299 of an object of 300 bytes");
	while (!err && n++ < 2000)
		err = pheap_free(heap, filled(heap, 300));
	fails(err, "use after free: byte 299 of an object of 300 bytes");
	says("has been set to 0x5");
	says("  freed by thread ");
	assert_true(n >= 200 && n <= 100000 / 320 + 1); /* it has left by then, not at once */
	assert_int_equal(pheap_close(heap), 0);
}

static void test_invalid_free(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 100), *large = filled(heap, 100000), local;

	(void)state;
	fails(pheap_free(heap, ptr + 16), "lies 16 bytes inside an object of 100 bytes");
	says("invalid free: ");
	says("  allocated by thread ");
	says_not("  freed by thread ");
	fails(pheap_free(heap, ptr + 1), "lies 1 bytes inside");
	fails(pheap_free(heap, ptr + 101), "lies 1 bytes behind the end of an object of 100 bytes");
	fails(pheap_free(heap, large + 5000), "lies 5000 bytes inside an object of 100000 bytes");
	fails(pheap_free(heap, &local), "is no object of this heap");
	fails(pheap_free(heap, large + MIB(20)), "is no object of this heap");
	assert_int_equal(pheap_free(heap, ptr), 0);
	assert_int_equal(pheap_free(heap, large), 0);
	assert_int_equal(pheap_close(heap), 0);
}

static void test_explain(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 100);

	(void)state;
	assert_non_null(strstr(pheap_debug_explain(heap, ptr + 99),
			       "lies 99 bytes inside an object of 100 bytes"));
	assert_non_null(strstr(pheap_debug_explain(heap, ptr), "which is in use"));
	assert_int_equal(pheap_free(heap, ptr), 0);
	assert_non_null(strstr(pheap_debug_explain(heap, ptr), "which is free"));
	assert_non_null(strstr(pheap_debug_explain(heap, &heap), "is no object of this heap"));
	assert_int_equal(pheap_close(heap), 0);
}

/* Reports of what cannot fail wait for the next call that can. */
static void test_unsaid(void **state)
{
	pheap_t *heap = made();
	char *ptr = filled(heap, 100);

	(void)state;
	assert_int_equal(pheap_publish(heap, pheap_root(heap), ptr, 0), 0);
	ptr[100] = 1;
	assert_int_equal(pheap_retire(heap, pheap_root(heap)), 0);
	fails(pheap_free(heap, filled(heap, 5)), "overrun: byte 100 of an object of 100 bytes");
	assert_int_equal(pheap_free(heap, filled(heap, 5)), 0);
	assert_int_equal(pheap_close(heap), 0);
}

struct heard {
	unsigned n;
	char text[8192];
};

static void hear(void *arg, const char *text)
{
	struct heard *heard = arg;

	heard->n++;
	snprintf(heard->text, sizeof(heard->text), "%s", text);
}

static void test_callback(void **state)
{
	static struct heard heard;
	pheap_t *heap = make(MIB(64), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.report = hear, .arg = &heard});
	char *ptr = filled(heap, 100);

	(void)state;
	assert_int_equal(pheap_publish(heap, pheap_root(heap), ptr, 0), 0);
	ptr[100] = 1;
	assert_int_equal(pheap_retire(heap, pheap_root(heap)), 0);
	assert_int_equal(heard.n, 1);
	assert_non_null(strstr(heard.text, "overrun: byte 100"));
	assert_int_equal(pheap_free(heap, ptr), -EINVAL);
	assert_int_equal(heard.n, 2);
	assert_non_null(strstr(heard.text, "double free"));
	assert_string_equal(heard.text, pheap_errormsg());
	assert_int_equal(pheap_close(heap), 0);
	assert_int_equal(heard.n, 2);
}

static __attribute__((noinline)) char *from_one_place(pheap_t *heap)
{
	char *ptr = filled(heap, 100);

	__asm__ volatile("" : "+r"(ptr));
	return ptr;
}

/* Stacks name what the program exports; this one exports nothing, so by file. */
static void test_stacks(void **state)
{
	pheap_t *heap = made();
	char *ptr = from_one_place(heap), *other = from_one_place(heap), first[64];
	const char *at;

	(void)state;
	assert_int_equal(pheap_free(heap, ptr), 0);
	fails(pheap_free(heap, ptr), "test-debug+0x");
	/* The address of the call that allocated is the same for both. */
	at = strstr(pheap_errormsg(), "#0");
	assert_non_null(at);
	snprintf(first, sizeof(first), "%.30s", at);
	assert_non_null(strstr(pheap_debug_explain(heap, other), first));
	assert_int_equal(pheap_close(heap), 0);
}

/* ---- quarantine
 * ---------------------------------------------------------------------------------- */

static void test_quarantine_bound(void **state)
{
	pheap_t *heap = make(MIB(64), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.quarantine = 200000});
	uint64_t empty, n = 0;
	char *first = filled(heap, 100);

	(void)state;
	empty = space_cached(heap);
	assert_int_equal(pheap_free(heap, first), 0);
	for (int i = 0; i < 20000; i++) {
		char *ptr = filled(heap, 100);

		n += ptr == first; /* comes again, late */
		assert_false(ptr == first && i < 200000 / 128 - 1);
		assert_int_equal(pheap_free(heap, ptr), 0);
	}
	assert_true(n > 0);
	assert_true(space_cached(heap) <= empty + 200000 + 65536);
	/* What is larger than all of it does not push the others out. */
	assert_int_equal(pheap_free(heap, filled(heap, 300000)), 0);
	assert_true(space_cached(heap) >= 200000 - 65536);
	assert_int_equal(pheap_close(heap), 0);
}

/* A full heap has what waits there. */
static void test_full(void **state)
{
	struct pheap_memory memory = {.limit = MIB(8)};
	pheap_t *heap = make(MIB(64), &memory, &(struct pheap_debug){.quarantine = MIB(32)});
	static char *ptr[20000];
	unsigned n, least = UINT32_MAX;

	(void)state;
	for (int round = 0; round < 4; round++) {
		for (n = 0; n < 20000 && (ptr[n] = pheap_alloc(heap, 1000)); n++)
			memset(ptr[n], 1, 1000);
		assert_int_equal(errno, ENOSPC);
		assert_true(n > MIB(8) / 1024 * 9 / 10);
		least = n < least ? n : least;
		assert_true(n - least < 200);
		while (n)
			assert_int_equal(pheap_free(heap, ptr[--n]), 0);
	}
	assert_non_null(pheap_alloc(heap, MIB(7)));
	assert_int_equal(pheap_close(heap), 0);
}

/* ---- guard pages
 * ------------------------------------------------------------------------------------- */

/* Does the store end a child? */
static bool faults(volatile char *at)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		*at = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_guards(void **state)
{
	pheap_t *heap = made();

	(void)state;
	for (size_t size = 32768; size <= MIB(4); size = size * 3 - 5000) {
		size_t pages = (size + 4095) / 4096 * 4096;
		char *ptr = filled(heap, size);

		assert_false(faults(ptr + size - 1));
		assert_true(faults(ptr + pages));
		assert_true(faults(ptr + pages + 4095));
		assert_int_equal(pheap_free(heap, ptr), 0);
		assert_true(faults(ptr));
		assert_true(faults(ptr + size - 1));
	}
	assert_int_equal(pheap_close(heap), 0);
}

/* All can be accessed again when it is handed out again. */
static void test_guards_end(void **state)
{
	pheap_t *heap = make(MIB(32), &(struct pheap_memory){.flags = 0},
			     &(struct pheap_debug){.quarantine = MIB(1)});

	(void)state;
	for (int i = 0; i < 300; i++) {
		size_t size = (size_t)(i % 2 ? 40000 + i * 100 : 8000 + i);
		char *ptr = filled(heap, size), *other = filled(heap, (size_t)MIB(1) + 5);

		assert_int_equal(pheap_free(heap, ptr), 0);
		assert_int_equal(pheap_free(heap, other), 0);
	}
	assert_int_equal(pheap_close(heap), 0);
}

static void *map(void *arg, size_t bytes)
{
	char *area = mmap(NULL, bytes + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	(void)arg;
	return area == MAP_FAILED ? NULL : (void *)(((uintptr_t)area + 65535) / 65536 * 65536);
}

static void unmap(void *arg, void *memory, size_t bytes)
{
	(void)arg;
	munmap(memory, bytes);
}

/* The program's own memory has none: patterns instead. */
static void test_no_guards(void **state)
{
	struct pheap_memory memory = {.get = map, .put = unmap};
	pheap_t *heap = make(MIB(32), &memory, &(struct pheap_debug){.arg = NULL});
	char *ptr = filled(heap, 100000);

	(void)state;
	assert_int_equal(pheap_free(heap, ptr), 0);
	ptr[77777] = 1;
	fails(pheap_debug_check(heap), "use after free: byte 77777 of an object of 100000 bytes");
	ptr[77777] = (char)0xdf;
	ptr = filled(heap, 100000);
	ptr[100000] = 1;
	fails(pheap_free(heap, ptr), "overrun: byte 100000 of an object of 100000 bytes");
	assert_int_equal(pheap_close(heap), 0);
}

/* ---- several
 * -------------------------------------------------------------------------------------------- */

static void test_beside_another(void **state)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .durability = PHEAP_VOLATILE};
	pheap_t *debugged = made(), *other = pheap_create(NULL, &opts);
	void *both[2] = {debugged, NULL};
	pthread_t thread;

	(void)state;
	assert_non_null(other);
	for (int i = 0; i < 200; i++) {
		char *a = filled(debugged, 13), *b = filled(other, 13);

		a[13] = 1;
		fails(pheap_free(debugged, a), "overrun");
		b[13] = 1;
		assert_int_equal(pheap_free(other, b), 0);
		both[1] = filled(debugged, 13);
		if (i % 20 == 0) {
			assert_int_equal(pthread_create(&thread, NULL, free_it, both), 0);
			pthread_join(thread, NULL);
			fails(pheap_free(debugged, both[1]), "double free");
		}
	}
	assert_int_equal(pheap_close(other), 0);
	assert_int_equal(pheap_close(debugged), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_sizes_and_alignment),
		cmocka_unit_test(test_realloc_and_zero),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_double_free),
		cmocka_unit_test(test_late_double_free),
		cmocka_unit_test(test_overrun),
		cmocka_unit_test(test_overrun_found_by_close),
		cmocka_unit_test(test_use_after_free),
		cmocka_unit_test(test_invalid_free),
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_unsaid),
		cmocka_unit_test(test_callback),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_quarantine_bound),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_guards_end),
		cmocka_unit_test(test_no_guards),
		cmocka_unit_test(test_beside_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
