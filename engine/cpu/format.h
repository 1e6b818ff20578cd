/*
 * Weights as the kernels want them: panels of CPU_LANES rows, interleaved so that one vector register
 * holds the next four (int8), two (bfloat16) or one (float32) columns of all rows of the panel.
 *
 * Integer formats keep the file's own codes and scales, in planes. A panel is
 *   codes   [groups]  512, 256 or 128 bytes: 8, 4 or 2 bits a value
 *   high    [groups]  64 or 128 bytes: a 5th (3rd) bit, or bits 5 and 6; where there are any
 *   scales  [groups]  see enum cpu_scales
 *   super   [groups / 8] float16 d[16], and m[16] where there are minima; K-quants alone
 * A group is CPU_GROUP columns: 8 vectors of (16 rows x 4 columns) bytes. With 8 bits a value vector v
 * lies at 64 v. With 4 bits byte b of the group's j-th 64 bytes holds vector j (low nibble) and j + 4;
 * with 2 bits its bits 2t, 2t + 1 hold vector 4 j + t. `high` with one bit: bit v of byte b is that of
 * vector v; with two: bits 2t, 2t + 1 of the j-th 64 bytes are those of vector 4 j + t.
 * A value is scale * (code - offset) - min.
 *
 * Rows beyond the matrix's last are zeros in the last panel; columns beyond a float format's last are
 * zeros too (integer formats have whole groups, the file formats see to that).
 */
#ifndef LT_ENGINE_CPU_FORMAT_H
#define LT_ENGINE_CPU_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/tensor.h"

#define CPU_LANES 16u
#define CPU_GROUP 32u
#define CPU_SUPER 8u /* groups of a K-quant's super-block */

enum cpu_scales {
	CPU_SCALES_F16,	    /* float16 d[16] a group */
	CPU_SCALES_F16_MIN, /* float16 d[16], m[16] a group: scale d, min -m */
	CPU_SCALES_K,	    /* uint8 s[16] then n[16] a sub-block: scale d s, min m n */
	CPU_SCALES_K_SIGNED /* int8 s[16] a sub-block: scale d s */
};

/* X(name, code bits, high bits, mapped through IQ4's table, offset, sub-block, scales). Mapped values
 * carry 128 more than the table's, so that they are unsigned. */
#define CPU_INT_FORMATS(X)                                                                         \
	X(Q8_0, 8, 0, false, 128, 32, CPU_SCALES_F16)                                              \
	X(Q4_0, 4, 0, false, 8, 32, CPU_SCALES_F16)                                                \
	X(Q4_1, 4, 0, false, 0, 32, CPU_SCALES_F16_MIN)                                            \
	X(Q5_0, 4, 1, false, 16, 32, CPU_SCALES_F16)                                               \
	X(Q5_1, 4, 1, false, 0, 32, CPU_SCALES_F16_MIN)                                            \
	X(Q2_K, 2, 0, false, 0, 16, CPU_SCALES_K)                                                  \
	X(Q3_K, 2, 1, false, 4, 16, CPU_SCALES_K_SIGNED)                                           \
	X(Q4_K, 4, 0, false, 0, 32, CPU_SCALES_K)                                                  \
	X(Q5_K, 4, 1, false, 0, 32, CPU_SCALES_K)                                                  \
	X(Q6_K, 4, 2, false, 32, 16, CPU_SCALES_K_SIGNED)                                          \
	X(IQ4_NL, 4, 0, true, 128, 32, CPU_SCALES_F16)                                             \
	X(IQ4_XS, 4, 0, true, 128, 32, CPU_SCALES_K_SIGNED)

enum cpu_format {
#define X(name, bits, high, map, offset, sub, scales) CPU_##name,
	CPU_INT_FORMATS(X)
#undef X
		CPU_BF16, /* [cols / 2][16][2] bfloat16 */
	CPU_BF16_EXACT,	  /* the same, for activations of float32 */
	CPU_F8,	 /* [cols / 2][16][2] E4M3, then float32 scales[blocks of block_cols][16] */
	CPU_F32, /* [cols][16] float32 */
	CPU_F16, /* [cols][16] float16 */
	CPU_FORMATS
};
#define CPU_INT_COUNT CPU_BF16

/* What a format wants a row of activations as. */
enum cpu_act {
	CPU_ACT_INT8,	     /* struct cpu_group [cols / CPU_GROUP], one scale a group */
	CPU_ACT_INT8_HALVES, /* the same with a scale for each half: formats with sub-blocks of 16 */
	CPU_ACT_BF16,	     /* bfloat16 [cols rounded up to 2] */
	CPU_ACT_F32,	     /* float32 [cols rounded up to 2] */
	CPU_ACTS
};

/* A group of quantised activations: x = d q, with one d or one a half. The sums serve the weights'
 * offsets and minima. One cache line. */
struct cpu_group {
	int8_t q[CPU_GROUP];
	float d[2];
	int32_t c, c_half[2]; /* -128 sum of q: all, first and second half */
	float s, s_half[2];   /* sum of d q */
};

struct cpu_mat {
	enum cpu_format format;
	uint32_t rows, cols;	    /* rows 0: not there */
	uint32_t panels;	    /* of CPU_LANES rows */
	uint32_t groups;	    /* integer formats */
	uint32_t block_cols;	    /* F8: columns of a scale */
	size_t high, scales, super; /* offsets in a panel */
	size_t panel_bytes;	    /* a multiple of 64 */
	unsigned char *data;	    // [panels] of panel_bytes
};

enum cpu_act cpu_act_of(enum cpu_format format);
const char *cpu_format_name(enum cpu_format format);

/* Bytes of a row of activations of `cols` values, a multiple of 64. */
size_t cpu_act_bytes(enum cpu_act act, size_t cols);

/* The format that keeps the values of a checkpoint's type as they are. BF16 weights meet float32
 * activations: rounding those to bfloat16 too moves touchy models by more than 1%. */
enum cpu_format cpu_format_for(enum mdl_type type);

/* Fills everything but data for a matrix [rows, cols] in the given format. block_cols: F8. */
void cpu_mat_layout(struct cpu_mat *m, enum cpu_format format, uint32_t rows, uint32_t cols,
		    uint32_t block_cols);

/* Packs rows [first + 16 p, ...) of a checkpoint's matrix into panel p of m, whose format is
 * cpu_format_for(w->type). Rows beyond m->rows are zeros. */
void cpu_pack_panel(struct cpu_mat *m, uint32_t panel, const struct mdl_weight *w, uint32_t first);

/* Packs rows and columns swapped: row i, column j of m is row `first` + j, column i of w (FP8, whose
 * scale blocks begin at `first` and at multiples of m->block_cols from there). */
void cpu_pack_f8_transposed(struct cpu_mat *m, uint32_t panel, const struct mdl_weight *w,
			    uint32_t first);

/* Packs float32 rows src [n <= 16, ld] into panel `panel` of a BF16, BF16_EXACT or F32 matrix. */
void cpu_pack_floats(struct cpu_mat *m, uint32_t panel, const float *src, size_t ld, uint32_t n);

#endif
