/*
 * steps.c - which instructions make stores durable, and how many of them.
 *
 * A child runs some operations on a pool; its parent single-steps it through
 * them and looks at each instruction. What libpmem chose for this processor, and
 * what pheap_stats counted, are then compared with what was executed.
 */
#include "guest.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

enum probe { PROBE_NONE, PROBE_PERSIST, PROBE_PUBLISH, PROBE_SNAPSHOT, PROBES };

static const char *const names[PROBES] = {
	[PROBE_PERSIST] = "persist",
	[PROBE_PUBLISH] = "publish",
	[PROBE_SNAPSHOT] = "snapshot",
};

struct counts {
	unsigned clwb, clflushopt, clflush, sfence, nt;
};

/* Between parent and child. */
static struct {
	enum probe now;
	struct pheap_stats before[PROBES], after[PROBES];
} * shared;

/* ---- the child ------------------------------------------------------------------- */

static void start(pheap_t *heap, enum probe probe)
{
	must(!pheap_get_stats(heap, &shared->before[probe]));
	__atomic_store_n(&shared->now, probe, __ATOMIC_SEQ_CST);
}

static void stop(pheap_t *heap, enum probe probe)
{
	__atomic_store_n(&shared->now, PROBE_NONE, __ATOMIC_SEQ_CST);
	must(!pheap_get_stats(heap, &shared->after[probe]));
}

/* 4096 bytes that records never write, so that nothing has to be settled. */
static void probe_persist(pheap_t *heap, char *page)
{
	memset(page, 1, 256);
	start(heap, PROBE_PERSIST);
	must(!pheap_persist(heap, page, 256));
	stop(heap, PROBE_PERSIST);
}

static void probe_publish(pheap_t *heap)
{
	pheap_ref *slot = pheap_named_root(heap, "probe");
	void *object = pheap_alloc(heap, 64);

	must(slot && object);
	memset(object, 2, 64);
	start(heap, PROBE_PUBLISH);
	must(!pheap_publish(heap, slot, object, 0));
	stop(heap, PROBE_PUBLISH);
}

static void probe_snapshot(pheap_t *heap, char *page)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);

	must(tx);
	start(heap, PROBE_SNAPSHOT);
	must(!pheap_tx_snapshot(tx, page, 64));
	memset(page, 3, 64);
	must(!pheap_tx_commit(tx));
	stop(heap, PROBE_SNAPSHOT);
}

static int run_probes(const char *path)
{
	pheap_t *heap = make_dax_pool(path);
	pheap_ref *slot = pheap_named_root(heap, "page");
	char *page = pheap_alloc(heap, 4096);

	for (unsigned i = PROBE_NONE; i < PROBES; i++)
		shared->before[i].struct_size = shared->after[i].struct_size =
			sizeof(shared->before[i]);
	must(slot && page);
	memset(page, 0, 4096);
	must(!pheap_publish(heap, slot, page, 0));
	must(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	/* The first time lanes, logs and slabs are made. */
	for (unsigned i = 0; i < 2; i++) {
		if (i)
			raise(SIGSTOP); /* and from here on step by step */
		probe_persist(heap, page);
		probe_publish(heap);
		probe_snapshot(heap, page + 1024);
		if (!i)
			must(!pheap_retire(heap, pheap_named_root(heap, "probe")));
	}
	_exit(0);
}

/* ---- the parent ------------------------------------------------------------------ */

/* Count the instruction at code, if it is one of those that matter here. */
static void look(const unsigned char *code, struct counts *counts)
{
	bool operand16 = code[0] == 0x66;
	const unsigned char *at = code + operand16;

	if ((*at & 0xf0) == 0x40) /* REX */
		at++;
	if (at[0] == 0x0f && at[1] == 0xae) {
		unsigned mod = at[2] >> 6, reg = at[2] >> 3 & 7;

		counts->clwb += operand16 && mod != 3 && reg == 6;
		counts->clflushopt += operand16 && mod != 3 && reg == 7;
		counts->clflush += !operand16 && mod != 3 && reg == 7;
		counts->sfence += !operand16 && mod == 3 && reg == 7;
	} else if (at[0] == 0x0f && (at[1] == 0xe7 || at[1] == 0xc3)) {
		counts->nt++; /* movntdq, movnti */
	} else if ((code[0] == 0xc5 && code[2] == 0xe7) || (code[0] == 0xc4 && code[3] == 0xe7) ||
		   (code[0] == 0x62 && code[4] == 0xe7)) {
		counts->nt++; /* vmovntdq, in its three encodings */
	}
}

static void step_through(pid_t child, struct counts *counts)
{
	struct user_regs_struct regs;
	long word[2];
	int status;

	for (;;) {
		must(waitpid(child, &status, 0) == child);
		if (WIFEXITED(status)) {
			must(!WEXITSTATUS(status));
			return;
		}
		must(WIFSTOPPED(status));
		must(WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGTRAP);
		must(!ptrace(PTRACE_GETREGS, child, NULL, &regs));
		errno = 0;
		word[0] = ptrace(PTRACE_PEEKTEXT, child, (void *)regs.rip, NULL);
		word[1] = 0;
		must(!errno);
		look((const unsigned char *)word, &counts[shared->now]);
		must(!ptrace(PTRACE_SINGLESTEP, child, NULL, NULL));
	}
}

int count_steps(const char *path)
{
	struct counts counts[PROBES] = {{0}};
	pid_t child;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	must(shared != MAP_FAILED);
	fflush(NULL);
	child = fork();
	must(child >= 0);
	if (!child)
		return run_probes(path);
	step_through(child, counts);
	for (unsigned i = PROBE_PERSIST; i < PROBES; i++)
		printf("@steps %s clwb=%u clflushopt=%u clflush=%u sfence=%u nt=%u "
		       "counted_lines=%llu counted_fences=%llu counted_nt_lines=%llu\n",
		       names[i], counts[i].clwb, counts[i].clflushopt, counts[i].clflush,
		       counts[i].sfence, counts[i].nt,
		       (unsigned long long)(shared->after[i].flushed_lines -
					    shared->before[i].flushed_lines),
		       (unsigned long long)(shared->after[i].fences - shared->before[i].fences),
		       (unsigned long long)(shared->after[i].nt_lines -
					    shared->before[i].nt_lines));
	return 0;
}
