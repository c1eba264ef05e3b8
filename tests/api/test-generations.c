/*
 * test-generations.c - young collections: what they find, and that they lose nothing,
 * whichever way a reference came into an old object.
 */
#include "common.h"

#include <pthread.h>

#define KIDS 5u

struct node {
	pheap_ref kid[KIDS];
	uint64_t id, pad[2];
};

static const struct pheap_type_info node_info =
	PHEAP_TYPE(struct node, 1, kid[0], kid[1], kid[2], kid[3], kid[4]);

static pheap_t *heap;
static pheap_type_t *type;

static void make(const char *name, unsigned survive)
{
	struct pheap_gc_generations generations = {
		.struct_size = sizeof(generations),
		.flags = PHEAP_GC_LEAVES,
		.survive = survive,
		.growth = 1000000, /* full ones where a test asks for them */
	};

	heap = make_pool(name, MIB(64));
	type = assert_made(pheap_type_register(heap, &node_info));
	assert_ok(pheap_gc_set_generations(heap, &generations));
	/* The first one looks at everything. */
	assert_ok(pheap_gc(heap, NULL, NULL));
}

static struct pheap_gc_report collect(unsigned flags)
{
	struct pheap_gc_options options = {.struct_size = sizeof(options), .flags = flags};
	struct pheap_gc_report report = {.struct_size = sizeof(report)};

	assert_ok(pheap_gc(heap, &options, &report));
	assert_int_equal(report.young, flags == PHEAP_GC_YOUNG);
	return report;
}

static struct node *at(pheap_ref ref)
{
	return pheap_ptr(heap, ref);
}

/* A published node, linked into a slot in one of the ways that there are. */
static pheap_ref add(pheap_ref *slot, uint64_t id, unsigned way)
{
	pheap_tx_t *tx;
	struct node *node;
	pheap_ref ref;

	if (way % 5 == 0) {
		node = assert_made(pheap_zalloc_typed(type));
		node->id = id;
		if (*slot)
			assert_ok(pheap_set(heap, slot, 0));
		assert_ok(pheap_publish(heap, slot, node, 0));
		return *slot;
	}
	tx = assert_made(pheap_tx_begin(heap));
	node = assert_made(pheap_tx_alloc_typed(tx, type));
	node->id = id;
	ref = pheap_ref_of(heap, node);
	switch (way % 5) {
	case 1:
		assert_ok(pheap_tx_set(tx, slot, ref));
		break;
	case 2:
		assert_ok(pheap_tx_snapshot(tx, slot, sizeof(*slot)));
		*slot = ref;
		break;
	case 3:
		assert_ok(pheap_tx_write(tx, slot, &ref, sizeof(ref)));
		break;
	default: /* a word of a longer range */
		assert_ok(pheap_tx_commit(tx));
		assert_ok(pheap_write(heap, slot, &ref, sizeof(ref)));
		return ref;
	}
	assert_ok(pheap_tx_commit(tx));
	return ref;
}

/* ---- one after the other ------------------------------------------------------------- */

static void ages(void **state)
{
	(void)state;
	for (unsigned survive = 1; survive <= 4; survive++) {
		pheap_ref *root;

		make("ages", survive);
		root = pheap_root(heap);
		add(root, 1, 0);
		for (unsigned i = 0; i < survive; i++) {
			assert_int_equal(collect(PHEAP_GC_YOUNG).live, 1);
			add(&at(*root)->kid[0], 2, i);
			assert_ok(pheap_set(heap, &at(*root)->kid[0], 0)); /* dies young */
		}
		assert_int_equal(collect(PHEAP_GC_YOUNG).freed, 1);
		assert_ok(pheap_set(heap, root, 0));
		assert_int_equal(collect(PHEAP_GC_YOUNG).objects, 0); /* too old */
		assert_int_equal(check_clean(heap), 2); /* and its type's descriptor */
		assert_int_equal(collect(PHEAP_GC_LEAVES).freed, 1);
		close_pool(heap);
	}
}

