/*
 * check-zone.c - verify what is in a zone: the free-space tree, and the spans and
 * bitmaps in the order of their granules. See check.c.
 *
 * MEDIA
 *   Memory that was never handed out may be a hole in the file, and reading it
 *   could make the file system allocate. So the tree is walked top down, nothing
 *   below a uniform node is read, and what ought to be zero is read only where
 *   the free block, or the span that has no bitmap, has few granules.
 *
 * INVARIANTS (docs/format.md has them in full)
 *   B1 value in range		B2 value follows from the children
 *   B3 padding is taken	B4 reserved bytes zero
 *   B5 taken: in a span	B6 free: in no span
 *   D1 kind known		D2 unused fields zero	D3 class known
 *   D4 number of granules	D5 inside the zone	D6 alignment
 *   D7 size of an object	D8 the other descriptors are zero
 *   D9 type in use
 *   L1 bits beyond the last object zero		L2 other bitmaps zero
 */
#include <unistd.h>

#include "alloc/class.h"
#include "check-media.h"

/*
 * What "few granules" is: half of an aligned group of 64, whose descriptors are one
 * page. A free block of that size has a neighbour in its group that is not free, so
 * what is read of free blocks stays in proportion to what is in use. Only at the end
 * of a zone the neighbour may be padding: that is one group, and a pool of 8 MiB is
 * verified in full.
 */
#define IDLE_GRANULES 32u

/* No slab has more granules than 2^this. */
#define SLAB_ORDER_MAX 4u

/* The walk through one zone. */
/* A page of the file, and whether there is a block for it. */
struct page {
	off_t start; /* 0: none */
	bool backed;
};

struct walk {
	struct ph_check *c;
	const struct pm_zone *zone;
	uint32_t span_end;	/* the granules before it are accounted for */
	bool read_bits;		/* so are the bitmap areas of the span at hand to be */
	struct page desc, bits; /* asked about last */
};

/* ---- where things are -------------------------------------------------------- */

uint32_t ph_check_order(uint32_t n)
{
	return n <= 1 ? 0 : 32u - (uint32_t)__builtin_clz(n - 1);
}

static uint64_t granule_at(const struct pm_zone *z, uint32_t granule)
{
	return z->data + (uint64_t)granule * PM_GRANULE;
}

static uint64_t desc_at(const struct pm_zone *z, uint32_t granule)
{
	return z->desc + (uint64_t)granule * sizeof(struct pm_span);
}

static uint64_t bits_at(const struct pm_zone *z, uint32_t granule)
{
	return z->bits + (uint64_t)granule * PM_BITMAP_BYTES;
}

static void read_span(const struct ph_check *c, const struct pm_zone *z, uint32_t granule,
		      struct pm_span *span)
{
	memcpy(span, c->base + desc_at(z, granule), sizeof(*span));
}

/*
 * The lines of a tree are stored row by row. The parent in the first row is at
 * depth 0, those in the second at the depth that the first row ends with, and so
 * on every five depths; a row with parents at depth p has 2^p lines.
 */
static uint32_t first_row_depths(uint32_t levels)
{
	return (levels - 1) % PM_TREE_DEPTHS + 1;
}

uint64_t ph_check_tree_bytes(uint32_t levels)
{
	uint64_t lines = 1;

	for (uint32_t depth = first_row_depths(levels); depth < levels; depth += PM_TREE_DEPTHS)
		lines += UINT64_C(1) << depth;
	return lines * PM_LINE;
}

static uint64_t node_at(const struct pm_zone *z, uint32_t depth, uint32_t index)
{
	uint32_t parent = 0, next = first_row_depths(z->levels), below;
	uint64_t line = 0;

	while (depth > next) {
		line += UINT64_C(1) << parent;
		parent = next;
		next += PM_TREE_DEPTHS;
	}
	below = depth - parent;
	line += index >> below;
	return z->tree + line * PM_LINE + (1u << below | (index & ((1u << below) - 1)));
}

static uint8_t node_value(const struct ph_check *c, const struct pm_zone *z, uint32_t depth,
			  uint32_t index)
{
	return (uint8_t)c->base[node_at(z, depth, index)];
}

