/*
 * commit.c - the transactions: each leaves the index whole.
 *
 * Counting is a redo transaction: new objects and new values go out in one
 * record, with one fence. Finishing a file is an undo transaction: ranges are
 * saved, then changed in place.
 */
#include "index.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Give whoever tries to kill us between commits a chance. */
static void pause_before_commit(const struct session *s)
{
	struct timespec pause = {
		.tv_sec = s->slow_ms / 1000,
		.tv_nsec = s->slow_ms % 1000 * 1000000L,
	};

	if (s->slow_ms)
		nanosleep(&pause, NULL);
}

/* Commit where all went well, else abort. */
static int end(pheap_tx_t *tx, int rc)
{
	if (!rc)
		return pheap_tx_commit(tx);
	pheap_tx_abort(tx);
	return rc;
}

static uint64_t modified(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
}

int index_file_changed(const struct file *file, const struct stat *st)
{
	return file->size != (uint64_t)st->st_size || file->modified != modified(st);
}

/* Nothing of it was counted, so it may be a new file under an old name. */
static int restamp(struct session *s, struct file *file, const struct stat *st)
{
	pheap_tx_t *tx = pheap_tx_begin(s->heap);
	int rc;

	if (!tx)
		return -errno;
	rc = pheap_tx_set(tx, &file->size, (uint64_t)st->st_size);
	if (!rc)
		rc = pheap_tx_set(tx, &file->modified, modified(st));
	return end(tx, rc);
}

static int make_file(struct session *s, const char *path, const struct stat *st)
{
	struct table *files = &s->index->files;
	struct table_adder adder = {.heap = s->heap, .table = files};
	size_t length = strlen(path);
	struct file *file;
	int rc = table_reserve(s->heap, files, 1);

	if (rc)
		return rc;
	adder.tx = pheap_tx_begin(s->heap);
	if (!adder.tx)
		return -errno;
	file = pheap_tx_zalloc(adder.tx, sizeof(*file) + length);
	if (!file)
		return end(adder.tx, -errno);
	file->entry = (struct entry){table_hash(path, length), (uint32_t)length, sizeof(*file)};
	file->number = files->used + 1;
	file->size = (uint64_t)st->st_size;
	file->modified = modified(st);
	memcpy(file->path, path, length);
	rc = table_add(&adder, &file->entry);
	if (!rc)
		rc = table_add_end(&adder);
	return end(adder.tx, rc);
}

int index_file(struct session *s, const char *path, const struct stat *st, struct file **file)
{
	size_t length = strlen(path);
	uint64_t hash = table_hash(path, length);
	struct table *files = &s->index->files;
	int rc = 0;

	*file = (struct file *)table_find(s->heap, files, hash, path, length);
	if (!*file) {
		rc = make_file(s, path, st);
		*file = (struct file *)table_find(s->heap, files, hash, path, length);
	} else if (!(*file)->done && (*file)->position == 0 && index_file_changed(*file, st)) {
		rc = restamp(s, *file, st);
	}
	return rc;
}

/* A posting of the transaction's own; NULL on error. */
static struct posting *make_posting(const struct table_adder *adder, const struct file *file,
				    pheap_ref next, uint64_t count)
{
	struct posting *posting = pheap_tx_alloc(adder->tx, sizeof(*posting));

	if (!posting)
		return NULL;
	posting->next.ref = next;
	posting->file = pheap_ref_of(adder->heap, file);
	posting->number = file->number;
	posting->count = count;
	return posting;
}

static int make_word(struct table_adder *adder, const struct file *file,
		     const struct batch_item *item, const char *text)
{
	struct posting *posting = make_posting(adder, file, PHEAP_NULL, item->count);
	struct word *word;

	if (!posting)
		return -errno;
	word = pheap_tx_alloc(adder->tx, sizeof(*word) + item->length);
	if (!word)
		return -errno;
	word->entry = (struct entry){item->hash, (uint32_t)item->length, sizeof(*word)};
	word->count = item->count;
	word->postings = pheap_ref_of(adder->heap, posting);
	memcpy(word->text, text, item->length);
	return table_add(adder, &word->entry);
}

/* Postings lie in falling order of their files, so that the newest is found at once. */
static int count_posting(const struct table_adder *adder, const struct file *file,
			 struct word *word, uint64_t count)
{
	pheap_ref *slot = &word->postings;
	struct posting *posting;

	while ((posting = pheap_ptr(adder->heap, *slot)) && posting->number > file->number)
		slot = &posting->next.ref;
	if (posting && posting->number == file->number)
		return pheap_tx_set(adder->tx, &posting->count, posting->count + count);
	posting = make_posting(adder, file, *slot, count);
	if (!posting)
		return -errno;
	return pheap_tx_set(adder->tx, slot, pheap_ref_of(adder->heap, posting));
}

static int count_word(struct table_adder *adder, const struct file *file,
		      const struct batch_item *item, const char *text)
{
	struct word *word = (struct word *)table_find(adder->heap, adder->table, item->hash, text,
						      item->length);
	int rc;

	if (!word)
		return make_word(adder, file, item, text);
	rc = pheap_tx_set(adder->tx, &word->count, word->count + item->count);
	return rc ? rc : count_posting(adder, file, word, item->count);
}

static int count_batch(struct session *s, struct table_adder *adder, struct file *file,
		       const struct batch *batch)
{
	uint64_t *occurrences = &s->index->occurrences;
	int rc = 0;

	for (size_t i = 0; !rc && i < batch->n; i++)
		rc = count_word(adder, file, &batch->items[i], batch->text + batch->items[i].text);
	if (!rc)
		rc = table_add_end(adder);
	if (!rc)
		rc = pheap_tx_set(adder->tx, occurrences, *occurrences + batch->words);
	return rc;
}

int index_commit(struct session *s, struct file *file, uint64_t position, struct batch *batch)
{
	struct table_adder adder = {.heap = s->heap, .table = &s->index->words};
	int rc = table_reserve(s->heap, adder.table, batch->n);

	if (rc)
		return rc;
	adder.tx = pheap_tx_begin(s->heap);
	if (!adder.tx)
		return -errno;
	rc = count_batch(s, &adder, file, batch);
	if (!rc)
		rc = pheap_tx_set(adder.tx, &file->position, position);
	pause_before_commit(s);
	batch_empty(batch);
	return end(adder.tx, rc);
}

int index_finish(struct session *s, struct file *file, uint64_t position)
{
	struct totals *done = &s->index->done;
	const struct pheap_range ranges[] = {
		{&file->position, sizeof(file->position)},
		{&file->done, sizeof(file->done)},
		{done, sizeof(*done)},
	};
	pheap_tx_t *tx = pheap_tx_begin(s->heap);
	int rc;

	if (!tx)
		return -errno;
	rc = pheap_tx_snapshotv(tx, ranges, sizeof(ranges) / sizeof(ranges[0]));
	if (rc)
		return end(tx, rc);
	file->position = position;
	file->done = 1;
	done->files++;
	done->bytes += position;
	pause_before_commit(s);
	return end(tx, 0);
}
