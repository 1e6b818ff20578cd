/*
 * scheduler/: who gets what in a step, seen in a core without a thread, one turn at a time, with the
 * fake engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "scheduler/plan.h"
#include "scheduler/step.h"
#include "test/unit/fake-engine.h"
#include "test/unit/sched-check.h"

#define VOCAB 251
#define SPAN  ENG_SPAN_TOKENS

struct bench {
	struct sched_core core;
	struct check_log log;
	struct eng *engine;
	uint64_t last_id;
};

static struct bench *bench_open(uint32_t step_tokens, uint32_t max_running, uint32_t blocks,
				enum eng_attention attention)
{
	struct bench *b = lt_xalloc(1, sizeof(*b));
	struct fake_opts f = {.vocab = VOCAB,
			      .blocks = blocks,
			      .max_rows = step_tokens,
			      .max_outputs = max_running,
			      .attention = attention};
	struct sched_opts o = {.engine = fake_open(&f),
			       .step_tokens = step_tokens,
			       .max_running = max_running,
			       .max_queued = 4000,
			       .max_context = 100000,
			       .prefix_cache = true};

	b->engine = o.engine;
	assert_int_equal(sched_core_init(&b->core, &o, NULL), 0);
	b->core.flush = check_log_add;
	b->core.flush_arg = &b->log;
	return b;
}

/* The usual one: absorbed, plenty of blocks. */
static struct bench *bench_plain(uint32_t step_tokens, uint32_t max_running)
{
	return bench_open(step_tokens, max_running, 2000, ENG_ATTENTION_ABSORBED);
}

static void bench_close(struct bench *b)
{
	struct sched_stats stats;

	sched_core_stats(&b->core, &stats);
	if (!stats.busy) {
		assert_int_equal(stats.blocks_used, 0);
		assert_int_equal(stats.blocks_shared, 0);
	}
	sched_core_fini(&b->core);
	eng_close(b->engine);
	check_log_fini(&b->log);
	free(b);
}

static struct sched_req *submit(struct bench *b, struct sched_request in)
{
	struct sched_req *r = sched_req_open(++b->last_id, &in);

	assert_non_null(r);
	r->arrived_ns = lt_clock_ns();
	sched_core_enter(&b->core, r);
	return r;
}

/* A request as of now: text, prompt and answer tokens. */
static struct sched_req *ask(struct bench *b, uint64_t text, uint32_t n_prompt, uint32_t max_tokens)
{
	return submit(b, check_request(text, n_prompt, max_tokens));
}

static void turn(struct bench *b)
{
	sched_core_turn(&b->core);
	check_core(&b->core);
}

static void finish_all(struct bench *b)
{
	for (int i = 0; !sched_core_idle(&b->core); i++) {
		assert_true(i < 100000);
		turn(b);
	}
}

/* Plans as a turn would, without the step: `take` of every sequence can be looked at. */
static void plan_only(struct bench *b)
{
	b->core.now = lt_clock_ns();
	sched_plan(&b->core);
}

static void run_planned(struct bench *b)
{
	sched_step(&b->core);
	sched_core_flush(&b->core);
	check_core(&b->core);
}

/* The answer must be what the fake engine says, whatever happened on the way. */
static void check_answer(struct bench *b, uint64_t id, uint32_t choice, uint64_t text,
			 uint32_t n_prompt, uint32_t max_tokens)
{
	struct sched_request in = check_request(text, n_prompt, max_tokens);
	int32_t *want = lt_xalloc(max_tokens, sizeof(*want));
	int32_t *got = lt_xalloc(max_tokens, sizeof(*got));
	const struct sched_event *end = check_log_end(&b->log, id, choice);
	bool stopped;

	assert_non_null(end);
	assert_int_equal(end->finish, SCHED_FINISH_LENGTH);
	assert_int_equal(fake_answer(b->engine, in.prompt, n_prompt, &in.how, choice, max_tokens,
				     b->core.max_tokens, want, &stopped),
			 max_tokens);
	assert_int_equal(check_log_tokens(&b->log, id, choice, got, max_tokens), max_tokens);
	assert_memory_equal(want, got, max_tokens * sizeof(*want));
	free(want);
	free(got);
	free(in.prompt);
}

