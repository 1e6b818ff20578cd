/*
 * engine/cpu/: packing and products, of every table that this processor can run and every format.
 * Random blocks as files have them, times random rows, against sums in float64 of what model/dequant.c
 * makes of the same blocks and of the activations as the table has brought them to their form; then
 * against the table "plain"; then a row in a batch against the row alone, bit for bit.
 */
#include "test/unit/kernels-help.h"

#include <float.h>

#include "model/tensor.h"

#define MAX_ROWS 64u
#define OF_PLAIN 1e-5 /* largest distance from "plain", of a row's norm */

/* Where a type's blocks have what: codes [first, last), float16 d, m; scales are what is left. */
static const struct block {
	enum mdl_type type;
	uint8_t first, last, d;
	int8_t m; /* -1: none */
	bool k;	  /* scales of its own within */
} blocks[CPU_INT_COUNT] = {
	[CPU_Q8_0] = {MDL_TYPE_Q8_0, 2, 34, 0, -1, false},
	[CPU_Q4_0] = {MDL_TYPE_Q4_0, 2, 18, 0, -1, false},
	[CPU_Q4_1] = {MDL_TYPE_Q4_1, 4, 20, 0, 2, false},
	[CPU_Q5_0] = {MDL_TYPE_Q5_0, 2, 22, 0, -1, false},
	[CPU_Q5_1] = {MDL_TYPE_Q5_1, 4, 24, 0, 2, false},
	[CPU_Q2_K] = {MDL_TYPE_Q2_K, 16, 80, 80, 82, true},
	[CPU_Q3_K] = {MDL_TYPE_Q3_K, 0, 96, 108, -1, true},
	[CPU_Q4_K] = {MDL_TYPE_Q4_K, 16, 144, 0, 2, true},
	[CPU_Q5_K] = {MDL_TYPE_Q5_K, 16, 176, 0, 2, true},
	[CPU_Q6_K] = {MDL_TYPE_Q6_K, 0, 192, 208, -1, true},
	[CPU_IQ4_NL] = {MDL_TYPE_IQ4_NL, 2, 18, 0, -1, false},
	[CPU_IQ4_XS] = {MDL_TYPE_IQ4_XS, 8, 136, 0, -1, true},
};

enum fill { FILL_NORMAL, FILL_ZERO, FILL_DENORMAL, FILL_WIDE, FILL_EXTREME, FILLS };

/* A packed matrix, and the same as numbers. */
struct sample {
	struct cpu_mat m;
	struct mdl_weight w; /* what it was packed from */
	float *value;	     // [rows, cols]
	float *least; // [rows, cols] the values of codes 0, or NULL: terms apart, whose difference rounds
	bool alike; /* terms may all be the same, and be rounded the same way */
};

/* Activations in a form, and the same as numbers. */
struct rows {
	size_t n;
	const void *at[MAX_ROWS];
	double *value; // [n, cols]
};

static bool is_int(enum cpu_format f)
{
	return f < CPU_INT_COUNT;
}

static uint32_t least_cols(enum cpu_format f)
{
	return is_int(f) ? (uint32_t)mdl_type_block_values(blocks[f].type) : 1;
}

/* ---- weights ------------------------------------------------------------------------------------ */

static void put_half(unsigned char *b, uint32_t half)
{
	b[0] = (unsigned char)half;
	b[1] = (unsigned char)(half >> 8);
}

/* A float16 of either sign: what scales are like; 0; below the normal ones; of any size; 1. */
static uint32_t half_of(enum fill fill)
{
	uint32_t fraction = below(1024), sign = below(2) << 15;

	switch (fill) {
	case FILL_ZERO: return below(3) ? 0 : sign;
	case FILL_DENORMAL: return sign | fraction;
	case FILL_WIDE: return sign | below(31) << 10 | fraction;
	case FILL_EXTREME: return 15u << 10;
	default: return sign | (4 + below(8)) << 10 | fraction;
	}
}

