/*
 * Small JSON files (model/json.h), on cJSON. The text is looked over before cJSON sees it: cJSON
 * recurses and takes some hundred bytes for each value, so depth and count are bounded first.
 */
#include "model/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

#define MAX_DEPTH  32
#define MAX_VALUES 32768

/* Depth and number of values, counted by the punctuation outside strings. */
static int check_extent(const char *file, const char *text, size_t n, struct lt_err *err)
{
	size_t depth = 0, values = 1;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		in_string = c == '"';
		depth += c == '[' || c == '{';
		depth -= depth && (c == ']' || c == '}');
		values += c == '[' || c == '{' || c == ',';
		if (depth > MAX_DEPTH)
			return lt_fail(err, LT_EFORMAT,
				       "%s: nested too deep at byte %zu, %d levels are allowed",
				       file, i, MAX_DEPTH);
		if (values > MAX_VALUES)
			return lt_fail(err, LT_EFORMAT, "%s: more than %d values", file,
				       MAX_VALUES);
	}
	return 0;
}

int mdl_json_parse(const char *file, const char *text, size_t n, cJSON **out, struct lt_err *err)
{
	const char *end = NULL;
	size_t bad;
	cJSON *root;
	int rc;

	*out = NULL;
	if (!lt_utf8_valid(text, n, &bad))
		return lt_fail(err, LT_EFORMAT, "%s: not valid UTF-8 at byte %zu", file, bad);
	rc = check_extent(file, text, n, err);
	if (rc < 0)
		return rc;
	root = cJSON_ParseWithLengthOpts(text, n, &end, false);
	if (root) {
		while (end < text + n && *end && strchr(" \t\r\n", *end))
			end++;
	}
	if (!root || end != text + n) {
		size_t at = end ? (size_t)(end - text) : 0;
		cJSON_Delete(root);
		return lt_fail(err, LT_EFORMAT, "%s: malformed JSON at byte %zu of %zu", file, at,
			       n);
	}
	if (!cJSON_IsObject(root)) {
		cJSON_Delete(root);
		return lt_fail(err, LT_EFORMAT, "%s: not a JSON object", file);
	}
	*out = root;
	return 0;
}

int mdl_json_load(const char *dir, const char *file, size_t limit, cJSON **out, struct lt_err *err)
{
	char *path = lt_path_join(dir, file), *text;
	size_t n;
	int rc;

	*out = NULL;
	if (!path)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", file);
	rc = lt_read_file(path, limit, &text, &n, err);
	free(path);
	if (rc < 0)
		return rc;
	rc = mdl_json_parse(file, text, n, out, err);
	free(text);
	return rc;
}

int mdl_json_get(const struct mdl_json *j, const char *key, const cJSON **out, struct lt_err *err)
{
	const cJSON *item;

	*out = NULL;
	cJSON_ArrayForEach(item, j->obj)
	{
		if (strcmp(item->string, key) != 0)
			continue;
		if (*out)
			return lt_fail(err, LT_EFORMAT, "%s: %s stands there twice", j->file, key);
		*out = item;
	}
	if (cJSON_IsNull(*out))
		*out = NULL;
	return 0;
}

static int fail_kind(const struct mdl_json *j, const char *key, const char *want,
		     struct lt_err *err)
{
	return lt_fail(err, LT_EFORMAT, "%s: %s must be %s", j->file, key, want);
}

int mdl_json_object(const struct mdl_json *j, const char *key, const cJSON **out,
		    struct lt_err *err)
{
	int rc = mdl_json_get(j, key, out, err);

	if (rc == 0 && *out && !cJSON_IsObject(*out))
		return fail_kind(j, key, "an object", err);
	return rc;
}

int mdl_json_array(const struct mdl_json *j, const char *key, const cJSON **out, struct lt_err *err)
{
	int rc = mdl_json_get(j, key, out, err);

	if (rc == 0 && *out && !cJSON_IsArray(*out))
		return fail_kind(j, key, "an array", err);
	return rc;
}

int mdl_json_int_of(const struct mdl_json *j, const char *key, const cJSON *item, int64_t min,
		    int64_t max, int64_t *out, struct lt_err *err)
{
	double v;

	if (!cJSON_IsNumber(item))
		return fail_kind(j, key, "a whole number", err);
	v = item->valuedouble;
	if (!(v >= (double)min && v <= (double)max) || v != floor(v))
		return lt_fail(err, LT_EFORMAT,
			       "%s: %s is %.17g, whole numbers from %" PRId64 " to %" PRId64
			       " are allowed",
			       j->file, key, v, min, max);
	*out = (int64_t)v;
	return 0;
}

int mdl_json_int(const struct mdl_json *j, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct lt_err *err)
{
	const cJSON *item;
	int rc = mdl_json_get(j, key, &item, err);

	return rc == 0 && item ? mdl_json_int_of(j, key, item, min, max, out, err) : rc;
}

int mdl_json_f64(const struct mdl_json *j, const char *key, double *out, struct lt_err *err)
{
	const cJSON *item;
	int rc = mdl_json_get(j, key, &item, err);

	if (rc < 0 || !item)
		return rc;
	if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
		return fail_kind(j, key, "a finite number", err);
	*out = item->valuedouble;
	return 0;
}

int mdl_json_bool(const struct mdl_json *j, const char *key, bool *out, struct lt_err *err)
{
	const cJSON *item;
	int rc = mdl_json_get(j, key, &item, err);

	if (rc < 0 || !item)
		return rc;
	if (!cJSON_IsBool(item))
		return fail_kind(j, key, "true or false", err);
	*out = cJSON_IsTrue(item);
	return 0;
}

int mdl_json_string(const struct mdl_json *j, const char *key, const char **out, struct lt_err *err)
{
	const cJSON *item;
	int rc = mdl_json_get(j, key, &item, err);

	if (rc < 0 || !item)
		return rc;
	if (!cJSON_IsString(item))
		return fail_kind(j, key, "a string", err);
	*out = item->valuestring;
	return 0;
}
