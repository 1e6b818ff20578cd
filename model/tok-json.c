/*
 * Reads tokenizer.json of Hugging Face, and bos, eos and add_bos from tokenizer_config.json beside
 * it. What is not understood is refused by its name: a tokenizer that is read wrongly works, but
 * gives the model text that it was not trained on.
 *
 * cJSON's strings end at a NUL, so files that write one (\u0000) are refused; in the byte-level
 * alphabet byte 0 is U+0100.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/tok.h"

#define FILE_MAX (64u << 20)

/* ---- small things ---- */

static const cJSON *get(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return item && !cJSON_IsNull(item) ? item : NULL;
}

static const char *get_string(const cJSON *object, const char *key)
{
	const cJSON *item = get(object, key);

	return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool get_bool(const cJSON *object, const char *key, bool otherwise)
{
	const cJSON *item = get(object, key);

	return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

/* The "type" of a part of the file; "(none)" where it has none. */
static const char *type_of(const cJSON *object)
{
	const char *type = get_string(object, "type");

	return type ? type : "(none)";
}

static bool is_type(const cJSON *object, const char *type)
{
	return strcmp(type_of(object), type) == 0;
}

/* A number that is a whole one, or -1. */
static int64_t whole(const cJSON *item)
{
	if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1e15) ||
	    item->valuedouble != (double)(int64_t)item->valuedouble)
		return -1;
	return (int64_t)item->valuedouble;
}

/* ---- normalizer, decoder, post-processor ---- */

/* Calls `each` for the object, or for all in it when it is a Sequence (to a few levels). */
static int walk(const cJSON *object, const char *list, unsigned depth,
		int (*each)(struct mdl_tok *t, const cJSON *object, struct lt_err *err),
		struct mdl_tok *t, struct lt_err *err)
{
	const cJSON *item;
	int rc = 0;

	if (!object)
		return 0;
	if (!is_type(object, "Sequence"))
		return each(t, object, err);
	if (depth > 4)
		return lt_fail(err, LT_ETOOBIG, "%s nest deeper than 4", list);
	if (!cJSON_IsArray(get(object, list)))
		return lt_fail(err, LT_EFORMAT, "a Sequence without %s", list);
	cJSON_ArrayForEach(item, get(object, list))
	{
		rc = walk(item, list, depth + 1, each, t, err);
		if (rc < 0)
			break;
	}
	return rc;
}

static int read_normalizer(struct mdl_tok *t, const cJSON *object, struct lt_err *err)
{
	(void)t;
	return lt_fail(err, LT_EUNSUPPORTED,
		       "normalizer %s is not supported, only files without one are",
		       type_of(object));
}

static int read_decoder(struct mdl_tok *t, const cJSON *object, struct lt_err *err)
{
	(void)t;
	if (is_type(object, "ByteLevel"))
		return 0;
	return lt_fail(err, LT_EUNSUPPORTED, "decoder %s is not supported, only ByteLevel is",
		       type_of(object));
}

/* A template whose first item is a special token says that a text begins with it. */
static int read_post_processor(struct mdl_tok *t, const cJSON *object, struct lt_err *err)
{
	const cJSON *first, *token, *ids;
	const char *name;
	int64_t id;

	if (is_type(object, "ByteLevel"))
		return 0;
	if (!is_type(object, "TemplateProcessing"))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "post_processor %s is not supported, only ByteLevel and "
			       "TemplateProcessing are",
			       type_of(object));
	first = cJSON_GetArrayItem(get(object, "single"), 0);
	token = get(first, "SpecialToken");
	if (!token)
		return 0;
	name = get_string(token, "id");
	ids = name ? get(get(get(object, "special_tokens"), name), "ids") : NULL;
	id = whole(cJSON_GetArrayItem(ids, 0));
	if (id < 0 || id >= MDL_BPE_MAX_IDS)
		return lt_fail(err, LT_EFORMAT, "post_processor begins with %s, which has no id",
			       name ? name : "a token without a name");
	t->bos = (int32_t)id;
	t->add_bos = true;
	return 0;
}

/* ---- pre-tokenizer ---- */

