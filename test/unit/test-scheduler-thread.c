/*
 * scheduler/sched.h as the server sees it: thread, queues, limits, drain, close. The test is the
 * loop; the fake engine holds steps where a test needs one to be under way. Waiting is for events,
 * never for time.
 */
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
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "scheduler/sched.h"
#include "test/unit/fake-engine.h"
#include "test/unit/sched-check.h"

#define VOCAB 251

struct loop {
	struct eng *engine;
	struct sched *sched;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	uint64_t wakes, seen; /* calls of wake; those we have acted on */
	struct check_log log;
};

static void on_wake(void *arg)
{
	struct loop *l = arg;

	pthread_mutex_lock(&l->lock);
	l->wakes++;
	pthread_cond_signal(&l->woken);
	pthread_mutex_unlock(&l->lock);
}

static struct loop *loop_open(uint32_t max_running, uint32_t max_queued, uint32_t blocks)
{
	struct loop *l = lt_xalloc(1, sizeof(*l));
	struct fake_opts f = {.vocab = VOCAB,
			      .blocks = blocks,
			      .max_rows = 300,
			      .max_outputs = max_running,
			      .attention = ENG_ATTENTION_ABSORBED};
	struct sched_opts o = {.engine = fake_open(&f),
			       .step_tokens = 300,
			       .max_running = max_running,
			       .max_queued = max_queued,
			       .max_context = 2000,
			       .prefix_cache = true,
			       .wake = on_wake,
			       .wake_arg = l};

	l->engine = o.engine;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->woken, NULL);
	assert_int_equal(sched_open(&o, &l->sched, NULL), 0);
	return l;
}

static void loop_close(struct loop *l)
{
	sched_close(l->sched);
	eng_close(l->engine);
	check_log_fini(&l->log);
	pthread_cond_destroy(&l->woken);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Polls all there is; how many events. */
static size_t poll_all(struct loop *l)
{
	struct sched_event some[16];
	size_t n, all = 0;

	do {
		n = sched_poll(l->sched, some, 16);
		check_log_add(&l->log, some, n);
		all += n;
	} while (n == 16);
	return all;
}

static void wait_wake(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->wakes == l->seen)
		pthread_cond_wait(&l->woken, &l->lock);
	l->seen = l->wakes;
	pthread_mutex_unlock(&l->lock);
}

static const struct sched_event *wait_end(struct loop *l, uint64_t id, uint32_t choice)
{
	const struct sched_event *end;

	for (;;) {
		poll_all(l);
		end = check_log_end(&l->log, id, choice);
		if (end)
			return end;
		wait_wake(l);
	}
}

static uint64_t wakes_of(struct loop *l)
{
	uint64_t n;

	pthread_mutex_lock(&l->lock);
	n = l->wakes;
	pthread_mutex_unlock(&l->lock);
	return n;
}

static uint64_t submit(struct loop *l, struct sched_request in)
{
	uint64_t id = 0;

	assert_int_equal(sched_submit(l->sched, &in, &id, NULL), 0);
	return id;
}

/* Submitting must fail with `code`, and leaves the request ours. */
static void refuse(struct loop *l, struct sched_request in, int code)
{
	struct lt_err err = {0};
	uint64_t id = 0;

	assert_int_equal(sched_submit(l->sched, &in, &id, &err), code);
	assert_int_equal(err.code, code);
	assert_true(strlen(err.text) > 10);
	free(in.prompt);
}

static struct sched_stats stats_of(struct loop *l)
{
	struct sched_stats s;

	sched_stats(l->sched, &s);
	return s;
}

/* --- */

static void answers(void **state)
{
	struct loop *l = loop_open(4, 8, 100);
	struct sched_request in = check_request(1, 100, 30);
	int32_t got[30], want[30];
	uint64_t before = lt_clock_ns(), id;
	bool stopped;

	(void)state;
	fake_answer(l->engine, in.prompt, 100, &in.how, 0, 30, 2000, want, &stopped);
	assert_int_equal(sched_max_context(l->sched), 2000);
	id = submit(l, in);
	assert_int_equal(wait_end(l, id, 0)->finish, SCHED_FINISH_LENGTH);
	assert_int_equal(check_log_tokens(&l->log, id, 0, got, 30), 30);
	assert_memory_equal(got, want, sizeof(want));
	for (size_t i = 0; i < l->log.n; i++) {
		assert_true(l->log.events[i].time_ns >= before);
		before = l->log.events[i].time_ns;
	}
	assert_true(wakes_of(l) <= 31); /* once a batch, not once an event */
	loop_close(l);
}

