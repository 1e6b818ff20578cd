/*
 * The sampler. What is computed, in this order:
 *   1. biases are added (-100 or less: never; +100 or more: only such tokens), stop ids are taken
 *      out where they may not be drawn;
 *   2. penalties: repetition, then frequency and presence;
 *   3. log-probabilities are recorded;
 *   4. temperature: weights w = exp((x - max) / T);
 *   5. min_p keeps w >= min_p (the largest w is 1); top_k the k largest of those; top_p the fewest
 *      of those, largest first, whose share reaches top_p. Ties go to the lower id;
 *   6. the draw: the first kept token, in order of ids, where the running sum of weights passes
 *      u times their total; u comes from the counter-based generator.
 *
 * Speed: a vocabulary of 130,000 is passed over a few times in loops that the compiler can
 * vectorise (fixed inner length, no branches). Nothing is sorted: a cut finds its threshold by
 * counting weights by their leading bits, three passes whatever the distribution looks like.
 *
 * One struct eng_sampler is for one thread at a time; results depend on the arguments alone.
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "engine/random.h"

#define LANES  16u  /* inner length of the vectorised loops */
#define CHUNK  256u /* weights that share one partial sum */
#define BINS   2048u
#define SPLIT  2u /* parts of a bin: equal weights in a row need not wait for each other's sum */
#define BAN    (-100.0f)
#define FORCE  100.0f
#define IN_ANY UINT64_C(1) /* history: the token was seen; the count of generated ones follows */

/* ---- history ------------------------------------------------------------------------------ */

struct eng_history {
	struct lt_map *seen; /* token (4 bytes) to generated count << 1 | IN_ANY */
};

struct eng_history *eng_history_open(void)
{
	struct eng_history *h = lt_alloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->seen = lt_map_open(64);
	if (!h->seen) {
		free(h);
		return NULL;
	}
	return h;
}

void eng_history_close(struct eng_history *h)
{
	if (!h)
		return;
	lt_map_close(h->seen);
	free(h);
}

int eng_history_add(struct eng_history *h, int32_t token, bool generated)
{
	uint64_t seen = 0;
	bool known = lt_map_get(h->seen, &token, sizeof(token), &seen);

	if (known && !generated)
		return 0;
	return lt_map_put(h->seen, &token, sizeof(token), (seen | IN_ANY) + (generated ? 2 : 0));
}

/* ---- scratch memory ----------------------------------------------------------------------- */

struct eng_sampler {
	uint32_t vocab;
	size_t padded;	/* vocab rounded up to a CHUNK */
	float *logits;	// [padded] adjusted copy
	float *weights; // [padded]
	double *sums;	// [padded / CHUNK] of weights
	uint32_t *ids;	// [padded] kept tokens, ascending
	float *kept;	// [padded] their weights
	double *bins;	// [BINS, SPLIT] number or mass of weights with the same leading bits
};

struct eng_sampler *eng_sampler_open(uint32_t vocab)
{
	struct eng_sampler *s = lt_alloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->vocab = vocab;
	s->padded = ((size_t)vocab + CHUNK - 1) / CHUNK * CHUNK;
	s->logits = lt_alloc_aligned(64, s->padded, sizeof(float));
	s->weights = lt_alloc_aligned(64, s->padded, sizeof(float));
	s->sums = lt_alloc(s->padded / CHUNK, sizeof(double));
	s->ids = lt_alloc(s->padded, sizeof(uint32_t));
	s->kept = lt_alloc(s->padded, sizeof(float));
	s->bins = lt_alloc(BINS * SPLIT, sizeof(double));
	if (!s->logits || !s->weights || !s->sums || !s->ids || !s->kept || !s->bins) {
		eng_sampler_close(s);
		return NULL;
	}
	return s;
}

void eng_sampler_close(struct eng_sampler *s)
{
	if (!s)
		return;
	free(s->logits);
	free(s->weights);
	free(s->sums);
	free(s->ids);
	free(s->kept);
	free(s->bins);
	free(s);
}

