/*
 * file.c - open, lock and map a pool file.
 *
 * The lock is flock(2) on a descriptor of our own: it goes away with the process
 * whatever kills it, works for two opens in one process as for two processes,
 * and can be shared by readers.
 */
#include "file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/magic.h>

#include <libpmem.h>

static int lock_file(struct ph_file *file, const char *path, bool shared)
{
	if (!flock(file->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return ph_error(EBUSY, "%s: the pool is open %s: close it there first", path,
				shared ? "for writing" : "elsewhere");
	return ph_error(errno, "%s: cannot lock the pool file: %s", path, strerror(errno));
}

static int open_locked(struct ph_file *file, const char *path, int flags, unsigned mode, bool shared)
{
	int err;

	file->fd = open(path, flags | O_CLOEXEC, mode);
	if (file->fd < 0)
		return ph_error(errno, "%s: %s", path, strerror(errno));
	if ((err = lock_file(file, path, shared))) {
		close(file->fd);
		file->fd = -1;
	}
	return err;
}

/* May create take this file over? Only what holds nothing. */
static int check_unused(const struct ph_file *file, const char *path)
{
	struct {
		uint64_t words[2 * PM_PAGE / 8];
	} head = {{0}};
	struct stat st;
	uint64_t any = 0;

	if (fstat(file->fd, &st))
		return ph_error(errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return ph_error(EINVAL, "%s: not a regular file", path);
	if (pread(file->fd, &head, sizeof(head), 0) < 0)
		return ph_error(errno, "%s: %s", path, strerror(errno));
	if (head.words[0] == PM_MAGIC_CREATING)
		return 0;
	for (size_t i = 0; i < sizeof(head.words) / 8; i++)
		any |= head.words[i];
	if (any)
		return ph_error(EEXIST, "%s: the file exists and is not empty: remove it first, or open it",
				path);
	return 0;
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
	/* Emptied first: what an unfinished create left must not show through. */
	if (!err && (ftruncate(file->fd, 0) || ftruncate(file->fd, (off_t)size)))
		err = ph_error(errno, "%s: cannot make a file of %llu bytes: %s", path,
			       (unsigned long long)size, strerror(errno));
	file->size = size;
	if (err)
		ph_file_discard(file, path);
	return err;
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
		err = ph_error(EUCLEAN, "%s: %lld bytes: too %s for a pool: truncated, or not a pool", path,
			       (long long)st.st_size,
			       (uint64_t)st.st_size < PHEAP_MIN_SIZE ? "small" : "large");
	file->size = (uint64_t)st.st_size;
	if (err)
		ph_file_close(file);
	return err;
}

int ph_file_map(struct ph_file *file, const char *path)
{
	size_t length = file->size;
	int is_pmem = 0;

	if (file->readonly) {
		file->base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
				  file->fd, 0);
		if (file->base == MAP_FAILED)
			file->base = NULL;
	} else {
		/* libpmem: with MAP_SYNC where that can be had, aligned for huge pages. */
		file->base = pmem_map_file(path, 0, 0, 0, &length, &is_pmem);
		file->pmem_map = file->base != NULL;
	}
	if (!file->base)
		return ph_error(errno, "%s: cannot map %llu bytes: %s", path,
				(unsigned long long)file->size, strerror(errno));
	if (length != file->size)
		return ph_error(EBUSY, "%s: the file changed its size while it was opened", path);
	file->is_pmem = is_pmem != 0;
	return 0;
}

int ph_file_anonymous(struct ph_file *file, uint64_t size)
{
	file->fd = -1;
	file->size = size;
	file->base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (file->base != MAP_FAILED)
		return 0;
	file->base = NULL;
	return ph_error(ENOMEM, "no %llu bytes of address space", (unsigned long long)size);
}

int ph_file_back(const struct ph_file *file, uint64_t offset, uint64_t length)
{
	long err;

	if (file->fd < 0)
		return 0;
	/* The raw call: fallocate(3) is a cancellation point, and locks are held. */
	do {
		err = syscall(SYS_fallocate, file->fd, 0, (off_t)offset, (off_t)length);
	} while (err && errno == EINTR);
	if (!err)
		return 0;
	if (errno == EOPNOTSUPP)
		return ph_error(ENOTSUP, "the file system cannot allocate blocks ahead (fallocate): "
					 "a full disk would kill the program; use another one");
	if (errno == ENOSPC || errno == EDQUOT)
		return ph_error(ENOSPC, "the file system below the pool is full");
	return ph_error(errno, "cannot allocate blocks of the pool file: %s", strerror(errno));
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

/* Holes hold nothing, and reading them in would allocate them. */
int ph_file_write_back(struct ph_file *file, struct ph_persist *pm, struct ph_count *count)
{
	off_t at = 0, end;

	if (file->fd < 0) {
		ph_flush(pm, count, file->base, file->size);
		return ph_fence(pm, count);
	}
	while ((at = lseek(file->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(file->fd, at, SEEK_HOLE);
		if (end < 0)
			break;
		ph_flush(pm, count, file->base + at, (size_t)(end - at));
		at = end;
	}
	return ph_fence(pm, count);
}

void ph_file_close(struct ph_file *file)
{
	if (file->base && !file->borrowed) {
		if (file->pmem_map)
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

void ph_file_discard(struct ph_file *file, const char *path)
{
	if (file->made)
		unlink(path); /* before the lock is gone */
	ph_file_close(file);
}
