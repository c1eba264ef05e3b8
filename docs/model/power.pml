/*
 * power.pml - the process that cuts the power, or kills, and then recovers: included at
 * the end of each model, behind its hooks (base.pml).
 */
/* ---- crash ---------------------------------------------------------------------------- */

/* What a record that was being written is now: torn, not begun, whole. */
inline cut_record(i)
{
	if
	:: unfenced[i] ->
		if
		:: d_step {
			if	/* its last entry is missing, or everything */
			:: WITH(NO_SUM) ->
				h_j = 0;
				do
				:: h_j < WORDS && ring[place[i]].e[h_j] == 0 -> h_j++
				:: else -> break
				od;
				ring[place[i]].e[h_j] = 0
			:: else -> ring[place[i]].torn = 1
			fi;
			h_j = 0
		   }
		:: d_step { copy_record(ring[place[i]], before[i]) }
		:: skip
		fi
	:: else
	fi
}

/* After a kill a whole one may be visible without being durable. */
inline kill_record(i)
{
	if
	:: unfenced[i] ->
		if
		:: cut_record(i); d_step { is_fenced(i) }
		:: skip
		fi
	:: else
	fi
}

inline end_lane(i)
{
	clear_build(i);
	end_lane_too(i);
	lane_lock[i] = 0; clock[i] = 0; visited[i] = 0; written[i] = 0; given[i] = 0;
	prev[i] = 0; dirty[i] = 0; noted[i] = 0
}

inline end_all()
{
	forget_flushes();
	if :: up -> dead[0] = 1; dead[1] = 1 :: else fi;
	up = 0;
	end_lane(0); end_lane(1);
	end_too();
	h_i = 0;
	do
	:: h_i < STRIPES ->
		stamp_of[h_i] = 0; tag_line[h_i] = 0; tag_lane[h_i] = 0; tag_mixed[h_i] = 0;
		h_i++
	:: else -> break
	od;
	locked = 0; settled = 0; epoch = 0; checkpoint_lock = 0; begun = 0; done = 0; u = 0
}

/* The power is cut, or the process is killed: then all that was stored stays visible.
 * Within an atomic. What is chosen does not depend on DRAM. */
inline lose()
{
	if
	:: cut(0); cut(1);
#if LINES > 3
	   cut(2);
#endif
#if LINES > 4
	   cut(3);
#endif
#if LINES > 5
	   cut(4);
#endif
#if LINES > 6
	   cut(5);
#endif
	   cut(STATE);
	   cut_record(0); cut_record(1);
	   d_step { is_fenced(0); is_fenced(1) }
	   cut_too()
	:: kill_record(0); kill_record(1); kill_too()
	fi
}

/* The program ends first: so states with the same media are one before there are many. */
inline crash()
{
	d_step { crashes++; end_all() }
	!dead[0] && !dead[1];
	atomic { lose(); d_step { c_code { forget(); } } }
}

/* ---- recovery: lib/recovery/replay.c, lib/pool.c ---------------------------------------- */

/* R4: the live records of a lane are one run, or the pool is refused. */
#define CHAINED(r)	(ring[r].prev <= SEEN(STATE, 0) || \
			 (LIVE(PLACE_BEFORE(r)) && ring[PLACE_BEFORE(r)].stamp == ring[r].prev))

inline judge()
{
	judge_too();
	h_i = 0;
	do
	:: h_i < 2 * RING ->
		if
		:: LIVE(h_i) -> assert(CHAINED(h_i)) /* R4 */
		:: else
		fi;
		h_i++
	:: else -> break
	od
}

/* Records that recovery has found, and made durable, have happened. */
inline fence_records()
{
	h_i = 0;
	do
	:: h_i < 2 * RING ->
		if :: LIVE(h_i) -> it_happens((h_i / RING), ring[h_i]) :: else fi;
		h_i++
	:: else -> break
	od;
	if :: WITH(R_NO_FENCE_1) :: else -> is_fenced(0); is_fenced(1) fi;
	h_k = 0
}

#define KEY(r)	(WITH(R_BY_LANE) -> (r) / RING * 64 + ring[r].stamp + 1 : \
		 ring[r].stamp * 2 + (r) / RING + 1)

