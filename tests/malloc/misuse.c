/*
 * misuse.c - a program that misuses malloc, in the way that its argument says, for
 * test-settings.py: libpheapmalloc in debug mode has to find it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 13
#define LARGE 100000

/* Not known to the compiler, which would warn. */
static volatile size_t size;

void *allocating_function(size_t bytes);
void freeing_function(void *ptr);

__attribute__((noinline)) void *allocating_function(size_t bytes)
{
	char *ptr = malloc(bytes);

	__asm__ volatile("" : "+r"(ptr)); /* so that this is no tail call */
	return ptr;
}

__attribute__((noinline)) void freeing_function(void *ptr)
{
	__asm__ volatile("" : "+r"(ptr));
	free(ptr);
	__asm__ volatile("");
}

static void misuse(const char *how, volatile char *small, volatile char *large)
{
	char *ptr = (char *)(size_t)small; /* volatile cast away */

	if (!strcmp(how, "double-free")) {
		freeing_function(ptr);
		freeing_function(ptr);
	} else if (!strcmp(how, "overrun")) {
		small[size] = 1;
		freeing_function(ptr);
	} else if (!strcmp(how, "overrun-not-freed")) {
		small[size] = 1;
	} else if (!strcmp(how, "use-after-free")) {
		freeing_function(ptr);
		small[3] = 1;
	} else if (!strcmp(how, "use-after-free-found")) {
		freeing_function(ptr);
		small[3] = 1;
		for (int i = 0; i < 100000; i++)
			freeing_function(allocating_function(1000));
		puts("not found in time");
	} else if (!strcmp(how, "free-inside")) {
		freeing_function(ptr + 4);
	} else if (!strcmp(how, "free-stack")) {
		freeing_function((void *)&how);
	} else if (!strcmp(how, "realloc-freed")) {
		freeing_function(ptr);
		if (realloc(ptr, 100))
			puts("done");
	} else if (!strcmp(how, "overrun-large")) {
		large[(LARGE + 4095) / 4096 * 4096] = 1;
	} else if (!strcmp(how, "use-after-free-large")) {
		freeing_function((char *)(size_t)large);
		large[5000] = 1;
	}
}

int main(int argc, char **argv)
{
	size = SMALL;
	if (argc > 1)
		misuse(argv[1], allocating_function(size), allocating_function(LARGE));
	puts("end");
	return 0;
}
