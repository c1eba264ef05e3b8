/*
 * process.c - the heap of a process: made by its first call, settings, statistics at exit.
 * Invariants M1 to M4 are in process.h.
 *
 * The heap is a reserved range of addresses, of which memory is taken page by page when
 * it is touched. It has nothing of a pool but a zone: no superblock, no lanes, no stripes,
 * since nothing is ever logged. So making it costs some mappings, and no page is
 * written but those of the allocator's own structures.
 *
 *	[ free-space tree, all but empty ][ granules ................................ ]
 *	                                  ^ at a multiple of ALIGNMENT_MAX
 */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pheap/stats.h>

#include "alloc/buddy.h"
#include "alloc/decay.h"
#include "alloc/large.h"
#include "alloc/span.h"
#include "alloc/tcache.h"

/* Granules reserved: 1 TiB, and less where there is no address space for that. */
#define ORDER_MOST 24u
#define ORDER_LEAST 8u

/* Objects are aligned by their place in the zone, up to that of its first granule. */
#define ALIGNMENT_MAX (UINT64_C(1) << 30)

/* Bytes of free large spans that are kept for requests of their sizes: what is not kept
 * serves any size, and goes back to the system. */
#define LARGE_KEPT 0u
#define LARGE_KEPT_THREAD (2u << 20)

/* Milliseconds that memory has been free before it goes back to the system. */
#define PURGE_DELAY 25u

struct pheap *ph_process;

/* ---- what is needed while the heap is made (M1) ------------------------------------------ */

#define BOOT_BYTES 16384u

static struct boot_object {
	size_t size;
	size_t unused;
} boot[BOOT_BYTES / sizeof(struct boot_object)] __attribute__((aligned(64)));
static size_t boot_used; /* bytes */

void *ph_boot_alloc(size_t size, size_t alignment)
{
	size_t place = boot_used + sizeof(struct boot_object);
	char *area = (char *)boot;

	if (alignment > 64)
		return NULL;
	place = (place + alignment - 1) / alignment * alignment;
	if (size > BOOT_BYTES || place > BOOT_BYTES - size)
		return NULL;
	boot_used = (place + size + sizeof(struct boot_object) - 1) / sizeof(struct boot_object) *
		    sizeof(struct boot_object);
	((struct boot_object *)(void *)(area + place))[-1].size = size;
	return area + place;
}

bool ph_boot_owns(const void *ptr)
{
	return (uintptr_t)ptr - (uintptr_t)boot < BOOT_BYTES;
}

size_t ph_boot_size(const void *ptr)
{
	return ((const struct boot_object *)ptr)[-1].size;
}

/* ---- settings ------------------------------------------------------------------------------ */

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n;
}

void ph_process_fail(const char *function)
{
	char text[700];

	snprintf(text, sizeof(text), "libpheapmalloc: %s(): %s\n", function, pheap_errormsg());
	say(text);
	abort();
}

/* ---- making the heap --------------------------------------------------------------------------
 */

/* The addresses of a zone of 2^order granules; the heap's view begins at its tree. */
static bool reserve(struct pheap *heap, struct pm_zone *zone, unsigned order)
{
	uint64_t tree = (ph_tree_bytes(order) + PM_GRANULE - 1) / PM_GRANULE * PM_GRANULE;
	uint64_t bytes = (uint64_t)PM_GRANULE << order;
	uint64_t all = tree + ALIGNMENT_MAX + bytes;
	char *area = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *first;

	if (area == MAP_FAILED)
		return false;
	first = (char *)(((uintptr_t)area + tree + ALIGNMENT_MAX - 1) / ALIGNMENT_MAX *
			 ALIGNMENT_MAX);
	munmap(area, (size_t)(first - tree - area));
	munmap(first + bytes, (size_t)(area + all - (first + bytes)));
	if (mprotect(first - tree, tree + bytes, PROT_READ | PROT_WRITE)) {
		munmap(first - tree, tree + bytes);
		return false;
	}
	heap->file = (struct ph_file){.fd = -1, .base = first - tree, .size = tree + bytes};
	heap->view = (struct pheap_view){heap->file.base, heap->file.size};
	*zone = (struct pm_zone){.data = tree, .granules = 1u << order, .levels = order};
	return true;
}

/* B2: one byte says that all is free. */
static void make_tree(struct pheap *heap, const struct pm_zone *zone)
{
	heap->view.base[zone->tree + 1] = (char)(zone->levels + 1);
}

static struct pheap *make_heap(void)
{
	static struct pm_zone zone;
	struct pheap *heap = ph_heap_new();

	if (!heap)
		return NULL;
	heap->durability = PHEAP_VOLATILE;
	heap->pm.backend = heap->media.backend = PH_VOLATILE;
	heap->inherited = true;
	for (unsigned order = ORDER_MOST; !reserve(heap, &zone, order); order--)
		if (order == ORDER_LEAST)
			return NULL;
	make_tree(heap, &zone);
	if (ph_zone_attach(heap, &zone))
		return NULL;
	heap->zone.unloaded_end = 0; /* there is nothing to discover */
	ph_large_attach(heap);
	heap->large_limit = LARGE_KEPT;
	heap->large_thread_limit = LARGE_KEPT_THREAD;
	ph_decay_start(heap, PURGE_DELAY);
	ph_registry_add(heap);
	return heap;
}

bool ph_process_start(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static __thread bool starting __attribute__((tls_model("initial-exec")));
	struct pheap *heap;

	if (starting)
		return false;
	starting = true;
	pthread_mutex_lock(&lock);
	heap = ph_process;
	if (!heap && (heap = make_heap()))
		__atomic_store_n(&ph_process, heap, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	starting = false;
	return heap != NULL;
}
