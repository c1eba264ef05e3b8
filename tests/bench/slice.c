/*
 * slice.c - the cost of an operation, from those slices of a repetition in which other
 * programs took no processor.
 *
 * The kernel counts how long each thread was ready to run while others ran. A slice is
 * *quiet* where that is next to nothing for its own thread, and for every thread beside
 * it meanwhile: two threads that wait for each other are both late when one is.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

/* Of a slice: an interrupt or a kernel thread that came by does not matter. */
#define WAITED_MAX 0.01
/* So much of a slice has to lie beside what the other thread did. */
#define BESIDE_MIN 0.75
/* So many of its slices must be quiet for a repetition to be. */
#define QUIET_MIN 0.25
/* Quiet repetitions that a median needs, or more than half of what was asked for. */
#define MEDIAN_MIN 5

static bool waited(const struct slice *slice)
{
	return slice->waited > WAITED_MAX * (slice->end - slice->start);
}

/* Was the thread of the other track running all that time? */
static bool beside(const struct slice *slice, const struct track *other)
{
	double before = other->slices[0].start, shared;

	shared = fmin(slice->end, other->slices[other->n - 1].end) - fmax(slice->start, before);
	if (shared < BESIDE_MIN * (slice->end - slice->start))
		return false;
	for (unsigned i = 0; i < other->n; i++) {
		const struct slice *o = &other->slices[i];

		if (waited(o) && before < slice->end && o->end > slice->start)
			return false;
		before = o->end; /* what a slice waited counts from there */
	}
	return true;
}

static bool quiet(const struct slice *slice, const struct track *const *tracks, unsigned n,
		  unsigned own)
{
	if (waited(slice))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (i != own && !beside(slice, tracks[i]))
			return false;
	return true;
}

/* Operations of a track in a nanosecond; of its quiet slices, or of all. */
static double rate(const struct track *const *tracks, unsigned n, unsigned own, bool quiet_only,
		   unsigned *used)
{
	const struct track *track = tracks[own];
	double ns = 0, ops = 0;

	*used = 0;
	for (unsigned i = 0; i < track->n; i++) {
		const struct slice *slice = &track->slices[i];

		if (quiet_only && !quiet(slice, tracks, n, own))
			continue;
		++*used;
		ns += slice->end - slice->start;
		ops += (double)slice->done;
	}
	return ns > 0 ? ops / ns : 0;
}

static double waited_part(const struct track *const *tracks, unsigned n)
{
	double ns = 0, total = 0;

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < tracks[i]->n; k++) {
			const struct slice *slice = &tracks[i]->slices[k];

			ns += slice->waited;
			total += slice->end - slice->start;
		}
	return total > 0 ? ns / total : 0;
}

/* Wall time x threads / operations: threads by the sum of their rates. */
static double cost(const struct track *const *tracks, unsigned n, bool quiet_only, bool *enough)
{
	double sum = 0;

	*enough = true;
	for (unsigned i = 0; i < n; i++) {
		unsigned used;

		sum += rate(tracks, n, i, quiet_only, &used);
		*enough &= used && used >= QUIET_MIN * tracks[i]->n;
	}
	return sum > 0 ? n / sum : 0;
}

struct sample sample_of_tracks(const struct track *const *tracks, unsigned n)
{
	struct sample sample = {.waited = waited_part(tracks, n)};
	bool all;

	sample.ns = cost(tracks, n, true, &sample.quiet);
	if (!sample.quiet)
		sample.ns = cost(tracks, n, false, &all);
	return sample;
}

struct sample sample_of_reply(const struct reply *reply, unsigned threads)
{
	const struct track *tracks[TRACKS];

	/* The loop took the time itself, all in one. */
	if (reply->ns > 0)
		return (struct sample){reply->ns, reply->waited, reply->waited <= WAITED_MAX};
	for (unsigned i = 0; i < threads; i++)
		tracks[i] = &reply->tracks[i];
	return sample_of_tracks(tracks, threads);
}

/* ---- series ------------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(const double *values, unsigned n)
{
	double sorted[ROUNDS_MAX];

	if (!n)
		return 0;
	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare_doubles);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

void series_add(struct series *series, struct sample sample)
{
	if (series->n < ROUNDS_MAX)
		series->samples[series->n++] = sample;
}

unsigned series_quiet(const struct series *series)
{
	unsigned n = 0;

	for (unsigned i = 0; i < series->n; i++)
		n += series->samples[i].quiet;
	return n;
}

bool series_disturbed(const struct series *series)
{
	unsigned half = results.reps / 2 + 1;

	return series->n && series_quiet(series) < (half < MEDIAN_MIN ? half : MEDIAN_MIN);
}

double series_ns(const struct series *series)
{
	bool all = series_disturbed(series);
	double ns[ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < series->n; i++)
		if (all || series->samples[i].quiet)
			ns[n++] = series->samples[i].ns;
	return median(ns, n);
}

double series_waited(const struct series *series)
{
	double part[ROUNDS_MAX];

	for (unsigned i = 0; i < series->n; i++)
		part[i] = series->samples[i].waited;
	return median(part, series->n);
}