/* ---- arithmetic on whole rows ------------------------------------------------------------- */

/* Four at a time: what every processor has, and no compiler needs to be talked into. */
typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
#define VEC 4u

static inline vec load(const float *from)
{
	vec v;

	memcpy(&v, from, sizeof(v));
	return v;
}

static inline vec choose(ivec mask, vec a, vec b)
{
	return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}

/* e^x for x <= 0 to about 1 ulp; 0 below -87. The same on every machine, which libm's is not.
 * x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, so that n ln 2 loses nothing. */
static inline vec exp_neg(vec x)
{
	const float to_int = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
	ivec in_range = x > -87.0f;
	vec c = choose(in_range, x, (vec){-87.0f, -87.0f, -87.0f, -87.0f});
	vec n = (c * 1.44269504f + to_int) - to_int;
	vec r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
	ivec scale = (__builtin_convertvector(n, ivec) + 127) << 23;
	vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;

	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * (r * r) + r + 1.0f;
	return (vec)((ivec)(p * (vec)scale) & in_range);
}

/* The largest of x [n] and the first place where it stands; false when an x is NaN. */
static bool survey(const float *restrict x, size_t n, float *max, size_t *at)
{
	float top[LANES];
	uint32_t nans[LANES] = {0};
	uint32_t nan = 0;
	float m = -INFINITY;
	size_t i;

	for (i = 0; i < LANES; i++)
		top[i] = -INFINITY;
	for (i = 0; i + LANES <= n; i += LANES) {
		for (size_t l = 0; l < LANES; l++) {
			float v = x[i + l];

			top[l] = v > top[l] ? v : top[l];
			nans[l] |= v != v;
		}
	}
	for (; i < n; i++) {
		m = x[i] > m ? x[i] : m;
		nan |= x[i] != x[i];
	}
	for (size_t l = 0; l < LANES; l++) {
		m = top[l] > m ? top[l] : m;
		nan |= nans[l];
	}
	*max = m;
	for (i = 0; i < n && x[i] != m; i++)
		;
	*at = i;
	return !nan;
}

