/*
 * test-gc.c - pheap_gc: what is kept, what is freed, who has to wait.
 *
 * Objects without a type are looked into word by word here (PHEAP_GC_CONSERVATIVE), unless a
 * test says otherwise.
 */
#include "common.h"

#include <pthread.h>

struct node {
	pheap_ref next, other;
	uint64_t id, pad[5];
};

static struct pheap_gc_options conservative = {
	.struct_size = sizeof(struct pheap_gc_options),
	.flags = PHEAP_GC_CONSERVATIVE,
};

static struct pheap_gc_report collect_as(pheap_t *heap, unsigned flags)
{
	struct pheap_gc_report report = {.struct_size = sizeof(report)};
	struct pheap_gc_options options = {.struct_size = sizeof(options), .flags = flags};

	assert_ok(pheap_gc(heap, &options, &report));
	return report;
}

static struct pheap_gc_report collect(pheap_t *heap)
{
	return collect_as(heap, PHEAP_GC_CONSERVATIVE);
}

static struct node *node_at(pheap_t *heap, pheap_ref ref)
{
	return pheap_ptr(heap, ref);
}

/* A published node in front of the list that begins in *slot. */
static pheap_ref push(pheap_t *heap, pheap_ref *slot, uint64_t id)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	struct node *node = assert_made(pheap_tx_zalloc(tx, sizeof(*node)));

	node->id = id;
	node->next = *slot;
	assert_ok(pheap_tx_set(tx, slot, pheap_ref_of(heap, node)));
	assert_ok(pheap_tx_commit(tx));
	return *slot;
}

/* Published objects that nothing refers to. */
static void leak(pheap_t *heap, size_t size, unsigned n)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));

	while (n--)
		assert_made(pheap_tx_zalloc(tx, size));
	assert_ok(pheap_tx_commit(tx));
}

static unsigned length(pheap_t *heap, pheap_ref ref)
{
	unsigned n = 0;

	for (; ref; ref = node_at(heap, ref)->next)
		n++;
	return n;
}

/* ---- what is freed --------------------------------------------------------------- */

static void garbage(void **state)
{
	pheap_t *heap = make_pool("garbage", MIB(32));
	struct pheap_gc_report report;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		push(heap, pheap_root(heap), i);
	leak(heap, 64, 500);
	leak(heap, 1000, 30);
	leak(heap, KIB(200), 5);
	report = collect_as(heap, PHEAP_GC_CONSERVATIVE | PHEAP_GC_DRY_RUN);
	assert_int_equal(report.objects, 1535);
	assert_int_equal(report.garbage, 535);
	assert_int_equal(report.freed, 0);
	assert_int_equal(check_clean(heap), 1535);
	report = collect(heap);
	assert_int_equal(report.live, 1000);
	assert_int_equal(report.garbage, 535);
	assert_int_equal(report.freed, 535);
	assert_true(report.freed_bytes >= 500 * 64 + 30 * 1000 + 5 * KIB(200));
	assert_int_equal(report.freed_bytes, report.garbage_bytes);
	assert_int_equal(check_clean(heap), 1000);
	assert_int_equal(length(heap, *pheap_root(heap)), 1000);
	report = collect(heap);
	assert_int_equal(report.garbage, 0);
	heap = reopen_pool(heap, "garbage");
	assert_int_equal(check_clean(heap), 1000);
	close_pool(heap);
}

/* Slabs that have not been loaded since open, and those that have. */
static void after_open(void **state)
{
	pheap_t *heap = make_pool("after", MIB(32));
	struct pheap_stats before, after;

	(void)state;
	push(heap, pheap_root(heap), 1);
	before = stats_of(heap);
	for (unsigned i = 0; i < 200; i++)
		leak(heap, 64, 50);
	leak(heap, MIB(1), 4);
	heap = reopen_pool(heap, "after");
	assert_int_equal(collect(heap).freed, 10004);
	assert_int_equal(check_clean(heap), 1);
	assert_ok(pheap_purge(heap, 0));
	after = stats_of(heap);
	assert_true(after.granules_free + 4 >= before.granules_free);
	leak(heap, 64, 100);
	push(heap, pheap_root(heap), 2);
	assert_int_equal(collect(heap).freed, 100);
	assert_int_equal(check_clean(heap), 2);
	close_pool(heap);
}

