/*
 * test-golden.c - what each operation costs: fences, lines flushed, lines written
 * past the cache. Counted twice, by the library (pheap_get_stats) and by the calls
 * that arrive at libpmem; both must agree, stay within what the headers promise,
 * and be what fences.txt says.
 *
 *	test-golden FILE [--update]
 *
 * An operation is measured in the steady state: its slab is born, its lane made.
 * A sample in which a checkpoint happened is left out; what checkpoints cost is
 * the matter of a test of its own.
 *
 * Compiled with TRACED it runs under the tracer (tests/crash/tracer), and the
 * instructions that were executed are a third witness.
 */
#include "common.h"
#include "interpose.h"

#include "layout.h"

#ifdef TRACED
#include "requests.h"
#else
#define TRACED 0
#endif

#define POOL MIB(64)
#define SLOTS 16
#define SAMPLES (TRACED ? 12 : 60) /* traced, a store takes as long as fifty */

static pheap_t *heap;
static pheap_ref *slots; /* SLOTS of them, published, null between operations */
static uint64_t *words;	 /* 4096 bytes, published */
static void *reserved[SLOTS];
static char content[8192];
static bool update;
static const char *golden_path;

/* ---- the operations --------------------------------------------------------- */

struct op {
	const char *name;
	unsigned fences; /* at most, by the public headers */
	void (*prepare)(size_t size);
	void (*run)(size_t size);
	void (*restore)(size_t size);
	size_t size;
};

static void nothing(size_t size)
{
	(void)size;
}

static void reserve(size_t size)
{
	reserved[0] = assert_made(pheap_alloc(heap, size));
	fill_pattern(reserved[0], size, size);
}

static void reserve_durable(size_t size)
{
	reserve(size);
	assert_ok(pheap_persist(heap, reserved[0], size));
}

static void fill_slots(size_t n, size_t size)
{
	size_t i;

	for (i = 0; i < n; i++)
		assert_ok(pheap_alloc_into(heap, &slots[i], size, NULL));
}

static void fill_one(size_t size)
{
	fill_slots(1, size);
}

static void fill_eight(size_t size)
{
	fill_slots(8, size);
}

static void fill_one_and_reserve(size_t size)
{
	fill_slots(1, size);
	reserve(size);
}

static void clear_slots(size_t size)
{
	size_t i;

	(void)size;
	for (i = 0; i < SLOTS; i++)
		if (slots[i])
			assert_ok(pheap_retire(heap, &slots[i]));
}

static void run_reserve_and_free(size_t size)
{
	assert_ok(pheap_free(heap, assert_made(pheap_alloc(heap, size))));
}

static void run_publish(size_t size)
{
	(void)size;
	assert_ok(pheap_publish(heap, &slots[0], reserved[0], 0));
}

static void run_publish_durable(size_t size)
{
	(void)size;
	assert_ok(pheap_publish(heap, &slots[0], reserved[0], PHEAP_PERSISTED));
}

static void run_retire(size_t size)
{
	(void)size;
	assert_ok(pheap_retire(heap, &slots[0]));
}

static void run_replace(size_t size)
{
	(void)size;
	assert_ok(pheap_replace(heap, &slots[0], reserved[0], 0));
}

static void run_alloc_into(size_t size)
{
	assert_ok(pheap_alloc_into(heap, &slots[0], size, content));
}

static void run_alloc_into_zero(size_t size)
{
	assert_ok(pheap_alloc_into(heap, &slots[0], size, NULL));
}

static void run_resize_in_place(size_t size)
{
	assert_ok(pheap_resize(heap, &slots[0], size - 1));
}

static void run_set(size_t size)
{
	(void)size;
	assert_ok(pheap_set(heap, &words[7], words[7] + 1));
}

static void run_write(size_t size)
{
	assert_ok(pheap_write(heap, words, content, size));
}

