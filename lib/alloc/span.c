/*
 * span.c - reserve, publish and release spans; find the span of an address.
 * Invariants are in span.h.
 */
#include "span.h"

#include <sys/mman.h>

#include <pheap/stats.h>

#include "dram.h"
#include "memory.h"
#include "tx/lane.h"
#include "tx/record.h"
#include "decay.h"
#include "large.h"
#include "slab.h"
#include "traced.h"
#include "types.h"

/* File blocks are allocated in chunks of so many granules: a few system calls a
 * megabyte, and little is lost where a file system is nearly full. */
#define CHUNK_GRANULES 16u
/* Descriptors and bitmaps by larger groups, a page of descriptors: the checker
 * looks at those of short free runs next to what is in use. */
#define GROUP_GRANULES 64u
/* Blocks are freed by so many, 1 GiB, under one hold of zone.lock. */
#define PUNCH_GRANULES 16384u

/*
 * Spans looked at for partly filled slabs of an earlier session before a new slab is
 * made, and lines of metadata read for that: enough to find them all within a few slabs'
 * worth of allocations, few enough to be no pause. The last span adds up to nine lines
 * and its path in the tree. So objects of all sizes cost two lines each on the average.
 */
#define SPANS_AT_ONCE 8u
#define LINES_AT_ONCE 64
#define LINES_PER_OBJECT 2

/* ---- the two trees --------------------------------------------------------- */

/* Under zone.lock, where all metadata is read: what a session has read of it. */
static void count_lines(struct ph_zone *zone, uint64_t n)
{
	__atomic_store_n(&zone->lines_read, zone->lines_read + n, __ATOMIC_RELAXED);
}

/* Byte 0 of an overlay line says that the line has been loaded. */
static uint8_t *overlay_line(struct pheap *heap, uint64_t at)
{
	struct ph_zone *zone = &heap->zone;
	uint8_t *line = zone->overlay + at / PM_LINE * PM_LINE;

	if (!line[0]) {
		memcpy(line, ph_at(heap, zone->pm->tree + at / PM_LINE * PM_LINE), PM_LINE);
		line[0] = 1;
		count_lines(zone, 1);
	}
	return line;
}

static uint8_t overlay_get(void *arg, uint64_t at)
{
	return overlay_line(arg, at)[at % PM_LINE];
}

static void overlay_set(void *arg, uint64_t at, uint8_t value)
{
	overlay_line(arg, at)[at % PM_LINE] = value;
}

static struct ph_tree overlay_tree(struct pheap *heap)
{
	return (struct ph_tree){heap->zone.levels, overlay_get, overlay_set, heap};
}

static uint8_t media_get(void *arg, uint64_t at)
{
	struct ph_rec *rec = arg;
	uint64_t word = ph_rec_get(rec, rec->heap->zone.pm->tree + at / 8 * 8);

	return (uint8_t)(word >> at % 8 * 8);
}

static void media_set(void *arg, uint64_t at, uint8_t value)
{
	struct ph_rec *rec = arg;
	uint64_t offset = rec->heap->zone.pm->tree + at / 8 * 8;
	uint64_t shift = at % 8 * 8, word = ph_rec_get(rec, offset);

	word = (word & ~(UINT64_C(0xff) << shift)) | (uint64_t)value << shift;
	ph_rec_put(rec, offset, word);
}

static struct ph_tree media_tree(struct ph_rec *rec)
{
	return (struct ph_tree){rec->heap->zone.levels, media_get, media_set, rec};
}

/* ---- zone -------------------------------------------------------------------- */

static size_t chunks(const struct ph_zone *zone)
{
	return zone->granules / CHUNK_GRANULES + 1;
}

/* Of a slab struct with room for so many objects: their states, and a bit each. */
static size_t slab_bytes(uint32_t room)
{
	return sizeof(struct ph_slab) + room + room / 8;
}

