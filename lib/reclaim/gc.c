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
#include "young.h"

/* Old objects may always grow by so many bytes. */
#define OLD_LEAST (UINT64_C(1) << 20)

#define FLAGS (PHEAP_GC_DRY_RUN | PHEAP_GC_CONSERVATIVE | PHEAP_GC_LEAVES | PHEAP_GC_YOUNG)

/* What a collection is about. */
struct collection {
	struct pheap *heap;
	struct ph_gc *gc;
	struct ph_tcache *cache;
	struct pheap_gc_options options;
	struct pheap_gc_report report;
	struct ph_mark_type types[PM_TYPES];
	struct ph_marker *marker;
	bool young;
	uint64_t visited; /* bytes */
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
	if (c->gc->young && !(c->options.flags & PHEAP_GC_DRY_RUN))
		ph_young_forget(c->heap, c->gc->young);
	ph_gc_roots(c->heap, c->gc, c->marker);
	return ph_mark_run(c->marker);
}

static int mark_young(struct collection *c)
{
	if (!ph_young_settle(c->heap, c->gc->young)) {
		ph_mark_reset(c->marker);
		c->young = false;
		c->marker = NULL;
		return mark(c);
	}
	ph_gc_young_roots(c->heap, c->gc, c->marker);
	ph_young_roots(c->gc->young);
	return ph_mark_run(c->marker);
}

static int stop_and_mark(struct collection *c)
{
	uint64_t begin, marked;
	int err;

	ph_gc_stop(c->heap, c->gc, c->cache);
	begin = now();
	err = c->young ? mark_young(c) : mark(c);
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
	c->report.young = c->young;
	c->visited = counts.bytes;
}

/* ---- pheap_gc --------------------------------------------------------------------------- */

/* What the next young collection would look at is more than it should be, or not known. */
static bool look_at_all(const struct collection *c)
{
	const struct ph_young *young = c->gc->young;

	return !(c->options.flags & PHEAP_GC_YOUNG) || young->lost ||
	       young->old_bytes >= young->old_limit;
}

/* Under no lock but that of being the only one that collects. */
static void note_old(struct collection *c)
{
	struct ph_young *young = c->gc->young;

	if (c->young) {
		ph_young_age(young, &c->visited);
	} else if (young) {
		young->old_bytes = c->visited - c->report.garbage_bytes;
		young->old_limit = OLD_LEAST + young->old_bytes / 100 * (100 + young->growth);
	}
}

static void count(struct collection *c)
{
	struct pheap_gc_stats *stats = &c->gc->stats;

	pthread_mutex_lock(&c->gc->lock);
	stats->young += c->young;
	stats->full += !c->young;
	stats->stop_ns += c->report.stop_ns;
	if (c->report.stop_ns > stats->stop_max_ns)
		stats->stop_max_ns = c->report.stop_ns;
	stats->visited_bytes += c->visited;
	stats->freed_bytes += c->report.freed_bytes;
	stats->old_bytes = c->gc->young ? c->gc->young->old_bytes : 0;
	pthread_mutex_unlock(&c->gc->lock);
}

static int free_garbage(struct collection *c)
{
	uint64_t begin = now();
	int err;

	if (c->options.flags & PHEAP_GC_DRY_RUN)
		return 0;
	note_old(c);
	err = ph_gc_sweep(c->heap, c->marker, &c->report);
	c->report.sweep_ns = now() - begin;
	if (!err)
		count(c);
	return err;
}

/* Alone. */
static int begin(struct collection *c)
{
	if (c->options.flags & PHEAP_GC_YOUNG && !c->gc->young)
		return ph_error(EINVAL, "pheap_gc: PHEAP_GC_YOUNG: the heap has no generations");
	c->young = !look_at_all(c);
	if (c->young) {
		c->marker = c->gc->young->marker;
		ph_mark_types(c->heap->types, c->gc->young->types);
		ph_mark_set_types(c->marker, c->gc->young->types, PM_TYPES);
		ph_young_take(c->heap, c->gc->young);
	}
	return ph_zone_back_taken(c->heap);
}

static int collect(struct collection *c)
{
	int err;

	ph_gc_begin(c->gc, c->cache);
	err = begin(c);
	if (!err)
		err = stop_and_mark(c);
	if (!err)
		fill_report(c);
	if (!err)
		err = report_garbage(c);
	if (!err)
		err = free_garbage(c);
	if (c->young)
		ph_mark_reset(c->marker);
	else
		ph_marker_free(c->marker);
	ph_gc_end(c->gc);
	return err;
}

