/*
 * test-crash-sim.c - the crash simulator over the library: every scenario, crash
 * images at its crash points, the oracle on each.
 *
 *	test-crash-sim [options] [scenario ...]
 *	  --seed N        another choice of images and of random operations
 *	  --long          many more of them, and longer scenarios
 *	  --scale X       times X
 *	  --distinct N    all of it again and again, with random seeds, until N
 *	                  distinct images were judged
 *	  --random        a random seed, which is printed
 *	  --jobs N        scenarios at a time (2)
 *	  --replay P.I[/P.I]  one image of one scenario, in this process
 *	  --trace         print the stores, flushes and fences of one scenario
 *	  --list          the scenarios
 *
 * With CRASH_SCHEDULES it is test-crash-schedule: programs of two threads under many
 * schedules (concurrent.h), over a library with points.
 *
 * PHEAP_SEED and PHEAP_CRASH_SCALE do what --seed and --scale do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "random.h"

#define DEFAULT_SEED 1
#define SCENARIOS_MAX 128

static int usage(void)
{
	fprintf(stderr,
		"usage: %s [--seed N] [--long] [--random] [--scale X] [--distinct N] "
		"[--jobs N] [--list] [--replay P.I[/P.I]] [scenario ...]\n",
		program_invocation_short_name);
	return 2;
}

static bool parse_replay(const char *text, struct replay *r)
{
	unsigned long long p[2], i[2];
	int n = sscanf(text, "%llu.%llu/%llu.%llu", &p[0], &i[0], &p[1], &i[1]);

	r->depth = n == 2 ? 1 : n == 4 ? 2 : 0;
	for (unsigned d = 0; d < r->depth; d++) {
		r->point[d] = p[d];
		r->image[d] = i[d];
	}
	return r->depth > 0;
}

static void from_environment(struct engine *engine)
{
	const char *seed = getenv("PHEAP_SEED"), *scale = getenv("PHEAP_CRASH_SCALE");

	if (seed)
		engine->seed = strtoull(seed, NULL, 0);
	if (scale)
		engine->scale = strtod(scale, NULL);
}

static uint64_t random_seed(void)
{
	return mix64((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) % UINT64_C(1000000000);
}

static void list_scenarios(void)
{
	for (unsigned i = 0; engine_scenario(i); i++)
		puts(engine_scenario(i)->name);
}

static int parse(int argc, char **argv, struct engine *engine, uint64_t *distinct)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
						{"long", no_argument, NULL, 'l'},
						{"scale", required_argument, NULL, 'x'},
						{"jobs", required_argument, NULL, 'j'},
						{"replay", required_argument, NULL, 'r'},
						{"list", no_argument, NULL, 'L'},
						{"trace", no_argument, NULL, 't'},
						{"distinct", required_argument, NULL, 'd'},
						{"random", no_argument, NULL, 'R'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 's':
			engine->seed = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			engine->long_form = true;
			break;
		case 'x':
			engine->scale = strtod(optarg, NULL);
			break;
		case 'j':
			engine->jobs = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'd':
			*distinct = strtoull(optarg, NULL, 0);
			break;
		case 'R':
			engine->seed = random_seed();
			break;
		case 'r':
			if (!parse_replay(optarg, &engine->replay))
				return usage();
			break;
		case 't':
			engine->trace = engine->dry = true;
			engine->jobs = 1;
			break;
		case 'L':
			list_scenarios();
			return -1;
		default:
			return usage();
		}
	return 0;
}

static unsigned choose(int argc, char **argv, const struct scenario **list)
{
	unsigned n = 0;

	for (int i = optind; i < argc; i++, n++)
		if (n == SCENARIOS_MAX || !(list[n] = engine_find(argv[i]))) {
			fprintf(stderr, "no scenario \"%s\"\n", argv[i]);
			return 0;
		}
	if (!n)
		while (n < SCENARIOS_MAX && (list[n] = engine_scenario(n)))
			n++;
	return n;
}

/* All scenarios once. Returns the number that failed. */
static unsigned once(const struct engine *engine, const struct scenario *const *list, unsigned n,
		     struct report *sum)
{
	struct report *report = engine_reports(n);
	unsigned failed = engine_run_all(engine, list, n, report);

	for (unsigned i = 0; i < n; i++)
		report_add(sum, &report[i]);
	engine_reports_free(report, n);
	return failed;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * Round after round, each with a seed of its own, until enough images were different from
 * each other: in what is pending and has arrived, in what random operations do, and in
 * the bytes of objects and the pool's identity, which follow from the seed.
 */
static unsigned many(struct engine *engine, const struct scenario *const *list, unsigned n,
		     uint64_t distinct)
{
	uint64_t first = random_seed();
	struct report sum = {0};
	double start = now();
	unsigned failed = 0;

	engine->brief = true;
	engine->ever = shared_set_new(distinct + distinct / 4);
	for (unsigned round = 1; sum.unseen < distinct && !failed; round++) {
		engine->seed = random_stream(first, round) % UINT64_C(1000000000);
		failed = once(engine, list, n, &sum);
		printf("round %u, seed %llu: %llu images, %llu distinct, %llu failures, "
		       "%.0f images/s\n",
		       round, (unsigned long long)engine->seed, (unsigned long long)sum.images,
		       (unsigned long long)sum.unseen, (unsigned long long)sum.failures,
		       (double)sum.images / (now() - start));
	}
	report_header(stdout);
	report_line(stdout, "total", &sum);
	printf("%llu distinct images in %.0f s\n", (unsigned long long)sum.unseen, now() - start);
	return failed;
}

static int replay(const struct engine *engine, const struct scenario *scenario)
{
	struct report *report = engine_reports(1);

	engine_run(engine, scenario, report);
	printf("%llu images, %llu failures\n", (unsigned long long)report->images,
	       (unsigned long long)report->failures);
	return report->failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct engine engine = {.seed = DEFAULT_SEED, .scale = 1, .jobs = 2, .patience = 60};
	const struct scenario *list[SCENARIOS_MAX];
	struct report sum = {0};
	uint64_t distinct = 0;
	unsigned n, failed;
	int code;

#ifdef CRASH_SCHEDULES
	engine_tables = (const struct scenario *const[]){scenarios_concurrent, NULL};
#endif
	from_environment(&engine);
	code = parse(argc, argv, &engine, &distinct);
	if (code)
		return code < 0 ? 0 : code;
	n = choose(argc, argv, list);
	if (!n || (engine.replay.depth && n != 1) || !engine.jobs || engine.scale <= 0)
		return usage();
	printf("seed %llu, scale %g%s\n", (unsigned long long)engine.seed, engine.scale,
	       engine.long_form ? ", long form" : "");
	if (engine.replay.depth)
		return replay(&engine, list[0]);
	if (distinct)
		return many(&engine, list, n, distinct) ? 1 : 0;
	report_header(stdout);
	failed = once(&engine, list, n, &sum);
	report_line(stdout, "total", &sum);
	if (sum.schedules)
		printf("%llu schedules, %llu different executions\n",
		       (unsigned long long)sum.schedules, (unsigned long long)sum.executions);
	return failed ? 1 : 0;
}
