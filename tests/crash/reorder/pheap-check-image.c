/*
 * pheap-check-image.c - the checkers as programs, for pheap-reorder and pmreorder:
 *
 *	pheap-check-image heap|order POOL
 */
#include <stdio.h>
#include <string.h>

int check_heap(const char *path);
int check_order(const char *path);

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "heap"))
		return check_heap(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "order"))
		return check_order(argv[2]);
	fputs("usage: pheap-check-image heap|order POOL\n", stderr);
	return 2;
}
