/*
 * A growing byte buffer with an upper bound. A failed append marks the buffer (`failed`) and later
 * appends do nothing, so a writer may check once at the end. Always NUL-terminated after the first
 * append (the NUL is not counted). One owner at a time.
 */
#ifndef LT_BASE_BUF_H
#define LT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct lt_buf {
	char *data;
	size_t len;
	size_t cap;
	size_t limit; /* most bytes it may hold; 0: no limit */
	int failed;   /* 0, LT_ENOMEM, or LT_ETOOBIG when the limit was passed */
};

#define LT_BUF_INIT ((struct lt_buf){0})

void lt_buf_init(struct lt_buf *b, size_t limit);
void lt_buf_fini(struct lt_buf *b);  /* frees data, leaves an empty, usable buffer */
void lt_buf_clear(struct lt_buf *b); /* keeps the memory, clears `failed` */

/* Append; each returns 0 or the buffer's `failed` code. */
int lt_buf_add(struct lt_buf *b, const void *src, size_t n);
int lt_buf_adds(struct lt_buf *b, const char *s);
int lt_buf_addc(struct lt_buf *b, char c);
int lt_buf_addf(struct lt_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for n more bytes at the returned place, NULL on failure; lt_buf_commit says how many were
 * written (at most n). */
char *lt_buf_room(struct lt_buf *b, size_t n);
void lt_buf_commit(struct lt_buf *b, size_t n);

/* Drops the first n bytes. */
void lt_buf_consume(struct lt_buf *b, size_t n);

/* Hands the data over (caller frees; NULL when failed) and leaves an empty buffer. An empty buffer
 * gives an empty string. */
char *lt_buf_take(struct lt_buf *b, size_t *len);

/* Appends s[0..n), valid UTF-8, as the inside of a JSON string (no quotes round it): control characters, quote and backslash
 * escaped; other UTF-8 as it is; malformed bytes as U+FFFD. */
int lt_buf_add_json(struct lt_buf *b, const char *s, size_t n);

#endif
