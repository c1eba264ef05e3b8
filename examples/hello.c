/*
 * hello.c - a root object: count how often this program has run.
 *
 *	hello POOL
 */
#include <errno.h>
#include <stdio.h>

#include <pheap.h>

struct hello {
	uint64_t runs;
	char greeting[48];
};

/* The root object; made on the first run. */
static struct hello *root_object(pheap_t *heap)
{
	pheap_ref *root = pheap_root(heap);
	struct hello first = {.runs = 0, .greeting = "Hello for the first time."};

	/* Reserved, filled and linked in one step: no crash leaves half of it. */
	if (!*root && pheap_alloc_into(heap, root, sizeof(first), &first))
		return NULL;
	return pheap_ptr(heap, *root);
}

static int greet(pheap_t *heap)
{
	struct hello *hello = root_object(heap);
	char next[sizeof(hello->greeting)];

	if (!hello)
		return -1;
	puts(hello->greeting);
	snprintf(next, sizeof(next), "Hello, after %llu runs.",
		 (unsigned long long)hello->runs + 1);
	/* Two operations: a crash may fall between them. list.c has transactions. */
	if (pheap_write(heap, hello->greeting, next, sizeof(next)))
		return -1;
	return pheap_set(heap, &hello->runs, hello->runs + 1);
}

int main(int argc, char **argv)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.size = PHEAP_MIN_SIZE,
		.layout = "hello",
	};
	pheap_t *heap;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "Usage: hello POOL\n");
		return 2;
	}
	heap = pheap_create(argv[1], &opts);
	if (!heap && errno == EEXIST)
		heap = pheap_open(argv[1], &opts);
	rc = heap ? greet(heap) : -1;
	if (rc)
		fprintf(stderr, "hello: %s\n", pheap_errormsg());
	if (pheap_close(heap)) {
		fprintf(stderr, "hello: %s\n", pheap_errormsg());
		rc = -1;
	}
	return rc ? 1 : 0;
}
