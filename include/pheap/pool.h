/*
 * pheap/pool.h - pool files: create, open, close; durability; roots.
 */
#ifndef PHEAP_POOL_H
#define PHEAP_POOL_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes of a pool file in bytes. */
#define PHEAP_MIN_SIZE (UINT64_C(8) << 20)
#define PHEAP_MAX_SIZE (UINT64_C(1) << 40)

/* A layout name, including its final 0 byte. */
#define PHEAP_LAYOUT_MAX 64

/* The name of a named root, including its final 0 byte. */
#define PHEAP_ROOT_NAME_MAX 48

/* Named roots in one pool. */
#define PHEAP_ROOTS_MAX 63

/*
 * What an operation that returned survives. The media format is the same.
 *
 * DEFAULT   POWER where the file can give it (a DAX mapping, a file on a disk);
 *           PROCESS on a memory file system (tmpfs), which a power cut empties
 * POWER     power loss: flushes and fences on DAX, msync on a disk file.
 *           Asked for explicitly on tmpfs: ENOTSUP, unless one of
 *           PHEAP_FORCE_PMEM and PHEAP_FORCE_MSYNC is given
 * PROCESS   kill -9 and abort, not power loss: no flush, no fence. The pool
 *           carries a mark until it is closed, and a later open after a reboot
 *           finds it and demands a check (PHEAP_CHECK_FIRST)
 * VOLATILE  nothing: anonymous memory (path NULL), no logs
 */
enum pheap_durability {
	PHEAP_DURABILITY_DEFAULT = 0,
	PHEAP_POWER = 1,
	PHEAP_PROCESS = 2,
	PHEAP_VOLATILE = 3,
};

/* Flags of struct pheap_options. */
enum {
	/* Open for reading only; many readers may share a pool. A pool that was
	 * not closed cleanly is recovered in a private mapping; the file is not
	 * written. */
	PHEAP_READONLY = 1u << 0,

	/* Treat the mapping as persistent memory whatever it is: for tests and
	 * measurements. PMEM_IS_PMEM_FORCE=1 in the environment does the same. */
	PHEAP_FORCE_PMEM = 1u << 1,

	/* Write back with msync even where cache flushes would do. */
	PHEAP_FORCE_MSYNC = 1u << 2,

	/* Accept a pool last used with PROCESS durability before a reboot, if a
	 * full check of it finds nothing wrong. */
	PHEAP_CHECK_FIRST = 1u << 3,

	/* Create: a traced pool (see below). Open: the pool must be one, else EINVAL;
	 * without the flag a pool of either kind is opened as what it is. */
	PHEAP_TRACED = 1u << 4,

	/* Open, traced pools only (else EINVAL): find out what can be reached also after a
	 * clean close, and free everything else, as after a crash. With PHEAP_READONLY in
	 * private memory, to see what that would leave. */
	PHEAP_COLLECT = 1u << 5,
};

/*
 * Linked and traced pools. In a linked pool an object is permanent from the operation that
 * publishes it to the one that retires it; each is a record, and an open after a crash has
 * nothing to search. In a traced pool an object is permanent as long as it can be reached:
 * a root refers to it, or an object that can be reached does, in a reference that its type
 * names (pheap/type.h; an object without a type has no references). pheap_alloc() and
 * pheap_free() cost no record and no fence, whatever the object, but for one whenever a new
 * slab or span is taken from the pool's free memory; what makes an object
 * permanent is the durable link to it, and the program sees to it that
 *
 *   - the content is durable before the link is (pheap_publish, a transaction, or
 *     pheap_persist and then pheap_set),
 *   - no durable link leads to an object when it is freed: unlink it first (pheap_set,
 *     a transaction; pheap_retire and pheap_tx_free do both at once).
 *
 * Links are changed as in a linked pool, by records or by pheap_persist of the program's own
 * stores. pheap_set, pheap_write and transactions work on all allocated objects. After a
 * crash, open follows the references from the roots with all processors and frees what they
 * do not reach: time in the number of permanent objects, two seconds for ten million. A
 * clean close keeps what is allocated, reachable or not, and the next open is immediate,
 * unless PHEAP_COLLECT asks for the same then.
 */

