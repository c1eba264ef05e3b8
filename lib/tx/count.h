/*
 * count.h - reference counts of objects: what a record does with them.
 *
 * MEDIA: a word an object, beside the slab (layout.h: PM_COUNT_*), and the heads of chains
 * of dead objects.
 *
 * INVARIANTS
 *   K1  The word of a published object: alive, with the number of its strong and weak
 *       references; or dead, with that of weak ones, and in one chain; or dead and drained:
 *       its slots are counted no more, and weak references are left. Of an object that is
 *       not published it has no meaning; in a bitmap area it is 0.
 *   K2  Word and slot change in one record. So does the chain with the words of those that
 *       join or leave it.
 *   K3  What a dead object refers to has its count until the record in which that slot is
 *       cleared, or the object leaves the chain. Nothing links into a dead object.
 *
 * A count after the change depends on the one before. So words are looked at when the
 * record is built, to see which objects end; and again under the stripes, where the values
 * in the record are made right. Where others end than was thought: -EAGAIN, build anew.
 *
 *	ph_counting_init(&counting, &rec)
 *	ph_counting_born(), ph_counting_add() ...	what changes
 *	ph_counting_build()		its entries, before the slots' words
 *	ph_rec_lock()
 *	ph_counting_settle()		-EAGAIN: unlock, begin anew
 *	ph_counting_states()		then commit
 *	ph_counting_done()		then ph_count_drain_some()
 *
 * LOCKS: none of its own. A word's stripe covers it; the stripe of a chain's head its order.
 */
#ifndef PH_COUNT_H
#define PH_COUNT_H

#include "alloc/span.h"
#include "record.h"
#include "target.h"

enum ph_count_end {
	PH_COUNT_STAYS,
	PH_COUNT_DIES,	/* joins the chain */
	PH_COUNT_FREED, /* its bit is cleared */
};

struct ph_counted {
	struct ph_object object;
	int64_t strong, weak; /* what to add */
	uint32_t entry;	      /* where its new word is in the record */
	enum ph_count_end end;
	bool born;   /* published by this record */
	bool popped; /* leaves the chain, whose first it is */
};

struct ph_counting {
	struct ph_rec *rec;
	struct pheap *heap;
	uint64_t head;	     /* offset of the chain's head */
	uint32_t head_entry; /* where its new value is in the record; 0: it does not change */
	uint64_t popped;     /* the object that leaves it, or 0 */
	uint32_t n, cap;
	struct ph_counted *c;
	struct ph_counted space[8];
};

void ph_counting_init(struct ph_counting *counting, struct ph_rec *rec);
void ph_counting_fini(struct ph_counting *counting);

/* An object is published by the record; then, with all of them known, what it refers to. */
int ph_counting_born(struct ph_counting *counting, const struct ph_object *object);
int ph_counting_content(struct ph_counting *counting, const struct ph_object *object);

/* References come, or go. */
int ph_counting_add(struct ph_counting *counting, uint64_t ref, int strong, int weak);

/* Before a slot of it is written: it must be alive, and stay so. */
int ph_counting_build(struct ph_counting *counting);
int ph_counting_settle(struct ph_counting *counting);
void ph_counting_states(struct ph_counting *counting);
void ph_counting_done(struct ph_counting *counting);

/* A slot in a counted object: is it one of those, strong or weak? Any other target: yes. */
int ph_count_slot(struct pheap *heap, const char *what, const struct ph_target *slot, bool weak);
/* Its object must be alive: build covers its word, settle looks. */
void ph_count_cover(struct ph_rec *rec, const struct ph_target *slot);
int ph_count_alive(struct pheap *heap, const struct ph_target *slot);

/* May these bytes of a counted object be written to, because none is of a reference? */
int ph_count_plain(struct pheap *heap, const char *what, const struct ph_target *target,
		   uint64_t length);

/*
 * Publish an object, or link one, or null, in place of what a slot holds: born.slab NULL:
 * ref. want: 1: it must be null (EEXIST); 2: it must not (ENOENT).
 */
struct ph_count_link {
	struct pheap *heap;
	const char *what;
	uint64_t *word;
	struct ph_target slot;
	struct ph_object born;
	bool content; /* of born: in the record */
	bool weak;
	int want;
	uint64_t ref, old;
	const uint64_t *from; /* it must hold ref still */
};
int ph_count_link(struct ph_count_link *link);

/* Free what is dead: all in the caller's chain, and some of what was left in others. */
void ph_count_drain_some(struct pheap *heap);

/* At open: what a crash left, up to a bound. */
void ph_count_resume(struct pheap *heap);

static inline bool ph_is_counted(const struct ph_object *object)
{
	return object->slab && PH_SEEN(object->slab, counted);
}

/* Offset of the word of an object. */
static inline uint64_t ph_count_word(const struct ph_object *object)
{
	const struct ph_slab *slab = object->slab;
	uint32_t n = PH_SEEN(slab, objects);

	return (n <= PM_COUNT_IN_BITS ? PH_SEEN(slab, bits) + PM_COUNT_BITS_OFFSET
				      : PH_SEEN(slab, start) + PM_GRANULE - PM_COUNT_TAIL(n)) +
	       8 * (uint64_t)object->index;
}

#endif
