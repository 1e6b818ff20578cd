/*
 * Work is a counter that everybody takes the next task from. `state` holds the round's number, whether
 * workers may still join it, and how many are inside. The caller opens a round after it has written
 * what to do, works along, and closes the round in the moment nobody is inside: so no worker can see
 * one round's tasks with another's arguments, and none that is late is waited for.
 *
 * The rounds of a step follow each other within microseconds, so a worker looks for the next one for a
 * while before it goes to sleep; waking it takes longer than most rounds.
 */
#include "config.h" /* first: it asks for the affinity calls */

#include "engine/workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define INSIDE UINT64_C(0xffff) /* of state: workers that have joined */
#define OPEN   UINT64_C(0x10000)
#define ROUND  UINT64_C(0x20000) /* one round */
#define SPINS  2000u		 /* looks before sleeping: some 30 to 100 microseconds */

struct eng_workers {
	_Atomic uint64_t state;
	atomic_size_t next;
	void (*task)(void *arg, size_t i, uint32_t worker);
	void *arg;
	size_t tasks;
	uint32_t threads;
	uint32_t started;
	pthread_mutex_t lock;
	pthread_cond_t start;
	atomic_uint sleepers; /* changed under the lock */
	atomic_bool stop;     /* set under the lock */
	struct member {
		pthread_t thread;
		struct eng_workers *workers;
		uint32_t number;
	} members[]; // [threads - 1]
};

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void work(struct eng_workers *w, uint32_t number)
{
	size_t i;

	while ((i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed)) < w->tasks)
		w->task(w->arg, i, number);
}

/* Steps inside an open round that is not `seen`. */
static bool join(struct eng_workers *w, uint64_t *seen)
{
	uint64_t s = atomic_load(&w->state); /* sequentially consistent: see join_sleeping */

	while ((s & OPEN) && s / ROUND != *seen) {
		if (atomic_compare_exchange_weak_explicit(
			    &w->state, &s, s + 1, memory_order_acquire, memory_order_relaxed)) {
			*seen = s / ROUND;
			return true;
		}
	}
	return false;
}

/* Sleeps until there is a round to join or the end. */
static bool join_sleeping(struct eng_workers *w, uint64_t *seen)
{
	bool joined = false;

	pthread_mutex_lock(&w->lock);
	atomic_fetch_add(&w->sleepers, 1);
	/* This count and the look at state are in one order with the opener's store and its look at the
	 * count: either join sees the new round, or the opener sees a sleeper and comes for the lock. */
	while (!atomic_load(&w->stop) && !(joined = join(w, seen)))
		pthread_cond_wait(&w->start, &w->lock);
	atomic_fetch_sub(&w->sleepers, 1);
	pthread_mutex_unlock(&w->lock);
	return joined;
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	struct eng_workers *w = m->workers;
	uint64_t seen = 0;
	bool joined;

	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		joined = false;
		for (unsigned i = 0; i < SPINS && !(joined = join(w, &seen)); i++)
			relax();
		if (!joined && !join_sleeping(w, &seen))
			continue;
		work(w, m->number);
		atomic_fetch_sub_explicit(&w->state, 1, memory_order_release);
	}
	return NULL;
}

/* The smallest processor that shares a core with `cpu`, which may be itself. */
static int first_sibling(int cpu)
{
	char path[96];
	int first = cpu;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
		 cpu);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%d", &first) != 1)
			first = cpu;
		fclose(f);
	}
	return first;
}

/* Processor number n to pin to, counted over those allowed: one of each core, then the others. */
static int nth_processor(const cpu_set_t *allowed, uint32_t n)
{
	cpu_set_t firsts, cores;

	CPU_ZERO(&firsts);
	CPU_ZERO(&cores);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		int core = CPU_ISSET(cpu, allowed) ? first_sibling(cpu) : -1;

		if (core >= 0 && core < CPU_SETSIZE && !CPU_ISSET(core, &cores)) {
			CPU_SET(core, &cores);
			CPU_SET(cpu, &firsts);
		}
	}
	for (int again = 0; again < 2; again++) {
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			bool mine = CPU_ISSET(cpu, allowed) &&
				    (CPU_ISSET(cpu, &firsts) != 0) == (again == 0);

			if (mine && n-- == 0)
				return cpu;
		}
	}
	return -1;
}

static int pin_members(struct eng_workers *w, struct lt_err *err)
{
	cpu_set_t allowed, one;
	int rc = sched_getaffinity(0, sizeof(allowed), &allowed);

	if (rc == 0 && (uint32_t)CPU_COUNT(&allowed) < w->threads)
		return lt_fail(err, LT_EINVAL,
			       "engine.pin: %u threads, and %d processors may be used; "
			       "engine.threads may be at most that many",
			       w->threads, CPU_COUNT(&allowed));
	for (uint32_t i = 0; rc == 0 && i < w->started; i++) {
		CPU_ZERO(&one);
		CPU_SET(nth_processor(&allowed, w->members[i].number), &one);
		rc = pthread_setaffinity_np(w->members[i].thread, sizeof(one), &one);
	}
	return rc == 0 ? 0
		       : lt_fail(err, LT_EUNSUPPORTED,
				 "engine.pin: the system does not let threads be pinned; take no");
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

int eng_workers_open(uint32_t threads, bool pin, struct eng_workers **out, struct lt_err *err)
{
	struct eng_workers *w;
	int rc = 0;

	w = lt_alloc(1, sizeof(*w) + threads * sizeof(struct member));
	if (!w)
		return lt_fail(err, LT_ENOMEM, "no memory for %u threads", threads);
	w->threads = threads;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->start, NULL);
	if (!start_members(w)) {
		eng_workers_close(w);
		return lt_fail(err, LT_ENOMEM, "can't start %u threads; fewer may work", threads);
	}
	if (pin)
		rc = pin_members(w, err);
	if (rc != 0) {
		eng_workers_close(w);
		return rc;
	}
	*out = w;
	return 0;
}

void eng_workers_close(struct eng_workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	atomic_store(&w->stop, true);
	pthread_cond_broadcast(&w->start);
	pthread_mutex_unlock(&w->lock);
	for (uint32_t i = 0; i < w->started; i++)
		pthread_join(w->members[i].thread, NULL);
	pthread_cond_destroy(&w->start);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void eng_workers_run(struct eng_workers *w, size_t tasks,
		     void (*task)(void *arg, size_t i, uint32_t worker), void *arg)
{
	uint64_t s;

	if (w->started == 0 || tasks < 2) {
		for (size_t i = 0; i < tasks; i++)
			task(arg, i, 0);
		return;
	}
	w->task = task;
	w->arg = arg;
	w->tasks = tasks;
	atomic_store_explicit(&w->next, 0, memory_order_relaxed);
	s = atomic_load_explicit(&w->state, memory_order_relaxed);
	atomic_store(&w->state, (s / ROUND + 1) * ROUND | OPEN);
	if (atomic_load(&w->sleepers) > 0) {
		pthread_mutex_lock(&w->lock);
		pthread_cond_broadcast(&w->start);
		pthread_mutex_unlock(&w->lock);
	}
	work(w, 0);
	/* A worker may have lost its processor inside: then give it this one. */
	for (unsigned i = 0;; i++) {
		s = atomic_load_explicit(&w->state, memory_order_relaxed) & ~INSIDE;
		if (atomic_compare_exchange_weak_explicit(
			    &w->state, &s, s & ~OPEN, memory_order_acquire, memory_order_relaxed))
			break;
		if (i < SPINS)
			relax();
		else
			sched_yield();
	}
}
