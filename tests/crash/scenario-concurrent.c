/*
 * scenario-concurrent.c - programs of two threads: what they share is a slot, a line, a
 * slab, the free-space tree, the rings, or the end of a thread.
 */
#include "concurrent.h"
#include "scenario.h"
#include "worker.h"

/* With `refuse`, operations on words give way to transactions that have them. */
#define SCENARIO(name, before, first, second, may_refuse) \
	static void name(struct run *run)                 \
	{                                                 \
		static const struct program program = {   \
			.prepare = before,                \
			.body = {first, second},          \
			.refuse = may_refuse,             \
		};                                        \
                                                          \
		concurrent(run, &program);                \
	}

static void set_a_word(struct run *run)
{
	op_set(run, 15);
}

/* Two lanes are there, so that no thread has to add one. */
static void two_lanes(struct run *run)
{
	worker_do(run, 1, set_a_word);
	worker_do(run, 2, set_a_word);
}

static void two_objects(struct run *run)
{
	two_lanes(run);
	op_publish(run, 0, 64, 0);
	op_publish(run, 1, 300, 0);
}

/* ---- one slot ------------------------------------------------------------------- */

static void slot_a(struct concurrent *c)
{
	c_publish(c, 0, 64, 0);
	c_retire(c, 0);
}

static void slot_b(struct concurrent *c)
{
	c_retire(c, 0);
	c_publish(c, 0, 128, 0);
}

SCENARIO(slot, two_objects, slot_a, slot_b, false)

static void replace_a(struct concurrent *c)
{
	c_replace(c, 0, 64);
	c_replace(c, 1, 64);
}

static void replace_b(struct concurrent *c)
{
	c_replace(c, 0, 300);
	c_retire(c, 1);
}

SCENARIO(replace, two_objects, replace_a, replace_b, false)

static void resize_a(struct concurrent *c)
{
	c_resize(c, 0, 300);
	c_resize(c, 1, 64);
}

static void resize_b(struct concurrent *c)
{
	c_replace(c, 1, 200);
	c_retire(c, 0);
	c_alloc_into(c, 0, 64);
}

SCENARIO(resize, two_objects, resize_a, resize_b, false)

/* ---- one line ------------------------------------------------------------------- */

static void line_a(struct concurrent *c)
{
	c_set(c, 0);
	c_set(c, 1);
	c_publish(c, 2, 64, 0);
}

static void line_b(struct concurrent *c)
{
	c_set(c, 1);
	c_publish(c, 3, 64, 0);
	c_set(c, 0);
}

SCENARIO(line, two_lanes, line_a, line_b, false)

static void redo_a(struct concurrent *c)
{
	struct ctx t;

	c_begin(c, &t);
	ctx_set(&t, 0);
	ctx_set(&t, 9);
	ctx_publish(&t, 2, 64);
	ctx_retire(&t, 0);
	c_commit(&t);
	c_set(c, 9);
}

static void redo_b(struct concurrent *c)
{
	struct ctx t;

	c_begin(c, &t);
	ctx_set(&t, 9);
	ctx_set(&t, 0);
	ctx_publish(&t, 3, 300);
	ctx_retire(&t, 1);
	c_commit(&t);
}

SCENARIO(redo, two_objects, redo_a, redo_b, false)

/* Different words of a line, one of them stored in place. */
static void undo_a(struct concurrent *c)
{
	struct ctx t;

	c_begin(c, &t);
	ctx_store(&t, 0);
	ctx_store(&t, 2);
	c_commit(&t);
	c_set(c, 0);
}

static void undo_b(struct concurrent *c)
{
	struct ctx t;

	c_set(c, 1);
	c_begin(c, &t);
	ctx_store(&t, 3);
	ctx_publish(&t, 2, 64);
	c_abort(&t);
	c_set(c, 3);
}

SCENARIO(undo, two_lanes, undo_a, undo_b, false)

