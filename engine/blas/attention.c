/*
 * Multi-head latent attention (model-family formulas in the comments), in its two forms. Both read
 * the latents back from the cache, so both see its rounding.
 *
 * absorbed: q~ = W_UK^T q_n; score = scale ([q~ | q_r] . [c | k_r]); u = sum of a c; o = W_UV u.
 * expanded: k = [W_UK c | k_r], v = W_UV c for each head and position; then plain attention.
 *
 * c: normed latent [rk]; k_r: rotated key [dr], one for all heads; a: softmax of the scores over
 * positions 0..own. Keys are taken a cache block (ENG_BLOCK_TOKENS) at a time, which keeps the shape
 * of the products fixed; positions past a row's own get weight 0 and change nothing (unless they are
 * not finite: then the sequence is lost from the start of that block).
 */
#include <math.h>
#include <string.h>

#include "engine/blas/blas.h"

/* What the tasks of one layer share. */
struct attend {
	struct blas *b;
	const struct blas_layer *l;
	size_t row;  /* first row of the tile or span */
	size_t n;    /* rows of it */
	size_t from; /* absorbed: first row of the sequence at hand, counted from `row` */
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* scores [padded]: to weights over positions [0, n), 0 beyond. */
static void softmax(float *scores, size_t n, size_t padded, float scale)
{
	float max = -INFINITY;
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		scores[i] *= scale;
		max = scores[i] > max ? scores[i] : max;
	}
	for (size_t i = 0; i < n; i++)
		sum += (double)(scores[i] = expf(scores[i] - max));
	for (size_t i = 0; i < n; i++)
		scores[i] = (float)(scores[i] / sum);
	memset(scores + n, 0, (padded - n) * sizeof(float));
}

/* The latents of a sequence to float32, once for all its rows in a layer. */
static void load_latents(struct blas *b, uint32_t layer, const struct eng_span *s)
{
	size_t n = s->pos + s->n, width = b->cache.width;

	if (b->loaded == s)
		return;
	eng_cache_get(&b->cache, layer, s->blocks, (uint32_t)n, b->latents);
	memset(b->latents + n * width, 0,
	       (round_up(n, ENG_BLOCK_TOKENS) - n) * width * sizeof(float));
	b->loaded = s;
}

/* W_UV of head h, [dv, rk]. */
static const float *value_weights(const struct attend *a, size_t h)
{
	const struct mdl_config *c = a->b->c;
	size_t dn = c->qk_nope, dv = c->v_head, rk = c->kv_rank;

	if (a->l->kv_b.w)
		return a->l->kv_b.w + (h * (dn + dv) + dn) * rk;
	return a->l->v_b.w + h * dv * rk;
}

/* ---- absorbed ----------------------------------------------------------------------------- */

/* Task h: [q~ | q_r] of the tile's rows for head h. */
static void absorb_task(void *arg, size_t h, uint32_t worker)
{
	const struct attend *a = arg;
	struct blas *b = a->b;
	const struct mdl_config *c = b->c;
	size_t dn = c->qk_nope, dr = c->qk_rope, dv = c->v_head, rk = c->kv_rank;
	size_t ldq = c->heads * (dn + dr), ldy = b->group_heads * (rk + dr);
	const float *q = b->q + a->row * ldq + h * (dn + dr); // [TILE, dn | dr], rows ldq apart
	float *y = b->absorbed + h * (rk + dr);		      // [TILE, rk | dr], rows ldy apart

	(void)worker;
	if (a->l->k_b.w)
		blas_tile(a->l->k_b.w + h * rk * dn, rk, dn, q, ldq, y, ldy);
	else
		blas_tile_nn(a->l->kv_b.w + h * (dn + dv) * rk, rk, rk, dn, q, ldq, false, y, ldy);
	for (size_t r = 0; r < a->n; r++)
		memcpy(y + r * ldy + rk, q + r * ldq + dn, dr * sizeof(float));
}

