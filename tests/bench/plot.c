/*
 * plot.c - a chart of the table, as SVG: for each row a bar for each system, on a
 * logarithmic scale. Written by hand, so that it needs no other program.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "results.h"

#define BAR 12
#define GAP 14
#define LEFT 220
#define WIDTH 640 /* of the longest bar */

static const char *const colors[SYSTEMS] = {
	[S_PHEAP] = "#1b6ca8",	  [S_PROCESS] = "#4a9bd1",  [S_VOLATILE] = "#9ccbe8",
	[S_PMEMOBJ] = "#c0392b",  [S_GLIBC] = "#7f8c8d",    [S_MIMALLOC] = "#8e6bb0",
	[S_JEMALLOC] = "#d68910", [S_TCMALLOC] = "#2e8b57", [S_TBBMALLOC] = "#b07d62",
};

static unsigned bars_of(const struct block *block)
{
	unsigned n = 0;

	for (unsigned s = 0; s < SYSTEMS; s++)
		n += block->cells[s].one.n > 0;
	return n;
}

/* The range of all values, in whole powers of ten. */
static void find_range(const struct results *results, double *low, double *high)
{
	*low = INFINITY;
	*high = 0;
	for (unsigned i = 0; i < row_count; i++)
		for (unsigned s = 0; s < SYSTEMS; s++) {
			double ns = cell_ns(&results->blocks[i], s);

			if (ns > 0) {
				*low = fmin(*low, floor(log10(ns)));
				*high = fmax(*high, ceil(log10(ns)));
			}
		}
	if (*high <= *low)
		*high = *low + 1;
}

static void draw_grid(FILE *file, double low, double high, unsigned height)
{
	for (double power = low; power <= high; power++) {
		double x = LEFT + WIDTH * (power - low) / (high - low);

		fprintf(file, "<line x1='%.1f' y1='30' x2='%.1f' y2='%u' stroke='#ddd'/>\n", x, x,
			height);
		fprintf(file, "<text x='%.1f' y='24' text-anchor='middle'>%g</text>\n", x,
			pow(10, power));
	}
}

static unsigned draw_block(FILE *file, const struct block *block, unsigned y, double low,
			   double high)
{
	char size[32];

	if (!bars_of(block))
		return y;
	row_size(block->row, size, sizeof(size));
	fprintf(file, "<text x='4' y='%u' font-weight='bold'>%s %s, %u thread%s</text>\n",
		y + BAR - 2, workloads[block->row->workload].name, size, block->row->threads,
		block->row->threads == 1 ? "" : "s");
	y += BAR + 2;
	for (unsigned s = 0; s < SYSTEMS; s++) {
		double ns = cell_ns(block, s), length;

		if (!(ns > 0))
			continue;
		length = fmax(1, WIDTH * (log10(ns) - low) / (high - low));
		fprintf(file, "<text x='%u' y='%u' text-anchor='end'>%s</text>\n", LEFT - 6,
			y + BAR - 3, systems[s]->name);
		fprintf(file, "<rect x='%u' y='%u' width='%.1f' height='%u' fill='%s'/>\n", LEFT, y,
			length, BAR - 1, colors[s]);
		fprintf(file, "<text x='%.1f' y='%u'>%.4g</text>\n", LEFT + length + 4, y + BAR - 3,
			ns);
		y += BAR;
	}
	return y + GAP;
}

bool plot(const struct results *results, const char *path)
{
	FILE *file = fopen(path, "we");
	unsigned height = 50, y = 40;
	double low, high;

	if (!file) {
		fprintf(stderr, "compare: cannot write %s: %s\n", path, strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < row_count; i++)
		if (bars_of(&results->blocks[i]))
			height += (bars_of(&results->blocks[i]) + 1) * BAR + 2 + GAP;
	find_range(results, &low, &high);
	fprintf(file,
		"<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' "
		"font-family='sans-serif' font-size='10'>\n"
		"<rect width='100%%' height='100%%' fill='white'/>\n"
		"<text x='4' y='12'>ns per operation, logarithmic (space64: bytes per object; "
		"open: ns "
		"of one open)</text>\n",
		LEFT + WIDTH + 80, height);
	draw_grid(file, low, high, height - 10);
	for (unsigned i = 0; i < row_count; i++)
		y = draw_block(file, &results->blocks[i], y, low, high);
	fprintf(file, "</svg>\n");
	if (fclose(file)) {
		fprintf(stderr, "compare: cannot write %s: %s\n", path, strerror(errno));
		return false;
	}
	return true;
}
