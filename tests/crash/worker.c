/*
 * worker.c - hand over between threads.
 */
#include "worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct worker {
	pthread_t thread;
	sem_t go, done;
	struct run *run;
	void (*step)(struct run *run); /* NULL: end */
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		sem_wait(&worker->go);
		if (!worker->step)
			return NULL;
		worker->step(worker->run);
		sem_post(&worker->done);
	}
}

static struct worker *find(struct run *run, unsigned who)
{
	struct worker *worker = run->worker[who - 1];

	if (worker)
		return worker;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		abort();
	worker->run = run;
	sem_init(&worker->go, 0, 0);
	sem_init(&worker->done, 0, 0);
	if (pthread_create(&worker->thread, NULL, work, worker))
		abort();
	run->worker[who - 1] = worker;
	return worker;
}

void worker_do(struct run *run, unsigned who, void (*step)(struct run *run))
{
	struct worker *worker = find(run, who);

	if (run->sim)
		run->sim->cpu = who;
	worker->step = step;
	sem_post(&worker->go);
	sem_wait(&worker->done);
	if (run->sim)
		run->sim->cpu = 0;
}

void worker_end(struct run *run, unsigned who)
{
	struct worker *worker = run->worker[who - 1];

	if (!worker)
		return;
	run->blind = true;
	if (run->sim)
		run->sim->cpu = who;
	worker->step = NULL;
	sem_post(&worker->go);
	pthread_join(worker->thread, NULL);
	if (run->sim)
		run->sim->cpu = 0;
	run->blind = false;
	sem_destroy(&worker->go);
	sem_destroy(&worker->done);
	free(worker);
	run->worker[who - 1] = NULL;
}

void worker_end_all(struct run *run)
{
	for (unsigned who = 1; who <= RUN_WORKERS; who++)
		worker_end(run, who);
}