/* Task (row, group of TILE heads): attention of one row over the loaded latents. */
static void mix_task(void *arg, size_t i, uint32_t worker)
{
	const struct attend *a = arg;
	struct blas *b = a->b;
	size_t width = b->cache.width, rk = b->c->kv_rank;
	size_t groups = b->group_heads / TILE;
	size_t row = a->from + i / groups, head = i % groups * TILE;
	size_t keys = b->rows[a->row + row].pos + 1, padded = round_up(keys, ENG_BLOCK_TOKENS);
	const float *q = b->absorbed + (row * b->group_heads + head) * width; // [TILE, width]
	float *u = b->mixed + (row * b->group_heads + head) * rk;	      // [TILE, rk]
	float *scores = b->scratch[worker].scores;			      // [TILE, padded]

	for (size_t k = 0; k < padded; k += ENG_BLOCK_TOKENS)
		blas_tile(b->latents + k * width, ENG_BLOCK_TOKENS, width, q, width, scores + k,
			  padded);
	for (size_t h = 0; h < TILE; h++)
		softmax(scores + h * padded, keys, padded, b->rope.softmax_scale);
	for (size_t k = 0; k < padded; k += ENG_BLOCK_TOKENS)
		blas_tile_nn(b->latents + k * width, width, rk, ENG_BLOCK_TOKENS, scores + k,
			     padded, k > 0, u, rk);
}

/* Task h: o = W_UV u of the tile's rows. */
static void project_task(void *arg, size_t h, uint32_t worker)
{
	const struct attend *a = arg;
	struct blas *b = a->b;
	size_t rk = b->c->kv_rank, dv = b->c->v_head, ldo = b->c->heads * dv;
	float *o = b->scratch[worker].tile; // [TILE, dv]

	blas_tile(value_weights(a, h), dv, rk, b->mixed + h * rk, b->group_heads * rk, o, dv);
	for (size_t r = 0; r < a->n; r++)
		memcpy(b->attn + (a->row + r) * ldo + h * dv, o + r * dv, dv * sizeof(float));
}

/* Rows [row, row + n), n <= TILE, of any sequences. */
static void attend_absorbed(struct attend *a, uint32_t layer)
{
	struct blas *b = a->b;
	size_t end;

	eng_workers_run(b->workers, b->c->heads, absorb_task, a);
	for (a->from = 0; a->from < a->n; a->from = end) {
		const struct eng_span *s = b->rows[a->row + a->from].span;

		for (end = a->from; end < a->n && b->rows[a->row + end].span == s; end++)
			;
		load_latents(b, layer, s);
		eng_workers_run(b->workers, (end - a->from) * (b->group_heads / TILE), mix_task, a);
	}
	eng_workers_run(b->workers, b->c->heads, project_task, a);
}

/* ---- expanded ----------------------------------------------------------------------------- */

/* Keys [n, dn + dr] and values [n, dv] of head h from the loaded latents; n a multiple of TILE. */
static void expand_head(const struct attend *a, size_t h, size_t n, float *keys, float *values)
{
	const struct blas *b = a->b;
	const struct mdl_config *c = b->c;
	size_t dn = c->qk_nope, dr = c->qk_rope, dv = c->v_head, rk = c->kv_rank;
	size_t width = b->cache.width, dk = dn + dr;

	for (size_t k = 0; k < n; k += TILE) {
		const float *latents = b->latents + k * width; // [TILE, rk | dr]

		if (a->l->k_b.w)
			blas_tile_nn(a->l->k_b.w + h * rk * dn, dn, dn, rk, latents, width, false,
				     keys + k * dk, dk);
		else
			blas_tile(a->l->kv_b.w + h * (dn + dv) * rk, dn, rk, latents, width,
				  keys + k * dk, dk);
		blas_tile(value_weights(a, h), dv, rk, latents, width, values + k * dv, dv);
		for (size_t t = 0; t < TILE; t++)
			memcpy(keys + (k + t) * dk + dn, latents + t * width + rk,
			       dr * sizeof(float));
	}
}

