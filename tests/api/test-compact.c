/*
 * test-compact.c - objects move out of sparse slabs: all references follow, content stays,
 * spans go back; what must not move stays. In linked and in traced pools.
 */
#include "common.h"

#define POOL MIB(64)
#define OBJECTS 12000u
#define KINDS 4u

static const size_t sizes[KINDS] = {64, 160, 304, 2000};

/* Each object has a neighbour, and sometimes itself. */
struct node {
	pheap_ref next, self;
	uint64_t id;
};

static bool traced;
static pheap_t *heap;
static pheap_type_t *table_type, *node_type[KINDS];
static pheap_ref *table, *twins; /* each object is referred to twice from outside */

static void register_types(void)
{
	static const uint32_t slot[] = {0}, links[] = {0, 8};
	struct pheap_type_info info = {.struct_size = sizeof(info),
				       .name = "table",
				       .version = 1,
				       .flags = PHEAP_TYPE_ARRAY,
				       .size = 8,
				       .refs = slot,
				       .nrefs = 1};
	char name[16];

	table_type = assert_made(pheap_type_register(heap, &info));
	for (unsigned k = 0; k < KINDS; k++) {
		snprintf(name, sizeof(name), "node %zu", sizes[k]);
		info = (struct pheap_type_info){.struct_size = sizeof(info),
						.name = name,
						.version = 1,
						.size = sizes[k],
						.refs = links,
						.nrefs = 2};
		node_type[k] = assert_made(pheap_type_register(heap, &info));
	}
}

static void find_tables(void)
{
	pheap_ref *root = assert_made(pheap_find_root(heap, "twins"));

	table = pheap_ptr(heap, *pheap_root(heap));
	twins = pheap_ptr(heap, *root);
}

static void begin(void)
{
	struct pheap_options options = options_of(POOL);
	pheap_ref *root;

	options.flags |= traced ? PHEAP_TRACED : 0;
	unlink(scratch("p"));
	heap = assert_made(pheap_create(scratch("p"), &options));
	register_types();
	table = assert_made(pheap_zalloc_array(table_type, OBJECTS));
	assert_ok(pheap_publish(heap, pheap_root(heap), table, 0));
	root = assert_made(pheap_named_root(heap, "twins"));
	assert_ok(
		pheap_publish(heap, root, assert_made(pheap_zalloc_array(table_type, OBJECTS)), 0));
	find_tables();
}

static struct node *node_at(unsigned i)
{
	return pheap_ptr(heap, table[i]);
}

static void make_node(unsigned i)
{
	unsigned k = i % KINDS;
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	struct node *node = assert_made(pheap_tx_alloc_typed(tx, node_type[k]));

	fill_pattern(node + 1, sizes[k] - sizeof(*node), i);
	node->id = i;
	node->next = i ? table[i - 1] : 0;
	node->self = i % 3 ? 0 : pheap_ref_of(heap, node);
	assert_ok(pheap_tx_set(tx, &table[i], pheap_ref_of(heap, node)));
	assert_ok(pheap_tx_set(tx, &twins[i], pheap_ref_of(heap, node)));
	assert_ok(pheap_tx_commit(tx));
}

static void drop_node(unsigned i)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));

	assert_ok(pheap_tx_set(tx, &twins[i], 0));
	assert_ok(pheap_tx_retire(tx, &table[i]));
	assert_ok(pheap_tx_commit(tx));
}

/* Of all objects one in `every` is left; neighbours are linked anew. */
static void delete_most(unsigned every)
{
	struct rng rng = rng_make(3);
	pheap_ref last = 0;

	for (unsigned i = 0; i < OBJECTS; i++) {
		if (rng_below(&rng, every)) {
			drop_node(i);
			continue;
		}
		assert_ok(pheap_set(heap, &node_at(i)->next, last));
		last = table[i];
	}
}

static unsigned verify(void)
{
	pheap_ref last = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < OBJECTS; i++) {
		const struct node *node = node_at(i);
		unsigned k = i % KINDS;

		assert_int_equal(table[i], twins[i]);
		if (!node)
			continue;
		assert_int_equal(node->id, i);
		assert_int_equal(node->next, last);
		assert_int_equal(node->self, i % 3 ? 0 : table[i]);
		assert_true(has_pattern(node + 1, sizes[k] - sizeof(*node), i));
		assert_ptr_equal(pheap_type_of(heap, node), node_type[k]);
		last = table[i];
		n++;
	}
	return n;
}