int ph_zone_attach(struct pheap *heap, const struct pm_zone *pm)
{
	struct ph_zone *zone = &heap->zone;

	zone->pm = pm;
	zone->data = pm->data;
	zone->first = ph_at(heap, pm->data);
	zone->granules = pm->granules;
	zone->bytes = (uint64_t)pm->granules * PM_GRANULE;
	zone->limit = UINT64_MAX;
	zone->levels = pm->levels;
	zone->tree_bytes = ph_tree_bytes(pm->levels);
	zone->discover = 0;
	zone->unloaded_end = pm->granules;
	zone->credit = LINES_AT_ONCE;
	zone->overlay = ph_map_lazily(zone->tree_bytes);
	zone->map = ph_map_lazily(zone->granules * sizeof(*zone->map));
	zone->backed = ph_map_lazily(chunks(zone));
	zone->used = ph_map_lazily(zone->granules);
	if (!zone->overlay || !zone->map || !zone->backed || !zone->used)
		return ph_error(ENOMEM, "no address space for the state of %u granules",
				zone->granules);
	return ph_slab_attach(heap);
}

void ph_zone_detach(struct pheap *heap)
{
	struct ph_zone *zone = &heap->zone;

	for (struct ph_slab *slab = zone->newest, *older; slab; slab = older) {
		older = slab->older;
		ph_dram_free(slab, slab_bytes(slab->room));
	}
	if (zone->map)
		munmap(zone->map, zone->granules * sizeof(*zone->map));
	if (zone->overlay)
		munmap(zone->overlay, zone->tree_bytes);
	if (zone->backed)
		munmap(zone->backed, chunks(zone));
	if (zone->used)
		munmap(zone->used, zone->granules);
	ph_slab_detach(heap);
}

/* Adding up the free granules walks the free blocks: not for every microsecond. */
void ph_zone_stats(struct pheap *heap, struct pheap_stats *stats)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	uint8_t root;

	pthread_mutex_lock(&zone->lock);
	stats->metadata_lines = zone->lines_read; /* before the walk that follows */
	root = ph_tree_root(&tree);
	stats->granules = zone->granules;
	stats->granules_free = ph_tree_count_free(&tree);
	stats->granules_slab = zone->granules_slab;
	stats->granules_large = zone->granules_large;
	stats->largest_free = root ? (uint64_t)PM_GRANULE << (root - 1) : 0;
	pthread_mutex_unlock(&zone->lock);
}

static uint32_t granule_of(const struct ph_zone *zone, const struct ph_slab *slab)
{
	return (uint32_t)((slab->start - zone->data) / PM_GRANULE);
}

static struct pm_span *descriptor(struct pheap *heap, uint32_t granule)
{
	return (struct pm_span *)(void *)ph_at(heap, heap->zone.pm->desc) + granule;
}

static uint64_t descriptor_offset(const struct pheap *heap, uint32_t granule)
{
	return heap->zone.pm->desc + granule * sizeof(struct pm_span);
}

static uint32_t up_to(uint32_t n, uint32_t most)
{
	return n < most ? n : most;
}

int ph_zone_back(const struct ph_file *file, const struct pm_zone *pm, uint32_t granule)
{
	uint32_t group = granule / GROUP_GRANULES * GROUP_GRANULES;
	uint32_t n = up_to(pm->granules - group, GROUP_GRANULES);
	uint32_t chunk = granule / CHUNK_GRANULES * CHUNK_GRANULES;
	int err = 0;

	if (pm->desc) /* else a zone of DRAM, which has nothing but granules */
		err = ph_memory_back(file, pm->desc + group * sizeof(struct pm_span),
				     n * sizeof(struct pm_span));
	if (!err && pm->bits)
		err = ph_memory_back(file, pm->bits + (uint64_t)group * PM_BITMAP_BYTES,
				     (uint64_t)n * PM_BITMAP_BYTES);
	if (!err)
		err = ph_memory_back(file, pm->data + (uint64_t)chunk * PM_GRANULE,
				     (uint64_t)up_to(pm->granules - chunk, CHUNK_GRANULES) *
					     PM_GRANULE);
	return err;
}

static int back_granules(struct pheap *heap, uint32_t granule, uint32_t n)
{
	uint32_t last = (granule + n - 1) / CHUNK_GRANULES;

	if (heap->readonly)
		return 0;
	for (uint32_t c = granule / CHUNK_GRANULES; c <= last; c++) {
		int err;

		if (heap->zone.backed[c])
			continue;
		if ((err = ph_zone_back(&heap->file, heap->zone.pm, c * CHUNK_GRANULES)))
			return err;
		heap->zone.backed[c] = 1;
	}
	return 0;
}

