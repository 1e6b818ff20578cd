/*
 * The kernels, written once for all instruction sets: included by kernels-*.c after one of vec-*.h,
 * with CPU_TABLE the name of the table. Order of additions (which is what makes a row's bits its own):
 * integer products add up exactly within a sub-block; sub-blocks, then minima, are added to one
 * float32 sum in order of columns. Float products keep two sums, of even and odd pairs (or columns),
 * joined at the end (FP8: at each change of scale).
 */
#include <math.h>

#include "engine/cpu/isa.h"

#define AHEAD 4096 /* bytes that streaming weights are fetched ahead */

#define INLINE static inline __attribute__((always_inline))

typedef unsigned char byte;

/* Loops over a tile's rows and a group's vectors have to go, or their registers end up in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* IQ4's table, 128 added. */
static const uint8_t iq4_table[16] = {1,   24,	45,  63,  79,  93,  106, 118,
				      129, 141, 153, 166, 181, 197, 217, 241};

struct shape {
	int bits, high, map, offset, sub, scales;
};

/* The eight vectors of group g. */
INLINE void unpack(struct shape f, const byte *codes, const byte *high, vb w[8])
{
	if (f.bits == 8) {
		UNROLL
		for (int v = 0; v < 8; v++)
			w[v] = vb_load(codes + 64 * v);
	} else if (f.bits == 4) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			vb x = vb_load(codes + 64 * j);

			w[j] = vb_bits(x, 0, 15);
			w[j + 4] = vb_bits(x, 4, 15);
		}
	} else {
		UNROLL
		for (int j = 0; j < 2; j++) {
			vb x = vb_load(codes + 64 * j);

			UNROLL
			for (int t = 0; t < 4; t++)
				w[4 * j + t] = vb_bits(x, 2 * t, 3);
		}
	}
	if (f.high == 1) {
		vb h = vb_load(high);

		UNROLL
		for (int v = 0; v < 8; v++)
			w[v] = vb_join(w[v], h, v - f.bits, 1 << f.bits);
	} else if (f.high == 2) {
		UNROLL
		for (int j = 0; j < 2; j++) {
			vb h = vb_load(high + 64 * j);

			UNROLL
			for (int t = 0; t < 4; t++)
				w[4 * j + t] = vb_join(w[4 * j + t], h, 2 * t - 4, 0x30);
		}
	}
	if (f.map) {
		UNROLL
		for (int v = 0; v < 8; v++)
			w[v] = vb_map(w[v], iq4_table);
	}
}

/* Scales and minima of group g, for its one or two sub-blocks. */
INLINE void unpack_scales(struct shape f, const struct cpu_mat *m, const byte *panel, uint32_t g,
			  vf scale[2], vf min[2])
{
	const byte *s = panel + m->scales, *super = panel + m->super;
	int subs = 32 / f.sub;

	if (f.scales == CPU_SCALES_F16) {
		scale[0] = vf_half(s + (size_t)g * 32);
	} else if (f.scales == CPU_SCALES_F16_MIN) {
		scale[0] = vf_half(s + (size_t)g * 64);
		min[0] = vf_half(s + (size_t)g * 64 + 32);
	} else if (f.scales == CPU_SCALES_K) {
		vf d = vf_half(super + g / CPU_SUPER * 64);
		vf dm = vf_half(super + g / CPU_SUPER * 64 + 32);

		UNROLL
		for (int i = 0; i < subs; i++) {
			const byte *at = s + ((size_t)g * subs + i) * 32;

			scale[i] = vf_mul(d, vf_u8(at));
			min[i] = vf_mul(dm, vf_u8(at + 16));
		}
	} else {
		vf d = vf_half(super + g / CPU_SUPER * 32);

		UNROLL
		for (int i = 0; i < subs; i++)
			scale[i] = vf_mul(d, vf_i8(s + ((size_t)g * subs + i) * 16));
	}
}

/* What the offset adds: -offset times the sum of the activations. */
INLINE vi begin_sum(struct shape f, int32_t c128)
{
	return f.offset == 0	 ? vi_set1(0)
	       : f.offset == 128 ? vi_set1(c128)
	       : f.offset == 32	 ? vi_sra(vi_set1(c128), 2)
	       : f.offset == 16	 ? vi_sra(vi_set1(c128), 3)
	       : f.offset == 8	 ? vi_sra(vi_set1(c128), 4)
				 : vi_sra(vi_set1(c128), 5);
}

