/*
 * Work is a counter that everybody takes the next task from. A round begins when the caller raises
 * `round` under the lock and ends when every worker that joined has left: `joined` counts those
 * inside, so no worker can still hold an old round's task while a new one is set up.
 */
#include "engine/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

struct eng_workers {
	pthread_mutex_t lock;
	pthread_cond_t start, idle;
	uint64_t round;	 /* lock */
	uint32_t joined; /* lock */
	bool stop;	 /* lock */
	void (*task)(void *arg, size_t i, uint32_t worker);
	void *arg;
	size_t tasks;
	atomic_size_t next;
	uint32_t threads;
	uint32_t started;
	struct member {
		pthread_t thread;
		struct eng_workers *workers;
		uint32_t number;
	} members[]; // [threads - 1]
};

static void work(struct eng_workers *w, uint32_t number)
{
	size_t i;

	while ((i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed)) < w->tasks)
		w->task(w->arg, i, number);
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	struct eng_workers *w = m->workers;
	uint64_t seen = 0;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->stop && w->round == seen)
			pthread_cond_wait(&w->start, &w->lock);
		if (w->stop)
			break;
		seen = w->round;
		w->joined++;
		pthread_mutex_unlock(&w->lock);
		work(w, m->number);
		pthread_mutex_lock(&w->lock);
		if (--w->joined == 0)
			pthread_cond_signal(&w->idle);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Signals are for the program's own threads: members are born with all of them blocked. */
static bool start_members(struct eng_workers *w)
{
	sigset_t all, before;
	bool ok = true;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (ok && w->started + 1 < w->threads) {
		struct member *m = &w->members[w->started];

		m->workers = w;
		m->number = w->started + 1;
		ok = pthread_create(&m->thread, NULL, member_main, m) == 0;
		w->started += ok;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}

int eng_workers_open(uint32_t threads, struct eng_workers **out, struct lt_err *err)
{
	struct eng_workers *w;

	w = lt_alloc(1, sizeof(*w) + threads * sizeof(struct member));
	if (!w)
		return lt_fail(err, LT_ENOMEM, "no memory for %u threads", threads);
	w->threads = threads;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->start, NULL);
	pthread_cond_init(&w->idle, NULL);
	if (!start_members(w)) {
		eng_workers_close(w);
		return lt_fail(err, LT_ENOMEM, "can't start %u threads; fewer may work", threads);
	}
	*out = w;
	return 0;
}

void eng_workers_close(struct eng_workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->start);
	pthread_mutex_unlock(&w->lock);
	for (uint32_t i = 0; i < w->started; i++)
		pthread_join(w->members[i].thread, NULL);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->start);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void eng_workers_run(struct eng_workers *w, size_t tasks,
		     void (*task)(void *arg, size_t i, uint32_t worker), void *arg)
{
	if (w->started == 0 || tasks < 2) {
		for (size_t i = 0; i < tasks; i++)
			task(arg, i, 0);
		return;
	}
	pthread_mutex_lock(&w->lock);
	/* One that slept through the last round may be looking at it only now. */
	while (w->joined > 0)
		pthread_cond_wait(&w->idle, &w->lock);
	w->task = task;
	w->arg = arg;
	w->tasks = tasks;
	atomic_store_explicit(&w->next, 0, memory_order_relaxed);
	w->round++;
	pthread_cond_broadcast(&w->start);
	pthread_mutex_unlock(&w->lock);
	work(w, 0);
	pthread_mutex_lock(&w->lock);
	while (w->joined > 0)
		pthread_cond_wait(&w->idle, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
