/*
 * graph.h - the part of the shadow model that has reference counts: a board, which a named
 * root refers to, with strong and weak slots; and up to so many counted objects, each with
 * two strong references and a weak one. A strong reference leads to an object of a smaller
 * number, so that there are no cycles. A number is used again when nothing is left of its
 * object, weak references to it included.
 */
#ifndef CRASH_GRAPH_H
#define CRASH_GRAPH_H

#include <pheap.h>

#define GRAPH_NODES 12u
#define GRAPH_SLOTS 6u /* strong ones of the board; as many weak ones behind them */

/* References are numbers of nodes, plus one; 0 is null. */
struct graph_node {
	uint8_t alive; /* or dead, with weak references */
	uint8_t left, right, weak;
	uint64_t id;
};

struct graph {
	bool root, board;
	uint8_t slot[GRAPH_SLOTS], weak[GRAPH_SLOTS];
	struct graph_node node[GRAPH_NODES];
};

/* On media. */
struct graph_object {
	pheap_ref left, right, weak;
	uint64_t id;
};

/* References to a node, from objects that are alive and from the board. */
unsigned graph_strong(const struct graph *graph, unsigned node);
unsigned graph_weak(const struct graph *graph, unsigned node);

/* Let those die that have no strong reference, until there are none. */
void graph_settle(struct graph *graph);

/* Published objects: the board, what is alive, and what weak references are left to. */
uint64_t graph_objects(const struct graph *graph);

/* The board of an open heap: its strong slots, then its weak ones; NULL: there is none. */
pheap_ref *graph_board(pheap_t *heap);

/* Does an open heap hold the graph, with these counts? NULL, or what differs. */
const char *graph_match(pheap_t *heap, const struct graph *graph);

#endif
