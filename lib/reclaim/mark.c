/*
 * mark.c - the marker's spans, bits, roots and results. See mark.h.
 */
#include "mark.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/buddy.h"
#include "alloc/span.h"
#include "error.h"
#include "mark-impl.h"
#include "types.h"

/* A thread more for each so many objects: to make one takes as long as to mark a thousand. */
#define OBJECTS_PER_THREAD (UINT64_C(1) << 17)
#define THREADS_MAX 64u

/* Words of bits of a granule's smallest objects. */
#define GRANULE_WORDS (PM_BITMAP_BYTES / 8)

/* ---- spans ----------------------------------------------------------------------- */

static uint8_t tree_get(void *arg, uint64_t at)
{
	const struct ph_marker *m = arg;

	return __atomic_load_n((const uint8_t *)m->base + m->zone->tree + at, __ATOMIC_RELAXED);
}

static const struct pm_span *descriptor(const struct ph_marker *m, uint32_t granule)
{
	return (const struct pm_span *)(const void *)(m->base + m->zone->desc) + granule;
}

static const uint64_t *bitmap(const struct ph_marker *m, uint32_t head)
{
	return (const uint64_t *)(const void *)(m->base + m->zone->bits +
						(uint64_t)head * PM_BITMAP_BYTES);
}

/* A type whose objects do not fit where they are is damaged. */
static uint16_t plan_of(const struct ph_marker *m, const struct pm_span *span)
{
	if (span->type >= PH_MARK_TYPES || m->plan[span->type].size > span->size)
		return PH_MARK_UNKNOWN;
	return (uint16_t)span->type;
}

static bool mapped(const struct ph_marker *m, uint32_t granule, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (m->map[granule + i].head)
			return true;
	return false;
}

static int bad_span(const struct ph_marker *m, uint32_t granule)
{
	return ph_error(EUCLEAN,
			"granule %u is in use, and no sound span covers it (descriptor at offset "
			"%#llx): run a check",
			granule,
			(unsigned long long)(m->zone->desc + granule * sizeof(struct pm_span)));
}

/* The span that begins at a granule that is taken: its granules, or a negative code. */
static int64_t add_span(struct ph_marker *m, uint32_t granule)
{
	const struct pm_span *span = descriptor(m, granule);
	bool slab = span->kind == PM_KIND_SLAB;
	struct ph_mark_granule entry = {.head = granule + 1};
	uint32_t n;

	if (!ph_span_believable(m->zone, span, granule))
		return bad_span(m, granule);
	if (span->kind == PM_KIND_LANE)
		return span->granules;
	n = slab ? span->granules : 1;
	if (mapped(m, granule, n))
		return bad_span(m, granule);
	entry.word = (uint32_t)m->words;
	entry.extent = slab ? ph_span_objects(span) : span->granules;
	entry.plan = plan_of(m, span);
	entry.cls = slab ? span->size_class : PH_CLASSES;
	for (uint32_t i = 0; i < n; i++)
		m->map[granule + i] = entry;
	m->words += (m->shape[entry.cls].objects + 63) / 64;
	m->spans_granules += n;
	return span->granules;
}

static int find_spans(struct ph_marker *m)
{
	struct ph_tree tree = {.levels = m->zone->levels, .get = tree_get, .arg = m};

	for (uint32_t g = 0;;) {
		int64_t n;

		g = ph_tree_next_taken(&tree, g);
		if (g >= m->granules)
			return 0;
		n = add_span(m, g);
		if (n < 0)
			return (int)n;
		g += (uint32_t)n;
	}
}

/* Of a large span it is one. */
static uint32_t objects_of(const struct ph_marker *m, uint32_t head)
{
	return m->map[head].cls < PH_CLASSES ? m->map[head].extent : 1;
}

