/*
 * mark-run.c - the marker at work: look into what was found, with all threads. See mark.h.
 *
 * A thread's queue has two parts: what it found and had prefetched, first in first out, and
 * behind that a stack. An entry is plan << 48 | offset of an object that is marked and was
 * not looked into. Long objects are looked into in parts: then the bit 0 of an entry is
 * set, and the word below it on the stack says where to go on, with bit 1 set.
 */
#include <signal.h>
#include <string.h>

#include "error.h"
#include "mark-impl.h"

/* What is found is taken from the stack again while fewer are ahead than this. */
#define AHEAD_LEAST (PH_MARK_AHEAD / 2)
/* Words of an object that are looked at in one go. */
#define PART_WORDS 64u
/* Objects between two calls of progress. */
#define PROGRESS_TURNS (UINT64_C(1) << 18)
/* Granules that a thread looks through for flagged spans at once. */
#define RESCAN_GRANULES 64u

#define ENTRY(plan, offset) ((uint64_t)(plan) << 48 | (offset))
#define ENTRY_PART UINT64_C(1)
#define ENTRY_FROM UINT64_C(2)
#define ENTRY_OFFSET(entry) ((entry)&UINT64_C(0xfffffffffff8))
#define ENTRY_PLAN(entry) ((unsigned)((entry) >> 48))

/* ---- queues ---------------------------------------------------------------------- */

static ph_inline void prefetch(const struct ph_marker *m, uint64_t entry)
{
	__builtin_prefetch(m->base + ENTRY_OFFSET(entry) + m->plan[ENTRY_PLAN(entry)].first);
}

static ph_inline void put_ahead(struct ph_mark_worker *w, uint64_t entry)
{
	w->ahead[(w->ahead_first + w->ahead_n++) % PH_MARK_AHEAD] = entry;
	prefetch(w->marker, entry);
}

/* G1: the object is marked, and would be forgotten. */
static __attribute__((noinline)) void overflow(struct ph_marker *m, uint64_t entry)
{
	struct ph_mark_granule *granule =
		&m->map[(ENTRY_OFFSET(entry) - m->data) >> PM_GRANULE_SHIFT];

	granule = &m->map[granule->head - 1];
	/* Behind the bit: who takes the flag away sees that. */
	__atomic_fetch_or(&granule->flags, PH_MARK_RESCAN, __ATOMIC_RELEASE);
	__atomic_store_n(&m->overflowed, true, __ATOMIC_RELAXED);
}

static ph_inline void push(struct ph_mark_worker *w, uint64_t entry)
{
	if (ph_likely(w->n < w->cap))
		w->stack[w->n++] = entry;
	else
		overflow(w->marker, entry);
}

static void push_part(struct ph_mark_worker *w, uint64_t entry, uint64_t from)
{
	if (w->n + 2 > w->cap) {
		overflow(w->marker, entry);
		return;
	}
	w->stack[w->n++] = from | ENTRY_FROM;
	w->stack[w->n++] = entry | ENTRY_PART;
}

/* ---- marking --------------------------------------------------------------------------- */

static void fail(struct ph_marker *m, int error, uint64_t object, uint64_t ref)
{
	pthread_mutex_lock(&m->lock);
	if (!m->error) {
		m->error = error;
		m->bad_object = object;
		m->bad_ref = ref;
	}
	pthread_mutex_unlock(&m->lock);
	__atomic_store_n(&m->stop, true, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) void dangling(struct ph_mark_worker *w, uint64_t object,
					       uint64_t ref)
{
	w->dangling++;
	if (w->marker->flags & PH_MARK_STRICT)
		fail(w->marker, -EUCLEAN, object, ref);
}

/* A place for an object that is not white: was it reached before, or is nothing there? */
static __attribute__((noinline)) void check_place(struct ph_mark_worker *w,
						  const struct ph_mark_place *place,
						  uint64_t object, uint64_t ref)
{
	const struct ph_marker *m = w->marker;
	const uint64_t *bits = (const uint64_t *)(const void *)(m->base + m->zone->bits);
	uint64_t word = (uint64_t)(place->entry->head - 1) * (PM_BITMAP_BYTES / 8);

	if (m->flags & PH_MARK_PLACES)
		return;
	word = __atomic_load_n(&bits[word + place->index / 64], __ATOMIC_RELAXED);
	if (!(word >> place->index % 64 & 1))
		dangling(w, object, ref);
}

/* G2. False: it was cleared before. */
static ph_inline bool clear_white(uint64_t *word, uint64_t bit, bool several)
{
	uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

	if (!(old & bit))
		return false;
	if (several)
		return __atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED) & bit;
	__atomic_store_n(word, old & ~bit, __ATOMIC_RELAXED);
	return true;
}

