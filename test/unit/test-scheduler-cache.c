/*
 * scheduler/: choices that share a prompt, the prefix cache, too few blocks, and every kind of end;
 * seen in a core without a thread, one turn at a time, with the fake engine.
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
#include "test/unit/sched-bench.h"

#define SPAN ENG_SPAN_TOKENS

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

/* What a choice has said is found again, and so is a prompt that changed hands on the way. */
static void choices_are_listed(void **state)
{
	struct bench *b = bench_plain(SPAN, 4);
	struct sched_request in = check_request(1, 60, 80);
	int32_t *chat = lt_xalloc(200, sizeof(*chat));

	(void)state;
	memcpy(chat, in.prompt, 60 * sizeof(*chat));
	in.n = 2;
	in.how.seed = 5;
	submit(b, in);
	finish_all(b);
	for (uint32_t choice = 0; choice < 2; choice++) {
		assert_int_equal(check_log_tokens(&b->log, 1, choice, chat + 60, 80), 80);
		in = check_request(1, 139, 1);
		memcpy(in.prompt, chat, 139 * sizeof(*chat));
		submit(b, in);
		finish_all(b);
		assert_int_equal(check_log_end(&b->log, 2 + choice, 0)->n_cached, 128);
	}
	in = check_request(2, 3 * SPAN, 1);
	in.n = 2;
	submit(b, in);
	turn(b);
	sched_core_cancel(&b->core, 4, 0);
	finish_all(b);
	ask(b, 2, 3 * SPAN + 1, 1);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 5, 0)->n_cached, 3 * SPAN);
	free(chat);
	bench_close(b);
}

/* When blocks of a text must go, its end goes first. */
static void ends_go_first(void **state)
{
	struct bench *b = bench_open(300, 4, 7, ENG_ATTENTION_ABSORBED);

	(void)state;
	ask(b, 1, 4 * ENG_BLOCK_TOKENS + 1, 1);
	finish_all(b);
	assert_int_equal(b->core.blocks.cached, 4);
	ask(b, 2, 5 * ENG_BLOCK_TOKENS - 1, 1); /* three are free: two must go */
	finish_all(b);
	ask(b, 1, 4 * ENG_BLOCK_TOKENS + 1, 1);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 3, 0)->n_cached, 2 * ENG_BLOCK_TOKENS);
	bench_close(b);
}

