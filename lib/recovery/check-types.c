/*
 * check-types.c - verify the type table and the descriptors it refers to. See check.c.
 *
 * INVARIANTS (docs/format.md has them in full)
 *   Y1 entries without a gap, the others zero	Y2 sum of an entry
 *   Y3 descriptor is a published object		Y4 sum of a descriptor
 *   Y5 fields and offsets in range			Y6 names distinct
 */
#include "check-media.h"
#include "sum.h"

#define BYTES_MAX (sizeof(struct pm_descriptor) + PM_TYPE_NAME_MAX + PM_TYPE_REFS_MAX * 4)

struct type {
	struct pm_type entry;
	uint64_t at; /* of the entry */
	uint32_t id;
	union {
		uint64_t word[BYTES_MAX / 8];
		char byte[BYTES_MAX];
	} d;
};

static uint64_t entry_at(uint32_t id)
{
	return PM_TYPE_TABLE + id * sizeof(struct pm_type);
}

static void read_entry(const struct ph_check *c, uint32_t id, struct pm_type *entry)
{
	memcpy(entry, c->base + entry_at(id), sizeof(*entry));
}

uint32_t ph_check_types_used(struct ph_check *c)
{
	struct pm_type entry;
	uint32_t used = 1;

	if (!ph_check_zero_at(c, PM_TYPE_TABLE, sizeof(entry)))
		ph_check_report(c, "Y1", PM_TYPE_TABLE, "entry 0 of the type table is not zero");
	for (; used < PM_TYPES; used++) {
		read_entry(c, used, &entry);
		if (!entry.ref)
			break;
	}
	for (uint32_t id = used; id < PM_TYPES; id++)
		if (!ph_check_zero_at(c, entry_at(id), sizeof(entry)))
			ph_check_report(
				c, "Y1", entry_at(id),
				"entry %u of the type table is not zero, but not in use, or "
				"follows one that is not",
				id);
	return used;
}

bool ph_check_type_counted(const struct ph_check *c, uint32_t id)
{
	struct pm_type entry;

	if (!id || id >= c->types)
		return false;
	read_entry(c, id, &entry);
	return entry.flags & PM_TYPE_COUNTED;
}

/* ---- one type ------------------------------------------------------------------- */

/* Y5, as far as the entry says it. */
static bool check_fields(struct ph_check *c, const struct type *t)
{
	const struct pm_type *e = &t->entry;
	bool callback = e->flags & PM_TYPE_CALLBACK;

	if (ph_check_zero(e->reserved, sizeof(e->reserved)) && !(e->flags & ~PM_TYPE_FLAGS) &&
	    !(callback && (e->flags & PM_TYPE_COUNTED || e->nrefs)) && e->size &&
	    e->size <= UINT64_C(1) << 40 && !(e->nrefs && e->size % 8) &&
	    e->nrefs <= PM_TYPE_REFS_MAX && e->bytes % 8 == 0 && e->bytes >= 16 &&
	    e->bytes <= BYTES_MAX)
		return true;
	ph_check_report(c, "Y5", t->at,
			"type %u: size %" PRIu64 ", flags %u, %u references, %u bytes of "
			"descriptor or reserved words cannot be",
			t->id, e->size, e->flags, e->nrefs, e->bytes);
	return false;
}

/* Bytes of the name with its padding; 0: it is none. */
static uint32_t name_bytes(const struct type *t)
{
	const char *name = t->d.byte + sizeof(struct pm_descriptor);
	uint32_t most = t->entry.bytes - (uint32_t)sizeof(struct pm_descriptor), n = 0, end;

	if (most > PM_TYPE_NAME_MAX)
		most = PM_TYPE_NAME_MAX;
	while (n < most && name[n]) {
		if ((unsigned char)name[n] < 0x20 || name[n] == 0x7f)
			return 0;
		n++;
	}
	end = n / 8 * 8 + 8;
	return n && end <= most && ph_check_zero(name + n, end - n) ? end : 0;
}

static bool offsets_hold(const struct type *t, uint32_t start)
{
	uint32_t end = start + t->entry.nrefs * 4, last = 0;

	if (t->entry.bytes != (end + 7) / 8 * 8 ||
	    !ph_check_zero(t->d.byte + end, t->entry.bytes - end))
		return false;
	for (uint32_t at = start, offset; at < end; at += 4, last = offset & ~PM_TYPE_WEAK) {
		memcpy(&offset, t->d.byte + at, sizeof(offset));
		if ((offset & ~PM_TYPE_WEAK) % 8 ||
		    (offset & ~PM_TYPE_WEAK) + UINT64_C(8) > t->entry.size ||
		    (at > start && (offset & ~PM_TYPE_WEAK) <= last) ||
		    (offset & PM_TYPE_WEAK && !(t->entry.flags & PM_TYPE_COUNTED)))
			return false;
	}
	return true;
}

/* Y4, and Y5 of what is in the descriptor. */
static void check_descriptor(struct ph_check *c, struct type *t)
{
	uint64_t ref = t->entry.ref;
	uint32_t name;

	memcpy(t->d.word, c->base + ref, t->entry.bytes);
	if (t->d.word[0] != ph_sum(PM_SUM_KEY, ref, t->d.word + 1, t->entry.bytes / 8 - 1)) {
		ph_check_report(c, "Y4", ref,
				"type %u: the checksum of its descriptor does not hold", t->id);
		return;
	}
	name = name_bytes(t);
	if (!name || !offsets_hold(t, (uint32_t)sizeof(struct pm_descriptor) + name))
		ph_check_report(c, "Y5", ref, "type %u: its name or its offsets are malformed",
				t->id);
}

static void check_type(struct ph_check *c, struct type *t)
{
	const struct pm_type *e = &t->entry;

	if (e->sum != ph_sum(PM_SUM_KEY, t->at, (const ph_sum_word *)(const void *)e, 7)) {
		ph_check_report(c, "Y2", t->at, "type %u: the checksum of its entry does not hold",
				t->id);
		return;
	}
	if (!check_fields(c, t))
		return;
	if (!ph_check_is_published(c, e->ref) || e->bytes > c->size - e->ref)
		ph_check_report(c, "Y3", t->at,
				"type %u refers to 0x%" PRIx64 ", which is no published object",
				t->id, e->ref);
	else
		check_descriptor(c, t);
}

/* ---- names ---------------------------------------------------------------------- */

/* The name of a type that is sound as far as that; NULL: not. */
static const char *name_of(const struct ph_check *c, uint32_t id)
{
	struct pm_type entry;

	read_entry(c, id, &entry);
	if (entry.ref > c->size ||
	    c->size - entry.ref < sizeof(struct pm_descriptor) + PM_TYPE_NAME_MAX)
		return NULL;
	return c->base + entry.ref + sizeof(struct pm_descriptor);
}

static void check_name(struct ph_check *c, uint32_t id)
{
	const char *name = name_of(c, id), *other;

	for (uint32_t i = 1; i < id && name; i++)
		if ((other = name_of(c, i)) && !strncmp(name, other, PM_TYPE_NAME_MAX))
			ph_check_report(c, "Y6", entry_at(id), "types %u and %u have the same name",
					i, id);
}

void ph_check_types(struct ph_check *c)
{
	for (uint32_t id = 1; id < c->types; id++) {
		uint64_t before = c->result->problems;
		struct type t = {.id = id, .at = entry_at(id)};

		read_entry(c, id, &t.entry);
		check_type(c, &t);
		if (c->result->problems == before)
			check_name(c, id);
	}
}