/*
 * A word that is, or with maybe may be, a reference. object: where it was found. True: the
 * object is marked now and is to be looked into, by *plan.
 */
static ph_inline bool mark(struct ph_mark_worker *w, uint64_t ref, uint64_t object, bool maybe,
			   bool several, unsigned *plan)
{
	struct ph_marker *m = w->marker;
	struct ph_mark_place place;

	if (ph_unlikely(!ph_mark_find(m, ref, &place))) {
		if (!maybe)
			dangling(w, object, ref);
		return false;
	}
	if (!clear_white(ph_mark_word_of(m, &place), UINT64_C(1) << place.index % 64, several)) {
		if (!maybe && ph_unlikely(m->flags & PH_MARK_CHECK))
			check_place(w, &place, object, ref);
		return false;
	}
	w->marked++;
	*plan = place.entry->plan;
	return m->plan[*plan].kind != PH_MARK_LEAF;
}

static ph_inline void visit(struct ph_mark_worker *w, const uint64_t *slot, uint64_t object,
			    bool maybe, bool several)
{
	uint64_t ref = __atomic_load_n(slot, __ATOMIC_RELAXED);
	unsigned plan;

	if (ref && mark(w, ref, object, maybe, several, &plan))
		push(w, ENTRY(plan, ref));
}

/* ---- looking into an object ------------------------------------------------------------- */

static void reported(void *arg, uint64_t *slot)
{
	struct ph_mark_worker *w = arg;
	uint64_t inside = (uint64_t)((const char *)slot - w->marker->base) - w->object;

	if (inside % 8 || inside >= w->size)
		fail(w->marker, -EINVAL, w->object, inside);
	else
		visit(w, slot, w->object, false, true);
}

static void call_back(struct ph_mark_worker *w, const struct ph_mark_plan *plan, const char *object,
		      uint64_t offset, uint64_t size)
{
	w->object = offset;
	w->size = size;
	/* It gets the object to read, and addresses to tell: constness ends there. */
	plan->trace((void *)(uintptr_t)object, size, reported, w);
}

static ph_inline const uint64_t *slot_at(const char *object, uint64_t at)
{
	return (const uint64_t *)(const void *)(object + at);
}

/* What lies from one offset in the object to another; of those with fixed offsets, all. */
static ph_inline void look(struct ph_mark_worker *w, const struct ph_mark_plan *plan,
			   const char *object, uint64_t offset, uint64_t from, uint64_t to,
			   bool several)
{
	switch (plan->kind) {
	case PH_MARK_FIXED: /* roots; see follow() */
		for (uint32_t i = 0; i < plan->nrefs; i++)
			visit(w, slot_at(object, plan->refs[i]), offset, false, several);
		break;
	case PH_MARK_ELEMENTS:
		for (; to - from >= plan->size; from += plan->size)
			for (uint32_t i = 0; i < plan->nrefs; i++)
				visit(w, slot_at(object, from + plan->refs[i]), offset, false,
				      several);
		break;
	case PH_MARK_WORDS:
		for (; from < to; from += 8)
			visit(w, slot_at(object, from), offset, true, several);
		break;
	case PH_MARK_CALLBACK:
		call_back(w, plan, object, offset, to);
		break;
	default:
		break;
	}
}

void ph_mark_look(struct ph_marker *m, const struct ph_mark_plan *plan, const char *object,
		  uint64_t offset, uint64_t size)
{
	look(&m->worker[0], plan, object, offset, 0, size, false);
}

