/*
 * Small JSON writers. Pure functions on caller memory; any thread.
 */
#include "api/write.h"

#include <stdio.h>

int api_write_uint(struct lt_buf *b, uint64_t v)
{
	char text[20];
	size_t i = sizeof(text);

	do {
		text[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return lt_buf_add(b, text + i, sizeof(text) - i);
}

int api_write_logprob(struct lt_buf *b, float v)
{
	char text[32];
	int n;

	if (!(v >= -9999.0f) || v > 9999.0f)
		return lt_buf_adds(b, "-9999.0");
	n = snprintf(text, sizeof(text), "%.9g", (double)v);
	return lt_buf_add(b, text, (size_t)n);
}

int api_write_string(struct lt_buf *b, const char *s, size_t n)
{
	lt_buf_addc(b, '"');
	lt_buf_add_json(b, s, n);
	return lt_buf_addc(b, '"');
}

uint64_t api_count_chars(const char *s, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}
