/*
 * Streams. Events are read in batches; the tokens of one answer that came since the last look are
 * joined into one delta (unless stop strings, tool calls, reasoning or log probabilities need them one by one),
 * so the cost of a write is shared when the engine is faster than the network.
 */
#include "server/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "server/call.h"
#include "server/reply.h"
#include "server/srv.h"

#define EVENTS	       256
#define BATCHES_A_TURN 16
#define PING_NS	       (15 * LT_NS_PER_S)
#define COMPACT	       65536

static size_t pending(const struct srv_call *call)
{
	return call->out.len - call->out_at;
}

/* --- bytes out ----------------------------------------------------------------------------------- */

/* libmicrohttpd's content reader. */
static ssize_t read_out(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct srv_call *call = arg;
	size_t n = pending(call);

	(void)pos;
	call->srv->mhd_events++;
	if (call->state == SRV_CALL_GONE || !call->conn)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n) {
		n = n < max ? n : max;
		memcpy(buf, call->out.data + call->out_at, n);
		call->out_at += n;
		if (call->out_at == call->out.len) {
			lt_buf_clear(&call->out);
			call->out_at = 0;
		} else if (call->out_at >= COMPACT) {
			lt_buf_consume(&call->out, call->out_at);
			call->out_at = 0;
		}
		call->sent_ns = call->srv->now_ns;
		call->srv->metrics.frames++;
		srv_conn_enter(call->conn, SRV_CONN_REPLY);
		return (ssize_t)n;
	}
	if (call->state != SRV_CALL_GENERATE)
		return MHD_CONTENT_READER_END_OF_STREAM;
	srv_call_suspend(call);
	return 0;
}

static void on_response_free(void *arg)
{
	srv_call_unref(arg);
}

enum MHD_Result srv_stream_begin(struct srv_call *call)
{
	bool stream = call->request->stream;
	uint64_t size = stream ? MHD_SIZE_UNKNOWN : pending(call);
	struct MHD_Response *r =
		MHD_create_response_from_callback(size, 16384, read_out, call, on_response_free);
	enum MHD_Result rc;