/* Per mille of what spans have in use that is in no object. */
static unsigned external(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};
	uint64_t used;

	assert_ok(pheap_get_space(heap, &space));
	used = space.total - space.free - space.logs;
	return (unsigned)(1000 * (used - space.published - space.reserved) / used);
}

static void close_and_check(unsigned n)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};

	check_clean(heap);
	close_pool(heap);
	assert_ok(pheap_check_file(scratch("p"), &result, NULL, NULL));
	assert_int_equal(result.objects, n + 2 + 1 + KINDS); /* tables, and what keeps types */
}

static void compact(void **state)
{
	struct pheap_compact_report report = {.struct_size = sizeof(report)};
	unsigned before, n;

	(void)state;
	begin();
	for (unsigned i = 0; i < OBJECTS; i++)
		make_node(i);
	delete_most(10);
	n = verify();
	assert_ok(pheap_purge(heap, 0));
	before = external();
	assert_ok(pheap_compact(heap, NULL, &report));
	assert_int_equal(verify(), n);
	print_message("%u objects: %llu moved, %llu references, %llu slabs of %llu granules; not "
		      "in objects %u, then %u per mille\n",
		      n, (unsigned long long)report.moved, (unsigned long long)report.slots,
		      (unsigned long long)report.slabs, (unsigned long long)report.granules, before,
		      external());
	assert_int_equal(report.pinned, 0);
	assert_true(before > 600);
	assert_true(report.granules_after * 3 < report.granules);
	/* Again there is nothing to do. */
	report = (struct pheap_compact_report){.struct_size = sizeof(report)};
	assert_ok(pheap_compact(heap, NULL, &report));
	assert_int_equal(report.moved, 0);
	heap = reopen_pool(heap, "p");
	register_types();
	find_tables();
	assert_int_equal(verify(), n);
	close_and_check(n);
}

/* An object without a type may hold a reference: what it could refer to stays. */
static void pinned(void **state)
{
	struct pheap_compact_report report = {.struct_size = sizeof(report)};
	pheap_ref *holder, refs[3], *root;
	unsigned n, found = 0;

	(void)state;
	begin();
	for (unsigned i = 0; i < OBJECTS; i++)
		make_node(i);
	delete_most(10);
	n = verify();
	holder = assert_made(pheap_zalloc(heap, 4000));
	for (unsigned i = OBJECTS; i-- && found < 3;)
		if (table[i])
			holder[7 * found] = refs[found] = table[i], found++;
	root = assert_made(pheap_named_root(heap, "holder"));
	assert_ok(pheap_publish(heap, root, holder, 0));
	assert_ok(pheap_compact(heap, NULL, &report));
	assert_true(report.pinned <= 3);
	assert_int_equal(report.untyped_holders, report.pinned > 0);
	assert_true(report.moved > 0);
	holder = pheap_ptr(heap, *root);
	for (unsigned i = 0; i < 3; i++) /* it is one of those that the table has */
		assert_int_equal(holder[7 * i], refs[i]);
	found = 0;
	for (unsigned i = 0; i < OBJECTS; i++)
		for (unsigned k = 0; k < 3; k++)
			found += table[i] == refs[k];
	assert_int_equal(found, 3);
	assert_int_equal(verify(), n);
	assert_ok(pheap_retire(heap, root));
	close_and_check(n);
}

/* One by one, by all of its references: how many have moved. */
static unsigned move_each(void)
{
	unsigned moved = 0;

	for (unsigned i = 0; i < OBJECTS; i++) {
		pheap_ref *slots[4] = {&table[i], &twins[i]};
		unsigned slot = 2, next = i + 1;
		int code;

		if (!table[i])
			continue;
		if (node_at(i)->self)
			slots[slot++] = &node_at(i)->self;
		while (next < OBJECTS && !table[next])
			next++;
		if (next < OBJECTS)
			slots[slot++] = &node_at(next)->next;
		code = pheap_move(heap, slots, slot);
		assert_true(code >= 0);
		moved += (unsigned)code;
	}
	return moved;
}