int ph_zone_back_taken(struct pheap *heap)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	int err = 0;

	pthread_mutex_lock(&zone->lock);
	for (uint32_t g = 0; !err; g = (g / CHUNK_GRANULES + 1) * CHUNK_GRANULES) {
		g = ph_tree_next_taken(&tree, g);
		if (g >= zone->granules)
			break;
		err = back_granules(heap, g, 1);
	}
	pthread_mutex_unlock(&zone->lock);
	return err;
}

/*
 * Memory of the caller's has no blocks: what was in use becomes zero by ordinary stores,
 * which reach media at any time or not at all, as the punching of a file may.
 */
static void zero_chunk(struct pheap *heap, uint32_t first, uint32_t end)
{
	if (heap->zone.backed[first / CHUNK_GRANULES])
		ph_store_zero(&heap->pm,
			      ph_at(heap, heap->zone.data) + (uint64_t)first * PM_GRANULE,
			      (uint64_t)(end - first) * PM_GRANULE);
}

void ph_span_unback(struct pheap *heap, uint32_t granule, uint32_t n)
{
	uint32_t first = granule / CHUNK_GRANULES, last = (granule + n - 1) / CHUNK_GRANULES;

	memset(heap->zone.backed + first, 0, last - first + 1);
}

/* A run of free granules, under zone.lock: nobody takes one meanwhile. */
static int punch_run(struct pheap *heap, uint32_t first, uint32_t end)
{
	struct ph_zone *zone = &heap->zone;
	int err = 0;

	if (!heap->file.borrowed)
		err = ph_memory_punch(&heap->file, zone->data + (uint64_t)first * PM_GRANULE,
				      (uint64_t)(end - first) * PM_GRANULE);
	for (uint32_t g = first; g < end && !err;) {
		uint32_t next = up_to((g / CHUNK_GRANULES + 1) * CHUNK_GRANULES, end);

		if (heap->file.borrowed)
			zero_chunk(heap, g, next);
		g = next;
	}
	if (!err && !ph_logs(&heap->pm))
		ph_decay_forget(heap, first, end - first);
	/* Also after an error: who knows what is gone. */
	ph_span_unback(heap, first, end - first);
	return err;
}

int ph_zone_punch(struct pheap *heap)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	int err = 0;

	for (uint32_t g = 0, end; !err; g = end) {
		pthread_mutex_lock(&zone->lock);
		g = ph_tree_next_free(&tree, g);
		end = up_to(ph_tree_next_taken(&tree, g), zone->granules);
		end = up_to(end, g + PUNCH_GRANULES);
		if (g < end)
			err = punch_run(heap, g, end);
		pthread_mutex_unlock(&zone->lock);
		if (g >= end)
			break;
	}
	return err;
}

/* ---- slab structs -------------------------------------------------------------- */

/* A retired struct with room for so many times 64 objects, and not for more than twice that:
 * another size's will do. */
static struct ph_slab *spare_struct(struct ph_zone *zone, unsigned room)
{
	for (unsigned i = room; i <= room * 2 && i < PH_ROOMS; i++) {
		struct ph_slab *slab = zone->spare[i];

		if (!slab)
			continue;
		zone->spare[i] = slab->next;
		return slab;
	}
	return NULL;
}

/* A struct with room for the states of so many objects, from those retired. */
static struct ph_slab *slab_struct(struct ph_zone *zone, uint32_t objects)
{
	unsigned room = (objects + 63) / 64;
	struct ph_slab *slab = spare_struct(zone, room);

	if (slab || !(slab = ph_dram_alloc(slab_bytes(room * 64))))
		return slab;
	slab->room = room * 64;
	slab->avail = (uint64_t *)(void *)(slab->state + slab->room);
	slab->older = zone->newest;
	zone->newest = slab;
	return slab;
}

