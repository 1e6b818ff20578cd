/*
 * Weights to float32, once, at start. Float32 matrices are used where they lie in the mapped file;
 * all others go into one allocation, converted by all threads.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/blas/blas.h"

#define TASK_VALUES (1u << 18) /* values that one task converts */

/* A matrix to convert, and where it goes. */
struct job {
	struct mdl_weight from;
	struct mat *to;
	float *dst;
};

/* Rows of one job. */
struct task {
	size_t job, row, n;
};

struct loader {
	struct blas *b;
	const struct mdl *m;
	struct lt_err *err;
	int rc; /* the first fault; nothing is done after it */
	struct job *jobs;
	size_t n_jobs, cap_jobs;
	struct task *tasks;
	size_t n_tasks, cap_tasks;
};

static bool usable_in_place(const struct mdl_weight *w)
{
	return w->type == MDL_TYPE_F32 && !w->scale && (uintptr_t)w->data % sizeof(float) == 0 &&
	       w->row_bytes == w->cols * sizeof(float);
}

/* Plans one matrix into *to. A matrix that is not there is a fault only if `must`. */
static void want(struct loader *l, enum mdl_role role, uint32_t layer, uint32_t expert, bool must,
		 struct mat *to)
{
	struct mdl_weight w;

	if (l->rc != 0)
		return;
	if (!mdl_weight_get(l->m, role, layer, expert, &w)) {
		if (must)
			l->rc = lt_fail(l->err, LT_EINVAL,
					"%s: backend blas needs weights, and matrix %d of layer %u "
					"is not there",
					mdl_path(l->m), (int)role, layer);
		return;
	}
	to->rows = w.rows;
	to->cols = w.cols;
	if (usable_in_place(&w)) {
		to->w = w.data;
		return;
	}
	if (lt_reserve(&l->jobs, &l->cap_jobs, l->n_jobs + 1, sizeof(*l->jobs)) != 0) {
		l->rc = lt_fail(l->err, LT_ENOMEM, "no memory for the list of weights");
		return;
	}
	l->jobs[l->n_jobs++] = (struct job){.from = w, .to = to};
	if (!lt_add(l->b->weight_values, (size_t)w.rows * w.cols, &l->b->weight_values))
		l->rc = lt_fail(l->err, LT_ENOMEM, "weights larger than memory can be");
}

static void want_attention(struct loader *l, uint32_t i)
{
	struct blas_layer *y = &l->b->layers[i];
	bool compressed = l->b->c->q_rank > 0;

	want(l, MDL_W_ATTN_NORM, i, 0, true, &y->attn_norm);
	if (compressed) {
		want(l, MDL_W_Q_A, i, 0, true, &y->q_a);
		want(l, MDL_W_Q_A_NORM, i, 0, true, &y->q_a_norm);
		want(l, MDL_W_Q_B, i, 0, true, &y->q_b);
	} else {
		want(l, MDL_W_Q, i, 0, true, &y->q);
	}
	want(l, MDL_W_KV_A, i, 0, true, &y->kv_a);
	want(l, MDL_W_KV_A_NORM, i, 0, true, &y->kv_a_norm);
	/* A file may have both layouts: the split one is what its maker meant to be used. */
	want(l, MDL_W_K_B, i, 0, false, &y->k_b);
	if (y->k_b.rows > 0)
		want(l, MDL_W_V_B, i, 0, true, &y->v_b);
	else
		want(l, MDL_W_KV_B, i, 0, true, &y->kv_b);
	want(l, MDL_W_O, i, 0, true, &y->o);
	want(l, MDL_W_FFN_NORM, i, 0, true, &y->ffn_norm);
}

