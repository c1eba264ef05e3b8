/*
 * test-mark.c - the marker against a simple one, on random graphs: with damaged references,
 * stacks that overflow, and several threads.
 *
 * The pools hold objects of a few sizes, and the tests say what types these are by writing
 * into the descriptors of their spans.
 */
#include "media.h"

#include "heap.h"
#include "pool.h"
#include "reclaim/mark.h"

#define POOL MIB(96)
#define OBJECTS 6000u

/* Types by id. */
enum { LEAF, PAIR, ARRAY, TAGGED, NAMELESS, TYPES };

static const uint32_t pair_refs[] = {0, 40};
static const uint32_t array_refs[] = {8};

/* A tagged union: the first word says how many references follow. */
static void trace_tagged(void *object, uint64_t size, ph_mark_visit_fn *visit, void *arg)
{
	uint64_t *word = object;

	for (uint64_t i = 1; i <= word[0] && i < size / 8; i++)
		visit(arg, &word[i]);
}

static const struct ph_mark_type types[TYPES] = {
	[PAIR] = {.refs = pair_refs, .nrefs = 2, .size = 64},
	[ARRAY] = {.refs = array_refs, .nrefs = 1, .size = 24, .flags = PH_MARK_ARRAY},
	[TAGGED] = {.size = 16, .trace = trace_tagged},
	/* NAMELESS: the table has no entry for it. */
};

/* The sizes that stand for types; a size is that of a class. */
static const struct {
	uint64_t size;
	uint32_t type;
} kinds[] = {
	{64, PAIR},    {64, PAIR}, {240, ARRAY},    {32768, ARRAY},
	{128, TAGGED}, {48, LEAF}, {320, NAMELESS}, {3 * PM_GRANULE, ARRAY},
};
#define WIDE 3u
/* Where the large ones begin to be rare. */
#define RARE 40u

struct object {
	uint64_t ref, size;
	uint32_t type;
	bool published, reached;
};

struct graph {
	char *memory;
	pheap_t *heap;
	struct object object[OBJECTS];
	uint32_t order[OBJECTS]; /* by ref */
	uint32_t n;
	bool all;	   /* are published */
	uint64_t dangling; /* in typed slots of what is reached */
};

static uint64_t *words_of(const struct graph *g, const struct object *o)
{
	return (uint64_t *)(void *)(g->memory + o->ref);
}

/* ---- making a graph ------------------------------------------------------------------ */

static void add_object(struct graph *g, pheap_tx_t *tx, struct rng *rng)
{
	unsigned k = (unsigned)rng_below(rng, ELEMENTS(kinds));
	struct object *o = &g->object[g->n];
	void *ptr;

	if (kinds[k].size > 4096 && rng_below(rng, RARE))
		k = 0;
	if (!g->n) /* a root with many references */
		k = WIDE;
	o->published = g->all || !g->n || rng_below(rng, 10) != 0;
	ptr = o->published ? pheap_tx_zalloc(tx, kinds[k].size)
			   : pheap_zalloc(g->heap, kinds[k].size);
	o->ref = pheap_ref_of(g->heap, assert_made(ptr));
	o->size = kinds[k].size;
	o->type = kinds[k].type;
	g->n++;
}

static const struct graph *sorted;

static int by_ref(const void *a, const void *b)
{
	uint64_t x = sorted->object[*(const uint32_t *)a].ref;
	uint64_t y = sorted->object[*(const uint32_t *)b].ref;

	return x < y ? -1 : x > y;
}

/* Every span's type is that of its objects' size. */
static void write_types(struct graph *g)
{
	struct pm_span *desc = (struct pm_span *)(void *)(g->memory + g->heap->zone.pm->desc);

	for (uint32_t i = 0; i < g->n; i++) {
		uint64_t granule = (g->object[i].ref - g->heap->zone.data) / PM_GRANULE;

		while (desc[granule].kind == PM_KIND_NONE && granule &&
		       g->object[i].type != LEAF) /* a later granule of a slab */
			granule--;
		if (desc[granule].size == g->object[i].size)
			desc[granule].type =
				g->object[i].type == NAMELESS ? 300 : g->object[i].type;
	}
}

