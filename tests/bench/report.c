/*
 * report.c - the table, and what does not fit in it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "count.h"
#include "results.h"

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(const double *values, unsigned n)
{
	double sorted[REPS_MAX];

	if (!n)
		return 0;
	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare_doubles);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

bool disturbed(const double *waited, unsigned n)
{
	return n && median(waited, n) > WAITED_MAX;
}

double cell_ns(const struct block *block, unsigned system)
{
	return median(block->cells[system].ns, block->cells[system].n);
}

double cell_extra(const struct block *block, unsigned system, unsigned extra)
{
	return median(block->cells[system].extra[extra], block->cells[system].n);
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
	printf("# %srepetitions of %.0f ms; median of %u, in each of which the systems take "
	       "turns\n",
	       results->quick ? "QUICK, with smaller pools and live sets: " : "",
	       results->target_ns / 1e6, results->reps);
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

		if (!cell->n)
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
	       (double)count->stepped.lines / count->stepped_ops,
	       (double)count->instructions / count->stepped_ops);
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
		printf("# steady %s %s: %.1f MiB requested, %.1f in blocks, %.1f in spans: "
		       "internal "
		       "fragmentation %.2f %%, external %.2f %%\n",
		       size, systems[s]->name, mib(x[0]), mib(x[1]), mib(x[2]),
		       100 * (1 - x[0] / x[1]), 100 * (1 - x[1] / x[2]));
		break;
	case W_OPEN_CLEAN:
	case W_OPEN_CRASH:
		printf("# %s %s: %.3f ms, %.0f KiB of anonymous memory; first 1000 allocations: "
		       "mean "
		       "%.0f ns, at most %.0f ns%s\n",
		       workloads[block->row->workload].name, systems[s]->name,
		       cell_ns(block, s) / 1e6, x[0] / 1024, x[1], x[2],
		       x[3] > 0 ? "; recovered" : "");
		break;
	default:
		break;
	}
}

static void print_pairs(const struct block *block, unsigned s)
{
	const struct cell *cell = &block->cells[s];
	double pair = median(cell->pair_ns, cell->pairs);
	char size[32];

	if (!cell->pairs)
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

/* Lines of the table that other programs had a part in. */
static void print_disturbed(const struct results *results)
{
	unsigned cells = 0, bad = 0;
	char size[32];

	for (unsigned i = 0; i < row_count; i++)
		for (unsigned s = 0; s < SYSTEMS; s++) {
			const struct cell *cell = &results->blocks[i].cells[s];

			cells += cell->n > 0;
			if (!disturbed(cell->waited, cell->n))
				continue;
			bad++;
			row_size(&rows[i], size, sizeof(size));
			printf("# disturbed %s %s %u %s: kept from a processor for %.0f %% of its "
			       "time\n",
			       workloads[rows[i].workload].name, size, rows[i].threads,
			       systems[s]->name, 100 * median(cell->waited, cell->n));
		}
	printf("# quiet: other programs kept %u of %u lines of the table from a processor for more "
	       "than %.0f %% of the time%s\n",
	       bad, cells, 100 * WAITED_MAX,
	       bad ? "; measure those again, with --only, when the machine is quiet" : "");
}

static void print_floor(const struct results *results)
{
	double *all = calloc(row_count, sizeof(*all));
	double least = INFINITY, most = 0;
	unsigned n = 0;

	for (unsigned i = 0; all && i < row_count && n < REPS_MAX; i++) {
		double ns = median(results->blocks[i].floor_ns, results->blocks[i].floors);

		if (!(ns > 0))
			continue;
		all[n++] = ns;
		least = fmin(least, ns);
		most = fmax(most, ns);
	}
	if (n)
		printf("# floor: one non-temporal 64-byte store + SFENCE took %.1f ns, the median "
		       "of the "
		       "medians of %u blocks (%.1f to %.1f)\n",
		       median(all, n), n, least, most);
	free(all);
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
			if (!results->blocks[i].cells[s].n)
				continue;
			print_extras(&results->blocks[i], s);
			print_pairs(&results->blocks[i], s);
		}
}
