/*
 * model.c - keep, change and compare the shadow model.
 */
#include "model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

/* ---- objects ------------------------------------------------------------------ */

void model_store_clear(struct model_store *store)
{
	while (store->newest) {
		struct model_object *object = store->newest;

		store->newest = object->older;
		free(object);
	}
}

static struct model_object *object_new(struct model_store *store, size_t size)
{
	struct model_object *object = calloc(1, sizeof(*object) + size);

	if (!object) {
		fprintf(stderr, "model: out of memory\n");
		abort();
	}
	object->size = object->known = size;
	object->older = store->newest;
	store->newest = object;
	return object;
}

struct model_object *model_object(struct model_store *store, size_t size, const void *bytes)
{
	struct model_object *object = object_new(store, size);

	memcpy(object->bytes, bytes, size);
	return object;
}

struct model_object *model_pattern(struct model_store *store, size_t size, uint64_t id)
{
	struct model_object *object = object_new(store, size);
	uint64_t state = mix64(id + 1), value;

	for (size_t at = 0; at < size; at += 8) {
		value = random_next(&state);
		memcpy(object->bytes + at, &value, size - at < 8 ? size - at : 8);
	}
	return object;
}

struct model_object *model_copy(struct model_store *store, const struct model_object *object)
{
	struct model_object *copy = model_object(store, object->size, object->bytes);

	copy->known = object->known;
	copy->linked = object->linked;
	copy->type = object->type;
	copy->link_at = object->link_at;
	copy->next = object->next;
	return copy;
}

/* What lies behind the known bytes stays unknown, unless the patch begins there. */
static void patch(struct model_object *object, const struct model_edit *edit)
{
	size_t end = edit->value + edit->object->size;

	memcpy(object->bytes + edit->value, edit->object->bytes, edit->object->size);
	if (object->known >= edit->value && object->known < end)
		object->known = end;
}

void model_apply(struct model *model, const struct model *shared, struct model_store *store,
		 const struct model_edit *edit)
{
	struct model_object **slot = &model->slot[edit->index];

	switch (edit->kind) {
	case MODEL_EXISTS:
		model->exists = true;
		break;
	case MODEL_TABLE:
		model->table = true;
		break;
	case MODEL_SLOT:
		*slot = edit->object;
		break;
	case MODEL_BYTES:
		if (*slot == shared->slot[edit->index])
			*slot = model_copy(store, *slot);
		patch(*slot, edit);
		break;
	case MODEL_ROOT:
		model->root[edit->index] = edit->value;
		break;
	case MODEL_WORD:
		model->word[edit->index] = edit->value;
		break;
	case MODEL_GARBAGE:
		model->garbage = edit->value;
		model->fewer = false;
		break;
	case MODEL_TYPES_N:
		model->types = (unsigned)edit->value;
		break;
	}
}

/* ---- looking at a heap ---------------------------------------------------------- */

const char *model_root_name(unsigned index)
{
	static const char *const name[MODEL_ROOTS] = {
		"a",	 "users", "index", "a-name-of-forty-seven-characters-is-the-longest",
		"queue", "f",	  "trash", "journal"};

	return name[index];
}

uint64_t model_objects(const struct model *model)
{
	/* A descriptor each. */
	uint64_t n = model->table + model->types + graph_objects(&model->graph);

	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		for (const struct model_object *o = model->slot[i]; o; o = o->next)
			n++;
	return n;
}

static struct table *table_of(pheap_t *heap)
{
	return pheap_ptr(heap, *pheap_root(heap));
}

pheap_ref *model_slot(pheap_t *heap, unsigned index)
{
	struct table *table;

	if (index >= MODEL_TABLE_SLOTS)
		return pheap_find_root(heap, model_root_name(index - MODEL_TABLE_SLOTS));
	table = table_of(heap);
	return table ? &table->slot[index] : NULL;
}

/* Where a comparison stands, for the message. */
struct match {
	pheap_t *heap;
	char *what;
	size_t room;
};

