/*
 * Reads the vocabulary of a GGUF file: tokenizer.ggml.* keys of byte-level BPE with one of the
 * pre-tokenizers that this family uses.
 */
#include <string.h>

#include "model/gguf.h"
#include "model/tok.h"

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER = 4 };

static int get_string(const struct mdl_gguf *g, const char *key, const char **s, size_t *n,
		      struct lt_err *err)
{
	*s = "";
	*n = 0;
	return mdl_gguf_string(g, key, s, n, err);
}

static bool is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

static int read_kind(struct mdl_tok *t, const struct mdl_gguf *g, struct lt_err *err)
{
	const char *model, *pre;
	size_t model_n, pre_n;
	int rc = get_string(g, "tokenizer.ggml.model", &model, &model_n, err);

	if (rc == 0)
		rc = get_string(g, "tokenizer.ggml.pre", &pre, &pre_n, err);
	if (rc < 0)
		return rc;
	if (model_n == 0 || is(model, model_n, "none") || is(model, model_n, "no_vocab"))
		return lt_fail(err, LT_ENOENT, "it has no tokenizer");
	if (!is(model, model_n, "gpt2"))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "tokenizer.ggml.model '%.*s' is not supported, only gpt2 "
			       "(byte-level BPE) is",
			       (int)(model_n < 60 ? model_n : 60), model);
	rc = mdl_pretok_add_named(&t->pretok, pre, pre_n, err);
	return rc < 0 ? lt_fail_in(err, rc, "tokenizer.ggml.pre") : 0;
}

static int read_tokens(struct mdl_tok *t, const struct mdl_gguf *g, struct lt_err *err)
{
	struct mdl_gguf_array tokens = {0}, types = {0};
	const char *s;
	size_t n;
	int rc = mdl_gguf_array(g, "tokenizer.ggml.tokens", MDL_GGUF_STRING, &tokens, err);

	if (rc == 0)
		rc = mdl_gguf_array(g, "tokenizer.ggml.token_type", MDL_GGUF_I64, &types, err);
	if (rc < 0)
		return rc;
	if (tokens.left == 0)
		return lt_fail(err, LT_EFORMAT, "tokenizer.ggml.tokens is missing or empty");
	if (types.left && types.left != tokens.left)
		return lt_fail(err, LT_EFORMAT,
			       "tokenizer.ggml.token_type has %llu items, the vocabulary %llu",
			       (unsigned long long)types.left, (unsigned long long)tokens.left);
	for (int64_t id = 0; rc == 0 && mdl_gguf_next_string(&tokens, &s, &n); id++) {
		int64_t type = TYPE_NORMAL;

		rc = mdl_bpe_add_token(&t->bpe, id, s, n, err);
		if (rc == 0 && mdl_gguf_next_int(&types, &type) &&
		    (type == TYPE_CONTROL || type == TYPE_USER)) {
			struct mdl_added_token a = {.text = (char *)s,
						    .n = n,
						    .id = (int32_t)id,
						    .special = type == TYPE_CONTROL};
			rc = mdl_added_add(&t->added, &a, err);
		}
	}
	return rc;
}

static int read_merges(struct mdl_tok *t, const struct mdl_gguf *g, struct lt_err *err)
{
	struct mdl_gguf_array merges = {0};
	const char *s, *space;
	size_t n;
	int rc = mdl_gguf_array(g, "tokenizer.ggml.merges", MDL_GGUF_STRING, &merges, err);

	if (rc == 0 && merges.left == 0)
		rc = lt_fail(err, LT_EFORMAT, "tokenizer.ggml.merges is missing or empty");
	while (rc == 0 && mdl_gguf_next_string(&merges, &s, &n)) {
		space = memchr(s, ' ', n);
		if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - s)))
			return lt_fail(err, LT_EFORMAT,
				       "merge %zu is not two tokens with a space between them",
				       t->bpe.n_ranks);
		rc = mdl_bpe_add_merge(&t->bpe, s, (size_t)(space - s), space + 1,
				       n - (size_t)(space + 1 - s), err);
	}
	return rc;
}

/* A token that a key names; it has to be in the vocabulary. */
static int read_id(struct mdl_tok *t, const struct mdl_gguf *g, const char *key, int32_t *id,
		   struct lt_err *err)
{
	uint32_t value = UINT32_MAX;
	int rc = mdl_gguf_u32(g, key, &value, err);

	if (rc < 0 || value == UINT32_MAX)
		return rc;
	if (value >= t->bpe.n_ids)
		return lt_fail(err, LT_EFORMAT, "%s is %u, the vocabulary has %zu tokens", key,
			       value, t->bpe.n_ids);
	*id = (int32_t)value;
	return 0;
}

int mdl_tok_read_gguf(struct mdl_tok *t, const char *path, struct lt_err *err)
{
	struct mdl_gguf *g;
	int rc = mdl_gguf_open(path, &g, err);

	if (rc < 0)
		return rc;
	rc = read_kind(t, g, err);
	if (rc == 0)
		rc = read_tokens(t, g, err);
	if (rc == 0)
		rc = read_merges(t, g, err);
	if (rc == 0)
		rc = read_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err);
	if (rc == 0)
		rc = read_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err);
	if (rc == 0)
		rc = mdl_gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, err);
	if (rc < 0)
		lt_fail_in(err, rc, "%s", path);
	mdl_gguf_close(g);
	return rc;
}
