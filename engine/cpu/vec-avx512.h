/*
 * The kernels' vectors in AVX-512 (F, BW, DQ, VL, VNNI; BF16 where the compiler was told so). A vf or
 * vi is 16 lanes of 32 bits, a vb the 64 bytes of the same lanes.
 */
#ifndef LT_ENGINE_CPU_VEC_H
#define LT_ENGINE_CPU_VEC_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef __m512 vf;
typedef __m512i vi, vb;

#define INT_ROWS   16 /* sums of the largest tile of integer products: rows, or rows x panels */
#define FLOAT_ROWS 8  /* of float products, with two sums a row */
#define DOT_ROWS   8  /* of products of bfloat16, the same */
#define VALUES	   8  /* of attention at once, one sum each */
#define VEC	   static inline __attribute__((always_inline))

VEC int32_t dword_at(const void *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- bytes ---- */
VEC vb vb_load(const void *p)
{
	return _mm512_loadu_si512(p);
}
VEC void vb_store(void *p, vb v)
{
	_mm512_storeu_si512(p, v);
}
VEC vb vb_shift(vb v, int right)
{
	return right > 0   ? _mm512_srli_epi16(v, (unsigned)right)
	       : right < 0 ? _mm512_slli_epi16(v, (unsigned)-right)
			   : v;
}
/* (v >> right) & mask, byte by byte */
VEC vb vb_bits(vb v, int right, int mask)
{
	return _mm512_and_si512(vb_shift(v, right), _mm512_set1_epi8((char)mask));
}
/* a | ((v >> right) & mask) */
VEC vb vb_join(vb a, vb v, int right, int mask)
{
	return _mm512_ternarylogic_epi32(a, vb_shift(v, right), _mm512_set1_epi8((char)mask), 0xf8);
}
/* table[v] for nibbles v */
VEC vb vb_map(vb v, const uint8_t *table)
{
	return _mm512_shuffle_epi8(
		_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table)), v);
}

/* ---- integers ---- */
VEC vi vi_set1(int32_t v)
{
	return _mm512_set1_epi32(v);
}
VEC vi vi_sra(vi v, int n)
{
	return _mm512_srai_epi32(v, (unsigned)n);
}
/* acc + the four products of unsigned bytes of w with the signed bytes at x, lane by lane */
VEC vi vi_dot(vi acc, vb w, const int8_t *x)
{
	return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(dword_at(x)));
}

/* ---- floats ---- */
VEC vf vf_zero(void)
{
	return _mm512_setzero_ps();
}
VEC vf vf_set1(float v)
{
	return _mm512_set1_ps(v);
}
VEC vf vf_load(const float *p)
{
	return _mm512_loadu_ps(p);
}
VEC void vf_store(float *p, vf v)
{
	_mm512_storeu_ps(p, v);
}
VEC vf vf_load_n(const float *p, unsigned n)
{
	return n >= 16 ? vf_load(p) : _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
VEC void vf_store_n(float *p, vf v, unsigned n)
{
	if (n >= 16)
		vf_store(p, v);
	else
		_mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}
VEC vf vf_of(vi v)
{
	return _mm512_cvtepi32_ps(v);
}
VEC vf vf_add(vf a, vf b)
{
	return _mm512_add_ps(a, b);
}
VEC vf vf_sub(vf a, vf b)
{
	return _mm512_sub_ps(a, b);
}
VEC vf vf_mul(vf a, vf b)
{
	return _mm512_mul_ps(a, b);
}
VEC vf vf_div(vf a, vf b)
{
	return _mm512_div_ps(a, b);
}
VEC vf vf_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}
VEC vf vf_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}
VEC vf vf_abs(vf a)
{
	return _mm512_abs_ps(a);
}
VEC vf vf_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
} /* a b + c */
/* The largest of lanes none of which is negative; NaN if one is: as integers they have the same order,
 * and NaN comes last. */
