/*
 * One table of names, one switch of shapes, one of conditions (model/roles.h).
 */
#include "model/roles.h"

#include <inttypes.h>
#include <stdio.h>

struct names {
	const char *hf; /* behind "model." or "model.layers.N."; experts behind "mlp.experts.E." */
	const char *gguf; /* whole, or behind "blk.N."; NULL if the format has none */
};

static const struct names names[MDL_W_COUNT] = {
	[MDL_W_EMBED] = {"embed_tokens.weight", "token_embd.weight"},
	[MDL_W_OUT_NORM] = {"norm.weight", "output_norm.weight"},
	[MDL_W_HEAD] = {"lm_head.weight", "output.weight"},
	[MDL_W_ATTN_NORM] = {"input_layernorm.weight", "attn_norm.weight"},
	[MDL_W_Q] = {"self_attn.q_proj.weight", "attn_q.weight"},
	[MDL_W_Q_A] = {"self_attn.q_a_proj.weight", "attn_q_a.weight"},
	[MDL_W_Q_A_NORM] = {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
	[MDL_W_Q_B] = {"self_attn.q_b_proj.weight", "attn_q_b.weight"},
	[MDL_W_KV_A] = {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
	[MDL_W_KV_A_NORM] = {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"},
	[MDL_W_KV_B] = {"self_attn.kv_b_proj.weight", "attn_kv_b.weight"},
	[MDL_W_K_B] = {NULL, "attn_k_b.weight"},
	[MDL_W_V_B] = {NULL, "attn_v_b.weight"},
	[MDL_W_O] = {"self_attn.o_proj.weight", "attn_output.weight"},
	[MDL_W_FFN_NORM] = {"post_attention_layernorm.weight", "ffn_norm.weight"},
	[MDL_W_FFN_GATE] = {"mlp.gate_proj.weight", "ffn_gate.weight"},
	[MDL_W_FFN_UP] = {"mlp.up_proj.weight", "ffn_up.weight"},
	[MDL_W_FFN_DOWN] = {"mlp.down_proj.weight", "ffn_down.weight"},
	[MDL_W_ROUTER] = {"mlp.gate.weight", "ffn_gate_inp.weight"},
	[MDL_W_ROUTER_BIAS] = {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
	[MDL_W_SHARED_GATE] = {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
	[MDL_W_SHARED_UP] = {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
	[MDL_W_SHARED_DOWN] = {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},
	[MDL_W_EXPERT_GATE] = {"gate_proj.weight", "ffn_gate_exps.weight"},
	[MDL_W_EXPERT_UP] = {"up_proj.weight", "ffn_up_exps.weight"},
	[MDL_W_EXPERT_DOWN] = {"down_proj.weight", "ffn_down_exps.weight"},
};

static const struct {
	const char *base, *layers, *head;
} prefixes[] = {
	[MDL_NAMING_HF] = {"model.", "model.layers.", ""},
	[MDL_NAMING_HF_OUTER] = {"language_model.model.", "language_model.model.layers.",
				 "language_model."},
	[MDL_NAMING_HF_INNER] = {"model.language_model.", "model.language_model.layers.", ""},
	[MDL_NAMING_GGUF] = {"", "blk.", ""},
};

const char *mdl_naming_layers(enum mdl_naming naming)
{
	return prefixes[naming].layers;
}

enum mdl_scope mdl_role_scope(enum mdl_role role)
{
	if (role <= MDL_W_HEAD)
		return MDL_SCOPE_GLOBAL;
	return role >= MDL_W_EXPERT_GATE ? MDL_SCOPE_EXPERT : MDL_SCOPE_LAYER;
}

bool mdl_role_is_vector(enum mdl_role role)
{
	switch (role) {
	case MDL_W_OUT_NORM:
	case MDL_W_ATTN_NORM:
	case MDL_W_Q_A_NORM:
	case MDL_W_KV_A_NORM:
	case MDL_W_FFN_NORM:
	case MDL_W_ROUTER_BIAS: return true;
	default: return false;
	}
}

bool mdl_role_wanted(const struct mdl_config *c, enum mdl_role role, uint32_t layer)
{
	bool moe = mdl_layer_is_moe(c, layer);

	switch (role) {
	case MDL_W_Q: return c->q_rank == 0;
	case MDL_W_Q_A:
	case MDL_W_Q_A_NORM:
	case MDL_W_Q_B: return c->q_rank > 0;
	case MDL_W_FFN_GATE:
	case MDL_W_FFN_UP:
	case MDL_W_FFN_DOWN: return !moe;
	case MDL_W_ROUTER:
	case MDL_W_EXPERT_GATE:
	case MDL_W_EXPERT_UP:
	case MDL_W_EXPERT_DOWN: return moe;
	case MDL_W_ROUTER_BIAS: return moe && c->router == MDL_ROUTER_SIGMOID_BIASED;
	case MDL_W_SHARED_GATE:
	case MDL_W_SHARED_UP:
	case MDL_W_SHARED_DOWN: return moe && c->shared_experts > 0;
	default: return true;
	}
}

static void set(uint32_t *rows, uint32_t *cols, uint32_t r, uint32_t c)
{
	*rows = r;
	*cols = c;
}

static void attention_shape(const struct mdl_config *c, enum mdl_role role, uint32_t *rows,
			    uint32_t *cols)
{
	uint32_t d = c->hidden, h = c->heads, q = h * (c->qk_nope + c->qk_rope);

	switch (role) {
	case MDL_W_Q: set(rows, cols, q, d); break;
	case MDL_W_Q_A: set(rows, cols, c->q_rank, d); break;
	case MDL_W_Q_A_NORM: set(rows, cols, 1, c->q_rank); break;
	case MDL_W_Q_B: set(rows, cols, q, c->q_rank); break;
	case MDL_W_KV_A: set(rows, cols, c->kv_rank + c->qk_rope, d); break;
	case MDL_W_KV_A_NORM: set(rows, cols, 1, c->kv_rank); break;
	case MDL_W_KV_B: set(rows, cols, h * (c->qk_nope + c->v_head), c->kv_rank); break;
	case MDL_W_K_B: set(rows, cols, h * c->kv_rank, c->qk_nope); break;
	case MDL_W_V_B: set(rows, cols, h * c->v_head, c->kv_rank); break;
	default: set(rows, cols, d, h * c->v_head); break; /* MDL_W_O */
	}
}

void mdl_role_shape(const struct mdl_config *c, enum mdl_role role, uint32_t *rows, uint32_t *cols)
{
	uint32_t d = c->hidden, shared = c->shared_experts * c->expert_ff;

	switch (role) {
	case MDL_W_EMBED:
	case MDL_W_HEAD: set(rows, cols, c->vocab, d); break;
	case MDL_W_OUT_NORM:
	case MDL_W_ATTN_NORM:
	case MDL_W_FFN_NORM: set(rows, cols, 1, d); break;
	case MDL_W_FFN_GATE:
	case MDL_W_FFN_UP: set(rows, cols, c->dense_ff, d); break;
	case MDL_W_FFN_DOWN: set(rows, cols, d, c->dense_ff); break;
	case MDL_W_ROUTER: set(rows, cols, c->experts, d); break;
	case MDL_W_ROUTER_BIAS: set(rows, cols, 1, c->experts); break;
	case MDL_W_SHARED_GATE:
	case MDL_W_SHARED_UP: set(rows, cols, shared, d); break;
	case MDL_W_SHARED_DOWN: set(rows, cols, d, shared); break;
	case MDL_W_EXPERT_GATE:
	case MDL_W_EXPERT_UP: set(rows, cols, c->expert_ff, d); break;
	case MDL_W_EXPERT_DOWN: set(rows, cols, d, c->expert_ff); break;
	default: attention_shape(c, role, rows, cols); break;
	}
}

bool mdl_role_name(enum mdl_naming naming, enum mdl_role role, uint32_t layer, uint32_t expert,
		   char *dst, size_t size)
{
	const char *name = naming == MDL_NAMING_GGUF ? names[role].gguf : names[role].hf;
	const char *layers = prefixes[naming].layers;
	int n;

	if (!name)
		return false;
	if (role == MDL_W_HEAD)
		n = snprintf(dst, size, "%s%s", prefixes[naming].head, name);
	else if (mdl_role_scope(role) == MDL_SCOPE_GLOBAL)
		n = snprintf(dst, size, "%s%s", prefixes[naming].base, name);
	else if (mdl_role_scope(role) == MDL_SCOPE_LAYER || naming == MDL_NAMING_GGUF)
		n = snprintf(dst, size, "%s%" PRIu32 ".%s", layers, layer, name);
	else
		n = snprintf(dst, size, "%s%" PRIu32 ".mlp.experts.%" PRIu32 ".%s", layers, layer,
			     expert, name);
	LT_ASSERT(n > 0 && (size_t)n < size);
	return true;
}
