/*
 * compare.c - pheap beside libpmemobj and the usual mallocs, in one run.
 *
 *	compare [--quick] [--only W1,W2] [--systems S1,S2] [--reps N] [--patience N]
 *		[--plot out.svg] [--dir FOLDER]
 *
 * Prints a table with tab-separated columns on standard output, between lines that
 * begin with '#': first what it was measured on and how, last what does not fit in
 * the table and what became of the project's targets. Progress goes to standard
 * error. The exit status is 0 where all that was asked for and is installed has
 * been measured.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <pheap.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "results.h"
#include "run.h"

struct results results;
static bool workload_chosen[WORKLOADS], system_chosen[SYSTEMS];
static const char *plot_path, *base = "/dev/shm";
static char folder[PATH_LENGTH];
static pid_t folder_owner;
static bool failed;

void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("compare: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- the folder -------------------------------------------------------------------- */

static void remove_folder(void)
{
	struct dirent *entry;
	DIR *dir = getpid() == folder_owner ? opendir(folder) : NULL;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

/* Best effort, on the way down; children end when their pipes do. */
static void on_signal(int number)
{
	remove_folder();
	signal(number, SIG_DFL);
	raise(number);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "%.180s/compare-XXXXXX", base);
	if (!mkdtemp(folder))
		die("cannot make a folder in %s: %s; choose another one with --dir", base,
		    strerror(errno));
	folder_owner = getpid();
	atexit(remove_folder);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN); /* a child that died is noticed otherwise */
}

/* ---- all -------------------------------------------------------------------------- */

static void measure_all(void)
{
	results.blocks = calloc(row_count, sizeof(*results.blocks));
	if (!results.blocks)
		die("no memory");
	for (unsigned i = 0; i < row_count; i++) {
		results.blocks[i].row = &rows[i];
		if (workload_chosen[rows[i].workload])
			failed |= !measure(&results.blocks[i], folder, system_chosen);
	}
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *name_of_workload(unsigned i)
{
	return i < W_BUILD ? workloads[i].name : NULL;
}

static const char *name_of_system(unsigned i)
{
	return i < SYSTEMS ? systems[i]->name : NULL;
}

/* Mark what a list of names, separated by commas, names. */
static void choose(char *list, const char *(*name_of)(unsigned), bool *chosen)
{
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		unsigned i = 0;

		while (name_of(i) && strcmp(name_of(i), name))
			i++;
		if (!name_of(i))
			die("'%s' is not known; --help has the names", name);
		chosen[i] = true;
	}
}

static double number(const char *option, const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least && value <= most))
		die("%s: '%s' is no number from %g to %g", option, text, least, most);
	return value;
}

static void print_help(void)
{
	printf("Usage: compare [--quick] [--only W1,W2] [--systems S1,S2] [--reps N]\n"
	       "               [--patience N] [--plot out.svg] [--dir FOLDER]\n\n"
	       "  --quick    smaller counts: under a minute\n"
	       "  --only     these workloads:");
	for (unsigned i = 0; name_of_workload(i); i++)
		printf("%s %s", i % 5 ? "" : "\n            ", name_of_workload(i));
	printf("\n  --systems  these systems:\n            ");
	for (unsigned i = 0; name_of_system(i); i++)
		printf(" %s", name_of_system(i));
	printf("\n  --reps     repetitions, 11 if not given, 5 with --quick\n"
	       "  --patience seconds that a row may take longer where other programs disturb it:\n"
	       "             20 if not given, 0.1 with --quick\n"
	       "  --plot     draw a chart too\n"
	       "  --dir      where pools are made: /dev/shm if not given\n");
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},
		{"only", required_argument, NULL, 'o'},
		{"systems", required_argument, NULL, 's'},
		{"reps", required_argument, NULL, 'r'},
		{"plot", required_argument, NULL, 'p'},
		{"dir", required_argument, NULL, 'd'},
		{"patience", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool only = false, some = false;

	results.patience = -1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			results.quick = true;
			break;
		case 'o':
			choose(optarg, name_of_workload, workload_chosen);
			only = true;
			break;
		case 's':
			choose(optarg, name_of_system, system_chosen);
			some = true;
			break;
		case 'r':
			results.reps = (unsigned)number("--reps", optarg, 1, 101);
			break;
		case 't':
			results.patience = number("--patience", optarg, 0, 3600);
			break;
		case 'p':
			plot_path = optarg;
			break;
		case 'd':
			base = optarg;
			break;
		case 'h':
			print_help();
			exit(0);
		default:
			exit(2);
		}
	}
	if (optind < argc)
		die("'%s': there are only options; see --help", argv[optind]);
	for (unsigned i = 0; i < WORKLOADS; i++)
		workload_chosen[i] |= !only;
	for (unsigned i = 0; i < SYSTEMS; i++)
		system_chosen[i] |= !some;
}

static void note_unavailable(void)
{
	for (unsigned s = 0; s < SYSTEMS; s++)
		if (system_chosen[s] && !systems[s]->loops[W_RESERVE_PAIR])
			note("%s is skipped: this program was built without it; install Debian's "
			     "package libpmemobj-dev, and build again",
			     systems[s]->name);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--child"))
		return child_main();
	read_options(argc, argv);
	results.target_ns = results.quick ? 4e6 : 25e6;
	results.slice_ns = results.quick ? 0.5e6 : 1e6;
	if (!results.reps)
		results.reps = results.quick ? 5 : 11;
	if (results.patience < 0)
		results.patience = results.quick ? 0.1 : 20;
	make_folder();
	floor_open(folder);
	note_unavailable();
	print_host(folder);
	print_legend(&results);
	measure_all();
	print_details(&results);
	print_targets(&results);
	if (plot_path && !plot(&results, plot_path))
		failed = true;
	return failed;
}
