/*
 * report.c - the table, and what does not fit in it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "count.h"
#include "results.h"

double cell_ns(const struct block *block, unsigned system)
{
	return series_ns(&block->cells[system].one);
}

double cell_extra(const struct block *block, unsigned system, unsigned extra)
{
	return median(block->cells[system].extra[extra], block->cells[system].one.n);
}

double cell_fences(const struct cell *cell)
{
	return cell->counted && cell->count.ops > 0
		       ? (double)cell->count.called.fences / cell->count.ops
		       : -1;
}

/* ---- the table ------------------------------------------------------------------- */

void print_legend(const struct results *results)
{
	printf("# %smedian of %u repetitions of %.0f ms, of %u where each needs a process of its "
	       "own%s; in each the systems take turns\n",
	       results->quick ? "QUICK, with smaller counts, pools and live sets: " : "",
	       results->reps, results->target_ns / 1e6,
	       results->reps < FRESH_REPS ? results->reps : FRESH_REPS,
	       results->quick ? ", of 1 where bytes are counted" : "");
	printf("# a repetition is cut into slices of %.1f ms; those in which one of its threads "
	       "waited for a processor (/proc/thread-self/schedstat) are left out, and repetitions "
	       "that have too few others are repeated for at most %g s a row\n",
	       results->slice_ns / 1e6, results->patience);
	printf("# ns_per_op: wall time x threads / operations. fences_per_op, lines_per_op: "
	       "fences, "
	       "and 64-byte lines flushed or written past the cache, counted by the calls that "
	       "arrive at libpmem, in a pass of its own\n");
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (*workloads[i].op)
			printf("# operation of %s: %s\n", workloads[i].name, workloads[i].op);
	printf("workload\tsize\tthreads\tsystem\tns_per_op\tfences_per_op\tlines_per_op\n");
	fflush(stdout);
}

static void print_per_op(bool counted, uint64_t n, double ops)
{
	if (counted && ops > 0)
		printf("\t%.3f", (double)n / ops);
	else
		printf("\tn/a");
}

void print_block(const struct block *block)
{
	char size[32];

	row_size(block->row, size, sizeof(size));
	for (unsigned s = 0; s < SYSTEMS; s++) {
		const struct cell *cell = &block->cells[s];

		if (!cell->one.n)
			continue;
		printf("%s\t%s\t%u\t%s\t%.2f", workloads[block->row->workload].name, size,
		       block->row->threads, systems[s]->name, cell_ns(block, s));
		print_per_op(cell->counted, cell->count.called.fences, cell->count.ops);
		print_per_op(cell->counted, cell->count.called.lines, cell->count.ops);
		putchar('\n');
	}
	fflush(stdout);
}

/* ---- counts ------------------------------------------------------------------------- */

static bool same(const struct tally *a, const struct tally *b)
{
	return a->fences == b->fences && a->lines == b->lines;
}

static void print_own(const struct reply *count)
{
	if (!count->has_own)
		printf("; no counters of its own");
	else if (same(&count->own, &count->called))
		printf("; its own counters agree");
	else
		printf("; its own counters DIFFER: %.3f fences, %.3f lines",
		       (double)count->own.fences / count->ops,
		       (double)count->own.lines / count->ops);
}

static void print_stepped(const struct reply *count)
{
	static const char *const kinds[] = {"clflush", "clflushopt", "clwb"};

	if (!(count->stepped_ops > 0))
		return;
	printf("; by instruction, %.0f operations: %.3f fences, %.3f lines, %.0f instructions",
	       count->stepped_ops, (double)count->stepped.fences / count->stepped_ops,
	       (double)count->stepped.lines / count->stepped_ops, count->instructions);
	for (unsigned i = 0; i < ELEMENTS(kinds); i++)
		if (count->flush_kinds & 1u << i)
			printf(", %s", kinds[i]);
	if (same(&count->stepped, &count->stepped_called))
		printf("; the calls agree");
	else
		printf("; the calls DIFFER: %.3f fences, %.3f lines",
		       (double)count->stepped_called.fences / count->stepped_ops,
		       (double)count->stepped_called.lines / count->stepped_ops);
}

