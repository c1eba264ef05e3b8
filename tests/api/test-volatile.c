/*
 * test-volatile.c - how volatile heaps have their memory: limit, memory that goes back,
 * huge pages, prefault, nodes, memory of the program's own, several heaps; statistics by
 * sizes.
 */
#include "common.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

static pheap_t *make(uint64_t size, struct pheap_memory *memory)
{
	struct pheap_options opts = {.struct_size = sizeof(opts),
				     .size = size,
				     .durability = PHEAP_VOLATILE,
				     .memory = memory};

	if (memory)
		memory->struct_size = sizeof(*memory);
	return pheap_create(NULL, &opts);
}

static pheap_t *made(uint64_t size, struct pheap_memory *memory)
{
	pheap_t *heap = make(size, memory);

	if (!heap)
		fail_msg("%s", pheap_errormsg());
	return heap;
}

static void refused(struct pheap_memory memory, int code, const char *text)
{
	assert_null(make(MIB(64), &memory));
	assert_int_equal(errno, code);
	if (!strstr(pheap_errormsg(), text))
		fail_msg("\"%s\" is not in \"%s\"", text, pheap_errormsg());
}

/* Bytes of the range that are resident. */
static uint64_t resident(const void *first, uint64_t bytes)
{
	unsigned char pages[4096];
	uint64_t n = 0;

	for (uint64_t at = 0; at < bytes; at += sizeof(pages) * 4096) {
		uint64_t part =
			bytes - at < sizeof(pages) * 4096 ? bytes - at : sizeof(pages) * 4096;

		assert_int_equal(mincore((char *)(uintptr_t)first + at, part, pages), 0);
		for (uint64_t i = 0; i < part / 4096; i++)
			n += pages[i] & 1;
	}
	return n * 4096;
}

static void sleep_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* ---- arguments --------------------------------------------------------------------------- */

static void *no_get(void *arg, size_t bytes)
{
	(void)arg, (void)bytes;
	return NULL;
}

static void no_put(void *arg, void *memory, size_t bytes)
{
	(void)arg, (void)memory, (void)bytes;
}

static int no_range(void *arg, void *range, size_t bytes)
{
	(void)arg, (void)range, (void)bytes;
	return 0;
}

static void test_arguments(void **state)
{
	struct pheap_memory memory = {.struct_size = 8};
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .durability = PHEAP_VOLATILE, .memory = &memory};

	(void)state;
	assert_null(pheap_create(NULL, &opts));
	assert_int_equal(errno, EINVAL);
	memory.struct_size = sizeof(memory);
	opts.durability = PHEAP_PROCESS;
	assert_null(pheap_create("unused", &opts));
	assert_int_equal(errno, EINVAL);
	refused((struct pheap_memory){.flags = 1u << 20}, EINVAL, "unknown flags");
	refused((struct pheap_memory){.get = no_get}, EINVAL, "go together");
	refused((struct pheap_memory){.commit = no_range}, EINVAL, "need get and put");
	refused((struct pheap_memory){.purge = no_range}, EINVAL, "need get and put");
	refused((struct pheap_memory){.flags = PHEAP_HUGETLB | PHEAP_PURGE}, EINVAL, "purged");
	refused((struct pheap_memory){.get = no_get, .put = no_put, .flags = PHEAP_HUGE_PAGES},
		EINVAL, "by itself");
	refused((struct pheap_memory){.get = no_get, .put = no_put}, ENOMEM, "memory->get");
}

/* ---- limit ----------------------------------------------------------------------------------- */

static void test_limit(void **state)
{
	pheap_t *heap = made(MIB(256), &(struct pheap_memory){.limit = MIB(10) + 5});
	struct pheap_stats stats = {.struct_size = sizeof(stats)};
	void *large, *small[20000];
	unsigned n = 0;

	(void)state;
	assert_null(pheap_alloc(heap, MIB(10) + 65536));
	assert_int_equal(errno, ENOSPC);
	assert_non_null(strstr(pheap_errormsg(), "limit"));
	for (int round = 0; round < 3; round++) {
		large = pheap_alloc(heap, MIB(6));
		assert_non_null(large);
		assert_null(pheap_alloc(heap, MIB(5)));
		for (n = 0; n < 20000 && (small[n] = pheap_alloc(heap, 1000)); n++)
			;
		assert_int_equal(errno, ENOSPC);
		assert_true(n >= 3900 && n <= 4200); /* 4 MiB less what slabs lose */
		assert_int_equal(pheap_get_stats(heap, &stats), 0);
		assert_int_equal((stats.granules_slab + stats.granules_large) * 65536, MIB(10));
		while (n)
			assert_int_equal(pheap_free(heap, small[--n]), 0);
		assert_int_equal(pheap_free(heap, large), 0);
	}
	/* All of it for another size. */
	large = pheap_alloc(heap, MIB(10));
	assert_non_null(large);
	assert_int_equal(pheap_close(heap), 0);
}

