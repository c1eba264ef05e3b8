/*
 * worlds.h - what a pool may hold, while operations of several threads are under way: see
 * concurrent.h.
 */
#ifndef CRASH_WORLDS_H
#define CRASH_WORLDS_H

#include "model.h"

#define WORLDS_THREADS 2u
#define WORLDS_MAX 64u

enum world_op {
	W_NOTHING,
	W_PUBLISH, /* slot, object: EEXIST where it is not null */
	W_REPLACE, /* slot, object: ENOENT where it is null */
	W_RETIRE,  /* slot */
	W_RESIZE,  /* slot, value: bytes */
	W_EDITS,   /* all of them; ENOENT where one is of the bytes of no object */
	W_ROOT,	   /* index in slot */
	W_DROP,	   /* index in slot: EEXIST where an object is in it */
};

struct operation {
	enum world_op kind;
	unsigned slot;
	struct model_object *object;
	uint64_t value;
	const struct model_edit *edit;
	unsigned n;
	bool refuse; /* or it gives EINVAL and does nothing */
};

struct world {
	struct model model;
	struct {
		bool done; /* the operation under way has taken effect, */
		int code;  /* and will give this */
	} op[WORLDS_THREADS];
};

struct worlds {
	struct model_store *store;			   /* of objects that operations make */
	const struct operation *under_way[WORLDS_THREADS]; /* NULL: none */
	struct world world[WORLDS_MAX];
	unsigned n;
	bool overflow; /* there were more */
};

void worlds_begin(struct worlds *worlds, struct model_store *store, const struct model *model);

/* The operation has begun; it stays where it is until it has returned. */
void worlds_call(struct worlds *worlds, unsigned thread, const struct operation *op);

/* It has returned this code. False: no order of the operations explains that. */
bool worlds_return(struct worlds *worlds, unsigned thread, int code);

/* The different models of all worlds: at most WORLDS_MAX, into to; gives their number. */
unsigned worlds_models(const struct worlds *worlds, struct model *to);

/* By content. */
uint64_t model_hash(const struct model *model);

#endif
