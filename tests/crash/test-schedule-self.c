/*
 * test-schedule-self.c - the scheduler, and the worlds, by themselves; and controls: programs
 * and executions with a mistake must fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "concurrent.h"
#include "engine.h"
#include "random.h"
#include "schedule.h"
#include "worker.h"
#include "worlds.h"

#define ALL ((1u << POINT_KINDS) - 1)

/* ---- schedules ----------------------------------------------------------------------- */

static struct {
	char text[64];
	unsigned n;
	uint64_t counter;
	pthread_mutex_t a, b;
	pthread_key_t key;
} shared;

static void three_letters(void *arg, unsigned who)
{
	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		schedule_point(POINT_CALL);
		shared.text[shared.n++] = (char)((who ? 'a' : 'A') + i);
	}
}

static const char *letters(struct schedule *schedule)
{
	memset(shared.text, 0, sizeof(shared.text));
	shared.n = 0;
	schedule_run(schedule, three_letters, NULL);
	assert_int_equal(schedule->end, SCHEDULE_DONE);
	return shared.text;
}

/* What runs when is what the schedule says. */
static void order_of_threads(void **state)
{
	struct schedule none = {.threads = 2, .kinds = ALL};
	struct schedule second = {.threads = 2, .kinds = ALL, .first = 1};
	struct schedule twice = {.threads = 2, .kinds = ALL, .npreempt = 2, .preempt = {2, 4}};
	struct schedule other = {
		.threads = 2, .kinds = 1u << POINT_LOCK, .npreempt = 1, .preempt = {1}};
	struct schedule three = {.threads = 3, .kinds = ALL};

	(void)state;
	assert_string_equal(letters(&none), "ABCabc");
	assert_int_equal(none.points, 6);
	assert_int_equal(none.switches, 0);
	assert_string_equal(letters(&second), "abcABC");
	/* Points: A, then B makes way; a, then b makes way. */
	assert_string_equal(letters(&twice), "AaBCbc");
	assert_int_equal(twice.switches, 2);
	assert_string_equal(letters(&other), "ABCabc");
	assert_int_equal(other.points, 0);
	assert_int_equal(strlen(letters(&three)), 9);
}

static void same_seed_same_order(void **state)
{
	unsigned different = 0;
	char first[64];

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct schedule s = {.threads = 2, .kinds = ALL, .one_in = 2, .seed = seed};

		strcpy(first, letters(&s));
		assert_string_equal(first, letters(&s));
		s.seed += 100;
		different += strcmp(first, letters(&s)) != 0;
	}
	assert_true(different > 5);
}

static void count_in_two_steps(void *arg, unsigned who)
{
	uint64_t seen = shared.counter;

	(void)arg;
	(void)who;
	schedule_point(POINT_ATOMIC);
	shared.counter = seen + 1;
}

static void lost_update(void **state)
{
	struct schedule none = {.threads = 2, .kinds = ALL};
	struct schedule one = {.threads = 2, .kinds = ALL, .npreempt = 1, .preempt = {1}};

	(void)state;
	shared.counter = 0;
	schedule_run(&none, count_in_two_steps, NULL);
	assert_int_equal(shared.counter, 2);
	shared.counter = 0;
	schedule_run(&one, count_in_two_steps, NULL);
	assert_int_equal(shared.counter, 1);
}

static void count_locked(void *arg, unsigned who)
{
	schedule_mutex_lock(&shared.a);
	count_in_two_steps(arg, who);
	pthread_mutex_unlock(&shared.a);
}

/* Who finds the lock taken waits, whatever the schedule says. */
static void locks_are_respected(void **state)
{
	(void)state;
	for (uint64_t at = 1; at < 6; at++) {
		struct schedule s = {.threads = 2, .kinds = ALL, .npreempt = 1, .preempt = {at}};

		shared.counter = 0;
		schedule_run(&s, count_locked, NULL);
		assert_int_equal(s.end, SCHEDULE_DONE);
		assert_int_equal(shared.counter, 2);
	}
}

static void lock_crosswise(void *arg, unsigned who)
{
	pthread_mutex_t *first = who ? &shared.a : &shared.b;
	pthread_mutex_t *second = who ? &shared.b : &shared.a;

	(void)arg;
	schedule_mutex_lock(first);
	schedule_mutex_lock(second);
	pthread_mutex_unlock(second);
	pthread_mutex_unlock(first);
}

static void point_for_ever(void *arg, unsigned who)
{
	(void)arg;
	while (who)
		schedule_point(POINT_ATOMIC);
}

