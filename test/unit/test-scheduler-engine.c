/*
 * The scheduler on the real engine: under random load each choice gets what a run alone gets.
 *
 * Backend null gives exact tokens, so they must be equal. Backend blas runs a tiny checkpoint. Its
 * products all have one shape, so that here it gives the same bits in any batch, but OpenBLAS promises
 * nothing of the kind: on another processor equal contexts may give logits that differ in the last
 * bits, and a draw may fall on the other side of a near tie. So the log-probability of each drawn
 * token must agree with the run alone within a tolerance far below what a wrong block would do, for
 * as long as the tokens agree; and they may part in a very few answers at most. A core without a
 * thread: each run is the same every time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/checkpoint.h"
#include "scheduler/core.h"
#include "test/unit/sched-check.h"

#define MAX_ANSWER 40
#define ROWS	   300
#define OPEN	   24
#define TOLERANCE  2e-4f /* of a log-probability; float32 and random weights give about 1e-5 */

static uint64_t rng;

static uint32_t below(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

struct answer {
	int32_t tokens[MAX_ANSWER];
	float logprobs[MAX_ANSWER];
	uint32_t n;
};

struct known {
	uint64_t id;
	struct sched_request req;
	uint32_t n_open;
	bool cancelled;
	struct answer got[3];
};

struct load {
	struct eng *engine, *alone; /* two of the same, so that runs alone disturb nothing */
	struct known *open[OPEN];
	size_t n_open;
	uint64_t ended, whole, parted, tokens, cached;
	float worst; /* difference of log-probabilities */
};

/* --- alone --- */

/* Computes tokens pos..pos + n, all of one form; the last one's row comes out. */
static void alone_span(struct eng *e, const int32_t *tokens, uint32_t pos, uint32_t n,
		       uint32_t n_prompt, struct eng_out *out)
{
	static const uint32_t table[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct eng_span span = {.tokens = tokens,
				.n = n,
				.pos = pos,
				.form = eng_form_of(e, pos, n_prompt),
				.blocks = table,
				.outputs = 1};
	struct eng_batch batch = {.spans = &span, .n_spans = 1};

	assert_int_equal(eng_step(e, &batch, out, NULL), 0);
	assert_int_equal(out->n, 1);
	assert_false(out->bad[0]);
}

static void alone_draw(struct eng *e, struct eng_sampler *s, const struct eng_out *out,
		       const struct eng_sampling *how, const struct eng_history *h, uint32_t index,
		       struct eng_draw *d)
{
	if (eng_info(e)->has_logits)
		assert_int_equal(eng_sample(s, out->logits, how, h, index, d), 0);
	else
		*d = (struct eng_draw){.token = out->tokens[0]};
}

static struct answer run_alone(struct eng *e, const struct sched_request *r, uint32_t choice)
{
	struct eng_sampler *s = eng_sampler_open(eng_info(e)->vocab);
	struct eng_history *h = eng_history_open();
	struct eng_sampling how = r->how;
	struct answer a = {0};
	struct eng_out out;
	struct eng_draw d;
	uint32_t n;

	assert_true(s && h);
	how.seed += choice;
	for (uint32_t pos = 0; pos < r->n_prompt; pos += n) {
		n = r->n_prompt - pos < ENG_SPAN_TOKENS ? r->n_prompt - pos : ENG_SPAN_TOKENS;
		alone_span(e, r->prompt + pos, pos, n, r->n_prompt, &out);
	}
	for (uint32_t i = 0; i < r->n_prompt; i++)
		assert_int_equal(eng_history_add(h, r->prompt[i], false), 0);
	for (;;) {
		alone_draw(e, s, &out, &how, h, a.n, &d);
		a.logprobs[a.n] = d.logprob;
		a.tokens[a.n++] = d.token;
		if (a.n == r->max_tokens)
			break;
		assert_int_equal(eng_history_add(h, d.token, true), 0);
		alone_span(e, &a.tokens[a.n - 1], r->n_prompt + a.n - 1, 1, r->n_prompt, &out);
	}
	eng_history_close(h);
	eng_sampler_close(s);
	return a;
}

/* --- load --- */

static struct known *random_request(const struct load *l)
{
	const struct eng_info *info = eng_info(l->engine);
	struct known *k = lt_xalloc(1, sizeof(*k));
	struct sched_request *r = &k->req;
	uint32_t text = below(3), fork_at = below(400), other = below(4);

	r->n_prompt = 1 + below(below(4) == 0 ? 400 : 90);
	r->prompt = lt_xalloc(r->n_prompt, sizeof(*r->prompt));
	for (uint32_t i = 0; i < r->n_prompt; i++)
		r->prompt[i] = check_token(i < fork_at ? text : 100 + other, i, info->vocab);
	r->n = below(5) == 0 ? 1 + below(3) : 1;
	r->max_tokens = 1 + below(MAX_ANSWER);
	r->priority = below(5) == 0 ? 1 : 0;
	r->tenant = below(3);
	r->how = (struct eng_sampling){.top_p = 1, .repetition_penalty = 1, .logprobs = true};
	r->how.seed = below(1000);
	if (below(2))
		r->how.temperature = 0.8f;
	if (below(4) == 0)
		r->how.top_p = 0.9f;
	if (below(4) == 0)
		r->how.repetition_penalty = 1.2f;
	if (below(4) == 0)
		r->how.presence_penalty = 0.5f;
	k->n_open = r->n;
	return k;
}

static void compare(struct load *l, const struct known *k, const struct sched_event *e)
{
	const struct answer *got = &k->got[e->choice];
	struct answer want;

	l->ended++;
	if (k->cancelled)
		return;
	assert_int_equal(e->finish, SCHED_FINISH_LENGTH);
	assert_int_equal(got->n, k->req.max_tokens);
	want = run_alone(l->alone, &k->req, e->choice);
	for (uint32_t i = 0; i < got->n; i++) {
		float off = fabsf(got->logprobs[i] - want.logprobs[i]);
		if (got->tokens[i] != want.tokens[i]) {
			l->parted++;
			return;
		}
		assert_true(off <= TOLERANCE);
		if (off > l->worst)
			l->worst = off;
		l->tokens++;
	}
	l->whole++;
}

static void take_event(struct load *l, const struct sched_event *e)
{
	size_t i = 0;
	struct known *k;
	struct answer *a;

	while (i < l->n_open && l->open[i]->id != e->id)
		i++;
	assert_true(i < l->n_open);
	k = l->open[i];
	a = &k->got[e->choice];
	if (e->finish == SCHED_FINISH_NONE) {
		assert_true(a->n < MAX_ANSWER);
		if (e->draw)
			a->logprobs[a->n] = e->draw->logprob;
		a->tokens[a->n++] = e->token;
	} else {
		compare(l, k, e);
		l->cached += e->n_cached;
		if (--k->n_open == 0) {
			free(k->req.prompt);
			free(k);
			l->open[i] = l->open[--l->n_open];
		}
	}
	free(e->draw);
}

static void take_events(void *arg, const struct sched_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++)
		take_event(arg, &events[i]);
}

static void arrive(struct sched_core *c, struct load *l, uint64_t *last_id)
{
	struct known *k = random_request(l);
	struct sched_request r = k->req;
	struct sched_req *req;

	r.prompt = lt_xalloc(r.n_prompt, sizeof(*r.prompt));
	memcpy(r.prompt, k->req.prompt, r.n_prompt * sizeof(*r.prompt));
	req = sched_req_open(++*last_id, &r);
	assert_non_null(req);
	k->id = *last_id;
	l->open[l->n_open++] = k;
	sched_core_enter(c, req);
}

static uint64_t run_load(struct load *l, uint64_t seed, uint32_t arrivals, bool prefix_cache)
{
	struct sched_core *c = lt_xalloc(1, sizeof(*c));
	struct sched_opts o = {.engine = l->engine,
			       .step_tokens = ROWS,
			       .max_running = 8,
			       .max_queued = OPEN,
			       .max_context = 512,
			       .prefix_cache = prefix_cache};
	uint64_t last_id = 0, preemptions;

	rng = seed;
	assert_int_equal(sched_core_init(c, &o, NULL), 0);
	c->flush = take_events;
	c->flush_arg = l;
	while (arrivals > 0 || l->n_open > 0) {
		while (arrivals > 0 && l->n_open < OPEN && below(3) > 0) {
			arrive(c, l, &last_id);
			arrivals--;
		}
		if (l->n_open > 0 && below(40) == 0) {
			struct known *k = l->open[below((uint32_t)l->n_open)];
			k->cancelled = true;
			sched_core_cancel(c, k->id, -1);
		}
		sched_core_turn(c);
		check_core(c);
	}
	assert_int_equal(c->blocks.used, 0);
	preemptions = c->stats.preemptions;
	sched_core_fini(c);
	free(c);
	return preemptions;
}

static struct load open_engines(struct mdl **m, const char *backend, enum eng_attention attention)
{
	const char *root = getenv("LT_SRCDIR");
	struct eng_opts o = {.backend = backend,
			     .cache_type = ENG_CACHE_F32,
			     .attention = attention,
			     .cache_blocks = 24,
			     .max_rows = ROWS,
			     .max_outputs = 8,
			     .threads = 1};
	struct load l = {0};
	struct lt_err err;
	char path[4096];

	snprintf(path, sizeof(path), "%s/test/fixtures/checkpoints/v3", root ? root : "..");
	if (mdl_open(path, m, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(eng_open(*m, &o, &l.engine, NULL), 0);
	assert_int_equal(eng_open(*m, &o, &l.alone, NULL), 0);
	return l;
}

static void property(const char *backend, enum eng_attention attention, bool prefix_cache,
		     uint32_t arrivals)
{
	struct mdl *m;
	struct load l = open_engines(&m, backend, attention);
	uint64_t preemptions = 0;

	for (uint64_t seed = 1; seed <= 3; seed++)
		preemptions += run_load(&l, seed, arrivals, prefix_cache);
	print_message("%llu choices, %llu whole, %llu parted; %llu tokens, worst difference %g; "
		      "%llu preemptions, %llu cached\n",
		      (unsigned long long)l.ended, (unsigned long long)l.whole,
		      (unsigned long long)l.parted, (unsigned long long)l.tokens, (double)l.worst,
		      (unsigned long long)preemptions, (unsigned long long)l.cached);
	assert_true(preemptions > 0);
	assert_int_equal(l.cached > 0, prefix_cache);
	assert_true(l.whole > l.ended / 2);
	/* Near ties, where draws are made from 320 tokens: a few in a thousand answers. */
	assert_true(l.parted <= (eng_info(l.engine)->has_logits ? 1 + l.ended / 200 : 0));
	eng_close(l.alone);
	eng_close(l.engine);
	mdl_close(m);
}

static void null_exact(void **state)
{
	(void)state;
	property("null", ENG_ATTENTION_ABSORBED, true, 1500);
}

static void blas_with_cache(void **state)
{
	(void)state;
	property("blas", ENG_ATTENTION_ABSORBED, true, 60);
}

/* Both forms, where a hit could change a token's form: without the cache. */
static void blas_with_forms(void **state)
{
	(void)state;
	property("blas", ENG_ATTENTION_AUTO, false, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_exact),
		cmocka_unit_test(blas_with_cache),
		cmocka_unit_test(blas_with_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
