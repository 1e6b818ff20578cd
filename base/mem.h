/*
 * Checked memory. Sizes are products of counts that may come from a file or a client, so every
 * allocation takes (count, size) and fails on overflow. Two named flavours: lt_alloc* return NULL
 * when there is no memory; lt_xalloc* abort and are for start-up only.
 */
#ifndef LT_BASE_MEM_H
#define LT_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *out = a * b or a + b; false (and *out untouched) when that overflows. */
static inline bool lt_mul(size_t a, size_t b, size_t *out)
{
	size_t r;

	if (__builtin_mul_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

static inline bool lt_add(size_t a, size_t b, size_t *out)
{
	size_t r;

	if (__builtin_add_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

/* Zeroed memory for count items of size bytes, to be freed with free(). NULL when there is none or
 * the product overflows. A product of 0 gives a valid pointer. */
void *lt_alloc(size_t count, size_t size) __attribute__((malloc, warn_unused_result));

/* Resizes *ptr (an array of `size`-byte items) to `count` items; new bytes are not cleared. Returns
 * 0 or LT_ENOMEM, in which case *ptr stays as it was. */
int lt_resize(void *ptr, size_t count, size_t size) __attribute__((warn_unused_result));

/* Makes room for at least `need` items in an array whose capacity is *cap, growing geometrically.
 * Returns 0 or LT_ENOMEM. */
int lt_reserve(void *ptr, size_t *cap, size_t need, size_t size)
	__attribute__((warn_unused_result));

/* Zeroed memory aligned to `align` (a power of two, at least 8), for free(). NULL as lt_alloc. */
void *lt_alloc_aligned(size_t align, size_t count, size_t size)
	__attribute__((malloc, warn_unused_result));

/* A NUL-terminated copy of s[0..n) (which may hold NULs); NULL without memory. */
char *lt_strndup(const char *s, size_t n) __attribute__((malloc, warn_unused_result));

/* The aborting flavour: start-up only. */
void *lt_xalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
char *lt_xstrdup(const char *s) __attribute__((malloc, returns_nonnull));

#endif
