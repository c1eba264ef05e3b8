/*
 * pheap-reorder.c - replay a log of stores as they may have reached media, and have
 * each image checked. The command line is that of pmreorder, and some more; see
 * docs/testing.md.
 *
 * Exit status: 0 all images are consistent, 1 some are not, 2 bad usage or a bad log.
 */
#include "replay.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
	"usage: pheap-reorder -l LOG -p CHECKER [option ...]\n"
	"       pheap-reorder -l LOG --durable FILE [--pool FILE]\n"
	"  -l LOG            what the tracer, or pmemcheck, has written\n"
	"  -p CHECKER        program that gets the name of a pool file behind its arguments;\n"
	"                    status 0: consistent. With -c lib: a shared library\n"
	"  -c prog|lib       what CHECKER is [prog]\n"
	"  -n NAME           its function int NAME(const char *path) [check_consistency]\n"
	"  -r ENGINE         [NoReorderNoCheck]\n"
	"  -x NAME=ENGINE,.. engines inside marked sections\n"
	"  -o FILE           report inconsistent images here [standard error]\n"
	"  --pool FILE       the pool as it was before the traced run [the file in the log]\n"
	"  --cap N           images at one point at most [256]\n"
	"  --seed N          of the samples\n"
	"  --stop N          stop after N inconsistent images, 0: never [10]\n"
	"  --keep FOLDER     keep inconsistent images there\n"
	"  --durable FILE    write what is durable for certain at the end of the log\n";

#define OVERRIDES_MAX 32

struct arguments {
	const char *log, *checker, *kind, *function, *engine, *sections, *report, *pool, *keep,
		*durable;
	size_t cap, stop;
	uint64_t seed;
};

static void __attribute__((noreturn)) fail(const char *what, const char *why)
{
	fprintf(stderr, "pheap-reorder: %s: %s\n", what, why);
	exit(2);
}

static uint64_t number(const char *option, const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (end == text || *end)
		fail(option, "needs a number");
	return value;
}

static void parse(struct arguments *a, int argc, char **argv)
{
	enum { POOL = 256, CAP, SEED, STOP, KEEP, DURABLE };
	static const struct option options[] = {
		{"pool", required_argument, NULL, POOL},
		{"cap", required_argument, NULL, CAP},
		{"seed", required_argument, NULL, SEED},
		{"stop", required_argument, NULL, STOP},
		{"keep", required_argument, NULL, KEEP},
		{"durable", required_argument, NULL, DURABLE},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "l:p:c:n:r:x:o:", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			a->log = optarg;
			break;
		case 'p':
			a->checker = optarg;
			break;
		case 'c':
			a->kind = optarg;
			break;
		case 'n':
			a->function = optarg;
			break;
		case 'r':
			a->engine = optarg;
			break;
		case 'x':
			a->sections = optarg;
			break;
		case 'o':
			a->report = optarg;
			break;
		case POOL:
			a->pool = optarg;
			break;
		case CAP:
			a->cap = number("--cap", optarg);
			break;
		case SEED:
			a->seed = number("--seed", optarg);
			break;
		case STOP:
			a->stop = number("--stop", optarg);
			break;
		case KEEP:
			a->keep = optarg;
			break;
		case DURABLE:
			a->durable = optarg;
			break;
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc || !a->log || !(a->checker || a->durable) || a->cap < 1) {
		fputs(usage, stderr);
		exit(2);
	}
}

static engine_fn *find_engine(const char *name)
{
	engine_fn *engine = engine_find(name);

	if (!engine) {
		fprintf(stderr, "pheap-reorder: no engine %s; there are %s\n", name, engine_names);
		exit(2);
	}
	return engine;
}

/* NAME=ENGINE,NAME=ENGINE... */
static size_t read_sections(struct override *overrides, char *text)
{
	char *save, *part, *equals;
	size_t n = 0;

	for (part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		equals = strchr(part, '=');
		if (!equals || n == OVERRIDES_MAX)
			fail("-x", "needs NAME=ENGINE,... of not more than 32 names");
		*equals = 0;
		overrides[n++] = (struct override){part, find_engine(equals + 1)};
	}
	return n;
}

static void set_checker(struct checker *c, const struct arguments *a)
{
	char message[512];

	if (!a->checker && strcmp(a->engine, "NoReorderNoCheck"))
		fail("-r", "without a checker only NoReorderNoCheck makes sense");
	if (!a->checker && a->sections)
		fail("-x", "needs a checker");
	if (!a->checker || !strcmp(a->kind, "prog"))
		c->program = a->checker;
	else if (strcmp(a->kind, "lib"))
		fail("-c", "is prog or lib");
	else if (!checker_load(c, a->checker, a->function, message, sizeof(message)))
		fail("-p", message);
}

/* A pool that is smaller than what was mapped is not the one that was traced. */
static void check_size(const struct storelog *log, const char *pool, uint64_t size)
{
	size_t i;

	for (i = 0; i < log->n; i++)
		if (log->records[i].offset + log->records[i].size > size)
			fail(pool, "is smaller than the pool that was traced");
}

static void print_summary(const struct replay *r, const struct arguments *a)
{
	const struct storelog *log = r->log;

	printf("%s: %zu stores (%zu past the cache), %zu flushes, %zu fences, %zu sections\n",
	       a->log, log->stores, log->nt_stores, log->flushes, log->fences, log->sections);
	printf("%s: %zu points, %zu images, %zu distinct, %zu inconsistent "
	       "(--cap %zu --seed %llu), %.1f s of processor\n",
	       a->engine, r->points, r->images, r->distinct, r->bad, a->cap,
	       (unsigned long long)a->seed, (double)clock() / CLOCKS_PER_SEC);
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.kind = "prog",
		.function = "check_consistency",
		.engine = "NoReorderNoCheck",
		.cap = 256,
		.stop = 10,
		.seed = (uint64_t)time(NULL),
	};
	struct override overrides[OVERRIDES_MAX];
	struct replay r = {.report = stderr, .overrides = overrides};
	struct storelog log;
	struct media media;
	char message[1024];

	parse(&a, argc, argv);
	r.engine = find_engine(a.engine);
	if (a.sections)
		r.n_overrides = read_sections(overrides, strdup(a.sections));
	set_checker(&r.checker, &a);
	if (!storelog_read(&log, a.log, message, sizeof(message)))
		fail(a.log, message);
	if (!a.pool)
		a.pool = log.pool;
	if (!media_make(&media, a.pool))
		fail(a.pool, strerror(errno));
	check_size(&log, a.pool, media.size);
	if (a.report && !(r.report = fopen(a.report, "w")))
		fail(a.report, strerror(errno));
	r.log = &log;
	r.media = &media;
	r.checker.path = media.path;
	r.cap = a.cap;
	r.seed = a.seed;
	r.bad_max = a.stop;
	r.keep = a.keep;
	replay_run(&r);
	print_summary(&r, &a);
	if (a.durable && !media_keep(&media, a.durable))
		fail(a.durable, strerror(errno));
	media_free(&media);
	storelog_free(&log);
	if (a.report)
		fclose(r.report);
	return r.bad ? 1 : 0;
}
