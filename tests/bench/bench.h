/*
 * bench.h - what the parts of `compare` share.
 *
 * The program that the user starts (compare.c, run.c) measures nothing but the
 * floor. Each system is measured in a child, which is the same program executed
 * again with the environment that the system needs (LD_PRELOAD of an allocator,
 * PMEM_IS_PMEM_FORCE=1), sets itself up, and then waits to be told to run one
 * repetition. So systems take turns, repetition by repetition, and none sees
 * another's memory.
 *
 *	workload   what is done; its loop is in loops.h or loops-linked.h and is
 *		   compiled once for each system, so that calls are direct
 *	row	   a workload with sizes and threads: one block of lines of the table
 *	cell	   a row and a system: one line of the table
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define MIB(n) ((uint64_t)(n) << 20)

/* Of a worker, for its loop's arrays: 100,000 objects of the fattest system. */
#define WORKER_SPACE MIB(16)

enum {
	ROUNDS_MAX = 201, /* repetitions, with those that are repeated */
	FRESH_REPS = 5,	  /* of rows of which each takes long */
	THREADS_MAX = 16, /* of a worker array: those that leave full rings before a crash */
	TRACKS = 2,	  /* threads of a row, at most; or processes side by side */
	SLICES = 32,	  /* of a repetition, at most */
	SLOTS = 1024,	  /* of a worker, and of what workers share */
	PICKS = 1 << 15,  /* random choices made before the clock starts */
	EXTRAS = 4,
	OPEN_HOLE = 16,	   /* pools that are opened: one object in so many was freed */
	BATCH_STRIDE = 16, /* tx_batch64: slots between two links, so that each has its line */
	NOTE_MAX = 4096,   /* a path */
	PATH_LENGTH = 256,
};

enum workload_id {
	W_RESERVE_PAIR,
	W_RESERVE_BATCH,
	W_RANDOM_SLOT,
	W_LARGE_PAIR,
	W_THREADTEST,
	W_LARSON,
	W_SHBENCH,
	W_PRODCON,
	W_ARENA64,
	W_FRAGBENCH,
	W_STEADY,
	W_LINKED_PAIR,
	W_LINKED_RING,
	W_LINKED_SHARED,
	W_LINKED_PRODCON,
	W_LARGE_LINKED_PAIR,
	W_TX_WRITE8,
	W_TX_SNAPSHOT8,
	W_TX_SNAPSHOT8X8,
	W_TX_ALLOC_LINK,
	W_TX_BATCH64,
	W_SPACE64,
	W_OPEN_CLEAN,
	W_OPEN_CRASH,
	W_BUILD, /* these two leave the pool that open_* opens; in no row */
	W_CRASH,
	WORKLOADS,
};

enum {
	/* A fresh child for each repetition: it depends on what was there before. */
	WORK_FRESH = 1 << 0,
	/* Persistent: compared with the floor. */
	WORK_DURABLE = 1 << 1,
	/* The child must not make a heap of its own. */
	WORK_NO_HEAP = 1 << 2,
	/* Its threads have nothing in common: compared with two processes. */
	WORK_INDEPENDENT = 1 << 3,
	/* A call of its loop does too much to be stepped through by instruction. */
	WORK_LONG = 1 << 4,
	/* What is judged is no time: it is not repeated because something was slow. */
	WORK_NO_TIME = 1 << 6,
	/* It goes on touching new memory for long: warm up by operations, not by time. */
	WORK_WARM_UP = 1 << 5,
};

struct workload {
	const char *name;
	unsigned flags;
	const char *op; /* what one operation is */
};

struct row {
	enum workload_id workload;
	uint32_t min, max; /* bytes of an object */
	unsigned threads;
};

extern const struct workload workloads[WORKLOADS];
extern const struct row rows[];
extern const unsigned row_count;

/* "64" or "8-128". */
void row_size(const struct row *row, char *text, size_t room);

/* ---- systems ------------------------------------------------------------------- */

/* Fences executed, and lines flushed or written past the cache. */
struct tally {
	uint64_t fences, lines;
};

struct worker;

/* Do about n operations; the number of those done. */
typedef uint64_t loop_fn(struct worker *w, uint64_t n);

struct system {
	const char *name;
	const char *preload; /* library that provides malloc; NULL: none */
	const char *package; /* of Debian, that has it */
	const char *symbol;  /* a function of the library that is measured */
	unsigned durability; /* pheap: enum pheap_durability */
	/* Make a heap of size bytes in the file at path. */
	void (*start)(const struct system *system, const char *path, uint64_t size);
	/* Give a worker what it needs in the pool. */
	void (*prepare)(struct worker *w);
	/* The system's own counters; NULL: it has none. */
	void (*count)(struct tally *tally);
	loop_fn *const *loops; /* by workload; NULL: it cannot do that */
};

