/*
 * engine/cpu/: what is done to rows between the products, and attention over a chunk of keys, of every
 * table that this processor can run: against float64, against the table "plain", and a row (or a lane)
 * against itself in other company, bit for bit.
 */
#include "test/unit/kernels-help.h"

#include <float.h>

#include "model/tensor.h"

static const uint32_t sizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 100, 255, 256, 257, 1000};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void near(double got, double want, double allowed, const char *what)
{
	if (!(fabs(got - want) <= allowed) && !(got == want))
		fail_msg("%s %s: %.9g, wanted %.9g +- %.3g", isa->name, what, got, want, allowed);
}

/* ---- forms of activations ----------------------------------------------------------------------- */

/* One half's scale and codes: no code off by more than half a step, the largest one of all is 127. */
static void check_half(const float *x, size_t n, float most, float d, const int8_t *q)
{
	double step = most / 127.0;

	if (most < 1e-35f) { /* the inverse of the scale may be out of reach */
		for (size_t i = 0; i < n; i++)
			near((double)d * q[i], x[i], 1e-35, "quantise of next to nothing");
		return;
	}
	near(d, step, step * 2 * HALF_ULP, "quantise's scale");
	for (size_t i = 0; i < n; i++) {
		assert_in_range(q[i] + 127, 0, 254);
		near(q[i] * step, x[i], step * (0.5 + 127 * 4 * HALF_ULP), "quantise");
	}
}

static float most_of(const float *x, size_t n)
{
	float most = 0;

	for (size_t i = 0; i < n; i++)
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	return most;
}

static void check_group(const float *x, const struct cpu_group *g, bool halves)
{
	int32_t sum[2] = {0};
	double s[2];

	for (int h = 0; h < 2; h++) {
		float most = halves ? most_of(x + 16 * h, 16) : most_of(x, 32);

		check_half(x + 16 * h, 16, most, g->d[h], g->q + 16 * h);
		for (int i = 0; i < 16; i++)
			sum[h] += g->q[16 * h + i];
		s[h] = (double)g->d[h] * sum[h];
		assert_int_equal(g->c_half[h], -128 * sum[h]);
		near(g->s_half[h], s[h], fabs(s[h]) * HALF_ULP + TINY, "quantise's sum of a half");
	}
	assert_int_equal(g->c, -128 * (sum[0] + sum[1]));
	near(g->s, s[0] + s[1], (fabs(s[0]) + fabs(s[1])) * 3 * HALF_ULP + TINY, "quantise's sum");
	if (!halves)
		assert_int_equal(bits_of(g->d[0]), bits_of(g->d[1]));
}

/* Groups of every size of numbers that float32 has, zeros, and one large number among small ones. */
static void quantise(void **unused)
{
	(void)unused;
	for (int round = 0; round < 400; round++) {
		size_t groups = 1 + below(5), cols = groups * CPU_GROUP;
		float *x = floats(cols);
		struct cpu_group *g = buf(groups * sizeof(*g), 4 * below(16));
		struct cpu_group *ref = buf(groups * sizeof(*g), 0);
		int exponent = (int)below(270) - 149; /* the sum of a group stays finite */

		for (size_t i = 0; i < cols; i++)
			x[i] = below(8) == 0 ? 0 : ldexpf(uniform(), exponent);
		if (below(4) == 0)
			x[below((uint32_t)cols)] = below(2) ? 2.9e38f : -2.9e38f;
		for (int halves = 0; halves < 2; halves++) {
			if (halves)
				isa->quantise_halves(x, cols, g);
			else
				isa->quantise(x, cols, g);
			for (size_t i = 0; i < groups; i++)
				check_group(x + i * CPU_GROUP, &g[i], halves);
			(halves ? plain->quantise_halves : plain->quantise)(x, cols, ref);
			assert_memory_equal(g, ref, groups * sizeof(*g));
		}
		release(0);
	}
}

