/*
 * create.c - pheap create: make a pool file and close it again.
 */
#include "tool.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pheap.h>

static const char help[] =
	"Usage: pheap create [OPTION...] POOL\n"
	"Make the pool file POOL. An existing pool is never overwritten.\n"
	"\n"
	"  -s, --size=SIZE        bytes, or with a suffix K, M, G, T (64M)\n"
	"  -l, --layout=NAME      name of what the pool will hold, checked at open\n"
	"  -m, --mode=MODE        permission bits in octal (600)\n"
	"  -d, --durability=LEVEL power, process or default: power where the file\n"
	"                         can give it, process on a memory file system\n"
	"  -t, --traced           permanent is what the roots reach (default: linked)\n"
	"      --force-pmem       treat the file as persistent memory whatever it is\n"
	"  -h, --help             print this\n"
	"\n" EXIT_HELP;

static const struct option options[] = {
	{"size", required_argument, NULL, 's'}, {"layout", required_argument, NULL, 'l'},
	{"mode", required_argument, NULL, 'm'}, {"durability", required_argument, NULL, 'd'},
	{"traced", no_argument, NULL, 't'},	{"force-pmem", no_argument, NULL, 'f'},
	{"help", no_argument, NULL, 'h'},	{NULL, 0, NULL, 0},
};

static int bad_value(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "pheap create: --%s '%s' is not %s\n", option, value, expected);
	return usage_error("create");
}

static int parse_mode(const char *text, unsigned *mode)
{
	char *end;
	unsigned long bits = strtoul(text, &end, 8);

	/* 0 would mean the default to the library. */
	if (end == text || *end || bits == 0 || bits > 0777)
		return -1;
	*mode = (unsigned)bits;
	return 0;
}

static int parse_durability(const char *text, unsigned *level)
{
	if (!strcmp(text, "default"))
		*level = PHEAP_DURABILITY_DEFAULT;
	else if (!strcmp(text, "power"))
		*level = PHEAP_POWER;
	else if (!strcmp(text, "process"))
		*level = PHEAP_PROCESS;
	else
		return -1;
	return 0;
}

static int take_option(int option, struct pheap_options *opts)
{
	switch (option) {
	case 's':
		if (parse_size(optarg, &opts->size) || opts->size == 0)
			return bad_value("size", optarg, "a size like 1048576, 64M or 2G");
		return 0;
	case 'l':
		opts->layout = optarg;
		return 0;
	case 'm':
		if (parse_mode(optarg, &opts->mode))
			return bad_value("mode", optarg, "permission bits from 1 to 777");
		return 0;
	case 'd':
		if (parse_durability(optarg, &opts->durability))
			return bad_value("durability", optarg, "power, process or default");
		return 0;
	case 't':
		opts->flags |= PHEAP_TRACED;
		return 0;
	case 'f':
		opts->flags |= PHEAP_FORCE_PMEM;
		return 0;
	default:
		return usage_error("create");
	}
}

static int create(const char *pool, const struct pheap_options *opts)
{
	struct pheap_info info = {.struct_size = sizeof(info)};
	char size[SIZE_TEXT];
	pheap_t *heap = pheap_create(pool, opts);

	if (!heap)
		return pool_error("create");
	if (pheap_get_info(heap, &info)) {
		pool_error("create");
		pheap_close(heap);
		return EXIT_POOL;
	}
	if (pheap_close(heap))
		return pool_error("create");
	printf("%s: %s\n", pool, format_size(info.size, size));
	return EXIT_FINE;
}

int cmd_create(int argc, char **argv)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = UINT64_C(64) << 20};
	const char *pool;
	int option;

	while ((option = getopt_long(argc, argv, "s:l:m:d:th", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return EXIT_FINE;
		}
		if (take_option(option, &opts))
			return EXIT_USAGE;
	}
	pool = pool_operand("create", argc, argv);
	return pool ? create(pool, &opts) : EXIT_USAGE;
}
