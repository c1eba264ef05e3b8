/*
 * tx.c - transactions: collect, then one record.
 *
 * COMMIT, with what a crash after each step leaves
 *   1 flush what was changed in place and new objects that do not travel in the
 *     record; FENCE, if there was any: orders them before the record. Old state
 *     (undo entries roll the changes back).
 *   2 one record: content of small new objects, births and deaths of spans,
 *     bits, writes, and the end of the undo generation; FENCE: the commit point.
 *   3 DRAM states; freed objects to limbo.
 *
 * LOCKS: zone.lock where spans are born or die; stripes and lane as in record.c.
 */
#include "tx.h"

#include "types.h"

#include <stdlib.h>

#include "alloc/large.h"
#include "alloc/tcache.h"
#include "alloc/traced.h"
#include "sum.h"
#include "count.h"
#include "lane.h"
#include "record.h"
#include "target.h"

/* New objects travel in the record up to so many bytes in all; beyond that,
 * flushing them in place is cheaper than writing them twice. */
#define CONTENT_MAX 1024u

/* ---- begin and end ------------------------------------------------------------------ */

int ph_tx_usable(const struct pheap_tx *tx, const char *what)
{
	if (!tx)
		return ph_error(EINVAL, "%s: the transaction is NULL", what);
	if (!tx->open)
		return ph_error(EINVAL, "%s: the transaction has ended", what);
	return ph_heap_writable(tx->heap, what);
}

/* A handle that a thread which has ended left behind, or a new one. */
static struct pheap_tx *new_handle(struct pheap *heap)
{
	struct pheap_tx *tx;

	pthread_mutex_lock(&heap->tx_lock);
	tx = heap->tx_spare;
	if (tx) {
		heap->tx_spare = tx->spare;
	} else if ((tx = calloc(1, sizeof(*tx)))) {
		tx->heap = heap;
		tx->older = heap->tx_newest;
		heap->tx_newest = tx;
	}
	pthread_mutex_unlock(&heap->tx_lock);
	return tx;
}

PHEAP_API pheap_tx_t *pheap_tx_begin(pheap_t *heap)
{
	int err = ph_heap_writable(heap, "pheap_tx_begin");
	struct ph_tcache *cache = err ? NULL : ph_tcache_get(heap);
	struct pheap_tx *tx;

	if (err)
		return ph_null_code(err);
	if (!cache)
		return NULL;
	tx = cache->tx_spare;
	if (tx)
		cache->tx_spare = tx->spare;
	else if (!(tx = new_handle(heap)))
		return ph_null(ENOMEM, "no memory for a transaction");
	cache->count.begun++;
	tx->open = true;
	__atomic_store_n(&tx->joined, cache->joined != 0, __ATOMIC_RELEASE);
	return tx;
}

/* The handle goes back to be used again; whatever it held has been dealt with. */
static ph_inline void end(struct pheap_tx *tx)
{
	struct ph_tcache *cache = ph_tcache_get(tx->heap);

	if (tx->undo.log)
		ph_undo_end(tx);
	if (ph_unlikely(tx->extension != NULL)) {
		ph_large_free(tx->heap, tx->extension, false);
		tx->extension = NULL;
	}
	tx->words = 0;
	tx->nobjects = tx->nwrites = tx->roots = tx->nlinks = 0;
	tx->counts = false;
	tx->open = false;
	if (cache) {
		cache->count.ended++;
		tx->spare = cache->tx_spare;
		cache->tx_spare = tx;
	} else { /* no memory for one: to the heap */
		pthread_mutex_lock(&tx->heap->tx_lock);
		tx->heap->count.ended++;
		tx->spare = tx->heap->tx_spare;
		tx->heap->tx_spare = tx;
		pthread_mutex_unlock(&tx->heap->tx_lock);
	}
}

bool ph_tx_open(struct pheap *heap)
{
	struct ph_count sum = {0};

	ph_tcache_sum(heap, &sum);
	return sum.begun != sum.ended;
}

