/*
 * graph.c - a graph that nobody frees by hand: types, and a collector.
 *
 *	graph POOL grow NODES	a ring of nodes, with chords, in one transaction
 *	graph POOL forget	unlink the newest ring: nothing is freed
 *	graph POOL collect	free what cannot be reached any more
 *	graph POOL show		rings that are linked, and nodes that are there
 *
 * A ring refers to itself in circles, so no count of references would ever say that it is
 * garbage. Types say where references are; from the root, pheap_gc() finds what is alive.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pheap.h>

#define POOL_SIZE ((uint64_t)64 << 20)
#define CHORDS 3u

/* What the root refers to: one for each ring, the newest first. */
struct ring {
	pheap_ref older, first;
	uint64_t nodes;
};

struct node {
	pheap_ref next;	  /* around the ring */
	pheap_ref chords; /* an array of struct chord, or null */
	uint64_t number;
};

struct chord {
	pheap_ref to;
	uint64_t weight;
};

static const struct pheap_type_info ring_info = PHEAP_TYPE(struct ring, 1, older, first);
static const struct pheap_type_info node_info = PHEAP_TYPE(struct node, 1, next, chords);
static const struct pheap_type_info chord_info =
	PHEAP_TYPE_FLAGS(PHEAP_TYPE_ARRAY, struct chord, 1, to);

static pheap_t *heap;
static pheap_type_t *ring_type, *node_type, *chord_type;

static int fail(const char *what)
{
	fprintf(stderr, "graph: %s: %s\n", what, pheap_errormsg());
	return 1;
}

/* Types are registered whenever the pool is opened; only the first time writes to it. */
static int open_pool(const char *path)
{
	struct pheap_options options = {.struct_size = sizeof(options), .layout = "graph"};

	heap = pheap_open(path, &options);
	if (!heap) {
		options.size = POOL_SIZE;
		heap = pheap_create(path, &options);
	}
	if (!heap)
		return fail(path);
	ring_type = pheap_type_register(heap, &ring_info);
	node_type = pheap_type_register(heap, &node_info);
	chord_type = pheap_type_register(heap, &chord_info);
	return ring_type && node_type && chord_type ? 0 : fail("types");
}

/* ---- grow ----------------------------------------------------------------------- */

/* Nodes of a transaction: others cannot see them, so plain stores link them. */
static int link_nodes(pheap_tx_t *tx, struct node **node, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct chord *chords;

		node[i]->number = i;
		node[i]->next = pheap_ref_of(heap, node[(i + 1) % n]);
		if (i % 4)
			continue;
		chords = pheap_tx_alloc_array(tx, chord_type, CHORDS);
		if (!chords)
			return -1;
		for (uint64_t k = 0; k < CHORDS; k++) {
			chords[k].to = pheap_ref_of(heap, node[(i * 7 + k * 13) % n]);
			chords[k].weight = k;
		}
		node[i]->chords = pheap_ref_of(heap, chords);
	}
	return 0;
}

static int fill_ring(pheap_tx_t *tx, struct node **node, uint64_t n)
{
	struct ring *ring = pheap_tx_alloc_typed(tx, ring_type);

	for (uint64_t i = 0; i < n; i++)
		if (!(node[i] = pheap_tx_alloc_typed(tx, node_type)))
			return -1;
	if (!ring || link_nodes(tx, node, n))
		return -1;
	ring->first = pheap_ref_of(heap, node[0]);
	ring->nodes = n;
	ring->older = *pheap_root(heap);
	return pheap_tx_set(tx, pheap_root(heap), pheap_ref_of(heap, ring));
}

static int grow(uint64_t n)
{
	struct node **node = calloc(n, sizeof(*node));
	pheap_tx_t *tx = pheap_tx_begin(heap);
	int status = 0;

	if (!node || !tx || fill_ring(tx, node, n)) {
		status = fail("grow");
		pheap_tx_abort(tx);
	} else if (pheap_tx_commit(tx)) {
		status = fail("grow");
	}
	free(node);
	return status;
}

/* ---- forget, collect, show ---------------------------------------------------------- */

static int forget(void)
{
	const struct ring *ring = pheap_ptr(heap, *pheap_root(heap));

	if (!ring) {
		fprintf(stderr, "graph: there is no ring\n");
		return 1;
	}
	return pheap_set(heap, pheap_root(heap), ring->older) ? fail("forget") : 0;
}

static void print_garbage(void *arg, const struct pheap_garbage *garbage)
{
	struct pheap_type_info info = {.struct_size = sizeof(info)};

	(void)arg;
	if (garbage->type && !pheap_type_get_info(garbage->type, &info))
		printf("%llu of %s\n", (unsigned long long)garbage->objects, info.name);
}

static int collect(void)
{
	struct pheap_gc_options options = {.struct_size = sizeof(options),
					   .garbage = print_garbage};
	struct pheap_gc_report report = {.struct_size = sizeof(report)};

	if (pheap_gc(heap, &options, &report))
		return fail("collect");
	printf("%llu objects freed, %llu are alive\n", (unsigned long long)report.freed,
	       (unsigned long long)report.live);
	return 0;
}

static int show(void)
{
	struct pheap_object object;
	uint64_t cursor = 0, linked = 0, there = 0, rings = 0;

	for (const struct ring *ring = pheap_ptr(heap, *pheap_root(heap)); ring;
	     ring = pheap_ptr(heap, ring->older)) {
		linked += ring->nodes;
		rings++;
	}
	while (pheap_object_next(heap, node_type, &cursor, &object))
		there++;
	printf("%llu rings of %llu nodes; %llu nodes are in the pool\n", (unsigned long long)rings,
	       (unsigned long long)linked, (unsigned long long)there);
	return 0;
}

static int run(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[2], "grow") && strtoull(argv[3], NULL, 10))
		return grow(strtoull(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(argv[2], "forget"))
		return forget();
	if (argc == 3 && !strcmp(argv[2], "collect"))
		return collect();
	if (argc == 3 && !strcmp(argv[2], "show"))
		return show();
	fprintf(stderr, "usage: graph POOL grow NODES | forget | collect | show\n");
	return 2;
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 3 || open_pool(argv[1]))
		return argc < 3 ? run(argc, argv) : 1;
	status = run(argc, argv);
	if (pheap_close(heap))
		status = fail("close");
	return status;
}
