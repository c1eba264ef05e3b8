/*
 * sys-pmemobj.c - PMDK's libpmemobj.
 *
 * Volatile workloads use pmemobj_reserve() and pmemobj_cancel(), the nearest that
 * it has. Linked ones use the atomic calls with the reference in the pool, without
 * a constructor: it need not write or flush any content, which favours it.
 */
#include <libpmemobj.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static PMEMobjpool *pool;

#define must(call)                                                    \
	do {                                                          \
		if (__builtin_expect((call) != 0, 0))                 \
			die(#call " failed: %s", pmemobj_errormsg()); \
	} while (0)

#define TYPE 1 /* of every object: types play no part here */

typedef struct {
	void *ptr;
	struct pobj_action action;
} sys_obj;

static inline void sys_reserve(sys_obj *o, size_t size)
{
	PMEMoid oid = pmemobj_reserve(pool, &o->action, size, TYPE);

	if (OID_IS_NULL(oid))
		die("pmemobj_reserve(%zu): %s", size, pmemobj_errormsg());
	o->ptr = pmemobj_direct(oid);
}

static inline void sys_release(sys_obj *o)
{
	pmemobj_cancel(pool, &o->action, 1);
}

static inline bool sys_linked(const void *slots, unsigned i)
{
	return !OID_IS_NULL(((const PMEMoid *)slots)[i]);
}

static inline void sys_link(struct worker *w, void *slots, unsigned i)
{
	must(pmemobj_alloc(pool, (PMEMoid *)slots + i, w->size, TYPE, NULL, NULL));
}

#define sys_link_large sys_link

static inline void sys_unlink(void *slots, unsigned i)
{
	pmemobj_free((PMEMoid *)slots + i);
}

static inline uint64_t *word_of(const struct worker *w, unsigned i)
{
	return (uint64_t *)(w->words + (size_t)i * 64);
}

static inline void sys_tx_write8(struct worker *w, unsigned i)
{
	TX_BEGIN(pool)
	{
		pmemobj_tx_add_range_direct(word_of(w, i), 8);
		*word_of(w, i) = w->at;
	}
	TX_ONABORT
	{
		die("a transaction aborted: %s", pmemobj_errormsg());
	}
	TX_END
}

#define sys_tx_snapshot8 sys_tx_write8 /* it has no other way */

static inline void sys_tx_snapshot8x8(struct worker *w, unsigned i)
{
	TX_BEGIN(pool)
	{
		for (unsigned k = 0; k < 8; k++)
			pmemobj_tx_add_range_direct(word_of(w, i + k), 8);
		for (unsigned k = 0; k < 8; k++)
			*word_of(w, i + k) = w->at;
	}
	TX_ONABORT
	{
		die("a transaction aborted: %s", pmemobj_errormsg());
	}
	TX_END
}

/* Objects in n slots from the first on, BATCH_STRIDE apart, in one transaction. */
static inline void tx_link(struct worker *w, unsigned first, unsigned n)
{
	TX_BEGIN(pool)
	{
		for (unsigned i = 0; i < n; i++) {
			PMEMoid *slot = (PMEMoid *)w->slots + first + i * BATCH_STRIDE;

			pmemobj_tx_add_range_direct(slot, sizeof(*slot));
			*slot = pmemobj_tx_alloc(w->size, TYPE);
			*(uint64_t *)pmemobj_direct(*slot) = i;
		}
	}
	TX_ONABORT
	{
		die("a transaction aborted: %s", pmemobj_errormsg());
	}
	TX_END
}

static inline void tx_unlink(struct worker *w, unsigned first, unsigned n)
{
	TX_BEGIN(pool)
	{
		for (unsigned i = 0; i < n; i++) {
			PMEMoid *slot = (PMEMoid *)w->slots + first + i * BATCH_STRIDE;

			pmemobj_tx_add_range_direct(slot, sizeof(*slot));
			pmemobj_tx_free(*slot);
			*slot = OID_NULL;
		}
	}
	TX_ONABORT
	{
		die("a transaction aborted: %s", pmemobj_errormsg());
	}
	TX_END
}

static inline void sys_tx_link(struct worker *w, unsigned i)
{
	tx_link(w, i, 1);
}

static inline void sys_tx_unlink(struct worker *w, unsigned i)
{
	tx_unlink(w, i, 1);
}

static inline void sys_tx_link64(struct worker *w)
{
	tx_link(w, 0, 64);
}

static inline void sys_tx_unlink64(struct worker *w)
{
	tx_unlink(w, 0, 64);
}

#include "loops-linked.h"

/* ---- the heap --------------------------------------------------------------------------- */

#define LAYOUT "compare"

/* What roots are for pheap: two arrays for each worker, and a chain. */
struct root {
	PMEMoid slots[THREADS_MAX], words[THREADS_MAX], large, chain, holes;
};

static struct root *root;

static void attach(PMEMobjpool *got, const char *what)
{
	if (!got)
		die("%s: %s", what, pmemobj_errormsg());
	pool = got;
	root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
	if (!root)
		die("pmemobj_root: %s", pmemobj_errormsg());
}

static void start(const struct system *system, const char *path, uint64_t size)
{
	(void)system;
	if (size)
		attach(pmemobj_create(path, LAYOUT, size, 0600), "pmemobj_create");
}

static void *make_zeros(PMEMoid *oid, size_t size)
{
	must(pmemobj_zalloc(pool, oid, size, TYPE));
	return pmemobj_direct(*oid);
}

static void prepare(struct worker *w)
{
	w->slots = make_zeros(&root->slots[w->index], SLOTS * sizeof(PMEMoid));
	w->words = make_zeros(&root->words[w->index], (size_t)SLOTS * 64);
	if (w->index == 0)
		w->shared->slots = w->slots;
}

/* ---- pools that are filled, opened, crashed ----------------------------------------------- */

/* A reference of 16 bytes and content of 48: what a list of 64-byte objects is. */
/* holes: slots for others in between, which are to be freed; or NULL. */
static uint64_t chain(uint64_t max, PMEMoid *holes)
{
	PMEMoid *slot = &root->chain;
	uint64_t n;

	for (n = 0; n < max; n++) {
		if (holes && n % OPEN_HOLE == 0)
			must(pmemobj_zalloc(pool, &holes[n / OPEN_HOLE], 64, TYPE));
		if (pmemobj_zalloc(pool, slot, 64, TYPE)) {
			if (errno == ENOMEM)
				break;
			die("pmemobj_zalloc: %s", pmemobj_errormsg());
		}
		slot = pmemobj_direct(*slot);
	}
	return n;
}

static uint64_t loop_space64(struct worker *w, uint64_t n)
{
	const uint64_t size = MIB(64);

	attach(pmemobj_create(w->path, LAYOUT, size, 0600), "pmemobj_create");
	n = chain(UINT64_MAX, NULL);
	w->ns = (double)size / (double)n;
	return n;
}

static uint64_t loop_build(struct worker *w, uint64_t n)
{
	PMEMoid *holes;

	attach(pmemobj_create(w->path, LAYOUT, open_pool_size(w->quick), 0600), "pmemobj_create");
	holes = make_zeros(&root->holes, open_objects(w->quick) / OPEN_HOLE * sizeof(*holes));
	n = chain(open_objects(w->quick), holes);
	if (n < open_objects(w->quick))
		die("only %llu objects of 64 bytes fit in the pool that is to be opened",
		    (unsigned long long)n);
	for (uint64_t i = 0; i < n / OPEN_HOLE; i++)
		pmemobj_free(&holes[i]);
	pmemobj_close(pool);
	return n;
}

static uint32_t working;

static void *work_on(void *arg)
{
	__atomic_add_fetch(&working, 1, __ATOMIC_RELEASE);
	for (;;)
		loop_linked_ring(arg, SLOTS);
	return NULL;
}

/* 16 threads are in the midst of linked operations, a transaction over 1 MiB is open. */
static uint64_t loop_crash(struct worker *w, uint64_t n)
{
	struct worker workers[THREADS_MAX];
	pthread_t thread;
	char *large;

	attach(pmemobj_open(w->path, LAYOUT), "pmemobj_open");
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		workers[i] = *w;
		workers[i].index = i;
		prepare(&workers[i]);
	}
	large = make_zeros(&root->large, MIB(1));
	must(pmemobj_tx_begin(pool, NULL, TX_PARAM_NONE));
	must(pmemobj_tx_add_range_direct(large, MIB(1)));
	memset(large, 1, MIB(1));
	for (unsigned i = 0; i < THREADS_MAX; i++)
		if (pthread_create(&thread, NULL, work_on, &workers[i]))
			die("no thread");
	await(&working, THREADS_MAX);
	usleep(100000); /* all of them get a turn */
	kill(getpid(), SIGKILL);
	return n;
}

