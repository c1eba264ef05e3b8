/*
 * trace.h - what a heap did to its memory, recorded; and the same done again in a sim.
 *
 * While several threads work under a schedule nothing is explored: their stores, flushes
 * and fences are written down, with the thread that made each. Afterwards the record is
 * played in simulated memory, by one thread, and crash points are looked at there. So an
 * execution that was seen already need not be looked at again, whatever schedule led to it,
 * and the library is not entered while it stands in the middle of a call.
 *
 * Stores of which the hook is not told (a program's, and the library's into reserved
 * objects) are found when their line is flushed, or noted with trace_put().
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H

#include "sim.h"

enum trace_kind { TRACE_STORE, TRACE_COPY, TRACE_FLUSH, TRACE_FENCE, TRACE_PUT, TRACE_MARK };

struct trace_event {
	enum trace_kind kind;
	unsigned cpu;
	uint64_t offset, length;
	size_t data; /* in `bytes`: what was stored, or was in the range that is flushed */
	size_t mark; /* TRACE_MARK: the caller's number */
};

struct trace {
	char *base; /* of the heap's memory */
	struct trace_event *event;
	size_t n, room;
	char *bytes;
	size_t nbytes, room_bytes;
	uint64_t hash; /* of all events */
};

/* Records, behind a point of the schedule. Its argument is the trace. */
extern const struct ph_hook trace_hook;

void trace_reset(struct trace *trace, char *base);
void trace_free(struct trace *trace);

/* A plain store of the program's, which is made. */
void trace_put(struct trace *trace, void *dst, const void *src, size_t length);

/* Something happened that is no store; `hash` says what, for the trace's. */
void trace_mark(struct trace *trace, size_t mark, uint64_t hash);

/* Do event i in a sim whose memory stands where the heap's stood. Not for marks. */
void trace_play(const struct trace *trace, size_t i, struct sim *sim);

#endif
