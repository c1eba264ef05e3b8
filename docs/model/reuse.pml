/*
 * reuse.pml - memory that changes its owner: publish, replace and retire through slots,
 * redo writes into objects, records that go on in memory of their own, limbo. lib/heap.h
 * H1 to H3, lib/tx/publish.c, lib/alloc/tcache.c.
 *
 * Two cells of memory of one slab, each in a line of its own, two bits and two slots. Lanes
 * run OPS operations each. Whenever a heap has been opened, each slot must be null or lead
 * to a cell with the content that the last operation on it gave it; a bit is set if and only
 * if its cell is linked, and no cell is linked twice.
 *
 * With LARGE each cell is the span of a large object (lib/alloc/large.h): a descriptor says
 * that it is born. The record that publishes in a span that is not has its birth too; one that
 * is retired stays born, and is kept until a record of its own ends it.
 */
#define OPS 3
#define RING 2
#define LINES 6
#define WPL 2
#define WORDS 8
#define VERSIONS 12
#define STRIPES 5

/* Words: content of two cells, their bits, two slots, descriptors. */
#define CELL(c)		(c)
#define BIT(c)		(2 + (c))
#define SLOT(s)		(4 + (s))
#define BORN(c)		(6 + (c))
hidden byte large;
hidden byte line_of[WORDS], at[WORDS];
#define LINE(w)		line_of[w]
#define AT(w)		at[w]
#define STRIPE(l)	(l)

#include "base.pml"

#define NO_LIMBO 40		/* H3: what is retired is free at once */
#define LIMBO_RUNNING 41	/* H3: a checkpoint that had begun ends limbo as well */
#define NO_TOUCH_SET 42		/* H3: a redo write does not mark the slab */
#define NO_TOUCH_CONTENT 43	/* H3: nor does content that travels in the record */
#define TOUCH_EARLY 44		/* H3: the slab is marked before the lane is held */
#define NO_CONTENT_FENCE 45	/* the fence between content and the record that links it */
#define NO_CONTENT_FLUSH 46	/* the flush before it */
#define CONTENT_UNNOTED 47	/* content in place already is not put on the dirty list */
#define FREE_EARLY 48		/* H1: free in DRAM before the record is durable */
#define NO_MORE_FENCE 49	/* the fence between what a record goes on in and the record */
#define NO_MORE_LIMBO 50	/* H3: that memory is free at once */
#define TWO_RECORDS 51		/* the bit in one record, the link in the next */
#define BORN_EARLY 52		/* born in DRAM before the record that says so is committed */
#define END_EARLY 53		/* free to be born again before the record that ends it */
#define NO_BIRTH 54		/* the birth is in no record */

/* Operations on a slot, + 8 for slot 1. */
#define PUBLISH 1 /* content in the record */
#define PUBLISH_LARGE 2 /* content flushed before it */
#define SET 3 /* redo write into the object */
#define RETIRE 4
#define REPLACE 5
#define REPLACE_LARGE 6
#define WRITE_LARGE 7 /* redo write whose record goes on in a cell */
#define END 8 /* end a span that is kept; on no slot */
#define KIND(op)	((op) & 7)
#define S(op)		((op) >> 3 & 1)

/* ---- objects ------------------------------------------------------------------------ */

#define FREE 0
#define RESERVED 1
#define PUBLISHED 2
#define LIMBO 3
byte state[2], tag[2], touched;
bit born[2];

byte doing[2];		/* 0: none */
bit seen[2];
int may[2];		/* contents that each slot may lead to, a set; 0: the slot is null */

#define NOTHING 15 /* content of memory that was never used */
#define VALUE(i)	(1 + (i) * OPS + next[i])
#define MORE(i)		(8 + VALUE(i))		/* what a record goes on in */
#define LINK(s)		SEEN(LINE(SLOT(s)), AT(SLOT(s)))
#define LINKED(c)	(LINK(0) == (c) + 1 || LINK(1) == (c) + 1)
#define CONTENT(s)	(LINK(s) == 0 -> 0 : SEEN(LINK(s) - 1, 0))
#define HAS_BIT(c)	SEEN(LINE(BIT(c)), AT(BIT(c)))
#define SOUND(c)	(HAS_BIT(c) == LINKED(c) && \
			 (!large || !HAS_BIT(c) || SEEN(LINE(BORN(c)), AT(BORN(c)))))
#define RIGHT		(may[0] >> CONTENT(0) & 1 && may[1] >> CONTENT(1) & 1 && \
			 SOUND(0) && SOUND(1) && (LINK(0) == 0 || LINK(0) != LINK(1)))

/* Ghost of a record: slot, content << 1, 16: of no slot, and 1 + the cell that it goes on
 * in, << 6. */
