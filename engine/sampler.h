/*
 * From logits to a token. Pure arithmetic on one row; the draw comes from a counter-based generator
 * keyed by (seed, position of the token in the answer), so it depends on nothing else in the batch.
 */
#ifndef LT_ENGINE_SAMPLER_H
#define LT_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENG_MAX_TOP_LOGPROBS 20

struct eng_bias {
	int32_t token;
	float add; /* to the logit; -100 or less bans, +100 or more forces, as in OpenAI's API */
};

/* How one request wants its tokens. Plain values; `bias` and `stop_ids` are borrowed. */
struct eng_sampling {
	float temperature;	 /* 0: greedy (ties go to the lower id) */
	uint32_t top_k;		 /* 0: off */
	float top_p;		 /* 1: off */
	float min_p;		 /* 0: off; share of the largest probability */
	float presence_penalty;	 /* subtracted once for a token that was generated */
	float frequency_penalty; /* subtracted for each time it was generated */
	float repetition_penalty; /* 1: off; divides positive, multiplies negative logits of tokens in prompt or answer */
	uint64_t seed;
	bool logprobs;	       /* fill draw.logprob */
	uint32_t top_logprobs; /* 0..ENG_MAX_TOP_LOGPROBS alternatives */
	uint32_t min_tokens;   /* stop ids can't be drawn before so many tokens */
	bool ignore_eos;       /* stop_ids can't be drawn at all */
	const struct eng_bias *bias;
	size_t n_bias;
	const int32_t *stop_ids; /* end-of-sequence ids of the model */
	size_t n_stop_ids;
};

struct eng_draw {
	int32_t token;
	float logprob; /* natural log, of the distribution before temperature and cuts, after biases and penalties */
	uint32_t n_top;
	int32_t top_ids[ENG_MAX_TOP_LOGPROBS]; /* most probable first */
	float top_logprobs[ENG_MAX_TOP_LOGPROBS];
};

/* Which tokens a sequence has seen: for the penalties. */
struct eng_history;
struct eng_history *eng_history_open(void); /* NULL without memory */
void eng_history_close(struct eng_history *h);
int eng_history_add(struct eng_history *h, int32_t token, bool generated); /* 0 or LT_ENOMEM */

/* Scratch memory for one sampling thread. */
struct eng_sampler;
struct eng_sampler *eng_sampler_open(uint32_t vocab); /* NULL without memory */
void eng_sampler_close(struct eng_sampler *s);

/* Draws answer token number `index` (0-based) from logits [vocab]. `history` may be NULL when no
 * penalty is set. 0, LT_ENUMERIC when a logit is NaN or all are -inf. */
int eng_sample(struct eng_sampler *s, const float *logits, const struct eng_sampling *how,
	       const struct eng_history *history, uint32_t index, struct eng_draw *out);

#endif
