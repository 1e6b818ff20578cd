/*
 * The loops themselves, written once over sixteen lanes. Included by rows-*.c, which define before:
 *   ROWS_FN      attributes of a function of this version
 *   v16, m16     sixteen floats, and a yes or no for each
 *   v_load v_store v_set v_add v_sub v_mul v_max     lane by lane; v_max(a, b) is a > b ? a : b
 *   v_raise(p, t)    p with the low bits of t's pattern added to its exponent
 *   v_ge v_gt v_lt m_and m_or m_any m_none v_unordered v_add_if(m, a, b)
 *   v_quarter(v, out)   out [4]: lane l is (v[l] + v[l + 8]) + (v[l + 4] + v[l + 12])
 *   v_list(m, v, base, ids, values)   appends the lanes of m, returns how many
 */
#include <math.h>
#include <string.h>

#define CHUNK ENG_ROW_CHUNK
#define LANES ENG_ROW_LANES

/* 2^f - 1 for f in -1/2..1/2, by powers of f; fitted for the least relative error. */
#define POWER_1 0.693146978f
#define POWER_2 0.24022242f
#define POWER_3 0.0555073378f
#define POWER_4 0.00967151621f
#define POWER_5 0.00132647277f

/* Chunk number c of x [n]; the last one, where it is not whole, is copied to `tail` [CHUNK] and
 * filled up. */
ROWS_FN const float *chunk_of(const float *x, size_t n, size_t c, float fill, float *tail)
{
	size_t left = n - c * CHUNK;

	if (left >= CHUNK)
		return x + c * CHUNK;
	memcpy(tail, x + c * CHUNK, left * sizeof(*x));
	for (size_t i = left; i < CHUNK; i++)
		tail[i] = fill;
	return tail;
}

ROWS_FN double fold(v16 v)
{
	float q[4];

	v_quarter(v, q);
	return ((double)q[0] + (double)q[2]) + ((double)q[1] + (double)q[3]);
}

ROWS_FN bool survey(const float *x, size_t n, float *max, float *tops)
{
	float tail[CHUNK], lanes[LANES];
	v16 most = v_set(-INFINITY);
	m16 bad = m_none();

	for (size_t c = 0; c * CHUNK < n; c++) {
		const float *from = chunk_of(x, n, c, -INFINITY, tail);
		v16 top = v_set(-INFINITY);

		for (size_t i = 0; i < CHUNK; i += 2 * LANES) {
			v16 a = v_load(from + i), b = v_load(from + i + LANES);

			bad = m_or(bad, v_unordered(a, b));
			top = v_max(v_max(a, b), top);
		}
		v_store(tops + c * LANES, top);
		most = v_max(top, most);
	}
	v_store(lanes, most);
	*max = -INFINITY;
	for (size_t l = 0; l < LANES; l++)
		*max = lanes[l] > *max ? lanes[l] : *max;
	return !m_any(bad);
}

/* 2^y for y in -127..0. y = n + f, |f| <= 1/2, exactly: adding 1.5 * 2^23 rounds to an integer and
 * leaves n in the low bits. 2^f is a polynomial (relative error 1.1e-7; exactly 1 at 0). */
ROWS_FN v16 power(v16 y)
{
	const v16 round = v_set(12582912.0f);
	v16 t = v_add(y, round);
	v16 f = v_sub(y, v_sub(t, round));
	v16 p = v_add(v_mul(f, v_set(POWER_5)), v_set(POWER_4));

	p = v_add(v_mul(p, f), v_set(POWER_3));
	p = v_add(v_mul(p, f), v_set(POWER_2));
	p = v_add(v_mul(p, f), v_set(POWER_1));
	p = v_add(v_mul(p, f), v_set(1.0f));
	/* At -127 the exponent becomes 0, and with it the number. */
	return v_raise(p, t);
}

