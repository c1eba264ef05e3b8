/*
 * pheap-check-image.c - the checkers as programs, for pheap-reorder and pmreorder:
 *
 *	pheap-check-image heap|order POOL
 *
 * and what recovery will have to do:
 *
 *	pheap-check-image logs POOL
 */
#include <pheap.h>

#include <stdio.h>
#include <string.h>

int check_heap(const char *path);
int check_order(const char *path);

static int print_logs(const char *path)
{
	struct pheap_check_result result = {.struct_size = sizeof(result)};

	if (pheap_check_file(path, &result, NULL, NULL)) {
		fprintf(stderr, "%s\n", pheap_errormsg());
		return 1;
	}
	printf("%llu records to replay, %llu undo entries to roll back\n",
	       (unsigned long long)result.records, (unsigned long long)result.undo_entries);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "heap"))
		return check_heap(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "order"))
		return check_order(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "logs"))
		return print_logs(argv[2]);
	fputs("usage: pheap-check-image heap|order|logs POOL\n", stderr);
	return 2;
}
