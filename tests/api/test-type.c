/*
 * test-type.c - types: registered, found again, told apart from others.
 */
#include "common.h"

#include "layout.h"

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

static struct pheap_type_info info_of_type(const pheap_type_t *type)
{
	struct pheap_type_info info = {.struct_size = sizeof(info)};

	assert_ok(pheap_type_get_info(type, &info));
	return info;
}

/* ---- register and find ------------------------------------------------------------- */

static void registered_and_found(void **state)
{
	static const uint32_t strong[] = {0, 24}, weak[] = {8, 40};
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_type_info want = info_named("counted"), got;
	pheap_type_t *node, *counted;

	(void)state;
	assert_errno(ENOENT, pheap_type_find(heap, "node"));
	assert_errno(ENOENT, pheap_type_by_id(heap, 1));
	node = make_type(heap, "node");
	want.flags = PHEAP_TYPE_COUNTED | PHEAP_TYPE_ARRAY;
	want.version = 77;
	want.size = 48;
	want.refs = strong;
	want.weak = weak;
	want.nweak = 2;
	counted = assert_made(pheap_type_register(heap, &want));
	assert_ptr_not_equal(node, counted);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(pheap_type_id(node), 1);
		assert_int_equal(pheap_type_id(counted), 2);
		assert_ptr_equal(pheap_type_find(heap, "node"), node);
		assert_ptr_equal(pheap_type_by_id(heap, 2), counted);
		assert_ptr_equal(make_type(heap, "node"), node);
		assert_ptr_equal(pheap_type_register(heap, &want), counted);
		assert_errno(ENOENT, pheap_type_by_id(heap, 3));
		assert_errno(ENOENT, pheap_type_by_id(heap, 0));
		assert_errno(ENOENT, pheap_type_find(heap, "nod"));
		got = info_of_type(counted);
		assert_string_equal(got.name, "counted");
		assert_int_equal(got.version, 77);
		assert_int_equal(got.flags, want.flags);
		assert_int_equal(got.size, 48);
		assert_int_equal(got.nrefs, 2);
		assert_memory_equal(got.refs, strong, sizeof(strong));
		assert_int_equal(got.nweak, 2);
		assert_memory_equal(got.weak, weak, sizeof(weak));
		assert_null(got.trace);
		assert_int_equal(check_clean(heap), 2);
		heap = reopen_pool(heap, "p");
		node = assert_made(pheap_type_find(heap, "node"));
		counted = assert_made(pheap_type_find(heap, "counted"));
	}
	close_pool(heap);
}

/* What was registered is there after a crash, and not half. */
static void survives_a_crash(void **state)
{
	static uint32_t many[PHEAP_TYPE_REFS_MAX];
	struct pheap_type_info info = info_named("long");
	pheap_t *heap = make_pool("p", POOL), *crashed;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(many); i++)
		many[i] = (uint32_t)(8 * i);
	info.refs = many;
	info.nrefs = ELEMENTS(many);
	info.size = sizeof(many) * 2;
	make_type(heap, "short");
	assert_made(pheap_type_register(heap, &info));
	crashed = crash_pool("p");
	make_type(crashed, "short");
	assert_int_equal(pheap_type_id(assert_made(pheap_type_register(crashed, &info))), 2);
	assert_int_equal(pheap_type_id(make_type(crashed, "another")), 3);
	assert_int_equal(check_clean(crashed), 3);
	close_pool(crashed);
	close_pool(heap);
}

static void names(void **state)
{
	static const char *const wrong[] = {"", "\n", "a\tb", "\x7f"};
	pheap_t *heap = make_pool("p", POOL);
	char name[PHEAP_TYPE_NAME_MAX + 1];
	struct pheap_type_info info = info_named(name);

	(void)state;
	for (size_t i = 0; i < ELEMENTS(wrong); i++) {
		info.name = wrong[i];
		assert_errno(EINVAL, pheap_type_register(heap, &info));
		assert_errno(EINVAL, pheap_type_find(heap, wrong[i]));
	}
	info.name = NULL;
	assert_errno(EINVAL, pheap_type_register(heap, &info));
	assert_errno(EINVAL, pheap_type_find(heap, NULL));
	info.name = name;
	memset(name, 'n', sizeof(name));
	name[PHEAP_TYPE_NAME_MAX] = 0;
	assert_errno(EINVAL, pheap_type_register(heap, &info));
	for (size_t length = 1; length < PHEAP_TYPE_NAME_MAX; length++) {
		name[length] = 0;
		assert_made(pheap_type_register(heap, &info));
		assert_made(pheap_type_find(heap, name));
		name[length] = 'n';
	}
	check_clean(heap);
	close_pool(heap);
}

