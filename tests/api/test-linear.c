/*
 * test-linear.c - single operations of several threads on the same slots, without a lock of
 * the program's, are linearisable: there is an order of them that agrees with what came
 * before what in real time, and in which each gave what a slot by itself would give.
 *
 * A round is a few operations of each thread on a few slots. Their beginnings and ends are
 * drawn from one counter. Then the history of each slot is searched for such an order, as
 * in J. Wing and C. Gong, "Testing and verifying concurrent objects", 1993; what was looked
 * at, a set of operations and the slot after them, is not looked at again (G. Lowe, 2017).
 * Histories of different slots may be searched one by one, since linearisability is local.
 *
 * Threads give way at random at the fences of the library, which is in the middle of every
 * operation, so that they overlap however few processors there are.
 */
#include "media.h"

#include <pthread.h>
#include <sched.h>

#define POOL MIB(32)
#define THREADS 4u
#define SLOTS 2u
#define OPS 6u /* of a thread in a round */
#define HISTORY (THREADS * OPS)
#define ROUNDS 2000u

/* Not a reference to any object, but what a slot may hold all the same. */
#define NONSENSE 8u

/* What a slot holds where nobody has seen it: an object that the library made. */
#define SOME_OBJECT UINT64_MAX

enum kind { READ, PUBLISH, RETIRE, REPLACE, ALLOC_INTO, RESIZE, SET, KINDS };
static const char *const names[] = {"read",	  "publish", "retire", "replace",
				    "alloc_into", "resize",  "set"};

struct op {
	enum kind kind;
	unsigned slot, thread;
	uint64_t begin, end; /* begin < end; of different operations never the same */
	uint64_t value;	     /* read: that was found; publish, replace, set: that was put */
	int code;
};

/* ---- the search ---------------------------------------------------------------------- */

/* The code that an operation must give on what the slot holds, and what it holds then. */
static int step(const struct op *op, uint64_t *holds)
{
	uint64_t now = *holds;
	int absent = !now ? -ENOENT : now == NONSENSE ? -EINVAL : 0;

	switch (op->kind) {
	case READ:
		if (now == SOME_OBJECT && op->value != 0 && op->value != NONSENSE)
			*holds = op->value;
		return *holds == op->value ? 0 : -1; /* reads give 0 */
	case PUBLISH:
	case ALLOC_INTO:
		if (now)
			return -EEXIST;
		*holds = op->kind == PUBLISH ? op->value : SOME_OBJECT;
		return 0;
	case RETIRE:
		*holds = absent ? now : 0;
		return absent;
	case REPLACE:
		*holds = absent ? now : op->value;
		return absent;
	case RESIZE:
		*holds = absent ? now : SOME_OBJECT;
		return absent;
	default:
		*holds = op->value;
		return 0;
	}
}

struct seen {
	uint64_t done, holds; /* done 0: an empty place */
};

struct search {
	const struct op *op[HISTORY];
	unsigned n;
	uint64_t last; /* what the slot was seen to hold in the end */
	struct seen seen[1u << 14];
	uint64_t states;
};

/* Was it there already? Where the table is full, nothing is remembered. */
static bool seen_before(struct search *s, uint64_t done, uint64_t holds)
{
	uint64_t hash =
		(done * UINT64_C(0x9e3779b97f4a7c15)) ^ holds * UINT64_C(0xff51afd7ed558ccd);

	for (unsigned i = 0; i < 64; i++) {
		struct seen *at = &s->seen[((hash >> 32) + i) % ELEMENTS(s->seen)];

		if (!at->done) {
			*at = (struct seen){done, holds};
			return false;
		}
		if (at->done == done && at->holds == holds)
			return true;
	}
	return false;
}

/* No operation may come before one that had ended when it began. */
static bool may_be_next(const struct search *s, uint64_t done, unsigned i)
{
	for (unsigned k = 0; k < s->n; k++)
		if (!(done >> k & 1) && s->op[k]->end < s->op[i]->begin)
			return false;
	return true;
}

