/*
 * pheaptrace.c - a Valgrind tool that writes down every store, flush and fence of a
 * program on its persistent memory, from the instructions that it executes.
 *
 *	valgrind --tool=pheaptrace [--log=FILE] [--pool=FILE] [--counts=yes] PROGRAM ...
 *
 *	--log=FILE    write the log that pmreorder and pheap-reorder read (log.h)
 *	--pool=FILE   trace the shared mappings of this file. Not needed where libpmem
 *	              maps it: it registers its mappings
 *	--counts=yes  print what was counted when the program ends
 *
 * HOW. Each store of the translated program is followed by a call with its address
 * and size, guarded by a test whether it may be in a registered mapping; the call
 * reads what is there now. Valgrind runs one thread at a time and switches only
 * between blocks, so that nobody else can have stored there meanwhile. Flushes and
 * fences are found by their opcodes (decode.h).
 *
 * THE FLUSH INSTRUCTIONS. VEX knows clflush only, which ends a block; clwb and
 * clflushopt it cannot decode, which ends a block too. Both ends become a note of the
 * flush and an ordinary jump behind the instruction. So the processor that the
 * program sees may have them: CPUID says so here, and libpmem takes clwb and sfence,
 * as it does on real persistent memory. (PMEM_NO_CLWB=1 and PMEM_NO_CLFLUSHOPT=1 in
 * the environment make it take the older ones.)
 *
 * libpmem tells the tool what to do about its mappings by client requests, those of
 * pmemcheck (requests.h). A fence that it reports is logged, since it reports one
 * only where the processor needs none (after clflush); a flush that it reports is
 * not, since the instructions say better what happened.
 *
 * LIMITS. Which thread did something is not in the log. A store by the kernel (read(2)
 * into the pool) is logged as a store through the cache; write(2) to the file is not
 * seen. AVX-512 and movdir64b are unknown to Valgrind, and hidden from the program.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pub_tool_basics.h"
#include "pub_tool_aspacemgr.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_machine.h"
#include "pub_tool_options.h"
#include "pub_tool_tooliface.h"

#include "libvex_guest_amd64.h"

#include "decode.h"
#include "log.h"
#include "requests.h"

#define LINE 64

/* ---- mappings ------------------------------------------------------------------ */

#define REGIONS_MAX 64

static struct region {
	Addr base;
	SizeT size;
} regions[REGIONS_MAX];
static UInt n_regions;

/* The hull of them all: translated code asks addr - hull_base < hull_size. */
static ULong hull_base, hull_size;

static struct pheaptrace_counts counts;

static void find_hull(void)
{
	ULong end = 0;
	UInt i;

	hull_base = ~0ULL;
	for (i = 0; i < n_regions; i++) {
		if (regions[i].base < hull_base)
			hull_base = regions[i].base;
		if (regions[i].base + regions[i].size > end)
			end = regions[i].base + regions[i].size;
	}
	hull_size = n_regions ? end - hull_base : 0;
}

static Bool overlaps(const struct region *r, Addr addr, SizeT size)
{
	return addr < r->base + r->size && r->base < addr + size;
}

/* Does any byte of a range lie in a registered mapping? */
static Bool traced(Addr addr, SizeT size)
{
	UInt i;

	for (i = 0; i < n_regions; i++)
		if (overlaps(&regions[i], addr, size))
			return True;
	return False;
}

static void add_region(Addr base, SizeT size)
{
	if (traced(base, size))
		return;
	if (n_regions == REGIONS_MAX) {
		VG_(umsg)("more than %d mappings: 0x%lx is not traced\n", REGIONS_MAX, base);
		return;
	}
	regions[n_regions++] = (struct region){base, size};
	find_hull();
}

static void remove_regions(Addr base, SizeT size)
{
	UInt i, kept = 0;

	for (i = 0; i < n_regions; i++)
		if (!overlaps(&regions[i], base, size))
			regions[kept++] = regions[i];
	n_regions = kept;
	find_hull();
}

/* A mapping of a file: its name is what the kernel knew when it was mapped. */
static void add_file(Addr base, SizeT size, ULong offset)
{
	const NSegment *segment = VG_(am_find_nsegment)(base);
	const HChar *name = segment ? VG_(am_get_filename)(segment) : NULL;

	add_region(base, size);
	log_file(name ? name : "unknown", base, size, offset);
}

/* ---- options ------------------------------------------------------------------- */

static const HChar *log_name, *pool_name;
static Bool print_counts;