/* Task h: head h of all rows of the span. */
static void expanded_task(void *arg, size_t h, uint32_t worker)
{
	const struct attend *a = arg;
	const struct blas *b = a->b;
	const struct blas_scratch *s = &b->scratch[worker];
	size_t dk = b->c->qk_nope + b->c->qk_rope, dv = b->c->v_head;
	size_t ldq = b->c->heads * dk, ldo = b->c->heads * dv;
	size_t pos = b->rows[a->row].pos;

	expand_head(a, h, round_up(pos + a->n, ENG_BLOCK_TOKENS), s->keys, s->values);
	for (size_t t = 0; t < a->n; t += TILE) {
		size_t rows = a->n - t < TILE ? a->n - t : TILE;
		size_t padded = round_up(pos + t + rows, ENG_BLOCK_TOKENS);

		for (size_t k = 0; k < padded; k += ENG_BLOCK_TOKENS)
			blas_tile(s->keys + k * dk, ENG_BLOCK_TOKENS, dk,
				  b->q + (a->row + t) * ldq + h * dk, ldq, s->scores + k, padded);
		for (size_t r = 0; r < rows; r++)
			softmax(s->scores + r * padded, pos + t + r + 1, padded,
				b->rope.softmax_scale);
		for (size_t k = 0; k < padded; k += ENG_BLOCK_TOKENS)
			blas_tile_nn(s->values + k * dv, dv, dv, ENG_BLOCK_TOKENS, s->scores + k,
				     padded, k > 0, s->tile, dv);
		for (size_t r = 0; r < rows; r++)
			memcpy(b->attn + (a->row + t + r) * ldo + h * dv, s->tile + r * dv,
			       dv * sizeof(float));
	}
}

/* ---- a layer ------------------------------------------------------------------------------ */

/* b->h to queries, latents and rotated keys; the latter two to the cache. */
static void project(struct blas *b, uint32_t layer)
{
	const struct mdl_config *c = b->c;
	const struct blas_layer *l = &b->layers[layer];
	size_t dk = c->qk_nope + c->qk_rope, width = b->cache.width;

	if (l->q_a.w) {
		blas_rows(b, &l->q_a, b->h, b->n_rows, b->qa);
		for (size_t r = 0; r < b->n_rows; r++)
			blas_norm(b->qa + r * c->q_rank, l->q_a_norm.w, c->q_rank, c->lora_eps,
				  b->qa + r * c->q_rank);
		blas_rows(b, &l->q_b, b->qa, b->n_rows, b->q);
	} else {
		blas_rows(b, &l->q, b->h, b->n_rows, b->q);
	}
	blas_rows(b, &l->kv_a, b->h, b->n_rows, b->kv);
	for (size_t r = 0; r < b->n_rows; r++) {
		const float *turn = b->turn + r * c->qk_rope;
		float *q = b->q + r * c->heads * dk; // [heads, dn | dr]
		float *kv = b->kv + r * width;	     // [rk | dr]

		for (size_t h = 0; h < c->heads; h++)
			eng_rope_apply(&b->rope, turn, q + h * dk + c->qk_nope);
		blas_norm(kv, l->kv_a_norm.w, c->kv_rank, c->lora_eps, kv);
		eng_rope_apply(&b->rope, turn, kv + c->kv_rank);
		eng_cache_put(&b->cache, layer, b->rows[r].span->blocks, b->rows[r].pos, kv);
	}
}

void blas_attention(struct blas *b, uint32_t layer, const struct eng_batch *batch)
{
	struct attend a = {.b = b, .l = &b->layers[layer]};
	const struct eng_span *s = batch->spans, *end = s + batch->n_spans;

	project(b, layer);
	b->loaded = NULL;
	while (s < end) {
		size_t rows = 0;

		if (s->form == ENG_FORM_EXPANDED) {
			a.n = s->n;
			load_latents(b, layer, s);
			eng_workers_run(b->workers, b->c->heads, expanded_task, &a);
			a.row += (s++)->n;
			continue;
		}
		/* Neighbouring absorbed spans share tiles: a batch of single tokens would
		 * otherwise fill an eighth of each. */
		for (; s < end && s->form == ENG_FORM_ABSORBED; s++)
			rows += s->n;
		for (size_t first = a.row; a.row < first + rows; a.row += a.n) {
			a.n = first + rows - a.row < TILE ? first + rows - a.row : TILE;
			attend_absorbed(&a, layer);
		}
	}
	blas_rows(b, &a.l->o, b->attn, b->n_rows, b->y);
}