static const char byte_level_regex[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static int add_regex(struct mdl_tok *t, const char *pattern, enum mdl_split split,
		     struct lt_err *err)
{
	return mdl_pretok_add_split(&t->pretok, pattern, strlen(pattern), MDL_RE_BEST, split, false,
				    err);
}

static int read_split(struct mdl_tok *t, const cJSON *object, struct lt_err *err)
{
	static const char *const names[] = {"Isolated", "Removed", "Contiguous",
					    "MergedWithPrevious", "MergedWithNext"};
	static const enum mdl_split values[] = {MDL_SPLIT_ISOLATED, MDL_SPLIT_REMOVED,
						MDL_SPLIT_CONTIGUOUS, MDL_SPLIT_MERGED_PREVIOUS,
						MDL_SPLIT_MERGED_NEXT};
	const cJSON *pattern = get(object, "pattern");
	const char *regex = get_string(pattern, "Regex"), *text = get_string(pattern, "String");
	const char *behavior = get_string(object, "behavior");
	size_t i;

	if (!regex && !text)
		return lt_fail(err, LT_EFORMAT,
			       "a Split without a pattern, which is a Regex or a String");
	for (i = 0; behavior && i < 5 && strcmp(behavior, names[i]) != 0; i++)
		;
	if (!behavior || i == 5)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "Split behavior %s is not supported; known are Isolated, Removed, "
			       "Contiguous, MergedWithPrevious and MergedWithNext",
			       behavior ? behavior : "(none)");
	return mdl_pretok_add_split(&t->pretok, regex ? regex : text, strlen(regex ? regex : text),
				    regex ? MDL_RE_BEST : MDL_RE_LITERAL, values[i],
				    get_bool(object, "invert", false), err);
}

/* ByteLevel turns text into bytes, so it is the last one. */
static int read_pre_tokenizer(struct mdl_tok *t, const cJSON *object, struct lt_err *err)
{
	int rc = 0;

	if (t->byte_level)
		return lt_fail(err, LT_EUNSUPPORTED, "pre_tokenizer %s after ByteLevel",
			       type_of(object));
	if (is_type(object, "Split"))
		return read_split(t, object, err);
	if (is_type(object, "Digits"))
		return add_regex(t, "\\p{N}",
				 get_bool(object, "individual_digits", false)
					 ? MDL_SPLIT_ISOLATED
					 : MDL_SPLIT_CONTIGUOUS,
				 err);
	if (!is_type(object, "ByteLevel"))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "pre_tokenizer %s is not supported; known are Split, Digits and "
			       "ByteLevel, alone or in a Sequence",
			       type_of(object));
	t->byte_level = true;
	if (get_bool(object, "add_prefix_space", true))
		rc = mdl_pretok_add_space(&t->pretok, err);
	if (rc == 0 && get_bool(object, "use_regex", true))
		rc = add_regex(t, byte_level_regex, MDL_SPLIT_ISOLATED, err);
	return rc;
}

/* ---- model ---- */

/* Options of BPE that would change what comes out, in other values than those without effect. */
static int check_model(const cJSON *model, struct lt_err *err)
{
	static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
	const cJSON *dropout = get(model, "dropout");

	if (!cJSON_IsObject(model))
		return lt_fail(err, LT_EFORMAT, "no model in it");
	/* Files written by old versions have no type; BPE is told by its merges. */
	if (get(model, "type") && !is_type(model, "BPE"))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "a model of type %s is not supported, only BPE is", type_of(model));
	if (dropout && !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0))
		return lt_fail(err, LT_EUNSUPPORTED, "BPE with dropout is not supported");
	for (size_t i = 0; i < 2; i++) {
		const cJSON *affix = get(model, affixes[i]);

		if (affix && !(cJSON_IsString(affix) && affix->valuestring[0] == '\0'))
			return lt_fail(err, LT_EUNSUPPORTED, "BPE with %s is not supported",
				       affixes[i]);
	}
	if (!cJSON_IsObject(get(model, "vocab")) || !cJSON_IsArray(get(model, "merges")))
		return lt_fail(err, LT_EFORMAT, "the model has no vocab and merges");
	return 0;
}

