/*
 * worker.h - several threads of one run, one at a time: operations of different
 * threads, and with them several redo rings, in an order that the seed decides.
 *
 * What a step does is done whole before the next step begins. Steps that interleave
 * inside an operation need a scheduler in the simulator's events; it will hand over
 * between workers in the same way.
 */
#ifndef CRASH_WORKER_H
#define CRASH_WORKER_H

#include "run.h"

/* Do a step in thread number `who` (1 to RUN_WORKERS), and wait for it. */
void worker_do(struct run *run, unsigned who, void (*step)(struct run *run));

/*
 * Let a thread end while the heap is open: it gives back what it holds. Not explored,
 * because a thread that ends holds a lock that an oracle needs to open a heap.
 */
void worker_end(struct run *run, unsigned who);

/* Let all end; the heap is closed or abandoned. */
void worker_end_all(struct run *run);

#endif
