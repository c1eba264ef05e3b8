/*
 * test-count.c - reference counts: links, what dies with the last one, weak references,
 * transactions, threads.
 */
#include "common.h"

#define POOL MIB(16)

struct node {
	pheap_ref left, right, weak;
	uint64_t id;
};

static const uint32_t refs[] = {offsetof(struct node, left), offsetof(struct node, right)};
static const uint32_t weaks[] = {offsetof(struct node, weak)};
static const uint32_t one[] = {0};

static pheap_type_t *node_type(pheap_t *heap)
{
	const struct pheap_type_info info = {.struct_size = sizeof(info),
					     .name = "node",
					     .flags = PHEAP_TYPE_COUNTED,
					     .size = sizeof(struct node),
					     .refs = refs,
					     .nrefs = 2,
					     .weak = weaks,
					     .nweak = 1};

	return assert_made(pheap_type_register(heap, &info));
}

static pheap_type_t *array_type(pheap_t *heap)
{
	const struct pheap_type_info info = {.struct_size = sizeof(info),
					     .name = "array",
					     .flags = PHEAP_TYPE_COUNTED | PHEAP_TYPE_ARRAY,
					     .size = 8,
					     .refs = one,
					     .nrefs = 1};

	return assert_made(pheap_type_register(heap, &info));
}

static struct node *make(pheap_t *heap, uint64_t id)
{
	struct node *node = assert_made(pheap_alloc_typed(node_type(heap)));

	node->id = id;
	return node;
}

static pheap_ref *root(pheap_t *heap, const char *name)
{
	return assert_made(pheap_named_root(heap, name));
}

static pheap_ref ref_of(pheap_t *heap, const void *ptr)
{
	return pheap_ref_of(heap, ptr);
}

static void publish(pheap_t *heap, const char *name, void *object)
{
	assert_ok(pheap_publish(heap, root(heap, name), object, 0));
}

static void expect(pheap_t *heap, const void *object, uint64_t strong, uint64_t weak)
{
	uint64_t s = 99, w = 99;

	assert_ok(pheap_counts(heap, object, &s, &w));
	assert_int_equal(s, strong);
	assert_int_equal(w, weak);
}

static uint64_t objects(pheap_t *heap)
{
	return check_clean(heap) - 2; /* two types */
}

static pheap_t *pool(void)
{
	pheap_t *heap = make_pool("p", POOL);

	node_type(heap);
	array_type(heap);
	return heap;
}

/* ---- links -------------------------------------------------------------------------- */

static void counted(void **state)
{
	pheap_t *heap = pool();
	struct node *a = make(heap, 1), *b = make(heap, 2);

	(void)state;
	publish(heap, "a", a);
	expect(heap, a, 1, 0);
	b->left = b->right = ref_of(heap, a);
	publish(heap, "b", b);
	expect(heap, a, 3, 0);
	expect(heap, b, 1, 0);
	assert_ok(pheap_link(heap, root(heap, "c"), ref_of(heap, b)));
	expect(heap, b, 2, 0);
	assert_ok(pheap_link(heap, root(heap, "c"), ref_of(heap, b)));
	expect(heap, b, 2, 0);
	assert_ok(pheap_link(heap, root(heap, "c"), ref_of(heap, a)));
	expect(heap, b, 1, 0);
	expect(heap, a, 4, 0);
	assert_ok(pheap_retire(heap, root(heap, "a")));
	assert_true(*root(heap, "a") == PHEAP_NULL);
	expect(heap, a, 3, 0);
	heap = reopen_pool(heap, "p");
	a = pheap_ptr(heap, *root(heap, "c"));
	b = pheap_ptr(heap, *root(heap, "b"));
	expect(heap, a, 3, 0);
	assert_int_equal(objects(heap), 2);
	assert_ok(pheap_link(heap, root(heap, "b"), PHEAP_NULL)); /* with it its two references */
	assert_int_equal(objects(heap), 1);
	expect(heap, a, 1, 0);
	assert_ok(pheap_link(heap, root(heap, "c"), PHEAP_NULL));
	assert_int_equal(objects(heap), 0);
	assert_error(EINVAL, pheap_counts(heap, a, NULL, NULL));
	close_pool(heap);
}