/* Many sequences: a step's events come with one wake. */
static void one_wake_a_step(void **state)
{
	struct loop *l = loop_open(64, 64, 300);
	uint64_t ids[64];

	(void)state;
	fake_hold(l->engine);
	for (uint64_t i = 0; i < 64; i++)
		ids[i] = submit(l, check_request(i, 4, 50));
	fake_free(l->engine);
	for (int i = 0; i < 64; i++)
		wait_end(l, ids[i], 0);
	assert_int_equal(l->log.n, 64 * 51);
	assert_true(wakes_of(l) <= stats_of(l).steps + 64);
	assert_true(stats_of(l).steps <= 52 + 2);
	loop_close(l);
}

static void refusals(void **state)
{
	struct loop *l = loop_open(2, 2, 100);
	struct sched_request in;

	(void)state;
	in = check_request(1, 2000, 1);
	refuse(l, in, LT_ETOOLONG);
	in = check_request(1, 10, 0);
	refuse(l, in, LT_EINVAL);
	in = check_request(1, 10, 1);
	in.n = 0;
	refuse(l, in, LT_EINVAL);
	in = check_request(1, 10, 1);
	in.n = 5;
	refuse(l, in, LT_EINVAL);
	in = check_request(1, 10, 1);
	in.n_prompt = 0;
	refuse(l, in, LT_EINVAL);
	in = check_request(1, 10, 1);
	in.prompt[9] = VOCAB;
	refuse(l, in, LT_EINVAL);
	in = check_request(1, 10, 1);
	in.prompt[0] = -1;
	refuse(l, in, LT_EINVAL);
	/* The longest that is possible gives one token. */
	wait_end(l, submit(l, check_request(1, 1999, 10)), 0);
	assert_int_equal(l->log.n, 2);
	loop_close(l);
}

/* max_running + max_queued choices may be open, until their ends were polled. */
static void queue_full(void **state)
{
	struct loop *l = loop_open(2, 3, 100);
	struct sched_request in;
	uint64_t ids[3];

	(void)state;
	fake_hold(l->engine);
	for (uint64_t i = 0; i < 3; i++)
		ids[i] = submit(l, check_request(i, 10, 3));
	in = check_request(3, 10, 1);
	in.n = 3;
	refuse(l, in, LT_EFULL);
	in = check_request(3, 10, 1);
	in.n = 2;
	submit(l, in);
	refuse(l, check_request(4, 10, 1), LT_EFULL);
	fake_free(l->engine);
	for (int i = 0; i < 3; i++)
		wait_end(l, ids[i], 0);
	wait_end(l, 4, 0);
	wait_end(l, 4, 1);
	wait_end(l, submit(l, check_request(5, 10, 1)), 0);
	loop_close(l);
}

static void drain(void **state)
{
	struct loop *l = loop_open(2, 8, 100);
	uint64_t a, b, c;

	(void)state;
	fake_hold(l->engine);
	a = submit(l, check_request(1, 10, 20));
	b = submit(l, check_request(2, 10, 20));
	c = submit(l, check_request(3, 10, 20));
	assert_false(stats_of(l).draining);
	sched_drain(l->sched);
	assert_true(stats_of(l).draining);
	refuse(l, check_request(4, 10, 1), LT_EUNAVAILABLE);
	fake_free(l->engine);
	assert_int_equal(wait_end(l, a, 0)->finish, SCHED_FINISH_LENGTH);
	assert_int_equal(wait_end(l, b, 0)->finish, SCHED_FINISH_LENGTH);
	assert_int_equal(wait_end(l, c, 0)->finish, SCHED_FINISH_LENGTH);
	loop_close(l);
}

