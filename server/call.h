/*
 * A completion request at work: from its first body byte to the last byte of its answer. Loop thread
 * only, but for srv_prepare, which runs on a worker while the loop leaves the request alone.
 */
#ifndef LT_SERVER_CALL_H
#define LT_SERVER_CALL_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/response.h"
#include "base/buf.h"
#include "model/tokenizer.h"
#include "server/model.h"

struct srv;
struct srv_conn;

/* X(name, what the client waits for) */
#define SRV_CALL_STATES(X)                                                                         \
	X(RECEIVE, "its own body")                                                                 \
	X(PREPARE, "parsing, template and tokeniser, on a worker")                                 \
	X(GENERATE, "tokens")                                                                      \
	X(ANSWER, "the rest of its complete answer")                                               \
	X(FAULT, "an error object: it failed before anything was sent")                            \
	X(BROKEN, "the end of a stream that failed after it had begun")                            \
	X(GONE, "nothing: it went away")

enum srv_call_state {
#define X(name, text) SRV_CALL_##name,
	SRV_CALL_STATES(X)
#undef X
		SRV_CALL_STATE_COUNT
};

/* One prompt with its n answers, as the scheduler knows it. Outlives the call when the client goes
 * away first: until the last final event came, its id may still turn up. */
struct srv_job {
	struct srv_call *call; /* NULL: gone, events are dropped */
	uint64_t id;
	uint32_t first; /* choice number of its choice 0 */
	uint32_t open;	/* choices whose final event has not come */
	bool seen;	/* an event came: cached tokens are counted */
};

struct srv_choice {
	uint64_t id;	/* the scheduler's, of its prompt */
	uint32_t index; /* among that prompt's choices */
	struct mdl_detok detok;
	struct lt_buf text;  /* detokenised, not yet passed on */
	uint32_t tokens;     /* drawn so far */
	uint64_t last_ns;    /* when the last one was */
	bool finished;	     /* its end was passed on; later events are dropped */
	bool listed;	     /* on the call's list of choices with fresh text */
	uint32_t next_fresh; /* the list */
};

struct srv_prompt {
	int32_t *ids; // [n], malloc'd; NULL once the scheduler has it
	size_t n;
	struct api_str echo; /* text to echo; s NULL: none */
	bool owns_echo;
};

struct srv_call {
	struct srv *srv;
	struct srv_conn *conn; /* NULL once the connection has let go */
	struct srv_call *prev, *next;
	unsigned int refs; /* connection, worker, libmicrohttpd's response */
	enum srv_call_state state;
	enum api_endpoint endpoint;
	uint32_t tenant;
	uint64_t start_ns, deadline_ns; /* deadline 0: none */
	int64_t created;
	char id[API_ID_LENGTH];
	struct lt_buf body;
	uv_work_t work;
	uint64_t seed; /* for a request without one */
	struct api_fault fault;

	/* made by srv_prepare */
	struct api_request *request;
	struct srv_prompt *prompts; // [n_prompts]
	size_t n_prompts;
	bool reasoning_open;

	/* made by srv_call_submit */
	struct api_response *response;
	struct srv_job **jobs;	    // [n_prompts]
	struct srv_choice *choices; // [n_choices]
	uint32_t n_choices, unfinished;
	bool each_token; /* tokens are passed on one by one: stop strings, tools or logprobs */
	bool show_special;
	uint32_t fresh;		  /* first choice with fresh text, UINT32_MAX: none */
	struct srv_call *touched; /* list of calls with fresh text, while events are read */
	bool is_touched;
	struct api_usage usage;

	/* the answer's bytes */
	struct lt_buf out;
	size_t out_at;	/* sent up to here */
	bool streaming; /* a response with our content reader is queued */
	bool suspended; /* the connection is */
	uint64_t sent_ns;
};

/* A request whose header passed all checks. `length` is a hint. 0 or LT_ENOMEM. */
int srv_call_open(struct srv_conn *c, size_t length);
/* Body bytes. LT_ETOOBIG, LT_ENOMEM. */
int srv_call_body(struct srv_call *call, const char *data, size_t n);
/* The body is complete: off to a worker. */
enum MHD_Result srv_call_start(struct srv_conn *c);
/* libmicrohttpd asks (again) for an answer. */
enum MHD_Result srv_call_answer(struct srv_call *call);
/* The connection lets go of its call, finished or not. */
void srv_call_drop(struct srv_conn *c);

/* The client went away: cancels what runs and lets libmicrohttpd close the connection. */
void srv_call_gone(struct srv_call *call);
/* Ends a call at work with an error of ours (shutdown): error object or error event. */
void srv_call_fail(struct srv_call *call, int code, const char *message);

void srv_call_unref(struct srv_call *call);
void srv_call_enter(struct srv_call *call, enum srv_call_state state);
/* Wakes the connection if it sleeps. */
void srv_call_resume(struct srv_call *call);
void srv_call_suspend(struct srv_call *call);
/* Cancels every job of the call and forgets them. */
void srv_call_cancel_jobs(struct srv_call *call);
/* " model=... prompt=..." for the log. */
void srv_call_describe(const struct srv_call *call, char *dst, size_t size);

/* prepare.c: parses call->body, renders, tokenises; fills request and prompts, or fault. Worker. */
void srv_prepare(struct srv_call *call, const struct srv_model *m);

/* submit.c: hands the prompts to the scheduler. 0, or a code with call->fault set. */
int srv_call_submit(struct srv_call *call);

#endif
