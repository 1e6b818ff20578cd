/*
 * Fields of a model's configuration and what must hold between them, whatever file they came from.
 * Everything later (shapes, products, group sizes, positions) relies on these checks.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "model/config-fields.h"

#define FIELD(name) offsetof(struct mdl_config, name)

const struct mdl_config_field mdl_config_fields[] = {
	{FIELD(vocab), "vocab_size", "vocab_size", 1, 1u << 24, true},
	{FIELD(hidden), "hidden_size", "embedding_length", 1, 1u << 16, true},
	{FIELD(layers), "num_hidden_layers", "block_count", 1, 1024, true},
	{FIELD(heads), "num_attention_heads", "attention.head_count", 1, 1024, true},
	{FIELD(qk_nope), "qk_nope_head_dim", NULL, 1, 1024, true},
	{FIELD(qk_rope), "qk_rope_head_dim", "rope.dimension_count", 2, 1024, true},
	{FIELD(v_head), "v_head_dim", NULL, 1, 1024, true},
	{FIELD(q_rank), "q_lora_rank", "attention.q_lora_rank", 0, 1u << 14, false},
	{FIELD(kv_rank), "kv_lora_rank", "attention.kv_lora_rank", 1, 1u << 14, true},
	{FIELD(dense_ff), "intermediate_size", "feed_forward_length", 0, 1u << 18, false},
	{FIELD(expert_ff), "moe_intermediate_size", "expert_feed_forward_length", 0, 1u << 18,
	 false},
	{FIELD(experts), "n_routed_experts", "expert_count", 0, 8192, false},
	{FIELD(experts_used), "num_experts_per_tok", "expert_used_count", 0, 1024, false},
	{FIELD(shared_experts), "n_shared_experts", "expert_shared_count", 0, 64, false},
	{FIELD(first_dense), "first_k_dense_replace", "leading_dense_block_count", 0, 1024, false},
	{FIELD(moe_freq), "moe_layer_freq", NULL, 1, 1024, false},
	{FIELD(groups), "n_group", "expert_group_count", 0, 8192, false},
	{FIELD(groups_used), "topk_group", "expert_group_used_count", 0, 8192, false},
	{FIELD(max_positions), "max_position_embeddings", "context_length", 1, 1u << 24, true},
	{FIELD(nextn_layers), "num_nextn_predict_layers", "nextn_predict_layers", 0, 64, false},
};
const size_t mdl_config_n_fields = sizeof(mdl_config_fields) / sizeof(*mdl_config_fields);

void mdl_config_init(struct mdl_config *c)
{
	memset(c, 0, sizeof(*c));
	c->moe_freq = 1;
	c->groups = 1;
	c->groups_used = 1;
	c->routed_scale = 1;
	c->rms_eps = 1e-6f;
	c->lora_eps = 1e-6f;
	c->rope_theta = 10000;
	c->yarn_factor = 1;
	c->yarn_beta_fast = 32;
	c->yarn_beta_slow = 1;
	c->bos = -1;
	c->pad = -1;
}

static int check_experts(const struct mdl_config *c, const char *file, struct lt_err *err)
{
	uint32_t group;

	if (c->experts_used == 0 || c->experts_used > c->experts)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu32 " experts for each token of %" PRIu32
			       " routed experts, 1 to %" PRIu32 " are allowed",
			       file, c->experts_used, c->experts, c->experts);
	if (c->expert_ff == 0)
		return lt_fail(err, LT_EFORMAT,
			       "%s: the width of an expert (moe_intermediate_size, "
			       "expert_feed_forward_length) is missing or 0",
			       file);
	if (c->groups == 0 || c->experts % c->groups)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu32 " experts can't be cut into %" PRIu32 " equal groups",
			       file, c->experts, c->groups);
	group = c->experts / c->groups;
	if (c->groups_used == 0 || c->groups_used > c->groups)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu32 " expert groups for each token (topk_group), 1 to "
			       "%" PRIu32 " are allowed",
			       file, c->groups_used, c->groups);
	if (c->experts_used > c->groups_used * group)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu32 " experts for each token, but %" PRIu32
			       " groups of %" PRIu32 " hold fewer",
			       file, c->experts_used, c->groups_used, group);
	if (c->groups > 1 && group < 2 && c->router == MDL_ROUTER_SIGMOID_BIASED)
		return lt_fail(err, LT_EFORMAT,
			       "%s: expert groups of one expert, the router needs two or more",
			       file);
	return 0;
}

/* One float within (low, high], NaN being outside. */
static int check_float(const char *file, const char *name, double v, double low, double high,
		       struct lt_err *err)
{
	if (v > low && v <= high)
		return 0;
	return lt_fail(err, LT_EFORMAT, "%s: %s is %g, more than %g and at most %g is allowed",
		       file, name, v, low, high);
}

