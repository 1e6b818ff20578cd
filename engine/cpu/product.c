/*
 * Products of many rows with packed matrices, shared out over the threads. A task is a run of panels
 * of one matrix; within it four panels at a time meet sixteen rows, so that the panels stay in the
 * second-level cache and the rows are read from further away a quarter as often.
 */
#include <string.h>

#include "engine/cpu/cpu.h"

#define PANELS_AT_ONCE 4u
#define ROWS_AT_ONCE   16u
#define TASK_BYTES     (64u << 10) /* of weights, at least: what is worth handing out */
#define MAX_JOBS       4u

void cpu_bring_row(const struct cpu *b, enum cpu_act act, const float *x, size_t cols, void *to)
{
	switch (act) {
	case CPU_ACT_INT8: b->isa->quantise(x, cols, to); break;
	case CPU_ACT_INT8_HALVES: b->isa->quantise_halves(x, cols, to); break;
	case CPU_ACT_BF16: b->isa->to_bf16(x, cols, to); break;
	default: memcpy(to, x, cols * sizeof(float));
	}
}

struct bring {
	struct cpu *b;
	enum cpu_act act;
	const float *x; // [n, cols]
	size_t cols;
};

static void bring_task(void *arg, size_t row, uint32_t worker)
{
	const struct bring *w = arg;
	struct cpu_x *xs = &w->b->xs;

	(void)worker;
	cpu_bring_row(w->b, w->act, w->x + row * w->cols, w->cols,
		      xs->rows[w->act] + row * xs->row_bytes[w->act]);
}

const void *const *cpu_bring(struct cpu *b, enum cpu_act act, const float *x, size_t n, size_t cols)
{
	struct cpu_x *xs = &b->xs;
	struct bring w = {b, act, x, cols};

	LT_ASSERT(cols <= xs->max_cols);
	for (size_t r = 0; r < n; r++)
		xs->at[act][r] = act == CPU_ACT_F32
					 ? (const void *)(x + r * cols)
					 : (const void *)(xs->rows[act] + r * xs->row_bytes[act]);
	if (act == CPU_ACT_F32)
		return xs->at[act];
	if (n < 4) { /* not worth waking anybody */
		for (size_t r = 0; r < n; r++)
			bring_task(&w, r, 0);
	} else {
		eng_workers_run(b->workers, n, bring_task, &w);
	}
	return xs->at[act];
}

struct share {
	const struct cpu *b;
	const struct cpu_job *jobs;
	size_t n_jobs;
	uint32_t step[MAX_JOBS];    /* panels of a task */
	size_t first[MAX_JOBS + 1]; /* first task of a job */
};

static void product_task(void *arg, size_t i, uint32_t worker)
{
	const struct share *s = arg;
	const struct cpu_job *job;
	cpu_product_fn *product;
	size_t j = 0;
	uint32_t from, to;

	(void)worker;
	while (i >= s->first[j + 1])
		j++;
	job = &s->jobs[j];
	product = s->b->isa->product[job->m->format];
	from = (uint32_t)(i - s->first[j]) * s->step[j];
	to = from + s->step[j] < job->m->panels ? from + s->step[j] : job->m->panels;
	for (uint32_t p = from; p < to; p += PANELS_AT_ONCE) {
		uint32_t end = p + PANELS_AT_ONCE < to ? p + PANELS_AT_ONCE : to;

		for (size_t r = 0; r < job->n; r += ROWS_AT_ONCE) {
			size_t n = job->n - r < ROWS_AT_ONCE ? job->n - r : ROWS_AT_ONCE;

			product(job->m, p, end - p, job->x + r, n,
				job->y + r * job->ldy + (size_t)p * CPU_LANES, job->ldy);
		}
	}
}

void cpu_products(struct cpu *b, const struct cpu_job *jobs, size_t n_jobs)
{
	struct share s = {.b = b, .jobs = jobs, .n_jobs = n_jobs};

	LT_ASSERT(n_jobs <= MAX_JOBS);
	for (size_t j = 0; j < n_jobs; j++) {
		const struct cpu_mat *m = jobs[j].m;
		uint32_t tasks = b->threads == 1 ? 1 : 8 * b->threads;
		uint32_t least = (uint32_t)(TASK_BYTES / m->panel_bytes) + 1;
		uint32_t step = (m->panels + tasks - 1) / tasks;

		step = step < least ? least : step;
		if (step > PANELS_AT_ONCE)
			step = (step + PANELS_AT_ONCE - 1) / PANELS_AT_ONCE * PANELS_AT_ONCE;
		s.step[j] = step;
		s.first[j + 1] = s.first[j] + (jobs[j].n > 0 ? (m->panels + step - 1) / step : 0);
	}
	eng_workers_run(b->workers, s.first[n_jobs], product_task, &s);
}
