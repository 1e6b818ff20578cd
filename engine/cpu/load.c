/*
 * Packing weights, once, at start: first the layout of every matrix, then one reservation for all
 * panels, which the workers fill. A matrix's pages of the file are let go as soon as it is packed, so
 * that the process never holds the model twice. The heads' attention matrices are packed twice, as each
 * form of attention reads them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/cpu/cpu.h"

#define TASK_PANELS 16u
#define EXPECT	    64u /* tasks that the file is read ahead of, some 32 MB */

/* A matrix to pack. */
struct pack {
	struct mdl_weight from;
	struct cpu_mat *to;
	uint32_t first; /* row of the source that is row 0 (of a transposed one: column 0) */
	bool transpose, floats; /* floats: through float32, to BF16 or F32 */
};

struct task {
	size_t pack;
	uint32_t panel, n;
};

struct loader {
	struct cpu *b;
	const struct mdl *m;
	struct lt_err *err;
	int rc; /* the first fault; nothing is done after it */
	struct pack *packs;
	size_t n_packs, cap_packs;
	struct task *tasks;
	size_t n_tasks, cap_tasks;
	size_t n_values;
	atomic_bool failed;
};

static void fail(struct loader *l, int code, const char *what)
{
	if (l->rc == 0)
		l->rc = lt_fail(l->err, code, "%s: backend cpu: %s", mdl_path(l->m), what);
}

static bool get(struct loader *l, enum mdl_role role, uint32_t layer, uint32_t expert,
		struct mdl_weight *w)
{
	if (l->rc != 0)
		return false;
	if (mdl_weight_get(l->m, role, layer, expert, w))
		return true;
	fail(l, LT_EINVAL, "it needs weights, and one of them is not there");
	return false;
}

static void add_pack(struct loader *l, const struct pack *p)
{
	if (l->rc == 0 &&
	    lt_reserve(&l->packs, &l->cap_packs, l->n_packs + 1, sizeof(*l->packs)) != 0)
		fail(l, LT_ENOMEM, "no memory for the list of weights");
	if (l->rc == 0)
		l->packs[l->n_packs++] = *p;
}

/* Plans a matrix in the format of its type. */
static void want(struct loader *l, enum mdl_role role, uint32_t layer, uint32_t expert,
		 struct cpu_mat *to)
{
	struct pack p = {.to = to};
	struct mdl_weight *w = &p.from;

	if (!get(l, role, layer, expert, w))
		return;
	/* FP8 without block scales, or with an odd number of columns or blocks that cut a pair, is rare enough to be
	 * brought to float32. */
	p.floats = w->type == MDL_TYPE_F8_E4M3 &&
		   (!w->scale || w->block_cols % 2 != 0 || w->cols % 2 != 0);
	cpu_mat_layout(to, p.floats ? CPU_F32 : cpu_format_for(w->type), w->rows, w->cols,
		       w->block_cols);
	add_pack(l, &p);
}

/* The router is always float32: near ties must fall as they were trained to. */
static void want_router(struct loader *l, uint32_t layer, struct cpu_mat *to)
{
	struct pack p = {.to = to, .floats = true};

	if (!get(l, MDL_W_ROUTER, layer, 0, &p.from))
		return;
	cpu_mat_layout(to, CPU_F32, p.from.rows, p.from.cols, 0);
	add_pack(l, &p);
}

/* rows x cols of a head's matrix, from row `first`, column 0 of w (transposed: of its transpose). The
 * absorbed form keeps what the file says where it can: FP8 as it is, float32 and float16 as float32. */
static void want_head(struct loader *l, const struct mdl_weight *w, uint32_t first, uint32_t rows,
		      uint32_t cols, bool transpose, bool exact, struct cpu_mat *to)
{
	struct pack p = {
		.from = *w, .to = to, .first = first, .transpose = transpose, .floats = true};
	bool f8 = w->type == MDL_TYPE_F8_E4M3 && w->scale;
	uint32_t block = transpose ? w->block_rows : w->block_cols;

	if (!exact) {
		cpu_mat_layout(to, CPU_BF16, rows, cols, 0);
	} else if (f8 && block % 2 == 0 && (!transpose || first % block == 0)) {
		p.floats = false;
		cpu_mat_layout(to, CPU_F8, rows, cols, block);
	} else if (f8 || w->type == MDL_TYPE_F32 || w->type == MDL_TYPE_F16) {
		cpu_mat_layout(to, CPU_F32, rows, cols, 0);
	} else {
		cpu_mat_layout(to, CPU_BF16_EXACT, rows, cols, 0);
	}
	add_pack(l, &p);
}

