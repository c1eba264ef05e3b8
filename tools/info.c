/*
 * info.c - pheap info: what a pool is and how full. Opens it read-only: a pool
 * that was not closed cleanly is recovered in private memory, not in its file.
 */
#include "tool.h"

#include <getopt.h>
#include <stdio.h>

#include <json-c/json.h>

#include <pheap.h>

static const char help[] = "Usage: pheap info [OPTION...] POOL\n"
			   "Show what the pool file POOL is and how full it is.\n"
			   "\n"
			   "  -j, --json   print a JSON object; sizes are in bytes\n"
			   "  -h, --help   print this\n"
			   "\n" EXIT_HELP;

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define GRANULE UINT64_C(65536) /* the unit of the counts in pheap_info and pheap_stats */
#define UUID_TEXT 37

static const char *format_uuid(const uint8_t *uuid, char *text)
{
	char *at = text;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += sprintf(at, "%02x", uuid[i]);
	}
	return text;
}

static const char *durability_name(unsigned level)
{
	static const char *const names[] = {
		[PHEAP_POWER] = "power",
		[PHEAP_PROCESS] = "process",
		[PHEAP_VOLATILE] = "volatile",
	};

	return level >= PHEAP_POWER && level <= PHEAP_VOLATILE ? names[level] : "unknown";
}

static void print_size(const char *what, uint64_t bytes)
{
	char text[SIZE_TEXT];

	printf("%-16s%s (%llu bytes)\n", what, format_size(bytes, text), (unsigned long long)bytes);
}

/* Nothing is reserved in a pool that nobody has open. */
static uint64_t in_use(const struct pheap_space *space)
{
	return space->total - space->free - space->logs;
}

/* Free objects, in slabs or as large spans that are kept. */
static uint64_t kept_bytes(const struct pheap_space *space)
{
	return space->unused + space->cached;
}

/* Per cent of a whole that is not in the part. */
static double fragmentation(uint64_t whole, uint64_t part)
{
	return whole ? 100.0 * (double)(whole - part) / (double)whole : 0;
}

static void print_text(const char *pool, const struct pheap_info *info,
		       const struct pheap_stats *stats, const struct pheap_space *space)
{
	char uuid[UUID_TEXT];

	printf("%-16s%s\n", "pool", pool);
	printf("%-16s%s\n", "layout", info->layout[0] ? info->layout : "(none)");
	printf("%-16s%s\n", "uuid", format_uuid(info->uuid, uuid));
	printf("%-16s%u\n", "format", info->format);
	printf("%-16s%s\n", "contract", info->traced ? "traced" : "linked");
	print_size("size", info->size);
	print_size("for data", info->granules * GRANULE);
	print_size("free", stats->granules_free * GRANULE);
	print_size("largest fit", stats->largest_free);
	print_size("published", space->published);
	print_size("kept", kept_bytes(space));
	printf("%-16s%.1f %% of what is in use, %.1f %% of what is free\n", "fragmentation",
	       fragmentation(in_use(space), space->published),
	       fragmentation(space->free, space->largest_free));
	print_size("largest object", info->max_object);
	printf("%-16s%llu\n", "lanes", (unsigned long long)info->lanes);
	printf("%-16s%s (%s, %s)\n", "durability", durability_name(info->durability), info->backend,
	       info->is_pmem ? "persistent memory" : "not persistent memory");
	printf("%-16s%s\n", "closed",
	       info->recovered ? "not cleanly: the next open recovers it" : "cleanly");
}

static void add_count(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void print_json(const char *pool, const struct pheap_info *info,
		       const struct pheap_stats *stats, const struct pheap_space *space)
{
	struct json_object *object = json_object_new_object();
	char uuid[UUID_TEXT];

	json_object_object_add(object, "pool", json_object_new_string(pool));
	json_object_object_add(object, "layout", json_object_new_string(info->layout));
	json_object_object_add(object, "uuid",
			       json_object_new_string(format_uuid(info->uuid, uuid)));
	add_count(object, "format", info->format);
	json_object_object_add(object, "contract",
			       json_object_new_string(info->traced ? "traced" : "linked"));
	add_count(object, "size", info->size);
	add_count(object, "data", info->granules * GRANULE);
	add_count(object, "free", stats->granules_free * GRANULE);
	add_count(object, "largest_fit", stats->largest_free);
	add_count(object, "logs", space->logs);
	add_count(object, "objects", space->objects);
	add_count(object, "published", space->published);
	add_count(object, "unused", kept_bytes(space));
	add_count(object, "tails", space->tails);
	add_count(object, "unknown", space->unknown);
	add_count(object, "largest_object", info->max_object);
	add_count(object, "lanes", info->lanes);
	json_object_object_add(object, "durability",
			       json_object_new_string(durability_name(info->durability)));
	json_object_object_add(object, "backend", json_object_new_string(info->backend));
	json_object_object_add(object, "is_pmem", json_object_new_boolean(info->is_pmem));
	json_object_object_add(object, "clean", json_object_new_boolean(!info->recovered));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static int info(const char *pool, int json)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .flags = PHEAP_READONLY};
	struct pheap_info info = {.struct_size = sizeof(info)};
	struct pheap_stats stats = {.struct_size = sizeof(stats)};
	struct pheap_space space = {.struct_size = sizeof(space)};
	pheap_t *heap = pheap_open(pool, &opts);

	if (!heap)
		return pool_error("info");
	if (pheap_get_info(heap, &info) || pheap_get_stats(heap, &stats) ||
	    pheap_get_space(heap, &space)) {
		pool_error("info");
		pheap_close(heap);
		return EXIT_POOL;
	}
	if (json)
		print_json(pool, &info, &stats, &space);
	else
		print_text(pool, &info, &stats, &space);
	return pheap_close(heap) ? pool_error("info") : EXIT_FINE;
}

int cmd_info(int argc, char **argv)
{
	const char *pool;
	int json = 0;
	int option;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = 1;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_FINE;
		default:
			return usage_error("info");
		}
	}
	pool = pool_operand("info", argc, argv);
	return pool ? info(pool, json) : EXIT_USAGE;
}