static uint64_t places(uint32_t objects, uint32_t word)
{
	uint32_t left = objects > word * 64 ? objects - word * 64 : 0;

	return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

/* Word i of what there was at the start. */
static uint64_t there(const struct ph_marker *m, uint32_t head, uint32_t objects, uint32_t i)
{
	uint64_t all = places(objects, i);

	if (m->flags & PH_MARK_PLACES)
		return all;
	return all & __atomic_load_n(&bitmap(m, head)[i], __ATOMIC_RELAXED);
}

static void whiten(struct ph_marker *m)
{
	for (uint32_t g = 0; g < m->granules; g++) {
		const struct ph_mark_granule *entry = &m->map[g];
		uint32_t objects;

		if (entry->head != g + 1)
			continue;
		objects = objects_of(m, g);
		for (uint32_t i = 0; i < (objects + 63) / 64; i++) {
			uint64_t word = there(m, g, objects, i);

			m->white[entry->word + i] = word;
			m->objects += (uint64_t)__builtin_popcountll(word);
			m->bytes += (uint64_t)__builtin_popcountll(word) * ph_mark_size(m, entry);
		}
	}
}

/* ---- make and free ------------------------------------------------------------------ */

static void *map_lazily(size_t bytes)
{
	void *p = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes + 1);
}

void ph_mark_set_types(struct ph_marker *m, const struct ph_mark_type *types, uint32_t n)
{
	m->plan[PH_MARK_UNKNOWN] = (struct ph_mark_plan){.kind = PH_MARK_WORDS};
	m->plan[0].kind = m->flags & PH_MARK_UNTYPED ? PH_MARK_WORDS : PH_MARK_LEAF;
	for (uint32_t id = 1; id < PH_MARK_TYPES; id++) {
		const struct ph_mark_type *type = id < n ? &types[id] : NULL;
		struct ph_mark_plan *plan = &m->plan[id];

		if (!type || !type->size || type->flags & PH_MARK_CONSERVATIVE) {
			plan->kind = PH_MARK_WORDS;
			continue;
		}
		plan->refs = type->refs;
		plan->nrefs = type->nrefs;
		plan->size = type->size;
		plan->trace = type->trace;
		plan->first = type->nrefs ? type->refs[0] : 0;
		if (type->trace)
			plan->kind = PH_MARK_CALLBACK;
		else if (!type->nrefs)
			plan->kind = PH_MARK_LEAF;
		else
			plan->kind = type->flags & PH_MARK_ARRAY ? PH_MARK_ELEMENTS : PH_MARK_FIXED;
	}
}

static void shape_classes(struct ph_marker *m)
{
	for (unsigned c = 0; c < PH_CLASSES; c++)
		m->shape[c] = (struct ph_mark_shape){ph_reciprocal(ph_classes[c].size),
						     ph_classes[c].objects, ph_classes[c].size};
	/* The quotient is 0, and the fraction is where it lies: 0 is the start. */
	m->shape[PH_CLASSES] = (struct ph_mark_shape){1, 1, 0};
}

static unsigned processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static int make_workers(struct ph_marker *m, const struct ph_mark_setup *setup)
{
	uint32_t cap = setup->stack ? setup->stack : PH_MARK_STACK;
	uint64_t worth = 1 + m->objects / OBJECTS_PER_THREAD;

	m->threads = setup->threads;
	if (!m->threads) {
		m->threads = processors();
		if (m->threads > worth)
			m->threads = (unsigned)worth;
	}
	if (m->threads > THREADS_MAX)
		m->threads = THREADS_MAX;
	m->worker = aligned_alloc(64, m->threads * sizeof(*m->worker));
	m->chunk = m->threads > 1 ? malloc(PH_MARK_CHUNKS * sizeof(*m->chunk)) : NULL;
	if (!m->worker || (m->threads > 1 && !m->chunk))
		return -ENOMEM;
	memset(m->worker, 0, m->threads * sizeof(*m->worker));
	for (unsigned i = 0; i < m->threads; i++) {
		m->worker[i].marker = m;
		m->worker[i].cap = cap;
		m->worker[i].stack = malloc(cap * sizeof(uint64_t));
		if (!m->worker[i].stack)
			return -ENOMEM;
	}
	return 0;
}

static size_t map_bytes(const struct ph_marker *m)
{
	return m->granules * sizeof(*m->map);
}