/* PH_SEEN() */
static void begin_life(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

/* shape: 0 for what is no slab. */
static struct ph_slab *slab_make(struct pheap *heap, unsigned kind, unsigned shape,
				 uint32_t granule, uint32_t granules, uint64_t size, bool counted)
{
	struct ph_zone *zone = &heap->zone;
	unsigned cls = ph_shape_class(heap, shape);
	uint32_t objects = kind != PM_KIND_SLAB ? 1
			   : counted		? ph_counted_objects(cls)
						: ph_classes[cls].objects;
	/* One more, for the rest behind the last object: it always is FREE. */
	struct ph_slab *slab = slab_struct(zone, objects + 1);

	if (!slab)
		return NULL;
	slab->first = zone->first + (uint64_t)granule * PM_GRANULE;
	begin_life(&slab->start, zone->data + (uint64_t)granule * PM_GRANULE);
	begin_life(&slab->bits, zone->pm->bits + (uint64_t)granule * PM_BITMAP_BYTES);
	begin_life(&slab->size, size);
	begin_life(&slab->reciprocal, kind == PM_KIND_SLAB ? ph_reciprocal(size) : 0);
	__atomic_store_n(&slab->objects, objects, __ATOMIC_RELAXED);
	__atomic_store_n(&slab->kind, (uint8_t)kind, __ATOMIC_RELAXED);
	slab->touched = 0;
	slab->granules = granules;
	slab->free = 0;
	slab->low = 0;
	slab->cls = (uint8_t)cls;
	slab->shape = (uint16_t)shape;
	__atomic_store_n(&slab->type, ph_shape_type(heap, shape), __ATOMIC_RELAXED);
	slab->born = 0;
	slab->owned = 0;
	slab->pending = 0;
	slab->zero = 0;
	__atomic_store_n(&slab->counted, counted, __ATOMIC_RELAXED);
	slab->bin = PH_BIN_NONE;
	slab->shelf = 0;
	slab->next = slab->prev = NULL;
	_Static_assert(PH_FREE == 0, "eight states at a time");
	for (uint32_t i = 0; i <= objects; i += 8) /* there is room for a multiple of 64 */
		begin_life((uint64_t *)(void *)&slab->state[i], 0);
	memset(slab->avail, 0, (objects + 63) / 64 * 8);
	return slab;
}

static void map_slab(struct ph_zone *zone, struct ph_slab *slab, struct ph_slab *value)
{
	struct ph_granule *granule = &zone->map[granule_of(zone, slab)];

	for (uint32_t i = 0; i < slab->granules; i++, granule++) {
		granule->reciprocal = value ? value->reciprocal : 0;
		granule->before = i * PM_GRANULE;
		granule->magazine = (uint32_t)offsetof(struct ph_tcache, mag[slab->shape]);
		__atomic_store_n(&granule->home, NULL, __ATOMIC_RELAXED);
		__atomic_store_n(&granule->slab, value, __ATOMIC_RELEASE);
	}
}

void ph_span_set_home(struct pheap *heap, const struct ph_slab *slab, const struct ph_tcache *home)
{
	struct ph_granule *granule = &heap->zone.map[granule_of(&heap->zone, slab)];

	for (uint32_t i = 0; i < slab->granules; i++)
		__atomic_store_n(&granule[i].home, home, __ATOMIC_RELAXED);
}

/* No loaded span there? On undamaged media that follows from the tree. */
static bool unmapped(const struct ph_zone *zone, uint32_t granule, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (zone->map[granule + i].slab)
			return false;
	return true;
}

static void count_granules(struct ph_zone *zone, const struct ph_slab *slab, int64_t sign)
{
	uint64_t n = (uint64_t)(sign * (int64_t)slab->granules);

	if (slab->kind == PM_KIND_SLAB)
		__atomic_store_n(&zone->granules_slab, zone->granules_slab + n, __ATOMIC_RELAXED);
	else if (slab->kind == PM_KIND_LARGE)
		zone->granules_large += n;
}

/* ---- reserve and release --------------------------------------------------------- */

static void make_available(struct ph_slab *slab)
{
	uint32_t words = slab->objects / 64, rest = slab->objects % 64;

	memset(slab->avail, 0xff, words * sizeof(*slab->avail));
	if (rest)
		slab->avail[words] = (UINT64_C(1) << rest) - 1;
	slab->free = slab->objects;
}

/* A span of so many granules, at a multiple of 2^order of them. */
static int reserve_locked(struct pheap *heap, unsigned kind, unsigned shape, uint32_t granules,
			  uint32_t order, uint64_t size, struct ph_slab **result)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	struct ph_slab *slab;
	uint32_t granule;
	int err;

	if (zone->granules_slab + zone->granules_large + granules > zone->limit)
		return ph_error(ENOSPC, "the heap's limit of %llu bytes does not allow %u more",
				(unsigned long long)zone->limit * PM_GRANULE,
				granules * PM_GRANULE);
	if (!ph_tree_find(&tree, order, &granule))
		return ph_error(ENOSPC, "the pool is full: no free run of %u granules of 64 KiB",
				granules);
	if (granule > zone->granules || granules > zone->granules - granule ||
	    !unmapped(zone, granule, granules)) {
		/* Out of use, so that the next call is not offered it again. */
		ph_tree_assign(&tree, granule, granules, false);
		return ph_error(EUCLEAN,
				"the free-space tree offers granule %u of %u, which is in use: "
				"run a check",
				granule, zone->granules);
	}
	if ((err = back_granules(heap, granule, granules)))
		return err;
	slab = slab_make(heap, kind, shape, granule, granules, size,
			 ph_type_counted(heap, ph_shape_type(heap, shape)));
	if (!slab)
		return ph_error(ENOMEM, "no memory for the state of a span");
	ph_tree_assign(&tree, granule, granules, false);
	map_slab(zone, slab, slab);
	count_granules(zone, slab, 1);
	if (!ph_logs(&heap->pm))
		slab->zero = ph_decay_take(heap, granule, granules);
	if (kind == PM_KIND_SLAB)
		make_available(slab);
	else
		ph_set_state(&slab->state[0], PH_RESERVED);
	*result = slab;
	return 0;
}

