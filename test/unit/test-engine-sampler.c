/*
 * The sampler against a plain one in double precision, written here, on random rows; and its corners one
 * by one. Every version of the row loops that this processor runs has to give the same bits.
 *
 * A draw is a place where a running sum passes u, so a weight that differs in its last bit can move it.
 * The reference therefore says what share of [0, 1) each token owns, and u must be within TOLERANCE of
 * the share of the token that was drawn. All numbers come from fixed seeds: nothing here is by chance.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/random.h"
#include "engine/rows.h"
#include "engine/sampler.h"

#define TOLERANCE 2e-5
#define PLAIN	  .top_p = 1.0f, .repetition_penalty = 1.0f

static double uniform(uint64_t *at)
{
	return eng_uniform(99, (*at)++);
}

static uint32_t below(uint64_t *at, uint32_t n)
{
	return (uint32_t)(uniform(at) * n);
}

static double normal(uint64_t *at)
{
	double u = 1.0 - uniform(at), v = uniform(at);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* ---- the reference ------------------------------------------------------------------------ */

struct ref {
	uint32_t vocab;
	double *x;	       // [vocab] logits after biases and penalties
	double *w;	       // [vocab] weights, 0 where cut
	uint32_t *order;       // [vocab] by size, lower ids first among equals
	uint32_t *seen, *made; // [vocab] occurrences in prompt and answer
};

static struct ref *ref_open(uint32_t vocab)
{
	struct ref *r = lt_xalloc(1, sizeof(*r));

	r->vocab = vocab;
	r->x = lt_xalloc(vocab, sizeof(*r->x));
	r->w = lt_xalloc(vocab, sizeof(*r->w));
	r->order = lt_xalloc(vocab, sizeof(*r->order));
	r->seen = lt_xalloc(vocab, sizeof(*r->seen));
	r->made = lt_xalloc(vocab, sizeof(*r->made));
	return r;
}

static void ref_close(struct ref *r)
{
	free(r->x);
	free(r->w);
	free(r->order);
	free(r->seen);
	free(r->made);
	free(r);
}

static bool ref_banned(const struct eng_sampling *how, uint32_t id, uint32_t index)
{
	for (size_t i = 0; i < how->n_stop_ids; i++) {
		if ((uint32_t)how->stop_ids[i] == id)
			return how->ignore_eos || index < how->min_tokens;
	}
	return false;
}

static void ref_adjust(struct ref *r, const float *logits, const struct eng_sampling *how,
		       uint32_t index)
{
	bool force = false;

	for (size_t b = 0; b < how->n_bias; b++)
		force |= how->bias[b].add >= 100;
	for (uint32_t i = 0; i < r->vocab; i++) {
		double x = (double)logits[i], rep = (double)how->repetition_penalty;
		bool forced = false;

		for (size_t b = 0; b < how->n_bias; b++) {
			if ((uint32_t)how->bias[b].token != i)
				continue;
			x = how->bias[b].add <= -100 ? -INFINITY : x + (double)how->bias[b].add;
			forced = how->bias[b].add >= 100;
		}
		if ((force && !forced) || ref_banned(how, i, index))
			x = -INFINITY;
		if (r->seen[i] || r->made[i])
			x = x > 0 ? x / rep : x * rep;
		x -= (double)how->frequency_penalty * r->made[i];
		x -= r->made[i] ? (double)how->presence_penalty : 0;
		r->x[i] = x;
	}
}

static const double *sort_x;

static int by_x(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

	if (sort_x[i] != sort_x[j])
		return sort_x[i] > sort_x[j] ? -1 : 1;
	return (i > j) - (i < j);
}

/* Fills order and weights. */
static void ref_weigh(struct ref *r, const struct eng_sampling *how)
{
	double max, total = 0, sum = 0;
	bool done = false;

	for (uint32_t i = 0; i < r->vocab; i++)
		r->order[i] = i;
	sort_x = r->x;
	qsort(r->order, r->vocab, sizeof(*r->order), by_x);
	max = r->x[r->order[0]];
	for (uint32_t k = 0; k < r->vocab; k++) {
		uint32_t i = r->order[k];

		r->w[i] = exp((r->x[i] - max) / (double)how->temperature);
		if (r->w[i] < (double)how->min_p || (how->top_k && k >= how->top_k))
			r->w[i] = 0;
		total += r->w[i];
	}
	for (uint32_t k = 0; k < r->vocab && how->top_p < 1; k++) {
		if (done)
			r->w[r->order[k]] = 0;
		sum += r->w[r->order[k]];
		done |= sum >= (double)how->top_p * total;
	}
}

