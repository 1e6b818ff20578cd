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

static void attend_bf16(const struct cpu_attend *a)
{
	const byte *v = a->v;
	uint32_t pairs = (a->n + 1) / 2;
	vf out[8];

	for (uint32_t k = 0; k < a->n; k += 8) {
		int rows = a->n - k < 8 ? (int)(a->n - k) : 8;

		if (rows == 8) {
			bf16_tile(a->q, (a->width + 1) / 2, a->k + k, 8, out);
			UNROLL
			for (int r = 0; r < 8; r++)
				vf_store(a->scores + (k + r) * 16, out[r]);
		} else {
			for (int r = 0; r < rows; r++) {
				bf16_tile(a->q, (a->width + 1) / 2, a->k + k + r, 1, out);
				vf_store(a->scores + (k + r) * 16, out[0]);
			}
		}
	}
	softmax_part(a, true);
	if (a->n & 1)
		vf_store(a->scores + a->n * 16, vf_zero());
	for (uint32_t p = 0; p < pairs; p++)
		vb_store(a->scores + p * 16, vb_bf16_pair(vf_load(a->scores + p * 32),
							  vf_load(a->scores + p * 32 + 16)));
	for (uint32_t d = 0; d < a->dv; d += 8) {
		const int take = a->dv - d < 8 ? (int)(a->dv - d) : 8;

		if (take == 8) {
			UNROLL
			for (int i = 0; i < 8; i++)
				out[i] = vf_zero();
			for (uint32_t p = 0; p < pairs; p++) {
				vb w = vb_load(a->scores + p * 16);
				const byte *x = v + ((size_t)p * a->dv + d) * 4;

				UNROLL
				for (int i = 0; i < 8; i++)
					out[i] = vf_dot2(out[i], w, dword_at(x + 4 * i));
			}
			UNROLL
			for (int i = 0; i < 8; i++)
				vf_store(a->u + (d + i) * 16, out[i]);
			continue;
		}
		for (int i = 0; i < take; i++) {
			vf sum = vf_zero();

			for (uint32_t p = 0; p < pairs; p++)
				sum = vf_dot2(sum, vb_load(a->scores + p * 16),
					      dword_at(v + ((size_t)p * a->dv + d + i) * 4));
			vf_store(a->u + (d + i) * 16, sum);
		}
	}
}

static void attend_f32(const struct cpu_attend *a)
{
	const float *v = a->v; // [n][dv]
	vf out[8];

	for (uint32_t k = 0; k < a->n; k++) {
		float_tile(a->q, a->width, false, a->k + k, 1, out);
		vf_store(a->scores + k * 16, out[0]);
	}
	softmax_part(a, false);
	for (uint32_t d = 0; d < a->dv; d++) {
		vf sum = vf_zero();

		for (uint32_t k = 0; k < a->n; k++)
			sum = vf_fma(vf_load(a->scores + k * 16), vf_set1(v[(size_t)k * a->dv + d]),
				     sum);
		vf_store(a->u + d * 16, sum);
	}
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
