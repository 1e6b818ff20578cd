/*
 * The blas backend: open, close, and one step over a batch. blas.h has the idea. One thread calls
 * step; expert counts may be read by any.
 */
#include "engine/blas/blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void blas_norm(const float *x, const float *w, size_t n, float eps, float *y)
{
	double squares = 0;
	float scale;

	for (size_t i = 0; i < n; i++)
		squares += (double)x[i] * x[i];
	scale = (float)(1.0 / sqrt(squares / (double)n + (double)eps));
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * scale * w[i];
}

/* ---- memory ------------------------------------------------------------------------------- */

/* Zeroed and untouched until used, so that generous limits cost nothing. */
static bool take(void *ptr, size_t count, size_t width, size_t size)
{
	void *p = NULL;

	if (lt_mul(count, width, &count))
		p = lt_alloc(count, size);
	memcpy(ptr, &p, sizeof(p));
	return p != NULL;
}

/* The widest feed-forward that runs over all rows: dense layers', or the shared branch. */
static size_t widest_ff(const struct mdl_config *c)
{
	size_t shared = (size_t)c->shared_experts * c->expert_ff;

	return shared > c->dense_ff ? shared : c->dense_ff;
}

static bool take_rows(struct blas *b, const struct eng_opts *opts)
{
	const struct mdl_config *c = b->c;
	size_t rows = (size_t)opts->max_rows + TILE, outputs = (size_t)opts->max_outputs + TILE;
	size_t k = c->experts_used, layers = mdl_moe_layers(c), width = b->cache.width;
	size_t dk = (size_t)c->qk_nope + c->qk_rope, f = sizeof(float);

	return take(&b->rows, rows, 1, sizeof(*b->rows)) && take(&b->x, rows, c->hidden, f) &&
	       take(&b->h, rows, c->hidden, f) && take(&b->qa, rows, c->q_rank, f) &&
	       take(&b->q, rows, c->heads * dk, f) && take(&b->kv, rows, width, f) &&
	       take(&b->turn, rows, c->qk_rope, f) &&
	       take(&b->attn, rows, (size_t)c->heads * c->v_head, f) &&
	       take(&b->y, rows, c->hidden, f) && take(&b->gate, rows, widest_ff(c), f) &&
	       take(&b->up, rows, widest_ff(c), f) && take(&b->latents, b->ctx, width, f) &&
	       take(&b->absorbed, TILE * b->group_heads, width, f) &&
	       take(&b->mixed, TILE * b->group_heads, c->kv_rank, f) &&
	       take(&b->ids, rows, k, sizeof(*b->ids)) && take(&b->shares, rows, k, f) &&
	       take(&b->slots, rows, k, sizeof(*b->slots)) &&
	       take(&b->pair_rows, rows, k, sizeof(*b->pair_rows)) &&
	       take(&b->starts, (size_t)c->experts + 1, 1, sizeof(*b->starts)) &&
	       take(&b->pair_y, rows * k, c->hidden, f) &&
	       take(&b->groups, rows, k, sizeof(*b->groups)) &&
	       take(&b->logits, outputs, c->vocab, f) && take(&b->last, outputs, c->hidden, f) &&
	       take(&b->bad, outputs, 1, sizeof(*b->bad)) &&
	       take(&b->experts_out, rows, layers * k, sizeof(*b->experts_out)) &&
	       take(&b->counts, layers, c->experts, sizeof(*b->counts));
}

static bool take_scratch(struct blas *b)
{
	const struct mdl_config *c = b->c;
	size_t f = sizeof(float), widest = c->hidden > c->v_head ? c->hidden : c->v_head;

	if (!take(&b->scratch, b->threads, 1, sizeof(*b->scratch)))
		return false;
	for (uint32_t i = 0; i < b->threads; i++) {
		struct blas_scratch *s = &b->scratch[i];

		if (!take(&s->scores, TILE, b->ctx, f) ||
		    !take(&s->keys, b->ctx, (size_t)c->qk_nope + c->qk_rope, f) ||
		    !take(&s->values, b->ctx, c->v_head, f) || !take(&s->tile, TILE, widest, f) ||
		    !take(&s->gate, TILE, c->expert_ff, f) ||
		    !take(&s->up, TILE, c->expert_ff, f) ||
		    !take(&s->route, 2 * (size_t)c->experts + c->groups, 1, f))
			return false;
	}
	return true;
}

static void blas_close(void *state)
{
	struct blas *b = state;
	void *const owned[] = {b->rows,	       b->x,
			       b->h,	       b->qa,
			       b->q,	       b->kv,
			       b->turn,	       b->attn,
			       b->y,	       b->gate,
			       b->up,	       b->latents,
			       b->absorbed,    b->mixed,
			       b->ids,	       b->shares,
			       b->slots,       b->pair_rows,
			       b->starts,      b->pair_y,
			       b->groups,      b->logits,
			       b->last,	       b->bad,
			       b->experts_out, (void *)b->counts};

	eng_workers_close(b->workers);
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		free(owned[i]);
	for (uint32_t i = 0; b->scratch && i < b->threads; i++) {
		struct blas_scratch *s = &b->scratch[i];

		free(s->scores);
		free(s->keys);
		free(s->values);
		free(s->tile);
		free(s->gate);
		free(s->up);
		free(s->route);
	}
	free(b->scratch);
	blas_unload(b);
	eng_cache_fini(&b->cache);
	eng_rope_fini(&b->rope);
	free(b);
}

