/*
 * damage.c - the table of damages. Each is planted in an image that is healthy
 * otherwise, with sums mended where the damage is not about them, and finds its
 * place by what is there: it works on images that the library made as well.
 */
#include "damage.h"

#include <string.h>

#include "alloc/class.h"
#include "sum.h"

#define ELEMENTS(a) (sizeof(a) / sizeof(*(a)))

/* ---- superblock and state ------------------------------------------------------ */

static void magic(struct image *image)
{
	image_super(image, 1)->magic ^= 1;
}

static void creating(struct image *image)
{
	image_super(image, 0)->magic = PM_MAGIC_CREATING;
}

static void super_sum(struct image *image)
{
	image_super(image, 0)->uuid[3] ^= 0x10;
}

static void both_sums(struct image *image)
{
	image_super(image, 0)->sum++;
	image_super(image, 1)->sum++;
}

static void format(struct image *image)
{
	image_super(image, 0)->format = image_super(image, 1)->format = 2;
	image_sums(image, 1);
}

static void super_bytes(struct image *image)
{
	image_super(image, 1)->bytes = 256;
	image_sums(image, 1);
}

static void copies_differ(struct image *image)
{
	image_super(image, 1)->created++;
	image_sums(image, 1);
}

static void sequence(struct image *image)
{
	image_super(image, 1)->sequence += 2;
	image_sums(image, 1);
}

static void incompat(struct image *image)
{
	image_super(image, 0)->incompat = image_super(image, 1)->incompat = UINT64_C(1) << 40;
	image_sums(image, 1);
}

static void ro_compat(struct image *image)
{
	image_super(image, 0)->ro_compat = image_super(image, 1)->ro_compat = 1;
	image_sums(image, 1);
}

static void pool_size(struct image *image)
{
	image_super(image, 0)->size += PM_GRANULE;
	image_super(image, 1)->size += PM_GRANULE;
	image_sums(image, 1);
}

static void no_zones(struct image *image)
{
	image_super(image, 0)->zones = image_super(image, 1)->zones = 0;
	image_sums(image, 1);
}

static void many_zones(struct image *image)
{
	image_super(image, 0)->zones = image_super(image, 1)->zones = PM_ZONES_MAX + 1;
	image_sums(image, 1);
}

static void layout(struct image *image)
{
	memset(image_super(image, 0)->layout, 'x', 64);
	memset(image_super(image, 1)->layout, 'x', 64);
	image_sums(image, 1);
}

static void layout_tail(struct image *image)
{
	image_super(image, 0)->layout[63] = image_super(image, 1)->layout[63] = 'x';
	image_super(image, 0)->layout[62] = image_super(image, 1)->layout[62] = 0;
	image_super(image, 0)->layout[60] = image_super(image, 1)->layout[60] = 0;
	image_sums(image, 1);
}

static void super_reserved(struct image *image)
{
	image_super(image, 0)->reserved[43] = image_super(image, 1)->reserved[43] = 1;
	image_sums(image, 1);
}

static void super_page(struct image *image)
{
	image->base[PM_SUPER_B + PM_PAGE - 1] = 1;
}

static void status_zero(struct image *image)
{
	image_state(image)->status = 0;
}

static void status_unknown(struct image *image)
{
	image_state(image)->status = PM_STATUS_PROCESS + 1;
}

static void state_reserved(struct image *image)
{
	image_state(image)->reserved[2] = 1;
}

static void state_page(struct image *image)
{
	image->base[PM_STATE + PM_LINE] = 1;
}

static void settled(struct image *image)
{
	image_state(image)->settled = ph_seal(77) ^ UINT64_C(1) << 40;
}

static void epoch(struct image *image)
{
	image_state(image)->epoch ^= 1;
}

/* ---- zone table -------------------------------------------------------------------- */

static void zone_sum(struct image *image)
{
	image_zone(image, 0)->sum ^= 1;
}

static void zone_unused(struct image *image)
{
	image_zone(image, 5)->data = PM_GRANULE;
}

static void zone_reserved(struct image *image)
{
	image_zone(image, 0)->reserved[0] = 1;
	image_sums(image, 1);
}

static void zone_granules(struct image *image)
{
	image_zone(image, 0)->granules = 0;
	image_sums(image, 1);
}

static void zone_levels(struct image *image)
{
	image_zone(image, 0)->levels++;
	image_sums(image, 1);
}

static void zone_alignment(struct image *image)
{
	image_zone(image, 0)->desc += PM_LINE;
	image_sums(image, 1);
}

static void zone_data_alignment(struct image *image)
{
	image_zone(image, 0)->data -= PM_PAGE;
	image_sums(image, 1);
}

