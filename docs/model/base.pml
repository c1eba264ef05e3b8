/*
 * base.pml - what all models share above the persistence machine: rings, stripes,
 * stamps, checkpoints, the epoch, crashes and the frame of recovery. lib/tx/lane.h R1 to
 * R5, lib/recovery/replay.h.
 *
 * Two lanes. A model defines, before it includes this:
 *	LINES		lines, the last one being the state line
 *	WORDS		words that records may write
 *	LINE(w), AT(w)	where word w is: its line, and its number there
 *	STRIPE(l)	stripe of a line; there are STRIPES
 *	OPS, RING	operations of a lane; records for which a ring has room
 *	WPL, VERSIONS, NOTHING (a value that no word has)
 * and, after it, operations that use
 *	entry(i, w, x)	add to the record of lane i: word w becomes x
 *	commit(i, ok)	lock, look whether ok still holds, write, fence, apply
 *	checkpoint(i)
 * with a proctype Lane around them, and these hooks, each within a d_step:
 *	happens(i, r)	ghost: record r of lane i is durable; first call only
 *	before_write(i)	stripes and lane are held
 *	applied(i)	the record is applied: its effect can be seen
 *	end_lane_too(i)	DRAM of a lane is gone
 *	end_too()	all other DRAM is gone
 *	cut_too()	within an atomic: a power cut, to other media that is not a line
 *	kill_too()	likewise a kill
 *	judge_too()	recovery has read the logs: judge and remember what else counts
 *	roll_back()	recovery after replay; flushes what it wrote
 *	attach_too()	the heap is open again
 *	RIGHT		what must hold whenever a heap has been opened
 * and then includes power.pml. Where lanes join (JOINS), lane 0 is there from the start, and
 * a model says which lane process i writes to, ON(i), and of which records recovery knows,
 * FOUND(r). Where a heap can be closed, it defines CLOSES and OPENINGS; REMEMBERS, where a
 * variant is about what states need not remember.
 *
 * Steps are as coarse as they can be without losing a behaviour: what is done under a
 * lock that every observer takes is one step, and so are stores between which nothing is
 * fenced, because a cut after the last of them may leave any of the states before.
 */
#define STATE (LINES - 1)	/* word 0: settled, word 1: epoch */
#define FLUSHERS 3
#define RECOVERY 2
#ifndef JOINS
#define ON(i)	(i)
#define FOUND(r) true
#endif
#ifndef CLOSES
#define OPENINGS crashes
#endif
#ifndef REMEMBERS
#define REMEMBERS 0
#endif

c_decl {
static int setting(const char *name, int otherwise)
{
	const char *value = getenv(name);

	return value ? atoi(value) : otherwise;
}
}

#include "pmem.pml"

hidden byte program[2 * OPS];
hidden byte crashes_max;
hidden byte go_on;	/* after the last crash too; else the search ends with its recovery */
hidden byte h_last;

c_code {
static void read_settings(void)
{
	const char *text = getenv("PROGRAM");
	int i;

	variant = setting("VARIANT", 0);
	crashes_max = setting("CRASHES", 2);
	go_on = setting("GO_ON", 0);
	for (i = 0; text && *text && i < 2 * OPS; i++)
		program[i] = strtol(text, (char **)&text, 10);
}
}

/* ---- what may be left out --------------------------------------------------------- */

