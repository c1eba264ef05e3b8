/*
 * lanes.pml - a lane that is added while the other one works, a lane that two threads
 * share, and close: R6 of lib/tx/lane.h, lib/tx/lane.c, pheap_close() in lib/pool.c.
 *
 * Two processes on two words, OPS operations each. There is one lane at first, and process
 * 1 writes to it too, until it adds one of its own, in memory that was something else's
 * before. Close settles the records of all lanes and marks the pool clean; then it is
 * opened again. Whenever the heap has been opened each word must be what the last operation
 * on it that happened made it; a lane that the table names has an empty head; and a pool
 * that is marked clean is right as it lies on media, with no record live: it may be copied.
 */
#define OPS 3
#define RING 2
#define LINES 5
#define WPL 3
#define WORDS 3
#define VERSIONS 14
#define STRIPES 3

/* Words: two of the program's, the entry of lane 1 in the lane table. Line 3 is the head
 * page of lane 1. State line, word 2: 1 where the pool is clean. */
#define ENTRY 2
#define HEAD 3
hidden byte line_of[WORDS], at[WORDS];
#define LINE(w)		line_of[w]
#define AT(w)		at[w]
#define STRIPE(l)	((l) < 3 -> (l) : 0)

bit joined, known;		/* lane 1 is there; recovery saw it in the table */
bit closing, closed;
byte closes;
#define JOINS
#define ON(i)		((i) && joined)
#define FOUND(r)	((r) < RING || known)
#define CLOSES
#define OPENINGS	(crashes + closes)
#define REMEMBERS	WITH(JOIN_CLOCK_0)

#define NO_ENTRY_SETTLE 90	/* R6: the entry of a new lane is not settled before its use */
#define NO_HEAD_FENCE 91	/* the fence between its head and the record that makes it a lane */
#define NO_HEAD_FLUSH 92	/* the flush before it */
#define JOIN_RUNNING 93		/* R5: it joins while a checkpoint is running */
#define JOIN_CLOCK_0 94		/* R5: its clock begins at 0, not at S */
#define CLOSE_UNSETTLED 95	/* close marks the pool clean, and settles nothing */
#define CLOSE_OWN 96		/* close settles the lane of its caller only */
#define STATUS_EARLY 97		/* close marks the pool clean before it settles */
#define STATUS_STAYS 98		/* open leaves the pool marked clean */

#include "base.pml"

/* Operations: 1 to 3 records of these words; */
#define OP_JOIN 4
#define OP_CLOSE 8
#define OP_CHECKPOINT 32

/* In memory that was something else's. */
#define GARBAGE 15

/* ---- the program, and what must be true ------------------------------------------ */

byte doing[2];
byte may[2];

#define VALUE(i)	(1 + (i) * OPS + next[i])
#define WORD(w)		SEEN(LINE(w), AT(w))
#define RIGHT		(may[0] >> WORD(0) & 1 && may[1] >> WORD(1) & 1 && \
			 (!WORD(ENTRY) || SEEN(HEAD, 0) == 0))

inline happens(i, r)
{
	if :: r.ghost & 1 -> may[0] = 1 << (r.ghost >> 2) :: else fi;
	if :: r.ghost & 2 -> may[1] = 1 << (r.ghost >> 2) :: else fi
}

inline cut_too()	{ skip }
inline kill_too()	{ skip }
inline before_write(i)	{ skip }
inline applied(i)	{ skip }
inline end_too()	{ joined = 0; known = 0; lanes = 0; counted = 0; closing = 0; closed = 0 }

inline end_lane_too(i)
{
	if :: doing[i] -> next[i]++; doing[i] = 0 :: else fi
}

/* The lane table is read as it is, before anything is replayed. */
inline judge_too()
{
	known = WORD(ENTRY);
	if
	:: SEEN(STATE, 2) ->
		assert(RIGHT && !LIVE(0) && !LIVE(1) && !LIVE(2) && !LIVE(3))
	:: else
	fi
}

inline attach_too()
{
	joined = WORD(ENTRY);
	lanes = 1 + joined;
	known = 0;
	if :: !joined -> clock[1] = 0; visited[1] = 0 :: else fi
}

/* ---- operations -------------------------------------------------------------------- */

inline write_words(i)
{
	d_step {
		if :: doing[i] & 1 -> entry(i, 0, VALUE(i)) :: else fi;
		if :: doing[i] & 2 -> entry(i, 1, VALUE(i)) :: else fi;
		ghost[i] = VALUE(i) << 2 | doing[i]
	}
	commit(i, true)
}

/* lib/tx/lane.c publish_block(), add_locked(): through the lane that is there. */
inline join(i)
{
	d_step { store(HEAD, 0, 0); if :: !WITH(NO_HEAD_FLUSH) -> flush(i, HEAD) :: else fi }
	d_step { if :: !WITH(NO_HEAD_FENCE) -> fence(i) :: else fi }
	d_step { entry(i, ENTRY, 1) }
	commit(i, true);
	if :: WITH(NO_ENTRY_SETTLE) :: else -> checkpoint(i) fi;
	d_step {
		!checkpoint_lock || WITH(JOIN_RUNNING);
		clock[1] = (WITH(JOIN_CLOCK_0) -> 0 : settled);
		visited[1] = clock[1];
		joined = 1;
		lanes = 2
	}
}

/* lib/pool.c settle_and_mark(). No thread is in a call, and none makes one later. */
inline mark_clean(i)
{
	d_step { store(STATE, 2, 1); flush(i, STATE) }
	d_step { fence(i) }
}

inline close(i)
{
	if :: WITH(STATUS_EARLY) -> mark_clean(i) :: else fi;
	if
	:: WITH(CLOSE_UNSETTLED)
	:: WITH(CLOSE_OWN) -> d_step { dirty[1 - ON(i)] = 0 } checkpoint(i)
	:: else -> checkpoint(i)
	fi;
	mark_clean(i);
	closed = 1;
	false
}

proctype Lane(byte i)
{
	byte saw;

endup:	{
		up;
		do
		:: next[i] < OPS ->
			d_step {
				!closing && (program[i * OPS + next[i]] != OP_CLOSE || !doing[1 - i]);
				doing[i] = program[i * OPS + next[i]];
				closing = doing[i] == OP_CLOSE
			}
			if
			:: doing[i] == 0
			:: doing[i] == OP_CHECKPOINT -> checkpoint(i)
			:: doing[i] == OP_JOIN && joined
			:: doing[i] == OP_JOIN && !joined -> join(i)
			:: doing[i] == OP_CLOSE -> close(i)
			:: else -> write_words(i)
			fi;
			d_step { next[i]++; doing[i] = 0 }
		:: else -> break
		od;
end:		false
	} unless { dead[i] };
	d_step { dead[i] = 0; saw = 0 }
	goto endup
}

#include "power.pml"

init {
	d_step {
		c_code {
			read_settings();
			line_of[1] = setting("LINE_OF_1", 1);
		};
		line_of[ENTRY] = 2;
		at[1] = 1;
		begin();
		lanes = 1;
		line[HEAD].v[0] = GARBAGE;
		may[0] = 1; may[1] = 1
	}
	atomic { run Lane(0); run Lane(1); run Power() }
}
