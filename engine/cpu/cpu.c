/*
 * The cpu backend: open, close, and one step over a batch. cpu.h has the idea.
 */
#include "engine/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void cpu_close(void *state)
{
	struct cpu *b = state;

	eng_workers_close(b->workers);
	cpu_release(b);
	cpu_unload(b);
	eng_cache_fini(&b->cache);
	eng_rope_fini(&b->rope);
	free(b);
}

static int find_isa(struct cpu *b, const char *name, struct lt_err *err)
{
	const char *const *names = cpu_isa_names();
	char list[128] = "auto";

	b->isa = cpu_isa_find(name);
	if (b->isa)
		return 0;
	for (; *names; names++) {
		if (cpu_isa_find(*names)) {
			strncat(list, ", ", sizeof(list) - strlen(list) - 1);
			strncat(list, *names, sizeof(list) - strlen(list) - 1);
		}
	}
	return lt_fail(err, LT_EINVAL, "engine.isa '%s': this processor can run %s", name, list);
}

static int open_parts(struct cpu *b, const struct mdl *m, const struct eng_opts *opts,
		      struct lt_err *err)
{
	const struct mdl_config *c = b->c;
	uint64_t ctx = (uint64_t)opts->cache_blocks * ENG_BLOCK_TOKENS;
	int rc = find_isa(b, opts->isa, err);

	if (rc == 0 && (c->kv_rank % 2 != 0 || c->qk_rope % 2 != 0))
		rc = lt_fail(err, LT_EUNSUPPORTED,
			     "%s: backend cpu wants an even kv_lora_rank, not %u (backend blas "
			     "takes it)",
			     mdl_path(m), c->kv_rank);
	if (rc == 0)
		rc = eng_workers_open(b->threads, opts->place.pin, &b->workers, err);
	b->ctx = ctx > c->max_positions ? c->max_positions : (size_t)ctx;
	b->head_groups = (c->heads + 15) / 16;
	if (rc == 0)
		rc = eng_rope_init(&b->rope, c, err);
	if (rc == 0)
		rc = cpu_load(b, m, err);
	if (rc == 0)
		rc = eng_cache_init(&b->cache, opts->cache_type, &opts->place, opts->cache_blocks,
				    c->layers, c->kv_rank, c->qk_rope, err);
	if (rc == 0)
		rc = cpu_take(b, opts, err);
	return rc;
}

static int cpu_open(const struct mdl *m, const struct eng_opts *opts, struct eng_info *info,
		    void **state, struct lt_err *err)
{
	struct cpu *b = lt_alloc(1, sizeof(*b));
	int rc;

	if (!b)
		return lt_fail(err, LT_ENOMEM, "no memory for backend cpu");
	b->c = mdl_config(m);
	b->threads = opts->threads;
	b->place = opts->place;
	rc = open_parts(b, m, opts, err);
	if (rc != 0) {
		cpu_close(b);
		return rc;
	}
	info->token_bytes = b->cache.layers * b->cache.entry_bytes;
	info->cache_bytes = eng_cache_bytes(&b->cache);
	info->weight_bytes = b->weight_bytes;
	info->has_logits = true;
	*state = b;
	return 0;
}

/* ---- a step ------------------------------------------------------------------------------- */

static void begin(struct cpu *b, const struct eng_batch *batch)
{
	size_t d = b->c->hidden;

	b->n_rows = 0;
	for (size_t i = 0; i < batch->n_spans; i++) {
		const struct eng_span *s = &batch->spans[i];

		for (uint32_t t = 0; t < s->n; t++) {
			size_t r = b->n_rows++;

			b->rows[r] = (struct cpu_row){s, s->pos + t};
			mdl_weight_rows(&b->embed, (size_t)s->tokens[t], 1, b->x + r * d);
			eng_rope_turn(&b->rope, s->pos + t, b->turn + r * b->c->qk_rope);
		}
	}
}

struct norm {
	struct cpu *b;
	const float *weight; // [d]
	const float *y;	     // [n, d] added to x first, or NULL
};

static void norm_task(void *arg, size_t r, uint32_t worker)
{
	const struct norm *n = arg;
	struct cpu *b = n->b;
	size_t d = b->c->hidden;

	(void)worker;
	if (n->y)
		b->isa->add_scaled(b->x + r * d, n->y + r * d, 1, d);
	b->isa->norm(b->x + r * d, n->weight, d, b->c->rms_eps, b->h + r * d);
}

static void norm_rows(struct cpu *b, const float *weight, const float *y)
{
	struct norm n = {b, weight, y};

	eng_workers_run(b->workers, b->n_rows, norm_task, &n);
}

/* Logits of the rows that asked. */
static void finish(struct cpu *b, const struct eng_batch *batch, struct eng_out *out)
{
	size_t d = b->c->hidden, vocab = b->c->vocab, n = 0, row = 0;
	struct cpu_job job = {.m = &b->head, .y = b->logits, .ldy = vocab};

	for (size_t i = 0; i < batch->n_spans; i++) {
		const struct eng_span *s = &batch->spans[i];

		for (uint32_t t = s->n - s->outputs; t < s->n; t++, n++)
			b->isa->norm(b->x + (row + t) * d, b->out_norm, d, b->c->rms_eps,
				     b->last + n * d);
		row += s->n;
	}
	job.n = n;
	job.x = cpu_bring(b, cpu_act_of(b->head.format), b->last, n, d);
	cpu_products(b, &job, 1);
	for (size_t i = 0; i < n; i++)
		b->bad[i] = !b->isa->finite(b->logits + i * vocab, vocab);
	out->logits = b->logits;
	out->bad = b->bad;
}

static int cpu_step(void *state, const struct eng_batch *batch, struct eng_out *out,
		    struct lt_err *err)
{
	struct cpu *b = state;
	int32_t *experts = batch->want_experts ? b->experts_out : NULL;
	uint32_t moe = 0;

	(void)err;
	begin(b, batch);
	for (uint32_t i = 0; i < b->c->layers; i++) {
		const struct cpu_layer *l = &b->layers[i];

		norm_rows(b, l->attn_norm, NULL);
		cpu_attention(b, i, batch);
		norm_rows(b, l->ffn_norm, b->y);
		if (l->experts)
			cpu_moe(b, l, moe++, experts);
		else
			cpu_dense(b, l);
	}
	finish(b, batch, out);
	out->experts = experts;
	return 0;
}

static void cpu_block_copy(void *state, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	eng_cache_copy(&((struct cpu *)state)->cache, dst, src, n_tokens);
}

static void cpu_expert_counts(const void *state, uint64_t *counts)
{
	const struct cpu *b = state;
	size_t n = (size_t)mdl_moe_layers(b->c) * b->c->experts;

	for (size_t i = 0; i < n; i++)
		counts[i] = atomic_load_explicit(&b->counts[i], memory_order_relaxed);
}

const struct eng_backend eng_backend_cpu = {
	.name = "cpu",
	.needs_weights = true,
	.open = cpu_open,
	.close = cpu_close,
	.step = cpu_step,
	.block_copy = cpu_block_copy,
	.expert_counts = cpu_expert_counts,
};
