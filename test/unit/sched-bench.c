/*
 * See the header.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "scheduler/plan.h"
#include "scheduler/step.h"
#include "test/unit/sched-bench.h"

#define VOCAB 251

struct bench *bench_open(uint32_t step_tokens, uint32_t max_running, uint32_t blocks,
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

struct bench *bench_plain(uint32_t step_tokens, uint32_t max_running)
{
	return bench_open(step_tokens, max_running, 2000, ENG_ATTENTION_ABSORBED);
}

void bench_close(struct bench *b)
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

struct sched_req *submit(struct bench *b, struct sched_request in)
{
	struct sched_req *r = sched_req_open(++b->last_id, &in);

	assert_non_null(r);
	r->arrived_ns = lt_clock_ns();
	sched_core_enter(&b->core, r);
	return r;
}

struct sched_req *ask(struct bench *b, uint64_t text, uint32_t n_prompt, uint32_t max_tokens)
{
	return submit(b, check_request(text, n_prompt, max_tokens));
}

void turn(struct bench *b)
{
	sched_core_turn(&b->core);
	check_core(&b->core);
}

void finish_all(struct bench *b)
{
	for (int i = 0; !sched_core_idle(&b->core); i++) {
		assert_true(i < 100000);
		turn(b);
	}
}

void plan_only(struct bench *b)
{
	b->core.now = lt_clock_ns();
	sched_plan(&b->core);
}

void run_planned(struct bench *b)
{
	sched_step(&b->core);
	sched_core_flush(&b->core);
	check_core(&b->core);
}

void check_answer(struct bench *b, uint64_t id, uint32_t choice, uint64_t text, uint32_t n_prompt,
		  uint32_t max_tokens)
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
