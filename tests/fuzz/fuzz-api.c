/*
 * fuzz-api.c - bytes are operations on a pool, beside a model of what they must do.
 *
 * One thread works on a pool in memory of which exactly what was flushed and fenced is
 * durable. The model knows every slot, every object's bytes, what is reserved, and what the
 * open transactions will do. Asserted are the result of each call, misuse included, the
 * contents, the number of published objects, and that pheap_check finds nothing; after a
 * close, a kill (what was stored is there) and a power cut (what was fenced is there) the
 * same again, and the work goes on.
 *
 * An input of an odd number of bytes works on a traced pool: what is linked in the table is there
 * since recovery reaches it. There are no sealed arenas in it.
 *
 * Where the pool is full, ENOSPC is a right answer of what allocates, with nothing changed.
 */
#include "media.h"

#include <sys/random.h>

#include "choice.h"
#include "pool.h"

#define POOL PHEAP_MIN_SIZE
#define SLOTS 16u
#define HELD 8u
#define TXS 3u
#define WORDS 512u
#define PIECES 24u
#define STEPS_MAX 300u /* of one input */

enum slot_kind { NOTHING, OBJECT, ARENA };

/* What a transaction that owns a slot will do with it. */
struct pending {
	enum { KEEP, DROP, PUT } change;
	char *put; /* the new object, and what is in it */
	size_t put_size;
	uint64_t put_id;
	uint8_t *next;	 /* content at commit */
	uint8_t *redone; /* bytes that redo writes have set: they win */
	size_t snapped;	 /* bytes from the start that are in a snapshot */
};

struct slot {
	enum slot_kind kind;
	int tx; /* that owns it; -1: none */
	size_t size;
	uint8_t *content;
	struct pending pending;
	pheap_ref piece[PIECES]; /* of an arena */
	uint16_t piece_size[PIECES];
	unsigned pieces;
	size_t blocks;
};

struct held {
	char *ptr;
	size_t size;
	uint64_t id;
};

struct change {
	uint32_t word;
	uint64_t value;
};

struct txn {
	pheap_tx_t *tx;
	struct change *changes;
	size_t n;
};

static struct media media;
static pheap_t *heap;
static bool traced;
static pheap_ref *table;
static uint64_t *words, model_words[WORDS];
static struct slot slots[SLOTS];
static struct held held[HELD];
static struct txn txs[TXS];
static pheap_arena_t *arena;
static struct {
	char *piece[PIECES];
	uint16_t size[PIECES];
	unsigned n;
	bool lost; /* more was allocated than is remembered here */
} in_arena;
static uint64_t next_id, entropy;

/* Instead of the C library's: epochs and identifiers follow from the input. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < length; i++)
		((char *)buffer)[i] = (char)((entropy = entropy * 6364136223846793005u + 1) >> 33);
	return (ssize_t)length;
}

static size_t some_size(struct choice *c)
{
	static const size_t sizes[] = {1,    8,	   16,	 24,   64,   100,   256,    257,
				       300,  1000, 1024, 4096, 5000, 20000, 65536,  70000,
				       3328, 48,   128,	 512,  2048, 33000, 200000, 600000};

	return sizes[choose(c, ELEMENTS(sizes))];
}

/* ---- slots ----------------------------------------------------------------------------- */

static void forget_pending(struct slot *s)
{
	free(s->pending.next);
	free(s->pending.redone);
	memset(&s->pending, 0, sizeof(s->pending));
	s->tx = -1;
}

static void set_nothing(struct slot *s)
{
	free(s->content);
	s->content = NULL;
	s->kind = NOTHING;
}

static void set_object(struct slot *s, const void *content, size_t size)
{
	uint8_t *copy = malloc(size);

	must(copy);
	memcpy(copy, content, size);
	set_nothing(s);
	s->kind = OBJECT;
	s->content = copy;
	s->size = size;
}

static char *object_of(const struct slot *s)
{
	return pheap_ptr(heap, table[s - slots]);
}

static void look_at_arena(const struct slot *s)
{
	must(s->pieces ? pheap_arena_root(heap, table[s - slots]) == pheap_ptr(heap, s->piece[0])
		       : !pheap_arena_root(heap, table[s - slots]));
	for (unsigned i = 0; i < s->pieces; i++)
		must(has_pattern(pheap_ptr(heap, s->piece[i]), s->piece_size[i], s->piece[i]));
}

