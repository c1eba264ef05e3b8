/*
 * sys-pheap.c - this library, at each of its durability levels.
 *
 * POWER on a memory file system has to be forced; libpmemobj is forced in the same
 * way, by PMEM_IS_PMEM_FORCE=1.
 */
#include <errno.h>
#include <pheap.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "layout.h"

static pheap_t *heap;

/* A call of the library that must not fail. */
#define must(call)                                                  \
	do {                                                        \
		if (__builtin_expect((call) != 0, 0))               \
			die(#call " failed: %s", pheap_errormsg()); \
	} while (0)

static void *made(void *got)
{
	if (!got)
		die("%s", pheap_errormsg());
	return got;
}

typedef struct {
	void *ptr;
} sys_obj;

static inline void sys_reserve(sys_obj *o, size_t size)
{
	o->ptr = pheap_alloc(heap, size);
	if (__builtin_expect(!o->ptr, 0))
		die("pheap_alloc(%zu): %s", size, pheap_errormsg());
}

static inline void sys_release(sys_obj *o)
{
	must(pheap_free(heap, o->ptr));
}

#define SYS_HAS_SPANS

static inline size_t sys_block(const sys_obj *o)
{
	return pheap_usable_size(heap, o->ptr);
}

static inline uint64_t sys_in_spans(void)
{
	struct pheap_stats stats = {.struct_size = sizeof(stats)};

	must(pheap_get_stats(heap, &stats));
	return (stats.granules - stats.granules_free) * 65536;
}

#define SYS_HAS_ARENA
#define ARENA_BLOCK 65536

struct sys_arena {
	pheap_arena_t *arena;
};

static inline struct sys_arena sys_arena_open(struct worker *w)
{
	(void)w;
	return (struct sys_arena){made(pheap_arena_create_in(heap, ARENA_BLOCK))};
}

static inline void sys_arena_take(struct sys_arena *arena, size_t size)
{
	void *object = pheap_arena_alloc(arena->arena, size);

	if (__builtin_expect(!object, 0))
		die("pheap_arena_alloc(%zu): %s", size, pheap_errormsg());
	__asm__ volatile("" : : "r"(object) : "memory"); /* it is used */
}

static inline void sys_arena_close(struct sys_arena *arena)
{
	pheap_arena_destroy(arena->arena);
}

static inline bool sys_linked(const void *slots, unsigned i)
{
	return __atomic_load_n((const pheap_ref *)slots + i, __ATOMIC_ACQUIRE) != PHEAP_NULL;
}

static inline void sys_link(struct worker *w, void *slots, unsigned i)
{
	sys_obj o;

	sys_reserve(&o, w->size);
	*(uint64_t *)o.ptr = i;
	must(pheap_publish(heap, (pheap_ref *)slots + i, o.ptr, 0));
}

static inline void sys_link_large(struct worker *w, void *slots, unsigned i)
{
	sys_obj o;

	sys_reserve(&o, w->size);
	must(pheap_publish(heap, (pheap_ref *)slots + i, o.ptr, PHEAP_PERSISTED));
}

static inline void sys_unlink(void *slots, unsigned i)
{
	must(pheap_retire(heap, (pheap_ref *)slots + i));
}

static inline uint64_t *word_of(const struct worker *w, unsigned i)
{
	return (uint64_t *)(w->words + (size_t)i * 64);
}

static inline void sys_tx_write8(struct worker *w, unsigned i)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	must(pheap_tx_set(tx, word_of(w, i), w->at));
	must(pheap_tx_commit(tx));
}

static inline void sys_tx_snapshot8(struct worker *w, unsigned i)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	must(pheap_tx_snapshot(tx, word_of(w, i), 8));
	*word_of(w, i) = w->at;
	must(pheap_tx_commit(tx));
}

static inline void sys_tx_snapshot8x8(struct worker *w, unsigned i)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));
	struct pheap_range ranges[8];

	for (unsigned k = 0; k < 8; k++)
		ranges[k] = (struct pheap_range){word_of(w, i + k), 8};
	must(pheap_tx_snapshotv(tx, ranges, 8));
	for (unsigned k = 0; k < 8; k++)
		*word_of(w, i + k) = w->at;
	must(pheap_tx_commit(tx));
}