static void move(void **state)
{
	unsigned before, n, moved, again;

	(void)state;
	begin();
	for (unsigned i = 0; i < OBJECTS; i++)
		make_node(i);
	delete_most(8);
	n = verify();
	assert_ok(pheap_purge(heap, 0));
	before = external();
	moved = move_each();
	assert_int_equal(verify(), n);
	assert_ok(pheap_purge(heap, 0));
	again = move_each();
	assert_int_equal(verify(), n);
	assert_ok(pheap_purge(heap, 0));
	print_message("%u objects, %u moved, and %u again; not in objects %u, then %u per mille\n",
		      n, moved, again, before, external());
	assert_true(moved > n / 2);
	assert_true(external() * 2 < before);
	close_and_check(n);
}

/* Threads with handles of their own, whose objects lie in slabs that all of them use. */
#define THREADS 4u
#define HANDLES 256u

struct mover {
	unsigned first;
	struct rng rng;
	unsigned moved;
};

static void *use_handles(void *arg)
{
	struct mover *m = arg;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned h = m->first + (unsigned)rng_below(&m->rng, HANDLES);
		pheap_ref *slot = &table[h];
		size_t size = sizes[h % KINDS];
		char *object = pheap_ptr(heap, *slot);
		int code;

		must(!object || has_pattern(object, size, h));
		switch (rng_below(&m->rng, 6)) {
		case 0:
		case 1:
			if (object)
				must(!pheap_retire(heap, slot));
			break;
		case 2:
			if (object)
				break;
			object = pheap_alloc(heap, size);
			must(object);
			fill_pattern(object, size, h);
			must(!pheap_publish(heap, slot, object, 0));
			break;
		default:
			if (!object)
				break;
			code = pheap_move(heap, &slot, 1);
			must(code >= 0);
			m->moved += (unsigned)code;
		}
	}
	return NULL;
}

static void move_in_threads(void **state)
{
	struct mover movers[THREADS];
	unsigned moved = 0, n = 0;

	(void)state;
	begin();
	for (unsigned i = 0; i < THREADS; i++)
		movers[i] = (struct mover){i * HANDLES, rng_make(100 + i), 0};
	run_threads(THREADS, use_handles, movers, sizeof(movers[0]));
	for (unsigned i = 0; i < THREADS; i++)
		moved += movers[i].moved;
	for (unsigned h = 0; h < THREADS * HANDLES; h++)
		if (table[h]) {
			assert_true(has_pattern(pheap_ptr(heap, table[h]), sizes[h % KINDS], h));
			n++;
		}
	print_message("%u objects, %u moves\n", n, moved);
	assert_true(moved > 0);
	close_and_check(n);
}

static void move_errors(void **state)
{
	pheap_ref *slots[2], null = 0;

	(void)state;
	begin();
	for (unsigned i = 0; i < 200; i++)
		make_node(i);
	slots[0] = &table[0];
	assert_error(EINVAL, pheap_move(heap, slots, 0));
	assert_error(EINVAL, pheap_move(heap, NULL, 1));
	slots[1] = &table[4];
	assert_error(EINVAL, pheap_move(heap, slots, 2));
	slots[1] = &null;
	assert_error(EINVAL, pheap_move(heap, slots, 2));
	slots[0] = &table[OBJECTS - 1];
	assert_error(ENOENT, pheap_move(heap, slots, 1));
	close_and_check(200);
}

static void compact_errors(void **state)
{
	struct pheap_compact_report report = {.struct_size = 1};
	pheap_tx_t *tx;

	(void)state;
	begin();
	assert_error(EINVAL, pheap_compact(heap, NULL, &report));
	tx = assert_made(pheap_tx_begin(heap));
	assert_error(EBUSY, pheap_compact(heap, NULL, NULL));
	assert_ok(pheap_tx_abort(tx));
	assert_ok(pheap_compact(heap, NULL, NULL)); /* nothing to do */
	close_and_check(0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compact),     cmocka_unit_test(pinned),
		cmocka_unit_test(move),	       cmocka_unit_test(move_in_threads),
		cmocka_unit_test(move_errors), cmocka_unit_test(compact_errors),
	};
	int failed;

	test_init(argc, argv);
	failed = run_modes(MODE_PMEM | MODE_PROCESS, tests);
	traced = true;
	return failed + run_modes(MODE_PMEM | MODE_PROCESS, tests);
}
