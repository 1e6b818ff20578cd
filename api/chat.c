/*
 * The conversation of a chat request: messages, tools and the template's keyword arguments. They are
 * checked here in the client's own text (of which the request keeps a copy) and written for the
 * template when it is rendered (chat-template.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/parse.h"
#include "base/mem.h"

const char *const api_message_names[MSG_MEMBERS] = {
	"role",	     "content",	      "name",  "tool_calls", "tool_call_id", "reasoning_content",
	"reasoning", "function_call", "audio", "prefix",
};

static const char roles[] = "one of \"system\", \"developer\", \"user\", \"assistant\", \"tool\"";

/* The next two check the member `name` of the object at `at`, whose value is v (s NULL: absent). */
static int optional(struct api_parse *p, const struct api_at *at, const char *name,
		    struct api_json v, enum api_json_type type, const char *allowed)
{
	return v.s ? api_parse_want(p, API_MEMBER(at, name), v, type, allowed) : 0;
}

static int required(struct api_parse *p, const struct api_at *at, const char *name,
		    struct api_json v, enum api_json_type type, const char *allowed)
{
	char what[128];

	if (v.s)
		return optional(p, at, name, v, type, allowed);
	snprintf(what, sizeof(what), "%s is expected", allowed);
	return api_parse_missing(p, API_MEMBER(at, name), what);
}

static int check_part(struct api_parse *p, const struct api_at *at, struct api_json part)
{
	static const char *const names[] = {"type", "text"};
	struct api_json v[2];
	int rc = api_parse_want(p, at, part, API_JSON_OBJECT,
				"an object {\"type\":\"text\",\"text\":\"...\"}");

	if (rc == 0)
		rc = api_parse_members(p, at, part, names, 2, v);
	if (rc == 0)
		rc = required(p, at, "type", v[0], API_JSON_STRING, "\"text\"");
	if (rc == 0 && !api_json_is(v[0], "text"))
		rc = api_parse_bad(p, API_MEMBER(at, "type"), "unsupported_value", v[0],
				   "\"text\" (this model reads text only)");
	return rc < 0 ? rc : required(p, at, "text", v[1], API_JSON_STRING, "a string");
}

static int check_content(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	struct api_json part;
	size_t pos = 0, i = 0;
	int rc = 0;

	if (api_json_type(v) == API_JSON_STRING)
		return 0;
	if (api_json_type(v) != API_JSON_ARRAY)
		return api_parse_bad(p, at, "invalid_type", v,
				     "a string or an array of text parts");
	for (; rc == 0 && api_json_next(v, &pos, NULL, &part); i++)
		rc = check_part(p, API_ELEMENT(at, i), part);
	if (i == 0)
		return api_parse_wrong(p, at, "must hold at least one part");
	return rc;
}

/* A function's name, in a tool or in a call; `at` is the function. */
static int check_name(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	int rc = required(p, at, "name", v, API_JSON_STRING, "a string");

	if (rc == 0 && (v.n <= 2 || v.n > 258))
		rc = api_parse_bad(p, API_MEMBER(at, "name"), "invalid_value", v,
				   "a name of 1 to 256 bytes");
	return rc;
}

static int check_call_function(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	static const char *const names[] = {"name", "arguments"};
	const struct api_at *arguments = API_MEMBER(at, "arguments");
	struct api_json m[2];
	int rc = api_parse_members(p, at, v, names, 2, m);

	if (rc == 0)
		rc = check_name(p, at, m[0]);
	if (rc < 0)
		return rc;
	if (!m[1].s)
		return api_parse_missing(p, arguments,
					 "a string that holds a JSON object is expected");
	if (api_json_type(m[1]) != API_JSON_STRING && api_json_type(m[1]) != API_JSON_OBJECT)
		return api_parse_bad(p, arguments, "invalid_type", m[1],
				     "a string that holds a JSON object, or an object");
	return 0;
}

/* The member "type" of a tool or a call: absent or "function". */
static int check_type(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	int rc = optional(p, at, "type", v, API_JSON_STRING, "\"function\"");

	if (rc == 0 && v.s && !api_json_is(v, "function"))
		rc = api_parse_bad(p, API_MEMBER(at, "type"), "unsupported_value", v,
				   "\"function\"");
	return rc;
}

static int check_call(struct api_parse *p, const struct api_at *at, struct api_json call)
{
	static const char *const names[] = {"id", "type", "function"};
	struct api_json m[3];
	int rc = api_parse_want(p, at, call, API_JSON_OBJECT, "an object");

	if (rc == 0)
		rc = api_parse_members(p, at, call, names, 3, m);
	if (rc == 0)
		rc = optional(p, at, "id", m[0], API_JSON_STRING, "a string");
	if (rc == 0)
		rc = check_type(p, at, m[1]);
	if (rc == 0)
		rc = required(p, at, "function", m[2], API_JSON_OBJECT,
			      "an object with name and arguments");
	return rc < 0 ? rc : check_call_function(p, API_MEMBER(at, "function"), m[2]);
}

