/*
 * test-typed.c - objects of a type: reserved, published, resized, met by iteration.
 */
#include "common.h"

#define POOL MIB(8)

static const uint32_t two[] = {0, 8};

static struct pheap_type_info info_named(const char *name)
{
	return (struct pheap_type_info){.struct_size = sizeof(struct pheap_type_info),
					.name = name,
					.version = 1,
					.size = 64,
					.refs = two,
					.nrefs = 2};
}

static pheap_type_t *make_type(pheap_t *heap, const char *name)
{
	struct pheap_type_info info = info_named(name);

	return assert_made(pheap_type_register(heap, &info));
}

/* ---- objects of a type ---------------------------------------------------------------- */

static pheap_type_t *make_array_type(pheap_t *heap, const char *name, uint64_t size, size_t nrefs)
{
	struct pheap_type_info info = info_named(name);

	info.flags = PHEAP_TYPE_ARRAY;
	info.size = size;
	info.nrefs = nrefs;
	return assert_made(pheap_type_register(heap, &info));
}

static pheap_type_t *make_sized_type(pheap_t *heap, const char *name, uint64_t size)
{
	struct pheap_type_info info = info_named(name);

	info.size = size;
	return assert_made(pheap_type_register(heap, &info));
}

static void publish_in(pheap_t *heap, const char *root, void *object)
{
	assert_ok(pheap_publish(heap, assert_made(pheap_named_root(heap, root)),
				assert_made(object), 0));
}

/* Which type an object has is known whoever reserved it, and after every open. */
static void types_of_objects(void **state)
{
	static const uint64_t sizes[] = {16, 24, 64, 1000, 4096, 65536, 100000, 300000};
	pheap_t *heap = make_pool("p", MIB(16));
	pheap_type_t *types[ELEMENTS(sizes)];
	char name[16];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		char *object, *other;

		snprintf(name, sizeof(name), "%zu", i);
		types[i] = make_sized_type(heap, name, sizes[i]);
		object = assert_made(pheap_alloc_typed(types[i]));
		other = assert_made(pheap_alloc(heap, sizes[i]));
		assert_true(pheap_usable_size(heap, object) >= sizes[i]);
		assert_ptr_equal(pheap_type_of(heap, object), types[i]);
		errno = EIO;
		assert_null(pheap_type_of(heap, other));
		assert_int_equal(errno, 0);
		assert_errno(EINVAL, pheap_type_of(heap, object + 8));
		assert_ok(pheap_free(heap, other));
		assert_errno(EINVAL, pheap_type_of(heap, other));
		publish_in(heap, name, object);
	}
	for (int round = 0; round < 3; round++) {
		check_clean(heap);
		heap = reopen_pool(heap, "p");
		for (size_t i = 0; i < ELEMENTS(sizes); i++) {
			pheap_type_t *type;
			pheap_ref *root;

			snprintf(name, sizeof(name), "%zu", i);
			root = pheap_find_root(heap, name);
			type = assert_made(pheap_type_find(heap, name));
			assert_ptr_equal(pheap_type_of(heap, pheap_ptr(heap, *root)), type);
			assert_ok(pheap_retire(heap, root));
			publish_in(heap, name, pheap_alloc_typed(type));
			assert_ptr_equal(pheap_type_of(heap, pheap_ptr(heap, *root)), type);
		}
	}
	close_pool(heap);
}

/* No granule has objects of two types, nor of a type and of none. */
static void slabs_are_of_one_type(void **state)
{
	enum { N = 6000 };
	static void *objects[N];
	pheap_t *heap = make_pool("p", MIB(8));
	pheap_type_t *types[3] = {NULL, make_sized_type(heap, "a", 64),
				  make_sized_type(heap, "b", 60 + 4)};
	pheap_type_t *of[128] = {NULL};
	bool seen[128] = {false};
	struct rng rng = rng_make(1);

	(void)state;
	memset(objects, 0, sizeof(objects));
	for (size_t i = 0; i < N; i++) {
		unsigned t = (unsigned)rng_below(&rng, 3);

		if (objects[i % 2000])
			assert_ok(pheap_free(heap, objects[i % 2000]));
		objects[i % 2000] =
			assert_made(types[t] ? pheap_alloc_typed(types[t]) : pheap_alloc(heap, 64));
	}
	for (size_t i = 0; i < 2000; i++) {
		size_t granule = pheap_ref_of(heap, objects[i]) / KIB(64);
		pheap_type_t *type = pheap_type_of(heap, objects[i]);

		assert_true(!seen[granule] || of[granule] == type);
		seen[granule] = true;
		of[granule] = type;
	}
	close_pool(heap);
}