static void look_at(const struct slot *s)
{
	if (s->tx >= 0)
		return; /* partly done, until the transaction has ended */
	must((s->kind == NOTHING) == !table[s - slots]);
	if (s->kind == OBJECT) {
		must(pheap_usable_size(heap, object_of(s)) >= s->size);
		must(!memcmp(object_of(s), s->content, s->size));
	} else if (s->kind == ARENA) {
		look_at_arena(s);
	}
}

static struct slot *some_slot(struct choice *c)
{
	struct slot *s = &slots[choose(c, SLOTS)];

	look_at(s);
	return s;
}

/* ---- reserved objects --------------------------------------------------------------------- */

static void hold(struct held *h, char *ptr, size_t size)
{
	must(ptr || errno == ENOSPC);
	*h = (struct held){ptr, size, ++next_id};
	if (ptr) {
		must(pheap_usable_size(heap, ptr) >= size);
		fill_pattern(ptr, size, h->id);
	}
}

static void let_go(struct held *h)
{
	must(!h->ptr || has_pattern(h->ptr, h->size, h->id));
	must(!pheap_free(heap, h->ptr));
	h->ptr = NULL;
}

static void step_reserve(struct choice *c)
{
	struct held *h = &held[choose(c, HELD)];
	size_t size = some_size(c), align = (size_t)1 << choose(c, 17);
	void *old = h->ptr, *moved;

	switch (choose(c, 5)) {
	case 0:
		let_go(h);
		hold(h, pheap_aligned_alloc(heap, align, size), size);
		must((uintptr_t)h->ptr % align == 0);
		break;
	case 1: /* twice; and into it */
		let_go(h);
		must(!old || pheap_free(heap, old) == -EINVAL);
		hold(h, pheap_zalloc(heap, size), size);
		must(!h->ptr || size < 24 || pheap_free(heap, h->ptr + 8) == -EINVAL);
		break;
	case 2:
		if (!h->ptr)
			break;
		moved = pheap_realloc(heap, h->ptr, size);
		must(moved || errno == ENOSPC);
		if (!moved)
			break;
		must(has_pattern(moved, (size < h->size ? size : h->size) & ~(size_t)7, h->id));
		hold(h, moved, size);
		break;
	default:
		let_go(h);
		hold(h, pheap_alloc(heap, size), size);
	}
}

/* ---- single operations ----------------------------------------------------------------------- */

static void step_publish(struct choice *c)
{
	struct slot *s = some_slot(c);
	struct held *h = &held[choose(c, HELD)];
	bool replace = choose(c, 2);
	unsigned flags = choose(c, 4) ? 0 : PHEAP_PERSISTED;
	pheap_ref *word = &table[s - slots];
	int want = replace ? (s->kind == NOTHING ? -ENOENT : 0) : (s->kind ? -EEXIST : 0);

	if (!h->ptr || s->tx >= 0 || (replace && s->kind == ARENA))
		return;
	if (flags)
		must(!pheap_persist(heap, h->ptr, h->size));
	must((replace ? pheap_replace(heap, word, h->ptr, flags)
		      : pheap_publish(heap, word, h->ptr, flags)) == want);
	if (want)
		return;
	must(pheap_publish(heap, word, h->ptr, 0) != 0);
	must(traced || pheap_free(heap, h->ptr) == -EINVAL);
	must(has_pattern(h->ptr, h->size, h->id));
	set_object(s, h->ptr, h->size);
	h->ptr = NULL;
}

/* By the one reference that there is. */
static void step_move(struct choice *c)
{
	struct slot *s = some_slot(c);
	pheap_ref *word = &table[s - slots], before = *word;
	int code;

	if (s->tx >= 0 || s->kind == ARENA)
		return;
	code = pheap_move(heap, &word, 1);
	must(s->kind ? code >= 0 || code == -ENOSPC : code == -ENOENT);
	must((code > 0) == (*word != before));
}

static void step_retire(struct choice *c)
{
	struct slot *s = some_slot(c);
	int want = s->kind == NOTHING ? -ENOENT : 0;

	if (s->kind == ARENA || (s->tx >= 0 && !s->pending.snapped))
		return;
	if (s->tx >= 0) /* guarded by the snapshot of another */
		want = -EINVAL;
	must(pheap_retire(heap, &table[s - slots]) == want);
	if (!want)
		set_nothing(s);
}