/* Bytes of which all codes, and all scales, of FILL_EXTREME are made: every pair in turn. */
static const unsigned char ends[] = {0x00, 0xff, 0x7f, 0x80, 0x3f, 0x0f, 0xf0};
#define N_ENDS sizeof(ends)
static size_t pair_of_ends;

static void fill_blocks(const struct block *b, unsigned char *data, size_t n, enum fill fill)
{
	size_t bytes = mdl_type_block_bytes(b->type);
	unsigned char codes = ends[pair_of_ends % N_ENDS];
	unsigned char scales = ends[pair_of_ends / N_ENDS % N_ENDS];

	for (size_t i = 0; i < n; i++, data += bytes) {
		for (size_t k = 0; k < bytes; k++) {
			bool code = k >= b->first && k < b->last;

			data[k] = (unsigned char)below(256);
			if (fill == FILL_EXTREME)
				data[k] = code ? codes : scales;
		}
		put_half(data + b->d, half_of(fill));
		if (b->m >= 0)
			put_half(data + b->m, half_of(fill));
	}
}

static float float_of(enum fill fill)
{
	switch (fill) {
	case FILL_ZERO: return below(3) ? 0 : -0.0f;
	case FILL_DENORMAL: return of_bits(below(2) << 31 | below(1u << 23));
	case FILL_WIDE: return ldexpf(uniform(), (int)below(80) - 60);
	case FILL_EXTREME: return below(2) ? 1e15f : -1e15f;
	default: return uniform();
	}
}

static void fill_floats(enum mdl_type type, unsigned char *data, size_t n, enum fill fill)
{
	for (size_t i = 0; i < n; i++) {
		float f = float_of(fill);
		uint16_t b = mdl_f32_bf16(f);

		switch (type) {
		case MDL_TYPE_F32: memcpy(data + 4 * i, &f, 4); break;
		case MDL_TYPE_BF16: memcpy(data + 2 * i, &b, 2); break;
		case MDL_TYPE_F16:
			put_half(data + 2 * i,
				 fill == FILL_EXTREME ? 0x7bff | below(2) << 15 : half_of(fill));
			break;
		default: /* FP8: all codes but the two that are no numbers */
			data[i] = (unsigned char)(below(2) << 7 | below(127));
			if (fill == FILL_EXTREME)
				data[i] = (unsigned char)(below(2) << 7 | 0x7e);
			else if (fill == FILL_DENORMAL)
				data[i] = (unsigned char)(below(2) << 7 | below(8));
		}
	}
}

/* Scales of w's blocks, float32, bfloat16 or exponents. */
static void add_scales(struct mdl_weight *w, uint32_t block_rows, uint32_t block_cols,
		       enum fill fill)
{
	static const enum mdl_type types[] = {MDL_TYPE_F32, MDL_TYPE_BF16, MDL_TYPE_U8};
	unsigned char *data;
	size_t n;

	w->block_rows = block_rows;
	w->block_cols = block_cols;
	w->scale_rows = (w->rows + block_rows - 1) / block_rows;
	w->scale_cols = (w->cols + block_cols - 1) / block_cols;
	w->scale_type = types[below(3)];
	n = (size_t)w->scale_rows * w->scale_cols;
	w->scale = data = buf(n * mdl_type_block_bytes(w->scale_type), 0);
	if (w->scale_type != MDL_TYPE_U8)
		fill_floats(w->scale_type, data, n, fill);
	for (size_t i = 0; i < n && w->scale_type == MDL_TYPE_U8; i++)
		data[i] = (unsigned char)(fill == FILL_DENORMAL ? 0
					  : fill == FILL_WIDE	? 100 + below(60)
								: 115 + below(12));
}

/* A random matrix of a file that format f is made of. */
static struct mdl_weight weight(enum cpu_format f, uint32_t rows, uint32_t cols, enum fill fill)
{
	static const enum mdl_type floats_of[] = {MDL_TYPE_BF16, MDL_TYPE_BF16, MDL_TYPE_F8_E4M3,
						  MDL_TYPE_F32, MDL_TYPE_F16};
	struct mdl_weight w = {.rows = rows, .cols = cols, .name = "random"};
	unsigned char *data;
	size_t n = (size_t)rows * cols;