void ph_tx_hand_over(struct ph_tcache *cache)
{
	struct pheap *heap = cache->heap;

	pthread_mutex_lock(&heap->tx_lock);
	while (cache->tx_spare) {
		struct pheap_tx *tx = cache->tx_spare;

		cache->tx_spare = tx->spare;
		tx->spare = heap->tx_spare;
		heap->tx_spare = tx;
	}
	pthread_mutex_unlock(&heap->tx_lock);
}

void ph_tx_delete_all(struct pheap *heap)
{
	while (heap->tx_newest) {
		struct pheap_tx *tx = heap->tx_newest;

		heap->tx_newest = tx->older;
		ph_undo_free(&tx->undo);
		free(tx->objects);
		free(tx->writes);
		free(tx->links);
		free(tx);
	}
}

/* ---- room for the record ------------------------------------------------------------- */

/* Entry words for the birth of a span: four of its descriptor, and at most
 * four words in each line of the tree's path, for both ends. */
#define SPAN_WORDS (2u * (4 + 2 * 4 * 5))
/* The entry that ends the undo generation. */
#define END_WORDS 2u

static uint32_t slots_of(const struct pheap *heap, const struct ph_object *object)
{
	const struct ph_slab *slab = object->slab;
	const struct pheap_type *type = ph_type(heap, slab->type);

	return type ? (type->nrefs + type->nweak) * (uint32_t)ph_type_elements(type, slab->size)
		    : 0;
}

static uint32_t object_words(const struct pheap *heap, const struct ph_object *object, bool dies)
{
	const struct ph_slab *slab = object->slab;
	uint32_t words = 1;

	if (!dies && !__atomic_load_n(&slab->born, __ATOMIC_ACQUIRE))
		words += SPAN_WORDS;
	if (!dies && slab->size <= PHEAP_INLINE_MAX)
		words += 1 + (uint32_t)slab->size / 8;
	if (ph_is_counted(object)) /* its own word, and those of what it may refer to */
		words += PH_TX_COUNT_WORDS + 2 * slots_of(heap, object);
	return words;
}

/*
 * Make sure that the commit will find room for so many entry words more: beyond
 * what fits in a ring, a span is kept. So the call that asks for too much fails,
 * not the commit.
 */
static __attribute__((noinline)) int reserve_extension(struct pheap_tx *tx, uint64_t bytes)
{
	struct ph_slab *span;
	int err = ph_large_reserve(tx->heap, 0, 2 * bytes, &span);

	if (err == -ENOSPC)
		err = ph_large_reserve(tx->heap, 0, bytes, &span);
	if (err)
		return err;
	if (tx->extension)
		ph_large_free(tx->heap, tx->extension, false);
	tx->extension = span;
	return 0;
}

int ph_tx_reserve_words(struct pheap_tx *tx, uint64_t more)
{
	uint64_t words = tx->words + more + END_WORDS, bytes = words * 8 + PM_LINE;
	int err;

	if (ph_unlikely(words > PH_REC_RING_WORDS) &&
	    (!tx->extension || tx->extension->size < bytes) && ph_logs(&tx->heap->pm) &&
	    (err = reserve_extension(tx, bytes)))
		return err;
	tx->words += more;
	return 0;
}

/* ---- objects -------------------------------------------------------------------------- */

/* Room for one more; NULL: no memory. It is looked up in place: a copy of what was
 * stored just now, several words at a time, would wait for the fence before. */
static struct ph_tx_object *next_object(struct pheap_tx *tx)
{
	if (ph_unlikely(tx->nobjects == tx->objects_cap)) {
		uint32_t cap = tx->objects_cap ? 2 * tx->objects_cap : 8;
		void *grown = realloc(tx->objects, cap * sizeof(*tx->objects));

		if (!grown)
			return ph_null(ENOMEM, "no memory for another object of a transaction");
		tx->objects = grown;
		tx->objects_cap = cap;
	}
	return &tx->objects[tx->nobjects];
}

