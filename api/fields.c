/*
 * The fields of a body, but for the conversation: one table says which field belongs to which
 * endpoint, how it is read, what range it has and where it goes. Fields are read in the table's
 * order, whatever the body's.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/parse.h"
#include "base/mem.h"
#include "base/utf8.h"

#define CHAT 1u
#define TEXT 2u
#define BOTH (CHAT | TEXT)
#define NONE SIZE_MAX /* no "has" flag */

struct field {
	const char *name;
	unsigned int endpoints;
	int (*read)(struct api_parse *p, const struct field *f, struct api_json v);
	size_t at, has;	     /* offsets in struct api_request */
	double lo, hi;	     /* allowed range */
	const char *allowed; /* the range in words */
};

#define AT_FIELD(f) API_MEMBER(NULL, (f)->name)

static void *place(struct api_parse *p, size_t at)
{
	return (char *)p->r + at;
}

static int read_bool(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_BOOL, "true or false");

	if (rc == 0)
		*(bool *)place(p, f->at) = v.s[0] == 't';
	return rc;
}

/* A float of lo..hi. */
static int read_float(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_NUMBER, f->allowed);
	double d;

	if (rc < 0)
		return rc;
	if (!api_json_double(v, &d) || d < f->lo || d > f->hi)
		return api_parse_bad(p, AT_FIELD(f), "invalid_value", v, f->allowed);
	*(float *)place(p, f->at) = (float)d;
	if (f->has != NONE)
		*(bool *)place(p, f->has) = true;
	return 0;
}

/* A float above lo (still above it as a float), to hi. */
static int read_float_above(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = read_float(p, f, v);

	if (rc == 0 && !(*(float *)place(p, f->at) > (float)f->lo))
		rc = api_parse_bad(p, AT_FIELD(f), "invalid_value", v, f->allowed);
	return rc;
}

static int read_uint(struct api_parse *p, const struct field *f, struct api_json v)
{
	int64_t i;
	int rc = api_parse_int(p, AT_FIELD(f), v, (int64_t)f->lo, (int64_t)f->hi, &i);

	if (rc < 0)
		return rc;
	*(uint32_t *)place(p, f->at) = (uint32_t)i;
	if (f->has != NONE)
		*(bool *)place(p, f->has) = true;
	return 0;
}

static int read_tokens(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct field bounded = *f;

	bounded.hi = p->limits.max_tokens;
	return read_uint(p, &bounded, v);
}

static int read_n(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct field bounded = *f;

	bounded.hi = p->limits.choices;
	return read_uint(p, &bounded, v);
}

static int read_top_k(struct api_parse *p, const struct field *f, struct api_json v)
{
	int64_t i;
	int rc = api_parse_int(p, AT_FIELD(f), v, -1, INT32_MAX, &i);

	if (rc < 0)
		return rc;
	p->r->top_k = i < 0 ? 0 : (uint32_t)i;
	p->r->has_top_k = true;
	return 0;
}

static int read_priority(struct api_parse *p, const struct field *f, struct api_json v)
{
	int64_t i;
	int rc = api_parse_int(p, AT_FIELD(f), v, -100, 100, &i);

	if (rc == 0)
		p->r->priority = (int32_t)i;
	return rc;
}

static int read_seed(struct api_parse *p, const struct field *f, struct api_json v)
{
	int64_t i;
	int rc = api_parse_int(p, AT_FIELD(f), v, INT64_MIN, INT64_MAX, &i);

	if (rc < 0)
		return rc;
	p->r->seed = (uint64_t)i;
	p->r->has_seed = true;
	return 0;
}

static int read_best_of(struct api_parse *p, const struct field *f, struct api_json v)
{
	p->has_best_of = true;
	return api_parse_int(p, AT_FIELD(f), v, 1, 1000, &p->best_of);
}

static int read_timeout(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_NUMBER, f->allowed);
	double d;

	if (rc < 0)
		return rc;
	if (!api_json_double(v, &d) || !(d > f->lo) || d > f->hi)
		return api_parse_bad(p, AT_FIELD(f), "invalid_value", v, f->allowed);
	p->r->timeout_ms = (uint32_t)ceil(d * 1000);
	return 0;
}

