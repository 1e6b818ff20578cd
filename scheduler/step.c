/*
 * From plan to tokens.
 *
 * A sequence's part of the batch is cut where the form of attention changes and where the prompt
 * ends (the two arrays of tokens are not neighbours), so it has up to three spans, one after the
 * other. Results are taken in the same order: blocks that became full are listed, and who has
 * computed its last token draws the next one.
 */
#include "scheduler/step.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "scheduler/room.h"

/* --- the batch --- */

/* Adds q's tokens n_done..n_done + take. */
static void add_spans(struct sched_core *c, const struct sched_seq *q)
{
	uint32_t n_prompt = q->req->in.n_prompt;
	uint32_t pos = q->n_done, end = q->n_done + q->take;
	/* Complete spans of prompt tokens may take another form than what follows. */
	uint32_t whole = n_prompt / ENG_SPAN_TOKENS * ENG_SPAN_TOKENS;

	while (pos < end) {
		struct eng_span *s = &c->spans[c->n_spans++];
		uint32_t to = end;

		if (pos < whole && whole < to)
			to = whole;
		else if (pos < n_prompt && n_prompt < to)
			to = n_prompt;
		*s = (struct eng_span){
			.tokens = pos < n_prompt ? q->req->in.prompt + pos
						 : q->answer + (pos - n_prompt),
			.n = to - pos,
			.pos = pos,
			.form = eng_form_of(c->engine, pos, n_prompt),
			.blocks = q->blocks,
			.outputs = to == sched_seq_tokens(q),
		};
		pos = to;
	}
}

static size_t make_batch(struct sched_core *c)
{
	size_t outputs = 0;

	c->n_spans = 0;
	for (uint32_t i = 0; i < c->n_took; i++) {
		const struct sched_seq *q = c->took[i];

		LT_ASSERT((q->n_done + q->take + ENG_BLOCK_TOKENS - 1) / ENG_BLOCK_TOKENS <=
			  q->n_blocks);
		add_spans(c, q);
		outputs += q->n_done + q->take == sched_seq_tokens(q);
		c->stats.step_rows += q->take;
	}
	c->stats.step_sequences += c->n_took;
	return outputs;
}

/* --- drawing --- */

static bool is_stop(const struct eng_sampling *how, int32_t token, uint32_t index)
{
	if (how->ignore_eos || index < how->min_tokens)
		return false;
	for (size_t i = 0; i < how->n_stop_ids; i++) {
		if (how->stop_ids[i] == token)
			return true;
	}
	return false;
}

/* The history for penalties, made when the first answer token is drawn. */
static int remember(struct sched_seq *q)
{
	const struct sched_request *in = &q->req->in;
	bool prompt;

	if (q->history || !sched_seq_penalties(q, &prompt))
		return 0;
	q->history = eng_history_open();
	if (!q->history)
		return LT_ENOMEM;
	for (uint32_t i = 0; prompt && i < in->n_prompt; i++) {
		if (eng_history_add(q->history, in->prompt[i], false) < 0)
			return LT_ENOMEM;
	}
	return 0;
}

/* Draws q's next token from row `row`. 0, LT_ENUMERIC, LT_ENOMEM. */
static int draw(struct sched_core *c, struct sched_seq *q, const struct eng_out *out, size_t row,
		struct eng_draw *d)
{
	struct eng_sampling how = q->req->in.how;
	int rc;

	if (!c->info->has_logits) {
		*d = (struct eng_draw){.token = out->tokens[row]};
		return 0;
	}
	rc = remember(q);
	if (rc < 0)
		return rc;
	how.seed += q->choice;
	return eng_sample(c->sampler, out->logits + row * (size_t)c->info->vocab, &how, q->history,
			  q->n_answer, d);
}

/* The token becomes part of the answer. 0 or LT_ENOMEM. */
static int append(struct sched_core *c, struct sched_seq *q, const struct eng_draw *d)
{
	struct eng_draw *copy = NULL;

	if (lt_reserve(&q->answer, &q->answer_cap, (size_t)q->n_answer + 1, sizeof(*q->answer)) < 0)
		return LT_ENOMEM;
	if (q->history && eng_history_add(q->history, d->token, true) < 0)
		return LT_ENOMEM;
	if (q->req->in.how.logprobs && c->info->has_logits) {
		copy = lt_alloc(1, sizeof(*copy));
		if (!copy)
			return LT_ENOMEM;
		*copy = *d;
	}
	q->answer[q->n_answer++] = d->token;
	c->stats.generated_tokens++;
	sched_core_emit(c, q, d->token, copy);
	return 0;
}

