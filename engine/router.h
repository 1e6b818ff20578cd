/*
 * Which experts a token goes to. Float32 throughout, one row at a time, nothing depends on the rest
 * of a batch.
 */
#ifndef LT_ENGINE_ROUTER_H
#define LT_ENGINE_ROUTER_H

#include <stdint.h>

#include "model/config.h"

/* z [experts] = w [experts, hidden] x [hidden], summed in a fixed order. */
void eng_router_logits(const float *w, const float *x, uint32_t experts, uint32_t hidden, float *z);

/* Picks c->experts_used experts from logits z [experts] (overwritten with the scores s) and the
 * correction bias [experts] (MDL_ROUTER_SIGMOID_BIASED only). ids [experts_used] are in rank order,
 * best first; weights [experts_used] already carry normalisation and routed_scale. scratch
 * [experts + groups]. Ties go to the lower index; experts of losing groups count as -inf. Logits
 * or scores that are not finite give the first experts_used ids and weights of NaN: that row is
 * lost. */
void eng_router_pick(const struct mdl_config *c, float *z, const float *bias, float *scratch,
		     int32_t *ids, float *weights);

#endif