/* Flags of struct pheap_memory. */
enum {
	/* Ask for transparent huge pages (madvise): faster, but memory is had, and
	 * resident, by 2 MiB. ENOTSUP where the kernel has none. */
	PHEAP_HUGE_PAGES = 1u << 0,

	/* Take the whole heap from the huge pages that the system was told to keep
	 * (vm.nr_hugepages): ENOMEM where there are not enough. The size is rounded up
	 * to 2 MiB. Not with purge_after. */
	PHEAP_HUGETLB = 1u << 1,

	/* Have all memory that objects can be in resident when create returns; ENOMEM
	 * where there is not so much. */
	PHEAP_PREFAULT = 1u << 2,

	/* Bind the memory to the NUMA node `node`: EINVAL where there is no such node,
	 * ENOTSUP where the kernel knows no nodes. */
	PHEAP_BIND_NODE = 1u << 3,

	/* Give memory back to the system when it has been free for purge_after
	 * milliseconds; with 0, when it becomes free. */
	PHEAP_PURGE = 1u << 4,
};

struct pheap_debug;

/*
 * How a volatile heap has its memory. All zero: anonymous memory, which is resident
 * from when it is touched until the heap is closed.
 *
 * Its own memory the program may give with get and put, both or none: get is called once, by
 * pheap_create(), for bytes at a multiple of 64 KiB that read as zero, and put when the
 * heap is closed; get returns NULL for none (ENOMEM). commit is called, if it is there, before
 * a range is used (again), part of which may be in use; it returns 0 or a negative code, which
 * the allocation then fails with. purge is called, if it is there, when a range is free
 * (PHEAP_PURGE, pheap_purge); if it returns 0 the range reads as zero when it is used again.
 * Ranges are whole pages. The four must not call the heap; commit and purge may be called
 * by any thread that calls the heap.
 */
struct pheap_memory {
	size_t struct_size;   /* sizeof(struct pheap_memory) */
	unsigned flags;	      /* PHEAP_HUGE_PAGES ... */
	unsigned purge_after; /* milliseconds; with PHEAP_PURGE */
	unsigned node;	      /* with PHEAP_BIND_NODE */
	uint64_t limit;	      /* bytes, in units of 64 KiB, that slabs and large objects may
			       * have; then the heap is full (ENOSPC). 0: no limit but its size */
	void *(*get)(void *arg, size_t bytes);
	void (*put)(void *arg, void *memory, size_t bytes);
	int (*commit)(void *arg, void *range, size_t bytes);
	int (*purge)(void *arg, void *range, size_t bytes);
	void *arg;
	const struct pheap_debug *debug; /* find and report misuse (pheap/debug.h); NULL: no */
};

struct pheap_options {
	size_t struct_size;		   /* sizeof(struct pheap_options) */
	uint64_t size;			   /* create: bytes of the file; rounded down to 64 KiB */
	const char *layout;		   /* create: stored; open: must match when not NULL */
	unsigned durability;		   /* enum pheap_durability */
	unsigned flags;			   /* PHEAP_READONLY ... */
	unsigned mode;			   /* create: permission bits; 0 means 0600 */
	const struct pheap_memory *memory; /* create, VOLATILE only; NULL: all zero */
};

/*
 * Create a pool file and open it.
 *
 * path: the file to make; NULL with PHEAP_VOLATILE only. An existing file is
 * EEXIST, unless it is empty, all zero, or what a create left behind that did
 * not finish: then it is made anew. opts: may be NULL for a 64 MiB pool.
 *
 * Crash: a create that did not finish leaves a file that open rejects (EUCLEAN) and
 * that create may take over; one that was all but done leaves an empty pool. Errors: EINVAL,
 * EEXIST, EBUSY, ENOSPC, ENOTSUP, ENOMEM and those of open(2). Thread-safe.
 */
