/*
 * pheap/compact.h - move objects out of sparse slabs.
 *
 * What a program has deleted leaves holes: slabs with few objects, whose other places serve
 * their own size only. Objects that move away leave whole spans, which go back to the pool.
 * An object can move when all references to it are known, since they have to change with
 * it, in one step with respect to a crash.
 */
#ifndef PHEAP_COMPACT_H
#define PHEAP_COMPACT_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Move one object while the program runs: the object to which all n slots refer goes to a
 * slab of its kind that is fuller, if there is one, and the slots then refer to it there.
 * A handle is the case n = 1. Slots are as those of pheap_publish(): in roots or published
 * objects, also in the object itself (given by where they are before it moves).
 *
 * The slots must be all the references that there are to it, and nobody may read or write
 * the object by a pointer meanwhile; the old memory is free afterwards.
 *
 * Returns 1 where it has moved, 0 where it is best left where it is. Atomic to a crash: all
 * slots and the object, or nothing. One fence (objects of up to PHEAP_INLINE_MAX bytes), else
 * two. Thread-safe with other operations on slots and objects. Errors: EINVAL (a slot is
 * none, or is given twice; they do not all refer to the start of one published object; an open
 * transaction has saved a part of it), ENOTSUP (its type counts references), ENOENT (slots[0] is
 * null), ENOMEM, EIO, EROFS.
 */
PHEAP_API int pheap_move(pheap_t *heap, pheap_ref *const *slots, size_t n);

struct pheap_compact_options {
	size_t struct_size; /* sizeof(struct pheap_compact_options) */
	/* Called now and then with what is done of what is to do, in objects. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

struct pheap_compact_report {
	size_t struct_size;	     /* in: sizeof(struct pheap_compact_report) */
	uint64_t moved, moved_bytes; /* objects, and bytes of their blocks */
	uint64_t slots;		     /* references that were changed */
	/* Objects in sparse slabs that stayed: something without a type, or whose type has a
	 * callback that this program has not given, may refer to them; or their type counts
	 * references, or is damaged. */
	uint64_t pinned;
	uint64_t slabs;		  /* that were to be emptied */
	uint64_t granules;	  /* of 64 KiB in use by spans before */
	uint64_t granules_after;  /* and after */
	uint64_t untyped_holders; /* objects without a known layout that pin others */
};

/*
 * Move the objects of the sparsest slabs of each kind to the others, and give the emptied
 * slabs back. For pools that nobody else uses: no other thread may be in a call on the
 * heap or hold a pointer to an object, and no transaction be open (EBUSY). Reserved
 * objects stay where they are.
 *
 * Objects move in batches of some hundred, each in one transaction: a crash leaves every
 * object whole, in its old place or its new one, and the rest as it was. DRAM: 16 bytes for
 * each reference to an object that moves, and 8 for each place in a slab that is emptied.
 *
 * opts and report may be NULL. Errors: EINVAL, EBUSY, EROFS, ENOMEM, EIO; ENOSPC (what was
 * moved until then has moved).
 */
PHEAP_API int pheap_compact(pheap_t *heap, const struct pheap_compact_options *opts,
			    struct pheap_compact_report *report);

#ifdef __cplusplus
}
#endif
#endif