/* A cancel that comes while a step is under way frees the blocks in the turn after it. */
static void cancel_frees_blocks(void **state)
{
	struct loop *l = loop_open(2, 8, 100);
	struct sched_request in = check_request(3, 100, 1000);
	uint64_t a, b, c, steps;

	(void)state;
	fake_hold(l->engine);
	a = submit(l, check_request(1, 700, 1000)); /* three steps of prefill */
	fake_wait_called(l->engine, 1);
	b = submit(l, check_request(2, 100, 1000));
	in.n = 3;
	c = submit(l, in); /* three choices never get two places: queued */
	fake_let(l->engine, 3);
	fake_wait_called(l->engine, 4);
	steps = stats_of(l).steps;
	assert_true(stats_of(l).blocks_used > 0);
	for (int again = 0; again < 3; again++) { /* more calls than queue: they must not pile up */
		for (int i = 0; i < 100; i++) {
			sched_cancel(l->sched, a, -1);
			sched_cancel(l->sched, b, 0);
			sched_cancel(l->sched, b, 7);
			sched_cancel(l->sched, c, i % 3);
			sched_cancel(l->sched, 999, -1);
		}
	}
	fake_let(l->engine, 1);
	assert_int_equal(wait_end(l, a, 0)->finish, SCHED_FINISH_CANCELLED);
	assert_int_equal(wait_end(l, b, 0)->finish, SCHED_FINISH_CANCELLED);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(wait_end(l, c, i)->finish, SCHED_FINISH_CANCELLED);
	/* An answer that comes after all this has started has statistics that follow the cancels. */
	fake_let(l->engine, 2);
	wait_end(l, submit(l, check_request(4, 10, 1)), 0);
	fake_free(l->engine);
	wait_end(l, submit(l, check_request(5, 10, 1)), 0);
	assert_true(stats_of(l).steps <= steps + 4);
	assert_int_equal(stats_of(l).cancelled, 5);
	assert_true(stats_of(l).blocks_used <= 1); /* at most request 5's own */
	loop_close(l);
}

static void deadline_while_held(void **state)
{
	struct loop *l = loop_open(1, 8, 100);
	struct sched_request in = check_request(2, 10, 10);
	uint64_t a, b;

	(void)state;
	fake_hold(l->engine);
	a = submit(l, check_request(1, 10, 10));
	in.deadline_ns = lt_clock_ns();
	b = submit(l, in);
	fake_let(l->engine, 2);
	assert_int_equal(wait_end(l, b, 0)->error, LT_ETIMEOUT);
	fake_free(l->engine);
	assert_int_equal(wait_end(l, a, 0)->finish, SCHED_FINISH_LENGTH);
	loop_close(l);
}

/* The loop does not poll: the thread stops at a full queue, and goes on from there unharmed. */
static void slow_loop(void **state)
{
	struct loop *l = loop_open(32, 32, 600);
	uint64_t ids[32];
	int32_t got[200], want[200];
	bool stopped;

	(void)state;
	for (uint64_t i = 0; i < 32; i++)
		ids[i] = submit(l, check_request(i, 8, 200));
	/* 6,432 events, 1,024 places: without a poll fewer steps are made than there are. */
	while (stats_of(l).generated_tokens < 900)
		wait_wake(l);
	assert_true(stats_of(l).generated_tokens < 1400);
	for (uint64_t i = 0; i < 32; i++) {
		struct sched_request in = check_request(i, 8, 200);
		assert_int_equal(wait_end(l, ids[i], 0)->finish, SCHED_FINISH_LENGTH);
		fake_answer(l->engine, in.prompt, 8, &in.how, 0, 200, 2000, want, &stopped);
		assert_int_equal(check_log_tokens(&l->log, ids[i], 0, got, 200), 200);
		assert_memory_equal(got, want, sizeof(want));
		free(in.prompt);
	}
	loop_close(l);
}

