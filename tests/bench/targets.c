/*
 * targets.c - what the project wants to reach, as ratios within one run.
 */
#include <math.h>

#include "results.h"

static const struct results *all;

/* Does a figure of the present target come from a disturbed measurement? */
static bool doubtful;

static const struct block *find(enum workload_id workload, unsigned threads)
{
	for (unsigned i = 0; i < row_count; i++)
		if (rows[i].workload == workload && rows[i].threads == threads)
			return &all->blocks[i];
	return NULL;
}

/* The median, of which the verdict is to take note where it was disturbed. */
static double use_series(const struct series *series)
{
	doubtful |= series_disturbed(series);
	return series_ns(series);
}

static double use(const struct block *block, unsigned system)
{
	return use_series(&block->cells[system].one);
}

/* The fastest of the mallocs that count; NAN where one of them is missing. */
static double best_malloc(const struct block *block)
{
	static const unsigned peers[] = {S_MIMALLOC, S_JEMALLOC, S_TCMALLOC};
	double best = INFINITY;

	for (unsigned i = 0; i < ELEMENTS(peers); i++) {
		double ns = use(block, peers[i]);

		if (!(ns > 0))
			return NAN;
		best = fmin(best, ns);
	}
	return best;
}

static double ratio(double a, double b)
{
	return a > 0 && b > 0 ? a / b : NAN;
}

/* want: '<' at most the limit, '>' at least. */
static void verdict(const char *what, unsigned threads, const char *against, char want,
		    double limit, double measured)
{
	bool met = want == '<' ? measured <= limit : measured >= limit;

	printf("# target\t%s\t%u\t%s\t%s %g\t", what, threads, against,
	       want == '<' ? "<=" : ">=", limit);
	if (isnan(measured))
		printf("n/a\t%s\n", doubtful ? "undecided: disturbed" : "not measured");
	else
		printf("%.3f\t%s\n", measured,
		       doubtful ? "undecided: disturbed"
		       : met	? "met"
				: "MISSED");
	doubtful = false;
}

/*
 * The worst row of a workload, against the best malloc. A row that was disturbed can
 * keep the target from being met, but one that was not is enough to miss it.
 */
static void against_malloc(enum workload_id workload, double limit)
{
	bool any_doubtful = false;
	double worst = NAN;
	char what[80], size[32] = "none";
	unsigned n = 0;

	for (unsigned i = 0; i < row_count; i++) {
		double r;

		if (rows[i].workload != workload || rows[i].threads != 1)
			continue;
		n++;
		doubtful = false;
		r = ratio(use(&all->blocks[i], S_PHEAP), best_malloc(&all->blocks[i]));
		any_doubtful |= doubtful;
		if (doubtful || !(isnan(worst) || r > worst))
			continue;
		worst = r;
		row_size(&rows[i], size, sizeof(size));
	}
	doubtful = any_doubtful && !(worst > limit);
	snprintf(what, sizeof(what), "pheap / best malloc, worst of %u sizes: %s", n, size);
	verdict(workloads[workload].name, 1, what, '<', limit, worst);
}

static void against_pmemobj(enum workload_id workload, unsigned threads, double limit)
{
	const struct block *block = find(workload, threads);

	verdict(workloads[workload].name, threads, "libpmemobj / pheap", '>', limit,
		ratio(use(block, S_PMEMOBJ), use(block, S_PHEAP)));
}

static void against_floor(enum workload_id workload, double limit)
{
	const struct block *block = find(workload, 1);

	verdict(workloads[workload].name, 1, "pheap / floor", '<', limit,
		ratio(use(block, S_PHEAP), use_series(&block->floor)));
}

/* One fence an operation, and two for a checkpoint after a hundred and more. */
static void one_fence(enum workload_id workload, unsigned threads)
{
	double fences = cell_fences(&find(workload, threads)->cells[S_PHEAP]);

	verdict(workloads[workload].name, threads, "fences of pheap, checkpoints included", '<',
		1.05, fences < 0 ? NAN : fences);
}

