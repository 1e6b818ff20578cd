/*
 * Products cut to one shape (blas.h says why). OpenBLAS itself runs on one thread; ours share out
 * panels of weight rows, never the sum over columns.
 */
#include <cblas.h>

#include "engine/blas/blas.h"

/* OpenBLAS has a kernel that packs nothing for products of up to a million multiplications (where
 * the processor has AVX-512): several times as fast for so few rows, so panels stay below. */
#define PANEL_WORK 1000000u
#define PANEL_MAX  32u
#define PANEL_NN   128u

/* Less work than this is not worth waking anybody. */
#define PARALLEL_WORK 500000u

void blas_product_init(void)
{
	openblas_set_num_threads(1);
}

static size_t panel_of(size_t cols)
{
	size_t panel = PANEL_WORK / TILE / cols / 8 * 8;

	return panel < 8 ? 8 : panel > PANEL_MAX ? PANEL_MAX : panel;
}

void blas_tile(const float *w, size_t rows, size_t cols, const float *x, size_t ldx, float *y,
	       size_t ldy)
{
	size_t panel = panel_of(cols);

	for (size_t r = 0; r < rows; r += panel) {
		size_t n = rows - r < panel ? rows - r : panel;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, TILE, (blasint)n,
			    (blasint)cols, 1.0f, x, (blasint)ldx, w + r * cols, (blasint)cols, 0.0f,
			    y + r, (blasint)ldy);
	}
}

void blas_tile_nn(const float *w, size_t ldw, size_t rows, size_t cols, const float *x, size_t ldx,
		  bool add, float *y, size_t ldy)
{
	for (size_t r = 0; r < rows; r += PANEL_NN) {
		size_t n = rows - r < PANEL_NN ? rows - r : PANEL_NN;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, TILE, (blasint)n,
			    (blasint)cols, 1.0f, x, (blasint)ldx, w + r, (blasint)ldw,
			    add ? 1.0f : 0.0f, y + r, (blasint)ldy);
	}
}

struct product {
	const struct mat *w;
	const float *x; // [n, w->cols]
	float *y;	// [n, w->rows]
	size_t n, share;
};

/* Weight rows [i share, (i + 1) share) for all tiles, so that a panel is read once. */
static void product_task(void *arg, size_t i, uint32_t worker)
{
	const struct product *p = arg;
	size_t cols = p->w->cols, rows = p->w->rows, panel = panel_of(cols);
	size_t end = (i + 1) * p->share;

	(void)worker;
	for (size_t r = i * p->share; r < end && r < rows; r += panel) {
		size_t n = rows - r < panel ? rows - r : panel;

		for (size_t t = 0; t < p->n; t += TILE)
			blas_tile(p->w->w + r * cols, n, cols, p->x + t * cols, cols,
				  p->y + t * rows + r, rows);
	}
}

void blas_rows(struct blas *b, const struct mat *w, const float *x, size_t n, float *y)
{
	size_t panel = panel_of(w->cols), panels = (w->rows + panel - 1) / panel;
	size_t work = (n + TILE - 1) / TILE * TILE * w->rows * w->cols;
	size_t tasks = work / PARALLEL_WORK + 1;
	struct product p = {w, x, y, n, 0};

	if (tasks > panels)
		tasks = panels;
	if (tasks > 8u * b->threads)
		tasks = 8u * b->threads;
	if (b->threads == 1)
		tasks = 1;
	p.share = (panels + tasks - 1) / tasks * panel;
	eng_workers_run(b->workers, (w->rows + p.share - 1) / p.share, product_task, &p);
}
