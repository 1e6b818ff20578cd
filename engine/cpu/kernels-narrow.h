/*
 * Products of integer formats with vectors of 256 bits and without VNNI; a part of kernels.h. A super-
 * block's codes and scales are unpacked once, next to the registers, for all rows of the call. Then a
 * tile's sums of 16 bits, which is what these processors multiply bytes into, stay in registers over
 * as many columns as they have room for. Codes of 8 bits leave none: there the activations are split
 * into two digits, q = 16 h + l with both in -8..8, each with sums of its own:
 * 8 vectors * 2 columns * 255 * 8 < 2^15.
 */
#define SPAN	   CPU_SUPER /* groups unpacked at a time */
#define STRIP	   16	     /* rows that share an unpacking */
#define WHOLE_TILE 4	     /* rows whose sums fit the registers: whole activations */
#define SPLIT_TILE 2	     /* and split ones */

struct span {
	const byte *codes; /* [groups] of 8 vectors */
	float scale[SPAN][2][16], min[SPAN][2][16];
	byte room[SPAN * 512] __attribute__((aligned(64)));
};

/* One row's sums of a group (or half a group) join its float sum. */
INLINE vf join(vi sum, const float *scale, const float *min, float d, float s, bool mins, vf to)
{
	to = vf_fma(vf_of(sum), vf_mul(vf_load(scale), vf_set1(d)), to);
	return mins ? vf_fma(vf_load(min), vf_set1(-s), to) : to;
}

/* Vectors of 16-bit products that add up below 2^15 with codes of so many bits. */
INLINE int vectors_of(int bits)
{
	return bits <= 4 ? 8 : bits == 5 ? 4 : 2;
}

