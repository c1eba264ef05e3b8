/*
 * replay.h - go through a log, and have the images of each point checked.
 */
#ifndef REORDER_REPLAY_H
#define REORDER_REPLAY_H

#include <stdio.h>

#include "checker.h"
#include "engine.h"

/* Which engine inside the sections of a name. */
struct override {
	const char *section;
	engine_fn *engine;
};

struct replay {
	/* What is asked for. */
	const struct storelog *log;
	struct media *media;
	struct checker checker;
	engine_fn *engine; /* outside of sections, and in those without an override */
	const struct override *overrides;
	size_t n_overrides;
	size_t cap; /* images at one point */
	uint64_t seed;
	size_t bad_max;	  /* stop after so many inconsistent ones; 0: never */
	const char *keep; /* folder for inconsistent images, or NULL */
	FILE *report;

	/* What was done. */
	size_t points;	 /* places in the log where images were made */
	size_t images;	 /* made */
	size_t distinct; /* of them, checked: content and progress seen for the first time */
	size_t bad;	 /* inconsistent */
};

void replay_run(struct replay *r);

#endif
