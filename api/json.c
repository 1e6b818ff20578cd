/*
 * The strict JSON check and the cursors over checked text. Pure functions; any thread. The check
 * keeps its own stack (one bit a level), so that depth costs no recursion.
 */
#include "api/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

struct scan {
	const char *s;
	size_t n, i;
	uint32_t depth, max_depth;
	unsigned char is_object[API_JSON_MAX_DEPTH / 8];
	struct api_fault *fault;
};

static int bad(struct scan *p, const char *what)
{
	if (p->i >= p->n)
		return api_fault_set(p->fault, LT_EFORMAT, "invalid_json", NULL,
				     "The body is not valid JSON: it ends at byte %zu, where %s",
				     p->n, what);
	return api_fault_set(p->fault, LT_EFORMAT, "invalid_json", NULL,
			     "The body is not valid JSON: at byte %zu %s", p->i, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_space(struct scan *p)
{
	while (p->i < p->n && is_space(p->s[p->i]))
		p->i++;
}

/* Four hexadecimal digits at s[0..n), or -1. */
static int32_t hex4(const char *s, size_t n)
{
	int32_t v = 0;

	if (n < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		char c = s[i];
		if (is_digit(c))
			v = v * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static bool is_high(int32_t u)
{
	return u >= 0xd800 && u <= 0xdbff;
}

static bool is_low(int32_t u)
{
	return u >= 0xdc00 && u <= 0xdfff;
}

/* p->i is at the character after "\u". */
static int check_unicode(struct scan *p)
{
	int32_t u = hex4(p->s + p->i, p->n - p->i), v;

	if (u < 0)
		return bad(p, "four hexadecimal digits must follow \\u");
	if (u == 0)
		return api_fault_set(p->fault, LT_EINVAL, NULL, NULL,
				     "NUL characters are not allowed: \\u0000 at byte %zu",
				     p->i - 2);
	if (is_low(u))
		return bad(p, "\\u gives the second half of a surrogate pair without the first");
	p->i += 4;
	if (!is_high(u))
		return 0;
	v = p->n - p->i >= 6 && p->s[p->i] == '\\' && p->s[p->i + 1] == 'u'
		    ? hex4(p->s + p->i + 2, 4)
		    : -1;
	if (!is_low(v))
		return bad(p, "the second half of a surrogate pair must follow the first");
	p->i += 6;
	return 0;
}

static int check_escape(struct scan *p)
{
	p->i++;
	if (p->i >= p->n)
		return bad(p, "a string is not closed");
	switch (p->s[p->i]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't': p->i++; return 0;
	case 'u': p->i++; return check_unicode(p);
	default: return bad(p, "an unknown escape stands in a string");
	}
}

/* Characters that a string may hold as they are, one byte each. */
static size_t plain_span(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && (signed char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
		i++;
	return i;
}

/* p->i is at the opening quote. */
static int check_string(struct scan *p)
{
	p->i++;
	while (p->i += plain_span(p->s + p->i, p->n - p->i), p->i < p->n) {
		unsigned char c = (unsigned char)p->s[p->i];
		uint32_t cp;
		size_t len;
		int rc;

		if (c == '"') {
			p->i++;
			return 0;
		}
		if (c == '\\') {
			rc = check_escape(p);
			if (rc < 0)
				return rc;
			continue;
		}
		if (c == 0)
			return api_fault_set(p->fault, LT_EINVAL, NULL, NULL,
					     "NUL characters are not allowed: at byte %zu", p->i);
		if (c < 0x20)
			return bad(p, "a control character stands in a string; escape it");
		len = lt_utf8_decode(p->s + p->i, p->n - p->i, &cp);
		if (len == 0)
			return bad(p, "a string is not valid UTF-8");
		p->i += len;
	}
	return bad(p, "a string is not closed");
}

static int check_number(struct scan *p)
{
	if (p->s[p->i] == '-')
		p->i++;
	if (p->i >= p->n || !is_digit(p->s[p->i]))
		return bad(p, "a digit must follow the minus sign");
	if (p->s[p->i++] == '0') {
		if (p->i < p->n && is_digit(p->s[p->i]))
			return bad(p, "a number has a leading zero");
	}
	while (p->i < p->n && is_digit(p->s[p->i]))
		p->i++;
	if (p->i < p->n && p->s[p->i] == '.') {
		p->i++;
		if (p->i >= p->n || !is_digit(p->s[p->i]))
			return bad(p, "a digit must follow the decimal point");
		while (p->i < p->n && is_digit(p->s[p->i]))
			p->i++;
	}
	if (p->i < p->n && (p->s[p->i] | 0x20) == 'e') {
		p->i++;
		if (p->i < p->n && (p->s[p->i] == '+' || p->s[p->i] == '-'))
			p->i++;
		if (p->i >= p->n || !is_digit(p->s[p->i]))
			return bad(p, "a digit must follow the exponent sign");
		while (p->i < p->n && is_digit(p->s[p->i]))
			p->i++;
	}
	return 0;
}

static int check_literal(struct scan *p)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);
		if (p->n - p->i >= n && memcmp(p->s + p->i, words[i], n) == 0) {
			p->i += n;
			return 0;
		}
	}
	return bad(p, "a value is expected");
}

static int push(struct scan *p, bool object)
{
	unsigned char bit;

	if (p->depth >= p->max_depth)
		return api_fault_set(p->fault, LT_EFORMAT, "invalid_json", NULL,
				     "The body nests objects and arrays deeper than the %u levels "
				     "allowed, at byte %zu",
				     p->max_depth, p->i);
	bit = (unsigned char)(1u << p->depth % 8);
	if (object)
		p->is_object[p->depth / 8] |= bit;
	else
		p->is_object[p->depth / 8] &= (unsigned char)~bit;
	p->depth++;
	p->i++;
	skip_space(p);
	return 0;
}

static bool in_object(const struct scan *p)
{
	return p->is_object[(p->depth - 1) / 8] >> (p->depth - 1) % 8 & 1;
}

/* A member's name and its colon. */
static int check_name(struct scan *p)
{
	int rc;

	skip_space(p);
	if (p->i >= p->n || p->s[p->i] != '"')
		return bad(p, "a member's name in double quotes is expected");
	rc = check_string(p);
	if (rc < 0)
		return rc;
	skip_space(p);
	if (p->i >= p->n || p->s[p->i] != ':')
		return bad(p, "a colon is expected after a member's name");
	p->i++;
	return 0;
}

/* After a value inside a container: closes as many containers as end here. *more: a comma followed,
 * so another value must come. */
static int check_after(struct scan *p, bool *more)
{
	*more = false;
	while (p->depth > 0) {
		bool object = in_object(p);
		skip_space(p);
		if (p->i < p->n && p->s[p->i] == ',') {
			p->i++;
			*more = true;
			return object ? check_name(p) : 0;
		}
		if (p->i >= p->n || p->s[p->i] != (object ? '}' : ']'))
			return bad(p, object ? "a comma or } is expected"
					     : "a comma or ] is expected");
		p->i++;
		p->depth--;
	}
	return 0;
}

/* Begins one value. *open: it is a container with content, whose first value comes next. */
static int check_value(struct scan *p, bool *open)
{
	char c;
	int rc;

	*open = false;
	skip_space(p);
	if (p->i >= p->n)
		return bad(p, "a value is expected");
	c = p->s[p->i];
	if (c == '"')
		return check_string(p);
	if (c == '-' || is_digit(c))
		return check_number(p);
	if (c != '{' && c != '[')
		return check_literal(p);
	rc = push(p, c == '{');
	if (rc < 0)
		return rc;
	if (p->i < p->n && p->s[p->i] == (c == '{' ? '}' : ']')) {
		p->i++;
		p->depth--;
		return 0;
	}
	*open = true;
	return c == '{' ? check_name(p) : 0;
}

int api_json_check(const char *text, size_t n, uint32_t max_depth, struct api_json *root,
		   struct api_fault *fault)
{
	struct scan p = {.s = text, .n = n, .fault = fault};
	size_t start, end;
	bool more = true, open;
	int rc;

	LT_ASSERT(max_depth <= API_JSON_MAX_DEPTH);
	p.max_depth = max_depth;
	skip_space(&p);
	start = p.i;
	while (more) {
		rc = check_value(&p, &open);
		if (rc == 0 && !open)
			rc = check_after(&p, &more);
		if (rc < 0)
			return rc;
	}
	end = p.i;
	skip_space(&p);
	if (p.i < p.n)
		return bad(&p, "something follows the end of the value");
	*root = (struct api_json){text + start, end - start};
	return 0;
}

enum api_json_type api_json_type(struct api_json v)
{
	switch (v.s[0]) {
	case 'n': return API_JSON_NULL;
	case 't':
	case 'f': return API_JSON_BOOL;
	case '"': return API_JSON_STRING;
	case '[': return API_JSON_ARRAY;
	case '{': return API_JSON_OBJECT;
	default: return API_JSON_NUMBER;
	}
}

const char *api_json_type_name(enum api_json_type type)
{
	static const char *const names[] = {"null",	"a boolean", "a number",
					    "a string", "an array",  "an object"};

	return names[type];
}

/* Length of the string literal at s[0..n), quotes included: to the first quote that follows an even
 * number of backslashes. */
static size_t string_span(const char *s, size_t n)
{
	const char *quote = s, *run;

	do {
		quote = memchr(quote + 1, '"', n - (size_t)(quote + 1 - s));
		LT_ASSERT(quote);
		for (run = quote; run[-1] == '\\';)
			run--;
	} while ((quote - run) % 2);
	return (size_t)(quote - s) + 1;
}

/* Length of the value that begins at s[0..n). */
static size_t value_span(const char *s, size_t n)
{
	size_t i = 0, depth = 0;

	if (s[0] == '"')
		return string_span(s, n);
	if (s[0] != '{' && s[0] != '[') {
		while (i < n && !is_space(s[i]) && s[i] != ',' && s[i] != ']' && s[i] != '}')
			i++;
		return i;
	}
	while (i < n) {
		char c = s[i];
		if (c == '"') {
			i += string_span(s + i, n - i);
			continue;
		}
		i++;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			break;
	}
	return i;
}

bool api_json_next(struct api_json c, size_t *at, struct api_json *key, struct api_json *value)
{
	bool object = c.s[0] == '{';
	size_t i = *at ? *at : 1;

	while (i < c.n && (is_space(c.s[i]) || c.s[i] == ','))
		i++;
	if (i >= c.n || c.s[i] == (object ? '}' : ']')) {
		*at = i;
		return false;
	}
	if (object) {
		size_t len = string_span(c.s + i, c.n - i);
		if (key)
			*key = (struct api_json){c.s + i, len};
		i += len;
		while (is_space(c.s[i]) || c.s[i] == ':')
			i++;
	}
	value->s = c.s + i;
	value->n = value_span(c.s + i, c.n - i);
	*at = i + value->n;
	return true;
}

size_t api_json_count(struct api_json container)
{
	size_t at = 0, count = 0;
	struct api_json v;

	while (api_json_next(container, &at, NULL, &v))
		count++;
	return count;
}

/* The code point of the escape at s (its backslash); *len is the escape's length in the text. */
static uint32_t escape(const char *s, size_t *len)
{
	int32_t u;

	*len = 2;
	switch (s[1]) {
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case 'u': break;
	default: return (unsigned char)s[1];
	}
	u = hex4(s + 2, 4);
	*len = 6;
	if (!is_high(u))
		return (uint32_t)u;
	*len = 12;
	return 0x10000 + ((uint32_t)(u - 0xd800) << 10) + (uint32_t)(hex4(s + 8, 4) - 0xdc00);
}

bool api_json_is(struct api_json string, const char *name)
{
	const char *s = string.s + 1, *end = string.s + string.n - 1;

	while (s < end) {
		char utf8[4];
		size_t len, n;
		if (*s != '\\') {
			if (*s++ != *name++)
				return false;
			continue;
		}
		n = lt_utf8_encode(escape(s, &len), utf8);
		if (strncmp(utf8, name, n) != 0)
			return false;
		s += len;
		name += n;
	}
	return *name == '\0';
}

int api_json_decode(struct api_json string, struct lt_buf *out)
{
	const char *s = string.s + 1, *end = string.s + string.n - 1;

	while (s < end) {
		const char *next = memchr(s, '\\', (size_t)(end - s));
		char utf8[4];
		size_t len;
		lt_buf_add(out, s, (size_t)((next ? next : end) - s));
		if (!next)
			break;
		lt_buf_add(out, utf8, lt_utf8_encode(escape(next, &len), utf8));
		s = next + len;
	}
	return out->failed;
}

int api_json_string(struct api_json string, struct api_str *out)
{
	struct lt_buf b = LT_BUF_INIT;

	api_json_decode(string, &b);
	out->s = lt_buf_take(&b, &out->n);
	return out->s ? 0 : LT_ENOMEM;
}

bool api_json_double(struct api_json number, double *out)
{
	char text[401];

	if (number.n >= sizeof(text))
		return false;
	memcpy(text, number.s, number.n);
	text[number.n] = '\0';
	*out = strtod(text, NULL);
	return isfinite(*out);
}

bool api_json_int(struct api_json number, int64_t *out)
{
	char text[401];
	double d;

	if (number.n >= sizeof(text))
		return false;
	memcpy(text, number.s, number.n);
	text[number.n] = '\0';
	if (!strpbrk(text, ".eE")) {
		errno = 0;
		*out = strtoll(text, NULL, 10);
		return errno == 0;
	}
	d = strtod(text, NULL);
	if (!(fabs(d) <= 9007199254740992.0) || d != floor(d))
		return false;
	*out = (int64_t)d;
	return true;
}