static int read_string(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_STRING, "a string");

	return rc < 0 ? rc : api_json_string(v, place(p, f->at));
}

static int unknown_model(struct api_parse *p)
{
	size_t used = 0, n = p->r->model.n;
	char served[256] = "";

	for (size_t i = 0; i < p->limits.n_models && used < sizeof(served); i++)
		used += (size_t)snprintf(served + used, sizeof(served) - used, "%s'%s'",
					 i ? ", " : "", p->limits.models[i]);
	return api_fault_set(p->fault, LT_ENOENT, "model_not_found", "model",
			     "The model '%.*s' does not exist; served here: %s",
			     (int)(n <= 100 ? n : lt_utf8_complete(p->r->model.s, 100)),
			     p->r->model.s, served);
}

static int read_model(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = read_string(p, f, v);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < p->limits.n_models; i++) {
		if (strcmp(p->r->model.s, p->limits.models[i]) == 0)
			return 0;
	}
	return unknown_model(p);
}

static int read_stream_options(struct api_parse *p, const struct field *f, struct api_json v)
{
	static const char *const names[] = {"include_usage"};
	struct api_json usage;
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_OBJECT, "an object");

	if (rc == 0)
		rc = api_parse_members(p, AT_FIELD(f), v, names, 1, &usage);
	if (rc < 0)
		return rc;
	p->has_stream_options = true;
	if (!usage.s)
		return 0;
	rc = api_parse_want(p, API_MEMBER(AT_FIELD(f), names[0]), usage, API_JSON_BOOL,
			    "true or false");
	p->r->include_usage = usage.s[0] == 't';
	return rc;
}

static int add_stop(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	struct api_request *r = p->r;
	char allowed[64];
	int rc = api_parse_want(p, at, v, API_JSON_STRING, "a string");

	if (rc < 0)
		return rc;
	snprintf(allowed, sizeof(allowed), "a string of 1 to %u bytes", p->limits.stop_bytes);
	rc = api_json_string(v, &r->stops[r->n_stops]);
	if (rc < 0)
		return rc;
	r->n_stops++;
	if (r->stops[r->n_stops - 1].n == 0 || r->stops[r->n_stops - 1].n > p->limits.stop_bytes)
		return api_parse_bad(p, at, "invalid_value", v, allowed);
	return 0;
}

static int read_stop(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct api_json item;
	size_t at = 0, i = 0;
	int rc = 0;

	if (api_json_type(v) != API_JSON_STRING && api_json_type(v) != API_JSON_ARRAY)
		return api_parse_bad(p, AT_FIELD(f), "invalid_type", v,
				     "a string or an array of strings");
	p->r->stops = lt_alloc(p->limits.stops, sizeof(*p->r->stops));
	if (!p->r->stops)
		return LT_ENOMEM;
	if (api_json_type(v) == API_JSON_STRING)
		return add_stop(p, AT_FIELD(f), v);
	for (; rc == 0 && api_json_next(v, &at, NULL, &item); i++) {
		if (i >= p->limits.stops)
			return api_parse_too_many(p, AT_FIELD(f), p->limits.stops,
						  api_json_count(v));
		rc = add_stop(p, API_ELEMENT(AT_FIELD(f), i), item);
	}
	return rc;
}

static int bad_bias_key(struct api_parse *p, const struct field *f, struct api_json key)
{
	char what[128];

	snprintf(what, sizeof(what), "has the key %.*s, but keys must be token ids from 0 to %u",
		 key.n <= 40 ? (int)key.n : (int)lt_utf8_complete(key.s, 40), key.s,
		 p->limits.vocab - 1);
	return api_parse_wrong(p, AT_FIELD(f), what);
}

/* One entry: the key is a token's id in decimal. */
static int add_bias(struct api_parse *p, const struct field *f, struct api_json key,
		    struct api_json v)
{
	struct api_request *r = p->r;
	struct api_json digits = {key.s + 1, key.n - 2};
	char name[16];
	int64_t id;
	double d;