/* Does the tree have the granule as taken? Descends where walk_node() does. */
static bool is_taken(const struct ph_check *c, const struct pm_zone *z, uint32_t granule)
{
	for (uint32_t depth = 0; depth <= z->levels; depth++) {
		uint32_t order = z->levels - depth;
		uint8_t value = node_value(c, z, depth, granule >> order);

		if (value == 0)
			return true;
		if (value == order + 1)
			return false;
	}
	return true;
}

/* ---- spans and bitmaps ---------------------------------------------------------- */

static void check_idle_desc(struct walk *w, uint32_t granule)
{
	uint64_t at = desc_at(w->zone, granule);

	if (!ph_check_zero_at(w->c, at, sizeof(struct pm_span)))
		ph_check_report(w->c, "D8", at, "granule %u begins no span, but has a descriptor",
				granule);
}

static void check_idle_bits(struct walk *w, uint32_t granule)
{
	uint64_t at = bits_at(w->zone, granule);

	if (!ph_check_zero_at(w->c, at, PM_BITMAP_BYTES))
		ph_check_report(w->c, "L2", at, "granule %u begins no slab, but has bits set",
				granule);
}

/* D4, D6, D7: against what the kind of the span asks for. */
static void check_extent(struct walk *w, uint32_t granule, const struct pm_span *span,
			 uint64_t granules, uint64_t size)
{
	uint64_t at = desc_at(w->zone, granule);

	if (span->granules != granules)
		ph_check_report(w->c, "D4", at,
				"span at granule %u has %u granules, expected %" PRIu64, granule,
				span->granules, granules);
	if (granule & ((1u << ph_check_order(span->granules)) - 1))
		ph_check_report(w->c, "D6", at, "span of %u granules at granule %u is not aligned",
				span->granules, granule);
	if (span->size != size)
		ph_check_report(w->c, "D7", at,
				"span at granule %u has objects of %" PRIu64
				" bytes, expected %" PRIu64,
				granule, span->size, size);
}

/* Where the counts of a span's objects are. */
static uint64_t side_at(const struct pm_zone *z, uint32_t granule, unsigned objects)
{
	if (objects <= PM_COUNT_IN_BITS)
		return bits_at(z, granule) + PM_COUNT_BITS_OFFSET;
	return granule_at(z, granule + 1) - PM_COUNT_TAIL(objects);
}

static unsigned objects_of(const struct pm_span *span)
{
	if (span->kind == PM_KIND_LARGE)
		return 1;
	return span->flags & PM_SPAN_COUNTED ? ph_counted_objects(span->size_class)
					     : ph_classes[span->size_class].objects;
}

/* K1, of those of so many objects that are published; the words are taken out of the copy
 * of the bitmap area, if they are there. */
static void check_counts(struct walk *w, uint32_t granule, unsigned of, uint64_t *word)
{
	uint64_t at = side_at(w->zone, granule, of), count;

	for (unsigned i = 0; i < of; i++, at += 8) {
		memcpy(&count, w->c->base + at, sizeof(count));
		if (word[i / 64] >> i % 64 & 1)
			ph_check_count(w->c, at, count);
		else if (of <= PM_COUNT_IN_BITS && count)
			ph_check_report(w->c, "K1", at, "count of an object that is not published");
	}
	if (of <= PM_COUNT_IN_BITS)
		memset(word + PM_COUNT_BITS_OFFSET / 8, 0, of * 8);
}

/* How many of so many objects of a span are published? */
static uint64_t check_bits(struct walk *w, uint32_t granule, const struct pm_span *span,
			   uint64_t size)
{
	unsigned of = objects_of(span);
	uint64_t word[PM_BITMAP_BYTES / 8];
	uint64_t objects = 0, beyond = 0;

	memcpy(word, w->c->base + bits_at(w->zone, granule), sizeof(word));
	if (span->flags & PM_SPAN_COUNTED)
		check_counts(w, granule, of, word);
	for (unsigned i = 0; i < PM_BITMAP_BYTES / 8; i++) {
		unsigned first = 64 * i, left = of > first ? of - first : 0;
		uint64_t valid = left < 64 ? (UINT64_C(1) << left) - 1 : ~UINT64_C(0);

		objects += (unsigned)__builtin_popcountll(word[i] & valid);
		beyond += (unsigned)__builtin_popcountll(word[i] & ~valid);
	}
	if (beyond)
		ph_check_report(w->c, "L1", bits_at(w->zone, granule),
				"span at granule %u has %" PRIu64
				" bits set beyond its last object",
				granule, beyond);
	if (w->c->no_bits)
		return 0;
	w->c->result->objects += objects;
	w->c->result->object_bytes += objects * size;
	return objects;
}