static void replaced(void **state)
{
	pheap_t *heap = pool();
	struct node *a = make(heap, 1), *b = make(heap, 2), *c = make(heap, 3);

	(void)state;
	publish(heap, "a", a);
	b->left = ref_of(heap, a);
	assert_ok(pheap_replace(heap, root(heap, "a"), b, 0)); /* a lives on in b */
	expect(heap, a, 1, 0);
	expect(heap, b, 1, 0);
	assert_ok(pheap_replace(heap, root(heap, "a"), c, 0)); /* both go */
	assert_int_equal(objects(heap), 1);
	expect(heap, c, 1, 0);
	assert_error(EEXIST, pheap_publish(heap, root(heap, "a"), make(heap, 4), 0));
	assert_error(ENOENT, pheap_replace(heap, root(heap, "b"), make(heap, 5), 0));
	assert_error(ENOENT, pheap_retire(heap, root(heap, "b")));
	close_pool(heap);
}

static void misused(void **state)
{
	pheap_t *heap = pool();
	struct node *a = make(heap, 1), *b = make(heap, 2), *c = make(heap, 3);
	char *plain;

	(void)state;
	publish(heap, "a", a);
	assert_ok(pheap_alloc_into(heap, root(heap, "plain"), 64, NULL));
	plain = pheap_ptr(heap, *root(heap, "plain"));
	assert_error(EINVAL, pheap_link(heap, root(heap, "b"), ref_of(heap, plain)));
	assert_error(EINVAL, pheap_link(heap, root(heap, "b"), ref_of(heap, b)));
	assert_error(EINVAL, pheap_link(heap, root(heap, "b"), ref_of(heap, a) + 8));
	assert_error(EINVAL, pheap_link(heap, root(heap, "b"), 12345));
	assert_error(EINVAL, pheap_link(heap, root(heap, "plain"), ref_of(heap, a)));
	assert_error(EINVAL, pheap_link(heap, &b->left, ref_of(heap, a)));
	assert_error(EINVAL, pheap_link(heap, &a->id, ref_of(heap, a)));
	assert_error(EINVAL, pheap_link(heap, &a->weak, ref_of(heap, a)));
	assert_error(EINVAL, pheap_weak_link(heap, &a->left, ref_of(heap, a)));
	assert_error(EINVAL, pheap_set(heap, &a->left, 0));
	assert_error(EINVAL, pheap_set(heap, &a->weak, 0));
	assert_ok(pheap_set(heap, &a->id, 7));
	assert_error(EINVAL, pheap_write(heap, &a->weak, "12345678", 8));
	assert_error(EINVAL, pheap_write(heap, (char *)&a->weak + 7, "12345678", 8));
	assert_ok(pheap_write(heap, &a->id, "12345678", 8));
	assert_error(EINVAL, pheap_alloc_into(heap, &a->left, 64, NULL));
	assert_error(EINVAL, pheap_publish(heap, &a->weak, b, 0));
	assert_error(EINVAL, pheap_replace(heap, root(heap, "plain"), b, 0));
	assert_error(EINVAL, pheap_replace(heap, root(heap, "a"), pheap_alloc(heap, 64), 0));
	assert_error(EINVAL, pheap_resize(heap, root(heap, "a"), 200));
	c->left = ref_of(heap, plain); /* what a counted object refers to is counted */
	assert_error(EINVAL, pheap_publish(heap, root(heap, "b"), c, 0));
	assert_error(EINVAL, pheap_counts(heap, plain, NULL, NULL));
	expect(heap, a, 1, 0);
	assert_int_equal(objects(heap), 2);
	close_pool(heap);
}