static void print_counts(const struct block *block)
{
	char size[32];

	row_size(block->row, size, sizeof(size));
	for (unsigned s = 0; s < SYSTEMS; s++) {
		const struct reply *count = &block->cells[s].count;

		if (!block->cells[s].counted || !(count->has_own || count->stepped_ops > 0))
			continue;
		printf("# counted %s %s %u %s: by call %.3f fences, %.3f lines",
		       workloads[block->row->workload].name, size, block->row->threads,
		       systems[s]->name, (double)count->called.fences / count->ops,
		       (double)count->called.lines / count->ops);
		print_own(count);
		print_stepped(count);
		putchar('\n');
	}
}

/* ---- what some workloads measure besides ------------------------------------------------ */

static double mib(double bytes)
{
	return bytes / (1 << 20);
}

static void print_extras(const struct block *block, unsigned s)
{
	double x[EXTRAS];
	char size[32];

	for (unsigned i = 0; i < EXTRAS; i++)
		x[i] = cell_extra(block, s, i);
	row_size(block->row, size, sizeof(size));
	switch (block->row->workload) {
	case W_FRAGBENCH:
		printf("# fragbench %s %s: resident growth %.1f MiB filled, %.1f after freeing 90 "
		       "%%, "
		       "%.1f at the end, for %.1f MiB live: %.3f\n",
		       size, systems[s]->name, mib(x[0]), mib(x[1]), mib(x[2]), mib(x[3]),
		       x[2] / x[3]);
		break;
	case W_STEADY:
		printf("# steady %s %s: resident growth %.1f MiB for 16384 objects of %.1f MiB: "
		       "%.3f",
		       size, systems[s]->name, mib(x[3]), mib(x[0]), x[3] / x[0]);
		if (x[2] > 0)
			printf("; %.1f in blocks, %.1f in spans: internal fragmentation %.2f %%, "
			       "external %.2f %%",
			       mib(x[1]), mib(x[2]), 100 * (1 - x[0] / x[1]),
			       100 * (1 - x[1] / x[2]));
		printf("\n");
		break;
	case W_OPEN_CLEAN:
	case W_OPEN_CRASH:
		printf("# %s %s: %.3f ms, %.0f KiB of anonymous memory; first 1000 allocations: "
		       "mean %.0f ns, at most %.0f ns%s\n",
		       workloads[block->row->workload].name, systems[s]->name,
		       cell_ns(block, s) / 1e6, x[0] / 1024, x[1], x[2],
		       x[3] > 0 ? "; recovered" : "");
		if (block->cells[s].count.extra[1] > 0)
			printf("# %s %s: lines of metadata that the first 1000 allocations touch, "
			       "counted by protection: mean %.3f, at most %.0f; by its own "
			       "counter: "
			       "mean %.3f\n",
			       workloads[block->row->workload].name, systems[s]->name,
			       block->cells[s].count.extra[1], block->cells[s].count.extra[2],
			       block->cells[s].count.extra[0]);
		break;
	default:
		break;
	}
}

static void print_pairs(const struct block *block, unsigned s)
{
	const struct cell *cell = &block->cells[s];
	double pair = series_ns(&cell->pair);
	char size[32];

	if (!cell->pair.n)
		return;
	row_size(block->row, size, sizeof(size));
	printf("# two processes %s %s %s: %.2f ns, two threads %.2f: %.3f of their throughput\n",
	       workloads[block->row->workload].name, size, systems[s]->name, pair,
	       cell_ns(block, s), pair / cell_ns(block, s));
}

static void print_libraries(const struct results *results)
{
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (*results->library[s])
			printf("# %s is %s\n", systems[s]->name, results->library[s]);
}

/* Do the three ways to count give the same everywhere? */
static void print_agreement(const struct results *results)
{
	unsigned own = 0, own_same = 0, stepped = 0, stepped_same = 0;

	for (unsigned i = 0; i < row_count; i++)
		for (unsigned s = 0; s < SYSTEMS; s++) {
			const struct cell *cell = &results->blocks[i].cells[s];

			if (cell->counted && cell->count.has_own) {
				own++;
				own_same += same(&cell->count.own, &cell->count.called);
			}
			if (cell->counted && cell->count.stepped_ops > 0) {
				stepped++;
				stepped_same +=
					same(&cell->count.stepped, &cell->count.stepped_called);
			}
		}
	printf("# counted: own counters of pheap agree with the calls in %u of %u lines of the "
	       "table; "
	       "instructions agree with the calls in %u of %u (instructions per "
	       "operation include those that count calls)\n",
	       own_same, own, stepped_same, stepped);
}

