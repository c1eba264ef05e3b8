/*
 * trace.h - call stacks, each kept once, for the reports of debug.c.
 *
 * Stacks are walked by the unwinder of the compiler's library, which takes no memory. Those
 * of a program are few and come again and again: a stack is kept for good, under a number.
 * The table is address space of which DRAM is taken when it is touched; when it is full, further
 * stacks are number 0, of which nothing is known.
 *
 * LOCKS: one, for adding a stack; held over a fork. Finding one takes none.
 */
#ifndef PH_TRACE_H
#define PH_TRACE_H

#include <stdarg.h>
#include <stdint.h>

struct ph_traces {
	uint64_t lock;
	uint64_t *cells; /* stacks: the next one's number and a count, then addresses */
	uint32_t *heads; /* of the lists of stacks with the same hash */
	uint32_t used;	 /* cells; under the lock */
};

/* 0, -ENOMEM. */
int ph_traces_init(struct ph_traces *traces);
void ph_traces_fini(struct ph_traces *traces);

/* The number of the calling thread's stack, from its caller on. */
uint32_t ph_trace_take(struct ph_traces *traces);

void ph_traces_hold(struct ph_traces *traces);
void ph_traces_let_go(struct ph_traces *traces);

/* A text that is put together piece by piece; what does not fit is left out. */
#define PH_TEXT_BYTES 8192u
struct ph_text {
	uint32_t length;
	char text[PH_TEXT_BYTES];
};

void ph_text_add(struct ph_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One line for each call of a stack, innermost first. */
void ph_text_add_trace(struct ph_text *text, const struct ph_traces *traces, uint32_t number);

#endif