/* The memory is used again, and all of it: round after round. */
static void steady(void **state)
{
	pheap_t *heap = make_pool("steady", MIB(16));
	struct rng rng = rng_make(1);

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		unsigned live = (unsigned)rng_below(&rng, 300);

		*pheap_root(heap) ? assert_ok(pheap_set(heap, pheap_root(heap), 0)) : (void)0;
		for (unsigned i = 0; i < live; i++)
			push(heap, pheap_root(heap), i);
		for (unsigned i = 0; i < 60; i++)
			leak(heap, 1 + rng_below(&rng, 9000), 10);
		leak(heap, KIB(100) + rng_below(&rng, MIB(1)), 2);
		collect(heap);
		assert_int_equal(check_clean(heap), live);
		assert_int_equal(length(heap, *pheap_root(heap)), live);
	}
	close_pool(heap);
}

/* One fence for the record of some thousand objects, two for the checkpoint; none where
 * nothing is garbage, but for a checkpoint of what was done before. */
static void fences(void **state)
{
	pheap_t *heap = make_pool("fences", MIB(8));
	uint64_t before;

	(void)state;
	if (!(mode->flags & PHEAP_FORCE_PMEM))
		skip(); /* others have no fences, or more */
	push(heap, pheap_root(heap), 1);
	leak(heap, 64, 500);
	assert_ok(pheap_gc(heap, &conservative, NULL)); /* and settles */
	leak(heap, 64, 500);
	before = stats_of(heap).fences;
	assert_int_equal(collect(heap).freed, 500);
	assert_int_equal(stats_of(heap).fences - before, 3);
	before = stats_of(heap).fences;
	collect(heap);
	assert_int_equal(stats_of(heap).fences - before, 0);
	close_pool(heap);
}

/* ---- what is kept ------------------------------------------------------------------ */

static void cycle(void **state)
{
	pheap_t *heap = make_pool("cycle", MIB(8));
	pheap_ref a, b;

	(void)state;
	a = push(heap, pheap_root(heap), 1);
	b = push(heap, pheap_root(heap), 2); /* b to a */
	assert_ok(pheap_set(heap, &node_at(heap, a)->other, b));
	assert_int_equal(collect(heap).garbage, 0);
	assert_ok(pheap_set(heap, pheap_root(heap), 0));
	assert_int_equal(collect(heap).freed, 2);
	close_pool(heap);
}

static void pins(void **state)
{
	pheap_t *heap = make_pool("pins", MIB(8));
	pheap_ref refs[200];

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		refs[i] = push(heap, pheap_root(heap), i);
		assert_ok(pheap_set(heap, pheap_root(heap), 0));
		assert_ok(pheap_pin(heap, pheap_ptr(heap, refs[i])));
	}
	assert_ok(pheap_pin(heap, pheap_ptr(heap, refs[7])));
	for (unsigned i = 0; i < 200; i++)
		assert_ok(pheap_unpin(heap, pheap_ptr(heap, refs[i])));
	assert_error(EINVAL, pheap_unpin(heap, pheap_ptr(heap, refs[0])));
	assert_error(EINVAL, pheap_pin(heap, (char *)pheap_ptr(heap, refs[0]) + 8));
	assert_int_equal(collect(heap).freed, 199);
	assert_int_equal(node_at(heap, refs[7])->id, 7);
	assert_ok(pheap_unpin(heap, pheap_ptr(heap, refs[7])));
	assert_int_equal(collect(heap).freed, 1);
	close_pool(heap);
}

