/*
 * The kernels' vectors in AVX2 with FMA and F16C: each is two registers. The meaning of each function
 * stands in vec-avx512.h.
 */
#ifndef LT_ENGINE_CPU_VEC_H
#define LT_ENGINE_CPU_VEC_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	__m256 a, b;
} vf;
typedef struct {
	__m256i a, b;
} vi;
typedef vi vb, vs;

#define VEC_NARROW   /* no VNNI: kernels-narrow.h has the integer products */
#define FLOAT_ROWS 3 /* of the largest tile of float products, with two sums a row */
#define DOT_ROWS   2 /* and where pairs of bfloat16 have to be taken apart */
#define VALUES	   4 /* of attention at once, one sum each */
#define VEC	   static inline __attribute__((always_inline))

VEC int32_t dword_at(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}
VEC __m256i load256(const void *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}
VEC void store256(void *p, __m256i v)
{
	_mm256_storeu_si256((__m256i *)p, v);
}

/* ---- bytes ---- */
VEC vb vb_load(const void *p)
{
	return (vb){load256(p), load256((const char *)p + 32)};
}
VEC void vb_store(void *p, vb v)
{
	store256(p, v.a);
	store256((char *)p + 32, v.b);
}
VEC __m256i shift256(__m256i v, int right)
{
	return right > 0   ? _mm256_srli_epi16(v, right)
	       : right < 0 ? _mm256_slli_epi16(v, -right)
			   : v;
}
VEC vb vb_bits(vb v, int right, int mask)
{
	__m256i m = _mm256_set1_epi8((char)mask);

	return (vb){_mm256_and_si256(shift256(v.a, right), m),
		    _mm256_and_si256(shift256(v.b, right), m)};
}
VEC vb vb_join(vb x, vb v, int right, int mask)
{
	vb y = vb_bits(v, right, mask);

	return (vb){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
VEC vb vb_map(vb v, const uint8_t *table)
{
	__m256i t =
		_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));

	return (vb){_mm256_shuffle_epi8(t, v.a), _mm256_shuffle_epi8(t, v.b)};
}