static inline void tx_link(pheap_tx_t *tx, struct worker *w, unsigned i)
{
	uint64_t *object = made(pheap_tx_alloc(tx, w->size));

	*object = i;
	must(pheap_tx_set(tx, (pheap_ref *)w->slots + i, pheap_ref_of(heap, object)));
}

static inline void sys_tx_link(struct worker *w, unsigned i)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	tx_link(tx, w, i);
	must(pheap_tx_commit(tx));
}

static inline void sys_tx_unlink(struct worker *w, unsigned i)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	must(pheap_tx_retire(tx, (pheap_ref *)w->slots + i));
	must(pheap_tx_commit(tx));
}

static inline void sys_tx_link64(struct worker *w)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	for (unsigned i = 0; i < 64; i++)
		tx_link(tx, w, i * BATCH_STRIDE);
	must(pheap_tx_commit(tx));
}

static inline void sys_tx_unlink64(struct worker *w)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap));

	for (unsigned i = 0; i < 64; i++)
		must(pheap_tx_retire(tx, (pheap_ref *)w->slots + i * BATCH_STRIDE));
	must(pheap_tx_commit(tx));
}

#include "loops-linked.h"

/* ---- the heap ---------------------------------------------------------------------- */

static struct pheap_options options_of(unsigned durability, uint64_t size)
{
	return (struct pheap_options){
		.struct_size = sizeof(struct pheap_options),
		.size = size,
		.durability = durability,
		.flags = durability == PHEAP_POWER ? PHEAP_FORCE_PMEM : 0,
	};
}

static unsigned durability_now;

static void start(const struct system *system, const char *path, uint64_t size)
{
	struct pheap_options opts = options_of(system->durability, size);

	durability_now = system->durability;
	if (size)
		heap = made(
			pheap_create(system->durability == PHEAP_VOLATILE ? NULL : path, &opts));
}

static void *publish_zeros(pheap_ref *slot, size_t size)
{
	must(pheap_alloc_into(heap, slot, size, NULL));
	return pheap_ptr(heap, *slot);
}

/* The roots are slots themselves: they hold the arrays of one worker each. */
static void prepare(struct worker *w)
{
	char name[] = "a";

	name[0] = (char)('a' + 2 * w->index);
	w->slots = publish_zeros(made(pheap_named_root(heap, name)), SLOTS * sizeof(pheap_ref));
	name[0]++;
	w->words = publish_zeros(made(pheap_named_root(heap, name)), (size_t)SLOTS * 64);
	if (w->index == 0)
		w->shared->slots = w->slots;
}

static struct pheap_stats stats_now(void)
{
	struct pheap_stats stats = {.struct_size = sizeof(stats)};

	must(pheap_get_stats(heap, &stats));
	return stats;
}

static void count(struct tally *tally)
{
	struct pheap_stats stats;

	if (!heap) /* after a close */
		return;
	stats = stats_now();
	tally->fences = stats.fences;
	tally->lines = stats.flushed_lines + stats.nt_lines;
}

/* ---- pools that are filled, opened, crashed ------------------------------------------- */

/* Objects of 64 bytes, each linked into the one before, which costs no further memory. */
struct link {
	pheap_ref next;
	uint64_t payload[7];
};

/* holes: slots for others in between, which are to be freed; or NULL. */
static uint64_t chain(uint64_t max, pheap_ref *holes)
{
	pheap_ref *slot = pheap_root(heap);
	uint64_t n;

	for (n = 0; n < max; n++) {
		if (holes && n % OPEN_HOLE == 0)
			must(pheap_alloc_into(heap, &holes[n / OPEN_HOLE], sizeof(struct link),
					      NULL));
		int err = pheap_alloc_into(heap, slot, sizeof(struct link), NULL);

		if (err == -ENOSPC)
			break;
		must(err);
		slot = &((struct link *)pheap_ptr(heap, *slot))->next;
	}
	return n;
}

