/*
 * engine/cache.c: what is put is what comes back, rounded as the type says, and nothing else moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cache.h"

#define BLOCKS 5u
#define LAYERS 3u
#define WIDTH  10u
#define LATENT 7u
#define TOKENS 70u /* two full blocks and six more */

static const uint32_t table[] = {3, 0, 4};

/* Bits of a float, told apart by every coordinate. */
static float value(uint32_t salt, uint32_t layer, uint32_t pos, uint32_t i)
{
	uint32_t h = ((salt * 31 + layer) * 1000 + pos) * 100 + i;

	return ldexpf((float)(h * UINT32_C(2654435761) >> 8) - 8388608.0f, (int)(h % 40) - 40);
}

/* To the nearest of 8 significant bits, halves to even, without looking at the bits. */
static float bf16(float x)
{
	int exponent;
	double m = frexp(x, &exponent);

	return (float)ldexp(nearbyint(m * 256), exponent - 8);
}

/* The least number of 8 significant bits that isn't below x > 0. */
static float bf16_above(float x)
{
	int exponent;
	double m = frexp(x, &exponent);

	return (float)ldexp(ceil(m * 256), exponent - 8);
}

/* What comes back of entry x [latent + key]: group by group of 32, without the cache's code. */
static void rounded(enum eng_cache_type type, const float *x, uint32_t latent, uint32_t key,
		    float *out)
{
	for (uint32_t i = 0; i < latent + key; i++)
		out[i] = type == ENG_CACHE_F32 ? x[i] : bf16(x[i]);
	for (uint32_t from = 0; type == ENG_CACHE_Q8 && from < latent; from += 32) {
		uint32_t end = from + 32 < latent ? from + 32 : latent;
		float most = 0, scale;

		for (uint32_t i = from; i < end; i++)
			most = fmaxf(most, fabsf(x[i]));
		scale = bf16_above(most / 127);
		for (uint32_t i = from; i < end; i++) {
			float steps = scale > 0 ? nearbyintf(x[i] / scale) : 0;

			assert_true(fabsf(steps) <= 127);
			out[i] = steps * scale;
		}
	}
}

static void fill(struct eng_cache *c, uint32_t salt, const uint32_t *blocks, uint32_t n)
{
	float entry[WIDTH];

	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		for (uint32_t pos = 0; pos < n; pos++) {
			for (uint32_t i = 0; i < WIDTH; i++)
				entry[i] = value(salt, layer, pos, i);
			eng_cache_put(c, layer, blocks, pos, entry);
		}
	}
}

/* Positions first to n hold what fill wrote. */
static void holds(const struct eng_cache *c, uint32_t salt, const uint32_t *blocks, uint32_t first,
		  uint32_t n)
{
	/* To the value: a read past the end is seen by ASan. */
	float *got = malloc((size_t)n * WIDTH * sizeof(*got));

	assert_non_null(got);
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		eng_cache_get(c, layer, blocks, n, got);
		for (uint32_t pos = first; pos < n; pos++) {
			float put[WIDTH], want[WIDTH];

			for (uint32_t i = 0; i < WIDTH; i++)
				put[i] = value(salt, layer, pos, i);
			rounded(c->type, put, LATENT, WIDTH - LATENT, want);
			for (uint32_t i = 0; i < WIDTH; i++)
				assert_true(got[pos * WIDTH + i] == want[i]);
		}
	}
	free(got);
}

static void put_get(enum eng_cache_type type, size_t bytes) /* of an entry */
{
	static const uint32_t other[] = {1};
	struct eng_cache c;

	assert_int_equal(eng_cache_entry_bytes(type, LATENT, WIDTH - LATENT), bytes);
	assert_int_equal(
		eng_cache_init(&c, type, NULL, BLOCKS, LAYERS, LATENT, WIDTH - LATENT, NULL), 0);
	assert_int_equal(c.entry_bytes, bytes);
	assert_int_equal(eng_cache_bytes(&c), BLOCKS * 32 * LAYERS * bytes);
	fill(&c, 1, table, TOKENS);
	fill(&c, 2, other, 32);
	holds(&c, 1, table, 0, TOKENS);
	holds(&c, 2, other, 0, 32);
	/* Any number of them may be read; the last block need not be full. */
	holds(&c, 1, table, 0, 1);
	holds(&c, 1, table, 0, 32);
	holds(&c, 1, table, 0, 33);
	eng_cache_fini(&c);
	assert_null(c.data);
}

static void put_get_f32(void **unused)
{
	(void)unused;
	put_get(ENG_CACHE_F32, WIDTH * 4);
}

static void put_get_bf16(void **unused)
{
	(void)unused;
	put_get(ENG_CACHE_BF16, WIDTH * 2);
}

static void put_get_q8(void **unused)
{
	(void)unused;
	put_get(ENG_CACHE_Q8, 2 + (WIDTH - LATENT) * 2 + LATENT + 1);
}

