/*
 * undo.pml - transactions that store in place: snapshots, commit, abort, rollback, and
 * redo records beside and within them. lib/tx/undo.h U1 to U4, lib/tx/tx.c.
 *
 * Two words, in one line or two, and two undo logs that any transaction may take. Lanes run
 * OPS operations each: a record of the words of a set, or a transaction that snapshots them,
 * stores in place, and commits or aborts. Whenever a heap has been opened, each word must be
 * what the last operation on it that happened made it; what was under way is undone.
 *
 * With SPANS = 1 a log has room for one entry in its own area, and goes on in a span for the
 * second; with SPANS = 2 it is full already. There is one span, which any log may have next.
 */
#define OPS 3
#define RING 2
#define LINES 5
#define WPL 2
#define WORDS 4
#define VERSIONS 14
#define STRIPES 4

/* Words: two of the program's, `ended` of two logs. */
#define ENDED(l)	(2 + (l))
hidden byte line_of[WORDS], at[WORDS];
#define LINE(w)		line_of[w]
#define AT(w)		at[w]
#define STRIPE(l)	(l)
#define ROLLS_BACK

#include "base.pml"

#define NO_SAVE_FENCE 60	/* U2: the fence between entries and the program's stores */
#define NO_SAVE_SETTLE 61	/* U3: a snapshot does not settle its range */
#define NO_COMMIT_FLUSH 62	/* commit does not flush what was stored in place */
#define NO_COMMIT_FENCE_1 63	/* nor fences it before the record */
#define NO_RESTORE_FLUSH 64	/* U4: abort does not flush what it restored */
#define NO_RESTORE_FENCE 65	/* U4: nor fences it before the record that ends the log */
#define END_FIRST 66		/* U4: abort ends the generation before it restores */
#define NO_ABORT_END 67		/* U4: abort does not end the generation */
#define ENDED_APART 68		/* the end of the generation in a record of its own */
#define NO_GUARD 69		/* U3: records may write into another's snapshot */
#define SAVE_UNHELD 70		/* U3: the stripes are not held while a range is saved */
#define LOG_EARLY 71		/* the log is another's before the record is durable */
#define GEN_STAYS 72		/* U1: a log's next transaction has the same generation */
#define R_ANY_GEN 73		/* U1: rollback takes generations that have ended */
#define R_UNDO_ANY_EPOCH 74	/* U1: and those of other epochs */
#define R_UNDO_NO_SUM 75	/* U1: and torn entries */
#define R_BACK_FIRST 76		/* rollback before replay */
#define R_ANY_LOG 79		/* U1: and those of another log, in a span that both had */
#define SPAN_EARLY 80		/* a span is another log's before the record is durable */
#define R_NO_BACK_FLUSH 78	/* what rollback wrote is not flushed */

/* An operation: a set of words, and what is done to them. */
#define REDO 0
#define COMMIT 4 /* store in place, commit */
#define ABORT 8 /* store in place, abort */
#define MIXED 12 /* store in place; the other word by the record; commit */
#define KIND(op)	((op) & 12)
#define HAS(op, w)	((op) >> (w) & 1)

/* ---- undo logs: two entries each, written past the cache ------------------------------ */

hidden byte spans;
#define SPAN 4
#define PLACE_OF(l, k)	(spans == 2 || ((k) && spans) -> SPAN : (l) * 2 + (k))
#define NEEDS_SPAN(i)	(spans == 2 || (spans && HAS(doing[i], 0) && HAS(doing[i], 1)))

typedef Entry {
	byte epoch, gen, log, word, old;
	bit torn;
}
Entry undo[5], undo_before[5];
bit pending[5];

inline copy_entry(to, from)
{
	to.epoch = from.epoch; to.gen = from.gen; to.log = from.log; to.word = from.word;
	to.old = from.old; to.torn = from.torn
}

inline clear_entry(to)
{
	to.epoch = 0; to.gen = 0; to.log = 0; to.word = 0; to.old = 0; to.torn = 0
}

