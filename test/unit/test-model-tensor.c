/*
 * model/types.c and model/dequant.c: the small floats in every bit pattern, and each block format
 * against values that are put together here, value by value, from the documented layout: the test
 * packs numbers that it chose, so nothing is shared with the code under test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tensor.h"

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static uint64_t state = 88172645463325252u;

static uint32_t next(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 11) % n;
}

/* --- small floats ----------------------------------------------------------------------------- */

static void f16_all(void **unused)
{
	(void)unused;
	for (uint32_t h = 0; h < 65536; h++) {
		float got = mdl_f16_f32((uint16_t)h);
		int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
		double sign = h & 0x8000 ? -1 : 1, want;
		if (exponent == 31 && fraction) {
			assert_true(isnan(got));
			continue;
		}
		if (exponent == 31)
			want = sign * INFINITY;
		else if (exponent)
			want = sign * ldexp(1024 + fraction, exponent - 25);
		else
			want = sign * ldexp(fraction, -24);
		assert_int_equal(bits(got), bits((float)want));
	}
}

static void bf16_all(void **unused)
{
	(void)unused;
	for (uint32_t h = 0; h < 65536; h++) {
		float got = mdl_bf16_f32((uint16_t)h);
		assert_int_equal(bits(got), h << 16);
		if (isnan(got))
			assert_true(isnan(mdl_bf16_f32(mdl_f32_bf16(got))));
		else
			assert_int_equal(mdl_f32_bf16(got), h);
	}
	/* Halfway cases go to the even neighbour, others to the nearest. */
	assert_int_equal(mdl_f32_bf16(1 + 0x1p-8f), 0x3f80);
	assert_int_equal(mdl_f32_bf16(1 + 3 * 0x1p-8f), 0x3f82);
	assert_int_equal(mdl_f32_bf16(1 + 0x1p-8f + 0x1p-20f), 0x3f81);
	assert_int_equal(mdl_f32_bf16(-1 - 3 * 0x1p-8f), 0xbf82);
	assert_int_equal(mdl_f32_bf16(3.4e38f), 0x7f80);
}

static void f8_all(void **unused)
{
	(void)unused;
	for (uint32_t b = 0; b < 256; b++) {
		float got = mdl_f8e4m3_f32((uint8_t)b);
		int exponent = (int)(b >> 3 & 15), fraction = (int)(b & 7);
		double sign = b & 0x80 ? -1 : 1;
		if ((b & 0x7f) == 0x7f) {
			assert_true(isnan(got));
			continue;
		}
		assert_int_equal(bits(got),
				 bits((float)(sign * (exponent ? ldexp(8 + fraction, exponent - 10)
							       : ldexp(fraction, -9)))));
	}
	assert_true(mdl_f8e4m3_f32(0x7e) == 448);
	assert_true(mdl_f8e4m3_f32(0x01) == 0x1p-9f);
}

/* --- the table -------------------------------------------------------------------------------- */

static void type_table(void **unused)
{
	(void)unused;
	assert_string_equal(mdl_type_name(MDL_TYPE_IQ4_XS), "IQ4_XS");
	assert_int_equal(mdl_type_block_values(MDL_TYPE_Q6_K), 256);
	assert_int_equal(mdl_type_block_bytes(MDL_TYPE_Q6_K), 210);
	assert_true(mdl_type_is_weight(MDL_TYPE_F8_E4M3));
	assert_true(mdl_type_is_weight(MDL_TYPE_IQ4_XS));
	assert_false(mdl_type_is_weight(MDL_TYPE_I32));
	assert_false(mdl_type_is_weight(MDL_TYPE_U8));
	assert_false(mdl_type_is_weight(MDL_TYPE_COUNT));
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* A block of at most 256 values as the test wants them, and the bytes it packs. */
struct sample {
	unsigned char b[256];
	int q[256]; /* the stored integer of each value */
	int scale[16], min[16];
	float d, m;
};

/* A random normal float16 below 2, and its value. */
static float put_f16(unsigned char *b)
{
	uint32_t exponent = 1 + next(15), fraction = next(1024), sign = next(2);
	uint32_t h = sign << 15 | exponent << 10 | fraction;

	b[0] = (unsigned char)h;
	b[1] = (unsigned char)(h >> 8);
	return ldexpf((float)(1024 + fraction), (int)exponent - 25) * (sign ? -1.f : 1.f);
}

static void fill(struct sample *s, int values, int levels, int scales, int scale_levels)
{
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < values; i++)
		s->q[i] = (int)next((uint32_t)levels);
	for (int i = 0; i < scales; i++) {
		s->scale[i] = (int)next((uint32_t)scale_levels);
		s->min[i] = (int)next((uint32_t)scale_levels);
	}
}

