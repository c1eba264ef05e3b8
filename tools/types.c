/*
 * types.c - pheap types: the registered types of a pool, and what there is of each. Opens
 * it read-only, as pheap info does.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include <pheap.h>

static const char help[] =
	"Usage: pheap types [OPTION...] POOL\n"
	"List the types that programs have registered in the pool file POOL, and\n"
	"the published objects of each.\n"
	"\n"
	"  -j, --json   print a JSON array; sizes are in bytes\n"
	"  -h, --help   print this\n"
	"\n" EXIT_HELP;

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Objects by the id of their type; those without one first. */
struct tally {
	uint64_t objects, bytes;
};

static void count_objects(pheap_t *heap, struct tally *tally)
{
	struct pheap_object object;
	uint64_t cursor = 0;

	while (pheap_object_next(heap, NULL, &cursor, &object)) {
		uint32_t id = pheap_type_id(object.type);

		tally[id].objects++;
		tally[id].bytes += object.size;
	}
}

static void add_offsets(struct json_object *type, const char *key, const uint32_t *offsets,
			size_t n)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(array, json_object_new_int64(offsets[i]));
	json_object_object_add(type, key, array);
}

static struct json_object *describe(const struct pheap_type_info *info, const struct tally *tally)
{
	struct json_object *type = json_object_new_object();

	if (info) {
		json_object_object_add(type, "name", json_object_new_string(info->name));
		json_object_object_add(type, "version", json_object_new_int64(info->version));
		json_object_object_add(type, "size", json_object_new_uint64(info->size));
		json_object_object_add(type, "array",
				       json_object_new_boolean(info->flags & PHEAP_TYPE_ARRAY));
		json_object_object_add(type, "counted",
				       json_object_new_boolean(info->flags & PHEAP_TYPE_COUNTED));
		json_object_object_add(type, "callback",
				       json_object_new_boolean(info->flags & PHEAP_TYPE_CALLBACK));
		add_offsets(type, "references", info->refs, info->nrefs);
		add_offsets(type, "weak_references", info->weak, info->nweak);
	} else {
		json_object_object_add(type, "name", NULL);
	}
	json_object_object_add(type, "objects", json_object_new_uint64(tally->objects));
	json_object_object_add(type, "bytes", json_object_new_uint64(tally->bytes));
	return type;
}

static void print_line(uint32_t id, const struct pheap_type_info *info, const struct tally *tally)
{
	char flags[4] = "---", size[24] = "-", refs[24] = "-", bytes[SIZE_TEXT];

	if (info) {
		flags[0] = info->flags & PHEAP_TYPE_ARRAY ? 'a' : '-';
		flags[1] = info->flags & PHEAP_TYPE_COUNTED ? 'c' : '-';
		flags[2] = info->flags & PHEAP_TYPE_CALLBACK ? 'f' : '-';
		snprintf(size, sizeof(size), "%" PRIu64, info->size);
		snprintf(refs, sizeof(refs), "%zu", info->nrefs + info->nweak);
	}
	printf("%3u %8s %5s %s %10" PRIu64 " %12s  %s", id, size, refs, flags, tally->objects,
	       format_size(tally->bytes, bytes), info ? info->name : "(none, or damaged)");
	if (info && info->version)
		printf(" version %u", info->version);
	putchar('\n');
}

/* All types, and in the end what has none. */
static int list(pheap_t *heap, const struct tally *tally, struct json_object *array)
{
	struct pheap_type_info info = {.struct_size = sizeof(info)};
	const pheap_type_t *type;
	int status = EXIT_FINE;

	if (!array)
		puts(" id     size  refs flg    objects        bytes  name");
	for (uint32_t id = 1;; id++) {
		errno = 0;
		type = pheap_type_by_id(heap, id);
		if (!type && errno == ENOENT)
			break;
		if (!type || pheap_type_get_info(type, &info)) {
			status = pool_error("types");
			continue;
		}
		if (array)
			json_object_array_add(array, describe(&info, &tally[id]));
		else
			print_line(id, &info, &tally[id]);
	}
	if (array)
		json_object_array_add(array, describe(NULL, &tally[0]));
	else
		print_line(0, NULL, &tally[0]);
	return status;
}

static int list_types(const char *pool, int json)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .flags = PHEAP_READONLY};
	struct tally *tally = calloc(PHEAP_TYPES_MAX + 1, sizeof(*tally));
	struct json_object *array = json ? json_object_new_array() : NULL;
	pheap_t *heap = pheap_open(pool, &opts);
	int status;

	if (heap && tally) {
		count_objects(heap, tally);
		status = list(heap, tally, array);
		if (json)
			puts(json_object_to_json_string_ext(array, JSON_C_TO_STRING_PRETTY));
	} else {
		status = pool_error("types");
	}
	pheap_close(heap);
	json_object_put(array);
	free(tally);
	return status;
}

int cmd_types(int argc, char **argv)
{
	const char *pool;
	int option, json = 0;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = 1;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_FINE;
		default:
			return usage_error("types");
		}
	}
	pool = pool_operand("types", argc, argv);
	return pool ? list_types(pool, json) : EXIT_USAGE;
}
