/*
 * error.c - the message of the last error, per thread.
 */
#include "error.h"

#include <stdio.h>

#include <pheap/base.h>

/* Long enough for a path and two sentences; a longer message is cut. */
static __thread char message[512];
static __thread const char *longer; /* that is it instead; NULL: none */

static void keep(const char *format, va_list args)
{
	longer = NULL;
	vsnprintf(message, sizeof(message), format, args);
}

int ph_error(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	keep(format, args);
	va_end(args);
	return -code;
}

void *ph_null(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	keep(format, args);
	va_end(args);
	errno = code;
	return NULL;
}

int ph_error_text(int code, const char *text)
{
	longer = text;
	return -code;
}

PHEAP_API const char *pheap_errormsg(void)
{
	return longer ? longer : message;
}
