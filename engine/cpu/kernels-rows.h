/*
 * What is done to rows between the products; a part of kernels.h. Sums over a row run in 16 lanes,
 * folded in lane order at the end.
 */

/* e^x for x <= 88, 0 below -87.3: 2^n with n whole, times a polynomial in the rest (|r| <= ln 2 / 2;
 * Taylor to r^7, relative error below 3e-8). */
INLINE vf vf_exp(vf x)
{
	vf low = vf_set1(-87.3f), n, r, p;

	/* In this order NaN stays NaN: the second operand is what a comparison with NaN gives. */
	x = vf_min(vf_set1(88.0f), vf_max(low, x));
	n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
	r = vf_fma(n, vf_set1(-0.693359375f), x);
	r = vf_fma(n, vf_set1(2.12194440e-4f), r);
	p = vf_fma(vf_set1(1.0f / 5040), r, vf_set1(1.0f / 720));
	p = vf_fma(p, r, vf_set1(1.0f / 120));
	p = vf_fma(p, r, vf_set1(1.0f / 24));
	p = vf_fma(p, r, vf_set1(1.0f / 6));
	p = vf_fma(p, r, vf_set1(0.5f));
	p = vf_fma(p, r, vf_set1(1.0f));
	p = vf_fma(p, r, vf_set1(1.0f));
	return vf_scale2(p, n);
}

INLINE float fold(vf v)
{
	float lane[16], sum = 0;

	vf_store(lane, v);
	for (int i = 0; i < 16; i++)
		sum += lane[i];
	return sum;
}

/* Largest magnitude to scale and its inverse. What is too small to have one counts as 0. */
INLINE float scale_of(float most, float *inverse)
{
	*inverse = most > 1e-36f ? 127 / most : 0;
	return most > 1e-36f ? most / 127 : 0;
}

INLINE void quantise_groups(const float *x, size_t cols, struct cpu_group *dst, const bool halves)
{
	for (size_t g = 0; g < cols / CPU_GROUP; g++, x += CPU_GROUP, dst++) {
		vf a = vf_load(x), b = vf_load(x + 16);
		float ma = vf_max_lane(vf_abs(a)), mb = vf_max_lane(vf_abs(b)), ia, ib;
		vi qa, qb;
		int32_t sa, sb;

		/* With an infinity (or next to one) or a NaN the row is lost, as it must be. */
		if (!(ma <= 3.0e38f && mb <= 3.0e38f)) {
			*dst = (struct cpu_group){.d = {NAN, NAN}, .s = NAN, .s_half = {NAN, NAN}};
			continue;
		}
		if (!halves)
			ma = mb = ma > mb ? ma : mb;
		dst->d[0] = scale_of(ma, &ia);
		dst->d[1] = scale_of(mb, &ib);
		qa = vi_round(vf_mul(a, vf_set1(ia)));
		qb = vi_round(vf_mul(b, vf_set1(ib)));
		sa = vi_sum(qa);
		sb = vi_sum(qb);
		vi_store_i8(dst->q, qa);
		vi_store_i8(dst->q + 16, qb);
		dst->c_half[0] = -128 * sa;
		dst->c_half[1] = -128 * sb;
		dst->c = -128 * (sa + sb);
		dst->s_half[0] = dst->d[0] * (float)sa;
		dst->s_half[1] = dst->d[1] * (float)sb;
		dst->s = halves ? dst->s_half[0] + dst->s_half[1] : dst->d[0] * (float)(sa + sb);
	}
}

static void quantise(const float *x, size_t cols, struct cpu_group *dst)
{
	quantise_groups(x, cols, dst, false);
}

static void quantise_halves(const float *x, size_t cols, struct cpu_group *dst)
{
	quantise_groups(x, cols, dst, true);
}

static void to_bf16(const float *x, size_t cols, uint16_t *dst)
{
	size_t i = 0;

	for (; i + 16 <= cols; i += 16)
		vf_store_bf16(dst + i, vf_load(x + i));
	if (i < cols) {
		uint16_t rest[16];

		vf_store_bf16(rest, vf_load_n(x + i, (unsigned)(cols - i)));
		memcpy(dst + i, rest, (cols - i + 1) / 2 * 2 * sizeof(*rest));
	}
}

static void codes_to_bf16(const int8_t *codes, const uint16_t *scales, size_t n, uint16_t *dst)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		vf_store_bf16(dst + i,
			      vf_mul(vf_i8(codes + i), vf_set1(mdl_bf16_f32(scales[i / 32]))));
	if (i < n) {
		int8_t rest[16] = {0};
		uint16_t out[16];

		memcpy(rest, codes + i, n - i);
		vf_store_bf16(out, vf_mul(vf_i8(rest), vf_set1(mdl_bf16_f32(scales[i / 32]))));
		memcpy(dst + i, out, (n - i) * sizeof(*out));
	}
}

static void norm(const float *x, const float *w, size_t n, float eps, float *y)
{
	vf squares = vf_zero();
	size_t i = 0;
	float scale;

	for (; i < n; i += 16) {
		vf v = vf_load_n(x + i, n - i < 16 ? (unsigned)(n - i) : 16);

		squares = vf_fma(v, v, squares);
	}
	scale = 1.0f / sqrtf(fold(squares) / (float)n + eps);
	for (i = 0; i < n; i += 16) {
		unsigned k = n - i < 16 ? (unsigned)(n - i) : 16;

		vf_store_n(y + i,
			   vf_mul(vf_mul(vf_load_n(x + i, k), vf_set1(scale)), vf_load_n(w + i, k)),
			   k);
	}
}

static void silu_mul(float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		unsigned k = n - i < 16 ? (unsigned)(n - i) : 16;
		vf g = vf_load_n(gate + i, k);
		vf e = vf_exp(vf_sub(vf_zero(), g));

		g = vf_div(g, vf_add(vf_set1(1), e));
		vf_store_n(gate + i, vf_mul(g, vf_load_n(up + i, k)), k);
	}
}

static void add_scaled(float *y, const float *x, float share, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		unsigned k = n - i < 16 ? (unsigned)(n - i) : 16;

		vf_store_n(y + i, vf_fma(vf_load_n(x + i, k), vf_set1(share), vf_load_n(y + i, k)),
			   k);
	}
}

/* x - x is 0 for finite numbers and NaN for all others. */
static bool all_finite(const float *x, size_t n)
{
	vf off = vf_zero();

	for (size_t i = 0; i < n; i += 16) {
		vf v = vf_load_n(x + i, n - i < 16 ? (unsigned)(n - i) : 16);

		off = vf_add(off, vf_sub(v, v));
	}
	return fold(off) == 0;
}

static void zip(const uint16_t *a, const uint16_t *b, size_t n, uint16_t *out)
{
	size_t i = 0;

	for (; i + VEC_ZIP <= n; i += VEC_ZIP)
		vb_zip(a + i, b + i, out + 2 * i);
	for (; i < n; i++) {
		out[2 * i] = a[i];
		out[2 * i + 1] = b[i];
	}
}

static void untangle(const float *u, const float *l, size_t n, float *out, size_t ld,
		     unsigned lanes)
{
	for (unsigned lane = 0; lane < lanes; lane++) {
		float share = 1.0f / l[lane];

		for (size_t i = 0; i < n; i++)
			out[lane * ld + i] = u[i * 16 + lane] * share;
	}
}
