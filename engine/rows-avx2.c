/*
 * The row loops for AVX2: sixteen lanes are two registers.
 */
#include "engine/rows.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ROWS_FN static inline __attribute__((target("avx2")))
#define OP	static inline __attribute__((always_inline, target("avx2")))

typedef struct {
	__m256 lo, hi;
} v16;
typedef v16 m16;

#define EACH(op, a, b)                                                                             \
	(v16)                                                                                      \
	{                                                                                          \
		op((a).lo, (b).lo), op((a).hi, (b).hi)                                             \
	}
#define COMPARE(a, b, how)                                                                         \
	(m16)                                                                                      \
	{                                                                                          \
		_mm256_cmp_ps((a).lo, (b).lo, how), _mm256_cmp_ps((a).hi, (b).hi, how)             \
	}

OP v16 v_load(const float *p)
{
	return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

OP void v_store(float *p, v16 v)
{
	_mm256_storeu_ps(p, v.lo);
	_mm256_storeu_ps(p + 8, v.hi);
}

OP v16 v_set(float f)
{
	return (v16){_mm256_set1_ps(f), _mm256_set1_ps(f)};
}

OP v16 v_add(v16 a, v16 b)
{
	return EACH(_mm256_add_ps, a, b);
}

OP v16 v_sub(v16 a, v16 b)
{
	return EACH(_mm256_sub_ps, a, b);
}

OP v16 v_mul(v16 a, v16 b)
{
	return EACH(_mm256_mul_ps, a, b);
}

OP v16 v_max(v16 a, v16 b)
{
	return EACH(_mm256_max_ps, a, b);
}

OP __m256 raise_half(__m256 p, __m256 t)
{
	__m256i up = _mm256_slli_epi32(_mm256_castps_si256(t), 23);

	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), up));
}

OP v16 v_raise(v16 p, v16 t)
{
	return EACH(raise_half, p, t);
}

OP m16 v_ge(v16 a, v16 b)
{
	return COMPARE(a, b, _CMP_GE_OQ);
}

OP m16 v_gt(v16 a, v16 b)
{
	return COMPARE(a, b, _CMP_GT_OQ);
}

OP m16 v_lt(v16 a, v16 b)
{
	return COMPARE(a, b, _CMP_LT_OQ);
}

OP m16 v_unordered(v16 a, v16 b)
{
	return COMPARE(a, b, _CMP_UNORD_Q);
}

OP m16 m_none(void)
{
	return (m16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

OP m16 m_and(m16 a, m16 b)
{
	return EACH(_mm256_and_ps, a, b);
}

OP m16 m_or(m16 a, m16 b)
{
	return EACH(_mm256_or_ps, a, b);
}

OP unsigned m_bits(m16 m)
{
	return (unsigned)_mm256_movemask_ps(m.lo) | (unsigned)_mm256_movemask_ps(m.hi) << 8;
}

OP bool m_any(m16 m)
{
	return m_bits(m) != 0;
}

OP v16 v_add_if(m16 m, v16 a, v16 b)
{
	return v_add(a, m_and(m, b));
}

OP void v_quarter(v16 v, float *out)
{
	__m256 pairs = _mm256_add_ps(v.lo, v.hi);

	_mm_storeu_ps(out,
		      _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

OP size_t v_list(m16 m, v16 v, uint32_t base, uint32_t *ids, float *values)
{
	float lanes[ENG_ROW_LANES];
	size_t n = 0;

	v_store(lanes, v);
	for (unsigned bits = m_bits(m); bits; bits &= bits - 1) {
		unsigned l = (unsigned)__builtin_ctz(bits);

		ids[n] = base + l;
		values[n++] = lanes[l];
	}
	return n;
}

#include "engine/rows-body.h"

const struct eng_rows eng_rows_avx2 = ROWS_TABLE("avx2");
#endif
