/*
 * The row loops for any processor: sixteen lanes are four vectors of four, which every compiler
 * turns into whatever there is.
 */
#include "engine/rows.h"

#include <string.h>

#define ROWS_FN static inline
#define OP	static inline __attribute__((always_inline))

typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef struct {
	v4 p[4];
} v16;
typedef struct {
	i4 p[4];
} m16;

#define FOR_PARTS for (int k = 0; k < 4; k++)

OP v16 v_load(const float *p)
{
	v16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

OP void v_store(float *p, v16 v)
{
	memcpy(p, &v, sizeof(v));
}

OP v16 v_set(float f)
{
	v16 v;

	FOR_PARTS v.p[k] = (v4){f, f, f, f};
	return v;
}

OP v16 v_add(v16 a, v16 b)
{
	FOR_PARTS a.p[k] += b.p[k];
	return a;
}

OP v16 v_sub(v16 a, v16 b)
{
	FOR_PARTS a.p[k] -= b.p[k];
	return a;
}

OP v16 v_mul(v16 a, v16 b)
{
	FOR_PARTS a.p[k] *= b.p[k];
	return a;
}

OP v16 v_max(v16 a, v16 b)
{
	FOR_PARTS
	{
		i4 more = a.p[k] > b.p[k];

		a.p[k] = (v4)((more & (i4)a.p[k]) | (~more & (i4)b.p[k]));
	}
	return a;
}

OP v16 v_raise(v16 p, v16 t)
{
	typedef uint32_t u4 __attribute__((vector_size(16)));

	FOR_PARTS p.p[k] = (v4)((u4)p.p[k] + ((u4)t.p[k] << 23));
	return p;
}

OP m16 v_ge(v16 a, v16 b)
{
	m16 m;

	FOR_PARTS m.p[k] = a.p[k] >= b.p[k];
	return m;
}

OP m16 v_gt(v16 a, v16 b)
{
	m16 m;

	FOR_PARTS m.p[k] = a.p[k] > b.p[k];
	return m;
}

OP m16 v_lt(v16 a, v16 b)
{
	m16 m;

	FOR_PARTS m.p[k] = a.p[k] < b.p[k];
	return m;
}

OP m16 v_unordered(v16 a, v16 b)
{
	m16 m;

	FOR_PARTS m.p[k] = (a.p[k] != a.p[k]) | (b.p[k] != b.p[k]);
	return m;
}

OP m16 m_none(void)
{
	m16 m;

	memset(&m, 0, sizeof(m));
	return m;
}

OP m16 m_and(m16 a, m16 b)
{
	FOR_PARTS a.p[k] &= b.p[k];
	return a;
}

OP m16 m_or(m16 a, m16 b)
{
	FOR_PARTS a.p[k] |= b.p[k];
	return a;
}

OP bool m_any(m16 m)
{
	i4 any = (m.p[0] | m.p[1]) | (m.p[2] | m.p[3]);

	return (any[0] | any[1] | any[2] | any[3]) != 0;
}

OP v16 v_add_if(m16 m, v16 a, v16 b)
{
	FOR_PARTS a.p[k] += (v4)(m.p[k] & (i4)b.p[k]);
	return a;
}

OP void v_quarter(v16 v, float *out)
{
	v4 q = (v.p[0] + v.p[2]) + (v.p[1] + v.p[3]);

	memcpy(out, &q, sizeof(q));
}

OP size_t v_list(m16 m, v16 v, uint32_t base, uint32_t *ids, float *values)
{
	int32_t in[ENG_ROW_LANES];
	float lanes[ENG_ROW_LANES];
	size_t n = 0;

	memcpy(in, &m, sizeof(in));
	v_store(lanes, v);
	for (uint32_t l = 0; l < ENG_ROW_LANES; l++) {
		ids[n] = base + l;
		values[n] = lanes[l];
		n += in[l] != 0;
	}
	return n;
}

#include "engine/rows-body.h"

const struct eng_rows eng_rows_plain = ROWS_TABLE("plain");
