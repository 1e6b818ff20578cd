/*
 * engine/router.c: the three methods against a slow reference of the papers' rules, ties, groups,
 * biases of any sign, and rows that are lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/router.h"

#define MAX_EXPERTS 64u
#define MAX_USED    8u

static uint64_t rng = 1;

static uint32_t below(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

/* In steps of 1/8, so that ties happen. */
static float coarse(void)
{
	return (float)below(33) / 8 - 2;
}

static struct mdl_config config(enum mdl_router router, uint32_t experts, uint32_t used,
				uint32_t groups, uint32_t groups_used)
{
	return (struct mdl_config){.router = router,
				   .experts = experts,
				   .experts_used = used,
				   .groups = groups,
				   .groups_used = groups_used,
				   .norm_topk = false,
				   .routed_scale = 1};
}

/* Runs eng_router_pick with exact scratch; z stays. */
static void pick(const struct mdl_config *c, const float *logits, const float *bias, int32_t *ids,
		 float *weights)
{
	float z[MAX_EXPERTS], scratch[2 * MAX_EXPERTS];

	memcpy(z, logits, c->experts * sizeof(*z));
	eng_router_pick(c, z, bias, scratch, ids, weights);
}

/* --- reference --- */

/* How many of v [n] go before v[i]: larger ones, or equal ones of a lower index. */
static uint32_t rank_of(const float *v, uint32_t n, uint32_t i)
{
	uint32_t rank = 0;

	for (uint32_t j = 0; j < n; j++)
		rank += v[j] > v[i] || (v[j] == v[i] && j < i);
	return rank;
}

static float worth(const struct mdl_config *c, const float *choice)
{
	uint32_t size = c->experts / c->groups;
	float sum = 0;

	for (uint32_t i = 0; i < size; i++) {
		uint32_t rank = rank_of(choice, size, i);

		if (rank == 0 || (rank == 1 && c->router == MDL_ROUTER_SIGMOID_BIASED))
			sum += choice[i];
	}
	return sum;
}