/* A half with a lost number has a scale that is one too, whatever else is in it. */
static void quantise_lost(void **unused)
{
	struct cpu_group g;
	float x[CPU_GROUP];

	(void)unused;
	for (size_t k = 0; k < N_LOST; k++) {
		for (size_t i = 0; i < CPU_GROUP; i++) {
			normals(x, CPU_GROUP);
			x[i] = of_bits(lost[k]);
			if (below(2))
				x[below(CPU_GROUP)] = NAN;
			isa->quantise(x, CPU_GROUP, &g);
			assert_true(isnan(g.d[0]) && isnan(g.d[1]) && isnan(g.s));
			isa->quantise_halves(x, CPU_GROUP, &g);
			assert_true(isnan(g.d[i / 16]) && isnan(g.s_half[i / 16]));
		}
	}
}

/* Any bits at all: what model/tensor.h's rounding says, and zeros up to a whole pair. */
static void to_bf16(void **unused)
{
	(void)unused;
	for (int round = 0; round < 200; round++) {
		uint32_t n = sizes[below(N_SIZES)], even = (n + 1) / 2 * 2;
		float *x = floats(n);
		uint16_t *y = buf(even * sizeof(*y), 2 * below(8));

		for (uint32_t i = 0; i < n; i++)
			x[i] = of_bits(below(4) ? below(65536) << 16 | below(65536)
						: below(65536) << 16 | 0x8000);
		if (below(2))
			x[below(n)] = of_bits(lost[below(N_LOST)]);
		isa->to_bf16(x, n, y);
		for (uint32_t i = 0; i < n; i++) {
			if (isnan(x[i]))
				assert_true(isnan(mdl_bf16_f32(y[i])));
			else
				assert_int_equal(y[i], mdl_f32_bf16(x[i]));
		}
		if (n % 2)
			assert_int_equal(y[n], 0);
		release(0);
	}
}

/* Codes with a scale for each 32, as the cache has them: the product, rounded once. */
static void codes_to_bf16(void **unused)
{
	(void)unused;
	for (int round = 0; round < 200; round++) {
		uint32_t n = sizes[below(N_SIZES)];
		int8_t *code = buf(n, 1 * below(8));
		uint16_t *scale = buf((n + 31) / 32 * sizeof(*scale), 2 * below(8));
		uint16_t *y = buf(n * sizeof(*y), 2 * below(8));

		for (uint32_t i = 0; i < n; i++)
			code[i] = (int8_t)((int)below(255) - 127);
		for (uint32_t i = 0; i < (n + 31) / 32; i++)
			scale[i] = mdl_f32_bf16(
				ldexpf(1 + (float)below(256) / 256, (int)below(60) - 30));
		isa->codes_to_bf16(code, scale, n, y);
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(y[i], mdl_f32_bf16(mdl_bf16_f32(scale[i / 32]) * code[i]));
		release(0);
	}
}

/* ---- rows --------------------------------------------------------------------------------------- */

static void norm(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < 4 * N_SIZES; k++) {
		uint32_t n = sizes[k % N_SIZES];
		float *x = floats(n), *w = floats(n), *y = floats(n), *ref = floats(n);
		float size = ldexpf(1, (int)below(60) - 30), eps = below(2) ? 1e-6f : 1e-5f;
		double squares = 0, scale;

		for (uint32_t i = 0; i < n; i++) {
			x[i] = k < N_SIZES ? 0 : size * normal();
			w[i] = normal();
			squares += (double)x[i] * x[i];
		}
		isa->norm(x, w, n, eps, y);
		plain->norm(x, w, n, eps, ref);
		scale = 1 / sqrt(squares / n + eps);
		for (uint32_t i = 0; i < n; i++) {
			double want = x[i] * scale * w[i];

			near(y[i], want, fabs(want) * (8 + n / 16) * HALF_ULP, "norm");
			near(y[i], ref[i], fabs(want) * 1e-6, "norm against plain");
		}
		isa->norm(x, w, n, eps, x); /* in place */
		assert_memory_equal(x, y, n * sizeof(*x));
		x[below(n)] = of_bits(lost[below(N_LOST)]);
		isa->norm(x, w, n, eps, y);
		assert_false(isa->finite(y, n));
		release(0);
	}
}

