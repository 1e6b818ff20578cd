/*
 * Gop/s (two operations a weight and row) of the products with packed weights, one thread, for each
 * format and instruction set. Prints a table; not a test.
 *
 *   test/bench/kernels [ROWS [COLUMNS [FORMAT]]]
 *
 * ROWS x COLUMNS (256 x 2048) of weights meet 1, 4, 16 and 64 rows of activations. The instruction sets
 * take turns, and the best of several short rounds counts: a matrix that stays in the second-level
 * cache shows what the arithmetic costs; a large one, with one row, what reading does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "engine/cpu/isa.h"

#define MOST_ROWS 64u
#define ROUNDS	  7
#define SECONDS	  0.03

static const size_t batches[] = {1, 4, 16, MOST_ROWS};
#define BATCHES (sizeof(batches) / sizeof(batches[0]))
#define TABLES	8

static uint32_t state = 1;

static uint32_t next(void)
{
	state = state * 1664525u + 1013904223u;
	return state >> 8;
}

/* Any bytes are codes; scales have to be numbers, and not denormal ones, which are slow. */
static void fill(struct cpu_mat *m)
{
	uint16_t *half = (uint16_t *)(void *)m->data;
	float *f = (float *)(void *)m->data;
	size_t bytes = m->panels * m->panel_bytes;

	for (size_t i = 0; i < bytes / 2; i++)
		half[i] = (uint16_t)((next() & 0x83ff) | 0x2c00);
	for (size_t p = 0; m->format == CPU_F8 && p < m->panels; p++) {
		float *scales = (float *)(void *)(m->data + p * m->panel_bytes + m->scales);

		for (float *s = scales; s < scales + (m->panel_bytes - m->scales) / 4; s++)
			*s = 0.01f;
	}
	for (size_t i = 0; m->format == CPU_F32 && i < bytes / 4; i++)
		f[i] = (float)(next() & 0xff) - 128;
}

/* Seconds of this thread: what else runs on the machine doesn't count. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double gops(const struct cpu_isa *isa, const struct cpu_mat *m, const void *const *x,
		   size_t n, float *y)
{
	double start = now(), took;
	size_t times = 0;

	do {
		for (size_t r = 0; r < n; r += 16) {
			for (uint32_t p = 0; p < m->panels; p += 4)
				isa->product[m->format](m, p, m->panels - p < 4 ? m->panels - p : 4,
							x + r, n - r < 16 ? n - r : 16,
							y + r * m->rows + p * CPU_LANES, m->rows);
		}
		times++;
		took = now() - start;
	} while (took < SECONDS);
	return 2.0 * m->rows * m->cols * (double)n * (double)times / took / 1e9;
}

static void bring(const struct cpu_isa *isa, enum cpu_act act, const float *x, size_t cols,
		  void *to)
{
	switch (act) {
	case CPU_ACT_INT8: isa->quantise(x, cols, to); break;
	case CPU_ACT_INT8_HALVES: isa->quantise_halves(x, cols, to); break;
	case CPU_ACT_BF16: isa->to_bf16(x, cols, to); break;
	default: memcpy(to, x, cols * sizeof(float));
	}
}

int main(int argc, char **argv)
{
	uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 256;
	uint32_t cols = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2048;
	const struct cpu_isa *tables[TABLES];
	size_t n_tables = 0;

	if (rows < 1 || cols < 256 || cols % 256 != 0) {
		fprintf(stderr, "kernels: ROWS from 1, COLUMNS a multiple of 256\n");
		return 1;
	}
	for (const char *const *name = cpu_isa_names(); *name && n_tables < TABLES; name++) {
		if ((tables[n_tables] = cpu_isa_find(*name)))
			n_tables++;
	}
	printf("%u x %u, Gop/s with rows of activations:\n%-12s %-12s", rows, cols, "format",
	       "set");
	for (size_t i = 0; i < BATCHES; i++)
		printf(" %7zu", batches[i]);
	printf("\n");
	for (int f = 0; f < CPU_FORMATS; f++) {
		enum cpu_act act = cpu_act_of((enum cpu_format)f);
		size_t bytes = cpu_act_bytes(act, cols);
		double best[TABLES][BATCHES] = {{0}};
		const void *x[MOST_ROWS];
		struct cpu_mat m;
		unsigned char *acts;
		float *from, *y;

		if (argc > 3 && strcmp(argv[3], cpu_format_name((enum cpu_format)f)) != 0)
			continue;
		cpu_mat_layout(&m, (enum cpu_format)f, rows, cols, 128);
		m.data = lt_alloc_aligned(64, m.panels, m.panel_bytes);
		acts = lt_alloc_aligned(64, MOST_ROWS, bytes);
		from = lt_alloc(cols, sizeof(*from));
		y = lt_alloc((size_t)rows * MOST_ROWS, sizeof(*y));
		if (!m.data || !acts || !from || !y) {
			fprintf(stderr, "kernels: out of memory\n");
			return 1;
		}
		fill(&m);
		for (size_t r = 0; r < MOST_ROWS; r++) {
			for (uint32_t i = 0; i < cols; i++)
				from[i] = (float)(int32_t)(next() & 0xffff) / 32768.0f - 1;
			bring(tables[0], act, from, cols, acts + r * bytes);
			x[r] = acts + r * bytes;
		}
		for (int round = 0; round < ROUNDS; round++) {
			for (size_t t = 0; t < n_tables; t++) {
				for (size_t i = 0; i < BATCHES; i++) {
					double g = gops(tables[t], &m, x, batches[i], y);

					best[t][i] = g > best[t][i] ? g : best[t][i];
				}
			}
		}
		for (size_t t = 0; t < n_tables; t++) {
			printf("%-12s %-12s", t == 0 ? cpu_format_name((enum cpu_format)f) : "",
			       tables[t]->name);
			for (size_t i = 0; i < BATCHES; i++)
				printf(" %7.1f", best[t][i]);
			printf("\n");
		}
		fflush(stdout);
		free(m.data);
		free(acts);
		free(from);
		free(y);
	}
	return 0;
}
