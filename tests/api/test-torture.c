/*
 * test-torture.c - kill -9, again and again.
 *
 *	test-torture [--traced | --collect] [ROUNDS [SEED]]
 *
 * A writer process runs random operations on a pool, in four threads on slots of
 * their own. Before each operation it notes in memory shared with its parent what
 * the operation will change, and afterwards that it has returned. The parent kills
 * it at a random moment, lets the pool be recovered, and compares: what had
 * returned is there, what was under way is there as a whole or not at all, nothing
 * leaked, nothing overlaps. The next writer goes on from there.
 *
 * Recovery is killed too: at a random moment, or at one of its fences.
 *
 * --collect: objects are unlinked and not freed, and one of the threads collects garbage, young
 * and all. Nothing but garbage may be gone, and a collection after the kill finds the rest.
 * --traced: in a traced pool, where what is linked is there because recovery reaches it.
 */
#include "common.h"
#include "interpose.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define POOL MIB(32)
#define THREADS 4
#define SLOTS 48
#define WORDS 32
#define CELLS 16
#define CELL 256
#define ITEMS (SLOTS + WORDS + CELLS)
#define STEPS 16

/* What each thread has in the pool; the root refers to the array of all. */
struct own {
	pheap_ref slots[SLOTS];
	uint64_t words[WORDS];
	char cells[CELLS][CELL];
};

/* Of a slot: the object's pattern, its size, and how many bytes of the pattern it
 * has (a resized one has a tail that says nothing). Of a word or a cell: its
 * value or pattern as id. */
struct value {
	uint64_t id, size, valid;
};

enum phase { IDLE = 0, STARTED = 1, RETURNED = 2 };

/* Written by one thread of the writer, read by the parent when it is dead. */
struct shadow {
	struct value now[ITEMS];
	uint64_t phase;
	uint64_t n;
	struct {
		uint64_t item;
		struct value to;
	} steps[STEPS];
	uint64_t operations;
};

static struct {
	struct shadow thread[THREADS];
	int stop;
} * shared;

static struct {
	unsigned whole, absent, idle, recoveries_killed;
} seen;

static bool traced, collects;

/* Of a traced pool, and of one with garbage: the array that the root refers to. */
static pheap_type_t *own_type(pheap_t *heap)
{
	static uint32_t refs[SLOTS];
	struct pheap_type_info info = {.struct_size = sizeof(info),
				       .name = "own",
				       .version = 1,
				       .flags = PHEAP_TYPE_ARRAY,
				       .size = sizeof(struct own),
				       .refs = refs,
				       .nrefs = SLOTS};

	for (unsigned i = 0; i < SLOTS; i++)
		refs[i] = i * (uint32_t)sizeof(pheap_ref);
	return pheap_type_register(heap, &info);
}

/* ---- the writer ------------------------------------------------------------------ */

struct writer {
	pheap_t *heap;
	struct own *own;
	struct shadow *shadow;
	struct rng rng;
	unsigned index;
};

static void set_phase(struct shadow *shadow, enum phase phase)
{
	__atomic_store_n(&shadow->phase, phase, __ATOMIC_RELEASE);
}

/* Does what the operation changes become what there is now. */
static void apply(struct shadow *shadow)
{
	uint64_t i;

	for (i = 0; i < shadow->n; i++)
		shadow->now[shadow->steps[i].item] = shadow->steps[i].to;
}

static void intend(struct writer *w, unsigned item, struct value to)
{
	must(w->shadow->n < STEPS);
	w->shadow->steps[w->shadow->n].item = item;
	w->shadow->steps[w->shadow->n++].to = to;
}

/* Nothing may fail but for want of space, and then nothing has changed. */
static void finish(struct writer *w, int code)
{
	must(!code || code == -ENOSPC);
	if (!code) {
		set_phase(w->shadow, RETURNED);
		apply(w->shadow);
	}
	set_phase(w->shadow, IDLE);
	w->shadow->n = 0;
	w->shadow->operations++;
}