static void silu_mul(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < 8 * N_SIZES; k++) {
		uint32_t n = sizes[k % N_SIZES];
		float *gate = floats(n), *up = floats(n), *y = floats(n), *ref = floats(n);
		float size = ldexpf(1, (int)below(14) - 6);

		for (uint32_t i = 0; i < n; i++) {
			gate[i] = below(16) ? size * normal() : ldexpf(uniform(), 100);
			up[i] = normal();
		}
		memcpy(y, gate, n * sizeof(*y));
		memcpy(ref, gate, n * sizeof(*y));
		isa->silu_mul(y, up, n);
		plain->silu_mul(ref, up, n);
		for (uint32_t i = 0; i < n; i++) {
			double g = gate[i], want = g / (1 + exp(-g)) * up[i];
			/* e^x ends at x = 88, and what is left of it counts g times. */
			double allowed = fabs(want) * (10 + 0.6 * fabs(g)) * HALF_ULP +
					 fabs(g * up[i]) * 1e-37;

			near(y[i], want, allowed, "silu");
			near(y[i], ref[i], 1e-6 * fabs(want) + fabs(g * up[i]) * 1e-37,
			     "silu against plain");
		}
		for (uint32_t i = 0; i < n; i++)
			gate[i] = of_bits(lost[below(N_LOST)]);
		isa->silu_mul(gate, up, n);
		for (uint32_t i = 0; i < n; i++)
			assert_false(isfinite(gate[i]));
		release(0);
	}
}

static void add_scaled(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < 4 * N_SIZES; k++) {
		uint32_t n = sizes[k % N_SIZES], bad = below(n);
		float *x = floats(n), *y = floats(n), *was = floats(n), share = normal();

		normals(x, n);
		normals(was, n);
		x[bad] = k % 2 ? x[bad] : of_bits(lost[below(N_LOST)]);
		memcpy(y, was, n * sizeof(*y));
		isa->add_scaled(y, x, share, n);
		for (uint32_t i = 0; i < n; i++) {
			double want = was[i] + (double)share * x[i];

			if (isfinite(x[i]))
				near(y[i], want,
				     (fabs(want) + fabs((double)share * x[i])) * HALF_ULP,
				     "add_scaled");
			else
				assert_false(isfinite(y[i]));
		}
		release(0);
	}
}

static void all_finite(void **unused)
{
	(void)unused;
	for (size_t k = 0; k < N_SIZES; k++) {
		uint32_t n = sizes[k];
		float *x = floats(n);

		for (uint32_t i = 0; i < n; i++)
			x[i] = i % 3 ? ldexpf(uniform(), (int)below(275) - 149) : FLT_MAX;
		assert_true(isa->finite(x, n));
		for (uint32_t i = 0; i < n; i++) {
			float was = x[i];

			x[i] = of_bits(lost[i % N_LOST]);
			assert_false(isa->finite(x, n));
			x[i] = was;
		}
		release(0);
	}
	assert_true(isa->finite(NULL, 0));
}

static void zip(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 140; n++) {
		uint16_t *a = buf(n * 2, 2 * below(8)), *b = buf(n * 2, 2 * below(8));
		uint16_t *out = buf(n * 4, 2 * below(8));

		for (uint32_t i = 0; i < n; i++) {
			a[i] = (uint16_t)below(65536);
			b[i] = (uint16_t)below(65536);
		}
		isa->zip(a, b, n, out);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(out[2 * i], a[i]);
			assert_int_equal(out[2 * i + 1], b[i]);
		}
		release(0);
	}
}

static void untangle(void **unused)
{
	(void)unused;
	for (unsigned lanes = 1; lanes <= 16; lanes++) {
		for (size_t k = 0; k < N_SIZES; k++) {
			uint32_t n = sizes[k], ld = n + below(3);
			size_t size = (size_t)(lanes - 1) * ld + n;
			float *u = floats((size_t)n * 16), *l = floats(16), *out = floats(size);

			normals(u, (size_t)n * 16);
			for (unsigned i = 0; i < 16; i++)
				l[i] = 1 + (float)below(200);
			isa->untangle(u, l, n, out, ld, lanes);
			for (size_t i = 0; i < size; i++) {
				double want;

				if (i % ld >= n) {
					assert_int_equal(bits_of(out[i]), 0xffffffff);
					continue;
				}
				want = (double)u[i % ld * 16 + i / ld] / l[i / ld];
				near(out[i], want, fabs(want) * 3 * HALF_ULP, "untangle");
			}
			release(0);
		}
	}
}

/* ---- attention ---------------------------------------------------------------------------------- */

