/*
 * UTF-8: decoding, validation, and where an incomplete tail begins (for streams that must not
 * emit half a character). RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF.
 */
#ifndef LT_BASE_UTF8_H
#define LT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one code point from s[0..n). Returns its length in bytes (1..4) and sets *cp; returns 0
 * when n is 0, the bytes are malformed, or the sequence is cut off. */
size_t lt_utf8_decode(const char *s, size_t n, uint32_t *cp);

/* Writes `cp` to dst (at least 4 bytes); returns the length, 0 if cp is not a scalar value. */
size_t lt_utf8_encode(uint32_t cp, char *dst);

/* True if s[0..n) is well-formed throughout; *bad (if not NULL) gets the offset of the first fault. */
bool lt_utf8_valid(const char *s, size_t n, size_t *bad);

/* Number of leading bytes of s[0..n) that do not end inside a sequence which more bytes could
 * still complete: n, or up to 3 less. Malformed bytes count as complete. */
size_t lt_utf8_complete(const char *s, size_t n);

#endif
