/*
 * types.c - register types, find them, and read them at open. See types.h.
 *
 * PROTOCOL of registering: the descriptor object is reserved and filled; where it is longer
 * than a record takes, flushed and fenced. One record has its content, its bit, the birth of
 * its slab if need be, and the whole entry of the table. A crash before its fence leaves a
 * reserved object, that is nothing, and behind it the type.
 */
#include "types.h"

#include <string.h>

#include "alloc/slab.h"
#include "alloc/span.h"
#include "alloc/tcache.h"
#include "dram.h"
#include "memory.h"
#include "sum.h"
#include "tx/record.h"

_Static_assert((unsigned)PHEAP_TYPE_ARRAY == (unsigned)PM_TYPE_ARRAY &&
		       (unsigned)PHEAP_TYPE_COUNTED == (unsigned)PM_TYPE_COUNTED &&
		       (unsigned)PHEAP_TYPE_CALLBACK == (unsigned)PM_TYPE_CALLBACK,
	       "flags are those of media");
_Static_assert(PHEAP_TYPE_NAME_MAX == PM_TYPE_NAME_MAX && PHEAP_TYPE_REFS_MAX == PM_TYPE_REFS_MAX &&
		       PHEAP_TYPES_MAX == PM_TYPES - 1,
	       "limits are those of media");

#define DESCRIPTOR_MAX \
	(sizeof(struct pm_descriptor) + PM_TYPE_NAME_MAX + PM_TYPE_REFS_MAX * sizeof(uint32_t))

/* Entry and descriptor of a type, as they are on media. */
struct image {
	struct pm_type entry;
	uint32_t name_bytes; /* with padding */
	uint64_t word[DESCRIPTOR_MAX / 8];
};

static uint32_t up8(size_t n)
{
	return (uint32_t)((n + 7) / 8 * 8);
}

static uint64_t entry_offset(uint32_t id)
{
	return PM_TYPE_TABLE + id * sizeof(struct pm_type);
}

static uint64_t entry_sum(const struct pm_type *entry, uint32_t id)
{
	return ph_sum(PM_SUM_KEY, entry_offset(id), (const ph_sum_word *)(const void *)entry, 7);
}

static uint64_t descriptor_sum(const struct image *image, uint64_t ref)
{
	return ph_sum(PM_SUM_KEY, ref, image->word + 1, image->entry.bytes / 8 - 1);
}

static char *name_in(struct image *image)
{
	return (char *)(image->word + 1);
}

static uint32_t *offsets_of(struct image *image)
{
	return (uint32_t *)(void *)(name_in(image) + image->name_bytes);
}

static size_t name_length(const char *name, size_t max)
{
	size_t n = name ? strnlen(name, max) : 0;

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return 0;
	return n < max ? n : 0;
}

/* ---- is it well formed? ------------------------------------------------------------- */

/* NULL, or what is wrong: of what media has, and of what a program wants. */
static const char *fault(struct image *image)
{
	const struct pm_type *entry = &image->entry;
	const uint32_t *offset = offsets_of(image);

	if (entry->flags & ~PM_TYPE_FLAGS)
		return "has unknown flags";
	if (entry->flags & PM_TYPE_CALLBACK && (entry->flags & PM_TYPE_COUNTED || entry->nrefs))
		return "has a callback besides offsets or counts";
	if (!entry->size || entry->size > PHEAP_MAX_SIZE)
		return "has a size of 0, or larger than any pool";
	if (entry->nrefs && entry->size % 8)
		return "has references and a size that is no multiple of 8";
	for (uint32_t i = 0; i < entry->nrefs; i++) {
		uint64_t at = offset[i] & ~PM_TYPE_WEAK;

		if (at % 8 || at + 8 > entry->size)
			return "has a reference that is not aligned to 8 or not inside";
		if (i && at <= (offset[i - 1] & ~PM_TYPE_WEAK))
			return "has references that are not in ascending order";
		if (offset[i] & PM_TYPE_WEAK && !(entry->flags & PM_TYPE_COUNTED))
			return "has weak references without PHEAP_TYPE_COUNTED";
	}
	return NULL;
}

/* Merge two ascending lists; what is not in order is left to fault(). */
static void merge_offsets(uint32_t *to, const struct pheap_type_info *info)
{
	size_t r = 0, w = 0;

	while (r < info->nrefs || w < info->nweak) {
		if (w == info->nweak || (r < info->nrefs && info->refs[r] < info->weak[w]))
			*to++ = info->refs[r++];
		else
			*to++ = info->weak[w++] | PM_TYPE_WEAK;
	}
}