inline replay()
{
	h_last = 0;
	do
	:: h_i = 0; h_j = 255;
	   do
	   :: h_i < 2 * RING ->
		if
		:: LIVE(h_i) && KEY(h_i) > h_last && (h_j == 255 || KEY(h_i) < KEY(h_j)) -> h_j = h_i
		:: else
		fi;
		h_i++
	   :: else -> break
	   od;
	   if
	   :: h_j == 255 -> break
	   :: else ->
		h_last = KEY(h_j);
		h_i = 0;
		do
		:: h_i < WORDS ->
			if
			:: ring[h_j].e[h_i] -> store(LINE(h_i), AT(h_i), ring[h_j].e[h_i] - 1)
			:: else
			fi;
			h_i++
		:: else -> break
		od
	   fi
	od;
	h_last = 0;
	h_i = 0;
	do
	:: h_i < STATE && !WITH(R_NO_FLUSH) -> flush(RECOVERY, h_i); h_i++
	:: else -> break
	od;
	h_i = 0
}

inline new_epoch()
{
#ifdef CLOSES
	if :: !WITH(STATUS_STAYS) -> store(STATE, 2, 0) :: else fi;
#endif
	h_n = 1 + OPENINGS;
	store(STATE, 1, h_n);
	flush(RECOVERY, STATE)
}

inline attach()
{
	settled = SEEN(STATE, 0);
	epoch = SEEN(STATE, 1);
	if
	:: WITH(R_CLOCK_0)
	:: else ->
		clock[0] = settled; clock[1] = settled;
		visited[0] = settled; visited[1] = settled
	fi;
	attach_too();
	c_code { forget(); }
}

/*
 * The last crash, and recovery in one piece, since nothing can come between. Behind it
 * nothing is left to be checked: so no state of it is kept.
 */
#define LAST (crashes + 1 == crashes_max && !go_on)

inline last_crash()
{
	atomic {
		LAST -> crashes++;
		d_step { forget_flushes() }
		lose();
		d_step {
			judge();
			fence_records();
			if :: WITH(R_EPOCH_FIRST) -> new_epoch(); fence(RECOVERY) :: else fi;
#ifdef ROLLS_BACK
			if :: WITH(R_BACK_FIRST) -> roll_back() :: else fi;
#endif
			replay();
#ifdef ROLLS_BACK
			if :: !WITH(R_BACK_FIRST) -> roll_back() :: else fi;
#endif
			if :: !WITH(R_NO_FENCE_2) -> fence(RECOVERY) :: else fi;
			if :: WITH(R_OLD_EPOCH) || WITH(R_EPOCH_FIRST) :: else -> new_epoch() fi;
			if :: !WITH(R_NO_FENCE_3) -> fence(RECOVERY) :: else fi;
			attach();
			assert(RIGHT);
			c_code { end_search(); }
		}
	}
	goto end_of_search
}

proctype Power()
{
running:
end:	if
	:: last_crash()
	:: !LAST && crashes < crashes_max
#ifdef CLOSES
	:: closed -> d_step { closes++; end_all() } goto recovering
#endif
	fi;
crashing:
	if
	:: last_crash()
	:: !LAST -> crash()
	fi;
recovering:
	!dead[0] && !dead[1];
	if
	:: crashes < crashes_max -> goto crashing
	:: d_step { judge(); fence_records() }
	fi;
	if :: WITH(R_EPOCH_FIRST) -> d_step { new_epoch(); fence(RECOVERY) } :: else fi;
#ifdef ROLLS_BACK
	if :: WITH(R_BACK_FIRST) -> d_step { roll_back() } :: else fi;
#endif
	d_step { replay() }
#ifdef ROLLS_BACK
	if
	:: crashes < crashes_max -> goto crashing
	:: !WITH(R_BACK_FIRST) -> d_step { roll_back() }
	:: WITH(R_BACK_FIRST)
	fi;
#endif
	if
	:: crashes < crashes_max -> goto crashing
	:: d_step { if :: !WITH(R_NO_FENCE_2) -> fence(RECOVERY) :: else fi }
	fi;
	if
	:: WITH(R_OLD_EPOCH) || WITH(R_EPOCH_FIRST)
	:: else -> d_step { new_epoch() }
	fi;
	if
	:: crashes < crashes_max -> goto crashing
	:: d_step {
		if :: !WITH(R_NO_FENCE_3) -> fence(RECOVERY) :: else fi;
		attach();
		assert(RIGHT);
		up = 1
	   }
	fi;
	goto running;
end_of_search:
	false
}