/* A chunk of keys and 16 queries, in both forms, and what came of them. */
struct chunk {
	bool bf16;
	uint32_t n, width, dv;
	float scale;
	float *q;     // [16, width]
	float *k, *v; // [n, width], [n, dv]
	int32_t limit[16];
	float *m, *l, *u; // [16], [16], [dv, 16] out
};

/* In bfloat16's numbers where that is what the kernel reads. */
static float rounded(const struct chunk *c, float x)
{
	return c->bf16 ? mdl_bf16_f32(mdl_f32_bf16(x)) : x;
}

static struct chunk chunk(bool bf16, uint32_t n, uint32_t width, uint32_t dv)
{
	struct chunk c = {.bf16 = bf16,
			  .n = n,
			  .width = width,
			  .dv = dv,
			  .scale = 1 / sqrtf((float)width),
			  .q = floats((size_t)16 * width),
			  .k = floats((size_t)n * width),
			  .v = floats((size_t)n * dv),
			  .m = floats(16),
			  .l = floats(16),
			  .u = floats((size_t)dv * 16)};
	float sharp = ldexpf(1, (int)below(4)); /* from nearly even weights to nearly one key's */

	for (size_t i = 0; i < (size_t)16 * width; i++)
		c.q[i] = rounded(&c, sharp * uniform());
	for (size_t i = 0; i < (size_t)n * width; i++)
		c.k[i] = rounded(&c, 2 * uniform());
	for (size_t i = 0; i < (size_t)n * dv; i++)
		c.v[i] = rounded(&c, normal());
	for (int i = 0; i < 16; i++)
		c.limit[i] = (int32_t)(below(3) ? 1 + below(n) : below(2) ? n : 0);
	return c;
}

static void pair_up(float x, uint16_t *to)
{
	*to = mdl_f32_bf16(x);
}

/* The queries as a panel. */
static void *query_panel(const struct chunk *c)
{
	uint32_t even = (c->width + 1) / 2 * 2;
	uint16_t *pairs = buf(c->bf16 ? even * 16 * sizeof(*pairs) : 0, 0);
	float *single = floats(c->bf16 ? 0 : (size_t)c->width * 16);

	if (c->bf16)
		memset(pairs, 0, even * 16 * sizeof(*pairs));
	for (uint32_t lane = 0; lane < 16; lane++) {
		for (uint32_t i = 0; i < c->width; i++) {
			float x = c->q[lane * c->width + i];

			if (c->bf16)
				pair_up(x, &pairs[(i / 2 * 16 + lane) * 2 + i % 2]);
			else
				single[i * 16 + lane] = x;
		}
	}
	return c->bf16 ? (void *)pairs : (void *)single;
}

/* The keys, each row an exact buffer of its own; what fills a pair up is any number. */
static const void **key_rows(const struct chunk *c)
{
	const void **rows = buf(c->n * sizeof(*rows), 0);
	uint32_t even = (c->width + 1) / 2 * 2;

	for (uint32_t k = 0; k < c->n; k++) {
		float *single = floats(c->bf16 ? 0 : c->width);
		uint16_t *pairs = buf(c->bf16 ? even * sizeof(*pairs) : 0, 2 * below(4));

		if (c->bf16)
			pairs[even - 1] = 0x4000;
		for (uint32_t i = 0; i < c->width; i++) {
			if (c->bf16)
				pair_up(c->k[k * c->width + i], &pairs[i]);
			else
				single[i] = c->k[k * c->width + i];
		}
		rows[k] = c->bf16 ? (void *)pairs : (void *)single;
	}
	return rows;
}

/* The values: float32 rows, or pairs of keys, the last one's other half zeros. */
static void *value_rows(const struct chunk *c)
{
	uint32_t even = (c->n + 1) / 2 * 2;
	uint16_t *pairs = buf(c->bf16 ? (size_t)even * c->dv * sizeof(*pairs) : 0, 0);
	float *single = floats(c->bf16 ? 0 : (size_t)even * c->dv);

	if (c->bf16)
		memset(pairs, 0, (size_t)even * c->dv * sizeof(*pairs));
	for (uint32_t k = 0; k < c->n; k++) {
		for (uint32_t d = 0; d < c->dv; d++) {
			float x = c->v[k * c->dv + d];

			if (c->bf16)
				pair_up(x, &pairs[((k / 2) * c->dv + d) * 2 + k % 2]);
			else
				single[k * c->dv + d] = x;
		}
	}
	return c->bf16 ? (void *)pairs : (void *)single;
}

