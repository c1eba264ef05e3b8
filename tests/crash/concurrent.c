/*
 * concurrent.c - run a program under one schedule after the other, and crash it.
 *
 * There are two phases for each schedule, and two memories: the heap works in `memory`,
 * a private mapping of the prepared image, under trace_hook; and what it did is played in
 * the run's sim, where the run (run.h) has its crash points as it has them in any scenario.
 * What may be there at each moment is kept for the second phase in `moment`s, which the
 * record refers to.
 */
#include "concurrent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "entropy.h"
#include "random.h"
#include "schedule.h"
#include "trace.h"
#include "worker.h"
#include "worlds.h"

#define KNOWN_MAX 16384u

/* An operation begins or ends, and so what the pool may hold is something else. */
struct moment {
	const char *op;
	unsigned thread;
	uint64_t arg;
	bool returned;
	bool first; /* no other is under way */
	unsigned n; /* models */
	struct model *model;
	uint64_t hash; /* of them all */
};

struct concurrent {
	struct run *run;
	const struct program *program;
	struct model prepared;	    /* what is in it */
	int image;		    /* descriptor of what the program begins with */
	const char *prepared_image; /* mapped */
	char *memory;
	uint64_t epoch; /* seed of the library's random numbers */
	pheap_t *heap;
	struct trace trace;
	struct schedule schedule;
	struct set seen; /* records */

	struct worlds worlds;
	struct model_store store; /* objects of this schedule */
	struct moment *moment;
	size_t n, room;
	unsigned ops[CONCURRENT_THREADS]; /* so far */
	struct operation op[CONCURRENT_THREADS];
	struct {
		char *ptr;
		struct model_object *object;
	} reserved[2];
	char note[128];	  /* the schedule */
	char broken[256]; /* what was wrong while the threads ran */
};

static unsigned self(void)
{
	return (unsigned)schedule_who();
}

static void broken(struct concurrent *c, const char *op, int code)
{
	if (!*c->broken)
		snprintf(c->broken, sizeof(c->broken),
			 "thread %u: %s gave %d, which no order of the operations explains%s%s",
			 self() + 1, op, code, code ? ": " : "", code ? pheap_errormsg() : "");
}

/* ---- moments ----------------------------------------------------------------- */

static void note_models(struct concurrent *c, struct moment *moment)
{
	static struct model model[WORLDS_MAX];

	moment->n = worlds_models(&c->worlds, model);
	moment->model = malloc((moment->n ? moment->n : 1) * sizeof(*model));
	if (!moment->model)
		abort();
	memcpy(moment->model, model, moment->n * sizeof(*model));
	moment->hash = 1;
	for (unsigned i = 0; i < moment->n; i++)
		moment->hash += mix64(model_hash(&model[i])); /* in any order */
}

static void note_moment(struct concurrent *c, struct moment moment)
{
	if (c->n == c->room) {
		c->room = c->room ? 2 * c->room : 64;
		c->moment = realloc(c->moment, c->room * sizeof(*c->moment));
		if (!c->moment)
			abort();
	}
	note_models(c, &moment);
	c->moment[c->n] = moment;
	trace_mark(&c->trace, c->n++, moment.hash);
}

static void forget_moments(struct concurrent *c)
{
	while (c->n)
		free(c->moment[--c->n].model);
}

/* ---- operations ---------------------------------------------------------------- */

/* A number that only the thread and its place in it decide. */
static uint64_t chance(struct concurrent *c, uint64_t salt)
{
	unsigned thread = self();

	return random_stream(c->run->rig->seed ^ (thread + 1) << 20, c->ops[thread] << 8 | salt);
}

uint64_t c_dice(struct concurrent *c, uint64_t n)
{
	c->ops[self()]++;
	return chance(c, 1) % n;
}

/* Of a large object the beginning will do. */
static struct model_object *content(struct concurrent *c, size_t size, uint64_t salt)
{
	struct model_object *object = model_pattern(&c->store, size, chance(c, 2 + salt));

	object->known = size > KNOWN_MAX ? KNOWN_MAX / 16 : size;
	return object;
}

