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
 * Speed: whole rows are passed over by the loops of rows.h alone, and nothing is sorted. top_k and
 * min_p pick candidates among the logits by a bound, so that few weights are computed; the cut of
 * top_p is closed in on, eight thresholds a pass, and after the first passes few weights are left.
 *
 * One struct eng_sampler is for one thread at a time; results depend on the arguments alone, not
 * on the processor.
 */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "engine/random.h"
#include "engine/rows.h"

#define LANES  ENG_ROW_LANES
#define CHUNK  ENG_ROW_CHUNK
#define MARKS  ENG_ROW_MARKS
#define FEW    2048u /* weights that are worth copying out */
#define BAN    (-100.0f)
#define FORCE  100.0f
#define LOG2E  1.4426950408889634
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
	const struct eng_rows *rows;
	uint32_t vocab;
	size_t chunks;	/* that vocab makes, rounded up */
	float *logits;	// [vocab] adjusted copy
	float *tops;	// [chunks, LANES] largest logit of each lane
	float *weights; // [room] of all tokens or of candidates; room: chunks whole, and some slack
	double *sums;	// [chunks] of weights
	uint32_t *ids;	// [room] candidates, ascending
	float *kept;	// [room] their logits
	uint32_t *at;	// [room] where an interval's weights are
	float *left;	// [room] those weights
};

struct eng_sampler *eng_sampler_open(uint32_t vocab)
{
	struct eng_sampler *s = lt_alloc(1, sizeof(*s));
	size_t room;