	w.type = is_int(f) ? blocks[f].type : floats_of[f - CPU_INT_COUNT];
	w.row_bytes = cols / mdl_type_block_values(w.type) * mdl_type_block_bytes(w.type);
	w.data = data = buf(rows * w.row_bytes, below(2)); /* a file aligns nothing */
	if (is_int(f))
		fill_blocks(&blocks[f], data, n / mdl_type_block_values(w.type), fill);
	else
		fill_floats(w.type, data, n, fill);
	return w;
}

/* Lays m out, its panels exact and dirty. */
static void lay_out(struct cpu_mat *m, enum cpu_format f, uint32_t rows, uint32_t cols,
		    uint32_t block_cols)
{
	cpu_mat_layout(m, f, rows, cols, block_cols);
	assert_int_equal(m->panel_bytes % 64, 0);
	assert_int_equal(m->panels, (rows + 15) / 16);
	m->data = aligned_alloc(64, m->panels * m->panel_bytes);
	assert_non_null(m->data);
	assert_true(n_bufs < MAX_BUFS);
	bufs[n_bufs++] = m->data;
	memset(m->data, 0xff, m->panels * m->panel_bytes);
}

/* The values of rows [first, first + rows) with all codes 0: what a minimum adds, alone. */
static float *values_of_0(const struct block *b, const struct mdl_weight *w, uint32_t first,
			  uint32_t rows)
{
	size_t bytes = mdl_type_block_bytes(w->type), n = w->row_bytes / bytes;
	unsigned char *data = buf(rows * w->row_bytes, 0);
	float *to = floats((size_t)rows * w->cols);
	struct mdl_weight copy = *w;

	memcpy(data, (const unsigned char *)w->data + first * w->row_bytes, rows * w->row_bytes);
	for (size_t i = 0; i < rows * n; i++)
		memset(data + i * bytes + b->first, 0, b->last - b->first);
	copy.data = data;
	copy.rows = rows;
	mdl_weight_rows(&copy, 0, rows, to);
	return to;
}

/* Rows [first, first + rows) of a random matrix. */
static struct sample sample(enum cpu_format f, uint32_t rows, uint32_t cols, enum fill fill)
{
	static const uint32_t block_sizes[] = {128, 128, 128, 2, 6, 64};
	uint32_t first = below(3) ? 0 : below(200);
	uint32_t block_cols = block_sizes[below(6)], block_rows = below(2) ? 128 : 1 + below(20);
	struct sample s = {.w = weight(f, first + rows + below(3), cols, fill),
			   .alike = fill == FILL_EXTREME};

	if (f == CPU_F8)
		add_scales(&s.w, block_rows, block_cols, fill);
	lay_out(&s.m, f, rows, cols, block_cols);
	for (uint32_t p = 0; p < s.m.panels; p++)
		cpu_pack_panel(&s.m, p, &s.w, first);
	s.value = floats((size_t)rows * cols);
	mdl_weight_rows(&s.w, first, rows, s.value);
	if (is_int(f) && blocks[f].m >= 0)
		s.least = values_of_0(&blocks[f], &s.w, first, rows);
	return s;
}

/* FP8 by columns: row i, column j is row first + j, column i of the file. */
static struct sample transposed(uint32_t rows, uint32_t cols)
{
	static const uint32_t block_sizes[] = {128, 2, 16};
	uint32_t block = block_sizes[below(3)], first = below(3) * block;
	struct sample s = {.w = weight(CPU_F8, first + cols, rows + below(20), FILL_NORMAL)};
	float *all = floats((size_t)s.w.rows * s.w.cols);

	add_scales(&s.w, block, 1 + below(150), FILL_NORMAL);
	lay_out(&s.m, CPU_F8, rows, cols, block);
	for (uint32_t p = 0; p < s.m.panels; p++)
		cpu_pack_f8_transposed(&s.m, p, &s.w, first);
	mdl_weight_rows(&s.w, 0, s.w.rows, all);
	s.value = floats((size_t)rows * cols);
	for (uint32_t i = 0; i < rows; i++) {
		for (uint32_t j = 0; j < cols; j++)
			s.value[(size_t)i * cols + j] = all[(size_t)(first + j) * s.w.cols + i];
	}
	return s;
}

