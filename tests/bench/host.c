/*
 * host.c - what the measurements are taken on, and the floor: one non-temporal
 * store of a line and one fence, which is the least that a durable operation can
 * cost.
 */
#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pheap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "results.h"

/* Lines of the buffer that the floor is measured on: as many as a redo ring has. */
#define FLOOR_LINES 256
#define FLOOR_STORES 2000

static char *floor_lines;

void floor_open(const char *folder)
{
	char path[PATH_LENGTH];
	int fd;

	snprintf(path, sizeof(path), "%.200s/floor", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, FLOOR_LINES * 64))
		die("cannot make %s", path);
	floor_lines = mmap(NULL, FLOOR_LINES * 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (floor_lines == MAP_FAILED)
		die("cannot map %s", path);
	memset(floor_lines, 1, FLOOR_LINES * 64);
	close(fd);
	unlink(path);
}

__attribute__((target("avx512f"))) static void store_wide(unsigned n)
{
	__m512i value = _mm512_set1_epi64(n);

	for (unsigned i = 0; i < n; i++) {
		_mm512_stream_si512((void *)(floor_lines + i % FLOOR_LINES * 64), value);
		_mm_sfence();
	}
}

static void store_narrow(unsigned n)
{
	__m128i value = _mm_set1_epi64x(n);

	for (unsigned i = 0; i < n; i++) {
		__m128i *line = (__m128i *)(floor_lines + i % FLOOR_LINES * 64);

		for (unsigned k = 0; k < 4; k++)
			_mm_stream_si128(line + k, value);
		_mm_sfence();
	}
}

static void store_some(unsigned n)
{
	if (__builtin_cpu_supports("avx512f"))
		store_wide(n);
	else
		store_narrow(n);
}

/* As a child does a repetition. */
struct sample floor_sample(void)
{
	static struct track track;
	const struct track *tracks[] = {&track};
	int fd = open_schedstat();
	double waited = read_schedstat(fd), before;

	store_some(FLOOR_STORES);
	for (track.n = 0; track.n < SLICES; track.n++) {
		struct slice *slice = &track.slices[track.n];

		if (track.n && slice[-1].end - track.slices[0].start >= results.target_ns)
			break;
		*slice = (struct slice){.start = now_ns()};
		do {
			store_some(FLOOR_STORES);
			slice->done += FLOOR_STORES;
			slice->end = now_ns();
		} while (slice->end - slice->start < results.slice_ns);
		before = waited;
		waited = read_schedstat(fd);
		slice->waited = waited - before;
	}
	close(fd);
	return sample_of_tracks(tracks, 1);
}

/* Of some samples the median. */
static double floor_now(void)
{
	struct series series = {0};

	for (unsigned i = 0; i < results.reps; i++)
		series_add(&series, floor_sample());
	return series_ns(&series);
}

/* The value of the first line that begins with key in a file of /proc. */
static void proc_value(const char *path, const char *key, char *value, size_t room)
{
	char line[512];
	FILE *file = fopen(path, "re");

	snprintf(value, room, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, key, strlen(key)) || !colon)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(value, room, "%s", colon + 1 + strspn(colon + 1, " \t"));
		break;
	}
	if (file)
		fclose(file);
}

/* libpmem takes the best of these, unless its environment forbids it. */
static const char *flush_instruction(void)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	if (b & 1u << 24 && !getenv("PMEM_NO_CLWB"))
		return "clwb";
	if (b & 1u << 23 && !getenv("PMEM_NO_CLFLUSHOPT"))
		return "clflushopt";
	return "clflush";
}

static void print_mapping(const char *folder)
{
	struct pheap_options opts = {.struct_size = sizeof(opts),
				     .size = PHEAP_MIN_SIZE,
				     .durability = PHEAP_POWER,
				     .flags = PHEAP_FORCE_PMEM};
	struct pheap_info info = {.struct_size = sizeof(info)};
	struct statfs fs = {0};
	char path[PATH_LENGTH];
	pheap_t *heap;

	snprintf(path, sizeof(path), "%.200s/probe", folder);
	heap = pheap_create(path, &opts);
	if (!heap || pheap_get_info(heap, &info))
		die("cannot make a pool in %s: %s", folder, pheap_errormsg());
	pheap_close(heap);
	unlink(path);
	statfs(folder, &fs);
	printf("# mapping: shared, files in %s (file system type %#lx%s); libpmem's is_pmem %d; "
	       "back "
	       "end %s\n",
	       folder, (unsigned long)fs.f_type, fs.f_type == 0x01021994 ? ", tmpfs" : "",
	       info.is_pmem, info.backend);
	printf("# forced: pheap by PHEAP_FORCE_PMEM, libpmemobj by PMEM_IS_PMEM_FORCE=1, which all "
	       "systems have in their environment\n");
}

void print_host(const char *folder)
{
	char cpu[256], memory[64];
	double load[3] = {0};
	struct utsname name;

	uname(&name);
	proc_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	proc_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
	if (getloadavg(load, 3) < 1)
		load[0] = -1;
	printf("# machine: %s, %ld processors, %s of memory, load %.2f\n", cpu,
	       sysconf(_SC_NPROCESSORS_ONLN), memory, load[0]);
	printf("# kernel: %s %s %s\n", name.sysname, name.release, name.machine);
	print_mapping(folder);
	printf("# flush instruction: %s\n", flush_instruction());
	results.first_floor = floor_now();
	printf("# floor: one non-temporal 64-byte store + SFENCE takes %.1f ns now; it is measured "
	       "again in turn with the systems\n",
	       results.first_floor);
}
