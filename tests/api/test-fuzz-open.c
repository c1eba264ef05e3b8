/*
 * test-fuzz-open.c - a damaged pool is refused, or it opens and can be used: open,
 * recovery and every operation after it end, without a crash and without touching
 * memory outside the pool. What an operation on a damaged pool gives is not asked.
 *
 *	test-fuzz-open [seed [rounds [first]]]
 *
 * A round depends on the seed and its number alone. Rounds run in child processes; of
 * one that dies or hangs the number is printed, and the others go on.
 */
#include "media.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "layout.h"
#include "pool.h"
#include "sum.h"

#define POOL MIB(8)
#define ROOTS 12u
#define BATCH 64u      /* rounds of one child */
#define TIME_LIMIT 30u /* seconds a round; one takes milliseconds */
#define CHANGES_MAX 10u

static unsigned rounds = 800, first_round;

/* ---- the images ------------------------------------------------------------------ */

enum { HEALTHY, CRASHED, IMAGES };
static char *images[IMAGES];

static struct {
	unsigned round; /* that runs now */
	unsigned opened, refused, wrote;
} * shared;

static struct rng entropy;

/* Instead of the C library's: epochs and identifiers follow from the seed. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < length; i++)
		((char *)buffer)[i] = (char)rng_next(&entropy);
	return (ssize_t)length;
}

static const size_t sizes[] = {16,   24,   64,	  100,	 256,	300,   1024,
			       3328, 5000, 20000, 61440, 65536, 70000, 200000};

static size_t some_size(struct rng *rng)
{
	return sizes[rng_below(rng, ELEMENTS(sizes))];
}

static pheap_ref *root(pheap_t *heap, uint64_t number)
{
	char name[8];

	snprintf(name, sizeof(name), "r%u", (unsigned)(number % ROOTS));
	return pheap_named_root(heap, name);
}

static void fill_image(pheap_t *heap, struct rng *rng)
{
	for (unsigned i = 0; i < 150; i++) {
		pheap_ref *slot = root(heap, rng_next(rng));

		if (*slot)
			must(!pheap_retire(heap, slot));
		else
			must(!pheap_alloc_into(heap, slot, some_size(rng), NULL));
	}
	for (unsigned i = 0; i < 4; i++) {
		if (*root(heap, i))
			must(!pheap_retire(heap, root(heap, i)));
		must(!pheap_alloc_into(heap, root(heap, i), 20000, NULL));
	}
}

/* More open transactions than a lane has logs; one of them goes on in a span. */
static void leave_open(pheap_t *heap)
{
	for (unsigned i = 0; i < 6; i++) {
		pheap_tx_t *tx = pheap_tx_begin(heap);
		char *object = pheap_ptr(heap, *root(heap, i % 4));
		size_t length = i ? 64 : 3000;

		must(tx && object);
		for (unsigned k = 0; k < (i ? 2u : 5u); k++) {
			char *at = object + (i / 4) * 16000 + k * length;

			must(!pheap_tx_snapshot(tx, at, length));
			memset(at, 0x5a, length);
		}
	}
}

/* One with an extension, which does not fit in the ring, and some that do. */
static void leave_records(pheap_t *heap)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);

	for (unsigned i = 0; i < 1200; i++)
		must(!pheap_tx_set(tx, root(heap, 11), 0));
	must(!pheap_tx_commit(tx));
	for (unsigned i = 0; i < 20; i++)
		must(!pheap_set(heap, root(heap, 10), 0));
}

static void make_image(unsigned kind)
{
	struct rng rng = rng_make(kind);
	pheap_t *heap;

	entropy = rng_make(1000 + kind);
	images[kind] = memory_new(POOL);
	heap = create_on(images[kind], POOL, NULL);
	for (unsigned i = 0; i < ROOTS; i++)
		must(root(heap, i));
	fill_image(heap, &rng);
	for (unsigned i = 10; i < 12; i++)
		if (*root(heap, i))
			must(!pheap_retire(heap, root(heap, i)));
	if (kind == HEALTHY) {
		must(!pheap_close(heap));
	} else {
		leave_open(heap);
		leave_records(heap);
		ph_pool_abandon(heap);
	}
}

/* ---- damage ------------------------------------------------------------------------ */

struct damage {
	char *base;
	const struct pm_zone *zone; /* as it was */
	struct rng *rng;
	bool supers;  /* may be damaged too */
	bool in_zone; /* only tree, descriptors and bitmaps are: such a pool mostly opens */
};

static uint64_t *word_at(const struct damage *d, uint64_t offset)
{
	return (uint64_t *)(void *)(d->base + offset / 8 * 8);
}