static void zero_callback(void *object, uint64_t size, pheap_visit_fn *visit, void *arg)
{
	(void)object, (void)size, (void)visit, (void)arg;
}

static bool is_zero(const void *ptr, size_t n)
{
	const char *s = ptr;

	return !n || (!s[0] && !memcmp(s, s + 1, n - 1));
}

/* Whatever the memory held before. */
static void references_are_null(void **state)
{
	pheap_t *heap = make_pool("p", MIB(8));
	struct pheap_type_info info = info_named("called");
	pheap_type_t *node = make_type(heap, "node"), *array, *plain, *called;

	(void)state;
	array = make_array_type(heap, "array", 24, 2);
	plain = make_array_type(heap, "plain", 5, 0);
	info.nrefs = 0;
	info.trace = zero_callback;
	called = assert_made(pheap_type_register(heap, &info));
	for (size_t i = 0; i < 200; i++) {
		size_t n = 1 + i * i, block;
		uint64_t *object = assert_made(pheap_alloc_typed(node));
		char *elements = assert_made(pheap_alloc_array(array, n));
		char *zero = assert_made(pheap_zalloc_array(plain, n));
		char *whole = assert_made(pheap_alloc_typed(called));

		assert_true(object[0] == 0 && object[1] == 0);
		memset(object, 0xff, 64);
		block = pheap_usable_size(heap, elements);
		assert_true(block >= n * 24);
		assert_true(is_zero(elements, block));
		memset(elements, 0xff, block);
		assert_true(is_zero(zero, 5 * n));
		memset(zero, 0xff, 5 * n);
		assert_true(is_zero(whole, pheap_usable_size(heap, whole)));
		memset(whole, 0xff, 64);
		assert_ok(pheap_free(heap, object));
		assert_ok(pheap_free(heap, elements));
		assert_ok(pheap_free(heap, zero));
		assert_ok(pheap_free(heap, whole));
	}
	assert_true(is_zero(assert_made(pheap_zalloc_typed(node)), 64));
	close_pool(heap);
}

static void misused(void **state)
{
	pheap_t *heap = make_pool("p", MIB(8));
	pheap_type_t *node = make_type(heap, "node"), *array = make_array_type(heap, "a", 24, 2);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	char *object = assert_made(pheap_alloc_typed(node));

	(void)state;
	assert_errno(EINVAL, pheap_alloc_typed(NULL));
	assert_errno(EINVAL, pheap_alloc_typed(array));
	assert_errno(EINVAL, pheap_alloc_array(node, 1));
	assert_errno(EINVAL, pheap_alloc_array(array, 0));
	assert_errno(ENOSPC, pheap_alloc_array(array, SIZE_MAX / 8));
	assert_errno(ENOSPC, pheap_alloc_array(array, MIB(1)));
	assert_errno(EINVAL, pheap_tx_alloc_typed(tx, array));
	assert_errno(EINVAL, pheap_tx_alloc_typed(tx, NULL));
	assert_errno(EINVAL, pheap_tx_alloc_array(tx, node, 1));
	assert_errno(EINVAL, pheap_realloc(heap, object, 32));
	assert_ok(pheap_tx_abort(tx));
	assert_ok(pheap_free(heap, object));
	assert_error(EINVAL, pheap_free(heap, object));
	close_pool(heap);
}

static void resized(void **state)
{
	pheap_t *heap = make_pool("p", MIB(8));
	pheap_type_t *array = make_array_type(heap, "a", 24, 2);
	pheap_ref *root = pheap_root(heap);
	uint64_t *elements = assert_made(pheap_zalloc_array(array, 3));
	size_t block;

	(void)state;
	elements[2] = 7;
	assert_errno(EINVAL, pheap_realloc(heap, elements, 100));
	elements = assert_made(pheap_realloc(heap, elements, 24 * 100));
	assert_ptr_equal(pheap_type_of(heap, elements), array);
	assert_int_equal(elements[2], 7);
	block = pheap_usable_size(heap, elements);
	assert_true(is_zero(elements + 9, block - 72));
	assert_ok(pheap_publish(heap, root, elements, 0));
	assert_error(EINVAL, pheap_resize(heap, root, 100));
	for (size_t n = 50; n < 40000; n *= 3) {
		assert_ok(pheap_resize(heap, root, 24 * n));
		elements = pheap_ptr(heap, *root);
		assert_ptr_equal(pheap_type_of(heap, elements), array);
		assert_int_equal(elements[2], 7);
		assert_true(is_zero(elements + 9, pheap_usable_size(heap, elements) - 72));
	}
	check_clean(heap);
	close_pool(heap);
}

