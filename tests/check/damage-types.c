/*
 * damage-types.c - damages of the type table, of descriptors and of counts, in images with
 * the types 1 to 3 that image_fill() makes. See damage.h.
 */
#include "damage.h"

#include <string.h>

static char *descriptor(struct image *image, uint32_t id)
{
	return image->base + image_types(image)[id].ref;
}

/* The first offset of type 1, which is called "node". */
static uint32_t *offsets(struct image *image)
{
	return (uint32_t *)(void *)(descriptor(image, 1) + 16);
}

void type_zero(struct image *image)
{
	image_types(image)[0].version = 1;
}

void type_gap(struct image *image)
{
	image_types(image)[5] = image_types(image)[1];
}

void type_unused(struct image *image)
{
	image_types(image)[4].reserved[2] = 1;
}

void type_sum(struct image *image)
{
	image_types(image)[2].version++;
}

void type_of_free(struct image *image)
{
	image_types(image)[2].ref = image_at(image, image_find_free(image));
	image_type_sums(image, 2);
}

void type_inside(struct image *image)
{
	image_types(image)[1].ref += 8;
	image_type_sums(image, 1);
}

void type_outside(struct image *image)
{
	image_types(image)[1].ref = image->size + 64;
	image_type_sums(image, 1);
}

void type_descriptor(struct image *image)
{
	descriptor(image, 2)[9] ^= 1;
}

void type_reserved(struct image *image)
{
	image_types(image)[3].reserved[0] = 1;
	image_type_sums(image, 3);
}

void type_flags(struct image *image)
{
	image_types(image)[1].flags |= 8;
	image_type_sums(image, 1);
}

void type_callback(struct image *image)
{
	image_types(image)[1].flags = PM_TYPE_CALLBACK;
	image_type_sums(image, 1);
}

void type_size(struct image *image)
{
	image_types(image)[3].size = 0;
	image_type_sums(image, 3);
}

void type_odd_size(struct image *image)
{
	image_types(image)[1].size = 28;
	image_type_sums(image, 1);
}

void type_nrefs(struct image *image)
{
	image_types(image)[1].nrefs = 1025;
	image_type_sums(image, 1);
}

void type_no_bytes(struct image *image)
{
	image_types(image)[1].bytes = 0;
	image_type_sums(image, 1);
}

void type_bytes(struct image *image)
{
	image_types(image)[1].bytes += 8;
	image_type_sums(image, 1);
}

void type_name(struct image *image)
{
	descriptor(image, 1)[8] = 7;
	image_type_sums(image, 1);
}

void type_name_tail(struct image *image)
{
	descriptor(image, 1)[15] = 'x';
	image_type_sums(image, 1);
}

void type_offset_outside(struct image *image)
{
	offsets(image)[1] = 24;
	image_type_sums(image, 1);
}

void type_offset_odd(struct image *image)
{
	offsets(image)[0] = 4;
	image_type_sums(image, 1);
}

void type_offset_order(struct image *image)
{
	offsets(image)[0] = 16;
	image_type_sums(image, 1);
}

void type_weak(struct image *image)
{
	offsets(image)[0] |= PM_TYPE_WEAK;
	image_type_sums(image, 1);
}

void type_twice(struct image *image)
{
	strcpy(descriptor(image, 2) + 8, "node");
	image_type_sums(image, 2);
}

/* ---- counts: of the array of type 2 in objects of 4096 bytes -------------------------- */

static uint32_t counted(struct image *image)
{
	uint32_t granule = 0;

	while (image_desc(image, granule)->flags != 1 || image_desc(image, granule)->size != 4096)
		granule++;
	return granule;
}

static uint64_t *chain(struct image *image, unsigned i)
{
	return (uint64_t *)(void *)(image->base + PM_DEAD + i * 64);
}

#define DEAD (UINT64_C(1) << 63)

void count_zero(struct image *image)
{
	*image_count(image, counted(image), 0) = 0;
}

void count_drained(struct image *image)
{
	*image_count(image, counted(image), 0) = DEAD | ((UINT64_C(1) << 44) - 1);
}

void count_of_none(struct image *image)
{
	*image_count(image, counted(image), 15) = 1;
}

void chain_reserved(struct image *image)
{
	chain(image, 15)[1] = 1;
}

void chain_page(struct image *image)
{
	chain(image, 16)[0] = image_at(image, counted(image));
}

void chain_alive(struct image *image)
{
	chain(image, 0)[0] = image_at(image, counted(image));
}

void chain_plain(struct image *image)
{
	chain(image, 0)[0] = image_at(image, image_find(image, PM_KIND_SLAB, 24));
}

void chain_outside(struct image *image)
{
	chain(image, 0)[0] = image->size + 64;
}

void count_dead(struct image *image)
{
	*image_count(image, counted(image), 0) = DEAD;
}

void chain_circle(struct image *image)
{
	uint64_t at = image_at(image, counted(image));

	*image_count(image, counted(image), 0) = DEAD | at / 8;
	chain(image, 0)[0] = at;
}

void count_side(struct image *image)
{
	image_desc(image, counted(image))->side += 8;
}

void count_type(struct image *image)
{
	image_desc(image, counted(image))->type = 1;
}
