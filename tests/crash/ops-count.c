/*
 * ops-count.c - reference counts: the operations on graph.h. See ops.h.
 */
#include <errno.h>
#include <string.h>

#include "ops.h"
#include "random.h"

static pheap_type_t *counted_type(struct run *run)
{
	return pheap_type_find(run->heap, model_type_name(MODEL_TYPE_COUNTED));
}

/* The graph as the operation will leave it. */
static struct graph *next_of(struct run *run)
{
	return &run->next.graph;
}

static bool done(struct run *run, int err)
{
	return op_end(run, err);
}

void op_board(struct run *run)
{
	char zero[2 * GRAPH_SLOTS * sizeof(pheap_ref)] = {0};
	pheap_ref *root;
	int err;

	if (!run->now.graph.root && op_begin(run, "board root", 0, 0)) {
		next_of(run)->root = true;
		op_go(run);
		errno = 0;
		done(run, pheap_named_root(run->heap, "board") ? 0 : -errno);
	}
	if (!run->now.graph.root || !op_begin(run, "board", 0, 0))
		return;
	root = pheap_find_root(run->heap, "board");
	next_of(run)->board = true;
	op_go(run);
	err = pheap_alloc_into(run->heap, root, sizeof(zero), zero);
	if (!err)
		run_absorb(run, pheap_ptr(run->heap, *root),
			   pheap_usable_size(run->heap, pheap_ptr(run->heap, *root)));
	done(run, err);
}

/* Where a node is; 0 is null. */
static pheap_ref find_node(struct run *run, unsigned number)
{
	const struct graph *graph = &run->now.graph;
	pheap_ref *board = graph_board(run->heap), ref[GRAPH_NODES] = {0};

	if (!number)
		return PHEAP_NULL;
	for (unsigned i = 0; i < GRAPH_SLOTS; i++)
		if (graph->slot[i])
			ref[graph->slot[i] - 1] = board[i];
	for (unsigned i = GRAPH_NODES; i--;) {
		const struct graph_node *node = &graph->node[i];
		const struct graph_object *object = pheap_ptr(run->heap, ref[i]);

		if (!node->alive || !object)
			continue;
		if (node->left)
			ref[node->left - 1] = object->left;
		if (node->right)
			ref[node->right - 1] = object->right;
	}
	if (!ref[number - 1])
		run_fail(run, "counted object %u is not to be found", number - 1);
	return ref[number - 1];
}

static void fill(struct run *run, char *ptr, struct graph_node *node, unsigned left, unsigned right,
		 unsigned weak)
{
	struct graph_object object = {.left = find_node(run, left),
				      .right = find_node(run, right),
				      .weak = find_node(run, weak),
				      .id = random_next(&run->random)};

	run_absorb(run, ptr, pheap_usable_size(run->heap, ptr));
	run_put(run, ptr, &object, sizeof(object));
	*node = (struct graph_node){1, (uint8_t)left, (uint8_t)right, (uint8_t)weak, object.id};
}

bool op_count_publish(struct run *run, unsigned slot, unsigned number, unsigned left,
		      unsigned right, unsigned weak)
{
	bool replace = run->now.graph.slot[slot];
	char *ptr;
	int err;

	if (!op_begin(run, replace ? "replace counted" : "publish counted", slot, number))
		return false;
	errno = 0;
	ptr = pheap_alloc_typed(counted_type(run));
	if (!ptr)
		return done(run, -errno);
	fill(run, ptr, &next_of(run)->node[number - 1], left, right, weak);
	next_of(run)->slot[slot] = (uint8_t)number;
	graph_settle(next_of(run));
	op_go(run);
	err = (replace ? pheap_replace : pheap_publish)(run->heap, &graph_board(run->heap)[slot],
							ptr, 0);
	if (err == -ENOSPC && run->tolerant)
		pheap_free(run->heap, ptr);
	return done(run, err);
}

void op_count_link(struct run *run, unsigned slot, unsigned number)
{
	pheap_ref ref;

	if (!op_begin(run, "link", slot, number))
		return;
	ref = find_node(run, number);
	next_of(run)->slot[slot] = (uint8_t)number;
	graph_settle(next_of(run));
	op_go(run);
	done(run, pheap_link(run->heap, &graph_board(run->heap)[slot], ref));
}

void op_count_edge(struct run *run, unsigned from, bool right, unsigned number)
{
	struct graph_object *object;
	pheap_ref ref;

	if (!op_begin(run, "link of an object", from, number))
		return;
	object = pheap_ptr(run->heap, find_node(run, from));
	ref = find_node(run, number);
	*(right ? &next_of(run)->node[from - 1].right : &next_of(run)->node[from - 1].left) =
		(uint8_t)number;
	graph_settle(next_of(run));
	op_go(run);
	done(run, pheap_link(run->heap, right ? &object->right : &object->left, ref));
}