/* How far u is from the share of `token`. */
static double ref_distance(const struct ref *r, uint32_t token, double u)
{
	double total = 0, from = 0, to;

	if (r->w[token] == 0)
		return 1;
	for (uint32_t i = 0; i < r->vocab; i++) {
		from += i < token ? r->w[i] : 0;
		total += r->w[i];
	}
	to = (from + r->w[token]) / total;
	from /= total;
	return u < from ? from - u : u > to ? u - to : 0;
}

static double ref_norm(const struct ref *r)
{
	double max = r->x[r->order[0]], sum = 0;

	for (uint32_t i = 0; i < r->vocab; i++)
		sum += exp(r->x[i] - max);
	return max + log(sum);
}

static void check_logprobs(const struct ref *r, const struct eng_sampling *how,
			   const struct eng_draw *d)
{
	double norm = ref_norm(r);

	assert_true(fabs(r->x[d->token] - norm - (double)d->logprob) < 1e-5);
	for (uint32_t i = 0; i < how->top_logprobs; i++) {
		if (i == d->n_top) {
			assert_true(i == r->vocab || isinf(r->x[r->order[i]]));
			break;
		}
		assert_true(fabs(r->x[r->order[i]] - r->x[d->top_ids[i]]) < 1e-5);
		assert_true(fabs(r->x[d->top_ids[i]] - norm - (double)d->top_logprobs[i]) < 1e-5);
	}
}

/* ---- random cases ------------------------------------------------------------------------- */

struct made {
	uint32_t vocab;
	float *logits; // [vocab]
	struct eng_sampling how;
	struct eng_bias bias[4];
	int32_t stops[2];
	uint32_t index;
	struct eng_history *history;
	struct ref *ref;
};

static void make_logits(struct made *m, uint64_t *at)
{
	static const double widths[] = {0.0, 0.1, 1.0, 3.0, 30.0};
	double width = widths[below(at, 5)];
	bool coarse = below(at, 4) == 0; /* many equal logits */
	bool peak = below(at, 2) == 0, holes = below(at, 4) == 0;

	for (uint32_t i = 0; i < m->vocab; i++) {
		double x = width * normal(at);

		m->logits[i] = (float)(coarse ? floor(x * 2) / 2 : x);
		if (holes && below(at, 3) == 0)
			m->logits[i] = -INFINITY;
	}
	m->logits[below(at, m->vocab)] = peak ? 12.0f : 1.0f;
}

static void make_history(struct made *m, uint64_t *at)
{
	m->history = eng_history_open();
	assert_non_null(m->history);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t id = below(at, m->vocab);
		bool generated = below(at, 2);

		assert_int_equal(eng_history_add(m->history, (int32_t)id, generated), 0);
		*(generated ? &m->ref->made[id] : &m->ref->seen[id]) += 1;
	}
}

static void make_cuts(struct made *m, uint64_t *at)
{
	m->how = (struct eng_sampling){.seed = below(at, 1000), PLAIN};
	m->how.temperature = below(at, 8) ? (float)(0.05 + 1.95 * uniform(at)) : 1.0f;
	if (below(at, 3) == 0)
		m->how.top_k = 1 + below(at, below(at, 2) ? 50 : m->vocab);
	if (below(at, 2) == 0)
		m->how.top_p = (float)uniform(at);
	if (below(at, 10) == 0)
		m->how.top_p = 0;
	if (below(at, 3) == 0)
		m->how.min_p = (float)pow(uniform(at), 3);
}

