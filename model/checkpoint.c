/*
 * Opening a checkpoint and looking its matrices up (model/checkpoint.h).
 *
 * Opening binds every matrix of the forward pass to an entry of the tensor directory and checks
 * type, shape and scales on the way; the data's place was checked when the directory was read.
 * A binding is two numbers, so that a model with a hundred thousand expert matrices costs about a
 * megabyte; the view that mdl_weight_get gives is put together when asked for.
 */
#include "model/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/bind.h"
#include "model/gguf-config.h"
#include "model/hf.h"

#define MAX_TEMPLATE (1u << 20)

/* The last part of a path that exists ("." and ".." resolved), without `suffix`. */
static char *base_name(const char *path, const char *suffix)
{
	char *full = realpath(path, NULL);
	const char *from = full ? full : path;
	const char *slash = strrchr(from, '/');
	const char *name = slash && slash[1] ? slash + 1 : from;
	size_t n = strlen(name), m = strlen(suffix);
	char *out;

	if (n > m && strcmp(name + n - m, suffix) == 0)
		n -= m;
	out = lt_strndup(name, n);
	free(full);
	return out;
}

static int no_memory(const char *path, struct lt_err *err)
{
	return lt_fail(err, LT_ENOMEM, "%s: out of memory", path);
}

static int open_hf(struct mdl *m, bool weights, struct lt_err *err)
{
	struct mdl_hf_facts facts;
	int rc = mdl_hf_config(m->path, &m->cfg, &facts, err);

	if (rc < 0)
		return rc;
	m->naming = MDL_NAMING_HF;
	m->tied = facts.tied;
	m->block_rows = facts.block_rows;
	m->block_cols = facts.block_cols;
	m->name = base_name(m->path, "");
	if (!m->name)
		return no_memory(m->path, err);
	if (weights)
		rc = mdl_hf_weights(m->path, &m->own, err);
	m->dir = &m->own;
	return rc < 0 ? rc : mdl_hf_chat_template(m->path, &m->chat_template, err);
}

/* A text of the metadata as a NUL-terminated copy; *out stays NULL if there is none. */
static int copy_text(const struct mdl_gguf *g, const char *key, char **out, struct lt_err *err)
{
	const char *s = NULL;
	size_t n = 0;
	int rc = mdl_gguf_string(g, key, &s, &n, err);

	if (rc < 0 || !s)
		return rc;
	if (n > MAX_TEMPLATE || !lt_utf8_valid(s, n, NULL) || memchr(s, '\0', n))
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %s: not valid UTF-8 text of at most %u bytes",
			       mdl_gguf_file(g), key, MAX_TEMPLATE);
	*out = lt_strndup(s, n);
	return *out ? 0 : no_memory(key, err);
}

static int open_gguf(struct mdl *m, struct lt_err *err)
{
	int rc = mdl_gguf_open(m->path, &m->gguf, err);

	if (rc < 0)
		return rc;
	m->naming = MDL_NAMING_GGUF;
	m->dir = mdl_gguf_dir(m->gguf);
	rc = mdl_gguf_config(m->gguf, &m->cfg, err);
	if (rc == 0)
		rc = copy_text(m->gguf, "general.name", &m->name, err);
	if (rc == 0)
		rc = copy_text(m->gguf, "tokenizer.chat_template", &m->chat_template, err);
	if (rc == 0 && (!m->name || !*m->name)) {
		free(m->name);
		m->name = base_name(m->path, ".gguf");
		if (!m->name)
			return no_memory(m->path, err);
	}
	return rc;
}

/* Why a path that is no checkpoint is none. */
static int fail_path(const char *path, struct lt_err *err)
{
	struct lt_mapping map;
	int rc = lt_map_file(path, &map, err);

	if (rc < 0)
		return rc;
	lt_unmap_file(&map);
	return lt_fail(err, LT_EFORMAT, "%s: neither a folder with config.json nor a GGUF file",
		       path);
}

static int open_any(struct mdl *m, bool weights, struct lt_err *err)
{
	int rc;

	if (lt_is_dir(m->path))
		rc = open_hf(m, weights, err);
	else if (lt_is_file(m->path) && mdl_gguf_is(m->path))
		rc = open_gguf(m, err);
	else
		rc = fail_path(m->path, err);
	return rc == 0 && weights ? mdl_bind(m, err) : rc;
}

static int open_path(const char *path, bool weights, struct mdl **out, struct lt_err *err)
{
	struct lt_err own = {0};
	struct mdl *m = lt_alloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (!err)
		err = &own;
	if (!m)
		return no_memory(path, err);
	m->path = lt_strndup(path, strlen(path));
	rc = m->path ? open_any(m, weights, err) : no_memory(path, err);
	if (rc < 0) {
		mdl_close(m);
		return rc;
	}
	*out = m;
	return 0;
}

int mdl_open(const char *path, struct mdl **out, struct lt_err *err)
{
	return open_path(path, true, out, err);
}

int mdl_open_meta(const char *path, struct mdl **out, struct lt_err *err)
{
	return open_path(path, false, out, err);
}