/* ---- memory goes back
 * ---------------------------------------------------------------------------- */

/* Someone has to use the heap for it to look. */
static void use(pheap_t *heap)
{
	void *ptr = pheap_alloc(heap, MIB(3));

	assert_non_null(ptr);
	assert_int_equal(pheap_free(heap, ptr), 0);
	assert_int_equal(pheap_purge(heap, 0), 0);
}

static void purge_after(unsigned ms)
{
	struct pheap_memory memory = {.flags = PHEAP_PURGE, .purge_after = ms};
	pheap_t *heap = made(MIB(256), &memory);
	char *ptr = pheap_alloc(heap, MIB(64));

	memset(ptr, 1, MIB(64));
	assert_int_equal(resident(ptr, MIB(64)), MIB(64));
	assert_int_equal(pheap_free(heap, ptr), 0);
	assert_int_equal(pheap_purge(heap, 0), 0); /* from caches, to where it is free */
	if (ms >= 10000) {			   /* not yet */
		use(heap);
		assert_int_equal(resident(ptr, MIB(64)), MIB(64));
	} else {
		for (int i = 0; i < 1000 && resident(ptr, MIB(64)); i++) {
			sleep_ms(ms);
			use(heap);
		}
		assert_int_equal(resident(ptr, MIB(64)), 0);
	}
	/* It is memory as before. */
	ptr = pheap_alloc(heap, MIB(64));
	assert_non_null(ptr);
	memset(ptr, 2, MIB(64));
	for (size_t i = 0; i < MIB(64); i += 4096)
		assert_int_equal(ptr[i], 2);
	assert_int_equal(pheap_close(heap), 0);
}

static void test_purge(void **state)
{
	(void)state;
	purge_after(0);
	purge_after(10);
	purge_after(1000000);
}

/* What is being given back is nobody's meanwhile; what one thread does not need, others get. */
static void *come_and_go(void *arg)
{
	enum { SLOTS = 12, TURNS = 600 };
	pheap_t *heap = arg;
	unsigned char *slot[SLOTS] = {NULL};
	size_t size[SLOTS] = {0};
	unsigned seed = (unsigned)((uintptr_t)&slot / 4096);
	unsigned char own = (unsigned char)seed;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned i = turn % SLOTS;

		if (slot[i]) {
			for (size_t b = 0; b < size[i]; b += 500)
				if (slot[i][b] != (unsigned char)(own + i))
					return heap; /* not NULL: another's byte */
			if (pheap_free(heap, slot[i]))
				return heap;
		}
		seed = seed * 1103515245 + 12345;
		size[i] = 1 + (size_t)(seed >> 16) * (turn % 3 ? 1 : 13);
		slot[i] = pheap_alloc(heap, size[i]);
		if (!slot[i])
			return heap;
		memset(slot[i], own + (int)i, size[i]);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		pheap_free(heap, slot[i]);
	return NULL;
}

static void test_purge_threads(void **state)
{
	enum { THREADS = 4 };

	(void)state;
	for (unsigned ms = 0; ms < 2; ms++) {
		struct pheap_memory memory = {.flags = PHEAP_PURGE, .purge_after = ms};
		pheap_t *heap = made(MIB(256), &memory);
		pthread_t thread[THREADS];
		void *why;

		for (unsigned i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, heap), 0);
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(thread[i], &why);
			assert_null(why);
		}
		assert_int_equal(pheap_close(heap), 0);
	}
}

/* ---- pages
 * ------------------------------------------------------------------------------------------ */

static void test_prefault(void **state)
{
	struct pheap_memory memory = {.flags = PHEAP_PREFAULT};
	pheap_t *heap = made(MIB(64), &memory);
	char *ptr = pheap_alloc(heap, MIB(4));

	(void)state;
	assert_int_equal(resident(ptr, MIB(4)), MIB(4));
	assert_int_equal(pheap_close(heap), 0);

	heap = made(MIB(64), NULL);
	ptr = pheap_alloc(heap, MIB(4));
	assert_int_equal(resident(ptr, MIB(4)), 0);
	assert_int_equal(pheap_close(heap), 0);
}

