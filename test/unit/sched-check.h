/*
 * Helpers of the scheduler's tests: requests, an event log for a core without a thread, and a check
 * of everything that must always hold.
 */
#ifndef LT_TEST_SCHED_CHECK_H
#define LT_TEST_SCHED_CHECK_H

#include "scheduler/core.h"

/* Every block has as many references as tables it stands in, every list and count agrees, every
 * sequence is where its state says. Fails by assertion. */
void check_core(const struct sched_core *c);

/* A request with `n_prompt` tokens text_token(text, 0..) and plain sampling. */
struct sched_request check_request(uint64_t text, uint32_t n_prompt, uint32_t max_tokens);
int32_t check_token(uint64_t text, uint32_t pos, uint32_t vocab);

/* Events of a core: set as its flush. */
struct check_log {
	struct sched_event *events; // [n]
	size_t n, cap;
};
void check_log_add(void *log, const struct sched_event *events, size_t n);
void check_log_fini(struct check_log *log);

/* Tokens, and the final event, of one choice. */
uint32_t check_log_tokens(const struct check_log *log, uint64_t id, uint32_t choice,
			  int32_t *tokens, uint32_t max);
const struct sched_event *check_log_end(const struct check_log *log, uint64_t id, uint32_t choice);

#endif
