/*
 * persist.c - the back ends behind persist.h.
 */
#include "persist.h"

#include <errno.h>

#include <libpmem.h>

#include "cancel.h"
#include "error.h"

/* Lines that a range touches. */
static uint64_t lines_of(const void *addr, size_t length)
{
	uintptr_t first = (uintptr_t)addr / PM_LINE;
	uintptr_t last = ((uintptr_t)addr + length - 1) / PM_LINE;

	return last - first + 1;
}

bool ph_auto_flush(void)
{
	return pmem_has_auto_flush() == 1;
}

static void write_back(struct ph_persist *pm, const void *addr, size_t length)
{
	PH_NO_CANCEL; /* msync */

	if (pmem_msync(addr, length))
		__atomic_store_n(&pm->failed, -EIO, __ATOMIC_RELAXED);
}

void ph_store(struct ph_persist *pm, void *dst, const void *src, size_t length)
{
	char *d = dst;
	const char *s = src;

	if (pm->backend >= PH_HOOK)
		pm->hook->store(pm->hook_arg, dst, src, length);
	/* Whole words by one store each, so that no reader sees half a reference. */
	while (length && (uintptr_t)d % 8) {
		*d++ = *s++;
		length--;
	}
	for (; length >= 8; d += 8, s += 8, length -= 8) {
		uint64_t word;

		memcpy(&word, s, 8);
		__atomic_store_n((uint64_t *)(void *)d, word, __ATOMIC_RELEASE);
	}
	while (length--)
		*d++ = *s++;
}

void ph_store_zero(struct ph_persist *pm, void *dst, size_t length)
{
	static const char zero[4096];
	char *d = dst;

	while (length) {
		size_t part = length < sizeof(zero) ? length : sizeof(zero);

		ph_store(pm, d, zero, part);
		d += part;
		length -= part;
	}
}

void ph_flush(struct ph_persist *pm, struct ph_count *count, const void *addr, size_t length)
{
	if (!length)
		return;
	switch (pm->backend) {
	case PH_PMEM:
		if (!pm->auto_flush)
			count->flushed_lines += lines_of(addr, length);
		pmem_flush(addr, length);
		break;
	case PH_MSYNC:
		count->flushed_lines += lines_of(addr, length);
		write_back(pm, addr, length);
		break;
	case PH_HOOK:
		count->flushed_lines += lines_of(addr, length);
		pm->hook->flush(pm->hook_arg, addr, length);
		break;
	case PH_NONE:
	case PH_VOLATILE:
	case PH_HOOK_NONE:
		break;
	}
}

/*
 * On Intel processors libpmem executes a fence of its own behind every 12 lines of one
 * copy. Pieces of that size keep it to the fences that are asked for.
 */
#define COPY_PIECE ((size_t)12 * PM_LINE)

static void copy_past_cache(char *dst, const char *src, size_t length)
{
	while (length) {
		size_t piece = length < COPY_PIECE ? length : COPY_PIECE;

		pmem_memcpy(dst, src, piece, PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL);
		dst += piece;
		src += piece;
		length -= piece;
	}
}

static __attribute__((noinline)) void copy_slow(struct ph_persist *pm, struct ph_count *count,
						void *dst, const void *src, size_t length)
{
	switch (pm->backend) {
	case PH_PMEM:
		count->nt_lines += lines_of(dst, length);
		copy_past_cache(dst, src, length);
		break;
	case PH_MSYNC:
		count->nt_lines += lines_of(dst, length);
		memcpy(dst, src, length);
		write_back(pm, dst, length);
		break;
	case PH_HOOK:
		count->nt_lines += lines_of(dst, length);
		pm->hook->copy_nt(pm->hook_arg, dst, src, length);
		memcpy(dst, src, length);
		break;
	case PH_HOOK_NONE:
		pm->hook->store(pm->hook_arg, dst, src, length);
		/* fallthrough */
	case PH_NONE:
	case PH_VOLATILE:
		memcpy(dst, src, length);
		break;
	}
}

/* A short copy to memory, as of a record, goes on to libpmem without a frame of its own. */
void ph_copy_nt(struct ph_persist *pm, struct ph_count *count, void *dst, const void *src,
		size_t length)
{
	if (pm->backend != PH_PMEM || length > COPY_PIECE) {
		copy_slow(pm, count, dst, src, length);
		return;
	}
	count->nt_lines += lines_of(dst, length);
	pmem_memcpy(dst, src, length, PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL);
}

int ph_fence(struct ph_persist *pm, struct ph_count *count)
{
	switch (pm->backend) {
	case PH_PMEM:
		count->fences++;
		pmem_drain();
		break;
	case PH_MSYNC:
		count->fences++; /* the write-backs have been waited for: P5 */
		break;
	case PH_HOOK:
		count->fences++;
		if (pm->hook->fence(pm->hook_arg))
			__atomic_store_n(&pm->failed, -EIO, __ATOMIC_RELAXED);
		break;
	case PH_NONE:
	case PH_VOLATILE:
	case PH_HOOK_NONE:
		/* A killed process keeps what it stored, in program order. */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		break;
	}
	if (__builtin_expect(!ph_persist_error(pm), 1))
		return 0;
	return ph_error(EIO, "writing back to the pool failed: whether the operation happened is "
			     "unknown; the heap is read-only now: close and reopen it");
}
