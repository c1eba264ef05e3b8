/*
 * test-traced.c - traced pools as long as nothing crashes: what is chosen at create, that
 * all operations work on whatever is allocated, that a clean close keeps that and nothing
 * else, and each error with the state unchanged.
 */
#include "common.h"

#define POOL MIB(32)

static const size_t sizes[] = {8, 16, 48, 64, 256, 300, 4096, 5000, 65536, 300000, 1 << 20};

static pheap_t *make_traced(void)
{
	struct pheap_options options = options_of(POOL);

	options.flags |= PHEAP_TRACED;
	unlink(scratch("p"));
	return assert_made(pheap_create(scratch("p"), &options));
}

static pheap_t *heap;
static pheap_ref *root;

static void begin(void)
{
	heap = make_traced();
	root = pheap_root(heap);
}

static void reopen(void)
{
	heap = reopen_pool(heap, "p");
	root = pheap_root(heap);
}

static void *reserved(size_t size, uint64_t id)
{
	void *object = assert_made(pheap_alloc(heap, size));

	fill_pattern(object, size, id);
	return object;
}

static uint64_t published(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	assert_ok(pheap_get_space(heap, &space));
	assert_int_equal(space.unknown, 0);
	return space.objects;
}

/* Of an open traced heap the checker does not count objects. */
static void check_structure(void)
{
	assert_int_equal(check_clean(heap), 0);
}

/* What a check of the closed file counts. */
static uint64_t close_and_count(void)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};

	check_structure();
	close_pool(heap);
	assert_ok(pheap_check_file(scratch("p"), &result, NULL, NULL));
	return result.objects;
}

static void choose(void **state)
{
	struct pheap_options options = options_of(POOL);

	(void)state;
	heap = make_traced();
	assert_true(info_of(heap).traced);
	close_pool(heap);
	heap = open_pool("p");
	assert_true(info_of(heap).traced);
	close_pool(heap);
	close_pool(open_pool_flags("p", PHEAP_TRACED));

	close_pool(make_pool("linked", POOL));
	options.flags |= PHEAP_TRACED;
	assert_errno(EINVAL, pheap_open(scratch("linked"), &options));
	heap = open_pool("linked");
	assert_false(info_of(heap).traced);
	close_pool(heap);

	options = options_of(POOL);
	options.durability = PHEAP_VOLATILE;
	options.flags = PHEAP_TRACED;
	assert_errno(EINVAL, pheap_create(NULL, &options));
}

/* A clean close keeps what is allocated, linked or not, and nothing else. */
static void keep_allocated(void **state)
{
	void *kept[ELEMENTS(sizes)][8], *freed[ELEMENTS(sizes)][8];

	(void)state;
	begin();
	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		for (unsigned j = 0; j < (sizes[i] < 100000 ? 8 : 2); j++) {
			kept[i][j] = reserved(sizes[i], i * 8 + j);
			freed[i][j] = reserved(sizes[i], 1000);
			assert_ok(pheap_persist(heap, kept[i][j], sizes[i]));
		}
	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		for (unsigned j = 0; j < (sizes[i] < 100000 ? 8 : 2); j++)
			assert_ok(pheap_free(heap, freed[i][j]));
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) /* relative to the mapping */
		for (unsigned j = 0; j < (sizes[i] < 100000 ? 8 : 2); j++)
			kept[i][j] = (void *)(uintptr_t)pheap_ref_of(heap, kept[i][j]);
	assert_int_equal(close_and_count(), (ELEMENTS(sizes) - 2) * 8 + 4);

	heap = open_pool("p");
	assert_int_equal(published(), (ELEMENTS(sizes) - 2) * 8 + 4);
	for (unsigned i = 0; i < ELEMENTS(sizes); i++)
		for (unsigned j = 0; j < (sizes[i] < 100000 ? 8 : 2); j++) {
			void *object = pheap_ptr(heap, (pheap_ref)(uintptr_t)kept[i][j]);

			assert_true(has_pattern(object, sizes[i], i * 8 + j));
			assert_ok(pheap_free(heap, object));
			assert_error(EINVAL, pheap_free(heap, object));
		}
	assert_int_equal(published(), 0);
	assert_int_equal(close_and_count(), 0);
}