static uint64_t some_granule(const struct damage *d)
{
	return rng_below(d->rng, rng_below(d->rng, 4) ? 40 : d->zone->granules);
}

/* A place in a lane block: heads, ring, the beginnings of undo areas. */
static uint64_t place_in_lane(const struct damage *d)
{
	uint64_t block = *word_at(d, PM_LANE_TABLE + 8 * rng_below(d->rng, 3));

	if (block < d->zone->data || block > POOL - PM_GRANULE)
		block = POOL - PM_GRANULE;
	switch (rng_below(d->rng, 3)) {
	case 0:
		return block + rng_below(d->rng, PM_UNDO_LOGS * PM_LINE);
	case 1:
		return block + PM_LANE_RING + rng_below(d->rng, 40) * PM_LINE +
		       rng_below(d->rng, PM_LINE);
	default:
		return block + PM_LANE_UNDO + rng_below(d->rng, PM_UNDO_LOGS) * PM_UNDO_AREA +
		       rng_below(d->rng, 8) * PM_LINE + rng_below(d->rng, PM_LINE);
	}
}

static uint64_t some_place(const struct damage *d)
{
	struct rng *rng = d->rng;

	switch (d->in_zone ? 4 + rng_below(rng, 3) : rng_below(rng, d->supers ? 10 : 9)) {
	case 0:
		return PM_STATE + rng_below(rng, PM_LINE);
	case 1:
		return PM_ROOTS + rng_below(rng, (ROOTS + 1) * PM_LINE);
	case 2:
		return PM_LANE_TABLE + rng_below(rng, 32);
	case 3:
		return PM_ZONE_TABLE + rng_below(rng, PM_LINE);
	case 4:
		return d->zone->tree + rng_below(rng, 256);
	case 5:
		return d->zone->desc + some_granule(d) * PM_LINE +
		       (rng_below(rng, 2) ? 0 : rng_below(rng, 32));
	case 6:
		return d->zone->bits + some_granule(d) * PM_BITMAP_BYTES +
		       rng_below(rng, rng_below(rng, 2) ? 8 : PM_BITMAP_BYTES);
	case 7:
		return place_in_lane(d);
	case 8: /* anywhere, data included: undo areas and extensions are there */
		return d->zone->data + some_granule(d) * PM_GRANULE + rng_below(rng, 4096);
	default:
		return rng_below(rng, 2) * PM_SUPER_B + rng_below(rng, sizeof(struct pm_super));
	}
}

static uint64_t some_value(const struct damage *d, uint64_t old)
{
	struct rng *rng = d->rng;

	switch (rng_below(rng, 12)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return rng_next(rng);
	case 3:
		return old + rng_below(rng, 9) - 4;
	case 4:
		return *word_at(d, some_place(d));
	case 5:
		return rng_below(rng, POOL) / PM_GRANULE * PM_GRANULE;
	case 6: /* a place, as entries of records and undo logs have them */
		return rng_below(rng, 8) << 56 | rng_below(rng, 256) << 48 | some_place(d);
	case 7:
		return ph_seal(rng_below(rng, 4) ? rng_below(rng, 64)
						 : rng_next(rng) & PH_SEALED_MAX);
	case 8: /* the first word of a descriptor */
		return rng_below(rng, 5) | rng_below(rng, 90) << 8 |
		       rng_below(rng, d->zone->granules + 2) << 32;
	case 9:
		return old ^ rng_below(rng, 256) << rng_below(rng, 8) * 8;
	default:
		return old ^ UINT64_C(1) << rng_below(rng, 64);
	}
}

static void mend_super(const struct damage *d, uint64_t place)
{
	word_at(d, place)[1] = ph_sum(PM_SUM_KEY, place, word_at(d, place) + 2, 62);
}

static void mend_zone(const struct damage *d)
{
	*word_at(d, PM_ZONE_TABLE + offsetof(struct pm_zone, sum)) =
		ph_sum(PM_SUM_KEY, PM_ZONE_TABLE, word_at(d, PM_ZONE_TABLE), 7);
}

/* Records and undo entries that were damaged become valid: the walk that follows must
 * be safe, whatever they say. */
