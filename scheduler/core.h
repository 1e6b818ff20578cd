/*
 * The scheduler without its thread: all that is known about open requests, and how a sequence
 * arrives, is preempted, forks and ends. plan.c decides what a step computes, room.c finds blocks
 * for it, step.c runs it; sched.c calls sched_core_turn in a loop and carries commands and events
 * across threads. One thread uses a core; tests do so without any queue.
 */
#ifndef LT_SCHEDULER_CORE_H
#define LT_SCHEDULER_CORE_H

#include "scheduler/seq.h"

#define SCHED_STAGED 256u /* events collected before they are handed on */

struct sched_core {
	struct eng *engine; /* borrowed */
	const struct eng_info *info;
	struct sched_opts opts;
	uint32_t max_tokens; /* of a sequence: what max_context, model and cache allow */

	struct sched_prefix prefix;
	struct sched_blocks blocks;
	struct sched_tenants tenants;
	struct eng_sampler *sampler; /* NULL if the engine gives tokens */

	struct sched_req *oldest, *newest; /* list of open requests */
	struct sched_seq *waiting;	   /* list, in no order */
	struct sched_seq **running;	   // [n_running] in no order; capacity max_running
	uint32_t n_running;
	uint64_t now;		/* lt_clock_ns at the turn's start */
	uint64_t next_deadline; /* no deadline is earlier; UINT64_MAX: none */

	/* The step being planned and run. */
	uint32_t budget;	 /* tokens left */
	struct sched_seq **took; // [n_took] those with tokens in this step; capacity max_running
	uint32_t n_took;
	struct eng_span *spans; // [n_spans] capacity 3 * max_running
	size_t n_spans;
	uint32_t failures; /* steps that failed, in a row */

	/* Events go here and from here, many at a time, to `flush`, which owns their draws. */
	struct sched_event staged[SCHED_STAGED];
	size_t n_staged;
	void (*flush)(void *arg, const struct sched_event *events, size_t n);
	void *flush_arg;

	struct sched_stats stats; /* counters; sched_core_stats fills in the rest */
};

/* LT_EINVAL (options; says what is allowed), LT_ENOMEM. flush and flush_arg are the caller's to set. */
int sched_core_init(struct sched_core *c, const struct sched_opts *opts, struct lt_err *err);
/* Ends everything without events. */
void sched_core_fini(struct sched_core *c);

/* A request arrives; the core owns it from now on, and events tell the rest. */
void sched_core_enter(struct sched_core *c, struct sched_req *r);

/* Ends one choice, or all (choice < 0), as cancelled. Unknown ones are ignored. */
void sched_core_cancel(struct sched_core *c, uint64_t id, int32_t choice);

/* Nothing to do until a request arrives. */
bool sched_core_idle(const struct sched_core *c);

/* Ends what is past its deadline, plans a step and runs it. */
void sched_core_turn(struct sched_core *c);

void sched_core_flush(struct sched_core *c);

/* The state of things now, counters and gauges. */
void sched_core_stats(const struct sched_core *c, struct sched_stats *out);

/* --- for the other files of the scheduler --- */

/* Stages an event; the draw changes hands. */
void sched_core_emit(struct sched_core *c, struct sched_seq *q, int32_t token,
		     struct eng_draw *draw);

/* Ends a sequence: blocks come home, the final event goes out. If it led and others wait for the
 * prompt, one of them takes its place. The request is gone after its last one. */
void sched_core_end(struct sched_core *c, struct sched_seq *q, enum sched_finish finish, int error);

/* Ends what has not ended of a request. */
void sched_core_end_all(struct sched_core *c, struct sched_req *r, enum sched_finish finish,
			int error);

/* Ends q, and with it the choices that wait for it to compute the prompt. */
void sched_core_fail(struct sched_core *c, struct sched_seq *q, int error);

/* A waiting sequence becomes PREFILL. */
void sched_core_start(struct sched_core *c, struct sched_seq *q);

/* Takes a running sequence's blocks and place away; it will be computed again. */
void sched_core_preempt(struct sched_core *c, struct sched_seq *q);

/* The prompt is computed: the leader and each choice that waited for it decode from here, as far as
 * there are places to run. */
void sched_core_fork(struct sched_core *c, struct sched_req *r);

/* Places to run that are taken, by those running and by the choices that they will fork into. */
uint32_t sched_core_places(const struct sched_core *c);

/* Places that this sequence needs to start, forks included. */
uint32_t sched_core_places_of(const struct sched_core *c, const struct sched_seq *q);

#endif