/* An old object is the only one that refers to a young one. */
static void barrier(void **state)
{
	(void)state;
	for (unsigned survive = 1; survive <= 3; survive++) {
		make("barrier", survive);
		add(pheap_root(heap), 1, 0);
		for (unsigned i = 0; i <= survive; i++)
			collect(PHEAP_GC_YOUNG);
		for (unsigned way = 0; way < 5; way++) {
			struct node *old = at(*pheap_root(heap));

			add(&old->kid[way], way, way);
			add(&at(old->kid[way])->kid[0], 10 + way, way + 1);
			for (unsigned i = 0; i < 2 * survive; i++) {
				assert_int_equal(collect(PHEAP_GC_YOUNG).garbage, 0);
				assert_int_equal(at(old->kid[way])->id, way);
				assert_int_equal(at(at(old->kid[way])->kid[0])->id, 10 + way);
			}
		}
		assert_int_equal(collect(PHEAP_GC_LEAVES).live, 12);
		close_pool(heap);
	}
}

/* A reference that only an abort brings back. */
static void aborted(void **state)
{
	pheap_ref young;
	struct node *old;
	pheap_tx_t *tx;

	(void)state;
	make("aborted", 3);
	assert_ok(pheap_gc_join(heap));
	add(pheap_root(heap), 1, 0);
	for (unsigned i = 0; i < 4; i++)
		collect(PHEAP_GC_YOUNG);
	old = at(*pheap_root(heap));
	young = add(&old->kid[0], 2, 1);
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, old, sizeof(*old)));
	old->kid[0] = 0;
	collect(PHEAP_GC_YOUNG);
	old->kid[1] = young; /* in place, while the transaction is open */
	old->kid[0] = 0;
	assert_int_equal(collect(PHEAP_GC_YOUNG).garbage, 0);
	assert_ok(pheap_tx_abort(tx));
	for (unsigned i = 0; i < 4; i++)
		collect(PHEAP_GC_YOUNG);
	assert_int_equal(at(old->kid[0])->id, 2);
	/* One that nothing but a store in place refers to, which then is committed. */
	young = add(pheap_named_root(heap, "r"), 3, 1);
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, old, sizeof(*old)));
	old->kid[2] = young;
	assert_ok(pheap_set(heap, pheap_named_root(heap, "r"), 0));
	assert_int_equal(collect(PHEAP_GC_YOUNG).garbage, 0);
	assert_ok(pheap_tx_commit(tx));
	for (unsigned i = 0; i < 4; i++)
		collect(PHEAP_GC_YOUNG);
	assert_int_equal(at(young)->id, 3);
	assert_ok(pheap_gc_leave(heap));
	assert_int_equal(collect(PHEAP_GC_LEAVES).garbage, 0);
	close_pool(heap);
}

/* Dead young objects do not keep each other, whatever was written into them. */
static void dead_together(void **state)
{
	(void)state;
	make("dead", 1);
	for (unsigned i = 0; i < 100; i++) {
		add(pheap_root(heap), i, 1);
		add(&at(*pheap_root(heap))->kid[2], i, i);
		add(&at(at(*pheap_root(heap))->kid[2])->kid[3], i, i + 1);
	}
	assert_int_equal(collect(PHEAP_GC_YOUNG).freed, 297);
	assert_int_equal(collect(PHEAP_GC_LEAVES).garbage, 0);
	close_pool(heap);
}

