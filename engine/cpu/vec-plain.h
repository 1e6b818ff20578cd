/*
 * The kernels' vectors in plain C, for any processor, and as the other tables' reference. The
 * meaning of each function stands in vec-avx512.h.
 */
#ifndef LT_ENGINE_CPU_VEC_H
#define LT_ENGINE_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model/tensor.h"

#define INT_ROWS   1 /* of the largest tile of integer products */
#define FLOAT_ROWS 1 /* of float products */
#define DOT_ROWS   1 /* of products of bfloat16 */
#define VALUES	   1 /* of attention at once */
#define VEC	   static inline

typedef struct {
	float f[16];
} vf;
typedef struct {
	int32_t i[16];
} vi;
typedef struct {
	uint8_t b[64];
} vb;

#define EACH(i) for (int i = 0; i < 16; i++)

VEC int32_t dword_at(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- bytes ---- */
VEC vb vb_load(const void *p)
{
	vb v;

	memcpy(&v, p, sizeof(v));
	return v;
}
VEC void vb_store(void *p, vb v)
{
	memcpy(p, &v, sizeof(v));
}
VEC int byte_shift(int v, int right)
{
	return right >= 0 ? v >> right : v << -right;
}
VEC vb vb_bits(vb v, int right, int mask)
{
	for (int i = 0; i < 64; i++)
		v.b[i] = (uint8_t)(byte_shift(v.b[i], right) & mask);
	return v;
}
VEC vb vb_join(vb a, vb v, int right, int mask)
{
	for (int i = 0; i < 64; i++)
		a.b[i] |= (uint8_t)(byte_shift(v.b[i], right) & mask);
	return a;
}
VEC vb vb_map(vb v, const uint8_t *table)
{
	for (int i = 0; i < 64; i++)
		v.b[i] = table[v.b[i] & 15];
	return v;
}

/* ---- integers ---- */
VEC vi vi_set1(int32_t v)
{
	vi r;

	EACH(i) r.i[i] = v;
	return r;
}
VEC vi vi_sra(vi v, int n)
{
	EACH(i) v.i[i] >>= n;
	return v;
}
VEC vi vi_dot(vi acc, vb w, const int8_t *x)
{
	EACH(i)
	acc.i[i] += w.b[4 * i] * x[0] + w.b[4 * i + 1] * x[1] + w.b[4 * i + 2] * x[2] +
		    w.b[4 * i + 3] * x[3];
	return acc;
}

/* ---- floats ---- */
VEC vf vf_set1(float v)
{
	vf r;

	EACH(i) r.f[i] = v;
	return r;
}
VEC vf vf_zero(void)
{
	return vf_set1(0);
}
VEC vf vf_load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof(v));
	return v;
}
VEC void vf_store(float *p, vf v)
{
	memcpy(p, &v, sizeof(v));
}
VEC vf vf_load_n(const float *p, unsigned n)
{
	vf v = vf_zero();

	memcpy(&v, p, (n < 16 ? n : 16) * sizeof(float));
	return v;
}
VEC void vf_store_n(float *p, vf v, unsigned n)
{
	memcpy(p, &v, (n < 16 ? n : 16) * sizeof(float));
}
VEC vf vf_of(vi v)
{
	vf r;

	EACH(i) r.f[i] = (float)v.i[i];
	return r;
}
#define VEC_OP(name, expr)                                                                         \
	VEC vf name(vf a, vf b)                                                                    \
	{                                                                                          \
		EACH(i) a.f[i] = (expr);                                                           \
		return a;                                                                          \
	}
