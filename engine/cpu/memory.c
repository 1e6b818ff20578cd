/*
 * A step's memory: zeroed and untouched until used, so that generous limits cost nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/cpu/cpu.h"

/* Sets *ptr to count * width items; false without memory. */
static bool take(void *ptr, size_t count, size_t width, size_t size)
{
	void *p = NULL;

	if (lt_mul(count, width, &count))
		p = lt_alloc(count, size);
	memcpy(ptr, &p, sizeof(p));
	return p != NULL;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t even(size_t n)
{
	return (n + 1) / 2 * 2;
}

/* The widest row that any product reads. */
static size_t widest_input(const struct mdl_config *c)
{
	return most(most(c->hidden, c->q_rank), (size_t)c->heads * c->v_head);
}

static size_t widest_ff(const struct mdl_config *c)
{
	return most(most(c->dense_ff, c->expert_ff), (size_t)c->shared_experts * c->expert_ff);
}

static bool take_x(struct cpu *b, size_t rows)
{
	struct cpu_x *xs = &b->xs;

	xs->max_cols = widest_input(b->c);
	for (int act = 0; act < CPU_ACTS; act++) {
		xs->row_bytes[act] = cpu_act_bytes((enum cpu_act)act, xs->max_cols + CPU_GROUP);
		if (!take(&xs->at[act], rows, 1, sizeof(*xs->at[act])))
			return false;
		if (act != CPU_ACT_F32 && !take(&xs->rows[act], rows, xs->row_bytes[act], 1))
			return false;
	}
	return true;
}

static bool take_rows(struct cpu *b, const struct eng_opts *opts)
{
	const struct mdl_config *c = b->c;
	size_t rows = opts->max_rows, f = sizeof(float), width = b->cache.width;
	size_t dk = (size_t)c->qk_nope + c->qk_rope;

	return take(&b->rows, rows, 1, sizeof(*b->rows)) && take(&b->x, rows, c->hidden, f) &&
	       take(&b->h, rows, c->hidden, f) && take(&b->qa, rows, c->q_rank, f) &&
	       take(&b->q, rows, c->heads * dk, f) && take(&b->kv, rows, width, f) &&
	       take(&b->turn, rows, c->qk_rope, f) &&
	       take(&b->attn, rows, (size_t)c->heads * c->v_head, f) &&
	       take(&b->y, rows, c->hidden, f) &&
	       take(&b->logits, opts->max_outputs, c->vocab, f) &&
	       take(&b->last, opts->max_outputs, c->hidden, f) &&
	       take(&b->bad, opts->max_outputs, 1, sizeof(*b->bad));
}

static bool take_attention(struct cpu *b)
{
	const struct mdl_config *c = b->c;
	size_t rows = CPU_ABSORBED_ROWS, chunks = (b->ctx + CPU_CHUNK - 1) / CPU_CHUNK;

	b->n_parts = 4 * (size_t)b->threads * b->head_groups * chunks;
	b->n_parts = b->n_parts < CPU_PARTS ? b->n_parts : CPU_PARTS;
	return take(&b->queries, rows * b->head_groups, even(b->cache.width) * 16, 4) &&
	       take(&b->mixed, rows * c->heads, even(c->kv_rank), sizeof(float)) &&
	       take(&b->parts, b->n_parts, 32 + (size_t)c->kv_rank * 16, sizeof(float));
}

static bool take_moe(struct cpu *b, size_t rows)
{
	const struct mdl_config *c = b->c;
	size_t k = c->experts_used, layers = mdl_moe_layers(c), pairs = rows * (k + 1);

	b->mid_bytes = 0;
	for (int act = 0; act < CPU_ACTS; act++)
		b->mid_bytes = most(b->mid_bytes,
				    cpu_act_bytes((enum cpu_act)act, widest_ff(c) + CPU_GROUP));
	for (int act = 0; act < CPU_ACTS; act++) {
		if (!take(&b->pair_x[act], rows, k, sizeof(*b->pair_x[act])))
			return false;
	}
	return take(&b->z, rows, c->experts, sizeof(float)) &&
	       take(&b->ids, rows, k, sizeof(*b->ids)) &&
	       take(&b->shares, rows, k, sizeof(*b->shares)) &&
	       take(&b->slots, rows, k, sizeof(*b->slots)) &&
	       take(&b->pair_rows, rows, k, sizeof(*b->pair_rows)) &&
	       take(&b->starts, (size_t)c->experts + 1, 1, sizeof(*b->starts)) &&
	       take(&b->groups, (size_t)c->experts + 1, 1, sizeof(*b->groups)) &&
	       take(&b->mid, pairs, b->mid_bytes, 1) &&
	       take(&b->mid_at, pairs, 1, sizeof(*b->mid_at)) &&
	       take(&b->pair_y, pairs, c->hidden, sizeof(float)) &&
	       take(&b->experts_out, rows, layers * k, sizeof(*b->experts_out)) &&
	       take(&b->counts, layers, c->experts, sizeof(*b->counts));
}

static bool take_scratch(struct cpu *b)
{
	const struct mdl_config *c = b->c;
	size_t f = sizeof(float), value = most(c->v_head, c->kv_rank);
	size_t widest = most(most(c->qk_nope, value), c->kv_rank);

	if (!take(&b->scratch, b->threads, 1, sizeof(*b->scratch)))
		return false;
	for (uint32_t i = 0; i < b->threads; i++) {
		struct cpu_scratch *s = &b->scratch[i];

		if (!take(&s->gate, CPU_FFN_ROWS, 32, f) || !take(&s->up, CPU_FFN_ROWS, 32, f) ||
		    !take(&s->scores, CPU_CHUNK + 1, 16, f) ||
		    !take(&s->part, 2, 32 + value * 16, f) ||
		    !take(&s->floats, CPU_CHUNK, widest, f) ||
		    !take(&s->latents, CPU_CHUNK * even(b->cache.width) + 2 * (value + 1), 1, 2) ||
		    !take(&s->head_x, CPU_ABSORBED_ROWS, even(widest), f) ||
		    !take(&s->keys, CPU_CHUNK, even((size_t)c->qk_nope + c->qk_rope), 2) ||
		    !take(&s->values, CPU_CHUNK + 1, value, f) ||
		    !take(&s->query, even((size_t)c->qk_nope + c->qk_rope), 16, 2) ||
		    !take(&s->at, CPU_CHUNK, 1, sizeof(*s->at)) ||
		    !take(&s->spans, ENG_SPAN_TOKENS / 16, 32 + (size_t)c->v_head * 16, f) ||
		    !take(&s->route, 2 * (size_t)c->experts + c->groups, 1, f) ||
		    !take(&s->zeros, value + 1, 1, 2))
			return false;
	}
	return true;
}

bool cpu_take(struct cpu *b, const struct eng_opts *opts)
{
	return take_x(b, opts->max_rows) && take_rows(b, opts) && take_attention(b) &&
	       take_moe(b, opts->max_rows) && take_scratch(b);
}

void cpu_release(struct cpu *b)
{
	void *const owned[] = {b->rows,	   b->x,	   b->h,
			       b->qa,	   b->q,	   b->kv,
			       b->turn,	   b->attn,	   b->y,
			       b->logits,  b->last,	   b->bad,
			       b->queries, b->mixed,	   b->parts,
			       b->z,	   b->ids,	   b->shares,
			       b->slots,   b->pair_rows,   b->starts,
			       b->groups,  b->mid,	   (void *)b->mid_at,
			       b->pair_y,  b->experts_out, (void *)b->counts};

	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		free(owned[i]);
	for (int act = 0; act < CPU_ACTS; act++) {
		free(b->xs.rows[act]);
		free((void *)b->xs.at[act]);
		free((void *)b->pair_x[act]);
	}
	for (uint32_t i = 0; b->scratch && i < b->threads; i++) {
		struct cpu_scratch *s = &b->scratch[i];
		void *const scratch[] = {s->gate,	s->up,	   s->scores, s->part,	 s->floats,
					 s->latents,	s->head_x, s->keys,   s->values, s->query,
					 (void *)s->at, s->spans,  s->route,  s->zeros};

		for (size_t k = 0; k < sizeof(scratch) / sizeof(scratch[0]); k++)
			free(scratch[k]);
	}
	free(b->scratch);
}