/* ---- what dies ------------------------------------------------------------------------ */

static void *deep(pheap_t *heap, unsigned n)
{
	struct node *node;

	publish(heap, "deep", make(heap, 0));
	for (unsigned i = 1; i < n; i++) {
		node = make(heap, i);
		node->left = *root(heap, "deep");
		assert_ok(pheap_replace(heap, root(heap, "deep"), node, 0));
	}
	return pheap_ptr(heap, *root(heap, "deep"));
}

/* A sanitizer makes each step some twenty times as long. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define DEEP 20000u
#else
#define DEEP 1000000u
#endif

static void a_deep_chain(void **state)
{
	pheap_t *heap = make_pool("p", MIB(64));
	unsigned n = strcmp(mode->name, "msync") ? DEEP : 20000;

	(void)state;
	node_type(heap);
	array_type(heap);
	deep(heap, n);
	assert_int_equal(objects(heap), n);
	assert_ok(pheap_retire(heap, root(heap, "deep")));
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* An array of more references than a step has, and an object shared by many. */
static void wide_and_shared(void **state)
{
	pheap_t *heap = pool();
	struct node *leaf = make(heap, 0);
	pheap_ref *array = assert_made(pheap_alloc_array(array_type(heap), 5000));

	(void)state;
	publish(heap, "leaf", leaf);
	for (unsigned i = 0; i < 5000; i++)
		array[i] = i % 3 ? ref_of(heap, leaf) : PHEAP_NULL;
	publish(heap, "array", array);
	expect(heap, leaf, 1 + 3333, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct node *own = make(heap, i);

		assert_ok(pheap_publish(heap, &array[3 * i], own, 0));
		expect(heap, own, 1, 0);
	}
	assert_int_equal(objects(heap), 102);
	assert_ok(pheap_retire(heap, root(heap, "array")));
	expect(heap, leaf, 1, 0);
	assert_int_equal(objects(heap), 1);
	assert_ok(pheap_retire(heap, root(heap, "leaf")));
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* Objects of every size, up to those of their own span: the counts are elsewhere. */
static void all_sizes(void **state)
{
	static const uint64_t sizes[] = {16,   24,   64,    1000,   1152,   1280,
					 4096, 3328, 65536, 100000, 229376, 400000};
	pheap_t *heap = make_pool("p", MIB(64));
	char name[16];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(sizes); i++) {
		struct pheap_type_info info = {.struct_size = sizeof(info),
					       .name = name,
					       .flags = PHEAP_TYPE_COUNTED,
					       .size = sizes[i],
					       .refs = one,
					       .nrefs = 1};
		unsigned n = sizes[i] > 10000 ? 5 : 3000;
		pheap_type_t *type;
		pheap_ref last = 0;

		snprintf(name, sizeof(name), "%u", i);
		type = assert_made(pheap_type_register(heap, &info));
		for (unsigned k = 0; k < n; k++) {
			char *object = assert_made(pheap_alloc_typed(type));

			memset(object, (int)k, sizes[i]);
			memcpy(object, &last, 8);
			if (k)
				assert_ok(pheap_replace(heap, root(heap, "r"), object, 0));
			else
				publish(heap, "r", object);
			last = ref_of(heap, object);
		}
		assert_int_equal(check_clean(heap), i + 1 + n);
		heap = reopen_pool(heap, "p");
		assert_int_equal(check_clean(heap), i + 1 + n);
		for (unsigned k = n; last; k--) {
			char *object = pheap_ptr(heap, last);

			expect(heap, object, 1, 0);
			memcpy(&last, object, 8);
			assert_true(object[8] == (char)(k - 1) &&
				    object[sizes[i] - 1] == (char)(k - 1));
		}
		assert_ok(pheap_retire(heap, root(heap, "r")));
		assert_int_equal(check_clean(heap), i + 1);
		assert_ok(pheap_purge(heap, 0));
		check_clean(heap);
	}
	close_pool(heap);
}

