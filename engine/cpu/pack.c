/*
 * From the file's blocks to panels (format.h has the layout). Pure functions on caller memory; panels
 * are apart, so any thread may pack any of them.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/format.h"

typedef unsigned char byte;

struct traits {
	const char *name;
	uint8_t bits, high, sub;
	enum cpu_scales scales;
};

static const struct traits traits[CPU_INT_COUNT] = {
#define X(name, bits, high, map, offset, sub, scales)                                              \
	[CPU_##name] = {#name, bits, high, sub, scales},
	CPU_INT_FORMATS(X)
#undef X
};

enum cpu_act cpu_act_of(enum cpu_format format)
{
	if (format < CPU_INT_COUNT)
		return traits[format].sub == 16 ? CPU_ACT_INT8_HALVES : CPU_ACT_INT8;
	return format == CPU_BF16 ? CPU_ACT_BF16 : CPU_ACT_F32;
}

const char *cpu_format_name(enum cpu_format format)
{
	static const char *const floats[] = {"BF16", "BF16 exact", "F8", "F32", "F16"};

	return format < CPU_INT_COUNT ? traits[format].name : floats[format - CPU_INT_COUNT];
}

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

size_t cpu_act_bytes(enum cpu_act act, size_t cols)
{
	switch (act) {
	case CPU_ACT_INT8:
	case CPU_ACT_INT8_HALVES: return cols / CPU_GROUP * sizeof(struct cpu_group);
	case CPU_ACT_BF16: return round_up(round_up(cols, 2) * sizeof(uint16_t), 64);
	default: return round_up(round_up(cols, 2) * sizeof(float), 64);
	}
}

enum cpu_format cpu_format_for(enum mdl_type type)
{
	switch (type) {
#define X(name, bits, high, map, offset, sub, scales)                                              \
	case MDL_TYPE_##name: return CPU_##name;
		CPU_INT_FORMATS(X)
#undef X
	case MDL_TYPE_BF16: return CPU_BF16_EXACT;
	case MDL_TYPE_F8_E4M3: return CPU_F8;
	case MDL_TYPE_F16: return CPU_F16;
	default: LT_ASSERT(type == MDL_TYPE_F32); return CPU_F32;
	}
}

/* Bytes of a group's scales. */
static size_t scale_bytes(const struct traits *t)
{
	size_t subs = CPU_GROUP / t->sub;

	switch (t->scales) {
	case CPU_SCALES_F16: return 32;
	case CPU_SCALES_F16_MIN: return 64;
	case CPU_SCALES_K: return 32 * subs;
	default: return 16 * subs;
	}
}

static void int_layout(struct cpu_mat *m)
{
	const struct traits *t = &traits[m->format];
	size_t supers, at;

	m->groups = m->cols / CPU_GROUP;
	supers = (m->groups + CPU_SUPER - 1) / CPU_SUPER;
	at = (size_t)m->groups * t->bits * 64;
	m->high = at;
	at += (size_t)m->groups * t->high * 64;
	m->scales = at;
	at = round_up(at + m->groups * scale_bytes(t), 64);
	m->super = at;
	if (t->scales == CPU_SCALES_K)
		at += supers * 64;
	else if (t->scales == CPU_SCALES_K_SIGNED)
		at += supers * 32;
	m->panel_bytes = round_up(at, 64);
}

void cpu_mat_layout(struct cpu_mat *m, enum cpu_format format, uint32_t rows, uint32_t cols,
		    uint32_t block_cols)
{
	size_t pairs = ((size_t)cols + 1) / 2;

	*m = (struct cpu_mat){.format = format, .rows = rows, .cols = cols};
	m->panels = (rows + CPU_LANES - 1) / CPU_LANES;
	switch (format) {
	case CPU_BF16:
	case CPU_BF16_EXACT: m->panel_bytes = pairs * 64; break;
	case CPU_F8:
		/* A scale may not change within a pair of columns. */
		LT_ASSERT(block_cols > 0 && block_cols % 2 == 0);
		m->block_cols = block_cols;
		m->scales = round_up(pairs * 32, 64);
		m->panel_bytes = m->scales + (size_t)((cols - 1) / block_cols + 1) * 64;
		break;
	case CPU_F32: m->panel_bytes = (size_t)cols * 64; break;
	case CPU_F16: m->panel_bytes = round_up((size_t)cols * 32, 64); break;
	default: LT_ASSERT(cols % CPU_GROUP == 0); int_layout(m);
	}
}