enum system_id {
	S_PHEAP,
	S_PROCESS,
	S_VOLATILE,
	S_PMEMOBJ,
	S_GLIBC,
	S_MIMALLOC,
	S_JEMALLOC,
	S_TCMALLOC,
	S_TBBMALLOC,
	SYSTEMS,
};

extern const struct system *const systems[SYSTEMS];
extern const struct system system_pheap, system_process, system_volatile, system_pmemobj;

/* ---- in the child ----------------------------------------------------------------- */

struct pick {
	uint32_t any;  /* 32 random bits */
	uint32_t size; /* min to max of the row */
};

/* What the threads of a row have in common. */
struct shared {
	void *mailbox;	     /* larson: an array of objects on its way; atomic */
	void *slots;	     /* linked_shared, linked_prodcon: SLOTS slots in the pool */
	void *ring;	     /* prodcon: objects on their way */
	uint8_t busy[SLOTS]; /* of those slots; atomic */
};

struct worker {
	size_t size; /* largest of the row */
	size_t min;
	unsigned index;
	uint32_t at; /* position in picks */
	const struct pick *picks;
	void *space; /* zeroed memory of the harness, for the loop's arrays */
	void *slots; /* SLOTS slots in the pool */
	char *words; /* SLOTS lines in the pool */
	struct shared *shared;
	const char *path; /* of the pool */
	bool quick;
	bool count; /* fences are being counted: do nothing that is not the operation */
	void (*afterwards)(struct worker *w); /* when they have been: what else to count */
	/* Of a loop that takes the time itself, with struct timer. */
	double ns;     /* for each operation */
	double waited; /* part of that time that it was kept from a processor */
	double extra[EXTRAS];
};

/* Memory from the system, which costs no allocator anything. Resident: touched
 * already. */
void *harness_memory(size_t bytes, bool resident);

double now_ns(void);

/*
 * Time that a thread was ready to run while others had the processors: not what it
 * slept, for a lock for instance. 0 where the kernel does not tell.
 */
int open_schedstat(void); /* of the calling thread */
double read_schedstat(int fd);

/* A stopwatch that also sees how long it was kept waiting. */
struct timer {
	int schedstat;
	double start, waited;
};

struct timer timer_start(void);
/* Add what it shows to w->ns and w->waited, in ns. */
void timer_stop(struct timer *timer, struct worker *w);
/* Turn them into what they mean, when n operations are done. */
void timer_report(struct worker *w, double n);

/* Report and exit. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Bytes resident in memory, pool included; bytes of anonymous memory. */
uint64_t resident_bytes(void);
uint64_t anonymous_bytes(void);

static inline const struct pick *next_pick(struct worker *w)
{
	return &w->picks[w->at++ % PICKS];
}

/* Objects of the pool that open_* opens, and its size. */
uint64_t open_objects(bool quick);
uint64_t open_pool_size(bool quick);

/* ---- between parent and child -------------------------------------------------------- */

/*
 * A repetition is cut into slices of about a millisecond. Where other programs want
 * the processors too, some slices are free of them, and only these are used (slice.c).
 */
struct slice {
	double start, end; /* ns, the same clock in all processes */
	double waited;	   /* ns, of its thread, since the end of the slice before */
	uint64_t done;	   /* operations */
};

/* The slices of one thread. */
struct track {
	unsigned n;
	struct slice slices[SLICES];
};

struct job {
	unsigned workload, system;
	uint32_t min, max;
	unsigned threads;
	unsigned processor; /* pinned to the n-th, from 1 on; 0: threads have one each */
	bool quick;
	bool count; /* count fences; else: take times */
	double target_ns, slice_ns;
	char folder[PATH_LENGTH];
	char pool[16]; /* which of the system's files there */
};

/* One repetition, or one count. */
struct reply {
	struct track tracks[TRACKS];
	double ns, waited; /* of struct worker; ns 0: the tracks tell */
	double extra[EXTRAS];
	/* Counting: in a long window, ... */
	double ops;
	struct tally called; /* calls that arrive at libpmem */
	struct tally own;    /* the system's own counters */
	/* ... and by instruction in a short one, with the calls of the same window. */
	double stepped_ops;
	double instructions; /* of one operation */
	struct tally stepped, stepped_called;
	unsigned flush_kinds; /* 1 << enum flush_kind */
	/* Instead of all that. */
	bool missing; /* the system is not installed, or cannot do it */
	bool has_own;
	char note[NOTE_MAX]; /* why; or the file of the library that is measured */
};

enum flush_kind {
	FLUSH_CLFLUSH,
	FLUSH_CLFLUSHOPT,
	FLUSH_CLWB,
};

/* The whole life of a child; standard input and output are pipes to the parent. */
int child_main(void);

/* The file of a system's pool in the folder. */
void pool_path(char *path, const char *folder, unsigned system, const char *what);

#endif
