/*
 * check.c - verify a settled image against the numbered invariants of the format.
 *
 * A second implementation of docs/format.md, on purpose: it shares layout.h,
 * sum.h and the table of size classes with the rest of the library and nothing
 * else, so that a mistake made there is not made here again.
 *
 * MEDIA
 *   All of it is input. A structure is copied to DRAM before it is judged, an
 *   offset or a count is used only after it was found to lie in its range, and a
 *   zone whose entry in the zone table is broken is not entered at all. Rings and
 *   undo areas are not read: in a settled image nothing in them is live.
 *
 * INVARIANTS (docs/format.md has them in full)
 *   S1 magic number		S2 checksum		S3 format and length
 *   S4 the copies agree	S5 features known	S6 size
 *   S7 number of zones		S8 layout name		S9 reserved bytes zero
 *   T1 status known		T2 reserved bytes zero	T3 settled sealed
 *   T4 epoch sealed
 *   Z1 checksum		Z2 unused bytes zero	Z3 granules and levels
 *   Z4 alignment		Z5 inside the pool	Z6 no overlap
 *   N1 entries are lanes	N2 distinct		N3 without holes
 *   N4 every lane has one
 *   U1 undo head: reserved zero			U2 rest of its page zero
 *   U3 ended sealed				U4 epoch sealed
 *   R1 root 0 has no name	R2 name well formed	R3 names distinct
 *   R4 unused bytes zero	R5 null or a published object
 *   B1 to B6, D1 to D9, L1, L2: check-zone.c	Y1 to Y6: check-types.c
 *   K1 to K3: check-count.c
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check-media.h"
#include "sum.h"

/* Problems of one invariant that are reported in words; further ones are counted. */
#define REPORTS_MAX 16u

/* ---- reporting ------------------------------------------------------------ */

static void emit(struct ph_check *c, const char *id, uint64_t offset, const char *message)
{
	struct pheap_problem problem = {.invariant = id, .offset = offset, .message = message};

	if (c->fn)
		c->fn(c->arg, &problem);
}

void ph_check_report(struct ph_check *c, const char *id, uint64_t offset, const char *format, ...)
{
	struct ph_check_tally *tally = &c->tally[id[0] - 'A'][id[1] - '0'];
	char message[160];
	va_list ap;

	c->result->problems++;
	tally->id = id;
	tally->offset = offset;
	if (tally->count++ >= REPORTS_MAX)
		return;
	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	emit(c, id, offset, message);
}

/* Say how many problems have not been described. */
static void report_rest(struct ph_check *c)
{
	const struct ph_check_tally *tally = &c->tally[0][0];
	const struct ph_check_tally *end = tally + sizeof(c->tally) / sizeof(*tally);
	char message[64];

	for (; tally < end; tally++) {
		if (tally->count <= REPORTS_MAX)
			continue;
		snprintf(message, sizeof(message),
			 "and %" PRIu64 " more of these, the last one here",
			 tally->count - REPORTS_MAX);
		emit(c, tally->id, tally->offset, message);
	}
}

/* ---- helpers ---------------------------------------------------------------- */

/* The sum of the words of a structure on media, of a line or a superblock. */
static uint64_t sum_at(const struct ph_check *c, uint64_t place, uint64_t offset, size_t words)
{
	uint64_t word[sizeof(struct pm_super) / 8];

	memcpy(word, c->base + offset, words * 8);
	return ph_sum(PM_SUM_KEY, place, word, words);
}

/* Terminated, and zero from there on? */
static bool is_text(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	return length < size && ph_check_zero(text + length, size - length);
}

/* ---- superblock and state line ---------------------------------------------- */

