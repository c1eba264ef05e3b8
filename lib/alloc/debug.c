/*
 * debug.c - debug mode: records, canaries, guard pages, quarantine, reports. See debug.h.
 */
#include "debug.h"

#include <sys/mman.h>
#include <unistd.h>

#include <pheap/debug.h>

#include "block.h"
#include "dram.h"
#include "span.h"
#include "tcache.h"
#include "trace.h"

/* Objects from here on are guarded by pages: their spans have room for one more. */
#define GUARD_LEAST 32768u
/* What is behind small ones: an overrun by a word or two stays within. */
#define CANARY_LEAST 16u
#define CANARY_MOST 4096u
/* Filling more would make memory resident that a program may never touch. */
#define FILL_MOST ((uint64_t)1 << 20)

#define NEW 0xa5
#define FREED 0xdf
#define CANARY 0xc9

/* Records are for objects at multiples of this: all blocks are. */
#define UNIT 16u

#define QUARANTINE_PART 16u
#define QUARANTINE_MOST ((uint64_t)16 << 20)
/* The least block: an object of a byte, and its canary. */
#define BLOCK_LEAST 32u

enum record_state {
	NONE = 0, /* nothing has begun here */
	LIVE = 1,
	HELD = 2, /* in quarantine */
	GONE = 3, /* was freed, and the allocator has it */
};

struct record {
	uint64_t size;
	uint8_t state; /* atomic */
	uint8_t guarded;
	uint32_t allocated, freed; /* traces */
	uint32_t allocated_by, freed_by;
};
_Static_assert(sizeof(struct record) == 32, "pheap/debug.h");

struct ph_debug {
	struct record *records;
	size_t records_bytes;
	bool guards;
	struct ph_traces traces;
	void (*report)(void *arg, const char *text);
	void *arg;
	const char *unsaid; /* a report that no call has failed with yet; atomic */

	uint64_t lock;
	uint64_t *held; /* offsets: a ring, the oldest at `first` */
	uint64_t first, n, room;
	uint64_t held_bytes, limit;
};

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static uint32_t thread_id(void)
{
	return (uint32_t)gettid();
}

/* ---- records ------------------------------------------------------------------------- */

static struct record *record_at(const struct pheap *heap, uint64_t offset)
{
	return &heap->debug->records[(offset - heap->zone.data) / UNIT];
}

static enum record_state state_of(const struct record *rec)
{
	return (enum record_state)__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE);
}

static void set_record(struct record *rec, enum record_state state)
{
	__atomic_store_n(&rec->state, (uint8_t)state, __ATOMIC_RELEASE);
}

