/*
 * GGUF metadata to struct mdl_config (architecture deepseek2). Three dialects exist: older files
 * give the width of a head in key_length, newer ones the width of the latent there and the head's
 * in key_length_mla. What old converters left out is filled in as the published models have it.
 */
#include "model/gguf-config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config-fields.h"

#define ARCH "deepseek2"

static int fail(const struct mdl_gguf *g, int code, struct lt_err *err, const char *what)
{
	return lt_fail(err, code, "%s: %s", mdl_gguf_file(g), what);
}

static bool string_is(const char *s, size_t n, const char *want)
{
	return strlen(want) == n && memcmp(s, want, n) == 0;
}

static int check_arch(const struct mdl_gguf *g, struct lt_err *err)
{
	const char *arch = NULL;
	size_t n = 0;
	int rc = mdl_gguf_string(g, "general.architecture", &arch, &n, err);

	if (rc < 0 || (arch && string_is(arch, n, ARCH)))
		return rc;
	if (!arch)
		return fail(g, LT_EFORMAT, err, "key general.architecture is missing");
	return lt_fail(err, LT_EUNSUPPORTED,
		       "%s: general.architecture %.*s is not supported; " ARCH " is",
		       mdl_gguf_file(g), n > 60 ? 60 : (int)n, arch);
}

static int read_fields(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	char key[80];

	for (size_t i = 0; i < mdl_config_n_fields; i++) {
		const struct mdl_config_field *f = &mdl_config_fields[i];
		uint32_t *v = mdl_config_at(c, f);
		int rc;
		if (!f->gguf)
			continue;
		snprintf(key, sizeof(key), ARCH ".%s", f->gguf);
		if (!mdl_gguf_has(g, key)) {
			/* The vocabulary has other sources, see read_vocab. */
			if (f->required && v != &c->vocab)
				return lt_fail(err, LT_EFORMAT, "%s: key %s is missing",
					       mdl_gguf_file(g), key);
			continue;
		}
		rc = mdl_gguf_u32(g, key, v, err);
		if (rc < 0)
			return rc;
		if (*v < f->min || *v > f->max)
			return lt_fail(err, LT_EFORMAT,
				       "%s: key %s is %" PRIu32 ", %" PRIu32 " to %" PRIu32
				       " are allowed",
				       mdl_gguf_file(g), key, *v, f->min, f->max);
	}
	return 0;
}

/* vocab_size, else the number of tokens, else the rows of the embedding. */
static int read_vocab(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	const struct mdl_dir *d = mdl_gguf_dir(g);
	const struct mdl_entry *e = mdl_dir_find(d, "token_embd.weight");
	struct mdl_gguf_array tokens;
	uint64_t dims[MDL_DIR_DIMS], n = c->vocab;
	int rc;

	if (n)
		return 0;
	rc = mdl_gguf_array(g, "tokenizer.ggml.tokens", MDL_GGUF_STRING, &tokens, err);
	if (rc < 0)
		return rc;
	n = tokens.left;
	if (n == 0 && e && e->n_dims == 2) {
		mdl_dir_dims(d, e, dims);
		n = dims[0];
	}
	if (n == 0 || n > 1u << 24)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key " ARCH ".vocab_size is missing and %" PRIu64
			       " tokens are listed, 1 to %u are allowed",
			       mdl_gguf_file(g), n, 1u << 24);
	c->vocab = (uint32_t)n;
	return 0;
}

/* Reads `key`_mla, or `key` itself in files that have no _mla. */
static int read_width(const struct mdl_gguf *g, const char *key, uint32_t *v, struct lt_err *err)
{
	char name[80];

	snprintf(name, sizeof(name), ARCH ".attention.%s_mla", key);
	if (!mdl_gguf_has(g, name))
		snprintf(name, sizeof(name), ARCH ".attention.%s", key);
	if (!mdl_gguf_has(g, name))
		return lt_fail(err, LT_EFORMAT, "%s: key %s is missing", mdl_gguf_file(g), name);
	return mdl_gguf_u32(g, name, v, err);
}

static int read_head(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	uint32_t key = 0;
	int rc = read_width(g, "key_length", &key, err);

	if (rc == 0)
		rc = read_width(g, "value_length", &c->v_head, err);
	if (rc < 0)
		return rc;
	if (key <= c->qk_rope || key - c->qk_rope > 1024)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key_length %" PRIu32 " with rope.dimension_count %" PRIu32
			       "; 1 to 1024 more are allowed",
			       mdl_gguf_file(g), key, c->qk_rope);
	c->qk_nope = key - c->qk_rope;
	if (c->v_head == 0 || c->v_head > 1024)
		return lt_fail(err, LT_EFORMAT,
			       "%s: value_length %" PRIu32 ", 1 to 1024 are allowed",
			       mdl_gguf_file(g), c->v_head);
	return 0;
}