static void run_make_root(size_t size)
{
	(void)size;
	assert_made(pheap_named_root(heap, "golden"));
}

static void prepare_root(size_t size)
{
	run_make_root(size);
}

static void run_drop_root(size_t size)
{
	(void)size;
	assert_ok(pheap_drop_root(heap, "golden"));
}

static void run_empty_tx(size_t size)
{
	(void)size;
	assert_ok(pheap_tx_commit(assert_made(pheap_tx_begin(heap))));
}

static void run_empty_abort(size_t size)
{
	(void)size;
	assert_ok(pheap_tx_abort(assert_made(pheap_tx_begin(heap))));
}

static void run_redo_sets(size_t n)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	size_t i;

	for (i = 0; i < n; i++)
		assert_ok(pheap_tx_set(tx, &words[16 * i], words[16 * i] + 1));
	assert_ok(pheap_tx_commit(tx));
}

static void run_redo_abort(size_t n)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));

	assert_ok(pheap_tx_set(tx, &words[n], 0));
	assert_ok(pheap_tx_abort(tx));
}

/* n objects of 64 bytes, filled in place, and a link to each. */
static void run_redo_allocs(size_t n)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	size_t i;

	for (i = 0; i < n; i++) {
		void *own = assert_made(pheap_tx_alloc(tx, 64));

		fill_pattern(own, 64, i);
		assert_ok(pheap_tx_set(tx, &slots[i], pheap_ref_of(heap, own)));
	}
	assert_ok(pheap_tx_commit(tx));
}

static void run_redo_retires(size_t size)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	size_t i;

	(void)size;
	for (i = 0; i < 8; i++)
		assert_ok(pheap_tx_retire(tx, &slots[i]));
	assert_ok(pheap_tx_commit(tx));
}

static void run_undo(size_t n, bool commit)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	struct pheap_range ranges[8];
	size_t i;

	for (i = 0; i < n; i++)
		ranges[i] = (struct pheap_range){&words[64 * i], 64};
	assert_ok(pheap_tx_snapshotv(tx, ranges, n));
	for (i = 0; i < n; i++)
		words[64 * i]++;
	assert_ok(commit ? pheap_tx_commit(tx) : pheap_tx_abort(tx));
}

static void run_undo_commit(size_t n)
{
	run_undo(n, true);
}

static void run_undo_abort(size_t n)
{
	run_undo(n, false);
}

static void run_persist(size_t size)
{
	assert_ok(pheap_persist(heap, reserved[0], size));
}

static void free_reserved(size_t size)
{
	(void)size;
	assert_ok(pheap_free(heap, reserved[0]));
}

static void make_type(unsigned number)
{
	static const uint32_t refs[] = {0, 8};
	char name[32];
	const struct pheap_type_info info = {
		.struct_size = sizeof(info), .name = name, .size = 64, .refs = refs, .nrefs = 2};

	snprintf(name, sizeof(name), "type %3u", number);
	assert_made(pheap_type_register(heap, &info));
}

static void run_make_type(size_t size)
{
	static unsigned made;

	(void)size;
	make_type(++made);
}

static void run_find_type(size_t size)
{
	(void)size;
	make_type(1);
}

/* ---- typed and counted: the first slots have strong references, the others weak ones ---- */

#define WEAK 8

static pheap_type_t *counted(void)
{
	static const uint32_t refs[] = {0}, weak[] = {8};
	const struct pheap_type_info info = {.struct_size = sizeof(info),
					     .name = "counted",
					     .flags = PHEAP_TYPE_COUNTED,
					     .size = 64,
					     .refs = refs,
					     .nrefs = 1,
					     .weak = weak,
					     .nweak = 1};

	return assert_made(pheap_type_register(heap, &info));
}

static void reserve_typed(size_t size)
{
	(void)size;
	make_type(1);
	reserved[0] = assert_made(pheap_alloc_typed(pheap_type_find(heap, "type   1")));
}