/* S1 to S3: is this copy one whose fields mean anything? */
static bool is_super(struct ph_check *c, uint64_t at, const struct pm_super *s)
{
	size_t head = offsetof(struct pm_super, format);

	if (s->magic != PM_MAGIC)
		ph_check_report(c, "S1", at, "superblock: magic number 0x%016" PRIx64 "%s",
				s->magic,
				s->magic == PM_MAGIC_CREATING ? ": create did not finish" : "");
	else if (s->sum != sum_at(c, at, at + head, (sizeof(*s) - head) / 8))
		ph_check_report(c, "S2", at, "superblock: the checksum does not hold");
	else if (s->format != PM_FORMAT || s->bytes != sizeof(*s))
		ph_check_report(c, "S3", at, "superblock of format %u with %u bytes", s->format,
				s->bytes);
	else
		return true;
	return false;
}

/* S5 to S9 of the copy that counts. */
static void check_super(struct ph_check *c, uint64_t at, const struct pm_super *s)
{
	uint64_t incompat = s->incompat & ~PM_INCOMPAT_KNOWN;
	uint64_t ro_compat = s->ro_compat & ~PM_RO_COMPAT_KNOWN;

	if (incompat || ro_compat)
		ph_check_report(c, "S5", at,
				"unknown features: incompat 0x%" PRIx64 ", ro_compat 0x%" PRIx64,
				incompat, ro_compat);
	if (s->size != c->size || s->size % PM_GRANULE)
		ph_check_report(c, "S6", at,
				"the superblock says %" PRIu64 " bytes, the pool has %" PRIu64,
				s->size, c->size);
	if (s->zones == 0 || s->zones > PM_ZONES_MAX)
		ph_check_report(c, "S7", at, "%u zones, expected 1 to %u", s->zones, PM_ZONES_MAX);
	if (!is_text(s->layout, sizeof(s->layout)))
		ph_check_report(c, "S8", at,
				"the layout name is not terminated, or bytes follow it");
	if (s->reserved0 || !ph_check_zero(s->reserved, sizeof(s->reserved)))
		ph_check_report(c, "S9", at, "superblock: reserved bytes are not zero");
}

/* S4: copies of one sequence are the same, others are one update apart. */
static void compare_supers(struct ph_check *c, const struct pm_super *a, const struct pm_super *b)
{
	size_t head = offsetof(struct pm_super, format);

	if (a->sequence == b->sequence) {
		if (memcmp((const char *)a + head, (const char *)b + head, sizeof(*a) - head) != 0)
			ph_check_report(c, "S4", PM_SUPER_B,
					"the superblocks differ at the same sequence %" PRIu64,
					a->sequence);
	} else if (a->sequence + 1 != b->sequence && b->sequence + 1 != a->sequence) {
		ph_check_report(c, "S4", PM_SUPER_B,
				"the superblocks have sequences %" PRIu64 " and %" PRIu64,
				a->sequence, b->sequence);
	}
}

/* *zones: entries of the zone table in use. False where nothing more can be read. */
static bool check_supers(struct ph_check *c, uint32_t *zones)
{
	const struct pm_super *counts;
	struct pm_super a, b;
	bool has_a, has_b;

	memcpy(&a, c->base + PM_SUPER_A, sizeof(a));
	memcpy(&b, c->base + PM_SUPER_B, sizeof(b));
	has_a = is_super(c, PM_SUPER_A, &a);
	has_b = is_super(c, PM_SUPER_B, &b);
	if (has_a && has_b)
		compare_supers(c, &a, &b);
	else if (!has_a && !has_b)
		return false;
	counts = has_a && (!has_b || a.sequence >= b.sequence) ? &a : &b;
	check_super(c, counts == &a ? PM_SUPER_A : PM_SUPER_B, counts);
	*zones = counts->zones <= PM_ZONES_MAX ? counts->zones : 0;
	c->no_bits = counts->incompat & PM_INCOMPAT_TRACED;
	return !(counts->incompat & ~PM_INCOMPAT_KNOWN);
}

/* S9 between start and end, which no structure uses yet. */
static void check_unused(struct ph_check *c, uint64_t start, uint64_t end)
{
	if (!ph_check_zero_at(c, start, end - start))
		ph_check_report(c, "S9", start, "unused bytes up to 0x%" PRIx64 " are not zero",
				end);
}

