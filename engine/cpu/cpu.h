/*
 * The cpu backend's own header. Weights are packed once for the vector kernels (format.h, isa.h) and
 * keep the file's own codes; activations are brought to what a weight's format wants: int8 in groups
 * of 32, bfloat16 or float32. A row's arithmetic is its own: kernels, chunks of keys and orders of
 * additions depend on the weights and on positions alone, never on what else is in the batch, nor on
 * the number of threads.
 *
 * Activations are [rows, width]. One thread calls step; the workers share out panels, heads and rows.
 */
#ifndef LT_ENGINE_CPU_CPU_H
#define LT_ENGINE_CPU_CPU_H

#include <stdatomic.h>

#include "engine/area.h"
#include "engine/backend.h"
#include "engine/cache.h"
#include "engine/cpu/isa.h"
#include "engine/rope.h"
#include "engine/workers.h"

#define CPU_ABSORBED_ROWS 64u	/* rows of one pass of absorbed attention */
#define CPU_PARTS	  4096u /* most partial results of attention kept at once */
#define CPU_FFN_COLS	  64u	/* of gate and up at once: four panels, two groups of int8 */
#define CPU_FFN_ROWS	  64u	/* rows of one pass over them */

struct cpu_ffn {
	struct cpu_mat gate, up, down; /* [width, d], [width, d], [d, width] */
};

struct cpu_layer {
	float *attn_norm, *q_a_norm, *kv_a_norm, *ffn_norm; // [d], [rq], [rk], [d]
	struct cpu_mat q, q_a, q_b, kv_a, o;
	struct cpu_mat *k_t, *v;    // [heads] for absorbed: W_UK transposed [rk, dn], W_UV [dv, rk]
	struct cpu_mat *k, *v_many; // [heads] for expanded, bfloat16: W_UK [dn, rk], W_UV [dv, rk]
	struct cpu_mat router;	    /* float32 */
	float *router_bias;	    // [experts] or NULL
	struct cpu_ffn ffn;	 /* dense layers: the feed-forward; MoE layers: the shared branch */
	struct cpu_ffn *experts; // [experts], NULL in dense layers
};

/* Rows of activations in the forms that products want. */
struct cpu_x {
	size_t max_cols;
	size_t row_bytes[CPU_ACTS];
	unsigned char *rows[CPU_ACTS]; // [max_rows] of row_bytes; F32: none of its own
	const void **at[CPU_ACTS];     // [max_rows] pointers to rows
};

/* A product to be done: y [n, ldy] = x [n] m^T. */
struct cpu_job {
	const struct cpu_mat *m;
	const void *const *x; // [n] rows in the form of m's format
	size_t n;
	float *y;
	size_t ldy;
};

/* Scratch memory of one thread. */
struct cpu_scratch {
	float *gate, *up;      // [CPU_FFN_ROWS, CPU_FFN_COLS]
	float *scores;	       // [CPU_CHUNK + 1, 16]
	float *part;	       // [2, 2 * 16 + widest value * 16] running result and a chunk's
	float *floats;	       // [CPU_CHUNK, widest of dn, dv, rk, hidden]
	uint16_t *latents;     // [CPU_CHUNK, rk + dr]
	float *head_x;	       // [CPU_ABSORBED_ROWS, widest of dn, rk] a product's rows
	uint16_t *keys;	       // [CPU_CHUNK, dn + dr]
	unsigned char *values; // [CPU_CHUNK + 1, widest value] float32, or pairs of bfloat16
	uint16_t *query;       // [dn + dr, 16]
	const void **at;       // [CPU_CHUNK]
	float *spans;	       // [ENG_SPAN_TOKENS / 16][2 * 16 + dv * 16] running results of a span
	float *route;	       // [2 * experts + groups]
	uint16_t *zeros;       // [widest value] stays zero
};

struct cpu_row {
	const struct eng_span *span;
	uint32_t pos;
};

/* Rows of one expert: pairs [first, first + n) of the sorted list. */
struct cpu_group_rows {
	const struct cpu_ffn *ffn;
	uint32_t first, n;
};