static int make(struct ph_marker *m, const struct ph_mark_setup *setup)
{
	int err;

	m->base = setup->base;
	m->zone = setup->zone;
	m->data = setup->zone->data;
	m->granules = setup->zone->granules;
	m->flags = setup->flags;
	m->progress = setup->progress;
	m->arg = setup->arg;
	shape_classes(m);
	ph_mark_set_types(m, setup->types, setup->ntypes);
	m->map = map_lazily(map_bytes(m));
	if (!m->map)
		return -ENOMEM;
	if (m->flags & PH_MARK_SOME) /* address space for all that there may be */
		m->words = (uint64_t)m->granules * GRANULE_WORDS;
	else if ((err = find_spans(m)))
		return err;
	m->white = map_lazily(m->words * sizeof(*m->white));
	if (!m->white)
		return -ENOMEM;
	if (!(m->flags & PH_MARK_SOME))
		whiten(m);
	return make_workers(m, setup);
}

int ph_marker_make(const struct ph_mark_setup *setup, struct ph_marker **marker)
{
	struct ph_marker *m = aligned_alloc(64, (sizeof(*m) + 63) / 64 * 64);
	int err;

	*marker = NULL;
	if (!m)
		return ph_error(ENOMEM, "no memory for marking objects");
	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->wake, NULL);
	err = make(m, setup);
	if (err) {
		ph_marker_free(m);
		return err == -ENOMEM ? ph_error(ENOMEM, "no memory for marking objects") : err;
	}
	*marker = m;
	return 0;
}

void ph_marker_free(struct ph_marker *m)
{
	if (!m)
		return;
	for (unsigned i = 0; m->worker && i < m->threads; i++)
		free(m->worker[i].stack);
	free(m->worker);
	free(m->chunk);
	free(m->some);
	unmap(m->white, m->words * sizeof(*m->white));
	unmap(m->map, map_bytes(m));
	pthread_cond_destroy(&m->wake);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void ph_mark_types(const struct ph_types *types, struct ph_mark_type table[PM_TYPES])
{
	memset(table, 0, PM_TYPES * sizeof(*table));
	for (uint32_t id = 1; types && id < PM_TYPES; id++) {
		const struct pheap_type *type =
			__atomic_load_n(&types->entry[id], __ATOMIC_ACQUIRE);
		struct ph_mark_type *mark = &table[id];

		if (!type)
			continue;
		mark->refs = type->refs;
		mark->nrefs = type->nrefs;
		mark->size = type->size;
		mark->trace = __atomic_load_n(&type->trace, __ATOMIC_ACQUIRE);
		if (type->flags & PHEAP_TYPE_ARRAY)
			mark->flags |= PH_MARK_ARRAY;
		if (type->flags & PHEAP_TYPE_CALLBACK && !mark->trace)
			mark->flags |= PH_MARK_CONSERVATIVE;
	}
}

/* ---- some objects ---------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool remember_span(struct ph_marker *m, uint32_t granule)
{
	uint32_t room = m->some_room ? 2 * m->some_room : 256;
	uint32_t *grown;

	if (m->nsome == m->some_room) {
		grown = realloc(m->some, room * sizeof(*grown));
		if (!grown) {
			m->error = -ENOMEM; /* of the run */
			return false;
		}
		m->some = grown;
		m->some_room = room;
	}
	m->some[m->nsome++] = granule;
	return true;
}

/* The span that covers a granule, which begins at a multiple of the power of two that holds
 * it. Bits are where its bitmap is. */
static bool add_some(struct ph_marker *m, uint32_t granule)
{
	for (uint32_t order = 0; order <= 4; order++) {
		uint32_t head = granule & ~((1u << order) - 1);
		const struct pm_span *span = descriptor(m, head);

		if (span->kind == PM_KIND_NONE || !ph_span_believable(m->zone, span, head) ||
		    span->kind == PM_KIND_LANE || span->granules <= granule - head)
			continue;
		if (mapped(m, head, span->kind == PM_KIND_SLAB ? span->granules : 1) ||
		    !remember_span(m, head))
			return false;
		m->words = (uint64_t)head * GRANULE_WORDS;
		add_span(m, head);
		m->words = (uint64_t)m->granules * GRANULE_WORDS;
		return true;
	}
	return false;
}

