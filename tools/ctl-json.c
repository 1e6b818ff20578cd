/*
 * A reader for the two JSON values that subcommands take on a line. Strict: what RFC 8259 does not
 * allow is refused with its place.
 */
#include "tools/ctl-json.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

struct cursor {
	const char *s;
	size_t n, at;
	struct lt_err *err;
};

static int wrong(const struct cursor *c, const char *what)
{
	return lt_fail(c->err, LT_EFORMAT, "not JSON at byte %zu: %s", c->at, what);
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->n && memchr(" \t\r\n", c->s[c->at], 4))
		c->at++;
}

static bool eat(struct cursor *c, char want)
{
	if (c->at >= c->n || c->s[c->at] != want)
		return false;
	c->at++;
	return true;
}

static int end_of_line(struct cursor *c)
{
	skip_space(c);
	return c->at == c->n ? 0 : wrong(c, "something after the value");
}

/* Four hexadecimal digits. */
static int hex4(struct cursor *c, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, c->at++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *d = c->at < c->n ? memchr(digits, c->s[c->at], 32) : NULL;

		if (!d)
			return wrong(c, "\\u needs four hexadecimal digits");
		*out = *out << 4 | (uint32_t)((d - digits) & 15);
	}
	return 0;
}

/* After "\u": a character, from two of them where it lies beyond U+FFFF. */
static int unicode_escape(struct cursor *c, struct lt_buf *out)
{
	uint32_t hi, lo;
	char utf8[4];
	int rc = hex4(c, &hi);

	if (rc < 0)
		return rc;
	if (hi >= 0xd800 && hi < 0xdc00 && eat(c, '\\') && eat(c, 'u')) {
		rc = hex4(c, &lo);
		if (rc < 0)
			return rc;
		if (lo >= 0xdc00 && lo < 0xe000)
			hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
	}
	if (hi >= 0xd800 && hi < 0xe000)
		return wrong(c, "half of a surrogate pair");
	return lt_buf_add(out, utf8, lt_utf8_encode(hi, utf8));
}

static int escape(struct cursor *c, struct lt_buf *out)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *k;

	if (eat(c, 'u'))
		return unicode_escape(c, out);
	k = c->at < c->n ? memchr(names, c->s[c->at], 8) : NULL;
	if (!k)
		return wrong(c, "unknown escape");
	c->at++;
	return lt_buf_addc(out, values[k - names]);
}

int ctl_json_string(const char *s, size_t n, struct lt_buf *out, struct lt_err *err)
{
	struct cursor c = {s, n, 0, err};
	size_t run;
	int rc = 0;

	skip_space(&c);
	if (!eat(&c, '"'))
		return wrong(&c, "expected a string");
	while (rc == 0) {
		for (run = c.at; c.at < n && s[c.at] != '"' && s[c.at] != '\\' &&
				 (unsigned char)s[c.at] >= 0x20;)
			c.at++;
		if (!lt_utf8_valid(s + run, c.at - run, NULL))
			return wrong(&c, "malformed UTF-8 before it");
		rc = lt_buf_add(out, s + run, c.at - run);
		if (eat(&c, '"'))
			break;
		if (rc == 0)
			rc = eat(&c, '\\')
				     ? escape(&c, out)
				     : wrong(&c, "a string that does not end, or holds a control "
						 "character");
	}
	if (out->failed)
		return lt_fail(err, out->failed, "no memory for a string");
	return rc < 0 ? rc : end_of_line(&c);
}

/* A whole number without sign, fraction or exponent. */
static int number(struct cursor *c, int32_t *out)
{
	int64_t v = 0;
	size_t start = c->at;

	for (; c->at < c->n && c->s[c->at] >= '0' && c->s[c->at] <= '9'; c->at++) {
		v = v * 10 + (c->s[c->at] - '0');
		if (v > INT32_MAX || (c->at > start && c->s[start] == '0'))
			return wrong(c, "not an id from 0 to 2147483647");
	}
	*out = (int32_t)v;
	return c->at > start ? 0 : wrong(c, "expected an id");
}

int ctl_json_ids(const char *s, size_t n, struct mdl_ids *out, struct lt_err *err)
{
	struct cursor c = {s, n, 0, err};
	int32_t id = 0;
	int rc = 0;

	skip_space(&c);
	if (!eat(&c, '['))
		return wrong(&c, "expected an array of ids");
	skip_space(&c);
	if (eat(&c, ']'))
		return end_of_line(&c);
	while (rc == 0) {
		skip_space(&c);
		rc = number(&c, &id);
		if (rc == 0 && mdl_ids_add(out, id) < 0)
			rc = lt_fail(err, LT_ENOMEM, "no memory for ids");
		skip_space(&c);
		if (rc == 0 && eat(&c, ']'))
			return end_of_line(&c);
		if (rc == 0 && !eat(&c, ','))
			rc = wrong(&c, "expected , or ]");
	}
	return rc;
}