static int open_parts(struct blas *b, const struct mdl *m, const struct eng_opts *opts,
		      struct lt_err *err)
{
	const struct mdl_config *c = b->c;
	uint64_t ctx = (uint64_t)opts->cache_blocks * ENG_BLOCK_TOKENS;
	int rc = eng_workers_open(b->threads, opts->place.pin, &b->workers, err);

	if (ctx > c->max_positions)
		ctx = c->max_positions;
	b->ctx = (ctx + ENG_BLOCK_TOKENS - 1) / ENG_BLOCK_TOKENS * ENG_BLOCK_TOKENS;
	b->group_heads = (c->heads + TILE - 1) / TILE * TILE;
	if (rc == 0)
		rc = eng_rope_init(&b->rope, c, err);
	if (rc == 0)
		rc = blas_load(b, m, err);
	if (rc == 0)
		rc = eng_cache_init(&b->cache, opts->cache_type, &opts->place, opts->cache_blocks,
				    c->layers, c->kv_rank, c->qk_rope, err);
	if (rc == 0 && (!take_rows(b, opts) || !take_scratch(b)))
		rc = lt_fail(err, LT_ENOMEM,
			     "no memory for steps of %u rows; fewer rows or threads take less",
			     opts->max_rows);
	return rc;
}

static int blas_open(const struct mdl *m, const struct eng_opts *opts, struct eng_info *info,
		     void **state, struct lt_err *err)
{
	struct blas *b = lt_alloc(1, sizeof(*b));
	int rc;

	if (!b)
		return lt_fail(err, LT_ENOMEM, "no memory for backend blas");
	b->c = mdl_config(m);
	b->threads = opts->threads;
	blas_product_init();
	rc = open_parts(b, m, opts, err);
	if (rc != 0) {
		blas_close(b);
		return rc;
	}
	info->token_bytes = b->cache.layers * b->cache.entry_bytes;
	info->cache_bytes = eng_cache_bytes(&b->cache);
	info->weight_bytes = b->weight_values * sizeof(float);
	info->has_logits = true;
	*state = b;
	return 0;
}

/* ---- a step ------------------------------------------------------------------------------- */

/* Lays the spans' tokens out as rows: embeddings, positions' rotations. */
static void begin(struct blas *b, const struct eng_batch *batch)
{
	size_t d = b->c->hidden;

	b->n_rows = 0;
	for (size_t i = 0; i < batch->n_spans; i++) {
		const struct eng_span *s = &batch->spans[i];

		for (uint32_t t = 0; t < s->n; t++) {
			size_t r = b->n_rows++;

			b->rows[r] = (struct blas_row){s, s->pos + t};
			mdl_weight_rows(&b->embed, (size_t)s->tokens[t], 1, b->x + r * d);
			eng_rope_turn(&b->rope, s->pos + t, b->turn + r * b->c->qk_rope);
		}
	}
}

static void norm_rows(struct blas *b, const struct mat *w)
{
	size_t d = b->c->hidden;

	for (size_t r = 0; r < b->n_rows; r++)
		blas_norm(b->x + r * d, w->w, d, b->c->rms_eps, b->h + r * d);
}

static void add_rows(struct blas *b)
{
	for (size_t i = 0; i < b->n_rows * b->c->hidden; i++)
		b->x[i] += b->y[i];
}

/* Logits of the rows that asked. */
static void finish(struct blas *b, const struct eng_batch *batch, struct eng_out *out)
{
	size_t d = b->c->hidden, vocab = b->c->vocab, n = 0, row = 0;

	for (size_t i = 0; i < batch->n_spans; i++) {
		const struct eng_span *s = &batch->spans[i];

		for (uint32_t t = s->n - s->outputs; t < s->n; t++, n++)
			blas_norm(b->x + (row + t) * d, b->out_norm.w, d, b->c->rms_eps,
				  b->last + n * d);
		row += s->n;
	}
	blas_rows(b, &b->head, b->last, n, b->logits);
	for (size_t i = 0; i < n; i++) {
		b->bad[i] = false;
		for (size_t v = 0; v < vocab; v++)
			b->bad[i] |= !isfinite(b->logits[i * vocab + v]);
	}
	out->logits = b->logits;
	out->bad = b->bad;
}

static int blas_step(void *state, const struct eng_batch *batch, struct eng_out *out,
		     struct lt_err *err)
{
	struct blas *b = state;
	int32_t *experts = batch->want_experts ? b->experts_out : NULL;
	uint32_t moe = 0;

	(void)err;
	begin(b, batch);
	for (uint32_t i = 0; i < b->c->layers; i++) {
		const struct blas_layer *l = &b->layers[i];

		norm_rows(b, &l->attn_norm);
		blas_attention(b, i, batch);
		add_rows(b);
		norm_rows(b, &l->ffn_norm);
		if (l->experts)
			blas_moe(b, l, moe++, experts);
		else
			blas_dense(b, l);
		add_rows(b);
	}
	finish(b, batch, out);
	out->experts = experts;
	return 0;
}

static void blas_block_copy(void *state, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	eng_cache_copy(&((struct blas *)state)->cache, dst, src, n_tokens);
}

static void blas_expert_counts(const void *state, uint64_t *counts)
{
	const struct blas *b = state;
	size_t n = (size_t)mdl_moe_layers(b->c) * b->c->experts;

	for (size_t i = 0; i < n; i++)
		counts[i] = atomic_load_explicit(&b->counts[i], memory_order_relaxed);
}

const struct eng_backend eng_backend_blas = {
	.name = "blas",
	.needs_weights = true,
	.open = blas_open,
	.close = blas_close,
	.step = blas_step,
	.block_copy = blas_block_copy,
	.expert_counts = blas_expert_counts,
};
