/*
 * What all backends share: options and batches are checked here, once, so that a backend's step
 * can rely on every number in them.
 */
#include "config.h"

#include "engine/engine.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/backend.h"
#include "engine/cache.h"

#define MAX_THREADS	 1024u
#define MAX_CACHE_BLOCKS (UINT32_MAX / ENG_BLOCK_TOKENS) /* a position in the cache is a uint32_t */
#define MAX_ROWS	 (1u << 20)

struct eng {
	const struct eng_backend *backend;
	void *state;
	struct eng_info info;
	struct eng_opts opts;
};

static const struct eng_backend *const backends[] = {&eng_backend_cpu, &eng_backend_blas,
						     &eng_backend_null};
static const char *const names[] = {"cpu", "blas", "null", NULL};

const char *const *eng_backends(void)
{
	return names;
}

static const struct eng_backend *find_backend(const char *name)
{
	if (!name)
		return backends[0];
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	}
	return NULL;
}

bool eng_needs_weights(const char *name)
{
	const struct eng_backend *backend = find_backend(name);

	return backend && backend->needs_weights;
}

static uint32_t count_cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n > 0 ? (uint32_t)n : 1;
}

static int check_opts(const struct eng_opts *o, struct lt_err *err)
{
	if (o->cache_type != ENG_CACHE_BF16 && o->cache_type != ENG_CACHE_F32 &&
	    o->cache_type != ENG_CACHE_Q8)
		return lt_fail(err, LT_EINVAL, "unknown cache type; allowed are bf16, f32 and q8");
	if (o->place.numa > ENG_NUMA_INTERLEAVE)
		return lt_fail(err, LT_EINVAL,
			       "unknown numa policy; allowed are auto, off and interleave");
	if (o->place.hugepages > ENG_HUGEPAGES_EXPLICIT)
		return lt_fail(err, LT_EINVAL,
			       "unknown huge pages; allowed are auto, off and explicit");
	if (o->attention != ENG_ATTENTION_AUTO && o->attention != ENG_ATTENTION_ABSORBED)
		return lt_fail(err, LT_EINVAL, "unknown attention; allowed are auto and absorbed");
	if (o->cache_blocks < 1 || o->cache_blocks > MAX_CACHE_BLOCKS)
		return lt_fail(err, LT_EINVAL, "%u cache blocks; allowed are 1 to %u",
			       o->cache_blocks, MAX_CACHE_BLOCKS);
	if (o->max_rows < ENG_SPAN_TOKENS || o->max_rows > MAX_ROWS)
		return lt_fail(err, LT_EINVAL, "%u rows a step; allowed are %u to %u", o->max_rows,
			       ENG_SPAN_TOKENS, MAX_ROWS);
	if (o->max_outputs < 1 || o->max_outputs > o->max_rows)
		return lt_fail(err, LT_EINVAL, "%u outputs a step; allowed are 1 to %u (all rows)",
			       o->max_outputs, o->max_rows);
	if (o->threads > MAX_THREADS)
		return lt_fail(err, LT_EINVAL, "%u threads; allowed are 0 (one a core) and 1 to %u",
			       o->threads, MAX_THREADS);
	if (!(o->null_rate >= 0 && o->null_rate <= 1e12))
		return lt_fail(err, LT_EINVAL,
			       "null rate %g; allowed are 0 to 1e12 tokens a second", o->null_rate);
	return 0;
}

/* The router's arithmetic rests on these; mdl_open refuses such configurations too. */
static int check_router(const struct mdl_config *c, struct lt_err *err)
{
	if (mdl_moe_layers(c) == 0)
		return 0;
	if (c->groups < 1 || c->experts % c->groups != 0 || c->groups_used < 1 ||
	    c->groups_used > c->groups || c->experts_used < 1 ||
	    c->experts_used > c->experts / c->groups * c->groups_used)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "router with %u of %u experts, %u of %u groups: not possible",
			       c->experts_used, c->experts, c->groups_used, c->groups);
	return 0;
}

int eng_open(const struct mdl *m, const struct eng_opts *opts, struct eng **out, struct lt_err *err)
{
	const struct mdl_config *c = mdl_config(m);
	const struct eng_backend *backend = find_backend(opts->backend);
	struct eng *e;
	int rc;

	if (!backend)
		return lt_fail(err, LT_EINVAL,
			       "unknown backend '%s'; allowed are cpu, blas and null",
			       opts->backend);
	rc = check_opts(opts, err);
	if (rc == 0)
		rc = check_router(c, err);
	if (rc != 0)
		return rc;
	e = lt_alloc(1, sizeof(*e));
	if (!e)
		return lt_fail(err, LT_ENOMEM, "no memory for the engine");
	e->backend = backend;
	e->opts = *opts;
	e->opts.backend = backend->name;
	if (e->opts.threads == 0)
		e->opts.threads = count_cores();
	e->info = (struct eng_info){
		.backend = backend->name,
		.vocab = c->vocab,
		.layers = c->layers,
		.moe_layers = mdl_moe_layers(c),
		.experts = c->experts,
		.experts_used = c->experts_used,
		.max_positions = c->max_positions,
		.cache_blocks = opts->cache_blocks,
		.max_rows = opts->max_rows,
		.max_outputs = opts->max_outputs,
	};
	rc = backend->open(m, &e->opts, &e->info, &e->state, err);
	if (rc != 0) {
		free(e);
		return rc;
	}
	*out = e;
	return 0;
}

