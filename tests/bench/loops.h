/*
 * loops.h - the loops of the volatile workloads, over any allocator.
 *
 * A system's file includes this once, after it has defined
 *
 *	sys_obj				 what it needs to free an object; begins with void *ptr
 *	sys_reserve(sys_obj *, size_t)	 inline; does not return without memory
 *	sys_release(sys_obj *)		 inline
 *
 * so that each system has loops of its own, in which it is called directly, as a
 * program would call it. The loops are otherwise the same, random choices are
 * taken from a table, and arrays lie in memory that no allocator handed out.
 */
#ifndef LOOPS_H
#define LOOPS_H

#include <sched.h>
#include <string.h>

#include "bench.h"

#define BATCH 1000u
#define MANY 100000u
_Static_assert(MANY * sizeof(sys_obj) <= WORKER_SPACE, "worker.space");

static inline void touch(const sys_obj *o)
{
	*(volatile char *)o->ptr = 1;
}

/* Keep the compiler from dropping a pair of malloc and free. */
static inline void escape(sys_obj *o)
{
	__asm__ volatile("" : "+r"(o->ptr) : : "memory");
}

/* Sizes drawn from the same table by all systems. */
static uint64_t loop_reserve_mixed_pair(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		sys_obj o;

		sys_reserve(&o, next_pick(w)->size);
		escape(&o);
		sys_release(&o);
	}
	return n;
}

static uint64_t loop_reserve_pair(struct worker *w, uint64_t n)
{
	size_t size = w->size;

	if (w->min < size)
		return loop_reserve_mixed_pair(w, n);
	for (uint64_t i = 0; i < n; i++) {
		sys_obj o;

		sys_reserve(&o, size);
		escape(&o);
		sys_release(&o);
	}
	return n;
}