static void begin(struct concurrent *c, const char *name, struct operation op)
{
	unsigned thread = self();

	schedule_point(POINT_CALL);
	op.refuse = c->program->refuse && op.kind == W_EDITS;
	c->op[thread] = op;
	worlds_call(&c->worlds, thread, &c->op[thread]);
	note_moment(c, (struct moment){.op = name,
				       .thread = thread,
				       .arg = op.slot,
				       .first = !c->worlds.under_way[!thread]});
}

static int end(struct concurrent *c, const char *name, int code)
{
	unsigned thread = self();

	if (!worlds_return(&c->worlds, thread, code))
		broken(c, name, code);
	c->ops[thread]++;
	note_moment(c, (struct moment){.op = name,
				       .thread = thread,
				       .arg = c->op[thread].slot,
				       .returned = true});
	return code;
}

static void fail(struct concurrent *c, const char *what)
{
	if (!*c->broken)
		snprintf(c->broken, sizeof(c->broken), "thread %u: %s: %s", self() + 1, what,
			 pheap_errormsg());
}

/* After a failure, what is left to do would only hide it. */
static bool idle(const struct concurrent *c)
{
	return *c->broken != 0;
}

/* A slot of the table; that of a root may be gone. */
static pheap_ref *slot_of(struct concurrent *c, unsigned slot)
{
	schedule_point(POINT_CALL);
	return model_slot(c->heap, slot);
}

static char *filled(struct concurrent *c, const struct model_object *object)
{
	char *ptr = pheap_alloc(c->heap, object->size);

	if (ptr)
		trace_put(&c->trace, ptr, object->bytes, object->known);
	else
		fail(c, "alloc");
	return ptr;
}

/* An object that was not published after all is given back. */
static void link_object(struct concurrent *c, const char *name, enum world_op kind, unsigned slot,
			char *ptr, struct model_object *object, unsigned flags)
{
	pheap_ref *at;
	int code;

	begin(c, name, (struct operation){.kind = kind, .slot = slot, .object = object});
	at = slot_of(c, slot);
	code = !at		   ? -EINVAL
	       : kind == W_PUBLISH ? pheap_publish(c->heap, at, ptr, flags)
				   : pheap_replace(c->heap, at, ptr, flags);
	if (end(c, name, code) && pheap_free(c->heap, ptr))
		fail(c, "free");
}

static void publish(struct concurrent *c, const char *name, enum world_op kind, unsigned slot,
		    size_t size, unsigned flags)
{
	struct model_object *object;
	char *ptr;

	if (idle(c))
		return;
	object = content(c, size, 0);
	ptr = filled(c, object);
	if (ptr && flags & PHEAP_PERSISTED && pheap_persist(c->heap, ptr, object->known))
		fail(c, "persist");
	if (ptr)
		link_object(c, name, kind, slot, ptr, object, flags);
}

void c_publish_reserved(struct concurrent *c, unsigned slot, unsigned which)
{
	if (!idle(c))
		link_object(c, "publish reserved", W_PUBLISH, slot, c->reserved[which].ptr,
			    c->reserved[which].object, 0);
}

void c_publish(struct concurrent *c, unsigned slot, size_t size, unsigned flags)
{
	publish(c, "publish", W_PUBLISH, slot, size, flags);
}

void c_replace(struct concurrent *c, unsigned slot, size_t size)
{
	publish(c, "replace", W_REPLACE, slot, size, 0);
}

void c_publish_in_two_steps(struct concurrent *c, unsigned slot, size_t size)
{
	struct model_object *object;
	int code = -EEXIST;
	pheap_ref *at;
	pheap_tx_t *tx;
	char *ptr;

	if (idle(c))
		return;
	object = content(c, size, 0);
	ptr = filled(c, object);
	begin(c, "publish in two steps",
	      (struct operation){.kind = W_PUBLISH, .slot = slot, .object = object});
	at = slot_of(c, slot);
	if (!*at) {
		tx = pheap_tx_begin(c->heap);
		pheap_tx_adopt(tx, ptr);
		pheap_tx_set(tx, at, pheap_ref_of(c->heap, ptr));
		code = pheap_tx_commit(tx);
	}
	if (end(c, "publish in two steps", code))
		pheap_free(c->heap, ptr);
}