static uint64_t any_object(const struct graph *g, struct rng *rng)
{
	return g->object[rng_below(rng, g->n)].ref;
}

/* What a slot may hold: mostly an object's reference, or nothing. */
static uint64_t some_word(const struct graph *g, struct rng *rng, unsigned damage)
{
	if (rng_below(rng, 100) < damage) {
		switch (rng_below(rng, 5)) {
		case 0:
			return rng_next(rng);
		case 1:
			return any_object(g, rng) + 8 * rng_below(rng, 100);
		case 2:
			return g->heap->zone.data + rng_below(rng, POOL);
		case 3:
			return rng_below(rng, g->heap->zone.data);
		default:
			return any_object(g, rng) + 1 + rng_below(rng, 7);
		}
	}
	return rng_below(rng, 3) ? any_object(g, rng) : 0;
}

static void fill(struct graph *g, struct rng *rng, unsigned damage)
{
	for (uint32_t i = 0; i < g->n; i++) {
		struct object *o = &g->object[i];
		uint64_t *word = words_of(g, o), words = o->size / 8;
		uint64_t links = words > 64 ? rng_below(rng, 200) : 1 + rng_below(rng, words);

		if (!i)
			links = 2 * words;
		if (o->type == TAGGED)
			word[0] = rng_below(rng, 20); /* more than there is room for */
		for (uint64_t k = 0; k < links; k++) {
			uint64_t at = rng_below(rng, words);

			if (o->type != TAGGED || at)
				word[at] = some_word(g, rng, damage);
		}
	}
	for (unsigned r = 0; r < 3; r++) {
		char name[8] = {'r', (char)('0' + r)};

		*(r ? pheap_named_root(g->heap, name) : pheap_root(g->heap)) =
			r == 1 ? g->object[0].ref : some_word(g, rng, damage);
	}
}

static void make_graph(struct graph *g, struct rng *rng, uint32_t n, unsigned damage, bool all)
{
	memset(g, 0, sizeof(*g));
	g->all = all;
	g->memory = memory_new(POOL);
	g->heap = create_on(g->memory, POOL, NULL);
	while (g->n < n) {
		pheap_tx_t *tx = assert_made(pheap_tx_begin(g->heap));

		for (unsigned i = 0; i < 20 && g->n < n; i++)
			add_object(g, tx, rng);
		assert_ok(pheap_tx_commit(tx));
	}
	sorted = g;
	for (uint32_t i = 0; i < n; i++)
		g->order[i] = i;
	qsort(g->order, n, sizeof(*g->order), by_ref);
	write_types(g);
	fill(g, rng, damage);
}

static void drop_graph(struct graph *g)
{
	ph_pool_abandon(g->heap);
	memory_free(g->memory, POOL);
}

/* ---- the simple marker ----------------------------------------------------------------- */

static struct object *find(struct graph *g, uint64_t ref)
{
	uint32_t low = 0, high = g->n;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (g->object[g->order[middle]].ref < ref)
			low = middle + 1;
		else
			high = middle;
	}
	return low < g->n && g->object[g->order[low]].ref == ref ? &g->object[g->order[low]] : NULL;
}

static uint32_t simple_stack[OBJECTS], simple_n;

static void simple_visit(struct graph *g, uint64_t ref, bool maybe, bool places)
{
	struct object *o = ref ? find(g, ref) : NULL;

	if (!ref)
		return;
	if (!o || !(o->published || places)) {
		g->dangling += !maybe;
	} else if (!o->reached) {
		o->reached = true;
		simple_stack[simple_n++] = (uint32_t)(o - g->object);
	}
}

