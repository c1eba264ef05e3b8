/*
 * class.h - size classes: which block a size gets, and which slab holds it.
 *
 * Multiples of 8 from 16 to 64, then eight classes per doubling up to 64 KiB,
 * so that at most 12.5 % of a block above 64 bytes is unused. The slab of a
 * class has the fewest granules that leave at most 3 % of it unused behind the
 * last object: 1 to 8, and 15 for 60 KiB, which fits nothing smaller.
 *
 * Above that, four sizes per doubling up to 256 KiB: 80, 96, 112, 160 and 224 KiB in
 * slabs of the fewest whole objects that leave nothing, 2 or 4; 128, 192 and 256 KiB are
 * whole granules, and like all larger objects spans of their own. So at most 20 % of a
 * block is unused up to 320 KiB, 17 % up to 512 KiB, 12.5 % beyond. Finer classes there
 * lose more in slabs that are partly filled than they save in blocks, until a thousand
 * objects of such sizes are live (docs/architecture.md).
 *
 * Part of the media format: a span descriptor stores the class number.
 */
#ifndef PH_CLASS_H
#define PH_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define PH_CLASSES 92u
#define PH_SMALL_CLASSES 87u
#define PH_SMALL_MAX 65536u /* sizes up to this all have a class */

struct ph_class {
	uint32_t size;	   /* bytes of an object */
	uint16_t granules; /* of a slab */
	uint16_t objects;  /* in a slab */
};

extern const struct ph_class ph_classes[PH_CLASSES];

/* The class of sizes up to 1 KiB, by (size + 7) / 8. */
#define PH_TINY_MAX 1024u
extern const uint8_t ph_tiny_class[PH_TINY_MAX / 8 + 1];

/* The class for size bytes, 1 <= size <= PH_SMALL_MAX. */
static inline unsigned ph_class_of(size_t size)
{
	unsigned shift;

	if (size <= PH_TINY_MAX)
		return ph_tiny_class[(size + 7) / 8];
	/* 2^(shift+3) < size <= 2^(shift+4), in eight steps of 2^shift. */
	shift = 63u - (unsigned)__builtin_clzll(size - 1) - 3u;
	return 7 + (shift - 3) * 8 + (unsigned)(((size - 1) >> shift) & 7);
}

/* Objects of a class in a slab with counts beside them (layout.h). */
uint32_t ph_counted_objects(unsigned cls);

/* The class for a larger size; PH_CLASSES where whole granules are no larger. */
unsigned ph_medium_class(size_t size);

#endif
