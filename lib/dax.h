/*
 * dax.h - what the kernel knows of the memory below a file: whether the file is
 * mapped from persistent memory directly, and whether that memory can be read.
 */
#ifndef PH_DAX_H
#define PH_DAX_H

#include <stdbool.h>

/* Is the file mapped directly (DAX), not through the page cache? */
bool ph_dax_is(int fd);

/*
 * Refuse a file that has bad blocks: -EUCLEAN, and the message says where. A load
 * from one is a SIGBUS, so it has to be known before the file is mapped. What
 * cannot be found out (not DAX, no right to ask, built without libpmem2) is 0.
 */
int ph_dax_check(int fd, const char *path);

#endif
