/*
 * Feed-forward: y = down(silu(gate x) * up x); dense, or a mixture of experts. Rows are grouped by
 * expert; what the experts give is added up for each row in rank order, so a row's sum does not
 * depend on which rows it shared a group with.
 */
#include <math.h>
#include <string.h>

#include "engine/blas/blas.h"
#include "engine/router.h"

#define ROWS_A_TASK 16u

/* gate [n] = silu(gate) * up */
static void silu_mul(float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

struct silu {
	struct blas *b;
	size_t width;
};

static void silu_task(void *arg, size_t i, uint32_t worker)
{
	const struct silu *s = arg;
	size_t first = i * ROWS_A_TASK;
	size_t n = s->b->n_rows - first < ROWS_A_TASK ? s->b->n_rows - first : ROWS_A_TASK;

	(void)worker;
	silu_mul(s->b->gate + first * s->width, s->b->up + first * s->width, n * s->width);
}

static size_t row_tasks(const struct blas *b)
{
	return (b->n_rows + ROWS_A_TASK - 1) / ROWS_A_TASK;
}

void blas_dense(struct blas *b, const struct blas_layer *l)
{
	struct silu s = {b, l->ffn.gate.rows};

	blas_rows(b, &l->ffn.gate, b->h, b->n_rows, b->gate);
	blas_rows(b, &l->ffn.up, b->h, b->n_rows, b->up);
	eng_workers_run(b->workers, row_tasks(b), silu_task, &s);
	blas_rows(b, &l->ffn.down, b->gate, b->n_rows, b->y);
}

/* ---- mixture of experts ------------------------------------------------------------------- */

struct moe {
	struct blas *b;
	const struct blas_layer *l;
};

/* Routes rows [i ROWS_A_TASK, ...). */
static void route_task(void *arg, size_t i, uint32_t worker)
{
	const struct moe *m = arg;
	struct blas *b = m->b;
	const struct mdl_config *c = b->c;
	float *z = b->scratch[worker].route; // [experts], then scratch [experts + groups]
	size_t end = (i + 1) * ROWS_A_TASK;

	for (size_t r = i * ROWS_A_TASK; r < end && r < b->n_rows; r++) {
		eng_router_logits(m->l->router.w, b->h + r * c->hidden, c->experts, c->hidden, z);
		eng_router_pick(c, z, m->l->router_bias.w, z + c->experts,
				b->ids + r * c->experts_used, b->shares + r * c->experts_used);
	}
}

/* Sorts the pairs (row, rank) by expert, rows ascending within one, and cuts each expert's pairs
 * into groups of a tile. Returns the number of groups. */
static size_t group_pairs(struct blas *b)
{
	uint32_t k = b->c->experts_used, experts = b->c->experts;
	size_t pairs = b->n_rows * k, n_groups = 0;

	memset(b->starts, 0, (experts + 1) * sizeof(*b->starts));
	for (size_t p = 0; p < pairs; p++)
		b->starts[b->ids[p] + 1]++;
	for (uint32_t e = 0; e < experts; e++) {
		uint32_t n = b->starts[e + 1];

		for (uint32_t at = 0; at < n; at += TILE)
			b->groups[n_groups++] = (struct blas_group){e, b->starts[e] + at,
								    n - at < TILE ? n - at : TILE};
		b->starts[e + 1] += b->starts[e];
	}
	for (size_t p = 0; p < pairs; p++) {
		uint32_t slot = b->starts[b->ids[p]]++;

		b->slots[p] = slot;
		b->pair_rows[slot] = (uint32_t)(p / k);
	}
	return n_groups;
}

/* One expert's feed-forward for up to TILE rows. */
static void expert_task(void *arg, size_t i, uint32_t worker)
{
	const struct moe *m = arg;
	struct blas *b = m->b;
	const struct blas_scratch *s = &b->scratch[worker];
	const struct blas_group *g = &b->groups[i];
	const struct blas_ffn *f = &m->l->experts[g->expert];
	size_t d = b->c->hidden, ff = f->gate.rows;

	for (size_t r = 0; r < g->n; r++)
		memcpy(s->tile + r * d, b->h + b->pair_rows[g->first + r] * d, d * sizeof(float));
	blas_tile(f->gate.w, ff, d, s->tile, d, s->gate, ff);
	blas_tile(f->up.w, ff, d, s->tile, d, s->up, ff);
	silu_mul(s->gate, s->up, g->n * ff);
	blas_tile(f->down.w, d, ff, s->gate, ff, s->tile, d);
	memcpy(b->pair_y + g->first * d, s->tile, g->n * d * sizeof(float));
}

/* y += the experts' outputs, weighted. */
static void combine_task(void *arg, size_t i, uint32_t worker)
{
	const struct moe *m = arg;
	struct blas *b = m->b;
	size_t d = b->c->hidden, k = b->c->experts_used, end = (i + 1) * ROWS_A_TASK;

	float *sum = b->scratch[worker].tile; // [d]
	for (size_t r = i * ROWS_A_TASK; r < end && r < b->n_rows; r++) {
		float *y = b->y + r * d;

		memset(sum, 0, d * sizeof(float));
		for (size_t rank = 0; rank < k; rank++) {
			const float *from = b->pair_y + b->slots[r * k + rank] * d; // [d]
			float share = b->shares[r * k + rank];

			for (size_t j = 0; j < d; j++)
				sum[j] += share * from[j];
		}
		for (size_t j = 0; j < d; j++)
			y[j] += sum[j];
	}
}

static void report_experts(const struct blas *b, uint32_t moe, int32_t *out)
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

void blas_moe(struct blas *b, const struct blas_layer *l, uint32_t moe, int32_t *experts_out)
{
	struct moe m = {b, l};
	size_t pairs = b->n_rows * b->c->experts_used;

	eng_workers_run(b->workers, row_tasks(b), route_task, &m);
	for (size_t p = 0; p < pairs; p++)
		atomic_fetch_add_explicit(&b->counts[(size_t)moe * b->c->experts + b->ids[p]], 1,
					  memory_order_relaxed);
	if (experts_out)
		report_experts(b, moe, experts_out);
	if (l->ffn.gate.w)
		blas_dense(b, l);
	else
		memset(b->y, 0, b->n_rows * b->c->hidden * sizeof(float));
	eng_workers_run(b->workers, group_pairs(b), expert_task, &m);
	eng_workers_run(b->workers, row_tasks(b), combine_task, &m);
}