static void reserve_counted(size_t size)
{
	(void)size;
	reserved[0] = assert_made(pheap_zalloc_typed(counted()));
}

static void fill_counted(size_t size)
{
	reserve_counted(size);
	assert_ok(pheap_publish(heap, &slots[0], reserved[0], 0));
}

/* One that refers to another. */
static void fill_pair(size_t size)
{
	pheap_ref *first;

	fill_counted(size);
	first = reserved[0];
	reserve_counted(size);
	assert_ok(pheap_publish(heap, first, reserved[0], 0));
}

static void run_link(size_t size)
{
	(void)size;
	assert_ok(pheap_link(heap, &slots[1], slots[0]));
}

static void run_weak_link(size_t size)
{
	(void)size;
	assert_ok(pheap_weak_link(heap, &slots[WEAK], slots[0]));
}

static void run_weak_get(size_t size)
{
	(void)size;
	assert_ok(pheap_weak_get(heap, &slots[WEAK], &slots[1]));
}

static void fill_weak(size_t size)
{
	fill_counted(size);
	run_weak_link(size);
}

static void run_tx_counted(size_t size)
{
	pheap_tx_t *tx = assert_made(pheap_tx_begin(heap));
	pheap_ref *object = assert_made(pheap_tx_alloc_typed(tx, counted()));

	(void)size;
	memset(object, 0, 64);
	assert_ok(pheap_tx_link(tx, object, slots[0]));
	assert_ok(pheap_tx_link(tx, &slots[1], pheap_ref_of(heap, object)));
	assert_ok(pheap_tx_commit(tx));
}

static void clear_counted(size_t size)
{
	(void)size;
	if (slots[WEAK])
		assert_ok(pheap_weak_link(heap, &slots[WEAK], PHEAP_NULL));
	for (size_t i = 0; i < 2; i++)
		assert_ok(pheap_link(heap, &slots[i], PHEAP_NULL));
}

