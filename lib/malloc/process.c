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
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pheap/debug.h>
#include <pheap/stats.h>

#include "alloc/buddy.h"
#include "alloc/debug.h"
#include "alloc/decay.h"
#include "alloc/large.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "file.h"

/* Granules reserved: 1 TiB, and less where there is no address space for that. */
#define ORDER_MOST 24u
#define ORDER_LEAST 8u

/* Objects are aligned by their place in the zone, up to that of its first granule. */
#define ALIGNMENT_MAX (UINT64_C(1) << 30)

/* Bytes of free large spans that are kept for requests of their sizes: what is not kept
 * serves any size, and goes back to the system. */
#define LARGE_KEPT 0u
#define LARGE_KEPT_THREAD (2u << 20)

/* Bytes that wait in debug mode. */
#define DEFAULT_QUARANTINE ((uint64_t)16 << 20)

/* Milliseconds that memory has been free before it goes back to the system. */
#define PURGE_DELAY 25u

struct pheap *ph_process;
struct pheap *ph_process_debugged;

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

/* ---- messages ------------------------------------------------------------------------------ */

/* Programs close theirs before they end: a copy, where something is said then. */
static int standard_error = -1;

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	if (n < 0 && errno == EBADF)
		n = write(standard_error, text, strlen(text));
	(void)n;
}

void ph_process_fail(const char *function)
{
	char text[700];

	snprintf(text, sizeof(text), "libpheapmalloc: %s(): %s\n", function, pheap_errormsg());
	say(text);
	abort();
}

/* ---- settings (pheapmalloc(7)) -----------------------------------------------------------------
 */

/* NULL: not set, or this program has rights that whoever sets it has not. */
static const char *setting(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

/* A number with a unit of K, M, G or T, at most `most`; without the setting otherwise. */
static uint64_t number(const char *name, uint64_t most, uint64_t otherwise)
{
	static const char units[] = "KMGT";
	const char *text = setting(name), *unit;
	char *end;
	uint64_t n;

	if (!text)
		return otherwise;
	n = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	for (int i = unit ? (int)(unit - units) : -1; i >= 0; i--)
		n = n > UINT64_MAX / 1024 ? UINT64_MAX : n * 1024;
	if (*text < '0' || *text > '9' || (*end && (!unit || end[1])) || n > most) {
		ph_error(EINVAL, "%s=%s is not a number up to %llu (K, M, G, T may follow)", name,
			 text, (unsigned long long)most);
		ph_process_fail("malloc");
	}
	return n;
}

/* ---- debug mode (M5) ---------------------------------------------------------------------- */

static void say_report(void *arg, const char *text)
{
	(void)arg;
	say("libpheapmalloc: ");
	say(text);
	abort();
}

/* A page that guards an object, perhaps: say so, and let the access fail once more. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	const char *text = ph_debug_fault(ph_process_debugged, info->si_addr);

	(void)context;
	if (text) {
		say("libpheapmalloc: ");
		say(text);
	}
	signal(number, SIG_DFL);
}

/* Unless the program, or whoever started it, has seen to the signal. */
static void explain_faults(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigaction old;

	if (!sigaction(SIGSEGV, NULL, &old) && old.sa_handler == SIG_DFL)
		sigaction(SIGSEGV, &action, NULL);
}

/* Pages of a file are copied at a fork: none may be guarded. */
static void start_debug(struct pheap *heap)
{
	struct pheap_debug options = {
		.struct_size = sizeof(options),
		.quarantine = number("PHEAPMALLOC_QUARANTINE", UINT64_MAX, DEFAULT_QUARANTINE),
		.report = say_report,
	};

	options.quarantine += !options.quarantine; /* none */
	if (ph_debug_start(heap, &options, !heap->file.source))
		ph_process_fail("malloc");
	explain_faults();
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
	heap->view = (struct pheap_view){.base = heap->file.base, .size = heap->file.size};
	*zone = (struct pm_zone){.data = tree, .granules = 1u << order, .levels = order};
	return true;
}

/* B2: one byte says that all is free. */
static void make_tree(struct pheap *heap, const struct pm_zone *zone)
{
	heap->view.base[zone->tree + 1] = (char)(zone->levels + 1);
}

/* Settings that do not fit end the process: its memory would not be what was asked for. */
static void apply_settings(struct pheap *heap)
{
	const char *folder = setting("PHEAPMALLOC_FOLDER"), *stats = setting("PHEAPMALLOC_STATS");

	if ((stats && !strcmp(stats, "1")) || number("PHEAPMALLOC_DEBUG", 1, 0))
		standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);

	if (folder && ph_process_file(folder, ph_at(heap, heap->zone.data), heap->zone.bytes,
				      &heap->file.source))
		ph_process_fail("malloc");
	heap->zone.limit = number("PHEAPMALLOC_LIMIT", UINT64_MAX, UINT64_MAX) / PM_GRANULE;
	if (number("PHEAPMALLOC_HUGE_PAGES", 1, 0) &&
	    ph_memory_advise("PHEAPMALLOC_HUGE_PAGES", ph_at(heap, heap->zone.data),
			     heap->zone.bytes, PHEAP_HUGE_PAGES, 0))
		ph_process_fail("malloc");
	ph_decay_start(heap, (uint32_t)number("PHEAPMALLOC_PURGE_DELAY", 1000000, PURGE_DELAY));
	if (number("PHEAPMALLOC_DEBUG", 1, 0))
		start_debug(heap);
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
	apply_settings(heap);
	ph_registry_add(heap);
	return heap;
}

