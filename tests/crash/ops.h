/*
 * ops.h - operations: each makes one call of the public interface, or a few that
 * belong together, and the change in the shadow model that goes with it.
 *
 * Slots are numbers: 0 to 63 lie in the table, ROOT(i) is that of named root i.
 * All content is made from the run's random state. An operation on a run that has
 * failed does nothing. Those that return bool say whether the operation happened:
 * false after ENOSPC on a tolerant run.
 */
#ifndef CRASH_OPS_H
#define CRASH_OPS_H

#include "kill.h"
#include "run.h"

/* Slots from here on are for lists, the ones before for single objects. */
#define FIRST_LIST 56u

#define ROOT(i) (MODEL_TABLE_SLOTS + (i))

/* The pool: made with its table, opened, closed. */
void op_create(struct run *run);
void op_table(struct run *run);
bool op_open(struct run *run);
bool op_open_process(struct run *run); /* with PROCESS durability, until it is closed */
void op_close(struct run *run);

/*
 * The process was killed (kill.h), in the middle of an operation or behind one: the next
 * one opens the pool, in the memory as it is, and finds the operation done or not. With a
 * killer others before it are killed while they open it.
 */
void op_inherit(struct run *run, bool process, struct killer *killer);

/* Reserved memory. op_reserve gives the index in run->held, or -1. */
int op_reserve(struct run *run, size_t size);
void op_unreserve(struct run *run, int held);
void op_unreserve_all(struct run *run);
int op_zalloc(struct run *run, size_t size);
int op_aligned(struct run *run, size_t alignment, size_t size);
/* Nothing that is published changes. */
void op_purge(struct run *run, unsigned flags);
void op_realloc(struct run *run, int held, size_t size);

/* Single operations on a slot. */
bool op_publish(struct run *run, unsigned slot, size_t size, unsigned flags);
bool op_alloc_into(struct run *run, unsigned slot, size_t size, bool zero);
void op_retire(struct run *run, unsigned slot);
/* The same where the library may refuse, because a transaction is using the object. */
void op_retire_busy(struct run *run, unsigned slot);
bool op_replace(struct run *run, unsigned slot, size_t size, unsigned flags);
bool op_resize(struct run *run, unsigned slot, size_t size);
void op_write(struct run *run, unsigned slot, size_t at, size_t length);
void op_set(struct run *run, unsigned word);

/* Plain stores made durable by pheap_persist, or pheap_memcpy and pheap_drain:
 * not atomic. */
void op_persist(struct run *run, unsigned slot, size_t at, size_t length);
void op_memcpy(struct run *run, unsigned slot, size_t at, size_t length);
void op_persist_word(struct run *run, unsigned word);

/* Lists: an object behind the link of the first object in the slot. */
bool op_push(struct run *run, unsigned slot, size_t size);
void op_pop(struct run *run, unsigned slot);
bool op_link(struct run *run, unsigned slot, size_t size);
void op_unlink(struct run *run, unsigned slot);

/* Types, and objects of type `number`, from 1 on, or arrays of n elements: ops-types.c. */
bool op_register(struct run *run);
bool op_publish_typed(struct run *run, unsigned slot, unsigned number, unsigned n);
bool op_link_typed(struct run *run, unsigned slot, unsigned number, unsigned n);
bool op_resize_typed(struct run *run, unsigned slot, unsigned number, unsigned n);

/* Reference counts (graph.h), where all types are registered: ops-count.c. Numbers of nodes
 * from 1 on, 0 is none; what is published or made in a transaction is a new one. */
void op_board(struct run *run);
bool op_count_publish(struct run *run, unsigned slot, unsigned number, unsigned left,
		      unsigned right, unsigned weak);
void op_count_link(struct run *run, unsigned slot, unsigned number);
void op_count_edge(struct run *run, unsigned from, bool right, unsigned number);
void op_count_weak(struct run *run, unsigned slot, unsigned number);
void op_count_get(struct run *run, unsigned weak, unsigned slot);
bool op_count_tx(struct run *run, unsigned a, unsigned b, unsigned slot, unsigned other,
		 unsigned number);
void op_count_random(struct run *run);

/*
 * Arenas in the heap, and sealed in a slot for lists: ops-arena.c. Objects have multiples
 * of 8 bytes; the first one of each arena is its root.
 */
#define ARENA_BLOCKS 1200u
struct arena {
	pheap_arena_t *arena;
	size_t block_size;
	unsigned n, usual; /* blocks; of block_size */
	struct arena_block {
		char *base;
		struct model_object *object; /* as far as it is filled */
		bool large;
	} block[ARENA_BLOCKS];
	char *root;
};