/* Through float32, to BF16, BF16_EXACT or F32. */
static struct sample from_floats(enum cpu_format f, uint32_t rows, uint32_t cols)
{
	struct sample s = {0};
	size_t ld = cols + below(3);

	lay_out(&s.m, f, rows, cols, 0);
	s.value = floats((size_t)rows * cols);
	for (uint32_t p = 0; p < s.m.panels; p++) {
		uint32_t n = rows - 16 * p < 16 ? rows - 16 * p : 16;
		float *src = floats((n - 1) * ld + cols), *value = s.value + (size_t)p * 16 * cols;

		normals(src, (n - 1) * ld + cols);
		cpu_pack_floats(&s.m, p, src, ld, n);
		for (uint32_t i = 0; i < n; i++) {
			for (uint32_t c = 0; c < cols; c++)
				value[i * cols + c] =
					f == CPU_F32 ? src[i * ld + c]
						     : mdl_bf16_f32(mdl_f32_bf16(src[i * ld + c]));
		}
	}
	return s;
}

/* ---- activations -------------------------------------------------------------------------------- */

/* x [cols] in the form that format f reads; exact in size, at an odd address. The engine hands float32
 * rows of the two formats that need no pairs as they lie, with nothing after the last. */
static const void *bring(const struct cpu_isa *with, enum cpu_format f, const float *x, size_t cols)
{
	size_t even = (cols + 1) / 2 * 2;
	void *to;

	switch (cpu_act_of(f)) {
	case CPU_ACT_INT8:
	case CPU_ACT_INT8_HALVES:
		to = buf(cpu_act_bytes(cpu_act_of(f), cols), 4 * below(16));
		(cpu_act_of(f) == CPU_ACT_INT8 ? with->quantise : with->quantise_halves)(x, cols,
											 to);
		return to;
	case CPU_ACT_BF16:
		to = buf(even * sizeof(uint16_t), 2 * below(8));
		with->to_bf16(x, cols, to);
		return to;
	default:
		to = buf((f == CPU_F32 || f == CPU_F16 ? cols : even) * sizeof(float),
			 4 * below(16));
		memcpy(to, x, cols * sizeof(float));
		if (cols % 2 && f != CPU_F32 && f != CPU_F16)
			((float *)to)[cols] = 1e30f; /* meets a weight of 0 */
		return to;
	}
}

/* What `bring` left, as numbers. */
static void numbers(enum cpu_format f, const void *from, size_t cols, double *to)
{
	for (size_t c = 0; c < cols; c++) {
		const struct cpu_group *g = from;

		switch (cpu_act_of(f)) {
		case CPU_ACT_INT8: to[c] = (double)g[c / 32].d[0] * g[c / 32].q[c % 32]; break;
		case CPU_ACT_INT8_HALVES:
			to[c] = (double)g[c / 32].d[c % 32 / 16] * g[c / 32].q[c % 32];
			break;
		case CPU_ACT_BF16: to[c] = mdl_bf16_f32(((const uint16_t *)from)[c]); break;
		default: to[c] = ((const float *)from)[c];
		}
	}
}

/* n rows of x [n, cols]. */
static struct rows bring_all(enum cpu_format f, const float *x, size_t n, size_t cols)
{
	struct rows r = {.n = n, .value = buf(n * cols * sizeof(double), 0)};

	assert_true(n <= MAX_ROWS);
	for (size_t i = 0; i < n; i++) {
		r.at[i] = bring(isa, f, x + i * cols, cols);
		numbers(f, r.at[i], cols, r.value + i * cols);
	}
	return r;
}

/* ---- products ----------------------------------------------------------------------------------- */

/* All panels times rows at [n]: y [n, m->rows]. One or several panels at a time write to a buffer that
 * ends with their last value, whose gaps must stay as they are. */
