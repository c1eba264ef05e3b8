/*
 * file.c - open, lock and map a pool file.
 *
 * The lock is flock(2) on a descriptor of our own: it goes away with the process
 * whatever kills it, works for two opens in one process as for two processes,
 * and can be shared by readers.
 */
#include "file.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include <libpmem.h>

#include "dax.h"

static int lock_file(struct ph_file *file, const char *path, bool shared)
{
	if (!flock(file->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return ph_error(EBUSY, "%s: the pool is open %s: close it there first", path,
				shared ? "for writing" : "elsewhere");
	return ph_error(errno, "%s: cannot lock the pool file: %s", path, strerror(errno));
}

static int open_locked(struct ph_file *file, const char *path, int flags, unsigned mode,
		       bool shared)
{
	int err;

	/* Not blocking: opening a FIFO must not wait for a writer. */
	file->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, mode);
	if (file->fd < 0)
		return ph_error(errno, "%s: %s", path, strerror(errno));
	if ((err = lock_file(file, path, shared))) {
		close(file->fd);
		file->fd = -1;
	}
	return err;
}

/* Is there a byte other than zero in the file? Holes are not looked at. */
static int find_content(const struct ph_file *file, const char *path)
{
	uint64_t words[8192];
	off_t at = 0, end;
	ssize_t n;

	while ((at = lseek(file->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(file->fd, at, SEEK_HOLE);
		if (end < 0)
			break;
		for (; at < end; at += n) {
			memset(words, 0, sizeof(words));
			n = pread(file->fd, words, sizeof(words), at);
			if (n <= 0)
				return ph_error(n ? errno : EBUSY, "%s: cannot read the file",
						path);
			for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
				if (words[i])
					return ph_error(EEXIST,
							"%s: the file exists and is not empty: "
							"remove it first, or open it",
							path);
		}
	}
	if (errno != ENXIO) /* which says: no data from here on */
		return ph_error(errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* May create take this file over? Only what holds nothing, or an unfinished pool. */
static int check_unused(const struct ph_file *file, const char *path)
{
	uint64_t magic = 0;
	struct stat st;

	if (fstat(file->fd, &st))
		return ph_error(errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return ph_error(EINVAL, "%s: not a regular file", path);
	if (pread(file->fd, &magic, sizeof(magic), 0) < 0)
		return ph_error(errno, "%s: %s", path, strerror(errno));
	return magic == PM_MAGIC_CREATING ? 0 : find_content(file, path);
}

int ph_file_create(struct ph_file *file, const char *path, uint64_t size, unsigned mode)
{
	int err = open_locked(file, path, O_RDWR | O_CREAT | O_EXCL, mode, false);

	file->made = !err;
	if (err == -EEXIST)
		err = open_locked(file, path, O_RDWR, mode, false);
	if (err)
		return err;
	err = check_unused(file, path);
	file->emptied = !err;
	/* Emptied first: what an unfinished create left must not show through. */
	if (!err && (ftruncate(file->fd, 0) || ftruncate(file->fd, (off_t)size)))
		err = ph_error(errno, "%s: cannot make a file of %llu bytes: %s", path,
			       (unsigned long long)size, strerror(errno));
	file->size = size;
	if (err)
		ph_file_discard(file, path);
	return err;
}

/* ---- blocks ------------------------------------------------------------------------ */

/* Extents that are looked at. A file of more takes longer to look at than it saves. */
#define EXTENTS_MAX 64u

/* One system call says so of a file in a few extents; a memory file system has none, but
 * counts in st_blocks what holds data, and nothing else. */
static bool without_holes(const struct ph_file *file, const struct stat *st)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS_MAX * sizeof(struct fiemap_extent)];
	} u;
	uint64_t end = 0;

	if (ph_file_in_memory(file))
		return (uint64_t)st->st_blocks * 512 >= file->size;
	memset(&u.map, 0, sizeof(u.map));
	u.map.fm_length = file->size;
	u.map.fm_extent_count = EXTENTS_MAX;
	if (ioctl(file->fd, FS_IOC_FIEMAP, &u.map))
		return false;
	for (unsigned i = 0; i < u.map.fm_mapped_extents; i++) {
		const struct fiemap_extent *extent = &u.map.fm_extents[i];

		if (extent->fe_logical > end)
			return false;
		end = extent->fe_logical + extent->fe_length;
	}
	return end >= file->size;
}

int ph_file_open(struct ph_file *file, const char *path, bool readonly)
{
	struct stat st;
	int err = open_locked(file, path, readonly ? O_RDONLY : O_RDWR, 0, readonly);

	if (err)
		return err;
	file->readonly = readonly;
	if (fstat(file->fd, &st))
		err = ph_error(errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err = ph_error(EINVAL, "%s: not a regular file", path);
	else if ((uint64_t)st.st_size < PHEAP_MIN_SIZE || (uint64_t)st.st_size > PHEAP_MAX_SIZE)
		err = ph_error(EUCLEAN,
			       "%s: %lld bytes: too %s for a pool: truncated, or not a pool", path,
			       (long long)st.st_size,
			       (uint64_t)st.st_size < PHEAP_MIN_SIZE ? "small" : "large");
	file->size = (uint64_t)st.st_size;
	if (!err)
		err = ph_dax_check(file->fd, path);
	if (err)
		ph_file_close(file);
	else
		file->whole = !readonly && without_holes(file, &st);
	return err;
}

int ph_file_map(struct ph_file *file, const char *path)
{
	size_t length = file->size;
	int is_pmem = 0;

	if (file->readonly) {
		file->base = ph_memory_map(length, MAP_PRIVATE | MAP_NORESERVE, file->fd);
		is_pmem = ph_dax_is(file->fd);
	} else {
		char self[32];

		/* The file that is locked, whatever its name refers to by now. libpmem maps
		 * with MAP_SYNC where that can be had, aligned for huge pages. */
		snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
		file->base = pmem_map_file(self, 0, 0, 0, &length, &is_pmem);
		file->pmem_map = file->base != NULL;
	}
	if (!file->base)
		return ph_error(errno, "%s: cannot map %llu bytes: %s", path,
				(unsigned long long)file->size, strerror(errno));
	if (length != file->size) {
		file->size = length; /* of the mapping, for close */
		return ph_error(EBUSY, "%s: the file changed its size while it was opened", path);
	}
	file->is_pmem = is_pmem != 0;
	return 0;
}

bool ph_file_in_memory(const struct ph_file *file)
{
	struct statfs fs;

	if (file->fd < 0)
		return true;
	if (fstatfs(file->fd, &fs))
		return false;
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

/* The next stretch from at on that is no hole: false, and ENXIO, where there is none. */
static bool next_data(const struct ph_file *file, off_t *at, off_t *end)
{
	if (file->fd < 0) {
		*end = (off_t)file->size;
		errno = ENXIO;
		return *at < *end;
	}
	*at = lseek(file->fd, *at, SEEK_DATA);
	*end = *at < 0 ? -1 : lseek(file->fd, *at, SEEK_HOLE);
	return *end >= 0;
}

/* Holes hold nothing, and reading them in would allocate them. */
int ph_file_write_back(const struct ph_file *file, struct ph_persist *pm, struct ph_count *count)
{
	off_t end;

	for (off_t at = 0; next_data(file, &at, &end); at = end)
		ph_flush(pm, count, file->base + at, (size_t)(end - at));
	if (errno == ENXIO)
		return 0;
	return ph_error(EIO, "cannot find what to write back in the pool file: %s",
			strerror(errno));
}

void ph_file_close(struct ph_file *file)
{
	if (file->base && !file->borrowed) {
		if (file->source && file->source->put)
			file->source->put(file->source->arg, file->base, file->size);
		else if (file->pmem_map)
			pmem_unmap(file->base, file->size);
		else
			munmap(file->base, file->size);
	}
	if (file->fd >= 0) {
		/* Explicitly: a child just forked may have the descriptor still. */
		flock(file->fd, LOCK_UN);
		close(file->fd);
	}
	file->base = NULL;
	file->fd = -1;
}

int ph_file_sync(const struct ph_file *file, const char *path)
{
	char *copy = strdup(path);
	int folder, err = 0;

	if (!copy)
		return ph_error(ENOMEM, "no memory for a path");
	/* A folder that may not be read cannot be written back; the file can. */
	folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fsync(file->fd) || (folder >= 0 && fsync(folder) && errno == EIO))
		err = ph_error(EIO, "%s: cannot write the new file back: %s", path,
			       strerror(errno));
	if (folder >= 0)
		close(folder);
	free(copy);
	return err;
}

void ph_file_discard(struct ph_file *file, const char *path)
{
	/* Before the lock is gone. A file that was there, empty, is empty again. */
	if (file->made)
		unlink(path);
	else if (file->emptied &&
		 ftruncate(file->fd, 0)) /* then it stays as an unfinished pool, or as one */
		errno = 0;
	ph_file_close(file);
}
