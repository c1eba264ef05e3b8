/*
 * pheap-workload.c - the programs that are traced.
 *
 *	pheap-workload prepare KIND SEED LENGTH POOL   make a pool, empty
 *	pheap-workload warm POOL    operations before the traced run
 *	pheap-workload crash POOL   the same, and no end: neither is the pool closed, nor
 *	                            a transaction that has stored in place
 *	pheap-workload run POOL     the traced run: LENGTH operations
 *
 * In the traced run every operation is a marked section, and so are open and close.
 * After "crash", open has records to replay and undo logs to roll back.
 */
#include "requests.h"
#include "workload.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "pheap-workload: %s: %s\n", what, pheap_errormsg());
	_exit(1);
}

static void mark(const char *name, const char *what)
{
	char text[64];

	snprintf(text, sizeof(text), "%s.%s", name, what);
	pheaptrace_mark(text);
}

/* Stores that nobody will commit, where no operation comes by: one would settle the
 * records that replay is to find. */
static void leave_transaction_open(pheap_t *heap)
{
	struct table *table = pheap_ptr(heap, *pheap_root(heap));
	uint64_t *spare = (uint64_t *)pheap_ptr(heap, table->words) + WORDS;
	pheap_tx_t *tx = pheap_tx_begin(heap);

	if (!tx || pheap_tx_snapshot(tx, spare, 8 * 40) || pheap_tx_snapshot(tx, &spare[44], 8))
		fail("transaction");
	memset(spare, 0xee, 8 * 40);
	spare[44] = 1;
}

static void prepare(const char *kind, uint64_t seed, unsigned length, const char *path)
{
	pheap_t *heap = workload_create(path, kind, seed, length);

	if (!heap || pheap_close(heap))
		fail("prepare");
}

static pheap_t *open_sequence(const char *path, struct sequence *s)
{
	pheap_t *heap = workload_open(path);

	if (!heap)
		fail("open");
	if (!workload_sequence(heap, s))
		fail(path);
	return heap;
}

static void warm(const char *path, bool crash)
{
	struct sequence s;
	pheap_t *heap = open_sequence(path, &s);
	struct op op;

	if (crash)
		leave_transaction_open(heap);
	for (unsigned i = 0; i < s.warm; i++) {
		sequence_next(&s, &op);
		if (op_run(heap, &op))
			fail(op_name(&op));
	}
	if (crash)
		_exit(0);
	if (pheap_close(heap))
		fail("close");
}

static void run(const char *path)
{
	struct sequence s;
	struct op op;
	pheap_t *heap;

	mark("open", "BEGIN");
	heap = open_sequence(path, &s);
	mark("open", "END");
	for (unsigned i = 0; i < s.warm; i++)
		sequence_next(&s, &op);
	for (unsigned i = 0; i < s.length; i++) {
		sequence_next(&s, &op);
		mark(op_name(&op), "BEGIN");
		if (op_run(heap, &op))
			fail(op_name(&op));
		mark(op_name(&op), "END");
	}
	mark("close", "BEGIN");
	if (pheap_close(heap))
		fail("close");
	mark("close", "END");
}

static int usage(void)
{
	fputs("usage: pheap-workload prepare KIND SEED LENGTH POOL\n"
	      "       pheap-workload warm|crash|run POOL\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "prepare") && workload_kind(argv[2]) >= 0)
		prepare(argv[2], strtoull(argv[3], NULL, 0), (unsigned)atoi(argv[4]), argv[5]);
	else if (argc == 3 && !strcmp(argv[1], "warm"))
		warm(argv[2], false);
	else if (argc == 3 && !strcmp(argv[1], "crash"))
		warm(argv[2], true);
	else if (argc == 3 && !strcmp(argv[1], "run"))
		run(argv[2]);
	else
		return usage();
	return 0;
}