/* ---- weak references --------------------------------------------------------------------- */

static void weak(void **state)
{
	pheap_t *heap = pool();
	struct node *a = make(heap, 1), *b = make(heap, 2);

	(void)state;
	publish(heap, "a", a);
	b->weak = ref_of(heap, a);
	publish(heap, "b", b);
	expect(heap, a, 1, 1);
	assert_error(ENOENT, pheap_weak_get(heap, &a->weak, root(heap, "c")));
	assert_ok(pheap_weak_get(heap, &b->weak, root(heap, "c")));
	expect(heap, a, 2, 1);
	assert_ok(pheap_link(heap, root(heap, "c"), PHEAP_NULL));
	assert_ok(pheap_weak_link(heap, root(heap, "w"), ref_of(heap, a)));
	expect(heap, a, 1, 2);
	assert_ok(pheap_retire(heap, root(heap, "a")));
	expect(heap, a, 0, 2); /* dead, and its memory stays */
	assert_int_equal(objects(heap), 2);
	assert_error(ENOENT, pheap_weak_get(heap, &b->weak, root(heap, "c")));
	assert_error(EINVAL, pheap_link(heap, root(heap, "c"), b->weak));
	assert_error(EINVAL, pheap_link(heap, &a->left, ref_of(heap, b)));
	assert_error(EINVAL, pheap_weak_link(heap, root(heap, "c"), b->weak));
	heap = reopen_pool(heap, "p");
	b = pheap_ptr(heap, *root(heap, "b"));
	assert_error(ENOENT, pheap_weak_get(heap, &b->weak, root(heap, "c")));
	assert_ok(pheap_weak_link(heap, root(heap, "w"), PHEAP_NULL));
	assert_int_equal(objects(heap), 2);
	assert_ok(pheap_retire(heap, root(heap, "b"))); /* with the last weak reference */
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* Parent and child, the usual cycle of a strong and a weak reference; and one to itself. */
static void weak_cycles(void **state)
{
	pheap_t *heap = pool();
	struct node *parent = make(heap, 1), *child = make(heap, 2);

	(void)state;
	publish(heap, "p", parent);
	child->weak = ref_of(heap, parent);
	assert_ok(pheap_publish(heap, &parent->left, child, 0));
	assert_ok(pheap_weak_link(heap, &parent->weak, ref_of(heap, parent)));
	expect(heap, parent, 1, 2);
	assert_ok(pheap_retire(heap, root(heap, "p")));
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* ---- transactions -------------------------------------------------------------------------- */

static void in_transactions(void **state)
{
	pheap_t *heap = pool();
	struct node *a, *b, *kept = make(heap, 9);
	pheap_tx_t *tx;

	(void)state;
	publish(heap, "kept", kept);
	for (unsigned commit = 0; commit < 2; commit++) {
		tx = assert_made(pheap_tx_begin(heap));
		a = assert_made(pheap_tx_alloc_typed(tx, node_type(heap)));
		b = assert_made(pheap_tx_alloc_typed(tx, node_type(heap)));
		a->id = b->id = 5;
		a->left = ref_of(heap, b);
		assert_ok(pheap_tx_link(tx, &b->left, ref_of(heap, kept)));
		assert_ok(pheap_tx_link(tx, root(heap, "a"), ref_of(heap, a)));
		assert_ok(pheap_tx_link(tx, root(heap, "b"), ref_of(heap, b)));
		assert_made(pheap_tx_alloc_typed(tx, node_type(heap))); /* nobody refers to it */
		assert_error(EINVAL, pheap_tx_free(tx, kept));
		assert_error(EINVAL, pheap_tx_set(tx, &kept->left, 0));
		assert_error(EINVAL, pheap_tx_link(tx, &kept->id, 0));
		assert_error(EINVAL, pheap_tx_link(tx, root(heap, "a"), 12345));
		assert_ok(commit ? pheap_tx_commit(tx) : pheap_tx_abort(tx));
		assert_int_equal(objects(heap), commit ? 3 : 1);
		expect(heap, kept, 1 + commit, 0);
	}
	expect(heap, a, 1, 0);
	expect(heap, b, 2, 0);
	/* Slots are exchanged, and one is set twice. */
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_link(tx, root(heap, "a"), ref_of(heap, kept)));
	assert_ok(pheap_tx_link(tx, root(heap, "a"), ref_of(heap, b)));
	assert_ok(pheap_tx_link(tx, root(heap, "b"), ref_of(heap, a)));
	assert_ok(pheap_tx_retire(tx, root(heap, "kept")));
	assert_ok(pheap_tx_commit(tx));
	expect(heap, a, 1, 0);
	expect(heap, b, 2, 0);
	expect(heap, kept, 1, 0);
	heap = reopen_pool(heap, "p");
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_link(tx, root(heap, "a"), PHEAP_NULL));
	assert_ok(pheap_tx_link(tx, root(heap, "b"), PHEAP_NULL));
	assert_ok(pheap_tx_commit(tx)); /* all of them go */
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* More than a record in a ring has room for. */
static void large_transactions(void **state)
{
	enum { N = 2000 };
	pheap_t *heap = pool();
	struct node *kept = make(heap, 9), *node;
	pheap_ref *array = assert_made(pheap_alloc_array(array_type(heap), N));
	pheap_tx_t *tx;

	(void)state;
	publish(heap, "kept", kept);
	publish(heap, "array", array);
	for (unsigned round = 0; round < 2; round++) {
		tx = assert_made(pheap_tx_begin(heap));
		for (unsigned i = 0; i < N; i++) {
			node = assert_made(pheap_tx_alloc_typed(tx, node_type(heap)));
			node->id = i;
			node->left = ref_of(heap, kept);
			assert_ok(pheap_tx_link(tx, &array[i], ref_of(heap, node)));
		}
		assert_ok(pheap_tx_commit(tx));
		assert_int_equal(objects(heap), N + 2);
		expect(heap, kept, 1 + N, 0);
	}
	assert_ok(pheap_retire(heap, root(heap, "array")));
	expect(heap, kept, 1, 0);
	assert_int_equal(objects(heap), 1);
	close_pool(heap);
}

/* What an open transaction has snapshotted is freed when that has ended. */
static void snapshotted(void **state)
{
	pheap_t *heap = pool();
	struct node *a = make(heap, 1), *b = make(heap, 2);
	pheap_tx_t *tx;

	(void)state;
	b->left = 0;
	publish(heap, "a", a);
	assert_ok(pheap_publish(heap, &a->left, b, 0));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, &b->id, 8));
	assert_ok(pheap_retire(heap, root(heap, "a")));
	assert_error(EINVAL, pheap_counts(heap, a, NULL, NULL));
	expect(heap, b, 0, 0); /* dead, and there */
	assert_error(EINVAL, pheap_count_drain(heap));
	assert_ok(pheap_tx_commit(tx));
	assert_ok(pheap_count_drain(heap));
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* ---- crash in the middle ------------------------------------------------------------------------
 */

