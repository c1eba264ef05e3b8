/*
 * sim.h - simulated persistent memory: what is durable, and what may be.
 *
 * A sim owns two images of a pool. `work` is what the program sees and stores
 * to; `durable` is what a power cut leaves for certain. Between them lies what is
 * pending, exactly as persist.h says (P1..P4):
 *
 *   - for each 64-byte line the ordered list of cached stores that are not
 *     durable yet: a crash leaves any prefix of them, each line independently;
 *   - the non-temporal words before their fence: a crash leaves any subset.
 *
 * Stores are cut into units, the atoms of P2: an aligned 8-byte word, or a single
 * byte where a store covers less than a whole word.
 *
 * P3 and P4 speak of one thread's fence, so flushes and non-temporal words belong
 * to a *cpu*. Single-threaded programs leave it at 0.
 *
 * The library reports its stores through sim_hook. The program's own stores into
 * the pool are made with sim_user_store(), or found afterwards by sim_absorb();
 * sim_unseen() proves that none was missed.
 *
 * image.h makes crash images out of the state kept here.
 */
#ifndef CRASH_SIM_H
#define CRASH_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persist.h"

#define SIM_CPUS 16u
#define SIM_LINE 64u
#define SIM_NOWHERE UINT64_MAX

/* An atom of a cached store. size 0: overtaken by a newer word; no effect. */
struct sim_unit {
	uint64_t seq; /* order of all stores of the sim */
	uint64_t value;
	uint8_t at; /* within the line */
	uint8_t size;
};

/* A line with pending units, oldest first. */
struct sim_line {
	uint64_t number;
	struct sim_unit *unit;
	uint32_t n, room;
};

/* A non-temporal word. */
struct sim_word {
	uint64_t seq;
	uint64_t offset;
	uint64_t value;
	uint32_t cpu;
};

/* A flush: covers the units of the line up to seq. */
struct sim_flush {
	uint64_t line;
	uint64_t seq;
};

struct sim_cpu {
	struct sim_flush *flush;
	size_t n, room;
};

/* Chunks of memory that differ, or may, from another image: image.h. */
struct pageset;

enum sim_event {
	SIM_STORE,
	SIM_NT,
	SIM_FLUSH,
	SIM_FENCE, /* about to be executed: nothing of it has happened */
	SIM_FENCED,
};

struct sim {
	uint64_t size;
	char *work;
	char *durable;
	char *seen;    /* work, as far as the sim has been told */
	uint64_t hash; /* of durable: see sim_hash_word() */
	uint64_t seq;
	unsigned cpu; /* whose turn it is */

	uint32_t *where; /* line number -> 1 + index in dirty, 0: clean */
	struct sim_line *dirty;
	size_t ndirty, room_dirty;
	struct sim_word *word;
	size_t nword, room_word;
	struct sim_cpu cpus[SIM_CPUS];

	bool pages;   /* written back by pages, which mixes sectors: msync.h */
	bool silent;  /* nothing is flushed that would tell of plain stores: look for them */
	bool mutated; /* what is flushed outside the pool is a mutant's: no harm */

	struct pageset *stale; /* where durable has changed; may be NULL */

	uint64_t stores, copies, flushes, fences; /* events so far */
	uint64_t unseen;    /* stores found by a flush that nobody had reported */
	uint64_t unseen_at; /* offset of the first of them */

	/* Called in the middle of things, by the thread that makes the store. */
	void (*event)(void *arg, enum sim_event event);
	void *event_arg;
};

extern const struct ph_hook sim_hook; /* its argument is the sim */

struct sim *sim_new(uint64_t size);
void sim_delete(struct sim *sim);

/* Begin anew with an image of sim->size bytes; NULL: zeros. Nothing is pending. */
void sim_reset(struct sim *sim, const char *image);

/* A store of the program's own: noted, and made. */
void sim_user_store(struct sim *sim, void *dst, const void *src, size_t length);

/* Note what was stored into a range without being reported, in address order. */
void sim_absorb(struct sim *sim, const void *addr, size_t length);

/* The same, of all there are. */
void sim_absorb_all(struct sim *sim);

/* The offset of the first byte of work that nobody reported; SIM_NOWHERE: none. */
uint64_t sim_unseen(const struct sim *sim);

/* The pieces sim_hook is made of, for hooks that leave one of them out. */
void sim_store(struct sim *sim, void *dst, const void *src, size_t length);
void sim_copy_nt(struct sim *sim, void *dst, const void *src, size_t length);
void sim_flush(struct sim *sim, const void *addr, size_t length);
void sim_fence(struct sim *sim);

/*
 * The hash of an image is the sum of the hashes of its words, so that the hash
 * of a crash image is made from that of the durable one and the words that differ.
 */
static inline uint64_t sim_hash_word(uint64_t offset, uint64_t value)
{
	uint64_t x = (value ^ offset * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);

	x ^= x >> 29;
	x = (x + offset) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 32;
}

/* Apply a unit to a copy of its line. */
static inline void sim_apply(char *line, const struct sim_unit *unit)
{
	if (unit->size == 8)
		memcpy(line + unit->at, &unit->value, 8);
	else if (unit->size)
		line[unit->at] = (char)unit->value;
}

static inline uint64_t sim_offset(const struct sim *sim, const void *addr)
{
	return (uint64_t)((const char *)addr - sim->work);
}

#endif
