/*
 * scenario-basic.c - single operations: publish, retire, replace, resize, set,
 * write, persist, lists.
 */
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

unsigned scenario_scale = 1;

void setup_memory(struct run *run, int byte)
{
	const struct pm_zone *zone;
	char *image = malloc(run->rig->pool_size);
	uint64_t lane;

	op_create(run);
	op_close(run);
	if (!image)
		abort();
	memcpy(image, run->base, run->rig->pool_size);
	zone = (const struct pm_zone *)(const void *)(image + PM_ZONE_TABLE);
	memcpy(&lane, image + PM_LANE_TABLE, sizeof(lane));
	memset(image + zone->data, byte, lane - zone->data);
	sim_reset(run->sim, image);
	free(image);
	op_open(run);
}

void setup(struct run *run)
{
	if (!run->heap)
		op_create(run);
	op_table(run);
}

void setup_objects(struct run *run)
{
	setup(run);
	op_publish(run, 0, 64, 0);
	op_publish(run, 1, 256, 0);
	op_publish(run, 2, 1000, 0);
	op_publish(run, 3, 5120, 0);
}

static void publish(struct run *run)
{
	static const size_t size[] = {8, 64, 256, 257, 300, 5120, 102400};

	setup(run);
	for (unsigned i = 0; i < 7; i++)
		op_publish(run, i, size[i], 0);
	for (unsigned i = 0; i < 7; i++)
		op_publish(run, 10 + i, size[i], PHEAP_PERSISTED);
	op_misuse(run, 0);
	op_misuse(run, 40);
}

static void alloc_into(struct run *run)
{
	static const size_t size[] = {1, 24, 64, 256, 300, 5120, 70000};

	setup(run);
	for (unsigned i = 0; i < 7; i++)
		op_alloc_into(run, i, size[i], false);
	for (unsigned i = 0; i < 7; i++)
		op_alloc_into(run, 10 + i, size[i], true);
}

/* What is reserved at the crash is free again, and leaves nothing behind. */
static void reserve(struct run *run)
{
	static const size_t size[] = {8, 64, 300, 5120, 70000, 200000};
	int held[6];

	setup(run);
	for (unsigned i = 0; i < 6; i++)
		held[i] = op_reserve(run, size[i]);
	op_publish(run, 0, 64, 0);
	op_unreserve(run, held[1]);
	op_unreserve(run, held[4]);
	op_publish(run, 1, 70000, 0);
	op_realloc(run, held[2], 3000);
	op_realloc(run, held[5], 300000);
	op_zalloc(run, 5000);
	op_publish(run, 2, 300, 0);
	op_retire(run, 1);
	op_unreserve_all(run);
	op_set(run, 0);
}

static void retire(struct run *run)
{
	static const size_t size[] = {8, 64, 256, 300, 5120, 102400};

	setup(run);
	for (unsigned i = 0; i < 6; i++)
		op_publish(run, i, size[i], 0);
	for (unsigned i = 0; i < 6; i++)
		op_retire(run, i);
	op_publish(run, 0, 64, 0);
	op_retire(run, 0);
}

static void replace(struct run *run)
{
	static const size_t size[] = {64, 64, 128, 300, 70000, 5120, 8};

	setup(run);
	op_publish(run, 0, 64, 0);
	for (unsigned i = 0; i < 7; i++)
		op_replace(run, 0, size[i], i % 3 == 2 ? PHEAP_PERSISTED : 0);
}

static void resize(struct run *run)
{
	static const size_t size[] = {60, 64, 65, 300, 257, 5120, 70000, 140000, 66000, 100};

	setup(run);
	op_publish(run, 0, 64, 0);
	for (unsigned i = 0; i < 10; i++) {
		op_resize(run, 0, size[i]);
		op_write(run, 0, size[i] / 16 * 8, size[i] / 2 < 200 ? size[i] / 2 : 200);
	}
}

static void words(struct run *run)
{
	setup_objects(run);
	for (unsigned i = 0; i < 6; i++)
		op_set(run, i % 3);
	op_write(run, 0, 0, 64);
	op_write(run, 1, 3, 250);
	op_write(run, 1, 0, 256);
	op_write(run, 2, 512, 256);
	op_write(run, 3, 5, 1);
	op_write(run, 3, 4000, 100);
}

/* Plain stores to bytes that redo records wrote a moment ago, and the reverse. */
static void persist(struct run *run)
{
	setup_objects(run);
	op_set(run, 0);
	op_persist_word(run, 0);
	op_set(run, 0);
	op_persist_word(run, 1);
	op_set(run, 1);
	op_write(run, 2, 0, 128);
	op_persist(run, 2, 64, 128);
	op_write(run, 2, 100, 100);
	op_memcpy(run, 2, 0, 512);
	op_memcpy(run, 3, 8, 5000);
	op_write(run, 3, 0, 64);
	op_persist(run, 1, 0, 256);
	op_persist(run, 0, 0, 64);
}

/* The same memory again and again, with other sizes, never settled in between. */
static void reuse(struct run *run)
{
	static const size_t size[] = {64, 64, 16, 64, 128, 300, 64, 8, 5120, 300, 70000, 64};

	setup(run);
	for (unsigned i = 0; i < 12; i++) {
		op_publish(run, 0, size[i], 0);
		op_write(run, 0, 0, size[i] < 40 ? size[i] : 40);
		op_retire(run, 0);
		op_alloc_into(run, 1, size[i], i % 2);
		op_unreserve(run, op_reserve(run, size[i]));
		op_retire(run, 1);
	}
}

static void list(struct run *run)
{
	const unsigned a = FIRST_LIST, b = FIRST_LIST + 1;

	setup(run);
	for (unsigned i = 0; i < 4; i++)
		op_push(run, a, 24 + 60 * i);
	op_pop(run, a);
	op_push(run, b, 500);
	op_link(run, b, 64);
	op_unlink(run, b);
	op_link(run, b, 6000);
	op_unlink(run, b);
	while (run->now.slot[a] && !run->failed)
		op_pop(run, a);
	op_pop(run, b);
}

const struct scenario scenarios_basic[] = {
	{.name = "publish", .fn = publish, .nested = 400},
	{.name = "alloc-into", .fn = alloc_into, .nested = 400},
	{.name = "reserve", .fn = reserve, .nested = 400},
	{.name = "retire", .fn = retire, .nested = 400},
	{.name = "replace", .fn = replace, .nested = 400},
	{.name = "resize", .fn = resize, .nested = 400},
	{.name = "words", .fn = words, .nested = 400},
	{.name = "persist", .fn = persist, .nested = 400},
	{.name = "reuse", .fn = reuse, .every = 2, .nested = 400},
	{.name = "list", .fn = list, .nested = 400},
	{.name = NULL},
};
