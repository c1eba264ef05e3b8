/*
 * gc.c - pheap_gc(): stop, mark, let go on, report, sweep. See gc.h.
 */
#include "gc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "cancel.h"
#include "tx/lane.h"
#include "types.h"

#define FLAGS (PHEAP_GC_DRY_RUN | PHEAP_GC_CONSERVATIVE | PHEAP_GC_LEAVES)

/* What a collection is about. */
struct collection {
	struct pheap *heap;
	struct ph_gc *gc;
	struct ph_tcache *cache;
	struct pheap_gc_options options;
	struct pheap_gc_report report;
	struct ph_mark_type types[PM_TYPES];
	struct ph_marker *marker;
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- marking ------------------------------------------------------------------------ */

/* Objects without a type, but for those that describe types. */
static uint64_t untyped_objects(const struct collection *c)
{
	const struct ph_types *types = c->heap->types;
	struct ph_mark_span span;
	uint64_t n = 0;

	for (uint32_t g = 0; ph_mark_next_span(c->marker, g, &span); g = span.granule + 1)
		for (uint32_t i = 0; !span.type && i * 64 < span.objects; i++)
			n += (uint64_t)__builtin_popcountll(ph_mark_white(c->marker, &span, i));
	return n - (types ? __atomic_load_n(&types->n, __ATOMIC_ACQUIRE) : 0);
}

static int make_marker(struct collection *c)
{
	struct ph_mark_setup setup = {
		.base = c->heap->view.base,
		.zone = c->heap->zone.pm,
		.types = c->types,
		.ntypes = PM_TYPES,
		.threads = c->options.threads,
		.progress = c->options.progress,
		.arg = c->options.arg,
	};
	uint64_t untyped;
	int err;

	ph_mark_types(c->heap->types, c->types);
	if (c->options.flags & PHEAP_GC_CONSERVATIVE)
		setup.flags |= PH_MARK_UNTYPED;
	if (c->options.flags & PHEAP_GC_DRY_RUN)
		setup.flags |= PH_MARK_CHECK;
	err = ph_marker_make(&setup, &c->marker);
	if (err || c->options.flags & (PHEAP_GC_CONSERVATIVE | PHEAP_GC_LEAVES))
		return err;
	untyped = untyped_objects(c);
	if (!untyped)
		return 0;
	return ph_error(EINVAL,
			"pheap_gc: %llu published objects have no type: say what they hold, by "
			"PHEAP_GC_CONSERVATIVE (what looks like a reference is one) or "
			"PHEAP_GC_LEAVES (no references)",
			(unsigned long long)untyped);
}

/* While threads are stopped. */
static int mark(struct collection *c)
{
	int err = make_marker(c);

	if (err)
		return err;
	ph_gc_roots(c->heap, c->gc, c->marker);
	return ph_mark_run(c->marker);
}

static int stop_and_mark(struct collection *c)
{
	uint64_t begin, marked;
	int err;

	ph_gc_stop(c->heap, c->gc, c->cache);
	begin = now();
	err = mark(c);
	marked = now();
	ph_gc_go_on(c->heap, c->gc);
	c->report.mark_ns = marked - begin;
	c->report.stop_ns = now() - begin;
	return err;
}

/* ---- the report ---------------------------------------------------------------------- */

/* Garbage by type and size; a few hundred lines at most. */
struct lines {
	struct pheap_garbage *line;
	uint32_t *type;
	uint32_t n, room;
};

static bool grow(struct lines *lines)
{
	uint32_t room = lines->room ? 2 * lines->room : 64;
	struct pheap_garbage *line = realloc(lines->line, room * sizeof(*line));
	uint32_t *type;

	if (!line)
		return false;
	lines->line = line;
	type = realloc(lines->type, room * sizeof(*type));
	if (!type)
		return false;
	lines->type = type;
	lines->room = room;
	return true;
}

/* The line for objects of a span; NULL: no memory. Spans of a size often come together. */
static struct pheap_garbage *line_of(struct collection *c, struct lines *lines,
				     const struct ph_mark_span *span)
{
	struct pheap_garbage *line;

	for (uint32_t i = lines->n; i--;)
		if (lines->type[i] == span->type && lines->line[i].size == span->size)
			return &lines->line[i];
	if (lines->n == lines->room && !grow(lines))
		return NULL;
	line = &lines->line[lines->n];
	memset(line, 0, sizeof(*line));
	line->size = span->size;
	line->type = (struct pheap_type *)(uintptr_t)ph_type(c->heap, span->type);
	lines->type[lines->n++] = span->type;
	return line;
}

static int add_span(struct collection *c, struct lines *lines, const struct ph_mark_span *span)
{
	struct pheap_garbage *line = NULL;

	for (uint32_t i = 0; i * 64 < span->objects; i++) {
		uint64_t word = ph_mark_white(c->marker, span, i);
		uint64_t n = (uint64_t)__builtin_popcountll(word);

		if (!n)
			continue;
		c->report.garbage += n;
		c->report.garbage_bytes += n * span->size;
		if (!c->options.garbage)
			continue;
		if (!line && !(line = line_of(c, lines, span)))
			return ph_error(ENOMEM, "pheap_gc: no memory for a report");
		line->objects += n;
		if (!line->example)
			line->example = span->start +
					(i * 64 + (uint64_t)__builtin_ctzll(word)) * span->size;
	}
	return 0;
}

static int report_garbage(struct collection *c)
{
	struct lines lines = {0};
	struct ph_mark_span span;
	int err = 0;

	for (uint32_t g = 0; !err && ph_mark_next_span(c->marker, g, &span); g = span.granule + 1)
		err = add_span(c, &lines, &span);
	for (uint32_t i = 0; !err && i < lines.n; i++)
		c->options.garbage(c->options.arg, &lines.line[i]);
	free(lines.line);
	free(lines.type);
	return err;
}

static void fill_report(struct collection *c)
{
	struct ph_mark_counts counts;

	ph_mark_get_counts(c->marker, &counts);
	c->report.objects = counts.objects;
	c->report.live = counts.marked;
	c->report.dangling = counts.dangling;
	c->report.dram = counts.dram;
	c->report.threads = counts.threads;
}

/* ---- pheap_gc --------------------------------------------------------------------------- */

static int collect(struct collection *c)
{
	uint64_t begin;
	int err;

	ph_gc_begin(c->gc, c->cache);
	err = ph_zone_back_taken(c->heap);
	if (!err)
		err = stop_and_mark(c);
	if (!err)
		fill_report(c);
	if (!err)
		err = report_garbage(c);
	begin = now();
	if (!err && !(c->options.flags & PHEAP_GC_DRY_RUN))
		err = ph_gc_sweep(c->heap, c->marker, &c->report);
	c->report.sweep_ns = now() - begin;
	ph_marker_free(c->marker);
	ph_gc_end(c->gc);
	return err;
}

static int check_options(struct pheap *heap, const struct pheap_gc_options *options,
			 const struct pheap_gc_report *report)
{
	bool dry = options && options->flags & PHEAP_GC_DRY_RUN;
	int err = dry ? ph_heap_usable(heap, "pheap_gc") : ph_heap_writable(heap, "pheap_gc");

	if (err)
		return err;
	if (options && options->struct_size != sizeof(*options))
		return ph_error(EINVAL,
				"pheap_gc: struct_size is not sizeof(struct pheap_gc_options)");
	if (report && report->struct_size != sizeof(*report))
		return ph_error(EINVAL,
				"pheap_gc: struct_size is not sizeof(struct pheap_gc_report)");
	if (options && options->flags & ~(unsigned)FLAGS)
		return ph_error(EINVAL, "pheap_gc: unknown flags %#x", options->flags);
	if (heap->durability == PHEAP_VOLATILE)
		return ph_error(ENOTSUP, "pheap_gc: a volatile heap keeps no types");
	if (heap->traced)
		return ph_error(ENOTSUP, "pheap_gc: what a traced heap has handed out is found by "
					 "its recovery only");
	return 0;
}

/* Staged writes of a transaction are looked at if its thread had joined. */
static int check_thread(const struct ph_tcache *cache)
{
	if (cache->joined == PH_IDLE)
		return ph_error(EINVAL, "pheap_gc: the thread is idle");
	if (!cache->joined && cache->count.begun != cache->count.ended)
		return ph_error(EINVAL, "pheap_gc: the thread has open transactions, and had not "
					"joined before it began them");
	return 0;
}

PHEAP_API int pheap_gc(pheap_t *heap, const struct pheap_gc_options *options,
		       struct pheap_gc_report *report)
{
	int err = check_options(heap, options, report);
	struct collection *c;
	PH_NO_CANCEL;

	if (err)
		return err;
	c = calloc(1, sizeof(*c));
	if (!c)
		return ph_error(ENOMEM, "pheap_gc: no memory");
	c->heap = heap;
	c->cache = ph_tcache_get(heap);
	c->gc = c->cache ? ph_gc_of(heap) : NULL;
	if (options)
		c->options = *options;
	c->report.struct_size = sizeof(c->report);
	err = c->gc ? check_thread(c->cache) : -ENOMEM;
	if (!err)
		err = collect(c);
	if (!err && report)
		*report = c->report;
	free(c);
	return err;
}
