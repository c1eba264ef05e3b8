/*
 * check-order.c - the rule of pheap-order: no content is older than its number.
 */
#include "order.h"

#include <stdbool.h>
#include <stdio.h>

int check_order(const char *path);

static bool holds(const struct order *o)
{
	for (int i = 0; i < ORDER_WORDS; i++)
		if (o->content[i] < o->number)
			return false;
	return o->line[0] >= o->line_number && o->line[1] >= o->line_number;
}

int check_order(const char *path)
{
	pheap_t *heap = order_open(path);
	bool ok;

	if (!heap) {
		fprintf(stderr, "check: %s\n", pheap_errormsg());
		return 1;
	}
	ok = holds(pheap_ptr(heap, *pheap_root(heap)));
	return pheap_close(heap) || !ok;
}