static const struct op ops[] = {
	{"reserve and free, 64 B", 0, nothing, run_reserve_and_free, nothing, 64},
	{"reserve and free, 4 KiB", 0, nothing, run_reserve_and_free, nothing, 4096},
	{"reserve and free, 1 MiB", 0, nothing, run_reserve_and_free, nothing, 1 << 20},
	{"publish, 16 B", 1, reserve, run_publish, clear_slots, 16},
	{"publish, 64 B", 1, reserve, run_publish, clear_slots, 64},
	{"publish, 256 B", 1, reserve, run_publish, clear_slots, 256},
	{"publish, 320 B", 2, reserve, run_publish, clear_slots, 320},
	{"publish, 4 KiB", 2, reserve, run_publish, clear_slots, 4096},
	{"publish, 1 MiB", 2, reserve, run_publish, clear_slots, 1 << 20},
	{"publish, persisted, 64 B", 1, reserve_durable, run_publish_durable, clear_slots, 64},
	{"publish, persisted, 4 KiB", 1, reserve_durable, run_publish_durable, clear_slots, 4096},
	{"retire, 64 B", 1, fill_one, run_retire, nothing, 64},
	{"retire, 4 KiB", 1, fill_one, run_retire, nothing, 4096},
	{"retire, 1 MiB", 1, fill_one, run_retire, nothing, 1 << 20},
	{"replace, 64 B", 1, fill_one_and_reserve, run_replace, clear_slots, 64},
	{"replace, 4 KiB", 2, fill_one_and_reserve, run_replace, clear_slots, 4096},
	{"alloc_into, 64 B", 1, nothing, run_alloc_into, clear_slots, 64},
	{"alloc_into, 256 B", 1, nothing, run_alloc_into, clear_slots, 256},
	{"alloc_into, 4 KiB", 2, nothing, run_alloc_into, clear_slots, 4096},
	{"alloc_into, zero, 64 B", 1, nothing, run_alloc_into_zero, clear_slots, 64},
	{"resize in place", 0, fill_one, run_resize_in_place, clear_slots, 64},
	{"set", 1, nothing, run_set, nothing, 0},
	{"write, 8 B", 1, nothing, run_write, nothing, 8},
	{"write, 256 B", 1, nothing, run_write, nothing, 256},
	{"named root, made", 1, nothing, run_make_root, run_drop_root, 0},
	{"named root, found", 0, prepare_root, run_make_root, run_drop_root, 0},
	{"named root, dropped", 1, prepare_root, run_drop_root, nothing, 0},
	{"type, made", 1, nothing, run_make_type, nothing, 0},
	{"type, found", 0, nothing, run_find_type, nothing, 0},
	{"publish, typed, 64 B", 1, reserve_typed, run_publish, clear_slots, 64},
	{"publish, counted, 64 B", 1, reserve_counted, run_publish, clear_counted, 64},
	{"link", 1, fill_counted, run_link, clear_counted, 0},
	{"weak link", 1, fill_counted, run_weak_link, clear_counted, 0},
	{"weak get", 1, fill_weak, run_weak_get, clear_counted, 0},
	{"retire, counted, of an object", 2, fill_counted, run_retire, clear_counted, 0},
	{"retire, counted, of two objects", 3, fill_pair, run_retire, clear_counted, 0},
	{"redo, 1 counted object", 1, fill_counted, run_tx_counted, clear_counted, 0},
	{"transaction, empty", 0, nothing, run_empty_tx, nothing, 0},
	{"transaction, empty, aborted", 0, nothing, run_empty_abort, nothing, 0},
	{"redo, 1 word", 1, nothing, run_redo_sets, nothing, 1},
	{"redo, 8 words", 1, nothing, run_redo_sets, nothing, 8},
	{"redo, 32 words", 1, nothing, run_redo_sets, nothing, 32},
	{"redo, aborted", 0, nothing, run_redo_abort, nothing, 1},
	{"redo, 1 object of 64 B", 1, nothing, run_redo_allocs, clear_slots, 1},
	{"redo, 8 objects of 64 B", 2, nothing, run_redo_allocs, clear_slots, 8},
	{"redo, 8 retired", 1, fill_eight, run_redo_retires, nothing, 64},
	{"undo, 1 range of 64 B", 3, nothing, run_undo_commit, nothing, 1},
	{"undo, 8 ranges of 64 B", 3, nothing, run_undo_commit, nothing, 8},
	{"undo, 1 range of 64 B, aborted", 3, nothing, run_undo_abort, nothing, 1},
	{"undo, 8 ranges of 64 B, aborted", 3, nothing, run_undo_abort, nothing, 8},
	{"persist, 64 B", 1, reserve, run_persist, free_reserved, 64},
	{"persist, 4 KiB", 1, reserve, run_persist, free_reserved, 4096},
	/* From here on in a traced pool, where a bit of a bitmap is in no record. */
	{"traced: reserve and free, 64 B", 0, nothing, run_reserve_and_free, nothing, 64},
	{"traced: reserve and free, 4 KiB", 0, nothing, run_reserve_and_free, nothing, 4096},
	{"traced: reserve and free, 1 MiB", 0, nothing, run_reserve_and_free, nothing, 1 << 20},
	{"traced: publish, 64 B", 1, reserve, run_publish, clear_slots, 64},
	{"traced: publish, 4 KiB", 2, reserve, run_publish, clear_slots, 4096},
	{"traced: retire, 64 B", 1, fill_one, run_retire, nothing, 64},
	{"traced: replace, 64 B", 1, fill_one_and_reserve, run_replace, clear_slots, 64},
	{"traced: set", 1, nothing, run_set, nothing, 0},
	{"traced: redo, 8 objects of 64 B", 2, nothing, run_redo_allocs, clear_slots, 8},
	{"traced: redo, 8 retired", 1, fill_eight, run_redo_retires, nothing, 64},
};

