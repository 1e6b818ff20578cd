/*
 * The scheduler's thread and the two queues that join it to the server's loop.
 *
 * The loop's side keeps a ticket for each open request: which of its choices have not ended yet, as
 * far as polled events tell, and which were cancelled. So the number of open choices is bounded
 * without asking the other thread, a choice is cancelled once at most, and the queue of commands
 * can be made large enough that a command always fits: nothing here ever waits.
 *
 * The thread takes commands, runs a turn (sched_core_turn) and publishes the statistics; without
 * open requests it sleeps until a command comes. The core, requests and engine are its alone.
 */
#include "scheduler/sched.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/queue.h"
#include "scheduler/core.h"

#define COMMANDS_AT_ONCE 64
#define EVENTS_A_PLACE	 16 /* room in the queue of events, for each place to run */

const uint64_t sched_wait_bounds_ns[SCHED_WAIT_BUCKETS - 1] = {
	1 * LT_NS_PER_MS,   3 * LT_NS_PER_MS,	10 * LT_NS_PER_MS, 30 * LT_NS_PER_MS,
	100 * LT_NS_PER_MS, 300 * LT_NS_PER_MS, 1 * LT_NS_PER_S,   3 * LT_NS_PER_S,
	10 * LT_NS_PER_S,   30 * LT_NS_PER_S,	100 * LT_NS_PER_S,
};

struct command {
	struct sched_req *req; /* to enter; NULL: cancel */
	uint64_t id;
	int32_t choice;
};

/* The loop's view of an open request. */
struct ticket {
	uint32_t n, n_open;
	bool all_cancelled;
	bool cancelled[]; // [n]
};

struct sched {
	/* The loop's thread. */
	struct lt_map *tickets; /* id to struct ticket * */
	uint64_t last_id;
	uint32_t open, max_open; /* choices */

	/* Both. */
	struct lt_queue *commands, *events;
	pthread_mutex_t lock; /* of stats and draining */
	struct sched_stats stats;
	bool draining;
	void (*wake)(void *arg);
	void *wake_arg;
	uint32_t vocab, max_context; /* never change */

	/* The scheduler's thread. */
	pthread_t thread;
	struct sched_core core;
};

/* --- the scheduler's thread --- */

static void free_draws(const struct sched_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(events[i].draw);
}

/* Hands events to the loop; waits while it has too many already. */
static void hand_on(void *arg, const struct sched_event *events, size_t n)
{
	struct sched *s = arg;
	size_t done;

	for (;;) {
		done = lt_queue_push(s->events, events, n);
		if (done > 0 && s->wake)
			s->wake(s->wake_arg);
		events += done;
		n -= done;
		if (n == 0)
			return;
		if (!lt_queue_wait_room(s->events, 0)) {
			free_draws(events, n); /* closing */
			return;
		}
	}
}

static void publish(struct sched *s)
{
	struct sched_stats now;

	sched_core_stats(&s->core, &now);
	pthread_mutex_lock(&s->lock);
	s->stats = now;
	pthread_mutex_unlock(&s->lock);
}

static void obey(struct sched *s)
{
	struct command some[COMMANDS_AT_ONCE];
	size_t n;

	do {
		n = lt_queue_pop(s->commands, some, COMMANDS_AT_ONCE);
		for (size_t i = 0; i < n; i++) {
			if (some[i].req)
				sched_core_enter(&s->core, some[i].req);
			else
				sched_core_cancel(&s->core, some[i].id, some[i].choice);
		}
	} while (n == COMMANDS_AT_ONCE);
}

static void *run(void *arg)
{
	struct sched *s = arg;

	while (!lt_queue_stopped(s->commands)) {
		if (sched_core_idle(&s->core))
			lt_queue_wait_item(s->commands, 0);
		obey(s);
		publish(s);
		sched_core_turn(&s->core);
		publish(s);
	}
	return NULL;
}

/* --- opening and closing --- */

/* Starts the thread with all signals blocked: they are the main thread's. */
static int start(struct sched *s, struct lt_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return lt_fail(err, LT_EINTERNAL, "scheduler: no thread: %s", strerror(rc));
	return 0;
}

static int open_queues(struct sched *s, const struct sched_opts *opts, struct lt_err *err)
{
	size_t n_events = (size_t)opts->max_running * EVENTS_A_PLACE;

	/* A request is entered once, and each choice and the whole are cancelled once. Commands that lie
	 * there from one look of the thread to the next can't be of more than two generations: a request
	 * whose end was polled had been taken from the queue before. */
	s->max_open = opts->max_running + opts->max_queued;
	s->commands = lt_queue_open((size_t)s->max_open * 6, sizeof(struct command));
	s->events = lt_queue_open(n_events < 1024 ? 1024 : n_events, sizeof(struct sched_event));
	s->tickets = lt_map_open(0);
	if (!s->commands || !s->events || !s->tickets)
		return lt_fail(err, LT_ENOMEM, "scheduler: no memory for queues of %u requests",
			       s->max_open);
	return 0;
}

