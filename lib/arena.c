/*
 * arena.c - bump allocation in blocks; sealing and dropping them as a whole.
 *
 * A block is an object of a heap, or of DRAM, that begins with a struct ph_block. While
 * an arena is being filled its blocks are chained by address; sealing turns the
 * addresses into references and publishes all blocks in one transaction. What is on
 * media of an arena are the blocks and their chain, nothing else, so an unsealed one
 * leaves nothing behind. The layout of a block is in docs/format.md.
 *
 * PROTOCOL of sealing, by pheap_tx_commit(), which owns every flush and fence of it
 *   1 fill, and turn addresses into references, with plain stores in memory that
 *     nothing on media says is taken          nothing
 *   2 flush all blocks, FENCE                 durable, but nobody's
 *   3 one record: their bits, the slot        all of it, by replay
 * Dropping is one record: the bits and the slot cleared.
 *
 * Uses little below the public interface.
 */
#include <pheap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "error.h"
#include "tx/tx.h"

#define BLOCK_MAX ((size_t)1 << 30)

/* "arenablk", so that a reference to something else is noticed. */
#define BLOCK_MAGIC UINT64_C(0x6b6c62616e657261)

static struct ph_block *next_of(const struct ph_block *block)
{
	return (struct ph_block *)(uintptr_t)block->next;
}

static void push(struct ph_block **list, struct ph_block *block)
{
	block->next = (uintptr_t)*list;
	*list = block;
}

/* ---- blocks of DRAM --------------------------------------------------------------- */

/*
 * Blocks of arenas that are gone, for the next ones. The lock is only tried: who does
 * not get it asks malloc, so the child of a fork is never stuck.
 */
#define CACHE_BYTES ((size_t)16 << 20)
#define CACHE_BINS 8u

static struct {
	pthread_mutex_t lock;
	size_t bytes;
	struct bin {
		size_t size;
		struct ph_block *first;
	} bin[CACHE_BINS];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The bin of blocks of a size, or one without blocks; NULL where all have others. */
static struct bin *cache_bin(size_t size)
{
	struct bin *empty = NULL;

	for (unsigned i = 0; i < CACHE_BINS; i++) {
		if (!cache.bin[i].first)
			empty = &cache.bin[i];
		else if (cache.bin[i].size == size)
			return &cache.bin[i];
	}
	if (empty)
		empty->size = size;
	return empty;
}

static struct ph_block *cache_take(size_t size)
{
	struct ph_block *block = NULL;
	struct bin *bin;

	if (pthread_mutex_trylock(&cache.lock))
		return NULL;
	bin = cache_bin(size);
	if (bin && (block = bin->first)) {
		bin->first = next_of(block);
		cache.bytes -= size;
	}
	pthread_mutex_unlock(&cache.lock);
	return block;
}

/* A chain of n blocks of one size, all of it or nothing. */
static bool cache_give(struct ph_block *first, struct ph_block *last, size_t n, size_t size)
{
	struct bin *bin = NULL;

	if (n > CACHE_BYTES / size || pthread_mutex_trylock(&cache.lock))
		return false;
	if (cache.bytes + n * size <= CACHE_BYTES && (bin = cache_bin(size))) {
		last->next = (uintptr_t)bin->first;
		bin->first = first;
		cache.bytes += n * size;
	}
	pthread_mutex_unlock(&cache.lock);
	return bin != NULL;
}

/* ---- blocks ------------------------------------------------------------------------- */

static struct ph_block *new_block(struct pheap_arena *arena, size_t size)
{
	struct ph_block *block;

