/*
 * Feed-forward: down(silu(gate x) * up x), dense or a mixture of experts. A dense layer, the shared
 * branch and each routed expert are all "an expert with some rows": one region of tasks does gate and
 * up, four panels (64 columns) at a time, and leaves the product already in the form that down reads;
 * a second does down; a third adds the results to the residual stream, for each row in rank order.
 */
#include <string.h>

#include "engine/cpu/cpu.h"
#include "engine/router.h"

#define COLS   CPU_FFN_COLS
#define PANELS (COLS / CPU_LANES)

struct ffn {
	struct cpu *b;
	const struct cpu_layer *l;
	uint32_t step; /* of PANELS panels of gate and up, or of panels of down, of a task */
	size_t tasks;  /* of an expert */
	size_t shared; /* first pair of the shared branch, which has all rows */
	bool routed;
};

/* Pointers to the rows that group g reads, in the form of m's format. */
static const void *const *rows_of(const struct ffn *f, size_t g, const struct cpu_mat *m)
{
	const struct cpu_group_rows *group = &f->b->groups[g];
	enum cpu_act act = cpu_act_of(m->format);

	return group->first >= f->shared ? f->b->xs.at[act] : f->b->pair_x[act] + group->first;
}

/* Columns [64 i, 64 i + 64) of silu(gate x) * up x for rows [r, r + n) of group g. */
static void gate_up(const struct ffn *f, size_t g, uint32_t i, size_t r, size_t n,
		    struct cpu_scratch *s)
{
	struct cpu *b = f->b;
	const struct cpu_group_rows *group = &b->groups[g];
	const struct cpu_ffn *w = group->ffn;
	enum cpu_act act = cpu_act_of(w->down.format);
	uint32_t width = w->gate.rows - i * COLS < COLS ? w->gate.rows - i * COLS : COLS;
	uint32_t panels = (width + CPU_LANES - 1) / CPU_LANES;

	b->isa->product[w->gate.format](&w->gate, i * PANELS, panels, rows_of(f, g, &w->gate) + r,
					n, s->gate, COLS);
	b->isa->product[w->up.format](&w->up, i * PANELS, panels, rows_of(f, g, &w->up) + r, n,
				      s->up, COLS);
	for (size_t k = 0; k < n; k++) {
		unsigned char *to = b->mid + (group->first + r + k) * b->mid_bytes;
		size_t item = act == CPU_ACT_F32    ? sizeof(float)
			      : act == CPU_ACT_BF16 ? sizeof(uint16_t)
						    : sizeof(struct cpu_group) / CPU_GROUP;

		b->isa->silu_mul(s->gate + k * COLS, s->up + k * COLS, width);
		cpu_bring_row(b, act, s->gate + k * COLS, width, to + (size_t)i * COLS * item);
	}
}

static void up_task(void *arg, size_t t, uint32_t worker)
{
	const struct ffn *f = arg;
	size_t g = t / f->tasks, rows = f->b->groups[g].n;
	uint32_t units = (f->b->groups[g].ffn->gate.panels + PANELS - 1) / PANELS;
	uint32_t from = (uint32_t)(t % f->tasks) * f->step;
	uint32_t to = from + f->step < units ? from + f->step : units;

	for (size_t r = 0; r < rows; r += CPU_FFN_ROWS) {
		size_t n = rows - r < CPU_FFN_ROWS ? rows - r : CPU_FFN_ROWS;

		for (uint32_t i = from; i < to; i++)
			gate_up(f, g, i, r, n, &f->b->scratch[worker]);
	}
}

static void down_task(void *arg, size_t t, uint32_t worker)
{
	const struct ffn *f = arg;
	struct cpu *b = f->b;
	const struct cpu_group_rows *group = &b->groups[t / f->tasks];
	const struct cpu_mat *m = &group->ffn->down;
	uint32_t from = (uint32_t)(t % f->tasks) * f->step;
	uint32_t to = from + f->step < m->panels ? from + f->step : m->panels;
	size_t d = b->c->hidden;

	(void)worker;
	for (size_t r = 0; r < group->n; r += 16) {
		size_t n = group->n - r < 16 ? group->n - r : 16, first = group->first + r;

		b->isa->product[m->format](m, from, to - from, b->mid_at + first, n,
					   b->pair_y + first * d + (size_t)from * CPU_LANES, d);
	}
}

/* Cuts the groups' work, `units` a group, into tasks of a multiple of units, so that few groups still
 * keep all threads busy. */
static void cut(struct ffn *f, uint32_t units, uint32_t multiple)
{
	size_t groups = f->b->n_groups, want = f->b->threads == 1 ? 1 : 16 * (size_t)f->b->threads;
	size_t each = groups > 0 ? (want + groups - 1) / groups : 1;

	f->step = (uint32_t)((units + each - 1) / each);
	f->step = f->step < 1 ? 1 : f->step; /* a step of no rows has no groups */
	f->step = (f->step + multiple - 1) / multiple * multiple;
	f->tasks = (units + f->step - 1) / f->step;
}

/* Task row: everything that its experts and the shared branch gave, to the residual stream. */
static void add_task(void *arg, size_t r, uint32_t worker)
{
	const struct ffn *f = arg;
	struct cpu *b = f->b;
	size_t d = b->c->hidden, k = b->c->experts_used;
	float *x = b->x + r * d;

	(void)worker;
	if (f->l->ffn.gate.rows > 0)
		b->isa->add_scaled(x, b->pair_y + (f->shared + r) * d, 1, d);
	for (size_t rank = 0; f->routed && rank < k; rank++)
		b->isa->add_scaled(x, b->pair_y + (size_t)b->slots[r * k + rank] * d,
				   b->shares[r * k + rank], d);
}