static uint64_t new_id(struct writer *w)
{
	return rng_next(&w->rng) | 1;
}

static uint64_t random_size(struct writer *w)
{
	switch (rng_below(&w->rng, 16)) {
	case 0:
		return 1 + rng_below(&w->rng, 150000);
	case 1:
	case 2:
		return 1 + rng_below(&w->rng, 8000);
	default:
		return 1 + rng_below(&w->rng, 400);
	}
}

static struct value random_object(struct writer *w)
{
	uint64_t size = random_size(w);

	return (struct value){new_id(w), size, size};
}

static void *reserve(struct writer *w, struct value value)
{
	void *object = pheap_alloc(w->heap, value.size);

	if (object)
		fill_pattern(object, value.size, value.id);
	else
		must(errno == ENOSPC);
	return object;
}

static void publish_or_replace(struct writer *w, unsigned item)
{
	struct value to = random_object(w);
	pheap_ref *slot = &w->own->slots[item];
	void *object = reserve(w, to);
	unsigned flags = 0;
	int code;

	if (!object)
		return;
	if (rng_below(&w->rng, 4) == 0) {
		must(!pheap_persist(w->heap, object, to.size));
		flags = PHEAP_PERSISTED;
	}
	intend(w, item, to);
	set_phase(w->shadow, STARTED);
	code = w->shadow->now[item].id ? pheap_replace(w->heap, slot, object, flags)
				       : pheap_publish(w->heap, slot, object, flags);
	finish(w, code);
	if (code)
		must(!pheap_free(w->heap, object));
}

static void alloc_into(struct writer *w, unsigned item)
{
	static __thread char content[150000];
	struct value to = random_object(w);

	fill_pattern(content, to.size, to.id);
	intend(w, item, to);
	set_phase(w->shadow, STARTED);
	finish(w, pheap_alloc_into(w->heap, &w->own->slots[item], to.size, content));
}

/* Unlinked, and garbage from then on. */
static void forget(struct writer *w, unsigned item)
{
	intend(w, item, (struct value){0});
	set_phase(w->shadow, STARTED);
	finish(w, pheap_set(w->heap, &w->own->slots[item], 0));
}

static void collect(pheap_t *heap, unsigned flags, struct pheap_gc_report *report)
{
	struct pheap_gc_options options = {.struct_size = sizeof(options),
					   .flags = PHEAP_GC_LEAVES | flags};

	*report = (struct pheap_gc_report){.struct_size = sizeof(*report)};
	must(!pheap_gc(heap, &options, report));
}

static void collect_sometimes(struct writer *w)
{
	struct pheap_gc_report report;

	if (w->index == 0 && rng_below(&w->rng, 100) == 0)
		collect(w->heap, rng_below(&w->rng, 4) ? PHEAP_GC_YOUNG : 0, &report);
	pheap_safepoint(w->heap);
}

static void retire(struct writer *w, unsigned item)
{
	intend(w, item, (struct value){0});
	set_phase(w->shadow, STARTED);
	finish(w, pheap_retire(w->heap, &w->own->slots[item]));
}

static void resize(struct writer *w, unsigned item)
{
	struct value to = w->shadow->now[item];

	to.size = random_size(w);
	if (to.valid > to.size)
		to.valid = to.size;
	intend(w, item, to);
	set_phase(w->shadow, STARTED);
	finish(w, pheap_resize(w->heap, &w->own->slots[item], to.size));
}

static void change_slot(struct writer *w)
{
	unsigned item = (unsigned)rng_below(&w->rng, SLOTS);

	if (!w->shadow->now[item].id) {
		if (rng_below(&w->rng, 2))
			publish_or_replace(w, item);
		else
			alloc_into(w, item);
		return;
	}
	switch (rng_below(&w->rng, 4)) {
	case 0:
		publish_or_replace(w, item);
		break;
	case 1:
		resize(w, item);
		break;
	default:
		if (collects)
			forget(w, item);
		else
			retire(w, item);
	}
}