static void check_state(struct ph_check *c)
{
	const uint64_t settled_at = PM_STATE + offsetof(struct pm_state, settled);
	struct pm_state state;
	uint64_t number;

	memcpy(&state, c->base + PM_STATE, sizeof(state));
	c->no_bits &= state.status != PM_STATUS_CLEAN;
	if (state.status < PM_STATUS_CLEAN || state.status > PM_STATUS_PROCESS)
		ph_check_report(c, "T1", PM_STATE, "unknown status %" PRIu64, state.status);
	if (!ph_check_zero(state.reserved, sizeof(state.reserved)) ||
	    !ph_check_zero_at(c, PM_STATE + sizeof(state), PM_PAGE - sizeof(state)))
		ph_check_report(c, "T2", PM_STATE, "state line: reserved bytes are not zero");
	if (!ph_unseal(state.settled, &number))
		ph_check_report(c, "T3", settled_at, "settled word 0x%" PRIx64 " is damaged",
				state.settled);
	if (!ph_unseal(state.epoch, &number) || !number)
		ph_check_report(c, "T4", PM_STATE, "epoch 0x%" PRIx64 " is damaged", state.epoch);
}

/* ---- zone table ---------------------------------------------------------------- */

struct area {
	uint64_t start;
	uint64_t bytes;
	uint32_t zone;
};

