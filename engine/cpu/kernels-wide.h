/*
 * Products where a tile's codes and sums fit the registers (or are the compiler's to place: plain C);
 * a part of kernels.h.
 */

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

/* Panels [panel, panel + panels). */
INLINE void int_tile(const struct shape f, const struct cpu_mat *m, uint32_t panel,
		     const int panels, const void *const *x, const int rows, float *y, size_t ldy)
{
	const byte *const at = m->data + panel * m->panel_bytes;
	vf sum[INT_ROWS], scale[2], min[2];
	vb w[8];

	scale[0] = scale[1] = min[0] = min[1] = vf_zero();
	UNROLL
	for (int i = 0; i < panels * rows; i++)
		sum[i] = vf_zero();
	for (uint32_t g = 0; g < m->groups; g++) {
		UNROLL
		for (int k = 0; k < panels; k++) {
			const byte *own = at + k * m->panel_bytes;
			const byte *codes = own + (size_t)g * f.bits * 64;

			UNROLL
			for (int v = 0; v < f.bits + f.high; v++)
				FETCH(codes + 64 * v + AHEAD);
			unpack(f, codes, own + m->high + (size_t)g * f.high * 64, w);
			unpack_scales(f, m, own, g, scale, min);
			UNROLL
			for (int r = 0; r < rows; r++)
				sum[k * rows + r] = add_group(f, (const struct cpu_group *)x[r] + g,
							      w, scale, min, sum[k * rows + r]);
		}
	}
	UNROLL
	for (int k = 0; k < panels; k++) {
		UNROLL
		for (int r = 0; r < rows; r++)
			vf_store_n(y + r * ldy + k * CPU_LANES, sum[k * rows + r],
				   lanes_of(m, panel + k));
	}
}

/* One or two rows take four panels at once: four streams from memory, each with what the hardware
 * fetches ahead, are read faster than one (a fifth for one row; nothing is won from three rows on). */
INLINE void int_product(const struct shape f, const struct cpu_mat *m, uint32_t panel,
			uint32_t panels, const void *const *x, size_t n, float *y, size_t ldy)
{
	const uint32_t end = panel + panels;

#if INT_ROWS >= 8
	for (; n <= 2 && end - panel >= 4; panel += 4, y += 4 * CPU_LANES) {
		if (n == 1)
			int_tile(f, m, panel, 4, x, 1, y, ldy);
		else
			int_tile(f, m, panel, 4, x, 2, y, ldy);
	}
#endif
	for (; panel < end; panel++, y += CPU_LANES) {
#define INT_TILE(rows) int_tile(f, m, panel, 1, x + r, rows, y + r * ldy, ldy)
		FOR_TILES(INT_ROWS, INT_TILE);
	}
}

/* Exact weights of 8 or 16 bits (FP8 with scales, or bfloat16) with float32 activations: models trained
 * in FP8 have been seen to be touchy, and so is what attention makes of a head's matrices. */
INLINE void wide_tile(const struct cpu_mat *m, const byte *w, const bool f8, const void *const *x,
		      const int rows, float *y, size_t ldy, unsigned lanes)
{
	size_t pairs = ((size_t)m->cols + 1) / 2, step = f8 ? m->block_cols / 2 : pairs, block = 0;
	const float *scales = (const float *)(const void *)(w + m->scales);
	vf sum[FLOAT_ROWS], even[FLOAT_ROWS], odd[FLOAT_ROWS];

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

			if (!f8 || p % 2 == 0)
				FETCH(w + p * (f8 ? 32 : 64) + AHEAD);
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
	INLINE void name##_panel(const struct cpu_mat *m, uint32_t panel, const void *const *x,    \
				 size_t n, float *y, size_t ldy)                                   \
	{                                                                                          \
		const byte *at = m->data + panel * m->panel_bytes;                                 \
		unsigned lanes = lanes_of(m, panel);                                               \
		FOR_TILES(FLOAT_ROWS, WIDE_TILE_##f8);                                             \
	}                                                                                          \
	BY_PANEL(name)
#define WIDE_TILE_0(rows) wide_tile(m, at, false, x + r, rows, y + r * ldy, ldy, lanes)
#define WIDE_TILE_1(rows) wide_tile(m, at, true, x + r, rows, y + r * ldy, ldy, lanes)
WIDE_PRODUCT(product_bf16_exact, 0)
WIDE_PRODUCT(product_f8, 1)

#define FLOAT_PRODUCT(name, half)                                                                  \
	INLINE void name##_panel(const struct cpu_mat *m, uint32_t panel, const void *const *x,    \
				 size_t n, float *y, size_t ldy)                                   \
	{                                                                                          \
		const byte *at = m->data + panel * m->panel_bytes;                                 \
		unsigned lanes = lanes_of(m, panel);                                               \
		vf out[FLOAT_ROWS];                                                                \
		FOR_TILES(FLOAT_ROWS, FLOAT_TILE_##half);                                          \
	}                                                                                          \
	BY_PANEL(name)
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