static void check(enum mdl_type type, const struct sample *s, const float *want)
{
	unsigned char src[2 * 256];
	float got[512];
	size_t n = mdl_type_block_values(type), bytes = mdl_type_block_bytes(type);

	/* Twice in a row, at an odd address: blocks follow each other, nothing is aligned. */
	memcpy(src + 1, s->b, bytes);
	memcpy(src + 1 + bytes, s->b, bytes);
	mdl_dequant(type, src + 1, 2 * n, got);
	for (size_t i = 0; i < 2 * n; i++) {
		if (bits(got[i]) != bits(want[i % n]) && !(got[i] == 0 && want[i % n] == 0))
			fail_msg("%s: value %zu is %.9g, not %.9g", mdl_type_name(type), i, got[i],
				 want[i % n]);
	}
}

/* Nibbles of 32 values: value j and j + 16 share byte j. */
static void pack_nibbles(unsigned char *b, const int *q)
{
	for (int j = 0; j < 32; j++)
		b[j % 16] |= (unsigned char)((q[j] & 15) << (j < 16 ? 0 : 4));
}

static void blocks_of_32(void **unused)
{
	static const int table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
				      1,    13,	  25,  38,  53,	 69,  89,  113};
	struct sample s;
	float want[32];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		fill(&s, 32, 256, 0, 1);
		s.d = put_f16(s.b);
		for (int i = 0; i < 32; i++) {
			s.b[2 + i] = (unsigned char)s.q[i];
			want[i] = s.d * (float)(s.q[i] < 128 ? s.q[i] : s.q[i] - 256);
		}
		check(MDL_TYPE_Q8_0, &s, want);

		fill(&s, 32, 16, 0, 1);
		s.d = put_f16(s.b);
		pack_nibbles(s.b + 2, s.q);
		for (int i = 0; i < 32; i++)
			want[i] = s.d * (float)(s.q[i] - 8);
		check(MDL_TYPE_Q4_0, &s, want);
		for (int i = 0; i < 32; i++)
			want[i] = s.d * (float)table[s.q[i]];
		check(MDL_TYPE_IQ4_NL, &s, want);

		fill(&s, 32, 16, 0, 1);
		s.d = put_f16(s.b);
		s.m = put_f16(s.b + 2);
		pack_nibbles(s.b + 4, s.q);
		for (int i = 0; i < 32; i++)
			want[i] = s.d * (float)s.q[i] + s.m;
		check(MDL_TYPE_Q4_1, &s, want);

		fill(&s, 32, 32, 0, 1);
		s.d = put_f16(s.b);
		pack_nibbles(s.b + 6, s.q);
		for (int i = 0; i < 32; i++) {
			s.b[2 + i / 8] |= (unsigned char)(s.q[i] >> 4 << i % 8);
			want[i] = s.d * (float)(s.q[i] - 16);
		}
		check(MDL_TYPE_Q5_0, &s, want);

		fill(&s, 32, 32, 0, 1);
		s.d = put_f16(s.b);
		s.m = put_f16(s.b + 2);
		pack_nibbles(s.b + 8, s.q);
		for (int i = 0; i < 32; i++) {
			s.b[4 + i / 8] |= (unsigned char)(s.q[i] >> 4 << i % 8);
			want[i] = s.d * (float)s.q[i] + s.m;
		}
		check(MDL_TYPE_Q5_1, &s, want);
	}
}

/* The 2-bit planes of Q2_K and Q3_K: 128 values share 32 bytes, the first 32 of them the low bits. */
static void pack_pairs(unsigned char *b, const int *q)
{
	for (int i = 0; i < 256; i++)
		b[i / 128 * 32 + i % 32] |= (unsigned char)((q[i] & 3) << (i % 128 / 32 * 2));
}

static void q2_k(void **unused)
{
	struct sample s;
	float want[256];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		fill(&s, 256, 4, 16, 16);
		for (int j = 0; j < 16; j++)
			s.b[j] = (unsigned char)(s.scale[j] | s.min[j] << 4);
		pack_pairs(s.b + 16, s.q);
		s.d = put_f16(s.b + 80);
		s.m = put_f16(s.b + 82);
		for (int i = 0; i < 256; i++)
			want[i] = s.d * (float)s.scale[i / 16] * (float)s.q[i] -
				  s.m * (float)s.min[i / 16];
		check(MDL_TYPE_Q2_K, &s, want);
	}
}