inline put_entry(l, k, w)
{
	h_i = PLACE_OF(l, k);
	copy_entry(undo_before[h_i], undo[h_i]);
	pending[h_i] = 1;
	undo[h_i].epoch = epoch;
	undo[h_i].gen = gen[l];
	undo[h_i].log = l;
	undo[h_i].word = w;
	undo[h_i].old = SEEN(LINE(w), AT(w));
	undo[h_i].torn = 0;
	h_i = 0
}

inline entry_fenced(x)	{ pending[x] = 0; clear_entry(undo_before[x]) }

inline cut_entry(x)
{
	if
	:: pending[x] ->
		if
		:: d_step { undo[x].torn = 1; undo[x].old = 0; entry_fenced(x) }
		:: d_step { copy_entry(undo[x], undo_before[x]); entry_fenced(x) }
		:: d_step { entry_fenced(x) }
		fi
	:: else
	fi
}

inline cut_too()	{ cut_entry(0); cut_entry(1); cut_entry(2); cut_entry(3); cut_entry(4) }
/* What a kill leaves unfenced is visible or not; the stores that it guards were not made. */
inline kill_too()	{ cut_entry(0); cut_entry(1); cut_entry(2); cut_entry(3); cut_entry(4) }

/* ---- DRAM, program, ghost -------------------------------------------------------------- */

bit used[2], span_used;
byte gen[2];
byte snapped[2];	/* 1 + lane whose open transaction has saved the word */
byte doing[2];
bit started[2], seen[2];
int may[2];

#define VALUE(i)	(1 + (i) * OPS + next[i])
#define WORD(w)		SEEN(LINE(w), AT(w))
#define RIGHT		(may[0] >> WORD(0) & 1 && may[1] >> WORD(1) & 1)

/* Ghost of a record: words that are new with it, and their value << 2. */
inline happens(i, r)
{
	if :: r.ghost & 1 -> may[0] = 1 << (r.ghost >> 2) :: else fi;
	if :: r.ghost & 2 -> may[1] = 1 << (r.ghost >> 2) :: else fi
}

inline before_write(i)	{ skip }
inline applied(i)	{ seen[i] = 1 }
inline judge_too()	{ skip }
inline attach_too()	{ gen[0] = WORD(ENDED(0)); gen[1] = WORD(ENDED(1)) }

inline end_too()
{
	used[0] = 0; used[1] = 0; gen[0] = 0; gen[1] = 0; snapped[0] = 0; snapped[1] = 0;
	span_used = 0
}

inline end_lane_too(i)
{
	if :: started[i] -> next[i]++; started[i] = 0 :: else fi;
	doing[i] = 0; seen[i] = 0
}

/* ---- rollback: lib/recovery/replay.c ------------------------------------------------------ */

#define UNDO_LIVE(x, l)	(undo[x].epoch && (undo[x].log == (l) || WITH(R_ANY_LOG)) && \
			 (!undo[x].torn || WITH(R_UNDO_NO_SUM)) && \
			 (undo[x].epoch == SEEN(STATE, 1) || WITH(R_UNDO_ANY_EPOCH)) && \
			 (undo[x].gen > WORD(ENDED(l)) || WITH(R_ANY_GEN)))

inline restore(e)
{
	h_i = undo[e].word;
	h_j = undo[e].old;
	store(LINE(h_i), AT(h_i), h_j)
}

inline roll_back_log(l)
{
	if
	:: UNDO_LIVE(PLACE_OF(l, 0), l) ->
		if
		:: spans != 2 && UNDO_LIVE(PLACE_OF(l, 1), l) &&
		   undo[PLACE_OF(l, 1)].gen == undo[(l) * 2].gen -> restore(PLACE_OF(l, 1))
		:: else
		fi;
		restore(PLACE_OF(l, 0))
	:: else
	fi
}

inline roll_back()
{
	roll_back_log(0); roll_back_log(1);
	if :: !WITH(R_NO_BACK_FLUSH) -> flush(RECOVERY, 0); flush(RECOVERY, 1) :: else fi;
	h_k = 0
}

/* ---- operations ------------------------------------------------------------------------------ */

#define MINE(i, w)	(snapped[w] == 0 || snapped[w] == (i) + 1)
#define GUARDED(i, set)	(((!HAS(set, 0) || MINE(i, 0)) && (!HAS(set, 1) || MINE(i, 1))) || \
			 WITH(NO_GUARD))