static void volatile_against_malloc(enum workload_id workload)
{
	const struct block *block = find(workload, 2);

	verdict(workloads[workload].name, 2, "pheap-volatile / best malloc", '<', 1.2,
		ratio(use(block, S_VOLATILE), best_malloc(block)));
}

/* ---- volatile heaps, as the memory pools that have published figures --------------------- */

struct range {
	size_t min, max;
	double rate; /* million allocations a second */
};

static const struct range ranges[] = {{8, 128, 90}, {129, 2048, 50}, {2049, 65536, 12}};

static const struct block *find_range(enum workload_id workload, const struct range *range,
				      unsigned threads)
{
	for (unsigned i = 0; i < row_count; i++)
		if (rows[i].workload == workload && rows[i].min == range->min &&
		    rows[i].max == range->max && rows[i].threads == threads)
			return &all->blocks[i];
	return NULL;
}

static void name_of(const struct block *block, char *name, size_t room)
{
	char size[32];

	row_size(block->row, size, sizeof(size));
	snprintf(name, room, "%s %s", workloads[block->row->workload].name, size);
}

/* An allocation counts with its free, and with the first store to it. */
static void allocation_rate(const struct range *range)
{
	const struct block *block = find_range(W_RESERVE_BATCH, range, 1);
	double ns = use(block, S_VOLATILE);
	char name[64];

	name_of(block, name, sizeof(name));
	verdict(name, 1, "million allocations a second of pheap-volatile", '>', range->rate,
		ns > 0 ? 1e3 / ns : NAN);
}

static void volatile_range(enum workload_id workload, const struct range *range)
{
	const struct block *block = find_range(workload, range, 1);
	char name[64];

	name_of(block, name, sizeof(name));
	verdict(name, 1, "pheap-volatile / best malloc", '<', 1.1,
		ratio(use(block, S_VOLATILE), best_malloc(block)));
}

/* What two threads do in the time in which one does once as much. */
static void volatile_scaling(const struct range *range)
{
	const struct block *one = find_range(W_RANDOM_SLOT, range, 1);
	const struct block *two = find_range(W_RANDOM_SLOT, range, 2);
	char name[64];

	name_of(two, name, sizeof(name));
	verdict(name, 2, "throughput of pheap-volatile / one thread", '>', 1.9,
		2 * ratio(use(one, S_VOLATILE), use(two, S_VOLATILE)));
}

static void volatile_heaps(void)
{
	double large = use(find(W_LARGE_PAIR, 1), S_VOLATILE);

	verdict("large_pair", 1, "ns of pheap-volatile", '<', 50, large > 0 ? large : NAN);
	verdict("arena64", 1, "glibc / pheap-volatile", '>', 6,
		ratio(use(find(W_ARENA64, 1), S_GLIBC), use(find(W_ARENA64, 1), S_VOLATILE)));
	for (unsigned i = 0; i < ELEMENTS(ranges); i++) {
		allocation_rate(&ranges[i]);
		volatile_range(W_RESERVE_BATCH, &ranges[i]);
		volatile_range(W_RANDOM_SLOT, &ranges[i]);
		volatile_scaling(&ranges[i]);
	}
}

static void against_processes(const struct block *block, enum system_id system)
{
	const struct cell *cell = &block->cells[system];
	char name[64], size[32], what[64];

	row_size(block->row, size, sizeof(size));
	snprintf(name, sizeof(name), "%s %s", workloads[block->row->workload].name, size);
	snprintf(what, sizeof(what), "throughput of %s / two processes", systems[system]->name);
	verdict(name, 2, what, '>', 0.95, ratio(use_series(&cell->pair), use(block, system)));
}

/* Every workload whose threads have nothing in common. */
static void all_against_processes(void)
{
	for (unsigned i = 0; i < row_count; i++) {
		unsigned flags = workloads[rows[i].workload].flags;

		if (rows[i].threads != 2 || !(flags & WORK_INDEPENDENT))
			continue;
		against_processes(&all->blocks[i], S_PHEAP);
		if (!(flags & WORK_DURABLE))
			against_processes(&all->blocks[i], S_VOLATILE);
	}
}

