/*
 * JSON as text (private to api/, and used by its tests).
 *
 * A body is checked once against RFC 8259, strictly; from then on values are slices of the checked
 * text, walked with cursors. There is no tree: nothing is allocated for each value, numbers keep all
 * their digits and objects their order, so that tools and template arguments reach the template as
 * the client wrote them. A general library (cJSON) would not do: it keeps numbers as doubles, ends
 * strings at \u0000, has no slices and accepts some malformed input. The walk is linear because
 * requests are read to a fixed depth, and each level is skipped over once for each level above it.
 *
 * Beyond the RFC a text is refused for: NUL, raw or as \u0000 (nothing downstream can carry it);
 * malformed UTF-8; lone surrogates (they have no UTF-8 form); nesting deeper than a limit.
 */
#ifndef LT_API_JSON_H
#define LT_API_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/error.h"
#include "api/request.h"

#define API_JSON_MAX_DEPTH 512

enum api_json_type {
	API_JSON_NULL,
	API_JSON_BOOL,
	API_JSON_NUMBER,
	API_JSON_STRING,
	API_JSON_ARRAY,
	API_JSON_OBJECT,
};

/* The text of one value within a checked text, without white space round it. s NULL: no value. */
struct api_json {
	const char *s;
	size_t n;
};

/* Checks text[0..n) and gives the root value. LT_EFORMAT with the byte offset and what was expected;
 * LT_EINVAL for NUL characters. max_depth at most API_JSON_MAX_DEPTH. */
int api_json_check(const char *text, size_t n, uint32_t max_depth, struct api_json *root,
		   struct api_fault *fault);

/* All below: for values of a checked text only. */

enum api_json_type api_json_type(struct api_json v);
/* "null", "a boolean", "a number", "a string", "an array", "an object". */
const char *api_json_type_name(enum api_json_type type);

/* Members of an object, elements of an array: start with *at = 0; false at the end. `key` is the
 * name's text with its quotes; it may be NULL, and is left alone for arrays. */
bool api_json_next(struct api_json container, size_t *at, struct api_json *key,
		   struct api_json *value);
size_t api_json_count(struct api_json container);

/* True if a string's value (escapes decoded) is `name`. */
bool api_json_is(struct api_json string, const char *name);
/* Appends a string's value. 0 or the buffer's code. */
int api_json_decode(struct api_json string, struct lt_buf *out);
/* A string's value as a copy for free(). 0 or LT_ENOMEM. */
int api_json_string(struct api_json string, struct api_str *out);

/* A number as an integer: written as one, or with a fraction or exponent but integral and within
 * +-2^53. False when it is not, or is out of range. */
bool api_json_int(struct api_json number, int64_t *out);
/* A number as the nearest double; false when it overflows or has over 400 characters. */
bool api_json_double(struct api_json number, double *out);

#endif