inline redo(i)
{
	d_step {
		if :: HAS(doing[i], 0) -> entry(i, 0, VALUE(i)) :: else fi;
		if :: HAS(doing[i], 1) -> entry(i, 1, VALUE(i)) :: else fi;
		ghost[i] = VALUE(i) << 2 | (doing[i] & 3)
	}
	commit(i, GUARDED(i, doing[i]))
}

inline forget_range(i)
{
	if :: snapped[0] == i + 1 -> snapped[0] = 0 :: else fi;
	if :: snapped[1] == i + 1 -> snapped[1] = 0 :: else fi
}

/* The stripes only; the lane is let go at once. */
inline hold_range(i)
{
	d_step {
		if :: HAS(doing[i], 0) && !WITH(SAVE_UNHELD) -> cover(i, 0) :: else fi;
		if :: HAS(doing[i], 1) && !WITH(SAVE_UNHELD) -> cover(i, 1) :: else fi
	}
	take_stripes(i);
	lane_lock[i] = 0
}

#define RANGE_SETTLED(i)	((!HAS(doing[i], 0) || LINE_SETTLED(LINE(0))) && \
				 (!HAS(doing[i], 1) || LINE_SETTLED(LINE(1))))

inline give_span(i)
{
	if
	:: NEEDS_SPAN(i) -> span_used = 0
	:: else
	fi
}

/* lib/tx/undo.c save(). l: 1 + the log, 0: refused */
inline save(i)
{
	d_step {
		!used[0] || !used[1];
		l = (used[0] -> 2 : 1);
		used[l - 1] = 1;
		if :: !WITH(GEN_STAYS) || gen[l - 1] == 0 -> gen[l - 1]++ :: else fi
	}
	if
	:: NEEDS_SPAN(i) -> d_step { !span_used; span_used = 1 }
	:: else
	fi;
	hold_range(i);
	if
	:: RANGE_SETTLED(i) || WITH(NO_SAVE_SETTLE)
	:: else -> checkpoint(i)
	fi;
	d_step {
		if
		:: MINE(i, 0) || !HAS(doing[i], 0) ->
			if
			:: MINE(i, 1) || !HAS(doing[i], 1) ->
				if
				:: HAS(doing[i], 0) -> put_entry((l - 1), 0, 0); snapped[0] = i + 1
				:: else
				fi;
				if
				:: HAS(doing[i], 1) && HAS(doing[i], 0) ->
					put_entry((l - 1), 1, 1); snapped[1] = i + 1
				:: HAS(doing[i], 1) && !HAS(doing[i], 0) ->
					put_entry((l - 1), 0, 1); snapped[1] = i + 1
				:: else
				fi
			:: else -> used[l - 1] = 0; l = 0; give_span(i)
			fi
		:: else -> used[l - 1] = 0; l = 0; give_span(i)
		fi;
		give_stripes(i, 0);
		clear_build(i)
	}
	if
	:: l ->
		d_step {
			if
			:: !WITH(NO_SAVE_FENCE) ->
				fence(i);
				entry_fenced(PLACE_OF(l - 1, 0));
				if
				:: HAS(doing[i], 0) && HAS(doing[i], 1) -> entry_fenced(PLACE_OF(l - 1, 1))
				:: else
				fi
			:: else
			fi
		}
	:: else
	fi
}

inline store_in_place(i)
{
	d_step {
		if :: HAS(doing[i], 0) -> store(LINE(0), AT(0), VALUE(i)) :: else fi;
		if :: HAS(doing[i], 1) -> store(LINE(1), AT(1), VALUE(i)) :: else fi;
		h_k = 0
	}
}

inline flush_range(i)
{
	if :: HAS(doing[i], 0) -> flush(i, LINE(0)) :: else fi;
	if :: HAS(doing[i], 1) -> flush(i, LINE(1)) :: else fi
}

inline end_log(i)
{
	d_step {
		forget_range(i);
		if :: l -> used[l - 1] = 0 :: else fi;
		give_span(i);
		l = 0
	}
}

#define OTHER(set)	(3 - ((set) & 3))

