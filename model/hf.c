/*
 * A Hugging Face folder: its weight files and its chat template. The index of a sharded checkpoint
 * may be large (a hundred thousand names), so it is read in place with the JSON cursor, twice: once
 * for the shards' names, once to hold every tensor against the shard that is said to have it.
 */
#include "model/hf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/json.h"
#include "model/safetensors.h"
#include "model/scan.h"

#define MAX_INDEX    (64u << 20)
#define MAX_TEMPLATE (1u << 20)
#define MAX_TOK_CONF (4u << 20)

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

/* --- shards ----------------------------------------------------------------------------------- */

/* The shards that the index names: sorted file names, each with its place in the directory. */
struct shards {
	struct shard {
		char *name;
		size_t file;
	} * list;
	size_t n;
};

/* The place of name[0..len) in the list, or where it belongs; *found says which. */
static size_t find_shard(const struct shards *sh, const char *name, size_t len, bool *found)
{
	size_t lo = 0, hi = sh->n;

	*found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strncmp(sh->list[mid].name, name, len);
		if (c == 0 && sh->list[mid].name[len])
			c = 1;
		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* A shard must be a plain file name of the folder itself. */
static int check_shard_name(const char *name, size_t len, struct lt_err *err)
{
	static const char suffix[] = ".safetensors";
	size_t m = sizeof(suffix) - 1;
	int shown = len > 100 ? 100 : (int)len;

	if (!lt_utf8_valid(name, len, NULL))
		return lt_fail(err, LT_EFORMAT, "%s: a file name is not valid UTF-8", index_name);
	if (memchr(name, '/', len) || memchr(name, '\\', len))
		return lt_fail(err, LT_EFORMAT,
			       "%s: file name %.*s: only plain names of files in the folder are "
			       "allowed",
			       index_name, shown, name);
	if (len <= m || len > 255 || memcmp(name + len - m, suffix, m) != 0)
		return lt_fail(err, LT_EFORMAT,
			       "%s: file name %.*s: it must end in .safetensors and have at most "
			       "255 bytes",
			       index_name, shown, name);
	return 0;
}

static int add_shard(struct shards *sh, const char *name, size_t len, struct lt_err *err)
{
	bool found;
	size_t at = find_shard(sh, name, len, &found);
	int rc;

	if (found)
		return 0;
	rc = check_shard_name(name, len, err);
	if (rc < 0)
		return rc;
	if (sh->n == MDL_DIR_FILES)
		return lt_fail(err, LT_ETOOBIG, "%s: more than %u weight files", index_name,
			       MDL_DIR_FILES);
	if (lt_resize(&sh->list, sh->n + 1, sizeof(*sh->list)) < 0)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", index_name);
	memmove(&sh->list[at + 1], &sh->list[at], (sh->n - at) * sizeof(*sh->list));
	sh->list[at].name = lt_strndup(name, len);
	sh->n++;
	return sh->list[at].name ? 0 : lt_fail(err, LT_ENOMEM, "%s: out of memory", index_name);
}

static void shards_fini(struct shards *sh)
{
	for (size_t i = 0; i < sh->n; i++)
		free(sh->list[i].name);
	free(sh->list);
}

/* --- the index -------------------------------------------------------------------------------- */

/* One line of the weight map: a tensor and the file that has it. */
typedef int pair_fn(void *arg, const char *tensor, size_t tensor_len, const char *file,
		    size_t file_len, struct lt_err *err);

static int read_pair(struct mdl_scan *s, pair_fn *fn, void *arg, struct lt_err *err)
{
	const char *tensor, *file;
	size_t tensor_len, file_len;
	bool escaped, file_escaped;
	int rc = mdl_scan_string(s, &tensor, &tensor_len, &escaped, err);

	if (rc == 0)
		rc = mdl_scan_expect(s, ':', err);
	if (rc == 0)
		rc = mdl_scan_string(s, &file, &file_len, &file_escaped, err);
	if (rc < 0)
		return rc;
	if (escaped || file_escaped)
		return mdl_scan_fail(s, err, "a name in weight_map has an escape");
	return fn(arg, tensor, tensor_len, file, file_len, err);
}

static int read_map(struct mdl_scan *s, pair_fn *fn, void *arg, struct lt_err *err)
{
	bool more;
	int rc = mdl_scan_expect(s, '{', err);

	if (rc < 0 || mdl_scan_eat(s, '}'))
		return rc;
	do {
		rc = read_pair(s, fn, arg, err);
		if (rc == 0)
			rc = mdl_scan_next(s, '}', &more, err);
	} while (rc == 0 && more);
	return rc;
}

/* Calls fn for each line of the weight map. */
static int read_index(struct mdl_scan *s, pair_fn *fn, void *arg, struct lt_err *err)
{
	const char *key;
	size_t n, maps = 0;
	bool escaped, more;
	int rc;

	s->at = 0;
	rc = mdl_scan_expect(s, '{', err);
	more = rc == 0 && !mdl_scan_eat(s, '}');
	while (rc == 0 && more) {
		rc = mdl_scan_string(s, &key, &n, &escaped, err);
		if (rc == 0)
			rc = mdl_scan_expect(s, ':', err);
		if (rc == 0 && n == 10 && memcmp(key, "weight_map", 10) == 0) {
			maps++;
			rc = read_map(s, fn, arg, err);
		} else if (rc == 0) {
			rc = mdl_scan_skip(s, err);
		}
		if (rc == 0)
			rc = mdl_scan_next(s, '}', &more, err);
	}
	if (rc == 0 && !mdl_scan_end(s))
		rc = mdl_scan_fail(s, err, "text after the end");
	if (rc == 0 && maps != 1)
		rc = lt_fail(err, LT_EFORMAT, "%s: weight_map %s", s->file,
			     maps ? "stands there twice" : "is missing");
	return rc;
}

static int collect_pair(void *arg, const char *tensor, size_t tensor_len, const char *file,
			size_t file_len, struct lt_err *err)
{
	(void)tensor;
	(void)tensor_len;
	return add_shard(arg, file, file_len, err);
}

/* The second pass: what the index says against what the shards hold. */
struct compare {
	const struct mdl_dir *dir;
	const struct shards *shards;
	unsigned char *seen; /* a bit for each entry */
	size_t lines;
};

static int compare_pair(void *arg, const char *tensor, size_t tensor_len, const char *file,
			size_t file_len, struct lt_err *err)
{
	struct compare *c = arg;
	const struct mdl_entry *e = NULL;
	char name[MDL_DIR_NAME + 1];
	size_t i, at;
	bool found;
	int rc = mdl_dir_check_name(index_name, c->lines++, tensor, tensor_len, MDL_DIR_NAME, err);

	if (rc < 0)
		return rc;
	memcpy(name, tensor, tensor_len);
	name[tensor_len] = '\0';
	at = find_shard(c->shards, file, file_len, &found);
	LT_ASSERT(found); /* the first pass has added it */
	e = mdl_dir_find(c->dir, name);
	if (!e || e->file != c->shards->list[at].file)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %s is not in %s, where the index has it", index_name,
			       name, c->shards->list[at].name);
	i = (size_t)(e - c->dir->entries);
	if (c->seen[i / 8] & 1u << i % 8)
		return lt_fail(err, LT_EFORMAT, "%s: tensor %s stands there twice", index_name,
			       name);
	c->seen[i / 8] |= (unsigned char)(1u << i % 8);
	return 0;
}

