/*
 * Binding roles to tensors: finds each matrix of the forward pass by name and checks type, shape
 * and FP8 scales. The first fault ends the opening, with file, tensor and reason.
 */
#include "model/bind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NAME_SIZE 128

struct mdl_binding *mdl_binding(const struct mdl *m, enum mdl_role role, uint32_t layer,
				uint32_t expert)
{
	const struct mdl_config *c = &m->cfg;
	size_t at;

	if (mdl_role_scope(role) == MDL_SCOPE_GLOBAL)
		return (struct mdl_binding *)(uintptr_t)&m->globals[role];
	if (mdl_role_scope(role) == MDL_SCOPE_LAYER || m->naming == MDL_NAMING_GGUF)
		return &m->layers[layer][role];
	if (!mdl_layer_is_moe(c, layer))
		return NULL;
	at = m->moe_index[layer];
	return &m->experts[(at * c->experts + expert) * 3 + (role - MDL_W_EXPERT_GATE)];
}

/* --- one tensor ------------------------------------------------------------------------------- */

static int fail_tensor(const struct mdl *m, const struct mdl_entry *e, int code, struct lt_err *err,
		       const char *what)
{
	return lt_fail(err, code, "%s: tensor %s: %s", mdl_dir_file(m->dir, e),
		       mdl_dir_name(m->dir, e), what);
}

static int check_type(const struct mdl *m, const struct mdl_entry *e, bool vector,
		      struct lt_err *err)
{
	enum mdl_type t = (enum mdl_type)e->type;

	if (t == MDL_TYPE_F32 || t == MDL_TYPE_F16 || t == MDL_TYPE_BF16)
		return 0;
	if (vector)
		return fail_tensor(m, e, LT_EUNSUPPORTED, err,
				   "its dtype is not supported for a vector; F32, F16 and BF16 "
				   "are");
	if (!mdl_type_is_weight(t))
		return fail_tensor(m, e, LT_EUNSUPPORTED, err,
				   "its dtype is not supported for a weight; F32, F16, BF16 and "
				   "F8_E4M3 are");
	if (t == MDL_TYPE_F8_E4M3 && m->block_rows == 0)
		return fail_tensor(m, e, LT_EFORMAT, err,
				   "dtype F8_E4M3, but config.json has no quantization_config "
				   "with weight_block_size");
	return 0;
}

/* Writes "[a, b, c]". */
static void shape_text(const uint64_t *dims, uint32_t n, char *dst, size_t size)
{
	size_t at = (size_t)snprintf(dst, size, "[");

	for (uint32_t i = 0; i < n && at < size; i++)
		at += (size_t)snprintf(dst + at, size - at, "%s%" PRIu64, i ? ", " : "", dims[i]);
	if (at < size)
		snprintf(dst + at, size - at, "]");
}

static int check_shape(const struct mdl *m, const struct mdl_entry *e, const uint64_t *want,
		       uint32_t n_want, struct lt_err *err)
{
	uint64_t dims[MDL_DIR_DIMS];
	uint32_t n = e->n_dims, skip = 0;
	char have_text[200], want_text[100];

	mdl_dir_dims(m->dir, e, dims);
	/* GGUF drops or keeps outer dimensions of 1 as it likes. */
	if (m->naming == MDL_NAMING_GGUF) {
		while (n - skip > 1 && dims[skip] == 1)
			skip++;
		while (n_want > 1 && *want == 1) {
			want++;
			n_want--;
		}
	}
	if (n - skip == n_want && memcmp(dims + skip, want, n_want * sizeof(*want)) == 0)
		return 0;
	shape_text(dims, n, have_text, sizeof(have_text));
	shape_text(want, n_want, want_text, sizeof(want_text));
	return lt_fail(err, LT_EFORMAT, "%s: tensor %s: shape %s, the configuration calls for %s",
		       mdl_dir_file(m->dir, e), mdl_dir_name(m->dir, e), have_text, want_text);
}

/* The shape in the file: vectors have one dimension, GGUF's experts three, its K_B and V_B three
 * (mainline) or two (ik_llama). */
static int check_role_shape(const struct mdl *m, const struct mdl_entry *e, enum mdl_role role,
			    struct lt_err *err)
{
	uint32_t rows, cols;
	uint64_t want[3];

