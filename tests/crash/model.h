/*
 * model.h - the shadow model: what a pool holds, according to the calls that were
 * made and not to the library.
 *
 * The pool of every scenario has the same shape. The unnamed root refers to one
 * published *table* of slots and plain words; beside it there may be named roots.
 * A slot is null or refers to an object with known bytes. An object may have a
 * link, a slot of its own that refers to a further object, and so on: a list; or a
 * sealed arena, whose blocks have their link behind their first word.
 * No object is referred to twice, so the number of objects is the sum of the
 * lengths of all lists, and of those that were unlinked and not freed: garbage.
 *
 * Objects that models share never change: a changed object is a new one. So a model
 * is copied by copying its struct. Objects live in a model_store.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pheap.h>

#include "graph.h"

#define MODEL_TABLE_SLOTS 64u
#define MODEL_ROOTS 8u
#define MODEL_SLOTS (MODEL_TABLE_SLOTS + MODEL_ROOTS)
#define MODEL_WORDS 16u
#define MODEL_TYPES 5u
#define MODEL_TYPE_COUNTED 5u /* of the objects in a graph */

/* What the unnamed root refers to, on media. */
struct table {
	pheap_ref slot[MODEL_TABLE_SLOTS];
	uint64_t word[MODEL_WORDS];
};

struct model_object {
	struct model_object *older; /* in its store */
	struct model_object *next;  /* what the link refers to; NULL where null */
	bool linked;		    /* has a link: 8 bytes at link_at */
	size_t link_at;
	size_t size;
	size_t known;  /* bytes whose content is defined */
	unsigned type; /* number of its type; 0: none */
	char bytes[];
};

struct model {
	bool exists; /* the pool has been created */
	bool table;
	struct model_object *slot[MODEL_SLOTS]; /* named roots come last */
	bool root[MODEL_ROOTS];
	uint64_t word[MODEL_WORDS];
	uint64_t garbage; /* objects that are published and that nothing refers to */
	bool fewer;	  /* some of them may have been freed */
	unsigned types;	  /* registered, from number 1 on */
	struct graph graph;
};

/* Objects made by one run; freed together. */
struct model_store {
	struct model_object *newest;
};

void model_store_clear(struct model_store *store);

/* An object of size bytes, all known, filled from `bytes` or by pattern `id`. */
struct model_object *model_object(struct model_store *store, size_t size, const void *bytes);
struct model_object *model_pattern(struct model_store *store, size_t size, uint64_t id);

/* A copy, to be changed before anyone else sees it. */
struct model_object *model_copy(struct model_store *store, const struct model_object *object);

/* ---- changes ---------------------------------------------------------------- */

enum model_kind {
	MODEL_EXISTS,
	MODEL_TABLE,
	MODEL_SLOT,    /* index, object (NULL: null) */
	MODEL_BYTES,   /* index, object: its bytes replace those from byte `value` on */
	MODEL_ROOT,    /* index, value: present? */
	MODEL_WORD,    /* index, value */
	MODEL_GARBAGE, /* value */
	MODEL_TYPES_N, /* value: how many there are */
};

struct model_edit {
	enum model_kind kind;
	unsigned index;
	struct model_object *object;
	uint64_t value;
};

/*
 * Change a model. Objects that it has in common with `shared` are copied before they
 * are patched, the others belong to the model alone.
 */
void model_apply(struct model *model, const struct model *shared, struct model_store *store,
		 const struct model_edit *edit);

/* ---- comparison ------------------------------------------------------------- */

const char *model_root_name(unsigned index);
const char *model_type_name(unsigned number); /* ops-types.c */

/* Objects of the model: what pheap_check must count. */
uint64_t model_objects(const struct model *model);

/* The slot of an open heap; NULL where the table or root is not there. */
pheap_ref *model_slot(pheap_t *heap, unsigned index);

/*
 * Does an open heap hold what the model says? With mixed not NULL each word and
 * each byte of an object may be as it is in that model, too. If not, says in what
 * where they differ.
 */
bool model_match(pheap_t *heap, const struct model *model, const struct model *mixed, char *what,
		 size_t room);

/*
 * The offset of an object of the model that overlaps the reserved bytes at ptr, or
 * 0: what the library hands out must be apart from all that is published.
 */
uint64_t model_overlap(pheap_t *heap, const struct model *model, const void *ptr, size_t size);

#endif
