/*
 * image.c - the image writer. Nothing of the library is used but layout.h, the
 * checksum and the table of size classes.
 */
#include "image.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/class.h"
#include "sum.h"

static uint64_t up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* ---- memory ------------------------------------------------------------------ */

void image_map(struct image *image, uint64_t size)
{
	uint64_t whole = up(size, PM_PAGE);
	char *map = mmap(NULL, whole + 2 * PM_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		abort();
	mprotect(map, PM_PAGE, PROT_NONE);
	mprotect(map + PM_PAGE + whole, PM_PAGE, PROT_NONE);
	memset(image, 0, sizeof(*image));
	image->size = size;
	image->base = map + PM_PAGE + whole - size;
}

void image_unmap(struct image *image)
{
	uint64_t whole = up(image->size, PM_PAGE);

	munmap(image->base + image->size - whole - PM_PAGE, whole + 2 * PM_PAGE);
	free(image->taken);
}

/* ---- places -------------------------------------------------------------------- */

struct pm_super *image_super(struct image *image, unsigned copy)
{
	return (void *)(image->base + (copy ? PM_SUPER_B : PM_SUPER_A));
}

struct pm_state *image_state(struct image *image)
{
	return (void *)(image->base + PM_STATE);
}

struct pm_zone *image_zone(struct image *image, uint32_t number)
{
	return (struct pm_zone *)(void *)(image->base + PM_ZONE_TABLE) + number;
}

struct pm_root *image_roots(struct image *image)
{
	return (void *)(image->base + PM_ROOTS);
}

uint64_t *image_lanes(struct image *image)
{
	return (void *)(image->base + PM_LANE_TABLE);
}

struct pm_span *image_desc(struct image *image, uint32_t granule)
{
	return (struct pm_span *)(void *)(image->base + image->zone.desc) + granule;
}

uint8_t *image_bits(struct image *image, uint32_t granule)
{
	return (uint8_t *)image->base + image->zone.bits + (uint64_t)granule * PM_BITMAP_BYTES;
}

uint64_t image_at(struct image *image, uint32_t granule)
{
	return image->zone.data + (uint64_t)granule * PM_GRANULE;
}

/* Depth of the parents in the row that holds the nodes at a depth, and the number
 * of lines in the rows before it. */
static void find_row(uint32_t levels, uint32_t depth, uint32_t *parents, uint64_t *lines)
{
	uint32_t first = (levels - 1) % 5 + 1;

	*parents = 0;
	*lines = 0;
	if (depth <= first)
		return;
	*lines = 1;
	*parents = first;
	for (; *parents + 5 < depth; *parents += 5)
		*lines += UINT64_C(1) << *parents;
}

uint64_t image_tree_bytes(uint32_t levels)
{
	uint32_t parents;
	uint64_t lines;

	find_row(levels, levels, &parents, &lines);
	return (lines + (UINT64_C(1) << parents)) * PM_LINE;
}

uint8_t *image_node(struct image *image, uint32_t depth, uint32_t index)
{
	uint32_t parents, below;
	uint64_t lines;

	find_row(image->zone.levels, depth, &parents, &lines);
	below = depth - parents;
	lines += index / (1u << below);
	return (uint8_t *)image->base + image->zone.tree + lines * PM_LINE + (1u << below) +
	       index % (1u << below);
}

uint32_t image_find(struct image *image, unsigned kind, uint64_t size)
{
	for (uint32_t i = 0; i < image->zone.granules; i++) {
		const struct pm_span *span = image_desc(image, i);

		if (span->kind == kind && (!size || span->size == size))
			return i;
	}
	abort();
}

uint32_t image_find_free(struct image *image)
{
	for (uint32_t i = 1; i < image->zone.granules; i++)
		if (i % 64 && !image->taken[i] && image->taken[i - 1])
			return i;
	abort();
}

/* ---- superblock and zone ----------------------------------------------------------- */

void image_sums(struct image *image, uint32_t n)
{
	for (unsigned copy = 0; copy < 2; copy++) {
		struct pm_super *super = image_super(image, copy);
		uint64_t word[64];

		memcpy(word, super, sizeof(word));
		super->sum = ph_sum(PM_SUM_KEY, copy ? PM_SUPER_B : PM_SUPER_A, word + 2, 62);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct pm_zone *zone = image_zone(image, i);
		uint64_t word[8];

		memcpy(word, zone, sizeof(word));
		zone->sum = ph_sum(PM_SUM_KEY, PM_ZONE_TABLE + i * sizeof(*zone), word, 7);
	}
}

/* The most granules for which everything fits. */
static struct pm_zone lay_out(uint64_t size)
{
	struct pm_zone zone = {.tree = PM_FIXED_END};
	uint64_t n = (size - PM_FIXED_END) / PM_GRANULE;

	if (n > PM_ZONE_GRANULES_MAX)
		n = PM_ZONE_GRANULES_MAX;
	for (; n; n--) {
		uint32_t levels = 1;

		while (UINT64_C(1) << levels < n)
			levels++;
		zone.granules = (uint32_t)n;
		zone.levels = levels;
		zone.desc = up(zone.tree + image_tree_bytes(levels), PM_PAGE);
		zone.bits = up(zone.desc + n * sizeof(struct pm_span), PM_PAGE);
		zone.data = up(zone.bits + n * PM_BITMAP_BYTES, PM_GRANULE);
		if (zone.data + n * PM_GRANULE <= size)
			break;
	}
	return zone;
}

static void note_padding(struct image *image)
{
	uint32_t n = 1u << image->zone.levels;

	free(image->taken);
	image->taken = calloc(1, n);
	memset(image->taken + image->zone.granules, 1, n - image->zone.granules);
}

void image_format(struct image *image, const char *layout)
{
	struct pm_super super = {.magic = PM_MAGIC, .format = PM_FORMAT, .bytes = sizeof(super)};

	super.sequence = 7;
	memset(super.uuid, 0xa5, sizeof(super.uuid));
	super.size = image->size;
	super.zones = 1;
	super.created = 1700000000;
	strncpy(super.layout, layout, sizeof(super.layout) - 1);
	*image_super(image, 0) = *image_super(image, 1) = super;
	*image_state(image) =
		(struct pm_state){.epoch = ph_seal(0x1234), .status = PM_STATUS_CLEAN};
	image->zone = *image_zone(image, 0) = lay_out(image->size);
	image_sums(image, 1);
	note_padding(image);
	image_tree(image);
}

void image_adopt(struct image *image, uint32_t number)
{
	const uint64_t *lanes = image_lanes(image);

	image->zone = *image_zone(image, number);
	note_padding(image);
	for (uint32_t i = 0; i < image->zone.granules; i++)
		if (image_desc(image, i)->kind != PM_KIND_NONE)
			memset(image->taken + i, 1, image_desc(image, i)->granules);
	image->lanes = 0;
	while (lanes[image->lanes])
		image->lanes++;
}

/* ---- tree ------------------------------------------------------------------------------ */

void image_tree_junk(struct image *image, uint8_t junk)
{
	for (uint32_t depth = 1; depth <= image->zone.levels; depth++)
		for (uint32_t i = 0; i < 1u << depth; i++)
			*image_node(image, depth, i) = junk;
}

/* A node, and its children unless it is uniform: they have no meaning then. */
static void write_node(struct image *image, const uint8_t *value, uint32_t depth, uint32_t index)
{
	uint8_t v = value[1u << depth | index];

	*image_node(image, depth, index) = v;
	if (v == 0 || v == image->zone.levels - depth + 1)
		return;
	write_node(image, value, depth + 1, 2 * index);
	write_node(image, value, depth + 1, 2 * index + 1);
}

void image_tree(struct image *image)
{
	uint32_t leaves = 1u << image->zone.levels;
	uint8_t *value = malloc(2 * (size_t)leaves); /* node i of the binary heap */
	uint8_t whole = 1;			     /* value of a free child */

	for (uint32_t i = 0; i < leaves; i++)
		value[leaves + i] = !image->taken[i];
	for (uint32_t row = leaves / 2; row; row /= 2, whole++)
		for (uint32_t i = row; i < 2 * row; i++) {
			uint8_t left = value[2 * i], right = value[2 * i + 1];

			if (left == whole && right == whole)
				value[i] = (uint8_t)(whole + 1);
			else
				value[i] = left > right ? left : right;
		}
	write_node(image, value, 0, 0);
	free(value);
}

/* ---- spans ------------------------------------------------------------------------------- */

static void take(struct image *image, uint32_t granule, struct pm_span span)
{
	*image_desc(image, granule) = span;
	memset(image->taken + granule, 1, span.granules);
}

void image_slab(struct image *image, uint32_t granule, size_t size, uint32_t published)
{
	unsigned class = size <= PH_SMALL_MAX ? ph_class_of(size) : ph_medium_class(size);

	take(image, granule,
	     (struct pm_span){.kind = PM_KIND_SLAB,
			      .size_class = (uint8_t) class,
			      .granules = ph_classes[class].granules,
			      .size = ph_classes[class].size});
	for (uint32_t i = 0; i < published; i++)
		image_bits(image, granule)[i / 8] |= (uint8_t)(1u << i % 8);
}

void image_large(struct image *image, uint32_t granule, uint64_t size)
{
	take(image, granule,
	     (struct pm_span){.kind = PM_KIND_LARGE,
			      .granules = (uint32_t)(up(size, PM_GRANULE) / PM_GRANULE),
			      .size = up(size, PM_GRANULE)});
	image_bits(image, granule)[0] = 1;
}

void image_lane(struct image *image, uint32_t granule)
{
	take(image, granule,
	     (struct pm_span){.kind = PM_KIND_LANE, .granules = 1, .size = PM_GRANULE});
	image_lanes(image)[image->lanes++] = image_at(image, granule);
}

void image_root(struct image *image, uint32_t number, const char *name, uint64_t ref)
{
	struct pm_root *root = &image_roots(image)[number];

	if (name)
		strncpy(root->name, name, sizeof(root->name) - 1);
	root->ref = ref;
}

struct pm_type *image_types(struct image *image)
{
	return (struct pm_type *)(void *)(image->base + PM_TYPE_TABLE);
}

void image_type_sums(struct image *image, uint32_t id)
{
	struct pm_type *type = image_types(image) + id;
	uint64_t word[8];

	if (type->ref < image->size && type->bytes >= 16 && type->bytes <= 4200 &&
	    type->bytes % 8 == 0) {
		uint64_t *descriptor = (uint64_t *)(void *)(image->base + type->ref);

		descriptor[0] = ph_sum(PM_SUM_KEY, type->ref, descriptor + 1, type->bytes / 8 - 1);
	}
	memcpy(word, type, sizeof(word));
	type->sum = ph_sum(PM_SUM_KEY, PM_TYPE_TABLE + id * sizeof(*type), word, 7);
}

void image_type(struct image *image, uint32_t id, uint64_t ref, const char *name,
		const struct pm_type *fields, const uint32_t *offsets)
{
	size_t name_bytes = up(strlen(name) + 1, 8), bytes = up(fields->nrefs * 4, 8);
	struct pm_type *type = image_types(image) + id;
	char *at = image->base + ref;

	memset(at, 0, 8 + name_bytes + bytes);
	strcpy(at + 8, name);
	if (offsets)
		memcpy(at + 8 + name_bytes, offsets, fields->nrefs * 4);
	*type = *fields;
	type->ref = ref;
	type->bytes = (uint32_t)(8 + name_bytes + bytes);
	image_type_sums(image, id);
}

static uint32_t counted_objects(const struct pm_span *span)
{
	uint64_t n = span->kind == PM_KIND_LARGE ? 1 : ph_classes[span->size_class].objects;

	while (n > 56 && n * span->size + up(8 * n, 64) > PM_GRANULE)
		n--;
	return (uint32_t)n;
}

void image_counted(struct image *image, uint32_t granule, uint32_t type)
{
	struct pm_span *span = image_desc(image, granule);
	uint32_t n = counted_objects(span);

	span->flags = 1;
	span->type = type;
	span->side = n <= 56 ? image->zone.bits + (uint64_t)granule * PM_BITMAP_BYTES + 64
			     : image_at(image, granule) + PM_GRANULE - up(8 * (uint64_t)n, 64);
	for (uint32_t i = 0; i < n; i++)
		if (image_bits(image, granule)[i / 8] >> i % 8 & 1)
			*image_count(image, granule, i) = 1;
}

uint64_t *image_count(struct image *image, uint32_t granule, uint32_t object)
{
	uint64_t side = image_desc(image, granule)->side;

	return (uint64_t *)(void *)(image->base + side) + object;
}

/* Objects alive and shared, dead and in a chain, dead and left by it; counts in a slab and
 * in a bitmap area. */
static void fill_counted(struct image *image)
{
	image_slab(image, 48, 48, 3);
	image_counted(image, 48, 2);
	*image_count(image, 48, 0) = 5 | UINT64_C(2) << 44;
	*image_count(image, 48, 1) = UINT64_C(1) << 63;
	*(uint64_t *)(void *)(image->base + PM_DEAD + 3 * 64) = image_at(image, 48) + 48;
	*image_count(image, 48, 2) =
		UINT64_C(1) << 63 | UINT64_C(1) << 44 | ((UINT64_C(1) << 44) - 1);
	memset(image_count(image, 48, 3), 0x5a, 8); /* not published: anything */
	image_slab(image, 49, 4096, 2);
	image_counted(image, 49, 2);
}

/* A plain one, an array with weak references, and one with a callback; some spans' type. */
static void fill_types(struct image *image)
{
	static const uint32_t plain[] = {0, 16}, weak[] = {8, 16 + 1, 40};
	uint64_t at = image_at(image, 2);

	image_type(image, 1, at + 10 * 64, "node",
		   &(struct pm_type){.size = 24, .version = 1, .nrefs = 2}, plain);
	image_type(image, 2, at + 99 * 64, "list",
		   &(struct pm_type){.size = 48,
				     .version = 7,
				     .nrefs = 3,
				     .flags = PM_TYPE_ARRAY | PM_TYPE_COUNTED},
		   weak);
	image_type(image, 3, at + 11 * 64, "a name of 40 bytes, hence no padding...",
		   &(struct pm_type){.size = 5, .flags = PM_TYPE_CALLBACK}, NULL);
	image_desc(image, 41)->type = 1;
	image_desc(image, 64)->type = 3;
}

void image_fill(struct image *image)
{
	uint32_t last;

	image_format(image, "test");
	last = image->zone.granules - 1;

	image_lane(image, 0);
	image_slab(image, 1, 16, 4096);	  /* every object */
	image_slab(image, 2, 64, 100);	  /* some */
	image_slab(image, 3, 32, 0);	  /* none: kept for reuse */
	image_slab(image, 4, 3328, 39);	  /* two granules */
	image_slab(image, 16, 61440, 16); /* fifteen */
	image_large(image, 32, 200000);	  /* four */
	image_lane(image, 40);
	image_slab(image, 41, 24, 2730); /* ends within a word of its bitmap */
	image_slab(image, 44, 98304, 1); /* two objects in three */
	image_large(image, 64, 21 * PM_GRANULE - 100);
	image_slab(image, last, 65536, 1);
	fill_types(image);
	fill_counted(image);
	/* Undo logs have been in use, and rings are never cleared. */
	*(uint64_t *)(void *)(image->base + image_at(image, 40)) = ph_seal(3);
	memset(image->base + image_at(image, 40) + PM_LANE_RING, 0x5a, 1000);
	memset(image->base + image_at(image, 2), 0xff, 64);

	image_root(image, 0, NULL, image_at(image, 2) + 5 * 64);
	image_root(image, 1, "index", image_at(image, 32));
	image_root(image, 2, "queue", 0);
	image_root(image, 3, "second granule", image_at(image, 4) + 30 * 3328);
	image_root(image, 7, "fifteenth granule", image_at(image, 16) + 15 * 61440);
	image_root(image, 63, "last", image_at(image, last));
	if (image->zone.levels <= 10)
		image_tree_junk(image, 0x77);
	image_tree(image);
}

void image_healthy(struct image *image, uint64_t size)
{
	image_map(image, size);
	image_fill(image);
}