/* --- the budget --- */

static void decode_comes_first(void **state)
{
	struct bench *b = bench_plain(300, 8);
	struct sched_req *r[4], *late;

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		r[i] = ask(b, i, 40, 50);
	turn(b); /* 160 tokens: all four at once */
	for (int i = 0; i < 4; i++)
		assert_int_equal(r[i]->seqs[0].state, SCHED_STATE_DECODE);
	late = ask(b, 9, 1000, 5);
	plan_only(b);
	for (int i = 0; i < 4; i++)
		assert_int_equal(r[i]->seqs[0].take, 1);
	/* 296 left: the span, and from the next what still fits, cut at a block's edge. */
	assert_int_equal(late->seqs[0].take, SPAN + ENG_BLOCK_TOKENS);
	run_planned(b);
	finish_all(b);
	check_answer(b, 5, 0, 9, 1000, 5);
	check_answer(b, 1, 0, 0, 40, 50);
	bench_close(b);
}

/* Expanded spans are cut at their borders, and not split after another whole one in a step. */
static void spans_are_whole(void **state)
{
	struct bench *b = bench_open(600, 4, 2000, ENG_ATTENTION_AUTO);
	struct sched_req *r = ask(b, 1, 3 * SPAN + 10, 3);
	static const struct {
		uint32_t pos, n;
		enum eng_form form;
	} want[] = {{2 * SPAN, SPAN, ENG_FORM_EXPANDED}, {3 * SPAN, 10, ENG_FORM_ABSORBED}};

	(void)state;
	plan_only(b);
	assert_int_equal(r->seqs[0].take, 2 * SPAN); /* not 600 */
	run_planned(b);
	assert_int_equal(r->seqs[0].n_done, 2 * SPAN);
	plan_only(b);
	run_planned(b);
	assert_int_equal(b->core.n_spans, 2); /* one sequence, two forms */
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(b->core.spans[i].pos, want[i].pos);
		assert_int_equal(b->core.spans[i].n, want[i].n);
		assert_int_equal(b->core.spans[i].form, want[i].form);
		assert_int_equal(b->core.spans[i].outputs, i);
	}
	finish_all(b);
	check_answer(b, 1, 0, 1, 3 * SPAN + 10, 3);
	bench_close(b);
}

/* After a hit that ends inside a span the rest of the span comes first. */
static void spans_after_a_hit(void **state)
{
	struct bench *b = bench_open(600, 4, 2000, ENG_ATTENTION_AUTO);
	struct sched_req *r;

	(void)state;
	ask(b, 1, 100, 1);
	finish_all(b);
	r = ask(b, 1, 2 * SPAN + 50, 2);
	plan_only(b);
	assert_int_equal(r->n_cached, 96);
	assert_int_equal(r->seqs[0].n_done, 96);
	assert_int_equal(r->seqs[0].take, 2 * SPAN - 96 + 50);
	run_planned(b);
	finish_all(b);
	bench_close(b);
}

/* --- short behind long --- */

static void short_waits_one_chunk(void **state)
{
	struct bench *b = bench_plain(SPAN, 8);
	struct sched_req *slow = ask(b, 1, 40 * SPAN, 2), *quick;

	(void)state;
	turn(b);
	turn(b);
	assert_int_equal(slow->seqs[0].n_done, 2 * SPAN);
	quick = ask(b, 2, 30, 3);
	turn(b);
	assert_int_equal(slow->seqs[0].n_done, 3 * SPAN); /* one chunk */
	turn(b);
	assert_int_equal(quick->seqs[0].state, SCHED_STATE_DECODE);
	finish_all(b);
	check_answer(b, 1, 0, 1, 40 * SPAN, 2);
	bench_close(b);
}

/* A flood of short prompts does not stop a long one: it gets half. */
static void long_is_not_starved(void **state)
{
	struct bench *b = bench_plain(SPAN, 16);
	uint64_t text = 100;
	int turns = 0;

	(void)state;
	ask(b, 1, 10 * SPAN, 1);
	while (!check_log_end(&b->log, 1, 0)) {
		while (b->core.stats.queued < 40)
			ask(b, text++, 64, 1);
		turn(b);
		assert_true(++turns <= 24);
	}
	assert_true(turns >= 18); /* and the others had the other half */
	finish_all(b);
	bench_close(b);
}

