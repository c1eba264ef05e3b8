/*
 * fuzz-count.c - bytes are operations on counted objects, beside a model of what they must
 * do (tests/crash/graph.h): links, weak references, transactions, and misuse of them.
 *
 * As fuzz-api.c: one thread, memory of which exactly what was flushed and fenced is durable.
 * Asserted are the result of each call, all references and counts, the number of published
 * objects, and that pheap_check finds nothing; after a close, a kill and a power cut again.
 */
#include "media.h"

#include <sys/random.h>

#include <pheap.h>

#include "choice.h"
#include "graph.h"
#include "pool.h"

#define POOL PHEAP_MIN_SIZE
#define STEPS_MAX 200u

static struct media media;
static pheap_t *heap;
static pheap_type_t *type;
static pheap_ref *board;
static struct graph graph;
static uint64_t next_id, entropy;

/* Instead of the C library's: epochs and identifiers follow from the input. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < length; i++)
		((char *)buffer)[i] = (char)((entropy = entropy * 6364136223846793005u + 1) >> 33);
	return (ssize_t)length;
}

static void look_at_all(void)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	const char *differs = graph_match(heap, &graph);

	if (differs)
		fprintf(stderr, "%s\n", differs);
	must(!differs);
	must(!pheap_check(heap, &result, NULL, NULL));
	must(result.objects == graph_objects(&graph) + 1); /* what keeps the type */
}

static void find_all(void)
{
	static const uint32_t refs[] = {0, 8}, weak[] = {16};
	const struct pheap_type_info info = {.struct_size = sizeof(info),
					     .name = "node",
					     .flags = PHEAP_TYPE_COUNTED,
					     .size = sizeof(struct graph_object),
					     .refs = refs,
					     .nrefs = 2,
					     .weak = weak,
					     .nweak = 1};

	must((type = pheap_type_register(heap, &info)));
	must((board = graph_board(heap)));
}

/* ---- nodes, by number from 1 on ------------------------------------------------------ */

static unsigned some_node(struct choice *c, unsigned below)
{
	unsigned number = (unsigned)choose(c, GRAPH_NODES + 1);

	for (; number; number--)
		if (number < below && graph.node[number - 1].alive)
			break;
	return number;
}

static unsigned new_node(struct choice *c)
{
	for (unsigned i = (unsigned)choose(c, GRAPH_NODES); i < GRAPH_NODES; i++)
		if (!graph.node[i].alive && !graph_weak(&graph, i))
			return i + 1;
	return 0;
}

static pheap_ref find_node(unsigned number)
{
	pheap_ref ref[GRAPH_NODES] = {0};

	for (unsigned i = 0; i < GRAPH_SLOTS; i++)
		if (graph.slot[i])
			ref[graph.slot[i] - 1] = board[i];
	for (unsigned i = GRAPH_NODES; i--;) {
		const struct graph_object *object = pheap_ptr(heap, ref[i]);

		if (!graph.node[i].alive || !object) /* or a transaction's, not linked yet */
			continue;
		if (graph.node[i].left)
			ref[graph.node[i].left - 1] = object->left;
		if (graph.node[i].right)
			ref[graph.node[i].right - 1] = object->right;
	}
	must(!number || ref[number - 1]);
	return number ? ref[number - 1] : PHEAP_NULL;
}

static struct graph_object *object_of(unsigned number)
{
	return pheap_ptr(heap, find_node(number));
}

static void fill(struct graph_object *object, unsigned number, unsigned left, unsigned right,
		 unsigned weak)
{
	*object = (struct graph_object){find_node(left), find_node(right), find_node(weak),
					++next_id};
	graph.node[number - 1] =
		(struct graph_node){1, (uint8_t)left, (uint8_t)right, (uint8_t)weak, next_id};
}

/* ---- steps ------------------------------------------------------------------------------ */

static void step_publish(struct choice *c)
{
	unsigned slot = (unsigned)choose(c, GRAPH_SLOTS), number = new_node(c);
	struct graph_object *object = pheap_alloc_typed(type);

	must(object && !object->left && !object->right && !object->weak);
	if (!number) {
		must(!pheap_free(heap, object));
		return;
	}
	fill(object, number, some_node(c, number), some_node(c, number),
	     some_node(c, GRAPH_NODES + 1));
	if (graph.slot[slot]) {
		must(pheap_publish(heap, &board[slot], object, 0) == -EEXIST);
		must(!pheap_replace(heap, &board[slot], object, 0));
	} else {
		must(pheap_replace(heap, &board[slot], object, 0) == -ENOENT);
		must(!pheap_publish(heap, &board[slot], object, 0));
	}
	graph.slot[slot] = (uint8_t)number;
}

static void step_link(struct choice *c)
{
	unsigned slot = (unsigned)choose(c, GRAPH_SLOTS), number = some_node(c, GRAPH_NODES + 1);

	if (!number && graph.slot[slot] && choose(c, 2))
		must(!pheap_retire(heap, &board[slot]));
	else
		must(!pheap_link(heap, &board[slot], find_node(number)));
	graph.slot[slot] = (uint8_t)number;
}

static void step_edge(struct choice *c)
{
	unsigned from = some_node(c, GRAPH_NODES + 1), number = some_node(c, from);
	struct graph_object *object = object_of(from);

	if (!from)
		return;
	if (choose(c, 2)) {
		must(!pheap_link(heap, &object->left, find_node(number)));
		graph.node[from - 1].left = (uint8_t)number;
	} else {
		must(!pheap_link(heap, &object->right, find_node(number)));
		graph.node[from - 1].right = (uint8_t)number;
	}
}