static void shuffle(struct worker *w, uint16_t *order)
{
	for (unsigned i = 0; i < BATCH; i++)
		order[i] = (uint16_t)i;
	for (unsigned i = BATCH - 1; i; i--) {
		unsigned j = next_pick(w)->any % (i + 1);
		uint16_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

/* Several orders, so that no branch or address predictor learns them. */
#define ORDERS 16u

static uint64_t loop_reserve_batch(struct worker *w, uint64_t n)
{
	uint16_t(*orders)[BATCH] = w->space;
	sys_obj *objects = (sys_obj *)(orders + ORDERS);
	const bool mixed = w->min < w->size;
	const size_t size = w->size;
	uint64_t done = 0;

	if (!orders[0][0] && !orders[0][1])
		for (unsigned i = 0; i < ORDERS; i++)
			shuffle(w, orders[i]);
	for (unsigned turn = 0; done < n; turn++, done += BATCH) {
		const uint16_t *order = orders[turn % ORDERS];

		for (unsigned i = 0; i < BATCH; i++) {
			sys_reserve(&objects[i], mixed ? next_pick(w)->size : size);
			touch(&objects[i]);
		}
		for (unsigned i = 0; i < BATCH; i++)
			sys_release(&objects[order[i]]);
	}
	return done;
}

static uint64_t loop_random_slot(struct worker *w, uint64_t n)
{
	sys_obj *slots = w->space;

	for (uint64_t i = 0; i < n; i++) {
		const struct pick *pick = next_pick(w);
		sys_obj *o = &slots[pick->any % SLOTS];

		if (o->ptr) {
			sys_release(o);
			o->ptr = NULL;
		} else {
			sys_reserve(o, pick->size);
			touch(o);
		}
	}
	return n;
}

static uint64_t loop_threadtest(struct worker *w, uint64_t n)
{
	sys_obj *objects = w->space;
	uint64_t done;

	for (done = 0; done < n; done += MANY) {
		for (unsigned i = 0; i < MANY; i++) {
			sys_reserve(&objects[i], w->size);
			touch(&objects[i]);
		}
		for (unsigned i = 0; i < MANY; i++)
			sys_release(&objects[i]);
	}
	return done;
}

/*
 * What a system without arenas does; one with them has defined
 *
 *	struct sys_arena
 *	sys_arena_open(), sys_arena_take(arena, size), sys_arena_close(arena)
 */
#ifndef SYS_HAS_ARENA
struct sys_arena {
	sys_obj *objects, *next;
};

static inline struct sys_arena sys_arena_open(struct worker *w)
{
	return (struct sys_arena){w->space, w->space};
}

static inline void sys_arena_take(struct sys_arena *arena, size_t size)
{
	sys_reserve(arena->next++, size);
}

static inline void sys_arena_close(struct sys_arena *arena)
{
	for (sys_obj *o = arena->objects; o < arena->next; o++)
		sys_release(o);
}
#endif

static uint64_t loop_arena64(struct worker *w, uint64_t n)
{
	size_t size = w->size;
	uint64_t done;

	for (done = 0; done < n; done += MANY) {
		struct sys_arena arena = sys_arena_open(w);

		for (unsigned i = 0; i < MANY; i++)
			sys_arena_take(&arena, size);
		sys_arena_close(&arena);
	}
	return done;
}

/* An array is passed on after this many operations. */
#define LARSON_TERM 10000u

static uint64_t loop_larson(struct worker *w, uint64_t n)
{
	/* The one that this worker left off with, in its first words. */
	sys_obj **mine = w->space, *objects;
	uint64_t done = 0;

	if (!*mine)
		*mine = (sys_obj *)(mine + 8);
	for (objects = *mine; done < n; done += LARSON_TERM) {
		for (unsigned i = 0; i < LARSON_TERM; i++) {
			const struct pick *pick = next_pick(w);
			sys_obj *o = &objects[pick->any % BATCH];

			if (o->ptr)
				sys_release(o);
			sys_reserve(o, pick->size);
			touch(o);
		}
		objects = __atomic_exchange_n(&w->shared->mailbox, objects, __ATOMIC_ACQ_REL);
		/* The first to come finds the mailbox empty and begins a new array. */
		if (!objects)
			objects = (sys_obj *)(mine + 8) + BATCH;
	}
	*mine = objects;
	return done;
}

/* Small sizes more often: 1 to 1000, 1 to 500, ... 1 to 7, each as likely. */
static inline size_t shbench_size(const struct worker *w, const struct pick *pick)
{
	return 1 + ((pick->any >> 8) % w->size >> pick->any % 8);
}

static void shbench_round(struct worker *w, sys_obj *now, sys_obj *before)
{
	for (unsigned i = 0; i < BATCH; i++) {
		sys_reserve(&now[i], shbench_size(w, next_pick(w)));
		touch(&now[i]);
	}
	if (!before[0].ptr) /* the very first round */
		return;
	/* Even ones upwards, odd ones downwards. */
	for (unsigned i = 0; i < BATCH; i += 2)
		sys_release(&before[i]);
	for (unsigned i = BATCH; i > 0; i -= 2)
		sys_release(&before[i - 1]);
}

static uint64_t loop_shbench(struct worker *w, uint64_t n)
{
	sys_obj *even = w->space, *odd = even + BATCH;
	uint64_t done;

	for (done = 0; done < n; done += 2 * BATCH) {
		shbench_round(w, even, odd);
		shbench_round(w, odd, even);
	}
	return done;
}

/* ---- one thread produces, the other consumes ------------------------------------- */

/* A thread whose peer has no processor right now must let it have one. */
static inline void await(const uint32_t *word, uint32_t value)
{
	for (unsigned turns = 0; __atomic_load_n(word, __ATOMIC_ACQUIRE) != value; turns++) {
		__builtin_ia32_pause();
		if (turns % 256 == 255)
			sched_yield();
	}
}

struct ring_entry {
	sys_obj object;
	uint32_t full;
};

static uint64_t loop_prodcon(struct worker *w, uint64_t n)
{
	struct ring_entry *ring = w->shared->ring;

	for (uint64_t i = 0; i < n; i++) {
		struct ring_entry *entry = &ring[i % SLOTS];

		if (w->index == 0) {
			await(&entry->full, 0);
			sys_reserve(&entry->object, w->size);
			touch(&entry->object);
			__atomic_store_n(&entry->full, 1, __ATOMIC_RELEASE);
		} else {
			await(&entry->full, 1);
			sys_release(&entry->object);
			__atomic_store_n(&entry->full, 0, __ATOMIC_RELEASE);
		}
	}
	return w->index == 0 ? n : 0; /* an object counts once */
}

/* ---- how much memory is held ------------------------------------------------------ */

/* Bytes that are live at the start and at the end. */
#define FRAG_LIVE(quick) ((quick) ? MIB(16) : MIB(64))

struct frag {
	sys_obj *objects;
	uint32_t *sizes;
	uint64_t n, live, room;
};

static uint64_t frag_fill(struct frag *f, struct worker *w, uint64_t until, size_t from, size_t to)
{
	uint64_t at = 0, ops = 0;

	while (f->live < until) {
		size_t size = from + next_pick(w)->any % (to - from + 1);

		while (at < f->n && f->objects[at].ptr)
			at++;
		if (at == f->room)
			die("fragbench: more objects than expected");
		sys_reserve(&f->objects[at], size);
		memset(f->objects[at].ptr, 1, size);
		f->sizes[at] = (uint32_t)size;
		f->live += size;
		if (at == f->n)
			f->n++;
		ops++;
	}
	return ops;
}

static uint64_t frag_delete(struct frag *f, struct worker *w)
{
	uint64_t ops = 0;

	for (uint64_t i = 0; i < f->n; i++) {
		if (next_pick(w)->any % 10 == 0)
			continue;
		sys_release(&f->objects[i]);
		f->objects[i].ptr = NULL;
		f->live -= f->sizes[i];
		ops++;
	}
	return ops;
}

static uint64_t frag_timed_fill(struct frag *f, struct worker *w, size_t from, size_t to)
{
	struct timer timer = timer_start();
	uint64_t ops = frag_fill(f, w, FRAG_LIVE(w->quick), from, to);

	timer_stop(&timer, w);
	return ops;
}

static uint64_t frag_timed_delete(struct frag *f, struct worker *w)
{
	struct timer timer = timer_start();
	uint64_t ops = frag_delete(f, w);

	timer_stop(&timer, w);
	return ops;
}

/* extra: resident bytes when filled, after the deletion, at the end; bytes live. */
static uint64_t loop_fragbench(struct worker *w, uint64_t n)
{
	/* 100-130: all 100, then all 130; 100-250: 100 to 150, then 200 to 250. */
	size_t spread = w->size - w->min > 100 ? 50 : 0;
	struct frag f = {.room = FRAG_LIVE(w->quick) / w->min + 1};
	uint64_t ops, before;

	(void)n;
	f.objects = harness_memory(f.room * sizeof(*f.objects), true);
	f.sizes = harness_memory(f.room * sizeof(*f.sizes), true);
	before = resident_bytes();
	ops = frag_timed_fill(&f, w, w->min, w->min + spread);
	w->extra[0] = (double)resident_bytes() - (double)before;
	ops += frag_timed_delete(&f, w);
	w->extra[1] = (double)resident_bytes() - (double)before;
	ops += frag_timed_fill(&f, w, w->size - spread, w->size);
	w->extra[2] = (double)resident_bytes() - (double)before;
	w->extra[3] = (double)f.live;
	timer_report(w, (double)ops);
	return ops;
}

/* What a system that does not know it says of its blocks and its spans; one that does has
 * defined SYS_HAS_SPANS and both. */
#ifndef SYS_HAS_SPANS
static inline size_t sys_block(const sys_obj *o)
{
	(void)o;
	return 0;
}

static inline uint64_t sys_in_spans(void)
{
	return 0;
}
#endif

#define STEADY_OBJECTS 16384u

/* 8 to 65536: each doubling is as likely. */
static inline uint32_t steady_size(const struct pick *pick)
{
	uint32_t least = 8u << (pick->any >> 16) % 13;

	return least + (uint32_t)((uint64_t)least * (pick->any & 0xffff) >> 16);
}

static inline void touch_pages(const sys_obj *o, size_t size)
{
	for (size_t at = 0; at < size; at += 4096)
		((volatile char *)o->ptr)[at] = 1;
	((volatile char *)o->ptr)[size - 1] = 1;
}

/* extra: bytes requested, bytes of their blocks, bytes in use by spans; resident bytes. */
static uint64_t loop_steady(struct worker *w, uint64_t n)
{
	uint32_t *sizes = harness_memory(STEADY_OBJECTS * sizeof(*sizes), true);
	sys_obj *objects = harness_memory(STEADY_OBJECTS * sizeof(*objects), true);
	uint64_t before = resident_bytes(), seed = 1;
	struct timer timer = timer_start();

	n = w->quick ? 1000000 : 10000000;
	for (uint64_t i = 0; i < n; i++) {
		const struct pick *pick = next_pick(w);
		unsigned at = (unsigned)i;

		/* Picks repeat after a while; which object meets which size must not. */
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		if (i >= STEADY_OBJECTS) {
			at = (unsigned)(seed >> 50);
			sys_release(&objects[at]);
		}
		sizes[at] = steady_size(pick);
		sys_reserve(&objects[at], sizes[at]);
		touch_pages(&objects[at], sizes[at]);
	}
	timer_stop(&timer, w);
	timer_report(w, (double)n);
	w->extra[3] = (double)resident_bytes() - (double)before;
	for (unsigned i = 0; i < STEADY_OBJECTS; i++) {
		w->extra[0] += sizes[i];
		w->extra[1] += (double)sys_block(&objects[i]);
	}
	w->extra[2] = (double)sys_in_spans();
	return n;
}

#define VOLATILE_LOOPS                                                                          \
	[W_RESERVE_PAIR] = loop_reserve_pair, [W_RESERVE_BATCH] = loop_reserve_batch,           \
	[W_RANDOM_SLOT] = loop_random_slot, [W_LARGE_PAIR] = loop_reserve_pair,                 \
	[W_THREADTEST] = loop_threadtest, [W_LARSON] = loop_larson, [W_SHBENCH] = loop_shbench, \
	[W_PRODCON] = loop_prodcon, [W_ARENA64] = loop_arena64, [W_FRAGBENCH] = loop_fragbench, \
	[W_STEADY] = loop_steady

#endif