static bool find_order(struct search *s, uint64_t done, uint64_t holds)
{
	s->states++;
	if (done == (UINT64_C(1) << s->n) - 1)
		return holds == s->last || (holds == SOME_OBJECT && s->last > NONSENSE);
	if (done && seen_before(s, done, holds))
		return false;
	for (unsigned i = 0; i < s->n; i++) {
		uint64_t then = holds;

		if (done >> i & 1 || !may_be_next(s, done, i) ||
		    step(s->op[i], &then) != s->op[i]->code)
			continue;
		if (find_order(s, done | UINT64_C(1) << i, then))
			return true;
	}
	return false;
}

static struct search search;

/* Is the history of one slot, among n operations, linearisable? */
static bool linearisable(const struct op *ops, unsigned n, unsigned slot, uint64_t first,
			 uint64_t last)
{
	memset(&search, 0, sizeof(search));
	search.last = last;
	for (unsigned i = 0; i < n; i++)
		if (ops[i].slot == slot)
			search.op[search.n++] = &ops[i];
	return find_order(&search, 0, first);
}

static void show(const struct op *ops, unsigned n, unsigned slot, uint64_t first, uint64_t last)
{
	print_error("slot %u held %#jx at first and %#jx in the end\n", slot, (uintmax_t)first,
		    (uintmax_t)last);
	for (unsigned i = 0; i < n; i++)
		if (ops[i].slot == slot)
			print_error("thread %u from %ju to %ju: %s %#jx gave %d\n", ops[i].thread,
				    (uintmax_t)ops[i].begin, (uintmax_t)ops[i].end,
				    names[ops[i].kind], (uintmax_t)ops[i].value, ops[i].code);
}

/* ---- the search itself is tested ------------------------------------------------------- */

static void known_histories(void **state)
{
	const struct op in_turn[] = {{PUBLISH, 0, 0, 1, 2, 64, 0},
				     {READ, 0, 1, 3, 4, 64, 0},
				     {RETIRE, 0, 0, 5, 6, 0, 0},
				     {RETIRE, 0, 1, 7, 8, 0, -ENOENT}};
	const struct op at_once[] = {{PUBLISH, 0, 0, 1, 9, 64, 0},
				     {PUBLISH, 0, 1, 2, 8, 128, 0},
				     {RETIRE, 0, 2, 3, 7, 0, 0},
				     {READ, 0, 3, 4, 5, 0, 0}};
	const struct op stale[] = {{PUBLISH, 0, 0, 1, 2, 64, 0}, {READ, 0, 1, 3, 4, 0, 0}};
	const struct op twice[] = {{RETIRE, 0, 0, 1, 9, 0, 0}, {RETIRE, 0, 1, 2, 8, 0, 0}};
	const struct op both[] = {{PUBLISH, 0, 0, 1, 9, 64, 0}, {PUBLISH, 0, 1, 2, 8, 128, 0}};
	const struct op back[] = {
		{SET, 0, 0, 1, 9, 8, 0}, {READ, 0, 1, 2, 3, 8, 0}, {READ, 0, 1, 4, 5, 0, 0}};
	const struct op moved[] = {{RESIZE, 0, 0, 1, 9, 0, 0},
				   {READ, 0, 1, 2, 3, 64, 0},
				   {READ, 0, 1, 4, 5, 128, 0},
				   {READ, 0, 1, 6, 7, 192, 0}};

	(void)state;
	assert_true(linearisable(in_turn, 4, 0, 0, 0));
	assert_true(linearisable(at_once, 4, 0, 0, 64));
	assert_true(linearisable(at_once, 4, 0, 0, 128));
	assert_true(linearisable(moved, 3, 0, 64, 128));
	/* Lost in the end; a stale read; retired twice; published over another; taken
	 * back; moved twice by one. */
	assert_false(linearisable(in_turn, 4, 0, 0, 64));
	assert_false(linearisable(at_once, 4, 0, 0, 0));
	assert_false(linearisable(stale, 2, 0, 0, 64));
	assert_false(linearisable(twice, 2, 0, 64, 0));
	assert_false(linearisable(both, 2, 0, 0, 64));
	assert_false(linearisable(back, 3, 0, 0, 8));
	assert_false(linearisable(moved, 4, 0, 64, 192));
}

