/*
 * What the tests of the cpu backend's kernels have in common: the table under test, random numbers,
 * and buffers of exactly the promised size, so that AddressSanitizer sees a step beyond.
 */
#ifndef LT_TEST_KERNELS_HELP_H
#define LT_TEST_KERNELS_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cpu/isa.h"

#define HALF_ULP 0x1p-24  /* largest relative error of one rounding to float32 */
#define TINY	 0x1p-149 /* the smallest float32 */

static const struct cpu_isa *isa, *plain; /* under test; the reference */

/* ---- numbers ---- */

static uint64_t rng;

static inline uint32_t below(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

/* Within (-1, 1), never 0. */
static inline float uniform(void)
{
	return ((float)below(1u << 23) + 0.5f) * 0x1p-22f - 1;
}

/* About normal; now and then an outlier, as activations have them. */
static inline float normal(void)
{
	float x = uniform() + uniform() + uniform() + uniform();

	return below(64) == 0 ? 16 * x : x;
}

static inline void normals(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = normal();
}

static inline float of_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static inline uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

/* What isn't a number must not get lost, whatever its bits. */
static const uint32_t lost[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0x7fffffff,
				0xffffffff, 0x7f800000, 0xff800000};
#define N_LOST (sizeof(lost) / sizeof(lost[0]))

/* ---- memory ---- */

#define MAX_BUFS 4096u

static void *bufs[MAX_BUFS];
static size_t n_bufs;

/* `bytes` to the last byte, `off` bytes after an address that malloc gives, all bits set (as floats:
 * not a number). release(n) frees all but the first n. */
static inline void *buf(size_t bytes, size_t off)
{
	unsigned char *p = malloc(off + bytes);

	assert_non_null(p);
	assert_true(n_bufs < MAX_BUFS);
	bufs[n_bufs++] = p;
	memset(p, 0xff, off + bytes);
	return p + off;
}

static inline float *floats(size_t n)
{
	return buf(n * sizeof(float), 0);
}

static inline void release(size_t keep)
{
	while (n_bufs > keep)
		free(bufs[--n_bufs]);
}

/* Frees what a failed test left. */
static inline int teardown(void **state)
{
	(void)state;
	release(0);
	return 0;
}

/* ---- all tables ---- */

/* Runs the tests for every table that this processor can run, on fresh numbers or those of LT_SEED.
 * Returns how many failed. */
static inline int run_tables(const char *name, const struct CMUnitTest *tests, size_t n)
{
	const char *given = getenv("LT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	int failed = 0;

	plain = cpu_isa_find("plain");
	if (!plain)
		return 1;
	printf("%s: LT_SEED=%llu\n", name, (unsigned long long)seed);
	for (const char *const *table = cpu_isa_names(); *table; table++) {
		isa = cpu_isa_find(*table);
		if (!isa) {
			printf("table %s: this processor can't run it\n", *table);
			continue;
		}
		printf("table %s\n", *table);
		rng = seed;
		below(1);
		failed += _cmocka_run_group_tests(*table, tests, n, NULL, NULL);
	}
	return failed;
}

#endif