static void zone_outside(struct image *image)
{
	image_zone(image, 0)->data += PM_GRANULE;
	image_sums(image, 1);
}

static void zone_overflow(struct image *image)
{
	image_zone(image, 0)->bits = ~UINT64_C(0) - PM_PAGE + 1;
	image_sums(image, 1);
}

static void zone_in_fixed_area(struct image *image)
{
	image_zone(image, 0)->tree = PM_ZONE_TABLE;
	image_sums(image, 1);
}

static void zone_areas_overlap(struct image *image)
{
	image_zone(image, 0)->bits = image_zone(image, 0)->desc;
	image_sums(image, 1);
}

static void zone_tree_too_long(struct image *image)
{
	uint64_t pages = image_tree_bytes(image->zone.levels) / PM_PAGE;

	image_zone(image, 0)->tree = image_zone(image, 0)->desc - pages * PM_PAGE;
	image_sums(image, 1);
}

static void zone_twice(struct image *image)
{
	*image_zone(image, 1) = *image_zone(image, 0);
	image_super(image, 0)->zones = image_super(image, 1)->zones = 2;
	image_sums(image, 2);
}

/* ---- roots --------------------------------------------------------------------------- */

static void root_zero_name(struct image *image)
{
	image_roots(image)[0].name[0] = 'x';
}

static void root_name_unterminated(struct image *image)
{
	memset(image_roots(image)[1].name, 'x', sizeof(image_roots(image)[1].name));
}

static void root_name_tail(struct image *image)
{
	image_roots(image)[1].name[47] = 'x';
}

static void root_name_control(struct image *image)
{
	image_roots(image)[1].name[1] = '\n';
}

static void root_name_twice(struct image *image)
{
	image_root(image, 9, image_roots(image)[1].name, 0);
}

static void root_unused(struct image *image)
{
	image_roots(image)[20].name[7] = 'x';
}

static void root_reserved(struct image *image)
{
	image_roots(image)[1].reserved = 1;
}

static void root_interior(struct image *image)
{
	image_roots(image)[0].ref += 8;
}

static void root_unpublished(struct image *image)
{
	uint64_t object = image_roots(image)[0].ref - image_at(image, 0);
	uint32_t granule = (uint32_t)(object / PM_GRANULE);
	uint64_t index = object % PM_GRANULE / image_desc(image, granule)->size;

	image_bits(image, granule)[index / 8] &= (uint8_t) ~(1u << index % 8);
}

static void root_in_free(struct image *image)
{
	image_roots(image)[0].ref = image_at(image, image_find_free(image));
}

static void root_in_lane(struct image *image)
{
	image_roots(image)[0].ref = image_lanes(image)[0];
}

static void root_in_metadata(struct image *image)
{
	image_roots(image)[0].ref = image->zone.desc;
}

static void root_outside(struct image *image)
{
	image_roots(image)[0].ref = image->size;
}

static void root_huge(struct image *image)
{
	image_roots(image)[0].ref = ~UINT64_C(7);
}

static void root_of_free_large(struct image *image)
{
	uint32_t granule = image_find(image, PM_KIND_LARGE, 0);

	image_roots(image)[0].ref = image_at(image, granule);
	image_bits(image, granule)[0] = 0;
}

static void root_in_large(struct image *image)
{
	uint32_t granule = image_find(image, PM_KIND_LARGE, 0);

	image_roots(image)[0].ref = image_at(image, granule + 1);
}

static void root_behind_last(struct image *image)
{
	uint32_t granule = image_find(image, PM_KIND_SLAB, 24);

	image_roots(image)[0].ref = image_at(image, granule) + UINT64_C(2730) * 24;
}

/* ---- lanes ------------------------------------------------------------------------------- */

static void lane_is_slab(struct image *image)
{
	image_lanes(image)[0] = image_at(image, image_find(image, PM_KIND_SLAB, 0));
}

static void lane_inside(struct image *image)
{
	image_lanes(image)[image->lanes - 1] += PM_PAGE;
}

static void lane_nowhere(struct image *image)
{
	image_lanes(image)[image->lanes] = ~UINT64_C(0);
}

static void lane_twice(struct image *image)
{
	image_lanes(image)[image->lanes] = image_lanes(image)[0];
}

static void lane_hole(struct image *image)
{
	image_lanes(image)[image->lanes] = image_lanes(image)[image->lanes - 1];
	image_lanes(image)[image->lanes - 1] = 0;
}

static void lane_forgotten(struct image *image)
{
	image_lanes(image)[image->lanes - 1] = 0;
}