/* Several short ones go along in one step. */
static void shorts_share_a_step(void **state)
{
	struct bench *b = bench_plain(300, 16);

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		ask(b, i, 28, 1);
	turn(b);
	assert_int_equal(b->core.stats.finished, 10);
	assert_int_equal(b->core.stats.steps, 1);
	bench_close(b);
}

/* --- priorities and fairness --- */

static void priority_goes_first(void **state)
{
	struct bench *b = bench_plain(SPAN, 16);
	struct sched_request in;
	struct sched_req *low = ask(b, 1, 20 * SPAN, 1), *high;

	(void)state;
	turn(b);
	in = check_request(2, 5 * SPAN, 1);
	in.priority = 3;
	high = submit(b, in);
	for (int i = 1; i <= 4; i++) {
		turn(b);
		assert_int_equal(high->seqs[0].n_done, (uint32_t)i * SPAN);
		assert_int_equal(low->seqs[0].n_done, SPAN);
	}
	finish_all(b);
	check_answer(b, 1, 0, 1, 20 * SPAN, 1);
	check_answer(b, 2, 0, 2, 5 * SPAN, 1);
	bench_close(b);
}

static void tenants_share(void **state)
{
	struct bench *b = bench_plain(SPAN, 4);
	struct sched_request in;
	uint32_t done[3] = {0};

	(void)state;
	/* Tenant 0 has a thousand prompts queued before tenants 1 and 2 come with fifty each. */
	for (uint32_t i = 0; i < 1100; i++) {
		in = check_request(i, 100, 1);
		in.tenant = i < 1000 ? 0 : 1 + i % 2;
		submit(b, in);
	}
	while (done[1] + done[2] < 100) {
		turn(b);
		memset(done, 0, sizeof(done));
		for (size_t i = 0; i < b->log.n; i++) {
			if (b->log.events[i].finish != SCHED_FINISH_NONE)
				done[b->log.events[i].id <= 1000
					     ? 0
					     : 1 + (b->log.events[i].id - 1) % 2]++;
		}
		/* Equal shares, but for a turn or two. */
		assert_true(done[1] >= 50 || done[0] <= done[1] + 6);
		assert_true(done[2] >= 50 || done[0] <= done[2] + 6);
	}
	finish_all(b);
	bench_close(b);
}

/* Answer tokens count, too: who has had twice as many waits with his next prompt. */
static void answers_are_charged(void **state)
{
	struct bench *b = bench_plain(SPAN, 8);
	struct sched_request in;
	struct sched_req *mine, *theirs;

	(void)state;
	ask(b, 1, 10, 100);
	for (uint64_t i = 2; i < 4; i++) {
		in = check_request(i, 10, 100);
		in.tenant = 1;
		submit(b, in);
	}
	for (int i = 0; i < 50; i++)
		turn(b);
	in = check_request(4, SPAN, 1);
	in.tenant = 1;
	theirs = submit(b, in);
	mine = ask(b, 5, SPAN, 1);
	plan_only(b);
	assert_true(mine->seqs[0].take > 200);
	assert_true(theirs->seqs[0].take < 32);
	run_planned(b);
	finish_all(b);
	bench_close(b);
}

/* --- choices --- */

static void choices_share(void **state)
{
	struct bench *b = bench_plain(300, 8);
	struct sched_request in = check_request(1, 70, 40);
	struct sched_req *r;

	(void)state;
	in.n = 4;
	r = submit(b, in);
	turn(b); /* the prompt, once, and a token each */
	assert_int_equal(b->core.stats.step_rows, 70);
	assert_int_equal(b->core.blocks.used, 3);
	assert_int_equal(b->core.blocks.shared, 3);
	assert_int_equal(b->log.n, 4);
	turn(b); /* the partial block has been copied by all but the last who wrote */
	assert_int_equal(b->core.blocks.used, 2 + 4);
	assert_int_equal(b->core.blocks.shared, 2);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(r->seqs[i].state, SCHED_STATE_DECODE);
	finish_all(b);
	for (uint32_t i = 0; i < 4; i++)
		check_answer(b, 1, i, 1, 70, 40);
	bench_close(b);
}

