/*
 * Rotary positions with YaRN. Pairs are adjacent elements (2i, 2i + 1), as checkpoints store them.
 * Immutable after init: any thread may read.
 */
#ifndef LT_ENGINE_ROPE_H
#define LT_ENGINE_ROPE_H

#include <stdint.h>

#include "base/error.h"
#include "model/config.h"

struct eng_rope {
	uint32_t pairs;
	double *frequency;   // [pairs] radians a position
	double amplitude;    /* of cosine and sine */
	float softmax_scale; /* of the whole attention score, YaRN's correction included */
};

/* Formulas: YaRN (Peng et al. 2023) as DeepSeek's code has it:
 *   f_i = theta^(-2i/dr); corr(b) = dr ln(original / (2 pi b)) / (2 ln theta);
 *   lo = max(floor(corr(beta_fast)), 0), hi = min(ceil(corr(beta_slow)), dr - 1), hi += 0.001 if equal;
 *   ramp_i = clamp((i - lo) / (hi - lo), 0, 1); f_i (1 - ramp_i) + f_i / factor * ramp_i;
 *   m(s, a) = s <= 1 ? 1 : 0.1 a ln s + 1; amplitude m(factor, mscale) / m(factor, mscale_all_dim);
 *   softmax_scale = (dn + dr)^-1/2 m(factor, mscale_all_dim)^2, without m when mscale_all_dim is 0.
 * LT_ENOMEM. */
int eng_rope_init(struct eng_rope *r, const struct mdl_config *c, struct lt_err *err);
void eng_rope_fini(struct eng_rope *r);

/* Cosines and sines of a position: turn [2 * pairs], (cos, sin) by pair. */
void eng_rope_turn(const struct eng_rope *r, uint32_t pos, float *turn);

/* Rotates x [2 * pairs] in place. */
void eng_rope_apply(const struct eng_rope *r, const float *turn, float *x);

#endif
