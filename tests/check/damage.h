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

#endif