/* ---- codes of a group ---------------------------------------------------------------------- */

static void nibbles(const byte *q, byte *codes)
{
	for (int j = 0; j < 16; j++) {
		codes[j] = q[j] & 15;
		codes[j + 16] = q[j] >> 4;
	}
}

static void fifth_bits(const byte *h, byte *codes)
{
	uint32_t bits = h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;

	for (int j = 0; j < 32; j++)
		codes[j] |= (byte)((bits >> j & 1) << 4);
}

static void two_bits(const byte *q, int g, byte *codes)
{
	for (int l = 0; l < 32; l++)
		codes[l] = q[32 * (g / 4) + l] >> (2 * (g % 4)) & 3;
}

static void k_nibbles(const byte *q, int g, byte *codes)
{
	for (int l = 0; l < 32; l++)
		codes[l] = q[32 * (g / 2) + l] >> (4 * (g & 1)) & 15;
}

/* Codes [32] of group g of the block (model/dequant.c says how the types lie). */
static void group_codes(enum cpu_format format, const byte *b, int g, byte *codes)
{
	switch (format) {
	case CPU_Q8_0:
		for (int j = 0; j < 32; j++)
			codes[j] = b[2 + j] ^ 0x80;
		return;
	case CPU_Q4_0:
	case CPU_IQ4_NL: nibbles(b + 2, codes); return;
	case CPU_Q4_1: nibbles(b + 4, codes); return;
	case CPU_Q5_0:
		nibbles(b + 6, codes);
		fifth_bits(b + 2, codes);
		return;
	case CPU_Q5_1:
		nibbles(b + 8, codes);
		fifth_bits(b + 4, codes);
		return;
	case CPU_Q2_K: two_bits(b + 16, g, codes); return;
	case CPU_Q3_K:
		two_bits(b + 32, g, codes);
		for (int l = 0; l < 32; l++)
			codes[l] |= (byte)((b[l] >> g & 1) << 2);
		return;
	case CPU_Q4_K: k_nibbles(b + 16, g, codes); return;
	case CPU_Q5_K:
		k_nibbles(b + 48, g, codes);
		for (int l = 0; l < 32; l++)
			codes[l] |= (byte)((b[16 + l] >> g & 1) << 4);
		return;
	case CPU_Q6_K:
		for (int l = 0; l < 32; l++) {
			int half = g / 4, run = g % 4;
			int low = b[64 * half + 32 * (run % 2) + l] >> (run < 2 ? 0 : 4) & 15;

			codes[l] = (byte)(low | (b[128 + 32 * half + l] >> (2 * run) & 3) << 4);
		}
		return;
	default: LT_ASSERT(format == CPU_IQ4_XS); nibbles(b + 8 + 16 * g, codes);
	}
}

/* The group's codes into lane `lane` of planes at `code` and `high`. */
static void put_codes(const struct traits *t, const byte *codes, unsigned lane, byte *code,
		      byte *high)
{
	uint32_t d[8], out;

	memcpy(d, codes, sizeof(d));
	code += 4 * lane;
	high += 4 * lane;
	if (t->bits == 8) {
		for (int v = 0; v < 8; v++)
			memcpy(code + 64 * v, &d[v], 4);
		return;
	}
	if (t->bits == 4) {
		for (int j = 0; j < 4; j++) {
			out = (d[j] & 0x0f0f0f0f) | (d[j + 4] & 0x0f0f0f0f) << 4;
			memcpy(code + 64 * j, &out, 4);
		}
	} else {
		for (int j = 0; j < 2; j++) {
			out = 0;
			for (int i = 0; i < 4; i++)
				out |= (d[4 * j + i] & 0x03030303) << (2 * i);
			memcpy(code + 64 * j, &out, 4);
		}
	}
	if (t->high == 1) {
		out = 0;
		for (int v = 0; v < 8; v++)
			out |= (d[v] >> t->bits & 0x01010101) << v;
		memcpy(high, &out, 4);
	}
	for (int j = 0; t->high == 2 && j < 2; j++) {
		out = 0;
		for (int i = 0; i < 4; i++)
			out |= (d[4 * j + i] >> 4 & 0x03030303) << (2 * i);
		memcpy(high + 64 * j, &out, 4);
	}
}

/* ---- scales -------------------------------------------------------------------------------- */

