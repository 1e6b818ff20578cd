/*
 * Requests of OpenAI's API as plain values.
 *
 * A parser takes the bytes of a body and gives a request that owns its memory, or a fault that names
 * the field, what was found and what is allowed. Null counts as absent for every optional field.
 * Unknown fields are ignored (clients send all sorts); fields that are known but not supported are
 * refused by name unless they hold a neutral value (null, false, "", [] or {}). Pure functions; a
 * request has one owner at a time and is never changed after parsing.
 */
#ifndef LT_API_REQUEST_H
#define LT_API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/error.h"
#include "base/buf.h"

#define API_MAX_STOPS	     16
#define API_MAX_TOP_LOGPROBS 20

enum api_endpoint { API_CHAT, API_COMPLETIONS };

/* What a request may ask for. A 0 stands for the default in brackets; context, vocab and models have
 * none and must be set. */
struct api_limits {
	uint32_t json_depth;	   /* of nested objects and arrays [64, at most 512] */
	uint32_t messages;	   /* in a conversation [4096] */
	uint32_t tools;		   /* [256] */
	uint32_t prompts;	   /* in a completions request [64] */
	uint32_t choices;	   /* n times prompts [128] */
	uint32_t stops;		   /* stop strings [4, at most API_MAX_STOPS] */
	uint32_t stop_bytes;	   /* of one stop string [256] */
	uint32_t logit_bias;	   /* entries [1024] */
	uint32_t max_tokens;	   /* most a request may ask for [context] */
	uint32_t context;	   /* tokens: a prompt of ids must be shorter */
	uint32_t vocab;		   /* token ids are below this */
	const char *const *models; /* names served, the first is used when a request names none */
	size_t n_models;
};

/* A string with its length; may hold any byte but NUL. */
struct api_str {
	char *s; /* NUL-terminated */
	size_t n;
};

struct api_bias {
	int32_t token;
	float add; /* -100..100 */
};

/* One prompt of a completions request: text (ids NULL) or token ids (text.s NULL). Never empty ids;
 * the text may be empty. */
struct api_prompt {
	struct api_str text; /* UTF-8 */
	int32_t *ids;	     /* [n_ids], each in 0..vocab-1 */
	size_t n_ids;
};

struct api_request {
	enum api_endpoint endpoint;
	struct api_str model; /* as the request names it, else models[0] */
	bool stream;
	bool include_usage; /* stream_options.include_usage */
	uint32_t n;	    /* choices a prompt, 1.. */
	bool has_max_tokens;
	uint32_t max_tokens; /* 1.. when has_max_tokens */
	uint32_t min_tokens; /* 0: off */
	bool has_temperature, has_top_p, has_top_k,
		has_min_p;	  /* else below holds OpenAI's default */
	float temperature;	  /* 0..2 [1] */
	float top_p;		  /* above 0, to 1 [1] */
	uint32_t top_k;		  /* 0: off [0] */
	float min_p;		  /* 0..1 [0] */
	float presence_penalty;	  /* -2..2 [0] */
	float frequency_penalty;  /* -2..2 [0] */
	float repetition_penalty; /* above 0, to 2 [1] */
	bool has_seed;
	uint64_t seed; /* the two's complement of a signed 64-bit seed */
	struct api_bias *logit_bias;
	size_t n_logit_bias;
	bool logprobs;
	uint32_t top_logprobs; /* 0..API_MAX_TOP_LOGPROBS */
	struct api_str *stops; /* none is empty */
	size_t n_stops;
	bool ignore_eos;
	int32_t priority;    /* -100..100, higher first [0]; the server decides whether it counts */
	uint32_t timeout_ms; /* from `timeout` in seconds (above 0, to 86400); 0: none asked */
	bool cache_prompt;   /* [true] */
	struct api_str user; /* s NULL: none */
	/* completions */
	bool echo; /* prompt text goes before the answer */
	struct api_prompt *prompts;
	size_t n_prompts; /* chat: 0 */
	/* chat */
	bool tools; /* tools were given and tool_choice is not "none": answers may hold calls */
	bool single_call;	    /* parallel_tool_calls is false */
	bool has_developer;	    /* a message has the role "developer" */
	bool has_past_calls;	    /* a message has tool_calls */
	bool add_generation_prompt; /* [true] */
	struct api_chat_text *chat; /* private: messages, tools and kwargs for the template */
};

/* Parses the body of POST /v1/chat/completions or /v1/completions: body[0..n) is untrusted bytes and
 * may be freed afterwards. Returns 0 and *out (free with api_request_close) or a negative code with
 * *fault filled: LT_EFORMAT (not JSON), LT_EINVAL, LT_ENOENT (unknown model), LT_ETOOLONG (prompt of
 * ids), LT_ENOMEM. `limits` is borrowed during the call. */
int api_chat_parse(const char *body, size_t n, const struct api_limits *limits,
		   struct api_request **out, struct api_fault *fault);
int api_completions_parse(const char *body, size_t n, const struct api_limits *limits,
			  struct api_request **out, struct api_fault *fault);
void api_request_close(struct api_request *r); /* NULL is fine */

/* How a chat template wants its variables. */
struct api_template_opts {
	const char *bos, *eos; /* text of bos_token and eos_token; NULL: left out */
	bool developer_role; /* the template knows the role "developer"; else it is sent as "system" */
	bool arguments_as_text; /* tool_calls[].function.arguments as a JSON text (templates that join
				   strings: DeepSeek V3, R1) instead of an object (all that use tojson) */
};

/* Appends the one JSON object for a chat template: the members of chat_template_kwargs, messages
 * (normalised: text parts joined into a string, only known members), tools (as the client wrote
 * them: numbers and key order unchanged), add_generation_prompt, bos_token, eos_token. kwargs can't
 * set any of the others (a parse fault). Chat requests only. Returns 0 or the buffer's code. */
int api_request_template_json(const struct api_request *r, const struct api_template_opts *opts,
			      struct lt_buf *out);

#endif