static Bool read_option(const HChar *arg)
{
	if (VG_STR_CLO(arg, "--log", log_name)) {
	} else if (VG_STR_CLO(arg, "--pool", pool_name)) {
	} else if (VG_BOOL_CLO(arg, "--counts", print_counts)) {
	} else {
		return False;
	}
	return True;
}

static void print_usage(void)
{
	VG_(printf)
	("    --log=<file>      write the store log here\n"
	 "    --pool=<file>     trace shared mappings of this file\n"
	 "    --counts=no|yes   print counts at the end [no]\n");
}

static void print_debug_usage(void)
{
	VG_(printf)("    (none)\n");
}

/* ---- what happens at run time ---------------------------------------------------- */

static void on_store(Addr addr, UWord size)
{
	if (!traced(addr, size))
		return;
	counts.stores++;
	log_store(addr, (const UChar *)addr, size, False);
}

static void on_nt_store(Addr addr, UWord size)
{
	static Addr last_line;
	static ULong last_fence = ~0ULL;

	if (!traced(addr, size))
		return;
	counts.nt_stores++;
	if (addr / LINE != last_line || counts.fences != last_fence)
		counts.nt_lines++;
	last_line = addr / LINE;
	last_fence = counts.fences;
	log_store(addr, (const UChar *)addr, size, True);
}

/* Any number of bytes: by the kernel, or by an instruction that VEX has a helper for. */
static void on_large_store(Addr addr, UWord size)
{
	UWord part;

	for (; size; addr += part, size -= part) {
		part = LINE - addr % LINE;
		if (part > size)
			part = size;
		on_store(addr, part);
	}
}

static void on_flush(Addr addr)
{
	addr -= addr % LINE;
	if (!traced(addr, LINE))
		return;
	counts.flushes++;
	log_flush(addr, LINE);
}

static void on_fence(void)
{
	counts.fences++;
	log_fence();
}

/* What CPUID answers in EBX: leaf 7.0 has bit 23 for clflushopt, 24 for clwb. */
static ULong on_cpuid(ULong leaf, ULong subleaf, ULong ebx)
{
	if ((UInt)leaf == 7 && (UInt)subleaf == 0)
		ebx |= 1u << 23 | 1u << 24;
	return ebx;
}

static void on_mmap(Addr addr, SizeT size, Bool r, Bool w, Bool x, ULong di_handle)
{
	const NSegment *segment = VG_(am_find_nsegment)(addr);
	const HChar *name = segment ? VG_(am_get_filename)(segment) : NULL;

	(void)r, (void)x, (void)di_handle;
	if (pool_name && name && w && !VG_(strcmp)(name, pool_name) && !traced(addr, size))
		add_file(addr, size, (ULong)segment->offset + (addr - segment->start));
}

static void on_kernel_store(CorePart part, ThreadId tid, Addr addr, SizeT size)
{
	(void)part, (void)tid;
	if (n_regions && traced(addr, size))
		on_large_store(addr, size);
}

static Bool on_request(ThreadId tid, UWord *arg, UWord *ret)
{
	(void)tid;
	*ret = 0;
	switch ((UInt)arg[0]) {
	case PMC_REGISTER_MAPPING:
		add_region(arg[1], arg[2]);
		break;
	case PMC_REGISTER_FILE:
		add_file(arg[2], arg[3], arg[4]);
		break;
	case PMC_REMOVE_MAPPING:
		remove_regions(arg[1], arg[2]);
		break;
	case PMC_CHECK_MAPPING:
		*ret = traced(arg[1], arg[2]);
		break;
	case PMC_FENCE:
		on_fence();
		break;
	case PMC_EMIT_LOG:
		log_mark((const HChar *)arg[1]);
		break;
	case PHEAPTRACE_COUNTS:
		*(struct pheaptrace_counts *)arg[1] = counts;
		*ret = 1;
		break;
	default:
		return VG_IS_TOOL_USERREQ('P', 'C', arg[0]);
	}
	return True;
}

/* ---- instrumentation --------------------------------------------------------------- */

static IRExpr *assign(IRSB *sb, IRType type, IRExpr *value)
{
	IRTemp tmp = newIRTemp(sb->tyenv, type);

	addStmtToIRSB(sb, IRStmt_WrTmp(tmp, value));
	return IRExpr_RdTmp(tmp);
}

static IRExpr *word(ULong value)
{
	return IRExpr_Const(IRConst_U64(value));
}

static IRExpr *load_word(IRSB *sb, const ULong *at)
{
	return assign(sb, Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, word((ULong)(Addr)at)));
}

