/*
 * fuzz-image.c - bytes are damage to a pool, and what is then done with it: open, recover,
 * use, check. The first ones say which image is damaged and how it is opened, then come
 * changes of words, then operations: see damaged.c. A pool between two pages that cannot
 * be touched; the sanitizers watch the library's own memory.
 *
 * Asserted are the codes of a refusal, and that nothing was written to what is refused;
 * and of objects handed out in what opens, that no two share memory.
 */
#define _GNU_SOURCE /* memfd_create */
#include "damaged.h"

#include <sys/mman.h>

#include "pool.h"

#define POOL DAMAGED_POOL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int image_fd[DAMAGED_IMAGES];

/* An image for each input anew: only what an input writes is copied. */
static char *map_image(unsigned kind)
{
	char *map = mmap(NULL, POOL + 2 * PM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED);
	must(mmap(map + PM_PAGE, POOL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		  image_fd[kind], 0) == map + PM_PAGE);
	return map + PM_PAGE;
}

static void unmap_image(char *base)
{
	must(!munmap(base - PM_PAGE, POOL + 2 * PM_PAGE));
}

static void make_images(void)
{
	damaged_make_images();
	for (unsigned kind = 0; kind < DAMAGED_IMAGES; kind++) {
		image_fd[kind] = memfd_create("image", 0);
		must(image_fd[kind] >= 0 &&
		     write(image_fd[kind], damaged_images[kind], POOL) == (ssize_t)POOL);
		memory_free(damaged_images[kind], POOL);
	}
}

/* The damage is in the image when this returns. */
static void damage(char *base, struct choice *c)
{
	uint64_t scope = choose(c, 4);
	struct pm_zone zone;
	struct damage d = {base, &zone, c, scope & 1, scope & 2};

	memcpy(&zone, base + PM_ZONE_TABLE, sizeof(zone));
	damaged_change(&d);
}

static void refused(const char *base, unsigned kind, struct choice before)
{
	char *untouched = map_image(kind);

	must(errno == EUCLEAN || errno == EPROTONOSUPPORT);
	must(*pheap_errormsg());
	damage(untouched, &before);
	must(!memcmp(base, untouched, POOL));
	unmap_image(untouched);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	struct choice c = {NULL, data, data + size}, before;
	unsigned kind, how;
	pheap_t *heap;
	char *base;

	if (!image_fd[0])
		make_images();
	kind = (unsigned)choose(&c, DAMAGED_IMAGES);
	how = (unsigned)choose(&c, 8);
	opts.flags = how == 7 ? PHEAP_READONLY : how == 6 ? PHEAP_CHECK_FIRST : 0;
	base = map_image(kind);
	before = c;
	damage(base, &c);
	damaged_entropy(1);
	heap = ph_pool_open_on(base, POOL, &opts, NULL, NULL);
	if (!heap && !(opts.flags & PHEAP_READONLY)) {
		refused(base, kind, before);
	} else if (heap) {
		damaged_use(heap, base, &c);
		if (how & 1)
			must(!pheap_close(heap));
		else
			ph_pool_abandon(heap);
		pheap_close(ph_pool_open_on(base, POOL, &opts, NULL, NULL));
	}
	unmap_image(base);
	return 0;
}