/* What PHEAP_TYPE() derives from a struct. */
struct leaf {
	uint64_t value;
};

struct branch {
	uint64_t key;
	pheap_ref left;
	char text[3];
	pheap_ref right;
};

struct wide {
	pheap_ref r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15;
};

static const struct pheap_type_info leaf_info = PHEAP_TYPE(struct leaf, 3);
static const struct pheap_type_info branch_info = PHEAP_TYPE(struct branch, 4, left, right);
static const struct pheap_type_info wide_info =
	PHEAP_TYPE_FLAGS(PHEAP_TYPE_COUNTED, struct wide, 5, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9,
			 r10, r11, r12, r13, r14, r15);

static void derived(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	const struct pheap_type_info local = PHEAP_TYPE(struct branch, 4, left, right);
	struct pheap_type_info got;
	pheap_type_t *branch;

	(void)state;
	got = info_of_type(assert_made(pheap_type_register(heap, &leaf_info)));
	assert_string_equal(got.name, "struct leaf");
	assert_int_equal(got.version, 3);
	assert_int_equal(got.size, 8);
	assert_int_equal(got.nrefs, 0);
	branch = assert_made(pheap_type_register(heap, &branch_info));
	got = info_of_type(branch);
	assert_int_equal(got.nrefs, 2);
	assert_int_equal(got.refs[0], offsetof(struct branch, left));
	assert_int_equal(got.refs[1], offsetof(struct branch, right));
	assert_int_equal(got.size, sizeof(struct branch));
	assert_ptr_equal(pheap_type_register(heap, &local), branch);
	got = info_of_type(assert_made(pheap_type_register(heap, &wide_info)));
	assert_int_equal(got.flags, PHEAP_TYPE_COUNTED);
	assert_int_equal(got.nrefs, 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(got.refs[i], 8 * i);
	close_pool(heap);
}

/* ---- what is refused ------------------------------------------------------------------ */

static void refuse(pheap_t *heap, struct pheap_type_info info, const char *why)
{
	assert_errno(EINVAL, pheap_type_register(heap, &info));
	if (!strstr(pheap_errormsg(), why))
		fail_msg("\"%s\" does not say \"%s\"", pheap_errormsg(), why);
}

#define REFUSE(heap, why, field, value)                           \
	do {                                                      \
		struct pheap_type_info info = info_named("node"); \
		info.field = value;                               \
		refuse(heap, info, why);                          \
	} while (0)

static void not_well_formed(void **state)
{
	static const uint32_t odd[] = {4, 8}, twice[] = {8, 8}, down[] = {8, 0},
			      outside[] = {0, 60}, behind[] = {0, 64}, marked[] = {0, 9};
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_type_info info = info_named("node");

	(void)state;
	REFUSE(heap, "struct_size", struct_size, 8);
	REFUSE(heap, "unknown flags", flags, 8);
	REFUSE(heap, "size", size, 0);
	REFUSE(heap, "size", size, (UINT64_C(1) << 40) + 8);
	REFUSE(heap, "multiple of 8", size, 60);
	REFUSE(heap, "not inside", size, 8);
	REFUSE(heap, "aligned", refs, odd);
	REFUSE(heap, "ascending", refs, twice);
	REFUSE(heap, "ascending", refs, down);
	REFUSE(heap, "aligned", refs, outside);
	REFUSE(heap, "not inside", refs, behind);
	REFUSE(heap, "aligned", refs, marked);
	REFUSE(heap, "more than 1024", nrefs, 1025);
	REFUSE(heap, "more than 1024", nrefs, SIZE_MAX);
	info.weak = two;
	info.nweak = 2;
	info.nrefs = 0;
	refuse(heap, info, "PHEAP_TYPE_COUNTED");
	info.flags = PHEAP_TYPE_COUNTED;
	info.nrefs = 2;
	refuse(heap, info, "ascending"); /* strong and weak at once */
	assert_errno(EINVAL, pheap_type_register(heap, NULL));
	assert_errno(EINVAL, pheap_type_register(NULL, &info));
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* A program's idea of a type is not the pool's. */
static void differs(void **state)
{
	static const uint32_t other[] = {0, 16};
	pheap_t *heap = make_pool("p", POOL);

	(void)state;
	make_type(heap, "node");
	for (int round = 0; round < 2; round++) {
		REFUSE(heap, "version 2 here and 1 in the pool", version, 2);
		REFUSE(heap, "size 72 here and 64 in the pool", size, 72);
		REFUSE(heap, "flags 1 here and 0 in the pool", flags, PHEAP_TYPE_ARRAY);
		REFUSE(heap, "references 1 here and 2 in the pool", nrefs, 1);
		REFUSE(heap, "number 1 is at offset 16 here and at 8", refs, other);
		heap = reopen_pool(heap, "p");
	}
	make_type(heap, "node");
	close_pool(heap);
}

static void all_of_them(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char name[32];
	struct pheap_type_info info = info_named(name);

	(void)state;
	for (unsigned i = 1; i <= PHEAP_TYPES_MAX; i++) {
		snprintf(name, sizeof(name), "type %u", i);
		assert_int_equal(pheap_type_id(assert_made(pheap_type_register(heap, &info))), i);
	}
	strcpy(name, "one more");
	assert_errno(ENOSPC, pheap_type_register(heap, &info));
	strcpy(name, "type 300");
	assert_int_equal(pheap_type_id(pheap_type_register(heap, &info)), 300);
	heap = reopen_pool(heap, "p");
	assert_int_equal(pheap_type_id(assert_made(pheap_type_find(heap, "type 511"))), 511);
	assert_int_equal(check_clean(heap), PHEAP_TYPES_MAX);
	close_pool(heap);
}

static void read_only(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	struct pheap_type_info info = info_named("other");

	(void)state;
	make_type(heap, "node");
	close_pool(heap);
	heap = open_pool_flags("p", PHEAP_READONLY);
	make_type(heap, "node");
	assert_errno(EROFS, pheap_type_register(heap, &info));
	close_pool(heap);
}

static void volatile_heap(void **state)
{
	struct pheap_options options = {
		.struct_size = sizeof(options), .durability = PHEAP_VOLATILE, .size = POOL};
	pheap_t *heap = assert_made(pheap_create(NULL, &options));
	struct pheap_type_info info = info_named("node");

	(void)state;
	assert_errno(ENOTSUP, pheap_type_register(heap, &info));
	assert_errno(ENOTSUP, pheap_type_find(heap, "node"));
	close_pool(heap);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void damage_word(uint64_t offset)
{
	uint64_t word;

	read_at(scratch("p"), &word, sizeof(word), (off_t)offset);
	word ^= UINT64_C(1) << 33;
	write_at(scratch("p"), &word, sizeof(word), (off_t)offset);
}

/* Whatever word of an entry or a descriptor is damaged: the pool opens, the type is not
 * there, others are, and nobody gets its name. */
static void damaged_type(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	struct pm_type entry;

	(void)state;
	make_type(heap, "first");
	make_type(heap, "second");
	close_pool(heap);
	read_at(scratch("p"), &entry, sizeof(entry), PM_TYPE_TABLE + sizeof(entry));
	for (unsigned i = 0; i < 8 + entry.bytes / 8; i++) {
		uint64_t at =
			i < 8 ? PM_TYPE_TABLE + sizeof(entry) + i * 8 : entry.ref + (i - 8) * 8;
		struct pheap_type_info info = info_named("first");

		damage_word(at);
		heap = open_pool("p");
		assert_errno(EUCLEAN, pheap_type_find(heap, "first"));
		assert_errno(EUCLEAN, pheap_type_by_id(heap, 1));
		assert_errno(EUCLEAN, pheap_type_register(heap, &info));
		assert_int_equal(pheap_type_id(assert_made(pheap_type_find(heap, "second"))), 2);
		assert_int_equal(pheap_check(heap, NULL, NULL, NULL), -EUCLEAN);
		make_type(heap, "second");
		close_pool(heap);
		damage_word(at);
	}
	heap = open_pool("p");
	make_type(heap, "first");
	check_clean(heap);
	close_pool(heap);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

struct job {
	pheap_t *heap;
	pheap_type_t *got[20];
};

static void *register_all(void *arg)
{
	struct job *job = arg;
	char name[32];
	struct pheap_type_info info = info_named(name);

	for (unsigned i = 0; i < ELEMENTS(job->got); i++) {
		snprintf(name, sizeof(name), "type %u", i);
		job->got[i] = pheap_type_register(job->heap, &info);
		must(job->got[i] && pheap_type_find(job->heap, name) == job->got[i]);
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct job jobs[4] = {{.heap = make_pool("p", POOL)}};

	(void)state;
	for (unsigned i = 1; i < ELEMENTS(jobs); i++)
		jobs[i].heap = jobs[0].heap;
	run_threads(ELEMENTS(jobs), register_all, jobs, sizeof(jobs[0]));
	for (unsigned i = 1; i < ELEMENTS(jobs); i++)
		assert_memory_equal(jobs[i].got, jobs[0].got, sizeof(jobs[0].got));
	assert_int_equal(check_clean(jobs[0].heap), ELEMENTS(jobs[0].got));
	close_pool(jobs[0].heap);
}

/* ---- prefetch ---------------------------------------------------------------------- */

static struct {
	unsigned calls;
	const void *object;
	uint64_t size;
} traced;

static void trace_first_two(void *object, uint64_t size, pheap_visit_fn *visit, void *arg)
{
	traced.calls++;
	traced.object = object;
	traced.size = size;
	visit(arg, object);
	visit(arg, (pheap_ref *)object + 1);
}

/* What the callback is given can be seen, what is loaded cannot: that it never fails, then. */
static void prefetch(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_type_t *node = make_type(heap, "node"), *array, *called;
	struct pheap_type_info info = info_named("array");
	pheap_ref *object = assert_made(pheap_zalloc(heap, 640));

	(void)state;
	memset(&traced, 0, sizeof(traced));
	info.flags = PHEAP_TYPE_ARRAY;
	array = assert_made(pheap_type_register(heap, &info));
	info = info_named("called");
	info.refs = NULL;
	info.nrefs = 0;
	info.trace = trace_first_two;
	called = assert_made(pheap_type_register(heap, &info));
	object[0] = pheap_ref_of(heap, object);
	object[1] = UINT64_MAX - 5; /* no object's */
	object[79] = POOL - 1;
	errno = 77;
	for (size_t size = 0; size < 2000; size += 333) {
		pheap_prefetch_typed(node, object, size);
		pheap_prefetch_typed(array, object, size);
		pheap_prefetch_typed(NULL, object, size);
		pheap_prefetch_typed(node, NULL, size);
		pheap_prefetch_typed(node, &object, size);
		pheap_prefetch_typed(called, object + 1, size); /* where none begins */
	}
	assert_int_equal(traced.calls, 0);
	pheap_prefetch_typed(called, object, SIZE_MAX);
	assert_int_equal(traced.calls, 1);
	assert_ptr_equal(traced.object, object);
	assert_int_equal(traced.size, pheap_usable_size(heap, object));
	assert_int_equal(errno, 77);
	assert_ok(pheap_free(heap, object));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registered_and_found),
		cmocka_unit_test(survives_a_crash),
		cmocka_unit_test(names),
		cmocka_unit_test(derived),
		cmocka_unit_test(not_well_formed),
		cmocka_unit_test(differs),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(read_only),
		cmocka_unit_test(volatile_heap),
		cmocka_unit_test(damaged_type),
		cmocka_unit_test(many_threads),
		cmocka_unit_test(prefetch),
	};

	test_init(argc, argv);
	return run_modes(MODES_FILE, tests);
}