/* Latents of several groups, whole and broken; magnitudes far apart; zeros; the bounds of float32. */
static void q8_groups(void **unused)
{
	static const uint32_t latents[] = {1, 31, 32, 33, 64, 100, 512};
	const uint32_t block = 0, key = 4;

	(void)unused;
	for (size_t k = 0; k < sizeof(latents) / sizeof(latents[0]); k++) {
		uint32_t n = latents[k];
		float put[516], want[516], got[516];
		struct eng_cache c;

		assert_int_equal(eng_cache_init(&c, ENG_CACHE_Q8, NULL, 1, 1, n, key, NULL), 0);
		assert_int_equal(c.entry_bytes, (n + 31) / 32 * 2 + key * 2 + (n + 1) / 2 * 2);
		for (int round = 0; round < 20; round++) {
			for (uint32_t i = 0; i < n + key; i++)
				put[i] = round == 0   ? 0
					 : round == 1 ? (i % 2 ? -3.0e38f : 3.0e38f)
					 : round == 2 ? ldexpf(1, -120)
						      : value(round, 0, k, i);
			eng_cache_put(&c, 0, &block, 0, put);
			eng_cache_get(&c, 0, &block, 1, got);
			rounded(ENG_CACHE_Q8, put, n, key, want);
			for (uint32_t i = 0; i < n + key; i++)
				assert_true(got[i] == want[i]);
		}
		/* What is no number is not lost: its group is none, the others are untouched. */
		for (int bad = 0; bad < 3; bad++) {
			eng_cache_put(&c, 0, &block, 0, put);
			put[n - 1] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
			eng_cache_put(&c, 0, &block, 0, put);
			eng_cache_get(&c, 0, &block, 1, got);
			for (uint32_t i = 0; i < n; i++)
				assert_int_equal(isnan(got[i]) != 0, i / 32 == (n - 1) / 32);
			for (uint32_t i = n; i < n + key; i++)
				assert_true(got[i] == want[i]);
		}
		eng_cache_fini(&c);
	}
}

/* Halves to even, over to the next power of two, to infinity at the top; NaN stays NaN. */
static void bf16_rounding(void **unused)
{
	static const float pairs[][2] = {
		{1.0f, 1.0f},
		{1.00390625f, 1.0f},	     /* half: to even, down */
		{1.01171875f, 1.015625f},    /* half: to even, up */
		{1.0039063692f, 1.0078125f}, /* just above half */
		{1.99999988f, 2.0f},
		{-1.01171875f, -1.015625f},
		{0x1.fep127f, 0x1.fep127f},
		{0x1.fffffep127f, INFINITY},
		{INFINITY, INFINITY},
		{0x1p-133f, 0x1p-133f}, /* the smallest subnormal of BF16 */
		{0x1p-149f, 0.0f},
	};
	const uint32_t block = 0;
	struct eng_cache c;
	float got, nan = NAN;

	(void)unused;
	assert_int_equal(eng_cache_init(&c, ENG_CACHE_BF16, NULL, 1, 1, 1, 0, NULL), 0);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		eng_cache_put(&c, 0, &block, 0, &pairs[i][0]);
		eng_cache_get(&c, 0, &block, 1, &got);
		assert_true(got == pairs[i][1]);
	}
	eng_cache_put(&c, 0, &block, 0, &nan);
	eng_cache_get(&c, 0, &block, 1, &got);
	assert_true(isnan(got));
	eng_cache_fini(&c);
}

/* The first n entries of every layer and not one more; the source stays. */
static void copy(enum eng_cache_type type)
{
	static const uint32_t from[] = {3}, to[] = {1}, next[] = {2}, before[] = {0};

	for (uint32_t n = 0; n <= ENG_BLOCK_TOKENS; n += n == 0 || n == 31 ? 1 : 15) {
		struct eng_cache c;

		assert_int_equal(eng_cache_init(&c, type, NULL, BLOCKS, LAYERS, LATENT,
						WIDTH - LATENT, NULL),
				 0);
		fill(&c, 1, from, 32);
		fill(&c, 2, to, 32);
		fill(&c, 3, next, 32);
		fill(&c, 4, before, 32);
		eng_cache_copy(&c, 1, 3, n);
		if (n > 0)
			holds(&c, 1, to, 0, n);
		holds(&c, 2, to, n, 32);
		holds(&c, 1, from, 0, 32);
		holds(&c, 3, next, 0, 32);
		holds(&c, 4, before, 0, 32);
		eng_cache_copy(&c, 3, 3, n);
		holds(&c, 1, from, 0, 32);
		eng_cache_fini(&c);
	}
}

static void copies(void **unused)
{
	(void)unused;
	copy(ENG_CACHE_F32);
	copy(ENG_CACHE_BF16);
	copy(ENG_CACHE_Q8);
}

static void too_large(void **unused)
{
	struct eng_cache c;
	struct lt_err err = {0};

	(void)unused;
	assert_int_equal(eng_cache_init(&c, ENG_CACHE_F32, NULL, UINT32_MAX, UINT32_MAX, UINT32_MAX,
					1, &err),
			 LT_ENOMEM);
	assert_null(c.data);
	assert_non_null(strstr(err.text, "4294967295 blocks"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_get_f32),	 cmocka_unit_test(put_get_bf16),
		cmocka_unit_test(bf16_rounding), cmocka_unit_test(copies),
		cmocka_unit_test(too_large),	 cmocka_unit_test(put_get_q8),
		cmocka_unit_test(q8_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
