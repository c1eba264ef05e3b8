/*
 * check-count.c - verify reference counts: the words of published objects, and the chains
 * of dead ones. See check.c.
 *
 * INVARIANTS (docs/format.md has them in full)
 *   K1 word of an object		K2 chains of dead objects	K3 each in one
 */
#include "alloc/class.h"
#include "check-media.h"

void ph_check_count(struct ph_check *c, uint64_t at, uint64_t word)
{
	uint64_t low = word & PM_COUNT_STRONG_MAX;
	uint64_t weak = word >> PM_COUNT_WEAK_SHIFT & PM_COUNT_WEAK_MAX;

	if (!(word & PM_COUNT_DEAD) ? !low : low == PM_COUNT_DRAINED && !weak)
		ph_check_report(c, "K1", at, "count 0x%" PRIx64 " of a published object", word);
	if (word & PM_COUNT_DEAD && low != PM_COUNT_DRAINED)
		c->dead++;
}

/* One chain, of as many objects as there are dead ones at most. */
static void check_chain(struct ph_check *c, uint64_t head)
{
	uint64_t ref, word;

	memcpy(&ref, c->base + head, sizeof(ref));
	while (ref) {
		if (!ph_check_count_of(c, ref, &word) || !(word & PM_COUNT_DEAD) ||
		    (word & PM_COUNT_STRONG_MAX) == PM_COUNT_DRAINED) {
			ph_check_report(c, "K2", head,
					"a chain of dead objects has 0x%" PRIx64 ", which is none",
					ref);
			return;
		}
		if (c->chained++ >= c->dead) {
			ph_check_report(c, "K3", head, "an object is in a chain twice");
			return;
		}
		ref = (word & PM_COUNT_STRONG_MAX) * 8;
	}
}

void ph_check_chains(struct ph_check *c)
{
	uint64_t before = c->result->problems;

	for (unsigned i = 0; i < PM_PAGE / PM_LINE; i++) {
		uint64_t at = PM_DEAD + i * PM_LINE, used = i < PM_DEAD_CHAINS ? 8 : 0;

		if (!ph_check_zero_at(c, at + used, PM_LINE - used))
			ph_check_report(c, "K2", at, "reserved bytes beside a chain are not zero");
		if (used)
			check_chain(c, at);
	}
	if (c->chained != c->dead && c->result->problems == before)
		ph_check_report(c, "K3", PM_DEAD,
				"%" PRIu64 " objects are dead, %" PRIu64 " are in chains", c->dead,
				c->chained);
}