void c_alloc_into(struct concurrent *c, unsigned slot, size_t size)
{
	struct model_object *object;
	pheap_ref *at;

	if (idle(c))
		return;
	object = content(c, size, 0);
	begin(c, "alloc_into",
	      (struct operation){.kind = W_PUBLISH, .slot = slot, .object = object});
	at = slot_of(c, slot);
	end(c, "alloc_into", at ? pheap_alloc_into(c->heap, at, size, object->bytes) : -EINVAL);
}

void c_retire(struct concurrent *c, unsigned slot)
{
	pheap_ref *at;

	if (idle(c))
		return;
	begin(c, "retire", (struct operation){.kind = W_RETIRE, .slot = slot});
	at = slot_of(c, slot);
	end(c, "retire", at ? pheap_retire(c->heap, at) : -EINVAL);
}

void c_resize(struct concurrent *c, unsigned slot, size_t size)
{
	if (idle(c))
		return;
	begin(c, "resize", (struct operation){.kind = W_RESIZE, .slot = slot, .value = size});
	end(c, "resize", pheap_resize(c->heap, slot_of(c, slot), size));
}

static uint64_t *word_of(struct concurrent *c, unsigned word)
{
	struct table *table = pheap_ptr(c->heap, *pheap_root(c->heap));

	return &table->word[word];
}

void c_set(struct concurrent *c, unsigned word)
{
	struct model_edit edit = {.kind = MODEL_WORD, .index = word};

	if (idle(c))
		return;
	edit.value = chance(c, 0);
	begin(c, "set", (struct operation){.kind = W_EDITS, .slot = word, .edit = &edit, .n = 1});
	end(c, "set", pheap_set(c->heap, word_of(c, word), edit.value));
}

void c_purge(struct concurrent *c)
{
	if (idle(c))
		return;
	begin(c, "purge", (struct operation){.kind = W_NOTHING});
	end(c, "purge", pheap_purge(c->heap, 0));
}

void c_persist(struct concurrent *c, unsigned word)
{
	if (idle(c))
		return;
	begin(c, "persist", (struct operation){.kind = W_NOTHING, .slot = word});
	end(c, "persist", pheap_persist(c->heap, word_of(c, word), 8));
}

void c_store(struct concurrent *c, unsigned slot)
{
	struct model_edit edit = {.kind = MODEL_BYTES, .index = slot, .value = 8};
	pheap_ref ref;
	char *at;

	if (idle(c))
		return;
	ref = __atomic_load_n(slot_of(c, slot), __ATOMIC_ACQUIRE);
	if (!ref)
		return;
	edit.object = content(c, 8, 0);
	at = (char *)pheap_ptr(c->heap, ref) + edit.value;
	begin(c, "store", (struct operation){.kind = W_EDITS, .slot = slot, .edit = &edit, .n = 1});
	trace_put(&c->trace, at, edit.object->bytes, 8);
	end(c, "store", pheap_persist(c->heap, at, 8));
}

void *c_reserve(struct concurrent *c, size_t size)
{
	struct model_object *object;

	if (idle(c))
		return NULL;
	object = content(c, size, 0);
	c->ops[self()]++;
	schedule_point(POINT_CALL);
	return filled(c, object);
}

void c_free(struct concurrent *c, void *ptr)
{
	schedule_point(POINT_CALL);
	if (!idle(c) && pheap_free(c->heap, ptr))
		fail(c, "free");
}

void c_root(struct concurrent *c, unsigned index)
{
	if (idle(c))
		return;
	begin(c, "root", (struct operation){.kind = W_ROOT, .slot = index});
	end(c, "root", pheap_named_root(c->heap, model_root_name(index)) ? 0 : -errno);
}

void c_drop(struct concurrent *c, unsigned index)
{
	if (idle(c))
		return;
	begin(c, "drop", (struct operation){.kind = W_DROP, .slot = index});
	end(c, "drop", pheap_drop_root(c->heap, model_root_name(index)));
}

/* ---- transactions --------------------------------------------------------------- */

