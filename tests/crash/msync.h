/*
 * msync.h - the simulator's hook for a mapping that msync writes back (P5).
 *
 * Stores are in the page cache: pending until a write-back, which the kernel may begin at
 * any time, so P1 holds. A flush, and a copy, is stores and then an msync of the pages:
 * it waits itself, and all of these pages is durable behind it, neighbours included. A
 * crash in the middle of it leaves any of their 512-byte sectors old, others new, and the
 * same for every other page that has pending stores: image.h builds that where
 * sim->pages is set. A fence does nothing.
 *
 * Every write-back is a fence to who counts and explores them.
 */
#ifndef CRASH_MSYNC_H
#define CRASH_MSYNC_H

#include "sim.h"

extern const struct ph_hook msync_hook; /* its argument is the sim */

#endif
