/*
 * compact.c - move objects out of sparse slabs: pheap_compact().
 *
 * Slabs are chosen kind by kind, that is by size class and type: as many of the fullest as
 * hold all objects stay, the others are to be emptied. One pass over all objects then
 * gathers the slots that refer into those, and after it objects move in batches. A batch is
 * one transaction: new places with the content, the old ones freed, the slots changed. So
 * every batch is atomic by itself, and there is no state to recover.
 *
 *   M1  An object moves only if every slot that refers to it is known. What words of an
 *       object say of whose layout nothing is known may be a reference or not, so what they
 *       could refer to is pinned.
 *   M2  A slot is where its object is by now: what has moved is found by the table of its slab.
 *   M3  Slabs that are to be emptied are nobody's to allocate from (ph_slab_adopt).
 *
 * LOCKS: none beyond those of what is called: the caller is alone on the heap.
 */
#include <pheap.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/slab.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "alloc/traced.h"
#include "tx/lane.h"
#include "tx/tx.h"
#include "types.h"

/* Of a batch: objects, and slots. Both together are within what a ring takes. */
#define BATCH_OBJECTS 128u
#define BATCH_SLOTS 256u

#define PINNED 1u /* in ph_emptied.to: no object begins there */

/* A slab to be emptied. */
struct emptied {
	struct ph_slab *slab;
	uint64_t *to; /* an object's new place; 0: none; PINNED */
};

struct link {
	uint64_t ref, slot;
};

struct compactor {
	struct pheap *heap;
	const struct pheap_compact_options *opts;
	struct pheap_compact_report *report;
	struct emptied *emptied;
	uint32_t nemptied;
	uint32_t *of_granule; /* number of the slab to be emptied there, from 1; 0: none */
	struct link *links;
	uint64_t nlinks, cap;
	char *object; /* that is looked into, and its size */
	uint64_t size;
	bool holder; /* it pins something */
	int error;
	uint64_t done, total;
};

/* ---- slabs ------------------------------------------------------------------------- */

/* Permanent, as far as that is known without looking for it. */
static bool is_live(const struct pheap *heap, const struct ph_slab *slab, uint32_t i)
{
	struct ph_object object = {.slab = (struct ph_slab *)(uintptr_t)slab, .index = i};

	return ph_traced_permanent(heap, &object);
}

struct candidate {
	struct ph_slab *slab;
	uint32_t type, live;
};

static int fullest_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->slab->cls != y->slab->cls)
		return x->slab->cls < y->slab->cls ? -1 : 1;
	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	if (x->live != y->live)
		return x->live > y->live ? -1 : 1;
	return x->slab->start < y->slab->start ? -1 : 1;
}

/* Counts are beside the objects and do not move; what keeps types stays. */
static bool may_move(const struct pheap *heap, uint32_t type)
{
	const struct pheap_type *known = ph_type(heap, type);

	return !type || (known && !(known->flags & PHEAP_TYPE_COUNTED));
}

static uint32_t granule_of(const struct pheap *heap, uint64_t offset)
{
	return (uint32_t)((offset - heap->zone.data) / PM_GRANULE);
}

static bool empty_it(struct compactor *c, struct ph_slab *slab)
{
	struct emptied *e = &c->emptied[c->nemptied];

	if (!ph_slab_adopt(c->heap, slab)) /* M3: a thread allocates from it */
		return true;
	e->to = calloc(slab->objects, sizeof(*e->to));
	if (!e->to) {
		ph_slab_disown(c->heap, &slab);
		return false;
	}
	e->slab = slab;
	c->nemptied++;
	for (uint32_t i = 0; i < slab->granules; i++)
		c->of_granule[granule_of(c->heap, slab->start) + i] = c->nemptied;
	c->report->slabs++;
	return true;
}

/* Those of one kind, sorted. */
static bool choose_among(struct compactor *c, const struct candidate *first, size_t n)
{
	uint64_t live = 0, room = 0;

	for (size_t i = 0; i < n; i++)
		live += first[i].live;
	for (size_t i = 0; i < n; i++) {
		if (room >= live && first[i].live && !empty_it(c, first[i].slab))
			return false;
		room += first[i].slab->objects;
	}
	return true;
}