static void make(struct made *m, uint64_t *at)
{
	static const uint32_t sizes[] = {1, 2, 15, 16, 17, 255, 256, 257, 600, 5000, 20011};

	memset(m, 0, sizeof(*m));
	m->vocab = sizes[below(at, 11)];
	m->ref = ref_open(m->vocab);
	m->logits = lt_xalloc(m->vocab, sizeof(*m->logits));
	make_logits(m, at);
	make_cuts(m, at);
	m->index = below(at, 20);
	m->how.logprobs = below(at, 2);
	m->how.top_logprobs = m->how.logprobs ? below(at, ENG_MAX_TOP_LOGPROBS + 1) : 0;
	if (below(at, 3) == 0 && m->vocab > 4) {
		for (uint32_t i = 0; i < 4; i++)
			m->bias[i] = (struct eng_bias){(int32_t)i, (float)(4 * normal(at))};
		m->bias[below(at, 4)].add = -100.0f;
		if (below(at, 3) == 0 && isfinite(m->logits[1]))
			m->bias[1].add = 100.0f;
		m->how.bias = m->bias;
		m->how.n_bias = 4;
	}
	if (below(at, 3) == 0 && m->vocab > 15 && m->bias[1].add < 100) {
		m->stops[0] = (int32_t)below(at, m->vocab);
		m->stops[1] = (int32_t)below(at, m->vocab);
		m->how.stop_ids = m->stops;
		m->how.n_stop_ids = 2;
		m->how.min_tokens = below(at, 20);
		m->how.ignore_eos = below(at, 3) == 0;
	}
	if (below(at, 3) == 0) {
		make_history(m, at);
		m->how.repetition_penalty = (float)(0.8 + uniform(at));
		m->how.frequency_penalty = (float)normal(at);
		m->how.presence_penalty = (float)normal(at);
	}
}

static void unmake(struct made *m)
{
	eng_history_close(m->history);
	ref_close(m->ref);
	free(m->logits);
}

/* Draws with every version of the loops; all must agree, logprobs included. */
static int draw_all_ways(const struct made *m, struct eng_draw *d)
{
	struct eng_sampler *s = eng_sampler_open(m->vocab);
	struct eng_draw other;
	int rc;

	assert_non_null(s);
	rc = eng_sample(s, m->logits, &m->how, m->history, m->index, d);
	for (const struct eng_rows *const *rows = eng_rows_all(); *rows; rows++) {
		eng_sampler_use(s, *rows);
		assert_int_equal(eng_sample(s, m->logits, &m->how, m->history, m->index, &other),
				 rc);
		assert_memory_equal(d, &other, sizeof(other));
	}
	eng_sampler_close(s);
	return rc;
}

