/*
 * config.json to struct mdl_config. Keys have had several spellings over the years; each function
 * below settles one topic. Anything that would change the forward pass and is not implemented is
 * refused by name rather than ignored.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config-fields.h"
#include "model/hf.h"
#include "model/json.h"

#define MAX_CONFIG (1u << 20)

static const char *const families[] = {"deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite"};

/* The configuration of the language model, and the whole file (the same unless nested). */
struct source {
	struct mdl_json text, top;
};

/* --- family ----------------------------------------------------------------------------------- */

static int read_family(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	const char *type = NULL;
	int rc = mdl_json_string(&s->text, "model_type", &type, err);

	if (rc == 0 && !type)
		rc = mdl_json_string(&s->top, "model_type", &type, err);
	if (rc < 0)
		return rc;
	if (!type)
		return lt_fail(err, LT_EFORMAT, "%s: model_type is missing", s->text.file);
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
		if (strcmp(type, families[i]) == 0) {
			snprintf(c->family, sizeof(c->family), "%s", type);
			return 0;
		}
	}
	return lt_fail(err, LT_EUNSUPPORTED,
		       "%s: model_type %.60s is not supported; deepseek_v2, deepseek_v3, kimi_k2 "
		       "and glm4_moe_lite are",
		       s->text.file, type);
}

static bool is_family(const struct mdl_config *c, const char *name)
{
	return strcmp(c->family, name) == 0;
}

/* --- sizes ------------------------------------------------------------------------------------ */

static int read_fields(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	for (size_t i = 0; i < mdl_config_n_fields; i++) {
		const struct mdl_config_field *f = &mdl_config_fields[i];
		const cJSON *item;
		int64_t v;
		int rc = mdl_json_get(&s->text, f->hf, &item, err);
		if (rc < 0)
			return rc;
		if (!item && f->required)
			return lt_fail(err, LT_EFORMAT, "%s: %s is missing", s->text.file, f->hf);
		if (!item)
			continue;
		rc = mdl_json_int_of(&s->text, f->hf, item, f->min, f->max, &v, err);
		if (rc < 0)
			return rc;
		*mdl_config_at(c, f) = (uint32_t)v;
	}
	if (c->groups == 0)
		c->groups = 1;
	if (c->groups_used == 0)
		c->groups_used = 1;
	return 0;
}

/* mlp_layer_types lists "dense" or "sparse" for each layer; the forward pass knows runs of dense
 * layers before sparse ones. */
static int read_layer_types(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	const cJSON *list, *item, *given;
	uint32_t i = 0, dense = 0;
	int rc = mdl_json_array(&s->text, "mlp_layer_types", &list, err);

	if (rc == 0)
		rc = mdl_json_get(&s->text, "first_k_dense_replace", &given, err);
	if (rc < 0)
		return rc;
	if (!list) {
		if (!given && is_family(c, "glm4_moe_lite")) /* that family's own default */
			c->first_dense = 1;
		return 0;
	}
	cJSON_ArrayForEach(item, list)
	{
		bool is_dense = cJSON_IsString(item) && strcmp(item->valuestring, "dense") == 0;
		if (!is_dense &&
		    !(cJSON_IsString(item) && strcmp(item->valuestring, "sparse") == 0))
			return lt_fail(err, LT_EFORMAT,
				       "%s: mlp_layer_types holds something else than \"dense\" "
				       "and \"sparse\"",
				       s->text.file);
		if (i < c->layers && is_dense && dense < i)
			return lt_fail(err, LT_EUNSUPPORTED,
				       "%s: mlp_layer_types has a dense layer after a sparse one, "
				       "which is not supported",
				       s->text.file);
		dense += i < c->layers && is_dense;
		i++;
	}
	if (i < c->layers)
		return lt_fail(err, LT_EFORMAT,
			       "%s: mlp_layer_types has %" PRIu32 " entries for %" PRIu32 " layers",
			       s->text.file, i, c->layers);
	if (given && c->first_dense != dense)
		return lt_fail(err, LT_EFORMAT,
			       "%s: first_k_dense_replace is %" PRIu32
			       ", mlp_layer_types begins with %" PRIu32 " dense layers",
			       s->text.file, c->first_dense, dense);
	c->first_dense = dense;
	return 0;
}

/* --- router ----------------------------------------------------------------------------------- */

