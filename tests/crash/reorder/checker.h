/*
 * checker.h - ask whether an image is consistent.
 *
 * A program: it is run by the shell with the file's name behind its arguments; status
 * 0 means consistent. A library: a function int name(const char *path) in it, which
 * returns 0 for consistent; it is called in this process, some hundred times faster,
 * and must leave nothing behind.
 *
 * Either finds in its environment how far the traced program had come:
 *   PHEAP_REORDER_DONE  marked sections that have ended, at the outermost level
 *   PHEAP_REORDER_OPEN  name of the outermost section that has begun, or empty
 */
#ifndef REORDER_CHECKER_H
#define REORDER_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

struct checker {
	const char *program; /* NULL: a library */
	int (*function)(const char *path);
	const char *path; /* of the file to look at */
};

/* Load a library's function. False, and why in message. */
bool checker_load(struct checker *c, const char *library, const char *name, char *message,
		  size_t message_size);

/* Tell how far the program had come, for the images to come. */
void checker_progress(size_t done, const char *open);

bool checker_consistent(const struct checker *c);

#endif
