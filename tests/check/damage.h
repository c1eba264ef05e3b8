/*
 * damage.h - ways in which an image can be damaged, each with the invariant that
 * the checker has to name.
 */
#ifndef DAMAGE_H
#define DAMAGE_H

#include "image.h"

struct damage {
	/* The invariant that must be reported; behind it, others that fall with
	 * it in the image of image_healthy(). */
	const char *invariants;
	const char *what;
	void (*plant)(struct image *image);
};

extern const struct damage damages[];
extern const size_t damages_n;

/* Of types: damage-types.c. */
#define TYPE_DAMAGES(ROW)                                                      \
	ROW("Y1", "entry 0 of the type table", type_zero)                      \
	ROW("Y1", "type behind a gap", type_gap)                               \
	ROW("Y1", "unused type", type_unused)                                  \
	ROW("Y2", "sum of a type", type_sum)                                   \
	ROW("Y3", "descriptor is a free object", type_of_free)                 \
	ROW("Y3", "descriptor inside an object", type_inside)                  \
	ROW("Y3", "descriptor behind the pool", type_outside)                  \
	ROW("Y4", "sum of a descriptor", type_descriptor)                      \
	ROW("Y5", "reserved word of a type", type_reserved)                    \
	ROW("Y5", "flags of a type", type_flags)                               \
	ROW("Y5", "callback and offsets", type_callback)                       \
	ROW("Y5", "size of a type", type_size)                                 \
	ROW("Y5", "references and an odd size", type_odd_size)                 \
	ROW("Y5", "too many references", type_nrefs)                           \
	ROW("Y5", "descriptor of no bytes", type_no_bytes)                     \
	ROW("Y5", "descriptor too long", type_bytes)                           \
	ROW("Y5", "name of a type", type_name)                                 \
	ROW("Y5", "bytes behind the name of a type", type_name_tail)           \
	ROW("Y5", "offset out of the object", type_offset_outside)             \
	ROW("Y5", "offset not aligned", type_offset_odd)                       \
	ROW("Y5", "offsets not in order", type_offset_order)                   \
	ROW("Y5", "weak reference without counts", type_weak)                  \
	ROW("Y6", "two types of one name", type_twice)                         \
	ROW("K1", "count 0 of a published object", count_zero)                 \
	ROW("K1", "dead, drained, and there", count_drained)                   \
	ROW("K1", "count of no object in a bitmap area", count_of_none)        \
	ROW("K2", "reserved bytes beside the head of a chain", chain_reserved) \
	ROW("K2", "reserved bytes behind the heads of chains", chain_page)     \
	ROW("K2", "chain with an object that is alive", chain_alive)           \
	ROW("K2", "chain with an object without counts", chain_plain)          \
	ROW("K2", "chain out of the pool", chain_outside)                      \
	ROW("K3", "dead, and in no chain", count_dead)                         \
	ROW("K3", "chain that is a circle", chain_circle)                      \
	ROW("D2 L1", "counts elsewhere", count_side)                           \
	ROW("D2 L1", "counts of a type without", count_type)

#define DECLARE(id, what, plant) void plant(struct image *image);
TYPE_DAMAGES(DECLARE)
#undef DECLARE

#endif
