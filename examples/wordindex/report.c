/*
 * report.c - what the index says.
 */
#include "index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_word(const struct word *word)
{
	fwrite(entry_key(&word->entry), 1, word->entry.length, stdout);
	printf("\t%" PRIu64 "\n", word->count);
}

int report_dump(const struct session *s)
{
	const struct entry *entry;
	uint64_t at = 0;

	while ((entry = table_next(s->heap, &s->index->words, &at)))
		print_word((const struct word *)entry);
	return 0;
}

/* The word, and the files it is in, the one that was indexed last first. */
int report_query(const struct session *s, char *text)
{
	size_t length = strlen(text);
	const struct posting *posting;
	const struct word *word;

	for (size_t i = 0; i < length; i++)
		text[i] |= 0x20; /* main() has seen that these are letters */
	word = (const struct word *)table_find(s->heap, &s->index->words, table_hash(text, length),
					       text, length);
	if (!word) {
		printf("%s\t0\n", text);
		return 0;
	}
	print_word(word);
	for (posting = pheap_ptr(s->heap, word->postings); posting;
	     posting = PHEAP_PTR(s->heap, posting->next)) {
		const struct file *file = pheap_ptr(s->heap, posting->file);

		printf("\t%" PRIu64 "\t%.*s\n", posting->count, (int)file->entry.length,
		       file->path);
	}
	return 0;
}

int report_stats(const struct session *s)
{
	struct pheap_stats stats = {.struct_size = sizeof(stats)};
	const struct index *index = s->index;
	int rc = pheap_get_stats(s->heap, &stats);

	if (rc)
		return rc;
	printf("words         %" PRIu64 "\n", index->words.used);
	printf("occurrences   %" PRIu64 "\n", index->occurrences);
	printf("files         %" PRIu64 "\n", index->files.used);
	printf("files done    %" PRIu64 "\n", index->done.files);
	printf("bytes done    %" PRIu64 "\n", index->done.bytes);
	printf("pool in use   %.0f %%\n",
	       100.0 * (double)(stats.granules - stats.granules_free) / (double)stats.granules);
	return 0;
}
