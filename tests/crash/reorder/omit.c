/*
 * omit.c - a libpmem that leaves things out, for LD_PRELOAD: a negative control of
 * tracer, replayer and checkers.
 *
 * PHEAP_OMIT=WHAT:N leaves out each N-th call: "fence" does not wait, "flush" does not
 * write back, "copy" goes through the cache and is not flushed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmem.h>

/* Is this call to be left out? */
static bool omitted(const char *what, unsigned *calls)
{
	const char *setting = getenv("PHEAP_OMIT");
	size_t length = strlen(what);
	unsigned n;

	if (!setting || strncmp(setting, what, length) || setting[length] != ':')
		return false;
	n = (unsigned)atoi(setting + length + 1);
	return n && ++*calls % n == 0;
}

/* The function of the real library. ISO C has no conversion from void *; POSIX has. */
static void find(const char *name, void *function)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol) {
		fprintf(stderr, "no %s in libpmem\n", name);
		abort();
	}
	memcpy(function, &symbol, sizeof(symbol));
}

void pmem_drain(void)
{
	static unsigned calls;
	void (*real)(void);

	if (omitted("fence", &calls))
		return;
	find("pmem_drain", &real);
	real();
}

void pmem_flush(const void *addr, size_t length)
{
	static unsigned calls;
	void (*real)(const void *, size_t);

	if (omitted("flush", &calls))
		return;
	find("pmem_flush", &real);
	real(addr, length);
}

void *pmem_memcpy(void *dst, const void *src, size_t length, unsigned flags)
{
	static unsigned calls;
	void *(*real)(void *, const void *, size_t, unsigned);

	if (omitted("copy", &calls))
		return memcpy(dst, src, length);
	find("pmem_memcpy", &real);
	return real(dst, src, length, flags);
}