/* G1. */
static bool claim(struct record *rec)
{
	uint8_t live = LIVE;

	return __atomic_compare_exchange_n(&rec->state, &live, HELD, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/*
 * The object whose block an address lies in, what is behind it included; false where no
 * block is.
 */
static bool object_around(const struct pheap *heap, const void *addr, struct ph_object *object)
{
	const struct ph_zone *zone = &heap->zone;
	uint64_t offset = ph_off(heap, addr), inside = offset - zone->data;
	struct ph_slab *slab;

	if (inside >= zone->bytes)
		return false;
	slab = __atomic_load_n(&zone->map[inside >> PM_GRANULE_SHIFT].slab, __ATOMIC_ACQUIRE);
	if (!slab || slab->kind == PM_KIND_LANE)
		return false;
	object->slab = slab;
	object->index = (uint32_t)ph_product(offset - slab->start, slab->reciprocal).quotient;
	object->start = slab->start + object->index * slab->size;
	return object->index < slab->objects;
}

/* ---- reports ---------------------------------------------------------------------------- */

/* Texts are used in turn (pheap/debug.h). */
#define TEXTS 8u

static struct ph_text *new_text(void)
{
	static struct ph_text texts[TEXTS];
	static uint32_t next;
	struct ph_text *text = &texts[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % TEXTS];

	text->length = 0;
	text->text[0] = '\0';
	return text;
}

static void add_history(struct ph_text *text, const struct pheap *heap, const struct record *rec)
{
	const struct ph_traces *traces = &heap->debug->traces;
	enum record_state state = state_of(rec);

	if (state == NONE)
		return;
	ph_text_add(text, "  allocated by thread %u:\n", rec->allocated_by);
	ph_text_add_trace(text, traces, rec->allocated);
	if (state == LIVE)
		return;
	ph_text_add(text, "  freed by thread %u:\n", rec->freed_by);
	ph_text_add_trace(text, traces, rec->freed);
}

static void add_now(struct ph_text *text, struct pheap *heap, const char *what)
{
	struct ph_traces *traces = &heap->debug->traces;

	ph_text_add(text, "  %s now by thread %u:\n", what, thread_id());
	ph_text_add_trace(text, traces, ph_trace_take(traces));
}

/* The report is made: a negative code, for those that can fail with it. */
static int report(struct pheap *heap, const struct ph_text *text)
{
	struct ph_debug *debug = heap->debug;

	if (debug->report)
		debug->report(debug->arg, text->text);
	return ph_error_text(EINVAL, text->text);
}

/* Found by a call that does not fail. */
static void keep_unsaid(struct pheap *heap)
{
	struct ph_debug *debug = heap->debug;
	const char *none = NULL;

	if (!debug->report)
		__atomic_compare_exchange_n(&debug->unsaid, &none, pheap_errormsg(), false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* err, or what was kept. */
static int say_unsaid(struct pheap *heap, int err)
{
	const char *text = NULL;

	if (!err && __atomic_load_n(&heap->debug->unsaid, __ATOMIC_RELAXED))
		text = __atomic_exchange_n(&heap->debug->unsaid, NULL, __ATOMIC_ACQ_REL);
	return text ? ph_error_text(EINVAL, text) : err;
}

/* Where an address is, in words, and what is known of that object. */
static void add_place(struct ph_text *text, const struct pheap *heap, const void *addr)
{
	struct ph_object object;
	const struct record *rec = NULL;
	uint64_t inside = 0;

	if (object_around(heap, addr, &object)) {
		rec = record_at(heap, object.start);
		inside = ph_off(heap, addr) - object.start;
	}
	if (!rec || state_of(rec) == NONE) {
		ph_text_add(text, "%p is no object of this heap\n", addr);
		return;
	}
	if (inside >= rec->size)
		ph_text_add(text, "%p lies %llu bytes behind the end of", addr,
			    (unsigned long long)(inside - rec->size));
	else
		ph_text_add(text, "%p lies %llu bytes inside", addr, (unsigned long long)inside);
	ph_text_add(text, " an object of %llu bytes at %p, %s\n", (unsigned long long)rec->size,
		    (void *)ph_at(heap, object.start),
		    state_of(rec) == LIVE ? "which is in use" : "which is free");
	add_history(text, heap, rec);
}

/* ptr is no object in use: what that is called, and what if it was one. */
static int report_pointer(struct pheap *heap, const char *what, const char *freed, const void *ptr)
{
	uint64_t inside = ph_off(heap, ptr) - heap->zone.data;
	const struct record *rec = NULL;
	struct ph_text *text = new_text();
	struct ph_object object;
	bool around = object_around(heap, ptr, &object);

	if (inside < heap->zone.bytes && inside % UNIT == 0)
		rec = record_at(heap, inside + heap->zone.data);
	/* Of what began here before other objects were, only if none is here now. */
	if (around && object.start != ph_off(heap, ptr) &&
	    state_of(record_at(heap, object.start)) == LIVE)
		rec = NULL;
	if (rec && state_of(rec) >= HELD) {
		ph_text_add(text, "%s: the object of %llu bytes at %p is free already\n", freed,
			    (unsigned long long)rec->size, ptr);
		add_history(text, heap, rec);
	} else {
		ph_text_add(text, "%s: ", what);
		add_place(text, heap, ptr);
	}
	add_now(text, heap, "given");
	return report(heap, text);
}

/* A byte of an object was changed that should not have been. */
static int report_changed(struct pheap *heap, const char *what, const struct record *rec,
			  const char *object, uint64_t at)
{
	struct ph_text *text = new_text();

	ph_text_add(text,
		    "%s: byte %llu of an object of %llu bytes at %p has been set to %#x, by "
		    "whom is not known\n",
		    what, (unsigned long long)at, (unsigned long long)rec->size,
		    (const void *)object, (unsigned)(uint8_t)object[at]);
	add_history(text, heap, rec);
	add_now(text, heap, "found");
	return report(heap, text);
}

/* ---- patterns and guards ------------------------------------------------------------------ */

/* The first of n bytes that is not as it should be; n: none. */
static uint64_t first_other(const char *bytes, uint64_t n, uint8_t value)
{
	uint64_t i = 0;

	while (i < n && (uint8_t)bytes[i] == value)
		i++;
	return i;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static uint64_t canary_bytes(const struct record *rec, const struct ph_slab *slab)
{
	if (rec->guarded)
		return round_up(rec->size, PM_PAGE) - rec->size;
	return at_most(slab->size - rec->size, CANARY_MOST);
}

/* Let all from a page of an object on be accessed, or not be. False: the system cannot. */
static bool protect(const struct ph_slab *slab, char *from, int access)
{
	return !mprotect(from, (size_t)(slab->first + slab->size - from), access);
}

static int check_canary(struct pheap *heap, const struct record *rec,
			const struct ph_object *object)
{
	const char *ptr = ph_at(heap, object->start);
	uint64_t n = canary_bytes(rec, object->slab);
	uint64_t at = first_other(ptr + rec->size, n, CANARY);

	return at < n ? report_changed(heap, "overrun", rec, ptr, rec->size + at) : 0;
}

static int check_freed(struct pheap *heap, const struct record *rec, const struct ph_object *object)
{
	const char *ptr = ph_at(heap, object->start);
	uint64_t n = at_most(rec->size, FILL_MOST), at;

	if (rec->guarded)
		return 0;
	at = first_other(ptr, n, FREED);
	if (at < n)
		return report_changed(heap, "use after free", rec, ptr, at);
	return check_canary(heap, rec, object);
}

/* No page of it can be accessed, nor takes memory; where that cannot be done it is filled. */
static void blank(struct record *rec, const struct ph_slab *slab, char *ptr)
{
	uint64_t pages = round_up(rec->size, PM_PAGE);

	if (rec->guarded && protect(slab, ptr, PROT_NONE)) {
		(void)madvise(ptr, pages, MADV_DONTNEED);
		return;
	}
	if (rec->guarded && protect(slab, ptr, PROT_READ | PROT_WRITE)) {
		rec->guarded = false;
		memset(ptr + rec->size, CANARY, canary_bytes(rec, slab));
	}
	memset(ptr, FREED, at_most(rec->size, FILL_MOST));
}

/* ---- quarantine ----------------------------------------------------------------------------- */

/* To the allocator; what was found, as a negative code. */
static int let_go(struct pheap *heap, uint64_t offset)
{
	struct record *rec = record_at(heap, offset);
	struct ph_object object;
	int err;

	if (!object_around(heap, ph_at(heap, offset), &object))
		return 0; /* HELD, so it cannot have gone */
	err = check_freed(heap, rec, &object);
	if (rec->guarded && !protect(object.slab, ph_at(heap, offset), PROT_READ | PROT_WRITE))
		return err; /* G2: it stays where it is */
	set_record(rec, GONE);
	ph_block_free(heap, &object);
	return err;
}

static uint64_t block_bytes(const struct pheap *heap, uint64_t offset)
{
	return ph_slab_at(heap, ph_at(heap, offset))->size;
}

/* Under the lock. */
static uint64_t take_oldest(struct pheap *heap)
{
	struct ph_debug *debug = heap->debug;
	uint64_t offset = debug->held[debug->first];

	debug->first = (debug->first + 1) % debug->room;
	debug->n--;
	debug->held_bytes -= block_bytes(heap, offset);
	return offset;
}

/* Let go of the oldest until no more than so many bytes are held. Returns with the lock. */
static int shrink(struct pheap *heap, uint64_t bytes)
{
	struct ph_debug *debug = heap->debug;
	int err = 0, one;

	ph_bitlock_take(&debug->lock);
	while (debug->held_bytes > bytes) {
		uint64_t offset = take_oldest(heap);

		ph_bitlock_give(&debug->lock, 0);
		one = let_go(heap, offset);
		err = one ? one : err;
		ph_bitlock_take(&debug->lock);
	}
	return err;
}

/* An object that is too large for the quarantine does not push the others out. */
static int hold(struct pheap *heap, const struct ph_object *object)
{
	struct ph_debug *debug = heap->debug;
	uint64_t bytes = object->slab->size;
	int err;

	if (bytes > debug->limit)
		return let_go(heap, object->start);
	err = shrink(heap, debug->limit - bytes);
	debug->held[(debug->first + debug->n++) % debug->room] = object->start;
	debug->held_bytes += bytes;
	ph_bitlock_give(&debug->lock, 0);
	return err;
}

static int empty(struct pheap *heap)
{
	int err = shrink(heap, 0);

	ph_bitlock_give(&heap->debug->lock, 0);
	return err;
}

/* The object is the caller's (G1). */
static int put_away(struct pheap *heap, struct record *rec, const struct ph_object *object)
{
	int err, other;

	rec->freed = ph_trace_take(&heap->debug->traces);
	rec->freed_by = thread_id();
	err = check_canary(heap, rec, object);
	/* Once reported, not again when it leaves. */
	if (err)
		memset(ph_at(heap, object->start) + rec->size, CANARY,
		       canary_bytes(rec, object->slab));
	blank(rec, object->slab, ph_at(heap, object->start));
	ph_set_state(ph_state_of(object), PH_LIMBO);
	other = hold(heap, object);
	return err ? err : other;
}

/* ---- allocate and free ------------------------------------------------------------------------
 */

/* What pheap/alloc.h promises. */
static uint64_t alignment_of(uint64_t size)
{
	if (size > UINT64_C(224) << 10)
		return PM_GRANULE;
	if (size > PH_SMALL_MAX)
		return PM_GRANULE / 4;
	return size & (size - 1) ? UNIT : size;
}

static void *alloc_block(struct pheap *heap, uint64_t alignment, uint64_t bytes, bool span)
{
	void *ptr = ph_block_alloc(heap, alignment, bytes, span);

	if (ptr || errno != ENOSPC)
		return ptr;
	if (empty(heap))
		keep_unsaid(heap);
	return ph_block_alloc(heap, alignment, bytes, span);
}

void *ph_debug_alloc(struct pheap *heap, uint64_t alignment, uint64_t size)
{
	bool span = heap->debug->guards && size >= GUARD_LEAST;
	uint64_t pages = round_up(size, PM_PAGE);
	uint64_t bytes = span ? pages + PM_PAGE : round_up(size + CANARY_LEAST, UNIT);
	struct ph_slab *slab;
	struct record *rec;
	char *ptr;

	if (alignment == 1)
		alignment = alignment_of(size);
	ptr = alloc_block(heap, alignment > UNIT ? alignment : UNIT, bytes, span);
	if (!ptr)
		return NULL;
	slab = ph_slab_at(heap, ptr);
	rec = record_at(heap, ph_off(heap, ptr));
	rec->size = size;
	rec->guarded = span && protect(slab, ptr + pages, PROT_NONE);
	rec->allocated = ph_trace_take(&heap->debug->traces);
	rec->allocated_by = thread_id();
	if (size <= FILL_MOST) {
		memset(ptr, NEW, size);
		if (slab->kind == PM_KIND_LARGE)
			slab->zero = 0;
	}
	memset(ptr + size, CANARY, canary_bytes(rec, slab));
	set_record(rec, LIVE);
	return ptr;
}

int ph_debug_free(struct pheap *heap, void *ptr)
{
	struct ph_object object;
	struct record *rec;

	if (!object_around(heap, ptr, &object) || object.start != ph_off(heap, ptr))
		return report_pointer(heap, "invalid free", "double free", ptr);
	rec = record_at(heap, object.start);
	if (state_of(rec) == LIVE && ph_state(&object) != PH_RESERVED)
		return ph_reserved_find(heap, "pheap_free", ptr, &object); /* is published */
	if (!claim(rec))
		return report_pointer(heap, "invalid free", "double free", ptr);
	return say_unsaid(heap, put_away(heap, rec, &object));
}

void ph_debug_retire(struct pheap *heap, const struct ph_object *object)
{
	struct record *rec = record_at(heap, object->start);

	if (claim(rec)) {
		if (put_away(heap, rec, object))
			keep_unsaid(heap);
	} else { /* it was never allocated by the program: none of ours */
		ph_block_free(heap, object);
	}
}

uint64_t ph_debug_size(struct pheap *heap, const char *what, const void *ptr)
{
	struct ph_object object;
	int err;

	if (object_around(heap, ptr, &object) && object.start == ph_off(heap, ptr) &&
	    state_of(record_at(heap, object.start)) == LIVE)
		return record_at(heap, object.start)->size;
	err = report_pointer(heap, what, what, ptr);
	errno = -err;
	return 0;
}

void *ph_debug_realloc(struct pheap *heap, void *ptr, uint64_t size)
{
	uint64_t old = record_at(heap, ph_off(heap, ptr))->size;
	void *moved = ph_debug_alloc(heap, 1, size);

	if (!moved)
		return NULL;
	memcpy(moved, ptr, at_most(old, size));
	if (ph_debug_free(heap, ptr))
		keep_unsaid(heap);
	return moved;
}

/* ---- look at all -------------------------------------------------------------------------------
 */

/* What is wrong with an object, as a negative code; it may come and go meanwhile. */
static int check_object(struct pheap *heap, struct ph_slab *slab, uint32_t index)
{
	struct ph_object object = {slab, index, slab->start + index * slab->size};
	const struct record *rec = record_at(heap, object.start);

	switch (state_of(rec)) {
	case LIVE:
		return check_canary(heap, rec, &object);
	case HELD:
		return ph_state(&object) == PH_LIMBO ? check_freed(heap, rec, &object) : 0;
	default:
		return 0;
	}
}

static int check_all(struct pheap *heap)
{
	uint32_t end = heap->decay.on ? heap->decay.top : heap->zone.granules;
	int err = 0, one;

	for (uint32_t g = 0, n; g < end; g += n) {
		struct ph_slab *slab = __atomic_load_n(&heap->zone.map[g].slab, __ATOMIC_ACQUIRE);

		n = slab && slab->granules ? slab->granules : 1;
		for (uint32_t i = 0; slab && slab->kind != PM_KIND_LANE && i < slab->objects; i++)
			if ((one = check_object(heap, slab, i)) && !err)
				err = one;
	}
	return err;
}

PHEAP_API int pheap_debug_check(pheap_t *heap)
{
	int err = ph_heap_usable(heap, "pheap_debug_check");

	if (!err && !heap->debug)
		err = ph_error(EINVAL, "pheap_debug_check: the heap is not in debug mode");
	return err ? err : say_unsaid(heap, check_all(heap));
}

PHEAP_API const char *pheap_debug_explain(pheap_t *heap, const void *addr)
{
	int err = ph_heap_usable(heap, "pheap_debug_explain");
	struct ph_text *text;

	if (err)
		return ph_null_code(err);
	if (!heap->debug)
		return ph_null(EINVAL, "pheap_debug_explain: the heap is not in debug mode");
	text = new_text();
	add_place(text, heap, addr);
	return text->text;
}

const char *ph_debug_fault(struct pheap *heap, const void *addr)
{
	struct ph_text *text;

	if (ph_off(heap, addr) - heap->zone.data >= heap->zone.bytes)
		return NULL;
	text = new_text();
	ph_text_add(text, "invalid access: ");
	add_place(text, heap, addr);
	add_now(text, heap, "accessed");
	return text->text;
}

/* ---- start and end
 * -------------------------------------------------------------------------------- */

int ph_debug_check_options(const char *what, const struct pheap_debug *debug)
{
	if (!debug || debug->struct_size == sizeof(*debug))
		return 0;
	return ph_error(EINVAL,
			"%s: debug->struct_size is %zu, not %zu: set it to sizeof(struct "
			"pheap_debug)",
			what, debug->struct_size, sizeof(*debug));
}

static uint64_t quarantine_bytes(const struct pheap *heap, uint64_t wanted)
{
	if (wanted)
		return at_most(wanted, heap->zone.bytes);
	return at_most(heap->zone.bytes / QUARANTINE_PART, QUARANTINE_MOST);
}

int ph_debug_start(struct pheap *heap, const struct pheap_debug *options, bool guards)
{
	struct ph_debug *debug = ph_dram_zalloc(sizeof(*debug));

	if (!debug)
		return ph_error(ENOMEM, "no memory for debug mode");
	heap->debug = debug;
	debug->guards = guards;
	debug->report = options->report;
	debug->arg = options->arg;
	debug->limit = quarantine_bytes(heap, options->quarantine);
	debug->room = debug->limit / BLOCK_LEAST + 2;
	debug->held = ph_map_lazily(debug->room * sizeof(*debug->held));
	debug->records_bytes = heap->zone.bytes / UNIT * sizeof(*debug->records);
	debug->records = ph_map_lazily(debug->records_bytes);
	if (!debug->held || !debug->records)
		return ph_error(ENOMEM, "no address space for debug mode: %zu bytes",
				debug->records_bytes);
	return ph_traces_init(&debug->traces);
}

void ph_debug_fini(struct pheap *heap)
{
	struct ph_debug *debug = heap->debug;

	if (!debug)
		return;
	ph_traces_fini(&debug->traces);
	if (debug->records)
		munmap(debug->records, debug->records_bytes);
	if (debug->held)
		munmap(debug->held, debug->room * sizeof(*debug->held));
	ph_dram_free(debug, sizeof(*debug));
	heap->debug = NULL;
}

void ph_debug_hold(struct pheap *heap)
{
	if (!heap->debug)
		return;
	ph_bitlock_take(&heap->debug->lock);
	ph_traces_hold(&heap->debug->traces);
}

void ph_debug_let_go(struct pheap *heap)
{
	if (!heap->debug)
		return;
	ph_traces_let_go(&heap->debug->traces);
	ph_bitlock_give(&heap->debug->lock, 0);
}
