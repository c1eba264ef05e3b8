/*
 * list.c - a linked list changed by transactions.
 *
 *	list POOL push NUMBER...     put numbers in front, all or none
 *	list POOL pop                remove the first and print it
 *	list POOL reverse            turn the list round
 *	list POOL print
 *	list POOL sum                what print prints, added up, and how many
 *
 * push and pop are redo transactions: nothing changes before commit, which takes
 * one fence. reverse is an undo transaction: it changes links in place, as code
 * for ordinary memory would, after it has saved each one.
 *
 * The root object holds the count and the total too. They change in the same
 * transaction as the links, so they agree with the list after every crash;
 * sum recomputes them and fails where they do not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pheap.h>

struct node {
	PHEAP_REF(struct node) next;
	int64_t value;
};

struct list {
	PHEAP_REF(struct node) first;
	uint64_t count;
	int64_t total;
};

/*
 * Functions below return 0, a negative code where the library failed, and 1 where
 * something else did, which has been reported.
 */

/* End a transaction: commit where all went well, else abort. */
static int finish(pheap_tx_t *tx, int rc)
{
	if (!rc)
		return pheap_tx_commit(tx);
	pheap_tx_abort(tx);
	return rc;
}

/*
 * The list as it shall be after commit. A redo transaction does not see its own
 * writes before that, so the three words are kept here while it is built.
 */
static int set_list(pheap_tx_t *tx, struct list *list, const struct list *after)
{
	int rc = pheap_tx_set(tx, &list->first.ref, after->first.ref);

	if (!rc)
		rc = pheap_tx_set(tx, &list->count, after->count);
	if (!rc)
		rc = pheap_tx_set(tx, (uint64_t *)&list->total, (uint64_t)after->total);
	return rc;
}

static int push_one(pheap_t *heap, pheap_tx_t *tx, struct list *after, const char *text)
{
	struct node *node;
	long long value;
	char *end;

	/* 32 bits, so that no total overflows. */
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value != (int32_t)value) {
		fprintf(stderr, "list: '%s' is not a number of 32 bits\n", text);
		return 1;
	}
	node = pheap_tx_alloc(tx, sizeof(*node));
	if (!node)
		return -errno;
	/* The object is the transaction's own until commit: plain stores. */
	node->value = value;
	node->next.ref = after->first.ref;
	after->first.ref = pheap_ref_of(heap, node);
	after->count++;
	after->total += value;
	return 0;
}

static int push(pheap_t *heap, struct list *list, int n, char **numbers)
{
	struct list after = *list;
	pheap_tx_t *tx = pheap_tx_begin(heap);
	int rc = 0;

	if (!tx)
		return -errno;
	for (int i = 0; !rc && i < n; i++)
		rc = push_one(heap, tx, &after, numbers[i]);
	if (!rc)
		rc = set_list(tx, list, &after);
	return finish(tx, rc);
}

static int pop(pheap_t *heap, struct list *list)
{
	struct node *node = PHEAP_PTR(heap, list->first);
	struct list after = *list;
	pheap_tx_t *tx;
	int64_t value;
	int rc;

	if (!node) {
		fprintf(stderr, "list: it is empty\n");
		return 1;
	}
	tx = pheap_tx_begin(heap);
	if (!tx)
		return -errno;
	value = node->value;
	after.first.ref = node->next.ref;
	after.count--;
	after.total -= value;
	rc = pheap_tx_free(tx, node);
	if (!rc)
		rc = set_list(tx, list, &after);
	rc = finish(tx, rc);
	if (!rc)
		printf("%" PRId64 "\n", value);
	return rc;
}

static int reverse(pheap_t *heap, struct list *list)
{
	pheap_tx_t *tx = pheap_tx_begin(heap);
	struct node *node = PHEAP_PTR(heap, list->first);
	pheap_ref behind = PHEAP_NULL;
	int rc;

	if (!tx)
		return -errno;
	rc = pheap_tx_snapshot(tx, &list->first, sizeof(list->first));
	while (!rc && node) {
		struct node *next = PHEAP_PTR(heap, node->next);

		rc = pheap_tx_snapshot(tx, &node->next, sizeof(node->next));
		if (rc)
			break;
		node->next.ref = behind;
		behind = pheap_ref_of(heap, node);
		node = next;
	}
	if (!rc)
		list->first.ref = behind;
	return finish(tx, rc);
}

static int print(pheap_t *heap, struct list *list)
{
	for (struct node *n = PHEAP_PTR(heap, list->first); n; n = PHEAP_PTR(heap, n->next))
		printf("%" PRId64 "\n", n->value);
	return 0;
}

static int sum(pheap_t *heap, struct list *list)
{
	uint64_t count = 0;
	int64_t total = 0;

	for (struct node *n = PHEAP_PTR(heap, list->first); n; n = PHEAP_PTR(heap, n->next)) {
		count++;
		total += n->value;
	}
	printf("%" PRId64 " in %" PRIu64 " numbers\n", total, count);
	if (count == list->count && total == list->total)
		return 0;
	fprintf(stderr, "list: the root says %" PRId64 " in %" PRIu64 "\n", list->total,
		list->count);
	return 1;
}

static int run(pheap_t *heap, const char *command, int argc, char **argv)
{
	pheap_ref *root = pheap_root(heap);
	struct list *list;
	int rc = 0;

	if (!*root)
		rc = pheap_alloc_into(heap, root, sizeof(*list), NULL);
	if (rc)
		return rc;
	list = pheap_ptr(heap, *root);
	if (!strcmp(command, "push"))
		return push(heap, list, argc, argv);
	if (!strcmp(command, "pop"))
		return pop(heap, list);
	if (!strcmp(command, "reverse"))
		return reverse(heap, list);
	if (!strcmp(command, "print"))
		return print(heap, list);
	return sum(heap, list);
}

static int is_command(const char *name, int operands)
{
	static const char *const others[] = {"pop", "reverse", "print", "sum"};

	if (!strcmp(name, "push"))
		return operands > 0;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (!strcmp(name, others[i]))
			return operands == 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct pheap_options opts = {
		.struct_size = sizeof(opts),
		.size = PHEAP_MIN_SIZE,
		.layout = "list",
	};
	pheap_t *heap;
	int rc;

	if (argc < 3 || !is_command(argv[2], argc - 3)) {
		fprintf(stderr, "Usage: list POOL push NUMBER... | pop | reverse | print | sum\n");
		return 2;
	}
	heap = pheap_create(argv[1], &opts);
	if (!heap && errno == EEXIST)
		heap = pheap_open(argv[1], &opts);
	rc = heap ? run(heap, argv[2], argc - 3, argv + 3) : -errno;
	if (rc < 0)
		fprintf(stderr, "list: %s\n", pheap_errormsg());
	if (pheap_close(heap)) {
		fprintf(stderr, "list: %s\n", pheap_errormsg());
		rc = -EIO;
	}
	return rc ? 1 : 0;
}
