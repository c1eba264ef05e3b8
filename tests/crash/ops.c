/*
 * ops.c - single operations.
 */
#include "ops.h"

#include <errno.h>
#include <string.h>

#include "random.h"
#include "traced.h"

uint64_t dice(struct run *run, uint64_t n)
{
	return random_below(&run->random, n);
}

/* Calls give NULL and errno, or a negative code; op_end() takes the latter. */
static int code_of(const void *result)
{
	return result ? 0 : errno ? -errno : -EIO;
}

static void edit_slot(struct run *run, unsigned slot, struct model_object *object)
{
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = object});
}

static struct model_object *pattern(struct run *run, size_t size)
{
	return model_pattern(&run->store, size, random_next(&run->random));
}

static char *object_ptr(const struct run *run, unsigned slot)
{
	return pheap_ptr(run->heap, *model_slot(run->heap, slot));
}

/* The library filled the object in a slot while it was still reserved. */
static int filled(struct run *run, pheap_ref *slot, int err)
{
	void *ptr = pheap_ptr(run->heap, *slot);

	if (!err)
		run_absorb(run, ptr, pheap_usable_size(run->heap, ptr));
	return err;
}

/* ---- the pool ----------------------------------------------------------------- */

void op_create(struct run *run)
{
	if (!op_begin(run, "create", 0, 0))
		return;
	op_edit(run, &(struct model_edit){.kind = MODEL_EXISTS});
	op_go(run);
	run->heap = run_create_heap(run);
	op_end(run, code_of(run->heap));
}

void op_table(struct run *run)
{
	int err;

	if (!op_begin(run, "table", 0, 0))
		return;
	op_edit(run, &(struct model_edit){.kind = MODEL_TABLE});
	op_go(run);
	if (run->rig->typed)
		err = traced_table(run);
	else
		err = pheap_alloc_into(run->heap, pheap_root(run->heap), sizeof(struct table),
				       NULL);
	op_end(run, filled(run, pheap_root(run->heap), err));
}

/* Opened, and all of it flushed, or never to be flushed. */
static void opened(struct run *run)
{
	if (run->heap)
		run->unflushed = run->process;
}

bool op_open(struct run *run)
{
	if (!op_begin(run, run->process ? "open, PROCESS" : "open", 0, 0))
		return false;
	run->unflushed |= run->process;
	run->heap = run_open_heap(run);
	opened(run);
	if (!op_end(run, code_of(run->heap)))
		return false;
	return oracle_verify(run);
}

bool op_open_process(struct run *run)
{
	bool ok;

	run->process = true;
	ok = op_open(run);
	run->sim->silent = run->process;
	return ok;
}

/* Processes are killed in the open, at its first call of the hook, its second, and so on,
 * until one gets through. */
static void open_killed(struct run *run, struct killer *killer)
{
	volatile uint64_t call = 0;

	setjmp(killer->death);
	kill_forget(run->sim);
	killer->calls = ++call;
	run->heap = run_open_heap(run);
	killer->calls = 0;
}

void op_inherit(struct run *run, bool process, struct killer *killer)
{
	char what[256];

	kill_forget(run->sim);
	sim_absorb_all(run->sim);
	if (run->heap)
		ph_pool_abandon(run->heap);
	run->heap = NULL;
	memset(run->held, 0, sizeof(run->held));
	run->process = run->sim->silent = process;
	if (killer)
		open_killed(run, killer);
	else
		run->heap = run_open_heap(run);
	opened(run);
	if (!run->heap)
		run_fail(run, "open: %s", pheap_errormsg());
	else if (!run->in_flight || !model_match(run->heap, &run->next, NULL, what, sizeof(what)))
		run->next = run->now;
	if (op_end(run, 0))
		oracle_verify(run);
}

void op_cut(struct run *run)
{
	if (!op_begin(run, "cut", 0, 0))
		return;
	memset(run->held, 0, sizeof(run->held));
	ph_pool_abandon(run->heap);
	sim_reset(run->sim, run->sim->durable);
	run->op_mark = 0;
	run->heap = run_open_heap(run);
	if (op_end(run, code_of(run->heap)))
		oracle_verify(run);
}