/* Where the time says something. */
static bool is_disturbed(const struct block *block, const struct series *series)
{
	return series_disturbed(series) && !(workloads[block->row->workload].flags & WORK_NO_TIME);
}

static void print_if_disturbed(const struct block *block, const char *what, const char *part,
			       const struct series *series)
{
	char size[32];

	if (!is_disturbed(block, series))
		return;
	row_size(block->row, size, sizeof(size));
	printf("# disturbed %s %s %u %s%s: %u of %u repetitions were quiet, kept from a processor "
	       "for %.0f %% of the time\n",
	       workloads[block->row->workload].name, size, block->row->threads, what, part,
	       series_quiet(series), series->n, 100 * series_waited(series));
}

/* Lines of the table that other programs had a part in. */
static void print_disturbed(const struct results *results)
{
	unsigned cells = 0, bad = 0;

	for (unsigned i = 0; i < row_count; i++) {
		const struct block *block = &results->blocks[i];

		print_if_disturbed(block, "floor", "", &block->floor);
		for (unsigned s = 0; s < SYSTEMS; s++) {
			const struct cell *cell = &block->cells[s];

			cells += cell->one.n > 0;
			bad += is_disturbed(block, &cell->one);
			print_if_disturbed(block, systems[s]->name, "", &cell->one);
			print_if_disturbed(block, systems[s]->name, ", two processes", &cell->pair);
		}
	}
	printf("# quiet: %u of %u lines of the table are from repetitions without other "
	       "programs%s\n",
	       cells - bad, cells,
	       bad ? "; measure the others again, with --only, when the machine is quiet" : "");
}

/* The median of the blocks' floors; of that before the first row where there is none. */
static double floor_of_run(const struct results *results, unsigned *n, double *least, double *most)
{
	double all[ROUNDS_MAX];

	*n = 0;
	*least = INFINITY;
	*most = 0;
	for (unsigned i = 0; i < row_count && *n < ROUNDS_MAX; i++) {
		double ns = series_ns(&results->blocks[i].floor);

		if (!(ns > 0))
			continue;
		all[(*n)++] = ns;
		*least = fmin(*least, ns);
		*most = fmax(*most, ns);
	}
	return *n ? median(all, *n) : results->first_floor;
}

/* Each line of the table as a multiple of the floor. */
static void print_multiples(const struct block *block, double floor_of_others)
{
	double own = series_ns(&block->floor), floor = own > 0 ? own : floor_of_others;
	char size[32];

	row_size(block->row, size, sizeof(size));
	printf("# multiple of the floor\t%s\t%s\t%u\t(%.1f ns)",
	       workloads[block->row->workload].name, size, block->row->threads, floor);
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (block->cells[s].one.n)
			printf("\t%s %.3f", systems[s]->name, cell_ns(block, s) / floor);
	putchar('\n');
}

static bool any_system(const struct block *block)
{
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (block->cells[s].one.n)
			return true;
	return false;
}

static void print_floor(const struct results *results)
{
	double least, most, floor;
	unsigned n;

	floor = floor_of_run(results, &n, &least, &most);
	if (n)
		printf("# floor: one non-temporal 64-byte store + SFENCE took %.1f ns, the median "
		       "of the medians of %u blocks (%.1f to %.1f)\n",
		       floor, n, least, most);
	for (unsigned i = 0; i < row_count; i++)
		if (any_system(&results->blocks[i]) &&
		    rows[i].workload != W_SPACE64 /* which is no time */)
			print_multiples(&results->blocks[i], floor);
}

void print_details(const struct results *results)
{
	print_libraries(results);
	print_floor(results);
	print_disturbed(results);
	print_agreement(results);
	for (unsigned i = 0; i < row_count; i++)
		print_counts(&results->blocks[i]);
	for (unsigned i = 0; i < row_count; i++)
		for (unsigned s = 0; s < SYSTEMS; s++) {
			if (!results->blocks[i].cells[s].one.n)
				continue;
			print_extras(&results->blocks[i], s);
			print_pairs(&results->blocks[i], s);
		}
}