/* A reserved object's words are roots, also before anyone knows what it will be. */
static void reserved(void **state)
{
	pheap_t *heap = make_pool("reserved", MIB(8));
	struct node *node = assert_made(pheap_zalloc(heap, sizeof(*node)));

	(void)state;
	node->other = push(heap, pheap_root(heap), 5);
	push(heap, pheap_root(heap), 6);
	assert_ok(pheap_set(heap, pheap_root(heap), 0));
	assert_int_equal(collect(heap).freed, 1);
	assert_int_equal(node_at(heap, node->other)->id, 5);
	assert_ok(pheap_publish(heap, pheap_root(heap), node, 0));
	assert_int_equal(collect(heap).garbage, 0);
	assert_int_equal(check_clean(heap), 2);
	close_pool(heap);
}

static void transactions(void **state)
{
	pheap_t *heap = make_pool("tx", MIB(8));
	pheap_ref *root = pheap_root(heap), first, second;
	struct node *node;
	pheap_tx_t *tx;

	(void)state;
	/* A thread that has not joined would not have its staged writes looked at. */
	tx = assert_made(pheap_tx_begin(heap));
	assert_error(EINVAL, pheap_gc(heap, &conservative, NULL));
	assert_ok(pheap_tx_abort(tx));
	assert_ok(pheap_gc_join(heap));

	/* What a transaction is about to write, and what it would restore. */
	first = push(heap, root, 1);
	second = push(heap, pheap_named_root(heap, "b"), 2);
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, root, 8));
	*root = 0;
	node = assert_made(pheap_tx_zalloc(tx, sizeof(*node)));
	node->other = second;
	assert_ok(pheap_tx_set(tx, pheap_named_root(heap, "c"), first));
	assert_ok(pheap_set(heap, pheap_named_root(heap, "b"), 0));
	assert_int_equal(collect(heap).garbage, 0);
	assert_ok(pheap_tx_abort(tx));
	assert_int_equal(*root, first);
	assert_int_equal(collect(heap).freed, 1); /* node's other went with it */
	assert_int_equal(node_at(heap, first)->id, 1);

	/* Garbage that a transaction has saved a part of stays until it ends. */
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, node_at(heap, first), sizeof(struct node)));
	assert_ok(pheap_set(heap, root, 0));
	assert_int_equal(collect(heap).freed, 0);
	assert_ok(pheap_tx_commit(tx));
	assert_int_equal(collect(heap).freed, 1);
	assert_ok(pheap_gc_leave(heap));
	close_pool(heap);
}

/* A circle of counted objects is never freed by counting: it is reported, and left. */
static void counted(void **state)
{
	static const uint32_t refs[] = {0, 8};
	struct pheap_type_info info = {.struct_size = sizeof(info),
				       .name = "counted",
				       .version = 1,
				       .flags = PHEAP_TYPE_COUNTED,
				       .size = 64,
				       .refs = refs,
				       .nrefs = 2};
	pheap_t *heap = make_pool("counted", MIB(8));
	pheap_type_t *type = assert_made(pheap_type_register(heap, &info));
	struct pheap_gc_report report;
	pheap_ref *root = pheap_root(heap), first;

	(void)state;
	assert_ok(pheap_publish(heap, root, assert_made(pheap_zalloc_typed(type)), 0));
	first = *root;
	assert_ok(pheap_publish(heap, &node_at(heap, first)->next,
				assert_made(pheap_zalloc_typed(type)), 0));
	assert_ok(pheap_link(heap, &node_at(heap, node_at(heap, first)->next)->next, first));
	assert_ok(pheap_link(heap, root, 0));
	leak(heap, 100, 3);
	report = collect_as(heap, PHEAP_GC_LEAVES | PHEAP_GC_DRY_RUN);
	assert_int_equal(report.garbage, 5);
	report = collect_as(heap, PHEAP_GC_LEAVES);
	assert_int_equal(report.garbage, 5);
	assert_int_equal(report.freed, 3);
	assert_int_equal(check_clean(heap), 2 + 1); /* the type */
	close_pool(heap);
}

