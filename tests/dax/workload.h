/*
 * workload.h - what a thread of the guest does to its pool, as a function of a seed.
 *
 * Operation number k of a thread, and all that the pool holds of it after k
 * operations, follow from the seed and from k alone. So the whole acknowledgement
 * of an operation is its number, and a program that knows the last acknowledged
 * number derives the content that has to be in the pool: by running the plan
 * without a heap.
 *
 *	struct shadow s = shadow_make(seed, thread);
 *	workload_plan(&s, &op);      draw operation s.done + 1
 *	workload_run(&worker, &op);  do it to a heap
 *	shadow_apply(&s, &op);       what there is now
 */
#ifndef TESTS_DAX_WORKLOAD_H
#define TESTS_DAX_WORKLOAD_H

#include "common.h"

#define THREADS 2
#define SLOTS 48
#define WORDS 32
#define CELLS 16
#define CELL 256
#define ITEMS (SLOTS + WORDS + CELLS)
#define STEPS 16

/* What each thread has in the pool; the root refers to an array of THREADS of these. */
struct own {
	pheap_ref slots[SLOTS];
	uint64_t words[WORDS];
	char cells[CELLS][CELL];
};

/*
 * Of a slot: the object's pattern, its size, and how many bytes of the pattern it
 * has (the tail of a resized one says nothing); id 0 is no object. Of a word or a
 * cell: its value or pattern as id; 0 as made.
 */
struct value {
	uint64_t id, size, valid;
};

enum kind {
	OP_PUBLISH,   /* fill in place, publish */
	OP_PERSISTED, /* the same, made durable beforehand */
	OP_INTO,      /* pheap_alloc_into */
	OP_REPLACE,
	OP_RETIRE,
	OP_RESIZE,
	OP_SET,
	OP_WRITE,
	OP_GARBAGE, /* reserved, filled, freed or not: changes nothing for good */
	OP_TX_REDO,
	OP_TX_UNDO,
	OP_TX_MIXED,
	OP_TX_ABORT, /* mixed, and then taken back */
	OP_KINDS,
};

struct step {
	unsigned item;
	struct value to;
};

struct op {
	enum kind kind;
	unsigned n;
	struct step steps[STEPS];
	uint64_t draw; /* decides what the steps leave open */
};

struct shadow {
	struct rng rng;
	uint64_t done;
	struct value now[ITEMS];
};

struct shadow shadow_make(uint64_t seed, unsigned thread);
void shadow_apply(struct shadow *shadow, const struct op *op);

/* Draw the next operation. */
void workload_plan(struct shadow *shadow, struct op *op);

/* Do it. Nothing may fail: the pool is large enough for any plan. */
void workload_run(pheap_t *heap, struct own *own, const struct shadow *shadow, const struct op *op);

/* Does the pool hold this value of this item? */
bool workload_holds(pheap_t *heap, const struct own *own, unsigned item, struct value value);

extern const char *const workload_kinds[OP_KINDS];

#endif