static void product(const struct cpu_isa *with, const struct cpu_mat *m, const void *const *at,
		    size_t n, float *y)
{
	for (uint32_t p = 0, panels; p < m->panels; p += panels) {
		size_t lanes, ld, size;
		const void **copy = malloc(n * sizeof(*copy));
		float *out;

		panels = 1 + below(6);
		panels = panels < m->panels - p ? panels : m->panels - p;
		lanes = m->rows - 16 * p < 16 * panels ? m->rows - 16 * p : 16 * panels;
		ld = lanes + below(5);
		size = (n - 1) * ld + lanes;
		out = malloc(size * sizeof(*out));
		assert_true(out && copy);
		memset(out, 0xa5, size * sizeof(*out));
		memcpy(copy, at, n * sizeof(*copy));
		with->product[m->format](m, p, panels, copy, n, out, ld);
		for (size_t i = 0; i < size; i++) {
			if (i % ld < lanes)
				y[i / ld * m->rows + 16 * p + i % ld] = out[i];
			else
				assert_int_equal(bits_of(out[i]), 0xa5a5a5a5);
		}
		free(out);
		free(copy);
	}
}

static double worst, worst_plain; /* of a test: the largest part of what is allowed that was used */

static void used_up(double *most, double off, double allowed)
{
	double part = off == 0 ? 0 : off / allowed;

	if (part > *most)
		*most = part;
}

/* One row's values y against float64, and against the reference's y. Largest errors: each term is
 * rounded a few times on its way into the sum, the sum once a term; roundings of independent signs
 * add up as their number's root. */
static void check_row(const struct sample *s, const double *x, const float *y,
		      const float *by_plain)
{
	const struct cpu_mat *m = &s->m;
	double terms = is_int(m->format) ? 2.0 * m->groups : m->cols;
	double smallest = m->format == CPU_BF16 && strcmp(isa->name, "avx512bf16") == 0
				  ? FLT_MIN /* vdpbf16ps takes denormals for 0 */
				  : TINY;
	double off_plain = 0, of_plain = 0, norm = 0, slack = 0;

	for (uint32_t i = 0; i < m->rows; i++) {
		const float *w = s->value + (size_t)i * m->cols;
		const float *least = s->least ? s->least + (size_t)i * m->cols : NULL;
		double want = 0, size = 0, xs = 0, ws = 0, allowed, off;

		for (uint32_t c = 0; c < m->cols; c++) {
			double apart =
				least ? fabs(w[c] - (double)least[c]) + fabs((double)least[c])
				      : fabs((double)w[c]);

			want += (double)w[c] * x[c];
			size += apart * fabs(x[c]);
			norm += apart * x[c] * apart * x[c];
			xs += fabs(x[c]);
			ws += fabs((double)w[c]);
		}
		slack = smallest * (xs + ws + 4 * m->cols);
		allowed = HALF_ULP * size * (4 + (s->alike ? terms : sqrt(terms))) + slack;
		off = fabs(y[i] - want);
		if (!(off <= allowed))
			fail_msg("%s %s [%u, %u] row %u: %.9g, wanted %.9g +- %.3g", isa->name,
				 cpu_format_name(m->format), m->rows, m->cols, i, y[i], want,
				 allowed);
		used_up(&worst, off, allowed);
		off_plain += pow((double)y[i] - by_plain[i], 2);
		of_plain += pow(by_plain[i], 2);
	}
	/* A sum that happens to cancel out is no measure; what its terms make on the average is. */
	norm = sqrt(of_plain > norm ? of_plain : norm);
	if (!(sqrt(off_plain) <= OF_PLAIN * norm + slack * m->rows))
		fail_msg("%s %s [%u, %u]: %.3g from plain, whose norm is %.3g", isa->name,
			 cpu_format_name(m->format), m->rows, m->cols, sqrt(off_plain), norm);
	used_up(&worst_plain, sqrt(off_plain), OF_PLAIN * norm + slack * m->rows);
}

