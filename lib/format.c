/*
 * format.c - superblocks, zone geometry, and validation of all that is read
 * before recovery. docs/format.md is normative.
 */
#include "format.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "alloc/span.h"
#include "cancel.h"
#include "file.h"
#include "pool.h"
#include "recovery/check.h"
#include "recovery/replay.h"
#include "recovery/traced.h"
#include "sum.h"

/* Data of large pools begins at a multiple of this, for huge pages. */
#define HUGE_PAGE (UINT64_C(2) << 20)
#define ALIGN_FROM (UINT64_C(256) << 20)
/* Lanes of a new pool: one per so many bytes, 1 to 16. */
#define BYTES_PER_LANE (UINT64_C(32) << 20)

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static uint64_t super_sum(const struct pm_super *super, uint64_t place)
{
	return ph_sum(PM_SUM_KEY, place, (const uint64_t *)(const void *)&super->format,
		      (sizeof(*super) - offsetof(struct pm_super, format)) / 8);
}

static uint64_t zone_sum(const struct pm_zone *zone)
{
	return ph_sum(PM_SUM_KEY, PM_ZONE_TABLE, (const uint64_t *)(const void *)zone,
		      offsetof(struct pm_zone, sum) / 8);
}

/* ---- geometry ----------------------------------------------------------------------- */

/* The areas of a zone of so many granules; the offset behind it. */
static uint64_t lay_out(struct pm_zone *zone, uint64_t start, uint64_t granules, uint64_t align)
{
	zone->granules = (uint32_t)granules;
	zone->levels = ph_tree_levels(zone->granules);
	zone->tree = start;
	zone->desc = round_up(zone->tree + ph_tree_bytes(zone->levels), PM_PAGE);
	zone->bits = round_up(zone->desc + granules * sizeof(struct pm_span), PM_PAGE);
	zone->data = round_up(zone->bits + granules * PM_BITMAP_BYTES, align);
	return zone->data + granules * PM_GRANULE;
}

static void choose_geometry(struct pm_zone *zone, uint64_t size)
{
	uint64_t align = size >= ALIGN_FROM ? HUGE_PAGE : PM_GRANULE;
	uint64_t low = 1, high = size / PM_GRANULE;

	while (low < high) { /* the largest number that fits */
		uint64_t middle = (low + high + 1) / 2;

		if (lay_out(zone, PM_FIXED_END, middle, align) <= size)
			low = middle;
		else
			high = middle - 1;
	}
	lay_out(zone, PM_FIXED_END, low, align);
	zone->sum = zone_sum(zone);
}

uint64_t ph_format_max_object(uint32_t granules)
{
	return (UINT64_C(1) << (31 - (unsigned)__builtin_clz(granules))) * PM_GRANULE;
}

uint64_t ph_format_epoch(void)
{
	uint64_t number = 0;

	while (!number) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			number = 0;
		number &= PH_SEALED_MAX;
	}
	return ph_seal(number);
}

/* ---- format -------------------------------------------------------------------------- */

struct formatter {
	struct ph_persist *pm;
	struct ph_count *count;
	struct ph_file *file;
	struct pm_zone zone;
};

static uint8_t tree_get(void *arg, uint64_t at)
{
	struct formatter *f = arg;

	return (uint8_t)f->file->base[f->zone.tree + at];
}

static void tree_set(void *arg, uint64_t at, uint8_t value)
{
	struct formatter *f = arg;

	ph_store(f->pm, f->file->base + f->zone.tree + at, &value, 1);
}

static void make_lanes(struct formatter *f, struct ph_tree *tree)
{
	uint64_t n = f->file->size / BYTES_PER_LANE;
	struct pm_span span = {.kind = PM_KIND_LANE, .granules = 1, .size = PM_GRANULE};
	uint64_t first;
	char *desc;

	n = n < 1 ? 1 : n > 16 ? 16 : n;
	first = f->zone.granules - n; /* at the end: the largest object begins at 0 */
	desc = f->file->base + f->zone.desc + first * sizeof(span);
	for (uint64_t i = 0; i < n; i++) {
		ph_store(f->pm, desc + i * sizeof(span), &span, sizeof(span));
		ph_store64(f->pm, f->file->base + PM_LANE_TABLE + i * 8,
			   f->zone.data + (first + i) * PM_GRANULE);
	}
	ph_flush(f->pm, f->count, desc, n * sizeof(span));
	ph_tree_assign(tree, (uint32_t)first, (uint32_t)n, false);
}

