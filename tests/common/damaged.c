/*
 * damaged.c - see damaged.h.
 */
#include "damaged.h"

#include <sys/random.h>

#include "pool.h"
#include "sum.h"

#define ROOTS 12u
#define CHANGES_MAX 10u

/* ---- the images ------------------------------------------------------------------ */

char *damaged_images[DAMAGED_IMAGES];

static struct rng entropy;

/* Instead of the C library's: epochs and identifiers follow from the seed. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < length; i++)
		((char *)buffer)[i] = (char)rng_next(&entropy);
	return (ssize_t)length;
}

void damaged_entropy(uint64_t stream)
{
	entropy = rng_make(stream);
}

static const size_t sizes[] = {16,   24,   64,	  100,	 256,	300,   1024,
			       3328, 5000, 20000, 61440, 65536, 70000, 200000};

static size_t some_size(struct choice *c)
{
	return sizes[choose(c, ELEMENTS(sizes))];
}

static pheap_ref *root(pheap_t *heap, uint64_t number)
{
	char name[8];

	snprintf(name, sizeof(name), "r%u", (unsigned)(number % ROOTS));
	return pheap_named_root(heap, name);
}

/* Register types; how many there are then of those. */
static unsigned use_types(pheap_t *heap)
{
	static const uint32_t refs[] = {0, 8, 56};
	const struct pheap_type_info infos[] = {
		{.struct_size = sizeof(infos[0]),
		 .name = "a",
		 .size = 64,
		 .refs = refs,
		 .nrefs = 3},
		{.struct_size = sizeof(infos[0]),
		 .name = "b",
		 .size = 8,
		 .flags = PHEAP_TYPE_ARRAY},
	};
	unsigned n = 0;

	for (unsigned i = 0; i < ELEMENTS(infos); i++)
		n += pheap_type_register(heap, &infos[i]) != NULL;
	return n;
}

static void fill_image(pheap_t *heap, struct choice *c)
{
	for (unsigned i = 0; i < 150; i++) {
		pheap_ref *slot = root(heap, choose_any(c));

		if (*slot)
			must(!pheap_retire(heap, slot));
		else
			must(!pheap_alloc_into(heap, slot, some_size(c), NULL));
	}
	for (unsigned i = 0; i < 4; i++) {
		if (*root(heap, i))
			must(!pheap_retire(heap, root(heap, i)));
		must(!pheap_alloc_into(heap, root(heap, i), 20000, NULL));
	}
}

/* More open transactions than a lane has logs; one of them goes on in a span. */
static void leave_open(pheap_t *heap)
{
	for (unsigned i = 0; i < 6; i++) {
		pheap_tx_t *tx = pheap_tx_begin(heap);
		char *object = pheap_ptr(heap, *root(heap, i % 4));
		size_t length = i ? 64 : 3000;

		must(tx && object);
		for (unsigned k = 0; k < (i ? 2u : 5u); k++) {
			char *at = object + (i / 4) * 16000 + k * length;

			must(!pheap_tx_snapshot(tx, at, length));
			memset(at, 0x5a, length);
		}
	}
}

/* One with an extension, which does not fit in the ring, and some that do. */
static void leave_records(pheap_t *heap)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);

	for (unsigned i = 0; i < 1200; i++)
		must(!pheap_tx_set(tx, root(heap, 11), 0));
	must(!pheap_tx_commit(tx));
	for (unsigned i = 0; i < 20; i++)
		must(!pheap_set(heap, root(heap, 10), 0));
}

/* A graph in which each object refers to some that were made before. */
#define NODES 600u
static pheap_ref nodes[NODES];

static void make_graph(pheap_t *heap, struct choice *c)
{
	pheap_type_t *type = pheap_type_find(heap, "a");

	for (unsigned i = 0; i < NODES; i++) {
		pheap_ref *node = pheap_zalloc_typed(type);

		must(node);
		if (i)
			node[0] = nodes[i - 1];
		if (i)
			node[1] = nodes[choose(c, i)];
		node[7] = i % 5 ? 0 : *root(heap, choose_any(c));
		nodes[i] = pheap_ref_of(heap, node);
	}
	must(!pheap_set(heap, pheap_named_root(heap, "graph"), nodes[NODES - 1]));
	must(pheap_alloc(heap, 64) && pheap_alloc(heap, 100000)); /* linked nowhere */
}

