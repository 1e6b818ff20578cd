/*
 * A step's memory: zeroed and untouched until used, so that generous limits cost nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/cpu/cpu.h"

/* Sets *ptr to count * width items. */
static void take(struct eng_arena *a, void *ptr, size_t count, size_t width, size_t size)
{
	void *p = eng_arena_take(a, count, width, size);

	memcpy(ptr, &p, sizeof(p));
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

static void take_x(struct cpu *b, struct eng_arena *a, size_t rows)
{
	struct cpu_x *xs = &b->xs;

	xs->max_cols = widest_input(b->c);
	for (int act = 0; act < CPU_ACTS; act++) {
		xs->row_bytes[act] = cpu_act_bytes((enum cpu_act)act, xs->max_cols + CPU_GROUP);
		take(a, &xs->at[act], rows, 1, sizeof(*xs->at[act]));
		if (act != CPU_ACT_F32)
			take(a, &xs->rows[act], rows, xs->row_bytes[act], 1);
	}
}

static void take_rows(struct cpu *b, struct eng_arena *a, const struct eng_opts *opts)
{
	const struct mdl_config *c = b->c;
	size_t rows = opts->max_rows, f = sizeof(float), width = b->cache.width;
	size_t dk = (size_t)c->qk_nope + c->qk_rope;

	take(a, &b->rows, rows, 1, sizeof(*b->rows));
	take(a, &b->x, rows, c->hidden, f);
	take(a, &b->h, rows, c->hidden, f);
	take(a, &b->qa, rows, c->q_rank, f);
	take(a, &b->q, rows, c->heads * dk, f);
	take(a, &b->kv, rows, width, f);
	take(a, &b->turn, rows, c->qk_rope, f);
	take(a, &b->attn, rows, (size_t)c->heads * c->v_head, f);
	take(a, &b->y, rows, c->hidden, f);
	take(a, &b->logits, opts->max_outputs, c->vocab, f);
	take(a, &b->last, opts->max_outputs, c->hidden, f);
	take(a, &b->bad, opts->max_outputs, 1, sizeof(*b->bad));
}

static void take_attention(struct cpu *b, struct eng_arena *a)
{
	const struct mdl_config *c = b->c;
	size_t rows = CPU_ABSORBED_ROWS, chunks = (b->ctx + CPU_CHUNK - 1) / CPU_CHUNK;

	b->n_parts = 4 * (size_t)b->threads * b->head_groups * chunks;
	b->n_parts = b->n_parts < CPU_PARTS ? b->n_parts : CPU_PARTS;
	take(a, &b->queries, rows * b->head_groups, even(b->cache.width) * 16, 4);
	take(a, &b->mixed, rows * c->heads, even(c->kv_rank), sizeof(float));
	take(a, &b->parts, b->n_parts, 32 + (size_t)c->kv_rank * 16, sizeof(float));
}

static void take_moe(struct cpu *b, struct eng_arena *a, size_t rows)
{
	const struct mdl_config *c = b->c;
	size_t k = c->experts_used, layers = mdl_moe_layers(c), pairs = rows * (k + 1);

	b->mid_bytes = 0;
	for (int act = 0; act < CPU_ACTS; act++)
		b->mid_bytes = most(b->mid_bytes,
				    cpu_act_bytes((enum cpu_act)act, widest_ff(c) + CPU_GROUP));
	for (int act = 0; act < CPU_ACTS; act++)
		take(a, &b->pair_x[act], rows, k, sizeof(*b->pair_x[act]));
	take(a, &b->z, rows, c->experts, sizeof(float));
	take(a, &b->ids, rows, k, sizeof(*b->ids));
	take(a, &b->shares, rows, k, sizeof(*b->shares));
	take(a, &b->slots, rows, k, sizeof(*b->slots));
	take(a, &b->pair_rows, rows, k, sizeof(*b->pair_rows));
	take(a, &b->starts, (size_t)c->experts + 1, 1, sizeof(*b->starts));
	take(a, &b->groups, (size_t)c->experts + 1, 1, sizeof(*b->groups));
	take(a, &b->mid, pairs, b->mid_bytes, 1);
	take(a, &b->mid_at, pairs, 1, sizeof(*b->mid_at));
	take(a, &b->pair_y, pairs, c->hidden, sizeof(float));
	take(a, &b->experts_out, rows, layers * k, sizeof(*b->experts_out));
	take(a, &b->counts, layers, c->experts, sizeof(*b->counts));
}

static void take_scratch(struct cpu *b, struct eng_arena *a)
{
	const struct mdl_config *c = b->c;
	size_t f = sizeof(float), value = most(c->v_head, c->kv_rank);
	size_t widest = most(most(c->qk_nope, value), c->kv_rank);

	for (uint32_t i = 0; i < b->threads; i++) {
		struct cpu_scratch *s = &b->scratch[i];

		take(a, &s->gate, CPU_FFN_ROWS, CPU_FFN_COLS, f);
		take(a, &s->up, CPU_FFN_ROWS, CPU_FFN_COLS, f);
		take(a, &s->scores, CPU_CHUNK + 1, 16, f);
		take(a, &s->part, 2, 32 + value * 16, f);
		take(a, &s->floats, CPU_CHUNK, widest, f);
		take(a, &s->latents, CPU_CHUNK * even(b->cache.width) + 2 * (value + 1), 1, 2);
		take(a, &s->head_x, CPU_ABSORBED_ROWS, even(widest), f);
		take(a, &s->keys, CPU_CHUNK, even((size_t)c->qk_nope + c->qk_rope), 2);
		take(a, &s->values, CPU_CHUNK + 1, value, f);
		take(a, &s->query, even((size_t)c->qk_nope + c->qk_rope), 16, 2);
		take(a, &s->at, CPU_CHUNK, 1, sizeof(*s->at));
		take(a, &s->spans, ENG_SPAN_TOKENS / 16, 32 + (size_t)c->v_head * 16, f);
		take(a, &s->route, 2 * (size_t)c->experts + c->groups, 1, f);
		take(a, &s->zeros, value + 1, 1, 2);
	}
}

static void take_all(struct cpu *b, struct eng_arena *a, const struct eng_opts *opts)
{
	take_x(b, a, opts->max_rows);
	take_rows(b, a, opts);
	take_attention(b, a);
	take_moe(b, a, opts->max_rows);
	take_scratch(b, a);
}

int cpu_take(struct cpu *b, const struct eng_opts *opts, struct lt_err *err)
{
	struct eng_arena sum = {0}, given = {0};
	int rc = LT_ENOMEM;

	b->scratch = lt_alloc(b->threads, sizeof(*b->scratch));
	if (b->scratch)
		take_all(b, &sum, opts);
	if (b->scratch && !sum.overflow)
		rc = eng_area_map(NULL, sum.used, "a step", &b->memory, err);
	if (rc != 0)
		return lt_fail(err, LT_ENOMEM,
			       "no memory for steps of %u rows; fewer rows or threads take less",
			       opts->max_rows);
	b->memory_bytes = sum.used;
	given.base = b->memory;
	take_all(b, &given, opts);
	return 0;
}

void cpu_release(struct cpu *b)
{
	eng_area_unmap(NULL, b->memory, b->memory_bytes);
	free(b->scratch);
}