static void check_slab(struct walk *w, uint32_t granule, const struct pm_span *span)
{
	w->c->result->slabs++;
	if (span->size_class < PH_CLASSES) {
		const struct ph_class *class = &ph_classes[span->size_class];

		check_extent(w, granule, span, class->granules, class->size);
		check_bits(w, granule, span, class->size);
	} else {
		ph_check_report(w->c, "D3", desc_at(w->zone, granule),
				"slab of unknown class %u at granule %u", span->size_class,
				granule);
	}
}

static void check_large(struct walk *w, uint32_t granule, const struct pm_span *span)
{
	uint64_t granules = span->size / PM_GRANULE + (span->size % PM_GRANULE != 0);

	if (span->size)
		check_extent(w, granule, span, granules, granules * PM_GRANULE);
	else
		ph_check_report(w->c, "D7", desc_at(w->zone, granule),
				"large object of no size at granule %u", granule);
	w->c->result->large_objects += check_bits(w, granule, span, span->size);
}

/* Are counts where they must be? */
static bool counts_fit(const struct walk *w, uint32_t granule, const struct pm_span *span)
{
	if (span->kind == PM_KIND_LANE || !ph_check_type_counted(w->c, span->type) ||
	    (span->kind == PM_KIND_SLAB && span->size_class >= PH_CLASSES))
		return false;
	return span->side == side_at(w->zone, granule, objects_of(span));
}

/* D2, and D5: *span is cut to one granule where it does not hold. */
static void check_fields(struct walk *w, uint32_t granule, struct pm_span *span)
{
	uint64_t at = desc_at(w->zone, granule);

	if ((span->kind != PM_KIND_SLAB && span->size_class) || span->flags & ~PM_SPAN_FLAGS ||
	    (span->kind == PM_KIND_LANE && span->type) || span->reserved0 ||
	    (span->side && !(span->flags & PM_SPAN_COUNTED)) ||
	    !ph_check_zero(span->reserved, sizeof(span->reserved)))
		ph_check_report(w->c, "D2", at, "span at granule %u: unused fields are not zero",
				granule);
	if (span->flags & PM_SPAN_COUNTED && !counts_fit(w, granule, span)) {
		ph_check_report(w->c, "D2", at,
				"span at granule %u: counts of what is not counted, or elsewhere",
				granule);
		span->flags = 0;
	}
	if (span->type && span->type >= w->c->types)
		ph_check_report(w->c, "D9", at, "span at granule %u: there is no type %u", granule,
				span->type);
	if (span->granules == 0 || span->granules > w->zone->granules - granule) {
		ph_check_report(w->c, "D5", at,
				"span of %u granules at granule %u does not end in its zone",
				span->granules, granule);
		span->granules = 1;
	}
}

/* A span must begin at this granule. Finds out where it ends. */
static void check_span(struct walk *w, uint32_t granule)
{
	uint64_t at = desc_at(w->zone, granule);
	struct pm_span span;

	read_span(w->c, w->zone, granule, &span);
	w->span_end = granule + 1;
	w->read_bits = false;
	if (ph_check_zero(&span, sizeof(span))) {
		ph_check_report(w->c, "B5", at, "granule %u is taken, but lies in no span",
				granule);
		return;
	}
	if (span.kind < PM_KIND_SLAB || span.kind > PM_KIND_LANE) {
		ph_check_report(w->c, "D1", at, "span of unknown kind %u at granule %u", span.kind,
				granule);
		return;
	}
	check_fields(w, granule, &span);
	w->span_end = granule + span.granules;
	w->read_bits = span.kind == PM_KIND_SLAB || span.granules <= IDLE_GRANULES;
	if (span.kind == PM_KIND_SLAB) {
		check_slab(w, granule, &span);
		return;
	}
	if (span.kind == PM_KIND_LARGE) {
		check_large(w, granule, &span);
	} else {
		check_extent(w, granule, &span, 1, PM_GRANULE);
		ph_check_lane(w->c, granule_at(w->zone, granule));
	}
	if (w->read_bits && span.kind == PM_KIND_LANE)
		check_idle_bits(w, granule);
}