/* ---- what is not understood ---------------------------------------------------------------- */

static void leaves(void **state)
{
	pheap_t *heap = make_pool("leaves", MIB(8));

	(void)state;
	push(heap, pheap_root(heap), 1);
	push(heap, pheap_root(heap), 2);
	assert_error(EINVAL, pheap_gc(heap, NULL, NULL));
	assert_non_null(strstr(pheap_errormsg(), "have no type"));
	assert_int_equal(collect_as(heap, PHEAP_GC_LEAVES).freed, 1);
	close_pool(heap);
	heap = make_pool("empty", MIB(8));
	assert_ok(pheap_gc(heap, NULL, NULL));
	close_pool(heap);
}

static void misuse(void **state)
{
	pheap_t *heap = make_pool("misuse", MIB(8));
	struct pheap_gc_options options = conservative;
	struct pheap_gc_report report = {0};

	(void)state;
	assert_error(EINVAL, pheap_gc(NULL, NULL, NULL));
	assert_error(EINVAL, pheap_gc(heap, NULL, &report));
	options.struct_size--;
	assert_error(EINVAL, pheap_gc(heap, &options, NULL));
	options = conservative;
	options.flags |= 1u << 20;
	assert_error(EINVAL, pheap_gc(heap, &options, NULL));
	assert_error(EINVAL, pheap_gc_leave(heap));
	assert_error(EINVAL, pheap_gc_idle_begin(heap));
	assert_ok(pheap_gc_join(heap));
	assert_error(EINVAL, pheap_gc_join(heap));
	assert_error(EINVAL, pheap_gc_idle_end(heap));
	assert_ok(pheap_gc_idle_begin(heap));
	assert_error(EINVAL, pheap_gc(heap, &conservative, NULL));
	assert_error(EINVAL, pheap_gc_leave(heap));
	assert_ok(pheap_gc_idle_end(heap));
	pheap_safepoint(heap);
	assert_ok(pheap_gc_leave(heap));
	close_pool(heap);
}

