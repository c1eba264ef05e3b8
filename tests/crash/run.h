/*
 * run.h - a run: a program of operations on one heap, with its shadow model, in
 * simulated memory; and what happens at its crash points.
 *
 * A scenario is a function over a run of depth 0. At its crash points (before and
 * after every fence, at some stores and flushes, at the end of every operation) the
 * run is *explored*: a thread of its own builds image after image (image.h), and the
 * oracle (oracle.c) opens a heap on each. That heap belongs to a run too, one level
 * deeper, whose operations are the oracle's "go on working". For some images there
 * is a *nested* run instead, in simulated memory again: recovery and the operations
 * after it have crash points of their own.
 *
 *	depth 0   scenario            in sim 0
 *	depth 1   oracle              in scratch 0
 *	          or nested run       in sim 1
 *	depth 2        its oracle     in scratch 1
 *
 * Exploring takes place inside a hook, so in the middle of a call of the library:
 * the thread of its own keeps the library's thread-local state of the two apart.
 * Only one thread runs at a time.
 *
 * Everything is decided by the seed and by numbers: an image is named by crash point
 * and image number, "117.42", and by two such pairs where the second crash is inside a
 * nested run, "117.42/3.8". --replay runs exactly that one.
 */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "image.h"
#include "model.h"
#include "pool.h"
#include "report.h"
#include "set.h"

#define RUN_DEPTHS 2u
#define RUN_HELD 24u
#define RUN_WORKERS 4u

/* How much to explore. */
struct policy {
	struct plan_limits limits;
	struct plan_limits nested_limits;
	uint32_t every;		  /* explore one in so many crash points; 0: none */
	struct plan_limits brief; /* of the fences left out by that, at depth 0 */
	uint32_t store_every;	  /* a crash point at one in so many stores and flushes */
	uint32_t nested_every;	  /* a nested run from one in so many images; 0: none */
	uint32_t work;		  /* operations of the oracle after recovery */

	/* Schedules of a program of two threads (concurrent.h): */
	uint32_t pairs;	 /* one in so many with two preemptions; 0: none */
	uint32_t random; /* so many at random */
	bool fine;	 /* all with one preemption, at any atomic access */
};

/* The image to replay. */
struct replay {
	unsigned depth; /* 0: none; pairs given */
	uint64_t point[RUN_DEPTHS], image[RUN_DEPTHS];
};

/* What the runs of one scenario share. */
struct rig {
	const char *scenario;
	uint64_t seed;	     /* of this scenario */
	uint64_t named_seed; /* what --seed has to say to get it */
	char form[48];	     /* and what else: images are numbered within a policy */
	uint64_t pool_size;
	struct policy policy;
	struct replay replay;
	unsigned max_failures; /* stop after so many */
	bool quiet;	       /* do not print failures: they are expected */
	bool trace;	       /* print the events of depth 0 */
	struct report *report;

	struct sim *sim[RUN_DEPTHS];
	struct scratch *scratch[RUN_DEPTHS];
	struct set distinct;	 /* images */
	struct set judged;	 /* images together with what was expected of them */
	struct shared_set *ever; /* images of all rigs of all processes; may be NULL */

	bool traced;   /* pools are */
	bool collect;  /* opens free what nothing reaches, also after a clean close */
	bool typed;    /* what holds references has a type (traced.h) */
	bool mutated;  /* the library is a mutant: flushes need not report stores */
	bool may_fail; /* EIO is no failure: the run ends, the operation is in doubt */

	/* The hook of the run at depth 0; NULL: sim_hook. For faults (fault.h). */
	const struct ph_hook *hook;
	void *hook_arg;
};

struct run {
	struct rig *rig;
	struct run *parent; /* its crash image is what this run began with */
	unsigned depth;
	struct sim *sim; /* NULL in an oracle's run */
	struct scratch *scratch;
	char *base;

