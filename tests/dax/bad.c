/*
 * bad.c - a bad block turns up below an open pool.
 *
 * The kernel is told of it as it would be by the platform: through the list of the
 * device, in units of 512 bytes. From then on its DAX code gives no mapping of that
 * page any more.
 */
#include "guest.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SECTOR 512
#define PAGE 4096

static sigjmp_buf back;

static void at_sigbus(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

/* Does a load from the page at ptr give SIGBUS? */
static bool load_fails(volatile char *ptr)
{
	struct sigaction action = {.sa_handler = at_sigbus}, old;
	volatile bool failed = true;

	must(!sigaction(SIGBUS, &action, &old));
	if (!sigsetjmp(back, 1)) {
		(void)*ptr;
		failed = false;
	}
	must(!sigaction(SIGBUS, &old, NULL));
	return failed;
}

/* Where on its device a byte of the file lies. */
static uint64_t place_of(const char *path, uint64_t offset)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} ask = {.map = {.fm_start = offset, .fm_length = 1, .fm_extent_count = 1}};
	const struct fiemap_extent *extent = ask.map.fm_extents;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0);
	must(!ioctl(fd, FS_IOC_FIEMAP, &ask) && ask.map.fm_mapped_extents == 1);
	close(fd);
	return extent->fe_physical + offset - extent->fe_logical;
}

static void make_bad(const char *list, uint64_t place)
{
	FILE *file = fopen(list, "we");

	must(file);
	must(fprintf(file, "%llu %u\n", (unsigned long long)place / SECTOR, PAGE / SECTOR) > 0);
	must(!fclose(file));
}

static void show_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	printf("@problem %s %s\n", problem->invariant, problem->message);
}

static int open_code(const char *path, unsigned flags)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .flags = flags};
	pheap_t *heap = pheap_open(path, &opts);
	int code = heap ? 0 : errno;

	if (heap)
		must(!pheap_close(heap));
	else
		printf("@refused %s\n", pheap_errormsg());
	return code;
}

int try_bad_block(const char *path, const char *other, const char *list)
{
	pheap_t *heap = make_dax_pool(path);
	pheap_ref *slot = pheap_named_root(heap, "bad");
	int open, readonly, check;
	pheap_ref offset;
	char *object;
	bool sigbus;

	must(!pheap_close(make_dax_pool(other)));
	must(slot && !pheap_alloc_into(heap, slot, 16 * PAGE, NULL));
	object = pheap_ptr(heap, *slot);
	object += 5 * PAGE;
	must(!load_fails(object));
	make_bad(list, place_of(path, *slot + 5 * PAGE));
	/* What is mapped already stays so until the processor finds out for itself. */
	must(!madvise(object, PAGE, MADV_DONTNEED));
	sigbus = load_fails(object);
	/* The rest of the pool goes on working, and can even let go of the object. */
	must(!pheap_alloc_into(heap, pheap_named_root(heap, "good"), 64, NULL));
	must(!pheap_retire(heap, pheap_named_root(heap, "good")));
	must(!pheap_retire(heap, slot));
	offset = pheap_ref_of(heap, object);
	must(!pheap_close(heap));
	open = open_code(path, 0);
	readonly = open_code(path, PHEAP_READONLY);
	check = -pheap_check_file(path, NULL, show_problem, NULL);
	printf("@bad offset=%llu sigbus=%d open=%d readonly=%d check=%d other=%d\n",
	       (unsigned long long)offset, sigbus, open, readonly, check, open_code(other, 0));
	return 0;
}
