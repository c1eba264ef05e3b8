/*
 * workload.h - operations whose results are known beforehand.
 *
 * A sequence of operations and of models, the states between them, follows from its
 * kind, its seed and a length alone. All three stand in the layout name of the pool, so
 * the program that runs the operations and the checker that looks at an image of the
 * pool need nothing but the pool: state k is the content once k operations of the traced
 * run have happened.
 */
#ifndef REORDER_WORKLOAD_H
#define REORDER_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <pheap.h>

#define SLOTS 20
#define WORDS 256
#define SPARE 48   /* words behind them that no operation changes: zero */
#define TX_SLOTS 3 /* changed by one transaction */

/* What the pool holds: objects of known content, and one of plain words. */
struct model {
	struct {
		uint32_t size; /* 0: null */
		uint64_t seed; /* of its content */
	} slot[SLOTS];
	uint64_t word[WORDS];
};

/* The table that the root refers to. */
struct table {
	pheap_ref slot[SLOTS];
	pheap_ref words; /* WORDS + SPARE of them */
};

enum op_type {
	OP_PUBLISH,
	OP_PUBLISH_PERSISTED,
	OP_ALLOC_INTO,
	OP_RETIRE,
	OP_REPLACE,
	OP_SET,
	OP_WRITE,
	OP_PERSIST, /* one plain store */
	OP_REDO,    /* transaction: words set, objects allocated, objects retired */
	OP_UNDO,    /* transaction: words snapshotted and stored in place */
	OP_ABORT,   /* the same, aborted */
	OP_MIXED,   /* transaction: all of that */
	OP_TYPES,
};

struct op {
	enum op_type type;
	unsigned slot[TX_SLOTS]; /* empty ones are filled, others retired or replaced */
	unsigned n_slots;
	uint32_t size;
	uint64_t seed;
	unsigned word, length; /* the words that it changes */
};

struct sequence {
	unsigned kind, warm, length; /* operations before the traced run, and in it */
	uint64_t random;
	struct model model; /* after the operations that were taken */
};

/* publish, retire, replace, redo, undo, mixed; -1 for another name. */
int workload_kind(const char *name);

void sequence_begin(struct sequence *s, unsigned kind, uint64_t seed, unsigned length);

/* The next operation; the model is moved past it. */
void sequence_next(struct sequence *s, struct op *op);

const char *op_name(const struct op *op);

/* Do it. 0, or a negative code. */
int op_run(pheap_t *heap, const struct op *op);

/* Open or create, always as persistent memory. The layout says which sequence. */
pheap_t *workload_create(const char *path, const char *kind, uint64_t seed, unsigned length);
pheap_t *workload_open(const char *path);
bool workload_sequence(pheap_t *heap, struct sequence *s);

/* Does the pool hold what the model says, and nothing else? Why not: in why. */
bool model_matches(pheap_t *heap, const struct model *model, char *why, size_t why_size);

#endif
