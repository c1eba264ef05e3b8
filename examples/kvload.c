/*
 * kvload.c - batches of keys and values, each loaded as a whole.
 *
 *	kvload POOL load BATCH FILE    lines of key, tab, value; '-' is the standard input
 *	kvload POOL get BATCH KEY      print the value, of several alike the last
 *	kvload POOL dump BATCH         all records, in no order
 *	kvload POOL count BATCH
 *	kvload POOL drop BATCH
 *
 * A batch is a hash table in a persistent arena. It is filled at the speed of memory,
 * without a fence, then sealed: from that moment all of it is there, after any crash.
 * Before that nothing is, and no memory is lost. It is dropped in one step as well.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pheap.h>

struct record {
	PHEAP_REF(struct record) next; /* in its bucket */
	uint32_t key_length, value_length;
	char bytes[]; /* the key, then the value */
};

struct batch {
	uint64_t records;
	uint64_t buckets; /* a power of two */
	PHEAP_REF(struct record) bucket[];
};

/* FNV-1a. */
static uint64_t hash(const char *key, size_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)key[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static int fail(const char *what)
{
	fprintf(stderr, "kvload: %s: %s\n", what, pheap_errormsg());
	return 1;
}

/* A record of a line; NULL after a message. */
static struct record *parse(pheap_arena_t *arena, const char *line, size_t length, uint64_t number)
{
	const char *tab = memchr(line, '\t', length);
	struct record *record;
	size_t key = tab ? (size_t)(tab - line) : 0;

	if (!tab || length > UINT32_MAX) {
		fprintf(stderr, "kvload: line %" PRIu64 ": no tab between a key and a value\n",
			number);
		return NULL;
	}
	record = pheap_arena_alloc(arena, sizeof(*record) + length - 1);
	if (!record) {
		fail("load");
		return NULL;
	}
	record->key_length = (uint32_t)key;
	record->value_length = (uint32_t)(length - key - 1);
	memcpy(record->bytes, line, key);
	memcpy(record->bytes + key, tab + 1, record->value_length);
	return record;
}

/* All lines as a list, the last one first; negative after a message. */
static int64_t read_records(pheap_t *heap, pheap_arena_t *arena, FILE *file, struct record **list)
{
	char *line = NULL;
	size_t room = 0;
	int64_t n = 0;
	ssize_t got;

	*list = NULL;
	while (n >= 0 && (got = getline(&line, &room, file)) > 0) {
		size_t length = (size_t)got - (line[got - 1] == '\n');
		struct record *record = parse(arena, line, length, (uint64_t)n + 1);

		if (record) {
			record->next.ref = pheap_ref_of(heap, *list);
			*list = record;
		}
		n = record ? n + 1 : -1;
	}
	free(line);
	if (n >= 0 && ferror(file)) {
		perror("kvload");
		return -1;
	}
	return n;
}

static struct record *reverse(pheap_t *heap, struct record *list)
{
	struct record *before = NULL, *next;

	for (; list; before = list, list = next) {
		next = PHEAP_PTR(heap, list->next);
		list->next.ref = pheap_ref_of(heap, before);
	}
	return before;
}

/* The table over a list of n records, each put in front of its bucket. */
static struct batch *make_table(pheap_t *heap, pheap_arena_t *arena, struct record *list,
				uint64_t n)
{
	struct batch *batch;
	uint64_t buckets = 16;
	size_t size;

	while (buckets < n)
		buckets *= 2;
	size = sizeof(*batch) + buckets * sizeof(batch->bucket[0]);
	batch = pheap_arena_alloc(arena, size);
	if (!batch)
		return NULL;
	memset(batch, 0, size);
	batch->records = n;
	batch->buckets = buckets;
	for (struct record *r = list, *next; r; r = next) {
		pheap_ref *at = &batch->bucket[hash(r->bytes, r->key_length) & (buckets - 1)].ref;

		next = PHEAP_PTR(heap, r->next);
		r->next.ref = *at;
		*at = pheap_ref_of(heap, r);
	}
	return batch;
}

static int fill_and_seal(pheap_t *heap, pheap_arena_t *arena, FILE *file, pheap_ref *slot)
{
	struct record *list;
	struct batch *batch;
	int64_t n = read_records(heap, arena, file, &list);

	if (n < 0)
		return 1;
	/* The first line first, so that the last of several with a key is found first. */
	batch = make_table(heap, arena, reverse(heap, list), (uint64_t)n);
	if (!batch || pheap_arena_seal(arena, slot, batch))
		return fail("load");
	printf("%" PRId64 " records\n", n);
	return 0;
}

static int load(pheap_t *heap, pheap_ref *slot, const char *path)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
	pheap_arena_t *arena = pheap_arena_create_in(heap, 65536);
	int rc = 1;

	if (!file)
		perror(path);
	else if (!arena)
		fail("load");
	else
		rc = fill_and_seal(heap, arena, file, slot);
	pheap_arena_destroy(arena);
	if (file && file != stdin)
		fclose(file);
	return rc;
}