	mdl_role_shape(&m->cfg, role, &rows, &cols);
	want[0] = rows;
	want[1] = cols;
	if (mdl_role_is_vector(role))
		return check_shape(m, e, want + 1, 1, err);
	if (m->naming == MDL_NAMING_GGUF && mdl_role_scope(role) == MDL_SCOPE_EXPERT) {
		want[0] = m->cfg.experts;
		want[1] = rows;
		want[2] = cols;
		return check_shape(m, e, want, 3, err);
	}
	if ((role == MDL_W_K_B || role == MDL_W_V_B) && e->n_dims != 2) {
		want[0] = m->cfg.heads;
		want[1] = rows / m->cfg.heads;
		want[2] = cols;
		return check_shape(m, e, want, 3, err);
	}
	return check_shape(m, e, want, 2, err);
}

/* Every scale must be a positive finite number; zero or NaN means a damaged file. */
static bool scales_fine(const unsigned char *b, enum mdl_type type, size_t n)
{
	uint32_t bad = 0, u32;
	uint16_t u16;

	switch (type) {
	case MDL_TYPE_F32:
		for (size_t i = 0; i < n; i++) {
			memcpy(&u32, b + 4 * i, 4);
			bad |= u32 - 1 >= 0x7f800000 - 1;
		}
		break;
	case MDL_TYPE_BF16:
		for (size_t i = 0; i < n; i++) {
			memcpy(&u16, b + 2 * i, 2);
			bad |= (uint32_t)u16 - 1 >= 0x7f80 - 1;
		}
		break;
	default:
		for (size_t i = 0; i < n; i++)
			bad |= b[i] == 0xff;
	}
	return !bad;
}

static int bind_scale(struct mdl *m, const struct mdl_entry *e, enum mdl_role role,
		      struct mdl_binding *b, struct lt_err *err)
{
	char name[NAME_SIZE + 16];
	const struct mdl_entry *s;
	uint32_t rows, cols;
	uint64_t want[2];
	int rc;

	snprintf(name, sizeof(name), "%s_scale_inv", mdl_dir_name(m->dir, e));
	s = mdl_dir_find(m->dir, name);
	if (!s)
		return lt_fail(err, LT_EFORMAT, "%s: tensor %s is missing (scales of %s)",
			       mdl_dir_file(m->dir, e), name, mdl_dir_name(m->dir, e));
	if (s->type != MDL_TYPE_F32 && s->type != MDL_TYPE_BF16 && s->type != MDL_TYPE_U8)
		return fail_tensor(m, s, LT_EUNSUPPORTED, err,
				   "its dtype is not supported for scales; F32, BF16 and U8 "
				   "(E8M0) are");
	mdl_role_shape(&m->cfg, role, &rows, &cols);
	want[0] = mdl_blocks(rows, m->block_rows);
	want[1] = mdl_blocks(cols, m->block_cols);
	rc = check_shape(m, s, want, 2, err);
	if (rc < 0)
		return rc;
	if (!scales_fine(mdl_dir_data(m->dir, s), (enum mdl_type)s->type,
			 (size_t)want[0] * (size_t)want[1]))
		return fail_tensor(m, s, LT_EFORMAT, err,
				   "a scale is zero, negative or not finite: the file is damaged");
	b->scale = (uint32_t)(s - m->dir->entries) + 1;
	return 0;
}

/* Binds one role; a tensor that is not there leaves the binding empty. */
static int bind_if_there(struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
			 struct lt_err *err)
{
	struct mdl_binding *b = mdl_binding(m, role, layer, expert);
	char name[NAME_SIZE];
	const struct mdl_entry *e;
	int rc;

	if (!mdl_role_name(m->naming, role, layer, expert, name, sizeof(name)))
		return 0;
	e = mdl_dir_find(m->dir, name);
	if (!e)
		return 0;
	rc = check_type(m, e, mdl_role_is_vector(role), err);
	if (rc == 0)
		rc = check_role_shape(m, e, role, err);
	if (rc == 0 && e->type == MDL_TYPE_F8_E4M3)
		rc = bind_scale(m, e, role, b, err);
	if (rc == 0)
		b->tensor = (uint32_t)(e - m->dir->entries) + 1;
	return rc;
}

static int fail_missing(const struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
			struct lt_err *err)
{
	char name[NAME_SIZE];