static void set_word(struct writer *w)
{
	unsigned word = (unsigned)rng_below(&w->rng, WORDS);
	uint64_t id = new_id(w);

	intend(w, SLOTS + word, (struct value){id, 0, 0});
	set_phase(w->shadow, STARTED);
	finish(w, pheap_set(w->heap, &w->own->words[word], id));
}

static void write_cell(struct writer *w)
{
	unsigned cell = (unsigned)rng_below(&w->rng, CELLS);
	uint64_t id = new_id(w);
	char bytes[CELL];

	fill_pattern(bytes, CELL, id);
	intend(w, SLOTS + WORDS + cell, (struct value){id, 0, 0});
	set_phase(w->shadow, STARTED);
	finish(w, pheap_write(w->heap, w->own->cells[cell], bytes, CELL));
}

/* One step of a transaction on a slot: free what is there, link something new. */
static int tx_slot(struct writer *w, pheap_tx_t *tx, unsigned item, struct value to)
{
	pheap_ref *slot = &w->own->slots[item];
	void *object;

	if (w->shadow->now[item].id && !to.id)
		return pheap_tx_retire(tx, slot);
	if (w->shadow->now[item].id)
		must(!pheap_tx_free(tx, pheap_ptr(w->heap, *slot)));
	if (to.id % 8 < 4) {
		object = reserve(w, to);
		if (object)
			must(!pheap_tx_adopt(tx, object));
	} else {
		object = pheap_tx_alloc(tx, to.size);
		if (object)
			fill_pattern(object, to.size, to.id);
	}
	if (!object)
		return -errno;
	return pheap_tx_set(tx, slot, pheap_ref_of(w->heap, object));
}

/* One step on a word or a cell, by redo or by undo. */
static int tx_bytes(struct writer *w, pheap_tx_t *tx, unsigned item, struct value to, bool undo)
{
	bool is_word = item < SLOTS + WORDS;
	void *dst = is_word ? (void *)&w->own->words[item - SLOTS]
			    : (void *)w->own->cells[item - SLOTS - WORDS];
	size_t length = is_word ? 8 : CELL;
	char bytes[CELL];
	int code;

	if (is_word)
		memcpy(bytes, &to.id, 8);
	else
		fill_pattern(bytes, CELL, to.id);
	if (!undo)
		return is_word && to.id % 8 < 5 ? pheap_tx_set(tx, dst, to.id)
						: pheap_tx_write(tx, dst, bytes, length);
	/* A half, changed, and then the whole: the older content must win. */
	code = pheap_tx_snapshot(tx, dst, length / 2);
	if (!code) {
		memset(dst, 0x5a, length / 2);
		code = pheap_tx_snapshot(tx, dst, length);
	}
	if (!code)
		memcpy(dst, bytes, length);
	return code;
}

static bool is_intended(const struct shadow *shadow, unsigned item)
{
	uint64_t i;

	for (i = 0; i < shadow->n; i++)
		if (shadow->steps[i].item == item)
			return true;
	return false;
}

