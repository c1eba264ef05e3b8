/*
 * lock.h - the spin lock of stripes and lanes.
 *
 * Held for a few hundred nanoseconds, the time of a fence. A waiter spins, then
 * yields, then sleeps, so that many threads on few cores make way for the one
 * that holds it. Waiting is no cancellation point.
 *
 * What is held longer or taken rarely is a pthread mutex.
 */
#ifndef PH_LOCK_H
#define PH_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#define ph_likely(x) __builtin_expect(!!(x), 1)
#define ph_unlikely(x) __builtin_expect(!!(x), 0)
#define ph_inline inline __attribute__((always_inline))

/* Have the line of an address brought from whichever cache it is in, and be the only one to
 * have it. The builtin would ask for a copy, unless the compiler knows the processor. */
static inline void ph_fetch_to_write(const void *addr)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)addr));
#else
	__builtin_prefetch(addr, 1);
#endif
}

/* Make way; try counts the caller's vain attempts. */
void ph_lock_wait(unsigned try);

/*
 * A lock in the lowest bit of a word whose other bits are data. Taking it gives
 * the data; only the holder changes them, by releasing with a new value.
 */
static inline bool ph_bitlock_try(uint64_t *word)
{
	uint64_t free = __atomic_load_n(word, __ATOMIC_RELAXED) & ~UINT64_C(1);

	/* A process of one thread pays for no atomic: an operation takes three or four
	 * locks, and each exchange waits until the stores before it have left the core.
	 * No lock is held while a second thread is made. */
	if (__libc_single_threaded) {
		bool taken = __atomic_load_n(word, __ATOMIC_RELAXED) & 1;

		if (!taken)
			__atomic_store_n(word, free | 1, __ATOMIC_RELAXED);
		return !taken;
	}
	return __atomic_compare_exchange_n(word, &free, free | 1, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static inline void ph_bitlock_take(uint64_t *word)
{
	for (unsigned try = 0; ph_unlikely(!ph_bitlock_try(word)); try++)
		ph_lock_wait(try);
}

static inline void ph_bitlock_give(uint64_t *word, uint64_t data)
{
	__atomic_store_n(word, data & ~UINT64_C(1), __ATOMIC_RELEASE);
}

/* A counter that several threads change, and a flag that one of them gets. As above, a
 * process of one thread pays for no atomic. */
static inline void ph_counter_add(uint32_t *counter, uint32_t value)
{
	if (__libc_single_threaded)
		__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + value,
				 __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(counter, value, __ATOMIC_RELAXED);
}

static inline bool ph_flag_take(bool *flag)
{
	if (__atomic_load_n(flag, __ATOMIC_RELAXED))
		return false;
	if (!__libc_single_threaded)
		return !__atomic_exchange_n(flag, true, __ATOMIC_ACQUIRE);
	__atomic_store_n(flag, true, __ATOMIC_RELAXED);
	return true;
}

static inline void ph_flag_give(bool *flag)
{
	__atomic_store_n(flag, false, __ATOMIC_RELEASE);
}

#endif
