/*
 * persist.c - persist.h for memory that has no media below it: stores are stores, and
 * nothing else is anything. In the place of lib/persist.c, which needs libpmem.
 */
#include "persist.h"

void ph_store(struct ph_persist *pm, void *dst, const void *src, size_t length)
{
	(void)pm;
	memcpy(dst, src, length);
}

void ph_store_zero(struct ph_persist *pm, void *dst, size_t length)
{
	(void)pm;
	memset(dst, 0, length);
}

void ph_flush(struct ph_persist *pm, struct ph_count *count, const void *addr, size_t length)
{
	(void)pm, (void)count, (void)addr, (void)length;
}

void ph_copy_nt(struct ph_persist *pm, struct ph_count *count, void *dst, const void *src,
		size_t length)
{
	(void)pm, (void)count;
	memcpy(dst, src, length);
}

int ph_fence(struct ph_persist *pm, struct ph_count *count)
{
	(void)count;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return ph_persist_error(pm);
}