/* ---- measuring ---------------------------------------------------------------- */

/* Instructions executed so far; what the interposed calls say, where nobody traces. */
static struct pmem_calls executed(void)
{
#if TRACED
	struct pheaptrace_counts now;

	if (!pheaptrace_count(&now))
		fail_msg("not run under the tracer");
	return (struct pmem_calls){
		.fences = now.fences,
		.flushed_lines = now.flushes,
		.nt_lines = now.nt_lines,
	};
#else
	return pmem_calls;
#endif
}

static const size_t slab_sizes[] = {16, 64, 256, 320, 4096};

static bool is_traced(const struct op *op)
{
	return !strncmp(op->name, "traced", 6);
}

static void begin_in(pheap_t *pool)
{
	char name[16];
	size_t i;

	heap = pool;
	fill_pattern(content, sizeof(content), 99);
	assert_ok(pheap_alloc_into(heap, pheap_root(heap), SLOTS * 8, NULL));
	slots = pheap_ptr(heap, *pheap_root(heap));
	assert_ok(pheap_alloc_into(heap, assert_made(pheap_named_root(heap, "words")), 4096, NULL));
	words = pheap_ptr(heap, *pheap_find_root(heap, "words"));
	/* One object stays in each slab, so that it is neither born nor buried. */
	for (i = 0; i < ELEMENTS(slab_sizes); i++) {
		snprintf(name, sizeof(name), "stays %zu", i);
		assert_ok(pheap_alloc_into(heap, assert_made(pheap_named_root(heap, name)),
					   slab_sizes[i], NULL));
	}
}

static void begin(void)
{
	begin_in(make_pool("p", POOL));
}

static void begin_traced(void)
{
	struct pheap_options options = options_of(POOL);

	options.flags |= PHEAP_TRACED;
	unlink(scratch("p"));
	begin_in(assert_made(pheap_create(scratch("p"), &options)));
}

/* Were as many instructions executed as calls were made? */
static void agree(const struct op *op, const struct pmem_calls *started,
		  const struct pmem_calls *ended, const struct pmem_calls *calls)
{
	uint64_t fences = ended->fences - started->fences;
	uint64_t flushed = ended->flushed_lines - started->flushed_lines;
	uint64_t past_cache = ended->nt_lines - started->nt_lines;

	if (fences != calls->fences || flushed != calls->flushed_lines ||
	    past_cache != calls->nt_lines)
		fail_msg("%s: executed %u fences, %u + %u lines, asked for %u, %u + %u", op->name,
			 (unsigned)fences, (unsigned)flushed, (unsigned)past_cache,
			 (unsigned)calls->fences, (unsigned)calls->flushed_lines,
			 (unsigned)calls->nt_lines);
}

/* Run once; false where a checkpoint came in between. */
static bool sample(const struct op *op, struct pmem_calls *cost)
{
	struct pheap_stats before, after;
	struct pmem_calls started, ended;

	op->prepare(op->size);
	before = stats_of(heap);
	pmem_calls = (struct pmem_calls){0};
	started = executed();
	op->run(op->size);
	ended = executed();
	*cost = pmem_calls;
	after = stats_of(heap);
	op->restore(op->size);

	agree(op, &started, &ended, cost);
	/* The library's own counters say the same, whatever has happened. */
	assert_int_equal(after.fences - before.fences, cost->fences);
	assert_int_equal(after.flushed_lines - before.flushed_lines, cost->flushed_lines);
	assert_int_equal(after.nt_lines - before.nt_lines, cost->nt_lines);
	return after.checkpoints == before.checkpoints;
}

static bool same(const struct pmem_calls *a, const struct pmem_calls *b)
{
	return a->fences == b->fences && a->flushed_lines == b->flushed_lines &&
	       a->nt_lines == b->nt_lines;
}

