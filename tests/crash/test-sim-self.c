/*
 * test-sim-self.c - the simulator itself, without the library: it must offer every
 * image that the failure model of persist.h allows, and no other; it must see what is
 * wrong with a small log whose order is wrong; and looking at images must not change what
 * the run does that they are of, here the library's creation of a pool.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cmocka.h>

#include "entropy.h"
#include "msync.h"
#include "ops.h"
#include "random.h"

#define SIZE 65536u

static struct sim *sim;
static struct scratch *scratch;
static const struct plan_limits all = {.exhaustive = 100000};

static int begin(void **state)
{
	(void)state;
	sim = sim_new(SIZE);
	scratch = scratch_new(sim);
	return 0;
}

static int end(void **state)
{
	(void)state;
	scratch_delete(scratch);
	sim_delete(sim);
	return 0;
}

/* What the library does: report, then store. */
static void store(uint64_t offset, uint64_t value)
{
	sim_hook.store(sim, sim->work + offset, &value, 8);
	memcpy(sim->work + offset, &value, 8);
}

static void copy_nt(uint64_t offset, const uint64_t *words, size_t n)
{
	sim_hook.copy_nt(sim, sim->work + offset, words, n * 8);
	memcpy(sim->work + offset, words, n * 8);
}

static void flush(uint64_t offset)
{
	sim_hook.flush(sim, sim->work + offset, 8);
}

static void fence(void)
{
	assert_int_equal(sim_hook.fence(sim), 0);
}

static uint64_t word(const char *image, uint64_t offset)
{
	uint64_t value;

	memcpy(&value, image + offset, 8);
	return value;
}

/* Is there an image in which every one of n words has the given value? */
struct want {
	uint64_t offset, value;
};

static bool possible(const struct want *want, size_t n)
{
	struct plan plan = {0};
	bool found = false;

	plan_make(&plan, sim, &all, 0, 1);
	assert_int_equal(plan.mode, PLAN_ALL);
	for (uint64_t i = 0; i < plan.images && !found; i++) {
		scratch_restore(scratch);
		plan_build(&plan, i, scratch);
		found = true;
		for (size_t k = 0; k < n; k++)
			found = found && word(scratch->mem, want[k].offset) == want[k].value;
	}
	plan_free(&plan);
	return found;
}

#define POSSIBLE(...)                                \
	possible((const struct want[]){__VA_ARGS__}, \
		 sizeof((const struct want[]){__VA_ARGS__}) / sizeof(struct want))

static uint64_t images(void)
{
	struct plan plan = {0};
	uint64_t n;

	plan_make(&plan, sim, &all, 0, 1);
	n = plan.images;
	plan_free(&plan);
	return n;
}

/* ---- P1: one line in order, two lines independent --------------------------------- */

static void test_order_in_line(void **state)
{
	(void)state;
	store(0, 1);
	store(8, 2);
	store(0, 3);
	assert_int_equal(images(), 4);
	assert_true(POSSIBLE({0, 0}, {8, 0}));
	assert_true(POSSIBLE({0, 1}, {8, 0}));
	assert_true(POSSIBLE({0, 1}, {8, 2}));
	assert_true(POSSIBLE({0, 3}, {8, 2}));
	assert_false(POSSIBLE({0, 0}, {8, 2}));
	assert_false(POSSIBLE({0, 3}, {8, 0}));
}

static void test_lines_independent(void **state)
{
	(void)state;
	store(0, 1);
	store(64, 2);
	assert_int_equal(images(), 4);
	assert_true(POSSIBLE({0, 0}, {64, 2}));
	assert_true(POSSIBLE({0, 1}, {64, 0}));
}

/* ---- P2: atoms ---------------------------------------------------------------------- */

static void test_atoms(void **state)
{
	uint64_t value = UINT64_C(0x0101010101010101);

	(void)state;
	store(0, value);
	assert_int_equal(images(), 2);
	/* The same bytes across two words: seven prefixes that tear it. */
	sim_user_store(sim, sim->work + 68, &value, 8);
	assert_int_equal(images(), 2 * 9);
	assert_true(POSSIBLE({64, UINT64_C(0x0000010100000000)}));
}