static bool durably_clean(const struct run *run)
{
	return ((const struct pm_state *)(const void *)(run->sim->durable + PM_STATE))->status ==
	       PM_STATUS_CLEAN;
}

void op_close(struct run *run)
{
	int err;

	if (run->rig->traced) /* what is allocated stays so */
		op_unreserve_all(run);
	if (!op_begin(run, "close", 0, 0))
		return;
	memset(run->held, 0, sizeof(run->held));
	run->process = false;
	if (run->sim)
		run->sim->silent = false;
	err = pheap_close(run->heap);
	if (err != -EBUSY) /* gone, also where the last write-back failed */
		run->heap = NULL;
	if (!err)
		run->unflushed = false;
	if (op_end(run, err) && run->sim && !durably_clean(run))
		run_fail(run, "the pool was closed, and a power cut leaves it in use");
}

/* ---- reserved memory -------------------------------------------------------------- */

static int hold(struct run *run, void *ptr, size_t size)
{
	for (int i = 0; i < (int)RUN_HELD; i++) {
		if (run->held[i].ptr)
			continue;
		run->held[i].ptr = ptr;
		run->held[i].size = size;
		return i;
	}
	run_fail(run, "the test holds too many objects");
	return -1;
}

/* What was handed out must lie apart from everything published or reserved. */
static bool check_apart(struct run *run, const char *ptr, size_t size)
{
	uint64_t at = model_overlap(run->heap, &run->now, ptr, size);

	for (unsigned i = 0; i < RUN_HELD && !at; i++)
		if (run->held[i].ptr && ptr < run->held[i].ptr + run->held[i].size &&
		    run->held[i].ptr < ptr + size)
			at = pheap_ref_of(run->heap, run->held[i].ptr);
	if (at)
		run_fail(run, "%zu bytes were handed out at %#llx and overlap the object at %#llx",
			 size, (unsigned long long)pheap_ref_of(run->heap, ptr),
			 (unsigned long long)at);
	return !at;
}

/* A reserved object of a size, filled with the bytes of a model object. */
static char *reserve(struct run *run, size_t size)
{
	char *ptr;

	errno = 0;
	ptr = pheap_alloc(run->heap, size);
	return ptr && check_apart(run, ptr, size) ? ptr : NULL;
}

static int reserved(struct run *run, char *ptr, size_t size)
{
	if (!op_end(run, code_of(ptr)) || !check_apart(run, ptr, size))
		return -1;
	return hold(run, ptr, size);
}

int op_reserve(struct run *run, size_t size)
{
	char *ptr;

	if (!op_begin(run, "alloc", size, 0))
		return -1;
	errno = 0;
	ptr = pheap_alloc(run->heap, size);
	if (ptr && check_apart(run, ptr, size))
		run_put(run, ptr, pattern(run, size)->bytes, size);
	return reserved(run, ptr, size);
}

int op_zalloc(struct run *run, size_t size)
{
	char *ptr;

	if (!op_begin(run, "zalloc", size, 0))
		return -1;
	errno = 0;
	ptr = pheap_zalloc(run->heap, size);
	if (ptr)
		run_absorb(run, ptr, size);
	for (size_t i = 0; ptr && i < size; i++)
		if (ptr[i])
			run_fail(run, "byte %zu of %zu from pheap_zalloc is not zero", i, size);
	return reserved(run, ptr, size);
}

int op_aligned(struct run *run, size_t alignment, size_t size)
{
	char *ptr;

	if (!op_begin(run, "aligned_alloc", size, alignment))
		return -1;
	errno = 0;
	ptr = pheap_aligned_alloc(run->heap, alignment, size);
	if (pheap_ref_of(run->heap, ptr) % alignment)
		run_fail(run, "an object is not aligned to %zu bytes", alignment);
	if (ptr && check_apart(run, ptr, size))
		run_put(run, ptr, pattern(run, size)->bytes, size);
	return reserved(run, ptr, size);
}

