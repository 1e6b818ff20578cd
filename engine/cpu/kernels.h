/*
 * The kernels, written once for all instruction sets: included by kernels-*.c after one of vec-*.h,
 * with CPU_TABLE the name of the table. Order of additions (which is what makes a row's bits its own):
 * integer products add up exactly within a sub-block; sub-blocks, then minima, are added to one
 * float32 sum in order of columns. Float products keep two sums, of even and odd pairs (or columns),
 * joined at the end (FP8: at each change of scale).
 */
#include <math.h>

#include "engine/cpu/isa.h"
#include "model/tensor.h"

/* Streaming weights are fetched this many bytes ahead, into the second-level cache: the first level's
   misses in flight are too few to hide memory's latency behind the products of several rows. */
#define AHEAD	 32768
#define FETCH(p) __builtin_prefetch(p, 0, 2)

#define INLINE static inline __attribute__((always_inline))

typedef unsigned char byte;

/* Loops over a tile's rows and a group's vectors have to go, or their registers end up in memory. clang
   does so unasked, and warns where it is asked and a row count is known too late; UBSan's checks, which
   come with ASan here, keep gcc from it. */
#if defined(__clang__) || defined(__SANITIZE_ADDRESS__)
#define UNROLL
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

INLINE unsigned lanes_of(const struct cpu_mat *m, uint32_t panel)
{
	uint32_t left = m->rows - panel * CPU_LANES;

	return left < CPU_LANES ? left : CPU_LANES;
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

/* Calls tile(rows) for rows in the largest tiles, then smaller ones. */
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

/* Defines a product of several panels by that of one. */
#define BY_PANEL(name)                                                                             \
	static void name(const struct cpu_mat *m, uint32_t panel, uint32_t panels,                 \
			 const void *const *x, size_t n, float *y, size_t ldy)                     \
	{                                                                                          \
		for (uint32_t k = 0; k < panels; k++)                                              \
			name##_panel(m, panel + k, x, n, y + (size_t)k * CPU_LANES, ldy);          \
	}

/* Pairs of columns [0, pairs) of bfloat16 panel w: rows sums, each of an even and an odd one. */
INLINE void bf16_tile(const byte *w, size_t pairs, const void *const *x, const int rows, vf *out)
{
	vf even[DOT_ROWS], odd[DOT_ROWS];
	size_t p = 0;

	UNROLL
	for (int r = 0; r < rows; r++)
		even[r] = odd[r] = vf_zero();
	for (; p + 2 <= pairs; p += 2) {
		vb a = vb_load(w + p * 64), b = vb_load(w + p * 64 + 64);

		FETCH(w + p * 64 + AHEAD);
		FETCH(w + p * 64 + 64 + AHEAD);
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

INLINE void product_bf16_panel(const struct cpu_mat *m, uint32_t panel, const void *const *x,
			       size_t n, float *y, size_t ldy)
{
	const byte *at = m->data + panel * m->panel_bytes;
	unsigned lanes = lanes_of(m, panel);
	vf out[DOT_ROWS];

#define BF16_TILE(rows)                                                                            \
	do {                                                                                       \
		bf16_tile(at, ((size_t)m->cols + 1) / 2, x + r, rows, out);                        \
		UNROLL                                                                             \
		for (int i = 0; i < (rows); i++)                                                   \
			vf_store_n(y + (r + i) * ldy, out[i], lanes);                              \
	} while (0)
	FOR_TILES(DOT_ROWS, BF16_TILE);
}
BY_PANEL(product_bf16)

/* Columns [0, cols) of a float32 (or float16) panel. */
INLINE void float_tile(const byte *w, size_t cols, const bool half, const void *const *x,
		       const int rows, vf *out)
{
	const size_t size = half ? 32 : 64;
	vf even[FLOAT_ROWS], odd[FLOAT_ROWS];
	size_t c = 0;

	UNROLL
	for (int r = 0; r < rows; r++)
		even[r] = odd[r] = vf_zero();
	for (; c + 2 <= cols; c += 2) {
		const byte *at = w + c * size;
		vf a = half ? vf_half(at) : vf_load((const float *)(const void *)at);
		vf b = half ? vf_half(at + size)
			    : vf_load((const float *)(const void *)(at + size));

		FETCH(at + AHEAD);
		if (!half)
			FETCH(at + size + AHEAD);
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

#if defined(VEC_NARROW)
#include "engine/cpu/kernels-narrow.h"
#else
#include "engine/cpu/kernels-wide.h"
#endif

#define X(name, bits, high, map, offset, sub, scales)                                              \
	static void product_##name(const struct cpu_mat *m, uint32_t panel, uint32_t panels,       \
				   const void *const *x, size_t n, float *y, size_t ldy)           \
	{                                                                                          \
		const struct shape f = {bits, high, map, offset, sub, scales};                     \
		int_product(f, m, panel, panels, x, n, y, ldy);                                    \
	}
CPU_INT_FORMATS(X)
#undef X

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
	.codes_to_bf16 = codes_to_bf16,
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
