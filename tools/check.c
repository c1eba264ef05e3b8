/*
 * check.c - pheap check: verify a pool file without opening it for use, and
 * name each invariant that does not hold. The file is not written.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include <json-c/json.h>

#include <pheap.h>

static const char help[] =
	"Usage: pheap check [OPTION...] POOL\n"
	"Verify the pool file POOL against the invariants of its format. A pool that\n"
	"was not closed cleanly is verified as recovery would leave it. Writes nothing.\n"
	"\n"
	"  -j, --json   print a JSON object\n"
	"  -h, --help   print this\n"
	"\n" EXIT_HELP;

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	printf("%s at offset %#llx: %s\n", problem->invariant, (unsigned long long)problem->offset,
	       problem->message);
}

static void add_problem(void *arg, const struct pheap_problem *problem)
{
	struct json_object *entry = json_object_new_object();

	json_object_object_add(entry, "invariant", json_object_new_string(problem->invariant));
	json_object_object_add(entry, "offset", json_object_new_uint64(problem->offset));
	json_object_object_add(entry, "message", json_object_new_string(problem->message));
	json_object_array_add(arg, entry);
}

static void print_text(const char *pool, const struct pheap_check_result *result, int clean)
{
	unsigned long long objects = result->objects;
	unsigned long long problems = result->problems;
	char size[SIZE_TEXT];

	if (result->records || result->undo_entries)
		printf("%s: was not closed cleanly: %llu redo records to replay, %llu undo entries "
		       "to roll back\n",
		       pool, (unsigned long long)result->records,
		       (unsigned long long)result->undo_entries);
	printf("%s: %llu objects, %s; %llu slabs, %llu large objects; %llu granules used, %llu "
	       "free\n",
	       pool, objects, format_size(result->object_bytes, size),
	       (unsigned long long)result->slabs, (unsigned long long)result->large_objects,
	       (unsigned long long)result->used_granules,
	       (unsigned long long)result->free_granules);
	if (clean)
		printf("%s: clean\n", pool);
	else
		printf("%s: %llu problem%s\n", pool, problems, problems == 1 ? "" : "s");
}

static void print_json(const char *pool, const struct pheap_check_result *result, int clean,
		       struct json_object *problems)
{
	const struct {
		const char *key;
		uint64_t value;
	} counts[] = {
		{"objects", result->objects},
		{"object_bytes", result->object_bytes},
		{"slabs", result->slabs},
		{"large_objects", result->large_objects},
		{"free_granules", result->free_granules},
		{"used_granules", result->used_granules},
		{"records", result->records},
		{"undo_entries", result->undo_entries},
	};
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "pool", json_object_new_string(pool));
	json_object_object_add(object, "clean", json_object_new_boolean(clean));
	json_object_object_add(object, "problems", json_object_get(problems));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_object_add(object, counts[i].key,
				       json_object_new_uint64(counts[i].value));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static int check(const char *pool, int json)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	struct json_object *problems = json_object_new_array();
	int rc = pheap_check_file(pool, &result, json ? add_problem : print_problem, problems);

	if (rc && rc != -EUCLEAN) {
		json_object_put(problems);
		return pool_error("check");
	}
	if (json)
		print_json(pool, &result, !rc, problems);
	else
		print_text(pool, &result, !rc);
	json_object_put(problems);
	return rc ? EXIT_PROBLEMS : EXIT_FINE;
}

int cmd_check(int argc, char **argv)
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
			return usage_error("check");
		}
	}
	pool = pool_operand("check", argc, argv);
	return pool ? check(pool, json) : EXIT_USAGE;
}