static int read_router(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	bool v2 = is_family(c, "deepseek_v2");
	const char *score = v2 ? "softmax" : "sigmoid";
	const char *method = v2 ? "greedy" : "noaux_tc";
	double scale = 1;
	int rc;

	c->norm_topk = !v2;
	rc = mdl_json_string(&s->text, "scoring_func", &score, err);
	if (rc == 0)
		rc = mdl_json_string(&s->text, "topk_method", &method, err);
	if (rc == 0)
		rc = mdl_json_bool(&s->text, "norm_topk_prob", &c->norm_topk, err);
	if (rc == 0)
		rc = mdl_json_f64(&s->text, "routed_scaling_factor", &scale, err);
	if (rc < 0)
		return rc;
	c->routed_scale = (float)scale;
	if (strcmp(score, "softmax") == 0 && strcmp(method, "greedy") == 0) {
		c->router = MDL_ROUTER_SOFTMAX_GREEDY;
		c->groups = c->groups_used = 1; /* this method looks at no groups */
	} else if (strcmp(score, "softmax") == 0 && strcmp(method, "group_limited_greedy") == 0) {
		c->router = MDL_ROUTER_SOFTMAX_GROUPS;
	} else if (strcmp(score, "sigmoid") == 0 && strcmp(method, "noaux_tc") == 0) {
		c->router = MDL_ROUTER_SIGMOID_BIASED;
	} else {
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: scoring_func %.40s with topk_method %.40s is not supported; "
			       "softmax with greedy or group_limited_greedy and sigmoid with "
			       "noaux_tc are",
			       s->text.file, score, method);
	}
	return 0;
}

/* --- positions -------------------------------------------------------------------------------- */

static int require_f64(const struct mdl_json *j, const char *key, double *v, struct lt_err *err)
{
	int rc;

	*v = NAN;
	rc = mdl_json_f64(j, key, v, err);
	if (rc == 0 && isnan(*v))
		rc = lt_fail(err, LT_EFORMAT, "%s: %s is missing", j->file, key);
	return rc;
}

static double yarn_m(double factor, double a)
{
	return factor > 1 ? 0.1 * a * log(factor) + 1 : 1;
}

/* attention_factor overrides the amplitude that the mscales give: only the same value is fine. */
static int check_amplitude(const struct mdl_json *j, const struct mdl_config *c, struct lt_err *err)
{
	double want = yarn_m(c->yarn_factor, c->yarn_mscale) /
		      yarn_m(c->yarn_factor, c->yarn_mscale_all_dim);
	double given = want;
	int rc = mdl_json_f64(j, "attention_factor", &given, err);

	if (rc == 0 && !(fabs(given - want) <= 1e-6))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: attention_factor %g is not supported; %g follows from mscale",
			       j->file, given, want);
	return rc;
}

static int read_yarn(const struct mdl_json *j, struct mdl_config *c, struct lt_err *err)
{
	int64_t original = c->max_positions;
	bool truncate = true;
	int rc = require_f64(j, "factor", &c->yarn_factor, err);

	c->yarn_mscale = 1;
	if (rc == 0)
		rc = mdl_json_int(j, "original_max_position_embeddings", 1, 1 << 24, &original,
				  err);
	if (rc == 0)
		rc = mdl_json_f64(j, "beta_fast", &c->yarn_beta_fast, err);
	if (rc == 0)
		rc = mdl_json_f64(j, "beta_slow", &c->yarn_beta_slow, err);
	if (rc == 0)
		rc = mdl_json_f64(j, "mscale", &c->yarn_mscale, err);
	if (rc == 0)
		rc = mdl_json_f64(j, "mscale_all_dim", &c->yarn_mscale_all_dim, err);
	if (rc == 0)
		rc = mdl_json_bool(j, "truncate", &truncate, err);
	if (rc < 0)
		return rc;
	if (!truncate)
		return lt_fail(err, LT_EUNSUPPORTED, "%s: truncate false is not supported",
			       j->file);
	c->yarn_original = (uint32_t)original;
	return check_amplitude(j, c, err);
}

