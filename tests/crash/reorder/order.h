/*
 * order.h - the pool of pheap-order, and the rule that its images are checked by.
 */
#ifndef REORDER_ORDER_H
#define REORDER_ORDER_H

#include <pheap.h>

#define ORDER_WORDS 3

/* One object, aligned to its size: each group begins a line. */
struct order {
	uint64_t number;
	uint64_t unused[7];
	uint64_t content[ORDER_WORDS];
	uint64_t unused_too[8 - ORDER_WORDS];
	uint64_t line[2];
	uint64_t line_number;
	uint64_t unused_as_well[5];
	uint64_t rest[8];
};

static inline struct pheap_options order_options(void)
{
	return (struct pheap_options){
		.struct_size = sizeof(struct pheap_options),
		.size = PHEAP_MIN_SIZE,
		.durability = PHEAP_POWER,
		.flags = PHEAP_FORCE_PMEM,
	};
}

static inline pheap_t *order_create(const char *path)
{
	struct pheap_options opts = order_options();
	pheap_t *heap = pheap_create(path, &opts);

	if (heap && pheap_alloc_into(heap, pheap_root(heap), sizeof(struct order), NULL)) {
		pheap_close(heap);
		return NULL;
	}
	return heap;
}

static inline pheap_t *order_open(const char *path)
{
	struct pheap_options opts = order_options();

	return pheap_open(path, &opts);
}

#endif
