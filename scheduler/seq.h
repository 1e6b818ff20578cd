/*
 * Requests and their sequences (choices), as data: the table of states, tokens, who owns what.
 *
 * A request and its sequences are one piece of memory, made by the server's thread in sched_submit
 * and from then on the scheduler's thread's alone; it goes when its last sequence has ended. All
 * choices of a request have the same prompt, so one of them, the leader, computes it for all. Then
 * they fork: each has the same blocks in its table, the last one copied by whoever writes it first.
 */
#ifndef LT_SCHEDULER_SEQ_H
#define LT_SCHEDULER_SEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/blocks.h"
#include "scheduler/sched.h"
#include "scheduler/tenant.h"

/*
 * The life of a sequence. X(name, text, states it may move to)
 *
 *   QUEUED -> PREFILL -> DECODE -> ENDED      the usual way
 *   JOINED -> DECODE                          a choice that forks from its leader
 *   PREFILL, DECODE -> PREEMPTED -> PREFILL   its blocks were needed elsewhere: computed again
 *   JOINED -> PREEMPTED                       forked, but there was no place to run
 *   JOINED -> QUEUED, PREFILL, PREEMPTED      its leader was cancelled: takes its place
 *
 * PREFILL and DECODE hold blocks and a place to run ("running"); the others ("waiting") hold neither.
 */
#define SCHED_STATES(X)                                                                            \
	X(QUEUED, "queued", IN(PREFILL) | IN(ENDED))                                               \
	X(JOINED, "joined", IN(QUEUED) | IN(PREFILL) | IN(DECODE) | IN(PREEMPTED) | IN(ENDED))     \
	X(PREFILL, "prefill", IN(DECODE) | IN(PREEMPTED) | IN(ENDED))                              \
	X(DECODE, "decode", IN(PREEMPTED) | IN(ENDED))                                             \
	X(PREEMPTED, "preempted", IN(PREFILL) | IN(ENDED))                                         \
	X(ENDED, "ended", 0)

enum sched_state {
#define X(name, text, next) SCHED_STATE_##name,
	SCHED_STATES(X)
#undef X
};

struct sched_seq {
	struct sched_req *req;
	uint32_t choice;
	enum sched_state state;
	struct sched_seq *prev, *next; /* in the list of those waiting */

	int32_t *answer; // [n_answer] tokens drawn so far
	size_t answer_cap;
	uint32_t n_answer;
	struct eng_history *history; /* NULL until needed */

	uint32_t *blocks; // [n_blocks] block table
	size_t blocks_cap;
	uint32_t n_blocks;
	uint32_t n_done;		      /* positions whose latents are in the cache */
	uint32_t reached;		      /* the highest n_done so far, over preemptions */
	unsigned char chain[SCHED_KEY_BYTES]; /* prefix key of the last full block in the cache */

	/* For the step being planned. */
	uint32_t take; /* tokens to compute, from n_done on */
	bool skip;     /* has no more turns in this step */
	/* For the planner. */
	uint32_t left_guess; /* tokens to compute, if the prefix cache stays as it was on arrival */
	uint32_t passed;     /* younger ones let in while this one waited for blocks */
	uint64_t tried;	     /* blocks.returns + 1 when it last found too few blocks; 0: never */
};

struct sched_req {
	uint64_t id;		 /* ascending: the older the lower */
	struct sched_request in; /* prompt, how.bias and how.stop_ids are ours */
	uint64_t arrived_ns;
	struct sched_tenant *tenant;
	struct sched_req *prev, *next; /* in the list of open requests */
	unsigned char root[SCHED_KEY_BYTES];
	uint32_t n_cached;	  /* prompt tokens that were found in the prefix cache */
	bool started;		  /* it has run: the wait is over */
	struct sched_seq *leader; /* computes the prompt; NULL once the choices have forked */
	uint32_t n_open;	  /* sequences that have not ended */
	struct sched_seq seqs[];  // [in.n]
};

/* Copies *in (not what it points to) into a new request with its sequences: the first is QUEUED and
 * leads, the others are JOINED. NULL without memory. */
struct sched_req *sched_req_open(uint64_t id, const struct sched_request *in);

/* Frees it with prompt, bias and stop ids; nothing of it may hold blocks. */
void sched_req_close(struct sched_req *r);

/* Moves to another state. Asserts that the table allows it. */
void sched_seq_move(struct sched_seq *q, enum sched_state to);
const char *sched_state_name(enum sched_state state);

static inline bool sched_seq_running(const struct sched_seq *q)
{
	return q->state == SCHED_STATE_PREFILL || q->state == SCHED_STATE_DECODE;
}

/* Tokens that are known: prompt and answer. */
static inline uint32_t sched_seq_tokens(const struct sched_seq *q)
{
	return q->req->in.n_prompt + q->n_answer;
}

/* Copies tokens pos..pos + n of prompt and answer to out [n]. */
void sched_seq_copy(const struct sched_seq *q, uint32_t pos, uint32_t n, int32_t *out);

/* True if a goes before b: higher priority, then the older request, then the lower choice. */
bool sched_seq_before(const struct sched_seq *a, const struct sched_seq *b);

/* True if the answer's tokens are to be remembered for penalties; and the prompt's, too. */
bool sched_seq_penalties(const struct sched_seq *q, bool *prompt);

#endif