/* More is written than a log holds: then all is looked at. */
static void overflow(void **state)
{
	struct pheap_gc_options options = {.struct_size = sizeof(options), .flags = PHEAP_GC_YOUNG};
	struct pheap_gc_report report = {.struct_size = sizeof(report)};
	struct node *old;

	(void)state;
	make("overflow", 2);
	add(pheap_root(heap), 1, 0);
	for (unsigned i = 0; i < 3; i++)
		collect(PHEAP_GC_YOUNG);
	old = at(*pheap_root(heap));
	for (unsigned i = 0; i < 300000; i++)
		assert_ok(pheap_set(heap, &old->id, i));
	add(&old->kid[1], 2, 1);
	assert_ok(pheap_gc(heap, &options, &report));
	assert_int_equal(report.young, 0);
	assert_int_equal(report.garbage, 0);
	assert_int_equal(at(old->kid[1])->id, 2);
	assert_int_equal(collect(PHEAP_GC_YOUNG).objects, 0); /* all are old now */
	close_pool(heap);
}

/* When a full one is due, and what is counted. */
static void growth(void **state)
{
	struct pheap_gc_generations generations = {
		.struct_size = sizeof(generations), .flags = PHEAP_GC_LEAVES, .growth = 50};
	struct pheap_gc_options options = {.struct_size = sizeof(options),
					   .flags = PHEAP_GC_YOUNG | PHEAP_GC_LEAVES};
	struct pheap_gc_report report = {.struct_size = sizeof(report)};
	struct pheap_gc_stats stats = {.struct_size = sizeof(stats)};
	unsigned full = 0;

	(void)state;
	heap = make_pool("growth", MIB(64));
	type = assert_made(pheap_type_register(heap, &node_info));
	assert_error(EINVAL, pheap_gc(heap, &options, NULL));
	assert_ok(pheap_gc_set_generations(heap, &generations));
	for (unsigned round = 0; round < 80; round++) {
		for (unsigned i = 0; i < 500; i++) {
			pheap_ref next = *pheap_root(heap);
			pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
			struct node *node = assert_made(pheap_tx_alloc_typed(tx, type));

			node->kid[0] = next;
			assert_ok(pheap_tx_set(tx, pheap_root(heap), pheap_ref_of(heap, node)));
			assert_ok(pheap_tx_commit(tx));
		}
		assert_ok(pheap_gc(heap, &options, &report));
		full += !report.young;
	}
	/* 2.5 MB: at first, and when there are 1, and 2.5. */
	assert_true(full >= 2 && full <= 4);
	assert_ok(pheap_gc_get_stats(heap, &stats));
	assert_int_equal(stats.full, full);
	assert_int_equal(stats.young, 80 - full);
	assert_true(stats.visited_bytes >= 80 * 500 * 64 && !stats.freed_bytes);
	assert_true(stats.stop_max_ns && stats.stop_max_ns <= stats.stop_ns);
	assert_ok(pheap_gc_set_generations(heap, NULL));
	assert_error(EINVAL, pheap_gc(heap, &options, NULL));
	generations.survive = 9;
	assert_error(EINVAL, pheap_gc_set_generations(heap, &generations));
	generations.survive = 1;
	generations.flags = 0;
	assert_error(EINVAL, pheap_gc_set_generations(heap, &generations));
	close_pool(heap);
}

/* ---- at random ------------------------------------------------------------------------ */

#define NODES 30000u

/* The shadow of a node. */
struct shadow {
	pheap_ref ref;
	uint32_t kid[KIDS]; /* numbers; 0: none */
	unsigned seen;
};

static struct shadow shadow[NODES];
static uint32_t nodes, seen, reached[NODES], reached_n;

/* From node 1, which the root refers to: each is where it was, and refers to what it did. */
static void verify(void)
{
	uint32_t n = 0;

	seen++;
	reached_n = 0;
	reached[reached_n++] = 1;
	shadow[1].seen = seen;
	while (n < reached_n) {
		const struct shadow *s = &shadow[reached[n]];

		assert_int_equal(at(s->ref)->id, reached[n++]);
		for (unsigned k = 0; k < KIDS; k++) {
			struct shadow *kid = &shadow[s->kid[k]];

			assert_int_equal(at(s->ref)->kid[k], s->kid[k] ? kid->ref : 0);
			if (s->kid[k] && kid->seen != seen) {
				kid->seen = seen;
				reached[reached_n++] = s->kid[k];
			}
		}
	}
}