/* Two that compute the same text in turns: each takes over what the other has listed. */
static void followers_adopt(void **state)
{
	struct bench *b = bench_plain(SPAN, 4);
	struct sched_request in = check_request(1, 8 * SPAN, 1);

	(void)state;
	ask(b, 1, 8 * SPAN, 1);
	in.tenant = 1;
	submit(b, in);
	finish_all(b);
	check_answer(b, 1, 0, 1, 8 * SPAN, 1);
	check_answer(b, 2, 0, 1, 8 * SPAN, 1);
	/* The whole text once, and the last block by both. */
	assert_int_equal(b->core.stats.step_rows, 8 * SPAN + ENG_BLOCK_TOKENS);
	assert_int_equal(check_log_end(&b->log, 1, 0)->n_cached +
				 check_log_end(&b->log, 2, 0)->n_cached,
			 8 * SPAN - ENG_BLOCK_TOKENS);
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

/* What is computed again counts as that; finding one's own blocks again is no hit. */
static void counts_of_the_preempted(void **state)
{
	for (int cached = 0; cached < 2; cached++) {
		struct bench *b = bench_open(SPAN, 4, 40, ENG_ATTENTION_ABSORBED);
		struct sched_request in = check_request(1, 4 * SPAN, 4);
		uint64_t again = cached ? SPAN : 2 * SPAN;

		(void)state;
		in.priority = -1;
		in.no_prefix_cache = !cached;
		submit(b, in);
		turn(b);
		turn(b);
		in = check_request(2, 2 * SPAN, 1);
		in.priority = 1;
		submit(b, in); /* twice as many blocks as are free */
		turn(b);
		turn(b);
		assert_int_equal(b->core.stats.preemptions, 1);
		finish_all(b);
		check_answer(b, 1, 0, 1, 4 * SPAN, 4);
		assert_int_equal(check_log_end(&b->log, 1, 0)->n_cached, 0);
		assert_int_equal(b->core.stats.cached_tokens, 0);
		if (cached)
			assert_true(b->core.stats.recomputed_tokens < again);
		else
			assert_int_equal(b->core.stats.recomputed_tokens, again);
		bench_close(b);
	}
}

/* While a higher priority waits for blocks, who was preempted does not take them. */
static void preempted_waits_for_better(void **state)
{
	struct bench *b = bench_open(300, 4, 8, ENG_ATTENTION_ABSORBED);
	struct sched_request in = check_request(1, 60, 60);

	(void)state;
	in.priority = -1;
	submit(b, in);
	turn(b);
	in = check_request(2, 230, 10);
	in.priority = 1;
	submit(b, in); /* all blocks: 1 is preempted */
	turn(b);
	assert_int_equal(b->core.stats.preemptions, 1);
	ask(b, 3, 230, 10); /* in between */
	finish_all(b);
	assert_int_equal(b->core.stats.preemptions, 1);
	check_answer(b, 1, 0, 1, 60, 60);
	check_answer(b, 3, 0, 3, 230, 10);
	bench_close(b);
}

/* A prompt is not let in where it would be thrown out again by the next block of who decodes. */
static void leaves_room_for_decodes(void **state)
{
	struct bench *b = bench_open(300, 4, 6, ENG_ATTENTION_ABSORBED);
	struct sched_req *r;

	(void)state;
	ask(b, 1, 62, 10);
	turn(b);
	r = ask(b, 2, 128, 10);
	turn(b);
	assert_int_equal(r->seqs[0].state, SCHED_STATE_QUEUED);
	finish_all(b);
	assert_int_equal(b->core.stats.preemptions, 0);
	check_answer(b, 2, 0, 2, 128, 10);
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
	for (int i = 0; i < 6; i++, text++)
		ask(b, text, 40, 5 + text % 17);
	turn(b);
	large = ask(b, 1, 580, 2);
	while (large->seqs[0].state == SCHED_STATE_QUEUED) {
		for (; b->core.stats.queued < 10; text++)
			ask(b, text, 40, 5 + text % 17);
		turn(b);
		assert_true(large->seqs[0].passed <= SCHED_MAX_PASSED);
		assert_true(++turns < 200);
	}
	/* The others were let by for a while, and then no more. */
	assert_int_equal(large->seqs[0].passed, SCHED_MAX_PASSED);
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

/* Deadlines one after the other, found in the order in which they pass. */
static void second_deadline(void **state)
{
	struct bench *b = bench_plain(SPAN, 4);
	struct sched_request in = check_request(1, 10, 5);

	(void)state;
	in.deadline_ns = lt_clock_ns();
	submit(b, in);
	in = check_request(2, 10, 90000);
	in.deadline_ns = lt_clock_ns() + LT_NS_PER_MS;
	submit(b, in);
	turn(b);
	assert_int_equal(check_log_end(&b->log, 1, 0)->error, LT_ETIMEOUT);
	for (int i = 0; i < 20000 && !sched_core_idle(&b->core); i++)
		sched_core_turn(&b->core);
	assert_int_equal(check_log_end(&b->log, 2, 0)->error, LT_ETIMEOUT);
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

	/* Blocks that were listed steps before anybody saw a row of theirs. */
	in = check_request(5, 3 * SPAN, 1);
	fake_poison(b->engine, in.prompt[40]);
	submit(b, in);
	turn(b);
	assert_true(b->core.blocks.cached + b->core.blocks.used >= SPAN / ENG_BLOCK_TOKENS);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 4, 0)->error, LT_ENUMERIC);
	fake_poison(b->engine, -1);
	ask(b, 5, 3 * SPAN, 1);
	finish_all(b);
	assert_int_equal(check_log_end(&b->log, 5, 0)->n_cached, 0);
	check_answer(b, 5, 0, 5, 3 * SPAN, 1);
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
	/* Another one later is the first in a row again: it takes a second to be lost. */
	lt_log_set(LT_LOG_ERROR - 1);
	ask(b, 4, 100, 3);
	fake_fail(b->engine, LT_ENOMEM, 1);
	finish_all(b);
	lt_log_set(LT_LOG_INFO);
	assert_int_equal(check_log_end(&b->log, 4, 0)->error, LT_EINTERNAL);
	bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choices_share),
		cmocka_unit_test(leader_is_cancelled),
		cmocka_unit_test(more_choices_than_places),
		cmocka_unit_test(next_turn_of_a_chat),
		cmocka_unit_test(salts_are_apart),
		cmocka_unit_test(choices_are_listed),
		cmocka_unit_test(ends_go_first),
		cmocka_unit_test(followers_adopt),
		cmocka_unit_test(preempts_the_youngest),
		cmocka_unit_test(preempts_the_lowest),
		cmocka_unit_test(counts_of_the_preempted),
		cmocka_unit_test(preempted_waits_for_better),
		cmocka_unit_test(leaves_room_for_decodes),
		cmocka_unit_test(large_gets_in),
		cmocka_unit_test(fills_the_cache),
		cmocka_unit_test(cancel_in_each_state),
		cmocka_unit_test(cancel_preempted),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(second_deadline),
		cmocka_unit_test(stops_and_lengths),
		cmocka_unit_test(bad_rows),
		cmocka_unit_test(failed_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
