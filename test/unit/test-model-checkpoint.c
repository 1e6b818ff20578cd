/*
 * model/checkpoint.c: what an open checkpoint answers, and the published models' sizes from their
 * configurations alone. Spellings and malformed files: test/fault/.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/checkpoint.h"

static struct mdl *open_fixture(const char *name)
{
	char path[1024];
	struct lt_err err = {0};
	struct mdl *m;

	snprintf(path, sizeof(path), "%s/test/fixtures/%s", getenv("LT_SRCDIR"), name);
	if (mdl_open(path, &m, &err) < 0)
		fail_msg("%s", err.text);
	return m;
}

static void folder(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");
	const struct mdl_config *c = mdl_config(m);
	struct mdl_weight w, w1;

	(void)unused;
	assert_string_equal(mdl_format(m), "safetensors");
	assert_string_equal(mdl_name(m), "v3");
	assert_null(mdl_chat_template(m));
	assert_string_equal(c->family, "deepseek_v3");
	assert_int_equal(c->router, MDL_ROUTER_SIGMOID_BIASED);
	assert_int_equal(c->n_eos, 1);
	assert_int_equal(c->pad, -1);
	assert_true(mdl_weight_get(m, MDL_W_EMBED, 0, 0, &w));
	assert_int_equal(w.rows, c->vocab);
	assert_int_equal(w.cols, c->hidden);
	assert_int_equal(w.row_bytes, 2 * c->hidden);
	assert_string_equal(w.name, "model.embed_tokens.weight");
	/* Layer 0 is dense, 1 to 3 route. */
	assert_true(mdl_weight_get(m, MDL_W_FFN_DOWN, 0, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_FFN_DOWN, 1, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_ROUTER, 0, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_EXPERT_UP, 0, 0, &w));
	assert_true(mdl_weight_get(m, MDL_W_ROUTER_BIAS, 1, 0, &w));
	assert_int_equal(w.type, MDL_TYPE_F32);
	assert_int_equal(w.rows, 1);
	assert_true(mdl_weight_get(m, MDL_W_EXPERT_UP, 3, 15, &w));
	assert_string_equal(w.name, "model.layers.3.mlp.experts.15.up_proj.weight");
	assert_true(mdl_weight_get(m, MDL_W_EXPERT_UP, 3, 14, &w1));
	assert_ptr_not_equal(w.data, w1.data);
	assert_null(w.scale);
	/* Out of range, and what this format has not. */
	assert_false(mdl_weight_get(m, MDL_W_EXPERT_UP, 3, 16, &w));
	assert_false(mdl_weight_get(m, MDL_W_O, 4, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_COUNT, 0, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_Q, 0, 0, &w));
	assert_false(mdl_weight_get(m, MDL_W_K_B, 0, 0, &w));
	mdl_close(m);
	mdl_close(NULL);
}

static void fp8_scales(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3-fp8");
	struct mdl_weight w;

	(void)unused;
	assert_true(mdl_weight_get(m, MDL_W_KV_B, 2, 0, &w));
	assert_int_equal(w.type, MDL_TYPE_F8_E4M3);
	assert_int_equal(w.scale_type, MDL_TYPE_F32);
	assert_int_equal(w.block_rows, 128);
	assert_int_equal(w.block_cols, 128);
	assert_int_equal(w.scale_rows, 2); /* 160 rows */
	assert_int_equal(w.scale_cols, 1);
	mdl_close(m);
}

static void gguf(void **unused)
{
	struct mdl *m = open_fixture("gguf/IQ4_XS.gguf");
	const struct mdl_config *c = mdl_config(m);
	struct mdl_weight w, next;

	(void)unused;
	assert_string_equal(mdl_format(m), "gguf");
	assert_string_equal(mdl_name(m), "fixture");
	assert_false(mdl_weight_get(m, MDL_W_KV_B, 0, 0, &w));
	assert_true(mdl_weight_get(m, MDL_W_K_B, 0, 0, &w));
	assert_int_equal(w.rows, c->heads * c->kv_rank);
	assert_int_equal(w.cols, c->qk_nope);
	assert_true(mdl_weight_get(m, MDL_W_V_B, 0, 0, &w));
	assert_int_equal(w.rows, c->heads * c->v_head);
	assert_int_equal(w.cols, c->kv_rank);
	/* Experts lie one behind the other in one tensor. */
	assert_true(mdl_weight_get(m, MDL_W_EXPERT_DOWN, 1, 0, &w));
	assert_true(mdl_weight_get(m, MDL_W_EXPERT_DOWN, 1, 1, &next));
	assert_int_equal((const char *)next.data - (const char *)w.data, w.rows * w.row_bytes);
	assert_false(mdl_weight_get(m, MDL_W_EXPERT_DOWN, 1, c->experts, &next));
	assert_false(mdl_weight_get(m, MDL_W_EXPERT_DOWN, 0, 0, &next));
	mdl_close(m);
}

static void extra_token_module(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3-mtp");
	struct mdl_summary s;
	struct mdl_weight w;

	(void)unused;
	mdl_summarise(m, &s);
	assert_int_equal(mdl_config(m)->layers, 4);
	assert_int_equal(mdl_config(m)->nextn_layers, 1);
	assert_int_equal(s.tensors, 269);
	assert_int_equal(s.nextn_tensors, 68);
	assert_false(mdl_weight_get(m, MDL_W_ATTN_NORM, 4, 0, &w));
	mdl_close(m);
}