/* The leader is cancelled halfway through the prompt: another choice goes on from there. */
static void leader_is_cancelled(void **state)
{
	struct bench *b = bench_plain(SPAN, 3);
	struct sched_request in = check_request(1, 3 * SPAN, 10);

	(void)state;
	in.n = 3;
	submit(b, in);
	turn(b);
	sched_core_cancel(&b->core, 1, 0);
	check_core(&b->core);
	assert_int_equal(b->core.blocks.used, 3 * SPAN / ENG_BLOCK_TOKENS);
	finish_all(b);
	assert_int_equal(b->core.stats.step_rows, 3 * SPAN + 2 * 9);
	assert_int_equal(check_log_end(&b->log, 1, 0)->finish, SCHED_FINISH_CANCELLED);
	check_answer(b, 1, 1, 1, 3 * SPAN, 10);
	check_answer(b, 1, 2, 1, 3 * SPAN, 10);
	bench_close(b);
}

/* More choices than places: the others follow from the prefix cache. */
static void more_choices_than_places(void **state)
{
	struct bench *b = bench_plain(300, 2);
	struct sched_request in = check_request(1, 100, 20);

	(void)state;
	in.n = 5;
	submit(b, in);
	finish_all(b);
	for (uint32_t i = 0; i < 5; i++)
		check_answer(b, 1, i, 1, 100, 20);
	assert_int_equal(check_log_end(&b->log, 1, 4)->n_cached, 0);
	bench_close(b);
}

/* --- prefix cache --- */

static void next_turn_of_a_chat(void **state)
{
	struct bench *b = bench_plain(600, 4);
	struct sched_request in = check_request(1, 60, 80);
	int32_t *chat = lt_xalloc(200, sizeof(*chat));
	struct sched_req *r;

	(void)state;
	memcpy(chat, in.prompt, 60 * sizeof(*chat));
	submit(b, in);
	finish_all(b);
	assert_int_equal(check_log_tokens(&b->log, 1, 0, chat + 60, 80), 80);
	for (uint32_t i = 140; i < 150; i++)
		chat[i] = 7;
	in = check_request(1, 150, 5);
	memcpy(in.prompt, chat, 150 * sizeof(*chat));
	r = submit(b, in);
	turn(b);
	assert_int_equal(r->n_cached, 128); /* prompt and answer alike */
	assert_int_equal(b->core.stats.cached_tokens, 128);
	finish_all(b);
	/* A cached prompt still has its last token computed. */
	in = check_request(1, 128, 1);
	memcpy(in.prompt, chat, 128 * sizeof(*chat));
	submit(b, in);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 3, 0)->n_cached, 96);
	assert_int_equal(check_log_end(&b->log, 3, 0)->n_generated, 1);
	free(chat);
	bench_close(b);
}

static void salts_are_apart(void **state)
{
	struct bench *b = bench_plain(600, 4);
	struct sched_request in;

	(void)state;
	ask(b, 1, 100, 1);
	finish_all(b);
	in = check_request(1, 100, 1);
	in.salt[15] = 1;
	submit(b, in);
	in = check_request(1, 100, 1);
	in.no_prefix_cache = true;
	submit(b, in);
	ask(b, 1, 100, 1);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 2, 0)->n_cached, 0);
	assert_int_equal(check_log_end(&b->log, 3, 0)->n_cached, 0);
	assert_int_equal(check_log_end(&b->log, 4, 0)->n_cached, 96);
	assert_int_equal(b->core.stats.cached_tokens, 96);
	assert_int_equal(b->core.stats.prompt_tokens, 400);
	bench_close(b);
}

/* One that started before the other's blocks were listed takes them over as it gets there. */
static void follower_adopts(void **state)
{
	struct bench *b = bench_plain(SPAN, 4);

	(void)state;
	ask(b, 1, 4 * SPAN, 1);
	ask(b, 1, 4 * SPAN, 1);
	finish_all(b);
	check_answer(b, 1, 0, 1, 4 * SPAN, 1);
	check_answer(b, 2, 0, 1, 4 * SPAN, 1);
	assert_true(check_log_end(&b->log, 2, 0)->n_cached >= 3 * SPAN);
	bench_close(b);
}

