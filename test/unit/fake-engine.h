/*
 * An engine for tests of the scheduler: no model, but a cache that notices everything.
 *
 * A position's "latent" is a hash of its token, position, form of attention and all latents before
 * it, read through the block table; a row's "logits" are a hash of all latents up to its own. So a
 * wrong block, a stale one, a missing copy, a token fed twice or in the wrong form gives other
 * tokens from there on. fake_answer computes the same straight from the tokens: what a sequence must
 * get, alone or in any company. A batch that breaks engine.h's rules fails an assertion.
 */
#ifndef LT_TEST_FAKE_ENGINE_H
#define LT_TEST_FAKE_ENGINE_H

#include "engine/engine.h"

struct fake_opts {
	uint32_t vocab; /* at least 4 */
	uint32_t blocks, max_rows, max_outputs, max_positions;
	enum eng_attention attention;
	bool gives_tokens; /* like backend null */
};

struct eng *fake_open(const struct fake_opts *opts);

/* Steps wait for permits from now on; each fake_let gives n more. fake_free: no more waiting. */
void fake_hold(struct eng *e);
void fake_let(struct eng *e, uint64_t n);
void fake_free(struct eng *e);
/* Returns once the k-th step since the start (1..) has been called. */
void fake_wait_called(struct eng *e, uint64_t k);

/* The next `times` steps give `code`. */
void fake_fail(struct eng *e, int code, uint32_t times);

/* While `token` is set (-1: none), latents made from it are poison: every row that sees one is bad. */
void fake_poison(struct eng *e, int32_t token);

/* The answer to a prompt: fills tokens [at most max_tokens], returns how many; *stopped is true if
 * a stop id came next. max_context bounds prompt and answer. */
uint32_t fake_answer(const struct eng *e, const int32_t *prompt, uint32_t n_prompt,
		     const struct eng_sampling *how, uint32_t choice, uint32_t max_tokens,
		     uint32_t max_context, int32_t *tokens, bool *stopped);

#endif
