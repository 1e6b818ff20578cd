/*
 * Responses: chunks of an event stream, or the collected body. What all chunks of a response share is
 * written once, at the start; a delta is that, its text as JSON and a constant tail.
 */
#include "api/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/output.h"
#include "api/write.h"
#include "base/mem.h"

struct choice {
	struct api_output output;
	char call_prefix[64];
	/* a body that is not streamed collects here, as JSON text without quotes */
	struct lt_buf content, reasoning, calls;
};

struct api_response {
	const struct api_request *request;
	struct api_stops *stops;
	struct lt_buf head; /* up to the choices' array, with its bracket */
	const char *tail;   /* after that array */
	bool chat, reasoning;
	uint32_t n;
	struct choice *choices; // [n]
};

static const char *object_name(const struct api_response *r)
{
	if (!r->chat)
		return "text_completion";
	return r->request->stream ? "chat.completion.chunk" : "chat.completion";
}

static int write_head(struct api_response *r, const struct api_response_opts *opts)
{
	struct lt_buf *b = &r->head;

	lt_buf_adds(b, r->request->stream ? "data: {\"id\":" : "{\"id\":");
	api_write_string(b, opts->id, strlen(opts->id));
	lt_buf_addf(b, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object_name(r),
		    (long long)opts->created);
	api_write_string(b, r->request->model.s, r->request->model.n);
	lt_buf_adds(b, ",\"system_fingerprint\":");
	if (opts->fingerprint)
		api_write_string(b, opts->fingerprint, strlen(opts->fingerprint));
	else
		lt_buf_adds(b, "null");
	r->tail = r->request->stream && r->request->include_usage ? "],\"usage\":null}\n\n"
								  : "]}\n\n";
	return lt_buf_adds(b, ",\"choices\":[");
}

static void choices_init(struct api_response *r, const struct api_response_opts *opts)
{
	const struct api_request *q = r->request;
	const char *dash = strrchr(opts->id, '-');
	struct api_output_opts o = {
		.stops = r->stops,
		.split = r->chat,
		.reasoning = r->reasoning,
		.reasoning_open = opts->reasoning_open,
		.single_call = q->single_call,
		.logprobs = q->logprobs,
		.tools = q->tools ? opts->tools : API_TOOLS_NONE,
		.form = q->endpoint,
		.logprobs_limit = opts->limit,
	};

	for (uint32_t i = 0; i < r->n; i++) {
		struct choice *c = &r->choices[i];
		/* ids of calls: unique among choices and responses */
		snprintf(c->call_prefix, sizeof(c->call_prefix), "call_%.36s_%u_",
			 dash ? dash + 1 : opts->id, i);
		o.call_prefix = c->call_prefix;
		api_output_init(&c->output, &o);
		lt_buf_init(&c->content, opts->limit);
		lt_buf_init(&c->reasoning, opts->limit);
		lt_buf_init(&c->calls, opts->limit);
	}
}

int api_response_open(const struct api_response_opts *opts, struct api_response **out)
{
	const struct api_request *q = opts->request;
	struct api_response *r = lt_alloc(1, sizeof(*r));

	if (!r)
		return LT_ENOMEM;
	r->request = q;
	r->chat = q->endpoint == API_CHAT;
	r->reasoning = r->chat && opts->reasoning;
	r->n = q->n * (r->chat ? 1 : (uint32_t)q->n_prompts);
	r->choices = lt_alloc(r->n, sizeof(*r->choices));
	if (!r->choices || write_head(r, opts) < 0 ||
	    (q->n_stops && api_stops_open(q->stops, q->n_stops, &r->stops) < 0)) {
		r->n = 0;
		api_response_close(r);
		return LT_ENOMEM;
	}
	choices_init(r, opts);
	*out = r;
	return 0;
}