static void check(const struct sample *s, const float *x, size_t n)
{
	const struct cpu_mat *m = &s->m;
	struct rows r = bring_all(m->format, x, n, m->cols);
	float *y = floats(n * m->rows), *by_plain = floats(n * m->rows);

	product(isa, m, r.at, n, y);
	product(plain, m, r.at, n, by_plain);
	for (size_t i = 0; i < n; i++)
		check_row(s, r.value + i * m->cols, y + i * m->rows, by_plain + i * m->rows);
}

static void report(void)
{
	print_message("%s: at most %.0f%% of the allowed error, %.2g of a row's norm from plain\n",
		      isa->name, 100 * worst, OF_PLAIN * worst_plain);
	worst = worst_plain = 0;
}

static const uint32_t row_counts[] = {1, 16, 33, 64, 131};

/* Columns that format f takes: the i-th of a list, 0 at its end. */
static uint32_t columns(enum cpu_format f, size_t i)
{
	static const uint32_t groups[] = {1, 2, 3, 5, 7, 8, 9, 16, 33, 64};
	static const uint32_t any[] = {1,  2,  3,   4,	 5,   15,  16,	17,  31,  33,
				       64, 99, 126, 127, 128, 129, 130, 255, 301, 1000};

	if (!is_int(f))
		return i < sizeof(any) / sizeof(any[0]) ? any[i] : 0;
	if (least_cols(f) > CPU_GROUP)
		return i < 4 ? 256u << i : i == 4 ? 768 : 0;
	return i < sizeof(groups) / sizeof(groups[0]) ? CPU_GROUP * groups[i] : 0;
}

static void all_sizes(void **unused)
{
	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		for (size_t i = 0; columns((enum cpu_format)f, i) > 0; i++) {
			for (size_t k = 0; k < 5; k++) {
				uint32_t cols = columns((enum cpu_format)f, i), n = 1 + below(3);
				struct sample s = sample((enum cpu_format)f, row_counts[k], cols,
							 FILL_NORMAL);
				float *x = floats((size_t)n * cols);

				normals(x, (size_t)n * cols);
				check(&s, x, n);
				release(0);
			}
		}
	}
	report();
}

/* Every way of packing that isn't a file's rows. */
static void packed_otherwise(void **unused)
{
	static const enum cpu_format wide[] = {CPU_BF16, CPU_BF16_EXACT, CPU_F32};

	(void)unused;
	for (size_t i = 0; columns(CPU_F8, i) > 0; i++) {
		for (size_t k = 0; k < 5; k++) {
			uint32_t cols = columns(CPU_F8, i);
			float *x = floats(2 * cols);
			struct sample s = transposed(row_counts[k], cols);

			normals(x, 2 * cols);
			check(&s, x, 2);
			for (size_t t = 0; t < 3; t++) {
				s = from_floats(wide[t], row_counts[k], cols);
				check(&s, x, 2);
			}
			release(0);
		}
	}
	report();
}

/* Weights of 0, below the normal numbers, of all sizes, and all at their largest. */
static void odd_weights(void **unused)
{
	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		uint32_t cols = is_int((enum cpu_format)f) ? 512 : 131;
		float x[3 * 512];

		for (int fill = FILL_ZERO; fill < FILL_EXTREME; fill++) {
			for (int round = 0; round < 4; round++) {
				struct sample s =
					sample((enum cpu_format)f, 70, cols, (enum fill)fill);

				normals(x, 3 * cols);
				check(&s, x, 3);
				release(0);
			}
		}
	}
	report();
}

/* All codes and all activations as far out as they go, of one sign, of both, and each other's: sums of
 * 16 bits would saturate or wrap. */
static void largest_codes(void **unused)
{
	float x[5 * 1024];

	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		uint32_t cols = is_int((enum cpu_format)f) ? 1024 : 300;

		for (uint32_t c = 0; c < cols; c++) {
			x[c] = 127;
			x[cols + c] = -127;
			x[2 * cols + c] = c % 2 ? 127 : -127;
			x[3 * cols + c] = c / 4 % 2 ? 127 : -127;
			x[4 * cols + c] = below(2) ? 127 : -127;
		}
		for (pair_of_ends = 0; pair_of_ends < N_ENDS * N_ENDS; pair_of_ends++) {
			struct sample s = sample((enum cpu_format)f, 16, cols, FILL_EXTREME);

			check(&s, x, 5);
			release(0);
		}
	}
	report();
}