/* The bits that the last close left go with the slab; its memory serves another size. */
static void end_slabs(void **state)
{
	static void *objects[4096];
	size_t n;

	(void)state;
	begin();
	for (unsigned round = 0; round < 4; round++) {
		size_t size = sizes[round * 2 + 1];

		n = fill_pool(heap, size, objects, ELEMENTS(objects));
		for (size_t i = 0; i < n; i++)
			objects[i] = (void *)(uintptr_t)pheap_ref_of(heap, objects[i]);
		assert_int_equal(close_and_count(), n);
		heap = open_pool("p");
		for (size_t i = 0; i < n; i++) {
			void *object = pheap_ptr(heap, (pheap_ref)(uintptr_t)objects[i]);

			assert_ok(pheap_free(heap, object));
		}
		assert_ok(pheap_purge(heap, 0));
		check_structure();
		assert_int_equal(stats_of(heap).granules_slab, 0);
		reopen();
		assert_int_equal(published(), 0);
	}
	assert_int_equal(close_and_count(), 0);
}

/* Records may write into what is allocated, whether it is linked or not. */
static void write_records(void **state)
{
	uint64_t *object, *other;
	pheap_tx_t *tx;

	(void)state;
	begin();
	object = reserved(64, 1);
	assert_ok(pheap_set(heap, &object[0], 7));
	assert_ok(pheap_write(heap, &object[1], "sixteen letters!", 16));
	assert_int_equal(object[0], 7);
	assert_memory_equal(&object[1], "sixteen letters!", 16);
	assert_ok(pheap_set(heap, root, pheap_ref_of(heap, object)));

	tx = assert_made(pheap_tx_begin(heap));
	other = assert_made(pheap_tx_alloc(tx, 300));
	fill_pattern(other, 300, 2);
	assert_ok(pheap_tx_set(tx, &object[0], pheap_ref_of(heap, other)));
	assert_ok(pheap_tx_snapshot(tx, &object[4], 8));
	object[4] = 9;
	/* Its rollback would write into what comes there next. */
	assert_error(EINVAL, pheap_free(heap, object));
	assert_ok(pheap_tx_commit(tx));
	assert_int_equal(object[0], pheap_ref_of(heap, other));

	/* An object that nobody has published can be freed by a transaction, and replaced. */
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_free(tx, reserved(64, 3)));
	assert_ok(pheap_tx_retire(tx, &object[0]));
	assert_ok(pheap_tx_abort(tx));
	assert_true(has_pattern(other, 300, 2));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_retire(tx, &object[0]));
	assert_ok(pheap_tx_commit(tx));
	assert_error(EINVAL, pheap_free(heap, other));
	assert_ok(pheap_alloc_into(heap, &object[0], 40, NULL));
	assert_ok(pheap_resize(heap, &object[0], 4000));
	assert_ok(pheap_retire(heap, &object[0]));
	assert_ok(pheap_replace(heap, root, reserved(500, 4), 0));
	assert_true(has_pattern(pheap_ptr(heap, *root), 500, 4));
	assert_int_equal(close_and_count(), 2); /* one that the aborted transaction spared */
}

static void publish_and_retire(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) {
		void *object = reserved(sizes[i], i);

		assert_ok(pheap_publish(heap, root, object, 0));
		assert_error(EEXIST, pheap_publish(heap, root, reserved(16, 0), 0));
		assert_true(has_pattern(pheap_ptr(heap, *root), sizes[i], i));
		reopen();
		assert_true(has_pattern(pheap_ptr(heap, *root), sizes[i], i));
		assert_ok(pheap_retire(heap, root));
		assert_error(ENOENT, pheap_retire(heap, root));
		reopen();
		assert_int_equal(*root, 0);
		assert_int_equal(published(), i + 1);
	}
	/* Linked by the program: retired all the same. */
	assert_ok(pheap_set(heap, root, pheap_ref_of(heap, reserved(64, 1))));
	assert_ok(pheap_retire(heap, root));
	assert_int_equal(close_and_count(), ELEMENTS(sizes));
}

static void misuse(void **state)
{
	char *object;
	void *block;
	pheap_arena_t *arena;
	pheap_tx_t *tx;

	(void)state;
	begin();
	object = reserved(64, 1);
	assert_error(EINVAL, pheap_free(heap, object + 8));
	assert_error(EINVAL, pheap_set(heap, (uint64_t *)(void *)(object + 64 * 1024), 1));
	assert_ok(pheap_publish(heap, root, object, 0));
	assert_error(EINVAL, pheap_publish(heap, root, object, 0));
	tx = assert_made(pheap_tx_begin(heap));
	assert_error(EINVAL, pheap_tx_adopt(tx, object)); /* abort would free it */
	assert_ok(pheap_tx_abort(tx));
	assert_errno(EINVAL, pheap_realloc(heap, object, 1000));
	assert_ok(pheap_set(heap, root, 0));
	assert_ok(pheap_free(heap, object));
	assert_error(EINVAL, pheap_free(heap, object));
	assert_error(EINVAL, pheap_set(heap, (uint64_t *)(void *)object, 1));
	assert_error(EINVAL, pheap_publish(heap, root, object, 0));

	arena = assert_made(pheap_arena_create_in(heap, 0));
	block = assert_made(pheap_arena_alloc(arena, 100));
	assert_error(ENOTSUP, pheap_arena_seal(arena, root, block));
	pheap_arena_destroy(arena);
	assert_int_equal(close_and_count(), 0);
}