static void in_transactions(void **state)
{
	pheap_t *heap = make_pool("p", MIB(8));
	pheap_type_t *node = make_type(heap, "node"), *array = make_array_type(heap, "a", 24, 2);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	uint64_t *object, *big;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		object = assert_made(pheap_tx_alloc_typed(tx, node));
		big = assert_made(pheap_tx_alloc_array(tx, array, 20000));
		assert_true(object[0] == 0 && object[1] == 0);
		object[0] = pheap_ref_of(heap, big);
		assert_ok(pheap_tx_set(tx, pheap_root(heap), pheap_ref_of(heap, object)));
		if (round)
			assert_ok(pheap_tx_commit(tx));
		else
			assert_ok(pheap_tx_abort(tx));
		if (!round) {
			assert_int_equal(check_clean(heap), 2);
			tx = assert_made(pheap_tx_begin(heap));
		}
	}
	assert_int_equal(check_clean(heap), 4);
	heap = reopen_pool(heap, "p");
	object = pheap_ptr(heap, *pheap_root(heap));
	assert_ptr_equal(pheap_type_of(heap, object), pheap_type_find(heap, "node"));
	assert_ptr_equal(pheap_type_of(heap, pheap_ptr(heap, object[0])),
			 pheap_type_find(heap, "a"));
	close_pool(heap);
}

/* The spans of large objects that were freed serve their type again, and others once they
 * have gone back to the pool. */
static void large_ones_of_many_types(void **state)
{
	pheap_t *heap = make_pool("p", MIB(8));
	pheap_type_t *types[4];
	char name[8] = "t0";
	struct rng rng = rng_make(2);

	(void)state;
	for (unsigned t = 0; t < 4; t++, name[1]++)
		types[t] = make_sized_type(heap, name, 400000);
	for (unsigned i = 0; i < 600; i++) {
		unsigned t = (unsigned)rng_below(&rng, 5);
		void *object = assert_made(t < 4 ? pheap_alloc_typed(types[t])
						 : pheap_alloc(heap, 400000));
		pheap_ref *root;

		snprintf(name, sizeof(name), "r%u", (unsigned)rng_below(&rng, 8));
		root = assert_made(pheap_named_root(heap, name));
		assert_ptr_equal(pheap_type_of(heap, object), t < 4 ? types[t] : NULL);
		if (rng_below(&rng, 4) == 0)
			assert_ok(pheap_free(heap, object));
		else if (*root)
			assert_ok(pheap_replace(heap, root, object, 0));
		else
			assert_ok(pheap_publish(heap, root, object, 0));
		if (i % 100 == 99) {
			check_clean(heap);
			heap = reopen_pool(heap, "p");
			for (t = 0; t < 4; t++) {
				name[0] = 't', name[1] = (char)('0' + t), name[2] = 0;
				types[t] = assert_made(pheap_type_find(heap, name));
			}
		}
	}
	close_pool(heap);
}

/* ---- iteration ------------------------------------------------------------------------------ */

struct seen {
	uint64_t objects, bytes, of[3], none;
};

static struct seen iterate(pheap_t *heap, pheap_type_t *type, pheap_type_t *const *types,
			   unsigned n)
{
	struct pheap_object object;
	struct seen seen = {0};
	uint64_t cursor = 0;
	char *last = NULL;

	while (pheap_object_next(heap, type, &cursor, &object)) {
		assert_true((char *)object.ptr > last);
		last = object.ptr;
		assert_ptr_equal(pheap_ptr(heap, object.ref), object.ptr);
		assert_int_equal(pheap_usable_size(heap, object.ptr), object.size);
		assert_ptr_equal(pheap_type_of(heap, object.ptr), object.type);
		assert_true(!type || object.type == type);
		seen.objects++;
		seen.bytes += object.size;
		seen.none += !object.type;
		for (unsigned t = 0; t < n; t++)
			seen.of[t] += object.type == types[t];
	}
	assert_false(pheap_object_next(heap, type, &cursor, &object));
	return seen;
}

