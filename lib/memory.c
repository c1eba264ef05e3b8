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

int ph_memory_anonymous(struct ph_file *file, uint64_t size, bool hugetlb)
{
	const int kind = hugetlb ? MAP_HUGETLB : MAP_NORESERVE;

	file->fd = -1;
	file->size = size;
	file->base = ph_memory_map(size, MAP_PRIVATE | MAP_ANONYMOUS | kind, -1);
	if (file->base)
		return 0;
	if (hugetlb)
		return ph_error(ENOMEM,
				"the system keeps too few free huge pages for %llu bytes: raise "
				"vm.nr_hugepages, or ask for PHEAP_HUGE_PAGES",
				(unsigned long long)size);
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

/* Of mbind(2), which only libnuma declares. */
#define BIND 2 /* MPOL_BIND */
#define NODES_MAX 1024u

static int bind_node(const char *name, void *addr, uint64_t bytes, unsigned node)
{
	unsigned long mask[NODES_MAX / 64] = {0};

	if (node < NODES_MAX) {
		mask[node / 64] = 1UL << node % 64;
		if (!syscall(SYS_mbind, addr, bytes, BIND, mask, NODES_MAX, 0))
			return 0;
	} else {
		errno = EINVAL;
	}
	if (errno == ENOSYS)
		return ph_error(ENOTSUP, "%s: the kernel knows no NUMA nodes", name);
	return ph_error(errno, "%s: memory cannot be bound to NUMA node %u: %s", name, node,
			errno == EINVAL ? "there is no such node" : strerror(errno));
}

int ph_memory_advise(const char *name, void *addr, uint64_t bytes, unsigned flags, unsigned node)
{
	if (flags & PHEAP_HUGE_PAGES && madvise(addr, bytes, MADV_HUGEPAGE))
		return ph_error(ENOTSUP, "%s: the kernel has no transparent huge pages", name);
	return flags & PHEAP_BIND_NODE ? bind_node(name, addr, bytes, node) : 0;
}

int ph_memory_prefault(const char *name, void *addr, uint64_t bytes)
{
	if (!madvise(addr, bytes, MADV_POPULATE_WRITE))
		return 0;
	if (errno != EINVAL) /* which older kernels say: then page by page */
		return ph_error(ENOMEM, "%s: no memory for %llu bytes: %s", name,
				(unsigned long long)bytes, strerror(errno));
	for (uint64_t at = 0; at < bytes; at += PM_PAGE)
		__atomic_fetch_or((uint8_t *)addr + at, 0, __ATOMIC_RELAXED);
	return 0;
}

int ph_memory_back(const struct ph_file *file, uint64_t offset, uint64_t length)
{
	long err;

	if (file->fd < 0) {
		const struct ph_source *source = file->source;

		length = (length + PM_PAGE - 1) / PM_PAGE * PM_PAGE;
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