bool ph_mark_whiten(struct ph_marker *m, uint64_t ref)
{
	uint64_t granule = (ref - m->data) >> PM_GRANULE_SHIFT;
	struct ph_mark_place place;
	uint64_t bit, *word;

	if (granule >= m->granules || (!m->map[granule].head && !add_some(m, (uint32_t)granule)) ||
	    !ph_mark_find(m, ref, &place))
		return false;
	word = ph_mark_word_of(m, &place);
	bit = UINT64_C(1) << place.index % 64;
	*word |= bit;
	return true;
}

static void forget_span(struct ph_marker *m, uint32_t head)
{
	uint32_t n = m->map[head].cls < PH_CLASSES ? ph_classes[m->map[head].cls].granules : 1;

	memset(&m->white[m->map[head].word], 0, (objects_of(m, head) + 63) / 64 * 8);
	memset(&m->map[head], 0, n * sizeof(*m->map));
	m->spans_granules -= n;
}

bool ph_mark_forget_stale(struct ph_marker *m)
{
	uint32_t kept = 0, n = m->nsome;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t head = m->some[i];
		const struct ph_mark_granule *entry = &m->map[head];
		const struct pm_span *span = descriptor(m, head);
		bool slab = entry->cls < PH_CLASSES;

		if (span->kind == (slab ? PM_KIND_SLAB : PM_KIND_LARGE) &&
		    entry->plan == plan_of(m, span) &&
		    (slab ? span->size_class == entry->cls : span->granules == entry->extent))
			m->some[kept++] = head;
		else
			forget_span(m, head);
	}
	m->nsome = kept;
	return kept < n;
}

/* What is not published now may be published again, as another object, before it is swept. */
static void keep_published(struct ph_marker *m, uint32_t head)
{
	uint64_t *white = &m->white[m->map[head].word];
	uint32_t objects = objects_of(m, head);

	for (uint32_t i = 0; i < (objects + 63) / 64; i++) {
		white[i] &= there(m, head, objects, i);
		m->objects += (uint64_t)__builtin_popcountll(white[i]);
	}
}

void ph_mark_settle(struct ph_marker *m)
{
	m->objects = 0;
	for (uint32_t i = 0; i < m->nsome; i++)
		keep_published(m, m->some[i]);
	qsort(m->some, m->nsome, sizeof(*m->some), by_number);
}

void ph_mark_reset(struct ph_marker *m)
{
	for (uint32_t i = 0; i < m->nsome; i++)
		forget_span(m, m->some[i]);
	m->nsome = 0;
	m->objects = 0;
	m->error = 0;
	m->stop = false;
	for (unsigned i = 0; i < m->threads; i++) {
		struct ph_mark_worker *w = &m->worker[i];

		w->marked = w->dangling = w->rescanned = 0;
		w->n = w->ahead_n = 0;
	}
}

bool ph_mark_is_white(const struct ph_marker *m, uint64_t ref)
{
	struct ph_mark_place place;

	return ph_mark_find(m, ref, &place) && *ph_mark_word_of(m, &place) >> place.index % 64 & 1;
}

uint64_t ph_mark_size_at(const struct ph_marker *m, uint64_t ref)
{
	struct ph_mark_place place;

	return ph_mark_find(m, ref, &place) ? ph_mark_size(m, place.entry) : 0;
}

void ph_mark_slot(struct ph_marker *m, uint64_t offset)
{
	struct ph_mark_place place;

	if (offset + 8 > m->data + (uint64_t)m->granules * PM_GRANULE || offset % 8)
		return;
	/* Of a slot the place is that of the object around it. */
	if (ph_mark_around(m, offset, &place) &&
	    *ph_mark_word_of(m, &place) >> place.index % 64 & 1)
		return;
	ph_mark_words(m, m->base + offset, 1);
}

/* ---- roots ---------------------------------------------------------------------------- */

void ph_mark_ref(struct ph_marker *m, uint64_t ref)
{
	if (ref)
		ph_mark_visit_root(m, ref);
}

void ph_mark_fixed_roots(struct ph_marker *m)
{
	const struct pm_root *root = (const struct pm_root *)(const void *)(m->base + PM_ROOTS);
	const struct pm_type *type =
		(const struct pm_type *)(const void *)(m->base + PM_TYPE_TABLE);

	for (unsigned i = 0; i < PM_ROOT_SLOTS; i++)
		if (!i || root[i].name[0])
			ph_mark_ref(m, __atomic_load_n(&root[i].ref, __ATOMIC_RELAXED));
	for (unsigned i = 1; i < PM_TYPES && type[i].ref; i++)
		ph_mark_ref(m, __atomic_load_n(&type[i].ref, __ATOMIC_RELAXED));
}

