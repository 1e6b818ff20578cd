/*
 * The course of a completion request, state by state.
 *
 * While it waits (for a worker, for tokens) its connection is suspended in libmicrohttpd and watched
 * for a close (watch.h). Who may hold a call: its connection, a worker, and libmicrohttpd's response
 * object when it streams; the last to let go frees it.
 */
#include "server/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "server/drain.h"
#include "server/loop.h"
#include "server/reply.h"
#include "server/srv.h"
#include "server/stream.h"
#include "server/watch.h"

#define BIT(state) (1u << SRV_CALL_##state)

/* Which states may follow each. */
static const unsigned int follows[SRV_CALL_STATE_COUNT] = {
	[SRV_CALL_RECEIVE] = BIT(PREPARE) | BIT(FAULT) | BIT(GONE),
	[SRV_CALL_PREPARE] = BIT(GENERATE) | BIT(FAULT) | BIT(GONE),
	[SRV_CALL_GENERATE] = BIT(ANSWER) | BIT(FAULT) | BIT(BROKEN) | BIT(GONE),
	[SRV_CALL_ANSWER] = BIT(GONE),
	[SRV_CALL_FAULT] = BIT(GONE),
	[SRV_CALL_BROKEN] = BIT(GONE),
	[SRV_CALL_GONE] = 0,
};

void srv_call_enter(struct srv_call *call, enum srv_call_state state)
{
	LT_ASSERT(follows[call->state] & (1u << state));
	call->state = state;
}

/* --- life ---------------------------------------------------------------------------------------- */

int srv_call_open(struct srv_conn *c, size_t length)
{
	struct srv *s = c->srv;
	struct srv_call *call = lt_alloc(1, sizeof(*call));
	unsigned char random[API_ID_BYTES];

	if (!call)
		return LT_ENOMEM;
	call->srv = s;
	call->conn = c;
	call->refs = 1;
	call->state = SRV_CALL_RECEIVE;
	call->endpoint = c->route->id == SRV_ROUTE_chat ? API_CHAT : API_COMPLETIONS;
	call->tenant = c->tenant;
	call->start_ns = lt_clock_ns();
	call->created = lt_clock_wall_s();
	call->fresh = UINT32_MAX;
	if (s->params.server_request_timeout)
		call->deadline_ns =
			call->start_ns + (uint64_t)s->params.server_request_timeout * LT_NS_PER_MS;
	lt_random(random, sizeof(random));
	lt_random(&call->seed, sizeof(call->seed));
	api_id(call->endpoint, random, call->id);
	lt_buf_init(&call->body, (size_t)s->params.server_max_body);
	if (length && length <= (size_t)s->params.server_max_body)
		lt_buf_room(&call->body, length);
	call->next = s->calls;
	if (s->calls)
		s->calls->prev = call;
	s->calls = call;
	s->n_calls++;
	c->call = call;
	return 0;
}

int srv_call_body(struct srv_call *call, const char *data, size_t n)
{
	return lt_buf_add(&call->body, data, n);
}

static void free_prompts(struct srv_call *call)
{
	for (size_t i = 0; i < call->n_prompts; i++) {
		free(call->prompts[i].ids);
		if (call->prompts[i].owns_echo)
			free(call->prompts[i].echo.s);
	}
	free(call->prompts);
	call->prompts = NULL;
	call->n_prompts = 0;
}

void srv_call_unref(struct srv_call *call)
{
	struct srv *s = call->srv;

	LT_ASSERT(call->refs > 0);
	if (--call->refs)
		return;
	LT_ASSERT(!call->is_touched);
	srv_call_cancel_jobs(call);
	if (call->prev)
		call->prev->next = call->next;
	else
		s->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	s->n_calls--;
	for (uint32_t i = 0; i < call->n_choices; i++)
		lt_buf_fini(&call->choices[i].text);
	free(call->choices);
	free_prompts(call);
	api_response_close(call->response);
	api_request_close(call->request);
	lt_buf_fini(&call->body);
	lt_buf_fini(&call->out);
	free(call);
	srv_drain_check(s);
}

void srv_call_drop(struct srv_conn *c)
{
	struct srv_call *call = c->call;

	if (!call)
		return;
	if (call->state != SRV_CALL_RECEIVE)
		srv_watch_end(c);
	/* Still at work: the answer was cut off by the connection's end. */
	if (call->state == SRV_CALL_PREPARE || call->state == SRV_CALL_GENERATE) {
		c->srv->metrics.disconnects++;
		srv_call_enter(call, SRV_CALL_GONE);
		srv_call_cancel_jobs(call);
	}
	c->call = NULL;
	call->conn = NULL;
	call->suspended = false;
	srv_call_unref(call);
}

void srv_call_describe(const struct srv_call *call, char *dst, size_t size)
{
	snprintf(dst, size, " %s prompt=%llu cached=%llu generated=%llu", call->id,
		 (unsigned long long)call->usage.prompt, (unsigned long long)call->usage.cached,
		 (unsigned long long)call->usage.completion);
}

