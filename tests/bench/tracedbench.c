/*
 * tracedbench.c - traced pools beside volatile heaps and mimalloc: reserve and free, and what
 * an open takes that has to find out what ten million linked objects are.
 *
 *	tracedbench [-n objects] [-r reps] [pair | recovery | compact]...
 *
 * Pairs are measured in turns of a few milliseconds, and the fastest turn of each counts:
 * other work on the machine only ever makes a turn slower. Recovery is that of a process
 * that was killed; its DRAM is the largest growth of anonymous memory during the open.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pheap.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH "/dev/shm/pheap-tracedbench"
#define NODE 64

struct node {
	pheap_ref next;
	uint64_t number;
	char rest[NODE - 16];
};

static uint64_t objects = 10000000;
static unsigned reps = 3;

static void die(const char *what)
{
	fprintf(stderr, "tracedbench: %s: %s\n", what, pheap_errormsg());
	unlink(PATH);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static pheap_t *create(unsigned flags, uint64_t size)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .size = size, .flags = flags};
	pheap_t *heap;

	if (!(flags & PHEAP_TRACED))
		opts.durability = PHEAP_VOLATILE;
	unlink(PATH);
	heap = pheap_create(flags & PHEAP_TRACED ? PATH : NULL, &opts);
	if (!heap)
		die("create");
	return heap;
}

static pheap_type_t *node_type(pheap_t *heap)
{
	static const uint32_t refs[] = {0};
	static const struct pheap_type_info info = {.struct_size = sizeof(info),
						    .name = "node",
						    .version = 1,
						    .size = NODE,
						    .refs = refs,
						    .nrefs = 1};
	pheap_type_t *type = pheap_type_register(heap, &info);

	if (!type)
		die("type");
	return type;
}

/* ---- reserve and free ------------------------------------------------------------- */

#define PAIRS 200000u
#define TURNS 60u

static void *(*other_malloc)(size_t);
static void (*other_free)(void *);

__attribute__((noinline)) static double pheap_pairs(pheap_t *heap, size_t size)
{
	double start = now();

	for (unsigned i = 0; i < PAIRS; i++) {
		char *p = pheap_alloc(heap, size);

		*(volatile char *)p = 1;
		pheap_free(heap, p);
	}
	return (now() - start) / PAIRS * 1e9;
}

__attribute__((noinline)) static double other_pairs(size_t size)
{
	double start = now();

	for (unsigned i = 0; i < PAIRS; i++) {
		char *p = other_malloc(size);

		*(volatile char *)p = 1;
		other_free(p);
	}
	return (now() - start) / PAIRS * 1e9;
}

static void keep_least(double *least, double value)
{
	if (!*least || value < *least)
		*least = value;
}

static void pairs(void)
{
	static const size_t sizes[] = {64, 256, 1024};
	pheap_t *traced = create(PHEAP_TRACED, UINT64_C(64) << 20), *plain;
	void *mimalloc = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);

	plain = create(0, UINT64_C(64) << 20);
	if (mimalloc) {
		*(void **)&other_malloc = dlsym(mimalloc, "mi_malloc");
		*(void **)&other_free = dlsym(mimalloc, "mi_free");
	}
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		double least[3] = {0};

		for (unsigned t = 0; t < TURNS; t++) {
			/* One more before it: the thread's last heap was the other one. */
			pheap_free(traced, pheap_alloc(traced, sizes[s]));
			keep_least(&least[0], pheap_pairs(traced, sizes[s]));
			pheap_free(plain, pheap_alloc(plain, sizes[s]));
			keep_least(&least[1], pheap_pairs(plain, sizes[s]));
			if (other_free)
				keep_least(&least[2], other_pairs(sizes[s]));
		}
		printf("pair of %4zu B: traced %.2f ns, volatile %.2f ns (%.2fx)", sizes[s],
		       least[0], least[1], least[0] / least[1]);
		if (other_free)
			printf(", mimalloc %.2f ns (%.2fx)", least[2], least[0] / least[2]);
		puts("");
	}
	pheap_close(traced);
	pheap_close(plain);
	unlink(PATH);
}

/* ---- recovery --------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* A list through all objects, in the order of addresses or in any. In a process that is
 * killed then. */
static void build(bool shuffled)
{
	pheap_t *heap = create(PHEAP_TRACED, objects * (NODE + 2) + (UINT64_C(128) << 20));
	pheap_type_t *type = node_type(heap);
	pheap_ref *order = malloc(objects * sizeof(*order));

	if (!order)
		die("order");
	for (uint64_t i = 0; i < objects; i++) {
		struct node *node = pheap_alloc_typed(type);

		if (!node)
			die("alloc");
		node->number = i;
		order[i] = pheap_ref_of(heap, node);
	}
	for (uint64_t i = objects; shuffled && i > 1; i--) {
		uint64_t j = random_next() % i, ref = order[i - 1];

		order[i - 1] = order[j];
		order[j] = ref;
	}
	for (uint64_t i = 0; i + 1 < objects; i++)
		((struct node *)pheap_ptr(heap, order[i]))->next = order[i + 1];
	if (pheap_set(heap, pheap_root(heap), order[0]))
		die("link");
	raise(SIGKILL);
}

static void build_and_kill(bool shuffled)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (!child)
		build(shuffled);
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
		die("building the list");
}

static uint64_t anonymous(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib << 10;
}

static struct {
	uint64_t most;
	int stop;
} sampled;