static int check_heap(const struct pheap *heap, const char *what)
{
	if (heap->durability == PHEAP_VOLATILE)
		return ph_error(ENOTSUP, "%s: a volatile heap keeps no types", what);
	if (heap->traced)
		return ph_error(ENOTSUP,
				"%s: what a traced heap has handed out is found by its recovery "
				"only",
				what);
	return 0;
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
	if (dry && options->flags & PHEAP_GC_YOUNG)
		return ph_error(EINVAL, "pheap_gc: a dry run looks at all objects");
	return check_heap(heap, "pheap_gc");
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

/* ---- generations --------------------------------------------------------------------------- */

static struct ph_young *make_young(struct pheap *heap, const struct pheap_gc_generations *g)
{
	struct ph_young *young = calloc(1, sizeof(*young));
	struct ph_mark_setup setup = {
		.base = heap->view.base,
		.zone = heap->zone.pm,
		.ntypes = PM_TYPES,
		.threads = 1,
		.flags = PH_MARK_SOME,
	};

	if (!young)
		return ph_null(ENOMEM, "no memory for generations");
	young->survive = g->survive ? g->survive : 1;
	young->growth = g->growth ? g->growth : 100;
	if (g->flags & PHEAP_GC_CONSERVATIVE)
		setup.flags |= PH_MARK_UNTYPED;
	ph_mark_types(heap->types, young->types);
	setup.types = young->types;
	young->space = ph_map_lazily(PM_LANES_MAX * (uint64_t)PH_LOG_MAX * sizeof(uint64_t));
	if (!young->space || ph_marker_make(&setup, &young->marker)) {
		ph_young_free(young);
		return ph_null(ENOMEM, "no memory for generations");
	}
	return young;
}

static int check_generations(struct pheap *heap, const struct pheap_gc_generations *g)
{
	const char *what = "pheap_gc_set_generations";
	const unsigned flags = PHEAP_GC_CONSERVATIVE | PHEAP_GC_LEAVES;
	int err = ph_heap_writable(heap, what);

	if (err || (err = check_heap(heap, what)))
		return err;
	if (g && g->struct_size != sizeof(*g))
		return ph_error(EINVAL,
				"%s: struct_size is not sizeof(struct pheap_gc_generations)", what);
	if (g && (g->flags & ~flags || !g->flags || g->flags == flags))
		return ph_error(EINVAL,
				"%s: flags are PHEAP_GC_CONSERVATIVE or PHEAP_GC_LEAVES: what "
				"objects without a type hold",
				what);
	if (g && g->survive > PH_SURVIVE_MAX)
		return ph_error(EINVAL, "%s: survive %u is more than 8", what, g->survive);
	return 0;
}

PHEAP_API int pheap_gc_set_generations(pheap_t *heap, const struct pheap_gc_generations *g)
{
	int err = check_generations(heap, g);
	struct ph_tcache *cache = err ? NULL : ph_tcache_get(heap);
	struct ph_gc *gc = cache ? ph_gc_of(heap) : NULL;
	struct ph_young *young = NULL, *old;

	if (!gc)
		return err ? err : -ENOMEM;
	if (g && !(young = make_young(heap, g)))
		return -errno;
	ph_gc_begin(gc, cache);
	ph_gc_stop(heap, gc, cache);
	old = gc->young;
	gc->young = young;
	__atomic_store_n(&heap->logs_young, young != NULL, __ATOMIC_RELAXED);
	ph_gc_go_on(heap, gc);
	ph_gc_end(gc);
	ph_young_free(old);
	return 0;
}

PHEAP_API int pheap_gc_get_stats(pheap_t *heap, struct pheap_gc_stats *stats)
{
	int err = ph_heap_usable(heap, "pheap_gc_get_stats");
	struct ph_gc *gc = err ? NULL : ph_gc_of(heap);

	if (!gc)
		return err ? err : -ENOMEM;
	if (!stats || stats->struct_size != sizeof(*stats))
		return ph_error(EINVAL, "pheap_gc_get_stats: struct_size is not sizeof(struct "
					"pheap_gc_stats)");
	pthread_mutex_lock(&gc->lock);
	*stats = gc->stats;
	pthread_mutex_unlock(&gc->lock);
	stats->struct_size = sizeof(*stats);
	return 0;
}
