/*
 * The growing byte buffer. One owner at a time, no locking.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"

void lt_buf_init(struct lt_buf *b, size_t limit)
{
	*b = LT_BUF_INIT;
	b->limit = limit;
}

void lt_buf_fini(struct lt_buf *b)
{
	size_t limit = b->limit;

	free(b->data);
	lt_buf_init(b, limit);
}

void lt_buf_clear(struct lt_buf *b)
{
	b->len = 0;
	b->failed = 0;
	if (b->data)
		b->data[0] = '\0';
}

char *lt_buf_room(struct lt_buf *b, size_t n)
{
	size_t need;

	if (b->failed)
		return NULL;
	if (!lt_add(b->len, n, &need) || !lt_add(need, 1, &need) ||
	    (b->limit && need - 1 > b->limit)) {
		b->failed = LT_ETOOBIG;
		return NULL;
	}
	if (lt_reserve(&b->data, &b->cap, need, 1) < 0) {
		b->failed = LT_ENOMEM;
		return NULL;
	}
	/* Room that is never committed (an empty file was read into it) must not cost the NUL. */
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void lt_buf_commit(struct lt_buf *b, size_t n)
{
	LT_ASSERT(b->len + n < b->cap);
	b->len += n;
	b->data[b->len] = '\0';
}

int lt_buf_add(struct lt_buf *b, const void *src, size_t n)
{
	char *dst = lt_buf_room(b, n);

	if (!dst)
		return b->failed;
	if (n)
		memcpy(dst, src, n);
	lt_buf_commit(b, n);
	return 0;
}

int lt_buf_adds(struct lt_buf *b, const char *s)
{
	return lt_buf_add(b, s, strlen(s));
}

int lt_buf_addc(struct lt_buf *b, char c)
{
	return lt_buf_add(b, &c, 1);
}

int lt_buf_addf(struct lt_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return b->failed = LT_EINTERNAL;
	if (!lt_buf_room(b, (size_t)n))
		return b->failed;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	lt_buf_commit(b, (size_t)n);
	return 0;
}

void lt_buf_consume(struct lt_buf *b, size_t n)
{
	LT_ASSERT(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

char *lt_buf_take(struct lt_buf *b, size_t *len)
{
	char *p = NULL;

	if (!b->failed && (b->data || lt_buf_add(b, "", 0) == 0)) {
		p = b->data;
		if (len)
			*len = b->len;
		b->data = NULL;
	}
	lt_buf_fini(b);
	return p;
}

static int add_json_escape(struct lt_buf *b, unsigned char c)
{
	switch (c) {
	case '"': return lt_buf_adds(b, "\\\"");
	case '\\': return lt_buf_adds(b, "\\\\");
	case '\n': return lt_buf_adds(b, "\\n");
	case '\r': return lt_buf_adds(b, "\\r");
	case '\t': return lt_buf_adds(b, "\\t");
	case '\b': return lt_buf_adds(b, "\\b");
	case '\f': return lt_buf_adds(b, "\\f");
	default: return lt_buf_addf(b, "\\u%04x", c);
	}
}

int lt_buf_add_json(struct lt_buf *b, const char *s, size_t n)
{
	size_t run = 0, i = 0;

	while (i < n) {
		unsigned char c = (unsigned char)s[i];
		uint32_t cp;
		size_t len = 1;

		if (c >= 0x80)
			len = lt_utf8_decode(s + i, n - i, &cp);
		if (len && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
			i += len;
			continue;
		}
		lt_buf_add(b, s + run, i - run);
		if (len == 0)
			lt_buf_adds(b, "\xef\xbf\xbd");
		else
			add_json_escape(b, c);
		run = ++i;
	}
	return lt_buf_add(b, s + run, n - run);
}