static pheap_t *create(char *memory, bool traced)
{
	struct pheap_options opts = {.struct_size = sizeof(opts),
				     .size = DAMAGED_POOL,
				     .flags = traced ? PHEAP_TRACED : 0};
	pheap_t *heap = ph_pool_create_on(memory, DAMAGED_POOL, &opts, NULL, NULL);

	must(heap);
	return heap;
}

static void make_image(unsigned kind)
{
	struct rng rng = rng_make(kind);
	struct choice c = {.rng = &rng};
	pheap_t *heap;

	damaged_entropy(1000 + kind);
	damaged_images[kind] = memory_new(DAMAGED_POOL);
	heap = create(damaged_images[kind], kind == DAMAGED_TRACED);
	for (unsigned i = 0; i < ROOTS; i++)
		must(root(heap, i));
	must(use_types(heap) == 2);
	fill_image(heap, &c);
	for (unsigned i = 10; i < 12; i++)
		if (*root(heap, i))
			must(!pheap_retire(heap, root(heap, i)));
	if (kind == DAMAGED_HEALTHY) {
		must(!pheap_close(heap));
	} else {
		if (kind == DAMAGED_TRACED)
			make_graph(heap, &c);
		leave_open(heap);
		leave_records(heap);
		ph_pool_abandon(heap);
	}
}

void damaged_make_images(void)
{
	for (unsigned kind = 0; kind < DAMAGED_IMAGES; kind++)
		make_image(kind);
}

/* ---- damage ------------------------------------------------------------------------ */

static uint64_t *word_at(const struct damage *d, uint64_t offset)
{
	return (uint64_t *)(void *)(d->base + offset / 8 * 8);
}

static uint64_t some_granule(const struct damage *d)
{
	return choose(d->choice, choose(d->choice, 4) ? 40 : d->zone->granules);
}

/* A place in a lane block: heads, ring, the beginnings of undo areas. */
static uint64_t place_in_lane(const struct damage *d)
{
	uint64_t block = *word_at(d, PM_LANE_TABLE + 8 * choose(d->choice, 3));

	if (block < d->zone->data || block > DAMAGED_POOL - PM_GRANULE)
		block = DAMAGED_POOL - PM_GRANULE;
	switch (choose(d->choice, 3)) {
	case 0:
		return block + choose(d->choice, PM_UNDO_LOGS * PM_LINE);
	case 1:
		return block + PM_LANE_RING + choose(d->choice, 40) * PM_LINE +
		       choose(d->choice, PM_LINE);
	default:
		return block + PM_LANE_UNDO + choose(d->choice, PM_UNDO_LOGS) * PM_UNDO_AREA +
		       choose(d->choice, 8) * PM_LINE + choose(d->choice, PM_LINE);
	}
}

static uint64_t some_place(const struct damage *d)
{
	struct choice *c = d->choice;
	const struct pm_super *super = (const void *)d->base;

	/* A reference, or something else in one of the objects. */
	if (super->incompat & PM_INCOMPAT_TRACED && choose(c, 4) == 0)
		return nodes[choose(c, NODES)] + 8 * choose(c, 8);
	switch (d->in_zone ? 4 + choose(c, 3) : choose(c, d->supers ? 11 : 10)) {
	case 0:
		return PM_STATE + choose(c, PM_LINE);
	case 1:
		return PM_ROOTS + choose(c, (ROOTS + 1) * PM_LINE);
	case 2:
		return PM_LANE_TABLE + choose(c, 32);
	case 3:
		return PM_ZONE_TABLE + choose(c, PM_LINE);
	case 4:
		return d->zone->tree + choose(c, 256);
	case 5:
		return d->zone->desc + some_granule(d) * PM_LINE +
		       (choose(c, 2) ? 0 : choose(c, 32));
	case 6:
		return d->zone->bits + some_granule(d) * PM_BITMAP_BYTES +
		       choose(c, choose(c, 2) ? 8 : PM_BITMAP_BYTES);
	case 7:
		return place_in_lane(d);
	case 8: /* anywhere, data included: undo areas and extensions are there */
		return d->zone->data + some_granule(d) * PM_GRANULE + choose(c, 4096);
	case 9:
		return PM_TYPE_TABLE + choose(c, 4 * PM_LINE);
	default:
		return choose(c, 2) * PM_SUPER_B + choose(c, sizeof(struct pm_super));
	}
}