	if (!r)
		return MHD_NO;
	call->refs++;
	srv_reply_headers(call->srv, r, stream ? "text/event-stream" : "application/json");
	MHD_add_response_header(r, "X-Request-Id", call->id);
	if (stream) {
		MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
		MHD_add_response_header(r, "X-Accel-Buffering", "no");
	}
	call->streaming = true;
	call->sent_ns = call->srv->now_ns;
	rc = srv_reply(call->conn, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return rc;
}

/* New bytes are there, or the end is. */
static void deliver(struct srv_call *call)
{
	struct srv *s = call->srv;

	if (call->request->stream && pending(call) > (size_t)s->params.server_stream_buffer) {
		lt_log(LT_LOG_INFO, "%s: the client left %zu bytes unread; cancelled", call->id,
		       pending(call));
		s->metrics.overflows++;
		srv_call_gone(call);
		return;
	}
	if (call->request->stream || call->state != SRV_CALL_GENERATE)
		srv_call_resume(call);
}

/* Passes a choice's joined text on. */
static int pass_text(struct srv_call *call, uint32_t c)
{
	struct srv_choice *ch = &call->choices[c];
	struct api_token t = {.text = ch->text.data, .n = ch->text.len};
	int rc = 0;

	if (t.n)
		rc = api_response_token(call->response, c, &t, &call->out);
	lt_buf_clear(&ch->text);
	return rc;
}

/* Passes on what was joined, of all choices. */
static int pass_fresh(struct srv_call *call)
{
	int rc = 0;

	for (uint32_t c = call->fresh; c != UINT32_MAX;) {
		struct srv_choice *ch = &call->choices[c];
		if (rc == 0 && !ch->finished)
			rc = pass_text(call, c);
		ch->listed = false;
		c = ch->next_fresh;
	}
	call->fresh = UINT32_MAX;
	return rc;
}

void srv_stream_break(struct srv_call *call)
{
	srv_call_cancel_jobs(call);
	if (call->streaming) {
		/* What was drawn before goes first; if even that fails, the error is all there is. */
		pass_fresh(call);
		srv_call_enter(call, SRV_CALL_BROKEN);
		api_fault_event(&call->out, &call->fault);
	} else {
		srv_call_enter(call, SRV_CALL_FAULT);
	}
	srv_call_resume(call);
}

/* --- events in ----------------------------------------------------------------------------------- */

static void fail(struct srv_call *call, int code)
{
	srv_call_fail(call, code, lt_error_text(code));
}

static void touch(struct srv_call *call, struct srv_call **touched)
{
	if (call->is_touched)
		return;
	call->is_touched = true;
	call->touched = *touched;
	*touched = call;
}

/* Passes one token on with all that is known of it. */
static int pass_token(struct srv_call *call, uint32_t c, const struct sched_event *e)
{
	const struct mdl_tok *tok = call->srv->model->tok;
	struct api_token_bytes top[ENG_MAX_TOP_LOGPROBS];
	struct srv_choice *ch = &call->choices[c];
	struct api_token t = {.text = ch->text.data ? ch->text.data : "", .n = ch->text.len};
	const struct eng_draw *d = e->draw;
	int rc;

	t.self.s = mdl_tok_bytes(tok, e->token, &t.self.n);
	if (!t.self.s)
		t.self.s = "";
	if (d) {
		t.self.logprob = d->logprob;
		for (uint32_t i = 0; i < d->n_top; i++) {
			top[i].s = mdl_tok_bytes(tok, d->top_ids[i], &top[i].n);
			top[i].s = top[i].s ? top[i].s : "";
			top[i].logprob = d->top_logprobs[i];
		}
		t.top = top;
		t.n_top = d->n_top;
	}
	rc = api_response_token(call->response, c, &t, &call->out);
	lt_buf_clear(&ch->text);
	return rc;
}

static int end_choice(struct srv_call *call, uint32_t c, enum api_finish why)
{
	struct srv_choice *ch = &call->choices[c];
	int rc = pass_text(call, c);

	if (rc == 0)
		rc = mdl_detok_flush(&ch->detok, &ch->text);
	if (rc == 0)
		rc = api_response_finish(call->response, c, ch->text.data ? ch->text.data : "",
					 ch->text.len, why, &call->out);
	lt_buf_clear(&ch->text);
	ch->finished = true;
	call->unfinished--;
	if (rc == 0 && call->unfinished == 0) {
		rc = api_response_end(call->response, &call->usage, &call->out);
		if (rc == 0) {
			srv_call_enter(call, SRV_CALL_ANSWER);
			srv_call_cancel_jobs(call);
		}
	}
	return rc;
}

static void time_token(struct srv_call *call, struct srv_choice *ch, uint64_t ns)
{
	struct srv_metrics *m = &call->srv->metrics;

	if (ch->tokens == 1)
		srv_hist_add(&m->first_token_seconds, (double)(ns - call->start_ns) / 1e9);
	else
		srv_hist_add(&m->token_gap_seconds, (double)(ns - ch->last_ns) / 1e9);
	ch->last_ns = ns;
}

static int on_token(struct srv_call *call, uint32_t c, const struct sched_event *e)
{
	struct srv_choice *ch = &call->choices[c];
	int rc = mdl_detok_push(&ch->detok, e->token, &ch->text);

	/* The vocabulary may be padded beyond the tokenizer: such an id has no text. */
	if (rc < 0 && rc != LT_EINVAL)
		return rc;
	ch->tokens++;
	call->usage.completion++;
	time_token(call, ch, e->time_ns);
	if (!call->each_token && !api_response_reasons(call->response, c)) {
		if (!ch->listed) {
			ch->listed = true;
			ch->next_fresh = call->fresh;
			call->fresh = c;
		}
		return 0;
	}
	rc = pass_token(call, c, e);
	if (rc == 0 && api_response_stopped(call->response, c)) {
		sched_cancel(call->srv->model->sched, ch->id, (int32_t)ch->index);
		rc = end_choice(call, c, API_FINISH_STOP);
	}
	return rc;
}

static void on_end(struct srv_call *call, uint32_t c, const struct sched_event *e)
{
	int rc;

	switch (e->finish) {
	case SCHED_FINISH_STOP: rc = end_choice(call, c, API_FINISH_STOP); break;
	case SCHED_FINISH_LENGTH: rc = end_choice(call, c, API_FINISH_LENGTH); break;
	case SCHED_FINISH_ERROR: rc = e->error ? e->error : LT_EINTERNAL; break;
	default: rc = LT_ECANCELLED; break;
	}
	if (rc < 0)
		fail(call, rc);
}

/* A job whose last final event came is over. */
static void release_job(struct srv *s, struct srv_job *job)
{
	if (job->call && job->call->jobs)
		job->call->jobs[job->first / job->call->request->n] = NULL;
	lt_map_del(s->jobs, &job->id, sizeof(job->id));
	free(job);
}

static void take_event(struct srv *s, const struct sched_event *e, struct srv_call **touched)
{
	struct srv_job *job;
	struct srv_call *call;
	uint64_t found;
	uint32_t c;

	if (!lt_map_get(s->jobs, &e->id, sizeof(e->id), &found))
		return;
	job = (struct srv_job *)(uintptr_t)found;
	call = job->call;
	c = job->first + e->choice;
	if (call && call->state == SRV_CALL_GENERATE) {
		touch(call, touched);
		if (!job->seen && e->choice == 0) {
			job->seen = true;
			call->usage.cached += e->n_cached;
		}
		if (e->token >= 0 && !call->choices[c].finished) {
			int rc = on_token(call, c, e);
			if (rc < 0)
				fail(call, rc);
		}
		if (e->finish != SCHED_FINISH_NONE && call->state == SRV_CALL_GENERATE &&
		    !call->choices[c].finished)
			on_end(call, c, e);
	}
	if (e->finish != SCHED_FINISH_NONE && --job->open == 0)
		release_job(s, job);
}

static void flush(struct srv_call *call)
{
	int rc = call->state == SRV_CALL_GENERATE ? pass_fresh(call) : 0;

	if (rc < 0)
		fail(call, rc);
	if (call->state == SRV_CALL_GENERATE || call->state == SRV_CALL_ANSWER)
		deliver(call);
}

void srv_stream_events(struct srv *s)
{
	struct sched_event events[EVENTS];
	struct srv_call *touched = NULL;
	size_t n = 0;

	if (!s->model)
		return;
	for (int batch = 0; batch < BATCHES_A_TURN; batch++) {
		n = sched_poll(s->model->sched, events, EVENTS);
		for (size_t i = 0; i < n; i++) {
			take_event(s, &events[i], &touched);
			free(events[i].draw);
		}
		if (n < EVENTS)
			break;
	}
	while (touched) {
		struct srv_call *call = touched;
		touched = call->touched;
		call->is_touched = false;
		flush(call);
	}
	if (n == EVENTS)
		uv_async_send(&s->wake);
}

void srv_stream_tick(struct srv *s)
{
	for (struct srv_call *call = s->calls; call; call = call->next) {
		if (call->state != SRV_CALL_GENERATE || !call->streaming || !call->suspended ||
		    s->now_ns - call->sent_ns < PING_NS)
			continue;
		api_stream_ping(&call->out);
		srv_call_resume(call);
	}
}
