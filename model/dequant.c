/*
 * Blocks of packed weights to float32. Pure functions on caller memory; any thread.
 *
 * Each function below takes one block as it lies in the file (little-endian, no alignment) and
 * writes its values; the layout stands above it, as byte offsets. `d`, `m`: float16. The order of
 * the float32 operations is the reference's, so that values agree in every bit.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "model/tensor.h"

typedef unsigned char byte;

static uint16_t u16_at(const byte *b)
{
	return (uint16_t)(b[0] | b[1] << 8);
}

static uint32_t u32_at(const byte *b)
{
	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static float f16_at(const byte *b)
{
	return mdl_f16_f32(u16_at(b));
}

static void f32_block(const byte *b, float *y)
{
	memcpy(y, b, 4);
}

static void f16_block(const byte *b, float *y)
{
	*y = f16_at(b);
}

static void bf16_block(const byte *b, float *y)
{
	*y = mdl_bf16_f32(u16_at(b));
}

static void f8_block(const byte *b, float *y)
{
	*y = mdl_f8e4m3_f32(*b);
}

/* d 0, int8 q[32] 2: d q */
static void q8_0_block(const byte *b, float *y)
{
	float d = f16_at(b);

	for (int j = 0; j < 32; j++)
		y[j] = d * (float)(int8_t)b[2 + j];
}

/* d 0, nibbles[16] 2: d (q - 8); the low nibble of byte j is value j, the high one j + 16 */
static void q4_0_block(const byte *b, float *y)
{
	float d = f16_at(b);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (float)((b[2 + j] & 15) - 8);
		y[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
	}
}

/* d 0, m 2, nibbles[16] 4: d q + m */
static void q4_1_block(const byte *b, float *y)
{
	float d = f16_at(b), m = f16_at(b + 2);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (float)(b[4 + j] & 15) + m;
		y[j + 16] = d * (float)(b[4 + j] >> 4) + m;
	}
}