static void attend(const struct cpu_isa *with, const struct chunk *c, float *m, float *l, float *u)
{
	size_t mark = n_bufs;
	int32_t *limit = buf(sizeof(c->limit), 0);
	struct cpu_attend a = {.q = query_panel(c),
			       .width = c->width,
			       .dv = c->dv,
			       .k = key_rows(c),
			       .v = value_rows(c),
			       .n = c->n,
			       .limit = limit,
			       .scale = c->scale,
			       .scores = floats(CPU_CHUNK * 16),
			       .m = floats(16),
			       .l = floats(16),
			       .u = floats((size_t)c->dv * 16)};

	memcpy(limit, c->limit, sizeof(c->limit));
	(c->bf16 ? with->attend_bf16 : with->attend_f32)(&a);
	memcpy(m, a.m, 16 * sizeof(*m));
	memcpy(l, a.l, 16 * sizeof(*l));
	memcpy(u, a.u, (size_t)c->dv * 16 * sizeof(*u));
	release(mark);
}

/* What a weight may be off by: its score's rounding, e^x's, and, next to a tie, the step to the other
 * neighbour in bfloat16. */
static double weight_slack(const struct chunk *c, double exact, double relative, double *weight)
{
	double slack = exact * relative;

	*weight = exact;
	if (!c->bf16)
		return slack;
	*weight = rounded(c, (float)exact);
	if (rounded(c, (float)(exact - slack)) != rounded(c, (float)(exact + slack)))
		return slack + exact * 0x1p-7;
	return 0;
}

/* One lane against float64, given the largest score that the kernel found. Next to a large weight the
 * small ones may all be rounded the same way. */
static void check_lane(const struct chunk *c, uint32_t lane)
{
	double score[CPU_CHUNK], off[CPU_CHUNK], most = -INFINITY, most_off = 0, sum = 0,
						 sum_off = 0;
	double weight[CPU_CHUNK], slack[CPU_CHUNK];
	int32_t sees = c->limit[lane];

	for (int32_t k = 0; k < sees; k++) {
		double s = 0, size = 0;

		for (uint32_t i = 0; i < c->width; i++) {
			double t = (double)c->q[lane * c->width + i] * c->k[k * c->width + i];

			s += t;
			size += fabs(t);
		}
		score[k] = s * c->scale;
		off[k] = (size * (4 + sqrt(c->width)) + fabs(s)) * c->scale * HALF_ULP;
		most = score[k] > most ? score[k] : most;
		most_off = off[k] > most_off ? off[k] : most_off;
	}
	near(c->m[lane], most, most_off, "largest score");
	for (int32_t k = 0; k < sees; k++) {
		double e = exp(score[k] - c->m[lane]);

		slack[k] = weight_slack(c, e, off[k] + (12 + fabs(score[k] - most)) * HALF_ULP,
					&weight[k]);
		sum += weight[k];
		sum_off += slack[k];
	}
	near(c->l[lane], sum, sum_off + sum * (2 + c->n) * HALF_ULP + 1e-35, "sum of weights");
	for (uint32_t d = 0; d < c->dv; d++) {
		double want = 0, size = 0, allowed = 0;

		for (int32_t k = 0; k < sees; k++) {
			double v = c->v[(size_t)k * c->dv + d];

			want += weight[k] * v;
			size += fabs(weight[k] * v);
			allowed += fabs(slack[k] * v);
		}
		allowed += size * (2 + c->n) * HALF_ULP + 1e-35;
		near(c->u[d * 16 + lane], want, allowed, "weighted value");
	}
}

static const uint32_t key_counts[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 128, 255, 256};
static const uint32_t widths[] = {1, 2, 3, 32, 40, 48, 63, 160};
static const uint32_t value_widths[] = {1, 2, 3, 7, 8, 9, 24, 33, 64};

static struct chunk random_chunk(bool bf16, uint32_t n)
{
	return chunk(bf16, n, widths[below(8)], value_widths[below(9)]);
}

