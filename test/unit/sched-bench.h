/*
 * A core on the fake engine, driven turn by turn, for tests of what the scheduler decides.
 */
#ifndef LT_TEST_SCHED_BENCH_H
#define LT_TEST_SCHED_BENCH_H

#include "test/unit/fake-engine.h"
#include "test/unit/sched-check.h"

struct bench {
	struct sched_core core;
	struct check_log log;
	struct eng *engine;
	uint64_t last_id;
};

struct bench *bench_open(uint32_t step_tokens, uint32_t max_running, uint32_t blocks,
			 enum eng_attention attention);
/* The usual one: absorbed, plenty of blocks. */
struct bench *bench_plain(uint32_t step_tokens, uint32_t max_running);
/* Checks that all blocks are home, if no request is open. */
void bench_close(struct bench *b);

/* Requests have the ids 1, 2, ... in the order in which they come. */
struct sched_req *submit(struct bench *b, struct sched_request in);
/* check_request as it is. */
struct sched_req *ask(struct bench *b, uint64_t text, uint32_t n_prompt, uint32_t max_tokens);

/* One turn, or all there are, and check_core after each. */
void turn(struct bench *b);
void finish_all(struct bench *b);

/* A turn in two halves: after the first, `take` of every sequence can be looked at. */
void plan_only(struct bench *b);
void run_planned(struct bench *b);

/* The answer must have ended by its length and be what the fake engine says. */
void check_answer(struct bench *b, uint64_t id, uint32_t choice, uint64_t text, uint32_t n_prompt,
		  uint32_t max_tokens);

#endif
