/*
 * Attention of 16 queries, as lanes, over a chunk of keys; a part of kernels.h. Formulas: scores
 * scale q k, weights e^(score - m) with m the largest, u = sum of weights v, l = sum of weights. The
 * parts of several chunks join exactly as if m had been known: merge.
 */

/* scores [n][16] := masked and scaled; m, l of them; scores := weights. */
INLINE void softmax_part(const struct cpu_attend *a, const bool rounded)
{
	vf most = vf_set1(-INFINITY), sum = vf_zero(), base;

	for (uint32_t i = 0; i < a->n; i++) {
		vf s = vf_mul(vf_load(a->scores + i * 16), vf_set1(a->scale));

		s = vf_mask_from(s, (int32_t)i, a->limit);
		vf_store(a->scores + i * 16, s);
		most = vf_max(most, s);
	}
	vf_store(a->m, most);
	/* A lane that sees none of these keys: weights of 0 whatever the base. */
	base = vf_max(most, vf_set1(-1e30f));
	for (uint32_t i = 0; i < a->n; i++) {
		vf s = vf_load(a->scores + i * 16);
		vf e = vf_exp(vf_sub(s, base));

		e = vf_mask_from(e, (int32_t)i, a->limit);
		e = vf_max(vf_zero(), e); /* keeps NaN */
		if (rounded)
			e = vf_bf16(e);
		vf_store(a->scores + i * 16, e);
		sum = vf_add(sum, e);
	}
	vf_store(a->l, sum);
}

/* Values [d, d + n) of all queries: weights in pairs of bfloat16 times pairs of keys. */
INLINE void weigh_values(const struct cpu_attend *a, uint32_t pairs, uint32_t d, const int n)
{
	const byte *x = (const byte *)a->v + (size_t)d * 4;
	vf out[VALUES];

	UNROLL
	for (int i = 0; i < n; i++)
		out[i] = vf_zero();
	for (uint32_t p = 0; p < pairs; p++, x += (size_t)a->dv * 4) {
		vb w = vb_load(a->scores + p * 16);

		UNROLL
		for (int i = 0; i < n; i++)
			out[i] = vf_dot2(out[i], w, dword_at(x + 4 * i));
	}
	UNROLL
	for (int i = 0; i < n; i++)
		vf_store(a->u + (d + i) * 16, out[i]);
}

static void attend_bf16(const struct cpu_attend *a)
{
	uint32_t pairs = (a->n + 1) / 2, k = 0, d = 0;
	vf out[DOT_ROWS];

	for (; k + DOT_ROWS <= a->n; k += DOT_ROWS) {
		bf16_tile(a->q, (a->width + 1) / 2, a->k + k, DOT_ROWS, out);
		UNROLL
		for (int r = 0; r < DOT_ROWS; r++)
			vf_store(a->scores + (k + r) * 16, out[r]);
	}
	for (; k < a->n; k++) {
		bf16_tile(a->q, (a->width + 1) / 2, a->k + k, 1, out);
		vf_store(a->scores + k * 16, out[0]);
	}
	softmax_part(a, true);
	if (a->n & 1)
		vf_store(a->scores + a->n * 16, vf_zero());
	for (uint32_t p = 0; p < pairs; p++)
		vb_store(a->scores + p * 16, vb_bf16_pair(vf_load(a->scores + p * 32),
							  vf_load(a->scores + p * 32 + 16)));
	for (; d + VALUES <= a->dv; d += VALUES)
		weigh_values(a, pairs, d, VALUES);
	for (; d < a->dv; d++)
		weigh_values(a, pairs, d, 1);
}

/* Values [d, d + n) of all queries. */
INLINE void weigh_floats(const struct cpu_attend *a, uint32_t d, const int n)
{
	const float *v = (const float *)a->v + d;
	vf out[VALUES];

	UNROLL
	for (int i = 0; i < n; i++)
		out[i] = vf_zero();
	for (uint32_t k = 0; k < a->n; k++, v += a->dv) {
		vf w = vf_load(a->scores + k * 16);

		UNROLL
		for (int i = 0; i < n; i++)
			out[i] = vf_fma(w, vf_set1(v[i]), out[i]);
	}
	UNROLL
	for (int i = 0; i < n; i++)
		vf_store(a->u + (d + i) * 16, out[i]);
}

static void attend_f32(const struct cpu_attend *a)
{
	vf out[FLOAT_ROWS];
	uint32_t k = 0, d = 0;

	for (; k + FLOAT_ROWS <= a->n; k += FLOAT_ROWS) {
		float_tile(a->q, a->width, false, a->k + k, FLOAT_ROWS, out);
		UNROLL
		for (int r = 0; r < FLOAT_ROWS; r++)
			vf_store(a->scores + (k + r) * 16, out[r]);
	}
	for (; k < a->n; k++) {
		float_tile(a->q, a->width, false, a->k + k, 1, out);
		vf_store(a->scores + k * 16, out[0]);
	}
	softmax_part(a, false);
	for (; d + VALUES <= a->dv; d += VALUES)
		weigh_floats(a, d, VALUES);
	for (; d < a->dv; d++)
		weigh_floats(a, d, 1);
}

static void merge(float *m, float *l, float *u, const float *pm, const float *pl, const float *pu,
		  uint32_t dv)
{
	vf a = vf_load(m), b = vf_load(pm), most = vf_max(a, b);
	vf fa = vf_exp(vf_sub(a, most)), fb = vf_exp(vf_sub(b, most));

	vf_store(m, most);
	vf_store(l, vf_fma(vf_load(pl), fb, vf_mul(vf_load(l), fa)));
	for (uint32_t d = 0; d < dv; d++)
		vf_store(u + d * 16,
			 vf_fma(vf_load(pu + d * 16), fb, vf_mul(vf_load(u + d * 16), fa)));
}
