/*
 * step.c - count fences, flushes and non-temporal stores as they are executed.
 *
 * With the trap flag set the processor raises SIGTRAP after each instruction; the
 * handler reads the next one. That needs no debugger, no performance counter and
 * no knowledge of who fences, and counts what really happens, at the price of
 * some microseconds for each instruction.
 */
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "count.h"

static struct steps steps;

/* The part of an instruction that tells those apart that are looked for. */
struct opcode {
	unsigned map; /* 1: those that begin with 0f */
	unsigned byte, modrm;
	bool operand66;
	unsigned vector; /* bytes of a vector register */
};

static bool decode_vex(const uint8_t *p, struct opcode *op)
{
	if (p[0] == 0xc5) {
		*op = (struct opcode){1, p[2], p[3], (p[1] & 3) == 1, p[1] & 4 ? 32 : 16};
		return true;
	}
	if (p[0] == 0xc4) {
		*op = (struct opcode){p[1] & 31, p[3], p[4], (p[2] & 3) == 1, p[2] & 4 ? 32 : 16};
		return true;
	}
	if (p[0] == 0x62) {
		*op = (struct opcode){p[1] & 7, p[4], p[5], (p[2] & 3) == 1,
				      16u << (p[3] >> 5 & 3)};
		return true;
	}
	return false;
}

static void decode(const uint8_t *p, struct opcode *op)
{
	if (decode_vex(p, op))
		return;
	*op = (struct opcode){.vector = 16};
	for (; *p == 0x66 || *p == 0x3e || *p == 0xf3 || *p == 0xf2; p++)
		op->operand66 |= *p == 0x66;
	if ((*p & 0xf0) == 0x40) /* REX: a wide movnti stores 8 bytes */
		op->vector |= *p++ & 8;
	if (*p != 0x0f)
		return;
	op->map = 1;
	op->byte = p[1];
	op->modrm = p[2];
}

/* Group 15: 0f ae, told apart by three bits of what follows. */
static void look_at_group15(const struct opcode *op)
{
	unsigned digit = op->modrm >> 3 & 7;
	bool memory = op->modrm < 0xc0;

	if (!memory) {
		steps.fences += digit == 7 && !op->operand66; /* sfence */
		return;
	}
	if (digit == 7 || (digit == 6 && op->operand66)) {
		enum flush_kind kind = digit == 6      ? FLUSH_CLWB
				       : op->operand66 ? FLUSH_CLFLUSHOPT
						       : FLUSH_CLFLUSH;
		steps.flushes++;
		steps.flush_kinds |= 1u << kind;
	}
}

static void look_at(const uint8_t *instruction)
{
	struct opcode op;

	decode(instruction, &op);
	if (op.map != 1)
		return;
	if (op.byte == 0xae)
		look_at_group15(&op);
	else if ((op.byte == 0xe7 && op.operand66) || op.byte == 0x2b)
		steps.nt_bytes += op.vector & ~8u; /* movntdq, movntps, movntpd */
	else if (op.byte == 0xc3 && op.modrm < 0xc0)
		steps.nt_bytes += op.vector & 8 ? 8 : 4; /* movnti */
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	static const uint8_t *last;
	const ucontext_t *at = context;
	const uint8_t *next = (const uint8_t *)(uintptr_t)at->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	/* A repeated string instruction traps each time round: it counts once. */
	if (next == last)
		return;
	last = next;
	steps.instructions++;
	look_at(next);
}

/* The 128 bytes below the stack pointer may be in use. */
#define CHANGE_FLAGS(change)                                                           \
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; " change " (%%rsp); popfq; " \
			 "lea 128(%%rsp), %%rsp"                                       \
			 :                                                             \
			 :                                                             \
			 : "memory", "cc")

void step_reset(void)
{
	memset(&steps, 0, sizeof(steps));
}

void step_begin(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigaction(SIGTRAP, &action, NULL);
	CHANGE_FLAGS("orq $0x100,");
}

const struct steps *step_end(void)
{
	CHANGE_FLAGS("andq $~0x100,");
	return &steps;
}