void api_response_close(struct api_response *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->n; i++) {
		struct choice *c = &r->choices[i];
		api_output_fini(&c->output);
		lt_buf_fini(&c->content);
		lt_buf_fini(&c->reasoning);
		lt_buf_fini(&c->calls);
	}
	free(r->choices);
	api_stops_close(r->stops);
	lt_buf_fini(&r->head);
	free(r);
}

uint32_t api_response_choices(const struct api_response *r)
{
	return r->n;
}

/* The beginning of a chunk: ...,"choices":[{"index":N */
static void chunk_begin(const struct api_response *r, uint32_t choice, struct lt_buf *out)
{
	lt_buf_add(out, r->head.data, r->head.len);
	lt_buf_adds(out, "{\"index\":");
	api_write_uint(out, choice);
}

/* "logprobs" of the next `due` tokens, and the end of a chunk. */
static int chunk_end(struct api_response *r, struct api_output *o, size_t due, const char *finish,
		     struct lt_buf *out)
{
	lt_buf_adds(out, ",\"logprobs\":");
	if (due)
		api_logprobs_write(&o->logprobs, due, out);
	else
		lt_buf_adds(out, "null");
	lt_buf_adds(out, ",\"finish_reason\":");
	if (finish)
		api_write_string(out, finish, strlen(finish));
	else
		lt_buf_adds(out, "null");
	lt_buf_addc(out, '}');
	return lt_buf_adds(out, r->tail);
}

/* {"index":0,"id":"...","type":"function","function":{"name":"...","arguments":"
 * A chunk closes the string and the objects at once, a body when the arguments are complete. */
static void add_call(const struct api_delta *d, bool with_index, struct lt_buf *out)
{
	lt_buf_addc(out, '{');
	if (with_index) {
		lt_buf_adds(out, "\"index\":");
		api_write_uint(out, d->call);
		lt_buf_addc(out, ',');
	}
	lt_buf_adds(out, "\"id\":");
	api_write_string(out, d->id, d->id_n);
	lt_buf_adds(out, ",\"type\":\"function\",\"function\":{\"name\":");
	api_write_string(out, d->text, d->n);
	lt_buf_adds(out, ",\"arguments\":\"");
}

/* The member "delta" (or "text") of a chunk. */
static void add_delta(const struct api_response *r, const struct api_delta *d, struct lt_buf *out)
{
	switch (d->kind) {
	case API_DELTA_CONTENT:
		lt_buf_adds(out, r->chat ? ",\"delta\":{\"content\":\"" : ",\"text\":\"");
		lt_buf_add_json(out, d->text, d->n);
		lt_buf_adds(out, r->chat ? "\"}" : "\"");
		break;
	case API_DELTA_REASONING:
		lt_buf_adds(out, ",\"delta\":{\"reasoning_content\":\"");
		lt_buf_add_json(out, d->text, d->n);
		lt_buf_adds(out, "\"}");
		break;
	case API_DELTA_CALL:
		lt_buf_adds(out, ",\"delta\":{\"tool_calls\":[");
		add_call(d, true, out);
		lt_buf_adds(out, "\"}}]}");
		break;
	case API_DELTA_ARGUMENTS:
		lt_buf_adds(out, ",\"delta\":{\"tool_calls\":[{\"index\":");
		api_write_uint(out, d->call);
		lt_buf_adds(out, ",\"function\":{\"arguments\":\"");
		lt_buf_add_json(out, d->text, d->n);
		lt_buf_adds(out, "\"}}]}");
		break;
	}
}

/* One chunk for each delta; the first carries the logprobs that are due. */
static int stream_deltas(struct api_response *r, uint32_t choice, struct lt_buf *out)
{
	struct api_output *o = &r->choices[choice].output;

	for (size_t i = 0; i < o->deltas.n; i++) {
		chunk_begin(r, choice, out);
		add_delta(r, &o->deltas.list[i], out);
		chunk_end(r, o, o->due, NULL, out);
		o->due = 0;
	}
	return out->failed;
}

