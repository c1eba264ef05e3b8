/*
 * trace.c - record what a heap does to its memory, and play it.
 */
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "random.h"
#include "schedule.h"

static void *must_have(void *p)
{
	if (!p) {
		fprintf(stderr, "trace: out of memory\n");
		abort();
	}
	return p;
}

void trace_reset(struct trace *trace, char *base)
{
	trace->base = base;
	trace->n = trace->nbytes = 0;
	trace->hash = 0;
}

void trace_free(struct trace *trace)
{
	free(trace->event);
	free(trace->bytes);
	*trace = (struct trace){0};
}

static size_t keep(struct trace *trace, const void *src, size_t length)
{
	size_t at = trace->nbytes;

	while (trace->room_bytes < at + length) {
		trace->room_bytes = trace->room_bytes ? 2 * trace->room_bytes : 1 << 16;
		trace->bytes = must_have(realloc(trace->bytes, trace->room_bytes));
	}
	memcpy(trace->bytes + at, src, length);
	trace->nbytes += length;
	return at;
}

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
	uint64_t word = 0;

	for (; length >= 8; bytes += 8, length -= 8) {
		memcpy(&word, bytes, 8);
		hash = mix64(hash ^ word) + 1;
	}
	word = 0;
	memcpy(&word, bytes, length);
	return mix64(hash ^ word);
}

static void add(struct trace *trace, enum trace_kind kind, const void *at, const void *src,
		size_t length)
{
	struct trace_event *event;

	if (trace->n == trace->room) {
		trace->room = trace->room ? 2 * trace->room : 256;
		trace->event =
			must_have(realloc(trace->event, trace->room * sizeof(*trace->event)));
	}
	event = &trace->event[trace->n++];
	*event = (struct trace_event){
		.kind = kind,
		.cpu = (unsigned)(1 + schedule_who()),
		.offset = at ? (uint64_t)((const char *)at - trace->base) : 0,
		.length = length,
	};
	if (src)
		event->data = keep(trace, src, length);
	trace->hash = mix64(trace->hash ^ (kind | event->cpu << 3 | event->offset << 8)) + length;
	if (src)
		trace->hash = hash_bytes(trace->hash, src, length);
}

/* ---- the hook ------------------------------------------------------------------ */

static void note_store(void *arg, void *dst, const void *src, size_t length)
{
	schedule_point(POINT_PERSIST);
	add(arg, TRACE_STORE, dst, src, length);
}

static void note_copy(void *arg, void *dst, const void *src, size_t length)
{
	schedule_point(POINT_PERSIST);
	add(arg, TRACE_COPY, dst, src, length);
}

/* Whole lines, as they are now. */
static void note_flush(void *arg, const void *addr, size_t length)
{
	uintptr_t first = (uintptr_t)addr & ~(uintptr_t)(SIM_LINE - 1);
	uintptr_t end = ((uintptr_t)addr + length + SIM_LINE - 1) & ~(uintptr_t)(SIM_LINE - 1);

	schedule_point(POINT_PERSIST);
	add(arg, TRACE_FLUSH, (const void *)first, (const void *)first, end - first);
}

static int note_fence(void *arg)
{
	schedule_point(POINT_PERSIST);
	add(arg, TRACE_FENCE, NULL, NULL, 0);
	return 0;
}

const struct ph_hook trace_hook = {
	.store = note_store,
	.copy_nt = note_copy,
	.flush = note_flush,
	.fence = note_fence,
};

void trace_put(struct trace *trace, void *dst, const void *src, size_t length)
{
	schedule_point(POINT_CALL);
	add(trace, TRACE_PUT, dst, src, length);
	memcpy(dst, src, length);
}

void trace_mark(struct trace *trace, size_t mark, uint64_t hash)
{
	add(trace, TRACE_MARK, NULL, NULL, 0);
	trace->event[trace->n - 1].mark = mark;
	trace->hash = mix64(trace->hash ^ hash);
}

/* ---- playing -------------------------------------------------------------------- */

void trace_play(const struct trace *trace, size_t i, struct sim *sim)
{
	const struct trace_event *event = &trace->event[i];
	const char *bytes = trace->bytes + event->data;
	char *at = sim->work + event->offset;

	sim->cpu = event->cpu;
	switch (event->kind) {
	case TRACE_STORE:
		sim_store(sim, at, bytes, event->length);
		memcpy(at, bytes, event->length);
		break;
	case TRACE_COPY:
		sim_copy_nt(sim, at, bytes, event->length);
		memcpy(at, bytes, event->length);
		break;
	case TRACE_PUT:
		sim_user_store(sim, at, bytes, event->length);
		break;
	case TRACE_FLUSH:
		memcpy(at, bytes, event->length);
		sim_absorb(sim, at, event->length);
		sim_flush(sim, at, event->length);
		break;
	case TRACE_FENCE:
		sim_fence(sim);
		break;
	case TRACE_MARK:
		break;
	}
}
