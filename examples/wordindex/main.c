/*
 * wordindex - which words occur how often, and in which files: an index in a
 * persistent-memory pool that may be killed at any moment and goes on from there.
 *
 * index.h shows the data, commit.c the transactions, table.c the hash table.
 */
#include "index.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: wordindex [OPTION...] POOL COMMAND\n"
	"\n"
	"  add DIR...      index all files below DIR; goes on where an earlier run,\n"
	"                  however it ended, has stopped. Makes the pool if need be\n"
	"  query WORD...   how often, and how often in which file\n"
	"  dump            each word, a tab and its count, in no order\n"
	"  stats           how much there is\n"
	"\n"
	"A word is a run of ASCII letters; case does not count. Symbolic links to files\n"
	"are followed and count as files of their own, links to folders are not.\n"
	"\n"
	"  --size=MIB          size of a new pool in MiB (64)\n"
	"  --durability=LEVEL  power or process: what a commit must survive. Default:\n"
	"                      power, or process on a memory file system\n"
	"  --progress          report progress on stderr, as is done on a terminal\n"
	"  --slow=MS           pause so many milliseconds before every commit\n"
	"  --help              print this\n"
	"\n"
	"Exit status: 0 fine, 1 some file could not be indexed, 2 usage, 3 the pool.\n";

enum { FINE, SOME_FILE, USAGE, POOL };

static const struct option options[] = {
	{"size", required_argument, NULL, 's'}, {"durability", required_argument, NULL, 'd'},
	{"progress", no_argument, NULL, 'p'},	{"slow", required_argument, NULL, 'w'},
	{"help", no_argument, NULL, 'h'},	{NULL, 0, NULL, 0},
};

static int pool_error(void)
{
	fprintf(stderr, "wordindex: %s\n", pheap_errormsg());
	return POOL;
}

/* A number from 0 to max; -1 for anything else. */
static long parse_number(const char *text, long max)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	return errno || end == text || *end || number > max || number < 0 ? -1 : number;
}

static int take_option(int option, struct session *s, struct pheap_options *opts)
{
	long number;

	switch (option) {
	case 's':
		number = parse_number(optarg, (long)(PHEAP_MAX_SIZE >> 20));
		opts->size = (uint64_t)number << 20;
		return number <= 0;
	case 'd':
		opts->durability = strcmp(optarg, "power") ? PHEAP_PROCESS : PHEAP_POWER;
		return opts->durability == PHEAP_PROCESS && strcmp(optarg, "process");
	case 'w':
		number = parse_number(optarg, 60000);
		s->slow_ms = (unsigned)number;
		return number < 0;
	case 'p':
		s->progress = 1;
		return 0;
	default:
		return -1;
	}
}

static int is_word(const char *text)
{
	size_t letters = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

	return letters > 0 && !text[letters];
}

/* The operands behind POOL: a command, and what belongs to it. */
static int operands_fit(int n, char **operands)
{
	if (n < 1)
		return 0;
	if (!strcmp(operands[0], "add"))
		return n > 1;
	if (!strcmp(operands[0], "query")) {
		for (int i = 1; i < n; i++) {
			if (!is_word(operands[i]))
				return 0;
		}
		return n > 1;
	}
	return n == 1 && (!strcmp(operands[0], "dump") || !strcmp(operands[0], "stats"));
}

/* Open for adding: a pool that is not there, or was never finished, is made. */
static pheap_t *open_for_add(const char *pool, struct pheap_options *opts)
{
	pheap_t *heap = pheap_create(pool, opts);

	if (!heap && errno == EEXIST)
		heap = pheap_open(pool, opts);
	return heap;
}

static int add(struct session *s, const char *pool, int n, char **folders)
{
	pheap_ref *root = pheap_root(s->heap);
	struct stat st;
	int rc = 0;

	if (stat(pool, &st)) {
		perror(pool);
		return POOL;
	}
	s->pool_device = st.st_dev;
	s->pool_inode = st.st_ino;
	if (!*root)
		rc = pheap_alloc_into(s->heap, root, sizeof(*s->index), NULL);
	s->index = pheap_ptr(s->heap, *root);
	for (int i = 0; !rc && i < n; i++)
		rc = add_tree(s, folders[i]);
	if (rc)
		return pool_error();
	return s->complaints ? SOME_FILE : FINE;
}

static int report(struct session *s, int n, char **operands)
{
	static const struct index empty;
	int rc = 0;

	/* Killed before the root was there: an index of nothing. */
	s->index = *pheap_root(s->heap) ? pheap_ptr(s->heap, *pheap_root(s->heap))
					: (struct index *)&empty;
	if (!strcmp(operands[0], "dump"))
		rc = report_dump(s);
	else if (!strcmp(operands[0], "stats"))
		rc = report_stats(s);
	for (int i = 1; !rc && i < n; i++)
		rc = report_query(s, operands[i]);
	if (rc)
		return pool_error();
	if (fflush(stdout) || ferror(stdout)) {
		perror("wordindex: standard output");
		return POOL;
	}
	return FINE;
}

static int run(struct session *s, struct pheap_options *opts, int n, char **operands)
{
	const char *pool = operands[0];
	int adds = !strcmp(operands[1], "add");
	int status;

	if (!adds) {
		opts->flags = PHEAP_READONLY;
		opts->durability = PHEAP_DURABILITY_DEFAULT;
	}
	s->heap = adds ? open_for_add(pool, opts) : pheap_open(pool, opts);
	if (!s->heap)
		return pool_error();
	status = adds ? add(s, pool, n - 2, operands + 2) : report(s, n - 1, operands + 1);
	if (pheap_close(s->heap))
		status = pool_error();
	return status;
}

int main(int argc, char **argv)
{
	struct session s = {.progress = isatty(STDERR_FILENO)};
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.size = UINT64_C(64) << 20,
		.layout = INDEX_LAYOUT,
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return FINE;
		}
		if (take_option(option, &s, &opts)) {
			fprintf(stderr, "wordindex: see 'wordindex --help'\n");
			return USAGE;
		}
	}
	if (!operands_fit(argc - optind - 1, argv + optind + 1)) {
		fputs(help, stderr);
		return USAGE;
	}
	return run(&s, &opts, argc - optind, argv + optind);
}