void eng_close(struct eng *e)
{
	if (!e)
		return;
	e->backend->close(e->state);
	free(e);
}

const struct eng_info *eng_info(const struct eng *e)
{
	return &e->info;
}

uint64_t eng_token_bytes(const struct mdl *m, enum eng_cache_type type)
{
	const struct mdl_config *c = mdl_config(m);

	return (uint64_t)c->layers * eng_cache_entry_bytes(type, c->kv_rank, c->qk_rope);
}

enum eng_form eng_form_of(const struct eng *e, uint32_t pos, uint32_t n_prompt)
{
	uint32_t start = pos - pos % ENG_SPAN_TOKENS;

	if (e->opts.attention == ENG_ATTENTION_AUTO && n_prompt >= ENG_SPAN_TOKENS &&
	    start <= n_prompt - ENG_SPAN_TOKENS)
		return ENG_FORM_EXPANDED;
	return ENG_FORM_ABSORBED;
}

static int check_span(const struct eng *e, const struct eng_span *s, size_t i, struct lt_err *err)
{
	uint32_t end = s->pos + s->n;

	if (s->n == 0)
		return lt_fail(err, LT_EINVAL, "span %zu has no tokens", i);
	if (end < s->pos || end > e->info.max_positions)
		return lt_fail(err, LT_EINVAL,
			       "span %zu goes from position %u over %u tokens; positions 0 to %u "
			       "are allowed",
			       i, s->pos, s->n, e->info.max_positions - 1);
	if (s->outputs > s->n)
		return lt_fail(err, LT_EINVAL, "span %zu wants %u outputs of %u tokens", i,
			       s->outputs, s->n);
	if (s->form != ENG_FORM_ABSORBED && s->form != ENG_FORM_EXPANDED)
		return lt_fail(err, LT_EINVAL, "span %zu has an unknown attention form", i);
	for (uint32_t t = 0; t < s->n; t++) {
		if (s->tokens[t] < 0 || (uint32_t)s->tokens[t] >= e->info.vocab)
			return lt_fail(err, LT_EINVAL,
				       "span %zu has token id %d; allowed are 0 to %u", i,
				       s->tokens[t], e->info.vocab - 1);
	}
	for (uint32_t b = 0; b < (end - 1) / ENG_BLOCK_TOKENS + 1; b++) {
		if (s->blocks[b] >= e->info.cache_blocks)
			return lt_fail(err, LT_EINVAL, "span %zu has block %u; allowed are 0 to %u",
				       i, s->blocks[b], e->info.cache_blocks - 1);
	}
	return 0;
}

int eng_step(struct eng *e, const struct eng_batch *batch, struct eng_out *out, struct lt_err *err)
{
	uint64_t rows = 0, outputs = 0;

	for (size_t i = 0; i < batch->n_spans; i++) {
		int rc = check_span(e, &batch->spans[i], i, err);

		if (rc != 0)
			return rc;
		rows += batch->spans[i].n;
		outputs += batch->spans[i].outputs;
	}
	if (rows > e->opts.max_rows)
		return lt_fail(err, LT_EINVAL, "%llu rows in a step; allowed are %u",
			       (unsigned long long)rows, e->opts.max_rows);
	if (outputs > e->opts.max_outputs)
		return lt_fail(err, LT_EINVAL, "%llu outputs in a step; allowed are %u",
			       (unsigned long long)outputs, e->opts.max_outputs);
	memset(out, 0, sizeof(*out));
	out->n = (size_t)outputs;
	return e->backend->step(e->state, batch, out, err);
}

void eng_block_copy(struct eng *e, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	LT_ASSERT(dst < e->info.cache_blocks && src < e->info.cache_blocks);
	LT_ASSERT(n_tokens <= ENG_BLOCK_TOKENS);
	e->backend->block_copy(e->state, dst, src, n_tokens);
}

void eng_expert_counts(const struct eng *e, uint64_t *counts)
{
	if (e->backend->expert_counts)
		e->backend->expert_counts(e->state, counts);
	else
		memset(counts, 0, (size_t)e->info.moe_layers * e->info.experts * sizeof(*counts));
}