	pheap_t *heap;
	struct model now;  /* what must be there */
	struct model next; /* what may be there instead, while in_flight */
	bool in_flight;
	bool mixed;    /* or any mix of the two: stores that are not atomic */
	bool tolerant; /* ENOSPC is no failure: the operation does not happen */
	/* Or, in the place of both: any of these, of operations of several threads; they
	 * are told apart by a hash. */
	const struct model *maybe;
	unsigned nmaybe; /* 0: none */
	uint64_t expected;
	struct model_store store;
	struct {
		char *ptr;
		size_t size;
	} held[RUN_HELD]; /* reserved objects */

	bool readonly;	 /* open it for reading only */
	bool process;	 /* with PROCESS durability: every store is a crash point */
	bool unflushed;	 /* it was, and no close or open for POWER has returned since */
	bool raw;	 /* an oracle's run without a hook: PROCESS durability */
	bool failed;	 /* operations are skipped from now on */
	uint64_t origin; /* seed, crash points and images that led here */
	uint64_t random; /* state: what random operations do */
	uint64_t opens;	 /* and creations, finished or not */
	uint64_t epoch;	 /* of its last open for writing; 0: none yet */

	struct worker *worker[RUN_WORKERS]; /* worker.h */
	bool blind;			    /* no crash points now */

	/* Where the run stands. */
	const char *op;
	uint64_t op_arg[2];
	uint64_t op_number, op_fence, op_mark;
	bool fence_explored;
	uint64_t point;	   /* crash points so far */
	const char *where; /* the current one */
	const char *note;  /* what else is to be said of it, or NULL */
	bool brief;	   /* it is a fence that is only looked at briefly */
	uint64_t image;	   /* of it */
	struct plan plan;
};

/* ---- rigs and runs ------------------------------------------------------- */

void rig_init(struct rig *rig, const char *scenario, uint64_t seed, uint64_t pool_size,
	      struct report *report);
void rig_fini(struct rig *rig);

/* A run of depth 0 in zeroed memory; the scenario creates the pool. */
void run_init(struct run *run, struct rig *rig);
void run_fini(struct run *run);

/* Have the events of its sim lead to crash points of this run. */
void run_listen(struct run *run);

/* Open the heap of a run; in simulated memory under its hook. Leaves errno. */
pheap_t *run_open_heap(struct run *run);
pheap_t *run_create_heap(struct run *run);

/* Have its memory zero, as a file that was emptied. False: it was already. */
bool run_empty(struct run *run);

/* ---- operations, for ops.c ----------------------------------------------------- */

/*
 * Begin an operation. False: the run has failed, skip it. The changes that are made
 * to run->next from here on may be found after a crash as soon as op_go() is called.
 */
bool op_begin(struct run *run, const char *name, uint64_t a, uint64_t b);
void op_edit(struct run *run, const struct model_edit *edit);
void op_go(struct run *run);

/* End it. code 0: it has happened; else it has not. True where it has. */
bool op_end(struct run *run, int code);

/* Crash here. */
void run_crash_point(struct run *run, const char *where);

/* ---- memory ------------------------------------------------------------------------ */

/* A plain store of the program's. */
void run_put(struct run *run, void *dst, const void *src, size_t length);

/* The library filled a reserved object with plain stores. */
void run_absorb(struct run *run, const void *addr, size_t length);

/* ---- failures ------------------------------------------------------------------------ */

/* Report a failure of this run. */
void run_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Enough failures: the scenario is to end. */
bool rig_done(const struct rig *rig);

/* ---- oracle.c ---------------------------------------------------------------------------- */

/* Judge the image in the scratch of a run. False: a failure was reported. */
bool oracle_judge(struct run *run);

/* Recover it in simulated memory, with crash points, and go on. */
void oracle_nested(struct run *run);

/* Nothing could be opened, in the middle of a creation: create takes that over. */
void run_make_anew(struct run *run);

/* The open heap of a run: does it hold `now`, and is it sound? */
bool oracle_verify(struct run *run);

#endif