static bool has_layer_tensor(const struct mdl_gguf *g, uint32_t layer, const char *name)
{
	char full[80];

	snprintf(full, sizeof(full), "blk.%" PRIu32 ".%s", layer, name);
	return mdl_dir_find(mdl_gguf_dir(g), full) != NULL;
}

/* block_count counts the extra-token layers too, unless the converter left them out. Lite models
 * have no compressed queries, whatever the key says. */
static int settle_layers(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	uint32_t n = 0;

	if (c->nextn_layers >= c->layers)
		return lt_fail(err, LT_EFORMAT,
			       "%s: nextn_predict_layers %" PRIu32 " of block_count %" PRIu32
			       " layers",
			       mdl_gguf_file(g), c->nextn_layers, c->layers);
	while (n < c->nextn_layers && has_layer_tensor(g, c->layers - 1, "nextn.eh_proj.weight")) {
		c->layers--;
		n++;
	}
	c->nextn_layers = n;
	if (has_layer_tensor(g, 0, "attn_q.weight"))
		c->q_rank = 0;
	return 0;
}

static int read_gating(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	static const char key[] = ARCH ".expert_gating_func";
	uint32_t gating = 0;
	int rc = mdl_gguf_u32(g, key, &gating, err);

	if (rc < 0)
		return rc;
	if (gating > 2)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: key %s is %" PRIu32
			       "; 1 (softmax) and 2 (sigmoid) are supported",
			       mdl_gguf_file(g), key, gating);
	if (gating == 0) { /* old files: the bias, and that family, come with the sigmoid */
		bool flash = c->vocab == 154880 && (c->layers == 47 || c->layers == 48);
		gating = flash || has_layer_tensor(g, c->first_dense, "exp_probs_b.bias") ? 2 : 1;
	}
	c->router = gating == 2 ? MDL_ROUTER_SIGMOID_BIASED : MDL_ROUTER_SOFTMAX_GREEDY;
	return 0;
}

static int read_router(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	double scale = 1;
	int rc = read_gating(g, c, err);

	if (rc == 0 && c->experts && !mdl_gguf_has(g, ARCH ".expert_shared_count"))
		return fail(g, LT_EFORMAT, err, "key " ARCH ".expert_shared_count is missing");
	if (rc == 0)
		rc = mdl_gguf_f64(g, ARCH ".expert_weights_scale", &scale, err);
	if (rc == 0)
		rc = mdl_gguf_bool(g, ARCH ".expert_weights_norm", &c->norm_topk, err);
	if (rc < 0)
		return rc;
	c->routed_scale = scale == 0 ? 1 : (float)scale; /* 0: the converter's word for none */
	if (!mdl_gguf_has(g, ARCH ".expert_group_count") && c->experts == 256 &&
	    c->router == MDL_ROUTER_SIGMOID_BIASED) {
		c->groups = 8; /* V3, R1 */
		c->groups_used = 4;
	} else if (!mdl_gguf_has(g, ARCH ".expert_group_count") && c->experts == 160 &&
		   c->router == MDL_ROUTER_SOFTMAX_GREEDY) {
		c->groups = 8; /* V2 */
		c->groups_used = 3;
	}
	if (c->groups == 0)
		c->groups = 1;
	if (c->groups == 1)
		c->groups_used = 1;
	if (c->router == MDL_ROUTER_SOFTMAX_GREEDY && c->groups > 1)
		c->router = MDL_ROUTER_SOFTMAX_GROUPS;
	return 0;
}

