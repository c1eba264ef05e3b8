/*
 * requests.c - a loop that serves requests, with a region for each.
 *
 *	requests FILE...
 *
 * Each file is a connection, and each of its lines a request:
 *
 *	sort WORD...     the words in order
 *	lines PATH       how many lines the file at PATH has
 *
 * A connection has a region, which closes its file however the connection ends. Each
 * request is served in a child of it: whatever a request took, on whichever path it
 * left, is gone when the child is reset, and its blocks serve the next one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pheap.h>

#define MAX_WORDS 64
#define CHUNK 65536

static void close_file(void *file)
{
	fclose(file);
}

/* A file that is closed when the region ends. */
static FILE *open_in(pheap_region_t *region, const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file) {
		printf("%s: %s\n", path, strerror(errno));
		return NULL;
	}
	if (!pheap_region_cleanup(region, close_file, file))
		return file;
	printf("%s: %s\n", path, pheap_errormsg());
	fclose(file);
	return NULL;
}

static int by_content(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int serve_sort(pheap_region_t *request, char **words, size_t n)
{
	char **sorted = pheap_region_alloc(request, n * sizeof(*words) + 1);

	if (!sorted)
		return -1;
	memcpy(sorted, words, n * sizeof(*words));
	qsort(sorted, n, sizeof(*sorted), by_content);
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i ? " " : "", sorted[i]);
	putchar('\n');
	return 0;
}

static int serve_lines(pheap_region_t *request, const char *path)
{
	FILE *file = open_in(request, path);
	char *buffer = pheap_region_alloc(request, CHUNK);
	size_t lines = 0, got;

	if (!file || !buffer)
		return file ? -1 : 0;
	while ((got = fread(buffer, 1, CHUNK, file)))
		for (size_t i = 0; i < got; i++)
			lines += buffer[i] == '\n';
	/* The file would be closed without a word here; the buffer is large enough to
	 * be worth giving back before the request is over. */
	pheap_region_free(request, buffer);
	printf("%zu\n", lines);
	return 0;
}

static int serve(pheap_region_t *request, const char *line)
{
	char *words[MAX_WORDS], *copy = pheap_region_strdup(request, line), *rest = NULL;
	size_t n = 0;

	if (!copy)
		return -1;
	for (char *word = strtok_r(copy, " \t\n", &rest); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \t\n", &rest))
		words[n++] = word;
	if (!n)
		return 0;
	if (!strcmp(words[0], "sort"))
		return serve_sort(request, words + 1, n - 1);
	if (!strcmp(words[0], "lines") && n == 2)
		return serve_lines(request, words[1]);
	printf("what is '%s'?\n", words[0]);
	return 0;
}

/* Memory of all requests of a connection stays that of the largest one. */
static int serve_connection(pheap_region_t *connection, const char *path)
{
	pheap_region_t *request = pheap_region_create_child(connection, 0, 0);
	FILE *file = request ? open_in(connection, path) : NULL;
	char line[4096];
	int rc = 0;

	if (!file)
		return request ? 1 : -1;
	while (!rc && fgets(line, sizeof(line), file)) {
		rc = serve(request, line);
		pheap_region_reset(request);
	}
	return rc;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc < 2) {
		fprintf(stderr, "Usage: requests FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		pheap_region_t *connection = pheap_region_create(0, 0);
		int rc = connection ? serve_connection(connection, argv[i]) : -1;

		if (rc < 0)
			fprintf(stderr, "requests: %s\n", pheap_errormsg());
		failed |= rc;
		pheap_region_destroy(connection);
	}
	return failed ? 1 : 0;
}