/* --- too few blocks --- */

static void preempts_the_youngest(void **state)
{
	/* Three sequences of 4 blocks each at their ends, and 9 blocks. */
	struct bench *b = bench_open(300, 4, 9, ENG_ATTENTION_ABSORBED);
	struct sched_req *r[3];
	bool seen = false;

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		r[i] = ask(b, i, 40, 80);
	while (!check_log_end(&b->log, 1, 0)) {
		assert_int_not_equal(r[0]->seqs[0].state, SCHED_STATE_PREEMPTED);
		if (b->core.stats.preemptions == 1 && !seen) {
			seen = true;
			assert_int_equal(r[2]->seqs[0].state, SCHED_STATE_PREEMPTED);
			assert_int_equal(r[1]->seqs[0].state, SCHED_STATE_DECODE);
		}
		turn(b);
	}
	assert_true(seen);
	finish_all(b);
	for (uint64_t i = 0; i < 3; i++)
		check_answer(b, i + 1, 0, i, 40, 80);
	bench_close(b);
}

/* A lower priority goes before a younger sequence; a higher one takes blocks on arrival. */
static void preempts_the_lowest(void **state)
{
	struct bench *b = bench_open(300, 4, 8, ENG_ATTENTION_ABSORBED);
	struct sched_request in;
	struct sched_req *low, *usual, *high;

	(void)state;
	in = check_request(1, 60, 30);
	in.priority = -1;
	low = submit(b, in);
	usual = ask(b, 2, 60, 30);
	turn(b);
	assert_int_equal(low->seqs[0].state, SCHED_STATE_DECODE);
	in = check_request(3, 130, 30);
	in.priority = 1;
	high = submit(b, in);
	turn(b);
	assert_int_equal(low->seqs[0].state, SCHED_STATE_PREEMPTED);
	assert_int_equal(usual->seqs[0].state, SCHED_STATE_DECODE);
	assert_int_equal(high->seqs[0].state, SCHED_STATE_DECODE);
	assert_int_equal(b->core.stats.preemptions, 1);
	finish_all(b);
	check_answer(b, 1, 0, 1, 60, 30);
	check_answer(b, 2, 0, 2, 60, 30);
	check_answer(b, 3, 0, 3, 130, 30);
	bench_close(b);
}

/* A prompt that needs much of the cache gets in although small ones keep coming. */
static void large_gets_in(void **state)
{
	struct bench *b = bench_open(300, 8, 20, ENG_ATTENTION_ABSORBED);
	struct sched_req *large;
	uint64_t text = 100;
	int turns = 0;

	(void)state;
	for (int i = 0; i < 6; i++)
		ask(b, text++, 40, 20);
	turn(b);
	large = ask(b, 1, 580, 2);
	while (large->seqs[0].state == SCHED_STATE_QUEUED) {
		while (b->core.stats.queued < 10)
			ask(b, text++, 40, 20);
		turn(b);
		assert_true(++turns < 200);
	}
	assert_true(large->seqs[0].passed <= SCHED_MAX_PASSED);
	assert_true(large->seqs[0].passed > 0); /* but they were let by for a while */
	finish_all(b);
	check_answer(b, 7, 0, 1, 580, 2);
	bench_close(b);
}

/* The whole cache for one sequence, to its last position. */
static void fills_the_cache(void **state)
{
	struct bench *b = bench_open(300, 4, 4, ENG_ATTENTION_ABSORBED);

	(void)state;
	assert_int_equal(b->core.max_tokens, 128);
	ask(b, 1, 100, 1000);
	ask(b, 2, 100, 1000);
	ask(b, 3, 127, 1000);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 1, 0)->n_generated, 28);
	check_answer(b, 1, 0, 1, 100, 28);
	check_answer(b, 2, 0, 2, 100, 28);
	check_answer(b, 3, 0, 3, 127, 1);
	bench_close(b);
}

/* --- ends --- */

