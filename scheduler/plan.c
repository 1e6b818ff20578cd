/*
 * The rules by which a step's token budget is spent.
 *
 * 1. Every sequence that decodes gets its one token. If it needs a block and there is none, the
 *    youngest sequence of the lowest priority that runs is preempted, which may be itself.
 * 2. Preempted sequences are let in again, best first, before anybody new of their priority or a
 *    lower one, who is not let in while one of them finds too few blocks.
 * 3. What is left of the budget goes to prompts in turns of at most one span (ENG_SPAN_TOKENS, cut
 *    at the spans' borders). Each turn is given to
 *      - the highest priority that has a prompt to compute;
 *      - within it, the tenant that was served least (tenant.h);
 *      - of its prompts, in turn, either the oldest or the one with the least left to compute: the
 *        two lanes get equal shares of the tenant's tokens while both have work. So the oldest
 *        always moves, and a short prompt waits for one chunk of a long one at most.
 *    A prompt alone gets turn after turn: the whole budget.
 * 4. A new prompt is let in at its first turn, if there are places to run for its choices and blocks
 *    for all of it, with one to spare for each sequence that decodes. For blocks, not for places,
 *    sequences of a lower priority are preempted. One that finds too little room is passed over by
 *    others, but only by SCHED_MAX_PASSED younger ones.
 *
 * Why something always moves: the best of those running (highest priority, oldest) can preempt all
 * others, and alone it fits, since no sequence grows beyond the cache. Places are only held by those
 * who run, and the budget is at least as large as their number, so each of them can get a token.
 */
#include "scheduler/plan.h"

#include "scheduler/room.h"

/* The youngest sequence of the lowest priority that runs. */
static struct sched_seq *worst(const struct sched_core *c)
{
	struct sched_seq *w = c->running[0];

	for (uint32_t i = 1; i < c->n_running; i++) {
		if (sched_seq_before(w, c->running[i]))
			w = c->running[i];
	}
	return w;
}

static void take(struct sched_core *c, struct sched_seq *q, uint32_t n)
{
	q->take += n;
	c->budget -= n;
	q->req->tenant->served += n;
}

/* --- 1: those that decode --- */

static void decode(struct sched_core *c, struct sched_seq *q)
{
	struct sched_seq *victim;
	enum sched_room room;

	while ((room = sched_room_grow(c, q)) == SCHED_ROOM_BLOCKS) {
		LT_ASSERT(c->n_running > 1); /* alone, every sequence fits */
		victim = worst(c);
		sched_core_preempt(c, victim);
		if (victim == q)
			return;
	}
	if (room == SCHED_ROOM_MEMORY)
		sched_core_fail(c, q, LT_ENOMEM);
	else
		take(c, q, 1);
}