static size_t gather_slabs(const struct pheap *heap, struct candidate *to)
{
	size_t n = 0;

	for (struct ph_slab *slab = heap->zone.newest; slab; slab = slab->older) {
		uint32_t live = 0, type;

		if (slab->kind != PM_KIND_SLAB || !slab->born ||
		    ph_slab_at(heap, slab->first) != slab || !may_move(heap, type = slab->type))
			continue;
		for (uint32_t i = 0; i < slab->objects; i++)
			live += is_live(heap, slab, i);
		to[n++] = (struct candidate){slab, type, live};
	}
	return n;
}

static int choose(struct compactor *c)
{
	struct pheap *heap = c->heap;
	struct candidate *all = calloc(heap->zone.granules, sizeof(*all));
	size_t n = all ? gather_slabs(heap, all) : 0, end;
	bool ok = all != NULL;

	c->of_granule = calloc(heap->zone.granules, sizeof(*c->of_granule));
	c->emptied = calloc(n + 1, sizeof(*c->emptied));
	ok &= c->of_granule && c->emptied;
	if (ok)
		qsort(all, n, sizeof(*all), fullest_first);
	for (size_t i = 0; i < n && ok; i = end) {
		for (end = i; end < n && all[end].slab->cls == all[i].slab->cls &&
			      all[end].type == all[i].type;)
			end++;
		ok = choose_among(c, all + i, end - i);
	}
	free(all);
	return ok ? 0 : ph_error(ENOMEM, "pheap_compact: no memory");
}

/* ---- slots --------------------------------------------------------------------------- */

/* Where the table of the slab to be emptied has the object that ref leads to, or into;
 * NULL: it leads elsewhere. */
static uint64_t *entry_of(const struct compactor *c, uint64_t ref, bool *start)
{
	const struct ph_zone *zone = &c->heap->zone;
	const struct emptied *e;
	uint64_t index;

	if (ref < zone->data || ref - zone->data >= zone->bytes)
		return NULL;
	index = c->of_granule[granule_of(c->heap, ref)];
	if (!index)
		return NULL;
	e = &c->emptied[index - 1];
	index = (ref - e->slab->start) / e->slab->size;
	*start = (ref - e->slab->start) % e->slab->size == 0;
	return index < e->slab->objects ? &e->to[index] : NULL;
}

static void pin(struct compactor *c, uint64_t ref)
{
	bool start;
	uint64_t *entry = entry_of(c, ref, &start);

	if (!entry)
		return;
	*entry = PINNED;
	c->holder = true;
}

static void add_link(struct compactor *c, uint64_t ref, uint64_t slot)
{
	if (c->nlinks == c->cap) {
		uint64_t cap = c->cap ? c->cap * 2 : 1024;
		struct link *grown = realloc(c->links, cap * sizeof(*grown));

		if (!grown) {
			c->error = ph_error(ENOMEM, "pheap_compact: no memory for %llu references",
					    (unsigned long long)cap);
			return;
		}
		c->links = grown;
		c->cap = cap;
	}
	c->links[c->nlinks++] = (struct link){ref, slot};
}

static void visit_slot(void *arg, pheap_ref *slot)
{
	struct compactor *c = arg;
	uint64_t inside = (uintptr_t)slot - (uintptr_t)c->object, *entry;
	bool start;

	/* A callback may say anything. */
	if (inside % 8 || inside > c->size - 8 || !(entry = entry_of(c, *slot, &start)))
		return;
	if (start)
		add_link(c, *slot, ph_off(c->heap, slot));
	else
		*entry = PINNED; /* no reference that could follow */
}

/* M1: every word may be one. */
static void pin_words(struct compactor *c)
{
	const uint64_t *words = (const uint64_t *)(const void *)c->object;

	c->holder = false;
	for (uint64_t i = 0; i < c->size / 8; i++)
		pin(c, words[i]);
	c->report->untyped_holders += c->holder;
}

static void look_into(struct compactor *c, const struct ph_slab *slab, uint32_t i,
		      const struct pheap_type *type)
{
	c->object = ph_at(c->heap, slab->start + i * slab->size);
	c->size = slab->size;
	if (ph_type_keeps(c->heap, ph_off(c->heap, c->object)))
		pin(c, ph_off(c->heap, c->object));
	else if (!type || !is_live(c->heap, slab, i) ||
		 !ph_type_visit(type, c->object, c->size, visit_slot, c))
		pin_words(c);
	for (uint64_t e = 0; type && type->nweak && e < ph_type_elements(type, c->size); e++)
		for (uint32_t w = 0; w < type->nweak; w++)
			pin(c, *(const uint64_t *)(const void *)(c->object + e * type->size +
								 type->weak[w]));
}

