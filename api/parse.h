/*
 * What the request parser's files share (private to api/): the state of one parse and the ways to
 * complain.
 */
#ifndef LT_API_PARSE_H
#define LT_API_PARSE_H

#include "api/json.h"
#include "api/request.h"

/* Where in the body a value stands: a chain on the C stack, spelled out only for a fault. */
struct api_at {
	const struct api_at *up; /* NULL: the body */
	const char *name;	 /* a member, or NULL: element `index` */
	size_t index;
};
#define API_MEMBER(up, name) (&(const struct api_at){up, name, 0})
#define API_ELEMENT(up, i)   (&(const struct api_at){up, NULL, i})
#define API_PATH	     128 /* room for a path in words */
/* "messages[2].content"; cut at API_PATH. Returns out. */
const char *api_at_path(const struct api_at *at, char out[API_PATH]);

/* The conversation as the client wrote it. The slices lie in `text`, a copy of the body. */
struct api_chat_text {
	char *text;
	struct api_json messages, tools, kwargs, effort; /* s NULL: absent */
	uint32_t json_depth;				 /* limit for a JSON text inside a string */
};

struct api_parse {
	struct api_limits limits; /* defaults filled in */
	struct api_request *r;
	struct api_fault *fault;
	bool has_best_of, has_stream_options;
	int64_t best_of;
	double timeout_s;
};

/* "<path> must be `allowed`, but got <v>". `api_code`: invalid_type or invalid_value. */
int api_parse_bad(struct api_parse *p, const struct api_at *at, const char *api_code,
		  struct api_json v, const char *allowed);
int api_parse_missing(struct api_parse *p, const struct api_at *at, const char *what);
int api_parse_unsupported(struct api_parse *p, const struct api_at *at, const char *why);

/* invalid_value: "'<path>' <what>". */
int api_parse_wrong(struct api_parse *p, const struct api_at *at, const char *what);
int api_parse_too_many(struct api_parse *p, const struct api_at *at, size_t most, size_t found);

/* 0, or invalid_type when v is of another type. */
int api_parse_want(struct api_parse *p, const struct api_at *at, struct api_json v,
		   enum api_json_type type, const char *allowed);
/* An integer of lo..hi; `allowed` describes it. */
int api_parse_int(struct api_parse *p, const struct api_at *at, struct api_json v, int64_t lo,
		  int64_t hi, int64_t *out);

/* Finds the members of `object` named in names[0..n): values[i].s stays NULL when absent or null.
 * A name given twice is a fault. `at` NULL for the body itself. */
int api_parse_members(struct api_parse *p, const struct api_at *at, struct api_json object,
		      const char *const *names, size_t n, struct api_json *values);

/* Every field of the body but those of the conversation (fields.c). */
int api_parse_fields(struct api_parse *p, struct api_json root);
/* messages, tools, tool_choice, chat_template_kwargs (chat.c). `root` lies in r->chat->text. */
int api_parse_chat(struct api_parse *p, struct api_json root);
/* prompt (fields.c). */
int api_parse_prompt(struct api_parse *p, struct api_json v);

/* The members of a message that templates get, and of its calls: also read when rendering. */
enum {
	MSG_ROLE,
	MSG_CONTENT,
	MSG_NAME,
	MSG_TOOL_CALLS,
	MSG_TOOL_CALL_ID,
	MSG_REASONING_CONTENT,
	MSG_REASONING,
	MSG_FUNCTION_CALL,
	MSG_AUDIO,
	MSG_PREFIX,
	MSG_MEMBERS
};
extern const char *const api_message_names[MSG_MEMBERS];

#endif