/* rope_parameters (new) or rope_scaling (old); the kind stands in rope_type (new) or type. */
static int read_rope(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	struct mdl_json j = {"config.json: rope_scaling", NULL};
	const char *type = NULL;
	double partial = 1;
	int rc = mdl_json_f64(&s->text, "rope_theta", &c->rope_theta, err);

	if (rc == 0)
		rc = mdl_json_object(&s->text, "rope_scaling", &j.obj, err);
	if (rc == 0 && !j.obj) {
		j.file = "config.json: rope_parameters";
		rc = mdl_json_object(&s->text, "rope_parameters", &j.obj, err);
	}
	if (rc == 0)
		rc = mdl_json_f64(&s->text, "partial_rotary_factor", &partial, err);
	if (rc == 0 && j.obj)
		rc = mdl_json_f64(&j, "partial_rotary_factor", &partial, err);
	if (rc == 0 && partial != 1)
		rc = lt_fail(err, LT_EUNSUPPORTED,
			     "%s: partial_rotary_factor %g is not supported, 1 is", s->text.file,
			     partial);
	if (rc < 0 || !j.obj)
		return rc;
	rc = mdl_json_f64(&j, "rope_theta", &c->rope_theta, err);
	if (rc == 0)
		rc = mdl_json_string(&j, "type", &type, err);
	if (rc == 0)
		rc = mdl_json_string(&j, "rope_type", &type, err);
	if (rc < 0)
		return rc;
	if (type && strcmp(type, "yarn") == 0)
		return read_yarn(&j, c, err);
	if (type ? strcmp(type, "default") == 0
		 : !cJSON_GetObjectItemCaseSensitive(j.obj, "factor"))
		return 0;
	return lt_fail(err, LT_EUNSUPPORTED,
		       "%s: rope_type %.40s is not supported; yarn and default are", j.file,
		       type ? type : "(missing)");
}

/* --- the rest --------------------------------------------------------------------------------- */

/* Switches that change the forward pass: only the value that all four families have. */
static int refuse_variants(const struct source *s, struct lt_err *err)
{
	static const struct {
		const char *key;
		bool allowed;
	} flags[] = {{"attention_bias", false}, {"mlp_bias", false}, {"rope_interleave", true}};
	const char *act = "silu";
	int rc = mdl_json_string(&s->text, "hidden_act", &act, err);

	if (rc == 0 && strcmp(act, "silu") != 0)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: hidden_act %.40s is not supported; silu is", s->text.file, act);
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && rc == 0; i++) {
		bool v = flags[i].allowed;
		rc = mdl_json_bool(&s->text, flags[i].key, &v, err);
		if (rc == 0 && v != flags[i].allowed)
			return lt_fail(err, LT_EUNSUPPORTED, "%s: %s %s is not supported",
				       s->text.file, flags[i].key, v ? "true" : "false");
	}
	return rc;
}

/* A token id of the language model's part, else of the whole file. */
static int read_id(const struct source *s, const char *key, int32_t *out, struct lt_err *err)
{
	int64_t v = -1;
	int rc = mdl_json_int(&s->top, key, INT32_MIN, INT32_MAX, &v, err);

	if (rc == 0 && s->text.obj != s->top.obj)
		rc = mdl_json_int(&s->text, key, INT32_MIN, INT32_MAX, &v, err);
	*out = v < 0 ? -1 : (int32_t)v;
	return rc;
}

