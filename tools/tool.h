/*
 * tool.h - what the subcommands of pheap(1) share.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdint.h>

/* Exit codes: part of the interface, listed in pheap(1) and in every --help. */
enum {
	EXIT_FINE = 0,
	EXIT_PROBLEMS = 1, /* check found problems */
	EXIT_USAGE = 2,
	EXIT_POOL = 3, /* the pool could not be made, opened or read */
};

#define EXIT_HELP                                                 \
	"Exit status: 0 fine, 1 check found problems, 2 usage,\n" \
	"3 the pool could not be made, opened or read.\n"

int cmd_create(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_types(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_compact(int argc, char **argv);

/* After an option that getopt has complained about: say where help is. EXIT_USAGE. */
int usage_error(const char *command);

/*
 * The single operand behind the options: the pool. NULL where there is none or
 * more than one, after a message.
 */
const char *pool_operand(const char *command, int argc, char **argv);

/* Report that the library failed: its message names the file. EXIT_POOL. */
int pool_error(const char *command);

/* "64M" in bytes: a whole number, and K, M, G, T (powers of 1024) or nothing. 0 or -1. */
int parse_size(const char *text, uint64_t *bytes);

/* "64.0 MiB", in a buffer of at least SIZE_TEXT bytes, which is returned. */
#define SIZE_TEXT 24
const char *format_size(uint64_t bytes, char *buffer);

#endif
