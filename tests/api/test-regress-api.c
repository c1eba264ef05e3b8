/*
 * test-regress-api.c - mistakes that the installed interface once made: with one
 * thread, without a crash, on sound pools.
 */
#define _GNU_SOURCE /* SEEK_HOLE, fallocate */
#include "common.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define POOL MIB(8)

/* ---- a snapshot without room ----------------------------------------------------- */

/* A log was opened, and nothing saved in it: the end of the transaction then added to a
 * pointer that was still null. */
static void end_after_failed_snapshot(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object = publish_root(heap, 200000, 1);
	static void *objects[4096];
	size_t n = fill_pool(heap, 60000, objects, ELEMENTS(objects));

	(void)state;
	for (unsigned commit = 0; commit < 2; commit++) {
		pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));

		assert_error(ENOSPC, pheap_tx_snapshot(tx, object, 200000));
		assert_ok(commit ? pheap_tx_commit(tx) : pheap_tx_abort(tx));
	}
	assert_true(has_pattern(object, 200000, 1));
	while (n)
		assert_ok(pheap_free(heap, objects[--n]));
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* ---- create ----------------------------------------------------------------- */

/* Create looked at the first 8 KiB only: a file of somebody else's that begins with
 * zeros was taken over, and lost. */
static void foreign_file(void **state)
{
	static const off_t places[] = {4096, 8192, 65536, MIB(1), MIB(20) - 1};
	struct pheap_options opts = options_of(POOL);
	pheap_t *heap;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(places); i++) {
		int fd = open(scratch("foreign"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		uint64_t hash;

		assert_true(fd >= 0 && !ftruncate(fd, MIB(20)) && !close(fd));
		write_at(scratch("foreign"), "!", 1, places[i]);
		hash = file_hash(scratch("foreign"));
		assert_errno(EEXIST, pheap_create(scratch("foreign"), &opts));
		assert_true(hash == file_hash(scratch("foreign")));
	}
	write_at(scratch("foreign"), "", 1, places[ELEMENTS(places) - 1]);
	heap = assert_made(pheap_create(scratch("foreign"), &opts)); /* all zero: may be taken */
	close_pool(heap);
}

/* ---- every byte of every object -------------------------------------------------- */

/* Does the library find the object that these bytes lie in? */
static void find_word(pheap_t *heap, char *at, char *object)
{
	if (at == object)
		assert_true(pheap_usable_size(heap, at) != 0);
	else
		assert_int_equal(pheap_usable_size(heap, at), 0);
	assert_ok(pheap_set(heap, (uint64_t *)(void *)at, 1));
}

/* The division of an offset by the size of an object, done by multiplication, was one
 * too large for the last bytes of some: they belonged to no object, or to the next. */
static void last_bytes(void **state)
{
	pheap_t *heap = make_pool("p", MIB(64));

	(void)state;
	for (size_t size = 16; size <= 65536; size += size < 1024 ? 16 : size / 16) {
		char *objects[16];

		for (unsigned i = 0; i < ELEMENTS(objects); i++) {
			char name[8], *end;

			snprintf(name, sizeof(name), "r%u", i);
			objects[i] = assert_made(pheap_alloc(heap, size));
			end = objects[i] + pheap_usable_size(heap, objects[i]);
			memset(objects[i], 0, size);
			assert_ok(pheap_publish(heap, pheap_named_root(heap, name), objects[i], 0));
			for (char *at = end - 8; at >= objects[i] && at >= end - 128; at -= 8)
				find_word(heap, at, objects[i]);
			assert_ok(pheap_write(heap, end - 1, "", 1));
			find_word(heap, objects[i], objects[i]);
		}
		for (unsigned i = 0; i < ELEMENTS(objects); i++) {
			char name[8];

			snprintf(name, sizeof(name), "r%u", i);
			assert_ok(pheap_retire(heap, pheap_named_root(heap, name)));
		}
	}
	check_clean(heap);
	close_pool(heap);
}

/* ---- transactions ------------------------------------------------------------------ */

static char *publish_byte(pheap_t *heap, const char *root, size_t size, char byte)
{
	char *object = assert_made(pheap_alloc(heap, size));

	memset(object, byte, size);
	assert_ok(pheap_publish(heap, pheap_named_root(heap, root), object, 0));
	return object;
}

/* Freed, an object with a snapshot went to another owner; abort wrote the old content
 * over the new owner's. */
static void free_with_foreign_snapshot(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot;
	pheap_tx_t *tx, *other;
	char *object;

	(void)state;
	for (size_t size = 1024; size <= 131072; size *= 128) {
		object = publish_byte(heap, "A", size, 'x');
		slot = pheap_named_root(heap, "A");
		tx = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(tx, object + size - 64, 64));
		memset(object + size - 64, 'y', 64);
		assert_error(EINVAL, pheap_retire(heap, slot));
		assert_error(EINVAL, pheap_resize(heap, slot, size * 3));
		other = assert_made(pheap_tx_begin(heap));
		assert_error(EINVAL, pheap_tx_free(other, object));
		assert_error(EINVAL, pheap_tx_retire(other, slot));
		assert_ok(pheap_tx_abort(other));
		assert_ok(pheap_tx_abort(tx));
		assert_int_equal(object[size - 1], 'x');
		/* And one's own snapshot does not stand in the way. */
		tx = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_snapshot(tx, object, 64));
		assert_ok(pheap_tx_retire(tx, slot));
		assert_ok(pheap_tx_commit(tx));
		assert_int_equal(*slot, 0);
	}
	assert_int_equal(check_clean(heap), 0);
	close_pool(heap);
}