void mdl_close(struct mdl *m)
{
	if (!m)
		return;
	mdl_gguf_close(m->gguf);
	mdl_dir_fini(&m->own);
	free(m->layers);
	free(m->experts);
	free(m->moe_index);
	free(m->path);
	free(m->name);
	free(m->chat_template);
	free(m);
}

const struct mdl_config *mdl_config(const struct mdl *m)
{
	return &m->cfg;
}

const char *mdl_path(const struct mdl *m)
{
	return m->path;
}

const char *mdl_format(const struct mdl *m)
{
	return m->naming == MDL_NAMING_GGUF ? "gguf" : "safetensors";
}

const char *mdl_chat_template(const struct mdl *m)
{
	return m->chat_template;
}

const char *mdl_name(const struct mdl *m)
{
	return m->name;
}

bool mdl_weight_get(const struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
		    struct mdl_weight *out)
{
	const struct mdl_binding *b;
	const struct mdl_entry *e;

	if ((unsigned)role >= MDL_W_COUNT || !m->layers)
		return false;
	if (mdl_role_scope(role) != MDL_SCOPE_GLOBAL && layer >= m->cfg.layers)
		return false;
	if (mdl_role_scope(role) == MDL_SCOPE_EXPERT && expert >= m->cfg.experts)
		return false;
	b = mdl_binding(m, role, layer, expert);
	if (!b || !b->tensor)
		return false;
	e = &m->dir->entries[b->tensor - 1];
	memset(out, 0, sizeof(*out));
	mdl_role_shape(&m->cfg, role, &out->rows, &out->cols);
	out->type = (enum mdl_type)e->type;
	out->row_bytes =
		out->cols / mdl_type_block_values(out->type) * mdl_type_block_bytes(out->type);
	out->name = mdl_dir_name(m->dir, e);
	out->data = mdl_dir_data(m->dir, e);
	if (m->naming == MDL_NAMING_GGUF && mdl_role_scope(role) == MDL_SCOPE_EXPERT)
		out->data = (const unsigned char *)out->data +
			    (size_t)expert * out->rows * out->row_bytes;
	if (b->scale) {
		const struct mdl_entry *s = &m->dir->entries[b->scale - 1];
		out->scale = mdl_dir_data(m->dir, s);
		out->scale_type = (enum mdl_type)s->type;
		out->block_rows = m->block_rows;
		out->block_cols = m->block_cols;
		out->scale_rows = mdl_blocks(out->rows, m->block_rows);
		out->scale_cols = mdl_blocks(out->cols, m->block_cols);
	}
	return true;
}

/* Adds one matrix to the counts by type. */
static void count_type(const struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
		       struct mdl_summary *s)
{
	struct mdl_weight w;

	if (!mdl_weight_get(m, role, layer, expert, &w))
		return;
	s->type_tensors[w.type]++;
	s->type_bytes[w.type] += (uint64_t)w.rows * w.row_bytes;
	if (w.scale) {
		size_t n = (size_t)w.scale_rows * w.scale_cols;
		s->type_tensors[w.scale_type]++;
		s->type_bytes[w.scale_type] += n * mdl_type_block_bytes(w.scale_type);
	}
}

/* Parameters of a role over all layers, and those that one token touches. K_B and V_B are the same
 * numbers as KV_B in another order. */
static void count_params(const struct mdl *m, enum mdl_role role, struct mdl_summary *s)
{
	const struct mdl_config *c = &m->cfg;
	uint64_t n, experts = 1, used = 1, layers = 0;
	uint32_t rows, cols;

	if (role == MDL_W_K_B || role == MDL_W_V_B)
		return;
	mdl_role_shape(c, role, &rows, &cols);
	n = (uint64_t)rows * cols;
	if (mdl_role_scope(role) == MDL_SCOPE_EXPERT) {
		experts = c->experts;
		used = c->experts_used;
	}
	for (uint32_t i = 0; i < c->layers; i++)
		layers += mdl_role_wanted(c, role, i);
	if (mdl_role_scope(role) == MDL_SCOPE_GLOBAL)
		layers = 1;
	s->params += n * experts * layers;
	if (role != MDL_W_EMBED)
		s->active_params += n * used * layers;
}

void mdl_summarise(const struct mdl *m, struct mdl_summary *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < m->dir->n_files; i++)
		out->file_bytes += m->dir->files[i].map.size;
	out->tensors = m->dir->n;
	out->nextn_tensors = m->nextn_tensors;
	for (unsigned r = 0; r < MDL_W_COUNT; r++) {
		enum mdl_role role = (enum mdl_role)r;
		enum mdl_scope scope = mdl_role_scope(role);
		uint32_t layers = scope == MDL_SCOPE_GLOBAL ? 1 : m->cfg.layers;
		uint32_t experts = scope == MDL_SCOPE_EXPERT ? m->cfg.experts : 1;
		count_params(m, role, out);
		if (role == MDL_W_HEAD && m->tied)
			continue;
		for (uint32_t i = 0; i < layers; i++) {
			for (uint32_t e = 0; e < experts; e++)
				count_type(m, role, i, e, out);
		}
	}
}