void c_begin(struct concurrent *c, struct ctx *t)
{
	*t = (struct ctx){.c = c};
	schedule_point(POINT_CALL);
	if (!idle(c) && !(t->tx = pheap_tx_begin(c->heap)))
		fail(c, "tx_begin");
}

/* A step is to be made; behind it the thread may make way. */
static bool step(struct ctx *t)
{
	schedule_point(POINT_CALL);
	return t->tx && !t->err;
}

static void step_end(struct ctx *t, int err, struct model_edit edit)
{
	t->err = err;
	if (!err)
		t->edit[t->n++] = edit;
	else if (err != -EINVAL || !t->c->program->refuse)
		fail(t->c, "a step of a transaction");
}

void c_commit(struct ctx *t)
{
	if (!t->tx)
		return;
	if (t->err) {
		c_abort(t);
		return;
	}
	begin(t->c, "tx_commit",
	      (struct operation){.kind = W_EDITS, .edit = t->edit, .n = t->n, .slot = t->n});
	end(t->c, "tx_commit", pheap_tx_commit(t->tx));
}

void c_abort(struct ctx *t)
{
	if (!t->tx)
		return;
	begin(t->c, "tx_abort", (struct operation){.kind = W_NOTHING});
	end(t->c, "tx_abort", pheap_tx_abort(t->tx));
}

void ctx_set(struct ctx *t, unsigned word)
{
	struct model_edit edit = {.kind = MODEL_WORD, .index = word};

	if (!step(t))
		return;
	edit.value = chance(t->c, 16 + t->n);
	step_end(t, pheap_tx_set(t->tx, word_of(t->c, word), edit.value), edit);
}

void ctx_publish(struct ctx *t, unsigned slot, size_t size)
{
	struct model_edit edit = {.kind = MODEL_SLOT, .index = slot};
	char *ptr;

	if (!step(t))
		return;
	edit.object = content(t->c, size, 16 + t->n);
	ptr = pheap_tx_alloc(t->tx, size);
	if (!ptr) {
		step_end(t, -errno, edit);
		return;
	}
	trace_put(&t->c->trace, ptr, edit.object->bytes, edit.object->known);
	step_end(t, pheap_tx_set(t->tx, slot_of(t->c, slot), pheap_ref_of(t->c->heap, ptr)), edit);
}

void ctx_retire(struct ctx *t, unsigned slot)
{
	if (step(t))
		step_end(t, pheap_tx_retire(t->tx, slot_of(t->c, slot)),
			 (struct model_edit){.kind = MODEL_SLOT, .index = slot});
}

void ctx_store(struct ctx *t, unsigned word)
{
	struct model_edit edit = {.kind = MODEL_WORD, .index = word};
	uint64_t *at;

	if (!step(t))
		return;
	edit.value = chance(t->c, 16 + t->n);
	at = word_of(t->c, word);
	step_end(t, pheap_tx_snapshot(t->tx, at, 8), edit);
	if (!t->err)
		trace_put(&t->c->trace, at, &edit.value, 8);
}

/* ---- one schedule: recording ------------------------------------------------------- */

static void body(void *arg, unsigned who)
{
	struct concurrent *c = arg;

	c->program->body[who](c);
}

static void open_memory(struct concurrent *c)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .durability = PHEAP_POWER};
	uint64_t size = c->run->rig->pool_size;
	int flags = MAP_PRIVATE | (c->memory ? MAP_FIXED : 0);

	c->memory = mmap(c->memory, size, PROT_READ | PROT_WRITE, flags, c->image, 0);
	if (c->memory == MAP_FAILED)
		abort();
	trace_reset(&c->trace, c->memory);
	entropy_seed(c->epoch);
	c->heap = ph_pool_open_on(c->memory, size, &opts, &trace_hook, &c->trace);
}

static void say_problem(void *arg, const struct pheap_problem *problem)
{
	run_fail(arg, "invariant %s, offset %#llx: %s", problem->invariant,
		 (unsigned long long)problem->offset, problem->message);
}