static int compare_areas(const void *a, const void *b)
{
	const struct area *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void zone_areas(const struct pm_zone *z, uint32_t number, struct area area[4])
{
	uint64_t n = z->granules;

	area[0] = (struct area){z->tree, ph_check_tree_bytes(z->levels), number};
	area[1] = (struct area){z->desc, n * sizeof(struct pm_span), number};
	area[2] = (struct area){z->bits, n * PM_BITMAP_BYTES, number};
	area[3] = (struct area){z->data, n * PM_GRANULE, number};
}

/* Z1 to Z5 of one entry. */
static bool check_zone_entry(struct ph_check *c, const struct pm_zone *z, uint32_t number)
{
	uint64_t at = PM_ZONE_TABLE + number * sizeof(*z);
	uint64_t before = c->result->problems;
	uint32_t levels = z->granules > 1 ? ph_check_order(z->granules) : 1;
	struct area area[4];
	unsigned i;

	if (z->sum != sum_at(c, at, at, sizeof(*z) / 8 - 1))
		ph_check_report(c, "Z1", at, "zone %u: the checksum does not hold", number);
	if (!ph_check_zero(z->reserved, sizeof(z->reserved)))
		ph_check_report(c, "Z2", at, "zone %u: reserved bytes are not zero", number);
	if ((z->tree | z->desc | z->bits) % PM_PAGE || z->data % PM_GRANULE)
		ph_check_report(c, "Z4", at, "zone %u: an area is not aligned", number);
	/* What follows computes with these two. */
	if (z->granules == 0 || z->granules > PM_ZONE_GRANULES_MAX || z->levels != levels) {
		ph_check_report(c, "Z3", at, "zone %u: %u granules with %u levels", number,
				z->granules, z->levels);
		return false;
	}
	zone_areas(z, number, area);
	for (i = 0; i < 4; i++)
		if (area[i].start < PM_FIXED_END || area[i].start > c->size ||
		    area[i].bytes > c->size - area[i].start)
			ph_check_report(c, "Z5", at,
					"zone %u: 0x%" PRIx64 " bytes at 0x%" PRIx64
					" are not inside the pool",
					number, area[i].bytes, area[i].start);
	return c->result->problems == before;
}

/* Z6. Takes zones that overlap out of use. */
static void check_overlap(struct ph_check *c, bool *usable)
{
	struct area area[4 * PM_ZONES_MAX];
	size_t n = 0, last = 0;

	for (uint32_t i = 0; i < PM_ZONES_MAX; i++)
		if (usable[i]) {
			zone_areas(&c->zone[i], i, &area[n]);
			n += 4;
		}
	qsort(area, n, sizeof(*area), compare_areas);
	for (size_t i = 1; i < n; i++) {
		if (area[i].start < area[last].start + area[last].bytes) {
			ph_check_report(c, "Z6", area[i].start,
					"an area of zone %u overlaps one of zone %u", area[i].zone,
					area[last].zone);
			usable[area[i].zone] = usable[area[last].zone] = false;
		}
		/* The one that reaches furthest may overlap what comes later, too. */
		if (area[i].start + area[i].bytes > area[last].start + area[last].bytes)
			last = i;
	}
}

static void check_zone_table(struct ph_check *c, uint32_t used)
{
	bool usable[PM_ZONES_MAX] = {false};

	memcpy(c->zone, c->base + PM_ZONE_TABLE, sizeof(c->zone));
	for (uint32_t i = 0; i < PM_ZONES_MAX; i++) {
		if (i < used)
			usable[i] = check_zone_entry(c, &c->zone[i], i);
		else if (!ph_check_zero(&c->zone[i], sizeof(c->zone[i])))
			ph_check_report(c, "Z2", PM_ZONE_TABLE + i * sizeof(c->zone[i]),
					"unused entry %u of the zone table is not zero", i);
	}
	check_overlap(c, usable);
	for (uint32_t i = 0; i < PM_ZONES_MAX; i++)
		if (usable[i])
			c->zone[c->zones++] = c->zone[i];
}

/* ---- lanes ------------------------------------------------------------------------ */

static int compare_lanes(const void *a, const void *b)
{
	const struct ph_check_lane *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

static void read_lane_table(struct ph_check *c)
{
	uint64_t table[PM_LANES_MAX];
	uint32_t i;

	memcpy(table, c->base + PM_LANE_TABLE, sizeof(table));
	while (c->lanes < PM_LANES_MAX && table[c->lanes]) {
		c->lane[c->lanes].offset = table[c->lanes];
		c->lane[c->lanes].entry = PM_LANE_TABLE + c->lanes * sizeof(uint64_t);
		c->lanes++;
	}
	for (i = c->lanes; i < PM_LANES_MAX; i++)
		if (table[i])
			ph_check_report(c, "N3", PM_LANE_TABLE + i * sizeof(uint64_t),
					"entry %u of the lane table follows an empty one", i);
	qsort(c->lane, c->lanes, sizeof(*c->lane), compare_lanes);
}

void ph_check_lane(struct ph_check *c, uint64_t offset)
{
	const size_t heads = PM_UNDO_LOGS * sizeof(struct pm_undo_head);
	struct ph_check_lane key = {.offset = offset};
	struct ph_check_lane *lane = bsearch(&key, c->lane, c->lanes, sizeof(key), compare_lanes);
	uint64_t number;

	if (lane)
		lane->found = true;
	else
		ph_check_report(c, "N4", offset, "lane block without an entry in the lane table");
	for (uint64_t at = offset; at < offset + heads; at += sizeof(struct pm_undo_head)) {
		struct pm_undo_head head;

		memcpy(&head, c->base + at, sizeof(head));
		if (!ph_check_zero(head.reserved, sizeof(head.reserved)))
			ph_check_report(c, "U1", at, "undo head: reserved bytes are not zero");
		if (!ph_unseal(head.ended, &number))
			ph_check_report(c, "U3", at,
					"undo head: ended word 0x%" PRIx64 " is damaged",
					head.ended);
		if (!ph_unseal(head.epoch, &number))
			ph_check_report(c, "U4", at,
					"undo head: epoch word 0x%" PRIx64 " is damaged",
					head.epoch);
	}
	if (!ph_check_zero_at(c, offset + heads, PM_LANE_RING - heads))
		ph_check_report(c, "U2", offset,
				"lane block: bytes behind the undo heads are not zero");
}

/* N1 and N2, once all zones have been walked. Of equal entries one is found. */
static void check_lane_entries(struct ph_check *c)
{
	for (uint32_t i = 0; i < c->lanes; i++) {
		const struct ph_check_lane *lane = &c->lane[i];
		bool found = lane->found;
		uint32_t same = i + 1;

		for (; same < c->lanes && lane[same - i].offset == lane->offset; same++) {
			ph_check_report(c, "N2", lane[same - i].entry,
					"lane block 0x%" PRIx64 " has two entries", lane->offset);
			found |= lane[same - i].found;
		}
		if (!found)
			ph_check_report(c, "N1", lane->entry,
					"the lane table says 0x%" PRIx64 ", where no lane block is",
					lane->offset);
		i = same - 1;
	}
}

/* ---- roots -------------------------------------------------------------------------- */

static bool is_name(const char *name, size_t size)
{
	for (const char *s = name; s < name + size && *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return is_text(name, size);
}

static void check_name(struct ph_check *c, uint32_t number)
{
	const struct pm_root *root = &c->root[number];
	uint64_t at = PM_ROOTS + number * sizeof(*root);

	if (!is_name(root->name, sizeof(root->name)))
		ph_check_report(c, "R2", at, "the name of root %u is malformed", number);
	for (uint32_t i = 1; i < number; i++)
		if (memcmp(c->root[i].name, root->name, sizeof(root->name)) == 0)
			ph_check_report(c, "R3", at, "roots %u and %u have the same name", i,
					number);
}

static void check_root(struct ph_check *c, uint32_t number)
{
	const struct pm_root *root = &c->root[number];
	uint64_t at = PM_ROOTS + number * sizeof(*root);

	if (number == 0 && !ph_check_zero(root->name, sizeof(root->name)))
		ph_check_report(c, "R1", at, "root 0 has a name");
	else if (number && root->name[0])
		check_name(c, number);
	else if (number && !ph_check_zero(root, sizeof(*root)))
		ph_check_report(c, "R4", at, "unused root %u is not zero", number);
	if (root->reserved)
		ph_check_report(c, "R4", at, "root %u: reserved bytes are not zero", number);
	if (root->ref && !ph_check_is_published(c, root->ref))
		ph_check_report(c, "R5", at + offsetof(struct pm_root, ref),
				"root %u refers to 0x%" PRIx64 ", which is no published object",
				number, root->ref);
}

/* ---- all of it ------------------------------------------------------------------------ */

static void check_all(struct ph_check *c)
{
	uint32_t used;

	if (c->size < PM_FIXED_END) {
		ph_check_report(c, "S6", 0, "%" PRIu64 " bytes are too few for a pool", c->size);
		return;
	}
	if (!check_supers(c, &used))
		return;
	check_unused(c, PM_SUPER_A + sizeof(struct pm_super), PM_SUPER_B);
	check_unused(c, PM_SUPER_B + sizeof(struct pm_super), PM_STATE);
	check_state(c);
	check_zone_table(c, used);
	read_lane_table(c);
	c->types = ph_check_types_used(c);
	for (uint32_t i = 0; i < c->zones; i++)
		ph_check_zone(c, &c->zone[i]);
	check_lane_entries(c);
	memcpy(c->root, c->base + PM_ROOTS, sizeof(c->root));
	for (uint32_t i = 0; i < PM_ROOT_SLOTS; i++)
		check_root(c, i);
	ph_check_types(c);
	ph_check_chains(c);
}

int ph_check_media(const char *base, uint64_t size, int fd, struct pheap_check_result *result,
		   pheap_problem_fn *fn, void *arg)
{
	uint64_t before = result->problems;
	struct ph_check *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->base = base;
	c->size = size;
	c->fd = fd;
	c->result = result;
	c->fn = fn;
	c->arg = arg;
	/* problems are added: recovery may have found some before. */
	result->objects = result->object_bytes = 0;
	result->slabs = result->large_objects = 0;
	result->free_granules = result->used_granules = 0;
	check_all(c);
	report_rest(c);
	free(c);
	return result->problems > before ? -EUCLEAN : 0;
}