void op_unreserve(struct run *run, int held)
{
	if (held < 0 || !op_begin(run, "free", run->held[held].size, 0))
		return;
	op_end(run, pheap_free(run->heap, run->held[held].ptr));
	run->held[held].ptr = NULL;
}

void op_unreserve_all(struct run *run)
{
	for (int i = 0; i < (int)RUN_HELD; i++)
		if (run->held[i].ptr)
			op_unreserve(run, i);
}

void op_purge(struct run *run, unsigned flags)
{
	if (op_begin(run, "purge", flags, 0))
		op_end(run, pheap_purge(run->heap, flags));
}

void op_realloc(struct run *run, int held, size_t size)
{
	char *ptr;

	if (held < 0 || !op_begin(run, "realloc", run->held[held].size, size))
		return;
	errno = 0;
	ptr = pheap_realloc(run->heap, run->held[held].ptr, size);
	if (ptr) {
		run->held[held].ptr = NULL; /* before the test for overlaps */
		run_absorb(run, ptr, size);
	}
	if (op_end(run, code_of(ptr)) && check_apart(run, ptr, size)) {
		run->held[held].ptr = ptr;
		run->held[held].size = size;
	}
}

/* ---- publish, retire, replace, resize --------------------------------------------- */

static bool publish(struct run *run, unsigned slot, struct model_object *object, unsigned flags)
{
	size_t size = object->size;
	char *ptr = reserve(run, size);
	int err;

	if (!ptr)
		return op_end(run, code_of(ptr));
	run_put(run, ptr, object->bytes, size);
	err = flags & PHEAP_PERSISTED ? pheap_persist(run->heap, ptr, size) : 0;
	edit_slot(run, slot, object);
	op_go(run);
	if (!err)
		err = pheap_publish(run->heap, model_slot(run->heap, slot), ptr, flags);
	if (err == -ENOSPC && run->tolerant)
		pheap_free(run->heap, ptr);
	return op_end(run, err);
}

bool op_publish(struct run *run, unsigned slot, size_t size, unsigned flags)
{
	return op_begin(run, flags & PHEAP_PERSISTED ? "publish persisted" : "publish", slot,
			size) &&
	       publish(run, slot, pattern(run, size), flags);
}

bool op_alloc_into(struct run *run, unsigned slot, size_t size, bool zero)
{
	struct model_object *object;
	pheap_ref *ref;
	int err;

	if (!op_begin(run, zero ? "alloc_into zero" : "alloc_into", slot, size))
		return false;
	object = pattern(run, size);
	if (zero)
		memset(object->bytes, 0, size);
	edit_slot(run, slot, object);
	op_go(run);
	ref = model_slot(run->heap, slot);
	err = pheap_alloc_into(run->heap, ref, size, zero ? NULL : object->bytes);
	return op_end(run, filled(run, ref, err));
}

void op_retire(struct run *run, unsigned slot)
{
	if (!op_begin(run, "retire", slot, 0))
		return;
	edit_slot(run, slot, NULL);
	op_go(run);
	op_end(run, pheap_retire(run->heap, model_slot(run->heap, slot)));
}

void op_retire_busy(struct run *run, unsigned slot)
{
	int err;

	if (!op_begin(run, "retire busy", slot, 0))
		return;
	edit_slot(run, slot, NULL);
	op_go(run);
	err = pheap_retire(run->heap, model_slot(run->heap, slot));
	if (err == -EINVAL) {
		run->next = run->now;
		err = 0;
	}
	op_end(run, err);
}

bool op_replace(struct run *run, unsigned slot, size_t size, unsigned flags)
{
	struct model_object *object;
	char *ptr;
	int err;

	if (!op_begin(run, flags & PHEAP_PERSISTED ? "replace persisted" : "replace", slot, size))
		return false;
	ptr = reserve(run, size);
	if (!ptr)
		return op_end(run, code_of(ptr));
	object = pattern(run, size);
	run_put(run, ptr, object->bytes, size);
	err = flags & PHEAP_PERSISTED ? pheap_persist(run->heap, ptr, size) : 0;
	edit_slot(run, slot, object);
	op_go(run);
	if (!err)
		err = pheap_replace(run->heap, model_slot(run->heap, slot), ptr, flags);
	if (err == -ENOSPC && run->tolerant)
		pheap_free(run->heap, ptr);
	return op_end(run, err);
}

