/*
 * checker.c - see checker.h.
 */
#define _GNU_SOURCE
#include "checker.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool checker_load(struct checker *c, const char *library, const char *name, char *message,
		  size_t message_size)
{
	void *handle = dlopen(library, RTLD_NOW), *symbol;

	if (!handle) {
		snprintf(message, message_size, "%s", dlerror());
		return false;
	}
	symbol = dlsym(handle, name);
	if (!symbol) {
		snprintf(message, message_size, "%s has no function %s", library, name);
		return false;
	}
	/* ISO C has no conversion from void * to a function; POSIX has. */
	memcpy(&c->function, &symbol, sizeof(symbol));
	return true;
}

void checker_progress(size_t done, const char *open)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", done);
	if (setenv("PHEAP_REORDER_DONE", text, 1) || setenv("PHEAP_REORDER_OPEN", open, 1))
		abort();
}

bool checker_consistent(const struct checker *c)
{
	char *command;
	int status;

	if (!c->program)
		return c->function(c->path) == 0;
	if (asprintf(&command, "%s %s", c->program, c->path) < 0)
		abort();
	status = system(command);
	free(command);
	if (status == -1) {
		perror("cannot run the checker");
		exit(2);
	}
	return status == 0;
}