static void random_graph(void **state)
{
	struct rng rng = rng_make(7);

	(void)state;
	for (unsigned survive = 1; survive <= 5; survive += 2) {
		make("random", survive);
		memset(shadow, 0, sizeof(shadow));
		nodes = 1;
		shadow[1].ref = add(pheap_root(heap), 1, 0);
		verify();
		while (nodes < NODES / 5) {
			uint32_t from = reached[rng_below(&rng, reached_n)];
			uint32_t to = reached[rng_below(&rng, reached_n)];
			unsigned k = (unsigned)rng_below(&rng, KIDS);
			pheap_ref *slot = &at(shadow[from].ref)->kid[k];

			switch (rng_below(&rng, 30)) {
			case 0:
				collect(PHEAP_GC_YOUNG);
				break;
			case 1:
				if (!rng_below(&rng, 30))
					assert_int_equal(collect(PHEAP_GC_LEAVES).live,
							 reached_n + 1);
				break;
			case 2: /* a link more */
				shadow[from].kid[k] = to;
				assert_ok(pheap_set(heap, slot, shadow[to].ref));
				break;
			case 3:
			case 4:
				shadow[from].kid[k] = 0;
				assert_ok(pheap_set(heap, slot, 0));
				break;
			default:
				nodes++;
				shadow[from].kid[k] = nodes;
				shadow[nodes].ref = add(slot, nodes, (unsigned)rng_below(&rng, 5));
			}
			verify();
			if (reached_n > 600) { /* something large dies */
				memset(shadow[1].kid, 0, sizeof(shadow[1].kid));
				for (k = 0; k < KIDS; k++)
					assert_ok(pheap_set(heap, &at(shadow[1].ref)->kid[k], 0));
				verify();
			}
		}
		assert_int_equal(collect(PHEAP_GC_LEAVES).live, reached_n + 1);
		assert_int_equal(check_clean(heap), reached_n + 1);
		close_pool(heap);
	}
}

/* ---- threads -------------------------------------------------------------------------------- */

#define THREADS 3u

static void *grow_and_drop(void *arg)
{
	unsigned index = *(unsigned *)arg;
	char name[8] = {'t', (char)('0' + index)};
	pheap_ref *root = pheap_named_root(heap, name);

	must(root && !pheap_gc_join(heap));
	for (unsigned i = 0; i < 1500; i++) {
		pheap_tx_t *tx = pheap_tx_begin(heap);
		struct node *node = pheap_tx_alloc_typed(tx, type);

		node->id = index;
		node->kid[i % KIDS] = i % 8 ? *root : 0; /* lists of eight */
		must(!pheap_tx_set(tx, root, pheap_ref_of(heap, node)));
		must(!pheap_tx_commit(tx));
		if (index == 0 && i % 50 == 0) {
			struct pheap_gc_options options = {.struct_size = sizeof(options),
							   .flags = PHEAP_GC_YOUNG};

			must(!pheap_gc(heap, &options, NULL));
		}
		for (pheap_ref ref = *root; ref; ref = at(ref)->kid[i % KIDS])
			must(at(ref)->id == index);
		pheap_safepoint(heap);
	}
	must(!pheap_gc_leave(heap));
	return NULL;
}

static void threads(void **state)
{
	unsigned index[THREADS] = {0, 1, 2};
	uint64_t live;

	(void)state;
	make("threads", 2);
	run_threads(THREADS, grow_and_drop, index, sizeof(*index));
	live = collect(PHEAP_GC_LEAVES).live;
	assert_true(live > THREADS && live <= 1 + THREADS * 8);
	assert_int_equal(check_clean(heap), live);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ages),		cmocka_unit_test(barrier),
		cmocka_unit_test(aborted),	cmocka_unit_test(dead_together),
		cmocka_unit_test(overflow),	cmocka_unit_test(growth),
		cmocka_unit_test(random_graph), cmocka_unit_test(threads),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_PROCESS, tests);
}