static bool odd_offset(const uint32_t *offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (offset[i] % 8)
			return true;
	return false;
}

/* What a program wants, as it would be on media. */
static int image_of(const struct pheap_type_info *info, struct image *image)
{
	const char *what = "pheap_type_register", *wrong;
	size_t length;

	if (!info || info->struct_size != sizeof(*info))
		return ph_error(EINVAL, "%s: struct_size is not sizeof(struct pheap_type_info)",
				what);
	length = name_length(info->name, PM_TYPE_NAME_MAX);
	if (!length)
		return ph_error(EINVAL,
				"%s: a type's name has 1 to %u bytes, and no control character",
				what, PM_TYPE_NAME_MAX - 1);
	if (info->nrefs > PM_TYPE_REFS_MAX || info->nweak > PM_TYPE_REFS_MAX - info->nrefs)
		return ph_error(EINVAL, "%s: \"%s\" has more than %u references", what, info->name,
				PM_TYPE_REFS_MAX);
	memset(image, 0, sizeof(*image));
	image->name_bytes = up8(length + 1);
	memcpy(name_in(image), info->name, length);
	image->entry =
		(struct pm_type){.size = info->size,
				 .version = info->version,
				 .flags = info->flags | (info->trace ? PHEAP_TYPE_CALLBACK : 0u),
				 .nrefs = (uint32_t)(info->nrefs + info->nweak)};
	image->entry.bytes = (uint32_t)sizeof(struct pm_descriptor) + image->name_bytes +
			     up8(image->entry.nrefs * sizeof(uint32_t));
	merge_offsets(offsets_of(image), info);
	wrong = odd_offset(info->refs, info->nrefs) || odd_offset(info->weak, info->nweak)
			? "has a reference that is not aligned to 8"
			: fault(image);
	return wrong ? ph_error(EINVAL, "%s: \"%s\" %s", what, info->name, wrong) : 0;
}

/* ---- in DRAM --------------------------------------------------------------------------- */

static unsigned shape_of(struct pheap *heap, uint32_t id, const struct pm_type *entry)
{
	unsigned cls = entry->size <= PH_SMALL_MAX ? ph_class_of(entry->size)
						   : ph_medium_class(entry->size);

	/* Who reads types alone, as recovery does, has no shapes. */
	return entry->flags & PM_TYPE_ARRAY || cls == PH_CLASSES || !heap->shapes
		       ? 0
		       : ph_shape(heap, id, cls);
}

static struct pheap_type *type_of_image(struct pheap *heap, uint32_t id, struct image *image)
{
	const uint32_t *offset = offsets_of(image);
	uint32_t n = image->entry.nrefs;
	size_t bytes = sizeof(struct pheap_type) + n * sizeof(uint32_t) + image->name_bytes;
	struct pheap_type *type = ph_dram_zalloc(bytes);
	uint32_t *refs, *weak;
	char *name;

	if (!type)
		return ph_null(ENOMEM, "no memory for a type");
	weak = refs = (uint32_t *)(void *)(type + 1);
	for (uint32_t i = 0; i < n; i++)
		if (!(offset[i] & PM_TYPE_WEAK))
			*weak++ = offset[i];
	*type = (struct pheap_type){.heap = heap,
				    .bytes = bytes,
				    .id = id,
				    .version = image->entry.version,
				    .flags = image->entry.flags,
				    .nrefs = (uint32_t)(weak - refs),
				    .nweak = n - (uint32_t)(weak - refs),
				    .shape = shape_of(heap, id, &image->entry),
				    .size = image->entry.size,
				    .ref = image->entry.ref,
				    .refs = refs,
				    .weak = weak};
	for (uint32_t i = 0; i < n; i++)
		if (offset[i] & PM_TYPE_WEAK)
			*weak++ = offset[i] & ~PM_TYPE_WEAK;
	name = (char *)weak;
	memcpy(name, name_in(image), image->name_bytes);
	type->name = name;
	return type;
}

static void publish_type(struct ph_types *types, uint32_t id, struct pheap_type *type)
{
	if (type)
		__atomic_store_n(&types->entry[id], type, __ATOMIC_RELEASE);
	else
		types->damaged++;
	__atomic_store_n(&types->n, id, __ATOMIC_RELEASE);
}