/* d 0, fifth bits u32 2 (bit j: value j), nibbles[16] 6: d (q - 16) */
static void q5_0_block(const byte *b, float *y)
{
	float d = f16_at(b);
	uint32_t high = u32_at(b + 2);

	for (int j = 0; j < 16; j++) {
		int lo = (b[6 + j] & 15) | (int)(high >> j & 1) << 4;
		int hi = (b[6 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
		y[j] = d * (float)(lo - 16);
		y[j + 16] = d * (float)(hi - 16);
	}
}

/* d 0, m 2, fifth bits u32 4, nibbles[16] 8: d q + m */
static void q5_1_block(const byte *b, float *y)
{
	float d = f16_at(b), m = f16_at(b + 2);
	uint32_t high = u32_at(b + 4);

	for (int j = 0; j < 16; j++) {
		int lo = (b[8 + j] & 15) | (int)(high >> j & 1) << 4;
		int hi = (b[8 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
		y[j] = d * (float)lo + m;
		y[j + 16] = d * (float)hi + m;
	}
}

/* scales[16] 0 (low nibble scale, high nibble min, one for 16 values), 2-bit q[64] 16, d 80, m 82:
 * d s q - m min. Half h (128 values) uses q[32h..32h+31]; its run r of 32 values bits 2r, 2r + 1. */
static void q2_k_block(const byte *b, float *y)
{
	float d = f16_at(b + 80), m = f16_at(b + 82);

	for (int i = 0; i < 256; i++) {
		int half = i / 128, run = i / 32 % 4, scale = b[i / 16];
		int q = b[16 + 32 * half + i % 32] >> (2 * run) & 3;
		y[i] = d * (float)(scale & 15) * (float)q - m * (float)(scale >> 4);
	}
}

/* third bits[32] 0, 2-bit q[64] 32, 6-bit scales[12] 96, d 108: d (s - 32) (q - (bit ? 0 : 4)).
 * Value i: bits as in Q2_K, its third bit is bit i / 32 of byte i % 32. Scale j: the low 4 bits are
 * a nibble of byte j % 8 (low for j < 8), the top 2 are bits 2 (j / 4) of byte 8 + j % 4. */
static void q3_k_block(const byte *b, float *y)
{
	const byte *s = b + 96;
	float d = f16_at(b + 108);
	float ds[16];

	for (int j = 0; j < 16; j++) {
		int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
		int top = s[8 + j % 4] >> (2 * (j / 4)) & 3;
		ds[j] = d * (float)((low | top << 4) - 32);
	}
	for (int i = 0; i < 256; i++) {
		int half = i / 128, run = i / 32 % 4;
		int q = b[32 + 32 * half + i % 32] >> (2 * run) & 3;
		int third = b[i % 32] >> (i / 32) & 1;
		y[i] = ds[i / 16] * (float)(q - (third ? 0 : 4));
	}
}

/* Scale and min j (of 8) in the 12 bytes that Q4_K and Q5_K share: 6 bits each. */
static void k_scale_min(const byte *s, int j, int *scale, int *min)
{
	if (j < 4) {
		*scale = s[j] & 63;
		*min = s[j + 4] & 63;
	} else {
		*scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
		*min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
	}
}

/* d 0, m 2, scales and mins[12] 4, nibbles[128] 16: d s q - m min, one s and min for 32 values.
 * Runs 2t and 2t + 1 of 32 values are the low and high nibbles of bytes 32t..32t+31. */
static void q4_k_block(const byte *b, float *y)
{
	float d = f16_at(b), m = f16_at(b + 2);

	for (int j = 0; j < 8; j++) {
		const byte *q = b + 16 + 32 * (j / 2);
		int scale, min;
		float ds, dm;
		k_scale_min(b + 4, j, &scale, &min);
		ds = d * (float)scale;
		dm = m * (float)min;
		for (int l = 0; l < 32; l++)
			y[32 * j + l] = ds * (float)(q[l] >> (4 * (j & 1)) & 15) - dm;
	}
}

/* As Q4_K with fifth bits[32] 16 (bit j of byte l: value l of run j), nibbles[128] 48. */
static void q5_k_block(const byte *b, float *y)
{
	float d = f16_at(b), m = f16_at(b + 2);

	for (int j = 0; j < 8; j++) {
		const byte *q = b + 48 + 32 * (j / 2);
		int scale, min;
		float ds, dm;
		k_scale_min(b + 4, j, &scale, &min);
		ds = d * (float)scale;
		dm = m * (float)min;
		for (int l = 0; l < 32; l++) {
			int v = (q[l] >> (4 * (j & 1)) & 15) | (b[16 + l] >> j & 1) << 4;
			y[32 * j + l] = ds * (float)v - dm;
		}
	}
}

/* low nibbles[128] 0, top 2 bits[64] 128, int8 scales[16] 192, d 208: d s (q - 32). In half h, run r
 * of 32 values: nibble from byte 64h + 32 (r % 2) + l, low for r < 2; bits 2r of byte 32h + l. */
static void q6_k_block(const byte *b, float *y)
{
	float d = f16_at(b + 208);

	for (int i = 0; i < 256; i++) {
		int half = i / 128, run = i / 32 % 4, l = i % 32;
		int low = b[64 * half + 32 * (run % 2) + l] >> (run < 2 ? 0 : 4) & 15;
		int top = b[128 + 32 * half + l] >> (2 * run) & 3;
		float ds = d * (float)(int8_t)b[192 + i / 16];
		y[i] = ds * (float)((low | top << 4) - 32);
	}
}

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
				      1,    13,	  25,  38,  53,	 69,  89,  113};

/* d 0, nibbles[16] 2: d table[q], nibbles as in Q4_0 */
static void iq4_nl_block(const byte *b, float *y)
{
	float d = f16_at(b);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (float)iq4_values[b[2 + j] & 15];
		y[j + 16] = d * (float)iq4_values[b[2 + j] >> 4];
	}
}

/* d 0, top 2 bits of the 8 scales u16 2, low nibbles of the scales[4] 4, nibbles[128] 8:
 * d (s - 32) table[q]; each run of 32 values has 16 bytes, nibbles as in Q4_0 */
static void iq4_xs_block(const byte *b, float *y)
{
	float d = f16_at(b);
	int top = u16_at(b + 2);

	for (int r = 0; r < 8; r++) {
		const byte *q = b + 8 + 16 * r;
		int scale = (b[4 + r / 2] >> (4 * (r & 1)) & 15) | (top >> (2 * r) & 3) << 4;
		float ds = d * (float)(scale - 32);
		for (int j = 0; j < 16; j++) {
			y[32 * r + j] = ds * (float)iq4_values[q[j] & 15];
			y[32 * r + j + 16] = ds * (float)iq4_values[q[j] >> 4];
		}
	}
}

typedef void block_fn(const byte *b, float *y);

static block_fn *const block_fns[MDL_TYPE_COUNT] = {
	[MDL_TYPE_F32] = f32_block,	  [MDL_TYPE_F16] = f16_block,
	[MDL_TYPE_BF16] = bf16_block,	  [MDL_TYPE_F8_E4M3] = f8_block,
	[MDL_TYPE_Q8_0] = q8_0_block,	  [MDL_TYPE_Q4_0] = q4_0_block,
	[MDL_TYPE_Q4_1] = q4_1_block,	  [MDL_TYPE_Q5_0] = q5_0_block,
	[MDL_TYPE_Q5_1] = q5_1_block,	  [MDL_TYPE_Q2_K] = q2_k_block,
	[MDL_TYPE_Q3_K] = q3_k_block,	  [MDL_TYPE_Q4_K] = q4_k_block,
	[MDL_TYPE_Q5_K] = q5_k_block,	  [MDL_TYPE_Q6_K] = q6_k_block,
	[MDL_TYPE_IQ4_NL] = iq4_nl_block, [MDL_TYPE_IQ4_XS] = iq4_xs_block,
};

void mdl_dequant(enum mdl_type type, const void *src, size_t n, float *dst)
{
	size_t values = mdl_type_block_values(type), bytes = mdl_type_block_bytes(type);
	const byte *b = src;

	LT_ASSERT(mdl_type_is_weight(type) && n % values == 0);
	switch (type) { /* the flat types as loops that the compiler can vectorise */
	case MDL_TYPE_F32: memcpy(dst, src, n * 4); return;
	case MDL_TYPE_BF16:
		for (size_t i = 0; i < n; i++)
			dst[i] = mdl_bf16_f32(u16_at(b + 2 * i));
		return;
	default: break;
	}
	for (size_t i = 0; i < n; i += values, b += bytes)
		block_fns[type](b, dst + i);
}

/* Scale number i of an FP8 weight. An E8M0 byte e is 2^(e - 127). */
static float scale_at(const struct mdl_weight *w, size_t i)
{
	const byte *b = w->scale;
	uint32_t u;
	float f;

	switch (w->scale_type) {
	case MDL_TYPE_F32: memcpy(&f, b + 4 * i, 4); return f;
	case MDL_TYPE_BF16: return mdl_bf16_f32(u16_at(b + 2 * i));
	default:
		LT_ASSERT(w->scale_type == MDL_TYPE_U8);
		u = b[i] == 0xff ? 0x7fc00000u : b[i] ? (uint32_t)b[i] << 23 : 0x00400000u;
		memcpy(&f, &u, 4);
		return f;
	}
}

float mdl_weight_scale(const struct mdl_weight *w, size_t row, size_t col)
{
	return w->scale ? scale_at(w, row / w->block_rows * w->scale_cols + col / w->block_cols)
			: 1;
}

static void f8_rows(const struct mdl_weight *w, size_t row, size_t n, float *dst)
{
	float table[256];

	for (int i = 0; i < 256; i++)
		table[i] = mdl_f8e4m3_f32((uint8_t)i);
	for (size_t r = row; r < row + n; r++) {
		const byte *src = (const byte *)w->data + r * w->row_bytes;
		for (size_t c = 0; c < w->cols;) {
			size_t end = c + w->block_cols < w->cols ? c + w->block_cols : w->cols;
			float s =
				scale_at(w, r / w->block_rows * w->scale_cols + c / w->block_cols);
			for (; c < end; c++)
				*dst++ = table[src[c]] * s;
		}
	}
}

void mdl_weight_rows(const struct mdl_weight *w, size_t row, size_t n, float *dst)
{
	LT_ASSERT(row <= w->rows && n <= w->rows - row);
	if (w->scale) {
		f8_rows(w, row, n, dst);
		return;
	}
	for (size_t r = row; r < row + n; r++, dst += w->cols)
		mdl_dequant(w->type, (const byte *)w->data + r * w->row_bytes, w->cols, dst);
}

void mdl_weight_expect(const struct mdl_weight *w, size_t row, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin, end;

	LT_ASSERT(row <= w->rows && n <= w->rows - row);
	begin = (uintptr_t)w->data + row * w->row_bytes;
	end = begin + n * w->row_bytes;
	begin = begin / page * page;
	if (begin < end)
		madvise((void *)begin, end - begin, MADV_WILLNEED);
}

void mdl_weight_release(const struct mdl_weight *w, size_t row, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin, end;

	LT_ASSERT(row <= w->rows && n <= w->rows - row);
	begin = (uintptr_t)w->data + row * w->row_bytes;
	end = begin + n * w->row_bytes;
	/* Whole pages within; the mapping is read-only, so nothing can be lost. */
	begin = (begin + page - 1) / page * page;
	end = end / page * page;
	if (begin < end)
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}
