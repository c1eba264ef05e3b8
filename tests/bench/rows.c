/*
 * rows.c - what is measured: workloads, sizes and threads, and the systems.
 */
#include "bench.h"

#include <stdio.h>

#ifndef HAVE_LIBPMEMOBJ
#define HAVE_LIBPMEMOBJ 1
#endif

const struct workload workloads[WORKLOADS] = {
	[W_RESERVE_PAIR] = {"reserve_pair", WORK_INDEPENDENT, "reserve and free one object"},
	[W_RESERVE_BATCH] =
		{"reserve_batch", WORK_INDEPENDENT | WORK_LONG,
		 "reserve, touch and free one object; 1000 at a time, freed in random order"},
	[W_RANDOM_SLOT] =
		{"random_slot", WORK_INDEPENDENT | WORK_WARM_UP,
		 "free the object in a random one of 1024 slots, or reserve and touch one"},
	[W_LARGE_PAIR] = {"large_pair", WORK_INDEPENDENT, "reserve and free one object"},
	[W_THREADTEST] = {"threadtest", WORK_INDEPENDENT | WORK_LONG,
			  "reserve, touch and free one object; 100000 at a time, freed in order"},
	[W_LARSON] = {"larson", WORK_INDEPENDENT | WORK_LONG,
		      "free a random one of 1000 objects and reserve another; the 1000 go to "
		      "another thread now and then"},
	[W_SHBENCH] = {"shbench", WORK_INDEPENDENT | WORK_LONG,
		       "reserve, touch and free one object; mostly small, freed in mixed order"},
	[W_PRODCON] = {"prodcon", 0, "reserve and touch in one thread, free in the other"},
	[W_ARENA64] = {"arena64", WORK_INDEPENDENT | WORK_LONG,
		       "reserve one object; 100000 of them are given back: with the arena by pheap "
		       "(in its "
		       "heap, blocks of 64 KiB), one by one by others"},
	[W_FRAGBENCH] = {"fragbench", WORK_FRESH | WORK_NO_TIME,
			 "reserve or free: fill 64 MiB (--quick: 16), free 90 % at random, fill "
			 "with another size"},
	[W_STEADY] = {"steady", WORK_FRESH | WORK_NO_TIME,
		      "replace a random one of 16384 live objects, 10 million times (--quick: 1 "
		      "million); each doubling of the size is as likely"},
	[W_LINKED_PAIR] = {"linked_pair", WORK_DURABLE | WORK_INDEPENDENT,
			   "publish and retire one object"},
	[W_LINKED_RING] = {"linked_ring", WORK_DURABLE | WORK_INDEPENDENT,
			   "publish one object, or retire it, in 1024 slots in turn"},
	[W_LINKED_SHARED] =
		{"linked_shared", WORK_DURABLE,
		 "publish or retire in a random one of 1024 slots that the threads share"},
	[W_LINKED_PRODCON] = {"linked_prodcon", WORK_DURABLE,
			      "publish in one thread, or retire in the other"},
	[W_LARGE_LINKED_PAIR] = {"large_linked_pair", WORK_DURABLE | WORK_INDEPENDENT,
				 "publish and retire one object, whose content is not written"},
	[W_TX_WRITE8] = {"tx_write8", WORK_DURABLE | WORK_INDEPENDENT,
			 "transaction that sets one word"},
	[W_TX_SNAPSHOT8] = {"tx_snapshot8", WORK_DURABLE | WORK_INDEPENDENT,
			    "transaction that snapshots one word and stores to it"},
	[W_TX_SNAPSHOT8X8] = {"tx_snapshot8x8", WORK_DURABLE | WORK_INDEPENDENT,
			      "transaction that snapshots words of 8 lines and stores to them"},
	[W_TX_ALLOC_LINK] = {"tx_alloc_link", WORK_DURABLE | WORK_INDEPENDENT,
			     "transaction that allocates and links, or unlinks and frees"},
	[W_TX_BATCH64] = {"tx_batch64", WORK_DURABLE | WORK_INDEPENDENT,
			  "one object allocated and linked, or unlinked and freed; 64 in a "
			  "transaction, the links in 64 lines"},
	[W_SPACE64] = {"space64", WORK_FRESH | WORK_NO_HEAP | WORK_NO_TIME,
		       "ns_per_op is bytes of a pool of 64 MiB for each object, until it is full"},
	[W_OPEN_CLEAN] = {"open_clean", WORK_FRESH | WORK_NO_HEAP,
			  "ns_per_op is one open of a pool that was closed; 10 million objects in "
			  "4 GiB (--quick: 1 million), and holes of freed ones"},
	[W_OPEN_CRASH] = {"open_crash", WORK_FRESH | WORK_NO_HEAP,
			  "ns_per_op is one open of such a pool after kill -9 with 16 rings "
			  "about to be settled and an open transaction of 1 MiB"},
	[W_BUILD] = {"build", WORK_FRESH | WORK_NO_HEAP, ""},
	[W_CRASH] = {"crash", WORK_FRESH | WORK_NO_HEAP, ""},
};