/* Both threads have ended: the heap is as in one of the worlds, and sound. */
static void verify(struct concurrent *c)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	const struct moment *last = &c->moment[c->n - 1];
	char what[256];
	unsigned i = 0;

	while (i < last->n && !model_match(c->heap, &last->model[i], NULL, what, sizeof(what)))
		i++;
	if (c->worlds.overflow)
		run_fail(c->run, "the test has room for too few worlds");
	else if (i == last->n)
		run_fail(c->run, "when all had returned: %s", what);
	else if (pheap_check(c->heap, &result, say_problem, c->run))
		run_fail(c->run, "pheap_check: %s", pheap_errormsg());
	else if (result.objects != model_objects(&last->model[i]))
		run_fail(c->run, "%llu objects are published, and %llu reachable",
			 (unsigned long long)result.objects,
			 (unsigned long long)model_objects(&last->model[i]));
}

/* Threads that wait for each other cannot be ended: this process is. */
static void stuck(struct concurrent *c)
{
	run_fail(c->run, "%s: %s after %zu calls and returns, %zu events",
		 c->schedule.end == SCHEDULE_DEADLOCK ? "a deadlock" : "points without end",
		 c->moment[c->n - 1].op, c->n, c->trace.n);
	fflush(NULL);
	_exit(1);
}

/* By the thread that has opened the heap: no other is there yet. */
static void reserve(struct concurrent *c)
{
	for (unsigned i = 0; i < 2; i++) {
		struct model_object *object =
			model_pattern(&c->store, c->program->reserved, c->run->rig->seed + i);
		char *ptr = pheap_alloc(c->heap, c->program->reserved);

		c->reserved[i].object = object;
		c->reserved[i].ptr = ptr;
		if (ptr)
			trace_put(&c->trace, ptr, object->bytes, object->size);
		else
			run_fail(c->run, "alloc: %s", pheap_errormsg());
	}
}

static void record(struct concurrent *c)
{
	forget_moments(c);
	model_store_clear(&c->store);
	memset(c->ops, 0, sizeof(c->ops));
	worlds_begin(&c->worlds, &c->store, &c->prepared);
	*c->broken = 0;
	open_memory(c);
	if (!c->heap) {
		run_fail(c->run, "open: %s", pheap_errormsg());
		return;
	}
	if (c->program->reserved)
		reserve(c);
	note_moment(c, (struct moment){.op = "open", .returned = true});
	schedule_run(&c->schedule, body, c);
	schedule_print(&c->schedule, c->note, sizeof(c->note));
	if (c->schedule.end != SCHEDULE_DONE)
		stuck(c);
	if (*c->broken)
		run_fail(c->run, "%s", c->broken);
	else
		verify(c);
	ph_pool_abandon(c->heap);
	c->heap = NULL;
}

/* A control takes fences away. */
static bool left_out(const struct concurrent *c, const struct trace_event *event)
{
	return event->kind == TRACE_FENCE && event->cpu && event->cpu == c->program->no_fences;
}

/* ---- one schedule: playing ------------------------------------------------------------ */

static void enter(struct concurrent *c, const struct moment *moment)
{
	struct run *run = c->run;

	run->op = moment->op;
	run->op_arg[0] = moment->thread + 1;
	run->op_arg[1] = moment->arg;
	run->op_number++;
	run->op_fence = 0;
	run->in_flight = true;
	run->now = moment->model[0];
	run->maybe = moment->model;
	run->nmaybe = moment->n;
	run->expected = moment->hash;
	if (moment->first)
		run->op_mark = run->sim->seq;
	if (!moment->returned)
		run->rig->report->operations++;
	else if (!run->blind)
		run_crash_point(run, "at the end");
}

static void play(struct concurrent *c)
{
	struct run *run = c->run;

	sim_reset(run->sim, c->prepared_image);
	run->blind = true; /* opening has scenarios of its own */
	run->sim->event = NULL;
	for (size_t i = 0; i < c->trace.n && !run->failed && !rig_done(run->rig); i++) {
		if (c->trace.event[i].kind != TRACE_MARK) {
			if (!left_out(c, &c->trace.event[i]))
				trace_play(&c->trace, i, run->sim);
			continue;
		}
		enter(c, &c->moment[c->trace.event[i].mark]);
		run->blind = false;
		run_listen(run);
	}
	if (!run->failed)
		run_crash_point(run, "when the threads have ended");
	run->nmaybe = 0;
	run->expected = 0;
}