static int check_yarn(const struct mdl_config *c, const char *file, struct lt_err *err)
{
	int rc = check_float(file, "the YaRN factor", c->yarn_factor, 0.999999, 1e6, err);

	if (rc < 0 || c->yarn_factor <= 1)
		return rc;
	if (c->yarn_original == 0 || c->yarn_original > 1u << 24)
		return lt_fail(err, LT_EFORMAT,
			       "%s: the original context length of YaRN is %" PRIu32
			       ", 1 to %u are allowed",
			       file, c->yarn_original, 1u << 24);
	if (c->rope_theta <= 1.0001)
		return lt_fail(err, LT_EFORMAT, "%s: rope_theta is %g, YaRN needs more than 1",
			       file, c->rope_theta);
	rc = check_float(file, "beta_slow", c->yarn_beta_slow, 0, 1e6, err);
	if (rc == 0)
		rc = check_float(file, "beta_fast", c->yarn_beta_fast, 0, 1e6, err);
	if (rc == 0 && c->yarn_beta_fast < c->yarn_beta_slow)
		rc = lt_fail(err, LT_EFORMAT, "%s: beta_fast %g is below beta_slow %g", file,
			     c->yarn_beta_fast, c->yarn_beta_slow);
	if (rc == 0)
		rc = check_float(file, "mscale", c->yarn_mscale, -1e-9, 100, err);
	if (rc == 0)
		rc = check_float(file, "mscale_all_dim", c->yarn_mscale_all_dim, -1e-9, 100, err);
	return rc;
}

static int check_id(const struct mdl_config *c, const char *file, const char *name, int32_t id,
		    struct lt_err *err)
{
	if (id < 0 || (uint32_t)id < c->vocab)
		return 0;
	return lt_fail(err, LT_EFORMAT, "%s: %s %" PRId32 " is outside the vocabulary of %" PRIu32,
		       file, name, id, c->vocab);
}

int mdl_config_add_eos(struct mdl_config *c, const char *file, int64_t id, struct lt_err *err)
{
	if (id < 0)
		return 0;
	if (id >= c->vocab)
		return lt_fail(err, LT_EFORMAT,
			       "%s: eos_token_id %" PRId64 " is outside the vocabulary of %" PRIu32,
			       file, id, c->vocab);
	for (uint32_t i = 0; i < c->n_eos; i++) {
		if (c->eos[i] == id)
			return 0;
	}
	if (c->n_eos == MDL_MAX_EOS)
		return lt_fail(err, LT_EFORMAT, "%s: more than %d end tokens (eos_token_id)", file,
			       MDL_MAX_EOS);
	c->eos[c->n_eos++] = (int32_t)id;
	return 0;
}

int mdl_config_check(const struct mdl_config *c, const char *file, struct lt_err *err)
{
	bool dense = mdl_moe_layers(c) < c->layers;
	int rc = 0;

	if (c->qk_rope % 2)
		return lt_fail(err, LT_EFORMAT,
			       "%s: the rotated width of a head (qk_rope_head_dim, "
			       "rope.dimension_count) is %" PRIu32 ", an even number is needed",
			       file, c->qk_rope);
	if (c->first_dense > c->layers)
		return lt_fail(err, LT_EFORMAT,
			       "%s: the first %" PRIu32 " layers are dense "
			       "(first_k_dense_replace), but there are %" PRIu32,
			       file, c->first_dense, c->layers);
	if (dense && c->dense_ff == 0)
		return lt_fail(err, LT_EFORMAT,
			       "%s: the width of dense layers (intermediate_size, "
			       "feed_forward_length) is missing or 0",
			       file);
	if (c->experts)
		rc = check_experts(c, file, err);
	if (rc == 0)
		rc = check_float(file, "the norm's epsilon", c->rms_eps, 0, 0.1, err);
	if (rc == 0)
		rc = check_float(file, "the scale of routed experts", c->routed_scale, 0, 1e4, err);
	if (rc == 0)
		rc = check_float(file, "rope_theta", c->rope_theta, 0, 1e15, err);
	if (rc == 0)
		rc = check_yarn(c, file, err);
	if (rc == 0)
		rc = check_id(c, file, "bos_token_id", c->bos, err);
	if (rc == 0)
		rc = check_id(c, file, "pad_token_id", c->pad, err);
	return rc;
}