/* The same word: the transaction that is open has it, and others are refused. */
static void meet_a(struct concurrent *c)
{
	struct ctx t;

	c_begin(c, &t);
	ctx_store(&t, 0);
	ctx_set(&t, 1);
	c_commit(&t);
}

static void meet_b(struct concurrent *c)
{
	struct ctx t;

	c_set(c, 0);
	c_begin(c, &t);
	ctx_set(&t, 0);
	ctx_store(&t, 1);
	c_abort(&t);
}

SCENARIO(meet, two_lanes, meet_a, meet_b, true)

/* ---- settling -------------------------------------------------------------------- */

static void settle_a(struct concurrent *c)
{
	c_set(c, 0);
	c_retire(c, 0);
	c_publish(c, 0, 64, 0);
}

static void settle_b(struct concurrent *c)
{
	c_purge(c);
	c_persist(c, 0);
	c_set(c, 1);
}

SCENARIO(settle, two_objects, settle_a, settle_b, false)

static void settle_tx_a(struct concurrent *c)
{
	struct ctx t;

	c_set(c, 0);
	c_begin(c, &t);
	ctx_store(&t, 0);
	ctx_retire(&t, 1);
	c_commit(&t);
}

SCENARIO(settle_tx, two_objects, settle_tx_a, settle_b, false)

/* Who sees a link may store into the object: behind the record that published it. */
static void link_a(struct concurrent *c)
{
	c_publish(c, 2, 64, 0);
	c_set(c, 0);
}

static void link_b(struct concurrent *c)
{
	c_set(c, 1);
	c_store(c, 2);
	c_store(c, 0);
}

SCENARIO(link_store, two_objects, link_a, link_b, false)

/* ---- lanes ------------------------------------------------------------------------ */

static void lane_a(struct concurrent *c)
{
	c_set(c, 0);
	c_publish(c, 0, 64, 0);
}

static void lane_b(struct concurrent *c)
{
	c_set(c, 1);
}

/* There is one lane: the second thread to come adds another. */
SCENARIO(lane, NULL, lane_a, lane_b, false)

/* ---- slabs and spans ---------------------------------------------------------------- */

/* Five objects a slab. */
static void slab_a(struct concurrent *c)
{
	c_publish(c, 2, 12288, PHEAP_PERSISTED);
	c_retire(c, 2);
	c_purge(c);
}

static void slab_b(struct concurrent *c)
{
	c_publish(c, 3, 12288, PHEAP_PERSISTED);
	c_retire(c, 2);
	c_retire(c, 3);
	c_purge(c);
}

SCENARIO(slab, two_lanes, slab_a, slab_b, false)

/* Two objects of a slab that has no descriptor yet: one of the two records has its birth. */
static void birth_a(struct concurrent *c)
{
	c_publish_reserved(c, 2, 0);
	c_retire(c, 3);
}

static void birth_b(struct concurrent *c)
{
	c_publish_reserved(c, 3, 1);
	c_retire(c, 2);
}

static void birth(struct run *run)
{
	static const struct program program = {
		.prepare = two_lanes, .body = {birth_a, birth_b}, .reserved = 5120};

	concurrent(run, &program);
}

static void span_a(struct concurrent *c)
{
	c_publish(c, 2, 300000, PHEAP_PERSISTED);
	c_retire(c, 2);
}

static void span_b(struct concurrent *c)
{
	c_retire(c, 2);
	c_publish(c, 3, 300000, PHEAP_PERSISTED);
	c_purge(c);
}

SCENARIO(span, two_lanes, span_a, span_b, false)

/* ---- threads that end ----------------------------------------------------------------- */

static void end_a(struct concurrent *c)
{
	c_reserve(c, 64);
	c_reserve(c, 12288);
	c_retire(c, 0);
	c_publish(c, 2, 64, 0);
}

static void end_b(struct concurrent *c)
{
	void *kept = c_reserve(c, 12288);

	c_publish(c, 0, 64, 0);
	c_free(c, kept);
	c_retire(c, 2);
}

SCENARIO(thread_end, two_objects, end_a, end_b, false)

