/*
 * process.h - libpheapmalloc: one volatile heap as the malloc of a whole process.
 *
 * The allocator is that of lib/alloc, as it is. What this folder adds:
 *
 *	malloc.c   the functions of C and POSIX, in terms of pheap_alloc and pheap_free
 *	new.c      operator new and delete
 *	process.c  the heap: made by the first call, settings, statistics at exit
 *	file.c     memory in a file instead of anonymous memory
 *	dram.c     memory for the allocator's own structures: here malloc is ourselves
 *	persist.c  stores without media: libpmem is neither needed nor linked
 *
 * INVARIANTS
 *   M1  Nothing here or below calls malloc(3). What the C library allocates on behalf of
 *       a call of ours (while the heap is made, that is) comes from a small static area.
 *   M2  The first call may come from the dynamic loader, before any constructor.
 *   M3  A thread whose caches were given back when it ended still allocates and frees:
 *       the C library does so afterwards. It uses a cache that such threads share.
 *   M4  A forked child has its own copy of the heap, and goes on with it.
 *   M5  In debug mode ph_process is NULL for good: so the usual calls fail, and the others
 *       tell lib/alloc/debug.c the sizes that were asked for. A report ends the process.
 */
#ifndef PH_PROCESS_H
#define PH_PROCESS_H

#include "heap.h"

/* The heap of the process; NULL: not made yet, or it cannot be made, or it is the other. */
extern struct pheap *ph_process;
/* The same where it is in debug mode. */
extern struct pheap *ph_process_debugged;

static inline struct pheap *ph_process_heap(void)
{
	return ph_likely(ph_process != NULL) ? ph_process : ph_process_debugged;
}

/* Make it. False: it cannot be made, or this thread is making it. */
bool ph_process_start(void);

/* M1: from the static area; its objects are never freed. NULL: used up. */
void *ph_boot_alloc(size_t size, size_t alignment);
/* Is it from there? How large is it then? */
bool ph_boot_owns(const void *ptr);
size_t ph_boot_size(const void *ptr);

/* Print a message of the library's and where it came from; end the process. */
void ph_process_fail(const char *function) __attribute__((cold, noreturn));

#endif