static uint64_t loop_space64(struct worker *w, uint64_t n)
{
	const uint64_t size = MIB(64);
	struct pheap_options opts = options_of(durability_now, size);

	heap = made(pheap_create(durability_now == PHEAP_VOLATILE ? NULL : w->path, &opts));
	n = chain(UINT64_MAX, NULL);
	w->ns = (double)size / (double)n;
	return n;
}

static uint64_t loop_build(struct worker *w, uint64_t n)
{
	struct pheap_options opts = options_of(durability_now, open_pool_size(w->quick));
	pheap_ref *holes;

	heap = made(pheap_create(w->path, &opts));
	holes = publish_zeros(made(pheap_named_root(heap, "holes")),
			      open_objects(w->quick) / OPEN_HOLE * sizeof(*holes));
	n = chain(open_objects(w->quick), holes);
	if (n < open_objects(w->quick))
		die("only %llu objects of 64 bytes fit in the pool that is to be opened",
		    (unsigned long long)n);
	for (uint64_t i = 0; i < n / OPEN_HOLE; i++)
		must(pheap_retire(heap, &holes[i]));
	must(pheap_close(heap));
	heap = NULL;
	return n;
}

/* ---- a crash with full rings ------------------------------------------------------------ */

/* More ring lines than the record of a publish takes, that of the first in a slab too. */
#define PUBLISH_LINES 12u

static uint64_t ring_lines; /* that a thread writes from one checkpoint to the next */
static uint32_t turn;	    /* index of the thread that may go on */

/* Publish until this thread's ring has no room for another record. */
static void fill_ring(struct worker *w)
{
	uint64_t before = stats_now().record_lines;

	for (unsigned i = 1; i < SLOTS; i++) {
		if (stats_now().record_lines - before + PUBLISH_LINES > ring_lines)
			return;
		sys_link(w, w->slots, i);
	}
}

static void *filler(void *arg)
{
	struct worker *w = arg;

	await(&turn, w->index);
	sys_link(w, w->slots, 0); /* makes its ring */
	__atomic_store_n(&turn, w->index + 1, __ATOMIC_RELEASE);
	await(&turn, THREADS_MAX + 1 + w->index);
	fill_ring(w);
	__atomic_store_n(&turn, THREADS_MAX + 2 + w->index, __ATOMIC_RELEASE);
	for (;;)
		pause(); /* a thread that ends would settle */
	return NULL;
}

static void measure_ring(struct worker *w)
{
	uint64_t checkpoints = stats_now().checkpoints, lines = 0;

	for (unsigned i = 0; i < 2 * SLOTS && stats_now().checkpoints < checkpoints + 2; i++) {
		if (stats_now().checkpoints == checkpoints)
			lines = stats_now().record_lines;
		if (sys_linked(w->slots, i % SLOTS))
			sys_unlink(w->slots, i % SLOTS);
		else
			sys_link(w, w->slots, i % SLOTS);
	}
	ring_lines = stats_now().record_lines - lines;
}

/* 1 MiB, changed by a transaction that does not end. */
static void begin_large_tx(void)
{
	char *object = publish_zeros(made(pheap_named_root(heap, "large")), MIB(1));

	must(pheap_tx_snapshot(made(pheap_tx_begin(heap)), object, MIB(1)));
	memset(object, 1, MIB(1));
}

static uint64_t loop_crash(struct worker *w, uint64_t n)
{
	struct pheap_options opts = options_of(durability_now, 0);
	struct worker fillers[THREADS_MAX];
	uint64_t checkpoints;
	pthread_t thread;

	heap = made(pheap_open(w->path, &opts));
	begin_large_tx();
	prepare(w);
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		fillers[i] = *w;
		fillers[i].index = i;
		fillers[i].slots =
			publish_zeros(made(pheap_named_root(heap, (char[]){(char)('A' + i), 0})),
				      SLOTS * sizeof(pheap_ref));
		if (pthread_create(&thread, NULL, filler, &fillers[i]))
			die("no thread");
	}
	await(&turn, THREADS_MAX);
	/* Now: with several threads rings are settled before they are full. */
	measure_ring(w);
	/* Of a range that was published just now: settles, and empties all rings. */
	must(pheap_persist(heap, fillers[THREADS_MAX - 1].slots, 8));
	checkpoints = stats_now().checkpoints;
	__atomic_store_n(&turn, THREADS_MAX + 1, __ATOMIC_RELEASE);
	await(&turn, 2 * THREADS_MAX + 1);
	if (stats_now().checkpoints != checkpoints)
		die("open_crash: the rings were settled while they were filled");
	kill(getpid(), SIGKILL);
	return n;
}