static void attention(bool bf16)
{
	for (size_t i = 0; i < 14 * 6; i++) {
		struct chunk c = random_chunk(bf16, key_counts[i % 14]);
		float m[16], l[16], *u = floats((size_t)c.dv * 16);

		attend(isa, &c, c.m, c.l, c.u);
		for (uint32_t lane = 0; lane < 16; lane++)
			check_lane(&c, lane);
		attend(plain, &c, m, l, u);
		for (uint32_t lane = 0; lane < 16; lane++) {
			double off = 0, size = 0, bound = bf16 ? 4e-3 : 1e-5;

			for (uint32_t d = 0; d < c.dv; d++) {
				off += pow((double)c.u[d * 16 + lane] - u[d * 16 + lane], 2);
				size += pow(u[d * 16 + lane], 2);
			}
			near(c.m[lane], m[lane], 1e-5 * (1 + fabs((double)m[lane])),
			     "largest score against plain");
			near(c.l[lane], l[lane], bound * l[lane], "weights against plain");
			/* Few values may cancel out; a weight's rounding isn't theirs. */
			near(sqrt(off), 0, bound * (sqrt(size) + l[lane]),
			     "weighted values against plain");
		}
		release(0);
	}
}

static void attend_f32(void **unused)
{
	(void)unused;
	attention(false);
}

static void attend_bf16(void **unused)
{
	(void)unused;
	attention(true);
}

/* Lane to of b is lane from of a. */
static void same_lane(const struct chunk *a, uint32_t from, const struct chunk *b, uint32_t to,
		      const char *when)
{
	bool same = bits_of(a->m[from]) == bits_of(b->m[to]) &&
		    bits_of(a->l[from]) == bits_of(b->l[to]);

	for (uint32_t d = 0; same && d < a->dv; d++)
		same = bits_of(a->u[d * 16 + from]) == bits_of(b->u[d * 16 + to]);
	if (!same)
		fail_msg("%s attend_%s, %u keys: lane %u, which sees %d, %s: other bits", isa->name,
			 a->bf16 ? "bf16" : "f32", a->n, from, a->limit[from], when);
}

static void copy_lane(struct chunk *to, uint32_t lane, const struct chunk *from, uint32_t other)
{
	to->limit[lane] = from->limit[other];
	memcpy(to->q + lane * to->width, from->q + other * from->width,
	       from->width * sizeof(*from->q));
}

/* A lane's bits are the same in any lane, beside any others, and with more keys that it doesn't see. */
static void lanes_alone(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 14 * 4; i++) {
		struct chunk c = random_chunk(i % 2, key_counts[i / 2 % 14]), o = c;
		uint32_t last = 0;

		o.m = floats(16);
		o.l = floats(16);
		o.u = floats((size_t)c.dv * 16);
		o.q = floats((size_t)16 * c.width);
		attend(isa, &c, c.m, c.l, c.u);
		for (uint32_t lane = 0; lane < 16; lane++)
			copy_lane(&o, (lane + 5) % 16, &c, lane);
		attend(isa, &o, o.m, o.l, o.u);
		for (uint32_t lane = 0; lane < 16; lane++)
			same_lane(&c, lane, &o, (lane + 5) % 16, "elsewhere");
		for (uint32_t lane = 0; lane < 16; lane++)
			last = c.limit[lane] > c.limit[last] ? lane : last;
		for (uint32_t lane = 0; lane < 16; lane++) {
			/* Alone with as few keys as it needs, its neighbours not a number. */
			if (c.limit[lane] == 0)
				continue;
			for (uint32_t k = 0; k < 16 * c.width; k++)
				o.q[k] = NAN;
			memset(o.limit, 0, sizeof(o.limit));
			copy_lane(&o, lane, &c, lane);
			o.n = (uint32_t)c.limit[lane];
			attend(isa, &o, o.m, o.l, o.u);
			same_lane(&c, lane, &o, lane, "alone");
		}
		release(0);
	}
}

