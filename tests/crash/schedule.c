/*
 * schedule.c - hand the right to run from thread to thread.
 *
 * One schedule at a time is under way in a process. Each thread has a semaphore, on which it
 * sleeps while it is not its turn; so all that they do is ordered by these semaphores.
 */
#include "schedule.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "lock.h"
#include "random.h"

/* Waits in vain, one after the other, that are a deadlock: every thread had many turns. */
#define VAIN_MAX 1000u
#define POINTS_MAX 10000000u

struct thread {
	pthread_t thread;
	sem_t turn;
	unsigned who;
	bool alive;
	unsigned rounds; /* of destructors */
};

static struct schedule *now;
static struct thread threads[SCHEDULE_THREADS];
static sem_t over;
static uint64_t vain, all_points, state;
static void (*work)(void *arg, unsigned who);
static void *work_arg;

static __thread struct thread *me;
static pthread_key_t exit_key;

int schedule_who(void)
{
	return me ? (int)me->who : -1;
}

/* The next thread that lives, in turn; NULL: there is no other. */
static struct thread *other(const struct thread *from)
{
	for (unsigned i = 1; i < now->threads; i++) {
		struct thread *thread = &threads[(from->who + i) % now->threads];

		if (thread->alive)
			return thread;
	}
	return NULL;
}

static bool make_way(void)
{
	struct thread *next = other(me);

	if (!next)
		return false;
	sem_post(&next->turn);
	sem_wait(&me->turn);
	return true;
}

/* Nobody can go on: this thread stops here, and so do the others. */
static void give_up(enum schedule_end end)
{
	now->end = end;
	sem_post(&over);
	for (;;)
		sem_wait(&me->turn);
}

/* ---- points -------------------------------------------------------------------- */

static bool preempted(void)
{
	if (now->one_in)
		return random_below(&state, now->one_in) == 0;
	for (unsigned i = 0; i < now->npreempt; i++)
		if (now->preempt[i] == now->points)
			return true;
	return false;
}

void schedule_point(enum schedule_what what)
{
	if (!me)
		return;
	vain = 0;
	if (++all_points > POINTS_MAX)
		give_up(SCHEDULE_LIVELOCK);
	if (!(now->kinds & 1u << what))
		return;
	now->points++;
	if (preempted())
		now->switches += make_way();
}

void schedule_wait(void)
{
	if (!me) {
		sched_yield();
		return;
	}
	if (++vain > VAIN_MAX)
		give_up(SCHEDULE_DEADLOCK);
	make_way();
}

/* In the place of lib/lock.c. */
void ph_lock_wait(unsigned try)
{
	(void)try;
	schedule_wait();
}

int schedule_mutex_lock(pthread_mutex_t *mutex)
{
	int err;

	if (!me)
		return pthread_mutex_lock(mutex);
	schedule_point(POINT_LOCK);
	while ((err = pthread_mutex_trylock(mutex)) == EBUSY)
		schedule_wait();
	return err;
}

/* ---- threads -------------------------------------------------------------------- */

/*
 * The library gives back what a thread has in a destructor of thread-specific data, which
 * is part of the schedule. Destructors run in rounds, as long as there is data, and the
 * library works in the last one; this one too, and behind it: in a round they run in
 * the order of their keys, and the key of a schedule is made when a heap is there already.
 */
static void leave(void *arg)
{
	struct thread *thread = arg, *next;

	if (++thread->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(exit_key, thread);
		return;
	}
	thread->alive = false;
	next = other(thread);
	me = NULL;
	sem_post(next ? &next->turn : &over);
}

static void *begin(void *arg)
{
	me = arg;
	pthread_setspecific(exit_key, me);
	sem_wait(&me->turn);
	work(work_arg, me->who);
	return NULL;
}

void schedule_run(struct schedule *schedule, void (*body)(void *arg, unsigned who), void *arg)
{
	if (pthread_key_create(&exit_key, leave))
		abort();
	now = schedule;
	now->end = SCHEDULE_DONE;
	now->points = now->switches = 0;
	vain = all_points = 0;
	state = schedule->seed;
	work = body;
	work_arg = arg;
	sem_init(&over, 0, 0);
	for (unsigned i = 0; i < schedule->threads; i++) {
		threads[i] = (struct thread){.who = i, .alive = true};
		sem_init(&threads[i].turn, 0, 0);
		if (pthread_create(&threads[i].thread, NULL, begin, &threads[i]))
			abort();
	}
	sem_post(&threads[schedule->first].turn);
	while (sem_wait(&over))
		;
	if (schedule->end != SCHEDULE_DONE)
		return;
	for (unsigned i = 0; i < schedule->threads; i++) {
		pthread_join(threads[i].thread, NULL);
		sem_destroy(&threads[i].turn);
	}
	sem_destroy(&over);
	pthread_key_delete(exit_key);
	now = NULL;
}

void schedule_print(const struct schedule *s, char *text, size_t room)
{
	int n = snprintf(text, room, "thread %u first, ", s->first + 1);

	if (s->one_in)
		n += snprintf(text + n, room - (size_t)n, "one in %u at random, seed %llu",
			      s->one_in, (unsigned long long)s->seed);
	else if (!s->npreempt)
		n += snprintf(text + n, room - (size_t)n, "no preemption");
	for (unsigned i = 0; !s->one_in && i < s->npreempt && (size_t)n < room; i++)
		n += snprintf(text + n, room - (size_t)n, "%s %llu",
			      i ? "," : "preempted at points", (unsigned long long)s->preempt[i]);
	if ((size_t)n < room)
		snprintf(text + n, room - (size_t)n, " of %llu%s", (unsigned long long)s->points,
			 s->kinds & 1u << POINT_ATOMIC ? ", atomic accesses too" : "");
}
