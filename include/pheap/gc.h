/*
 * pheap/gc.h - find what cannot be reached any more, and free it.
 *
 * An object is alive if a root reaches it, through the references that its type says it
 * has (pheap/type.h). Roots are: the roots of the pool; pins; what reserved objects hold, taken
 * for references word by word; what open transactions of joined threads are about to write, or
 * would restore. All other published objects are garbage: leaks, or, where a program
 * chooses to free nothing by hand, its usual way of freeing.
 *
 *	struct pheap_gc_report report = {.struct_size = sizeof(report)};
 *	err = pheap_gc(heap, NULL, &report);
 *
 * THREADS. While objects are marked nothing may change what reaches what. A collection keeps
 * every thread from committing anything meanwhile. A thread that holds references, in
 * variables, to what nothing else reaches, or that stores references in place (under
 * pheap_tx_snapshot), has to join: then the collection waits until it is at a safepoint, where
 * it must not hold any such reference but to pinned or reserved objects. Who has not joined keeps
 * all that it uses reachable by roots, or pinned, at all times. Freeing what was
 * found goes on while all threads work: garbage stays garbage.
 *
 * A crash in a collection leaves a pool in which some of the garbage is freed.
 */
#ifndef PHEAP_GC_H
#define PHEAP_GC_H

#include <pheap/ref.h>
#include <pheap/type.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	/* Free nothing: a leak report. */
	PHEAP_GC_DRY_RUN = 1u << 0,
	/* Take each word of an object without a type for a reference if it could be one. */
	PHEAP_GC_CONSERVATIVE = 1u << 1,
	/* Objects without a type hold no references. Not with sealed arenas. */
	PHEAP_GC_LEAVES = 1u << 2,
	/* Look at young objects only (pheap_gc_set_generations()). */
	PHEAP_GC_YOUNG = 1u << 3,
};

/* Garbage objects of one type and one size. */
struct pheap_garbage {
	pheap_type_t *type; /* NULL: none, or a damaged one */
	size_t size;	    /* bytes of a block */
	uint64_t objects;
	pheap_ref example; /* one of them; valid in a dry run only */
};

struct pheap_gc_options {
	size_t struct_size; /* in: sizeof(struct pheap_gc_options) */
	unsigned flags;
	unsigned threads; /* that mark; 0: as many as there are processors and is worth while */
	/* Called for each type and size of which there is garbage, before any is freed. May be
	 * NULL. It must return, and call nothing on the heap. */
	void (*garbage)(void *arg, const struct pheap_garbage *garbage);
	/* Called now and then while objects are marked, likewise. */
	void (*progress)(void *arg, uint64_t marked, uint64_t objects);
	void *arg;
};

struct pheap_gc_report {
	size_t struct_size; /* in: sizeof(struct pheap_gc_report) */
	uint64_t objects; /* published before; of a young collection, young ones, here and below */
	uint64_t live;	  /* of them */
	uint64_t garbage; /* the others */
	uint64_t garbage_bytes;
	uint64_t freed; /* objects; 0 in a dry run. Fewer than garbage where a
			 * transaction holds some, or they are of a counted type */
	uint64_t freed_bytes;
	uint64_t dangling; /* dry run: references of typed objects that are to no object */
	uint64_t stop_ns;  /* for which threads were stopped, waiting for them not included */
	uint64_t mark_ns;  /* of these, marking */
	uint64_t sweep_ns;
	uint64_t dram; /* bytes that marking took */
	unsigned threads;
	unsigned young; /* 1: it was a young collection */
};

/*
 * Collect garbage. options and report may be NULL. Where there are published objects without a
 * type, options->flags has to say what they hold: PHEAP_GC_CONSERVATIVE or PHEAP_GC_LEAVES.
 *
 * Crash: each object is freed whole or not at all. Fences: one for some thousand objects, and
 * those of a few checkpoints. Thread-safe; collections wait for each other. A thread that
 * has transactions open must have joined before it began them.
 *
 * Errors: EINVAL (flags; a callback reported a slot outside its object), EUCLEAN (a span of the
 * pool is damaged: nothing was freed), ENOTSUP (volatile and traced heaps), EROFS (read-only,
 * and no dry run), ENOMEM, EIO.
 */