/* The same with numbers that float32 holds exactly: nothing may be off at all. */
static void largest_exactly(void **unused)
{
	static const int codes[] = {-128, 127};
	unsigned char data[16 * 34 * 16];
	float x[512], y[16];

	(void)unused;
	for (int c = 0; c < 4; c++) {
		struct mdl_weight w = {.type = MDL_TYPE_Q8_0,
				       .rows = 16,
				       .cols = 512,
				       .data = data,
				       .row_bytes = 16 * 34};
		struct cpu_mat m;
		const void *at;

		for (size_t b = 0; b < 16 * 16; b++) {
			put_half(data + 34 * b, 0x3c00);
			memset(data + 34 * b + 2, codes[c % 2], 32);
		}
		for (int i = 0; i < 512; i++)
			x[i] = c < 2 ? 127 : -127;
		lay_out(&m, CPU_Q8_0, 16, 512, 0);
		cpu_pack_panel(&m, 0, &w, 0);
		at = bring(isa, CPU_Q8_0, x, 512);
		product(isa, &m, &at, 1, y);
		for (int i = 0; i < 16; i++)
			assert_true(y[i] == (float)(512 * codes[c % 2] * (c < 2 ? 127 : -127)));
		release(0);
	}
}

/* ---- a row is its own ---------------------------------------------------------------------------- */

/* Rows of all kinds; one is infinite, one not a number: neighbours that must not matter. */
static void rows_alone(void **unused)
{
	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		uint32_t cols = is_int((enum cpu_format)f)
					? 2 * least_cols((enum cpu_format)f) + 256
					: 259,
			 rows = 83;
		struct sample s = sample((enum cpu_format)f, rows, cols, FILL_NORMAL);
		float *x = floats((size_t)MAX_ROWS * cols), *alone = floats(MAX_ROWS * rows);
		float *y = floats(MAX_ROWS * rows);
		struct rows r;

		normals(x, (size_t)MAX_ROWS * cols);
		for (uint32_t c = 0; c < cols; c++) {
			x[c] = NAN;
			x[cols + c] = 0;
			x[2 * cols + c] *= 1e30f;
			x[3 * cols + c] = INFINITY;
		}
		r = bring_all((enum cpu_format)f, x, MAX_ROWS, cols);
		for (size_t i = 0; i < MAX_ROWS; i++)
			product(isa, &s.m, &r.at[i], 1, alone + i * rows);
		for (size_t n = 1; n <= MAX_ROWS; n++) {
			const void *at[MAX_ROWS];
			size_t which[MAX_ROWS];

			for (size_t i = 0; i < n; i++) {
				which[i] = n == MAX_ROWS ? i : below(MAX_ROWS);
				at[i] = r.at[which[i]];
			}
			product(isa, &s.m, at, n, y);
			for (size_t i = 0; i < n; i++) {
				const float *got = y + i * rows, *want = alone + which[i] * rows;

				if (which[i] == 0 || which[i] == 3) {
					assert_false(isa->finite(got, 1));
					continue;
				}
				if (memcmp(got, want, rows * sizeof(*got)) != 0)
					fail_msg("%s %s: row %zu of %zu isn't what it is alone",
						 isa->name, cpu_format_name((enum cpu_format)f), i,
						 n);
			}
		}
		release(0);
	}
}

/* ---- what isn't a number ------------------------------------------------------------------------- */

