/*
 * The null backend: no weights, no forward pass. A token is a hash of all tokens up to it, so a
 * sequence is as reproducible as a model's, and it comes at a chosen rate: for load tests of the
 * serving plane and tests of the scheduler.
 *
 * The hash runs along the sequence and each position's value is kept where a real backend keeps its
 * latents: in the paged cache. A step reads its predecessor's value through the block table, so a
 * wrong table, a missing copy on write or a block given away too early shows as a wrong token.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/backend.h"

struct null {
	uint64_t *hashes; // [cache_blocks, ENG_BLOCK_TOKENS]
	int32_t *ids;	  // [n_ids] tokens that may come: all but special ones and the first three
	uint32_t n_ids;
	int32_t *tokens;  // [max_outputs]
	bool *bad;	  // [max_outputs] never set
	int32_t *experts; // [max_rows, per_row] lowest ids, made when first asked for
	size_t per_row, experts_used;
	uint32_t max_rows;
	double ns_per_token; /* 0: no pacing */
	uint64_t due_ns;     /* when the next step may return */
};

#define FIRST_TEXT_ID 3 /* bos, eos and pad are the first ids of most vocabularies */

static bool is_special(const struct mdl_config *c, int32_t id)
{
	bool special = id == c->bos || id == c->pad;

	for (uint32_t i = 0; i < c->n_eos; i++)
		special |= id == c->eos[i];
	return special;
}

/* The finaliser of MurmurHash3: every bit of x reaches every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint64_t extend(uint64_t hash, uint32_t pos, int32_t token)
{
	return mix(hash + mix((uint64_t)pos << 32 | (uint32_t)token));
}

static void null_close(void *state)
{
	struct null *n = state;

	free(n->hashes);
	free(n->ids);
	free(n->tokens);
	free(n->bad);
	free(n->experts);
	free(n);
}

static int null_open(const struct mdl *m, const struct eng_opts *opts, struct eng_info *info,
		     void **state, struct lt_err *err)
{
	const struct mdl_config *c = mdl_config(m);
	struct null *n = lt_alloc(1, sizeof(*n));
	size_t slots = (size_t)opts->cache_blocks * ENG_BLOCK_TOKENS;

	if (!n)
		return lt_fail(err, LT_ENOMEM, "no memory for backend null");
	n->hashes = lt_alloc(slots, sizeof(*n->hashes));
	n->ids = lt_alloc(c->vocab, sizeof(*n->ids));
	n->tokens = lt_alloc(opts->max_outputs, sizeof(*n->tokens));
	n->bad = lt_alloc(opts->max_outputs, sizeof(*n->bad));
	if (!n->hashes || !n->ids || !n->tokens || !n->bad) {
		null_close(n);
		return lt_fail(err, LT_ENOMEM, "no memory for %u cache blocks of backend null",
			       opts->cache_blocks);
	}
	for (uint32_t id = FIRST_TEXT_ID; id < c->vocab; id++) {
		if (!is_special(c, (int32_t)id))
			n->ids[n->n_ids++] = (int32_t)id;
	}
	if (n->n_ids == 0) {
		null_close(n);
		return lt_fail(err, LT_EUNSUPPORTED,
			       "a vocabulary of %u tokens leaves none for backend null", c->vocab);
	}
	n->max_rows = opts->max_rows;
	n->experts_used = c->experts_used;
	n->per_row = (size_t)info->moe_layers * c->experts_used;
	n->ns_per_token = opts->null_rate > 0 ? 1e9 / opts->null_rate : 0;
	info->token_bytes = sizeof(*n->hashes);
	info->cache_bytes = slots * sizeof(*n->hashes);
	*state = n;
	return 0;
}

/* Waits until the time when n_tokens more are due. The clock is absolute, so late steps are made up
 * for; but idle time does not count: it starts anew when there was nothing to do. */
static void pace(struct null *n, uint64_t now, size_t n_tokens)
{
	struct timespec until;

	if (n->ns_per_token == 0 || n_tokens == 0)
		return;
	if (n->due_ns + LT_NS_PER_MS * 100 < now)
		n->due_ns = now;
	n->due_ns += (uint64_t)((double)n_tokens * n->ns_per_token);
	until.tv_sec = (time_t)(n->due_ns / LT_NS_PER_S);
	until.tv_nsec = (long)(n->due_ns % LT_NS_PER_S);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static void run_span(struct null *n, const struct eng_span *s, int32_t *tokens)
{
	uint64_t hash = 0;

	if (s->pos > 0) {
		uint32_t before = s->pos - 1;

		hash = n->hashes[(size_t)s->blocks[before / ENG_BLOCK_TOKENS] * ENG_BLOCK_TOKENS +
				 before % ENG_BLOCK_TOKENS];
	}
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t pos = s->pos + i;

		hash = extend(hash, pos, s->tokens[i]);
		n->hashes[(size_t)s->blocks[pos / ENG_BLOCK_TOKENS] * ENG_BLOCK_TOKENS +
			  pos % ENG_BLOCK_TOKENS] = hash;
		if (i >= s->n - s->outputs)
			*tokens++ = n->ids[mix(hash) % n->n_ids];
	}
}

/* There is no router: every row gets the first experts. */
static int give_experts(struct null *n, struct eng_out *out, struct lt_err *err)
{
	if (!n->experts && n->per_row > 0) {
		n->experts = lt_alloc(n->max_rows, n->per_row * sizeof(*n->experts));
		if (!n->experts)
			return lt_fail(err, LT_ENOMEM, "no memory for expert ids");
		for (size_t i = 0; i < n->max_rows * n->per_row; i++)
			n->experts[i] = (int32_t)(i % n->experts_used);
	}
	out->experts = n->experts;
	return 0;
}

static int null_step(void *state, const struct eng_batch *batch, struct eng_out *out,
		     struct lt_err *err)
{
	struct null *n = state;
	uint64_t now = n->ns_per_token > 0 ? lt_clock_ns() : 0;
	int32_t *tokens = n->tokens;

	if (batch->want_experts && give_experts(n, out, err) != 0)
		return LT_ENOMEM;
	for (size_t i = 0; i < batch->n_spans; i++) {
		run_span(n, &batch->spans[i], tokens);
		tokens += batch->spans[i].outputs;
	}
	out->tokens = n->tokens;
	out->bad = n->bad;
	pace(n, now, out->n);
	return 0;
}

static void null_block_copy(void *state, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	struct null *n = state;

	for (uint32_t i = 0; i < n_tokens; i++)
		n->hashes[(size_t)dst * ENG_BLOCK_TOKENS + i] =
			n->hashes[(size_t)src * ENG_BLOCK_TOKENS + i];
}

const struct eng_backend eng_backend_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.step = null_step,
	.block_copy = null_block_copy,
};
