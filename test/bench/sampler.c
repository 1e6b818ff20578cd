/*
 * Microseconds a row for the sampler's ways, at a large vocabulary. Prints a table; not a test.
 *
 *   test/bench/sampler [VOCAB [ROUNDS]]
 *
 * Two kinds of rows, because cuts depend on the distribution: "text" looks like a model's logits (a few
 * candidates far above a wide bulk), "flat" like a model that knows nothing. The ways take turns, round
 * by round, so that whatever else the machine does falls on all of them; the median is printed, and the
 * least beside it. ROWS rows of logits are more than the second-level cache holds, as in a server.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/random.h"
#include "engine/sampler.h"

#define ROWS	16
#define HISTORY 2000
#define OFF	.top_p = 1.0f, .repetition_penalty = 1.0f

static const struct eng_bias biases[] = {{5, -100.0f}, {700, 2.0f}, {1000, -1.5f}};
static const int32_t stops[] = {1};

static const struct way {
	const char *name;
	struct eng_sampling how;
} ways[] = {
	{"greedy", {OFF}},
	{"greedy, stop banned", {OFF, .stop_ids = stops, .n_stop_ids = 1, .ignore_eos = true}},
	{"temperature 1", {OFF, .temperature = 1.0f}},
	{"temperature 0.7", {OFF, .temperature = 0.7f}},
	{"top_k 40", {.repetition_penalty = 1.0f, .top_p = 1.0f, .temperature = 1.0f, .top_k = 40}},
	{"top_p 0.95", {.repetition_penalty = 1.0f, .top_p = 0.95f, .temperature = 1.0f}},
	{"top_p 0.95, T 0.6", {.repetition_penalty = 1.0f, .top_p = 0.95f, .temperature = 0.6f}},
	{"min_p 0.05", {OFF, .temperature = 1.0f, .min_p = 0.05f}},
	{"top_k 40, top_p 0.95",
	 {.repetition_penalty = 1.0f, .top_p = 0.95f, .temperature = 1.0f, .top_k = 40}},
	{"penalties (2,000 tokens)",
	 {.top_p = 1.0f,
	  .repetition_penalty = 1.1f,
	  .frequency_penalty = 0.1f,
	  .presence_penalty = 0.1f,
	  .temperature = 1.0f}},
	{"three biases", {OFF, .temperature = 1.0f, .bias = biases, .n_bias = 3}},
	{"logprobs, greedy", {OFF, .logprobs = true}},
	{"logprobs, top 20", {OFF, .temperature = 1.0f, .logprobs = true, .top_logprobs = 20}},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static double normal(uint64_t seed, uint64_t *at)
{
	double u = 1.0 - eng_uniform(seed, (*at)++), v = eng_uniform(seed, (*at)++);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* logits [ROWS, vocab] */
static void fill(float *logits, uint32_t vocab, int flat)
{
	uint64_t at = 0;

	for (size_t i = 0; i < (size_t)ROWS * vocab; i++)
		logits[i] = (float)(flat ? 0.5 * normal(1, &at) : 2.0 * normal(2, &at) - 4.0);
	for (size_t r = 0; r < ROWS && !flat; r++) {
		for (int k = 0; k < 12; k++) {
			size_t id = (size_t)(eng_uniform(3, r * 12 + (size_t)k) * vocab);
			logits[r * vocab + id] = (float)(14.0 - 0.8 * k);
		}
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double time_way(struct eng_sampler *s, const float *logits, uint32_t vocab,
		       const struct way *way, const struct eng_history *h, uint64_t *check)
{
	struct eng_draw d;
	uint64_t t0 = lt_clock_ns();

	for (uint32_t r = 0; r < ROWS; r++) {
		if (eng_sample(s, logits + (size_t)r * vocab, &way->how, h, r, &d) < 0)
			abort();
		*check = *check * 31 + (uint64_t)d.token;
	}
	return (double)(lt_clock_ns() - t0) / 1e3 / ROWS;
}

static void measure(struct eng_sampler *s, float *logits, uint32_t vocab, size_t rounds,
		    const struct eng_history *h, double *times, int flat)
{
	fill(logits, vocab, flat);
	printf("%s rows%*smedian us   least us   tokens drawn (hash)\n", flat ? "flat" : "text", 21,
	       "");
	for (size_t round = 0; round < rounds; round++) {
		for (size_t w = 0; w < WAYS; w++) {
			uint64_t check = 0;
			times[w * rounds + round] = time_way(s, logits, vocab, &ways[w], h, &check);
			if (round + 1 < rounds)
				continue;
			qsort(&times[w * rounds], rounds, sizeof(*times), by_size);
			printf("  %-26s %9.1f  %9.1f   %016" PRIx64 "\n", ways[w].name,
			       times[w * rounds + rounds / 2], times[w * rounds], check);
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t vocab = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 130000;
	size_t rounds = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 15;
	struct eng_history *h = eng_history_open();
	struct eng_sampler *s;
	float *logits;
	double *times;

	if (vocab < 2000 || rounds < 1) {
		fprintf(stderr, "usage: sampler [VOCAB (2000 or more) [ROUNDS (1 or more)]]\n");
		return 2;
	}
	s = eng_sampler_open(vocab);
	logits = lt_alloc_aligned(64, (size_t)ROWS * vocab, sizeof(*logits));
	times = lt_alloc(WAYS * rounds, sizeof(*times));
	if (!h || !s || !logits || !times)
		abort();
	for (uint32_t i = 0; i < HISTORY; i++) {
		if (eng_history_add(h, (int32_t)(eng_uniform(4, i) * vocab), i % 2) < 0)
			abort();
	}
	printf("%" PRIu32 " entries, %zu rounds of %d rows\n", vocab, rounds, ROWS);
	measure(s, logits, vocab, rounds, h, times, 0);
	measure(s, logits, vocab, rounds, h, times, 1);
	free(times);
	free(logits);
	eng_sampler_close(s);
	eng_history_close(h);
	return 0;
}