/* Closing at the worst moments: nothing polled and the queue full; nothing taken; work under way. */
static void close_any_time(void **state)
{
	struct sched_request in;
	struct loop *l;

	(void)state;
	l = loop_open(32, 32, 600);
	for (uint64_t i = 0; i < 32; i++) {
		in = check_request(i, 8, 300);
		in.how.logprobs = true;
		submit(l, in);
	}
	while (stats_of(l).generated_tokens < 900)
		wait_wake(l);
	loop_close(l);

	l = loop_open(2, 8, 100);
	loop_close(l);

	l = loop_open(2, 8, 100);
	for (uint64_t i = 0; i < 8; i++)
		submit(l, check_request(i, 40, 100));
	sched_cancel(l->sched, 3, -1);
	loop_close(l);
	sched_close(NULL);
}

/* With nothing to do the thread sleeps: it uses no processor time while the test uses plenty. */
static void idle_sleeps(void **state)
{
	struct loop *l = loop_open(2, 8, 100);
	struct rusage a, b;
	uint64_t used = 0, own, steps;
	struct timespec t0, t1;

	(void)state;
	wait_end(l, submit(l, check_request(1, 10, 5)), 0);
	while (stats_of(l).busy) /* the end is polled before the turn's statistics are out */
		sched_yield();
	steps = stats_of(l).steps;
	getrusage(RUSAGE_SELF, &a);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
		own = (uint64_t)(t1.tv_sec - t0.tv_sec) * 1000000 +
		      (uint64_t)(t1.tv_nsec - t0.tv_nsec) / 1000;
	} while (own < 50000);
	getrusage(RUSAGE_SELF, &b);
	used = (uint64_t)((b.ru_utime.tv_sec - a.ru_utime.tv_sec) +
			  (b.ru_stime.tv_sec - a.ru_stime.tv_sec)) *
	       1000000;
	used += (uint64_t)((int64_t)(b.ru_utime.tv_usec - a.ru_utime.tv_usec) +
			   (int64_t)(b.ru_stime.tv_usec - a.ru_stime.tv_usec));
	assert_true(used < own + 25000);
	assert_int_equal(stats_of(l).steps, steps);
	assert_false(stats_of(l).busy);
	loop_close(l);
}

/* An engine that is lost takes the process with it: LT_EINTERNAL at once, another error twice. */
static void engine_lost(void **state)
{
	static const struct {
		int code;
		uint32_t times;
		bool aborts;
	} cases[] = {{LT_EINTERNAL, 1, true}, {LT_ENOMEM, 2, true}, {LT_ENOMEM, 1, false}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			struct loop *l;
			close(STDERR_FILENO);
			l = loop_open(1, 8, 100);
			fake_fail(l->engine, cases[i].code, cases[i].times);
			wait_end(l, submit(l, check_request(1, 10, 5)), 0);
			wait_end(l, submit(l, check_request(2, 10, 5)), 0);
			_exit(0);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
				 cases[i].aborts);
		assert_int_equal(WIFEXITED(status) && WEXITSTATUS(status) == 0, !cases[i].aborts);
	}
}

static void wait_histogram(void **state)
{
	struct loop *l = loop_open(4, 8, 100);
	struct sched_stats s;
	uint64_t n = 0;

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		wait_end(l, submit(l, check_request(i, 10, 5)), 0);
	s = stats_of(l);
	for (int i = 0; i < SCHED_WAIT_BUCKETS; i++)
		n += s.wait_counts[i];
	assert_int_equal(n, 5);
	for (int i = 1; i < SCHED_WAIT_BUCKETS - 1; i++)
		assert_true(sched_wait_bounds_ns[i] > sched_wait_bounds_ns[i - 1]);
	loop_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engine_lost), /* forks: before there are threads */
		cmocka_unit_test(answers),
		cmocka_unit_test(one_wake_a_step),
		cmocka_unit_test(refusals),
		cmocka_unit_test(queue_full),
		cmocka_unit_test(drain),
		cmocka_unit_test(cancel_frees_blocks),
		cmocka_unit_test(deadline_while_held),
		cmocka_unit_test(slow_loop),
		cmocka_unit_test(close_any_time),
		cmocka_unit_test(idle_sleeps),
		cmocka_unit_test(wait_histogram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