/* ---- open -------------------------------------------------------------------------------- */

/* Entry and descriptor as media has them; false: damaged (Y2). Media is input. */
static bool read_image(struct pheap *heap, uint32_t id, struct image *image)
{
	const struct pm_type *entry = &image->entry;
	uint64_t end = heap->zone.data + heap->zone.bytes, offset = entry_offset(id);
	size_t length;

	memset(image, 0, sizeof(*image));
	memcpy(&image->entry, ph_at(heap, offset), sizeof(image->entry));
	if (entry->sum != entry_sum(entry, id) || entry->nrefs > PM_TYPE_REFS_MAX ||
	    entry->bytes <= sizeof(struct pm_descriptor) || entry->bytes % 8 ||
	    entry->bytes > DESCRIPTOR_MAX || entry->ref % 8 || entry->ref < heap->zone.data ||
	    entry->ref >= end || entry->bytes > end - entry->ref)
		return false;
	/* D3, for a sparse copy of the file. */
	if (!heap->readonly && ph_memory_back(&heap->file, entry->ref, entry->bytes))
		return false;
	memcpy(image->word, ph_at(heap, entry->ref), entry->bytes);
	length = name_length(name_in(image), PM_TYPE_NAME_MAX);
	image->name_bytes = up8(length + 1);
	return length && image->word[0] == descriptor_sum(image, entry->ref) &&
	       entry->bytes == sizeof(struct pm_descriptor) + image->name_bytes +
				       up8(entry->nrefs * sizeof(uint32_t)) &&
	       !fault(image);
}

int ph_types_attach(struct pheap *heap)
{
	const struct pm_type *table =
		(const struct pm_type *)(const void *)ph_at(heap, PM_TYPE_TABLE);
	struct image image;

	if (heap->durability == PHEAP_VOLATILE)
		return 0;
	heap->types = ph_dram_zalloc(sizeof(*heap->types));
	if (!heap->types)
		return ph_error(ENOMEM, "no memory for types");
	for (uint32_t id = 1; id < PM_TYPES && table[id].ref; id++) {
		struct pheap_type *type = NULL;

		if (read_image(heap, id, &image) && !(type = type_of_image(heap, id, &image)))
			return -ENOMEM;
		publish_type(heap->types, id, type);
	}
	return 0;
}

void ph_types_detach(struct pheap *heap)
{
	struct ph_types *types = heap->types;

	for (uint32_t id = 1; types && id <= types->n; id++)
		if (types->entry[id])
			ph_dram_free(types->entry[id], types->entry[id]->bytes);
	ph_dram_free(types, sizeof(*types));
}

/* ---- register ------------------------------------------------------------------------------ */

static uint32_t count(const struct ph_types *types)
{
	return __atomic_load_n(&types->n, __ATOMIC_ACQUIRE);
}

static struct pheap_type *lookup(const struct pheap *heap, const char *name)
{
	for (uint32_t id = 1; id <= count(heap->types); id++) {
		struct pheap_type *type = heap->types->entry[id];

		if (type && !strcmp(type->name, name))
			return type;
	}
	return NULL;
}

static int differs(const struct pheap_type *type, const char *in, uint64_t ours, uint64_t its)
{
	return ph_error(EINVAL,
			"pheap_type_register: \"%s\" has %s %llu here and %llu in the pool: give "
			"the changed type another name and convert its objects",
			type->name, in, (unsigned long long)ours, (unsigned long long)its);
}

static int same_offsets(const struct pheap_type *type, const char *in, const uint32_t *ours,
			size_t n, const uint32_t *its, size_t its_n)
{
	if (n != its_n)
		return differs(type, in, n, its_n);
	for (size_t i = 0; i < n; i++)
		if (ours[i] != its[i])
			return ph_error(EINVAL,
					"pheap_type_register: \"%s\": of its %s number %zu is at "
					"offset %u here and at %u in the pool",
					type->name, in, i, ours[i], its[i]);
	return 0;
}

/* Is what the program wants what the pool has? */
static int compare(const struct pheap_type *type, const struct pheap_type_info *info,
		   const struct pm_type *entry)
{
	int err;

	if (entry->version != type->version)
		return differs(type, "version", entry->version, type->version);
	if (entry->size != type->size)
		return differs(type, "size", entry->size, type->size);
	if (entry->flags != type->flags)
		return differs(type, "flags", entry->flags, type->flags);
	err = same_offsets(type, "references", info->refs, info->nrefs, type->refs, type->nrefs);
	if (!err)
		err = same_offsets(type, "weak references", info->weak, info->nweak, type->weak,
				   type->nweak);
	return err;
}

