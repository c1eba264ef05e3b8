/* Prints what it was told in earlier runs, and keeps its argument for later ones. */
#include <stdio.h>

#include <pheap.h>

struct note {
	pheap_ref next;
	char text[56];
};

static int fail(void)
{
	fprintf(stderr, "%s\n", pheap_errormsg());
	return 1;
}

int main(int argc, char **argv)
{
	pheap_t *heap = pheap_create("notes.pool", NULL);
	struct note *note;
	pheap_ref *slot;

	if (!heap && !(heap = pheap_open("notes.pool", NULL))) /* recovers it if need be */
		return fail();
	for (slot = pheap_root(heap); *slot; slot = &note->next) {
		note = pheap_ptr(heap, *slot);
		puts(note->text);
	}
	note = pheap_zalloc(heap, sizeof(*note)); /* reserved: a crash frees it */
	if (!note)
		return fail();
	snprintf(note->text, sizeof(note->text), "%s", argc > 1 ? argv[1] : "hello");
	if (pheap_publish(heap, slot, note, 0)) /* permanent and linked, or neither */
		return fail();
	return pheap_close(heap) ? fail() : 0;
}
