/*
 * How sequences arrive, move and end. Each is in exactly one place: the list of those waiting, the
 * array of those running, or nowhere (ENDED, kept only until the request's last one has ended).
 */
#include "scheduler/core.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "scheduler/plan.h"
#include "scheduler/room.h"
#include "scheduler/step.h"

/* --- opening and closing --- */

static int check_opts(const struct sched_opts *o, const struct eng_info *info, struct lt_err *err)
{
	if (o->step_tokens < ENG_SPAN_TOKENS)
		return lt_fail(err, LT_EINVAL, "step tokens: %u, must be at least %u",
			       o->step_tokens, ENG_SPAN_TOKENS);
	if (o->max_running < 1 || o->max_running > o->step_tokens)
		return lt_fail(err, LT_EINVAL,
			       "running sequences: %u, must be 1 to %u (the step's tokens)",
			       o->max_running, o->step_tokens);
	if (o->step_tokens > info->max_rows || o->max_running > info->max_outputs)
		return lt_fail(err, LT_EINVAL,
			       "%u step tokens and %u running sequences: the engine was opened for "
			       "%u and %u",
			       o->step_tokens, o->max_running, info->max_rows, info->max_outputs);
	if (o->max_queued > SCHED_MAX_QUEUED)
		return lt_fail(err, LT_EINVAL, "queued choices: %u, must be at most %u",
			       o->max_queued, SCHED_MAX_QUEUED);
	if (o->max_context < 2)
		return lt_fail(err, LT_EINVAL, "context: %u tokens, must be at least 2",
			       o->max_context);
	if (info->cache_blocks < 1 || info->cache_blocks == SCHED_BLOCK_NONE)
		return lt_fail(err, LT_EINVAL, "the engine has %u cache blocks",
			       info->cache_blocks);
	return 0;
}

static uint32_t longest(const struct sched_opts *o, const struct eng_info *info)
{
	uint64_t n = o->max_context, room = (uint64_t)info->cache_blocks * ENG_BLOCK_TOKENS;

	if (n > room)
		n = room;
	if (info->max_positions > 0 && n > info->max_positions)
		n = info->max_positions;
	return (uint32_t)n;
}

int sched_core_init(struct sched_core *c, const struct sched_opts *opts, struct lt_err *err)
{
	const struct eng_info *info = eng_info(opts->engine);
	int rc = check_opts(opts, info, err);

	memset(c, 0, sizeof(*c));
	if (rc < 0)
		return rc;
	c->engine = opts->engine;
	c->info = info;
	c->opts = *opts;
	c->max_tokens = longest(opts, info);
	c->next_deadline = UINT64_MAX;
	if (sched_prefix_init(&c->prefix, info->cache_blocks) < 0 ||
	    sched_blocks_init(&c->blocks, info->cache_blocks, &c->prefix) < 0)
		goto nomem;
	c->running = lt_alloc(opts->max_running, sizeof(struct sched_seq *));
	c->took = lt_alloc(opts->max_running, sizeof(struct sched_seq *));
	c->spans = lt_alloc((size_t)opts->max_running * 3, sizeof(*c->spans));
	if (info->has_logits)
		c->sampler = eng_sampler_open(info->vocab);
	if (!c->running || !c->took || !c->spans || (info->has_logits && !c->sampler))
		goto nomem;
	return 0;
nomem:
	sched_core_fini(c);
	return lt_fail(err, LT_ENOMEM, "scheduler: no memory for %u cache blocks",
		       info->cache_blocks);
}

void sched_core_fini(struct sched_core *c)
{
	while (c->oldest) {
		struct sched_req *r = c->oldest;
		c->oldest = r->next;
		for (uint32_t i = 0; i < r->in.n; i++)
			sched_room_close(c, &r->seqs[i], false);
		sched_req_close(r);
	}
	for (size_t i = 0; i < c->n_staged; i++)
		free(c->staged[i].draw);
	if (c->sampler)
		eng_sampler_close(c->sampler);
	free(c->spans);
	free(c->took);
	free(c->running);
	sched_tenants_fini(&c->tenants);
	sched_blocks_fini(&c->blocks);
	sched_prefix_fini(&c->prefix);
	memset(c, 0, sizeof(*c));
}

/* --- events --- */

void sched_core_flush(struct sched_core *c)
{
	size_t n = c->n_staged;

	if (n == 0)
		return;
	c->n_staged = 0;
	c->flush(c->flush_arg, c->staged, n);
}

static struct sched_event *stage(struct sched_core *c, const struct sched_seq *q)
{
	struct sched_event *e;

	if (c->n_staged == SCHED_STAGED)
		sched_core_flush(c);
	e = &c->staged[c->n_staged++];
	*e = (struct sched_event){.id = q->req->id,
				  .choice = q->choice,
				  .token = -1,
				  .n_cached = q->req->n_cached,
				  .n_generated = q->n_answer,
				  .time_ns = lt_clock_ns()};
	return e;
}

void sched_core_emit(struct sched_core *c, struct sched_seq *q, int32_t token,
		     struct eng_draw *draw)
{
	struct sched_event *e = stage(c, q);