/* Whole activations: codes of up to 6 bits. */
INLINE void whole_tile(const struct shape f, const struct span *b, uint32_t groups,
		       const struct cpu_group *const *x, const int rows, float (*sums)[16])
{
	const bool mins = f.scales == CPU_SCALES_F16_MIN || f.scales == CPU_SCALES_K;
	const int subs = 32 / f.sub, vectors = 8 / subs, most = vectors_of(f.bits + f.high);
	vf sum[WHOLE_TILE];

	UNROLL
	for (int r = 0; r < rows; r++)
		sum[r] = vf_load(sums[r]);
	for (uint32_t g = 0; g < groups; g++) {
		UNROLL
		for (int i = 0; i < subs; i++) {
			const byte *w = b->codes + (size_t)g * 512 + 64 * vectors * i;
			vi whole[WHOLE_TILE];
			vs part[WHOLE_TILE];

			UNROLL
			for (int v = 0; v < vectors; v++) {
				vb codes = vb_load(w + 64 * v);

				UNROLL
				for (int r = 0; r < rows; r++) {
					vs p = vs_dot(codes, x[r][g].q + f.sub * i + 4 * v);

					part[r] = v % most == 0 ? p : vs_add(part[r], p);
				}
				if ((v + 1) % most != 0 && v + 1 != vectors)
					continue;
				UNROLL
				for (int r = 0; r < rows; r++)
					whole[r] = vi_add(
						v < most ? begin_sum(f, subs == 1
										? x[r][g].c
										: x[r][g].c_half[i])
							 : whole[r],
						vs_pairs(part[r], 1));
			}
			UNROLL
			for (int r = 0; r < rows; r++)
				sum[r] = join(whole[r], b->scale[g][i], b->min[g][i], x[r][g].d[i],
					      subs == 1 ? x[r][g].s : x[r][g].s_half[i], mins,
					      sum[r]);
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		vf_store(sums[r], sum[r]);
}

/* Split activations: codes of 8 bits, one scale a group. */
INLINE void split_tile(const struct shape f, const struct span *b, uint32_t groups,
		       const struct cpu_group *const *x, const int rows, float (*sums)[16],
		       const size_t ahead)
{
	const bool mins = f.scales == CPU_SCALES_F16_MIN;
	int8_t digits[SPLIT_TILE][SPAN][2][CPU_GROUP];
	vf sum[SPLIT_TILE];

	UNROLL
	for (int r = 0; r < rows; r++) {
		sum[r] = vf_load(sums[r]);
		for (uint32_t g = 0; g < groups; g++)
			split_digits(x[r][g].q, digits[r][g][0], digits[r][g][1]);
	}
	for (uint32_t g = 0; g < groups; g++) {
		const byte *w = b->codes + (size_t)g * 512;
		vs high[SPLIT_TILE], low[SPLIT_TILE];

		UNROLL
		for (int v = 0; v < 8; v++) {
			vb codes = vb_load(w + 64 * v);

			if (ahead)
				FETCH(w + 64 * v + ahead);
			UNROLL
			for (int r = 0; r < rows; r++) {
				vs h = vs_dot(codes, digits[r][g][0] + 4 * v);
				vs l = vs_dot(codes, digits[r][g][1] + 4 * v);

				high[r] = v == 0 ? h : vs_add(high[r], h);
				low[r] = v == 0 ? l : vs_add(low[r], l);
			}
		}
		UNROLL
		for (int r = 0; r < rows; r++) {
			vi whole = vi_add(begin_sum(f, x[r][g].c), vs_pairs(low[r], 1));

			whole = vi_add(whole, vs_pairs(high[r], 16));
			sum[r] = join(whole, b->scale[g][0], b->min[g][0], x[r][g].d[0], x[r][g].s,
				      mins, sum[r]);
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		vf_store(sums[r], sum[r]);
}

/* Groups [first, first + groups) of a panel. */
INLINE void unpack_span(const struct shape f, const struct cpu_mat *m, const byte *panel,
			uint32_t first, uint32_t groups, struct span *b)
{
	const byte *codes = panel + (size_t)first * f.bits * 64;
	const byte *high = panel + m->high + (size_t)first * f.high * 64;
	vf scale[2] = {vf_zero(), vf_zero()}, min[2] = {vf_zero(), vf_zero()};

	b->codes = f.bits == 8 ? codes : b->room;
	for (uint32_t g = 0; g < groups; g++) {
		if (f.bits < 8) {
			vb w[8];

			UNROLL
			for (int v = 0; v < f.bits + f.high; v++)
				FETCH(codes + (size_t)g * f.bits * 64 + 64 * v + AHEAD);
			unpack(f, codes + (size_t)g * f.bits * 64, high + (size_t)g * f.high * 64,
			       w);
			UNROLL
			for (int v = 0; v < 8; v++)
				vb_store(b->room + (size_t)g * 512 + 64 * v, w[v]);
		}
		unpack_scales(f, m, panel, first + g, scale, min);
		UNROLL
		for (int i = 0; i < 32 / f.sub; i++) {
			vf_store(b->scale[g][i], scale[i]);
			vf_store(b->min[g][i], min[i]);
		}
	}
}

INLINE void int_panel(const struct shape f, const struct cpu_mat *m, uint32_t panel,
		      const void *const *x, size_t n, float *y, size_t ldy)
{
	const byte *at = m->data + panel * m->panel_bytes;
	const unsigned lanes = lanes_of(m, panel);
	const bool split = f.bits == 8 || f.map;

	for (size_t from = 0; from < n; from += STRIP) {
		size_t rows = n - from < STRIP ? n - from : STRIP;
		float sums[STRIP][16];
		struct span b;

		memset(sums, 0, rows * sizeof(sums[0]));
		for (uint32_t first = 0; first < m->groups; first += SPAN) {
			uint32_t groups = m->groups - first < SPAN ? m->groups - first : SPAN;
			const struct cpu_group *row[STRIP];
			size_t r = 0;

			unpack_span(f, m, at, first, groups, &b);
			for (size_t i = 0; i < rows; i++)
				row[i] = (const struct cpu_group *)x[from + i] + first;
			if (split) {
				if (rows == 1)
					split_tile(f, &b, groups, row, 1, sums,
						   f.bits == 8 ? AHEAD : 0);
				else
					split_tile(f, &b, groups, row, 2, sums,
						   f.bits == 8 ? AHEAD : 0);
				for (r = 2; r + 2 <= rows; r += 2)
					split_tile(f, &b, groups, row + r, 2, sums + r, 0);
				if (r < rows)
					split_tile(f, &b, groups, row + r, 1, sums + r, 0);
				continue;
			}
			for (; r + 4 <= rows; r += 4)
				whole_tile(f, &b, groups, row + r, 4, sums + r);
			if (rows - r >= 2) {
				whole_tile(f, &b, groups, row + r, 2, sums + r);
				r += 2;
			}
			if (r < rows)
				whole_tile(f, &b, groups, row + r, 1, sums + r);
		}
		for (size_t r = 0; r < rows; r++)
			vf_store_n(y + (from + r) * ldy, vf_load(sums[r]), lanes);
	}
}

INLINE void int_product(const struct shape f, const struct cpu_mat *m, uint32_t panel,
			uint32_t panels, const void *const *x, size_t n, float *y, size_t ldy)
{
	for (uint32_t k = 0; k < panels; k++)
		int_panel(f, m, panel + k, x, n, y + (size_t)k * CPU_LANES, ldy);
}

/*
 * Products of float formats. A few rows take the weights as they come; for more of them a block of
 * columns becomes float32 once. Either way a row's sums see the same numbers in the same order.
 */
#define COLUMNS 128 /* of a block: 8 KiB */

enum float_kind { KIND_F32, KIND_F16, KIND_BF16, KIND_F8 };

/* Sums of one row, of even and odd columns, and what is scaled already. */
struct float_sums {
	float even[16], odd[16], all[16];
};

/* Bytes of a column of a panel, pairs of columns lying together. */
INLINE size_t column_bytes(const int kind)
{
	return kind == KIND_F32 ? 64 : kind == KIND_F8 ? 16 : 32;
}

/* The two columns at w; FP8 comes out 2^-8 times too small. */
INLINE void columns_at(const int kind, const byte *w, vf *first, vf *second)
{
	if (kind == KIND_F32) {
		*first = vf_load((const float *)(const void *)w);
		*second = vf_load((const float *)(const void *)(w + 64));
	} else if (kind == KIND_F16) {
		*first = vf_half(w);
		*second = vf_half(w + 32);
	} else if (kind == KIND_F8) {
		vf_f8_pair(w, first, second);
	} else {
		vb pair = vb_load(w);

		*first = vf_first(pair);
		*second = vf_second(pair);
	}
}

/* The one column at w that a matrix with an odd number of them ends with. */
INLINE vf last_column(const int kind, const byte *w)
{
	vf first, second;

	if (kind == KIND_F32)
		return vf_load((const float *)(const void *)w);
	if (kind == KIND_F16)
		return vf_half(w);
	columns_at(kind, w, &first, &second);
	return first;
}

/* n columns at w as float32. */
INLINE void widen(const int kind, const byte *w, size_t n, float *room)
{
	size_t c = 0;

	for (; c + 2 <= n; c += 2, w += 2 * column_bytes(kind)) {
		vf first, second;

		columns_at(kind, w, &first, &second);
		vf_store(room + c * 16, first);
		vf_store(room + c * 16 + 16, second);
		FETCH(w + AHEAD);
	}
	if (c < n)
		vf_store(room + c * 16, last_column(kind, w));
}

/* Columns at w join the sums of a few rows, whose own columns begin at x. */
INLINE void columns_tile(const int kind, const byte *w, size_t n, const float *const *x,
			 const int rows, struct float_sums *sums)
{
	vf even[FLOAT_ROWS], odd[FLOAT_ROWS];
	size_t c = 0;

	UNROLL
	for (int r = 0; r < rows; r++) {
		even[r] = vf_load(sums[r].even);
		odd[r] = vf_load(sums[r].odd);
	}
	for (; c + 2 <= n; c += 2, w += 2 * column_bytes(kind)) {
		vf first, second;

		columns_at(kind, w, &first, &second);
		FETCH(w + AHEAD);
		UNROLL
		for (int r = 0; r < rows; r++)
			even[r] = vf_fma(first, vf_set1(x[r][c]), even[r]);
		UNROLL
		for (int r = 0; r < rows; r++)
			odd[r] = vf_fma(second, vf_set1(x[r][c + 1]), odd[r]);
	}
	if (c < n) {
		vf last = last_column(kind, w);

		UNROLL
		for (int r = 0; r < rows; r++)
			even[r] = vf_fma(last, vf_set1(x[r][c]), even[r]);
	}
	UNROLL
	for (int r = 0; r < rows; r++) {
		vf_store(sums[r].even, even[r]);
		vf_store(sums[r].odd, odd[r]);
	}
}

INLINE void columns_tiles(const int kind, const byte *w, size_t n, const float *const *x,
			  size_t rows, struct float_sums *sums)
{
	while (rows > 0) {
		size_t tile = rows == 3 || rows > 4 ? 3 : rows > 1 ? 2 : 1;

		if (tile == 3)
			columns_tile(kind, w, n, x, 3, sums);
		else if (tile == 2)
			columns_tile(kind, w, n, x, 2, sums);
		else
			columns_tile(kind, w, n, x, 1, sums);
		x += tile;
		sums += tile;
		rows -= tile;
	}
}

/* The sums of a block of columns with scales of its own join the whole. */
INLINE void scale_sums(struct float_sums *sums, size_t rows, const float *scale)
{
	vf times = vf_mul(vf_load(scale), vf_set1(256));

	for (size_t r = 0; r < rows; r++) {
		vf part = vf_add(vf_load(sums[r].even), vf_load(sums[r].odd));

		vf_store(sums[r].all, vf_fma(part, times, vf_load(sums[r].all)));
		vf_store(sums[r].even, vf_zero());
		vf_store(sums[r].odd, vf_zero());
	}
}

INLINE void float_product(const int kind, const struct cpu_mat *m, uint32_t panel,
			  const void *const *x, size_t n, float *y, size_t ldy)
{
	const byte *at = m->data + panel * m->panel_bytes;
	const float *scales = (const float *)(const void *)(at + m->scales);
	const unsigned lanes = lanes_of(m, panel);
	const size_t step = kind == KIND_F8 ? m->block_cols : m->cols;

	for (size_t from = 0; from < n; from += STRIP) {
		size_t rows = n - from < STRIP ? n - from : STRIP;
		float room[COLUMNS * 16] __attribute__((aligned(64)));
		struct float_sums sums[STRIP];

		memset(sums, 0, rows * sizeof(sums[0]));
		for (size_t c = 0, end; c < m->cols; c = end) {
			size_t stop = (c / step + 1) * step;
			const byte *w = at + c * column_bytes(kind);
			const float *row[STRIP];

			stop = stop < m->cols ? stop : m->cols;
			end = c + COLUMNS < stop ? c + COLUMNS : stop;
			for (size_t i = 0; i < rows; i++)
				row[i] = (const float *)x[from + i] + c;
			if (kind == KIND_F32 || rows <= (kind == KIND_F8 ? 2 : 4)) {
				columns_tiles(kind, w, end - c, row, rows, sums);
			} else {
				widen(kind, w, end - c, room);
				columns_tiles(KIND_F32, (const byte *)room, end - c, row, rows,
					      sums);
			}
			if (kind == KIND_F8 && end == stop)
				scale_sums(sums, rows, scales + c / step * 16);
		}
		for (size_t r = 0; r < rows; r++) {
			vf sum = kind == KIND_F8
					 ? vf_load(sums[r].all)
					 : vf_add(vf_load(sums[r].even), vf_load(sums[r].odd));

			vf_store_n(y + (from + r) * ldy, sum, lanes);
		}
	}
}

#define FLOAT_PRODUCT(name, kind)                                                                  \
	INLINE void name##_panel(const struct cpu_mat *m, uint32_t panel, const void *const *x,    \
				 size_t n, float *y, size_t ldy)                                   \
	{                                                                                          \
		float_product(kind, m, panel, x, n, y, ldy);                                       \
	}                                                                                          \
	BY_PANEL(name)
FLOAT_PRODUCT(product_f32, KIND_F32)
FLOAT_PRODUCT(product_f16, KIND_F16)
FLOAT_PRODUCT(product_bf16_exact, KIND_BF16)
FLOAT_PRODUCT(product_f8, KIND_F8)
