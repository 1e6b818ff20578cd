/*
 * Splits a chat answer's text into reasoning, content and tool calls (private to api/, and used by its
 * tests).
 *
 * A state machine that decides byte by byte, so the result does not depend on how the text was cut
 * into pieces; a marker that may still become complete is held back.
 *
 * Reasoning: <think>...</think> at the very start, or ...</think> when the prompt has opened it. White
 * space at both ends of the reasoning, and before the content that follows, is dropped.
 *
 * Tool calls (the full-width bars and low blocks of DeepSeek's markers are written | and _ here):
 *   V3, R1  <|tool_calls_begin|><|tool_call_begin|>function<|tool_sep|>NAME\n```json\n{...}\n```
 *           <|tool_call_end|>...<|tool_calls_end|>
 *   V3.1    <|tool_calls_begin|><|tool_call_begin|>NAME<|tool_sep|>{...}<|tool_call_end|>...
 *   Kimi    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:IDX
 *           <|tool_call_argument_begin|>{...}<|tool_call_end|>...<|tool_calls_section_end|>
 * A section may begin inside the reasoning and its end may be missing. A call is accepted, and its
 * name goes out, when its arguments begin with {; from there they are passed on as they come, so
 * arguments that turn out to be invalid JSON reach the client as the model wrote them (as OpenAI's
 * API does). What is not accepted (no name, no arguments, text between calls) is passed on as content,
 * markers and all: nothing the model said is lost.
 *
 * Caller memory; one owner at a time.
 */
#ifndef LT_API_SPLIT_H
#define LT_API_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/response.h"
#include "base/buf.h"

enum api_delta_kind {
	API_DELTA_CONTENT,
	API_DELTA_REASONING,
	API_DELTA_CALL,	     /* a call begins: text is its name, id its id */
	API_DELTA_ARGUMENTS, /* more of its arguments */
};

struct api_delta {
	enum api_delta_kind kind;
	uint32_t call; /* index of the call within the choice */
	const char *text, *id;
	size_t n, id_n;
	size_t at, id_at; /* where text and id lie in the list's buffer */
};

/* Deltas in order; those of one kind are merged. Pointers hold until the next change. */
struct api_deltas {
	struct api_delta *list;
	size_t n, cap;
	struct lt_buf text;
};
void api_deltas_clear(struct api_deltas *d);
void api_deltas_fini(struct api_deltas *d);

enum api_split_state {
	API_SPLIT_START,       /* nothing but white space so far: <think> may come */
	API_SPLIT_REASON_LEAD, /* white space at the start of the reasoning */
	API_SPLIT_REASONING,
	API_SPLIT_CONTENT_LEAD, /* white space between reasoning and content */
	API_SPLIT_CONTENT,
	API_SPLIT_SECTION,   /* in a tool section, between calls */
	API_SPLIT_HEADER,    /* what stands before the separator */
	API_SPLIT_LEAD,	     /* after the separator, before the { */
	API_SPLIT_ARGUMENTS, /* inside the arguments' object */
	API_SPLIT_TAIL,	     /* after it */
	API_SPLIT_DONE,	     /* the only call allowed is complete */
};

struct api_split {
	enum api_split_state state;
	enum api_tool_dialect dialect;
	bool single_call;
	const char *call_prefix; /* borrowed: DeepSeek's calls get the id prefix + index */
	struct lt_buf in;	 /* not yet decided: the beginning of a marker */
	struct lt_buf space;	 /* white space that is dropped if the reasoning ends here */
	struct lt_buf raw;	 /* tool text that becomes content if the call is not accepted */
	struct lt_buf header, lead;
	uint32_t calls; /* accepted so far */
	uint32_t depth; /* of brackets in the arguments */
	bool in_string, escaped;
	unsigned int fence; /* backticks of a closing fence still to be dropped */
};

/* `reasoning`: split it off; `open`: the prompt has opened it. */
void api_split_init(struct api_split *s, bool reasoning, bool open, enum api_tool_dialect dialect,
		    bool single_call, const char *call_prefix);
void api_split_fini(struct api_split *s);

/* True when text passes unchanged as content, now and for ever. */
bool api_split_is_plain(const struct api_split *s);
/* Adds what text[0..n) decides to `out`. 0 or LT_ENOMEM. */
int api_split_push(struct api_split *s, const char *text, size_t n, struct api_deltas *out);
/* The end of the text: what is held back comes out. */
int api_split_flush(struct api_split *s, struct api_deltas *out);
/* Bytes pushed that are held back. */
size_t api_split_held(const struct api_split *s);
bool api_split_in_reasoning(const struct api_split *s);

#endif
