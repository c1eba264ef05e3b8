/*
 * rings.pml - rings, stripes, stamps, checkpoints and recovery, and the program's own
 * durable stores beside them: lib/tx/lane.h, lib/tx/direct.c.
 *
 * Two lanes run OPS operations each on two words. The power may be cut, or the process
 * killed, at any step, in recovery too, CRASHES times in all; after recovery the lanes go
 * on with their next operations. Whenever a heap has been opened, each word must be what
 * the last operation on it that had happened made it: all that had returned have, and of
 * those in flight the ones whose record recovery found.
 *
 * An operation is a byte: two bits for the words that its record writes, two for those
 * that it only holds the stripes of, OP_DIRECT for a store of the program's own made
 * durable with pheap_persist(), OP_CHECKPOINT for nothing but a checkpoint, OP_ANY for a
 * record of any words, OP_EVERY for any of these. They come from the environment, so that one verifier serves all
 * programs, places and variants.
 */
#define OPS 3
#define RING 2
#define LINES 3
#define WPL 2
#define WORDS 2
#define VERSIONS 14
#define STRIPES 2

hidden byte line_of_1;		/* line of word 1: 0 or 1; word 0 is in line 0 */
hidden byte stripe_of_1;	/* stripe of line 1: 0 (a collision) or 1 */

#define LINE(w)		((w) * line_of_1)
#define AT(w)		(w)
#define STRIPE(l)	((l) * stripe_of_1)

#include "base.pml"

#define NO_SETTLE 21		/* direct stores do not settle their range */
#define NO_WAIT 22		/* nor wait for a record that is being applied */
#define NO_DIRECT_FENCE 23	/* the fence of pheap_persist() */

#define OP_DIRECT 16
#define OP_CHECKPOINT 32
#define OP_ANY 64
#define OP_EVERY 128
#define OP(i)		program[(i) * OPS + next[i]]
#define WRITES(op, w)	((op) >> (w) & 1)
#define COVERS(op, w)	((op) >> (w) & 4)

/* ---- the program, and what must be true ------------------------------------------ */

byte doing[2];		/* operation of a lane, 0: none */
bit seen[2];		/* its record has been applied */
byte may[2];		/* what each word may be: a set of values */

#define VALUE(i)	(1 + (i) * OPS + next[i])
#define RIGHT		(may[0] >> SEEN(LINE(0), 0) & 1 && may[1] >> SEEN(LINE(1), 1) & 1)

inline happens(i, r)
{
	if :: r.ghost & 1 -> may[0] = 1 << (r.ghost >> 2) :: else fi;
	if :: r.ghost & 2 -> may[1] = 1 << (r.ghost >> 2) :: else fi
}

inline cut_too()	{ skip }
inline kill_too()	{ skip }
inline before_write(i)	{ skip }
inline applied(i)	{ seen[i] = 1 }
inline judge_too()	{ skip }
inline attach_too()	{ skip }
inline end_too()	{ skip }

inline end_lane_too(i)
{
	if :: doing[i] -> next[i]++; doing[i] = 0 :: else fi;
	seen[i] = 0
}

/* A program does not store into a word that another of its threads is writing; but what
 * has been applied can be seen, whether the call has returned or not. */
#define MEETS(i, op)	(doing[1 - (i)] & (op) & 3 && !seen[1 - (i)] && \
			 ((op) & OP_DIRECT || doing[1 - (i)] & OP_DIRECT))

/* ---- operations -------------------------------------------------------------------- */

inline write_words(i)
{
	d_step {
		if :: WRITES(doing[i], 0) -> entry(i, 0, VALUE(i)) :: else fi;
		if :: WRITES(doing[i], 1) -> entry(i, 1, VALUE(i)) :: else fi;
		if :: COVERS(doing[i], 0) -> cover(i, 0) :: else fi;
		if :: COVERS(doing[i], 1) -> cover(i, 1) :: else fi;
		ghost[i] = VALUE(i) << 2 | (doing[i] & 3)
	}
	commit(i, true)
}

/* lib/tx/direct.c */
inline store_direct(i, w)
{
	d_step {
		store(LINE(w), w, VALUE(i));
		may[w] = may[w] | 1 << VALUE(i)
	}
	if
	:: WITH(NO_WAIT)
	:: else -> !(locked >> STRIPE(LINE(w)) & 1)
	fi;
	if
	:: LINE_SETTLED(LINE(w)) || WITH(NO_SETTLE)
	:: else -> checkpoint(i)
	fi;
	d_step { flush(i, LINE(w)) }
	d_step {
		if :: !WITH(NO_DIRECT_FENCE) -> fence(i) :: else fi;
		may[w] = 1 << VALUE(i)
	}
}

proctype Lane(byte i)
{
	byte op, saw;

endup:	{
		up;
		do
		:: next[i] < OPS ->
			if
			:: OP(i) < OP_ANY -> op = OP(i)
			:: OP(i) >= OP_ANY -> op = 1
			:: OP(i) >= OP_ANY -> op = 2
			:: OP(i) >= OP_ANY -> op = 3
			:: OP(i) == OP_EVERY -> op = OP_DIRECT + 1
			:: OP(i) == OP_EVERY -> op = OP_DIRECT + 2
			:: OP(i) == OP_EVERY -> op = OP_CHECKPOINT
			fi;
			d_step { !MEETS(i, op); doing[i] = op; op = 0 }
			if
			:: doing[i] == 0
			:: doing[i] == OP_CHECKPOINT -> checkpoint(i)
			:: doing[i] == OP_DIRECT + 1 -> store_direct(i, 0)
			:: doing[i] == OP_DIRECT + 2 -> store_direct(i, 1)
			:: else -> write_words(i)
			fi;
			d_step { next[i]++; doing[i] = 0; seen[i] = 0 }
		:: else -> break
		od;
end:		false
	} unless { dead[i] };
	d_step { dead[i] = 0; op = 0; saw = 0 }
	goto endup
}

#include "power.pml"

init {
	d_step {
		c_code {
			read_settings();
			line_of_1 = setting("LINE_OF_1", 1);
			stripe_of_1 = setting("STRIPE_OF_1", 1);
		};
		begin();
		may[0] = 1; may[1] = 1
	}
	atomic { run Lane(0); run Lane(1); run Power() }
}