static void step_weak(struct choice *c)
{
	unsigned slot = (unsigned)choose(c, GRAPH_SLOTS), number = some_node(c, GRAPH_NODES + 1);
	unsigned from = some_node(c, GRAPH_NODES + 1);

	if (from && choose(c, 2)) {
		must(!pheap_weak_link(heap, &object_of(from)->weak, find_node(number)));
		graph.node[from - 1].weak = (uint8_t)number;
	} else {
		must(!pheap_weak_link(heap, &board[GRAPH_SLOTS + slot], find_node(number)));
		graph.weak[slot] = (uint8_t)number;
	}
}

static void step_get(struct choice *c)
{
	unsigned weak = (unsigned)choose(c, GRAPH_SLOTS), slot = (unsigned)choose(c, GRAPH_SLOTS);
	unsigned number = graph.weak[weak];
	int err = pheap_weak_get(heap, &board[GRAPH_SLOTS + weak], &board[slot]);

	if (number && graph.node[number - 1].alive) {
		must(!err);
		graph.slot[slot] = (uint8_t)number;
	} else {
		must(err == -ENOENT);
	}
}

/* Two new objects, of which one refers to the other, and two links; committed or not. */
static void step_tx(struct choice *c)
{
	unsigned slot = (unsigned)choose(c, GRAPH_SLOTS), other = (unsigned)choose(c, GRAPH_SLOTS);
	unsigned b = new_node(c), a = b, linked = some_node(c, GRAPH_NODES + 1);
	pheap_ref linked_ref = find_node(linked);
	struct graph_object *pa, *pb;
	struct graph before = graph;
	pheap_tx_t *tx;

	while (a && a < GRAPH_NODES &&
	       (a == b || graph.node[a - 1].alive || graph_weak(&graph, a - 1)))
		a++;
	if (!b || a == b || graph.node[a - 1].alive || graph_weak(&graph, a - 1))
		return;
	must((tx = pheap_tx_begin(heap)));
	must((pb = pheap_tx_alloc_typed(tx, type)) && (pa = pheap_tx_alloc_typed(tx, type)));
	fill(pb, b, some_node(c, b), 0, some_node(c, b));
	fill(pa, a, 0, 0, 0);
	must(!pheap_tx_link(tx, &pa->right, pheap_ref_of(heap, pb)));
	graph.node[a - 1].right = (uint8_t)b;
	if (choose(c, 4)) { /* else nothing refers to them */
		must(!pheap_tx_link(tx, &board[slot], pheap_ref_of(heap, pa)));
		graph.slot[slot] = (uint8_t)a;
	}
	must(!pheap_tx_link(tx, &board[other], linked_ref));
	graph.slot[other] = (uint8_t)linked;
	must(pheap_tx_link(tx, &board[slot], 12345) == -EINVAL);
	if (choose(c, 3)) {
		must(!pheap_tx_commit(tx));
	} else {
		must(!pheap_tx_abort(tx));
		graph = before;
	}
}

static void step_misuse(struct choice *c)
{
	unsigned number = some_node(c, GRAPH_NODES + 1);
	struct graph_object *object = object_of(number);

	must(pheap_link(heap, &board[0], choose(c, POOL) | 1) == -EINVAL);
	must(pheap_link(heap, &board[0], pheap_ref_of(heap, board)) == -EINVAL);
	if (!object)
		return;
	must(pheap_set(heap, &object->left, 0) == -EINVAL);
	must(pheap_write(heap, &object->weak, &entropy, 1) == -EINVAL);
	must(pheap_link(heap, &object->id, find_node(number)) == -EINVAL);
	must(pheap_link(heap, &object->weak, find_node(number)) == -EINVAL);
	must(pheap_weak_link(heap, &object->right, find_node(number)) == -EINVAL);
	must(pheap_alloc_into(heap, &object->left, 64, NULL) < 0);
	must(!pheap_alloc_typed(NULL));
	must(pheap_free(heap, object) == -EINVAL);
}

/* kind 0: closed; 1: killed; 2: without power. */
static void reopen(uint64_t kind)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};

	if (kind == 0)
		must(!pheap_close(heap));
	else
		ph_pool_abandon(heap);
	if (kind == 2) {
		memory_free(media.seen, POOL);
		media.seen = memory_copy(media.durable, POOL);
	}
	must((heap = ph_pool_open_on(media.seen, POOL, &opts, &media_hook, &media)));
	find_all();
	look_at_all();
}

static void step(struct choice *c)
{
	switch (choose(c, 14)) {
	case 0:
	case 1:
	case 2:
	case 3:
		step_publish(c);
		break;
	case 4:
	case 5:
		step_link(c);
		break;
	case 6:
	case 7:
		step_edge(c);
		break;
	case 8:
		step_weak(c);
		break;
	case 9:
		step_get(c);
		break;
	case 10:
	case 11:
		step_tx(c);
		break;
	case 12:
		step_misuse(c);
		break;
	default:
		if (choose(c, 3))
			look_at_all();
		else
			reopen(choose(c, 3));
	}
	graph_settle(&graph);
}

static void begin(void)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = POOL};

	entropy = 1;
	next_id = 0;
	graph = (struct graph){.root = true, .board = true};
	media_init(&media, POOL);
	must((heap = ph_pool_create_on(media.seen, POOL, &opts, &media_hook, &media)));
	must(!pheap_alloc_into(heap, pheap_named_root(heap, "board"), 2 * GRAPH_SLOTS * 8, NULL));
	find_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choice c = {NULL, data, data + size};

	begin();
	for (unsigned i = 0; i < STEPS_MAX && choices_left(&c); i++)
		step(&c);
	look_at_all();
	reopen(2);
	must(!pheap_close(heap));
	media_free(&media);
	return 0;
}
