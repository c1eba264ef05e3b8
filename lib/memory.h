/*
 * memory.h - the memory below a heap, whatever it is: mapped, backed and given back.
 * Needs no libpmem.
 */
#ifndef PH_MEMORY_H
#define PH_MEMORY_H

#include "heap.h"

/* Map a file (fd -1: none) for reading and writing, aligned for huge pages; NULL: errno. */
void *ph_memory_map(size_t length, int flags, int fd);

/*
 * What memory that is mapped and not touched yet is to be: flags of struct pheap_memory.
 * name begins the message. Prefault is for what is used only, so it is apart.
 */
int ph_memory_advise(const char *name, void *addr, uint64_t bytes, unsigned flags, unsigned node);
int ph_memory_prefault(const char *name, void *addr, uint64_t bytes);

/* Anonymous memory in the place of a file. */
int ph_memory_anonymous(struct ph_file *file, uint64_t size, bool hugetlb);

/* Has the file still its size? -EUCLEAN where somebody has truncated it since. */
int ph_memory_check_size(const struct ph_file *file);

/* Have the file system allocate blocks for a range: 0, -ENOSPC, -ENOTSUP, and -EUCLEAN in a
 * file that was truncated ... Nothing is to be done in a file that was opened without
 * holes. */
int ph_memory_back(const struct ph_file *file, uint64_t offset, uint64_t length);

/* Have it free the blocks of a range, which then reads as zero: 0, -ENOTSUP ...
 * Of memory that is neither a file nor anonymous it is the caller's to do that. */
int ph_memory_punch(struct ph_file *file, uint64_t offset, uint64_t length);

#endif