	if (arena->heap) {
		block = pheap_alloc(arena->heap, size);
	} else {
		block = size == arena->block_size ? cache_take(size) : NULL;
		if (!block)
			block = aligned_alloc(64, size);
		if (!block)
			return ph_null(ENOMEM, "an arena found no memory for a block of %zu bytes",
				       size);
	}
	if (block)
		*block = (struct ph_block){.magic = BLOCK_MAGIC, .size = size};
	return block;
}

void ph_arena_give_back(struct pheap_arena *arena, struct ph_block *block)
{
	if (arena->heap)
		pheap_free(arena->heap, block);
	else
		free(block);
}

static void give_back_all(struct pheap_arena *arena, struct ph_block *block)
{
	for (struct ph_block *next; block; block = next) {
		next = next_of(block);
		ph_arena_give_back(arena, block);
	}
}

/* The free bytes of a block of the usual size. */
static void use(struct pheap_arena *arena, struct ph_block *block)
{
	arena->start = arena->free.next = (char *)(block + 1);
	arena->free.end = (char *)block + arena->block_size;
}

/* No block is current: the inline function finds no byte free. */
static void forget(struct pheap_arena *arena)
{
	arena->start = arena->free.next = arena->free.end = NULL;
	arena->usual = arena->oldest = arena->large = NULL;
	arena->nusual = arena->nlarge = arena->large_bytes = arena->handed_out = 0;
}

static bool add_usual(struct pheap_arena *arena)
{
	struct ph_block *block = arena->spare;

	if (block) {
		arena->spare = next_of(block);
		arena->nspare--;
	} else if (!(block = new_block(arena, arena->block_size))) {
		return false;
	}
	arena->handed_out += (size_t)(arena->free.next - arena->start);
	if (!arena->usual)
		arena->oldest = block;
	push(&arena->usual, block);
	arena->nusual++;
	use(arena, block);
	return true;
}

/* ---- create, destroy, reset ----------------------------------------------------------- */

int ph_arena_check_heap(const char *what, pheap_t *heap)
{
	struct pheap_info info = {.struct_size = sizeof(info)};
	int err;

	if (!heap)
		return ph_error(EINVAL, "%s: heap is NULL; without _in it is made in DRAM", what);
	err = pheap_get_info(heap, &info);
	if (err)
		return err;
	return info.readonly ? ph_error(EROFS, "%s: the heap is open read-only", what) : 0;
}

int ph_arena_init(struct pheap_arena *arena, const char *what, pheap_t *heap, size_t block_size)
{
	if (!block_size)
		block_size = PHEAP_ARENA_BLOCK;
	if (block_size < PHEAP_ARENA_BLOCK_MIN || block_size > BLOCK_MAX)
		return ph_error(EINVAL, "%s: blocks of %zu bytes; from %d to %zu, or 0 for %d",
				what, block_size, PHEAP_ARENA_BLOCK_MIN, BLOCK_MAX,
				PHEAP_ARENA_BLOCK);
	arena->heap = heap;
	arena->block_size = (block_size + 63) & ~(size_t)63;
	return 0;
}

void ph_arena_fini(struct pheap_arena *arena)
{
	if (arena->heap || !arena->usual ||
	    !cache_give(arena->usual, arena->oldest, arena->nusual, arena->block_size))
		give_back_all(arena, arena->usual);
	give_back_all(arena, arena->large);
	give_back_all(arena, arena->spare);
}

static pheap_arena_t *create(const char *what, pheap_t *heap, size_t block_size)
{
	struct pheap_arena *arena = calloc(1, sizeof(*arena));
	int err;

	if (!arena)
		return ph_null(ENOMEM, "%s: no memory", what);
	err = ph_arena_init(arena, what, heap, block_size);
	if (!err)
		return arena;
	free(arena);
	return ph_null_code(err);
}

PHEAP_API pheap_arena_t *pheap_arena_create(size_t block_size)
{
	return create("pheap_arena_create", NULL, block_size);
}

PHEAP_API pheap_arena_t *pheap_arena_create_in(pheap_t *heap, size_t block_size)
{
	int err = ph_arena_check_heap("pheap_arena_create_in", heap);

	return err ? ph_null_code(err) : create("pheap_arena_create_in", heap, block_size);
}

PHEAP_API void pheap_arena_destroy(pheap_arena_t *arena)
{
	if (!arena)
		return;
	ph_arena_fini(arena);
	free(arena);
}

PHEAP_API void pheap_arena_reset(pheap_arena_t *arena)
{
	if (!arena)
		return;
	give_back_all(arena, arena->large);
	if (arena->usual) {
		arena->oldest->next = (uintptr_t)arena->spare;
		arena->spare = arena->usual;
		arena->nspare += arena->nusual;
	}
	forget(arena);
}

/* ---- allocation --------------------------------------------------------------------------- */

static char *align_up(char *p, size_t alignment)
{
	return p + (-(uintptr_t)p & (alignment - 1));
}

/* From the current block; NULL where it does not have so much. */
static void *bump(struct pheap_arena *arena, size_t size, size_t alignment)
{
	size_t left = (size_t)(arena->free.end - arena->free.next);
	size_t skip = -(uintptr_t)arena->free.next & (alignment - 1);
	char *object;

	if (skip > left || size > left - skip)
		return NULL;
	object = arena->free.next + skip;
	arena->free.next = object + ((size + 7) & ~(size_t)7);
	return object;
}

struct ph_block *ph_arena_large(struct pheap_arena *arena, size_t size, size_t alignment,
				void **object)
{
	/* What is behind a head is at a multiple of 32. */
	size_t slack = alignment > sizeof(struct ph_block) ? alignment : 0;
	size_t bytes = (sizeof(struct ph_block) + slack + size + 63) & ~(size_t)63;
	struct ph_block *block = new_block(arena, bytes);

	if (block)
		*object = align_up((char *)(block + 1), alignment);
	return block;
}

static void *alloc_large(struct pheap_arena *arena, size_t size, size_t alignment)
{
	void *object;
	struct ph_block *block = ph_arena_large(arena, size, alignment, &object);

	if (!block)
		return NULL;
	push(&arena->large, block);
	arena->nlarge++;
	arena->large_bytes += block->size;
	arena->handed_out += block->size - sizeof(*block);
	return object;
}

int ph_arena_check_request(const char *what, size_t size, size_t alignment)
{
	if (!alignment || alignment & (alignment - 1) || alignment > PHEAP_ARENA_ALIGN_MAX)
		return ph_error(EINVAL, "%s: alignment %zu is not a power of two up to %d", what,
				alignment, PHEAP_ARENA_ALIGN_MAX);
	if (!size)
		return ph_error(EINVAL, "%s: size is 0", what);
	if (size > PHEAP_MAX_SIZE)
		return ph_error(ENOMEM, "%s: %zu bytes are more than there can be", what, size);
	return 0;
}

PHEAP_API void *pheap_arena_alloc_aligned(pheap_arena_t *arena, size_t size, size_t alignment)
{
	void *object;
	int err;

	if (!arena)
		return ph_null(EINVAL, "pheap_arena_alloc: arena is NULL");
	err = ph_arena_check_request("pheap_arena_alloc", size, alignment);
	if (err)
		return ph_null_code(err);
	if (alignment < 8)
		alignment = 8;
	object = bump(arena, size, alignment);
	if (object)
		return object;
	if (ph_arena_is_large(arena, size, alignment))
		return alloc_large(arena, size, alignment);
	return add_usual(arena) ? bump(arena, size, alignment) : NULL;
}

PHEAP_API void *pheap_arena_alloc_slow(pheap_arena_t *arena, size_t size)
{
	return pheap_arena_alloc_aligned(arena, size, 8);
}

/* ---- figures ----------------------------------------------------------------------------------
 */

PHEAP_API size_t pheap_arena_memory_usage(const pheap_arena_t *arena)
{
	return arena ? sizeof(*arena) + (arena->nusual + arena->nspare) * arena->block_size +
			       arena->large_bytes
		     : 0;
}

PHEAP_API size_t pheap_arena_total_allocated(const pheap_arena_t *arena)
{
	return arena ? arena->handed_out + (size_t)(arena->free.next - arena->start) : 0;
}

PHEAP_API size_t pheap_arena_blocks(const pheap_arena_t *arena)
{
	return arena ? arena->nusual + arena->nlarge : 0;
}

/* ---- sealed arenas ------------------------------------------------------------------------------
 */

static bool inside(const struct ph_block *list, const void *addr)
{
	for (; list; list = next_of(list))
		if ((uintptr_t)addr - (uintptr_t)(list + 1) < list->size - sizeof(*list))
			return true;
	return false;
}

/* The transaction owns the blocks, and their first one goes into the slot at commit. */
static int put_into(pheap_tx_t *tx, struct pheap_arena *arena, struct ph_block *first,
		    pheap_ref *slot)
{
	int err = 0;

	for (struct ph_block *block = first; block && !err; block = next_of(block))
		err = pheap_tx_adopt(tx, block);
	return err ? err : pheap_tx_set(tx, slot, pheap_ref_of(arena->heap, first));
}

/* Addresses become references. */
static void link_by_reference(pheap_t *heap, struct ph_block *block)
{
	for (struct ph_block *next; block; block = next) {
		next = next_of(block);
		block->next = pheap_ref_of(heap, next);
	}
}

static int check_seal(const struct pheap_arena *arena, const pheap_ref *slot, const void *root)
{
	if (!arena || !arena->heap)
		return ph_error(EINVAL,
				"pheap_arena_seal: this is no arena in a heap: make it with "
				"pheap_arena_create_in()");
	if (arena->heap->traced)
		return ph_error(ENOTSUP,
				"pheap_arena_seal: a traced heap finds objects by their types, "
				"and what is in an arena has none");
	if (!slot)
		return ph_error(EINVAL, "pheap_arena_seal: slot is NULL");
	if (!arena->usual && !arena->large)
		return ph_error(EINVAL, "pheap_arena_seal: the arena is empty");
	if (root && !inside(arena->usual, root) && !inside(arena->large, root))
		return ph_error(EINVAL, "pheap_arena_seal: root %p is not in the arena", root);
	return 0;
}

/*
 * All that can be refused is asked for before the chain is made one of references:
 * until then the blocks are the arena's again after an error.
 */
PHEAP_API int pheap_arena_seal(pheap_arena_t *arena, pheap_ref *slot, const void *root)
{
	int err = check_seal(arena, slot, root);
	struct ph_block *first;
	pheap_tx_t *tx;

	if (err)
		return err;
	tx = pheap_tx_begin(arena->heap);
	if (!tx)
		return -errno;
	first = arena->usual ? arena->usual : arena->large;
	if (arena->usual)
		arena->oldest->next = (uintptr_t)arena->large;
	first->root = pheap_ref_of(arena->heap, root);
	err = put_into(tx, arena, first, slot);
	if (!err && *slot)
		err = ph_error(EEXIST, "pheap_arena_seal: the slot at %p is not null",
			       (void *)slot);
	if (err) {
		if (arena->usual)
			arena->oldest->next = 0;
		ph_tx_disown(tx);
		pheap_tx_abort(tx);
		return err;
	}
	link_by_reference(arena->heap, first);
	forget(arena);
	return pheap_tx_commit(tx);
}

/* The block that a reference leads to; NULL where there is none. */
static struct ph_block *sealed_block(pheap_t *heap, const char *what, pheap_ref ref)
{
	struct ph_block *block = pheap_ptr(heap, ref);