PHEAP_API pheap_t *pheap_create(const char *path, const struct pheap_options *opts);

/*
 * Open an existing pool, and recover it if it was not closed cleanly. What had
 * been published is there, what had not is free, and an open transaction is
 * rolled back. Takes time in the number of lanes and unsettled log bytes, not
 * in the size of the pool or the number of its objects. A traced pool that was not closed
 * cleanly takes time in the number of objects that can be reached, too (see PHEAP_TRACED).
 *
 * opts: may be NULL. A pool is open in one process for writing, or in many
 * read-only: EBUSY otherwise. Two copies of a pool may be open at once, in one
 * process too.
 *
 * Crash: recovery may be interrupted anywhere and runs again at the next open.
 * Errors: EUCLEAN (damaged, or on persistent memory with bad blocks: message and
 * errno say what and where, and nothing has been written), EPROTONOSUPPORT, EINVAL
 * (layout differs), EBUSY, ENOTSUP, ENOMEM and those of open(2). Thread-safe.
 */
PHEAP_API pheap_t *pheap_open(const char *path, const struct pheap_options *opts);

/*
 * Settle and close a heap, and mark its pool as closed cleanly. Objects that
 * are reserved but not published are free again; in a traced pool, where that is not known,
 * they stay allocated. Threads whose caches still
 * hold memory of this heap need not have ended, but no thread may be in a call
 * on it, nor make one later.
 *
 * NULL is accepted. With a transaction still open: EBUSY, the heap stays open.
 * EIO: the final write-back failed; the heap is closed, the pool is not marked
 * clean, and the next open recovers it. EUCLEAN: somebody has truncated the file; the
 * heap is closed, and nothing more was written. In the child of a fork: EINVAL, and also
 * where debug mode (pheap/debug.h) has found something, now or before: the heap is closed.
 */
PHEAP_API int pheap_close(pheap_t *heap);

/* What an open heap is. */
struct pheap_info {
	size_t struct_size; /* in: sizeof(struct pheap_info) */
	uint64_t size;	    /* bytes of the pool */
	uint8_t uuid[16];   /* of the pool; its copies carry the same one */
	char layout[PHEAP_LAYOUT_MAX];
	unsigned format;     /* version of the media format */
	unsigned durability; /* in force: PHEAP_POWER ... */
	const char *backend; /* "pmem", "msync", "none", "volatile", "simulator" */
	int is_pmem;	     /* what libpmem says of the mapping; read-only: DAX file */
	int recovered;	     /* this open had to recover the pool */
	int readonly;
	uint64_t granules;   /* 64 KiB units for data */
	uint64_t lanes;	     /* redo rings on media */
	uint64_t max_object; /* bytes of the largest object this pool can hold */
	int traced;	     /* a traced pool, else a linked one */
};

/* Fill in *info. Errors: EINVAL (struct_size not known). Thread-safe. */
PHEAP_API int pheap_get_info(pheap_t *heap, struct pheap_info *info);

/*
 * The slot of the unnamed root: null after create. It lives as long as the
 * heap is open. Never fails on an open heap. Thread-safe, no fence.
 */
PHEAP_API pheap_ref *pheap_root(pheap_t *heap);

/*
 * The slot of the root called name (1 to 47 bytes, no control characters);
 * made, with a null reference, where there is none yet. Making it is one
 * record: one fence; finding it takes none. Errors: EINVAL (the name), ENOSPC
 * (all PHEAP_ROOTS_MAX are taken), EROFS. Thread-safe.
 */
PHEAP_API pheap_ref *pheap_named_root(pheap_t *heap, const char *name);

/* As above, but where there is none: NULL and ENOENT. */
PHEAP_API pheap_ref *pheap_find_root(pheap_t *heap, const char *name);

/*
 * Remove a named root whose slot is null. One record, one fence. Errors:
 * ENOENT, EEXIST (its slot holds a reference), EROFS. Thread-safe.
 */
PHEAP_API int pheap_drop_root(pheap_t *heap, const char *name);

#ifdef __cplusplus
}
#endif
#endif
