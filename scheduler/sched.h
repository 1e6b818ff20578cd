/*
 * The scheduler: continuous batching over one engine.
 *
 * It owns a thread (the only one that calls the engine), a bounded queue of commands in and a
 * bounded queue of events out. sched_submit, sched_cancel, sched_drain and sched_poll are for one
 * thread, the server's loop; they never block. Ids, not pointers, cross threads; a request's memory
 * belongs to the scheduler from a successful submit on.
 */
#ifndef LT_SCHEDULER_SCHED_H
#define LT_SCHEDULER_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"

struct sched;

#define SCHED_SALT_BYTES 16

struct sched_opts {
	struct eng *engine;   /* borrowed; the scheduler's thread is its only user */
	uint32_t step_tokens; /* token budget of a step; at least ENG_SPAN_TOKENS */
	uint32_t max_running; /* sequences that decode at once */
	uint32_t max_queued;  /* choices waiting; beyond: LT_EFULL */
	uint32_t max_context; /* prompt + answer tokens of a sequence */
	bool prefix_cache;
	void (*wake)(
		void *arg); /* called from the scheduler's thread when events wait; must be quick */
	void *wake_arg;
};

/* One request for `n` answers to the same prompt. */
struct sched_request {
	int32_t *prompt; // [n_prompt], malloc'd; taken over
	uint32_t n_prompt;
	uint32_t n;	     /* answers (choices), 1.. */
	uint32_t max_tokens; /* answer tokens of each choice, 1.. */
	struct eng_sampling
		how;	  /* bias and stop_ids malloc'd; taken over. Choice c draws with seed + c */
	int32_t priority; /* higher first; 0 is usual */
	uint32_t tenant;  /* for fairness: index of the API key, 0 without keys */
	unsigned char
		salt[SCHED_SALT_BYTES]; /* prefix cache: sequences share only under equal salts */
	bool no_prefix_cache;		/* this request neither takes from nor gives to the cache */
	uint64_t deadline_ns;		/* absolute, lt_clock_ns; 0: none */
};

enum sched_finish {
	SCHED_FINISH_NONE,
	SCHED_FINISH_STOP,	/* an end-of-sequence id was drawn (it is not in the events) */
	SCHED_FINISH_LENGTH,	/* max_tokens or max_context reached */
	SCHED_FINISH_CANCELLED, /* sched_cancel */
	SCHED_FINISH_ERROR, /* error says why: LT_ETIMEOUT, LT_ENUMERIC, LT_ENOMEM, LT_EUNAVAILABLE */
};

/* One token, or the end, of one choice. The last event of a choice has finish != NONE and token -1. */
struct sched_event {
	uint64_t id;
	uint32_t choice;
	int32_t token;
	enum sched_finish finish;
	int error;	       /* LT_E*, with SCHED_FINISH_ERROR */
	uint32_t n_cached;     /* prompt tokens that came from the prefix cache */
	uint32_t n_generated;  /* answer tokens so far */
	uint64_t time_ns;      /* when it was drawn */
	struct eng_draw *draw; /* malloc'd when logprobs were asked for, else NULL; caller frees */
};

int sched_open(const struct sched_opts *opts, struct sched **out, struct lt_err *err);
/* Stops the thread (running requests end as cancelled, events are dropped) and frees everything. */
void sched_close(struct sched *s);

/* Takes a request over and gives its id. On error the caller keeps the request's memory: LT_EFULL,
 * LT_EUNAVAILABLE (draining), LT_ETOOLONG (prompt + 1 > max_context, or more blocks than exist),
 * LT_EINVAL, LT_ENOMEM. */
int sched_submit(struct sched *s, const struct sched_request *req, uint64_t *id,
		 struct lt_err *err);

/* Ends all choices (choice < 0) or one of a request; its blocks come home within one step. Unknown or ended ids are
 * ignored. A final event still comes. */
void sched_cancel(struct sched *s, uint64_t id, int32_t choice);

/* Takes up to max events; returns how many. */
size_t sched_poll(struct sched *s, struct sched_event *events, size_t max);

/* No new requests from now on; those taken over go on. */
void sched_drain(struct sched *s);

struct sched_stats {
	uint64_t steps; /* advances while the engine is alive: the watchdog looks at it */
	bool busy;	/* work is queued or running */
	bool draining;
	uint32_t queued, running; /* sequences */
	uint32_t blocks_total, blocks_used, blocks_cached,
		blocks_shared; /* used: by sequences; cached: kept for reuse, nobody's now; shared: used by several */
	uint64_t prompt_tokens, cached_tokens, generated_tokens, preemptions, cancelled, finished;
	uint64_t step_ns, sample_ns, plan_ns; /* time spent so far, by phase */
	uint64_t step_rows, step_sequences;   /* sums over steps: mean batch = rows / steps */
};
/* Any thread. */
void sched_stats(const struct sched *s, struct sched_stats *out);

#endif