static int reserve(struct pheap *heap, unsigned kind, unsigned shape, uint64_t bytes,
		   uint32_t order, struct ph_slab **slab)
{
	const struct ph_class *class = &ph_classes[ph_shape_class(heap, shape)];
	uint64_t granules =
		kind == PM_KIND_SLAB ? class->granules : (bytes + PM_GRANULE - 1) / PM_GRANULE;
	uint64_t size = kind == PM_KIND_SLAB ? class->size : granules * PM_GRANULE;
	int err;

	if (granules > heap->zone.granules || bytes > PHEAP_MAX_SIZE)
		return ph_error(ENOSPC, "an object of %llu bytes does not fit in this pool",
				(unsigned long long)bytes);
	pthread_mutex_lock(&heap->zone.lock);
	if (order < ph_order_of((uint32_t)granules))
		order = ph_order_of((uint32_t)granules);
	err = reserve_locked(heap, kind, shape, (uint32_t)granules, order, size, slab);
	pthread_mutex_unlock(&heap->zone.lock);
	ph_decay_step(heap);
	return err;
}

int ph_span_reserve(struct pheap *heap, unsigned kind, unsigned shape, uint64_t bytes,
		    struct ph_slab **slab)
{
	return reserve(heap, kind, shape, bytes, 0, slab);
}

void ph_span_hold(struct pheap *heap, uint32_t granule, uint32_t n, bool hold)
{
	struct ph_tree tree = overlay_tree(heap);

	ph_tree_assign(&tree, granule, n, !hold);
}

int ph_span_reserve_aligned(struct pheap *heap, uint64_t bytes, uint64_t alignment,
			    struct ph_slab **slab)
{
	unsigned order = (unsigned)__builtin_ctzll(alignment) - PM_GRANULE_SHIFT;

	return reserve(heap, PM_KIND_LARGE, 0, bytes, order, slab);
}

bool ph_span_is_zero(struct pheap *heap, const void *ptr)
{
	struct ph_object object;

	return ph_object_find(heap, ph_off(heap, ptr), &object) &&
	       object.slab->kind == PM_KIND_LARGE && object.slab->zero;
}