/* ---- free-space tree -------------------------------------------------------------- */

static void visit_taken(struct walk *w, uint32_t first, uint32_t end)
{
	w->c->result->used_granules += end - first;
	for (uint32_t granule = first; granule < end; granule++) {
		if (granule >= w->span_end) {
			check_span(w, granule);
			continue;
		}
		check_idle_desc(w, granule);
		if (w->read_bits)
			check_idle_bits(w, granule);
	}
}

/* Has the page at this offset a block in the file? Asked once a page. */
static bool page_backed(struct walk *w, struct page *page, uint64_t offset)
{
	off_t start = (off_t)(offset / PM_PAGE * PM_PAGE);

	if (page->start != start) {
		page->start = start;
		page->backed = lseek(w->c->fd, start, SEEK_DATA) == start;
	}
	return page->backed;
}

static void visit_idle(struct walk *w, uint32_t granule)
{
	struct pm_span span;

	read_span(w->c, w->zone, granule, &span);
	if (span.kind >= PM_KIND_SLAB && span.kind <= PM_KIND_LANE)
		ph_check_report(w->c, "B6", desc_at(w->zone, granule),
				"granule %u is free, but begins a span", granule);
	else
		check_idle_desc(w, granule);
}

static void visit_free(struct walk *w, uint32_t first, uint32_t end)
{
	bool all = end - first <= IDLE_GRANULES;

	w->c->result->free_granules += end - first;
	if (w->span_end > first)
		ph_check_report(w->c, "B6", granule_at(w->zone, first),
				"granule %u is free, but lies in a span", first);
	if (all || w->c->fd >= 0)
		for (uint32_t granule = first; granule < end; granule++) {
			if (all || page_backed(w, &w->desc, desc_at(w->zone, granule)))
				visit_idle(w, granule);
			if (all || page_backed(w, &w->bits, bits_at(w->zone, granule)))
				check_idle_bits(w, granule);
		}
}

/* B4: does a line begin below this node, and are its reserved bytes zero? */
static void check_line(struct walk *w, uint32_t depth, uint32_t index)
{
	uint32_t first = first_row_depths(w->zone->levels);
	uint32_t used = 2u << (depth ? PM_TREE_DEPTHS : first); /* bytes 0 to used - 1 */
	uint64_t line;

	if (depth && (depth < first || (depth - first) % PM_TREE_DEPTHS))
		return;
	line = node_at(w->zone, depth + 1, 2 * index) - 2;
	/* Byte 1 of the first line is the root. */
	if (w->c->base[line] || (depth && w->c->base[line + 1]) ||
	    !ph_check_zero_at(w->c, line + used, PM_LINE - used))
		ph_check_report(w->c, "B4", line,
				"tree line below depth %u: reserved bytes are not zero", depth);
}

/* B1 to B3 of a node, as far as they need no other one. */
static void check_node(struct walk *w, uint32_t depth, uint32_t index, uint8_t value)
{
	uint32_t order = w->zone->levels - depth;
	uint64_t first = (uint64_t)index << order, end = first + (UINT64_C(1) << order);
	uint64_t at = node_at(w->zone, depth, index);

	if (value > order + 1)
		ph_check_report(w->c, "B1", at, "node of order %u has value %u", order, value);
	else if (value == order + 1 && end > w->zone->granules)
		ph_check_report(w->c, "B3", at,
				"a block of order %u is free that goes on beyond the zone", order);
}

/*
 * A node and what is below it, in the order of the granules. A value that is out
 * of range says nothing about the children: they are visited all the same.
 */
