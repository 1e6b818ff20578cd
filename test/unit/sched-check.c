/*
 * See the header.
 */
#include "test/unit/sched-check.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define VOCAB 251

int32_t check_token(uint64_t text, uint32_t pos, uint32_t vocab)
{
	uint64_t x = (text * 1000003 + pos) * UINT64_C(0x9e3779b97f4a7c15);

	return (int32_t)((x >> 33) % vocab);
}

struct sched_request check_request(uint64_t text, uint32_t n_prompt, uint32_t max_tokens)
{
	struct sched_request r = {.n_prompt = n_prompt, .n = 1, .max_tokens = max_tokens};

	r.prompt = lt_xalloc(n_prompt, sizeof(*r.prompt));
	for (uint32_t i = 0; i < n_prompt; i++)
		r.prompt[i] = check_token(text, i, VOCAB);
	r.how.repetition_penalty = 1.0f;
	r.how.top_p = 1.0f;
	return r;
}

/* --- what must always hold --- */

static uint32_t count_tables(const struct sched_core *c, uint32_t *refs)
{
	uint32_t open = 0;

	for (const struct sched_req *r = c->oldest; r; r = r->next) {
		uint32_t n_open = 0;
		LT_ASSERT(!r->next || (r->id < r->next->id && r->next->prev == r));
		for (uint32_t i = 0; i < r->in.n; i++) {
			const struct sched_seq *q = &r->seqs[i];
			n_open += q->state != SCHED_STATE_ENDED;
			LT_ASSERT(sched_seq_running(q) == (q->n_blocks > 0));
			LT_ASSERT(q->state != SCHED_STATE_JOINED || (r->leader && r->leader != q));
			LT_ASSERT(q->n_done <= q->n_blocks * ENG_BLOCK_TOKENS);
			LT_ASSERT(q->state == SCHED_STATE_ENDED || q->n_done < sched_seq_tokens(q));
			LT_ASSERT(q->take == 0);
			for (uint32_t k = 0; k < q->n_blocks; k++)
				refs[q->blocks[k]]++;
		}
		LT_ASSERT(n_open == r->n_open && n_open > 0);
		open += n_open;
	}
	return open;
}

static void check_lists(const struct sched_core *c, uint32_t open)
{
	uint32_t queued = 0;

	for (const struct sched_seq *q = c->waiting; q; q = q->next) {
		LT_ASSERT(!sched_seq_running(q) && q->state != SCHED_STATE_ENDED);
		LT_ASSERT(!q->next || q->next->prev == q);
		queued++;
	}
	for (uint32_t i = 0; i < c->n_running; i++)
		LT_ASSERT(sched_seq_running(c->running[i]));
	LT_ASSERT(queued == c->stats.queued);
	LT_ASSERT(queued + c->n_running == open);
	LT_ASSERT(sched_core_places(c) <= c->opts.max_running);
}

static void check_pool(const struct sched_blocks *b, const uint32_t *refs)
{
	uint32_t used = 0, shared = 0, free_ = 0, cached = 0, last = SCHED_BLOCK_NONE;

	for (uint32_t i = 0; i < b->n; i++) {
		LT_ASSERT(b->all[i].refs == refs[i]);
		used += refs[i] > 0;
		shared += refs[i] > 1;
		if (b->index->listed[i])
			LT_ASSERT(sched_prefix_find(b->index, b->index->keys[i]) == i);
	}
	for (uint32_t i = b->free_head; i != SCHED_BLOCK_NONE; i = b->all[i].next) {
		LT_ASSERT(refs[i] == 0 && !b->index->listed[i]);
		free_++;
	}
	for (uint32_t i = b->oldest; i != SCHED_BLOCK_NONE; i = b->all[i].next) {
		LT_ASSERT(refs[i] == 0 && b->index->listed[i] && b->all[i].prev == last);
		last = i;
		cached++;
	}
	LT_ASSERT(b->newest == last);
	LT_ASSERT(used == b->used && shared == b->shared && cached == b->cached);
	LT_ASSERT(used + cached + free_ == b->n);
}

void check_core(const struct sched_core *c)
{
	uint32_t *refs = lt_xalloc(c->blocks.n, sizeof(*refs));
	uint32_t open = count_tables(c, refs);

	check_lists(c, open);
	check_pool(&c->blocks, refs);
	free(refs);
}

/* --- event log --- */

void check_log_add(void *arg, const struct sched_event *events, size_t n)
{
	struct check_log *log = arg;

	LT_ASSERT(lt_reserve(&log->events, &log->cap, log->n + n, sizeof(*events)) == 0);
	if (n > 0)
		memcpy(log->events + log->n, events, n * sizeof(*events));
	log->n += n;
}

void check_log_fini(struct check_log *log)
{
	for (size_t i = 0; i < log->n; i++)
		free(log->events[i].draw);
	free(log->events);
	*log = (struct check_log){0};
}

uint32_t check_log_tokens(const struct check_log *log, uint64_t id, uint32_t choice,
			  int32_t *tokens, uint32_t max)
{
	uint32_t n = 0;

	for (size_t i = 0; i < log->n; i++) {
		const struct sched_event *e = &log->events[i];
		if (e->id != id || e->choice != choice || e->finish != SCHED_FINISH_NONE)
			continue;
		LT_ASSERT(n < max);
		tokens[n++] = e->token;
		LT_ASSERT(e->n_generated == n);
	}
	return n;
}

const struct sched_event *check_log_end(const struct check_log *log, uint64_t id, uint32_t choice)
{
	const struct sched_event *end = NULL;

	for (size_t i = 0; i < log->n; i++) {
		const struct sched_event *e = &log->events[i];
		if (e->id != id || e->choice != choice)
			continue;
		LT_ASSERT(!end); /* nothing comes after the end */
		if (e->finish != SCHED_FINISH_NONE)
			end = e;
	}
	return end;
}