void op_count_weak(struct run *run, unsigned slot, unsigned number)
{
	pheap_ref ref;

	if (!op_begin(run, "weak link", slot, number))
		return;
	ref = find_node(run, number);
	next_of(run)->weak[slot] = (uint8_t)number;
	op_go(run);
	done(run, pheap_weak_link(run->heap, &graph_board(run->heap)[GRAPH_SLOTS + slot], ref));
}

void op_count_get(struct run *run, unsigned weak, unsigned slot)
{
	unsigned number = run->now.graph.weak[weak];
	bool alive = number && run->now.graph.node[number - 1].alive;
	pheap_ref *board;
	int err;

	if (!op_begin(run, "weak get", weak, slot))
		return;
	if (alive) {
		next_of(run)->slot[slot] = (uint8_t)number;
		graph_settle(next_of(run));
	}
	op_go(run);
	board = graph_board(run->heap);
	err = pheap_weak_get(run->heap, &board[GRAPH_SLOTS + weak], &board[slot]);
	if (!alive && err != -ENOENT)
		run_fail(run, "weak get of what is dead gives %d", err);
	done(run, alive ? err : 0);
}

/* Two new objects, the second one the first one's left, and two links more. */
bool op_count_tx(struct run *run, unsigned a, unsigned b, unsigned slot, unsigned other,
		 unsigned number)
{
	pheap_ref *board, ref;
	struct graph *graph;
	char *pa = NULL, *pb = NULL;
	pheap_tx_t *tx;
	int err = 0;

	if (!op_begin(run, "transaction, counted", a, b))
		return false;
	board = graph_board(run->heap);
	graph = next_of(run);
	ref = find_node(run, number);
	errno = 0;
	tx = pheap_tx_begin(run->heap);
	if (tx)
		pb = pheap_tx_alloc_typed(tx, counted_type(run));
	if (pb)
		pa = pheap_tx_alloc_typed(tx, counted_type(run));
	if (!pa)
		err = -errno;
	if (!err) {
		pheap_ref left;

		fill(run, pb, &graph->node[b - 1], number, 0, 0);
		fill(run, pa, &graph->node[a - 1], 0, 0, 0);
		left = pheap_ref_of(run->heap, pb);
		run_put(run, pa, &left, sizeof(left));
		graph->node[a - 1].left = (uint8_t)b;
		err = pheap_tx_link(tx, &board[slot], pheap_ref_of(run->heap, pa));
	}
	if (!err)
		err = pheap_tx_link(tx, &board[other], ref);
	if (err) {
		if (tx)
			pheap_tx_abort(tx);
		return done(run, err);
	}
	graph->slot[slot] = (uint8_t)a;
	graph->slot[other] = (uint8_t)number;
	graph_settle(graph);
	op_go(run);
	return done(run, pheap_tx_commit(tx));
}

/* ---- at random ----------------------------------------------------------------------- */

/* A node that is alive, with a smaller number than this, or 0. */
static unsigned some_node(struct run *run, unsigned below)
{
	unsigned number = (unsigned)dice(run, GRAPH_NODES + 1);

	for (; number; number--)
		if (number < below && run->now.graph.node[number - 1].alive)
			break;
	return number;
}

/* A number of which nothing is left, or 0. */
static unsigned new_node(struct run *run, unsigned from)
{
	const struct graph *graph = &run->now.graph;

	for (unsigned i = from; i < GRAPH_NODES; i++)
		if (!graph->node[i].alive && !graph_weak(graph, i))
			return i + 1;
	return 0;
}

void op_count_random(struct run *run)
{
	unsigned slot = (unsigned)dice(run, GRAPH_SLOTS), other = (unsigned)dice(run, GRAPH_SLOTS);
	unsigned made = new_node(run, (unsigned)dice(run, GRAPH_NODES)), node, second;

	switch (dice(run, 8)) {
	case 0:
	case 1:
		op_count_link(run, slot, some_node(run, GRAPH_NODES + 1));
		break;
	case 2:
		node = some_node(run, GRAPH_NODES + 1);
		if (node)
			op_count_edge(run, node, dice(run, 2), some_node(run, node));
		break;
	case 3:
		op_count_weak(run, slot, some_node(run, GRAPH_NODES + 1));
		break;
	case 4:
		op_count_get(run, slot, other);
		break;
	case 5:
		second = made ? new_node(run, made) : 0;
		if (second && slot != other)
			op_count_tx(run, second, made, slot, other, some_node(run, made));
		break;
	default:
		if (made)
			op_count_publish(run, slot, made, some_node(run, made),
					 some_node(run, made), some_node(run, GRAPH_NODES + 1));
	}
}
