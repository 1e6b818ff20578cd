/*
 * The scheduler: continuous batching over one engine.
 *
 * It owns a thread (the only one that calls the engine), a bounded queue of commands in and a
 * bounded queue of events out. sched_submit, sched_cancel, sched_drain, sched_poll and sched_close
 * are for one thread, the server's loop; but for sched_close they never wait. Ids, not pointers,
 * cross threads; a request's memory belongs to the scheduler from a successful submit on.
 *
 * When the queue of events is full the scheduler's thread waits, so the loop must always go on
 * polling: sequences of all clients stand still until it does.
 */
#ifndef LT_SCHEDULER_SCHED_H
#define LT_SCHEDULER_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"

struct sched;

#define SCHED_SALT_BYTES   16
#define SCHED_MAX_QUEUED   (1u << 20)
#define SCHED_WAIT_BUCKETS 12

struct sched_opts {
	struct eng *engine; /* borrowed; the scheduler's thread is its only user. Its max_rows must
				 be at least step_tokens, its max_outputs at least max_running */
	uint32_t step_tokens; /* token budget of a step; at least ENG_SPAN_TOKENS and max_running.
				 Best is a multiple of ENG_SPAN_TOKENS plus max_running: then whole
				 spans of prompt fit beside all that decode */
	uint32_t max_running; /* sequences in prefill or decode at once, 1.. */
	uint32_t max_queued;  /* choices that may wait beyond max_running, up to SCHED_MAX_QUEUED:
				 when max_running + max_queued are open, submit gives LT_EFULL */
	uint32_t max_context; /* prompt + answer tokens of a sequence, 2..; also bounded by the
				 model's positions and the cache: sched_max_context tells */
	bool prefix_cache;
	/* Called from the scheduler's thread, once for each batch of events, when they can be polled.
	 * Must be quick and must not call the scheduler. May be NULL. */
	void (*wake)(void *arg);
	void *wake_arg;
};

/* One request for `n` answers to the same prompt. */
struct sched_request {
	int32_t *prompt; // [n_prompt], malloc'd; taken over
	uint32_t n_prompt;
	uint32_t n;	     /* answers (choices), 1..; they share the prompt's cache blocks */
	uint32_t max_tokens; /* answer tokens of each choice, 1.. */
	struct eng_sampling
		how;	  /* bias and stop_ids malloc'd; taken over. Choice c draws with seed + c */
	int32_t priority; /* higher first; 0 is usual */
	uint32_t tenant;  /* for fairness: index of the API key, 0 without keys */
	unsigned char
		salt[SCHED_SALT_BYTES]; /* prefix cache: sequences share only under equal salts */
	bool no_prefix_cache;		/* this request neither takes from nor gives to the cache */
	uint64_t
		deadline_ns; /* absolute, lt_clock_ns; 0: none. Past it: LT_ETIMEOUT, wherever it is */
};

enum sched_finish {
	SCHED_FINISH_NONE,
	SCHED_FINISH_STOP,	/* one of how.stop_ids was drawn (it is not in the events) */
	SCHED_FINISH_LENGTH,	/* max_tokens or max_context reached */
	SCHED_FINISH_CANCELLED, /* sched_cancel */
	SCHED_FINISH_ERROR, /* error says why: LT_ETIMEOUT, LT_ENUMERIC, LT_ENOMEM, LT_EINTERNAL */
};

/* One token, or the end, of one choice. The last event of a choice has finish != NONE and token -1. */
struct sched_event {
	uint64_t id;
	uint32_t choice;
	int32_t token;
	enum sched_finish finish;
	int error;	       /* LT_E*, with SCHED_FINISH_ERROR */
	uint32_t n_cached;     /* prompt tokens that came from the prefix cache */
	uint32_t n_generated;  /* answer tokens so far, the stop id not counted */
	uint64_t time_ns;      /* when it was drawn, lt_clock_ns */
	struct eng_draw *draw; /* malloc'd when logprobs were asked for, else NULL; caller frees */
};

/* LT_EINVAL (options; says what is allowed), LT_ENOMEM, LT_EINTERNAL (no thread). */
int sched_open(const struct sched_opts *opts, struct sched **out, struct lt_err *err);
/* Stops the thread after the step it is in (open requests end without events, those not polled are
 * dropped) and frees everything. NULL is fine. */
void sched_close(struct sched *s);

/* The most tokens, prompt and answer, that a sequence can have. Any thread. */
uint32_t sched_max_context(const struct sched *s);

/* Takes a request over and gives its id. On error the caller keeps the request's memory: LT_EFULL,
 * LT_EUNAVAILABLE (draining), LT_ETOOLONG (prompt + 1 > sched_max_context), LT_EINVAL (a count of
 * 0, a token outside the vocabulary, n beyond max_running + max_queued), LT_ENOMEM. */
int sched_submit(struct sched *s, const struct sched_request *req, uint64_t *id,
		 struct lt_err *err);

/* Ends all choices (choice < 0) or one of a request; its blocks come home within one step. Unknown or
 * ended ids are ignored. A final event still comes. */
void sched_cancel(struct sched *s, uint64_t id, int32_t choice);

/* Takes up to max events, oldest first; returns how many. Fewer than max: there are no more, and
 * `wake` will be called when there are. */
size_t sched_poll(struct sched *s, struct sched_event *events, size_t max);

/* No new requests from now on; those taken over go on. */
void sched_drain(struct sched *s);

struct sched_stats {
	uint64_t steps; /* advances while the engine is alive: the watchdog looks at it */
	bool busy;	/* work is queued or running */
	bool draining;
	uint32_t queued, running; /* sequences; queued: in the queue or preempted */
	uint32_t blocks_total, blocks_used, blocks_cached,
		blocks_shared; /* used: by sequences; cached: kept for reuse, nobody's now; shared: used by several */
	uint64_t prompt_tokens;	    /* of requests that got to their answers */
	uint64_t cached_tokens;	    /* prompt tokens found in the prefix cache */
	uint64_t recomputed_tokens; /* computed again after a preemption */
	uint64_t generated_tokens, preemptions;
	uint64_t finished, cancelled, failed; /* choices; finished: all that ended, however */
	uint64_t step_ns, sample_ns, plan_ns; /* time spent so far, by phase */
	uint64_t step_rows, step_sequences;   /* sums over steps: mean batch = rows / steps */
	uint64_t wait_ns; /* sum of the times from submit to the first step, over requests */
	uint64_t wait_counts[SCHED_WAIT_BUCKETS]; /* how many waited up to sched_wait_bounds_ns[i],
						     and not up to the bound before; last: longer */
};
extern const uint64_t sched_wait_bounds_ns[SCHED_WAIT_BUCKETS - 1];

/* Any thread. As of the last time the scheduler's thread got to it: in between steps. */
void sched_stats(const struct sched *s, struct sched_stats *out);

#endif