VEC_OP(vf_add, a.f[i] + b.f[i])
VEC_OP(vf_sub, a.f[i] - b.f[i])
VEC_OP(vf_mul, a.f[i] * b.f[i])
VEC_OP(vf_div, a.f[i] / b.f[i])
VEC_OP(vf_max, a.f[i] > b.f[i] ? a.f[i] : b.f[i])
VEC_OP(vf_min, a.f[i] < b.f[i] ? a.f[i] : b.f[i])
#undef VEC_OP
VEC vf vf_abs(vf a)
{
	EACH(i) a.f[i] = fabsf(a.f[i]);
	return a;
}
/* Rounds twice: a fused one in software would cost a hundredfold. */
VEC vf vf_fma(vf a, vf b, vf c)
{
	EACH(i) a.f[i] = a.f[i] * b.f[i] + c.f[i];
	return a;
}
VEC float vf_max_lane(vf a)
{
	int32_t lane[16], most = 0;
	float m;

	memcpy(lane, &a, sizeof(lane));
	EACH(i) most = lane[i] > most ? lane[i] : most;
	memcpy(&m, &most, sizeof(m));
	return m;
}
VEC vf vf_half(const void *p)
{
	uint16_t h[16];
	vf v;

	memcpy(h, p, sizeof(h));
	EACH(i) v.f[i] = mdl_f16_f32(h[i]);
	return v;
}
VEC vf vf_u8(const void *p)
{
	const uint8_t *b = p;
	vf v;

	EACH(i) v.f[i] = b[i];
	return v;
}
VEC vf vf_i8(const void *p)
{
	const int8_t *b = p;
	vf v;

	EACH(i) v.f[i] = b[i];
	return v;
}
VEC vi vi_round(vf a)
{
	vi r;

	EACH(i) r.i[i] = (int32_t)lrintf(a.f[i]);
	return r;
}
VEC vf vf_round(vf a)
{
	EACH(i) a.f[i] = rintf(a.f[i]);
	return a;
}
VEC vf vf_scale2(vf a, vf n)
{
	EACH(i)
	{
		uint32_t u = (uint32_t)((int32_t)n.f[i] + 127) << 23;
		float s;

		memcpy(&s, &u, sizeof(s));
		a.f[i] *= s;
	}
	return a;
}
VEC void vi_store_i8(int8_t *p, vi v)
{
	EACH(i) p[i] = (int8_t)v.i[i];
}
VEC int32_t vi_sum(vi v)
{
	int32_t s = 0;

	EACH(i) s += v.i[i];
	return s;
}
VEC vf vf_mask_from(vf a, int32_t at, const int32_t *limit)
{
	EACH(i) a.f[i] = at >= limit[i] ? -INFINITY : a.f[i];
	return a;
}

/* ---- bfloat16 ---- */
VEC vf vf_bf16(vf a)
{
	EACH(i) a.f[i] = mdl_bf16_f32(mdl_f32_bf16(a.f[i]));
	return a;
}
VEC vb vb_bf16_pair(vf first, vf second)
{
	vb v;

	EACH(i)
	{
		uint16_t two[2] = {mdl_f32_bf16(first.f[i]), mdl_f32_bf16(second.f[i])};

		memcpy(v.b + 4 * i, two, 4);
	}
	return v;
}
VEC void vf_store_bf16(uint16_t *p, vf a)
{
	EACH(i) p[i] = mdl_f32_bf16(a.f[i]);
}
VEC vf vf_first(vb w)
{
	uint16_t b[32];
	vf v;

	memcpy(b, &w, sizeof(b));
	EACH(i) v.f[i] = mdl_bf16_f32(b[2 * i]);
	return v;
}
VEC vf vf_second(vb w)
{
	uint16_t b[32];
	vf v;

	memcpy(b, &w, sizeof(b));
	EACH(i) v.f[i] = mdl_bf16_f32(b[2 * i + 1]);
	return v;
}
VEC vf vf_dot2(vf acc, vb w, int32_t x)
{
	uint16_t a[2], b[32];

	memcpy(a, &x, sizeof(a));
	memcpy(b, &w, sizeof(b));
	EACH(i)
	{
		float high = mdl_bf16_f32(b[2 * i + 1]) * mdl_bf16_f32(a[1]);

		acc.f[i] = acc.f[i] + high + mdl_bf16_f32(b[2 * i]) * mdl_bf16_f32(a[0]);
	}
	return acc;
}
VEC vb vb_f8(const void *p)
{
	const uint8_t *b = p;
	uint16_t h[32];
	vb v;

	for (int i = 0; i < 32; i++)
		h[i] = mdl_f32_bf16(mdl_f8e4m3_f32(b[i]));
	memcpy(&v, h, sizeof(v));
	return v;
}
VEC void vb_zip(const uint16_t *a, const uint16_t *b, uint16_t *out)
{
	for (int i = 0; i < 32; i++) {
		out[2 * i] = a[i];
		out[2 * i + 1] = b[i];
	}
}
#define VEC_ZIP 32u

#endif
