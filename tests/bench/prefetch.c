/*
 * prefetch.c - what loading ahead of use is worth: a walk along objects that lie in random
 * order, each of which leads to the next, with some work on each.
 *
 *	prefetch [OBJECTS]     1,000,000 by default, of 64 bytes, in a VOLATILE heap
 *
 * For some amounts of work, in rounds of a multiplication and an addition that wait for
 * each other, prints nanoseconds of processor time an object without and with pheap_prefetch_refs()
 *at the beginning of the work: medians of 9 turns. Both have to come to the same sum. A processor
 * looks ahead itself as far as it holds instructions, so short work gains nothing.
 */
#include <pheap.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TURNS 9
#define STEPS 50000u

struct object {
	PHEAP_REF(struct object) next;
	uint64_t value;
	char rest[48];
};

static const uint32_t links[] = {offsetof(struct object, next)};

static void *made(void *ptr)
{
	if (ptr)
		return ptr;
	fprintf(stderr, "prefetch: %s\n", pheap_errormsg());
	exit(1);
}

static uint64_t work(uint64_t x, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		x = x * UINT64_C(6364136223846793005) + 1;
	return x;
}

static uint64_t walk(pheap_t *heap, const struct object **from, unsigned rounds, int ahead)
{
	const struct object *object = *from;
	uint64_t sum = 0;

	for (unsigned i = 0; i < STEPS; i++) {
		if (ahead)
			pheap_prefetch_refs(heap, object, links, 1, sizeof(*object));
		sum += work(object->value, rounds);
		object = PHEAP_PTR(heap, object->next);
	}
	*from = object;
	return sum;
}

/* A ring of all objects in random order. */
static const struct object *make_ring(pheap_t *heap, size_t n)
{
	pheap_ref *ref = made(malloc(n * sizeof(*ref)));
	const struct object *first;
	uint64_t state = 1;

	for (size_t i = 0; i < n; i++) {
		struct object *object = made(pheap_zalloc(heap, sizeof(*object)));

		object->value = i;
		ref[i] = pheap_ref_of(heap, object);
	}
	for (size_t i = n; i-- > 1;) {
		size_t k = (size_t)(work(state++, 3) >> 20) % (i + 1);
		pheap_ref swapped = ref[i];

		ref[i] = ref[k];
		ref[k] = swapped;
	}
	for (size_t i = 0; i < n; i++)
		((struct object *)pheap_ptr(heap, ref[i]))->next.ref = ref[(i + 1) % n];
	first = pheap_ptr(heap, ref[0]);
	free(ref);
	return first;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Print a line, and go on behind the objects that were used; 0 where the ways differ. */
static int measure(pheap_t *heap, const struct object **at, unsigned rounds)
{
	double time[2][TURNS];
	int same = 1;

	for (int turn = 0; turn < TURNS; turn++) {
		for (int ahead = 0; ahead < 2; ahead++) {
			const struct object *again = *at;
			double begun = now();
			uint64_t sum = walk(heap, at, rounds, ahead);

			time[ahead][turn] = (now() - begun) / STEPS;
			same &= sum == walk(heap, &again, rounds, !ahead);
		}
	}
	for (int ahead = 0; ahead < 2; ahead++)
		qsort(time[ahead], TURNS, sizeof(time[0][0]), by_size);
	printf("%u rounds of work: %.1f ns, loaded ahead %.1f ns\n", rounds, time[0][TURNS / 2],
	       time[1][TURNS / 2]);
	return same;
}

int main(int argc, char **argv)
{
	static const unsigned rounds[] = {0, 20, 50, 100, 200, 400};
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	struct pheap_options opts = {.struct_size = sizeof(opts), .durability = PHEAP_VOLATILE};
	const struct object *at;
	pheap_t *heap;
	int same = 1;

	if (!n || n > UINT32_MAX) {
		fprintf(stderr, "Usage: prefetch [OBJECTS]\n");
		return 2;
	}
	opts.size = n * sizeof(struct object) * 2 + PHEAP_MIN_SIZE;
	heap = made(pheap_create(NULL, &opts));
	at = make_ring(heap, n);
	for (unsigned i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++)
		same &= measure(heap, &at, rounds[i]);
	if (!same || pheap_close(heap)) {
		fprintf(stderr, "prefetch: the sums differ, or closing failed\n");
		return 1;
	}
	return 0;
}