/* A lost number in a query, or in a key or value that a lane sees, is seen in what comes out. */
static void attend_lost(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 14 * 8; i++) {
		struct chunk c = random_chunk(i % 2, key_counts[i / 2 % 14]);
		uint32_t bad = below(16), key = below(c.n), kind = below(3);
		float what = of_bits(lost[below(N_LOST)]);

		if (kind == 0)
			c.q[bad * c.width + below(c.width)] = what;
		else if (kind == 1)
			c.k[key * c.width + below(c.width)] = what;
		else
			c.v[key * c.dv + below(c.dv)] = what;
		attend(isa, &c, c.m, c.l, c.u);
		for (uint32_t lane = 0; lane < 16; lane++) {
			bool sees = kind == 0 ? lane == bad && c.limit[lane] > 0
					      : c.limit[lane] > (int32_t)key;
			bool finite = isfinite(c.l[lane]);

			for (uint32_t d = 0; d < c.dv; d++)
				finite = finite && isfinite(c.u[d * 16 + lane] / c.l[lane]);
			/* -inf is a score that weighs nothing, and one that underflows weighs too little. */
			if (sees && isnan(what))
				assert_false(finite);
			if (!sees && kind < 2 && c.limit[lane] > 0)
				assert_true(finite);
		}
		release(0);
	}
}

/* Parts of a chunk, joined, are the chunk; and a part that sees nothing changes no bit. */
static void merge(void **unused)
{
	(void)unused;
	for (int round = 0; round < 300; round++) {
		uint32_t dv = value_widths[below(9)];
		float *state[2][3], was[2][16], *u_was = floats((size_t)dv * 16);

		for (int p = 0; p < 2; p++) {
			state[p][0] = floats(16);
			state[p][1] = floats(16);
			state[p][2] = floats((size_t)dv * 16);
			normals(state[p][2], (size_t)dv * 16);
			for (int i = 0; i < 16; i++) {
				state[p][0][i] = 20 * normal();
				state[p][1][i] = 1 + (float)below(300);
			}
		}
		for (uint32_t i = 0; i < 16; i += 3) { /* sees nothing of the second part */
			state[1][0][i] = -INFINITY;
			state[1][1][i] = 0;
			for (uint32_t d = 0; d < dv; d++)
				state[1][2][d * 16 + i] = 0;
		}
		memcpy(was[0], state[0][0], sizeof(was[0]));
		memcpy(was[1], state[0][1], sizeof(was[1]));
		memcpy(u_was, state[0][2], (size_t)dv * 16 * sizeof(*u_was));
		isa->merge(state[0][0], state[0][1], state[0][2], state[1][0], state[1][1],
			   state[1][2], dv);
		for (uint32_t i = 0; i < 16; i++) {
			double most = fmax(was[0][i], state[1][0][i]);
			double fa = exp(was[0][i] - most), fb = exp(state[1][0][i] - most);
			double l = was[1][i] * fa + state[1][1][i] * fb;
			double by = (12 + fabs(was[0][i] - fmax(state[1][0][i], -1e6))) * HALF_ULP;

			by = fb == 0 ? 0 : by;
			assert_true(state[0][0][i] == (float)most);
			near(state[0][1][i], l, l * by + 1e-35, "joined sum of weights");
			for (uint32_t d = 0; d < dv; d++) {
				double a = u_was[d * 16 + i] * fa, b = state[1][2][d * 16 + i] * fb;

				near(state[0][2][d * 16 + i], a + b,
				     (fabs(a) + fabs(b)) * by + 1e-35, "joined value");
				if (i % 3 == 0)
					assert_int_equal(bits_of(state[0][2][d * 16 + i]),
							 bits_of(u_was[d * 16 + i]));
			}
		}
		release(0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(quantise, teardown),
		cmocka_unit_test_teardown(quantise_lost, teardown),
		cmocka_unit_test_teardown(to_bf16, teardown),
		cmocka_unit_test_teardown(codes_to_bf16, teardown),
		cmocka_unit_test_teardown(norm, teardown),
		cmocka_unit_test_teardown(silu_mul, teardown),
		cmocka_unit_test_teardown(add_scaled, teardown),
		cmocka_unit_test_teardown(all_finite, teardown),
		cmocka_unit_test_teardown(zip, teardown),
		cmocka_unit_test_teardown(untangle, teardown),
		cmocka_unit_test_teardown(attend_f32, teardown),
		cmocka_unit_test_teardown(attend_bf16, teardown),
		cmocka_unit_test_teardown(lanes_alone, teardown),
		cmocka_unit_test_teardown(attend_lost, teardown),
		cmocka_unit_test_teardown(merge, teardown),
	};

	return run_tables("kernels of rows", tests, sizeof(tests) / sizeof(tests[0]));
}
