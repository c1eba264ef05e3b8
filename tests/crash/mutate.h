/*
 * mutate.h - one flush, fence or non-temporal copy of the library done wrong.
 *
 * The library's sources are compiled a second time with this header in front of each
 * (persist.c without). It puts every call of ph_flush(), ph_fence(), ph_copy_nt() and
 * ph_persist_range() through a function of mutate.c that knows the call's *site*. At
 * most one site is mutated at a time, in every run of every heap, recovery included;
 * so one build serves all mutants, and the library itself knows nothing of them.
 *
 * With msync a flush waits itself, and the fence behind it does nothing: a flush that is
 * late is done behind the next store behind that fence.
 *
 * mutate.c calls the real functions: what comes of a mutant is what the library would
 * do with that mistake in its source.
 */
#ifndef CRASH_MUTATE_H
#define CRASH_MUTATE_H

#include "persist.h"

enum mutation {
	MUTATE_NOT,
	MUTATE_OUT,   /* the call is left out */
	MUTATE_LATE,  /* flush, copy: behind the next fence; fence: behind the next store */
	MUTATE_OFF,   /* flush, copy: 64 bytes further on; flush with msync: a page */
	MUTATE_PLAIN, /* copy: by ordinary stores, which nothing flushes */
	MUTATIONS,
};

/* What a site calls: bits. */
#define SITE_FLUSH 1u
#define SITE_FENCE 2u
#define SITE_COPY 4u

struct site {
	const char *file, *function;
	unsigned line;
	unsigned calls;
};

/* All sites, in the order of the linker. */
unsigned site_count(void);
const struct site *site_at(unsigned i);

/* From now on, in all threads: `call`, one of SITE_*, is mutated at the site. */
void mutate(const struct site *site, unsigned call, enum mutation how);

/* Where the executions of each site are counted, by its index; NULL: nowhere. */
void site_count_into(uint64_t *hits);

/* What the library's sources call instead of the functions of persist.h. */
void site_flush(const struct site *site, struct ph_persist *pm, struct ph_count *count,
		const void *addr, size_t length);
int site_fence(const struct site *site, struct ph_persist *pm, struct ph_count *count);
void site_copy_nt(const struct site *site, struct ph_persist *pm, struct ph_count *count, void *dst,
		  const void *src, size_t length);
int site_persist_range(const struct site *site, struct ph_persist *pm, struct ph_count *count,
		       const void *addr, size_t length);
void site_stored(struct ph_persist *pm);

#ifdef MUTATE_LIBRARY
#define SITE(what)                                                                     \
	__extension__({                                                                \
		static const struct site site_ = {__FILE__, __func__, __LINE__, what}; \
		static const struct site *const entry_                                 \
			__attribute__((section("mutant_sites"), used)) = &site_;       \
		entry_;                                                                \
	})
#define ph_flush(pm, count, addr, length) site_flush(SITE(SITE_FLUSH), pm, count, addr, length)
#define ph_fence(pm, count) site_fence(SITE(SITE_FENCE), pm, count)
#define ph_copy_nt(pm, count, dst, src, length) \
	site_copy_nt(SITE(SITE_COPY), pm, count, dst, src, length)
#define ph_persist_range(pm, count, addr, length) \
	site_persist_range(SITE(SITE_FLUSH | SITE_FENCE), pm, count, addr, length)
#define ph_store64(pm, dst, value) (ph_store64(pm, dst, value), site_stored(pm))
#define ph_store(pm, dst, src, length) (ph_store(pm, dst, src, length), site_stored(pm))
#define ph_store_zero(pm, dst, length) (ph_store_zero(pm, dst, length), site_stored(pm))
#endif

#endif