#define ONE(workload, size)             \
	{                               \
		workload, size, size, 1 \
	}
#define BOTH(workload, min, max)      \
	{workload, min, max, 1},      \
	{                             \
		workload, min, max, 2 \
	}
#define EACH_SIZE(workload)                                                                      \
	ONE(workload, 8), ONE(workload, 16), ONE(workload, 32), ONE(workload, 64),               \
		ONE(workload, 128), ONE(workload, 256), ONE(workload, 512), ONE(workload, 1024), \
		BOTH(workload, 8, 1024)

const struct row rows[] = {
	EACH_SIZE(W_RESERVE_PAIR),
	EACH_SIZE(W_RESERVE_BATCH),
	{W_RESERVE_BATCH, 8, 128, 1},
	{W_RESERVE_BATCH, 129, 2048, 1},
	{W_RESERVE_BATCH, 2049, 65536, 1},
	BOTH(W_RANDOM_SLOT, 8, 128),
	BOTH(W_RANDOM_SLOT, 129, 2048),
	BOTH(W_RANDOM_SLOT, 2049, 65536),
	BOTH(W_LARGE_PAIR, 1 << 20, 1 << 20),
	BOTH(W_THREADTEST, 64, 64),
	BOTH(W_LARSON, 64, 400),
	BOTH(W_SHBENCH, 1, 1000),
	{W_PRODCON, 64, 64, 2},
	BOTH(W_ARENA64, 64, 64),
	/* Workloads 1 and 3 of Rumble and others, Log-structured Memory, 2014. */
	{W_FRAGBENCH, 100, 130, 1},
	{W_FRAGBENCH, 100, 250, 1},
	{W_STEADY, 8, 65536, 1},
	BOTH(W_LINKED_PAIR, 64, 64),
	BOTH(W_LINKED_RING, 64, 64),
	{W_LINKED_SHARED, 64, 64, 2},
	{W_LINKED_PRODCON, 64, 64, 2},
	BOTH(W_LARGE_LINKED_PAIR, 1 << 20, 1 << 20),
	BOTH(W_TX_WRITE8, 8, 8),
	BOTH(W_TX_SNAPSHOT8, 8, 8),
	BOTH(W_TX_SNAPSHOT8X8, 8, 8),
	BOTH(W_TX_ALLOC_LINK, 64, 64),
	BOTH(W_TX_BATCH64, 64, 64),
	ONE(W_SPACE64, 64),
	ONE(W_OPEN_CLEAN, 64),
	ONE(W_OPEN_CRASH, 64),
};

const unsigned row_count = ELEMENTS(rows);

void row_size(const struct row *row, char *text, size_t room)
{
	if (row->min == row->max)
		snprintf(text, room, "%u", row->min);
	else
		snprintf(text, room, "%u-%u", row->min, row->max);
}

/* The malloc of the program's own environment, and others by their Debian names. */
extern loop_fn *const malloc_loops[WORKLOADS];

#define MALLOC_SYSTEM(label, library, deb)                                             \
	{                                                                              \
		.name = label, .preload = library, .package = deb, .symbol = "malloc", \
		.loops = malloc_loops                                                  \
	}

static const struct system glibc = MALLOC_SYSTEM("glibc", NULL, NULL);
static const struct system mimalloc =
	MALLOC_SYSTEM("mimalloc", "libmimalloc.so.2", "libmimalloc2.0");
static const struct system jemalloc = MALLOC_SYSTEM("jemalloc", "libjemalloc.so.2", "libjemalloc2");
static const struct system tcmalloc =
	MALLOC_SYSTEM("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4");
static const struct system tbbmalloc =
	MALLOC_SYSTEM("tbbmalloc", "libtbbmalloc_proxy.so.2", "libtbbmalloc2");

#if !HAVE_LIBPMEMOBJ
static loop_fn *const no_loops[WORKLOADS];
const struct system system_pmemobj = {.name = "libpmemobj", .loops = no_loops};
#endif

const struct system *const systems[SYSTEMS] = {
	[S_PHEAP] = &system_pheap,
	[S_PROCESS] = &system_process,
	[S_VOLATILE] = &system_volatile,
	[S_PMEMOBJ] = &system_pmemobj,
	[S_GLIBC] = &glibc,
	[S_MIMALLOC] = &mimalloc,
	[S_JEMALLOC] = &jemalloc,
	[S_TCMALLOC] = &tcmalloc,
	[S_TBBMALLOC] = &tbbmalloc,
};