/* The snapshot is younger than the free that another transaction has asked for. */
static void snapshot_before_commit_of_free(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	char *object = publish_byte(heap, "A", 1024, 'x');
	pheap_tx_t *frees = assert_made(pheap_tx_begin(heap)), *tx;

	(void)state;
	assert_ok(pheap_tx_retire(frees, pheap_named_root(heap, "A")));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, object, 64));
	memset(object, 'y', 64);
	assert_error(EINVAL, pheap_tx_commit(frees));
	assert_ok(pheap_tx_abort(tx));
	assert_int_equal(*object, 'x');
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

/* An object that another transaction has not published yet was anybody's. */
static void object_of_another_transaction(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_tx_t *owner = assert_made(pheap_tx_begin(heap));
	pheap_tx_t *other = assert_made(pheap_tx_begin(heap));
	char *object = assert_made(pheap_tx_alloc(owner, 64));

	(void)state;
	memset(object, '1', 64);
	assert_error(EINVAL, pheap_tx_snapshot(other, object, 64));
	assert_error(EINVAL, pheap_tx_set(other, (uint64_t *)(void *)object, 0));
	assert_error(EINVAL, pheap_tx_write(other, object, "2", 1));
	assert_error(EINVAL, pheap_tx_free(other, object));
	assert_ok(pheap_tx_abort(other));
	assert_int_equal(object[0], '1');
	assert_ok(pheap_tx_abort(owner));
	close_pool(heap);
}

/* A handle that had ended was ended again: it was on the list of unused ones twice,
 * and the next two transactions shared it. */
static void handle_used_after_its_end(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap)), *a, *b;

	(void)state;
	assert_ok(pheap_tx_commit(tx));
	assert_error(EINVAL, pheap_tx_commit(tx));
	assert_error(EINVAL, pheap_tx_abort(tx));
	assert_errno(EINVAL, pheap_tx_alloc(tx, 64));
	a = assert_made(pheap_tx_begin(heap));
	b = assert_made(pheap_tx_begin(heap));
	assert_ptr_not_equal(a, b);
	assert_ok(pheap_tx_abort(a));
	assert_ok(pheap_tx_abort(b));
	close_pool(heap);
}

/* ---- limits and full pools --------------------------------------------------------- */

/* Sizes of the writes were added up in 32 bits: gigabytes were written behind the end
 * of a small buffer, and the call never came back. */
