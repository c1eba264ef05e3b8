/*
 * concurrent.h - programs of two threads on one heap, under many schedules, with crashes.
 *
 * A program is prepared by one thread and closed; then for each schedule (schedule.h) it is
 * opened, its two bodies run, and what they did to memory is recorded (trace.h). A record
 * that was not seen before is played in simulated memory, and crashed at every fence and at
 * the end of every operation.
 *
 * WHAT MUST BE THERE. Operations overlap, and may meet in one slot; so the shadow model is a
 * set of *worlds*: each is what the pool holds if the operations so far took effect in some
 * order that agrees with real time. An operation that is under way may have taken effect or
 * not; when one returns, only worlds stay in which it had, with that result. None left: the
 * results are explained by no order. After a crash the pool must be as in one of the worlds
 * of that moment: what had returned is there, what was under way is there as a whole or not.
 * (After J. Izraelevitz, H. Mendes and M. Scott, "Linearizability of persistent memory
 * objects under a full-system-crash failure model", 2016.)
 *
 * What an operation stores follows from its thread and its number there, not from the
 * schedule, so that images of different schedules can be the same.
 */
#ifndef CRASH_CONCURRENT_H
#define CRASH_CONCURRENT_H

#include "ops.h"

#define CONCURRENT_THREADS 2u

struct concurrent;

struct program {
	void (*prepare)(struct run *run);
	void (*body[CONCURRENT_THREADS])(struct concurrent *c);
	bool refuse;	 /* transactions meet: one, or an operation on a word, may give EINVAL and
			  * do nothing */
	size_t reserved; /* bytes of two objects that the opening thread has reserved */
	unsigned no_fences; /* a control: those of thread no_fences - 1 are not played */
};

/* Explore a program: what a scenario does. */
void concurrent(struct run *run, const struct program *program);

/* ---- for bodies: each makes a call, and the change in the worlds ------------------ */

void c_publish(struct concurrent *c, unsigned slot, size_t size, unsigned flags);
/* One of the two that the opening thread has reserved. */
void c_publish_reserved(struct concurrent *c, unsigned slot, unsigned which);
void c_alloc_into(struct concurrent *c, unsigned slot, size_t size);
void c_replace(struct concurrent *c, unsigned slot, size_t size);
void c_resize(struct concurrent *c, unsigned slot, size_t size);
void c_retire(struct concurrent *c, unsigned slot);
void c_set(struct concurrent *c, unsigned word);
/* Changes nothing that is published: a checkpoint, and empty slabs back to the pool. */
void c_purge(struct concurrent *c);
/* The same for one word: it is durable already, but may have to be settled. */
void c_persist(struct concurrent *c, unsigned word);
/* Where an object is in the slot: a plain store of its second word, made durable. */
void c_store(struct concurrent *c, unsigned slot);
/* An object that is not published: kept until the thread ends, or given back. */
void *c_reserve(struct concurrent *c, size_t size);
void c_free(struct concurrent *c, void *ptr);

void c_root(struct concurrent *c, unsigned index);
void c_drop(struct concurrent *c, unsigned index);

/* n below the limit, by thread and number of the operation. */
uint64_t c_dice(struct concurrent *c, uint64_t n);

/* A transaction takes effect when it commits. One in which a step is refused is aborted. */
struct ctx {
	struct concurrent *c;
	pheap_tx_t *tx;
	struct model_edit edit[8];
	unsigned n;
	int err;
};

void c_begin(struct concurrent *c, struct ctx *t);
void c_commit(struct ctx *t);
void c_abort(struct ctx *t);
void ctx_set(struct ctx *t, unsigned word);
void ctx_publish(struct ctx *t, unsigned slot, size_t size);
void ctx_retire(struct ctx *t, unsigned slot);
/* Snapshot a word, then store in place. */
void ctx_store(struct ctx *t, unsigned word);

/* What the controls use: a publish that looks at the slot, and then stores without looking
 * again. */
void c_publish_in_two_steps(struct concurrent *c, unsigned slot, size_t size);

#endif