static void look_into_roots(struct compactor *c)
{
	c->object = ph_at(c->heap, PM_ROOTS);
	c->size = PM_ROOT_SLOTS * sizeof(struct pm_root);
	for (uint32_t i = 0; i < PM_ROOT_SLOTS; i++) {
		struct pm_root *root = (struct pm_root *)(void *)c->object + i;

		visit_slot(c, &root->ref);
	}
}

static int by_object(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->ref != y->ref)
		return x->ref < y->ref ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static int gather_slots(struct compactor *c)
{
	struct pheap *heap = c->heap;

	look_into_roots(c);
	for (const struct ph_slab *slab = heap->zone.newest; slab; slab = slab->older) {
		const struct pheap_type *type;

		if (slab->kind == PM_KIND_LANE || ph_slab_at(heap, slab->first) != slab)
			continue;
		type = ph_type(heap, slab->type);
		for (uint32_t i = 0; i < slab->objects && !c->error; i++)
			if (slab->state[i] >= PH_RESERVED)
				look_into(c, slab, i, type);
	}
	if (!c->error && c->nlinks)
		qsort(c->links, c->nlinks, sizeof(*c->links), by_object);
	return c->error;
}

/* ---- moves ------------------------------------------------------------------------------ */

struct batch {
	pheap_tx_t *tx;
	uint32_t n, slots;
	struct {
		uint64_t from, to;
		uint64_t *entry;
		uint64_t link; /* the first of its links */
		uint64_t size;
	} move[BATCH_OBJECTS];
};

