/*
 * memory.c - address space, and the blocks behind it. See memory.h.
 */
#include "memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Objects are aligned by their offsets: up to 64 KiB, and huge pages beyond. */
#define MAP_ALIGNMENT ((size_t)2 << 20)

void *ph_memory_map(size_t length, int flags, int fd)
{
	size_t slack = MAP_ALIGNMENT;
	char *area = mmap(NULL, length + slack, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *base;

	if (area == MAP_FAILED)
		return NULL;
	base = (char *)(((uintptr_t)area + slack - 1) / slack * slack);
	if (mmap(base, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(area, length + slack);
		return NULL;
	}
	if (base > area)
		munmap(area, (size_t)(base - area));
	if (base + length < area + length + slack)
		munmap(base + length, (size_t)(area + slack - base));
	return base;
}

int ph_memory_anonymous(struct ph_file *file, uint64_t size)
{
	file->fd = -1;
	file->size = size;
	file->base = ph_memory_map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	if (file->base)
		return 0;
	return ph_error(ENOMEM, "no %llu bytes of address space", (unsigned long long)size);
}

int ph_memory_check_size(const struct ph_file *file)
{
	struct stat st;

	if (file->fd < 0 || fstat(file->fd, &st) || (uint64_t)st.st_size >= file->size)
		return 0;
	return ph_error(
		EUCLEAN,
		"the pool file was cut to %lld of its %llu bytes while it was open: what was "
		"there is lost; restore the pool from a copy, in a new file",
		(long long)st.st_size, (unsigned long long)file->size);
}

int ph_memory_back(const struct ph_file *file, uint64_t offset, uint64_t length)
{
	long err;

	if (file->fd < 0) {
		const struct ph_source *source = file->source;

		return source && source->commit
			       ? source->commit(source->arg, file->base + offset, length)
			       : 0;
	}
	if (__atomic_load_n(&file->whole, __ATOMIC_RELAXED))
		return 0;
	/* fallocate would make a file longer again, and hide what is lost. */
	if ((err = ph_memory_check_size(file)))
		return (int)err;
	/* The raw call: fallocate(3) is a cancellation point, and locks are held. */
	do {
		err = syscall(SYS_fallocate, file->fd, 0, (off_t)offset, (off_t)length);
	} while (err && errno == EINTR);
	if (!err)
		return 0;
	if (errno == EOPNOTSUPP)
		return ph_error(ENOTSUP,
				"the file system cannot allocate blocks ahead (fallocate): "
				"a full disk would kill the program; use another one");
	if (errno == ENOSPC || errno == EDQUOT)
		return ph_error(ENOSPC, "the file system below the pool is full");
	return ph_error(errno, "cannot allocate blocks of the pool file: %s", strerror(errno));
}

int ph_memory_punch(struct ph_file *file, uint64_t offset, uint64_t length)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	long err;

	if (file->source)
		return file->source->purge
			       ? file->source->purge(file->source->arg, file->base + offset, length)
			       : -ENOTSUP;
	/* Before a hole is there: who needs its blocks again learns of it under zone.lock. */
	__atomic_store_n(&file->whole, false, __ATOMIC_RELAXED);
	do {
		if (file->fd < 0)
			err = madvise(file->base + offset, length, MADV_DONTNEED);
		else
			err = syscall(SYS_fallocate, file->fd, mode, (off_t)offset, (off_t)length);
	} while (err && errno == EINTR);
	if (!err)
		return 0;
	if (errno == EOPNOTSUPP)
		return ph_error(ENOTSUP, "the file system cannot punch holes (fallocate): the "
					 "pool file keeps its blocks");
	return ph_error(errno, "cannot free blocks of the pool file: %s", strerror(errno));
}