static void huge_write(void **state)
{
	const size_t size = (size_t)1 << 35;
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = UINT64_C(1) << 37};
	pheap_t *heap;
	pheap_tx_t *tx;
	void *object, *source;

	(void)state;
	opts.durability = PHEAP_VOLATILE;
	heap = assert_made(pheap_create(NULL, &opts));
	object = assert_made(pheap_alloc(heap, size));
	assert_ok(pheap_publish(heap, pheap_root(heap), object, PHEAP_PERSISTED));
	source = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(source, MAP_FAILED);
	tx = assert_made(pheap_tx_begin(heap));
	assert_error(ENOSPC, pheap_tx_write(tx, object, source, size));
	assert_error(ENOSPC, pheap_tx_write(tx, object, source, size - 64));
	assert_ok(pheap_tx_write(tx, object, source, 64));
	assert_ok(pheap_tx_commit(tx));
	assert_int_equal(munmap(source, size), 0);
	close_pool(heap);
}

/* On a full pool frees without number were taken, and then could not be committed: the
 * entry that ends the snapshots had been forgotten when room was counted. */
static void frees_on_full_pool(unsigned n)
{
	static void *objects[1100], *filler[POOL / 4096];
	pheap_t *heap = make_pool("p", POOL);
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	char *kept;
	int err;

	for (unsigned i = 0; i < n; i++)
		objects[i] = assert_made(pheap_tx_alloc(tx, 512));
	assert_ok(pheap_tx_commit(tx));
	kept = publish_root(heap, 64, 1);
	fill_pool(heap, 65536, filler, ELEMENTS(filler));
	fill_pool(heap, 100000, filler, ELEMENTS(filler));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, kept, 64));
	for (unsigned i = 0; i < n; i++) {
		err = pheap_tx_free(tx, objects[i]);
		assert_true(!err || err == -ENOSPC);
		if (err)
			break;
	}
	assert_ok(pheap_tx_commit(tx)); /* "what came before can still be committed" */
	check_clean(heap);
	close_pool(heap);
}

static void full_pool(void **state)
{
	(void)state;
	for (unsigned n = 1012; n <= 1024; n++)
		frees_on_full_pool(n);
}

/* The largest object that info promises was not to be had of a new pool: lanes lay in
 * the middle of it. */
static void largest_object(void **state)
{
	(void)state;
	for (uint64_t size = MIB(8); size <= MIB(512); size *= 2) {
		pheap_t *heap = make_pool("p", size);
		struct pheap_info info = info_of(heap);

		assert_true(info.max_object >= size / 4);
		assert_true(stats_of(heap).largest_free >= info.max_object);
		assert_made(pheap_alloc(heap, info.max_object));
		close_pool(heap);
	}
}

static size_t count_fitting(pheap_t *heap, size_t size)
{
	static void *objects[256];
	size_t n = fill_pool(heap, size, objects, ELEMENTS(objects));

	for (size_t i = 0; i < n; i++)
		assert_ok(pheap_free(heap, objects[i]));
	return n;
}

/* After a reopen empty slabs of an earlier session filled the pool: large objects did
 * not look for them. */
static void empty_slabs_after_reopen(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	size_t fresh = count_fitting(heap, 131072);

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t size = 16; size <= 5120; size += size < 1024 ? 16 : size / 8 / 16 * 16)
			if (!pheap_alloc_into(heap, pheap_root(heap), size, NULL))
				assert_ok(pheap_retire(heap, pheap_root(heap)));
		if (round && mode_has_file())
			heap = reopen_pool(heap, "p");
		assert_true(count_fitting(heap, 131072) + 2 >= fresh);
	}
	close_pool(heap);
}

/* ---- where the pool is mapped ----------------------------------------------------------- */

