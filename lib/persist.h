/*
 * persist.h - store, flush, fence and non-temporal copy: the only way in which
 * the library changes media, and the only caller of libpmem.
 *
 * MODEL (what the callers may rely on, and the simulator explores)
 *   P1 A store reaches media at any time after it was made (eviction), but the
 *      stores to one line reach it in program order: a crash leaves a prefix.
 *   P2 Only an aligned 8-byte store is atomic.
 *   P3 ph_flush() of a line, then ph_fence() by the same thread: what was in the
 *      line at the flush is durable.
 *   P4 ph_copy_nt() is durable after the same thread's next ph_fence(); before
 *      it, any subset of its 8-byte words may be.
 *   P5 With msync, ph_flush() and ph_copy_nt() wait for the write-back
 *      themselves; a crash in the middle mixes old and new sectors.
 *
 * A write-back that fails (msync only) sets `failed` for good, and every fence
 * from then on returns -EIO: the heap is read-only.
 */
#ifndef PH_PERSIST_H
#define PH_PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

enum ph_backend {
	PH_PMEM,      /* cache flushes and fences */
	PH_MSYNC,     /* msync of whole pages */
	PH_NONE,      /* PROCESS durability: no flush, no fence */
	PH_VOLATILE,  /* no media at all */
	PH_HOOK,      /* every call goes to a hook: the crash simulator */
	PH_HOOK_NONE, /* the same as PH_NONE: the hook is told of stores only */
};

/* What a thread, or recovery, has executed. Plain words: one writer each. */
struct ph_count {
	uint64_t fences;
	uint64_t flushed_lines;
	uint64_t nt_lines;
	uint64_t records;
	uint64_t record_lines;
	uint64_t checkpoints;
	uint64_t snapshots;
	uint64_t begun, ended; /* transactions */
};

/*
 * The simulator's view. store and copy_nt are called before the library makes
 * the store itself; fence returns 0 or a negative code to inject a failure.
 */
struct ph_hook {
	void (*store)(void *arg, void *dst, const void *src, size_t length);
	void (*copy_nt)(void *arg, void *dst, const void *src, size_t length);
	void (*flush)(void *arg, const void *addr, size_t length);
	int (*fence)(void *arg);
};

struct ph_persist {
	enum ph_backend backend;
	const struct ph_hook *hook; /* with PH_HOOK and PH_HOOK_NONE */
	void *hook_arg;
	int failed;	 /* atomic; negative code once a write-back failed */
	bool auto_flush; /* pmem: the caches are durable too (eADR) */
	bool pages;	 /* a flush writes whole pages back: msync */
};

/* Are the processor's caches written back when the power fails? libpmem then leaves
 * out every flush; fences stay. */
bool ph_auto_flush(void);

/* Does an operation have to log at all? */
static inline bool ph_logs(const struct ph_persist *pm)
{
	return pm->backend != PH_VOLATILE;
}

/* Negative code once a write-back has failed, else 0. */
static inline int ph_persist_error(const struct ph_persist *pm)
{
	return __atomic_load_n(&pm->failed, __ATOMIC_RELAXED);
}

/* One aligned 8-byte store, with release order towards readers. */
static inline void ph_store64(struct ph_persist *pm, void *dst, uint64_t value)
{
	if (__builtin_expect(pm->backend >= PH_HOOK, 0))
		pm->hook->store(pm->hook_arg, dst, &value, sizeof(value));
	__atomic_store_n((uint64_t *)dst, value, __ATOMIC_RELEASE);
}

/* Bytes at any alignment; whole aligned words among them are stored as such. */
void ph_store(struct ph_persist *pm, void *dst, const void *src, size_t length);
void ph_store_zero(struct ph_persist *pm, void *dst, size_t length);

/* Write the lines of a range back. Durable after ph_fence(): P3. */
void ph_flush(struct ph_persist *pm, struct ph_count *count, const void *addr, size_t length);

/* Copy past the cache. dst and length are multiples of 8. P4. */
void ph_copy_nt(struct ph_persist *pm, struct ph_count *count, void *dst, const void *src,
		size_t length);

/* Order and wait: 0, or -EIO with its message where a write-back has failed. */
int ph_fence(struct ph_persist *pm, struct ph_count *count);

/* Flush and fence. */
static inline int ph_persist_range(struct ph_persist *pm, struct ph_count *count, const void *addr,
				   size_t length)
{
	ph_flush(pm, count, addr, length);
	return ph_fence(pm, count);
}

#endif