static void fragmentation(void)
{
	const struct block *block = find(W_STEADY, 1);
	double requested = cell_extra(block, S_PHEAP, 0), blocks = cell_extra(block, S_PHEAP, 1);
	double spans = cell_extra(block, S_PHEAP, 2);

	verdict("steady", 1, "internal fragmentation, %", '<', 7,
		100 - 100 * ratio(requested, blocks));
	verdict("steady", 1, "external fragmentation, %", '<', 3, 100 - 100 * ratio(blocks, spans));
	for (unsigned i = 0; i < row_count; i++)
		if (rows[i].workload == W_FRAGBENCH)
			verdict(rows[i].max > 130 ? "fragbench 100-250" : "fragbench 100-130", 1,
				"resident growth / jemalloc's", '<', 1,
				ratio(cell_extra(&all->blocks[i], S_PHEAP, 2),
				      cell_extra(&all->blocks[i], S_JEMALLOC, 2)));
}

/* Counted once: it does not depend on time. */
static void first_allocations(const struct block *block)
{
	const struct cell *cell = &block->cells[S_PHEAP];

	verdict(workloads[block->row->workload].name, 1,
		"metadata lines of the first 1000 allocations, mean", '<', 3,
		cell->counted ? cell->count.extra[1] : NAN);
	verdict(workloads[block->row->workload].name, 1, "the same, most of one", '<', 100,
		cell->counted ? cell->count.extra[2] : NAN);
}

static void opening(enum workload_id workload)
{
	const struct block *block = find(workload, 1);
	bool measured = block->cells[S_PHEAP].one.n;

	verdict(workloads[workload].name, 1, "ms", '<', 0.5,
		measured ? use(block, S_PHEAP) / 1e6 : NAN);
	verdict(workloads[workload].name, 1, "MiB of anonymous memory", '<', 1,
		measured ? cell_extra(block, S_PHEAP, 0) / (1 << 20) : NAN);
	first_allocations(block);
}

static void single_values(void)
{
	double large = use(find(W_LARGE_PAIR, 1), S_PHEAP);
	double space = cell_ns(find(W_SPACE64, 1), S_PHEAP); /* no time: nothing disturbs it */

	verdict("large_pair", 1, "ns", '<', 60, large > 0 ? large : NAN);
	verdict("space64", 1, "bytes per object", '<', 65, space > 0 ? space : NAN);
}

void print_targets(const struct results *results)
{
	all = results;
	printf("# target\tworkload\tthreads\twhat\twanted\tmeasured\tverdict\n");
	against_malloc(W_RESERVE_PAIR, 1.2);
	against_malloc(W_RESERVE_BATCH, 1.2);
	against_malloc(W_RANDOM_SLOT, 1.3);
	single_values();
	against_pmemobj(W_LINKED_RING, 1, 5);
	against_floor(W_LINKED_RING, 1.3);
	against_pmemobj(W_TX_WRITE8, 1, 4.5);
	against_floor(W_TX_WRITE8, 1.4);
	against_pmemobj(W_TX_SNAPSHOT8, 1, 1.6);
	against_pmemobj(W_TX_SNAPSHOT8X8, 1, 4);
	against_pmemobj(W_TX_ALLOC_LINK, 1, 4.5);
	against_floor(W_TX_ALLOC_LINK, 1.4);
	against_pmemobj(W_TX_BATCH64, 1, 10);
	against_pmemobj(W_LARGE_LINKED_PAIR, 1, 3);
	against_pmemobj(W_LINKED_SHARED, 2, 4);
	one_fence(W_LINKED_SHARED, 2);
	against_pmemobj(W_LINKED_PRODCON, 2, 4);
	one_fence(W_LINKED_PRODCON, 2);
	volatile_against_malloc(W_PRODCON);
	volatile_against_malloc(W_LARSON);
	volatile_heaps();
	all_against_processes();
	fragmentation();
	opening(W_OPEN_CLEAN);
	opening(W_OPEN_CRASH);
}
