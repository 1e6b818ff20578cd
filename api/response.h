/*
 * Responses in OpenAI's shapes: from generated tokens to the bytes of a body or of an event stream.
 *
 * One struct api_response for each request, with one output pipeline for each choice: stop strings
 * (matched across token borders, never shown), then reasoning (<think>...</think>), then tool calls.
 * The same calls serve both ways of answering: when streaming, each appends finished events to
 * `out`; else they collect, and api_response_end appends the whole body. Owned by one thread at a
 * time (the loop); a call for a delta costs no allocation in the steady state.
 *
 *   api_response_open ; api_response_begin
 *   for each token:   api_response_token   (then, if api_response_stopped: cancel that choice)
 *   for each choice:  api_response_finish
 *   at the end:       api_response_end ; api_response_close
 *
 * On an error after the stream has begun: api_fault_event instead of api_response_end.
 */
#ifndef LT_API_RESPONSE_H
#define LT_API_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/request.h"
#include "base/buf.h"

/* How tool calls look in the model's text; chosen by the control tokens of the tokenizer. */
enum api_tool_dialect {
	API_TOOLS_NONE,
	API_TOOLS_DEEPSEEK, /* V3, R1 and V3.1: <|tool_calls_begin|>... in full-width bars */
	API_TOOLS_KIMI,	    /* K2: <|tool_calls_section_begin|>... */
};

enum api_finish { API_FINISH_NONE, API_FINISH_STOP, API_FINISH_LENGTH, API_FINISH_TOOL_CALLS };

struct api_response_opts {
	const struct api_request *request; /* borrowed: must outlive the response */
	const char *id;			   /* "chatcmpl-..." or "cmpl-...": see api_id */
	const char *fingerprint;	   /* system_fingerprint; NULL: null */
	int64_t created;		   /* seconds since 1970 */
	bool reasoning;			   /* split <think>...</think> off (chat only) */
	bool reasoning_open;		   /* the prompt ends inside <think> */
	enum api_tool_dialect
		tools; /* used only when request->tools; then pieces must show special tokens */
	size_t limit;  /* most bytes a not streamed body may take; 0: no limit (LT_ETOOBIG) */
};

/* One alternative, or the token itself: its exact bytes (perhaps a part of a UTF-8 sequence). */
struct api_token_bytes {
	const char *s;
	size_t n;
	float logprob;
};

/* One generated token of one choice; everything is borrowed during the call. */
struct api_token {
	const char
		*text; /* what the streaming detokenizer gave for it: valid UTF-8, may be empty */
	size_t n;
	struct api_token_bytes self;	   /* used when the request wants logprobs */
	const struct api_token_bytes *top; /* [n_top], most probable first */
	uint32_t n_top;
};

struct api_usage {
	uint64_t prompt, completion, cached; /* tokens, summed over prompts and choices */
};

struct api_response;

/* Choices are numbered prompt * n + i, as in the sent "index". LT_ENOMEM. */
int api_response_open(const struct api_response_opts *opts, struct api_response **out);
void api_response_close(struct api_response *r); /* NULL is fine */
uint32_t api_response_choices(const struct api_response *r);

/* Stream: the role chunk of every choice (chat), the echoed prompt (completions with echo; a prompt of
 * ids needs its text: echo[prompt], may be NULL otherwise). Call once, before anything else. */
int api_response_begin(struct api_response *r, const struct api_str *echo, struct lt_buf *out);

/* One token of a choice. No-op once the choice has stopped or finished. Returns 0, LT_ENOMEM or
 * LT_ETOOBIG: the request must end then. */
int api_response_token(struct api_response *r, uint32_t choice, const struct api_token *t,
		       struct lt_buf *out);

/* True once a stop string was matched (or a single tool call is complete): the caller cancels the
 * choice's generation, ignores its later events and calls api_response_finish. */
bool api_response_stopped(const struct api_response *r, uint32_t choice);

/* True while the choice reasons, or may yet begin to: a caller that joins several tokens into one
 * api_response_token must not do so then, for usage counts the tokens of the reasoning. */
bool api_response_reasons(const struct api_response *r, uint32_t choice);

/* End of a choice: `rest` [n] is what the detokenizer's flush gave (may be empty); `why` is STOP or
 * LENGTH (a matched stop string or a tool call overrides it). Releases what was held back and writes
 * the finish reason. */
int api_response_finish(struct api_response *r, uint32_t choice, const char *rest, size_t n,
			enum api_finish why, struct lt_buf *out);
bool api_response_finished(const struct api_response *r, uint32_t choice);

/* Stream: the usage chunk if asked for, then "data: [DONE]\n\n". Body: the whole JSON. All choices
 * must be finished. */
int api_response_end(struct api_response *r, const struct api_usage *usage, struct lt_buf *out);

/* "chatcmpl-" or "cmpl-" and 24 hexadecimal digits from 12 random bytes, NUL-terminated. */
#define API_ID_BYTES  12
#define API_ID_LENGTH 40
void api_id(enum api_endpoint endpoint, const unsigned char random[API_ID_BYTES],
	    char out[API_ID_LENGTH]);

/* A comment event that keeps proxies from closing an idle stream (":\n\n"). */
int api_stream_ping(struct lt_buf *out);

/* GET /v1/models and GET /v1/models/NAME. */
struct api_model {
	const char *name;
	int64_t created;      /* seconds since 1970 */
	uint32_t max_context; /* tokens, sent as max_model_len */
};
int api_models_body(const struct api_model *models, size_t n, struct lt_buf *out);
int api_model_body(const struct api_model *model, struct lt_buf *out);

#endif
