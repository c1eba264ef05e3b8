/*
 * decode.h - what Valgrind's intermediate code does not tell: which store goes past
 * the cache, which fence is which, and flush instructions that VEX does not know.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PHEAPTRACE_DECODE_H
#define PHEAPTRACE_DECODE_H

#include "pub_tool_basics.h"

enum insn_kind {
	INSN_OTHER,
	INSN_NT_STORE,	  /* movnti, movntps, movntpd, movntdq, maskmovdqu, movntq, maskmovq */
	INSN_STORE_FENCE, /* sfence, mfence: orders stores and flushes */
	INSN_FLUSH,	  /* clwb, clflushopt, clflush */
};

/*
 * The memory operand of a flush: base + (index << shift) + disp. Registers by their
 * number in the encoding (0 = rax ... 15 = r15), -1 for none. Where base and index
 * are none and `relative` is set, disp counts from the next instruction.
 */
struct insn_address {
	Int base, index;
	UInt shift;
	Long disp;
	Bool relative;
};

/*
 * Look at the instruction at code. For INSN_FLUSH, address and length (in bytes) are
 * filled in; an operand with a segment or a 32-bit address is INSN_OTHER.
 */
enum insn_kind insn_decode(const UChar *code, struct insn_address *address, UInt *length);

#endif