static int check_calls(struct api_parse *p, const struct api_at *at, struct api_json v,
		       bool assistant)
{
	struct api_json call;
	size_t pos = 0, i = 0;
	int rc;

	if (!assistant)
		return api_parse_wrong(p, at, "is allowed only in messages of the assistant");
	rc = api_parse_want(p, at, v, API_JSON_ARRAY, "an array of tool calls");
	for (; rc == 0 && api_json_next(v, &pos, NULL, &call); i++)
		rc = check_call(p, API_ELEMENT(at, i), call);
	return rc;
}

/* Members that are plain strings, or not supported at all. */
static int check_small_members(struct api_parse *p, const struct api_at *at,
			       const struct api_json *m)
{
	static const int strings[] = {MSG_NAME, MSG_TOOL_CALL_ID, MSG_REASONING_CONTENT,
				      MSG_REASONING};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(strings) / sizeof(strings[0]); i++)
		rc = optional(p, at, api_message_names[strings[i]], m[strings[i]], API_JSON_STRING,
			      "a string");
	if (rc < 0)
		return rc;
	if (m[MSG_FUNCTION_CALL].s)
		return api_parse_unsupported(p, API_MEMBER(at, "function_call"),
					     "deprecated; use 'tool_calls'");
	if (m[MSG_AUDIO].s)
		return api_parse_unsupported(p, API_MEMBER(at, "audio"),
					     "this model reads text only");
	if (m[MSG_PREFIX].s && m[MSG_PREFIX].s[0] != 'f')
		return api_parse_unsupported(p, API_MEMBER(at, "prefix"),
					     "the last message is always taken as complete");
	return 0;
}

static int check_role(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	static const char *const known[] = {"system", "developer", "user", "assistant", "tool"};
	int rc = required(p, at, "role", v, API_JSON_STRING, roles);

	if (rc < 0)
		return rc;
	p->r->has_developer |= api_json_is(v, "developer");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (api_json_is(v, known[i]))
			return 0;
	}
	return api_parse_bad(p, API_MEMBER(at, "role"), "invalid_value", v, roles);
}

static int check_message(struct api_parse *p, const struct api_at *at, struct api_json message)
{
	struct api_json m[MSG_MEMBERS], calls;
	bool assistant, called;
	int rc = api_parse_want(p, at, message, API_JSON_OBJECT, "an object");

	if (rc == 0)
		rc = api_parse_members(p, at, message, api_message_names, MSG_MEMBERS, m);
	if (rc == 0)
		rc = check_role(p, at, m[MSG_ROLE]);
	if (rc == 0)
		rc = check_small_members(p, at, m);
	if (rc < 0)
		return rc;
	assistant = api_json_is(m[MSG_ROLE], "assistant");
	calls = m[MSG_TOOL_CALLS];
	if (calls.s)
		rc = check_calls(p, API_MEMBER(at, "tool_calls"), calls, assistant);
	if (rc < 0)
		return rc;
	called = calls.s && api_json_count(calls) > 0;
	p->r->has_past_calls |= called;
	if (m[MSG_CONTENT].s)
		return check_content(p, API_MEMBER(at, "content"), m[MSG_CONTENT]);
	if (called)
		return 0;
	return api_parse_missing(p, API_MEMBER(at, "content"),
				 assistant ? "a string is expected, or tool_calls in its place"
					   : "a string or an array of text parts is expected");
}

static int check_messages(struct api_parse *p, struct api_json v)
{
	const struct api_at at = {NULL, "messages", 0};
	struct api_json message;
	size_t pos = 0, i = 0;
	int rc = required(p, NULL, "messages", v, API_JSON_ARRAY, "an array of messages");

	for (; rc == 0 && api_json_next(v, &pos, NULL, &message); i++) {
		if (i >= p->limits.messages)
			return api_parse_too_many(p, &at, p->limits.messages, api_json_count(v));
		rc = check_message(p, API_ELEMENT(&at, i), message);
	}
	if (rc == 0 && i == 0)
		return api_parse_wrong(p, &at, "must hold at least one message");
	return rc;
}