static void plan_decodes(struct sched_core *c)
{
	uint32_t n = 0;

	/* A snapshot: preempting and ending change the array. Those are never freed here: a sequence
	 * ends only in its own turn, and its request with the last of them. */
	for (uint32_t i = 0; i < c->n_running; i++) {
		c->running[i]->take = 0;
		c->running[i]->skip = false;
		if (c->running[i]->state == SCHED_STATE_DECODE)
			c->took[n++] = c->running[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		if (c->took[i]->state == SCHED_STATE_DECODE)
			decode(c, c->took[i]);
	}
}

/* --- 4: letting in --- */

enum entry { ENTERED, NO_PLACE, NO_BLOCKS, GONE };

/* Blocks that must be left over once q runs: those that decode will each want one soon, and so will
 * the choices that q forks into. Nobody else there: none. */
static uint32_t spare(const struct sched_core *c, const struct sched_seq *q)
{
	uint32_t n = sched_core_places_of(c, q) - 1;

	if (c->n_running == 0)
		return 0;
	for (uint32_t i = 0; i < c->n_running; i++) {
		if (c->running[i]->state == SCHED_STATE_DECODE)
			n++;
	}
	return n;
}

/* True if preempting sequences of lower priority, and nobody else, would let q in. */
static bool may_displace(const struct sched_core *c, const struct sched_seq *q)
{
	uint64_t have = sched_blocks_left(&c->blocks);
	uint64_t need = (sched_seq_tokens(q) + ENG_BLOCK_TOKENS - 1) / ENG_BLOCK_TOKENS;
	uint32_t stay = 0, decode = 0;

	for (uint32_t i = 0; i < c->n_running; i++) {
		const struct sched_seq *r = c->running[i];
		if (r->req->in.priority < q->req->in.priority) {
			have += r->n_blocks;
		} else {
			stay++;
			decode += r->state == SCHED_STATE_DECODE;
		}
	}
	if (stay > 0)
		need += sched_core_places_of(c, q) - 1 + decode;
	return stay < c->n_running && have >= need;
}

static enum entry let_in(struct sched_core *c, struct sched_seq *q)
{
	enum sched_room room;

	if (sched_core_places(c) + sched_core_places_of(c, q) > c->opts.max_running)
		return NO_PLACE;
	while ((room = sched_room_open(c, q, spare(c, q))) == SCHED_ROOM_BLOCKS) {
		LT_ASSERT(c->n_running > 0);
		if (!may_displace(c, q))
			return NO_BLOCKS;
		q->tried = 0;
		sched_core_preempt(c, worst(c));
	}
	if (room == SCHED_ROOM_MEMORY) {
		sched_core_fail(c, q, LT_ENOMEM);
		return GONE;
	}
	sched_core_start(c, q);
	return ENTERED;
}

/* --- 2: those that were preempted --- */

/* The best of those preempted; NULL if there is none. */
static struct sched_seq *best_preempted(const struct sched_core *c)
{
	struct sched_seq *best = NULL;

	for (struct sched_seq *q = c->waiting; q; q = q->next) {
		if (q->state == SCHED_STATE_PREEMPTED && (!best || sched_seq_before(q, best)))
			best = q;
	}
	return best;
}

/* The highest priority of those that never ran; INT32_MIN if there are none. */
static int32_t highest_queued(const struct sched_core *c)
{
	int32_t highest = INT32_MIN;

	for (const struct sched_seq *q = c->waiting; q; q = q->next) {
		if (q->state == SCHED_STATE_QUEUED && q->req->in.priority > highest)
			highest = q->req->in.priority;
	}
	return highest;
}

/* Who may be let in: those with a higher priority than `above`, if `open`. */
struct door {
	bool open;
	bool all; /* `above` does not matter */
	int32_t above;
};

static void readmit(struct sched_core *c, struct door *door)
{
	int32_t highest = highest_queued(c);
	struct sched_seq *q;
	enum entry e;

	while (door->all && (q = best_preempted(c)) && q->req->in.priority >= highest) {
		e = let_in(c, q);
		if (e == NO_PLACE || e == NO_BLOCKS) {
			door->all = false;
			door->above = q->req->in.priority;
		}
	}
}

/* --- 3: prompts --- */

/* True if q could use a turn. */
static bool wants(const struct sched_seq *q, const struct door *door)
{
	if (q->skip)
		return false;
	if (q->state == SCHED_STATE_PREFILL)
		return q->n_done + q->take < sched_seq_tokens(q);
	return q->state == SCHED_STATE_QUEUED && door->open &&
	       (door->all || q->req->in.priority > door->above);
}

static uint32_t left(const struct sched_seq *q)
{
	if (q->state == SCHED_STATE_PREFILL)
		return sched_seq_tokens(q) - q->n_done - q->take;
	return q->left_guess;
}

/* Goes through all that could have a turn: first those running, then those waiting. */
static struct sched_seq *next_of(const struct sched_core *c, uint32_t *i, struct sched_seq **at)
{
	if (*i < c->n_running)
		return c->running[(*i)++];
	*at = *i == c->n_running ? c->waiting : (*at)->next;
	*i = c->n_running + 1;
	return *at;
}

/* The sequence whose tenant has the turn: highest priority, least served, oldest. */
static struct sched_seq *pick_tenant(const struct sched_core *c, const struct door *door)
{
	struct sched_seq *best = NULL, *at = NULL, *q;
	uint32_t i = 0;

	while ((q = next_of(c, &i, &at))) {
		if (!wants(q, door))
			continue;
		if (!best || q->req->in.priority > best->req->in.priority ||
		    (q->req->in.priority == best->req->in.priority &&
		     (q->req->tenant->served < best->req->tenant->served ||
		      (q->req->tenant->served == best->req->tenant->served &&
		       sched_seq_before(q, best)))))
			best = q;
	}
	return best;
}

/* Who has the next turn; *oldest tells if by age, *both if it heads both lanes. NULL: nobody. */
static struct sched_seq *pick(const struct sched_core *c, const struct door *door, bool *oldest,
			      bool *both)
{
	struct sched_seq *first = pick_tenant(c, door), *shortest, *at = NULL, *q;
	uint32_t i = 0;

	if (!first)
		return NULL;
	shortest = first;
	while ((q = next_of(c, &i, &at))) {
		if (!wants(q, door) || q->req->tenant != first->req->tenant ||
		    q->req->in.priority != first->req->in.priority)
			continue;
		if (left(q) < left(shortest) ||
		    (left(q) == left(shortest) && sched_seq_before(q, shortest)))
			shortest = q;
	}
	*both = first == shortest;
	*oldest = first->req->tenant->lead <= 0;
	return *oldest ? first : shortest;
}

/* How many tokens the next turn of q computes: to the border of its span, as far as the budget goes.
 * A cut is made at a block's edge. Expanded attention costs by the span, so after another prompt had
 * a turn in this step such a span is not begun that can't be finished. 0: none in this step. */
static uint32_t chunk(const struct sched_core *c, const struct sched_seq *q, bool first)
{
	uint32_t pos = q->n_done + q->take, n = left(q), end;
	uint32_t span = ENG_SPAN_TOKENS - pos % ENG_SPAN_TOKENS;

	if (n > span)
		n = span;
	if (n <= c->budget)
		return n;
	if (!first && eng_form_of(c->engine, pos, q->req->in.n_prompt) == ENG_FORM_EXPANDED)
		return 0;
	end = (pos + c->budget) / ENG_BLOCK_TOKENS * ENG_BLOCK_TOKENS;
	if (end > pos)
		return end - pos;
	return first ? c->budget : 0;
}

/* Keeps the two lanes of a tenant level. */
static void charge_lane(struct sched_seq *q, bool oldest, uint32_t n)
{
	int64_t *lead = &q->req->tenant->lead;

	*lead += oldest ? (int64_t)n : -(int64_t)n;
	if (*lead > (int64_t)ENG_SPAN_TOKENS)
		*lead = ENG_SPAN_TOKENS;
	if (*lead < -(int64_t)ENG_SPAN_TOKENS)
		*lead = -(int64_t)ENG_SPAN_TOKENS;
}

/* Lets a new prompt in at its first turn; false if it has to wait. *passed is the best one that
 * found too little room in this step. */
static bool enter(struct sched_core *c, struct sched_seq *q, struct door *door,
		  struct sched_seq **passed)
{
	enum entry e = let_in(c, q);

	if (e == ENTERED && *passed && sched_seq_before(*passed, q))
		(*passed)->passed++;
	if (e == ENTERED || e == GONE)
		return e == ENTERED;
	if (e == NO_PLACE && sched_core_places(c) == c->opts.max_running) {
		door->open = false;
		return false;
	}
	q->skip = true;
	if (q->passed >= SCHED_MAX_PASSED) {
		door->all = false;
		door->above = q->req->in.priority;
	}
	if (!*passed || sched_seq_before(q, *passed))
		*passed = q;
	return false;
}

static void plan_prompts(struct sched_core *c, struct door *door)
{
	struct sched_seq *q, *passed = NULL;
	bool oldest, both, first = true;
	uint32_t n;

	while (c->budget > 0 && (q = pick(c, door, &oldest, &both))) {
		if (q->state == SCHED_STATE_QUEUED && !enter(c, q, door, &passed))
			continue;
		if (q->take == 0)
			sched_room_adopt(c, q);
		n = chunk(c, q, first);
		if (n == 0) {
			q->skip = true;
			continue;
		}
		take(c, q, n);
		first = false;
		if (!both)
			charge_lane(q, oldest, n);
	}
}

void sched_plan(struct sched_core *c)
{
	struct door door = {.open = true, .all = true};

	c->budget = c->opts.step_tokens;
	for (struct sched_seq *q = c->waiting; q; q = q->next)
		q->skip = false;
	plan_decodes(c);
	readmit(c, &door);
	plan_prompts(c, &door);
	c->n_took = 0;
	for (uint32_t i = 0; i < c->n_running; i++) {
		if (c->running[i]->take > 0)
			c->took[c->n_took++] = c->running[i];
	}
	LT_ASSERT(c->n_took > 0 || c->n_running == 0);
}
