/*
 * The fake engine. Steps run in the scheduler's thread; the controls are for the test's and share a
 * mutex with them.
 */
#include "test/unit/fake-engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BLOCK ENG_BLOCK_TOKENS

struct latent {
	uint64_t value;
	bool poison;
};

struct eng {
	struct eng_info info;
	struct fake_opts opts;
	struct latent *cache;		// [blocks * BLOCK]
	const struct eng_span **writer; // [blocks] of the step at hand
	float *logits;			// [max_outputs, vocab]
	int32_t *tokens;		// [max_outputs]
	bool *bad;			// [max_outputs]
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held;
	uint64_t permits, called;
	int fail_code;
	uint32_t fail_times;
	int32_t poison;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2)));

	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 29;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 32);
}

static uint64_t latent_of(int32_t token, uint32_t pos, enum eng_form form, uint64_t before)
{
	return mix(mix(before, (uint64_t)token), (uint64_t)pos * 2 + form);
}

/* --- life --- */

struct eng *fake_open(const struct fake_opts *o)
{
	struct eng *e = lt_xalloc(1, sizeof(*e));

	LT_ASSERT(o->vocab >= 4);
	e->opts = *o;
	e->info = (struct eng_info){.backend = "fake",
				    .vocab = o->vocab,
				    .layers = 1,
				    .max_positions = o->max_positions,
				    .cache_blocks = o->blocks,
				    .max_rows = o->max_rows,
				    .max_outputs = o->max_outputs,
				    .has_logits = !o->gives_tokens};
	e->cache = lt_xalloc((size_t)o->blocks * BLOCK, sizeof(*e->cache));
	e->writer = lt_xalloc(o->blocks, sizeof(*e->writer));
	e->logits = lt_xalloc((size_t)o->max_outputs * o->vocab, sizeof(float));
	e->tokens = lt_xalloc(o->max_outputs, sizeof(*e->tokens));
	e->bad = lt_xalloc(o->max_outputs, sizeof(bool));
	for (size_t i = 0; i < (size_t)o->blocks * BLOCK; i++)
		e->cache[i].value = mix(i, 12345);
	e->poison = -1;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	return e;
}

void eng_close(struct eng *e)
{
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e->bad);
	free(e->tokens);
	free(e->logits);
	free(e->writer);
	free(e->cache);
	free(e);
}

const struct eng_info *eng_info(const struct eng *e)
{
	return &e->info;
}

enum eng_form eng_form_of(const struct eng *e, uint32_t pos, uint32_t n_prompt)
{
	if (e->opts.attention == ENG_ATTENTION_ABSORBED)
		return ENG_FORM_ABSORBED;
	return pos / ENG_SPAN_TOKENS < n_prompt / ENG_SPAN_TOKENS ? ENG_FORM_EXPANDED
								  : ENG_FORM_ABSORBED;
}

/* --- controls --- */

void fake_hold(struct eng *e)
{
	pthread_mutex_lock(&e->lock);
	e->held = true;
	e->permits = 0;
	pthread_mutex_unlock(&e->lock);
}

