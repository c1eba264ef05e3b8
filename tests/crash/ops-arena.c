/*
 * ops-arena.c - arenas in the heap. What a sealed one looks like on media is in
 * docs/format.md; it is made here from the calls, block by block.
 */
#include <errno.h>
#include <string.h>

#include "ops.h"
#include "random.h"

/* The head of a block: magic, link, bytes, root. */
#define LINK_AT 8u
static const char magic[8] = "arenablk";

static struct model_object *new_block(struct run *run, uint64_t size)
{
	struct model_object *object = model_pattern(&run->store, size, 0);

	object->linked = true;
	object->link_at = LINK_AT;
	object->known = PHEAP_ARENA_BLOCK_HEAD;
	memset(object->bytes, 0, PHEAP_ARENA_BLOCK_HEAD);
	memcpy(object->bytes, magic, sizeof(magic));
	memcpy(object->bytes + 16, &size, sizeof(size));
	return object;
}

static void forget(struct arena *a)
{
	a->n = a->usual = 0;
	a->root = NULL;
}

void arena_begin(struct run *run, struct arena *a, size_t block_size)
{
	*a = (struct arena){.block_size = block_size};
	if (!op_begin(run, "arena", block_size, 0))
		return;
	a->arena = pheap_arena_create_in(run->heap, block_size);
	op_end(run, a->arena ? 0 : -errno);
}

/* The block that an object came from: the one that it continues, or a new one. */
static struct arena_block *block_of(struct run *run, struct arena *a, char *ptr, size_t size)
{
	size_t head = PHEAP_ARENA_BLOCK_HEAD, bytes = a->block_size;
	struct arena_block *block;

	for (unsigned i = 0; i < a->n; i++)
		if (!a->block[i].large && a->block[i].base + a->block[i].object->known == ptr)
			return &a->block[i];
	if (a->n == ARENA_BLOCKS) {
		run_fail(run, "the test fills too many blocks");
		return NULL;
	}
	block = &a->block[a->n++];
	block->large = size + 8 > (a->block_size - head) / 4;
	if (block->large)
		bytes = (head + size + 63) & ~(size_t)63;
	block->base = ptr - head;
	block->object = new_block(run, bytes);
	a->usual += !block->large;
	run_absorb(run, block->base, head);
	if (model_overlap(run->heap, &run->now, block->base, bytes))
		run_fail(run, "a block of an arena overlaps a published object");
	return block;
}

static bool add(struct run *run, struct arena *a, size_t size)
{
	struct arena_block *block;
	struct model_object *bytes;
	char *ptr;

	errno = 0;
	ptr = pheap_arena_alloc(a->arena, size);
	block = ptr ? block_of(run, a, ptr, size) : NULL;
	if (!block)
		return false;
	bytes = model_pattern(&run->store, size, random_next(&run->random));
	memcpy(block->object->bytes + block->object->known, bytes->bytes, size);
	block->object->known += size;
	run_put(run, ptr, bytes->bytes, size);
	a->root = a->root ? a->root : ptr;
	return true;
}

bool arena_alloc(struct run *run, struct arena *a, size_t size, unsigned n)
{
	if (!a->arena || !op_begin(run, "arena_alloc", size, n))
		return false;
	while (n && !run->failed && add(run, a, size))
		n--;
	return op_end(run, n && !run->failed ? -errno : 0);
}

void arena_reset(struct run *run, struct arena *a)
{
	if (!op_begin(run, "arena_reset", a->n, 0))
		return;
	pheap_arena_reset(a->arena);
	forget(a);
	op_end(run, 0);
}

void arena_end(struct run *run, struct arena *a)
{
	(void)run; /* also of a run that has failed */
	pheap_arena_destroy(a->arena);
	*a = (struct arena){0};
}

/* The chain: blocks of the usual size, the newest first, then the others. */
static struct arena_block *in_order(struct arena *a, unsigned n)
{
	bool large = n >= a->usual;
	unsigned skip = large ? n - a->usual : n;

	for (unsigned i = a->n; i-- > 0;)
		if (a->block[i].large == large && skip-- == 0)
			return &a->block[i];
	return NULL;
}

static struct model_object *chain(struct run *run, struct arena *a)
{
	uint64_t root = pheap_ref_of(run->heap, a->root);
	struct model_object *first = NULL;

	for (unsigned n = a->n; n-- > 0;) {
		struct model_object *object = in_order(a, n)->object;

		object->next = first;
		first = object;
	}
	if (first)
		memcpy(first->bytes + 24, &root, sizeof(root));
	return first;
}

bool arena_seal(struct run *run, struct arena *a, unsigned slot)
{
	bool done;
	int err;

	if (!a->arena || !op_begin(run, "arena_seal", slot, a->n))
		return false;
	op_edit(run,
		&(struct model_edit){.kind = MODEL_SLOT, .index = slot, .object = chain(run, a)});
	op_go(run);
	err = pheap_arena_seal(a->arena, model_slot(run->heap, slot), a->root);
	for (unsigned i = 0; !err && i < a->n; i++)
		run_absorb(run, a->block[i].base, a->block[i].object->size);
	done = op_end(run, err);
	if (done && pheap_arena_root(run->heap, *model_slot(run->heap, slot)) != a->root)
		run_fail(run, "the root of a sealed arena is another one");
	if (done)
		forget(a);
	return done;
}

void op_drop_arena(struct run *run, unsigned slot)
{
	if (!op_begin(run, "arena_drop", slot, 0))
		return;
	op_edit(run, &(struct model_edit){.kind = MODEL_SLOT, .index = slot});
	op_go(run);
	op_end(run, pheap_arena_drop(run->heap, model_slot(run->heap, slot)));
}
