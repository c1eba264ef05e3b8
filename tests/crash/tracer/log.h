/*
 * log.h - write the store log that pmreorder reads.
 *
 * Records are separated by `|`, fields by `;`. A store past the cache carries a fifth
 * field, NT, and is followed by a flush of its bytes with the same mark: pmreorder,
 * which takes a fifth field for a place in the program and considers flushed stores
 * only, replays it as an ordinary one that was flushed.
 *
 *	START | REGISTER_FILE;path;base;size;offset | STORE;address;value;size[;NT] |
 *	FLUSH;address;size[;NT] | FENCE | NAME.BEGIN | NAME.END | STOP
 *
 * Numbers are hexadecimal. The value of a store is little-endian read as a number.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PHEAPTRACE_LOG_H
#define PHEAPTRACE_LOG_H

#include "pub_tool_basics.h"

/* Make the file and write START. False where it cannot be made. path is kept. */
Bool log_open(const HChar *path);

/* Write STOP and close. A program that is killed leaves a log without it. */
void log_close(void);

/* Forget the file without writing: in the child of a fork. */
void log_drop(void);

void log_file(const HChar *path, Addr base, SizeT size, ULong offset);
void log_store(Addr addr, const UChar *bytes, SizeT size, Bool nt);
void log_flush(Addr addr, SizeT size);
void log_fence(void);

/* A record as the program gave it; `|` and line ends in it become `_`. */
void log_mark(const HChar *text);

#endif