	e->token = token;
	e->draw = draw;
}

/* --- where sequences are --- */

static void wait_add(struct sched_core *c, struct sched_seq *q)
{
	q->prev = NULL;
	q->next = c->waiting;
	if (c->waiting)
		c->waiting->prev = q;
	c->waiting = q;
	c->stats.queued++;
}

static void wait_remove(struct sched_core *c, struct sched_seq *q)
{
	if (q->prev)
		q->prev->next = q->next;
	else
		c->waiting = q->next;
	if (q->next)
		q->next->prev = q->prev;
	q->prev = q->next = NULL;
	c->stats.queued--;
}

static void run_add(struct sched_core *c, struct sched_seq *q)
{
	LT_ASSERT(c->n_running < c->opts.max_running);
	c->running[c->n_running++] = q;
}

static void run_remove(struct sched_core *c, struct sched_seq *q)
{
	for (uint32_t i = 0; i < c->n_running; i++) {
		if (c->running[i] == q) {
			c->running[i] = c->running[--c->n_running];
			return;
		}
	}
	LT_ASSERT(!"a running sequence is in the array");
}

static void leave_place(struct sched_core *c, struct sched_seq *q)
{
	if (sched_seq_running(q))
		run_remove(c, q);
	else
		wait_remove(c, q);
}

/* Tokens of a step that q no longer takes part in. */
static void untake(struct sched_core *c, struct sched_seq *q)
{
	c->budget += q->take;
	q->take = 0;
}

uint32_t sched_core_places_of(const struct sched_core *c, const struct sched_seq *q)
{
	uint32_t n = q->req->leader == q ? q->req->n_open : 1;

	return n < c->opts.max_running ? n : c->opts.max_running;
}

uint32_t sched_core_places(const struct sched_core *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_running; i++)
		n += sched_core_places_of(c, c->running[i]);
	return n;
}

/* --- the life of a request --- */

static void link_request(struct sched_core *c, struct sched_req *r)
{
	r->prev = c->newest;
	r->next = NULL;
	if (c->newest)
		c->newest->next = r;
	else
		c->oldest = r;
	c->newest = r;
}

static void unlink_request(struct sched_core *c, struct sched_req *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		c->oldest = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		c->newest = r->prev;
}

void sched_core_enter(struct sched_core *c, struct sched_req *r)
{
	link_request(c, r);
	for (uint32_t i = 0; i < r->in.n; i++)
		wait_add(c, &r->seqs[i]);
	sched_prefix_root(&c->prefix, r->in.salt, r->root);
	r->leader->left_guess = r->in.n_prompt - sched_room_guess(c, r->leader);
	if (r->in.deadline_ns && r->in.deadline_ns < c->next_deadline)
		c->next_deadline = r->in.deadline_ns;
	r->tenant = sched_tenant_enter(&c->tenants, r->in.tenant);
	if (!r->tenant)
		sched_core_end_all(c, r, SCHED_FINISH_ERROR, LT_ENOMEM);
}

/* The leader has left its place and others wait for the prompt: one of them goes on there. */
static void hand_over(struct sched_core *c, struct sched_seq *from)
{
	struct sched_req *r = from->req;
	struct sched_seq *to = NULL;

	r->leader = NULL;
	for (uint32_t i = 0; i < r->in.n && !to; i++) {
		if (r->seqs[i].state == SCHED_STATE_JOINED)
			to = &r->seqs[i];
	}
	if (!to)
		return;
	r->leader = to;
	to->left_guess = from->left_guess;
	to->passed = from->passed;
	to->reached = from->reached;
	if (sched_seq_running(from)) {
		uint32_t *spare = to->blocks;
		size_t spare_cap = to->blocks_cap;

		wait_remove(c, to);
		run_add(c, to);
		to->blocks = from->blocks;
		to->blocks_cap = from->blocks_cap;
		to->n_blocks = from->n_blocks;
		to->n_done = from->n_done;
		memcpy(to->chain, from->chain, SCHED_KEY_BYTES);
		from->blocks = spare;
		from->blocks_cap = spare_cap;
		from->n_blocks = 0;
	}
	sched_seq_move(to, from->state);
}

static void count_wait(struct sched_core *c, const struct sched_req *r)
{
	uint64_t wait = c->now > r->arrived_ns ? c->now - r->arrived_ns : 0;
	uint32_t i = 0;

	while (i < SCHED_WAIT_BUCKETS - 1 && wait > sched_wait_bounds_ns[i])
		i++;
	c->stats.wait_counts[i]++;
	c->stats.wait_ns += wait;
}

void sched_core_start(struct sched_core *c, struct sched_seq *q)
{
	wait_remove(c, q);
	run_add(c, q);
	sched_seq_move(q, SCHED_STATE_PREFILL);
	q->take = 0;
	q->skip = false;
	if (!q->req->started) {
		q->req->started = true;
		count_wait(c, q->req);
	}
}

