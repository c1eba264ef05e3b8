/*
 * volatile.c - the memory of volatile heaps. See volatile.h.
 */
#include "volatile.h"

#include "alloc/debug.h"
#include "alloc/decay.h"
#include "memory.h"

#define HUGE_PAGE ((uint64_t)2 << 20)
#define KNOWN_FLAGS                                                                       \
	((unsigned)(PHEAP_HUGE_PAGES | PHEAP_HUGETLB | PHEAP_PREFAULT | PHEAP_BIND_NODE | \
		    PHEAP_PURGE))

static const struct pheap_memory none;

int ph_volatile_check(const char *what, const struct pheap_memory *memory)
{
	if (!memory)
		return 0;
	if (memory->struct_size != sizeof(*memory))
		return ph_error(EINVAL,
				"%s: memory->struct_size is %zu, not %zu: set it to sizeof(struct "
				"pheap_memory)",
				what, memory->struct_size, sizeof(*memory));
	if (memory->flags & ~KNOWN_FLAGS)
		return ph_error(EINVAL, "%s: unknown flags %#x in memory->flags", what,
				memory->flags & ~KNOWN_FLAGS);
	if (!memory->get != !memory->put)
		return ph_error(EINVAL, "%s: memory->get and memory->put go together", what);
	if (!memory->get && (memory->commit || memory->purge))
		return ph_error(EINVAL, "%s: memory->commit and purge need get and put", what);
	if (memory->flags & PHEAP_HUGETLB && memory->flags & PHEAP_PURGE)
		return ph_error(EINVAL, "%s: pages of PHEAP_HUGETLB cannot be purged", what);
	if (memory->flags & (PHEAP_HUGETLB | PHEAP_HUGE_PAGES | PHEAP_BIND_NODE) && memory->get)
		return ph_error(EINVAL,
				"%s: memory->get is to see to huge pages and nodes by itself",
				what);
	return ph_debug_check_options(what, memory->debug);
}

static int get_memory(struct pheap *heap, uint64_t size, const struct pheap_memory *memory)
{
	heap->source = (struct ph_source){.commit = memory->commit,
					  .purge = memory->purge,
					  .put = memory->put,
					  .arg = memory->arg};
	heap->file.fd = -1;
	heap->file.size = size;
	heap->file.base = memory->get(memory->arg, size);
	if (!heap->file.base)
		return ph_error(ENOMEM, "memory->get has no %llu bytes", (unsigned long long)size);
	heap->file.source = &heap->source;
	if ((uintptr_t)heap->file.base % PM_GRANULE)
		return ph_error(EINVAL, "memory->get: %p is no multiple of 65536",
				(void *)heap->file.base);
	return 0;
}

int ph_volatile_map(struct pheap *heap, uint64_t size, const struct pheap_memory *memory)
{
	int err;

	memory = memory ? memory : &none;
	if (memory->get)
		return get_memory(heap, size, memory);
	if (memory->flags & PHEAP_HUGETLB)
		size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	err = ph_memory_anonymous(&heap->file, size, memory->flags & PHEAP_HUGETLB);
	return err ? err
		   : ph_memory_advise("pheap_create", heap->file.base, size, memory->flags,
				      memory->node);
}

int ph_volatile_start(struct pheap *heap, const struct pheap_memory *memory)
{
	struct ph_zone *zone = &heap->zone;
	int err;

	memory = memory ? memory : &none;
	if (memory->debug) {
		err = ph_debug_start(heap, memory->debug, !memory->get);
		if (err)
			return err;
	}
	if (memory->limit)
		zone->limit = memory->limit / PM_GRANULE;
	if (memory->flags & PHEAP_PURGE)
		ph_decay_start(heap, memory->purge_after);
	return memory->flags & PHEAP_PREFAULT
		       ? ph_memory_prefault("pheap_create", ph_at(heap, zone->data), zone->bytes)
		       : 0;
}
