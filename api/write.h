/*
 * Small pieces of JSON, appended to a buffer (private to api/). Each returns 0 or the buffer's code.
 */
#ifndef LT_API_WRITE_H
#define LT_API_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Decimal digits. */
int api_write_uint(struct lt_buf *b, uint64_t v);
/* A number; JSON has no infinities and no NaN: what is not between -9999 and 9999 becomes -9999.0, as
 * OpenAI writes the log probability of the impossible. */
int api_write_logprob(struct lt_buf *b, float v);
/* s[0..n) as a JSON string with its quotes. */
int api_write_string(struct lt_buf *b, const char *s, size_t n);

/* Characters (code points) in UTF-8 text. */
uint64_t api_count_chars(const char *s, size_t n);

#endif
