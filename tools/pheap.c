/*
 * pheap.c - pheap(1): make pool files, look at them, check them.
 */
#include "tool.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <pheap.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{"create", cmd_create, "make a pool file"},
	{"info", cmd_info, "show what a pool is and how full"},
	{"check", cmd_check, "verify a pool file"},
	{"types", cmd_types, "list the types of a pool and their objects"},
	{"gc", cmd_gc, "free what nothing reaches"},
	{"compact", cmd_compact, "move objects together, and give memory back"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
	fputs("Usage: pheap COMMAND [OPTION...] POOL\n\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s%s\n", commands[i].name, commands[i].what);
	fputs("\n'pheap COMMAND --help' lists the options of a command;\n"
	      "'pheap --version' prints the version.\n" EXIT_HELP,
	      out);
}

int usage_error(const char *command)
{
	fprintf(stderr, "pheap %s: see 'pheap %s --help'\n", command, command);
	return EXIT_USAGE;
}

const char *pool_operand(const char *command, int argc, char **argv)
{
	if (argc - optind == 1)
		return argv[optind];
	fprintf(stderr, "pheap %s: expected one pool file, got %d operands\n", command,
		argc - optind);
	return NULL;
}

int pool_error(const char *command)
{
	fprintf(stderr, "pheap %s: %s\n", command, pheap_errormsg());
	return EXIT_POOL;
}

/* Run a command under its full name, with which getopt begins its messages. */
static int run(size_t i, int argc, char **argv)
{
	char name[32];

	snprintf(name, sizeof(name), "pheap %s", commands[i].name);
	argv[0] = name;
	return commands[i].run(argc, argv);
}

/* What was printed must have arrived: a full disk is no success. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("pheap: standard output");
	return status == EXIT_FINE ? EXIT_POOL : status;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return finish(EXIT_FINE);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("pheap " PHEAP_VERSION);
		return finish(EXIT_FINE);
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (!strcmp(argv[1], commands[i].name))
			return finish(run(i, argc - 1, argv + 1));
	}
	fprintf(stderr, "pheap: no command '%s'; see 'pheap --help'\n", argv[1]);
	return EXIT_USAGE;
}