static int check_tool(struct api_parse *p, const struct api_at *at, struct api_json tool)
{
	static const char *const outer_names[] = {"type", "function"};
	static const char *const names[] = {"name", "description", "parameters"};
	const struct api_at *inner = API_MEMBER(at, "function");
	struct api_json outer[2], m[3];
	int rc = api_parse_want(p, at, tool, API_JSON_OBJECT, "an object");

	if (rc == 0)
		rc = api_parse_members(p, at, tool, outer_names, 2, outer);
	if (rc == 0)
		rc = check_type(p, at, outer[0]);
	if (rc == 0)
		rc = required(p, at, "function", outer[1], API_JSON_OBJECT,
			      "an object with the function's name");
	if (rc == 0)
		rc = api_parse_members(p, inner, outer[1], names, 3, m);
	if (rc == 0)
		rc = check_name(p, inner, m[0]);
	if (rc == 0)
		rc = optional(p, inner, "description", m[1], API_JSON_STRING, "a string");
	if (rc == 0)
		rc = optional(p, inner, "parameters", m[2], API_JSON_OBJECT,
			      "a JSON schema object");
	return rc;
}

static int check_tools(struct api_parse *p, struct api_json v)
{
	const struct api_at at = {NULL, "tools", 0};
	struct api_json tool;
	size_t pos = 0, i = 0;
	int rc = api_parse_want(p, &at, v, API_JSON_ARRAY, "an array of tools");

	for (; rc == 0 && api_json_next(v, &pos, NULL, &tool); i++) {
		if (i >= p->limits.tools)
			return api_parse_too_many(p, &at, p->limits.tools, api_json_count(v));
		rc = check_tool(p, API_ELEMENT(&at, i), tool);
	}
	p->r->tools = i > 0;
	return rc;
}

/* "auto" and "none" need nothing of the sampler; the others would. */
static int check_tool_choice(struct api_parse *p, struct api_json v)
{
	static const char allowed[] = "\"auto\" or \"none\" (a call can't be forced)";
	const struct api_at at = {NULL, "tool_choice", 0};
	enum api_json_type type = api_json_type(v);

	if (type == API_JSON_OBJECT || (type == API_JSON_STRING && api_json_is(v, "required")))
		return api_parse_bad(p, &at, "unsupported_value", v, allowed);
	if (type != API_JSON_STRING)
		return api_parse_bad(p, &at, "invalid_type", v, allowed);
	if (api_json_is(v, "none"))
		p->r->tools = false;
	else if (!api_json_is(v, "auto"))
		return api_parse_bad(p, &at, "invalid_value", v, allowed);
	return 0;
}

/* bos_token and eos_token are trusted by the template and the tokenizer: a client that could set
 * them could write control tokens. The others have fields of their own. */
static int check_kwargs(struct api_parse *p, struct api_json v)
{
	static const char *const taken[] = {"messages", "tools", "add_generation_prompt",
					    "bos_token", "eos_token"};
	const struct api_at at = {NULL, "chat_template_kwargs", 0};
	struct api_json key, value;
	size_t pos = 0;
	int rc = api_parse_want(p, &at, v, API_JSON_OBJECT, "an object");

	while (rc == 0 && api_json_next(v, &pos, &key, &value)) {
		for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
			if (api_json_is(key, taken[i]))
				return api_parse_wrong(p, API_MEMBER(&at, taken[i]),
						       "can't be set there");
		}
	}
	return rc;
}

/* Moves a slice of the body into the copy of it. */
static struct api_json moved(struct api_json v, const char *from, const char *to)
{
	if (v.s)
		v.s = to + (v.s - from);
	return v;
}

int api_parse_chat(struct api_parse *p, struct api_json root)
{
	enum { MESSAGES, TOOLS, CHOICE, KWARGS, EFFORT, N };
	static const char *const names[N] = {"messages", "tools", "tool_choice",
					     "chat_template_kwargs", "reasoning_effort"};
	struct api_chat_text *chat = p->r->chat;
	struct api_json v[N];
	int rc = api_parse_members(p, NULL, root, names, N, v);

	if (rc == 0)
		rc = check_messages(p, v[MESSAGES]);
	if (rc == 0 && v[TOOLS].s)
		rc = check_tools(p, v[TOOLS]);
	if (rc == 0 && v[CHOICE].s)
		rc = check_tool_choice(p, v[CHOICE]);
	if (rc == 0 && v[KWARGS].s)
		rc = check_kwargs(p, v[KWARGS]);
	if (rc == 0)
		rc = optional(p, NULL, names[EFFORT], v[EFFORT], API_JSON_STRING, "a string");
	if (rc < 0)
		return rc;
	chat->text = lt_strndup(root.s, root.n);
	if (!chat->text)
		return LT_ENOMEM;
	chat->json_depth = p->limits.json_depth;
	chat->messages = moved(v[MESSAGES], root.s, chat->text);
	chat->kwargs = moved(v[KWARGS], root.s, chat->text);
	chat->effort = moved(v[EFFORT], root.s, chat->text);
	if (p->r->tools)
		chat->tools = moved(v[TOOLS], root.s, chat->text);
	return 0;
}