void ph_span_release(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);

	pthread_mutex_lock(&zone->lock);
	map_slab(zone, slab, NULL);
	ph_tree_assign(&tree, granule_of(zone, slab), slab->granules, true);
	count_granules(zone, slab, -1);
	slab->next = zone->spare[slab->room / 64];
	zone->spare[slab->room / 64] = slab;
	if (!ph_logs(&heap->pm))
		ph_decay_give(heap, granule_of(zone, slab), slab->granules);
	pthread_mutex_unlock(&zone->lock);
	ph_decay_step(heap);
}

/* ---- birth and death ---------------------------------------------------------------- */

void ph_span_birth(struct ph_rec *rec, struct ph_slab *slab)
{
	struct ph_zone *zone = &rec->heap->zone;
	struct ph_tree tree = media_tree(rec);
	uint32_t granule = granule_of(zone, slab);
	uint64_t offset = descriptor_offset(rec->heap, granule);
	struct pm_span span = {.kind = slab->kind,
			       .size_class = slab->cls,
			       .flags = slab->counted ? PM_SPAN_COUNTED : 0,
			       .granules = slab->granules};
	uint64_t word;

	memcpy(&word, &span, sizeof(word));
	ph_rec_stage(rec);
	ph_rec_put(rec, offset, word);
	if (slab->type)
		ph_rec_put(rec, offset + offsetof(struct pm_span, type), slab->type);
	if (slab->counted)
		ph_rec_put(rec, offset + offsetof(struct pm_span, side),
			   ph_span_side(slab->start, slab->bits, slab->objects));
	ph_rec_put(rec, offset + offsetof(struct pm_span, size), slab->size);
	ph_tree_assign(&tree, granule, slab->granules, false); /* D1 */
}

void ph_span_death(struct ph_rec *rec, struct ph_slab *slab)
{
	struct ph_zone *zone = &rec->heap->zone;
	struct ph_tree overlay = overlay_tree(rec->heap), tree = media_tree(rec);
	uint32_t granule = granule_of(zone, slab);
	uint64_t offset = descriptor_offset(rec->heap, granule);

	ph_tree_taken(&overlay, granule); /* D2: load the overlay's path */
	ph_tree_taken(&overlay, granule + slab->granules - 1);
	if (rec->heap->traced)
		ph_traced_clear_bits(rec, slab); /* D4 */
	ph_rec_stage(rec);
	ph_rec_put(rec, offset, 0);
	if (slab->type)
		ph_rec_put(rec, offset + offsetof(struct pm_span, type), 0);
	if (slab->counted)
		ph_rec_put(rec, offset + offsetof(struct pm_span, side), 0);
	ph_rec_put(rec, offset + offsetof(struct pm_span, size), 0);
	ph_tree_assign(&tree, granule, slab->granules, true); /* D1 */
}

void ph_span_end(struct pheap *heap, struct ph_slab *slab)
{
	struct ph_rec rec;
	int err = 0;

	if (__atomic_load_n(&slab->born, __ATOMIC_ACQUIRE)) {
		ph_rec_init(&rec, heap, NULL);
		pthread_mutex_lock(&heap->zone.lock);
		ph_span_death(&rec, slab);
		err = ph_rec_lock(&rec);
		if (!err)
			err = ph_rec_commit(&rec);
		if (!err)
			slab->born = 0;
		pthread_mutex_unlock(&heap->zone.lock);
		ph_rec_fini(&rec);
	}
	/* On an error the heap is read-only, and the span stays an empty slab. */
	if (!err)
		ph_span_release(heap, slab);
}

/* ---- from media ------------------------------------------------------------------------ */

uint64_t ph_span_side(uint64_t start, uint64_t bits, uint32_t objects)
{
	return objects <= PM_COUNT_IN_BITS ? bits + PM_COUNT_BITS_OFFSET
					   : start + PM_GRANULE - PM_COUNT_TAIL(objects);
}

/* Counts are where its kind and class want them. */
static bool side_believable(const struct pm_zone *zone, const struct pm_span *span,
			    uint32_t granule)
{
	uint32_t objects = 1;

	if (!(span->flags & PM_SPAN_COUNTED))
		return !span->flags && !span->side;
	if (span->kind == PM_KIND_SLAB)
		objects = ph_span_objects(span);
	return span->type && !(span->flags & ~PM_SPAN_FLAGS) &&
	       span->side == ph_span_side(zone->data + (uint64_t)granule * PM_GRANULE,
					  zone->bits + (uint64_t)granule * PM_BITMAP_BYTES,
					  objects);
}

