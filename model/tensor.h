/*
 * Tensor element types and one matrix of a checkpoint as it lies in the mapped file.
 *
 * A weight is a matrix [rows, cols], row-major, y = W x, one row an output. Types that pack several
 * values into a block (GGML's) pack along a row; FP8 weights carry a second matrix of scales, one
 * for each block of block_rows x block_cols values.
 */
#ifndef LT_MODEL_TENSOR_H
#define LT_MODEL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, GGML id or -1, values in a block, bytes of a block) */
#define MDL_TYPES(X)                                                                               \
	X(F32, 0, 1, 4)                                                                            \
	X(F16, 1, 1, 2)                                                                            \
	X(BF16, 30, 1, 2)                                                                          \
	X(F8_E4M3, -1, 1, 1)                                                                       \
	X(Q8_0, 8, 32, 34)                                                                         \
	X(Q4_0, 2, 32, 18)                                                                         \
	X(Q4_1, 3, 32, 20)                                                                         \
	X(Q5_0, 6, 32, 22)                                                                         \
	X(Q5_1, 7, 32, 24)                                                                         \
	X(Q2_K, 10, 256, 84)                                                                       \
	X(Q3_K, 11, 256, 110)                                                                      \
	X(Q4_K, 12, 256, 144)                                                                      \
	X(Q5_K, 13, 256, 176)                                                                      \
	X(Q6_K, 14, 256, 210)                                                                      \
	X(IQ4_NL, 20, 32, 18)                                                                      \
	X(IQ4_XS, 23, 256, 136)                                                                    \
	X(I32, 26, 1, 4)                                                                           \
	X(I64, 27, 1, 8)                                                                           \
	X(U8, -1, 1, 1)

enum mdl_type {
#define X(name, id, values, bytes) MDL_TYPE_##name,
	MDL_TYPES(X)
#undef X
		MDL_TYPE_COUNT
};

const char *mdl_type_name(enum mdl_type type);
size_t mdl_type_block_values(enum mdl_type type);
size_t mdl_type_block_bytes(enum mdl_type type);
/* True for the types whose values mdl_weight_rows can bring to float32. */
bool mdl_type_is_weight(enum mdl_type type);

/* One matrix; a view, owns nothing. Filled by mdl_weight_get (model/checkpoint.h). */
struct mdl_weight {
	enum mdl_type type;
	uint32_t rows, cols; /* a vector has rows 1 */
	const void *data;    /* [rows] of row_bytes each */
	size_t row_bytes;
	const void *scale;	  /* [scale_rows, scale_cols] multipliers, or NULL (F8_E4M3 only) */
	enum mdl_type scale_type; /* F32, BF16 or U8 (raw E8M0 exponents) */
	uint32_t scale_rows, scale_cols;
	uint32_t block_rows, block_cols; /* values that one scale covers */
	const char *name; /* the checkpoint's own name, for messages; lives as long as the model */
};

/* Brings rows [row, row + n) to float32: dst [n, cols]. Bounds are the caller's duty (LT_ASSERT). */
void mdl_weight_rows(const struct mdl_weight *w, size_t row, size_t n, float *dst);

/* The multiplier of the value at (row, col): 1 for a weight without scales. */
float mdl_weight_scale(const struct mdl_weight *w, size_t row, size_t col);

/* Lets the kernel begin to read rows [row, row + n) from the file, which are needed soon. */
void mdl_weight_expect(const struct mdl_weight *w, size_t row, size_t n);

/* Lets the kernel take back the memory of rows [row, row + n), which will hardly be read again; they
 * come from the file when they are. */
void mdl_weight_release(const struct mdl_weight *w, size_t row, size_t n);

/* Brings n values (a multiple of the block) of a type without scales to float32. */
void mdl_dequant(enum mdl_type type, const void *src, size_t n, float *dst);

static inline float mdl_bf16_f32(uint16_t h)
{
	union {
		uint32_t u;
		float f;
	} v = {(uint32_t)h << 16};
	return v.f;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t mdl_f32_bf16(float f)
{
	union {
		float f;
		uint32_t u;
	} v = {f};
	if ((v.u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(v.u >> 16 | 0x40);
	return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}

float mdl_f16_f32(uint16_t h);
float mdl_f8e4m3_f32(uint8_t b); /* 0x7f and 0xff are NaN */

#endif