ROWS_FN double weigh(const float *x, size_t n, float max, float scale, float *w, double *sums)
{
	const v16 lowest = v_set(ENG_ROW_LOWEST), m = v_set(max), k = v_set(scale);
	float tail[CHUNK];
	double total = 0;

	for (size_t c = 0; c * CHUNK < n; c++) {
		const float *from = chunk_of(x, n, c, -INFINITY, tail);
		bool whole = from != tail;
		float *to = whole ? w + c * CHUNK : tail;
		v16 sum = v_set(0.0f);

		for (size_t i = 0; i < CHUNK; i += LANES) {
			v16 y = v_mul(v_sub(v_load(from + i), m), k);
			v16 p = power(v_max(y, lowest));

			v_store(to + i, p);
			sum = v_add(sum, p);
		}
		if (!whole)
			memcpy(w + c * CHUNK, tail, (n - c * CHUNK) * sizeof(*w));
		sums[c] = fold(sum);
		total += sums[c];
	}
	return total;
}

ROWS_FN size_t gather(const float *x, size_t n, float lo, float hi, uint32_t *ids, float *values)
{
	const v16 least = v_set(lo), end = v_set(hi);
	float tail[CHUNK];
	size_t to = 0;

	for (size_t c = 0; c * CHUNK < n; c++) {
		const float *from = chunk_of(x, n, c, -INFINITY, tail);

		for (size_t i = 0; i < CHUNK; i += LANES) {
			v16 v = v_load(from + i);
			m16 in = m_and(v_ge(v, least), v_lt(v, end));

			if (m_any(in))
				to += v_list(in, v, (uint32_t)(c * CHUNK + i), ids + to,
					     values + to);
		}
	}
	return to;
}

ROWS_FN void masses(const float *w, size_t n, const float *marks, bool by_mass, double *mass)
{
	const v16 one = v_set(1.0f);
	float tail[CHUNK];

	memset(mass, 0, ENG_ROW_MARKS * sizeof(*mass));
	for (size_t c = 0; c * CHUNK < n; c++) {
		const float *from = chunk_of(w, n, c, 0.0f, tail);

		for (size_t j = 0; j < ENG_ROW_MARKS; j += 4) {
			v16 m0 = v_set(marks[j]), m1 = v_set(marks[j + 1]);
			v16 m2 = v_set(marks[j + 2]), m3 = v_set(marks[j + 3]);
			v16 s0 = v_set(0.0f), s1 = s0, s2 = s0, s3 = s0;

			for (size_t i = 0; i < CHUNK; i += LANES) {
				v16 v = v_load(from + i), add = by_mass ? v : one;

				s0 = v_add_if(v_ge(v, m0), s0, add);
				s1 = v_add_if(v_ge(v, m1), s1, add);
				s2 = v_add_if(v_ge(v, m2), s2, add);
				s3 = v_add_if(v_ge(v, m3), s3, add);
			}
			mass[j] += fold(s0);
			mass[j + 1] += fold(s1);
			mass[j + 2] += fold(s2);
			mass[j + 3] += fold(s3);
		}
	}
}

ROWS_FN double sums_above(const float *w, size_t n, float above, double *sums)
{
	const v16 limit = v_set(above);
	float tail[CHUNK];
	double total = 0;

	for (size_t c = 0; c * CHUNK < n; c++) {
		const float *from = chunk_of(w, n, c, 0.0f, tail);
		v16 sum = v_set(0.0f);

		for (size_t i = 0; i < CHUNK; i += LANES) {
			v16 v = v_load(from + i);

			sum = v_add_if(v_gt(v, limit), sum, v);
		}
		sums[c] = fold(sum);
		total += sums[c];
	}
	return total;
}

#define ROWS_TABLE(name)                                                                           \
	{                                                                                          \
		.isa = (name), .survey = survey, .weigh = weigh, .gather = gather,                 \
		.masses = masses, .sums = sums_above                                               \
	}