static int collect_deltas(struct choice *c)
{
	const struct api_deltas *d = &c->output.deltas;

	for (size_t i = 0; i < d->n; i++) {
		const struct api_delta *x = &d->list[i];
		struct lt_buf *to = x->kind == API_DELTA_CONTENT     ? &c->content
				    : x->kind == API_DELTA_REASONING ? &c->reasoning
								     : &c->calls;
		if (x->kind != API_DELTA_CALL) {
			lt_buf_add_json(to, x->text, x->n);
			continue;
		}
		if (to->len)
			lt_buf_adds(to, "\"}},");
		add_call(x, false, to);
	}
	return c->content.failed ? c->content.failed
	       : c->calls.failed ? c->calls.failed
				 : c->reasoning.failed;
}

static int deliver(struct api_response *r, uint32_t choice, struct lt_buf *out)
{
	return r->request->stream ? stream_deltas(r, choice, out)
				  : collect_deltas(&r->choices[choice]);
}

static int begin_choice(struct api_response *r, uint32_t choice, const struct api_str *echo,
			struct lt_buf *out)
{
	const struct api_request *q = r->request;
	struct api_output *o = &r->choices[choice].output;
	const struct api_prompt *prompt;
	const struct api_str *text;
	struct api_delta d = {.kind = API_DELTA_CONTENT};

	if (r->chat) {
		if (!q->stream)
			return 0;
		chunk_begin(r, choice, out);
		lt_buf_adds(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"}");
		return chunk_end(r, o, 0, NULL, out);
	}
	if (!q->echo)
		return 0;
	prompt = &q->prompts[choice / q->n];
	text = prompt->ids ? &echo[choice / q->n] : &prompt->text;
	o->logprobs.chars += api_count_chars(text->s, text->n);
	if (!q->stream)
		return lt_buf_add_json(&r->choices[choice].content, text->s, text->n);
	d.text = text->s;
	d.n = text->n;
	chunk_begin(r, choice, out);
	add_delta(r, &d, out);
	return chunk_end(r, o, 0, NULL, out);
}

int api_response_begin(struct api_response *r, const struct api_str *echo, struct lt_buf *out)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < r->n; i++)
		rc = begin_choice(r, i, echo, out);
	return rc;
}

int api_response_token(struct api_response *r, uint32_t choice, const struct api_token *t,
		       struct lt_buf *out)
{
	int rc;

	LT_ASSERT(choice < r->n);
	rc = api_output_push(&r->choices[choice].output, t);
	return rc < 0 ? rc : deliver(r, choice, out);
}

bool api_response_stopped(const struct api_response *r, uint32_t choice)
{
	LT_ASSERT(choice < r->n);
	return api_output_stopped(&r->choices[choice].output);
}

bool api_response_reasons(const struct api_response *r, uint32_t choice)
{
	LT_ASSERT(choice < r->n);
	return api_output_reasons(&r->choices[choice].output);
}

bool api_response_finished(const struct api_response *r, uint32_t choice)
{
	LT_ASSERT(choice < r->n);
	return r->choices[choice].output.finish != API_FINISH_NONE;
}

static const char *finish_name(enum api_finish f)
{
	switch (f) {
	case API_FINISH_STOP: return "stop";
	case API_FINISH_LENGTH: return "length";
	case API_FINISH_TOOL_CALLS: return "tool_calls";
	default: return NULL;
	}
}

int api_response_finish(struct api_response *r, uint32_t choice, const char *rest, size_t n,
			enum api_finish why, struct lt_buf *out)
{
	struct api_output *o;
	int rc;

	LT_ASSERT(choice < r->n && (why == API_FINISH_STOP || why == API_FINISH_LENGTH));
	o = &r->choices[choice].output;
	if (o->finish)
		return 0;
	rc = api_output_finish(o, rest, n, why);
	if (rc == 0)
		rc = deliver(r, choice, out);
	if (rc < 0 || !r->request->stream)
		return rc;
	chunk_begin(r, choice, out);
	lt_buf_adds(out, r->chat ? ",\"delta\":{}" : ",\"text\":\"\"");
	return chunk_end(r, o, o->due, finish_name(o->finish), out);
}

