/*
 * graph.c - the shadow model of reference counts. See graph.h.
 */
#include "graph.h"

#include <stdio.h>
#include <string.h>

unsigned graph_strong(const struct graph *graph, unsigned node)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GRAPH_SLOTS; i++)
		n += graph->slot[i] == node + 1;
	for (unsigned i = 0; i < GRAPH_NODES; i++)
		if (graph->node[i].alive)
			n += (graph->node[i].left == node + 1) + (graph->node[i].right == node + 1);
	return n;
}

unsigned graph_weak(const struct graph *graph, unsigned node)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GRAPH_SLOTS; i++)
		n += graph->weak[i] == node + 1;
	for (unsigned i = 0; i < GRAPH_NODES; i++)
		n += graph->node[i].alive && graph->node[i].weak == node + 1;
	return n;
}

void graph_settle(struct graph *graph)
{
	for (bool again = true; again;) {
		again = false;
		for (unsigned i = 0; i < GRAPH_NODES; i++)
			if (graph->node[i].alive && !graph_strong(graph, i)) {
				graph->node[i] = (struct graph_node){0};
				again = true;
			}
	}
}

uint64_t graph_objects(const struct graph *graph)
{
	uint64_t n = graph->board;

	for (unsigned i = 0; i < GRAPH_NODES; i++)
		n += graph->node[i].alive || graph_weak(graph, i);
	return n;
}

pheap_ref *graph_board(pheap_t *heap)
{
	pheap_ref *root = pheap_find_root(heap, "board");

	return root ? pheap_ptr(heap, *root) : NULL;
}

/* ---- comparison ----------------------------------------------------------------- */

struct match {
	pheap_t *heap;
	const struct graph *graph;
	pheap_ref ref[GRAPH_NODES]; /* where each is; 0: not seen yet */
};

static const char *differ(unsigned node, const char *why, uint64_t have, uint64_t want)
{
	static __thread char text[128];

	snprintf(text, sizeof(text), "counted object %u: %s %llu, not %llu", node, why,
		 (unsigned long long)have, (unsigned long long)want);
	return text;
}

/* A slot must refer to this node, and to the same object as others. */
static const char *match_slot(struct match *m, pheap_ref have, unsigned want)
{
	if (!want || !have)
		return !want && !have ? NULL : differ(want - 1, "reference", have, want);
	if (!m->ref[want - 1])
		m->ref[want - 1] = have;
	return m->ref[want - 1] == have ? NULL
					: differ(want - 1, "reference", have, m->ref[want - 1]);
}

static const char *match_node(struct match *m, unsigned i)
{
	const struct graph_node *want = &m->graph->node[i];
	const struct graph_object *have = pheap_ptr(m->heap, m->ref[i]);
	uint64_t strong, weak;
	const char *differs;

	if (!have || pheap_counts(m->heap, have, &strong, &weak))
		return differ(i, "no object at", m->ref[i], want->id);
	if (strong != (want->alive ? graph_strong(m->graph, i) : 0))
		return differ(i, "strong references", strong, graph_strong(m->graph, i));
	if (weak != graph_weak(m->graph, i))
		return differ(i, "weak references", weak, graph_weak(m->graph, i));
	if (!want->alive)
		return NULL;
	if (have->id != want->id)
		return differ(i, "content", have->id, want->id);
	differs = match_slot(m, have->left, want->left);
	if (!differs)
		differs = match_slot(m, have->right, want->right);
	return differs ? differs : match_slot(m, have->weak, want->weak);
}

const char *graph_match(pheap_t *heap, const struct graph *graph)
{
	struct match m = {.heap = heap, .graph = graph};
	pheap_ref *root = pheap_find_root(heap, "board"), *board;
	const char *differs = NULL;

	if (!root != !graph->root || (root && !*root != !graph->board))
		return "the board is there, or is not";
	board = graph->board ? graph_board(heap) : NULL;
	for (unsigned i = 0; board && i < GRAPH_SLOTS && !differs; i++) {
		differs = match_slot(&m, board[i], graph->slot[i]);
		if (!differs)
			differs = match_slot(&m, board[GRAPH_SLOTS + i], graph->weak[i]);
	}
	/* From larger numbers to smaller ones, so each has been found before; but for what only
	 * weak references of smaller ones lead to. */
	for (unsigned i = GRAPH_NODES; i-- && !differs;)
		if (graph->node[i].alive)
			differs = match_node(&m, i);
	for (unsigned i = GRAPH_NODES; i-- && !differs;)
		if (m.ref[i] && !graph->node[i].alive)
			differs = match_node(&m, i);
	return differs;
}