static uint64_t some_value(const struct damage *d, uint64_t old)
{
	struct choice *c = d->choice;

	switch (choose(c, 12)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return choose_any(c);
	case 3:
		return old + choose(c, 9) - 4;
	case 4:
		return *word_at(d, some_place(d));
	case 5:
		return choose(c, DAMAGED_POOL) / PM_GRANULE * PM_GRANULE;
	case 6: /* a place, as entries of records and undo logs have them */
		return choose(c, 8) << 56 | choose(c, 256) << 48 | some_place(d);
	case 7:
		return ph_seal(choose(c, 4) ? choose(c, 64) : choose_any(c) & PH_SEALED_MAX);
	case 8: /* the first word of a descriptor */
		return choose(c, 5) | choose(c, 90) << 8 | choose(c, d->zone->granules + 2) << 32;
	case 9:
		return old ^ choose(c, 256) << choose(c, 8) * 8;
	default:
		return old ^ UINT64_C(1) << choose(c, 64);
	}
}

static void mend_super(const struct damage *d, uint64_t place)
{
	word_at(d, place)[1] = ph_sum(PM_SUM_KEY, place, word_at(d, place) + 2, 62);
}

static void mend_zone(const struct damage *d)
{
	*word_at(d, PM_ZONE_TABLE + offsetof(struct pm_zone, sum)) =
		ph_sum(PM_SUM_KEY, PM_ZONE_TABLE, word_at(d, PM_ZONE_TABLE), 7);
}

/* Records and undo entries that were damaged become valid: the walk that follows must
 * be safe, whatever they say. */
static void mend_logs(const struct damage *d)
{
	const struct pm_state *state = (const void *)(d->base + PM_STATE);

	for (unsigned lane = 0; lane < 3; lane++) {
		uint64_t block = *word_at(d, PM_LANE_TABLE + 8 * lane);

		if (block % PM_GRANULE || block < d->zone->data ||
		    block > DAMAGED_POOL - PM_GRANULE)
			continue;
		for (uint64_t at = PM_LANE_RING; at < PM_LANE_UNDO; at += PM_LINE) {
			uint64_t *w = word_at(d, block + at), lines = w[1] & 1023;

			if (lines && at + lines * PM_LINE <= PM_LANE_UNDO)
				w[0] = ph_sum(state->epoch, block + at, w + 1, lines * 8 - 1);
		}
		for (unsigned log = 0; log < PM_UNDO_LOGS; log++) {
			uint64_t at = block + PM_LANE_UNDO + log * PM_UNDO_AREA;
			uint64_t *w = word_at(d, at), bytes = PM_LINE;

			if (w[3] >> 56 == PM_UNDO_DATA && w[4] <= PM_UNDO_DATA_MAX)
				bytes = (sizeof(struct pm_undo) + w[4] + 63) / 64 * 64;
			w[0] = ph_sum(state->epoch ^ (block + log * PM_LINE), at, w + 1,
				      bytes / 8 - 1);
		}
	}
}

void damaged_change(const struct damage *d)
{
	uint64_t n = choose(d->choice, CHANGES_MAX + 1);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t offset = some_place(d);

		*word_at(d, offset) = some_value(d, *word_at(d, offset));
	}
	if (choose(d->choice, 2))
		mend_zone(d);
	if (d->supers && choose(d->choice, 2)) {
		mend_super(d, PM_SUPER_A);
		mend_super(d, PM_SUPER_B);
	}
	if (choose(d->choice, 3) == 0)
		mend_logs(d);
}

/* ---- use ---------------------------------------------------------------------------- */