static void step_alloc_into(struct choice *c)
{
	struct slot *s = some_slot(c);
	size_t size = some_size(c);
	bool zero = choose(c, 2);
	char *content = calloc(1, size);
	int code;

	must(content);
	if (!zero)
		fill_pattern(content, size, ++next_id);
	if (s->tx < 0) {
		code = pheap_alloc_into(heap, &table[s - slots], size, zero ? NULL : content);
		must(code == (s->kind ? -EEXIST : 0) || (!s->kind && code == -ENOSPC));
		if (!code)
			set_object(s, content, size);
	}
	free(content);
}

static void step_resize(struct choice *c)
{
	struct slot *s = some_slot(c);
	size_t size = some_size(c), kept;
	int code;

	if (s->tx >= 0 || s->kind == ARENA)
		return;
	code = pheap_resize(heap, &table[s - slots], size);
	must(code == (s->kind ? 0 : -ENOENT) || (s->kind && code == -ENOSPC));
	if (code)
		return;
	kept = size < s->size ? size : s->size;
	must(pheap_usable_size(heap, object_of(s)) >= size);
	must(!memcmp(object_of(s), s->content, kept));
	/* What is behind the old content is undefined: say what it is. */
	for (size_t at = kept; at < size; at += 128) {
		char zero[128] = {0};

		must(!pheap_write(heap, object_of(s) + at, zero,
				  size - at < 128 ? size - at : 128));
	}
	set_object(s, object_of(s), size);
}

static void step_write(struct choice *c)
{
	struct slot *s = some_slot(c);
	uint8_t bytes[PHEAP_INLINE_MAX];
	size_t at, length;

	if (s->kind != OBJECT)
		return;
	at = choose(c, s->size < 65536 ? s->size : 65536);
	length = 1 + choose(c, PHEAP_INLINE_MAX);
	length = length > s->size - at ? s->size - at : length;
	fill_pattern(bytes, length, ++next_id);
	if (s->tx >= 0) {
		if (at < s->pending.snapped)
			must(pheap_write(heap, object_of(s) + at, bytes, length) == -EINVAL);
		return;
	}
	if (choose(c, 2)) {
		must(!pheap_write(heap, object_of(s) + at, bytes, length));
	} else {
		must(!pheap_memcpy(heap, object_of(s) + at, bytes, length));
		must(!pheap_drain(heap));
	}
	memcpy(s->content + at, bytes, length);
}

static void step_set(struct choice *c)
{
	uint32_t word = (uint32_t)choose(c, WORDS);

	must(words[word] == model_words[word]);
	must(!pheap_set(heap, &words[word], ++next_id));
	model_words[word] = next_id;
}

/* ---- transactions -------------------------------------------------------------------------------
 */

static void own(struct slot *s, int tx)
{
	if (s->tx == tx)
		return;
	s->tx = tx;
	if (s->kind == OBJECT) {
		s->pending.next = malloc(s->size);
		s->pending.redone = calloc(1, s->size);
		must(s->pending.next && s->pending.redone);
		memcpy(s->pending.next, s->content, s->size);
	}
}

/* Retire what is there, if anything is, and put a new object there, or nothing. */
static void tx_put(struct choice *c, struct txn *t, struct slot *s, bool put)
{
	struct pending *p = &s->pending;
	size_t size = some_size(c);
	char *made = put ? pheap_tx_alloc(t->tx, size) : NULL;

	must(!put || made || errno == ENOSPC);
	if (put && !made)
		return;
	if (s->kind == OBJECT) {
		must(!pheap_tx_retire(t->tx, &table[s - slots]));
		p->change = DROP;
	}
	if (put) {
		fill_pattern(made, size, ++next_id);
		must(!pheap_tx_set(t->tx, &table[s - slots], pheap_ref_of(heap, made)));
		*p = (struct pending){PUT, made, size, next_id, p->next, p->redone, p->snapped};
	}
}