/* The first link to an object, or to one behind it. */
static uint64_t first_link(const struct compactor *c, uint64_t ref)
{
	uint64_t low = 0, high = c->nlinks;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (c->links[middle].ref < ref)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* M2. */
static uint64_t place_of(const struct compactor *c, uint64_t slot)
{
	const struct emptied *e;
	uint64_t index, inside;
	uint32_t number;

	if (slot < c->heap->zone.data || !(number = c->of_granule[granule_of(c->heap, slot)]))
		return slot;
	e = &c->emptied[number - 1];
	index = (slot - e->slab->start) / e->slab->size;
	inside = (slot - e->slab->start) % e->slab->size;
	return e->to[index] > PINNED ? e->to[index] + inside : slot;
}

/* New places of this batch belong to its transaction: its commit makes them durable. */
static int change_slot(struct compactor *c, struct batch *b, uint64_t slot, uint64_t to)
{
	struct ph_object object;
	uint64_t *word = (uint64_t *)(void *)ph_at(c->heap, place_of(c, slot));

	if (ph_object_find(c->heap, ph_off(c->heap, word), &object) && ph_state(&object) == PH_TX) {
		ph_store64(&c->heap->pm, word, to);
		return 0;
	}
	return pheap_tx_set(b->tx, word, to);
}

/* All are where they were. */
static void drop_batch(struct batch *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		*b->move[i].entry = 0;
	b->tx = NULL;
	b->n = b->slots = 0;
}

static int commit_batch(struct compactor *c, struct batch *b)
{
	uint64_t bytes = 0, slots = 0;
	int err = 0;

	for (uint32_t i = 0; i < b->n && !err; i++) {
		bytes += b->move[i].size;
		for (uint64_t l = b->move[i].link;
		     !err && l < c->nlinks && c->links[l].ref == b->move[i].from; l++, slots++)
			err = change_slot(c, b, c->links[l].slot, b->move[i].to);
	}
	if (err)
		pheap_tx_abort(b->tx);
	else
		err = pheap_tx_commit(b->tx);
	if (err) {
		drop_batch(b);
		return err;
	}
	c->report->moved += b->n;
	c->report->moved_bytes += bytes;
	c->report->slots += slots;
	b->tx = NULL;
	b->n = b->slots = 0;
	if (c->opts && c->opts->progress)
		c->opts->progress(c->opts->arg, c->done, c->total);
	return 0;
}

/* Its content at a new place, both in the transaction. */
static int copy_object(struct compactor *c, struct batch *b, struct ph_slab *slab, uint32_t i,
		       uint64_t *entry)
{
	uint64_t from = slab->start + i * slab->size;
	char *ptr;
	int err;

	if (!b->tx && !(b->tx = pheap_tx_begin(c->heap)))
		return -errno;
	ptr = ph_alloc_shape(c->heap, slab->shape);
	if (!ptr)
		return -errno;
	ph_store(&c->heap->pm, ptr, ph_at(c->heap, from), slab->size);
	err = pheap_tx_adopt(b->tx, ptr);
	if (err) {
		pheap_free(c->heap, ptr);
		return err;
	}
	err = pheap_tx_free(b->tx, ph_at(c->heap, from));
	if (err)
		return err;
	*entry = ph_off(c->heap, ptr);
	b->move[b->n].from = from;
	b->move[b->n].to = *entry;
	b->move[b->n].entry = entry;
	b->move[b->n].size = slab->size;
	b->move[b->n++].link = first_link(c, from);
	return 0;
}

static uint64_t links_to(const struct compactor *c, uint64_t ref)
{
	uint64_t l = first_link(c, ref), n = 0;

	while (l + n < c->nlinks && c->links[l + n].ref == ref)
		n++;
	return n;
}

static int move_from(struct compactor *c, struct batch *b, struct emptied *e)
{
	int err = 0;

	for (uint32_t i = 0; i < e->slab->objects && !err; i++) {
		uint64_t slots;

		if (!is_live(c->heap, e->slab, i))
			continue;
		c->done++;
		if (e->to[i] == PINNED) {
			c->report->pinned++;
			continue;
		}
		slots = links_to(c, e->slab->start + i * e->slab->size);
		if (b->n && (b->n == BATCH_OBJECTS || b->slots + slots > BATCH_SLOTS))
			err = commit_batch(c, b);
		if (!err)
			err = copy_object(c, b, e->slab, i, &e->to[i]);
		b->slots += (uint32_t)slots;
	}
	return err;
}

static int move_all(struct compactor *c)
{
	struct batch b = {0};
	int err = 0;

	for (uint32_t i = 0; i < c->nemptied; i++)
		for (uint32_t k = 0; k < c->emptied[i].slab->objects; k++)
			c->total += is_live(c->heap, c->emptied[i].slab, k);
	for (uint32_t i = 0; i < c->nemptied && !err; i++)
		err = move_from(c, &b, &c->emptied[i]);
	if (!err)
		return b.tx ? commit_batch(c, &b) : 0;
	pheap_tx_abort(b.tx);
	drop_batch(&b);
	return err;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static uint64_t granules_in_use(struct pheap *heap)
{
	return heap->zone.granules_slab + heap->zone.granules_large;
}

static int load_everything(struct pheap *heap, struct ph_tcache *cache)
{
	int err = ph_checkpoint(heap);

	while (!err && ph_span_discover(heap, 1024))
		;
	if (!err)
		ph_tcache_flush(cache);
	return err;
}

static int compact(struct compactor *c, struct ph_tcache *cache)
{
	struct pheap *heap = c->heap;
	int err = load_everything(heap, cache), last;

	if (err)
		return err;
	c->report->granules = granules_in_use(heap);
	err = choose(c);
	if (!err)
		err = gather_slots(c);
	if (!err)
		err = move_all(c);
	for (uint32_t i = 0; i < c->nemptied; i++) {
		struct ph_slab *slab = c->emptied[i].slab;

		free(c->emptied[i].to);
		ph_slab_disown(heap, &slab);
	}
	last = pheap_purge(heap, 0);
	c->report->granules_after = granules_in_use(heap);
	free(c->emptied);
	free(c->of_granule);
	free(c->links);
	return err ? err : last;
}

PHEAP_API int pheap_compact(pheap_t *heap, const struct pheap_compact_options *opts,
			    struct pheap_compact_report *report)
{
	struct pheap_compact_report own = {.struct_size = sizeof(own)};
	struct compactor c = {.heap = heap, .opts = opts, .report = &own};
	struct ph_tcache *cache;
	int err = ph_heap_writable(heap, "pheap_compact");

	if (!err && ((opts && opts->struct_size != sizeof(*opts)) ||
		     (report && report->struct_size != sizeof(*report))))
		err = ph_error(EINVAL, "pheap_compact: struct_size is not that of this library");
	if (!err && !ph_logs(&heap->pm))
		err = ph_error(ENOTSUP, "pheap_compact: a volatile heap has no types");
	if (!err && ph_tx_open(heap))
		err = ph_error(EBUSY, "pheap_compact: a transaction is open");
	if (err)
		return err;
	cache = ph_tcache_get(heap);
	if (!cache)
		return -errno;
	err = compact(&c, cache);
	if (report)
		*report = own;
	return err;
}
