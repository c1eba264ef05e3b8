/*
 * points.h - where a thread of the library may have to make way: the points of schedule.h.
 *
 * The library's sources are compiled once more with this header in front of each
 * (persist.c, whose calls are points anyway, and lock.c without). A point then comes before
 * every lock that is taken and every atomic load, store and exchange; the library itself
 * knows nothing of it. Order matters here: the functions of persist.h are to have no point
 * between the hook's note of a store and the store.
 */
#ifndef CRASH_POINTS_H
#define CRASH_POINTS_H

#include <pthread.h>

enum schedule_what {
	POINT_CALL,    /* the program calls the library, or stores into the pool */
	POINT_PERSIST, /* store, flush, fence, copy past the cache */
	POINT_LOCK,    /* a mutex, or the bit lock of a stripe or lane, is about to be taken */
	POINT_ATOMIC,  /* an atomic access */
	POINT_KINDS,
};

/* Another thread may run before the calling one goes on. */
void schedule_point(enum schedule_what what);

int schedule_mutex_lock(pthread_mutex_t *mutex);

#ifdef SCHEDULE_LIBRARY
#include "persist.h"

#define __atomic_load_n(...) (schedule_point(POINT_ATOMIC), __atomic_load_n(__VA_ARGS__))
#define __atomic_store_n(...) (schedule_point(POINT_ATOMIC), __atomic_store_n(__VA_ARGS__))
#define __atomic_exchange_n(...) (schedule_point(POINT_ATOMIC), __atomic_exchange_n(__VA_ARGS__))
#define __atomic_add_fetch(...) (schedule_point(POINT_ATOMIC), __atomic_add_fetch(__VA_ARGS__))
#define __atomic_fetch_add(...) (schedule_point(POINT_ATOMIC), __atomic_fetch_add(__VA_ARGS__))
#define __atomic_fetch_sub(...) (schedule_point(POINT_ATOMIC), __atomic_fetch_sub(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) \
	(schedule_point(POINT_ATOMIC), __atomic_compare_exchange_n(__VA_ARGS__))

#include "lock.h"

#define ph_bitlock_take(word) (schedule_point(POINT_LOCK), ph_bitlock_take(word))
#define pthread_mutex_lock(mutex) schedule_mutex_lock(mutex)
#endif

#endif