/* eos_token_id: one number or a list. */
static int add_eos(const struct mdl_json *j, struct mdl_config *c, struct lt_err *err)
{
	const cJSON *item, *one;
	int64_t v;
	int rc = mdl_json_get(j, "eos_token_id", &item, err);

	if (rc < 0 || !item)
		return rc;
	if (!cJSON_IsArray(item)) {
		rc = mdl_json_int_of(j, "eos_token_id", item, INT32_MIN, INT32_MAX, &v, err);
		return rc < 0 ? rc : mdl_config_add_eos(c, j->file, v, err);
	}
	cJSON_ArrayForEach(one, item)
	{
		rc = mdl_json_int_of(j, "eos_token_id", one, INT32_MIN, INT32_MAX, &v, err);
		if (rc == 0)
			rc = mdl_config_add_eos(c, j->file, v, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_ids(const struct source *s, struct mdl_config *c, struct lt_err *err)
{
	int rc = read_id(s, "bos_token_id", &c->bos, err);

	if (rc == 0)
		rc = read_id(s, "pad_token_id", &c->pad, err);
	if (rc == 0)
		rc = add_eos(&s->text, c, err);
	if (rc == 0 && s->text.obj != s->top.obj)
		rc = add_eos(&s->top, c, err);
	return rc;
}

/* Chat models often end a turn with a token that only generation_config.json names. */
static int read_generation_config(const char *dir, struct mdl_config *c, struct lt_err *err)
{
	struct mdl_json j = {"generation_config.json", NULL};
	struct lt_err own = {0};
	cJSON *root;
	int rc = mdl_json_load(dir, j.file, MAX_CONFIG, &root, &own);

	if (rc == LT_ENOENT)
		return 0;
	if (rc < 0)
		return lt_fail(err, rc, "%s", own.text);
	j.obj = root;
	rc = add_eos(&j, c, err);
	cJSON_Delete(root);
	return rc;
}

static int read_block_size(const struct mdl_json *j, struct mdl_hf_facts *q, struct lt_err *err)
{
	static const char key[] = "weight_block_size";
	const cJSON *list;
	int64_t rows, cols;
	int rc = mdl_json_array(j, key, &list, err);

	if (rc < 0)
		return rc;
	if (!list)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: fp8 without weight_block_size is not supported", j->file);
	if (cJSON_GetArraySize(list) != 2)
		return lt_fail(err, LT_EFORMAT, "%s: %s must be two numbers, rows and columns",
			       j->file, key);
	rc = mdl_json_int_of(j, key, list->child, 1, 1 << 20, &rows, err);
	if (rc == 0)
		rc = mdl_json_int_of(j, key, list->child->next, 1, 1 << 20, &cols, err);
	if (rc == 0) {
		q->block_rows = (uint32_t)rows;
		q->block_cols = (uint32_t)cols;
	}
	return rc;
}

static int read_quant(const struct source *s, struct mdl_hf_facts *q, struct lt_err *err)
{
	struct mdl_json j = {"config.json: quantization_config", NULL};
	const char *method = NULL, *fmt = "e4m3";
	int rc = mdl_json_object(&s->text, "quantization_config", &j.obj, err);

	if (rc == 0 && !j.obj)
		rc = mdl_json_object(&s->top, "quantization_config", &j.obj, err);
	if (rc < 0 || !j.obj)
		return rc;
	rc = mdl_json_string(&j, "quant_method", &method, err);
	if (rc == 0 && !method)
		rc = lt_fail(err, LT_EFORMAT, "%s: quant_method is missing", j.file);
	if (rc == 0 && strcmp(method, "fp8") != 0)
		rc = lt_fail(err, LT_EUNSUPPORTED,
			     "%s: quant_method %.60s is not supported; fp8 is", j.file, method);
	if (rc == 0)
		rc = mdl_json_string(&j, "fmt", &fmt, err);
	if (rc == 0 && strcmp(fmt, "e4m3") != 0)
		rc = lt_fail(err, LT_EUNSUPPORTED, "%s: fmt %.40s is not supported; e4m3 is",
			     j.file, fmt);
	return rc < 0 ? rc : read_block_size(&j, q, err);
}

static int read_all(const struct source *s, struct mdl_config *c, struct mdl_hf_facts *q,
		    struct lt_err *err)
{
	double eps = c->rms_eps;
	int rc = read_family(s, c, err);

	if (rc == 0)
		rc = refuse_variants(s, err);
	if (rc == 0)
		rc = read_quant(s, q, err);
	if (rc == 0)
		rc = read_fields(s, c, err);
	if (rc == 0)
		rc = read_layer_types(s, c, err);
	if (rc == 0)
		rc = read_router(s, c, err);
	if (rc == 0)
		rc = mdl_json_f64(&s->text, "rms_norm_eps", &eps, err);
	c->rms_eps = (float)eps;
	if (rc == 0)
		rc = read_rope(s, c, err);
	if (rc == 0)
		rc = mdl_json_bool(&s->top, "tie_word_embeddings", &q->tied, err);
	if (rc == 0 && s->text.obj != s->top.obj)
		rc = mdl_json_bool(&s->text, "tie_word_embeddings", &q->tied, err);
	return rc < 0 ? rc : read_ids(s, c, err);
}

int mdl_hf_config(const char *dir, struct mdl_config *c, struct mdl_hf_facts *q, struct lt_err *err)
{
	struct source s = {{"config.json", NULL}, {"config.json", NULL}};
	const cJSON *nested;
	cJSON *root;
	int rc = mdl_json_load(dir, "config.json", MAX_CONFIG, &root, err);

	if (rc < 0)
		return rc;
	mdl_config_init(c);
	memset(q, 0, sizeof(*q));
	s.top.obj = s.text.obj = root;
	rc = mdl_json_object(&s.top, "text_config", &nested, err);
	if (rc == 0 && nested) {
		s.text.obj = nested;
		s.text.file = "config.json: text_config";
	}
	if (rc == 0)
		rc = read_all(&s, c, q, err);
	cJSON_Delete(root);
	if (rc == 0)
		rc = mdl_config_check(c, "config.json", err);
	return rc < 0 ? rc : read_generation_config(dir, c, err);
}
