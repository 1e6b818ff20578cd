/*
 * engine/rope.c: the published models' frequencies and softmax scales, and that a rotation is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "engine/rope.h"

struct published {
	const char *name;
	uint32_t nope, rope;
	double theta, factor, beta_fast, beta_slow, mscale;
	double scale;	 /* of the softmax */
	uint32_t lo, hi; /* pairs up to lo are left alone, from hi on divided by factor */
};

static const struct published published[] = {
	{"V2-Lite", 128, 64, 1e4, 40, 32, 1, 0.707, 0.114721, 10, 23},
	{"V3", 128, 64, 1e4, 40, 32, 1, 1, 0.135234, 10, 23},
	{"Kimi-K2", 128, 64, 5e4, 32, 1, 1, 1, 0.130861, 19, 20},
	{"Kimi-K2-0905", 128, 64, 5e4, 64, 1, 1, 1, 0.144680, 19, 20},
	{"Moonlight", 128, 64, 5e4, 1, 32, 1, 0, 0.0721688, 0, 0},
	{"GLM-4.7-Flash", 192, 64, 1e6, 1, 32, 1, 0, 0.0625, 0, 0},
};
#define N_PUBLISHED (sizeof(published) / sizeof(published[0]))

static struct mdl_config config_of(const struct published *p)
{
	return (struct mdl_config){.qk_nope = p->nope,
				   .qk_rope = p->rope,
				   .rope_theta = p->theta,
				   .yarn_factor = p->factor,
				   .yarn_original = 4096,
				   .yarn_beta_fast = p->beta_fast,
				   .yarn_beta_slow = p->beta_slow,
				   .yarn_mscale = p->mscale,
				   .yarn_mscale_all_dim = p->mscale};
}

static void near(double got, double want, double relative)
{
	if (!(fabs(got - want) <= relative * fabs(want)))
		fail_msg("%.9g, wanted %.9g", got, want);
}

static void published_models(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < N_PUBLISHED; i++) {
		const struct published *p = &published[i];
		struct mdl_config c = config_of(p);
		struct eng_rope r;

		assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
		assert_int_equal(r.pairs, 32);
		near(r.softmax_scale, p->scale, 5e-6);
		near(r.amplitude, 1, 1e-12);
		for (uint32_t k = 0; k < r.pairs; k++) {
			double plain = pow(p->theta, -2.0 * k / p->rope);
			double part = (k - (double)p->lo) / (p->hi - (double)p->lo);

			if (p->factor == 1 || k <= p->lo)
				near(r.frequency[k], plain, 1e-12);
			else if (k >= p->hi)
				near(r.frequency[k], plain / p->factor, 1e-12);
			else
				near(r.frequency[k], plain * (1 - part) + plain / p->factor * part,
				     1e-12);
		}
		eng_rope_fini(&r);
		assert_null(r.frequency);
	}
}

/* mscale and mscale_all_dim that differ: the first over the second is the amplitude, the second
 * alone sharpens the softmax. */
static void two_mscales(void **unused)
{
	struct mdl_config c = config_of(&published[1]);
	double m = 0.1 * log(40) + 1, all = 0.1 * 0.5 * log(40) + 1;
	float turn[64];
	struct eng_rope r;

	(void)unused;
	c.yarn_mscale_all_dim = 0.5;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	near(r.amplitude, m / all, 1e-12);
	near(r.softmax_scale, all * all / sqrt(192), 1e-6);
	eng_rope_turn(&r, 12345, turn);
	for (uint32_t i = 0; i < 32; i++)
		near(hypot(turn[2 * i], turn[2 * i + 1]), m / all, 1e-6);
	eng_rope_fini(&r);

	c.yarn_mscale_all_dim = 0;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	near(r.amplitude, m, 1e-12);
	near(r.softmax_scale, 1 / sqrt(192), 1e-6);
	eng_rope_fini(&r);

	c.yarn_mscale = 0;
	c.yarn_mscale_all_dim = 1;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	near(r.amplitude, 1, 1e-12);
	near(r.softmax_scale, m * m / sqrt(192), 1e-6);
	eng_rope_fini(&r);
}

/* So short an original context that both ends of the ramp are 0: a step, not a division by zero. */
static void ramp_of_no_width(void **unused)
{
	struct mdl_config c = config_of(&published[1]);
	struct eng_rope r;

	(void)unused;
	c.yarn_original = 6;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	near(r.frequency[0], 1, 1e-12);
	for (uint32_t k = 1; k < r.pairs; k++)
		near(r.frequency[k], pow(1e4, -k / 32.0) / 40, 1e-12);
	eng_rope_fini(&r);
}

/* Angles are as good at the far end of the context as at its start. */
static void turns(void **unused)
{
	static const uint32_t at[] = {0, 1, 4095, 4096, 163839, 262143};
	struct mdl_config c = config_of(&published[1]);
	float turn[64];
	struct eng_rope r;

	(void)unused;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	for (size_t p = 0; p < sizeof(at) / sizeof(at[0]); p++) {
		eng_rope_turn(&r, at[p], turn);
		for (uint32_t i = 0; i < r.pairs; i++) {
			long double plain = powl(1e4L, -(long double)i / 32), part;

			part = fminl(fmaxl((i - 10.0L) / 13.0L, 0), 1);
			plain = at[p] * (plain * (1 - part) + plain / 40 * part);
			assert_true(fabsl(turn[2 * i] - cosl(plain)) < 1e-7L);
			assert_true(fabsl(turn[2 * i + 1] - sinl(plain)) < 1e-7L);
		}
	}
	eng_rope_fini(&r);
}

static double dot_at(const struct eng_rope *r, uint32_t pos_q, uint32_t pos_k)
{
	float q[64], k[64], turn[64];
	double sum = 0;

	for (uint32_t i = 0; i < 64; i++) {
		q[i] = (float)sin(i * 1.7 + 1);
		k[i] = (float)cos(i * 2.3 + 2);
	}
	eng_rope_turn(r, pos_q, turn);
	eng_rope_apply(r, turn, q);
	eng_rope_turn(r, pos_k, turn);
	eng_rope_apply(r, turn, k);
	for (uint32_t i = 0; i < 64; i++)
		sum += (double)q[i] * k[i];
	return sum;
}

/* Neighbours make a pair; a score depends on the distance alone. */
static void rotation(void **unused)
{
	struct mdl_config c = config_of(&published[4]);
	float turn[64], x[64] = {0};
	struct eng_rope r;

	(void)unused;
	assert_int_equal(eng_rope_init(&r, &c, NULL), 0);
	eng_rope_turn(&r, 1, turn);
	x[0] = 3;
	x[5] = 2;
	eng_rope_apply(&r, turn, x);
	near(x[0], 3 * cos(1), 1e-6);
	near(x[1], 3 * sin(1), 1e-6);
	near(x[4], -2 * sin(pow(5e4, -4.0 / 64)), 1e-6);
	near(x[5], 2 * cos(pow(5e4, -4.0 / 64)), 1e-6);
	for (uint32_t i = 6; i < 64; i++)
		assert_true(x[i] == 0);
	assert_true(fabs(dot_at(&r, 100, 93) - dot_at(&r, 8007, 8000)) < 1e-5);
	assert_true(fabs(dot_at(&r, 100, 93) - dot_at(&r, 93, 100)) > 1e-2);
	eng_rope_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_models), cmocka_unit_test(two_mscales),
		cmocka_unit_test(ramp_of_no_width), cmocka_unit_test(turns),
		cmocka_unit_test(rotation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
