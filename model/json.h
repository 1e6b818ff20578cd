/*
 * Small JSON files of a checkpoint (config.json and the like): loading under limits, and typed
 * look-ups whose errors name file and key. Private to model/.
 *
 * A look-up of a key that is absent or null returns 0 and leaves *out as the caller set it; a key
 * that stands twice, or of another kind, or out of range, is LT_EFORMAT.
 */
#ifndef LT_MODEL_JSON_H
#define LT_MODEL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/error.h"

/* An object and how to call it in messages. */
struct mdl_json {
	const char *file; /* "config.json" or "config.json: rope_scaling" */
	const cJSON *obj;
};

/* Parses text[0..n), which must be one object in valid UTF-8, nested at most 32 deep, of at most
 * 32,768 values (so that the tree stays below some 5 MB). The caller frees with cJSON_Delete. */
int mdl_json_parse(const char *file, const char *text, size_t n, cJSON **out, struct lt_err *err);
/* The same for the file `dir`/`file` of at most `limit` bytes; LT_ENOENT if there is none. */
int mdl_json_load(const char *dir, const char *file, size_t limit, cJSON **out, struct lt_err *err);

/* *out is NULL when the key is absent or null. */
int mdl_json_get(const struct mdl_json *j, const char *key, const cJSON **out, struct lt_err *err);
int mdl_json_object(const struct mdl_json *j, const char *key, const cJSON **out,
		    struct lt_err *err);
int mdl_json_array(const struct mdl_json *j, const char *key, const cJSON **out,
		   struct lt_err *err);
/* A whole number from min to max. */
int mdl_json_int(const struct mdl_json *j, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct lt_err *err);
int mdl_json_f64(const struct mdl_json *j, const char *key, double *out, struct lt_err *err);
int mdl_json_bool(const struct mdl_json *j, const char *key, bool *out, struct lt_err *err);
int mdl_json_string(const struct mdl_json *j, const char *key, const char **out,
		    struct lt_err *err);

/* The whole number in `item` (of array or key `key`), as mdl_json_int. */
int mdl_json_int_of(const struct mdl_json *j, const char *key, const cJSON *item, int64_t min,
		    int64_t max, int64_t *out, struct lt_err *err);

#endif