static void measure(const struct op *op, struct pmem_calls *cost)
{
	struct pmem_calls one;
	unsigned i, taken = 0;

	for (i = 0; i < 3; i++) /* warm up */
		sample(op, &one);
	for (i = 0; i < SAMPLES; i++) {
		if (!sample(op, &one))
			continue;
		if (!taken++)
			*cost = one;
		if (!same(cost, &one)) {
			print_error("%s: once %u fences, %u + %u lines, then %u, %u + %u\n",
				    op->name, (unsigned)cost->fences, (unsigned)cost->flushed_lines,
				    (unsigned)cost->nt_lines, (unsigned)one.fences,
				    (unsigned)one.flushed_lines, (unsigned)one.nt_lines);
			fail();
		}
	}
	/* Checkpoints are rare, or the figures say nothing. */
	assert_true(taken >= SAMPLES * 3 / 4);
	if (cost->fences > op->fences)
		fail_msg("%s: %u fences, the headers promise %u", op->name, (unsigned)cost->fences,
			 op->fences);
}

static void write_table(FILE *file, const struct pmem_calls *costs)
{
	size_t i;

	fputs("# Fences, lines flushed from the cache and lines written past it, for each\n"
	      "# operation in the steady state, without checkpoints. Contract where it says\n"
	      "# fences; the lines are there so that a change of them is noticed.\n"
	      "# Rewritten by: test-golden FILE --update\n"
	      "#\n"
	      "# operation                         fences flushed past-cache\n",
	      file);
	for (i = 0; i < ELEMENTS(ops); i++)
		fprintf(file, "%-36s %5u %7u %10u\n", ops[i].name, (unsigned)costs[i].fences,
			(unsigned)costs[i].flushed_lines, (unsigned)costs[i].nt_lines);
}

