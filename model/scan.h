/*
 * A cursor over JSON text for the two large files of a checkpoint, whose shape is fixed: the
 * safetensors header and the index. It reads in place and allocates nothing, so that a hostile
 * header costs no more than its own bytes. Small files go through model/json.h. Private to model/.
 */
#ifndef LT_MODEL_SCAN_H
#define LT_MODEL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct mdl_scan {
	const char *text;
	size_t n, at;
	const char *file; /* for messages */
};

/* LT_EFORMAT: "FILE: JSON, byte N: what". */
int mdl_scan_fail(const struct mdl_scan *s, struct lt_err *err, const char *what);

/* Skips white space; true if the next byte is c, which is then consumed. */
bool mdl_scan_eat(struct mdl_scan *s, char c);
/* True if nothing but white space is left. */
bool mdl_scan_end(struct mdl_scan *s);
/* As mdl_scan_eat, but an error when c is not there. */
int mdl_scan_expect(struct mdl_scan *s, char c, struct lt_err *err);
/* After an item of an object or array that ends in `close`: *more is true after a comma. */
int mdl_scan_next(struct mdl_scan *s, char close, bool *more, struct lt_err *err);

/* A string: the bytes between the quotes as they stand; *escaped if there is a backslash among
 * them. Control characters and unknown escapes are errors. */
int mdl_scan_string(struct mdl_scan *s, const char **str, size_t *n, bool *escaped,
		    struct lt_err *err);
/* A plain unsigned integer: no sign, fraction, exponent or leading zero. */
int mdl_scan_u64(struct mdl_scan *s, uint64_t *v, struct lt_err *err);
/* Any value, nested at most 32 deep. */
int mdl_scan_skip(struct mdl_scan *s, struct lt_err *err);

#endif