/* ---- many schedules ------------------------------------------------------------------- */

/* Under c->schedule. Gives the points there were; 0: enough has failed. */
static uint64_t try_schedule(struct concurrent *c)
{
	struct report *report = c->run->rig->report;

	if (c->run->failed || rig_done(c->run->rig))
		return 0;
	c->run->note = c->note;
	report->schedules++;
	report->progress++;
	record(c);
	if (!c->run->failed && set_add(&c->seen, c->trace.hash)) {
		report->executions++;
		play(c);
	}
	c->run->note = NULL;
	return c->run->failed ? 0 : c->schedule.points;
}

/* One that is preempted at n points; 0 too where the last of them is beyond its end. */
static uint64_t systematic(struct concurrent *c, unsigned first, unsigned kinds, unsigned n,
			   uint64_t a, uint64_t b)
{
	c->schedule = (struct schedule){.threads = CONCURRENT_THREADS,
					.first = first,
					.kinds = kinds,
					.npreempt = n,
					.preempt = {a, b}};
	return try_schedule(c);
}

/* All with one preemption, and one in `pairs` of those with two. */
static void all_with(struct concurrent *c, unsigned first, unsigned kinds, uint32_t pairs)
{
	uint64_t n = systematic(c, first, kinds, 0, 0, 0);

	for (uint64_t a = 1; a <= n; a++) {
		uint64_t m = systematic(c, first, kinds, 1, a, 0);

		for (uint64_t b = a + 1; pairs && b <= m; b++)
			if (random_stream(c->run->rig->seed ^ a << 32 ^ first, b) % pairs == 0)
				systematic(c, first, kinds, 2, a, b);
	}
}

static void some_at_random(struct concurrent *c, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		c->schedule = (struct schedule){
			.threads = CONCURRENT_THREADS,
			.first = i % 2,
			.kinds = (1u << POINT_KINDS) - 1,
			.one_in = 2u << i % 7,
			.seed = random_stream(c->run->rig->seed ^ 0x5c4ed, i),
		};
		try_schedule(c);
	}
}

/* By one thread, in the run's own sim; then closed, and durable. */
static void prepare(struct concurrent *c)
{
	struct run *run = c->run;
	uint64_t size = run->rig->pool_size;

	run->sim->event = NULL;
	run->blind = true;
	op_create(run);
	op_table(run);
	if (c->program->prepare)
		c->program->prepare(run);
	op_close(run);
	worker_end_all(run);
	run->rig->report->operations = 0;
	c->prepared = run->now;
	c->image = memfd_create("prepared", MFD_CLOEXEC);
	if (c->image < 0 || ftruncate(c->image, (off_t)size) ||
	    pwrite(c->image, run->sim->durable, size, 0) != (ssize_t)size)
		abort();
	c->prepared_image = mmap(NULL, size, PROT_READ, MAP_SHARED, c->image, 0);
	if (c->prepared_image == MAP_FAILED)
		abort();
	c->epoch = random_stream(run->rig->seed, 0xe90c4);
}

static void forget(struct concurrent *c)
{
	uint64_t size = c->run->rig->pool_size;

	forget_moments(c);
	model_store_clear(&c->store);
	free(c->moment);
	trace_free(&c->trace);
	set_clear(&c->seen);
	if (c->memory)
		munmap(c->memory, size);
	munmap((void *)(uintptr_t)c->prepared_image, size);
	close(c->image);
}

void concurrent(struct run *run, const struct program *program)
{
	const unsigned coarse = 1u << POINT_CALL | 1u << POINT_PERSIST | 1u << POINT_LOCK;
	const unsigned fine = coarse | 1u << POINT_ATOMIC;
	const struct policy *policy = &run->rig->policy;
	struct concurrent c = {.run = run, .program = program};

	prepare(&c);
	for (unsigned first = 0; first < CONCURRENT_THREADS; first++) {
		all_with(&c, first, coarse, policy->pairs);
		if (policy->fine)
			all_with(&c, first, fine, 0);
	}
	some_at_random(&c, policy->random);
	forget(&c);
}
