/*
 * genbench.c - what generations cost: how long threads are stopped by a young collection and
 * by a full one, beside more and more old objects.
 *
 *	genbench [--old N] [--young N] [--reps N] [--dir FOLDER] [--plot FILE]
 *
 * Old objects, of 64 bytes, are a list, so all are alive. In each turn as many young ones are
 * published, in lists of ten; nine of ten lists are dropped at once, and the tenth joins
 * the old ones. Then a young collection. Writes a table, a line for each number of old objects:
 *
 *	old		objects when the turns begin
 *	young_us	time for which threads are stopped, in microseconds, median and least
 *	full_us		the same of a full collection, at the end
 *	full_100k	of it, for each 100,000 objects
 *	efficiency	bytes freed by young collections over bytes they looked at
 *
 * With --plot, an SVG file of the first two, as in docs/reclamation.md.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pheap.h>

struct node {
	pheap_ref next;
	uint64_t payload[7];
};
static const struct pheap_type_info node_info = PHEAP_TYPE(struct node, 1, next);

#define LIST 10u /* objects of a list */
#define KEPT 10u /* one list of so many is kept */
#define BATCH 100u
#define STEPS 5u

static pheap_t *heap;
static pheap_type_t *type;
static uint64_t olds = 1000000, youngs = 10000;
static unsigned reps = 41;

static void fail(const char *what)
{
	fprintf(stderr, "genbench: %s: %s\n", what, pheap_errormsg());
	exit(1);
}

static void check(int err, const char *what)
{
	if (err)
		fail(what);
}

static void *made(void *p, const char *what)
{
	if (!p)
		fail(what);
	return p;
}

/* A list of n objects in front of what the slot refers to, or in its place. */
static void add_list(pheap_ref *slot, unsigned n, int in_front)
{
	pheap_tx_t *tx = made(pheap_tx_begin(heap), "begin");
	pheap_ref first = in_front ? *slot : 0;

	while (n--) {
		struct node *node = made(pheap_tx_alloc_typed(tx, type), "alloc");

		node->next = first;
		first = pheap_ref_of(heap, node);
	}
	check(pheap_tx_set(tx, slot, first), "set");
	check(pheap_tx_commit(tx), "commit");
}

static void allocate_young(void)
{
	pheap_ref *scratch = made(pheap_named_root(heap, "scratch"), "root");

	for (uint64_t i = 0; i < youngs / LIST; i++)
		if (i % KEPT)
			add_list(scratch, LIST, 0);
		else
			add_list(pheap_root(heap), LIST, 1);
}

static double collect(unsigned flags, struct pheap_gc_report *report)
{
	struct pheap_gc_options options = {
		.struct_size = sizeof(options), .flags = flags, .threads = 1};

	*report = (struct pheap_gc_report){.struct_size = sizeof(*report)};
	check(pheap_gc(heap, &options, report), "gc");
	return (double)report->stop_ns / 1000;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct row {
	uint64_t old;
	double median, least, full, full_each, efficiency;
};

static struct row measure(uint64_t old)
{
	struct pheap_gc_generations generations = {
		.struct_size = sizeof(generations), .flags = PHEAP_GC_LEAVES, .growth = 1000000};
	struct pheap_gc_report report;
	double *time = malloc(reps * sizeof(*time));
	uint64_t looked_at = 0, freed = 0;
	struct row row = {.old = old};

	if (!time)
		fail("no memory");
	for (uint64_t i = 0; i < old; i += BATCH)
		add_list(pheap_root(heap), BATCH, 1);
	check(pheap_gc_set_generations(heap, &generations), "generations");
	collect(PHEAP_GC_YOUNG, &report); /* looks at everything */
	for (unsigned i = 0; i < reps; i++) {
		allocate_young();
		time[i] = collect(PHEAP_GC_YOUNG, &report);
		if (!report.young)
			fail("that was a full collection");
		looked_at += report.objects;
		freed += report.freed;
	}
	qsort(time, reps, sizeof(*time), by_value);
	row.least = time[0];
	row.median = time[reps / 2];
	row.efficiency = (double)freed / (double)looked_at; /* all have one size */
	for (unsigned i = 0; i < 5; i++) {
		double full = collect(PHEAP_GC_LEAVES, &report);

		if (!i || full < row.full)
			row.full = full;
	}
	row.full_each = row.full / (double)report.objects * 100000;
	free(time);
	return row;
}

/* ---- the pool, and the plot --------------------------------------------------------- */

static void make_pool(const char *dir, uint64_t old)
{
	struct pheap_options options = {
		.struct_size = sizeof(options),
		.size = ((old + 2 * youngs + reps * youngs / KEPT) * 72 + (UINT64_C(64) << 20)) &
			~UINT64_C(0xffff),
		.durability = PHEAP_PROCESS,
	};
	char path[4096];

	snprintf(path, sizeof(path), "%s/genbench.%d.pool", dir, (int)getpid());
	unlink(path);
	heap = made(pheap_create(path, &options), "create");
	unlink(path);
	type = made(pheap_type_register(heap, &node_info), "type");
}

#define WIDTH 640
#define HEIGHT 320
#define LEFT 70
#define BOTTOM 50

static double x_of(const struct row *rows, uint64_t old)
{
	return LEFT + (double)old / (double)rows[STEPS - 1].old * (WIDTH - LEFT - 30);
}

static void plot_line(FILE *f, const struct row *rows, int full, double top, const char *color)
{
	fprintf(f, "<polyline fill='none' stroke='%s' stroke-width='2' points='", color);
	for (unsigned i = 0; i < STEPS; i++) {
		double value = full ? rows[i].full / 100 : rows[i].median;

		fprintf(f, "%.1f,%.1f ", x_of(rows, rows[i].old),
			HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 30));
	}
	fputs("'/>\n", f);
}