static void all_are_met(void **state)
{
	enum { N = 3000 };
	static uint64_t kind[N];
	pheap_t *heap = make_pool("p", MIB(32));
	pheap_type_t *types[3] = {make_type(heap, "node"), make_array_type(heap, "a", 24, 2),
				  make_sized_type(heap, "large", 300000)};
	struct rng rng = rng_make(3);
	pheap_ref *table;
	struct seen want = {0}, got;

	(void)state;
	assert_int_equal(iterate(heap, NULL, types, 3).objects, 0);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), N * 8, NULL));
	for (unsigned round = 0; round < 3; round++) {
		table = pheap_ptr(heap, *pheap_root(heap));
		for (unsigned i = 0; i < N; i++) {
			uint64_t k = rng_below(&rng, 100);
			void *object;

			if (table[i] && k < 40) {
				want.objects--;
				want.of[kind[i] % 4 % 3] -= kind[i] < 3;
				want.none -= kind[i] == 3;
				assert_ok(pheap_retire(heap, &table[i]));
			}
			if (table[i] || k < 20)
				continue;
			kind[i] = k == 99 ? 2 : k % 3 == 2 ? 3 : k % 3;
			object = kind[i] == 0	? pheap_alloc_typed(types[0])
				 : kind[i] == 1 ? pheap_alloc_array(types[1], 1 + k)
				 : kind[i] == 2 ? pheap_alloc_typed(types[2])
						: pheap_alloc(heap, 8 * k);
			if (!object) {
				assert_int_equal(errno, ENOSPC);
				continue;
			}
			assert_ok(pheap_publish(heap, &table[i], object, 0));
			want.objects++;
			want.of[kind[i] % 4 % 3] += kind[i] < 3;
			want.none += kind[i] == 3;
		}
		assert_made(pheap_alloc_typed(types[0])); /* not published: not met */
		for (unsigned again = 0; again < 2; again++) {
			got = iterate(heap, NULL, types, 3);
			assert_int_equal(got.objects, want.objects + 1); /* the table */
			assert_int_equal(got.none, want.none + 1);
			for (unsigned t = 0; t < 3; t++) {
				assert_int_equal(got.of[t], want.of[t]);
				assert_int_equal(iterate(heap, types[t], NULL, 0).objects,
						 want.of[t]);
			}
			heap = reopen_pool(heap, "p");
			types[0] = pheap_type_find(heap, "node");
			types[1] = pheap_type_find(heap, "a");
			types[2] = pheap_type_find(heap, "large");
		}
	}
	close_pool(heap);
}

struct churn {
	pheap_t *heap;
	pheap_type_t *type;
	pheap_ref *slots;
	unsigned kind; /* 0: iterates */
	bool *stop;
};

#define STAY 500u

static void *churn(void *arg)
{
	struct churn *c = arg;
	struct rng rng = rng_make(c->kind);
	struct pheap_object object;

	for (unsigned round = 0; c->kind == 0 && round < 40; round++) {
		uint64_t cursor = 0, stay = 0;

		while (pheap_object_next(c->heap, c->type, &cursor, &object)) {
			must(object.type == c->type && object.size == 64);
			/* It may be another object by now, being filled. */
			stay += __atomic_load_n((uint64_t *)object.ptr + 7, __ATOMIC_RELAXED) == 1;
		}
		must(stay == STAY);
	}
	if (!c->kind)
		__atomic_store_n(c->stop, true, __ATOMIC_RELAXED);
	while (c->kind && !__atomic_load_n(c->stop, __ATOMIC_RELAXED)) {
		pheap_ref *slot = &c->slots[STAY + 1000 * c->kind + rng_below(&rng, 1000)];
		uint64_t *made;

		if (*slot) {
			must(!pheap_retire(c->heap, slot));
			continue;
		}
		made = rng_below(&rng, 2) ? pheap_alloc_typed(c->type) : pheap_alloc(c->heap, 64);
		must(made);
		__atomic_store_n(&made[7], 0, __ATOMIC_RELAXED);
		must(!pheap_publish(c->heap, slot, made, 0));
	}
	return NULL;
}

/* Others allocate and free: what stays is met once each time. */
static void met_while_others_allocate(void **state)
{
	pheap_t *heap = make_pool("p", MIB(16));
	pheap_type_t *node = make_type(heap, "node");
	bool stop = false;
	struct churn jobs[3];
	pheap_ref *slots;

	(void)state;
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), (STAY + 3000) * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	for (unsigned i = 0; i < STAY; i++) {
		uint64_t *object = assert_made(pheap_alloc_typed(node));

		object[7] = 1;
		assert_ok(pheap_publish(heap, &slots[i], object, 0));
	}
	for (unsigned i = 0; i < ELEMENTS(jobs); i++)
		jobs[i] = (struct churn){heap, node, slots, i, &stop};
	run_threads(ELEMENTS(jobs), churn, jobs, sizeof(jobs[0]));
	check_clean(heap);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_of_objects),
		cmocka_unit_test(slabs_are_of_one_type),
		cmocka_unit_test(references_are_null),
		cmocka_unit_test(misused),
		cmocka_unit_test(resized),
		cmocka_unit_test(in_transactions),
		cmocka_unit_test(large_ones_of_many_types),
		cmocka_unit_test(all_are_met),
		cmocka_unit_test(met_while_others_allocate),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
