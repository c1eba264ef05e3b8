/*
 * image.h - write a pool image by hand, from docs/format.md alone: what the
 * checker is tested with, independent of the library that usually writes pools.
 * Also finds its way in an image that the library made.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/*
 * An image that ends at a page that cannot be read, and begins behind one. Of the
 * granules of one zone, padding included, taken[] says which are taken.
 */
struct image {
	char *base;
	uint64_t size;
	struct pm_zone zone; /* the first one, or as image_adopt() was told */
	uint8_t *taken;	     /* 2^levels bytes */
	uint32_t lanes;
};

/* Map size bytes; not a multiple of the page size: then the start is not aligned. */
void image_map(struct image *image, uint64_t size);
void image_unmap(struct image *image);

/* Superblocks, state, zone table: a pool without anything in it. */
void image_format(struct image *image, const char *layout);

/* Know a zone that somebody else wrote, or that was changed behind our back. */
void image_adopt(struct image *image, uint32_t number);

/* Spans. published: how many objects of the slab are, from the first on. */
void image_slab(struct image *image, uint32_t granule, size_t size, uint32_t published);
void image_large(struct image *image, uint32_t granule, uint64_t size);
void image_lane(struct image *image, uint32_t granule);
void image_root(struct image *image, uint32_t number, const char *name, uint64_t ref);

/* Beside the objects of a slab, or a large object, that is not counted so far: each published
 * one has one reference. */
void image_counted(struct image *image, uint32_t granule, uint32_t type);
/* The count of an object. */
uint64_t *image_count(struct image *image, uint32_t granule, uint32_t object);

/* A type, with its descriptor in an object at ref. Offsets as on media. */
void image_type(struct image *image, uint32_t id, uint64_t ref, const char *name,
		const struct pm_type *fields, const uint32_t *offsets);
/* Compute its sums: of the descriptor, if that lies where it can, and of the entry. */
void image_type_sums(struct image *image, uint32_t id);

/* Write the free-space tree that taken[] stands for. */
void image_tree(struct image *image);
/* Fill what has no meaning in the tree with a byte; image_tree() comes after. */
void image_tree_junk(struct image *image, uint8_t junk);
/* Compute the sums of the superblocks and of n entries of the zone table. */
void image_sums(struct image *image, uint32_t n);

/* A pool with something of everything in it; 8 MiB at least. image_fill() makes it in
 * memory that has been mapped. */
void image_fill(struct image *image);
void image_healthy(struct image *image, uint64_t size);
#define HEALTHY_OBJECTS (4096u + 100 + 39 + 16 + 1 + 2730 + 1 + 2 + 3 + 2)
#define HEALTHY_SLABS 10u
#define HEALTHY_LARGE 2u
#define HEALTHY_USED (2u + 1 + 1 + 1 + 2 + 15 + 3 + 1 + 1 + 4 + 21 + 2)

/* Where things are. */
struct pm_super *image_super(struct image *image, unsigned copy);
struct pm_state *image_state(struct image *image);
struct pm_zone *image_zone(struct image *image, uint32_t number);
struct pm_root *image_roots(struct image *image);
struct pm_type *image_types(struct image *image);
uint64_t *image_lanes(struct image *image);
struct pm_span *image_desc(struct image *image, uint32_t granule);
uint8_t *image_bits(struct image *image, uint32_t granule);
uint8_t *image_node(struct image *image, uint32_t depth, uint32_t index);
uint64_t image_at(struct image *image, uint32_t granule); /* offset in the pool */
uint64_t image_tree_bytes(uint32_t levels);

/* The first span of a kind, and of an object size unless that is 0. Must exist. */
uint32_t image_find(struct image *image, unsigned kind, uint64_t size);
/* A free granule behind a taken one, in one aligned group of 64. Must exist. */
uint32_t image_find_free(struct image *image);

#endif
