/*
 * JSON values on lines of their own, as subcommands read them: a string, or an array of token ids.
 */
#ifndef LT_TOOLS_CTL_JSON_H
#define LT_TOOLS_CTL_JSON_H

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/tokenizer.h"

/* Appends the text of s[0..n), which is one JSON string, white space round it allowed. LT_EFORMAT
 * (says where), LT_ENOMEM. */
int ctl_json_string(const char *s, size_t n, struct lt_buf *out, struct lt_err *err);

/* Appends the numbers of s[0..n), one JSON array of whole numbers from 0 to 2^31 - 1. */
int ctl_json_ids(const char *s, size_t n, struct mdl_ids *out, struct lt_err *err);

#endif
