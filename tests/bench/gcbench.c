/*
 * gcbench.c - what reclamation costs: the time to mark linked objects beside the time to
 * walk over them.
 *
 *	gcbench [--objects N] [--reps N] [--only STRUCTURE] [--dir FOLDER]
 *
 * Writes a table, a line for each structure of objects of 64 bytes:
 *
 *	walk     ns an object to walk over the structure, with one thread, adding up a word
 *		 of each object
 *	mark1    ns an object to mark it, with one thread: spans found, bits made, roots, marks
 *	ratio    of these two
 *	mark2    the same with two threads
 *	speedup  mark1 over mark2
 *	dram     bytes that the marker takes beyond a bit an object
 *
 * Both sides run in turn; the least of all turns counts. A list has one object at a time that
 * is known and not looked into, so a second thread has nothing to do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pheap.h>

#include "heap.h"
#include "reclaim/mark.h"

struct node {
	pheap_ref left, right;
	uint64_t payload[6];
};
_Static_assert(sizeof(struct node) == 64, "objects of 64 bytes");

#define PER_CHAIN 10u
#define BATCH 64u

enum { NODE = 1, BUCKETS = 2, TYPES };
static const uint32_t node_refs[] = {0, 8}, bucket_refs[] = {0};
static const struct ph_mark_type types[TYPES] = {
	[NODE] = {.refs = node_refs, .nrefs = 2, .size = sizeof(struct node)},
	[BUCKETS] = {.refs = bucket_refs, .nrefs = 1, .size = 8, .flags = PH_MARK_ARRAY},
};

static pheap_t *heap;
static pheap_ref *ref; /* of the nodes, in the order of the structure */
static uint64_t objects = 10000000;
static uint64_t sum; /* so that no walk is left out */

static void fail(const char *what)
{
	fprintf(stderr, "gcbench: %s: %s\n", what, pheap_errormsg());
	exit(1);
}

static void *made(void *p, const char *what)
{
	if (!p)
		fail(what);
	return p;
}

/* Of one thread: what it had of a processor, so that others do not count. */
static double now(unsigned threads)
{
	struct timespec t;

	clock_gettime(threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct node *node_at(pheap_ref at)
{
	return pheap_ptr(heap, at);
}

/* ---- structures ------------------------------------------------------------------ */

static uint64_t random_state = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void in_order(void)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < objects; i++) /* nodes know their number */
		if (ref[i])
			n++;
	if (n != objects)
		fail("nodes");
}

static void shuffle(void)
{
	for (uint64_t i = objects - 1; i; i--) {
		uint64_t k = draw(i + 1);
		pheap_ref r = ref[i];

		ref[i] = ref[k];
		ref[k] = r;
	}
}

static int by_value(const void *a, const void *b)
{
	pheap_ref x = *(const pheap_ref *)a, y = *(const pheap_ref *)b;

	return x < y ? -1 : x > y;
}

static void clear_links(void)
{
	for (uint64_t i = 0; i < objects; i++)
		node_at(ref[i])->left = node_at(ref[i])->right = 0;
}

static void build_list(void)
{
	for (uint64_t i = 0; i + 1 < objects; i++)
		node_at(ref[i])->left = ref[i + 1];
	*pheap_root(heap) = ref[0];
}

static void walk_list(void)
{
	for (pheap_ref at = *pheap_root(heap); at; at = node_at(at)->left)
		sum += node_at(at)->payload[0];
}

static void build_tree(void)
{
	for (uint64_t i = 0; i < objects; i++) {
		if (2 * i + 1 < objects)
			node_at(ref[i])->left = ref[2 * i + 1];
		if (2 * i + 2 < objects)
			node_at(ref[i])->right = ref[2 * i + 2];
	}
	*pheap_root(heap) = ref[0];
}

static void walk_tree(void)
{
	pheap_ref stack[128];
	unsigned n = 0;

	stack[n++] = *pheap_root(heap);
	while (n) {
		const struct node *node = node_at(stack[--n]);

		sum += node->payload[0];
		if (node->right)
			stack[n++] = node->right;
		if (node->left)
			stack[n++] = node->left;
	}
}

static pheap_ref table;

static void build_hash(void)
{
	uint64_t buckets = objects / PER_CHAIN;
	pheap_ref *bucket = pheap_ptr(heap, table);

	for (uint64_t i = 0; i < objects; i++) {
		node_at(ref[i])->left = bucket[i % buckets];
		bucket[i % buckets] = ref[i];
	}
	*pheap_root(heap) = table;
}

static void walk_hash(void)
{
	const pheap_ref *bucket = pheap_ptr(heap, table);

	for (uint64_t i = 0; i < objects / PER_CHAIN; i++)
		for (pheap_ref at = bucket[i]; at; at = node_at(at)->left)
			sum += node_at(at)->payload[0];
}