static void cancel_in_each_state(void **state)
{
	struct bench *b = bench_open(SPAN, 2, 40, ENG_ATTENTION_ABSORBED);
	struct sched_request in = check_request(3, 50, 5);

	(void)state;
	ask(b, 1, 64, 500);	/* 1: decodes */
	ask(b, 2, 3 * SPAN, 5); /* 2: is in prefill */
	in.n = 2;
	submit(b, in); /* 3: queued, and joined */
	turn(b);
	turn(b);
	assert_int_equal(b->core.stats.queued, 2);
	assert_int_equal(b->core.n_running, 2);
	sched_core_cancel(&b->core, 3, -1);
	assert_int_equal(b->core.stats.queued, 0);
	sched_core_cancel(&b->core, 2, -1);
	assert_int_equal(b->core.blocks.used, 3);
	sched_core_cancel(&b->core, 1, 0);
	assert_int_equal(b->core.blocks.used, 0);
	check_core(&b->core);
	sched_core_cancel(&b->core, 1, 0);
	sched_core_cancel(&b->core, 77, -1);
	assert_true(sched_core_idle(&b->core));
	sched_core_flush(&b->core);
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(check_log_end(&b->log, id, 0)->finish, SCHED_FINISH_CANCELLED);
	assert_int_equal(check_log_end(&b->log, 3, 1)->finish, SCHED_FINISH_CANCELLED);
	assert_int_equal(b->core.stats.cancelled, 4);
	bench_close(b);
}

/* A preempted sequence can be cancelled as well. */
static void cancel_preempted(void **state)
{
	struct bench *b = bench_open(300, 4, 6, ENG_ATTENTION_ABSORBED);
	struct sched_req *r;

	(void)state;
	ask(b, 1, 60, 60);
	r = ask(b, 2, 60, 60);
	while (r->seqs[0].state != SCHED_STATE_PREEMPTED)
		turn(b);
	sched_core_cancel(&b->core, 2, -1);
	check_core(&b->core);
	finish_all(b);
	check_answer(b, 1, 0, 1, 60, 60);
	assert_int_equal(check_log_end(&b->log, 2, 0)->finish, SCHED_FINISH_CANCELLED);
	bench_close(b);
}

static void deadlines(void **state)
{
	struct bench *b = bench_plain(SPAN, 1);
	struct sched_request in = check_request(1, 64, 500);

	(void)state;
	in.deadline_ns = lt_clock_ns() + LT_NS_PER_S * 3600;
	submit(b, in);
	turn(b);
	in = check_request(2, 50, 5);
	in.n = 2;
	in.deadline_ns = lt_clock_ns(); /* past by the next turn, and still queued */
	submit(b, in);
	assert_int_equal(b->core.stats.queued, 2);
	turn(b);
	assert_int_equal(b->core.stats.queued, 0);
	assert_int_equal(check_log_end(&b->log, 2, 1)->error, LT_ETIMEOUT);
	assert_int_equal(check_log_end(&b->log, 2, 0)->finish, SCHED_FINISH_ERROR);
	/* One that runs. */
	b->core.oldest->in.deadline_ns = b->core.next_deadline = lt_clock_ns();
	turn(b);
	assert_int_equal(check_log_end(&b->log, 1, 0)->error, LT_ETIMEOUT);
	assert_int_equal(b->core.stats.failed, 3);
	bench_close(b);
}

static void stops_and_lengths(void **state)
{
	struct bench *b = bench_plain(SPAN, 8);
	struct sched_request in = check_request(1, 10, 50), first = check_request(1, 10, 50);
	int32_t tokens[50];
	bool stopped;

	(void)state;
	fake_answer(b->engine, first.prompt, 10, &first.how, 0, 50, 100, tokens, &stopped);
	free(first.prompt);
	/* The eleventh token is the stop id: ten come out. */
	in.how.stop_ids = lt_xalloc(1, sizeof(int32_t));
	*(int32_t *)in.how.stop_ids = tokens[10];
	in.how.n_stop_ids = 1;
	submit(b, in);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 1, 0)->finish, SCHED_FINISH_STOP);
	assert_int_equal(check_log_end(&b->log, 1, 0)->n_generated, 10);
	assert_int_equal(b->core.stats.generated_tokens, 10);
	bench_close(b);
}