/* ---- integers ---- */
VEC vi vi_set1(int32_t v)
{
	return (vi){_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}
VEC vi vi_sra(vi v, int n)
{
	return (vi){_mm256_srai_epi32(v.a, n), _mm256_srai_epi32(v.b, n)};
}
VEC vi vi_add(vi x, vi y)
{
	return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

/* ---- sums of 16 bits: two a lane, see kernels-narrow.h ---- */
/* The products of unsigned bytes of w with the signed bytes at x, neighbours added (and saturated). */
VEC vs vs_dot(vb w, const int8_t *x)
{
	__m256i v = _mm256_set1_epi32(dword_at(x));

	return (vs){_mm256_maddubs_epi16(w.a, v), _mm256_maddubs_epi16(w.b, v)};
}
/* Compilers like to add integers up as a tree; but sixteen registers don't hold its leaves. */
VEC vs vs_add(vs x, vs y)
{
	vs s = {_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)};

	__asm__("" : "+x"(s.a), "+x"(s.b));
	return s;
}
/* Each lane's two sums, added and times `times`. */
VEC vi vs_pairs(vs x, int16_t times)
{
	__m256i t = _mm256_set1_epi16(times);

	return (vi){_mm256_madd_epi16(x.a, t), _mm256_madd_epi16(x.b, t)};
}
/* q[i] = 16 high[i] + low[i] for 32 bytes, both digits in -8..8. */
VEC void split_digits(const int8_t *q, int8_t *high, int8_t *low)
{
	const __m256i eight = _mm256_set1_epi8(8), nibble = _mm256_set1_epi8(15);
	__m256i v = load256(q);
	__m256i half = _mm256_avg_epu8(_mm256_xor_si256(v, _mm256_set1_epi8((char)0x80)),
				       _mm256_set1_epi8(7)); /* (q + 128 + 8) / 2 */
	__m256i up = _mm256_and_si256(_mm256_srli_epi16(half, 3), _mm256_set1_epi8(31));

	store256(high, _mm256_sub_epi8(up, eight));
	store256(low, _mm256_sub_epi8(_mm256_and_si256(_mm256_add_epi8(v, eight), nibble), eight));
}

/* ---- floats ---- */
VEC vf vf_set1(float v)
{
	return (vf){_mm256_set1_ps(v), _mm256_set1_ps(v)};
}
VEC vf vf_zero(void)
{
	return vf_set1(0);
}
VEC vf vf_load(const float *p)
{
	return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
VEC void vf_store(float *p, vf v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}
VEC vf vf_load_n(const float *p, unsigned n)
{
	float t[16] = {0};

	if (n >= 16)
		return vf_load(p);
	memcpy(t, p, n * sizeof(float));
	return vf_load(t);
}
VEC void vf_store_n(float *p, vf v, unsigned n)
{
	float t[16];

	if (n >= 16) {
		vf_store(p, v);
		return;
	}
	vf_store(t, v);
	memcpy(p, t, n * sizeof(float));
}
VEC vf vf_of(vi v)
{
	return (vf){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)};
}
#define VEC_OP(name, fn)                                                                           \
	VEC vf name(vf x, vf y)                                                                    \
	{                                                                                          \
		return (vf){fn(x.a, y.a), fn(x.b, y.b)};                                           \
	}
VEC_OP(vf_add, _mm256_add_ps)
VEC_OP(vf_sub, _mm256_sub_ps)
VEC_OP(vf_mul, _mm256_mul_ps)
VEC_OP(vf_div, _mm256_div_ps)
VEC_OP(vf_max, _mm256_max_ps)
VEC_OP(vf_min, _mm256_min_ps)
#undef VEC_OP
VEC vf vf_abs(vf x)
{
	__m256 s = _mm256_set1_ps(-0.0f);

	return (vf){_mm256_andnot_ps(s, x.a), _mm256_andnot_ps(s, x.b)};
}
VEC vf vf_fma(vf x, vf y, vf z)
{
	return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
VEC float vf_max_lane(vf x)
{
	__m256i m = _mm256_max_epi32(_mm256_castps_si256(x.a), _mm256_castps_si256(x.b));
	__m128i h = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));

	h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
	return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1))));
}
VEC __m128i load128(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}
VEC vf vf_half(const void *p)
{
	return (vf){_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128((const char *)p + 16))};
}
VEC vf vf_u8(const void *p)
{
	__m128i v = load128(p);

	return (vf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
		    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)))};
}
VEC vf vf_i8(const void *p)
{
	__m128i v = load128(p);

	return (vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
		    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)))};
}
VEC vi vi_round(vf x)
{
	return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
VEC vf vf_round(vf x)
{
	return (vf){_mm256_round_ps(x.a, 0), _mm256_round_ps(x.b, 0)};
}
VEC __m256 power256(__m256 n)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(
		_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
VEC vf vf_scale2(vf x, vf n)
{
	return (vf){_mm256_mul_ps(x.a, power256(n.a)), _mm256_mul_ps(x.b, power256(n.b))};
}
VEC void vi_store_i8(int8_t *p, vi v)
{
	__m256i w = _mm256_packs_epi32(v.a, v.b); /* 0-3 8-11 | 4-7 12-15 */
	__m128i lo, hi;

	w = _mm256_permute4x64_epi64(w, 0xd8);
	lo = _mm256_castsi256_si128(w);
	hi = _mm256_extracti128_si256(w, 1);
	_mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi16(lo, hi));
}
VEC int32_t vi_sum(vi v)
{
	__m256i s = _mm256_add_epi32(v.a, v.b);
	__m128i h = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));

	h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}