static void test_random(void **state)
{
	uint64_t at = 0;
	struct eng_draw d;
	double worst = 0;
	uint32_t drawn = 0;

	(void)state;
	for (uint32_t k = 0; k < 3000; k++) {
		struct made m;
		double off;
		int rc;

		make(&m, &at);
		rc = draw_all_ways(&m, &d);
		ref_adjust(m.ref, m.logits, &m.how, m.index);
		ref_weigh(m.ref, &m.how);
		if (isinf(m.ref->x[m.ref->order[0]])) {
			assert_int_equal(rc, LT_ENUMERIC);
			unmake(&m);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_in_range(d.token, 0, m.vocab - 1);
		off = ref_distance(m.ref, (uint32_t)d.token, eng_uniform(m.how.seed, m.index));
		if (off > TOLERANCE)
			fail_msg("case %u: vocab %u, T %g, top_k %u, top_p %g, min_p %g: u is %g "
				 "away from token %d",
				 k, m.vocab, (double)m.how.temperature, m.how.top_k,
				 (double)m.how.top_p, (double)m.how.min_p, off, d.token);
		worst = off > worst ? off : worst;
		if (m.how.logprobs)
			check_logprobs(m.ref, &m.how, &d);
		drawn++;
		unmake(&m);
	}
	assert_true(drawn > 2800);
	print_message("%u draws, worst distance %.1e\n", drawn, worst);
}

/* ---- the arithmetic ----------------------------------------------------------------------- */

static void test_exponential(void **state)
{
	static float x[4096], w[4096];
	double sums[16], total, sum = 0;

	(void)state;
	for (size_t i = 0; i < 4096; i++)
		x[i] = (float)(-126.0 * (double)i / 4096);
	for (const struct eng_rows *const *rows = eng_rows_all(); *rows; rows++) {
		total = (*rows)->weigh(x, 4096, 0.0f, 1.0f, w, sums);
		sum = 0;
		for (size_t i = 0; i < 4096; i++) {
			double right = exp2((double)x[i]);

			assert_true(fabs((double)w[i] - right) <= 0x1p-22 * right);
			sum += (double)w[i];
		}
		assert_true(w[0] == 1.0f);
		assert_true(fabs(total - sum) < 1e-6 * sum);
		x[1] = -127.0f;
		x[2] = -INFINITY;
		(*rows)->weigh(x, 3, 0.0f, 1.0f, w, sums);
		assert_true(w[1] == 0.0f && w[2] == 0.0f && sums[0] == 1.0);
		x[1] = (float)(-126.0 / 4096);
		x[2] = (float)(-252.0 / 4096);
	}
}

/* ---- corners ------------------------------------------------------------------------------ */

#define SMALL 300u

/* A draw from a row of SMALL. */
static int one(const float *logits, struct eng_sampling how, uint32_t index, struct eng_draw *d)
{
	struct made m = {.vocab = SMALL, .how = how, .index = index};
	int rc;

	m.logits = lt_xalloc(SMALL, sizeof(float));
	memcpy(m.logits, logits, SMALL * sizeof(float));
	rc = draw_all_ways(&m, d);
	free(m.logits);
	return rc;
}

static void test_greedy(void **state)
{
	float x[SMALL] = {0};
	struct eng_draw d;

	(void)state;
	assert_int_equal(one(x, (struct eng_sampling){PLAIN}, 0, &d), 0);
	assert_int_equal(d.token, 0);
	x[17] = x[270] = x[299] = 3.0f; /* 17 is in a later lane, but first */
	assert_int_equal(one(x, (struct eng_sampling){PLAIN}, 0, &d), 0);
	assert_int_equal(d.token, 17);
	x[17] = 2.0f;
	assert_int_equal(one(x, (struct eng_sampling){PLAIN}, 0, &d), 0);
	assert_int_equal(d.token, 270);
	for (size_t i = 0; i < SMALL; i++)
		x[i] = -INFINITY;
	x[299] = -5.0f;
	assert_int_equal(one(x, (struct eng_sampling){PLAIN}, 0, &d), 0);
	assert_int_equal(d.token, 299);
}

static void test_not_numbers(void **state)
{
	struct eng_sampling hot = {PLAIN, .temperature = 1.0f};
	struct eng_sampling cold = {PLAIN};
	float x[SMALL];
	struct eng_draw d;

	(void)state;
	for (size_t i = 0; i < SMALL; i++) {
		memset(x, 0, sizeof(x));
		x[i] = NAN;
		assert_int_equal(one(x, hot, 0, &d), LT_ENUMERIC);
		x[i] = -NAN;
		assert_int_equal(one(x, cold, 0, &d), LT_ENUMERIC);
		x[i] = INFINITY;
		assert_int_equal(one(x, cold, 0, &d), LT_ENUMERIC);
	}
	for (size_t i = 0; i < SMALL; i++)
		x[i] = -INFINITY;
	assert_int_equal(one(x, hot, 0, &d), LT_ENUMERIC);
	assert_int_equal(one(x, cold, 0, &d), LT_ENUMERIC);
}

/* Marks what 500 draws from x [SMALL] gave; returns how many different tokens. */
static uint32_t drawn_of(struct eng_sampling how, const float *x, bool *hit)
{
	uint32_t n = 0;
	struct eng_draw d;

	memset(hit, 0, SMALL * sizeof(*hit));
	for (uint32_t i = 0; i < 500; i++) {
		assert_int_equal(one(x, how, i, &d), 0);
		n += !hit[d.token];
		hit[d.token] = true;
	}
	return n;
}

static void test_ties_in_cuts(void **state)
{
	float x[SMALL] = {0};
	bool hit[SMALL];
	struct eng_sampling how = {PLAIN, .temperature = 1.0f, .top_k = 3};

	(void)state;
	assert_int_equal(drawn_of(how, x, hit), 3);
	assert_true(hit[0] && hit[1] && hit[2]);
	how.top_k = 0;
	how.top_p = 0.01f; /* 3 of 300 */
	assert_int_equal(drawn_of(how, x, hit), 3);
	assert_true(hit[0] && hit[1] && hit[2]);
	how.top_p = 0.5f; /* of the four kept: two */
	how.top_k = 4;
	assert_int_equal(drawn_of(how, x, hit), 2);
	assert_true(hit[0] && hit[1]);
	how.top_p = 0;
	assert_int_equal(drawn_of(how, x, hit), 1);
	assert_true(hit[0]);
	x[200] = 1.0f; /* larger, then the ties */
	how = (struct eng_sampling){PLAIN, .temperature = 1.0f, .top_k = 2};
	assert_int_equal(drawn_of(how, x, hit), 2);
	assert_true(hit[200] && hit[0]);
	how = (struct eng_sampling){PLAIN, .temperature = 1.0f, .min_p = 1.0f};
	assert_int_equal(drawn_of(how, x, hit), 1);
	assert_true(hit[200]);
}

static void test_biases(void **state)
{
	struct eng_bias ban = {0, -100.0f}, forced[2] = {{7, 100.0f}, {299, 100.0f}};
	struct eng_bias outside[2] = {{-1, 100.0f}, {(int32_t)SMALL, -100.0f}};
	struct eng_sampling how = {PLAIN, .bias = &ban, .n_bias = 1};
	float x[SMALL] = {0};
	bool hit[SMALL];
	struct eng_draw d;

	(void)state;
	x[0] = 50.0f;
	x[5] = 1.0f;
	assert_int_equal(one(x, how, 0, &d), 0);
	assert_int_equal(d.token, 5);
	how.bias = forced;
	how.n_bias = 2;
	how.temperature = 1.0f;
	assert_int_equal(drawn_of(how, x, hit), 2);
	assert_true(hit[7] && hit[299]);
	how.bias = outside; /* not in the vocabulary: as if it were not there */
	how.temperature = 0;
	assert_int_equal(one(x, how, 0, &d), 0);
	assert_int_equal(d.token, 0);
}

static void test_stop_ids(void **state)
{
	static const int32_t stops[2] = {3, 9};
	struct eng_sampling how = {PLAIN, .stop_ids = stops, .n_stop_ids = 2, .min_tokens = 2};
	float x[SMALL] = {0};
	struct eng_draw d;

	(void)state;
	x[3] = 9.0f;
	x[9] = 8.0f;
	x[100] = 7.0f;
	for (uint32_t index = 0; index < 4; index++) {
		assert_int_equal(one(x, how, index, &d), 0);
		assert_int_equal(d.token, index < 2 ? 100 : 3);
	}
	how.ignore_eos = true;
	assert_int_equal(one(x, how, 50, &d), 0);
	assert_int_equal(d.token, 100);
}

/* The row, a seed and an index decide; neither the sampler's past nor other rows do. */
static void test_independence(void **state)
{
	struct eng_sampler *used = eng_sampler_open(SMALL);
	uint64_t at = 0;
	uint32_t same_index = 0, same_seed = 0;

	(void)state;
	assert_non_null(used);
	for (uint32_t k = 0; k < 300; k++) {
		struct eng_sampler *fresh = eng_sampler_open(SMALL);
		struct eng_sampling how = {PLAIN, .temperature = 1.0f, .seed = k};
		struct eng_draw a, b, c;
		float x[SMALL];

		assert_non_null(fresh);
		how.top_k = k % 3 == 0 ? 20 : 0;
		how.top_p = k % 4 == 0 ? 0.8f : 1.0f;
		how.logprobs = k % 5 == 0;
		for (size_t i = 0; i < SMALL; i++)
			x[i] = (float)normal(&at);
		assert_int_equal(eng_sample(used, x, &how, NULL, k, &a), 0);
		assert_int_equal(eng_sample(fresh, x, &how, NULL, k, &b), 0);
		assert_memory_equal(&a, &b, sizeof(a));
		assert_int_equal(eng_sample(used, x, &how, NULL, k + 1, &c), 0);
		same_index += c.token == a.token;
		how.seed += 1000;
		assert_int_equal(eng_sample(used, x, &how, NULL, k, &c), 0);
		same_seed += c.token == a.token;
		eng_sampler_close(fresh);
	}
	assert_true(same_index < 60 && same_seed < 60);
	eng_sampler_close(used);
}

/* A temperature so low that only the largest logit has a weight. */
static void test_cold(void **state)
{
	struct eng_sampling how = {PLAIN, .temperature = 1e-40f, .top_k = 5};
	float x[SMALL] = {0};
	struct eng_draw d;

	(void)state;
	x[42] = 1e-3f;
	assert_int_equal(one(x, how, 0, &d), 0);
	assert_int_equal(d.token, 42);
	how.top_k = 0;
	how.top_p = 0.9f;
	assert_int_equal(one(x, how, 1, &d), 0);
	assert_int_equal(d.token, 42);
}

/* All alternatives are told, however improbable. */
static void test_far_logprobs(void **state)
{
	struct eng_sampling how = {PLAIN, .logprobs = true, .top_logprobs = 20};
	float x[SMALL];
	struct eng_draw d;

	(void)state;
	for (size_t i = 0; i < SMALL; i++)
		x[i] = -1e6f - 1e4f * (float)i;
	x[8] = 0;
	assert_int_equal(one(x, how, 0, &d), 0);
	assert_int_equal(d.token, 8);
	assert_int_equal(d.n_top, 20);
	assert_true(d.logprob == 0.0f);
	for (uint32_t i = 1; i < 20; i++)
		assert_int_equal(d.top_ids[i], i - 1 + (i - 1 >= 8));
}

/* Draws are as frequent as they should be: chi-square over the kept tokens. */
static void check_distribution(struct eng_sampling how, const float *x, uint32_t vocab)
{
	enum { DRAWS = 100000 };
	struct eng_sampler *s = eng_sampler_open(vocab);
	struct ref *r = ref_open(vocab);
	uint32_t *counts = lt_xalloc(vocab, sizeof(*counts)), kinds = 0;
	double total = 0, chi = 0;
	struct eng_draw d;

	assert_non_null(s);
	for (uint32_t i = 0; i < DRAWS; i++) {
		assert_int_equal(eng_sample(s, x, &how, NULL, i, &d), 0);
		counts[d.token]++;
	}
	ref_adjust(r, x, &how, 0);
	ref_weigh(r, &how);
	for (uint32_t i = 0; i < vocab; i++)
		total += r->w[i];
	for (uint32_t i = 0; i < vocab; i++) {
		double expected = r->w[i] / total * DRAWS;

		if (r->w[i] == 0)
			assert_int_equal(counts[i], 0);
		if (expected < 5)
			continue;
		chi += (counts[i] - expected) * (counts[i] - expected) / expected;
		kinds++;
	}
	/* Mean kinds - 1, deviation sqrt(2 (kinds - 1)); the seed is fixed. */
	assert_true(kinds > 3);
	assert_true(chi < kinds - 1 + 5 * sqrt(2.0 * (kinds - 1)));
	free(counts);
	ref_close(r);
	eng_sampler_close(s);
}

static void test_distribution(void **state)
{
	float x[SMALL];
	uint64_t at = 500000;

	(void)state;
	for (size_t i = 0; i < SMALL; i++)
		x[i] = (float)(1.5 * normal(&at));
	check_distribution((struct eng_sampling){PLAIN, .temperature = 1.0f, .seed = 1}, x, SMALL);
	check_distribution((struct eng_sampling){PLAIN, .temperature = 0.5f, .seed = 2}, x, SMALL);
	check_distribution(
		(struct eng_sampling){PLAIN, .temperature = 1.0f, .top_k = 25, .seed = 3}, x,
		SMALL);
	check_distribution(
		(struct eng_sampling){
			.repetition_penalty = 1.0f, .top_p = 0.8f, .temperature = 1.0f, .seed = 4},
		x, SMALL);
	check_distribution(
		(struct eng_sampling){PLAIN, .temperature = 1.3f, .min_p = 0.1f, .seed = 5}, x,
		SMALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exponential),  cmocka_unit_test(test_greedy),
		cmocka_unit_test(test_not_numbers),  cmocka_unit_test(test_ties_in_cuts),
		cmocka_unit_test(test_biases),	     cmocka_unit_test(test_stop_ids),
		cmocka_unit_test(test_independence), cmocka_unit_test(test_cold),
		cmocka_unit_test(test_far_logprobs), cmocka_unit_test(test_distribution),
		cmocka_unit_test(test_random),
	};

	for (const struct eng_rows *const *rows = eng_rows_all(); *rows; rows++)
		print_message("rows: %s\n", (*rows)->isa);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