static void walk_node(struct walk *w, uint32_t depth, uint32_t index, uint8_t value)
{
	const struct pm_zone *z = w->zone;
	uint32_t order = z->levels - depth, first = index << order;
	uint32_t left_granules = first < z->granules ? z->granules - first : 0;
	uint32_t end = first + (left_granules >> order ? 1u << order : left_granules);
	uint8_t left, right, expected;

	check_node(w, depth, index, value);
	if (value == order + 1) {
		visit_free(w, first, end);
		return;
	}
	if (value == 0 || order == 0) {
		visit_taken(w, first, end);
		return;
	}
	check_line(w, depth, index);
	left = node_value(w->c, z, depth + 1, 2 * index);
	right = node_value(w->c, z, depth + 1, 2 * index + 1);
	expected = left > right ? left : right;
	/* B2: two free buddies are one free block. */
	if (left == order && right == order)
		expected++;
	if (value != expected && value <= order)
		ph_check_report(w->c, "B2", node_at(z, depth, index),
				"node of order %u has value %u, but %u and %u below it", order,
				value, left, right);
	walk_node(w, depth + 1, 2 * index, left);
	walk_node(w, depth + 1, 2 * index + 1, right);
}

void ph_check_zone(struct ph_check *c, const struct pm_zone *z)
{
	struct walk walk = {.c = c, .zone = z};

	walk_node(&walk, 0, 0, node_value(c, z, 0, 0));
}

/* ---- references ------------------------------------------------------------------------ */

/* Where the bit of an object is that starts at ref; false: none can. */
struct found {
	struct pm_span span;
	uint32_t granule; /* of the span */
	uint64_t object;  /* number in it */
};

static bool find_in(const struct ph_check *c, const struct pm_zone *z, uint64_t ref,
		    struct found *f)
{
	uint32_t granule = (uint32_t)((ref - z->data) / PM_GRANULE);
	uint64_t in_span, size;

	f->granule = granule;
	f->span.kind = PM_KIND_NONE;
	if (!is_taken(c, z, granule))
		return false;
	/* D6, D8: its span begins at the nearest aligned granule with a descriptor. */
	for (unsigned order = 0; order <= SLAB_ORDER_MAX && f->span.kind == PM_KIND_NONE; order++) {
		f->granule = granule >> order << order;
		read_span(c, z, f->granule, &f->span);
	}
	in_span = ref - granule_at(z, f->granule);
	f->object = 0;
	if (f->span.kind == PM_KIND_LARGE)
		return in_span == 0;
	if (f->span.kind != PM_KIND_SLAB || f->span.size_class >= PH_CLASSES)
		return false;
	size = ph_classes[f->span.size_class].size;
	f->object = in_span / size;
	return in_span % size == 0 && f->object < objects_of(&f->span);
}

static const struct pm_zone *zone_of(const struct ph_check *c, uint64_t ref)
{
	for (uint32_t i = 0; i < c->zones; i++) {
		const struct pm_zone *z = &c->zone[i];

		if (ref >= z->data && (ref - z->data) / PM_GRANULE < z->granules)
			return z;
	}
	return NULL;
}

static bool find_published(const struct ph_check *c, uint64_t ref, struct found *f,
			   const struct pm_zone **zone)
{
	*zone = zone_of(c, ref);
	return *zone && find_in(c, *zone, ref, f) &&
	       (c->no_bits ||
		c->base[bits_at(*zone, f->granule) + f->object / 8] >> f->object % 8 & 1);
}

bool ph_check_is_published(const struct ph_check *c, uint64_t ref)
{
	const struct pm_zone *z;
	struct found f;

	return find_published(c, ref, &f, &z);
}

bool ph_check_count_of(const struct ph_check *c, uint64_t ref, uint64_t *word)
{
	const struct pm_zone *z;
	struct found f;

	if (!find_published(c, ref, &f, &z) || !(f.span.flags & PM_SPAN_COUNTED) ||
	    f.granule + f.span.granules > z->granules)
		return false;
	memcpy(word, c->base + side_at(z, f.granule, objects_of(&f.span)) + f.object * 8,
	       sizeof(*word));
	return true;
}
