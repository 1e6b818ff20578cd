/*
 * What a checkpoint says of the model: sizes, router, positions, special ids. Filled by mdl_open
 * from config.json (Hugging Face) or GGUF metadata, validated once; plain values from then on.
 * Symbols in comments as in DeepSeek's papers.
 */
#ifndef LT_MODEL_CONFIG_H
#define LT_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum mdl_router {
	MDL_ROUTER_SOFTMAX_GREEDY, /* s = softmax(z); top k of s */
	MDL_ROUTER_SOFTMAX_GROUPS, /* s = softmax(z); groups by their largest s; top k */
	MDL_ROUTER_SIGMOID_BIASED, /* s = sigmoid(z); groups by their two largest s + b; top k of s + b;
				      weights from s alone (noaux_tc) */
};

#define MDL_MAX_EOS 8

struct mdl_config {
	char family[32]; /* model_type: deepseek_v2, deepseek_v3, kimi_k2, glm4_moe_lite */
	uint32_t vocab;
	uint32_t hidden;
	uint32_t layers; /* without extra-token modules */
	uint32_t heads;
	uint32_t qk_nope, qk_rope, v_head; /* dn, dr, dv: per-head widths */
	uint32_t q_rank;		   /* 0: queries are not compressed */
	uint32_t kv_rank;
	uint32_t dense_ff;  /* width of dense layers' feed-forward */
	uint32_t expert_ff; /* width of one routed expert */
	uint32_t experts;   /* routed experts a layer; 0: no MoE layer at all */
	uint32_t experts_used;
	uint32_t shared_experts; /* fused into one branch of width shared_experts * expert_ff */
	uint32_t first_dense;	 /* layers [0, first_dense) are dense */
	uint32_t moe_freq;	 /* layer i >= first_dense is MoE iff i % moe_freq == 0 */
	enum mdl_router router;
	uint32_t groups, groups_used; /* 1, 1: no groups */
	bool norm_topk;		      /* divide the k weights by their sum + 1e-20 */
	float routed_scale;
	float rms_eps;
	float lora_eps; /* of q_a and kv_a norms: 1e-6 whatever rms_eps is, as the publishers' code has it */

	double rope_theta;
	double yarn_factor; /* 1: no YaRN */
	uint32_t yarn_original;
	double yarn_beta_fast, yarn_beta_slow;
	/* With m(s, a) = s > 1 ? 0.1 a ln s + 1 : 1, cos and sin are multiplied by m(factor, mscale) /
	 * m(factor, mscale_all_dim) and the softmax scale by m(factor, mscale_all_dim)^2. Already
	 * resolved: where a file has no mscale it is the publishers' default 1 (0 in GGUF, whose
	 * amplitude is always 1), without mscale_all_dim that is 0, which gives m = 1. */
	double yarn_mscale, yarn_mscale_all_dim;

	uint32_t max_positions;
	uint32_t nextn_layers; /* extra-token modules present in the checkpoint */
	int32_t bos, pad;      /* -1: none */
	int32_t eos[MDL_MAX_EOS];
	uint32_t n_eos;
};

/* True if layer i (0-based) routes to experts. */
static inline bool mdl_layer_is_moe(const struct mdl_config *c, uint32_t i)
{
	return c->experts > 0 && i >= c->first_dense && i % c->moe_freq == 0;
}

/* Number of MoE layers. */
static inline uint32_t mdl_moe_layers(const struct mdl_config *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->layers; i++)
		n += mdl_layer_is_moe(c, i);
	return n;
}

#endif