bool op_resize(struct run *run, unsigned slot, size_t size)
{
	const struct model_object *old = run->now.slot[slot];
	struct model_object *object;
	pheap_ref *ref;
	int err;

	if (!op_begin(run, "resize", slot, size))
		return false;
	object = pattern(run, size);
	object->known = old->known < size ? old->known : size;
	memcpy(object->bytes, old->bytes, object->known);
	edit_slot(run, slot, object);
	op_go(run);
	ref = model_slot(run->heap, slot);
	err = pheap_resize(run->heap, ref, size);
	return op_end(run, filled(run, ref, err));
}

/* ---- changes in place ------------------------------------------------------------------ */

/* New bytes for a range of the object in a slot. */
static const char *edit_bytes(struct run *run, unsigned slot, size_t at, size_t length)
{
	struct model_object *patch = pattern(run, length);

	op_edit(run, &(struct model_edit){
			     .kind = MODEL_BYTES, .index = slot, .object = patch, .value = at});
	return patch->bytes;
}

void op_write(struct run *run, unsigned slot, size_t at, size_t length)
{
	const char *bytes;

	if (!op_begin(run, "write", slot, length))
		return;
	bytes = edit_bytes(run, slot, at, length);
	op_go(run);
	op_end(run, pheap_write(run->heap, object_ptr(run, slot) + at, bytes, length));
}

static uint64_t *word_ptr(const struct run *run, unsigned word)
{
	struct table *table = pheap_ptr(run->heap, *pheap_root(run->heap));

	return &table->word[word];
}

static uint64_t edit_word(struct run *run, unsigned word)
{
	uint64_t value = random_next(&run->random);

	op_edit(run, &(struct model_edit){.kind = MODEL_WORD, .index = word, .value = value});
	return value;
}

void op_set(struct run *run, unsigned word)
{
	uint64_t value;

	if (!op_begin(run, "set", word, 0))
		return;
	value = edit_word(run, word);
	op_go(run);
	op_end(run, pheap_set(run->heap, word_ptr(run, word), value));
}

void op_persist(struct run *run, unsigned slot, size_t at, size_t length)
{
	const char *bytes;
	char *ptr;

	if (!op_begin(run, "persist", slot, length))
		return;
	bytes = edit_bytes(run, slot, at, length);
	run->mixed = true;
	op_go(run);
	ptr = object_ptr(run, slot) + at;
	run_put(run, ptr, bytes, length);
	op_end(run, pheap_persist(run->heap, ptr, length));
}

void op_persist_word(struct run *run, unsigned word)
{
	uint64_t value;

	if (!op_begin(run, "persist word", word, 0))
		return;
	value = edit_word(run, word);
	op_go(run);
	run_put(run, word_ptr(run, word), &value, sizeof(value));
	op_end(run, pheap_persist(run->heap, word_ptr(run, word), sizeof(value)));
}

void op_memcpy(struct run *run, unsigned slot, size_t at, size_t length)
{
	const char *bytes;
	int err;

	if (!op_begin(run, "memcpy", slot, length))
		return;
	bytes = edit_bytes(run, slot, at, length);
	run->mixed = true;
	op_go(run);
	err = pheap_memcpy(run->heap, object_ptr(run, slot) + at, bytes, length);
	run_absorb(run, object_ptr(run, slot) + at, length);
	op_end(run, err ? err : pheap_drain(run->heap));
}

/* ---- lists -------------------------------------------------------------------------------- */

