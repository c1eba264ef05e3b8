/*
 * error.h - the one way to report a failure.
 *
 *	return ph_error(EINVAL, "pheap_publish: the slot at offset %#lx ...", ...);
 *
 * keeps the message for pheap_errormsg() and gives the negative code;
 * ph_null() sets errno as well and gives NULL.
 */
#ifndef PH_ERROR_H
#define PH_ERROR_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

int ph_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
void *ph_null(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* With a message that is longer, and stays where it is. */
int ph_error_text(int code, const char *text) __attribute__((cold));

/* NULL and errno for a negative code whose message was kept already. */
static inline void *ph_null_code(int negative)
{
	errno = -negative;
	return NULL;
}

#endif
