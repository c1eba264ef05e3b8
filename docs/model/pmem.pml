/*
 * pmem.pml - the persistence machine that all models share: lib/persist.h, P1 to P4.
 *
 * A cached line is a list of versions: [0] is the oldest that media may hold, the last
 * one is what programs see. A store adds a version; a flush notes the last one; a fence
 * drops what is older than the noted one. A power cut leaves any one version of each
 * line, which is a prefix of its stores (P1). So a cut anywhere between two fences leaves
 * what a cut before the second one may leave.
 *
 * A model includes this after it has defined
 *	LINES, WPL	lines, words in each
 *	VERSIONS	room for versions; running out is an error, not a cut in the search
 *	FLUSHERS	processes that flush
 *
 * h_* are scratch, used within one d_step only: hidden, so no part of a state.
 */
hidden byte h_i, h_j, h_k, h_n, h_w;
hidden byte variant;	/* what is left out, 0: nothing. From the environment */

typedef Line {
	byte versions;				/* versions */
	byte v[VERSIONS * WPL];		/* word w of version k is v[k * WPL + w] */
	byte noted[FLUSHERS];		/* 1 + version at the flush; 0: no flush */
}
Line line[LINES];

#define SEEN(l, w)	line[l].v[(line[l].versions - 1) * WPL + (w)]
#define WITH(x)		(variant == (x))

/* ---- within a d_step ---------------------------------------------------------- */

inline store(l, w, x)
{
	if
	:: SEEN(l, w) != (x) ->
		assert(line[l].versions < VERSIONS);
		h_k = line[l].versions * WPL;
		h_w = 0;
		do
		:: h_w < WPL -> line[l].v[h_k + h_w] = line[l].v[h_k - WPL + h_w]; h_w++
		:: else -> break
		od;
		line[l].v[h_k + (w)] = x;
		line[l].versions++
	:: else
	fi;
	h_k = 0
}

inline flush(p, l)
{
	if
	:: line[l].versions > 1 -> line[l].noted[p] = line[l].versions
	:: else /* nothing to write back */
	fi;
	h_k = 0
}

/* Versions below k are superseded. */
inline drop_below(l, k)
{
	h_j = 0;
	do
	:: h_j < VERSIONS * WPL ->
		if
		:: h_j < (line[l].versions - (k)) * WPL -> line[l].v[h_j] = line[l].v[h_j + (k) * WPL]
		:: else -> line[l].v[h_j] = 0
		fi;
		h_j++
	:: else -> break
	od;
	line[l].versions = line[l].versions - (k);
	h_j = 0;
	do
	:: h_j < FLUSHERS ->
		if
		:: line[l].noted[h_j] > (k) + 1 -> line[l].noted[h_j] = line[l].noted[h_j] - (k)
		:: else -> line[l].noted[h_j] = 0
		fi;
		h_j++
	:: else -> break
	od;
	h_j = 0
}

inline fence(p)
{
	h_i = 0;
	do
	:: h_i < LINES ->
		if
		:: line[h_i].noted[p] ->
			h_n = line[h_i].noted[p] - 1;
			drop_below(h_i, h_n);
			line[h_i].noted[p] = 0
		:: else
		fi;
		h_i++
	:: else -> break
	od;
	h_i = 0
}

/* All processes have ended. */
inline forget_flushes()
{
	h_i = 0;
	do
	:: h_i < LINES ->
		h_j = 0;
		do
		:: h_j < FLUSHERS -> line[h_i].noted[h_j] = 0; h_j++
		:: else -> break
		od;
		h_i++
	:: else -> break
	od;
	h_i = 0
}

/* Version k is what media holds. */
inline keep(l, k)
{
	h_n = k;
	drop_below(l, h_n);
	h_j = WPL;
	do
	:: h_j < VERSIONS * WPL -> line[l].v[h_j] = 0; h_j++
	:: else -> break
	od;
	line[l].versions = 1
}

/* ---- a power cut: any version. Within an atomic ------------------------------- */

inline cut(l)
{
	if
	:: d_step { keep(l, 0) }
	:: d_step { line[l].versions > 1 -> keep(l, 1) }
	:: d_step { line[l].versions > 2 -> keep(l, 2) }
	:: d_step { line[l].versions > 3 -> keep(l, 3) }
	:: d_step { line[l].versions > 4 -> keep(l, 4) }
	:: d_step { line[l].versions > 5 -> keep(l, 5) }
	:: d_step { line[l].versions > 6 -> keep(l, 6) }
	:: d_step { line[l].versions > 7 -> keep(l, 7) }
	:: d_step { line[l].versions > 8 -> keep(l, 8) }
#if VERSIONS > 9
	:: d_step { line[l].versions > 9 -> keep(l, 9) }
#endif
#if VERSIONS > 10
	:: d_step { line[l].versions > 10 -> keep(l, 10) }
#endif
#if VERSIONS > 11
	:: d_step { line[l].versions > 11 -> keep(l, 11) }
#endif
#if VERSIONS > 12
	:: d_step { line[l].versions > 12 -> keep(l, 12) }
#endif
#if VERSIONS > 13
	:: d_step { line[l].versions > 13 -> keep(l, 13) }
#endif
#if VERSIONS > 14
	:: d_step { line[l].versions > 14 -> keep(l, 14) }
#endif
#if VERSIONS > 15
	:: d_step { line[l].versions > 15 -> keep(l, 15) }
#endif
	fi
}