static void mend_logs(const struct damage *d)
{
	const struct pm_state *state = (const void *)(d->base + PM_STATE);

	for (unsigned lane = 0; lane < 3; lane++) {
		uint64_t block = *word_at(d, PM_LANE_TABLE + 8 * lane);

		if (block % PM_GRANULE || block < d->zone->data || block > POOL - PM_GRANULE)
			continue;
		for (uint64_t at = PM_LANE_RING; at < PM_LANE_UNDO; at += PM_LINE) {
			uint64_t *w = word_at(d, block + at), lines = w[1] & 1023;

			if (lines && at + lines * PM_LINE <= PM_LANE_UNDO)
				w[0] = ph_sum(state->epoch, block + at, w + 1, lines * 8 - 1);
		}
		for (unsigned log = 0; log < PM_UNDO_LOGS; log++) {
			uint64_t at = block + PM_LANE_UNDO + log * PM_UNDO_AREA;
			uint64_t *w = word_at(d, at), bytes = PM_LINE;

			if (w[3] >> 56 == PM_UNDO_DATA && w[4] <= PM_UNDO_DATA_MAX)
				bytes = (sizeof(struct pm_undo) + w[4] + 63) / 64 * 64;
			w[0] = ph_sum(state->epoch ^ (block + log * PM_LINE), at, w + 1,
				      bytes / 8 - 1);
		}
	}
}

static void change(const struct damage *d)
{
	uint64_t n = rng_below(d->rng, CHANGES_MAX + 1);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t offset = some_place(d);

		*word_at(d, offset) = some_value(d, *word_at(d, offset));
	}
	if (rng_below(d->rng, 2))
		mend_zone(d);
	if (d->supers && rng_below(d->rng, 2)) {
		mend_super(d, PM_SUPER_A);
		mend_super(d, PM_SUPER_B);
	}
	if (rng_below(d->rng, 3) == 0)
		mend_logs(d);
}

/* ---- use ---------------------------------------------------------------------------- */

/* Reserved objects, each with a content of its own: no two may share memory. */
#define KEPT 24u

struct kept {
	char *object;
	size_t size;
	uint64_t id;
};

static void keep(pheap_t *heap, struct kept *kept, size_t size, uint64_t id)
{
	*kept = (struct kept){pheap_alloc(heap, size), size, id};
	if (kept->object)
		fill_pattern(kept->object, size, id);
}

static void look_at(const struct kept *kept)
{
	must(!kept->object || has_pattern(kept->object, kept->size, kept->id));
}

/* Whatever a root of a damaged pool refers to. */
static char *some_object(pheap_t *heap, struct rng *rng, size_t *size)
{
	pheap_ref *slot = root(heap, rng_next(rng));
	char *object = slot ? pheap_ptr(heap, *slot) : NULL;

	*size = object ? pheap_usable_size(heap, object) : 0;
	return *size ? object : NULL;
}

static void use_tx(pheap_t *heap, struct rng *rng)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);
	pheap_ref *slot = root(heap, rng_next(rng));
	size_t size;
	char *object = some_object(heap, rng, &size), *made;

	if (!tx)
		return;
	if (object && !pheap_tx_snapshot(tx, object, size > 4000 ? 4000 : size))
		memset(object, (int)rng_next(rng), size > 4000 ? 4000 : size);
	if (object && rng_below(rng, 2))
		pheap_tx_free(tx, object);
	made = pheap_tx_alloc(tx, some_size(rng));
	if (made)
		memset(made, 1, 16);
	if (slot && rng_below(rng, 2))
		pheap_tx_retire(tx, slot);
	if (slot && made)
		pheap_tx_set(tx, slot, pheap_ref_of(heap, made));
	if (rng_below(rng, 3))
		pheap_tx_commit(tx);
	else
		pheap_tx_abort(tx);
}

static void use_address(pheap_t *heap, char *base, struct rng *rng)
{
	char *at = base + rng_below(rng, POOL);

	pheap_usable_size(heap, at);
	pheap_usable_size(heap, at - (uintptr_t)at % PM_GRANULE);
	pheap_free(heap, at - (uintptr_t)at % 16);
	pheap_persist(heap, at, 8);
}

static void use_once(pheap_t *heap, char *base, struct rng *rng, struct kept *kept)
{
	pheap_ref *slot = root(heap, rng_next(rng));
	struct kept *mine = &kept[rng_below(rng, KEPT)];
	size_t size = some_size(rng);

	look_at(mine);
	switch (rng_below(rng, 10)) {
	case 0:
	case 1:
		if (slot)
			pheap_alloc_into(heap, slot, size, NULL);
		break;
	case 2:
		if (slot)
			pheap_retire(heap, slot);
		break;
	case 3:
	case 4:
		if (mine->object)
			must(!pheap_free(heap, mine->object));
		keep(heap, mine, size, rng_next(rng));
		break;
	case 5:
		if (slot)
			pheap_resize(heap, slot, size);
		break;
	case 6:
		if (mine->object && slot && !pheap_publish(heap, slot, mine->object, 0))
			mine->object = NULL;
		break;
	case 7:
		if (rng_below(rng, 8))
			break;
		use_address(heap, base, rng);
		memset(kept, 0, KEPT * sizeof(*kept)); /* one of them may be free now */
		break;
	default:
		use_tx(heap, rng);
		break;
	}
}