static bool differ(struct match *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool differ(struct match *m, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(m->what, m->room, format, args);
	va_end(args);
	return false;
}

/* Equal, or where mixed is given equal to one of the two in each byte. */
static size_t first_difference(const char *have, const char *want, const char *mixed, size_t n)
{
	if (!memcmp(have, want, n))
		return n;
	for (size_t at = 0; at < n; at++)
		if (have[at] != want[at] && (!mixed || have[at] != mixed[at]))
			return at;
	return n;
}

static bool match_bytes(struct match *m, unsigned slot, const char *have,
			const struct model_object *want, const struct model_object *mixed)
{
	size_t before = want->linked ? want->link_at : 0, skip = want->linked ? before + 8 : 0, at;

	at = first_difference(have, want->bytes, NULL, before);
	if (at == before)
		at = skip + first_difference(have + skip, want->bytes + skip,
					     mixed ? mixed->bytes + skip : NULL,
					     want->known - skip);
	if (at >= want->known)
		return true;
	return differ(m, "slot %u: byte %zu of %zu of the object at %#llx is %#x, not %#x", slot,
		      at, want->size, (unsigned long long)pheap_ref_of(m->heap, have),
		      (unsigned char)have[at], (unsigned char)want->bytes[at]);
}

/* The object behind ref, as far as it can be trusted; NULL and a message if not. */
static const char *object_at(struct match *m, unsigned slot, pheap_ref ref, size_t size)
{
	const struct pheap_view *view = (const struct pheap_view *)(const void *)m->heap;
	size_t usable;

	if (ref >= view->size || size > view->size - ref) {
		differ(m, "slot %u refers to %#llx, outside the pool", slot,
		       (unsigned long long)ref);
		return NULL;
	}
	usable = pheap_usable_size(m->heap, view->base + ref);
	if (usable < size) {
		differ(m, "slot %u refers to %#llx, where %zu bytes are usable, not %zu (%s)", slot,
		       (unsigned long long)ref, usable, size, usable ? "" : pheap_errormsg());
		return NULL;
	}
	return view->base + ref;
}

static bool match_type(struct match *m, unsigned slot, const char *have,
		       const struct model_object *want)
{
	const pheap_type_t *type;

	if (!want->type) /* or of one that the scenario does not speak of */
		return true;
	type = pheap_type_of(m->heap, have);

	return pheap_type_id(type) == want->type ||
	       differ(m, "slot %u: the object is of type %u, not %u", slot, pheap_type_id(type),
		      want->type);
}

/* Those that are there have the numbers in the order of which they were registered. */
static bool match_types(struct match *m, const struct model *model)
{
	for (unsigned i = 1; i <= MODEL_TYPES; i++) {
		unsigned want = i <= model->types ? i : 0;
		unsigned id = pheap_type_id(pheap_type_find(m->heap, model_type_name(i)));

		if (id != want)
			return differ(m, "type %u has the id %u, not %u", i, id, want);
	}
	return true;
}

static bool match_slot(struct match *m, unsigned slot, pheap_ref ref,
		       const struct model_object *want, const struct model_object *mixed)
{
	while (want) {
		const char *have;

		if (!ref)
			return differ(m, "slot %u is null, not an object of %zu bytes", slot,
				      want->size);
		have = object_at(m, slot, ref, want->size);
		if (!have || !match_bytes(m, slot, have, want, mixed) ||
		    !match_type(m, slot, have, want))
			return false;
		ref = 0;
		if (want->linked)
			memcpy(&ref, have + want->link_at, sizeof(ref));
		want = want->next;
		mixed = mixed ? mixed->next : NULL;
	}
	return !ref ||
	       differ(m, "slot %u refers to %#llx, not null", slot, (unsigned long long)ref);
}

static bool match_table(struct match *m, const struct model *model, const struct model *mixed)
{
	const struct table *table = table_of(m->heap);

	for (unsigned i = 0; i < MODEL_TABLE_SLOTS; i++)
		if (!match_slot(m, i, table->slot[i], model->slot[i],
				mixed ? mixed->slot[i] : NULL))
			return false;
	for (unsigned i = 0; i < MODEL_WORDS; i++)
		if (table->word[i] != model->word[i] &&
		    (!mixed || table->word[i] != mixed->word[i]))
			return differ(m, "word %u is %#llx, not %#llx", i,
				      (unsigned long long)table->word[i],
				      (unsigned long long)model->word[i]);
	return true;
}

static bool match_root(struct match *m, const struct model *model, const struct model *mixed,
		       unsigned i)
{
	unsigned slot = MODEL_TABLE_SLOTS + i;
	pheap_ref *root = model_slot(m->heap, slot);

	if (!root && errno != ENOENT)
		return differ(m, "root \"%s\": %s", model_root_name(i), pheap_errormsg());
	if (!root != !model->root[i])
		return differ(m, "root \"%s\" is %s", model_root_name(i),
			      root ? "there" : "not there");
	return !root ||
	       match_slot(m, slot, *root, model->slot[slot], mixed ? mixed->slot[slot] : NULL);
}

bool model_match(pheap_t *heap, const struct model *model, const struct model *mixed, char *what,
		 size_t room)
{
	struct match m = {.heap = heap, .what = what, .room = room};
	pheap_ref root = *pheap_root(heap);
	const char *differs;

	if (!model->exists)
		return differ(&m, "there is a pool");
	if (!root != !model->table)
		return differ(&m, "the table is %s", root ? "there" : "not there");
	if (root && !object_at(&m, MODEL_SLOTS, root, sizeof(struct table)))
		return false;
	if (root && !match_table(&m, model, mixed))
		return false;
	if (!match_types(&m, model))
		return false;
	differs = graph_match(heap, &model->graph);
	if (differs)
		return differ(&m, "%s", differs);
	for (unsigned i = 0; i < MODEL_ROOTS; i++)
		if (!match_root(&m, model, mixed, i))
			return false;
	return true;
}

/* ---- overlap ------------------------------------------------------------------------ */

static bool overlaps(const char *a, size_t n, const char *b, size_t m)
{
	return a < b + m && b < a + n;
}

uint64_t model_overlap(pheap_t *heap, const struct model *model, const void *ptr, size_t size)
{
	const char *table = (const char *)table_of(heap);

	if (!table)
		return 0;
	if (overlaps(ptr, size, table, sizeof(struct table)))
		return pheap_ref_of(heap, table);
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		const pheap_ref *ref = model->slot[i] ? model_slot(heap, i) : NULL;

		for (const struct model_object *o = model->slot[i]; o && ref; o = o->next) {
			const char *at = pheap_ptr(heap, *ref);

			if (overlaps(ptr, size, at, o->size))
				return *ref;
			ref = (const pheap_ref *)(const void *)(at + o->link_at);
		}
	}
	return 0;
}