struct cpu {
	const struct mdl_config *c;
	const struct cpu_isa *isa;
	struct mdl_weight embed; /* read from the file row by row */
	float *out_norm;	 // [d]
	struct cpu_mat head;
	struct cpu_layer *layers; // [layers]
	unsigned char *weights;	  /* all panels */
	size_t weight_bytes;
	float *vectors; /* all norms and biases */
	struct eng_rope rope;
	struct eng_cache cache;
	struct eng_workers *workers;
	struct eng_place place;
	void *memory; /* what a step needs, in one area */
	size_t memory_bytes;
	uint32_t threads, head_groups; /* groups of 16 heads */
	size_t ctx;

	/* the step */
	size_t n_rows;
	struct cpu_row *rows;	// [max_rows]
	float *x;		// [max_rows, d] residual stream
	float *h;		// [max_rows, d] normed
	float *qa;		// [max_rows, rq]
	float *q;		// [max_rows, H (dn + dr)]
	float *kv;		// [max_rows, rk + dr]
	float *turn;		// [max_rows, dr]
	float *attn;		// [max_rows, H dv]
	float *y;		// [max_rows, d]
	struct cpu_x xs;	/* of whatever the next products read */
	unsigned char *queries; // [CPU_ABSORBED_ROWS][head_groups][width][16] float32 or bfloat16
	float *mixed;		// [CPU_ABSORBED_ROWS][heads][rk]
	float *parts;		// [n_parts][2 * 16 + rk * 16]
	size_t n_parts;
	float *z;		       // [max_rows, experts] router logits
	int32_t *ids;		       // [max_rows, k]
	float *shares;		       // [max_rows, k]
	uint32_t *slots;	       // [max_rows, k] index of the pair
	uint32_t *pair_rows;	       // [max_rows * k]
	uint32_t *starts;	       // [experts + 1]
	const void **pair_x[CPU_ACTS]; // [max_rows * k] their activations
	struct cpu_group_rows *groups; // [experts + 1]
	size_t n_groups;
	unsigned char *mid;  // [max_rows * (k + 1)] of mid_bytes: between up and down
	const void **mid_at; // [max_rows * (k + 1)]
	size_t mid_bytes;
	float *pair_y;		     // [max_rows * (k + 1), d]
	float *logits;		     // [max_outputs, vocab]
	float *last;		     // [max_outputs, d]
	bool *bad;		     // [max_outputs]
	int32_t *experts_out;	     // [max_rows, moe_layers, k]
	struct cpu_scratch *scratch; // [threads]
	_Atomic uint64_t *counts;    // [moe_layers, experts]
};

/* load.c: fills layers, embed, out_norm, head. LT_EINVAL (no weights), LT_ENOMEM. */
int cpu_load(struct cpu *b, const struct mdl *m, struct lt_err *err);
void cpu_unload(struct cpu *b);

/* memory.c: what a step needs, zeroed and untouched until used. LT_ENOMEM, and eng_area_map's errors. */
int cpu_take(struct cpu *b, const struct eng_opts *opts, struct lt_err *err);
void cpu_release(struct cpu *b);

/* product.c. Brings rows x [n, cols] to form `act` in b->xs; returns the pointers to them. Spread over
 * the threads. Overwrites what that form held. */
const void *const *cpu_bring(struct cpu *b, enum cpu_act act, const float *x, size_t n,
			     size_t cols);
/* One row: `to` has room for cpu_act_bytes. */
void cpu_bring_row(const struct cpu *b, enum cpu_act act, const float *x, size_t cols, void *to);
/* Does all jobs, shared out over the threads. */
void cpu_products(struct cpu *b, const struct cpu_job *jobs, size_t n_jobs);

/* attention.c: from the normed rows in b->h to b->y. */
void cpu_attention(struct cpu *b, uint32_t layer, const struct eng_batch *batch);

/* ffn.c: adds the feed-forward of the normed rows in b->h to b->x. */
void cpu_dense(struct cpu *b, const struct cpu_layer *l);
void cpu_moe(struct cpu *b, const struct cpu_layer *l, uint32_t moe, int32_t *experts_out);

#endif