static int map_file(const char *dir, const char *name, struct mdl_dir *d, struct lt_err *err)
{
	char *path = lt_path_join(dir, name);
	int rc;

	if (!path)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", name);
	rc = mdl_dir_map(d, path, err);
	free(path);
	return rc < 0 ? rc : mdl_safetensors_read(d, err);
}

static int map_shards(const char *dir, struct shards *sh, struct mdl_dir *d, struct lt_err *err)
{
	for (size_t i = 0; i < sh->n; i++) {
		int rc = map_file(dir, sh->list[i].name, d, err);
		if (rc == LT_ENOENT)
			return lt_fail(err, LT_EFORMAT, "%s: file %s is missing in the folder",
				       index_name, sh->list[i].name);
		if (rc < 0)
			return rc;
		sh->list[i].file = d->n_files - 1;
	}
	return mdl_dir_index(d, err);
}

static int load_sharded(const char *dir, const struct lt_mapping *map, struct mdl_dir *d,
			struct lt_err *err)
{
	struct mdl_scan s = {(const char *)map->data, map->size, 0, index_name};
	struct shards sh = {0};
	struct compare c = {.dir = d, .shards = &sh};
	int rc = read_index(&s, collect_pair, &sh, err);

	if (rc == 0 && sh.n == 0)
		rc = lt_fail(err, LT_EFORMAT, "%s: weight_map is empty", index_name);
	if (rc == 0)
		rc = map_shards(dir, &sh, d, err);
	if (rc == 0) {
		c.seen = lt_alloc(d->n / 8 + 1, 1);
		rc = c.seen ? read_index(&s, compare_pair, &c, err)
			    : lt_fail(err, LT_ENOMEM, "%s: out of memory", index_name);
	}
	free(c.seen);
	shards_fini(&sh);
	return rc;
}