inline commit_tx(i)
{
	d_step { if :: !WITH(NO_COMMIT_FLUSH) -> flush_range(i) :: else fi; h_k = 0 }
	d_step { if :: !WITH(NO_COMMIT_FENCE_1) -> fence(i) :: else fi; h_k = 0 }
	if
	:: WITH(LOG_EARLY) -> d_step { used[l - 1] = 0 }
	:: WITH(ENDED_APART) && KIND(doing[i]) == MIXED ->
		d_step {
			if :: HAS(OTHER(doing[i]), 0) -> entry(i, 0, VALUE(i)) :: else fi;
			if :: HAS(OTHER(doing[i]), 1) -> entry(i, 1, VALUE(i)) :: else fi;
			ghost[i] = VALUE(i) << 2 | 3
		}
		commit(i, true)
	:: WITH(SPAN_EARLY) -> d_step { give_span(i) }
	:: else
	fi;
	d_step {
		if
		:: KIND(doing[i]) == MIXED && !WITH(ENDED_APART) ->
			if :: HAS(OTHER(doing[i]), 0) -> entry(i, 0, VALUE(i)) :: else fi;
			if :: HAS(OTHER(doing[i]), 1) -> entry(i, 1, VALUE(i)) :: else fi
		:: else
		fi;
		entry(i, ENDED(l - 1), gen[l - 1]);
		ghost[i] = VALUE(i) << 2 | (KIND(doing[i]) == MIXED -> 3 : doing[i] & 3)
	}
	commit(i, (KIND(doing[i]) != MIXED || GUARDED(i, OTHER(doing[i]))))
}

inline record_end(i)
{
	if
	:: WITH(NO_ABORT_END)
	:: else -> d_step { entry(i, ENDED(l - 1), gen[l - 1]) } commit(i, true)
	fi
}

/* lib/tx/undo.c ph_undo_restore(), lib/tx/tx.c roll_back() */
inline abort_tx(i)
{
	if :: WITH(END_FIRST) -> record_end(i) :: else fi;
	d_step {
		if :: snapped[0] == i + 1 && undo[PLACE_OF(l - 1, 0)].word == 0 -> restore(PLACE_OF(l - 1, 0)) :: else fi;
		if :: snapped[1] == i + 1 && undo[PLACE_OF(l - 1, 0)].word == 1 -> restore(PLACE_OF(l - 1, 0)) :: else fi;
		if :: snapped[0] && snapped[0] == snapped[1] -> restore(PLACE_OF(l - 1, 1)) :: else fi;
		h_k = 0
	}
	d_step { if :: !WITH(NO_RESTORE_FLUSH) -> flush_range(i) :: else fi; h_k = 0 }
	d_step { if :: !WITH(NO_RESTORE_FENCE) -> fence(i) :: else fi; h_k = 0 }
	if :: !WITH(END_FIRST) -> record_end(i) :: else fi
}

proctype Lane(byte i)
{
	byte l, saw;

endup:	{
		up;
		do
		:: next[i] < OPS ->
			d_step { doing[i] = program[i * OPS + next[i]]; started[i] = 1 }
			if
			:: doing[i] == 0
			:: doing[i] && KIND(doing[i]) == REDO -> redo(i)
			:: else ->
				save(i);
				if
				:: l ->
					store_in_place(i);
					if
					:: KIND(doing[i]) == ABORT
					:: else -> commit_tx(i)
					fi;
					if
					:: !seen[i] -> abort_tx(i)
					:: else
					fi;
					end_log(i)
				:: else /* EINVAL */
				fi
			fi;
			d_step { next[i]++; started[i] = 0; doing[i] = 0; seen[i] = 0 }
		:: else -> break
		od;
end:		false
	} unless { dead[i] };
	d_step { dead[i] = 0; l = 0; saw = 0 }
	goto endup
}

#include "power.pml"

init {
	d_step {
		c_code {
			read_settings();
			line_of[1] = setting("LINE_OF_1", 1);
			spans = setting("SPANS", 0);
		};
		line_of[2] = 2; line_of[3] = 3;
		at[1] = 1;
		begin();
		may[0] = 1; may[1] = 1
	}
	atomic { run Lane(0); run Lane(1); run Power() }
}