/* A new first object whose link is the old one: built and linked in a transaction. */
bool op_push(struct run *run, unsigned slot, size_t size)
{
	struct model_object *object;
	pheap_ref *head;
	pheap_tx_t *tx;
	char *ptr;

	if (!op_begin(run, "push", slot, size))
		return false;
	head = model_slot(run->heap, slot);
	tx = pheap_tx_begin(run->heap);
	errno = 0;
	ptr = tx ? run->rig->typed ? traced_node(run, tx, size) : pheap_tx_alloc(tx, size) : NULL;
	if (!ptr) {
		int code = code_of(ptr);

		pheap_tx_abort(tx);
		return op_end(run, code);
	}
	object = pattern(run, size);
	object->linked = true;
	object->next = run->now.slot[slot];
	memcpy(object->bytes, head, sizeof(*head));
	if (check_apart(run, ptr, size))
		run_put(run, ptr, object->bytes, size);
	if (pheap_tx_set(tx, head, pheap_ref_of(run->heap, ptr)))
		run_fail(run, "tx_set: %s", pheap_errormsg());
	edit_slot(run, slot, object);
	op_go(run);
	return op_end(run, pheap_tx_commit(tx));
}

/* Unlink and free the first object. */
void op_pop(struct run *run, unsigned slot)
{
	pheap_ref *head, next;
	pheap_tx_t *tx;
	char *ptr;

	if (!op_begin(run, "pop", slot, 0))
		return;
	head = model_slot(run->heap, slot);
	ptr = pheap_ptr(run->heap, *head);
	memcpy(&next, ptr, sizeof(next));
	tx = pheap_tx_begin(run->heap);
	if (!tx || pheap_tx_set(tx, head, next) || pheap_tx_free(tx, ptr))
		run_fail(run, "pop: %s", pheap_errormsg());
	edit_slot(run, slot, run->now.slot[slot]->next);
	op_go(run);
	op_end(run, tx ? pheap_tx_commit(tx) : -EIO);
}

static struct model_object *relinked(struct run *run, unsigned slot, struct model_object *next)
{
	struct model_object *object = model_copy(&run->store, run->now.slot[slot]);

	object->next = next;
	return object;
}

/* Publish an object in the link of the slot's first one: a slot in an object. */
bool op_link(struct run *run, unsigned slot, size_t size)
{
	struct model_object *object;
	pheap_ref *ref;
	int err;

	if (!op_begin(run, "link", slot, size))
		return false;
	object = pattern(run, size);
	edit_slot(run, slot, relinked(run, slot, object));
	op_go(run);
	ref = (pheap_ref *)(void *)object_ptr(run, slot);
	err = pheap_alloc_into(run->heap, ref, size, object->bytes);
	return op_end(run, filled(run, ref, err));
}

void op_unlink(struct run *run, unsigned slot)
{
	if (!op_begin(run, "unlink", slot, 0))
		return;
	edit_slot(run, slot, relinked(run, slot, NULL));
	op_go(run);
	op_end(run, pheap_retire(run->heap, (pheap_ref *)(void *)object_ptr(run, slot)));
}

/* ---- links of the program's own: traced pools ---------------------------------------------- */

void op_unlink_free(struct run *run, unsigned slot)
{
	char *ptr;
	int err;

	if (!op_begin(run, "unlink and free", slot, 0))
		return;
	ptr = object_ptr(run, slot);
	edit_slot(run, slot, NULL);
	op_go(run);
	err = pheap_set(run->heap, model_slot(run->heap, slot), 0);
	op_end(run, err ? err : pheap_free(run->heap, ptr));
}

void op_relink(struct run *run, unsigned slot, size_t size)
{
	struct model_object *object;
	char *old, *ptr;
	int err;

	if (!op_begin(run, "relink", slot, size))
		return;
	old = object_ptr(run, slot);
	ptr = reserve(run, size);
	if (!ptr) {
		op_end(run, code_of(ptr));
		return;
	}
	object = pattern(run, size);
	run_put(run, ptr, object->bytes, size);
	err = pheap_persist(run->heap, ptr, size);
	edit_slot(run, slot, object);
	op_go(run);
	if (!err)
		err = pheap_set(run->heap, model_slot(run->heap, slot),
				pheap_ref_of(run->heap, ptr));
	op_end(run, err ? err : pheap_free(run->heap, old));
}