static void goes_on_after_a_crash(void **state)
{
	enum { N = 3000 };
	pheap_t *heap = pool(), *crashed;
	pheap_tx_t *tx;
	struct node *node;

	(void)state;
	node = deep(heap, N);
	for (unsigned i = 0; i < N / 2; i++)
		node = pheap_ptr(heap, node->left);
	tx = assert_made(pheap_tx_begin(heap)); /* holds the second half up */
	assert_ok(pheap_tx_snapshot(tx, &node->id, 8));
	assert_ok(pheap_retire(heap, root(heap, "deep")));
	expect(heap, node, 0, 0);
	crashed = crash_pool("p"); /* rolled back, and so many freed by the open */
	assert_int_equal(check_clean(crashed) - 2, N - N / 2 - 256);
	publish(crashed, "other", make(crashed, 1)); /* some more at least by this */
	assert_true(check_clean(crashed) - 2 <= N - N / 2 - 256 - 16 + 1);
	assert_ok(pheap_count_drain(crashed));
	assert_int_equal(check_clean(crashed) - 2, 1);
	close_pool(crashed);
	assert_ok(pheap_tx_abort(tx));
	assert_ok(pheap_count_drain(heap));
	assert_int_equal(objects(heap), 0);
	close_pool(heap);
}

/* ---- threads
 * --------------------------------------------------------------------------------------- */