static void want_ffn(struct loader *l, uint32_t i)
{
	const struct mdl_config *c = l->b->c;
	struct blas_layer *y = &l->b->layers[i];

	if (!mdl_layer_is_moe(c, i)) {
		want(l, MDL_W_FFN_GATE, i, 0, true, &y->ffn.gate);
		want(l, MDL_W_FFN_UP, i, 0, true, &y->ffn.up);
		want(l, MDL_W_FFN_DOWN, i, 0, true, &y->ffn.down);
		return;
	}
	want(l, MDL_W_ROUTER, i, 0, true, &y->router);
	if (c->router == MDL_ROUTER_SIGMOID_BIASED)
		want(l, MDL_W_ROUTER_BIAS, i, 0, true, &y->router_bias);
	if (c->shared_experts > 0) {
		want(l, MDL_W_SHARED_GATE, i, 0, true, &y->ffn.gate);
		want(l, MDL_W_SHARED_UP, i, 0, true, &y->ffn.up);
		want(l, MDL_W_SHARED_DOWN, i, 0, true, &y->ffn.down);
	}
	y->experts = lt_alloc(c->experts, sizeof(*y->experts));
	if (!y->experts) {
		l->rc = lt_fail(l->err, LT_ENOMEM, "no memory for %u experts", c->experts);
		return;
	}
	for (uint32_t e = 0; e < c->experts; e++) {
		want(l, MDL_W_EXPERT_GATE, i, e, true, &y->experts[e].gate);
		want(l, MDL_W_EXPERT_UP, i, e, true, &y->experts[e].up);
		want(l, MDL_W_EXPERT_DOWN, i, e, true, &y->experts[e].down);
	}
}

/* Gives each job its place and cuts it into tasks. */
static int place(struct loader *l)
{
	size_t at = 0;

	for (size_t j = 0; j < l->n_jobs; j++) {
		struct job *job = &l->jobs[j];
		size_t rows = job->from.rows, cols = job->from.cols;
		size_t step = TASK_VALUES / cols + 1;

		job->dst = l->b->weights + at;
		job->to->w = job->dst;
		at += rows * cols;
		for (size_t row = 0; row < rows; row += step) {
			if (lt_reserve(&l->tasks, &l->cap_tasks, l->n_tasks + 1,
				       sizeof(*l->tasks)) != 0)
				return lt_fail(l->err, LT_ENOMEM,
					       "no memory for the list of weights");
			l->tasks[l->n_tasks++] =
				(struct task){j, row, rows - row < step ? rows - row : step};
		}
	}
	return 0;
}

static void convert_task(void *arg, size_t i, uint32_t worker)
{
	const struct loader *l = arg;
	const struct task *t = &l->tasks[i];
	const struct job *job = &l->jobs[t->job];

	(void)worker;
	mdl_weight_rows(&job->from, t->row, t->n, job->dst + t->row * job->from.cols);
}

/* Fails early and by name where calloc would succeed and the kernel kill the process later. */
static int allocate(struct loader *l)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	double need = (double)l->b->weight_values * sizeof(float);

	if (pages > 0 && page > 0 && need > (double)pages * (double)page)
		return lt_fail(l->err, LT_ENOMEM,
			       "%s: backend blas needs %.1f GB for weights in float32, the machine "
			       "has %.1f GB",
			       mdl_path(l->m), need / 1e9, (double)pages * (double)page / 1e9);
	l->b->weights = lt_alloc_aligned(64, l->b->weight_values, sizeof(float));
	if (!l->b->weights)
		return lt_fail(l->err, LT_ENOMEM, "%s: no memory for %.1f GB of weights in float32",
			       mdl_path(l->m), need / 1e9);
	return 0;
}

int blas_load(struct blas *b, const struct mdl *m, struct lt_err *err)
{
	struct loader l = {.b = b, .m = m, .err = err};

	b->layers = lt_alloc(b->c->layers, sizeof(*b->layers));
	if (!b->layers)
		return lt_fail(err, LT_ENOMEM, "no memory for %u layers", b->c->layers);
	if (!mdl_weight_get(m, MDL_W_EMBED, 0, 0, &b->embed))
		return lt_fail(err, LT_EINVAL, "%s: backend blas needs weights, and there are none",
			       mdl_path(m));
	want(&l, MDL_W_OUT_NORM, 0, 0, true, &b->out_norm);
	want(&l, MDL_W_HEAD, 0, 0, true, &b->head);
	for (uint32_t i = 0; i < b->c->layers && l.rc == 0; i++) {
		want_attention(&l, i);
		want_ffn(&l, i);
	}
	if (l.rc == 0)
		l.rc = allocate(&l);
	if (l.rc == 0)
		l.rc = place(&l);
	if (l.rc == 0)
		eng_workers_run(b->workers, l.n_tasks, convert_task, &l);
	free(l.tasks);
	free(l.jobs);
	return l.rc;
}

void blas_unload(struct blas *b)
{
	for (uint32_t i = 0; b->layers && i < b->c->layers; i++)
		free(b->layers[i].experts);
	free(b->layers);
	free(b->weights);
}
