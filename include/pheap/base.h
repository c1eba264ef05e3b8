/*
 * pheap/base.h - types, limits and error reporting shared by every topic.
 *
 * ERRORS. A function that returns int gives 0 or a negative errno value; one
 * that returns a pointer gives NULL and sets errno to the positive value. The
 * meaning of a code is the same everywhere:
 *
 *   EINVAL            misuse: a bad argument, pointer, reference or state
 *   ENOMEM            no DRAM for the library's own bookkeeping
 *   ENOSPC            the pool, or the file system below it, is full
 *   EEXIST            the slot already holds a reference; the file exists
 *   ENOENT            the slot is null; no such root; no such file
 *   EBUSY             the pool is open elsewhere, or has open transactions
 *   EROFS             the heap is open read-only
 *   EUCLEAN           the pool is damaged; nothing was written to it
 *   EPROTONOSUPPORT   a format, feature or record this version does not know
 *   ENOTSUP           the durability asked for cannot be had on this file
 *   EIO               a write-back failed; the heap has gone read-only
 *
 * After an error nothing has changed, unless the function says otherwise, and
 * pheap_errormsg() says what was wrong, where, and what to do.
 */
#ifndef PHEAP_BASE_H
#define PHEAP_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PHEAP_API __attribute__((visibility("default")))
#else
#define PHEAP_API
#endif

#define PHEAP_VERSION_MAJOR 0
#define PHEAP_VERSION_MINOR 1

/*
 * THREADS THAT END. No function is a cancellation point: a thread that is cancelled in
 * one finishes it first, and the request is acted upon afterwards, where the program
 * has a cancellation point. What the thread had reserved, and transactions that it had
 * begun, stay as they are, for its cleanup handlers or for another thread to end. This
 * holds for deferred cancelability, the default; a thread whose cancelability is
 * asynchronous must not be in a function of the library, as of nearly any other.
 * Functions that the library calls must return: no longjmp() or pthread_exit() out of
 * them.
 *
 * FORK. In the child calls on the heap are EINVAL, and neither they nor its end change
 * the pool; other threads of the parent may be in calls meanwhile. Its pages are still
 * those of the parent: a store through a pointer is seen there.
 *
 * SIGNALS. No function may be called in a handler that interrupted one.
 */

/* An open heap. Its address is stable until pheap_close(). */
#ifdef __cplusplus
typedef struct pheap_heap pheap_t; /* pheap is the namespace of pheap.hpp */
#else
typedef struct pheap pheap_t;
#endif

/* An open transaction (pheap/tx.h). */
typedef struct pheap_tx pheap_tx_t;

/*
 * A reference: the offset in bytes of an object from the start of its pool.
 * 0 is the null reference. A reference means the same wherever the pool is
 * mapped, and in every copy of the pool.
 *
 * A *slot* is an aligned 8-byte word that holds a reference and lies in a root
 * or in a published object.
 */
typedef uint64_t pheap_ref;
#define PHEAP_NULL ((pheap_ref)0)

/* Content of up to this many bytes travels inside a redo record. */
#define PHEAP_INLINE_MAX 256

/*
 * The message of the last error that a pheap function returned in this thread;
 * "" when there was none. The string belongs to the library and stays valid
 * until the next failing call in the same thread. Thread-safe, no fence.
 */
PHEAP_API const char *pheap_errormsg(void);

#ifdef __cplusplus
}
#endif
#endif
