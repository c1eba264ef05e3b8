/*
 * place.c - which open heap an address lies in.
 *
 * Heaps are noted in a table that grows and never shrinks. There is no lock, so the child
 * of a fork never finds one taken. An entry belongs to whoever made its base TAKEN from
 * FREE, and is valid while its base is an address. Its other fields are stored before
 * that, and a reader looks at the base once more behind them, so it does not take those of
 * two heaps for one. Whoever asks for an address of a heap that is being closed gets
 * either answer.
 */
#include "place.h"

#include "dram.h"

#define FREE ((uintptr_t)0)
#define TAKEN ((uintptr_t)1)

struct entry {
	uintptr_t base; /* atomic, all of them */
	uint64_t size;
	struct pheap *heap;
};

#define ENTRIES 32u

static struct table {
	struct entry entry[ENTRIES];
	struct table *next; /* atomic */
} first;

static uint64_t changed; /* atomic */

/* The table after this one, made where there is none; NULL without memory. */
static struct table *table_after(struct table *table)
{
	struct table *next = __atomic_load_n(&table->next, __ATOMIC_ACQUIRE), *made;

	if (next)
		return next;
	made = ph_dram_zalloc(sizeof(*made));
	if (!made || __atomic_compare_exchange_n(&table->next, &next, made, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
		return made;
	ph_dram_free(made, sizeof(*made));
	return next;
}

/* An entry for the caller; NULL without memory. */
static struct entry *take_entry(void)
{
	for (struct table *table = &first; table; table = table_after(table)) {
		for (unsigned i = 0; i < ENTRIES; i++) {
			uintptr_t free = FREE;

			if (__atomic_compare_exchange_n(&table->entry[i].base, &free, TAKEN, false,
							__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				return &table->entry[i];
		}
	}
	return NULL;
}

/* The entry of the heap that addr lies in; NULL where there is none. */
static struct entry *find(uintptr_t addr, struct pheap **heap)
{
	for (struct table *table = &first; table;
	     table = __atomic_load_n(&table->next, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < ENTRIES; i++) {
			struct entry *entry = &table->entry[i];
			uintptr_t base = __atomic_load_n(&entry->base, __ATOMIC_ACQUIRE);
			uint64_t size = __atomic_load_n(&entry->size, __ATOMIC_ACQUIRE);

			if (base <= TAKEN || addr - base >= size)
				continue;
			*heap = __atomic_load_n(&entry->heap, __ATOMIC_ACQUIRE);
			if (__atomic_load_n(&entry->base, __ATOMIC_ACQUIRE) == base)
				return entry;
		}
	}
	return NULL;
}

int ph_place_add(struct pheap *heap)
{
	struct entry *entry = take_entry();

	if (!entry)
		return ph_error(ENOMEM, "no memory to note where the pool is mapped");
	__atomic_store_n(&entry->size, heap->view.size, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->heap, heap, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->base, (uintptr_t)heap->view.base, __ATOMIC_RELEASE);
	__atomic_add_fetch(&changed, 1, __ATOMIC_ACQ_REL);
	return 0;
}

void ph_place_remove(struct pheap *heap)
{
	struct pheap *found;
	struct entry *entry = find((uintptr_t)heap->view.base, &found);

	if (entry && found == heap) {
		__atomic_store_n(&entry->base, FREE, __ATOMIC_RELEASE);
		__atomic_add_fetch(&changed, 1, __ATOMIC_ACQ_REL);
	}
}

PHEAP_API pheap_t *pheap_heap_of(const void *addr)
{
	struct pheap *heap;

	if (find((uintptr_t)addr, &heap))
		return heap;
	return ph_null(EINVAL, "pheap_heap_of: %p is in no open heap", addr);
}

PHEAP_API const uint64_t *pheap_heaps_changed(void)
{
	return &changed;
}