/* One lost number in a row of activations: every value of its product is lost. */
static void lost_activations(void **unused)
{
	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		uint32_t cols = is_int((enum cpu_format)f) ? 256 : 67;
		struct sample s = sample((enum cpu_format)f, 17, cols, FILL_NORMAL);
		float x[256], y[17];
		size_t mark = n_bufs;

		for (size_t k = 0; k < N_LOST; k++) {
			for (uint32_t c = 0; c < cols; c += 1 + below(5)) {
				const void *at;

				normals(x, cols);
				x[c] = of_bits(lost[k]);
				at = bring(isa, (enum cpu_format)f, x, cols);
				product(isa, &s.m, &at, 1, y);
				for (size_t i = 0; i < 17; i++) {
					if (isfinite(y[i]))
						fail_msg("%s %s: %08x in column %u gives %g",
							 isa->name,
							 cpu_format_name((enum cpu_format)f),
							 lost[k], c, y[i]);
				}
			}
			release(mark);
		}
		release(0);
	}
}

/* Spoils one number of row `row` of w. */
static void spoil(const struct block *b, const struct mdl_weight *w, uint32_t row)
{
	static const uint16_t halves[] = {0x7e00, 0xfe00, 0x7fff, 0xffff, 0x7c01, 0x7c00, 0xfc00};
	unsigned char *at = (unsigned char *)(uintptr_t)w->data + row * w->row_bytes;
	size_t i = below((uint32_t)(w->row_bytes / mdl_type_block_bytes(w->type)));
	uint32_t u = lost[below(N_LOST)];

	at += i * mdl_type_block_bytes(w->type);
	switch (w->type) {
	case MDL_TYPE_F32: memcpy(at, &u, 4); break;
	case MDL_TYPE_BF16: put_half(at, below(2) ? 0x7fff : u >> 16 | 0x7f80); break;
	case MDL_TYPE_F16: put_half(at, halves[below(7)]); break;
	case MDL_TYPE_F8_E4M3: *at = below(2) ? 0x7f : 0xff; break;
	default: put_half(at + (b->m >= 0 && below(2) ? b->m : b->d), halves[below(7)]);
	}
}

/* One lost number in a row of weights: that row's values are lost, the others what they were. */
static void lost_weights(void **unused)
{
	(void)unused;
	for (int f = 0; f < CPU_FORMATS; f++) {
		for (int round = 0; round < 40; round++) {
			uint32_t cols = is_int((enum cpu_format)f) ? 512 : 67, row = below(17);
			struct mdl_weight w = weight((enum cpu_format)f, 17, cols, FILL_NORMAL);
			float x[512], good[17], bad[17];
			const void *at;
			struct cpu_mat m;

			if (f == CPU_F8)
				add_scales(&w, 128, 32, FILL_NORMAL);
			lay_out(&m, (enum cpu_format)f, 17, cols, 32);
			normals(x, cols);
			at = bring(isa, (enum cpu_format)f, x, cols);
			for (uint32_t p = 0; p < 2; p++)
				cpu_pack_panel(&m, p, &w, 0);
			product(isa, &m, &at, 1, good);
			spoil(is_int((enum cpu_format)f) ? &blocks[f] : NULL, &w, row);
			for (uint32_t p = 0; p < 2; p++)
				cpu_pack_panel(&m, p, &w, 0);
			product(isa, &m, &at, 1, bad);
			for (uint32_t i = 0; i < 17; i++) {
				if (i == row ? isfinite(bad[i])
					     : bits_of(bad[i]) != bits_of(good[i]))
					fail_msg("%s %s: a lost weight in row %u; row %u is %g, "
						 "was %g",
						 isa->name, cpu_format_name((enum cpu_format)f),
						 row, i, bad[i], good[i]);
			}
			release(0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(all_sizes, teardown),
		cmocka_unit_test_teardown(packed_otherwise, teardown),
		cmocka_unit_test_teardown(odd_weights, teardown),
		cmocka_unit_test_teardown(largest_codes, teardown),
		cmocka_unit_test_teardown(largest_exactly, teardown),
		cmocka_unit_test_teardown(rows_alone, teardown),
		cmocka_unit_test_teardown(lost_activations, teardown),
		cmocka_unit_test_teardown(lost_weights, teardown),
	};

	return run_tables("kernels", tests, sizeof(tests) / sizeof(tests[0]));
}
