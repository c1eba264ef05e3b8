/*
 * file.h - the pool file: lock, mapping, blocks.
 */
#ifndef PH_FILE_H
#define PH_FILE_H

#include "heap.h"
#include "memory.h"

/*
 * Open or make the file at path and lock it: exclusively, or shared for
 * readonly. On create an existing file is refused unless it is empty, all zero
 * or an unfinished pool; it is emptied and given its size. Not mapped yet.
 */
int ph_file_create(struct ph_file *file, const char *path, uint64_t size, unsigned mode);
int ph_file_open(struct ph_file *file, const char *path, bool readonly);

/* Map the whole file: shared for writing, private for readonly. */
int ph_file_map(struct ph_file *file, const char *path);

/* Is it on a memory file system, which no power cut survives? */
bool ph_file_in_memory(const struct ph_file *file);

/* Flush everything that ever was stored, by whichever process. The caller fences. */
int ph_file_write_back(const struct ph_file *file, struct ph_persist *pm, struct ph_count *count);

/* Let go of mapping, lock and file. */
void ph_file_close(struct ph_file *file);

/* A new file and its name in the folder survive a power cut. */
int ph_file_sync(const struct ph_file *file, const char *path);

/* Close, and remove the file if ph_file_create() made it. */
void ph_file_discard(struct ph_file *file, const char *path);

#endif