static int read_merge(struct mdl_tok *t, const cJSON *item, struct lt_err *err)
{
	const char *left, *right, *space;

	if (cJSON_IsString(item)) {
		left = item->valuestring;
		space = strchr(left, ' ');
		if (!space || strchr(space + 1, ' '))
			return lt_fail(err, LT_EFORMAT,
				       "merge %zu is not two tokens with a space between them",
				       t->bpe.n_ranks);
		return mdl_bpe_add_merge(&t->bpe, left, (size_t)(space - left), space + 1,
					 strlen(space + 1), err);
	}
	left = cJSON_GetStringValue(cJSON_GetArrayItem(item, 0));
	right = cJSON_GetStringValue(cJSON_GetArrayItem(item, 1));
	if (!left || !right || cJSON_GetArraySize(item) != 2)
		return lt_fail(err, LT_EFORMAT, "merge %zu is not a pair of tokens",
			       t->bpe.n_ranks);
	return mdl_bpe_add_merge(&t->bpe, left, strlen(left), right, strlen(right), err);
}

static int read_model(struct mdl_tok *t, const cJSON *model, struct lt_err *err)
{
	const cJSON *item;
	int rc = check_model(model, err);

	if (rc < 0)
		return rc;
	cJSON_ArrayForEach(item, get(model, "vocab"))
	{
		int64_t id = whole(item);

		if (id < 0)
			return lt_fail(err, LT_EFORMAT, "token '%.80s' has no whole number as id",
				       item->string);
		rc = mdl_bpe_add_token(&t->bpe, id, item->string, strlen(item->string), err);
		if (rc < 0)
			return rc;
	}
	cJSON_ArrayForEach(item, get(model, "merges"))
	{
		rc = read_merge(t, item, err);
		if (rc < 0)
			return rc;
	}
	t->bpe.ignore_merges = get_bool(model, "ignore_merges", false);
	return 0;
}

/* ---- added tokens ---- */