/* own: the next one, looked up. */
static ph_inline int add_object(struct pheap_tx *tx, struct ph_tx_object *own, bool dies)
{
	uint32_t words = object_words(tx->heap, &own->object, dies);
	int err = ph_tx_reserve_words(tx, words);

	if (err)
		return err;
	own->words = words;
	own->dies = dies;
	tx->counts |= ph_is_counted(&own->object);
	tx->nobjects++;
	ph_set_state(ph_state_of(&own->object), dies ? PH_DYING : PH_TX);
	return 0;
}

static ph_inline int adopt(struct pheap_tx *tx, const char *what, void *ptr)
{
	struct ph_tx_object *own = next_object(tx);
	int err = own ? ph_reserved_find(tx->heap, what, ptr, &own->object) : -ENOMEM;

	return err ? err : add_object(tx, own, false);
}

PHEAP_API int pheap_tx_adopt(pheap_tx_t *tx, void *ptr)
{
	int err = ph_tx_usable(tx, "pheap_tx_adopt");

	return err ? err : adopt(tx, "pheap_tx_adopt", ptr);
}

PHEAP_API void *pheap_tx_alloc(pheap_tx_t *tx, size_t size)
{
	int err = ph_tx_usable(tx, "pheap_tx_alloc");
	void *ptr;

	if (err)
		return ph_null_code(err);
	ptr = pheap_alloc(tx->heap, size);
	if (ptr && (err = adopt(tx, "pheap_tx_alloc", ptr))) {
		pheap_free(tx->heap, ptr);
		return ph_null_code(err);
	}
	return ptr;
}

PHEAP_API void *pheap_tx_zalloc(pheap_tx_t *tx, size_t size)
{
	void *ptr = pheap_tx_alloc(tx, size);

	if (ptr)
		memset(ptr, 0, size);
	return ptr;
}

/* From the newest on: that is the one a program is filling. */
struct ph_tx_object *ph_tx_find_own(struct pheap_tx *tx, uint64_t start)
{
	for (uint32_t i = tx->nobjects; i--;)
		if (!tx->objects[i].dies && tx->objects[i].object.start == start)
			return &tx->objects[i];
	return NULL;
}

int ph_tx_not_own(const char *what)
{
	return ph_error(EINVAL, "%s: the object belongs to another transaction", what);
}

/* An object of the transaction's own is given back at once. */
static int drop_own(struct pheap_tx *tx, const char *what, const struct ph_object *object)
{
	struct ph_tx_object *own = ph_tx_find_own(tx, object->start);

	if (!own)
		return ph_tx_not_own(what);
	tx->words -= own->words;
	*own = tx->objects[--tx->nobjects];
	ph_set_state(ph_state_of(object), PH_RESERVED);
	return pheap_free(tx->heap, ph_at(tx->heap, object->start));
}

static ph_inline int free_object(struct pheap_tx *tx, const char *what, uint64_t offset)
{
	struct ph_tx_object *own = next_object(tx);
	struct ph_object *object;
	int err;

	if (!own)
		return -ENOMEM;
	object = &own->object;
	if (!ph_object_find(tx->heap, offset, object) || object->start != offset)
		return ph_error(EINVAL, "%s: offset %#llx is not the start of an object", what,
				(unsigned long long)offset);
	if (ph_is_counted(object) && ph_state(object) == PH_PUBLISHED)
		return ph_error(EINVAL,
				"%s: references to the object are counted: it is freed when "
				"the last one goes (pheap_tx_link)",
				what);
	if (ph_traced_permanent(tx->heap, object)) {
		err = ph_undo_guards(tx->heap, tx, object);
		return err ? err : add_object(tx, own, true);
	}
	switch (ph_state(object)) {
	case PH_TX:
		return drop_own(tx, what, object);
	case PH_DYING:
		return ph_error(EINVAL, "%s: a transaction frees the object already", what);
	case PH_RESERVED:
		return ph_error(EINVAL, "%s: the object is not published: use pheap_free()", what);
	default:
		return ph_error(EINVAL, "%s: the object is free already", what);
	}
}