/* Pairs without a fence; a slab's birth takes one. */
static void no_fences(void **state)
{
	struct pheap_stats before;

	(void)state;
	begin();
	pheap_free(heap, reserved(64, 1));
	pheap_free(heap, reserved(1 << 20, 1));
	before = stats_of(heap);
	for (unsigned i = 0; i < 1000; i++) {
		pheap_free(heap, reserved(64, i));
		pheap_free(heap, reserved(1 << 20, i));
	}
	assert_int_equal(stats_of(heap).fences, before.fences);
	assert_int_equal(stats_of(heap).records, before.records);
	assert_int_equal(close_and_count(), 0);
}

/* ---- crashes ------------------------------------------------------------------- */

/* What is linked is there, what is not is free; in the crashed copy of the open pool. */
static void recover_leaves(void **state)
{
	pheap_t *copy, *kept;
	char name[16];

	(void)state;
	begin();
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) {
		pheap_ref *slot;

		snprintf(name, sizeof(name), "root %u", i);
		slot = assert_made(pheap_named_root(heap, name));
		assert_ok(pheap_publish(heap, slot, reserved(sizes[i], i), 0));
		for (unsigned j = 0; j < (sizes[i] < 100000 ? 20 : 3); j++)
			reserved(sizes[i], 77); /* linked nowhere */
	}
	copy = crash_pool("p");
	assert_true(info_of(copy).recovered);
	kept = heap;
	heap = copy;
	assert_int_equal(published(), ELEMENTS(sizes));
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) {
		pheap_ref *slot;

		snprintf(name, sizeof(name), "root %u", i);
		slot = assert_made(pheap_find_root(heap, name));
		assert_true(has_pattern(pheap_ptr(heap, *slot), sizes[i], i));
		if (i % 2)
			assert_ok(pheap_retire(heap, slot));
		else
			assert_ok(pheap_alloc_into(heap, pheap_named_root(heap, "more"), sizes[i],
						   NULL));
		if (i % 2 == 0)
			assert_ok(pheap_retire(heap, pheap_find_root(heap, "more")));
	}
	check_structure();
	close_pool(heap);
	heap = kept;
	close_pool(heap);
}

/* A list of typed nodes behind the root, each with two objects that nobody refers to. */
struct node {
	pheap_ref next, other;
	uint64_t number;
};

/* next behind a tag: what opens the pool does not know where to look. */
static void trace_tagged(void *object, uint64_t size, pheap_visit_fn *visit, void *arg)
{
	struct node *node = object;

	(void)size;
	visit(arg, &node->next);
}

static pheap_type_t *node_type(bool callback)
{
	static const uint32_t refs[] = {0, 8};
	struct pheap_type_info info = {.struct_size = sizeof(info),
				       .name = callback ? "tagged" : "node",
				       .version = 1,
				       .size = sizeof(struct node),
				       .refs = callback ? NULL : refs,
				       .nrefs = callback ? 0 : 2,
				       .trace = callback ? trace_tagged : NULL};

	return assert_made(pheap_type_register(heap, &info));
}

static void make_list(unsigned n, bool callbacks)
{
	pheap_ref last = 0;

	for (unsigned i = 0; i < n; i++) {
		pheap_type_t *type = node_type(callbacks && i % 3 == 2);
		struct node *node = assert_made(pheap_alloc_typed(type));

		*node = (struct node){.next = last, .other = 0, .number = i};
		last = pheap_ref_of(heap, node);
		assert_made(pheap_alloc_typed(type));
		reserved(100, i);
	}
	assert_ok(pheap_persist(heap, pheap_ptr(heap, last), sizeof(struct node)));
	assert_ok(pheap_set(heap, root, last));
}

