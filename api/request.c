/*
 * The life of a request: limits, parsing order, checks between fields, release. Pure functions; the
 * caller owns the request.
 */
#include "api/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/parse.h"
#include "base/mem.h"
#include "base/utf8.h"

#define EXCERPT 40 /* bytes of a client's value that a fault shows */

static int excerpt(struct api_json v)
{
	return (int)(v.n <= EXCERPT ? v.n : lt_utf8_complete(v.s, EXCERPT));
}

const char *api_at_path(const struct api_at *at, char out[API_PATH])
{
	size_t used;

	out[0] = '\0';
	if (!at)
		return out;
	api_at_path(at->up, out); /* a few levels: the parser's own nesting */
	used = strlen(out);
	if (at->name)
		snprintf(out + used, API_PATH - used, "%s%s", used ? "." : "", at->name);
	else
		snprintf(out + used, API_PATH - used, "[%zu]", at->index);
	return out;
}

int api_parse_bad(struct api_parse *p, const struct api_at *at, const char *api_code,
		  struct api_json v, const char *allowed)
{
	enum api_json_type type = api_json_type(v);
	const char *kind = type == API_JSON_STRING   ? "the string "
			   : type == API_JSON_NUMBER ? "the number "
						     : "";
	char path[API_PATH];

	api_at_path(at, path);
	if (type == API_JSON_ARRAY || type == API_JSON_OBJECT)
		return api_fault_set(p->fault, LT_EINVAL, api_code, path,
				     "'%s' must be %s, but got %s", path, allowed,
				     api_json_type_name(type));
	return api_fault_set(p->fault, LT_EINVAL, api_code, path,
			     "'%s' must be %s, but got %s%.*s%s", path, allowed, kind, excerpt(v),
			     v.s, v.n > EXCERPT ? "..." : "");
}

int api_parse_missing(struct api_parse *p, const struct api_at *at, const char *what)
{
	char path[API_PATH];

	api_at_path(at, path);
	return api_fault_set(p->fault, LT_EINVAL, "missing_required_parameter", path,
			     "'%s' is missing: %s", path, what);
}

int api_parse_unsupported(struct api_parse *p, const struct api_at *at, const char *why)
{
	char path[API_PATH];

	api_at_path(at, path);
	return api_fault_set(p->fault, LT_EINVAL, "unsupported_parameter", path,
			     "'%s' is not supported%s%s", path, *why ? ": " : "", why);
}

int api_parse_wrong(struct api_parse *p, const struct api_at *at, const char *what)
{
	char path[API_PATH];

	api_at_path(at, path);
	return api_fault_set(p->fault, LT_EINVAL, "invalid_value", path, "'%s' %s", path, what);
}

int api_parse_too_many(struct api_parse *p, const struct api_at *at, size_t most, size_t found)
{
	char what[96];

	snprintf(what, sizeof(what), "may hold at most %zu entries, but got %zu", most, found);
	return api_parse_wrong(p, at, what);
}

int api_parse_want(struct api_parse *p, const struct api_at *at, struct api_json v,
		   enum api_json_type type, const char *allowed)
{
	if (api_json_type(v) == type)
		return 0;
	return api_parse_bad(p, at, "invalid_type", v, allowed);
}

int api_parse_int(struct api_parse *p, const struct api_at *at, struct api_json v, int64_t lo,
		  int64_t hi, int64_t *out)
{
	bool number = api_json_type(v) == API_JSON_NUMBER;
	char allowed[96];

	if (number && api_json_int(v, out) && *out >= lo && *out <= hi)
		return 0;
	snprintf(allowed, sizeof(allowed), "an integer from %lld to %lld", (long long)lo,
		 (long long)hi);
	return api_parse_bad(p, at, number ? "invalid_value" : "invalid_type", v, allowed);
}

int api_parse_members(struct api_parse *p, const struct api_at *at, struct api_json object,
		      const char *const *names, size_t n, struct api_json *values)
{
	struct api_json key, value;
	size_t pos = 0;

	memset(values, 0, n * sizeof(*values));
	while (api_json_next(object, &pos, &key, &value)) {
		for (size_t i = 0; i < n; i++) {
			if (!api_json_is(key, names[i]))
				continue;
			if (values[i].s)
				return api_parse_wrong(p, API_MEMBER(at, names[i]),
						       "is given twice");
			values[i] = value;
			break;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (values[i].s && api_json_type(values[i]) == API_JSON_NULL)
			values[i].s = NULL;
	}
	return 0;
}

static uint32_t or_default(uint32_t v, uint32_t standard)
{
	return v ? v : standard;
}

static struct api_limits fill_limits(const struct api_limits *in)
{
	struct api_limits l = *in;

	LT_ASSERT(l.n_models > 0 && l.context > 0 && l.vocab > 0);
	l.json_depth = or_default(l.json_depth, 64);
	if (l.json_depth > API_JSON_MAX_DEPTH)
		l.json_depth = API_JSON_MAX_DEPTH;
	l.messages = or_default(l.messages, 4096);
	l.tools = or_default(l.tools, 256);
	l.prompts = or_default(l.prompts, 64);
	l.choices = or_default(l.choices, 128);
	l.stops = or_default(l.stops, 4);
	if (l.stops > API_MAX_STOPS)
		l.stops = API_MAX_STOPS;
	l.stop_bytes = or_default(l.stop_bytes, 256);
	l.logit_bias = or_default(l.logit_bias, 1024);
	l.max_tokens = or_default(l.max_tokens, l.context);
	return l;
}

static struct api_request *request_open(enum api_endpoint endpoint)
{
	struct api_request *r = lt_alloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->endpoint = endpoint;
	r->n = 1;
	r->temperature = r->top_p = r->repetition_penalty = 1;
	r->cache_prompt = r->add_generation_prompt = true;
	if (endpoint == API_CHAT) {
		r->chat = lt_alloc(1, sizeof(*r->chat));
		if (!r->chat) {
			free(r);
			return NULL;
		}
	}
	return r;
}

void api_request_close(struct api_request *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_stops; i++)
		free(r->stops[i].s);
	for (size_t i = 0; i < r->n_prompts; i++) {
		free(r->prompts[i].text.s);
		free(r->prompts[i].ids);
	}
	if (r->chat)
		free(r->chat->text);
	free(r->chat);
	free(r->prompts);
	free(r->stops);
	free(r->logit_bias);
	free(r->user.s);
	free(r->model.s);
	free(r);
}

