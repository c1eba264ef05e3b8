/*
 * loops-linked.h - the loops of the persistent workloads, over a heap with slots.
 *
 * Included as loops.h is, after a system has defined, all inline, i below SLOTS:
 *
 *	sys_linked(slots, i)		does slot i refer to an object?
 *	sys_link(w, slots, i)		allocate an object and link it into slot i
 *	sys_unlink(slots, i)		unlink it and free it
 *	sys_link_large(w, slots, i)	as sys_link, the content is nobody's concern
 *	sys_tx_write8(w, i)		a transaction that sets the word of line i
 *	sys_tx_snapshot8(w, i)		the same by snapshot and store
 *	sys_tx_snapshot8x8(w, i)	that for the words of lines i to i + 7
 *	sys_tx_link(w, i), sys_tx_unlink(w, i)	in a transaction
 *	sys_tx_link64(w), sys_tx_unlink64(w)	64 of them in one, BATCH_STRIDE slots apart
 */
#ifndef LOOPS_LINKED_H
#define LOOPS_LINKED_H

#include "loops.h"

static uint64_t loop_linked_pair(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		sys_link(w, w->slots, 0);
		sys_unlink(w->slots, 0);
	}
	return n;
}

static uint64_t loop_linked_ring(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		/* Go on where the call before left off. */
		unsigned at = w->at++ % SLOTS;

		if (sys_linked(w->slots, at))
			sys_unlink(w->slots, at);
		else
			sys_link(w, w->slots, at);
	}
	return n;
}

/*
 * Slots, their lines, the objects and their slabs are shared. Who uses a slot
 * marks it; a thread that finds it marked takes another one.
 */
static uint64_t loop_linked_shared(struct worker *w, uint64_t n)
{
	void *slots = w->shared->slots;

	for (uint64_t done = 0; done < n;) {
		unsigned at = next_pick(w)->any % SLOTS;
		uint8_t *busy = &w->shared->busy[at];

		if (__atomic_exchange_n(busy, 1, __ATOMIC_ACQUIRE))
			continue;
		if (sys_linked(slots, at))
			sys_unlink(slots, at);
		else
			sys_link(w, slots, at);
		__atomic_store_n(busy, 0, __ATOMIC_RELEASE);
		done++;
	}
	return n;
}

static uint64_t loop_linked_prodcon(struct worker *w, uint64_t n)
{
	struct ring_entry *ring = w->shared->ring;
	void *slots = w->shared->slots;

	for (uint64_t i = 0; i < n; i++) {
		unsigned at = i % SLOTS;

		await(&ring[at].full, w->index);
		if (w->index == 0)
			sys_link(w, slots, at);
		else
			sys_unlink(slots, at);
		__atomic_store_n(&ring[at].full, 1 - w->index, __ATOMIC_RELEASE);
	}
	return n;
}

static uint64_t loop_large_linked_pair(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		sys_link_large(w, w->slots, 0);
		sys_unlink(w->slots, 0);
	}
	return n;
}

static uint64_t loop_tx_write8(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		sys_tx_write8(w, w->at++ % SLOTS);
	return n;
}

static uint64_t loop_tx_snapshot8(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		sys_tx_snapshot8(w, w->at++ % SLOTS);
	return n;
}

static uint64_t loop_tx_snapshot8x8(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		sys_tx_snapshot8x8(w, w->at++ * 8 % SLOTS);
	return n;
}

static uint64_t loop_tx_alloc_link(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		unsigned at = w->at++ % SLOTS;

		if (sys_linked(w->slots, at))
			sys_tx_unlink(w, at);
		else
			sys_tx_link(w, at);
	}
	return n;
}

static uint64_t loop_tx_batch64(struct worker *w, uint64_t n)
{
	uint64_t done;

	for (done = 0; done < n; done += 128) {
		sys_tx_link64(w);
		sys_tx_unlink64(w);
	}
	return done;
}

#define LINKED_LOOPS                                                                      \
	[W_LINKED_PAIR] = loop_linked_pair, [W_LINKED_RING] = loop_linked_ring,           \
	[W_LINKED_SHARED] = loop_linked_shared, [W_LINKED_PRODCON] = loop_linked_prodcon, \
	[W_LARGE_LINKED_PAIR] = loop_large_linked_pair, [W_TX_WRITE8] = loop_tx_write8,   \
	[W_TX_SNAPSHOT8] = loop_tx_snapshot8, [W_TX_SNAPSHOT8X8] = loop_tx_snapshot8x8,   \
	[W_TX_ALLOC_LINK] = loop_tx_alloc_link, [W_TX_BATCH64] = loop_tx_batch64

#endif
