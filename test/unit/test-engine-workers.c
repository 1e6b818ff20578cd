/*
 * engine/workers.c: every task of every round runs once, before the round's end, with the thread
 * number it was given to itself. Plain memory everywhere: TSan sees what isn't ordered.
 */
#include "config.h" /* first: it asks for the affinity calls */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/workers.h"

#define MAX_THREADS 4u
#define MAX_TASKS   64u
#define ROUNDS	    3000u

/* Linked with --wrap: the n-th call from now on fails. */
static unsigned fail_at;
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
	if (fail_at > 0 && --fail_at == 0)
		return 11; /* EAGAIN */
	return __real_pthread_create(t, a, f, arg);
}

struct round {
	uint32_t ran[MAX_TASKS];
	uint64_t result[MAX_TASKS];
	uint64_t by_worker[MAX_THREADS]; /* scratch of a thread */
	uint64_t input;
};

static void task(void *arg, size_t i, uint32_t worker)
{
	struct round *r = arg;

	r->ran[i]++;
	r->result[i] = r->input * 1000 + i;
	if (worker < MAX_THREADS)
		r->by_worker[worker]++;
}

static void check_round(const struct round *r, size_t tasks, uint32_t threads)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < MAX_TASKS; i++) {
		assert_int_equal(r->ran[i], i < tasks);
		assert_int_equal(r->result[i], i < tasks ? r->input * 1000 + i : 0);
	}
	for (uint32_t t = 0; t < threads; t++)
		sum += r->by_worker[t];
	assert_int_equal(sum, tasks);
}

static void all_once(void **unused)
{
	(void)unused;
	for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
		struct eng_workers *w;

		assert_int_equal(eng_workers_open(threads, false, &w, NULL), 0);
		for (uint32_t n = 0; n < ROUNDS; n++) {
			size_t tasks = n * 7 % (MAX_TASKS + 1);
			struct round r = {.input = n + 1};

			eng_workers_run(w, tasks, task, &r);
			check_round(&r, tasks, threads);
		}
		eng_workers_close(w);
	}
}

/* A pool that never ran, and none at all. */
static void idle(void **unused)
{
	(void)unused;
	eng_workers_close(NULL);
	for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
		struct eng_workers *w;

		assert_int_equal(eng_workers_open(threads, false, &w, NULL), 0);
		eng_workers_close(w);
	}
}

struct meeting {
	pthread_barrier_t barrier;
	uint32_t seen[MAX_THREADS];
	int open_signals[MAX_THREADS];
};

static void meet(void *arg, size_t i, uint32_t worker)
{
	struct meeting *m = arg;
	sigset_t set;

	(void)i;
	m->seen[worker]++;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	m->open_signals[worker] = !sigismember(&set, SIGTERM) || !sigismember(&set, SIGHUP);
	pthread_barrier_wait(&m->barrier); /* nobody leaves until each thread has a task */
}

/* As many tasks at once as threads, each with a number of its own; signals are the caller's alone. */
static void at_once(void **unused)
{
	(void)unused;
	for (uint32_t threads = 2; threads <= MAX_THREADS; threads++) {
		struct meeting m = {0};
		struct eng_workers *w;

		assert_int_equal(eng_workers_open(threads, false, &w, NULL), 0);
		pthread_barrier_init(&m.barrier, NULL, threads);
		for (uint32_t n = 1; n <= 100; n++) {
			eng_workers_run(w, threads, meet, &m);
			for (uint32_t t = 0; t < threads; t++)
				assert_int_equal(m.seen[t], n);
		}
		assert_true(m.open_signals[0]);
		for (uint32_t t = 1; t < threads; t++)
			assert_false(m.open_signals[t]);
		pthread_barrier_destroy(&m.barrier);
		eng_workers_close(w);
	}
}

/* Threads that did start are stopped again. */
static void cannot_start(void **unused)
{
	(void)unused;
	for (unsigned n = 1; n <= 3; n++) {
		struct eng_workers *w = NULL;
		struct lt_err err = {0};

		fail_at = n;
		assert_int_equal(eng_workers_open(4, false, &w, &err), LT_ENOMEM);
		assert_null(w);
		assert_non_null(strstr(err.text, "4 threads"));
		fail_at = 0;
	}
}

/* Where the threads of a round run: worker by worker, all of them inside at once. */
struct places {
	pthread_barrier_t barrier;
	cpu_set_t sets[CPU_SETSIZE];
};

static void look(void *arg, size_t i, uint32_t worker)
{
	struct places *p = arg;

	(void)i;
	pthread_barrier_wait(&p->barrier);
	sched_getaffinity(0, sizeof(p->sets[worker]), &p->sets[worker]);
}

/* Every started thread has one processor, no two have the same, and the caller's is left free. */
static void pinned(void **unused)
{
	cpu_set_t allowed, taken;
	struct lt_err err = {0};
	struct eng_workers *w = NULL;
	struct places *p = calloc(1, sizeof(*p));
	uint32_t most;

	(void)unused;
	assert_non_null(p);
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	most = (uint32_t)CPU_COUNT(&allowed);
	for (uint32_t threads = 1; threads <= most && threads <= 8; threads++) {
		assert_int_equal(eng_workers_open(threads, true, &w, &err), 0);
		pthread_barrier_init(&p->barrier, NULL, threads);
		eng_workers_run(w, threads, look, p);
		CPU_ZERO(&taken);
		for (uint32_t i = 1; i < threads; i++) {
			cpu_set_t both;

			assert_int_equal(CPU_COUNT(&p->sets[i]), 1);
			CPU_AND(&both, &taken, &p->sets[i]);
			assert_int_equal(CPU_COUNT(&both), 0);
			CPU_OR(&taken, &taken, &p->sets[i]);
		}
		CPU_AND(&taken, &taken, &allowed);
		assert_int_equal(CPU_COUNT(&taken), threads - 1);
		assert_true(CPU_EQUAL(&p->sets[0], &allowed));
		pthread_barrier_destroy(&p->barrier);
		eng_workers_close(w);
	}
	w = NULL;
	assert_int_equal(eng_workers_open(most + 1, true, &w, &err), LT_EINVAL);
	assert_null(w);
	assert_non_null(strstr(err.text, "engine.pin"));
	assert_non_null(strstr(err.text, "processors"));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_once),	cmocka_unit_test(idle),	  cmocka_unit_test(at_once),
		cmocka_unit_test(cannot_start), cmocka_unit_test(pinned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