static void transaction(struct writer *w)
{
	unsigned count = 1 + (unsigned)rng_below(&w->rng, STEPS),
		 style = (unsigned)rng_below(&w->rng, 3);
	bool abort_it = rng_below(&w->rng, 4) == 0;
	struct shadow *shadow = w->shadow;
	pheap_tx_t *tx;
	uint64_t i, n;
	int code = 0;

	while (count--) {
		unsigned item = (unsigned)rng_below(&w->rng, ITEMS);
		struct value to = {new_id(w), 0, 0};

		if (is_intended(shadow, item) || (item < SLOTS && style == 0))
			continue;
		if (item < SLOTS)
			to = shadow->now[item].id && rng_below(&w->rng, 2) ? (struct value){0}
									   : random_object(w);
		intend(w, item, to);
	}
	n = shadow->n;
	if (abort_it)
		shadow->n = 0;
	set_phase(shadow, STARTED);
	tx = pheap_tx_begin(w->heap);
	must(tx);
	for (i = 0; i < n && !code; i++) {
		unsigned item = (unsigned)shadow->steps[i].item;
		struct value to = shadow->steps[i].to;

		code = item < SLOTS ? tx_slot(w, tx, item, to)
				    : tx_bytes(w, tx, item, to,
					       style == 0 || (style == 1 && to.id % 16 < 8));
	}
	if (abort_it || code) {
		must(!pheap_tx_abort(tx));
		finish(w, code);
	} else {
		finish(w, pheap_tx_commit(tx));
	}
}

static void *write_on(void *arg)
{
	struct writer *w = arg;
	void *garbage, *kept[64];
	unsigned n = 0;

	must(!collects || !pheap_gc_join(w->heap));
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		if (collects)
			collect_sometimes(w);
		switch (rng_below(&w->rng, 10)) {
		case 0:
		case 1:
		case 2:
		case 3:
			change_slot(w);
			break;
		case 4:
			set_word(w);
			break;
		case 5:
			write_cell(w);
			break;
		case 6:
			/* Never published: free again after the kill. */
			garbage = pheap_alloc(w->heap, random_size(w));
			if (garbage && (n == ELEMENTS(kept) || rng_below(&w->rng, 20)))
				must(!pheap_free(w->heap, garbage));
			else if (garbage)
				kept[n++] = garbage;
			break;
		default:
			transaction(w);
		}
	}
	/* A clean close of a traced pool keeps what is allocated. */
	while (traced && n)
		must(!pheap_free(w->heap, kept[--n]));
	must(!collects || !pheap_gc_leave(w->heap));
	return NULL;
}

static void random_mode(struct rng *rng, struct pheap_options *opts)
{
	*opts = (struct pheap_options){.struct_size = sizeof(*opts)};
	if (rng_below(rng, 2)) {
		opts->durability = PHEAP_POWER;
		opts->flags = PHEAP_FORCE_PMEM;
	} else {
		opts->durability = PHEAP_PROCESS;
	}
}

static void have_generations(pheap_t *heap, struct rng *rng)
{
	struct pheap_gc_generations generations = {
		.struct_size = sizeof(generations),
		.flags = PHEAP_GC_LEAVES,
		.survive = 1 + (unsigned)rng_below(rng, 3),
	};

	must(!pheap_gc_set_generations(heap, &generations));
}

static void run_writer(struct rng rng)
{
	struct writer writers[THREADS];
	struct pheap_options opts;
	struct own *own;
	pheap_t *heap;
	unsigned i;

	random_mode(&rng, &opts);
	heap = pheap_open(scratch("p"), &opts);
	must(heap);
	own = pheap_ptr(heap, *pheap_root(heap));
	must(own);
	for (i = 0; i < THREADS; i++)
		writers[i] =
			(struct writer){heap, &own[i], &shared->thread[i], {rng_next(&rng)}, i};
	if (collects)
		have_generations(heap, &rng);
	run_threads(THREADS, write_on, writers, sizeof(writers[0]));
	must(!pheap_close(heap));
	_exit(0);
}

/* ---- the parent ------------------------------------------------------------------ */

static bool matches(pheap_t *heap, const struct own *own, unsigned item, struct value value)
{
	void *object;

	if (item >= SLOTS + WORDS)
		return value.id ? has_pattern(own->cells[item - SLOTS - WORDS], CELL, value.id)
				: own->cells[item - SLOTS - WORDS][0] == 0;
	if (item >= SLOTS)
		return own->words[item - SLOTS] == value.id;
	if (!own->slots[item] || !value.id)
		return !own->slots[item] && !value.id;
	object = pheap_ptr(heap, own->slots[item]);
	return object && pheap_usable_size(heap, object) >= value.size &&
	       has_pattern(object, value.valid, value.id);
}

