/*
 * file.c - the memory of a process in a file, on a DAX or on an ordinary file system: for
 * more memory than there is DRAM. See file.h.
 *
 * The file has no name, and is gone with the process. It is mapped shared, or what is
 * written would stay in DRAM. No descriptor is kept, because programs close those that
 * they do not know: blocks are allocated and freed through the mapping.
 *
 * FORK. A shared mapping would be the parent's in the child. So the child writes what is in
 * use to a file of its own, which takes the place of the other, and the parent's
 * fork() returns when that is done. What other threads of the parent store meanwhile may or
 * may not be in it. Between fork() and the last handler nothing of the heap is stored to.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/decay.h"
#include "error.h"
#include "process.h"

static char folder[PATH_MAX];
static char *area;
static size_t area_bytes;
static int done[2] = {-1, -1}; /* a pipe: the child of a fork has its copy */

/* D3: a store to a hole of a full file system would end the process. */
static int commit(void *arg, void *addr, size_t bytes)
{
	int state, err;

	(void)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	do {
		err = madvise(addr, bytes, MADV_POPULATE_WRITE);
	} while (err && errno == EINTR);
	pthread_setcancelstate(state, NULL);
	if (!err)
		return 0;
	/* EFAULT is what the kernel says where a store would give SIGBUS. */
	return ph_error(errno == EFAULT ? ENOSPC : errno, "%s: the file system is full", folder);
}

static int purge(void *arg, void *addr, size_t bytes)
{
	(void)arg;
	return madvise(addr, bytes, MADV_REMOVE) ? -errno : 0;
}

static const struct ph_source source = {.commit = commit, .purge = purge};

static int new_file(void)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return ph_error(errno, "PHEAPMALLOC_FOLDER: %s: no file can be made there: %s",
				folder, strerror(errno));
	if (!ftruncate(fd, (off_t)area_bytes))
		return fd;
	close(fd);
	return ph_error(errno, "PHEAPMALLOC_FOLDER: %s: no file of %zu bytes: %s", folder,
			area_bytes, strerror(errno));
}

static int map_file(int fd)
{
	void *p = mmap(area, area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);

	return p == MAP_FAILED ? ph_error(errno, "PHEAPMALLOC_FOLDER: %s: cannot map a file: %s",
					  folder, strerror(errno))
			       : 0;
}

/* ---- fork ------------------------------------------------------------------------------ */

static void before_fork(void)
{
	if (pipe2(done, O_CLOEXEC)) {
		ph_error(errno, "no pipe for the copy of the heap: %s", strerror(errno));
		ph_process_fail("fork");
	}
}

/* Until the child has closed its end. */
static void after_fork(void)
{
	char end;

	close(done[1]);
	while (read(done[0], &end, 1) < 0 && errno == EINTR)
		;
	close(done[0]);
}

static int write_run(int fd, size_t first, size_t last)
{
	while (first < last) {
		ssize_t n = pwrite(fd, area + first, last - first, (off_t)first);

		if (n < 0 && errno != EINTR)
			return ph_error(errno, "%s: cannot copy the heap: %s", folder,
					strerror(errno));
		first += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int copy_used(int fd)
{
	const struct ph_zone *zone = &ph_process_heap()->zone;
	uint32_t end = ph_process_heap()->decay.top;
	int err = 0;

	for (uint32_t g = 0, n; g < end && !err; g += n) {
		bool used = zone->used[g] == PH_USED_NOW;

		for (n = 1; g + n < end && (zone->used[g + n] == PH_USED_NOW) == used; n++)
			;
		if (used)
			err = write_run(fd, (size_t)g * PM_GRANULE, (size_t)(g + n) * PM_GRANULE);
		else /* of what is free the copy has nothing */
			ph_decay_forget(ph_process_heap(), g, n);
	}
	return err;
}

static void after_fork_child(void)
{
	int fd = new_file();

	if (fd < 0 || copy_used(fd) || map_file(fd))
		ph_process_fail("fork");
	close(fd);
	close(done[0]);
	close(done[1]);
}

/* ---- start ------------------------------------------------------------------------------- */

int ph_process_file(const char *path, void *addr, size_t bytes, const struct ph_source **result)
{
	int fd, err;

	if (strlen(path) >= sizeof(folder))
		return ph_error(ENAMETOOLONG, "PHEAPMALLOC_FOLDER: the name is too long");
	strcpy(folder, path);
	area = addr;
	area_bytes = bytes;
	fd = new_file();
	if (fd < 0)
		return fd;
	err = map_file(fd);
	close(fd);
	if (err)
		return err;
	pthread_atfork(before_fork, after_fork, after_fork_child);
	*result = &source;
	return 0;
}
