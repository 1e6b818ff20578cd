/*
 * Signals and the end.
 */
#include "server/drain.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "server/call.h"
#include "server/listen.h"
#include "server/loop.h"
#include "server/model.h"
#include "server/notify.h"
#include "server/srv.h"

#define LAST_WORDS_MS 1000 /* for error objects and events to reach their clients */

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

/* Leaves without waiting for anybody: destructors would wait for worker threads. */
static void leave(struct srv *s, int status)
{
	srv_listen_stop(s);
	_exit(status);
}

static void on_last_words_over(uv_timer_t *t)
{
	struct srv *s = t->data;
	struct srv_call *call, *next;

	for (call = s->calls; call; call = next) {
		next = call->next;
		srv_call_gone(call);
	}
	srv_loop_run_http(s);
}

static void on_drain_over(uv_timer_t *t)
{
	struct srv *s = t->data;
	struct srv_call *call, *next;

	lt_log(LT_LOG_WARN, "drain time is over; %u requests are cut off", s->n_calls);
	for (call = s->calls; call; call = next) {
		next = call->next;
		srv_call_fail(call, LT_EUNAVAILABLE, "the server is shutting down");
	}
	uv_timer_start(&s->drain_timer, on_last_words_over, LAST_WORDS_MS, 0);
	srv_loop_run_http(s);
}

static void on_end_signal(struct srv *s, int number)
{
	if (s->phase == SRV_DRAINING) {
		lt_log(LT_LOG_WARN, "second signal: leaving at once, %u requests are cut off",
		       s->n_calls);
		leave(s, 1);
	}
	if (s->phase == SRV_LOADING) {
		lt_log(LT_LOG_INFO, "signal %d while loading: leaving", number);
		leave(s, 0);
	}
	if (s->phase != SRV_READY)
		return;
	s->phase = SRV_DRAINING;
	lt_log(LT_LOG_INFO, "signal %d: draining, %u requests at work", number, s->n_calls);
	srv_notify_phase(s);
	sched_drain(s->model->sched);
	uv_timer_start(&s->drain_timer, on_drain_over, (uint64_t)s->params.server_drain_timeout, 0);
	srv_drain_check(s);
}

void srv_drain_check(struct srv *s)
{
	if (s->phase == SRV_DRAINING && s->n_calls == 0)
		srv_loop_stop(s);
}

static void reload_keys(struct srv *s, const char *file)
{
	struct srv_keys *keys;
	struct lt_err err = {0};

	if (srv_keys_open(file, &keys, &err) < 0) {
		lt_log(LT_LOG_ERROR, "reload: %s; the old keys stay", err.text);
		return;
	}
	if (keys)
		srv_keys_inherit(keys, s->keys);
	else if (s->keys)
		lt_log(LT_LOG_WARN, "reload: there are no API keys any more; open to all");
	srv_keys_close(s->keys);
	s->keys = keys;
}

static void on_reload(struct srv *s)
{
	struct srv_params fresh;
	enum srv_action action;
	struct lt_err err = {0};

	srv_notify_reload(s, false);
	if (srv_params_load(s->argc, s->argv, s->env, &fresh, &action, &err) < 0) {
		lt_log(LT_LOG_ERROR, "reload: %s; nothing was changed", err.text);
	} else {
		lt_log_set((enum lt_log_level)fresh.log_level);
		reload_keys(s, fresh.keys_file);
		lt_log(LT_LOG_INFO, "reloaded: %u API keys, log level %s", srv_keys_count(s->keys),
		       lt_log_name(lt_log_get()));
		s->metrics.reloads++;
	}
	srv_params_fini(&fresh);
	srv_notify_reload(s, true);
}

static void on_signal(uv_signal_t *h, int number)
{
	struct srv *s = h->data;

	if (number == SIGHUP)
		on_reload(s);
	else
		on_end_signal(s, number);
}

int srv_drain_open(struct srv *s, struct lt_err *err)
{
	uv_timer_init(&s->loop, &s->drain_timer);
	uv_timer_init(&s->loop, &s->watchdog_timer);
	s->drain_timer.data = s;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		int rc = uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		if (rc == 0)
			rc = uv_signal_start(&s->signals[i], on_signal, numbers[i]);
		if (rc < 0)
			return lt_fail(err, LT_EIO, "signals: %s", uv_strerror(rc));
	}
	return 0;
}

void srv_drain_close(struct srv *s)
{
	uv_close((uv_handle_t *)&s->drain_timer, NULL);
	uv_close((uv_handle_t *)&s->watchdog_timer, NULL);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
}