/* All matrices of a kind have one format in published files; a mixed one costs a second form. */
static void bring_for(struct ffn *f, const struct cpu_ffn *w, bool have[CPU_ACTS])
{
	const struct cpu_mat *mats[2] = {&w->gate, &w->up};

	for (int i = 0; i < 2; i++) {
		enum cpu_act act = cpu_act_of(mats[i]->format);

		if (mats[i]->rows == 0 || have[act])
			continue;
		cpu_bring(f->b, act, f->b->h, f->b->n_rows, f->b->c->hidden);
		have[act] = true;
	}
}

static void run(struct ffn *f)
{
	struct cpu *b = f->b;
	size_t pairs = f->shared + (f->l->ffn.gate.rows > 0 ? b->n_rows : 0);
	uint32_t most = 0;

	for (size_t p = 0; p < pairs; p++)
		b->mid_at[p] = b->mid + p * b->mid_bytes;
	for (size_t g = 0; g < b->n_groups; g++)
		most = b->groups[g].ffn->gate.panels > most ? b->groups[g].ffn->gate.panels : most;
	cut(f, (most + PANELS - 1) / PANELS, 2);
	eng_workers_run(b->workers, b->n_groups * f->tasks, up_task, f);
	cut(f, (b->c->hidden + CPU_LANES - 1) / CPU_LANES, 4);
	eng_workers_run(b->workers, b->n_groups * f->tasks, down_task, f);
	eng_workers_run(b->workers, b->n_rows, add_task, f);
}

void cpu_dense(struct cpu *b, const struct cpu_layer *l)
{
	struct ffn f = {.b = b, .l = l};
	bool have[CPU_ACTS] = {false};

	bring_for(&f, &l->ffn, have);
	b->groups[0] = (struct cpu_group_rows){&l->ffn, 0, (uint32_t)b->n_rows};
	b->n_groups = 1;
	run(&f);
}

/* ---- mixture of experts ---------------------------------------------------------------------- */

static void pick_task(void *arg, size_t r, uint32_t worker)
{
	const struct ffn *f = arg;
	struct cpu *b = f->b;
	const struct mdl_config *c = b->c;

	eng_router_pick(c, b->z + r * c->experts, f->l->router_bias, b->scratch[worker].route,
			b->ids + r * c->experts_used, b->shares + r * c->experts_used);
}

/* Sorts the pairs (row, rank) by expert, rows ascending within one; the largest groups go first, so
 * that no thread is left with one at the end; the shared branch comes before all. */
static void group_pairs(struct ffn *f)
{
	struct cpu *b = f->b;
	uint32_t k = b->c->experts_used, experts = b->c->experts;
	size_t pairs = b->n_rows * k;

	memset(b->starts, 0, (experts + 1) * sizeof(*b->starts));
	for (size_t p = 0; p < pairs; p++)
		b->starts[b->ids[p] + 1]++;
	b->n_groups = 0;
	if (f->l->ffn.gate.rows > 0)
		b->groups[b->n_groups++] =
			(struct cpu_group_rows){&f->l->ffn, (uint32_t)pairs, (uint32_t)b->n_rows};
	for (uint32_t e = 0; e < experts; e++) {
		struct cpu_group_rows g = {&f->l->experts[e], b->starts[e], b->starts[e + 1]};
		size_t at = b->n_groups, least = f->l->ffn.gate.rows > 0;

		b->starts[e + 1] += b->starts[e];
		if (g.n == 0)
			continue;
		for (; at > least && b->groups[at - 1].n < g.n; at--)
			b->groups[at] = b->groups[at - 1];
		b->groups[at] = g;
		b->n_groups++;
	}
	for (size_t p = 0; p < pairs; p++) {
		uint32_t slot = b->starts[b->ids[p]]++;

		b->slots[p] = slot;
		b->pair_rows[slot] = (uint32_t)(p / k);
	}
	f->shared = pairs;
}

static void report_experts(const struct cpu *b, uint32_t moe, int32_t *out)
{
	size_t k = b->c->experts_used, layers = mdl_moe_layers(b->c);

	for (size_t r = 0; r < b->n_rows; r++) {
		int32_t *to = out + (r * layers + moe) * k; // [k]

		for (size_t i = 0; i < k; i++) {
			int32_t id = b->ids[r * k + i];
			size_t at = i;

			for (; at > 0 && to[at - 1] > id; at--)
				to[at] = to[at - 1];
			to[at] = id;
		}
	}
}

void cpu_moe(struct cpu *b, const struct cpu_layer *l, uint32_t moe, int32_t *experts_out)
{
	struct ffn f = {.b = b, .l = l, .routed = true};
	bool have[CPU_ACTS] = {false};
	size_t pairs = b->n_rows * b->c->experts_used;
	struct cpu_job job = {&l->router, cpu_bring(b, CPU_ACT_F32, b->h, b->n_rows, b->c->hidden),
			      b->n_rows, b->z, b->c->experts};

	cpu_products(b, &job, 1);
	eng_workers_run(b->workers, b->n_rows, pick_task, &f);
	for (size_t p = 0; p < pairs; p++)
		atomic_fetch_add_explicit(&b->counts[(size_t)moe * b->c->experts + b->ids[p]], 1,
					  memory_order_relaxed);
	if (experts_out)
		report_experts(b, moe, experts_out);
	group_pairs(&f);
	for (size_t g = 0; g < b->n_groups; g++)
		bring_for(&f, b->groups[g].ffn, have);
	for (int act = 0; act < CPU_ACTS; act++) {
		for (size_t p = 0; have[act] && p < pairs; p++)
			b->pair_x[act][p] = b->xs.at[act][b->pair_rows[p]];
	}
	run(&f);
}