/* True if `dir` has a file of that name. */
static int has_file(const char *dir, const char *name, bool *has, struct lt_err *err)
{
	char *path = lt_path_join(dir, name);

	if (!path)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", name);
	*has = lt_is_file(path);
	free(path);
	return 0;
}

static int load_index(const char *dir, struct mdl_dir *d, struct lt_err *err)
{
	char *path = lt_path_join(dir, index_name);
	struct lt_mapping map;
	int rc;

	if (!path)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", index_name);
	rc = lt_map_file(path, &map, err);
	free(path);
	if (rc < 0)
		return rc;
	if (map.size > MAX_INDEX)
		rc = lt_fail(err, LT_ETOOBIG, "%s: %zu bytes, at most %u are allowed", index_name,
			     map.size, MAX_INDEX);
	else
		rc = load_sharded(dir, &map, d, err);
	lt_unmap_file(&map);
	return rc;
}

int mdl_hf_weights(const char *dir, struct mdl_dir *d, struct lt_err *err)
{
	bool single = false, index = false;
	int rc = has_file(dir, single_name, &single, err);

	if (rc == 0 && !single)
		rc = has_file(dir, index_name, &index, err);
	if (rc < 0)
		return rc;
	if (!single && !index)
		return lt_fail(err, LT_ENOENT, "%s: neither %s nor %s in the folder", dir,
			       single_name, index_name);
	if (index)
		return load_index(dir, d, err);
	rc = map_file(dir, single_name, d, err);
	return rc < 0 ? rc : mdl_dir_index(d, err);
}

/* --- chat template ---------------------------------------------------------------------------- */

/* tokenizer_config.json: chat_template is a string, or a list of {name, template}. */
static int template_of(const struct mdl_json *j, char **out, struct lt_err *err)
{
	const cJSON *item, *one, *list;
	const char *text = NULL;
	int rc = mdl_json_get(j, "chat_template", &item, err);

	if (rc < 0 || !item)
		return rc;
	if (cJSON_IsString(item))
		text = item->valuestring;
	else if (!cJSON_IsArray(item))
		return lt_fail(err, LT_EFORMAT, "%s: chat_template must be a string or a list",
			       j->file);
	list = cJSON_IsArray(item) ? item : NULL;
	cJSON_ArrayForEach(one, list)
	{
		struct mdl_json t = {"tokenizer_config.json: chat_template", one};
		const char *name = NULL;
		if (!cJSON_IsObject(one))
			return lt_fail(err, LT_EFORMAT, "%s: a list of objects is needed", t.file);
		rc = mdl_json_string(&t, "name", &name, err);
		if (rc == 0 && name && strcmp(name, "default") == 0)
			rc = mdl_json_string(&t, "template", &text, err);
		if (rc < 0)
			return rc;
	}
	if (!text)
		return 0;
	if (strlen(text) > MAX_TEMPLATE)
		return lt_fail(err, LT_ETOOBIG, "%s: chat_template of more than %u bytes", j->file,
			       MAX_TEMPLATE);
	*out = lt_strndup(text, strlen(text));
	return *out ? 0 : lt_fail(err, LT_ENOMEM, "%s: out of memory", j->file);
}

static int read_jinja(const char *dir, char **out, struct lt_err *err)
{
	static const char name[] = "chat_template.jinja";
	char *path = lt_path_join(dir, name);
	size_t n, bad;
	int rc;

	if (!path)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", name);
	rc = lt_read_file(path, MAX_TEMPLATE, out, &n, err);
	free(path);
	if (rc == 0 && (!lt_utf8_valid(*out, n, &bad) || strlen(*out) != n)) {
		free(*out);
		*out = NULL;
		return lt_fail(err, LT_EFORMAT, "%s: not valid UTF-8 text", name);
	}
	return rc;
}

int mdl_hf_chat_template(const char *dir, char **out, struct lt_err *err)
{
	struct mdl_json j = {"tokenizer_config.json", NULL};
	cJSON *root;
	bool has = false;
	int rc;

	*out = NULL;
	rc = has_file(dir, "chat_template.jinja", &has, err);
	if (rc < 0 || has)
		return rc < 0 ? rc : read_jinja(dir, out, err);
	rc = has_file(dir, j.file, &has, err);
	if (rc < 0 || !has)
		return rc;
	rc = mdl_json_load(dir, j.file, MAX_TOK_CONF, &root, err);
	if (rc < 0)
		return rc;
	j.obj = root;
	rc = template_of(&j, out, err);
	cJSON_Delete(root);
	return rc;
}
