/*
 * The three routing methods of DeepSeek V2 and V3 (model/config.h names them).
 */
#include "engine/router.h"

#include <math.h>

#include "base/error.h"

#define LANES 8u

void eng_router_logits(const float *w, const float *x, uint32_t experts, uint32_t hidden, float *z)
{
	for (uint32_t e = 0; e < experts; e++, w += hidden) {
		float part[LANES] = {0}, sum = 0;
		uint32_t i = 0;

		for (; i + LANES <= hidden; i += LANES) {
			for (uint32_t l = 0; l < LANES; l++)
				part[l] += w[i + l] * x[i + l];
		}
		for (; i < hidden; i++)
			part[i % LANES] += w[i] * x[i];
		for (uint32_t l = 0; l < LANES; l++)
			sum += part[l];
		z[e] = sum;
	}
}

static void softmax(float *z, uint32_t n)
{
	float max = -INFINITY, sum = 0;

	for (uint32_t i = 0; i < n; i++)
		max = z[i] > max ? z[i] : max;
	for (uint32_t i = 0; i < n; i++)
		sum += z[i] = expf(z[i] - max);
	for (uint32_t i = 0; i < n; i++)
		z[i] /= sum;
}

/* The largest of v [n] that is not -inf, the lower index among equals; n when there is none. */
static uint32_t best_of(const float *v, uint32_t n)
{
	float best = -INFINITY;
	uint32_t at = n;

	for (uint32_t i = 0; i < n; i++) {
		if (v[i] > best) {
			best = v[i];
			at = i;
		}
	}
	return at;
}

/* A group's worth: its largest score, or the sum of its two largest. */
static float group_score(const float *v, uint32_t n, bool two)
{
	float first = -INFINITY, second = -INFINITY;

	for (uint32_t i = 0; i < n; i++) {
		if (v[i] > first) {
			second = first;
			first = v[i];
		} else if (v[i] > second) {
			second = v[i];
		}
	}
	return two && n > 1 ? first + second : first;
}

/* Sets the choice scores of all but the best groups_used groups to -inf. group [groups] is scratch.
 * False if a group's score is not finite: two huge biases may have such a sum. */
static bool mask_groups(const struct mdl_config *c, float *choice, float *group)
{
	uint32_t size = c->experts / c->groups;
	bool two = c->router == MDL_ROUTER_SIGMOID_BIASED;

	for (uint32_t g = 0; g < c->groups; g++) {
		group[g] = group_score(choice + (size_t)g * size, size, two);
		if (!isfinite(group[g]))
			return false;
	}
	for (uint32_t i = 0; i < c->groups_used; i++) {
		uint32_t g = best_of(group, c->groups);

		LT_ASSERT(g < c->groups);
		group[g] = -INFINITY; /* taken */
	}
	for (uint32_t g = 0; g < c->groups; g++) {
		for (uint32_t e = 0; group[g] != -INFINITY && e < size; e++)
			choice[g * size + e] = -INFINITY;
	}
	return true;
}

/* The scores s in z, what the choice goes by in choice; false if one of them is not finite. */
static bool score(const struct mdl_config *c, float *z, const float *bias, float *choice)
{
	bool finite = true;

	for (uint32_t e = 0; e < c->experts; e++)
		finite &= isfinite(z[e]) != 0;
	if (c->router != MDL_ROUTER_SIGMOID_BIASED)
		softmax(z, c->experts);
	for (uint32_t e = 0; e < c->experts; e++) {
		if (c->router == MDL_ROUTER_SIGMOID_BIASED)
			z[e] = 1.0f / (1.0f + expf(-z[e]));
		choice[e] = bias ? z[e] + bias[e] : z[e];
		finite &= isfinite(choice[e]) != 0;
	}
	return finite;
}

void eng_router_pick(const struct mdl_config *c, float *z, const float *bias, float *scratch,
		     int32_t *ids, float *weights)
{
	float *choice = scratch; // [experts]
	bool finite = score(c, z, bias, choice);
	float sum = 0;

	if (finite && c->groups > 1)
		finite = mask_groups(c, choice, scratch + c->experts);
	for (uint32_t i = 0; i < c->experts_used; i++) {
		uint32_t e = finite ? best_of(choice, c->experts) : i;

		LT_ASSERT(e < c->experts);
		choice[e] = -INFINITY; /* taken */
		ids[i] = (int32_t)e;
		weights[i] = finite ? z[e] : NAN;
		sum += weights[i];
	}
	for (uint32_t i = 0; i < c->experts_used; i++) {
		if (c->norm_topk)
			weights[i] /= sum + 1e-20f;
		weights[i] *= c->routed_scale;
	}
}