static void use(pheap_t *heap, char *base, struct rng *rng)
{
	uint64_t n = 20 + rng_below(rng, rng_below(rng, 4) ? 200 : 1500);
	struct kept kept[KEPT] = {{NULL, 0, 0}};

	for (uint64_t i = 0; i < n; i++)
		use_once(heap, base, rng, kept);
	for (unsigned i = 0; i < KEPT; i++)
		look_at(&kept[i]);
	stats_of(heap);
	pheap_check(heap, NULL, NULL, NULL);
}

/* ---- rounds -------------------------------------------------------------------------- */

/* A pool between two pages that cannot be touched. */
static char *guarded(void)
{
	char *map = mmap(NULL, POOL + 2 * PM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED && !mprotect(map + PM_PAGE, POOL, PROT_READ | PROT_WRITE));
	return map + PM_PAGE;
}

static void open_and_use(char *base, const char *before, struct rng *rng)
{
	struct pheap_options opts = {.struct_size = sizeof(opts)};
	pheap_t *heap;

	if (rng_below(rng, 8) == 0)
		opts.flags = PHEAP_READONLY;
	heap = ph_pool_open_on(base, POOL, &opts, NULL, NULL);
	if (!heap) {
		must(errno == EUCLEAN || errno == EPROTONOSUPPORT);
		must(*pheap_errormsg());
		shared->refused++;
		if (!opts.flags && memcmp(base, before, POOL))
			shared->wrote++;
		return;
	}
	shared->opened++;
	use(heap, base, rng);
	if (rng_below(rng, 4))
		must(!pheap_close(heap));
	else
		ph_pool_abandon(heap);
	heap = ph_pool_open_on(base, POOL, &opts, NULL, NULL);
	if (heap)
		pheap_close(heap);
}

static void run_round(unsigned round, char *base, char *before)
{
	struct rng rng = rng_make(UINT64_C(1) << 32 | round);
	const char *image = images[rng_below(&rng, IMAGES)];
	struct pm_zone zone;
	struct damage d = {base, &zone, &rng, rng_below(&rng, 2), rng_below(&rng, 2)};

	entropy = rng_make(UINT64_C(2) << 32 | round);
	memcpy(base, image, POOL);
	memcpy(&zone, base + PM_ZONE_TABLE, sizeof(zone));
	change(&d);
	memcpy(before, base, POOL);
	open_and_use(base, before, &rng);
}

static void run_batch(unsigned from, unsigned to)
{
	char *base = guarded(), *before = memory_new(POOL);

	for (shared->round = from; shared->round < to; shared->round++) {
		alarm(TIME_LIMIT);
		run_round(shared->round, base, before);
	}
	exit(0); /* with exit handlers: leaks are reported */
}

static void damaged_pools(void **state)
{
	unsigned end = first_round + rounds, failed = 0;

	(void)state;
	for (unsigned from = first_round; from < end;) {
		unsigned to = end - from < BATCH ? end : from + BATCH;
		int status;
		pid_t child;

		fflush(NULL);
		child = fork();
		must(child >= 0);
		if (!child)
			run_batch(from, to);
		must(waitpid(child, &status, 0) == child);
		from = to;
		if (!status)
			continue;
		failed++;
		print_error("round %u (test-fuzz-open %ju 1 %u): %s %d\n", shared->round,
			    (uintmax_t)test_seed, shared->round,
			    WIFSIGNALED(status) ? "signal" : "exit status",
			    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		if (shared->round < to)
			from = shared->round + 1;
	}
	print_message("%u rounds: %u opened, %u refused, %u of these after a store\n", rounds,
		      shared->opened, shared->refused, shared->wrote);
	assert_int_equal(failed, 0);
	/* "EUCLEAN: damaged, and nothing has been written" */
	assert_int_equal(shared->wrote, 0);
}

/* What the damage is done to is sound. */
static void undamaged_pools(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < IMAGES; kind++) {
		char *copy = memory_copy(images[kind], POOL);
		pheap_t *heap = open_on(copy, POOL, NULL);

		assert_int_equal(info_of(heap).recovered, kind == CRASHED);
		assert_true(check_clean(heap) >= 4);
		close_pool(heap);
		memory_free(copy, POOL);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undamaged_pools),
		cmocka_unit_test(damaged_pools),
	};

	test_init(argc, argv);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		first_round = (unsigned)strtoul(argv[3], NULL, 0);
	shared = mmap(NULL, PM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	for (unsigned kind = 0; kind < IMAGES; kind++)
		make_image(kind);
	return cmocka_run_group_tests_name("fuzz-open", tests, NULL, NULL);
}
