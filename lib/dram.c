/*
 * dram.c - DRAM from malloc(3). See dram.h.
 */
#include "dram.h"

#include <stdlib.h>
#include <string.h>

static size_t whole_lines(size_t bytes)
{
	return (bytes + 63) / 64 * 64;
}

void *ph_dram_alloc(size_t bytes)
{
	return aligned_alloc(64, whole_lines(bytes));
}

void *ph_dram_zalloc(size_t bytes)
{
	void *ptr = ph_dram_alloc(bytes);

	return ptr ? memset(ptr, 0, bytes) : NULL;
}

/* Not aligned beyond what malloc(3) gives: what grows is arrays of words. */
void *ph_dram_resize(void *ptr, size_t old, size_t bytes)
{
	(void)old;
	return realloc(ptr, bytes);
}

void ph_dram_free(void *ptr, size_t bytes)
{
	(void)bytes;
	free(ptr);
}

/* malloc(3) sees to forks by itself. */
void ph_dram_hold(void)
{
}

void ph_dram_let_go(void)
{
}