	if (digits.n == 0 || digits.n > 10 || strspn(digits.s, "0123456789") != digits.n ||
	    !api_json_int(digits, &id) || id >= p->limits.vocab)
		return bad_bias_key(p, f, key);
	snprintf(name, sizeof(name), "%.*s", (int)digits.n, digits.s);
	if (api_json_type(v) != API_JSON_NUMBER)
		return api_parse_bad(p, API_MEMBER(AT_FIELD(f), name), "invalid_type", v,
				     "a number from -100 to 100");
	if (!api_json_double(v, &d) || d < -100 || d > 100)
		return api_parse_bad(p, API_MEMBER(AT_FIELD(f), name), "invalid_value", v,
				     "a number from -100 to 100");
	for (size_t i = 0; i < r->n_logit_bias; i++) {
		if (r->logit_bias[i].token == id)
			return api_parse_wrong(p, API_MEMBER(AT_FIELD(f), name), "is given twice");
	}
	r->logit_bias[r->n_logit_bias++] = (struct api_bias){(int32_t)id, (float)d};
	return 0;
}

static int read_logit_bias(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct api_json key, value;
	size_t count, at = 0;
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_OBJECT,
				"an object of token ids and numbers");

	if (rc < 0)
		return rc;
	count = api_json_count(v);
	if (count > p->limits.logit_bias)
		return api_parse_too_many(p, AT_FIELD(f), p->limits.logit_bias, count);
	p->r->logit_bias = lt_alloc(count, sizeof(*p->r->logit_bias));
	if (!p->r->logit_bias)
		return LT_ENOMEM;
	while (rc == 0 && api_json_next(v, &at, &key, &value))
		rc = add_bias(p, f, key, value);
	return rc;
}

/* completions: an integer asks for logprobs of the tokens and of so many alternatives. */
static int read_text_logprobs(struct api_parse *p, const struct field *f, struct api_json v)
{
	p->r->logprobs = true;
	return read_uint(p, f, v);
}

static int read_response_format(struct api_parse *p, const struct field *f, struct api_json v)
{
	static const char *const names[] = {"type"};
	struct api_json type;
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_OBJECT, "an object");

	if (rc == 0)
		rc = api_parse_members(p, AT_FIELD(f), v, names, 1, &type);
	if (rc < 0)
		return rc;
	if (!type.s)
		return api_parse_missing(p, API_MEMBER(AT_FIELD(f), names[0]),
					 "{\"type\":\"text\"} is allowed");
	rc = api_parse_want(p, API_MEMBER(AT_FIELD(f), names[0]), type, API_JSON_STRING,
			    "\"text\"");
	if (rc < 0 || api_json_is(type, "text"))
		return rc;
	return api_parse_bad(p, AT_FIELD(f), "unsupported_value", type,
			     "of type \"text\" (structured output is not supported)");
}

static int read_modalities(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct api_json item;
	size_t at = 0;
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_ARRAY, "[\"text\"]");

	while (rc == 0 && api_json_next(v, &at, NULL, &item)) {
		if (api_json_type(item) != API_JSON_STRING || !api_json_is(item, "text"))
			rc = api_parse_bad(p, AT_FIELD(f), "unsupported_value", item, "[\"text\"]");
	}
	return rc;
}

/* For fields that must be true, their only supported value. */
static int read_true(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_BOOL, "true");

	if (rc == 0 && v.s[0] != 't')
		rc = api_parse_bad(p, AT_FIELD(f), "unsupported_value", v, "true");
	return rc;
}

static int read_parallel(struct api_parse *p, const struct field *f, struct api_json v)
{
	int rc = api_parse_want(p, AT_FIELD(f), v, API_JSON_BOOL, "true or false");

	if (rc == 0)
		p->r->single_call = v.s[0] == 'f';
	return rc;
}

