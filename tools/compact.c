/*
 * compact.c - pheap compact: move objects out of sparse slabs of a pool that nobody uses.
 */
#include "tool.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include <json-c/json.h>

#include <pheap.h>

static const char help[] =
	"Usage: pheap compact [OPTION...] POOL\n"
	"Move objects of the pool file POOL out of sparse slabs, and give whole spans back.\n"
	"What something without a type may refer to stays where it is.\n"
	"\n"
	"  -j, --json        print a JSON object\n"
	"      --force-pmem  treat the file as persistent memory whatever it is\n"
	"  -h, --help        print this\n"
	"\n" EXIT_HELP;

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"force-pmem", no_argument, NULL, 'f'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define GRANULE UINT64_C(65536) /* the unit of the counts */

/* Per cent of what spans have in use that is in no object. */
static double external(const struct pheap_space *space)
{
	uint64_t used = space->total - space->free - space->logs;

	return used ? 100.0 * (double)(used - space->published - space->reserved) / (double)used
		    : 0;
}

static void show(void *arg, uint64_t done, uint64_t total)
{
	unsigned *last = arg, percent = (unsigned)(total ? 100 * done / total : 100);

	if (percent != *last && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%u %%%s", percent, done == total ? "\n" : "");
	*last = percent;
}

static void print_text(const char *pool, const struct pheap_compact_report *report,
		       const struct pheap_space before[2])
{
	char moved[SIZE_TEXT], from[SIZE_TEXT], to[SIZE_TEXT];

	printf("%s: %llu objects moved, %s; %llu references changed\n", pool,
	       (unsigned long long)report->moved, format_size(report->moved_bytes, moved),
	       (unsigned long long)report->slots);
	printf("%s: in use %s, was %s; in no object %.1f %%, was %.1f %%\n", pool,
	       format_size(report->granules_after * GRANULE, to),
	       format_size(report->granules * GRANULE, from), external(&before[1]),
	       external(&before[0]));
	if (report->pinned)
		printf("%s: %llu objects stayed in sparse slabs: %llu objects of unknown layout "
		       "may refer to them, or their types count references\n",
		       pool, (unsigned long long)report->pinned,
		       (unsigned long long)report->untyped_holders);
}

static void add(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void print_json(const char *pool, const struct pheap_compact_report *report,
		       const struct pheap_space space[2])
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "pool", json_object_new_string(pool));
	add(object, "moved", report->moved);
	add(object, "moved_bytes", report->moved_bytes);
	add(object, "references", report->slots);
	add(object, "pinned", report->pinned);
	add(object, "unknown_holders", report->untyped_holders);
	add(object, "bytes_before", report->granules * GRANULE);
	add(object, "bytes_after", report->granules_after * GRANULE);
	json_object_object_add(object, "external_before",
			       json_object_new_double(external(&space[0])));
	json_object_object_add(object, "external_after",
			       json_object_new_double(external(&space[1])));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static int compact(const char *pool, unsigned flags, int json)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .flags = flags};
	struct pheap_compact_report report = {.struct_size = sizeof(report)};
	struct pheap_space space[2] = {{.struct_size = sizeof(space[0])},
				       {.struct_size = sizeof(space[1])}};
	unsigned last = 0;
	struct pheap_compact_options how = {
		.struct_size = sizeof(how), .progress = show, .arg = &last};
	pheap_t *heap = pheap_open(pool, &opts);

	if (!heap)
		return pool_error("compact");
	if (pheap_get_space(heap, &space[0]) || pheap_compact(heap, &how, &report) ||
	    pheap_get_space(heap, &space[1])) {
		pool_error("compact");
		pheap_close(heap);
		return EXIT_POOL;
	}
	if (pheap_close(heap))
		return pool_error("compact");
	if (json)
		print_json(pool, &report, space);
	else
		print_text(pool, &report, space);
	return EXIT_FINE;
}

int cmd_compact(int argc, char **argv)
{
	const char *pool;
	unsigned flags = 0;
	int json = 0;
	int option;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = 1;
			break;
		case 'f':
			flags |= PHEAP_FORCE_PMEM;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_FINE;
		default:
			return usage_error("compact");
		}
	}
	pool = pool_operand("compact", argc, argv);
	return pool ? compact(pool, flags, json) : EXIT_USAGE;
}
