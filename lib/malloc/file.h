/*
 * file.h - the memory of a process in a file (file.c).
 */
#ifndef PH_MALLOC_FILE_H
#define PH_MALLOC_FILE_H

#include "memory.h"

/*
 * Map a new file in a folder at addr, and in children of the process a copy of it, and
 * give the source that allocates and frees its blocks. What of it is used is ph_process's
 * zone, from its first granule on.
 */
int ph_process_file(const char *folder, void *addr, size_t bytes, const struct ph_source **source);

#endif