/* One row's part of one group. */
INLINE vf add_group(struct shape f, const struct cpu_group *x, const vb w[8], const vf scale[2],
		    const vf min[2], vf sum)
{
	bool mins = f.scales == CPU_SCALES_F16_MIN || f.scales == CPU_SCALES_K;

	if (f.sub == 32) {
		vf d = vf_set1(x->d[0]);
		vi s = begin_sum(f, x->c);

		UNROLL
		for (int v = 0; v < 8; v++)
			s = vi_dot(s, w[v], x->q + 4 * v);
		sum = vf_fma(vf_of(s), vf_mul(scale[0], d), sum);
		if (mins)
			sum = vf_fma(min[0], vf_set1(-x->s), sum);
		return sum;
	}
	UNROLL
	for (int i = 0; i < 2; i++) {
		vf d = vf_set1(x->d[i]);
		vi s = begin_sum(f, x->c_half[i]);

		UNROLL
		for (int v = 0; v < 4; v++)
			s = vi_dot(s, w[4 * i + v], x->q + 16 * i + 4 * v);
		sum = vf_fma(vf_of(s), vf_mul(scale[i], d), sum);
		if (mins)
			sum = vf_fma(min[i], vf_set1(-x->s_half[i]), sum);
	}
	return sum;
}

INLINE void int_tile(struct shape f, const struct cpu_mat *m, const byte *panel,
		     const void *const *x, const int rows, float *y, size_t ldy, unsigned lanes)
{
	vf sum[16], scale[2], min[2];
	vb w[8];

	scale[0] = scale[1] = min[0] = min[1] = vf_zero();
	UNROLL
	for (int r = 0; r < rows; r++)
		sum[r] = vf_zero();
	for (uint32_t g = 0; g < m->groups; g++) {
		/* Weights stream: the hardware alone looks too short a way ahead, and not across pages. */
		UNROLL
		for (int v = 0; v < f.bits + f.high; v++)
			__builtin_prefetch(panel + (size_t)g * f.bits * 64 + 64 * v + AHEAD);
		unpack(f, panel + (size_t)g * f.bits * 64,
		       panel + m->high + (size_t)g * f.high * 64, w);
		unpack_scales(f, m, panel, g, scale, min);
		UNROLL
		for (int r = 0; r < rows; r++)
			sum[r] = add_group(f, (const struct cpu_group *)x[r] + g, w, scale, min,
					   sum[r]);
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		vf_store_n(y + r * ldy, sum[r], lanes);
}

INLINE unsigned lanes_of(const struct cpu_mat *m, uint32_t panel)
{
	uint32_t left = m->rows - panel * CPU_LANES;

	return left < CPU_LANES ? left : CPU_LANES;
}

/* Calls tile(rows) for rows in the largest tiles, then smaller ones. VEC_ROWS: what is worth its code
 * with these vectors. */
#define FOR_TILES(most, tile)                                                                      \
	do {                                                                                       \
		size_t r = 0;                                                                      \
		for (; n - r >= (most); r += (most))                                               \
			tile(most);                                                                \
		if ((most) > 8 && (n - r) & 8) {                                                   \
			tile(8);                                                                   \
			r += 8;                                                                    \
		}                                                                                  \
		if ((most) > 4 && (n - r) & 4) {                                                   \
			tile(4);                                                                   \
			r += 4;                                                                    \
		}                                                                                  \
		if ((most) > 2 && (n - r) & 2) {                                                   \
			tile(2);                                                                   \
			r += 2;                                                                    \
		}                                                                                  \
		if ((most) > 1 && (n - r) & 1)                                                     \
			tile(1);                                                                   \
	} while (0)
#define FLOAT_ROWS (VEC_ROWS < 8 ? VEC_ROWS : 8)

#define X(name, bits, high, map, offset, sub, scales)                                              \
	static void product_##name(const struct cpu_mat *m, uint32_t panel, const void *const *x,  \
				   size_t n, float *y, size_t ldy)                                 \
	{                                                                                          \
		const struct shape f = {bits, high, map, offset, sub, scales};                     \
		const byte *at = m->data + panel * m->panel_bytes;                                 \
		unsigned lanes = lanes_of(m, panel);                                               \
		FOR_TILES(VEC_ROWS, INT_TILE);                                                     \
	}