/* Reserved objects, each with a content of its own: no two may share memory. */
#define KEPT 24u

struct kept {
	char *object;
	size_t size;
	uint64_t id;
};

static void keep(pheap_t *heap, struct kept *kept, size_t size, uint64_t id)
{
	*kept = (struct kept){pheap_alloc(heap, size), size, id};
	if (kept->object)
		fill_pattern(kept->object, size, id);
}

/* In a traced pool whoever follows a damaged reference, or one that a damaged one shared its
 * object with, may free and write what is another's: the library cannot know. */
static bool trusting;

static void look_at(const struct kept *kept)
{
	must(trusting || !kept->object || has_pattern(kept->object, kept->size, kept->id));
}

/* Whatever a root of a damaged pool refers to. */
static char *some_object(pheap_t *heap, struct choice *c, size_t *size)
{
	pheap_ref *slot = root(heap, choose_any(c));
	char *object = slot ? pheap_ptr(heap, *slot) : NULL;

	*size = object ? pheap_usable_size(heap, object) : 0;
	return *size ? object : NULL;
}

static void use_tx(pheap_t *heap, struct choice *c)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);
	pheap_ref *slot = root(heap, choose_any(c));
	size_t size;
	char *object = some_object(heap, c, &size), *made;

	if (!tx)
		return;
	if (object && !pheap_tx_snapshot(tx, object, size > 4000 ? 4000 : size))
		memset(object, (int)choose_any(c), size > 4000 ? 4000 : size);
	if (object && choose(c, 2))
		pheap_tx_free(tx, object);
	made = pheap_tx_alloc(tx, some_size(c));
	if (made)
		memset(made, 1, 16);
	if (slot && choose(c, 2))
		pheap_tx_retire(tx, slot);
	if (slot && made)
		pheap_tx_set(tx, slot, pheap_ref_of(heap, made));
	if (choose(c, 3))
		pheap_tx_commit(tx);
	else
		pheap_tx_abort(tx);
}

static void use_address(pheap_t *heap, char *base, struct choice *c)
{
	char *at = base + choose(c, DAMAGED_POOL);

	pheap_usable_size(heap, at);
	pheap_usable_size(heap, at - (uintptr_t)at % PM_GRANULE);
	pheap_free(heap, at - (uintptr_t)at % 16);
	pheap_persist(heap, at, 8);
}

static void use_once(pheap_t *heap, char *base, struct choice *c, struct kept *kept)
{
	pheap_ref *slot = root(heap, choose_any(c));
	struct kept *mine = &kept[choose(c, KEPT)];
	size_t size = some_size(c);

	look_at(mine);
	switch (choose(c, 10)) {
	case 0:
	case 1:
		if (slot)
			pheap_alloc_into(heap, slot, size, NULL);
		break;
	case 2:
		if (slot)
			pheap_retire(heap, slot);
		break;
	case 3:
	case 4:
		if (mine->object)
			must(!pheap_free(heap, mine->object) || trusting);
		keep(heap, mine, size, choose_any(c));
		break;
	case 5:
		if (slot)
			pheap_resize(heap, slot, size);
		break;
	case 6:
		if (mine->object && slot && !pheap_publish(heap, slot, mine->object, 0))
			mine->object = NULL;
		break;
	case 7:
		if (choose(c, 8))
			break;
		use_address(heap, base, c);
		memset(kept, 0, KEPT * sizeof(*kept)); /* one of them may be free now */
		break;
	default:
		use_tx(heap, c);
		break;
	}
}

void damaged_use(pheap_t *heap, char *base, struct choice *c)
{
	uint64_t n = 20 + choose(c, choose(c, 4) ? 200 : 1500);
	struct kept kept[KEPT] = {{NULL, 0, 0}};

	trusting = info_of(heap).traced;
	use_types(heap);
	for (uint64_t i = 0; i < n && choices_left(c); i++)
		use_once(heap, base, c, kept);
	for (unsigned i = 0; i < KEPT; i++)
		look_at(&kept[i]);
	stats_of(heap);
	pheap_check(heap, NULL, NULL, NULL);
}