static void q3_k(void **unused)
{
	struct sample s;
	float want[256];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		fill(&s, 256, 8, 16, 64); /* q: 3 bits, the value is q - 4 */
		for (int i = 0; i < 256; i++)
			s.b[i % 32] |= (unsigned char)(s.q[i] >> 2 << i / 32);
		pack_pairs(s.b + 32, s.q);
		/* Sixteen 6-bit scales in 12 bytes: eight bytes of low nibbles, then four of pairs. */
		for (int j = 0; j < 16; j++) {
			s.b[96 + j % 8] |= (unsigned char)((s.scale[j] & 15) << (j < 8 ? 0 : 4));
			s.b[104 + j % 4] |= (unsigned char)(s.scale[j] >> 4 << j / 4 * 2);
		}
		s.d = put_f16(s.b + 108);
		for (int i = 0; i < 256; i++)
			want[i] = s.d * (float)(s.scale[i / 16] - 32) * (float)(s.q[i] - 4);
		check(MDL_TYPE_Q3_K, &s, want);
	}
}

/* Eight 6-bit scales and mins in 12 bytes. */
static void pack_scales(unsigned char *b, const int *scale, const int *min)
{
	for (int j = 0; j < 4; j++) {
		b[j] = (unsigned char)(scale[j] | scale[j + 4] >> 4 << 6);
		b[j + 4] = (unsigned char)(min[j] | min[j + 4] >> 4 << 6);
		b[j + 8] = (unsigned char)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
	}
}

/* Runs of 32 values, two to 32 bytes: the even one in the low nibbles. */
static void pack_runs(unsigned char *b, const int *q)
{
	for (int i = 0; i < 256; i++)
		b[i / 64 * 32 + i % 32] |= (unsigned char)((q[i] & 15) << (i / 32 % 2 * 4));
}

static void q4_k_q5_k(void **unused)
{
	struct sample s;
	float want[256];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		for (int five = 0; five < 2; five++) {
			fill(&s, 256, five ? 32 : 16, 8, 64);
			s.d = put_f16(s.b);
			s.m = put_f16(s.b + 2);
			pack_scales(s.b + 4, s.scale, s.min);
			pack_runs(s.b + (five ? 48 : 16), s.q);
			for (int i = 0; i < 256 && five; i++)
				s.b[16 + i % 32] |= (unsigned char)(s.q[i] >> 4 << i / 32);
			for (int i = 0; i < 256; i++)
				want[i] = s.d * (float)s.scale[i / 32] * (float)s.q[i] -
					  s.m * (float)s.min[i / 32];
			check(five ? MDL_TYPE_Q5_K : MDL_TYPE_Q4_K, &s, want);
		}
	}
}

static void q6_k(void **unused)
{
	struct sample s;
	float want[256];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		fill(&s, 256, 64, 0, 1);
		for (int i = 0; i < 256; i++) {
			int half = i / 128, run = i % 128 / 32, l = i % 32;
			s.b[64 * half + 32 * (run & 1) + l] |=
				(unsigned char)((s.q[i] & 15) << (run >= 2 ? 4 : 0));
			s.b[128 + 32 * half + l] |= (unsigned char)(s.q[i] >> 4 << 2 * run);
		}
		for (int j = 0; j < 16; j++) {
			s.scale[j] = (int)next(256) - 128;
			s.b[192 + j] = (unsigned char)(s.scale[j] & 255);
		}
		s.d = put_f16(s.b + 208);
		for (int i = 0; i < 256; i++)
			want[i] = s.d * (float)s.scale[i / 16] * (float)(s.q[i] - 32);
		check(MDL_TYPE_Q6_K, &s, want);
	}
}

static void iq4_xs(void **unused)
{
	static const int table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
				      1,    13,	  25,  38,  53,	 69,  89,  113};
	struct sample s;
	float want[256];

	(void)unused;
	for (int round = 0; round < 50; round++) {
		fill(&s, 256, 16, 8, 64);
		s.d = put_f16(s.b);
		for (int j = 0; j < 8; j++) {
			s.b[2 + j / 4] |= (unsigned char)(s.scale[j] >> 4 << j % 4 * 2);
			s.b[4 + j / 2] |= (unsigned char)((s.scale[j] & 15) << (j & 1) * 4);
			pack_nibbles(s.b + 8 + 16 * j, s.q + 32 * j);
		}
		for (int i = 0; i < 256; i++)
			want[i] = s.d * (float)(s.scale[i / 32] - 32) * (float)table[s.q[i]];
		check(MDL_TYPE_IQ4_XS, &s, want);
	}
}