VEC float vf_max_lane(vf a)
{
	int32_t most = _mm512_reduce_max_epi32(_mm512_castps_si512(a));
	float f;

	memcpy(&f, &most, sizeof(f));
	return f;
}
VEC vf vf_half(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
VEC vf vf_u8(const void *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
VEC vf vf_i8(const void *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
VEC vi vi_round(vf a)
{
	return _mm512_cvtps_epi32(a);
} /* to nearest even */
VEC vf vf_round(vf a)
{
	return _mm512_roundscale_ps(a, 0);
}
/* a 2^n for whole n in [-126, 127] */
VEC vf vf_scale2(vf a, vf n)
{
	return _mm512_scalef_ps(a, n);
}
/* The low bytes of 16 lanes within [-128, 127]. */
VEC void vi_store_i8(int8_t *p, vi v)
{
	_mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}
VEC int32_t vi_sum(vi v)
{
	return _mm512_reduce_add_epi32(v);
}
/* Lanes i with at + i >= limit[i] become -inf. */
VEC vf vf_mask_from(vf a, int32_t at, const int32_t *limit)
{
	__mmask16 hide = _mm512_cmple_epi32_mask(_mm512_loadu_si512(limit), _mm512_set1_epi32(at));

	return _mm512_mask_blend_ps(hide, a, _mm512_set1_ps(-INFINITY));
}

/* ---- bfloat16: a lane's 32 bits are two values, the first in the low half ---- */
VEC vi vi_bf16_bits(vf a) /* rounded to nearest even, in the high half; NaN stays NaN */
{
	vi u = _mm512_castps_si512(a);
	vi odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));

	u = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	u = _mm512_and_si512(u, _mm512_set1_epi32((int32_t)0xffff0000));
	return _mm512_mask_or_epi32(u, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), u,
				    _mm512_set1_epi32(0x7fc00000));
}
VEC vf vf_bf16(vf a)
{
	return _mm512_castsi512_ps(vi_bf16_bits(a));
}
VEC vb vb_bf16_pair(vf first, vf second)
{
	return _mm512_or_si512(_mm512_srli_epi32(vi_bf16_bits(first), 16), vi_bf16_bits(second));
}
VEC void vf_store_bf16(uint16_t *p, vf a)
{
	_mm256_storeu_si256((__m256i *)(void *)p,
			    _mm512_cvtepi32_epi16(_mm512_srli_epi32(vi_bf16_bits(a), 16)));
}
VEC vf vf_first(vb w)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
VEC vf vf_second(vb w)
{
	return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int32_t)0xffff0000)));
}
/* acc + both products of w's pair with the pair x, lane by lane */
VEC vf vf_dot2(vf acc, vb w, int32_t x)
{
#ifdef __AVX512BF16__
	return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)_mm512_set1_epi32(x));
#else
	vi high = _mm512_set1_epi32((int32_t)0xffff0000);
	vi b = _mm512_set1_epi32(x);

	acc = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(w, high)),
			      _mm512_castsi512_ps(_mm512_and_si512(b, high)), acc);
	return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(w, 16)),
			       _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), acc);
#endif
}
/* 32 E4M3 bytes to bfloat16, exactly: normal numbers by moving the fields, the eight smallest through
 * a table (multiples of 2^-9). */
VEC vb vb_f8(const void *p)
{
	const vi tiny = _mm512_broadcast_i32x4(
		_mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));
	vi b = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
	vi sign = _mm512_slli_epi16(_mm512_and_si512(b, _mm512_set1_epi16(0x80)), 8);
	vi body =
		_mm512_add_epi16(_mm512_slli_epi16(_mm512_and_si512(b, _mm512_set1_epi16(0x7f)), 4),
				 _mm512_set1_epi16(120 << 7));
	__mmask32 small = _mm512_testn_epi16_mask(b, _mm512_set1_epi16(0x78));

	body = _mm512_mask_permutexvar_epi16(body, small, _mm512_and_si512(b, _mm512_set1_epi16(7)),
					     tiny);
	return _mm512_or_si512(sign, body);
}
/* Two rows of 16 * 2 bfloat16 to pairs: out[i] = (a[i], b[i]) for 32 values. */
VEC void vb_zip(const uint16_t *a, const uint16_t *b, uint16_t *out)
{
	const vi low = _mm512_setr_epi32(0x00200000, 0x00210001, 0x00220002, 0x00230003, 0x00240004,
					 0x00250005, 0x00260006, 0x00270007, 0x00280008, 0x00290009,
					 0x002a000a, 0x002b000b, 0x002c000c, 0x002d000d, 0x002e000e,
					 0x002f000f);
	vi x = vb_load(a), y = vb_load(b);

	vb_store(out, _mm512_permutex2var_epi16(x, low, y));
	vb_store(out + 32,
		 _mm512_permutex2var_epi16(x, _mm512_add_epi16(low, _mm512_set1_epi16(16)), y));
}
#define VEC_ZIP 32u

#endif