static void recover_list(void **state)
{
	const unsigned n = 5000;
	pheap_t *kept;
	unsigned i = n;

	(void)state;
	begin();
	make_list(n, true);
	kept = heap;
	for (unsigned round = 0; round < 2; round++) {
		heap = crash_pool("p");
		root = pheap_root(heap);
		assert_true(info_of(heap).recovered);
		assert_int_equal(published(), n + 2); /* and what keeps two types */
		i = n;
		for (const struct node *node = pheap_ptr(heap, *root); node;
		     node = pheap_ptr(heap, node->next))
			assert_int_equal(node->number, --i);
		assert_int_equal(i, 0);
		close_pool(heap);
	}
	heap = kept;
	close_pool(heap);
}

/*
 * With a type whose callback nobody has given yet, words that are no references may lead to
 * what is free, and from there to what has become something else: that is no damage.
 */
static void stale_words(void **state)
{
	struct node *freed, *tagged, *target;
	void *other;

	(void)state;
	begin();
	target = assert_made(pheap_alloc_typed(node_type(false)));
	freed = assert_made(pheap_alloc_typed(node_type(false)));
	tagged = assert_made(pheap_alloc_typed(node_type(true)));
	*tagged = (struct node){.other = pheap_ref_of(heap, freed)}; /* an inactive member */
	*freed = (struct node){.next = pheap_ref_of(heap, target) + 8, .other = MIB(31) + 8};
	assert_ok(pheap_persist(heap, tagged, sizeof(*tagged)));
	assert_ok(pheap_persist(heap, freed, sizeof(*freed)));
	assert_ok(pheap_free(heap, freed));
	assert_ok(pheap_set(heap, root, pheap_ref_of(heap, tagged)));
	other = heap;
	heap = crash_pool("p");
	assert_int_equal(published(), 2 + 2); /* it keeps what may be referred to */
	close_pool(heap);
	heap = other;
	close_pool(heap);
}

/* The same after a clean close, where it is asked for; first only looked at. */
static void collect(void **state)
{
	struct pheap_options options = options_of(0);
	const unsigned n = 1000;

	(void)state;
	begin();
	make_list(n, true);
	assert_int_equal(close_and_count(), 3 * n + 2);
	heap = open_pool_flags("p", PHEAP_COLLECT | PHEAP_READONLY);
	assert_int_equal(published(), n + 2);
	close_pool(heap);
	heap = open_pool("p");
	assert_int_equal(published(), 3 * n + 2);
	close_pool(heap);
	heap = open_pool_flags("p", PHEAP_COLLECT);
	assert_false(info_of(heap).recovered);
	assert_int_equal(published(), n + 2);
	assert_int_equal(close_and_count(), n + 2);
	close_pool(make_pool("linked", POOL));
	options.flags |= PHEAP_COLLECT;
	assert_errno(EINVAL, pheap_open(scratch("linked"), &options));
}

/* A reference to no object: refused with the place, and the file is as it was. */
static void damaged_reference(void **state)
{
	static const pheap_ref bad[] = {8, UINT64_C(1) << 60, UINT64_MAX, 4096, MIB(31)};
	char *copy = scratch("damaged");

	(void)state;
	begin();
	make_list(1000, false);
	for (unsigned i = 0; i < ELEMENTS(bad); i++) {
		const struct node *node = pheap_ptr(heap, *root);
		struct pheap_check_result result = {.struct_size = sizeof(result)};
		struct pheap_options options = options_of(0);
		uint64_t hash;

		while (node->number != 601) /* of the type that says where */
			node = pheap_ptr(heap, node->next);
		copy_file(scratch("p"), copy);
		write_at(copy, &bad[i], sizeof(bad[i]),
			 (off_t)(pheap_ref_of(heap, node) + offsetof(struct node, other)));
		hash = file_hash(copy);
		assert_errno(EUCLEAN, pheap_open(copy, &options));
		assert_non_null(strstr(pheap_errormsg(), "refer"));
		options.flags |= PHEAP_READONLY;
		assert_errno(EUCLEAN, pheap_open(copy, &options));
		assert_error(EUCLEAN, pheap_check_file(copy, &result, NULL, NULL));
		assert_true(result.problems > 0);
		assert_true(hash == file_hash(copy));
	}
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choose),
		cmocka_unit_test(keep_allocated),
		cmocka_unit_test(end_slabs),
		cmocka_unit_test(write_records),
		cmocka_unit_test(publish_and_retire),
		cmocka_unit_test(misuse),
		cmocka_unit_test(no_fences),
		cmocka_unit_test(recover_leaves),
		cmocka_unit_test(recover_list),
		cmocka_unit_test(collect),
		cmocka_unit_test(stale_words),
		cmocka_unit_test(damaged_reference),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