/* extra as for pheap, but that it does not say whether it recovered. */
static uint64_t loop_open(struct worker *w, uint64_t n)
{
	const unsigned allocations = 1000;
	uint64_t before = anonymous_bytes();
	struct timer timer = timer_start();
	double start_ns;
	sys_obj o;

	(void)n;
	pool = pmemobj_open(w->path, LAYOUT);
	timer_stop(&timer, w);
	timer_report(w, 1);
	if (!pool)
		die("pmemobj_open: %s", pmemobj_errormsg());
	if (w->count)
		return 1;
	w->extra[0] = (double)(anonymous_bytes() - before);
	for (unsigned i = 0; i < allocations; i++) {
		start_ns = now_ns();
		sys_reserve(&o, w->size);
		start_ns = now_ns() - start_ns;
		w->extra[1] += start_ns / allocations;
		if (start_ns > w->extra[2])
			w->extra[2] = start_ns;
	}
	pmemobj_close(pool);
	return 1;
}

static loop_fn *const pmemobj_loops[WORKLOADS] = {
	VOLATILE_LOOPS,
	LINKED_LOOPS,
	[W_SPACE64] = loop_space64,
	[W_OPEN_CLEAN] = loop_open,
	[W_OPEN_CRASH] = loop_open,
	[W_BUILD] = loop_build,
	[W_CRASH] = loop_crash,
};

const struct system system_pmemobj = {
	.name = "libpmemobj",
	.symbol = "pmemobj_alloc",
	.start = start,
	.prepare = prepare,
	.loops = pmemobj_loops,
};
