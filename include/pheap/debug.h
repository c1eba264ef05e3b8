/*
 * pheap/debug.h - debug mode of volatile heaps: misuse of memory is found and reported.
 *
 * It is asked for when the heap is made (struct pheap_memory.debug; in libpheapmalloc
 * PHEAPMALLOC_DEBUG, pheapmalloc(7)) and costs nothing where it is not. It finds:
 *
 *   overrun          Behind each object lie at least 16 bytes of a known pattern, from the
 *                    very byte behind the size that was asked for. They are looked at when
 *                    the object is freed. Objects of 32 KiB and more have a page behind
 *                    their last one that cannot be accessed: SIGSEGV at once
 *   use after free   What is freed is filled with bytes of 0xdf and waits in a quarantine
 *                    before it is handed out again. A write to it is found when it leaves.
 *                    Of objects of 32 KiB and more no page can be accessed meanwhile, nor
 *                    takes DRAM: SIGSEGV at once
 *   double free      of an object in quarantine, or that has not been handed out again
 *   invalid free     of an address that is no object, or lies inside of one
 *   use of content that nobody stored: new objects are filled with bytes of 0xa5, up to
 *                    1 MiB (those of pheap_zalloc() are zero)
 *
 * A report says what was found, and prints the call stacks that there are: where the
 * object was allocated, where it was freed, and where it was found, each with the number of
 * the thread. Functions are named as the dynamic symbols of the program name them, and each
 * address is printed as an offset in its file as well, for addr2line(1).
 *
 * The addresses have the alignment that pheap/alloc.h promises, so an object of a power of
 * two takes twice its size. pheap_usable_size() is the size that was asked for, and
 * pheap_realloc() always moves. Calls take some microseconds; a record of 32 bytes of DRAM
 * stands for each 16 bytes of the heap in which objects begin. Pages are guarded where
 * memory is anonymous, not of the program's own (struct pheap_memory.get) or of
 * PHEAP_HUGETLB, and while the system has room for mappings (vm.max_map_count); there
 * objects of 32 KiB and more are treated as small ones are. Of objects over 1 MiB only the first
 * MiB is then filled when they are freed.
 */
#ifndef PHEAP_DEBUG_H
#define PHEAP_DEBUG_H

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How to debug a heap. All zero but the size: as said above, with the default quarantine.
 *
 * report is called with each report, by the thread that found it, in the call that found
 * it. No lock is held; it must not call the heap, and may end the process. text is valid
 * until 7 further reports have been made in the process. Without it, the report is the
 * message of that call (pheap_errormsg()). pheap_free() fails with EINVAL when it
 * finds something: where it was an overrun or a use after free, the object has been
 * freed all the same. A report that was found by a call that does not fail, because it
 * allocates or retires, is kept, and the next pheap_free(), pheap_debug_check() or
 * pheap_close() fails with it.
 */
struct pheap_debug {
	size_t struct_size;  /* sizeof(struct pheap_debug) */
	uint64_t quarantine; /* bytes of freed objects that wait, blocks as they are in the
			      * heap; the longest-waiting make way. When the heap is full all
			      * do. 0: a sixteenth of the heap, at most 16 MiB; 1: none */
	void (*report)(void *arg, const char *text);
	void *arg;
};

/*
 * Look at all that waits in the quarantine, and behind all objects in use, now. Exact while
 * no other thread is in a call on the heap. pheap_close() does the same. Errors: EINVAL (the
 * heap is not in debug mode; something was found: the message is the first report).
 * Thread-safe, no fence.
 */
PHEAP_API int pheap_debug_check(pheap_t *heap);

/*
 * What is known of an address: which object it lies in or behind, in use or freed, its
 * size, and where it was allocated and freed. For a debugger, or for a handler of SIGSEGV: it
 * takes no memory, and no lock but the dynamic loader's, to name functions. NULL and errno
 * EINVAL: the heap is not in debug mode. The text is valid until 7 further reports.
 * Thread-safe, no fence.
 */
PHEAP_API const char *pheap_debug_explain(pheap_t *heap, const void *addr);

#ifdef __cplusplus
}
#endif
#endif
