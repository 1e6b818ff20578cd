/*
 * Frequencies once, in double: at position 100,000 a float's angle would be off by a hundredth of a
 * radian. Cosine and sine are rounded to float at the end.
 */
#include "engine/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* YaRN's m: how much attention sharpens when positions are stretched by `factor`. */
static double sharpening(double factor, double a)
{
	return factor <= 1 ? 1 : 0.1 * a * log(factor) + 1;
}

/* The pair index that turns `rotations` times over the original context. */
static double pair_of(const struct mdl_config *c, double rotations)
{
	return c->qk_rope * log(c->yarn_original / (2 * M_PI * rotations)) /
	       (2 * log(c->rope_theta));
}

static void stretch(struct eng_rope *r, const struct mdl_config *c)
{
	double lo = fmax(floor(pair_of(c, c->yarn_beta_fast)), 0);
	double hi = fmin(ceil(pair_of(c, c->yarn_beta_slow)), c->qk_rope - 1.0);

	if (lo == hi)
		hi += 0.001;
	for (uint32_t i = 0; i < r->pairs; i++) {
		double ramp = fmin(fmax((i - lo) / (hi - lo), 0), 1);
		double f = r->frequency[i];

		r->frequency[i] = f * (1 - ramp) + f / c->yarn_factor * ramp;
	}
}

int eng_rope_init(struct eng_rope *r, const struct mdl_config *c, struct lt_err *err)
{
	double m = 1;

	r->pairs = c->qk_rope / 2;
	r->frequency = lt_alloc(r->pairs, sizeof(double));
	r->amplitude = 1;
	if (!r->frequency)
		return lt_fail(err, LT_ENOMEM, "no memory for %u rotary frequencies", r->pairs);
	for (uint32_t i = 0; i < r->pairs; i++)
		r->frequency[i] = pow(c->rope_theta, -2.0 * i / c->qk_rope);
	if (c->yarn_factor != 1) {
		stretch(r, c);
		if (c->yarn_mscale_all_dim != 0)
			m = sharpening(c->yarn_factor, c->yarn_mscale_all_dim);
		if (c->yarn_mscale != 0)
			r->amplitude = sharpening(c->yarn_factor, c->yarn_mscale) / m;
	}
	r->softmax_scale = (float)(m * m / sqrt((double)c->qk_nope + c->qk_rope));
	return 0;
}

void eng_rope_fini(struct eng_rope *r)
{
	free(r->frequency);
	r->frequency = NULL;
}

void eng_rope_turn(const struct eng_rope *r, uint32_t pos, float *turn)
{
	for (uint32_t i = 0; i < r->pairs; i++) {
		double angle = pos * r->frequency[i];

		turn[2 * i] = (float)(cos(angle) * r->amplitude);
		turn[2 * i + 1] = (float)(sin(angle) * r->amplitude);
	}
}

void eng_rope_apply(const struct eng_rope *r, const float *turn, float *x)
{
	for (uint32_t i = 0; i < r->pairs; i++) {
		float a = x[2 * i], b = x[2 * i + 1];
		float c = turn[2 * i], s = turn[2 * i + 1];

		x[2 * i] = a * c - b * s;
		x[2 * i + 1] = a * s + b * c;
	}
}