static int check_chat(struct api_parse *p)
{
	struct api_request *r = p->r;

	if (r->top_logprobs && !r->logprobs)
		return api_fault_set(p->fault, LT_EINVAL, "invalid_value", "top_logprobs",
				     "'top_logprobs' is allowed only when 'logprobs' is true");
	return 0;
}

static int check_completions(struct api_parse *p)
{
	struct api_request *r = p->r;

	if (p->has_best_of && p->best_of != r->n)
		return api_fault_set(p->fault, LT_EINVAL, "unsupported_value", "best_of",
				     "'best_of' must equal 'n' (%u), but got %lld: choosing among "
				     "unseen answers is not supported",
				     r->n, (long long)p->best_of);
	if (r->echo && r->logprobs)
		return api_fault_set(p->fault, LT_EINVAL, "unsupported_value", "echo",
				     "'echo' together with 'logprobs' is not supported: there are "
				     "no logprobs of prompt tokens");
	return 0;
}

/* What no single field can tell. */
static int check_together(struct api_parse *p)
{
	struct api_request *r = p->r;
	size_t prompts = r->endpoint == API_CHAT ? 1 : r->n_prompts;

	if (p->has_stream_options && !r->stream)
		return api_fault_set(p->fault, LT_EINVAL, "invalid_value", "stream_options",
				     "'stream_options' is allowed only when 'stream' is true");
	if (r->has_max_tokens && r->min_tokens > r->max_tokens)
		return api_fault_set(p->fault, LT_EINVAL, "invalid_value", "min_tokens",
				     "'min_tokens' must be at most 'max_tokens' (%u), but got %u",
				     r->max_tokens, r->min_tokens);
	if (prompts * r->n > p->limits.choices)
		return api_fault_set(p->fault, LT_EINVAL, "invalid_value", "n",
				     "'n' times the number of prompts must be at most %u, but got "
				     "%u times %zu",
				     p->limits.choices, r->n, prompts);
	return r->endpoint == API_CHAT ? check_chat(p) : check_completions(p);
}

static int parse_root(struct api_parse *p, const char *body, size_t n)
{
	struct api_json root;
	int rc;

	if (n == 0)
		return api_fault_set(p->fault, LT_EFORMAT, "invalid_json", NULL,
				     "The body is empty: a JSON object is expected");
	rc = api_json_check(body, n, p->limits.json_depth, &root, p->fault);
	if (rc < 0)
		return rc;
	if (api_json_type(root) != API_JSON_OBJECT)
		return api_fault_set(p->fault, LT_EINVAL, "invalid_type", NULL,
				     "The body must be a JSON object, but got %s",
				     api_json_type_name(api_json_type(root)));
	rc = api_parse_fields(p, root);
	if (rc == 0 && p->r->endpoint == API_CHAT)
		rc = api_parse_chat(p, root);
	return rc == 0 ? check_together(p) : rc;
}

static int parse(enum api_endpoint endpoint, const char *body, size_t n,
		 const struct api_limits *limits, struct api_request **out, struct api_fault *fault)
{
	struct api_parse p = {.limits = fill_limits(limits), .fault = fault};
	int rc = LT_ENOMEM;

	*out = NULL;
	p.r = request_open(endpoint);
	if (p.r)
		rc = parse_root(&p, body, n);
	if (rc == LT_ENOMEM)
		api_fault_from(fault, rc, NULL, NULL);
	if (rc < 0) {
		api_request_close(p.r);
		return rc;
	}
	*out = p.r;
	return 0;
}

int api_chat_parse(const char *body, size_t n, const struct api_limits *limits,
		   struct api_request **out, struct api_fault *fault)
{
	return parse(API_CHAT, body, n, limits, out, fault);
}

int api_completions_parse(const char *body, size_t n, const struct api_limits *limits,
			  struct api_request **out, struct api_fault *fault)
{
	return parse(API_COMPLETIONS, body, n, limits, out, fault);
}
