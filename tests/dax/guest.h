/*
 * guest.h - what the parts of the guest's program share.
 */
#ifndef TESTS_DAX_GUEST_H
#define TESTS_DAX_GUEST_H

#include "common.h"

/* A new pool at path, for power loss; its root refers to the workload's array. */
pheap_t *make_dax_pool(const char *path);

/* One line on what the heap is mapped from. */
void print_facts(pheap_t *heap, const char *path);

/* Print how often some operations execute each instruction that makes stores
 * durable: the processor's own answer, by single steps. */
int count_steps(const char *path);

/*
 * Make pools at both paths, and a bad block below the first one while it is open.
 * list is the file with which the kernel's list of the device is changed.
 */
int try_bad_block(const char *path, const char *other, const char *list);

#endif
