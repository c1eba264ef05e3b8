/*
 * root.c - the unnamed root, and the table of named ones.
 *
 * MEDIA: the root table of layout.h. A name is 48 bytes in one line with its
 * reference; making or dropping one is one record.
 * LOCKS: heap.root_lock around looking a name up and committing the change.
 */
#include <pheap/pool.h>

#include "heap.h"
#include "tx/record.h"

static struct pm_root *root_at(struct pheap *heap, uint32_t i)
{
	return (struct pm_root *)(void *)ph_at(heap, PM_ROOTS) + i;
}

PHEAP_API pheap_ref *pheap_root(pheap_t *heap)
{
	return heap ? &root_at(heap, 0)->ref : ph_null(EINVAL, "pheap_root: the heap is NULL");
}

static int check_name(const char *what, const char *name)
{
	size_t n = name ? strnlen(name, PHEAP_ROOT_NAME_MAX) : 0;

	if (!n || n == PHEAP_ROOT_NAME_MAX)
		return ph_error(EINVAL, "%s: a root's name has 1 to %d bytes", what,
				PHEAP_ROOT_NAME_MAX - 1);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return ph_error(EINVAL, "%s: control character %#x in the name of a root",
					what, (unsigned char)name[i]);
	return 0;
}

static struct pm_root *lookup(struct pheap *heap, const char *name)
{
	for (uint32_t i = 1; i < PM_ROOT_SLOTS; i++)
		if (!strncmp(root_at(heap, i)->name, name, PHEAP_ROOT_NAME_MAX))
			return root_at(heap, i);
	return NULL;
}

static struct pm_root *unused(struct pheap *heap)
{
	for (uint32_t i = 1; i < PM_ROOT_SLOTS; i++)
		if (!root_at(heap, i)->name[0] && !root_at(heap, i)->ref)
			return root_at(heap, i);
	return NULL;
}

/* The whole name field in one record; the reference stays null. */
static int set_name(struct pheap *heap, struct pm_root *root, const char *name)
{
	char field[PHEAP_ROOT_NAME_MAX] = {0};
	struct ph_rec rec;
	int err;

	memcpy(field, name, strlen(name));
	ph_rec_init(&rec, heap, NULL);
	ph_rec_bytes(&rec, ph_off(heap, root->name), field, sizeof(field));
	/* It is null already; but so a snapshot of it is noticed, that could bring it back. */
	ph_rec_word(&rec, ph_off(heap, &root->ref), 0);
	err = ph_rec_lock(&rec);
	if (!err && root->ref) { /* only drop can get here with a reference */
		ph_rec_unlock(&rec);
		err = ph_error(EEXIST,
			       "pheap_drop_root: the root holds a reference: retire it first");
	} else if (!err) {
		err = ph_rec_commit(&rec);
	}
	ph_rec_fini(&rec);
	return err;
}

PHEAP_API pheap_ref *pheap_find_root(pheap_t *heap, const char *name)
{
	struct pm_root *root;
	int err = ph_heap_usable(heap, "pheap_find_root");

	if (!err)
		err = check_name("pheap_find_root", name);
	if (err)
		return ph_null_code(err);
	pthread_mutex_lock(&heap->root_lock);
	root = lookup(heap, name);
	pthread_mutex_unlock(&heap->root_lock);
	return root ? &root->ref : ph_null(ENOENT, "there is no root called \"%s\"", name);
}

PHEAP_API pheap_ref *pheap_named_root(pheap_t *heap, const char *name)
{
	struct pm_root *root = NULL;
	int err = ph_heap_usable(heap, "pheap_named_root");

	if (!err)
		err = check_name("pheap_named_root", name);
	if (err)
		return ph_null_code(err);
	pthread_mutex_lock(&heap->root_lock);
	root = lookup(heap, name);
	if (!root && !(err = ph_heap_writable(heap, "pheap_named_root"))) {
		root = unused(heap);
		err = root ? set_name(heap, root, name)
			   : ph_error(ENOSPC, "all %d named roots are in use", PHEAP_ROOTS_MAX);
	}
	pthread_mutex_unlock(&heap->root_lock);
	return err ? ph_null_code(err) : &root->ref;
}

PHEAP_API int pheap_drop_root(pheap_t *heap, const char *name)
{
	struct pm_root *root;
	int err = ph_heap_writable(heap, "pheap_drop_root");

	if (!err)
		err = check_name("pheap_drop_root", name);
	if (err)
		return err;
	pthread_mutex_lock(&heap->root_lock);
	root = lookup(heap, name);
	err = root ? set_name(heap, root, "")
		   : ph_error(ENOENT, "there is no root called \"%s\"", name);
	pthread_mutex_unlock(&heap->root_lock);
	return err;
}

PHEAP_API void *pheap_ptr_error(const pheap_t *heap, pheap_ref ref)
{
	return ph_null(EINVAL, "reference %#llx lies outside the pool of %llu bytes",
		       (unsigned long long)ref, (unsigned long long)heap->view.size);
}

PHEAP_API pheap_ref pheap_ref_error(const pheap_t *heap, const void *ptr)
{
	errno = -ph_error(EINVAL, "%p lies outside the pool at %p", ptr, (void *)heap->view.base);
	return PHEAP_NULL;
}
