/*
 * targets.c - the ranges that replay and rollback write: where they may be, blocks
 * for them, and their way to media. See recovery.h.
 */
#include "recovery.h"

#include "memory.h"

/* Was a number added before? It may have been forgotten since. None is 0. */
static bool seen(struct ph_seen *set, uint64_t number)
{
	uint64_t *slot = &set->slot[number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - PH_SEEN_BITS)];
	bool known = *slot == number;

	*slot = number;
	return known;
}

/* ---- blocks ----------------------------------------------------------------------- */

/* What one fault on a cached file maps by default, of what is there: a load maps the
 * neighbours too, a store its own page only. It pays from some pages on. */
#define FAULT_AROUND 65536u
#define FAULT_AROUND_FROM 16384u

static int back_run(struct ph_recovery *r)
{
	int err = r->run.lo < r->run.hi ? ph_memory_back(r->file, r->run.lo, r->run.hi - r->run.lo)
					: 0;

	if (err == -ENOSPC)
		return ph_error(ENOSPC, "the file system below the pool is full, and the file has "
					"holes where recovery writes, as a sparse copy has: make "
					"room and open it again; nothing was written to it");
	if (!err && r->run.hi - r->run.lo >= FAULT_AROUND_FROM)
		for (uint64_t at = r->run.lo; at < r->run.hi; at = (at | (FAULT_AROUND - 1)) + 1)
			(void)*(volatile const char *)(r->base + at);
	r->run.lo = r->run.hi = 0;
	return err;
}

int ph_back(struct ph_recovery *r, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / PM_PAGE, last = (offset + length - 1) / PM_PAGE;
	int err = 0;

	if (!r->file)
		return 0;
	for (uint64_t page = first; page <= last && !err; page++) {
		if (seen(&r->pages, page))
			continue;
		if (page * PM_PAGE != r->run.hi) {
			err = back_run(r);
			r->run.lo = page * PM_PAGE;
		}
		r->run.hi = (page + 1) * PM_PAGE;
	}
	return err;
}

int ph_back_end(struct ph_recovery *r)
{
	return back_run(r);
}

/* ---- flushes --------------------------------------------------------------------------- */

static void flush_run(struct ph_recovery *r)
{
	ph_flush(r->pm, r->count, r->base + r->run.lo, r->run.hi - r->run.lo);
	r->run.lo = r->run.hi = 0;
}

/* All has been stored: a line, or with msync a page, that was flushed need not be
 * again, which costs ten times as much as the first time. */
void ph_flush_target(struct ph_recovery *r, uint64_t offset, uint64_t length)
{
	uint64_t unit = r->pm->pages ? PM_PAGE : PM_LINE;

	for (uint64_t i = offset / unit; i <= (offset + length - 1) / unit; i++) {
		if (seen(&r->lines, i))
			continue;
		if (i * unit != r->run.hi) {
			flush_run(r);
			r->run.lo = i * unit;
		}
		r->run.hi = (i + 1) * unit;
	}
}

void ph_flush_end(struct ph_recovery *r)
{
	flush_run(r);
	memset(&r->lines, 0, sizeof(r->lines));
}

/* ---- lane blocks ----------------------------------------------------------------------- */

struct ph_found_lane *ph_lane_over(const struct ph_recovery *r, uint64_t offset, uint64_t length)
{
	uint64_t granule = offset / PM_GRANULE;
	uint32_t low = 0, high = r->nlanes;

	if (granule == (offset + length - 1) / PM_GRANULE &&
	    !(r->lane_bits[granule % 4096 / 64] >> granule % 64 & 1))
		return NULL;
	while (low < high) { /* the first that ends behind offset */
		uint32_t middle = (low + high) / 2;

		if (r->lanes[middle].block + PM_GRANULE <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->nlanes || r->lanes[low].block >= offset + length)
		return NULL;
	return &r->lanes[low];
}