static void show_state(pheap_t *heap, const struct own *own, const struct shadow *shadow)
{
	uint64_t i;
	unsigned item;

	for (i = 0; i < shadow->n; i++) {
		item = (unsigned)shadow->steps[i].item;
		fprintf(stderr, "item %u: %s before, %s after\n", item,
			matches(heap, own, item, shadow->now[item]) ? "as" : "not as",
			matches(heap, own, item, shadow->steps[i].to) ? "as" : "not as");
	}
}

/* What the operation under way has come to: whole or absent. */
static void resolve(pheap_t *heap, const struct own *own, struct shadow *shadow)
{
	uint64_t i, before = 0, after = 0;

	if (shadow->phase == STARTED) {
		for (i = 0; i < shadow->n; i++) {
			unsigned item = (unsigned)shadow->steps[i].item;

			before += matches(heap, own, item, shadow->now[item]);
			after += matches(heap, own, item, shadow->steps[i].to);
		}
		if (before != shadow->n && after != shadow->n) {
			show_state(heap, own, shadow);
			must(!"an operation happened in part");
		}
		if (after == shadow->n)
			apply(shadow);
		*(after == shadow->n ? &seen.whole : &seen.absent) += shadow->n > 0;
	} else if (shadow->phase == RETURNED) {
		apply(shadow);
		seen.whole++;
	} else {
		seen.idle++;
	}
	shadow->phase = IDLE;
	shadow->n = 0;
}

static int compare_refs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void show_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	fprintf(stderr, "check: %s at offset %#llx: %s\n", problem->invariant,
		(unsigned long long)problem->offset, problem->message);
}

/* Of an open traced pool the checker counts none. */
static uint64_t count_allocated(pheap_t *heap)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	must(!pheap_get_space(heap, &space));
	return space.objects - 1; /* what keeps the type */
}

/* Objects that are there, or will be when all garbage is gone. */
static uint64_t count_live(pheap_t *heap, const struct pheap_options *opts)
{
	struct pheap_gc_report report;

	collect(heap, opts->flags & PHEAP_READONLY ? PHEAP_GC_DRY_RUN : 0, &report);
	must(report.freed == report.garbage || opts->flags & PHEAP_READONLY);
	return report.live - 1; /* what keeps the type */
}

static void verify(const struct pheap_options *opts)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	pheap_ref refs[THREADS * SLOTS + 1];
	pheap_t *heap = pheap_open(scratch("p"), opts);
	const struct own *own;
	unsigned i, item, n = 0;

	must(heap);
	own = pheap_ptr(heap, *pheap_root(heap));
	must(own);
	for (i = 0; i < THREADS; i++) {
		resolve(heap, &own[i], &shared->thread[i]);
		for (item = 0; item < ITEMS; item++) {
			if (!matches(heap, &own[i], item, shared->thread[i].now[item])) {
				fprintf(stderr, "thread %u, item %u\n", i, item);
				must(!"what had returned is not there");
			}
			if (item < SLOTS && own[i].slots[item])
				refs[n++] = own[i].slots[item];
		}
	}
	must(!pheap_check(heap, &result, show_problem, NULL));
	/* Nothing leaked, and nothing overlaps. */
	refs[n++] = *pheap_root(heap);
	must((traced	 ? count_allocated(heap)
	      : collects ? count_live(heap, opts)
			 : result.objects) == n);
	qsort(refs, n, sizeof(refs[0]), compare_refs);
	for (i = 1; i < n; i++)
		must(refs[i - 1] + pheap_usable_size(heap, pheap_ptr(heap, refs[i - 1])) <=
		     refs[i]);
	must(!pheap_close(heap));
}