static void flat_types(void **unused)
{
	static const unsigned char f16[] = {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00};
	static const unsigned char bf16[] = {0x80, 0x3f, 0x00, 0xc0, 0x01, 0x00};
	static const unsigned char f8[] = {0x38, 0xc0, 0x01};
	float f32[3] = {1.5f, -2, 0x1p-149f}, got[3];

	(void)unused;
	mdl_dequant(MDL_TYPE_F32, f32, 3, got);
	assert_memory_equal(got, f32, sizeof(got));
	mdl_dequant(MDL_TYPE_F16, f16, 3, got);
	assert_true(got[0] == 1 && got[1] == -2 && got[2] == 0x1p-24f);
	mdl_dequant(MDL_TYPE_BF16, bf16, 3, got);
	assert_true(got[0] == 1 && got[1] == -2 && got[2] == ldexpf(1, -133));
	mdl_dequant(MDL_TYPE_F8_E4M3, f8, 3, got);
	assert_true(got[0] == 1 && got[1] == -2 && got[2] == 0x1p-9f);
}

/* --- whole matrices --------------------------------------------------------------------------- */

/* 5 x 7 FP8 values under blocks of 2 x 3: partial blocks on both edges. */
static void fp8_scales(void **unused)
{
	unsigned char data[35], bf16[18], e8m0[9];
	float scale[9], got[35];
	struct mdl_weight w = {.type = MDL_TYPE_F8_E4M3,
			       .rows = 5,
			       .cols = 7,
			       .data = data,
			       .row_bytes = 7,
			       .scale = scale,
			       .scale_type = MDL_TYPE_F32,
			       .scale_rows = 3,
			       .scale_cols = 3,
			       .block_rows = 2,
			       .block_cols = 3};

	(void)unused;
	for (int i = 0; i < 35; i++)
		data[i] = (unsigned char)next(127);
	for (int i = 0; i < 9; i++) {
		uint32_t u;
		scale[i] = ldexpf(1, i - 4);
		u = bits(scale[i]);
		bf16[2 * i] = (unsigned char)(u >> 16);
		bf16[2 * i + 1] = (unsigned char)(u >> 24);
		e8m0[i] = (unsigned char)(127 + i - 4);
	}
	for (int kind = 0; kind < 3; kind++) {
		static const enum mdl_type types[] = {MDL_TYPE_F32, MDL_TYPE_BF16, MDL_TYPE_U8};
		w.scale = kind == 0 ? (void *)scale : kind == 1 ? (void *)bf16 : (void *)e8m0;
		w.scale_type = types[kind];
		for (size_t first = 0; first < 5; first++) {
			size_t n = 5 - first;
			mdl_weight_rows(&w, first, n, got);
			for (size_t i = 0; i < n * 7; i++) {
				size_t r = first + i / 7, c = i % 7;
				float want =
					mdl_f8e4m3_f32(data[r * 7 + c]) * scale[r / 2 * 3 + c / 3];
				assert_int_equal(bits(got[i]), bits(want));
			}
		}
	}
	/* The ends of E8M0: 2^-127 and NaN. */
	memset(e8m0, 0, sizeof(e8m0));
	memset(data, 0x38, sizeof(data));
	mdl_weight_rows(&w, 0, 1, got);
	assert_true(got[0] == 0x1p-127f);
	memset(e8m0, 0xff, sizeof(e8m0));
	mdl_weight_rows(&w, 0, 1, got);
	assert_true(isnan(got[0]));
}

static void rows_of_blocks(void **unused)
{
	unsigned char data[3 * 2 * 18];
	float all[3 * 64], one[64];
	struct mdl_weight w = {
		.type = MDL_TYPE_Q4_0, .rows = 3, .cols = 64, .data = data, .row_bytes = 36};

	(void)unused;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)next(120);
	mdl_dequant(MDL_TYPE_Q4_0, data, 3 * 64, all);
	for (size_t r = 0; r < 3; r++) {
		mdl_weight_rows(&w, r, 1, one);
		assert_memory_equal(one, all + r * 64, sizeof(one));
	}
	mdl_weight_rows(&w, 3, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(f16_all),	  cmocka_unit_test(bf16_all),
		cmocka_unit_test(f8_all),	  cmocka_unit_test(type_table),
		cmocka_unit_test(blocks_of_32),	  cmocka_unit_test(q2_k),
		cmocka_unit_test(q3_k),		  cmocka_unit_test(q4_k_q5_k),
		cmocka_unit_test(q6_k),		  cmocka_unit_test(iq4_xs),
		cmocka_unit_test(flat_types),	  cmocka_unit_test(fp8_scales),
		cmocka_unit_test(rows_of_blocks),
	};

	return cmocka_run_group_tests_name("model tensor", tests, NULL, NULL);
}