PHEAP_API int pheap_tx_free(pheap_tx_t *tx, void *ptr)
{
	int err = ph_tx_usable(tx, "pheap_tx_free");

	return err ? err : free_object(tx, "pheap_tx_free", ph_off(tx->heap, ptr));
}

/* ---- redo writes ------------------------------------------------------------------------- */

/* One write: place and length, then the data in whole words. */
struct write {
	struct ph_slab *slab; /* NULL: a root */
	uint64_t offset, length;
	uint64_t data[];
};

static uint64_t write_words(uint64_t length)
{
	return sizeof(struct write) / 8 + (length + 7) / 8;
}

/* 1 GiB: what a record can hold, with room to spare. */
#define WRITES_MAX (UINT64_C(1) << 27)

static ph_inline int add_write(struct pheap_tx *tx, const struct ph_target *target, const void *src,
			       uint64_t length)
{
	uint64_t needed = tx->nwrites + write_words(length), cap = tx->writes_cap;
	struct write *write;
	int err;

	if (needed > WRITES_MAX)
		return ph_error(ENOSPC,
				"the redo writes of a transaction are limited to 1 GiB: use "
				"snapshots for so much");
	err = ph_tx_reserve_words(tx, length / 8 + length / 256 + 2);
	if (err)
		return err;
	if (needed > cap) {
		void *grown;

		for (cap = cap ? cap : 32; cap < needed;)
			cap *= 2;
		grown = realloc(tx->writes, cap * 8);
		if (!grown)
			return ph_error(ENOMEM, "no memory for a transaction's writes");
		tx->writes = grown;
		tx->writes_cap = (uint32_t)cap;
	}
	write = (struct write *)&tx->writes[tx->nwrites];
	write->slab = target->place == PH_IN_ROOT ? NULL : target->object.slab;
	tx->roots += !write->slab;
	if (write->slab)
		ph_traced_log(&target->object);
	write->offset = target->offset;
	write->length = length;
	if (ph_likely(length == 8))
		memcpy(write->data, src, 8);
	else
		memcpy(write->data, src, length);
	tx->nwrites = (uint32_t)needed;
	return 0;
}

static ph_inline int write_target(struct pheap_tx *tx, const char *what,
				  const struct ph_target *target, void *dst, const void *src,
				  size_t length)
{
	int err;

	switch (target->place) {
	case PH_IN_TX: /* not visible to anyone yet: commit makes it durable */
		if (!ph_tx_find_own(tx, target->object.start))
			return ph_tx_not_own(what);
		memmove(dst, src, length);
		return 0;
	case PH_IN_RESERVED:
		return ph_error(EINVAL,
				"%s: %p lies in a reserved object: let the transaction adopt "
				"it, or store into it directly",
				what, dst);
	default:
		err = ph_count_plain(tx->heap, what, target, length);
		return err ? err : add_write(tx, target, src, length);
	}
}

PHEAP_API int pheap_tx_set(pheap_tx_t *tx, uint64_t *word, uint64_t value)
{
	struct ph_target target;
	int err = ph_tx_usable(tx, "pheap_tx_set");

	if (!err)
		err = ph_word_find(tx->heap, "pheap_tx_set", word, &target);
	return err ? err : write_target(tx, "pheap_tx_set", &target, word, &value, sizeof(value));
}

PHEAP_API int pheap_tx_write(pheap_tx_t *tx, void *dst, const void *src, size_t length)
{
	struct ph_target target;
	int err = ph_tx_usable(tx, "pheap_tx_write");

	if (err || !length)
		return err;
	err = ph_target_find(tx->heap, "pheap_tx_write", dst, length, &target);
	return err ? err : write_target(tx, "pheap_tx_write", &target, dst, src, length);
}