VEC __m256 mask256(__m256 x, __m256i at, const int32_t *limit)
{
	__m256i see = _mm256_cmpgt_epi32(load256(limit), at);

	return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, _mm256_castsi256_ps(see));
}
VEC vf vf_mask_from(vf x, int32_t at, const int32_t *limit)
{
	__m256i p = _mm256_set1_epi32(at);

	return (vf){mask256(x.a, p, limit), mask256(x.b, p, limit + 8)};
}

/* ---- bfloat16 ---- */
VEC __m256i bf16_bits256(__m256 x)
{
	__m256i u = _mm256_castps_si256(x);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
	__m256i nan = _mm256_castps_si256(
		_mm256_and_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q), _mm256_set1_ps(NAN)));

	u = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	return _mm256_or_si256(_mm256_and_si256(u, _mm256_set1_epi32((int32_t)0xffff0000)), nan);
}
VEC vf vf_bf16(vf x)
{
	return (vf){_mm256_castsi256_ps(bf16_bits256(x.a)), _mm256_castsi256_ps(bf16_bits256(x.b))};
}
VEC __m256i pair256(__m256 first, __m256 second)
{
	return _mm256_or_si256(_mm256_srli_epi32(bf16_bits256(first), 16), bf16_bits256(second));
}
VEC vb vb_bf16_pair(vf first, vf second)
{
	return (vb){pair256(first.a, second.a), pair256(first.b, second.b)};
}
VEC void vf_store_bf16(uint16_t *p, vf x)
{
	__m256i w = _mm256_packus_epi32(_mm256_srli_epi32(bf16_bits256(x.a), 16),
					_mm256_srli_epi32(bf16_bits256(x.b), 16));

	store256(p, _mm256_permute4x64_epi64(w, 0xd8));
}
VEC vf vf_first(vb w)
{
	return (vf){_mm256_castsi256_ps(_mm256_slli_epi32(w.a, 16)),
		    _mm256_castsi256_ps(_mm256_slli_epi32(w.b, 16))};
}
VEC vf vf_second(vb w)
{
	__m256i mask = _mm256_set1_epi32((int32_t)0xffff0000);

	return (vf){_mm256_castsi256_ps(_mm256_and_si256(w.a, mask)),
		    _mm256_castsi256_ps(_mm256_and_si256(w.b, mask))};
}
VEC __m256 dot2_256(__m256 acc, __m256i w, __m256 low, __m256 high)
{
	__m256i mask = _mm256_set1_epi32((int32_t)0xffff0000);

	acc = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(w, mask)), high, acc);
	return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(w, 16)), low, acc);
}
VEC vf vf_dot2(vf acc, vb w, int32_t x)
{
	__m256i v = _mm256_set1_epi32(x);
	__m256 low = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
	__m256 high =
		_mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32((int32_t)0xffff0000)));

	return (vf){dot2_256(acc.a, w.a, low, high), dot2_256(acc.b, w.b, low, high)};
}
VEC vf half256(__m256i v)
{
	return (vf){_mm256_cvtph_ps(_mm256_castsi256_si128(v)),
		    _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1))};
}
/* 16 lanes of two E4M3, times 2^-8: their bits in a float16, the exponent's bias left as it is. */
VEC void vf_f8_pair(const void *p, vf *first, vf *second)
{
	const __m256i bits = _mm256_set1_epi16((int16_t)0xbf80);
	__m256i w = load256(p);

	*first = half256(_mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 1), bits));
	*second = half256(_mm256_and_si256(_mm256_srai_epi16(w, 1), bits));
}
VEC void vb_zip(const uint16_t *x, const uint16_t *y, uint16_t *out)
{
	__m256i a = load256(x), b = load256(y);
	__m256i lo = _mm256_unpacklo_epi16(a, b), hi = _mm256_unpackhi_epi16(a, b);

	store256(out, _mm256_permute2x128_si256(lo, hi, 0x20));
	store256(out + 16, _mm256_permute2x128_si256(lo, hi, 0x31));
}
#define VEC_ZIP 16u

#endif