#define NO_COMMIT_FENCE 1	/* the fence behind a record */
#define APPLY_EARLY 2		/* a record is applied before its fence */
#define NO_SUM 3		/* torn records pass for whole ones */
#define NO_STRIPE_STAMP 4	/* R2: stamps ignore the stripes */
#define NO_LANE_CLOCK 5		/* R2: stamps ignore the lane's clock */
#define STRIPES_EARLY 6		/* R2: stripes are let go before the record is applied */
#define NO_STRIPES 7		/* R2: stripes are not held at all */
#define NO_RAISE 8		/* R5: a visit does not raise the clock */
#define NO_FLUSH 9		/* R3: a visit does not flush */
#define NO_FENCE_1 10		/* R3: the fence before S */
#define S_FIRST 11		/* R3: S before the visits */
#define NO_FENCE_2 12		/* R4: the fence behind S */
#define NO_FLUSH_S 13		/* R4: S is not flushed */
#define NO_ROOM 14		/* R4: ring space is used again without a checkpoint */
#define HEAD_NOW 15		/* R4: space is given back up to where the lane is by now */
#define U_EARLY 16		/* U is taken before the positions are noted */
#define TAG_LINE 17		/* a line is on one list, not on that of each lane */
#define TAG_EVER 18		/* a line stays noted after the visit */
#define COVER_RAISES 19		/* stripes that are only covered get the stamp */
#define NO_MIXED 20		/* a tag does not say that there are other lines */
#define R_ANY_STAMP 24		/* R1: recovery takes records up to S for live */
#define R_ANY_EPOCH 25		/* R1: and those of other epochs */
#define R_BY_LANE 26		/* replay lane by lane, not merged by stamp */
#define R_NO_FENCE_1 27		/* records are not made durable before they are replayed */
#define R_NO_FLUSH 28		/* what replay wrote is not flushed */
#define R_NO_FENCE_2 29		/* nor fenced before the new epoch */
#define R_OLD_EPOCH 30		/* the epoch stays */
#define R_NO_FENCE_3 31		/* the new epoch is not fenced before it is used */
#define R_CLOCK_0 32		/* clocks begin at 0, not at S */
#define R_EPOCH_FIRST 33	/* the new epoch before the replay */

/* ---- media: rings ----------------------------------------------------------------- */

typedef Record {
	byte epoch, stamp, prev;	/* epoch 0: nothing was ever here */
	byte e[WORDS];			/* value + 1; 0: the word is not written */
	byte torn;			/* words of it that are not there, a set */
	byte ghost;			/* for the model */
	bit happened;			/* ghost */
}
Record ring[2 * RING];
/* A record that is written and not fenced: what its place held before. */
Record before[2];
bit unfenced[2];
byte place[2];

inline copy_record(to, from)
{
	h_j = 0;
	do
	:: h_j < WORDS -> to.e[h_j] = from.e[h_j]; h_j++
	:: else -> break
	od;
	to.epoch = from.epoch; to.stamp = from.stamp; to.prev = from.prev;
	to.torn = from.torn; to.ghost = from.ghost; to.happened = from.happened
}

inline clear_record(to)
{
	h_j = 0;
	do
	:: h_j < WORDS -> to.e[h_j] = 0; h_j++
	:: else -> break
	od;
	to.epoch = 0; to.stamp = 0; to.prev = 0; to.torn = 0; to.ghost = 0; to.happened = 0
}

/* ---- DRAM ------------------------------------------------------------------------- */

byte locked;				/* stripes, a set */
byte stamp_of[STRIPES], tag_line[STRIPES], tag_lane[STRIPES];
bit tag_mixed[STRIPES];
bit lane_lock[2];
byte clock[2], visited[2], written[2], given[2], prev[2], dirty[2];
byte settled, epoch;
bit checkpoint_lock;
byte begun, done, noted[2], u;		/* u: of the checkpoint that goes on */

/* The record that a lane is building; sets of lines and stripes. */
byte build[2 * WORDS], ghost[2];
byte writes[2], stripes[2], raises[2], held[2], stamp[2];

bit up, dead[2];
#ifdef JOINS
byte lanes, counted;			/* there are; when a checkpoint began */
#else
#define counted 2
#endif
byte crashes, next[2];

inline entry(i, w, x)
{
	build[(i) * WORDS + (w)] = (x) + 1;
	writes[i] = writes[i] | 1 << LINE(w);
	stripes[i] = stripes[i] | 1 << STRIPE(LINE(w));
	raises[i] = raises[i] | 1 << STRIPE(LINE(w))
}

inline cover(i, w)
{
	stripes[i] = stripes[i] | 1 << STRIPE(LINE(w))
}

inline clear_build(i)
{
	h_j = 0;
	do
	:: h_j < WORDS -> build[(i) * WORDS + h_j] = 0; h_j++
	:: else -> break
	od;
	writes[i] = 0; stripes[i] = 0; raises[i] = 0; held[i] = 0; stamp[i] = 0; ghost[i] = 0
}