/* The file at path; the caller frees it. */
static char *read_text(const char *path)
{
	char *text = calloc(1, 1 << 16);
	FILE *file = fopen(path, "r");

	must(text && file);
	must(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

static void table(void **state)
{
	static struct pmem_calls costs[ELEMENTS(ops)];
	char *want, *got;
	FILE *file;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(ops); i++) {
		if (is_traced(&ops[i]) && !info_of(heap).traced) {
			close_pool(heap);
			begin_traced();
		}
		measure(&ops[i], &costs[i]);
	}
	close_pool(heap);

	file = fopen(update ? golden_path : scratch("fences"), "w");
	assert_non_null(file);
	write_table(file, costs);
	assert_int_equal(fclose(file), 0);
	if (update)
		return;
	want = read_text(golden_path);
	got = read_text(scratch("fences"));
	if (strcmp(want, got)) {
		print_error("%s differs; now it is:\n%s", golden_path, got);
		fail();
	}
	free(want);
	free(got);
}

/* Nothing is flushed and nothing fenced, checkpoints included. */
static void no_flush_needed(void **state)
{
	struct pmem_calls cost;
	unsigned round;
	size_t i;

	(void)state;
	begin();
	for (i = 0; i < ELEMENTS(ops); i++) {
		for (round = 0; round < SAMPLES; round++) {
			sample(&ops[i], &cost);
			assert_int_equal(cost.fences, 0);
			assert_int_equal(cost.flushed_lines, 0);
			assert_int_equal(cost.nt_lines, 0);
		}
	}
	pmem_calls = (struct pmem_calls){0};
	for (round = 0; round < 5000; round++)
		run_set(0);
	assert_int_equal(pmem_calls.fences, 0);
	assert_int_equal(pmem_calls.flushed_lines, 0);
	close_pool(heap);
}

/* ---- checkpoints ---------------------------------------------------------------- */

/* Two fences each, and at least a hundred operations between them. */
static void amortised(const char *what, unsigned n, void (*run)(size_t), void (*other)(size_t))
{
	struct pheap_stats before, after;
	uint64_t checkpoints, fences;
	unsigned i;

	before = stats_of(heap);
	for (i = 0; i < n; i += 2) {
		run(64);
		other(64);
	}
	after = stats_of(heap);
	checkpoints = after.checkpoints - before.checkpoints;
	fences = after.fences - before.fences;
	/* As many as a ring of this size must run at least. */
	assert_true(checkpoints > 0);
	if (checkpoints * 100 > n || fences > n + 2 * checkpoints) {
		print_error("%s: %u operations, %u checkpoints, %u fences\n", what, n,
			    (unsigned)checkpoints, (unsigned)fences);
		fail();
	}
}

static void checkpoints_are_rare(void **state)
{
	(void)state;
	begin();
	amortised("set", 20000, run_set, run_set);
	amortised("alloc_into and retire", 20000, run_alloc_into, run_retire);
	close_pool(heap);
}

/* A line that many records of a ring wrote is flushed once by a checkpoint. */
static void lines_flushed_once(void **state)
{
	struct pheap_stats before, after;
	uint64_t checkpoints;
	unsigned i;

	(void)state;
	begin();
	before = stats_of(heap);
	for (i = 0; i < 20000; i++)
		run_set(0);
	after = stats_of(heap);
	checkpoints = after.checkpoints - before.checkpoints;
	/* The line of words[7], and the state line. */
	assert_true(after.flushed_lines - before.flushed_lines <= 3 * checkpoints);
	close_pool(heap);
}

/* ---- reserving ---------------------------------------------------------------------- */

/* All of the pool but the granules for data; the caller frees it. */
static char *metadata(size_t *length)
{
	char *base = ((struct pheap_view *)heap)->base, *copy;
	struct pm_zone zone;

	memcpy(&zone, base + PM_ZONE_TABLE, sizeof(zone));
	*length = zone.data;
	copy = malloc(zone.data);
	must(copy);
	memcpy(copy, base, zone.data);
	return copy;
}

/* Reserving and freeing what was never published stores nothing on media. */
static void reserving_touches_no_metadata(void **state)
{
	static void *objects[4000];
	struct rng rng = rng_make(1);
	char *before, *after;
	size_t i, k, length;

	(void)state;
	begin();
	fill_slots(8, 64);
	clear_slots(0);
	before = metadata(&length);
	pmem_calls = (struct pmem_calls){0};
	for (i = 0; i < 40000; i++) {
		k = rng_below(&rng, ELEMENTS(objects));
		if (objects[k]) {
			assert_ok(pheap_free(heap, objects[k]));
			objects[k] = NULL;
		} else {
			objects[k] = assert_made(
				pheap_alloc(heap, 1 + rng_below(&rng, i % 50 ? 2000 : 200000)));
		}
	}
	assert_int_equal(pmem_calls.fences, 0);
	assert_int_equal(pmem_calls.flushed_lines, 0);
	assert_int_equal(pmem_calls.stores, 0);
	after = metadata(&length);
	assert_memory_equal(before, after, length);
	free(before);
	free(after);
	memset(objects, 0, sizeof(objects));
	close_pool(heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest flushed[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(checkpoints_are_rare),
		cmocka_unit_test(lines_flushed_once),
		cmocka_unit_test(reserving_touches_no_metadata),
	};
	const struct CMUnitTest unflushed[] = {
		cmocka_unit_test(no_flush_needed),
		cmocka_unit_test(reserving_touches_no_metadata),
	};
	int failed;

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "--update"))) {
		fprintf(stderr, "usage: %s FILE [--update]\n", argv[0]);
		return 2;
	}
	golden_path = argv[1];
	update = argc == 3;
	test_init(1, argv);
	if (TRACED)
		cmocka_set_test_filter("table");
	failed = run_modes(MODE_PMEM, flushed);
	if (TRACED)
		cmocka_set_test_filter("no_flush_needed");
	failed += run_modes(MODE_PROCESS, unflushed);
	return failed;
}