/* ---- rounds -------------------------------------------------------------------------------- */

struct run {
	pheap_t *heap;
	pheap_ref *slots;
	pthread_barrier_t barrier;
	uint64_t clock; /* atomic */
	struct op ops[HISTORY];
	unsigned rounds;
	/* What publishes: the library's, or a wrong one. */
	int (*publish)(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags);
	uint64_t first[SLOTS];
	uint64_t overlapping, states, failed;
	uint64_t made, freed; /* objects, by operations that said so; atomic */
};

static __thread struct rng *way; /* the thread's, for giving way */

static void give_way(struct media *media)
{
	(void)media;
	if (way && rng_below(way, 2))
		sched_yield();
}

static void begin_op(struct run *run, struct op *op)
{
	op->begin = __atomic_add_fetch(&run->clock, 1, __ATOMIC_SEQ_CST);
}

static void end_op(struct run *run, struct op *op, int code)
{
	op->end = __atomic_add_fetch(&run->clock, 1, __ATOMIC_SEQ_CST);
	op->code = code;
}

/* publish and replace: of an object reserved before. */
static void link_object(struct run *run, struct op *op, pheap_ref *slot, size_t size)
{
	uint64_t *object = pheap_alloc(run->heap, size);
	int code;

	must(object);
	memset(object, 1, size);
	op->value = pheap_ref_of(run->heap, object);
	begin_op(run, op);
	code = op->kind == PUBLISH ? run->publish(run->heap, slot, object, 0)
				   : pheap_replace(run->heap, slot, object, 0);
	end_op(run, op, code);
	if (code)
		must(!pheap_free(run->heap, object));
}

static void other_op(struct run *run, struct op *op, pheap_ref *slot, struct rng *rng)
{
	size_t size = 16u << rng_below(rng, 6);
	int code = 0;

	op->value = op->kind == SET ? rng_below(rng, 2) * NONSENSE : 0;
	begin_op(run, op);
	switch (op->kind) {
	case READ:
		op->value = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
		break;
	case RETIRE:
		code = pheap_retire(run->heap, slot);
		break;
	case ALLOC_INTO:
		code = pheap_alloc_into(run->heap, slot, size, NULL);
		break;
	case RESIZE:
		code = pheap_resize(run->heap, slot, size);
		break;
	default:
		code = pheap_set(run->heap, slot, op->value);
	}
	end_op(run, op, code);
}

static void one_op(struct run *run, struct op *op, unsigned thread, struct rng *rng)
{
	/* What stores nonsense, or loses objects, not too often. */
	static const enum kind mix[] = {READ,	 READ,	 PUBLISH,    PUBLISH, PUBLISH, RETIRE,
					RETIRE,	 RETIRE, REPLACE,    REPLACE, RESIZE,  ALLOC_INTO,
					PUBLISH, RETIRE, ALLOC_INTO, SET};
	pheap_ref *slot;

	*op = (struct op){.kind = mix[rng_below(rng, ELEMENTS(mix))],
			  .slot = (unsigned)rng_below(rng, SLOTS),
			  .thread = thread};
	slot = &run->slots[op->slot];
	if (op->kind == PUBLISH || op->kind == REPLACE)
		link_object(run, op, slot, rng_below(rng, 4) ? 64 : 1024);
	else
		other_op(run, op, slot, rng);
	if (!op->code && (op->kind == PUBLISH || op->kind == ALLOC_INTO))
		__atomic_add_fetch(&run->made, 1, __ATOMIC_RELAXED);
	if (!op->code && op->kind == RETIRE)
		__atomic_add_fetch(&run->freed, 1, __ATOMIC_RELAXED);
}