/* Known, but not supported: refused unless the value changes nothing. */
static int refuse(struct api_parse *p, const struct field *f, struct api_json v)
{
	struct api_json item;
	size_t at = 0;

	switch (api_json_type(v)) {
	case API_JSON_BOOL:
		if (v.s[0] == 'f')
			return 0;
		break;
	case API_JSON_STRING:
		if (v.n == 2)
			return 0;
		break;
	case API_JSON_ARRAY:
	case API_JSON_OBJECT:
		if (!api_json_next(v, &at, NULL, &item))
			return 0;
		break;
	default: break;
	}
	return api_parse_unsupported(p, AT_FIELD(f), f->allowed ? f->allowed : "");
}

static int read_prompt(struct api_parse *p, const struct field *f, struct api_json v)
{
	(void)f;
	return api_parse_prompt(p, v);
}

#define AT(m) offsetof(struct api_request, m)
#define REFUSED(e, name, why)                                                                      \
	{                                                                                          \
		name, e, refuse, 0, NONE, 0, 0, why                                                \
	}

static const char constrained[] = "answers can't be constrained to a grammar or schema";

static const struct field fields[] = {
	{"model", BOTH, read_model, AT(model), NONE, 0, 0, NULL},
	{"prompt", TEXT, read_prompt, 0, NONE, 0, 0, NULL},
	{"stream", BOTH, read_bool, AT(stream), NONE, 0, 0, NULL},
	{"stream_options", BOTH, read_stream_options, 0, NONE, 0, 0, NULL},
	{"n", BOTH, read_n, AT(n), NONE, 1, 0, NULL},
	{"best_of", BOTH, read_best_of, 0, NONE, 0, 0, NULL},
	{"max_tokens", BOTH, read_tokens, AT(max_tokens), AT(has_max_tokens), 1, 0, NULL},
	/* the newer name wins */
	{"max_completion_tokens", CHAT, read_tokens, AT(max_tokens), AT(has_max_tokens), 1, 0,
	 NULL},
	{"min_tokens", BOTH, read_tokens, AT(min_tokens), NONE, 0, 0, NULL},
	{"temperature", BOTH, read_float, AT(temperature), AT(has_temperature), 0, 2,
	 "a number from 0 to 2"},
	{"top_p", BOTH, read_float_above, AT(top_p), AT(has_top_p), 0, 1,
	 "a number above 0, at most 1"},
	{"top_k", BOTH, read_top_k, 0, NONE, 0, 0, NULL},
	{"min_p", BOTH, read_float, AT(min_p), AT(has_min_p), 0, 1, "a number from 0 to 1"},
	{"presence_penalty", BOTH, read_float, AT(presence_penalty), NONE, -2, 2,
	 "a number from -2 to 2"},
	{"frequency_penalty", BOTH, read_float, AT(frequency_penalty), NONE, -2, 2,
	 "a number from -2 to 2"},
	{"repetition_penalty", BOTH, read_float_above, AT(repetition_penalty), NONE, 0, 2,
	 "a number above 0, at most 2"},
	{"seed", BOTH, read_seed, 0, NONE, 0, 0, NULL},
	{"logit_bias", BOTH, read_logit_bias, 0, NONE, 0, 0, NULL},
	{"logprobs", CHAT, read_bool, AT(logprobs), NONE, 0, 0, NULL},
	{"top_logprobs", CHAT, read_uint, AT(top_logprobs), NONE, 0, API_MAX_TOP_LOGPROBS, NULL},
	{"logprobs", TEXT, read_text_logprobs, AT(top_logprobs), NONE, 0, API_MAX_TOP_LOGPROBS,
	 NULL},
	{"stop", BOTH, read_stop, 0, NONE, 0, 0, NULL},
	{"ignore_eos", BOTH, read_bool, AT(ignore_eos), NONE, 0, 0, NULL},
	{"priority", BOTH, read_priority, 0, NONE, 0, 0, NULL},
	{"timeout", BOTH, read_timeout, 0, NONE, 0, 86400,
	 "a number of seconds above 0, at most 86400"},
	{"cache_prompt", BOTH, read_bool, AT(cache_prompt), NONE, 0, 0, NULL},
	{"user", BOTH, read_string, AT(user), NONE, 0, 0, NULL},
	{"echo", TEXT, read_bool, AT(echo), NONE, 0, 0, NULL},
	{"add_generation_prompt", CHAT, read_bool, AT(add_generation_prompt), NONE, 0, 0, NULL},
	{"parallel_tool_calls", CHAT, read_parallel, 0, NONE, 0, 0, NULL},
	{"response_format", BOTH, read_response_format, 0, NONE, 0, 0, NULL},
	{"modalities", CHAT, read_modalities, 0, NONE, 0, 0, NULL},
	{"skip_special_tokens", BOTH, read_true, 0, NONE, 0, 0, NULL},
	REFUSED(TEXT, "suffix", "text can't be inserted before an end"),
	REFUSED(CHAT, "continue_final_message", "the last message is always taken as complete"),
	REFUSED(CHAT, "functions", "deprecated; use 'tools'"),
	REFUSED(CHAT, "function_call", "deprecated; use 'tool_choice'"),
	REFUSED(CHAT, "audio", "this server answers in text"),
	REFUSED(CHAT, "prediction", ""),
	REFUSED(CHAT, "web_search_options", ""),
	REFUSED(BOTH, "guided_json", constrained),
	REFUSED(BOTH, "guided_regex", constrained),
	REFUSED(BOTH, "guided_choice", constrained),
	REFUSED(BOTH, "guided_grammar", constrained),
	REFUSED(BOTH, "structured_outputs", constrained),
	REFUSED(BOTH, "json_schema", constrained),
	REFUSED(BOTH, "grammar", constrained),
	REFUSED(BOTH, "prompt_logprobs", ""),
	REFUSED(BOTH, "use_beam_search", ""),
	REFUSED(BOTH, "bad_words", "use 'logit_bias'"),
	REFUSED(BOTH, "allowed_token_ids", "use 'logit_bias'"),
	REFUSED(BOTH, "stop_token_ids", "use 'stop'"),
	REFUSED(BOTH, "include_stop_str_in_output", "stop strings are never shown"),
	REFUSED(BOTH, "logits_processors", ""),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* The index of the field that `key` names for the endpoint, or FIELDS. */
static size_t find(struct api_json key, unsigned int endpoint)
{
	for (size_t i = 0; i < FIELDS; i++) {
		if ((key.s[1] == fields[i].name[0] || key.s[1] == '\\') &&
		    (fields[i].endpoints & endpoint) && api_json_is(key, fields[i].name))
			return i;
	}
	return FIELDS;
}

static int missing(struct api_parse *p)
{
	struct api_request *r = p->r;

	if (!r->model.s) {
		r->model.n = strlen(p->limits.models[0]);
		r->model.s = lt_strndup(p->limits.models[0], r->model.n);
		if (!r->model.s)
			return LT_ENOMEM;
	}
	if (r->endpoint == API_COMPLETIONS && r->n_prompts == 0)
		return api_parse_missing(p, API_MEMBER(NULL, "prompt"),
					 "a string, an array of strings, an array of token ids or "
					 "an array of such arrays is expected");
	return 0;
}

int api_parse_fields(struct api_parse *p, struct api_json root)
{
	unsigned int endpoint = p->r->endpoint == API_CHAT ? CHAT : TEXT;
	struct api_json values[FIELDS] = {{0}}, key, value;
	size_t at = 0;

	while (api_json_next(root, &at, &key, &value)) {
		size_t i = find(key, endpoint);
		if (i == FIELDS)
			continue;
		if (values[i].s)
			return api_parse_wrong(p, AT_FIELD(&fields[i]), "is given twice");
		values[i] = value;
	}
	for (size_t i = 0; i < FIELDS; i++) {
		int rc;
		if (!values[i].s || api_json_type(values[i]) == API_JSON_NULL)
			continue;
		rc = fields[i].read(p, &fields[i], values[i]);
		if (rc < 0)
			return rc;
	}
	return missing(p);
}
