/*
 * sys-malloc.c - malloc, whichever library provides it in this process.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct {
	void *ptr;
} sys_obj;

static inline void sys_reserve(sys_obj *o, size_t size)
{
	o->ptr = malloc(size);
	if (!o->ptr)
		die("malloc(%zu) failed", size);
}

static inline void sys_release(sys_obj *o)
{
	free(o->ptr);
}

#include "loops.h"

extern loop_fn *const malloc_loops[WORKLOADS];
loop_fn *const malloc_loops[WORKLOADS] = {VOLATILE_LOOPS};