bool ph_span_believable(const struct pm_zone *zone, const struct pm_span *span, uint32_t granule)
{
	if (!span->granules || span->granules > zone->granules - granule || span->type >= PM_TYPES)
		return false;
	switch (span->kind) {
	case PM_KIND_SLAB:
		return span->size_class < PH_CLASSES &&
		       span->granules == ph_classes[span->size_class].granules &&
		       span->size == ph_classes[span->size_class].size &&
		       side_believable(zone, span, granule);
	case PM_KIND_LARGE:
		return !span->size_class && side_believable(zone, span, granule) &&
		       span->size == (uint64_t)span->granules * PM_GRANULE;
	case PM_KIND_LANE:
		return !span->size_class && !span->type && !span->flags && span->granules == 1;
	default:
		return false;
	}
}

static void load_states(struct pheap *heap, struct ph_slab *slab)
{
	const uint64_t *bits = (const uint64_t *)(const void *)ph_at(heap, slab->bits);

	count_lines(&heap->zone, (slab->objects + PM_LINE * 8 - 1) / (PM_LINE * 8));
	for (uint32_t i = 0; i < slab->objects; i++) {
		bool published = bits[i / 64] >> i % 64 & 1;

		slab->state[i] = published ? PH_PUBLISHED : PH_FREE;
		slab->avail[i / 64] |= (uint64_t)!published << i % 64;
		slab->free += !published;
	}
}

/* The inside of a large object in one call; nothing describes it granule by granule. */
static int back_span(struct pheap *heap, uint32_t granule, const struct pm_span *span)
{
	if (span->kind == PM_KIND_SLAB || heap->readonly)
		return back_granules(heap, granule, span->granules);
	return ph_memory_back(&heap->file, heap->zone.data + (uint64_t)granule * PM_GRANULE,
			      (uint64_t)span->granules * PM_GRANULE);
}

/* The span whose first granule this is. Under zone.lock. */
static struct ph_slab *load_span(struct pheap *heap, uint32_t granule)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	const struct pm_span *span = descriptor(heap, granule);
	struct ph_slab *slab;

	count_lines(zone, 1); /* the descriptor */
	/* D3, for a sparse copy of the file: its holes get blocks before they are touched.
	 * H1, on damaged media: a descriptor over free granules is not believed. */
	if (back_granules(heap, granule, 1) || !ph_span_believable(zone->pm, span, granule) ||
	    !unmapped(zone, granule, span->granules) ||
	    !ph_tree_all_taken(&tree, granule, span->granules) || back_span(heap, granule, span))
		return NULL;
	slab = slab_make(heap, span->kind,
			 span->kind == PM_KIND_SLAB ? ph_shape(heap, span->type, span->size_class)
						    : 0,
			 granule, span->granules, span->size, span->flags & PM_SPAN_COUNTED);
	if (!slab)
		return NULL;
	slab->type = span->type;
	slab->born = 1;
	if (slab->kind != PM_KIND_LANE)
		load_states(heap, slab);
	count_granules(zone, slab, 1);
	map_slab(zone, slab, slab);
	if (slab->free && slab->kind == PM_KIND_SLAB)
		ph_slab_offer(heap, slab);
	else if (slab->free)
		ph_large_offer(heap, slab);
	return slab;
}

/*
 * The span that covers a granule: spans start at a multiple of the power of two
 * that holds them, so there is one candidate an order. Only taken granules are
 * looked at: D3 does not hold for the descriptors of others.
 */
static struct ph_slab *load_covering(struct pheap *heap, uint32_t granule)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	struct ph_slab *slab = zone->map[granule].slab;

	if (slab || !ph_tree_taken(&tree, granule))
		return slab;
	for (uint32_t order = 0; order <= zone->levels; order++) {
		uint32_t head = order < 32 ? granule & ~((1u << order) - 1) : 0;
		const struct pm_span *span = descriptor(heap, head);

		if (zone->map[head].slab) /* another span, loaded: it does not cover us */
			continue;
		if (!ph_tree_taken(&tree, head) || back_granules(heap, head, 1))
			continue;
		count_lines(zone, 1);
		if (span->kind != PM_KIND_NONE)
			return span->granules > granule - head ? load_span(heap, head) : NULL;
	}
	return NULL;
}