	if (block && pheap_usable_size(heap, block) >= sizeof(*block) &&
	    block->magic == BLOCK_MAGIC)
		return block;
	return ph_null(EINVAL, "%s: the reference %#llx does not lead to a sealed arena", what,
		       (unsigned long long)ref);
}

PHEAP_API void *pheap_arena_root(pheap_t *heap, pheap_ref ref)
{
	struct ph_block *block = heap ? sealed_block(heap, "pheap_arena_root", ref) : NULL;

	if (!heap)
		return ph_null(EINVAL, "pheap_arena_root: heap is NULL");
	errno = block ? 0 : errno;
	return block ? pheap_ptr(heap, block->root) : NULL;
}

/* A chain that runs into itself ends at a block that is being freed already. */
static int free_chain(pheap_tx_t *tx, pheap_t *heap, pheap_ref ref)
{
	int err = 0;

	while (ref && !err) {
		struct ph_block *block = sealed_block(heap, "pheap_arena_drop", ref);

		if (!block)
			return -EINVAL;
		ref = block->next;
		err = pheap_tx_free(tx, block);
	}
	return err;
}

PHEAP_API int pheap_arena_drop(pheap_t *heap, pheap_ref *slot)
{
	pheap_tx_t *tx;
	pheap_ref ref;
	int err;

	if (!heap || !slot)
		return ph_error(EINVAL, "pheap_arena_drop: %s is NULL", heap ? "slot" : "heap");
	ref = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	if (!ref)
		return ph_error(ENOENT, "pheap_arena_drop: the slot at %p is null", (void *)slot);
	tx = pheap_tx_begin(heap);
	if (!tx)
		return -errno;
	err = free_chain(tx, heap, ref);
	if (!err)
		err = pheap_tx_set(tx, slot, PHEAP_NULL);
	if (!err)
		return pheap_tx_commit(tx);
	pheap_tx_abort(tx);
	return err;
}