static void simple_look(struct graph *g, const struct object *o, bool untyped, bool places)
{
	const uint64_t *word = words_of(g, o);
	uint64_t words = o->size / 8;

	switch (o->type) {
	case LEAF:
		for (uint64_t i = 0; untyped && i < words; i++)
			simple_visit(g, word[i], true, places);
		break;
	case PAIR:
		simple_visit(g, word[0], false, places);
		simple_visit(g, word[5], false, places);
		break;
	case ARRAY:
		for (uint64_t i = 0; i < words / 3; i++)
			simple_visit(g, word[i * 3 + 1], false, places);
		break;
	case TAGGED:
		for (uint64_t i = 1; i <= word[0] && i < words; i++)
			simple_visit(g, word[i], false, places);
		break;
	default:
		for (uint64_t i = 0; i < words; i++)
			simple_visit(g, word[i], true, places);
	}
}

static void simple_mark(struct graph *g, bool untyped, bool places)
{
	g->dangling = 0;
	for (uint32_t i = 0; i < g->n; i++)
		g->object[i].reached = false;
	simple_visit(g, *pheap_root(g->heap), false, places);
	simple_visit(g, *pheap_named_root(g->heap, "r1"), false, places);
	simple_visit(g, *pheap_named_root(g->heap, "r2"), false, places);
	while (simple_n)
		simple_look(g, &g->object[simple_stack[--simple_n]], untyped, places);
}

/* ---- comparing ---------------------------------------------------------------------------- */

static struct ph_marker *marker_of(const struct graph *g, unsigned flags, unsigned threads,
				   uint32_t stack)
{
	struct ph_mark_setup setup = {
		.base = g->memory,
		.zone = g->heap->zone.pm,
		.types = types,
		.ntypes = TYPES,
		.flags = flags,
		.threads = threads,
		.stack = stack,
	};
	struct ph_marker *marker;

	assert_ok(ph_marker_make(&setup, &marker));
	return marker;
}

static uint64_t white_objects(const struct ph_marker *marker)
{
	struct ph_mark_span span;
	uint64_t n = 0;

	for (uint32_t at = 0; ph_mark_next_span(marker, at, &span); at = span.granule + 1)
		for (uint32_t i = 0; i * 64 < span.objects; i++)
			n += (uint64_t)__builtin_popcountll(ph_mark_white(marker, &span, i));
	return n;
}

static uint64_t compare(struct graph *g, unsigned flags, unsigned threads, uint32_t stack)
{
	struct ph_marker *marker = marker_of(g, flags | PH_MARK_CHECK, threads, stack);
	struct ph_mark_counts counts;
	uint64_t reached = 0;

	ph_mark_fixed_roots(marker);
	assert_ok(ph_mark_run(marker));
	simple_mark(g, flags & PH_MARK_UNTYPED, false);
	for (uint32_t i = 0; i < g->n; i++) {
		reached += g->object[i].reached;
		assert_int_equal(ph_mark_is(marker, g->object[i].ref), g->object[i].reached);
		assert_false(ph_mark_is(marker, g->object[i].ref + 8));
	}
	ph_mark_get_counts(marker, &counts);
	assert_int_equal(counts.marked, reached);
	assert_int_equal(white_objects(marker), counts.objects - reached);
	/* What is looked into again may have its wrong references counted again. */
	if (!counts.rescanned)
		assert_int_equal(counts.dangling, g->dangling);
	ph_marker_free(marker);
	return counts.rescanned;
}

static void random_graphs(void **state)
{
	struct rng rng = rng_make(1);
	struct graph *g = malloc(sizeof(*g));
	uint64_t rescanned = 0;

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		make_graph(g, &rng, 2000 + (uint32_t)rng_below(&rng, OBJECTS - 2000), round * 10,
			   false);
		for (unsigned threads = 1; threads <= 4; threads++) {
			compare(g, 0, threads, 0);
			compare(g, PH_MARK_UNTYPED, threads, 0);
			rescanned += compare(g, PH_MARK_UNTYPED, threads, 4);
		}
		drop_graph(g);
	}
	assert_true(rescanned > 10);
	free(g);
}

