/*
 * mutate.c - do what a site asks for, or what the mutant does instead.
 *
 * What is delayed waits in the thread that asked for it, and only for a fence or a
 * store of the same heap: a heap that is gone takes its own with it.
 */
#include "mutate.h"

#include <stdlib.h>

extern const struct site *const __start_mutant_sites[];
extern const struct site *const __stop_mutant_sites[];

static struct {
	const struct site *site;
	unsigned call;
	enum mutation how;
} mutant;

static uint64_t *counts;

struct delayed {
	struct delayed *next;
	struct ph_persist *pm;
	void *hook_arg;
	char *dst;
	size_t length;
	bool copy;
	bool fenced; /* msync: the fence has been, the store not yet */
	char content[];
};

static _Thread_local struct delayed *delayed;
static _Thread_local struct ph_persist *delayed_fence;

unsigned site_count(void)
{
	return (unsigned)(__stop_mutant_sites - __start_mutant_sites);
}

const struct site *site_at(unsigned i)
{
	return __start_mutant_sites[i];
}

void mutate(const struct site *site, unsigned call, enum mutation how)
{
	mutant.site = site;
	mutant.call = call;
	mutant.how = how;
}

void site_count_into(uint64_t *hits)
{
	counts = hits;
}

static void hit(const struct site *site)
{
	for (unsigned i = 0; counts && i < site_count(); i++)
		counts[i] += site_at(i) == site;
}

static enum mutation mutation_of(const struct site *site, unsigned call)
{
	return mutant.site == site && mutant.call == call ? mutant.how : MUTATE_NOT;
}

/* ---- delays --------------------------------------------------------------- */

static void delay(struct ph_persist *pm, const void *dst, const void *content, size_t length)
{
	struct delayed *d = malloc(sizeof(*d) + (content ? length : 0));

	if (!d)
		abort();
	*d = (struct delayed){.next = delayed,
			      .pm = pm,
			      .hook_arg = pm->hook_arg,
			      .dst = (char *)dst,
			      .length = length,
			      .copy = content != NULL};
	if (content)
		memcpy(d->content, content, length);
	delayed = d;
}

static void catch_up(struct ph_persist *pm, struct ph_count *count)
{
	while (delayed) {
		struct delayed *d = delayed;

		delayed = d->next;
		if (d->pm == pm && d->hook_arg == pm->hook_arg && d->copy)
			ph_copy_nt(pm, count, d->dst, d->content, d->length);
		else if (d->pm == pm && d->hook_arg == pm->hook_arg)
			ph_flush(pm, count, d->dst, d->length);
		free(d);
	}
}

static void fenced(struct ph_persist *pm, struct ph_count *count)
{
	if (!pm->pages)
		catch_up(pm, count);
	for (struct delayed *d = delayed; d; d = d->next)
		d->fenced = true;
}

void site_stored(struct ph_persist *pm)
{
	struct ph_count count = {0};

	if (delayed_fence == pm)
		ph_fence(pm, &count);
	delayed_fence = NULL;
	if (delayed && delayed->fenced)
		catch_up(pm, &count);
}

/* ---- the calls ------------------------------------------------------------ */

static void do_flush(enum mutation how, struct ph_persist *pm, struct ph_count *count,
		     const void *addr, size_t length)
{
	switch (how) {
	case MUTATE_OUT:
		break;
	case MUTATE_LATE:
		if (length)
			delay(pm, addr, NULL, length);
		break;
	case MUTATE_OFF:
		ph_flush(pm, count, (const char *)addr + (pm->pages ? PM_PAGE : PM_LINE), length);
		break;
	default:
		ph_flush(pm, count, addr, length);
	}
}

static int do_fence(enum mutation how, struct ph_persist *pm, struct ph_count *count)
{
	int err;

	if (how == MUTATE_OUT)
		return ph_persist_error(pm);
	if (how == MUTATE_LATE) {
		delayed_fence = pm;
		return ph_persist_error(pm);
	}
	delayed_fence = NULL;
	err = ph_fence(pm, count);
	fenced(pm, count);
	return err;
}

void site_flush(const struct site *site, struct ph_persist *pm, struct ph_count *count,
		const void *addr, size_t length)
{
	hit(site);
	do_flush(mutation_of(site, SITE_FLUSH), pm, count, addr, length);
}

int site_fence(const struct site *site, struct ph_persist *pm, struct ph_count *count)
{
	hit(site);
	return do_fence(mutation_of(site, SITE_FENCE), pm, count);
}

int site_persist_range(const struct site *site, struct ph_persist *pm, struct ph_count *count,
		       const void *addr, size_t length)
{
	hit(site);
	do_flush(mutation_of(site, SITE_FLUSH), pm, count, addr, length);
	return do_fence(mutation_of(site, SITE_FENCE), pm, count);
}

void site_copy_nt(const struct site *site, struct ph_persist *pm, struct ph_count *count, void *dst,
		  const void *src, size_t length)
{
	hit(site);
	switch (mutation_of(site, SITE_COPY)) {
	case MUTATE_OUT:
		break;
	case MUTATE_LATE:
		delay(pm, dst, src, length);
		break;
	case MUTATE_OFF:
		ph_copy_nt(pm, count, (char *)dst + PM_LINE, src, length);
		break;
	case MUTATE_PLAIN:
		ph_store(pm, dst, src, length);
		break;
	default:
		ph_copy_nt(pm, count, dst, src, length);
	}
	site_stored(pm);
}