/* Is a flag of the mapping that holds an address set? */
static bool mapping_has(const void *addr, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[1000];
	bool in = false, found = false;

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long first, last;

		if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
			in = (uintptr_t)addr >= first && (uintptr_t)addr < last;
		else if (in && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag) != NULL;
	}
	fclose(smaps);
	return found;
}

static void test_huge_pages(void **state)
{
	struct pheap_memory memory = {.flags = PHEAP_HUGE_PAGES};
	pheap_t *heap = make(MIB(64), &memory);
	void *ptr;

	(void)state;
	if (!heap) { /* the kernel has none */
		assert_int_equal(errno, ENOTSUP);
		return;
	}
	ptr = pheap_alloc(heap, MIB(4));
	assert_true(mapping_has(ptr, " hg"));
	memset(ptr, 1, MIB(4));
	assert_int_equal(pheap_close(heap), 0);
	heap = made(MIB(64), NULL);
	assert_false(mapping_has(pheap_alloc(heap, MIB(4)), " hg"));
	assert_int_equal(pheap_close(heap), 0);
}

static void test_hugetlb(void **state)
{
	struct pheap_memory memory = {.flags = PHEAP_HUGETLB};
	pheap_t *heap = make(MIB(64) + 65536, &memory);
	char *ptr;

	(void)state;
	if (!heap) { /* the system keeps none */
		assert_int_equal(errno, ENOMEM);
		assert_non_null(strstr(pheap_errormsg(), "vm.nr_hugepages"));
		return;
	}
	ptr = pheap_alloc(heap, MIB(4));
	assert_true(mapping_has(ptr, " ht"));
	memset(ptr, 1, MIB(4));
	assert_int_equal(pheap_close(heap), 0);
}

/* Node 0 is everywhere where there are nodes, and the last one that can be named is not. */
static void test_node(void **state)
{
	struct pheap_memory memory = {.flags = PHEAP_BIND_NODE};
	pheap_t *heap = make(MIB(64), &memory);

	(void)state;
	if (!heap) {
		assert_true(errno == ENOTSUP || errno == EPERM);
		return;
	}
	memset(pheap_alloc(heap, MIB(4)), 1, MIB(4));
	assert_int_equal(pheap_close(heap), 0);
	memory.node = 1023;
	refused(memory, EINVAL, "NUMA node 1023");
	memory.node = 1024;
	refused(memory, EINVAL, "NUMA node 1024");
}

/* ---- memory of the program's own
 * ------------------------------------------------------------------------ */

/* Pages can be used between commit and purge only. */
struct backend {
	char *base;
	size_t bytes, committed, purged;
	unsigned gets, puts;
	bool full;
};

