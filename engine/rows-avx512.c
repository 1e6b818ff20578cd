/*
 * The row loops for AVX-512 (F and DQ).
 */
#include "engine/rows.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ROWS_FN static inline __attribute__((target("avx512f,avx512dq")))
#define OP	static inline __attribute__((always_inline, target("avx512f,avx512dq")))

typedef __m512 v16;
typedef __mmask16 m16;

OP v16 v_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

OP void v_store(float *p, v16 v)
{
	_mm512_storeu_ps(p, v);
}

OP v16 v_set(float f)
{
	return _mm512_set1_ps(f);
}

OP v16 v_add(v16 a, v16 b)
{
	return _mm512_add_ps(a, b);
}

OP v16 v_sub(v16 a, v16 b)
{
	return _mm512_sub_ps(a, b);
}

OP v16 v_mul(v16 a, v16 b)
{
	return _mm512_mul_ps(a, b);
}

OP v16 v_max(v16 a, v16 b)
{
	return _mm512_max_ps(a, b);
}

OP v16 v_raise(v16 p, v16 t)
{
	__m512i up = _mm512_slli_epi32(_mm512_castps_si512(t), 23);

	return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), up));
}

OP m16 v_ge(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

OP m16 v_gt(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

OP m16 v_lt(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

OP m16 v_unordered(v16 a, v16 b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
}

OP m16 m_none(void)
{
	return 0;
}

OP m16 m_and(m16 a, m16 b)
{
	return a & b;
}

OP m16 m_or(m16 a, m16 b)
{
	return a | b;
}

OP bool m_any(m16 m)
{
	return m != 0;
}

OP v16 v_add_if(m16 m, v16 a, v16 b)
{
	return _mm512_mask_add_ps(a, m, a, b);
}

OP void v_quarter(v16 v, float *out)
{
	__m128 a = _mm_add_ps(_mm512_extractf32x4_ps(v, 0), _mm512_extractf32x4_ps(v, 2));
	__m128 b = _mm_add_ps(_mm512_extractf32x4_ps(v, 1), _mm512_extractf32x4_ps(v, 3));

	_mm_storeu_ps(out, _mm_add_ps(a, b));
}

OP size_t v_list(m16 m, v16 v, uint32_t base, uint32_t *ids, float *values)
{
	const __m512i lanes =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)base));

	_mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(m, at));
	_mm512_storeu_ps(values, _mm512_maskz_compress_ps(m, v));
	return (size_t)__builtin_popcount(m);
}

#include "engine/rows-body.h"

const struct eng_rows eng_rows_avx512 = ROWS_TABLE("avx512");
#endif