/* ---- checkpoint: lib/tx/checkpoint.c ------------------------------------------------ */

inline flush_dirty(i, n)
{
	h_i = 0;
	do
	:: h_i < STATE ->
		if :: dirty[n] >> h_i & 1 -> flush(i, h_i) :: else fi;
		h_i++
	:: else -> break
	od;
	dirty[n] = 0
}

inline visit_lane(i, n)
{
	d_step {
		!lane_lock[n];
		if
		:: n < counted ->
			if :: clock[n] < u && !WITH(NO_RAISE) -> clock[n] = u :: else fi;
			if :: WITH(NO_FLUSH) -> dirty[n] = 0 :: else -> flush_dirty(i, n) fi;
			visited[n] = clock[n]
		:: else
		fi
	}
}

inline note_lane(n)
{
	d_step {
		!lane_lock[n];
		if
		:: n < counted ->
			noted[n] = written[n];
			if :: clock[n] > u && !WITH(U_EARLY) -> u = clock[n] :: else fi
		:: else
		fi
	}
}

inline store_settled(i)
{
	d_step {
		store(STATE, 0, u);
		if :: !WITH(NO_FLUSH_S) -> flush(i, STATE) :: else fi
	}
}

/* Only how many there are matters, and where the ring is: so both count anew. */
inline give_back(n)
{
	if
	:: WITH(HEAD_NOW) -> given[n] = written[n]
	:: else -> given[n] = noted[n]
	fi;
	noted[n] = 0;
	if
	:: given[n] >= RING -> given[n] = given[n] - RING; written[n] = written[n] - RING
	:: else
	fi
}

inline checkpoint_locked(i)
{
	if
	:: WITH(U_EARLY) -> d_step { u = (clock[0] > clock[1] -> clock[0] : clock[1]) }
	:: else
	fi;
#ifdef JOINS
	d_step { counted = lanes }
#endif
	note_lane(0);
	note_lane(1);
	if
	:: u > settled ->
		if :: WITH(S_FIRST) -> store_settled(i); d_step { fence(i) } :: else fi;
		visit_lane(i, 0);
		visit_lane(i, 1);
		d_step { if :: !WITH(NO_FENCE_1) -> fence(i) :: else fi } /* R3 */
		store_settled(i);
		d_step {
			if :: !WITH(NO_FENCE_2) -> fence(i) :: else fi; /* R4 */
			settled = u;
			c_code { forget(); }
		}
	:: else
	fi;
	d_step {
		give_back(0);
		give_back(1);
#ifdef JOINS
		counted = 0;
#endif
		u = 0
	}
}

/* saw: begun when it was asked for. One that began after that will do. */
inline checkpoint(i)
{
	d_step { saw = begun }
	d_step { !checkpoint_lock; checkpoint_lock = 1; if :: done <= saw -> begun++ :: else fi }
	if
	:: done < begun ->
		checkpoint_locked(i);
		d_step { done = begun }
	:: else
	fi;
	d_step { checkpoint_lock = 0; saw = 0 }
}

/* ---- commit: lib/tx/record.c --------------------------------------------------------- */

#define LOWEST(set)	((set) & -(set))
#define HAS_ROOM(i)	(written[ON(i)] - given[ON(i)] < RING || WITH(NO_ROOM))

/* The stripes in the order of their index, then the lane. */
inline take_stripes(i)
{
	do
	:: d_step {
		held[i] != stripes[i] && !(locked & LOWEST(stripes[i] & ~held[i])) ->
		if
		:: !WITH(NO_STRIPES) -> locked = locked | LOWEST(stripes[i] & ~held[i])
		:: else
		fi;
		held[i] = held[i] | LOWEST(stripes[i] & ~held[i])
	   }
	:: d_step { held[i] == stripes[i] && !lane_lock[ON(i)] -> lane_lock[ON(i)] = 1 }
	   break
	od
}

