/*
 * What the sampler does with whole rows: loops over 16 lanes, in three versions (AVX-512, AVX2, plain)
 * chosen at run time. All of them give the same bits: every lane does the same IEEE operations in the
 * same order, nothing is fused, and sums are folded in one fixed order.
 *
 * A row is cut into chunks of ENG_ROW_CHUNK entries. Within a chunk, entry i belongs to lane i % 16.
 */
#ifndef LT_ENGINE_ROWS_H
#define LT_ENGINE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENG_ROW_LANES  16u
#define ENG_ROW_CHUNK  256u
#define ENG_ROW_SLACK  16u /* entries that `gather` may write beyond the last */
#define ENG_ROW_MARKS  8u  /* thresholds of `masses` */
#define ENG_ROW_LOWEST (-127.0f)

struct eng_rows {
	const char *isa;

	/* The largest of x [n]; tops [chunks, LANES] gets the largest of each lane of each chunk. False
	 * when an x is NaN. */
	bool (*survey)(const float *x, size_t n, float *max, float *tops);

	/* w [n] = 2^((x - max) * scale), 0 where that exponent is -127 or less; sums [chunks] of w;
	 * returns the total. Relative error at most (1 + |exponent| / 4) * 2^-22. `w` may be `x`. */
	double (*weigh)(const float *x, size_t n, float max, float scale, float *w, double *sums);

	/* Lists where lo <= x < hi, ascending, and the values there. lo must be finite. Room for n +
	 * ENG_ROW_SLACK of each. Returns how many. */
	size_t (*gather)(const float *x, size_t n, float lo, float hi, uint32_t *ids,
			 float *values);

	/* mass [MARKS]: the sum of the w [n] (by_mass) or the number of them that are at least marks[j].
	 * Marks are positive. */
	void (*masses)(const float *w, size_t n, const float *marks, bool by_mass, double *mass);

	/* sums [chunks] of the w [n] above `above` (0 or more); returns the total. */
	double (*sums)(const float *w, size_t n, float above, double *sums);
};

/* Those that this processor runs, best first, NULL-terminated. */
const struct eng_rows *const *eng_rows_all(void);

extern const struct eng_rows eng_rows_plain;
#if defined(__x86_64__)
extern const struct eng_rows eng_rows_avx2, eng_rows_avx512;
#endif

/* For tests: makes a sampler use this version. */
struct eng_sampler;
void eng_sampler_use(struct eng_sampler *s, const struct eng_rows *rows);

#endif