PHEAP_API int pheap_tx_retire(pheap_tx_t *tx, pheap_ref *slot)
{
	struct ph_target target;
	struct ph_object object;
	uint64_t ref, zero = 0;
	uint32_t writes;
	int err = ph_tx_usable(tx, "pheap_tx_retire");

	if (!err)
		err = ph_word_find(tx->heap, "pheap_tx_retire", slot, &target);
	if (err)
		return err;
	ref = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	if (!ref)
		return ph_error(ENOENT, "pheap_tx_retire: the slot is null");
	if (ph_object_find(tx->heap, ref, &object) && ph_is_counted(&object))
		return pheap_tx_link(tx, slot, PHEAP_NULL);
	writes = tx->nwrites;
	err = write_target(tx, "pheap_tx_retire", &target, slot, &zero, sizeof(zero));
	if (!err && (err = free_object(tx, "pheap_tx_retire", ref))) {
		tx->nwrites = writes;
		if (target.place == PH_IN_TX)
			*slot = ref;
	}
	return err;
}

/* ---- abort ---------------------------------------------------------------------------------- */

/* U4: the record that ends the undo generation, with whatever else is in it. */
static void add_undo_end(struct ph_rec *rec, const struct pheap_tx *tx)
{
	if (tx->undo.n)
		ph_rec_word(rec, tx->undo.log->head, ph_seal(tx->undo.gen));
}

static int roll_back(struct pheap_tx *tx)
{
	struct ph_rec rec;
	int err;

	if (!tx->undo.n)
		return 0;
	ph_rec_init(&rec, tx->heap, tx);
	err = rec.error;
	if (!err)
		err = ph_undo_restore(tx, rec.count);
	if (!err) {
		add_undo_end(&rec, tx);
		err = ph_rec_lock(&rec);
	}
	if (!err)
		err = ph_rec_commit(&rec);
	ph_rec_fini(&rec);
	return err;
}

void ph_tx_disown(struct pheap_tx *tx)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < tx->nobjects; i++) {
		if (tx->objects[i].dies)
			tx->objects[kept++] = tx->objects[i];
		else
			ph_set_state(ph_state_of(&tx->objects[i].object), PH_RESERVED);
	}
	tx->nobjects = kept;
}

static int abort_tx(struct pheap_tx *tx)
{
	int err = roll_back(tx);

	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];

		ph_set_state(ph_state_of(&own->object), own->dies ? PH_PUBLISHED : PH_RESERVED);
		if (!own->dies)
			pheap_free(tx->heap, ph_at(tx->heap, own->object.start));
	}
	end(tx);
	return err;
}

PHEAP_API int pheap_tx_abort(pheap_tx_t *tx)
{
	int err;

	if (!tx)
		return 0;
	err = ph_heap_usable(tx->heap, "pheap_tx_abort");
	if (!err && !tx->open)
		err = ph_error(EINVAL, "pheap_tx_abort: the transaction has ended");
	return err ? err : abort_tx(tx);
}

/* ---- commit -----------------------------------------------------------------------------------
 */

/* What a commit has to do, from one look at its objects. */
struct plan {
	bool fits;  /* all small new objects together travel in the record */
	bool flush; /* others do not */
	bool spans; /* the record contains the birth or death of a span */
	bool frees;
};

static struct plan make_plan(const struct pheap_tx *tx)
{
	struct plan plan = {.fits = ph_logs(&tx->heap->pm)};
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];
		const struct ph_slab *slab = own->object.slab;

		plan.spans |= slab->kind == PM_KIND_LARGE;
		if (own->dies) {
			plan.frees = true;
			continue;
		}
		plan.spans |= !__atomic_load_n(&slab->born, __ATOMIC_ACQUIRE);
		if (slab->size <= PHEAP_INLINE_MAX)
			bytes += slab->size;
		else
			plan.flush = true;
	}
	plan.fits &= bytes <= CONTENT_MAX;
	plan.flush |= bytes && !plan.fits;
	return plan;
}