static void read_only(void **state)
{
	pheap_t *heap;

	(void)state;
	if (!mode_has_file())
		skip();
	heap = make_pool("ro", MIB(8));
	push(heap, pheap_root(heap), 1);
	leak(heap, 100, 3);
	close_pool(heap);
	heap = open_pool_flags("ro", PHEAP_READONLY);
	assert_error(EROFS, pheap_gc(heap, &conservative, NULL));
	assert_int_equal(collect_as(heap, PHEAP_GC_CONSERVATIVE | PHEAP_GC_DRY_RUN).garbage, 3);
	close_pool(heap);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

#define THREADS 3u
#define TURNS 400u

struct worker {
	pheap_t *heap;
	unsigned index;
	bool joins;
	unsigned *running; /* atomic */
};

/* Moves nodes from one list to another, in place or by records, drops some, makes others. A
 * joined thread holds nodes that nothing refers to, between safepoints. */
static void *mutate(void *arg)
{
	const struct worker *w = arg;
	struct rng rng = rng_make(w->index);
	pheap_ref *slot[2], moved;
	char name[8] = {'t', (char)('0' + w->index)};

	slot[0] = pheap_named_root(w->heap, name);
	name[0] = 'u';
	slot[1] = pheap_named_root(w->heap, name);
	must(slot[0] && slot[1]);
	if (w->joins)
		must(!pheap_gc_join(w->heap));
	for (unsigned i = 0; i < TURNS; i++) {
		unsigned from = (unsigned)rng_below(&rng, 2);
		pheap_tx_t *tx = pheap_tx_begin(w->heap);
		struct node *node = pheap_tx_zalloc(tx, sizeof(*node));

		node->id = i;
		node->next = *slot[0];
		must(!pheap_tx_set(tx, slot[0], pheap_ref_of(w->heap, node)));
		must(!pheap_tx_commit(tx));
		moved = *slot[from];
		if (moved && w->joins) {
			pheap_ref rest = node_at(w->heap, moved)->next;

			/* For a moment only this thread knows it. */
			must(!pheap_set(w->heap, slot[from], rest));
			if (rng_below(&rng, 3)) {
				must(!pheap_set(w->heap, &node_at(w->heap, moved)->next,
						*slot[!from]));
				must(!pheap_set(w->heap, slot[!from], moved));
			} /* else it is garbage */
			pheap_safepoint(w->heap);
		} else if (moved && !rng_below(&rng, 4)) {
			must(!pheap_set(w->heap, slot[from], 0)); /* all of it */
		}
	}
	if (w->joins)
		must(!pheap_gc_leave(w->heap));
	__atomic_fetch_sub(w->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *collector(void *arg)
{
	const struct worker *w = arg;
	struct pheap_gc_options options = conservative;

	options.threads = 2;
	while (__atomic_load_n(w->running, __ATOMIC_ACQUIRE))
		must(!pheap_gc(w->heap, &options, NULL));
	return NULL;
}

static void *run(void *arg)
{
	return ((struct worker *)arg)->index < THREADS ? mutate(arg) : collector(arg);
}

static void mutators(bool join)
{
	pheap_t *heap = make_pool("threads", MIB(32));
	unsigned running = THREADS, total = 0;
	struct worker workers[THREADS + 1];
	char name[8] = {0};

	for (unsigned i = 0; i <= THREADS; i++)
		workers[i] = (struct worker){heap, i, join, &running};
	run_threads(THREADS + 1, run, workers, sizeof(*workers));
	collect(heap);
	for (unsigned i = 0; i < 2 * THREADS; i++) {
		name[0] = i & 1 ? 'u' : 't';
		name[1] = (char)('0' + i / 2);
		total += length(heap, *pheap_named_root(heap, name));
	}
	assert_int_equal(check_clean(heap), total);
	close_pool(heap);
}

static void joined_threads(void **state)
{
	(void)state;
	mutators(true);
}

static void other_threads(void **state)
{
	(void)state;
	mutators(false);
}

/* A thread that waits for input holds nobody up; one that ends has left. */
static void *idle(void *arg)
{
	struct worker *w = arg;

	must(!pheap_gc_join(w->heap));
	if (w->index)
		return NULL;
	must(!pheap_gc_idle_begin(w->heap));
	__atomic_store_n(w->running, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(w->running, __ATOMIC_ACQUIRE) != 2)
		sched_yield();
	must(!pheap_gc_idle_end(w->heap));
	return NULL;
}

static void idle_threads(void **state)
{
	pheap_t *heap = make_pool("idle", MIB(8));
	unsigned running = 0;
	struct worker w = {heap, 1, true, &running};
	pthread_t thread;

	(void)state;
	run_thread(idle, &w); /* ends, joined */
	collect(heap);
	w.index = 0;
	assert_int_equal(pthread_create(&thread, NULL, idle, &w), 0);
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) != 1)
		sched_yield();
	collect(heap);
	__atomic_store_n(&running, 2, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	close_pool(heap);
}

static void volatile_heap(void **state)
{
	pheap_t *heap = make_pool("volatile", MIB(8));

	(void)state;
	assert_error(ENOTSUP, pheap_gc(heap, &conservative, NULL));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage),	  cmocka_unit_test(after_open),
		cmocka_unit_test(steady),	  cmocka_unit_test(fences),
		cmocka_unit_test(cycle),	  cmocka_unit_test(pins),
		cmocka_unit_test(reserved),	  cmocka_unit_test(transactions),
		cmocka_unit_test(counted),	  cmocka_unit_test(leaves),
		cmocka_unit_test(misuse),	  cmocka_unit_test(read_only),
		cmocka_unit_test(joined_threads), cmocka_unit_test(other_threads),
		cmocka_unit_test(idle_threads),
	};
	const struct CMUnitTest volatile_tests[] = {cmocka_unit_test(volatile_heap)};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests) + run_modes(MODE_VOLATILE, volatile_tests);
}