/* From scores s and choice to ids; the float steps that ties rest on are the caller's. */
static void reference(const struct mdl_config *c, const float *s, const float *choice, int32_t *ids,
		      double *weights)
{
	uint32_t size = c->experts / c->groups, n = 0, left[MAX_EXPERTS];
	float group[MAX_EXPERTS], kept[MAX_EXPERTS];
	double sum = 0;

	for (uint32_t g = 0; g < c->groups; g++)
		group[g] = worth(c, choice + (size_t)g * size);
	for (uint32_t e = 0; e < c->experts; e++) {
		if (rank_of(group, c->groups, e / size) < c->groups_used) {
			kept[n] = choice[e];
			left[n++] = e;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t rank = rank_of(kept, n, i);

		if (rank < c->experts_used) {
			ids[rank] = (int32_t)left[i];
			weights[rank] = s[left[i]];
			sum += s[left[i]];
		}
	}
	for (uint32_t i = 0; i < c->experts_used; i++) {
		if (c->norm_topk)
			weights[i] /= sum;
		weights[i] *= c->routed_scale;
	}
}

static void scores(const struct mdl_config *c, const float *z, float *s)
{
	float max = -INFINITY, sum = 0;

	for (uint32_t e = 0; e < c->experts; e++)
		max = fmaxf(max, z[e]);
	for (uint32_t e = 0; e < c->experts; e++) {
		s[e] = c->router == MDL_ROUTER_SIGMOID_BIASED ? 1.0f / (1.0f + expf(-z[e]))
							      : expf(z[e] - max);
		sum += s[e];
	}
	for (uint32_t e = 0; e < c->experts && c->router != MDL_ROUTER_SIGMOID_BIASED; e++)
		s[e] /= sum;
}

static void compare(const struct mdl_config *c, const float *z, const float *bias)
{
	int32_t ids[MAX_USED], want[MAX_USED];
	float weights[MAX_USED], s[MAX_EXPERTS], choice[MAX_EXPERTS];
	double shares[MAX_USED];

	scores(c, z, s);
	for (uint32_t e = 0; e < c->experts; e++)
		choice[e] = bias ? s[e] + bias[e] : s[e];
	reference(c, s, choice, want, shares);
	pick(c, z, bias, ids, weights);
	for (uint32_t i = 0; i < c->experts_used; i++) {
		assert_int_equal(ids[i], want[i]);
		assert_true(fabs(weights[i] - shares[i]) <= 1e-5 * fabs(shares[i]));
	}
}

static void random_rows(void **unused)
{
	static const struct {
		uint32_t experts, used, groups, groups_used;
	} shapes[] = {{16, 4, 1, 1}, {16, 4, 4, 2}, {64, 8, 8, 4}, {64, 6, 8, 3},
		      {8, 8, 1, 1},  {8, 4, 4, 2},  {6, 3, 6, 4},  {16, 1, 4, 1}};

	(void)unused;
	for (unsigned n = 0; n < 6000; n++) {
		size_t i = below(sizeof(shapes) / sizeof(shapes[0]));
		enum mdl_router router = shapes[i].groups == 1 ? MDL_ROUTER_SOFTMAX_GREEDY
							       : MDL_ROUTER_SOFTMAX_GROUPS;
		struct mdl_config c =
			config(below(2) ? router : MDL_ROUTER_SIGMOID_BIASED, shapes[i].experts,
			       shapes[i].used, shapes[i].groups, shapes[i].groups_used);
		float z[MAX_EXPERTS], bias[MAX_EXPERTS];

		c.norm_topk = below(2);
		c.routed_scale = below(2) ? 2.5f : 1;
		for (uint32_t e = 0; e < c.experts; e++) {
			z[e] = coarse();
			bias[e] = coarse();
		}
		compare(&c, z, c.router == MDL_ROUTER_SIGMOID_BIASED ? bias : NULL);
	}
}

/* --- by hand --- */

static void is(const struct mdl_config *c, const float *z, const float *bias, const int32_t *want)
{
	int32_t ids[MAX_USED];
	float weights[MAX_USED];

	pick(c, z, bias, ids, weights);
	assert_memory_equal(ids, want, c->experts_used * sizeof(*ids));
}

/* All equal: the first experts, of the first groups, in order. */
static void ties(void **unused)
{
	static const float z[16], bias[16];
	static const int32_t first[] = {0, 1, 2, 3};
	static const float late[16] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
	static const int32_t late_ids[] = {7, 15, 4, 5};
	struct mdl_config c = config(MDL_ROUTER_SOFTMAX_GREEDY, 16, 4, 1, 1);

	(void)unused;
	is(&c, z, NULL, first);
	c = config(MDL_ROUTER_SOFTMAX_GROUPS, 16, 4, 4, 2);
	is(&c, z, NULL, first);
	is(&c, late, NULL, late_ids);
	c.router = MDL_ROUTER_SIGMOID_BIASED;
	is(&c, z, bias, first);
	is(&c, late, bias, late_ids);
}

/* Groups go by their largest score with softmax, by their two largest with the bias. */
static void groups(void **unused)
{
	static const float z[8] = {3, -9, 2, 2, 0, 0, 0, 0}, bias[8];
	static const int32_t by_one[] = {0, 1}, by_two[] = {2, 3};
	struct mdl_config c = config(MDL_ROUTER_SOFTMAX_GROUPS, 8, 2, 4, 1);

	(void)unused;
	is(&c, z, NULL, by_one);
	c.router = MDL_ROUTER_SIGMOID_BIASED;
	is(&c, z, bias, by_two);
}

/* A group that is out stays out even where all scores of those within are below zero, and the bias
 * picks but doesn't weigh. */
static void negative_scores(void **unused)
{
	static const float z[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	static const float bias[8] = {-5, -5, -5, -5, -9, -9, -9, -9};
	static const int32_t want[] = {3, 2, 1};
	struct mdl_config c = config(MDL_ROUTER_SIGMOID_BIASED, 8, 3, 2, 1);
	int32_t ids[MAX_USED];
	float weights[MAX_USED];
	double sum = 0;

	(void)unused;
	c.norm_topk = true;
	c.routed_scale = 2;
	pick(&c, z, bias, ids, weights);
	assert_memory_equal(ids, want, sizeof(want));
	for (int i = 1; i <= 3; i++)
		sum += 1 / (1 + exp(-i));
	for (int i = 0; i < 3; i++)
		assert_true(fabs(weights[i] - 2 / (1 + exp(i - 3)) / sum) < 1e-6);
}

/* Logits so low that every sigmoid is 0: weights of 0, not of 0 / 0. */
static void all_zero(void **unused)
{
	static const float z[4] = {-200, -200, -200, -200}, bias[4] = {0, 0, 1, 0};
	struct mdl_config c = config(MDL_ROUTER_SIGMOID_BIASED, 4, 2, 1, 1);
	int32_t ids[MAX_USED];
	float weights[MAX_USED];

	(void)unused;
	c.norm_topk = true;
	pick(&c, z, bias, ids, weights);
	assert_int_equal(ids[0], 2);
	assert_int_equal(ids[1], 0);
	assert_true(weights[0] == 0 && weights[1] == 0);
}

static void is_lost(const struct mdl_config *c, const float *z, const float *bias)
{
	int32_t ids[MAX_USED];
	float weights[MAX_USED];

	pick(c, z, bias, ids, weights);
	for (uint32_t i = 0; i < c->experts_used; i++) {
		assert_int_equal(ids[i], i);
		assert_true(isnan(weights[i]));
	}
}

/* One logit that is not finite, anywhere, loses the row: valid ids, weights of NaN. */
static void not_finite(void **unused)
{
	static const enum mdl_router routers[] = {
		MDL_ROUTER_SOFTMAX_GREEDY, MDL_ROUTER_SOFTMAX_GROUPS, MDL_ROUTER_SIGMOID_BIASED};
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	static const float bias[16];

	(void)unused;
	for (size_t r = 0; r < 3; r++) {
		bool grouped = routers[r] != MDL_ROUTER_SOFTMAX_GREEDY;
		struct mdl_config c = config(routers[r], 16, 4, grouped ? 4 : 1, grouped ? 2 : 1);

		for (size_t b = 0; b < 3; b++) {
			for (uint32_t at = 0; at < 16; at++) {
				float z[16] = {0};

				z[at] = bad[b];
				is_lost(&c, z,
					routers[r] == MDL_ROUTER_SIGMOID_BIASED ? bias : NULL);
			}
		}
	}
}

/* Biases that a sum of two takes out of float's range lose the row, they don't end the process. */
static void huge_bias(void **unused)
{
	static const float signs[] = {1, -1};
	static const float z[16];
	struct mdl_config c = config(MDL_ROUTER_SIGMOID_BIASED, 16, 4, 4, 2);

	(void)unused;
	for (size_t s = 0; s < 2; s++) {
		float bias[16];

		for (uint32_t e = 0; e < 16; e++)
			bias[e] = signs[s] * FLT_MAX;
		is_lost(&c, z, bias);
	}
}

/* Logits are sums of products, for widths that don't fill a vector as well, and always the same. */
static void logits(void **unused)
{
	enum { EXPERTS = 5, WIDEST = 131 };
	static float w[EXPERTS * WIDEST], x[WIDEST];
	float z[EXPERTS + 1], again[EXPERTS];

	(void)unused;
	for (uint32_t hidden = 1; hidden <= WIDEST; hidden += 13) {
		for (uint32_t i = 0; i < EXPERTS * hidden; i++)
			w[i] = (float)below(2001) / 1000 - 1;
		for (uint32_t i = 0; i < hidden; i++)
			x[i] = (float)below(2001) / 1000 - 1;
		z[EXPERTS] = 77;
		eng_router_logits(w, x, EXPERTS, hidden, z);
		eng_router_logits(w, x, EXPERTS, hidden, again);
		assert_memory_equal(z, again, sizeof(again));
		assert_true(z[EXPERTS] == 77);
		for (uint32_t e = 0; e < EXPERTS; e++) {
			double sum = 0;

			for (uint32_t i = 0; i < hidden; i++)
				sum += (double)w[e * hidden + i] * x[i];
			assert_true(fabs(z[e] - sum) < 1e-5);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_rows), cmocka_unit_test(ties),
		cmocka_unit_test(groups),      cmocka_unit_test(negative_scores),
		cmocka_unit_test(all_zero),    cmocka_unit_test(not_finite),
		cmocka_unit_test(huge_bias),   cmocka_unit_test(logits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