struct job {
	pheap_t *heap;
	pheap_type_t *type;
	pheap_ref *slots;
	unsigned number;
};

#define SLOTS 20u

static void *change(void *arg)
{
	struct job *job = arg;
	struct rng rng = rng_make(job->number);

	for (unsigned i = 0; i < 4000; i++) {
		pheap_ref *slot = &job->slots[rng_below(&rng, SLOTS)];
		pheap_ref ref =
			__atomic_load_n(&job->slots[rng_below(&rng, SLOTS)], __ATOMIC_ACQUIRE);
		struct node *node;
		int err;

		switch (rng_below(&rng, 4)) {
		case 0:
			node = pheap_alloc_typed(job->type);
			must(node);
			err = pheap_publish(job->heap, slot, node, 0);
			must(!err || err == -EEXIST);
			must(!err || !pheap_free(job->heap, node));
			break;
		case 1: /* of an object that may be gone by now, or be another */
			err = pheap_link(job->heap, slot, ref);
			must(!err || err == -EINVAL);
			break;
		case 2:
			err = pheap_link(job->heap, slot, PHEAP_NULL);
			must(!err);
			break;
		default:
			node = pheap_alloc_typed(job->type);
			must(node);
			err = pheap_replace(job->heap, slot, node, 0);
			must(!err || err == -ENOENT);
			must(!err || !pheap_free(job->heap, node));
		}
	}
	return NULL;
}

static void shared_by_threads(void **state)
{
	pheap_t *heap = pool();
	struct job jobs[4];
	pheap_ref *slots;
	struct pheap_object object;
	uint64_t cursor = 0, strong, sum = 0;

	(void)state;
	assert_ok(pheap_alloc_into(heap, root(heap, "slots"), SLOTS * 8, NULL));
	slots = pheap_ptr(heap, *root(heap, "slots"));
	for (unsigned i = 0; i < ELEMENTS(jobs); i++)
		jobs[i] = (struct job){heap, node_type(heap), slots, i};
	run_threads(ELEMENTS(jobs), change, jobs, sizeof(jobs[0]));
	check_clean(heap);
	while (pheap_object_next(heap, node_type(heap), &cursor, &object)) {
		uint64_t found = 0;

		for (unsigned i = 0; i < SLOTS; i++)
			found += slots[i] == object.ref;
		assert_ok(pheap_counts(heap, object.ptr, &strong, NULL));
		assert_int_equal(strong, found);
		sum += found;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		sum -= slots[i] != PHEAP_NULL;
	assert_int_equal(sum, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		assert_ok(pheap_link(heap, &slots[i], PHEAP_NULL));
	assert_int_equal(objects(heap), 1);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted),
		cmocka_unit_test(replaced),
		cmocka_unit_test(misused),
		cmocka_unit_test(a_deep_chain),
		cmocka_unit_test(wide_and_shared),
		cmocka_unit_test(all_sizes),
		cmocka_unit_test(weak),
		cmocka_unit_test(weak_cycles),
		cmocka_unit_test(in_transactions),
		cmocka_unit_test(large_transactions),
		cmocka_unit_test(snapshotted),
		cmocka_unit_test(goes_on_after_a_crash),
		cmocka_unit_test(shared_by_threads),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