inline give_stripes(i, raise)
{
	h_i = 0;
	do
	:: h_i < STRIPES ->
		if
		:: raise && ((raises[i] >> h_i & 1) ||
			     (held[i] >> h_i & 1 && WITH(COVER_RAISES))) ->
			stamp_of[h_i] = stamp[i]
		:: else
		fi;
		h_i++
	:: else -> break
	od;
	locked = locked & ~held[i];
	held[i] = 0
}

inline lock_record(i)
{
	do
	:: take_stripes(i);
	   if
	   :: HAS_ROOM(i) -> break
	   :: else ->
		d_step { lane_lock[ON(i)] = 0; give_stripes(i, 0) }
		checkpoint(i)
	   fi
	od
}

/* R2 */
inline new_stamp(i)
{
	stamp[i] = (WITH(NO_LANE_CLOCK) -> 0 : clock[ON(i)]);
	h_i = 0;
	do
	:: h_i < STRIPES ->
		if
		:: stripes[i] >> h_i & 1 && stamp_of[h_i] > stamp[i] && !WITH(NO_STRIPE_STAMP) ->
			stamp[i] = stamp_of[h_i]
		:: else
		fi;
		h_i++
	:: else -> break
	od;
	stamp[i]++
}

inline write_record(i)
{
	h_i = ON(i) * RING + written[ON(i)] % RING;
	copy_record(before[ON(i)], ring[h_i]);
	unfenced[ON(i)] = 1;
	place[ON(i)] = h_i;
	h_j = 0;
	do
	:: h_j < WORDS -> ring[h_i].e[h_j] = build[i * WORDS + h_j]; h_j++
	:: else -> break
	od;
	ring[h_i].epoch = epoch;
	ring[h_i].stamp = stamp[i];
	ring[h_i].prev = prev[ON(i)];
	ring[h_i].torn = 0;
	ring[h_i].ghost = ghost[i];
	ring[h_i].happened = 0;
	written[ON(i)]++;
	prev[ON(i)] = stamp[i];
	clock[ON(i)] = stamp[i]
}

inline it_happens(i, r)
{
	if
	:: !r.happened -> r.happened = 1; happens(i, r)
	:: else
	fi;
	h_k = 0
}

inline is_fenced(i)
{
	unfenced[i] = 0;
	place[i] = 0;
	clear_record(before[i])
}

/* The commit point. */
inline fence_record(i)
{
	it_happens(i, ring[place[ON(i)]]);
	if
	:: WITH(NO_COMMIT_FENCE)
	:: else -> fence(i); is_fenced(ON(i))
	fi;
	h_k = 0
}

inline apply(i)
{
	h_last = 0;
	do
	:: h_last < WORDS ->
		if
		:: build[i * WORDS + h_last] ->
			store(LINE(h_last), AT(h_last), build[i * WORDS + h_last] - 1)
		:: else
		fi;
		h_last++
	:: else -> break
	od;
	h_last = 0
}

/* Is the line on the lane's list already? Else it goes there, and into the tag. */
inline note_dirty(i)
{
	h_last = 0;	/* stripes of which a line came before */
	h_i = 0;
	do
	:: h_i < STATE ->
		h_k = STRIPE(h_i);
		if
		:: !(writes[i] >> h_i & 1)
		:: writes[i] >> h_i & 1 && tag_line[h_k] == h_i + 1 &&
		   (tag_lane[h_k] == ON(i) || WITH(TAG_LINE)) &&
		   (stamp_of[h_k] > visited[ON(i)] || WITH(TAG_EVER)) ->
			h_last = h_last | 1 << h_k
		:: else ->
			tag_mixed[h_k] = !WITH(NO_MIXED) && (h_last >> h_k & 1 ||
				(stamp_of[h_k] > settled &&
				 (tag_mixed[h_k] || tag_line[h_k] != h_i + 1)));
			tag_line[h_k] = h_i + 1;
			tag_lane[h_k] = ON(i);
			dirty[ON(i)] = dirty[ON(i)] | 1 << h_i;
			h_last = h_last | 1 << h_k
		fi;
		h_i++
	:: else -> break
	od;
	h_last = 0
}