static void tx_write(struct choice *c, struct txn *t, struct slot *s)
{
	struct pending *p = &s->pending;
	uint8_t bytes[600];
	size_t at = choose(c, s->size < 65536 ? s->size : 65536);
	size_t length = 1 + choose(c, sizeof(bytes));
	int code;

	length = length > s->size - at ? s->size - at : length;
	fill_pattern(bytes, length, ++next_id);
	code = pheap_tx_write(t->tx, object_of(s) + at, bytes, length);
	must(!code || code == -ENOSPC);
	if (code)
		return;
	memcpy(p->next + at, bytes, length);
	memset(p->redone + at, 1, length);
}

/* From the start of the object, so that one number says what is in the snapshot. */
static void tx_snapshot(struct choice *c, struct txn *t, struct slot *s)
{
	struct pending *p = &s->pending;
	size_t length = 1 + choose(c, s->size < 9000 ? s->size : 9000);
	uint8_t *object = (uint8_t *)object_of(s);
	int code = pheap_tx_snapshot(t->tx, object, length);

	must(!code || code == -ENOSPC);
	if (code)
		return;
	p->snapped = length > p->snapped ? length : p->snapped;
	fill_pattern(object, length, ++next_id);
	for (size_t i = 0; i < length; i++)
		if (!p->redone[i])
			p->next[i] = object[i];
}

static void tx_words(struct choice *c, struct txn *t)
{
	size_t n = choose(c, 8) ? 1 + choose(c, 4) : 8 * choose(c, 256);
	uint32_t word = (uint32_t)choose(c, WORDS);
	int code;

	t->changes = realloc(t->changes, (t->n + n + 1) * sizeof(*t->changes));
	must(t->changes);
	for (size_t i = 0; i < n; i++) {
		t->changes[t->n] = (struct change){(word + (uint32_t)i) % WORDS, ++next_id};
		code = pheap_tx_set(t->tx, &words[t->changes[t->n].word], next_id);
		must(!code || code == -ENOSPC);
		if (code)
			return;
		t->n++;
	}
}

static void slot_committed(struct slot *s)
{
	struct pending *p = &s->pending;

	if (p->change == PUT) {
		must(has_pattern(p->put, p->put_size, p->put_id));
		must(object_of(s) == p->put);
		set_object(s, p->put, p->put_size);
	} else if (p->change == DROP) {
		set_nothing(s);
	} else if (s->kind == OBJECT) {
		memcpy(s->content, p->next, s->size);
	}
}

static void end_tx(struct txn *t, bool commit)
{
	if (!t->tx)
		return;
	must(!(commit ? pheap_tx_commit(t->tx) : pheap_tx_abort(t->tx)));
	t->tx = NULL;
	for (size_t i = 0; commit && i < t->n; i++)
		model_words[t->changes[i].word] = t->changes[i].value;
	t->n = 0;
	for (struct slot *s = slots; s < slots + SLOTS; s++) {
		if (s->tx != t - txs)
			continue;
		if (commit)
			slot_committed(s);
		forget_pending(s);
		look_at(s);
	}
}

static void tx_on_slot(struct choice *c, struct txn *t, struct slot *s)
{
	struct pending *p = &s->pending;
	uint64_t what = choose(c, 6);

	own(s, (int)(t - txs));
	if (what < 2) {
		if (p->change == KEEP)
			tx_put(c, t, s, what);
	} else if (s->kind == OBJECT && p->change == KEEP) {
		if (what < 4)
			tx_write(c, t, s);
		else
			tx_snapshot(c, t, s);
	}
}

static void step_tx(struct choice *c)
{
	struct txn *t = &txs[choose(c, TXS)];
	struct slot *s;

	if (!t->tx)
		must((t->tx = pheap_tx_begin(heap)));
	switch (choose(c, 8)) {
	case 0:
		end_tx(t, true);
		break;
	case 1:
		end_tx(t, false);
		break;
	case 2:
		tx_words(c, t);
		break;
	default:
		s = some_slot(c);
		if (s->kind != ARENA && (s->tx < 0 || s->tx == t - txs))
			tx_on_slot(c, t, s);
	}
}

/* ---- arenas
 * ---------------------------------------------------------------------------------------- */

static void arena_alloc(struct choice *c)
{
	size_t size = 1 + choose(c, 2000);
	char *piece = pheap_arena_alloc_aligned(arena, size, (size_t)8 << choose(c, 6));

	must(piece || errno == ENOSPC);
	if (!piece || in_arena.n == PIECES)
		return;
	fill_pattern(piece, size, pheap_ref_of(heap, piece));
	in_arena.piece[in_arena.n] = piece;
	in_arena.size[in_arena.n++] = (uint16_t)size;
}