static void golden_tensors(void **unused)
{
	char path[1024];
	struct lt_err err = {0};
	struct mdl_safetensors *s;
	struct mdl_tensor t;

	(void)unused;
	snprintf(path, sizeof(path), "%s/test/fixtures/checkpoints/v3/golden.safetensors",
		 getenv("LT_SRCDIR"));
	assert_int_equal(mdl_safetensors_open(path, &s, &err), 0);
	assert_true(mdl_safetensors_get(s, "logits", &t));
	assert_int_equal(t.type, MDL_TYPE_F32);
	assert_int_equal(t.n_dims, 2);
	assert_int_equal(t.dims[0], 96);
	assert_int_equal(t.dims[1], 320);
	assert_int_equal(t.bytes, 96 * 320 * 4);
	assert_true(mdl_safetensors_get(s, "router_ids", &t));
	assert_int_equal(t.type, MDL_TYPE_I32);
	assert_int_equal(t.n_dims, 3);
	assert_false(mdl_safetensors_get(s, "logit", &t));
	mdl_safetensors_close(s);
	assert_int_equal(mdl_safetensors_open("/nonexistent", &s, &err), LT_ENOENT);
	assert_null(s);
	mdl_safetensors_close(NULL);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* Published configurations with their total and active parameters in billions (embedding table left
 * out of the active ones). */
static const struct published {
	const char *json;
	double total, active;
} published[] = {
	{"\"model_type\":\"deepseek_v2\",\"hidden_size\":2048,\"num_hidden_layers\":27,"
	 "\"num_attention_heads\":16,\"q_lora_rank\":null,\"intermediate_size\":10944,"
	 "\"moe_intermediate_size\":1408,\"n_routed_experts\":64,\"num_experts_per_tok\":6,"
	 "\"n_shared_experts\":2,\"first_k_dense_replace\":1,\"vocab_size\":102400",
	 15.71, 2.45},
	{"\"model_type\":\"deepseek_v2\",\"topk_method\":\"group_limited_greedy\","
	 "\"n_group\":8,\"topk_group\":3,\"hidden_size\":5120,\"num_hidden_layers\":60,"
	 "\"num_attention_heads\":128,\"q_lora_rank\":1536,\"intermediate_size\":12288,"
	 "\"moe_intermediate_size\":1536,\"n_routed_experts\":160,\"num_experts_per_tok\":6,"
	 "\"n_shared_experts\":2,\"first_k_dense_replace\":1,\"vocab_size\":102400",
	 235.74, 20.85},
	{"\"model_type\":\"deepseek_v3\",\"n_group\":8,\"topk_group\":4,\"hidden_size\":7168,"
	 "\"num_hidden_layers\":61,\"num_attention_heads\":128,\"q_lora_rank\":1536,"
	 "\"intermediate_size\":18432,\"moe_intermediate_size\":2048,\"n_routed_experts\":256,"
	 "\"num_experts_per_tok\":8,\"n_shared_experts\":1,\"first_k_dense_replace\":3,"
	 "\"vocab_size\":129280",
	 671.03, 36.63},
	{"\"model_type\":\"kimi_k2\",\"n_group\":1,\"topk_group\":1,\"hidden_size\":7168,"
	 "\"num_hidden_layers\":61,\"num_attention_heads\":64,\"q_lora_rank\":1536,"
	 "\"intermediate_size\":18432,\"moe_intermediate_size\":2048,\"n_routed_experts\":384,"
	 "\"num_experts_per_tok\":8,\"n_shared_experts\":1,\"first_k_dense_replace\":1,"
	 "\"vocab_size\":163840",
	 1026.4, 31.69},
	{"\"model_type\":\"glm4_moe_lite\",\"qk_nope_head_dim\":192,\"v_head_dim\":256,"
	 "\"hidden_size\":2048,\"num_hidden_layers\":47,\"num_attention_heads\":20,"
	 "\"q_lora_rank\":768,\"intermediate_size\":10240,\"moe_intermediate_size\":1536,"
	 "\"n_routed_experts\":64,\"num_experts_per_tok\":4,\"n_shared_experts\":1,"
	 "\"vocab_size\":154880",
	 29.94, 3.58},
};

static void published_sizes(void **unused)
{
	char dir[] = "/tmp/latentd-test-XXXXXX", path[64];
	struct mdl_summary s;
	struct mdl_weight w;
	struct lt_err err = {0};
	struct mdl *m;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/config.json", dir);
	for (size_t i = 0; i < sizeof(published) / sizeof(*published); i++) {
		FILE *f = fopen(path, "w");
		assert_non_null(f);
		fprintf(f,
			"{%s,%s\"qk_rope_head_dim\":64,\"kv_lora_rank\":512,"
			"\"max_position_embeddings\":4096}",
			published[i].json,
			strstr(published[i].json, "qk_nope")
				? ""
				: "\"qk_nope_head_dim\":128,\"v_head_dim\":128,");
		fclose(f);
		if (mdl_open_meta(dir, &m, &err) < 0)
			fail_msg("%s", err.text);
		mdl_summarise(m, &s);
		assert_true(fabs((double)s.params / 1e9 - published[i].total) <
			    1e-3 * published[i].total);
		assert_true(fabs((double)s.active_params / 1e9 - published[i].active) < 0.01);
		assert_int_equal(s.tensors, 0);
		assert_false(mdl_weight_get(m, MDL_W_EMBED, 0, 0, &w));
		mdl_close(m);
		/* With weights asked for there must be some. */
		assert_int_equal(mdl_open(dir, &m, &err), LT_ENOENT);
		assert_null(m);
		assert_non_null(strstr(err.text, "model.safetensors"));
		assert_int_equal(mdl_open(dir, &m, NULL), LT_ENOENT);
	}
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folder),	  cmocka_unit_test(fp8_scales),
		cmocka_unit_test(gguf),		  cmocka_unit_test(extra_token_module),
		cmocka_unit_test(golden_tensors), cmocka_unit_test(published_sizes),
	};

	return cmocka_run_group_tests_name("model checkpoint", tests, NULL, NULL);
}
