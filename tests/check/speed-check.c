/*
 * speed-check.c - how long a check takes; run by hand.
 *
 *	speed-check [MiB of the pool [bytes of an object [objects]]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "alloc/class.h"
#include "image.h"
#include "recovery/check.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	printf("%s at 0x%" PRIx64 ": %s\n", problem->invariant, problem->offset, problem->message);
}

/* Slabs one behind the other, or every second granule free where there is room. */
static void fill(struct image *image, size_t size, uint64_t objects)
{
	const struct ph_class *class = &ph_classes[ph_class_of(size)];
	uint64_t slabs = (objects + class->objects - 1) / class->objects;
	uint32_t step = 1;

	while (step < class->granules)
		step *= 2;
	if (slabs * step * 2 < image->zone.granules)
		step *= 2;
	for (uint32_t at = step; objects && at + step <= image->zone.granules; at += step) {
		uint32_t n = objects < class->objects ? (uint32_t)objects : class->objects;

		image_slab(image, at, size, n);
		objects -= n;
	}
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 0) : 1024;
	size_t size = argc > 2 ? strtoull(argv[2], NULL, 0) : 512;
	uint64_t objects = argc > 3 ? strtoull(argv[3], NULL, 0) : 1000000;
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct image image;

	image_map(&image, mib << 20);
	image_format(&image, "speed");
	image_lane(&image, 0);
	fill(&image, size, objects);
	image_tree(&image);
	for (int i = 0; i < 3; i++) {
		double start = now();
		int err = ph_check_media(image.base, image.size, -1, &result, print, NULL);

		printf("%.2f ms, result %d: %" PRIu64 " objects, %" PRIu64 " of %u granules used\n",
		       (now() - start) * 1e3, err, result.objects, result.used_granules,
		       image.zone.granules);
	}
	image_unmap(&image);
	return 0;
}