inline happens(i, r)
{
	if
	:: r.ghost & 16
	:: else -> may[r.ghost & 1] = 1 << (r.ghost >> 1 & 7)
	fi
}

inline applied(i)	{ seen[i] = 1 }
inline end_too()
{
	state[0] = 0; state[1] = 0; tag[0] = 0; tag[1] = 0; touched = 0; born[0] = 0; born[1] = 0
}

inline end_lane_too(i)
{
	if :: doing[i] -> next[i]++; doing[i] = 0 :: else fi;
	seen[i] = 0
}

inline judge_more(r)
{
	if
	:: LIVE(r) && ring[r].ghost >> 6 ->	/* or the pool is refused */
		assert(SEEN((ring[r].ghost >> 6) - 1, 0) == 8 + (ring[r].ghost >> 1 & 7)) /* .damaged */
	:: else
	fi
}

inline judge_too()
{
	judge_more(0); judge_more(1); judge_more(2); judge_more(3);
	h_k = 0
}

inline attach_too()
{
	state[0] = (SEEN(2, 0) -> PUBLISHED : FREE);
	state[1] = (SEEN(2, 1) -> PUBLISHED : FREE);
	born[0] = SEEN(4, 0); born[1] = SEEN(4, 1)
}

/* A program does not write into an object while another of its threads is freeing it, or
 * before it has seen it. */
#define IN_PLACE(op)	(KIND(op) == SET || KIND(op) == WRITE_LARGE)
#define MEETS(i, op)	(doing[1 - (i)] && !seen[1 - (i)] && S(doing[1 - (i)]) == S(op) && \
			 (IN_PLACE(op) || IN_PLACE(doing[1 - (i)])))

/* With the record's lane held, before the commit: lib/alloc/tcache.h ph_touch(). */
#define TOUCHES(i)	((KIND(doing[i]) == SET && !WITH(NO_TOUCH_SET)) || \
			 (KIND(doing[i]) == WRITE_LARGE && !WITH(NO_TOUCH_SET)) || \
			 ((KIND(doing[i]) == PUBLISH || KIND(doing[i]) == REPLACE) && \
			  !WITH(NO_TOUCH_CONTENT)))

inline cut_too()	{ skip }
inline kill_too()	{ skip }
inline before_write(i)
{
	if
	:: !TOUCHES(i)
	:: TOUCHES(i) && WITH(TOUCH_EARLY) ->
		touched = (touched > early -> touched : early)
	:: else -> touched = begun
	fi;
	if :: d && WITH(FREE_EARLY) -> state[d - 1] = FREE :: else fi
}

/* ---- reserve and retire ----------------------------------------------------------------- */

inline drain(c)
{
	if :: state[c] == LIMBO && tag[c] < done -> state[c] = FREE; tag[c] = 0 :: else fi
}

/* c: 1 + a cell, or 0. The other lane waits for neither. */
inline reserve(i)
{
	d_step {
		drain(0); drain(1);
		c = (state[0] == FREE -> 1 : (state[1] == FREE -> 2 : 0));
		if :: c -> state[c - 1] = RESERVED :: else fi
	}
	if
	:: c
	:: else ->
		checkpoint(i);
		d_step {
			drain(0); drain(1);
			c = (state[0] == FREE -> 1 : (state[1] == FREE -> 2 : 0));
			if :: c -> state[c - 1] = RESERVED :: else fi
		}
	fi
}

inline to_limbo(x, skip_it)
{
	if
	:: skip_it -> state[x] = FREE
	:: else -> state[x] = LIMBO; tag[x] = (WITH(LIMBO_RUNNING) -> done : begun)
	fi
}

/* lib/alloc/tcache.c ph_tcache_retire() */
inline retire(x)
{
	to_limbo(x, (touched < done || WITH(NO_LIMBO)))
}

/* ---- operations ------------------------------------------------------------------------- */

inline fill(i, x)
{
	d_step { store((c - 1), 0, x) }
	if
	:: KIND(doing[i]) == PUBLISH || KIND(doing[i]) == REPLACE
	:: else ->
		d_step { if :: !WITH(NO_CONTENT_FLUSH) || KIND(doing[i]) == WRITE_LARGE -> flush(i, (c - 1)) :: else fi }
		d_step {
			if
			:: WITH(NO_CONTENT_FENCE) && KIND(doing[i]) != WRITE_LARGE
			:: WITH(NO_MORE_FENCE) && KIND(doing[i]) == WRITE_LARGE
			:: else -> fence(i)
			fi
		}
	fi
}