void ph_mark_visit_root(struct ph_marker *m, uint64_t ref)
{
	visit(&m->worker[0], &ref, 0, false, false);
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* Bytes of an object that are looked at in one go. */
static uint64_t part_of(const struct ph_mark_plan *plan)
{
	if (plan->kind == PH_MARK_WORDS)
		return PART_WORDS * 8;
	if (plan->kind == PH_MARK_ELEMENTS)
		return plan->size * (1 + PART_WORDS / plan->nrefs);
	return UINT64_MAX;
}

/* An object whose size matters, from an offset in it on. */
static __attribute__((noinline)) void look_into(struct ph_mark_worker *w, uint64_t entry,
						uint64_t from, bool several)
{
	const struct ph_marker *m = w->marker;
	const struct ph_mark_plan *plan = &m->plan[ENTRY_PLAN(entry)];
	uint64_t offset = ENTRY_OFFSET(entry), part = part_of(plan);
	uint64_t to = ph_mark_size(m, &m->map[(offset - m->data) >> PM_GRANULE_SHIFT]);

	if (to - from > part) {
		to = from + part;
		push_part(w, entry, to); /* below what is found now */
	}
	look(w, plan, m->base + offset, offset, from, to, several);
}

/* Look at the references of an object with fixed offsets. The last object that is found is
 * not put on the stack: true, and it is in *next and *number, the number of its plan. */
static ph_inline bool look_at_fixed(struct ph_mark_worker *w, const struct ph_mark_plan *plan,
				    uint64_t offset, bool several, uint64_t *next, unsigned *number)
{
	const char *object = w->marker->base + offset;
	bool found = false;
	unsigned of;

	for (uint32_t i = 0; i < plan->nrefs; i++) {
		uint64_t ref = __atomic_load_n(slot_at(object, plan->refs[i]), __ATOMIC_RELAXED);

		if (!ref || !mark(w, ref, offset, false, several, &of))
			continue;
		if (found)
			push(w, ENTRY(*number, *next));
		found = true;
		*next = ref;
		*number = of;
	}
	return found;
}

/*
 * Look into an object, and while there is but one to go on with, into that: without a way
 * through a queue. The plan changes by a branch that is foretold, so that the next object's
 * address depends on nothing but the reference.
 */
static ph_inline void follow(struct ph_mark_worker *w, uint64_t entry, bool several)
{
	const struct ph_marker *m = w->marker;
	unsigned number = ENTRY_PLAN(entry), other = number;
	const struct ph_mark_plan *plan = &m->plan[number];
	uint64_t offset = ENTRY_OFFSET(entry), next = 0;

	while (ph_likely(plan->kind == PH_MARK_FIXED)) {
		if (!look_at_fixed(w, plan, offset, several, &next, &other))
			return;
		if (w->n || w->ahead_n || __atomic_load_n(&m->stop, __ATOMIC_RELAXED)) {
			push(w, ENTRY(other, next));
			return;
		}
		offset = next;
		if (ph_unlikely(other != number)) {
			number = other;
			plan = &m->plan[number];
			__asm__ volatile(""); /* a branch, and no conditional move */
		}
	}
	look_into(w, ENTRY(number, offset), 0, several);
}

/* From the stack to what is ahead. */
static ph_inline void refill(struct ph_mark_worker *w, bool several)
{
	while (w->n && w->ahead_n < AHEAD_LEAST) {
		uint64_t entry = w->stack[--w->n];

		if (ph_unlikely(entry & ENTRY_PART)) {
			uint64_t from = w->stack[--w->n] & ~ENTRY_FROM;

			look_into(w, entry & ~ENTRY_PART, from, several);
		} else {
			put_ahead(w, entry);
		}
	}
}

static void give(struct ph_mark_worker *w);

/* Until nothing is left. */
static ph_inline void drain(struct ph_mark_worker *w, bool several)
{
	struct ph_marker *m = w->marker;

	for (;;) {
		uint64_t entry;

		if (w->n)
			refill(w, several);
		if (ph_unlikely(!w->ahead_n))
			break;
		entry = w->ahead[w->ahead_first];
		w->ahead_first = (w->ahead_first + 1) % PH_MARK_AHEAD;
		w->ahead_n--;
		follow(w, entry, several);
		if (several && ph_unlikely(__atomic_load_n(&m->hungry, __ATOMIC_RELAXED)))
			give(w);
		if (ph_unlikely(++w->turns % PROGRESS_TURNS == 0)) {
			if (m->progress && w == m->worker)
				m->progress(m->arg, w->marked * m->running, m->objects);
		}
		if (ph_unlikely(__atomic_load_n(&m->stop, __ATOMIC_RELAXED)))
			w->n = w->ahead_n = 0;
	}
}

/* ---- threads -------------------------------------------------------------------------------- */

/* The oldest part of the stack, to those that wait: what is found from there is most. */
static __attribute__((noinline)) void give(struct ph_mark_worker *w)
{
	struct ph_marker *m = w->marker;
	uint32_t n = (w->n + 1) / 2;

	if (w->n < 2)
		return;
	if (n > PH_MARK_CHUNK - 1)
		n = PH_MARK_CHUNK - 1;
	if (w->stack[n - 1] & ENTRY_FROM) /* where to go on, and with what, stay together */
		n++;
	pthread_mutex_lock(&m->lock);
	if (m->nchunks < PH_MARK_CHUNKS && m->nchunks < m->hungry) {
		struct ph_mark_chunk *chunk = &m->chunk[m->nchunks++];

		chunk->n = n;
		memcpy(chunk->word, w->stack, n * sizeof(*w->stack));
		w->n -= n;
		memmove(w->stack, w->stack + n, w->n * sizeof(*w->stack));
		pthread_cond_signal(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
}

/* Under the lock. */
static void take_chunk(struct ph_mark_worker *w)
{
	const struct ph_mark_chunk *chunk = &w->marker->chunk[--w->marker->nchunks];

	memcpy(w->stack, chunk->word, chunk->n * sizeof(*w->stack));
	w->n = chunk->n;
}

/* Wait for another thread's work; false: nobody has any. */
static bool take(struct ph_mark_worker *w)
{
	struct ph_marker *m = w->marker;
	bool taken;

	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->hungry, m->hungry + 1, __ATOMIC_RELAXED);
	while (!m->nchunks && !m->finished) {
		if (m->hungry == m->running) {
			m->finished = true;
			pthread_cond_broadcast(&m->wake);
		} else {
			pthread_cond_wait(&m->wake, &m->lock);
		}
	}
	taken = m->nchunks > 0;
	if (taken) {
		__atomic_store_n(&m->hungry, m->hungry - 1, __ATOMIC_RELAXED);
		take_chunk(w);
	}
	pthread_mutex_unlock(&m->lock);
	return taken;
}

/* G1: all marked objects of a flagged span again. */
static void rescan(struct ph_mark_worker *w, uint32_t granule, bool several)
{
	const struct ph_marker *m = w->marker;
	struct ph_mark_span span;

	ph_mark_next_span(m, granule, &span);
	w->rescanned++;
	for (uint32_t i = 0; i < (span.objects + 63) / 64; i++) {
		uint64_t word = ph_mark_marked(m, &span, i);

		for (; word; word &= word - 1) {
			uint64_t index = i * 64 + (uint64_t)__builtin_ctzll(word);

			put_ahead(w, (uint64_t)m->map[granule].plan << 48 |
					     (span.start + index * span.size));
			drain(w, several);
		}
	}
}

/* Look for flagged spans, a few granules each time; false: all have been looked at. */
static bool rescan_some(struct ph_mark_worker *w, bool several)
{
	struct ph_marker *m = w->marker;
	uint32_t g = __atomic_load_n(&m->cursor, __ATOMIC_RELAXED), end;

	do {
		if (g >= m->granules)
			return false;
		end = m->granules - g > RESCAN_GRANULES ? g + RESCAN_GRANULES : m->granules;
	} while (!__atomic_compare_exchange_n(&m->cursor, &g, end, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	for (; g < end; g++)
		if (__atomic_load_n(&m->map[g].flags, __ATOMIC_RELAXED) & PH_MARK_RESCAN &&
		    m->map[g].head == g + 1) {
			__atomic_fetch_and(&m->map[g].flags, (uint8_t)~PH_MARK_RESCAN,
					   __ATOMIC_ACQUIRE);
			rescan(w, g, several);
		}
	return true;
}

static void work_alone(struct ph_mark_worker *w)
{
	drain(w, false);
	while (rescan_some(w, false))
		;
}

static void *work(void *arg)
{
	struct ph_mark_worker *w = arg;

	do {
		drain(w, true);
		while (rescan_some(w, true))
			;
	} while (take(w));
	return NULL;
}

/* Without signals: they are the program's threads'. */
static void start(struct ph_marker *m)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&m->lock); /* none may find that all of them wait before all run */
	for (m->running = 1; m->running < m->threads; m->running++)
		if (pthread_create(&m->worker[m->running].thread, NULL, work,
				   &m->worker[m->running]))
			break;
	pthread_mutex_unlock(&m->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Until no thread has anything left; then spans may be flagged. */
static void run_once(struct ph_marker *m)
{
	m->finished = false;
	m->hungry = 0;
	m->running = 1;
	if (m->threads > 1)
		start(m);
	if (m->running == 1) {
		work_alone(&m->worker[0]);
		return;
	}
	work(&m->worker[0]);
	for (uint32_t i = 1; i < m->running; i++)
		pthread_join(m->worker[i].thread, NULL);
}

int ph_mark_run(struct ph_marker *m)
{
	if (m->error == -ENOMEM)
		return ph_error(ENOMEM, "no memory for marking objects");
	do {
		/* What roots flagged is looked at in the first turn already. */
		m->cursor = __atomic_exchange_n(&m->overflowed, false, __ATOMIC_RELAXED)
				    ? 0
				    : m->granules;
		run_once(m);
	} while (__atomic_load_n(&m->overflowed, __ATOMIC_RELAXED) && !m->stop);
	if (m->error == -EINVAL)
		return ph_error(EINVAL,
				"the callback of the type of the object at offset %#llx reported a "
				"slot that is %lld bytes from its start",
				(unsigned long long)m->bad_object, (long long)m->bad_ref);
	if (m->error)
		return ph_error(
			EUCLEAN,
			"the object at offset %#llx (0: a root) has the reference %#llx, which "
			"is to no object",
			(unsigned long long)m->bad_object, (unsigned long long)m->bad_ref);
	return 0;
}