void arena_begin(struct run *run, struct arena *a, size_t block_size);
/* n objects; false where one was not to be had, the others are kept. */
bool arena_alloc(struct run *run, struct arena *a, size_t size, unsigned n);
void arena_reset(struct run *run, struct arena *a);
void arena_end(struct run *run, struct arena *a);
bool arena_seal(struct run *run, struct arena *a, unsigned slot);
void op_drop_arena(struct run *run, unsigned slot);

/* In traced pools: a slot set to null, or to an object that was made durable before; what it
 * referred to is freed then. */
void op_unlink_free(struct run *run, unsigned slot);
void op_relink(struct run *run, unsigned slot, size_t size);

/* In a traced pool: an object that nobody has, until an open finds that out. */
void op_lose(struct run *run, size_t size);

/* Where typed objects are changes, and nothing else. moves: some are to. */
void op_compact(struct run *run, bool moves);
void op_move(struct run *run, unsigned slot);

/* A power cut: nothing that is pending arrives. Then the pool is opened again. */
void op_cut(struct run *run);

/*
 * Garbage: ops-gc.c. Objects are looked into word by word, so none may hold old references:
 * their sizes are those of blocks. op_leak unlinks all that the slot refers to; op_litter
 * makes n objects that nothing refers to; op_gc frees all garbage but what a transaction holds.
 */
void op_leak(struct run *run, unsigned slot);
void op_litter(struct run *run, size_t size, unsigned n);
void op_gc(struct run *run, uint64_t held);
/* Have generations, until the pool is closed; then a young collection. What it frees is counted
 * and not foreseen. */
void op_generations(struct run *run, unsigned survive);
void op_gc_young(struct run *run);
/* As many as op_gc would free. */
void op_gc_dry(struct run *run);

/* Named roots. */
void op_root(struct run *run, unsigned index);
void op_drop(struct run *run, unsigned index);

/* Calls that must fail and change nothing. */
void op_misuse(struct run *run, unsigned slot);

/* ---- transactions ------------------------------------------------------------- */

struct txn {
	pheap_tx_t *tx;
	struct model_edit *edit; /* takes effect at commit */
	size_t n, room;
};

void tx_begin(struct run *run, struct txn *t);
bool tx_commit(struct run *run, struct txn *t);
void tx_abort(struct run *run, struct txn *t);

/*
 * Commit, but the process is killed before the fence of the record, with all it has stored
 * in the cache; the next process opens the pool. Only for heaps that were opened under
 * kill_hook (kill.h), and transactions that allocate nothing.
 */
void tx_killed(struct run *run, struct txn *t, struct killer *killer);

/* Where one of these fails, the transaction is good for tx_abort() only: some make
 * two calls, and the first may have succeeded. */
bool tx_alloc(struct run *run, struct txn *t, unsigned slot, size_t size);
bool tx_zalloc(struct run *run, struct txn *t, unsigned slot, size_t size);
void tx_adopt(struct run *run, struct txn *t, unsigned slot, int held);
bool tx_retire(struct run *run, struct txn *t, unsigned slot);
bool tx_free(struct run *run, struct txn *t, unsigned slot); /* and set the slot */
bool tx_set(struct run *run, struct txn *t, unsigned word);
bool tx_write(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length);
/* n writes of 8 bytes each, `step` apart; those before one that fails stay. */
void tx_scatter(struct run *run, struct txn *t, unsigned slot, size_t step, size_t n);

bool tx_snapshot(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length);
void tx_store(struct run *run, struct txn *t, unsigned slot, size_t at, size_t length);
/* Both for n ranges of one object, with one call. */
bool tx_snapshotv(struct run *run, struct txn *t, unsigned slot, size_t step, size_t n);
bool tx_snapshot_word(struct run *run, struct txn *t, unsigned word);
void tx_store_word(struct run *run, struct txn *t, unsigned word);
/* A slot changed with a plain store: an object of the transaction's linked into it, or
 * the one in it unlinked and freed. */
bool tx_link(struct run *run, struct txn *t, unsigned slot, size_t size);
bool tx_unlink(struct run *run, struct txn *t, unsigned slot);

/* ---- chance ---------------------------------------------------------------------- */

/* n below the limit, from the run's random state. */
uint64_t dice(struct run *run, uint64_t n);
size_t random_size(struct run *run);

/* Any operation that makes sense now. */
void op_random(struct run *run);

#endif