/* out [CHUNK] = exp((x - max) / t); returns their sum. */
static double weigh_chunk(const float *x, float max, float t, float *out)
{
	double sum[VEC] = {0};

	for (size_t i = 0; i < CHUNK; i += VEC) {
		vec w = exp_neg((load(x + i) - max) / t);

		memcpy(out + i, &w, sizeof(w));
		for (size_t l = 0; l < VEC; l++)
			sum[l] += (double)w[l];
	}
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Fills s->weights and s->sums; returns the total. */
static double weigh(struct eng_sampler *s, const float *x, float max, float t)
{
	size_t n = s->vocab, whole = n / CHUNK * CHUNK;
	float tail[CHUNK];
	double total = 0;

	for (size_t i = 0; i < whole; i += CHUNK)
		total += s->sums[i / CHUNK] = weigh_chunk(x + i, max, t, s->weights + i);
	if (whole < n) {
		for (size_t i = 0; i < CHUNK; i++)
			tail[i] = whole + i < n ? x[whole + i] : -INFINITY;
		total += s->sums[whole / CHUNK] = weigh_chunk(tail, max, t, s->weights + whole);
	}
	return total;
}

/* ---- biases and penalties ----------------------------------------------------------------- */

static bool in_vocab(const struct eng_sampler *s, int32_t token)
{
	return token >= 0 && (uint32_t)token < s->vocab;
}

static bool stops_banned(const struct eng_sampling *how, uint32_t index)
{
	return how->n_stop_ids > 0 && (how->ignore_eos || index < how->min_tokens);
}

static bool has_penalty(const struct eng_sampling *how)
{
	return how->presence_penalty != 0.0f || how->frequency_penalty != 0.0f ||
	       how->repetition_penalty != 1.0f;
}

static void add_biases(struct eng_sampler *s, const struct eng_sampling *how)
{
	bool force = false;

	for (size_t i = 0; i < how->n_bias; i++) {
		const struct eng_bias *b = &how->bias[i];

		if (!in_vocab(s, b->token))
			continue;
		s->logits[b->token] = b->add <= BAN ? -INFINITY : s->logits[b->token] + b->add;
		force |= b->add >= FORCE;
	}
	if (!force)
		return;
	/* Only the forced ones remain: set aside, all taken out, put back. */
	memcpy(s->weights, s->logits, s->vocab * sizeof(float));
	for (size_t i = 0; i < s->vocab; i++)
		s->logits[i] = -INFINITY;
	for (size_t i = 0; i < how->n_bias; i++) {
		const struct eng_bias *b = &how->bias[i];

		if (b->add >= FORCE && in_vocab(s, b->token))
			s->logits[b->token] = s->weights[b->token];
	}
}

static void ban_stops(struct eng_sampler *s, const struct eng_sampling *how)
{
	for (size_t i = 0; i < how->n_stop_ids; i++) {
		if (in_vocab(s, how->stop_ids[i]))
			s->logits[how->stop_ids[i]] = -INFINITY;
	}
}

static void add_penalties(struct eng_sampler *s, const struct eng_sampling *how,
			  const struct eng_history *history)
{
	const void *key;
	size_t at = 0, n;
	uint64_t seen;
	int32_t token;

	while (lt_map_next(history->seen, &at, &key, &n, &seen)) {
		memcpy(&token, key, sizeof(token));
		if (!in_vocab(s, token))
			continue;
		float *x = &s->logits[token];

		if (how->repetition_penalty != 1.0f)
			*x = *x > 0.0f ? *x / how->repetition_penalty
				       : *x * how->repetition_penalty;
		*x -= how->frequency_penalty * (float)(seen >> 1);
		*x -= seen >> 1 ? how->presence_penalty : 0.0f;
	}
}

/* The row with biases and penalties: `logits` itself where there are none. */
static const float *adjust(struct eng_sampler *s, const float *logits,
			   const struct eng_sampling *how, const struct eng_history *history,
			   uint32_t index)
{
	bool penalise = history && has_penalty(how);
	bool ban = stops_banned(how, index);

	if (how->n_bias == 0 && !penalise && !ban)
		return logits;
	memcpy(s->logits, logits, s->vocab * sizeof(float));
	if (how->n_bias > 0)
		add_biases(s, how);
	if (ban)
		ban_stops(s, how);
	if (penalise)
		add_penalties(s, how, history);
	return s->logits;
}

/* ---- log-probabilities -------------------------------------------------------------------- */

/* The n largest of x, largest first, lower ids first among equals; -inf is left out. */
static uint32_t find_top(const float *x, size_t vocab, uint32_t n, int32_t *ids, float *top)
{
	uint32_t found = 0;
	float least = -INFINITY; /* a new one must be larger */

	for (size_t i = 0; i < vocab; i++) {
		if (!(x[i] > least))
			continue;
		uint32_t to = found < n ? found++ : n - 1;

		for (; to > 0 && x[i] > top[to - 1]; to--) {
			top[to] = top[to - 1];
			ids[to] = ids[to - 1];
		}
		top[to] = x[i];
		ids[to] = (int32_t)i;
		if (found == n)
			least = top[n - 1];
	}
	return found;
}

/* Leaves log(sum of exp(x)) in *norm and the alternatives in out. */
static void record_logprobs(struct eng_sampler *s, const float *x, float max,
			    const struct eng_sampling *how, double *norm, struct eng_draw *out)
{
	uint32_t n = how->top_logprobs;

	*norm = (double)max + log(weigh(s, x, max, 1.0f));
	if (n > ENG_MAX_TOP_LOGPROBS)
		n = ENG_MAX_TOP_LOGPROBS;
	if (n == 0)
		return;
	out->n_top = find_top(x, s->vocab, n, out->top_ids, out->top_logprobs);
	for (uint32_t i = 0; i < out->n_top; i++)
		out->top_logprobs[i] = (float)((double)out->top_logprobs[i] - *norm);
}

/* ---- cuts and draw ------------------------------------------------------------------------ */

static uint32_t bits_of(float w)
{
	uint32_t bits;

	memcpy(&bits, &w, sizeof(bits));
	return bits;
}

/* Gathers the weights that are positive and at least `least`, in order of ids. */
static size_t gather(struct eng_sampler *s, float least)
{
	size_t n = 0;

	if (!(least >= 1e-38f))
		least = 1e-38f;
	if (least > 1.0f)
		least = 1.0f;
	for (size_t i = 0; i < s->vocab; i++) {
		s->ids[n] = (uint32_t)i;
		s->kept[n] = s->weights[i];
		n += s->weights[i] >= least;
	}
	return n;
}

struct cut {
	uint32_t bits; /* of the least weight that is kept */
	uint32_t ties; /* how many of exactly that weight */
};

/* Walks the bins from the highest down to the one where *above passes `want`, and returns it; *above
 * is then what lies in higher bins. Rounding may leave a sum just short of `want`: then it is the
 * lowest bin that is not empty. */
static uint32_t find_bin(const double *bins, uint32_t n_bins, double want, double *above)
{
	uint32_t at = n_bins;
	double size = 0;

	for (uint32_t i = n_bins; i-- > 0;) {
		double next = 0;

		for (uint32_t part = 0; part < SPLIT; part++)
			next += bins[i * SPLIT + part];
		if (next == 0)
			continue;
		*above += size;
		size = next;
		at = i;
		if (*above + size >= want)
			break;
	}
	LT_ASSERT(at < n_bins);
	return at;
}

/* Finds where the largest of w [n] reach `want`: a number of them, or (by_mass) a sum. The bits of
 * positive floats are ordered as the floats are, so three counting passes over 11, 11 and 10 bits
 * narrow the threshold down to one value. left [n] is scratch (w itself will do). */
static struct cut find_cut(struct eng_sampler *s, const float *w, size_t n, double want,
			   bool by_mass, float *left)
{
	static const unsigned shifts[3] = {21, 10, 0};
	uint32_t prefix = 0, at = 0;
	double above = 0; /* number or mass of those known to be larger */
	double each, ties, most;

	for (unsigned pass = 0; pass < 3; pass++) {
		uint32_t n_bins = pass < 2 ? 2048 : 1024;
		size_t to = 0;

		memset(s->bins, 0, n_bins * SPLIT * sizeof(*s->bins));
		for (size_t i = 0; i < n; i++) {
			uint32_t bin = bits_of(w[i]) >> shifts[pass] & (n_bins - 1);

			s->bins[bin * SPLIT + i % SPLIT] += by_mass ? (double)w[i] : 1.0;
		}
		at = find_bin(s->bins, n_bins, want, &above);
		prefix = prefix * n_bins | at;
		/* Only those in the bin go on. */
		for (size_t i = 0; i < n; i++) {
			float v = w[i];

			left[to] = v;
			to += bits_of(v) >> shifts[pass] == prefix;
		}
		w = left;
		n = to;
	}
	each = by_mass ? (double)w[0] : 1.0;
	ties = ceil((want - above) / each);
	most = (double)n;
	return (struct cut){prefix, (uint32_t)(!(ties >= 1) ? 1 : ties > most ? most : ties)};
}

/* Keeps what is above the cut, and the first of those on it. */
static size_t apply_cut(struct eng_sampler *s, size_t n, struct cut cut)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t bits = bits_of(s->kept[i]);
		bool keep = bits > cut.bits || (bits == cut.bits && cut.ties > 0);

		cut.ties -= keep && bits == cut.bits;
		s->ids[to] = s->ids[i];
		s->kept[to] = s->kept[i];
		to += keep;
	}
	return to;
}