void fake_let(struct eng *e, uint64_t n)
{
	pthread_mutex_lock(&e->lock);
	e->permits += n;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

void fake_free(struct eng *e)
{
	pthread_mutex_lock(&e->lock);
	e->held = false;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

void fake_wait_called(struct eng *e, uint64_t k)
{
	pthread_mutex_lock(&e->lock);
	while (e->called < k)
		pthread_cond_wait(&e->changed, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

void fake_fail(struct eng *e, int code, uint32_t times)
{
	pthread_mutex_lock(&e->lock);
	e->fail_code = code;
	e->fail_times = times;
	pthread_mutex_unlock(&e->lock);
}

void fake_poison(struct eng *e, int32_t token)
{
	pthread_mutex_lock(&e->lock);
	e->poison = token;
	pthread_mutex_unlock(&e->lock);
}

/* Waits for leave to run; the code of an injected fault, and the poison of now. */
static int enter(struct eng *e, int32_t *poison)
{
	int code = 0;

	pthread_mutex_lock(&e->lock);
	e->called++;
	pthread_cond_broadcast(&e->changed);
	while (e->held && e->permits == 0)
		pthread_cond_wait(&e->changed, &e->lock);
	if (e->held)
		e->permits--;
	if (e->fail_times > 0) {
		e->fail_times--;
		code = e->fail_code;
	}
	*poison = e->poison;
	pthread_mutex_unlock(&e->lock);
	return code;
}

/* --- steps --- */

static struct latent *at(const struct eng *e, const struct eng_span *s, uint32_t pos)
{
	return &e->cache[(size_t)s->blocks[pos / BLOCK] * BLOCK + pos % BLOCK];
}

/* engine.h's rules, and that no sequence sees what another writes in the same step. */
static void check_batch(struct eng *e, const struct eng_batch *b)
{
	size_t rows = 0, outputs = 0;

	memset(e->writer, 0, e->opts.blocks * sizeof(*e->writer));
	for (size_t i = 0; i < b->n_spans; i++) {
		const struct eng_span *s = &b->spans[i];
		LT_ASSERT(s->n > 0 && s->outputs <= s->n);
		rows += s->n;
		outputs += s->outputs;
		for (uint32_t k = 0; k < s->n; k++)
			LT_ASSERT(s->tokens[k] >= 0 && (uint32_t)s->tokens[k] < e->info.vocab);
		for (uint32_t k = s->pos / BLOCK; k <= (s->pos + s->n - 1) / BLOCK; k++) {
			LT_ASSERT(s->blocks[k] < e->opts.blocks);
			const struct eng_span *w = e->writer[s->blocks[k]];
			LT_ASSERT(!w || (w == s - 1 && w->blocks == s->blocks &&
					 w->pos + w->n == s->pos));
			e->writer[s->blocks[k]] = s;
		}
	}
	for (size_t i = 0; i < b->n_spans; i++) {
		const struct eng_span *s = &b->spans[i];
		for (uint32_t k = 0; k <= (s->pos + s->n - 1) / BLOCK; k++) {
			const struct eng_span *w = e->writer[s->blocks[k]];
			LT_ASSERT(!w || w->blocks == s->blocks);
		}
	}
	LT_ASSERT(rows > 0 && rows <= e->opts.max_rows && outputs <= e->opts.max_outputs);
}

/* A row's hash, as 16-bit pieces in its first four logits. */
static void give(struct eng *e, size_t row, uint64_t hash, bool bad)
{
	e->bad[row] = bad;
	e->tokens[row] = (int32_t)(hash % e->info.vocab);
	for (int i = 0; i < 4; i++)
		e->logits[row * e->info.vocab + (size_t)i] = (float)(hash >> (16 * i) & 0xffff);
}

static size_t run_span(struct eng *e, const struct eng_span *s, int32_t poison, size_t row)
{
	uint64_t fold = 0;
	bool bad = false;

	for (uint32_t pos = 0; pos < s->pos; pos++) {
		fold = mix(fold, at(e, s, pos)->value);
		bad |= at(e, s, pos)->poison;
	}
	for (uint32_t k = 0; k < s->n; k++) {
		struct latent *l = at(e, s, s->pos + k);
		l->value = latent_of(s->tokens[k], s->pos + k, s->form, fold);
		l->poison = bad || s->tokens[k] == poison;
		bad = l->poison;
		fold = mix(fold, l->value);
		if (k >= s->n - s->outputs)
			give(e, row++, fold, bad);
	}
	return row;
}

int eng_step(struct eng *e, const struct eng_batch *batch, struct eng_out *out, struct lt_err *err)
{
	int32_t poison;
	size_t row = 0;
	int rc;

	check_batch(e, batch);
	rc = enter(e, &poison);
	if (rc < 0)
		return lt_fail(err, rc, "injected");
	for (size_t i = 0; i < batch->n_spans; i++)
		row = run_span(e, &batch->spans[i], poison, row);
	*out = (struct eng_out){.n = row,
				.logits = e->opts.gives_tokens ? NULL : e->logits,
				.tokens = e->opts.gives_tokens ? e->tokens : NULL,
				.bad = e->bad};
	return 0;
}

void eng_block_copy(struct eng *e, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	LT_ASSERT(dst < e->opts.blocks && src < e->opts.blocks && dst != src && n_tokens <= BLOCK);
	memcpy(e->cache + (size_t)dst * BLOCK, e->cache + (size_t)src * BLOCK,
	       n_tokens * sizeof(*e->cache));
}

/* --- sampler: the draw depends on row, seed, index and history, and on nothing else --- */

struct eng_history {
	uint64_t seen;
};

struct eng_sampler {
	uint32_t vocab;
};

struct eng_history *eng_history_open(void)
{
	return lt_alloc(1, sizeof(struct eng_history));
}

void eng_history_close(struct eng_history *h)
{
	free(h);
}

int eng_history_add(struct eng_history *h, int32_t token, bool generated)
{
	h->seen = mix(h->seen, (uint64_t)token * 2 + generated);
	return 0;
}

struct eng_sampler *eng_sampler_open(uint32_t vocab)
{
	struct eng_sampler *s = lt_alloc(1, sizeof(*s));

	if (s)
		s->vocab = vocab;
	return s;
}

void eng_sampler_close(struct eng_sampler *s)
{
	free(s);
}

static bool banned(const struct eng_sampling *how, int32_t token, uint32_t index)
{
	for (size_t i = 0; i < how->n_stop_ids; i++) {
		if (how->stop_ids[i] == token)
			return how->ignore_eos || index < how->min_tokens;
	}
	return false;
}

static int32_t pick(uint64_t hash, uint32_t vocab, const struct eng_sampling *how, uint64_t seen,
		    uint32_t index)
{
	uint64_t h = mix(mix(mix(hash, how->seed), index), seen);

	while (banned(how, (int32_t)(h % vocab), index))
		h = mix(h, 1);
	return (int32_t)(h % vocab);
}

int eng_sample(struct eng_sampler *s, const float *logits, const struct eng_sampling *how,
	       const struct eng_history *history, uint32_t index, struct eng_draw *out)
{
	uint64_t hash = 0;

	for (int i = 0; i < 4; i++)
		hash |= (uint64_t)logits[i] << (16 * i);
	*out = (struct eng_draw){
		.token = pick(hash, s->vocab, how, history ? history->seen : 0, index),
		.logprob = -1.0f};
	return 0;
}

/* --- what it all must come to --- */

uint32_t fake_answer(const struct eng *e, const int32_t *prompt, uint32_t n_prompt,
		     const struct eng_sampling *how, uint32_t choice, uint32_t max_tokens,
		     uint32_t max_context, int32_t *tokens, bool *stopped)
{
	bool all = how->repetition_penalty != 1.0f;
	bool remembers = all || how->presence_penalty != 0 || how->frequency_penalty != 0;
	struct eng_history h = {0};
	struct eng_sampling mine = *how;
	uint64_t fold = 0;
	uint32_t n = 0;

	mine.seed += choice;
	*stopped = false;
	for (uint32_t i = 0; i < n_prompt && all; i++)
		eng_history_add(&h, prompt[i], false);
	for (uint32_t pos = 0; n < max_tokens && pos + 1 < max_context; pos++) {
		int32_t token = pos < n_prompt ? prompt[pos] : tokens[pos - n_prompt], next;
		fold = mix(fold, latent_of(token, pos, eng_form_of(e, pos, n_prompt), fold));
		if (pos + 1 < n_prompt)
			continue;
		if (e->opts.gives_tokens)
			next = (int32_t)(fold % e->info.vocab);
		else
			next = pick(fold, e->info.vocab, &mine, remembers ? h.seen : 0, n);
		for (size_t i = 0; i < how->n_stop_ids; i++)
			*stopped |= how->stop_ids[i] == next && !how->ignore_eos &&
				    n >= how->min_tokens;
		if (*stopped)
			break;
		tokens[n++] = next;
		if (remembers)
			eng_history_add(&h, next, true);
	}
	return n;
}