/* Bad logits end that sequence alone, and nothing computed from them is found again. */
static void bad_rows(void **state)
{
	struct bench *b = bench_plain(SPAN, 8);
	struct sched_request in = check_request(1, 100, 20);

	(void)state;
	fake_poison(b->engine, in.prompt[50]);
	in.n = 2;
	submit(b, in);
	in = check_request(2, 100, 20);
	for (int i = 0; i < 100; i++)
		in.prompt[i] = 250; /* surely not the token above */
	submit(b, in);
	for (int i = 0; i < 3; i++)
		turn(b);
	fake_poison(b->engine, -1);
	assert_int_equal(check_log_end(&b->log, 1, 0)->error, LT_ENUMERIC);
	assert_int_equal(check_log_end(&b->log, 1, 1)->error, LT_ENUMERIC);
	ask(b, 1, 100, 20);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 3, 0)->n_cached, 0);
	check_answer(b, 3, 0, 1, 100, 20);
	assert_int_equal(check_log_end(&b->log, 2, 0)->n_generated, 20);
	bench_close(b);
}

/* One failed step ends what took part, with its choices, and nothing else. */
static void failed_step(void **state)
{
	struct bench *b = bench_plain(SPAN, 3);
	struct sched_request in = check_request(1, 100, 20);

	(void)state;
	lt_log_set(LT_LOG_ERROR - 1);
	in.n = 2;
	submit(b, in);
	turn(b);
	ask(b, 2, SPAN, 3);
	ask(b, 3, 100, 3); /* has no place */
	fake_fail(b->engine, LT_ENOMEM, 1);
	turn(b);
	lt_log_set(LT_LOG_INFO);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(check_log_end(&b->log, 1, i)->error, LT_EINTERNAL);
	assert_int_equal(check_log_end(&b->log, 2, 0)->error, LT_EINTERNAL);
	assert_int_equal(b->core.blocks.used, 0);
	finish_all(b);
	check_answer(b, 3, 0, 3, 100, 3);
	bench_close(b);
}

static void options(void **state)
{
	struct fake_opts f = {.vocab = VOCAB,
			      .blocks = 10,
			      .max_rows = 600,
			      .max_outputs = 8,
			      .max_positions = 200};
	struct sched_opts good = {
		.engine = fake_open(&f), .step_tokens = 300, .max_running = 8, .max_context = 1000};
	struct sched_core *c = lt_xalloc(1, sizeof(*c));
	struct sched_opts o;
	struct lt_err err;

	(void)state;
	assert_int_equal(sched_core_init(c, &good, &err), 0);
	assert_int_equal(c->max_tokens, 200); /* the model's */
	sched_core_fini(c);
	o = good;
	o.step_tokens = 255;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "256"));
	o = good;
	o.max_running = 301;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	o.max_running = 0;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	o = good;
	o.step_tokens = 601;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	o = good;
	o.max_running = 9;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	o = good;
	o.max_context = 1;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	o = good;
	o.max_queued = SCHED_MAX_QUEUED + 1;
	assert_int_equal(sched_core_init(c, &o, &err), LT_EINVAL);
	eng_close(good.engine);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_comes_first),  cmocka_unit_test(spans_are_whole),
		cmocka_unit_test(spans_after_a_hit),   cmocka_unit_test(short_waits_one_chunk),
		cmocka_unit_test(long_is_not_starved), cmocka_unit_test(shorts_share_a_step),
		cmocka_unit_test(priority_goes_first), cmocka_unit_test(tenants_share),
		cmocka_unit_test(answers_are_charged), cmocka_unit_test(choices_share),
		cmocka_unit_test(leader_is_cancelled), cmocka_unit_test(more_choices_than_places),
		cmocka_unit_test(next_turn_of_a_chat), cmocka_unit_test(salts_are_apart),
		cmocka_unit_test(follower_adopts),     cmocka_unit_test(preempts_the_youngest),
		cmocka_unit_test(preempts_the_lowest), cmocka_unit_test(large_gets_in),
		cmocka_unit_test(fills_the_cache),     cmocka_unit_test(cancel_in_each_state),
		cmocka_unit_test(cancel_preempted),    cmocka_unit_test(deadlines),
		cmocka_unit_test(stops_and_lengths),   cmocka_unit_test(bad_rows),
		cmocka_unit_test(failed_step),	       cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