/* ---- statistics at exit
 * -------------------------------------------------------------------------- */

static void put(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(int fd, const char *format, ...)
{
	char line[200];
	va_list args;
	ssize_t n;

	va_start(args, format);
	n = write(fd, line, (size_t)vsnprintf(line, sizeof(line), format, args));
	va_end(args);
	(void)n;
}

static void put_bytes(int fd, const char *what, uint64_t bytes)
{
	put(fd, "%14llu  %s\n", (unsigned long long)bytes, what);
}

static void put_classes(int fd)
{
	static struct pheap_class all[PH_CLASSES + 1];
	int n = pheap_get_classes(ph_process_heap(), all, PH_CLASSES + 1);

	put(fd, "%10s%10s%12s%12s%12s%14s%14s\n", "size", "slabs", "in use", "cached", "unused",
	    "taken", "given");
	for (int i = 0; i < n; i++) {
		const struct pheap_class *c = &all[i];
		char size[24] = "large";

		if (c->size)
			snprintf(size, sizeof(size), "%llu", (unsigned long long)c->size);
		if (c->slabs || c->taken)
			put(fd, "%10s%10llu%12llu%12llu%12llu%14llu%14llu\n", size,
			    (unsigned long long)c->slabs, (unsigned long long)c->objects,
			    (unsigned long long)c->cached, (unsigned long long)c->unused,
			    (unsigned long long)c->taken, (unsigned long long)c->given);
	}
}

static void put_statistics(int fd)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	if (pheap_get_space(ph_process_heap(), &space))
		return;
	put(fd, "libpheapmalloc: process %d at exit\n", (int)getpid());
	put_bytes(fd, "bytes in blocks in use", space.reserved);
	put_bytes(fd, "blocks in use", space.objects);
	put_bytes(fd, "bytes in free blocks of threads' caches", space.cached);
	put_bytes(fd, "bytes in free blocks of slabs", space.unused);
	put_bytes(fd, "bytes behind the last blocks of slabs", space.tails);
	put_bytes(fd, "bytes in slabs and large blocks", space.total - space.free);
	put_bytes(fd, "bytes that were so at most, from the first to the last",
		  (uint64_t)ph_process_heap()->decay.top * PM_GRANULE);
	put_bytes(fd, "bytes of free memory not given back to the system yet",
		  (uint64_t)ph_process_heap()->decay.waiting * PM_GRANULE);
	put_classes(fd);
}

/* To standard error, or behind what is in a file. */
__attribute__((destructor)) static void at_exit(void)
{
	const char *where = setting("PHEAPMALLOC_STATS");
	int fd = standard_error;

	if (ph_process_debugged)
		pheap_debug_check(ph_process_debugged);
	if (!where || !ph_process_heap())
		return;
	if (strcmp(where, "1") != 0)
		fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0) {
		put(STDERR_FILENO, "libpheapmalloc: PHEAPMALLOC_STATS: %s: %s\n", where,
		    strerror(errno));
		return;
	}
	put_statistics(fd);
	close(fd);
}

/* ---- start
 * ----------------------------------------------------------------------------------------- */

bool ph_process_start(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static __thread bool starting __attribute__((tls_model("initial-exec")));
	struct pheap *heap;

	if (starting)
		return false;
	starting = true;
	pthread_mutex_lock(&lock);
	heap = ph_process_heap();
	if (!heap && (heap = make_heap()))
		__atomic_store_n(heap->debug ? &ph_process_debugged : &ph_process, heap,
				 __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	starting = false;
	return heap != NULL;
}