static void *backend_get(void *arg, size_t bytes)
{
	struct backend *b = arg;
	char *area = mmap(NULL, bytes + 65536, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(area != MAP_FAILED);
	b->base = (char *)(((uintptr_t)area + 65535) / 65536 * 65536);
	b->bytes = bytes;
	b->gets++;
	return b->base;
}

static void backend_put(void *arg, void *memory, size_t bytes)
{
	struct backend *b = arg;

	assert_ptr_equal(memory, b->base);
	assert_int_equal(bytes, b->bytes);
	munmap(memory, bytes);
	b->puts++;
}

static int backend_commit(void *arg, void *range, size_t bytes)
{
	struct backend *b = arg;

	assert_true((char *)range >= b->base && (char *)range + bytes <= b->base + b->bytes);
	if (b->full)
		return -ENOMEM;
	b->committed += bytes;
	return mprotect(range, bytes, PROT_READ | PROT_WRITE) ? -errno : 0;
}

static int backend_purge(void *arg, void *range, size_t bytes)
{
	struct backend *b = arg;

	b->purged += bytes;
	if (mmap(range, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		 -1, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

static void test_backend(void **state)
{
	struct backend b = {0};
	struct pheap_memory memory = {.flags = PHEAP_PURGE,
				      .get = backend_get,
				      .put = backend_put,
				      .commit = backend_commit,
				      .purge = backend_purge,
				      .arg = &b};
	pheap_t *heap = made(MIB(128), &memory);
	void *ptr[500];

	(void)state;
	assert_int_equal(b.gets, 1);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 500; i++) {
			size_t size = i % 7 ? i * 37 + 1 : i * 900 + 1;

			ptr[i] = pheap_alloc(heap, size);
			assert_non_null(ptr[i]);
			memset(ptr[i], (int)i, size);
		}
		assert_true(b.committed > 0);
		for (unsigned i = 0; i < 500; i++)
			assert_int_equal(pheap_free(heap, ptr[(i * 7 + round) % 500]), 0);
		assert_int_equal(pheap_purge(heap, 0), 0);
		assert_true(b.purged > 0);
	}
	b.full = true;
	assert_null(pheap_alloc(heap, MIB(40)));
	assert_int_equal(errno, ENOMEM);
	b.full = false;
	ptr[0] = pheap_alloc(heap, MIB(40));
	assert_non_null(ptr[0]);
	memset(ptr[0], 1, MIB(40));
	assert_int_equal(pheap_close(heap), 0);
	assert_int_equal(b.puts, 1);
}

/* ---- several heaps
 * ----------------------------------------------------------------------------------------- */

static void test_several(void **state)
{
	enum { HEAPS = 12, OBJECTS = 400 };
	pheap_t *heap[HEAPS];
	unsigned char *ptr[HEAPS][OBJECTS];

	(void)state;
	for (unsigned h = 0; h < HEAPS; h++)
		heap[h] = made(MIB(16) + h * MIB(8), h % 2 ? &(struct pheap_memory){0} : NULL);
	for (unsigned i = 0; i < OBJECTS; i++)
		for (unsigned h = 0; h < HEAPS; h++) {
			ptr[h][i] = pheap_alloc(heap[h], 100 + i);
			assert_non_null(ptr[h][i]);
			memset(ptr[h][i], (int)(h * 16 + i % 16), 100 + i);
		}
	for (unsigned i = 0; i < OBJECTS; i++)
		for (unsigned h = 0; h < HEAPS; h++) {
			assert_int_equal(ptr[h][i][99 + i], h * 16 + i % 16);
			assert_int_equal(pheap_free(heap[(h + 1) % HEAPS], ptr[h][i]), -EINVAL);
			assert_int_equal(pheap_free(heap[h], ptr[h][i]), 0);
		}
	for (unsigned h = 0; h < HEAPS; h++)
		assert_int_equal(pheap_close(heap[h]), 0);
}

/* ---- statistics by sizes
 * -------------------------------------------------------------------------------------- */

static void test_classes(void **state)
{
	pheap_t *heap = made(MIB(64), NULL);
	struct pheap_class c[200];
	void *ptr[300], *large = pheap_alloc(heap, MIB(2));
	int n = pheap_get_classes(heap, c, 200), of_100 = -1;
	uint64_t slabs = 0;

	(void)state;
	assert_true(n > 10 && n <= 200);
	for (int i = 0; i < n; i++) {
		if (c[i].size >= 100 && of_100 < 0)
			of_100 = i;
		if (i + 1 < n)
			assert_true(i == 0 || c[i].size > c[i - 1].size);
		slabs += c[i].slabs;
	}
	assert_int_equal(slabs, 1);
	assert_int_equal(c[n - 1].size, 0);
	assert_int_equal(c[n - 1].objects, 1);
	assert_int_equal(c[n - 1].bytes, MIB(2));
	for (unsigned i = 0; i < 300; i++)
		ptr[i] = pheap_alloc(heap, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(pheap_free(heap, ptr[i]), 0);
	assert_int_equal(pheap_get_classes(heap, c, 200), n);
	assert_int_equal(c[of_100].objects, 200);
	assert_int_equal(c[of_100].slabs, 1);
	assert_true(c[of_100].taken >= 300);
	assert_int_equal(c[of_100].taken - c[of_100].given, c[of_100].objects + c[of_100].cached);
	assert_int_equal(c[of_100].objects + c[of_100].cached + c[of_100].unused,
			 65536 / c[of_100].size);
	assert_int_equal(pheap_free(heap, large), 0);
	assert_int_equal(pheap_get_classes(heap, NULL, 0), n);
	assert_int_equal(pheap_get_classes(heap, NULL, 1), -EINVAL);
	assert_int_equal(pheap_get_classes(heap, c, 1), n);
	assert_int_equal(pheap_close(heap), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_limit),
		cmocka_unit_test(test_purge),	  cmocka_unit_test(test_purge_threads),
		cmocka_unit_test(test_prefault),  cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_hugetlb),	  cmocka_unit_test(test_node),
		cmocka_unit_test(test_backend),	  cmocka_unit_test(test_several),
		cmocka_unit_test(test_classes),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