static void undo_ended(struct image *image)
{
	uint64_t block = image_lanes(image)[0];

	memset(image->base + block, 0xff, 8);
}

static void undo_epoch(struct image *image)
{
	image->base[image_lanes(image)[0] + 2 * PM_LINE + offsetof(struct pm_undo_head, epoch)] ^=
		1;
}

static void undo_reserved(struct image *image)
{
	image->base[image_lanes(image)[0] + 3 * PM_LINE + PM_LINE - 1] = 1;
}

static void undo_page(struct image *image)
{
	image->base[image_lanes(image)[0] + PM_LANE_RING - 1] = 1;
}

/* ---- tree ----------------------------------------------------------------------------------- */

/* The deepest node on the path to a granule that is not below a uniform one. */
static uint8_t *deepest(struct image *image, uint32_t granule, uint32_t *depth)
{
	uint8_t *node;

	for (*depth = 0;; ++*depth) {
		uint32_t order = image->zone.levels - *depth;

		node = image_node(image, *depth, granule >> order);
		if (*node == 0 || *node == order + 1)
			return node;
	}
}

static void tree_value(struct image *image)
{
	uint32_t depth;

	*deepest(image, image_find_free(image), &depth) += 1;
}

static void tree_root_value(struct image *image)
{
	*image_node(image, 0, 0) = 0xff;
}

static void tree_mixed(struct image *image)
{
	uint8_t *root = image_node(image, 0, 0);

	*root = (uint8_t)(*root % image->zone.levels + 1);
}

/* A free block of two granules or more, in a line that is not the first. */
static uint8_t *free_block(struct image *image, uint32_t *granule, uint32_t *depth)
{
	for (*granule = image_find_free(image);; ++*granule) {
		uint8_t *node = deepest(image, *granule, depth);

		if (*node > 1 && *depth > (image->zone.levels - 1) % 5 + 1)
			return node;
	}
}

static void tree_buddies_not_merged(struct image *image)
{
	uint32_t granule, depth, order;
	uint8_t *node = free_block(image, &granule, &depth);

	order = image->zone.levels - depth;
	granule = granule >> order << order;
	*node = (uint8_t)order;
	*image_node(image, depth + 1, granule >> (order - 1)) = (uint8_t)order;
	*image_node(image, depth + 1, (granule >> (order - 1)) + 1) = (uint8_t)order;
}

static void tree_padding(struct image *image)
{
	image->taken[image->zone.granules] = 0;
	image_tree(image);
}

static void tree_block_beyond(struct image *image)
{
	memset(image->taken + image->zone.granules, 0,
	       (1u << image->zone.levels) - image->zone.granules);
	image_tree(image);
}

static void tree_reserved_first(struct image *image)
{
	image->base[image->zone.tree] = 1;
}

static void tree_reserved_line(struct image *image)
{
	uint32_t granule, depth;
	uint8_t *node = free_block(image, &granule, &depth);

	node[1 - (node - (uint8_t *)image->base) % PM_LINE] = 1;
}

static void tree_leak(struct image *image)
{
	image->taken[image_find_free(image)] = 1;
	image_tree(image);
}

static void tree_all_taken(struct image *image)
{
	*image_node(image, 0, 0) = 0;
}

static void tree_slab_free(struct image *image)
{
	image->taken[image_find(image, PM_KIND_SLAB, 24)] = 0;
	image_tree(image);
}

static void tree_tail_free(struct image *image)
{
	image->taken[image_find(image, PM_KIND_LARGE, 0) + 1] = 0;
	image_tree(image);
}

/* ---- descriptors ------------------------------------------------------------------------------
 */

static struct pm_span *slab(struct image *image, uint64_t size)
{
	return image_desc(image, image_find(image, PM_KIND_SLAB, size));
}

static struct pm_span *large(struct image *image)
{
	return image_desc(image, image_find(image, PM_KIND_LARGE, 0));
}

static void kind(struct image *image)
{
	slab(image, 24)->kind = 7;
}

static void span_flags(struct image *image)
{
	slab(image, 24)->flags = 2;
}

static void span_type(struct image *image)
{
	large(image)->type = 4;
}

static void span_type_huge(struct image *image)
{
	large(image)->type = UINT32_MAX;
}

static void lane_type(struct image *image)
{
	image_desc(image, image_find(image, PM_KIND_LANE, 0))->type = 1;
}

static void span_side(struct image *image)
{
	large(image)->side = PM_PAGE;
}

static void span_reserved(struct image *image)
{
	slab(image, 24)->reserved[3] = 1;
}

static void span_class_of_large(struct image *image)
{
	large(image)->size_class = 3;
}

