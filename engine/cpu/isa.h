/*
 * The kernels of one instruction set, as a table of functions, and the choice among them. All tables
 * read the same packed weights. Within a table a row's result depends on that row and the weights
 * alone: every kernel for one, few or many rows adds up in the same order. Between tables results
 * may differ in the last bits.
 */
#ifndef LT_ENGINE_CPU_ISA_H
#define LT_ENGINE_CPU_ISA_H

#include "engine/cpu/format.h"

#define CPU_CHUNK 256u /* keys that one call of attend takes */

/* Rows x [n] of activations (in the form cpu_act_of(m->format), any addresses) times `panels` panels
 * from `panel` on: y[r * ldy + lane], lanes of rows that the matrix has. */
typedef void cpu_product_fn(const struct cpu_mat *m, uint32_t panel, uint32_t panels,
			    const void *const *x, size_t n, float *y, size_t ldy);

/* 16 queries over keys of a chunk, as lanes. */
struct cpu_attend {
	const void *q;	      // [width or width / 2][16] float32, or pairs of bfloat16: a panel
	uint32_t width, dv;   /* of a key, of a value */
	const void *const *k; // [n] rows of width values
	const void *v;	      // float32 [n][dv], or pairs of keys [n / 2][dv][2] bfloat16
	uint32_t n;	      /* keys, 1..CPU_CHUNK; buffers are padded to an even number */
	const int32_t *limit; // [16] lane l sees keys [0, limit[l]), at least one of all chunks'
	float scale;
	float *scores; // [CPU_CHUNK][16] scratch
	float *m, *l;  // [16] out: largest score, sum of weights
	float *u;      // [dv][16] out: weighted values
};

struct cpu_isa {
	const char *name;
	cpu_product_fn *product[CPU_FORMATS];
	/* x [cols] float32 to the forms of activations; dst of cpu_act_bytes. */
	void (*quantise)(const float *x, size_t cols, struct cpu_group *dst);
	void (*quantise_halves)(const float *x, size_t cols, struct cpu_group *dst);
	void (*to_bf16)(const float *x, size_t cols, uint16_t *dst);
	/* y = x / rms(x) * w */
	void (*norm)(const float *x, const float *w, size_t n, float eps, float *y);
	/* gate = silu(gate) * up */
	void (*silu_mul)(float *gate, const float *up, size_t n);
	/* y += share * x */
	void (*add_scaled)(float *y, const float *x, float share, size_t n);
	void (*attend_f32)(const struct cpu_attend *a);
	void (*attend_bf16)(const struct cpu_attend *a);
	/* (m, l, u) := (m, l, u) joined with another part of the same queries' keys. */
	void (*merge)(float *m, float *l, float *u, const float *pm, const float *pl,
		      const float *pu, uint32_t dv);
	/* Codes [n] with a scale (bfloat16) for each 32 of them, multiplied out and rounded. */
	void (*codes_to_bf16)(const int8_t *codes, const uint16_t *scales, size_t n, uint16_t *dst);
	/* Rows of bfloat16 a, b [n] to pairs out [n][2]. */
	void (*zip)(const uint16_t *a, const uint16_t *b, size_t n, uint16_t *out);
	/* out[lane][i] = u[i][lane] / l[lane] for n values of 16 lanes; rows ld apart. */
	void (*untangle)(const float *u, const float *l, size_t n, float *out, size_t ld,
			 unsigned lanes);
	bool (*finite)(const float *x, size_t n);
};

/* Names of all tables of this build, NULL-terminated, slowest first. */
const char *const *cpu_isa_names(void);

/* The named one, or the best for name NULL or "auto". NULL if it is unknown or this processor can't. */
const struct cpu_isa *cpu_isa_find(const char *name);

#endif