static int read_added(struct mdl_tok *t, const cJSON *list, struct lt_err *err)
{
	const cJSON *item;

	if (list && !cJSON_IsArray(list))
		return lt_fail(err, LT_EFORMAT, "added_tokens is not a list");
	cJSON_ArrayForEach(item, list)
	{
		const char *content = get_string(item, "content");
		int64_t id = whole(get(item, "id"));
		struct mdl_added_token a = {.id = (int32_t)id,
					    .special = get_bool(item, "special", false),
					    .lstrip = get_bool(item, "lstrip", false),
					    .rstrip = get_bool(item, "rstrip", false),
					    .single_word = get_bool(item, "single_word", false)};
		int rc;

		if (!content || id < 0 || id >= MDL_BPE_MAX_IDS)
			return lt_fail(err, LT_EFORMAT,
				       "added token '%.80s' needs a content and an id of 0 to %u",
				       content ? content : "", MDL_BPE_MAX_IDS - 1);
		a.text = (char *)content;
		a.n = strlen(content);
		a.normalized = get_bool(item, "normalized", !a.special);
		rc = mdl_added_add(&t->added, &a, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- files ---- */

/* True if the text holds a NUL or writes one: \u0000 with an odd number of backslashes. */
static bool writes_nul(const char *s, size_t n)
{
	const char *at = s, *hit;

	if (strlen(s) < n)
		return true;
	while ((hit = strstr(at, "\\u0000")) != NULL) {
		size_t before = 0;

		while (hit - before > s && hit[-1 - (ptrdiff_t)before] == '\\')
			before++;
		if (before % 2 == 0)
			return true;
		at = hit + 6;
	}
	return false;
}

/* Reads and parses a file that holds an object. LT_ENOENT and *out NULL when it isn't there. */
static int parse_file(const char *path, cJSON **out, struct lt_err *err)
{
	size_t n, bad;
	char *data;
	int rc = lt_read_file(path, FILE_MAX, &data, &n, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	if (!lt_utf8_valid(data, n, &bad))
		rc = lt_fail(err, LT_EFORMAT, "malformed UTF-8 at byte %zu", bad);
	else if (writes_nul(data, n))
		rc = lt_fail(err, LT_EUNSUPPORTED,
			     "it holds a NUL (\\u0000), which is not supported");
	else if (!(*out = cJSON_ParseWithLength(data, n)))
		rc = lt_fail(err, LT_EFORMAT, "not valid JSON near byte %zu",
			     cJSON_GetErrorPtr() ? (size_t)(cJSON_GetErrorPtr() - data) : 0);
	else if (!cJSON_IsObject(*out))
		rc = lt_fail(err, LT_EFORMAT, "not a JSON object");
	free(data);
	if (rc < 0) {
		cJSON_Delete(*out);
		*out = NULL;
	}
	return rc;
}

static int read_tokenizer(struct mdl_tok *t, const cJSON *root, struct lt_err *err)
{
	int rc = walk(get(root, "normalizer"), "normalizers", 0, read_normalizer, t, err);

	if (rc == 0)
		rc = walk(get(root, "pre_tokenizer"), "pretokenizers", 0, read_pre_tokenizer, t,
			  err);
	if (rc == 0 && !t->byte_level)
		rc = lt_fail(
			err, LT_EUNSUPPORTED,
			"its pre_tokenizer has no ByteLevel; only byte-level BPE is supported");
	if (rc == 0)
		rc = walk(get(root, "decoder"), "decoders", 0, read_decoder, t, err);
	if (rc == 0)
		rc = walk(get(root, "post_processor"), "processors", 0, read_post_processor, t,
			  err);
	if (rc == 0)
		rc = read_model(t, get(root, "model"), err);
	if (rc == 0)
		rc = read_added(t, get(root, "added_tokens"), err);
	return rc;
}

/* The id of a token that tokenizer_config.json names, as a string or an object with `content`. */
static int named_id(struct mdl_tok *t, const cJSON *root, const char *key, int32_t *id,
		    struct lt_err *err)
{
	const cJSON *item = get(root, key);
	const char *text =
		cJSON_IsObject(item) ? get_string(item, "content") : cJSON_GetStringValue(item);

	if (!item)
		return 0;
	if (!text)
		return lt_fail(err, LT_EFORMAT, "%s is neither a text nor an object with content",
			       key);
	for (size_t i = 0; i < t->added.n; i++) {
		const struct mdl_added_token *a = &t->added.tokens[i];

		if (a->n == strlen(text) && memcmp(a->text, text, a->n) == 0) {
			*id = a->id;
			return 0;
		}
	}
	*id = mdl_bpe_id(&t->bpe, text, strlen(text));
	if (*id < 0)
		return lt_fail(err, LT_EFORMAT, "%s '%.80s' is not a token", key, text);
	return 0;
}

static int read_config(struct mdl_tok *t, const char *path, struct lt_err *err)
{
	cJSON *root;
	int rc;

	if (!lt_is_file(path))
		return 0;
	rc = parse_file(path, &root, err);
	if (rc == 0)
		rc = named_id(t, root, "bos_token", &t->bos, err);
	if (rc == 0)
		rc = named_id(t, root, "eos_token", &t->eos, err);
	if (rc == 0)
		t->add_bos = get_bool(root, "add_bos_token", t->add_bos);
	cJSON_Delete(root);
	return rc;
}

/* Path of the folder that a tokenizer.json lies in. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return lt_strndup(".", 1);
	return lt_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int mdl_tok_read_json(struct mdl_tok *t, const char *path, struct lt_err *err)
{
	bool is_dir = lt_is_dir(path);
	char *folder = is_dir ? lt_strndup(path, strlen(path)) : folder_of(path);
	char *file = is_dir ? lt_path_join(path, "tokenizer.json") : lt_strndup(path, strlen(path));
	char *config = folder ? lt_path_join(folder, "tokenizer_config.json") : NULL;
	cJSON *root = NULL;
	int rc;

	if (!file || !config)
		rc = lt_fail(err, LT_ENOMEM, "no memory for a path");
	else if (!lt_is_file(file))
		rc = lt_fail(err, LT_ENOENT, is_dir ? "%s has no tokenizer.json" : "no file %s",
			     path);
	else if ((rc = parse_file(file, &root, err)) < 0 || (rc = read_tokenizer(t, root, err)) < 0)
		lt_fail_in(err, rc, "%s", file);
	else if ((rc = read_config(t, config, err)) < 0)
		lt_fail_in(err, rc, "%s", config);
	cJSON_Delete(root);
	free(folder);
	free(file);
	free(config);
	return rc;
}