static void judge(struct run *run)
{
	for (unsigned i = 0; i < HISTORY; i++)
		for (unsigned k = 0; k < i; k++)
			run->overlapping += run->ops[i].slot == run->ops[k].slot &&
					    run->ops[i].begin < run->ops[k].end &&
					    run->ops[k].begin < run->ops[i].end;
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		uint64_t last = run->slots[slot];

		if (!linearisable(run->ops, HISTORY, slot, run->first[slot], last) &&
		    !run->failed++ && run->publish == pheap_publish)
			show(run->ops, HISTORY, slot, run->first[slot], last);
		run->states += search.states;
		/* What is nonsense would be so for long. */
		if (last == NONSENSE)
			must(!pheap_set(run->heap, &run->slots[slot], last = 0));
		run->first[slot] = last;
	}
}

struct worker {
	struct run *run;
	unsigned thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct run *run = w->run;
	struct rng rng = rng_make(w->thread), yields = rng_make(100 + w->thread);

	way = &yields;
	for (unsigned round = 0; round < run->rounds; round++) {
		for (unsigned i = 0; i < OPS; i++)
			one_op(run, &run->ops[w->thread * OPS + i], w->thread, &rng);
		pthread_barrier_wait(&run->barrier);
		if (w->thread == 0)
			judge(run);
		pthread_barrier_wait(&run->barrier);
	}
	way = NULL;
	return NULL;
}

/* The counts afterwards: each object that was made is there, or was freed, once. */
static void run_rounds(struct run *run)
{
	struct worker workers[THREADS];
	struct media media;

	media_init(&media, POOL);
	run->heap = create_on(media.seen, POOL, &media);
	assert_ok(pheap_alloc_into(run->heap, pheap_root(run->heap), SLOTS * 8, NULL));
	run->slots = pheap_ptr(run->heap, *pheap_root(run->heap));
	media.fenced = give_way;
	must(!pthread_barrier_init(&run->barrier, NULL, THREADS));
	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){run, i};
	run_threads(THREADS, work, workers, sizeof(workers[0]));
	pthread_barrier_destroy(&run->barrier);
	assert_int_equal(check_clean(run->heap), 1 + run->made - run->freed);
	close_pool(run->heap);
	media_free(&media);
}

static void operations_are_linearisable(void **state)
{
	static struct run run = {.rounds = ROUNDS, .publish = pheap_publish};

	(void)state;
	run_rounds(&run);
	print_message("%u rounds, %ju overlapping pairs on one slot, %ju states searched\n",
		      run.rounds, (uintmax_t)run.overlapping, (uintmax_t)run.states);
	assert_int_equal(run.failed, 0);
	assert_true(run.overlapping > run.rounds);
}

/* Looks, and then stores: somebody may publish in between. */
static int publish_in_two_steps(pheap_t *heap, pheap_ref *slot, void *ptr, unsigned flags)
{
	pheap_tx_t *tx;

	(void)flags;
	if (__atomic_load_n(slot, __ATOMIC_ACQUIRE))
		return -EEXIST;
	sched_yield();
	must((tx = pheap_tx_begin(heap)));
	must(!pheap_tx_adopt(tx, ptr));
	must(!pheap_tx_set(tx, slot, pheap_ref_of(heap, ptr)));
	return pheap_tx_commit(tx);
}

/* The control: rounds like those above find it. */
static void what_is_not_is_found(void **state)
{
	static struct run run = {.rounds = ROUNDS, .publish = publish_in_two_steps};

	(void)state;
	run_rounds(&run);
	print_message("%ju histories are not linearisable\n", (uintmax_t)run.failed);
	assert_true(run.failed > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_histories),
		cmocka_unit_test(operations_are_linearisable),
		cmocka_unit_test(what_is_not_is_found),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("linear", tests, NULL, NULL);
}