static int get(pheap_t *heap, const struct batch *batch, const char *key)
{
	size_t length = strlen(key);
	const struct record *r;

	for (r = PHEAP_PTR(heap, batch->bucket[hash(key, length) & (batch->buckets - 1)]); r;
	     r = PHEAP_PTR(heap, r->next)) {
		if (r->key_length == length && !memcmp(r->bytes, key, length)) {
			printf("%.*s\n", (int)r->value_length, r->bytes + length);
			return 0;
		}
	}
	fprintf(stderr, "kvload: there is no '%s'\n", key);
	return 1;
}

static int dump(pheap_t *heap, const struct batch *batch)
{
	for (uint64_t i = 0; i < batch->buckets; i++)
		for (const struct record *r = PHEAP_PTR(heap, batch->bucket[i]); r;
		     r = PHEAP_PTR(heap, r->next))
			printf("%.*s\t%.*s\n", (int)r->key_length, r->bytes, (int)r->value_length,
			       r->bytes + r->key_length);
	return 0;
}

static int run(pheap_t *heap, const char *command, const char *name, const char *operand)
{
	int loads = !strcmp(command, "load");
	pheap_ref *slot = loads ? pheap_named_root(heap, name) : pheap_find_root(heap, name);
	const struct batch *batch;

	if (!slot)
		return fail(name);
	if (loads)
		return load(heap, slot, operand);
	if (!strcmp(command, "drop"))
		return pheap_arena_drop(heap, slot) || pheap_drop_root(heap, name) ? fail(name) : 0;
	batch = *slot ? pheap_arena_root(heap, *slot) : NULL;
	if (!batch) {
		fprintf(stderr, "kvload: there is no batch '%s'\n", name);
		return 1;
	}
	if (!strcmp(command, "get"))
		return get(heap, batch, operand);
	if (!strcmp(command, "dump"))
		return dump(heap, batch);
	printf("%" PRIu64 "\n", batch->records);
	return 0;
}

static int is_command(const char *name, int operands)
{
	if (!strcmp(name, "load") || !strcmp(name, "get"))
		return operands == 2;
	return (!strcmp(name, "dump") || !strcmp(name, "count") || !strcmp(name, "drop")) &&
	       operands == 1;
}

int main(int argc, char **argv)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.size = UINT64_C(256) << 20,
		.layout = "kvload",
	};
	pheap_t *heap;
	int rc;

	if (argc < 4 || !is_command(argv[2], argc - 3)) {
		fprintf(stderr, "Usage: kvload POOL load BATCH FILE | get BATCH KEY | dump BATCH | "
				"count BATCH | drop BATCH\n");
		return 2;
	}
	heap = pheap_create(argv[1], &opts);
	if (!heap && errno == EEXIST)
		heap = pheap_open(argv[1], &opts);
	if (!heap)
		return fail(argv[1]);
	rc = run(heap, argv[2], argv[3], argc > 4 ? argv[4] : NULL);
	return pheap_close(heap) ? fail(argv[1]) : rc;
}