static unsigned fences_left;

static void die_at_fence(void)
{
	if (!fences_left--)
		raise(SIGKILL);
}

/* A process that is killed in pheap_open, at a fence or at any moment. */
static void kill_recovery(struct rng *rng)
{
	struct pheap_options opts;
	bool at_fence = rng_below(rng, 2);
	pid_t child;
	int status;

	random_mode(rng, &opts);
	if (at_fence) {
		opts.durability = PHEAP_POWER;
		opts.flags = PHEAP_FORCE_PMEM;
		fences_left = (unsigned)rng_below(rng, 12);
		pmem_at_fence = die_at_fence;
	}
	fflush(NULL);
	child = fork();
	must(child >= 0);
	if (!child) {
		must(pheap_open(scratch("p"), &opts));
		/* Like a kill right after: no close. */
		raise(SIGKILL);
	}
	if (!at_fence) {
		usleep((useconds_t)rng_below(rng, 1500));
		kill(child, SIGKILL);
	}
	pmem_at_fence = NULL;
	must(waitpid(child, &status, 0) == child);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	seen.recoveries_killed++;
}

static void run_round(struct rng *rng)
{
	bool graceful = rng_below(rng, 20) == 0;
	struct pheap_options opts;
	unsigned kills;
	pid_t child;
	int status;

	shared->stop = 0;
	fflush(NULL);
	child = fork();
	must(child >= 0);
	if (!child)
		run_writer((struct rng){rng_next(rng)});
	rng_next(rng);
	usleep((useconds_t)rng_below(rng, rng_below(rng, 4) ? 120000 : 4000));
	if (graceful)
		__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	else
		kill(child, SIGKILL);
	must(waitpid(child, &status, 0) == child);
	if (graceful)
		must(WIFEXITED(status) && !WEXITSTATUS(status));
	else
		must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	if (rng_below(rng, 3) == 0)
		for (kills = 1 + (unsigned)rng_below(rng, 4); kills > 0; kills--)
			kill_recovery(rng);
	random_mode(rng, &opts);
	/* Read-only leaves the file as it is: the next writer recovers it again. */
	if (rng_below(rng, 3) == 0)
		opts.flags |= PHEAP_READONLY;
	verify(&opts);
}

static void make_empty(void)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .size = POOL, .durability = PHEAP_PROCESS};
	pheap_t *heap;
	void *own;

	opts.flags = traced ? PHEAP_TRACED : 0;
	heap = pheap_create(scratch("p"), &opts);
	must(heap);
	own = traced || collects ? pheap_zalloc_array(own_type(heap), THREADS)
				 : pheap_zalloc(heap, THREADS * sizeof(struct own));
	must(own);
	must(!pheap_publish(heap, pheap_root(heap), own, 0));
	must(!pheap_close(heap));
}

int main(int argc, char **argv)
{
	uint64_t operations = 0;
	unsigned rounds, i;
	struct rng rng;

	traced = argc > 1 && !strcmp(argv[1], "--traced");
	collects = argc > 1 && !strcmp(argv[1], "--collect");
	argc -= traced + collects;
	argv += traced + collects;
	rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 200;

	test_init(argc - 1, argv + 1);
	rng = rng_make(1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	must(shared != MAP_FAILED);
	make_empty();
	for (i = 0; i < rounds; i++)
		run_round(&rng);
	for (i = 0; i < THREADS; i++)
		operations += shared->thread[i].operations;
	printf("%u rounds, %llu operations; under way at the kill: %u whole, %u absent, %u none; "
	       "%u recoveries killed\n",
	       rounds, (unsigned long long)operations, seen.whole, seen.absent, seen.idle,
	       seen.recoveries_killed);
	/* Or else the kills came where nothing was at stake. */
	must(rounds < 100 || (operations > 1000 && seen.whole > 0 && seen.absent > 0));
	return 0;
}