void op_lose(struct run *run, size_t size)
{
	if (op_begin(run, "lose", size, 0))
		op_end(run, code_of(pheap_alloc(run->heap, size)));
}

/* ---- moves ------------------------------------------------------------------------------ */

void op_compact(struct run *run, bool moves)
{
	struct pheap_compact_report report = {.struct_size = sizeof(report)};

	if (!op_begin(run, "compact", 0, 0))
		return;
	op_go(run);
	if (!op_end(run, pheap_compact(run->heap, NULL, &report)))
		return;
	if (moves != (report.moved > 0))
		run_fail(run, "%llu objects have moved", (unsigned long long)report.moved);
	oracle_verify(run);
}

/* The first object of a list, to which nothing else refers. */
void op_move(struct run *run, unsigned slot)
{
	pheap_ref *ref = model_slot(run->heap, slot);
	void *ptr;
	int err;

	if (!op_begin(run, "move", slot, 0))
		return;
	op_go(run);
	err = pheap_move(run->heap, &ref, 1);
	ptr = pheap_ptr(run->heap, *ref);
	if (err > 0)
		run_absorb(run, ptr, pheap_usable_size(run->heap, ptr));
	op_end(run, err > 0 ? 0 : err);
}

/* ---- named roots -------------------------------------------------------------------------- */

void op_root(struct run *run, unsigned index)
{
	if (!op_begin(run, "root", index, 0))
		return;
	op_edit(run, &(struct model_edit){.kind = MODEL_ROOT, .index = index, .value = 1});
	op_go(run);
	op_end(run, code_of(pheap_named_root(run->heap, model_root_name(index))));
}

void op_drop(struct run *run, unsigned index)
{
	if (!op_begin(run, "drop root", index, 0))
		return;
	op_edit(run, &(struct model_edit){.kind = MODEL_ROOT, .index = index, .value = 0});
	op_go(run);
	op_end(run, pheap_drop_root(run->heap, model_root_name(index)));
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static void must_refuse(struct run *run, const char *what, int code, int want)
{
	if (code != want)
		run_fail(run, "%s gave %d, not %d", what, code, want);
	else if (!*pheap_errormsg())
		run_fail(run, "%s gave no message", what);
}

static void misuse_full(struct run *run, pheap_ref *slot)
{
	char *ptr = pheap_ptr(run->heap, *slot);
	char *other = reserve(run, 64);

	if (!run->rig->traced)
		must_refuse(run, "free of a published object", pheap_free(run->heap, ptr), -EINVAL);
	must_refuse(run, "free of an interior pointer", pheap_free(run->heap, ptr + 8), -EINVAL);
	must_refuse(run, "alloc_into a full slot", pheap_alloc_into(run->heap, slot, 64, NULL),
		    -EEXIST);
	if (!other)
		return;
	must_refuse(run, "publish in a full slot", pheap_publish(run->heap, slot, other, 0),
		    -EEXIST);
	if (pheap_free(run->heap, other))
		run_fail(run, "free: %s", pheap_errormsg());
	must_refuse(run, "double free", pheap_free(run->heap, other), -EINVAL);
}

static void misuse_empty(struct run *run, pheap_ref *slot)
{
	uint64_t local = 0;

	must_refuse(run, "retire of a null slot", pheap_retire(run->heap, slot), -ENOENT);
	must_refuse(run, "resize of a null slot", pheap_resize(run->heap, slot, 64), -ENOENT);
	must_refuse(run, "set outside the pool", pheap_set(run->heap, &local, 1), -EINVAL);
	must_refuse(run, "free of foreign memory", pheap_free(run->heap, &local), -EINVAL);
}

void op_misuse(struct run *run, unsigned slot)
{
	if (!op_begin(run, "misuse", slot, 0))
		return;
	if (run->now.slot[slot])
		misuse_full(run, model_slot(run->heap, slot));
	else
		misuse_empty(run, model_slot(run->heap, slot));
	op_end(run, 0);
}