#define INT_TILE(rows) int_tile(f, m, at, x + r, rows, y + r * ldy, ldy, lanes)
CPU_INT_FORMATS(X)
#undef X

/* ---- float formats --------------------------------------------------------------------------- */

/* Pairs of columns [0, pairs) of bfloat16 panel w: rows sums, each of an even and an odd one. */
INLINE void bf16_tile(const byte *w, size_t pairs, const void *const *x, const int rows, vf *out)
{
	vf even[8], odd[8];
	size_t p = 0;

	UNROLL
	for (int r = 0; r < rows; r++)
		even[r] = odd[r] = vf_zero();
	for (; p + 2 <= pairs; p += 2) {
		vb a = vb_load(w + p * 64), b = vb_load(w + p * 64 + 64);

		UNROLL
		for (int r = 0; r < rows; r++) {
			even[r] = vf_dot2(even[r], a, dword_at((const byte *)x[r] + p * 4));
			odd[r] = vf_dot2(odd[r], b, dword_at((const byte *)x[r] + p * 4 + 4));
		}
	}
	if (p < pairs) {
		vb a = vb_load(w + p * 64);

		UNROLL
		for (int r = 0; r < rows; r++)
			even[r] = vf_dot2(even[r], a, dword_at((const byte *)x[r] + p * 4));
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		out[r] = vf_add(even[r], odd[r]);
}

static void product_bf16(const struct cpu_mat *m, uint32_t panel, const void *const *x, size_t n,
			 float *y, size_t ldy)
{
	const byte *at = m->data + panel * m->panel_bytes;
	unsigned lanes = lanes_of(m, panel);
	vf out[8];

#define BF16_TILE(rows)                                                                            \
	do {                                                                                       \
		bf16_tile(at, ((size_t)m->cols + 1) / 2, x + r, rows, out);                        \
		UNROLL                                                                             \
		for (int i = 0; i < (rows); i++)                                                   \
			vf_store_n(y + (r + i) * ldy, out[i], lanes);                              \
	} while (0)
	FOR_TILES(FLOAT_ROWS, BF16_TILE);
}

/* Exact weights of 8 or 16 bits (FP8 with scales, or bfloat16) with float32 activations: models trained
 * in FP8 have been seen to be touchy, and so is what attention makes of a head's matrices. */
INLINE void wide_tile(const struct cpu_mat *m, const byte *w, const bool f8, const void *const *x,
		      const int rows, float *y, size_t ldy, unsigned lanes)
{
	size_t pairs = ((size_t)m->cols + 1) / 2, step = f8 ? m->block_cols / 2 : pairs, block = 0;
	const float *scales = (const float *)(const void *)(w + m->scales);
	vf sum[8], even[8], odd[8];

	UNROLL
	for (int r = 0; r < rows; r++)
		sum[r] = vf_zero();
	for (size_t p = 0; p < pairs; block++) {
		size_t end = p + step < pairs ? p + step : pairs;

		UNROLL
		for (int r = 0; r < rows; r++)
			even[r] = odd[r] = vf_zero();
		for (; p < end; p++) {
			vb a = f8 ? vb_f8(w + p * 32) : vb_load(w + p * 64);
			vf first = vf_first(a), second = vf_second(a);

			UNROLL
			for (int r = 0; r < rows; r++) {
				const float *v = (const float *)x[r] + 2 * p;

				even[r] = vf_fma(first, vf_set1(v[0]), even[r]);
				odd[r] = vf_fma(second, vf_set1(v[1]), odd[r]);
			}
		}
		UNROLL
		for (int r = 0; r < rows; r++) {
			vf part = vf_add(even[r], odd[r]);

			sum[r] = f8 ? vf_fma(part, vf_load(scales + block * 16), sum[r]) : part;
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		vf_store_n(y + r * ldy, sum[r], lanes);
}

#define WIDE_PRODUCT(name, f8)                                                                     \
	static void name(const struct cpu_mat *m, uint32_t panel, const void *const *x, size_t n,  \
			 float *y, size_t ldy)                                                     \
	{                                                                                          \
		const byte *at = m->data + panel * m->panel_bytes;                                 \
		unsigned lanes = lanes_of(m, panel);                                               \
		FOR_TILES(FLOAT_ROWS, WIDE_TILE_##f8);                                             \
	}
#define WIDE_TILE_0(rows) wide_tile(m, at, false, x + r, rows, y + r * ldy, ldy, lanes)
#define WIDE_TILE_1(rows) wide_tile(m, at, true, x + r, rows, y + r * ldy, ldy, lanes)
WIDE_PRODUCT(product_bf16_exact, 0)
WIDE_PRODUCT(product_f8, 1)

/* Columns [0, cols) of a float32 (or float16) panel. */
INLINE void float_tile(const byte *w, size_t cols, const bool half, const void *const *x,
		       const int rows, vf *out)
{
	const size_t size = half ? 32 : 64;
	vf even[8], odd[8];
	size_t c = 0;

	UNROLL
	for (int r = 0; r < rows; r++)
		even[r] = odd[r] = vf_zero();
	for (; c + 2 <= cols; c += 2) {
		const byte *at = w + c * size;
		vf a = half ? vf_half(at) : vf_load((const float *)(const void *)at);
		vf b = half ? vf_half(at + size)
			    : vf_load((const float *)(const void *)(at + size));

		UNROLL
		for (int r = 0; r < rows; r++) {
			const float *v = (const float *)x[r] + c;

			even[r] = vf_fma(a, vf_set1(v[0]), even[r]);
			odd[r] = vf_fma(b, vf_set1(v[1]), odd[r]);
		}
	}
	if (c < cols) {
		const byte *at = w + c * size;
		vf a = half ? vf_half(at) : vf_load((const float *)(const void *)at);

		UNROLL
		for (int r = 0; r < rows; r++)
			even[r] = vf_fma(a, vf_set1(((const float *)x[r])[c]), even[r]);
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		out[r] = vf_add(even[r], odd[r]);
}

#define FLOAT_PRODUCT(name, half)                                                                  \
	static void name(const struct cpu_mat *m, uint32_t panel, const void *const *x, size_t n,  \
			 float *y, size_t ldy)                                                     \
	{                                                                                          \
		const byte *at = m->data + panel * m->panel_bytes;                                 \
		unsigned lanes = lanes_of(m, panel);                                               \
		vf out[8];                                                                         \
		FOR_TILES(FLOAT_ROWS, FLOAT_TILE_##half);                                          \
	}
#define FLOAT_TILE(rows, half)                                                                     \
	do {                                                                                       \
		float_tile(at, m->cols, half, x + r, rows, out);                                   \
		UNROLL                                                                             \
		for (int i = 0; i < (rows); i++)                                                   \
			vf_store_n(y + (r + i) * ldy, out[i], lanes);                              \
	} while (0)
#define FLOAT_TILE_0(rows) FLOAT_TILE(rows, false)
#define FLOAT_TILE_1(rows) FLOAT_TILE(rows, true)
FLOAT_PRODUCT(product_f32, 0)
FLOAT_PRODUCT(product_f16, 1)

#include "engine/cpu/kernels-rows.h"
#include "engine/cpu/kernels-attend.h"

const struct cpu_isa CPU_TABLE = {
	.name = CPU_TABLE_NAME,
	.product =
		{
#define X(name, bits, high, map, offset, sub, scales) [CPU_##name] = product_##name,
			CPU_INT_FORMATS(X)
#undef X
				[CPU_BF16] = product_bf16,
			[CPU_BF16_EXACT] = product_bf16_exact,
			[CPU_F8] = product_f8,
			[CPU_F32] = product_f32,
			[CPU_F16] = product_f16,
		},
	.quantise = quantise,
	.quantise_halves = quantise_halves,
	.to_bf16 = to_bf16,
	.norm = norm,
	.silu_mul = silu_mul,
	.add_scaled = add_scaled,
	.attend_f32 = attend_f32,
	.attend_bf16 = attend_bf16,
	.merge = merge,
	.zip = zip,
	.untangle = untangle,
	.finite = all_finite,
};
