/*
 * engine/random.c: the published answers of Philox4x32-10, and that a number depends on seed and
 * index alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "engine/random.h"

#define DRAWS	65536u
#define BUCKETS 64u

/* Random123's kat_vectors for philox4x32, 10 rounds. */
static void known_answers(void **unused)
{
	static const struct {
		uint32_t counter[4], key[2], out[4];
	} known[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint32_t out[4];

		eng_philox(known[i].counter, known[i].key, out);
		assert_memory_equal(out, known[i].out, sizeof(out));
	}
}

/* Seed and index are taken whole, low word first; the number is the cipher's first 53 of 64 bits. */
static void uniform_is_philox(void **unused)
{
	static const uint64_t at[][2] = {
		{0, 0},
		{1, 2},
		{UINT64_C(1) << 32, 0},
		{0, UINT64_C(1) << 32},
		{UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)}};

	(void)unused;
	assert_true(eng_uniform(0, 0) ==
		    (double)(UINT64_C(0xe169c58d6627e8d5) >> 11) / 9007199254740992.0);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		uint32_t key[2] = {(uint32_t)at[i][0], (uint32_t)(at[i][0] >> 32)};
		uint32_t counter[4] = {(uint32_t)at[i][1], (uint32_t)(at[i][1] >> 32), 0, 0};
		uint32_t out[4];
		uint64_t bits;

		eng_philox(counter, key, out);
		bits = (uint64_t)out[1] << 32 | out[0];
		assert_true(eng_uniform(at[i][0], at[i][1]) ==
			    (double)(bits >> 11) / 9007199254740992.0);
		for (size_t j = 0; j < i; j++)
			assert_true(eng_uniform(at[i][0], at[i][1]) !=
				    eng_uniform(at[j][0], at[j][1]));
	}
}

/* The order of the draws, and draws of other seeds between them, change nothing. */
static void no_history(void **unused)
{
	static double forward[1000];

	(void)unused;
	for (uint64_t i = 0; i < 1000; i++)
		forward[i] = eng_uniform(42, i);
	for (uint64_t i = 1000; i-- > 0;) {
		eng_uniform(i, 42);
		assert_true(eng_uniform(42, i) == forward[i]);
	}
}

/* Chi squared over equal buckets has 63 degrees of freedom: 50% lie below 62, 99.999% below 120. */
static void is_flat(double (*draw)(uint64_t i))
{
	uint32_t count[BUCKETS] = {0};
	double expected = (double)DRAWS / BUCKETS, chi = 0;

	for (uint64_t i = 0; i < DRAWS; i++) {
		double u = draw(i);

		assert_true(u >= 0 && u < 1);
		assert_true(u * 9007199254740992.0 == (double)(uint64_t)(u * 9007199254740992.0));
		count[(uint32_t)(u * BUCKETS)]++;
	}
	for (uint32_t b = 0; b < BUCKETS; b++)
		chi += (count[b] - expected) * (count[b] - expected) / expected;
	assert_true(chi > 20 && chi < 120);
}

static double by_index(uint64_t i)
{
	return eng_uniform(7, i);
}

static double by_seed(uint64_t i)
{
	return eng_uniform(i, 7);
}

static void flat(void **unused)
{
	(void)unused;
	is_flat(by_index);
	is_flat(by_seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(uniform_is_philox),
		cmocka_unit_test(no_history),
		cmocka_unit_test(flat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