static void clear_table(void)
{
	memset(pheap_ptr(heap, table), 0, objects / PER_CHAIN * sizeof(pheap_ref));
}

static const struct structure {
	const char *name;
	bool shuffled;
	void (*build)(void);
	void (*walk)(void);
} structures[] = {
	{"list", false, build_list, walk_list}, {"list-shuffled", true, build_list, walk_list},
	{"tree", false, build_tree, walk_tree}, {"tree-shuffled", true, build_tree, walk_tree},
	{"hash", false, build_hash, walk_hash}, {"hash-shuffled", true, build_hash, walk_hash},
};

/* ---- the pool ------------------------------------------------------------------------ */

static void publish_nodes(void)
{
	for (uint64_t i = 0; i < objects;) {
		pheap_tx_t *tx = made(pheap_tx_begin(heap), "begin");

		for (unsigned k = 0; k < BATCH && i < objects; k++, i++)
			ref[i] = pheap_ref_of(
				heap, made(pheap_tx_zalloc(tx, sizeof(struct node)), "alloc"));
		if (pheap_tx_commit(tx))
			fail("commit");
	}
}

static void publish_table(void)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap), "begin");

	table = pheap_ref_of(
		heap,
		made(pheap_tx_zalloc(tx, (objects / PER_CHAIN + 1) * sizeof(pheap_ref)), "table"));
	if (pheap_tx_commit(tx))
		fail("commit");
}

static void write_types(void)
{
	struct pm_span *desc = (struct pm_span *)(void *)(heap->view.base + heap->zone.pm->desc);

	for (uint32_t g = 0; g < heap->zone.granules; g++)
		if (desc[g].kind == PM_KIND_SLAB && desc[g].size == sizeof(struct node))
			desc[g].type = NODE;
		else if (desc[g].kind == PM_KIND_SLAB || desc[g].kind == PM_KIND_LARGE)
			desc[g].type = BUCKETS;
}

static void make_pool(const char *path)
{
	struct pheap_options options = {
		.struct_size = sizeof(options),
		.size = (objects * 76 + (UINT64_C(64) << 20)) & ~UINT64_C(0xffff),
		.durability = PHEAP_PROCESS,
	};

	unlink(path);
	heap = made(pheap_create(path, &options), "create");
	unlink(path);
	ref = malloc(objects * sizeof(*ref));
	if (!ref)
		fail("no memory");
	publish_nodes();
	publish_table();
	write_types();
	in_order();
}

/* ---- measuring ------------------------------------------------------------------------ */

static double walk(const struct structure *s)
{
	double begin = now(1);

	s->walk();
	return (now(1) - begin) / (double)objects;
}

static double mark(unsigned threads, uint64_t *dram)
{
	struct ph_mark_setup setup = {
		.base = heap->view.base,
		.zone = heap->zone.pm,
		.types = types,
		.ntypes = TYPES,
		.threads = threads,
	};
	struct ph_mark_counts counts;
	struct ph_marker *marker;
	double begin = now(threads), time;

	if (ph_marker_make(&setup, &marker))
		fail("marker");
	ph_mark_fixed_roots(marker);
	if (ph_mark_run(marker))
		fail("mark");
	time = (now(threads) - begin) / (double)objects;
	ph_mark_get_counts(marker, &counts);
	if (counts.marked < objects)
		fail("not all objects were marked");
	*dram = counts.dram - objects / 8;
	ph_marker_free(marker);
	return time;
}

static void keep_least(double *least, double value)
{
	if (!*least || value < *least)
		*least = value;
}

static void measure(const struct structure *s, unsigned reps)
{
	double plain = 0, one = 0, two = 0;
	uint64_t dram = 0;

	qsort(ref, objects, sizeof(*ref), by_value);
	if (s->shuffled)
		shuffle();
	clear_links();
	clear_table();
	s->build();
	for (unsigned i = 0; i < reps; i++) {
		keep_least(&plain, walk(s));
		keep_least(&one, mark(1, &dram));
		keep_least(&two, mark(2, &dram));
	}
	printf("%s\t%" PRIu64 "\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%" PRIu64 "\n", s->name, objects,
	       plain, one, one / plain, two, one / two, dram);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *only = NULL, *dir = "/dev/shm";
	unsigned reps = 5;
	char path[4096];

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--objects"))
			objects = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--reps"))
			reps = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--dir"))
			dir = argv[i + 1];
	}
	snprintf(path, sizeof(path), "%s/gcbench.%d.pool", dir, (int)getpid());
	make_pool(path);
	printf("structure\tobjects\twalk\tmark1\tratio\tmark2\tspeedup\tdram\n");
	for (size_t i = 0; i < sizeof(structures) / sizeof(*structures); i++)
		if (!only || !strcmp(only, structures[i].name))
			measure(&structures[i], reps);
	pheap_close(heap);
	free(ref);
	return sum == 1;
}