static double sum_kept(const struct eng_sampler *s, size_t n)
{
	double total = 0;

	for (size_t i = 0; i < n; i++)
		total += (double)s->kept[i];
	return total;
}

/* The draw without cuts: whole chunks are skipped by their sums. */
static int32_t draw_all(const struct eng_sampler *s, double target)
{
	size_t chunk = 0, chunks = s->padded / CHUNK;
	double sum = 0;
	int32_t last = 0;

	while (chunk + 1 < chunks && sum + s->sums[chunk] <= target)
		sum += s->sums[chunk++];
	for (size_t i = chunk * CHUNK; i < s->vocab; i++) {
		if (s->weights[i] == 0.0f)
			continue;
		sum += (double)s->weights[i];
		last = (int32_t)i;
		if (sum > target)
			break;
	}
	return last;
}

/* A weight that the k-th largest does not fall below: the k-th largest of the maxima of LANES
 * neighbours each. Spares most weights a closer look. */
static float bound_top_k(struct eng_sampler *s, uint32_t k)
{
	size_t n = s->padded / LANES;
	uint32_t bits;
	float bound;

	if (k > n)
		return 0;
	for (size_t i = 0; i < n; i++) {
		vec top = load(s->weights + i * LANES);
		float *m = &s->kept[i];

		for (size_t l = VEC; l < LANES; l += VEC) {
			vec v = load(s->weights + i * LANES + l);

			top = choose(v > top, v, top);
		}
		*m = top[0];
		for (size_t l = 1; l < VEC; l++)
			*m = top[l] > *m ? top[l] : *m;
	}
	bits = find_cut(s, s->kept, n, k, false, s->kept).bits;
	memcpy(&bound, &bits, sizeof(bound));
	return bound;
}