static void plot(const char *path, const struct row *rows)
{
	double top = rows[STEPS - 1].full / 100;
	FILE *f = fopen(path, "w");

	for (unsigned i = 0; i < STEPS; i++)
		top = rows[i].median > top ? rows[i].median : top;
	top *= 1.1;
	if (!f) {
		perror(path);
		exit(1);
	}
	fprintf(f,
		"<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
		"font-family='sans-serif' font-size='12'>\n<rect width='100%%' height='100%%' "
		"fill='white'/>\n<path d='M%d 20 V%d H%d' stroke='black' fill='none'/>\n",
		WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM, WIDTH - 20);
	for (unsigned i = 0; i < STEPS; i++)
		fprintf(f, "<text x='%.1f' y='%d' text-anchor='middle'>%" PRIu64 "k</text>\n",
			x_of(rows, rows[i].old), HEIGHT - BOTTOM + 18, rows[i].old / 1000);
	for (unsigned i = 0; i <= 4; i++)
		fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%.0f</text>\n", LEFT - 6,
			HEIGHT - BOTTOM + 4 - i / 4.0 / 1.1 * (HEIGHT - BOTTOM - 30),
			top / 1.1 * i / 4);
	fprintf(f,
		"<text x='%d' y='%d' text-anchor='middle'>old objects of 64 bytes</text>\n"
		"<text x='%d' y='15'>microseconds for which threads are stopped</text>\n"
		"<text x='%d' y='36' fill='#1b6ac9'>young collection, %" PRIu64
		" young objects</text>\n"
		"<text x='%d' y='52' fill='#c9481b'>full collection, hundreds of "
		"microseconds</text>\n",
		WIDTH / 2, HEIGHT - 10, LEFT, LEFT + 20, youngs, LEFT + 20);
	plot_line(f, rows, 0, top, "#1b6ac9");
	plot_line(f, rows, 1, top, "#c9481b");
	fputs("</svg>\n", f);
	if (fclose(f)) {
		perror(path);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *dir = "/dev/shm", *file = NULL;
	struct row rows[STEPS];

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--old"))
			olds = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--young"))
			youngs = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--reps"))
			reps = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--dir"))
			dir = argv[i + 1];
		else if (!strcmp(argv[i], "--plot"))
			file = argv[i + 1];
	}
	puts("old\tyoung_us\tyoung_least_us\tfull_us\tfull_100k\tefficiency");
	for (unsigned i = 0; i < STEPS; i++) {
		/* An eighth of them, a quarter, half, all, twice as many. */
		uint64_t old = (olds << i) / 8;

		make_pool(dir, old);
		rows[i] = measure(old);
		check(pheap_close(heap), "close");
		printf("%" PRIu64 "\t%.1f\t%.1f\t%.0f\t%.0f\t%.2f\n", rows[i].old, rows[i].median,
		       rows[i].least, rows[i].full, rows[i].full_each, rows[i].efficiency);
		fflush(stdout);
	}
	if (file)
		plot(file, rows);
	return 0;
}