struct ph_slab *ph_span_load(struct pheap *heap, uint32_t granule)
{
	struct ph_slab *slab;

	pthread_mutex_lock(&heap->zone.lock);
	slab = load_covering(heap, granule);
	pthread_mutex_unlock(&heap->zone.lock);
	return slab;
}

void ph_span_keep(struct pheap *heap, uint64_t block)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	uint32_t granule = (uint32_t)((block - zone->data) / PM_GRANULE);
	struct ph_slab *slab;

	pthread_mutex_lock(&zone->lock);
	ph_tree_assign(&tree, granule, 1, false);
	/* On the map, so that no other span is loaded over it. Without memory for that
	 * the granule is out of use all the same. */
	slab = slab_make(heap, PM_KIND_LANE, 0, granule, 1, PM_GRANULE, false);
	if (slab) {
		slab->born = 1;
		map_slab(zone, slab, slab);
	}
	pthread_mutex_unlock(&zone->lock);
}

/* Look at so many spans, and at no further one once so many lines have been read. Under
 * zone.lock. */
static void discover(struct pheap *heap, unsigned spans, uint64_t lines)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	uint64_t end = zone->lines_read + lines;
	uint32_t g = zone->discover;

	while (g < zone->granules && spans-- && zone->lines_read < end) {
		struct ph_slab *slab;

		g = ph_tree_next_taken(&tree, g);
		if (g >= zone->granules)
			break;
		slab = zone->map[g].slab ? zone->map[g].slab : load_span(heap, g);
		g += slab ? slab->granules : 1;
	}
	__atomic_store_n(&zone->discover, g, __ATOMIC_RELAXED);
}

static bool discovered_all(const struct ph_zone *zone)
{
	return __atomic_load_n(&zone->discover, __ATOMIC_RELAXED) >= zone->unloaded_end;
}

static bool read_descriptor(struct pheap *heap, uint32_t granule, struct pm_span *span)
{
	if (back_granules(heap, granule, 1)) /* D3 */
		return false;
	*span = *descriptor(heap, granule);
	return ph_span_believable(heap->zone.pm, span, granule);
}

bool ph_span_next(struct pheap *heap, uint32_t *granule, struct pm_span *span,
		  struct ph_slab **slab)
{
	struct ph_zone *zone = &heap->zone;
	struct ph_tree tree = overlay_tree(heap);
	uint32_t g = *granule, n;

	for (; (g = ph_tree_next_taken(&tree, g)) < zone->granules; g += n) {
		*slab = zone->map[g].slab;
		n = *slab ? (*slab)->granules - (g - granule_of(zone, *slab)) : 1;
		if (*slab && (granule_of(zone, *slab) != g || !(*slab)->born))
			continue;
		if (!read_descriptor(heap, g, span))
			continue;
		n = span->granules;
		if (span->kind == PM_KIND_LANE)
			continue;
		*granule = g;
		return true;
	}
	return false;
}

bool ph_span_discover(struct pheap *heap, unsigned spans)
{
	struct ph_zone *zone = &heap->zone;

	if (discovered_all(zone))
		return false;
	pthread_mutex_lock(&zone->lock);
	discover(heap, spans, UINT64_MAX / 2);
	pthread_mutex_unlock(&zone->lock);
	return true;
}

bool ph_span_discover_ahead(struct pheap *heap, uint32_t objects)
{
	struct ph_zone *zone = &heap->zone;
	uint64_t before;
	bool may;

	if (discovered_all(zone))
		return false;
	pthread_mutex_lock(&zone->lock);
	zone->credit += (int64_t)objects * LINES_PER_OBJECT;
	if (zone->credit > LINES_AT_ONCE)
		zone->credit = LINES_AT_ONCE;
	may = zone->credit > 0;
	if (may) {
		before = zone->lines_read;
		discover(heap, SPANS_AT_ONCE, (uint64_t)zone->credit);
		zone->credit -= (int64_t)(zone->lines_read - before);
	}
	pthread_mutex_unlock(&zone->lock);
	return may;
}
