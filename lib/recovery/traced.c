/*
 * traced.c - recovery of traced pools. See traced.h.
 */
#include "traced.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "file.h"
#include "memory.h"
#include "reclaim/mark.h"
#include "replay.h"
#include "types.h"

static const struct pm_zone *zone_of(const char *base)
{
	return (const struct pm_zone *)(const void *)(base + PM_ZONE_TABLE);
}

/* ---- types --------------------------------------------------------------------------- */

/*
 * No program has given a callback yet: what needs one is taken word by word. False: there
 * are such types. Then a word that was no reference may lead to what was free, whose slots
 * hold what they held once, references to what is no object any more: that is no damage.
 */
static bool mark_types(const struct ph_types *types, struct ph_mark_type *to)
{
	bool exact = true;

	to[0] = (struct ph_mark_type){.size = 8};
	for (uint32_t id = 1; id < PM_TYPES; id++) {
		const struct pheap_type *type = types->entry[id];

		to[id] = (struct ph_mark_type){.flags = PH_MARK_CONSERVATIVE, .size = 8};
		if (!type || type->flags & PHEAP_TYPE_CALLBACK) {
			exact &= id > types->n;
			continue;
		}
		to[id] = (struct ph_mark_type){
			.refs = type->refs,
			.nrefs = type->nrefs,
			.flags = type->flags & PHEAP_TYPE_ARRAY ? PH_MARK_ARRAY : 0,
			.size = type->size,
		};
	}
	return exact;
}

/* The part of a heap that reading the type table needs. */
static struct pheap *reader_of(char *base, uint64_t size)
{
	struct pheap *reader = calloc(1, sizeof(*reader));
	const struct pm_zone *zone = zone_of(base);

	if (!reader)
		return ph_null(ENOMEM, "no memory for recovery");
	reader->view = (struct pheap_view){.base = base, .size = size};
	reader->readonly = true;
	reader->file.fd = -1;
	reader->zone.pm = zone;
	reader->zone.data = zone->data;
	reader->zone.granules = zone->granules;
	reader->zone.bytes = (uint64_t)zone->granules * PM_GRANULE;
	return reader;
}

/* ---- reach ------------------------------------------------------------------------------ */

static int reach(struct pheap *reader, struct ph_marker **marker)
{
	struct ph_mark_type types[PM_TYPES];
	struct ph_mark_setup setup = {
		.base = reader->view.base,
		.zone = reader->zone.pm,
		.types = types,
		.ntypes = PM_TYPES,
		.flags = PH_MARK_PLACES,
	};
	int err;

	if (mark_types(reader->types, types))
		setup.flags |= PH_MARK_STRICT;
	err = ph_marker_make(&setup, marker);
	if (err)
		return err;
	ph_mark_fixed_roots(*marker);
	err = ph_mark_run(*marker);
	if (err) {
		ph_marker_free(*marker);
		*marker = NULL;
	}
	return err;
}

int ph_traced_reach(char *base, uint64_t size, struct ph_marker **marker)
{
	struct pheap *reader = reader_of(base, size);
	int err = reader ? ph_types_attach(reader) : -ENOMEM;

	if (!err)
		err = reach(reader, marker);
	if (reader)
		ph_types_detach(reader);
	free(reader);
	return err;
}

/* ---- bitmaps ------------------------------------------------------------------------------ */

/*
 * Words that are right already, as most are in a pool that was closed not long ago, are
 * not stored; a line that has others is flushed.
 *
 * Which of the two fences of an open makes them durable does not matter, so a flush that
 * comes after the first one is no mistake (mutants.txt: harmless): until a clean close
 * bitmaps mean nothing, and a crash between the fences is recovered from the roots
 * again. By the end of the open they have to be durable: a span that dies then relies on
 * them (C3 in alloc/traced.h), and so does the close.
 */
static void rebuild_span(struct ph_persist *pm, struct ph_count *count, char *base,
			 const struct ph_marker *marker, const struct ph_mark_span *span)
{
	uint64_t *bitmap = (uint64_t *)(void *)(base + span->bits);
	uint32_t n = (span->objects + 63) / 64, dirty = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t word = ph_mark_marked(marker, span, i);

		if (bitmap[i] != word) {
			ph_store64(pm, &bitmap[i], word);
			dirty = 1;
		}
		if (dirty && (i % 8 == 7 || i + 1 == n)) {
			ph_flush(pm, count, &bitmap[i / 8 * 8], (i % 8 + 1) * 8);
			dirty = 0;
		}
	}
}

int ph_traced_rebuild(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
		      char *base, const struct ph_marker *marker)
{
	struct ph_mark_span span;
	int err;

	for (uint32_t g = 0; ph_mark_next_span(marker, g, &span);
	     g = span.granule + span.granules) {
		/* D3, for a sparse copy of the file. */
		if (file && (err = ph_memory_back(file, span.bits, PM_BITMAP_BYTES)))
			return err;
		rebuild_span(pm, count, base, marker, &span);
	}
	return 0;
}

/* ---- recovery ------------------------------------------------------------------------------ */

static int reach_and_rebuild(struct ph_persist *pm, struct ph_count *count, char *base,
			     uint64_t size)
{
	struct ph_marker *marker;
	int err = ph_traced_reach(base, size, &marker);

	if (err)
		return err;
	err = ph_traced_rebuild(pm, count, NULL, base, marker);
	ph_marker_free(marker);
	return err;
}

int ph_traced_settle(char *base, uint64_t size)
{
	struct pm_state *state = (struct pm_state *)(void *)(base + PM_STATE);
	struct ph_persist pm = {.backend = PH_NONE};
	struct ph_count count = {0};
	int err = reach_and_rebuild(&pm, &count, base, size);

	if (!err)
		state->status = PM_STATUS_CLEAN;
	return err;
}

/* Step 1 with the marker, in the copy. */
static int judge(struct ph_file *copy, struct ph_marker **marker)
{
	struct ph_persist pm = {.backend = PH_NONE};
	struct ph_count count = {0};
	int err = ph_recover(&pm, &count, NULL, copy->base, copy->size, NULL);

	return err ? err : ph_traced_reach(copy->base, copy->size, marker);
}

/* What step 1 works in: another mapping, or for memory that is no file a copy of it. */
static int map_copy(struct ph_file *copy, const char *path, const char *base)
{
	if (copy->fd >= 0)
		return ph_file_map(copy, path);
	copy->base = ph_map_lazily(copy->size);
	if (!copy->base)
		return ph_error(ENOMEM, "%s: no memory for recovery", path);
	memcpy(copy->base, base, copy->size);
	return 0;
}

int ph_traced_recover_own(struct ph_persist *pm, struct ph_count *count, char *base, uint64_t size)
{
	int err = ph_recover(pm, count, NULL, base, size, NULL);

	return err ? err : reach_and_rebuild(pm, count, base, size);
}

int ph_traced_recover(struct ph_persist *pm, struct ph_count *count, const struct ph_file *file,
		      const char *path)
{
	struct ph_file copy = {.fd = file->fd, .size = file->size, .readonly = true};
	const struct ph_file *backed = file->fd < 0 ? NULL : file;
	struct ph_marker *marker = NULL;
	int err = map_copy(&copy, path, file->base);

	if (!err)
		err = judge(&copy, &marker);
	if (!err)
		err = ph_recover(pm, count, backed, file->base, file->size, NULL); /* step 2 */
	if (!err)
		err = ph_traced_rebuild(pm, count, backed, file->base, marker);
	if (marker)
		ph_marker_free(marker);
	if (copy.base)
		munmap(copy.base, copy.size);
	return err;
}
