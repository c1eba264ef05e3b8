/*
 * plot.c - a chart of the table, as SVG: for each row a line, with a dot for each system
 * on a logarithmic scale. Written by hand, so that it needs no other program.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "results.h"

#define LINE 17 /* from one row to the next */
#define LEFT 230
#define WIDTH 700
#define TOP 78

static const char *const colors[SYSTEMS] = {
	[S_PHEAP] = "#1b6ca8",	  [S_PROCESS] = "#4a9bd1",  [S_VOLATILE] = "#9ccbe8",
	[S_PMEMOBJ] = "#c0392b",  [S_GLIBC] = "#7f8c8d",    [S_MIMALLOC] = "#8e6bb0",
	[S_JEMALLOC] = "#d68910", [S_TCMALLOC] = "#2e8b57", [S_TBBMALLOC] = "#b07d62",
};

static bool any(const struct block *block)
{
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (block->cells[s].one.n)
			return true;
	return false;
}

static struct {
	double low, high; /* powers of ten */
} range;

static double x_of(double ns)
{
	return LEFT + WIDTH * (log10(ns) - range.low) / (range.high - range.low);
}

/* Of all values, in whole powers of ten. */
static void find_range(const struct results *results)
{
	range.low = INFINITY;
	range.high = -INFINITY;
	for (unsigned i = 0; i < row_count; i++)
		for (unsigned s = 0; s < SYSTEMS; s++) {
			double ns = cell_ns(&results->blocks[i], s);

			if (!(ns > 0))
				continue;
			range.low = fmin(range.low, floor(log10(ns)));
			range.high = fmax(range.high, ceil(log10(ns)));
		}
	if (!(range.high > range.low))
		range.high = range.low + 1;
}

static void draw_grid(FILE *file, unsigned bottom)
{
	static const char *const units[] = {"ns", "\302\265s", "ms", "s"};

	for (double power = range.low; power <= range.high; power++) {
		double x = x_of(pow(10, power));

		fprintf(file, "<path d='M%.1f %u V%u' stroke='#ddd'/>\n", x, TOP - 12, bottom);
		unsigned unit = power < 0 ? 0 : (unsigned)fmin(3, power / 3);

		fprintf(file, "<text x='%.1f' y='%u' text-anchor='middle'>%g %s</text>\n", x,
			TOP - 16, pow(10, power - 3 * unit), units[unit]);
	}
}

static void draw_legend(FILE *file)
{
	fprintf(file, "<text x='8' y='18' font-size='13'>ns per operation (space64: bytes per "
		      "object; open: ns of one open)</text>\n"
		      "<text x='8' y='34'>Hollow: other programs had a part in it. Upright line: "
		      "one non-temporal store + SFENCE.</text>\n");
	for (unsigned s = 0; s < SYSTEMS; s++)
		fprintf(file,
			"<circle cx='%u' cy='46' r='4' fill='%s'/><text x='%u' y='50'>%s</text>\n",
			14 + 104 * s, colors[s], 21 + 104 * s, systems[s]->name);
}

/* The first systems last, so that they lie on top. */
static void draw_block(FILE *file, const struct block *block, double y)
{
	double floor_ns = series_ns(&block->floor);
	char size[32];

	row_size(block->row, size, sizeof(size));
	fprintf(file,
		"<path d='M%u %.1f H%u' stroke='#eee'/><text x='%u' y='%.1f' "
		"text-anchor='end'>%s %s, %u thread%s</text>\n",
		LEFT, y, LEFT + WIDTH, LEFT - 10, y + 4, workloads[block->row->workload].name, size,
		block->row->threads, block->row->threads == 1 ? "" : "s");
	if (floor_ns > 0)
		fprintf(file, "<path d='M%.1f %.1f v%u' stroke='black' stroke-width='1.5'/>\n",
			x_of(floor_ns), y - LINE / 2.0, LINE);
	for (unsigned s = SYSTEMS; s-- > 0;) {
		bool hollow = series_disturbed(&block->cells[s].one) &&
			      !(workloads[block->row->workload].flags & WORK_NO_TIME);
		double ns = cell_ns(block, s);

		if (ns > 0)
			fprintf(file, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s' stroke='%s'/>\n",
				x_of(ns), y, hollow ? "white" : colors[s], colors[s]);
	}
}

bool plot(const struct results *results, const char *path)
{
	FILE *file = fopen(path, "we");
	unsigned n = 0, bottom;

	if (!file) {
		fprintf(stderr, "compare: cannot write %s: %s\n", path, strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < row_count; i++)
		n += any(&results->blocks[i]);
	bottom = TOP + n * LINE;
	find_range(results);
	fprintf(file,
		"<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' "
		"font-family='sans-serif' font-size='11'>\n"
		"<rect width='100%%' height='100%%' fill='white'/>\n",
		LEFT + WIDTH + 30, bottom + 10);
	draw_legend(file);
	draw_grid(file, bottom);
	n = 0;
	for (unsigned i = 0; i < row_count; i++)
		if (any(&results->blocks[i]))
			draw_block(file, &results->blocks[i], TOP + LINE * (n++ + 0.3));
	fprintf(file, "</svg>\n");
	if (fclose(file)) {
		fprintf(stderr, "compare: cannot write %s: %s\n", path, strerror(errno));
		return false;
	}
	return true;
}
