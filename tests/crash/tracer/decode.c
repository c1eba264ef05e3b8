/*
 * decode.c - see decode.h. By the instruction tables of the processor's manual.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "decode.h"

/* What stands before an opcode, in any of the three encodings. */
struct prefixes {
	Bool opsize; /* 66 */
	Bool rep;    /* F2, F3 */
	Bool other;  /* segment, address size, lock */
	UInt rex;    /* W R X B: bits 3 2 1 0 */
	UInt map;    /* 1: opcodes behind 0F */
};

/* Steps over all prefixes and the escape byte. */
static const UChar *read_prefixes(const UChar *at, struct prefixes *p)
{
	for (;; at++) {
		switch (*at) {
		case 0x66:
			p->opsize = True;
			continue;
		case 0xf2:
		case 0xf3:
			p->rep = True;
			continue;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0x67:
		case 0xf0:
			p->other = True;
			continue;
		}
		break;
	}
	if (*at == 0xc5) { /* VEX, two bytes */
		p->map = 1;
		p->opsize = (at[1] & 3) == 1;
		p->rep = (at[1] & 3) > 1;
		return at + 2;
	}
	if (*at == 0xc4) { /* VEX, three bytes */
		p->map = at[1] & 0x1f;
		p->opsize = (at[2] & 3) == 1;
		p->rep = (at[2] & 3) > 1;
		return at + 3;
	}
	if ((*at & 0xf0) == 0x40)
		p->rex = *at++ & 0xf;
	if (*at == 0x0f) {
		p->map = 1;
		at++;
	}
	return at;
}

static Long read_disp(const UChar *at, UInt bytes)
{
	if (bytes == 1)
		return (Char)at[0];
	return (Int)(at[0] | (UInt)at[1] << 8 | (UInt)at[2] << 16 | (UInt)at[3] << 24);
}

/* The operand behind a ModRM byte that names memory; returns what follows it. */
static const UChar *read_operand(const UChar *at, UInt rex, struct insn_address *a)
{
	UInt mod = *at >> 6, rm = *at & 7, bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	a->base = (Int)(rm | (rex & 1) << 3);
	a->index = -1;
	a->shift = 0;
	a->disp = 0;
	a->relative = False;
	at++;
	if (rm == 4) { /* a SIB byte follows */
		UInt index = ((*at >> 3) & 7) | (rex & 2) << 2;

		a->base = (Int)((*at & 7) | (rex & 1) << 3);
		a->shift = *at >> 6;
		if (index != 4)
			a->index = (Int)index;
		if ((*at & 7) == 5 && mod == 0) {
			a->base = -1;
			bytes = 4;
		}
		at++;
	} else if (rm == 5 && mod == 0) {
		a->base = -1;
		a->relative = True;
		bytes = 4;
	}
	if (bytes)
		a->disp = read_disp(at, bytes);
	return at + bytes;
}

/* The group of opcode 0F AE. */
static enum insn_kind read_group15(const UChar *at, const UChar *code, const struct prefixes *p,
				   struct insn_address *address, UInt *length)
{
	UInt reg = (at[1] >> 3) & 7;

	if (at[1] >= 0xc0)
		return !p->opsize && !p->rep && reg >= 6 ? INSN_STORE_FENCE : INSN_OTHER;
	/* 0F AE /7: clflush; 66 0F AE /7: clflushopt; 66 0F AE /6: clwb */
	if (p->rep || p->other || (reg != 7 && !(reg == 6 && p->opsize)))
		return INSN_OTHER;
	*length = (UInt)(read_operand(at + 1, p->rex, address) - code);
	return INSN_FLUSH;
}

enum insn_kind insn_decode(const UChar *code, struct insn_address *address, UInt *length)
{
	struct prefixes p = {0};
	const UChar *at = read_prefixes(code, &p);

	if (p.map != 1 || p.rep)
		return INSN_OTHER;
	switch (*at) {
	case 0x2b: /* movntps, movntpd */
	case 0xc3: /* movnti */
	case 0xe7: /* movntdq, movntq */
	case 0xf7: /* maskmovdqu, maskmovq */
		return INSN_NT_STORE;
	case 0xae:
		return read_group15(at, code, &p, address, length);
	}
	return INSN_OTHER;
}
