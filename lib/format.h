/*
 * format.h - write the fixed structures of a new pool, and read them back with
 * distrust.
 */
#ifndef PH_FORMAT_H
#define PH_FORMAT_H

#include "heap.h"

struct ph_format_options {
	const char *layout;
	bool traced;
};

/*
 * Make a pool in a mapped file, or in memory, that is all zero. Who calls this opens it
 * then: until that has returned, it is no pool that anything may be kept in.
 *
 * PROTOCOL
 *   1 magic "creating" in superblock A; flush; FENCE: orders it before all else. Open
 *     refuses the pool, create may take it over, as it may while all is zero.
 *   2 superblock B, zone, tree, lanes, tables, state; flush; FENCE: orders them before A
 *   3 superblock A. From its magic number on open accepts the pool, by B while A is
 *     torn. Open makes it durable, as it has to where a create was killed here.
 */
int ph_format(struct ph_persist *pm, struct ph_count *count, struct ph_file *file,
	      const struct ph_format_options *opts);

/*
 * Validate superblocks, state line, zone and lane table; the superblock that
 * counts goes to *super. Never writes. EUCLEAN, EPROTONOSUPPORT.
 */
int ph_format_validate(const char *base, uint64_t size, const char *name, struct pm_super *super,
		       bool readonly);

/* Allocate the blocks of what open reads and writes whatever it finds, and of the
 * first lane: a copy may be sparse. Recovery sees to the rest. */
int ph_format_back(const struct ph_file *file);

/*
 * Flush both superblocks, a damaged or older twin written anew from the one that counts:
 * create may have left A visible only. The caller fences.
 */
void ph_format_mend(struct ph_persist *pm, struct ph_count *count, char *base,
		    const struct pm_super *super);

/* Recover the pool in a private mapping and check all of it: 0 or -EUCLEAN. */
int ph_format_verify(const struct ph_file *file, const char *path);

/* Bytes of the largest object in an empty zone of so many granules. */
uint64_t ph_format_max_object(uint32_t granules);

/* A new epoch: random and sealed. */
uint64_t ph_format_epoch(void);

#endif
