/*
 * The table of states and small questions about sequences.
 */
#include "scheduler/seq.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define IN(name) (1u << SCHED_STATE_##name)
static const struct {
	const char *text;
	unsigned next; /* bits of states */
} states[] = {
#define X(name, text, next) {text, next},
	SCHED_STATES(X)
#undef X
};
#undef IN

struct sched_req *sched_req_open(uint64_t id, const struct sched_request *in)
{
	struct sched_req *r;
	size_t bytes;

	if (!lt_mul(in->n, sizeof(r->seqs[0]), &bytes) || !lt_add(bytes, sizeof(*r), &bytes))
		return NULL;
	r = lt_alloc(1, bytes);
	if (!r)
		return NULL;
	r->id = id;
	r->in = *in;
	r->n_open = in->n;
	r->leader = &r->seqs[0];
	for (uint32_t i = 0; i < in->n; i++) {
		r->seqs[i].req = r;
		r->seqs[i].choice = i;
		r->seqs[i].state = i == 0 ? SCHED_STATE_QUEUED : SCHED_STATE_JOINED;
	}
	return r;
}

void sched_req_close(struct sched_req *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->in.n; i++) {
		struct sched_seq *q = &r->seqs[i];
		LT_ASSERT(q->n_blocks == 0);
		if (q->history)
			eng_history_close(q->history);
		free(q->answer);
		free(q->blocks);
	}
	free(r->in.prompt);
	free((void *)r->in.how.bias);
	free((void *)r->in.how.stop_ids);
	free(r);
}

const char *sched_state_name(enum sched_state state)
{
	return states[state].text;
}

void sched_seq_move(struct sched_seq *q, enum sched_state to)
{
	if (!(states[q->state].next & (1u << to))) {
		lt_log(LT_LOG_ERROR, "request %llu choice %u: from %s to %s",
		       (unsigned long long)q->req->id, q->choice, states[q->state].text,
		       states[to].text);
		LT_ASSERT(!"a move that the table of states allows");
	}
	q->state = to;
}

void sched_seq_copy(const struct sched_seq *q, uint32_t pos, uint32_t n, int32_t *out)
{
	uint32_t n_prompt = q->req->in.n_prompt, k = 0;

	LT_ASSERT(pos + n <= sched_seq_tokens(q));
	if (pos < n_prompt) {
		k = n < n_prompt - pos ? n : n_prompt - pos;
		memcpy(out, q->req->in.prompt + pos, k * sizeof(*out));
	}
	if (k < n)
		memcpy(out + k, q->answer + (pos + k - n_prompt), (n - k) * sizeof(*out));
}

bool sched_seq_before(const struct sched_seq *a, const struct sched_seq *b)
{
	if (a->req->in.priority != b->req->in.priority)
		return a->req->in.priority > b->req->in.priority;
	if (a->req->id != b->req->id)
		return a->req->id < b->req->id;
	return a->choice < b->choice;
}

bool sched_seq_penalties(const struct sched_seq *q, bool *prompt)
{
	const struct eng_sampling *how = &q->req->in.how;

	*prompt = how->repetition_penalty != 1.0f;
	return *prompt || how->presence_penalty != 0.0f || how->frequency_penalty != 0.0f;
}