/* Mappings of the system's own choice are aligned to pages: so were the objects. */
static void alignment(void **state)
{
	void *shift[8];

	(void)state;
	for (unsigned i = 0; i < ELEMENTS(shift); i++) {
		struct pheap_options opts = {.struct_size = sizeof(opts)};
		pheap_t *heap;

		shift[i] =
			mmap(NULL, 4096 * (i + 1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		opts.size = POOL + 65536 * (i + 1);
		opts.durability = PHEAP_VOLATILE;
		heap = assert_made(pheap_create(NULL, &opts));
		for (size_t size = 16; size <= 65536; size *= 2)
			assert_int_equal((uintptr_t)assert_made(pheap_alloc(heap, size)) % size, 0);
		assert_int_equal((uintptr_t)assert_made(pheap_alloc(heap, MIB(1))) % 65536, 0);
		close_pool(heap);
	}
	for (unsigned i = 0; i < ELEMENTS(shift); i++)
		munmap(shift[i], 4096 * (i + 1));
}

static void alignment_readonly(void **state)
{
	pheap_t *heap = make_pool("p", POOL + 65536);

	(void)state;
	publish_root(heap, 65536, 1);
	close_pool(heap);
	for (unsigned i = 0; i < 4; i++) {
		void *shift = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		heap = open_pool_flags("p", PHEAP_READONLY);
		assert_int_equal((uintptr_t)pheap_ptr(heap, *pheap_root(heap)) % 65536, 0);
		close_pool(heap);
		munmap(shift, 4096);
	}
}

/* ---- two lines of one stripe ----------------------------------------------------- */

/* A record that wrote two lines 2 MiB apart passed for settled in one of them: what the
 * program then made durable there itself was undone at replay. */
static void own_bytes_last(void **state)
{
	pheap_t *heap = make_pool("p", MIB(64)), *copy;
	uint64_t *words, *far;
	pheap_tx_t *tx;

	(void)state;
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), MIB(6), NULL));
	words = pheap_ptr(heap, *pheap_root(heap));
	for (unsigned i = 0; i < 4; i++) {
		far = words + (i + 1) / 2 * MIB(2) / 8;
		tx = assert_made(pheap_tx_begin(heap));
		assert_ok(pheap_tx_set(tx, words, 1));
		assert_ok(pheap_tx_set(tx, far, 1));
		assert_ok(pheap_tx_commit(tx));
		if (i % 2) {
			words[0] = 2 + i;
			assert_ok(pheap_persist(heap, words, 8));
		} else {
			tx = assert_made(pheap_tx_begin(heap));
			assert_ok(pheap_tx_snapshot(tx, words, 8));
			words[0] = 2 + i;
			assert_ok(pheap_tx_commit(tx));
		}
		copy = crash_pool("p");
		assert_int_equal(*(uint64_t *)pheap_ptr(copy, *pheap_root(copy)), 2 + i);
		close_pool(copy);
	}
	close_pool(heap);
}

/* A root was dropped while a transaction had snapshotted its reference: abort brought
 * the reference back into a root without a name. */
static void drop_snapshotted(void **state)
{
	pheap_t *heap = make_pool("p", POOL);
	pheap_ref *slot = assert_made(pheap_named_root(heap, "x"));
	pheap_tx_t *tx;

	(void)state;
	assert_ok(pheap_alloc_into(heap, slot, 100, NULL));
	tx = assert_made(pheap_tx_begin(heap));
	assert_ok(pheap_tx_snapshot(tx, slot, 8));
	*slot = 0;
	assert_error(EINVAL, pheap_drop_root(heap, "x"));
	assert_ok(pheap_tx_abort(tx));
	assert_true(*slot != 0 && pheap_find_root(heap, "x") == slot);
	assert_int_equal(check_clean(heap), 1);
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_with_foreign_snapshot),
		cmocka_unit_test(snapshot_before_commit_of_free),
		cmocka_unit_test(object_of_another_transaction),
		cmocka_unit_test(handle_used_after_its_end),
		cmocka_unit_test(last_bytes),
		cmocka_unit_test(full_pool),
		cmocka_unit_test(end_after_failed_snapshot),
		cmocka_unit_test(largest_object),
		cmocka_unit_test(empty_slabs_after_reopen),
	};
	const struct CMUnitTest on_files[] = {
		cmocka_unit_test(foreign_file),
		cmocka_unit_test(alignment_readonly),
	};
	const struct CMUnitTest in_memory[] = {
		cmocka_unit_test(huge_write),
		cmocka_unit_test(alignment),
	};

	const struct CMUnitTest durable[] = {
		cmocka_unit_test(own_bytes_last),
		cmocka_unit_test(drop_snapshotted),
	};

	test_init(argc, argv);
	return run_modes(MODE_PMEM | MODE_VOLATILE, tests) + run_modes(MODE_PROCESS, on_files) +
	       run_modes(MODE_VOLATILE, in_memory) + run_modes(MODE_PMEM | MODE_PROCESS, durable);
}