static void class_unknown(struct image *image)
{
	slab(image, 24)->size_class = PH_CLASSES;
}

static void class_wrong(struct image *image)
{
	slab(image, 24)->size_class++;
}

static void slab_granules(struct image *image)
{
	slab(image, 3328)->granules = 1;
}

static void large_granules(struct image *image)
{
	large(image)->size += PM_GRANULE;
}

static void span_no_granules(struct image *image)
{
	slab(image, 24)->granules = 0;
}

static void span_beyond(struct image *image)
{
	large(image)->granules = image->zone.granules + 1;
}

static void span_overflow(struct image *image)
{
	large(image)->granules = UINT32_MAX;
}

static void span_misaligned(struct image *image)
{
	uint32_t granule = image_find(image, PM_KIND_LARGE, 0);
	struct pm_span span = *image_desc(image, granule);

	memset(image_desc(image, granule), 0, sizeof(span));
	*image_desc(image, granule + 1) = span;
	image_bits(image, granule)[0] = 0;
	image_bits(image, granule + 1)[0] = 1;
	image->taken[granule] = 0;
	memset(image->taken + granule + 1, 1, span.granules);
	image_tree(image);
}

static void slab_size(struct image *image)
{
	slab(image, 24)->size = 32;
}

static void large_size(struct image *image)
{
	large(image)->size -= 8;
}

static void large_no_size(struct image *image)
{
	large(image)->size = 0;
}

static void lane_size(struct image *image)
{
	image_desc(image, image_find(image, PM_KIND_LANE, 0))->size = 1;
}

static void inner_descriptor(struct image *image)
{
	large(image)[1].size = 1;
}

static void spans_overlap(struct image *image)
{
	large(image)[1] = *slab(image, 24);
}

static void free_descriptor(struct image *image)
{
	image_desc(image, image_find_free(image))->granules = 1;
}

/* ---- bitmaps
 * -------------------------------------------------------------------------------------- */

static void bit_beyond(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_SLAB, 24))[2730 / 8] |= 1u << 2730 % 8;
}

static void bit_far_beyond(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_SLAB, 3328))[PM_BITMAP_BYTES - 1] = 0x80;
}

static void bit_in_second_granule(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_SLAB, 3328) + 1)[0] = 1;
}

static void bit_of_large(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_LARGE, 0))[0] |= 2;
}

static void bit_inside_large(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_LARGE, 0) + 1)[0] = 1;
}

static void bit_of_lane(struct image *image)
{
	image_bits(image, image_find(image, PM_KIND_LANE, 0))[511] = 1;
}

static void bit_of_free(struct image *image)
{
	image_bits(image, image_find_free(image))[100] = 1;
}