/* The next token of q, and what it leads to. */
static void advance(struct sched_core *c, struct sched_seq *q, const struct eng_out *out,
		    size_t row)
{
	const struct sched_request *in = &q->req->in;
	struct eng_draw d;
	int rc = draw(c, q, out, row, &d);

	if (rc == 0 && is_stop(&in->how, d.token, q->n_answer)) {
		sched_core_end(c, q, SCHED_FINISH_STOP, 0);
		return;
	}
	if (rc == 0)
		rc = append(c, q, &d);
	if (rc < 0)
		sched_core_end(c, q, SCHED_FINISH_ERROR, rc);
	else if (q->n_answer >= in->max_tokens || sched_seq_tokens(q) >= c->max_tokens)
		sched_core_end(c, q, SCHED_FINISH_LENGTH, 0);
}

/* The prompt of a request is computed: every choice draws its first token from the same row. */
static void begin_answers(struct sched_core *c, struct sched_req *r, const struct eng_out *out,
			  size_t row)
{
	uint32_t left;

	c->stats.prompt_tokens += r->in.n_prompt;
	sched_core_fork(c, r);
	left = r->n_open; /* the leader at least; the request goes with the last */
	for (uint32_t i = 0; left > 0; i++) {
		if (r->seqs[i].state == SCHED_STATE_ENDED)
			continue;
		left--;
		advance(c, &r->seqs[i], out, row);
	}
}

static void finish_row(struct sched_core *c, struct sched_seq *q, const struct eng_out *out,
		       size_t row)
{
	if (out->bad[row]) {
		sched_core_fail(c, q, LT_ENUMERIC);
	} else if (q->req->leader == q) {
		begin_answers(c, q->req, out, row);
	} else {
		if (q->state == SCHED_STATE_PREFILL)
			sched_seq_move(q, SCHED_STATE_DECODE);
		advance(c, q, out, row);
	}
}

/* --- the step --- */

static void step_failed(struct sched_core *c, int rc, const struct lt_err *err)
{
	lt_log(LT_LOG_ERROR, "engine: step of %u sequences failed: %s (%s)", c->n_took,
	       lt_error_text(rc), err->text);
	if (rc == LT_EINTERNAL || ++c->failures >= 2) {
		lt_log(LT_LOG_ERROR, "engine: lost, giving up");
		abort();
	}
	/* Sequences of one request fail one by one: only a leader stands for others, and then it is the
	 * only one of its request in the batch. */
	for (uint32_t i = 0; i < c->n_took; i++)
		sched_core_fail(c, c->took[i], LT_EINTERNAL);
}

void sched_step(struct sched_core *c)
{
	uint64_t t0 = lt_clock_ns(), t1;
	size_t outputs = make_batch(c), row = 0;
	struct eng_batch batch = {.spans = c->spans, .n_spans = c->n_spans};
	struct lt_err err = {0};
	struct eng_out out;
	int rc;

	rc = eng_step(c->engine, &batch, &out, &err);
	t1 = lt_clock_ns();
	c->stats.step_ns += t1 - t0;
	c->stats.steps++;
	if (rc < 0) {
		step_failed(c, rc, &err);
		return;
	}
	c->failures = 0;
	LT_ASSERT(out.n == outputs);
	for (uint32_t i = 0; i < c->n_took; i++) {
		struct sched_seq *q = c->took[i];
		bool last = q->n_done + q->take == sched_seq_tokens(q);

		/* Blocks are listed before the row is known to be good: who ends with LT_ENUMERIC has
		 * all of its blocks taken off the index, those of earlier steps too. */
		sched_room_commit(c, q, q->take);
		q->take = 0;
		if (last)
			finish_row(c, q, &out, row++);
	}
	c->stats.sample_ns += lt_clock_ns() - t1;
}