/* ok is looked at under stripes and lane: else nothing is done. */
inline commit(i, ok)
{
	lock_record(i);
	if
	:: ok ->
		d_step { before_write(i); new_stamp(i); write_record(i) }
		if :: WITH(APPLY_EARLY) -> d_step { apply(i) } :: else fi;
		d_step { fence_record(i) }
		if :: WITH(STRIPES_EARLY) -> d_step { give_stripes(i, 1) } :: else fi;
		d_step { apply(i); applied(i) }
		d_step { note_dirty(i); lane_lock[ON(i)] = 0 }
		d_step { give_stripes(i, 1); clear_build(i) }
	:: else ->
		d_step { lane_lock[ON(i)] = 0; give_stripes(i, 0); clear_build(i) }
	fi
}

/* Has every record that wrote the line been settled? */
#define LINE_SETTLED(l)	(stamp_of[STRIPE(l)] <= settled || \
			 (!tag_mixed[STRIPE(l)] && tag_line[STRIPE(l)] != (l) + 1))

/* ---- what no future depends on ------------------------------------------------------ */

c_code {
/* A state line that may be on media has at least this settled stamp, and this epoch. */
#define OLDEST(word)	(now.line[STATE].v[word])
#define LESS(x)		((x) = (x) > base ? (x) - base : 0)

static void forget_record(struct Record *record)
{
	if (record->epoch < OLDEST(1) || record->stamp <= OLDEST(0))
		memset(record, 0, sizeof(*record));
}

/*
 * States that differ only in what can never be seen again are one: records of earlier
 * epochs, and settled ones; stamps of stripes that are settled, unless a record that holds
 * one is about to raise it. And all stamps count from the settled one on. Not with the
 * variants that are about just that: every other one is caught all the same.
 */
static void forget(void)
{
	int base = OLDEST(0), i;

	if (WITH(R_ANY_EPOCH) || WITH(R_CLOCK_0) || REMEMBERS)
		return;
	for (i = 0; i < 2 * RING; i++)
		if (!(now.unfenced[0] && now.place[0] == i) && !(now.unfenced[1] && now.place[1] == i))
			forget_record(&now.ring[i]);
	for (i = 0; i < 2; i++)
		forget_record(&now.before[i]);
	for (i = 0; i < STRIPES; i++)
		if (now.stamp_of[i] <= now.settled && !(now.locked >> i & 1)) {
			now.stamp_of[i] = now.tag_line[i] = now.tag_lane[i] = 0;
			now.tag_mixed[i] = 0;
		}
	for (i = 0; i < 2 * RING; i++) {
		LESS(now.ring[i].stamp);
		LESS(now.ring[i].prev);
	}
	for (i = 0; i < 2; i++) {
		LESS(now.before[i].stamp);
		LESS(now.before[i].prev);
		LESS(now.clock[i]);
		LESS(now.visited[i]);
		LESS(now.prev[i]);
		LESS(now.stamp[i]);
	}
	for (i = 0; i < STRIPES; i++)
		LESS(now.stamp_of[i]);
	for (i = now.line[STATE].versions - 1; i >= 0; i--)
		LESS(now.line[STATE].v[i * WPL]);
	LESS(now.settled);
	LESS(now.u);
}

/* The end of a search: all states in which it ends are one. */
static void end_search(void)
{
	char *first = (char *)&now._vsz + sizeof(now._vsz);

	memset(first, 0, (char *)now.sv - first);
	now.crashes = crashes_max;
	now.dead[0] = now.dead[1] = 1;
}
}

/* ---- recovery: lib/recovery/replay.c; the process is in power.pml -------------------- */

/* R1 */
#define LIVE(r)	(FOUND(r) && ring[r].epoch && !ring[r].torn && \
		 (ring[r].epoch == SEEN(STATE, 1) || WITH(R_ANY_EPOCH)) && \
		 (ring[r].stamp > SEEN(STATE, 0) || WITH(R_ANY_STAMP)))
#define PLACE_BEFORE(r)	((r) / RING * RING + ((r) + RING - 1) % RING)

inline begin()
{
	h_i = 0;
	do
	:: h_i < LINES -> line[h_i].versions = 1; h_i++
	:: else -> break
	od;
	line[STATE].v[1] = 1;
	epoch = 1;
	up = 1
}