const struct damage damages[] = {
	{"S1", "magic number of copy B", magic},
	{"S1", "copy A is still being created", creating},
	{"S2", "a byte of copy A", super_sum},
	{"S2", "both checksums", both_sums},
	{"S3", "a later format", format},
	{"S3", "length of copy B", super_bytes},
	{"S4", "copies differ", copies_differ},
	{"S4", "sequences too far apart", sequence},
	{"S5", "unknown incompat feature", incompat},
	{"S5", "unknown ro_compat feature", ro_compat},
	{"S6", "size", pool_size},
	{"S7 Z2 N1 R5 Y3 K2", "no zones", no_zones},
	{"S7 Z2 N1 R5 Y3 K2", "too many zones", many_zones},
	{"S8", "layout not terminated", layout},
	{"S8", "bytes behind the layout", layout_tail},
	{"S9", "reserved word of the superblock", super_reserved},
	{"S9", "last byte of the page of copy B", super_page},
	{"T1", "status 0", status_zero},
	{"T1", "unknown status", status_unknown},
	{"T2", "reserved word of the state line", state_reserved},
	{"T2", "behind the state line", state_page},
	{"T3", "settled stamp", settled},
	{"T4", "epoch", epoch},
	{"Z1 N1 R5 Y3 K2", "checksum of a zone", zone_sum},
	{"Z2", "unused entry of the zone table", zone_unused},
	{"Z2 N1 R5 Y3 K2", "reserved word of a zone", zone_reserved},
	{"Z3 N1 R5 Y3 K2", "zone without granules", zone_granules},
	{"Z3 N1 R5 Y3 K2", "levels", zone_levels},
	{"Z4 N1 R5 Y3 K2", "descriptors not aligned", zone_alignment},
	{"Z4 N1 R5 Y3 K2", "data not aligned", zone_data_alignment},
	{"Z5 N1 R5 Y3 K2", "data end beyond the pool", zone_outside},
	{"Z5 N1 R5 Y3 K2", "end of the bitmaps overflows", zone_overflow},
	{"Z5 N1 R5 Y3 K2", "tree in the fixed area", zone_in_fixed_area},
	{"Z6 N1 R5 Y3 K2", "bitmaps over descriptors", zone_areas_overlap},
	{"Z6 N1 R5 Y3 K2", "tree runs into descriptors", zone_tree_too_long},
	{"Z6 N1 R5 Y3 K2", "two zones in one place", zone_twice},
	{"R1", "root 0 has a name", root_zero_name},
	{"R2", "name not terminated", root_name_unterminated},
	{"R2", "bytes behind a name", root_name_tail},
	{"R2", "control character in a name", root_name_control},
	{"R3", "two roots of one name", root_name_twice},
	{"R4", "unused root", root_unused},
	{"R4", "reserved word of a root", root_reserved},
	{"R5", "reference into an object", root_interior},
	{"R5", "reference to an unpublished object", root_unpublished},
	{"R5", "reference to a free granule", root_in_free},
	{"R5", "reference to a lane", root_in_lane},
	{"R5", "reference to metadata", root_in_metadata},
	{"R5", "reference behind the pool", root_outside},
	{"R5", "huge reference", root_huge},
	{"R5", "reference into a large object", root_in_large},
	{"R5", "reference to a large object that is free", root_of_free_large},
	{"R5", "reference behind the last object", root_behind_last},
	{"N1 N4", "entry for a slab", lane_is_slab},
	{"N1 N4", "entry inside a lane block", lane_inside},
	{"N1", "entry for nothing", lane_nowhere},
	{"N2", "two entries for one lane", lane_twice},
	{"N3 N4", "hole in the lane table", lane_hole},
	{"N4", "lane without an entry", lane_forgotten},
	{"U1", "reserved word of an undo head", undo_reserved},
	{"U3", "end of an undo log", undo_ended},
	{"U2", "behind the undo heads", undo_page},
	{"U4", "epoch of an undo log", undo_epoch},
	{"B1 B2 B5", "value of a free block", tree_value},
	{"B1", "value of the root", tree_root_value},
	{"B2", "value of an inner node", tree_mixed},
	{"B2", "free buddies not merged", tree_buddies_not_merged},
	{"B3", "padding granule is free", tree_padding},
	{"B3", "all padding is free", tree_block_beyond},
	{"B4", "byte 0 of the first tree line", tree_reserved_first},
	{"B4", "byte 1 of a tree line", tree_reserved_line},
	{"B5", "a granule leaked", tree_leak},
	{"B5", "everything taken", tree_all_taken},
	{"B6 L2", "a slab's granule is free", tree_slab_free},
	{"B6", "a granule within a span is free", tree_tail_free},
	{"D1", "unknown kind", kind},
	{"D2", "flags", span_flags},
	{"D2", "type of a lane", lane_type},
	{"D9", "unknown type", span_type},
	{"D9", "type far beyond the table", span_type_huge},
	{"D2", "side metadata", span_side},
	{"D2", "reserved word of a descriptor", span_reserved},
	{"D2", "class of a large object", span_class_of_large},
	{"D3", "unknown class", class_unknown},
	{"D7 L1", "another class", class_wrong},
	{"D4 B5", "a slab too short", slab_granules},
	{"D4", "a large object too short", large_granules},
	{"D5", "span of no granules", span_no_granules},
	{"D5 D4 B5", "span runs out of its zone", span_beyond},
	{"D5 D4 B5", "span of 2^32 - 1 granules", span_overflow},
	{"D6 R5", "span not aligned", span_misaligned},
	{"D7", "object size of a slab", slab_size},
	{"D7", "large object of no size", large_no_size},
	{"D7", "large object of no whole granules", large_size},
	{"D7", "size of a lane", lane_size},
	{"D8", "descriptor inside a span", inner_descriptor},
	{"D8", "spans overlap", spans_overlap},
	{"D8", "descriptor of a free granule", free_descriptor},
#define ROW(id, what, plant) {id, what, plant},
	TYPE_DAMAGES(ROW)
#undef ROW
		{"L1", "first bit beyond the last object", bit_beyond},
	{"L1", "last bit of a bitmap", bit_far_beyond},
	{"L2", "bit of a slab's second granule", bit_in_second_granule},
	{"L1", "second bit of a large object", bit_of_large},
	{"L2", "bit inside a large object", bit_inside_large},
	{"L2", "bit of a lane", bit_of_lane},
	{"L2", "bit of a free granule", bit_of_free},
};
const size_t damages_n = ELEMENTS(damages);