	mdl_role_name(m->naming, role, layer, expert, name, sizeof(name));
	return lt_fail(err, LT_EFORMAT, "%s: tensor %s is missing", m->dir->files[0].name, name);
}

static int bind_needed(struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
		       struct lt_err *err)
{
	int rc = bind_if_there(m, role, layer, expert, err);

	if (rc == 0 && !mdl_binding(m, role, layer, expert)->tensor)
		return fail_missing(m, role, layer, expert, err);
	return rc;
}

/* --- groups of tensors ------------------------------------------------------------------------ */

static int bind_globals(struct mdl *m, struct lt_err *err)
{
	int rc = bind_needed(m, MDL_W_EMBED, 0, 0, err);

	if (rc == 0)
		rc = bind_needed(m, MDL_W_OUT_NORM, 0, 0, err);
	if (rc == 0 && !m->tied)
		rc = bind_if_there(m, MDL_W_HEAD, 0, 0, err);
	if (rc < 0 || m->globals[MDL_W_HEAD].tensor)
		return rc;
	if (!m->tied && m->naming != MDL_NAMING_GGUF) /* GGUF says "tied" by leaving it out */
		return fail_missing(m, MDL_W_HEAD, 0, 0, err);
	m->tied = true;
	m->globals[MDL_W_HEAD] = m->globals[MDL_W_EMBED];
	return 0;
}

/* KV_B, or K_B with V_B, or all three. */
static int bind_kv_b(struct mdl *m, uint32_t layer, struct lt_err *err)
{
	static const enum mdl_role roles[] = {MDL_W_KV_B, MDL_W_K_B, MDL_W_V_B};
	const struct mdl_binding *b = m->layers[layer];
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = bind_if_there(m, roles[i], layer, 0, err);
	if (rc < 0 || (b[MDL_W_KV_B].tensor && !b[MDL_W_K_B].tensor == !b[MDL_W_V_B].tensor))
		return rc;
	if (b[MDL_W_K_B].tensor)
		return b[MDL_W_V_B].tensor ? 0 : fail_missing(m, MDL_W_V_B, layer, 0, err);
	return fail_missing(m, b[MDL_W_V_B].tensor ? MDL_W_K_B : MDL_W_KV_B, layer, 0, err);
}

static int bind_layer(struct mdl *m, uint32_t layer, struct lt_err *err)
{
	const struct mdl_config *c = &m->cfg;
	int rc = bind_kv_b(m, layer, err);

	for (unsigned r = MDL_W_ATTN_NORM; r < MDL_W_COUNT && rc == 0; r++) {
		enum mdl_role role = (enum mdl_role)r;
		bool each =
			mdl_role_scope(role) == MDL_SCOPE_EXPERT && m->naming != MDL_NAMING_GGUF;
		if (role == MDL_W_KV_B || role == MDL_W_K_B || role == MDL_W_V_B ||
		    !mdl_role_wanted(c, role, layer))
			continue;
		for (uint32_t e = 0; e < (each ? c->experts : 1) && rc == 0; e++)
			rc = bind_needed(m, role, layer, e, err);
	}
	return rc;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Chooses among the prefixes of Hugging Face names by where the embedding is. */
static void find_naming(struct mdl *m)
{
	static const enum mdl_naming tries[] = {MDL_NAMING_HF, MDL_NAMING_HF_OUTER,
						MDL_NAMING_HF_INNER};
	char name[NAME_SIZE];

	for (size_t i = 0; i < 3 && m->naming != MDL_NAMING_GGUF; i++) {
		mdl_role_name(tries[i], MDL_W_EMBED, 0, 0, name, sizeof(name));
		if (mdl_dir_find(m->dir, name)) {
			m->naming = tries[i];
			return;
		}
	}
}

static bool has_in_layer(const struct mdl *m, uint32_t layer, const char *rest)
{
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "%s%" PRIu32 ".%s", mdl_naming_layers(m->naming), layer, rest);
	return mdl_dir_find(m->dir, name) != NULL;
}

/* Layers behind the last one must be extra-token modules, which stay unread; anything else there
 * means that the configuration belongs to another model. */