PHEAP_API int pheap_gc(pheap_t *heap, const struct pheap_gc_options *options,
		       struct pheap_gc_report *report);

/*
 * From here on collections wait for this thread; until pheap_gc_leave(), or the thread's end.
 * Joining waits for a collection that marks. No fence. Errors: EINVAL (joined already; not
 * joined), ENOMEM.
 */
PHEAP_API int pheap_gc_join(pheap_t *heap);
PHEAP_API int pheap_gc_leave(pheap_t *heap);

/*
 * Around what may take long and touches nothing in the heap, such as waiting for input: a
 * collection need not wait for a joined thread in between. The end waits for a collection
 * that marks. Errors: EINVAL (not joined, or idle already; not idle).
 */
PHEAP_API int pheap_gc_idle_begin(pheap_t *heap);
PHEAP_API int pheap_gc_idle_end(pheap_t *heap);

/* What pheap_safepoint() does when a collection waits for this thread. */
PHEAP_API void pheap_safepoint_wait(pheap_t *heap);

/* A joined thread holds no references here that nothing else reaches. One load, unless a
 * collection waits; then the thread waits until all is marked. */
static inline void pheap_safepoint(pheap_t *heap)
{
	const struct pheap_view *view = (const struct pheap_view *)(const void *)heap;

	if (__builtin_expect(__atomic_load_n(&view->stop, __ATOMIC_ACQUIRE) != 0, 0))
		pheap_safepoint_wait(heap);
}

/*
 * Keep a published object, and what it reaches, whatever else refers to it: until it
 * has been unpinned as often. Pins are not kept in the pool. No fence, thread-safe; not while
 * the calling thread's references are in doubt, that is before its next safepoint. Errors: EINVAL
 * (ptr is not where a published object starts; not pinned), ENOMEM.
 */
PHEAP_API int pheap_pin(pheap_t *heap, const void *ptr);
PHEAP_API int pheap_unpin(pheap_t *heap, const void *ptr);

/*
 * GENERATIONS. Where most objects die young it pays to look at young ones often and at
 * all of them rarely. An object is young from when it is published until it has survived
 * `survive` collections. With PHEAP_GC_YOUNG, pheap_gc() looks at young objects only: its time
 * depends on what is young and alive, and on how much was written since the last time, not
 * on what is old. When old objects have grown by `growth` per cent since they were last looked
 * at, it looks at everything instead (report.young is 0); so it does the first time.
 *
 * What old objects refer to is learned from records, which note what they write: each
 * takes a little longer. So in a pool with generations references are stored into published
 * objects by the functions of this library, or in place under pheap_tx_snapshot() or before
 * pheap_persist(), pheap_flush() or pheap_memcpy().
 *
 * A young collection does not look into reserved objects, but for those of transactions of joined
 * threads: what only they refer to has to be pinned.
 */
struct pheap_gc_generations {
	size_t struct_size; /* in: sizeof(struct pheap_gc_generations) */
	unsigned flags;	    /* PHEAP_GC_CONSERVATIVE or PHEAP_GC_LEAVES, of all young collections */
	unsigned survive;   /* 1 to 8; 0: 1 */
	unsigned growth;    /* per cent; 0: 100 */
};

/*
 * Have generations from here on; with generations NULL, have none. All that is published is
 * old. Not kept in the pool. Stops threads as a collection does, for a moment; thread-safe. No
 * fence. Errors: EINVAL, ENOTSUP (volatile and traced heaps), EROFS, ENOMEM.
 */
PHEAP_API int pheap_gc_set_generations(pheap_t *heap,
				       const struct pheap_gc_generations *generations);

/* Of all collections since the heap was opened, dry runs not counted. */
struct pheap_gc_stats {
	size_t struct_size; /* in: sizeof(struct pheap_gc_stats) */
	uint64_t young, full;
	uint64_t stop_ns, stop_max_ns; /* all, and the longest */
	uint64_t visited_bytes;	       /* of objects that were looked at, alive or not */
	uint64_t freed_bytes;	       /* over visited_bytes: how well they paid */
	uint64_t old_bytes;	       /* with generations */
};

/* Errors: EINVAL. No fence, thread-safe. */
PHEAP_API int pheap_gc_get_stats(pheap_t *heap, struct pheap_gc_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