/* Is an address in the hull? A store may begin below it: nobody maps a pool so. */
static IRExpr *in_hull(IRSB *sb, IRExpr *addr)
{
	IRExpr *distance =
		assign(sb, Ity_I64, IRExpr_Binop(Iop_Sub64, addr, load_word(sb, &hull_base)));

	return assign(sb, Ity_I1, IRExpr_Binop(Iop_CmpLT64U, distance, load_word(sb, &hull_size)));
}

/* Call function(addr, size), or function(addr) for size 0, where addr is in the hull. */
static void call(IRSB *sb, const HChar *name, void *function, IRExpr *addr, ULong size,
		 IRExpr *guard)
{
	IRDirty *d =
		unsafeIRDirty_0_N(0, name, VG_(fnptr_to_fnentry)(function),
				  size ? mkIRExprVec_2(addr, word(size)) : mkIRExprVec_1(addr));

	d->guard = in_hull(sb, addr);
	if (guard)
		d->guard = assign(sb, Ity_I1, IRExpr_Binop(Iop_And1, d->guard, guard));
	addStmtToIRSB(sb, IRStmt_Dirty(d));
}

static void note_store(IRSB *sb, enum insn_kind kind, IRExpr *addr, IRExpr *data, UInt times,
		       IRExpr *guard)
{
	ULong size = (ULong)sizeofIRType(typeOfIRExpr(sb->tyenv, data)) * times;

	if (kind == INSN_NT_STORE)
		call(sb, "on_nt_store", on_nt_store, addr, size, guard);
	else
		call(sb, "on_store", on_store, addr, size, guard);
}

static void note_fence(IRSB *sb)
{
	addStmtToIRSB(sb,
		      IRStmt_Dirty(unsafeIRDirty_0_N(0, "on_fence", VG_(fnptr_to_fnentry)(on_fence),
						     mkIRExprVec_0())));
}

static Bool is_cpuid(const IRStmt *st)
{
	return st->tag == Ist_Dirty &&
	       VG_(strstr)(st->Ist.Dirty.details->cee->name, "dirtyhelper_CPUID");
}

/* The leaf asked for is overwritten by the answer: read it first. */
static void copy_cpuid(IRSB *sb, IRStmt *st)
{
	const Int rax = offsetof(VexGuestAMD64State, guest_RAX);
	const Int rbx = offsetof(VexGuestAMD64State, guest_RBX);
	const Int rcx = offsetof(VexGuestAMD64State, guest_RCX);
	IRExpr *leaf = assign(sb, Ity_I64, IRExpr_Get(rax, Ity_I64));
	IRExpr *subleaf = assign(sb, Ity_I64, IRExpr_Get(rcx, Ity_I64));
	IRTemp answer = newIRTemp(sb->tyenv, Ity_I64);
	IRExpr *ebx;

	addStmtToIRSB(sb, st);
	ebx = assign(sb, Ity_I64, IRExpr_Get(rbx, Ity_I64));
	addStmtToIRSB(sb, IRStmt_Dirty(unsafeIRDirty_1_N(answer, 0, "on_cpuid",
							 VG_(fnptr_to_fnentry)(on_cpuid),
							 mkIRExprVec_3(leaf, subleaf, ebx))));
	addStmtToIRSB(sb, IRStmt_Put(rbx, IRExpr_RdTmp(answer)));
}

/* Registers are eight bytes each, in the order of their numbers. */
static IRExpr *read_register(IRSB *sb, Int number)
{
	const Int first = offsetof(VexGuestAMD64State, guest_RAX);

	return assign(sb, Ity_I64, IRExpr_Get(first + 8 * number, Ity_I64));
}

static IRExpr *add(IRSB *sb, IRExpr *a, IRExpr *b)
{
	return assign(sb, Ity_I64, IRExpr_Binop(Iop_Add64, a, b));
}

static IRExpr *operand(IRSB *sb, const struct insn_address *a, Addr next)
{
	ULong fixed = (ULong)a->disp + (a->relative ? next : 0);
	IRExpr *sum = assign(sb, Ity_I64, word(fixed));

	if (a->base >= 0)
		sum = add(sb, sum, read_register(sb, a->base));
	if (a->index >= 0)
		sum = add(sb, sum,
			  assign(sb, Ity_I64,
				 IRExpr_Binop(Iop_Shl64, read_register(sb, a->index),
					      IRExpr_Const(IRConst_U8((UChar)a->shift)))));
	return sum;
}