/* {"role":"assistant","content":...} */
static void add_message(const struct api_response *r, const struct choice *c, struct lt_buf *out)
{
	lt_buf_adds(out, ",\"message\":{\"role\":\"assistant\",\"content\":");
	if (c->content.len || !c->calls.len) {
		lt_buf_addc(out, '"');
		lt_buf_add(out, c->content.data, c->content.len);
		lt_buf_addc(out, '"');
	} else {
		lt_buf_adds(out, "null");
	}
	lt_buf_adds(out, ",\"refusal\":null");
	if (r->reasoning) {
		lt_buf_adds(out, ",\"reasoning_content\":");
		lt_buf_adds(out, c->reasoning.len ? "\"" : "null");
		lt_buf_add(out, c->reasoning.data, c->reasoning.len);
		lt_buf_adds(out, c->reasoning.len ? "\"" : "");
	}
	if (c->calls.len) {
		lt_buf_adds(out, ",\"tool_calls\":[");
		lt_buf_add(out, c->calls.data, c->calls.len);
		lt_buf_adds(out, "\"}}]");
	}
	lt_buf_addc(out, '}');
}

static void add_choice(const struct api_response *r, uint32_t i, struct lt_buf *out)
{
	struct choice *c = &r->choices[i];

	lt_buf_adds(out, i ? ",{\"index\":" : "{\"index\":");
	api_write_uint(out, i);
	if (r->chat) {
		add_message(r, c, out);
	} else {
		lt_buf_adds(out, ",\"text\":\"");
		lt_buf_add(out, c->content.data, c->content.len);
		lt_buf_addc(out, '"');
	}
	lt_buf_adds(out, ",\"logprobs\":");
	if (r->request->logprobs)
		api_logprobs_write(&c->output.logprobs, c->output.due, out);
	else
		lt_buf_adds(out, "null");
	lt_buf_adds(out, ",\"finish_reason\":");
	lt_buf_addf(out, "\"%s\"}", finish_name(c->output.finish));
}

static void add_usage(const struct api_response *r, const struct api_usage *u, struct lt_buf *out)
{
	uint64_t reasoning = 0;

	for (uint32_t i = 0; i < r->n; i++)
		reasoning += r->choices[i].output.reasoning_tokens;
	lt_buf_addf(out,
		    "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,"
		    "\"total_tokens\":%llu,\"prompt_tokens_details\":{\"cached_tokens\":%llu}",
		    (unsigned long long)u->prompt, (unsigned long long)u->completion,
		    (unsigned long long)(u->prompt + u->completion), (unsigned long long)u->cached);
	if (r->reasoning)
		lt_buf_addf(out, ",\"completion_tokens_details\":{\"reasoning_tokens\":%llu}",
			    (unsigned long long)reasoning);
	lt_buf_addc(out, '}');
}

int api_response_end(struct api_response *r, const struct api_usage *usage, struct lt_buf *out)
{
	for (uint32_t i = 0; i < r->n; i++)
		LT_ASSERT(r->choices[i].output.finish);
	if (r->request->stream) {
		if (r->request->include_usage) {
			lt_buf_add(out, r->head.data, r->head.len);
			lt_buf_adds(out, "],");
			add_usage(r, usage, out);
			lt_buf_adds(out, "}\n\n");
		}
		return lt_buf_adds(out, "data: [DONE]\n\n");
	}
	lt_buf_add(out, r->head.data, r->head.len);
	for (uint32_t i = 0; i < r->n; i++)
		add_choice(r, i, out);
	lt_buf_adds(out, "],");
	add_usage(r, usage, out);
	return lt_buf_addc(out, '}');
}