static void arena_seal(struct slot *s)
{
	size_t blocks = pheap_arena_blocks(arena);
	int code;

	if (s->tx >= 0)
		return;
	code = pheap_arena_seal(arena, &table[s - slots], in_arena.n ? in_arena.piece[0] : NULL);
	if (!in_arena.n) { /* nothing in it */
		must(code == -EINVAL);
		return;
	}
	must(code == (s->kind ? -EEXIST : 0) || (!s->kind && code == -ENOSPC));
	if (code)
		return;
	s->kind = ARENA;
	s->blocks = blocks;
	s->pieces = in_arena.n;
	for (unsigned i = 0; i < in_arena.n; i++) {
		s->piece[i] = pheap_ref_of(heap, in_arena.piece[i]);
		s->piece_size[i] = in_arena.size[i];
	}
	in_arena.n = 0;
}

static void step_arena(struct choice *c)
{
	struct slot *s;
	int code;

	if (traced)
		return;
	if (!arena)
		must((arena = pheap_arena_create_in(heap, choose(c, 3) * 1024)));
	switch (choose(c, 8)) {
	case 0:
		pheap_arena_reset(arena);
		in_arena.n = 0;
		break;
	case 1:
	case 2:
		arena_seal(some_slot(c));
		break;
	case 3:
		s = some_slot(c);
		if (s->tx >= 0)
			break;
		code = pheap_arena_drop(heap, &table[s - slots]);
		must(code == (s->kind == ARENA ? 0 : s->kind ? -EINVAL : -ENOENT));
		if (!code)
			set_nothing(s);
		break;
	default:
		arena_alloc(c);
	}
}

/* ---- close, crash, open
 * --------------------------------------------------------------------------------- */

static void show_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	fprintf(stderr, "check: %s at offset %#llx: %s\n", problem->invariant,
		(unsigned long long)problem->offset, problem->message);
}

/* Of an open traced pool the checker counts none. */
static uint64_t allocated(void)
{
	struct pheap_space space = {.struct_size = sizeof(space)};

	must(!pheap_get_space(heap, &space));
	for (unsigned i = 0; i < HELD; i++)
		space.objects -= held[i].ptr != NULL;
	return space.objects - 1; /* what keeps the type of the table */
}

static void look_at_all(void)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	uint64_t objects = 2;
	bool open = false;

	for (unsigned i = 0; i < TXS; i++)
		open |= txs[i].tx != NULL;
	for (const struct slot *s = slots; s < slots + SLOTS; s++) {
		look_at(s);
		objects += s->kind == ARENA ? s->blocks : s->kind;
	}
	for (unsigned i = 0; i < HELD; i++)
		must(!held[i].ptr || has_pattern(held[i].ptr, held[i].size, held[i].id));
	for (unsigned i = 0; i < in_arena.n; i++)
		must(has_pattern(in_arena.piece[i], in_arena.size[i],
				 pheap_ref_of(heap, in_arena.piece[i])));
	must(!memcmp(words, model_words, sizeof(model_words)));
	if (open) {
		must(pheap_check(heap, NULL, NULL, NULL) == -EBUSY);
		return;
	}
	must(!pheap_check(heap, &result, show_problem, NULL));
	must((traced ? allocated() : result.objects) == objects);
}

/* Nothing is garbage, ever: what slots, open transactions and their snapshots reach is all. */
static void collect(struct choice *c)
{
	struct pheap_gc_options options = {
		.struct_size = sizeof(options), .flags = PHEAP_GC_CONSERVATIVE, .threads = 1};
	struct pheap_gc_report report = {.struct_size = sizeof(report)};

	if (choose(c, 2))
		options.flags |= PHEAP_GC_DRY_RUN;
	must(!pheap_gc(heap, &options, &report));
	must(!report.garbage && !report.freed && report.live == report.objects);
	look_at_all();
}

static void find_roots(void)
{
	must(!pheap_gc_join(heap)); /* open transactions are looked at */
	table = pheap_ptr(heap, *pheap_root(heap));
	words = pheap_ptr(heap, *pheap_named_root(heap, "words"));
	must(table && words);
}

static void drop_arena(void)
{
	pheap_arena_destroy(arena);
	arena = NULL;
	in_arena.n = 0;
}