/* Publish c through the slot, over d where there is one; either may be 0. */
inline change(i)
{
	if
	:: WITH(TWO_RECORDS) && c ->
		d_step {
			entry(i, BIT(c - 1), 1);
			ghost[i] = CONTENT(S(doing[i])) << 1 | S(doing[i])
		}
		commit(i, true)
	:: else
	fi;
	d_step {
		if
		:: c ->
			if
			:: KIND(doing[i]) == PUBLISH || KIND(doing[i]) == REPLACE ->
				entry(i, CELL(c - 1), VALUE(i));
				if
				:: WITH(CONTENT_UNNOTED) -> writes[i] = writes[i] & ~(1 << (c - 1))
				:: else
				fi
			:: else
			fi;
			entry(i, BIT(c - 1), 1);
			if
			:: large && !born[c - 1] ->
				if :: !WITH(NO_BIRTH) -> entry(i, BORN(c - 1), 1) :: else fi;
				if :: WITH(BORN_EARLY) -> born[c - 1] = 1 :: else fi
			:: else
			fi
		:: else
		fi;
		if :: d -> entry(i, BIT(d - 1), 0) :: else fi;
		entry(i, SLOT(S(doing[i])), c);
		ghost[i] = (c -> VALUE(i) : 0) << 1 | S(doing[i])
	}
	commit(i, (LINK(S(doing[i])) == d));
	d_step {
		if
		:: seen[i] ->
			if :: c -> state[c - 1] = PUBLISHED; born[c - 1] = large :: else fi;
			if :: d && !WITH(FREE_EARLY) -> retire((d - 1)) :: else fi
		:: c && !seen[i] -> state[c - 1] = FREE
		:: else
		fi;
		c = 0; d = 0
	}
}

/* lib/alloc/span.c ph_span_end(), of a span in a cache: A1 */
inline end_span(i)
{
	d_step {
		drain(0); drain(1);
		c = (state[0] == FREE && born[0] -> 1 : (state[1] == FREE && born[1] -> 2 : 0));
		if
		:: c ->
			if :: WITH(END_EARLY) -> born[c - 1] = 0 :: else -> state[c - 1] = RESERVED fi;
			entry(i, BORN(c - 1), 0);
			ghost[i] = 16
		:: else
		fi
	}
	if
	:: c ->
		commit(i, true);
		d_step { if :: !WITH(END_EARLY) -> born[c - 1] = 0; state[c - 1] = FREE :: else fi; c = 0 }
	:: else
	fi
}

inline write_object(i)
{
	d_step {
		entry(i, CELL(d - 1), VALUE(i));
		ghost[i] = c << 6 | VALUE(i) << 1 | S(doing[i])
	}
	commit(i, true);
	d_step {
		if
		:: c -> to_limbo((c - 1), (WITH(NO_MORE_LIMBO)))
		:: else
		fi;
		c = 0; d = 0
	}
}

proctype Lane(byte i)
{
	byte c, d, saw, early;

endup:	{
		up;
		do
		:: next[i] < OPS ->
			d_step { !MEETS(i, program[i * OPS + next[i]]);
				 doing[i] = program[i * OPS + next[i]];
				 if :: WITH(TOUCH_EARLY) -> early = begun :: else fi;
				 d = (KIND(doing[i]) -> LINK(S(doing[i])) : 0) }
			if
			:: doing[i] == 0
			:: doing[i] == END -> end_span(i)
			:: KIND(doing[i]) && (d == 0) == (KIND(doing[i]) == PUBLISH || KIND(doing[i]) == PUBLISH_LARGE) ->
				if
				:: KIND(doing[i]) == SET || KIND(doing[i]) == RETIRE
				:: else -> reserve(i)
				fi;
				if
				:: KIND(doing[i]) == SET -> write_object(i)
				:: KIND(doing[i]) == RETIRE -> change(i)
				:: KIND(doing[i]) == WRITE_LARGE && c -> fill(i, MORE(i)); write_object(i)
				:: KIND(doing[i]) != WRITE_LARGE && c && KIND(doing[i]) != SET && KIND(doing[i]) != RETIRE ->
					fill(i, VALUE(i)); change(i)
				:: else /* ENOSPC */
				fi
			:: else /* EEXIST, ENOENT */
			fi;
			d_step { next[i]++; doing[i] = 0; seen[i] = 0; c = 0; d = 0; early = 0 }
		:: else -> break
		od;
end:		false
	} unless { dead[i] };
	d_step { dead[i] = 0; c = 0; d = 0; saw = 0; early = 0 }
	goto endup
}

#include "power.pml"

init {
	d_step {
		c_code { read_settings(); large = setting("LARGE", 0); };
		begin();
		line_of[1] = 1; line_of[2] = 2; line_of[3] = 2; line_of[4] = 3; line_of[5] = 3;
		line_of[6] = 4; line_of[7] = 4;
		at[3] = 1; at[5] = 1; at[7] = 1;
		line[0].v[0] = NOTHING; line[1].v[0] = NOTHING;
		may[0] = 1; may[1] = 1
	}
	atomic { run Lane(0); run Lane(1); run Power() }
}