void ph_mark_content(struct ph_marker *m, uint32_t type, uint64_t offset, uint64_t size)
{
	const struct ph_mark_plan *plan = &m->plan[type < PH_MARK_TYPES ? type : PH_MARK_UNKNOWN];

	if (plan->size > size)
		plan = &m->plan[PH_MARK_UNKNOWN];
	ph_mark_look(m, plan, m->base + offset, offset, size);
}

void ph_mark_words(struct ph_marker *m, const void *words, uint64_t n)
{
	ph_mark_look(m, &m->plan[PH_MARK_UNKNOWN], words, 0, n * 8);
}

/* ---- results -------------------------------------------------------------------------- */

void ph_mark_get_counts(const struct ph_marker *m, struct ph_mark_counts *counts)
{
	*counts = (struct ph_mark_counts){
		.objects = m->objects, .bytes = m->bytes, .threads = m->threads};
	counts->dram = sizeof(*m) +
		       (m->flags & PH_MARK_SOME ? m->nsome * (uint64_t)PM_BITMAP_BYTES
						: m->words * sizeof(*m->white)) +
		       m->spans_granules * sizeof(*m->map) + m->threads * sizeof(*m->worker) +
		       (m->chunk ? PH_MARK_CHUNKS * sizeof(*m->chunk) : 0);
	for (unsigned i = 0; i < m->threads; i++) {
		counts->marked += m->worker[i].marked;
		counts->dangling += m->worker[i].dangling;
		counts->rescanned += m->worker[i].rescanned;
		counts->dram += m->worker[i].cap * sizeof(uint64_t);
	}
}

/* Of those in the order of their addresses. */
static uint32_t next_of_some(const struct ph_marker *m, uint32_t granule)
{
	uint32_t low = 0, high = m->nsome;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (m->some[middle] < granule)
			low = middle + 1;
		else
			high = middle;
	}
	return low < m->nsome ? m->some[low] : m->granules;
}

bool ph_mark_next_span(const struct ph_marker *m, uint32_t granule, struct ph_mark_span *span)
{
	const struct ph_mark_granule *entry;
	bool slab;

	if (m->flags & PH_MARK_SOME)
		granule = next_of_some(m, granule);
	while (granule < m->granules && m->map[granule].head != granule + 1)
		granule++;
	if (granule >= m->granules)
		return false;
	entry = &m->map[granule];
	slab = entry->cls < PH_CLASSES;
	span->granule = granule;
	span->granules = slab ? ph_classes[entry->cls].granules : entry->extent;
	span->cls = slab ? entry->cls : 0;
	span->kind = slab ? PM_KIND_SLAB : PM_KIND_LARGE;
	span->type = entry->plan < PH_MARK_TYPES ? entry->plan : descriptor(m, granule)->type;
	span->objects = objects_of(m, granule);
	span->size = ph_mark_size(m, &m->map[granule]);
	span->start = m->data + (uint64_t)granule * PM_GRANULE;
	span->bits = m->zone->bits + (uint64_t)granule * PM_BITMAP_BYTES;
	return true;
}

uint64_t ph_mark_white(const struct ph_marker *m, const struct ph_mark_span *span, uint32_t i)
{
	/* Threads may be clearing others of its bits. */
	return __atomic_load_n(&m->white[m->map[span->granule].word + i], __ATOMIC_RELAXED);
}

uint64_t ph_mark_marked(const struct ph_marker *m, const struct ph_mark_span *span, uint32_t i)
{
	return there(m, span->granule, span->objects, i) & ~ph_mark_white(m, span, i);
}

bool ph_mark_is(const struct ph_marker *m, uint64_t ref)
{
	struct ph_mark_place place;
	struct ph_mark_span span;

	return ph_mark_find(m, ref, &place) && ph_mark_next_span(m, place.entry->head - 1, &span) &&
	       ph_mark_marked(m, &span, (uint32_t)(place.index / 64)) >> place.index % 64 & 1;
}
