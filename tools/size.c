/*
 * size.c - sizes as people write and read them.
 */
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char units[] = "KMGT";

int parse_size(const char *text, uint64_t *bytes)
{
	unsigned long long number;
	unsigned shift = 0;
	char *end;

	/* strtoull would take a sign and spaces, and give -1 as a huge number. */
	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -1;
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit || end[1])
			return -1;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (number > UINT64_MAX >> shift)
		return -1;
	*bytes = (uint64_t)number << shift;
	return 0;
}

const char *format_size(uint64_t bytes, char *buffer)
{
	double value = (double)bytes;
	int unit = -1;

	for (; value >= 1024 && units[unit + 1]; unit++)
		value /= 1024;
	if (unit < 0)
		snprintf(buffer, SIZE_TEXT, "%llu B", (unsigned long long)bytes);
	else
		snprintf(buffer, SIZE_TEXT, "%.1f %ciB", value, units[unit]);
	return buffer;
}
