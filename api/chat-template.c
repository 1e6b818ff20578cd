/*
 * The JSON object that a chat template is rendered with, written from the checked text of a request.
 * Strings and numbers are copied as the client spelled them. Reads the request only; any thread.
 */
#include <string.h>

#include "api/parse.h"
#include "api/write.h"

struct writer {
	const struct api_request *r;
	const struct api_template_opts *opts;
	struct lt_buf *out;
};

static void add_slice(struct lt_buf *out, struct api_json v)
{
	lt_buf_add(out, v.s, v.n);
}

/* ,"name":value */
static void add_member(struct lt_buf *out, const char *name, struct api_json v)
{
	if (!v.s)
		return;
	lt_buf_addc(out, ',');
	api_write_string(out, name, strlen(name));
	lt_buf_addc(out, ':');
	add_slice(out, v);
}

/* Text parts become one string: the insides of their literals, end to end (the check refuses lone
 * surrogates, so no escape can run over a seam). */
static void add_content(struct lt_buf *out, struct api_json v)
{
	static const char *const names[] = {"text"};
	struct api_json part, text;
	size_t at = 0;

	if (!v.s) {
		lt_buf_adds(out, "null");
		return;
	}
	if (api_json_type(v) == API_JSON_STRING) {
		add_slice(out, v);
		return;
	}
	lt_buf_addc(out, '"');
	while (api_json_next(v, &at, NULL, &part)) {
		api_parse_members(NULL, NULL, part, names, 1, &text);
		lt_buf_add(out, text.s + 1, text.n - 2);
	}
	lt_buf_addc(out, '"');
}

static bool is_blank(const struct lt_buf *b)
{
	return b->len == 0 || strspn(b->data, " \t\r\n") == b->len;
}

/* Arguments in a string become the object that they spell (empty: {}). A string that spells none, as
 * models sometimes write them, stays one. */
static void add_arguments_object(const struct writer *w, struct api_json v)
{
	uint32_t depth = w->r->chat->json_depth > 16 ? w->r->chat->json_depth - 8 : 8;
	struct lt_buf text = LT_BUF_INIT;
	struct api_json object;

	if (api_json_type(v) == API_JSON_OBJECT) {
		add_slice(w->out, v);
		return;
	}
	if (api_json_decode(v, &text) < 0)
		w->out->failed = text.failed;
	else if (is_blank(&text))
		lt_buf_adds(w->out, "{}");
	else if (api_json_check(text.data, text.len, depth, &object, NULL) == 0 &&
		 api_json_type(object) == API_JSON_OBJECT)
		add_slice(w->out, object);
	else
		add_slice(w->out, v);
	lt_buf_fini(&text);
}

static void add_call(const struct writer *w, struct api_json call)
{
	static const char *const names[] = {"id", "function"};
	static const char *const inner[] = {"name", "arguments"};
	struct api_json m[2], f[2];

	api_parse_members(NULL, NULL, call, names, 2, m);
	api_parse_members(NULL, NULL, m[1], inner, 2, f);
	lt_buf_adds(w->out, "{\"type\":\"function\"");
	add_member(w->out, "id", m[0]);
	lt_buf_adds(w->out, ",\"function\":{\"name\":");
	add_slice(w->out, f[0]);
	lt_buf_adds(w->out, ",\"arguments\":");
	if (w->opts->arguments_as_text && api_json_type(f[1]) == API_JSON_OBJECT)
		api_write_string(w->out, f[1].s, f[1].n);
	else if (w->opts->arguments_as_text)
		add_slice(w->out, f[1]);
	else
		add_arguments_object(w, f[1]);
	lt_buf_adds(w->out, "}}");
}

static void add_calls(const struct writer *w, struct api_json v)
{
	struct api_json call;
	size_t at = 0, i = 0;

	if (!v.s || api_json_count(v) == 0)
		return;
	lt_buf_adds(w->out, ",\"tool_calls\":[");
	while (api_json_next(v, &at, NULL, &call)) {
		if (i++)
			lt_buf_addc(w->out, ',');
		add_call(w, call);
	}
	lt_buf_addc(w->out, ']');
}

static void add_message(const struct writer *w, struct api_json message)
{
	struct api_json m[MSG_MEMBERS];

	api_parse_members(NULL, NULL, message, api_message_names, MSG_MEMBERS, m);
	lt_buf_adds(w->out, "{\"role\":");
	if (!w->opts->developer_role && api_json_is(m[MSG_ROLE], "developer"))
		lt_buf_adds(w->out, "\"system\"");
	else
		add_slice(w->out, m[MSG_ROLE]);
	lt_buf_adds(w->out, ",\"content\":");
	add_content(w->out, m[MSG_CONTENT]);
	add_member(w->out, "name", m[MSG_NAME]);
	add_member(w->out, "tool_call_id", m[MSG_TOOL_CALL_ID]);
	add_member(w->out, "reasoning_content",
		   m[MSG_REASONING_CONTENT].s ? m[MSG_REASONING_CONTENT] : m[MSG_REASONING]);
	add_calls(w, m[MSG_TOOL_CALLS]);
	lt_buf_addc(w->out, '}');
}

/* The client's own variables. */
static void add_kwargs(const struct writer *w)
{
	const struct api_chat_text *chat = w->r->chat;
	struct api_json key, value;
	bool effort = false;
	size_t at = 0;

	while (chat->kwargs.s && api_json_next(chat->kwargs, &at, &key, &value)) {
		effort |= api_json_is(key, "reasoning_effort");
		lt_buf_addc(w->out, ',');
		add_slice(w->out, key);
		lt_buf_addc(w->out, ':');
		add_slice(w->out, value);
	}
	if (!effort)
		add_member(w->out, "reasoning_effort", chat->effort);
}

int api_request_template_json(const struct api_request *r, const struct api_template_opts *opts,
			      struct lt_buf *out)
{
	struct writer w = {r, opts, out};
	struct api_json message;
	size_t at = 0, i = 0;

	LT_ASSERT(r->endpoint == API_CHAT);
	lt_buf_adds(out, "{\"messages\":[");
	while (api_json_next(r->chat->messages, &at, NULL, &message)) {
		if (i++)
			lt_buf_addc(out, ',');
		add_message(&w, message);
	}
	lt_buf_addc(out, ']');
	add_member(out, "tools", r->chat->tools);
	lt_buf_adds(out, r->add_generation_prompt ? ",\"add_generation_prompt\":true"
						  : ",\"add_generation_prompt\":false");
	add_kwargs(&w);
	if (opts->bos) {
		lt_buf_adds(out, ",\"bos_token\":");
		api_write_string(out, opts->bos, strlen(opts->bos));
	}
	if (opts->eos) {
		lt_buf_adds(out, ",\"eos_token\":");
		api_write_string(out, opts->eos, strlen(opts->eos));
	}
	return lt_buf_addc(out, '}');
}