static void test_silent_stores(void **state)
{
	(void)state;
	store(0, 0);
	assert_int_equal(sim->ndirty, 0);
	store(0, 1);
	store(0, 1);
	assert_int_equal(images(), 2);
	store(0, 0); /* not silent: 1 may have arrived, and stayed */
	assert_int_equal(images(), 3);
}

/* ---- P3: flush and fence -------------------------------------------------------------- */

static void test_flush(void **state)
{
	(void)state;
	store(0, 1);
	flush(0);
	assert_true(POSSIBLE({0, 0}));
	store(8, 2);  /* after the flush: not covered */
	store(64, 3); /* never flushed */
	fence();
	assert_false(POSSIBLE({0, 0}));
	assert_true(POSSIBLE({0, 1}, {8, 0}, {64, 0}));
	assert_true(POSSIBLE({0, 1}, {8, 2}, {64, 3}));
	fence();
	assert_true(POSSIBLE({0, 1}, {8, 0}, {64, 0}));
	flush(0);
	flush(64);
	fence();
	assert_int_equal(images(), 1);
	assert_memory_equal(sim->work, sim->durable, SIZE);
}

static void test_fence_of_another(void **state)
{
	uint64_t nt = 5;

	(void)state;
	store(0, 1);
	flush(0);
	copy_nt(128, &nt, 1);
	sim->cpu = 1;
	fence();
	assert_true(POSSIBLE({0, 0}, {128, 0}));
	sim->cpu = 0;
	fence();
	assert_false(POSSIBLE({0, 0}));
	assert_false(POSSIBLE({128, 0}));
}

/* ---- P4: non-temporal words -------------------------------------------------------------- */

static void test_words(void **state)
{
	const uint64_t words[3] = {1, 2, 3};

	(void)state;
	copy_nt(64, words, 3);
	assert_int_equal(images(), 8);
	assert_true(POSSIBLE({64, 0}, {72, 2}, {80, 0}));
	fence();
	assert_int_equal(images(), 1);
	assert_true(POSSIBLE({64, 1}, {72, 2}, {80, 3}));
}

/* The order of a cached and a non-temporal store to one word is kept. */
static void test_words_over_stores(void **state)
{
	const uint64_t one = 1, two = 2;

	(void)state;
	store(0, 7);
	copy_nt(0, &one, 1);
	assert_true(POSSIBLE({0, 7}));
	assert_true(POSSIBLE({0, 1}));
	fence(); /* 7 was never flushed, and can no longer win */
	assert_false(POSSIBLE({0, 7}));

	copy_nt(8, &two, 1);
	store(8, 9);
	assert_true(POSSIBLE({8, 2}));
	assert_true(POSSIBLE({8, 9}));
	fence();
	assert_true(POSSIBLE({8, 2}));
	assert_false(POSSIBLE({8, 0}));
	flush(0);
	fence();
	assert_false(POSSIBLE({8, 2}));
	assert_true(POSSIBLE({0, 1}, {8, 9}));
}

/* ---- P5: pages, in sectors ------------------------------------------------------------- */

static uint64_t cut_images;
static bool cut_mixed;

/* In the middle of a write-back: of four dirty sectors any subset is there. */
static void in_write_back(void *arg, enum sim_event event)
{
	(void)arg;
	if (event != SIM_FENCE)
		return;
	cut_images = images();
	cut_mixed = POSSIBLE({0, 0}, {512, 2}, {1024, 0}, {4096, 4}) &&
		    POSSIBLE({0, 1}, {512, 0}, {1024, 3}, {4096, 0}) &&
		    !POSSIBLE({0, 1}, {64, 0}); /* one sector */
}

