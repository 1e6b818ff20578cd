/*
 * Characters as the template language sees them (private to model/): white space exactly; letters,
 * digits and case by the C library's Unicode tables (simple mappings, and SS for sharp s).
 */
#ifndef LT_MODEL_JINJA_UNICODE_H
#define LT_MODEL_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool mdl_juni_is_space(uint32_t cp);
bool mdl_juni_is_line_end(uint32_t cp);
bool mdl_juni_is_alpha(uint32_t cp);
bool mdl_juni_is_digit(uint32_t cp); /* decimal digits of any script */
bool mdl_juni_is_upper(uint32_t cp);
bool mdl_juni_is_lower(uint32_t cp);
/* Printed by repr as it is; control, format, private and unassigned characters are not. */
bool mdl_juni_is_printable(uint32_t cp);
/* Case mapping: writes one or two code points to out, returns how many. */
size_t mdl_juni_to_upper(uint32_t cp, uint32_t out[2]);
size_t mdl_juni_to_lower(uint32_t cp, uint32_t out[2]);

/* The code point at s[0..n), n > 0 and valid UTF-8, and its length. Bytes that are not valid count
 * as one character each (no input leads there). */
uint32_t mdl_juni_next(const char *s, size_t n, size_t *len);
/* The code point that ends at s[n]. */
uint32_t mdl_juni_prev(const char *s, size_t n, size_t *len);
/* Leading bytes of s[0..n) that are white space; likewise trailing. */
size_t mdl_juni_space_prefix(const char *s, size_t n);
size_t mdl_juni_space_suffix(const char *s, size_t n);
/* Code points in s[0..n). */
size_t mdl_juni_count(const char *s, size_t n);
/* Byte offset of code point `at` (at most the count). */
size_t mdl_juni_offset(const char *s, size_t n, size_t at);

#endif