static void *sample(void *arg)
{
	while (!__atomic_load_n(&sampled.stop, __ATOMIC_RELAXED)) {
		uint64_t bytes = anonymous();

		if (bytes > sampled.most)
			sampled.most = bytes;
		usleep(2000);
	}
	return arg;
}

static uint64_t count_list(pheap_t *heap, double *seconds)
{
	double start = now();
	uint64_t n = 0;

	for (const struct node *node = pheap_ptr(heap, *pheap_root(heap)); node;
	     node = pheap_ptr(heap, node->next))
		n++;
	*seconds = now() - start;
	return n;
}

static void recover_once(const char *name, bool shuffled)
{
	double start, seconds, walk;
	uint64_t before = anonymous(), found;
	pthread_t thread;
	pheap_t *heap;

	build_and_kill(shuffled);
	sampled.most = 0;
	sampled.stop = 0;
	pthread_create(&thread, NULL, sample, NULL);
	start = now();
	heap = pheap_open(PATH, NULL);
	seconds = now() - start;
	__atomic_store_n(&sampled.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (!heap)
		die("open");
	found = count_list(heap, &walk);
	if (found != objects)
		die("objects are missing");
	count_list(heap, &walk);
	printf("recovery of %llu objects of %d B, %s: %.3f s, %.1f MB of DRAM (a traversal by one "
	       "thread: %.3f s)\n",
	       (unsigned long long)found, NODE, name, seconds,
	       (double)(sampled.most - before) / 1e6, walk);
	pheap_close(heap);
}

static void recovery(void)
{
	for (unsigned r = 0; r < reps; r++) {
		recover_once("in order", false);
		recover_once("shuffled", true);
	}
	unlink(PATH);
}

/* ---- compaction -------------------------------------------------------------------------- */

#define KINDS 6u

/* Per cent of what spans have in use that is in no object. */
static double external(pheap_t *heap)
{
	struct pheap_space space = {.struct_size = sizeof(space)};
	uint64_t used;

	if (pheap_get_space(heap, &space))
		die("space");
	used = space.total - space.free - space.logs;
	return 100.0 * (double)(used - space.published - space.reserved) / (double)used;
}

/* Objects of six sizes in a table, of which nine in ten are deleted at random. */
static void compaction(void)
{
	static const size_t sizes[KINDS] = {48, 64, 128, 320, 1024, 2048};
	static const uint32_t refs[] = {0};
	struct pheap_compact_report report = {.struct_size = sizeof(report)};
	struct pheap_type_info info = {
		.struct_size = sizeof(info), .version = 1, .refs = refs, .nrefs = 1};
	uint64_t n = objects / 20;
	pheap_t *heap = create(PHEAP_TRACED, n * 1024 + (UINT64_C(64) << 20));
	pheap_type_t *type[KINDS], *table_type;
	pheap_ref *table;
	double before, start;
	char name[16];

	info.name = "table";
	info.flags = PHEAP_TYPE_ARRAY;
	info.size = 8;
	table_type = pheap_type_register(heap, &info);
	table = table_type ? pheap_zalloc_array(table_type, n) : NULL;
	if (!table || pheap_publish(heap, pheap_root(heap), table, 0))
		die("table");
	info.flags = 0;
	for (unsigned k = 0; k < KINDS; k++) {
		snprintf(name, sizeof(name), "kind %u", k);
		info.name = name;
		info.size = sizes[k];
		type[k] = pheap_type_register(heap, &info);
		if (!type[k])
			die("type");
	}
	for (uint64_t i = 0; i < n; i++) {
		pheap_ref *object = pheap_zalloc_typed(type[i % KINDS]);

		if (!object)
			die("alloc");
		object[0] = i ? table[random_next() % i] : 0;
		table[i] = pheap_ref_of(heap, object);
	}
	for (uint64_t i = 0; i < n; i++) {
		if (random_next() % 10 == 0) {
			((pheap_ref *)pheap_ptr(heap, table[i]))[0] = 0;
			continue;
		}
		if (pheap_free(heap, pheap_ptr(heap, table[i])))
			die("free");
		table[i] = 0;
	}
	for (uint64_t i = 0, last = 0; i < n; i++)
		if (table[i]) {
			((pheap_ref *)pheap_ptr(heap, table[i]))[0] = last;
			last = table[i];
		}
	if (pheap_purge(heap, 0))
		die("purge");
	before = external(heap);
	start = now();
	if (pheap_compact(heap, NULL, &report))
		die("compact");
	printf("compaction of %llu objects after nine in ten were deleted: %.1f %% in no object, "
	       "then %.1f %%; %llu of %llu granules in use; %llu moved, %llu references, %.3f s\n",
	       (unsigned long long)(n / 10), before, external(heap),
	       (unsigned long long)report.granules_after, (unsigned long long)report.granules,
	       (unsigned long long)report.moved, (unsigned long long)report.slots, now() - start);
	pheap_close(heap);
	unlink(PATH);
}

static bool asked(int argc, char **argv, const char *name)
{
	for (int i = optind; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return optind == argc;
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:")) != -1)
		switch (c) {
		case 'n':
			objects = strtoull(optarg, NULL, 0);
			break;
		case 'r':
			reps = (unsigned)strtoul(optarg, NULL, 0);
			break;
		default:
			fputs("usage: tracedbench [-n objects] [-r reps] [pair | recovery | "
			      "compact]...\n",
			      stderr);
			return 2;
		}
	if (asked(argc, argv, "pair"))
		pairs();
	if (asked(argc, argv, "recovery"))
		recovery();
	if (asked(argc, argv, "compact"))
		compaction();
	return 0;
}
