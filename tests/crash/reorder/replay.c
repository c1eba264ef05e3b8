/*
 * replay.c - see replay.h.
 *
 * Images are made before each fence: what is possible there includes all that was
 * possible since the fence before, because nothing becomes durable for certain in
 * between, and the program can only have come further. A last time at the end of the
 * log. pmreorder's engines look only at fences before which something was flushed.
 */
#include "replay.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64 /* as in storelog.c */

struct run {
	struct replay *r;
	struct pending pending;
	struct choice choice;
	engine_fn *engines[DEPTH_MAX + 1]; /* of the sections that are open */
	size_t depth, done, at;		   /* at: the record reached */
	const char *outermost;
	bool flushed; /* since the last fence */
	uint64_t *seen;
	size_t seen_mask, n_seen;
};

/* ---- images that were checked already ------------------------------------------------ */

static void insert(uint64_t *table, size_t mask, uint64_t key)
{
	size_t i = (size_t)key & mask;

	while (table[i] && table[i] != key)
		i = (i + 1) & mask;
	table[i] = key;
}

static void grow(struct run *run)
{
	size_t mask = 2 * run->seen_mask + 1, i;
	uint64_t *table = calloc(mask + 1, sizeof(*table));

	if (!table)
		abort();
	for (i = 0; run->seen && i <= run->seen_mask; i++)
		if (run->seen[i])
			insert(table, mask, run->seen[i]);
	free(run->seen);
	run->seen = table;
	run->seen_mask = mask;
}

/* The same content is a different question once more operations have returned. */
static bool is_new(struct run *run)
{
	uint64_t key = run->r->media->hash + UINT64_C(0x9e3779b97f4a7c15) * (2 * run->done + 1) +
		       (run->outermost != NULL);
	size_t i;

	key |= !key; /* 0 is an empty place */
	if (2 * run->n_seen >= run->seen_mask)
		grow(run);
	for (i = (size_t)key & run->seen_mask; run->seen[i]; i = (i + 1) & run->seen_mask)
		if (run->seen[i] == key)
			return false;
	run->seen[i] = key;
	run->n_seen++;
	return true;
}

/* ---- one image ------------------------------------------------------------------------- */

#define LISTED_MAX 24

/* Where in the log a record is. The end has the number of the last one. */
static size_t number_of(const struct run *run, size_t index)
{
	const struct storelog *log = run->r->log;

	return log->records[index < log->n ? index : log->n - 1].number;
}

static void list_pieces(FILE *out, const struct run *run, const bool *chosen, bool which)
{
	const struct pending *p = &run->pending;
	size_t i, listed = 0, n = 0;

	for (i = 0; i < p->n; i++)
		n += chosen[i] == which;
	fprintf(out, "  %zu words of pending stores %s on media%s\n", n, which ? "are" : "are not",
		n ? ":" : "");
	for (i = 0; i < p->n && listed < LISTED_MAX; i++) {
		if (chosen[i] != which)
			continue;
		fprintf(out, "    record %zu: 0x%llx, %u bytes%s%s\n",
			number_of(run, p->pieces[i].record),
			(unsigned long long)p->pieces[i].offset, p->pieces[i].size,
			p->pieces[i].nt ? ", past the cache" : "",
			p->pieces[i].flushed ? "" : ", not flushed");
		listed++;
	}
	if (listed < n)
		fprintf(out, "    and %zu more\n", n - listed);
}

static void report_bad(struct run *run, const bool *chosen, const char *kept)
{
	FILE *out = run->r->report;

	fprintf(out, "INCONSISTENT: image %zu, at record %zu, %zu sections done, in %s\n",
		run->r->images, number_of(run, run->at), run->done,
		run->outermost ? run->outermost : "none");
	list_pieces(out, run, chosen, true);
	list_pieces(out, run, chosen, false);
	if (*kept)
		fprintf(out, "  kept as %s\n", kept);
	fflush(out);
}

static bool stopped(const struct run *run)
{
	return run->r->bad_max && run->r->bad >= run->r->bad_max;
}

static void check_image(void *arg, const struct pending *pending, const bool *chosen)
{
	struct run *run = arg;
	struct replay *r = run->r;
	char kept[PATH_MAX] = "";
	size_t i;
	bool fresh;

	if (stopped(run))
		return;
	for (i = 0; i < pending->n; i++)
		if (chosen[i])
			media_apply(r->media, &pending->pieces[i]);
	r->images++;
	fresh = is_new(run);
	if (fresh) {
		r->distinct++;
		if (r->keep) { /* the checker may change it: keep it before */
			snprintf(kept, sizeof(kept), "%s/image-%zu", r->keep, r->images);
			if (!media_keep(r->media, kept))
				fprintf(r->report, "cannot write %s\n", kept);
		}
		if (!checker_consistent(&r->checker)) {
			r->bad++;
			report_bad(run, chosen, kept);
		} else if (r->keep) {
			remove(kept);
		}
	}
	media_restore(r->media, fresh);
}

/* ---- the log ---------------------------------------------------------------------------- */

static void make_images(struct run *run)
{
	engine_fn *engine = run->engines[run->depth];

	if (stopped(run) || (!run->flushed && !engine_sees_all(engine)))
		return;
	run->r->points++;
	checker_progress(run->done, run->outermost ? run->outermost : "");
	engine(&run->choice, &run->pending);
}

static engine_fn *engine_in(const struct run *run, const char *section)
{
	size_t i;

	for (i = 0; i < run->r->n_overrides; i++)
		if (!strcmp(run->r->overrides[i].section, section))
			return run->r->overrides[i].engine;
	return run->engines[run->depth];
}

static void begin_section(struct run *run, const char *name)
{
	run->engines[run->depth + 1] = engine_in(run, name);
	if (!run->depth++)
		run->outermost = name;
}

static void end_section(struct run *run)
{
	if (--run->depth)
		return;
	run->outermost = NULL;
	run->done++;
}

static void step(struct run *run, const struct record *record)
{
	switch (record->kind) {
	case RECORD_STORE:
		pending_store(&run->pending, record, run->at);
		run->flushed |= record->nt;
		break;
	case RECORD_FLUSH:
		pending_flush(&run->pending, record);
		run->flushed = true;
		break;
	case RECORD_FENCE:
		make_images(run);
		pending_fence(&run->pending, run->r->media);
		run->flushed = false;
		break;
	case RECORD_BEGIN:
		begin_section(run, record->name);
		break;
	case RECORD_END:
		end_section(run);
		break;
	}
}

void replay_run(struct replay *r)
{
	struct run run = {
		.r = r,
		.choice = {.cap = r->cap, .random = r->seed | 1, .image = check_image},
		.engines = {r->engine},
		.seen_mask = 0,
	};

	run.choice.arg = &run;
	grow(&run);
	for (run.at = 0; run.at < r->log->n && !stopped(&run); run.at++)
		step(&run, &r->log->records[run.at]);
	make_images(&run);
	free(run.pending.pieces);
	free(run.seen);
}
