/*
 * interpose.c - see interpose.h.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "interpose.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <libpmem.h>

struct pmem_calls pmem_calls;
void (*pmem_at_fence)(void);

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t lines_of(const void *addr, size_t length)
{
	uintptr_t first = (uintptr_t)addr / 64, end = ((uintptr_t)addr + length + 63) / 64;

	return length ? end - first : 0;
}

static void fence(void)
{
	if (pmem_at_fence)
		pmem_at_fence();
	add(&pmem_calls.fences, 1);
}

/* A copy or a fill: which lines, past the cache or through it, fenced or not. */
static void store(const void *dst, size_t length, unsigned flags)
{
	add(&pmem_calls.stores, 1);
	if (flags & PMEM_F_MEM_NOFLUSH)
		return;
	add(flags & PMEM_F_MEM_NONTEMPORAL ? &pmem_calls.nt_lines : &pmem_calls.flushed_lines,
	    lines_of(dst, length));
	if (!(flags & PMEM_F_MEM_NODRAIN))
		fence();
}

static void *next(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol) {
		fprintf(stderr, "no %s in libpmem\n", name);
		abort();
	}
	return symbol;
}

/* ISO C has no conversion from void * to a function; POSIX has. */
#define FORWARD(type, name)                                   \
	static union {                                        \
		void *object;                                 \
		type function;                                \
	} real;                                               \
	if (!__atomic_load_n(&real.object, __ATOMIC_RELAXED)) \
	__atomic_store_n(&real.object, next(name), __ATOMIC_RELAXED)

typedef void drain_fn(void);
typedef void flush_fn(const void *, size_t);
typedef int msync_fn(const void *, size_t);
typedef void *copy_fn(void *, const void *, size_t, unsigned);
typedef void *plain_copy_fn(void *, const void *, size_t);
typedef void *fill_fn(void *, int, size_t, unsigned);
typedef void *plain_fill_fn(void *, int, size_t);

void pmem_drain(void)
{
	FORWARD(drain_fn *, "pmem_drain");
	fence();
	real.function();
}

void pmem_flush(const void *addr, size_t length)
{
	FORWARD(flush_fn *, "pmem_flush");
	add(&pmem_calls.flushed_lines, lines_of(addr, length));
	real.function(addr, length);
}

void pmem_persist(const void *addr, size_t length)
{
	FORWARD(flush_fn *, "pmem_persist");
	add(&pmem_calls.flushed_lines, lines_of(addr, length));
	fence();
	real.function(addr, length);
}

int pmem_msync(const void *addr, size_t length)
{
	FORWARD(msync_fn *, "pmem_msync");
	add(&pmem_calls.stores, 1);
	return real.function(addr, length);
}

void *pmem_memcpy(void *dst, const void *src, size_t length, unsigned flags)
{
	FORWARD(copy_fn *, "pmem_memcpy");
	store(dst, length, flags);
	return real.function(dst, src, length, flags);
}

void *pmem_memmove(void *dst, const void *src, size_t length, unsigned flags)
{
	FORWARD(copy_fn *, "pmem_memmove");
	store(dst, length, flags);
	return real.function(dst, src, length, flags);
}

void *pmem_memset(void *dst, int c, size_t length, unsigned flags)
{
	FORWARD(fill_fn *, "pmem_memset");
	store(dst, length, flags);
	return real.function(dst, c, length, flags);
}

void *pmem_memcpy_nodrain(void *dst, const void *src, size_t length)
{
	FORWARD(plain_copy_fn *, "pmem_memcpy_nodrain");
	store(dst, length, PMEM_F_MEM_NODRAIN);
	return real.function(dst, src, length);
}

void *pmem_memcpy_persist(void *dst, const void *src, size_t length)
{
	FORWARD(plain_copy_fn *, "pmem_memcpy_persist");
	store(dst, length, 0);
	return real.function(dst, src, length);
}

void *pmem_memset_nodrain(void *dst, int c, size_t length)
{
	FORWARD(plain_fill_fn *, "pmem_memset_nodrain");
	store(dst, length, PMEM_F_MEM_NODRAIN);
	return real.function(dst, c, length);
}

void *pmem_memset_persist(void *dst, int c, size_t length)
{
	FORWARD(plain_fill_fn *, "pmem_memset_persist");
	store(dst, length, 0);
	return real.function(dst, c, length);
}