static bool in_record(const struct ph_tx_object *own, bool fits)
{
	return fits && own->object.slab->size <= PHEAP_INLINE_MAX;
}

/* Step 1. */
static int make_durable(struct pheap_tx *tx, struct ph_count *count, const struct plan *plan)
{
	struct pheap *heap = tx->heap;

	if (ph_likely(!plan->flush && !tx->undo.saved.n))
		return 0;
	ph_undo_flush(tx, count);
	for (uint32_t i = 0; plan->flush && i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];

		if (!own->dies && !in_record(own, plan->fits))
			ph_flush(&heap->pm, count, ph_at(heap, own->object.start),
				 own->object.slab->size);
	}
	return ph_fence(&heap->pm, count);
}

/* Under zone.lock. `pending` keeps a slab of several new objects from being added
 * twice; `born` must not be seen before the record is committed. */
static void add_spans(struct ph_rec *rec, const struct pheap_tx *tx)
{
	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];
		struct ph_slab *slab = own->object.slab;

		if (!own->dies && !slab->born && !slab->pending) {
			ph_span_birth(rec, slab);
			slab->pending = 1;
		}
	}
}

/* Under zone.lock: what add_spans() marked is born now, or is not. */
static void finish_spans(const struct pheap_tx *tx, bool committed)
{
	for (uint32_t i = 0; i < tx->nobjects; i++) {
		struct ph_slab *slab = tx->objects[i].object.slab;

		if (slab->pending) {
			slab->pending = 0;
			__atomic_store_n(&slab->born, committed, __ATOMIC_RELEASE);
		}
	}
}

/* Step 2: content, spans, bits, counts, writes. */
static int build(struct ph_rec *rec, struct pheap_tx *tx, const struct plan *plan,
		 struct ph_counting *counting)
{
	int err = 0;

	for (uint32_t i = 0; i < tx->nobjects; i++)
		if (!tx->objects[i].dies && in_record(&tx->objects[i], plan->fits))
			ph_rec_content(rec, tx->objects[i].object.start,
				       tx->objects[i].object.slab->size);
	if (plan->spans)
		add_spans(rec, tx);
	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];

		ph_rec_object(rec, &own->object, !own->dies);
	}
	if (ph_unlikely(tx->counts))
		err = ph_tx_build_counts(rec, tx, counting);
	for (uint32_t i = 0; i < tx->nwrites;) {
		const struct write *write = (const struct write *)&tx->writes[i];

		if (write->length == 8 && write->offset % 8 == 0)
			ph_rec_word(rec, write->offset, write->data[0]);
		else
			ph_rec_bytes(rec, write->offset, write->data, write->length);
		i += (uint32_t)write_words(write->length);
	}
	add_undo_end(rec, tx);
	return err;
}

/* With stripes and lane held: see ph_touch(), and set_states() in publish.c. */
static void set_states(const struct pheap_tx *tx, bool fits)
{
	for (uint32_t i = 0; i < tx->nwrites;) {
		const struct write *write = (const struct write *)&tx->writes[i];

		if (write->slab)
			ph_touch(tx->heap, write->slab);
		i += (uint32_t)write_words(write->length);
	}
	for (uint32_t i = 0; i < tx->nobjects; i++) {
		const struct ph_tx_object *own = &tx->objects[i];

		if (!own->dies && in_record(own, fits))
			ph_touch(tx->heap, own->object.slab);
		ph_set_state(ph_state_of(&own->object), own->dies ? PH_LIMBO : PH_PUBLISHED);
	}
}