/* --- sleeping and waking ------------------------------------------------------------------------- */

void srv_call_suspend(struct srv_call *call)
{
	LT_ASSERT(!call->suspended && call->conn);
	call->suspended = true;
	MHD_suspend_connection(call->conn->mhd);
	srv_conn_enter(call->conn, SRV_CONN_WORK);
}

void srv_call_resume(struct srv_call *call)
{
	if (!call->suspended)
		return;
	call->suspended = false;
	MHD_resume_connection(call->conn->mhd);
}

/* --- to the worker and back ---------------------------------------------------------------------- */

static void on_work(uv_work_t *w)
{
	struct srv_call *call = w->data;

	srv_prepare(call, call->srv->model);
}

static void set_fault(struct srv_call *call, int code, const char *message)
{
	api_fault_set(&call->fault, code, NULL, NULL, "%s", message);
}

static void after_work(uv_work_t *w, int status)
{
	struct srv_call *call = w->data;
	struct srv *s = call->srv;

	s->now_ns = lt_clock_ns();
	lt_buf_fini(&call->body);
	if (call->state == SRV_CALL_PREPARE) {
		srv_hist_add(&s->metrics.prepare_seconds,
			     (double)(s->now_ns - call->start_ns) / (double)LT_NS_PER_S);
		if (status < 0)
			set_fault(call, LT_EINTERNAL, "the server could not parse the request");
		else if (!call->fault.code && call->deadline_ns && s->now_ns >= call->deadline_ns)
			set_fault(call, LT_ETIMEOUT, "the request took too long");
		if (!call->fault.code && srv_call_submit(call) == 0)
			srv_call_enter(call, SRV_CALL_GENERATE);
		else
			srv_call_enter(call, SRV_CALL_FAULT);
		if (call->state == SRV_CALL_FAULT || call->request->stream)
			srv_call_resume(call);
	}
	srv_call_unref(call);
	srv_loop_run_http(s);
}

enum MHD_Result srv_call_start(struct srv_conn *c)
{
	struct srv_call *call = c->call;

	c->exchange = SRV_EXCHANGE_CALL;
	/* The phase may have changed while the body came. */
	if (c->srv->phase != SRV_READY) {
		srv_call_drop(c);
		return srv_reply_error(c, LT_EUNAVAILABLE);
	}
	if (srv_watch_begin(c) < 0) {
		srv_call_drop(c);
		return srv_reply_error(c, LT_EIO);
	}
	srv_call_enter(call, SRV_CALL_PREPARE);
	call->work.data = call;
	call->refs++;
	srv_call_suspend(call);
	if (uv_queue_work(&c->srv->loop, &call->work, on_work, after_work) < 0) {
		call->refs--;
		set_fault(call, LT_EINTERNAL, "the server has no worker");
		srv_call_enter(call, SRV_CALL_FAULT);
		srv_call_resume(call);
	}
	return MHD_YES;
}

enum MHD_Result srv_call_answer(struct srv_call *call)
{
	struct srv_conn *c = call->conn;

	switch (call->state) {
	case SRV_CALL_FAULT: return srv_reply_fault(c, &call->fault);
	case SRV_CALL_GENERATE:
		if (call->request->stream)
			return srv_stream_begin(call);
		break;
	case SRV_CALL_ANSWER:
	case SRV_CALL_BROKEN: return srv_stream_begin(call);
	case SRV_CALL_GONE: return MHD_NO; /* closes the connection */
	case SRV_CALL_RECEIVE:
	case SRV_CALL_PREPARE:
	case SRV_CALL_STATE_COUNT: break;
	}
	/* Not yet: go on sleeping. */
	srv_call_suspend(call);
	return MHD_YES;
}

/* --- ends from outside --------------------------------------------------------------------------- */

void srv_call_cancel_jobs(struct srv_call *call)
{
	struct srv_model *m = call->srv->model;

	for (size_t i = 0; call->jobs && i < call->n_prompts; i++) {
		struct srv_job *job = call->jobs[i];
		if (!job)
			continue;
		/* The scheduler's final events release it. */
		sched_cancel(m->sched, job->id, -1);
		job->call = NULL;
	}
	free(call->jobs);
	call->jobs = NULL;
}

void srv_call_gone(struct srv_call *call)
{
	if (call->state == SRV_CALL_GONE)
		return;
	call->srv->metrics.disconnects++;
	srv_call_enter(call, SRV_CALL_GONE);
	srv_call_cancel_jobs(call);
	if (call->conn)
		srv_conn_abort(call->conn);
	srv_call_resume(call);
}

void srv_call_fail(struct srv_call *call, int code, const char *message)
{
	switch (call->state) {
	case SRV_CALL_PREPARE:
		/* The fault belongs to the worker now. */
		srv_call_gone(call);
		break;
	case SRV_CALL_GENERATE:
		set_fault(call, code, message);
		srv_stream_break(call);
		break;
	default: break; /* the rest has its end already */
	}
}
