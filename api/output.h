/*
 * The output pipeline of one choice (private to api/, and used by its tests): text pieces in, deltas
 * out. Stop strings come first, then reasoning, then tool calls. Caller memory; one owner at a time.
 */
#ifndef LT_API_OUTPUT_H
#define LT_API_OUTPUT_H

#include "api/logprobs.h"
#include "api/split.h"
#include "api/stop.h"

struct api_output {
	struct api_stopper stopper;
	struct api_split split;
	bool with_logprobs;
	struct api_logprobs logprobs;
	size_t due;		  /* logprob entries whose text has been disposed of */
	struct lt_buf shown;	  /* of one push: what the stop strings let through */
	struct api_deltas deltas; /* of the last push or finish */
	uint64_t passed;	  /* bytes of text that the stop strings let through */
	uint64_t reasoning_tokens;
	enum api_finish finish; /* NONE until api_output_finish */
};

struct api_output_opts {
	const struct api_stops *stops; /* borrowed; NULL: none */
	bool split, reasoning, reasoning_open, single_call, logprobs;
	enum api_tool_dialect tools;
	const char *call_prefix; /* borrowed */
	enum api_endpoint form;	 /* of the logprobs */
	size_t logprobs_limit;	 /* bytes that may wait; 0: any */
	uint64_t chars_before;	 /* characters of an echoed prompt */
};

void api_output_init(struct api_output *o, const struct api_output_opts *opts);
void api_output_fini(struct api_output *o);

/* One token; o->deltas and o->due tell what it gave. No-op once stopped. 0, LT_ENOMEM or LT_ETOOBIG. */
int api_output_push(struct api_output *o, const struct api_token *t);
bool api_output_stopped(const struct api_output *o);
/* The answer is in its reasoning, or may yet begin one. */
bool api_output_reasons(const struct api_output *o);
/* The end: `rest` is the detokenizer's. Sets o->finish. */
int api_output_finish(struct api_output *o, const char *rest, size_t n, enum api_finish why);

#endif