static void test_sectors(void **state)
{
	(void)state;
	sim->pages = true;
	store(0, 1);
	store(64, 1);
	store(512, 2);
	store(1024, 3);
	store(4096, 4);
	assert_int_equal(images(), 16);
	sim->event = in_write_back;
	msync_hook.flush(sim, sim->work + 600, 8);
	sim->event = NULL;
	assert_int_equal(cut_images, 16);
	assert_true(cut_mixed);
	/* The whole page is durable, the other one is not, and no fence was needed. */
	assert_int_equal(images(), 2);
	assert_true(POSSIBLE({0, 1}, {64, 1}, {512, 2}, {1024, 3}, {4096, 0}));
	assert_true(POSSIBLE({4096, 4}));
	assert_int_equal(msync_hook.fence(sim), 0);
	assert_int_equal(images(), 2);
}

/* A copy is stores, and its own write-back. */
static void test_msync_copy(void **state)
{
	const uint64_t words[] = {7, 8};

	(void)state;
	sim->pages = true;
	store(2048, 1);
	sim->event = in_write_back;
	msync_hook.copy_nt(sim, sim->work + 512, words, sizeof(words));
	sim->event = NULL;
	assert_int_equal(cut_images, 4);
	assert_int_equal(images(), 1);
	assert_true(POSSIBLE({512, 7}, {520, 8}, {2048, 1}));
	assert_int_equal(sim->unseen, 0);
	assert_int_equal(sim_unseen(sim), SIM_NOWHERE);
}

/* ---- stores that nobody reported ----------------------------------------------------------- */

static void test_unseen(void **state)
{
	(void)state;
	store(0, 1);
	assert_true(sim_unseen(sim) == SIM_NOWHERE);
	sim->work[5000] = 1;
	assert_int_equal(sim_unseen(sim), 5000);
	sim_absorb(sim, sim->work + 4992, 64);
	assert_true(sim_unseen(sim) == SIM_NOWHERE);
	assert_int_equal(images(), 4);
	sim->work[6000] = 1;
	sim_hook.flush(sim, sim->work + 6000, 1);
	assert_int_equal(sim->unseen, 1);
	assert_int_equal(sim->unseen_at, 6000 / 64 * 64);
	fence();
	assert_int_equal(sim->durable[6000], 1);
}

/* ---- plans --------------------------------------------------------------------------------- */

static uint64_t full_hash(const char *image)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < SIZE; at += 8)
		if (word(image, at))
			sum += sim_hash_word(at, word(image, at)) - sim_hash_word(at, 0);
	return sum;
}

static void make_mess(uint64_t seed, unsigned steps)
{
	uint64_t state = seed;

	for (unsigned i = 0; i < steps; i++) {
		uint64_t offset = random_below(&state, 24) * 24, value = random_next(&state);
		size_t length = 1 + random_below(&state, 24);

		switch (random_below(&state, 8)) {
		case 0:
			flush(offset);
			break;
		case 1:
			if (random_below(&state, 4) == 0)
				fence();
			break;
		case 2:
			copy_nt(offset, (const uint64_t[]){value, value + 1}, 2);
			break;
		default:
			sim_user_store(sim, sim->work + offset + value % 8,
				       (const uint64_t[]){value, ~value, value * 3}, length);
		}
	}
}

/* Hashes name images; going back leaves nothing behind; numbers name images. */
static void test_plans(void **state)
{
	const struct plan_limits limits = {.exhaustive = 64, .singles = 8, .samples = 40};
	struct plan plan = {0};

	(void)state;
	for (uint64_t seed = 1; seed < 40; seed++) {
		make_mess(seed, 30);
		plan_make(&plan, sim, &limits, sim->seq / 2, seed);
		for (uint64_t i = 0; i < plan.images; i++) {
			uint64_t hash;

			scratch_restore(scratch);
			assert_memory_equal(scratch->mem, sim->durable, SIZE);
			hash = plan_build(&plan, i, scratch);
			assert_true(hash == full_hash(scratch->mem));
			scratch_restore(scratch);
			assert_true(plan_build(&plan, i, scratch) == hash);
		}
		assert_true(sim->hash == full_hash(sim->durable));
	}
	plan_free(&plan);
}

static bool plan_has(struct plan *plan, uint64_t hash)
{
	for (uint64_t i = 0; i < plan->images; i++) {
		scratch_restore(scratch);
		if (plan_build(plan, i, scratch) == hash)
			return true;
	}
	return false;
}