/* Does the block end in a flush? Then note it and go on behind it. */
static void end_block(IRSB *sb, Addr last)
{
	struct insn_address address;
	UInt length;

	if (sb->jumpkind == Ijk_NoDecode && sb->next->tag == Iex_Const)
		last = sb->next->Iex.Const.con->Ico.U64;
	else if (sb->jumpkind != Ijk_InvalICache)
		return;
	if (insn_decode((const UChar *)last, &address, &length) != INSN_FLUSH)
		return;
	call(sb, "on_flush", on_flush, operand(sb, &address, last + length), 0, NULL);
	sb->next = word(last + length);
	sb->jumpkind = Ijk_Boring;
}

/* Copy a statement, and note behind it what it did. */
static void copy_statement(IRSB *sb, IRStmt *st, enum insn_kind kind)
{
	if (is_cpuid(st)) {
		copy_cpuid(sb, st);
		return;
	}
	addStmtToIRSB(sb, st);
	switch (st->tag) {
	case Ist_Store:
		note_store(sb, kind, st->Ist.Store.addr, st->Ist.Store.data, 1, NULL);
		break;
	case Ist_StoreG: {
		IRStoreG *s = st->Ist.StoreG.details;

		note_store(sb, kind, s->addr, s->data, 1, s->guard);
		break;
	}
	case Ist_CAS: {
		/* One that failed has left the old value there: a store of what was
		 * there changes nothing in any image. */
		IRCAS *cas = st->Ist.CAS.details;

		note_store(sb, INSN_OTHER, cas->addr, cas->dataLo, cas->dataHi ? 2 : 1, NULL);
		break;
	}
	case Ist_Dirty: {
		IRDirty *d = st->Ist.Dirty.details;

		if (d->mFx == Ifx_Write || d->mFx == Ifx_Modify)
			call(sb, "on_large_store", on_large_store, d->mAddr, (ULong)d->mSize,
			     d->guard);
		break;
	}
	case Ist_MBE:
		if (kind == INSN_STORE_FENCE)
			note_fence(sb);
		break;
	default:
		break;
	}
}

static IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout,
			const VexGuestExtents *extents, const VexArchInfo *host, IRType guest_word,
			IRType host_word)
{
	IRSB *out = deepCopyIRSBExceptStmts(in);
	enum insn_kind kind = INSN_OTHER;
	struct insn_address address;
	UInt length;
	Addr last = 0;
	Int i = 0;

	(void)closure, (void)layout, (void)extents, (void)host, (void)guest_word, (void)host_word;
	/* What stands before the first instruction is not the program's. */
	for (; i < in->stmts_used && in->stmts[i]->tag != Ist_IMark; i++)
		addStmtToIRSB(out, in->stmts[i]);
	for (; i < in->stmts_used; i++) {
		IRStmt *st = in->stmts[i];

		if (st->tag == Ist_IMark) {
			last = st->Ist.IMark.addr;
			kind = insn_decode((const UChar *)last, &address, &length);
		}
		copy_statement(out, st, kind);
	}
	end_block(out, last);
	return out;
}

/* ---- the tool -------------------------------------------------------------------------- */

static void start(void)
{
	HChar *path;

	if (!log_name)
		return;
	path = VG_(expand_file_name)("--log", log_name);
	if (!log_open(path)) {
		VG_(umsg)("cannot make the log %s\n", path);
		VG_(exit)(2);
	}
}

static void finish(Int status)
{
	(void)status;
	log_close();
	if (print_counts)
		VG_(umsg)
	("%llu stores, %llu past the cache (%llu lines), %llu flushes, "
	 "%llu fences\n",
	 (ULong)counts.stores, (ULong)counts.nt_stores, (ULong)counts.nt_lines,
	 (ULong)counts.flushes, (ULong)counts.fences);
}

/* A child has its own memory and must not write into the parent's log. */
static void in_child(ThreadId tid)
{
	(void)tid;
	log_drop();
}

static void init(void)
{
	VG_(details_name)("pheaptrace");
	VG_(details_version)(NULL);
	VG_(details_description)("a tracer of stores to persistent memory");
	VG_(details_copyright_author)("GNU GPL, version 2 or later");
	VG_(details_bug_reports_to)("the authors of pheap");
	VG_(details_avg_translation_sizeB)(400);
	VG_(basic_tool_funcs)(start, instrument, finish);
	VG_(needs_command_line_options)(read_option, print_usage, print_debug_usage);
	VG_(needs_client_requests)(on_request);
	VG_(track_new_mem_mmap)(on_mmap);
	VG_(track_die_mem_munmap)(remove_regions);
	VG_(track_post_mem_write)(on_kernel_store);
	VG_(atfork)(NULL, NULL, in_child);
}

VG_DETERMINE_INTERFACE_VERSION(init)