/* ---- open --------------------------------------------------------------------------------- */

/* extra[1], [2]: mean and maximum of ns of the first 1000 allocations. */
static void time_first(struct worker *w)
{
	const unsigned n = 1000;

	for (unsigned i = 0; i < n; i++) {
		double start_ns = now_ns(), ns;

		made(pheap_alloc(heap, w->size));
		ns = now_ns() - start_ns;
		w->extra[1] += ns / n;
		if (ns > w->extra[2])
			w->extra[2] = ns;
	}
}

/* Metadata, which lies before the granules for data: of a pool of one zone, all of it. */
static size_t metadata_length(void)
{
	const char *base = ((const struct pheap_view *)heap)->base;
	const struct pm_zone *zone = (const void *)(base + PM_ZONE_TABLE);

	return zone->data;
}

/* extra[1], [2]: mean and maximum of the lines of metadata on media that each of the
 * first 1000 allocations touches; [0]: the mean by the library's own counter. */
static void watch_first(struct worker *w)
{
	const uint64_t before = stats_now().metadata_lines;
	const unsigned n = 1000;

	w->extra[1] = w->extra[2] = 0;
	watch_begin(((struct pheap_view *)heap)->base, metadata_length());
	for (unsigned i = 0; i < n; i++) {
		unsigned lines;

		made(pheap_alloc(heap, w->size));
		lines = watch_lines();
		w->extra[1] += (double)lines / n;
		if (lines > w->extra[2])
			w->extra[2] = lines;
	}
	watch_end();
	w->extra[0] = (double)(stats_now().metadata_lines - before) / n;
}

/* extra[0]: bytes of anonymous memory; [3]: did it recover? */
static uint64_t loop_open(struct worker *w, uint64_t n)
{
	struct pheap_options opts = options_of(durability_now, 0);
	struct pheap_info info = {.struct_size = sizeof(info)};
	uint64_t before = anonymous_bytes();
	struct timer timer = timer_start();

	(void)n;
	heap = made(pheap_open(w->path, &opts));
	timer_stop(&timer, w);
	timer_report(w, 1);
	if (w->count) { /* what follows shall not count as part of it */
		w->afterwards = watch_first;
		return 1;
	}
	w->extra[0] = (double)(anonymous_bytes() - before);
	time_first(w);
	must(pheap_get_info(heap, &info));
	w->extra[3] = info.recovered;
	must(pheap_close(heap));
	return 1;
}

static loop_fn *const durable_loops[WORKLOADS] = {
	VOLATILE_LOOPS,
	LINKED_LOOPS,
	[W_SPACE64] = loop_space64,
	[W_OPEN_CLEAN] = loop_open,
	[W_OPEN_CRASH] = loop_open,
	[W_BUILD] = loop_build,
	[W_CRASH] = loop_crash,
};

static loop_fn *const volatile_loops[WORKLOADS] = {
	VOLATILE_LOOPS,
	LINKED_LOOPS,
	[W_SPACE64] = loop_space64,
};

#define PHEAP_SYSTEM(label, level, table)                                                    \
	{                                                                                    \
		.name = label, .symbol = "pheap_alloc", .durability = level, .start = start, \
		.prepare = prepare, .count = count, .loops = table,                          \
	}

const struct system system_pheap = PHEAP_SYSTEM("pheap", PHEAP_POWER, durable_loops);
const struct system system_process = PHEAP_SYSTEM("pheap-process", PHEAP_PROCESS, durable_loops);
const struct system system_volatile =
	PHEAP_SYSTEM("pheap-volatile", PHEAP_VOLATILE, volatile_loops);
