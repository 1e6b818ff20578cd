/*
 * See ctl-cost.h. Symbols in comments as in model/checkpoint.h.
 */
#include "tools/ctl-cost.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/checkpoint.h"

/* Adds a matrix, if there is one. */
static void add(const struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
		uint64_t *bytes, uint64_t *values)
{
	struct mdl_weight w;

	if (!mdl_weight_get(m, role, layer, expert, &w))
		return;
	*bytes += (uint64_t)w.rows * w.row_bytes;
	if (w.scale)
		*bytes +=
			(uint64_t)w.scale_rows * w.scale_cols * mdl_type_block_bytes(w.scale_type);
	if (w.rows > 1) /* vectors are read, but their few operations are no product's */
		*values += (uint64_t)w.rows * w.cols;
}

static void add_layer(struct ctl_cost *c, const struct mdl *m, uint32_t layer, uint32_t moe_layer)
{
	for (int role = MDL_W_ATTN_NORM; role < MDL_W_EXPERT_GATE; role++)
		add(m, (enum mdl_role)role, layer, 0, &c->shared_bytes, &c->shared_values);
	if (!mdl_layer_is_moe(c->config, layer))
		return;
	/* All experts of a layer are of one shape; types may differ only where a file is odd. */
	for (int role = MDL_W_EXPERT_GATE; role <= MDL_W_EXPERT_DOWN; role++)
		add(m, (enum mdl_role)role, layer, 0, &c->expert_bytes[moe_layer],
		    &c->expert_values[moe_layer]);
}

int ctl_cost_init(struct ctl_cost *c, const struct mdl *m, const struct eng *e)
{
	const struct eng_info *info = eng_info(e);
	size_t moe = info->moe_layers > 0 ? info->moe_layers : 1;
	uint32_t moe_layer = 0;

	memset(c, 0, sizeof(*c));
	c->engine = e;
	c->config = mdl_config(m);
	c->token_bytes = info->token_bytes;
	c->expert_bytes = lt_alloc(moe, sizeof(*c->expert_bytes));
	c->expert_values = lt_alloc(moe, sizeof(*c->expert_values));
	c->counts = lt_alloc(2 * moe, (info->experts + 1) * sizeof(*c->counts));
	if (!c->expert_bytes || !c->expert_values || !c->counts)
		return LT_ENOMEM;
	add(m, MDL_W_OUT_NORM, 0, 0, &c->head_bytes, &c->head_values);
	add(m, MDL_W_HEAD, 0, 0, &c->head_bytes, &c->head_values);
	for (uint32_t i = 0; i < c->config->layers; i++) {
		add_layer(c, m, i, moe_layer);
		moe_layer += mdl_layer_is_moe(c->config, i);
	}
	return 0;
}

void ctl_cost_fini(struct ctl_cost *c)
{
	free(c->expert_bytes);
	free(c->expert_values);
	free(c->counts);
	memset(c, 0, sizeof(*c));
}

void ctl_cost_begin(struct ctl_cost *c)
{
	if (eng_info(c->engine)->moe_layers > 0)
		eng_expert_counts(c->engine, c->counts);
}

/* Operations of attention in one layer for a query that sees ctx positions. */
static double attention_ops(const struct mdl_config *g, enum eng_form form, uint64_t ctx)
{
	uint64_t width = form == ENG_FORM_EXPANDED ? (uint64_t)g->qk_nope + g->qk_rope + g->v_head
						   : 2 * (uint64_t)g->kv_rank + g->qk_rope;

	return 2.0 * g->heads * (double)width * (double)ctx;
}

static void add_experts(struct ctl_cost *c)
{
	const struct eng_info *info = eng_info(c->engine);
	const uint64_t *before = c->counts;
	uint64_t *after = c->counts + (size_t)info->moe_layers * info->experts;

	if (info->moe_layers == 0)
		return;
	eng_expert_counts(c->engine, after);
	for (uint32_t l = 0; l < info->moe_layers; l++) {
		for (uint32_t x = 0; x < info->experts; x++) {
			uint64_t rows = *after++ - *before++;

			c->bytes += rows > 0 ? c->expert_bytes[l] : 0;
			c->ops += 2.0 * (double)rows * (double)c->expert_values[l];
		}
	}
}

void ctl_cost_end(struct ctl_cost *c, const struct eng_span *spans, size_t n)
{
	uint64_t rows = 0, outputs = 0;

	add_experts(c);
	for (size_t i = 0; i < n; i++) {
		const struct eng_span *s = &spans[i];

		rows += s->n;
		outputs += s->outputs;
		/* Entries are written, then those up to the last row's are read once. */
		c->bytes += (s->pos + 2 * (uint64_t)s->n) * c->token_bytes;
		for (uint32_t r = 0; r < s->n; r++)
			c->ops += c->config->layers *
				  attention_ops(c->config, s->form, s->pos + (uint64_t)r + 1);
	}
	c->bytes += c->shared_bytes + (outputs > 0 ? c->head_bytes : 0);
	c->ops += 2.0 * ((double)rows * (double)c->shared_values +
			 (double)outputs * (double)c->head_values);
}
