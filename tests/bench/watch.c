/*
 * watch.c - which cache lines of a range are touched, read or written.
 *
 * The range is made inaccessible. The instruction that touches it faults, with the
 * address; the handler notes the line, opens the page, and lets that one instruction be
 * executed with the trap flag set; behind it the page is closed again. So nothing that
 * one thread does escapes, whoever wrote the code.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "count.h"

#define PAGE ((uintptr_t)4096)
#define TRAP_FLAG 0x100

static struct {
	uintptr_t base, end;
	uintptr_t open[8]; /* pages that the present instruction needs */
	unsigned nopen;
	uintptr_t lines[4096]; /* since the last call of watch_lines() */
	unsigned nlines;
} watch;

static void note_line(uintptr_t line)
{
	for (unsigned i = 0; i < watch.nlines; i++)
		if (watch.lines[i] == line)
			return;
	if (watch.nlines < ELEMENTS(watch.lines))
		watch.lines[watch.nlines++] = line;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr, page = at & ~(PAGE - 1);
	ucontext_t *user = context;

	if (at < watch.base || at >= watch.end || watch.nopen == ELEMENTS(watch.open)) {
		signal(number, SIG_DFL); /* a fault that is none of ours */
		return;
	}
	note_line(at / 64);
	watch.open[watch.nopen++] = page;
	mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE);
	user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	(void)number;
	(void)info;
	while (watch.nopen > 0)
		mprotect((void *)watch.open[--watch.nopen], PAGE, PROT_NONE);
	user->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

void watch_begin(void *base, size_t length)
{
	struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	watch.base = (uintptr_t)base;
	watch.end = watch.base + length;
	watch.nlines = 0;
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGTRAP, &trap, NULL);
	mprotect(base, length, PROT_NONE);
}

unsigned watch_lines(void)
{
	unsigned n = watch.nlines;

	watch.nlines = 0;
	return n;
}

void watch_end(void)
{
	mprotect((void *)watch.base, watch.end - watch.base, PROT_READ | PROT_WRITE);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
}
