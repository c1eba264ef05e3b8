/*
 * dax.c - see dax.h.
 *
 * The kernel keeps a list of bad blocks for each device of persistent memory.
 * libpmem2 knows how to get from there to bytes of a file, but needs to look at
 * every device of the machine for it, which takes longer than all the rest of an
 * open. So the list of the file's own device is read first: it is empty, nearly
 * always, and then nothing more has to be asked.
 */
#include "dax.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#ifdef PH_HAVE_LIBPMEM2
#include <libpmem2.h>
#endif

bool ph_dax_is(int fd)
{
	struct statx st;

	return !statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) && st.stx_attributes & STATX_ATTR_DAX;
}

#ifdef PH_HAVE_LIBPMEM2

/* Does the kernel list no bad block for the device that the file is on? */
static bool device_is_good(int fd)
{
	/* A partition has no list of its own; its disk's is one folder up. */
	static const char *const folders[] = {"", "../"};
	struct statx st;
	char path[64], byte;
	int list = -1;
	ssize_t n;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st))
		return false;
	for (unsigned i = 0; i < 2 && list < 0; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sbadblocks", st.stx_dev_major,
			 st.stx_dev_minor, folders[i]);
		list = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (list < 0)
		return false;
	n = read(list, &byte, 1);
	close(list);
	return n == 0;
}

/* How many ranges of the file are bad, and the first of them. 0: none is known. */
static unsigned list_bad(int fd, struct pmem2_badblock *first)
{
	struct pmem2_badblock_context *context;
	struct pmem2_source *source;
	struct pmem2_badblock bad;
	unsigned n = 0;

	if (pmem2_source_from_fd(&source, fd))
		return 0;
	if (!pmem2_badblock_context_new(&context, source)) {
		for (; !pmem2_badblock_next(context, &bad); n++)
			if (!n || bad.offset < first->offset)
				*first = bad;
		pmem2_badblock_context_delete(&context);
	}
	pmem2_source_delete(&source);
	return n;
}

int ph_dax_check(int fd, const char *path)
{
	struct pmem2_badblock first = {0};
	unsigned n;

	if (!ph_dax_is(fd) || device_is_good(fd))
		return 0;
	n = list_bad(fd, &first);
	if (!n)
		return 0;
	return ph_error(EUCLEAN,
			"%s: the memory of %u range%s of the file cannot be read any more, first "
			"%zu bytes at offset %zu (bad blocks): restore the pool from a copy, in a "
			"new file",
			path, n, n == 1 ? "" : "s", first.length, first.offset);
}

#else

int ph_dax_check(int fd, const char *path)
{
	(void)fd;
	(void)path;
	return 0;
}

#endif
