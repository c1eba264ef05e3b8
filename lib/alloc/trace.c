/*
 * trace.c - call stacks, each kept once. See trace.h.
 */
#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unwind.h>

#include "error.h"
#include "heap.h"

/* Calls of a stack that are kept; those of the library itself are among them. */
#define DEPTH 24u
/* Cells of 8 bytes: a million stacks of 16 calls and more. */
#define CELLS (1u << 24)
#define HEADS (1u << 16)

int ph_traces_init(struct ph_traces *traces)
{
	traces->cells = ph_map_lazily(CELLS * sizeof(*traces->cells));
	traces->heads = ph_map_lazily(HEADS * sizeof(*traces->heads));
	traces->used = 1; /* number 0 is none */
	if (traces->cells && traces->heads)
		return 0;
	ph_traces_fini(traces);
	return ph_error(ENOMEM, "no address space for call stacks");
}

void ph_traces_fini(struct ph_traces *traces)
{
	if (traces->cells)
		munmap(traces->cells, CELLS * sizeof(*traces->cells));
	if (traces->heads)
		munmap(traces->heads, HEADS * sizeof(*traces->heads));
	traces->cells = NULL;
	traces->heads = NULL;
}

void ph_traces_hold(struct ph_traces *traces)
{
	ph_bitlock_take(&traces->lock);
}

void ph_traces_let_go(struct ph_traces *traces)
{
	ph_bitlock_give(&traces->lock, 0);
}

/* ---- walk and keep ------------------------------------------------------------------- */

struct walk {
	uint32_t n;
	uint64_t call[DEPTH];
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
	struct walk *walk = arg;

	uint64_t call = _Unwind_GetIP(context);

	if (!call || walk->n == DEPTH)
		return _URC_END_OF_STACK;
	walk->call[walk->n++] = call;
	return _URC_NO_REASON;
}

static uint32_t hash_of(const struct walk *walk)
{
	uint64_t hash = walk->n;

	for (uint32_t i = 0; i < walk->n; i++)
		hash = (hash ^ walk->call[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(hash >> 48) % HEADS;
}

static uint32_t find(const struct ph_traces *traces, uint32_t first, const struct walk *walk)
{
	for (uint32_t i = first; i; i = (uint32_t)traces->cells[i])
		if (traces->cells[i] >> 32 == walk->n &&
		    !memcmp(&traces->cells[i + 1], walk->call, walk->n * sizeof(walk->call[0])))
			return i;
	return 0;
}

/* Under the lock. The stack is whole before it is on a list. */
static uint32_t add(struct ph_traces *traces, uint32_t *head, const struct walk *walk)
{
	uint32_t number = traces->used;

	if (CELLS - number <= walk->n)
		return 0;
	traces->used += walk->n + 1;
	traces->cells[number] = (uint64_t)walk->n << 32 | *head;
	memcpy(&traces->cells[number + 1], walk->call, walk->n * sizeof(walk->call[0]));
	__atomic_store_n(head, number, __ATOMIC_RELEASE);
	return number;
}

uint32_t ph_trace_take(struct ph_traces *traces)
{
	struct walk walk = {.n = 0};
	uint32_t *head, number;

	_Unwind_Backtrace(step, &walk);
	head = &traces->heads[hash_of(&walk)];
	number = find(traces, __atomic_load_n(head, __ATOMIC_ACQUIRE), &walk);
	if (number)
		return number;
	ph_bitlock_take(&traces->lock);
	number = find(traces, *head, &walk);
	if (!number)
		number = add(traces, head, &walk);
	ph_bitlock_give(&traces->lock, 0);
	return number;
}

/* ---- print ----------------------------------------------------------------------------- */

void ph_text_add(struct ph_text *text, const char *format, ...)
{
	size_t room = sizeof(text->text) - text->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->text + text->length, room, format, args);
	va_end(args);
	if (n > 0)
		text->length += (uint32_t)((size_t)n < room ? (size_t)n : room - 1);
}

/* In the library's file: calls there say nothing of the program. */
static const char here;

/* A return address lies behind its call, perhaps in the next function. */
static void add_call(struct ph_text *text, unsigned index, uint64_t address)
{
	const void *call = (const void *)(uintptr_t)(address - 1);
	Dl_info info;

	if (!dladdr(call, &info) || !info.dli_fname) {
		ph_text_add(text, "    #%-2u %#llx\n", index, (unsigned long long)address);
		return;
	}
	ph_text_add(text, "    #%-2u %#llx", index, (unsigned long long)address);
	if (info.dli_sname)
		ph_text_add(text, " %s+%#llx", info.dli_sname,
			    (unsigned long long)(address - (uintptr_t)info.dli_saddr));
	ph_text_add(text, " (%s+%#llx)\n", info.dli_fname,
		    (unsigned long long)(address - 1 - (uintptr_t)info.dli_fbase));
}

void ph_text_add_trace(struct ph_text *text, const struct ph_traces *traces, uint32_t number)
{
	uint32_t n = number ? (uint32_t)(traces->cells[number] >> 32) : 0, first = 0;
	const uint64_t *call = &traces->cells[number + 1];
	Dl_info own, info;

	if (dladdr(&here, &own))
		while (first < n && dladdr((const void *)(uintptr_t)(call[first] - 1), &info) &&
		       info.dli_fbase == own.dli_fbase)
			first++;
	if (first == n)
		first = 0; /* all in one program */
	if (!n)
		ph_text_add(text, "    (not known)\n");
	for (uint32_t i = first; i < n; i++)
		add_call(text, i - first, call[i]);
}
