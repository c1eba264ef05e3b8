/*
 * guest.c - the program that runs in the virtual machine.
 *
 *	dax-guest work POOL SEED PORT [MAP [PAUSE]]
 *	dax-guest verify POOL SEED ACKNOWLEDGED...
 *	dax-guest steps POOL
 *	dax-guest bad POOL OTHER LIST
 *
 * work makes a pool and runs the workload on it in THREADS threads until the
 * machine goes down; now and then it closes the pool and opens it again. Each
 * operation that has returned is acknowledged by "THREAD NUMBER" on a serial line:
 * written byte by byte to the port of the UART, which the machine passes on before
 * the next instruction. MAP is "sync", or for the controls "nosync": mmap() then
 * leaves out MAP_SYNC and tells libpmem otherwise. PAUSE is in microseconds.
 *
 * verify checks and opens what a power cut left, and compares it with what each
 * thread had acknowledged: all of that is there; the operation after it, which may
 * have been under way, is there as a whole or not at all; nothing else is. Then the heap has
 * to go on working. Exit: 0, or 1 and a line that says what is wrong.
 *
 * steps.c counts the instructions that make stores durable; bad.c has a block of the
 * device go bad.
 *
 * Lines for the host begin with '@'.
 */
#include "workload.h"

#include <pthread.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <libpmem.h>

#include "guest.h"

#define POOL MIB(32)
#define ROUND 1500 /* operations of a thread between two openings of the pool */
#define GO_ON 300  /* operations of a thread after recovery */

static bool no_sync;

/* libpmem's calls arrive here, since the program comes first when names are bound. */
void *map_file(void *addr, size_t length, int prot, int flags, int fd,
	       off_t offset) __asm__("mmap");

void *map_file(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (no_sync && (flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		flags = (flags & ~(MAP_TYPE | MAP_SYNC)) | MAP_SHARED;
	return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

/* ---- acknowledgements ------------------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	unsigned short port;
	unsigned pause;
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void acknowledge(unsigned thread, uint64_t number)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%u %llu\n", thread, (unsigned long long)number);

	pthread_mutex_lock(&line.lock);
	for (int i = 0; i < n; i++)
		outb((unsigned char)text[i], line.port);
	pthread_mutex_unlock(&line.lock);
}

/* ---- work ------------------------------------------------------------------------ */

struct worker {
	pheap_t *heap;
	struct own *own;
	unsigned thread;
	uint64_t count;
	bool silent;
	struct shadow shadow;
	uint64_t seen[OP_KINDS];
};

static void *work_on(void *arg)
{
	struct worker *w = arg;
	struct op op;

	if (!w->silent) /* a right of each thread */
		must(!ioperm(line.port, 1, 1));
	for (uint64_t i = 0; i < w->count; i++) {
		workload_plan(&w->shadow, &op);
		workload_run(w->heap, w->own, &w->shadow, &op);
		shadow_apply(&w->shadow, &op);
		w->seen[op.kind]++;
		if (!w->silent)
			acknowledge(w->thread, w->shadow.done);
		if (line.pause)
			usleep(line.pause);
	}
	return NULL;
}

static void run_round(struct worker *workers, pheap_t *heap, uint64_t count, bool silent)
{
	struct own *own = pheap_ptr(heap, *pheap_root(heap));

	must(own);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].heap = heap;
		workers[i].own = &own[i];
		workers[i].thread = i;
		workers[i].count = count;
		workers[i].silent = silent;
	}
	run_threads(THREADS, work_on, workers, sizeof(workers[0]));
}

/* Is the shared mapping of the file at path synchronous? -1 where there is none. */
static int has_map_sync(const char *path)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	char text[512];
	bool ours = false;
	int sync = -1;

	must(maps);
	while (fgets(text, sizeof(text), maps)) {
		if (strstr(text, path))
			ours = true;
		if (ours && !strncmp(text, "VmFlags:", 8)) {
			sync = strstr(text, " sf") != NULL;
			break;
		}
	}
	fclose(maps);
	return sync;
}

void print_facts(pheap_t *heap, const char *path)
{
	struct pheap_info info = {.struct_size = sizeof(info)};

	must(!pheap_get_info(heap, &info));
	printf("@facts %s is_pmem=%d backend=%s durability=%u map_sync=%d auto_flush=%d\n", path,
	       info.is_pmem, info.backend, info.durability, has_map_sync(path),
	       pmem_has_auto_flush());
	fflush(stdout);
}