	if (!s)
		return NULL;
	s->rows = eng_rows_all()[0];
	s->vocab = vocab;
	s->chunks = ((size_t)vocab + CHUNK - 1) / CHUNK;
	room = s->chunks * CHUNK + ENG_ROW_SLACK;
	s->logits = lt_alloc_aligned(64, vocab, sizeof(float));
	s->tops = lt_alloc_aligned(64, s->chunks * LANES, sizeof(float));
	s->weights = lt_alloc_aligned(64, room, sizeof(float));
	s->sums = lt_alloc(s->chunks, sizeof(double));
	s->ids = lt_alloc(room, sizeof(uint32_t));
	s->kept = lt_alloc_aligned(64, room, sizeof(float));
	s->at = lt_alloc(room, sizeof(uint32_t));
	s->left = lt_alloc_aligned(64, room, sizeof(float));
	if (!s->logits || !s->tops || !s->weights || !s->sums || !s->ids || !s->kept || !s->at ||
	    !s->left) {
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
	free(s->tops);
	free(s->weights);
	free(s->sums);
	free(s->ids);
	free(s->kept);
	free(s->at);
	free(s->left);
	free(s);
}

void eng_sampler_use(struct eng_sampler *s, const struct eng_rows *rows)
{
	s->rows = rows;
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

/* ---- cuts --------------------------------------------------------------------------------- */

static uint32_t bits_of(float w)
{
	uint32_t bits;

	memcpy(&bits, &w, sizeof(bits));
	return bits;
}

static float float_of(uint32_t bits)
{
	float w;

	memcpy(&w, &bits, sizeof(w));
	return w;
}

/* Weights w [n] and what is kept of them: those above `above`, and those equal to it that stand
 * before `until`. */
struct set {
	const float *w;
	size_t n;
	float above;
	size_t until;
};

/* The interval [lo, hi) in which a threshold lies, as bits of positive floats, which are ordered as
 * the floats are; and how much (a mass or a number) of the weights is at least lo and hi. */
struct interval {
	uint32_t lo, hi;
	double lo_size, hi_size;
};

/* One pass: an eighth of the interval, or one value, remains. On the first pass false if even lo holds
 * less than `want`; later that can only be the rounding of sums in another order. `beyond` is the size
 * of what lies above all of w. */
static bool narrow(const struct eng_sampler *s, const float *w, size_t n, double want, bool by_mass,
		   double beyond, bool first, struct interval *in)
{
	uint32_t step = (in->hi - in->lo + MARKS - 1) / MARKS;
	float marks[MARKS];
	double size[MARKS];
	uint32_t j = 0;

	for (uint32_t i = 0; i < MARKS; i++) {
		uint32_t bits = in->lo + i * step;

		marks[i] = float_of(bits < in->hi ? bits : in->hi - 1);
	}
	s->rows->masses(w, n, marks, by_mass, size);
	if (first && beyond + size[0] < want)
		return false;
	while (j + 1 < MARKS && bits_of(marks[j + 1]) > bits_of(marks[j]) &&
	       beyond + size[j + 1] >= want)
		j++;
	if (j + 1 < MARKS && bits_of(marks[j + 1]) > bits_of(marks[j])) {
		in->hi = bits_of(marks[j + 1]);
		in->hi_size = beyond + size[j + 1];
	}
	in->lo = bits_of(marks[j]);
	in->lo_size = beyond + size[j];
	return true;
}

/* Cuts a set down to its largest, until they are `want` (a sum, if by_mass, or a number); weights
 * below `least`, which is above 0, are known not to be among them. Leaves a set that has less in it
 * as it is. */
static void cut(struct eng_sampler *s, struct set *set, double want, bool by_mass, float least)
{
	struct interval in = {bits_of(least), bits_of(1.0f) + 1, 0, 0};
	const float *w = set->w;
	size_t n = set->n, found;
	double beyond = 0, ties;
	bool copied = false, first = true;

	while (narrow(s, w, n, want, by_mass, beyond, first, &in)) {
		double most = in.lo_size - in.hi_size;

		first = false;
		if (in.hi - in.lo == 1)
			break;
		most /= by_mass ? (double)float_of(in.lo) : 1.0;
		if (copied || most > FEW)
			continue;
		n = s->rows->gather(w, n, float_of(in.lo), float_of(in.hi), s->at, s->left);
		w = s->left;
		beyond = in.hi_size;
		copied = true;
	}
	if (in.hi - in.lo != 1)
		return;
	ties = ceil((want - in.hi_size) / (by_mass ? (double)float_of(in.lo) : 1.0));
	found = s->rows->gather(set->w, set->n, float_of(in.lo), float_of(in.hi), s->at, s->left);
	set->above = float_of(in.lo);
	if (found > 0 && ties < (double)found)
		found = ties >= 1 ? (size_t)ties : 1;
	set->until = found > 0 ? s->at[found - 1] + 1 : 0;
}

/* s->sums and their total, of what is kept. */
static double sum_kept(struct eng_sampler *s, const struct set *set)
{
	double total = s->rows->sums(set->w, set->n, set->above, s->sums);
	size_t n;

	if (set->until == 0)
		return total;
	n = s->rows->gather(set->w, set->until, set->above, float_of(bits_of(set->above) + 1),
			    s->at, s->left);
	for (size_t i = 0; i < n; i++)
		s->sums[s->at[i] / CHUNK] += (double)set->above;
	return total + (double)n * (double)set->above;
}

/* Where the running sum of what is kept passes `target`: whole chunks are skipped by their sums.
 * Rounding may leave the sum short of it: then the last one that is kept. */
static size_t find_target(const struct eng_sampler *s, const struct set *set, double target)
{
	size_t chunk = 0, last = 0, end;
	double before = 0, next = 0;

	for (size_t c = 0; c * CHUNK < set->n; c++) {
		if (s->sums[c] == 0)
			continue;
		chunk = c;
		before = next;
		next += s->sums[c];
		if (next > target)
			break;
	}
	end = (chunk + 1) * CHUNK < set->n ? (chunk + 1) * CHUNK : set->n;
	for (size_t i = chunk * CHUNK; i < end; i++) {
		float w = set->w[i];

		if (!(w > set->above || (w == set->above && i < set->until)))
			continue;
		last = i;
		before += (double)w;
		if (before > target)
			break;
	}
	return last;
}

/* A logit that the k largest do not fall below: the k-th largest of the lanes' largest ones, found
 * by weights that fall so slowly that they do not reach 0. -FLT_MAX where that can't be told. */
static float bound_top(struct eng_sampler *s, float max, size_t k)
{
	size_t n = s->chunks * LANES, found;
	struct set set = {.w = s->weights, .n = n};
	float least = INFINITY;

	if (k > n)
		return -FLT_MAX;
	s->rows->weigh(s->tops, n, max, 1.0f / 16, s->weights, s->sums);
	cut(s, &set, (double)k, false, FLT_MIN);
	if (set.until == 0)
		return -FLT_MAX;
	found = s->rows->gather(set.w, n, set.above, INFINITY, s->at, s->left);
	for (size_t i = 0; i < found; i++)
		least = s->tops[s->at[i]] < least ? s->tops[s->at[i]] : least;
	return least;
}

/* ---- log-probabilities -------------------------------------------------------------------- */

/* The n largest of x, largest first, lower ids first among equals; -inf is left out. */
static uint32_t find_top(struct eng_sampler *s, const float *x, float max, uint32_t n, int32_t *ids,
			 float *top)
{
	size_t found =
		s->rows->gather(x, s->vocab, bound_top(s, max, n), INFINITY, s->ids, s->kept);
	uint32_t have = 0;

	for (size_t i = 0; i < found; i++) {
		float v = s->kept[i];
		uint32_t to = have;

		if (have == n && !(v > top[n - 1]))
			continue;
		if (have < n)
			have++;
		else
			to = n - 1;
		for (; to > 0 && v > top[to - 1]; to--) {
			top[to] = top[to - 1];
			ids[to] = ids[to - 1];
		}
		top[to] = v;
		ids[to] = (int32_t)s->ids[i];
	}
	return have;
}

/* Leaves log(sum of exp(x)) in *norm and the alternatives in out. */
static void record_logprobs(struct eng_sampler *s, const float *x, float max,
			    const struct eng_sampling *how, double *norm, struct eng_draw *out)
{
	uint32_t n = how->top_logprobs;

	*norm = (double)max +
		log(s->rows->weigh(x, s->vocab, max, (float)LOG2E, s->weights, s->sums));
	if (n > ENG_MAX_TOP_LOGPROBS)
		n = ENG_MAX_TOP_LOGPROBS;
	if (n == 0)
		return;
	out->n_top = find_top(s, x, max, n, out->top_ids, out->top_logprobs);
	for (uint32_t i = 0; i < out->n_top; i++)
		out->top_logprobs[i] = (float)((double)out->top_logprobs[i] - *norm);
}

/* ---- draw --------------------------------------------------------------------------------- */

static bool has_top_k(const struct eng_sampler *s, const struct eng_sampling *how)
{
	return how->top_k > 0 && how->top_k < s->vocab;
}

/* Lists in s->ids and s->kept what top_k and min_p can leave, and a little more; returns how many. A
 * weight is 0 further below the largest logit than 127 / scale, and below min_p further than -log
 * min_p * T; the slack covers the error of the weights and of this. */
static size_t choose(struct eng_sampler *s, const float *x, float max, double scale,
		     const struct eng_sampling *how)
{
	double reach = -ENG_ROW_LOWEST;
	float bound = -FLT_MAX, least;

	if (how->min_p > 0.0f && -log2((double)how->min_p) < reach)
		reach = how->min_p < 1.0f ? -log2((double)how->min_p) : 0;
	least = (float)((double)max - (reach * 1.0001 + 0.001) / scale);
	least = nextafterf(least, -INFINITY);
	if (has_top_k(s, how))
		bound = bound_top(s, max, how->top_k);
	bound = least > bound ? least : bound;
	return s->rows->gather(x, s->vocab, bound, INFINITY, s->ids, s->kept);
}

static int32_t draw(struct eng_sampler *s, const float *x, float max,
		    const struct eng_sampling *how, uint32_t index)
{
	double u = eng_uniform(how->seed, index), total;
	double exact = LOG2E / (double)how->temperature;
	float scale = exact < (double)FLT_MAX ? (float)exact : FLT_MAX;
	struct set set = {.w = s->weights, .n = s->vocab};
	bool some = has_top_k(s, how) || how->min_p > 0.0f;
	float least = FLT_MIN;
	size_t at;

	if (some) {
		set.n = choose(s, x, max, (double)scale, how);
		x = s->kept;
	}
	total = s->rows->weigh(x, set.n, max, scale, s->weights, s->sums);
	if (how->min_p > FLT_MIN) {
		least = how->min_p < 1.0f ? how->min_p : 1.0f;
		set.above = float_of(bits_of(least) - 1);
	}
	if (has_top_k(s, how))
		cut(s, &set, (double)how->top_k, false, least);
	if (some)
		total = sum_kept(s, &set);
	if (how->top_p < 1.0f) {
		/* What lies below (1 - top_p) of the mean can't make up more than 1 - top_p together, so
		 * top_p never gets to it (a hair less, for the rounding of the sums). The largest
		 * weight, which is 1, always stays. */
		double mean = 0.999 * (1.0 - (double)how->top_p) * total / (double)set.n;
		double want = (double)how->top_p * total;
		struct set shorter = {.w = set.w, .n = set.n};

		least = mean > (double)least ? (float)mean : least;
		least = set.above > least ? set.above : least;
		cut(s, &shorter, want > 1 ? want : 1, true, least);
		/* The cut counts all that equal top_k's last weight; so few they are. */
		if (shorter.above > set.above)
			set = shorter;
		else if (shorter.above == set.above && shorter.until < set.until)
			set = shorter;
		total = sum_kept(s, &set);
	}
	at = find_target(s, &set, u * total);
	return (int32_t)(some ? s->ids[at] : at);
}

/* The first token whose logit is the largest. */
static int32_t first_of(struct eng_sampler *s, const float *x, float max)
{
	size_t i;

	s->rows->gather(s->tops, s->chunks * LANES, max, INFINITY, s->at, s->left);
	for (i = s->at[0] / LANES * CHUNK; x[i] != max; i++)
		;
	return (int32_t)i;
}

int eng_sample(struct eng_sampler *s, const float *logits, const struct eng_sampling *how,
	       const struct eng_history *history, uint32_t index, struct eng_draw *out)
{
	const float *x = adjust(s, logits, how, history, index);
	double norm = 0;
	float max;

	memset(out, 0, sizeof(*out));
	if (!s->rows->survey(x, s->vocab, &max, s->tops) || !isfinite(max))
		return LT_ENUMERIC;
	if (how->logprobs)
		record_logprobs(s, x, max, how, &norm, out);
	out->token = how->temperature > 0.0f ? draw(s, x, max, how, index) : first_of(s, x, max);
	if (how->logprobs)
		out->logprob = (float)((double)x[out->token] - norm);
	return 0;
}
