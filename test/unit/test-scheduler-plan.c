/*
 * scheduler/: who gets what in a step: budget, spans, short behind long, priorities, fairness; seen
 * in a core without a thread, one turn at a time, with the fake engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/sched-bench.h"

#define SPAN  ENG_SPAN_TOKENS
#define VOCAB 251

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
		cmocka_unit_test(answers_are_charged), cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