/* A sampled plan has nothing, everything, each line alone and each missing. */
static void test_sampled_plan(void **state)
{
	const struct plan_limits limits = {.exhaustive = 50, .singles = 16, .samples = 5};
	struct plan plan = {0};
	char *image = malloc(SIZE);

	(void)state;
	assert_non_null(image);
	for (unsigned i = 0; i < 12; i++)
		store(i * 64, 100 + i);
	plan_make(&plan, sim, &limits, sim->seq, 1);
	assert_int_equal(plan.mode, PLAN_FRESH); /* nothing is fresh: one choice */
	assert_true(plan_has(&plan, full_hash(sim->durable)));
	assert_true(plan_has(&plan, full_hash(sim->work)));
	for (unsigned i = 0; i < 12; i++) {
		memcpy(image, sim->durable, SIZE);
		memcpy(image + i * 64, sim->work + i * 64, 64);
		assert_true(plan_has(&plan, full_hash(image)));
		memcpy(image, sim->work, SIZE);
		memcpy(image + i * 64, sim->durable + i * 64, 64);
		assert_true(plan_has(&plan, full_hash(image)));
	}
	/* Two lines of the operation itself: all four choices, with the rest absent. */
	plan_make(&plan, sim, &limits, 10, 1);
	memcpy(image, sim->durable, SIZE);
	memcpy(image + 10 * 64, sim->work + 10 * 64, 128);
	assert_true(plan_has(&plan, full_hash(image)));
	plan_free(&plan);
	free(image);
}

static void test_reset(void **state)
{
	char *image = malloc(SIZE);

	(void)state;
	assert_non_null(image);
	make_mess(5, 50);
	memcpy(image, sim->work, SIZE);
	sim_reset(sim, image);
	assert_memory_equal(sim->work, image, SIZE);
	assert_memory_equal(sim->durable, image, SIZE);
	assert_true(sim->hash == full_hash(image));
	assert_int_equal(images(), 1);
	assert_true(sim_unseen(sim) == SIM_NOWHERE);
	scratch_restore(scratch);
	assert_memory_equal(scratch->mem, image, SIZE);
	free(image);
}

/* ---- a toy log ------------------------------------------------------------------------------- */

/*
 * Two words in two lines must always be equal after recovery. A commit writes a redo
 * record {sum, left, right} in a third line, then the words in place, then takes the
 * record back.
 */
enum { LEFT = 0, RIGHT = 64, RECORD = 128 };

enum toy_error {
	TOY_RIGHT,
	TOY_NO_COMMIT_FENCE, /* in place before the record is durable */
	TOY_NO_FLUSH,	     /* record taken back before a word is durable */
	TOY_NO_APPLY_FENCE,  /* the same, by a missing fence */
	TOY_NO_SUM,	     /* a torn record is believed */
	TOY_ERRORS,
};

static uint64_t toy_sum(uint64_t value, enum toy_error error)
{
	return error == TOY_NO_SUM ? 1 : mix64(value) | 1;
}

static void toy_recover(char *image, enum toy_error error)
{
	uint64_t left = word(image, RECORD + 8), right = word(image, RECORD + 16);

	if (word(image, RECORD) != toy_sum(left + 3 * right, error))
		return;
	memcpy(image + LEFT, &left, 8);
	memcpy(image + RIGHT, &right, 8);
}

struct toy {
	enum toy_error error;
	uint64_t before, after; /* what may be found */
	unsigned wrong;
};

static void toy_event(void *arg, enum sim_event event)
{
	struct toy *toy = arg;
	struct plan plan = {0};

	(void)event;
	plan_make(&plan, sim, &all, 0, 1);
	for (uint64_t i = 0; i < plan.images; i++) {
		uint64_t left, right;

		scratch_restore(scratch);
		plan_build(&plan, i, scratch);
		pageset_add(scratch->dirty, 0, SIM_LINE * 3);
		toy_recover(scratch->mem, toy->error);
		left = word(scratch->mem, LEFT);
		right = word(scratch->mem, RIGHT);
		toy->wrong += left != right || (left != toy->before && left != toy->after);
	}
	plan_free(&plan);
}