/* ---- roots ------------------------------------------------------------------------------ */

static void one_root(struct run *run)
{
	two_lanes(run);
	op_root(run, 0);
}

/* The slot of a root that another thread drops may become that of a new one: so none is
 * made behind the drop while the first one's slot is in use. */
static void root_a(struct concurrent *c)
{
	c_root(c, 1);
	c_drop(c, 0);
}

static void root_b(struct concurrent *c)
{
	c_publish(c, ROOT(0), 64, 0);
	c_retire(c, ROOT(0));
	c_root(c, 1);
}

SCENARIO(root, one_root, root_a, root_b, false)

/* ---- anything ----------------------------------------------------------------------------- */

static void random_tx(struct concurrent *c)
{
	struct ctx t;

	c_begin(c, &t);
	for (unsigned i = 0; i < 3; i++) {
		unsigned word = (unsigned)c_dice(c, 4);

		if (t.n && (t.edit[0].index == word || t.edit[t.n - 1].index == word))
			continue; /* each word once */
		if (c_dice(c, 2))
			ctx_set(&t, word);
		else
			ctx_store(&t, word);
	}
	if (c_dice(c, 4))
		c_commit(&t);
	else
		c_abort(&t);
}

static void random_body(struct concurrent *c)
{
	static const size_t size[] = {16, 64, 100, 256, 300, 1000, 12288, 70000};

	for (unsigned i = 0; i < 5; i++) {
		unsigned slot = (unsigned)c_dice(c, 2);
		size_t bytes = size[c_dice(c, 8)];

		switch (c_dice(c, 10)) {
		case 0:
		case 1:
			c_publish(c, slot, bytes, 0);
			break;
		case 2:
			c_alloc_into(c, slot, bytes);
			break;
		case 3:
		case 4:
			c_retire(c, slot);
			break;
		case 5:
			c_replace(c, slot, bytes);
			break;
		case 6:
			c_resize(c, slot, bytes);
			break;
		case 7:
			c_set(c, (unsigned)c_dice(c, 4));
			break;
		case 8:
			random_tx(c);
			break;
		default:
			if (c_dice(c, 2))
				c_purge(c);
			else
				c_persist(c, 0);
		}
	}
}

SCENARIO(random_pair, two_objects, random_body, random_body, true)

const struct scenario scenarios_concurrent[] = {
	{.name = "two-slot", .fn = slot, .nested = 400, .schedules = true},
	{.name = "two-replace", .fn = replace, .nested = 400, .schedules = true},
	{.name = "two-resize", .fn = resize, .nested = 400, .schedules = true},
	{.name = "two-line", .fn = line, .nested = 400, .schedules = true},
	{.name = "two-redo", .fn = redo, .nested = 400, .schedules = true},
	{.name = "two-undo", .fn = undo, .nested = 400, .schedules = true},
	{.name = "two-meet", .fn = meet, .nested = 400, .schedules = true},
	{.name = "two-settle", .fn = settle, .nested = 400, .schedules = true},
	{.name = "two-settle-tx", .fn = settle_tx, .nested = 400, .schedules = true},
	{.name = "two-link", .fn = link_store, .nested = 400, .schedules = true},
	{.name = "two-lane", .fn = lane, .nested = 400, .schedules = true},
	{.name = "two-slab", .fn = slab, .nested = 400, .schedules = true},
	{.name = "two-birth", .fn = birth, .nested = 400, .schedules = true},
	{.name = "two-span", .fn = span, .nested = 400, .schedules = true},
	{.name = "two-end", .fn = thread_end, .nested = 400, .schedules = true},
	{.name = "two-root", .fn = root, .nested = 400, .schedules = true},
	{.name = "two-random-1", .fn = random_pair, .nested = 400, .schedules = true},
	{.name = "two-random-2", .fn = random_pair, .nested = 400, .schedules = true},
	{.name = "two-random-3", .fn = random_pair, .nested = 400, .schedules = true},
	{.name = NULL},
};
