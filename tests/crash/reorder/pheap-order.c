/*
 * pheap-order.c - programs that store in place, in the right order and in wrong ones:
 * controls for the replayer.
 *
 * Some words of content, and a number that says which round they are of. Rule: each
 * word is at least as new as the number. A crash must not break it.
 *
 *	pheap-order prepare POOL
 *	pheap-order run VARIANT POOL
 *
 *	right      content, persist, number, persist
 *	late       number, persist, content, persist
 *	together   content, number, flush both, one fence
 *	evicted    number, content, persist content, persist number: wrong only where
 *	           the number's line leaves the cache early
 *	line       content and number in one line, in this order, one fence: right,
 *	           because a line reaches media in program order
 */
#include "order.h"
#include "requests.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS 4

static pheap_t *heap;
static struct order *order;

/* Each store is one instruction, and stays where it is. */
static void put(volatile uint64_t *word, uint64_t value)
{
	*word = value;
}

static void put_content(uint64_t value)
{
	for (int i = 0; i < ORDER_WORDS; i++)
		put(&order->content[i], value);
}

static void persist(const void *addr, size_t length)
{
	if (pheap_persist(heap, addr, length))
		fprintf(stderr, "%s\n", pheap_errormsg());
}

static void persist_content(void)
{
	persist(order->content, sizeof(order->content));
}

static void persist_number(void)
{
	persist(&order->number, 8);
}

static void run_right(uint64_t i)
{
	put_content(i);
	persist_content();
	put(&order->number, i);
	persist_number();
}

static void run_late(uint64_t i)
{
	put(&order->number, i);
	persist_number();
	put_content(i);
	persist_content();
}

static void run_together(uint64_t i)
{
	put_content(i);
	put(&order->number, i);
	pheap_flush(heap, order->content, sizeof(order->content));
	pheap_flush(heap, &order->number, 8);
	pheap_drain(heap);
}

static void run_evicted(uint64_t i)
{
	put(&order->number, i);
	put_content(i);
	persist_content();
	persist_number();
}

static void run_line(uint64_t i)
{
	put(&order->line[0], i);
	put(&order->line[1], i);
	put(&order->line_number, i);
	persist(order->line, sizeof(order->line) + 8);
}

static const struct {
	const char *name;
	void (*run)(uint64_t);
} variants[] = {
	{"right", run_right},	  {"late", run_late}, {"together", run_together},
	{"evicted", run_evicted}, {"line", run_line},
};

static int prepare(const char *path)
{
	heap = order_create(path);
	if (!heap || pheap_close(heap)) {
		fprintf(stderr, "%s\n", pheap_errormsg());
		return 1;
	}
	return 0;
}

static int run(const char *variant, const char *path)
{
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		if (strcmp(variant, variants[i].name))
			continue;
		heap = order_open(path);
		if (!heap) {
			fprintf(stderr, "%s\n", pheap_errormsg());
			return 1;
		}
		order = pheap_ptr(heap, *pheap_root(heap));
		for (uint64_t round = 1; round <= ROUNDS; round++) {
			pheaptrace_mark("round.BEGIN");
			variants[i].run(round);
			pheaptrace_mark("round.END");
		}
		return pheap_close(heap) ? 1 : 0;
	}
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "prepare"))
		return prepare(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3]);
	fputs("usage: pheap-order prepare POOL | run VARIANT POOL\n", stderr);
	return 2;
}