/* What no operation has made permanent is gone. */
static void forget_reserved(void)
{
	memset(held, 0, sizeof(held));
	for (struct slot *s = slots; s < slots + SLOTS; s++)
		forget_pending(s);
	for (unsigned i = 0; i < TXS; i++) {
		txs[i].tx = NULL;
		txs[i].n = 0;
	}
}

static void close_heap(void)
{
	bool open = false;

	for (unsigned i = 0; i < TXS; i++)
		open |= txs[i].tx != NULL;
	drop_arena();
	if (open)
		must(pheap_close(heap) == -EBUSY);
	for (unsigned i = 0; i < TXS; i++)
		end_tx(&txs[i], false);
	for (unsigned i = 0; traced && i < HELD; i++)
		let_go(&held[i]); /* or they would stay */
	must(!pheap_close(heap));
}

/* kind 0: closed; 1: killed; 2: without power. */
static void reopen(uint64_t kind)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	struct pheap_info info = {.struct_size = sizeof(info)};

	if (kind == 0) {
		close_heap();
	} else {
		if (arena)
			drop_arena();
		ph_pool_abandon(heap);
	}
	if (kind == 2) {
		memory_free(media.seen, POOL);
		media.seen = memory_copy(media.durable, POOL);
	}
	must((heap = ph_pool_open_on(media.seen, POOL, &opts, &media_hook, &media)));
	must(!pheap_get_info(heap, &info) && info.recovered == (kind != 0));
	forget_reserved();
	find_roots();
	look_at_all();
}

/* ---- an input
 * --------------------------------------------------------------------------------------------- */

/* A traced pool is collected by its recovery. */
static void move_or_collect(struct choice *c)
{
	if (traced || choose(c, 2))
		step_move(c);
	else
		collect(c);
}

static void step(struct choice *c)
{
	switch (choose(c, 16)) {
	case 0:
	case 1:
	case 2:
		step_reserve(c);
		break;
	case 3:
	case 4:
		step_publish(c);
		break;
	case 5:
		step_retire(c);
		break;
	case 6:
		step_alloc_into(c);
		break;
	case 7:
		step_resize(c);
		break;
	case 8:
		step_write(c);
		break;
	case 9:
		step_set(c);
		break;
	case 10:
	case 11:
	case 12:
		step_tx(c);
		break;
	case 13:
		step_arena(c);
		break;
	case 14:
		if (choose(c, 2))
			must(!pheap_purge(heap, 0));
		else
			move_or_collect(c);
		break;
	default:
		if (choose(c, 3))
			look_at_all();
		else
			reopen(choose(c, 3));
	}
}

static void make_table(void)
{
	static const uint32_t refs[] = {0};
	const struct pheap_type_info info = {.struct_size = sizeof(info),
					     .name = "table",
					     .flags = PHEAP_TYPE_ARRAY,
					     .size = 8,
					     .refs = refs,
					     .nrefs = 1};
	pheap_type_t *type;

	if (traced) {
		must((type = pheap_type_register(heap, &info)));
		must(!pheap_publish(heap, pheap_root(heap), pheap_zalloc_array(type, SLOTS), 0));
	} else {
		must(!pheap_alloc_into(heap, pheap_root(heap), SLOTS * 8, NULL));
	}
}

static void begin(void)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .size = POOL, .flags = traced ? PHEAP_TRACED : 0};

	entropy = 1;
	next_id = 0;
	media_init(&media, POOL);
	must((heap = ph_pool_create_on(media.seen, POOL, &opts, &media_hook, &media)));
	make_table();
	must(!pheap_alloc_into(heap, pheap_named_root(heap, "words"), WORDS * 8, NULL));
	memset(model_words, 0, sizeof(model_words));
	forget_reserved();
	find_roots();
}

static void end(void)
{
	look_at_all();
	reopen(2);
	close_heap();
	for (struct slot *s = slots; s < slots + SLOTS; s++)
		set_nothing(s);
	for (unsigned i = 0; i < TXS; i++) {
		free(txs[i].changes);
		txs[i].changes = NULL;
	}
	media_free(&media);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choice c = {NULL, data, data + size};

	traced = size % 2;
	begin();
	for (unsigned i = 0; i < STEPS_MAX && choices_left(&c); i++)
		step(&c);
	end();
	return 0;
}