/* Without bitmaps, whatever they say. */
static void places(void **state)
{
	struct rng rng = rng_make(2);
	struct graph *g = malloc(sizeof(*g));
	struct ph_marker *marker;
	uint64_t *bits;

	(void)state;
	make_graph(g, &rng, 3000, 0, true);
	bits = (uint64_t *)(void *)(g->memory + g->heap->zone.pm->bits);
	for (uint32_t i = 0; i < g->heap->zone.granules * PM_BITMAP_BYTES / 8; i++)
		bits[i] &= rng_next(&rng);
	for (unsigned threads = 1; threads <= 4; threads++) {
		marker = marker_of(g, PH_MARK_PLACES | PH_MARK_STRICT, threads, 16);
		ph_mark_fixed_roots(marker);
		assert_ok(ph_mark_run(marker));
		simple_mark(g, false, true);
		for (uint32_t i = 0; i < g->n; i++)
			assert_int_equal(ph_mark_is(marker, g->object[i].ref),
					 g->object[i].reached);
		ph_marker_free(marker);
	}
	drop_graph(g);
	free(g);
}

static void strict(void **state)
{
	struct rng rng = rng_make(3);
	struct graph *g = malloc(sizeof(*g));

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		struct ph_marker *marker;
		int err;

		make_graph(g, &rng, 300, round % 4, false);
		simple_mark(g, false, false);
		marker = marker_of(g, PH_MARK_CHECK | PH_MARK_STRICT, 1 + round % 3, 0);
		ph_mark_fixed_roots(marker);
		err = ph_mark_run(marker);
		assert_int_equal(err, g->dangling ? -EUCLEAN : 0);
		if (err)
			assert_non_null(strstr(pheap_errormsg(), "which is to no object"));
		ph_marker_free(marker);
		drop_graph(g);
	}
	free(g);
}

static void bad_trace(void *object, uint64_t size, ph_mark_visit_fn *visit, void *arg)
{
	visit(arg, (uint64_t *)(void *)((char *)object + size));
}

static void lying_callback(void **state)
{
	struct rng rng = rng_make(4);
	struct graph *g = malloc(sizeof(*g));
	struct ph_mark_type lying[TYPES];
	struct ph_mark_setup setup = {.types = lying, .ntypes = TYPES, .threads = 1};
	struct ph_marker *marker;

	(void)state;
	memcpy(lying, types, sizeof(lying));
	lying[TAGGED].trace = bad_trace;
	make_graph(g, &rng, 2000, 0, false);
	for (uint32_t i = 0; i < g->n; i++)
		if (g->object[i].type == TAGGED && g->object[i].published)
			*pheap_root(g->heap) = g->object[i].ref;
	setup.base = g->memory;
	setup.zone = g->heap->zone.pm;
	assert_ok(ph_marker_make(&setup, &marker));
	ph_mark_fixed_roots(marker);
	assert_error(EINVAL, ph_mark_run(marker));
	ph_marker_free(marker);
	drop_graph(g);
	free(g);
}

/* A descriptor that cannot be believed: what it held may be referred to by anything. */
static void damaged_span(void **state)
{
	struct rng rng = rng_make(5);
	struct graph *g = malloc(sizeof(*g));
	struct ph_mark_setup setup = {.types = types, .ntypes = TYPES};
	struct ph_marker *marker;
	struct pm_span *desc;

	(void)state;
	make_graph(g, &rng, 500, 0, false);
	desc = (struct pm_span *)(void *)(g->memory + g->heap->zone.pm->desc);
	setup.base = g->memory;
	setup.zone = g->heap->zone.pm;
	for (uint32_t i = 0; i < 100; i++) {
		struct pm_span saved = desc[i];

		if (saved.kind != PM_KIND_SLAB)
			continue;
		desc[i].granules++;
		assert_error(EUCLEAN, ph_marker_make(&setup, &marker));
		assert_null(marker);
		desc[i] = saved;
		desc[i].kind = 0;
		assert_error(EUCLEAN, ph_marker_make(&setup, &marker));
		desc[i] = saved;
	}
	drop_graph(g);
	free(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_graphs), cmocka_unit_test(places),
		cmocka_unit_test(strict),	 cmocka_unit_test(lying_callback),
		cmocka_unit_test(damaged_span),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