/* A float16 of the file into its lane. */
static void put_half(byte *to, unsigned lane, const byte *from, byte flip)
{
	to[2 * lane] = from[0];
	to[2 * lane + 1] = from[1] ^ flip;
}

/* Scales and mins of sub-blocks j of a K-quant's block, as bytes: (signed) scale, min. */
static void k_scale(enum cpu_format format, const byte *b, int j, byte *scale, byte *min)
{
	const byte *s = b + 4;

	switch (format) {
	case CPU_Q2_K:
		*scale = b[j] & 15;
		*min = b[j] >> 4;
		return;
	case CPU_Q3_K:
		s = b + 96;
		*scale = (byte)(((j < 8 ? s[j] & 15 : s[j - 8] >> 4) |
				 (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) -
				32);
		return;
	case CPU_Q6_K: *scale = b[192 + j]; return;
	case CPU_IQ4_XS:
		*scale = (byte)(((b[4 + j / 2] >> (4 * (j & 1)) & 15) |
				 ((b[2] | b[3] << 8) >> (2 * j) & 3) << 4) -
				32);
		return;
	default: /* Q4_K, Q5_K */
		if (j < 4) {
			*scale = s[j] & 63;
			*min = s[j + 4] & 63;
		} else {
			*scale = (byte)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
			*min = (byte)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
		}
	}
}

/* Offsets of d and m in a K-quant's block. */
static void super_at(enum cpu_format format, int *d, int *m)
{
	*d = format == CPU_Q2_K ? 80 : format == CPU_Q3_K ? 108 : format == CPU_Q6_K ? 208 : 0;
	*m = format == CPU_Q2_K ? 82 : 2;
}

/* Scales of group g (the i-th of block b) into lane `lane`. */
static void put_scales(const struct cpu_mat *m, const byte *b, int i, byte *panel, uint32_t g,
		       unsigned lane)
{
	const struct traits *t = &traits[m->format];
	byte *to = panel + m->scales + g * scale_bytes(t);
	byte *super = panel + m->super;
	int d, min, subs = CPU_GROUP / t->sub;
	byte scale, n = 0;

	switch (t->scales) {
	case CPU_SCALES_F16: put_half(to, lane, b, 0); return;
	case CPU_SCALES_F16_MIN:
		put_half(to, lane, b, 0);
		put_half(to + 32, lane, b + 2, 0x80);
		return;
	default: break;
	}
	for (int s = 0; s < subs; s++) {
		k_scale(m->format, b, i * subs + s, &scale, &n);
		if (t->scales == CPU_SCALES_K) {
			to[32 * s + lane] = scale;
			to[32 * s + 16 + lane] = n;
		} else {
			to[16 * s + lane] = scale;
		}
	}
	super_at(m->format, &d, &min);
	if (i == 0 && t->scales == CPU_SCALES_K) {
		put_half(super + g / CPU_SUPER * 64, lane, b + d, 0);
		put_half(super + g / CPU_SUPER * 64 + 32, lane, b + min, 0);
	} else if (i == 0) {
		put_half(super + g / CPU_SUPER * 32, lane, b + d, 0);
	}
}

/* ---- panels -------------------------------------------------------------------------------- */

static void pack_int(struct cpu_mat *m, byte *panel, const struct mdl_weight *w, size_t first,
		     unsigned lanes)
{
	const struct traits *t = &traits[m->format];
	size_t values = mdl_type_block_values(w->type), bytes = mdl_type_block_bytes(w->type);
	int groups = (int)(values / CPU_GROUP);
	byte codes[32];

	for (unsigned lane = 0; lane < lanes; lane++) {
		const byte *b = (const byte *)w->data + (first + lane) * w->row_bytes;

		for (uint32_t g = 0; g < m->groups; b += bytes) {
			for (int i = 0; i < groups; i++, g++) {
				group_codes(m->format, b, i, codes);
				put_codes(t, codes, lane, panel + (size_t)g * t->bits * 64,
					  panel + m->high + (size_t)g * t->high * 64);
				put_scales(m, b, i, panel, g, lane);
			}
		}
	}
}

/* E4M3's two codes that are no numbers. The kernels take them for 480; whoever packs gives their lane
 * a scale that isn't one. */
static bool f8_nan(byte b)
{
	return (b & 0x7f) == 0x7f;
}

static void put_f8_scale(const struct cpu_mat *m, byte *panel, size_t block, unsigned lane,
			 float scale)
{
	memcpy(panel + m->scales + (block * CPU_LANES + lane) * sizeof(scale), &scale,
	       sizeof(scale));
}

static void pack_f8(struct cpu_mat *m, byte *panel, const struct mdl_weight *w, size_t first,
		    unsigned lanes)
{
	for (unsigned lane = 0; lane < lanes; lane++) {
		const byte *b = (const byte *)w->data + (first + lane) * w->row_bytes;

		for (size_t c = 0, block = 0; c < m->cols; block++) {
			size_t end = min_of(c + m->block_cols, m->cols);
			float scale = mdl_weight_scale(w, first + lane, c);

			for (; c < end; c++) {
				panel[c / 2 * 32 + lane * 2 + c % 2] = b[c];
				if (f8_nan(b[c]))
					scale = NAN;
			}
			put_f8_scale(m, panel, block, lane, scale);
		}
	}
}

/* Items of `size` bytes, `run` of them together. */
static void pack_items(byte *panel, const byte *rows, size_t row_bytes, unsigned lanes, size_t cols,
		       size_t size, size_t run)
{
	for (unsigned lane = 0; lane < lanes; lane++, rows += row_bytes) {
		for (size_t c = 0; c < cols; c++)
			memcpy(panel + ((c / run * 16 + lane) * run + c % run) * size,
			       rows + c * size, size);
	}
}

void cpu_pack_panel(struct cpu_mat *m, uint32_t panel, const struct mdl_weight *w, uint32_t first)
{
	byte *to = m->data + panel * m->panel_bytes;
	uint32_t done = panel * CPU_LANES;
	unsigned lanes = m->rows - done < CPU_LANES ? m->rows - done : CPU_LANES;
	const byte *rows = (const byte *)w->data + (size_t)(first + done) * w->row_bytes;

	memset(to, 0, m->panel_bytes);
	switch (m->format) {
	case CPU_BF16:
	case CPU_BF16_EXACT: pack_items(to, rows, w->row_bytes, lanes, m->cols, 2, 2); break;
	case CPU_F16: pack_items(to, rows, w->row_bytes, lanes, m->cols, 2, 1); break;
	case CPU_F32: pack_items(to, rows, w->row_bytes, lanes, m->cols, 4, 1); break;
	case CPU_F8: pack_f8(m, to, w, first + done, lanes); break;
	default: pack_int(m, to, w, first + done, lanes);
	}
}

void cpu_pack_f8_transposed(struct cpu_mat *m, uint32_t panel, const struct mdl_weight *w,
			    uint32_t first)
{
	byte *to = m->data + panel * m->panel_bytes;
	uint32_t row = panel * CPU_LANES;
	unsigned lanes = m->rows - row < CPU_LANES ? m->rows - row : CPU_LANES;
	float scale[CPU_LANES];

	memset(to, 0, m->panel_bytes);
	for (size_t c = 0, block = 0; c < m->cols; block++) {
		size_t end = min_of(c + m->block_cols, m->cols);

		for (unsigned lane = 0; lane < lanes; lane++)
			scale[lane] = mdl_weight_scale(w, first + c, row + lane);
		for (; c < end; c++) {
			const byte *b = (const byte *)w->data + (first + c) * w->row_bytes + row;

			for (unsigned lane = 0; lane < lanes; lane++) {
				to[c / 2 * 32 + lane * 2 + c % 2] = b[lane];
				if (f8_nan(b[lane]))
					scale[lane] = NAN;
			}
		}
		for (unsigned lane = 0; lane < lanes; lane++)
			put_f8_scale(m, to, block, lane, scale[lane]);
	}
}

void cpu_pack_floats(struct cpu_mat *m, uint32_t panel, const float *src, size_t ld, uint32_t n)
{
	byte *to = m->data + panel * m->panel_bytes;

	memset(to, 0, m->panel_bytes);
	for (uint32_t lane = 0; lane < n; lane++, src += ld) {
		for (size_t c = 0; c < m->cols; c++) {
			uint16_t h = mdl_f32_bf16(src[c]);

			if (m->format != CPU_F32)
				memcpy(to + (c / 2 * 16 + lane) * 4 + c % 2 * 2, &h, 2);
			else
				memcpy(to + (c * 16 + lane) * 4, &src[c], 4);
		}
	}
}