static int check_beyond(struct mdl *m, struct lt_err *err)
{
	const char *prefix = mdl_naming_layers(m->naming);
	const char *eh = m->naming == MDL_NAMING_GGUF ? "nextn.eh_proj.weight" : "eh_proj.weight";
	size_t n = strlen(prefix);
	uint32_t modules = 0;

	while (modules < 64 && has_in_layer(m, m->cfg.layers + modules, eh))
		modules++;
	m->cfg.nextn_layers = modules;
	for (size_t i = 0; i < m->dir->n; i++) {
		const struct mdl_entry *e = &m->dir->entries[i];
		const char *name = mdl_dir_name(m->dir, e);
		unsigned long layer;
		char *end;
		if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
			continue;
		layer = strtoul(name + n, &end, 10);
		if (*end != '.' || layer < m->cfg.layers)
			continue;
		if (layer >= m->cfg.layers + modules)
			return lt_fail(err, LT_EFORMAT,
				       "%s: tensor %s: the configuration has %" PRIu32
				       " layers, and this one is no extra-token module",
				       mdl_dir_file(m->dir, e), name, m->cfg.layers);
		m->nextn_tensors++;
	}
	return 0;
}

/* Tensors that would change the forward pass, although the configuration knows nothing of them. */
static int check_unexpected(const struct mdl *m, struct lt_err *err)
{
	static const struct {
		const char *hf, *gguf, *means;
	} rows[] = {
		{"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", "shared experts"},
		{"mlp.gate.e_score_correction_bias", "exp_probs_b.bias", "a router with a bias"},
		{"self_attn.indexer.wk.weight", "indexer.attn_k.weight",
		 "the sparse attention of deepseek_v32"},
		{"self_attn.q_a_proj.bias", "attn_q_a.bias", "biases in attention"},
		{"self_attn.kv_a_proj_with_mqa.bias", "attn_kv_a_mqa.bias", "biases in attention"},
	};
	const struct mdl_config *c = &m->cfg;
	uint32_t layer = c->layers - 1;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *name = m->naming == MDL_NAMING_GGUF ? rows[i].gguf : rows[i].hf;
		if ((i == 0 && c->shared_experts) ||
		    (i == 1 && c->router == MDL_ROUTER_SIGMOID_BIASED) ||
		    !has_in_layer(m, layer, name))
			continue;
		return lt_fail(err, i < 2 ? LT_EFORMAT : LT_EUNSUPPORTED,
			       "%s: tensor %s%" PRIu32
			       ".%s: the weights have %s, the configuration has not",
			       m->dir->files[0].name, mdl_naming_layers(m->naming), layer, name,
			       rows[i].means);
	}
	return 0;
}

/* Memory for the bindings, after a look at whether the files can hold that many tensors at all. */
static int alloc_bindings(struct mdl *m, struct lt_err *err)
{
	const struct mdl_config *c = &m->cfg;
	uint64_t moe = mdl_moe_layers(c),
		 each = m->naming == MDL_NAMING_GGUF ? 0 : moe * c->experts;
	uint64_t needed = (uint64_t)c->layers * 6 + each * 3;
	uint32_t at = 0;

	if (needed > m->dir->n && needed > 65536) /* below that, the missing tensor is named */
		return lt_fail(err, LT_EFORMAT,
			       "%s: the configuration (%" PRIu32 " layers, %" PRIu32
			       " experts) calls for at least %" PRIu64
			       " tensors, the weight files hold %zu",
			       m->dir->n_files ? m->dir->files[0].name : m->path, c->layers,
			       c->experts, needed, m->dir->n);
	m->layers = lt_alloc(c->layers, sizeof(*m->layers));
	m->moe_index = lt_alloc(c->layers, sizeof(*m->moe_index));
	m->experts = lt_alloc((size_t)each * 3, sizeof(*m->experts));
	if (!m->layers || !m->moe_index || !m->experts)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", m->path);
	for (uint32_t i = 0; i < c->layers; i++) {
		m->moe_index[i] = at;
		at += mdl_layer_is_moe(c, i);
	}
	return 0;
}

int mdl_bind(struct mdl *m, struct lt_err *err)
{
	int rc = alloc_bindings(m, err);

	find_naming(m);
	if (rc == 0)
		rc = bind_globals(m, err);
	for (uint32_t i = 0; i < m->cfg.layers && rc == 0; i++)
		rc = bind_layer(m, i, err);
	if (rc == 0)
		rc = check_unexpected(m, err);
	return rc < 0 ? rc : check_beyond(m, err);
}