/* What every weight that a cut can keep is at least. */
static float bound_cuts(struct eng_sampler *s, const struct eng_sampling *how, double total)
{
	if (how->min_p > 0.0f)
		return how->min_p;
	if (how->top_k > 0 && how->top_k < s->vocab)
		return bound_top_k(s, how->top_k);
	/* All weights below (1 - top_p) of the mean can't make up more than 1 - top_p together, so
	 * top_p never gets to them (a hair less, for the rounding of the sums). */
	return (float)(0.999 * (1.0 - (double)how->top_p) * total / s->vocab);
}

static int32_t draw(struct eng_sampler *s, const float *x, float max,
		    const struct eng_sampling *how, uint32_t index)
{
	double u = eng_uniform(how->seed, index);
	double total = weigh(s, x, max, how->temperature);
	bool top_k = how->top_k > 0 && how->top_k < s->vocab, top_p = how->top_p < 1.0f;
	double sum = 0, target;
	size_t n, i;

	if (!top_k && !top_p && how->min_p <= 0.0f)
		return draw_all(s, u * total);
	n = gather(s, bound_cuts(s, how, total));
	if (top_k && how->top_k < n)
		n = apply_cut(s, n, find_cut(s, s->kept, n, how->top_k, false, s->weights));
	if (top_p) {
		if (top_k || how->min_p > 0.0f)
			total = sum_kept(s, n);
		total *= (double)how->top_p;
		n = apply_cut(s, n, find_cut(s, s->kept, n, total, true, s->weights));
	}
	target = u * sum_kept(s, n);
	for (i = 0; i + 1 < n; i++) {
		sum += (double)s->kept[i];
		if (sum > target)
			break;
	}
	return (int32_t)s->ids[i];
}

int eng_sample(struct eng_sampler *s, const float *logits, const struct eng_sampling *how,
	       const struct eng_history *history, uint32_t index, struct eng_draw *out)
{
	const float *x = adjust(s, logits, how, history, index);
	double norm = 0;
	size_t argmax;
	float max;

	memset(out, 0, sizeof(*out));
	if (!survey(x, s->vocab, &max, &argmax) || !isfinite(max))
		return LT_ENUMERIC;
	if (how->logprobs)
		record_logprobs(s, x, max, how, &norm, out);
	out->token = how->temperature > 0.0f ? draw(s, x, max, how, index) : (int32_t)argmax;
	if (how->logprobs)
		out->logprob = (float)((double)x[out->token] - norm);
	return 0;
}