void sched_core_preempt(struct sched_core *c, struct sched_seq *q)
{
	untake(c, q);
	sched_room_close(c, q, false);
	run_remove(c, q);
	sched_seq_move(q, SCHED_STATE_PREEMPTED);
	wait_add(c, q);
	q->tried = 0;
	c->stats.preemptions++;
}

void sched_core_fork(struct sched_core *c, struct sched_req *r)
{
	struct sched_seq *from = r->leader;

	r->leader = NULL;
	sched_seq_move(from, SCHED_STATE_DECODE);
	for (uint32_t i = 0; i < r->in.n; i++) {
		struct sched_seq *q = &r->seqs[i];

		if (q->state != SCHED_STATE_JOINED)
			continue;
		if (c->n_running == c->opts.max_running) {
			sched_seq_move(q, SCHED_STATE_PREEMPTED);
			q->reached = from->reached;
			continue;
		}
		if (sched_room_share(c, q, from) < 0) {
			sched_core_end(c, q, SCHED_FINISH_ERROR, LT_ENOMEM);
			continue;
		}
		wait_remove(c, q);
		run_add(c, q);
		sched_seq_move(q, SCHED_STATE_DECODE);
	}
}

static void count_end(struct sched_core *c, enum sched_finish finish)
{
	c->stats.finished++;
	if (finish == SCHED_FINISH_CANCELLED)
		c->stats.cancelled++;
	else if (finish == SCHED_FINISH_ERROR)
		c->stats.failed++;
}

void sched_core_end(struct sched_core *c, struct sched_seq *q, enum sched_finish finish, int error)
{
	struct sched_req *r = q->req;
	struct sched_event *e;

	untake(c, q);
	leave_place(c, q);
	if (r->leader == q)
		hand_over(c, q);
	sched_room_close(c, q, error == LT_ENUMERIC);
	sched_seq_move(q, SCHED_STATE_ENDED);
	e = stage(c, q);
	e->finish = finish;
	e->error = error;
	count_end(c, finish);
	if (q->history)
		eng_history_close(q->history);
	q->history = NULL;
	free(q->answer);
	q->answer = NULL;
	free(q->blocks);
	q->blocks = NULL;
	if (--r->n_open > 0)
		return;
	unlink_request(c, r);
	if (r->tenant)
		sched_tenant_leave(r->tenant);
	sched_req_close(r);
}

void sched_core_end_all(struct sched_core *c, struct sched_req *r, enum sched_finish finish,
			int error)
{
	uint32_t left = r->n_open;

	r->leader = NULL; /* nobody takes its place */
	for (uint32_t i = 0; left > 0; i++) {
		if (r->seqs[i].state == SCHED_STATE_ENDED)
			continue;
		left--;
		sched_core_end(c, &r->seqs[i], finish, error);
	}
}

void sched_core_fail(struct sched_core *c, struct sched_seq *q, int error)
{
	if (q->req->leader == q)
		sched_core_end_all(c, q->req, SCHED_FINISH_ERROR, error);
	else
		sched_core_end(c, q, SCHED_FINISH_ERROR, error);
}

void sched_core_cancel(struct sched_core *c, uint64_t id, int32_t choice)
{
	struct sched_req *r = c->oldest;

	while (r && r->id != id)
		r = r->next;
	if (!r)
		return;
	if (choice < 0)
		sched_core_end_all(c, r, SCHED_FINISH_CANCELLED, 0);
	else if ((uint32_t)choice < r->in.n && r->seqs[choice].state != SCHED_STATE_ENDED)
		sched_core_end(c, &r->seqs[choice], SCHED_FINISH_CANCELLED, 0);
}

/* --- turns --- */

bool sched_core_idle(const struct sched_core *c)
{
	return !c->oldest;
}

static void expire(struct sched_core *c)
{
	struct sched_req *r, *next;

	if (c->now < c->next_deadline)
		return;
	c->next_deadline = UINT64_MAX;
	for (r = c->oldest; r; r = next) {
		next = r->next;
		if (!r->in.deadline_ns)
			continue;
		if (r->in.deadline_ns <= c->now)
			sched_core_end_all(c, r, SCHED_FINISH_ERROR, LT_ETIMEOUT);
		else if (r->in.deadline_ns < c->next_deadline)
			c->next_deadline = r->in.deadline_ns;
	}
}

void sched_core_turn(struct sched_core *c)
{
	c->now = lt_clock_ns();
	expire(c);
	if (!sched_core_idle(c)) {
		sched_plan(c);
		c->stats.plan_ns += lt_clock_ns() - c->now;
		/* A plan without tokens has ended all it looked at (no memory). */
		if (c->n_took > 0)
			sched_step(c);
	}
	sched_core_flush(c);
}

void sched_core_stats(const struct sched_core *c, struct sched_stats *out)
{
	*out = c->stats;
	out->busy = !sched_core_idle(c);
	out->running = c->n_running;
	out->blocks_total = c->blocks.n;
	out->blocks_used = c->blocks.used;
	out->blocks_cached = c->blocks.cached;
	out->blocks_shared = c->blocks.shared;
}