static void want_heads(struct loader *l, uint32_t layer)
{
	const struct mdl_config *c = l->b->c;
	struct cpu_layer *y = &l->b->layers[layer];
	struct mdl_weight k, v;
	uint32_t dn = c->qk_nope, dv = c->v_head, rk = c->kv_rank;
	/* A file may have both layouts: the split one is what its maker meant to be used. */
	bool split = mdl_weight_get(l->m, MDL_W_K_B, layer, 0, &k);

	y->k_t = lt_alloc(c->heads, sizeof(*y->k_t));
	y->k = lt_alloc(c->heads, sizeof(*y->k));
	y->v = lt_alloc(c->heads, sizeof(*y->v));
	y->v_many = lt_alloc(c->heads, sizeof(*y->v_many));
	if (!y->k_t || !y->k || !y->v || !y->v_many) {
		fail(l, LT_ENOMEM, "no memory for heads");
		return;
	}
	if (!get(l, split ? MDL_W_V_B : MDL_W_KV_B, layer, 0, &v))
		return;
	if (!split)
		k = v;
	for (uint32_t h = 0; h < c->heads; h++) {
		/* k: [H rk, dn]; or both in one, [H (dn + dv), rk] */
		uint32_t at_k = h * (split ? rk : dn + dv);
		uint32_t at_v = split ? h * dv : at_k + dn;

		want_head(l, &k, at_k, rk, dn, !split, true, &y->k_t[h]);
		want_head(l, &k, at_k, dn, rk, split, false, &y->k[h]);
		want_head(l, &v, at_v, dv, rk, false, true, &y->v[h]);
		want_head(l, &v, at_v, dv, rk, false, false, &y->v_many[h]);
	}
}

static void want_attention(struct loader *l, uint32_t i)
{
	struct cpu_layer *y = &l->b->layers[i];

	if (l->b->c->q_rank > 0) {
		want(l, MDL_W_Q_A, i, 0, &y->q_a);
		want(l, MDL_W_Q_B, i, 0, &y->q_b);
	} else {
		want(l, MDL_W_Q, i, 0, &y->q);
	}
	want(l, MDL_W_KV_A, i, 0, &y->kv_a);
	want_heads(l, i);
	want(l, MDL_W_O, i, 0, &y->o);
}

static void want_ffn(struct loader *l, uint32_t i)
{
	const struct mdl_config *c = l->b->c;
	struct cpu_layer *y = &l->b->layers[i];

	if (!mdl_layer_is_moe(c, i)) {
		want(l, MDL_W_FFN_GATE, i, 0, &y->ffn.gate);
		want(l, MDL_W_FFN_UP, i, 0, &y->ffn.up);
		want(l, MDL_W_FFN_DOWN, i, 0, &y->ffn.down);
		return;
	}
	want_router(l, i, &y->router);
	if (c->shared_experts > 0) {
		want(l, MDL_W_SHARED_GATE, i, 0, &y->ffn.gate);
		want(l, MDL_W_SHARED_UP, i, 0, &y->ffn.up);
		want(l, MDL_W_SHARED_DOWN, i, 0, &y->ffn.down);
	}
	y->experts = lt_alloc(c->experts, sizeof(*y->experts));
	if (!y->experts)
		fail(l, LT_ENOMEM, "no memory for experts");
	for (uint32_t e = 0; e < c->experts && l->rc == 0; e++) {
		want(l, MDL_W_EXPERT_GATE, i, e, &y->experts[e].gate);
		want(l, MDL_W_EXPERT_UP, i, e, &y->experts[e].up);
		want(l, MDL_W_EXPERT_DOWN, i, e, &y->experts[e].down);
	}
}

/* ---- norms and biases ----------------------------------------------------------------------- */

static void vector(struct loader *l, enum mdl_role role, uint32_t layer, float **to)
{
	struct mdl_weight w;

	if (!get(l, role, layer, 0, &w))
		return;
	if (l->b->vectors) {
		*to = l->b->vectors + l->n_values;
		mdl_weight_rows(&w, 0, 1, *to);
	}
	l->n_values += w.cols;
}

static void vectors(struct loader *l)
{
	const struct mdl_config *c = l->b->c;

	l->n_values = 0;
	vector(l, MDL_W_OUT_NORM, 0, &l->b->out_norm);
	for (uint32_t i = 0; i < c->layers; i++) {
		struct cpu_layer *y = &l->b->layers[i];

		vector(l, MDL_W_ATTN_NORM, i, &y->attn_norm);
		if (c->q_rank > 0)
			vector(l, MDL_W_Q_A_NORM, i, &y->q_a_norm);
		vector(l, MDL_W_KV_A_NORM, i, &y->kv_a_norm);
		vector(l, MDL_W_FFN_NORM, i, &y->ffn_norm);
		if (mdl_layer_is_moe(c, i) && c->router == MDL_ROUTER_SIGMOID_BIASED)
			vector(l, MDL_W_ROUTER_BIAS, i, &y->router_bias);
	}
}

/* Counted first, then read. */
static void load_vectors(struct loader *l)
{
	vectors(l);
	if (l->rc != 0)
		return;
	l->b->vectors = lt_alloc(l->n_values, sizeof(float));
	if (l->b->vectors)
		vectors(l);
	else
		fail(l, LT_ENOMEM, "no memory for norms");
}

/* ---- packing -------------------------------------------------------------------------------- */

