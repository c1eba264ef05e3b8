/*
 * gc.c - pheap gc: find the objects of a pool that nothing reaches, and free them.
 */
#include "tool.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include <pheap.h>

static const char help[] =
	"Usage: pheap gc [OPTION...] POOL\n"
	"Free all objects of the pool file POOL that its roots do not reach. Types say\n"
	"where references are; where there are objects without a type, --conservative or\n"
	"--leaves has to say what they hold.\n"
	"\n"
	"  -n, --dry-run       free nothing: report leaks\n"
	"  -c, --conservative  each word of an object without a type is a reference if it\n"
	"                      could be one\n"
	"  -l, --leaves        objects without a type hold no references\n"
	"  -t, --threads=N     mark with N threads (as many as there are processors)\n"
	"  -j, --json          print a JSON object\n"
	"  -h, --help          print this\n"
	"\n" EXIT_HELP;

static const struct option options[] = {
	{"dry-run", no_argument, NULL, 'n'},
	{"conservative", no_argument, NULL, 'c'},
	{"leaves", no_argument, NULL, 'l'},
	{"threads", required_argument, NULL, 't'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Garbage by type and size, in the one form or the other. */
struct output {
	struct json_object *garbage; /* NULL: text */
	uint64_t lines;
	int terminal; /* standard error is one, and shows progress */
};

static const char *name_of(const pheap_type_t *type, struct pheap_type_info *info)
{
	info->struct_size = sizeof(*info);
	return type && !pheap_type_get_info(type, info) ? info->name : NULL;
}

static void print_garbage(void *arg, const struct pheap_garbage *garbage)
{
	struct output *out = arg;
	struct pheap_type_info info = {0};
	const char *name = name_of(garbage->type, &info);
	struct json_object *entry;

	if (!out->garbage) {
		if (!out->lines++)
			printf("%12s  %10s  %12s  %s\n", "objects", "size", "example", "type");
		printf("%12" PRIu64 "  %10zu  %#12" PRIx64 "  %s\n", garbage->objects,
		       garbage->size, garbage->example, name ? name : "(none)");
		return;
	}
	entry = json_object_new_object();
	json_object_object_add(entry, "type", name ? json_object_new_string(name) : NULL);
	json_object_object_add(entry, "size", json_object_new_uint64(garbage->size));
	json_object_object_add(entry, "objects", json_object_new_uint64(garbage->objects));
	json_object_object_add(entry, "example", json_object_new_uint64(garbage->example));
	json_object_array_add(out->garbage, entry);
}

static void show_progress(void *arg, uint64_t marked, uint64_t objects)
{
	const struct output *out = arg;

	if (out->terminal)
		fprintf(stderr, "\rmarked %" PRIu64 " of %" PRIu64 " objects at most ", marked,
			objects);
}

static void print_text(const char *pool, const struct pheap_gc_report *r, int dry)
{
	char size[SIZE_TEXT];

	printf("%s: %" PRIu64 " objects, %" PRIu64 " alive, %" PRIu64 " garbage (%s)\n", pool,
	       r->objects, r->live, r->garbage, format_size(r->garbage_bytes, size));
	if (dry && r->dangling)
		printf("%s: %" PRIu64 " references are to no object\n", pool, r->dangling);
	if (!dry)
		printf("%s: %" PRIu64 " freed (%s)\n", pool, r->freed,
		       format_size(r->freed_bytes, size));
	printf("%s: marked in %.3f s by %u thread%s, freed in %.3f s\n", pool,
	       (double)r->mark_ns / 1e9, r->threads, r->threads == 1 ? "" : "s",
	       (double)r->sweep_ns / 1e9);
}

static void print_json(const char *pool, const struct pheap_gc_report *r, struct json_object *list)
{
	const struct {
		const char *key;
		uint64_t value;
	} counts[] = {
		{"objects", r->objects},   {"live", r->live},
		{"garbage", r->garbage},   {"garbage_bytes", r->garbage_bytes},
		{"freed", r->freed},	   {"freed_bytes", r->freed_bytes},
		{"dangling", r->dangling}, {"mark_ns", r->mark_ns},
		{"sweep_ns", r->sweep_ns}, {"threads", r->threads},
	};
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "pool", json_object_new_string(pool));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_object_add(object, counts[i].key,
				       json_object_new_uint64(counts[i].value));
	json_object_object_add(object, "by_type", json_object_get(list));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static int collect(pheap_t *heap, const char *pool, struct pheap_gc_options *gc, int json)
{
	struct pheap_gc_report report = {.struct_size = sizeof(report)};
	struct output out = {.terminal = isatty(STDERR_FILENO)};
	int dry = (gc->flags & PHEAP_GC_DRY_RUN) != 0, err;

	if (json)
		out.garbage = json_object_new_array();
	gc->garbage = print_garbage;
	gc->progress = show_progress;
	gc->arg = &out;
	err = pheap_gc(heap, gc, &report);
	if (!err && !dry)
		err = pheap_purge(heap, 0);
	if (out.terminal)
		fputs("\r\033[K", stderr);
	if (!err && json)
		print_json(pool, &report, out.garbage);
	else if (!err)
		print_text(pool, &report, dry);
	json_object_put(out.garbage);
	return err ? pool_error("gc") : EXIT_FINE;
}

/* What an open heap has allocated. */
static int count_objects(pheap_t *heap, uint64_t *objects, uint64_t *bytes)
{
	struct pheap_space space = {.struct_size = sizeof(space)};
	int err = pheap_get_space(heap, &space);

	*objects = space.objects;
	*bytes = space.published + space.reserved;
	return err;
}

/* A traced pool is collected by opening it. */
static int collect_traced(pheap_t *heap, const char *pool, const struct pheap_gc_options *gc,
			  int json)
{
	struct pheap_options open = {.struct_size = sizeof(open), .flags = PHEAP_COLLECT};
	struct pheap_gc_report r = {.struct_size = sizeof(r)};
	int dry = (gc->flags & PHEAP_GC_DRY_RUN) != 0, err;
	struct json_object *none;
	uint64_t left;

	err = count_objects(heap, &r.objects, &r.garbage_bytes);
	if (pheap_close(heap) || err)
		return pool_error("gc");
	open.flags |= dry ? PHEAP_READONLY : 0;
	heap = pheap_open(pool, &open);
	if (!heap)
		return pool_error("gc");
	err = count_objects(heap, &r.live, &left);
	if (!err && !dry)
		err = pheap_purge(heap, 0);
	if (pheap_close(heap) || err)
		return pool_error("gc");
	r.garbage = r.objects - r.live;
	r.garbage_bytes -= left;
	r.freed = dry ? 0 : r.garbage;
	r.freed_bytes = dry ? 0 : r.garbage_bytes;
	none = json_object_new_array();
	if (json)
		print_json(pool, &r, none);
	else
		print_text(pool, &r, dry);
	json_object_put(none);
	return EXIT_FINE;
}

static int is_traced(pheap_t *heap)
{
	struct pheap_info info = {.struct_size = sizeof(info)};

	return !pheap_get_info(heap, &info) && info.traced;
}

static int run(const char *pool, struct pheap_gc_options *gc, int json)
{
	struct pheap_options open = {.struct_size = sizeof(open)};
	pheap_t *heap;
	int status;

	if (gc->flags & PHEAP_GC_DRY_RUN)
		open.flags = PHEAP_READONLY;
	heap = pheap_open(pool, &open);
	if (!heap)
		return pool_error("gc");
	if (is_traced(heap))
		return collect_traced(heap, pool, gc, json);
	status = collect(heap, pool, gc, json);
	if (pheap_close(heap) && status == EXIT_FINE)
		status = pool_error("gc");
	return status;
}

static int parse_threads(const char *text, unsigned *threads)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || !n || n > 64) {
		fprintf(stderr, "pheap gc: %s: threads are 1 to 64\n", text);
		return -1;
	}
	*threads = (unsigned)n;
	return 0;
}

int cmd_gc(int argc, char **argv)
{
	struct pheap_gc_options gc = {.struct_size = sizeof(gc)};
	const char *pool;
	int json = 0;
	int option;

	while ((option = getopt_long(argc, argv, "nclt:jh", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			gc.flags |= PHEAP_GC_DRY_RUN;
			break;
		case 'c':
			gc.flags |= PHEAP_GC_CONSERVATIVE;
			break;
		case 'l':
			gc.flags |= PHEAP_GC_LEAVES;
			break;
		case 't':
			if (parse_threads(optarg, &gc.threads))
				return usage_error("gc");
			break;
		case 'j':
			json = 1;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_FINE;
		default:
			return usage_error("gc");
		}
	}
	pool = pool_operand("gc", argc, argv);
	return pool ? run(pool, &gc, json) : EXIT_USAGE;
}
