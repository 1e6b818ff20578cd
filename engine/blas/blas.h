/*
 * The blas backend's own header: the oracle of every other backend. All weights are brought to
 * float32 when the engine is opened, all arithmetic is float32, the products are OpenBLAS's.
 *
 * OpenBLAS rounds differently for different shapes, so every product here is cut to one shape that
 * depends on the weight alone: TILE rows of activations (padded, never fewer) times a panel of
 * weight rows. A row's result is then the same whatever the batch, the cut of a prompt into spans
 * or the number of threads. A tile of 8 rows also happens to be as cheap as one row, since
 * reading the weights is what takes the time.
 *
 * Activations are [rows, width]; buffers have room for TILE - 1 rows more than are used, and what
 * those hold is never looked at.
 */
#ifndef LT_ENGINE_BLAS_BLAS_H
#define LT_ENGINE_BLAS_BLAS_H

#include <stdatomic.h>

#include "engine/backend.h"
#include "engine/cache.h"
#include "engine/rope.h"
#include "engine/workers.h"

#define TILE 8u /* rows of a product; see above before changing it */

struct mat {
	const float *w; // [rows, cols]; NULL: not there
	uint32_t rows, cols;
};

struct blas_ffn {
	struct mat gate, up, down; /* [width, d], [width, d], [d, width] */
};

struct blas_layer {
	struct mat attn_norm, q, q_a, q_a_norm, q_b, kv_a, kv_a_norm, kv_b, k_b, v_b, o;
	struct mat ffn_norm, router, router_bias;
	struct blas_ffn ffn; /* dense layers: the feed-forward; MoE layers: the shared branch */
	struct blas_ffn *experts; // [experts], NULL in dense layers
};

/* Scratch memory of one thread. */
struct blas_scratch {
	float *scores; // [TILE, ctx]
	float *keys;   // [ctx, dn + dr] of one head
	float *values; // [ctx, dv] of one head
	float *tile;   // [TILE, d or dv]
	float *gate;   // [TILE, expert_ff]
	float *up;     // [TILE, expert_ff]
	float *route;  // [2 * experts + groups]
};

struct blas_row {
	const struct eng_span *span;
	uint32_t pos;
};

/* Pairs of (row, expert), sorted by expert; a group is up to TILE pairs of one expert. */
struct blas_group {
	uint32_t expert, first, n;
};

struct blas {
	const struct mdl_config *c;
	struct mdl_weight embed; /* read from the file row by row */
	struct mat out_norm, head;
	struct blas_layer *layers; // [layers]
	float *weights;		   /* what was brought to float32 */
	size_t weight_values;
	struct eng_rope rope;
	struct eng_cache cache;
	struct eng_workers *workers;
	uint32_t threads;
	size_t ctx;	      /* longest sequence, rounded up to a block */
	uint32_t group_heads; /* heads rounded up to a TILE */

	/* the step */
	size_t n_rows;
	struct blas_row *rows;	       // [max_rows]
	float *x;		       // [max_rows, d] residual stream
	float *h;		       // [max_rows, d] normed
	float *qa;		       // [max_rows, rq]
	float *q;		       // [max_rows, H (dn + dr)]
	float *kv;		       // [max_rows, rk + dr]
	float *turn;		       // [max_rows, dr] cosines and sines
	float *attn;		       // [max_rows, H dv]
	float *y;		       // [max_rows, d] what a block adds to x
	float *gate, *up;	       // [max_rows, widest ff]
	float *latents;		       // [ctx, rk + dr] of one sequence
	const struct eng_span *loaded; /* whose latents those are */
	float *absorbed;	       // [TILE, group_heads, rk + dr] queries on the latent
	float *mixed;		       // [TILE, group_heads, rk] latents, weighted by attention
	int32_t *ids;		       // [max_rows, k] experts in rank order
	float *shares;		       // [max_rows, k] their weights
	uint32_t *slots;	       // [max_rows, k] index of the pair
	uint32_t *pair_rows;	       // [max_rows * k]
	uint32_t *starts;	       // [experts + 1]
	float *pair_y;		       // [max_rows * k, d]
	struct blas_group *groups;     // [max_rows * k]
	float *logits;		       // [max_outputs, vocab]
	float *last;		       // [max_outputs, d]
	bool *bad;		       // [max_outputs]
	int32_t *experts_out;	       // [max_rows, moe_layers, k]
	struct blas_scratch *scratch;  // [threads]
	_Atomic uint64_t *counts;      // [moe_layers, experts]
};

/* load.c: fills layers, embed, out_norm, head, weights. LT_EINVAL (no weights), LT_ENOMEM. */
int blas_load(struct blas *b, const struct mdl *m, struct lt_err *err);
void blas_unload(struct blas *b);

/* product.c. One tile: y [TILE, rows] = x [TILE, cols] w [rows, cols]^T. ldx, ldy: floats from row
 * to row of x and y. */
void blas_tile(const float *w, size_t rows, size_t cols, const float *x, size_t ldx, float *y,
	       size_t ldy);
/* The same with w [cols, rows] as it lies, rows ldw apart; `add`: to what y holds. */
void blas_tile_nn(const float *w, size_t ldw, size_t rows, size_t cols, const float *x, size_t ldx,
		  bool add, float *y, size_t ldy);
/* y [n, w->rows] = x [n, w->cols] w^T, spread over the threads. */
void blas_rows(struct blas *b, const struct mat *w, const float *x, size_t n, float *y);
/* To be called before the first product. */
void blas_product_init(void);

/* attention.c: from the normed rows in b->h to b->y. */
void blas_attention(struct blas *b, uint32_t layer, const struct eng_batch *batch);

/* ffn.c: from the normed rows in b->h to b->y. `moe`: number of the MoE layer; experts_out as in
 * struct eng_out, or NULL. */
void blas_dense(struct blas *b, const struct blas_layer *l);
void blas_moe(struct blas *b, const struct blas_layer *l, uint32_t moe, int32_t *experts_out);

/* y [n] = x [n] / rms(x) * w [n]; the sum of squares in double. */
void blas_norm(const float *x, const float *w, size_t n, float eps, float *y);

#endif