/* Rows of the panel through float32; false without memory. */
static bool pack_floats(const struct pack *p, uint32_t panel)
{
	struct cpu_mat *m = p->to;
	uint32_t row = panel * CPU_LANES;
	uint32_t n = m->rows - row < CPU_LANES ? m->rows - row : CPU_LANES;
	float *rows = lt_alloc((size_t)n * m->cols, sizeof(float));
	float *line = p->transpose ? lt_alloc(p->from.cols, sizeof(float)) : NULL;

	if (!rows || (p->transpose && !line)) {
		free(rows);
		return false;
	}
	if (!p->transpose)
		mdl_weight_rows(&p->from, p->first + row, n, rows);
	for (uint32_t c = 0; p->transpose && c < m->cols; c++) {
		mdl_weight_rows(&p->from, p->first + c, 1, line);
		for (uint32_t r = 0; r < n; r++)
			rows[(size_t)r * m->cols + c] = line[row + r];
	}
	cpu_pack_floats(m, panel, rows, m->cols, n);
	free(rows);
	free(line);
	return true;
}

/* Rows of the source that a task reads. */
static uint32_t rows_of(const struct pack *p, const struct task *t, uint32_t *first)
{
	uint32_t rows = t->n * CPU_LANES;

	if (p->transpose) {
		*first = p->first;
		return p->to->cols;
	}
	*first = p->first + t->panel * CPU_LANES;
	return p->from.rows - *first < rows ? p->from.rows - *first : rows;
}

static void pack_task(void *arg, size_t i, uint32_t worker)
{
	struct loader *l = arg;
	const struct task *t = &l->tasks[i];
	const struct pack *p = &l->packs[t->pack];
	uint32_t row, rows;

	(void)worker;
	if (i + EXPECT < l->n_tasks) {
		const struct task *later = &l->tasks[i + EXPECT];

		rows = rows_of(&l->packs[later->pack], later, &row);
		mdl_weight_expect(&l->packs[later->pack].from, row, rows);
	}
	for (uint32_t k = t->panel; k < t->panel + t->n; k++) {
		if (!p->floats && p->transpose)
			cpu_pack_f8_transposed(p->to, k, &p->from, p->first);
		else if (!p->floats)
			cpu_pack_panel(p->to, k, &p->from, p->first);
		else if (!pack_floats(p, k))
			atomic_store_explicit(&l->failed, true, memory_order_relaxed);
	}
	if (!p->transpose) {
		rows = rows_of(p, t, &row);
		mdl_weight_release(&p->from, row, rows);
	}
}

static int place(struct loader *l)
{
	size_t at = 0;
	void *p;
	int rc;

	for (size_t i = 0; i < l->n_packs; i++) {
		size_t bytes;

		if (!lt_mul(l->packs[i].to->panels, l->packs[i].to->panel_bytes, &bytes) ||
		    !lt_add(at, bytes, &at))
			return lt_fail(l->err, LT_ENOMEM, "weights larger than memory can be");
	}
	rc = eng_area_map(&l->b->place, at, "packed weights", &p, l->err);
	if (rc != 0)
		return lt_fail_in(l->err, rc, "%s", mdl_path(l->m));
	l->b->weights = p;
	l->b->weight_bytes = at;
	at = 0;
	for (size_t i = 0; i < l->n_packs; i++) {
		struct cpu_mat *m = l->packs[i].to;

		m->data = l->b->weights + at;
		at += m->panels * m->panel_bytes;
		for (uint32_t k = 0; k < m->panels; k += TASK_PANELS) {
			if (lt_reserve(&l->tasks, &l->cap_tasks, l->n_tasks + 1,
				       sizeof(*l->tasks)) != 0)
				return lt_fail(l->err, LT_ENOMEM,
					       "no memory for the list of weights");
			l->tasks[l->n_tasks++] = (struct task){
				i, k, m->panels - k < TASK_PANELS ? m->panels - k : TASK_PANELS};
		}
	}
	return 0;
}

int cpu_load(struct cpu *b, const struct mdl *m, struct lt_err *err)
{
	struct loader l = {.b = b, .m = m, .err = err};

	b->layers = lt_alloc(b->c->layers, sizeof(*b->layers));
	if (!b->layers)
		return lt_fail(err, LT_ENOMEM, "no memory for %u layers", b->c->layers);
	get(&l, MDL_W_EMBED, 0, 0, &b->embed);
	load_vectors(&l);
	for (uint32_t i = 0; i < b->c->layers && l.rc == 0; i++) {
		want_attention(&l, i);
		want_ffn(&l, i);
	}
	want(&l, MDL_W_HEAD, 0, 0, &b->head);
	if (l.rc == 0)
		l.rc = place(&l);
	if (l.rc == 0)
		eng_workers_run(b->workers, l.n_tasks, pack_task, &l);
	if (atomic_load(&l.failed))
		fail(&l, LT_ENOMEM, "no memory while packing");
	free(l.tasks);
	free(l.packs);
	return l.rc;
}

void cpu_unload(struct cpu *b)
{
	for (uint32_t i = 0; b->layers && i < b->c->layers; i++) {
		free(b->layers[i].experts);
		free(b->layers[i].k_t);
		free(b->layers[i].k);
		free(b->layers[i].v);
		free(b->layers[i].v_many);
	}
	free(b->layers);
	free(b->vectors);
	eng_area_unmap(&b->place, b->weights, b->weight_bytes);
}