static void free_all(struct sched *s)
{
	sched_core_fini(&s->core);
	lt_map_close(s->tickets);
	lt_queue_close(s->events);
	lt_queue_close(s->commands);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int sched_open(const struct sched_opts *opts, struct sched **out, struct lt_err *err)
{
	struct sched *s = lt_alloc(1, sizeof(*s));
	int rc;

	if (!s)
		return lt_fail(err, LT_ENOMEM, "scheduler: no memory");
	pthread_mutex_init(&s->lock, NULL);
	rc = sched_core_init(&s->core, opts, err);
	if (rc == 0)
		rc = open_queues(s, opts, err);
	if (rc == 0) {
		s->wake = opts->wake;
		s->wake_arg = opts->wake_arg;
		s->vocab = s->core.info->vocab;
		s->max_context = s->core.max_tokens;
		s->core.flush = hand_on;
		s->core.flush_arg = s;
		publish(s);
		rc = start(s, err);
	}
	if (rc < 0) {
		free_all(s);
		return rc;
	}
	*out = s;
	return 0;
}

void sched_close(struct sched *s)
{
	struct sched_event event;
	struct command command;
	const void *key;
	size_t at = 0, n;
	uint64_t value;

	if (!s)
		return;
	lt_queue_stop(s->events); /* first: the thread may be waiting there */
	lt_queue_stop(s->commands);
	pthread_join(s->thread, NULL);
	while (lt_queue_pop(s->events, &event, 1) > 0)
		free_draws(&event, 1);
	while (lt_queue_pop(s->commands, &command, 1) > 0)
		sched_req_close(command.req);
	while (lt_map_next(s->tickets, &at, &key, &n, &value))
		free((struct ticket *)(uintptr_t)value);
	free_all(s);
}

/* --- the loop's side --- */

static struct ticket *ticket_of(const struct sched *s, uint64_t id)
{
	uint64_t value;

	if (!lt_map_get(s->tickets, &id, sizeof(id), &value))
		return NULL;
	return (struct ticket *)(uintptr_t)value;
}

static int check_request(const struct sched *s, const struct sched_request *req, struct lt_err *err)
{
	if (req->n_prompt < 1 || req->n < 1 || req->max_tokens < 1)
		return lt_fail(err, LT_EINVAL,
			       "prompt tokens, choices and answer tokens must be at least 1");
	if (req->n > s->max_open)
		return lt_fail(err, LT_EINVAL, "%u choices, at most %u are possible", req->n,
			       s->max_open);
	if (req->n_prompt >= s->max_context)
		return lt_fail(
			err, LT_ETOOLONG,
			"the prompt has %u tokens; %u are possible with an answer of one token",
			req->n_prompt, s->max_context - 1);
	/* A wrong token would fail the whole step, and so other requests. */
	for (uint32_t i = 0; i < req->n_prompt; i++) {
		if (req->prompt[i] < 0 || (uint32_t)req->prompt[i] >= s->vocab)
			return lt_fail(err, LT_EINVAL, "prompt token %u is %d, must be 0 to %u", i,
				       req->prompt[i], s->vocab - 1);
	}
	if (s->draining)
		return lt_fail(err, LT_EUNAVAILABLE, "shutting down: no new requests are taken");
	if (req->n > s->max_open - s->open)
		return lt_fail(err, LT_EFULL, "%u requests are open already, at most %u are taken",
			       s->open, s->max_open);
	return 0;
}

int sched_submit(struct sched *s, const struct sched_request *req, uint64_t *id, struct lt_err *err)
{
	uint64_t next = s->last_id + 1;
	struct command command = {.id = next};
	struct ticket *t;
	int rc = check_request(s, req, err);

	if (rc < 0)
		return rc;
	t = lt_alloc(1, sizeof(*t) + req->n * sizeof(t->cancelled[0]));
	command.req = sched_req_open(next, req);
	if (!t || !command.req ||
	    lt_map_put(s->tickets, &next, sizeof(next), (uint64_t)(uintptr_t)t) < 0) {
		free(t);
		free(command.req); /* the shell alone: what it points to stays the caller's */
		return lt_fail(err, LT_ENOMEM, "no memory for the request");
	}
	t->n = t->n_open = req->n;
	command.req->arrived_ns = lt_clock_ns();
	s->open += req->n;
	s->last_id = *id = next;
	LT_ASSERT(lt_queue_push(s->commands, &command, 1) == 1);
	return 0;
}

void sched_cancel(struct sched *s, uint64_t id, int32_t choice)
{
	struct command command = {.id = id, .choice = choice};
	struct ticket *t = ticket_of(s, id);
	bool *flag;

	if (!t || t->all_cancelled || (choice >= 0 && (uint32_t)choice >= t->n))
		return;
	flag = choice < 0 ? &t->all_cancelled : &t->cancelled[choice];
	if (*flag)
		return;
	*flag = true;
	LT_ASSERT(lt_queue_push(s->commands, &command, 1) == 1);
}

size_t sched_poll(struct sched *s, struct sched_event *events, size_t max)
{
	size_t n = lt_queue_pop(s->events, events, max);

	for (size_t i = 0; i < n; i++) {
		struct ticket *t;
		if (events[i].finish == SCHED_FINISH_NONE)
			continue;
		t = ticket_of(s, events[i].id);
		LT_ASSERT(t && t->n_open > 0);
		s->open--;
		if (--t->n_open == 0) {
			lt_map_del(s->tickets, &events[i].id, sizeof(events[i].id));
			free(t);
		}
	}
	return n;
}

void sched_drain(struct sched *s)
{
	pthread_mutex_lock(&s->lock);
	s->draining = true;
	pthread_mutex_unlock(&s->lock);
}

uint32_t sched_max_context(const struct sched *s)
{
	return s->max_context;
}

void sched_stats(const struct sched *s, struct sched_stats *out)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&s->lock;

	pthread_mutex_lock(lock);
	*out = s->stats;
	out->draining = s->draining;
	pthread_mutex_unlock(lock);
}
