/*
 * count.c - a library that is preloaded where fences are counted, and nowhere
 * else: libpmem's functions once more, which count what they are asked for and
 * forward. Both pheap and libpmemobj reach libpmem through its public functions,
 * so this counts them from outside, by the same rule.
 */
#include <dlfcn.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "count.h"

static struct tally calls;

/* libpmem calls its own public functions through here as well: only the outermost
 * call counts. */
static __thread unsigned depth;

void compare_calls(struct tally *tally)
{
	tally->fences = __atomic_load_n(&calls.fences, __ATOMIC_RELAXED);
	tally->lines = __atomic_load_n(&calls.lines, __ATOMIC_RELAXED);
}

static void fence(void)
{
	if (depth == 0)
		__atomic_add_fetch(&calls.fences, 1, __ATOMIC_RELAXED);
}

static void lines(const void *addr, size_t length)
{
	uintptr_t first = (uintptr_t)addr / 64, last = ((uintptr_t)addr + length + 63) / 64;

	if (depth == 0)
		__atomic_add_fetch(&calls.lines, length ? last - first : 0, __ATOMIC_RELAXED);
}

/* What a copy or fill with these flags does. */
static void store(const void *addr, size_t length, unsigned flags)
{
	if (flags & PMEM_F_MEM_NOFLUSH)
		return;
	lines(addr, length);
	if (!(flags & PMEM_F_MEM_NODRAIN))
		fence();
}

/* Point *real to the function of this name in the next library. */
static void find_next(void *real, const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol) {
		fprintf(stderr, "compare: libpmem has no %s\n", name);
		_Exit(1);
	}
	memcpy(real, &symbol, sizeof(symbol));
}

#define DEFINE(name, parameters, arguments, count) \
	void name parameters                       \
	{                                          \
		static void(*real) parameters;     \
		if (!real)                         \
			find_next(&real, #name);   \
		count;                             \
		depth++;                           \
		real arguments;                    \
		depth--;                           \
	}

/* The same for a function that gives something back. */
#define DEFINE_GIVING(type, name, parameters, arguments, count) \
	type name parameters                                    \
	{                                                       \
		static type(*real) parameters;                  \
		type result;                                    \
		if (!real)                                      \
			find_next(&real, #name);                \
		count;                                          \
		depth++;                                        \
		result = real arguments;                        \
		depth--;                                        \
		return result;                                  \
	}

#define RANGE (const void *addr, size_t length)
DEFINE(pmem_drain, (void), (), fence())
DEFINE(pmem_flush, RANGE, (addr, length), lines(addr, length))
DEFINE(pmem_deep_flush, RANGE, (addr, length), lines(addr, length))
DEFINE(pmem_persist, RANGE, (addr, length), (lines(addr, length), fence()))
DEFINE_GIVING(int, pmem_deep_drain, RANGE, (addr, length), fence())
DEFINE_GIVING(int, pmem_deep_persist, RANGE, (addr, length), (lines(addr, length), fence()))
DEFINE_GIVING(int, pmem_msync, RANGE, (addr, length), (lines(addr, length), fence()))

/* A function that stores comes in three forms; what is its second parameter. */
#define DEFINE_STORES(name, what)                                                     \
	DEFINE_GIVING(void *, name, (void *dst, what, size_t length, unsigned flags), \
		      (dst, from, length, flags), store(dst, length, flags))          \
	DEFINE_GIVING(void *, name##_persist, (void *dst, what, size_t length),       \
		      (dst, from, length), store(dst, length, 0))                     \
	DEFINE_GIVING(void *, name##_nodrain, (void *dst, what, size_t length),       \
		      (dst, from, length), store(dst, length, PMEM_F_MEM_NODRAIN))
DEFINE_STORES(pmem_memcpy, const void *from)
DEFINE_STORES(pmem_memmove, const void *from)
DEFINE_STORES(pmem_memset, int from)