/* One record: Y3. */
static int commit_type(struct ph_rec *rec, const struct image *image, uint32_t id,
		       const struct ph_object *object, bool birth)
{
	bool content = image->entry.bytes <= PHEAP_INLINE_MAX && ph_logs(&rec->heap->pm);
	int err;

	if (content)
		ph_rec_content(rec, object->start, image->entry.bytes);
	if (birth)
		ph_span_birth(rec, object->slab);
	ph_rec_object(rec, object, true);
	ph_rec_bytes(rec, entry_offset(id), &image->entry, sizeof(image->entry));
	if ((err = ph_rec_lock(rec)))
		return err;
	if (content)
		ph_touch(rec->heap, object->slab);
	ph_set_state(ph_state_of(object), PH_PUBLISHED);
	err = ph_rec_commit(rec);
	if (!err && birth)
		__atomic_store_n(&object->slab->born, 1, __ATOMIC_RELEASE);
	return err;
}

static int write_type(struct pheap *heap, const struct image *image, uint32_t id,
		      const struct ph_object *object)
{
	struct ph_rec rec;
	bool birth;
	int err = 0;

	ph_rec_init(&rec, heap, NULL);
	if (image->entry.bytes > PHEAP_INLINE_MAX) /* durable before the record that has its bit */
		err = ph_persist_range(&heap->pm, rec.count, ph_at(heap, object->start),
				       image->entry.bytes);
	pthread_mutex_lock(&heap->zone.lock);
	birth = !__atomic_load_n(&object->slab->born, __ATOMIC_ACQUIRE);
	if (!err)
		err = commit_type(&rec, image, id, object, birth);
	pthread_mutex_unlock(&heap->zone.lock);
	ph_rec_fini(&rec);
	return err;
}

/* Under type_lock. */
static struct pheap_type *add_type(struct pheap *heap, struct image *image)
{
	uint32_t id = count(heap->types) + 1;
	struct pheap_type *type;
	struct ph_object object;
	void *ptr;
	int err;

	if (id == PM_TYPES)
		return ph_null(ENOSPC, "all %u types are in use", PHEAP_TYPES_MAX);
	ptr = pheap_alloc(heap, image->entry.bytes);
	if (!ptr)
		return NULL;
	image->entry.ref = ph_off(heap, ptr);
	image->entry.sum = entry_sum(&image->entry, id);
	image->word[0] = descriptor_sum(image, image->entry.ref);
	ph_store(&heap->pm, ptr, image->word, image->entry.bytes);
	type = type_of_image(heap, id, image);
	err = type ? ph_reserved_find(heap, "pheap_type_register", ptr, &object) : -ENOMEM;
	if (!err)
		err = write_type(heap, image, id, &object);
	if (!err) {
		publish_type(heap->types, id, type);
		return type;
	}
	if (type)
		ph_dram_free(type, type->bytes);
	if (err != -EIO)
		pheap_free(heap, ptr);
	return ph_null_code(err);
}

static int check_heap(const struct pheap *heap, const char *what)
{
	int err = ph_heap_usable(heap, what);

	if (!err && !heap->types)
		err = ph_error(ENOTSUP, "%s: a volatile heap has no types: they are kept in a pool",
			       what);
	return err;
}

/* No type of that name: is there one that cannot be read? */
static int check_damage(const struct pheap *heap, const char *what)
{
	return heap->types->damaged ? ph_error(EUCLEAN,
					       "%s: %u types of the pool are damaged, and the name "
					       "may be one of theirs: run a check",
					       what, heap->types->damaged)
				    : 0;
}

PHEAP_API pheap_type_t *pheap_type_register(pheap_t *heap, const struct pheap_type_info *info)
{
	const char *what = "pheap_type_register";
	struct pheap_type *type = NULL;
	struct image image;
	int err = check_heap(heap, what);

	if (!err)
		err = image_of(info, &image);
	if (!err && image.entry.flags & PM_TYPE_COUNTED && heap->traced)
		err = ph_error(EINVAL,
			       "%s: a traced pool has no reference counts: what is reached "
			       "is alive",
			       what);
	if (err)
		return ph_null_code(err);
	pthread_mutex_lock(&heap->type_lock);
	type = lookup(heap, info->name);
	if (type)
		err = compare(type, info, &image.entry);
	else if (!(err = check_damage(heap, what)) && !(err = ph_heap_writable(heap, what)))
		type = add_type(heap, &image);
	if (!err && type && info->trace)
		__atomic_store_n(&type->trace, info->trace, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&heap->type_lock);
	return err ? ph_null_code(err) : type;
}