pheap_t *make_dax_pool(const char *path)
{
	/* The durability is asked for, so that nothing less will do. The control
	 * without DAX is not persistent memory, and has to be lied about. */
	struct pheap_options opts = {
		.struct_size = sizeof(opts), .size = POOL, .durability = PHEAP_POWER};
	pheap_t *heap;

	if (getenv("GUEST_FORCE_PMEM"))
		opts.flags |= PHEAP_FORCE_PMEM;
	heap = pheap_create(path, &opts);
	must(heap);
	must(!pheap_alloc_into(heap, pheap_root(heap), THREADS * sizeof(struct own), NULL));
	return heap;
}

static pheap_t *open_dax_pool(const char *path)
{
	struct pheap_options opts = {.struct_size = sizeof(opts), .durability = PHEAP_POWER};

	if (getenv("GUEST_FORCE_PMEM"))
		opts.flags |= PHEAP_FORCE_PMEM;
	return pheap_open(path, &opts);
}

static int work(int argc, char **argv)
{
	const char *path = argv[0];
	uint64_t seed = strtoull(argv[1], NULL, 0);
	struct worker workers[THREADS];
	pheap_t *heap;

	line.port = (unsigned short)strtoul(argv[2], NULL, 0);
	no_sync = argc > 3 && !strcmp(argv[3], "nosync");
	line.pause = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 0) : 0;
	must(!ioperm(line.port, 1, 1));
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < THREADS; i++)
		workers[i].shadow = shadow_make(seed, i);
	heap = make_dax_pool(path);
	print_facts(heap, path);
	/* The pool is there from now on: with nothing in it, and that is a promise too. */
	for (unsigned i = 0; i < THREADS; i++)
		acknowledge(i, 0);
	printf("@working %s\n", path);
	fflush(stdout);
	for (;;) {
		run_round(workers, heap, ROUND, false);
		must(!pheap_close(heap));
		heap = open_dax_pool(path);
		must(heap);
	}
}

/* ---- verify ---------------------------------------------------------------------- */

static struct {
	unsigned whole, absent, none;
} seen;

static int lost(const char *path, const char *what, unsigned thread, uint64_t number, unsigned item)
{
	printf("@lost %s: %s: thread %u, operation %llu, item %u\n", path, what, thread,
	       (unsigned long long)number, item);
	return 1;
}

/* Leave in *shadow what the pool holds of a thread; nonzero: that is not possible. */
static int compare_thread(pheap_t *heap, const char *path, const struct own *own, unsigned thread,
			  struct shadow *shadow)
{
	unsigned before = 0, after = 0, n = 0, item;
	struct shadow next = *shadow;
	bool touched[ITEMS] = {false};
	struct op op;

	workload_plan(&next, &op);
	if (op.kind != OP_GARBAGE && op.kind != OP_TX_ABORT)
		n = op.n;
	for (unsigned i = 0; i < n; i++) {
		item = op.steps[i].item;
		touched[item] = true;
		before += workload_holds(heap, own, item, shadow->now[item]);
		after += workload_holds(heap, own, item, op.steps[i].to);
	}
	for (item = 0; item < ITEMS; item++)
		if (!touched[item] && !workload_holds(heap, own, item, shadow->now[item]))
			return lost(path, "what was acknowledged is not there", thread,
				    shadow->done, item);
	if (before != n && after != n)
		return lost(path, workload_kinds[op.kind], thread, shadow->done + 1,
			    op.steps[0].item);
	if (!n) {
		seen.none++;
	} else if (after == n) {
		seen.whole++;
		shadow_apply(&next, &op);
		*shadow = next;
	} else {
		seen.absent++;
	}
	/* An aborted operation may be repeated, and then is the next one again. */
	return 0;
}

static void show_problem(void *arg, const struct pheap_problem *problem)
{
	(void)arg;
	printf("check: %s at offset %#llx: %s\n", problem->invariant,
	       (unsigned long long)problem->offset, problem->message);
}