/* Under stripes and lane: what may have changed since the operation was asked for. */
static int verify(struct pheap_tx *tx, const struct plan *plan)
{
	int err = 0;

	for (uint32_t i = 0; tx->roots && i < tx->nwrites;) {
		const struct write *write = (const struct write *)&tx->writes[i];

		if (!write->slab && !ph_root_exists(tx->heap, write->offset))
			return ph_error(EINVAL,
					"pheap_tx_commit: a root that is written to was dropped");
		i += (uint32_t)write_words(write->length);
	}
	for (uint32_t i = 0; plan->frees && i < tx->nobjects && !err; i++)
		if (tx->objects[i].dies)
			err = ph_undo_guards(tx->heap, tx, &tx->objects[i].object);
	return err;
}

static ph_inline int try_commit(struct ph_rec *rec, struct pheap_tx *tx, const struct plan *plan,
				struct ph_counting *counting)
{
	int err = build(rec, tx, plan, counting);

	if (!err)
		err = ph_rec_lock(rec);
	if (err)
		return err;
	err = verify(tx, plan);
	if (!err && ph_unlikely(tx->counts))
		err = ph_tx_verify_counts(tx, counting);
	if (err) {
		ph_rec_unlock(rec);
		return err;
	}
	set_states(tx, plan->fits);
	if (ph_unlikely(tx->counts))
		ph_tx_count_states(tx, counting);
	return ph_rec_commit(rec);
}

static __attribute__((noinline)) int commit_counts(struct ph_rec *rec, struct pheap_tx *tx,
						   const struct plan *plan)
{
	struct ph_counting counting;
	int err;

	for (;;) {
		ph_counting_init(&counting, rec);
		err = try_commit(rec, tx, plan, &counting);
		if (err != -EAGAIN)
			break;
		ph_counting_fini(&counting);
		if (plan->spans)
			finish_spans(tx, false);
		ph_rec_again(rec);
	}
	if (!err)
		ph_counting_done(&counting);
	ph_counting_fini(&counting);
	return err;
}

static int commit_record(struct ph_rec *rec, struct pheap_tx *tx, const struct plan *plan)
{
	struct pheap *heap = tx->heap;
	int err;

	if (plan->spans)
		pthread_mutex_lock(&heap->zone.lock);
	err = ph_unlikely(tx->counts) ? commit_counts(rec, tx, plan)
				      : try_commit(rec, tx, plan, NULL);
	if (plan->spans) {
		finish_spans(tx, !err);
		pthread_mutex_unlock(&heap->zone.lock);
	}
	return err;
}

static bool is_empty(const struct pheap_tx *tx)
{
	return !tx->nobjects && !tx->nwrites && !tx->undo.n && !tx->nlinks;
}

/* Step 3. */
static void retire_freed(struct pheap_tx *tx, struct ph_tcache *cache)
{
	for (uint32_t i = 0; i < tx->nobjects; i++)
		if (tx->objects[i].dies)
			ph_tcache_retire(tx->heap, cache, &tx->objects[i].object);
}

PHEAP_API int pheap_tx_commit(pheap_tx_t *tx)
{
	struct ph_rec rec;
	struct plan plan;
	struct pheap *heap;
	bool counts;
	int err = ph_tx_usable(tx, "pheap_tx_commit");

	if (err) {
		if (tx && tx->open && !tx->heap->forked)
			abort_tx(tx);
		return err;
	}
	if (is_empty(tx)) {
		end(tx);
		return 0;
	}
	heap = tx->heap;
	counts = tx->counts;
	ph_rec_init(&rec, tx->heap, tx);
	err = rec.error;
	if (ph_unlikely(tx->extension != NULL)) {
		rec.room = tx->extension;
		tx->extension = NULL;
	}
	plan = make_plan(tx);
	if (!err)
		err = make_durable(tx, rec.count, &plan);
	if (!err)
		err = commit_record(&rec, tx, &plan);
	if (!err && plan.frees)
		retire_freed(tx, rec.cache);
	ph_rec_fini(&rec);
	if (err == -EIO)
		end(tx); /* the outcome is unknown, and the heap read-only */
	else if (err)
		abort_tx(tx);
	else
		end(tx);
	if (!err && ph_unlikely(counts))
		ph_count_drain_some(heap);
	return err;
}