static void toy_commit(struct toy *toy, uint64_t value)
{
	uint64_t record[3] = {toy_sum(4 * value, toy->error), value, value};

	toy->after = value;
	copy_nt(RECORD, record, 3);
	if (toy->error != TOY_NO_COMMIT_FENCE)
		fence();
	store(LEFT, value);
	store(RIGHT, value);
	flush(LEFT);
	if (toy->error != TOY_NO_FLUSH)
		flush(RIGHT);
	if (toy->error != TOY_NO_APPLY_FENCE)
		fence();
	store(RECORD, 0);
	flush(RECORD);
	fence();
	toy->before = value;
	toy_event(toy, SIM_FENCED);
}

static unsigned toy_run(enum toy_error error)
{
	struct toy toy = {.error = error};

	sim_reset(sim, NULL);
	sim->event = toy_event;
	sim->event_arg = &toy;
	toy_commit(&toy, 5);
	toy_commit(&toy, 6);
	sim->event = NULL;
	return toy.wrong;
}

static void test_toy(void **state)
{
	(void)state;
	assert_int_equal(toy_run(TOY_RIGHT), 0);
	for (unsigned error = TOY_RIGHT + 1; error < TOY_ERRORS; error++)
		assert_int_not_equal(toy_run(error), 0);
}

/* ---- entropy ----------------------------------------------------------------------------------
 */

static uint64_t draw(void)
{
	uint64_t number;

	assert_int_equal(getrandom(&number, sizeof(number), 0), sizeof(number));
	return number;
}

static void *draw_elsewhere(void *arg)
{
	entropy_seed(8);
	*(uint64_t *)arg = draw();
	return NULL;
}

static void test_entropy(void **state)
{
	uint64_t first, second, other;
	pthread_t thread;

	(void)state;
	entropy_seed(7);
	first = draw();
	second = draw();
	entropy_seed(7);
	assert_true(draw() == first);
	assert_int_equal(pthread_create(&thread, NULL, draw_elsewhere, &other), 0);
	pthread_join(thread, NULL);
	assert_true(draw() == second);
	entropy_seed(8);
	assert_true(draw() == other);
}

/* The epoch of a new pool, creation of which was crashed in one of so many points. */
static uint64_t created(uint32_t every, uint64_t *images_judged)
{
	struct policy policy = {.limits = {4, 2, 2},
				.nested_limits = {4, 2, 2},
				.brief = {1, 1, 1},
				.every = every,
				.nested_every = 8,
				.work = 2};
	struct report report = {0};
	struct run run;
	struct rig rig;
	uint64_t epoch;

	rig_init(&rig, "self", 5, UINT64_C(8) << 20, &report);
	rig.policy = policy;
	run_init(&run, &rig);
	op_create(&run);
	epoch = run.epoch;
	run_fini(&run);
	rig_fini(&rig);
	assert_int_equal(report.failures, 0);
	*images_judged = report.judged;
	return epoch;
}

/* What the images of a run draw must not change what it draws itself: it would be another
 * run when one of them is repeated, and draw an epoch that one of them had. */
static void test_undisturbed(void **state)
{
	uint64_t alone, crashed, none, some;

	(void)state;
	alone = created(0, &none);
	crashed = created(1, &some);
	assert_true(none == 0 && some > 0);
	assert_true(alone && alone == crashed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order_in_line), TEST(test_lines_independent),
		TEST(test_atoms),	  TEST(test_silent_stores),
		TEST(test_flush),	  TEST(test_fence_of_another),
		TEST(test_words),	  TEST(test_words_over_stores),
		TEST(test_sectors),	  TEST(test_msync_copy),
		TEST(test_unseen),	  TEST(test_plans),
		TEST(test_sampled_plan),  TEST(test_reset),
		TEST(test_toy),		  TEST(test_entropy),
		TEST(test_undisturbed),
	};

	return cmocka_run_group_tests_name("simulator", tests, NULL, NULL);
}