/* Lane blocks, bitmaps, the other descriptors: all zero, as they are. */
static void store_inside(struct formatter *f)
{
	struct ph_tree tree = {f->zone.levels, tree_get, tree_set, f};
	struct pm_state state = {.epoch = ph_format_epoch(), .status = PM_STATUS_CLEAN};
	char *base = f->file->base;
	uint8_t whole = (uint8_t)(f->zone.levels + 1);

	ph_store(f->pm, base + PM_ZONE_TABLE, &f->zone, sizeof(f->zone));
	ph_store(f->pm, base + PM_STATE, &state, sizeof(state));
	ph_store(f->pm, base + f->zone.tree + 1, &whole, 1);
	ph_tree_assign(&tree, f->zone.granules, (1u << f->zone.levels) - f->zone.granules, false);
	make_lanes(f, &tree);
}

/* D3 for what exists from the beginning: all up to the descriptors, and the last
 * granules, where the first lanes are. The tree is small: 2 bytes a granule. */
static int back_blocks(const struct formatter *f)
{
	const struct pm_zone *zone = &f->zone;
	int err = ph_memory_back(f->file, 0, zone->desc);

	if (!err)
		err = ph_zone_back(f->file, zone, zone->granules - 1);
	if (!err) /* 16 lanes may begin in the chunk before */
		err = ph_zone_back(f->file, zone, zone->granules > 16 ? zone->granules - 16 : 0);
	return err;
}

int ph_format_back(const struct ph_file *file)
{
	const struct pm_zone *zone =
		(const struct pm_zone *)(const void *)(file->base + PM_ZONE_TABLE);
	const uint64_t *lanes = (const uint64_t *)(const void *)(file->base + PM_LANE_TABLE);
	int err = ph_memory_back(file, 0, zone->desc);

	return err ? err : ph_memory_back(file, lanes[0], PM_GRANULE);
}

