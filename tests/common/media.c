/*
 * media.c - see media.h.
 */
#include "media.h"

#include <sys/mman.h>

#include "pool.h"

struct pending {
	uint64_t start, length;
};

/* What this thread has flushed and not fenced yet. */
static __thread struct pending pending[65536];
static __thread unsigned npending;

char *memory_new(uint64_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(memory != MAP_FAILED);
	return memory;
}

/* Page by page, so that what was never touched stays so. */
char *memory_copy(const char *from, uint64_t size)
{
	static const char zero[PM_PAGE];
	char *to = memory_new(size);

	for (uint64_t at = 0; at < size; at += PM_PAGE)
		if (memcmp(from + at, zero, PM_PAGE))
			memcpy(to + at, from + at, PM_PAGE);
	return to;
}

void memory_free(char *memory, uint64_t size)
{
	must(!munmap(memory, size));
}

static void note(const struct media *media, const void *addr, uint64_t length)
{
	uint64_t offset = (uint64_t)((const char *)addr - media->seen);
	uint64_t start = offset / PM_LINE * PM_LINE;

	must(npending < ELEMENTS(pending));
	pending[npending++] = (struct pending){
		start, (offset + length + PM_LINE - 1) / PM_LINE * PM_LINE - start};
}

static void hook_store(void *arg, void *dst, const void *src, size_t length)
{
	struct media *media = arg;

	(void)dst;
	(void)src;
	(void)length;
	__atomic_add_fetch(&media->stores, 1, __ATOMIC_RELAXED);
}

static void hook_copy_nt(void *arg, void *dst, const void *src, size_t length)
{
	hook_store(arg, dst, src, length);
	note(arg, dst, length);
}

static void hook_flush(void *arg, const void *addr, size_t length)
{
	note(arg, addr, length);
}

/* As the memory does it: word by word, and no race with what the program stores. */
__attribute__((no_sanitize_thread)) static void write_back(const struct media *media,
							   const struct pending *p)
{
	const uint64_t *from = (const uint64_t *)(const void *)(media->seen + p->start);
	uint64_t *to = (uint64_t *)(void *)(media->durable + p->start);

	for (uint64_t i = 0; i < p->length / 8; i++)
		__atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

static int hook_fence(void *arg)
{
	struct media *media = arg;

	for (unsigned i = 0; i < npending; i++)
		write_back(media, &pending[i]);
	npending = 0;
	if (media->fenced)
		media->fenced(media);
	return 0;
}

const struct ph_hook media_hook = {hook_store, hook_copy_nt, hook_flush, hook_fence};

void media_init(struct media *media, uint64_t size)
{
	*media =
		(struct media){.size = size, .seen = memory_new(size), .durable = memory_new(size)};
}

void media_free(struct media *media)
{
	memory_free(media->seen, media->size);
	memory_free(media->durable, media->size);
}

pheap_t *create_on(char *memory, uint64_t size, struct media *media)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = size};

	return assert_made(
		ph_pool_create_on(memory, size, &opts, media ? &media_hook : NULL, media));
}

pheap_t *open_on(char *memory, uint64_t size, struct media *media)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};

	return assert_made(ph_pool_open_on(memory, size, &opts, media ? &media_hook : NULL, media));
}

void refuse_on(char *memory, uint64_t size)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};

	assert_errno(EUCLEAN, ph_pool_open_on(memory, size, &opts, NULL, NULL));
}