static int compare_refs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The checker finds nothing, nothing has leaked, and nothing overlaps. */
static int check_whole(pheap_t *heap, const char *path)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};
	const struct own *own = pheap_ptr(heap, *pheap_root(heap));
	pheap_ref refs[THREADS * SLOTS + 1];
	unsigned n = 0;

	if (pheap_check(heap, &result, show_problem, NULL))
		return lost(path, "the check finds problems", 0, result.problems, 0);
	refs[n++] = *pheap_root(heap);
	for (unsigned i = 0; i < THREADS; i++)
		for (unsigned slot = 0; slot < SLOTS; slot++)
			if (own[i].slots[slot])
				refs[n++] = own[i].slots[slot];
	if (result.objects != n)
		return lost(path, "leaked objects", 0, result.objects - n, 0);
	qsort(refs, n, sizeof(refs[0]), compare_refs);
	for (unsigned i = 1; i < n; i++)
		if (refs[i - 1] + pheap_usable_size(heap, pheap_ptr(heap, refs[i - 1])) > refs[i])
			return lost(path, "overlapping objects", 0, refs[i], 0);
	return 0;
}

static int compare_all(pheap_t *heap, const char *path, struct worker *workers)
{
	const struct own *own = pheap_ptr(heap, *pheap_root(heap));
	int err = own ? 0 : lost(path, "the root is null", 0, 0, 0);

	for (unsigned i = 0; i < THREADS && !err; i++)
		err = compare_thread(heap, path, &own[i], i, &workers[i].shadow);
	return err ? err : check_whole(heap, path);
}

/* After a clean close there is no operation under way. */
static int compare_exactly(pheap_t *heap, const char *path, const struct worker *workers)
{
	const struct own *own = pheap_ptr(heap, *pheap_root(heap));

	for (unsigned i = 0; i < THREADS; i++)
		for (unsigned item = 0; item < ITEMS; item++)
			if (!workload_holds(heap, &own[i], item, workers[i].shadow.now[item]))
				return lost(path, "lost after going on", i, workers[i].shadow.done,
					    item);
	return check_whole(heap, path);
}

static int go_on(pheap_t *heap, const char *path, struct worker *workers)
{
	int err;

	run_round(workers, heap, GO_ON, true);
	err = compare_exactly(heap, path, workers);
	must(!pheap_close(heap));
	if (err)
		return err;
	heap = open_dax_pool(path);
	must(heap);
	err = compare_exactly(heap, path, workers);
	must(!pheap_close(heap));
	return err;
}

static int verify(int argc, char **argv)
{
	const char *path = argv[0];
	uint64_t seed = strtoull(argv[1], NULL, 0), acknowledged, operations = 0;
	struct worker workers[THREADS];
	struct pheap_info info = {.struct_size = sizeof(info)};
	pheap_t *heap;
	int err;

	must(argc == 2 + THREADS);
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < THREADS; i++) {
		struct op op;

		acknowledged = strtoull(argv[2 + i], NULL, 0);
		workers[i].shadow = shadow_make(seed, i);
		while (workers[i].shadow.done < acknowledged) {
			workload_plan(&workers[i].shadow, &op);
			shadow_apply(&workers[i].shadow, &op);
		}
		operations += acknowledged;
	}
	/* As recovery would leave it; it writes nothing. */
	if (pheap_check_file(path, NULL, show_problem, NULL))
		return lost(path, "the check of the file finds problems", 0, 0, 0);
	heap = open_dax_pool(path);
	if (!heap) {
		printf("@lost %s: refused: %s\n", path, pheap_errormsg());
		return 1;
	}
	must(!pheap_get_info(heap, &info));
	err = compare_all(heap, path, workers);
	if (err) {
		pheap_close(heap);
		return err;
	}
	err = go_on(heap, path, workers);
	if (!err)
		printf("@held %s operations=%llu recovered=%d is_pmem=%d whole=%u absent=%u "
		       "none=%u\n",
		       path, (unsigned long long)operations, info.recovered, info.is_pmem,
		       seen.whole, seen.absent, seen.none);
	return err;
}

int main(int argc, char **argv)
{
	if (argc >= 5 && !strcmp(argv[1], "work"))
		return work(argc - 2, argv + 2);
	if (argc >= 5 && !strcmp(argv[1], "verify"))
		return verify(argc - 2, argv + 2);
	if (argc == 3 && !strcmp(argv[1], "steps"))
		return count_steps(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "bad"))
		return try_bad_block(argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: dax-guest work|verify|steps|bad POOL ...\n");
	return 2;
}