static int read_yarn(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	double log_mul = 0;
	int rc;

	if (!mdl_gguf_has(g, ARCH ".rope.scaling.factor"))
		return fail(g, LT_EFORMAT, err, "key " ARCH ".rope.scaling.factor is missing");
	if (!mdl_gguf_has(g, ARCH ".rope.scaling.original_context_length"))
		return fail(g, LT_EFORMAT, err,
			    "key " ARCH ".rope.scaling.original_context_length is missing");
	rc = mdl_gguf_f64(g, ARCH ".rope.scaling.factor", &c->yarn_factor, err);
	if (rc == 0)
		rc = mdl_gguf_u32(g, ARCH ".rope.scaling.original_context_length",
				  &c->yarn_original, err);
	if (rc == 0)
		rc = mdl_gguf_f64(g, ARCH ".rope.scaling.yarn_log_multiplier", &log_mul, err);
	if (c->experts == 384) /* Kimi K2, whose 1 converters did not write */
		c->yarn_beta_fast = 1;
	if (rc == 0)
		rc = mdl_gguf_f64(g, ARCH ".rope.scaling.yarn_beta_fast", &c->yarn_beta_fast, err);
	if (rc == 0)
		rc = mdl_gguf_f64(g, ARCH ".rope.scaling.yarn_beta_slow", &c->yarn_beta_slow, err);
	c->yarn_mscale = c->yarn_mscale_all_dim = 10 * log_mul;
	return rc;
}

static int read_rope(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	const char *type = NULL;
	size_t n = 0;
	double factor = 1;
	int rc = mdl_gguf_f64(g, ARCH ".rope.freq_base", &c->rope_theta, err);

	if (rc == 0)
		rc = mdl_gguf_string(g, ARCH ".rope.scaling.type", &type, &n, err);
	if (rc == 0)
		rc = mdl_gguf_f64(g, ARCH ".rope.scaling.factor", &factor, err);
	if (rc < 0)
		return rc;
	if (type && string_is(type, n, "yarn"))
		return read_yarn(g, c, err);
	if ((type && string_is(type, n, "none")) || (!type && factor == 1))
		return 0;
	return lt_fail(err, LT_EUNSUPPORTED,
		       "%s: key " ARCH ".rope.scaling.type %.*s is not supported; yarn and none "
		       "are",
		       mdl_gguf_file(g), type ? (n > 40 ? 40 : (int)n) : 9,
		       type ? type : "(missing)");
}

static int read_id(const struct mdl_gguf *g, const char *key, int32_t *out, struct lt_err *err)
{
	uint32_t v = UINT32_MAX;
	int rc = mdl_gguf_u32(g, key, &v, err);

	if (rc == 0 && v != UINT32_MAX && v > INT32_MAX)
		return lt_fail(err, LT_EFORMAT, "%s: key %s is %" PRIu32 ", a token id is needed",
			       mdl_gguf_file(g), key, v);
	*out = v == UINT32_MAX ? -1 : (int32_t)v;
	return rc;
}

static int read_ids(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
					   "tokenizer.ggml.eot_token_id",
					   "tokenizer.ggml.eom_token_id"};
	int rc = read_id(g, "tokenizer.ggml.bos_token_id", &c->bos, err);

	if (rc == 0)
		rc = read_id(g, "tokenizer.ggml.padding_token_id", &c->pad, err);
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends) && rc == 0; i++) {
		int32_t id = -1;
		rc = read_id(g, ends[i], &id, err);
		if (rc == 0)
			rc = mdl_config_add_eos(c, mdl_gguf_file(g), id, err);
	}
	return rc;
}

/* The nearest of the published families, for display. */
static void name_family(struct mdl_config *c)
{
	const char *name = "deepseek_v2";

	if (c->router == MDL_ROUTER_SIGMOID_BIASED)
		name = c->experts == 384    ? "kimi_k2"
		       : c->vocab == 154880 ? "glm4_moe_lite"
					    : "deepseek_v3";
	snprintf(c->family, sizeof(c->family), "%s", name);
}

int mdl_gguf_config(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err)
{
	static const char eps_key[] = ARCH ".attention.layer_norm_rms_epsilon";
	double eps = 0;
	int rc;

	mdl_config_init(c);
	rc = check_arch(g, err);
	if (rc == 0)
		rc = read_fields(g, c, err);
	if (rc == 0)
		rc = read_vocab(g, c, err);
	if (rc == 0)
		rc = read_head(g, c, err);
	if (rc == 0)
		rc = settle_layers(g, c, err);
	if (rc == 0)
		rc = read_router(g, c, err);
	if (rc == 0)
		rc = read_rope(g, c, err);
	if (rc == 0 && !mdl_gguf_has(g, eps_key))
		return lt_fail(err, LT_EFORMAT, "%s: key %s is missing", mdl_gguf_file(g), eps_key);
	if (rc == 0)
		rc = mdl_gguf_f64(g, eps_key, &eps, err);
	c->rms_eps = (float)eps;
	if (rc == 0)
		rc = read_ids(g, c, err);
	if (rc < 0)
		return rc;
	name_family(c);
	return mdl_config_check(c, mdl_gguf_file(g), err);
}