static void make_super(struct pm_super *super, const struct ph_file *file,
		       const struct ph_format_options *opts)
{
	memset(super, 0, sizeof(*super));
	super->magic = PM_MAGIC;
	super->format = PM_FORMAT;
	super->bytes = sizeof(*super);
	super->sequence = 1;
	super->size = file->size;
	super->zones = 1;
	super->incompat = opts->traced ? PM_INCOMPAT_TRACED : 0;
	super->created = (uint64_t)time(NULL);
	while (getrandom(super->uuid, sizeof(super->uuid), 0) != sizeof(super->uuid))
		;
	super->uuid[6] = (super->uuid[6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
	super->uuid[8] = (super->uuid[8] & 0x3f) | 0x80;
	strcpy(super->layout, opts->layout); /* its length was checked */
}

static void store_super(struct ph_persist *pm, char *base, uint64_t place,
			const struct pm_super *super)
{
	struct pm_super twin = *super;

	twin.sum = super_sum(&twin, place);
	ph_store(pm, base + place, &twin, sizeof(twin));
}

int ph_format(struct ph_persist *pm, struct ph_count *count, struct ph_file *file,
	      const struct ph_format_options *opts)
{
	struct formatter f = {.pm = pm, .count = count, .file = file};
	struct pm_super super;
	int err;

	choose_geometry(&f.zone, file->size);
	if ((err = back_blocks(&f)))
		return err;
	ph_store64(pm, file->base, PM_MAGIC_CREATING);
	/* Step 1. */
	if ((err = ph_persist_range(pm, count, file->base, 8)))
		return err;
	make_super(&super, file, opts);
	store_super(pm, file->base, PM_SUPER_B, &super);
	store_inside(&f);
	/* All from superblock B to the descriptors: tables, state, tree. */
	ph_flush(pm, count, file->base + PM_SUPER_B, f.zone.desc - PM_SUPER_B);
	/* Step 2: orders all that before superblock A. */
	if ((err = ph_fence(pm, count)))
		return err;
	store_super(pm, file->base, PM_SUPER_A, &super);
	return 0;
}

/* ---- validate ----------------------------------------------------------------------------- */

static const struct pm_super *super_at(const char *base, uint64_t place)
{
	return (const struct pm_super *)(const void *)(base + place);
}

static bool super_valid(const char *base, uint64_t place)
{
	const struct pm_super *super = super_at(base, place);

	return super->magic == PM_MAGIC && super->sum == super_sum(super, place);
}

static int choose_super(const char *base, const char *name, struct pm_super *super)
{
	const struct pm_super *a = super_at(base, PM_SUPER_A), *b = super_at(base, PM_SUPER_B);
	bool a_valid = super_valid(base, PM_SUPER_A), b_valid = super_valid(base, PM_SUPER_B);

	if (a->magic == PM_MAGIC_CREATING)
		return ph_error(EUCLEAN, "%s: creating this pool was not finished: create it again",
				name);
	if (!a_valid && !b_valid) {
		if (a->magic != PM_MAGIC && b->magic != PM_MAGIC)
			return ph_error(EUCLEAN,
					"%s: not a pheap pool: no magic number at offset 0 or 4096",
					name);
		return ph_error(EUCLEAN,
				"%s: both superblocks (offsets 0 and 4096) are damaged: restore "
				"the pool from a copy",
				name);
	}
	*super = a_valid && (!b_valid || a->sequence >= b->sequence) ? *a : *b;
	return 0;
}

static int check_super(const struct pm_super *super, uint64_t size, const char *name, bool readonly)
{
	if (super->format != PM_FORMAT)
		return ph_error(EPROTONOSUPPORT,
				"%s: media format %u; this version knows %u: use a newer "
				"library",
				name, super->format, PM_FORMAT);
	if (super->incompat & ~PM_INCOMPAT_KNOWN)
		return ph_error(EPROTONOSUPPORT,
				"%s: the pool uses features %#llx that this version does "
				"not know: use a newer library",
				name, (unsigned long long)(super->incompat & ~PM_INCOMPAT_KNOWN));
	if (!readonly && super->ro_compat & ~PM_RO_COMPAT_KNOWN)
		return ph_error(EPROTONOSUPPORT,
				"%s: the pool uses features %#llx that this version can "
				"only read: open it with PHEAP_READONLY",
				name, (unsigned long long)(super->ro_compat & ~PM_RO_COMPAT_KNOWN));
	if (super->size != size)
		return ph_error(EUCLEAN,
				"%s: the file has %llu bytes, the pool %llu: it was truncated or "
				"extended",
				name, (unsigned long long)size, (unsigned long long)super->size);
	if (super->bytes != sizeof(*super) || !memchr(super->layout, 0, sizeof(super->layout)) ||
	    super->zones != 1)
		return ph_error(EUCLEAN, "%s: the superblock is inconsistent", name);
	return 0;
}

static int check_zone(const char *base, uint64_t size, const char *name)
{
	const struct pm_zone *zone = (const struct pm_zone *)(const void *)(base + PM_ZONE_TABLE);
	struct pm_zone right;

	if (zone->sum != zone_sum(zone))
		return ph_error(EUCLEAN, "%s: the zone table (offset %u) is damaged", name,
				PM_ZONE_TABLE);
	/* Geometry follows from the number of granules and where data begins. */
	if (!zone->granules || zone->granules > PM_ZONE_GRANULES_MAX ||
	    lay_out(&right, PM_FIXED_END, zone->granules, PM_PAGE) > size ||
	    zone->levels != right.levels || zone->tree != right.tree || zone->desc != right.desc ||
	    zone->bits != right.bits || zone->data < right.data || zone->data % PM_GRANULE ||
	    zone->data > size || size - zone->data < (uint64_t)zone->granules * PM_GRANULE)
		return ph_error(EUCLEAN, "%s: the zone table (offset %u) is inconsistent", name,
				PM_ZONE_TABLE);
	if ((uint8_t)base[zone->tree + 1] > zone->levels + 1)
		return ph_error(EUCLEAN,
				"%s: the root of the free-space tree (offset %#llx) is damaged",
				name, (unsigned long long)zone->tree + 1);
	return 0;
}

static int check_lanes(const char *base, const char *name)
{
	const struct pm_zone *zone = (const struct pm_zone *)(const void *)(base + PM_ZONE_TABLE);
	const uint64_t *lanes = (const uint64_t *)(const void *)(base + PM_LANE_TABLE);
	uint64_t end = zone->data + (uint64_t)zone->granules * PM_GRANULE;

	for (uint32_t i = 0; i < PM_LANES_MAX && (lanes[i] || !i); i++) {
		if (lanes[i] < zone->data || lanes[i] >= end ||
		    (lanes[i] - zone->data) % PM_GRANULE)
			return ph_error(EUCLEAN,
					"%s: entry %u of the lane table (offset %u) is damaged",
					name, i, PM_LANE_TABLE);
	}
	return 0;
}

/* T1 to T3, of the words that decide what recovery does. */
static int check_state(const char *base, const char *name)
{
	const struct pm_state *state = (const struct pm_state *)(const void *)(base + PM_STATE);
	uint64_t number;

	if (state->status < PM_STATUS_CLEAN || state->status > PM_STATUS_PROCESS)
		return ph_error(EUCLEAN, "%s: unknown status %llu in the state line (offset %u)",
				name, (unsigned long long)state->status, PM_STATE);
	if (!ph_unseal(state->epoch, &number) || !number)
		return ph_error(EUCLEAN, "%s: the epoch in the state line (offset %u) is damaged",
				name, PM_STATE);
	/* Half of what a stamp can be: no pool gets there, and none may begin there. */
	if (!ph_unseal(state->settled, &number) || number > PH_SEALED_MAX / 2)
		return ph_error(EUCLEAN,
				"%s: the settled stamp in the state line (offset %u) is damaged",
				name, PM_STATE);
	if (state->reserved[0] || state->reserved[1] || state->reserved[2])
		return ph_error(EUCLEAN,
				"%s: reserved words of the state line (offset %u) are not zero",
				name, PM_STATE);
	return 0;
}

int ph_format_validate(const char *base, uint64_t size, const char *name, struct pm_super *super,
		       bool readonly)
{
	int err = choose_super(base, name, super);

	if (!err)
		err = check_super(super, size, name, readonly);
	if (!err)
		err = check_state(base, name);
	if (!err)
		err = check_zone(base, size, name);
	return err ? err : check_lanes(base, name);
}

void ph_format_mend(struct ph_persist *pm, struct ph_count *count, char *base,
		    const struct pm_super *super)
{
	static const uint64_t places[] = {PM_SUPER_A, PM_SUPER_B};

	for (unsigned i = 0; i < 2; i++) {
		if (!super_valid(base, places[i]) ||
		    super_at(base, places[i])->sequence != super->sequence)
			store_super(pm, base, places[i], super);
		ph_flush(pm, count, base + places[i], sizeof(*super));
	}
}

/* ---- verify in a private mapping ------------------------------------------------------------ */

static void count_recovered(struct pheap_check_result *result, const struct ph_recovered *done)
{
	result->records = done->records;
	result->undo_entries = done->undo_entries;
}

/* O1: open accepts the pool. The message of the error says why it does not. */
static void report_refusal(struct pheap_check_result *result, pheap_problem_fn *fn, void *arg)
{
	struct pheap_problem problem = {"O1", 0, pheap_errormsg()};

	if (fn)
		fn(arg, &problem);
	result->problems++;
}

static int verify_mapping(struct ph_file *copy, const char *path, struct pheap_check_result *result,
			  pheap_problem_fn *fn, void *arg)
{
	struct ph_persist pm = {.backend = PH_NONE};
	struct ph_recovered done = {0};
	struct ph_count count = {0};
	struct pm_super super;
	int err = ph_format_validate(copy->base, copy->size, path, &super, true);
	const struct pm_state *state =
		(const struct pm_state *)(const void *)(copy->base + PM_STATE);

	if (!err && state->status != PM_STATUS_CLEAN)
		err = ph_recover(&pm, &count, NULL, copy->base, copy->size, &done);
	if (!err && super.incompat & PM_INCOMPAT_TRACED && state->status != PM_STATUS_CLEAN)
		err = ph_traced_settle(copy->base, copy->size);
	if (err == -EUCLEAN || err == -EPROTONOSUPPORT) {
		report_refusal(result, fn, arg);
		if (err == -EPROTONOSUPPORT)
			return err;
		/* What can be said of the rest is said. */
	} else if (err) {
		return err;
	}
	count_recovered(result, &done);
	return ph_check_media(copy->base, copy->size, copy->fd, result, fn, arg) ? -EUCLEAN : err;
}

PHEAP_API int pheap_check_file(const char *path, struct pheap_check_result *result,
			       pheap_problem_fn *fn, void *arg)
{
	PH_NO_CANCEL;
	struct pheap_check_result own = {.struct_size = sizeof(own)};
	struct ph_file copy = {.fd = -1};
	int err;

	if (result && result->struct_size != sizeof(*result))
		return ph_error(EINVAL, "pheap_check_file: struct_size is not sizeof(struct "
					"pheap_check_result)");
	if (!path)
		return ph_error(EINVAL, "pheap_check_file: the path is NULL");
	err = ph_file_open(&copy, path, true);
	if (err == -EUCLEAN)
		report_refusal(&own, fn, arg);
	if (!err)
		err = ph_file_map(&copy, path);
	if (!err)
		err = verify_mapping(&copy, path, &own, fn, arg);
	ph_file_close(&copy);
	if (result)
		*result = own;
	return err;
}

static void first_problem(void *arg, const struct pheap_problem *problem)
{
	char *text = arg;

	if (!*text)
		snprintf(text, 256, "%s at offset %#llx: %s", problem->invariant,
			 (unsigned long long)problem->offset, problem->message);
}

int ph_format_verify(const struct ph_file *file, const char *path)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct ph_file copy = {.fd = file->fd, .size = file->size, .readonly = true};
	char text[256] = "";
	int err = file->fd < 0 ? ph_error(EINVAL, "%s: only a file can be checked first", path)
			       : ph_file_map(&copy, path);

	if (!err)
		err = verify_mapping(&copy, path, &result, first_problem, text);
	if (copy.base)
		munmap(copy.base, copy.size);
	if (err == -EUCLEAN)
		return ph_error(EUCLEAN, "%s: the check found %llu problems, first %s", path,
				(unsigned long long)result.problems, text);
	return err;
}