/* Threads are left behind: in a process of their own. */
static int end_of(struct schedule schedule, void (*body)(void *arg, unsigned who))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(60);
		schedule_run(&schedule, body, NULL);
		_exit((int)schedule.end);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void deadlock(void **state)
{
	struct schedule s = {.threads = 2, .kinds = ALL};
	unsigned found = 0;

	(void)state;
	assert_int_equal(end_of(s, lock_crosswise), SCHEDULE_DONE);
	for (s.npreempt = 1, s.preempt[0] = 1; s.preempt[0] <= 4; s.preempt[0]++)
		found += end_of(s, lock_crosswise) == SCHEDULE_DEADLOCK;
	assert_int_equal(found, 1);
	assert_int_equal(end_of((struct schedule){.threads = 2, .kinds = ALL}, point_for_ever),
			 SCHEDULE_LIVELOCK);
}

static void at_exit_of_thread(void *arg)
{
	(void)arg;
	count_in_two_steps(NULL, 0);
}

static void leave_something(void *arg, unsigned who)
{
	(void)arg;
	(void)who;
	pthread_setspecific(shared.key, &shared);
}

/* What a thread does when it ends belongs to the schedule. */
static void thread_exit(void **state)
{
	struct schedule s = {.threads = 2, .kinds = ALL, .npreempt = 1, .preempt = {1}};

	(void)state;
	shared.counter = 0;
	schedule_run(&s, leave_something, NULL);
	assert_int_equal(s.points, 2);
	assert_int_equal(shared.counter, 1); /* lost, as above */
}

/* ---- worlds ---------------------------------------------------------------------------- */

static void worlds_of_a_slot(void **state)
{
	struct model_store store = {0};
	struct model model = {.exists = true, .table = true}, found[WORLDS_MAX];
	struct operation publish = {.kind = W_PUBLISH}, retire = {.kind = W_RETIRE};
	static struct worlds worlds;

	(void)state;
	publish.object = model_pattern(&store, 64, 1);
	worlds_begin(&worlds, &store, &model);
	worlds_call(&worlds, 0, &publish);
	assert_int_equal(worlds_models(&worlds, found), 2); /* absent, or there */
	worlds_call(&worlds, 1, &retire);
	assert_int_equal(worlds_models(&worlds, found), 2);
	assert_true(worlds_return(&worlds, 0, 0));
	assert_int_equal(worlds_models(&worlds, found), 2); /* and retired, perhaps */
	assert_true(worlds_return(&worlds, 1, -ENOENT));    /* it was before the publish */
	assert_int_equal(worlds_models(&worlds, found), 1);
	assert_ptr_equal(found[0].slot[0], publish.object);

	worlds_call(&worlds, 0, &publish);
	assert_false(worlds_return(&worlds, 0, 0)); /* it is full */
	model_store_clear(&store);
}

/* ---- controls ------------------------------------------------------------------------------ */

static void two_steps(struct concurrent *c)
{
	c_publish_in_two_steps(c, 0, 64);
}

static void one_step(struct concurrent *c)
{
	c_publish(c, 0, 64, 0);
}

static void other_slot(struct concurrent *c)
{
	c_publish(c, 1, 64, 0);
	c_set(c, 0);
}

static void a_word(struct run *run)
{
	op_set(run, 15);
}

static void two_lanes(struct run *run)
{
	worker_do(run, 1, a_word);
	worker_do(run, 2, a_word);
}

static const struct program good = {.prepare = two_lanes, .body = {one_step, other_slot}};
static const struct program racy = {.prepare = two_lanes, .body = {one_step, two_steps}};
static const struct program unfenced = {
	.prepare = two_lanes, .body = {one_step, other_slot}, .no_fences = 2};

static void run_good(struct run *run)
{
	concurrent(run, &good);
}

static void run_racy(struct run *run)
{
	concurrent(run, &racy);
}

static void run_unfenced(struct run *run)
{
	concurrent(run, &unfenced);
}

static uint64_t failures(void (*fn)(struct run *run))
{
	const struct scenario scenario = {.name = "control", .fn = fn, .schedules = true};
	struct engine engine = {.seed = 1, .scale = 0.2, .jobs = 1, .quiet = true};
	struct report *report = engine_reports(1);
	uint64_t n;

	engine_run(&engine, &scenario, report);
	n = report->failures;
	assert_true(n || report->executions > 10);
	assert_true(n || report->fences == report->fences_explored);
	engine_reports_free(report, 1);
	return n;
}

static void mistakes_are_found(void **state)
{
	(void)state;
	assert_int_equal(failures(run_good), 0);
	assert_int_not_equal(failures(run_racy), 0);
	assert_int_not_equal(failures(run_unfenced), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_of_threads), cmocka_unit_test(same_seed_same_order),
		cmocka_unit_test(lost_update),	    cmocka_unit_test(locks_are_respected),
		cmocka_unit_test(deadlock),	    cmocka_unit_test(thread_exit),
		cmocka_unit_test(worlds_of_a_slot), cmocka_unit_test(mistakes_are_found),
	};

	pthread_mutex_init(&shared.a, NULL);
	pthread_mutex_init(&shared.b, NULL);
	pthread_key_create(&shared.key, at_exit_of_thread);
	return cmocka_run_group_tests_name("schedule-self", tests, NULL, NULL);
}