/* ---- look up ----------------------------------------------------------------------------------
 */

PHEAP_API pheap_type_t *pheap_type_find(pheap_t *heap, const char *name)
{
	struct pheap_type *type;
	int err = check_heap(heap, "pheap_type_find");

	if (!err && !name_length(name, PM_TYPE_NAME_MAX))
		err = ph_error(EINVAL, "pheap_type_find: that cannot be the name of a type");
	if (err)
		return ph_null_code(err);
	type = lookup(heap, name);
	if (type)
		return type;
	if ((err = check_damage(heap, "pheap_type_find")))
		return ph_null_code(err);
	return ph_null(ENOENT, "there is no type called \"%s\"", name);
}

static pheap_type_t *damaged(uint32_t id)
{
	return ph_null(EUCLEAN, "type %u of the pool is damaged: run a check", id);
}

PHEAP_API pheap_type_t *pheap_type_by_id(pheap_t *heap, uint32_t id)
{
	int err = check_heap(heap, "pheap_type_by_id");

	if (err)
		return ph_null_code(err);
	if (!id || id > count(heap->types))
		return ph_null(ENOENT, "there is no type with the id %u", id);
	return heap->types->entry[id] ? heap->types->entry[id] : damaged(id);
}

PHEAP_API uint32_t pheap_type_id(const pheap_type_t *type)
{
	return type ? type->id : 0;
}

PHEAP_API int pheap_type_get_info(const pheap_type_t *type, struct pheap_type_info *info)
{
	if (!type || !info || info->struct_size != sizeof(*info))
		return ph_error(EINVAL,
				"pheap_type_get_info: no type, or struct_size is not sizeof(struct "
				"pheap_type_info)");
	*info = (struct pheap_type_info){
		.struct_size = sizeof(*info),
		.name = type->name,
		.version = type->version,
		.flags = type->flags,
		.size = type->size,
		.refs = type->refs,
		.nrefs = type->nrefs,
		.weak = type->weak,
		.nweak = type->nweak,
		.trace = __atomic_load_n(&type->trace, __ATOMIC_ACQUIRE),
	};
	return 0;
}

bool ph_type_keeps(const struct pheap *heap, uint64_t offset)
{
	uint32_t n = heap->types ? count(heap->types) : 0;

	for (uint32_t id = 1; id <= n; id++)
		if (heap->types->entry[id] && heap->types->entry[id]->ref == offset)
			return true;
	return false;
}

PHEAP_API pheap_type_t *pheap_type_of(pheap_t *heap, const void *ptr)
{
	struct ph_object object;
	struct pheap_type *type;
	int err = check_heap(heap, "pheap_type_of");
	uint32_t id;

	if (!err && (!ph_object_find(heap, ph_off(heap, ptr), &object) ||
		     object.start != ph_off(heap, ptr) || ph_state(&object) < PH_RESERVED))
		err = ph_error(EINVAL, "pheap_type_of: %p is no object of this heap", ptr);
	if (err)
		return ph_null_code(err);
	id = PH_SEEN(object.slab, type);
	type = ph_type_mutable(heap, id);
	if (id && !type)
		return damaged(id);
	errno = 0;
	return type;
}

/* ---- references in an object
 * --------------------------------------------------------------------- */

bool ph_type_visit(const struct pheap_type *type, void *object, uint64_t block,
		   pheap_visit_fn *visit, void *arg)
{
	uint64_t n = ph_type_elements(type, block);
	pheap_trace_fn *trace;

	if (type->flags & PHEAP_TYPE_CALLBACK) {
		trace = __atomic_load_n(&type->trace, __ATOMIC_ACQUIRE);
		if (trace)
			trace(object, block, visit, arg);
		return trace != NULL;
	}
	if (!type->nrefs)
		return true;
	for (char *at = object; n--; at += type->size)
		for (uint32_t i = 0; i < type->nrefs; i++)
			visit(arg, (pheap_ref *)(void *)(at + type->refs[i]));
	return true;
}
