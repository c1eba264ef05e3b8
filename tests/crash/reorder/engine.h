/*
 * engine.h - which of the pending stores have reached media? Each engine answers with
 * a number of images for one point of the log.
 *
 * The engines of pmreorder choose among the stores that were flushed since they were
 * made, and see none that was not:
 *
 *   NoReorderNoCheck            no image
 *   NoReorderDoCheck            all of them
 *   ReorderAccumulative         the first n, for each n
 *   ReorderReverseAccumulative  the last n, for each n
 *   ReorderPartial              three sets at random
 *   ReorderFull                 every set
 *
 * An image is a set of stores, made in program order: where stores overlap, pmreorder
 * also makes them in other orders, which no processor does.
 *
 *   ReorderLines                every image that the model of pending.h allows:
 *                               stores that were not flushed too, no later store of
 *                               a line without the earlier ones, and any subset of the
 *                               words that went past the cache
 *
 * Up to `cap` images are made at one point. Where there are more, they are a sample: the
 * extreme ones first, then at random.
 */
#ifndef REORDER_ENGINE_H
#define REORDER_ENGINE_H

#include "pending.h"

/* Called with the image's pieces: chosen[i] says whether pieces[i] is on media. */
typedef void image_fn(void *arg, const struct pending *pending, const bool *chosen);

struct choice {
	size_t cap;
	uint64_t random; /* state of the generator: changes */
	image_fn *image;
	void *arg;
};

typedef void engine_fn(struct choice *choice, const struct pending *pending);

/* NULL for no engine of that name. Is its work done at fences that flushed nothing too? */
engine_fn *engine_find(const char *name);
bool engine_sees_all(engine_fn *engine);

/* Names of all engines, for messages. */
extern const char engine_names[];

engine_fn engine_lines;

/* A random number below n. */
uint64_t choice_below(struct choice *choice, uint64_t n);

#endif
